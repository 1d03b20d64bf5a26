/*
 * summaries.h - what lies in each segment, wherever that is known: of the active segment in memory, of a
 * sealed one at the end of its file, and of one without, or with a damaged one, by a scan, whose results are
 * kept in memory, as many as SUMMARIES_CACHE has room for.
 *
 * Locking: log.lock for the active segment, index_lock shared, the lock of the cache, a leaf; none across
 * I/O. */
#ifndef ENGRAMFS_SUMMARIES_H
#define ENGRAMFS_SUMMARIES_H

#include "core/eng.h"

#define SUMMARIES_CACHE (UINT64_C(16) << 20) /* bytes of entries */

int summaries_new(struct eng *eng);
void summaries_free(struct eng *eng);

/* What is known of a segment. */
struct known_summary {
    struct summary entries;
    uint64_t end;   /* in the segment: of what it tells of */
    uint64_t total; /* payload that the segment had got before that was taken */
    bool whole;     /* it tells of all of that; else the scan that made it may have met damage */
};
/* -ENOENT: there is no such segment, or no file of it; -ENOMEM, or an error of opening it. The entries become
 * the caller's. */
int summaries_get(struct eng *eng, uint32_t segment, struct known_summary *ret_known);
/* Keeps a summary that was made otherwise of a segment that is not active; the entries are copied. */
void summaries_keep(struct eng *eng, uint32_t segment, const struct summary *entries);
/* After an opening: what the active segment had before, so that it is sealed with a summary of all. */
void summaries_complete_active(struct eng *eng);

/* How summaries were come by since the store was opened. */
struct summaries_figures {
    uint64_t active, read, scanned, kept; /* kept: found in the cache */
    uint64_t walked; /* segments of which one missed something, so that the index was walked */
    uint64_t cache_bytes;
};
struct summaries_figures summaries_figures(struct eng *eng);
void summaries_count_walked(struct eng *eng, uint32_t n);

#endif
