/*
 * test_full_disk.c - a full disk degrades, it does not stop: a writer waits for what its own change needs,
 * removing waits for nobody, and each call that changes something is tried again once there is room. */
#include "hook.h"
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#define DISK (UINT64_C(24) << 20)
#define FILE_SIZE 6000u

static struct unit u;
static unsigned n_files; /* f0, f1, ... */

static const char *name_of(unsigned i)
{
    static _Thread_local char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

static void setup(void)
{
    unit_new(&u, 0);
    simdisk_limit(u.disk, DISK);
}

static void teardown(void)
{
    hook_set(u.eng, NULL, NULL);
    simdisk_fail(u.disk, SIM_CREATE, 0, 0);
    if (u.eng)
        cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(full_disk, .init = setup, .fini = teardown, .timeout = 60);

static ssize_t put(unsigned i, size_t size)
{
    uint8_t *bytes = unit_bytes(size, i);
    struct eng_record r = {.parent = 1, .name = name_of(i), .content = bytes, .size = size, .mode = 0644};
    ssize_t n = eng_put_many(u.eng, &r, 1);
    free(bytes);
    return n;
}

/* Files until there is no room, and no garbage among them; then each `nth` is removed. */
static void fill_and_remove(unsigned nth)
{
    for (n_files = 0; put(n_files, FILE_SIZE) == 1;)
        cr_assert_lt(++n_files, 10000);
    cr_assert_gt(n_files, 2000);
    uint64_t before = unit_stats(&u).relocations;
    for (unsigned i = 0; i < n_files; i += nth)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    cr_expect_eq(unit_stats(&u).relocations, before, "to remove a file nothing has to be moved: %llu were",
                 (unsigned long long)(unit_stats(&u).relocations - before));
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void expect_files(unsigned nth)
{
    for (unsigned i = 0; i < n_files; i++)
        if (i % nth)
            cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), FILE_SIZE, i), "file %u", i);
}

static uint64_t bytes_moved(void)
{
    return unit_stats(&u).relocations * FILE_SIZE;
}

/* What one writer waits for, the whole reserve and room beside it, is there; whether it knows or not. */
static bool has_room(void)
{
    return !reserve_is_short(u.eng) || !reserve_lacks(u.eng, 2 * RESERVE_ROOM_MIN);
}

/* ---- no more than is needed ------------------------------------------------------------- */

/* A quarter is garbage: what one write needs, and some for the next, are a few segments of hundreds. */
Test(full_disk, a_write_moves_what_it_needs_and_no_more)
{
    fill_and_remove(4);
    uint64_t live = unit_stats(&u).live_bytes, before = bytes_moved();
    unit_file(&u, "new", FILE_SIZE, 1);
    uint64_t moved = bytes_moved() - before;
    cr_assert_gt(moved, 0);
    cr_assert_lt(moved * 2, live, "%llu of %llu bytes were moved for one write", (unsigned long long)moved,
                 (unsigned long long)live);
    uint64_t runs = unit_stats(&u).compactions_ok;
    for (unsigned i = 0; i < 20; i++)
        cr_assert_eq(put(n_files + i, FILE_SIZE), 1);
    cr_assert_leq(unit_stats(&u).compactions_ok, runs + 1, "and not one for each write");
    expect_files(4);
}

/* All of the garbage is to be had, bit by bit. */
Test(full_disk, writes_go_on_until_there_is_little_garbage)
{
    fill_and_remove(4);
    uint64_t total, live;
    unsigned n = n_files;
    while (put(n, FILE_SIZE) == 1)
        cr_assert_lt(++n, 10000);
    totals_get(u.eng, &total, &live);
    cr_assert_lt((total - live) * 12, total, "%llu of %llu bytes are garbage, and there is no room",
                 (unsigned long long)(total - live), (unsigned long long)total);
    cr_assert_gt(n, n_files + n_files / 4 * 6 / 10);
    for (unsigned i = n_files; i < n; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), FILE_SIZE, i));
    expect_files(4);
    uint64_t runs = unit_stats(&u).compactions_ok;
    cr_assert_eq(put(n, FILE_SIZE), -ENOSPC);
    cr_assert_eq(unit_stats(&u).compactions_ok, runs, "nor is it looked for again");
}

