/*
 * test_past_ahead.c - names that end, and past ones that go, in a store that is still being loaded: what that
 * changes of the tables of the past is read before everybody waits for it. */
#include "inside.h"

#include "index/past_names.h"
#include "looked_reads.h"
#include "must.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define NAMES 24000u
#define BATCH 2000u

static struct unit u;
static uint64_t file, other;
static struct {
    uint64_t cookie, end;
} past[NAMES];

static const char *name_of(unsigned i)
{
    static char names[BATCH][16];
    (void)snprintf(names[i % BATCH], sizeof(names[0]), "name %u", i);
    return names[i % BATCH];
}

static struct op *stage(struct txn *txn, enum op_type type, unsigned i, uint64_t ino)
{
    struct op *op = txn_op(txn, type);
    MUST(op);
    op->parent = ENG_ROOT_INO;
    op->ino = ino;
    op->name = name_of(i);
    op->name_len = (uint16_t)strlen(op->name);
    return op;
}

static int commit(struct txn *txn)
{
    int r = commit_end(u.eng, commit_txn(u.eng, txn));
    txn_free(txn);
    *txn = (struct txn){0};
    return r;
}

/* Names of one file; each fourth one leads to another by now, and of the others three in four have ended. */
static void setup(void)
{
    struct txn txn = {0};
    rest_from = UINT64_MAX;
    unit_new(&u, 4 << 20);
    MUST(store_set_history(u.eng) == 0);
    file = unit_create(&u, "file");
    other = unit_create(&u, "other");
    for (unsigned i = 0; i < NAMES; i += BATCH) {
        MUST(commit_begin(u.eng) == 0);
        for (unsigned k = i; k < i + BATCH; k++)
            stage(&txn, OP_LINK, k, file)->cookie = past[k].cookie = u.eng->idx.s.next_cookie + k - i;
        MUST(commit(&txn) == 0);
    }
    for (unsigned i = 0; i < NAMES; i += BATCH) {
        MUST(commit_begin(u.eng) == 0);
        for (unsigned k = i; k < i + BATCH; k++) {
            struct op *op = NULL;
            if (k % 4 == 0)
                (op = stage(&txn, OP_REPOINT, k, other))->other = file;
            else if (k % 16)
                op = stage(&txn, OP_UNLINK, k, file);
            if (k % 16 == 1 || !op)
                continue;
            op->flags = OP_KEPT;
            past[k].end = u.eng->log.seq + 1;
        }
        MUST(commit(&txn) == 0);
    }
    unit_close(&u);
    rest_from = 0;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_ahead, .init = setup, .fini = teardown, .timeout = 300);

static void stage_change(struct txn *txn, unsigned kind, unsigned i)
{
    struct op *op;
    switch (kind) {
    case 0: /* of two names the older one is past: its text may come to be its own */
    case 1:
        op = stage(txn, OP_UNLINK, i, other);
        op->flags = kind ? OP_KEPT : 0;
        return;
    case 2:
        op = stage(txn, OP_REPOINT, i, file);
        op->other = other;
        op->flags = OP_KEPT;
        return;
    case 3: /* within its folder it keeps its place */
        op = stage(txn, OP_UNLINK, i, other);
        op->flags = OP_KEPT | OP_MOVED;
        op = stage(txn, OP_LINK, i, other);
        op->name = "new";
        op->name_len = 3;
        op->cookie = past[i].cookie;
        return;
    default: /* beside a live one, and alone */
        i += kind == 5 ? 2 : 0;
        op = stage(txn, OP_DROP_NAME, i, file);
        op->name_len = 0;
        op->cookie = past[i].cookie;
        op->end = past[i].end;
        return;
    }
}

/* In a store of its own, that nothing was loaded of before. */
static unsigned change(unsigned kind, unsigned i)
{
    struct unit all = u;
    struct txn txn = {0};
    unit_clone(&u, &all);
    open_looking(&u);
    MUST(commit_begin(u.eng) == 0);
    stage_change(&txn, kind, i);
    cr_assert_eq(commit(&txn), 0, "%u of %u", kind, i);
    cr_assert_eq(reads.n_waited_for, 0, "%u of %u: %u of %u", kind, i, reads.n_waited_for, reads.n);
    reads.eng = NULL;
    cr_assert_eq(unit_problems(&u), 0);
    close_looking(&u);
    unit_done(&u);
    u = all;
    return reads.n;
}

Test(past_ahead, nobody_waits_for_what_is_read)
{
    for (unsigned kind = 0; kind < 6; kind++)
        for (unsigned i = 16 * 100; i < NAMES; i += 16 * 251)
            cr_assert_gt(change(kind, i), 4, "%u of %u", kind, i);
}
