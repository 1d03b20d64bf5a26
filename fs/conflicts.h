/*
 * conflicts.h - `-o conflicts=refuse`: who has seen a memory, and then replaces it although somebody else has
 * changed it since, gets ECANCELED. docs/CONFLICTS.md has the rules.
 *
 * Without the option each of these is the engine's call of that name, and nothing else. */
#ifndef ENGRAMFS_FS_CONFLICTS_H
#define ENGRAMFS_FS_CONFLICTS_H

#include "seen.h"
#include "session.h"

/* Handles of descriptors have the process that opened it, how it reads, and below ops.c's one bit. */
enum { CONFLICTS_HANDLE_BITS = 1 };

/* Before the session begins: what it needs, if it has the option. False: no memory. */
bool conflicts_start(struct session *session);
void conflicts_stop(struct session *session);

/* ---- descriptors -------------------------------------------------------------- */

/* A descriptor of the file is given, by OPEN or CREATE: adds to what fi is to say. */
void conflicts_opened(fuse_req_t req, const struct eng_attr *now, bool created, struct fuse_file_info *fi);
/* The descriptor with that handle is open no more. */
void conflicts_release(struct session *session, fuse_ino_t ino, uint64_t handle);

/* ---- content ------------------------------------------------------------------ */

ssize_t conflicts_read(fuse_req_t req, fuse_ino_t ino, void *buf, size_t size, uint64_t off,
                       const struct fuse_file_info *fi);
/* Around a change of content that begins at `off`. `by_nobody`: of pages that the kernel writes back. */
struct conflicts_change {
    struct seen *seen; /* NULL: without the option, as all that follows */
    struct seen_change change;
    struct seen_process who;
    uint64_t version, size; /* before */
    bool by_nobody;
};
void conflicts_begin(fuse_req_t req, struct conflicts_change *change, fuse_ino_t ino, bool by_nobody);
void conflicts_end(fuse_req_t req, struct conflicts_change *change, uint64_t off);
/* `by_name`: not by a descriptor. That of open(2) with O_TRUNC is one, and comes after its OPEN. */
int conflicts_setattr(fuse_req_t req, fuse_ino_t ino, const struct eng_attr *attr, unsigned mask,
                      bool by_name, struct eng_attr *ret_attr);

/* ---- names -------------------------------------------------------------------- */

int conflicts_create(fuse_req_t req, const struct eng_caller *who, fuse_ino_t parent, const char *name,
                     mode_t mode, dev_t rdev, const char *target, struct eng_attr *ret_attr);
/* As guards.h has these two. */
int conflicts_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name,
                   struct eng_attr *ret_attr);
int conflicts_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
int conflicts_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                     const char *new_name, unsigned flags);

#endif
