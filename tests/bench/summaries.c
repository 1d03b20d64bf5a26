/*
 * summaries.c - finding what is live in a segment: by its summary, and by the walk through the whole index
 * that was the only way before; both in one run, in turn, and what they find is compared.
 *
 * usage, each of
 *   - summaries victim STORE MEMORIES [SEGMENT_SIZE]: a new store with that many memories of 300 bytes, some
 * of them overwritten at random at the end; the ranges of single segments, as a compaction of one victim asks
 * for them
 *   - summaries scrub STORE MEMORIES SEGMENT_SIZE: the ranges of all segments, one after the other; by the
 * walk in groups of eight, as a scrub did before
 *
 * Times are milliseconds, of the processor (which others use, too) and of the clock; medians of the victims.
 * Prints one JSON object. */
#include "inside.h"

#include "rng.h"

#include <inttypes.h>
#include <stdio.h>

enum { PER_FOLDER = 1000, PER_CALL = 200, CONTENT = 300, VICTIMS = 7, GROUP = 8, OVERWRITES_PER_SEGMENT = 3 };

static struct eng *eng;
static const struct eng_caller me = {0};

static void must(int64_t r, const char *what)
{
    if (r >= 0)
        return;
    (void)fprintf(stderr, "summaries: %s: %s\n", what, strerror((int)-r));
    exit(1);
}

static void open_store(const char *path, uint64_t segment_size)
{
    char why[256] = "";
    const struct eng_options options = {.segment_size = segment_size, .no_background = true};
    int r = eng_open(path, &options, &eng, why);
    if (r)
        (void)fprintf(stderr, "%s\n", why);
    must(r, "open");
    must(eng_config_set(eng, "auto_compact", "0"), "config");
    must(eng_config_set(eng, "checkpoint_bytes", "1000000000000"), "config");
}

/* ---- a store ------------------------------------------------------------------------------------ */

static void put_folder(uint64_t n, const char *content)
{
    static struct eng_record records[PER_FOLDER];
    static char names[PER_FOLDER][32];
    char folder[32];
    struct eng_attr attr;
    (void)snprintf(folder, sizeof folder, "d%" PRIu64, n);
    must(eng_create(eng, &me, ENG_ROOT_INO, folder, 040755, 0, NULL, &attr), folder);
    for (unsigned i = 0; i < PER_FOLDER; i++) {
        (void)snprintf(names[i], sizeof names[i], "memory-%06u", i);
        records[i] = (struct eng_record){
            .parent = attr.ino, .name = names[i], .content = content, .size = CONTENT, .mode = 0644};
    }
    for (unsigned i = 0; i < PER_FOLDER; i += PER_CALL) /* small segments hold one each */
        if (eng_put_many(eng, records + i, PER_CALL) != PER_CALL)
            must(-EIO, "put");
}

static uint64_t live_ino(uint64_t slot)
{
    const struct inode_rec *inode = index_slot(&eng->idx, (uint32_t)slot);
    return inode && S_ISREG(inode->mode) ? index_ino(inode, (uint32_t)slot) : 0;
}

/* So that some segments hold what lies in no order in the index. */
static void overwrite(const char *content, uint64_t bytes)
{
    uint64_t rng = 1, end = log_bytes(&eng->log) + bytes;
    while (log_bytes(&eng->log) < end) {
        uint64_t ino = live_ino(1 + rng_below(&rng, eng->idx.inodes.used - 1));
        if (ino && eng_write(eng, ino, content, CONTENT, 0) != CONTENT)
            must(-EIO, "write");
    }
}

static void make_store(uint64_t memories)
{
    char content[CONTENT];
    for (unsigned i = 0; i < CONTENT; i++)
        content[i] = (char)('a' + i % 26);
    for (uint64_t n = 0; n < memories / PER_FOLDER; n++)
        put_folder(n, content);
    overwrite(content, OVERWRITES_PER_SEGMENT * eng->log.segment_size);
    must(eng_sync(eng), "sync");
}

/* ---- the two ways ---------------------------------------------------------------------------------- */

struct times {
    double cpu, wall;
};

static double now(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* One look for the segments of `wanted`. */
static void look(const struct idmap *wanted, bool walk, struct ref_list *list, struct times *times)
{
    double cpu = now(CLOCK_THREAD_CPUTIME_ID), wall = now(CLOCK_MONOTONIC);
    if (walk) {
        must(walk_refs(eng, wanted, list), "walk");
        ref_list_sort(list);
    } else {
        must(extent_refs_collect(eng, wanted, &list->refs, &list->n), "collect");
    }
    times->cpu += now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    times->wall += now(CLOCK_MONOTONIC) - wall;
}

static void compare(const struct ref_list *a, const struct ref_list *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; i < a->n && same; i++)
        same = a->refs[i].ino == b->refs[i].ino && a->refs[i].off == b->refs[i].off &&
               locator_equal(&a->refs[i].from, &b->refs[i].from);
    if (!same)
        must(-EBADMSG, "the summary and the walk do not agree");
}

