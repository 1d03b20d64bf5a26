/*
 * engine.h - public face of the engramfs engine: a log-structured store of
 * memories with the semantics of a POSIX file tree.
 *
 * The engine knows nothing of FUSE, prints nothing, keeps no globals (but for whom a thread acts) and
 * never exits; a program that links it (the daemon, engramctl, an embedder)
 * gets every outcome as a return value.
 *
 * Conventions, valid for every call:
 *   - return 0 on success, a negative errno value on failure; -EBADMSG means
 *     damage on the medium. Calls that count return >= 0.
 *   - ret_ parameters are written only on success.
 *   - arguments are borrowed for the duration of the call.
 *   - a NULL where none is allowed is -EINVAL. It is allowed where said, as
 *     struct eng_caller (an owner of uid 0 and gid 0, no reference), and as
 *     a buffer of size 0. Calls that return nothing, or no error, do nothing
 *     with an eng or a feed of NULL and return 0; so does eng_close().
 *   - callbacks run in the calling thread, unless said, during the call. They
 *     must not close the store. Where they run under no lock they may make
 *     any other call; structs and strings that they get are valid until they
 *     return.
 *   - names are byte strings of 1..255 bytes without '/' and NUL; they are
 *     passed NUL-terminated. Paths do not appear in this interface except
 *     where said.
 *   - all calls may be made from any thread at the same time, except
 *     eng_open() and eng_close().
 *   - times are nanoseconds since the epoch, signed (1677..2262).
 *   - offsets and sizes are bytes.
 *   - common errors, not repeated below: -EIO (the medium failed), -ENOMEM,
 *     -EROFS (opened read-only, or turned read-only after a failed sync, see
 *     eng_stats.read_only_reason), -ENOSPC (-EAGAIN, see eng_options.room_later),
 *     -ESTALE (no such inode).
 *
 * How this interface grows, so that programs compiled against an older header
 * go on working with a newer engine:
 *   - structs grow at their ends only. eng_options, eng_statfs, eng_stats,
 *     eng_space, and options and reports of jobs are passed with the size that
 *     the program knows: X(), inline, calls X_sized(). A language without
 *     inline functions calls X_sized(). Options that are missing have their
 *     defaults; any set that this engine does not know are -EINVAL.
 *   - structs that callbacks get grow likewise: the engine owns them.
 *   - eng_attr and eng_caller (hot path: no size is passed), eng_record,
 *     eng_xattr_pair and eng_change (elements of arrays that programs own),
 *     eng_digest_value, eng_compact_estimate, eng_figure, eng_space_kind and eng_dump_field stay
 *     as they are.
 *   - values are added to enums, and bits to masks; a bit that this engine does
 *     not know is -EINVAL, so that a program can ask. */
#ifndef ENGRAMFS_ENGINE_H
#define ENGRAMFS_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ENG_API __attribute__((visibility("default")))
#else
#define ENG_API
#endif

#define ENG_VERSION "0.1.0"

struct eng;
struct eng_io; /* the OS seam, io.h; NULL everywhere means the real one */

/* Limits. */
#define ENG_NAME_MAX 255
#define ENG_SYMLINK_MAX 4095
#define ENG_FILE_SIZE_MAX ((UINT64_C(1) << 44) - 4096) /* 16 TiB less a block, as ext4; above: -EFBIG */
#define ENG_LINK_MAX 65000                             /* above: -EMLINK */
#define ENG_MOVE_DEPTH_MAX                                                                                   \
    16384 /* directories above the new place of a directory that has some: see eng_rename() */
#define ENG_XATTR_NAME_MAX 255
#define ENG_XATTR_SIZE_MAX 65536
#define ENG_XATTR_LIST_MAX 65536
#define ENG_XATTR_COUNT_MAX 2048 /* of one file: each step to one of them passes the others */
#define ENG_SEGMENT_SIZE_DEFAULT (UINT64_C(64) << 20)
#define ENG_SEGMENT_SIZE_MIN (UINT64_C(64) << 10)
#define ENG_SEGMENT_SIZE_MAX (UINT64_C(1) << 30)
#define ENG_FEED_BYTES_DEFAULT (UINT64_C(4) << 20)

#define ENG_ROOT_INO UINT64_C(1)

/* ---- opening and closing ------------------------------------------------ */

enum eng_log_level { ENG_LOG_ERROR, ENG_LOG_WARNING, ENG_LOG_INFO, ENG_LOG_DEBUG };

struct eng_options {
    bool read_only; /* nothing is written, not even for recovery */
    /* With read_only: opens, without a lock, what another process that has called eng_hold() has written to
     * the store by now; valid until that one calls eng_release(). */
    bool snapshot;
    /* With read_only: opens what can be made out of a store that is refused otherwise: the memories up to the
     * damage in its log. What lies behind: eng_lost(). */
    bool salvage;
    bool must_exist;       /* do not create a missing or empty store: -ENOENT */
    bool relatime;         /* eng_accessed() is heeded */
    bool no_background;    /* no threads; the caller drives eng_tick() (tests, tools) */
    uint64_t segment_size; /* of a store being created, or of new segments; 0: stored/default */
    int64_t commit_ms;     /* background commit interval, ms; 0: default 5000; <0: never */
    int64_t lock_wait_ms;  /* how long to wait for another process's lock; 0: not at all */
    uint64_t feed_bytes;   /* memory for changes, while eng_feed_open() has readers; 0: the default */
    struct eng_io *io;     /* borrowed until eng_close(); NULL: the real file system */
    /* One call an event, from any thread, also before eng_open() returns and within eng_close(); under no
     * lock of the engine. May be NULL. */
    void (*log)(void *arg, enum eng_log_level level, const char *line);
    void *log_arg;
    /* A change that finds the disk full, where compacting can make room, does not wait for that: -EAGAIN, and
     * the caller tries again after eng_make_room(). For a caller whose threads are few. */
    bool room_later;
};

