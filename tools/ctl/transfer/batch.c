/*
 * batch.c - groups of records for a target. State: struct batch, used by one thread.
 *
 * A store takes records and answers look-ups at once, so a thread puts one group while the caller builds the
 * next: parsing and storing overlap. The thread is started with the first full group, so that what is
 * small has none. A group is given away only when its last record is complete, and is looked at again only
 * when it was taken back (take_back); its set of pending names does not change in between, so that a name is
 * either still pending or can be looked up. */
#include "ctl/transfer/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(BATCH_SLOTS >= 2 * BATCH_RECORDS && (BATCH_SLOTS & (BATCH_SLOTS - 1)) == 0, "pending set");

/* ---- the thread ------------------------------------------------------------ */

static void put(struct batch *b, struct batch_group *g)
{
    g->put_result = b->t->ops->put(b->t, g->records, g->n, g->inos);
}

static void *putter(void *arg)
{
    struct batch *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->stop || b->work) {
        struct batch_group *g = b->work;
        if (!g) {
            pthread_cond_wait(&b->changed, &b->lock);
            continue;
        }
        pthread_mutex_unlock(&b->lock);
        put(b, g);
        pthread_mutex_lock(&b->lock);
        b->work = NULL;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static bool have_thread(struct batch *b)
{
    if (!b->has_thread && b->t->kind == TARGET_STORE)
        b->has_thread = pthread_create(&b->thread, NULL, putter, b) == 0;
    return b->has_thread;
}

struct batch *batch_new(struct target *t, void (*failed)(void *, const struct eng_record *, uint64_t, int),
                        void *arg)
{
    struct batch *b = calloc(1, sizeof *b);
    if (b) {
        b->t = t;
        b->group = &b->groups[0];
        b->groups[0].epoch = b->groups[1].epoch = 1;
        b->failed = failed;
        b->arg = arg;
        pthread_mutex_init(&b->lock, NULL);
        pthread_cond_init(&b->changed, NULL);
    }
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    if (b->has_thread)
        (void)pthread_join(b->thread, NULL);
    pthread_cond_destroy(&b->changed);
    pthread_mutex_destroy(&b->lock);
    pool_done(&b->groups[0].pool);
    pool_done(&b->groups[1].pool);
    free(b);
}

void batch_begin(struct batch *b)
{
    if (b->group->n == 0)
        pool_reset(&b->group->pool);
}

struct pool *batch_pool(struct batch *b)
{
    return &b->group->pool;
}

/* ---- pending names ---------------------------------------------------------- */

/* The slot of a name: its own, or the free one where it belongs. */
static size_t slot_of(const struct batch_group *g, tdir dir, const char *name)
{
    size_t i = XXH3_64bits_withSeed(name, strlen(name), dir) & (BATCH_SLOTS - 1);
    while (g->pending[i].epoch == g->epoch) {
        const struct eng_record *r = &g->records[g->pending[i].record];
        if (r->parent == dir && !strcmp(r->name, name))
            break;
        i = (i + 1) & (BATCH_SLOTS - 1);
    }
    return i;
}

static bool group_has(const struct batch_group *g, tdir dir, const char *name)
{
    return g && g->n > 0 && g->pending[slot_of(g, dir, name)].epoch == g->epoch;
}

bool batch_pending(const struct batch *b, tdir dir, const char *name)
{
    return group_has(b->group, dir, name) || group_has(b->in_flight, dir, name);
}

static void forget_pending(struct batch_group *g)
{
    g->n = g->bytes = 0;
    if (++g->epoch == 0) { /* after 4 billion groups old marks would come alive */
        memset(g->pending, 0, sizeof g->pending);
        g->epoch = 1;
    }
}

/* ---- putting ----------------------------------------------------------------- */

/* Counts and reports what became of the records of a group; a negative errno is fatal. */
static int conclude(struct batch *b, struct batch_group *g)
{
    int fatal = 0;
    for (size_t i = 0; i < g->n && g->put_result >= 0; i++) {
        int e = g->records[i].result;
        if (e == 0) {
            b->stored++;
            b->stored_bytes += g->records[i].size;
            e = b->put ? b->put(b->arg, &g->records[i], g->tags[i], g->inos[i]) : 0;
            fatal = e < 0 ? e : fatal;
            continue;
        }
        if (target_error_is_fatal(b->t, e))
            fatal = e;
        else
            b->failed(b->arg, &g->records[i], g->tags[i], e);
    }
    forget_pending(g);
    return g->put_result < 0 ? (int)g->put_result : fatal;
}

/* Waits for the group that the thread has, if any. */
static int take_back(struct batch *b)
{
    struct batch_group *g = b->in_flight;
    if (!g)
        return 0;
    pthread_mutex_lock(&b->lock);
    while (b->work)
        pthread_cond_wait(&b->changed, &b->lock);
    pthread_mutex_unlock(&b->lock);
    b->in_flight = NULL;
    return conclude(b, g);
}

int batch_flush(struct batch *b)
{
    int r = take_back(b);
    if (r < 0 || b->group->n == 0)
        return r;
    b->t->wrote = true;
    put(b, b->group);
    return conclude(b, b->group);
}

/* Puts the group that is being filled; nobody builds a record. */
static int batch_submit(struct batch *b)
{
    if (!have_thread(b))
        return batch_flush(b);
    int r = take_back(b);
    if (r < 0)
        return r;
    b->t->wrote = true;
    b->in_flight = b->group;
    b->group = b->group == &b->groups[0] ? &b->groups[1] : &b->groups[0];
    pthread_mutex_lock(&b->lock);
    b->work = b->in_flight;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    return 0;
}

int batch_add(struct batch *b, const struct eng_record *rec, uint64_t tag)
{
    size_t bytes = rec->size + 256;
    for (size_t i = 0; i < rec->n_xattrs; i++)
        bytes += rec->xattrs[i].size;
    /* Of two records for one name the later one must win, so they never share a group. The record is in this
     * group's pool: it stays the one that is filled. */
    struct batch_group *g = b->group;
    int r = group_has(g, rec->parent, rec->name) ? batch_flush(b) : 0;
    if (r < 0)
        return r;
    size_t slot = slot_of(g, rec->parent, rec->name);
    g->records[g->n] = *rec;
    g->tags[g->n] = tag;
    g->pending[slot].epoch = g->epoch;
    g->pending[slot].record = (uint32_t)g->n;
    g->n++;
    g->bytes += bytes;
    /* Not before the next one is added: only with nothing pending can batch_begin() empty the pool. */
    return g->n == BATCH_RECORDS || g->bytes >= BATCH_BYTES ? batch_submit(b) : 0;
}

int batch_put_streamed(struct batch *b, struct eng_record *rec, bool over,
                       int (*write)(void *arg, struct sink *sink), void *arg, uint64_t *ret_ino)
{
    struct sink sink;
    int r = batch_flush(b);
    if (r < 0)
        return r;
    b->t->wrote = true;
    r = sink_open(&sink, b->t, rec, over);
    if (!r)
        r = write(arg, &sink);
    r = sink_close(&sink, r);
    if (!r)
        *ret_ino = sink.has_file ? sink.file.ino : sink.have.ino;
    b->stored += !r;
    return r;
}
