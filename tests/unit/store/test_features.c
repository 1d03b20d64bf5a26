/*
 * test_features.c - the bit of the superblock that says that a store has a history (store/features.c): when
 * it is set, what a crash in between leaves, and who must not take it away. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(features, .init = setup, .fini = teardown, .timeout = 300);

#define MODE_BEFORE 0755u
#define MODE_AFTER 0711u

/* The bits that a file says, without looking whether they are known here. */
static uint32_t bits_in(struct simdisk *disk, const char *name)
{
    struct superblock sb = {0};
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(disk, name, &data, &size), 0);
    cr_assert_eq(superblock_decode(data, size, &sb), 0);
    free(data);
    return sb.incompat;
}

/* Changes the root with an op that only a store with the bit may have. */
static int change_root(struct unit *s)
{
    CLEANUP_TXN struct txn txn = {0};
    struct op *op = txn_op(&txn, OP_ATTR);
    cr_assert_not_null(op);
    op->ino = ENG_ROOT_INO;
    op->mask = ENG_SET_MODE;
    op->mode = MODE_AFTER;
    op->flags = OP_SAME;
    op->ctime = 1;
    int r = commit_begin(s->eng);
    if (r)
        return r;
    r = commit_end(s->eng, commit_txn(s->eng, &txn));
    return r ? r : flush_log(s->eng);
}

static uint32_t root_mode(struct unit *s)
{
    return unit_attr(s, ENG_ROOT_INO).mode & 07777;
}

Test(features, it_is_set_for_good)
{
    uint64_t file = unit_file(&u, "file", 5000, 1);
    cr_assert(!eng_has_history(u.eng));
    cr_assert_eq(change_root(&u), -EPROTONOSUPPORT);
    cr_assert_eq(root_mode(&u), MODE_BEFORE);
    cr_assert_eq(store_set_history(u.eng), 0);
    cr_assert(eng_has_history(u.eng));
    cr_assert_eq(bits_in(u.disk, "superblock"), INCOMPAT_HISTORY);
    cr_assert_eq(bits_in(u.disk, "superblock.copy"), INCOMPAT_HISTORY);
    uint64_t calls = simdisk_calls(u.disk, false);
    cr_assert_eq(store_set_history(u.eng), 0);
    cr_assert_eq(simdisk_calls(u.disk, false), calls, "once");
    cr_assert_eq(change_root(&u), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    for (unsigned i = 0; i < 3; i++) { /* from the log, and from checkpoints */
        unit_open(&u);
        cr_assert(eng_has_history(u.eng));
        cr_assert_eq(root_mode(&u), MODE_AFTER);
        cr_assert(unit_holds(&u, file, 5000, 1));
        cr_assert_eq(unit_problems(&u), 0);
        unit_close(&u);
    }
    cr_assert_eq(u.warnings, 0, "%s", u.last_warning);
}

Test(features, a_new_store_has_none)
{
    unit_reopen(&u);
    cr_assert(!eng_has_history(u.eng));
    cr_assert_eq(bits_in(u.disk, "superblock"), 0);
}

Test(features, not_read_only)
{
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(store_set_history(u.eng), -EROFS);
}

/* A copy of the folder may have the old superblock already. */
Test(features, not_in_a_hold)
{
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(store_set_history(u.eng), -EBUSY);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(store_set_history(u.eng), -EBUSY);
    cr_assert_eq(bits_in(u.disk, "superblock"), 0);
    cr_assert_eq(change_root(&u), -EPROTONOSUPPORT);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(store_set_history(u.eng), 0);
}

/* ---- in between ---------------------------------------------------------------------------- */

static struct unit survivor;
static int changed;

static void lose_power(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_BIT_FLUSHED)
        return;
    changed = change_root(&u);
    unit_clone(&survivor, &u);
}

/* Whatever may be committed is there after a power loss: what needs the bit may not, before it is durable. */
Test(features, nothing_that_needs_it_is_written_before_it)
{
    u.eng->hook.arg = NULL;
    atomic_store(&u.eng->hook.fn, lose_power);
    cr_assert_eq(store_set_history(u.eng), 0);
    atomic_store(&u.eng->hook.fn, NULL);
    cr_assert_not_null(survivor.disk);
    simdisk_power_on(survivor.disk, SIM_DROP_ALL, 0);
    cr_assert_eq(unit_try_open(&survivor), 0, "%s", survivor.why);
    cr_assert_eq(root_mode(&survivor), changed ? MODE_BEFORE : MODE_AFTER);
    unit_done(&survivor);
}

