/*
 * fault.h - where tests reach in. Fault points are named places at which a
 * test makes threads meet or calls fail; mutants take one protection out, so
 * that the test of that protection can be shown to fail without it.
 *
 * A fault point costs a test of one pointer. Mutants exist only in builds
 * with ENG_MUTANTS; elsewhere MUTANT() is the constant false.
 */
#ifndef ENGRAMFS_FAULT_H
#define ENGRAMFS_FAULT_H

#include <stdbool.h>

enum fault_point {
    FP_COMPACT_COPIED,    /* survivors copied and durable, nothing installed */
    FP_COMPACT_INSTALLED, /* a group of relocations was installed */
    FP_COMPACT_READ,      /* about to read a victim's extents */
    FP_LOG_WRITTEN,       /* batch in the log, index not changed yet */
    FP_READ_COLLECTED,    /* locators and generation taken, nothing pinned */
    FP_READ_PINNED,       /* segments pinned, generation not compared again yet */
    FP_RETIRE,            /* about to unlink a segment */
    FP_SYNC,              /* about to flush */
    FP_COUNT
};

struct fault_hook {
    void (*fn)(void *arg, enum fault_point point); /* immutable while threads run */
    void *arg;
};

static inline void fault_point(const struct fault_hook *hook, enum fault_point point)
{
    if (hook->fn)
        hook->fn(hook->arg, point);
}

enum mutant {
    MUTANT_BLIND_INSTALL = 1 << 0,    /* I3: relocations are installed without comparing */
    MUTANT_NO_PIN = 1 << 1,           /* I1: segments are unlinked in spite of pins */
    MUTANT_NO_GENERATION = 1 << 2,    /* I2: the generation is not compared after pinning */
    MUTANT_NO_VERIFY = 1 << 3,        /* I6: content is not verified */
    MUTANT_INSTALL_UNSYNCED = 1 << 4, /* relocations are logged before the survivors are durable */
    MUTANT_RETIRE_UNSYNCED = 1 << 5,  /* I4: a segment goes before the deaths in it are durable */
    MUTANT_RETIRE_YOUNG = 1 << 6,     /* I4: a segment goes although a checkpoint needs its metadata */
    MUTANT_NO_SYNCDIR = 1 << 7,       /* I7: new segments are synced without their directory */
    MUTANT_NO_BATCH_SUM = 1 << 8,     /* I7: recovery believes every batch */
    MUTANT_NO_FAILED_SYNC = 1 << 9,   /* I11: a failed flush is forgotten */
    MUTANT_DROP_UNREADABLE = 1 << 10, /* I5: what cannot be verified counts as moved */
    MUTANT_NO_LOCK = 1 << 11,         /* the store is not locked */
};

#ifdef ENG_MUTANTS
extern __attribute__((visibility("default"))) unsigned eng_mutants; /* immutable while threads run */
#define MUTANT(m) ((eng_mutants & MUTANT_##m) != 0)
#else
#define MUTANT(m) false
#endif

#endif
