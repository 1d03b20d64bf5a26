/*
 * checkpoint.h - images of the index on disk: one checkpoint is kept, in two copies (reader.h).
 *
 * Locking: a lock of its own, between checkpoint_exclude() and checkpoint_allow(). */
#ifndef ENGRAMFS_CHECKPOINT_H
#define ENGRAMFS_CHECKPOINT_H

#include "core/eng.h"
#include "image/reader.h"

/* Where the log goes on after a checkpoint. */
struct ckpt_position {
    uint64_t seq, chain;
    uint64_t segment, offset; /* of the end of batch seq */
    uint64_t next_segment_id;
};

/* The checkpoint of a store. Protected by its lock, but before threads run; images has locks of its own. */
struct checkpoints {
    pthread_mutex_t lock;
    struct images images;    /* map.id 0: there is no checkpoint of format 2 yet */
    struct ckpt_position at; /* of the newest */
    uint64_t next_id;
    uint64_t alien; /* one of another store that was told of last, 0 none */
    /* One that the opening could not use and that may be finished; 0: none. Its files stay until another is
     * durable. */
    uint64_t unread;
    _Atomic bool tidy; /* the next leaves little that nobody needs; whatever the lock */
    bool is_v1;        /* the newest is of format 1, in files that the map does not name */
};

/* -ENOMEM. */
int checkpoint_new(struct eng *eng);
/* Once it is known which store it is. -ENOMEM. */
int checkpoint_begin(struct eng *eng);
/* Closes its files; before eng->io goes. */
void checkpoint_close(struct eng *eng);
void checkpoint_free(struct eng *eng);
/* Writes a checkpoint of now, twice. -EROFS; -EBUSY: the index is not verified yet; -EIO: a part of it was
 * lost; -ENOSPC, -ENOMEM, or an error of writing: the one before stands, and a line was reported. */
int checkpoint_write(struct eng *eng);
/* Much of the index has gone: the next checkpoint writes what is left of old files anew, so that these go. */
void checkpoint_tidy_next(struct eng *eng);
/* The same at once, if there is anything to gain. */
int checkpoint_tidy(struct eng *eng);
/* Between the two no checkpoint is written and no checkpoint file is unlinked. */
void checkpoint_exclude(struct eng *eng);
void checkpoint_allow(struct eng *eng);
/* The number of the newest checkpoint, 0: none; where the log goes on behind it. */
uint64_t checkpoint_newest(struct eng *eng, struct ckpt_position *ret_at);
/* Removes checkpoint files that the newest does not need, and measures the others. */
void checkpoint_clean(struct eng *eng);
/* Says which copies were found damaged, and that the others stand in for them. */
void checkpoint_tell_copies(struct eng *eng);
/* Behind all numbers, which descend, so that none is used twice; but names alone, of which anybody may make
 * one, do not use the numbers up. */
uint64_t checkpoint_next_id(const uint64_t *ids, size_t n);

#endif
