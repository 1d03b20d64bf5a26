/*
 * test_snapshots.c - snapshots as people make, list, rename and drop them; what a dropped one leaves; and a
 * disk or memory that refuses. The linker wraps what asks for memory. */
#include "snapshot_copies.h"

#include "index/mend.h"
#include "index/moments.h"
#include "malloc_wrap.h"
#include "one_store.h"

#include <string.h>

#define FILES 12u
#define SIZE 20000u

TestSuite(snapshots, .init = setup, .fini = teardown, .timeout = 120);

/* ---- memory that is refused ------------------------------------------------------- */

static unsigned refuse_from; /* this request of memory, and all that follow; 0: none */
static unsigned requests;

static bool malloc_is_refused(void)
{
    return refuse_from && ++requests >= refuse_from;
}

int __real_io_pwritev_full(struct io_file *file, const struct eng_io_ops *ops, struct iovec *iov, int n,
                           uint64_t offset);
int __wrap_io_pwritev_full(struct io_file *file, const struct eng_io_ops *ops, struct iovec *iov, int n,
                           uint64_t offset);

/* The simulated disk gets what it asks for; and what is in the log has happened. */
int __wrap_io_pwritev_full(struct io_file *file, const struct eng_io_ops *ops, struct iovec *iov, int n,
                           uint64_t offset)
{
    refuse_from = 0;
    return __real_io_pwritev_full(file, ops, iov, n, offset);
}

/* ---- stores ------------------------------------------------------------------------- */

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

static uint64_t file(unsigned i)
{
    return unit_lookup(&u, name_of(i));
}

static void make_files(void)
{
    for (unsigned i = 0; i < FILES; i++)
        (void)unit_file(&u, name_of(i), SIZE, i);
}

/* Each file is changed in another way, of which `round` is a part. */
static void change_files(unsigned round)
{
    for (unsigned i = 0; i < FILES; i++) {
        const struct eng_attr attr = {.size = 3000 * (round % 3), .mode = 0600 + round};
        if (i % 4 == 0)
            MUST(eng_setattr(u.eng, file(i), &attr, ENG_SET_SIZE | ENG_SET_MODE, NULL) == 0);
        if (i % 4 == 1) {
            MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)) == 0);
            (void)unit_file(&u, name_of(i), SIZE, i + round);
        }
        if (i % 4 > 1)
            unit_write(&u, file(i), 7000, 100 + round, 1000 * i);
        if (i % 4 == 3)
            MUST(eng_setxattr(u.eng, file(i), "user.x", &round, sizeof round, 0) == 0);
    }
}

/* ---- names, and what else is refused ---------------------------------------------------- */

