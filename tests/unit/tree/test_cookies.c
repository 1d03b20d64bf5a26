/*
 * test_cookies.c - in a store that keeps a past the cookie of a name tells the batch in which it began, for
 * each call that makes one; in any other they are counted. */
#include "inside.h"

#include "index/past_names.h"
#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;
static uint64_t dir;

static void setup(void)
{
    unit_new(&u, 0);
    dir = unit_mkdir(&u, "dir");
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(cookies, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t cookie_of(uint64_t folder, const char *name)
{
    const struct index *idx = &u.eng->idx;
    const struct dentry_rec *d =
        index_dentry(idx, index_find_name(idx, ino_slot(folder), name, strlen(name)));
    cr_assert(d, "%s", name);
    return d->cookie;
}

/* The name began in the newest batch. */
static void expect_told(uint64_t folder, const char *name)
{
    cr_assert_eq(cookie_of(folder, name) >> COOKIE_BATCH_SHIFT, u.eng->log.seq, "%s", name);
    cr_assert_eq(index_name_at(&u.eng->idx, ino_slot(folder), name, strlen(name), u.eng->log.seq - 1), 0);
    cr_assert_neq(index_name_at(&u.eng->idx, ino_slot(folder), name, strlen(name), u.eng->log.seq), 0);
}

static void rename_to(uint64_t from_dir, const char *from, uint64_t to_dir, const char *to, unsigned flags)
{
    const struct eng_caller who = {0};
    cr_assert_eq(eng_rename(u.eng, &who, from_dir, from, to_dir, to, flags), 0);
}

static void put_two(const char *one, const char *two)
{
    struct eng_record records[] = {{.parent = dir, .name = one, .mode = 0644, .content = "1", .size = 1},
                                   {.parent = dir, .name = two, .mode = 0644, .content = "2", .size = 1}};
    cr_assert_eq(eng_put_many(u.eng, records, 2), 2);
    cr_assert(records[0].result == 0 && records[1].result == 0);
}

Test(cookies, tell_the_batch_where_there_is_a_past)
{
    struct eng_attr attr;
    uint64_t before = cookie_of(ENG_ROOT_INO, "dir");
    cr_assert_eq(store_set_history(u.eng), 0);
    uint64_t file = unit_file(&u, "file", 100, 1);
    (void)unit_create(&u, "made");
    expect_told(ENG_ROOT_INO, "made");
    cr_assert_eq(eng_link(u.eng, NULL, file, ENG_ROOT_INO, "linked", &attr), 0);
    expect_told(ENG_ROOT_INO, "linked");
    cr_assert_geq(eng_dir_mark(u.eng), cookie_of(ENG_ROOT_INO, "linked"));
    rename_to(ENG_ROOT_INO, "linked", dir, "moved", 0);
    expect_told(dir, "moved");
    rename_to(dir, "moved", ENG_ROOT_INO, "back", ENG_RENAME_WHITEOUT);
    expect_told(ENG_ROOT_INO, "back");
    put_two("one", "two");
    expect_told(dir, "one");
    expect_told(dir, "two");
    cr_assert_eq(cookie_of(dir, "two"), cookie_of(dir, "one") + 1);
    uint64_t one = cookie_of(dir, "one");
    rename_to(dir, "one", dir, "renamed", 0);
    cr_assert_eq(cookie_of(dir, "renamed"), one, "within its folder it keeps its place");
    cr_assert_eq(cookie_of(ENG_ROOT_INO, "dir"), before);
    cr_assert_eq(unit_problems(&u), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(cookie_of(dir, "renamed"), one);
    (void)unit_create(&u, "later");
    expect_told(ENG_ROOT_INO, "later");
}

Test(cookies, are_counted_elsewhere)
{
    uint64_t next = cookie_of(ENG_ROOT_INO, "dir") + 1;
    (void)unit_create(&u, "made");
    cr_assert_eq(cookie_of(ENG_ROOT_INO, "made"), next);
    put_two("one", "two");
    cr_assert(cookie_of(dir, "one") == next + 1 && cookie_of(dir, "two") == next + 2);
    rename_to(dir, "one", ENG_ROOT_INO, "one", 0);
    cr_assert_eq(cookie_of(ENG_ROOT_INO, "one"), next + 3);
}
