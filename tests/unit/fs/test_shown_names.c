/*
 * test_shown_names.c - names in history/ and deleted/: each name has one, each has one name, garbage has
 * none; and those that docs/NAMES.md shows are these. */
#include "rules/shown_names.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM = SHOWN_NAME_MAX, ROUNDS = 200000 };

static uint64_t state = 42;

static uint32_t draw(uint32_t below)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (uint32_t)(state >> 33) % below;
}

/* Bytes and pieces that mean something, in any order. */
static size_t draw_text(char text[SHOWN_NAME_SIZE], size_t most, bool is_name)
{
    static const char *const pieces[] = {"%",
                                         "@",
                                         "\n",
                                         "%25",
                                         "%2F",
                                         "%40",
                                         "%0A",
                                         "%~",
                                         "%2",
                                         "000000000042",
                                         "unknown",
                                         "2026-11-28T12:00:00.123Z",
                                         "\xC3\xA4",
                                         "\xE2\x82\xAC",
                                         "\xF0\x9F\x8C\x8D",
                                         "0123456789abcdef",
                                         ".",
                                         "2F",
                                         "~"};
    size_t n = 0;
    const size_t wanted = 1 + draw((uint32_t)most);
    while (n < wanted) {
        const char *piece = pieces[draw(sizeof pieces / sizeof *pieces)];
        size_t len = strlen(piece);
        if (draw(3) && n + len <= wanted) {
            memcpy(text + n, piece, len);
            n += len;
            continue;
        }
        char c = (char)draw(256);
        if (is_name && (c == '\0' || c == '/'))
            c = 'x';
        text[n++] = c;
    }
    text[n] = '\0';
    return n;
}

/* A text that fits, whichever name it is of, and the name again. */
static void there_and_back(const char *name, size_t len, size_t room)
{
    char text[SHOWN_NAME_SIZE], again[SHOWN_NAME_SIZE];
    size_t again_len;
    size_t n = shown_name_encode(name, len, room, text);
    cr_assert(n >= 1 && n <= room && strlen(text) == n && !strchr(text, '\n') && !strchr(text, '/'));
    cr_assert_str_neq(text, "@");
    enum shown_name_kind kind = shown_name_decode(text, n, room, again, &again_len);
    if (kind == SHOWN_NAME_CUT) {
        cr_assert(n > room - 4 && len > room / 3 - 18);
        return;
    }
    cr_assert_eq(kind, SHOWN_NAME_WHOLE, "%s", text);
    cr_assert(again_len == len && memcmp(again, name, len) == 0, "%s", text);
    struct shown_stamp stamp;
    cr_assert_eq(shown_name_split(text, n, &stamp), n, "it has no stamp: %s", text);
}

Test(shown_names, each_name_has_one_and_comes_back, .timeout = 120)
{
    char name[SHOWN_NAME_SIZE];
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = draw_text(name, i % 2 ? 20 : SHOWN_NAME_MAX, true);
        there_and_back(name, len, i % 3 ? ROOM : 64 + draw(ROOM - 63));
    }
    for (int c = 1; c < 256; c++) {
        if (c == '/')
            continue;
        memset(name, c, SHOWN_NAME_MAX);
        for (size_t len = 1; len <= SHOWN_NAME_MAX; len++)
            there_and_back(name, len, ROOM);
    }
}

Test(shown_names, a_stamp_comes_off_again, .timeout = 120)
{
    char name[SHOWN_NAME_SIZE], text[SHOWN_NAME_SIZE + SHOWN_STAMP_SIZE], shown[SHOWN_STAMP_SIZE],
        encoded[SHOWN_NAME_SIZE];
    for (int i = 0; i < ROUNDS; i++) {
        const size_t len = draw_text(name, i % 2 ? 20 : SHOWN_NAME_MAX, true);
        struct shown_stamp stamp = {draw(2) ? 1 + draw(1000000) : 0, (int64_t)draw(2000000000) * 1000123456},
                           back = {0, 0};
        if (draw(10) == 0)
            stamp.time = INT64_MAX;
        const size_t stamp_len = shown_stamp_format(&stamp, shown);
        const size_t n = shown_name_encode(name, len, ROOM - 1 - stamp_len, encoded);
        (void)snprintf(text, sizeof text, "%s@%s", encoded, shown);
        cr_assert_leq(strlen(text), (size_t)ROOM);
        cr_assert_eq(shown_name_split(text, strlen(text), &back), n, "%s", text);
        cr_assert(back.number == stamp.number && shown_stamp_is_of(&back, stamp.time), "%s", text);
    }
}

