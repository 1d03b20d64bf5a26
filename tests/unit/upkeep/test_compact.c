/*
 * test_compact.c - compaction: what it gives back, what it must not change,
 * and what it leaves in place. What happens to it meanwhile is in test_compact_interleave.c. */
#include "compact_files.h"

TestSuite(compact, .init = setup, .fini = teardown);

static uint64_t disk_use(void)
{
    uint64_t bytes = 0;
    cr_assert_eq(u.eng->io->ops->usage(u.eng->io, &bytes), 0);
    return bytes;
}

/* ---- what it does ------------------------------------------------------------------ */

Test(compact, gives_back_what_it_says_and_changes_nothing_else)
{
    struct eng_attr before[N_FILES], after;
    struct locator from[N_FILES], to;
    struct eng_job_report rep;
    unsigned n_moved = 0;
    for (int i = 0; i < N_FILES; i++) {
        before[i] = unit_attr(&u, inos[i]);
        cr_assert(unit_locator(&u, inos[i], 0, &from[i]));
    }
    struct eng_stats st = unit_stats(&u);
    uint64_t used = disk_use();
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.state, ENG_JOB_DONE);
    cr_assert_eq(rep.error, 0);
    cr_assert_eq(rep.compact.old_size, used);
    cr_assert_eq(rep.compact.new_size, disk_use());
    cr_assert_eq(rep.compact.bytes_reclaimed, rep.compact.old_size - rep.compact.new_size);
    cr_assert_float_eq(rep.compact.fragmentation_before, st.fragmentation_ratio, 1e-9);
    cr_assert_leq(rep.compact.fragmentation_after, 0.01);
    cr_assert_gt(rep.total, 3);
    cr_assert_eq(rep.done, rep.total);
    cr_assert_eq(rep.compact.extents_damaged + rep.compact.extents_lost, 0);
    struct eng_stats now = unit_stats(&u);
    cr_assert_eq(now.live_bytes, st.live_bytes);
    cr_assert_eq(now.total_bytes, st.live_bytes);
    cr_assert_eq(now.compactions_ok, 1);
    cr_assert_eq(now.bytes_reclaimed_total, rep.compact.bytes_reclaimed);
    cr_assert_gt(now.last_compaction, 0);
    cr_assert_eq(now.relocations, rep.compact.extents_moved);
    for (int i = 0; i < N_FILES; i++) {
        after = unit_attr(&u, inos[i]);
        cr_assert(unit_locator(&u, inos[i], 0, &to));
        bool moved = !locator_equal(&from[i], &to);
        n_moved += moved;
        cr_assert_eq(after.generation > before[i].generation, moved, "file %d: the generation tells (I2)", i);
        after.generation = before[i].generation;
        cr_assert_eq(memcmp(&after, &before[i], sizeof(after)), 0, "nothing a person can see has changed");
    }
    cr_assert_gt(n_moved, 8);
    expect_all();
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_all();
    cr_assert_eq(eng_tick(u.eng), 0); /* the power loss may have brought back what was unlinked */
    cr_assert_eq(unit_stats(&u).total_bytes, st.live_bytes);
}

Test(compact, the_estimate_is_exact)
{
    struct eng_compact_estimate e, none;
    struct eng_job_report rep;
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "b"), 0); /* counts at once */
    cr_assert_eq(eng_compact_estimate(u.eng, &e), 0);
    struct eng_stats st = unit_stats(&u);
    cr_assert_eq(e.bytes_given_back, st.total_bytes - st.live_bytes);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.bytes_moved, e.bytes_to_move);
    cr_assert_eq(rep.compact.estimate_error_moved, 0);
    cr_assert_eq(rep.compact.estimate_error_given_back,
                 (int64_t)rep.compact.old_size - (int64_t)rep.compact.new_size - (int64_t)e.bytes_given_back);
    cr_assert_eq(unit_stats(&u).total_bytes, st.total_bytes - e.bytes_given_back);
    cr_assert_eq(eng_compact_estimate(u.eng, &none), 0);
    cr_assert_eq(none.segments + none.bytes_to_move + none.bytes_given_back, 0);
}

Test(compact, with_nothing_to_do_does_nothing)
{
    struct eng_job_report rep;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    uint64_t seq = unit_stats(&u).log_seq;
    unsigned segments = unit_files(&u, ".seg", NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.state, ENG_JOB_DONE);
    cr_assert_str_eq(rep.reason, "no garbage");
    cr_assert_eq(rep.compact.bytes_moved + rep.total + rep.compact.bytes_reclaimed, 0);
    cr_assert_eq(unit_stats(&u).log_seq, seq);
    cr_assert_eq(unit_files(&u, ".seg", NULL), segments);
}

