/*
 * test_stats.c - figures: each is measured, and moves when and only when what
 * it measures does. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(stats, .init = setup, .fini = teardown);

Test(stats, a_new_store_is_empty)
{
    struct eng_stats st = unit_stats(&u);
    cr_assert(st.total_bytes == 0 && st.live_bytes == 0 && st.fragmentation_ratio == 0);
    cr_assert(st.memories == 0 && st.directories == 1 && st.other_inodes == 0 && st.orphans == 0);
    cr_assert(st.segments == 1 && st.segments_pending == 0 && st.pinned_segments == 1);
    cr_assert(st.compactions_ok + st.compactions_failed + st.compactions_cancelled == 0);
    cr_assert(st.last_compaction == 0 && st.bytes_reclaimed_total == 0 && st.damaged_extents == 0);
    cr_assert(st.log_seq == 1 && st.durable_seq == 1, "the root directory");
    cr_assert(!st.read_only_reason[0] && !st.last_error[0]);
}

Test(stats, count_payload_live_and_dead)
{
    uint64_t a = unit_file(&u, "a", 10000, 1);
    unit_file(&u, "b", 30000, 2);
    struct eng_stats st = unit_stats(&u);
    cr_assert(st.total_bytes == 40000 && st.live_bytes == 40000 && st.fragmentation_ratio == 0);
    unit_write(&u, a, 10000, 3, 0);
    st = unit_stats(&u);
    cr_assert(st.total_bytes == 50000 && st.live_bytes == 40000);
    cr_assert_float_eq(st.fragmentation_ratio, 0.2, 1e-12);
    cr_assert_eq(eng_unlink(u.eng, 1, "b"), 0);
    st = unit_stats(&u);
    cr_assert(st.total_bytes == 50000 && st.live_bytes == 10000, "what was removed counts at once");
    cr_assert_float_eq(st.fragmentation_ratio, 0.8, 1e-12);
    cr_assert_eq(st.memories, 1);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    struct eng_stats again = unit_stats(&u);
    cr_assert(again.total_bytes == 50000 && again.live_bytes == 10000, "the same after recovery");
    unit_reopen(&u);
    again = unit_stats(&u);
    cr_assert_eq(again.live_bytes, 10000);
    cr_assert_leq(again.total_bytes, 50000);
}

/* What snapshots alone show is apart: it is no memory, and has a line of the receipt. */
static void expect(uint64_t files, uint64_t dirs, uint64_t others, uint64_t live, uint64_t past,
                   uint64_t snapshots)
{
    cr_assert_eq(unit_problems(&u), 0); /* and all of the index is loaded */
    struct eng_stats st = unit_stats(&u);
    struct eng_space sp;
    int64_t sum = 0, in_live = 0, in_past = 0;
    cr_assert_eq(st.memories, files, "%llu memories", (unsigned long long)st.memories);
    cr_assert(st.directories == dirs && st.other_inodes == others);
    cr_assert_eq(st.past_bytes, past, "%llu bytes", (unsigned long long)st.past_bytes);
    cr_assert(st.live_bytes == live + past && st.snapshots == snapshots);
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    for (unsigned i = 0; i < sp.n_kinds; i++) {
        sum += sp.kinds[i].bytes;
        in_live += sp.kinds[i].id == ENG_SPACE_LIVE ? sp.kinds[i].bytes : 0;
        in_past += sp.kinds[i].id == ENG_SPACE_SNAPSHOTS ? sp.kinds[i].bytes : 0;
    }
    cr_assert(sum == (int64_t)sp.disk_bytes && in_live == (int64_t)live && in_past == (int64_t)past);
}

