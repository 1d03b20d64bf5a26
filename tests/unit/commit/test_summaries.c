/*
 * test_summaries.c - who has what in a segment: the summary behind it leads to all that is live, whatever
 * happened to the store; one that is damaged, torn, missing or incomplete costs nothing but time. */
#include "disk/summary_file.h"

#include "hook.h"
#include "must.h"
#include "one_store.h"
#include "owners.h"
#include "rng.h"
#include "tree/content.h"

#include <criterion/criterion.h>

TestSuite(summaries, .init = setup, .fini = teardown, .timeout = 300);

static const char first_name[] = "s00000001.seg";

static void expect_owners(void)
{
    char why[OWNERS_WHY_MAX] = "";
    cr_assert(owners_agree(u.eng, why), "%s", why);
}

/* Ends the active segment; where its batches end. */
static uint64_t seal(void)
{
    cr_assert_eq(commit_begin(u.eng), 0);
    uint64_t end = u.eng->log.tail;
    commit_seals_locked(u.eng);
    int r = log_seal_locked(&u.eng->log);
    (void)commit_end(u.eng, 0);
    cr_assert_eq(r, 0);
    return end;
}

static size_t ranges_in(uint32_t segment)
{
    struct idmap wanted = {0};
    struct extent_ref *refs = NULL;
    size_t n = 0;
    cr_assert_eq(idmap_reserve(&wanted, 1), 0);
    idmap_set(&wanted, segment, 1);
    cr_assert_eq(extent_refs_collect(u.eng, &wanted, &refs, &n), 0);
    idmap_done(&wanted);
    free(refs);
    return n;
}

static void set_xattr(uint64_t ino, const char *name, char fill, size_t size)
{
    char value[1024];
    memset(value, fill, sizeof value);
    cr_assert_eq(eng_setxattr(u.eng, ino, name, value, size, 0), 0);
}

/* Files, one of several extents, one with attributes, some garbage; in the first segment. */
static void fill(void)
{
    uint64_t a = unit_file(&u, "a", 5000, 1), b = unit_file(&u, "b", 300, 2);
    unit_write(&u, a, 100, 3, 1000);
    unit_write(&u, a, 4000, 4, 8192);
    set_xattr(b, "user.large", 'x', 900);
    set_xattr(b, "user.larger", 'y', 1000);
    unit_file(&u, "c", 1, 5);
    unit_file(&u, "goes", 700, 6);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "goes"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_log_place(&u).segment, 1);
}

/* The first segment's file as it is. */
static uint8_t *image(size_t *ret_size)
{
    uint8_t *data;
    cr_assert_eq(simdisk_get(u.disk, first_name, &data, ret_size), 0);
    return data;
}

/* ---- where it comes from --------------------------------------------------------------------- */

Test(summaries, that_of_a_sealed_segment_is_at_its_end_and_durable)
{
    fill();
    size_t n = ranges_in(1);
    cr_assert_gt(n, 6);
    seal();
    unit_file(&u, "next", 10, 7);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(ranges_in(1), n);
    struct summaries_figures f = summaries_figures(u.eng);
    cr_assert(f.read == 1 && f.scanned == 0 && f.walked == 0);
    cr_assert_eq(u.warnings, 0);
    expect_owners();
}

