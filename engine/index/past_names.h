/*
 * past_names.h - names that ended and are kept: how they are made and dropped, and what a folder shows at a
 * batch S. docs/lab/history-design.md tells why.
 *
 * A past name has a life [begin, end) in batches, of which a view shows no inside. Names of one folder with
 * one cookie are a group: the past ones in a ring, newest first, and perhaps a live one, whose life begins
 * where that of the newest past one ended. At S a group shows one name at most. The past names of an inode
 * are a chain, newest first. A text has one owner: the newest of the names in a row that a change of inode
 * alone keeps apart (PAST_SHARES_TEXT); what owns its text is found by it.
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_PAST_NAMES_H
#define ENGRAMFS_PAST_NAMES_H

#include "index/index.h"

/* ---- cookies ------------------------------------------------------------ */

#define COOKIE_BATCH_SHIFT                                                                                   \
    16u /* while there is a past, cookie >> this is the batch in which the name began */

/* The cookie of the next name, made in batch seq; where there is a past (has_past) it tells the batch. Others
 * in the same batch count on from it. */
static inline uint64_t index_new_cookie(const struct index *idx, bool has_past, uint64_t seq)
{
    uint64_t first = seq << COOKIE_BATCH_SHIFT, next = idx->s.next_cookie;
    return has_past && next < first && !MUTANT(COOKIE_COUNTED) ? first : next;
}

/* ---- reading ------------------------------------------------------------ */

/* The past name, or NULL. */
static inline const struct past_name_rec *index_past_name(const struct index *idx, uint32_t i)
{
    const struct past_name_rec *past = table_get(&idx->past_names, i);
    return past && past->child ? past : NULL;
}
/* Whether it is one of that name in the folder, by a text of its own. NULL: no. */
bool index_past_is_called(const struct index *idx, const struct past_name_rec *past, uint32_t dir,
                          const char *name, size_t len);
/* The newest past name of that folder and cookie, 0 none. */
uint32_t index_newest_past(const struct index *idx, uint32_t dir, uint64_t cookie);
/* The one of that group that ended in batch `end`, 0 none. */
uint32_t index_find_past(const struct index *idx, uint32_t dir, uint64_t cookie, uint64_t end);
/* The batch in which the live name d began, or one before it since which no snapshot was there. */
uint64_t index_name_begin(const struct index *idx, uint32_t d);
/* Whether there is a past name in the folder. */
bool index_has_past_names(const struct index *idx, uint32_t dir);

/* Slot of the inode that the folder shows under that name at batch `at`; 0 none. */
uint32_t index_name_at(const struct index *idx, uint32_t dir, const char *name, size_t len, uint64_t at);
/* Whether a past name of the folder with that text ended behind that batch. */
bool index_name_ended(const struct index *idx, uint32_t dir, const char *name, size_t len, uint64_t begin);
/* The name of a folder then, and the folder that it is in. False: it had none, as the root. */
struct folder_name {
    uint32_t parent; /* slot */
    uint32_t name;   /* names */
    uint16_t name_len;
};
bool index_folder_name_at(const struct index *idx, uint32_t dir, uint64_t at, struct folder_name *ret_name);
/* The parent of a folder at batch `at`, 0 none; the root's is the root. */
uint32_t index_parent_at(const struct index *idx, uint32_t dir, uint64_t at);

struct shown_name {
    uint64_t cookie;
    uint32_t child; /* slot */
    uint32_t name;  /* names */
    uint16_t name_len;
};
/* A listing of a folder as it was at a batch. */
struct list_at {
    uint32_t dir;
    uint64_t at;
    uint64_t cookie; /* what lies behind it is listed; moves on with what was looked at */
    uint32_t looks;  /* at so many groups more: a folder may have had any number */
    int (*emit)(void *arg, const struct shown_name *name);
    void *arg;
};
enum list_end { LIST_END, LIST_STOPPED, LIST_GOES_ON };
/* Calls emit for what the folder shows behind `cookie`, in the order of cookies, until it returns non-zero
 * (LIST_STOPPED; that one counts as not delivered), nothing is left (LIST_END), or looks are used up
 * (LIST_GOES_ON). -EBADMSG. */
int index_list_at(const struct index *idx, struct list_at *list);

/*
 * How many links a file had at batch `at`. By the record that shows its state of then: that it had `nlink`
 * when it ended in batch `end`, or has them now (UINT64_MAX). What ended in between was there; of what came
 * in between nothing is counted: a link that is no move makes a new record. */
uint32_t index_links_at(const struct index *idx, uint32_t slot, uint32_t nlink, uint64_t end, uint64_t at);
struct folder_at {
    uint64_t n_names, n_dirs;
    uint64_t changed; /* the last batch by then in which one of its names began or ended, 0 not known */
};
/* What the folder showed at batch `at`: -E2BIG if more than `looks` groups, or past names, would have to be
 * looked at, -EBADMSG. */
int index_folder_at(const struct index *idx, uint32_t dir, uint64_t at, uint32_t looks,
                    struct folder_at *ret_folder);

/* ---- for apply.c ---------------------------------------------------------- */

/* Whether the op may make a past name, change or drop one: then at most so many records, one entry of
 * past_order and two of past_lookup. For all others none of the calls
 * below is made, but for past_names_join(). */
#define PAST_NAME_RECORDS 6u
static inline bool past_names_changes(const struct index *idx, const struct op *op)
{
    bool ends = op->type == OP_UNLINK || op->type == OP_REPOINT;
    return (ends && (op->flags & OP_KEPT || idx->s.n_past_names)) || op->type == OP_DROP_NAME;
}
/* Records and entries of the trees that ops may add. */
struct past_need {
    uint32_t names, texts;
};
void past_names_need(const struct op *op, struct past_need *need);
int past_names_reserve(struct index *idx, const struct past_need *need);
/* Chunks that the op changes in these tables, if a freeze sees them. */
uint64_t past_names_copies(const struct index *idx);

/* The name d ends, by that op: it becomes a past name, or, where that is not asked for, leaves its text to a
 * past one that shares it. With a REPOINT it lives on, of another inode. -EBADMSG. */
int past_names_end(struct index *idx, uint32_t d, const struct op *op, uint64_t seq);
/* The name d, with a cookie that was there before, may have joined a group. */
void past_names_join(struct index *idx, uint32_t d);
/* OP_DROP_NAME. -EBADMSG. */
int past_names_drop(struct index *idx, const struct op *op);

#endif
