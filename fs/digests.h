/*
 * digests.h - digests of contents (user.engram.content_hash), computed when asked for and kept by version.
 *
 * What is asked for is answered at once if it is known, or takes no longer than a large read. Everything else
 * waits for the one thread that computes them, in which each user has a turn after the other. */
#ifndef ENGRAMFS_DIGESTS_H
#define ENGRAMFS_DIGESTS_H

#include "control/views.h"
#include "rules/xattr_rules.h"
#include "session.h"

struct digests;

/* What an attribute that xa_is_digest() is computed by. */
static inline enum eng_digest_kind digest_kind(enum xa_virtual which)
{
    return which == XA_CONTENT_SHA256 ? ENG_DIGEST_SHA256 : ENG_DIGEST_XXH3_64;
}

/* NULL: no memory. */
struct digests *digests_new(struct session *session);
/* Ends the thread; whoever still waits gets EINTR. No request may be under way, and the engine be open. */
void digests_free(struct digests *digests);
/* Answers a getxattr of the digest of a regular file, which the caller has seen as `attr`, in hexadecimal;
 * now or later. `size` as in getxattr(2). `past`: of that view, which is given back when the digest has
 * ended; NULL: of the store as it is. */
void digest_request(fuse_req_t req, const struct past *past, const struct eng_attr *attr,
                    enum eng_digest_kind kind, size_t size);

#endif
