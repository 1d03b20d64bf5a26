/*
 * test_past_compact.c - what compaction, the scrub and the summaries do for past states: what one has alone
 * is found, moved, verified and named as what memories have now. */
#include "past_states.h"

#include "owners.h"

#include <criterion/criterion.h>

#define FILES 6u
#define STATES 8u
#define SIZE(file) (3000 + (size_t)(file)*1777)

static struct unit u;
static uint64_t inos[FILES], kept[FILES][STATES];

static uint64_t seed_of(unsigned file, unsigned state)
{
    return 1 + file * 100 + state;
}

/* Files that are written anew again and again, each state kept; between what is live lies garbage. */
static void setup(void)
{
    unit_new(&u, 0);
    MUST(store_set_history(u.eng) == 0);
    for (unsigned i = 0; i < FILES; i++)
        inos[i] = unit_file(&u, (char[]){(char)('a' + i), 0}, SIZE(i), seed_of(i, 0));
    for (unsigned s = 0; s < STATES; s++) {
        for (unsigned i = 0; i < FILES; i++) {
            kept[i][s] = keep_state(&u, inos[i]);
            unit_write(&u, inos[i], SIZE(i), seed_of(i, s + 1), 0);
        }
        uint64_t goes = unit_file(&u, "garbage", 9000, s);
        MUST(goes && eng_unlink(u.eng, ENG_ROOT_INO, "garbage") == 0);
    }
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_compact, .init = setup, .fini = teardown, .timeout = 300);

static void expect_owners(void)
{
    char why[OWNERS_WHY_MAX] = "";
    cr_assert(owners_agree(u.eng, why), "%s", why);
}

static void expect_all(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        cr_assert(unit_holds(&u, inos[i], SIZE(i), seed_of(i, STATES)), "file %u", i);
        for (unsigned s = 0; s < STATES; s++)
            cr_assert(past_holds(&u, kept[i][s], SIZE(i), seed_of(i, s)), "file %u, state %u", i, s);
    }
    cr_assert_eq(unit_problems(&u), 0);
    expect_owners();
}

static struct eng_job_report compact(void)
{
    struct eng_job_report rep;
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &rep), 0);
    cr_assert_eq(rep.error, 0);
    return rep;
}

/* ---- compaction ------------------------------------------------------------------ */

Test(past_compact, moves_all_states_and_changes_none)
{
    struct locator before, after;
    uint64_t live = unit_stats(&u).live_bytes;
    expect_all();
    cr_assert(past_locator(&u, kept[2][3], 0, &before));
    struct eng_job_report rep = compact();
    cr_assert_gt(rep.compact.extents_moved, FILES);
    cr_assert_eq(rep.compact.extents_lost + rep.compact.extents_damaged, 0);
    cr_assert_leq(rep.compact.fragmentation_after, 0.01);
    cr_assert_eq(rep.done, rep.total);
    cr_assert_eq(unit_stats(&u).live_bytes, live);
    cr_assert_eq(unit_stats(&u).total_bytes, live, "no segment stays for what was not found");
    cr_assert(past_locator(&u, kept[2][3], 0, &after));
    cr_assert_not(locator_equal(&before, &after));
    expect_all();
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_all();
    unit_reopen(&u);
    expect_all();
}

/* The summary of a segment tells of all that is live in it, and no walk is needed. */
Test(past_compact, summaries_lead_to_each_state)
{
    uint64_t walked = summaries_figures(u.eng).walked;
    expect_owners();
    (void)compact();
    cr_assert_eq(summaries_figures(u.eng).walked, walked);
    (void)keep_state(&u, inos[0]);
    unit_write(&u, inos[0], 100, 7, 1000);
    expect_owners();
    (void)compact();
    cr_assert_eq(summaries_figures(u.eng).walked, walked);
}

