/*
 * test_text.c - the small pure parts of the tools: timestamps, base64,
 * UTF-8, the line reader. */
#include "ctl/transfer/fields.h"
#include "ctl/transfer/lines.h"
#include "rfc3339_cases.h"
#include "rules/rfc3339.h"
#include "shared/jsontext.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int64_t ns_of(const char *s)
{
    int64_t ns = 42;
    cr_assert(rfc3339_parse(s, strlen(s), &ns), "%s", s);
    return ns;
}

Test(rfc3339, known_moments)
{
    cr_expect_eq(ns_of("1970-01-01T00:00:00Z"), 0);
    cr_expect_eq(ns_of("1969-12-31T23:59:59.999999999Z"), -1);
    cr_expect_eq(ns_of("2023-05-08T13:56:00Z"), INT64_C(1683554160000000000));
    cr_expect_eq(ns_of("2023-05-08t13:56:00.25+02:00"), INT64_C(1683546960250000000));
    cr_expect_eq(ns_of("2023-05-08 13:56:00-00:30"), INT64_C(1683555960000000000));
    cr_expect_eq(ns_of("2000-02-29T12:00:00z"), INT64_C(951825600000000000));
    cr_expect_eq(ns_of("2016-12-31T23:59:60Z"), ns_of("2017-01-01T00:00:00Z"));
    cr_expect_eq(ns_of("2020-01-01T00:00:00.1234567891Z"), INT64_C(1577836800123456789));
}

Test(rfc3339, beyond_the_range_is_its_end)
{
    cr_expect_eq(ns_of("1066-10-14T09:00:00Z"), INT64_MIN + 1);
    cr_expect_eq(ns_of("9999-12-31T23:59:59Z"), INT64_MAX);
    cr_expect_eq(ns_of("0000-01-01T00:00:00Z"), INT64_MIN + 1);
}

Test(rfc3339, refused)
{
    static const char *const bad[] = {"",
                                      "2023",
                                      "2023-05-08",
                                      "2023-05-08T13:56Z",
                                      "2023-05-08T13:56:00",
                                      "2023-13-08T13:56:00Z",
                                      "2023-00-08T13:56:00Z",
                                      "2023-04-31T13:56:00Z",
                                      "2023-02-29T13:56:00Z",
                                      "1900-02-29T13:56:00Z",
                                      "2023-05-08T24:00:00Z",
                                      "2023-05-08T13:60:00Z",
                                      "2023-05-08T13:56:61Z",
                                      "2023-05-08T13:56:00.Z",
                                      "2023-05-08T13:56:00+0200",
                                      "2023-05-08T13:56:00+24:00",
                                      "2023-05-08T13:56:00Zx",
                                      " 2023-05-08T13:56:00Z",
                                      "2023-5-8T13:56:00Z"};
    int64_t ns = 42;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!rfc3339_parse(bad[i], strlen(bad[i]), &ns), "%s", bad[i]);
    cr_expect_eq(ns, 42);
}

static bool valid(const char *xattr, const char *text)
{
    return field_valid(field_by_xattr(xattr), text, strlen(text));
}

Test(rfc3339, fields_take_what_a_mount_takes)
{
    int64_t ns;
    for (const char *const *s = rfc3339_good; *s; s++) {
        cr_expect(rfc3339_parse(*s, strlen(*s), &ns), "%s", *s);
        cr_expect(valid("user.engram.created", *s) && valid("user.engram.last_access", *s), "%s", *s);
    }
    for (const char *const *s = rfc3339_bad; *s; s++) {
        cr_expect(!rfc3339_parse(*s, strlen(*s), &ns), "%s", *s);
        cr_expect(!valid("user.engram.created", *s) && !valid("user.engram.last_access", *s), "%s", *s);
    }
}

