/*
 * victims.h - reads victims in windows, in the order in which their survivors are copied. Windows that
 * are not cached are read in a thread of their own, where there may be one, so that reading overlaps with
 * verifying and writing; and past the cache, where the file system can: most of a victim is dead, or dead
 * soon.
 *
 * Memory: READER_WINDOWS buffers of about 1.3 MiB while a group is read (I9). */
#ifndef ENGRAMFS_VICTIMS_H
#define ENGRAMFS_VICTIMS_H

#include "commit/refs.h"
#include "core/eng.h"

#define READER_WINDOWS 3u

/* A piece of a victim that holds what is needed of refs [first, end). */
struct victim_window {
    size_t first, end;
    struct segment
        *seg; /* pinned, once more for each window; the pin is the taker's. NULL: it could not be */
    uint64_t at;
    size_t len;
    int error;     /* of pinning or reading */
    uint8_t *data; /* the reader's */
};

struct victim_reader {
    struct eng *eng;
    const struct extent_ref *refs; /* sorted by place; only `from` is looked at */
    size_t n_refs, next;           /* next: the first that no window covers; the filling thread's */
    uint64_t ahead;                /* up to where the disk was asked for what comes; the filling thread's */
    uint32_t ahead_of;             /* in which segment */
    struct io_file *direct;        /* reads past the cache; NULL: cannot. The filling thread's */
    uint32_t direct_of;            /* of which segment; 0: none was tried */
    struct victim_window windows[READER_WINDOWS];
    size_t filled, taken; /* windows since the beginning. protected by lock */
    bool stop;            /* protected by lock */
    bool has_thread;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

/* Begins to read what these refs need; they stay the caller's and where they are until reader_end(). */
int reader_begin(struct victim_reader *r, struct eng *eng, const struct extent_ref *refs, size_t n_refs,
                 bool threaded);
/* The next window; the one before is given back with that. To be called only while there are refs left. */
struct victim_window *reader_take(struct victim_reader *r);
/* Reads once more, ref i alone, after an error that may be a neighbour's; the window's own error stays. */
int reader_again(struct victim_reader *reader, struct victim_window *w, size_t i);
/* Where the head of the extent of `ref` is in the window. -EBADMSG: the file ends before its end. */
int window_find(const struct victim_window *w, const struct extent_ref *ref, const uint8_t **ret_head);
/* Also before all was taken, after reader_begin() failed, and without it. */
void reader_end(struct victim_reader *r);

#endif
