/*
 * test_limits.c - each limit of engine.h where it comes in, with its neighbours: one less fits, it fits, one
 * more is refused and changes nothing. At the end of each test the store is closed and opened: what was
 * accepted, verification accepts. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;
static uint64_t file;

static void setup(void)
{
    unit_new(&u, 4 << 20);
    file = unit_create(&u, "file");
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    cr_assert_eq(unit_problems(&u), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(limits, .init = setup, .fini = teardown, .timeout = 120);

static char *text(size_t len, char c)
{
    char *s = calloc(len + 1, 1);
    UNIT_NEED(s);
    memset(s, c, len);
    return s;
}

/* That the call for sizes limit - 1, limit and limit + 1 is `low`, `low` and `high`. */
static void neighbours(const char *what, uint64_t limit, int (*call)(uint64_t n), int high)
{
    cr_expect_eq(call(limit - 1), 0, "%s: one less", what);
    cr_expect_eq(call(limit), 0, "%s: exactly", what);
    uint64_t seq = log_seq(&u.eng->log);
    cr_expect_eq(call(limit + 1), high, "%s: one more", what);
    cr_expect_eq(log_seq(&u.eng->log), seq, "%s: nothing was written", what);
}

/* ---- names ----------------------------------------------------------------------- */

static int create_named(uint64_t n)
{
    struct eng_attr attr;
    char *name = text(n, 'c');
    int r = eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0644, 0, NULL, &attr);
    free(name);
    return r;
}

static int mkdir_named(uint64_t n)
{
    struct eng_attr attr;
    char *name = text(n, 'd');
    int r = eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFDIR | 0755, 0, NULL, &attr);
    free(name);
    return r;
}

static int link_named(uint64_t n)
{
    struct eng_attr attr;
    char *name = text(n, 'l');
    int r = eng_link(u.eng, NULL, file, ENG_ROOT_INO, name, &attr);
    free(name);
    return r;
}

static int rename_to(uint64_t n)
{
    struct eng_attr attr;
    char *name = text(n, 'r');
    int r = eng_rename(u.eng, NULL, ENG_ROOT_INO, "from", ENG_ROOT_INO, name, 0);
    if (!r)
        (void)eng_create(u.eng, NULL, ENG_ROOT_INO, "from", S_IFREG | 0644, 0, NULL, &attr);
    free(name);
    return r;
}

static int put_named(uint64_t n)
{
    char *name = text(n, 'b');
    struct eng_record rec = {.parent = ENG_ROOT_INO, .name = name, .mode = S_IFREG | 0644};
    ssize_t r = eng_put_many(u.eng, &rec, 1);
    free(name);
    return r < 0 ? (int)r : rec.result;
}

static int lookup_named(uint64_t n)
{
    struct eng_attr attr;
    char *name = text(n, 'n');
    int r = eng_lookup(u.eng, NULL, ENG_ROOT_INO, name, &attr);
    free(name);
    return r == -ENOENT ? 0 : r;
}

static int symlink_to(uint64_t n)
{
    static unsigned made;
    struct eng_attr attr;
    char name[16], *target = text(n, 't');
    (void)snprintf(name, sizeof(name), "link%u", made++);
    int r = eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFLNK | 0777, 0, target, &attr);
    free(target);
    return r;
}

Test(limits, names)
{
    struct eng_attr attr;
    neighbours("create", ENG_NAME_MAX, create_named, -ENAMETOOLONG);
    neighbours("mkdir", ENG_NAME_MAX, mkdir_named, -ENAMETOOLONG);
    neighbours("link", ENG_NAME_MAX, link_named, -ENAMETOOLONG);
    neighbours("bulk", ENG_NAME_MAX, put_named, -ENAMETOOLONG);
    neighbours("lookup", ENG_NAME_MAX, lookup_named, -ENAMETOOLONG);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "from", S_IFREG | 0644, 0, NULL, &attr), 0);
    neighbours("rename", ENG_NAME_MAX, rename_to, -ENAMETOOLONG);
    neighbours("symlink", ENG_SYMLINK_MAX, symlink_to, -ENAMETOOLONG);
    cr_expect_eq(create_named(0), -ENOENT);
    cr_expect_eq(put_named(0), -ENOENT);
}

