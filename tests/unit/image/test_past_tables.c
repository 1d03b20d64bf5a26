/*
 * test_past_tables.c - the tables of a store with a history in its checkpoints: they come with the bit, they
 * are kept, loaded at once and by need, and what cannot be in them is found. */
#include "inside.h"

#include "index/chunk_check.h"
#include "one_store.h"

#include <criterion/criterion.h>

#define RECORDS 3000u /* several chunks of each table */

static uint64_t rest_from_before;

static void begin(void)
{
    rest_from_before = rest_from;
    setup();
    (void)unit_file(&u, "file", 5000, 1);
}

static void end(void)
{
    rest_from = rest_from_before;
    self_check_is_forged = false;
    teardown();
}

TestSuite(past_tables, .init = begin, .fini = end, .timeout = 120);

static unsigned tables_on_disk(void)
{
    return u.eng->checkpoints->images.map.n_tables;
}

/* The i-th past name. */
static void put_text(uint32_t i, char text[16])
{
    (void)snprintf(text, 16, "name%u", i);
}

static uint32_t hash_of(uint32_t i)
{
    char text[16];
    put_text(i, text);
    return codec_name_hash(u.eng->idx.hash_seed, ENG_ROOT_INO, text, strlen(text));
}

static void apply(struct op op, uint64_t seq)
{
    cr_assert_eq(index_reserve(&u.eng->idx, &op, 1), 0);
    cr_assert_eq(index_apply(&u.eng->idx, &op, seq), 0);
}

static struct op name_op(enum op_type type, uint32_t i, char text[16])
{
    put_text(i, text);
    return (struct op){.type = (uint8_t)type,
                       .parent = ENG_ROOT_INO,
                       .ino = 2,
                       .cookie = 100 + i,
                       .end = 1,
                       .name = text,
                       .name_len = (uint16_t)strlen(text)};
}

static void add_record(struct index *idx, uint32_t i)
{
    char text[16];
    struct op op = name_op(OP_LINK, i, text);
    apply(op, 1);
    op.type = OP_UNLINK;
    op.flags = OP_KEPT;
    apply(op, 1);
    cr_assert(chunk_pool_reserve(idx->pool, 1) == 0 && table_reserve(&idx->moments, 1) == 0);
    *(struct moment_rec *)table_mut(&idx->moments, table_alloc(&idx->moments)) =
        (struct moment_rec){.batch = i, .time = 10 * (int64_t)i, .age = i};
}

/* So that the next checkpoint has them. */
static void fill(void)
{
    struct index *idx = &u.eng->idx;
    freeze_lock(u.eng);
    cr_assert(chunk_pool_reserve(idx->pool, 1) == 0 && table_reserve(&idx->actors, 1) == 0);
    *(struct actor_rec *)table_mut(&idx->actors, table_alloc(&idx->actors)) =
        (struct actor_rec){.uid = 1000, .name = "vim"};
    for (uint32_t i = 1; i <= RECORDS; i++)
        add_record(idx, i);
    idx->s.floor = 1;
    idx->s.age = RECORDS;
    idx->s.switched = 77;
    freeze_unlock(u.eng);
}

static void expect_filled(void)
{
    struct index *idx = &u.eng->idx;
    const struct actor_rec *actor = table_get(&idx->actors, 1);
    cr_assert(actor && actor->uid == 1000 && strcmp(actor->name, "vim") == 0);
    cr_assert(idx->s.n_past_names == RECORDS && idx->s.floor == 1 && idx->s.age == RECORDS &&
              idx->s.switched == 77);
    for (uint32_t i = 1; i <= RECORDS; i++) {
        struct bkey key;
        uint32_t p = 0, same = 0;
        uint64_t cookie = 100 + i;
        cr_assert_eq(btree_ceil(&idx->past_order, (struct bkey){ENG_ROOT_INO, cookie}, &key, &p), 0);
        cr_assert_eq(key.b, cookie);
        cr_assert_eq(btree_ceil(&idx->past_lookup, (struct bkey){hash_of(i), p}, &key, &same), 0);
        cr_assert_eq(same, p);
        const struct past_name_rec *name = table_get(&idx->past_names, p);
        const struct moment_rec *moment = table_get(&idx->moments, i);
        cr_assert(name && name->cookie == cookie && name->hash == hash_of(i));
        cr_assert(moment && moment->batch == i && moment->time == 10 * (int64_t)i);
    }
}

