/*
 * text.c - the texts of the control files, but for metrics.
 *
 * Each is built from one call of the engine, so that its figures belong
 * together. Takes no locks. */
#include "control/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "control/changes.h"
#include "control/conflicts_text.h"
#include "control/figures.h"
#include "control/metrics.h"
#include "rules/job_state.h"

/* `damaged` and the like are cut here: a text is held in memory while the file is open. */
enum { TEXT_BYTES_MAX = 16 << 20 };

static void json_u64(struct text *t, const char *indent, const char *key, uint64_t value)
{
    text_add(t, "%s\"%s\": %" PRIu64 ",\n", indent, key, value);
}

static void json_real(struct text *t, const char *indent, const char *key, double value)
{
    text_add(t, "%s\"%s\": ", indent, key);
    text_json_number(t, value);
    text_add(t, ",\n");
}

static void json_string(struct text *t, const char *indent, const char *key, const char *value)
{
    text_add(t, "%s\"%s\": ", indent, key);
    text_json_string(t, value);
    text_add(t, ",\n");
}

/* `last` ends the object: a string, or null if it is empty. */
static void json_last(struct text *t, const char *indent, const char *key, const char *value)
{
    text_add(t, "%s\"%s\": ", indent, key);
    if (*value)
        text_json_string(t, value);
    else
        text_add(t, "null");
    text_add(t, "\n");
}

static const char *error_of(int error, const char *text)
{
    if (*text)
        return text;
    return error ? strerror(-error) : "";
}

static void compaction_members(struct text *t, const char *in, const struct eng_job_report *r)
{
    const struct eng_compact_figures *c = &r->compact;
    json_string(t, in, "state", job_state_name(r->state));
    json_u64(t, in, "old_size", c->old_size);
    json_u64(t, in, "new_size", c->new_size);
    json_u64(t, in, "bytes_reclaimed", c->bytes_reclaimed);
    json_u64(t, in, "duration_ms", r->duration_ms);
    json_real(t, in, "fragmentation_before", c->fragmentation_before);
    json_real(t, in, "fragmentation_after", c->fragmentation_after);
    json_u64(t, in, "segments_done", r->done);
    json_u64(t, in, "segments_total", r->total);
    json_u64(t, in, "bytes_moved", c->bytes_moved);
    json_u64(t, in, "extents_moved", c->extents_moved);
    json_u64(t, in, "extents_lost", c->extents_lost);
    json_u64(t, in, "extents_damaged", c->extents_damaged);
    json_u64(t, in, "rate", r->rate);
    text_add(t, "%s\"estimate_error\": ", in);
    if (r->state == ENG_JOB_DONE)
        text_add(t, "{\"bytes_to_move\": %" PRId64 ", \"bytes_given_back\": %" PRId64 "},\n",
                 c->estimate_error_moved, c->estimate_error_given_back);
    else
        text_add(t, "null,\n");
    json_string(t, in, "reason", r->reason);
}

static void estimate_member(struct text *t, const struct ctl_memory *m)
{
    if (!m->has_estimate) {
        text_add(t, "  \"estimate\": null,\n");
        return;
    }
    text_add(t, "  \"estimate\": {\n    \"time\": \"");
    text_time(t, m->estimate_time);
    text_add(t, "\",\n");
    if (!m->estimate_error) {
        json_u64(t, "    ", "segments", m->estimate.segments);
        json_u64(t, "    ", "bytes_to_move", m->estimate.bytes_to_move);
        json_u64(t, "    ", "bytes_given_back", m->estimate.bytes_given_back);
    }
    json_last(t, "    ", "error", error_of(m->estimate_error, ""));
    text_add(t, "  },\n");
}

static int compact_text(struct session *session, const struct ctl_memory *m, struct text *t)
{
    struct eng_job_report report;
    int r = eng_job_status(session->eng, ENG_JOB_COMPACT, &report);
    if (r)
        return r;
    text_add(t, "{\n");
    compaction_members(t, "  ", &report);
    estimate_member(t, m);
    json_last(t, "  ", "error", error_of(report.error, report.error_text));
    text_add(t, "}\n");
    return 0;
}

static int maintenance_text(struct session *session, const struct ctl_memory *m, struct text *t)
{
    struct eng_stats s;
    int r = eng_stats(session->eng, &s);
    if (r)
        return r;
    const struct eng_maintenance_report *report = m->has_maintenance ? &m->maintenance : NULL;
    text_add(t, "{\n  \"compaction\": ");
    if (report && report->compacted) {
        text_add(t, "{\n");
        compaction_members(t, "    ", &report->compaction);
        json_last(t, "    ", "error", error_of(report->compaction.error, report->compaction.error_text));
        text_add(t, "  },\n");
    } else {
        text_add(t, "null,\n");
    }
    json_string(t, "  ", "reason", report ? report->reason : "maintenance was not asked for since the mount");
    json_real(t, "  ", "fragmentation_ratio", report ? report->fragmentation_ratio : s.fragmentation_ratio);
    json_u64(t, "  ", "total_bytes", report ? report->total_bytes : s.total_bytes);
    json_last(t, "  ", "error", error_of(m->maintenance_error, ""));
    text_add(t, "}\n");
    return 0;
}

