/*
 * install.c - see install.h. */
#include "upkeep/install.h"

#include "commit/commit.h"
#include "commit/flush.h"
#include "commit/retire.h"
#include "core/keepers.h"
#include "core/look.h"
#include "core/reserve.h"
#include "core/totals.h"
#include "image/checkpoint.h"
#include "image/self_check.h"
#include "index/past.h"
#include "upkeep/choose.h"
#include "upkeep/full_disk.h"

#include <assert.h>

/* ---- metadata ----------------------------------------------------------------------- */

static int find_waiting(struct eng *eng, const struct seg_rec *seg, void *arg)
{
    bool *waits = arg;
    bool garbage =
        !seg->live || seg->live < totals_payload_locked(eng, seg) || totals_spent_once_aged_locked(eng, seg);
    *waits = *waits || (garbage && !keepers_need(eng, KEEPER_ACTIVE, seg) &&
                        keepers_need(eng, KEEPER_CHECKPOINTS, seg));
    return 0;
}

int install_age_metadata(struct eng *eng)
{
    bool waits = false;
    (void)look_at_segments(eng, find_waiting, &waits);
    return waits ? checkpoint_write(eng) : 0;
}

/* ---- one output segment --------------------------------------------------------------- */

/* Files whose xattrs a batch moves: for each its list is gone through while everybody waits. */
struct walked {
    uint64_t inos[INSTALL_STEP];
    size_t n;
    uint32_t left; /* xattrs that may still be passed by */
};

/* Whether the relocation may come along. The last list may be longer than what is left. Under log.lock. */
static bool may_walk(const struct eng *eng, struct walked *w, const struct extent_ref *ref)
{
    if (ref->off != EXTENT_XATTR_OFF || MUTANT(WALKS_UNCOUNTED))
        return true;
    for (size_t i = w->n; i-- > 0;)
        if (w->inos[i] == ref->ino)
            return true;
    if (w->n && !w->left)
        return false;
    const struct inode_rec *inode = past_or_inode(&eng->idx, ref->ino);
    w->left -= inode ? index_count_xattrs(&eng->idx, inode, w->left) : 0;
    w->inos[w->n++] = ref->ino;
    return true;
}

/* Stages the next relocations, in order, up to *ret_end. Under log.lock. */
static int stage(const struct installer *in, const struct outgoing *og, struct txn *txn, size_t *ret_n,
                 size_t *ret_end)
{
    size_t n = 0, i = og->next, max = eng_step(in->eng, INSTALL_STEP);
    struct walked walked = {.left = eng_slice(in->eng)};
    struct op *op;
    if (og->payload) {
        assert(og->seg); /* which holds it */
        if (!(op = txn_op(txn, OP_SEGMENT)))
            return -ENOMEM;
        op->ino = og->seg->id;
        op->len = og->payload;
    }
    for (; i < og->end && n < max; i++) {
        const struct extent_ref *ref = &og->refs[i];
        if (!ref->to.seg)
            continue;
        if (!may_walk(in->eng, &walked, ref))
            break;
        if (!(op = txn_op(txn, OP_RELOCATE)))
            return -ENOMEM;
        op->ino = ref->ino;
        op->off = ref->off;
        op->old = ref->from;
        op->loc = ref->to;
        op->hsum = ref->hsum;
        n++;
    }
    *ret_n = n;
    *ret_end = i;
    return 0;
}

/* One batch of relocations. */
static int install_some(struct installer *in, struct outgoing *og)
{
    CLEANUP_TXN struct txn txn = {0};
    uint64_t before = COUNTED(in->eng, relocations_lost);
    size_t n = 0, i = og->next;
    while (og->next < og->end && !og->refs[og->next].to.seg)
        og->next++;
    if (og->next == og->end && !og->payload)
        return 0;
    int r = commit_begin(in->eng);
    if (!r) {
        r = stage(in, og, &txn, &n, &i);
        r = commit_end(in->eng, r ? r : commit_txn(in->eng, &txn));
    }
    if (r)
        return r;
    og->next = i;
    og->payload = 0;
    uint64_t lost = COUNTED(in->eng, relocations_lost) - before;
    pthread_mutex_lock(&in->job->lock);
    in->job->report.compact.extents_moved += n - MIN_OF(lost, (uint64_t)n);
    in->job->report.compact.extents_lost += lost;
    pthread_mutex_unlock(&in->job->lock);
    fault_point(&in->eng->hook, FP_COMPACT_INSTALLED);
    return 0;
}

uint64_t install_emptied(struct installer *in)
{
    uint64_t n = 0;
    pthread_rwlock_rdlock(&in->eng->index_lock);
    for (size_t i = 0; i < in->n_victims; i++) {
        const struct seg_rec *seg = index_segment(&in->eng->idx, in->victims[i].id);
        n += !seg || !seg->live;
    }
    pthread_rwlock_unlock(&in->eng->index_lock);
    return n;
}

