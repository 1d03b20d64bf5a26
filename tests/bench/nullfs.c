/*
 * nullfs.c - a FUSE filesystem that does nothing but answer: names, attributes and sizes are in memory,
 * written bytes are dropped, read bytes are zeros. What it takes is what FUSE takes; no filesystem on FUSE
 * with the same settings can be faster. Settings and timeouts are those of fs/ops.c.
 *
 *   nullfs MOUNTPOINT [-o OPTIONS] [--xattr]     in the foreground; --xattr: getxattr says ENODATA, else
 * ENOSYS */
#define FUSE_USE_VERSION 314
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>

#define TIMEOUT 86400.0
#define ZEROS (1u << 20)

struct node {
    uint64_t refs; /* lookups of the kernel; protected by lock */
    struct stat st;
    uint64_t parent;                                /* 0: without a name */
    uint64_t hash_next, before, after, first, last; /* in its hash bucket; in its folder; of a folder */
    uint64_t cookie;                                /* order in the folder */
    char *name;
};

/* All protected by lock. Numbers of nodes are their places; freed ones are chained by hash_next. */
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static struct node *nodes;
static uint64_t n_nodes, cap_nodes, free_node, cookies = 2;
static uint64_t *buckets, n_buckets = 1 << 20;
static bool with_xattr;
static char zeros[ZEROS];

static uint64_t *bucket_of(uint64_t parent, const char *name)
{
    return &buckets[XXH3_64bits_withSeed(name, strlen(name), parent) & (n_buckets - 1)];
}

static uint64_t find(uint64_t parent, const char *name)
{
    uint64_t ino = *bucket_of(parent, name);
    while (ino && (nodes[ino].parent != parent || strcmp(nodes[ino].name, name) != 0))
        ino = nodes[ino].hash_next;
    return ino;
}

static uint64_t new_node(mode_t mode, const struct fuse_ctx *ctx)
{
    uint64_t ino = free_node;
    if (ino) {
        free_node = nodes[ino].hash_next;
    } else {
        if (n_nodes + 1 >= cap_nodes) {
            cap_nodes = cap_nodes ? cap_nodes * 2 : 1024;
            nodes = realloc(nodes, cap_nodes * sizeof *nodes);
            if (!nodes)
                abort();
        }
        ino = ++n_nodes;
    }
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    nodes[ino] = (struct node){.st = {.st_ino = ino,
                                      .st_mode = mode,
                                      .st_nlink = S_ISDIR(mode) ? 2 : 1,
                                      .st_uid = ctx ? ctx->uid : 0,
                                      .st_gid = ctx ? ctx->gid : 0,
                                      .st_blksize = S_ISDIR(mode) ? 131072 : 4096,
                                      .st_atim = now,
                                      .st_mtim = now,
                                      .st_ctim = now}};
    return ino;
}

static void attach(uint64_t ino, uint64_t parent, const char *name)
{
    struct node *node = &nodes[ino], *dir = &nodes[parent];
    uint64_t *bucket = bucket_of(parent, name);
    node->name = strdup(name);
    if (!node->name)
        abort();
    node->parent = parent;
    node->hash_next = *bucket;
    *bucket = ino;
    node->cookie = ++cookies;
    node->before = dir->last;
    node->after = 0;
    if (dir->last)
        nodes[dir->last].after = ino;
    else
        dir->first = ino;
    dir->last = ino;
}

static void detach(uint64_t ino)
{
    struct node *node = &nodes[ino], *dir = &nodes[node->parent];
    uint64_t *link = bucket_of(node->parent, node->name);
    while (*link != ino)
        link = &nodes[*link].hash_next;
    *link = node->hash_next;
    *(node->before ? &nodes[node->before].after : &dir->first) = node->after;
    *(node->after ? &nodes[node->after].before : &dir->last) = node->before;
    free(node->name);
    node->name = NULL;
    node->parent = 0;
}

static void drop_if_dead(uint64_t ino)
{
    if (nodes[ino].parent || nodes[ino].refs || ino == FUSE_ROOT_ID)
        return;
    nodes[ino].hash_next = free_node;
    free_node = ino;
}

static void entry_of(uint64_t ino, struct fuse_entry_param *e)
{
    *e = (struct fuse_entry_param){
        .ino = ino, .attr = nodes[ino].st, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};
    nodes[ino].refs++;
}

/* ---- requests ------------------------------------------------------------- */

static void want(struct fuse_conn_info *conn, unsigned cap, bool on)
{
    conn->want = on && (conn->capable & cap) ? conn->want | cap : conn->want & ~cap;
}

