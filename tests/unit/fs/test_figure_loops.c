/*
 * test_figure_loops.c - a line in a table of figures is all that it takes: the loops tell it in JSON, in
 * metrics and to people. And the daemon's tables keep the rules of figure_rules.h. */
#include "control/daemon_figures.h"
#include "control/figures.h"

#include "figure_rules.h"

/* A struct with one field of each type, and the lines that tell them. */
struct sample {
    uint64_t plain, bytes, ms, us, of_a, of_b;
    int64_t time, less;
    double ratio;
    char text[16], none[16];
    struct eng_hist hist;
};
#define IN(group_, field_, ...)                                                                              \
    {                                                                                                        \
        ENG_FIGURE_FIELD(struct sample, field_), .help = "Help.", .group = ENG_GROUP_##group_, __VA_ARGS__   \
    }
#define LINE(field_, ...) IN(SEGMENTS, field_, __VA_ARGS__)
static const struct eng_figure lines[] = {
    LINE(plain, .key = "plain", .metric = "engram_plain", .label = "plain"),
    LINE(bytes, .key = "bytes", .metric = "engram_bytes", .label = "bytes", .unit = ENG_UNIT_BYTES),
    LINE(ms, .key = "ms", .metric = "engram_ms_seconds", .label = "ms", .unit = ENG_UNIT_MILLISECONDS),
    LINE(us, .key = "us", .metric = "engram_us_seconds", .label = "us", .unit = ENG_UNIT_MICROSECONDS),
    LINE(of_a, .key = "sum", .metric = "engram_of_total", .label = "sum", .kind = ENG_FIGURE_COUNTER,
         .series = "which", .of = "a"),
    LINE(of_b, .key = "sum", .metric = "engram_of_total", .label = "sum", .kind = ENG_FIGURE_COUNTER,
         .series = "which", .of = "b"),
    LINE(time, .key = "time", .metric = "engram_time_seconds", .label = "time", .unit = ENG_UNIT_TIME),
    LINE(less, .key = "less", .metric = "engram_less_bytes", .label = "less", .unit = ENG_UNIT_BYTES),
    LINE(ratio, .key = "ratio", .metric = "engram_ratio", .label = "ratio", .unit = ENG_UNIT_RATIO),
    LINE(text, .key = "text", .metric = "engram_text", .label = "text", .kind = ENG_FIGURE_TEXT),
    LINE(none, .key = "none", .metric = "engram_info", .series = "what", .label = "none",
         .kind = ENG_FIGURE_TEXT, .show = ENG_SHOW_IF_ANY, .is_null_if_none = true),
    LINE(hist, .metric = "engram_hist_seconds", .label = "hist", .kind = ENG_FIGURE_HISTOGRAM,
         .bounds = eng_hist_bounds),
    IN(DISK, plain, .key = "elsewhere", .metric = "engram_elsewhere", .label = "elsewhere"),
    LINE(plain, .metric = "engram_hidden", .label = "hidden", .show = ENG_SHOW_NEVER),
};
static const struct sample sample = {.plain = 7,
                                     .bytes = 1536,
                                     .ms = 1500,
                                     .us = 2500000,
                                     .of_a = 1,
                                     .of_b = 2,
                                     .time = 1000000000,
                                     .less = -2048,
                                     .ratio = 0.25,
                                     .text = "a\"b",
                                     .hist = {.count = {1, 2}, .sum = 0.5}};
static const struct figures all = {lines, sizeof lines / sizeof *lines, &sample};
enum { HERE = FIGURES_GROUP(ENG_GROUP_SEGMENTS) };

static void says(struct text *t, const char *expected)
{
    cr_assert_not(text_failed(t));
    cr_expect_str_eq(t->data, expected);
    text_done(t);
}

Test(figure_loops, json)
{
    struct text t = TEXT_INIT;
    text_add(&t, "{");
    figures_json(&t, "  ", &all, HERE);
    says(&t, "{\n  \"plain\": 7,\n  \"bytes\": 1536,\n  \"ms\": 1500,\n  \"us\": 2500000,\n  \"sum\": 3,\n"
             "  \"time\": \"1970-01-01T00:00:01.000Z\",\n  \"less\": -2048,\n  \"ratio\": 0.25,\n"
             "  \"text\": \"a\\\"b\",\n  \"none\": null");
}

