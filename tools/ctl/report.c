/*
 * report.c - engine reports as JSON. Pure functions. */
#include "ctl/report.h"

#include "rules/job_state.h"
#include "rules/rfc3339.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

static void put_space(json_t *o, const struct eng_space *sp)
{
    json_t *space = json_object(), *open = json_array();
    for (unsigned i = 0; i < sp->n_kinds; i++)
        json_object_set_new(space, sp->kinds[i].key, json_integer(sp->kinds[i].bytes));
    put_number(space, "disk_usage", sp->disk_bytes);
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
    char time[40];
    json_t *o = json_object();
    if (!o)
        return NULL;
    put_number(o, "total_bytes", s->total_bytes);
    put_number(o, "live_bytes", s->live_bytes);
    put_real(o, "fragmentation_ratio", s->fragmentation_ratio);
    put_number(o, "compactions_total", s->compactions_ok + s->compactions_failed + s->compactions_cancelled);
    put_number(o, "compaction_duration_ms", s->compaction_duration_ms);
    put_number(o, "bytes_reclaimed_total", s->bytes_reclaimed_total);
    put_text(o, "last_compaction", s->last_compaction ? rfc3339_format(s->last_compaction, time) : NULL);
    put_number(o, "memories", s->memories);
    put_number(o, "directories", s->directories);
    put_number(o, "orphans", s->orphans);
    put_number(o, "segments", s->segments);
    put_number(o, "segments_pending", s->segments_pending);
    put_number(o, "disk_bytes", s->disk_bytes);
    put_number(o, "checkpoint_bytes", s->checkpoint_bytes);
    put_number(o, "reserve_bytes", s->reserve_bytes);
    put_number(o, "index_bytes", s->index_bytes);
    put_number(o, "pinned_segments", s->pinned_segments);
    put_number(o, "holds", s->holds);
    put_number(o, "damaged_extents", s->damaged_extents);
    put_number(o, "log_seq", s->log_seq);
    put_number(o, "durable_seq", s->durable_seq);
    put_number(o, "checkpoint_seq", s->checkpoint_seq);
    put_number(o, "relocations", s->relocations);
    put_number(o, "relocations_lost", s->relocations_lost);
    put_number(o, "read_restarts", s->read_restarts);
    put_space(o, space);
    json_object_set_new(o, "read_only_reason", json_string(s->read_only_reason));
    put_text(o, "last_error", s->last_error);
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
        printf("%s\n", text);
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
