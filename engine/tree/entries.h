/*
 * entries.h - names in directories: finding them, listing them, and what symbolic links hold. */
#ifndef ENGRAMFS_ENTRIES_H
#define ENGRAMFS_ENTRIES_H

#include "index/past_names.h"
#include "tree/view.h"

/* ---- in a section of a view, or under log.lock for the live index ----------------- */

bool entries_is_dots(const char *name);
/* -ENOENT empty, -ENAMETOOLONG, -EINVAL. */
int entries_check_name(const char *name);
/* The inode of a directory. -ESTALE, -ENOTDIR. */
int entries_dir(const struct index *idx, uint64_t ino, const struct inode_rec **ret_inode);
/* The cookie of a name that the next batch makes; further ones of it count on. Under log.lock. */
static inline uint64_t entries_new_cookie(const struct eng *eng)
{
    return index_new_cookie(&eng->idx, eng_has_history(eng), log_seq(&eng->log) + 1);
}
/* The slot of the child of that name. -ENOENT, and the errors of the two above. */
int entries_child(const struct index *idx, uint64_t parent, const char *name, uint32_t *ret_slot);

/* Under log.lock: whether `name` may come into being in the directory. */
int entries_may_add(const struct eng *eng, uint64_t parent, const char *name,
                    const struct inode_rec **ret_dir);
/* Under log.lock: fills in the entry that a call returns, and counts the caller's reference to it. */
void entries_give(struct eng *eng, const struct eng_caller *who, uint64_t ino, struct eng_attr *ret_attr);

/* ---- in any view; `ref` counts a reference to what is given, if the view is live ---- */

/* Whether the caller wants that. */
static inline bool entries_wants_ref(const struct eng_caller *who)
{
    return who && who->ref;
}
/* eng_lookup(), eng_readdir() and eng_readlink(). */
int entries_lookup(const struct view *view, bool ref, uint64_t parent, const char *name,
                   struct eng_attr *ret_attr);
int entries_list(const struct view *view, bool ref, uint64_t dir, uint64_t cookie,
                 int (*emit)(void *arg, const struct eng_dirent *entry), void *arg);
ssize_t entries_readlink(const struct view *view, uint64_t ino, char *buf, size_t size);

#endif
