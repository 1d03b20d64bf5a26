/*
 * rfc3339.c - parsing and printing of timestamps. Pure functions. */
#include "rules/rfc3339.h"

#include <stdio.h>
#include <string.h>

struct cursor {
    const char *p, *end;
};

static bool digits(struct cursor *c, int n, int *ret)
{
    int v = 0;
    if (c->end - c->p < n)
        return false;
    for (; n > 0; n--, c->p++) {
        if (*c->p < '0' || *c->p > '9')
            return false;
        v = v * 10 + (*c->p - '0');
    }
    *ret = v;
    return true;
}

static bool one_of(struct cursor *c, const char *set, char *ret)
{
    if (c->p == c->end || !*c->p || !strchr(set, *c->p))
        return false;
    *ret = *c->p++;
    return true;
}

/* Days since 1970-01-01 of a proleptic Gregorian date (Howard Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_from_civil(int64_t y, int m, int d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

static int days_in_month(int y, int m)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return m == 2 && leap ? 29 : days[m - 1];
}

static bool parse_fraction(struct cursor *c, int64_t *ret_ns)
{
    int64_t ns = 0, unit = 100000000;
    const char *start = c->p;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++, unit /= 10)
        ns += unit * (*c->p - '0');
    *ret_ns = ns;
    return c->p > start;
}

static bool parse_zone(struct cursor *c, int *ret_seconds)
{
    char sign;
    int h, m;
    if (!one_of(c, "Zz+-", &sign))
        return false;
    if (sign == 'Z' || sign == 'z') {
        *ret_seconds = 0;
        return true;
    }
    char colon;
    if (!digits(c, 2, &h) || !one_of(c, ":", &colon) || !digits(c, 2, &m) || h > 23 || m > 59)
        return false;
    *ret_seconds = (sign == '-' ? -1 : 1) * (h * 3600 + m * 60);
    return true;
}

bool rfc3339_parse(const char *s, size_t len, int64_t *ret_ns)
{
    struct cursor c = {s, s + len};
    int y, mo, d, h, mi, sec, zone;
    int64_t frac = 0;
    char x;
    if (!digits(&c, 4, &y) || !one_of(&c, "-", &x) || !digits(&c, 2, &mo) || !one_of(&c, "-", &x) ||
        !digits(&c, 2, &d) || !one_of(&c, "Tt ", &x) || !digits(&c, 2, &h) || !one_of(&c, ":", &x) ||
        !digits(&c, 2, &mi) || !one_of(&c, ":", &x) || !digits(&c, 2, &sec))
        return false;
    if (mo < 1 || mo > 12 || d < 1 || d > days_in_month(y, mo) || h > 23 || mi > 59 || sec > 60)
        return false;
    if (c.p < c.end && *c.p == '.') {
        c.p++;
        if (!parse_fraction(&c, &frac))
            return false;
    }
    if (!parse_zone(&c, &zone) || c.p != c.end)
        return false;
    int64_t seconds = days_from_civil(y, mo, d) * 86400 + h * 3600 + mi * 60 + sec - zone;
    int64_t ns;
    if (__builtin_mul_overflow(seconds, INT64_C(1000000000), &ns) || __builtin_add_overflow(ns, frac, &ns))
        ns = seconds < 0 ? INT64_MIN + 1 : INT64_MAX;
    *ret_ns = ns;
    return true;
}

/* The inverse of days_from_civil(), same source. */
static void civil_from_days(int64_t z, int64_t *y, int *m, int *d)
{
    z += 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = yoe + era * 400 + (*m <= 2);
}

/* Writes all down to the second, without a zone. Returns the nanoseconds that are left. */
static int64_t put_seconds(int64_t ns, char buf[40], int *ret_len)
{
    int64_t seconds = ns / 1000000000, frac = ns % 1000000000, y;
    int m, d;
    if (frac < 0) {
        frac += 1000000000;
        seconds--;
    }
    int64_t days = seconds / 86400, rest = seconds % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    civil_from_days(days, &y, &m, &d);
    *ret_len = snprintf(buf, 40, "%04lld-%02d-%02dT%02d:%02d:%02d", (long long)y, m, d, (int)(rest / 3600),
                        (int)(rest / 60 % 60), (int)(rest % 60));
    return frac;
}

char *rfc3339_format(int64_t ns, char buf[40])
{
    int n;
    int64_t frac = put_seconds(ns, buf, &n);
    if (frac) {
        n += snprintf(buf + n, 40 - (size_t)n, ".%09lld", (long long)frac);
        while (buf[n - 1] == '0')
            n--;
    }
    (void)snprintf(buf + n, 40 - (size_t)n, "Z");
    return buf;
}

char *rfc3339_format_ms(int64_t ns, char buf[40])
{
    int n;
    int64_t frac = put_seconds(ns, buf, &n);
    (void)snprintf(buf + n, 40 - (size_t)n, ".%03dZ", (int)(frac / 1000000));
    return buf;
}
