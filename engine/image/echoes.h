/*
 * echoes.h - a recovery and the echo, the second copy of what the log says since the checkpoint
 * (disk/echo.h). The log comes first: only where it has nothing whole to say of the next batch the echo is
 * asked, for that very batch, which must follow the one before it by number and chain. Content is not in it:
 * what is lost of that, reads will tell.
 *
 * A batch that the echo has was durable once. But its word counts for what follows the replay alone: what an
 * echo says of other batches, of another past or behind a gap, is no mark and no reason to refuse a store.
 *
 * Runs before any thread starts. */
#ifndef ENGRAMFS_ECHOES_H
#define ENGRAMFS_ECHOES_H

#include "image/recovery.h"

/* Bytes of records, and at most as many once more, that an opening writes anew, those of the last batches;
 * tests change it. */
extern uint64_t echoes_gather;

/* Reads the files of the echo, for what comes behind the newest checkpoint that seems whole: a hold leaves
 * what those before it have. Before the segments are listed, so that of a store in use the log has all that
 * the echo has. As echo_stock_load(), and rec->why. */
int echoes_load(struct recovery *rec);
/* The replay is to begin behind that batch: reads the files once more if that is an older checkpoint. */
int echoes_reach(struct recovery *rec, uint64_t seq);
void echoes_free(struct recovery *rec);
/* Whether the echo has the batch that is due. */
bool echoes_have_next(const struct recovery *rec);
/* Whether the echo has that batch of the log, too. */
bool echoes_know(const struct recovery *rec, const struct batch_header *h);
/* The replay is about to begin: has those chunks of inodes fetched with which its batches begin, as the echo
 * says, or all chunks, if these are many. 0, or why the replay cannot begin, as rest_fetch_many(). */
int echoes_fetch_ahead(struct recovery *rec);
/* Reads the batch that is due: its ops into rec->batch. -ENODATA: the echo has none that is whole. */
int echoes_read(struct recovery *rec, struct batch_header *ret_header);
/* Whether that one was appended in a hold, and the record that says so lies in a copy of the file that it was
 * written to: of the store itself the echo's word counts as ever. */
bool echoes_next_is_held(const struct recovery *rec);
/* Nothing whole is behind the place where the replay is, and the batch that is due is such a one: whether
 * this is the folder of a copy made then, which has all of the log that it ever had. Said if so. */
int echoes_end_copy(struct recovery *rec, bool *ret_ends);
/* That batch is taken: the replay goes on where it lies, or would. */
void echoes_take(struct recovery *rec, const struct batch_header *h);
/* A batch was applied, with its ops still in rec->batch and the replay still at its place. */
void echoes_note(struct recovery *rec, const struct batch_header *h);
/* The replay has ended: the echo goes on from here. What it has of another past goes, durably, before the log
 * goes on. */
int echoes_adopt(struct recovery *rec);

#endif
