/*
 * full_disk.h - making room on a full disk, by compacting, for changes that found none.
 *
 * A compaction that was begun for that stops at its goal: what the reserve lacks, what is asked for, and some
 * segments for those who come next. Who waits looks after each segment that was given back, and waits no
 * longer than for what its own change needs.
 *
 * Locking: a lock of its own, outermost of all, not held while a compaction runs. */
#ifndef ENGRAMFS_FULL_DISK_H
#define ENGRAMFS_FULL_DISK_H

#include "core/eng.h"

/* A change that is tried again while room can be made for it. */
struct full_disk_try {
    uint64_t size;  /* bytes that it needs */
    bool removing;  /* it gives room back: waits only when what was set aside for it is used up */
    bool began;     /* a removal has asked for a compaction, worth it or not */
    unsigned tries; /* how often there was room, and no success */
    uint64_t turns; /* reserve_turns() when it was tried last */
};

/* -ENOMEM. */
int full_disk_new(struct eng *eng);
void full_disk_free(struct eng *eng);
/*
 * Without locks, after a change has ended with *r: whether to try it once more. After -ENOSPC makes room
 * first, or waits for whoever does. Where the caller must not wait (eng_options.room_later) and room can
 * perhaps be made, *r becomes -EAGAIN. */
bool full_disk_again(struct eng *eng, struct full_disk_try *change, int *r);
/* A compaction has given segments back: those that wait look whether it is enough. Under no lock. */
void full_disk_gained(struct eng *eng);
/* A compaction, whoever began it, has ended: what garbage there is now was not in vain. Under no lock. */
void full_disk_compacted(struct eng *eng);

#endif
