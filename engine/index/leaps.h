/*
 * leaps.h - what a past state has where its own content is the present one's again (OP_REVERT).
 *
 * A revert moves extents of a past state to the head, so that nothing is copied and each extent has one
 * owner. In their place the past state gets a *leap*: an entry of its extent tree without a segment, whose
 * `off8` is the number of a past state in the line. There it is as the first state behind that number has it:
 * whoever reads on from it passes over all states up to that one.
 *
 * What a leap leads to stays: where an extent leaves the state to which a leap leads, and the next older one,
 * over which the leap goes, does not take it, it goes back to the state with the leap. So there is content
 * behind each leap, whatever is written, amended or dropped. A head with a leap that leads to itself gets no
 * tail: a truncation that leaves one keeps the state before it (commit/keep.c), and of a state that nothing
 * shows none is left (commit/orphans.c).
 *
 * Locking: as index.h. */
#ifndef ENGRAMFS_LEAPS_H
#define ENGRAMFS_LEAPS_H

#include "index/past_state.h"

/* Whether the line with that head may have leaps. */
bool leaps_are_in(const struct index *idx, uint32_t head);

/* `from` is the head or a past state of a line, `to` the next older state. */
struct leaps {
    struct index *idx;
    uint32_t from, to;
};
/* The newest state with a leap at `off` that leads to `from`; 0: none. *end falls to where the next thing is
 * to be said. -EBADMSG. */
int leaps_find(const struct leaps *l, uint64_t off, uint64_t *end, uint32_t *ret_slot);
/* All these leaps in [off, end), of which leaps_find() says one thing, lead to the state `aim` instead, which
 * is no newer than `to`. Reserved as a punch each. */
int leaps_turn(const struct leaps *l, uint64_t off, uint64_t end, uint32_t aim);
/* The entry `piece` is the past state's at `off`, in place of its leap there, or of part of it. */
int leaps_fill(struct index *idx, uint32_t slot, uint64_t off, const struct locator *piece);
/* Puts a leap behind that number where the past state has nothing in [off, end). */
int leaps_put(struct index *idx, uint32_t slot, uint64_t off, uint64_t end, uint32_t number);

/* Entries that an OP_REVERT may add to the extent tree, at most. */
uint64_t leaps_revert_adds(const struct index *idx, uint32_t head, uint64_t off, uint64_t end);

#endif
