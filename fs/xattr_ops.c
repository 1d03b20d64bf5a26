/*
 * xattr_ops.c - the four xattr requests: rules from xattr.c, values from the
 * engine, computed ones made here.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control.h"
#include "face.h"
#include "xattr.h"

/* ENOSYS makes the kernel stop asking: what -o noxattr is for. */
static bool refused(fuse_req_t req, enum face_op op)
{
    FACE_COUNT(face_of(req), op);
    if (!face_of(req)->opt->noxattr)
        return false;
    (void)fuse_reply_err(req, ENOSYS);
    return true;
}

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    if (refused(req, FACE_setxattr))
        return;
    int err = ctl_owns(ino) ? -EPERM : xa_check_set(name, value, size);
    if (!err)
        err = eng_setxattr(face_of(req)->eng, ino, name, value, size, (unsigned)flags);
    face_reply_err(req, FACE_setxattr, err);
}

void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (refused(req, FACE_removexattr))
        return;
    int err = ctl_owns(ino) ? -EPERM : xa_check_remove(name);
    if (!err)
        err = eng_removexattr(face_of(req)->eng, ino, name);
    face_reply_err(req, FACE_removexattr, err);
}

/* Answers a question for `n` bytes of value: its length when size is 0. */
static void reply_value(fuse_req_t req, enum face_op op, const char *value, size_t n, size_t size)
{
    if (size == 0)
        (void)fuse_reply_xattr(req, n);
    else if (n > size)
        face_reply_err(req, op, -ERANGE);
    else
        (void)fuse_reply_buf(req, value, n);
}

/* The hash of the content as it is at `attr->version`, from memory if it was computed for that version. */
static int content_hash(struct face *face, const struct eng_attr *attr, uint64_t *ret_hash)
{
    struct face_hash *slot = &face->hashes[(attr->ino ^ attr->ino >> 12) % FACE_HASHES];
    (void)pthread_mutex_lock(&face->hash_lock);
    bool hit = slot->ino == attr->ino && slot->version == attr->version;
    uint64_t hash = slot->hash;
    (void)pthread_mutex_unlock(&face->hash_lock);
    if (hit) {
        *ret_hash = hash;
        return 0;
    }
    struct eng_attr after;
    int err = eng_content_hash(face->eng, attr->ino, &hash);
    if (!err)
        err = eng_getattr(face->eng, attr->ino, &after);
    if (err)
        return err;
    if (after.version == attr->version) { /* else a writer came between: right, but of no known version */
        (void)pthread_mutex_lock(&face->hash_lock);
        *slot = (struct face_hash){.ino = attr->ino, .version = attr->version, .hash = hash};
        (void)pthread_mutex_unlock(&face->hash_lock);
    }
    *ret_hash = hash;
    return 0;
}

static int computed(struct face *face, fuse_ino_t ino, enum xa_virtual which, char text[32])
{
    struct eng_attr attr;
    int err = eng_getattr(face->eng, ino, &attr);
    if (err)
        return err;
    uint64_t value = which == XA_VERSION ? attr.version : attr.generation;
    if (which == XA_CONTENT_HASH) {
        err = S_ISREG(attr.mode) ? content_hash(face, &attr, &value) : -ENODATA;
        if (err)
            return err;
    }
    return snprintf(text, 32, which == XA_CONTENT_HASH ? "%016" PRIx64 : "%" PRIu64, value);
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (refused(req, FACE_getxattr))
        return;
    struct face *face = face_of(req);
    enum xa_virtual which = xa_virtual(name);
    ssize_t n = ctl_owns(ino) ? -ENODATA : xa_check_get(name);
    if (n == 0 && which != XA_STORED) {
        char text[32];
        n = computed(face, ino, which, text);
        if (n >= 0) {
            reply_value(req, FACE_getxattr, text, (size_t)n, size);
            return;
        }
    }
    char *value = NULL;
    if (n == 0) {
        value = size ? face_buffer(size) : NULL;
        n = size && !value ? -ENOMEM : eng_getxattr(face->eng, ino, name, value, size);
    }
    if (n == -ENODATA)
        n = xa_absent(name, face->labels);
    if (n < 0)
        face_reply_err(req, FACE_getxattr, (int)n);
    else
        reply_value(req, FACE_getxattr, value, (size_t)n, size);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (refused(req, FACE_listxattr))
        return;
    struct face *face = face_of(req);
    if (ctl_owns(ino)) {
        reply_value(req, FACE_listxattr, "", 0, size);
        return;
    }
    /* Always the whole list: which names count depends on the caller. */
    char *list = face_buffer(ENG_XATTR_LIST_MAX);
    ssize_t n = list ? eng_listxattr(face->eng, ino, list, ENG_XATTR_LIST_MAX) : -ENOMEM;
    if (n < 0) {
        face_reply_err(req, FACE_listxattr, (int)n);
        return;
    }
    size_t shown = xa_filter_list(list, (size_t)n, fuse_req_ctx(req)->uid == 0);
    reply_value(req, FACE_listxattr, list, shown, size);
}
