/*
 * past_state.h - inodes in a view of the past, for requests: who may do what with them, and what stat(2)
 * shows. */
#ifndef ENGRAMFS_FS_PAST_STATE_H
#define ENGRAMFS_FS_PAST_STATE_H

#include "control/views.h"
#include "session.h"

/* What is asked for: a name in a folder, its listing, content, fields. */
enum past_right { PAST_SEARCH, PAST_LIST, PAST_READ, PAST_FIELDS };

void past_done(const struct past *past);
/* The view of any batch, likewise, for a node of past_paths.h. -ENOENT: there is none. */
int past_open(fuse_req_t req, uint64_t batch, struct past *ret_past);
/* Of such a node: what was read of its inode is of its state, and not of the one before, which stands for it
 * since it was changed again too soon. 0 or -ESTALE. */
int past_check_still(const struct past *past, uint64_t ino);
/* Has the kernel give back views and nodes, if that is due. */
void past_look_at_memory(const struct session *session);
/* Does the mode in those attributes let the caller do that? Not asked of whom modes do not bind. */
bool past_lets_in(fuse_req_t req, const struct eng_attr *attr, enum past_right right);
/*
 * Do the mode of then and that of today let the caller do that? Of what has no name any more that of then
 * alone is asked. 0, -EACCES, or an error of the engine. Takes locks of the engine. */
int past_check(fuse_req_t req, const struct past *past, uint64_t ino, enum past_right right);
/* The same for another user, all of whose groups are taken for his. */
int past_check_whose(const struct session *session, const struct past *past, uid_t whose, uint64_t ino,
                     enum past_right right);
/* Has it a name, and the content, mode and owner that it had then? */
bool past_is_as_then(const struct past *past, const struct eng_attr *then);
/* As stat(2) has an inode of it. No lock. */
void past_stat(const struct session *session, const struct past *past, const struct eng_attr *attr,
               struct stat *ret_st);
/* Of a regular file: its bytes are those that hold content, so that programs look for holes. */
void past_count_bytes(const struct past *past, struct eng_attr *attr);
/* The mode for nodes that are not root's: what the kernel does by a mode alone, and asks nobody, it does as
 * far as it is still the same today. */
mode_t past_safe_mode(const struct past *past, const struct eng_attr *attr);
/* How long the kernel may keep attributes of nodes: in seconds. It keeps no names, not for root either: it
 * would show what is below to whomever root has put into a folder, and ask nobody. */
double past_timeout(const struct past *past);

#endif
