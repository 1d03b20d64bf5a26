/*
 * cuts.h - what a history got long of since it was looked at last: lines of past states, and past names of
 * one path. The job `history` cuts these soon after, without going through all there is.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_CUTS_H
#define ENGRAMFS_CUTS_H

#include "core/eng.h"
#include "engine.h"

#define CUT_STEP 16u /* states or names more than are kept, before it is cut again */
#define CUT_LINES 1024u
#define CUT_PATHS 256u

struct cuts {
    pthread_mutex_t lock;
    /* Protected by lock. */
    uint64_t inos[CUT_LINES];
    size_t n_inos;
    struct cut_path {
        uint64_t dir;
        size_t len;
        char text[ENG_NAME_MAX];
    } paths[CUT_PATHS];
    size_t n_paths;
    bool is_over;       /* there were more */
    uint64_t due_at;    /* mono_ns(), 0: there are none */
    _Atomic bool rings; /* that was set, and the housekeeper, who sleeps until then, was not told */
    /* Of log.lock: CUT_COUNTS of them, by hash. */
    struct cut_count *counts;
};

/* How many past names came of a text since the opening, or so: texts of one place take turns, and that of
 * which more come stays. */
#define CUT_COUNTS 16384u
struct cut_count {
    uint32_t hash, n;
};

/* -ENOMEM. */
int cuts_new(struct eng *eng);
void cuts_free(struct eng *eng);
/* The transaction is about to be published. Under log.lock. */
void cuts_note(struct eng *eng, const struct txn *txn);
/* Whether the housekeeper must be told of it. */
bool cuts_ring(struct eng *eng);
/* From when on there is something to cut, 0: there is nothing. */
uint64_t cuts_due_at(struct eng *eng);
/* All that there are, which are forgotten here; the caller frees. NULL: no memory. */
struct cuts *cuts_take(struct eng *eng);

#endif
