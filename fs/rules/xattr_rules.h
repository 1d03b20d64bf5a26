/*
 * xattr_rules.h - the rules for extended attributes: which names exist, which
 * values they take, which are computed.
 *
 * Pure functions; nothing here knows of FUSE or of a store. */
#ifndef ENGRAMFS_RULES_XATTR_RULES_H
#define ENGRAMFS_RULES_XATTR_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Computed attributes: they answer by name, are never listed and cannot be set or removed. From
 * XA_SNAPSHOT_POSITION on they are those of the root of a past tree alone, from XA_ACTOR on those of a state
 * in history/ or deleted/. */
enum xa_virtual {
    XA_STORED,
    XA_CONTENT_HASH,
    XA_CONTENT_SHA256,
    XA_STATE,
    XA_VERSION,
    XA_GENERATION,
    XA_SNAPSHOT_POSITION,
    XA_SNAPSHOT_TIME,
    XA_SNAPSHOT_BYTES,
    XA_SNAPSHOT_SHARED_BYTES,
    XA_EXACT,
    XA_ACTOR,
    XA_EVENT,
    XA_ENDED
};

enum xa_virtual xa_virtual(const char *name);
/* Is it a digest of the content, of a regular file alone? */
static inline bool xa_is_digest(enum xa_virtual which)
{
    return which == XA_CONTENT_HASH || which == XA_CONTENT_SHA256;
}

/* Is it the guard of a file (docs/CONTROL.md)? Stored, but never listed; of regular files alone. */
bool xa_is_guard(const char *name);

/*
 * May `name` be set to this value? 0; -EPERM for a computed attribute;
 * -EOPNOTSUPP for a namespace that is not kept (POSIX ACLs among them);
 * -EINVAL for a user.engram.* value out of its range; -ERANGE or -E2BIG for a name or a value too long. */
int xa_check_set(const char *name, const void *value, size_t size);
/* May `name` be asked for (or removed)? 0, -EOPNOTSUPP, -ERANGE; for removal also -EPERM. */
int xa_check_get(const char *name);
int xa_check_remove(const char *name);
/*
 * The answer to a question for an attribute that is not there: -ENODATA; but where the kernel does not look
 * at labels (`labels` is false), -EOPNOTSUPP for security.selinux. That makes `ls -l` ask once, and not for
 * each file. */
int xa_absent(const char *name, bool labels);

/*
 * Removes from a listxattr list of `size` bytes what an unprivileged caller
 * may not see (trusted.*), what is computed, and the guard; returns the new size. */
size_t xa_filter_list(char *list, size_t size, int privileged);

#endif
