/*
 * waiters.h - requests that are answered later, when a job has ended, or at once when their caller is
 * interrupted. */
#ifndef ENGRAMFS_WAITERS_H
#define ENGRAMFS_WAITERS_H

#include "session.h"

struct waiters;
struct waiter;

/* Answers the request: `result` 0 or a negative errno, and what waiter_begin() and waiter_done() were given.
 * Without locks, in any thread; `text` is NULL if the job has not given one. */
typedef void waiter_reply(fuse_req_t req, int result, size_t size, const char *text);
/* What a text has at most, its NUL included. */
#define WAITER_TEXT_MAX 80

struct waiters *waiters_new(void);
/* No request may be under way, and no job that has not called waiter_done(). */
void waiters_free(struct waiters *all);
/* Answers all waiters with EINTR: the session ends. */
void waiters_interrupt_all(struct waiters *all);

/*
 * The life of a waiter: begin, before its job is started; then abandon, if
 * the job could not be started (the request stays with the caller), or ready.
 * The job calls done once, at any time after begin, from any thread; it does not block.
 * `result` is 0 or a negative errno, `text` may be NULL. */
struct waiter *waiter_begin(struct waiters *all, fuse_req_t req, waiter_reply *reply, size_t size);
/* Between begin and ready: it was interrupted before, when it waited already. */
void waiter_watch(struct waiter *w);
/* Between begin and ready: at `end` (CLOCK_MONOTONIC, ns), or a moment later, it is answered with `result`
 * unless it was before. False: there can be no thread for it. */
bool waiter_limit(struct waiter *w, int64_t end, int result);
void waiter_abandon(struct waiter *w);
void waiter_ready(struct waiter *w);
void waiter_done(struct waiter *w, int result, const char *text);
/* Whether the caller of an interrupted request has a signal that must stop it. */
bool waiter_must_stop(fuse_req_t req);
/* Between begin and done: whether nobody waits any more. No lock is taken. */
bool waiter_is_gone(const struct waiter *w);

#endif
