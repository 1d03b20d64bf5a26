/*
 * draft.h - extents that are encoded before the transaction that publishes them begins: their content is
 * hashed, and copied if it is small. Which file and offset they are for may be filled in later, so that under
 * log.lock no content is hashed (docs/LOCKING.md).
 *
 * Locking: none; a draft belongs to one thread. */
#ifndef ENGRAMFS_DRAFT_H
#define ENGRAMFS_DRAFT_H

#include "base/util.h"
#include "disk/codec.h"

/* Zeroed is empty. */
struct draft {
    struct buf bytes; /* heads, small payloads, paddings and path hints, in order */
    struct draft_extent {
        size_t head;         /* its place in `bytes` */
        const void *payload; /* borrowed; NULL: in `bytes`, behind the head */
        uint32_t len, name_len;
    } * extents;
    size_t n, cap;
};

void draft_free(struct draft *draft); /* zeroed is fine */
#define CLEANUP_DRAFT __attribute__((cleanup(draft_free)))
/* Makes it empty again, keeping its memory. */
void draft_reset(struct draft *draft);
/*
 * Adds an extent with `payload`, which must live as long as the draft, and a path hint. No transaction may
 * have been given an extent of the draft. -ENOMEM. */
int draft_extent(struct draft *draft, const void *payload, uint32_t len, const char *name, uint32_t name_len);

#endif
