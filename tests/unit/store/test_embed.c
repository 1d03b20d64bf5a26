/*
 * test_embed.c - what an embedder may rely on: structs may grow, older and newer than the engine, and no NULL
 * crashes it. */
#include "admin.h"

#include "one_store.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

TestSuite(embed, .init = setup, .fini = teardown);

enum { CANARY = 0xa5, ROOM = 16384 };
static unsigned char *room; /* a struct of the program, with canaries behind it */

static void *fresh(void)
{
    free(room);
    room = malloc(ROOM);
    cr_assert_not_null(room);
    memset(room, CANARY, ROOM);
    return room;
}

/* The first `known` bytes are those of the engine, zeros follow up to `size`, and nothing is touched behind.
 */
static void sized_right(const void *whole, size_t known, size_t size)
{
    size_t common = size < known ? size : known;
    cr_assert(!memcmp(room, whole, common), "of %zu bytes", size);
    for (size_t i = common; i < size; i++)
        cr_assert_eq(room[i], 0, "byte %zu of %zu", i, size);
    for (size_t i = size; i < ROOM; i++)
        cr_assert_eq(room[i], CANARY, "byte %zu behind %zu", i, size);
}

static size_t size_at(size_t i, size_t known)
{
    const size_t sizes[] = {1, 8, known / 2, known - 1, known, known + 1, known + 512};
    return i < sizeof sizes / sizeof *sizes ? sizes[i] : 0;
}

Test(embed, stats_of_any_size)
{
    struct eng_stats whole;
    size_t size;
    unit_file(&u, "f", 1000, 1);
    cr_assert_eq(eng_stats(u.eng, &whole), 0);
    cr_assert_eq(whole.live_bytes, 1000);
    for (size_t i = 0; (size = size_at(i, sizeof whole)); i++) {
        cr_assert_eq(eng_stats_sized(u.eng, fresh(), size), 0);
        sized_right(&whole, sizeof whole, size);
    }
    cr_assert_eq(eng_stats_sized(u.eng, fresh(), 0), -EINVAL);
    sized_right(&whole, sizeof whole, 0);
}

Test(embed, space_of_any_size)
{
    struct eng_space whole;
    size_t size;
    cr_assert_lt(sizeof whole + 512, ROOM);
    unit_file(&u, "f", 1000, 1);
    cr_assert_eq(eng_space(u.eng, &whole), 0);
    for (size_t i = 0; (size = size_at(i, sizeof whole)); i++) {
        cr_assert_eq(eng_space_sized(u.eng, fresh(), size), 0);
        sized_right(&whole, sizeof whole, size);
    }
    cr_assert_eq(eng_space_sized(u.eng, fresh(), 0), -EINVAL);
    sized_right(&whole, sizeof whole, 0);
}

Test(embed, statfs_of_any_size)
{
    struct eng_statfs whole;
    size_t size;
    cr_assert_eq(eng_statfs(u.eng, &whole), 0);
    for (size_t i = 0; (size = size_at(i, sizeof whole)); i++) {
        cr_assert_eq(eng_statfs_sized(u.eng, fresh(), size), 0);
        sized_right(&whole, sizeof whole, size);
    }
    cr_assert_eq(eng_statfs_sized(u.eng, fresh(), 0), -EINVAL);
    sized_right(&whole, sizeof whole, 0);
}

Test(embed, reports_of_any_size)
{
    struct eng_job_report whole;
    struct eng_maintenance_report maintenance;
    size_t size;
    unit_file(&u, "f", 1000, 1);
    for (size_t i = 0; (size = size_at(i, sizeof whole)); i++) {
        cr_assert_eq(eng_job_run_sized(u.eng, ENG_JOB_CHECK, NULL, 0, fresh(), size), 0);
        cr_assert_eq(eng_job_status(u.eng, ENG_JOB_CHECK, &whole), 0);
        sized_right(&whole, sizeof whole, size);
        cr_assert_eq(eng_job_status_sized(u.eng, ENG_JOB_CHECK, fresh(), size), 0);
        sized_right(&whole, sizeof whole, size);
    }
    cr_assert_eq(eng_job_status_sized(u.eng, ENG_JOB_CHECK, fresh(), 0), -EINVAL);
    sized_right(&whole, sizeof whole, 0);
    cr_assert_eq(eng_run_maintenance(u.eng, &maintenance), 0);
    for (size_t i = 0; (size = size_at(i, sizeof maintenance)); i++) {
        cr_assert_eq(eng_run_maintenance_sized(u.eng, fresh(), size), 0);
        sized_right(&maintenance, sizeof maintenance, size);
    }
}

