/*
 * recovery.h - a recovery under way: what recover.c, log_end.c and adopt.c share. */
#ifndef ENGRAMFS_RECOVERY_H
#define ENGRAMFS_RECOVERY_H

#include "core/eng.h"
#include "image/segment_file.h"

struct recovery {
    struct eng *eng;
    char *why;
    struct seg_file *segs; /* ascending by id */
    size_t n_segs, cap_segs;
    uint64_t *ckpts; /* descending */
    size_t n_ckpts, cap_ckpts;
    uint64_t mark; /* highest sequence known to have been durable */
    /* where the replay stands */
    uint64_t seq, chain;
    struct seg_file *at;
    uint64_t offset;
    struct segment *pinned; /* file of `at` */
    uint32_t lacks;         /* the segment in which the replay was to begin, if it is not there */
    struct txn ops;         /* of one batch, decoded */
    struct buf batch, extents, found;
    uint64_t batches, bytes;
    uint64_t first_new; /* segments with lower numbers are older than the checkpoint */
    bool mended;        /* the index lacks what a damaged checkpoint has lost */
    bool looks;         /* along the log, without applying what it says */
    uint64_t known;     /* salvage: the last batch in the newest damaged checkpoint that can be mended */
    bool scanned;       /* for marks behind the point where a batch was bad */
    uint64_t unread;    /* the batch that could not be read, beyond the mark; 0: none */
    uint32_t last_seg;  /* files with higher numbers are not looked at */
    uint64_t last_ckpt; /* the same */
};

/* -EIO: a file cannot be read and may be what the log goes on in (log_end.c). */
int recovery_unreadable_end(struct recovery *rec);
/* The log leads no further: -EIO if it ends at a batch that cannot be read and may be as good as others
 * behind it, -EBADMSG if more was durable; a salvage goes on without (log_end.c). */
int recovery_end_of_log(struct recovery *rec);
/* Salvage: how many batches are given up (log_end.c). */
void recovery_count_lost(struct recovery *rec);
/* Makes what was recovered the state of the store (adopt.c). */
int recovery_adopt(struct recovery *rec);

#endif