Test(snapshots, have_names)
{
    char longest[ENG_NAME_MAX + 2];
    uint64_t batch = 1, found = 1, position = eng_position(u.eng);
    memset(longest, 'x', sizeof longest);
    longest[ENG_NAME_MAX + 1] = 0;
    const char *bad[] = {"", ".", "..", "a/b", "/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_assert_eq(eng_snapshot_create(u.eng, bad[i], &batch), -EINVAL, "\"%s\"", bad[i]);
        cr_assert_eq(eng_snapshot_drop(u.eng, bad[i]), -EINVAL);
        cr_assert_eq(eng_snapshot_find(u.eng, bad[i], &found), -EINVAL);
        cr_assert_eq(eng_snapshot_rename(u.eng, bad[i], "x"), -EINVAL);
        cr_assert_eq(eng_snapshot_rename(u.eng, "x", bad[i]), -EINVAL);
    }
    cr_assert_eq(eng_snapshot_create(u.eng, longest, &batch), -ENAMETOOLONG);
    cr_assert_eq(eng_snapshot_create(NULL, "s", &batch), -EINVAL);
    cr_assert_eq(eng_snapshot_create(u.eng, NULL, &batch), -EINVAL);
    cr_assert_eq(eng_snapshot_rename(u.eng, "s", NULL), -EINVAL);
    cr_assert_eq(eng_snapshot_list(u.eng, NULL, NULL), -EINVAL);
    cr_assert_eq(eng_snapshot_drop(u.eng, "none"), -ENOENT);
    cr_assert_eq(eng_snapshot_rename(u.eng, "none", "other"), -ENOENT);
    cr_assert(eng_snapshot_find(u.eng, "none", &found) == -ENOENT && !found);
    cr_assert_eq(eng_snapshot_find(u.eng, longest, &found), -ENAMETOOLONG);
    cr_assert_eq(eng_snapshot_find(u.eng, NULL, &found), -EINVAL);
    cr_assert_eq(eng_snapshot_find(u.eng, "none", NULL), -EINVAL);
    cr_assert(batch == 1 && eng_position(u.eng) == position && !eng_has_history(u.eng));
    longest[ENG_NAME_MAX] = 0;
    cr_assert_eq(eng_snapshot_create(u.eng, longest, NULL), 0);
    cr_assert_eq(eng_snapshot_create(u.eng, longest, &batch), -EEXIST);
    cr_assert_eq(eng_snapshot_create(u.eng, "...", &batch), 0);
    cr_assert_eq(batch, eng_position(u.eng));
    cr_assert(eng_snapshot_find(u.eng, "...", &found) == 0 && found == batch);
    cr_assert(eng_snapshot_find(u.eng, longest, &found) == 0 && found && found != batch);
    int64_t when = 0, now = now_ns();
    cr_assert(eng_snapshot_time(u.eng, found, &when) == 0 && when && when <= now);
    cr_assert(eng_snapshot_time(u.eng, batch, &when) == 0 && when <= now &&
              when > now - INT64_C(60000000000));
    cr_assert(eng_snapshot_time(u.eng, batch + 1, &when) == -ENOENT && !when);
    cr_assert_eq(eng_snapshot_time(u.eng, batch, NULL), -EINVAL);
    cr_assert_eq(eng_snapshot_rename(u.eng, "...", longest), -EEXIST);
    cr_assert_eq(eng_snapshot_rename(u.eng, "...", "..."), 0);
    cr_assert_eq(eng_snapshot_rename(u.eng, "...", "\xff\n"), 0);
    cr_assert_eq(eng_snapshot_drop(u.eng, "..."), -ENOENT);
    cr_assert_eq(eng_snapshot_drop(u.eng, longest), 0);
    cr_assert_eq(eng_snapshot_time(u.eng, found, &when), -ENOENT);
    cr_assert(eng_snapshot_time(u.eng, batch, &when) == 0 && when);
    cr_assert_eq(eng_snapshot_create(u.eng, longest, NULL), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

struct list {
    struct eng_snapshot all[32];
    char names[32][ENG_NAME_MAX + 1];
    size_t n, stop;
};

static int note(void *arg, const struct eng_snapshot *snapshot)
{
    struct list *l = arg;
    l->all[l->n] = *snapshot;
    (void)snprintf(l->names[l->n], sizeof l->names[0], "%s", snapshot->name);
    return ++l->n == l->stop ? 77 : 0;
}

static struct list list_snapshots(void)
{
    struct list l = {0};
    MUST(eng_snapshot_list(u.eng, note, &l) == 0);
    return l;
}

Test(snapshots, are_listed_oldest_first)
{
    uint64_t batches[4];
    int64_t began = now_ns();
    cr_assert_eq(list_snapshots().n, 0);
    for (unsigned i = 0; i < 4; i++) {
        (void)unit_create(&u, name_of(i));
        cr_assert_eq(eng_snapshot_create(u.eng, (char[]){(char)('z' - i), 0}, &batches[i]), 0);
    }
    cr_assert_eq(eng_snapshot_rename(u.eng, "y", "renamed"), 0);
    cr_assert_eq(eng_snapshot_drop(u.eng, "x"), 0);
    for (unsigned round = 0; round < 3; round++) {
        struct list l = list_snapshots();
        cr_assert_eq(l.n, 3);
        cr_assert(l.all[0].batch == batches[0] && l.all[1].batch == batches[1] &&
                  l.all[2].batch == batches[3]);
        cr_assert_str_eq(l.names[0], "z");
        cr_assert_str_eq(l.names[1], "renamed");
        cr_assert_str_eq(l.names[2], "w");
        cr_assert(l.all[0].time >= began && l.all[2].time >= l.all[0].time && l.all[2].time <= now_ns());
        cr_assert_eq(u.eng->idx.s.newest_snapshot, batches[3]);
        cr_assert_eq(unit_problems(&u), 0);
        if (round == 0)
            unit_reopen(&u);
        else
            unit_kill(&u, SIM_KEEP_ALL, 0), unit_open(&u);
    }
    struct list stopped = {.stop = 2};
    cr_assert_eq(eng_snapshot_list(u.eng, note, &stopped), 77);
    cr_assert_eq(stopped.n, 2);
}

Test(snapshots, are_durable_when_made)
{
    for (unsigned round = 0; round < 3; round++) {
        if (!round)
            make_files();
        struct copy copy = copied_snapshot(&u, name_of(round));
        change_files(round + 1);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_open(&u);
        cr_assert_eq(list_snapshots().n, round + 1);
        copy_compare(&u, &copy);
        change_files(round + 1);
        copy_compare(&u, &copy);
        copy_free(&copy);
    }
}

Test(snapshots, of_a_store_that_is_read_only_are_only_listed)
{
    make_files();
    struct copy copy = copied_snapshot(&u, "s");
    change_files(1);
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(eng_snapshot_create(u.eng, "t", NULL), -EROFS);
    cr_assert_eq(eng_snapshot_rename(u.eng, "s", "t"), -EROFS);
    cr_assert_eq(eng_snapshot_drop(u.eng, "s"), -EROFS);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL), -EROFS);
    cr_assert_eq(list_snapshots().n, 1);
    copy_compare(&u, &copy);
    copy_free(&copy);
}

