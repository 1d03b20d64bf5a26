/*
 * times.h - times as other systems write them, as RFC 3339. */
#ifndef ENGRAMCTL_TIMES_H
#define ENGRAMCTL_TIMES_H

#include <stdbool.h>
#include <stddef.h>

/* The zone of times that tell none. */
struct times_zone {
    bool known;
    bool named;  /* by the C library's TZ, which times_zone() has set */
    int seconds; /* east of Greenwich, unless named */
};

#define TIMES_BUF 64

/* UTC, Z, +02:00, +0200, or a name of the zone database like Europe/Berlin; false: there is no such zone. */
bool times_zone(const char *text, struct times_zone *ret_zone);
/*
 * A date with or without a time of day and an offset (+0530 as well), or the seconds, milliseconds,
 * microseconds or nanoseconds since 1970, told apart by how many they are, also with an exponent. False: none
 * of these, or the zone is needed and not known, or a number that looks like a year, a month or a day. */
bool times_rfc3339(const struct times_zone *zone, const char *text, size_t len, char ret_text[TIMES_BUF]);

#endif