static unsigned n_taken; /* files, behind n_files, by those who come before the one that waits */

/* Others take what a compaction has won, all of it, before it goes on. */
static void take_all(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_READ || u.eng->opt.room_later)
        return;
    u.eng->opt.room_later = true; /* they do not wait */
    while (put(n_files + n_taken, FILE_SIZE) == 1)
        n_taken++;
    u.eng->opt.room_later = false;
}

/* So the compaction does not win what it was begun for; the next one wins more all the same. */
Test(full_disk, what_others_take_makes_no_compaction_futile)
{
    fill_and_remove(3);
    uint64_t total, live;
    unsigned by_waiting = 0;
    n_taken = 0;
    hook_set(u.eng, take_all, NULL);
    while (put(n_files + n_taken, FILE_SIZE) == 1) {
        by_waiting++;
        cr_assert_lt(++n_taken, 10000);
    }
    hook_set(u.eng, NULL, NULL);
    cr_assert_lt(by_waiting, n_taken, "others have taken some");
    totals_get(u.eng, &total, &live);
    cr_assert_lt((total - live) * 12, total, "%llu of %llu bytes are garbage, and there is no room",
                 (unsigned long long)(total - live), (unsigned long long)total);
    expect_files(3);
}

/* Emptied segments stay while a backup holds them: to compact would take room, and win none. */
Test(full_disk, nothing_is_moved_while_the_store_is_held)
{
    fill_and_remove(4);
    uint64_t before = bytes_moved();
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(put(n_files, FILE_SIZE), -ENOSPC);
    cr_assert_eq(bytes_moved(), before);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(put(n_files, FILE_SIZE), 1);
}

/* As with a quota, what the disk says of its space is no help: what it does counts. */
Test(full_disk, a_limit_that_the_disk_does_not_tell_is_believed)
{
    fill_and_remove(4);
    simdisk_fail_always(u.disk, SIM_SPACE, EIO);
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(put(n_files + i, FILE_SIZE), 1, "write %u", i);
    simdisk_fail_always(u.disk, SIM_SPACE, 0);
    expect_files(4);
}

/* ---- who waits ---------------------------------------------------------------------------- */

/* A compaction that somebody waits for stands still where `stops` says. */
static struct gate {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool (*stops)(void);
    bool standing, open, missed;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

/* Whether `*flag` becomes true within half a minute. */
static bool await_locked(const bool *flag)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 30;
    int r = 0;
    while (!*flag && !r)
        r = pthread_cond_timedwait(&gate.cond, &gate.lock, &end);
    return *flag;
}

static void stand(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_READ || !gate.stops())
        return;
    (void)pthread_mutex_lock(&gate.lock);
    gate.standing = true;
    (void)pthread_cond_broadcast(&gate.cond);
    if (!gate.open) {
        gate.missed = !await_locked(&gate.open);
        gate.open = true;
    }
    (void)pthread_mutex_unlock(&gate.lock);
}

static bool at_once(void)
{
    return true;
}

static void gate_at(bool (*stops)(void))
{
    gate.stops = stops;
    gate.standing = gate.open = gate.missed = false;
    hook_set(u.eng, stand, NULL);
}

static bool gate_stands(void)
{
    (void)pthread_mutex_lock(&gate.lock);
    bool stands = await_locked(&gate.standing);
    (void)pthread_mutex_unlock(&gate.lock);
    return stands;
}

static void gate_open(void)
{
    (void)pthread_mutex_lock(&gate.lock);
    gate.open = true;
    (void)pthread_cond_broadcast(&gate.cond);
    (void)pthread_mutex_unlock(&gate.lock);
}

static void *write_one(void *arg)
{
    return (void *)(intptr_t)put(n_files + (unsigned)(uintptr_t)arg, FILE_SIZE);
}

/* The same, and lets the compaction go on. */
static void *write_and_open(void *arg)
{
    void *r = write_one(arg);
    gate_open();
    return r;
}

/* Full, a quarter of it garbage, without a reserve, and with threads of its own. */
static void full_with_threads(void)
{
    fill_and_remove(4);
    unit_close(&u); /* the checkpoint takes the second copy of the log away */
    cr_assert_eq(simdisk_remove(u.disk, "reserve"), 0);
    simdisk_limit(u.disk, simdisk_used(u.disk) + (1u << 20));
    u.opt.no_background = false;
    u.opt.commit_ms = -1;
    unit_open(&u);
    reserve_set_short(u.eng);
}