Test(snapshots, in_a_hold_the_first_one_waits)
{
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_snapshot_create(u.eng, "s", NULL), -EBUSY);
    cr_assert_eq(list_snapshots().n, 0);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(eng_snapshot_create(u.eng, "s", NULL), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_snapshot_create(u.eng, "t", NULL), 0);
    cr_assert_eq(eng_snapshot_drop(u.eng, "s"), 0);
    cr_assert_eq(eng_release(u.eng), 0);
}

/* ---- dropping ---------------------------------------------------------------------------- */

#define SNAPSHOTS 5u

static struct copy copies[SNAPSHOTS];

static void make_snapshots(void)
{
    make_files();
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        copies[i] = copied_snapshot(&u, name_of(i));
        change_files(i + 1);
        if (i % 2)
            change_files(i + 50);
    }
}

static void compare_left(void)
{
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        if (copies[i].n)
            copy_compare(&u, &copies[i]);
}

static void free_copies(void)
{
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        copy_free(&copies[i]);
}

static void expect_no_past(void)
{
    const struct index_scalars *s = &u.eng->idx.s;
    cr_assert(!s->n_past && !s->n_past_names && !s->past_live && !u.eng->idx.n_orphans);
    cr_assert_eq(s->n_files, FILES);
    cr_assert_eq(unit_problems(&u), 0);
}

/* Which may take as long as the index is large. */
Test(snapshots, do_not_wait_for_a_checkpoint, .timeout = 20)
{
    MUST(eng_snapshot_create(u.eng, "first", NULL) == 0);
    checkpoint_exclude(u.eng); /* as one that is being written does */
    cr_assert_eq(eng_snapshot_create(u.eng, "second", NULL), 0);
    cr_assert_eq(eng_snapshot_drop(u.eng, "first"), 0);
    checkpoint_allow(u.eng);
}

Test(snapshots, one_goes_and_the_others_stay)
{
    static const unsigned orders[][SNAPSHOTS] = {
        {0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}, {1, 3, 2, 4, 0}};
    for (size_t o = 0; o < ARRAY_LEN(orders); o++) {
        if (o) {
            unit_done(&u);
            unit_new(&u, 0);
        }
        if (o % 2)
            atomic_store(&u.eng->slice, 3);
        make_snapshots();
        for (unsigned i = 0; i < SNAPSHOTS; i++) {
            copy_free(&copies[orders[o][i]]);
            cr_assert_eq(eng_snapshot_drop(u.eng, name_of(orders[o][i])), 0);
            compare_left();
            cr_assert_eq(unit_problems(&u), 0);
            if (i % 2)
                unit_reopen(&u);
        }
        expect_no_past();
    }
}

Test(snapshots, room_comes_back)
{
    make_files();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    uint64_t before = unit_stats(&u).total_bytes;
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    for (unsigned i = 0; i < FILES; i++) {
        unit_write(&u, file(i), SIZE, i, 0);
        MUST(i % 2 || eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)) == 0);
    }
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    cr_assert_geq(unit_stats(&u).total_bytes, 2 * before, "it is kept");
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    cr_assert_leq(unit_stats(&u).total_bytes, before);
}

