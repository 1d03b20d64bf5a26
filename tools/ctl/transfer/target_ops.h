/*
 * target_ops.h - what a subcommand works on, behind one interface:
 *   - a store folder that is not mounted, through the engine;
 *   - a mount, or a directory inside one, through plain file system calls;
 *   - any other directory tree (the far side of import and export of trees).
 *
 * Directories are known by handles (tdir), which live as long as the target;
 * everything else by its directory and name, so that no descriptor is held.
 * Calls return 0 or a negative errno. One thread; of a store put() may run in another one beside the rest. */
#ifndef ENGRAMCTL_TARGET_OPS_H
#define ENGRAMCTL_TARGET_OPS_H

#include "admin.h"
#include "ctl/transfer/temporary.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum target_kind { TARGET_STORE, TARGET_MOUNT, TARGET_TREE };

typedef uint64_t tdir;

struct target_attr {
    uint64_t dev, ino, size, rdev;
    int64_t atime, mtime; /* ns */
    uint32_t mode, nlink, uid, gid;
};

struct target_file {
    uint64_t ino;  /* of a store; of stream_open() always */
    int fd;        /* mount, tree; else -1 */
    bool in_place; /* of stream_open(): this is the file that has the name */
};

struct target_scan;
struct target;

/* Time of a record or attribute that is to be "now". */
#define TARGET_NOW INT64_MIN

struct target_ops {
    void (*close_files)(struct target *t); /* frees the backend's state */
    int (*finish)(struct target *t);       /* flushes what was written; the last call before close_files() */
    int (*lookup)(struct target *t, tdir dir, const char *name, struct target_attr *ret);
    int (*subdir)(struct target *t, tdir dir, const char *name, const struct target_attr *attr, tdir *ret);
    int (*mkdir)(struct target *t, tdir dir, const char *name, uint32_t mode, tdir *ret);
    /* New and existing files. One that is as its record says is not touched; another one is replaced at once:
     * a reader sees the old one or the new one. `inos`: out, which inode has the name of each that was put;
     * 0: nobody but us changes that. */
    ssize_t (*put)(struct target *t, struct eng_record *records, size_t n, uint64_t *inos);
    /* The same for one file, whose content is written between the two calls. stream_close() takes the error
     * of that, and leaves everything as it was then; it returns that or its own. `over`: what has the name
     * may be no file, or one with other names, and is not written to in any case. */
    int (*stream_open)(struct target *t, const struct eng_record *rec, bool over, struct target_file *ret);
    int (*stream_close)(struct target *t, const struct eng_record *rec, struct target_file *f, int r);
    /* -ESTALE: it is not the file any more that `attr` is of. */
    int (*open)(struct target *t, tdir dir, const char *name, const struct target_attr *attr, bool write,
                struct target_file *ret);
    /* A directory by its handle, for its attributes. */
    int (*open_dir)(struct target *t, tdir self, struct target_file *ret);
    int (*close)(struct target *t, struct target_file *f);
    ssize_t (*read)(struct target *t, struct target_file *f, void *buf, size_t n, uint64_t offset);
    ssize_t (*write)(struct target *t, struct target_file *f, const void *buf, size_t n, uint64_t offset);
    int (*truncate)(struct target *t, struct target_file *f, uint64_t size);
    /* whence SEEK_DATA or SEEK_HOLE; -ENXIO: nothing more. */
    int (*seek)(struct target *t, struct target_file *f, uint64_t offset, int whence, uint64_t *ret);
    ssize_t (*listxattr)(struct target *t, struct target_file *f, char *list, size_t size);
    ssize_t (*getxattr)(struct target *t, struct target_file *f, const char *name, void *value, size_t size);
    int (*setxattr)(struct target *t, struct target_file *f, const char *name, const void *value,
                    size_t size);
    int (*removexattr)(struct target *t, struct target_file *f, const char *name);
    /* mask: ENG_SET_MODE, _UID, _GID, _ATIME, _MTIME. Owners are kept as far as the user may, and set-ID bits
     * only with them. `attr` has the dev and ino of the file that is meant; -EREMCHG: another one has the
     * name. */
    int (*setattr)(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                   unsigned mask);
    int (*getattr_dir)(struct target *t, tdir self, struct target_attr *ret);
    int (*setattr_dir)(struct target *t, tdir self, const struct target_attr *attr, unsigned mask);
    /* A symlink (link: its target) or special file, with its attributes. `over`: in place of what has the
     * name, at once, unless that is a directory; an error leaves everything as it was. */
    int (*make)(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                const char *link, bool over, uint64_t *ret_ino);
    ssize_t (*readlink)(struct target *t, tdir dir, const char *name, const struct target_attr *attr,
                        char *buf, size_t size);
    /* Another name for `from`, if that is the inode `ino` still: else -ENOTUNIQ. `over`: as of make(). */
    int (*link)(struct target *t, tdir from_dir, const char *from, uint64_t ino, tdir dir, const char *name,
                bool over);
    int (*unlink)(struct target *t, tdir dir, const char *name);
    int (*rmdir)(struct target *t, tdir dir, const char *name);
    int (*scan_open)(struct target *t, tdir dir, struct target_scan **ret);
    /* 1: an entry (name valid until the next call), 0: the end. "." and ".." are left out. *ret_error is 0,
     * or why of `ret_attr` only the type and the inode are known. A negative errno: the rest cannot be
     * listed. */
    int (*scan_next)(struct target_scan *s, const char **ret_name, struct target_attr *ret_attr,
                     int *ret_error);
    void (*scan_close)(struct target_scan *s);
    /* 0, or why the whole of it answers no more, as a mount whose daemon has died. */
    int (*answers)(struct target *t);
};

