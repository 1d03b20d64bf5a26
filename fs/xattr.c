/*
 * xattr.c - the four xattr requests: rules from rules/xattr_rules.c, values from the
 * engine, computed ones made here. */
#include "xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control/nodes.h"
#include "reply.h"
#include "rules/xattr_rules.h"

/* ENOSYS makes the kernel stop asking: what -o noxattr is for. */
static bool refused(fuse_req_t req, enum request_op op)
{
    REQUEST_COUNT(session_of(req), op);
    if (!session_of(req)->opt->noxattr)
        return false;
    (void)fuse_reply_err(req, ENOSYS);
    return true;
}

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    if (refused(req, REQUEST_setxattr))
        return;
    int r = ctl_owns(ino) ? -EPERM : xa_check_set(name, value, size);
    if (!r)
        r = eng_setxattr(session_of(req)->eng, ino, name, value, size, (unsigned)flags);
    reply_err(req, REQUEST_setxattr, r);
}

void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (refused(req, REQUEST_removexattr))
        return;
    int r = ctl_owns(ino) ? -EPERM : xa_check_remove(name);
    if (!r)
        r = eng_removexattr(session_of(req)->eng, ino, name);
    reply_err(req, REQUEST_removexattr, r);
}

/* Answers a question for `n` bytes of value: its length when size is 0. */
static void reply_value(fuse_req_t req, enum request_op op, const char *value, size_t n, size_t size)
{
    if (size == 0)
        (void)fuse_reply_xattr(req, n);
    else if (n > size)
        reply_err(req, op, -ERANGE);
    else
        (void)fuse_reply_buf(req, value, n);
}

/* The hash of the content as it is at `attr->version`, from memory if it was computed for that version. */
static int content_hash(struct session *session, const struct eng_attr *attr, uint64_t *ret_hash)
{
    struct session_hash *slot = &session->hashes[(attr->ino ^ attr->ino >> 12) % SESSION_HASHES];
    (void)pthread_mutex_lock(&session->hash_lock);
    bool hit = slot->ino == attr->ino && slot->version == attr->version;
    uint64_t hash = slot->hash;
    (void)pthread_mutex_unlock(&session->hash_lock);
    if (hit) {
        *ret_hash = hash;
        return 0;
    }
    struct eng_attr after;
    int r = eng_content_hash(session->eng, attr->ino, &hash);
    if (!r)
        r = eng_getattr(session->eng, attr->ino, &after);
    if (r)
        return r;
    if (after.version == attr->version) { /* else a writer came between: right, but of no known version */
        (void)pthread_mutex_lock(&session->hash_lock);
        *slot = (struct session_hash){.ino = attr->ino, .version = attr->version, .hash = hash};
        (void)pthread_mutex_unlock(&session->hash_lock);
    }
    *ret_hash = hash;
    return 0;
}

static int computed(struct session *session, fuse_ino_t ino, enum xa_virtual which, char text[32])
{
    struct eng_attr attr;
    int r = eng_getattr(session->eng, ino, &attr);
    if (r)
        return r;
    uint64_t value = which == XA_VERSION ? attr.version : attr.generation;
    if (which == XA_CONTENT_HASH) {
        r = S_ISREG(attr.mode) ? content_hash(session, &attr, &value) : -ENODATA;
        if (r)
            return r;
    }
    return snprintf(text, 32, which == XA_CONTENT_HASH ? "%016" PRIx64 : "%" PRIu64, value);
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (refused(req, REQUEST_getxattr))
        return;
    struct session *session = session_of(req);
    enum xa_virtual which = xa_virtual(name);
    ssize_t n = ctl_owns(ino) ? -ENODATA : xa_check_get(name);
    if (n == 0 && which != XA_STORED) {
        char text[32];
        n = computed(session, ino, which, text);
        if (n >= 0) {
            reply_value(req, REQUEST_getxattr, text, (size_t)n, size);
            return;
        }
    }
    char *value = NULL;
    if (n == 0) {
        value = size ? reply_buffer(size) : NULL;
        n = size && !value ? -ENOMEM : eng_getxattr(session->eng, ino, name, value, size);
    }
    if (n == -ENODATA)
        n = xa_absent(name, session->labels);
    if (n < 0)
        reply_err(req, REQUEST_getxattr, (int)n);
    else
        reply_value(req, REQUEST_getxattr, value, (size_t)n, size);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (refused(req, REQUEST_listxattr))
        return;
    struct session *session = session_of(req);
    if (ctl_owns(ino)) {
        reply_value(req, REQUEST_listxattr, "", 0, size);
        return;
    }
    /* Always the whole list: which names count depends on the caller. */
    char *list = reply_buffer(ENG_XATTR_LIST_MAX);
    ssize_t n = list ? eng_listxattr(session->eng, ino, list, ENG_XATTR_LIST_MAX) : -ENOMEM;
    if (n < 0) {
        reply_err(req, REQUEST_listxattr, (int)n);
        return;
    }
    size_t shown = xa_filter_list(list, (size_t)n, fuse_req_ctx(req)->uid == 0);
    reply_value(req, REQUEST_listxattr, list, shown, size);
}
