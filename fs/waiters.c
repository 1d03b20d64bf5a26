/*
 * waiters.c - requests that are answered later.
 *
 * A waiter's request belongs to the thread that takes it out of `req` under
 * all->lock: the job's end, an interrupt, or the end of the session; that one
 * answers, once. The waiter itself is freed when its job has ended and
 * waiter_ready() has returned. all->lock is a leaf: nothing is called under it.
 *
 * Interrupts. The kernel interrupts a request for every signal that its
 * caller would handle, once only, and lets the caller die only when the
 * request is answered. But a shell whose background job ends gets SIGCHLD,
 * and that must not fail an `echo run` in its foreground: any other file
 * would restart the write. So an interrupt by signals that programs handle
 * in passing leaves the request waiting, and a watcher looks every WATCH_MS
 * whether a signal of another kind has come, and whose time is over. */
#include "waiters.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WATCH_MS = 50 };

/* What answers a request, and is not the waiter's any more once it was taken out of it. */
struct request {
    fuse_req_t req; /* NULL once it was taken */
    waiter_reply *reply;
    size_t size;
};

struct waiter {
    struct waiters *all; /* immutable, as id and pid are */
    uint64_t id;
    pid_t pid;         /* the calling thread; 0: of another pid namespace */
    _Atomic bool gone; /* the request was taken. Written under all->lock */
    /* protected by all->lock: */
    struct waiter *next;
    struct request request;
    bool registering; /* until waiter_ready() is through: no other thread may answer */
    bool interrupted;
    bool watched;    /* interrupted in passing */
    int64_t end;     /* of its time; 0: it has time */
    int late_result; /* what it is answered with then */
    bool done;
    int result;
    char text[WAITER_TEXT_MAX]; /* empty: none */
};

struct waiters {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct waiter *list; /* protected by lock, as all that follows: those not yet answered */
    uint64_t serial;
    bool has_watcher, ending;
    pthread_t watcher;
};

static void unlink_locked(struct waiter *w)
{
    struct waiter **at = &w->all->list;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
}

/* Hands the request to the caller, to be answered after unlocking. Empty if another thread has it. */
static struct request take_locked(struct waiter *w)
{
    struct request request = w->request;
    if (request.req)
        unlink_locked(w);
    w->request = (struct request){0};
    atomic_store(&w->gone, true);
    return request;
}

static void answer(const struct request *request, int result, const char *text)
{
    if (request->req)
        request->reply(request->req, result, request->size, text && *text ? text : NULL);
}

/* ---- signals of the caller ---------------------------------------------- */

static uint64_t bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

/* Has this thread a signal to handle besides those handled in passing? Yes, if one cannot know. */
static bool must_stop(pid_t pid)
{
    char path[48], line[128];
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
    FILE *f = pid > 0 ? fopen(path, "re") : NULL;
    if (!f)
        return true;
    uint64_t pending = 0, blocked = 0, mask;
    int found = 0;
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "SigPnd: %" SCNx64, &mask) == 1 || sscanf(line, "ShdPnd: %" SCNx64, &mask) == 1) {
            pending |= mask;
            found++;
        } else if (sscanf(line, "SigBlk: %" SCNx64, &mask) == 1) {
            blocked = mask;
            found++;
        }
    }
    (void)fclose(f);
    uint64_t in_passing = bit(SIGCHLD) | bit(SIGWINCH) | bit(SIGURG);
    return found != 3 || (pending & ~blocked & ~in_passing) != 0;
}

static int64_t mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One look at one waiter to be watched after `after`; returns its id, 0 if there is none. */
static uint64_t look_at_next(struct waiters *all, uint64_t after)
{
    struct waiter found = {0};
    const int64_t now = mono_ns();
    (void)pthread_mutex_lock(&all->lock);
    for (const struct waiter *w = all->list; w; w = w->next)
        if ((w->watched || w->end) && !w->registering && w->id > after && (!found.id || w->id < found.id)) {
            found.id = w->id;
            found.pid = w->pid;
            found.watched = w->watched;
            found.result = w->end && now >= w->end ? w->late_result : 0;
        }
    (void)pthread_mutex_unlock(&all->lock);
    const uint64_t id = found.id;
    if (id && !found.result && found.watched && must_stop(found.pid))
        found.result = -EINTR;
    if (!found.result)
        return id;
    struct request request = {0};
    (void)pthread_mutex_lock(&all->lock);
    struct waiter *w = all->list;
    while (w && w->id != id)
        w = w->next;
    if (w)
        request = take_locked(w);
    (void)pthread_mutex_unlock(&all->lock);
    answer(&request, found.result, NULL);
    return id;
}

static bool any_watched_locked(const struct waiters *all)
{
    const struct waiter *w = all->list;
    while (w && !w->watched && !w->end)
        w = w->next;
    return w != NULL;
}

static void *watcher_main(void *arg)
{
    struct waiters *all = arg;
    for (;;) {
        (void)pthread_mutex_lock(&all->lock);
        while (!all->ending && !any_watched_locked(all))
            (void)pthread_cond_wait(&all->changed, &all->lock);
        bool ending = all->ending;
        (void)pthread_mutex_unlock(&all->lock);
        if (ending)
            return NULL;
        for (uint64_t id = 0; (id = look_at_next(all, id)) != 0;)
            ;
        (void)nanosleep(&(struct timespec){.tv_nsec = WATCH_MS * 1000000}, NULL);
    }
}

