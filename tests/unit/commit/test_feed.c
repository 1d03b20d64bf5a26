/*
 * test_feed.c - the feed of changes: what each mutation tells, in order and once; a reader that falls behind
 * is told so; positions; waiting, and its end when the store closes. */
#include "hook.h"
#include "inside.h"

#include "tree/content.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <semaphore.h>

static struct unit u;
static struct eng_feed *feed;

static void open_feed(uint64_t bytes)
{
    unit_close(&u);
    u.opt.feed_bytes = bytes;
    unit_open(&u);
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_NOW, &feed), 0);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng));
}

static void setup(void)
{
    unit_new(&u, 0);
    open_feed(0);
}

static void teardown(void)
{
    eng_feed_close(feed);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(feed, .init = setup, .fini = teardown, .timeout = 60);

/* ---- what is told -------------------------------------------------------------------- */

static const char *const kinds[] = {NULL,      "created",    "linked", "unlinked",
                                    "content", "attributes", "fields", "removed"};

/* All that is new, a word or more for each change; `names` are the last digits of inodes. */
static const char *told(void)
{
    static char text[4096];
    struct eng_change c[3];
    size_t at = 0;
    ssize_t n;
    text[0] = 0;
    while ((n = eng_feed_read(feed, c, ARRAY_LEN(c))) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            cr_assert(c[i].kind >= ENG_CHANGE_CREATED && c[i].kind <= ENG_CHANGE_REMOVED);
            cr_assert(c[i].ino && strlen(c[i].name) == c[i].name_len);
            bool named = c[i].kind == ENG_CHANGE_LINKED || c[i].kind == ENG_CHANGE_UNLINKED;
            cr_assert(named ? c[i].parent && c[i].name_len : !c[i].parent && !c[i].moved);
            at += (size_t)snprintf(text + at, sizeof text - at, "%s%s%s%u", at ? " " : "", kinds[c[i].kind],
                                   c[i].moved ? "-moved:" : ":", ino_slot(c[i].ino));
            if (named)
                at += (size_t)snprintf(text + at, sizeof text - at, "=%u/", ino_slot(c[i].parent));
            else if (c[i].name_len)
                at += (size_t)snprintf(text + at, sizeof text - at, "=");
            at += (size_t)snprintf(text + at, sizeof text - at, "%s", c[i].name);
            if (c[i].kind == ENG_CHANGE_ATTRIBUTES)
                at += (size_t)snprintf(text + at, sizeof text - at, "=%x", c[i].mask);
        }
    }
    cr_assert_eq(n, 0);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng));
    return text;
}

#define expect(...) cr_assert_str_eq(told(), __VA_ARGS__)

/* Slots are given in order: 2 is the first. */
Test(feed, content_attributes_and_fields)
{
    static uint8_t large[600000], value[2000];
    expect("");
    uint64_t f = unit_create(&u, "f");
    expect("created:2 linked:2=1/f");
    cr_assert_eq(eng_write(u.eng, f, large, sizeof large, 0), (ssize_t)sizeof large);
    expect("content:2");
    cr_assert_eq(eng_append(u.eng, f, "x", 1, NULL), 1);
    expect("content:2");
    struct eng_attr attr = {.size = 10, .mode = 0600, .uid = 7};
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE | ENG_SET_MODE, NULL), 0);
    expect("content:2 attributes:2=1");
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_UID, NULL), 0);
    expect("attributes:2=2");
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_ZERO_RANGE, 5, 20), 0); /* a hole, and longer */
    expect("content:2");
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_KEEP_SIZE, 0, 5), 0);
    expect("attributes:2=20");
    cr_assert_eq(eng_setxattr(u.eng, f, "user.small", "v", 1, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, f, "user.large", value, sizeof value, 0), 0);
    cr_assert_eq(eng_removexattr(u.eng, f, "user.small"), 0);
    expect("fields:2=user.small fields:2=user.large fields:2=user.small");
    cr_assert_eq(eng_setxattr(u.eng, f, "user.small", "v", 1, ENG_XATTR_REPLACE), -ENODATA);
    expect("");
}

/* Where there is a history each write is told as ever, also where it takes others along; what only comes to
 * another place is not. */
