/*
 * texts.h - past names of one entry text in a folder, of which a history keeps so many, whatever groups they
 * are in: each save by vim, each lock file is a group of its own (sweep.h goes through these).
 *
 * Locking: index_lock for each call. */
#ifndef ENGRAMFS_TEXTS_H
#define ENGRAMFS_TEXTS_H

#include "upkeep/sweep.h"

#include "engine.h"

struct texts_walk {
    struct bkey next; /* record of past_lookup to go on with */
    /* The text that is looked at, with `len` 0 none: of all records with its hash. */
    uint32_t dir, hash;
    size_t len;
    char text[ENG_NAME_MAX];
    uint32_t first, other; /* the record whose text it is; a later one with another, 0 none */
    bool plans;            /* they are counted: those that ended before the last batch that counts may go */
    uint64_t n;            /* how many there are */
    uint64_t *ends;        /* the newest of these, `cap` at most: a heap, the oldest on top */
    uint32_t n_ends, cap;
};

/* Of all texts. -ENOMEM. */
int texts_begin(const struct sweep *s, struct texts_walk *ret_w);
/* Of one alone. */
void texts_only(const struct index *idx, struct texts_walk *w, uint32_t dir, const char *text, size_t len);
void texts_done(struct texts_walk *w);
/* The next past names that may go, being more than a history keeps. */
void texts_plan(struct sweep *s, struct texts_walk *w, bool *ret_more);

#endif