Test(full_disk, removing_waits_for_nobody)
{
    struct eng_attr attr = {0};
    pthread_t writers[4];
    cr_assert_eq(eng_setxattr(u.eng, 1, "user.a", "value", 5, 0), 0);
    unit_mkdir(&u, "dir");
    full_with_threads();
    gate_at(at_once);
    for (uintptr_t i = 0; i < ARRAY_LEN(writers); i++)
        cr_assert_eq(pthread_create(&writers[i], NULL, write_one, (void *)i), 0);
    cr_assert(gate_stands(), "a writer's compaction");
    cr_assert_eq(eng_unlink(u.eng, 1, name_of(1)), 0);
    cr_assert_eq(eng_rmdir(u.eng, 1, "dir"), 0);
    cr_assert_eq(eng_setattr(u.eng, unit_lookup(&u, name_of(2)), &attr,
                             ENG_SET_SIZE | ENG_SET_MTIME_NOW | ENG_SET_MODE, NULL),
                 0);
    cr_assert_eq(eng_removexattr(u.eng, 1, "user.a"), 0);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, name_of(3), 1, name_of(5), 0), 0, "over another");
    cr_assert_eq(eng_fallocate(u.eng, unit_lookup(&u, name_of(6)),
                               ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 5000),
                 0);
    cr_assert_not(gate.open, "nobody has let the compaction go on");
    gate_open();
    for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
        void *r;
        (void)pthread_join(writers[i], &r);
        cr_assert_eq((intptr_t)r, 1, "writer %zu: %ld", i, (long)(intptr_t)r);
    }
    cr_assert_not(gate.missed);
}

/* The rest is for those who come next, and nobody waits for it. */
Test(full_disk, a_writer_goes_on_as_soon_as_there_is_room_for_it)
{
    pthread_t writer;
    void *r;
    full_with_threads();
    gate_at(has_room);
    cr_assert_eq(pthread_create(&writer, NULL, write_and_open, NULL), 0);
    cr_assert(gate_stands(), "the compaction goes on beyond what one writer needs");
    (void)pthread_join(writer, &r);
    cr_assert_eq((intptr_t)r, 1);
    cr_assert_not(gate.missed, "the writer did not wait for its end");
}

Test(full_disk, a_cancelled_compaction_is_no_room)
{
    pthread_t writer;
    void *r;
    full_with_threads();
    gate_at(at_once);
    cr_assert_eq(pthread_create(&writer, NULL, write_one, NULL), 0);
    cr_assert(gate_stands());
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_COMPACT), 0);
    gate_open();
    (void)pthread_join(writer, &r);
    cr_assert_eq((intptr_t)r, -ENOSPC);
    cr_assert_eq(put(n_files + 1, FILE_SIZE), 1, "the next one is none that was cancelled");
}

/* What was in vain once is so as long as nothing else has changed. */
Test(full_disk, garbage_that_came_after_a_vain_compaction_counts)
{
    fill_and_remove(4);
    simdisk_fail_always(u.disk, SIM_CREATE, EIO);
    cr_assert_lt(put(n_files, FILE_SIZE), 0);
    simdisk_fail_always(u.disk, SIM_CREATE, 0);
    simdisk_limit(u.disk, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    simdisk_limit(u.disk, DISK);
    unsigned n = n_files;
    while (put(n, FILE_SIZE) == 1)
        n++;
    for (unsigned i = n_files; i < n; i += 2)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    cr_assert_eq(put(n, FILE_SIZE), 1);
    expect_files(4);
}

/* ---- when a checkpoint does not fit ----------------------------------------------------- */

/* Every chunk of the index is dirty, and the image is larger than disk and reserve: what can go without a
 * checkpoint goes first. */
static void compact_without_room_for_a_checkpoint(void)
{
    struct eng_job_report rep;
    char value[60] = {0};
    fill_and_remove(4);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0); /* survivors: no metadata in them */
    simdisk_limit(u.disk, 0);
    for (unsigned i = 1; i < n_files; i += 2)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    for (unsigned i = 2; i < n_files; i += 4)
        cr_assert_eq(eng_setxattr(u.eng, unit_lookup(&u, name_of(i)), "user.x", value, sizeof value, 0), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    simdisk_limit(u.disk, simdisk_used(u.disk) - unit_stats(&u).reserve_bytes + (UINT64_C(200) << 10));
    uint64_t before = bytes_moved(), used = simdisk_used(u.disk), checkpoints = unit_stats(&u).checkpoints;
    cr_assert_eq(checkpoint_write(u.eng), -ENOSPC, "it does not fit");
    cr_assert_eq(unit_stats(&u).checkpoints, checkpoints);
    int r = eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep);
    cr_assert_eq(r, 0, "%d %s", r, rep.error_text);
    cr_assert_gt(bytes_moved(), before);
    cr_assert_lt(simdisk_used(u.disk), used - used / 4);
}

