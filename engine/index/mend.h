/*
 * mend.h - an index of which some chunks are lost, made sound without the records in them: for salvage.
 *
 * Locking: none; before threads run. */
#ifndef ENGRAMFS_MEND_H
#define ENGRAMFS_MEND_H

#include "index/index.h"

/* Which chunks of each table are lost: a byte for each, NULL for none. Zeros are in their place. */
struct index_holes {
    uint8_t *lost[INDEX_TABLES];
    uint64_t n; /* chunks that are */
};

/* A segment whose file is there. */
struct index_file {
    uint32_t id, kind;
};

/*
 * Of tables as they were loaded keeps what still fits together: files that are whole, their names, and
 * attributes. Folders whose record is lost are made anew, those whose name is lost get "#NUMBER" in the root.
 * *ret_lost: a bit for each slot of an inode that was lost, or could not be kept, and may have left content;
 * the caller frees it. -EBADMSG: nothing can be made of it. -ENOMEM. */
int index_mend(struct index *idx, const struct index_holes *holes, const struct index_file *files,
               size_t n_files, uint8_t **ret_lost, uint32_t *ret_n_slots);
/* index_reserve() and index_apply() for a replay on such an index: what leads to a lost record is -EBADMSG,
 * and changes nothing. */
int index_apply_mended(struct index *idx, const struct op *op, uint64_t seq);

#endif