/* As a salvage believes it: the newest content of a place is what was written last, wherever it lies. */
Test(past_compact, copies_of_past_states_keep_their_date)
{
    struct locator loc;
    struct extent_header old, copy;
    struct segment *seg;
    unsigned n = 0;
    for (unsigned s = 0; s < STATES; s++) {
        cr_assert(past_locator(&u, kept[1][s], 0, &loc));
        for (int pass = 0; pass < 2; pass++) {
            cr_assert_eq(segments_pin(&u.eng->segments, loc.seg, &seg), 0);
            cr_assert_eq(io_pread_exact(seg->file, u.eng->io->ops, pass ? &copy : &old, sizeof old,
                                        locator_offset(&loc)),
                         0);
            segments_unpin(seg);
            if (!pass) {
                (void)compact();
                cr_assert(past_locator(&u, kept[1][s], 0, &loc));
            }
        }
        cr_assert_eq(copy.ino, inos[1]);
        cr_assert_eq(copy.seq, old.seq, "state %u", s);
        uint64_t goes = unit_file(&u, "garbage", 9000, s); /* so that there is something to do */
        cr_assert(goes && eng_unlink(u.eng, ENG_ROOT_INO, "garbage") == 0);
        n += copy.seq < past_end(past_state(&u.eng->idx, kept[1][s]));
    }
    cr_assert_eq(n, STATES);
}

/* Parts of an extent, each of another state. */
Test(past_compact, moves_parts_of_extents)
{
    uint8_t *bytes = unit_bytes(60000, 5), *was[4];
    uint64_t ino = unit_file(&u, "cut", 60000, 5), states[4];
    for (unsigned s = 0; s < 4; s++) {
        uint64_t off = 20001 + s * 3000;
        uint8_t *patch = unit_bytes(5000, 50 + s);
        was[s] = malloc(60000);
        cr_assert(was[s]);
        memcpy(was[s], bytes, 60000);
        states[s] = keep_state(&u, ino);
        unit_write(&u, ino, 5000, 50 + s, off);
        memcpy(bytes + off, patch, 5000);
        free(patch);
    }
    for (int pass = 0; pass < 2; pass++) {
        for (unsigned s = 0; s < 4; s++)
            cr_assert(past_holds_bytes(&u, states[s], was[s], 60000), "state %u", s);
        cr_assert(unit_holds_bytes(&u, ino, bytes, 60000));
        (void)compact();
    }
    expect_all();
    for (unsigned s = 0; s < 4; s++)
        free(was[s]);
    free(bytes);
}

/* What a truncation has left is a past state's. */
Test(past_compact, moves_a_tail_that_a_past_state_reads)
{
    CLEANUP_TXN struct txn txn = {0};
    uint64_t ino = unit_create(&u, "tail"), n = 12;
    for (uint64_t i = n; i-- > 0;)
        unit_write(&u, ino, 1000, i, 2000 * i);
    uint64_t state = keep_state(&u, ino);
    MUST(commit_begin(u.eng) == 0);
    struct op *op = txn_op(&txn, OP_TRUNCATE);
    op->ino = ino;
    op->flags = OP_LATER;
    op->len = 1000;
    MUST(commit_txn(u.eng, &txn) == 0);
    MUST(index_inode(&u.eng->idx, ino)->flags & INODE_PAST_TAIL);
    MUST(commit_end(u.eng, 0) == 0);
    struct eng_job_report rep = compact();
    cr_assert_eq(rep.compact.extents_lost, 0);
    cr_assert_eq(unit_stats(&u).total_bytes, unit_stats(&u).live_bytes);
    uint8_t *bytes = calloc(1, 2000 * n);
    for (uint64_t i = 0; bytes && i < n; i++) {
        uint8_t *part = unit_bytes(1000, i);
        memcpy(bytes + 2000 * i, part, 1000);
        free(part);
    }
    cr_assert(past_holds_bytes(&u, state, bytes, 2000 * n - 1000));
    free(bytes);
    expect_all();
}

static uint64_t big_value(uint64_t number)
{
    struct xattr_view view = {0};
    cr_assert_eq(past_xattr(&u.eng->idx, ino_slot(number), "user.big", 8, &view), 0);
    cr_assert(view.is_extent);
    return (uint64_t)view.loc.seg << 32 | view.loc.off8;
}

