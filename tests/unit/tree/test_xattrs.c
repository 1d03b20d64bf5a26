/*
 * test_xattrs.c - extended attributes: values in the index and in the arena,
 * flags, limits and lists. */
#include "hook.h"
#include "inside.h"

#include "one_file.h"

#include <criterion/criterion.h>

static void sound_teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    teardown();
}

TestSuite(xattrs, .init = setup, .fini = sound_teardown);

static void set(const char *name, size_t size, uint64_t seed)
{
    uint8_t *value = unit_bytes(size, seed);
    cr_assert_eq(eng_setxattr(u.eng, f, name, value, size, 0), 0);
    free(value);
}

static bool is(const char *name, size_t size, uint64_t seed)
{
    uint8_t *value = unit_bytes(size, seed), *back = malloc(ENG_XATTR_SIZE_MAX);
    ssize_t n = eng_getxattr(u.eng, f, name, back, ENG_XATTR_SIZE_MAX);
    bool same = n == (ssize_t)size && memcmp(value, back, size) == 0;
    free(value);
    free(back);
    return same;
}

static const size_t sizes[] = {0, 1, 63, 64, 65, 3072, 4096, 4097, 65535, 65536};

Test(xattrs, values_of_all_sizes_come_back)
{
    uint64_t live = 0;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "user.%zu", i);
        set(name, sizes[i], i);
        live += sizes[i] > XATTR_INLINE_MAX ? sizes[i] : 0;
    }
    cr_assert_eq(unit_stats(&u).live_bytes, live, "large values are in the arena, small ones are not");
    cr_assert_eq(unit_attr(&u, f).bytes, 0, "and none is content");
    for (int pass = 0; pass < 4; pass++) {
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            char name[16], small[2];
            (void)snprintf(name, sizeof(name), "user.%zu", i);
            cr_assert(is(name, sizes[i], i), "%s in pass %d", name, pass);
            cr_assert_eq(eng_getxattr(u.eng, f, name, NULL, 0), (ssize_t)sizes[i], "asked for the length");
            if (sizes[i] > 2)
                cr_assert_eq(eng_getxattr(u.eng, f, name, small, 2), -ERANGE);
        }
        if (pass == 0) {
            unit_kill(&u, SIM_KEEP_ALL, 0);
            unit_open(&u);
        } else if (pass == 1) {
            unit_reopen(&u);
        } else {
            cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
        }
    }
}

Test(xattrs, replacing_and_removing_leaves_garbage_only)
{
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t j = 0; j < ARRAY_LEN(sizes); j++) {
            set("user.before", 10, 1);
            set("user.x", sizes[i], 2);
            set("user.after", 100, 3);
            set("user.x", sizes[j], 4);
            cr_assert(is("user.x", sizes[j], 4), "%zu after %zu", sizes[j], sizes[i]);
            cr_assert(is("user.before", 10, 1) && is("user.after", 100, 3));
            cr_assert_eq(unit_stats(&u).live_bytes, 100 + (sizes[j] > XATTR_INLINE_MAX ? sizes[j] : 0));
            cr_assert_eq(eng_removexattr(u.eng, f, "user.x"), 0);
            cr_assert_eq(eng_removexattr(u.eng, f, "user.x"), -ENODATA);
            cr_assert_eq(eng_getxattr(u.eng, f, "user.x", NULL, 0), -ENODATA);
        }
    }
    cr_assert_eq(eng_unlink(u.eng, 1, "f"), 0);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
}

