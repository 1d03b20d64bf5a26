/*
 * room.c - see room.h.
 *
 * A request that has to wait is copied as the kernel has sent it, and its handler returns without an answer.
 * One thread waits for room, and then has libfuse handle the copies anew, one after the other; each only so
 * often. Until then an interrupt answers a request at once (waiters.h); the kernel sends it once, so it is
 * remembered from one time to the next. What waits is bounded, in number and in bytes, for each user and for
 * all; so are requests that the kernel counts as background, of which it sends only so many at a time, since
 * reads ahead are of that kind, too.
 *
 * Linux holds a folder's lock over each request that makes or moves a name in it, or changes its attributes,
 * and whoever removes something there waits for that lock. So those of others than root and whoever mounted
 * wait for a bounded time, counted for each folder from the first of them on; then they are told that there
 * is no room, while the making of it goes on.
 *
 * room->lock is a leaf: neither the engine nor FUSE nor the waiters are called under it. */
#include "room.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "persons.h"
#include "waiters.h"

/* BACKGROUND_MAX: half of max_background (ops.c). Only root and whoever mounted get the last quarter of the
 * requests, and of the bytes; each other user half of all. */
enum { PUT_ASIDE_MAX = 1024, BYTES_MAX = 64 << 20, BACKGROUND_MAX = 32 };
/* How often a request is handled anew after room was made for it: others may take that, first of all the
 * compaction that goes on, after each segment that it gives back. */
enum { TRIES_MAX = 64 };
/* The most that the engine copies at a time. */
enum { COPY_MAX = 1 << 20 };
/* How long others than root and whoever mounted keep all others from removing in a folder. */
#define FOLDER_NS INT64_C(1000000000)
/* Clocks that folders share; one more is of renames from one to another, for which Linux has one lock. */
enum { FOLDER_CLOCKS = 64 };
/* What libfuse may alter of a request while it handles it: no more than this of its beginning. */
enum { HEAD = sizeof(struct fuse_in_header) + sizeof(struct fuse_setattr_in) };
#define CANCEL_AGAIN_NS 50000000

struct aside {
    struct aside *next; /* protected by room->lock */
    struct waiter *waiter;
    struct timespec since;
    int64_t first; /* when it was put aside for the first time, ns */
    uid_t uid;
    bool background;
    bool interrupted; /* by then, and not by what stops it */
    unsigned tries;   /* how often room was made for this one */
    size_t size;
    _Alignas(16) char request[];
};

struct user {
    struct user *next;
    uid_t uid;
    size_t n, bytes;
};

struct room {
    struct session *session; /* immutable */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* protected by lock: */
    struct aside *first, *last;
    size_t n, n_background, bytes; /* of all that are put aside */
    struct user *users;            /* those who have something there */
    /* since when they have been kept, ns; 0: not since room was made, and where nothing is queued */
    int64_t clocks[FOLDER_CLOCKS + 1];
    bool has_thread, ending;
    pthread_t thread;
};

/* Of this thread. */
static __thread struct {
    const void *request; /* what it handles; NULL: unknown */
    size_t size;
    char head[HEAD];  /* its beginning, as it came */
    int64_t first;    /* as in struct aside; 0: it was not put aside */
    unsigned tries;   /* as in struct aside: it is handled anew, and */
    bool in_vain;     /* there was no room to be had */
    bool interrupted; /* as in struct aside */
    bool released;    /* waiter_done() has given it back */
} current;

void room_note_request(const void *request, size_t size)
{
    current.request = request;
    current.size = size;
    if (request)
        memcpy(current.head, request, size < HEAD ? size : HEAD);
}

size_t room_request_size(void)
{
    return current.request ? current.size : 0;
}

void room_copy_request(void *to)
{
    memcpy(to, current.request, current.size);
    memcpy(to, current.head, current.size < HEAD ? current.size : HEAD);
}

bool room_is_handling(void)
{
    return current.request && current.tries;
}

