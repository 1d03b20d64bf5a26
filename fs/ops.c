/*
 * ops.c - each FUSE request: decode, call the engine, reply.
 *
 * No state but two answers of INIT. No locks. */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

#include "attr.h"
#include "caller.h"
#include "capabilities.h"
#include "conflicts.h"
#include "control/nodes.h"
#include "dir.h"
#include "fsync.h"
#include "fuse_compat.h"
#include "holes.h"
#include "past.h"
#include "past_nodes.h"
#include "reply.h"
#include "revived.h"
#include "xattr.h"

/* What the kernel said at INIT; written before any other request is handled. */
static bool kernel_has_no_open, kernel_has_no_opendir;

/* ---- helpers ------------------------------------------------------------ */

static void fill_entry(const struct session *session, const struct eng_attr *attr, struct fuse_entry_param *e)
{
    memset(e, 0, sizeof *e);
    e->ino = attr->ino;
    e->generation = S_ISDIR(attr->mode) ? revived_generation(attr->ino) : 0;
    e->attr_timeout = e->entry_timeout = REPLY_TIMEOUT;
    attr_stat(session, attr, &e->attr);
}

/* An entry with a reference for the kernel, which goes back if the kernel does not get the entry. */
static void reply_entry(fuse_req_t req, const struct eng_attr *attr)
{
    struct session *session = session_of(req);
    struct fuse_entry_param e;
    fill_entry(session, attr, &e);
    if (fuse_reply_entry(req, &e) < 0)
        (void)eng_forget(session->eng, attr->ino, 1);
}

static void reply_created(fuse_req_t req, enum request_op op, int err, const struct eng_attr *attr)
{
    if (err)
        reply_err(req, op, err);
    else
        reply_entry(req, attr);
}

/* May a name be made or removed here? The control directory and its name belong to the session. */
static int check_name(fuse_ino_t parent, const char *name)
{
    int r = past_check_change(parent);
    return !r && ctl_reserved(parent, name) ? -EPERM : r;
}

/* The same for names being made: .engram exists, unless it was switched off. */
static int check_new_name(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    if (ctl_reserved(parent, name) && session_of(req)->ctl)
        return -EEXIST;
    return check_name(parent, name);
}

/*
 * The handle of a descriptor that was opened without O_DSYNC or O_SYNC, where the daemon has been told of it:
 * by CREATE, and by OPEN if there is one. All others have not. WRITE tells by itself, and the kernel sends
 * the FSYNC after it; COPY_FILE_RANGE and FALLOCATE tell the handle alone, and the kernel sends none. */
enum { HANDLE_UNSYNCED = 1 };
_Static_assert(HANDLE_UNSYNCED < 1 << CONFLICTS_HANDLE_BITS, "the rest of a handle is conflicts.c's");

static uint64_t handle_of(const struct fuse_file_info *fi)
{
    return fi->flags & O_DSYNC ? 0 : HANDLE_UNSYNCED; /* O_SYNC has both bits */
}

/* ---- session ------------------------------------------------------------ */

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
    const struct session *session = userdata;
    const uint64_t offered = capabilities_offered(conn);
    kernel_has_no_open = (offered & FUSE_CAP_NO_OPEN_SUPPORT) != 0;
    kernel_has_no_opendir = (offered & FUSE_CAP_NO_OPENDIR_SUPPORT) != 0;
    enum capability_ask option = CAPABILITY_ON;
    if (session->opt->writeback)
        option = CAPABILITY_WRITEBACK;
    else if (session->seen)
        option = CAPABILITY_REFUSE;
    capabilities_ask(conn, option);

    conn->max_write = 1 << 20;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->time_gran = 1;
}

