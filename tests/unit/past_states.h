/*
 * past_states.h - past states in a store, made and dropped by ops, as nothing but tests does yet; and what
 * they hold, read from the disk. */
#ifndef ENGRAMFS_TESTS_PAST_STATES_H
#define ENGRAMFS_TESTS_PAST_STATES_H

#include "inside.h"

#include "index/extents.h"
#include "index/past.h"
#include "index/past_read.h"
#include "must.h"
#include "unit_store.h"

static inline void past_commit(struct unit *u, struct txn *txn)
{
    MUST(commit_end(u->eng, commit_txn(u->eng, txn)) == 0);
    txn_free(txn);
}

/* An op by itself, as a decision does in front of others. KEEP gets the number that is free. Returns
 * op->past. */
static inline uint64_t past_commit_op(struct unit *u, const struct op *op)
{
    struct txn txn = {0};
    MUST(commit_begin(u->eng) == 0);
    struct op *own = txn_op(&txn, op->type);
    MUST(own);
    *own = *op;
    if (op->type == OP_KEEP)
        own->past = index_predict_past(&u->eng->idx, NULL, NULL);
    uint64_t past = own->past;
    past_commit(u, &txn);
    return past;
}

/* The state that the inode has now is kept, under the number that is returned. */
static inline uint64_t keep_state(struct unit *u, uint64_t ino)
{
    return past_commit_op(u, &(struct op){.type = OP_KEEP, .ino = ino});
}

static inline void drop_state(struct unit *u, uint64_t number)
{
    (void)past_commit_op(u, &(struct op){.type = OP_DROP, .past = number, .len = UINT64_MAX});
}

static inline bool past_read_piece(struct unit *u, uint64_t owner, const struct past_piece *p, uint8_t *to)
{
    struct segment *seg;
    if (segments_pin(&u->eng->segments, p->loc.seg, &seg) != 0)
        return false;
    int r = segment_read(seg, u->eng->io->ops, owner, p->off, &p->loc, 0, p->loc.len, to);
    segments_unpin(seg);
    return r == 0;
}

/* The bytes [off, end) of a past state, within its size. False: they cannot be read. */
static inline bool past_bytes(struct unit *u, uint64_t number, uint8_t *buf, uint64_t off, uint64_t end)
{
    const struct index *idx = &u->eng->idx;
    const struct inode_rec *past = past_state(idx, number);
    struct past_piece pieces[256];
    uint64_t stop, owner = past ? past_owner(idx, past, ino_slot(number)) : 0;
    size_t n;
    memset(buf, 0, end - off);
    for (uint64_t at = off; at < end; at = stop) {
        if (past_read(idx, ino_slot(number), at, end, pieces, ARRAY_LEN(pieces), &n, &stop) != 0)
            return false;
        MUST(stop > at && stop <= end);
        for (size_t i = 0; i < n; i++)
            if (!past_read_piece(u, owner, &pieces[i], buf + (pieces[i].off - off)))
                return false;
    }
    return true;
}

/* Whether the past state holds exactly these bytes. */
static inline bool past_holds_bytes(struct unit *u, uint64_t number, const void *bytes, size_t size)
{
    const struct inode_rec *past = past_state(&u->eng->idx, number);
    if (!past || past->size != size)
        return false;
    uint8_t *found = malloc(size + 1);
    MUST(found);
    bool same = past_bytes(u, number, found, 0, size) && memcmp(found, bytes, size) == 0;
    free(found);
    return same;
}

/* unit_bytes(size, seed). */
static inline bool past_holds(struct unit *u, uint64_t number, size_t size, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(size, seed);
    bool same = past_holds_bytes(u, number, bytes, size);
    free(bytes);
    return same;
}

/* The n-th extent (from 0) that the past state has itself. */
static inline bool past_locator(struct unit *u, uint64_t number, unsigned n, struct locator *ret_loc)
{
    uint64_t off = 0;
    int r = index_extent(&u->eng->idx, ino_slot(number), off, &off, ret_loc);
    for (; !r && (n || !ret_loc->seg); n -= ret_loc->seg != 0)
        r = index_extent(&u->eng->idx, ino_slot(number), off + ret_loc->len, &off, ret_loc);
    return r == 0;
}

#endif