Test(figure_loops, metrics)
{
    struct text t = TEXT_INIT;
    const struct figures numbers = {lines, 9, &sample};
    figures_metrics(&t, &numbers, HERE);
    says(&t, "# HELP engram_plain Help.\n# TYPE engram_plain gauge\nengram_plain 7\n"
             "# HELP engram_bytes Help.\n# TYPE engram_bytes gauge\nengram_bytes 1536\n"
             "# HELP engram_ms_seconds Help.\n# TYPE engram_ms_seconds gauge\nengram_ms_seconds 1.500\n"
             "# HELP engram_us_seconds Help.\n# TYPE engram_us_seconds gauge\nengram_us_seconds 2.500000\n"
             "# HELP engram_of_total Help.\n# TYPE engram_of_total counter\n"
             "engram_of_total{which=\"a\"} 1\nengram_of_total{which=\"b\"} 2\n"
             "# HELP engram_time_seconds Help.\n# TYPE engram_time_seconds gauge\nengram_time_seconds 1\n"
             "# HELP engram_less_bytes Help.\n# TYPE engram_less_bytes gauge\nengram_less_bytes -2048\n"
             "# HELP engram_ratio Help.\n# TYPE engram_ratio gauge\nengram_ratio 0.25\n");
}

Test(figure_loops, metrics_of_texts_and_histograms)
{
    struct text t = TEXT_INIT;
    figures_metrics(&t, &all, HERE);
    cr_expect_not_null(strstr(t.data, "\nengram_text 1\n"));
    cr_expect_not_null(strstr(t.data, "\nengram_info{what=\"\"} 1\n"));
    cr_expect_not_null(strstr(t.data, "# TYPE engram_hist_seconds histogram\n"
                                      "engram_hist_seconds_bucket{le=\"0.0005\"} 1\n"
                                      "engram_hist_seconds_bucket{le=\"0.001\"} 3\n"));
    cr_expect_not_null(strstr(t.data, "engram_hist_seconds_bucket{le=\"+Inf\"} 3\n"
                                      "engram_hist_seconds_sum 0.5\nengram_hist_seconds_count 3\n"));
    cr_expect_null(strstr(t.data, "elsewhere"));
    text_done(&t);
}

Test(figure_loops, people)
{
    struct text t = TEXT_INIT;
    const struct figure_note notes[] = {{"plain", "a note"}, {"us", NULL}, {0}};
    figures_people(&t, &all, HERE, notes);
    says(&t, "  plain                  7   a note\n"
             "  bytes                  1.5 KiB\n"
             "  ms                     1500 ms\n"
             "  sum                    3\n"
             "  time                   1970-01-01T00:00:01.000Z\n"
             "  less                   -2.0 KiB\n"
             "  ratio                  0.2500\n"
             "  text                   a\"b\n");
}

Test(figure_loops, what_never_was_and_what_cannot_be_said)
{
    struct text t = TEXT_INIT;
    const struct sample zero = {.ratio = 0.0 / 0.0};
    const struct figures figures = {lines + 6, 3, &zero};
    const struct figure_note notes[] = {{0}};
    text_add(&t, "{");
    figures_json(&t, "", &figures, HERE);
    says(&t, "{\n\"time\": null,\n\"less\": 0,\n\"ratio\": 0");
    t = (struct text)TEXT_INIT;
    const struct figures time = {lines + 6, 1, &zero};
    figures_people(&t, &time, HERE, notes);
    says(&t, "  time                   never\n");
}

/* ---- the daemon's tables -------------------------------------------------------------- */

Test(figure_loops, the_daemons_figures_keep_the_rules)
{
    const struct figures figures = figures_of_daemon(NULL);
    size_t told = 0;
    rule_table(figures.list, figures.n);
    for (size_t i = 0; i < figures.n; i++) {
        told += figures.list[i].size;
        cr_expect_null(figures.list[i].key, "stats.json is the engine's");
        cr_expect_eq(figures.list[i].show, ENG_SHOW_NEVER);
    }
    cr_expect_eq(told, sizeof(struct daemon_figures), "each field is told");
}

Test(figure_loops, the_tables_together_name_nothing_twice)
{
    struct eng_figure kinds[ENG_SPACE_KINDS_MAX], together[512];
    const struct figures tables[] = {figures_of_stats(NULL), figures_of_daemon(NULL), figures_of_usage(NULL),
                                     figures_of_space(NULL, kinds)};
    size_t n = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        cr_assert_leq(n + tables[i].n, sizeof together / sizeof *together);
        memcpy(&together[n], tables[i].list, tables[i].n * sizeof *together);
        for (size_t j = n; i >= 2 && j < n + tables[i].n; j++)
            together[j].key = NULL; /* those of space are in an object of their own */
        n += tables[i].n;
    }
    rule_table(together, n);
}
