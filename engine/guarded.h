/*
 * guarded.h - operations that are done only if something is so: guards. engine.h has the conventions. */
#ifndef ENGRAMFS_GUARDED_H
#define ENGRAMFS_GUARDED_H

#include "engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A guard is what must be so for an operation to be done. It is looked at where the operation is done: under
 * the same lock, behind all other checks, and what is done is one batch. So between the look and the deed
 * nothing happens. The target is what the name shows that the operation gives away: the new name of a rename
 * or a link, the name that is removed or put; of eng_setattr_if() the inode. */
enum eng_guard_kind {
    ENG_GUARD_STATE = 1, /* the target has the state (eng_state()) `state` */
    ENG_GUARD_NONE,      /* there is no target */
    ENG_GUARD_SHA256,    /* the target is a regular file, and its content has that SHA-256 */
    ENG_GUARD_SEEN,      /* the target is inode `ino`, and its content (eng_attr.version) is `version` */
    /* There is no target, and the content of inode `ino`, wherever that is, is `version`. */
    ENG_GUARD_MOVED,
    /* eng_rename_if(), eng_link_if(): what ENG_GUARD_XATTR of the source says, where it has that; else
     * nothing. Success removes it, in the same batch. */
    ENG_GUARD_STORED
};
/* `state:` and a number, 64 hexadecimal digits, or `none`. An xattr that eng_listxattr() does not tell, nor
 * that of a view, which has none; that is no part of a state, so that setting it changes no state and no
 * time and leaves no version; and of which the feed says nothing. eng_setxattr() takes any value. */
#define ENG_GUARD_XATTR "user.engram.if_match"

/*
 * SHA-256 of at most two contents, which are computed before the lock is taken; under it their versions are
 * compared. For a caller that must not wait so long: it gives a zeroed one with the guard. When the call
 * answers -EINPROGRESS it computes the digest of inode `wanted` (ENG_DIGEST_SHA256), says so by
 * eng_proof_add(), and calls again, with nothing else changed. `wanted` and `is_refused` are for the caller
 * to read, the other fields are the engine's. */
struct eng_proof {
    uint64_t wanted;
    bool is_refused; /* the guard does not hold: what is wanted tells whether the two contents are the same */
    unsigned place, tries;
    struct {
        uint64_t ino; /* 0: none */
        int result;
        struct eng_digest_value value;
    } known[2];
};
/* What computing the digest of `wanted` has come to: 0 and the value, or a negative errno. */
ENG_API void eng_proof_add(struct eng_proof *proof, int result, const struct eng_digest_value *value);

/* Each kind looks at its own fields alone. */
struct eng_guard {
    enum eng_guard_kind kind;
    uint64_t state;
    uint64_t ino, version;
    uint8_t sha256[32];
    struct eng_proof *proof; /* NULL: the call computes what digests it needs, in this thread */
    /* STORED: what is looked at where the source has none; NULL: nothing. Of that one the proof is this. */
    const struct eng_guard *otherwise;
};
/* The guard that a value of ENG_GUARD_XATTR means; `proof` becomes NULL. -EINVAL: it means none. */
ENG_API int eng_guard_parse(const char *value, size_t size, struct eng_guard *ret_guard);

/*
 * The calls of these names, with a guard; NULL: none. Their errors, and:
 * -ECANCELED: it is not so, and nothing has changed. (A content that is changed all the time while its
 * digest is computed is not so, either.)
 * -EEXIST: eng_link_if(), eng_create_if() and a target, whatever the guard.
 * -EREMCHG: of SEEN, another inode is there, or none; of MOVED, something is there, or the inode is no more.
 * -EINVAL: with ENG_RENAME_EXCHANGE, where source or target is a directory, and for a kind of no meaning
 * there: NONE for eng_setattr_if() and eng_unlink_if(), MOVED for the former, STORED for all but two; also a
 * STORED one that means nothing. (With eng_options.room_later -EAGAIN is that of a full disk alone.)
 *
 * eng_rename_if() with STATE or SHA256, asked for or STORED, is carried out also where the target's content
 * is that of the source: nothing gets lost that is not there again. (So that of several who count up one of
 * two may be lost, unless each writes what is its own.) Not so with NONE, by which several make sure that one
 * of them has made the name. For two names of one inode it does nothing, as POSIX has it: no guard is looked
 * at, and a stored one stays.
 * eng_link_if() never replaces anything, so that only NONE and MOVED can be so. */
ENG_API int eng_rename_if(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                          uint64_t new_parent, const char *new_name, unsigned flags,
                          const struct eng_guard *guard);
ENG_API int eng_link_if(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent,
                        const char *name, const struct eng_guard *guard, struct eng_attr *ret_attr);
ENG_API int eng_create_if(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                          uint32_t mode, uint64_t rdev, const char *target, const struct eng_guard *guard,
                          struct eng_attr *ret_attr);
ENG_API int eng_unlink_if(struct eng *eng, uint64_t parent, const char *name, const struct eng_guard *guard);
ENG_API int eng_setattr_if(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                           const struct eng_guard *guard, struct eng_attr *ret_attr);

/*
 * As eng_put_many(), with a guard for each record (guards[i] of records[i]; of kind 0, or `guards` NULL:
 * none), and all of them or nothing, in one batch. Returns 0, or the error of the first record that is
 * refused, whose `result` tells it; all others have 0 there. Errors of the guard as above, but an equal
 * content is no exception; STORED is -EINVAL, and so is a record of the same file as one before. -E2BIG: more
 * than ENG_PUT_ALL_MAX records, more than ENG_PUT_ALL_BYTES of content and fields together, or so many
 * attributes that what they replace does not go in one batch; -EBUSY: the files are written all the time. No
 * `result` tells these two. */
#define ENG_PUT_ALL_MAX 256
#define ENG_PUT_ALL_BYTES (UINT64_C(16) << 20)
ENG_API int eng_put_all(struct eng *eng, struct eng_record *records, const struct eng_guard *guards,
                        size_t n);

#ifdef __cplusplus
}
#endif
#endif
