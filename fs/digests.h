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
struct waiter;

/* What an attribute that xa_is_digest() is computed by. */
static inline enum eng_digest_kind digest_kind(enum xa_virtual which)
{
    return which == XA_CONTENT_SHA256 ? ENG_DIGEST_SHA256 : ENG_DIGEST_XXH3_64;
}

/* NULL: no memory. */
struct digests *digests_new(struct session *session);
/* Ends the thread; whoever still waits gets EINTR. No request may be under way, and the engine be open. */
void digests_free(struct digests *digests);
/* Its first half: the thread ends, which may handle requests anew as long as the session's descriptor is
 * open. */
void digests_stop(struct digests *digests);
/* Answers a getxattr of the digest of a regular file, which the caller has seen as `attr`, in hexadecimal;
 * now or later. `size` as in getxattr(2). `past`: of that view, which is given back when the digest has
 * ended; NULL: of the store as it is. */
void digest_request(fuse_req_t req, const struct past *past, const struct eng_attr *attr,
                    enum eng_digest_kind kind, size_t size);

/* The digest of a file as it is, if it is known or takes no longer than a large read. 1: it takes longer, and
 * was begun; else 0 or a negative errno. */
int digest_now(struct session *session, fuse_ino_t ino, enum eng_digest_kind kind,
               struct eng_digest_value *ret_value, struct eng_digest **ret_digest);
/* Called in the thread of the digests, under no lock, or by whoever ends that; -EINTR: the waiter has gone,
 * or the session ends. */
typedef void digest_then(void *take_arg, int result, const struct eng_digest_value *value);
/* Leaves it to that thread, in the turns of `uid`; the waiter stays the caller's, whom `then` is told about.
 * -EAGAIN: too many wait; -ENOMEM. Then nothing is called. */
int digest_later(struct session *session, uid_t uid, struct waiter *waiter, fuse_ino_t ino,
                 enum eng_digest_kind kind, struct eng_digest *take_digest, digest_then *then, void *arg);

#endif
