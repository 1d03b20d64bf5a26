/*
 * past.c - see past.h. No state, no locks. */
#include "past.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "attr.h"
#include "caller.h"
#include "control/drop_names.h"
#include "digests.h"
#include "fsync.h"
#include "fuse_compat.h"
#include "holes.h"
#include "messages.h"
#include "past_nodes.h"
#include "reply.h"
#include "rules/rfc3339.h"
#include "rules/xattr_rules.h"

/* Places in the listing of snapshots: behind "." and "..", in order of batches, which are not used twice. */
enum { COOKIE_BATCH = 3 };

/* ---- rights --------------------------------------------------------------- */

/* past_check_node() of a node of past_paths.h. */
static int check_path_node(fuse_req_t req, const struct past *past, fuse_ino_t node, uint64_t ino,
                           enum past_right right)
{
    int r = ctl_paths_is_shut(node) ? -EACCES : past_check(req, past, ino, right);
    if (!r)
        r = paths_check_way(req, node, past);
    if (r || past->whose == fuse_req_ctx(req)->uid || past->whose == 0)
        return r;
    return past_check_whose(session_of(req), past, past->whose, ino, right);
}

int past_check_node(fuse_req_t req, const struct past *past, fuse_ino_t node, uint64_t ino,
                    enum past_right right)
{
    if (past->of_path)
        return check_path_node(req, past, node, ino, right);
    const struct ctl_views_node n = ctl_views_node(node);
    int r = n.shut ? -EACCES : past_check(req, past, ino, right);
    if (r || n.caller == past->caller || n.caller == 0)
        return r;
    return past_check_whose(session_of(req), past, ctl_views_uid(past->views, n.caller), ino, right);
}

/* ---- nodes ---------------------------------------------------------------- */

int past_begin_request(fuse_req_t req, fuse_ino_t node, struct past *ret_past, uint64_t *ret_ino)
{
    const struct session *session = session_of(req);
    if (ctl_paths_owns(node))
        return paths_begin(req, node, ret_past, ret_ino);
    if (!session->views || !ctl_views_owns(node)) /* a file handle of another mount, or a forged one */
        return -ESTALE;
    return ctl_views_get_node(session->views, node, fuse_req_ctx(req)->uid, ctl_is_trusted(session->ctl, req),
                              ret_past, ret_ino);
}

static void fill_entry(fuse_req_t req, const struct past *past, const struct eng_attr *attr,
                       struct fuse_entry_param *e)
{
    const enum past_right right = S_ISDIR(attr->mode) ? PAST_LIST : PAST_READ;
    bool shut = past_check(req, past, attr->ino, right) != 0;
    memset(e, 0, sizeof *e);
    e->ino = ctl_views_nodeid_of(past, attr->ino, shut);
    e->generation = past->batch;
    e->attr_timeout = past_timeout(past); /* the name is asked for each time */
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_PAST_KEPT_IN_KERNEL")) /* tests/mount/past.sh */
        e->entry_timeout = e->attr_timeout = REPLY_TIMEOUT;
#endif
    past_stat(session_of(req), past, attr, &e->attr);
    if (past->caller != 0)
        e->attr.st_mode = past_safe_mode(past, attr);
}

static void reply_node(fuse_req_t req, const struct past *past, struct eng_attr *attr)
{
    struct ctl_views *views = session_of(req)->views;
    struct fuse_entry_param e;
    past_count_bytes(past, attr);
    fill_entry(req, past, attr, &e);
    ctl_views_ref(views, past, 1);
    if (fuse_reply_entry(req, &e) < 0)
        ctl_views_forget(views, e.ino, 1);
}

/* ---- names ---------------------------------------------------------------- */