static void set_history(void)
{
    cr_assert_eq(store_set_history(u.eng), 0);
}

/* A checkpoint of what there is, and an opening from it alone. */
static void checkpoint_and_die(void)
{
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
}

static void expect_sound(void)
{
    cr_assert(unit_holds(&u, unit_lookup(&u, "file"), 5000, 1));
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_eq(u.warnings, 0, "%s", u.last_warning);
}

/* ---- how many ------------------------------------------------------------------------------ */

Test(past_tables, they_come_with_the_first_checkpoint_behind_the_bit)
{
    unit_reopen(&u);
    cr_assert_eq(tables_on_disk(), INDEX_TABLES_PLAIN);
    set_history();
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u); /* with the checkpoint of before */
    cr_assert_eq(tables_on_disk(), INDEX_TABLES_PLAIN);
    cr_assert_eq(u.eng->idx.moments.used, 1);
    expect_sound();
    checkpoint_and_die();
    unit_open(&u);
    cr_assert_eq(tables_on_disk(), INDEX_TABLES);
    expect_sound();
    unit_write(&u, unit_lookup(&u, "file"), 5000, 1, 0);
    unit_reopen(&u);
    expect_sound();
}

Test(past_tables, without_the_bit_there_are_none)
{
    fill(); /* what should not be there is left out: nothing of it is on disk */
    checkpoint_and_die();
    unit_open(&u);
    cr_assert_eq(tables_on_disk(), INDEX_TABLES_PLAIN);
    cr_assert(u.eng->idx.moments.used == 1 && !u.eng->idx.s.n_past_names && !u.eng->idx.past_order.count);
    expect_sound();
}

/* The first checkpoint with them fails, in each call; the next has them. */
Test(past_tables, a_first_checkpoint_that_fails)
{
    unit_reopen(&u);
    set_history();
    fill();
    for (uint64_t nth = 1;; nth++) {
        simdisk_fail_from(u.disk, SIM_PWRITEV, nth, ENOSPC);
        int r = checkpoint_write(u.eng);
        simdisk_fail(u.disk, SIM_PWRITEV, 0, 0);
        cr_assert(r ? r == -ENOSPC : nth > 2, "call %u: %d", (unsigned)nth, r);
        if (!r)
            break;
        cr_assert_eq(tables_on_disk(), INDEX_TABLES_PLAIN);
    }
    cr_assert_eq(tables_on_disk(), INDEX_TABLES);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_filled();
}

