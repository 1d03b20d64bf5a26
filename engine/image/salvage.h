/*
 * salvage.h - what can be made out of a store that is refused otherwise. */
#ifndef ENGRAMFS_SALVAGE_H
#define ENGRAMFS_SALVAGE_H

#include "image/checkpoint.h"
#include "image/segment_file.h"

/* Who a store is when neither copy of its superblock tells: from its segments. */
int salvage_identity(struct eng *eng, char why[256]);
/*
 * Where neither a checkpoint nor the log has all: loads the newest checkpoint of which something is left, and
 * tells which that is, and where the log goes on. SALVAGED_INDEX; or SALVAGED_CONTENT: an empty root, all
 * content is to be found by what it says of itself; or an error. */
enum { SALVAGED_CONTENT, SALVAGED_INDEX };
int salvage_remains(struct eng *eng, const struct seg_file *segs, size_t n_segs, const uint64_t *ckpts,
                    size_t n_ckpts, uint64_t *ret_id, struct ckpt_position *ret_pos);
/* After the replay on such an index, up to that batch: if it is not sound, only content is salvaged. Its past
 * is not all there. */
int salvage_verify(struct eng *eng, uint64_t seq);
/* An index with nothing but a root directory. */
int salvage_root(struct eng *eng);
/* Forgets all that was loaded. -ENOMEM. */
int salvage_fresh_index(struct eng *eng);

#endif
