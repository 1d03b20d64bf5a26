/*
 * compact.c - moving survivors out of segments that hold garbage.
 *
 *   prepare   free orphans, seal the active segment, write checkpoints until no
 *             victim's metadata is needed by recovery (I4), choose victims
 *   copy      survivors, verified first (I5), into a segment of their own
 *   install   that segment made durable, then relocations through the log in
 *             small batches, each compared with what the index says now (I3)
 *   retire    deaths made durable, emptied victims unlinked (I4)
 *
 * Nothing is ever put back: until a relocation is installed the old place is valid, and
 * afterwards the new one is (I8). Bounds (I9): GROUP_EXTENTS refs of 64 bytes, four
 * buffers, two output segments at a time, what each emptied is retired after it.
 *
 * With background threads, and where the disk has room, one more thread reads what is not in memory
 * (compact_read.h), and another (settler) writes the checkpoints and installs and retires one output segment
 * while the next is filled, so that reading, copying, flushing and unlinking overlap. For each output segment
 * the order of the steps is the same either way.
 *
 * Locks: none held across steps; log.lock and index_lock as a mutation has them; `lock` of struct compact, a
 * leaf.
 */
#include "compact.h"
#include "compact_read.h"
#include "policy.h"

#include <assert.h>
#include <stdio.h>

#define GROUP_EXTENTS (512u << 10) /* refs in memory: 32 MiB */
#define OUT_BUFFER (1u << 20)      /* written at once */
#define STEP_REFS 256u             /* copied between two passes of the gate, and installed in one batch */
#define READ_MAX 64u               /* victims that one output segment takes up, kept pinned */
#define ROUNDS_MAX 4u              /* for extents that were split or changed while they were copied */

/* ---- victims ------------------------------------------------------------------------ */

/* An output segment on its way from copied to retired. */
struct outgoing {
    struct segment *seg;            /* pinned; NULL: nothing was copied */
    bool fresh;                     /* its directory entry is not durable yet */
    uint64_t payload;               /* not yet told to the log */
    size_t next, end;               /* its refs that are not installed */
    struct segment *read[READ_MAX]; /* pinned: victims that are not read any more */
    size_t n_read;
};

struct compact {
    struct eng *eng;
    struct job *job;
    double leave;                      /* the share of garbage that may stay. immutable */
    struct eng_compact_report *report; /* protected by job->lock */

    struct candidate *victims; /* in the order in which they are emptied */
    size_t n_victims;
    struct extent_ref *refs; /* of the group under way */
    size_t n_refs, copied, handed_over;

    struct segment *out;            /* pinned */
    uint64_t out_size, out_payload; /* payload not yet told to the log */
    struct buf out_buf;             /* the end of `out` that was not written yet */
    bool out_new;                   /* its directory entry is not durable yet */

    struct segment *in;             /* pinned: the victim being read */
    struct segment *read[READ_MAX]; /* pinned: those read since the last handing over */
    size_t n_read;
    struct victim_reader reader;
    struct victim_window *window; /* of the reader; NULL: none of this group was taken */

    pthread_t settler;
    bool has_settler;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct outgoing outgoing; /* the settler's while `given` */
    bool given;               /* the settler has something to do. protected by lock */
    int settle_error;         /* the first. protected by lock */
    bool stop;                /* protected by lock */

    struct buf names;
    uint32_t name_at[STEP_REFS], name_len[STEP_REFS];
    bool stale[STEP_REFS];
};

/* ---- prepare --------------------------------------------------------------------------- */

static int seal_active(struct eng *eng)
{
    int r = eng_begin_work(eng);
    if (r)
        return r;
    struct log *log = &eng->log;
    if (log->active && log->tail > sizeof(struct segment_header))
        r = log_seal_locked(log);
    eng_end(eng);
    return r;
}

/* The youngest batch in any segment with garbage or without life. */
static uint64_t youngest_metadata(struct eng *eng)
{
    uint64_t seq = 0;
    pthread_mutex_lock(&eng->log.lock);
    for (uint32_t i = 1; i < eng->idx.segs.used; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        bool active = eng->log.active && eng->log.active->id == seg->id;
        if (seg->id && !active && (seg->live < seg->total || !seg->live))
            seq = MAX_OF(seq, seg->last_seq);
    }
    pthread_mutex_unlock(&eng->log.lock);
    return seq;
}