Test(feed, of_a_file_that_has_a_past)
{
    cr_assert_eq(store_set_history(u.eng), 0);
    uint64_t f = unit_create(&u, "f");
    (void)told();
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(eng_append(u.eng, f, "x", 1, NULL), 1);
        expect("content:2");
    }
    cr_assert_gt(unit_extents(&u, f), 1);
    cr_assert_eq(content_gather(u.eng, f, 0, 100), 0);
    cr_assert_eq(unit_extents(&u, f), 1);
    expect("");
}

/* Its attributes go in slices, of which nobody is told. */
Test(feed, a_removed_file_of_many_attributes)
{
    char name[32];
    uint64_t f = unit_create(&u, "f");
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "user.%u", i);
        cr_assert_eq(eng_setxattr(u.eng, f, name, "v", 1, 0), 0);
    }
    (void)told();
    hook_slice(u.eng, 4);
    uint64_t before = eng_position(u.eng);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_gt(eng_position(u.eng), before + 4);
    expect("unlinked:2=1/f removed:2");
}

Test(feed, names)
{
    struct eng_attr attr;
    uint64_t d = unit_mkdir(&u, "d"), f = unit_create(&u, "f");
    expect("created:2 linked:2=1/d created:3 linked:3=1/f");
    cr_assert_eq(eng_create(u.eng, NULL, d, "s", S_IFLNK | 0777, 0, "target", &attr), 0);
    expect("created:4 linked:4=2/s");
    cr_assert_eq(eng_link(u.eng, NULL, f, d, "g", &attr), 0);
    expect("linked:3=2/g");
    cr_assert_eq(eng_unlink(u.eng, d, "g"), 0);
    expect("unlinked:3=2/g");
    cr_assert_eq(eng_unlink(u.eng, d, "s"), 0);
    expect("unlinked:4=2/s");
    cr_assert_eq(eng_sync(u.eng), 0); /* frees what has no name any more */
    expect("removed:4");
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "d", ENG_ROOT_INO, "e", 0), 0);
    expect("unlinked-moved:2=1/d linked-moved:2=1/e");
    cr_assert_eq(eng_rmdir(u.eng, ENG_ROOT_INO, "e"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    expect("unlinked:2=1/e removed:2");
}

Test(feed, a_rename_shows_in_its_batch)
{
    uint64_t d = unit_mkdir(&u, "d");
    (void)unit_create(&u, "a"); /* 3 */
    (void)unit_create(&u, "b"); /* 4 */
    (void)told();
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "a", d, "a2", 0), 0);
    expect("linked-moved:3=2/a2 unlinked-moved:3=1/a");
    cr_assert_eq(eng_rename(u.eng, NULL, d, "a2", ENG_ROOT_INO, "b", ENG_RENAME_EXCHANGE), 0);
    expect("unlinked-moved:4=1/b linked-moved:3=1/b unlinked-moved:3=2/a2 linked-moved:4=2/a2");
    cr_assert_eq(eng_rename(u.eng, NULL, d, "a2", ENG_ROOT_INO, "b", 0), 0); /* over 3 */
    expect("unlinked:3=1/b linked-moved:4=1/b unlinked-moved:4=2/a2");
    cr_assert_eq(commit_orphans(u.eng), 0);
    expect("removed:3");
    cr_assert_eq(eng_rename(u.eng, NULL, ENG_ROOT_INO, "b", d, "c", ENG_RENAME_WHITEOUT), 0);
    expect("linked-moved:4=2/c created:3 unlinked-moved:4=1/b linked:3=1/b");
    cr_assert_eq(eng_rename(u.eng, NULL, d, "c", ENG_ROOT_INO, "b", ENG_RENAME_NOREPLACE), -EEXIST);
    expect("");
}

Test(feed, many_at_once)
{
    const struct eng_xattr_pair pairs[] = {{"user.one", "1", 1}, {"user.two", "2", 1}};
    struct eng_record records[] = {
        {.parent = 1, .name = "a", .content = "aa", .size = 2, .mode = 0600, .xattrs = pairs, .n_xattrs = 2},
        {.parent = 1, .name = "b", .mode = 0600}};
    cr_assert_eq(eng_put_many(u.eng, records, 2), 2);
    expect("created:2 linked:2=1/a content:2 fields:2=user.one fields:2=user.two attributes:2=30 "
           "created:3 linked:3=1/b attributes:3=30");
    uint64_t position = eng_position(u.eng);
    records[0].n_xattrs = 1; /* what goes is named although its name leaves the index with this batch */
    cr_assert_eq(eng_put_many(u.eng, records, 1), 1);
    expect("content:2 fields:2=user.two fields:2=user.one content:2 fields:2=user.one attributes:2=30");
    cr_assert_eq(eng_position(u.eng), position + 1);
}

