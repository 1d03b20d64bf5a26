/*
 * rollback_plan.h - what eng_rollback() has to change so that a folder and all below it are as they were.
 *
 * Locking: as said. */
#ifndef ENGRAMFS_ROLLBACK_PLAN_H
#define ENGRAMFS_ROLLBACK_PLAN_H

#include "tree/diff_changed.h"
#include "tree/restore_plan.h"

/* A name in a folder that led, or is to lead, to another inode; the text is the plan's. */
struct rollback_name {
    uint64_t dir;     /* inodes */
    uint64_t was, is; /* 0: it was not there, or is not */
    bool is_of_folder;
    uint16_t len;
    const char *text;
};

struct rollback {
    struct eng *eng;
    uint32_t folder; /* slot */
    const struct view *then;
    struct eng_view *now;        /* as the plan found it: all that is changed since is kept */
    struct diff_changed changed; /* has the texts */
    struct rollback_name *names;
    size_t n_names, cap_names;
    struct restoring re; /* what the memories become, folders as well */
    size_t cap_memories;
    struct idmap known; /* slots of these */
    /* By slot, from BALANCE_NONE on: names that an inode gets, or a folder; less those that it loses. */
    struct idmap balance, inside;
};

/* Finds it out; the view of now is opened, and closed with the plan. Under no lock; index_lock in sections.
 * -E2BIG: more than a batch takes; -EXDEV: something has come from outside the folder, or gone there;
 * -ESTALE: the folder was none then; -ENFILE, -ENOMEM. */
int rollback_plan(struct rollback *rb);
void rollback_plan_free(struct rollback *rb); /* zeroed is fine */
/* Under log.lock: whether something in the folder has changed since. */
int rollback_is_stale(const struct rollback *rb, bool *ret_stale);

#endif
