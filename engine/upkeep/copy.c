/*
 * copy.c - see copy.h. */
#include "upkeep/copy.h"

#include "core/damage.h"
#include "core/reserve.h"

#define OUT_BUFFER (1u << 20) /* written at once */
#define RELOCATION_SIZE 128u  /* of one op in the log and in its second copy, at most */

/* The victim stays pinned if there is room to remember the pin and the file may stay open. */
void copy_leave_victim(struct copier *c)
{
    if (c->in && c->n_read < MIN_OF(OUTGOING_READ_MAX, c->eng->segments.open_max / 4))
        c->read[c->n_read++] = c->in;
    else
        segments_unpin(c->in);
    c->in = NULL;
}

/* Where ref i is in the window that holds it, which is taken if it is the next. */
static int find_bytes(struct copier *c, size_t i, const uint8_t **ret_head)
{
    while (!c->window || i >= c->window->end) {
        fault_point(&c->eng->hook, FP_COMPACT_READ);
        c->window = reader_take(&c->reader);
        if (c->in && c->window->seg == c->in)
            segments_unpin(c->in); /* one pin is enough */
        else
            copy_leave_victim(c);
        c->in = c->window->seg;
    }
    /* A bad spot in a neighbour is not this one's damage. */
    int r = c->window->error == -EIO ? reader_again(&c->reader, c->window, i) : c->window->error;
    return r ? r : window_find(c->window, &c->refs[i], ret_head);
}

/* Behind the last extent. Only a hint, as that of a log segment is (disk/log.c). */
static void put_summary(struct copier *c)
{
    const struct eng_io_ops *ops = c->eng->io->ops;
    struct summary *s = &c->out_summary;
    bool wanted = s->n && !c->out_sealed && !reserve_is_short(c->eng);
    c->out_sealed = true;
    if (!wanted || summary_seal(s, c->out->id, c->eng->log.store) != 0)
        return;
    struct iovec iov = {s->bytes.data, s->bytes.len};
    if (io_pwritev_full(c->out->file, ops, &iov, 1, c->out_size) != 0)
        (void)ops->truncate(c->out->file, c->out_size);
    else
        segments_resize(&c->eng->segments, c->out, c->out_size + s->bytes.len);
}

/* Relocations that make count what was copied. */
static uint64_t count_changes(const struct copier *c, uint64_t ret_changes[INDEX_TABLES])
{
    uint64_t n = c->copied - c->handed_over + 1;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        ret_changes[i] = n;
    return n;
}

/* Whether the disk has room for `size` bytes of copies, and then for what makes them count: the relocations,
 * and the checkpoint without which what they have emptied stays, unless it has aged. */
static bool is_room(struct copier *c, uint64_t size)
{
    uint64_t changes[INDEX_TABLES], n = count_changes(c, changes);
    return c->aged || reserve_leaves(c->eng, RESERVE_COPIES, size + n * RELOCATION_SIZE, changes);
}

/* After -ENOSPC: whether to try again. */
static bool spend(struct copier *c)
{
    uint64_t changes[INDEX_TABLES];
    (void)count_changes(c, changes);
    return reserve_spend_for(c->eng, c->aged ? RESERVE_ALL : RESERVE_COPIES, changes);
}

static int flush_out(struct copier *c)
{
    struct iovec iov = {c->out_buf.data, c->out_buf.len};
    if (!c->out_buf.len)
        return 0;
    if (!is_room(c, c->out_buf.len))
        return -ENOSPC;
    uint64_t at = c->out_size - c->out_buf.len;
    int r = io_pwritev_full(c->out->file, c->eng->io->ops, &iov, 1, at);
    while (r == -ENOSPC && spend(c)) {
        iov = (struct iovec){c->out_buf.data, c->out_buf.len};
        r = io_pwritev_full(c->out->file, c->eng->io->ops, &iov, 1, at);
    }
    if (!r) {
        if (c->eng->io->ops->advise) /* so that less is left for the flush */
            c->eng->io->ops->advise(c->out->file, IO_WRITE_BACK, at, c->out_buf.len);
        c->out_buf.len = 0;
        segments_resize(&c->eng->segments, c->out, c->out_size);
    }
    return r;
}

int copy_flush(struct copier *c)
{
    int r = c->out ? flush_out(c) : 0;
    if (c->out && !r && copy_out_is_full(c))
        put_summary(c);
    return r;
}

