/*
 * guards.h - renames and links of files that carry a guard (user.engram.if_match, docs/CONTROL.md).
 *
 * The engine looks at the guard. Where that needs the digest of a content that takes longer than a large read
 * the request is put aside until the thread of the digests has it, and handled anew then. */
#ifndef ENGRAMFS_FS_GUARDS_H
#define ENGRAMFS_FS_GUARDS_H

#include "guarded.h"
#include "session.h"

/* eng_rename(), if the guard of the source allows it; `otherwise`: what must be so if it has none, NULL:
 * nothing. 1: the request was put aside, or answered. */
int guards_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags, const struct eng_guard *otherwise);
/* eng_link(), likewise. Never 1. */
int guards_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name,
                const struct eng_guard *otherwise, struct eng_attr *ret_attr);

#endif