/* The store as it was before, or with the bit, and with it all that was acknowledged. */
static void expect_whole(const struct unit *cut, enum sim_survival mode, uint64_t seed, bool is_changed)
{
    struct unit s;
    unit_clone(&s, cut);
    simdisk_power_on(s.disk, mode, seed);
    cr_assert_eq(unit_try_open(&s), 0, "%s %u: %s", sim_survival_names[mode], (unsigned)seed, s.why);
    cr_assert_eq(s.warnings, 0, "%s %u: %s", sim_survival_names[mode], (unsigned)seed, s.last_warning);
    uint32_t root = root_mode(&s);
    cr_assert(root == MODE_AFTER ? eng_has_history(s.eng) : !is_changed, "%s %u: %o",
              sim_survival_names[mode], (unsigned)seed, root);
    cr_assert(unit_holds(&s, unit_lookup(&s, "file"), 5000, 1));
    cr_assert_eq(unit_problems(&s), 0);
    cr_assert_eq(store_set_history(s.eng), 0);
    cr_assert_eq(change_root(&s), 0);
    unit_reopen(&s);
    cr_assert_eq(root_mode(&s), MODE_AFTER);
    unit_done(&s);
}

static void expect_survivals(const struct unit *cut, bool is_changed)
{
    size_t n = simdisk_unsynced(cut->disk);
    for (int mode = 0; mode < SIM_N_SURVIVALS; mode++)
        expect_whole(cut, (enum sim_survival)mode, (uint64_t)mode, is_changed);
    for (uint64_t subset = 0; n <= 6 && subset < UINT64_C(1) << n; subset++)
        expect_whole(cut, SIM_SUBSET, subset, is_changed);
}

/* The power fails in each call that writes or syncs. */
Test(features, whatever_call_is_the_last)
{
    unsigned cuts = 0;
    (void)unit_file(&u, "file", 5000, 1);
    unit_close(&u);
    for (uint64_t nth = 1;; nth++) {
        struct unit s;
        unit_clone(&s, &u);
        unit_open(&s);
        simdisk_cut_at(s.disk, nth, false);
        bool is_changed = store_set_history(s.eng) == 0 && change_root(&s) == 0;
        bool off = simdisk_is_off(s.disk);
        expect_survivals(&s, is_changed);
        unit_kill(&s, SIM_DROP_ALL, 0);
        unit_done(&s);
        if (!off)
            break;
        cuts++;
    }
    cr_assert_gt(cuts, 8);
}

/* Each of them fails: then no op that needs the bit is let in, whatever the superblock says by now; and what
 * is open goes on, or is read-only. */
Test(features, whatever_call_fails)
{
    static const int errors[] = {EIO, ENOSPC};
    (void)unit_file(&u, "file", 5000, 1);
    unit_close(&u);
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        for (uint64_t nth = 1;; nth++) {
            struct unit s;
            unit_clone(&s, &u);
            unit_open(&s);
            simdisk_fail(s.disk, SIM_ANY_CALL, nth, errors[i]);
            int r = store_set_history(s.eng);
            bool struck = !simdisk_fault_waits(s.disk);
            simdisk_fail(s.disk, SIM_ANY_CALL, 0, 0);
            cr_assert_eq(r == 0, eng_has_history(s.eng), "call %u: %d", (unsigned)nth, r);
            if (r && !is_read_only(s.eng)) {
                cr_assert_eq(change_root(&s), -EPROTONOSUPPORT);
                cr_assert_eq(store_set_history(s.eng), 0, "call %u", (unsigned)nth);
            }
            bool is_changed = !is_read_only(s.eng) && change_root(&s) == 0;
            expect_survivals(&s, is_changed);
            unit_kill(&s, SIM_DROP_ALL, 0);
            unit_done(&s);
            if (!struck)
                break;
        }
    }
}

/* ---- who must not take it away ------------------------------------------------------------- */

static struct eng_job_report scrub(struct unit *s)
{
    struct eng_job_report rep;
    cr_assert_eq(eng_job_run(s->eng, ENG_JOB_SCRUB, NULL, &rep), 0);
    return rep;
}