/* ---- names -------------------------------------------------------------- */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_lookup);
    if (ctl_paths_owns(parent) || paths_is_root(session, parent, name)) {
        paths_on_lookup(req, parent, name);
        return;
    }
    if (past_owns(parent)) {
        past_on_lookup(req, parent, name);
        return;
    }
    if (ctl_owns(parent) && !session->ctl) { /* a file handle of another mount, or a forged one */
        reply_err(req, REQUEST_lookup, -ESTALE);
        return;
    }
    if (ctl_owns(parent) || (ctl_reserved(parent, name) && session->ctl)) {
        struct fuse_entry_param e;
        int r = 0;
        if (!ctl_owns(parent))
            ctl_dir_entry(session->ctl, &e);
        else
            r = ctl_lookup(session->ctl, req, parent, name, &e);
        if (r)
            reply_err(req, REQUEST_lookup, r);
        else if (fuse_reply_entry(req, &e) < 0)
            ctl_forget(session->ctl, e.ino, 1);
        return;
    }
    struct eng_attr attr;
    const struct eng_caller who = caller_of(req);
    int r = ctl_reserved(parent, name) ? -ENOENT : eng_lookup(session->eng, &who, parent, name, &attr);
    if (r == -ENOENT) { /* kept by the kernel until the name is made */
        const struct fuse_entry_param none = {.entry_timeout = REPLY_TIMEOUT};
        (void)fuse_reply_entry(req, &none);
    } else if (r) {
        reply_err(req, REQUEST_lookup, r);
    } else {
        reply_entry(req, &attr);
    }
}

static void forget_one(struct session *session, fuse_ino_t ino, uint64_t n)
{
    if (!ctl_owns(ino))
        (void)eng_forget(session->eng, ino, n);
    else if (ctl_views_owns(ino) && session->views)
        ctl_views_forget(session->views, ino, n);
    else if (ctl_paths_owns(ino) && session->paths)
        ctl_paths_forget(session->paths, ino, n);
    else if (session->ctl)
        ctl_forget(session->ctl, ino, n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    REQUEST_COUNT(session_of(req), REQUEST_forget);
    forget_one(session_of(req), ino, n);
    fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    REQUEST_COUNT(session_of(req), REQUEST_forget);
    for (size_t i = 0; i < count; i++)
        forget_one(session_of(req), forgets[i].ino, forgets[i].nlookup);
    fuse_reply_none(req);
}

/* The kernel gets no reference to what is not said to be there. */
static int made(fuse_req_t req, int r, const struct eng_attr *attr)
{
    int synced = fsync_names(req, r);
    if (!r && synced)
        (void)eng_forget(session_of(req)->eng, attr->ino, 1);
    return synced;
}

static int create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev,
                  const char *target, struct eng_attr *ret_attr)
{
    const struct eng_caller who = caller_of(req);
    int r = check_new_name(req, parent, name);
    if (!r)
        r = conflicts_create(req, &who, parent, name, mode, rdev, target, ret_attr);
    if (!r)
        attr_changed(session_of(req), parent);
    return made(req, r, ret_attr);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
    REQUEST_COUNT(session_of(req), REQUEST_mknod);
    struct eng_attr attr = {0};
    if ((mode & S_IFMT) == 0)
        mode |= S_IFREG;
    reply_created(req, REQUEST_mknod, create(req, parent, name, mode, rdev, NULL, &attr), &attr);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    if (parent == CTL_SNAPSHOTS_INO) { /* counts by itself */
        past_on_mkdir(req, name);
        return;
    }
    REQUEST_COUNT(session_of(req), REQUEST_mkdir);
    struct eng_attr attr = {0};
    mode = S_IFDIR | (mode & 07777);
    reply_created(req, REQUEST_mkdir, create(req, parent, name, mode, 0, NULL, &attr), &attr);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    REQUEST_COUNT(session_of(req), REQUEST_symlink);
    struct eng_attr attr = {0};
    reply_created(req, REQUEST_symlink, create(req, parent, name, S_IFLNK | 0777, 0, target, &attr), &attr);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_create);
    struct eng_attr attr = {0};
    const struct eng_caller who = caller_of(req);
    mode = S_IFREG | (mode & 07777);
    int r = -EPERM;
    if (strcmp(name, COMPAT_TMPFILE) != 0)
        r = create(req, parent, name, mode, 0, NULL, &attr);
    else if (past_owns(parent))
        r = -EROFS;
    else if (!ctl_owns(parent))
        r = made(req, conflicts_create(req, &who, parent, NULL, mode, 0, NULL, &attr), &attr);
    if (r) {
        reply_err(req, REQUEST_create, r);
        return;
    }
    struct fuse_entry_param e;
    fill_entry(session, &attr, &e);
    fi->fh = handle_of(fi);
    fi->keep_cache = 1;
    fi->noflush = 1;
    conflicts_opened(req, &attr, true, fi);
    if (fuse_reply_create(req, &e, fi) < 0) {
        conflicts_release(session, attr.ino, fi->fh);
        (void)eng_forget(session->eng, attr.ino, 1);
    }
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    REQUEST_COUNT(session_of(req), REQUEST_link);
    struct eng_attr attr = {0};
    int r = past_check_change(ino);
    if (!r)
        r = check_new_name(req, parent, name);
    if (!r)
        r = conflicts_link(req, ino, parent, name, &attr);
    if (!r)
        attr_changed(session_of(req), parent);
    reply_created(req, REQUEST_link, made(req, r, &attr), &attr);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    REQUEST_COUNT(session_of(req), REQUEST_unlink);
    past_note_removal(req, parent);
    int r = check_name(parent, name);
    if (!r)
        r = conflicts_unlink(req, parent, name);
    if (!r)
        attr_changed(session_of(req), parent);
    reply_err(req, REQUEST_unlink, fsync_names(req, r));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    REQUEST_COUNT(session_of(req), REQUEST_rmdir);
    if (parent == CTL_SNAPSHOTS_INO) {
        reply_err(req, REQUEST_rmdir, fsync_names(req, past_on_rmdir(req, name)));
        return;
    }
    past_note_removal(req, parent);
    int r = check_name(parent, name);
    if (!r)
        r = eng_rmdir(caller_engine(req), parent, name);
    if (!r)
        attr_changed(session_of(req), parent);
    reply_err(req, REQUEST_rmdir, fsync_names(req, r));
}