Test(summaries, that_of_survivors_is_durable_with_the_compaction)
{
    uint64_t a = unit_file(&u, "a", 5000, 1);
    unit_file(&u, "b", 5000, 2);
    unit_write(&u, a, 5000, 3, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    struct locator loc;
    cr_assert(unit_locator(&u, a, 0, &loc));
    cr_assert_eq(index_segment(&u.eng->idx, loc.seg)->kind, SEGMENT_SURVIVORS);
    cr_assert_eq(ranges_in(loc.seg), 2);
    struct summaries_figures f = summaries_figures(u.eng);
    cr_assert(f.read == 1 && f.scanned == 0 && f.walked == 0);
}

Test(summaries, the_active_segment_is_known_and_after_an_opening_it_is_known_again)
{
    fill();
    size_t n = ranges_in(1);
    cr_assert_eq(summaries_figures(u.eng).active, 1);
    unit_reopen(&u);
    cr_assert_eq(unit_log_place(&u).segment, 1, "it goes on");
    unit_file(&u, "later", 500, 7);
    cr_assert_eq(summaries_figures(u.eng).scanned, 0, "not at the opening");
    cr_assert_eq(ranges_in(1), n + 1);
    cr_assert_eq(summaries_figures(u.eng).scanned, 1);
    cr_assert_eq(u.eng->log.summed_from, sizeof(struct segment_header));
    unit_file(&u, "last", 500, 8);
    cr_assert_eq(ranges_in(1), n + 2);
    seal();
    cr_assert_eq(ranges_in(1), n + 2);
    struct summaries_figures f = summaries_figures(u.eng);
    cr_assert(f.scanned == 1 && f.read == 1 && f.walked == 0);
    expect_owners();
}

Test(summaries, a_segment_that_was_opened_and_not_looked_at_is_sealed_without)
{
    fill();
    unit_reopen(&u);
    unit_file(&u, "later", 500, 7);
    uint64_t end = seal();
    cr_assert_eq(unit_file_size(&u, first_name), end);
    expect_owners();
    cr_assert_eq(summaries_figures(u.eng).walked, 0);
}

Test(summaries, a_full_disk_seals_without)
{
    fill();
    atomic_store(&u.eng->log.lean, true);
    uint64_t end = u.eng->log.tail;
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    cr_assert_eq(unit_file_size(&u, first_name), end);
    expect_owners();
}

/* ---- one that is damaged costs nothing ---------------------------------------------------------- */

Test(summaries, each_bit_of_one_may_flip)
{
    size_t size;
    fill();
    size_t n = ranges_in(1);
    uint64_t end = seal();
    uint8_t *data = image(&size);
    cr_assert_gt(size, end);
    unit_close(&u);
    for (uint64_t bit = end * 8; bit < size * 8; bit++) {
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        simdisk_put(u.disk, first_name, data, size);
        unit_open(&u);
        MUST(ranges_in(1) == n);
        struct summaries_figures f = summaries_figures(u.eng);
        MUST(f.read == 0 && f.scanned == 1 && f.kept == 0 && f.walked == 0);
        MUST(ranges_in(1) == n);
        f = summaries_figures(u.eng);
        MUST(f.scanned == 1 && f.kept == 1 && f.cache_bytes > 0);
        MUST(unit_problems(&u) == 0 && u.warnings == 0);
        unit_close(&u);
        data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(data);
}

/* Nothing came behind it: to recovery it is where the log ends. */
Test(summaries, one_may_be_cut_or_torn_at_each_byte)
{
    size_t size;
    fill();
    size_t n = ranges_in(1);
    uint64_t end = seal();
    uint8_t *data = image(&size), *torn = calloc(1, size);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    (void)simdisk_remove(u.disk, "c0000000000000001.ckp"); /* begun, no more: that of the closing */
    struct unit from = u;
    for (size_t at = end; at <= size; at++) {
        for (int zeros = 0; zeros < 2; zeros++) {
            unit_clone(&u, &from);
            memset(torn, 0, size);
            memcpy(torn, data, at);
            simdisk_put(u.disk, first_name, torn, zeros ? size : at);
            unit_open(&u);
            cr_assert_eq(u.warnings, 0, "%zu: %s", at, u.last_warning);
            MUST(ranges_in(1) == n);
            uint64_t more = unit_file(&u, "more", 3000, 9);
            seal();
            unit_reopen(&u);
            MUST(unit_holds(&u, more, 3000, 9) && unit_problems(&u) == 0 && u.warnings == 0);
            char why[OWNERS_WHY_MAX] = "";
            MUST(owners_agree(u.eng, why));
            MUST(summaries_figures(u.eng).walked == 0);
            unit_done(&u);
        }
    }
    u = from;
    free(data);
    free(torn);
}

/* The self-check does not take it for a summary that tells of all, and a compaction loses nothing more. */
Test(summaries, a_segment_that_was_cut_is_not_whole)
{
    fill();
    (void)seal();
    uint64_t later = unit_file(&u, "later", 3000, 9);
    unit_file(&u, "garbage", 3000, 10);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage"), 0);
    unit_close(&u);
    uint8_t head[sizeof(struct segment_header)];
    size_t size;
    uint8_t *data = image(&size);
    memcpy(head, data, sizeof head);
    free(data);
    simdisk_put(u.disk, first_name, head, sizeof head);
    unit_open(&u);
    expect_owners();
    (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL); /* what is lost cannot be moved */
    cr_assert(unit_holds(&u, later, 3000, 9));
    cr_assert_eq(unit_read_error(&u, unit_lookup(&u, "c")), -EIO);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, later, 3000, 9));
}