/* The one before it is the newest again: what began since is kept for nobody. */
Test(snapshots, the_newest_goes)
{
    uint64_t first, second, ino = unit_file(&u, "f", 5000, 1);
    MUST(eng_snapshot_create(u.eng, "s", &first) == 0);
    unit_write(&u, ino, 100, 2, 0);
    MUST(eng_snapshot_create(u.eng, "t", &second) == 0);
    unit_write(&u, ino, 100, 3, 0);
    cr_assert_eq(u.eng->idx.s.newest_snapshot, second);
    MUST(eng_snapshot_drop(u.eng, "t") == 0);
    cr_assert_eq(u.eng->idx.s.newest_snapshot, first);
    uint64_t n = u.eng->idx.s.n_past;
    unit_write(&u, ino, 100, 4, 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    cr_assert_eq(u.eng->idx.s.n_past, n + 1, "the root's");
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    cr_assert_eq(u.eng->idx.s.newest_snapshot, 0);
    cr_assert_eq(u.eng->idx.s.n_files, 0);
    cr_assert(!u.eng->idx.s.n_past && !u.eng->idx.s.n_past_names);
}

/* Of the log alone, as by a process that died before its job began. */
static void drop_by_op(uint64_t batch)
{
    (void)past_commit_op(&u, &(struct op){.type = OP_SNAPSHOT_NAME, .batch = batch});
}

Test(snapshots, what_is_left_goes_after_an_opening)
{
    make_snapshots();
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        drop_by_op(copies[i].batch);
        copy_free(&copies[i]);
        unit_reopen(&u);
        MUST(eng_tick(u.eng) == 0);
        compare_left();
    }
    expect_no_past();
}

Test(snapshots, threads_begin_it_by_themselves)
{
    make_snapshots();
    for (unsigned i = 0; i + 1 < SNAPSHOTS; i++)
        drop_by_op(copies[i].batch);
    unit_close(&u);
    u.opt.no_background = false;
    unit_open(&u);
    struct eng_job_report report = {0};
    while (report.state != ENG_JOB_DONE) {
        sched_yield();
        MUST(eng_job_status(u.eng, ENG_JOB_HISTORY, &report) == 0);
    }
    cr_assert_gt(report.history.states, 0);
    cr_assert_gt(report.history.names, 0);
    copy_compare(&u, &copies[SNAPSHOTS - 1]);
    cr_assert_eq(eng_snapshot_drop(u.eng, name_of(SNAPSHOTS - 1)), 0);
    while (u.eng->idx.s.n_past || u.eng->idx.s.n_past_names || orphans_queued(u.eng))
        sched_yield();
    unit_close(&u);
    u.opt.no_background = true;
    unit_open(&u);
    free_copies();
    expect_no_past();
}

/* The process ends after each of its writes, or the machine does. */
Test(snapshots, a_cut_leaves_the_others_whole)
{
    atomic_store(&u.eng->slice, 3);
    make_snapshots();
    unit_close(&u);
    bool whole = false;
    for (uint64_t at = 1; !whole; at++) {
        struct unit cut;
        unit_clone(&cut, &u);
        unit_open(&cut);
        atomic_store(&cut.eng->slice, 3);
        simdisk_cut_at(cut.disk, at, false);
        whole = eng_snapshot_drop(cut.eng, name_of(1)) == 0 && eng_snapshot_drop(cut.eng, name_of(3)) == 0 &&
                eng_sync(cut.eng) == 0;
        unit_kill(&cut, at % 2 ? SIM_DROP_ALL : SIM_RANDOM, at);
        unit_open(&cut);
        for (unsigned round = 0; round < 2; round++) {
            for (unsigned i = 0; i < SNAPSHOTS; i += 2)
                copy_compare(&cut, &copies[i]);
            cr_assert_eq(unit_problems(&cut), 0);
            MUST(eng_tick(cut.eng) == 0);
        }
        unit_done(&cut);
    }
    free_copies();
}

/* ---- refusals ------------------------------------------------------------------------------ */