Test(feed, access_times_have_their_mask)
{
    u.opt.relatime = true;
    eng_feed_close(feed);
    open_feed(0);
    uint64_t f = unit_file(&u, "f", 10, 1);
    (void)told();
    eng_accessed(u.eng, f);
    expect("");
    atimes_flush(u.eng);
    expect("attributes:2=10");
}

Test(feed, batches_have_number_and_time)
{
    struct eng_change c[8];
    int64_t before = now_ns();
    uint64_t first = eng_position(u.eng) + 1;
    (void)unit_create(&u, "a");
    (void)unit_create(&u, "b");
    cr_assert_eq(eng_feed_read(feed, c, 8), 4);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(c[i].position, first + (uint64_t)(i / 2));
        cr_assert(c[i].time >= before && c[i].time <= now_ns());
    }
    cr_assert_eq(c[0].time, c[1].time);
}

Test(feed, what_was_not_written_is_not_told)
{
    struct eng_attr attr;
    simdisk_fail_always(u.disk, SIM_PWRITEV, EIO);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "x", S_IFREG | 0600, 0, NULL, &attr), -EIO);
    simdisk_fail_always(u.disk, SIM_PWRITEV, 0);
    expect("");
    (void)unit_create(&u, "y");
    expect("created:2 linked:2=1/y");
}

static sem_t written, go_on;

static void stop_when_written(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_LOG_WRITTEN)
        return;
    (void)sem_post(&written);
    (void)sem_wait(&go_on);
}

static void *create_x(void *arg)
{
    struct eng_attr attr;
    *(int *)arg = eng_create(u.eng, NULL, ENG_ROOT_INO, "x", S_IFREG | 0600, 0, NULL, &attr);
    return NULL;
}

/* The batch is in the log, and waits for the index, which is being read. */
Test(feed, nothing_is_told_before_it_shows)
{
    pthread_t thread;
    struct eng_change c;
    int r = 1;
    cr_assert(sem_init(&written, 0, 0) == 0 && sem_init(&go_on, 0, 0) == 0);
    hook_set(u.eng, stop_when_written, NULL);
    cr_assert_eq(pthread_create(&thread, NULL, create_x, &r), 0);
    (void)sem_wait(&written);
    pthread_rwlock_rdlock(&u.eng->index_lock);
    (void)sem_post(&go_on);
    cr_assert_eq(eng_feed_wait(feed, 50), -ETIMEDOUT);
    cr_assert_eq(eng_feed_read(feed, &c, 1), 0);
    pthread_rwlock_unlock(&u.eng->index_lock);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(r, 0);
    expect("created:2 linked:2=1/x");
}

Test(feed, compaction_changes_nothing_but_the_position)
{
    for (int i = 0; i < 8; i++) {
        char name[] = {(char)('a' + i), 0};
        unit_file(&u, name, 20000, (uint64_t)i);
        if (i % 2)
            cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    (void)told();
    uint64_t position = eng_position(u.eng);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_gt(unit_stats(&u).relocations, 0);
    cr_assert_gt(eng_position(u.eng), position);
    cr_assert_eq(eng_feed_wait(feed, 0), 0, "there is a new position");
    expect("");
    cr_assert_eq(eng_feed_wait(feed, 0), -ETIMEDOUT);
}

static void create_some(unsigned from, unsigned to)
{
    struct eng_attr attr;
    for (unsigned i = from; i < to; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i);
        cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr), 0);
    }
}

/* ---- positions ------------------------------------------------------------------------- */

Test(feed, a_batch_counts_as_read_when_all_of_it_is)
{
    struct eng_change c;
    uint64_t position = eng_position(u.eng);
    (void)unit_create(&u, "a");
    (void)unit_create(&u, "b");
    cr_assert_eq(eng_feed_read(feed, &c, 0), -EINVAL);
    for (uint64_t i = 0; i < 4; i++) {
        cr_assert_eq(eng_feed_position(feed), position + i / 2);
        cr_assert_eq(eng_feed_read(feed, &c, 1), 1);
        cr_assert_eq(c.position, position + 1 + i / 2);
        cr_assert_eq(eng_feed_wait(feed, 0), i < 3 ? 0 : -ETIMEDOUT);
    }
    cr_assert_eq(eng_feed_position(feed), position + 2);
    cr_assert_eq(eng_feed_read(feed, &c, 1), 0);
}