/*
 * Opens (creating it if allowed) the store in directory `path`, recovers it
 * and starts background work. On return everything recovered is durable, as far as an engine has written it:
 * it makes durable what the last run may not have, and no file that was durable then. So of a folder that was
 * copied since (cp, rsync), all is durable only once the copy was synced (sync(1)), however often it was
 * opened, written to and fsynced meanwhile.
 * A store of an older format becomes one of today's first, unless it is opened
 * read_only. Of a large one the index comes behind the open store, unless there is
 * no_background: until eng_stats.index_unverified_bytes is 0 a call that needs a part
 * that cannot be had just now fails with that error (-ENOMEM, -EMFILE, -EIO, …), and
 * once a part turns out to be damaged all calls answer -EIO, and nothing is written.
 * Errors: -EBUSY store in use by another process; -ENOTEMPTY `path` is a
 * folder that holds something else ("not a store"); -ENOTDIR; -ENOENT;
 * -EPROTONOSUPPORT unknown format version or incompat feature; -EBADMSG
 * damaged beyond what opening may repair; -EINVAL bad option.
 * `opt` NULL: all defaults, which are zeros; of its `size` bytes those that are
 * missing likewise, and if more are set than this engine knows, -EINVAL. `path` may be NULL if opt->io is
 * not. `ret_why`, if not NULL, gets on failure one line of explanation (at most
 * 255 characters) that names the file concerned and what to do. */
ENG_API int eng_open_sized(const char *path, const struct eng_options *opt, size_t size, struct eng **ret_eng,
                           char ret_why[256]);
static inline int eng_open(const char *path, const struct eng_options *opt, struct eng **ret_eng,
                           char ret_why[256])
{
    return eng_open_sized(path, opt, sizeof *opt, ret_eng, ret_why);
}

/*
 * Ends background work (a compaction is cancelled), commits, checkpoints (not
 * while the index is unverified, but where the log is due for it) and
 * frees `eng`. The store is released also when an error is returned.
 * No other call may be under way, except those on a struct eng_feed. */
ENG_API int eng_close(struct eng *eng);

/* Makes all that was acknowledged durable. Concurrent callers share one device flush. */
ENG_API int eng_sync(struct eng *eng);
/* The same, for what concerns inode `ino` at least. -EIO once a flush has failed (I11). */
ENG_API int eng_fsync(struct eng *eng, uint64_t ino);

/*
 * On a full disk: waits until a compaction has made room for a change of `size`
 * bytes, as changes themselves do, unless the store was opened with `room_later`.
 * 0: there is room now, which others may take. -ENOSPC: there is none to be had,
 * or the compaction was paused, cancelled, or failed. */
ENG_API int eng_make_room(struct eng *eng, uint64_t size);

/* With no_background: runs whatever background work is due, once, in this thread. */
ENG_API int eng_tick(struct eng *eng);

/* ---- inodes and names --------------------------------------------------- */

/* Fixed: it is copied for each entry of a listing. */
struct eng_attr {
    uint64_t ino;   /* never reused within a store */
    uint64_t size;  /* bytes; symlink: target length; directory: number of entries */
    uint64_t bytes; /* content bytes held in the arena (holes not counted) */
    uint64_t rdev;
    int64_t atime, mtime, ctime, btime; /* ns */
    uint32_t mode;                      /* type and permission bits */
    uint32_t nlink;
    uint32_t uid, gid;
    uint64_t version;    /* counts content changes */
    uint64_t generation; /* counts placements: content changes and relocations (I2) */
};

/*
 * On whose behalf a call acts. `ref`: the entry that the call returns is
 * referenced once more (as a FUSE kernel does); an inode without names lives
 * until eng_forget() has taken all of its references back. */
struct eng_caller {
    uint32_t uid, gid;
    bool ref;
};

/*
 * Looks `name` up in directory `parent`; "." and ".." work, "." of an inode of
 * any type: so a caller that knows a number only (a file handle of NFS)
 * references it. -ENOENT, -ENOTDIR, -ENAMETOOLONG. */
ENG_API int eng_lookup(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       struct eng_attr *ret_attr);
ENG_API int eng_forget(struct eng *eng, uint64_t ino, uint64_t n);
/* Has somebody references of it that eng_forget() has not taken back? */
ENG_API bool eng_is_referenced(struct eng *eng, uint64_t ino);
ENG_API int eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr);
/*
 * A name for the inode's content and xattrs as they are: no other state of any inode of the store has it or
 * had it, and it stays until one of them is changed. Compaction does not change it, nor does gathering.
 * -ESTALE. */
ENG_API int eng_state(struct eng *eng, uint64_t ino, uint64_t *ret_state);
/*
 * Somebody has read the inode: its atime becomes now if it was not later than
 * mtime and ctime, or is a day old (relatime). The new time is seen at once, but
 * kept in memory, and written with others later: a crash may lose it. Nothing
 * happens unless the store was opened with `relatime`. */
ENG_API void eng_accessed(struct eng *eng, uint64_t ino);

enum eng_set {
    ENG_SET_MODE = 1 << 0,
    ENG_SET_UID = 1 << 1,
    ENG_SET_GID = 1 << 2,
    ENG_SET_SIZE = 1 << 3, /* truncation both ways; -EISDIR, -EINVAL on non-files, -EFBIG */
    ENG_SET_ATIME = 1 << 4,
    ENG_SET_MTIME = 1 << 5,
    ENG_SET_CTIME = 1 << 6, /* else ctime becomes now */
    ENG_SET_ATIME_NOW = 1 << 7,
    ENG_SET_MTIME_NOW = 1 << 8,
};
/* Sets the fields of `attr` that `mask` (enum eng_set) names; ret_attr may be NULL. -EINVAL: unknown bits. */
ENG_API int eng_setattr(struct eng *eng, uint64_t ino, const struct eng_attr *attr, unsigned mask,
                        struct eng_attr *ret_attr);