/* Each request of memory in turn is the first that is refused: then nothing has happened, or all. */
static void change_refused(int (*change)(void))
{
    int r = -ENOMEM;
    unsigned from = 1;
    for (; r == -ENOMEM; from++) {
        uint64_t position = eng_position(u.eng), past = u.eng->idx.s.n_past;
        requests = 0;
        refuse_from = from;
        r = change();
        refuse_from = 0;
        cr_assert(!r || r == -ENOMEM, "%d", r);
        if (r)
            cr_assert(eng_position(u.eng) == position && u.eng->idx.s.n_past == past);
        compare_left();
    }
    cr_assert_gt(from, 2, "no memory was asked for");
    cr_assert_eq(unit_problems(&u), 0);
}

static int write_one(void)
{
    static const char bytes[100] = "new";
    ssize_t n = eng_write(u.eng, copies[0].all[3].attr.ino, bytes, sizeof bytes, 50);
    return n < 0 ? (int)n : 0;
}

static int rename_over(void)
{
    return eng_rename(u.eng, NULL, ENG_ROOT_INO, name_of(0), ENG_ROOT_INO, "f1", 0);
}

static int snapshot_one(void)
{
    return eng_snapshot_create(u.eng, "another", NULL);
}

static int rename_one(void)
{
    return eng_snapshot_rename(u.eng, "another", "again");
}

Test(snapshots, without_memory_nothing_changes)
{
    make_files();
    copies[0] = copied_snapshot(&u, "s");
    change_refused(write_one);
    change_refused(rename_over);
    change_refused(snapshot_one);
    change_refused(rename_one);
    free_copies();
}

static int overwrite(unsigned i, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(SIZE, seed);
    ssize_t n = eng_write(u.eng, file(i), bytes, SIZE, 0);
    free(bytes);
    return n < 0 ? (int)n : 0;
}

/* What snapshots keep fills the disk: changes are refused, and so is removing what they show, which would
 * give no room; dropping them does. */
Test(snapshots, on_a_full_disk_they_can_be_dropped)
{
    make_files();
    simdisk_limit(u.disk, simdisk_used(u.disk) + (UINT64_C(6) << 20));
    copies[0] = copied_snapshot(&u, "s");
    int r = 0;
    unsigned n = 0;
    for (; !r; n++) {
        cr_assert_lt(n, 1000);
        r = overwrite(n % FILES, n);
        if (!r && n % FILES == FILES - 1)
            r = eng_snapshot_create(u.eng, (char[]){(char)('A' + n / FILES), 0}, NULL);
    }
    cr_assert_eq(r, -ENOSPC);
    compare_left();
    cr_assert_eq(unit_problems(&u), 0);
    for (unsigned i = 0; i < FILES / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), -ENOSPC, "file %u", i);
    const struct eng_attr none = {0};
    cr_assert_eq(eng_setattr(u.eng, file(FILES - 1), &none, ENG_SET_SIZE, NULL), -ENOSPC);
    compare_left();
    struct list l = list_snapshots();
    for (size_t i = 1; i < l.n; i++)
        cr_assert_eq(eng_snapshot_drop(u.eng, l.names[i]), 0, "%s", l.names[i]);
    compare_left();
    for (unsigned i = 0; i < 3 * FILES; i++)
        cr_assert_eq(overwrite(FILES - 1 - i % (FILES / 2), i), 0, "there is room again");
    for (unsigned i = 0; i < FILES / 2; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0, "file %u", i);
    compare_left();
    cr_assert_eq(unit_problems(&u), 0);
    free_copies();
}

/* ---- damage ---------------------------------------------------------------------------------- */

static unsigned moments_problems;

static void count_problem(void *arg, const char *line)
{
    (void)arg;
    (void)line;
    moments_problems++;
}

