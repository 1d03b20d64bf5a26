/*
 * waiters.h - write requests that are answered later, when a job has ended,
 * or at once when their writer is interrupted. */
#ifndef ENGRAMFS_CONTROL_WAITERS_H
#define ENGRAMFS_CONTROL_WAITERS_H

#include "session.h"

struct waiters;
struct waiter;

struct waiters *waiters_new(void);
/* No request may be under way, and no job that has not called waiter_done(). */
void waiters_free(struct waiters *all);
/* Answers all waiters with EINTR: the session ends. */
void waiters_interrupt_all(struct waiters *all);

/*
 * The life of a waiter: begin, before its job is started; then abandon, if
 * the job could not be started (the request stays with the caller), or ready.
 * The job calls done once, at any time after begin, from any thread; it does not block.
 * `result` is 0, which answers `size`, or a negative errno. */
struct waiter *waiter_begin(struct waiters *all, fuse_req_t req, size_t size);
void waiter_abandon(struct waiter *w);
void waiter_ready(struct waiter *w);
void waiter_done(struct waiter *w, int result);

#endif
