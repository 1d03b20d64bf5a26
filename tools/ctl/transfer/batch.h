/*
 * batch.h - collects records for a target and puts them in large groups.
 *
 * Everything a record points to lives in batch_pool(), which the batch
 * empties in batch_begin(), never while the caller is still building a record.
 *
 * Where the target allows it a full group is put by a thread while the caller fills
 * the other one. Groups are put in order, one at a time; the caller's own calls are one thread's. */
#ifndef ENGRAMCTL_BATCH_H
#define ENGRAMCTL_BATCH_H

#include "ctl/transfer/sink.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BATCH_RECORDS 512
#define BATCH_BYTES ((size_t)4 << 20)
#define BATCH_SLOTS 2048 /* of the set of pending names; a power of two, at least twice the records */
/* Contents above this are written in parts, with batch_put_streamed(). */
#define BATCH_CONTENT_MAX ((size_t)8 << 20)

/* What is put at once. */
struct batch_group {
    struct pool pool;
    struct eng_record records[BATCH_RECORDS];
    uint64_t tags[BATCH_RECORDS]; /* the caller's, handed to `failed` and `put` */
    uint64_t inos[BATCH_RECORDS]; /* what put() has told */
    size_t n, bytes;
    struct {
        uint32_t epoch; /* of the group it belongs to; another one: free */
        uint32_t record;
    } pending[BATCH_SLOTS];
    uint32_t epoch;
    ssize_t put_result;
};

struct batch {
    struct target *t;
    struct batch_group groups[2], *group; /* the one that is being filled */
    struct batch_group *in_flight;        /* given to the thread and not taken back; NULL: none */
    uint64_t stored, stored_bytes;
    /* Called for each record that was refused. */
    void (*failed)(void *arg, const struct eng_record *rec, uint64_t tag, int error);
    /* Called for each record that was put, with its inode (0: as of put() of struct target_ops). NULL: nobody
     * asks. -ENOMEM is fatal. */
    int (*put)(void *arg, const struct eng_record *rec, uint64_t tag, uint64_t ino);
    void *arg;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct batch_group *work; /* protected by lock: to be put; NULL: done */
    bool stop;                /* protected by lock */
};

struct batch *batch_new(struct target *t, void (*failed)(void *, const struct eng_record *, uint64_t, int),
                        void *arg);
void batch_free(struct batch *b);

/* To be called before a record is built: nothing built earlier is in use any more, unless it is pending. */
void batch_begin(struct batch *b);
/* For what the record being built points to; asked for anew for each record. */
struct pool *batch_pool(struct batch *b);
/* Takes a record over, and puts the group when there are enough then. An error, also of the group before,
 * is fatal: nothing more will succeed. */
int batch_add(struct batch *b, const struct eng_record *rec, uint64_t tag);
/* All that was added is in the target, or was refused, when this returns. */
int batch_flush(struct batch *b);
/* Whether this name waits in the batch, so that a lookup just before may not have found it yet. */
bool batch_pending(const struct batch *b, tdir dir, const char *name);

/*
 * Puts a record (after all pending ones) whose content `write` gives to a sink, to the end (sink_end()). The
 * record's own error, not fatal ones only. `over`: as of sink_open(). */
int batch_put_streamed(struct batch *b, struct eng_record *rec, bool over,
                       int (*write)(void *arg, struct sink *sink), void *arg, uint64_t *ret_ino);

#endif