/* A scrub knows what is to be there, and heals with it. */
Test(features, a_scrub_keeps_it)
{
    static const char *const names[] = {"superblock", "superblock.copy"};
    (void)unit_file(&u, "file", 5000, 1);
    cr_assert_eq(scrub(&u).scrub.recovery.damaged, 0);
    cr_assert_eq(store_set_history(u.eng), 0);
    struct eng_job_report rep = scrub(&u);
    cr_assert(rep.scrub.recovery.damaged == 0 && rep.scrub.recovery.healed == 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cr_assert_eq(simdisk_flip(u.disk, names[i], 16, 1), 0); /* the bit itself */
        cr_assert_eq(scrub(&u).scrub.recovery.healed, 1, "%s", names[i]);
        cr_assert_eq(bits_in(u.disk, names[i]), INCOMPAT_HISTORY, "%s", names[i]);
    }
    cr_assert_eq(change_root(&u), 0);
    unit_reopen(&u);
    cr_assert_eq(root_mode(&u), MODE_AFTER);
}

/* Where the copy was written and the superblock was not, nothing is damaged: read-only, for a scrub, or for
 * an opening, which writes the copy anew. */
Test(features, a_copy_that_is_ahead_is_not_damaged)
{
    static const uint32_t bits[] = {INCOMPAT_HISTORY, 0};
    for (size_t i = 0; i < ARRAY_LEN(bits); i++) { /* one that is behind is */
        struct unit s;
        uint8_t *data;
        size_t size;
        struct superblock sb;
        unit_new(&s, 0);
        if (!bits[i])
            cr_assert_eq(store_set_history(s.eng), 0);
        unit_close(&s);
        cr_assert_eq(simdisk_get(s.disk, "superblock", &data, &size), 0);
        cr_assert_eq(superblock_decode(data, size, &sb), 0);
        sb.incompat = bits[i];
        superblock_encode(&sb, data);
        simdisk_put(s.disk, "superblock.copy", data, size);
        for (unsigned read_only = 2; read_only-- > 0;) {
            s.opt.read_only = read_only;
            unit_open(&s);
            cr_assert(eng_has_history(s.eng) == !bits[i]);
            cr_assert_eq(s.warnings > 0, !bits[i], "%s", s.last_warning);
            cr_assert_eq(unit_problems(&s) > 0, !bits[i] && read_only);
            cr_assert_eq(bits_in(s.disk, "superblock.copy"), read_only ? bits[i] : bits[1 - i]);
            if (!read_only) {
                simdisk_put(s.disk, "superblock.copy", data, size);
                cr_assert_eq(scrub(&s).scrub.recovery.damaged, !bits[i]);
            }
            unit_close(&s);
        }
        free(data);
        unit_done(&s);
    }
}

/* An opening that finds one of the files missing, too. */
Test(features, one_file_is_enough)
{
    static const char *const names[] = {"superblock", "superblock.copy"};
    cr_assert_eq(store_set_history(u.eng), 0);
    cr_assert_eq(change_root(&u), 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        unit_close(&u);
        cr_assert_eq(simdisk_remove(u.disk, names[i]), 0);
        unit_open(&u);
        cr_assert(eng_has_history(u.eng) && root_mode(&u) == MODE_AFTER);
        cr_assert_eq(bits_in(u.disk, names[i]), INCOMPAT_HISTORY);
    }
}

/* Without both nobody knows of the bit: a salvage takes what it knows. */
Test(features, a_salvage_without_superblock)
{
    for (unsigned closed = 0; closed < 2; closed++) {
        struct unit s;
        unit_new(&s, 0);
        uint64_t file = unit_file(&s, "file", 5000, 1);
        if (closed)
            cr_assert_eq(store_set_history(s.eng), 0);
        cr_assert_eq(change_root(&s), closed ? 0 : -EPROTONOSUPPORT);
        unit_close(&s);
        cr_assert(simdisk_remove(s.disk, "superblock") == 0 &&
                  simdisk_remove(s.disk, "superblock.copy") == 0);
        s.opt.read_only = s.opt.salvage = true;
        cr_assert_eq(unit_try_open(&s), 0, "%s", s.why);
        cr_assert_eq(root_mode(&s), closed ? MODE_AFTER : MODE_BEFORE);
        cr_assert(unit_holds(&s, file, 5000, 1));
        unit_done(&s);
    }
}
