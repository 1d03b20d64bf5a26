/*
 * past_read.h - what a past state shows (past.h).
 *
 * Locking: as index.h. All that one call gives is of one moment of the index; the places of a past state are
 * right for ever, as long as their segments are there. */
#ifndef ENGRAMFS_PAST_READ_H
#define ENGRAMFS_PAST_READ_H

#include "index/past_state.h"

/* The state that the inode in slot `head` was in after batch `at`: that slot, or the one of a past state; 0:
 * none is kept, or it was not there yet. */
uint32_t past_at(const struct index *idx, uint32_t head, uint64_t at);

struct past_piece {
    uint64_t off; /* file offset of the locator's first byte */
    struct locator loc;
    uint32_t slot; /* of the state that has it, perhaps the head */
};
/*
 * The content of a past state in [off, *ret_end), in order of offsets; between the pieces there are zeros.
 * *ret_end: `end`, or the size, or less if there are more than `max` pieces. -ESTALE: it is no past state any
 * more; -ENOMEM, -EBADMSG. */
int past_read(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end, struct past_piece *pieces,
              size_t max, size_t *ret_n, uint64_t *ret_end);
/* The same without memory of its own for the states of the line: -ENOMEM if there is no room for all. */
struct past_room {
    uint32_t *slots;
    size_t n;
};
int past_read_in(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end,
                 struct past_piece *pieces, size_t max, size_t *ret_n, uint64_t *ret_end,
                 const struct past_room *room);

/*
 * Payload bytes of what a past state shows as content: exact where few pieces have it. Else they are not
 * counted: at most what all newer states and the head have with it, and less than the size, so that whoever
 * copies looks for holes. */
uint64_t past_payload(const struct index *idx, uint32_t slot);

/* Whether what is newer than the past state has content in [off, end), as that would read it had it no entry
 * there: 1, 0; -ESTALE, -ENOMEM, -EBADMSG. */
int past_hides(const struct index *idx, uint32_t slot, uint64_t off, uint64_t end);

/* Looks from *at on for the first content of a past state before `end`, or with `hole` for the first byte of
 * none; true in *ret_found: that is *at. Else *at has moved on, perhaps to `end`. */
int past_seek(const struct index *idx, uint32_t slot, uint64_t end, bool hole, uint64_t *at, bool *ret_found);

/*
 * Which inode of the line with that head names what the piece is of, a part perhaps: its number, and the
 * piece becomes what that one has, whole. With piece->off EXTENT_XATTR_OFF it is the value of an xattr.
 * 0: none does any more. */
uint64_t past_holder(const struct index *idx, uint32_t head, struct past_piece *piece);

/* The xattr of a past state: 0; 1: it has none of that name; -ESTALE, -ENOMEM, -EBADMSG. */
int past_xattr(const struct index *idx, uint32_t slot, const char *name, size_t len,
               struct xattr_view *ret_view);
/* Calls emit for all xattrs of a past state, in no order, until it returns non-zero (returned). */
int past_xattrs(const struct index *idx, uint32_t slot, int (*emit)(void *arg, const struct xattr_view *view),
                void *arg);

#endif
