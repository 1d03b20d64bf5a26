/*
 * digests.c - the digests of contents, and the thread that computes them.
 *
 * A digest of a large file takes seconds, and anybody who may read the file may ask for it, again and again.
 * So no thread of the session does more for it than for a read; one thread does the rest, and gives the
 * users turns, so that nobody waits for all that another one asked for. What may wait is bounded, for each
 * user and for all. An interrupt answers a waiter at once (waiters.h); its digest ends with the step that is
 * under way, or is dropped when its turn comes or its place is needed.
 *
 * digests->lock is a leaf: neither the engine nor FUSE nor the waiters are called under it. */
#include "digests.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "persons.h"
#include "reply.h"
#include "waiters.h"

/* In the thread of the request: so many steps of so many bytes, together a large read. */
enum { NOW_STEPS = 8, NOW_STEP = 128 << 10 };
/* In the thread of the digests: steps of so many bytes, and how long a user's turn is. */
enum { STEP = 1 << 20 };
#define TURN_NS INT64_C(20000000)
/* ASKS_MAX wait, of all; of them only root and whoever mounted get the last ASKS_KEPT, and others
 * ASKS_OF_USER each. */
enum { ASKS_MAX = 1024, ASKS_KEPT = 256, ASKS_OF_USER = 128 };
enum { KNOWN = 4096 };

struct known {
    uint64_t ino; /* 0: empty */
    enum eng_digest_kind kind;
    struct eng_digest_value value;
};

/* One who waits. Its digest belongs to the thread. */
struct ask {
    struct ask *next; /* protected by digests->lock */
    struct waiter *waiter;
    uint64_t ino;
    enum eng_digest_kind kind;
    struct eng_digest *digest;
    struct past past;  /* .view NULL: of the store as it is */
    digest_then *then; /* NULL: the waiter is answered with its text */
    void *arg;
};

struct asker {
    struct asker *next; /* protected by digests->lock, as all that follows */
    uid_t uid;
    size_t n;
    struct ask *first, *last;
};

struct digests {
    struct session *session; /* immutable */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct asker *users; /* in the order of their turns. protected by lock, as all that follows */
    size_t n;
    struct ask *at_work; /* what the thread is at, which no other may drop */
    bool has_thread, ending;
    pthread_t thread;
    struct known known[KNOWN];
};

static int64_t mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- what is known --------------------------------------------------------- */

static struct known *known_at(struct digests *d, uint64_t ino, enum eng_digest_kind kind)
{
    return &d->known[(ino ^ ino >> 12 ^ (uint64_t)kind << 6) % KNOWN];
}

static bool is_known(struct digests *d, uint64_t ino, enum eng_digest_kind kind, uint64_t version,
                     struct eng_digest_value *ret_value)
{
    (void)pthread_mutex_lock(&d->lock);
    const struct known *k = known_at(d, ino, kind);
    bool hit = k->ino == ino && k->kind == kind && k->value.version == version;
    if (hit)
        *ret_value = k->value;
    (void)pthread_mutex_unlock(&d->lock);
    return hit;
}

static void know(struct digests *d, uint64_t ino, enum eng_digest_kind kind,
                 const struct eng_digest_value *value)
{
    (void)pthread_mutex_lock(&d->lock);
    *known_at(d, ino, kind) = (struct known){.ino = ino, .kind = kind, .value = *value};
    (void)pthread_mutex_unlock(&d->lock);
}

/* ---- answers ----------------------------------------------------------------- */

static void to_hex(const struct eng_digest_value *value, char text[2 * ENG_DIGEST_MAX + 1])
{
    *text = '\0';
    for (uint32_t i = 0; i < value->size; i++)
        (void)snprintf(text + (size_t)2 * i, 3, "%02x", value->bytes[i]);
}

/* How long its text is, which is known without it. */
static size_t length_of(enum eng_digest_kind kind)
{
    return kind == ENG_DIGEST_SHA256 ? 64 : 16;
}