bool room_changes(enum request_op op)
{
    switch (op) {
    case REQUEST_setattr:
    case REQUEST_mknod:
    case REQUEST_mkdir:
    case REQUEST_unlink:
    case REQUEST_rmdir:
    case REQUEST_symlink:
    case REQUEST_rename:
    case REQUEST_link:
    case REQUEST_write:
    case REQUEST_setxattr:
    case REQUEST_removexattr:
    case REQUEST_create:
    case REQUEST_fallocate:
    case REQUEST_copy_file_range:
        return true;
    default:
        return false;
    }
}

/* Writes of cached pages, and direct ones, may be background to the kernel. */
static bool is_background(const void *request, size_t size)
{
    struct fuse_in_header head;
    struct fuse_write_in in;
    if (size < sizeof head + sizeof in)
        return false;
    memcpy(&head, request, sizeof head);
    memcpy(&in, (const char *)request + sizeof head, sizeof in);
    return head.opcode == FUSE_WRITE && (in.write_flags & FUSE_WRITE_CACHE || in.flags & O_DIRECT);
}

/* What the change needs, which may be more than its request has. */
static size_t bytes_needed(const struct aside *a)
{
    struct fuse_in_header head;
    struct fuse_copy_file_range_in in;
    if (a->size < sizeof head + sizeof in)
        return a->size;
    memcpy(&head, a->request, sizeof head);
    memcpy(&in, a->request + sizeof head, sizeof in);
    if (head.opcode != FUSE_COPY_FILE_RANGE)
        return a->size;
    return in.len < COPY_MAX ? (size_t)in.len : COPY_MAX;
}

/* ---- folders' locks ----------------------------------------------------------- */

static int64_t mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static bool is_trusted(const struct session *session, uid_t uid)
{
    return uid == 0 || uid == session->uid;
}

static bool is_folder(const struct session *session, fuse_ino_t ino)
{
    struct eng_attr attr;
    return eng_getattr(session->eng, ino, &attr) == 0 && S_ISDIR(attr.mode);
}

/* Whether the kernel has a folder's lock while that waits, which takes nothing away. */
static bool holds_folder(const struct session *session, enum request_op op, fuse_ino_t ino)
{
    switch (op) {
    case REQUEST_mknod:
    case REQUEST_mkdir:
    case REQUEST_symlink:
    case REQUEST_rename:
    case REQUEST_link:
    case REQUEST_create:
        return true;
    case REQUEST_setattr:
    case REQUEST_setxattr:
        return is_folder(session, ino);
    default:
        return false;
    }
}

/* What a request keeps others from while it waits: those of room->clocks that count it. None: nothing. */
struct kept {
    unsigned n, clocks[3];
};

