/*
 * printable.c - see printable.h. */
#include "rules/printable.h"

#include <stdio.h>

size_t utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xe0 ? 3 : 2;
    if (s[0] >= 0xf0)
        n = 4;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) /* stops at the final NUL too */
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f))
        return 0;
    if ((s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

size_t printable_length(const char *s)
{
    const unsigned char first = (unsigned char)s[0], second = first ? (unsigned char)s[1] : 0;
    bool is_control = first < 0x20 || first == 0x7f || (first == 0xc2 && second < 0xa0);
    return is_control ? 0 : utf8_length(s);
}

size_t printable_piece(const char *s, char ret_piece[5])
{
    size_t n = *s == '\\' ? 0 : printable_length(s);
    if (n)
        (void)snprintf(ret_piece, 5, "%.*s", (int)n, s);
    else
        (void)snprintf(ret_piece, 5, "\\x%02x", (unsigned char)*s);
    return n ? n : 1;
}

void printable_line(char *s)
{
    while (*s) {
        size_t n = printable_length(s);
        if (!n)
            *s = '?';
        s += n ? n : 1;
    }
}