static void reply_digest(fuse_req_t req, int result, size_t size, const char *text)
{
    if (result < 0 || !text)
        reply_err(req, REQUEST_getxattr, result < 0 ? result : -EIO);
    else
        reply_xattr(req, REQUEST_getxattr, text, strlen(text), size);
}

/* ---- of what ----------------------------------------------------------------- */

/* A version of an inode is one content, whichever view shows it: so what is known of one is known of all. */
static int look(struct eng *eng, const struct past *past, uint64_t ino, struct eng_attr *ret_attr)
{
    return past->view ? eng_view_getattr(past->view, ino, ret_attr) : eng_getattr(eng, ino, ret_attr);
}

static int begin(struct eng *eng, const struct past *past, uint64_t ino, enum eng_digest_kind kind,
                 struct eng_digest **ret_digest)
{
    return past->view ? eng_view_digest_begin(past->view, ino, kind, ret_digest)
                      : eng_digest_begin(eng, ino, kind, ret_digest);
}

static void end(const struct past *take_past, struct eng_digest *take_digest)
{
    eng_digest_end(take_digest);
    if (take_past->view)
        ctl_views_put(take_past->views, take_past);
}

/* The ask has ended: with `result`, and the value if that is 0. */
static void finish(struct ask *ask, int result, const struct eng_digest_value *value)
{
    char text[2 * ENG_DIGEST_MAX + 1] = "";
    if (!result)
        to_hex(value, text);
    if (!ask->then)
        waiter_done(ask->waiter, result, text);
    end(&ask->past, ask->digest);
    if (ask->then)
        ask->then(ask->arg, result, value);
    free(ask);
}

/* ---- who waits ----------------------------------------------------------------- */

static void unlink_user_locked(struct digests *d, struct asker *user)
{
    struct asker **at = &d->users;
    while (*at != user)
        at = &(*at)->next;
    *at = user->next;
}

static void append_user_locked(struct digests *d, struct asker *user)
{
    struct asker **at = &d->users;
    while (*at)
        at = &(*at)->next;
    *at = user;
    user->next = NULL;
}

/* Takes those out of the user's queue that nobody waits for any more, or all; adds them to *dropped. The
 * caller looks whether the user has any left. */
static void drop_locked(struct digests *d, struct asker *user, bool all, struct ask **dropped)
{
    struct ask *ask = user->first;
    user->first = user->last = NULL;
    while (ask) {
        struct ask *next = ask->next;
        ask->next = NULL;
        if (ask != d->at_work && (all || waiter_is_gone(ask->waiter))) {
            ask->next = *dropped;
            *dropped = ask;
            user->n--;
            d->n--;
        } else {
            if (user->last)
                user->last->next = ask;
            else
                user->first = ask;
            user->last = ask;
        }
        ask = next;
    }
}

static void drop_all_locked(struct digests *d, bool all, struct ask **dropped)
{
    for (struct asker *user = d->users, *next; user; user = next) {
        next = user->next;
        drop_locked(d, user, all, dropped);
        if (user->n == 0) {
            unlink_user_locked(d, user);
            free(user);
        }
    }
}

static void finish_all(struct ask *asks)
{
    while (asks) {
        struct ask *ask = asks;
        asks = ask->next;
        finish(ask, -EINTR, NULL);
    }
}

static bool has_room_locked(const struct digests *d, uid_t uid)
{
    if (uid == 0 || uid == d->session->uid)
        return d->n < ASKS_MAX;
    const struct asker *user = d->users;
    while (user && user->uid != uid)
        user = user->next;
    return d->n < ASKS_MAX - ASKS_KEPT && (!user || user->n < ASKS_OF_USER);
}

/* ---- the thread ------------------------------------------------------------------ */