static bool has_watcher_locked(struct waiters *all)
{
    if (!all->has_watcher)
        all->has_watcher = pthread_create(&all->watcher, NULL, watcher_main, all) == 0;
    (void)pthread_cond_signal(&all->changed);
    return all->has_watcher;
}

/* Leaves an interrupted waiter to the watcher; false if there can be none. */
static bool watch_locked(struct waiter *w)
{
    w->watched = has_watcher_locked(w->all);
    return w->watched;
}

/* ---- the life of a waiter ----------------------------------------------- */

/*
 * Called by libfuse while it holds the request's own lock; inside
 * fuse_req_interrupt_func() when the interrupt came first. There the request
 * must not be answered, since libfuse goes on to use it: hence `registering`.
 * The waiter is found by number, because its memory may be gone. */
static void on_interrupt(fuse_req_t req, void *data)
{
    struct waiters *all = session_of(req)->waiters;
    uint64_t id = (uint64_t)(uintptr_t)data;
    bool stop = must_stop(fuse_req_ctx(req)->pid);
    struct request mine = {0};
    (void)pthread_mutex_lock(&all->lock);
    struct waiter *w = all->list;
    while (w && w->id != id)
        w = w->next;
    if (w && w->registering)
        w->interrupted = true;
    else if (w && (stop || !watch_locked(w)))
        mine = take_locked(w);
    (void)pthread_mutex_unlock(&all->lock);
    answer(&mine, -EINTR, NULL);
}

struct waiter *waiter_begin(struct waiters *all, fuse_req_t req, waiter_reply *reply, size_t size)
{
    struct waiter *w = malloc(sizeof *w);
    if (!w)
        return NULL;
    *w = (struct waiter){
        .all = all, .pid = fuse_req_ctx(req)->pid, .request = {req, reply, size}, .registering = true};
    (void)pthread_mutex_lock(&all->lock);
    w->id = ++all->serial;
    w->next = all->list;
    all->list = w;
    (void)pthread_mutex_unlock(&all->lock);
    return w;
}

void waiter_watch(struct waiter *w)
{
    (void)pthread_mutex_lock(&w->all->lock);
    w->interrupted = true;
    (void)pthread_mutex_unlock(&w->all->lock);
}

bool waiter_limit(struct waiter *w, int64_t end, int result)
{
    (void)pthread_mutex_lock(&w->all->lock);
    w->end = end;
    w->late_result = result;
    bool ok = has_watcher_locked(w->all);
    (void)pthread_mutex_unlock(&w->all->lock);
    return ok;
}

bool waiter_must_stop(fuse_req_t req)
{
    return must_stop(fuse_req_ctx(req)->pid);
}

void waiter_abandon(struct waiter *w)
{
    (void)pthread_mutex_lock(&w->all->lock);
    unlink_locked(w);
    (void)pthread_mutex_unlock(&w->all->lock);
    free(w);
}

void waiter_ready(struct waiter *w)
{
    struct waiters *all = w->all;
    char text[WAITER_TEXT_MAX];
    /* While `registering` is set no other thread takes the request, so use it without the lock. */
    fuse_req_interrupt_func(w->request.req, on_interrupt, (void *)(uintptr_t)w->id);

    (void)pthread_mutex_lock(&all->lock);
    w->registering = false;
    struct request request = {0};
    bool done = w->done;
    int result = done ? w->result : -EINTR;
    memcpy(text, w->text, sizeof text);
    /* What interrupted it is for the watcher to find out. */
    if (done || (w->interrupted && !watch_locked(w)))
        request = take_locked(w);
    if (done)
        free(w);
    (void)pthread_mutex_unlock(&all->lock);
    answer(&request, result, text);
}

void waiter_done(struct waiter *w, int result, const char *text)
{
    struct waiters *all = w->all;
    struct request request = {0};
    (void)pthread_mutex_lock(&all->lock);
    w->done = true;
    w->result = result;
    if (w->registering && text)
        (void)snprintf(w->text, sizeof w->text, "%s", text);
    if (!w->registering) {
        request = take_locked(w);
        free(w);
    }
    (void)pthread_mutex_unlock(&all->lock);
    answer(&request, result, text);
}

bool waiter_is_gone(const struct waiter *w)
{
    return atomic_load(&w->gone);
}

/* ---- all of them -------------------------------------------------------- */

struct waiters *waiters_new(void)
{
    struct waiters *all = calloc(1, sizeof *all);
    if (!all)
        return NULL;
    (void)pthread_mutex_init(&all->lock, NULL);
    (void)pthread_cond_init(&all->changed, NULL);
    return all;
}

void waiters_interrupt_all(struct waiters *all)
{
    for (;;) {
        struct request request = {0};
        (void)pthread_mutex_lock(&all->lock);
        struct waiter *w = all->list;
        while (w && w->registering) /* one that begins now: the next call gets it, or its job's end */
            w = w->next;
        if (w)
            request = take_locked(w);
        (void)pthread_mutex_unlock(&all->lock);
        if (!request.req)
            return;
        answer(&request, -EINTR, NULL);
    }
}

void waiters_free(struct waiters *all)
{
    if (!all)
        return;
    (void)pthread_mutex_lock(&all->lock);
    all->ending = true;
    (void)pthread_cond_signal(&all->changed);
    bool has_watcher = all->has_watcher;
    (void)pthread_mutex_unlock(&all->lock);
    if (has_watcher)
        (void)pthread_join(all->watcher, NULL);
    (void)pthread_cond_destroy(&all->changed);
    (void)pthread_mutex_destroy(&all->lock);
    free(all);
}