int install_outgoing(struct installer *in, struct outgoing *og)
{
    const struct eng_io_ops *ops = in->eng->io->ops;
    uint64_t yielded = 0;
    int r = 0;
    if (og->seg && !MUTANT(INSTALL_UNSYNCED)) {
        r = ops->datasync(og->seg->file);
        if (!r && og->fresh && !MUTANT(NO_SYNCDIR))
            r = io_syncdir(in->eng->io);
        if (io_dir_failed(in->eng->io))
            (void)flush_log(in->eng); /* turns the store read-only: names of others may be lost, too */
        og->fresh = og->fresh && r;
    }
    if (!r)
        fault_point(&in->eng->hook, FP_COMPACT_COPIED);
    self_check_owners(in->eng);
    while (!r && (og->next < og->end || og->payload)) {
        r = install_some(in, og);
        job_yield(&yielded);
    }
    if (!r)
        r = flush_log(in->eng);
    for (; og->n_read > 0;
         og->n_read--) { /* pinned they could not go; and unlinking is quicker with no pages */
        struct segment *seg = og->read[og->n_read - 1];
        if (!r)
            ops->drop_cache(seg->file);
        segments_unpin(seg);
    }
    if (r)
        return r;
    if (!MUTANT(RETIRE_LATE))
        r = retire_emptied(in->eng);
    full_disk_gained(in->eng);
    uint64_t emptied = install_emptied(in);
    pthread_mutex_lock(&in->job->lock);
    in->job->report.done = emptied;
    pthread_mutex_unlock(&in->job->lock);
    return r;
}

uint64_t install_end(const struct outgoing *og)
{
    for (size_t i = og->next; i < og->end && !MUTANT(UNINSTALLED_KEPT); i++)
        if (og->refs[i].to.seg)
            return (uint64_t)og->refs[i].to.off8 * 8;
    return UINT64_MAX;
}

void install_cut(struct eng *eng, struct segment *out, uint64_t size)
{
    retire_exclude(eng); /* no hold begins meanwhile */
    bool cut = !keepers_find_all(eng) && !is_read_only(eng) && !MUTANT(VAIN_COPIES_STAY) &&
               eng->io->ops->truncate(out->file, size) == 0;
    if (cut)
        segments_resize(&eng->segments, out, size);
    retire_allow(eng);
    if (cut)
        reserve_removed(eng);
}

void install_drop(struct eng *eng, struct segment *out)
{
    if (!out)
        return;
    uint32_t id = out->id;
    segments_unpin(out);
    retire_unrecorded(eng, id);
}

/* ---- the thread -------------------------------------------------------------------------- */

/* `og` belongs to this thread. After an error nothing more is installed. */
static int install_or_drop(struct installer *in, struct outgoing *og, int error)
{
    int r = error ? error : install_outgoing(in, og);
    for (; og->n_read > 0; og->n_read--)
        segments_unpin(og->read[og->n_read - 1]);
    if (r == -ENOSPC && og->seg && install_end(og) != UINT64_MAX && !MUTANT(INSTALLER_KEEPS))
        install_cut(in->eng, og->seg, install_end(og));
    if (r)
        install_drop(in->eng, og->seg);
    else
        segments_unpin(og->seg);
    return r;
}

/* The thread is ready with what it was given: more may be given. */
static void tell_idle(struct installer *in, int error)
{
    pthread_mutex_lock(&in->lock);
    in->error = error;
    in->given = false;
    fault_point(&in->eng->hook, FP_INSTALLER_IDLE);
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
}

/* Waits for work; false if there will be none. *ret_error: the first error so far. */
static bool await_given(struct installer *in, int *ret_error)
{
    pthread_mutex_lock(&in->lock);
    while (!in->given && !in->stop)
        pthread_cond_wait(&in->changed, &in->lock);
    bool given = in->given;
    if (!given)
        fault_point(&in->eng->hook, FP_INSTALLER_IDLE);
    *ret_error = in->error;
    pthread_mutex_unlock(&in->lock);
    return given;
}

static void *installer_main(void *arg)
{
    struct installer *in = arg;
    int error;
    fault_point(&in->eng->hook, FP_INSTALLER_RUNS);
    tell_idle(in, install_age_metadata(in->eng));
    while (await_given(in, &error)) {
        fault_point(&in->eng->hook, FP_INSTALLER_RUNS);
        tell_idle(in, install_or_drop(in, &in->outgoing, error));
    }
    return NULL;
}

void installer_start(struct installer *in)
{
    if (!in->eng->installs_beside || choose_is_tight(in->eng))
        return;
    in->given =
        true; /* the thread begins with the checkpoints; protected by the lock once there are two threads */
    in->has_thread = pthread_create(&in->thread, NULL, installer_main, in) == 0;
    if (in->has_thread)
        fault_point(&in->eng->hook, FP_INSTALLER_GIVEN);
    else
        in->given = false;
}

void installer_give(struct installer *in, const struct outgoing *og)
{
    in->outgoing = *og;
    pthread_mutex_lock(&in->lock);
    in->given = true;
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
    fault_point(&in->eng->hook, FP_INSTALLER_GIVEN);
}

int installer_await(struct installer *in)
{
    pthread_mutex_lock(&in->lock);
    while (in->given && !MUTANT(NO_INSTALLER_WAIT)) {
        fault_point(&in->eng->hook, FP_INSTALLER_AWAITED);
        pthread_cond_wait(&in->changed, &in->lock);
    }
    int r = in->error;
    pthread_mutex_unlock(&in->lock);
    return r;
}

void installer_end(struct installer *in)
{
    if (!in->has_thread)
        return;
    pthread_mutex_lock(&in->lock);
    in->stop = true;
    fault_point(&in->eng->hook, FP_INSTALLER_AWAITED);
    pthread_cond_broadcast(&in->changed);
    pthread_mutex_unlock(&in->lock);
    (void)pthread_join(in->thread, NULL);
    in->has_thread = false;
}

void installer_init(struct installer *in, struct eng *eng, struct job *job)
{
    *in = (struct installer){.eng = eng, .job = job};
    pthread_mutex_init(&in->lock, NULL);
    pthread_cond_init(&in->changed, NULL);
}

void installer_free(struct installer *in)
{
    installer_end(in);
    pthread_cond_destroy(&in->changed);
    pthread_mutex_destroy(&in->lock);
}