/* Two checkpoints are kept, so up to two have to be written before no kept one needs the victims' metadata
 * (I4). */
static int age_metadata(struct eng *eng)
{
    uint64_t seq = youngest_metadata(eng);
    int r = 0;
    for (unsigned i = 0; i < 2 && !r && __atomic_load_n(&eng->oldest_ckpt_seq, __ATOMIC_ACQUIRE) < seq; i++)
        r = eng_checkpoint(eng);
    return r;
}

/* On a disk that is nearly full victims are emptied one by one, best first, so that each gives its room to
 * the next. */
static bool is_tight(struct eng *eng)
{
    struct io_space space;
    return eng->io->ops->space(eng->io, &space) == 0 && space.avail_bytes < 4 * eng->log.segment_size;
}

/* ---- copy -------------------------------------------------------------------------------- */

/* Lets go of the victim that was read: at the next handing over, if there is still room to remember it, and
 * files enough to keep it open. */
static void done_reading(struct compact *c)
{
    if (c->in && c->n_read < MIN_OF(READ_MAX, c->eng->arena.open_max / 4))
        c->read[c->n_read++] = c->in;
    else
        arena_unpin(c->in);
    c->in = NULL;
}

/* Where ref i is in the window that holds it, which is taken if it is the next. */
static int find_bytes(struct compact *c, size_t i, const uint8_t **ret_head)
{
    while (!c->window || i >= c->window->end) {
        fault_point(&c->eng->hook, FP_COMPACT_READ);
        c->window = reader_take(&c->reader);
        if (c->in && c->window->seg == c->in)
            arena_unpin(c->in); /* one pin is enough */
        else
            done_reading(c);
        c->in = c->window->seg;
    }
    /* A bad spot in a neighbour is not this one's damage. */
    int err = c->window->error == -EIO ? reader_again(&c->reader, c->window, i) : c->window->error;
    return err ? err : window_find(c->window, &c->refs[i], ret_head);
}

static int flush_out(struct compact *c)
{
    struct iovec iov = {c->out_buf.data, c->out_buf.len};
    if (!c->out || !c->out_buf.len)
        return 0;
    uint64_t at = c->out_size - c->out_buf.len;
    int r = io_pwritev_full(c->out->file, c->eng->io->ops, &iov, 1, at);
    if (r == -ENOSPC && reserve_release(c->eng, RESERVE_ALL)) {
        iov = (struct iovec){c->out_buf.data, c->out_buf.len};
        r = io_pwritev_full(c->out->file, c->eng->io->ops, &iov, 1, at);
    }
    if (!r) {
        if (c->eng->io->ops->advise) /* so that less is left for the flush */
            c->eng->io->ops->advise(c->out->file, IO_WRITE_BACK, at, c->out_buf.len);
        c->out_buf.len = 0;
        __atomic_store_n(&c->out->size, c->out_size, __ATOMIC_RELAXED);
    }
    return r;
}

static int open_out(struct compact *c)
{
    if (c->out)
        return 0;
    int r = arena_create(&c->eng->arena, SEGMENT_SURVIVORS, log_seq(&c->eng->log), 0,
                         log_durable(&c->eng->log), &c->out);
    c->out_size = sizeof(struct segment_header);
    c->out_payload = 0;
    c->out_new = true;
    return r;
}

static void put_padded(struct buf *b, const void *data, size_t len)
{
    if (len)
        memcpy(b->data + b->len, data, len);
    memset(b->data + b->len + len, 0, ALIGN8(len) - len);
    b->len += ALIGN8(len);
}

