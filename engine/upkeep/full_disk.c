/*
 * full_disk.c - see full_disk.h. Also eng_make_room(). First garbage goes; then what a history keeps, oldest
 * first, which becomes garbage by that; a snapshot never does. */
#include "upkeep/full_disk.h"

#include "core/keepers.h"
#include "core/marks.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "upkeep/expiry.h"
#include "upkeep/runner.h"

/* A compaction is begun once there is more garbage than the last one has left, if that could not win what it
 * was begun for: by a share of the store, but not by more than some segments, and not by less than
 * WORTH_MIN. */
#define WORTH_MIN (UINT64_C(64) << 10)
#define WORTH_SHARE 32u
#define WORTH_SEGMENTS 4u
#define GOAL_SEGMENTS 4u /* won beyond what is asked for, so that not each change begins a compaction */
#define TELL_EVERY_NS (UINT64_C(600) * 1000000000)
#define TRIES_MAX 8u /* where others take what was won, or the disk refuses what it has room for */

struct full_disk {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* segments were given back, or the compaction has ended */
    /* Protected by lock. */
    bool running; /* a compaction that was begun here, or found under way, has not ended */
    bool ours;    /* it was begun here, with `goal`, when the store had `before` bytes and so much garbage */
    uint64_t goal, before, garbage;
    int error;               /* of the last compaction that was waited for */
    uint64_t gains;          /* how often segments were given back */
    uint64_t futile_garbage; /* garbage that was left by one that did not win what it was begun for, */
    uint64_t futile_until;   /* and until when that is believed: it may have been unlucky */
    bool expiring;           /* the job `history` lets go of what it can */
    uint64_t kept_seq;       /* the last batch when that gave nothing, */
    uint64_t kept_until;     /* and until when that is believed */
    uint64_t told_at;        /* when it was said last what snapshots keep, mono_ns() */
    uint64_t vain_seq;       /* the last batch when one has won nothing at all, */
    uint64_t vain_until;     /* and until when that is believed */
};

int full_disk_new(struct eng *eng)
{
    eng->full_disk = calloc(1, sizeof *eng->full_disk);
    if (!eng->full_disk)
        return -ENOMEM;
    pthread_mutex_init(&eng->full_disk->lock, NULL);
    pthread_cond_init(&eng->full_disk->changed, NULL);
    return 0;
}

void full_disk_free(struct eng *eng)
{
    if (!eng->full_disk)
        return;
    pthread_cond_destroy(&eng->full_disk->changed);
    pthread_mutex_destroy(&eng->full_disk->lock);
    free(eng->full_disk);
    eng->full_disk = NULL;
}

/* ---- a compaction for room ------------------------------------------------------------- */

void full_disk_gained(struct eng *eng)
{
    if (MUTANT(GAIN_UNTOLD))
        return;
    pthread_mutex_lock(&eng->full_disk->lock);
    eng->full_disk->gains++;
    pthread_cond_broadcast(&eng->full_disk->changed);
    pthread_mutex_unlock(&eng->full_disk->lock);
}

/* As job_on_done: nobody waits any longer for this one. */
static void compaction_ended(void *arg, const struct eng_job_report *report)
{
    struct eng *eng = arg;
    struct full_disk *fd = eng->full_disk;
    uint64_t total, live, now = totals_disk(eng);
    totals_get(eng, &total, &live);
    pthread_mutex_lock(&fd->lock);
    /* what it has won others may have taken already, which wait no longer than until there is some */
    bool won = fd->ours && (fd->before >= now + fd->goal ||
                            (fd->garbage >= total - live + WORTH_MIN && !MUTANT(TAKEN_IS_FUTILE)));
    if (won)
        fd->futile_garbage = 0;
    else if (report->error != -ECANCELED && (fd->ours || report->error)) {
        fd->futile_garbage = total - live;
        fd->futile_until = mono_ns() + MARKS_RETRY_NS;
    }
    if (!won && fd->ours && report->error != -ECANCELED && now >= fd->before) {
        fd->vain_seq = log_seq(&eng->log);
        fd->vain_until = mono_ns() + MARKS_RETRY_NS;
    }
    fd->error = report->error;
    fd->running = false;
    pthread_cond_broadcast(&fd->changed);
    pthread_mutex_unlock(&fd->lock);
}

void full_disk_compacted(struct eng *eng)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    pthread_mutex_lock(&eng->full_disk->lock);
    eng->full_disk->futile_garbage = MIN_OF(eng->full_disk->futile_garbage, total - live);
    pthread_mutex_unlock(&eng->full_disk->lock);
}

/* What must be given back for `room` bytes, for the reserve, and for those who come next. */
static uint64_t goal_for(struct eng *eng, uint64_t room)
{
    return reserve_lacks(eng, room) + GOAL_SEGMENTS * eng->log.segment_size;
}

