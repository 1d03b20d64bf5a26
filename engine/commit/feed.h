/*
 * feed.h - what changed, batch by batch, for what is derived from the store (eng_feed_open() and its
 * company).
 *
 * The changes of published batches lie in a ring of eng_options.feed_bytes, which exists while it has
 * readers: without any, a batch costs one load. The oldest batches are overwritten whether or not everybody
 * has read them; a reader of one that is gone is told so.
 *
 * Locking: a lock of its own, a leaf. feed_stage() and feed_publish() are called under log.lock. */
#ifndef ENGRAMFS_FEED_H
#define ENGRAMFS_FEED_H

#include "core/eng.h"

/* -ENOMEM. */
int feed_new(struct eng *eng);
/* Shuts the feed. Readers that are still open keep what has not been read. */
void feed_free(struct eng *eng);
/* Before a written batch is applied: copies its changes to the ring, where no reader sees them yet. */
void feed_stage(struct eng *eng, const struct txn *txn);
/* After it was applied: shows them to readers. A batch that was staged and is not published never shows. */
void feed_publish(struct eng *eng);
/* Wakes those who wait for changes; under no lock. */
void feed_wake(struct eng *eng);

#endif
