/*
 * past_nodes.c - see past_nodes.h. */
#include "past_nodes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "attr.h"
#include "caller.h"
#include "deleted.h"
#include "fuse_compat.h"
#include "history.h"
#include "reply.h"

/* ---- what stat(2) shows ------------------------------------------------------ */

/* A folder that is no state of one. */
static void folder_stat(const struct session *session, const struct paths_found *found, struct stat *st)
{
    if (paths_is_history(found->what.kind)) {
        memset(st, 0, sizeof *st);
        st->st_uid = session->uid;
        st->st_gid = session->gid;
        st->st_blksize = 4096;
        st->st_mode = S_IFDIR | 0755;
        st->st_ctim = reply_time(session->started);
    } else {
        attr_stat(session, &found->attr, st);
        st->st_mode = S_IFDIR | 01777;
    }
    st->st_nlink = 1; /* nobody counts what is in it */
    st->st_atim = st->st_mtim = reply_time(paths_time(session));
}

static void fill_stat(const struct session *session, struct paths_found *found, bool roots, struct stat *st)
{
    const enum ctl_paths_kind kind = found->what.kind;
    if (found->has_past && kind != CTL_PATHS_REMOVED_FOLDER) {
        past_count_bytes(&found->past, &found->attr);
        past_stat(session, &found->past, &found->attr, st);
        if (!roots)
            st->st_mode = past_safe_mode(&found->past, &found->attr);
    } else {
        folder_stat(session, found, st);
    }
    st->st_ino = paths_ino(session, &found->what);
}

/* What a node shows now. */
static int find_of_node(fuse_req_t req, fuse_ino_t node, const struct ctl_paths_what *what,
                        struct paths_found *found)
{
    uint64_t ino;
    if (what->kind == CTL_PATHS_FOLDER)
        return deleted_folder(req, what->ino, found);
    int r = paths_set(found, what->path, what->path_len);
    if (r)
        return r;
    found->what = *what;
    found->what.path = found->path;
    if (!ctl_paths_has_state(node))
        return 0;
    r = paths_begin(req, node, &found->past, &ino);
    found->has_past = !r;
    return r ? r : eng_view_getattr(found->past.view, what->ino, &found->attr);
}

/* With memory for `found`, which find_done() frees; with it the node, which `ret_node` is. */
static int find_begin(fuse_req_t req, fuse_ino_t node, struct ctl_path **ret_node,
                      struct paths_found **ret_found)
{
    struct ctl_paths *paths = session_of(req)->paths;
    *ret_found = calloc(1, sizeof **ret_found);
    *ret_node = paths ? ctl_paths_get(paths, node) : NULL;
    if (!*ret_found)
        return -ENOMEM;
    return *ret_node ? 0 : -ESTALE; /* a file handle of another mount, a forged one, or one of long ago */
}

static void find_done(fuse_req_t req, struct ctl_path *node, struct paths_found *found)
{
    if (node)
        ctl_paths_put(session_of(req)->paths, node);
    if (found && found->has_past)
        past_done(&found->past);
    free(found);
}

void paths_on_getattr(fuse_req_t req, fuse_ino_t ino, bool is_statx)
{
    struct ctl_path *node;
    struct paths_found *found;
    struct stat st;
    REQUEST_COUNT(session_of(req), REQUEST_getattr);
    int r = find_begin(req, ino, &node, &found);
    if (!r)
        r = find_of_node(req, ino, ctl_path_what(node), found);
    if (!r)
        fill_stat(session_of(req), found, ctl_paths_is_roots(ino), &st);
    const bool has_birth = !r && found->has_past;
    const int64_t birth = has_birth ? found->attr.btime : 0;
    find_done(req, node, found);
    if (r)
        reply_err(req, REQUEST_getattr, r);
    else if (is_statx)
        (void)compat_reply_statx(req, &st, has_birth ? &birth : NULL, 0);
    else
        (void)fuse_reply_attr(req, &st, 0);
}

/* ---- names ------------------------------------------------------------------- */