/* What has that name in the folder of snapshots or of times. */
static int parse_root(const struct session *session, fuse_ino_t folder, const char *name,
                      struct ctl_views_what *ret_what)
{
    int64_t when = 0;
    *ret_what = (struct ctl_views_what){.is_at = folder == CTL_AT_INO};
    if (!ret_what->is_at)
        return eng_snapshot_find(session->eng, name, &ret_what->key);
    if (!rfc3339_parse(name, strlen(name), &when))
        return -ENOENT;
    ret_what->key = (uint64_t)when;
    return 0;
}

/* The root that has that name, with a view that past_done() gives back. */
static int find_root(fuse_req_t req, fuse_ino_t folder, const char *name, struct past *ret_past,
                     struct eng_attr *ret_attr)
{
    const struct session *session = session_of(req);
    struct ctl_views_what what;
    int r = parse_root(session, folder, name, &what);
    if (r)
        return r;
    r = ctl_views_get(session->views, &what, fuse_req_ctx(req)->uid, ctl_is_trusted(session->ctl, req),
                      ret_past);
    past_look_at_memory(session);
    if (r)
        return r;
    r = eng_view_getattr(ret_past->view, ENG_ROOT_INO, ret_attr);
    if (r)
        past_done(ret_past);
    return r == -ESTALE ? -ENOENT : r; /* by now it is older than what is kept */
}

static void reply_folder(fuse_req_t req, fuse_ino_t ino)
{
    struct fuse_entry_param e;
    ctl_folder_entry(session_of(req)->ctl, ino, &e);
    (void)fuse_reply_entry(req, &e); /* nothing is counted for it */
}

static void age_stat(const struct session *session, fuse_ino_t ino, struct stat *ret_st)
{
    char target[AGES_TARGET_MAX];
    memset(ret_st, 0, sizeof *ret_st);
    ages_target(ino, target);
    ret_st->st_ino = ino;
    ret_st->st_mode = S_IFLNK | 0777;
    ret_st->st_nlink = 1;
    ret_st->st_size = (off_t)strlen(target);
    ret_st->st_uid = session->uid;
    ret_st->st_gid = session->gid;
}

static void reply_age(fuse_req_t req, fuse_ino_t ino)
{
    struct fuse_entry_param e = {.ino = ino}; /* it leads elsewhere at each time */
    age_stat(session_of(req), ino, &e.attr);
    (void)fuse_reply_entry(req, &e); /* nothing is counted for it */
}

/* In the folder of snapshots or of times. 1: it is answered. */
static int look_up_root(fuse_req_t req, fuse_ino_t folder, const char *name, struct past *ret_past,
                        struct eng_attr *ret_attr)
{
    bool up = strcmp(name, "..") == 0;
    uint64_t age = folder == CTL_AT_INO ? ages_parse(name, (int64_t)time(NULL)) : 0;
    if (!session_of(req)->views)
        return -ESTALE;
    if (up || strcmp(name, ".") == 0) /* by a file handle */
        reply_folder(req, up ? CTL_DIR_INO : folder);
    else if (age)
        reply_age(req, age);
    else
        return find_root(req, folder, name, ret_past, ret_attr);
    return 1;
}

/* In a folder of a view. 1: it is answered. */
static int look_up_below(fuse_req_t req, fuse_ino_t parent, const char *name, struct past *ret_past,
                         struct eng_attr *ret_attr)
{
    bool up = strcmp(name, "..") == 0, itself = strcmp(name, ".") == 0;
    uint64_t dir = 0;
    int r = past_begin_request(req, parent, ret_past, &dir);
    if (r)
        return r;
    if (up && dir == ENG_ROOT_INO) {
        reply_folder(req, past_folder(ret_past));
        r = 1;
    }
    if (!r && !itself && !up)
        r = past_check(req, ret_past, dir, PAST_SEARCH);
    if (!r)
        r = eng_view_lookup(ret_past->view, dir, name, ret_attr);
    if (r)
        past_done(ret_past);
    return r;
}

