/*
 * shown_names.h - names in .engram/history and .engram/deleted: docs/NAMES.md. Pure functions, total: any
 * bytes may be given. */
#ifndef ENGRAMFS_RULES_SHOWN_NAMES_H
#define ENGRAMFS_RULES_SHOWN_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SHOWN_NAME_MAX = 255, SHOWN_NAME_SIZE = SHOWN_NAME_MAX + 1 };
/* The folder of the versions of what it is in. */
#define SHOWN_NAME_VERSIONS "@"

enum shown_name_kind {
    SHOWN_NAME_NONE,  /* nothing has such a name */
    SHOWN_NAME_WHOLE, /* it tells all of the name */
    SHOWN_NAME_CUT    /* of a name that is too long: whichever shown_name_encode() makes this of */
};

/*
 * Writes the name for people of `name`, 1 to 255 bytes, with a NUL, and returns how long it is: at most
 * `room`, which is 64 to 255. No other name gives the same text, but by chance one that is cut. */
size_t shown_name_encode(const char *name, size_t len, size_t room, char ret_text[SHOWN_NAME_SIZE]);
/* The inverse. The name may have a `/`. Of SHOWN_NAME_CUT nothing is returned but that. */
enum shown_name_kind shown_name_decode(const char *text, size_t len, size_t room,
                                       char ret_name[SHOWN_NAME_SIZE], size_t *ret_len);

/* NUMBER@TIME, or TIME alone where number is 0. */
struct shown_stamp {
    uint64_t number;
    int64_t time; /* ns since the epoch, shown to milliseconds; INT64_MAX: not known */
};
enum { SHOWN_STAMP_SIZE = 64 };

/* Returns how long it is. */
size_t shown_stamp_format(const struct shown_stamp *stamp, char ret_text[SHOWN_STAMP_SIZE]);
/* False: shown_stamp_format() makes no such text. */
bool shown_stamp_parse(const char *text, size_t len, struct shown_stamp *ret_stamp);
/* Has the time that shows as the same text? */
bool shown_stamp_is_of(const struct shown_stamp *stamp, int64_t time);
/* How much of a name in deleted/ is in front of the `@` of its stamp: all, if it has none. */
size_t shown_name_split(const char *text, size_t len, struct shown_stamp *ret_stamp);

#endif
