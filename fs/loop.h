/*
 * loop.h - the threads that read FUSE's requests and process them, as many as are wanted at a time.
 *
 * libfuse forgets what it reads once fuse_session_exit() was called, and its own loop ends by that: writes of
 * pages that were changed through a mapping were lost, which nobody sends again. Here what was read is
 * processed. */
#ifndef ENGRAMFS_LOOP_H
#define ENGRAMFS_LOOP_H

#ifndef FUSE_USE_VERSION
#define FUSE_USE_VERSION 314
#endif
#include <fuse_lowlevel.h>
#include <stdatomic.h>

#define LOOP_THREADS_MAX 64u

/* Serves the session by up to `most` threads, 1 to LOOP_THREADS_MAX, until the connection is gone, or *end is
 * set and SIGUSR2, which must interrupt what waits, comes to this thread. 0, or why it ended; -EAGAIN: no
 * thread could be started. */
int loop_serve(struct fuse_session *fuse, unsigned most, const atomic_bool *end);

#endif