Test(full_disk, a_checkpoint_that_does_not_fit_ends_no_compaction)
{
    compact_without_room_for_a_checkpoint();
}

/* What the disk said of its space has led to a second thread, which finds that there is none. */
Test(full_disk, nor_one_that_its_installer_cannot_write)
{
    hook_installer(u.eng, true);
    simdisk_fail_always(u.disk, SIM_SPACE, EIO);
    compact_without_room_for_a_checkpoint();
    simdisk_fail_always(u.disk, SIM_SPACE, 0);
    hook_installer(u.eng, false);
}

/* 200 files, of which a quarter is garbage. */
static struct unit close_small(void)
{
    simdisk_limit(u.disk, 0);
    for (n_files = 0; n_files < 200; n_files++)
        cr_assert_eq(put(n_files, FILE_SIZE), 1);
    for (unsigned i = 0; i < n_files; i += 4)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    unit_close(&u);
    return u;
}

static struct eng_io_ops ops;
static const struct eng_io_ops *disk_ops;
static unsigned takes_at; /* the call after which that is, among those that find some of the reserve spent */
static uint64_t before_it;

/* A writer that waits fills the reserve with what was given back, before whoever needs it has used it. */
static void take_it_again(void)
{
    if (!takes_at || reserve_bytes(u.eng) >= before_it || --takes_at > 1) /* and when that is tried again */
        return;
    cr_assert(reserve_fill(u.eng, 0) || reserve_bytes(u.eng));
    simdisk_limit(u.disk, simdisk_used(u.disk));
}

static int open_beside(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    if ((flags & IO_CREATE) && strcmp(name, "reserve") != 0)
        take_it_again();
    return disk_ops->open(io, name, flags, ret_file);
}

static ssize_t write_beside(struct io_file *file, const struct iovec *iov, int n, uint64_t at)
{
    take_it_again();
    return disk_ops->pwritev(file, iov, n, at);
}

static void compact_beside_another(unsigned at)
{
    struct eng_job_report rep;
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.open = open_beside;
    ops.pwritev = write_beside;
    simdisk_io(u.disk)->ops = &ops;
    takes_at = at;
    before_it = reserve_bytes(u.eng);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0, "at %u: %s", at, rep.error_text);
    cr_assert_null(strstr(u.last_warning, "checkpoint"), "at %u: %s", at, u.last_warning);
    simdisk_io(u.disk)->ops = disk_ops;
}

Test(full_disk, what_is_given_back_for_a_compaction_may_be_taken_by_another)
{
    struct unit whole = close_small();
    unsigned n = 0;
    for (bool struck = true; struck; n += struck) {
        unit_clone(&u, &whole);
        unit_open(&u);
        compact_beside_another(n + 2);
        struck = takes_at == 0;
        takes_at = 0;
        expect_files(4);
        unit_done(&u);
    }
    cr_assert_gt(n, 3, "%u", n);
    u = whole;
    unit_open(&u);
}

/* Whatever is created, segment or checkpoint: the reserve is there for it. */
Test(full_disk, a_compaction_may_meet_it_at_any_creation)
{
    struct unit whole = close_small();
    unsigned n = 0;
    for (bool struck = true; struck; n += struck) {
        unit_clone(&u, &whole);
        unit_open(&u);
        simdisk_fail(u.disk, SIM_CREATE, n + 1, ENOSPC);
        struct eng_job_report rep;
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0, "creation %u: %s, %s", n + 1,
                     rep.error_text, u.last_warning);
        struck = !simdisk_fault_waits(u.disk);
        simdisk_fail(u.disk, SIM_CREATE, 0, 0);
        expect_files(4);
        unit_done(&u);
    }
    cr_assert_gt(n, 10);
    u = whole;
    unit_open(&u);
}

