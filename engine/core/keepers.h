/*
 * keepers.h - who needs a segment: a segment goes when no keeper needs it (I4).
 *
 * Reclaiming, the space receipt and whoever else asks whether a segment may go all ask one list. A room adds
 * its keepers while the store is being opened; from then on reclaiming heeds them and the receipt names them.
 *
 * Locking: log.lock, to ask about a segment; of KEEPER_ACTIVE and KEEPER_CHECKPOINTS alone, index_lock shared
 * does, too. The list is immutable once the store is open; holds are atomic. */
#ifndef ENGRAMFS_KEEPERS_H
#define ENGRAMFS_KEEPERS_H

#include "base/util.h"

struct eng;
struct seg_rec;

/* Keepers are asked in this order; those of one kind in the order in which they were added. */
enum keeper_kind {
    KEEPER_LIVE,        /* something in the segment is live */
    KEEPER_ACTIVE,      /* the log is being written to it */
    KEEPER_DURABLE,     /* an operation that made its bytes dead is not durable */
    KEEPER_CHECKPOINTS, /* its metadata is younger than the oldest checkpoint that recovery may need */
    KEEPER_HOLDS,       /* eng_hold() */
    KEEPER_MARK,        /* nothing on disk says that these operations are durable: reclaiming has it said */
    KEEPER_PINS, /* a reader is in it; segments_remove() asks once more, so that this kind stays last */
};

struct keeper {
    enum keeper_kind kind;
    /* How the space receipt names the emptied segments that this keeper keeps: the key for machines, the
     * label for people, what gives the space back. Label NULL: what it keeps does not count as emptied. */
    const char *key, *label, *gives_back;
    /* Whether it needs this segment. May be NULL. */
    bool (*needs)(struct eng *eng, const struct seg_rec *seg);
    /* Whether it needs every file now, those of checkpoints as well. Asked under any lock. May be NULL. */
    bool (*needs_all)(struct eng *eng);
};

#define KEEPERS_MAX 16u

/* The list, with the keepers of each store. -ENOMEM. */
int keepers_new(struct eng *eng);
void keepers_free(struct eng *eng);
/* While the store is being opened: adds a keeper, borrowed until the store is closed. -ENOSPC: KEEPERS_MAX
 * are there. */
int keepers_add(struct eng *eng, const struct keeper *keeper);
/* Keeper i in the order in which they are asked, NULL behind the last. eng NULL: those of each store. */
const struct keeper *keepers_at(const struct eng *eng, size_t i);

/* The first keeper that needs the segment; NULL: the segment may go. */
const struct keeper *keepers_find(struct eng *eng, const struct seg_rec *seg);
/* Whether a keeper of that kind needs the segment, whatever the others say. */
bool keepers_need(struct eng *eng, enum keeper_kind kind, const struct seg_rec *seg);
/* The first keeper that needs every file; NULL: none does. */
const struct keeper *keepers_find_all(struct eng *eng);

/* Begins and ends a hold. -EINVAL: there is none. */
void keepers_hold(struct eng *eng);
int keepers_release(struct eng *eng);
unsigned keepers_holds(const struct eng *eng);

#endif
