/*
 * copy.h - the first half of a compaction: survivors of a group of victims are
 * read, verified (I5) and appended to an output segment.
 *
 * Locking: index_lock shared, shortly, for each step; job->lock for the report. */
#ifndef ENGRAMFS_COPY_H
#define ENGRAMFS_COPY_H

#include "base/job.h"
#include "commit/refs.h"
#include "core/eng.h"
#include "upkeep/install.h"
#include "upkeep/victims.h"

/* Extents copied between two passes of the job's gate. */
#define COPY_STEP INSTALL_STEP
static_assert(COPY_STEP <= REFS_AT_ONCE, "they are looked up at once");

struct copier {
    struct eng *eng;
    struct job *job; /* the report of which is written as it goes */
    bool aged;       /* what is emptied goes without another checkpoint */

    struct extent_ref *refs; /* of the group under way */
    size_t n_refs, copied, handed_over;

    struct segment *out;            /* pinned */
    uint64_t out_size, out_payload; /* payload not yet told to the log */
    uint64_t out_kept;  /* so far it is needed: what is behind was not handed over, or not installed */
    struct buf out_buf; /* the end of `out` that was not written yet */
    bool out_new;       /* its directory entry is not durable yet */
    struct summary out_summary; /* of what was appended to it */
    bool out_sealed;            /* the summary was written, or will not be */

    struct segment *in;                      /* pinned: the victim being read */
    struct segment *read[OUTGOING_READ_MAX]; /* pinned: those read since the last copy_take() */
    size_t n_read;
    struct victim_reader reader;
    struct victim_window *window; /* of the reader; NULL: none of this group was taken */

    /* Of the step under way: paths for the hints, and which refs are superseded. */
    struct buf names;
    uint32_t name_at[COPY_STEP], name_len[COPY_STEP];
    bool stale[COPY_STEP];
    uint64_t seen_seq; /* the last batch published when they were looked up */
};

/* Takes up a group: the survivors in the wanted segments. */
int copy_begin(struct copier *c, const struct idmap *wanted, bool threaded);
/* Whether refs of the group are left. */
bool copy_is_left(const struct copier *c);
/* Copies the next survivors: at most COPY_STEP, and not beyond the end of the output segment. */
int copy_step(struct copier *c, uint64_t *ret_bytes);
bool copy_out_is_full(const struct copier *c);
/* Writes what of the output segment is still in memory, and of a full one its summary. */
int copy_flush(struct copier *c);
/* After all was installed: the output segment gets no more, and its summary is made durable. A failure costs
 * no more than that. */
void copy_seal_output(struct copier *c);
/* Ends the reading of the present victim, the pin of which goes along with the next copy_take(). */
void copy_leave_victim(struct copier *c);
/* What was copied since the last time, to be installed. The output segment stays the copier's until
 * copy_leave_out(). */
void copy_take(struct copier *c, struct outgoing *ret_og);
/* The output segment belongs to the caller from now on, and so does its pin. */
void copy_leave_out(struct copier *c);
/* Ends the reading of the group; also after copy_begin() failed. */
void copy_end(struct copier *c);
/* After an error: nothing more is copied, and what was copied in vain gives its room back (install_cut()). */
void copy_cut(struct copier *c);
/* Gives up what was copied and not installed. */
void copy_free(struct copier *c);

#endif