Test(compact, moves_nothing_out_of_segments_without_life)
{
    struct eng_job_report rep;
    for (int i = 0; i < N_FILES; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, (char[]){(char)('a' + i), 0}), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.bytes_moved, 0);
    cr_assert_eq(rep.compact.fragmentation_after, 0);
    cr_assert_eq(unit_stats(&u).total_bytes, 0);
    cr_assert_leq(unit_files(&u, ".seg", NULL), 1);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(compact, moves_ranges_of_extents_only)
{
    struct eng_job_report rep;
    uint64_t ino = unit_file(&u, "cut", 60000, 77);
    uint8_t *want = unit_bytes(60000, 77);
    unit_write(&u, ino, 1000, 78, 20001);
    uint8_t *patch = unit_bytes(1000, 78);
    memcpy(want + 20001, patch, 1000);
    cr_assert_eq(eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 5, 4094), 0);
    memset(want + 5, 0, 4094);
    struct eng_attr attr = {.size = 50007};
    cr_assert_eq(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL), 0);
    uint64_t live = unit_stats(&u).live_bytes;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_leq(rep.compact.bytes_moved, live);
    cr_assert(unit_holds_bytes(&u, ino, want, 50007));
    cr_assert_eq(unit_attr(&u, ino).bytes, 50007 - 4094);
    cr_assert_eq(unit_stats(&u).total_bytes, live);
    expect_all();
    free(want);
    free(patch);
}

Test(compact, moves_thousands_of_small_files_and_large_xattrs)
{
    enum { N = 1500 };
    uint64_t made[N];
    uint8_t *value = unit_bytes(3072, 5), back[3072];
    for (int i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "f%d", i);
        made[i] = unit_file(&u, name, 100, (uint64_t)i);
        if (i % 10 == 0)
            cr_assert_eq(eng_setxattr(u.eng, made[i], "user.engram.embedding", value, 3072, 0), 0);
        if (i % 3 == 0)
            unit_write(&u, made[i], 100, (uint64_t)i, 0);
    }
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_leq(unit_stats(&u).fragmentation_ratio, 0.01);
    for (int i = 0; i < N; i++) {
        cr_assert(unit_holds(&u, made[i], 100, (uint64_t)i));
        if (i % 10)
            continue;
        cr_assert_eq(eng_getxattr(u.eng, made[i], "user.engram.embedding", back, 3072), 3072);
        cr_assert_eq(memcmp(value, back, 3072), 0);
    }
    free(value);
    expect_all();
}

Test(compact, moves_what_is_unlinked_but_referenced)
{
    struct eng_attr attr;
    struct eng_caller who = {.ref = true};
    struct locator before, after;
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "d", &attr), 0);
    cr_assert(unit_locator(&u, attr.ino, 0, &before));
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "d"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert(unit_locator(&u, attr.ino, 0, &after));
    cr_assert_neq(before.seg, after.seg);
    cr_assert_not(unit_has_segment(&u, before.seg));
    cr_assert(unit_holds(&u, attr.ino, size_of(3), 3));
    cr_assert_eq(eng_forget(u.eng, attr.ino, 1), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(unit_stats(&u).memories, N_FILES - 1);
    cr_assert_leq(unit_stats(&u).fragmentation_ratio, 0.01);
}

/* ---- what it leaves alone -------------------------------------------------------------- */

Test(compact, leaves_what_it_cannot_verify_in_place_and_says_so)
{
    struct eng_job_report rep;
    struct locator bad, now;
    cr_assert(unit_locator(&u, inos[5], 0, &bad));
    unit_damage(&u, &bad, 4100);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 1);
    cr_assert_lt(rep.done, rep.total);
    cr_assert(unit_locator(&u, inos[5], 0, &now));
    cr_assert(locator_equal(&bad, &now), "I5: it stays where it was");
    cr_assert(unit_has_segment(&u, bad.seg));
    cr_assert_eq(unit_stats(&u).damaged_extents, 1);
    char buf[4096];
    cr_assert_eq(eng_read(u.eng, inos[5], buf, 4096, 0), 4096, "its sound block is still there");
    cr_assert_eq(eng_read(u.eng, inos[5], buf, 4096, 4096), -EIO);
    for (int i = 0; i < N_FILES; i++)
        cr_assert(i == 5 || unit_holds(&u, inos[i], size_of(i), (uint64_t)i));
    for (int i = 0; i < 2; i++) { /* it is found again, not lost, by whoever comes next */
        unit_reopen(&u);
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
        cr_assert_eq(rep.compact.extents_damaged, 1);
        cr_assert(unit_has_segment(&u, bad.seg));
    }
    unit_write(&u, inos[5], size_of(5), 5, 0); /* restored from a copy */
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 0);
    cr_assert_not(unit_has_segment(&u, bad.seg));
    unit_reopen(&u);
    expect_all();
}

