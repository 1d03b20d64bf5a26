/*
 * test_idpath.c - ids to paths: known forms, and that no two ids meet. */
#include "ctl/transfer/idpath.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *path_of(const char *id, size_t len, enum idpath_form *ret_form)
{
    static char path[IDPATH_PATH_MAX + 1];
    enum idpath_form form = idpath_of(id, len, path);
    if (ret_form)
        *ret_form = form;
    return path;
}

static void expect(const char *id, size_t len, const char *path)
{
    enum idpath_form form;
    char *got = path_of(id, len, &form);
    cr_expect_str_eq(got, path, "id %.*s: got %s, expected %s", (int)len, id, got, path);
    cr_expect_eq(form, strlen(path) == len && !memcmp(path, id, len) ? IDPATH_PLAIN : IDPATH_ESCAPED);
}

#define EXPECT(id, path) expect(id, sizeof(id) - 1, path)

Test(idpath, plain_ids_are_their_paths)
{
    EXPECT("a", "a");
    EXPECT("conv-26/session-01/D1-1", "conv-26/session-01/D1-1");
    EXPECT("100%", "100%");
    EXPECT("...", "...");
    EXPECT(".hidden/..x", ".hidden/..x");
    EXPECT("x/.engram", "x/.engram");
    EXPECT(".engramx", ".engramx");
    EXPECT(".engramctl-12-.part", ".engramctl-12-.part");
    EXPECT(".engramctl--1.part", ".engramctl--1.part");
    EXPECT(".engramctl-1-1.par", ".engramctl-1-1.par");
    EXPECT(".engramctl-1-1x.part", ".engramctl-1-1x.part");
    EXPECT(".engramctl-.part", ".engramctl-.part");
    EXPECT(".engramctl-1-2-3.part", ".engramctl-1-2-3.part");
    EXPECT("line\nbreak \\ \"quote\" *", "line\nbreak \\ \"quote\" *");
    EXPECT("d\xC3\xA4mon", "d\xC3\xA4mon");
    EXPECT("\xFF\xFE", "\xFF\xFE");
}

Test(idpath, what_is_no_path_is_escaped)
{
    EXPECT("", "%f");
    EXPECT("/", "%d/%f");
    EXPECT("//", "%d/%d/%f");
    EXPECT(".", "%f.");
    EXPECT(".engramctl-12-0.part", "%f.engramctl-12-0.part"); /* else it would be taken for half a file */
    EXPECT("a/.engramctl-1-999.part", "a/%f.engramctl-1-999.part");
    EXPECT("..", "%f..");
    EXPECT("../x", "%d../x");
    EXPECT("a/./b", "a/%d./b");
    EXPECT("/abs", "%d/abs");
    EXPECT("a/", "a/%f");
    EXPECT("a//b", "a/%d/b");
    EXPECT("a\0b", "%fa%00b");
    EXPECT("a\0/b", "%da%00/b");
    EXPECT(".engram", "%f.engram");
    EXPECT(".engram/compact", "%d.engram/compact");
}

Test(idpath, ids_that_look_escaped_are_escaped)
{
    EXPECT("%f", "%f%25f");
    EXPECT("%fa", "%f%25fa");
    EXPECT("%d/x", "%d%25d/x");
    EXPECT("%h00", "%f%25h00");
    EXPECT("%", "%f%25");
    EXPECT("%00", "%f%2500");
}

Test(idpath, a_component_of_255_bytes_is_plain)
{
    char id[600];
    memset(id, 'x', sizeof id);
    cr_expect_eq(idpath_of(id, 255, (char[IDPATH_PATH_MAX + 1]){0}), IDPATH_PLAIN);
    id[255] = '/';
    cr_expect_eq(idpath_of(id, 511, (char[IDPATH_PATH_MAX + 1]){0}), IDPATH_PLAIN);
}

Test(idpath, long_components_are_hashed)
{
    char id[1000], other[1000];
    enum idpath_form form;
    memset(id, 'x', sizeof id);
    char *path = path_of(id, 256, &form);
    cr_expect_eq(form, IDPATH_HASHED);
    cr_expect(!strncmp(path, "%h", 2) && path[34] == '-' && strlen(path) <= 255 && !strchr(path, '/'), "%s",
              path);
    memcpy(other, path, strlen(path) + 1);
    cr_expect_str_neq(path_of(id, 257, NULL), other);
    /* A long last component keeps its directory; a long directory keeps nothing. */
    memcpy(id, "dir/", 4);
    cr_expect(!strncmp(path_of(id, 500, NULL), "dir/%h", 6));
    cr_expect(!idpath_needs_flat(id, 500));
    id[0] = 'x', id[3] = 'x', id[400] = '/';
    path = path_of(id, 500, &form);
    cr_expect(form == IDPATH_HASHED && !strchr(path, '/') && strstr(path, "xxx"), "%s", path);
    cr_expect(idpath_needs_flat(id, 500));
}

