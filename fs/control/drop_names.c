/*
 * drop_names.c - see drop_names.h.
 *
 * The kernel takes the lock of the folder to give a name up, and a look-up has that lock until we have
 * answered it. So no thread that answers requests may ask for it: one of its own does, from the first such
 * name on. Whoever lists the folder has the lock as well, for as long as the memory that the listing goes to
 * makes the kernel wait (userfaultfd(2), a mapped file of a file system that does not answer), and no signal
 * ends that thread meanwhile. So only trusted callers may list it (nodes.c), and the end waits for a bounded
 * time.
 *
 * drop_names->lock is a leaf. */
#include "control/drop_names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "control/past_paths.h"
#include "control/verbs.h"
#include "control/views.h"
#include "messages.h"

/* How long the end waits for the kernel, which waits for look-ups at most, unless somebody keeps the lock. */
enum { STOP_MS = 2000 };
/* After so long the kernel is asked again to give up views, which it tells of by FORGET; then after twice as
 * long, and so on up to that. */
#define VIEWS_FIRST_NS INT64_C(20000000)
#define VIEWS_MAX_NS INT64_C(8000000000)
/* Twice as many as there are nodes: what was forgotten before its turn is still queued. */
enum { QUEUE_MAX = 16384 };
/* So many queued are too many. */
enum { BACKLOG = 64 };
/* So many inodes wait for their pages to go; of more, those go that nobody uses any more. */
enum { PAGES_MAX = 256 };

struct since {
    fuse_ino_t ino;
    uint64_t position;
};

struct drop_names {
    struct drop_names_options opt; /* immutable */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock: */
    bool hold_wanted, views_wanted, busy, ending;
    int64_t views_ns;          /* while views_wanted: when the kernel is asked (again) */
    int64_t views_pause;       /* between that and the time before */
    unsigned views_left;       /* drop_names_wanted() after it was asked */
    bool pages_left_out;       /* of more than PAGES_MAX */
    bool has_thread, is_stuck; /* is_stuck: the end has waited in vain */
    pthread_t thread;
    unsigned n_pages;
    fuse_ino_t pages[PAGES_MAX];
    uint64_t first, end; /* what is queued: offsets that only grow */
    struct since queue[QUEUE_MAX];
};

struct drop_names *drop_names_new(const struct drop_names_options *opt)
{
    struct drop_names *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->opt = *opt;
    d->views_pause = VIEWS_FIRST_NS;
    (void)pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attr;
    (void)pthread_condattr_init(&attr);
    (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&d->changed, &attr);
    (void)pthread_condattr_destroy(&attr);
    return d;
}

void drop_names_free(struct drop_names *d)
{
    if (!d)
        return;
    if (d->has_thread)
        (void)pthread_join(d->thread, NULL);
    (void)pthread_cond_destroy(&d->changed);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}

static int64_t mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void drop(const struct drop_names *d, fuse_ino_t folder, const char *name, const char *else_what)
{
    int r = fuse_lowlevel_notify_inval_entry(d->opt.session->fuse, folder, name, strlen(name));
    if (r && r != -ENOENT && r != -ENOTCONN && r != -ENODEV) /* it has no such name any more, or no mount */
        messages_line(ENG_LOG_WARNING, "%s: %s", else_what, strerror(-r));
}

/* The kernel gives the lock to one of us, and then to all that look something up: of many at once each leaves
 * a name, and one goes. With the folder's own name, in another one, go all names below that nobody uses. */
static void drop_since(const struct drop_names *d, const struct since *since, bool too_many)
{
    static const char else_what[] = "changes that were read may stay in memory";
    char name[24];
    if (too_many)
        drop(d, d->opt.folder, ctl_files[CTL_CHANGES_SINCE].name, else_what);
    (void)snprintf(name, sizeof name, "%" PRIu64, since->position);
    if (d->opt.is_held(d->opt.arg, since->ino))
        drop(d, d->opt.since_folder, name, else_what);
}

static const char else_views[] = "what dropped snapshots show may stay on the disk";

static int drop_snapshot(void *arg, const struct eng_snapshot *snapshot)
{
    const struct drop_names *d = arg;
    drop(d, d->opt.snapshots_folder, snapshot->name, else_views);
    return 0;
}

unsigned drop_names_wanted(const struct session *session)
{
    const unsigned paths = ctl_paths_wants_back(session->paths) ? CTL_VIEWS_PATHS : 0;
    return ctl_views_wants_back(session->views) | paths;
}

/* Gives up the names of snapshots, with all below that nobody uses. What has no such name, a dropped snapshot
 * or a time, goes with its folder's name, if the kernel has that: else when somebody has looked that up. */
static void drop_views(struct drop_names *d, unsigned wanted)
{
    if (wanted & CTL_VIEWS_MANY)
        (void)eng_snapshot_list(d->opt.session->eng, drop_snapshot, d);
    if (wanted & CTL_VIEWS_DROPPED)
        drop(d, d->opt.folder, ctl_files[CTL_SNAPSHOTS].name, else_views);
    if (wanted & CTL_VIEWS_TIMES)
        drop(d, d->opt.folder, ctl_files[CTL_AT].name, else_views);
    for (int file = CTL_HISTORY; file <= CTL_DELETED && wanted & CTL_VIEWS_PATHS; file++)
        drop(d, d->opt.folder, ctl_files[file].name, "what was looked at in the past may stay in memory");
}

