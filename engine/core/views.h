/*
 * views.h - views in use: those that somebody has open of the store as it was after a batch
 * (eng_view_open()). One that must show the same to the end counts as of a snapshot (tree/past_view.h).
 *
 * What lets parts of the past go asks here first, and drops nothing that a view in use sees. It asks under
 * log.lock, in the very batch that drops: views are added under log.lock, too, so that one that comes
 * afterwards finds the past without it. Or it has listed them, in the section of index_lock in which it
 * listed the snapshots: a view of a snapshot that came later is of one of these, of a newer one, or of a
 * batch from the floor on, as the others are.
 *
 * Locking: a lock of its own, a leaf. */
#ifndef ENGRAMFS_VIEWS_H
#define ENGRAMFS_VIEWS_H

#include "base/util.h"

struct eng;

#define VIEWS_MAX 4096u

/* -ENOMEM. */
int views_new(struct eng *eng);
void views_free(struct eng *eng);
/* A view of that batch is in use from now on, until its place is given back. Under log.lock. -ENFILE: there
 * are VIEWS_MAX. */
int views_add(struct eng *eng, uint64_t batch, bool of_snapshot, unsigned *ret_place);
void views_remove(struct eng *eng, unsigned place);
/* Whether a view in use shows what lived in the batches [begin, end). `snapshots_only`: one of a snapshot; of
 * the others a full disk takes the past away. */
bool views_see(struct eng *eng, uint64_t begin, uint64_t end, bool snapshots_only);
/* The newest batch of which a view of a snapshot is in use, 0 none. What it sees is kept as if the snapshot
 * were there still. Under log.lock none comes. */
uint64_t views_newest(const struct eng *eng);
/* The same of views that are of no snapshot: a history keeps what they see, as long as there is room. */
uint64_t views_newest_in_time(const struct eng *eng);
/* The oldest batch of which a view is in use that is none of a snapshot, UINT64_MAX none. Under log.lock none
 * comes. */
uint64_t views_oldest(struct eng *eng);
/* The batches of views in use, in no order: of snapshots, and from `floor` on, since no others show anything
 * any more. Returns how many. */
size_t views_batches(struct eng *eng, uint64_t floor, uint64_t ret_batches[VIEWS_MAX]);
/* How many are in use. */
unsigned views_count(struct eng *eng);

#endif