/*
 * What has got this name has another ctime. And the kernel keeps listings, `..` in them included, until the
 * directory changes; when it moves to another parent nothing in it does. Its pages are waited for, which
 * nobody holds while he waits for us. */
static void has_moved(struct session *session, fuse_ino_t parent, const char *name, bool elsewhere)
{
    struct eng_attr attr;
    if (eng_lookup(session->eng, NULL, parent, name, &attr))
        return;
    if (elsewhere && S_ISDIR(attr.mode))
        (void)fuse_lowlevel_notify_inval_inode(session->fuse, attr.ino, 0, 0);
    else
        attr_changed(session, attr.ino);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned flags)
{
    REQUEST_COUNT(session_of(req), REQUEST_rename);
    if (parent == CTL_SNAPSHOTS_INO && new_parent == CTL_SNAPSHOTS_INO) {
        reply_err(req, REQUEST_rename, fsync_names(req, past_on_rename(req, name, new_name, flags)));
        return;
    }
    struct session *session = session_of(req);
    if (ctl_paths_owns(parent)) {
        int moved = check_new_name(req, new_parent, new_name);
        if (!moved)
            moved = paths_rename(req, parent, name, new_parent, new_name, flags);
        reply_err(req, REQUEST_rename, fsync_names(req, moved));
        return;
    }
    int r = check_name(parent, name);
    if (!r)
        r = check_name(new_parent, new_name);
    if (!r)
        r = conflicts_rename(req, parent, name, new_parent, new_name, flags);
    if (r > 0) /* it waits for a digest */
        return;
    if (!r) {
        has_moved(session, new_parent, new_name, parent != new_parent);
        if (flags & ENG_RENAME_EXCHANGE)
            has_moved(session, parent, name, parent != new_parent);
        attr_changed(session, parent);
        if (parent != new_parent)
            attr_changed(session, new_parent);
    }
    reply_err(req, REQUEST_rename, fsync_names(req, r));
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    REQUEST_COUNT(session_of(req), REQUEST_readlink);
    if (past_shows(ino) || ages_owns(ino)) {
        past_on_readlink(req, ino);
        return;
    }
    char target[ENG_SYMLINK_MAX + 1];
    ssize_t n = ctl_owns(ino) ? -EINVAL : eng_readlink(session_of(req)->eng, ino, target, sizeof target);
    if (n < 0) {
        reply_err(req, REQUEST_readlink, (int)n);
        return;
    }
    eng_accessed(session_of(req)->eng, ino);
    (void)fuse_reply_readlink(req, target);
}