Test(rfc3339, milliseconds)
{
    char text[40];
    cr_expect_str_eq(rfc3339_format_ms(0, text), "1970-01-01T00:00:00.000Z");
    cr_expect_str_eq(rfc3339_format_ms(-1, text), "1969-12-31T23:59:59.999Z");
    cr_expect_str_eq(rfc3339_format_ms(INT64_C(1683554160250900000), text), "2023-05-08T13:56:00.250Z");
    cr_expect_str_eq(rfc3339_format_ms(INT64_MIN, text), "1677-09-21T00:12:43.145Z");
    cr_expect_str_eq(rfc3339_format_ms(INT64_MAX, text), "2262-04-11T23:47:16.854Z");
}

Test(rfc3339, printing_is_the_inverse)
{
    char text[40];
    cr_expect_str_eq(rfc3339_format(0, text), "1970-01-01T00:00:00Z");
    cr_expect_str_eq(rfc3339_format(-1, text), "1969-12-31T23:59:59.999999999Z");
    cr_expect_str_eq(rfc3339_format(INT64_C(1683554160250000000), text), "2023-05-08T13:56:00.25Z");
    uint64_t v = 88172645463325252;
    for (int i = 0; i < 100000; i++) {
        v ^= v << 13, v ^= v >> 7, v ^= v << 17;
        cr_assert_eq(ns_of(rfc3339_format((int64_t)v, text)), (int64_t)v, "%s", text);
    }
}

Test(base64, both_ways)
{
    struct buf out = {0};
    struct pool pool = {0};
    unsigned char data[64];
    for (size_t n = 0; n <= sizeof data; n++) {
        void *back;
        size_t size;
        for (size_t i = 0; i < n; i++)
            data[i] = (unsigned char)(i * 37 + n * 101);
        out.len = 0;
        base64_put(&out, data, n);
        cr_assert_eq(out.len, (n + 2) / 3 * 4);
        cr_assert(base64_decode(out.data, out.len, &pool, &back, &size));
        cr_assert(size == n && !memcmp(back, data, n));
    }
    static const char *const bad[] = {
        "a", "ab", "abc", "a===", "====", "ab=c", "ab c", "abc\n", "-_-_", "ab==abcd"};
    void *back;
    size_t size;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!base64_decode(bad[i], strlen(bad[i]), &pool, &back, &size), "%s", bad[i]);
    buf_done(&out);
    pool_done(&pool);
}

