/*
 * arena.h - the set of segment files: opening, pinning, unlinking. A pin keeps
 * a segment's file from being unlinked or closed, so that bytes named by a locator
 * stay as they are while somebody reads them (I1).
 *
 * Locking: arena->lock, innermost of all; never held across I/O except the
 * opening of a file.
 */
#ifndef ENGRAMFS_ARENA_H
#define ENGRAMFS_ARENA_H

#include "codec.h"
#include "fault.h"
#include "idmap.h"
#include "io.h"

#include <pthread.h>

struct segment {
    uint32_t id;
    uint32_t kind;
    struct io_file *file; /* protected by arena lock; stays while pinned; NULL: closed */
    uint64_t size;        /* atomic: bytes of the file that are in use */
    int pins;             /* atomic: raised only under the arena lock */
};

struct arena {
    struct eng_io *io;
    const struct fault_hook *hook;
    uint8_t uuid[16];
    pthread_mutex_t lock;
    struct idmap segs; /* id -> struct segment. protected by lock */
    uint32_t next_id;  /* protected by lock: an id that got a name in the store is never given again (I1) */
    unsigned n_open;   /* protected by lock */
    unsigned open_max; /* idle files are closed so that no more are open. immutable after arena_init() */
    bool read_only;
};

void arena_init(struct arena *arena, struct eng_io *io, const struct fault_hook *hook);
void arena_done(struct arena *arena);

#define SEGMENT_NAME_SIZE 16
void segment_name(uint32_t id, char out[SEGMENT_NAME_SIZE]);
/* 0 and the id if `name` is a segment's, else -EINVAL. */
int segment_parse_name(const char *name, uint32_t *ret_id);

/* Makes a segment file known that is there (recovery). */
int arena_add(struct arena *arena, uint32_t id, uint32_t kind, uint64_t size);
/* Creates a segment file with its header; pinned once for the caller. */
int arena_create(struct arena *arena, uint32_t kind, uint64_t first_seq, uint64_t chain, uint64_t durable_seq,
                 struct segment **ret_seg);
/* Pins a segment, opening its file if need be. -ENOENT: gone. */
int arena_pin(struct arena *arena, uint32_t id, struct segment **ret_seg);
void arena_unpin(struct segment *seg); /* NULL is fine */
/* Takes a segment without pins out of the set; nobody can pin it any more. -EBUSY pinned, -ENOENT. */
int arena_remove(struct arena *arena, uint32_t id, struct segment **ret_seg);
/* Closes and unlinks it, which takes a file system a while. */
int arena_unlink(struct arena *arena, struct segment *take_seg);
/* Both. */
int arena_retire(struct arena *arena, uint32_t id);
bool arena_has(struct arena *arena, uint32_t id);
unsigned arena_pinned(struct arena *arena); /* segments with pins */
uint64_t arena_bytes(struct arena *arena);  /* sizes of all segments */
uint64_t arena_size_of(struct arena *arena, uint32_t id);
unsigned arena_pins_of(struct arena *arena, uint32_t id);

/*
 * Reads the bytes [off, off + len) of the extent range that loc names, for inode `ino`, where
 * loc lies at file offset loc_off (EXTENT_XATTR_OFF for an xattr value), into buf, verified (I6).
 * -EBADMSG damaged; other errors from reading.
 */
int segment_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                 const struct locator *loc, uint32_t off, uint32_t len, void *buf);

#endif