/* ---- attributes ---------------------------------------------------------- */

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    if (past_shows(ino) || ages_owns(ino))
        past_on_getattr(req, ino, fi && fi->fh == COMPAT_STATX);
    else
        attr_getattr(req, ino, fi);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
    if (past_owns(ino)) {
        REQUEST_COUNT(session_of(req), REQUEST_setattr);
        reply_err(req, REQUEST_setattr, -EROFS);
    } else {
        attr_setattr(req, ino, st, to_set, fi);
    }
}

/* ---- the file system ------------------------------------------------------ */

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    REQUEST_COUNT(session_of(req), REQUEST_statfs);
    struct eng_statfs st;
    int r = eng_statfs(session_of(req)->eng, &st);
    if (r) {
        reply_err(req, REQUEST_statfs, r);
        return;
    }
    const struct statvfs out = {
        .f_bsize = st.block_size,
        .f_frsize = st.block_size,
        .f_blocks = st.blocks,
        .f_bfree = st.bfree,
        .f_bavail = st.bavail,
        .f_files = st.files,
        .f_ffree = st.ffree,
        .f_favail = st.ffree,
        .f_namemax = ENG_NAME_MAX,
    };
    (void)fuse_reply_statfs(req, &out);
}

/* ---- open files: nothing is kept for them, but who has opened what (conflicts.h) ----- */

static int open_noted(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct eng_attr now;
    int r = eng_getattr(session_of(req)->eng, ino, &now);
    if (!r)
        conflicts_opened(req, &now, false, fi);
    return r;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_open);
    /* With a write-back cache control files must go past it, so that a verb's errno is write(2)'s. */
    if (kernel_has_no_open && !session->opt->writeback && !session->seen) {
        (void)fuse_reply_err(req, ENOSYS);
        return;
    }
    /* what is written is kept by the kernel first */
    if (past_owns(ino) && ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC)) {
        reply_err(req, REQUEST_open, -EROFS);
        return;
    }
    fi->fh = handle_of(fi);
    fi->keep_cache = 1;
    /* Where the kernel believes that there is no OPEN it writes pages back at each close(2). */
    fi->noflush = !session->seen;
    /* in the past each user has nodes of his own */
    fi->direct_io = ctl_owns(ino) && !past_shows(ino) && !(kernel_has_no_open && session->seen);
    int r = session->seen && !ctl_owns(ino) ? open_noted(req, ino, fi) : 0;
    if (r)
        reply_err(req, REQUEST_open, r);
    else if (fuse_reply_open(req, fi) < 0)
        conflicts_release(session, ino, fi->fh);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    REQUEST_COUNT(session_of(req), REQUEST_opendir);
    if (kernel_has_no_opendir) {
        (void)fuse_reply_err(req, ENOSYS);
        return;
    }
    fi->keep_cache = 1;
    fi->cache_readdir = 1;
    (void)fuse_reply_open(req, fi);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    REQUEST_COUNT(session_of(req), REQUEST_flush);
    (void)fuse_reply_err(req, ENOSYS);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    REQUEST_COUNT(session_of(req), REQUEST_release);
    conflicts_release(session_of(req), ino, fi->fh);
    (void)fuse_reply_err(req, 0);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    REQUEST_COUNT(session_of(req), REQUEST_releasedir);
    (void)fuse_reply_err(req, 0);
}

/* ---- content ------------------------------------------------------------ */

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_read);
    if (past_shows(ino)) {
        past_on_read(req, ino, size, off);
        return;
    }
    if (ctl_owns(ino)) {
        if (session->ctl)
            ctl_read(session->ctl, req, ino, size, off);
        else
            reply_err(req, REQUEST_read, -ESTALE);
        return;
    }
    void *buf = reply_buffer(size);
    ssize_t n = buf ? conflicts_read(req, ino, buf, size, (uint64_t)off, fi) : -ENOMEM;
    if (n < 0) {
        reply_err(req, REQUEST_read, (int)n);
        return;
    }
    if (!(fi->flags & O_NOATIME))
        eng_accessed(session->eng, ino);
    (void)fuse_reply_buf(req, buf, (size_t)n);
}

/* Linux (6.18) cuts what goes through its cache and begins within a page at the page's end, and sends the
 * rest when the first part was taken. */