Test(snapshots, a_check_finds_what_is_wrong_with_them)
{
    const char *names[] = {"one", "two", "six"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        MUST(eng_snapshot_create(u.eng, names[i], NULL) == 0);
    struct index *idx = &u.eng->idx;
    uint64_t newest = idx->s.newest_snapshot;
    struct moment_rec *rec = table_mut(&idx->moments, 2), sound = *rec;
    for (unsigned fault = 0; fault < 6; fault++) {
        moments_problems = 0;
        if (fault == 1)
            rec->batch = 1;
        if (fault == 2)
            rec->name = ((const struct moment_rec *)table_get(&idx->moments, 1))->name;
        if (fault == 3)
            rec->name_len = 0;
        if (fault == 4)
            idx->s.newest_snapshot--;
        if (fault == 5)
            memcpy(names_mut(&idx->names, rec->name, 3), "six", 3);
        int64_t found = index_verify(idx, false, count_problem, NULL);
        cr_assert(fault ? found > 0 && moments_problems > 0 : !found, "fault %u", fault);
        *rec = sound;
        idx->s.newest_snapshot = newest;
    }
    memcpy(names_mut(&idx->names, rec->name, 3), "two", 3);
    cr_assert_eq(unit_problems(&u), 0);
}

/* A name that is lost with its part of the index is made up; what is not in its order goes. */
Test(snapshots, an_index_in_parts_keeps_what_is_left_of_them)
{
    static const char names[][4] = {"one", "two", "six", "ten"};
    static const char expect[][4] = {"#10", "two", "ten"};
    const struct index_holes holes = {0};
    struct index idx;
    uint8_t *lost;
    uint32_t n_slots, last = 0;
    MUST(index_init(&idx, 1) == 0);
    const struct op root = {.type = OP_CREATE, .ino = ENG_ROOT_INO, .mode = S_IFDIR | 0755};
    MUST(index_reserve(&idx, &root, 1) == 0 && index_apply(&idx, &root, 1) == 0);
    for (uint64_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct op op = {.type = OP_SNAPSHOT, .name = names[i], .name_len = 3};
        MUST(index_reserve(&idx, &op, 1) == 0 && index_apply(&idx, &op, 10 + i) == 0);
    }
    memset(names_mut(&idx.names, index_moment(&idx, 1)->name, 3), 0, 3);
    ((struct moment_rec *)table_mut(&idx.moments, 3))->batch = 1;
    cr_assert_gt(index_verify(&idx, false, NULL, NULL), 0);
    MUST(index_mend(&idx, &holes, NULL, 0, &lost, &n_slots) == 0);
    for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
        uint32_t record = index_find_snapshot(&idx, expect[i], 3);
        cr_assert_gt(record, last, "%s", expect[i]);
        last = record;
    }
    cr_assert_eq(index_find_snapshot(&idx, "six", 3), 0);
    cr_assert_eq(idx.s.newest_snapshot, 13);
    cr_assert_eq(index_verify(&idx, false, NULL, NULL), 0);
    free(lost);
    index_free(&idx);
}

/* ---- beside others ------------------------------------------------------------------------------ */

#define ROUNDS 400u

struct writer {
    pthread_t thread;
    unsigned number;
};

static void *write_all_the_time(void *arg)
{
    const struct writer *w = arg;
    char name[16], tmp[16];
    (void)snprintf(tmp, sizeof tmp, "tmp%u", w->number);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct eng_attr attr;
        (void)snprintf(name, sizeof name, "f%u", (w->number + 3 * i) % FILES);
        if (eng_create(u.eng, NULL, ENG_ROOT_INO, tmp, S_IFREG | 0600, 0, NULL, &attr) != 0 ||
            eng_write(u.eng, attr.ino, name, sizeof name, i % 50) != sizeof name)
            return arg;
        if (i % 3 && eng_rename(u.eng, NULL, ENG_ROOT_INO, tmp, ENG_ROOT_INO, name, 0) != 0)
            return arg;
        if (i % 3 == 0 && eng_unlink(u.eng, ENG_ROOT_INO, tmp) != 0)
            return arg;
        if (eng_lookup(u.eng, NULL, ENG_ROOT_INO, name, &attr) == 0) /* it may be replaced by now */
            (void)eng_append(u.eng, attr.ino, name, sizeof name, NULL);
    }
    return NULL;
}

