/*
 * compact.c - moving survivors out of segments that hold garbage.
 *
 *   prepare   free orphans, seal the active segment, write checkpoints until no
 *             victim's metadata is needed by recovery (I4), choose victims
 *   copy      survivors, verified first (I5), into a segment of their own
 *   install   that segment made durable, then relocations through the log in
 *             small batches, each compared with what the index says now (I3)
 *   retire    deaths made durable, and marked so, emptied victims unlinked (I4)
 *
 * Nothing is ever put back: until a relocation is installed the old place is valid, and
 * afterwards the new one is (I8). Bounds (I9): COMPACT_GROUP refs of 64 bytes, four
 * buffers, two output segments at a time; the victims that each empties are retired after it.
 *
 * With background threads, and where the disk has room, one more thread reads what is not in memory
 * (victims.h), and another (install.h) writes the checkpoints and installs and retires one output segment
 * while the next is filled, so that reading, copying, flushing and unlinking overlap. For each output segment
 * the order of the steps is the same either way.
 *
 * Locks: none held across steps; log.lock and index_lock as a mutation has them. */
#include "upkeep/compact.h"

#include "commit/commit.h"
#include "commit/flush.h"
#include "commit/retire.h"
#include "commit/summaries.h"
#include "core/keepers.h"
#include "core/look.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "image/checkpoint.h"
#include "upkeep/choose.h"
#include "upkeep/copy.h"
#include "upkeep/full_disk.h"
#include "upkeep/install.h"
#include "upkeep/maintenance.h"

#include <stdio.h>

#define ROUNDS_MAX 4u /* for extents that were split or changed while they were copied */

struct compact {
    struct eng *eng;
    struct job *job;
    double leave;    /* the share of garbage that may stay. Immutable. */
    uint64_t goal;   /* bytes after which it ends; 0: it has no such goal. Immutable. */
    uint64_t before; /* bytes that the store had at its begin. Immutable. */

    struct candidate *victims; /* in the order in which they are emptied */
    size_t n_victims;
    struct copier copy;
    struct installer install;
};

/* ---- prepare --------------------------------------------------------------------------- */

static int seal_active(struct eng *eng)
{
    summaries_complete_active(eng);
    int r = commit_begin(eng);
    if (r)
        return r;
    struct log *log = &eng->log;
    if (log->active && log->tail > sizeof(struct segment_header)) {
        commit_seals_locked(eng);
        r = log_seal_locked(log);
    }
    return commit_end(eng, r);
}

/* ---- copy and install ------------------------------------------------------------------- */

/* All that was copied is installed when this returns, in this thread. */
static int install_here(struct compact *c)
{
    struct outgoing og;
    int r = copy_flush(&c->copy);
    if (!r)
        r = installer_await(&c->install);
    if (r)
        return r;
    copy_leave_victim(&c->copy);
    copy_take(&c->copy, &og);
    r = install_outgoing(&c->install, &og);
    c->copy.out_kept = MIN_OF(c->copy.out_kept, install_end(&og));
    c->copy.out_payload = og.payload;
    c->copy.out_new = og.fresh;
    if (!r && copy_out_is_full(&c->copy)) {
        segments_unpin(c->copy.out);
        copy_leave_out(&c->copy);
    }
    return r;
}

/* The output segment is full: the installer's thread installs it, if there is one. */
static int hand_over(struct compact *c)
{
    struct outgoing og;
    if (!c->install.has_thread)
        return install_here(c);
    int r = copy_flush(&c->copy);
    if (!r)
        r = installer_await(&c->install);
    if (r)
        return r;
    copy_take(&c->copy, &og);
    copy_leave_out(&c->copy);
    installer_give(&c->install, &og);
    return 0;
}

/* ---- the goal ------------------------------------------------------------------------------- */

/* Bytes that are still to be won; 0: enough. What others have written meanwhile has to be won as well. */
static uint64_t is_lacking(const struct compact *c)
{
    uint64_t now = totals_disk(c->eng);
    return c->before >= now + c->goal ? 0 : now + c->goal - c->before;
}

static bool has_enough(const struct compact *c)
{
    return c->goal && !MUTANT(GOAL_IGNORED) && !is_lacking(c);
}

static int awaits_checkpoint(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    const struct keeper *keeper = keepers_find(eng, seg);
    (void)arg;
    return keeper && (keeper->kind == KEEPER_DURABLE || keeper->kind == KEEPER_CHECKPOINTS ||
                      keeper->kind == KEEPER_MARK);
}