/* ---- links -------------------------------------------------------------------------- */

Test(limits, links)
{
    struct eng_attr attr;
    char name[16];
    for (unsigned i = 1; i < ENG_LINK_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%u", i);
        UNIT_NEED(eng_link(u.eng, NULL, file, ENG_ROOT_INO, name, &attr) == 0);
    }
    cr_assert_eq(attr.nlink, ENG_LINK_MAX);
    cr_assert_eq(eng_link(u.eng, NULL, file, ENG_ROOT_INO, "more", &attr), -EMLINK);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "n1"), 0);
    cr_assert_eq(eng_link(u.eng, NULL, file, ENG_ROOT_INO, "more", &attr), 0);
    cr_assert_eq(eng_link(u.eng, NULL, file, ENG_ROOT_INO, "n1", &attr), -EMLINK);
}

/* ---- sizes -------------------------------------------------------------------------- */

static int truncate_to(uint64_t n)
{
    struct eng_attr attr = {.size = n};
    return eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL);
}

static int write_up_to(uint64_t n)
{
    ssize_t r = eng_write(u.eng, file, "xy", 2, n - 2);
    return r == 2 ? 0 : (int)r;
}

static int append_up_to(uint64_t n)
{
    cr_assert_eq(truncate_to(n - 2 > ENG_FILE_SIZE_MAX ? ENG_FILE_SIZE_MAX : n - 2), 0);
    ssize_t r = eng_append(u.eng, file, "xy", 2, NULL);
    return r == 2 ? 0 : (int)r;
}

static int allocate_up_to(uint64_t n)
{
    return eng_fallocate(u.eng, file, 0, 0, n);
}

static int zero_up_to(uint64_t n)
{
    return eng_fallocate(u.eng, file, ENG_FALLOC_ZERO_RANGE, n - 5, 5);
}

static int punch_up_to(uint64_t n)
{
    return eng_fallocate(u.eng, file, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, n - 5, 5);
}

Test(limits, file_sizes)
{
    neighbours("truncate", ENG_FILE_SIZE_MAX, truncate_to, -EFBIG);
    cr_assert_eq(truncate_to(0), 0);
    neighbours("write", ENG_FILE_SIZE_MAX, write_up_to, -EFBIG);
    neighbours("punch", ENG_FILE_SIZE_MAX, punch_up_to, -EFBIG);
    cr_assert_eq(truncate_to(0), 0);
    neighbours("allocate", ENG_FILE_SIZE_MAX, allocate_up_to, -EFBIG);
    cr_assert_eq(truncate_to(0), 0);
    neighbours("zero", ENG_FILE_SIZE_MAX, zero_up_to, -EFBIG);
    cr_expect_eq(append_up_to(ENG_FILE_SIZE_MAX - 1), 0);
    cr_expect_eq(append_up_to(ENG_FILE_SIZE_MAX), 0);
    cr_expect_eq(append_up_to(ENG_FILE_SIZE_MAX + 1), -EFBIG);
    cr_expect_eq(eng_write(u.eng, file, "x", 1, UINT64_MAX), -EFBIG, "no sum overflows");
    cr_expect_eq(eng_fallocate(u.eng, file, 0, UINT64_MAX, UINT64_MAX), -EFBIG);
}

#define WRITE_LIMIT (16u << 20)

static uint8_t *large;

static int write_size(uint64_t n)
{
    ssize_t r = eng_write(u.eng, file, large, n, 0);
    return r == (ssize_t)n ? 0 : (int)r;
}