static int find_root(fuse_req_t req, const char *name, struct paths_found *found)
{
    if (strcmp(name, ctl_files[CTL_DELETED].name) == 0)
        return deleted_folder(req, ENG_ROOT_INO, found);
    int r = paths_set(found, "", 0);
    found->what.kind = CTL_PATHS_HISTORY;
    return r;
}

/* The folder that a node is in, asked for by who has a file handle. */
static int find_up(fuse_req_t req, const struct ctl_paths_what *of, struct paths_found *found)
{
    if (!paths_is_history(of->kind))
        return deleted_folder(req, of->folder, found);
    const char *slash = of->kind == CTL_PATHS_HISTORY ? strrchr(of->path, '/') : NULL;
    size_t len = slash ? (size_t)(slash - of->path) : 0;
    if (of->kind != CTL_PATHS_HISTORY)
        len = of->path_len;
    int r = paths_set(found, of->path, len);
    found->what.kind = of->kind == CTL_PATHS_VERSION ? CTL_PATHS_VERSIONS : CTL_PATHS_HISTORY;
    return r;
}

static int find(fuse_req_t req, fuse_ino_t parent, const struct ctl_paths_what *in, const char *name,
                struct paths_found *found)
{
    if (strcmp(name, ".") == 0)
        return find_of_node(req, parent, in, found);
    if (strcmp(name, "..") == 0)
        return find_up(req, in, found);
    return paths_is_history(in->kind) ? history_find(req, in, name, found)
                                      : deleted_find(req, in, name, found);
}

/* The node of it for the caller, with an entry that leads there. */
static int make_entry(fuse_req_t req, struct paths_found *found, struct fuse_entry_param *e)
{
    const struct session *session = session_of(req);
    const uid_t uid = fuse_req_ctx(req)->uid;
    memset(e, 0, sizeof *e); /* the kernel keeps nothing */
    if (found->has_past) {
        const enum past_right right = S_ISDIR(found->attr.mode) ? PAST_LIST : PAST_READ;
        found->what.shut = past_check(req, &found->past, found->what.ino, right) != 0;
    }
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_PAST_KEPT_IN_KERNEL")) /* tests/mount/history.sh */
        e->entry_timeout = e->attr_timeout = REPLY_TIMEOUT;
#endif
    fill_stat(session, found, uid == 0, &e->attr);
    int r = ctl_paths_ref(session->paths, &found->what, uid, ctl_is_trusted(session->ctl, req),
                          found->has_past ? found->past.batch : 0, found->past.state, &e->ino);
    past_look_at_memory(session);
    return r;
}

void paths_on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    const struct session *session = session_of(req);
    struct fuse_entry_param e;
    struct ctl_path *node = NULL;
    struct paths_found *found = NULL;
    int r = 0;
    if (ctl_paths_owns(parent))
        r = find_begin(req, parent, &node, &found);
    else if (!(found = calloc(1, sizeof *found)))
        r = -ENOMEM;
    if (!r && node && paths_is_top(ctl_path_what(node)) && strcmp(name, "..") == 0) {
        ctl_dir_entry(session->ctl, &e);
        (void)fuse_reply_entry(req, &e); /* nothing is counted for it */
        find_done(req, node, found);
        return;
    }
    if (!r)
        r = node ? find(req, parent, ctl_path_what(node), name, found) : find_root(req, name, found);
    if (!r)
        r = make_entry(req, found, &e);
    find_done(req, node, found);
    if (r)
        reply_err(req, REQUEST_lookup, r);
    else if (fuse_reply_entry(req, &e) < 0)
        ctl_paths_forget(session->paths, e.ino, 1);
}

int paths_list(fuse_req_t req, fuse_ino_t node_ino, uint64_t from, paths_emit emit, void *arg)
{
    struct ctl_paths *paths = session_of(req)->paths;
    struct ctl_path *node = paths ? ctl_paths_get(paths, node_ino) : NULL;
    if (!node)
        return -ESTALE;
    const struct ctl_paths_what *what = ctl_path_what(node);
    int r = ctl_paths_is_shut(node_ino) ? -EACCES : 0;
    if (!r)
        r = paths_is_history(what->kind) ? history_list(req, what, from, emit, arg)
                                         : deleted_list(req, what, from, emit, arg);
    ctl_paths_put(paths, node);
    return r;
}