/* Whether some segment goes once a checkpoint is written, which also makes the log durable. */
static bool any_awaits_checkpoint(struct eng *eng)
{
    return look_at_segments(eng, awaits_checkpoint, NULL) != 0;
}

static int retire_by_checkpoint(struct compact *c)
{
    int r = checkpoint_write(c->eng), retired = retire_emptied(c->eng);
    r = r ? r : retired;
    full_disk_gained(c->eng);
    return r;
}

/* Where moving was not enough: what only waits for a checkpoint goes as well. */
static int give_back_emptied(struct compact *c)
{
    return c->goal && !has_enough(c) && any_awaits_checkpoint(c->eng) ? retire_by_checkpoint(c) : 0;
}

/* Whether there is no room to write checkpoints and move something. What only waits for a checkpoint makes
 * some, if that fits. */
static bool is_poor(struct compact *c)
{
    if (choose_check_room(c->eng, false) == 0)
        return false;
    if (!any_awaits_checkpoint(c->eng))
        return true;
    (void)retire_by_checkpoint(c);
    return choose_check_room(c->eng, false) != 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Marks the next victims, as many as have refs for one group. */
static size_t mark_group(struct compact *c, size_t first, struct idmap *wanted)
{
    uint64_t refs = 0;
    size_t i = first;
    bool tight = c->goal || choose_is_tight(c->eng);
    c->copy.aged = true;
    pthread_rwlock_rdlock(&c->eng->index_lock);
    for (; i < c->n_victims; i++) {
        const struct seg_rec *seg = index_segment(&c->eng->idx, c->victims[i].id);
        uint64_t n = seg ? seg->n_live : 0;
        if (refs && (tight || refs + n > c->eng->compact_group) && !MUTANT(GROUP_ALL))
            break;
        refs += n;
        c->copy.aged = c->copy.aged && (!seg || !keepers_need(c->eng, KEEPER_CHECKPOINTS, seg));
        idmap_set(wanted, c->victims[i].id, 1);
    }
    pthread_rwlock_unlock(&c->eng->index_lock);
    return i;
}

/* The victims that one output segment empties are retired before the next but one is begun (I9). */
static int move_refs(struct compact *c)
{
    int r = 0;
    uint64_t yielded = 0;
    while (!r && copy_is_left(&c->copy)) {
        uint64_t bytes;
        job_yield(&yielded);
        r = copy_step(&c->copy, &bytes);
        if (!r && copy_out_is_full(&c->copy))
            r = hand_over(c);
        if (!r)
            r = job_gate(c->job, bytes);
    }
    return r ? r : install_here(c);
}

static int move_group(struct compact *c, const struct idmap *wanted)
{
    bool threaded = c->install.has_thread && !c->eng->opt.no_background;
    int r = copy_begin(&c->copy, wanted, threaded);
    if (!r)
        r = move_refs(c);
    copy_end(&c->copy);
    return r;
}

static int move_victims(struct compact *c)
{
    struct idmap wanted = {0};
    int r = 0;
    for (size_t i = 0; i < c->n_victims && !r;
         i++) { /* room for as many; under a lock there is none to be had */
        r = idmap_reserve(&wanted, 1);
        if (!r)
            idmap_set(&wanted, c->victims[i].id, 1);
    }
    /* What changed place or shape while it was copied is found by another look; damage ends the rounds. */
    for (unsigned round = 0; round < ROUNDS_MAX && !r && install_emptied(&c->install) < c->n_victims;
         round++) {
        for (size_t first = 0; first < c->n_victims && !r && !has_enough(c);) {
            idmap_clear(&wanted);
            first = mark_group(c, first, &wanted);
            r = move_group(c, &wanted);
        }
        if (c->job->report.compact.extents_damaged || has_enough(c))
            break;
    }
    idmap_done(&wanted);
    return r;
}

static void compact_free(struct compact *c)
{
    installer_free(&c->install);
    copy_free(&c->copy);
    free(c->victims);
}

/*
 * A reader that was in a victim when its last survivor moved pins the victim a little longer; no other reader
 * follows. Unpinning signals nobody, so poll, for at most one second; a segment that is pinned longer is
 * retired later. */
static void await_readers(struct compact *c)
{
    const struct timespec while_reading = {.tv_nsec = 1000000};
    for (unsigned n = 0; n < 1000 && !c->eng->opt.no_background; n++) {
        bool pinned = false;
        for (size_t i = 0; i < c->n_victims && !pinned; i++)
            pinned = segments_pins_of(&c->eng->segments, c->victims[i].id) > 0;
        if (!pinned)
            return;
        (void)nanosleep(&while_reading, NULL);
    }
}

/* Victims of a later pass may be younger than the output that the one before has begun. Recovery relies on it
 * that copies have higher numbers than what they are copied from (moved_is_older()): then it is complete. */
static void leave_older_output(struct compact *c)
{
    bool older = false;
    for (size_t i = 0; i < c->n_victims && c->copy.out && !MUTANT(OLDER_OUTPUT); i++)
        older = older || c->victims[i].id > c->copy.out->id;
    if (!older)
        return;
    copy_seal_output(&c->copy); /* all that is in it was installed */
    segments_unpin(c->copy.out);
    copy_leave_out(&c->copy);
}

/* Empties what `aged` allows, best first, up to the goal. */
static int empty_victims(struct compact *c, bool aged)
{
    struct eng *eng = c->eng;
    const struct choice choice = {.leave = c->leave,
                                  .goal = c->goal && !MUTANT(GOAL_IGNORED) ? is_lacking(c) : 0,
                                  .aged = aged,
                                  .damaged = c->leave <= 0 && !c->goal};
    free(c->victims);
    c->victims = NULL;
    int r = choose_victims(eng, &choice, &c->victims, &c->n_victims);
    if (r)
        return r;
    leave_older_output(c);
    c->install.victims = c->victims;
    c->install.n_victims = c->n_victims;
    pthread_mutex_lock(&c->job->lock);
    c->job->report.total = c->n_victims;
    pthread_mutex_unlock(&c->job->lock);
    r = move_victims(c);
    if (!r) /* its checkpoints may be what some segments wait for */
        r = installer_await(&c->install);
    if (!r) {
        await_readers(c);
        r = retire_emptied(eng);
        full_disk_gained(eng);
    }
    return r;
}

static uint64_t garbage(struct eng *eng)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    return total - live;
}