static void null_init(void *userdata, struct fuse_conn_info *conn)
{
    (void)userdata;
    want(conn, FUSE_CAP_ASYNC_READ, true);
    want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
    want(conn, FUSE_CAP_CACHE_SYMLINKS, true);
    want(conn, FUSE_CAP_READDIRPLUS, true);
    want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
    want(conn, FUSE_CAP_WRITEBACK_CACHE, false);
    want(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
    want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
    want(conn, FUSE_CAP_ATOMIC_O_TRUNC, false);
    want(conn, FUSE_CAP_IOCTL_DIR, false);
    want(conn, FUSE_CAP_POSIX_ACL, false);
    want(conn, FUSE_CAP_HANDLE_KILLPRIV, false);
    want(conn, FUSE_CAP_SPLICE_READ, false);
    want(conn, FUSE_CAP_SPLICE_WRITE, false);
    want(conn, FUSE_CAP_SPLICE_MOVE, false);
    conn->max_write = 1 << 20;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
    conn->time_gran = 1;
}

static void null_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e = {.entry_timeout = TIMEOUT};
    pthread_rwlock_wrlock(&lock);
    uint64_t ino = find(parent, name);
    if (ino)
        entry_of(ino, &e);
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_entry(req, &e);
}

static void forget_one(fuse_ino_t ino, uint64_t n)
{
    nodes[ino].refs -= n;
    drop_if_dead(ino);
}

static void null_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
    pthread_rwlock_wrlock(&lock);
    forget_one(ino, n);
    pthread_rwlock_unlock(&lock);
    fuse_reply_none(req);
}

static void null_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    pthread_rwlock_wrlock(&lock);
    for (size_t i = 0; i < count; i++)
        forget_one(forgets[i].ino, forgets[i].nlookup);
    pthread_rwlock_unlock(&lock);
    fuse_reply_none(req);
}

static void null_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)fi;
    pthread_rwlock_rdlock(&lock);
    struct stat st = nodes[ino].st;
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_attr(req, &st, TIMEOUT);
}

static void null_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
                         struct fuse_file_info *fi)
{
    (void)fi;
    pthread_rwlock_wrlock(&lock);
    struct stat *mine = &nodes[ino].st;
    if (to_set & FUSE_SET_ATTR_MODE)
        mine->st_mode = st->st_mode;
    if (to_set & FUSE_SET_ATTR_SIZE) {
        mine->st_size = st->st_size;
        mine->st_blocks = (st->st_size + 511) / 512;
    }
    if (to_set & FUSE_SET_ATTR_MTIME)
        mine->st_mtim = st->st_mtim;
    if (to_set & FUSE_SET_ATTR_ATIME)
        mine->st_atim = st->st_atim;
    struct stat out = *mine;
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_attr(req, &out, TIMEOUT);
}

static int create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                  struct fuse_entry_param *e)
{
    int err = EEXIST;
    pthread_rwlock_wrlock(&lock);
    if (!find(parent, name)) {
        uint64_t ino = new_node(mode, fuse_req_ctx(req));
        attach(ino, parent, name);
        entry_of(ino, e);
        err = 0;
    }
    pthread_rwlock_unlock(&lock);
    return err;
}

static void null_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    struct fuse_entry_param e;
    int err = create(req, parent, name, S_IFDIR | mode, &e);
    (void)(err ? fuse_reply_err(req, err) : fuse_reply_entry(req, &e));
}

static void null_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                        struct fuse_file_info *fi)
{
    struct fuse_entry_param e;
    int err = create(req, parent, name, S_IFREG | mode, &e);
    fi->keep_cache = 1;
    fi->noflush = 1;
    (void)(err ? fuse_reply_err(req, err) : fuse_reply_create(req, &e, fi));
}

static void null_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    pthread_rwlock_wrlock(&lock);
    uint64_t ino = find(parent, name);
    int err = ino ? 0 : ENOENT;
    if (ino && nodes[ino].first)
        err = ENOTEMPTY;
    if (!err) {
        detach(ino);
        drop_if_dead(ino);
    }
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_err(req, err);
}

static void null_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                        const char *new_name, unsigned flags)
{
    pthread_rwlock_wrlock(&lock);
    uint64_t ino = find(parent, name), old = find(new_parent, new_name);
    int err = ino ? 0 : ENOENT;
    if (flags)
        err = EINVAL;
    if (!err && ino != old) {
        if (old) {
            detach(old);
            drop_if_dead(old);
        }
        detach(ino);
        attach(ino, new_parent, new_name);
    }
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_err(req, err);
}

static void null_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    (void)fuse_reply_err(req, ENOSYS);
}

static void null_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    (void)fuse_reply_err(req, ENOSYS);
}

static void null_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    (void)fuse_reply_err(req, 0);
}

static void null_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync, (void)fi;
    (void)fuse_reply_err(req, 0);
}

static void null_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    pthread_rwlock_rdlock(&lock);
    off_t end = nodes[ino].st.st_size;
    pthread_rwlock_unlock(&lock);
    size_t n = off < end ? (size_t)(end - off) : 0;
    if (n > size)
        n = size;
    (void)fuse_reply_buf(req, zeros, n < ZEROS ? n : ZEROS);
}