static int scrub_text(struct session *session, struct text *t)
{
    struct eng_job_report report;
    int r = eng_job_status(session->eng, ENG_JOB_SCRUB, &report);
    if (r)
        return r;
    text_add(t, "{\n");
    json_string(t, "  ", "state", job_state_name(report.state));
    json_u64(t, "  ", "bytes_done", report.done);
    json_u64(t, "  ", "bytes_total", report.total);
    json_u64(t, "  ", "extents", report.scrub.extents);
    json_u64(t, "  ", "damaged", report.scrub.damaged);
    json_u64(t, "  ", "recovery_damaged", report.scrub.recovery.damaged);
    json_u64(t, "  ", "recovery_healed", report.scrub.recovery.healed);
    json_u64(t, "  ", "duration_ms", report.duration_ms);
    json_u64(t, "  ", "rate", report.rate);
    json_last(t, "  ", "error", error_of(report.error, ""));
    text_add(t, "}\n");
    return 0;
}

static int hold_text(struct session *session, struct text *t)
{
    struct eng_stats s;
    uint8_t uuid[16];
    int r = eng_stats(session->eng, &s);
    if (r)
        return r;
    eng_uuid(session->eng, uuid);
    text_add(t, "{\n");
    json_u64(t, "  ", "holds", s.holds);
    json_u64(t, "  ", "segments_pending", s.segments_pending);
    text_add(t, "  \"mounted_read_only\": %s,\n", session->opt->read_only ? "true" : "false");
    json_u64(t, "  ", "store_device", session->store_device);
    json_u64(t, "  ", "store_inode", session->store_inode);
    text_add(t, "  \"store_uuid\": \"");
    for (size_t i = 0; i < sizeof uuid; i++)
        text_add(t, "%02x", uuid[i]);
    text_add(t, "\"\n}\n");
    return 0;
}

struct damage_list {
    struct text *t;
    uint64_t left_out;
};

static void on_damage(void *arg, const struct eng_damage *d)
{
    struct damage_list *list = arg;
    if (list->t->len > TEXT_BYTES_MAX) {
        list->left_out++;
        return;
    }
    if (!d->ino) /* no memory: a file of the store's own */
        text_add(list->t, "store:");
    if (d->path[0])
        text_name(list->t, d->path);
    else
        text_add(list->t, "inode:%" PRIu64, d->ino);
    text_add(list->t, "\t%" PRIu64 "\t%" PRIu64 "\t", d->segment, d->offset);
    text_name(list->t, d->reason);
    text_add(list->t, "\n");
}

static int damaged_text(struct session *session, struct text *t)
{
    struct damage_list list = {.t = t};
    int r = eng_damaged(session->eng, on_damage, &list);
    if (!r && list.left_out)
        text_add(t, "# and %" PRIu64 " more\n", list.left_out);
    return r;
}

static int on_file(void *arg, const struct eng_file *f)
{
    static const char *const kinds[] = {[ENG_FILE_LOG] = "log",
                                        [ENG_FILE_SURVIVORS] = "survivors",
                                        [ENG_FILE_CHECKPOINT] = "checkpoint",
                                        [ENG_FILE_ECHO] = "echo"};
    bool is_segment = f->kind == ENG_FILE_LOG || f->kind == ENG_FILE_SURVIVORS;
    const char *state = is_segment && !f->live ? "empty" : "sealed";
    if (f->active)
        state = "active";
    text_add(arg, "%s\t%" PRIu64 "\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\n", f->name, f->size, kinds[f->kind],
             state, f->total, f->live);
    return 0;
}

/* The receipt; ids of memories only for a caller who may see them. */
static int space_of(struct session *session, const struct ctl_memory *m, struct eng_space *ret_space)
{
    int r = eng_space(session->eng, ret_space);
    for (uint64_t i = 0; !r && m->without_ids && i < ret_space->n_orphans && i < ENG_SPACE_ORPHANS_MAX; i++)
        ret_space->orphans[i].path[0] = '\0';
    return r;
}

