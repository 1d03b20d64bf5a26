/*
 * mend_past.h - the past of an index that is mended (mend.h): past states and past names that still fit.
 *
 * Locking: none; before threads run. */
#ifndef ENGRAMFS_MEND_PAST_H
#define ENGRAMFS_MEND_PAST_H

#include "index/index.h"

/* ---- past names -------------------------------------------------------------- */

struct mend_past_name {
    struct bkey group;
    uint64_t end;
    uint32_t child, i; /* i 0: it has gone since */
};
/* Those that can stay, by group and newest first. */
struct mend_past_names {
    struct index *idx;
    struct mend_past_name *all;
    size_t n;
    uint64_t last;
};
/* Drops those that lead nowhere, or have no place in their group, or end behind the last batch (0: not
 * known). Inodes are mended, names not yet. -ENOMEM. */
int mend_past_names_begin(struct mend_past_names *m, struct index *idx, uint64_t last);
/* Before a live name is put into its place. Where it is not certain when it began, since the newest past name
 * of its group is lost, it begins now, in a place of its own, and the others of the group go. */
void mend_past_names_beside(struct mend_past_names *m, uint32_t d);
/* Makes groups, lookup and the chains of inodes, once the live names are in their places. -ENOMEM,
 * -EBADMSG. */
int mend_past_names_end(struct mend_past_names *m);
void mend_past_names_done(struct mend_past_names *m); /* zeroed is fine */

/* ---- past states -------------------------------------------------------------- */

/* What an index has in the tree of each inode and past state, by slot; and of attributes. */
struct mend_found {
    const uint32_t *n_extents;
    const uint64_t *bytes;
    uint8_t *cells; /* bit by cell of names: of an attribute that an inode has */
};
/* Whether its list of attributes is whole, and none of it is another's; marks it. *ret_last: the last that is
 * (handle), 0 none. */
bool mend_xattrs_are_whole(const struct index *idx, const struct inode_rec *inode, uint8_t *cells,
                           uint32_t *ret_last);
/* Whether what is there of a file's content is all that it had. */
bool mend_content_is_whole(const struct index *idx, const struct inode_rec *inode, uint32_t slot,
                           const struct mend_found *found);
/* Ends each line before the first state that is not whole, since older ones would show what is newer, or
 * zeros. States in no line go. Inodes are mended. -ENOMEM. */
int mend_lines(struct index *idx, const struct mend_found *found);

/* ---- moments -------------------------------------------------------------------- */

/* What does not rise goes; a snapshot whose name is lost is called "#BATCH", or what follows where another
 * is. -ENOMEM. */
int mend_moments(struct index *idx);

#endif
