/*
 * hold_name.c - see hold_name.h.
 *
 * The kernel takes the lock of the folder to give a name up, and a look-up has that lock until we have
 * answered it. So no thread that answers requests may ask for it: one of its own does, from the first hold
 * on. Whoever lists the folder has the lock as well, for as long as the memory that the listing goes to makes
 * the kernel wait (userfaultfd(2), a mapped file of a file system that does not answer), and no signal ends
 * that thread meanwhile. So only trusted callers may list it (nodes.c), and the end waits for a bounded time.
 *
 * hold_name->lock is a leaf. */
#include "control/hold_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/verbs.h"
#include "messages.h"

/* How long the end waits for the kernel, which waits for look-ups at most, unless somebody keeps the lock. */
enum { STOP_MS = 2000 };

struct hold_name {
    struct session *session; /* immutable, as folder is */
    fuse_ino_t folder;       /* .engram */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock: */
    bool wanted, busy, ending;
    bool has_thread, is_stuck; /* is_stuck: the end has waited in vain */
    pthread_t thread;
};

struct hold_name *hold_name_new(struct session *session, fuse_ino_t folder)
{
    struct hold_name *h = calloc(1, sizeof *h);
    if (!h)
        return NULL;
    h->session = session;
    h->folder = folder;
    (void)pthread_mutex_init(&h->lock, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&h->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    return h;
}

void hold_name_free(struct hold_name *h)
{
    if (!h)
        return;
    if (h->has_thread)
        (void)pthread_join(h->thread, NULL);
    (void)pthread_cond_destroy(&h->changed);
    (void)pthread_mutex_destroy(&h->lock);
    free(h);
}

static void drop(const struct hold_name *h)
{
    const char *name = ctl_files[CTL_HOLD].name;
    int r = fuse_lowlevel_notify_inval_entry(h->session->fuse, h->folder, name, strlen(name));
    if (r && r != -ENOENT && r != -ENOTCONN && r != -ENODEV) /* it has no such name any more, or no mount */
        messages_line(ENG_LOG_WARNING, "a hold may outlast its holder: %s", strerror(-r));
}

static void *drop_main(void *arg)
{
    struct hold_name *h = arg;
    (void)pthread_mutex_lock(&h->lock);
    while (!h->ending) {
        if (!h->wanted) {
            (void)pthread_cond_wait(&h->changed, &h->lock);
            continue;
        }
        h->wanted = false;
        h->busy = true;
        (void)pthread_mutex_unlock(&h->lock);
        drop(h);
        (void)pthread_mutex_lock(&h->lock);
        h->busy = false;
        (void)pthread_cond_broadcast(&h->changed);
    }
    (void)pthread_mutex_unlock(&h->lock);
    return NULL;
}

int hold_name_drop(struct hold_name *h)
{
    int r = 0;
    (void)pthread_mutex_lock(&h->lock);
    if (!h->has_thread && !h->ending) {
        r = pthread_create(&h->thread, NULL, drop_main, h);
        h->has_thread = !r;
    }
    h->wanted = !r;
    (void)pthread_cond_broadcast(&h->changed);
    (void)pthread_mutex_unlock(&h->lock);
    return r ? -EAGAIN : 0;
}

bool hold_name_stop(struct hold_name *h)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += STOP_MS / 1000;
    int r = 0;
    (void)pthread_mutex_lock(&h->lock);
    h->ending = true;
    (void)pthread_cond_broadcast(&h->changed);
    while (h->busy && !h->is_stuck && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&h->changed, &h->lock, &end);
    bool told = h->is_stuck;
    h->is_stuck = told || h->busy;
    bool stuck = h->is_stuck;
    (void)pthread_mutex_unlock(&h->lock);
    if (stuck && !told)
        messages_line(ENG_LOG_WARNING,
                      "a lister of .engram makes the kernel wait; this process ends with the listing");
    return !stuck;
}
