/*
 * echo.h - the second copy of what the log says since the newest checkpoint: for each batch its header and
 * its ops, not its content, with the place that it has in the log. Written to files of its own,
 * eXXXXXXXX.log, from what was appended, not from what a segment has.
 *
 * A batch comes here once it is durable in its segment, so that a record tells that its batch was; and the
 * record becomes durable some time later (echo_sync()), so that no fsync waits for it. Whatever fails here
 * costs the second copy of some batches and nothing else: `lacks` says up to which one, and the next
 * checkpoint, which has them twice, makes it good.
 *
 * Locking: `pending` belongs to log->lock. echo.lock, held across writes, protects the files; ready_lock, a
 * leaf, the records that wait to be written. */
#ifndef ENGRAMFS_ECHO_H
#define ENGRAMFS_ECHO_H

#include "disk/codec.h"
#include "disk/io.h"

#include <pthread.h>

#define ECHO_NAME_SIZE 16u                       /* bytes, with the NUL */
#define ECHO_FILE_BYTES (UINT64_C(64) << 20)     /* a file that has as much ends */
#define ECHO_PENDING_MAX (UINT64_C(64) << 20)    /* of records in memory; what comes on top is left out */
#define ECHO_PENDING_MANY (ECHO_PENDING_MAX / 8) /* a flush should come */

#define ECHO_MAGIC UINT64_C(0x3130484345474e45) /* "ENGECH01" */
struct echo_header {
    uint64_t magic;
    uint64_t store; /* superblock_tag() */
    uint64_t id;
    int64_t created;
    uint64_t self; /* io_identity() of this very file: a copy of it has another one. 0: not known */
    uint64_t sum;  /* of all before it */
};
static_assert(sizeof(struct echo_header) == 48, "echo header layout");

/* Then records, one behind the other: this and the batch's ops. */
#define ECHO_RECORD_MAGIC 0x65676e65u /* "enge" */
/* "engh": the batch was appended while the folder was held (eng_hold()). Whoever copied it then, file by
 * file, may have the record and not the batch: so such a record in a file that is a copy. */
#define ECHO_RECORD_HELD 0x68676e65u
struct echo_record {
    uint32_t magic, segment; /* ECHO_RECORD_MAGIC or _HELD; in which the batch lies */
    uint64_t offset;         /* and where */
    uint64_t synced;         /* the echo of all batches up to that one was durable when this one was noted */
    uint64_t sum;            /* of the 24 bytes before it and of the batch's sum */
    struct batch_header batch;
};
static_assert(sizeof(struct echo_record) == 96, "echo record layout");

void echo_header_seal(struct echo_header *h); /* sets magic and sum */
int echo_header_check(const struct echo_header *h);
uint64_t echo_record_sum(const struct echo_record *rec);

void echo_name(uint32_t id, char out[ECHO_NAME_SIZE]);
/* -EINVAL: not the name of an echo. */
int echo_parse_name(const char *name, uint32_t *ret_id);
/* Of one that an opening could not read, and has set aside. */
void echo_kept_name(uint32_t id, char out[ECHO_NAME_SIZE]);
int echo_parse_kept_name(const char *name, uint32_t *ret_id);

struct echo_file {
    struct io_file *file; /* NULL: closed. Nothing is unsynced then, or it was written before the opening. */
    uint32_t id;
    uint64_t size;          /* up to the end of the last record */
    uint64_t first, last;   /* batches */
    uint64_t n;             /* records */
    bool ended;             /* nothing more is written to it */
    bool unsynced, unnamed; /* its records, its name are not durable yet */
    bool gone;              /* unlinked while it was being synced */
    unsigned refs;          /* of those that sync it */
};

struct echo {
    struct eng_io *io;
    uint64_t store;       /* immutable after opening */
    struct buf pending;   /* records of batches that are not durable yet. Protected by log->lock. */
    bool held;            /* what is noted now is noted in a hold. Protected by log->lock. */
    _Atomic bool lean;    /* the disk is full: nothing is noted */
    _Atomic uint64_t cut; /* the batch with which a checkpoint ends: what follows goes to another file */
    _Atomic uint64_t
        synced; /* the last batch up to which the files are durable, but for those that it lacks */

    pthread_mutex_t ready_lock;
    struct buf ready; /* records to be written. Protected by ready_lock. */

    pthread_mutex_t lock;
    struct echo_file *files; /* ascending by id. Protected by lock. */
    size_t n_files, cap_files;
    uint32_t next_id;
    bool syncing; /* nothing is written meanwhile, which might have to wait for that */

    _Atomic uint64_t bytes;     /* of the files */
    _Atomic uint64_t written;   /* since opening */
    _Atomic uint64_t dropped;   /* batches of which no second copy could be written */
    _Atomic uint64_t lacks;     /* the last of them; 0: none since the newest checkpoint */
    _Atomic uint64_t n_pending; /* bytes in pending, as a hint */
};

void echo_init(struct echo *echo, struct eng_io *io);
void echo_free(struct echo *echo);

/* With log->lock held: that batch lies at `offset` of `segment`. */
void echo_note(struct echo *echo, uint32_t segment, uint64_t offset, const struct batch_header *h,
               const void *ops);
/* With log->lock held: what was noted so far, for echo_give() once it is durable. */
struct buf echo_take(struct echo *echo);
/* By the one that flushes, in the order of the flushes: those batches are durable. */
void echo_give(struct echo *echo, struct buf *take_records);
/* Writes what was given. Returns at once if somebody else does, or syncs; then the next call has it. */
void echo_drain(struct echo *echo);
/* Writes and makes durable all that was given before, unless it fails, and `lacks` tells. */
void echo_sync(struct echo *echo);
/* A checkpoint of all batches up to `seq` begins: behind them a new file. */
void echo_cut(struct echo *echo, uint64_t seq);
/* The newest checkpoint has all batches up to `seq`: files without younger ones are closed and, if they may
 * be, unlinked. */
void echo_forget(struct echo *echo, uint64_t seq, bool may_unlink);
/* Batch `seq` is not there twice. */
void echo_miss(struct echo *echo, uint64_t seq, uint64_t n_batches);
/* A file of an earlier run, all of which is part of the log. Before threads run. -ENOMEM. */
int echo_adopt(struct echo *echo, const struct echo_file *file);
/* Before threads run: writes what was noted; echo_sync() makes it durable. On failure it is noted still. */
int echo_put(struct echo *echo);
/* Before threads run: a file of an earlier run ends at `size`, and is this store's own, whatever it was
 * copied from; durably. */
int echo_claim(struct echo *echo, uint32_t id, uint64_t size);
/* Copies what is known of the files; *ret_files is the caller's. -ENOMEM. */
int echo_files(struct echo *echo, struct echo_file **ret_files, size_t *ret_n);

static inline uint64_t echo_lacks(const struct echo *echo)
{
    return atomic_load_explicit(&echo->lacks, memory_order_acquire);
}
static inline bool echo_wants_flush(const struct echo *echo)
{
    return atomic_load_explicit(&echo->n_pending, memory_order_relaxed) > ECHO_PENDING_MANY;
}

#endif
