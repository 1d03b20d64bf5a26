/*
 * times.c - see times.h. No state but the TZ of the C library. */
#include "ctl/transfer/times.h"

#include "rules/rfc3339.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ZONES "/usr/share/zoneinfo/"

/* Exactly `n` digits. */
static bool digits(const char **p, int n, int *ret)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = (*p)[i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    *p += n;
    *ret = v;
    return true;
}

/* Z, +HH, +HHMM, +HH:MM at the end of the text. */
static bool offset(const char *p, int *ret_seconds)
{
    int h, m = 0, sign = *p == '-' ? -1 : 1;
    if ((*p == 'Z' || *p == 'z') && !p[1]) {
        *ret_seconds = 0;
        return true;
    }
    if (*p != '+' && *p != '-')
        return false;
    p++;
    if (!digits(&p, 2, &h))
        return false;
    p += *p == ':';
    if (*p && !digits(&p, 2, &m))
        return false;
    *ret_seconds = sign * (h * 3600 + m * 60);
    return !*p && h < 24 && m < 60;
}

/* The C library takes for UTC what it cannot read. */
static bool is_zone(const char *path)
{
    struct stat st;
    char magic[4];
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool is = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
              read(fd, magic, sizeof magic) == sizeof magic && !memcmp(magic, "TZif", sizeof magic);
    if (fd >= 0)
        close(fd);
    return is;
}

bool times_zone(const char *text, struct times_zone *ret_zone)
{
    char path[PATH_MAX];
    struct times_zone zone = {.known = true};
    if (!strcmp(text, "UTC") || offset(text, &zone.seconds)) {
        *ret_zone = zone;
        return true;
    }
    int n = snprintf(path, sizeof path, ":" ZONES "%s", text); /* the file that was looked at, and no other */
    if (!*text || *text == '/' || strstr(text, "..") || n < 0 || n >= (int)sizeof path || !is_zone(path + 1))
        return false;
    if (setenv("TZ", path, 1) < 0)
        return false;
    tzset();
    zone.named = true;
    *ret_zone = zone;
    return true;
}

/* What the zone's clocks were ahead of Greenwich at a time of the day there. */
static int offset_then(const struct times_zone *zone, struct tm tm)
{
    if (!zone->named)
        return zone->seconds;
    struct tm utc = tm;
    tm.tm_isdst = -1;
    time_t there = mktime(&tm);
    return (int)(timegm(&utc) - there);
}

/* A time that nanoseconds since 1970 may not hold: a year of four digits is a good date all the same. */
static bool format_any(int64_t seconds, int64_t ns, char ret_text[TIMES_BUF])
{
    int64_t all;
    struct tm tm;
    if (!__builtin_mul_overflow(seconds, INT64_C(1000000000), &all) &&
        !__builtin_add_overflow(all, ns, &all)) {
        rfc3339_format(all, ret_text);
        return true;
    }
    time_t t = (time_t)seconds;
    if (!gmtime_r(&t, &tm) || tm.tm_year < -1900 || tm.tm_year > 9999 - 1900)
        return false;
    char part[16] = "";
    if (ns)
        snprintf(part, sizeof part, ".%09d", (int)(ns % 1000000000));
    snprintf(ret_text, TIMES_BUF, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (tm.tm_year + 1900) % 10000,
             (tm.tm_mon + 1) % 100, tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100,
             part);
    return true;
}

/* A decimal number, exactly: the digits without zeros around them, and where the point is. */
struct decimal {
    bool minus;
    char digits[TIMES_BUF];
    int n, whole; /* how many; and how many of them, or of zeros after them, are before the point */
};

/* [+-]1.5, or with an exponent: 1.5e9. */
static bool read_decimal(const char *p, struct decimal *ret)
{
    long exponent = 0;
    bool any = false, point = false;
    *ret = (struct decimal){0};
    p += strspn(p, " \t");
    ret->minus = *p == '-';
    p += *p == '-' || *p == '+';
    for (; (*p >= '0' && *p <= '9') || (*p == '.' && any && !point); p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        any = true;
        if (ret->n || *p != '0')
            ret->digits[ret->n++] = (char)(*p - '0');
        ret->whole += !point ? ret->n > 0 : -!ret->n;
    }
    if (any && (*p == 'e' || *p == 'E')) {
        const char *first = p + 1 + (p[1] == '-' || p[1] == '+');
        char *end;
        exponent = strtol(first, &end, 10);
        any = *first >= '0' && *first <= '9';
        exponent = p[1] == '-' ? -exponent : exponent;
        p = end;
    }
    if (exponent < -1000 || exponent > 1000)
        exponent = exponent < 0 ? -1000 : 1000;
    ret->whole = ret->n ? ret->whole + (int)exponent : 0;
    while (ret->n && !ret->digits[ret->n - 1])
        ret->n--;
    return any && !*p;
}