/* With the lock held, which is given up meanwhile: begins a compaction, or joins the one under way. One that
 * is paused is not waited for: -EBUSY. */
static int begin_locked(struct eng *eng, uint64_t room)
{
    struct full_disk *fd = eng->full_disk;
    struct job *job = runner_job(eng, ENG_JOB_COMPACT);
    struct eng_job_report report;
    fd->running = fd->ours = true;
    fd->error = 0;
    fd->goal = goal_for(eng, room);
    fd->before = totals_disk(eng);
    uint64_t total, live;
    totals_get(eng, &total, &live);
    fd->garbage = total - live;
    const struct job_request request = {.reason = "the disk is full", .goal = fd->goal};
    pthread_mutex_unlock(&fd->lock);
    int r = runner_start(eng, ENG_JOB_COMPACT, &request, compaction_ended, eng);
    if (r == -EBUSY) {
        job_report(job, &report);
        pthread_mutex_lock(&fd->lock);
        fd->ours = false;
        pthread_mutex_unlock(&fd->lock);
        r = report.state == ENG_JOB_PAUSED ? r : runner_wait(eng, ENG_JOB_COMPACT, compaction_ended, eng);
    }
    pthread_mutex_lock(&fd->lock);
    if (r) {
        fd->running = false;
        pthread_cond_broadcast(&fd->changed);
    }
    return r;
}

/* Whether a compaction can be expected to win something. While the store is held it cannot: emptied segments
 * stay. */
static bool worth_it_locked(struct eng *eng)
{
    uint64_t total, live;
    if (keepers_find_all(eng))
        return false;
    totals_get(eng, &total, &live);
    uint64_t worth = MIN_OF(total / WORTH_SHARE, WORTH_SEGMENTS * eng->log.segment_size);
    uint64_t futile = mono_ns() < eng->full_disk->futile_until ? eng->full_disk->futile_garbage : 0;
    return total - live >= futile + MAX_OF(worth, WORTH_MIN);
}

/* Whether to begin one all the same: not over and over where one has won nothing, and nothing has changed. */
static bool may_force_locked(struct eng *eng)
{
    const struct full_disk *fd = eng->full_disk;
    if (keepers_find_all(eng))
        return false;
    return MUTANT(FORCED_AGAIN) || log_seq(&eng->log) != fd->vain_seq || mono_ns() >= fd->vain_until;
}

/* ---- waiting ------------------------------------------------------------------------------ */

/* Until segments were given back, or the compaction has ended. Neither pause nor rate hold it up
 * meanwhile. */
static void await_gain_locked(struct eng *eng)
{
    struct full_disk *fd = eng->full_disk;
    struct job *job = runner_job(eng, ENG_JOB_COMPACT);
    uint64_t gains = fd->gains;
    job_hurry(job, true);
    while (fd->running && fd->gains == gains)
        pthread_cond_wait(&fd->changed, &fd->lock);
    job_hurry(job, false);
}

/* ---- what a history keeps ----------------------------------------------------------------- */

/* Whether there may be something to let go. While the store is held that gives nothing. */
static bool may_expire_locked(struct eng *eng)
{
    const struct full_disk *fd = eng->full_disk;
    if (keepers_find_all(eng) || !expiry_may_give(eng) || MUTANT(HISTORY_STAYS))
        return false;
    return log_seq(&eng->log) != fd->kept_seq || mono_ns() >= fd->kept_until;
}

/* With the lock held, which is given up meanwhile: lets go of the oldest, as much as the goal, or awaits who
 * does. Whether there is more garbage now. */
static bool expire_locked(struct eng *eng, uint64_t room)
{
    struct full_disk *fd = eng->full_disk;
    struct job *job = runner_job(eng, ENG_JOB_HISTORY);
    const struct job_request request = {.reason = "the disk is full", .goal = goal_for(eng, room)};
    struct eng_job_report report;
    uint64_t total, live, before;
    while (fd->expiring)
        pthread_cond_wait(&fd->changed, &fd->lock);
    totals_get(eng, &total, &live);
    before = total - live;
    fd->expiring = true;
    pthread_mutex_unlock(&fd->lock);
    job_hurry(job, true);
    int r = runner_run(eng, ENG_JOB_HISTORY, &request, &report);
    job_report(job, &report);
    if (r == -EBUSY && report.state != ENG_JOB_PAUSED) /* one of another reason, behind which comes this */
        (void)runner_join(eng, ENG_JOB_HISTORY, &report);
    job_hurry(job, false);
    pthread_mutex_lock(&fd->lock);
    totals_get(eng, &total, &live);
    bool won = total - live > before;
    if (!won && (r != -EBUSY || report.state == ENG_JOB_PAUSED)) {
        fd->kept_seq = log_seq(&eng->log);
        fd->kept_until = mono_ns() + MARKS_RETRY_NS;
    }
    fd->expiring = false;
    pthread_cond_broadcast(&fd->changed);
    return won || (r == -EBUSY && report.state != ENG_JOB_PAUSED);
}

