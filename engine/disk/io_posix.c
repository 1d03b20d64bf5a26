/*
 * io_posix.c - the POSIX implementation of the OS seam.
 *
 * State: struct io_posix owns one descriptor of the store's directory, through
 * which every name is resolved, so that neither a rename of the directory nor a
 * chdir of the process redirects the store. The lock is a flock on that same
 * descriptor: it needs no write permission and no file of its own, and it
 * survives the fork of a daemon that goes to the background.
 *
 * Names that a backup has still to give (disk/due_names.h) are given by an exclusive lock; whoever only reads
 * sees each file under the name that is due to it.
 *
 * Locks: none of its own; all fields are immutable after io_posix_new() and lock(). */
#include "disk/due_names.h"
#include "disk/io.h"

#include "base/hash.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct io_posix {
    struct eng_io io;
    int dirfd;            /* immutable */
    struct due_names due; /* none, for a writer */
};

struct io_file {
    int fd; /* immutable */
};

static int posix_dirfd(struct eng_io *io)
{
    return ((struct io_posix *)(void *)io)->dirfd;
}

/* What root makes in somebody's store is his, as the rest of it: he would be shut out of it otherwise. Where
 * that cannot be (a file system without owners) it stays ours. */
static void give_to_owner(struct eng_io *io, int fd)
{
    struct stat dir;
    if (geteuid() == 0 && fstat(posix_dirfd(io), &dir) == 0 && (dir.st_uid != 0 || dir.st_gid != getegid()))
        (void)!fchown(fd, dir.st_uid, dir.st_gid);
}

/*
 * A write or a creation that found no room. A quota and RLIMIT_FSIZE (whose signal programs ignore) are full
 * disks to the engine: removing something helps, and it may do so by itself. */
static int no_room(int err)
{
    return err == EDQUOT || err == EFBIG ? -ENOSPC : -err;
}

/*
 * A read or an opening that failed. An error of the medium has many names: ENODATA, EILSEQ and EREMOTEIO are
 * what the kernel makes of a bad sector (blk_status_t), and passes on where it reads past the cache; EUCLEAN
 * and EBADMSG are what file systems say of damage of their own. */
static int no_read(int err)
{
    bool is_medium = err == ENODATA || err == EILSEQ || err == EREMOTEIO || err == EUCLEAN || err == EBADMSG;
    return is_medium ? -EIO : -err;
}

/* A write, which may have to read the rest of a block first. */
static int no_write(int err)
{
    int r = no_room(err);
    return r == -err ? no_read(err) : r;
}

static const struct due_names *posix_due(struct eng_io *io)
{
    return &((struct io_posix *)(void *)io)->due;
}

static int open_name(struct eng_io *io, const char *name, int oflags)
{
    int fd;
    do
        fd = openat(posix_dirfd(io), name, oflags, 0600);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* A file that waits for its name stands for the one that has it. */
static int open_due(struct eng_io *io, const char *name, int oflags)
{
    const struct eng_due_name *due = due_names_find(posix_due(io), name);
    char waiting[DUE_NAME_SIZE];
    if (due && due->goes) {
        errno = ENOENT;
        return -1;
    }
    int fd = -1;
    errno = ENOENT;
    if (due) {
        due_names_waiting(name, waiting);
        fd = open_name(io, waiting, oflags);
    }
    return fd < 0 && errno == ENOENT ? open_name(io, name, oflags) : fd;
}

static int posix_open(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    /*
     * O_NONBLOCK means nothing for a regular file, but keeps us from hanging
     * on a FIFO that somebody has put under a name of ours (I10). */
    int oflags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    oflags |= flags & (IO_RDWR | IO_CREATE) ? O_RDWR : O_RDONLY;
    if (flags & IO_CREATE)
        oflags |= O_CREAT | O_EXCL;
    if (flags & IO_DIRECT)
        oflags |= O_DIRECT;

    int fd = open_due(io, name, oflags);
    if (fd < 0)
        return flags & IO_CREATE ? no_room(errno) : no_read(errno);

    int r = 0;
    struct stat st;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (S_ISDIR(st.st_mode))
        r = -EISDIR;
    else if (!S_ISREG(st.st_mode))
        r = -EBADMSG;
    if (!r && (flags & IO_CREATE))
        give_to_owner(io, fd);

    struct io_file *file = !r ? malloc(sizeof *file) : NULL;
    if (!r && !file)
        r = -ENOMEM;
    if (r) {
        (void)close(fd);
        if (flags & IO_CREATE) /* it is new: nothing may be left of a creation that failed */
            (void)unlinkat(posix_dirfd(io), name, 0);
        return r;
    }
    file->fd = fd;
    *ret_file = file;
    return 0;
}

static void posix_close(struct io_file *file)
{
    if (!file)
        return;
    (void)close(file->fd); /* what matters was reported by datasync */
    free(file);
}

static ssize_t posix_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    if (offset > INT64_MAX)
        return -EINVAL;
    ssize_t n = pread(file->fd, buf, size, (off_t)offset);
    return n < 0 ? no_read(errno) : n;
}