static void want(struct idmap *wanted, uint32_t id)
{
    must(idmap_reserve(wanted, 1), "memory");
    idmap_set(wanted, id, 1);
}

static int by_cpu(const void *a, const void *b)
{
    double x = ((const struct times *)a)->cpu, y = ((const struct times *)b)->cpu;
    return (x > y) - (x < y);
}

static void print(const char *name, const struct times *t, const char *end)
{
    printf("\"%s_cpu_ms\": %.3f, \"%s_wall_ms\": %.3f%s", name, t->cpu, name, t->wall, end);
}

/* Sealed segments with something live, the first of `all` and those before the active one: *ret_n of them. */
static uint32_t *sealed(size_t *ret_n)
{
    uint32_t *ids = calloc(eng->idx.segs.used, sizeof *ids);
    must(ids ? 0 : -ENOMEM, "memory");
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        if (seg->id && seg->live && !keepers_need(eng, KEEPER_ACTIVE, seg))
            ids[(*ret_n)++] = seg->id;
    }
    return ids;
}

static void of_victims(const uint32_t *ids, size_t n, const char *kind, const char *end)
{
    struct times summary[VICTIMS] = {{0}}, walk[VICTIMS] = {{0}};
    size_t ranges = 0;
    for (size_t i = 0; i < n; i++) {
        struct idmap wanted = {0};
        struct ref_list a = {0}, b = {0};
        want(&wanted, ids[i]);
        look(&wanted, false, &a, &summary[i]);
        look(&wanted, true, &b, &walk[i]);
        compare(&a, &b);
        ranges += a.n;
        free(a.refs);
        free(b.refs);
        idmap_done(&wanted);
    }
    qsort(summary, n, sizeof *summary, by_cpu);
    qsort(walk, n, sizeof *walk, by_cpu);
    char name[64];
    printf("\"%s_ranges\": %zu, ", kind, n ? ranges / n : 0);
    (void)snprintf(name, sizeof name, "%s_summary", kind);
    print(name, &summary[n / 2], ", ");
    (void)snprintf(name, sizeof name, "%s_walk", kind);
    print(name, &walk[n / 2], end);
}

static void victims(void)
{
    size_t n = 0;
    uint32_t *ids = sealed(&n);
    if (n < VICTIMS + OVERWRITES_PER_SEGMENT)
        must(-EINVAL, "too few segments; more memories, or smaller segments");
    of_victims(ids, VICTIMS, "in_order", ", ");
    of_victims(ids + n - OVERWRITES_PER_SEGMENT + 1, OVERWRITES_PER_SEGMENT - 1, "at_random", "");
    free(ids);
}

static void all_segments(void)
{
    size_t n = 0;
    uint32_t *ids = sealed(&n);
    struct times summary = {0}, walk = {0};
    for (size_t i = 0; i < n; i += GROUP) {
        struct idmap wanted = {0};
        struct ref_list a = {0}, b = {0};
        for (size_t k = i; k < MIN_OF(n, i + GROUP); k++) {
            struct idmap one = {0};
            struct ref_list l = {0};
            want(&one, ids[k]);
            want(&wanted, ids[k]);
            look(&one, false, &l, &summary);
            must(ref_list_move(&a, &l), "memory");
            free(l.refs);
            idmap_done(&one);
        }
        look(&wanted, true, &b, &walk);
        ref_list_sort(&a);
        compare(&a, &b);
        free(a.refs);
        free(b.refs);
        idmap_done(&wanted);
    }
    printf("\"segments\": %zu, ", n);
    print("summary", &summary, ", ");
    print("walk", &walk, "");
    free(ids);
}

int main(int argc, char **argv)
{
    bool is_scrub = argc == 5 && strcmp(argv[1], "scrub") == 0;
    if (!is_scrub && !((argc == 4 || argc == 5) && strcmp(argv[1], "victim") == 0)) {
        (void)fprintf(stderr, "usage: summaries victim STORE MEMORIES [SEGMENT_SIZE]\n"
                              "       summaries scrub STORE MEMORIES SEGMENT_SIZE\n");
        return 2;
    }
    open_store(argv[2], argc == 5 ? strtoull(argv[4], NULL, 10) : 0);
    make_store(strtoull(argv[3], NULL, 10));
    printf("{\"memories\": %" PRIu64 ", ", eng->idx.s.n_files);
    if (is_scrub)
        all_segments();
    else
        victims();
    struct summaries_figures f = summaries_figures(eng);
    printf(", \"read\": %" PRIu64 ", \"scanned\": %" PRIu64 ", \"walked\": %" PRIu64 "}\n", f.read, f.scanned,
           f.walked);
    if (f.scanned || f.walked)
        must(-EINVAL, "a summary was missing");
    must(eng_close(eng), "close");
    return 0;
}