/*
 * Creates an inode of the type in `mode` (S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO,
 * S_IFSOCK, S_IFBLK, S_IFCHR) under `name`; of the other bits it takes 07777. `target` is for symlinks only,
 * `rdev` for devices only. Owner is who->uid, who->gid; in a set-group-ID
 * directory the group, and for directories the bit, are inherited. With a
 * NULL name a regular file without one (O_TMPFILE): only for a caller that
 * references it, and gone with the last reference unless eng_link() names it.
 * ret_attr may be NULL, and `target` but for symlinks (there -ENOENT, as "" is).
 * -EEXIST, -ENOENT (parent removed), -ENAMETOOLONG, -EMLINK, -EINVAL (no such type). */
ENG_API int eng_create(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint32_t mode, uint64_t rdev, const char *target, struct eng_attr *ret_attr);
/*
 * One name more. An inode that has none any more, or not yet, gets one as long
 * as it is referenced: whether that is wanted the caller knows (the kernel: only after O_TMPFILE).
 * ret_attr may be NULL. -EPERM a directory, -EMLINK, -ENOENT nameless and not referenced, -EEXIST. */
ENG_API int eng_link(struct eng *eng, const struct eng_caller *who, uint64_t ino, uint64_t parent,
                     const char *name, struct eng_attr *ret_attr);
/* -EISDIR for directories (eng_unlink), -ENOTDIR / -ENOTEMPTY (eng_rmdir). */
ENG_API int eng_unlink(struct eng *eng, uint64_t parent, const char *name);
ENG_API int eng_rmdir(struct eng *eng, uint64_t parent, const char *name);

enum eng_rename { ENG_RENAME_NOREPLACE = 1, ENG_RENAME_EXCHANGE = 2, ENG_RENAME_WHITEOUT = 4 };
/*
 * As renameat2(2), same flag values and errors. `who` owns a whiteout. -ENAMETOOLONG also: a directory that
 * has subdirectories would come to a place more than ENG_MOVE_DEPTH_MAX directories deep. That it does not
 * end below itself is found out by going up from there, while all other changes wait. */
ENG_API int eng_rename(struct eng *eng, const struct eng_caller *who, uint64_t parent, const char *name,
                       uint64_t new_parent, const char *new_name, unsigned flags);
/* Copies the target and a NUL into buf; returns its length. -EINVAL not a symlink, -ERANGE too small. */
ENG_API ssize_t eng_readlink(struct eng *eng, uint64_t ino, char *buf, size_t size);
/*
 * Writes a path of the inode from the root, with a NUL; "" is the root's own. Of a file with several names
 * that through one of them. Returns its length.
 * -ENOENT: it has no name any more; -ENAMETOOLONG: the path is longer than size allows; -ESTALE, -EINVAL. */
ENG_API ssize_t eng_path(struct eng *eng, uint64_t ino, char *buf, size_t size);

struct eng_dirent {
    const char *name; /* valid during the callback */
    size_t name_len;
    uint64_t cookie; /* stable position after this entry; give it to the next eng_readdir() */
    struct eng_attr attr;
};
/*
 * Calls `emit` for entries of `dir` in order of creation, those after
 * `cookie` (0: from the start), until `emit` returns non-zero (that entry
 * counts as not delivered) or the end. "." and ".." come first, with cookies
 * 1 and 2. Entries present during the whole listing are delivered exactly
 * once, whatever is added or removed meanwhile. With who->ref each delivered
 * entry except "." and ".." is referenced. `emit` runs under index_lock, shared:
 * it must not call the engine, nor wait for a thread that does. */
ENG_API int eng_readdir(struct eng *eng, const struct eng_caller *who, uint64_t dir, uint64_t cookie,
                        int (*emit)(void *arg, const struct eng_dirent *entry), void *arg);

/*
 * Names made from now on have greater cookies, in whatever directory; a name
 * changed within its directory keeps its cookie. A listing that stops there is
 * finite, even if each entry it tells leads to a new one. */
ENG_API uint64_t eng_dir_mark(struct eng *eng);

/* ---- content ------------------------------------------------------------ */

/*
 * Reads up to `size` bytes at `offset` into `buf`; returns the number read, 0
 * at or after the end; holes are zeros. Every byte was verified against its
 * checksum (I6); -EIO for damaged content, which is then listed by
 * eng_damaged(). Never short before the end of the file. All of it is of one version; only what lies in more
 * than 1024 extents may be of several, if the file is written all the time. */
ENG_API ssize_t eng_read(struct eng *eng, uint64_t ino, void *buf, size_t size, uint64_t offset);

/* Writes all or nothing, atomically; size at most 16 MiB (else -EINVAL). -EFBIG. Updates mtime and ctime. A
 * hole within a block that it writes a part of may become zeros. */
ENG_API ssize_t eng_write(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t offset);
/* The same at the end of the file, wherever that is by then. ret_offset (may be NULL): where it went. */
ENG_API ssize_t eng_append(struct eng *eng, uint64_t ino, const void *buf, size_t size, uint64_t *ret_offset);

enum eng_falloc { ENG_FALLOC_KEEP_SIZE = 1, ENG_FALLOC_PUNCH_HOLE = 2, ENG_FALLOC_ZERO_RANGE = 16 };
/* As fallocate(2), same flag values. Space cannot be promised on a log: plain allocation only sets the
 * size. A hole over more than some thousand extents, or that ends within a block that is in many, comes in
 * steps, which others may see, and an error or a crash leave it in part; there a part of the block may be
 * zeros instead. */
ENG_API int eng_fallocate(struct eng *eng, uint64_t ino, unsigned flags, uint64_t offset, uint64_t len);
/* SEEK_DATA (whence 3) and SEEK_HOLE (4). -ENXIO beyond the end. */
ENG_API int eng_seek(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *ret_offset);
/* The same, but looks at no more than *looks extents, and takes from that how many it looked at, at least
 * one. -EAGAIN: they did not do. */