/* Takes entry `left_out` out of the first segment's summary, and makes its sums right. */
static void forge(uint64_t end, unsigned left_out)
{
    self_check_is_forged = true;
    size_t size;
    uint8_t *data = image(&size);
    struct summary_footer f;
    struct summary s = {0}, short_one = {0};
    struct summary_entry e;
    memcpy(&f, data + size - sizeof f, sizeof f);
    cr_assert_eq(buf_reserve(&s.bytes, f.len + 1), 0);
    memcpy(s.bytes.data, data + end, f.len);
    s.bytes.len = f.len;
    s.n = f.n;
    struct summary_reader reader = summary_begin(&s, end);
    for (unsigned i = 0; summary_next(&reader, &e) == 1; i++)
        if (i != left_out)
            summary_add(&short_one, &e);
    cr_assert_eq(summary_seal(&short_one, 1, u.eng->log.store), 0);
    data = realloc(data, end + short_one.bytes.len);
    memcpy(data + end, short_one.bytes.data, short_one.bytes.len);
    unit_close(&u);
    simdisk_put(u.disk, first_name, data, end + short_one.bytes.len);
    unit_open(&u);
    free(data);
    summary_free(&s);
    summary_free(&short_one);
}

/* Content that is written anew with what differs in it, and anew with nothing that differs. */
static void fill_with_history(void)
{
    cr_assert_eq(store_set_history(u.eng), 0);
    uint64_t a = unit_create(&u, "a"), b = unit_create(&u, "b");
    for (unsigned i = 0; i < 50; i++) {
        cr_assert_eq(eng_append(u.eng, a, "some bytes", 10, NULL), 10);
        cr_assert_eq(eng_append(u.eng, b, "others", 6, NULL), 6);
    }
    cr_assert_lt(unit_extents(&u, a), 15);
    cr_assert_eq(content_gather(u.eng, b, 0, 300), 0);
    cr_assert_eq(unit_extents(&u, b), 1);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(unit_log_place(&u).segment, 1);
}

Test(summaries, have_what_was_written_anew)
{
    fill_with_history();
    size_t n = ranges_in(1);
    expect_owners();
    (void)seal();
    expect_owners();
    cr_assert_eq(ranges_in(1), n);
    cr_assert_eq(summaries_figures(u.eng).walked, 0);
}

Test(summaries, have_it_too_when_they_are_made_of_the_batches)
{
    fill_with_history();
    size_t n = ranges_in(1);
    unit_reopen(&u);
    summaries_complete_active(u.eng);
    expect_owners();
    cr_assert_eq(ranges_in(1), n);
    cr_assert_eq(summaries_figures(u.eng).walked, 0);
}

#define N_FILES 12u

static uint64_t inos[N_FILES];

/* Files of one extent each, in the first segment, which is sealed. Where its batches end. */
static uint64_t fill_files(void)
{
    for (unsigned i = 0; i < N_FILES; i++)
        inos[i] = unit_file(&u, (char[]){(char)('a' + i), 0}, 1000 + i, i);
    return seal();
}

