/*
 * test_damage_list.c - the list of damaged content: it names what is damaged, and
 * only as long as that concerns anybody. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(damage_list, .init = setup, .fini = teardown);

struct listed {
    unsigned n;
    struct eng_damage last;
};

static void record(void *arg, const struct eng_damage *d)
{
    struct listed *l = arg;
    l->n++;
    l->last = *d;
}

static struct listed listed(void)
{
    struct listed l = {0};
    cr_assert_eq(eng_damaged(u.eng, record, &l), 0);
    return l;
}

Test(damage_list, is_listed_until_it_is_overwritten)
{
    struct locator loc;
    uint64_t ino = unit_file(&u, "f", 9000, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, ino, 0, &loc));
    unit_damage(&u, &loc, 100);
    cr_assert_eq(unit_read_error(&u, ino), -EIO);
    cr_assert_eq(unit_read_error(&u, ino), -EIO);
    struct listed l = listed();
    cr_assert_eq(l.n, 1, "once");
    cr_assert_eq(l.last.segment, loc.seg);
    cr_assert_eq(l.last.offset, locator_offset(&loc));
    cr_assert_str_eq(l.last.path, "f");
    cr_assert_gt(unit_problems(&u), 0);
    unit_write(&u, ino, 9000, 2, 0);
    cr_assert_eq(listed().n, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(damage_list, of_an_xattr_is_listed_until_it_is_removed)
{
    static const char value[1000] = "v";
    struct xattr_view view;
    char buf[sizeof value];
    uint64_t ino = unit_create(&u, "f");
    cr_assert_eq(eng_setxattr(u.eng, ino, "user.x", value, sizeof value, 0), 0);
    cr_assert(index_xattr(&u.eng->idx, index_inode(&u.eng->idx, ino)->xattrs, &view));
    unit_damage(&u, &view.loc, 10);
    cr_assert_eq(eng_getxattr(u.eng, ino, "user.x", buf, sizeof buf), -EIO);
    cr_assert_eq(listed().n, 1);
    cr_assert_eq(eng_removexattr(u.eng, ino, "user.x"), 0);
    cr_assert_eq(listed().n, 0);
}

Test(damage_list, a_missing_segment_is_blamed_itself)
{
    struct locator first, second;
    char name[SEGMENT_NAME_SIZE];
    uint64_t ino = unit_file(&u, "f", 40000, 1);
    unit_write(&u, ino, 40000, 2, 40000); /* goes to the next segment */
    cr_assert(unit_locator(&u, ino, 0, &first));
    cr_assert(unit_locator(&u, ino, 1, &second));
    cr_assert_neq(first.seg, second.seg);
    unit_close(&u);
    segment_name(second.seg, name);
    cr_assert_eq(simdisk_remove(u.disk, name), 0);
    unit_open(&u);
    char buf[1000];
    cr_assert_eq(eng_read(u.eng, ino, buf, sizeof buf, 39500), -EIO);
    cr_assert_eq(listed().last.segment, second.seg);
    cr_assert_eq(eng_read(u.eng, ino, buf, sizeof buf, 100), (ssize_t)sizeof buf);
}

/* ---- log lines ------------------------------------------------------------------- */

static unsigned lines;

/* A callback that needs every lock of the engine: a line that came under one would hang it. */
static void call_back(void *arg, enum eng_log_level level, const char *line)
{
    struct eng_stats st;
    (void)level;
    (void)line;
    struct eng *eng = *(struct eng **)arg;
    if (!eng)
        return;
    lines++;
    cr_assert_eq(eng_stats(eng, &st), 0);
    (void)eng_setxattr(eng, ENG_ROOT_INO, "user.seen", "1", 1, 0);
    (void)checkpoint_write(eng);
}

Test(damage_list, log_lines_come_under_no_lock, .timeout = 30)
{
    struct locator loc;
    uint64_t ino = unit_file(&u, "f", 10, 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, ino, 0, &loc));
    unit_close(&u);
    struct eng *eng = NULL;
    struct eng_options opt = u.opt;
    opt.log = call_back;
    opt.log_arg = &eng;
    cr_assert_eq(eng_open(NULL, &opt, &eng, NULL), 0);
    unit_damage(&u, &loc, 1);
    for (int i = 0; i < 8; i++) /* merging the tail meets the damage, under the log lock */
        cr_assert_eq(eng_append(eng, ino, "0123456789", 10, NULL), 10);
    cr_assert_eq(lines, 1);
    simdisk_fail(u.disk, SIM_CREATE, 1, EIO); /* a checkpoint that fails, under ckpt_lock */
    cr_assert_neq(checkpoint_write(eng), 0);
    cr_assert_eq(lines, 2);
    cr_assert_eq(eng_append(eng, ino, "0123456789", 10, NULL), 10);
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    cr_assert_neq(checkpoint_write(eng), 0);
    cr_assert_eq(lines, 4, "the store turned read-only, and the checkpoint failed");
    (void)eng_close(eng);
}