static bool may_be_cut(const struct session *session, size_t size, off_t off, const struct fuse_file_info *fi)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), at = (uint64_t)off;
    bool cached = kernel_has_no_open && !session->opt->writeback && !(fi->flags & O_DIRECT);
    return cached && at % page != 0 && (at + size) % page == 0;
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                     struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_write);
    if (ctl_owns(ino)) {
        if (past_owns(ino) && session->ctl)
            past_on_write(req, ino, fi->writepage);
        else if (!session->ctl)
            reply_err(req, REQUEST_write, -ESTALE);
        else if (fi->writepage) /* stored through a mapping: it comes without its writer's name */
            reply_err(req, REQUEST_write, -EINVAL);
        else
            ctl_write(session->ctl, req, ino, buf, size, may_be_cut(session, size, off, fi));
        return;
    }
    ssize_t n = fi->fh == COMPAT_KILL_SUIDGID ? attr_kill_suidgid(req, ino) : 0;
    struct eng *eng = caller_engine(req);
    struct conflicts_change change;
    if (fi->writepage) /* by whom, the kernel does not know any more */
        eng_act_as(NULL);
    conflicts_begin(req, &change, ino, fi->writepage);
    if (n == 0)
        n = eng_write(eng, ino, buf, size, (uint64_t)off);
    conflicts_end(req, &change, (uint64_t)off);
    if (n > 0 && fi->writepage && !session->opt->writeback)
        attr_changed(session, ino); /* its times: with writeback they are the kernel's */
    if (n < 0)
        reply_err(req, REQUEST_write, (int)n);
    else
        (void)fuse_reply_write(req, (size_t)n);
}

/* Never ENOSYS: later fsyncs would succeed without being asked. */
static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync, (void)fi;
    fsync_request(req, REQUEST_fsync, ino);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)datasync, (void)fi;
    fsync_request(req, REQUEST_fsyncdir, ino);
}

static int allocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len)
{
    if (past_owns(ino))
        return -EROFS;
    int r = ctl_owns(ino) || (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
                ? -EOPNOTSUPP
                : attr_kill_suidgid_unasked(req, ino);
    if (r)
        return r;
    struct conflicts_change change;
    conflicts_begin(req, &change, ino, false);
    r = eng_fallocate(caller_engine(req), ino, (unsigned)mode, (uint64_t)off, (uint64_t)len);
    conflicts_end(req, &change, mode & ~FALLOC_FL_KEEP_SIZE ? (uint64_t)off : UINT64_MAX);
    if (!r)
        attr_changed(session_of(req), ino);
    return r;
}

/* As ext4 has it: with O_DSYNC what was set aside or zeroed is durable, what was punched is not. */
static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
                         struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    struct request_timer timer = request_begin(&session->stats, REQUEST_fallocate);
    bool durable = session->opt->sync || (!(fi->fh & HANDLE_UNSYNCED) && !(mode & FALLOC_FL_PUNCH_HOLE));
    int r = allocate(req, ino, mode, off, len);
    if (!r && durable) {
        fsync_then_answer(req, REQUEST_fallocate, ino, timer);
    } else {
        reply_err(req, REQUEST_fallocate, r);
        request_end(&timer);
    }
}

static int seek_control(struct ctl *ctl, fuse_ino_t ino, off_t off, int whence, uint64_t *ret_offset)
{
    struct stat st;
    int r = ctl ? ctl_getattr(ctl, ino, &st) : -ESTALE;
    if (r)
        return r;
    if (off < 0 || off >= st.st_size)
        return -ENXIO;
    *ret_offset = whence == SEEK_DATA ? (uint64_t)off : (uint64_t)st.st_size;
    return 0;
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
    (void)fi;
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_lseek);
    /* The kernel has content that is not here yet; then it calls everything data. */
    if (session->opt->writeback) {
        (void)fuse_reply_err(req, ENOSYS);
        return;
    }
    if (past_shows(ino)) {
        past_on_lseek(req, ino, off, whence);
        return;
    }
    uint64_t found;
    int r = ctl_owns(ino) ? seek_control(session->ctl, ino, off, whence, &found)
                          : holes_seek(session->eng, ino, (uint64_t)off, whence, &found);
    if (r)
        reply_err(req, REQUEST_lseek, r);
    else
        (void)fuse_reply_lseek(req, (off_t)found);
}

/*
 * Copies through a buffer, at most 1 MiB: a short count is allowed, and no request holds its thread longer
 * than a write does. Saves the round trips and the page cache, not the bytes. */
