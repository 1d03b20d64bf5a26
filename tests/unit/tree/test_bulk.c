/*
 * test_bulk.c - many records at once: each is whole or not there, bad ones in
 * between harm nobody, and whatever meets in one call ends as if done one by one. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;

static void setup(void)
{
    unit_new(&u, 1 << 20);
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u); /* what it wrote can be replayed and loaded */
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(bulk, .init = setup, .fini = teardown);

static struct eng_record record(const char *name, const char *content)
{
    return (struct eng_record){.parent = ENG_ROOT_INO,
                               .name = name,
                               .content = content,
                               .size = content ? strlen(content) : 0,
                               .mode = 0640,
                               .uid = 11,
                               .gid = 12,
                               .mtime = 1234567890123456789,
                               .result = 77};
}

static void expect_content(const char *name, const char *content)
{
    cr_assert(unit_holds_bytes(&u, unit_lookup(&u, name), content, strlen(content)), "%s", name);
}

static ssize_t xattr(const char *name, const char *key, char value[64])
{
    memset(value, 0, 64);
    return eng_getxattr(u.eng, unit_lookup(&u, name), key, value, 64);
}

Test(bulk, creates_files_with_all_their_fields)
{
    const struct eng_xattr_pair pairs[] = {{"user.engram.confidence", "0.5", 3}, {"user.empty", NULL, 0}};
    struct eng_record r[] = {record("a", "first"), record("b", NULL)};
    char value[64];
    r[0].xattrs = pairs;
    r[0].n_xattrs = 2;
    r[0].mode = S_IFDIR | 04755; /* the type is always a regular file */
    int64_t before = now_ns();
    cr_assert_eq(eng_put_many(u.eng, r, 2), 2);
    cr_assert(r[0].result == 0 && r[1].result == 0);
    expect_content("a", "first");
    expect_content("b", "");
    struct eng_attr a = unit_attr(&u, unit_lookup(&u, "a"));
    cr_assert(a.mode == (S_IFREG | 04755) && a.uid == 11 && a.gid == 12 && a.nlink == 1);
    cr_assert(a.mtime == r[0].mtime && a.atime == r[0].mtime && a.btime >= before);
    cr_assert_eq(xattr("a", "user.engram.confidence", value), 3);
    cr_assert_str_eq(value, "0.5");
    cr_assert_eq(xattr("a", "user.empty", value), 0);
    cr_assert_eq(xattr("b", "user.empty", value), -ENODATA);
    cr_assert_eq(eng_put_many(u.eng, r, 0), 0);
}

Test(bulk, replaces_content_times_and_xattrs_of_what_is_there)
{
    const struct eng_xattr_pair pairs[] = {{"user.kept", "new", 3}};
    uint64_t ino = unit_file(&u, "a", 100000, 1);
    uint8_t *big = unit_bytes(3000, 2);
    char value[64];
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.kept", "old", 3, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.gone", "old", 3, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.gone-too", big, 3000, 0), 0);
    struct eng_record r = record("a", "short");
    r.xattrs = pairs;
    r.n_xattrs = 1;
    cr_assert_eq(eng_put_many(u.eng, &r, 1), 1);
    cr_assert_eq(unit_lookup(&u, "a"), ino, "it stays the same inode");
    expect_content("a", "short");
    cr_assert_eq(unit_attr(&u, ino).mtime, r.mtime);
    cr_assert_eq(xattr("a", "user.kept", value), 3);
    cr_assert_str_eq(value, "new");
    cr_assert_eq(xattr("a", "user.gone", value), -ENODATA);
    cr_assert_eq(xattr("a", "user.gone-too", value), -ENODATA);
    cr_assert_eq(unit_stats(&u).live_bytes, 5);
    free(big);
}

Test(bulk, the_last_of_one_name_wins)
{
    const struct eng_xattr_pair old = {"user.old", "1", 1},
                                twice[] = {{"user.x", "1", 1}, {"user.x", "2", 1}};
    struct eng_record r[] = {record("a", "1"), record("b", "2"), record("a", "3"), record("a", "four")};
    char value[64];
    r[0].xattrs = &old;
    r[0].n_xattrs = 1;
    r[3].xattrs = twice;
    r[3].n_xattrs = 2;
    cr_assert_eq(eng_put_many(u.eng, r, ARRAY_LEN(r)), ARRAY_LEN(r));
    expect_content("a", "four");
    expect_content("b", "2");
    cr_assert_eq(xattr("a", "user.old", value), -ENODATA);
    cr_assert_eq(xattr("a", "user.x", value), 1);
    cr_assert_str_eq(value, "2");
    cr_assert_eq(unit_stats(&u).memories, 2);
}