/* Until the goal is reached, or a pass wins nothing more; what it wins others may take at once. */
static int empty_enough(struct compact *c, bool aged)
{
    uint64_t lacking, left = c->goal ? is_lacking(c) : 0, was, now = garbage(c->eng);
    int r;
    do {
        lacking = left;
        was = now;
        r = empty_victims(c, aged);
        left = c->goal ? is_lacking(c) : 0;
        now = garbage(c->eng);
    } while (!r && c->goal && !has_enough(c) && c->n_victims &&
             (left < lacking || (now < was && !MUTANT(TAKEN_IS_FUTILE))));
    return r;
}

/*
 * The metadata of most segments has to age before they can go (I4), by checkpoints. Where these do not fit,
 * segments of survivors and those that have aged already go first, and give them room. -ENOSPC: they do not
 * fit even then. */
static int age_metadata(struct compact *c, bool poor)
{
    int r = poor ? -ENOSPC : install_age_metadata(c->eng);
    if (r != -ENOSPC || MUTANT(AGE_ENDS))
        return r;
    r = choose_check_room(c->eng, true);
    if (!r)
        r = empty_enough(c, true);
    return r || has_enough(c) ? r : install_age_metadata(c->eng);
}

/* With the installer, where the disk has room; it ends if it turns out that the disk has none. */
static int run_beside(struct compact *c)
{
    int r = empty_victims(c, false);
    if (r != -ENOSPC || MUTANT(AGE_ENDS))
        return r;
    installer_free(&c->install);
    installer_init(&c->install, c->eng, c->job);
    copy_cut(&c->copy);
    copy_free(&c->copy);
    c->copy = (struct copier){.eng = c->eng, .job = c->job};
    r = age_metadata(c, false);
    return r ? r : empty_victims(c, false);
}

static int run(struct compact *c)
{
    uint64_t total, live;
    struct eng *eng = c->eng;
    totals_get(eng, &total, &live);
    if (total == live) {
        job_set_reason(c->job, "no garbage");
        int r = retire_emptied(eng);
        return r ? r : give_back_emptied(c);
    }
    bool poor = is_poor(c);
    int r = poor ? choose_check_room(eng, true) : 0;
    if (!r)
        r = seal_active(eng);
    if (!r)
        r = flush_log(eng);
    if (!r)
        r = retire_emptied(eng); /* what is empty already costs nothing */
    if (r)
        return r;
    if (!poor && !c->goal)
        installer_start(&c->install);
    if (c->install.has_thread) {
        r = run_beside(c);
        if (r == -ENOSPC && !MUTANT(BESIDE_UNCUT))
            copy_cut(&c->copy);
        return r;
    }
    r = age_metadata(c, poor);
    int retired = retire_emptied(eng);
    r = r ? r : retired;
    full_disk_gained(eng);
    if (!r && !has_enough(c))
        r = empty_enough(c, false);
    if (r == -ENOSPC)
        copy_cut(&c->copy);
    int given = !r || r == -ENOSPC ? give_back_emptied(c) : 0;
    return r ? r : given;
}