static void expect_files(unsigned from)
{
    for (unsigned i = from; i < N_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], 1000 + i, i), "file %u", i);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(summaries, what_one_leaves_out_is_found_by_the_bytes_that_are_missing)
{
    uint64_t end = fill_files();
    forge(end, 7);
    unit_write(&u, inos[0], 10, 99, 0); /* garbage */
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    expect_files(1);
    cr_assert(!unit_has_segment(&u, 1), "and moved with the others");
    cr_assert_eq(summaries_figures(u.eng).walked, 1);
    unit_reopen(&u);
    expect_files(1);
}

Test(summaries, a_scrub_meets_what_one_leaves_out)
{
    struct eng_job_report report;
    struct locator loc;
    uint64_t end = fill_files();
    forge(end, 7);
    cr_assert(unit_locator(&u, inos[7], 0, &loc));
    unit_damage(&u, &loc, 5);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report), 0);
    cr_assert_eq(report.scrub.damaged, 1);
    cr_assert_eq(report.scrub.extents, N_FILES);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report), 0);
    cr_assert_eq(report.scrub.damaged, 1);
    cr_assert_eq(report.scrub.extents, N_FILES);
}

/* When the summary was asked, before what it led to is counted: as many bytes die as it has left out. */
static void kill_another(void *arg, enum fault_point point)
{
    unsigned *asked = arg;
    if (point != FP_REFS_ASKED || (*asked)++)
        return;
    unit_write(&u, inos[11], 2000, 11, 0);
}

/* The safety rule (I4): whatever was overlooked, the record of the segment says that something is live. */
Test(summaries, a_segment_stays_while_anything_overlooked_is_live_in_it)
{
    unsigned asked = 0;
    uint64_t end = fill_files();
    forge(end, 7);
    unit_write(&u, inos[0], 10, 99, 0);
    seal();
    hook_set(u.eng, kill_another, &asked);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(asked, 1, "another round looks again");
    for (unsigned i = 1; i + 1 < N_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], 1000 + i, i), "file %u", i);
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert(!unit_has_segment(&u, 1));
    unit_reopen(&u);
    for (unsigned i = 1; i + 1 < N_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], 1000 + i, i), "file %u", i);
}

/* ---- owners ------------------------------------------------------------------------------------- */

Test(summaries, another_inode_in_the_slot_is_not_the_owner)
{
    uint64_t a = unit_file(&u, "a", 3000, 1);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "a"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    uint64_t b = unit_file(&u, "b", 2000, 2);
    cr_assert_eq(ino_slot(a), ino_slot(b));
    set_xattr(b, "user.large", 'x', 900);
    cr_assert_eq(unit_log_place(&u).segment, 1);
    cr_assert_eq(ranges_in(1), 2);
    expect_owners();
    seal();
    cr_assert_eq(ranges_in(1), 2);
    expect_owners();
}

/* An extent that is cut in many pieces, some of which lie elsewhere, is asked for in slices. */
Test(summaries, an_extent_in_many_pieces)
{
    enum { SIZE = 6000 };
    uint64_t ino = unit_file(&u, "f", SIZE, 1);
    for (uint64_t off = 1; off < SIZE; off += 4)
        unit_write(&u, ino, 2, off, off);
    seal();
    expect_owners();
    cr_assert_eq(summaries_figures(u.eng).walked, 0);
}

/* ---- the cache ------------------------------------------------------------------------------------ */