Test(bulk, names_of_one_file_may_meet_in_one_call)
{
    const struct eng_xattr_pair pair = {"user.x", "new", 3};
    struct eng_attr attr;
    char value[64];
    uint64_t ino = unit_file(&u, "a", 10, 1);
    cr_assert_eq(eng_link(u.eng, NULL, ino, 1, "b", &attr), 0);
    cr_assert_eq(eng_link(u.eng, NULL, ino, 1, "c", &attr), 0);
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.x", "old", 3, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.y", "old", 3, 0), 0);
    struct eng_record r[] = {record("x", "x"), record("a", "a"), record("b", "b"), record("y", "y"),
                             record("c", "c")};
    r[2].xattrs = &pair;
    r[2].n_xattrs = 1;
    cr_assert_eq(eng_put_many(u.eng, r, ARRAY_LEN(r)), ARRAY_LEN(r));
    cr_assert_str_eq(unit_stats(&u).read_only_reason, "");
    expect_content("a", "c");
    cr_assert_eq(xattr("a", "user.x", value), -ENODATA, "the last record had none");
    cr_assert_eq(unit_attr(&u, ino).nlink, 3);
}

Test(bulk, bad_records_say_why_and_harm_nobody)
{
    char n256[257], n255[256];
    memset(n256, 'n', 256);
    n256[256] = 0;
    memset(n255, 'n', 255);
    n255[255] = 0;
    uint64_t file = unit_file(&u, "file", 10, 1);
    unit_mkdir(&u, "dir");
    struct eng_attr attr, removed;
    struct eng_caller with_ref = {.ref = true};
    cr_assert_eq(eng_create(u.eng, NULL, 1, "fifo", S_IFIFO | 0600, 0, NULL, &attr), 0);
    cr_assert_eq(eng_create(u.eng, &with_ref, 1, "removed", S_IFDIR | 0700, 0, NULL, &removed), 0);
    cr_assert_eq(eng_rmdir(u.eng, 1, "removed"), 0);
    static char huge[ENG_XATTR_SIZE_MAX + 1];
    const struct eng_xattr_pair bad_name = {n256, "", 0}, no_name = {"", "", 0},
                                bad_size = {"user.x", huge, sizeof(huge)}, max_size = {"user.x", huge, 65536};
    const struct {
        const char *name;
        uint64_t parent;
        const struct eng_xattr_pair *pair;
        int expect;
    } cases[] = {{"ok1", 1, NULL, 0},          {"", 1, NULL, -ENOENT},      {".", 1, NULL, -EINVAL},
                 {"..", 1, NULL, -EINVAL},     {"a/b", 1, NULL, -EINVAL},   {n256, 1, NULL, -ENAMETOOLONG},
                 {n255, 1, NULL, 0},           {"dir", 1, NULL, -EISDIR},   {"fifo", 1, NULL, -EEXIST},
                 {"x", file, NULL, -ENOTDIR},  {"x", 999, NULL, -ESTALE},   {"x", removed.ino, NULL, -ENOENT},
                 {"x", 1, &bad_name, -ERANGE}, {"x", 1, &no_name, -ERANGE}, {"x", 1, &bad_size, -ERANGE},
                 {"ok2", 1, &max_size, 0},     {"ok3", 1, NULL, 0}};
    struct eng_record r[ARRAY_LEN(cases)];
    ssize_t good = 0;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        r[i] = record(cases[i].name, "content");
        r[i].parent = cases[i].parent;
        r[i].xattrs = cases[i].pair;
        r[i].n_xattrs = cases[i].pair != NULL;
        good += !cases[i].expect;
    }
    cr_assert_eq(eng_put_many(u.eng, r, ARRAY_LEN(r)), good);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert(r[i].result == cases[i].expect || (cases[i].pair == &bad_size && r[i].result == -E2BIG),
                  "case %zu: %d", i, r[i].result);
    cr_assert_eq(unit_lookup(&u, "x"), 0);
    expect_content("ok1", "content");
    expect_content(n255, "content");
    expect_content("ok2", "content");
    expect_content("ok3", "content");
    cr_assert(unit_holds(&u, file, 10, 1));
    cr_assert_eq(eng_forget(u.eng, removed.ino, 1), 0);
}