/* A disk with one bad spot: reads of that file that touch the byte fail. */
static struct eng_io_ops bad_ops;
static ssize_t (*good_pread)(struct io_file *file, void *buf, size_t size, uint64_t offset);
static struct io_file *bad_file;
static uint64_t bad_at;

static ssize_t bad_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    bool hit = file == bad_file && offset <= bad_at && bad_at < offset + size;
    return hit ? -EIO : good_pread(file, buf, size, offset);
}

static void record_damage(void *arg, const struct eng_damage *d)
{
    unsigned *n = arg;
    cr_assert_str_eq(d->path, "d");
    cr_assert_str_eq(d->reason, "read error");
    ++*n;
}

Test(compact, a_bad_spot_harms_only_the_extent_that_it_lies_in)
{
    struct eng_job_report rep;
    struct locator loc;
    struct segment *seg;
    unsigned n = 0;
    cr_assert(unit_locator(&u, inos[3], 0, &loc)); /* "b", "f" lie in the same segment */
    cr_assert_eq(segments_pin(&u.eng->segments, loc.seg, &seg), 0);
    struct eng_io *io = simdisk_io(u.disk);
    const struct eng_io_ops *ops = io->ops;
    bad_ops = *ops;
    good_pread = ops->pread;
    bad_ops.pread = bad_pread;
    bad_ops.cached = NULL; /* reads past the cache have another io_file */
    bad_file = seg->file;
    bad_at = locator_offset(&loc) + 2000;
    io->ops = &bad_ops;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 1);
    cr_assert_eq(rep.done, rep.total - 1);
    cr_assert_eq(eng_damaged(u.eng, record_damage, &n), 0);
    cr_assert_eq(n, 1);
    cr_assert_eq(unit_read_error(&u, inos[3]), -EIO);
    for (int i = 0; i < N_FILES; i++)
        cr_assert(i == 3 || unit_holds(&u, inos[i], size_of(i), (uint64_t)i));
    io->ops = ops;
    segments_unpin(seg);
}

Test(compact, damage_of_an_xattr_harms_nothing_else)
{
    uint8_t *value = unit_bytes(3000, 9);
    cr_assert_eq(eng_setxattr(u.eng, inos[1], "user.big", value, 3000, 0), 0);
    struct xattr_view view;
    const struct inode_rec *inode = index_inode(&u.eng->idx, inos[1]);
    cr_assert(index_xattr(&u.eng->idx, index_find_xattr(&u.eng->idx, inode, "user.big", 8), &view));
    struct locator bad = view.loc;
    unit_file(&u, "garbage beside it", 100, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage beside it"), 0);
    unit_damage(&u, &bad, 0);
    struct eng_job_report rep;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.compact.extents_damaged, 1);
    cr_assert_eq(eng_getxattr(u.eng, inos[1], "user.big", value, 3000), -EIO);
    cr_assert(unit_holds(&u, inos[1], size_of(1), 1));
    cr_assert_eq(eng_removexattr(u.eng, inos[1], "user.big"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_not(unit_has_segment(&u, bad.seg));
    free(value);
}

Test(compact, unlinks_nothing_while_the_store_is_held)
{
    struct eng_job_report rep;
    struct locator loc;
    cr_assert(unit_locator(&u, inos[1], 0, &loc));
    cr_assert_eq(eng_release(u.eng), -EINVAL);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    unsigned segments = unit_files(&u, ".seg", NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_geq(unit_files(&u, ".seg", NULL), segments);
    cr_assert_gt(unit_stats(&u).segments_pending, 0);
    cr_assert_eq(unit_stats(&u).holds, 2);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert(unit_has_segment(&u, loc.seg), "held twice");
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_not(unit_has_segment(&u, loc.seg));
    cr_assert_eq(unit_stats(&u).segments_pending, 0);
    expect_all();
}

Test(compact, unlinks_no_segment_that_is_pinned)
{
    struct locator loc;
    struct segment *seg;
    cr_assert(unit_locator(&u, inos[1], 0, &loc));
    cr_assert_eq(segments_pin(&u.eng->segments, loc.seg, &seg), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert(unit_has_segment(&u, loc.seg), "I1");
    uint8_t *buf = malloc(size_of(1)), *want = unit_bytes(size_of(1), 1);
    cr_assert_eq(segment_read(seg, u.eng->io->ops, inos[1], 0, &loc, 0, loc.len, buf), 0);
    cr_assert_eq(memcmp(buf, want, loc.len), 0, "and its bytes are what they were");
    segments_unpin(seg);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_not(unit_has_segment(&u, loc.seg));
    free(buf);
    free(want);
}

Test(compact, a_store_opened_for_reading_is_not_compacted)
{
    struct eng_maintenance_report rep;
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), -EROFS);
    cr_assert_eq(eng_run_maintenance(u.eng, &rep), -EROFS);
    expect_all();
}