void past_on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct past past;
    struct eng_attr attr;
    bool is_root = parent == CTL_SNAPSHOTS_INO || parent == CTL_AT_INO;
    int r = is_root ? look_up_root(req, parent, name, &past, &attr)
                    : look_up_below(req, parent, name, &past, &attr);
    if (r < 0)
        reply_err(req, REQUEST_lookup, r);
    if (r)
        return;
    reply_node(req, &past, &attr);
    past_done(&past);
}

struct telling {
    struct session *session;
    uint64_t from;
    int (*emit)(void *arg, const char *name, uint64_t ino, uint64_t cookie);
    void *arg;
};

static int tell(void *arg, const struct eng_snapshot *snapshot)
{
    const struct telling *t = arg;
    const uint64_t cookie = snapshot->batch + COOKIE_BATCH;
    if (cookie <= t->from)
        return 0;
    const struct ctl_views_what what = {.key = snapshot->batch};
    uint64_t ino = ctl_views_shown_ino(t->session->eng, &what, ENG_ROOT_INO);
    return t->emit(t->arg, snapshot->name, ino, cookie);
}

int past_list_snapshots(struct session *session, uint64_t from,
                        int (*emit)(void *arg, const char *name, uint64_t ino, uint64_t cookie), void *arg)
{
    struct telling telling = {session, from, emit, arg};
    int r = eng_snapshot_list(session->eng, tell, &telling);
    return r < 0 ? r : 0;
}

/* ---- reading -------------------------------------------------------------- */

static void age_on_getattr(fuse_req_t req, fuse_ino_t ino, bool is_statx)
{
    struct stat st;
    age_stat(session_of(req), ino, &st);
    if (is_statx)
        (void)compat_reply_statx(req, &st, NULL, 0);
    else
        (void)fuse_reply_attr(req, &st, 0);
}

static bool past_is_roots(fuse_ino_t node)
{
    return ctl_paths_owns(node) ? ctl_paths_is_roots(node) : ctl_views_node(node).caller == 0;
}

void past_on_getattr(fuse_req_t req, fuse_ino_t ino, bool is_statx)
{
    if (ctl_paths_owns(ino)) {
        paths_on_getattr(req, ino, is_statx);
        return;
    }
    REQUEST_COUNT(session_of(req), REQUEST_getattr);
    struct past past;
    struct eng_attr attr;
    struct stat st;
    uint64_t of = 0;
    if (ages_owns(ino)) {
        age_on_getattr(req, ino, is_statx);
        return;
    }
    int r = past_begin_request(req, ino, &past, &of);
    if (r) {
        reply_err(req, REQUEST_getattr, r);
        return;
    }
    r = eng_view_getattr(past.view, of, &attr);
    const double timeout = past_timeout(&past);
    if (!r)
        past_count_bytes(&past, &attr);
    if (!r)
        past_stat(session_of(req), &past, &attr, &st);
    if (!r && !past_is_roots(ino))
        st.st_mode = past_safe_mode(&past, &attr);
    if (r)
        reply_err(req, REQUEST_getattr, r);
    else if (is_statx)
        (void)compat_reply_statx(req, &st, &attr.btime, timeout);
    else
        (void)fuse_reply_attr(req, &st, timeout);
    past_done(&past);
}

void past_on_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct past past;
    uint64_t of = 0;
    char target[ENG_SYMLINK_MAX + 1];
    if (ages_owns(ino)) {
        ages_target(ino, target);
        (void)fuse_reply_readlink(req, target);
        return;
    }
    int r = past_begin_request(req, ino, &past, &of);
    if (r) {
        reply_err(req, REQUEST_readlink, r);
        return;
    }
    ssize_t n = past_check_node(req, &past, ino, of, PAST_READ);
    if (n == 0)
        n = eng_view_readlink(past.view, of, target, sizeof target);
    past_done(&past);
    if (n < 0)
        reply_err(req, REQUEST_readlink, (int)n);
    else
        (void)fuse_reply_readlink(req, target);
}

