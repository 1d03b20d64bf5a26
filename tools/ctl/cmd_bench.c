/*
 * cmd_bench.c - engramctl bench: how fast a store or mount is, in half a minute. It works in a folder of its
 * own, which it removes.
 *
 * State: struct bench, for one run. One thread: what is told are latencies as one user sees them. */
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "engine.h"
#include "shared/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl bench [--json] [--memories N] [--size BYTES] TARGET\n"
    "\n"
    "Measures TARGET, a store that is not mounted or a mount point: creates memories in a\n"
    "folder of its own, looks them up, reads, overwrites, fsyncs, lists and removes them,\n"
    "one after the other, and tells rate and latency of each. Afterwards the folder is gone;\n"
    "what was written is dead content of the store until it is compacted.\n"
    "\n"
    "  --memories N    1 to 1000000; 2000 by default\n"
    "  --size BYTES    of each, up to 8388608; 4096 by default\n"
    "  --json          the figures as JSON\n"
    "\n"
    "Exit codes: 0 measured, 2 not, or interrupted.\n";

struct bench;
struct phase {
    const char *name;
    int (*one)(struct bench *b, size_t i);
    bool moves;         /* content: bytes a second are told */
    bool shuffled, few; /* in random order; for a few memories only, as each takes long */
    size_t done;
    double seconds;
    double p50, p99; /* us */
};

struct bench {
    struct target *t;
    size_t n, size;
    char folder[64];
    tdir dir;
    uint32_t *order;
    double *us;
    char *content;
};

static void name_of(size_t i, char ret[32])
{
    snprintf(ret, 32, "memory-%zu", i);
}

/* ---- what is measured ------------------------------------------------------------ */

static int put_one(struct bench *b, size_t i)
{
    char name[32];
    name_of(i, name);
    struct eng_record rec = {.parent = b->dir,
                             .name = name,
                             .content = b->content,
                             .size = b->size,
                             .mode = S_IFREG | 0600,
                             .uid = geteuid(),
                             .gid = getegid(),
                             .mtime = TARGET_NOW};
    memcpy(b->content, &i, b->size < sizeof i ? b->size : sizeof i); /* no two are the same */
    ssize_t n = b->t->ops->put(b->t, &rec, 1, &(uint64_t){0});
    return n < 0 ? (int)n : rec.result;
}

static int look_up(struct bench *b, size_t i)
{
    struct target_attr attr;
    char name[32];
    name_of(i, name);
    return b->t->ops->lookup(b->t, b->dir, name, &attr);
}

static int read_one(struct bench *b, size_t i)
{
    struct target_attr attr;
    struct target_file f;
    char name[32];
    name_of(i, name);
    int r = b->t->ops->lookup(b->t, b->dir, name, &attr);
    if (!r)
        r = b->t->ops->open(b->t, b->dir, name, &attr, false, &f);
    if (r < 0)
        return r;
    ssize_t n = b->t->ops->read(b->t, &f, b->content, b->size, 0);
    (void)b->t->ops->close(b->t, &f);
    if (n < 0)
        return (int)n;
    return (size_t)n == b->size ? 0 : -EIO;
}

/* A small change that must last, as a database makes it. */
static int write_and_sync(struct bench *b, size_t i)
{
    struct target_attr attr;
    struct target_file f;
    char name[32];
    name_of(i, name);
    int r = b->t->ops->lookup(b->t, b->dir, name, &attr);
    if (!r)
        r = b->t->ops->open(b->t, b->dir, name, &attr, true, &f);
    if (r < 0)
        return r;
    ssize_t n = b->t->ops->write(b->t, &f, "durable", 7, 0);
    if (n < 0)
        r = (int)n;
    else if (f.fd >= 0)
        r = fsync(f.fd) < 0 ? -errno : 0;
    else
        r = eng_fsync(b->t->eng, f.ino);
    (void)b->t->ops->close(b->t, &f);
    return r;
}

static int list_all(struct bench *b, size_t i)
{
    struct target_scan *scan;
    struct target_attr attr;
    const char *name;
    int error;
    (void)i;
    int r = b->t->ops->scan_open(b->t, b->dir, &scan);
    if (r < 0)
        return r;
    while ((r = b->t->ops->scan_next(scan, &name, &attr, &error)) > 0)
        ;
    b->t->ops->scan_close(scan);
    return r;
}

static int remove_one(struct bench *b, size_t i)
{
    char name[32];
    name_of(i, name);
    return b->t->ops->unlink(b->t, b->dir, name);
}

/* ---- measuring --------------------------------------------------------------------- */

static uint64_t random_of(uint64_t *state) /* splitmix64, by Vigna, public domain */
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { FEW = 50 };

static int run_phase(struct bench *b, struct phase *p)
{
    struct timespec start, one;
    size_t n = p->few && b->n > FEW ? FEW : b->n;
    int r = 0;
    if (p->one == list_all)
        n = 1;
    struct progress progress;
    progress_start(&progress, p->name);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (size_t i = 0; !r && i < n; i++) {
        clock_gettime(CLOCK_MONOTONIC, &one);
        r = p->one(b, p->shuffled ? b->order[i] : i);
        b->us[i] = cli_seconds_since(&one) * 1e6;
        if (!r && cli_interrupted())
            r = -EINTR;
        progress_show(&progress, i, n);
    }
    p->seconds = cli_seconds_since(&start);
    progress_clear(&progress);
    if (r < 0)
        return r;
    qsort(b->us, n, sizeof *b->us, by_size);
    p->done = p->one == list_all ? b->n : n;
    p->p50 = b->us[n / 2];
    p->p99 = b->us[n * 99 / 100];
    return 0;
}