Test(feed, begins_at_any_position_that_is_known)
{
    struct eng_feed *other = feed;
    uint64_t first = eng_position(u.eng);
    (void)unit_create(&u, "a");
    (void)unit_create(&u, "b");
    cr_assert_eq(eng_feed_open(u.eng, first - 1, &feed), -ESTALE, "before there was a reader");
    cr_assert_eq(eng_feed_open(u.eng, first + 3, &feed), -ESTALE, "in the future");
    cr_assert_eq(eng_feed_open(u.eng, first + 1, &feed), 0);
    expect("created:3 linked:3=1/b");
    eng_feed_close(feed);
    cr_assert_eq(eng_feed_open(u.eng, first, &feed), 0);
    expect("created:2 linked:2=1/a created:3 linked:3=1/b");
    eng_feed_close(feed);
    cr_assert_eq(eng_feed_open(u.eng, first + 2, &feed), 0);
    expect("");
    (void)unit_create(&u, "c");
    expect("created:4 linked:4=1/c");
    eng_feed_close(feed);
    feed = other;
    expect("created:2 linked:2=1/a created:3 linked:3=1/b created:4 linked:4=1/c");
    eng_feed_close(feed); /* the last: nothing is kept any more */
    cr_assert_eq(eng_feed_open(u.eng, first + 2, &feed), -ESTALE);
    cr_assert_eq(eng_feed_open(u.eng, first + 3, &feed), 0);
    (void)unit_create(&u, "d");
    expect("created:5 linked:5=1/d");
}

Test(feed, begins_with_the_oldest_that_is_known)
{
    struct eng_feed *mine = feed;
    (void)unit_create(&u, "a");
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_OLDEST, &feed), 0);
    expect("created:2 linked:2=1/a");
    eng_feed_close(feed);
    eng_feed_close(mine);
    open_feed(4096);
    mine = feed;
    create_some(0, 100); /* 88 bytes each */
    struct eng_change c[2];
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_OLDEST, &feed), 0);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng) - 46);
    cr_assert_eq(eng_feed_read(feed, c, 2), 2, "and no -ESTALE");
    cr_assert_eq(c[0].position, eng_position(u.eng) - 45);
    eng_feed_close(feed);
    feed = mine;
}

/* What a crash leaves of the log, and no change of it: a reader from before goes on where nothing is missing,
 * or is told so. */
Test(feed, is_empty_after_a_crash)
{
    struct eng_caller holder = {.ref = true};
    struct eng_attr attr;
    uint64_t orphan = unit_create(&u, "open");
    cr_assert_eq(eng_lookup(u.eng, &holder, ENG_ROOT_INO, "open", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "open"), 0);
    (void)unit_create(&u, "a");
    cr_assert_eq(eng_sync(u.eng), 0);
    uint64_t durable = unit_stats(&u).durable_seq;
    cr_assert_eq(durable, eng_position(u.eng));
    (void)unit_create(&u, "b");
    (void)unit_create(&u, "c");
    uint64_t last = eng_position(u.eng);
    for (int lost = 0; lost < 2; lost++) {
        struct unit before = u;
        struct eng_feed *other = NULL;
        unit_clone(&u, &before);
        simdisk_process_dies(u.disk);
        if (lost)
            simdisk_power_on(u.disk, SIM_DROP_ALL, 0);
        unit_open(&u);
        uint64_t there = lost ? durable : last;
        cr_assert_eq(eng_position(u.eng), there, "opening itself is no change");
        for (uint64_t since = durable - 2; since < last + 2; since++)
            cr_assert(since == there || eng_feed_open(u.eng, since, &other) == -ESTALE, "since %d of %d",
                      (int)since, (int)there);
        cr_assert_eq(eng_feed_open(u.eng, there, &other), 0);
        struct eng_feed *mine = feed;
        feed = other;
        expect(""); /* neither what was lost nor what was read back */
        uint64_t d = unit_create(&u, "d");
        char text[64];
        (void)snprintf(text, sizeof text, "created:%u linked:%u=1/d removed:%u", ino_slot(d), ino_slot(d),
                       ino_slot(orphan));
        expect(text);
        eng_feed_close(feed);
        feed = mine;
        unit_done(&u);
        u = before;
    }
}

/* ---- falling behind ---------------------------------------------------------------------- */

#define SMALL 4096u