/* The longer somebody is in what goes, the less often all else there loses what the kernel has kept. */
static void drop_views_locked(struct drop_names *d)
{
    const unsigned for_pages = d->pages_left_out ? CTL_VIEWS_MANY | CTL_VIEWS_TIMES : 0;
    d->pages_left_out = false;
    d->busy = true;
    (void)pthread_mutex_unlock(&d->lock);
    drop_views(d, drop_names_wanted(d->opt.session) | for_pages);
    (void)pthread_mutex_lock(&d->lock);
    const bool ending = d->ending; /* then the views may be gone, if the end has waited in vain */
    (void)pthread_mutex_unlock(&d->lock);
    const unsigned left = ending ? 0 : drop_names_wanted(d->opt.session);
    (void)pthread_mutex_lock(&d->lock);
    d->busy = false;
    d->views_pause = left ? d->views_pause * 2 : VIEWS_FIRST_NS;
    if (d->views_pause > VIEWS_MAX_NS)
        d->views_pause = VIEWS_MAX_NS;
    d->views_ns = mono_ns() + d->views_pause;
    d->views_wanted = d->views_wanted && (left || d->pages_left_out);
    d->views_left = left;
    (void)pthread_cond_broadcast(&d->changed);
}

/* Waits for the kernel to have done with what was stored, which other threads refuse. */
static void drop_pages_locked(struct drop_names *d)
{
    const fuse_ino_t ino = d->pages[0];
    memmove(d->pages, d->pages + 1, --d->n_pages * sizeof *d->pages);
    d->busy = true;
    (void)pthread_mutex_unlock(&d->lock);
    (void)fuse_lowlevel_notify_inval_inode(d->opt.session->fuse, ino, 0, 0);
    (void)pthread_mutex_lock(&d->lock);
    d->busy = false;
    (void)pthread_cond_broadcast(&d->changed);
}

static void drop_next_locked(struct drop_names *d)
{
    const bool hold = d->hold_wanted, too_many = d->end - d->first > BACKLOG;
    const struct since since = d->queue[hold ? 0 : d->first++ % QUEUE_MAX];
    d->hold_wanted = false;
    d->busy = true;
    (void)pthread_mutex_unlock(&d->lock);
    if (hold)
        drop(d, d->opt.folder, ctl_files[CTL_HOLD].name, "a hold may outlast its holder");
    else if (d->opt.is_held(d->opt.arg, since.ino))
        drop_since(d, &since, too_many);
    (void)pthread_mutex_lock(&d->lock);
    d->busy = false;
    (void)pthread_cond_broadcast(&d->changed);
}

static void wait_locked(struct drop_names *d)
{
    const struct timespec until = {d->views_ns / 1000000000, d->views_ns % 1000000000};
    if (d->views_wanted)
        (void)pthread_cond_timedwait(&d->changed, &d->lock, &until);
    else
        (void)pthread_cond_wait(&d->changed, &d->lock);
}

/* Pages come last: anybody may store into his own all the time. */
static void *drop_main(void *arg)
{
    struct drop_names *d = arg;
    (void)pthread_mutex_lock(&d->lock);
    while (!d->ending) {
        if (d->views_wanted && mono_ns() >= d->views_ns)
            drop_views_locked(d);
        else if (d->hold_wanted || d->first != d->end)
            drop_next_locked(d);
        else if (d->n_pages > 0)
            drop_pages_locked(d);
        else
            wait_locked(d);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return NULL;
}

static int begin_locked(struct drop_names *d)
{
    if (d->has_thread || d->ending)
        return 0;
    d->has_thread = pthread_create(&d->thread, NULL, drop_main, d) == 0;
    return d->has_thread ? 0 : -EAGAIN;
}

int drop_names_hold(struct drop_names *d)
{
    (void)pthread_mutex_lock(&d->lock);
    int r = begin_locked(d);
    d->hold_wanted = !r;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

int drop_names_since(struct drop_names *d, fuse_ino_t ino, uint64_t position)
{
    (void)pthread_mutex_lock(&d->lock);
    int r = begin_locked(d);
    if (!r && d->end - d->first == QUEUE_MAX)
        r = -ENFILE;
    if (!r)
        d->queue[d->end++ % QUEUE_MAX] = (struct since){ino, position};
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

int drop_names_pages(struct drop_names *d, fuse_ino_t ino)
{
    unsigned i = 0;
    (void)pthread_mutex_lock(&d->lock);
    int r = begin_locked(d);
    while (i < d->n_pages && d->pages[i] != ino)
        i++;
    if (!r && i == d->n_pages && i < PAGES_MAX)
        d->pages[d->n_pages++] = ino;
    d->pages_left_out = d->pages_left_out || i == PAGES_MAX;
    d->views_wanted = d->views_wanted || d->pages_left_out;
    (void)pthread_cond_broadcast(&d->changed);
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

int drop_names_views(struct drop_names *d, unsigned wanted)
{
    (void)pthread_mutex_lock(&d->lock);
    int r = begin_locked(d);
    if (!r && (!d->views_wanted || wanted & ~d->views_left)) {
        d->views_wanted = true;
        d->views_ns = mono_ns();
        (void)pthread_cond_broadcast(&d->changed);
    }
    (void)pthread_mutex_unlock(&d->lock);
    return r;
}

bool drop_names_stop(struct drop_names *d)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += STOP_MS / 1000;
    int r = 0;
    (void)pthread_mutex_lock(&d->lock);
    d->ending = true;
    (void)pthread_cond_broadcast(&d->changed);
    while (d->busy && !d->is_stuck && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&d->changed, &d->lock, &end);
    bool told = d->is_stuck;
    d->is_stuck = told || d->busy;
    bool stuck = d->is_stuck;
    (void)pthread_mutex_unlock(&d->lock);
    if (stuck && !told)
        messages_line(ENG_LOG_WARNING,
                      "a lister of .engram makes the kernel wait; this process ends with the listing");
    return !stuck;
}