/* The space receipt: adds up to what du says. */
static void space_members(struct text *t, const struct eng_space *sp)
{
    struct eng_figure list[ENG_SPACE_KINDS_MAX];
    struct figures kinds = figures_of_space(sp, list), usage = figures_of_usage(sp);
    text_json_key(t, "  ", "space");
    text_add(t, "{");
    figures_json(t, "    ", &kinds, FIGURES_ALL);
    figures_json(t, "    ", &usage, FIGURES_ALL);
    text_add(t, "\n  }");
    text_json_key(t, "  ", "open_orphans");
    text_add(t, "[");
    for (uint64_t i = 0; i < sp->n_orphans && i < ENG_SPACE_ORPHANS_MAX; i++) {
        const struct eng_space_orphan *o = &sp->orphans[i];
        text_add(t, "%s\n    {\"inode\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"id\": ", i ? "," : "", o->ino,
                 o->bytes);
        text_json_string(t, o->path);
        text_add(t, "}");
    }
    text_add(t, "%s]", sp->n_orphans ? "\n  " : "");
}

static int stats_text(struct session *session, const struct ctl_memory *m, struct text *t)
{
    const unsigned trouble = FIGURES_GROUP(ENG_GROUP_TROUBLE);
    struct eng_stats s;
    struct eng_space sp;
    int r = session_stats(session, &s);
    if (!r)
        r = space_of(session, m, &sp);
    if (r)
        return r;
    struct figures figures = figures_of_stats(&s);
    text_add(t, "{");
    figures_json(t, "  ", &figures, FIGURES_ALL & ~trouble);
    space_members(t, &sp);
    figures_json(t, "  ", &figures, trouble);
    text_add(t, "\n}\n");
    return 0;
}

static void status_bytes(struct text *t, const char *label, uint64_t bytes, const char *note)
{
    text_add(t, "  %-22s ", label);
    text_bytes(t, bytes);
    text_add(t, "%s%s\n", *note ? "   " : "", note);
}

/* The space receipt: each line with what gives the space back. */
static void status_space(struct text *t, const struct eng_stats *s, const struct eng_space *sp)
{
    text_add(t, "\nspace                  ");
    text_bytes(t, sp->disk_bytes);
    text_add(t, "   on disk, as du says; fragmentation %.4f\n", s->fragmentation_ratio);
    for (unsigned i = 0; i < sp->n_kinds; i++) {
        const struct eng_space_kind *k = &sp->kinds[i];
        if (!k->bytes)
            continue;
        text_add(t, "  %-20s %s", k->label, k->bytes < 0 ? "-" : "");
        text_bytes(t, (uint64_t)(k->bytes < 0 ? -k->bytes : k->bytes));
        text_add(t, "   %s%s\n", strncmp(k->gives_back, "nothing", 7) == 0 ? "" : "back by: ", k->gives_back);
        for (uint64_t o = 0; k->id == ENG_SPACE_ORPHANS && o < sp->n_orphans && o < ENG_SPACE_ORPHANS_MAX;
             o++) {
            text_add(t, "    inode %" PRIu64 "   ", sp->orphans[o].ino);
            text_bytes(t, sp->orphans[o].bytes);
            text_add(t, "   ");
            text_name(t, sp->orphans[o].path);
            text_add(t, "\n");
        }
    }
}

/* What status says of figures: a note, or NULL for those that other lines of it tell. */
static const struct figure_note status_notes[] = {
    {"segments_pending", "emptied, see above"},
    {"pinned_segments", "a reader or the log is in them"},
    {"holds", "echo release > " CTL_DIRECTORY "/hold takes one back"},
    {"orphans", "removed, but still open somewhere"},
    {"damaged_extents", "see " CTL_DIRECTORY "/damaged"},
    {"memories", NULL},
    {"directories", NULL},
    {"compactions_total", NULL},
    {"bytes_reclaimed_total", NULL},
    {"last_compaction", NULL},
    {"read_only_reason", NULL},
    {"last_error", NULL},
    {0},
};

/* Figures that have a line of their own, under a headline of the text: each group is under one. */
enum {
    STATUS_STORE = FIGURES_GROUP(ENG_GROUP_SEGMENTS),
    STATUS_COMPACTION = FIGURES_GROUP(ENG_GROUP_COMPACTION) | FIGURES_GROUP(ENG_GROUP_JOBS),
    STATUS_LOG = FIGURES_GROUP(ENG_GROUP_SEQUENCES) | FIGURES_GROUP(ENG_GROUP_SYNCS),
    STATUS_REST = FIGURES_ALL & ~(STATUS_STORE | STATUS_COMPACTION | STATUS_LOG),
};

static void status_figures(struct text *t, const struct eng_stats *s, unsigned groups)
{
    struct figures figures = figures_of_stats(s);
    figures_people(t, &figures, groups, status_notes);
}

