/*
 * times.c - see times.h. No state but the TZ of the C library. */
#include "ctl/transfer/times.h"

#include "rules/rfc3339.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

bool times_zone(const char *text, struct times_zone *ret_zone)
{
    char path[PATH_MAX];
    struct times_zone zone = {.known = true};
    if (!strcmp(text, "UTC") || offset(text, &zone.seconds)) {
        *ret_zone = zone;
        return true;
    }
    int n = snprintf(path, sizeof path, ZONES "%s", text);
    if (!*text || *text == '/' || strstr(text, "..") || n < 0 || n >= (int)sizeof path ||
        access(path, R_OK) < 0)
        return false;
    if (setenv("TZ", text, 1) < 0)
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

static bool from_number(const char *text, char ret_text[TIMES_BUF])
{
    static const struct {
        double below;
        int64_t ns;
    } units[] = {{1e11, 1000000000}, {1e14, 1000000}, {1e17, 1000}, {1e19, 1}};
    char *end;
    errno = 0;
    long long whole = strtoll(text, &end, 10);
    if (errno || end == text)
        return false;
    double fraction = *end == '.' ? strtod(end, &end) : 0;
    if (*end)
        return false;
    double size = whole < 0 ? -(double)whole : (double)whole;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (size >= units[i].below)
            continue;
        if (*text == '-')
            fraction = -fraction;
        int64_t of_second = 1000000000 / units[i].ns, seconds = whole / of_second;
        int64_t ns = whole % of_second * units[i].ns + (int64_t)(fraction * (double)units[i].ns);
        if (ns < 0) {
            seconds--;
            ns += 1000000000;
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