ENG_API int eng_seek_some(struct eng *eng, uint64_t ino, uint64_t offset, int whence, uint64_t *looks,
                          uint64_t *ret_offset);

/* ---- extended attributes ------------------------------------------------ */

enum eng_xattr { ENG_XATTR_CREATE = 1, ENG_XATTR_REPLACE = 2 };
/* The engine stores any name and value; who may set what is the caller's business. -EEXIST, -ENODATA, -E2BIG,
 * -ERANGE. */
ENG_API int eng_setxattr(struct eng *eng, uint64_t ino, const char *name, const void *value, size_t size,
                         unsigned flags);
/* size 0 asks for the length only. -ENODATA, -ERANGE. */
ENG_API ssize_t eng_getxattr(struct eng *eng, uint64_t ino, const char *name, void *value, size_t size);
ENG_API ssize_t eng_listxattr(struct eng *eng, uint64_t ino, char *list, size_t size);
ENG_API int eng_removexattr(struct eng *eng, uint64_t ino, const char *name);
/* ---- digests --------------------------------------------------------------- */

/* XXH3-64 of the whole content, computed when asked: eng_digest_begin() to eng_digest_end() in one call. */
ENG_API int eng_content_hash(struct eng *eng, uint64_t ino, uint64_t *ret_hash);

/* What it is computed by. Holes count as zeros: no such function gets over them faster than they can be
 * hashed, so that a file with more of them than ENG_DIGEST_HOLES_MAX is refused. */
enum eng_digest_kind { ENG_DIGEST_XXH3_64, ENG_DIGEST_SHA256 };
#define ENG_DIGEST_MAX 32
#define ENG_DIGEST_HOLES_MAX (UINT64_C(16) << 30)
struct eng_digest_value {
    uint64_t version;              /* eng_attr.version of the content that it is of */
    uint32_t size;                 /* bytes of it: 8 of XXH3-64, 32 of SHA-256 */
    uint8_t bytes[ENG_DIGEST_MAX]; /* the most significant first; zeros behind */
};
struct eng_digest;

/*
 * A digest of a whole content that the caller computes step by step, so that it can do other things in
 * between, or stop: it ends a digest at any time. One thread at a time uses a digest, which must be ended
 * before the store is closed, and holds nothing of the store from one step to the next. */
ENG_API int eng_digest_begin(struct eng *eng, uint64_t ino, enum eng_digest_kind kind,
                             struct eng_digest **ret_digest);
/*
 * The next step: reads at most `size` bytes, by way of `buf`, or adds some more zeros of a hole. Returns 1 if
 * there is more to do, 0 with the value. When the content was changed meanwhile it begins again with the new
 * one. -EBUSY: it is changed all the time, and several times its size was hashed in vain. -EFBIG: too many
 * holes. -ENODATA: no regular file. -EIO: damaged. */
ENG_API int eng_digest_step(struct eng_digest *digest, void *buf, size_t size,
                            struct eng_digest_value *ret_value);
ENG_API void eng_digest_end(struct eng_digest *take_digest);

/* ---- bulk loading ------------------------------------------------------- */

struct eng_xattr_pair {
    const char *name;
    const void *value;
    size_t size;
};
struct eng_record {
    uint64_t parent; /* directory */
    const char *name;
    const void *content;
    size_t size; /* at most 16 MiB */
    uint32_t mode, uid, gid;
    int64_t mtime; /* also atime; ctime, and of a new file btime, are now */
    const struct eng_xattr_pair *xattrs;
    size_t n_xattrs;
    int result; /* out: 0 or the negative errno of this record */
};
/*
 * Creates `n` regular files, or replaces the content, times and xattrs of
 * existing ones, with few and large log batches: an order of magnitude faster than
 * one by one. Each record is atomic; records[i].result tells its fate.
 * Returns the number stored, or a negative errno when the store itself failed. After
 * -EAGAIN (room_later) those that have it as their result, all to the last, are to be put again.
 * -EINVAL: a pointer of a record is NULL that must not be, and none was stored. */
ENG_API ssize_t eng_put_many(struct eng *eng, struct eng_record *records, size_t n);

/* ---- the past ------------------------------------------------------------ */

/*
 * The store as it was after a batch (eng_position()): names, attributes, content and xattrs. Nothing that
 * happens to the store changes what a view shows, and what it shows stays as long as it is open. Numbers of
 * inodes are those of the store, and show in a view what the inode was then; a number of an inode that was
 * not there then is -ESTALE.
 *
 * Attributes: `atime` is the mtime, `generation` 0, and `bytes` the size where the file was changed since
 * (see eng_view_bytes()). In a view of a snapshot all others are exact. In one that is none a folder's times,
 * number of links and size are made out of its names, where it was changed since, unless they are very many
 * (nlink 1: not known), and no ctime is later than the batch. */
struct eng_view;

/*
 * Opens the view of batch `batch`: of a snapshot, or one since which the past is whole. It belongs to the
 * caller until eng_view_close(), before eng_close(). Any number of threads may read it. Waits for changes
 * that are under way.
 * -ENOENT: the store has not kept all of that batch, or it lies in the future. -ENFILE: 4096 are open. */
ENG_API int eng_view_open(struct eng *eng, uint64_t batch, struct eng_view **ret_view);
/* No other call on it may be under way. NULL is fine. A snapshot may be dropped while views of it are open:
 * what it alone shows is freed when the last one is closed. */
ENG_API void eng_view_close(struct eng_view *take_view);
/* When the batch was, ns since the epoch, INT64_MAX: not known; and whether the view has each state that
 * there was, as that of a snapshot: else some were too short, or one of too many, and what was before stands
 * for them; or a salvage has lost some. */
ENG_API int eng_view_when(struct eng_view *view, int64_t *ret_time, bool *ret_is_exact);
/* The batch behind which the store was as it was at that time, for eng_view_open(): where the clock was set
 * back, the last of several. Another call may give another batch that shows the same; or another time, once
 * the clock was set back. -ENOENT: the time lies in the future, or before what is kept whole. */
