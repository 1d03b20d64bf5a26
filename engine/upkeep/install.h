/*
 * install.h - the second half of a compaction: an output segment becomes durable, its relocations go through
 * the log in small batches, and the segments that they emptied are unlinked.
 *
 * With a thread of its own (the installer) this overlaps with the filling of the next output segment; what is
 * handed over belongs to that thread until installer_await() returns.
 *
 * Locking: installer->lock, a leaf, for the hand-over. */
#ifndef ENGRAMFS_INSTALL_H
#define ENGRAMFS_INSTALL_H

#include "base/job.h"
#include "commit/refs.h"
#include "core/eng.h"
#include "upkeep/policy.h"

/* Relocations in one batch. */
#define INSTALL_STEP 256u
/* Victims that one output segment takes up, kept pinned. */
#define OUTGOING_READ_MAX 64u

/* An output segment on its way from copied to retired. */
struct outgoing {
    struct segment *seg;           /* pinned; NULL: nothing was copied */
    bool fresh;                    /* its directory entry is not durable yet */
    uint64_t payload;              /* not yet told to the log */
    const struct extent_ref *refs; /* borrowed */
    size_t next, end;              /* those that are not installed */
    /* Pinned: victims that are not read any more. */
    struct segment *read[OUTGOING_READ_MAX];
    size_t n_read;
};

struct installer {
    struct eng *eng;
    struct job *job;                 /* the report of which is written as it goes */
    const struct candidate *victims; /* borrowed; unchanged while something is handed over */
    size_t n_victims;

    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct outgoing outgoing; /* the thread's while `given` */
    bool given;               /* the thread has something to do. Protected by lock. */
    bool stop;                /* protected by lock */
    int error;                /* the first. Protected by lock. */
};

void installer_init(struct installer *in, struct eng *eng, struct job *job);
/* Starts the thread, where there may be one and the disk has room; it begins with install_age_metadata(). */
void installer_start(struct installer *in);
/* Hands an output segment over. The one before must have been awaited. */
void installer_give(struct installer *in, const struct outgoing *og);
/* Waits until the thread has nothing to do. Returns the first error so far. */
int installer_await(struct installer *in);
/* Ends the thread, after what was handed over is installed. */
void installer_end(struct installer *in);
void installer_free(struct installer *in);

/* Writes a checkpoint if the one that there is needs the metadata of segments with garbage (I4). */
int install_age_metadata(struct eng *eng);
/* Makes the copies durable, installs them, and unlinks the segments that they emptied; in this thread. */
int install_outgoing(struct installer *in, struct outgoing *og);
/* Where the copies begin that are not installed; UINT64_MAX: all are. */
uint64_t install_end(const struct outgoing *og);
/* On a full disk: of an output segment what is behind `size` was copied in vain, and gives its room back,
 * unless the store is held. */
void install_cut(struct eng *eng, struct segment *out, uint64_t size);
/*
 * Gives up an output segment; NULL is fine. One of which nothing was installed is unlinked: it has no record
 * in the index, so that nothing else would unlink it before the next opening. Keepers are heeded, and a
 * read-only store loses no file. */
void install_drop(struct eng *eng, struct segment *out);
/* How many of the victims have nothing live any more. */
uint64_t install_emptied(struct installer *in);

#endif