/* Appends the verified range of ref i to the output, as an extent of its own. */
static int put_survivor(struct compact *c, size_t i, const uint8_t *head, const char *name, uint32_t name_len)
{
    struct extent_ref *r = &c->refs[i];
    uint32_t len = r->from.len, head_size = extent_head_size(len);
    const uint8_t *payload = head + extent_head_size(r->from.ext_len) + r->from.skip;
    uint32_t size = extent_size(len, name_len);
    int err = open_out(c);
    if (!err)
        err = buf_reserve(&c->out_buf, size);
    if (err)
        return err;
    uint8_t *out = c->out_buf.data + c->out_buf.len;
    uint64_t seq = log_seq(&c->eng->log);
    if (len == r->from.ext_len && !MUTANT(DROP_UNREADABLE)) { /* whole: its checksums, just verified, stay */
        memcpy(out, head, head_size);
        r->hsum = extent_head_renew(out, seq, name, name_len);
    } else {
        r->hsum = extent_head_encode(out, r->ino, r->off, seq, payload, len, name, name_len);
    }
    r->to = (struct locator){c->out->id, (uint32_t)(c->out_size / 8), 0, len, len};
    c->out_buf.len += head_size;
    put_padded(&c->out_buf, payload, len);
    put_padded(&c->out_buf, name, name_len);
    c->out_size += size;
    c->out_payload += len;
    return c->out_buf.len >= OUT_BUFFER ? flush_out(c) : 0;
}

static int copy_ref(struct compact *c, size_t i, const char *name, uint32_t name_len)
{
    struct extent_ref *r = &c->refs[i];
    const uint8_t *head = NULL;
    int err = find_bytes(c, i, &head);
    if (!err) {
        uint64_t ext_off = r->off == EXTENT_XATTR_OFF ? r->off : r->off - r->from.skip;
        uint32_t first = r->from.skip / BLOCK_SIZE, last = (r->from.skip + r->from.len - 1) / BLOCK_SIZE;
        err = extent_head_check(head, r->ino, ext_off, r->from.ext_len);
        if (!err)
            err = extent_blocks_check(head, first, last - first + 1,
                                      head + extent_head_size(r->from.ext_len) + (size_t)first * BLOCK_SIZE);
        if (MUTANT(DROP_UNREADABLE))
            err = 0;
    }
    if (!err)
        return put_survivor(c, i, head, name, name_len);
    if (err != -EBADMSG && err != -EIO && err != -ENOENT)
        return err;
    if (!extent_ref_current(c->eng, r)) /* superseded since, and its segment perhaps unlinked: no damage */
        return 0;
    /* I5: it stays where it is, live, and is reported. */
    eng_note_damage(c->eng, r->ino, r->off, &r->from,
                    err == -EIO      ? "read error"
                    : err == -ENOENT ? "segment is missing"
                                     : "checksum mismatch");
    pthread_mutex_lock(&c->job->lock);
    c->report->extents_damaged++;
    pthread_mutex_unlock(&c->job->lock);
    return 0;
}

/* Under one short lock: which of the next refs are still current, and the paths for their hints. */
static int look_up_step(struct compact *c, size_t n)
{
    struct index *idx = &c->eng->idx;
    c->names.len = 0;
    int r = buf_reserve(&c->names, STEP_REFS * (EXTENT_NAME_MAX + 1u));
    if (r)
        return r;
    pthread_rwlock_rdlock(&c->eng->index_lock);
    for (size_t i = 0; i < n; i++) {
        const struct extent_ref *ref = &c->refs[c->copied + i];
        c->name_len[i] = 0;
        c->stale[i] = !extent_ref_current_locked(idx, ref);
        if (c->stale[i] || ref->off)
            continue;
        c->name_at[i] = (uint32_t)c->names.len;
        c->name_len[i] = (uint32_t)index_path(idx, ino_slot(ref->ino), (char *)c->names.data + c->names.len,
                                              EXTENT_NAME_MAX);
        c->names.len += c->name_len[i];
    }
    pthread_rwlock_unlock(&c->eng->index_lock);
    return 0;
}

static bool out_is_full(const struct compact *c)
{
    return c->out && c->out_size >= c->eng->log.segment_size;
}

static int copy_step(struct compact *c, uint64_t *ret_bytes)
{
    size_t n = MIN_OF(c->n_refs - c->copied, (size_t)STEP_REFS);
    uint64_t bytes = 0;
    int r = look_up_step(c, n);
    for (size_t i = 0; i < n && !r && bytes < OUT_BUFFER && !out_is_full(c); i++) {
        if (!c->stale[i])
            r = copy_ref(c, c->copied, (char *)c->names.data + c->name_at[i], c->name_len[i]);
        bytes += c->refs[c->copied].to.len;
        c->copied += !r;
    }
    pthread_mutex_lock(&c->job->lock);
    c->report->bytes_moved += bytes;
    pthread_mutex_unlock(&c->job->lock);
    *ret_bytes = bytes;
    return r;
}

