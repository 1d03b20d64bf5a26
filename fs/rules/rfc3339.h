/*
 * rfc3339.h - timestamps of Internet protocols (RFC 3339, section 5.6). Of the
 * rules in fs/ the tools use this one, and nothing of fs/ uses the tools: so that
 * a time which an import takes is one that a mount takes, and the other way round. */
#ifndef ENGRAMFS_RULES_RFC3339_H
#define ENGRAMFS_RULES_RFC3339_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Parses e.g. 2023-05-08T13:56:00.25+02:00 into nanoseconds since the epoch.
 * A moment outside the signed 64-bit range (1677..2262) gives its nearest
 * end: an old date is a good date, only a file time cannot hold it. Digits
 * beyond nanoseconds are dropped. Returns false if it is not RFC 3339. */
bool rfc3339_parse(const char *s, size_t len, int64_t *ret_ns);
/* Writes UTC with as many fraction digits as are needed; returns buf. */
char *rfc3339_format(int64_t ns, char buf[40]);
/* The same with three fraction digits always; finer ones are dropped. */
char *rfc3339_format_ms(int64_t ns, char buf[40]);

#endif