Test(stats, what_snapshots_alone_show_is_no_memory)
{
    static char value[5000];
    struct eng_attr attr;
    uint64_t a = unit_file(&u, "a", 10000, 1);
    unit_file(&u, "b", 20000, 2);
    (void)unit_mkdir(&u, "dir");
    cr_assert_eq(eng_create(u.eng, NULL, 1, "link", S_IFLNK | 0777, 0, "target", &attr), 0);
    cr_assert_eq(eng_setxattr(u.eng, a, "user.x", value, sizeof value, 0), 0);
    expect(2, 2, 1, 35000, 0, 0);
    cr_assert_eq(eng_snapshot_create(u.eng, "s", NULL), 0);
    cr_assert_eq(eng_snapshot_create(u.eng, "t", NULL), 0);
    expect(2, 2, 1, 35000, 0, 2);
    cr_assert_eq(eng_unlink(u.eng, 1, "a"), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "link"), 0);
    cr_assert_eq(eng_rmdir(u.eng, 1, "dir"), 0);
    expect(1, 1, 0, 20000, 15000, 2);
    unit_write(&u, unit_lookup(&u, "b"), 4000, 3, 0);
    for (unsigned round = 0; round < 3; round++) {
        expect(1, 1, 0, 20000, 19000, 2);
        if (round == 0)
            unit_kill(&u, SIM_KEEP_ALL, 0), unit_open(&u);
        else
            unit_reopen(&u);
    }
    cr_assert_eq(eng_snapshot_drop(u.eng, "s"), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    expect(1, 1, 0, 20000, 19000, 1);
    cr_assert_eq(eng_snapshot_drop(u.eng, "t"), 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    expect(1, 1, 0, 20000, 0, 0);
}

/* What is written to one of these, and fields, counts with it; a name that comes back makes it a memory. */
Test(stats, what_has_no_name_counts_as_it_is)
{
    static char value[5000];
    const struct eng_caller opener = {.ref = true};
    struct eng_attr attr;
    uint64_t a = unit_file(&u, "a", 10000, 1);
    cr_assert_eq(eng_snapshot_create(u.eng, "s", NULL), 0);
    cr_assert_eq(eng_lookup(u.eng, &opener, 1, "a", &attr), 0);
    cr_assert_eq(eng_unlink(u.eng, 1, "a"), 0);
    expect(0, 1, 0, 0, 10000, 1);
    unit_write(&u, a, 3000, 2, 20000);
    cr_assert_eq(eng_setxattr(u.eng, a, "user.x", value, sizeof value, 0), 0);
    expect(0, 1, 0, 0, 18000, 1);
    cr_assert_eq(eng_removexattr(u.eng, a, "user.x"), 0);
    expect(0, 1, 0, 0, 13000, 1);
    cr_assert_eq(eng_link(u.eng, NULL, a, 1, "again", NULL), 0);
    expect(1, 1, 0, 13000, 0, 1);
    cr_assert_eq(eng_unlink(u.eng, 1, "again"), 0);
    expect(0, 1, 0, 0, 13000, 1);
    cr_assert_eq(eng_forget(u.eng, a, 1), 0);
    expect(0, 1, 0, 0, 10000, 1);
}

Test(stats, count_operations)
{
    struct eng_stats a = unit_stats(&u), b;
    char buf[100];
    uint64_t f = unit_file(&u, "f", 500, 1);
    cr_assert_eq(eng_append(u.eng, f, "12345", 5, NULL), 5);
    cr_assert_eq(eng_read(u.eng, f, buf, 100, 0), 100);
    cr_assert_eq(eng_read(u.eng, f, buf, 100, 500), 5);
    cr_assert_eq(eng_read(u.eng, f, buf, 100, 5000), 0);
    struct eng_record r = {.parent = 1, .name = "r", .content = "123", .size = 3};
    cr_assert_eq(eng_put_many(u.eng, &r, 1), 1);
    cr_assert_eq(eng_write(u.eng, 1, buf, 1, 0), -EISDIR);
    cr_assert_eq(eng_read(u.eng, 1, buf, 1, 0), -EISDIR);
    b = unit_stats(&u);
    cr_assert_eq(b.writes - a.writes, 3);
    cr_assert_eq(b.bytes_written - a.bytes_written, 508);
    cr_assert_eq(b.reads - a.reads, 3);
    cr_assert_eq(b.bytes_read - a.bytes_read, 105);
    cr_assert_eq(b.batches - a.batches, 4);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    b = unit_stats(&u);
    uint64_t timed = 0;
    for (unsigned i = 0; i < ENG_HIST_BUCKETS; i++)
        timed += b.sync_seconds.count[i];
    cr_assert_eq(b.syncs - a.syncs, 1);
    cr_assert_eq(timed, b.syncs);
    cr_assert_eq(b.checkpoints - a.checkpoints, 1);
    cr_assert_eq(b.checkpoint_seq, b.log_seq);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    b = unit_stats(&u);
    timed = 0;
    for (unsigned i = 0; i < ENG_HIST_BUCKETS; i++)
        timed += b.compaction_seconds.count[i];
    cr_assert_eq(timed, 1);
}

static uint64_t on_disk;

static void add_size(void *arg, const char *name, uint64_t size)
{
    (void)arg;
    if (strstr(name, ".seg") || strstr(name, ".ckp") || strstr(name, ".cpy"))
        on_disk += size;
}

Test(stats, disk_bytes_are_those_of_the_files)
{
    for (int pass = 0; pass < 4; pass++) {
        unit_file(&u, (char[]){(char)('a' + pass), 0}, 50000, 1);
        if (pass == 1)
            cr_assert_eq(checkpoint_write(u.eng), 0);
        if (pass == 2)
            unit_reopen(&u);
        on_disk = 0;
        simdisk_each(u.disk, add_size, NULL);
        if (u.eng->log.ahead)
            on_disk -= u.eng->log.ahead - u.eng->log.tail;
        struct eng_stats st = unit_stats(&u);
        cr_assert_eq(st.disk_bytes, on_disk, "pass %d: %llu of %llu", pass, (unsigned long long)st.disk_bytes,
                     (unsigned long long)on_disk);
        cr_assert_eq(st.checkpoint_bytes > 0, pass > 0);
        cr_assert_eq(unit_file_size(&u, "reserve"), st.reserve_bytes);
        cr_assert_gt(st.index_bytes, 0);
    }
}

Test(stats, statfs_counts_what_compaction_gives_back)
{
    struct eng_statfs a, b, c;
    simdisk_limit(u.disk, 64 << 20);
    cr_assert_eq(eng_statfs(u.eng, &a), 0);
    cr_assert_eq(a.block_size, 4096);
    cr_assert(a.bavail <= a.bfree && a.bfree <= a.blocks && a.blocks == (64 << 20) / 4096);
    cr_assert_eq(a.files - a.ffree, 1, "the root");
    for (int i = 0; i < 10; i++)
        unit_file(&u, (char[]){(char)('a' + i), 0}, 1 << 20, 1);
    cr_assert_eq(eng_statfs(u.eng, &b), 0);
    cr_assert_eq(b.files - b.ffree, 11);
    cr_assert_geq(a.bfree - b.bfree, (10 << 20) / 4096);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(eng_unlink(u.eng, 1, (char[]){(char)('a' + i), 0}), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_statfs(u.eng, &c), 0);
    cr_assert_geq(c.bavail - b.bavail, (10 << 20) / 4096 - 16, "at once, before any compaction");
    cr_assert_eq(c.files - c.ffree, 1);
}

struct walk {
    unsigned n, stop_at, active, survivors, pending;
    uint64_t last, total, live, size;
};

static int record_segment(void *arg, const struct eng_segment_info *info)
{
    struct walk *w = arg;
    struct eng_stats st;
    cr_assert_eq(eng_stats(u.eng, &st), 0, "under no lock");
    cr_assert_gt(info->id, w->last, "in order");
    w->last = info->id;
    w->total += info->total;
    w->live += info->live;
    w->size += info->size;
    w->active += info->active;
    w->survivors += info->survivors;
    w->pending += info->pending;
    return ++w->n == w->stop_at;
}

Test(stats, segments_add_up)
{
    struct walk w = {0};
    for (int i = 0; i < 8; i++) {
        unit_file(&u, (char[]){(char)('a' + i), 0}, 40000, 1);
        unit_file(&u, "dead", 10000, 1);
        cr_assert_eq(eng_unlink(u.eng, 1, "dead"), 0);
    }
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_file(&u, "more", 100000, 1);
    unit_file(&u, "most", 10, 1);
    cr_assert_eq(eng_unlink(u.eng, 1, "more"), 0);
    struct eng_stats st = unit_stats(&u);
    cr_assert_eq(eng_segments(u.eng, record_segment, &w), 0);
    cr_assert(w.n == st.segments && w.total == st.total_bytes && w.live == st.live_bytes);
    cr_assert_eq(w.size, st.disk_bytes - st.checkpoint_bytes);
    cr_assert(w.active == 1 && w.survivors >= 1 && w.pending == st.segments_pending);
    cr_assert_eq(w.pending, 1);
    struct walk one = {.stop_at = 1};
    cr_assert_eq(eng_segments(u.eng, record_segment, &one), 0);
    cr_assert_eq(one.n, 1);
}

Test(stats, histogram_buckets_have_inclusive_upper_bounds)
{
    struct eng_hist h = {0};
    for (unsigned i = 1; i < ENG_HIST_BUCKETS - 1; i++)
        cr_assert_gt(eng_hist_bounds[i], eng_hist_bounds[i - 1]);
    for (unsigned i = 0; i < ENG_HIST_BUCKETS - 1; i++) {
        hist_add(&h, eng_hist_bounds[i]);
        cr_assert_eq(h.count[i], i == 0 ? 1 : 2);
        hist_add(&h, eng_hist_bounds[i] * 1.000001);
        cr_assert_eq(h.count[i + 1], 1);
    }
    hist_add(&h, 1e9);
    cr_assert_eq(h.count[ENG_HIST_BUCKETS - 1], 2);
    hist_add(&h, 0);
    cr_assert_eq(h.count[0], 2);
    cr_assert_gt(h.sum, 1e9);
}
