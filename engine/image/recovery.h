/*
 * recovery.h - a recovery under way: what recover.c, stock.c, log_end.c and adopt.c share. */
#ifndef ENGRAMFS_RECOVERY_H
#define ENGRAMFS_RECOVERY_H

#include "core/eng.h"
#include "disk/echo_stock.h"
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
    /* The second copy of the log (echoes.h). */
    struct echo_stock echo;
    struct seg_file absent; /* where the replay stands, if that segment has no file */
    uint64_t start_seq;     /* of the checkpoint */
    uint64_t echoed;        /* batches that came from it */
    uint64_t echoed_last;   /* the last of them */
    uint64_t
        gathered_next;  /* with so many bytes the oldest are left out; 0: with the first that are too many */
    uint64_t advised;   /* chunks that are fetched side by side */
    uint32_t last_seg;  /* files with higher numbers are not looked at */
    uint64_t last_ckpt; /* the same */
};

/* The last batch of the newest checkpoint that has a whole root: from there the replay will begin, if the
 * rest of it is whole, too. 0: there is none, or it cannot be told (stock.c). */
uint64_t recovery_likely_start(const struct recovery *rec);
/* Lists the files, and reads the headers of segments (stock.c). */
int recovery_take_stock(struct recovery *rec);
int recovery_read_header(struct recovery *rec, struct seg_file *sf);
/* -EIO: a file cannot be read and may be what the log goes on in (log_end.c). */
int recovery_unreadable_end(struct recovery *rec);
/* The highest number of the whole batches that were found where the log does not lead; 0: none was
 * (log_end.c). */
uint64_t recovery_last_whole(const struct recovery *rec);
/* What ends the log, as rec->why says: `r`, but 0 for a salvage, which goes on without; what lay there may be
 * younger than all that the log has (log_end.c). */
int recovery_pass_if_salvage(struct recovery *rec, int r);
/* The log leads no further: -EIO if it ends at a batch that cannot be read and may be as good as others
 * behind it, -EBADMSG if more was durable; a salvage goes on without (log_end.c). */
int recovery_end_of_log(struct recovery *rec);
/* Salvage: how many batches are given up (log_end.c). */
void recovery_count_lost(struct recovery *rec);
/* Makes what was recovered the state of the store (adopt.c). */
int recovery_adopt(struct recovery *rec);

#endif
