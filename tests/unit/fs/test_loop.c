/*
 * test_loop.c - the threads that read requests, where some have no memory to read one: the others go on, and
 * a mount ends for want of it never. What libfuse does is played here. */
#include "loop.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
/* Protected by lock: */
static unsigned buffers;          /* that there is memory for */
static unsigned refusals_are_few; /* so many refusals, and there is memory for one more */
static unsigned requests, processed, together, together_most, refused;

static atomic_bool end;
static unsigned wanted; /* in all; immutable while threads run */
static pthread_t server;

static int take_buffer_locked(struct fuse_buf *buf)
{
    if (!buf->mem && refusals_are_few && refused >= refusals_are_few) {
        refusals_are_few = 0;
        buffers++;
    }
    if (!buf->mem && !buffers) {
        refused++;
        pthread_cond_broadcast(&changed);
        return -ENOMEM;
    }
    if (!buf->mem) {
        buffers--;
        buf->mem = malloc(1);
    }
    return 0;
}

/* As read() of the device: waits for a request, or for a signal, whose place `end` takes here. */
int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf)
{
    (void)se;
    pthread_mutex_lock(&lock);
    int r = take_buffer_locked(buf);
    while (!r && !requests && !atomic_load(&end))
        pthread_cond_wait(&changed, &lock);
    if (!r && atomic_load(&end))
        r = -EINTR;
    else if (!r) {
        requests--;
        r = 1;
    }
    pthread_mutex_unlock(&lock);
    return r;
}

/* A request is done when another one is under way as well, or nobody can read it. */
void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buf)
{
    (void)se;
    (void)buf;
    pthread_mutex_lock(&lock);
    together++;
    together_most = together > together_most ? together : together_most;
    pthread_cond_broadcast(&changed);
    while (together_most < 2 && !refused)
        pthread_cond_wait(&changed, &lock);
    together--;
    if (++processed == wanted) {
        atomic_store(&end, true);
        (void)pthread_kill(server, SIGUSR2);
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

int fuse_session_exited(struct fuse_session *se)
{
    (void)se;
    return 0;
}

static void on_signal(int number)
{
    (void)number;
}

static int serve(unsigned memory_for, unsigned few, unsigned n)
{
    struct sigaction action = {.sa_handler = on_signal};
    cr_assert_eq(sigaction(SIGUSR2, &action, NULL), 0);
    buffers = memory_for;
    refusals_are_few = few;
    requests = wanted = n;
    server = pthread_self();
    return loop_serve(NULL, 8, &end);
}

TestSuite(loop, .timeout = 60);

Test(loop, a_thread_that_has_no_memory_to_read_ends_nothing)
{
    cr_assert_eq(serve(1, 0, 100), 0);
    cr_assert_eq(processed, 100, "by the one that has");
    cr_assert_gt(refused, 0);
    cr_assert_eq(together_most, 1);
}

Test(loop, nor_do_all_of_them)
{
    cr_assert_eq(serve(0, 3, 10), 0, "there is memory after a while");
    cr_assert_eq(processed, 10);
    cr_assert_geq(refused, 3);
}

Test(loop, with_memory_they_are_several)
{
    cr_assert_eq(serve(8, 0, 100), 0);
    cr_assert_eq(processed, 100);
    cr_assert_eq(refused, 0);
    cr_assert_geq(together_most, 2);
}