static int prepare(struct bench *b)
{
    uint64_t state = 1;
    b->order = calloc(b->n, sizeof *b->order);
    b->us = calloc(b->n, sizeof *b->us);
    b->content = malloc(b->size + 8);
    if (!b->order || !b->us || !b->content)
        return -ENOMEM;
    for (size_t i = 0; i < b->n; i++) {
        size_t j = (size_t)(random_of(&state) % (i + 1));
        b->order[i] = b->order[j];
        b->order[j] = (uint32_t)i;
    }
    for (size_t i = 0; i < b->size; i += 8) {
        uint64_t z = random_of(&state);
        memcpy(b->content + i, &z, sizeof z);
    }
    snprintf(b->folder, sizeof b->folder, "engramctl-bench-%ld", (long)getpid());
    b->t->wrote = true;
    return b->t->ops->mkdir(b->t, b->t->root, b->folder, 0700, &b->dir);
}

/* Whatever is left of the folder after an error or a signal. */
static int clean_up(struct bench *b)
{
    for (size_t i = 0; i < b->n; i++) {
        int r = remove_one(b, i);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return b->t->ops->rmdir(b->t, b->t->root, b->folder);
}

/* ---- telling ------------------------------------------------------------------------- */

static double rate(const struct phase *p)
{
    return p->seconds > 0 ? (double)p->done / p->seconds : 0;
}

static void print_people(const struct bench *b, const struct phase *p, size_t n)
{
    printf("%zu memories of %zu bytes\n%-10s %12s %10s %10s %10s\n", b->n, b->size, "", "a second", "MB/s",
           "p50 us", "p99 us");
    for (size_t i = 0; i < n; i++) {
        char bytes[32] = "";
        if (p[i].moves)
            snprintf(bytes, sizeof bytes, "%.1f", rate(&p[i]) * (double)b->size / 1e6);
        printf("%-10s %12.0f %10s", p[i].name, rate(&p[i]), bytes);
        if (p[i].one != list_all)
            printf(" %10.1f %10.1f", p[i].p50, p[i].p99);
        putchar('\n');
    }
}

static void print_json(const struct bench *b, const struct phase *p, size_t n)
{
    printf("{\n  \"memories\": %zu,\n  \"size\": %zu,\n  \"phases\": [\n", b->n, b->size);
    for (size_t i = 0; i < n; i++)
        printf(
            "    {\"name\": \"%s\", \"count\": %zu, \"seconds\": %.6f, \"per_second\": %.1f, \"p50_us\": %.1f"
            ", \"p99_us\": %.1f}%s\n",
            p[i].name, p[i].done, p[i].seconds, rate(&p[i]), p[i].p50, p[i].p99, i + 1 < n ? "," : "");
    puts("  ]\n}");
}

static int bench(struct target *t, size_t memories, size_t size, bool json)
{
    struct bench b = {.t = t, .n = memories, .size = size};
    struct phase phases[] = {{.name = "create", .one = put_one, .moves = true},
                             {.name = "look up", .one = look_up, .shuffled = true},
                             {.name = "read", .one = read_one, .moves = true, .shuffled = true},
                             {.name = "overwrite", .one = put_one, .moves = true, .shuffled = true},
                             {.name = "fsync", .one = write_and_sync, .shuffled = true, .few = true},
                             {.name = "list", .one = list_all},
                             {.name = "remove", .one = remove_one, .shuffled = true}};
    size_t n = sizeof phases / sizeof *phases;
    int r = prepare(&b);
    bool made = !r;
    for (size_t i = 0; !r && i < n; i++)
        r = run_phase(&b, &phases[i]);
    int c = made ? clean_up(&b) : 0;
    if (!r && json)
        print_json(&b, phases, n);
    else if (!r)
        print_people(&b, phases, n);
    else
        cli_error("%s: %s", t->path, r == -EINTR ? "interrupted" : strerror(-r));
    if (c < 0)
        cli_error("%s: %s is left there: %s", t->path, b.folder, strerror(-c));
    free(b.order);
    free(b.us);
    free(b.content);
    return r < 0 || c < 0 ? CLI_ERROR : CLI_OK;
}

static bool parse_number(const char *s, size_t min, size_t max, size_t *ret)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(s, &end, 10);
    if (errno || *s < '0' || *s > '9' || *end || n < min || n > max)
        return false;
    *ret = n;
    return true;
}

int cmd_bench(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"memories", required_argument, NULL, 'n'},
                                            {"size", required_argument, NULL, 's'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false;
    size_t memories = 2000, size = 4096;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help_text, stdout);
            return CLI_OK;
        }
        if (o == '?')
            return cli_usage("bench", "bad option '%s'", argv[optind - 1]);
        if (o == 'j')
            json = true;
        else if (o == 'n' ? !parse_number(optarg, 1, 1000000, &memories)
                          : !parse_number(optarg, 0, 8 << 20, &size))
            return cli_usage("bench", "bad value '%s'", optarg);
    }
    if (argc - optind != 1)
        return cli_usage("bench", "expected one TARGET");
    struct target *t = subcommand_open(argv[optind], 0);
    if (!t)
        return CLI_ERROR;
    cli_catch_signals();
    int code = bench(t, memories, size, json);
    int c = target_close(t);
    if (c < 0)
        cli_error("%s: %s", argv[optind], strerror(-c));
    return c < 0 ? CLI_ERROR : code;
}