ENG_API int eng_past_at(struct eng *eng, int64_t time, uint64_t *ret_batch);
/* Since when what has ended is kept whole, but for what stood shorter than history_settle, or was too many.
 * *ret_time as in eng_view_when(). -ENOENT: it is not. */
ENG_API int eng_past_since(struct eng *eng, uint64_t *ret_batch, int64_t *ret_time);

/* As the calls of that name on the store, with their errors. -ESTALE also: it is no view of a snapshot, and a
 * full disk has taken the past away. */
ENG_API int eng_view_getattr(struct eng_view *view, uint64_t ino, struct eng_attr *ret_attr);
ENG_API int eng_view_state(struct eng_view *view, uint64_t ino, uint64_t *ret_state);
ENG_API int eng_view_lookup(struct eng_view *view, uint64_t parent, const char *name,
                            struct eng_attr *ret_attr);
/* A cookie is a place in the folder in each view of it. `emit` runs under index_lock, shared, as that of
 * eng_readdir(). */
ENG_API int eng_view_readdir(struct eng_view *view, uint64_t dir, uint64_t cookie,
                             int (*emit)(void *arg, const struct eng_dirent *entry), void *arg);
ENG_API ssize_t eng_view_readlink(struct eng_view *view, uint64_t ino, char *buf, size_t size);
/* Never short before the end; all of it is of the state that the view shows, or it is an error: -EIO for
 * damaged content, which eng_damaged() tells of then, -ESTALE for a state that was dropped. */
ENG_API ssize_t eng_view_read(struct eng_view *view, uint64_t ino, void *buf, size_t size, uint64_t offset);
/* Of a state that has ended more may be content than was then: zeros. */
ENG_API int eng_view_seek(struct eng_view *view, uint64_t ino, uint64_t offset, int whence,
                          uint64_t *ret_offset);
ENG_API ssize_t eng_view_getxattr(struct eng_view *view, uint64_t ino, const char *name, void *value,
                                  size_t size);
ENG_API ssize_t eng_view_listxattr(struct eng_view *view, uint64_t ino, char *list, size_t size);
/* What of a file is content: of one that was changed since exact where few pieces have it, else less than its
 * size, so that whoever copies it looks for holes. */
ENG_API int eng_view_bytes(struct eng_view *view, uint64_t ino, uint64_t *ret_bytes);
/* eng_digest_begin() of what the view shows; the digest is to be ended before the view is closed. */
ENG_API int eng_view_digest_begin(struct eng_view *view, uint64_t ino, enum eng_digest_kind kind,
                                  struct eng_digest **ret_digest);
/* The number of an inode from its low half, which no other that the view shows has. -ESTALE: it shows none
 * with that. */
ENG_API int eng_view_find(struct eng_view *view, uint32_t low_half, uint64_t *ret_ino);
/* 64 bits for inode `ino` in the views of a batch: always the same, and only by chance those of any other
 * inode or batch, of which nobody can know who does not know the store. No lock. */
ENG_API uint64_t eng_view_mark(const struct eng *eng, uint64_t batch, uint64_t ino);
/* 64 bits of any bytes; without the seed, as of eng_view_mark(), nobody finds others with the same. */
ENG_API uint64_t eng_keyed_hash(uint64_t seed, const void *data, size_t size);

/* ---- restoring ------------------------------------------------------------- */

/* Bytes of content and fields that an eng_restore() copies, at most; what is the same is not copied. */
#define ENG_RESTORE_MAX (UINT64_C(16) << 20)
struct eng_restore {
    uint64_t ino; /* the memory: a regular file that has a name */
    uint64_t
        from; /* the same, or another regular file, for one that had its path then: the memory gets what */
    uint64_t batch; /* this one was after that batch, of which eng_view_open() has a view */
};
/*
 * Gives `n` memories (each once, 4096 at most) content, size, mode, owner and xattrs of a past state, all in
 * one batch: each reader sees all of it or nothing, and so does what a crash leaves. Numbers, names and links
 * stay, and fields that `history_ignore` names, where there are such; mtime becomes now where content or size
 * differ, ctime where anything does. A state that ends so is kept as a version, however short it stood: until
 * it expires, and where the store keeps no history until the next look at what nothing sees, which a snapshot
 * alone forestalls.
 *
 * Content is copied, but only the blocks (4 KiB) in which the two states do not share what they have. Takes
 * memory for that. Made before other changes are locked out, unless these change the memories all the time.
 * Meanwhile what the memories are to become is kept as if by a snapshot, on a full disk as well.
 * -ESTALE: that state is not kept, or there is no such memory now; -EISDIR, -EINVAL: it is or was no regular
 * file; -EFBIG: more than ENG_RESTORE_MAX differs, or in more pieces than a batch takes (some thousand);
 * -EBUSY: they are changed all the time, and more must be read for them than others may wait for;
 * -E2BIG: too many memories; -ENFILE as of eng_view_open(). On an error nothing has changed. */
ENG_API int eng_restore(struct eng *eng, const struct eng_restore *restores, size_t n);

/* ---- what a path showed, and what was removed ---------------------------- */

/* Who made a change. */
struct eng_actor {
    bool known;
    uint32_t uid;
    char process[17]; /* its name, up to 16 bytes; with a NUL */
};
/*
 * For whom this thread makes changes from now on, in any store; NULL: for nobody, as at first. A store that
 * keeps a history notes it with each change, by a number; it knows 65,535 pairs of a uid and a name, for
 * good: those that come later are not known. */
ENG_API void eng_act_as(const struct eng_actor *actor);
/* Whether the store may note it: else nobody needs to find out who it is. No lock. */
ENG_API bool eng_notes_actors(const struct eng *eng);

