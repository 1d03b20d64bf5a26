/*
 * segments.h - the set of segment files: opening, pinning, unlinking. A pin keeps
 * a segment's file from being unlinked or closed, so that bytes named by a locator
 * stay as they are while somebody reads them (I1).
 *
 * Files stay open between pins, up to open_max of them: of more, those go that were not pinned for longest.
 *
 * Locking: segments->lock, innermost of all; never held across I/O. A file is opened by whoever pins its
 * segment while it is closed, with that pin and without the lock. */
#ifndef ENGRAMFS_SEGMENTS_H
#define ENGRAMFS_SEGMENTS_H

#include "base/fault.h"
#include "base/idmap.h"
#include "disk/codec.h"
#include "disk/io.h"

#include <pthread.h>

struct segment {
    uint32_t id;
    uint32_t kind;
    struct io_file *file;  /* protected by segments lock; stays while pinned; NULL: closed */
    _Atomic uint64_t size; /* bytes of the file that are in use; changed by segments_resize() */
    _Atomic int pins;      /* raised only under the segments lock */
    /* Of those whose file is open, a ring. Protected by segments lock. */
    struct segment *prev, *next;
    bool again; /* pinned more than once since it was opened, or since the hand went by */
    bool kept;  /* set aside by an earlier opening: the file has its other name. immutable */
};

struct segments {
    struct eng_io *io;
    const struct fault_hook *hook;
    uint8_t uuid[16];
    pthread_mutex_t lock;
    struct idmap by_id; /* id -> struct segment. protected by lock */
    struct idmap kept;  /* numbers of segments that were set aside: not given again. protected by lock */
    uint32_t next_id;   /* protected by lock: an id that got a name in the store is never given again (I1) */
    /* The segments whose files are open, and the one that is looked at next when one is to be closed (a
     * clock). Protected by lock. */
    struct segment *hand;
    unsigned n_open;
    _Atomic uint64_t bytes; /* the sizes of all together */
    unsigned open_max; /* idle files are closed so that no more are open. immutable after segments_init() */
    bool read_only;
};

void segments_init(struct segments *segments, struct eng_io *io, const struct fault_hook *hook);
void segments_free(struct segments *segments);

#define SEGMENT_NAME_SIZE 16
void segment_name(uint32_t id, char out[SEGMENT_NAME_SIZE]);
/* 0 and the id if `name` is a segment's, else -EINVAL. */
int segment_parse_name(const char *name, uint32_t *ret_id);

/* Of one that recovery has set aside, see segments_set_aside(). */
void segment_kept_name(uint32_t id, char out[SEGMENT_NAME_SIZE]);
int segment_parse_kept_name(const char *name, uint32_t *ret_id);

/* Makes a segment file known that is there (recovery). kind 0: without a header that proves it to be one; its
 * number is not used up by that. */
int segments_add(struct segments *segments, uint32_t id, uint32_t kind, uint64_t size);
/* The same of one that was set aside, for salvage. */
int segments_add_kept(struct segments *segments, uint32_t id, uint64_t size);
/* Creates a segment file with its header; pinned once for the caller. */
int segments_create(struct segments *segments, uint32_t kind, uint64_t first_seq, uint64_t chain,
                    uint64_t durable_seq, struct segment **ret_seg);
/* Pins a segment, opening its file if need be, which takes a file system a while. -ENOENT: gone. */
int segments_pin(struct segments *segments, uint32_t id, struct segment **ret_seg);
/* The same without I/O, to be called under index_lock. -EAGAIN: its file is closed. */
int segments_pin_open(struct segments *segments, uint32_t id, struct segment **ret_seg);
void segments_unpin(struct segment *seg); /* NULL is fine */
/* Takes a segment without pins out of the set; nobody can pin it any more. -EBUSY pinned, -ENOENT. */
int segments_remove(struct segments *segments, uint32_t id, struct segment **ret_seg);
/* Closes and unlinks it, which takes a file system a while. */
int segments_unlink(struct segments *segments, struct segment *take_seg);
/* Both. */
int segments_retire(struct segments *segments, uint32_t id);
/* A file has the name of a segment that was set aside. -EEXIST: that is known. -ENOMEM. */
int segments_note_kept(struct segments *segments, uint32_t id);
/* Takes a segment without pins out of the set; its file stays, under its other name. -EBUSY, -ENOENT, -EEXIST
 * (something has that name), or what renaming gave: it has its old name then. */
int segments_set_aside(struct segments *segments, uint32_t id);
/* The lowest number above `id` of those that are known; 0: none. */
uint32_t segments_after(struct segments *segments, uint32_t id);
bool segments_has(struct segments *segments, uint32_t id);
unsigned segments_pinned(struct segments *segments); /* segments with pins */
/* Sizes of all segments. */
uint64_t segments_bytes(struct segments *segments);
/* By the one that writes to the pinned segment: its file has so many bytes in use now. */
void segments_resize(struct segments *segments, struct segment *seg, uint64_t size);
uint64_t segments_size_of(struct segments *segments, uint32_t id);
unsigned segments_pins_of(struct segments *segments, uint32_t id);

/*
 * Reads the bytes [off, off + len) of the extent range that loc names, for inode `ino`, where
 * loc lies at file offset loc_off (EXTENT_XATTR_OFF for an xattr value), into buf, verified (I6).
 * -EBADMSG damaged; other errors from reading. */
int segment_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                 const struct locator *loc, uint32_t off, uint32_t len, void *buf);

/* What was read ahead of a segment, for who reads ranges in order of place. Zeroed is empty. */
struct segment_window {
    uint8_t *bytes; /* SEGMENT_WINDOW of them; free() ends it */
    uint32_t segment;
    uint64_t from; /* in the segment */
    size_t len;
    uint64_t alone; /* in the segment: up to there each range is read alone, after an error */
    uint64_t read;  /* bytes that were asked for, in all, read or not */
};
#define SEGMENT_WINDOW (256u << 10)
/* Verifies the whole range as segment_read() does. What is read ahead was so within this call or the one
 * before of the same window; without memory for it, or where it cannot be read, each range is read alone. */
int segment_verify(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                   const struct locator *loc, struct segment_window *window, void *buf);

#endif
