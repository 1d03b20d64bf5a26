/*
 * bytes.c - see bytes.h. No state. */
#include "bytes.h"

#include <errno.h>
#include <string.h>

int bytes_parse(const char *s, uint64_t *ret_bytes)
{
    uint64_t value = 0;
    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++)
        if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
            return -ERANGE;
    if (*s) {
        static const char suffix[] = "kmgt";
        const char *at = strchr(suffix, *s | 0x20);
        if (!at || s[1] != '\0')
            return -EINVAL;
        if (__builtin_mul_overflow(value, UINT64_C(1) << (10 * (at - suffix + 1)), &value))
            return -ERANGE;
    }
    if (value > INT64_MAX)
        return -ERANGE;
    *ret_bytes = value;
    return 0;
}
