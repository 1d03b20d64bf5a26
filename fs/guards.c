/*
 * guards.c - see guards.h. State: what the thread of the digests hands to the request that it handles anew.
 * No locks.
 *
 * Linux holds the locks of both folders over a RENAME: names in them are not looked up, nor changed, until it
 * is answered. All else goes on. So those of others than root and whoever mounted do not wait: one that waits
 * for a moment comes again and again. Who needs a digest may ask for the attribute first, which holds up
 * nobody. */
#include "guards.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "caller.h"
#include "digests.h"
#include "reply.h"
#include "room.h"
#include "waiters.h"

/* A request that waits for a digest. */
struct aside {
    struct session *session;
    struct waiter *waiter;
    struct eng_proof proof;
    struct timespec since;
    bool interrupted; /* by then, and not by what stops it */
    size_t size;
    _Alignas(16) char request[];
};

/* Of this thread. */
static __thread struct {
    const struct eng_proof *proof; /* of what it handles anew; NULL: of nothing */
    bool interrupted;              /* as in struct aside */
    bool released;                 /* waiter_done() has given the request back */
} current;

/* As waiter_reply: gives the request back, to be handled anew, or ends it. */
static void release(fuse_req_t req, int result, size_t op, const char *text)
{
    (void)text;
    if (!result) {
        current.interrupted = current.interrupted || fuse_req_interrupted(req);
        if (current.interrupted && waiter_must_stop(req))
            result = -EINTR;
    }
    if (!result) {
        current.released = true;
        fuse_reply_none(req);
        return;
    }
    request_failed(&session_of(req)->stats, (enum request_op)op);
    (void)fuse_reply_err(req, -result);
}

/* In the thread of the digests. What cannot be computed is for the engine to judge. */
static void handle_anew(void *arg, int result, const struct eng_digest_value *value)
{
    struct aside *a = arg;
    struct fuse_buf buf = {.size = a->size, .mem = a->request};
    const bool was = current.interrupted; /* of the request that this thread handles, which drops this one */
    eng_proof_add(&a->proof, result, value);
    current.released = false;
    current.interrupted = a->interrupted;
    waiter_done(a->waiter, result == -EINTR ? -EINTR : 0, NULL);
    if (!current.released) {
        current.interrupted = was;
    } else {
        current.proof = &a->proof;
        room_note_request(a->request, a->size);
        request_again(&a->since);
        fuse_session_process_buf(a->session->fuse, &buf);
        request_again(NULL);
        room_note_request(NULL, 0);
        current.proof = NULL;
    }
    free(a);
}

/* What a rename comes to for which there is no digest, for want of time or of a place to wait: where the
 * guard does not hold that it is so; else who needs it asks for it first. */
static int without_digest(const struct eng_proof *proof)
{
    return proof->is_refused ? -ECANCELED : -EBUSY;
}

static bool may_wait(const struct session *session, uid_t uid)
{
    return uid == 0 || uid == session->uid;
}

/* Puts the request aside until the digest that was begun is there; 1. */
static int put_aside(fuse_req_t req, enum request_op op, const struct eng_proof *proof,
                     struct eng_digest *take_digest)
{
    struct session *session = session_of(req);
    const size_t size = room_request_size();
    struct aside *a = size ? malloc(sizeof *a + size) : NULL;
    struct waiter *waiter = a ? waiter_begin(session->waiters, req, release, op) : NULL;
    const uid_t uid = fuse_req_ctx(req)->uid;
    if (!waiter) {
        free(a);
        eng_digest_end(take_digest);
        return -ENOMEM;
    }
    *a = (struct aside){.session = session,
                        .waiter = waiter,
                        .proof = *proof,
                        .since = request_set_aside(),
                        .interrupted = current.proof && current.interrupted,
                        .size = size};
    room_copy_request(a->request);
    if (a->interrupted)
        waiter_watch(waiter);
    waiter_ready(waiter); /* from here on an interrupt may have answered it */
    int r = digest_later(session, uid, waiter, proof->wanted, ENG_DIGEST_SHA256, take_digest, handle_anew, a);
    if (r) {
        waiter_done(waiter, r == -EAGAIN ? without_digest(proof) : r, NULL);
        free(a);
    }
    return 1;
}

static bool mode_lets_read(fuse_req_t req, const struct eng_attr *attr)
{
    if (fuse_req_ctx(req)->uid == attr->uid)
        return attr->mode & S_IRUSR;
    return attr->mode & (caller_in_group(req, attr->gid) ? S_IRGRP : S_IROTH);
}

/* Whether the caller may read the content that a digest is wanted of: that a guard holds, or does not, tells
 * what it is, as the attribute does, for which the kernel asks for that right. */
static int check_readable(fuse_req_t req, uint64_t ino)
{
    struct eng_attr attr;
    int r = eng_getattr(session_of(req)->eng, ino, &attr);
    const bool is_asked = !r && !session_of(req)->opt->noperm && !caller_is_above_modes(req);
    return is_asked && !mode_lets_read(req, &attr) ? -EACCES : r;
}

/* What the engine wants for its proof: 0 it is there, 1 the request waits for it, or an error. */
static int prove(fuse_req_t req, enum request_op op, struct eng_proof *proof)
{
    struct session *session = session_of(req);
    struct eng_digest_value value;
    struct eng_digest *digest = NULL;
    int r = check_readable(req, proof->wanted);
    if (!r)
        r = digest_now(session, proof->wanted, ENG_DIGEST_SHA256, &value, &digest);
#ifdef ENG_MUTANTS
    for (char *buf = getenv("FS_MUTANT_HASHED_HERE") ? reply_buffer(1 << 20) : NULL; r > 0 && buf;)
        r = eng_digest_step(digest, buf, 1 << 20, &value); /* tests/mount/guards.sh */
#endif
    if (r == -ENOMEM)
        return r;
    if (r > 0 && may_wait(session, fuse_req_ctx(req)->uid))
        return put_aside(req, op, proof, digest);
    if (r > 0) {
        eng_digest_end(digest);
        return without_digest(proof);
    }
    eng_proof_add(proof, r, &value);
    return 0;
}

int guards_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                  const char *new_name, unsigned flags, const struct eng_guard *otherwise)
{
    const struct eng_caller who = caller_of(req);
    struct eng_proof proof = {0};
    const struct eng_guard guard = {.kind = ENG_GUARD_STORED, .proof = &proof, .otherwise = otherwise};
    int r, wait = 0;
    if (current.proof)
        proof = *current.proof;
    do {
        r = eng_rename_if(caller_engine(req), &who, parent, name, new_parent, new_name, flags, &guard);
        if (r == -EINPROGRESS)
            wait = prove(req, REQUEST_rename, &proof);
    } while (r == -EINPROGRESS && !wait);
    return r == -EINPROGRESS ? wait : r;
}

int guards_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name,
                const struct eng_guard *otherwise, struct eng_attr *ret_attr)
{
    const struct eng_caller who = caller_of(req);
    const struct eng_guard guard = {.kind = ENG_GUARD_STORED, .otherwise = otherwise};
    return eng_link_if(caller_engine(req), &who, ino, parent, name, &guard, ret_attr);
}
