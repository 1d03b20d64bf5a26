/*
 * figures.c - see figures.h. */
#include "rules/figures.h"

#include "rules/rfc3339.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct figures figures_of_stats(const struct eng_stats *stats)
{
    return (struct figures){eng_figures, eng_figures_count, stats};
}

struct figures figures_of_space(const struct eng_space *space,
                                struct eng_figure ret_list[ENG_SPACE_KINDS_MAX])
{
    struct eng_space_kind every[ENG_SPACE_KINDS_MAX];
    const struct eng_space_kind *kinds = space ? space->kinds : every;
    unsigned n = space ? space->n_kinds : eng_space_kinds(every);
    for (unsigned i = 0; i < n; i++) {
        ret_list[i] = (struct eng_figure){
            ENG_FIGURE_FIELD(struct eng_space, kinds[i].bytes),
            .key = kinds[i].key,
            .metric = "engram_store_space_bytes",
            .series = "kind",
            .of = kinds[i].key,
            .unit = ENG_UNIT_BYTES,
            .group = ENG_GROUP_SPACE,
            .show = ENG_SHOW_IF_ANY,
            .label = kinds[i].label,
            .help = "Where they are; the sum over all kinds is engram_store_usage_bytes.",
        };
    }
    return (struct figures){ret_list, n, space};
}

struct figures figures_of_usage(const struct eng_space *space)
{
    static const struct eng_figure usage = {
        ENG_FIGURE_FIELD(struct eng_space, disk_bytes),
        .key = "disk_usage",
        .metric = "engram_store_usage_bytes",
        .unit = ENG_UNIT_BYTES,
        .group = ENG_GROUP_SPACE,
        .label = "on disk",
        .help = "Disk blocks that the store takes, as du counts.",
    };
    return (struct figures){&usage, 1, space};
}

/* ---- values ---------------------------------------------------------------------- */

static struct figure_value value_of(const struct eng_figure *figure, const void *of)
{
    const char *at = (const char *)of + figure->offset;
    struct figure_value v = {.text = ""};
    switch (figure->type) {
    case ENG_TYPE_U64:
        memcpy(&v.u64, at, sizeof v.u64);
        break;
    case ENG_TYPE_I64:
        memcpy(&v.i64, at, sizeof v.i64);
        break;
    case ENG_TYPE_REAL:
        memcpy(&v.real, at, sizeof v.real);
        break;
    case ENG_TYPE_TEXT:
        v.text = at;
        break;
    case ENG_TYPE_HIST:
        break;
    }
    return v;
}

static bool same_key(const struct eng_figure *a, const struct eng_figure *b)
{
    return a->key && b->key && !strcmp(a->key, b->key);
}

struct figure_value figure_value(const struct figures *figures, size_t i)
{
    const struct eng_figure *first = &figures->list[i];
    struct figure_value v = value_of(first, figures->of);
    for (i++; i < figures->n && same_key(first, &figures->list[i]); i++) {
        struct figure_value more = value_of(&figures->list[i], figures->of);
        v.u64 += more.u64;
        v.i64 += more.i64;
        v.real += more.real;
    }
    return v;
}

bool figure_is_first(const struct figures *figures, size_t i)
{
    return !i || !same_key(&figures->list[i - 1], &figures->list[i]);
}

bool figure_is_any(const struct eng_figure *figure, const struct figure_value *value)
{
    return value->u64 || value->i64 || value->real != 0 || (figure->type != ENG_TYPE_HIST && *value->text);
}

/* ---- for people ------------------------------------------------------------------- */

char *figure_bytes(uint64_t bytes, char buf[32])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return buf;
}

static void time_text(const struct figure_value *value, char *buf, size_t size)
{
    char time[40] = "never";
    if (value->i64)
        (void)rfc3339_format_ms(value->i64, time);
    snprintf(buf, size, "%s", *value->text ? value->text : time);
}

static const char *unit_text(enum eng_figure_unit unit)
{
    switch (unit) {
    case ENG_UNIT_SECONDS:
        return " s";
    case ENG_UNIT_MILLISECONDS:
        return " ms";
    case ENG_UNIT_MICROSECONDS:
        return " us";
    default:
        return "";
    }
}

static void number_text(const struct eng_figure *figure, const struct figure_value *value, char *buf,
                        size_t size)
{
    const char *unit = unit_text(figure->unit);
    if (figure->type == ENG_TYPE_REAL)
        snprintf(buf, size, "%.4f%s", value->real, unit);
    else if (figure->type == ENG_TYPE_I64)
        snprintf(buf, size, "%" PRId64 "%s", value->i64, unit);
    else
        snprintf(buf, size, "%" PRIu64 "%s", value->u64, unit);
}

char *figure_text(const struct eng_figure *figure, const struct figure_value *value, char *buf, size_t size)
{
    char bytes[32];
    bool less = figure->type == ENG_TYPE_I64 && value->i64 < 0;
    uint64_t n = less ? -(uint64_t)value->i64 : value->u64 + (uint64_t)value->i64;
    if (figure->unit == ENG_UNIT_TIME)
        time_text(value, buf, size);
    else if (figure->unit == ENG_UNIT_BYTES)
        snprintf(buf, size, "%s%s", less ? "-" : "", figure_bytes(n, bytes));
    else if (figure->type == ENG_TYPE_TEXT)
        snprintf(buf, size, "%s", value->text);
    else
        number_text(figure, value, buf, size);
    return buf;
}

const char *figure_note(const struct eng_figure *figure, const struct figure_value *value,
                        const struct figure_note *notes)
{
    if (figure->type == ENG_TYPE_HIST || figure->show == ENG_SHOW_NEVER)
        return NULL;
    if (figure->show == ENG_SHOW_IF_ANY && !figure_is_any(figure, value))
        return NULL;
    for (; notes->key; notes++) {
        if (figure->key && !strcmp(notes->key, figure->key))
            return notes->note;
    }
    return "";
}
