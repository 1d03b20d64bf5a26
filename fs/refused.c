/* refused.c - see refused.h. Its lock is a leaf. */
#include "refused.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "messages.h"

/* Lines in the log, in so many seconds. */
enum { LINES = 10, LINES_SECONDS = 60 };

struct refused {
    pthread_mutex_t lock;
    struct refused_one *ring; /* protected by lock, as all that follows */
    uint64_t total;
    time_t since; /* when the first of `lines` was written */
    unsigned lines;
    uint64_t unlogged;
};

struct refused *refused_new(void)
{
    struct refused *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    r->ring = calloc(REFUSED_KEPT, sizeof *r->ring);
    if (!r->ring) {
        free(r);
        return NULL;
    }
    (void)pthread_mutex_init(&r->lock, NULL);
    return r;
}

void refused_free(struct refused *r)
{
    if (!r)
        return;
    free(r->ring);
    (void)pthread_mutex_destroy(&r->lock);
    free(r);
}

/* Whether this one has a line; *ret_unlogged: how many before it had none. */
static bool may_log_locked(struct refused *r, uint64_t *ret_unlogged)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (!r->lines || now.tv_sec - r->since >= LINES_SECONDS) {
        r->since = now.tv_sec;
        r->lines = 0;
    }
    if (r->lines == LINES) {
        r->unlogged++;
        return false;
    }
    r->lines++;
    *ret_unlogged = r->unlogged;
    r->unlogged = 0;
    return true;
}

static void log_one(const struct refused_one *one, uint64_t unlogged)
{
    char saw[48] = "another file of that name", by[64] = "", more[64] = "";
    if (one->seen)
        (void)snprintf(saw, sizeof saw, "version %" PRIu64, one->seen);
    if (one->has_writer)
        (void)snprintf(by, sizeof by, ", by %.16s (process %d, uid %u)", one->writer.name,
                       (int)one->writer.pid, (unsigned)one->writer.uid);
    if (unlogged)
        (void)snprintf(more, sizeof more, "; %" PRIu64 " more were refused before", unlogged);
    messages_line(ENG_LOG_WARNING,
                  "conflict: %s by %.16s (process %d, uid %u) was refused: it saw %s, and there is version "
                  "%" PRIu64 "%s%s: %.600s",
                  one->what, one->who.name, (int)one->who.pid, (unsigned)one->who.uid, saw, one->version, by,
                  more, one->path);
}

void refused_add(struct refused *r, const struct refused_one *one)
{
    uint64_t unlogged = 0;
    (void)pthread_mutex_lock(&r->lock);
    r->ring[r->total++ % REFUSED_KEPT] = *one;
    bool log = may_log_locked(r, &unlogged);
    (void)pthread_mutex_unlock(&r->lock);
    if (log)
        log_one(one, unlogged);
}

uint64_t refused_total(struct refused *r)
{
    (void)pthread_mutex_lock(&r->lock);
    uint64_t total = r->total;
    (void)pthread_mutex_unlock(&r->lock);
    return total;
}

bool refused_get(struct refused *r, uint64_t n, struct refused_one *ret_one)
{
    (void)pthread_mutex_lock(&r->lock);
    bool kept = n && n <= r->total && r->total - n < REFUSED_KEPT;
    if (kept)
        *ret_one = r->ring[(n - 1) % REFUSED_KEPT];
    (void)pthread_mutex_unlock(&r->lock);
    return kept;
}
