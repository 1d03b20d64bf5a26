/*
 * test_tar_number.c - the numbers and times of tar archives, and what the headers of an entry say. */
#include "ctl/transfer/tar_exact.h"
#include "ctl/transfer/tar_number.h"
#include "ctl/transfer/tar_pax.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define MIN INT64_MIN
#define MAX INT64_MAX

Test(tar_number, times)
{
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {{"0", 0},
                 {"-1", -1000000000},
                 {"-1.5", -1500000000},
                 {"-0.25", -250000000},
                 {"-0.000000001", -1},
                 {"-86400.75", INT64_C(-86400750000000)},
                 {"1.25", 1250000000},
                 {"1683554160.123456789", INT64_C(1683554160123456789)},
                 {"7.", 7000000000},
                 {".5", 500000000},
                 {"0.0000000019", 1}, /* the nearest below */
                 {"-0.0000000011", -2},
                 {"-1.0000000000", -1000000000},
                 {"5e-05", 50000},
                 {"-5e-05", -50000},
                 {"1e+300", MAX},
                 {"-1e+300", MIN + 1},
                 {"9223372036.854775807", MAX},
                 {"9223372036.854775808", MAX},
                 {"-9223372036.854775807", MIN + 1},
                 {"-9223372036.854775808", MIN + 1},
                 {"-9223372036.8547758081", MIN + 1},
                 {"1099511627776", MAX},
                 {"-1099511627776.5", MIN + 1},
                 {"99999999999999999999999999", MAX},
                 {"-99999999999999999999999999.5", MIN + 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ns = 42;
        cr_expect(tar_time_parse(cases[i].text, strlen(cases[i].text), &ns), "%s", cases[i].text);
        cr_expect_eq(ns, cases[i].ns, "%s: %lld", cases[i].text, (long long)ns);
    }
    static const char *const none[] = {"",     "-",   ".",   "-.", "abc", "1x",  "1.5.5",
                                       "0x10", "inf", "nan", "e5", "1e",  "--1", " 1"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        int64_t ns;
        cr_expect(!tar_time_parse(none[i], strlen(none[i]), &ns), "%s", none[i]);
    }
}

Test(tar_number, a_time_is_written_as_it_is)
{
    static const struct {
        int64_t ns;
        const char *text;
    } cases[] = {{0, "0"},
                 {-1500000000, "-1.5"},
                 {-250000000, "-0.25"},
                 {-1000000000, "-1"},
                 {-1, "-0.000000001"},
                 {1, "0.000000001"},
                 {INT64_C(100000000000), "100"},
                 {MAX, "9223372036.854775807"},
                 {MIN + 1, "-9223372036.854775807"},
                 {MIN, "-9223372036.854775808"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[TAR_TIME_BUF];
        int64_t back;
        cr_expect_str_eq(tar_time_format(cases[i].ns, text), cases[i].text);
        cr_expect(tar_time_parse(text, strlen(text), &back));
        cr_expect_eq(back, cases[i].ns == MIN ? MIN + 1 : cases[i].ns);
    }
    cr_expect_eq(tar_time_of(-2), INT64_C(-2000000000));
    cr_expect_eq(tar_time_of(INT64_C(1) << 40), MAX);
    cr_expect_eq(tar_time_of(-(INT64_C(1) << 40)), MIN + 1);
}

Test(tar_number, fields)
{
    static const struct {
        const char *bytes; /* eight */
        bool valid;
        int64_t v;
    } cases[] = {{"0000755\0", true, 0755},
                 {"  755 \0x", true, 0755},
                 {"77777777", true, 077777777},
                 {"\0\0\0\0\0\0\0\0", true, 0},
                 {"        ", true, 0},
                 {"-5\0\0\0\0\0\0", true, -5},
                 {"0000758\0", false, 0},
                 {"abcdefg\0", false, 0},
                 {"-\0\0\0\0\0\0\0", false, 0},
                 {"12x\0\0\0\0\0", false, 0},
                 {"\x80\0\0\1\0\0\0\0", true, INT64_C(1) << 32},
                 {"\xff\xff\xff\xff\xff\xff\xff\xfe", true, -2},
                 {"\x80\0\0\0\0\0\0\7", true, 7}};
    int64_t v;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool valid = tar_field((const unsigned char *)cases[i].bytes, 8, &v);
        cr_expect_eq(valid, cases[i].valid, "%zu", i);
        cr_expect(!valid || v == cases[i].v, "%zu: %lld", i, (long long)v);
    }
    cr_expect(tar_field((const unsigned char *)"\x80\0\1\0\0\0\0\0\0\0\0\0", 12, &v));
    cr_expect_eq(v, MAX);
    cr_expect(tar_field((const unsigned char *)"\xff\xf0\1\0\0\0\0\0\0\0\0\0", 12, &v));
    cr_expect_eq(v, MIN);
    cr_expect(tar_decimal("99999999999999999999", 20, &v) && v == MAX);
    cr_expect(tar_decimal("-99999999999999999999", 21, &v) && v == MIN);
    cr_expect(tar_decimal("4294967295", 10, &v) && v == UINT32_MAX);
    cr_expect(!tar_decimal("", 0, &v) && !tar_decimal("-", 1, &v) && !tar_decimal("1 ", 2, &v));
}

static size_t put_header(char *to, char type, size_t size)
{
    memset(to, 0, TAR_BLOCK);
    snprintf(to + 100, 8, "%07o", 04755U);
    snprintf(to + 108, 8, "%07o", 5U);
    snprintf(to + 116, 8, "%07o", 6U);
    snprintf(to + 124, 12, "%011zo", size);
    snprintf(to + 136, 12, "%011o", 7U);
    to[TAR_TYPE_AT] = type;
    return TAR_BLOCK;
}

Test(tar_number, each_cut_of_the_headers_is_refused)
{
    char all[4 * TAR_BLOCK] = "";
    struct tar_pax head;
    size_t n = put_header(all, 'x', 25);
    memcpy(all + n, "16 mtime=-0.125\n9 uid=77\n", 25);
    n += TAR_BLOCK;
    n += put_header(all + n, '0', 0);
    tar_pax_look(all, n, &head);
    cr_assert(!head.why, "%s", head.why);
    cr_expect_eq(head.mtime, -125000000);
    cr_expect(head.number[TAR_UID] == 77 && head.number[TAR_GID] == 6 && head.number[TAR_MODE] == 04755);
    for (size_t cut = 0; cut < n; cut++) {
        tar_pax_look(all, cut, &head);
        cr_expect(head.why, "%zu", cut);
    }
}