/* How a state began to be what a path shows, and how it ended. */
enum eng_version_event {
    ENG_VERSION_UNKNOWN = 0, /* of a beginning: what was before was not kept */
    ENG_VERSION_PRESENT,     /* of an end: it has not ended */
    ENG_VERSION_CREATED,     /* made anew */
    ENG_VERSION_CHANGED,     /* by another state of the same inode */
    ENG_VERSION_RENAMED,     /* it came from another path; it went to another path */
    ENG_VERSION_REPLACED,    /* in place of another inode: renamed over it, or exchanged */
    ENG_VERSION_LINKED,      /* as one more name of an inode that had one */
    ENG_VERSION_RESTORED,    /* it had been removed */
    ENG_VERSION_REMOVED,
    ENG_VERSION_FOLDER /* with a folder above it, which came or went */
};

/* A state that a path showed. */
struct eng_version {
    uint64_t number; /* batch from which on it did; rises, and no other of the path has it */
    int64_t time;    /* when that was; INT64_MAX not known */
    /* Of which batch a view (eng_view_open()) shows inode `ino` in that state; 0: it is the present one,
     * which the store shows as it is. */
    uint64_t seen_at;
    uint64_t ino;
    struct eng_attr attr; /* as such a view shows them */
    enum eng_version_event began, ended;
    struct eng_actor actor; /* by whom it began */
};

/*
 * Calls emit for each state of content, owner, mode and fields that `path` showed and that is kept, oldest
 * first, whichever inode had it; if the path shows something now its state is the last one. `path` is
 * relative to the root, with '/' between names; "" is the root. A name that came from another path, or out of
 * what was removed, to where nothing was, has its line come along: what was seen by the former name since the
 * path last showed something is listed, too, although the path did not show it then; where the inode had
 * taken another's place there, what the former name led to before, as well.
 *
 * Emit runs under no lock, until it returns non-zero, which is then returned. -ENOENT: the path shows
 * nothing, and nothing is kept that it showed. -ENOSPC: a component had more than ENG_LIVES_MAX lives, or all
 * of them more than 16 times as many. */
#define ENG_LIVES_MAX 4096
ENG_API int eng_history(struct eng *eng, const char *path,
                        int (*emit)(void *arg, const struct eng_version *version), void *arg);
/*
 * Calls emit for each name that the folders have, or had, which `path` has led to, once, in an order of no
 * meaning; `place` is where an earlier call ended, 0 the beginning: what emit was told with the last name
 * that it took, which says nothing of other names that come and go. Places lie from 2^62 to 2^63. Each call
 * goes through all names of the folders, once for each 4096 names told. Emit as above. -ENOENT as above;
 * -ENOTDIR: the path never led to a folder. */
ENG_API int eng_history_names(struct eng *eng, const char *path, uint64_t place,
                              int (*emit)(void *arg, const char *name, size_t len, uint64_t place_behind),
                              void *arg);

/* What happened to a memory by one of its names. */
struct eng_event {
    enum eng_version_event what; /* neither PRESENT nor FOLDER: what a folder takes along is not told of */
    uint64_t number;             /* the batch */
    int64_t time;                /* INT64_MAX not known */
    uint64_t ino, size;          /* of a folder 0 */
    uint32_t mode, uid, gid;     /* afterwards; of what was removed, before */
    const char *path;            /* relative to the root, as it was then; with a NUL. Any length */
    const char *from; /* of what was renamed or restored: the path before. NULL: not known, or none */
    struct eng_actor actor;
};
/*
 * Calls emit for what happened in the folder, and to it, from time `since` on (ns since the epoch, INT64_MIN:
 * all), as far as that is kept: names that came and went, and states that memories changed to, by each name
 * that they had then. What left the folder is told as renamed, by its new path; of the root, what happened in
 * the whole store. In no order; twice what changes while this runs. Not told is what was there before
 * anything was kept.
 *
 * Looks at all of the index (4,000,000 records: about a second), or at what was written since: parts of it
 * (64 KiB) that were not are passed by. Emit as above. -ESTALE: there is no such folder; -ENOTDIR. */
ENG_API int eng_events(struct eng *eng, uint64_t folder, int64_t since,
                       int (*emit)(void *arg, const struct eng_event *event), void *arg);

/* A name that was removed, of an inode that has no name now, and is kept. Of an inode that came back
 * (eng_undelete()) and was removed again, the last names alone. */
struct eng_removed {
    const char *name; /* with a NUL */
    size_t name_len;
    uint64_t number; /* the batch that removed it */
    int64_t time;    /* when that was; INT64_MAX not known */
    uint64_t
        seen_at; /* of which batch a view shows it: the one before `number`, or the last one that is kept */
    uint64_t ino;
    struct eng_attr attr;   /* as such a view shows them */
    struct eng_actor actor; /* who removed it */
    bool newest;            /* of this name in the folder, in which no other folder has that name now */
    /* Of eng_removed_list(): none of this name but that was removed later in the same millisecond. */
    bool last_then;
};
/* Calls emit for what was removed from the folder, which may itself have been removed, in an order that
 * stays; `place` as in eng_history_names(), of which those below 3 are not used. Emit runs under no lock,
 * until it returns non-zero, which is then returned. -ESTALE: there is no such folder; -ENOTDIR. */
ENG_API int eng_removed_list(struct eng *eng, uint64_t folder, uint64_t place,
                             int (*emit)(void *arg, const struct eng_removed *removed, uint64_t place_behind),
                             void *arg);
/* The one of that name that was removed by batch `number`; 0: the newest, if it says that it is. Its name is
 * the caller's. -ENOENT, -ESTALE, -ENOTDIR. */
ENG_API int eng_removed_find(struct eng *eng, uint64_t folder, const char *name, uint64_t number,
                             struct eng_removed *ret_removed);
/* The newest of those of that name that were removed from time `first` to `last`, but for that which says
 * that it is the newest of all. -ENOENT, -ESTALE, -ENOTDIR. */