/* What is taken has no other text, so that a folder has one name. */
Test(shown_names, garbage_is_none, .timeout = 120)
{
    char text[SHOWN_NAME_SIZE], name[SHOWN_NAME_SIZE], again[SHOWN_NAME_SIZE];
    size_t whole = 0;
    for (int i = 0; i < ROUNDS; i++) {
        size_t n = draw_text(text, i % 2 ? 20 : SHOWN_NAME_MAX, false), len;
        const size_t room = i % 3 ? ROOM : 64 + draw(ROOM - 63);
        struct shown_stamp stamp;
        cr_assert_leq(shown_name_split(text, n, &stamp), n);
        if (shown_name_decode(text, n, room, name, &len) != SHOWN_NAME_WHOLE)
            continue;
        whole++;
        cr_assert_eq(shown_name_encode(name, len, room, again), n);
        cr_assert_eq(memcmp(again, text, n), 0);
    }
    cr_assert_gt(whole, (size_t)ROUNDS / 100);
    static const char *const bad[] = {
        "", "@", "a\nb", "%~0123456789abcdef", "a%~b", "a/b", "@2026-11-28T12:00:00.123Z", "a@000000000042"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        size_t len;
        cr_expect_eq(shown_name_decode(bad[i], strlen(bad[i]), ROOM, name, &len), SHOWN_NAME_NONE, "%s",
                     bad[i]);
    }
}

Test(shown_names, stamps_have_one_text)
{
    static const char *const good[] = {"000000000042@2026-11-28T12:00:00.123Z",
                                       "2026-11-28T12:00:00.123Z",
                                       "unknown",
                                       "000000000001@unknown",
                                       "1000000000000@1969-12-31T23:59:59.999Z",
                                       "18446744073709551615@unknown"};
    static const char *const bad[] = {"",
                                      "@",
                                      "42@2026-11-28T12:00:00.123Z",
                                      "0000000000042@unknown",
                                      "000000000000@unknown",
                                      "18446744073709551616@unknown",
                                      "000000000042@",
                                      "000000000042",
                                      "2026-11-28T12:00:00Z",
                                      "2026-11-28T12:00:00.1234Z",
                                      "2026-11-28T12:00:00.123+00:00",
                                      "2026-11-28t12:00:00.123Z",
                                      "Unknown",
                                      "000000000042@000000000042@unknown",
                                      "2026-02-30T12:00:00.123Z"};
    struct shown_stamp stamp;
    char text[SHOWN_STAMP_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_expect(shown_stamp_parse(good[i], strlen(good[i]), &stamp), "%s", good[i]);
        (void)shown_stamp_format(&stamp, text);
        cr_expect_str_eq(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_not(shown_stamp_parse(bad[i], strlen(bad[i]), &stamp), "%s", bad[i]);
    cr_expect(shown_stamp_parse(good[0], strlen(good[0]), &stamp) && stamp.number == 42 &&
              stamp.time % 1000000000 == 123000000);
}

/* The rows | `NAME` | `TEXT` | of the page, in which \n is a newline. */
Test(shown_names, the_page_says_so)
{
    FILE *page = fopen("docs/NAMES.md", "r");
    cr_assert_not_null(page, "this runs at the top of the sources");
    char line[1024], name[512], text[512], shown[SHOWN_NAME_SIZE];
    int rows = 0;
    while (fgets(line, sizeof line, page)) {
        int end = 0;
        if (sscanf(line, "| `%511[^`]` | `%511[^`]` |%n", name, text, &end) != 2 || line[end] != '\n')
            continue;
        char *newline = strstr(name, "\\n");
        if (newline) {
            *newline = '\n';
            memmove(newline + 1, newline + 2, strlen(newline + 2) + 1);
        }
        (void)shown_name_encode(name, strlen(name), ROOM, shown);
        cr_expect_str_eq(shown, text);
        there_and_back(name, strlen(name), ROOM);
        rows++;
    }
    (void)fclose(page);
    cr_assert_geq(rows, 10);
}
