/*
 * cost.h - what damage to a part of a store's files may cost, by construction: computed from the layout of
 * the files and from where the live content lies, not from what the engine makes of it.
 */
#ifndef ENGRAMFS_TESTS_COST_H
#define ENGRAMFS_TESTS_COST_H

#include "unit_store.h"

#define COST_PIECES_MAX 64
#define COST_NO_LOSS UINT64_MAX

struct cost {
    bool may_refuse;    /* nothing else says what these bytes said, and it was durable */
    uint64_t lost_from; /* the log may end before this place in its last file; COST_NO_LOSS: it may not */
    unsigned n;
    struct cost_piece {         /* what may be unreadable */
        uint64_t ino, off, len; /* off EXTENT_XATTR_OFF: an attribute */
    } pieces[COST_PIECES_MAX];
};

/* Learns the open store `u`. In the active segment its last compaction ends at `relocated`; its last batch
 * begins at `last_batch` and is not durable. */
void cost_learn(struct unit *u, uint64_t relocated, uint64_t last_batch);
/* From now on the log's second copy is gone; nobody writes the files any more. */
void cost_learn_alone(struct simdisk *disk);
void cost_forget(void);

/* Of the loss of the bytes [from, to) of a file. */
struct cost cost_of(const char *name, uint64_t from, uint64_t to);
/* Whether the bytes [off, off + len) of the file may be unreadable; off EXTENT_XATTR_OFF: its attributes. */
bool cost_covers(const struct cost *cost, uint64_t ino, uint64_t off, uint64_t len);
/* Whether it costs nothing at all. */
bool cost_is_none(const struct cost *cost);

#endif
