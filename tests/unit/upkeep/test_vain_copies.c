/*
 * test_vain_copies.c - a compaction that meets the end of the disk while it copies gives back the room of
 * what it has copied in vain: else the checkpoint may have none, without which what it has emptied stays. */
#include "inside.h"

#include "hook.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define FILE_SIZE 8000u
#define SEGMENT (4u << 20)
#define COPIES_MIN 100000u /* bytes at once; of relocations fewer are written */
#define SEGMENT_FILES 520u /* so many fill one */

static struct unit u;

static void setup(void)
{
    unit_new(&u, SEGMENT);
}

static void teardown(void)
{
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(vain_copies, .init = setup, .fini = teardown, .timeout = 60);

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

/* Of the first segment a quarter stays, of the second three. */
static bool is_removed(unsigned i)
{
    return i < SEGMENT_FILES ? i % 4 > 0 : i % 4 == 0;
}

static struct eng_io_ops ops;
static const struct eng_io_ops *disk_ops;
static unsigned n_installed, n_writes; /* batches of relocations, and of copies behind the first of these */
static unsigned batches;               /* for so many there is room; 0: for all */
static bool full, again; /* `again`: there is room once more for whoever tries after the installer, */
static bool retried;     /* who takes victims one by one, and has none to install the second's copies */

/* Of what is copied once something was installed there is room for the first MiB. */
static ssize_t write_some(struct io_file *file, const struct iovec *iov, int n, uint64_t at)
{
    if (n_installed && iov[0].iov_len >= 1u << 20 && !batches && !retried)
        full = full || n_writes++ == 1;
    if (full)
        return -ENOSPC;
    full = retried && n_installed && iov[0].iov_len > COPIES_MIN;
    return disk_ops->pwritev(file, iov, n, at);
}

static void note_point(void *arg, enum fault_point point)
{
    (void)arg;
    n_installed += point == FP_COMPACT_INSTALLED;
    if (full && again && point == FP_INSTALLER_IDLE) {
        full = again = false;
        retried = true;
        n_installed = batches = 0;
    }
    full = full || (batches && n_installed == batches);
}

static void fill_up_behind(unsigned n, uint64_t room)
{
    const unsigned n_files = 3 * SEGMENT_FILES;
    for (unsigned i = 0; i < n_files; i++)
        unit_file(&u, name_of(i), FILE_SIZE, i);
    for (unsigned i = 0; i < 2 * SEGMENT_FILES; i++)
        if (is_removed(i))
            cr_assert_eq(eng_unlink(u.eng, 1, name_of(i)), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    simdisk_limit(u.disk, simdisk_used(u.disk) + room);
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.pwritev = write_some;
    simdisk_io(u.disk)->ops = &ops;
    n_installed = n_writes = 0;
    full = false;
    batches = n;
    hook_set(u.eng, note_point, NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), -ENOSPC);
    cr_assert(full);
    simdisk_io(u.disk)->ops = disk_ops;
    for (unsigned i = 0; i < n_files; i++)
        if (i >= 2 * SEGMENT_FILES || !is_removed(i))
            cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), FILE_SIZE, i), "%u", i);
}

/* Its file is as long as what was installed. */
static void expect_cut(void)
{
    bool found = false;
    struct eng_space sp;
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    for (unsigned i = 0; i < sp.n_kinds; i++)
        cr_assert(sp.kinds[i].id == ENG_SPACE_SLACK || sp.kinds[i].bytes >= 0, "%s: %lld", sp.kinds[i].key,
                  (long long)sp.kinds[i].bytes);
    for (uint32_t id = 1; id < 64; id++) {
        const struct seg_rec *seg = index_segment(&u.eng->idx, id);
        if (!seg || seg->kind != SEGMENT_SURVIVORS)
            continue;
        char name[SEGMENT_NAME_SIZE];
        segment_name(id, name);
        uint64_t size = unit_file_size(&u, name);
        cr_assert_lt(size, seg->live + seg->live / 50 + 4096, "%s: %llu bytes for %llu", name,
                     (unsigned long long)size, (unsigned long long)seg->live);
        found = true;
    }
    cr_assert(found);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

/* What was cut is no garbage: room is made where there is some. */
static void expect_room(void)
{
    uint64_t total, live, before = totals_disk(u.eng);
    hook_set(u.eng, NULL, NULL);
    unit_spend_reserve(&u);
    simdisk_limit(u.disk, simdisk_used(u.disk) + 2000000);
    cr_assert_eq(eng_make_room(u.eng, FILE_SIZE), 0);
    totals_get(u.eng, &total, &live);
    cr_assert_lt(total - live, SEGMENT / 2, "%llu", (unsigned long long)(total - live));
    cr_assert_lt(totals_disk(u.eng), before - SEGMENT / 2);
}

/* So little that victims go one by one. */
#define LITTLE (2 * SEGMENT)
#define PLENTY (20 * SEGMENT)

Test(vain_copies, go_when_there_is_no_room_for_the_rest)
{
    fill_up_behind(0, LITTLE);
    expect_cut();
}

/* The second segment takes two batches, and the first one. */
Test(vain_copies, go_when_they_cannot_be_installed)
{
    fill_up_behind(2, LITTLE);
    expect_cut();
}

Test(vain_copies, are_no_garbage_once_cut)
{
    fill_up_behind(2, LITTLE);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    expect_room();
}

/* What the installer could not do is tried once more without it. */
Test(vain_copies, go_when_that_fails_as_well)
{
    again = true;
    hook_installer(u.eng, true);
    fill_up_behind(1, PLENTY);
    hook_installer(u.eng, false);
    cr_assert_not(again);
    expect_cut();
}

/* Both segments are one output, and three batches. */
Test(vain_copies, go_when_the_installer_cannot_install_them)
{
    hook_installer(u.eng, true);
    fill_up_behind(1, PLENTY);
    hook_installer(u.eng, false);
    expect_cut();
}