/* ---- what removals may use, and what they leave ---------------------------------------------- */

#define N_EMPTY 100000u

static void expect_usable(void)
{
    cr_assert_eq(eng_unlink(u.eng, 1, "fill"), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    unit_file(&u, "after", FILE_SIZE, 7);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_not(reserve_is_short(u.eng));
}

/* One file over all that is left of the disk, to the last write that fits. */
static void fill_up(void)
{
    uint64_t at = 0;
    uint64_t fill = unit_file(&u, "fill", 1, 1);
    uint8_t *bytes = unit_bytes(1 << 20, 3);
    for (size_t size = 1 << 20; size >= 512;) {
        if (eng_write(u.eng, fill, bytes, size, at) == (ssize_t)size)
            at += size;
        else
            size /= 2;
    }
    free(bytes);
    cr_assert_gt(at, 8 << 20);
}

/* None gives back as much as it takes, and together they take many times the reserve. */
Test(full_disk, whatever_is_removed_in_whatever_order_removing_goes_on)
{
    simdisk_limit(u.disk, 6 * DISK); /* several times what the index takes */
    for (unsigned i = 0; i < N_EMPTY; i++)
        cr_assert_eq(eng_create(u.eng, NULL, 1, name_of(i), S_IFREG | 0600, 0, NULL, NULL), 0);
    fill_up();
    for (unsigned i = 0; i < N_EMPTY; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0, "file %u: %s", i, u.last_warning);
    expect_usable();
}

/* Wherever it lies: as after a checkpoint for which the reserve was given back. */
Test(full_disk, removals_leave_room_for_a_checkpoint)
{
    simdisk_limit(u.disk, 6 * DISK);
    for (unsigned i = 0; i < N_EMPTY / 5; i++)
        cr_assert_eq(eng_create(u.eng, NULL, 1, name_of(i), S_IFREG | 0600, 0, NULL, NULL), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_spend_reserve(&u);
    simdisk_limit(u.disk, simdisk_used(u.disk) + reserve_for_checkpoint(u.eng) + (UINT64_C(600) << 10));
    cr_assert_eq(eng_hold(u.eng), 0); /* no compaction helps */
    unsigned n = 0;
    while (n < N_EMPTY / 5 && eng_unlink(u.eng, 1, name_of(n)) == 0)
        n++;
    cr_assert_lt(n, N_EMPTY / 5);
    cr_assert_eq(checkpoint_write(u.eng), 0, "after %u removals", n);
    cr_assert_eq(eng_release(u.eng), 0);
}

/* Holes where nothing is, and sizes as they were: a stranger can go on with that for ever. */
Test(full_disk, what_takes_nothing_away_is_no_removal)
{
    uint64_t mine = unit_file(&u, "mine", 5, 5);
    struct eng_attr same = {.size = 5};
    fill_up();
    uint64_t seq = unit_stats(&u).log_seq, runs = unit_stats(&u).compactions_failed;
    for (unsigned i = 0; i < N_EMPTY; i++) {
        (void)eng_fallocate(u.eng, mine, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 1 << 20, 4096);
        (void)eng_fallocate(u.eng, mine, ENG_FALLOC_ZERO_RANGE, 1 << 20, 4096);
        (void)eng_setattr(u.eng, mine, &same, ENG_SET_SIZE, NULL);
    }
    runs = unit_stats(&u).compactions_ok + unit_stats(&u).compactions_failed - runs;
    cr_assert_lt(unit_stats(&u).log_seq - seq, 2000, "nothing of it is written");
    cr_assert_lt(runs, 20, "%llu compactions for it", (unsigned long long)runs);
    cr_assert_eq(eng_fallocate(u.eng, mine, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 4096), 0);
    expect_usable();
}

/* ---- each change is tried again ------------------------------------------------------------ */

static uint64_t ino; /* of f1 */

static int do_write(void)
{
    return (int)MIN_OF(eng_write(u.eng, ino, "bytes", 5, 0), 0);
}
static int do_append(void)
{
    return (int)MIN_OF(eng_append(u.eng, ino, "bytes", 5, NULL), 0);
}
static int do_create(void)
{
    return eng_create(u.eng, NULL, 1, "new", S_IFREG | 0600, 0, NULL, NULL);
}
static int do_mkdir(void)
{
    return eng_create(u.eng, NULL, 1, "new", S_IFDIR | 0700, 0, NULL, NULL);
}
static int do_symlink(void)
{
    return eng_create(u.eng, NULL, 1, "new", S_IFLNK | 0777, 0, "target", NULL);
}
static int do_mknod(void)
{
    return eng_create(u.eng, NULL, 1, "new", S_IFIFO | 0600, 0, NULL, NULL);
}
static int do_link(void)
{
    return eng_link(u.eng, NULL, ino, 1, "new", NULL);
}
static int do_rename(void)
{
    return eng_rename(u.eng, NULL, 1, "f1", 1, "new", 0);
}
static int do_rename_over(void)
{
    return eng_rename(u.eng, NULL, 1, "f1", 1, "f2", 0);
}
static int do_exchange(void)
{
    return eng_rename(u.eng, NULL, 1, "f1", 1, "f2", ENG_RENAME_EXCHANGE);
}
static int do_whiteout(void)
{
    return eng_rename(u.eng, NULL, 1, "f1", 1, "new", ENG_RENAME_WHITEOUT);
}
static int do_unlink(void)
{
    return eng_unlink(u.eng, 1, "f1");
}
static int do_rmdir(void)
{
    return eng_rmdir(u.eng, 1, "dir");
}
static int do_chmod(void)
{
    return eng_setattr(u.eng, ino, &(struct eng_attr){.mode = 0600}, ENG_SET_MODE, NULL);
}
static int do_truncate(void)
{
    return eng_setattr(u.eng, ino, &(struct eng_attr){.size = 5}, ENG_SET_SIZE, NULL);
}
static int do_extend(void)
{
    return eng_setattr(u.eng, ino, &(struct eng_attr){.size = 1 << 20}, ENG_SET_SIZE, NULL);
}
static int do_setxattr(void)
{
    return eng_setxattr(u.eng, ino, "user.b", "v", 1, 0);
}
static int do_removexattr(void)
{
    return eng_removexattr(u.eng, 1, "user.a");
}
static int do_fallocate(void)
{
    return eng_fallocate(u.eng, ino, 0, 0, 1 << 20);
}
static int do_punch(void)
{
    return eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 5000);
}
static int do_zero(void)
{
    return eng_fallocate(u.eng, ino, ENG_FALLOC_ZERO_RANGE, 0, 5000);
}
static int do_put(void)
{
    return (int)MIN_OF(put(100000, 100), 0);
}

static const struct change {
    const char *name;
    int (*fn)(void);
    bool removes;
} changes[] = {
    {"write", do_write, false},
    {"append", do_append, false},
    {"create", do_create, false},
    {"mkdir", do_mkdir, false},
    {"symlink", do_symlink, false},
    {"mknod", do_mknod, false},
    {"link", do_link, false},
    {"rename", do_rename, false},
    {"rename over", do_rename_over, true},
    {"exchange", do_exchange, false},
    {"whiteout", do_whiteout, false},
    {"unlink", do_unlink, true},
    {"rmdir", do_rmdir, true},
    {"chmod", do_chmod, false},
    {"truncate", do_truncate, true},
    {"extend", do_extend, false},
    {"setxattr", do_setxattr, false},
    {"removexattr", do_removexattr, true},
    {"fallocate", do_fallocate, false},
    {"punch", do_punch, true},
    {"zero", do_zero, true},
    {"put_many", do_put, false},
};

/* Full, and a quarter of it garbage. */
static struct unit make_full(void)
{
    cr_assert_eq(eng_setxattr(u.eng, 1, "user.a", "value", 5, 0), 0);
    unit_mkdir(&u, "dir");
    fill_and_remove(4);
    unit_close(&u);
    return u;
}

static void open_copy(const struct unit *whole)
{
    unit_clone(&u, whole);
    simdisk_limit(u.disk, 0); /* so that the reserve is whole */
    u.opt.room_later = whole->opt.room_later;
    unit_open(&u);
    ino = unit_lookup(&u, "f1");
}

/* The disk is full from one moment to the next: the write itself finds that, and nothing said it before. */
Test(full_disk, each_change_is_tried_again_after_room_was_made)
{
    struct unit whole = make_full();
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        open_copy(&whole);
        simdisk_limit(u.disk, simdisk_used(u.disk));
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
        cr_assert_eq(changes[i].fn(), 0, "%s", changes[i].name);
        cr_assert(changes[i].removes || unit_stats(&u).compactions_ok > 0, "%s: it needed room",
                  changes[i].name);
        cr_assert_eq(unit_problems(&u), 0);
        unit_done(&u);
    }
    u = whole;
    unit_open(&u);
}

