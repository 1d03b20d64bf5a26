/*
 * printable.h - what of a text may go to a terminal, or to a log that is looked at on one: names and values
 * are anybody's, and must neither steer it nor look like another line. Pure functions. */
#ifndef ENGRAMFS_RULES_PRINTABLE_H
#define ENGRAMFS_RULES_PRINTABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Length of the valid UTF-8 sequence at `s`, 0 if there is none (RFC 3629: no overlong forms, no surrogates).
 * The NUL at the end is one of length 1. */
size_t utf8_length(const char *s);
/* Length of the character at `s` if it may be shown: no control character, neither of C0 nor of C1
 * (U+0080 to U+009F). Else, as for what is no UTF-8, 0: the byte is to be replaced. */
size_t printable_length(const char *s);
/* The first piece of a name at `s`, which is not empty: a character that may be shown, or, of a backslash and
 * of what may not, one byte as \xHH. Returns how many bytes of `s` that is. */
size_t printable_piece(const char *s, char ret_piece[5]);
/* Replaces what may not be shown by question marks. */
void printable_line(char *s);

#endif