int paths_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                 const char *new_name, unsigned flags)
{
    const struct session *session = session_of(req);
    struct ctl_path *node = session->paths ? ctl_paths_get(session->paths, parent) : NULL;
    if (!node)
        return -ESTALE;
    const struct ctl_paths_what *what = ctl_path_what(node);
    int r = paths_is_history(what->kind) || session->opt->read_only ? -EROFS : 0;
    if (!r && flags & ~(unsigned)ENG_RENAME_NOREPLACE)
        r = -EINVAL;
    if (!r)
        r = deleted_undelete(req, what, name, new_parent, new_name);
    ctl_paths_put(session->paths, node);
    return r;
}

/* ---- states ------------------------------------------------------------------ */

int paths_begin(fuse_req_t req, fuse_ino_t node_ino, struct past *ret_past, uint64_t *ret_ino)
{
    struct ctl_paths *paths = session_of(req)->paths;
    struct ctl_path *node = paths ? ctl_paths_get(paths, node_ino) : NULL;
    if (!node)
        return -ESTALE;
    const struct ctl_paths_what *what = ctl_path_what(node);
    const uint64_t seen_at = ctl_path_seen_at(paths, node);
    int r = -EISDIR;
    if (what->kind == CTL_PATHS_VERSION)
        r = history_open(req, what, seen_at, ret_past);
    else if (ctl_paths_has_state(node_ino))
        r = deleted_open(req, what, seen_at, ret_past);
    *ret_ino = what->ino;
    ret_past->state = ctl_path_state(node);
    ret_past->whose = ctl_path_uid(node);
    if (!r && (r = past_check_still(ret_past, what->ino)))
        past_done(ret_past);
    ctl_paths_put(paths, node);
    return r == -ENOENT ? -ESTALE : r;
}

int paths_check_way(fuse_req_t req, fuse_ino_t node_ino, const struct past *past)
{
    struct ctl_paths *paths = session_of(req)->paths;
    struct ctl_path *node = ctl_paths_get(paths, node_ino);
    if (!node)
        return -ESTALE;
    const struct ctl_way way = {.position = eng_position(session_of(req)->eng), /* before it is gone */
                                .batch = past->batch,
                                .pid = fuse_req_ctx(req)->pid,
                                .uid = fuse_req_ctx(req)->uid,
                                .gid = fuse_req_ctx(req)->gid};
    int r = 0;
    if (!ctl_path_is_open(paths, node, &way)) {
        r = ctl_paths_kind(node_ino) == CTL_PATHS_VERSION ? history_check_way(req, past, ctl_path_what(node))
                                                          : deleted_check_way(req, past, ctl_path_what(node));
        if (!r)
            ctl_path_opened(paths, node, &way);
    }
    ctl_paths_put(paths, node);
    return r;
}

ssize_t paths_told(fuse_req_t req, fuse_ino_t node_ino, enum xa_virtual which, char *value, size_t size)
{
    struct ctl_paths *paths = session_of(req)->paths;
    struct ctl_path *node = ctl_paths_get(paths, node_ino);
    char text[64];
    if (!node)
        return -ESTALE;
    const struct ctl_paths_what *what = ctl_path_what(node);
    ssize_t n = -ENODATA;
    if (which == XA_ACTOR || which == XA_EVENT || (which == XA_ENDED && what->kind == CTL_PATHS_VERSION))
        n = paths_is_history(what->kind) ? history_told(req, what, which, text, sizeof text)
                                         : deleted_told(req, what, which, text, sizeof text);
    ctl_paths_put(paths, node);
    if (n > 0 && value && (size_t)n <= size)
        memcpy(value, text, (size_t)n);
    return n;
}
