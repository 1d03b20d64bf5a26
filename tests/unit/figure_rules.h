/*
 * figure_rules.h - what holds of each table of figures: Prometheus's conventions (what promtool check metrics
 * asks for) and that each figure says enough of itself for machines and for people. */
#ifndef ENGRAMFS_TESTS_FIGURE_RULES_H
#define ENGRAMFS_TESTS_FIGURE_RULES_H

#include "admin.h"

#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

static bool rule_word(const char *s, const char *more)
{
    bool good = islower((unsigned char)*s);
    for (; *s && good; s++)
        good = islower((unsigned char)*s) || isdigit((unsigned char)*s) || strchr(more, *s);
    return good;
}

static bool rule_ends(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static void rule_type(const struct eng_figure *f, const char *name)
{
    const size_t sizes[] = {[ENG_TYPE_U64] = 8, [ENG_TYPE_I64] = 8, [ENG_TYPE_REAL] = sizeof(double)};
    bool hist = f->kind == ENG_FIGURE_HISTOGRAM, text = f->kind == ENG_FIGURE_TEXT;
    cr_expect_eq(f->type == ENG_TYPE_HIST, hist, "%s", name);
    cr_expect_eq(f->type == ENG_TYPE_TEXT, text, "%s", name);
    cr_expect_eq(f->unit == ENG_UNIT_TEXT, text, "%s", name);
    cr_expect_eq(f->unit == ENG_UNIT_RATIO, f->type == ENG_TYPE_REAL, "%s", name);
    cr_expect(f->unit != ENG_UNIT_TIME || f->type == ENG_TYPE_I64, "%s", name);
    cr_expect(!hist || (f->size == sizeof(struct eng_hist) && f->bounds && !f->key), "%s", name);
    cr_expect(hist || text || f->size == sizes[f->type], "%s", name);
    cr_expect(text || !f->is_null_if_none, "%s", name);
    cr_expect(f->kind != ENG_FIGURE_COUNTER || f->type == ENG_TYPE_U64, "%s", name);
}

/* Names of metrics: base units behind, _total on counters only, no words of Prometheus's own. */
static void rule_metric(const struct eng_figure *f)
{
    const char *m = f->metric;
    cr_expect(rule_word(m, "_") && !strstr(m, "__"), "%s", m);
    cr_expect(!strncmp(m, "engram_", 7) || !strncmp(m, "process_", 8), "%s", m);
    cr_expect_eq(rule_ends(m, "_total"), f->kind == ENG_FIGURE_COUNTER, "%s", m);
    const char *const own[] = {"_bucket", "_count", "_sum", "_gauge", "_counter", "_histogram"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        cr_expect_not(rule_ends(m, own[i]), "%s", m);
    if (f->unit == ENG_UNIT_BYTES)
        cr_expect_not_null(strstr(m, "_bytes"), "%s", m);
    if (f->unit >= ENG_UNIT_SECONDS && f->unit <= ENG_UNIT_TIME)
        cr_expect(rule_ends(m, "_seconds") || rule_ends(m, "_seconds_total"), "%s", m);
    if (f->unit == ENG_UNIT_RATIO)
        cr_expect(rule_ends(m, "_ratio"), "%s", m);
    cr_expect_eq(!f->series, !f->of && strcmp(m, "engram_build_info") != 0, "%s: a label has a value", m);
    cr_expect(!f->series || (rule_word(f->series, "_") && strcmp(f->series, "le") != 0), "%s", m);
}

static void rule_words(const struct eng_figure *f, const char *name)
{
    cr_expect(f->help && isupper((unsigned char)f->help[0]) | isdigit((unsigned char)f->help[0]), "%s", name);
    cr_expect(f->help && rule_ends(f->help, ".") && !strchr(f->help, '\n') && !strchr(f->help, '\\'), "%s",
              name);
    cr_expect(f->label && *f->label && strlen(f->label) <= 22, "%s", name);
    cr_expect(f->group < ENG_GROUPS, "%s", name);
    cr_expect(!f->key || rule_word(f->key, "_"), "%s", name);
}

/* One name for two figures is allowed only side by side: a sum in JSON, series of one metric in Prometheus.
 */
static void rule_unique(const struct eng_figure *list, size_t i, size_t j)
{
    const struct eng_figure *a = &list[i], *b = &list[j];
    bool same_key = a->key && b->key && !strcmp(a->key, b->key);
    bool same_metric = a->metric && b->metric && !strcmp(a->metric, b->metric);
    if (same_key) {
        cr_expect(same_metric && list[j - 1].key && !strcmp(list[j - 1].key, b->key), "key %s twice", b->key);
        cr_expect(a->type == b->type && a->show == b->show && !strcmp(a->label, b->label), "%s", b->key);
    }
    if (same_metric) {
        cr_expect(list[j - 1].metric && !strcmp(list[j - 1].metric, b->metric), "metric %s twice", b->metric);
        cr_expect(a->series && b->series && !strcmp(a->series, b->series) && strcmp(a->of, b->of) != 0, "%s",
                  b->metric);
        cr_expect(!strcmp(a->help, b->help) && a->kind == b->kind && a->group == b->group, "%s", b->metric);
    }
}

static void rule_table(const struct eng_figure *list, size_t n)
{
    cr_assert_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        const char *name = list[i].metric ? list[i].metric : list[i].label;
        rule_words(&list[i], name);
        rule_type(&list[i], name);
        if (list[i].metric)
            rule_metric(&list[i]);
        for (size_t j = i + 1; j < n; j++)
            rule_unique(list, i, j);
    }
}

#endif