Test(summaries, the_cache_is_bounded_and_forgets_what_was_not_used)
{
    struct summary s = {0};
    for (uint32_t i = 0; i < 700000; i++)
        summary_add(&s, &(struct summary_entry){.off8 = 10 + i * 60, .len = 300 + i % 2, .slot = 1 + i});
    cr_assert_geq(s.bytes.len, 3u << 20);
    fill();
    seal();
    for (uint32_t id = 100; id < 110; id++) {
        summaries_keep(u.eng, id, &s);
        cr_assert_leq(summaries_figures(u.eng).cache_bytes, SUMMARIES_CACHE);
    }
    cr_assert_gt(summaries_figures(u.eng).cache_bytes, 0);
    summary_reset(&s);
    summary_add(&s, &(struct summary_entry){.off8 = 10, .len = 300, .slot = 1});
    for (uint32_t id = 200; id < 2300; id++)
        summaries_keep(u.eng, id, &s);
    cr_assert_leq(summaries_figures(u.eng).cache_bytes, 1024 * 8192);
    summary_free(&s);
    expect_owners();
}

/* ---- a model: whatever is done ---------------------------------------------------------------------- */

static void random_change(uint64_t *rng, uint64_t *known, unsigned n)
{
    unsigned i = (unsigned)rng_below(rng, n);
    char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    uint64_t size = 1 + rng_below(rng, rng_below(rng, 4) ? 600 : 9000),
             off = rng_below(rng, 3) ? 0 : rng_below(rng, 9000);
    if (!known[i])
        known[i] = unit_file(&u, name, size, i);
    switch (rng_below(rng, 10)) {
    case 0:
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
        known[i] = 0;
        break;
    case 1:
        MUST(eng_setattr(u.eng, known[i], &(struct eng_attr){.size = off}, ENG_SET_SIZE, NULL) == 0);
        break;
    case 2:
        set_xattr(known[i], "user.x", 'x', 100 + rng_below(rng, 900));
        break;
    case 3:
        set_xattr(known[i], rng_below(rng, 2) ? "user.x" : "user.y", 'y', 1 + rng_below(rng, 900));
        break;
    default:
        unit_write(&u, known[i], size, *rng, off);
    }
}

/* Something that happens to a store, or to what its summaries are made from. */
static void random_event(uint64_t *rng)
{
    char name[64];
    uint8_t *data;
    size_t size;
    switch (rng_below(rng, 8)) {
    case 0:
        unit_reopen(&u);
        break;
    case 1:
        MUST(eng_sync(u.eng) == 0);
        unit_kill(&u, SIM_DROP_ALL, *rng);
        unit_open(&u);
        break;
    case 2:
        unit_kill(&u, SIM_KEEP_ALL, 0);
        unit_open(&u);
        break;
    case 3:
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        break;
    case 4:
        seal();
        break;
    case 5: /* the newest segment that is sealed loses its summary's last bytes */
        seal();
        unit_close(&u);
        unit_files(&u, ".seg", name);
        MUST(simdisk_get(u.disk, name, &data, &size) == 0);
        if (size > sizeof(struct segment_header) + 48)
            simdisk_put(u.disk, name, data, size - 1 - rng_below(rng, 40));
        free(data);
        unit_open(&u);
        break;
    default:
        summaries_complete_active(u.eng);
    }
}

Test(summaries, whatever_is_done_they_lead_to_what_a_walk_finds)
{
    enum { FILES = 40 };
    uint64_t rng = test_seed();
    for (unsigned store = 0; store < 6; store++) {
        uint64_t known[FILES] = {0};
        MUST(store % 2 == 0 || store_set_history(u.eng) == 0);
        for (unsigned round = 0; round < 40; round++) {
            for (uint64_t n = rng_below(&rng, 40); n > 0; n--)
                random_change(&rng, known, FILES);
            if (rng_below(&rng, 2))
                random_event(&rng);
            for (unsigned i = 0; i < FILES; i++) /* a crash may have taken the last of them back */
                known[i] = unit_lookup(&u, (char[]){'f', i > 9 ? (char)('0' + i / 10) : (char)('0' + i),
                                                    i > 9 ? (char)('0' + i % 10) : 0, 0});
            expect_owners();
        }
        MUST(unit_problems(&u) == 0);
        cr_assert_eq(summaries_figures(u.eng).walked, 0);
        unit_done(&u);
        unit_new(&u, 0);
    }
}
