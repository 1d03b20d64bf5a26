/*
 * batch.c - groups of records for a target. State: struct batch, one thread.
 */
#include "batch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(BATCH_SLOTS >= 2 * BATCH_RECORDS && (BATCH_SLOTS & (BATCH_SLOTS - 1)) == 0, "pending set");

struct batch *batch_new(struct target *t, void (*failed)(void *, const struct eng_record *, uint64_t, int),
                        void *arg)
{
    struct batch *b = calloc(1, sizeof *b);
    if (b) {
        b->t = t;
        b->epoch = 1;
        b->failed = failed;
        b->arg = arg;
    }
    return b;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    pool_done(&b->pool);
    free(b);
}

void batch_begin(struct batch *b)
{
    if (b->n == 0)
        pool_reset(&b->pool);
}

/* The slot of a name: its own, or the free one where it belongs. */
static size_t slot_of(const struct batch *b, tdir dir, const char *name)
{
    size_t i = XXH3_64bits_withSeed(name, strlen(name), dir) & (BATCH_SLOTS - 1);
    while (b->pending[i].epoch == b->epoch) {
        const struct eng_record *r = &b->records[b->pending[i].record];
        if (r->parent == dir && !strcmp(r->name, name))
            break;
        i = (i + 1) & (BATCH_SLOTS - 1);
    }
    return i;
}

bool batch_pending(const struct batch *b, tdir dir, const char *name)
{
    return b->n > 0 && b->pending[slot_of(b, dir, name)].epoch == b->epoch;
}

static void forget_pending(struct batch *b)
{
    b->n = b->bytes = 0;
    if (++b->epoch == 0) { /* after 4 billion batches old marks would come alive */
        memset(b->pending, 0, sizeof b->pending);
        b->epoch = 1;
    }
}

int batch_flush(struct batch *b)
{
    int fatal = 0;
    if (b->n == 0)
        return 0;
    b->t->wrote = true;
    ssize_t r = b->t->ops->put(b->t, b->records, b->n);
    for (size_t i = 0; i < b->n && r >= 0; i++) {
        int e = b->records[i].result;
        if (e == 0) {
            b->stored++;
            b->stored_bytes += b->records[i].size;
            continue;
        }
        if (target_error_is_fatal(e))
            fatal = e;
        else
            b->failed(b->arg, &b->records[i], b->tags[i], e);
    }
    forget_pending(b);
    return r < 0 ? (int)r : fatal;
}

int batch_add(struct batch *b, const struct eng_record *rec, uint64_t tag)
{
    size_t bytes = rec->size + 256;
    for (size_t i = 0; i < rec->n_xattrs; i++)
        bytes += rec->xattrs[i].size;
    /* Of two records for one name the later one must win, so they never share a batch. */
    int r = batch_pending(b, rec->parent, rec->name) ? batch_flush(b) : 0;
    if (r < 0)
        return r;
    size_t slot = slot_of(b, rec->parent, rec->name);
    b->records[b->n] = *rec;
    b->tags[b->n] = tag;
    b->pending[slot].epoch = b->epoch;
    b->pending[slot].record = (uint32_t)b->n;
    b->n++;
    b->bytes += bytes;
    /* Not before the next one is added: only with nothing pending can batch_begin() empty the pool. */
    return b->n == BATCH_RECORDS || b->bytes >= BATCH_BYTES ? batch_flush(b) : 0;
}

int batch_put_streamed(struct batch *b, struct eng_record *rec,
                       int (*write)(void *arg, struct target *t, struct target_file *f), void *arg)
{
    struct target *t = b->t;
    struct target_attr attr;
    struct target_file f;
    int64_t mtime = rec->mtime;
    int r = batch_flush(b);
    if (r < 0)
        return r;
    t->wrote = true;
    rec->content = "";
    rec->size = 0;
    ssize_t n = t->ops->put(t, rec, 1);
    r = n < 0 ? (int)n : rec->result;
    if (r == 0)
        r = t->ops->lookup(t, rec->parent, rec->name, &attr);
    if (r == 0)
        r = t->ops->open(t, rec->parent, rec->name, &attr, true, &f);
    if (r < 0)
        return r;
    r = write(arg, t, &f);
    int c = t->ops->close(t, &f);
    if (r == 0)
        r = c;
    if (r == 0 && mtime != TARGET_NOW) {
        attr.mtime = attr.atime = mtime;
        r = t->ops->setattr(t, rec->parent, rec->name, &attr, ENG_SET_MTIME | ENG_SET_ATIME);
    }
    b->stored += r == 0;
    return r;
}