static int put_size(uint64_t n)
{
    struct eng_record rec = {
        .parent = ENG_ROOT_INO, .name = "bulk", .mode = S_IFREG | 0644, .content = large, .size = n};
    ssize_t r = eng_put_many(u.eng, &rec, 1);
    return r < 0 ? (int)r : rec.result;
}

Test(limits, one_write)
{
    large = calloc(1, WRITE_LIMIT + 1);
    UNIT_NEED(large);
    neighbours("write", WRITE_LIMIT, write_size, -EINVAL);
    neighbours("bulk", WRITE_LIMIT, put_size, -EINVAL);
    free(large);
}

/* ---- attributes ---------------------------------------------------------------------- */

static int set_named(uint64_t n)
{
    char *name = text(n, 'x');
    int r = eng_setxattr(u.eng, file, name, "v", 1, 0);
    free(name);
    return r;
}

static int set_sized(uint64_t n)
{
    char *value = text(n, 'v');
    int r = eng_setxattr(u.eng, file, "user.sized", value, n, 0);
    free(value);
    return r;
}

static int put_pair(const char *name, const void *value, size_t size)
{
    struct eng_xattr_pair pair = {name, value, size};
    struct eng_record rec = {
        .parent = ENG_ROOT_INO, .name = "bulk", .mode = S_IFREG | 0644, .xattrs = &pair, .n_xattrs = 1};
    ssize_t r = eng_put_many(u.eng, &rec, 1);
    return r < 0 ? (int)r : rec.result;
}

static int put_pair_named(uint64_t n)
{
    char *name = text(n, 'y');
    int r = put_pair(name, "v", 1);
    free(name);
    return r;
}

static int put_pair_sized(uint64_t n)
{
    char *value = text(n, 'w');
    int r = put_pair("user.sized", value, n);
    free(value);
    return r;
}

Test(limits, attributes)
{
    neighbours("name", ENG_XATTR_NAME_MAX, set_named, -ERANGE);
    neighbours("name in bulk", ENG_XATTR_NAME_MAX, put_pair_named, -ERANGE);
    neighbours("value", ENG_XATTR_SIZE_MAX, set_sized, -E2BIG);
    neighbours("value in bulk", ENG_XATTR_SIZE_MAX, put_pair_sized, -ERANGE);
    for (uint64_t n = XATTR_INLINE_MAX - 1; n <= XATTR_INLINE_MAX + 1; n++) { /* in the index, or an extent */
        cr_expect_eq(set_sized(n), 0);
        cr_expect_eq(eng_getxattr(u.eng, file, "user.sized", NULL, 0), (ssize_t)n);
        cr_expect_eq(put_pair_sized(n), 0);
    }
    cr_expect_eq(set_named(0), -ERANGE);
    cr_expect_eq(put_pair_named(0), -ERANGE);
}

#define LIST_NAME 127u /* bytes of a name in the lists below; with its NUL a power of two */

/* A record with names that together are `list` bytes long. */
static int put_list(uint64_t list)
{
    size_t n = (size_t)(list / (LIST_NAME + 1)), rest = (size_t)(list % (LIST_NAME + 1));
    struct eng_xattr_pair *pairs = calloc(n + 1, sizeof *pairs);
    char(*names)[LIST_NAME + 2] = calloc(n + 1, sizeof *names);
    UNIT_NEED(pairs && names);
    if (rest == 1) { /* no name is empty: the last is one longer */
        n--;
        rest = LIST_NAME + 2;
    }
    for (size_t i = 0; i < n + (rest > 0); i++) {
        size_t len = i < n ? LIST_NAME : rest - 1;
        memset(names[i], 'a', len);
        names[i][0] = (char)('A' + i % 26);
        if (len > 3) {
            names[i][1] = (char)('a' + i / 26 % 26);
            names[i][2] = (char)('a' + i / 676);
        }
        pairs[i] = (struct eng_xattr_pair){names[i], "", 0};
    }
    struct eng_record rec = {.parent = ENG_ROOT_INO,
                             .name = "bulk",
                             .mode = S_IFREG | 0644,
                             .xattrs = pairs,
                             .n_xattrs = n + (rest > 0)};
    ssize_t r = eng_put_many(u.eng, &rec, 1);
    if (r > 0)
        cr_expect_eq(eng_listxattr(u.eng, unit_lookup(&u, "bulk"), NULL, 0), (ssize_t)list);
    free(pairs);
    free(names);
    return r < 0 ? (int)r : rec.result;
}