Test(feed, who_falls_behind_is_told_and_goes_on)
{
    struct eng_change c[4];
    eng_feed_close(feed);
    open_feed(SMALL);
    create_some(0, 20);
    cr_assert_eq(eng_feed_read(feed, c, 1), 1);
    create_some(20, 100); /* 88 bytes each */
    cr_assert_eq(eng_feed_wait(feed, 0), 0);
    uint64_t last = c[0].position;
    ssize_t n;
    while ((n = eng_feed_read(feed, c, 4)) > 0) { /* what it had copied already */
        for (ssize_t i = 0; i < n; last = c[i].position, i++)
            cr_assert(c[i].position == last || c[i].position == last + 1);
    }
    cr_assert_eq(n, -ESTALE);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng));
    cr_assert_eq(eng_feed_read(feed, c, 4), 0, "told once");
    (void)unit_create(&u, "x");
    expect("created:102 linked:102=1/x");
}

/* Just as much is overwritten as has been read. */
Test(feed, who_has_read_what_is_overwritten_is_not_behind)
{
    struct eng_change c[2];
    eng_feed_close(feed);
    open_feed(SMALL);
    for (unsigned i = 0; i < 1000; i++) {
        create_some(i, i + 1);
        cr_assert_eq(eng_feed_read(feed, c, 2), 2);
        cr_assert_eq(c[1].name_len, strlen(c[1].name));
        cr_assert_eq(c[1].position, eng_position(u.eng));
    }
    create_some(1000, 1045);
    struct eng_feed *late;
    uint64_t position = eng_position(u.eng);
    cr_assert_eq(eng_feed_open(u.eng, position - 45, &late), 0, "all that a ring of this size can have");
    create_some(1045, 1047);
    cr_assert_eq(eng_feed_read(late, c, 2), -ESTALE);
    cr_assert_eq(eng_feed_read(feed, c, 2), -ESTALE);
    eng_feed_close(late);
    cr_assert_eq(eng_feed_open(u.eng, position - 45, &late), -ESTALE);
}

static void put_files(const char *prefix, unsigned n)
{
    static struct eng_record records[400];
    static char names[400][16];
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(names[i], sizeof names[i], "%s%u", prefix, i);
        records[i] = (struct eng_record){.parent = 1, .name = names[i], .mode = 0600};
    }
    uint64_t position = eng_position(u.eng);
    cr_assert_eq(eng_put_many(u.eng, records, n), n);
    cr_assert_eq(eng_position(u.eng), position + 1);
}

Test(feed, who_is_in_the_middle_of_a_batch_that_goes_is_behind)
{
    struct eng_change c;
    ssize_t n, rest = 0;
    eng_feed_close(feed);
    open_feed(16 * SMALL);
    put_files("m", 300);
    cr_assert_eq(eng_feed_read(feed, &c, 1), 1);
    uint64_t position = eng_feed_position(feed);
    cr_assert_eq(c.position, position + 1);
    create_some(0, 800);
    for (; (n = eng_feed_read(feed, &c, 1)) > 0; rest++) /* what it had copied already */
        cr_assert_eq(c.position, position + 1);
    cr_assert_eq(n, -ESTALE);
    cr_assert_lt(rest, 900);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng));
}

Test(feed, a_batch_that_is_larger_than_the_ring_leaves_all_behind)
{
    struct eng_change c;
    char text[64];
    eng_feed_close(feed);
    open_feed(SMALL);
    put_files("fits", 20);
    cr_assert_eq(eng_feed_read(feed, &c, 1), 1);
    (void)told();
    put_files("larger", 40);
    cr_assert_eq(eng_feed_wait(feed, 0), 0);
    cr_assert_eq(eng_feed_read(feed, &c, 1), -ESTALE);
    cr_assert_eq(eng_feed_position(feed), eng_position(u.eng));
    uint64_t f = unit_create(&u, "x");
    (void)snprintf(text, sizeof text, "created:%u linked:%u=1/x", ino_slot(f), ino_slot(f));
    expect(text);
}