void past_on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off)
{
    struct past past;
    uint64_t of = 0;
    void *buf = reply_buffer(size);
    int r = buf ? past_begin_request(req, ino, &past, &of) : -ENOMEM;
    if (r) {
        reply_err(req, REQUEST_read, r);
        return;
    }
    ssize_t n = past_check_node(req, &past, ino, of, PAST_READ);
    if (n == 0)
        n = eng_view_read(past.view, of, buf, size, (uint64_t)off);
    if (n >= 0 && past_check_still(&past, of))
        n = -ESTALE;
    past_done(&past);
    if (n < 0)
        reply_err(req, REQUEST_read, (int)n);
    else
        (void)fuse_reply_buf(req, buf, (size_t)n);
}

void past_on_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence)
{
    struct past past;
    uint64_t of = 0, found = 0;
    int r = past_begin_request(req, ino, &past, &of);
    if (r) {
        reply_err(req, REQUEST_lseek, r);
        return;
    }
    r = past_check_node(req, &past, ino, of, PAST_READ);
    if (!r)
        r = holes_seek_past(past.view, of, (uint64_t)off, whence, &found);
    if (!r)
        r = past_check_still(&past, of);
    past_done(&past);
    if (r)
        reply_err(req, REQUEST_lseek, r);
    else
        (void)fuse_reply_lseek(req, (off_t)found);
}

void past_on_write(fuse_req_t req, fuse_ino_t ino, bool of_mapping)
{
    if (of_mapping) /* without a thread the kernel keeps them for a while */
        (void)drop_names_pages(ctl_drop_names(session_of(req)->ctl), ino);
    reply_err(req, REQUEST_write, -EROFS);
}

/* ---- extended attributes -------------------------------------------------- */

static int check_fields(fuse_req_t req, const struct past *past, fuse_ino_t node, uint64_t ino)
{
    int r = past_check(req, past, ino, PAST_FIELDS);
    return r || !past->of_path ? r : paths_check_way(req, node, past);
}

/* Those that the kernel and ls(1) ask for have no owner's rights before them in the present either. */
static int check_field(fuse_req_t req, const struct past *past, fuse_ino_t node, uint64_t ino,
                       const char *name)
{
    bool is_field = strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0;
    return is_field ? check_fields(req, past, node, ino) : 0;
}

/* The kernel asks for these when a program is started: it has them if it has them today. For any node but
 * root's; see past_safe_mode(). */
static ssize_t capabilities(const struct past *past, uint64_t ino, char *value, size_t size)
{
    static const char name[] = "security.capability";
    struct eng_attr attr;
    char then[64], today[sizeof then];
    ssize_t n = eng_view_getxattr(past->view, ino, name, then, sizeof then);
    bool is_same = n >= 0 && eng_view_getattr(past->view, ino, &attr) == 0 && past_is_as_then(past, &attr) &&
                   eng_getxattr(past->eng, ino, name, today, sizeof today) == n &&
                   memcmp(then, today, (size_t)n) == 0;
    if (!is_same)
        return -ENODATA;
    if (value && (size_t)n <= size)
        memcpy(value, then, (size_t)n);
    return n;
}

/* What is computed. 0: it is answered now or later, and the view given back then. */
static ssize_t computed(fuse_req_t req, const struct past *past, uint64_t ino, enum xa_virtual which,
                        char *value, size_t size)
{
    struct eng_attr attr;
    char text[32];
    uint64_t number = 0;
    int r = which == XA_GENERATION ? -ENODATA : eng_view_getattr(past->view, ino, &attr);
    if (!r && xa_is_digest(which) && !S_ISREG(attr.mode))
        r = -ENODATA;
    if (!r && which == XA_STATE)
        r = eng_view_state(past->view, ino, &number);
    if (r)
        return r;
    if (xa_is_digest(which)) {
        digest_request(req, past, &attr, digest_kind(which), size);
        return 0;
    }
    int n = snprintf(text, sizeof text, "%" PRIu64, which == XA_STATE ? number : attr.version);
    if (value && (size_t)n <= size)
        memcpy(value, text, (size_t)n);
    return n;
}

