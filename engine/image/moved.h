/*
 * moved.h - survivors of a compaction that the log, as far as it goes, does not name, while what they were
 * copied from is gone: only copies. Nothing is unlinked before the log says durably what emptied it (I4); so
 * more of the log was durable than can be read. */
#ifndef ENGRAMFS_MOVED_H
#define ENGRAMFS_MOVED_H

#include "image/recovery.h"

/* Whether a segment in which something is live has no file. */
bool moved_is_lacking(struct eng *eng);
/* Whether something that lies, by the index, in a segment that has no file is within the extent, which lies
 * in `seg`. */
bool moved_is_wanted(struct eng *eng, const struct extent_header *h, const struct segment *seg);
/* Whether the index names all of the extent, which lies at `at`. */
bool moved_is_named(struct eng *eng, const struct extent_header *h, const struct segment *seg, uint64_t at);
/* -EBADMSG: survivors that the index does not know hold what it wants; says so in rec->why. With salvage the
 * index names them from then on instead. -ENOMEM. */
int moved_settle(struct recovery *rec);

#endif
