/*
 * test_past_orphans.c - what past names lead to is kept, and is freed behind the last of them: by the batch
 * that drops it, bit by bit where a folder has many, and by the next life of the store. */
#include "inside.h"

#include "index/past_names.h"
#include "unit_store.h"

#include <criterion/criterion.h>

static struct unit u;

static void setup(void)
{
    unit_new(&u, 0);
    cr_assert_eq(store_set_history(u.eng), 0);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_orphans, .init = setup, .fini = teardown, .timeout = 120);

/* As eng_unlink() does once a decision keeps the name. Where it has ended, for drop(). */
static struct op end_name(uint64_t dir, const char *name, uint8_t flags)
{
    CLEANUP_TXN struct txn txn = {0};
    cr_assert_eq(commit_begin(u.eng), 0);
    const struct index *idx = &u.eng->idx;
    const struct dentry_rec *d = index_dentry(idx, index_find_name(idx, ino_slot(dir), name, strlen(name)));
    struct op *op = txn_op(&txn, OP_UNLINK);
    cr_assert(op && d);
    op->flags = flags;
    op->parent = dir;
    op->ino = index_ino(index_slot(idx, d->child), d->child);
    op->cookie = d->cookie;
    op->name = name;
    op->name_len = (uint16_t)strlen(name);
    op->end = u.eng->log.seq + 1;
    struct op ended = *op;
    cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, &txn)), 0);
    return ended;
}

static int drop(const struct op *ended)
{
    CLEANUP_TXN struct txn txn = {0};
    cr_assert_eq(commit_begin(u.eng), 0);
    struct op *op = txn_op(&txn, OP_DROP_NAME);
    cr_assert(op);
    op->parent = ended->parent;
    op->ino = ended->ino;
    op->cookie = ended->cookie;
    op->end = ended->end;
    return commit_end(u.eng, commit_txn(u.eng, &txn));
}

static bool is_there(uint64_t ino)
{
    return index_inode(&u.eng->idx, ino) != NULL;
}

static bool has(uint64_t ino, size_t size, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(size, seed);
    bool same = unit_holds_bytes(&u, ino, bytes, size);
    free(bytes);
    return same;
}

Test(past_orphans, are_none_as_long_as_a_name_leads_to_them)
{
    uint64_t ino = unit_file(&u, "file", 5000, 1);
    struct op ended = end_name(ENG_ROOT_INO, "file", OP_KEPT);
    orphans_add(u.eng, ino); /* as whoever forgets it does */
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(is_there(ino) && has(ino, 5000, 1));
    cr_assert_eq(unit_stats(&u).orphans, 0);
    cr_assert_eq(unit_lookup(&u, "file"), 0);
    unit_reopen(&u);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(is_there(ino) && has(ino, 5000, 1), "nor does the next life free it");
    cr_assert_eq(drop(&ended), 0);
    cr_assert_eq(orphans_queued(u.eng), 1);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_not(is_there(ino));
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* Of two lives one is over: the name that is there, or the past one that is left, keeps it. */
Test(past_orphans, are_none_as_long_as_another_name_leads_to_them)
{
    struct eng_attr attr;
    uint64_t ino = unit_file(&u, "one", 5000, 1);
    cr_assert_eq(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "two", &attr), 0);
    struct op one = end_name(ENG_ROOT_INO, "one", OP_KEPT), two;
    cr_assert_eq(drop(&one), 0);
    cr_assert_eq(orphans_queued(u.eng), 0);
    cr_assert_eq(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "one", &attr), 0);
    one = end_name(ENG_ROOT_INO, "one", OP_KEPT);
    two = end_name(ENG_ROOT_INO, "two", OP_KEPT);
    cr_assert_eq(drop(&two), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(is_there(ino));
    cr_assert_eq(drop(&one), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_not(is_there(ino));
}

/* A reference keeps it, too; who forgets it frees it. */
Test(past_orphans, live_by_references)
{
    const struct eng_caller who = {.ref = true};
    struct eng_attr attr;
    uint64_t ino = unit_file(&u, "file", 5000, 1);
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "file", &attr), 0);
    struct op ended = end_name(ENG_ROOT_INO, "file", OP_KEPT);
    cr_assert_eq(drop(&ended), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert(is_there(ino));
    cr_assert_eq(eng_forget(u.eng, ino, 1), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_not(is_there(ino));
}

#define FILES 100u

/* A folder with what it had, removed by and by and kept: with the name of the folder all goes, in slices. */
static uint64_t make_folder(uint64_t inos[FILES], struct op *ret_folder)
{
    struct eng_attr attr;
    char name[16];
    uint64_t dir = unit_mkdir(&u, "dir");
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "file%u", i);
        cr_assert_eq(eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, &attr), 0);
        inos[i] = attr.ino;
        unit_write(&u, attr.ino, 100, i, 0);
    }
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof(name), "file%u", i);
        (void)end_name(dir, name, OP_KEPT);
    }
    *ret_folder = end_name(ENG_ROOT_INO, "dir", OP_KEPT);
    return dir;
}

static void expect_gone(uint64_t dir, const uint64_t inos[FILES])
{
    cr_assert_eq(commit_orphans(u.eng), 0);
    cr_assert_not(is_there(dir));
    for (unsigned i = 0; i < FILES; i++)
        cr_assert_not(is_there(inos[i]), "file%u", i);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    cr_assert_eq(u.eng->idx.s.n_past_names, 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(past_orphans, folders_go_with_what_was_in_them)
{
    uint64_t inos[FILES];
    struct op folder;
    uint64_t dir = make_folder(inos, &folder), before = u.eng->log.seq;
    u.eng->slice = 40; /* ten names */
    cr_assert_eq(drop(&folder), 0);
    while (orphans_queued(u.eng) && u.eng->idx.s.n_past_names) {
        uint64_t n = u.eng->idx.s.n_past_names;
        CLEANUP_TXN struct txn txn = {0};
        cr_assert_eq(commit_begin(u.eng), 0);
        cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, &txn)), 0);
        cr_assert(n - u.eng->idx.s.n_past_names <= 10, "a slice at a time");
    }
    cr_assert_geq(u.eng->log.seq - before, FILES / 10);
    expect_gone(dir, inos);
}

/* The process dies in between: the next life finds what is left. */
Test(past_orphans, folders_go_in_the_next_life)
{
    uint64_t inos[FILES];
    struct op folder;
    uint64_t dir = make_folder(inos, &folder);
    u.eng->slice = 40;
    cr_assert_eq(drop(&folder), 0);
    CLEANUP_TXN struct txn txn = {0};
    cr_assert_eq(commit_begin(u.eng), 0);
    cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, &txn)), 0);
    cr_assert(u.eng->idx.s.n_past_names && u.eng->idx.s.n_past_names < FILES);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    expect_gone(dir, inos);
}
