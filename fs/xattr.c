/*
 * xattr.c - the four xattr requests: rules from rules/xattr_rules.c, values from the
 * engine, computed ones made here or in digests.c. */
#include "xattr.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "caller.h"
#include "control/nodes.h"
#include "digests.h"
#include "fsync.h"
#include "past.h"
#include "past_nodes.h"
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

/* A guard speaks of a file that gets a name; and of no other attribute, time or state. */
static int check_guarded(fuse_req_t req, fuse_ino_t ino)
{
    struct eng_attr attr;
    int r = eng_getattr(session_of(req)->eng, ino, &attr);
    return r || S_ISREG(attr.mode) ? r : -EINVAL;
}

void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
    if (refused(req, REQUEST_setxattr))
        return;
    int r = past_check_change(ino);
    if (!r)
        r = xa_check_set(name, value, size);
    if (!r && xa_is_guard(name))
        r = check_guarded(req, ino);
    if (!r)
        r = eng_setxattr(caller_engine(req), ino, name, value, size, (unsigned)flags);
    if (!r)
        attr_changed(session_of(req), ino); /* its ctime */
    reply_err(req, REQUEST_setxattr, fsync_change(req, r));
}

void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    if (refused(req, REQUEST_removexattr))
        return;
    int r = past_check_change(ino);
    if (!r)
        r = xa_check_remove(name);
    if (!r)
        r = eng_removexattr(caller_engine(req), ino, name);
    if (!r)
        attr_changed(session_of(req), ino);
    reply_err(req, REQUEST_removexattr, fsync_change(req, r));
}

/* 1: it is answered, or will be. */
static int computed(fuse_req_t req, fuse_ino_t ino, enum xa_virtual which, size_t size)
{
    struct eng_attr attr;
    int r = eng_getattr(session_of(req)->eng, ino, &attr);
    if (r)
        return r;
    if ((xa_is_digest(which) && !S_ISREG(attr.mode)) || which >= XA_SNAPSHOT_POSITION)
        return -ENODATA;
    if (xa_is_digest(which)) {
        digest_request(req, NULL, &attr, digest_kind(which), size);
        return 1;
    }
    uint64_t value = which == XA_VERSION ? attr.version : attr.generation;
    if (which == XA_STATE)
        r = eng_state(session_of(req)->eng, ino, &value);
    if (r)
        return r;
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRIu64, value);
    reply_xattr(req, REQUEST_getxattr, text, (size_t)n, size);
    return 1;
}

void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    if (refused(req, REQUEST_getxattr))
        return;
    if (past_shows(ino) && !paths_is_bare(ino)) {
        past_on_getxattr(req, ino, name, size);
        return;
    }
    struct session *session = session_of(req);
    enum xa_virtual which = xa_virtual(name);
    ssize_t n = ctl_owns(ino) ? -ENODATA : xa_check_get(name);
    if (n == 0 && which != XA_STORED) {
        n = computed(req, ino, which, size);
        if (n > 0)
            return;
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
        reply_xattr(req, REQUEST_getxattr, value, (size_t)n, size);
}

void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    if (refused(req, REQUEST_listxattr))
        return;
    if (past_shows(ino) && !paths_is_bare(ino)) {
        past_on_listxattr(req, ino, size);
        return;
    }
    struct session *session = session_of(req);
    if (ctl_owns(ino)) {
        reply_xattr(req, REQUEST_listxattr, "", 0, size);
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
    reply_xattr(req, REQUEST_listxattr, list, shown, size);
}