/* ---- install and retire ----------------------------------------------------------------- */

/* One batch of relocations. */
static int install_some(struct compact *c, struct outgoing *og)
{
    CLEANUP_TXN struct txn txn = {0};
    struct op *op;
    uint64_t before = COUNTED(c->eng, relocations_lost);
    size_t n = 0, i = og->next;
    if (og->payload) {
        assert(og->seg); /* which holds it */
        if (!(op = txn_op(&txn, OP_SEGMENT)))
            return -ENOMEM;
        op->ino = og->seg->id;
        op->len = og->payload;
    }
    for (; i < og->end && n < STEP_REFS; i++) {
        const struct extent_ref *ref = &c->refs[i];
        if (!ref->to.seg)
            continue;
        if (!(op = txn_op(&txn, OP_RELOCATE)))
            return -ENOMEM;
        op->ino = ref->ino;
        op->off = ref->off;
        op->old = ref->from;
        op->loc = ref->to;
        op->hsum = ref->hsum;
        n++;
    }
    int r = txn.n_ops ? eng_begin_work(c->eng) : 0;
    if (txn.n_ops && !r) {
        r = eng_commit(c->eng, &txn);
        eng_end(c->eng);
    }
    if (r)
        return r;
    og->next = i;
    og->payload = 0;
    uint64_t lost = COUNTED(c->eng, relocations_lost) - before;
    pthread_mutex_lock(&c->job->lock);
    c->report->extents_moved += n - MIN_OF(lost, (uint64_t)n);
    c->report->extents_lost += lost;
    pthread_mutex_unlock(&c->job->lock);
    if (txn.n_ops)
        fault_point(&c->eng->hook, FP_COMPACT_INSTALLED);
    return 0;
}

static uint64_t victims_emptied(struct compact *c)
{
    uint64_t n = 0;
    pthread_rwlock_rdlock(&c->eng->index_lock);
    for (size_t i = 0; i < c->n_victims; i++) {
        const struct seg_rec *seg = index_segment(&c->eng->idx, c->victims[i].id);
        n += !seg || !seg->live;
    }
    pthread_rwlock_unlock(&c->eng->index_lock);
    return n;
}

/* What was copied becomes durable, is installed, and what it emptied goes. */
static int settle(struct compact *c, struct outgoing *og)
{
    const struct eng_io_ops *ops = c->eng->io->ops;
    uint64_t yielded = 0;
    int r = 0;
    if (og->seg && !MUTANT(INSTALL_UNSYNCED)) {
        r = ops->datasync(og->seg->file);
        if (!r && og->fresh && !MUTANT(NO_SYNCDIR))
            r = ops->syncdir(c->eng->io);
        og->fresh = og->fresh && r;
    }
    if (!r)
        fault_point(&c->eng->hook, FP_COMPACT_COPIED);
    while (!r && (og->next < og->end || og->payload)) {
        r = install_some(c, og);
        job_yield(&yielded);
    }
    if (!r)
        r = eng_flush(c->eng);
    for (; og->n_read > 0;
         og->n_read--) { /* pinned they could not go; and unlinking is quicker with no pages */
        struct segment *seg = og->read[og->n_read - 1];
        if (!r)
            ops->drop_cache(seg->file);
        arena_unpin(seg);
    }
    if (r)
        return r;
    (void)eng_reclaim(c->eng);
    uint64_t emptied = victims_emptied(c);
    pthread_mutex_lock(&c->job->lock);
    c->report->segments_done = emptied;
    pthread_mutex_unlock(&c->job->lock);
    return 0;
}

/*
 * A copy of which nothing was installed is of no use: without a record in the index its file would stay until
 * the next opening. A store that is held, or that turned read-only, loses no file all the same.
 */
