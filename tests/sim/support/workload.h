/*
 * workload.h - sequences of engine operations that can be run against an
 * engine and against the model, with the results that each must give.
 *
 * The model advances in steps: an operation is one step (of maintenance, one
 * that changes nothing), eng_put_many() one for each record. After a crash the engine must hold the
 * state after some step; state 0 is the empty store. */
#ifndef ENGRAMFS_TESTS_WORKLOAD_H
#define ENGRAMFS_TESTS_WORKLOAD_H

#include "model.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct eng;
struct eng_io;
struct schedule;

enum op_kind {
    OP_CREATE,    /* mode with type; other: target of a symlink */
    OP_WRITE,     /* offset, size, seed */
    OP_APPEND,    /* size, seed */
    OP_TRUNCATE,  /* size */
    OP_FALLOCATE, /* flags, offset, size */
    OP_UNLINK,
    OP_RMDIR,
    OP_LINK,        /* other: the new name */
    OP_RENAME,      /* other: the new name; flags */
    OP_SETXATTR,    /* other: name; size, seed, flags */
    OP_REMOVEXATTR, /* other: name */
    OP_CHMOD,       /* mode */
    OP_CHOWN,       /* seed */
    OP_MTIME,       /* seed */
    OP_PUT_MANY,    /* path: the directory; flags: records; size of the largest; seed */
    OP_REF,         /* looks it up and keeps the reference, so that an unlink makes an orphan */
    OP_WRITE_REF,   /* to that inode: size, seed */
    OP_FORGET,      /* verifies what OP_WRITE_REF wrote and gives the reference back */
    OP_FSYNC,
    OP_SYNC,
    OP_TICK,
    OP_COMPACT,
    OP_SCRUB,           /* must find no damage */
    OP_RECLAIM,         /* eng_hold() and eng_release(): retires what may go, and syncs nothing */
    OP_ACCESS,          /* somebody read it: its access time is noted */
    OP_CONFIG,          /* path: key; other: value */
    OP_SNAPSHOT,        /* path: its name */
    OP_SNAPSHOT_RENAME, /* path: its name; other: the new one */
    OP_SNAPSHOT_DROP,   /* path: its name */
    OP_SWEEP,           /* the job `history` */
    OP_RESTORE,  /* path: memories, a blank between two; other: the snapshot that they are restored from */
    OP_ROLLBACK, /* path: the snapshot that all becomes again */
    OP_UNDELETE, /* path: in the root, removed, with all below, as it is in the snapshot `other` */
    OP_REOPEN,
    OP_N_KINDS
};
extern const char *const op_names[OP_N_KINDS];

struct op {
    enum op_kind kind;
    char path[48], other[48];
    uint64_t offset, size, seed;
    unsigned flags, mode;
    /* OP_PUT_MANY: bit mask of records left out of the model, because the engine refused them */
    unsigned skip;
};

#define PUT_MANY_MAX 16

struct workload {
    struct op *ops;
    size_t n_ops;
    size_t *first_step; /* of each operation; [n_ops] is the number of steps */
    int *step_results;  /* expected: 0 or a negative errno */
    uint64_t *hashes;   /* model_hash() after 0, 1, 2 ... steps */
    uint64_t *trees;    /* model_hash_tree() */
    /* Of one that switches a history on: with which operation, and for how long (ns); 0: it does not. Then it
     * has a clock that is moved by hand. */
    size_t history_from;
    int64_t history_keeps;
    /* Operations from `later_from` on are issued so much later: in another life. */
    size_t later_from;
    int64_t later;
};

/* When an operation is issued, where the clock is moved by hand: each state stands for some seconds. */
int64_t workload_time(const struct workload *w, size_t i);

/* Every operation of the engine, in an order that rolls segments over, checkpoints, compacts and retires. */
struct workload *workload_scripted(void);
/* The same with snapshots, and changes of each kind between them. */
struct workload *workload_past(void);
/* The same with a history that is kept, and expires. */
struct workload *workload_history(void);
/* Of two seeds in four with snapshots. */
struct workload *workload_random(uint64_t seed, size_t n_ops);
/* Any operations; the model tells the results, and hashes of the states before operation `hash_from` and
 * later. */
struct workload *workload_of(struct op *take_ops, size_t n_ops, size_t hash_from);
void workload_free(struct workload *w);
struct model *workload_model_at(const struct workload *w, size_t step);
/* A step of an operation on the model: 0 or the negative errno that the engine must give. */
int op_apply(const struct op *op, unsigned step, struct model *m);
size_t op_steps(const struct op *op);
void op_describe(const struct op *op, char *buf, size_t size);
/* Whether its success makes everything before it durable. */
bool op_is_sync(const struct op *op);

/* An engine on an io, as tests open it: no background, small segments, access times. */
struct session {
    struct eng_io *io;
    uint64_t segment_size;
    /* not 0: compactions have an installer, which takes turns with them by this seed (hook.h) */
    uint64_t beside;
    struct schedule *schedule;
    bool shared;     /* others change the store meanwhile: no guard of a rename holds for sure */
    struct eng *eng; /* NULL: closed */
    uint64_t ref_ino, ref_size, ref_seed;
};

int session_open(struct session *s, bool read_only, char why[256]);
int session_close(struct session *s); /* a closed one is fine */
/*
 * Issues one operation. results: of each of its steps, valid unless the whole
 * failed. Returns 0 or the negative errno of the operation as a whole, which
 * for an operation of one step is also results[0]. */
int op_issue(struct session *s, const struct op *op, int results[PUT_MANY_MAX]);

#endif