/* Not preadv2(RWF_NOWAIT): what it does not find it has the kernel fetch into the cache. */
static int posix_cached(struct io_file *file, uint64_t offset, size_t size)
{
    unsigned char pages[512];
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), step = sizeof pages * page;
    void *map =
        offset > INT64_MAX ? MAP_FAILED : mmap(NULL, size, PROT_READ, MAP_SHARED, file->fd, (off_t)offset);
    if (map == MAP_FAILED)
        return -EOPNOTSUPP;
    int all = 1;
    for (size_t at = 0; all > 0 && at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        if (mincore((char *)map + at, n, pages) != 0)
            all = -errno;
        for (size_t i = 0; all > 0 && i < (n + page - 1) / page; i++)
            all = pages[i] & 1;
    }
    (void)munmap(map, size);
    return all;
}

static ssize_t posix_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    if (offset > INT64_MAX)
        return -EINVAL;
    ssize_t done = pwritev(file->fd, iov, n > IOV_MAX ? IOV_MAX : n, (off_t)offset);
    return done < 0 ? no_write(errno) : done;
}

static int posix_file_size(struct io_file *file, uint64_t *ret_size)
{
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return -errno;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

static int posix_written_at(struct io_file *file, int64_t *ret_time)
{
    struct stat st;
    if (fstat(file->fd, &st) < 0)
        return -errno;
    *ret_time = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return 0;
}

/* Numbers of inodes are used again, and other file systems have the same: only with its birth a file is
 * known. The number of the device does not count, which may be another one after each boot. */
static int posix_identity(struct io_file *file, uint64_t *ret_self)
{
    struct statx st;
    if (statx(file->fd, "", AT_EMPTY_PATH, STATX_INO | STATX_BTIME, &st) < 0)
        return -errno;
    if (!(st.stx_mask & STATX_BTIME))
        return -EOPNOTSUPP;
    uint64_t of[3] = {st.stx_ino, (uint64_t)st.stx_btime.tv_sec, st.stx_btime.tv_nsec};
    uint64_t self = hash_long(of, sizeof of);
    *ret_self = self ? self : 1;
    return 0;
}

static int posix_truncate(struct io_file *file, uint64_t size)
{
    if (size > INT64_MAX)
        return -EFBIG;
    int r;
    do
        r = ftruncate(file->fd, (off_t)size);
    while (r < 0 && errno == EINTR);
    return r < 0 ? no_room(errno) : 0;
}

static int posix_allocate(struct io_file *file, uint64_t from, uint64_t to)
{
    if (to > INT64_MAX || from >= to)
        return to > INT64_MAX ? -EFBIG : -EINVAL;
    /* Not posix_fallocate(): glibc writes every block where the file system cannot reserve. */
    int r;
    do
        r = fallocate(file->fd, 0, (off_t)from, (off_t)(to - from));
    while (r < 0 && errno == EINTR);
    return r < 0 ? no_room(errno) : 0;
}

static int posix_next_data(struct io_file *file, uint64_t at, uint64_t *ret_at)
{
    off_t data = lseek(file->fd, (off_t)at, SEEK_DATA); /* reads and writes say where themselves */
    if (data < 0)
        return -errno;
    *ret_at = (uint64_t)data;
    return 0;
}

static int posix_datasync(struct io_file *file)
{
    /* Only EINTR may be tried again: after any other failure the pages may be gone (I11). */
    int r;
    do
        r = fdatasync(file->fd);
    while (r < 0 && errno == EINTR);
    /* A file without a name, since somebody has removed the store's folder, is written to and lost at once.
     * Asked without the times: where they were asked for, Linux 6.13 gives the next write a new one, and the
     * next flush writes the inode. */
    struct statx st;
    if (!r && statx(file->fd, "", AT_EMPTY_PATH, STATX_NLINK, &st) == 0 && (st.stx_mask & STATX_NLINK) &&
        st.stx_nlink == 0) {
        errno = ENOENT;
        r = -1;
    }
    return r < 0 ? -errno : 0;
}

static void posix_drop_cache(struct io_file *file)
{
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice */
}

static void posix_advise(struct io_file *file, enum io_advice advice, uint64_t offset, uint64_t size)
{
    if (advice == IO_WILL_NEED)
        (void)posix_fadvise(file->fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
    else
        (void)sync_file_range(file->fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
}

static int posix_unlink(struct eng_io *io, const char *name)
{
    return unlinkat(posix_dirfd(io), name, 0) < 0 ? -errno : 0;
}

static int posix_rename(struct eng_io *io, const char *from, const char *to)
{
    int fd = posix_dirfd(io);
    return renameat(fd, from, fd, to) < 0 ? no_room(errno) : 0;
}

static int fsync_fd(int fd)
{
    int r;
    do
        r = fsync(fd);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int posix_syncdir(struct eng_io *io)
{
    return fsync_fd(posix_dirfd(io));
}

/* Each name as it is on the disk. */
static int list_names(struct eng_io *io, int (*emit)(void *arg, const char *name), void *arg)
{
    /* A description of its own: the position in a directory belongs to it, and threads may list at once. */
    int fd = openat(posix_dirfd(io), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int r = -errno;
        (void)close(fd);
        return r;
    }

    int r = 0;
    while (!r) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry) {
            r = -errno;
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        r = emit(arg, entry->d_name);
    }
    (void)closedir(dir);
    return r;
}

struct list_state {
    const struct due_names *due;
    int (*emit)(void *arg, const char *name);
    void *arg;
};

static int emit_settled(void *arg, const char *name)
{
    const struct list_state *state = arg;
    return due_names_find(state->due, name) ? 0 : state->emit(state->arg, name);
}

static int posix_list(struct eng_io *io, int (*emit)(void *arg, const char *name), void *arg)
{
    const struct due_names *due = posix_due(io);
    struct list_state state = {due, emit, arg};
    int r = list_names(io, emit_settled, &state);
    for (size_t i = 0; !r && i < due->n; i++)
        if (!due->names[i].goes)
            r = emit(arg, due->names[i].name);
    return r;
}

/* A backup may have been interrupted, or completed, while the lock was waited for. */
static int settle_names(struct io_posix *posix, bool shared)
{
    due_names_free(&posix->due);
    if (shared)
        return due_names_read(posix->dirfd, &posix->due);
    int r = eng_due_names_give(posix->dirfd);
    return r < 0 ? r : 0;
}

static int posix_lock(struct eng_io *io, bool shared)
{
    int r;
    do
        r = flock(posix_dirfd(io), (shared ? LOCK_SH : LOCK_EX) | LOCK_NB);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    r = settle_names((struct io_posix *)(void *)io, shared);
    if (r)
        (void)flock(posix_dirfd(io), LOCK_UN);
    return r;
}

static void posix_unlock(struct eng_io *io)
{
    (void)flock(posix_dirfd(io), LOCK_UN);
}

/* From /proc/locks, which knows the holder of a flock as the process that took it. */
static int64_t posix_lock_holder(struct eng_io *io)
{
    struct stat st;
    FILE *f = fopen("/proc/locks", "re");
    if (!f || fstat(posix_dirfd(io), &st) < 0) {
        if (f)
            (void)fclose(f);
        return 0;
    }
    char line[256];
    long long holder = 0;
    while (holder <= 0 && fgets(line, sizeof line, f)) {
        unsigned on_major, on_minor;
        unsigned long long ino;
        long long pid;
        if (sscanf(line, "%*s FLOCK %*s %*s %lld %x:%x:%llu", &pid, &on_major, &on_minor, &ino) == 4 &&
            ino == st.st_ino && on_major == major(st.st_dev) && on_minor == minor(st.st_dev))
            holder = pid;
    }
    (void)fclose(f);
    return holder > 0 ? holder : 0;
}

static int posix_space(struct eng_io *io, struct io_space *ret_space)
{
    struct statvfs vfs;
    if (fstatvfs(posix_dirfd(io), &vfs) < 0)
        return -errno;
    uint64_t unit = vfs.f_frsize ? vfs.f_frsize : vfs.f_bsize;
    *ret_space = (struct io_space){
        .block_size = unit,
        .total_bytes = vfs.f_blocks * unit,
        .free_bytes = vfs.f_bfree * unit,
        .avail_bytes = vfs.f_bavail * unit,
        .read_only = (vfs.f_flag & ST_RDONLY) != 0,
    };
    return 0;
}

struct usage_state {
    int dirfd;
    uint64_t bytes;
};

static int usage_add(void *arg, const char *name)
{
    struct usage_state *state = arg;
    struct stat st;
    if (fstatat(state->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* unlinked since it was listed */
    state->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

static int posix_usage(struct eng_io *io, uint64_t *ret_bytes)
{
    struct usage_state state = {.dirfd = posix_dirfd(io)};
    struct stat st;
    if (fstat(state.dirfd, &st) < 0)
        return -errno;
    state.bytes = (uint64_t)st.st_blocks * 512;
    int r = list_names(io, usage_add, &state);
    if (r < 0)
        return r;
    *ret_bytes = state.bytes;
    return 0;
}

/* btrfs frees what its quotas count only with its transaction. */
static int posix_give_back(struct eng_io *io)
{
    struct statfs fs;
    if (fstatfs(posix_dirfd(io), &fs) < 0)
        return -errno;
    if (fs.f_type != BTRFS_SUPER_MAGIC)
        return -EOPNOTSUPP;
    return syncfs(posix_dirfd(io)) < 0 ? -errno : 0;
}

static uint64_t posix_files_max(struct eng_io *io)
{
    (void)io;
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_cur : _POSIX_OPEN_MAX;
}

static uint64_t posix_file_size_max(struct eng_io *io)
{
    (void)io;
    struct rlimit size;
    return getrlimit(RLIMIT_FSIZE, &size) == 0 && size.rlim_cur != RLIM_INFINITY ? size.rlim_cur : UINT64_MAX;
}

static const struct eng_io_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .cached = posix_cached,
    .next_data = posix_next_data,
    .pwritev = posix_pwritev,
    .file_size = posix_file_size,
    .written_at = posix_written_at,
    .identity = posix_identity,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .datasync = posix_datasync,
    .drop_cache = posix_drop_cache,
    .advise = posix_advise,
    .unlink = posix_unlink,
    .rename = posix_rename,
    .syncdir = posix_syncdir,
    .list = posix_list,
    .lock = posix_lock,
    .unlock = posix_unlock,
    .lock_holder = posix_lock_holder,
    .space = posix_space,
    .usage = posix_usage,
    .give_back = posix_give_back,
    .files_max = posix_files_max,
    .file_size_max = posix_file_size_max,
};

/* Makes the name of a just created directory durable. */
static int sync_parent(int dirfd)
{
    int parent = openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 && errno == EACCES) /* a parent that may be written but not read */
        return syncfs(dirfd) < 0 ? -errno : 0;
    if (parent < 0)
        return -errno;
    int r = fsync_fd(parent);
    (void)close(parent);
    return r;
}

int io_posix_new(const char *path, bool create, struct eng_io **ret_io)
{
    bool created = false;
    if (create) {
        if (mkdir(path, 0700) == 0)
            created = true;
        else if (errno != EEXIST && errno != EROFS) /* EROFS comes before EEXIST */
            return -errno;
    }
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;

    int r = created ? sync_parent(fd) : 0;
    struct io_posix *posix = !r ? calloc(1, sizeof *posix) : NULL;
    if (!r && !posix)
        r = -ENOMEM;
    if (r) {
        (void)close(fd);
        return r;
    }
    posix->io.ops = &posix_ops;
    posix->dirfd = fd;
    r = due_names_read(fd, &posix->due); /* for whoever takes no lock */
    if (r) {
        io_posix_free(&posix->io);
        return r;
    }
    *ret_io = &posix->io;
    return 0;
}

void io_posix_free(struct eng_io *io)
{
    if (!io)
        return;
    assert(io->ops == &posix_ops);
    struct io_posix *posix = (struct io_posix *)(void *)io;
    (void)close(posix->dirfd);
    due_names_free(&posix->due);
    free(posix);
}
