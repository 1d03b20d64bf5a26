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

/* The state that the inode has now is kept, under the number that is returned. */
static inline uint64_t keep_state(struct unit *u, uint64_t ino)
{
    struct txn txn = {0};
    MUST(commit_begin(u->eng) == 0);
    struct op *op = txn_op(&txn, OP_KEEP);
    MUST(op);
    op->ino = ino;
    uint64_t number = op->past = index_predict_ino(&u->eng->idx, NULL);
    past_commit(u, &txn);
    return number;
}

static inline void drop_state(struct unit *u, uint64_t number)
{
    struct txn txn = {0};
    MUST(commit_begin(u->eng) == 0);
    struct op *op = txn_op(&txn, OP_DROP);
    MUST(op);
    op->past = number;
    op->len = UINT64_MAX;
    past_commit(u, &txn);
}

static inline bool read_piece(struct unit *u, uint64_t owner, const struct past_piece *p, uint8_t *bytes)
{
    struct segment *seg;
    if (segments_pin(&u->eng->segments, p->loc.seg, &seg) != 0)
        return false;
    int r = segment_read(seg, u->eng->io->ops, owner, p->off, &p->loc, 0, p->loc.len, bytes + p->off);
    segments_unpin(seg);
    return r == 0;
}

#define PAST_PIECES 4096u

/* Whether the past state holds exactly these bytes. */
static inline bool past_holds_bytes(struct unit *u, uint64_t number, const void *bytes, size_t size)
{
    const struct index *idx = &u->eng->idx;
    const struct inode_rec *past = past_state(idx, number);
    if (!past || past->size != size)
        return false;
    struct past_piece *pieces = calloc(PAST_PIECES, sizeof *pieces);
    uint8_t *found = calloc(1, size + 1);
    size_t n;
    uint64_t end, owner = past_owner(idx, past, ino_slot(number));
    bool same = pieces && found &&
                past_read(idx, ino_slot(number), 0, size, pieces, PAST_PIECES, &n, &end) == 0 && end == size;
    for (size_t i = 0; same && i < n; i++)
        same = read_piece(u, owner, &pieces[i], found);
    same = same && memcmp(found, bytes, size) == 0;
    free(pieces);
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
