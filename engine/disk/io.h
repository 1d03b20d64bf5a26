/*
 * io.h - the seam to the operating system. Everything the engine does to a
 * disk goes through this table, so that the crash simulator of the tests (and
 * one day an object store) can stand in for the real file system.
 *
 * One eng_io is one store directory; names are plain file names within it.
 * The functions are thin: they may transfer less than asked and may return
 * -EINTR. The io_*_full() helpers below loop; the engine uses those.
 * Every function may be called from several threads at once. */
#ifndef ENGRAMFS_IO_H
#define ENGRAMFS_IO_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct buf; /* base/util.h */

struct eng_io;
struct io_file; /* an open file; belongs to the implementation */

enum io_open_flags {
    IO_RDONLY = 0,
    IO_RDWR = 1,
    IO_CREATE = 2, /* create; fails with -EEXIST if it is there */
    IO_DIRECT = 4, /* reads go past the cache: buffers, sizes and offsets are multiples of IO_ALIGN. -EINVAL:
                      not here */
};
#define IO_ALIGN 4096u

struct io_space {
    uint64_t block_size, total_bytes, free_bytes, avail_bytes; /* of the file system, bytes */
    bool read_only;                                            /* it is mounted so */
};

enum io_advice {
    IO_WILL_NEED, /* it is read soon: fetch it */
    IO_WRITE_BACK /* it is synced soon: begin writing. Promises nothing */
};

/* -ENOSPC stands for each limit that removing something may help against: also of a quota, or of the
 * process. */
struct eng_io_ops {
    int (*open)(struct eng_io *io, const char *name, int flags, struct io_file **ret_file);
    void (*close)(struct io_file *file);
    ssize_t (*pread)(struct io_file *file, void *buf, size_t size, uint64_t offset);
    /* 1: all of a range is in memory, 0: it is not, -errno: cannot be told. Its offset is a multiple of
     * IO_ALIGN. May be NULL: cannot be told. */
    int (*cached)(struct io_file *file, uint64_t offset, size_t size);
    /* Where, from `at` on, the file has more than a hole: -ENXIO, nowhere. May be NULL: cannot be told. */
    int (*next_data)(struct io_file *file, uint64_t at, uint64_t *ret_at);
    ssize_t (*pwritev)(struct io_file *file, const struct iovec *iov, int n, uint64_t offset);
    int (*file_size)(struct io_file *file, uint64_t *ret_size);
    /* When it was written last, ns; damage of the medium does not count. May be NULL: not known. */
    int (*written_at)(struct io_file *file, int64_t *ret_time);
    /* A number that this file has for as long as it is there, whatever is written to it and however it is
     * called, and a copy of it has not; never 0. May be NULL, and fail: not known. */
    int (*identity)(struct io_file *file, uint64_t *ret_self);
    int (*truncate)(struct io_file *file, uint64_t size);
    /* Reserves disk space for [from, to), behind which the file ends if it was shorter. After an error a part
     * of it may be reserved. -EOPNOTSUPP is fine. */
    int (*allocate)(struct io_file *file, uint64_t from, uint64_t to);
    /* -ENOENT: it has no name any more, so that nothing of it will be found again. */
    int (*datasync)(struct io_file *file);
    /* Forgets what is cached and synced of the file, so that reads come from the medium. Best effort. */
    void (*drop_cache)(struct io_file *file);
    /* What is about to be done with a range. Advice, which may be ignored; may be NULL. */
    void (*advise)(struct io_file *file, enum io_advice advice, uint64_t offset, uint64_t size);
    int (*unlink)(struct eng_io *io, const char *name);
    int (*rename)(struct eng_io *io, const char *from, const char *to); /* replaces */
    int (*syncdir)(struct eng_io *io);
    /* Calls emit for each name, "." and ".." excepted; stops when it returns non-zero and returns that. */
    int (*list)(struct eng_io *io, int (*emit)(void *arg, const char *name), void *arg);
    /* Exclusive (or, read-only, shared) lock on the store, held until unlock or death. -EBUSY when taken. */
    int (*lock)(struct eng_io *io, bool shared);
    void (*unlock)(struct eng_io *io);
    /* Which process has the lock; 0: nobody, or unknown. May be NULL: unknown. */
    int64_t (*lock_holder)(struct eng_io *io);
    /* A file system that knows no blocks says 0 throughout: io_space_known(). */
    int (*space)(struct eng_io *io, struct io_space *ret_space);
    /* Disk blocks in use by all files of the directory and the directory itself, bytes, as du counts. */
    int (*usage)(struct eng_io *io, uint64_t *ret_bytes);
    /* Waits until the space of what was removed and cut is to be had, where that takes the file system a
     * while, which is long. -EOPNOTSUPP: it is at once. May be NULL: likewise. */
    int (*give_back)(struct eng_io *io);
    /* How many files the process may have open, all in all. May be NULL: as many as one likes. */
    uint64_t (*files_max)(struct eng_io *io);
    /* How large the process may make a file, bytes. May be NULL: as large as one likes. */
    uint64_t (*file_size_max)(struct eng_io *io);
};