/* Names of every length, so that records end anywhere at the end of the ring. */
Test(feed, records_go_round_the_ring)
{
    struct eng_attr attr;
    struct eng_change c[2];
    char name[ENG_NAME_MAX + 1];
    eng_feed_close(feed);
    open_feed(SMALL + 8 * 13);
    for (unsigned i = 0; i < 4 * ENG_NAME_MAX; i++) {
        size_t len = 1 + i * 7 % ENG_NAME_MAX;
        memset(name, 'a' + (char)(i % 26), len);
        name[len] = 0;
        name[0] = (char)('A' + i / ENG_NAME_MAX);
        cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr), 0);
        if (i % 3)
            continue;
        for (unsigned k = i ? i - 2 : 0; k <= i; k++) {
            cr_assert_eq(eng_feed_read(feed, c, 2), 2);
            cr_assert_eq(c[0].kind, ENG_CHANGE_CREATED);
            cr_assert_eq(c[1].kind, ENG_CHANGE_LINKED);
            cr_assert_eq(c[1].name_len, 1 + k * 7 % ENG_NAME_MAX);
        }
        cr_assert_eq(c[1].ino, attr.ino);
        cr_assert_str_eq(c[1].name, name);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

struct waiting {
    struct eng_feed *feed;
    _Atomic int result; /* 1: waits */
};

static void *waiter(void *arg)
{
    struct waiting *w = arg;
    atomic_store(&w->result, eng_feed_wait(w->feed, -1));
    return NULL;
}

static void begin_waiting(struct waiting *w, pthread_t *ret_thread)
{
    *w = (struct waiting){.feed = feed, .result = 1};
    cr_assert_eq(pthread_create(ret_thread, NULL, waiter, w), 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL); /* it waits by now, or will; both must do */
    cr_assert_eq(atomic_load(&w->result), 1);
}

Test(feed, a_mutation_wakes_who_waits)
{
    pthread_t thread;
    struct waiting w;
    uint64_t t0 = mono_ns();
    cr_assert_eq(eng_feed_wait(feed, 0), -ETIMEDOUT);
    cr_assert_eq(eng_feed_wait(feed, 30), -ETIMEDOUT);
    cr_assert_geq(mono_ns() - t0, 30000000);
    begin_waiting(&w, &thread);
    (void)unit_create(&u, "a");
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(w.result, 0);
    expect("created:2 linked:2=1/a");
}

Test(feed, a_shut_feed_ends_waiting_and_is_read_to_its_end)
{
    pthread_t thread;
    struct waiting w;
    struct eng_change c[4];
    begin_waiting(&w, &thread);
    eng_feed_shutdown(u.eng);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(w.result, -ESHUTDOWN);
    cr_assert_eq(eng_feed_read(feed, c, 4), -ESHUTDOWN);
    struct eng_feed *late;
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_NOW, &late), -ESHUTDOWN);
    (void)unit_create(&u, "a");
    cr_assert_eq(eng_feed_wait(feed, -1), 0);
    cr_assert_eq(eng_feed_read(feed, c, 4), 2);
    cr_assert_eq(eng_feed_wait(feed, -1), -ESHUTDOWN);
    cr_assert_eq(eng_feed_read(feed, c, 4), -ESHUTDOWN);
}

Test(feed, closing_the_store_ends_waiting)
{
    pthread_t thread;
    struct waiting w;
    struct eng_change c[4];
    uint64_t f = unit_create(&u, "a");
    struct eng_caller holder = {.ref = true};
    struct eng_attr attr;
    cr_assert_eq(eng_lookup(u.eng, &holder, ENG_ROOT_INO, "a", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "a"), 0);
    (void)told();
    cr_assert_eq(eng_forget(u.eng, f, 1), 0); /* freed when the store closes */
    uint64_t position = eng_position(u.eng);
    begin_waiting(&w, &thread);
    unit_close(&u);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert(w.result == -ESHUTDOWN || w.result == 0);
    cr_assert_eq(eng_feed_read(feed, c, 4), 1, "what closing changed");
    cr_assert_eq(c[0].kind, ENG_CHANGE_REMOVED);
    cr_assert_eq(c[0].ino, f);
    cr_assert_eq(eng_feed_position(feed), position + 1);
    cr_assert_eq(eng_feed_read(feed, c, 4), -ESHUTDOWN);
    cr_assert_eq(eng_feed_wait(feed, -1), -ESHUTDOWN);
    unit_open(&u);
    cr_assert_eq(eng_position(u.eng), position + 1);
}

Test(feed, a_read_only_store_has_one_that_is_empty)
{
    struct eng_change c;
    eng_feed_close(feed);
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(eng_feed_open(u.eng, eng_position(u.eng), &feed), 0);
    cr_assert_eq(eng_feed_read(feed, &c, 1), 0);
    cr_assert_eq(eng_feed_wait(feed, 1), -ETIMEDOUT);
}
