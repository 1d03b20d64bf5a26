/*
 * test_past_tails.c - a file that has a past, and a tail that a past state reads: no other truncation is
 * written before that tail is the past's. And all of it is there after a crash. */
#include "unit_store.h"

#include "index/past_read.h"
#include "store/store.h"

#include <criterion/criterion.h>

#define PIECES 12u
#define PIECE 1000u

static struct unit u;
static uint64_t file, kept;

/* A state is kept, and a truncation to a piece leaves a tail, as a crash may leave it, too. */
static void setup(void)
{
    CLEANUP_TXN struct txn txn = {0};
    unit_new(&u, 0);
    UNIT_NEED(store_set_history(u.eng) == 0);
    file = unit_create(&u, "file");
    for (unsigned i = 0; i < PIECES; i++) /* from behind: no write takes another along */
        unit_write(&u, file, PIECE, i, (uint64_t)2 * PIECE * (PIECES - 1 - i));
    UNIT_NEED(commit_begin(u.eng) == 0);
    struct op *op = txn_op(&txn, OP_KEEP);
    op->ino = file;
    op->past = kept = index_predict_past(&u.eng->idx, NULL, NULL);
    op = txn_op(&txn, OP_TRUNCATE);
    op->ino = file;
    op->flags = OP_LATER;
    op->len = PIECE;
    UNIT_NEED(commit_txn(u.eng, &txn) == 0);
    UNIT_NEED(commit_end(u.eng, 0) == 0);
    UNIT_NEED(index_inode(&u.eng->idx, file)->flags & INODE_PAST_TAIL);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_tails, .init = setup, .fini = teardown);

/* The past state has all pieces that the file had. */
static void check_pieces(void)
{
    struct past_piece pieces[2 * PIECES];
    size_t n;
    uint64_t end, bytes = 0;
    cr_assert_eq(past_read(&u.eng->idx, ino_slot(kept), 0, UINT64_MAX, pieces, 2 * PIECES, &n, &end), 0);
    for (size_t i = 0; i < n; i++)
        bytes += pieces[i].loc.len;
    cr_assert_eq(bytes, PIECES * PIECE);
    cr_assert_eq(end, PIECE + 2 * PIECE * (PIECES - 1));
}

/* Also when the log was replayed, or the image of the index loaded. */
static void check_past(void)
{
    check_pieces();
    unit_kill(&u, SIM_KEEP_ALL, 1);
    unit_open(&u);
    check_pieces();
    unit_reopen(&u);
    check_pieces();
    cr_assert_eq(unit_problems(&u), 0);
}

Test(past_tails, another_truncation_waits_until_the_past_has_it)
{
    const struct eng_attr attr = {.size = 10};
    check_pieces();
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(unit_attr(&u, file).size, 10);
    cr_assert_not(index_inode(&u.eng->idx, file)->flags & (INODE_TAIL | INODE_PAST_TAIL));
    check_past();
}

Test(past_tails, and_so_does_a_record_that_replaces_the_file)
{
    struct eng_record record = {
        .parent = ENG_ROOT_INO, .name = "file", .mode = 0644, .content = "new", .size = 3};
    cr_assert_eq(eng_put_many(u.eng, &record, 1), 1);
    cr_assert_eq(record.result, 0);
    cr_assert(unit_holds_bytes(&u, file, "new", 3));
    check_past();
}

Test(past_tails, where_the_file_grows_there_are_holes)
{
    const struct eng_attr attr = {.size = 5 * PIECE};
    unit_write(&u, file, 10, 7, 2 * PIECE);
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(unit_extents(&u, file), PIECES - 1, "two pieces went to the past, and one came");
    check_past();
}

/* What has lost its last name goes with its past, slice by slice, and first of all what is left of a tail. */
Test(past_tails, without_a_name_it_goes_with_its_past)
{
    CLEANUP_TXN struct txn txn = {0};
    const struct index *idx = &u.eng->idx;
    cr_assert_eq(commit_tail(u.eng, file), 0);
    for (unsigned i = 0; i < 100; i++) {
        txn_reset(&txn);
        UNIT_NEED(commit_begin(u.eng) == 0);
        struct op *op = txn_op(&txn, OP_KEEP);
        op->ino = file;
        op->past = index_predict_past(idx, NULL, NULL);
        op = txn_op(&txn, OP_XATTR_SET);
        op->ino = file;
        op->name = i % 2 ? "user.x" : "user.y";
        op->name_len = 6;
        op->value = "1";
        op->value_len = 1;
        UNIT_NEED(commit_txn(u.eng, &txn) == 0 && commit_end(u.eng, 0) == 0);
    }
    atomic_store(&u.eng->slice, 5);
    cr_assert_eq(idx->s.n_past, 101);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(!index_inode(idx, file) && idx->s.n_past == 0 && idx->s.past_live == 0 && idx->s.live == 0);
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(past_tails, and_after_a_crash_with_what_is_left_of_its_tail)
{
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
    unit_kill(&u, SIM_KEEP_ALL, 1);
    unit_open(&u);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(!index_inode(&u.eng->idx, file) && u.eng->idx.s.n_past == 0 && u.eng->idx.s.live == 0);
    cr_assert_eq(unit_problems(&u), 0);
}