/* A turn of one who waits: 1 if there is more to do, else how it ended. */
static int work(struct digests *d, struct ask *ask, void *buf, struct eng_digest_value *ret_value)
{
    struct eng *eng = d->session->eng;
    struct eng_attr attr;
    int r = look(eng, &ask->past, ask->ino, &attr);
    if (r ||
        is_known(d, ask->ino, ask->kind, attr.version, ret_value)) /* another one has asked for it, too */
        return r;
    if (!ask->digest)
        r = begin(eng, &ask->past, ask->ino, ask->kind, &ask->digest);
    if (r)
        return r;
    int64_t end = mono_ns() + TURN_NS;
    do
        r = waiter_is_gone(ask->waiter) ? -EINTR : eng_digest_step(ask->digest, buf, STEP, ret_value);
    while (r > 0 && mono_ns() < end);
    if (!r)
        know(d, ask->ino, ask->kind, ret_value);
    return r;
}

/* After its turn: the user goes to the end; the ask goes, if it has ended. */
static void after_turn_locked(struct digests *d, struct asker *user, bool ended)
{
    d->at_work = NULL;
    unlink_user_locked(d, user);
    if (ended) {
        user->first = user->first->next;
        if (!user->first)
            user->last = NULL;
        user->n--;
        d->n--;
    }
    if (user->n)
        append_user_locked(d, user);
    else
        free(user);
}

static void *digests_main(void *arg)
{
    struct digests *d = arg;
    struct ask *left = NULL;
    void *buf = malloc(STEP);
    (void)pthread_mutex_lock(&d->lock);
    for (;;) {
        while (!d->ending && !d->users)
            (void)pthread_cond_wait(&d->changed, &d->lock);
        if (d->ending)
            break;
        struct asker *user = d->users; /* it stays, since it has an ask at work */
        struct ask *ask = d->at_work = user->first;
        struct eng_digest_value value;
        (void)pthread_mutex_unlock(&d->lock);
        int r = buf ? work(d, ask, buf, &value) : -ENOMEM;
        (void)pthread_mutex_lock(&d->lock);
        after_turn_locked(d, user, r <= 0);
        if (r > 0)
            continue;
        (void)pthread_mutex_unlock(&d->lock);
        finish(ask, r, &value);
        (void)pthread_mutex_lock(&d->lock);
    }
    drop_all_locked(d, true, &left);
    (void)pthread_mutex_unlock(&d->lock);
    finish_all(left);
    free(buf);
    return NULL;
}

/* ---- requests -------------------------------------------------------------------- */

/* Queues the ask; -EAGAIN: too many wait. */
static int queue(struct digests *d, uid_t uid, struct ask *ask)
{
    struct ask *dropped = NULL;
    struct asker *spare = malloc(sizeof *spare);
    if (!spare)
        return -ENOMEM;
    (void)pthread_mutex_lock(&d->lock);
    if (!has_room_locked(d, uid))
        drop_all_locked(d, false, &dropped);
    int r = has_room_locked(d, uid) ? 0 : -EAGAIN;
    if (!r && !d->has_thread) {
        r = -pthread_create(&d->thread, NULL, digests_main, d);
        d->has_thread = !r;
    }
    if (!r) {
        struct asker *user = d->users;
        while (user && user->uid != uid)
            user = user->next;
        if (!user) {
            user = spare;
            spare = NULL;
            *user = (struct asker){.uid = uid};
            append_user_locked(d, user);
        }
        if (user->last)
            user->last->next = ask;
        else
            user->first = ask;
        user->last = ask;
        user->n++;
        d->n++;
        (void)pthread_cond_signal(&d->changed);
    }
    (void)pthread_mutex_unlock(&d->lock);
    free(spare);
    finish_all(dropped);
    return r;
}

/* Leaves a digest that was begun, and its view, to the thread. */
static int answer_later(fuse_req_t req, const struct past *past, uint64_t ino, enum eng_digest_kind kind,
                        size_t size, struct eng_digest *digest)
{
    struct session *session = session_of(req);
    struct ask *ask = malloc(sizeof *ask);
    struct waiter *waiter = ask ? waiter_begin(session->waiters, req, reply_digest, size) : NULL;
    int r = waiter ? 0 : -ENOMEM;
    if (!r) {
        *ask = (struct ask){.waiter = waiter, .ino = ino, .kind = kind, .digest = digest, .past = *past};
        uid_t uid = fuse_req_ctx(req)->uid;
        r = queue(session->digests, uid == session->uid ? uid : person_of(uid), ask);
        if (r)
            waiter_abandon(waiter);
    }
    if (r)
        free(ask);
    else
        waiter_ready(waiter);
    return r;
}

