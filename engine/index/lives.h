/*
 * lives.h - an entry of a folder over time: which inode it led to, and when; and what an inode was called
 * before. Beside past_names.h, which tells of one batch.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_LIVES_H
#define ENGRAMFS_LIVES_H

#include "index/past_names.h"

/* A name that a folder has, or had: [begin, end) in batches. */
struct name_life {
    uint32_t child;      /* slot */
    uint32_t past;       /* the past name; 0: it lives */
    uint64_t begin, end; /* UINT64_MAX: it lives */
    uint16_t flags;      /* enum past_name_flags: how it ended */
};

/* Calls emit for each life of the entry, in no order, until it returns non-zero, which is then returned. Of
 * one entry no two overlap. -ENOMEM and the like of the tree. */
int index_lives(const struct index *idx, uint32_t dir, const char *name, size_t len,
                int (*emit)(void *arg, const struct name_life *life), void *arg);

/*
 * The past name that the inode in the slot went by before it got a name in batch `begin` out of nothing: one
 * that was moved in that batch, or the last one, which was removed before, while it had no other. Looked for
 * from `from` on, one of its past names; 0: from the newest on. Returns 0 if there is none. */
uint32_t index_former_name(const struct index *idx, uint32_t slot, uint32_t from, uint64_t begin);
/* The past name of the same entry that ended when that one began; 0: that one came out of nothing. */
uint32_t index_took_place(const struct index *idx, const struct past_name_rec *past);

#endif
