/*
 * moved_values.h - values of attributes among survivors (moved.h). A value says of which memory it is, and
 * not of which attribute. One case is left in which it gets a wrong name: the segment of a value goes missing
 * by hand, another value of the same memory, of exactly that length, was removed, and of the two only a copy
 * of that one is left. The name could stand in the extent, where content has its path; but eng_lost() hands
 * that out as a path, and older values would not have it: the rule below would be needed anyway. */
#ifndef ENGRAMFS_MOVED_VALUES_H
#define ENGRAMFS_MOVED_VALUES_H

#include "image/recovery.h"

/* Those that a look at the survivors has found. */
struct moved_values {
    struct moved_value {
        uint64_t ino, at, seq, hsum;
        uint64_t print; /* of its block checksums */
        uint32_t len, seg;
    } * all;
    size_t n, cap;
};

/* Whether what is missing may be younger than a copy dated `seq` in segment `seg`: a segment is sealed before
 * it is copied, to one of a higher number. */
bool moved_is_older(struct eng *eng, uint32_t seg, uint64_t seq, const struct locator *missing);
/* Whether a value of that length of that memory lies, by the index, in a segment that is gone, and is not
 * younger than this copy in segment `seg`. */
bool moved_value_is_wanted(struct eng *eng, const struct extent_header *h, uint32_t seg);
bool moved_value_is_named(struct eng *eng, const struct extent_header *h, uint32_t seg, uint64_t at);
/* Notes a value by its head. -ENOMEM. */
int moved_values_note(struct moved_values *values, uint32_t seg, uint64_t at, const uint8_t *head);
/*
 * Of those that were noted the index names each from now on of which it is certain of what attribute it is:
 * the memory lacks as many of that length as were found, and either it is one, or all come from one segment
 * to one other, in whose order they lie. None of a memory that has past states. Forgets them all. */
int moved_values_settle(struct recovery *rec, struct moved_values *values, uint64_t *ret_taken);
/* Applies OP_RELOCATE, to a segment of survivors, to the index; the log was longer than it is. */
int moved_take_over(struct recovery *rec, const struct op *op);

#endif