void copy_seal_output(struct copier *c)
{
    if (!c->out || c->out_sealed || c->out_buf.len)
        return;
    put_summary(c);
    if (!MUTANT(SUMMARY_UNSYNCED)) /* what it fails for is the summary alone: the extents are durable, or not
                                      named */
        (void)c->eng->io->ops->datasync(c->out->file);
}

static int create_out(struct copier *c)
{
    return segments_create(&c->eng->segments, SEGMENT_SURVIVORS, log_seq(&c->eng->log), 0,
                           log_durable(&c->eng->log), &c->out);
}

static int open_out(struct copier *c)
{
    if (c->out)
        return 0;
    int r = create_out(c);
    while (r == -ENOSPC && spend(c))
        r = create_out(c);
    c->out_size = c->out_kept = sizeof(struct segment_header);
    summary_reset(&c->out_summary);
    c->out_sealed = false;
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
static int put_survivor(struct copier *c, size_t i, const uint8_t *head, const char *name, uint32_t name_len)
{
    struct extent_ref *ref = &c->refs[i];
    uint32_t len = ref->from.len, head_size = extent_head_size(len);
    const uint8_t *payload = head + extent_head_size(ref->from.ext_len) + ref->from.skip;
    uint32_t size = extent_size(len, name_len);
    int r = open_out(c);
    if (!r)
        r = buf_reserve(&c->out_buf, size);
    if (r)
        return r;
    uint8_t *out = c->out_buf.data + c->out_buf.len;
    /* What overwrites the range from now on is younger than the copy, and salvage believes the younger. */
    uint64_t seq = MUTANT(COPY_DATED_LATE) ? log_seq(&c->eng->log) : c->seen_seq;
    /* So is what there is now, in whose place a past state has it. */
    if (ref->ino != ref->owner && !MUTANT(PAST_DATED_LATE))
        memcpy(&seq, head + offsetof(struct extent_header, seq), sizeof seq);
    if (len == ref->from.ext_len &&
        !MUTANT(DROP_UNREADABLE)) { /* whole: its checksums, just verified, stay */
        memcpy(out, head, head_size);
        ref->hsum = extent_head_renew(out, seq, name, name_len);
    } else {
        ref->hsum = extent_head_encode(out, ref->owner, ref->off, seq, payload, len, name, name_len);
    }
    ref->to = (struct locator){c->out->id, (uint32_t)(c->out_size / 8), 0, len, len};
    summary_add(&c->out_summary, &(struct summary_entry){ref->to.off8, len, ino_slot(ref->owner), ref->off});
    c->out_buf.len += head_size;
    put_padded(&c->out_buf, payload, len);
    put_padded(&c->out_buf, name, name_len);
    c->out_size += size;
    c->out_payload += len;
    return c->out_buf.len >= OUT_BUFFER ? flush_out(c) : 0;
}

static int copy_ref(struct copier *c, size_t i, const char *name, uint32_t name_len)
{
    struct extent_ref *ref = &c->refs[i];
    const uint8_t *head = NULL;
    int r = find_bytes(c, i, &head);
    if (!r) {
        uint64_t ext_off = ref->off == EXTENT_XATTR_OFF ? ref->off : ref->off - ref->from.skip;
        uint32_t first = ref->from.skip / BLOCK_SIZE,
                 last = (ref->from.skip + ref->from.len - 1) / BLOCK_SIZE;
        r = extent_head_check(head, ref->owner, ext_off, ref->from.ext_len);
        if (!r)
            r = extent_blocks_check(head, first, last - first + 1,
                                    head + extent_head_size(ref->from.ext_len) + (size_t)first * BLOCK_SIZE);
        if (MUTANT(DROP_UNREADABLE))
            r = 0;
    }
    if (!r)
        return put_survivor(c, i, head, name, name_len);
    if (r != -EBADMSG && r != -EIO && r != -ENOENT)
        return r;
    if (!extent_ref_current(c->eng, ref)) /* superseded since, and its segment perhaps unlinked: no damage */
        return 0;
    /* I5: the extent stays where it is, live, and is reported. */
    damage_record(c->eng, ref->ino, ref->off, &ref->from, damage_reason(r));
    pthread_mutex_lock(&c->job->lock);
    c->job->report.compact.extents_damaged++;
    pthread_mutex_unlock(&c->job->lock);
    return 0;
}

/* Which of the next refs are still current, and the paths for their hints: those of content under one short
 * lock, and then those of xattrs. What changes between the two is younger than seen_seq. */
static int look_up_step(struct copier *c, size_t n)
{
    struct index *idx = &c->eng->idx;
    const struct extent_ref *refs = c->refs + c->copied, *xattrs[COPY_STEP];
    size_t n_xattrs = 0;
    c->names.len = 0;
    int r = buf_reserve(&c->names, COPY_STEP * (EXTENT_NAME_MAX + 1u));
    if (r)
        return r;
    pthread_rwlock_rdlock(&c->eng->index_lock);
    c->seen_seq = c->eng->published_seq;
    for (size_t i = 0; i < n; i++) {
        const struct extent_ref *ref = &refs[i];
        c->name_len[i] = 0;
        c->stale[i] = ref->off == EXTENT_XATTR_OFF || !extent_ref_current_locked(idx, ref);
        if (ref->off == EXTENT_XATTR_OFF)
            xattrs[n_xattrs++] = ref;
        if (c->stale[i] || ref->off)
            continue;
        c->name_at[i] = (uint32_t)c->names.len;
        c->name_len[i] = (uint32_t)index_path(idx, ino_slot(ref->owner), (char *)c->names.data + c->names.len,
                                              EXTENT_NAME_MAX);
        c->names.len += c->name_len[i];
    }
    pthread_rwlock_unlock(&c->eng->index_lock);
    n_xattrs = extent_refs_current_xattrs(c->eng, xattrs, n_xattrs);
    for (size_t i = 0; i < n_xattrs; i++)
        c->stale[xattrs[i] - refs] = false;
    return 0;
}

bool copy_out_is_full(const struct copier *c)
{
    return c->out && c->out_size + summary_size(&c->out_summary) >= c->eng->log.segment_size;
}

int copy_step(struct copier *c, uint64_t *ret_bytes)
{
    size_t n = MIN_OF(c->n_refs - c->copied, (size_t)COPY_STEP);
    uint64_t bytes = 0;
    int r = look_up_step(c, n);
    for (size_t i = 0; i < n && !r && bytes < OUT_BUFFER && !copy_out_is_full(c); i++) {
        if (!c->stale[i])
            r = copy_ref(c, c->copied, (char *)c->names.data + c->name_at[i], c->name_len[i]);
        bytes += c->refs[c->copied].to.len;
        c->copied += !r;
    }
    pthread_mutex_lock(&c->job->lock);
    c->job->report.compact.bytes_moved += bytes;
    pthread_mutex_unlock(&c->job->lock);
    *ret_bytes = bytes;
    return r;
}

int copy_begin(struct copier *c, const struct idmap *wanted, bool threaded)
{
    free(c->refs);
    c->refs = NULL;
    c->n_refs = c->copied = c->handed_over = 0;
    c->window = NULL;
    int r = extent_refs_collect(c->eng, wanted, &c->refs, &c->n_refs);
    return r ? r : reader_begin(&c->reader, c->eng, c->refs, c->n_refs, threaded);
}

bool copy_is_left(const struct copier *c)
{
    return c->copied < c->n_refs;
}

void copy_take(struct copier *c, struct outgoing *ret_og)
{
    *ret_og = (struct outgoing){.seg = c->out,
                                .fresh = c->out_new,
                                .payload = c->out_payload,
                                .refs = c->refs,
                                .next = c->handed_over,
                                .end = c->copied,
                                .n_read = c->n_read};
    memcpy(ret_og->read, c->read, c->n_read * sizeof *c->read);
    c->n_read = 0;
    c->handed_over = c->copied;
    c->out_kept = c->out_size;
}

void copy_leave_out(struct copier *c)
{
    c->out = NULL;
    c->out_payload = 0; /* the new owner tells the log */
}

void copy_end(struct copier *c)
{
    reader_end(&c->reader);
}

void copy_cut(struct copier *c)
{
    if (!c->out || c->out_kept >= c->out_size)
        return;
    install_cut(c->eng, c->out, c->out_kept);
    c->out_size = c->out_kept;
    c->out_buf.len = 0;
}

void copy_free(struct copier *c)
{
    segments_unpin(c->in);
    for (size_t i = 0; i < c->n_read; i++)
        segments_unpin(c->read[i]);
    install_drop(c->eng, c->out);
    free(c->refs);
    buf_free(&c->out_buf);
    buf_free(&c->names);
    summary_free(&c->out_summary);
}
