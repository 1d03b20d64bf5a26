/*
 * ages.c - see ages.h. */
#include "control/ages.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "rules/rfc3339.h"

#define SECOND_NS INT64_C(1000000000)

enum { DIGITS_MAX = 10 }; /* no time is so long ago */

static uint64_t seconds_in(char unit)
{
    switch (unit) {
    case 's':
        return 1;
    case 'm':
        return 60;
    case 'h':
        return 3600;
    default:
        return 86400;
    }
}

uint64_t ages_parse(const char *name, int64_t now)
{
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || digits > DIGITS_MAX || *name == '0') /* each age has one name */
        return 0;
    const char *unit = name + digits;
    if (!*unit || !strchr("smhd", *unit) || unit[1])
        return 0;
    int64_t when = now - (int64_t)(strtoull(name, NULL, 10) * seconds_in(*unit));
    return when > 0 ? AGES_BITS | (uint64_t)when : 0;
}

void ages_target(uint64_t nodeid, char ret_target[AGES_TARGET_MAX])
{
    (void)rfc3339_format((int64_t)(nodeid & ~AGES_BITS) * SECOND_NS, ret_target);
}
