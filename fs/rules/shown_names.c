/*
 * shown_names.c - see shown_names.h. */
#include "rules/shown_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "rules/rfc3339.h"

#define UNKNOWN "unknown"

enum { ESCAPE = 3, HASH_DIGITS = 16, CUT_END = 2 + HASH_DIGITS, UNIT_MAX = 4 };
enum { NUMBER_DIGITS = 12, NUMBER_MAX = 20 };

/* ---- stamps --------------------------------------------------------------- */

static size_t format_time(int64_t time, char ret_text[40])
{
    if (time == INT64_MAX)
        (void)snprintf(ret_text, 40, "%s", UNKNOWN);
    else
        (void)rfc3339_format_ms(time, ret_text);
    return strlen(ret_text);
}

size_t shown_stamp_format(const struct shown_stamp *stamp, char ret_text[SHOWN_STAMP_SIZE])
{
    char time[40];
    (void)format_time(stamp->time, time);
    int n = stamp->number
                ? snprintf(ret_text, SHOWN_STAMP_SIZE, "%0*" PRIu64 "@%s", NUMBER_DIGITS, stamp->number, time)
                : snprintf(ret_text, SHOWN_STAMP_SIZE, "%s", time);
    return (size_t)n;
}

bool shown_stamp_is_of(const struct shown_stamp *stamp, int64_t time)
{
    char a[40], b[40];
    (void)format_time(stamp->time, a);
    (void)format_time(time, b);
    return strcmp(a, b) == 0;
}

/* As shown_stamp_format() writes it. */
static bool parse_number(const char *text, size_t len, uint64_t *ret_number)
{
    uint64_t number = 0;
    if (len < NUMBER_DIGITS || len > NUMBER_MAX || (len > NUMBER_DIGITS && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(number, UINT64_C(10), &number) ||
            __builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number))
            return false;
    *ret_number = number;
    return number > 0;
}

static bool parse_time(const char *text, size_t len, int64_t *ret_time)
{
    char again[40];
    *ret_time = INT64_MAX;
    if (len == strlen(UNKNOWN) && memcmp(text, UNKNOWN, len) == 0)
        return true;
    return rfc3339_parse(text, len, ret_time) && format_time(*ret_time, again) == len &&
           memcmp(again, text, len) == 0;
}

bool shown_stamp_parse(const char *text, size_t len, struct shown_stamp *ret_stamp)
{
    const char *at = memchr(text, '@', len);
    ret_stamp->number = 0;
    if (at && !parse_number(text, (size_t)(at - text), &ret_stamp->number))
        return false;
    const size_t skip = at ? (size_t)(at - text) + 1 : 0;
    return parse_time(text + skip, len - skip, &ret_stamp->time);
}

size_t shown_name_split(const char *text, size_t len, struct shown_stamp *ret_stamp)
{
    for (size_t i = 1; i < len; i++)
        if (text[i] == '@' && shown_stamp_parse(text + i + 1, len - i - 1, ret_stamp))
            return i;
    return len;
}

/* ---- names ---------------------------------------------------------------- */

/* Is what stands behind a `%` such that both would be taken for an escape, or for the end of a cut name? */
static bool is_code(const char *text, size_t len)
{
    static const char codes[][2] = {{'2', '5'}, {'2', 'F'}, {'4', '0'}, {'0', 'A'}};
    if (len >= 1 && text[0] == '~')
        return true;
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (len >= 2 && memcmp(text, codes[i], 2) == 0)
            return true;
    return false;
}

/* Would an `@`, with `text` behind it up to the end of the name, be taken for that of a stamp? A number, too,
 * where the stamp has none. */
static bool is_stamp(const char *text, size_t len)
{
    struct shown_stamp stamp;
    uint64_t number;
    return shown_stamp_parse(text, len, &stamp) || parse_number(text, len, &number);
}

/* What stands for byte `i` of a name, or NULL: itself. */
static const char *escape_of(const char *name, size_t len, size_t i)
{
    const char *behind = name + i + 1;
    const size_t left = len - i - 1;
    switch (name[i]) {
    case '/':
        return "%2F";
    case '\n':
        return "%0A";
    case '%':
        return is_code(behind, left) ? "%25" : NULL;
    case '@':
        return len == 1 || is_stamp(behind, left) ? "%40" : NULL;
    default:
        return NULL;
    }
}

/* Does no character go on there? One has four bytes at most, and begins with one that is not of ASCII. */
static bool begins_character(const char *name, size_t i)
{
    size_t back = 0;
    while (back < i && back < UNIT_MAX && ((unsigned char)name[i - back] & 0xC0) == 0x80)
        back++;
    return back == 0 || back == UNIT_MAX || (unsigned char)name[i - back] < 0xC0;
}

size_t shown_name_encode(const char *name, size_t len, size_t room, char ret_text[SHOWN_NAME_SIZE])
{
    char all[ESCAPE * SHOWN_NAME_MAX + 1];
    size_t n = 0, cut = 0;
    for (size_t i = 0; i < len && i < SHOWN_NAME_MAX; i++) {
        const char *escape = escape_of(name, len, i);
        if (n <= room - CUT_END && begins_character(name, i))
            cut = n;
        if (escape)
            memcpy(all + n, escape, ESCAPE);
        else
            all[n] = name[i];
        n += escape ? ESCAPE : 1;
    }
    if (n <= room) {
        memcpy(ret_text, all, n);
        ret_text[n] = '\0';
        return n;
    }
    memcpy(ret_text, all, cut);
    (void)snprintf(ret_text + cut, CUT_END + 1, "%%~%016" PRIx64, (uint64_t)XXH3_64bits(name, len));
    return cut + CUT_END;
}

static bool is_cut(const char *text, size_t len, size_t room)
{
    if (len > room || len <= room - UNIT_MAX || memcmp(text + len - CUT_END, "%~", 2) != 0)
        return false;
    for (size_t i = len - HASH_DIGITS; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= 'f'))
            return false;
    return true;
}

static char decoded(const char *escape)
{
    static const char of[] = {'%', '/', '@', '\n'};
    static const char *const escapes[] = {"%25", "%2F", "%40", "%0A"};
    size_t i = 0;
    while (i < sizeof of - 1 && memcmp(escape, escapes[i], ESCAPE) != 0)
        i++;
    return of[i];
}

enum shown_name_kind shown_name_decode(const char *text, size_t len, size_t room,
                                       char ret_name[SHOWN_NAME_SIZE], size_t *ret_len)
{
    char again[SHOWN_NAME_SIZE];
    size_t n = 0;
    *ret_len = 0;
    if (len == 0 || len > room || memchr(text, '\0', len))
        return SHOWN_NAME_NONE;
    if (is_cut(text, len, room))
        return SHOWN_NAME_CUT;
    for (size_t i = 0; i < len; n++) {
        const bool escaped =
            text[i] == '%' && len - i >= ESCAPE && is_code(text + i + 1, len - i - 1) && text[i + 1] != '~';
        ret_name[n] = escaped ? decoded(text + i) : text[i];
        i += escaped ? ESCAPE : 1;
    }
    ret_name[n] = '\0';
    *ret_len = n;
    if (shown_name_encode(ret_name, n, room, again) != len || memcmp(again, text, len) != 0)
        return SHOWN_NAME_NONE; /* there is another one for it */
    return SHOWN_NAME_WHOLE;
}