struct target {
    const struct target_ops *ops;
    enum target_kind kind;
    tdir root;        /* the directory named by the user */
    char *path;       /* as the user wrote it */
    char *mountpoint; /* of a mount, else NULL */
    char *prefix;     /* of a mount: path from the mount point to `root`, "" if they are one */
    bool held;        /* a snapshot of a mount: its daemon holds its segments until hold_fd is closed */
    int hold_fd;
    int folder;            /* of a store that is not mounted: its folder, O_PATH; else -1 */
    struct eng *eng;       /* of a store, else NULL */
    const char *at;        /* of a store: the snapshot or batch that is read, NULL: what is there now */
    struct eng_view *view; /* of that; NULL: none */
    tdir swept;            /* of a store: the directory last looked at for what killed imports left */
    char temporary[TEMPORARY_BUF]; /* of a store: the name of the file that stream_open() has made */
    struct eng_caller caller;      /* of a store: asked for once, as it is needed for every name */
    void *backend;                 /* owned by ops */
    bool keeps_attr;               /* put(): an existing file keeps its mode and owner */
    uint64_t at_dev, at_ino;       /* of the folder that was opened */
    /* Left out by a walk, since it is where this is copied to; ino 0: nothing. */
    uint64_t self_dev, self_ino;
    /* Is told of guarded attributes that it does not take; the rest of the entry is kept. */
    void (*refused)(void *arg, const char *entry, const char *why);
    void *refused_arg;
    /* Who answers for what is in it, trust.h: not root alone; he, UINT32_MAX: unknown. */
    bool foreign;
    uint32_t owner, owner_gid;
    bool limited;  /* as a source: root takes not all of it */
    bool is_wary;  /* as a source: root takes nothing of what others have mounted in it */
    bool is_found; /* the folder that the user named was there, and was not made for this */
    bool wrote;    /* set by whoever changes it: finish() then makes that durable */
};

/* How long to wait for the lock of a store: a daemon that is just being unmounted gives it back. */
enum { TARGET_LOCK_WAIT_MS = 2000 };

enum target_flags {
    TARGET_CREATE = 1,     /* a missing folder is made, a store or a tree; a tree may also be empty */
    TARGET_CREATE_IN = 32, /* with CREATE: an empty folder becomes a store */
    TARGET_FIELDS = 128,   /* a mount that shows no attributes, as one with -o noxattr, is refused */
    TARGET_NEW = 64,       /* with CREATE: nothing may be there, not even an empty folder */
    TARGET_READ_ONLY = 2,  /* opens a store without changing it */
    TARGET_QUIET = 4,      /* a store's engine does no work of its own (a compaction at start, say) */
    TARGET_SALVAGE = 16,   /* with READ_ONLY: also a store that is refused otherwise, up to its damage */
    TARGET_SNAPSHOT = 8,   /* of a mount: its store as it is now, read-only, while writers go on */
};

#endif