static struct kept kept_by(const struct session *session, fuse_req_t req, enum request_op op)
{
    struct fuse_in_header head;
    struct fuse_rename_in rename;
    memcpy(&head, current.head, sizeof head);
    if (is_trusted(session, fuse_req_ctx(req)->uid) || !holds_folder(session, op, head.nodeid))
        return (struct kept){0};
    struct kept kept = {1, {(unsigned)(head.nodeid % FOLDER_CLOCKS)}};
    if (op != REQUEST_rename || current.size < sizeof head + sizeof rename)
        return kept;
    memcpy(&rename, current.head + sizeof head, sizeof rename);
    if (rename.newdir != head.nodeid) {
        kept.clocks[kept.n++] = (unsigned)(rename.newdir % FOLDER_CLOCKS);
        kept.clocks[kept.n++] = FOLDER_CLOCKS;
    }
    return kept;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Until when the request of this thread may wait; 0: as long as it takes. */
static int64_t end_of_wait(struct room *room, const struct kept *kept, int64_t now)
{
    if (!kept->n)
        return 0;
    int64_t since = current.first ? current.first : now;
    (void)pthread_mutex_lock(&room->lock);
    for (unsigned i = 0; i < kept->n; i++)
        if (room->clocks[kept->clocks[i]])
            since = earlier(since, room->clocks[kept->clocks[i]]);
    (void)pthread_mutex_unlock(&room->lock);
    return since + FOLDER_NS;
}

/* ---- putting aside ------------------------------------------------------------ */

static void *room_main(void *arg);

static struct user **find_user_locked(struct room *room, uid_t uid)
{
    struct user **at = &room->users;
    while (*at && (*at)->uid != uid)
        at = &(*at)->next;
    return at;
}

static bool has_place_locked(struct room *room, const struct aside *a)
{
    if (a->background && room->n_background >= BACKGROUND_MAX)
        return false;
    size_t n = room->n + 1, bytes = room->bytes + a->size;
    if (is_trusted(room->session, a->uid))
        return n <= PUT_ASIDE_MAX && bytes <= BYTES_MAX;
    static const struct user none;
    const struct user *user = *find_user_locked(room, a->uid);
    if (!user)
        user = &none;
    return n <= PUT_ASIDE_MAX / 4 * 3 && bytes <= BYTES_MAX / 4 * 3 && user->n < PUT_ASIDE_MAX / 2 &&
           user->bytes + a->size <= BYTES_MAX / 2;
}

/* False: no memory. */
static bool count_user_locked(struct room *room, const struct aside *a)
{
    struct user **at = find_user_locked(room, a->uid);
    if (!*at) {
        *at = malloc(sizeof **at);
        if (!*at)
            return false;
        **at = (struct user){.uid = a->uid};
    }
    (*at)->n++;
    (*at)->bytes += a->size;
    return true;
}

/* Whether one more may wait; if so, it is counted, and there is a thread. */
static bool admit(struct room *room, const struct aside *a)
{
    (void)pthread_mutex_lock(&room->lock);
    bool ok = !room->ending && has_place_locked(room, a);
    if (ok && !room->has_thread)
        ok = room->has_thread = pthread_create(&room->thread, NULL, room_main, room) == 0;
    ok = ok && count_user_locked(room, a);
    if (ok) {
        room->n++;
        room->bytes += a->size;
        room->n_background += a->background;
    }
    (void)pthread_mutex_unlock(&room->lock);
    return ok;
}

static void leave(struct room *room, const struct aside *a)
{
    (void)pthread_mutex_lock(&room->lock);
    struct user **at = find_user_locked(room, a->uid), *user = *at;
    if (user) {
        user->bytes -= a->size;
        user->n--;
    }
    if (user && !user->n) {
        *at = user->next;
        free(user);
    }
    room->n--;
    room->bytes -= a->size;
    room->n_background -= a->background;
    (void)pthread_mutex_unlock(&room->lock);
}

/* Clocks go only while something is queued: take_all() stops them, and nobody else. */
static void queue(struct room *room, struct aside *a, const struct kept *kept, int64_t now)
{
    (void)pthread_mutex_lock(&room->lock);
    for (unsigned i = 0; i < kept->n; i++)
        if (!room->clocks[kept->clocks[i]])
            room->clocks[kept->clocks[i]] = now;
    if (room->first)
        room->last->next = a;
    else
        room->first = a;
    room->last = a;
    (void)pthread_cond_signal(&room->changed);
    (void)pthread_mutex_unlock(&room->lock);
}

/* As waiter_reply: gives the request back, to be handled anew, or ends it. */
static void release(fuse_req_t req, int result, size_t op, const char *text)
{
    (void)text;
    if (!result) {
        current.interrupted = current.interrupted || fuse_req_interrupted(req);
        if (current.interrupted && waiter_must_stop(req))
            result = -EINTR;
    }
    if (!result) {
        current.released = true;
        fuse_reply_none(req);
        return;
    }
    request_failed(&session_of(req)->stats, (enum request_op)op);
    (void)fuse_reply_err(req, -result);
}

bool room_put_aside(fuse_req_t req, enum request_op op)
{
    struct session *session = session_of(req);
    struct room *room = session->room;
    if (!room || !room_changes(op) || !current.request || current.in_vain || current.tries >= TRIES_MAX)
        return false;
    const uid_t uid = fuse_req_ctx(req)->uid;
    const struct kept kept = kept_by(session, req, op);
    const int64_t now = mono_ns(), end = end_of_wait(room, &kept, now);
    struct aside *a = end && now >= end ? NULL : malloc(sizeof *a + current.size);
    if (!a)
        return false;
    *a = (struct aside){.size = current.size,
                        .uid = is_trusted(session, uid) ? uid : person_of(uid),
                        .background = is_background(current.request, current.size),
                        .interrupted = current.interrupted,
                        .first = current.first ? current.first : now,
                        .tries = current.tries};
    room_copy_request(a->request);
    if (!admit(room, a)) {
        free(a);
        return false;
    }
    a->waiter = waiter_begin(session->waiters, req, release, op);
    if (!a->waiter || (end && !waiter_limit(a->waiter, end, -ENOSPC))) {
        if (a->waiter)
            waiter_abandon(a->waiter);
        leave(room, a);
        free(a);
        return false;
    }
    a->since = request_set_aside();
    if (a->interrupted)
        waiter_watch(a->waiter);
    waiter_ready(a->waiter); /* from here on an interrupt may have answered it */
    queue(room, a, &kept, now);
    return true;
}

/* ---- the thread ------------------------------------------------------------------ */

static void handle(struct room *room, struct aside *a, bool in_vain)
{
    struct fuse_buf buf = {.size = a->size, .mem = a->request};
    current.released = false;
    current.interrupted = a->interrupted;
    leave(room, a);
    waiter_done(a->waiter, 0, NULL);
    if (current.released) {
        room_note_request(a->request, a->size);
        current.tries = a->tries;
        current.first = a->first;
        current.in_vain = in_vain;
        request_again(&a->since);
        fuse_session_process_buf(room->session->fuse, &buf);
        request_again(NULL);
        room_note_request(NULL, 0);
    }
    free(a);
}

/* Waits for the first; *ret_size: what it needs. NULL: the session ends. */
static struct aside *await_first(struct room *room, size_t *ret_size)
{
    (void)pthread_mutex_lock(&room->lock);
    while (!room->first && !room->ending)
        (void)pthread_cond_wait(&room->changed, &room->lock);
    struct aside *first = room->ending ? NULL : room->first;
    *ret_size = first ? bytes_needed(first) : 0;
    if (first)
        first->tries++;
    (void)pthread_mutex_unlock(&room->lock);
    return first;
}

static struct aside *take_all(struct room *room)
{
    (void)pthread_mutex_lock(&room->lock);
    struct aside *all = room->first;
    room->first = room->last = NULL;
    memset(room->clocks, 0, sizeof room->clocks); /* room was made, or cannot be */
    (void)pthread_mutex_unlock(&room->lock);
    return all;
}

static void *room_main(void *arg)
{
    struct room *room = arg;
    size_t size;
    while (await_first(room, &size)) {
        bool in_vain = eng_make_room(room->session->eng, size) != 0;
        for (struct aside *a = take_all(room), *next; a; a = next) {
            next = a->next;
            handle(room, a, in_vain);
        }
    }
    return NULL;
}

/* ---- all of it -------------------------------------------------------------------- */

struct room *room_new(struct session *session)
{
    struct room *room = calloc(1, sizeof *room);
    if (!room)
        return NULL;
    room->session = session;
    (void)pthread_mutex_init(&room->lock, NULL);
    (void)pthread_cond_init(&room->changed, NULL);
    return room;
}

/* The thread may be about to begin a compaction: until it has ended, that is cancelled again. */
static void join_thread(struct room *room)
{
    int r = ETIMEDOUT;
    while (r == ETIMEDOUT) {
        struct timespec end;
        (void)eng_job_cancel(room->session->eng, ENG_JOB_COMPACT);
        (void)clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += CANCEL_AGAIN_NS;
        end.tv_sec += end.tv_nsec / 1000000000;
        end.tv_nsec %= 1000000000;
        r = pthread_timedjoin_np(room->thread, NULL, &end);
    }
}

void room_stop(struct room *room)
{
    (void)pthread_mutex_lock(&room->lock);
    room->ending = true;
    (void)pthread_cond_signal(&room->changed);
    bool has_thread = room->has_thread;
    room->has_thread = false;
    (void)pthread_mutex_unlock(&room->lock);
    if (has_thread)
        join_thread(room);
    for (struct aside *a = take_all(room), *next; a; a = next) {
        next = a->next;
        leave(room, a);
        waiter_done(a->waiter, -EINTR, NULL);
        free(a);
    }
}

void room_free(struct room *room)
{
    if (!room)
        return;
    room_stop(room);
    (void)pthread_cond_destroy(&room->changed);
    (void)pthread_mutex_destroy(&room->lock);
    free(room);
}