/* What the snapshot keeps, by a look at all inodes that is a second old at most: for those alone who may drop
 * it. */
static int space_of(fuse_req_t req, const struct past *past, struct eng_snapshot_space *ret_space)
{
    enum { OLD_MS = 1000 };
    if (!ctl_is_trusted(session_of(req)->ctl, req))
        return -EACCES;
    return eng_snapshot_space(past->eng, past->batch, OLD_MS, ret_space);
}

/* What the root tells of its view to whoever may look it up. */
static ssize_t of_view(fuse_req_t req, const struct past *past, uint64_t ino, enum xa_virtual which,
                       char *value, size_t size)
{
    struct eng_snapshot_space space = {0};
    char text[40], when[40];
    int64_t time = 0;
    bool is_exact = false;
    int r = 0;
    if (ino != ENG_ROOT_INO || which > XA_EXACT || (past->what.is_at && which != XA_EXACT))
        return -ENODATA;
    if (which == XA_EXACT)
        r = eng_view_when(past->view, &time, &is_exact);
    else if (which == XA_SNAPSHOT_TIME)
        r = eng_snapshot_time(past->eng, past->batch, &time);
    else if (which != XA_SNAPSHOT_POSITION)
        r = space_of(req, past, &space);
    if (r)
        return r == -ENOENT ? -ENODATA : r; /* it was dropped */
    uint64_t number = which == XA_SNAPSHOT_BYTES ? space.alone : past->batch;
    if (which == XA_SNAPSHOT_SHARED_BYTES)
        number = space.shared;
    int n = snprintf(text, sizeof text, "%" PRIu64, number);
    if (which == XA_EXACT)
        n = snprintf(text, sizeof text, "%s", is_exact ? "yes" : "no");
    else if (which == XA_SNAPSHOT_TIME)
        n = snprintf(text, sizeof text, "%s", rfc3339_format(time, when));
    if (value && (size_t)n <= size)
        memcpy(value, text, (size_t)n);
    return n;
}

void past_on_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    struct past past;
    uint64_t of = 0;
    char *value = size ? reply_buffer(size) : NULL;
    ssize_t n = size && !value ? -ENOMEM : past_begin_request(req, ino, &past, &of);
    if (n) {
        reply_err(req, REQUEST_getxattr, (int)n);
        return;
    }
    const enum xa_virtual which = xa_virtual(name);
    n = xa_check_get(name);
    const bool is_of_view = which >= XA_SNAPSHOT_POSITION;
    if (n == 0 && (!is_of_view || past.of_path))
        n = check_field(req, &past, ino, of, name);
    if (n == 0 && is_of_view) {
        n = past.of_path ? paths_told(req, ino, which, value, size)
                         : of_view(req, &past, of, which, value, size);
    } else if (n == 0 && which != XA_STORED) {
        n = computed(req, &past, of, which, value, size);
        if (n == 0)
            return;
    } else if (n == 0 && !past_is_roots(ino) && strcmp(name, "security.capability") == 0) {
        n = capabilities(&past, of, value, size);
    } else if (n == 0) {
        n = eng_view_getxattr(past.view, of, name, value, size);
    }
    past_done(&past);
    if (n == -ENODATA)
        n = xa_absent(name, session_of(req)->labels);
    if (n < 0)
        reply_err(req, REQUEST_getxattr, (int)n);
    else
        reply_xattr(req, REQUEST_getxattr, value, (size_t)n, size);
}

