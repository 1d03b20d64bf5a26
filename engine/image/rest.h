/*
 * rest.h - the rest of the index, loaded and verified behind a store that is open already. A large store
 * is opened with the head of its checkpoint, the map, the records of segments, and what the log behind it
 * changes; each other chunk comes, verified by itself, when it is first needed, or when the loader has come
 * to it. Once all are there the loader verifies that they fit together.
 *
 * Until then nothing is destroyed or written that an unsound index could make wrong: no checkpoint, no
 * segment unlinked, no compaction; and jobs wait. What is then found to be damaged is damage as if it had
 * been found at opening: nobody is told anything of the index any more, and nothing is written.
 *
 * Locking: the lock of core/loading.h; index_lock shared to put a chunk in place; those of a freeze. */
#ifndef ENGRAMFS_REST_H
#define ENGRAMFS_REST_H

#include "image/reader.h"

struct eng;
struct index;

/* An index of fewer chunks is loaded before the store is open: that takes less than 10 ms. With 0 none is,
 * not even with no_background. Set by tests alone, while no store is open. */
extern uint64_t rest_from;
/* A replay that waits for fewer chunks takes these alone (rest_fetch_many()). The same. */
extern uint64_t rest_many;

/* -ENOMEM. */
int rest_new(struct eng *eng);
void rest_free(struct eng *eng);
/* The tables of eng->idx have begun to be those of eng->checkpoints->images: their chunks are checked when
 * they come. */
void rest_watch(struct eng *eng);
/* Whether the rest of this index, of so many chunks, is left to the loader. Not when the run before found it
 * damaged in this way: what is found before the store is open may be made good from the log. Nor of a store
 * that is read-only, whose runs can note nothing for each other. */
bool rest_is_for(const struct eng *eng, uint64_t chunks);
/* It was found damaged too late for that. Of a store that is read-only nothing is noted. */
void rest_suspect(struct eng *eng);
/* 0, or why a part of the index that recovery asked for since pool_missed became 0 cannot be had, which `why`
 * then says. */
int rest_missed(struct eng *eng, char why[256]);
/* Whether this opening failed since a part of the index is lost that recovery needs: one that loads all of it
 * first, as rest_load_whole() has it do, looks for another way. */
bool rest_wants_whole(const struct eng *eng);
void rest_load_whole(struct eng *eng);
/* The store was opened, and the index is verified: no run is to look for the same damage. */
void rest_forget_suspicion(struct eng *eng);
/* Fetches all chunks now, in this thread and others. 0, -EBADMSG: some are lost; or another error. */
int rest_fetch_all(struct eng *eng);
/* Of a replay that waits for so many chunks, one by one: fetches all there are if that is sooner done. 0, or
 * why it cannot go on, as rest_missed(): some are lost. */
int rest_fetch_many(struct eng *eng, uint64_t needed, char why[256]);
/* Whether the index, all of it here, could be that of a log. 0, -EBADMSG, -ENOMEM; -ECANCELED. */
int rest_verify(struct index *idx);
/* A segment file that the recovered state does not know: it goes once that is verified. -ENOMEM. */
int rest_discard_later(struct eng *eng, uint32_t segment);
/* The store is open: starts the thread, if there is anything to load; with no_background there is none.
 * -EAGAIN. */
int rest_opened(struct eng *eng);
/* Waits until the index is verified; with no_background does it now, in this thread. 0, -EIO, -ECANCELED. */
int rest_await(struct eng *eng);
/* Ends the thread, wherever it is. */
void rest_stop(struct eng *eng);

#endif
