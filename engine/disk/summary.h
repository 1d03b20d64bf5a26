/*
 * summary.h - what lies in a segment: for each extent its place and its first owner, written behind the last
 * batch when the segment is sealed. Whoever cleans or verifies a segment asks the index for these owners
 * alone, instead of walking through all of it.
 *
 * An extent has one owner for its life: the inode (by slot) and file offset that it was written for. What of
 * it is live the index knows: the pieces of that file in [off, off + len) that lie in this extent.
 *
 * On disk (docs/FORMAT.md): entries, each in a few bytes, padded to 8; then a footer, the last 48 bytes of
 * the file. A summary is never believed: it says where to look, and is compared with its sum. A missing or
 * damaged one is made again from the batches.
 *
 * Locking: none; a builder belongs to whoever appends. */
#ifndef ENGRAMFS_SUMMARY_H
#define ENGRAMFS_SUMMARY_H

#include "base/util.h"
#include "disk/codec.h"

struct summary_entry {
    uint32_t off8; /* place of the extent in the segment, divided by 8 */
    uint32_t len;  /* its payload, bytes */
    uint32_t slot; /* of the inode that it was written for */
    uint64_t off;  /* in the file; EXTENT_XATTR_OFF: the value of an attribute */
};

/* Collects entries as extents are appended. Zeroed is empty. */
struct summary {
    struct buf bytes;
    struct summary_entry first, last; /* last: what the next one is a difference to */
    size_t first_size;                /* bytes that the first one takes */
    uint32_t n;
    bool lost; /* one could not be added for want of memory: it must be made from the batches */
};

void summary_reset(struct summary *s); /* keeps its memory */
void summary_free(struct summary *s);  /* zeroed is fine */
/* Adds an extent; places rise from one to the next. Without memory the summary is lost, which is no error. */
void summary_add(struct summary *s, const struct summary_entry *entry);
/*
 * Puts the entries of `before` in front of those of s, whose places all lie behind them; both may be empty.
 * -ENOMEM: nothing has changed. */
int summary_join(struct summary *s, const struct summary *before);
/* Bytes that it will take on disk. */
uint64_t summary_size(const struct summary *s);
/* Completes it: s->bytes, until the next reset, is all that is to be written behind the segment's last batch.
 * -ENOMEM; -ENODATA: it is lost. */
int summary_seal(struct summary *s, uint32_t segment, uint64_t store);

struct summary_footer {
    uint64_t magic;
    uint64_t store;   /* superblock_tag() */
    uint32_t segment; /* id */
    uint32_t n;       /* entries */
    uint32_t len;     /* bytes of the entries, padded */
    uint32_t reserved;
    uint64_t entries_sum;
    uint64_t sum; /* of the 40 bytes before it */
};
static_assert(sizeof(struct summary_footer) == 48, "summary footer layout");
#define SUMMARY_MAGIC UINT64_C(0x32304d5553474e45) /* "ENGSUM02" */

/* Whether the last 48 bytes of a segment file of that size end in a summary of it. 0; -EBADMSG. */
int summary_footer_check(const struct summary_footer *f, uint32_t segment, uint64_t store,
                         uint64_t file_size);
/* Whether these are the entries (f->len bytes) that the checked footer tells of: -EBADMSG. */
int summary_entries_check(const struct summary_footer *f, const uint8_t *entries);

/* Goes through the entries of a summary that is whole or still grows; of one from a file what they say was
 * checked against its sum, and is bounded here (I10). */
struct summary_reader {
    const uint8_t *at;
    size_t left;   /* bytes */
    uint32_t n;    /* entries */
    uint64_t end8; /* places lie below, divided by 8 */
    struct summary_entry entry;
};
/* `end`: where in the segment its extents end. */
struct summary_reader summary_begin(const struct summary *s, uint64_t end);
/* The next entry, with a place above the one before: 1; 0: there is none; -EBADMSG: it cannot be one, or
 * something that is none lies behind the last. */
int summary_next(struct summary_reader *r, struct summary_entry *ret_entry);

#endif
