/*
 * digest.h - the digest of a file's content in any view: eng_digest_begin() and its company. */
#ifndef ENGRAMFS_DIGEST_H
#define ENGRAMFS_DIGEST_H

#include "tree/view.h"

/* eng_digest_begin() and eng_content_hash() in any view. */
int digest_begin(const struct view *view, uint64_t ino, enum eng_digest_kind kind,
                 struct eng_digest **ret_digest);
int digest_content_hash(const struct view *view, uint64_t ino, uint64_t *ret_hash);

#endif