Test(utf8, valid_and_not)
{
    static const char *const good[] = {"",
                                       "plain ascii text, long",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF",
                                       "1234567\xC3\xA4",
                                       "\xEF\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xC2",
                                      "\xC1\xBF",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xE2\x82",
                                      "12345678\xFF",
                                      "\xC3(",
                                      "\xF0\x9F\x98"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect(utf8_valid(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!utf8_valid(bad[i], strlen(bad[i])), "bad %zu", i);
}

static ssize_t read_fd(void *arg, void *buf, size_t n)
{
    ssize_t got = read(*(int *)arg, buf, n);
    return got < 0 ? -errno : got;
}

/* A file with this content, read through the line reader. */
static void read_lines(const void *data, size_t len, void (*check)(size_t index, const char *line, size_t n))
{
    char path[] = "/tmp/test_tools_text.XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    unlink(path);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    lseek(fd, 0, SEEK_SET);
    struct lines l;
    const char *line;
    size_t n, index = 0;
    int r;
    lines_init(&l, read_fd, &fd);
    while ((r = lines_next(&l, &line, &n)) > 0) {
        check(index++, line, n);
        cr_expect_eq(l.number, index);
    }
    cr_expect_eq(r, 0);
    cr_expect_eq(l.bytes, len);
    check(index, NULL, 0);
    lines_done(&l);
    close(fd);
}

static void check_small(size_t index, const char *line, size_t n)
{
    static const char *const want[] = {"one", "", "three\r", "last", NULL};
    if (!line)
        cr_expect_eq(index, 4);
    else
        cr_expect(index < 4 && n == strlen(want[index]) && !memcmp(line, want[index], n));
}

Test(lines, with_and_without_a_last_newline)
{
    read_lines("one\n\nthree\r\nlast", 16, check_small);
    read_lines("one\n\nthree\r\nlast\n", 17, check_small);
}

static void check_none(size_t index, const char *line, size_t n)
{
    (void)n;
    cr_expect(index == 0 && !line);
}

Test(lines, nothing)
{
    read_lines("", 0, check_none);
}

/* ---- the grammar of JSON ------------------------------------------------------------------------ */

static const char *const json[] = {"[]",
                                   "{}",
                                   "[{}]",
                                   " [ 1 , 2 ] ",
                                   "{\"a\":{\"b\":[true,false,null]},\"c\":-0.5e+7}",
                                   "\"x\\u00e4\\n\\ud83d\\ude00\"",
                                   "[[[[[[[[[{\"\":[]}]]]]]]]]]",
                                   "[\"\\\\\",\"\\\"]\",\"\xC3\xA4\"]",
                                   "0",
                                   "[1e400,123456789012345678901234567890]",
                                   "{\"a\":1,\"a\":2}",
                                   "{\"\\u0000\":1}"};

/* What jansson says, where it looked at all of it. */
static void compare_json(const char *text, size_t len)
{
    json_error_t error = {0};
    json_t *v = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &error);
    bool is = v != NULL;
    enum json_error_code code = is ? json_error_unknown : json_error_code(&error);
    json_decref(v);
    if (code != json_error_numeric_overflow && code != json_error_null_byte_in_key)
        cr_assert_eq(jt_is_json(text, len), is, "%.*s: %s", (int)len, text, error.text);
}

Test(json, is_what_another_reader_takes)
{
    static const char bytes[] = "[]{}:,\"\\ 01-.eEu+tn\n\x01\xC3\xA4"
                                "d8";
    unsigned seed = 7, n_is = 0;
    for (size_t i = 0; i < sizeof json / sizeof *json; i++) {
        size_t len = strlen(json[i]);
        cr_assert(jt_is_json(json[i], len), "%s", json[i]);
        for (size_t cut = 0; cut < len; cut++)
            compare_json(json[i], cut);
        for (int k = 0; k < 20000; k++) {
            char text[100];
            memcpy(text, json[i], len + 1);
            for (int changes = rand_r(&seed) % 3; changes >= 0; changes--)
                text[(size_t)rand_r(&seed) % len] = bytes[(size_t)rand_r(&seed) % (sizeof bytes - 1)];
            compare_json(text, len);
            n_is += jt_is_json(text, len);
        }
    }
    cr_assert_gt(n_is, 5000, "%u", n_is);
}

Test(json, brackets_in_each_other)
{
    char *text = malloc(2 * JT_DEPTH_MAX + 2);
    memset(text, '[', JT_DEPTH_MAX + 1);
    memset(text + JT_DEPTH_MAX + 1, ']', JT_DEPTH_MAX + 1);
    cr_expect(jt_is_json(text + 1, (size_t)2 * JT_DEPTH_MAX));
    cr_expect_not(jt_is_json(text, (size_t)2 * JT_DEPTH_MAX + 2));
    cr_expect_not(jt_is_json(text + 1, (size_t)2 * JT_DEPTH_MAX - 1));
    text[JT_DEPTH_MAX + 1] = '}';
    cr_expect_not(jt_is_json(text + 1, (size_t)2 * JT_DEPTH_MAX));
    free(text);
}

/* Line k is k*1237 % 5000 bytes of a letter; every 200th is larger than a block. */
static size_t length_of(size_t k)
{
    return k % 200 == 199 ? 3000000 + k : k * 1237 % 5000;
}

static void check_large(size_t index, const char *line, size_t n)
{
    if (!line) {
        cr_expect_eq(index, 1000);
        return;
    }
    cr_assert_eq(n, length_of(index), "line %zu", index);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(line[i], (char)('a' + index % 26));
}

Test(lines, longer_than_a_block)
{
    size_t total = 0;
    for (size_t k = 0; k < 1000; k++)
        total += length_of(k) + 1;
    char *data = malloc(total), *p = data;
    for (size_t k = 0; k < 1000; k++) {
        memset(p, (int)('a' + k % 26), length_of(k));
        p += length_of(k);
        *p++ = '\n';
    }
    read_lines(data, total, check_large);
    free(data);
}