static ssize_t copy_range(struct eng *eng, fuse_ino_t in, uint64_t off_in, fuse_ino_t out, uint64_t off_out,
                          size_t len)
{
    enum { MOST = 1 << 20 };
    char *buf = reply_buffer(MOST);
    size_t now = len < MOST ? len : MOST;
    ssize_t n = buf ? eng_read(eng, in, buf, now, off_in) : -ENOMEM;
    return n > 0 ? eng_write(eng, out, buf, (size_t)n, off_out) : n;
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in,
                               fuse_ino_t out, off_t off_out, struct fuse_file_info *fi_out, size_t len,
                               int flags)
{
    (void)fi_in;
    struct session *session = session_of(req);
    REQUEST_COUNT(session, REQUEST_copy_file_range);
    /* The kernel copies by itself then, by READ and WRITE, and FSYNC where that must be. */
    if (flags || !(fi_out->fh & HANDLE_UNSYNCED) || ctl_owns(in) || ctl_owns(out)) {
        (void)fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    ssize_t n = attr_kill_suidgid_unasked(req, out);
    struct conflicts_change change;
    conflicts_begin(req, &change, out, false);
    if (n == 0)
        n = copy_range(caller_engine(req), in, (uint64_t)off_in, out, (uint64_t)off_out, len);
    conflicts_end(req, &change, (uint64_t)off_out);
    int r = n < 0 ? (int)n : fsync_change(req, 0);
    if (r < 0)
        n = r;
    if (n < 0)
        reply_err(req, REQUEST_copy_file_range, (int)n);
    else
        (void)fuse_reply_write(req, (size_t)n);
}

/* No flag can be set; to set none is what chattr(1) and cp(1) may do to any file. */
static void reply_set_flags(fuse_req_t req, bool none)
{
    if (none)
        (void)fuse_reply_ioctl(req, 0, NULL, 0);
    else
        (void)fuse_reply_err(req, EOPNOTSUPP);
}

/* Flags as lsattr(1) shows them and what xfs_io(8) asks: there are none. The version is of `lsattr -v`. */
static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg, struct fuse_file_info *fi,
                     unsigned flags, const void *in_buf, size_t in_size, size_t out_size)
{
    (void)arg, (void)fi, (void)flags;
    REQUEST_COUNT(session_of(req), REQUEST_ioctl);
    static const struct fsxattr none;
    const uint32_t no_flags = 0;
    const long version =
        (long)(ino >> 32); /* of the slot in the table of inodes: numbers are not used again */
    if (cmd == FS_IOC_GETFLAGS && out_size >= sizeof no_flags)
        (void)fuse_reply_ioctl(req, 0, &no_flags, sizeof no_flags);
    else if (cmd == FS_IOC_GETVERSION && out_size >= sizeof version)
        (void)fuse_reply_ioctl(req, 0, &version, sizeof version);
    else if (cmd == FS_IOC_FSGETXATTR && out_size >= sizeof none)
        (void)fuse_reply_ioctl(req, 0, &none, sizeof none);
    else if (cmd == FS_IOC_SETFLAGS && in_size >= sizeof no_flags)
        reply_set_flags(req, memcmp(in_buf, &no_flags, sizeof no_flags) == 0);
    else if (cmd == FS_IOC_FSSETXATTR && in_size >= sizeof none)
        reply_set_flags(req, memcmp(in_buf, &none, sizeof none) == 0);
    else
        (void)fuse_reply_err(req, ENOTTY);
}

/* Locks of all kinds are left out on purpose: the kernel keeps them, there is one kernel only. */
const struct fuse_lowlevel_ops ops_table = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .open = op_open,
    .read = op_read,
    .write = op_write,
    .flush = op_flush,
    .release = op_release,
    .fsync = op_fsync,
    .opendir = op_opendir,
    .readdir = dir_readdir,
    .readdirplus = dir_readdirplus,
    .releasedir = op_releasedir,
    .fsyncdir = op_fsyncdir,
    .statfs = op_statfs,
    .setxattr = xattr_set,
    .getxattr = xattr_get,
    .listxattr = xattr_list,
    .removexattr = xattr_remove,
    .create = op_create,
    .ioctl = op_ioctl,
    .fallocate = op_fallocate,
    .lseek = op_lseek,
    .copy_file_range = op_copy_file_range,
};
