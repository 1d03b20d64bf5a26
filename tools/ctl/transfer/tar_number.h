/*
 * tar_number.h - the numbers and times that a tar archive says: in its headers, and as text in pax headers.
 * libarchive makes 0, root and 1970, of what is none, and has no sign for a time like -0.25. Pure. */
#ifndef ENGRAMCTL_TAR_NUMBER_H
#define ENGRAMCTL_TAR_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A field of a header: octal digits, or a binary number after a byte with its highest bit set; an empty one
 * is 0. Beyond 64 bits the nearest. False: no number. */
bool tar_field(const unsigned char *field, size_t size, int64_t *ret);
/* Decimal digits, with a sign if it is negative; likewise. */
bool tar_decimal(const char *text, size_t len, int64_t *ret);

/* Seconds with a fraction, as nanoseconds: the nearest below, and the nearest that is kept (1677, 2262; never
 * TARGET_NOW). False: no time. */
bool tar_time_parse(const char *text, size_t len, int64_t *ret_ns);
/* Whole seconds, likewise. */
int64_t tar_time_of(int64_t seconds);
#define TAR_TIME_BUF 32
/* The inverse; returns buf. */
char *tar_time_format(int64_t ns, char buf[TAR_TIME_BUF]);

#endif
