/*
 * cmd_stat.c - engramctl stat: the figures of a store, for people or as JSON.
 * No state. */
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl stat [--json] TARGET\n"
    "\n"
    "Prints the figures of TARGET: a store that is not mounted (opened read-only) or\n"
    "a mount point.\n"
    "\n"
    "  --json   the same keys as the mount's .engram/stats.json\n"
    "\n"
    "Exit codes: 0 printed, 2 not.\n";

enum { LABEL = 22 };

/* What the daemon of a mount says are words of anybody's: values, and the keys of kinds of space. */
static void line(const char *label, const char *value, const char *note)
{
    printf("  %-*s ", LABEL, label);
    cli_print_name(value);
    printf("%s%s\n", *note ? "   " : "", note);
}

static void bytes(const char *label, uint64_t v, const char *note)
{
    char text[32];
    line(label, cli_bytes(v, text), note);
}

/* What is said of figures beside their values. */
static const struct figure_note notes[] = {
    {"orphans", "removed, but still open somewhere"},
    {"damaged_extents", "engramctl check names them"},
    {"segments_pending", "empty, unlinked after the next checkpoint"},
    {"pinned_segments", "a reader is in them"},
    {"holds", "no segment is unlinked until they are released"},
    {0},
};

/* A line for each figure of these groups that has one, from the JSON of a store or of a mount. */
static void figures(const json_t *o, unsigned groups)
{
    const struct figures all = figures_of_stats(NULL);
    char text[256];
    for (size_t i = 0; i < all.n; i++) {
        const struct eng_figure *f = &all.list[i];
        if (!f->key || !figure_is_in(f, groups) || !figure_is_first(&all, i))
            continue;
        struct figure_value v = report_value(o, f);
        const char *note = figure_note(f, &v, notes);
        if (note)
            line(f->label, figure_text(f, &v, text, sizeof text), note);
    }
}

static void print_kind(const struct eng_space_kind *k)
{
    char text[34], *at = text;
    if (k->bytes < 0)
        *at++ = '-';
    (void)cli_bytes((uint64_t)(k->bytes < 0 ? -k->bytes : k->bytes), at);
    bool comes_back = *k->gives_back && strncmp(k->gives_back, "nothing", 7) != 0;
    const char *back = comes_back ? "back by: " : "";
    int pad = strlen(k->label) < LABEL ? (int)(LABEL - strlen(k->label)) : 0;
    printf("  ");
    cli_print_name(k->label);
    printf("%*s %10s   %s%s\n", pad, "", text, back, k->gives_back);
}

static void print_orphans(const json_t *orphans)
{
    const json_t *orphan;
    char text[34];
    size_t n;
    json_array_foreach(orphans, n, orphan)
    {
        printf("    inode %" PRIu64 "   %s   ", report_number(orphan, "inode"),
               cli_bytes(report_number(orphan, "bytes"), text));
        cli_print_name(report_text(orphan, "id"));
        putchar('\n');
    }
}

/* The space receipt: every byte that du counts, and what gives it back. A mounted store may have kinds that
 * are known only by their keys here. */
static void print_space(const json_t *o)
{
    json_t *space = json_deep_copy(json_object_get(o, "space")), *value;
    struct eng_space_kind kinds[ENG_SPACE_KINDS_MAX];
    unsigned n = eng_space_kinds(kinds);
    const char *key;
    puts("space");
    for (unsigned i = 0; i < n; i++) {
        kinds[i].bytes = json_integer_value(json_object_get(space, kinds[i].key));
        (void)json_object_del(space, kinds[i].key);
        if (kinds[i].bytes)
            print_kind(&kinds[i]);
        if (kinds[i].bytes && kinds[i].id == ENG_SPACE_ORPHANS)
            print_orphans(json_object_get(o, "open_orphans"));
    }
    json_object_foreach(space, key, value)
    {
        const struct eng_space_kind k = {ENG_SPACE_KEPT, key, key, "", json_integer_value(value)};
        if (k.bytes && strcmp(key, "disk_usage") != 0)
            print_kind(&k);
    }
    bytes("on disk", report_number(space, "disk_usage"), "the sum, as du says");
    json_decref(space);
}

/* Groups of figures by headline: each is under one. */
enum {
    IN_MEMORIES = FIGURES_GROUP(ENG_GROUP_MEMORIES) | FIGURES_GROUP(ENG_GROUP_DAMAGE),
    IN_COMPACTION = FIGURES_GROUP(ENG_GROUP_COMPACTION) | FIGURES_GROUP(ENG_GROUP_JOBS),
    IN_CONTENT = FIGURES_GROUP(ENG_GROUP_CONTENT),
    IN_TROUBLE = FIGURES_GROUP(ENG_GROUP_TROUBLE),
    IN_STORE = FIGURES_ALL & ~(IN_MEMORIES | IN_COMPACTION | IN_CONTENT | IN_TROUBLE),
};

static void print_people(const json_t *o)
{
    char text[32];
    uint64_t total = report_number(o, "total_bytes"), live = report_number(o, "live_bytes");
    puts("memories");
    figures(o, IN_MEMORIES);
    puts("content");
    bytes("live", live, "");
    uint64_t dead = total > live ? total - live : 0;
    bytes("dead", dead, dead ? "engramctl compact gives it back" : "");
    snprintf(text, sizeof text, "%.4f", report_real(o, "fragmentation_ratio"));
    line("fragmentation", text, "");
    figures(o, IN_CONTENT);
    print_space(o);
    puts("store");
    figures(o, IN_STORE);
    puts("compaction");
    figures(o, IN_COMPACTION);
    figures(o, IN_TROUBLE);
}

static json_t *stat_mount(const struct target *t)
{
    struct buf text = {0};
    json_error_t error;
    json_t *o = NULL;
    int r = control_read(t->mountpoint, "stats.json", &text);
    if (r < 0)
        cli_error("%s: %s", t->path, control_strerror(r));
    else if (!(o = json_loadb(text.data, text.len, 0, &error)))
        cli_error("%s/.engram/stats.json: %s", t->mountpoint, error.text);
    buf_done(&text);
    return o;
}

static json_t *stat_store(const struct target *t)
{
    struct eng_stats s;
    struct eng_space space;
    int r = eng_stats(t->eng, &s);
    if (!r)
        r = eng_space(t->eng, &space);
    if (r < 0)
        cli_error("%s: %s", t->path, strerror(-r));
    return r < 0 ? NULL : report_stats(&s, &space);
}

int cmd_stat(int argc, char **argv)
{
    bool json = false;
    const struct subcommand_option options[] = {{"json", &json, NULL}, {0}};
    int code = subcommand_options(argc, argv, "stat", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cli_usage("stat", "expected one TARGET");
    struct target *t = subcommand_open(argv[optind], TARGET_READ_ONLY);
    if (!t)
        return CLI_ERROR;
    json_t *o = t->kind == TARGET_MOUNT ? stat_mount(t) : stat_store(t);
    (void)target_close(t);
    if (!o)
        return CLI_ERROR;
    if (json)
        report_print_json(o);
    else
        print_people(o);
    json_decref(o);
    return CLI_OK;
}