Test(embed, job_options_of_any_size)
{
    struct {
        struct eng_job_options opt;
        unsigned char newer[8];
    } more = {0};
    more.newer[3] = 1;
    for (size_t size = 0; size <= sizeof more; size++) {
        int expected = size > sizeof more.opt + 3 ? -EINVAL : 0;
        cr_expect_eq(eng_job_run_sized(u.eng, ENG_JOB_CHECK, &more.opt, size, NULL, 0), expected, "%zu",
                     size);
        cr_expect_eq(eng_job_start_sized(u.eng, ENG_JOB_CHECK, &more.opt, size, NULL, NULL), expected, "%zu",
                     size);
    }
}

/* ---- options ---------------------------------------------------------------------------- */

static int reopen(const void *opt, size_t size)
{
    if (u.eng)
        cr_assert_eq(eng_close(u.eng), 0);
    u.eng = NULL;
    memset(u.why, 'x', sizeof u.why);
    int r = eng_open_sized("", opt, size, &u.eng, u.why);
    cr_assert(!r || !u.eng, "untouched on failure");
    return r;
}

Test(embed, options_of_an_older_program)
{
    /* What lies behind the size that the program gives must not be looked at: nonsense. */
    struct eng_options opt;
    memset(&opt, 0xff, sizeof opt);
    memcpy(&opt, &u.opt, offsetof(struct eng_options, log));
    cr_assert_eq(reopen(&opt, offsetof(struct eng_options, log)), 0, "%s", u.why);
    unit_file(&u, "f", 10, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

Test(embed, options_of_which_only_the_first_are_known)
{
    char dir[] = "/tmp/engramfs-embed.XXXXXX";
    struct eng *eng = NULL;
    struct eng_options opt;
    memset(&opt, 0xff, sizeof opt);
    opt.read_only = opt.snapshot = opt.salvage = false;
    opt.must_exist = true;
    cr_assert_not_null(mkdtemp(dir));
    size_t size = offsetof(struct eng_options, must_exist) + sizeof opt.must_exist;
    cr_expect_eq(eng_open_sized(dir, &opt, size, &eng, u.why), -ENOENT);
    opt.must_exist = false;
    cr_expect_eq(eng_open_sized(dir, &opt, size, &eng, u.why), 0, "%s", u.why);
    cr_expect_eq(eng_close(eng), 0);
    eng = NULL;
    cr_expect_eq(eng_open_sized(dir, NULL, 0, &eng, u.why), 0, "all defaults");
    cr_expect_eq(eng_close(eng), 0);
    eng = NULL;
    cr_expect_eq(eng_open_sized(dir, &opt, 0, &eng, u.why), 0, "all defaults as well");
    cr_expect_eq(eng_close(eng), 0);
    cr_expect_eq(nftw(dir, remove_one, 4, FTW_DEPTH | FTW_PHYS), 0);
}

Test(embed, options_of_a_newer_program)
{
    struct {
        struct eng_options opt;
        unsigned char newer[64];
    } more = {.opt = u.opt};
    cr_assert_eq(reopen(&more, sizeof more), 0, "%s", u.why);
    for (size_t i = 0; i < sizeof more.newer; i += 21) {
        memset(more.newer, 0, sizeof more.newer);
        more.newer[i] = 1;
        cr_assert_eq(reopen(&more, sizeof more), -EINVAL);
        cr_assert_not_null(strstr(u.why, ENG_VERSION), "%s", u.why);
        cr_assert_null(strchr(u.why, '\n'));
    }
    cr_assert_eq(eng_open_sized("", (void *)&more, sizeof more, &u.eng, NULL), -EINVAL);
    cr_assert_eq(reopen(&u.opt, sizeof u.opt), 0, "%s", u.why);
}

Test(embed, opening_with_null)
{
    struct eng *other = NULL;
    struct eng_options plain = {.no_background = true};
    cr_expect_eq(eng_open(NULL, NULL, &other, NULL), -EINVAL);
    cr_expect_eq(eng_open(NULL, &plain, &other, u.why), -EINVAL);
    cr_expect(*u.why && !other);
    cr_expect_eq(eng_open("/", &plain, NULL, u.why), -EINVAL);
    cr_expect_eq(eng_close(u.eng), 0);
    u.eng = NULL;
    cr_expect_eq(eng_open(NULL, &u.opt, &u.eng, NULL), 0, "with an io no path is needed");
    cr_expect_eq(eng_close(NULL), 0);
}

/* ---- NULL ------------------------------------------------------------------------------- */

static const struct eng_caller who = {.uid = 1, .gid = 2};
static struct eng_attr attr;

Test(embed, names_without_null)
{
    struct eng *e = u.eng;
    cr_expect_eq(eng_lookup(e, NULL, 1, ".", &attr), 0, "a caller may be NULL");
    cr_expect_eq(eng_lookup(e, &who, 1, NULL, &attr), -EINVAL);
    cr_expect_eq(eng_lookup(e, &who, 1, ".", NULL), -EINVAL);
    cr_expect_eq(eng_getattr(e, 1, NULL), -EINVAL);
    cr_expect_eq(eng_create(e, NULL, 1, "f", S_IFREG | 0600, 0, NULL, NULL), 0);
    cr_expect_eq(eng_create(e, NULL, 1, NULL, S_IFREG | 0600, 0, NULL, &attr), -EINVAL);
    cr_expect_eq(eng_create(e, NULL, 1, "s", S_IFLNK | 0777, 0, NULL, &attr), -ENOENT);
    cr_expect_eq(eng_lookup(e, &who, 1, "f", &attr), 0);
    cr_expect_eq(eng_link(e, NULL, attr.ino, 1, "g", NULL), 0);
    cr_expect_eq(eng_link(e, NULL, attr.ino, 1, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_rename(e, NULL, 1, "g", 1, NULL, 0), -EINVAL);
    cr_expect_eq(eng_rename(e, NULL, 1, NULL, 1, "h", 0), -EINVAL);
    cr_expect_eq(eng_rename(e, NULL, 1, "g", 1, "h", ENG_RENAME_WHITEOUT), 0);
    cr_expect_eq(eng_unlink(e, 1, NULL), -EINVAL);
    cr_expect_eq(eng_rmdir(e, 1, NULL), -EINVAL);
    cr_expect_eq(eng_readdir(e, NULL, 1, 0, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_create(e, NULL, 1, "s", S_IFLNK | 0777, 0, "f", &attr), 0);
    cr_expect_eq(eng_readlink(e, attr.ino, NULL, 10), -EINVAL);
    cr_expect_eq(eng_readlink(e, attr.ino, NULL, 0), -ERANGE);
}

Test(embed, attributes_without_null)
{
    struct eng *e = u.eng;
    uint64_t f = unit_file(&u, "f", 100, 1);
    cr_expect_eq(eng_setattr(e, f, NULL, 0, NULL), -EINVAL);
    cr_expect_eq(eng_setattr(e, f, NULL, ENG_SET_MODE, &attr), -EINVAL);
    cr_assert_eq(eng_getattr(e, f, &attr), 0);
    cr_expect_eq(eng_setattr(e, f, &attr, ENG_SET_MTIME_NOW, NULL), 0);
    for (unsigned bit = ENG_SET_MTIME_NOW << 1; bit; bit <<= 1)
        cr_expect_eq(eng_setattr(e, f, &attr, bit | ENG_SET_MODE, NULL), -EINVAL, "bit %x", bit);
    for (unsigned bit = 1; bit <= ENG_SET_MTIME_NOW; bit <<= 1)
        cr_expect_eq(eng_setattr(e, f, &attr, bit, NULL), 0, "bit %x", bit);
    cr_expect_eq(eng_setxattr(e, f, NULL, "v", 1, 0), -EINVAL);
    cr_expect_eq(eng_setxattr(e, f, "user.a", NULL, 1, 0), -EINVAL);
    cr_expect_eq(eng_setxattr(e, f, "user.a", NULL, 0, 0), 0);
    cr_expect_eq(eng_getxattr(e, f, NULL, NULL, 0), -EINVAL);
    cr_expect_eq(eng_getxattr(e, f, "user.a", NULL, 5), -EINVAL);
    cr_expect_eq(eng_getxattr(e, f, "user.a", NULL, 0), 0);
    cr_expect_eq(eng_listxattr(e, f, NULL, 5), -EINVAL);
    cr_expect_eq(eng_listxattr(e, f, NULL, 0), 7);
    cr_expect_eq(eng_removexattr(e, f, NULL), -EINVAL);
}

Test(embed, content_without_null)
{
    struct eng *e = u.eng;
    uint64_t f = unit_file(&u, "f", 100, 1);
    struct eng_xattr_pair pair = {.name = "user.a", .value = NULL, .size = 1};
    struct eng_record record = {.parent = 1, .name = "r", .content = NULL, .size = 1, .mode = 0600};
    cr_expect_eq(eng_read(e, f, NULL, 1, 0), -EINVAL);
    cr_expect_eq(eng_read(e, f, NULL, 0, 0), 0);
    cr_expect_eq(eng_write(e, f, NULL, 1, 0), -EINVAL);
    cr_expect_eq(eng_write(e, f, NULL, 0, 0), 0);
    cr_expect_eq(eng_append(e, f, NULL, 1, NULL), -EINVAL);
    cr_expect_eq(eng_append(e, f, "x", 1, NULL), 1);
    cr_expect_eq(eng_seek(e, f, 0, 3, NULL), -EINVAL);
    uint64_t looks = 1;
    cr_expect_eq(eng_seek_some(e, f, 0, 3, NULL, &looks), -EINVAL);
    cr_expect_eq(eng_seek_some(e, f, 0, 3, &looks, NULL), -EINVAL);
    cr_expect_eq(eng_content_hash(e, f, NULL), -EINVAL);
    cr_expect_eq(eng_put_many(e, NULL, 1), -EINVAL);
    cr_expect_eq(eng_put_many(e, NULL, 0), 0);
    cr_expect_eq(eng_put_many(e, &record, 1), -EINVAL);
    record.size = 0;
    record.n_xattrs = 1;
    cr_expect_eq(eng_put_many(e, &record, 1), -EINVAL);
    record.xattrs = &pair;
    cr_expect_eq(eng_put_many(e, &record, 1), -EINVAL);
    pair = (struct eng_xattr_pair){.value = "v", .size = 1};
    cr_expect_eq(eng_put_many(e, &record, 1), -EINVAL);
    pair.name = "user.a";
    cr_expect_eq(eng_put_many(e, &record, 1), 1);
    record.name = NULL;
    cr_expect_eq(eng_put_many(e, &record, 1), -EINVAL);
    cr_expect_eq(unit_problems(&u), 0);
}

Test(embed, administration_without_null)
{
    struct eng *e = u.eng;
    cr_expect_eq(eng_stats(e, NULL), -EINVAL);
    cr_expect_eq(eng_statfs(e, NULL), -EINVAL);
    cr_expect_eq(eng_space(e, NULL), -EINVAL);
    cr_expect_eq(eng_space_kinds(NULL), 0);
    cr_expect_eq(eng_segments(e, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_files(e, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_damaged(e, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_lost(e, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_config_each(e, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_config_set(e, NULL, "1"), -EINVAL);
    cr_expect_eq(eng_config_set(e, "commit_ms", NULL), -EINVAL);
    for (int job = 0; job < ENG_JOBS; job++) {
        cr_expect_eq(eng_job_run(e, job, NULL, NULL), 0);
        cr_expect_eq(eng_job_start(e, job, NULL, NULL, NULL), 0);
        cr_expect_eq(eng_job_wait(e, job, NULL, NULL), 0);
        cr_expect_eq(eng_job_status(e, job, NULL), -EINVAL);
    }
    cr_expect_eq(eng_job_run(e, ENG_JOBS, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_compact_estimate(e, NULL), -EINVAL);
    cr_expect_eq(eng_run_maintenance(e, NULL), 0);
    cr_expect_eq(eng_maintenance_start(e, NULL, NULL), 0);
    cr_expect_eq(eng_dump(NULL, NULL, 1, false, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_dump("/nowhere", NULL, 1, false, NULL, NULL), -EINVAL);
}

Test(embed, no_store)
{
    struct eng_stats stats;
    struct eng_statfs st;
    struct eng_space space;
    struct eng_job_report report;
    struct eng_compact_estimate estimate;
    uint64_t n = 1;
    char buf[8];
    cr_expect_eq(eng_sync(NULL), -EINVAL);
    cr_expect_eq(eng_fsync(NULL, 1), -EINVAL);
    cr_expect_eq(eng_lookup(NULL, NULL, 1, "f", &attr), -EINVAL);
    cr_expect_eq(eng_forget(NULL, 1, 1), -EINVAL);
    cr_expect_eq(eng_getattr(NULL, 1, &attr), -EINVAL);
    eng_accessed(NULL, 1);
    cr_expect_eq(eng_setattr(NULL, 1, &attr, 0, NULL), -EINVAL);
    cr_expect_eq(eng_create(NULL, NULL, 1, "f", S_IFREG, 0, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_link(NULL, NULL, 2, 1, "f", NULL), -EINVAL);
    cr_expect_eq(eng_unlink(NULL, 1, "f"), -EINVAL);
    cr_expect_eq(eng_rmdir(NULL, 1, "f"), -EINVAL);
    cr_expect_eq(eng_rename(NULL, NULL, 1, "f", 1, "g", 0), -EINVAL);
    cr_expect_eq(eng_readlink(NULL, 1, buf, sizeof buf), -EINVAL);
    cr_expect_eq(eng_dir_mark(NULL), 0);
    cr_expect_eq(eng_read(NULL, 1, buf, 1, 0), -EINVAL);
    cr_expect_eq(eng_write(NULL, 1, buf, 1, 0), -EINVAL);
    cr_expect_eq(eng_append(NULL, 1, buf, 1, NULL), -EINVAL);
    cr_expect_eq(eng_fallocate(NULL, 1, 0, 0, 1), -EINVAL);
    cr_expect_eq(eng_seek(NULL, 1, 0, 3, &n), -EINVAL);
    cr_expect_eq(eng_seek_some(NULL, 1, 0, 3, &n, &n), -EINVAL);
    cr_expect_eq(eng_content_hash(NULL, 1, &n), -EINVAL);
    cr_expect_eq(eng_setxattr(NULL, 1, "a", "v", 1, 0), -EINVAL);
    cr_expect_eq(eng_getxattr(NULL, 1, "a", buf, 1), -EINVAL);
    cr_expect_eq(eng_listxattr(NULL, 1, buf, 1), -EINVAL);
    cr_expect_eq(eng_removexattr(NULL, 1, "a"), -EINVAL);
    cr_expect_eq(eng_put_many(NULL, NULL, 0), -EINVAL);
    cr_expect_eq(eng_stats(NULL, &stats), -EINVAL);
    cr_expect_eq(eng_statfs(NULL, &st), -EINVAL);
    cr_expect_eq(eng_space(NULL, &space), -EINVAL);
    cr_expect_eq(eng_job_start(NULL, ENG_JOB_SCRUB, NULL, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_job_run(NULL, ENG_JOB_SCRUB, NULL, &report), -EINVAL);
    cr_expect_eq(eng_job_wait(NULL, ENG_JOB_SCRUB, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_job_pause(NULL, ENG_JOB_SCRUB), -EINVAL);
    cr_expect_eq(eng_job_resume(NULL, ENG_JOB_SCRUB), -EINVAL);
    cr_expect_eq(eng_job_cancel(NULL, ENG_JOB_SCRUB), -EINVAL);
    cr_expect_eq(eng_job_rate(NULL, ENG_JOB_SCRUB, 1), -EINVAL);
    cr_expect_eq(eng_job_status(NULL, ENG_JOB_SCRUB, &report), -EINVAL);
    cr_expect_eq(eng_compact_estimate(NULL, &estimate), -EINVAL);
    cr_expect_eq(eng_run_maintenance(NULL, NULL), -EINVAL);
    cr_expect_eq(eng_maintenance_start(NULL, NULL, NULL), -EINVAL);
    cr_expect_eq(eng_tick(NULL), -EINVAL);
}

Test(embed, feed_without_null)
{
    struct eng_change change;
    struct eng_feed *feed = NULL;
    cr_expect_eq(eng_position(NULL), 0);
    cr_expect_eq(eng_feed_open(NULL, ENG_FEED_NOW, &feed), -EINVAL);
    cr_expect_eq(eng_feed_open(u.eng, ENG_FEED_NOW, NULL), -EINVAL);
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_NOW, &feed), 0);
    cr_expect_eq(eng_feed_read(NULL, &change, 1), -EINVAL);
    cr_expect_eq(eng_feed_read(feed, NULL, 1), -EINVAL);
    cr_expect_eq(eng_feed_read(feed, &change, 1), 0);
    cr_expect_eq(eng_feed_wait(NULL, 0), -EINVAL);
    cr_expect_eq(eng_feed_position(NULL), 0);
    eng_feed_shutdown(NULL);
    eng_feed_close(feed);
    eng_feed_close(NULL);
    cr_expect_eq(eng_config_set(NULL, "commit_ms", "1"), -EINVAL);
    cr_expect_eq(eng_config_reload(NULL), -EINVAL);
    cr_expect_eq(eng_hold(NULL), -EINVAL);
    cr_expect_eq(eng_release(NULL), -EINVAL);
}
