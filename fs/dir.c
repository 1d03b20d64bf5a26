/*
 * dir.c - READDIR and READDIRPLUS.
 *
 * Cookies are the engine's: stable whatever is added or removed. With
 * -o ctl=visible the root lists .engram last, under a cookie of its own.
 * References taken for entries whose reply could not be written are given back.
 *
 * A listing tells what was there when it began, and nothing that was made
 * since: else a program that makes a new name for each that it reads would never
 * come to an end. There is no OPENDIR that could note it; so the mark of the latest
 * listing that began is kept for each directory. Directories that share a place in the
 * table share the later mark: then a listing may tell more than it must, but
 * all that it must. */
#include "dir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "control/nodes.h"
#include "past.h"
#include "past_nodes.h"
#include "reply.h"
#include "revived.h"

/* No engine cookie can be the greatest off_t. */
#define COOKIE_CTL INT64_MAX

/* A lower bound of what READDIRPLUS needs for an entry: entry_out 128 bytes, dirent 24, a name. */
enum { PLUS_ENTRY_MIN = 152 };

/* atomic, relaxed: eng_dir_mark() of the latest listing that began; 0: none. */
static _Atomic uint64_t marks[4096];

struct listing {
    fuse_req_t req;
    char *buf;
    size_t size, used;
    uint64_t mark; /* cookies beyond are not told */
    bool plus, full;
    /* Inodes that the kernel is about to reference; room for every entry that fits. */
    uint64_t *refs;
    size_t n_refs;
    const struct past *past; /* NULL: the store as it is */
    bool is_root;            /* of that view */
};

static int add(struct listing *l, const char *name, const struct fuse_entry_param *e, uint64_t cookie)
{
    char *at = l->buf + l->used;
    size_t room = l->size - l->used;
    size_t n = l->plus ? fuse_add_direntry_plus(l->req, at, room, name, e, (off_t)cookie)
                       : fuse_add_direntry(l->req, at, room, name, &e->attr, (off_t)cookie);
    if (n > room) {
        l->full = true;
        return 1;
    }
    l->used += n;
    return 0;
}

/* Names and numbers, and no nodes: of each that is looked up it is asked who may. */
static void fill_past(const struct listing *l, const struct eng_attr *attr, bool up,
                      struct fuse_entry_param *e)
{
    past_stat(session_of(l->req), l->past, attr, &e->attr);
    if (up && attr->ino == ENG_ROOT_INO && l->is_root)
        e->attr.st_ino = past_folder(l->past);
}

/* Under the engine's shared lock: copies, and nothing else. */
static int emit(void *arg, const struct eng_dirent *entry)
{
    struct listing *l = arg;
    char name[ENG_NAME_MAX + 1];
    if (entry->cookie > l->mark)
        return 1;
    if (entry->name_len > ENG_NAME_MAX)
        return 0;
    memcpy(name, entry->name, entry->name_len);
    name[entry->name_len] = '\0';

    struct fuse_entry_param e;
    memset(&e, 0, sizeof e);
    if (l->past) {
        fill_past(l, &entry->attr, strcmp(name, "..") == 0, &e);
    } else if (l->plus) {
        attr_stat(session_of(l->req), &entry->attr, &e.attr);
    } else {
        e.attr.st_ino = entry->attr.ino;
        e.attr.st_mode = entry->attr.mode;
    }
    bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
    if (l->plus && !dots && !l->past) {
        e.ino = entry->attr.ino;
        e.generation = S_ISDIR(entry->attr.mode) ? revived_generation(e.ino) : 0;
        e.attr_timeout = e.entry_timeout = REPLY_TIMEOUT;
    }
    int full = add(l, name, &e, entry->cookie);
    if (!full && e.ino)
        l->refs[l->n_refs++] = e.ino;
    return full;
}

static uint64_t mark_of(struct session *session, fuse_ino_t dir, uint64_t cookie)
{
    _Atomic uint64_t *at = &marks[dir % (sizeof marks / sizeof *marks)];
    uint64_t mark = atomic_load_explicit(at, memory_order_relaxed);
    if (cookie && mark)
        return mark;
    /* it begins here, or began before the daemon did */
    uint64_t now = eng_dir_mark(session->eng);
    while (mark < now && !atomic_compare_exchange_weak_explicit(at, &mark, now, memory_order_relaxed,
                                                                memory_order_relaxed)) {
    }
    return now > mark ? now : mark;
}

