/*
 * full_disk.c - see full_disk.h. */
#include "upkeep/full_disk.h"

#include "commit/commit.h"
#include "commit/retire.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "image/checkpoint.h"
#include "upkeep/runner.h"

/* full_disk_make_room() compacts again once there is more garbage than after the last time: by a share of the
 * store, but not by more than some segments, and not by less than WORTH_MIN. */
#define WORTH_MIN (UINT64_C(64) << 10)
#define WORTH_SHARE 32u
#define WORTH_SEGMENTS 4u

struct full_disk {
    pthread_mutex_t lock;
    uint64_t futile_garbage; /* garbage that was left when room was last made. Protected by lock. */
};

int full_disk_new(struct eng *eng)
{
    eng->full_disk = calloc(1, sizeof *eng->full_disk);
    if (!eng->full_disk)
        return -ENOMEM;
    pthread_mutex_init(&eng->full_disk->lock, NULL);
    return 0;
}

void full_disk_free(struct eng *eng)
{
    if (!eng->full_disk)
        return;
    pthread_mutex_destroy(&eng->full_disk->lock);
    free(eng->full_disk);
    eng->full_disk = NULL;
}

/* Whether some segment goes once a checkpoint is written, which also makes the log durable. */
static bool any_awaits_checkpoint(struct eng *eng)
{
    bool any = false;
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used && !any; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        const struct keeper *keeper = seg->id ? keepers_find(eng, seg) : NULL;
        any = keeper && (keeper->kind == KEEPER_DURABLE || keeper->kind == KEEPER_CHECKPOINTS);
    }
    pthread_mutex_unlock(&eng->log.lock);
    return any;
}

/*
 * A compaction, waited for, which neither pause nor rate hold up; one that is under way already does as well,
 * unless it is paused: -EBUSY. */
static int compact_in_a_hurry(struct eng *eng)
{
    const struct job_request request = {.reason = "asked for"};
    struct job *job = runner_job(eng, ENG_JOB_COMPACT);
    struct eng_job_report report;
    job_report(job, &report);
    if (report.state == ENG_JOB_PAUSED)
        return -EBUSY;
    job_hurry(job, true);
    int r = runner_run(eng, ENG_JOB_COMPACT, &request, &report);
    if (r == -EBUSY) {
        r = runner_join(eng, ENG_JOB_COMPACT, &report);
        if (!r && report.compact.fragmentation_after > 0) /* it was over before it heard of the hurry */
            r = runner_run(eng, ENG_JOB_COMPACT, &request, NULL);
        r = r == -EBUSY ? 0 : r; /* by now yet another one runs */
    }
    job_hurry(job, false);
    return r;
}

static void clear_out(struct eng *eng)
{
    uint64_t total, live;
    int r = commit_orphans(eng);
    totals_get(eng, &total, &live);
    if (total > live)
        r = compact_in_a_hurry(eng);
    (void)retire_segments(eng);
    for (unsigned i = 0; i < 2 && !r && any_awaits_checkpoint(eng); i++) {
        r = checkpoint_write(eng);
        (void)retire_segments(eng);
    }
}

static bool worth_trying(struct eng *eng)
{
    uint64_t total, live;
    totals_get(eng, &total, &live);
    uint64_t worth = MIN_OF(total / WORTH_SHARE, WORTH_SEGMENTS * eng->log.segment_size);
    return total - live >= eng->full_disk->futile_garbage + MAX_OF(worth, WORTH_MIN);
}

bool full_disk_make_room(struct eng *eng, uint64_t size, bool removing)
{
    uint64_t total, live, room = MAX_OF(RESERVE_ROOM_MIN, size + size / 8);
    if (is_read_only(eng))
        return false;
    report_defer();
    pthread_mutex_lock(&eng->full_disk->lock);
    bool ok = reserve_fill(eng, room);
    if (!ok && (removing || worth_trying(eng))) {
        clear_out(eng);
        ok = reserve_fill(eng, room);
        totals_get(eng, &total, &live);
        eng->full_disk->futile_garbage = total - live;
    }
    pthread_mutex_unlock(&eng->full_disk->lock);
    report_flush(&eng->report);
    return ok || removing;
}

int full_disk_begin(struct eng *eng)
{
    if (reserve_is_short(eng))
        (void)full_disk_make_room(eng, 0, false);
    return commit_begin(eng);
}