ENG_API int eng_removed_find_at(struct eng *eng, uint64_t folder, const char *name, int64_t first,
                                int64_t last, struct eng_removed *ret_removed);

/*
 * The inode of a removed name, as eng_removed_find() finds it, gets the name `new_name` in `new_parent`,
 * which may be the old ones: as it was when it was removed, with its number, and eng_history() of the new
 * name lists what the old one showed. A folder comes with what was removed from it and from what was in it,
 * of each name the newest, and what has another name since then is linked there again, as it is now; of all
 * that, what belongs to `*owner` alone, if that is not NULL: what is below a folder of others stays with it.
 * All is one batch. ret_attr may be NULL, of the inode. -ENOENT: there is no such removed name, or
 * `new_parent` was removed; -EPERM: it is not `*owner`'s; -EEXIST; -ENAMETOOLONG; -E2BIG: more than
 * ENG_UNDELETE_MAX names; -EBUSY: somebody who has it open, or something below it, has changed that since, or
 * it had another name, by which it was changed: what was removed can be read in a view. */
#define ENG_UNDELETE_MAX 4096
ENG_API int eng_undelete(struct eng *eng, const struct eng_caller *who, const uint32_t *owner,
                         uint64_t folder, const char *name, uint64_t number, uint64_t new_parent,
                         const char *new_name, struct eng_attr *ret_attr);

/* ---- two views compared ---------------------------------------------------- */

enum eng_difference_kind {
    ENG_DIFF_ADDED = 1, /* the newer view alone has that path */
    ENG_DIFF_REMOVED,   /* the older one alone */
    ENG_DIFF_CHANGED    /* both have it, and `what` is not the same */
};
enum eng_difference_what {
    ENG_DIFF_TYPE = 1,    /* file, folder, link, ... */
    ENG_DIFF_CONTENT = 2, /* of a file: it was written, or is another file, if only with the same bytes. Else
                           * the target of a link, the number of a device */
    ENG_DIFF_MODE = 4,    /* permissions */
    ENG_DIFF_OWNER = 8,   /* user or group */
    ENG_DIFF_MTIME = 16,  /* which a folder gets by what comes and goes in it */
    ENG_DIFF_FIELDS = 32, /* xattrs */
};
struct eng_difference {
    enum eng_difference_kind kind;
    unsigned what;    /* of CHANGED: enum eng_difference_what */
    const char *path; /* relative to the root, which is ""; with a NUL. Any length */
    size_t path_len;
    const struct eng_attr *before, *after; /* what the views show there; NULL: nothing */
};

/*
 * Tells each path at which two views of a store differ, once: a folder before what is in it. Both are to stay
 * open until this returns. `after` NULL: the store as it is now; what is changed until this returns is kept
 * as if that were a snapshot.
 *
 * Of a changed file each name is told; of a folder that was renamed all that is below it is removed and
 * added, with the same numbers of inodes, by which renames can be known. Link counts and times other than
 * mtime are not compared. Two files at one path count as different content without being read. Of views that
 * are none of snapshots a difference in the mtime of a folder alone may not be told.
 *
 * Costs what was written between the two: parts of the index (64 KiB) that were not written since `before`
 * are not looked at, nor are folders without a change. A change to a file with several names costs a look at
 * all names of the store once. Memory in proportion to the changes.
 *
 * Calls emit under no lock, until it returns non-zero, which is then returned. -EINVAL: of two stores, or
 * `after` is older than `before`. -ENFILE as of eng_view_open(). */
ENG_API int eng_diff(struct eng_view *before, struct eng_view *after,
                     int (*emit)(void *arg, const struct eng_difference *difference), void *arg);

/* ---- what changed ------------------------------------------------------- */

/*
 * The feed tells what changed, for whatever is derived from the store: indexes, watchers, caches. Mutations
 * go to the log in batches, which are numbered; a position is the number of a batch. A reader gets the
 * changes of each batch after its position once and in order, or is told that it cannot.
 *
 * Position and crash: batches up to eng_stats.durable_seq survive one. Others may be lost, and their numbers
 * given to other batches. So what outlives the process must not carry a position that was not durable.
 *
 * Each opening of the store begins with an empty feed, however the last one ended: changes are not read back
 * from the log. Of positions of an earlier opening only that of the last batch there is can be gone on from;
 * eng_feed_open() says -ESTALE for older ones, and for newer ones, of batches that were lost (a crash, an
 * older copy of the store in its place), until their numbers are used again: from then on it takes them for
 * the new batches, and cannot tell. What is derived is made anew then. What was unlinked and not freed when
 * the process died is told as REMOVED by the next opening, to readers that it has by then. */

/* The last batch that every call sees from now on. */
ENG_API uint64_t eng_position(struct eng *eng);

/* Who waits until a position is shown. The memory is the caller's, and lent to the engine from
 * eng_position_wait() until `done` is called. */
struct eng_position_wait {
    uint64_t position;
    /* Called once, from any thread, under no lock of the engine; it may free this struct, and must not call
     * the engine or wait. `result` is 0; -ECANCELED: the wait was given up; -ESHUTDOWN: the store closes. */
    void (*done)(void *arg, int result);
    /* Whether nobody waits any more; takes no lock. Asked when others come to wait. NULL: somebody does. */
    bool (*is_given_up)(void *arg);
    void *arg;
    struct eng_position_wait *next; /* the engine's */
};
/*
 * Has `done` called once the position is shown: before this call returns where it is shown already. It may
 * lie in the future, for ever. Any number may wait; a batch that nobody waits for costs one load, one that
 * somebody waits for a look at all of them.
 * -EINVAL, -ESHUTDOWN: `done` is not called. */
ENG_API int eng_position_wait(struct eng *eng, struct eng_position_wait *wait);