static void status_past(struct text *t, struct eng *eng)
{
    uint64_t batch;
    int64_t time;
    if (eng_past_since(eng, &batch, &time))
        return;
    text_add(t, "\nhistory\n  %-22s batch %" PRIu64, "whole since", batch);
    if (time != INT64_MAX) {
        text_add(t, ", ");
        text_time(t, time);
    }
    text_add(t, "\n");
}

static void status_compaction(struct text *t, const struct eng_stats *s, const struct eng_job_report *r)
{
    text_add(t, "\ncompaction\n  %-22s %s", "state", job_state_name(r->state));
    if (r->reason[0])
        text_add(t, " (%s)", r->reason);
    text_add(t, "\n");
    if (r->state != ENG_JOB_IDLE) {
        text_add(t, "  %-22s %" PRIu64 " of %" PRIu64 "\n", "segments", r->done, r->total);
        status_bytes(t, "moved", r->compact.bytes_moved, "");
        status_bytes(t, "given back", r->compact.bytes_reclaimed, "");
        text_add(t, "  %-22s %.3f s\n", "duration", (double)r->duration_ms / 1000);
    }
    text_add(t, "  %-22s %" PRIu64 " done, %" PRIu64 " failed, %" PRIu64 " cancelled\n", "since mount",
             s->compactions_ok, s->compactions_failed, s->compactions_cancelled);
    status_figures(t, s, STATUS_COMPACTION);
    if (r->error || r->error_text[0])
        text_add(t, "  %-22s %s\n", "error", error_of(r->error, r->error_text));
}

static int status_text(struct session *session, const struct ctl_memory *m, struct text *t)
{
    struct eng_stats s;
    struct eng_space sp;
    struct eng_job_report report;
    int r = session_stats(session, &s);
    if (!r)
        r = space_of(session, m, &sp);
    if (!r)
        r = eng_job_status(session->eng, ENG_JOB_COMPACT, &report);
    if (r)
        return r;
    text_add(t, "engramfs %s   %s on %s   since ", ENG_VERSION, session->store, session->mountpoint);
    text_time(t, session->started);
    text_add(t, "\n%" PRIu64 " memories, %" PRIu64 " directories, %" PRIu64 " others\n", s.memories,
             s.directories, s.other_inodes);
    if (s.read_only_reason[0])
        text_add(t, "READ-ONLY: %s\n", s.read_only_reason);
    status_space(t, &s, &sp);
    text_add(t, "\nstore\n");
    status_figures(t, &s, STATUS_STORE);
    status_figures(t, &s, STATUS_REST);
    status_compaction(t, &s, &report);
    text_add(t, "\nlog\n  %-22s %" PRIu64 ", durable to %" PRIu64 ", checkpoint at %" PRIu64 "\n", "batch",
             s.log_seq, s.durable_seq, s.checkpoint_seq);
    text_add(t, "  %-22s %" PRIu64 ", failed %" PRIu64 "\n", "syncs", s.syncs, s.sync_errors);
    status_figures(t, &s, STATUS_LOG);
    status_past(t, session->eng);
    text_add(t, "\nlast error           %s\n", s.last_error[0] ? s.last_error : "none");
    text_add(t, "last control error   %s\n", m->last_error[0] ? m->last_error : "none");
    return 0;
}

static void on_config(void *arg, const char *key, const char *value)
{
    text_add(arg, "%s=%s\n", key, value);
}

int ctl_text(struct session *session, const struct ctl_memory *memory, enum ctl_file file, struct text *t)
{
    switch (file) {
    case CTL_COMPACT:
        return compact_text(session, memory, t);
    case CTL_MAINTENANCE:
        return maintenance_text(session, memory, t);
    case CTL_SCRUB:
        return scrub_text(session, t);
    case CTL_HOLD:
        return hold_text(session, t);
    case CTL_DAMAGED:
        return damaged_text(session, t);
    case CTL_SEGMENTS:
        return eng_files(session->eng, on_file, t);
    case CTL_STATS:
        return stats_text(session, memory, t);
    case CTL_METRICS:
        return ctl_metrics(session, t);
    case CTL_STATUS:
        return status_text(session, memory, t);
    case CTL_CONFIG:
        return eng_config_each(session->eng, on_config, t);
    case CTL_POSITION:
    case CTL_WAIT_FOR:
        text_add(t, "%" PRIu64 "\n", eng_position(session->eng));
        return 0;
    case CTL_CHANGES:
        return changes_latest(session, t);
    case CTL_CONFLICTS:
        return conflicts_text(session, t);
    case CTL_HELP:
        ctl_help(t);
        return 0;
    case CTL_CHANGES_SINCE: /* folders */
    case CTL_SNAPSHOTS:
    case CTL_AT:
    case CTL_HISTORY:
    case CTL_DELETED:
    case CTL_FILES:
        break;
    }
    return -ENOENT;
}