/* While threads write, snapshots come and go, and what goes is swept and compacted. */
Test(snapshots, come_and_go_beside_writers)
{
    struct writer writers[2];
    void *failed;
    make_files();
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = 5;
    unit_open(&u);
    atomic_store(&u.eng->slice, 4);
    MUST(eng_snapshot_create(u.eng, "stays", NULL) == 0);
    copies[0] = copy_tree(&u, u.eng->idx.s.newest_snapshot);
    for (unsigned i = 0; i < 2; i++) {
        writers[i].number = i;
        MUST(pthread_create(&writers[i].thread, NULL, write_all_the_time, &writers[i]) == 0);
    }
    for (unsigned i = 0; i < 40; i++) {
        MUST(eng_snapshot_create(u.eng, name_of(i), NULL) == 0);
        if (i >= 3)
            MUST(eng_snapshot_drop(u.eng, name_of(i - 3)) == 0);
        if (i % 10 == 0)
            (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
    }
    for (unsigned i = 0; i < 2; i++) {
        MUST(pthread_join(writers[i].thread, &failed) == 0);
        cr_assert_null(failed);
    }
    unit_close(&u);
    u.opt.no_background = true;
    unit_open(&u);
    compare_left();
    cr_assert_eq(unit_problems(&u), 0);
    copy_free(&copies[0]);
    MUST(eng_snapshot_drop(u.eng, "stays") == 0);
    for (unsigned i = 37; i < 40; i++)
        MUST(eng_snapshot_drop(u.eng, name_of(i)) == 0);
    expect_no_past();
}

/* ---- cuts ------------------------------------------------------------------------------------------ */

/* Some changes of each kind; false: the disk refused one. */
static bool try_changes(unsigned round)
{
    static const char bytes[3000] = "something";
    const struct eng_attr attr = {.size = 10};
    struct eng_attr found;
    if (eng_create(u.eng, NULL, ENG_ROOT_INO, "tmp", S_IFREG | 0600, 0, NULL, &found) != 0 ||
        eng_write(u.eng, found.ino, bytes, sizeof bytes, round) != sizeof bytes ||
        eng_rename(u.eng, NULL, ENG_ROOT_INO, "tmp", ENG_ROOT_INO, name_of(1 + round), 0) != 0 ||
        eng_unlink(u.eng, ENG_ROOT_INO, name_of(6 + round)) != 0 ||
        eng_lookup(u.eng, NULL, ENG_ROOT_INO, name_of(0), &found) != 0 ||
        eng_write(u.eng, found.ino, bytes, sizeof bytes, 100 * round) != sizeof bytes ||
        eng_setxattr(u.eng, found.ino, "user.x", bytes, 20 + round, 0) != 0)
        return false;
    return eng_lookup(u.eng, NULL, ENG_ROOT_INO, name_of(3), &found) == 0 &&
           eng_setattr(u.eng, found.ino, &attr, ENG_SET_SIZE, NULL) == 0 && eng_sync(u.eng) == 0;
}

/* *ret_new: a copy of what the snapshot shows that was made on the way, if it was. False: it was cut. */
static bool try_all(struct copy *ret_new)
{
    uint64_t batch;
    if (!try_changes(0) || eng_snapshot_create(u.eng, "new", &batch) != 0 || simdisk_is_off(u.disk))
        return false;
    *ret_new = copy_tree(&u, batch);
    if (!try_changes(1) || eng_snapshot_drop(u.eng, name_of(0)) != 0)
        return false;
    return eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0 && try_changes(2);
}

/* Whatever call of the disk is the last one, and whatever of what was not synced survives. */
Test(snapshots, a_cut_leaves_what_was_made_whole)
{
    make_files();
    for (unsigned i = 0; i < 2; i++) {
        copies[i] = copied_snapshot(&u, name_of(i));
        unit_write(&u, file(2), 5000, i, 0);
    }
    unit_close(&u);
    struct unit base = u;
    bool whole = false;
    uint64_t at = 1;
    for (; !whole; at++) {
        struct copy new = {0};
        unit_clone(&u, &base);
        unit_open(&u);
        atomic_store(&u.eng->slice, 3);
        simdisk_cut_at(u.disk, at, false);
        whole = try_all(&new);
        unit_kill(&u, at % 3 ? SIM_RANDOM : SIM_TORN, at);
        unit_open(&u);
        for (unsigned round = 0; round < 2; round++) {
            copy_compare(&u, &copies[1]);
            if (new.n)
                copy_compare(&u, &new);
            if (strcmp(list_snapshots().names[0], name_of(0)) == 0)
                copy_compare(&u, &copies[0]); /* it was not dropped, or that was lost */
            cr_assert_eq(unit_problems(&u), 0);
            MUST(eng_tick(u.eng) == 0);
        }
        copy_free(&new);
        unit_done(&u);
    }
    cr_assert_gt(at, 40, "there were but %llu calls", (unsigned long long)at);
    u = base;
    unit_open(&u);
    compare_left();
    free_copies();
}