static int list_memories(struct listing *l, struct session *session, fuse_ino_t dir, uint64_t cookie)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(l->req);
    const struct eng_caller who = {.uid = ctx->uid, .gid = ctx->gid, .ref = l->plus};
    l->mark = mark_of(session, dir, cookie);
    int r = eng_readdir(session->eng, &who, dir, cookie, emit, l);
    if (r || l->full || dir != ENG_ROOT_INO || session->opt->ctl != CTL_VISIBLE)
        return r;
    struct fuse_entry_param e; /* nodeid 0: the kernel looks it up when it wants it */
    memset(&e, 0, sizeof e);
    e.attr.st_ino = CTL_DIR_INO;
    e.attr.st_mode = S_IFDIR;
    (void)add(l, CTL_DIRECTORY, &e, COOKIE_CTL);
    return 0;
}

static int list_view(struct listing *l, const struct past *past, uint64_t dir, uint64_t cookie)
{
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_PAST_IS_LISTED_NOW")) /* tests/mount/past.sh */
        return eng_readdir(past->eng, NULL, dir, cookie, emit, l);
#endif
    return eng_view_readdir(past->view, dir, cookie, emit, l);
}

static int list_past(struct listing *l, fuse_ino_t node, uint64_t cookie)
{
    struct past past;
    uint64_t dir = 0;
    int r = past_begin_request(l->req, node, &past, &dir);
    if (r)
        return r;
    l->past = &past;
    l->is_root = dir == ENG_ROOT_INO;
    l->mark = UINT64_MAX;
    r = past_check_node(l->req, &past, node, dir, PAST_LIST);
    if (!r)
        r = list_view(l, &past, dir, cookie);
    past_done(&past);
    l->past = NULL;
    return r;
}

static int emit_snapshot(void *arg, const char *name, uint64_t ino, uint64_t cookie)
{
    struct fuse_entry_param e;
    memset(&e, 0, sizeof e);
    e.attr.st_ino = ino;
    e.attr.st_mode = S_IFDIR;
    return add(arg, name, &e, cookie);
}

static int emit_path(void *arg, const char *name, uint64_t ino, mode_t mode, uint64_t place)
{
    struct fuse_entry_param e;
    memset(&e, 0, sizeof e);
    e.attr.st_ino = ino;
    e.attr.st_mode = mode & S_IFMT;
    return add(arg, name, &e, place);
}

/* The control directory; a folder in it lists nothing, since its files are made when they are asked for. */
static void list_control(struct listing *l, fuse_ino_t dir, uint64_t cookie)
{
    const bool root = dir == CTL_DIR_INO;
    for (uint64_t i = cookie; i < (root ? CTL_FILES + 2 : 2); i++) {
        struct fuse_entry_param e;
        memset(&e, 0, sizeof e);
        const char *name = i == 0 ? "." : "..";
        if (i < 2) {
            const fuse_ino_t up = root ? ENG_ROOT_INO : CTL_DIR_INO;
            e.attr.st_ino = i == 0 ? dir : up;
            e.attr.st_mode = S_IFDIR;
        } else {
            if (!ctl_has(session_of(l->req), (enum ctl_file)(i - 2)))
                continue;
            name = ctl_files[i - 2].name;
            ctl_list_stat((enum ctl_file)(i - 2), &e.attr);
        }
        if (add(l, name, &e, i + 1))
            return;
    }
    if (dir == CTL_SNAPSHOTS_INO && session_of(l->req)->views)
        (void)past_list_snapshots(session_of(l->req), cookie > 2 ? cookie : 2, emit_snapshot, l);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
    struct session *session = session_of(req);
    enum request_op op = plus ? REQUEST_readdirplus : REQUEST_readdir;
    REQUEST_COUNT(session, op);
    struct listing l = {.req = req, .size = size, .plus = plus};
    l.buf = reply_buffer(size);
    if (l.buf && plus)
        l.refs = malloc((size / PLUS_ENTRY_MIN + 1) * sizeof *l.refs);
    int r = l.buf && (!plus || l.refs) ? 0 : -ENOMEM;
    if (!r && ctl_owns(ino) && !ctl_views_owns(ino) && !ctl_paths_owns(ino))
        r = session->ctl ? ctl_check_lister(session->ctl, req) : -ESTALE;
    if (!r && off != COOKIE_CTL) {
        if (ctl_views_owns(ino))
            r = list_past(&l, ino, (uint64_t)off);
        else if (ctl_paths_owns(ino))
            r = paths_list(req, ino, (uint64_t)off, emit_path, &l);
        else if (ctl_owns(ino))
            list_control(&l, ino, (uint64_t)off);
        else
            r = list_memories(&l, session, ino, (uint64_t)off);
    }
    if (r)
        reply_err(req, op, r);
    else if (!ctl_owns(ino))
        eng_accessed(session->eng, ino);
    if (r || fuse_reply_buf(req, l.buf, l.used) < 0)
        for (size_t i = 0; i < l.n_refs; i++)
            (void)eng_forget(session->eng, l.refs[i], 1);
    free(l.refs);
}

void dir_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, false);
}

void dir_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, ino, size, off, true);
}
