/*
 * sweep.h - what a run of the job `history` finds that may go: walks through past names and past states, a
 * slice in one section, and a plan of so many at most.
 *
 * Locking: index_lock for each call. Where a walk goes on is right as long as that record is there; else what
 * is left of its group or line is for the next run. */
#ifndef ENGRAMFS_SWEEP_H
#define ENGRAMFS_SWEEP_H

#include "base/job.h"
#include "core/eng.h"
#include "index/btree.h"
#include "index/index.h"

#define SWEEP_LOOKS 4096u /* inodes, states, or names, in a section */
#define SWEEP_PLAN 1024u

/* A past name, or a past state and its head. */
struct leaving {
    uint64_t ino, past;
    uint64_t dir, cookie, begin, end;
    bool is_one_of_many; /* a history has more of them than it keeps */
    bool counts;         /* a state that stays if an older one does */
    uint64_t n_newer;    /* of its line, that stay */
};

struct sweep {
    struct eng *eng;
    struct job *job;
    uint64_t *snapshots; /* their batches, which rise */
    size_t n_snapshots;
    uint64_t seq;                        /* the last batch when they were listed */
    uint64_t floor;                      /* that of the index then */
    uint64_t versions;                   /* so many of a line or a group are kept, 0 all */
    uint32_t looks;                      /* left in this section */
    struct leaving plan[2 * SWEEP_PLAN]; /* of a line that begins in the first half it may have a whole one */
    size_t n;
    uint64_t n_batches; /* that let something go */
    uint64_t bytes;     /* of content that states had which have gone, since the gate was passed last */
};

struct names_walk {
    struct bkey next; /* the group to go on with, */
    uint32_t at;      /* with that record, which ended then; 0 with its oldest */
    uint64_t end;
};

struct states_walk {
    uint32_t end;          /* slots before it are looked at, 0: all */
    uint32_t slot;         /* of the head to go on with, */
    uint32_t at;           /* with that state; 0 with its newest */
    uint64_t number;       /* in the line; what was not looked at has smaller ones */
    uint64_t n;            /* of its states so far, */
    uint64_t n_stay;       /* and how many of these stay, whatever others do */
    size_t first, n_found; /* where in the plan its states begin, and how many of them may go */
    bool is_long;          /* these are more than are planned, which are its oldest, */
    uint64_t n_batches;    /* and it is gone through again if any went since */
};

/* One that may go goes, if nobody sees it and its inodes are there: for walks. There must be room. */
void sweep_plan_name(struct sweep *s, const struct past_name_rec *past, bool is_one_of_many);
/* Of [from, end) the last comes first. */
void sweep_reverse(struct leaving *plan, size_t from, size_t end);

/* The next past names, of a group oldest first. False: there are no more. */
int sweep_names(struct sweep *s, struct names_walk *w, bool *ret_more);
/* The next past states, of a line oldest first. As long as w->at is set the plan is not whole. */
void sweep_states(struct sweep *s, struct states_walk *w, bool *ret_more);

#endif
