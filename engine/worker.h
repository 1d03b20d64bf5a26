/*
 * worker.h - the background threads of a store:
 *   committer  makes everything durable every commit_ms, writes checkpoints when due, unlinks empty segments
 *   compactor  compactions, asked for or by threshold
 *   scrubber   scrubs
 * With no_background there are none, and the caller's thread does the work.
 */
#ifndef ENGRAMFS_WORKER_H
#define ENGRAMFS_WORKER_H

#include "compact.h"
#include "engine_impl.h"
#include "job.h"

struct maintenance_waiter {
    void (*done)(void *arg, const struct eng_maintenance_report *, int error);
    void *arg;
};

struct worker {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop, poked, look; /* look: the compactor shall look at the thresholds. protected by lock */
    struct maintenance_waiter *asked; /* protected by lock */
    size_t n_asked, cap_asked;
    uint64_t futile_garbage; /* garbage left when nothing could be gained: no new try before there is more.
                                protected by lock */
    bool startup;            /* the start-up check asks for one compaction. protected by lock */

    struct job compact, scrub;
    struct eng_compact_report compact_report; /* protected by compact.lock */
    struct eng_scrub_report scrub_report;     /* protected by scrub.lock */

    pthread_t threads[3];
    unsigned n_threads;
};

/* A scrub in this thread; reports like compact_run(). */
int scrub_run(struct eng *eng, struct job *job, struct eng_scrub_report *report);

#endif