/* Now and then, when a change is refused: what snapshots keep. */
static void tell_of_snapshots(struct eng *eng)
{
    struct full_disk *fd = eng->full_disk;
    char name[ENG_NAME_MAX + 1];
    uint64_t bytes, now = mono_ns();
    pthread_mutex_lock(&fd->lock);
    bool due = !fd->told_at || now - fd->told_at >= TELL_EVERY_NS;
    if (due)
        fd->told_at = now;
    pthread_mutex_unlock(&fd->lock);
    if (due && expiry_largest(eng, name, &bytes))
        report_line(
            &eng->report, ENG_LOG_WARNING,
            "the disk is full, and snapshots keep what was removed and changed: \"%s\" most, %llu bytes; "
            "dropping it gives back what no other one shows",
            name, (unsigned long long)bytes);
}

/* ---- all of it ----------------------------------------------------------------------------- */

/* `force`: begins a compaction, once, unless it is known to be in vain. A removal is content with anything
 * that was given back. 0: there is room, or may be. -ENOSPC: there is none to be had. -EAGAIN: only by
 * waiting. */
static int await_room_locked(struct eng *eng, uint64_t room, bool removing, bool *force, bool may_wait)
{
    struct full_disk *fd = eng->full_disk;
    while (!reserve_fill(eng, room)) {
        bool compacts = fd->running || worth_it_locked(eng) || (*force && may_force_locked(eng));
        if (!compacts && !may_expire_locked(eng))
            return -ENOSPC;
        if (!may_wait)
            return -EAGAIN;
        if (!compacts) {
            if (!expire_locked(eng, room))
                return -ENOSPC;
            continue;
        }
        uint64_t gains = fd->gains;
        if (!fd->running) {
            *force = false;
            int r = begin_locked(eng, room);
            if (r)
                return -ENOSPC;
        }
        if (fd->running && fd->gains == gains)
            await_gain_locked(eng);
        if (removing)
            return 0;
        if (!fd->running && fd->error == -ECANCELED) /* not begun again by those who waited for this one */
            return reserve_fill(eng, room) ? 0 : -ENOSPC;
    }
    return 0;
}

static uint64_t room_for(uint64_t size)
{
    return MAX_OF(RESERVE_ROOM_MIN, size + size / 8);
}

static int await_room(struct eng *eng, uint64_t room, bool removing, bool *force, bool may_wait)
{
    if (is_read_only(eng))
        return -EROFS;
    report_defer();
    pthread_mutex_lock(&eng->full_disk->lock);
    int r = await_room_locked(eng, room, removing, force, may_wait);
    pthread_mutex_unlock(&eng->full_disk->lock);
    if (r == -ENOSPC)
        tell_of_snapshots(eng);
    report_flush(&eng->report);
    return r;
}

/* The store is not short, but a change was refused: somebody has seen room since, as who ends a checkpoint
 * does, or there is another reason, and no room helps. So it is tried at once; if it was refused for want of
 * room once more, whoever sees room is not believed any more. */
static bool again_unless_short(struct eng *eng, const struct full_disk_try *change)
{
    if (change->tries == 1)
        return true;
    if (MUTANT(ROOM_BELIEVED) || (reserve_turns(eng) == change->turns && !MUTANT(REFUSAL_IS_SHORTAGE)))
        return false;
    reserve_set_short(eng);
    return true;
}

bool full_disk_again(struct eng *eng, struct full_disk_try *change, int *r)
{
    int room = 0;
    if (*r == -ENOSPC)
        fault_point(&eng->hook, FP_CHANGE_REFUSED);
    if (*r != -ENOSPC || change->tries++ >= TRIES_MAX ||
        (!reserve_is_short(eng) && !again_unless_short(eng, change)))
        return false;
    if (reserve_is_short(eng)) {
        bool force = change->removing && !change->began;
        room = await_room(eng, room_for(change->size), change->removing, &force, !eng->opt.room_later);
        change->began = change->began || !force;
    }
    change->turns = reserve_turns(eng);
    if (room == -EAGAIN)
        *r = room;
    return room == 0;
}

int eng_make_room(struct eng *eng, uint64_t size)
{
    if (!eng)
        return -EINVAL;
    bool force = true;
    return await_room(eng, room_for(size), false, &force, true);
}