/* What the report says from the beginning, and what is expected. */
static int begin_report(struct compact *c, struct eng_compact_estimate *ret_estimate)
{
    uint64_t total, live, size = 0;
    int r = is_read_only(c->eng) ? -EROFS : commit_orphans_of(c->eng, c->job);
    if (!r || r == -ENOSPC) /* they are freed when there is room again */
        r = c->eng->io->ops->usage(c->eng->io, &size);
    if (!r)
        r = choose_estimate(c->eng, ret_estimate);
    totals_get(c->eng, &total, &live);
    pthread_mutex_lock(&c->job->lock);
    c->job->report.compact.old_size = size;
    c->job->report.compact.fragmentation_before = policy_fragmentation(total, live);
    pthread_mutex_unlock(&c->job->lock);
    return r;
}

static void end_report(struct compact *c, int r, uint64_t new_size,
                       const struct eng_compact_estimate *estimate)
{
    uint64_t total, live;
    totals_get(c->eng, &total, &live);
    pthread_mutex_lock(&c->job->lock);
    struct eng_compact_figures *f = &c->job->report.compact;
    f->new_size = new_size;
    f->bytes_reclaimed = f->old_size > new_size ? f->old_size - new_size : 0;
    if (!r && c->leave <= 0 && !c->goal) {
        f->estimate_error_moved = (int64_t)(f->bytes_moved - estimate->bytes_to_move);
        f->estimate_error_given_back =
            (int64_t)f->old_size - (int64_t)new_size - (int64_t)estimate->bytes_given_back;
    }
    f->fragmentation_after = policy_fragmentation(total, live);
    if (r && r != -ECANCELED)
        snprintf(c->job->report.error_text, sizeof c->job->report.error_text, "%s",
                 r == -ENOSPC ? "not enough room on the disk to move anything; remove something first"
                              : strerror(-r));
    pthread_mutex_unlock(&c->job->lock);
}

int compact_run(struct eng *eng, struct job *job)
{
    struct compact c = {.eng = eng,
                        .job = job,
                        .leave = job->request.leave,
                        .goal = job->request.goal,
                        .before = totals_disk(eng)};
    struct eng_compact_estimate estimate = {0};
    c.copy = (struct copier){.eng = eng, .job = job};
    installer_init(&c.install, eng, job);
    reserve_freeze(eng, true);
    int r = begin_report(&c, &estimate);
    if (!r)
        r = run(&c);
    if (!r)
        copy_seal_output(&c.copy);
    compact_free(&c);
    if (!is_read_only(eng))
        reserve_keep(eng);
    uint64_t new_size = job->report.compact.old_size;
    if (!r || r == -ECANCELED)
        (void)eng->io->ops->usage(eng->io, &new_size);
    reserve_freeze(eng, false);
    end_report(&c, r, new_size, &estimate);
    if (!r && c.leave <= 0 && !c.goal) /* behind the figures, which are of segments; a failure is reported */
        (void)checkpoint_tidy(eng);
    return r;
}

void compact_ended(struct eng *eng, const struct eng_job_report *report)
{
    int r = report->error;
    maintenance_compacted(eng, report);
    full_disk_compacted(eng);
    if (!r)
        COUNT(eng, compactions_ok, 1);
    else if (r == -ECANCELED)
        COUNT(eng, compactions_cancelled, 1);
    else
        COUNT(eng, compactions_failed, 1);
    COUNT(eng, bytes_reclaimed, report->compact.bytes_reclaimed);
    pthread_mutex_lock(&eng->counters.lock);
    hist_add(&eng->counters.compaction_seconds, (double)report->duration_ms / 1e3);
    eng->counters.last_compaction = now_ns();
    eng->counters.last_compaction_ms = report->duration_ms;
    pthread_mutex_unlock(&eng->counters.lock);
    if (r && r != -ECANCELED)
        report_error(&eng->report, "compaction failed: %s", report->error_text);
}

int eng_compact_estimate(struct eng *eng, struct eng_compact_estimate *ret_estimate)
{
    if (!eng || !ret_estimate)
        return -EINVAL;
    if (!is_read_only(eng))
        (void)commit_orphans(eng); /* a compaction begins with that */
    return choose_estimate(eng, ret_estimate);
}