Test(past_compact, moves_values_of_attributes)
{
    char value[3000];
    uint64_t ino = unit_create(&u, "attributes"), states[5], was[5];
    for (unsigned s = 0; s < 6; s++) {
        memset(value, 'a' + (int)s, sizeof value);
        cr_assert_eq(eng_setxattr(u.eng, ino, "user.big", value, sizeof value, 0), 0);
        if (s < 5)
            states[s] = keep_state(&u, ino);
    }
    for (unsigned s = 0; s < 5; s++)
        was[s] = big_value(states[s]);
    expect_owners();
    (void)compact();
    for (unsigned s = 0; s < 5; s++)
        cr_assert_neq(big_value(states[s]), was[s]);
    cr_assert_eq(unit_stats(&u).total_bytes, unit_stats(&u).live_bytes);
    expect_all();
}

/* A line longer than what is looked at in one hold. */
Test(past_compact, asks_long_lines_in_slices)
{
    uint64_t ino = unit_file(&u, "long", 3000, 1), looks = u.eng->looks;
    uint64_t first = keep_state(&u, ino), last = 0;
    unit_write(&u, ino, 3000, 2, 0);
    for (unsigned s = 0; s < 1200; s++)
        last = keep_state(&u, ino);
    unit_write(&u, ino, 10, 3, 0);
    expect_owners();
    cr_assert_gt(u.eng->looks, looks + 1200 / 512);
    (void)compact();
    cr_assert(past_holds(&u, first, 3000, 1));
    cr_assert(past_holds(&u, last, 3000, 2));
    expect_all();
}

/* Where all lines are long the walk takes less than the questions would: none is asked. */
Test(past_compact, does_not_ask_long_lines_for_much)
{
    struct ref_list list = {0};
    bool whole = true;
    uint64_t many[40];
    for (unsigned i = 0; i < 40; i++)
        many[i] = unit_file(&u, (char[]){'m', (char)('0' + i), 0}, 100, i);
    for (unsigned s = 1; s < 80; s++)
        for (unsigned i = 0; i < 40; i++) {
            (void)keep_state(&u, many[i]);
            unit_write(&u, many[i], 100, s, 0);
        }
    uint64_t looks = u.eng->looks;
    cr_assert_eq(extent_refs_by_summary(u.eng, unit_log_place(&u).segment - 1, &list, &whole), 0);
    cr_assert(!whole && list.n == 0 && u.eng->looks == looks);
    free(list.refs);
    expect_all();
}

/* ---- damage ------------------------------------------------------------------------ */

struct told {
    unsigned n;
    struct eng_damage last;
};

static void tell(void *arg, const struct eng_damage *d)
{
    struct told *told = arg;
    told->n++;
    told->last = *d;
}

static struct told damaged(void)
{
    struct told told = {0};
    cr_assert_eq(eng_damaged(u.eng, tell, &told), 0);
    return told;
}

/* It says which state, and stays where it is; with the state it is nobody's. */
Test(past_compact, damage_is_told_of_the_state_that_has_it)
{
    struct locator loc, now;
    struct eng_job_report rep;
    char path[32];
    cr_assert(past_locator(&u, kept[1][4], 0, &loc));
    (void)snprintf(path, sizeof path, "b@%llu",
                   (unsigned long long)past_begin(past_state(&u.eng->idx, kept[1][4])));
    unit_damage(&u, &loc, 1);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &rep), 0);
    cr_assert_eq(rep.scrub.damaged, 1);
    struct told told = damaged();
    cr_assert_eq(told.n, 1);
    cr_assert_eq(told.last.ino, inos[1]);
    cr_assert_str_eq(told.last.path, path);
    cr_assert_str_eq(told.last.reason, "checksum mismatch");
    cr_assert_not(past_holds(&u, kept[1][4], SIZE(1), seed_of(1, 4)));
    rep = compact();
    cr_assert(past_locator(&u, kept[1][4], 0, &now));
    cr_assert(locator_equal(&loc, &now));
    cr_assert_eq(damaged().n, 1);
    drop_state(&u, kept[1][4]);
    cr_assert_eq(damaged().n, 0);
    (void)compact();
    cr_assert_eq(unit_stats(&u).total_bytes, unit_stats(&u).live_bytes);
}
