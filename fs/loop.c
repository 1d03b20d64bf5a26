/*
 * loop.c - see loop.h. State: struct pool. */
#include "loop.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#define WAKE_AGAIN_NS 20000000         /* a signal may come just before the thread reads */
#define MEMORY_AGAIN_NS 100000000      /* nothing tells that there is memory */
#define BUFFER_SIZE ((size_t)17 << 16) /* what libfuse takes for what a thread reads, and some more */

struct worker {
    struct pool *pool;
    pthread_t id;
};

struct pool {
    struct fuse_session *fuse;
    const atomic_bool *end; /* somebody wants it to end */
    atomic_bool over;       /* a worker has ended */
    sem_t ended;            /* once by each worker that has ended */
    /* Protected by lock: */
    int error;     /* why the session has ended; 0: in order */
    unsigned most; /* workers; 0: no more are started */
    unsigned n;    /* those there are */
    unsigned idle; /* of them those that wait for a request */
    unsigned poor; /* of them those that have no memory to read one */
    struct worker workers[LOOP_THREADS_MAX];
    pthread_mutex_t lock;
};

static void *work(void *arg);

/* Not by fuse_session_exit(), after which libfuse forgets what it reads. */
static bool has_ended(const struct pool *p)
{
    return atomic_load(p->end) || atomic_load(&p->over) || fuse_session_exited(p->fuse);
}

static int start_worker_locked(struct pool *p)
{
    struct worker *w = &p->workers[p->n];
    w->pool = p;
    int r = pthread_create(&w->id, NULL, work, w);
    if (r)
        return -r;
    p->n++;
    p->idle++;
    return 0;
}

/* A request was read: somebody must wait for the next one. Without memory for a thread, or for what
 * it reads, requests wait for the threads that there are. */
static void begin_request(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->idle--;
    if (!p->idle && !p->poor && p->n < p->most)
        (void)start_worker_locked(p);
    pthread_mutex_unlock(&p->lock);
}

static void end_request(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->idle++;
    pthread_mutex_unlock(&p->lock);
}

/* libfuse allocates when a thread reads for the first time, and says so each time that it cannot. */
static bool has_memory(const struct fuse_buf *buf)
{
    if (buf->mem)
        return true;
    void *p = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p != MAP_FAILED)
        (void)munmap(p, BUFFER_SIZE);
    return p != MAP_FAILED;
}

/* The others go on meanwhile; so does the mount if there are none. */
static void wait_for_memory(struct pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->idle--;
    p->poor++;
    pthread_mutex_unlock(&p->lock);
    (void)nanosleep(&(struct timespec){.tv_nsec = MEMORY_AGAIN_NS}, NULL);
    pthread_mutex_lock(&p->lock);
    p->poor--;
    p->idle++;
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct pool *p = w->pool;
    struct fuse_buf buf = {0};
    int r = 0;
    while (!has_ended(p)) {
        r = has_memory(&buf) ? fuse_session_receive_buf(p->fuse, &buf) : -ENOMEM;
        if (r == -ENOMEM)
            wait_for_memory(p);
        if (r == -EINTR || r == -ENOMEM)
            continue;
        if (r <= 0)
            break;
        begin_request(p);
        fuse_session_process_buf(p->fuse, &buf);
        end_request(p);
    }
    free(buf.mem);
    pthread_mutex_lock(&p->lock);
    if (r < 0 && r != -EINTR && r != -ENOMEM)
        p->error = r;
    pthread_mutex_unlock(&p->lock);
    atomic_store(&p->over, true);
    (void)sem_post(&p->ended);
    return NULL;
}

/* Nobody starts a worker any more. */
static void end_workers(struct pool *p)
{
    for (unsigned i = 0; i < p->n;) {
        struct timespec until;
        for (unsigned k = 0; k < p->n; k++)
            (void)pthread_kill(p->workers[k].id, SIGUSR2);
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += WAKE_AGAIN_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        while (i < p->n && sem_timedwait(&p->ended, &until) == 0)
            i++;
    }
    for (unsigned k = 0; k < p->n; k++)
        (void)pthread_join(p->workers[k].id, NULL);
}

int loop_serve(struct fuse_session *fuse, unsigned most, const atomic_bool *end)
{
    struct pool p = {.fuse = fuse, .end = end, .most = most};
    (void)sem_init(&p.ended, 0, 0);
    (void)pthread_mutex_init(&p.lock, NULL);
    pthread_mutex_lock(&p.lock);
    int r = start_worker_locked(&p);
    pthread_mutex_unlock(&p.lock);
    while (!r && !has_ended(&p))
        if (sem_wait(&p.ended) == 0)
            (void)sem_post(&p.ended); /* end_workers() counts them */
    pthread_mutex_lock(&p.lock);
    p.most = 0;
    pthread_mutex_unlock(&p.lock);
    end_workers(&p);
    (void)pthread_mutex_destroy(&p.lock);
    (void)sem_destroy(&p.ended);
    return r ? r : p.error;
}