static void null_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
                       struct fuse_file_info *fi)
{
    (void)buf, (void)fi;
    pthread_rwlock_wrlock(&lock);
    struct stat *st = &nodes[ino].st;
    if (off + (off_t)size > st->st_size)
        st->st_size = off + (off_t)size;
    st->st_blocks = (st->st_size + 511) / 512;
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_write(req, size);
}

static void list(fuse_req_t req, fuse_ino_t dir, size_t size, off_t off, bool plus)
{
    char *buf = malloc(size);
    size_t used = 0;
    if (!buf) {
        (void)fuse_reply_err(req, ENOMEM);
        return;
    }
    pthread_rwlock_wrlock(&lock);
    /* a stream goes on behind the entry that it ended with, which is found by its cookie: see `last` */
    static uint64_t last_dir, last_cookie, last_ino; /* protected by lock */
    uint64_t ino = nodes[dir].first;
    if (off && last_dir == dir && last_cookie == (uint64_t)off && last_ino && nodes[last_ino].parent == dir)
        ino = nodes[last_ino].after;
    while (ino && nodes[ino].cookie <= (uint64_t)off)
        ino = nodes[ino].after;
    for (; ino; ino = nodes[ino].after) {
        const struct node *node = &nodes[ino];
        struct fuse_entry_param e = {
            .ino = ino, .attr = node->st, .attr_timeout = TIMEOUT, .entry_timeout = TIMEOUT};
        size_t n =
            plus ? fuse_add_direntry_plus(req, buf + used, size - used, node->name, &e, (off_t)node->cookie)
                 : fuse_add_direntry(req, buf + used, size - used, node->name, &e.attr, (off_t)node->cookie);
        if (n > size - used)
            break;
        used += n;
        nodes[ino].refs += plus;
        last_dir = dir;
        last_cookie = node->cookie;
        last_ino = ino;
    }
    pthread_rwlock_unlock(&lock);
    (void)fuse_reply_buf(req, buf, used);
    free(buf);
}

static void null_readdir(fuse_req_t req, fuse_ino_t dir, size_t size, off_t off, struct fuse_file_info *fi)
{
    (void)fi;
    list(req, dir, size, off, false);
}

static void null_readdirplus(fuse_req_t req, fuse_ino_t dir, size_t size, off_t off,
                             struct fuse_file_info *fi)
{
    (void)fi;
    list(req, dir, size, off, true);
}

static void null_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    (void)fuse_reply_err(req, ENOSYS);
}

static void null_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino, (void)name, (void)size;
    (void)fuse_reply_err(req, with_xattr ? ENODATA : ENOSYS);
}

static void null_statfs(fuse_req_t req, fuse_ino_t ino)
{
    (void)ino;
    const struct statvfs st = {.f_bsize = 4096,
                               .f_frsize = 4096,
                               .f_blocks = 1 << 28,
                               .f_bfree = 1 << 28,
                               .f_bavail = 1 << 28,
                               .f_namemax = 255};
    (void)fuse_reply_statfs(req, &st);
}

static const struct fuse_lowlevel_ops null_ops = {
    .init = null_init,
    .lookup = null_lookup,
    .forget = null_forget,
    .forget_multi = null_forget_multi,
    .getattr = null_getattr,
    .setattr = null_setattr,
    .mkdir = null_mkdir,
    .unlink = null_unlink,
    .rmdir = null_unlink,
    .rename = null_rename,
    .open = null_open,
    .read = null_read,
    .write = null_write,
    .flush = null_flush,
    .release = null_release,
    .fsync = null_fsync,
    .opendir = null_opendir,
    .readdir = null_readdir,
    .readdirplus = null_readdirplus,
    .releasedir = null_release,
    .statfs = null_statfs,
    .getxattr = null_getxattr,
    .create = null_create,
};

int main(int argc, char **argv)
{
    char *args[] = {argv[0], "-o", "fsname=nullfs,subtype=nullfs,default_permissions", NULL};
    struct fuse_args fuse_args = FUSE_ARGS_INIT(3, args);
    if (argc < 2)
        return (void)fprintf(stderr, "usage: nullfs MOUNTPOINT [--xattr]\n"), 2;
    with_xattr = argc > 2 && strcmp(argv[2], "--xattr") == 0;
    buckets = calloc(n_buckets, sizeof *buckets);
    if (!buckets)
        return 1;
    (void)new_node(S_IFDIR | 0755, NULL);
    struct fuse_session *session = fuse_session_new(&fuse_args, &null_ops, sizeof(null_ops), NULL);
    if (!session || fuse_set_signal_handlers(session) != 0 || fuse_session_mount(session, argv[1]) != 0)
        return 1;
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    fuse_loop_cfg_set_clone_fd(config, 0);
    fuse_loop_cfg_set_max_threads(config, 16);
    int r = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    fuse_opt_free_args(&fuse_args);
    return r ? 1 : 0;
}
