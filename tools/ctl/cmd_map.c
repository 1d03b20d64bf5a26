/*
 * cmd_map.c - engramctl map: a picture of the arena, each segment a cell, live
 * against dead; in the terminal, with colour where it is wanted, or as SVG.
 *
 * State: struct map, for one run. */
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl map [--svg|--json] [--width N] TARGET\n"
    "\n"
    "Draws the segments of TARGET, a store that is not mounted or a mount point: a cell\n"
    "for each, in order of age, the fuller the more of its content is live.\n"
    "\n"
    "  --svg       an SVG picture on standard output\n"
    "  --json      the segments as JSON: name, kind, size, total and live content, active\n"
    "  --width N   cells in a line, 1 to 500; 64 by default\n"
    "\n"
    "Colours are used on a terminal unless NO_COLOR is set.\n"
    "\n"
    "Exit codes: 0 printed, 2 not.\n";

struct map {
    struct eng_file *files; /* segments only */
    size_t n, cap;
    bool failed;
};

static int on_file(void *arg, const struct eng_file *f)
{
    struct map *m = arg;
    if (f->kind != ENG_FILE_LOG && f->kind != ENG_FILE_SURVIVORS)
        return 0;
    struct eng_file *files = array_room(m->files, m->n, &m->cap, sizeof *files);
    if (!files) {
        m->failed = true;
        return 1;
    }
    m->files = files;
    m->files[m->n++] = *f;
    return 0;
}

/* Names go to a terminal, into an SVG and into JSON as they are. */
static bool is_name(const char *name)
{
    return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.")];
}

/* The text of .engram/segments. Lines that are not understood are left out. */
static void parse_segments(struct map *m, char *text)
{
    char *rest = text, *line, kind[16], state[16];
    while ((line = strsep(&rest, "\n"))) {
        struct eng_file f = {0};
        if (sscanf(line, "%31[^\t]\t%" SCNu64 "\t%15[^\t]\t%15[^\t]\t%" SCNu64 "\t%" SCNu64, f.name, &f.size,
                   kind, state, &f.total, &f.live) != 6 ||
            !is_name(f.name))
            continue;
        f.kind = ENG_FILE_CHECKPOINT;
        if (!strcmp(kind, "log"))
            f.kind = ENG_FILE_LOG;
        else if (!strcmp(kind, "survivors"))
            f.kind = ENG_FILE_SURVIVORS;
        f.active = !strcmp(state, "active");
        if (on_file(m, &f))
            return;
    }
}

static int load(struct target *t, struct map *m)
{
    struct buf text = {0};
    int r;
    if (t->kind == TARGET_MOUNT) {
        r = control_read(t->mountpoint, "segments", &text);
        if (r < 0)
            cli_error("%s: %s", t->path, control_strerror(r));
        else if (text.len)
            parse_segments(m, text.data);
        buf_done(&text);
    } else {
        r = eng_files(t->eng, on_file, m);
        if (r < 0)
            cli_error("%s: %s", t->path, strerror(-r));
    }
    if (m->failed)
        cli_error("out of memory");
    return r < 0 || m->failed ? -1 : 0;
}

/* 0 (nothing live) to 8 eighths; only what is wholly live has 8. */
static unsigned eighths(const struct eng_file *f)
{
    if (!f->total || f->live >= f->total)
        return f->total ? 8 : 0;
    unsigned e = (unsigned)((double)f->live / (double)f->total * 8);
    if (f->live && !e)
        return 1;
    return e > 7 ? 7 : e;
}