Test(past_tables, whatever_call_of_the_first_is_the_last)
{
    unit_reopen(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    for (uint64_t nth = 1;; nth++) {
        struct unit before = u;
        unit_clone(&u, &before);
        unit_open(&u);
        set_history();
        fill();
        simdisk_cut_at(u.disk, nth, false);
        int r = checkpoint_write(u.eng);
        bool off = simdisk_is_off(u.disk);
        unit_kill(&u, (enum sim_survival)(nth % SIM_N_SURVIVALS), nth);
        cr_assert_eq(unit_try_open(&u), 0, "call %u: %s", (unsigned)nth, u.why);
        if (tables_on_disk() == INDEX_TABLES)
            expect_filled();
        else
            cr_assert(r && u.eng->idx.moments.used == 1);
        cr_assert(unit_holds(&u, unit_lookup(&u, "file"), 5000, 1));
        unit_done(&u);
        u = before;
        if (!off)
            break;
    }
}

/* ---- what they have ------------------------------------------------------------------------ */

static void expect_kept(void)
{
    struct index *idx;
    set_history();
    fill();
    for (unsigned round = 0; round < 3; round++) {
        checkpoint_and_die();
        unit_open(&u);
        expect_filled();
        expect_sound();
        idx = &u.eng->idx;
        freeze_lock(u.eng); /* an image, and then a delta of some units */
        cr_assert_eq(chunk_pool_reserve(idx->pool, 4), 0);
        ((struct moment_rec *)table_mut(&idx->moments, 5))->age = 1000 + round;
        ((struct past_name_rec *)table_mut(&idx->past_names, RECORDS))->end = 1 + round;
        freeze_unlock(u.eng);
    }
    checkpoint_and_die();
    unit_open(&u);
    idx = &u.eng->idx;
    cr_assert_eq(((const struct moment_rec *)table_get(&idx->moments, 5))->age, 1002);
    cr_assert_eq(((const struct past_name_rec *)table_get(&idx->past_names, RECORDS))->end, 3);
    expect_filled();
}

Test(past_tables, they_are_kept)
{
    expect_kept();
}

Test(past_tables, they_are_loaded_by_need)
{
    rest_from = 0;
    expect_kept();
}

Test(past_tables, what_is_freed_gives_its_chunks_back)
{
    set_history();
    fill();
    struct index *idx = &u.eng->idx;
    freeze_lock(u.eng);
    for (uint32_t i = 1; i <= RECORDS; i++) {
        char text[16];
        apply(name_op(OP_DROP_NAME, i, text), 2);
    }
    cr_assert_eq(idx->s.n_past_names, 0);
    freeze_unlock(u.eng);
    checkpoint_and_die(); /* shrinks */
    unit_open(&u);
    cr_assert_leq(u.eng->idx.past_names.n_chunks, 1);
    cr_assert_leq(u.eng->idx.past_order.nodes.n_chunks, 1);
    expect_sound();
}

Test(past_tables, a_frozen_view_has_them)
{
    struct index view;
    uint64_t freeze;
    set_history();
    fill();
    cr_assert_eq(freeze_take(u.eng, &view, &freeze), 0);
    struct index *idx = &u.eng->idx;
    freeze_lock(u.eng);
    cr_assert_eq(chunk_pool_reserve(idx->pool, 4), 0);
    ((struct moment_rec *)table_mut(&idx->moments, 5))->age = 1000;
    freeze_unlock(u.eng);
    cr_assert_eq(((const struct moment_rec *)table_get(&view.moments, 5))->age, 5);
    cr_assert_eq(view.past_order.count, RECORDS);
    freeze_give_back(u.eng, &view, freeze);
}

/* ---- what cannot be ------------------------------------------------------------------------ */

static void set_snapshot(struct index *idx)
{
    idx->s.newest_snapshot = UINT64_MAX;
}

static void set_inexact(struct index *idx)
{
    idx->s.inexact = UINT64_MAX;
}

static void set_count(struct index *idx)
{
    idx->s.n_past_names = RECORDS + 1;
}

static void set_live(struct index *idx)
{
    idx->s.past_live = idx->s.live + 1;
}

static void set_states(struct index *idx)
{
    idx->s.n_past = idx->inodes.used;
}

static void set_depth(struct index *idx)
{
    idx->past_lookup.depth = BTREE_MAX_DEPTH + 1;
}

static void set_child(struct index *idx)
{
    ((struct past_name_rec *)table_mut(&idx->past_names, 7))->child = 1u << 30;
}

static void set_moment(struct index *idx)
{
    ((struct moment_rec *)table_mut(&idx->moments, 7))->flags = MOMENT_SNAPSHOT;
}

static void set_order(struct index *idx)
{
    uint32_t beyond = 1u << 30;
    (void)btree_put(&idx->past_order, (struct bkey){ENG_ROOT_INO, 101}, &beyond);
}

static void set_lookup(struct index *idx)
{
    uint32_t other = 2;
    (void)btree_put(&idx->past_lookup, (struct bkey){hash_of(1), 1}, &other);
}

static void set_nothing(struct index *idx)
{
    (void)idx;
}

/* Found when it is loaded, whatever of it is looked at: the log goes back to its beginning. */
Test(past_tables, what_cannot_be_is_refused)
{
    static const struct {
        const char *what;
        void (*set)(struct index *idx);
    } cases[] = {{"nothing", set_nothing},
                 {"a snapshot to come", set_snapshot},
                 {"a batch to come", set_inexact},
                 {"more names than records", set_count},
                 {"more past than is live", set_live},
                 {"more states than records", set_states},
                 {"a tree too deep", set_depth},
                 {"a past name that leads nowhere", set_child},
                 {"a snapshot without a name", set_moment},
                 {"an order that leads nowhere", set_order},
                 {"a lookup that leads elsewhere", set_lookup}};
    self_check_is_forged = true;
    unit_close(&u);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct unit before = u;
        unit_clone(&u, &before);
        unit_open(&u);
        set_history();
        fill();
        freeze_lock(u.eng);
        cr_assert_eq(chunk_pool_reserve(u.eng->idx.pool, 2 * (size_t)BTREE_OP_CHUNKS), 0);
        cases[i].set(&u.eng->idx);
        freeze_unlock(u.eng);
        checkpoint_and_die();
        cr_assert_eq(unit_try_open(&u), 0, "%s: %s", cases[i].what, u.why);
        cr_assert_eq(strstr(u.all_warnings, "cannot be used") != NULL, i > 0, "%s: %s", cases[i].what,
                     u.all_warnings);
        cr_assert(unit_holds(&u, unit_lookup(&u, "file"), 5000, 1));
        unit_done(&u);
        u = before;
    }
}