enum eng_change_kind {
    ENG_CHANGE_CREATED = 1, /* an inode; its names follow */
    ENG_CHANGE_LINKED,      /* the inode got the name `name` in `parent` */
    ENG_CHANGE_UNLINKED,    /* and lost it */
    ENG_CHANGE_CONTENT,     /* content or size */
    ENG_CHANGE_ATTRIBUTES,  /* those of `mask` */
    ENG_CHANGE_FIELDS,      /* the xattr `name` was set or removed */
    ENG_CHANGE_REMOVED,     /* the inode is gone: it had no name any more, and nobody had it open */
};
struct eng_change {
    uint64_t position; /* its batch */
    int64_t time;      /* of the batch, ns */
    enum eng_change_kind kind;
    /* Of a name: the same batch gives the inode another (UNLINKED), or takes another from it (LINKED). So a
     * rename shows; both inodes of an exchange have it, and one that is replaced has not. */
    bool moved;
    unsigned mask; /* enum eng_set. Only ENG_SET_ATIME: it was read. */
    uint64_t ino, parent;
    size_t name_len;
    char name[ENG_NAME_MAX + 1]; /* with a NUL; "" where there is none */
};

/*
 * Opens a reader that gets the changes after position `since`; ENG_FEED_NOW: those that are to come;
 * ENG_FEED_OLDEST: all that are still known, which eng_feed_position() then tells the beginning of. It
 * belongs to the caller until eng_feed_close(), and is used by one thread at a time. There may be any number.
 *
 * While there are readers the newest changes are kept in eng_options.feed_bytes of memory (at least 4 KiB;
 * some 60 bytes a change, and the name), and 16 KiB for each reader; without readers none are kept, and none
 * cost anything. Mutations do not wait for readers.
 * -ESTALE: not all changes since then are known, or it lies in the future. -ESHUTDOWN. */
#define ENG_FEED_NOW UINT64_MAX
#define ENG_FEED_OLDEST (UINT64_MAX - 1)
struct eng_feed;
ENG_API int eng_feed_open(struct eng *eng, uint64_t since, struct eng_feed **ret_feed);
/* May be called after eng_close(). NULL is fine. */
ENG_API void eng_feed_close(struct eng_feed *feed);

/*
 * Reads the next changes, n at most; returns how many, 0 if there are none yet. What compaction moves is no
 * change.
 * -ESTALE: changes were overwritten that the reader had not read yet. It stands at the newest position then:
 * whatever is made anew from what the store shows from now on misses nothing that the next call does not
 * tell. -ESHUTDOWN: the feed was shut, and all is read. -EINVAL: n is 0. */
ENG_API ssize_t eng_feed_read(struct eng_feed *feed, struct eng_change *ret_changes, size_t n);
/* All batches up to this one have been read. */
ENG_API uint64_t eng_feed_position(const struct eng_feed *feed);
/*
 * Waits until eng_feed_read() has something to say: changes, -ESTALE, or a new position; for timeout_ms at
 * most, < 0: for as long as it takes. Costs nothing while it waits. -ETIMEDOUT, -ESHUTDOWN. */
ENG_API int eng_feed_wait(struct eng_feed *feed, int64_t timeout_ms);
/*
 * Ends all waiting, now and later, with -ESHUTDOWN once all is read, as eng_close() does at its beginning: so
 * that threads that read the feed, and look into the store, can be joined before eng_close(). Changes are
 * still fed: what eng_close() itself changes (access times, removals) can be read when it has returned. */
ENG_API void eng_feed_shutdown(struct eng *eng);

/* ---- snapshots ------------------------------------------------------------- */

/* The whole tree as it was after a batch. Names: 1 to 255 bytes, not "." or "..", without '/'; else -EINVAL,
 * or -ENAMETOOLONG. */
struct eng_snapshot {
    const char *name; /* with a NUL */
    uint64_t batch;   /* eng_position() when it was made; no other snapshot has it */
    int64_t time;     /* when it was made, ns since the epoch */
};
/*
 * Makes a snapshot of all that calls have changed that returned before. When this returns 0 it is durable,
 * and so is all that it shows. It costs one batch; what is changed afterwards keeps its state of then once:
 * room for a record, and for the content that is replaced, which neither removing nor compacting gives back
 * before the snapshot is dropped: on a full disk removing it is -ENOSPC. With the first one the store becomes
 * one that programs which know nothing of snapshots refuse, for good. ret_batch may be NULL. -EEXIST: there
 * is one of that name; -EBUSY: the first one, while the store is held (eng_hold()). After an error of the
 * medium it may be there, not durable. */
ENG_API int eng_snapshot_create(struct eng *eng, const char *name, uint64_t *ret_batch);
/* The same, durable once an eng_sync() or eng_fsync() that begins afterwards has returned 0. */
ENG_API int eng_snapshot_create_unsynced(struct eng *eng, const char *name, uint64_t *ret_batch);
/* -ENOENT: there is none called `name`; -EEXIST: there is one called `new_name`. Durable as any change. */
ENG_API int eng_snapshot_rename(struct eng *eng, const char *name, const char *new_name);
/* The snapshot goes. What it alone shows is freed in the background (ENG_JOB_HISTORY), with no_background
 * before this returns; what a full disk does not let go, later, and the log says so. -ENOENT. Durable as any
 * change. */
ENG_API int eng_snapshot_drop(struct eng *eng, const char *name);
/* The batch of the snapshot of that name. -ENOENT. Goes through all names. */
ENG_API int eng_snapshot_find(struct eng *eng, const char *name, uint64_t *ret_batch);
/* When the snapshot of that batch was made. -ENOENT. */
ENG_API int eng_snapshot_time(struct eng *eng, uint64_t batch, int64_t *ret_time);
/* Calls emit, under no lock, for each snapshot that there was at one moment, oldest first, until it returns
 * non-zero, which is then returned. */
ENG_API int eng_snapshot_list(struct eng *eng, int (*emit)(void *arg, const struct eng_snapshot *snapshot),
                              void *arg);

#ifdef __cplusplus
}
#endif
#endif
