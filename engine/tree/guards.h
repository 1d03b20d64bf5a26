/*
 * guards.h - looking at a guard where its operation is done (I13).
 *
 * Locking: log.lock, but where said. */
#ifndef ENGRAMFS_GUARDS_H
#define ENGRAMFS_GUARDS_H

#include "guarded.h"
#include "tree/view.h"

/* A guard through the tries of one call. */
struct guarded {
    const struct eng_guard *asked; /* NULL: none */
    struct eng_guard guard;        /* that, or what the source's xattr says; kind 0: none */
    struct eng_proof *proof, own;
    bool is_stored; /* the xattr is there */
    bool is_equal;  /* the target has the content of the source, which is why it holds */
    bool is_looked; /* GUARD_BEFORE_LOCK */
};

/* Before the first try, without a lock. `kinds`: of those that may be asked for, 1 << kind each. -EINVAL. */
int guards_begin(struct guarded *g, const struct eng_guard *asked, unsigned kinds);
/* Reads the source's guard, if that is what was asked for. -EINVAL. */
int guards_read(const struct eng *eng, struct guarded *g, uint32_t source);
/*
 * Whether the guard holds. Slots; 0: none. Of the two contents the target's may be that of the source; 0: it
 * is asked for nothing. -ECANCELED, -EREMCHG; -EINPROGRESS: g->proof->wanted. */
int guards_check(const struct eng *eng, struct guarded *g, uint32_t source, uint32_t target);
/* Whether the target, of which that was found, has the owner, mode and fields of the source, too. */
bool guards_is_same(const struct eng *eng, const struct guarded *g, uint32_t source, uint32_t target);
/* The operation is to be done: stages that the stored guard goes. -ENOMEM. */
int guards_stage(const struct guarded *g, struct txn *txn, uint64_t source);
/* Without a lock, after a try that has come to *r: whether to try again, with a digest that was computed. */
bool guards_again(struct eng *eng, struct guarded *g, int *r);

#endif