/* There is no garbage: removing works, and everything else says so, at once, and changes nothing. */
Test(full_disk, without_garbage_only_removing_works)
{
    struct unit whole = make_full();
    open_copy(&whole);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    struct unit tidy = u;
    unit_close(&tidy);
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        open_copy(&tidy);
        simdisk_limit(u.disk, simdisk_used(u.disk));
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
        uint64_t seq = unit_stats(&u).log_seq;
        int r = changes[i].fn();
        cr_assert_eq(r, changes[i].removes ? 0 : -ENOSPC, "%s: %d", changes[i].name, r);
        cr_assert(changes[i].removes || unit_stats(&u).log_seq == seq, "%s", changes[i].name);
        unit_done(&u);
    }
    unit_done(&tidy);
    u = whole;
    unit_open(&u);
}

/* ---- a caller that waits elsewhere ------------------------------------------------------------ */

/* Of a batch that is to be put again each record says so, also one that is wrong by itself: until then the
 * folder that it needs may be there. */
Test(full_disk, with_room_later_each_record_of_the_batch_is_told_to_come_again)
{
    struct unit whole = make_full();
    whole.opt.room_later = true;
    open_copy(&whole);
    simdisk_limit(u.disk, simdisk_used(u.disk));
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    uint8_t *bytes = unit_bytes(FILE_SIZE, 7);
    struct eng_record r[] = {
        {.parent = 1, .name = "new", .content = bytes, .size = FILE_SIZE, .mode = 0644, .result = 7},
        {.parent = 99999, .name = "nowhere", .mode = 0644, .result = 7},
        {.parent = 1, .name = "new2", .mode = 0644, .result = 7},
        {.parent = 1, .name = "new", .mode = 0644, .result = 7}, /* of the next batch */
    };
    cr_assert_eq(eng_put_many(u.eng, r, ARRAY_LEN(r)), -EAGAIN);
    for (size_t i = 0; i < ARRAY_LEN(r); i++)
        cr_expect_eq(r[i].result, -EAGAIN, "record %zu: %d", i, r[i].result);
    cr_assert_eq(eng_make_room(u.eng, 2 * FILE_SIZE), 0);
    cr_assert_eq(eng_put_many(u.eng, r, 3), 2);
    cr_assert_eq(r[0].result, 0);
    cr_assert_eq(r[1].result, -ESTALE);
    cr_assert_eq(r[2].result, 0);
    cr_assert(unit_holds(&u, unit_lookup(&u, "new"), FILE_SIZE, 7));
    free(bytes);
    unit_done(&u);
    u = whole;
    u.opt.room_later = false;
    unit_open(&u);
}

Test(full_disk, with_room_later_no_change_waits)
{
    struct unit whole = make_full();
    whole.opt.room_later = true;
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        open_copy(&whole);
        simdisk_limit(u.disk, simdisk_used(u.disk));
        cr_assert_eq(log_seal_locked(&u.eng->log), 0);
        int r = changes[i].fn();
        cr_assert_eq(r, changes[i].removes ? 0 : -EAGAIN, "%s: %d", changes[i].name, r);
        cr_assert_eq(unit_stats(&u).compactions_ok, 0, "%s", changes[i].name);
        if (!changes[i].removes) {
            cr_assert_eq(eng_make_room(u.eng, 0), 0, "%s", changes[i].name);
            cr_assert_eq(changes[i].fn(), 0, "%s", changes[i].name);
        }
        unit_done(&u);
    }
    u = whole;
    u.opt.room_later = false;
    unit_open(&u);
    cr_assert_eq(eng_make_room(NULL, 0), -EINVAL);
}
