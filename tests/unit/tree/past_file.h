/*
 * past_file.h - the past of a file in a store that has a history: states are kept, and read as the bytes that
 * they had. */
#ifndef ENGRAMFS_TESTS_PAST_FILE_H
#define ENGRAMFS_TESTS_PAST_FILE_H

#include "inside.h"

#include "index/past_read.h"
#include "must.h"
#include "unit_store.h"

#define PAST_PIECES 256u

/* Commits an op on the file alone, as a decision about it does in front of others. */
static inline void past_commit(struct unit *u, const struct op *op)
{
    CLEANUP_TXN struct txn txn = {0};
    MUST(commit_begin(u->eng) == 0);
    struct op *mine = txn_op(&txn, op->type);
    MUST(mine != NULL);
    *mine = *op;
    if (op->type == OP_KEEP)
        mine->past = index_predict_ino(&u->eng->idx, NULL);
    MUST(commit_end(u->eng, commit_txn(u->eng, &txn)) == 0);
}

/* The present state is kept; its number. */
static inline uint64_t past_keep_state(struct unit *u, uint64_t ino)
{
    past_commit(u, &(struct op){.type = OP_KEEP, .ino = ino});
    const struct index *idx = &u->eng->idx;
    uint32_t slot = index_inode(idx, ino)->past;
    return index_ino(index_slot(idx, slot), slot);
}

static inline void past_piece(struct unit *u, uint64_t ino, const struct past_piece *p, uint8_t *to)
{
    struct segment *seg;
    MUST(segments_pin(&u->eng->segments, p->loc.seg, &seg) == 0);
    MUST(segment_read(seg, u->eng->io->ops, ino, p->off, &p->loc, 0, p->loc.len, to) == 0);
    segments_unpin(seg);
}

/* The bytes [off, end) of a past state of the file, within its size. */
static inline void past_bytes(struct unit *u, uint64_t ino, uint64_t past, uint8_t *buf, uint64_t off,
                              uint64_t end)
{
    struct past_piece pieces[PAST_PIECES];
    uint64_t stop;
    size_t n;
    memset(buf, 0, end - off);
    for (uint64_t at = off; at < end; at = stop) {
        MUST(past_read(&u->eng->idx, ino_slot(past), at, end, pieces, PAST_PIECES, &n, &stop) == 0);
        MUST(stop > at && stop <= end);
        for (size_t i = 0; i < n; i++)
            past_piece(u, ino, &pieces[i], buf + (pieces[i].off - off));
    }
}

/* Whether the past state has exactly these bytes. */
static inline bool past_holds(struct unit *u, uint64_t ino, uint64_t past, const uint8_t *bytes, size_t size)
{
    const struct inode_rec *state = past_state(&u->eng->idx, past);
    if (!state || state->size != size)
        return false;
    uint8_t *buf = malloc(size + 1);
    MUST(buf != NULL);
    past_bytes(u, ino, past, buf, 0, size);
    bool same = memcmp(buf, bytes, size) == 0;
    free(buf);
    return same;
}

#endif