/* ---- inodes -------------------------------------------------------------------------------- */

static struct index_limits limits;

static int check_inode(const struct inode_rec *inode, bool has_history)
{
    static uint8_t chunk[TABLE_CHUNK_SIZE];
    const struct table_meta none = {0};
    memcpy(chunk + sizeof *inode, inode, sizeof *inode);
    limits.has_history = limits.has_past = has_history;
    return index_check_chunk(&limits, TABLE_INODES, 0, &none, chunk);
}

Test(past_tables, inodes_of_either_kind)
{
    for (unsigned t = 0; t < INDEX_TABLES; t++)
        limits.used[t] = 10;
    limits.used[TABLE_INODES] = 2;
    const struct inode_rec head = {.mode = S_IFREG | 0644, .nlink = 1};
    struct inode_rec past = head, rec;
    past.flags = INODE_PAST;
    past_set_head(&past, 1, 3);
    past_set_begin(&past, UINT64_C(5) << 32);
    past_set_end(&past, (UINT64_C(5) << 32) + 7);
    cr_assert(past_head(&past) == 1 && past_number(&past) == 3 && past_end(&past) == (UINT64_C(5) << 32) + 7);
    cr_assert_eq(check_inode(&head, false), 0);
    cr_assert_eq(check_inode(&head, true), 0);
    cr_assert_eq(check_inode(&past, false), -EBADMSG);
    cr_assert_eq(check_inode(&past, true), 0);
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t flag = UINT32_C(1) << bit;
        if (flag == INODE_INLINE || flag == INODE_PAST)
            continue;
        rec = head;
        rec.flags |= flag;
        cr_assert_eq(check_inode(&rec, false), flag == INODE_TAIL ? 0 : -EBADMSG, "flag %x", flag);
        cr_assert_eq(check_inode(&rec, true), flag & INODE_FLAGS_HEAD ? 0 : -EBADMSG, "flag %x", flag);
        rec = past;
        rec.flags |= flag;
        cr_assert_eq(check_inode(&rec, true), flag & INODE_FLAGS_PAST ? 0 : -EBADMSG, "flag %x", flag);
    }
    rec = head, rec.past_name = 1000;
    cr_assert_eq(check_inode(&rec, false), 0, "carried");
    cr_assert_eq(check_inode(&rec, true), -EBADMSG);
    rec = head, rec.past = 2;
    cr_assert_eq(check_inode(&rec, true), -EBADMSG);
    rec = head, rec.actor = 10;
    cr_assert_eq(check_inode(&rec, true), -EBADMSG);
    cr_assert_eq(check_inode(&rec, false), -EBADMSG);
    rec = head, rec.past = 1;
    cr_assert_eq(check_inode(&rec, true), 0);
    cr_assert_eq(check_inode(&rec, false), -EBADMSG);
    rec = past, past_set_end(&rec, 7);
    cr_assert_eq(check_inode(&rec, true), -EBADMSG, "it ends before it begins");
    rec = past, past_set_head(&rec, 2, 1);
    cr_assert_eq(check_inode(&rec, true), -EBADMSG);
    rec = past, past_set_head(&rec, 1, 0);
    cr_assert_eq(check_inode(&rec, true), -EBADMSG);
}