Test(xattrs, flags_and_limits)
{
    static char big[ENG_XATTR_SIZE_MAX + 1], n256[257];
    memset(n256, 'n', 256);
    set("user.there", 1, 1);
    struct eng_attr before = unit_attr(&u, f);
    const struct {
        const char *name;
        size_t size;
        unsigned flags;
        int expect;
    } cases[] = {{"user.there", 1, ENG_XATTR_CREATE, -EEXIST},
                 {"user.new", 1, ENG_XATTR_REPLACE, -ENODATA},
                 {"user.new", 1, 4, -EINVAL},
                 {"", 1, 0, -ERANGE},
                 {n256, 1, 0, -ERANGE},
                 {"user.new", sizeof(big), 0, -E2BIG},
                 {"user.new", sizeof(big), ENG_XATTR_REPLACE, -E2BIG}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(eng_setxattr(u.eng, f, cases[i].name, big, cases[i].size, cases[i].flags),
                     cases[i].expect, "case %zu", i);
    struct eng_attr after = unit_attr(&u, f);
    cr_assert_eq(memcmp(&before, &after, sizeof(after)), 0, "what is refused changes nothing");
    cr_assert_eq(eng_setxattr(u.eng, f, "user.new", big, 1, ENG_XATTR_CREATE), 0);
    cr_assert_eq(eng_setxattr(u.eng, f, "user.new", big, 70, ENG_XATTR_REPLACE), 0);
    cr_assert_eq(eng_setxattr(u.eng, f, n256 + 1, big, 1, 0), 0, "255 bytes of name");
    after = unit_attr(&u, f);
    cr_assert_gt(after.ctime, before.ctime);
    cr_assert(after.mtime == before.mtime && after.version == before.version, "content is another matter");
    cr_assert_eq(eng_setxattr(u.eng, f + 9, "user.x", "v", 1, 0), -ESTALE);
    cr_assert_eq(eng_getxattr(u.eng, f + 9, "user.x", big, 1), -ESTALE);
    cr_assert_eq(eng_removexattr(u.eng, f + 9, "user.x"), -ESTALE);
    cr_assert_eq(eng_listxattr(u.eng, f + 9, big, 1), -ESTALE);
    cr_assert_eq(eng_setxattr(u.eng, ENG_ROOT_INO, "user.x", "v", 1, 0), 0, "directories have them too");
}

Test(xattrs, the_list_names_each_once)
{
    char list[64];
    static const char *const names[] = {"user.a", "user.b", "trusted.c"};
    cr_assert_eq(eng_listxattr(u.eng, f, list, sizeof(list)), 0);
    cr_assert_eq(eng_listxattr(u.eng, f, NULL, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        set(names[i], 70, i);
        set(names[i], 7, i);
    }
    cr_assert_eq(eng_listxattr(u.eng, f, NULL, 0), 24);
    cr_assert_eq(eng_listxattr(u.eng, f, list, 23), -ERANGE);
    cr_assert_eq(eng_listxattr(u.eng, f, list, 24), 24);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        unsigned found = 0;
        for (size_t at = 0; at < 24; at += strlen(list + at) + 1)
            found += strcmp(list + at, names[i]) == 0;
        cr_assert_eq(found, 1, "%s", names[i]);
    }
}

Test(xattrs, the_list_has_a_limit)
{
    unsigned n = 0;
    char name[256];
    int r = 0;
    memset(name, 'n', 255);
    name[255] = 0;
    while (r == 0) {
        (void)snprintf(name, 5, "%04u", n);
        name[4] = 'n';
        r = eng_setxattr(u.eng, f, name, "v", 1, 0);
        n += r == 0;
    }
    cr_assert_eq(r, -ENOSPC);
    cr_assert_eq(n, ENG_XATTR_LIST_MAX / 256);
    cr_assert_eq(eng_listxattr(u.eng, f, NULL, 0), ENG_XATTR_LIST_MAX);
    (void)snprintf(name, 5, "%04u", 3);
    name[4] = 'n';
    cr_assert_eq(eng_setxattr(u.eng, f, name, "w", 1, 0), 0, "one that is there may change");
    cr_assert_eq(eng_removexattr(u.eng, f, name), 0);
    cr_assert_eq(eng_setxattr(u.eng, f, name, "w", 1, 0), 0);
    unit_reopen(&u);
    cr_assert_eq(eng_listxattr(u.eng, f, NULL, 0), ENG_XATTR_LIST_MAX);
}

static void replace_and_compact(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_COPIED)
        return;
    hook_set(u.eng, NULL, NULL);
    set("user.big", 3000, 9);
}

Test(xattrs, one_replaced_while_it_is_moved_keeps_the_new_value)
{
    struct eng_job_report rep;
    set("user.big", 3000, 1);
    set("user.other", 3000, 2);
    set("user.garbage", 3000, 3);
    cr_assert_eq(eng_removexattr(u.eng, f, "user.garbage"), 0);
    hook_set(u.eng, replace_and_compact, NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_lost, 1);
    cr_assert(is("user.big", 3000, 9) && is("user.other", 3000, 2));
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(is("user.big", 3000, 9) && is("user.other", 3000, 2));
}

Test(xattrs, damage_is_eio_and_counted_once)
{
    struct xattr_view view;
    set("user.big", 3000, 1);
    const struct inode_rec *inode = index_inode(&u.eng->idx, f);
    cr_assert(index_xattr(&u.eng->idx, inode->xattrs, &view));
    unit_damage(&u, &view.loc, 2999);
    char back[3000];
    cr_assert_eq(eng_getxattr(u.eng, f, "user.big", back, sizeof(back)), -EIO);
    cr_assert_eq(eng_getxattr(u.eng, f, "user.big", back, sizeof(back)), -EIO);
    cr_assert_eq(eng_getxattr(u.eng, f, "user.big", NULL, 0), 3000, "its length is known");
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
    unit_damage(&u, &view.loc, 2999);
    set("user.big", 10, 1);
    unit_reopen(&u);
}

/* ---- what nobody waits for -------------------------------------------------------------- */

static const struct eng_io_ops *disk_ops;
static unsigned opened, opened_under_lock;

static int watched_open(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    uint32_t id;
    if (u.eng && segment_parse_name(name, &id) == 0) {
        bool is_free = pthread_rwlock_trywrlock(&u.eng->index_lock) == 0;
        opened++;
        opened_under_lock += !is_free;
        if (is_free)
            pthread_rwlock_unlock(&u.eng->index_lock);
    }
    return disk_ops->open(io, name, flags, ret_file);
}

Test(xattrs, a_file_is_opened_without_the_lock_of_the_index)
{
    struct eng_io *io = simdisk_io(u.disk);
    static struct eng_io_ops ops;
    disk_ops = io->ops;
    ops = *disk_ops;
    ops.open = watched_open;
    set("user.x", 3000, 1);
    for (int i = 0; i < 4; i++) /* its segment is not the active one any more */
        unit_file(&u, (char[]){(char)('a' + i), 0}, 40000, (uint64_t)i);
    unit_reopen(&u);
    io->ops = &ops;
    u.eng->segments.open_max = 1;
    for (int i = 0; i < 3; i++) {
        cr_assert(is("user.x", 3000, 1));
        cr_assert(unit_holds(&u, unit_lookup(&u, "b"), 40000, 1)); /* drives it out */
        cr_assert(unit_holds(&u, unit_lookup(&u, "c"), 40000, 2));
    }
    io->ops = disk_ops;
    cr_assert_geq(opened, 6);
    cr_assert_eq(opened_under_lock, 0);
}
