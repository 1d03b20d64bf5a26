/*
 * test_past_state_ahead.c - past states in a store that is still being loaded: what a batch changes of them,
 * and of what they get, is read before everybody waits for it. As test_past_ahead.c for names. */
#include "past_states.h"

#include "looked_reads.h"

#include <criterion/criterion.h>

#define FILES 2400u
#define PLACES 3u
#define PLACE 8192u
#define BATCH 400u

static struct unit u;
static uint64_t files[FILES], older[FILES], newer[FILES];
static struct locator piece[FILES]; /* of the older state, at 0 */
static uint64_t next;               /* number, of a state to come */

static void keep_all(uint64_t numbers[FILES])
{
    for (unsigned i = 0; i < FILES; i += BATCH) {
        struct table_ahead ahead = {0};
        struct txn txn = {0};
        MUST(commit_begin(u.eng) == 0);
        for (unsigned k = i; k < i + BATCH; k++) {
            struct op *op = txn_op(&txn, OP_KEEP);
            MUST(op);
            op->ino = files[k];
            op->past = numbers[k] = index_predict_past(&u.eng->idx, &ahead, NULL);
        }
        past_commit(&u, &txn);
    }
}

static void set_value(uint64_t ino, unsigned n)
{
    char value[64];
    (void)snprintf(value, sizeof value, "%60u", n);
    MUST(eng_setxattr(u.eng, ino, "user.value", value, strlen(value), 0) == 0);
}

/* Each file has two past states, and of these each a piece and a value of its own, far from the file's. */
static void setup(void)
{
    char name[16];
    rest_from = UINT64_MAX;
    unit_new(&u, 4 << 20);
    MUST(store_set_history(u.eng) == 0);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file%u", i);
        files[i] = unit_create(&u, name);
        for (unsigned k = PLACES; k-- > 0;)
            unit_write(&u, files[i], 100, k, (uint64_t)k * PLACE);
        set_value(files[i], i);
    }
    keep_all(older);
    for (unsigned i = 0; i < FILES; i++) {
        unit_write(&u, files[i], 100, 7, 0);
        set_value(files[i], i + 1);
        MUST(past_locator(&u, older[i], 0, &piece[i]));
    }
    keep_all(newer);
    for (unsigned i = 0; i < FILES; i++) {
        unit_write(&u, files[i], 100, 8, PLACE);
        set_value(files[i], i + 2);
    }
    drop_state(&u, older[FILES / 2 + 1]); /* a slot amid others is free */
    next = index_predict_past(&u.eng->idx, NULL, NULL);
    MUST(ino_slot(next) == ino_slot(older[FILES / 2 + 1]));
    unit_close(&u);
    rest_from = 0;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_state_ahead, .init = setup, .fini = teardown, .timeout = 300);

enum kind { KEPT, PUNCHED, CUT, WRITTEN, SET, REMOVED, NEWER_DROPPED, OLDER_DROPPED, MOVED, KINDS };

static void stage(struct txn *txn, enum kind kind, unsigned i)
{
    static const enum op_type types[KINDS] = {OP_KEEP, OP_PUNCH, OP_TRUNCATE, 0,          0,
                                              0,       OP_DROP,  OP_DROP,     OP_RELOCATE};
    struct op *op = txn_op(txn, types[kind]);
    MUST(op);
    op->ino = kind == NEWER_DROPPED || kind == OLDER_DROPPED ? 0 : files[i];
    if (kind == KEPT)
        op->past = next;
    if (kind == PUNCHED)
        op->len = PLACES * PLACE;
    if (kind == NEWER_DROPPED || kind == OLDER_DROPPED) {
        op->past = kind == NEWER_DROPPED ? newer[i] : older[i];
        op->len = UINT64_MAX;
    }
    if (kind == MOVED) {
        op->ino = older[i];
        op->old = op->loc = piece[i];
    }
}

/* In a store of its own, that nothing was loaded of before. */
static unsigned change(enum kind kind, unsigned i)
{
    struct unit all = u;
    unit_clone(&u, &all);
    open_looking(&u);
    if (kind == WRITTEN) {
        unit_write(&u, files[i], 100, 9, 0);
    } else if (kind == SET) {
        set_value(files[i], 9);
    } else if (kind == REMOVED) {
        MUST(eng_removexattr(u.eng, files[i], "user.value") == 0);
    } else {
        struct txn txn = {0};
        MUST(commit_begin(u.eng) == 0);
        stage(&txn, kind, i);
        past_commit(&u, &txn);
    }
    cr_assert_eq(reads.n_waited_for, 0, "%u of %u: %u of %u", kind, i, reads.n_waited_for, reads.n);
    unsigned n = reads.n;
    reads.eng = NULL;
    if (i == 100)
        cr_assert_eq(unit_problems(&u), 0);
    close_looking(&u);
    unit_done(&u);
    u = all;
    return n;
}

Test(past_state_ahead, nobody_waits_for_what_is_read)
{
    for (unsigned kind = 0; kind < KINDS; kind++)
        for (unsigned i = 100; i < FILES; i += 500)
            cr_assert_gt(change(kind, i), 2, "%u of %u", kind, i);
}