static void drop_unused_out(struct compact *c, struct segment *out)
{
    if (!out)
        return;
    struct eng *eng = c->eng;
    uint32_t id = out->id;
    arena_unpin(out);
    pthread_mutex_lock(&eng->log.lock); /* under which a hold begins */
    bool known = index_segment(&eng->idx, id) != NULL && !MUTANT(DROP_INSTALLED);
    if (!known && !eng_is_held(eng) && !eng_is_read_only(eng))
        (void)arena_retire(&eng->arena, id);
    pthread_mutex_unlock(&eng->log.lock);
}

/* The settler's part: `og` is its own. After an error nothing more is installed. */
static int settle_or_drop(struct compact *c, struct outgoing *og, int error)
{
    int r = error ? error : settle(c, og);
    for (; og->n_read > 0; og->n_read--)
        arena_unpin(og->read[og->n_read - 1]);
    if (r)
        drop_unused_out(c, og->seg);
    else
        arena_unpin(og->seg);
    return r;
}

/* What was given is done: the compactor may give more. */
static void settled(struct compact *c, int error)
{
    pthread_mutex_lock(&c->lock);
    c->settle_error = error;
    c->given = false;
    fault_point(&c->eng->hook, FP_SETTLER_IDLE);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Waits for work; false if there will be none. What went wrong before goes to `ret_error`. */
static bool await_given(struct compact *c, int *ret_error)
{
    pthread_mutex_lock(&c->lock);
    while (!c->given && !c->stop)
        pthread_cond_wait(&c->changed, &c->lock);
    bool given = c->given;
    if (!given)
        fault_point(&c->eng->hook, FP_SETTLER_IDLE);
    *ret_error = c->settle_error;
    pthread_mutex_unlock(&c->lock);
    return given;
}

static void *settler(void *arg)
{
    struct compact *c = arg;
    int error;
    fault_point(&c->eng->hook, FP_SETTLER_RUNS);
    settled(c, age_metadata(c->eng));
    while (await_given(c, &error)) {
        fault_point(&c->eng->hook, FP_SETTLER_RUNS);
        settled(c, settle_or_drop(c, &c->outgoing, error));
    }
    return NULL;
}

static void start_settler(struct compact *c)
{
    if (!c->eng->settles_beside || is_tight(c->eng))
        return;
    c->given = true; /* it begins with the checkpoints; the lock's as soon as there are two threads */
    c->has_settler = pthread_create(&c->settler, NULL, settler, c) == 0;
    if (c->has_settler)
        fault_point(&c->eng->hook, FP_SETTLER_GIVEN);
    else
        c->given = false;
}

/* When this returns the settler has nothing to do. Returns what went wrong so far. */
static int await_settler(struct compact *c)
{
    pthread_mutex_lock(&c->lock);
    while (c->given && !MUTANT(NO_SETTLER_WAIT)) {
        fault_point(&c->eng->hook, FP_SETTLER_AWAITED);
        pthread_cond_wait(&c->changed, &c->lock);
    }
    int r = c->settle_error;
    pthread_mutex_unlock(&c->lock);
    return r;
}

/* What was handed over is settled first. */
static void end_settler(struct compact *c)
{
    if (!c->has_settler)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    fault_point(&c->eng->hook, FP_SETTLER_AWAITED);
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    (void)pthread_join(c->settler, NULL);
    c->has_settler = false;
}

/* What was copied since the last time. */
static void take_outgoing(struct compact *c, struct outgoing *og)
{
    *og = (struct outgoing){.seg = c->out,
                            .fresh = c->out_new,
                            .payload = c->out_payload,
                            .next = c->handed_over,
                            .end = c->copied,
                            .n_read = c->n_read};
    memcpy(og->read, c->read, c->n_read * sizeof *c->read);
    c->n_read = 0;
    c->handed_over = c->copied;
}

/* All that was copied is settled when this returns, in this thread. */
static int settle_here(struct compact *c)
{
    struct outgoing og;
    int r = flush_out(c);
    if (!r)
        r = await_settler(c);
    if (r)
        return r;
    done_reading(c);
    take_outgoing(c, &og);
    r = settle(c, &og);
    c->out_payload = og.payload;
    c->out_new = og.fresh;
    if (!r && out_is_full(c)) {
        arena_unpin(c->out);
        c->out = NULL;
    }
    return r;
}

/* The output segment is full: the settler's, if there is one. */
static int hand_over(struct compact *c)
{
    if (!c->has_settler)
        return settle_here(c);
    int r = flush_out(c);
    if (!r)
        r = await_settler(c);
    if (r)
        return r;
    take_outgoing(c, &c->outgoing);
    c->out = NULL;
    c->out_payload = 0; /* the settler tells the log */
    pthread_mutex_lock(&c->lock);
    c->given = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    fault_point(&c->eng->hook, FP_SETTLER_GIVEN);
    return 0;
}

/* ---- the whole ---------------------------------------------------------------------------- */

/* Marks the next victims, as many as have refs for one group. */
static size_t mark_group(struct compact *c, size_t first, uint8_t *wanted)
{
    uint64_t refs = 0;
    size_t i = first;
    bool tight = is_tight(c->eng);
    pthread_rwlock_rdlock(&c->eng->index_lock);
    for (; i < c->n_victims; i++) {
        const struct seg_rec *seg = index_segment(&c->eng->idx, c->victims[i].id);
        uint64_t n = seg ? seg->n_live : 0;
        if (refs && (tight || refs + n > GROUP_EXTENTS))
            break;
        refs += n;
        wanted[c->victims[i].id] = 1;
    }
    pthread_rwlock_unlock(&c->eng->index_lock);
    return i;
}

/* What an output segment emptied goes before the next but one is begun (I9). */
static int move_refs(struct compact *c)
{
    int r = 0;
    uint64_t yielded = 0;
    while (!r && c->copied < c->n_refs) {
        uint64_t bytes;
        job_yield(&yielded);
        r = copy_step(c, &bytes);
        if (!r && out_is_full(c))
            r = hand_over(c);
        if (!r)
            r = job_gate(c->job, bytes);
    }
    return r ? r : settle_here(c);
}

static int move_group(struct compact *c, const uint8_t *wanted, size_t n_wanted)
{
    free(c->refs);
    c->refs = NULL;
    c->n_refs = c->copied = c->handed_over = 0;
    c->window = NULL;
    int r = extent_refs_collect(c->eng, wanted, n_wanted, &c->refs, &c->n_refs);
    if (!r)
        r = reader_begin(&c->reader, c->eng, c->refs, c->n_refs,
                         c->has_settler && !c->eng->opt.no_background);
    if (!r)
        r = move_refs(c);
    reader_end(&c->reader);
    return r;
}

static int move_victims(struct compact *c)
{
    size_t n_wanted = 1;
    for (size_t i = 0; i < c->n_victims; i++)
        n_wanted = MAX_OF(n_wanted, (size_t)c->victims[i].id + 1);
    CLEANUP_FREE uint8_t *wanted = calloc(1, n_wanted);
    if (!wanted)
        return -ENOMEM;
    int r = 0;
    /* What changed place or shape while it was copied is found by another look; damage ends the rounds. */
    for (unsigned round = 0; round < ROUNDS_MAX && !r && victims_emptied(c) < c->n_victims; round++) {
        for (size_t first = 0; first < c->n_victims && !r;) {
            memset(wanted, 0, n_wanted);
            first = mark_group(c, first, wanted);
            r = move_group(c, wanted, n_wanted);
        }
        if (c->report->extents_damaged)
            break;
    }
    return r;
}

static void compact_free(struct compact *c)
{
    end_settler(c);
    arena_unpin(c->in);
    for (size_t i = 0; i < c->n_read; i++)
        arena_unpin(c->read[i]);
    drop_unused_out(c, c->out);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->victims);
    free(c->refs);
    buf_done(&c->out_buf);
    buf_done(&c->names);
}

