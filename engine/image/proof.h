/*
 * proof.h - whether a recovery would find what it needs. Read from the medium are: superblock and
 * configuration, the header of each segment, the checkpoint with each of its pieces, in both copies, and the
 * log from there on.
 *
 * What is wrong is made good while the store may be written: one copy of a checkpoint from the other, files
 * from memory; what both copies have lost is written anew by a checkpoint, which needs as little of the
 * damaged part of the log. What cannot be made good is in the list of damage.
 *
 * Locking: none while reading. Takes the lock of checkpoints, and those that a checkpoint takes. */
#ifndef ENGRAMFS_PROOF_H
#define ENGRAMFS_PROOF_H

#include "base/job.h"
#include "core/eng.h"

/* In this thread, for `job`, whose gate is passed between steps. The figures are written under job->lock; for
 * each part that was made good `healed` (may be NULL) gets a line. */
int proof_run(struct eng *eng, struct job *job, struct eng_recovery_figures *figures,
              void (*healed)(void *arg, const char *line), void *arg);

#endif