struct eng_io {
    const struct eng_io_ops *ops; /* immutable */
    /* errno of the first syncdir that failed since io_begin(); 0: none. Names that it was to make durable may
     * be lost, and no later one tells (I11). */
    _Atomic int dir_failed;
};

/* Whether open() has found what is no regular file: a folder, a link, a pipe, a socket. */
static inline bool io_is_no_file(int r)
{
    return r == -EISDIR || r == -ELOOP || r == -EBADMSG || r == -ENXIO;
}
#define MEDIUM_TRIES 3u /* on an error of the medium, where a recovery hangs on it */
/* Whether it tells of the process or the machine, for the moment, and nothing of a file or its medium. */
static inline bool io_is_shortage(int r)
{
    return r == -ENOMEM || r == -EMFILE || r == -ENFILE;
}
/* A writer opens the store: what failed before it is over. */
void io_begin(struct eng_io *io);
/* Of an open file; 0: not known. */
static inline uint64_t io_identity(struct io_file *file, const struct eng_io_ops *ops)
{
    uint64_t self;
    return ops->identity && ops->identity(file, &self) == 0 ? self : 0;
}
/* Makes the names durable. Whoever calls it and fails, io->dir_failed tells everybody. */
int io_syncdir(struct eng_io *io);
static inline int io_dir_failed(struct eng_io *io)
{
    return atomic_load_explicit(&io->dir_failed, memory_order_acquire);
}
/* Whether the file system tells its space: it may fail to, or know no blocks. */
static inline bool io_space_known(struct eng_io *io, struct io_space *ret_space)
{
    return io->ops->space(io, ret_space) == 0 && ret_space->total_bytes > 0;
}

/*
 * The real one: a directory of the host's file system. `create` makes the
 * directory itself (not its parents) if it is missing. -ENOENT, -ENOTDIR, -EACCES. */
int io_posix_new(const char *path, bool create, struct eng_io **ret_io);
void io_posix_free(struct eng_io *io); /* NULL is fine */

/* Loops over short counts and EINTR. A read that meets the end of the file early returns what there was. */
ssize_t io_pread_full(struct io_file *file, const struct eng_io_ops *ops, void *buf, size_t size,
                      uint64_t offset);
/* The same, where all must be there: -EBADMSG if the file ends before. */
int io_pread_exact(struct io_file *file, const struct eng_io_ops *ops, void *buf, size_t size,
                   uint64_t offset);
/* Whether there are 4 KiB of zeros in a row, from a multiple of that on: where each number is other than zero
 * that is a hole, of which a file may have any number and takes nothing for it. */
bool io_has_hole(const void *bytes, size_t n);
/* Appends bytes of the file to a buffer, step by step: what is a hole takes no memory. -EBADMSG there, or if
 * the file ends before; -ENOMEM. */
int io_pread_dense(struct io_file *file, const struct eng_io_ops *ops, struct buf *into, size_t size,
                   uint64_t offset);
/* Where from `at` on, a multiple of 8, more than zeros may begin: at `at` itself if that cannot be told;
 * nowhere: UINT64_MAX. So a search takes no longer than what the file has on the disk. */
uint64_t io_skip_hole(struct io_file *file, const struct eng_io_ops *ops, uint64_t at);
/* 0 or -errno; `iov` is modified. A zero-byte write is -EIO. */
int io_pwritev_full(struct io_file *file, const struct eng_io_ops *ops, struct iovec *iov, int n,
                    uint64_t offset);
/* Writes `name` anew as a whole, atomically and durably: temporary file, datasync, rename, syncdir. */
int io_replace_file(struct eng_io *io, const char *name, const void *data, size_t size);
/* Reads a whole file of at most `max` bytes into a malloc'd, NUL-terminated buffer. -EFBIG, -ENOENT. */
int io_read_file(struct eng_io *io, const char *name, size_t max, char **ret_data, size_t *ret_size);

#endif
