/*
 * figures.c - see figures.h. */
#include "control/figures.h"

#include <inttypes.h>
#include <string.h>

/* ---- JSON -------------------------------------------------------------------------- */

static void json_value(struct text *t, const struct eng_figure *f, const struct figure_value *v)
{
    bool none = !figure_is_any(f, v);
    if (none && (f->unit == ENG_UNIT_TIME || f->is_null_if_none)) {
        text_add(t, "null");
    } else if (f->unit == ENG_UNIT_TIME) {
        text_add(t, "\"");
        text_time(t, v->i64);
        text_add(t, "\"");
    } else if (f->type == ENG_TYPE_TEXT) {
        text_json_string(t, v->text);
    } else if (f->type == ENG_TYPE_REAL) {
        text_json_number(t, v->real);
    } else if (f->type == ENG_TYPE_I64) {
        text_add(t, "%" PRId64, v->i64);
    } else {
        text_add(t, "%" PRIu64, v->u64);
    }
}

void figures_json(struct text *t, const char *indent, const struct figures *figures, unsigned groups)
{
    for (size_t i = 0; i < figures->n; i++) {
        const struct eng_figure *f = &figures->list[i];
        if (!f->key || !figure_is_in(f, groups) || !figure_is_first(figures, i))
            continue;
        struct figure_value v = figure_value(figures, i);
        text_json_key(t, indent, f->key);
        json_value(t, f, &v);
    }
}

/* ---- Prometheus --------------------------------------------------------------------- */

static const char *const kinds[] = {
    [ENG_FIGURE_GAUGE] = "gauge",
    [ENG_FIGURE_COUNTER] = "counter",
    [ENG_FIGURE_HISTOGRAM] = "histogram",
    [ENG_FIGURE_TEXT] = "gauge",
};

/* NAME{series="of"} and a space; with no label if `of` is NULL. */
static void sample(struct text *t, const struct eng_figure *f, const char *of)
{
    text_add(t, "%s", f->metric);
    if (of)
        text_add(t, "{%s=\"%s\"}", f->series, of);
    text_add(t, " ");
}

static void number_sample(struct text *t, const struct eng_figure *f, const struct figure_value *v)
{
    sample(t, f, f->of);
    if (f->unit == ENG_UNIT_TIME)
        text_json_number(t, (double)v->i64 / 1e9);
    else if (f->unit == ENG_UNIT_MILLISECONDS)
        text_add(t, "%.3f", (double)v->u64 / 1e3);
    else if (f->unit == ENG_UNIT_MICROSECONDS)
        text_add(t, "%.6f", (double)v->u64 / 1e6);
    else if (f->type == ENG_TYPE_REAL)
        text_json_number(t, v->real);
    else if (f->type == ENG_TYPE_I64)
        text_add(t, "%" PRId64, v->i64);
    else
        text_add(t, "%" PRIu64, v->u64);
    text_add(t, "\n");
}

/* The name of a part of a histogram, with the figure's label if it has one. */
static void histogram_part(struct text *t, const struct eng_figure *f, const char *part)
{
    text_add(t, "%s_%s", f->metric, part);
    if (f->series)
        text_add(t, "{%s=\"%s\"}", f->series, f->of);
}

static void histogram(struct text *t, const struct eng_figure *f, const void *of)
{
    struct eng_hist h;
    uint64_t sum = 0;
    memcpy(&h, (const char *)of + f->offset, sizeof h);
    for (int i = 0; i < ENG_HIST_BUCKETS; i++) {
        sum += h.count[i];
        text_add(t, "%s_bucket{", f->metric);
        if (f->series)
            text_add(t, "%s=\"%s\",", f->series, f->of);
        if (i < ENG_HIST_BUCKETS - 1)
            text_add(t, "le=\"%g\"} %" PRIu64 "\n", f->bounds[i], sum);
        else
            text_add(t, "le=\"+Inf\"} %" PRIu64 "\n", sum);
    }
    histogram_part(t, f, "sum");
    text_add(t, " %.9g\n", h.sum);
    histogram_part(t, f, "count");
    text_add(t, " %" PRIu64 "\n", sum);
}

static void metric(struct text *t, const struct figures *figures, size_t i)
{
    const struct eng_figure *f = &figures->list[i];
    const struct figures alone = {f, 1, figures->of};
    struct figure_value v = figure_value(&alone, 0);
    if (f->type == ENG_TYPE_HIST) {
        histogram(t, f, figures->of);
    } else if (f->type == ENG_TYPE_TEXT) {
        sample(t, f, f->series ? v.text : NULL);
        text_add(t, "%d\n", f->series || *v.text);
    } else {
        number_sample(t, f, &v);
    }
}

void figures_metrics(struct text *t, const struct figures *figures, unsigned groups)
{
    const char *family = "";
    for (size_t i = 0; i < figures->n; i++) {
        const struct eng_figure *f = &figures->list[i];
        if (!f->metric || !figure_is_in(f, groups))
            continue;
        if (strcmp(family, f->metric) != 0)
            text_add(t, "# HELP %s %s\n# TYPE %s %s\n", f->metric, f->help, f->metric, kinds[f->kind]);
        family = f->metric;
        metric(t, figures, i);
    }
}

/* ---- people -------------------------------------------------------------------------- */

void figures_people(struct text *t, const struct figures *figures, unsigned groups,
                    const struct figure_note *notes)
{
    char buf[256];
    for (size_t i = 0; i < figures->n; i++) {
        const struct eng_figure *f = &figures->list[i];
        if (!figure_is_in(f, groups) || !figure_is_first(figures, i))
            continue;
        struct figure_value v = figure_value(figures, i);
        const char *note = figure_note(f, &v, notes);
        if (note)
            text_add(t, "  %-22s %s%s%s\n", f->label, figure_text(f, &v, buf, sizeof buf), *note ? "   " : "",
                     note);
    }
}