Test(limits, attributes_in_bulk)
{
    neighbours("list in bulk", ENG_XATTR_LIST_MAX, put_list, -ENOSPC);
    cr_expect_eq(put_list(ENG_XATTR_LIST_MAX + LIST_NAME + 1), -ENOSPC);
}

static int put_number(uint64_t n)
{
    struct eng_xattr_pair *pairs = calloc(n, sizeof *pairs);
    char(*names)[32] = calloc(n, sizeof *names);
    UNIT_NEED(pairs && names);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof names[i], "user.%zu", i);
        pairs[i] = (struct eng_xattr_pair){names[i], "v", 1};
    }
    struct eng_record rec = {.parent = ENG_ROOT_INO, .name = "bulk", .mode = S_IFREG | 0644, .xattrs = pairs};
    rec.n_xattrs = n;
    ssize_t r = eng_put_many(u.eng, &rec, 1);
    free(pairs);
    free(names);
    return r < 0 ? (int)r : rec.result;
}

/* Each step to an attribute passes those before: their number bounds what a set, a replay or a compaction
 * of one takes. */
Test(limits, number_of_attributes)
{
    neighbours("attributes in bulk", ENG_XATTR_COUNT_MAX, put_number, -ENOSPC);
    char name[16];
    for (unsigned i = 0; i < ENG_XATTR_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof name, "user.%u", i);
        UNIT_NEED(eng_setxattr(u.eng, file, name, "", 0, 0) == 0);
    }
    cr_expect_eq(eng_setxattr(u.eng, file, "user.more", "", 0, 0), -ENOSPC);
    cr_expect_eq(eng_setxattr(u.eng, file, "user.7", "again", 5, 0), 0, "one that is there");
    UNIT_NEED(eng_removexattr(u.eng, file, "user.8") == 0);
    cr_expect_eq(eng_setxattr(u.eng, file, "user.more", "", 0, 0), 0);
}

Test(limits, attributes_one_by_one)
{
    char name[LIST_NAME + 2], list[ENG_XATTR_LIST_MAX];
    for (unsigned i = 0; i < ENG_XATTR_LIST_MAX / (LIST_NAME + 1) - 1; i++) {
        (void)snprintf(name, sizeof(name), "%0*u", (int)LIST_NAME, i);
        UNIT_NEED(eng_setxattr(u.eng, file, name, "", 0, 0) == 0);
    }
    (void)snprintf(name, sizeof(name), "%0*u", (int)LIST_NAME + 1, 1);
    cr_expect_eq(eng_setxattr(u.eng, file, name, "", 0, 0), -ENOSPC, "one more");
    (void)snprintf(name, sizeof(name), "%0*u", (int)LIST_NAME - 1, 1);
    cr_expect_eq(eng_setxattr(u.eng, file, name, "", 0, 0), 0, "one less");
    cr_expect_eq(eng_removexattr(u.eng, file, name), 0);
    (void)snprintf(name, sizeof(name), "%0*u", (int)LIST_NAME, 99999);
    cr_expect_eq(eng_setxattr(u.eng, file, name, "", 0, 0), 0, "exactly");
    cr_expect_eq(eng_listxattr(u.eng, file, list, sizeof(list)), ENG_XATTR_LIST_MAX);
    cr_expect_eq(eng_setxattr(u.eng, file, "x", "", 0, 0), -ENOSPC);
    cr_expect_eq(eng_setxattr(u.eng, file, name, "other", 5, 0), 0, "one that is there may change");
}