/* The first `n` digits; those that are not there are zeros. */
static int64_t first_digits(const struct decimal *d, int from, int n)
{
    int64_t v = 0;
    for (int i = from; i < n; i++)
        v = v * 10 + (i >= 0 && i < d->n ? d->digits[i] : 0);
    return v;
}

/* 2024, 202401 and 20240115 are days before 1971 as seconds, and rather a year, a month and a day. */
static bool looks_like_date(const struct decimal *d)
{
    if (d->minus || d->n > d->whole || (d->whole != 4 && d->whole != 6 && d->whole != 8))
        return false;
    int year = (int)first_digits(d, 0, 4), month = (int)first_digits(d, 4, 6),
        day = (int)first_digits(d, 6, 8);
    return year >= 1900 && year < 2200 && (d->whole < 6 || (month >= 1 && month <= 12)) &&
           (d->whole < 8 || (day >= 1 && day <= 31));
}

static bool from_number(const char *text, char ret_text[TIMES_BUF])
{
    /* How many digits say what unit, and how many more make nanoseconds of it. */
    static const struct {
        int whole, more;
    } units[] = {{11, 9}, {14, 6}, {17, 3}, {19, 0}};
    struct decimal d;
    if (!read_decimal(text, &d) || looks_like_date(&d))
        return false;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (d.whole > units[i].whole)
            continue;
        int end = d.whole + units[i].more;
        int64_t seconds = first_digits(&d, 0, end - 9), ns = first_digits(&d, end - 9, end);
        if (d.minus) { /* of what is less than a nanosecond it is no later */
            ns = -ns - (d.n > end);
            seconds = ns < 0 ? -seconds - 1 : -seconds;
            ns += ns < 0 ? 1000000000 : 0;
        }
        return format_any(seconds, ns, ret_text);
    }
    return false;
}

bool times_rfc3339(const struct times_zone *zone, const char *text, size_t len, char ret_text[TIMES_BUF])
{
    char copy[TIMES_BUF], day[9] = "00:00:00", fraction[32] = "";
    const char *p = copy;
    struct tm tm = {0};
    int64_t ns;
    int seconds = 0;
    if (!len || len >= sizeof copy || memchr(text, 0, len))
        return false;
    memcpy(copy, text, len);
    copy[len] = 0;
    if (!digits(&p, 4, &tm.tm_year) || *p++ != '-' || !digits(&p, 2, &tm.tm_mon) || *p++ != '-' ||
        !digits(&p, 2, &tm.tm_mday))
        return from_number(copy, ret_text);
    if (*p == 'T' || *p == 't' || *p == ' ') {
        p++;
        if (!digits(&p, 2, &tm.tm_hour) || *p++ != ':' || !digits(&p, 2, &tm.tm_min))
            return false;
        if (*p == ':' && (p++, !digits(&p, 2, &tm.tm_sec)))
            return false;
        snprintf(day, sizeof day, "%02d:%02d:%02d", tm.tm_hour % 100, tm.tm_min % 100, tm.tm_sec % 100);
        if (*p == '.' || *p == ',') {
            size_t n = strspn(++p, "0123456789");
            snprintf(fraction, sizeof fraction, ".%.*s", n < 18 ? (int)n : 18, p);
            p += n;
        }
        p += *p == ' ';
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (*p ? !offset(p, &seconds) : !zone || !zone->known)
        return false;
    if (!*p)
        seconds = offset_then(zone, tm);
    unsigned ahead = (unsigned)abs(seconds) / 60;
    snprintf(ret_text, TIMES_BUF, "%.10sT%s%s%c%02u:%02u", copy, day, fraction, seconds < 0 ? '-' : '+',
             ahead / 60 % 100, ahead % 60);
    return rfc3339_parse(ret_text, strlen(ret_text), &ns);
}