static void print_terminal(const struct map *m, unsigned width)
{
    static const char *const bar[] = {"·", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    bool colour = isatty(STDOUT_FILENO) && (!no || !*no) && term && strcmp(term, "dumb") != 0;
    uint64_t total = 0, live = 0;
    char a[32], b[32];
    for (size_t i = 0; i < m->n; i++) {
        const struct eng_file *f = &m->files[i];
        unsigned e = eighths(f);
        const char *cell = f->active ? "▶" : bar[e];
        const char *c = e >= 4 ? "\033[33m" : "\033[31m";
        if (e == 8)
            c = "\033[32m";
        if (f->active)
            c = "\033[36m";
        if (colour)
            printf("%s%s\033[0m", c, cell);
        else
            printf("%s", cell);
        total += f->total;
        live += f->live;
        if ((i + 1) % width == 0 || i + 1 == m->n)
            putchar('\n');
    }
    printf("%zu segments, %s live, %s dead   █ all live  ▄ half  ▁ little  · empty  ▶ being written\n", m->n,
           cli_bytes(live, a), cli_bytes(total > live ? total - live : 0, b));
}

enum { CELL = 14 };

static void print_svg(const struct map *m, unsigned width)
{
    size_t rows = m->n ? (m->n + width - 1) / width : 1;
    printf("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%zu\" role=\"img\">\n"
           "<title>%zu segments: live content green, dead red, the active segment framed blue</title>\n",
           width * CELL + 2, rows * CELL + 2, m->n);
    for (size_t i = 0; i < m->n; i++) {
        const struct eng_file *f = &m->files[i];
        size_t x = 1 + i % width * CELL, y = 1 + i / width * CELL;
        double live = f->total ? (double)f->live / (double)f->total * (CELL - 2) : 0;
        double dead = f->total ? CELL - 2 - live : 0;
        printf("<g><title>%s: %" PRIu64 " of %" PRIu64 " bytes live</title>"
               "<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%d\" fill=\"#eee\" stroke=\"%s\"/>"
               "<rect x=\"%zu\" y=\"%zu\" width=\"%d\" height=\"%.1f\" fill=\"#c33\"/>"
               "<rect x=\"%zu\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"#393\"/></g>\n",
               f->name, f->live, f->total, x, y, CELL - 2, CELL - 2, f->active ? "#06c" : "none", x, y,
               CELL - 2, dead, x, (double)y + (CELL - 2 - live), CELL - 2, live);
    }
    puts("</svg>");
}

static void print_json(const struct map *m)
{
    puts("{\n  \"segments\": [");
    for (size_t i = 0; i < m->n; i++) {
        const struct eng_file *f = &m->files[i];
        const char *kind = f->kind == ENG_FILE_LOG ? "log" : "survivors";
        const char *active = f->active ? "true" : "false";
        printf("    {\"name\": \"%s\", \"kind\": \"%s\", \"size\": %" PRIu64 ", \"total_bytes\": %" PRIu64
               ", \"live_bytes\": %" PRIu64 ", \"active\": %s}%s\n",
               f->name, kind, f->size, f->total, f->live, active, i + 1 < m->n ? "," : "");
    }
    puts("  ]\n}");
}

int cmd_map(int argc, char **argv)
{
    static const struct option options[] = {{"svg", no_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"width", required_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool svg = false, json = false;
    unsigned long width = 64;
    char *end;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help_text, stdout);
            return CLI_OK;
        }
        if (o == 's') {
            svg = true;
        } else if (o == 'j') {
            json = true;
        } else if (o == 'w') {
            width = strtoul(optarg, &end, 10);
            if (*end || width < 1 || width > 500)
                return cli_usage("map", "--width %s: must be 1 to 500", optarg);
        } else {
            return cli_usage("map", "bad option '%s'", argv[optind - 1]);
        }
    }
    if (argc - optind != 1)
        return cli_usage("map", "expected one TARGET");
    if (svg && json)
        return cli_usage("map", "--svg and --json do not go together");
    struct target *t;
    struct map m = {0};
    t = subcommand_open(argv[optind], TARGET_READ_ONLY);
    if (!t)
        return CLI_ERROR;
    int r = load(t, &m);
    if (!r && svg)
        print_svg(&m, (unsigned)width);
    else if (!r && json)
        print_json(&m);
    else if (!r)
        print_terminal(&m, (unsigned)width);
    free(m.files);
    (void)target_close(t);
    return r < 0 ? CLI_ERROR : CLI_OK;
}
