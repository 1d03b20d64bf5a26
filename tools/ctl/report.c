/*
 * report.c - engine reports as JSON. Pure functions. */
#include "ctl/report.h"

#include "rules/job_state.h"
#include "rules/rfc3339.h"
#include "shared/cli.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void put_number(json_t *o, const char *key, uint64_t v)
{
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static void put_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, json_real(isfinite(v) ? v : 0));
}

/* NULL or "" is null: "no error" and "no reason" are not texts. */
static void put_text(json_t *o, const char *key, const char *v)
{
    json_t *s = v && *v ? json_string(v) : NULL;
    json_object_set_new(o, key, s ? s : json_null());
}

static json_t *figure_json(const struct eng_figure *f, const struct figure_value *v)
{
    char time[40];
    if (!figure_is_any(f, v) && (f->unit == ENG_UNIT_TIME || f->is_null_if_none))
        return json_null();
    if (f->unit == ENG_UNIT_TIME)
        return json_string(rfc3339_format(v->i64, time));
    switch (f->type) {
    case ENG_TYPE_TEXT:
        return json_string(v->text);
    case ENG_TYPE_REAL:
        return json_real(isfinite(v->real) ? v->real : 0);
    case ENG_TYPE_I64:
        return json_integer(v->i64);
    default:
        return json_integer((json_int_t)v->u64);
    }
}

/* A member for each figure with a key in those groups; a text that JSON cannot say is null. */
static void put_figures(json_t *o, struct figures figures, unsigned groups)
{
    for (size_t i = 0; i < figures.n; i++) {
        const struct eng_figure *f = &figures.list[i];
        if (!f->key || !figure_is_in(f, groups) || !figure_is_first(&figures, i))
            continue;
        struct figure_value v = figure_value(&figures, i);
        json_t *value = figure_json(f, &v);
        json_object_set_new(o, f->key, value ? value : json_null());
    }
}

static void put_space(json_t *o, const struct eng_space *sp)
{
    struct eng_figure kinds[ENG_SPACE_KINDS_MAX];
    json_t *space = json_object(), *open = json_array();
    put_figures(space, figures_of_space(sp, kinds), FIGURES_ALL);
    put_figures(space, figures_of_usage(sp), FIGURES_ALL);
    for (uint64_t i = 0; i < sp->n_orphans && i < ENG_SPACE_ORPHANS_MAX; i++) {
        json_t *orphan = json_object();
        put_number(orphan, "inode", sp->orphans[i].ino);
        put_number(orphan, "bytes", sp->orphans[i].bytes);
        put_text(orphan, "id", sp->orphans[i].path);
        json_array_append_new(open, orphan);
    }
    json_object_set_new(o, "space", space);
    json_object_set_new(o, "open_orphans", open);
}

json_t *report_stats(const struct eng_stats *s, const struct eng_space *space)
{
    const unsigned trouble = FIGURES_GROUP(ENG_GROUP_TROUBLE);
    json_t *o = json_object();
    if (!o)
        return NULL;
    put_figures(o, figures_of_stats(s), FIGURES_ALL & ~trouble);
    put_space(o, space);
    put_figures(o, figures_of_stats(s), trouble);
    return o;
}

json_t *report_compaction(const struct eng_job_report *r)
{
    const struct eng_compact_figures *c = &r->compact;
    json_t *o = json_object();
    if (!o)
        return NULL;
    json_object_set_new(o, "state", json_string(job_state_name(r->state)));
    put_number(o, "old_size", c->old_size);
    put_number(o, "new_size", c->new_size);
    put_number(o, "bytes_reclaimed", c->bytes_reclaimed);
    put_number(o, "duration_ms", r->duration_ms);
    put_real(o, "fragmentation_before", c->fragmentation_before);
    put_real(o, "fragmentation_after", c->fragmentation_after);
    put_number(o, "segments_done", r->done);
    put_number(o, "segments_total", r->total);
    put_number(o, "bytes_moved", c->bytes_moved);
    put_number(o, "extents_moved", c->extents_moved);
    put_number(o, "extents_lost", c->extents_lost);
    put_number(o, "extents_damaged", c->extents_damaged);
    put_number(o, "rate", r->rate);
    json_object_set_new(o, "estimate_error",
                        r->state == ENG_JOB_DONE
                            ? json_pack("{s:I, s:I}", "bytes_to_move", (json_int_t)c->estimate_error_moved,
                                        "bytes_given_back", (json_int_t)c->estimate_error_given_back)
                            : json_null());
    json_object_set_new(o, "reason", json_string(r->reason));
    const char *error = r->error ? strerror(-r->error) : NULL;
    put_text(o, "error", r->error_text[0] ? r->error_text : error);
    return o;
}

json_t *report_estimate(const struct eng_compact_estimate *e)
{
    json_t *o = json_object();
    if (!o)
        return NULL;
    put_number(o, "segments", e->segments);
    put_number(o, "bytes_to_move", e->bytes_to_move);
    put_number(o, "bytes_given_back", e->bytes_given_back);
    put_text(o, "error", NULL);
    return o;
}

void report_print_json(const json_t *object)
{
    char *text = object ? json_dumps(object, JSON_INDENT(2) | JSON_PRESERVE_ORDER) : NULL;
    if (text)
        cli_print_json(text, strlen(text));
    free(text);
}

uint64_t report_number(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));
    return v > 0 ? (uint64_t)v : 0;
}

double report_real(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

const char *report_text(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

struct figure_value report_value(const json_t *object, const struct eng_figure *figure)
{
    const json_t *v = json_object_get(object, figure->key);
    struct figure_value value = {.text = report_text(object, figure->key)};
    if (figure->type == ENG_TYPE_REAL)
        value.real = json_number_value(v);
    else if (figure->type == ENG_TYPE_U64)
        value.u64 = report_number(object, figure->key);
    else if (figure->unit != ENG_UNIT_TIME)
        value.i64 = json_integer_value(v);
    return value;
}

const char *report_type(uint32_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return "file";
    case S_IFDIR:
        return "folder";
    case S_IFLNK:
        return "symlink";
    case S_IFIFO:
        return "fifo";
    case S_IFSOCK:
        return "socket";
    case S_IFCHR:
        return "character device";
    default:
        return "block device";
    }
}

const char *report_event(enum eng_version_event event)
{
    static const char *const words[] = {
        [ENG_VERSION_UNKNOWN] = "unknown", [ENG_VERSION_PRESENT] = "present",
        [ENG_VERSION_CREATED] = "created", [ENG_VERSION_CHANGED] = "changed",
        [ENG_VERSION_RENAMED] = "renamed", [ENG_VERSION_REPLACED] = "replaced",
        [ENG_VERSION_LINKED] = "linked",   [ENG_VERSION_RESTORED] = "restored",
        [ENG_VERSION_REMOVED] = "removed", [ENG_VERSION_FOLDER] = "folder",
    };
    return words[event];
}