static void set_reason(struct compact *c, const char *reason)
{
    pthread_mutex_lock(&c->job->lock);
    snprintf(c->report->reason, sizeof c->report->reason, "%s", reason);
    pthread_mutex_unlock(&c->job->lock);
}

/*
 * Who was reading a victim when its last survivor moved pins it a little longer; nobody comes after him.
 * Looked at from time to time, a second at most, since unpinning tells nobody. Afterwards it goes with some
 * later reclaim.
 */
static void await_readers(struct compact *c)
{
    const struct timespec while_reading = {.tv_nsec = 1000000};
    for (unsigned n = 0; n < 1000 && !c->eng->opt.no_background; n++) {
        bool pinned = false;
        for (size_t i = 0; i < c->n_victims && !pinned; i++)
            pinned = arena_pins_of(&c->eng->arena, c->victims[i].id) > 0;
        if (!pinned)
            return;
        (void)nanosleep(&while_reading, NULL);
    }
}

static int empty_victims(struct compact *c, bool all)
{
    struct eng *eng = c->eng;
    free(c->victims);
    c->victims = NULL;
    int r = compact_choose(eng, all ? 0 : c->leave, &c->victims, &c->n_victims);
    if (r)
        return r;
    pthread_mutex_lock(&c->job->lock);
    c->report->segments_total = c->n_victims;
    pthread_mutex_unlock(&c->job->lock);
    r = move_victims(c);
    if (!r) /* its checkpoints may be what some segments wait for */
        r = await_settler(c);
    if (!r) {
        await_readers(c);
        (void)eng_reclaim(eng);
    }
    return r;
}