void past_on_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    struct past past;
    uint64_t of = 0;
    char *list = reply_buffer(ENG_XATTR_LIST_MAX);
    ssize_t n = list ? past_begin_request(req, ino, &past, &of) : -ENOMEM;
    if (n) {
        reply_err(req, REQUEST_listxattr, (int)n);
        return;
    }
    n = check_fields(req, &past, ino, of);
    if (n == 0)
        n = eng_view_listxattr(past.view, of, list, ENG_XATTR_LIST_MAX);
    past_done(&past);
    if (n < 0) {
        reply_err(req, REQUEST_listxattr, (int)n);
        return;
    }
    size_t shown = xa_filter_list(list, (size_t)n, fuse_req_ctx(req)->uid == 0);
    reply_xattr(req, REQUEST_listxattr, list, shown, size);
}

/* ---- snapshots ------------------------------------------------------------ */

/* May the caller change which snapshots there are? */
static int check_keeper(fuse_req_t req)
{
    const struct session *session = session_of(req);
    if (!session->views)
        return -ESTALE;
    if (session->opt->read_only)
        return -EROFS;
    return ctl_is_trusted(session->ctl, req) ? 0 : -EACCES;
}

struct taken {
    struct past past;
    struct eng_attr attr;
};

static void reply_taken(fuse_req_t req, int result, void *arg)
{
    struct taken *taken = arg;
    if (result)
        reply_err(req, REQUEST_mkdir, result);
    else
        reply_node(req, &taken->past, &taken->attr);
    past_done(&taken->past);
    free(taken);
}

void past_on_mkdir(fuse_req_t req, const char *name)
{
    struct session *session = session_of(req);
    struct request_timer timer = request_begin(&session->stats, REQUEST_mkdir);
    struct taken *taken = calloc(1, sizeof *taken);
    uint64_t batch = 0;
    int r = taken ? check_keeper(req) : -ENOMEM;
    if (!r)
        r = eng_snapshot_create_unsynced(session->eng, name, &batch);
    if (!r)
        r = ctl_views_get(session->views, &(struct ctl_views_what){.key = batch}, fuse_req_ctx(req)->uid,
                          true, &taken->past);
    if (batch)
        past_look_at_memory(session);
    if (!r && (r = eng_view_getattr(taken->past.view, ENG_ROOT_INO, &taken->attr)))
        past_done(&taken->past);
    if (!r) {
        fsync_then_reply(req, reply_taken, taken, timer);
        return;
    }
    free(taken);
    int taken_back = batch ? eng_snapshot_drop(session->eng, name) : 0; /* it cannot be looked at */
    if (taken_back && taken_back != -ENOENT)
        messages_line(ENG_LOG_WARNING,
                      "a snapshot that mkdir refused (%s) is there, and cannot be dropped: %s", strerror(-r),
                      strerror(-taken_back));
    request_end(&timer);
    reply_err(req, REQUEST_mkdir, r);
}

void past_note_removal(fuse_req_t req, fuse_ino_t parent)
{
    if (session_of(req)->views && ctl_views_owns(parent))
        ctl_views_refused(session_of(req)->views, parent, caller_process(req));
}

int past_on_rmdir(fuse_req_t req, const char *name)
{
    struct session *session = session_of(req);
    uint64_t batch = 0;
    int r = check_keeper(req);
    if (!r)
        r = eng_snapshot_find(session->eng, name, &batch);
    if (!r && ctl_views_is_refused(session->views, batch, caller_process(req)))
        r = -ENOTEMPTY;
    if (!r) /* no other name comes to it meanwhile: the kernel has the folder locked */
        r = eng_snapshot_drop(session->eng, name);
    if (!r) {
        ctl_views_dropped(session->views, batch);
        past_look_at_memory(session);
    }
    return r;
}

int past_on_rename(fuse_req_t req, const char *name, const char *new_name, unsigned flags)
{
    int r = check_keeper(req);
    if (!r && flags & ~(unsigned)ENG_RENAME_NOREPLACE)
        r = -EINVAL;
    return r ? r : eng_snapshot_rename(session_of(req)->eng, name, new_name);
}