/* More would be stored, but no checkpoint with it could be loaded again. */
Test(bulk, names_of_attributes_have_the_limit_of_setxattr)
{
    enum { EACH = 256, FIT = ENG_XATTR_LIST_MAX / EACH };
    static char names[FIT + 1][EACH];
    struct eng_xattr_pair pairs[FIT + 1];
    for (unsigned i = 0; i <= FIT; i++) {
        (void)snprintf(names[i], EACH, "user.%0250u", i); /* 255 bytes and the NUL */
        pairs[i] = (struct eng_xattr_pair){.name = names[i], .value = "v", .size = 1};
    }
    struct eng_record r[] = {record("fits", "a"), record("more", "b")};
    r[0].xattrs = r[1].xattrs = pairs;
    r[0].n_xattrs = FIT;
    r[1].n_xattrs = FIT + 1;
    cr_assert_eq(eng_put_many(u.eng, r, 2), 1);
    cr_assert(r[0].result == 0 && r[1].result == -ENOSPC);
    cr_assert_eq(eng_listxattr(u.eng, unit_lookup(&u, "fits"), NULL, 0), ENG_XATTR_LIST_MAX);
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    cr_assert_eq(eng_listxattr(u.eng, unit_lookup(&u, "fits"), NULL, 0), ENG_XATTR_LIST_MAX);
}

Test(bulk, sizes_have_a_limit)
{
    size_t max = 16u << 20;
    uint8_t *bytes = unit_bytes(max + 1, 1);
    struct eng_record r[] = {record("a", "a"), record("max", NULL), record("more", NULL), record("b", "b")};
    r[1].content = r[2].content = bytes;
    r[1].size = max;
    r[2].size = max + 1;
    cr_assert_eq(eng_put_many(u.eng, r, 4), 3);
    cr_assert(r[0].result == 0 && r[1].result == 0 && r[2].result < 0 && r[3].result == 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "max"), max, 1));
    expect_content("b", "b");
    free(bytes);
}

Test(bulk, thousands_take_few_batches)
{
    enum { N = 10000 };
    static struct eng_record r[N];
    static char names[N][16], contents[N][48];
    uint64_t dir = unit_mkdir(&u, "d"), batches = unit_stats(&u).batches;
    for (int pass = 0; pass < 2; pass++) { /* the second replaces */
        for (int i = 0; i < N; i++) {
            (void)snprintf(names[i], sizeof(names[i]), "m%d", i);
            (void)snprintf(contents[i], sizeof(contents[i]), "content %d of pass %d", i, pass);
            r[i] = record(names[i], contents[i]);
            r[i].parent = dir;
        }
        cr_assert_eq(eng_put_many(u.eng, r, N), N);
        cr_assert_lt(unit_stats(&u).batches - batches, N / 50);
        batches = unit_stats(&u).batches;
        for (int i = 0; i < N; i++) {
            struct eng_attr attr;
            if (eng_lookup(u.eng, NULL, dir, names[i], &attr) != 0 ||
                !unit_holds_bytes(&u, attr.ino, contents[i], strlen(contents[i])))
                cr_assert_fail("record %d of pass %d", i, pass);
        }
    }
    cr_assert_eq(unit_stats(&u).memories, N);
}

Test(bulk, the_path_hint_is_that_of_the_record)
{
    uint64_t dir = unit_mkdir(&u, "dir");
    struct eng_record r[] = {record("in", "content"), record("out", "content")};
    r[0].parent = dir;
    cr_assert_eq(eng_put_many(u.eng, r, 2), 2);
    static const char *const paths[] = {"dir/in", "out"};
    for (int i = 0; i < 2; i++) {
        struct locator loc;
        struct eng_attr attr;
        char name[SEGMENT_NAME_SIZE];
        uint8_t *image;
        size_t size;
        struct extent_header h;
        cr_assert_eq(eng_lookup(u.eng, NULL, r[i].parent, r[i].name, &attr), 0);
        cr_assert(unit_locator(&u, attr.ino, 0, &loc));
        segment_name(loc.seg, name);
        cr_assert_eq(simdisk_get(u.disk, name, &image, &size), 0);
        memcpy(&h, image + locator_offset(&loc), sizeof(h));
        cr_assert_eq(h.name_len, strlen(paths[i]));
        const char *hint =
            (char *)image + locator_offset(&loc) + extent_head_size(loc.ext_len) + ALIGN8(loc.len);
        cr_assert_eq(memcmp(hint, paths[i], h.name_len), 0);
        cr_assert_eq(h.name_sum, (uint32_t)codec_hash(hint, h.name_len));
        free(image);
    }
}

Test(bulk, a_store_that_fails_says_so_in_every_record)
{
    struct eng_record r[] = {record("a", "a"), record("a", "b"), record("c", "c")};
    simdisk_fail_always(u.disk, SIM_PWRITEV, EIO);
    cr_assert_eq(eng_put_many(u.eng, r, 3), -EIO);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(r[i].result, -EIO, "record %d: %d", i, r[i].result);
    simdisk_fail(u.disk, SIM_PWRITEV, 0, 0);
    simdisk_fail_always(u.disk, SIM_PWRITEV, 0);
    cr_assert_eq(unit_lookup(&u, "a"), 0);
    cr_assert_eq(eng_put_many(u.eng, r, 3), 3);
    expect_content("a", "b");
}