/* Some steps; 1: there is more to do. */
static int some_steps(struct digests *d, const struct past *past, uint64_t ino, enum eng_digest_kind kind,
                      struct eng_digest_value *ret_value, struct eng_digest **ret_digest)
{
    void *buf = reply_buffer(NOW_STEP);
    int r = buf ? begin(d->session->eng, past, ino, kind, ret_digest) : -ENOMEM, more = !r;
    for (unsigned step = 0; step < NOW_STEPS && more > 0; step++)
        r = more = eng_digest_step(*ret_digest, buf, NOW_STEP, ret_value);
    if (!r)
        know(d, ino, kind, ret_value);
    return r;
}

int digest_now(struct session *session, fuse_ino_t ino, enum eng_digest_kind kind,
               struct eng_digest_value *ret_value, struct eng_digest **ret_digest)
{
    static const struct past none;
    struct digests *d = session->digests;
    struct eng_digest *digest = NULL;
    struct eng_attr attr;
    int r = eng_getattr(session->eng, ino, &attr);
    if (r || is_known(d, ino, kind, attr.version, ret_value))
        return r;
    r = some_steps(d, &none, ino, kind, ret_value, &digest);
    if (r > 0)
        *ret_digest = digest;
    else
        eng_digest_end(digest);
    return r;
}

int digest_later(struct session *session, uid_t uid, struct waiter *waiter, fuse_ino_t ino,
                 enum eng_digest_kind kind, struct eng_digest *take_digest, digest_then *then, void *arg)
{
    struct ask *ask = malloc(sizeof *ask);
    int r = ask ? 0 : -ENOMEM;
    if (!r) {
        *ask = (struct ask){
            .waiter = waiter, .ino = ino, .kind = kind, .digest = take_digest, .then = then, .arg = arg};
        r = queue(session->digests, uid == session->uid ? uid : person_of(uid), ask);
    }
    if (r) {
        eng_digest_end(take_digest);
        free(ask);
    }
    return r;
}

void digest_request(fuse_req_t req, const struct past *past, const struct eng_attr *attr,
                    enum eng_digest_kind kind, size_t size)
{
    static const struct past none;
    struct digests *d = session_of(req)->digests;
    struct eng_digest_value value;
    struct eng_digest *digest = NULL;
    int r = 0;
    past = past ? past : &none;
    if (size < length_of(kind)) {
        reply_xattr(req, REQUEST_getxattr, "", length_of(kind), size);
        end(past, NULL);
        return;
    }
    if (!is_known(d, attr->ino, kind, attr->version, &value)) {
        r = some_steps(d, past, attr->ino, kind, &value, &digest);
        if (r > 0) {
            r = answer_later(req, past, attr->ino, kind, size, digest);
            if (!r)
                return;
        }
    }
    end(past, digest);
    char text[2 * ENG_DIGEST_MAX + 1] = "";
    if (!r)
        to_hex(&value, text);
    reply_digest(req, r, size, text);
}

struct digests *digests_new(struct session *session)
{
    struct digests *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->session = session;
    (void)pthread_mutex_init(&d->lock, NULL);
    (void)pthread_cond_init(&d->changed, NULL);
    return d;
}

void digests_stop(struct digests *d)
{
    (void)pthread_mutex_lock(&d->lock);
    d->ending = true;
    (void)pthread_cond_signal(&d->changed);
    bool has_thread = d->has_thread;
    d->has_thread = false;
    (void)pthread_mutex_unlock(&d->lock);
    if (has_thread)
        (void)pthread_join(d->thread, NULL);
}

void digests_free(struct digests *d)
{
    if (!d)
        return;
    digests_stop(d);
    (void)pthread_cond_destroy(&d->changed);
    (void)pthread_mutex_destroy(&d->lock);
    free(d);
}
