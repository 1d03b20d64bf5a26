/*
 * nodes.h - the control directory .engram of a mount.
 *
 * Each LOOKUP of a control file makes a new node: a text that never changes
 * again, with its true size, under a nodeid of its own; so a reader sees one
 * consistent text however it reads, and two readers do not disturb each
 * other. st_ino stays one number for each file, since cp refuses a file whose
 * inode number changes between stat and open. Nodes go with FORGET.
 *
 * A verb that waits (`run`, `wait`) keeps its request and is answered by the
 * engine's worker; an interrupted writer is answered with EINTR at once. */
#ifndef ENGRAMFS_CONTROL_NODES_H
#define ENGRAMFS_CONTROL_NODES_H

#include "control/verbs.h"
#include "session.h"

/* Bit 62 is beyond any inode number of the engine, and below what stat structures hold. */
#define CTL_BIT (UINT64_C(1) << 62)
#define CTL_DIR_INO CTL_BIT
/* The folder `changes-since`. */
#define CTL_SINCE_INO (CTL_DIR_INO + 1 + CTL_CHANGES_SINCE)

/* The folders `snapshots` and `at`. */
#define CTL_SNAPSHOTS_INO (CTL_DIR_INO + 1 + CTL_SNAPSHOTS)
#define CTL_AT_INO (CTL_DIR_INO + 1 + CTL_AT)
/* What stat(2) shows of `history` and `deleted`, of which each user has nodes of his own. */
#define CTL_HISTORY_INO (CTL_DIR_INO + 1 + CTL_HISTORY)
#define CTL_DELETED_INO (CTL_DIR_INO + 1 + CTL_DELETED)

static inline bool ctl_owns(fuse_ino_t ino)
{
    return (ino & CTL_BIT) != 0;
}

/* Is this the name that the root reserves, with whatever -o ctl? */
bool ctl_reserved(fuse_ino_t parent, const char *name);

struct ctl *ctl_new(struct session *session);
/* Before requests are answered no more: from then on it uses FUSE's session only to answer. False: the kernel
 * keeps a thread of it, which has the session until the process ends; ctl_free() frees nothing then. */
bool ctl_stop(struct ctl *ctl);
void ctl_free(struct ctl *ctl);
/* What has the kernel give up names and pages. It is the session's until ctl_stop(). */
struct drop_names *ctl_drop_names(const struct ctl *ctl);
/* The text of `status`. */
int ctl_status(struct ctl *ctl, struct text *t);

/* The directory itself, for a LOOKUP in the root. */
void ctl_dir_entry(struct ctl *ctl, struct fuse_entry_param *ret_entry);
/* It, or a folder in it. */
void ctl_folder_entry(struct ctl *ctl, fuse_ino_t ino, struct fuse_entry_param *ret_entry);
/* Is a file or folder of that kind there at all? */
static inline bool ctl_has(const struct session *session, enum ctl_file file)
{
    return file < CTL_SNAPSHOTS || file > CTL_DELETED || session->views;
}
/*
 * What is in it or in a folder of it: of a file a new node with one reference, with the text that the caller
 * may see. -ENOENT, -ESTALE, -ENFILE too many nodes are held, -ENOMEM. */
int ctl_lookup(struct ctl *ctl, fuse_req_t req, fuse_ino_t parent, const char *name,
               struct fuse_entry_param *ret_entry);
void ctl_forget(struct ctl *ctl, fuse_ino_t ino, uint64_t n);
/* What stat(2) shows; for a file whose node is gone -ESTALE. */
int ctl_getattr(struct ctl *ctl, fuse_ino_t ino, struct stat *ret_st);
/* May the caller write to control files, and change which snapshots there are? */
bool ctl_is_trusted(const struct ctl *ctl, fuse_req_t req);
/* May the caller list the control directory, or a folder in it? 0 or -EACCES. */
int ctl_check_lister(const struct ctl *ctl, fuse_req_t req);
/* What stat(2) shows of `file` in a listing: number and type only. */
void ctl_list_stat(enum ctl_file file, struct stat *ret_st);

/* These answer the request, now or later. */
void ctl_read(struct ctl *ctl, fuse_req_t req, fuse_ino_t ino, size_t size, off_t off);
/* may_be_cut: the rest of the last line may come with a request of its own. */
void ctl_write(struct ctl *ctl, fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size,
               bool may_be_cut);

#endif