static int run(struct compact *c)
{
    uint64_t total, live;
    struct eng *eng = c->eng;
    eng_totals(eng, &total, &live);
    if (total == live) {
        set_reason(c, "no garbage");
        (void)eng_reclaim(eng);
        return 0;
    }
    int r = compact_check_room(eng);
    if (!r)
        r = seal_active(eng);
    if (!r)
        r = eng_flush(eng);
    if (!r)
        start_settler(c);
    if (!r && !c->has_settler)
        r = age_metadata(eng);
    if (r)
        return r;
    (void)eng_reclaim(eng); /* what is empty already costs nothing */
    bool all = c->leave <= 0 || job_hurried(c->job);
    r = empty_victims(c, all);
    /* Somebody waits for room by now, or some of what was counted on cannot go: then the rest, too. */
    if (!r && !all && (job_hurried(c->job) || c->report->extents_damaged))
        r = empty_victims(c, true);
    return r;
}

int compact_run(struct eng *eng, struct job *job, double leave, struct eng_compact_report *report)
{
    struct compact c = {.eng = eng, .job = job, .leave = leave, .report = report};
    struct eng_compact_report rep = {.state = ENG_COMPACT_RUNNING};
    struct eng_compact_estimate estimate = {0};
    uint64_t t0 = mono_ns(), total, live;
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.changed, NULL);
    reserve_hold(eng, true);
    int r = eng_is_read_only(eng) ? -EROFS : eng_flush_orphans(eng);
    if (!r)
        r = eng->io->ops->usage(eng->io, &rep.old_size);
    if (!r)
        r = compact_estimate(eng, &estimate);
    eng_totals(eng, &total, &live);
    rep.fragmentation_before = policy_fragmentation(total, live);
    pthread_mutex_lock(&job->lock);
    memcpy(rep.reason, report->reason, sizeof rep.reason);
    *report = rep;
    pthread_mutex_unlock(&job->lock);
    if (!r)
        r = run(&c);
    compact_free(&c);
    eng_totals(eng, &total, &live);
    if (!eng_is_read_only(eng))
        reserve_keep(eng);
    uint64_t new_size = rep.old_size;
    if (!r || r == -ECANCELED)
        (void)eng->io->ops->usage(eng->io, &new_size);
    reserve_hold(eng, false);
    pthread_mutex_lock(&job->lock);
    report->new_size = new_size;
    report->bytes_reclaimed = rep.old_size > new_size ? rep.old_size - new_size : 0;
    if (!r && leave <= 0) {
        report->estimate_error_moved = (int64_t)(report->bytes_moved - estimate.bytes_to_move);
        report->estimate_error_given_back =
            (int64_t)rep.old_size - (int64_t)new_size - (int64_t)estimate.bytes_given_back;
    }
    report->fragmentation_after = policy_fragmentation(total, live);
    report->duration_ms = (mono_ns() - t0) / 1000000;
    report->error = r;
    if (r && r != -ECANCELED)
        snprintf(report->error_text, sizeof report->error_text, "%s",
                 r == -ENOSPC ? "not enough room on the disk to move anything; remove something first"
                              : strerror(-r));
    pthread_mutex_unlock(&job->lock);
    return r;
}