Test(idpath, long_paths_are_hashed)
{
    enum { LEN = 70000 };
    char *id = malloc(LEN);
    for (size_t i = 0; i < LEN; i++)
        id[i] = i % 10 == 9 ? '/' : 'a';
    enum idpath_form form;
    cr_expect_eq(strlen(path_of(id, 3070, &form)), 3070 + 2, "ends in a slash: an empty last component");
    cr_expect_eq(form, IDPATH_ESCAPED);
    char *path = path_of(id, LEN, &form);
    cr_expect(form == IDPATH_HASHED && strlen(path) <= 255 && !strchr(path, '/'));
    cr_expect(strstr(path, "-aaaaaaaaa%2Faaaaaaaaa") != NULL, "%s", path);
    free(id);
}

Test(idpath, the_readable_part_ends_with_a_whole_character)
{
    char id[602];
    for (size_t i = 0; i < sizeof id; i += 2)
        memcpy(id + i, "\xC3\xA4", 2);
    char *path = path_of(id + 1, 601, NULL);
    unsigned char last = (unsigned char)path[strlen(path) - 1];
    cr_expect_eq(last, 0xA4);
    cr_expect_leq(strlen(path), 35 + 64);
}

/* ---- the form can be undone, hence no two ids share one -------------------- */

static size_t undo_percent(const char *s, size_t len, char *out)
{
    size_t o = 0;
    for (size_t i = 0; i < len; i++) {
        if (s[i] == '%') {
            char hex[3] = {s[i + 1], s[i + 2], 0};
            out[o++] = (char)strtol(hex, NULL, 16);
            i += 2;
        } else {
            out[o++] = s[i];
        }
    }
    return o;
}

static size_t undo(const char *path, char *out)
{
    size_t o = 0;
    for (const char *p = path;;) {
        const char *end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        if (*p == '%') {
            cr_assert_eq(p[1], *end ? 'd' : 'f');
            o += undo_percent(p + 2, n - 2, out + o);
        } else {
            memcpy(out + o, p, n);
            o += n;
        }
        if (!*end)
            return o;
        out[o++] = '/';
        p = end + 1;
    }
}

/* Nothing of the result may be refused by a file system or lead elsewhere. */
static void expect_usable(const char *path)
{
    cr_expect_neq(path[0], '/');
    cr_expect_neq(path[0], 0);
    for (const char *p = path; *p;) {
        const char *end = strchrnul(p, '/');
        size_t n = (size_t)(end - p);
        cr_expect(n > 0 && n <= 255);
        cr_expect(!(n == 1 && *p == '.') && !(n == 2 && p[0] == '.' && p[1] == '.'));
        cr_expect(!(p == path && n == 7 && !memcmp(p, ".engram", 7)));
        p = *end ? end + 1 : end;
    }
}

Test(idpath, random_ids_come_back)
{
    const char *given = getenv("TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
    /* Few kinds of bytes, so that every rule is met often. */
    static const char alphabet[] = {'a', 'b', '/', '/', '.', '.',    '%', 'd',
                                    'f', 'h', '2', '5', 0,   '\xC3', '\n'};
    static const char control[] = ".engram";
    fprintf(stderr, "seed %u (set TEST_SEED to repeat)\n", seed);
    srand(seed);
    for (int round = 0; round < 200000; round++) {
        char id[64], back[256];
        size_t len = (size_t)rand() % 24;
        for (size_t i = 0; i < len; i++)
            id[i] = alphabet[(size_t)rand() % sizeof alphabet];
        if (rand() % 8 == 0) {
            size_t at = (size_t)rand() % 3;
            memcpy(id + at, control, sizeof control - 1);
            len = len > at + sizeof control - 1 ? len : at + sizeof control - 1;
            memset(id, '/', at);
        }
        enum idpath_form form;
        char *path = path_of(id, len, &form);
        cr_assert_neq(form, IDPATH_HASHED);
        expect_usable(path);
        size_t n = undo(path, back);
        cr_assert(n == len && !memcmp(back, id, len), "seed %u, round %d: %s", seed, round, path);
    }
}
