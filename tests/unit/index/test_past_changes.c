/*
 * test_past_changes.c - a batch changes no more chunks than index_changes() tells before, also of what past
 * states get and lose: so much room is left on the disk for the checkpoint after it. */
#include "index/apply.h"
#include "index/past.h"

#include "must.h"
#include "past_ops.h"

#define FILES 150u
#define OTHERS 600u /* inodes, so that states of one file are in different chunks */
#define PIECES 640u
#define STEP 200u /* from one to the next; half of it is a hole */

static uint64_t files[FILES], newest[FILES], older[FILES];
static uint32_t place;

static struct op extent_op(uint64_t ino, uint64_t off, uint32_t len)
{
    place += len / 8 + 1;
    return (struct op){.type = OP_EXTENT, .ino = ino, .off = off, .loc = {1, place, 0, len, len}};
}

static uint64_t keep_op(uint64_t ino)
{
    uint64_t number = index_predict_ino(&idx, NULL);
    must_apply((struct op){.type = OP_KEEP, .ino = ino, .past = number});
    return number;
}

static void set_value(uint64_t ino, const char *text)
{
    struct op op = name_op(OP_XATTR_SET, 0, 0, "user.value", ino);
    op.value = text;
    op.value_len = (uint32_t)strlen(text);
    must_apply(op);
}

/* Each file has two past states, of which each has some pieces, all of them among those of all others. */
static void setup(void)
{
    begin_index(1);
    MUST(index_touch_segment(&idx, 1, SEGMENT_LOG, 1) == 0);
    for (unsigned i = 0; i < FILES; i++)
        files[i] = inode_op(S_IFREG | 0644);
    for (unsigned k = 0; k < PIECES; k++)
        for (unsigned i = 0; i < FILES; i++)
            must_apply(extent_op(files[i], (uint64_t)k * STEP, STEP / 2));
    for (unsigned state = 0; state < 2; state++) {
        seq++;
        for (unsigned i = 0; i < OTHERS; i++)
            (void)inode_op(S_IFREG | 0644);
        for (unsigned i = 0; i < FILES; i++) {
            *(state ? &newest[i] : &older[i]) = keep_op(files[i]);
            set_value(files[i], "a value of some length, to be in cells of its own");
        }
        seq++;
        for (unsigned k = state; k < PIECES; k += 8)
            for (unsigned i = 0; i < FILES; i++)
                must_apply((struct op){.type = OP_PUNCH, .ino = files[i], .off = k * STEP, .len = 4 * STEP});
    }
    seq++;
}

static void teardown(void)
{
    index_free(&idx);
}

TestSuite(past_changes, .init = setup, .fini = teardown, .timeout = 120);

static struct index_room no_room;

/* Returns how many chunks of extents it changed. */
static uint64_t change_counted(const struct op *ops, size_t n_ops)
{
    static const unsigned tables[] = {TABLE_INODES, TABLE_NAMES, TABLE_EXTENTS, TABLE_SEGMENTS};
    struct index view;
    uint64_t freeze, chunks[INDEX_TABLES], of_extents = 0;
    MUST(index_freeze(&idx, &no_room, &view, &freeze) == 0);
    index_changes(&idx, ops, n_ops, chunks);
    MUST(index_reserve(&idx, ops, n_ops) == 0);
    for (size_t i = 0; i < n_ops; i++) {
        int r = index_apply(&idx, &ops[i], seq);
        cr_assert_eq(r, 0, "op %u", ops[i].type);
    }
    for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
        const struct table *t = index_table(&idx, tables[i]), *before = index_table(&view, tables[i]);
        uint64_t n = 0;
        for (uint32_t c = 0; c < before->n_chunks; c++)
            n += t->births[c] > freeze;
        cr_assert_leq(n, chunks[tables[i]], "table %u: op %u changes %llu chunks, not %llu", tables[i],
                      ops[n_ops - 1].type, (unsigned long long)n, (unsigned long long)chunks[tables[i]]);
        of_extents += tables[i] == TABLE_EXTENTS ? n : 0;
    }
    index_thaw(&idx, freeze);
    index_free(&view);
    MUST(chunk_pool_overdrafts(idx.pool) == 0);
    return of_extents;
}

static uint64_t change_one(struct op op)
{
    return change_counted(&op, 1);
}

Test(past_changes, are_no_more_than_was_told)
{
    const uint32_t all = PIECES * STEP;
    uint64_t most = 0;
    for (unsigned i = 10; i + 6 < FILES; i += 20) {
        /* All goes to the newest state, and then the gaps between, which are holes. */
        (void)change_one((struct op){.type = OP_PUNCH, .ino = files[i], .len = all});
        uint64_t n = change_one(extent_op(files[i], 0, all));
        struct op kept[2] = {{.type = OP_KEEP, .ino = files[i + 1], .past = index_predict_ino(&idx, NULL)},
                             extent_op(files[i + 1], 0, all)};
        (void)change_counted(kept, 2);
        (void)change_one((struct op){.type = OP_PUNCH, .ino = files[i + 2], .len = all});
        (void)change_one((struct op){.type = OP_TRUNCATE, .ino = files[i + 3], .len = 3 * STEP});
        (void)change_one((struct op){.type = OP_DROP, .past = newest[i + 4], .len = UINT64_MAX});
        (void)change_one((struct op){.type = OP_DROP, .past = older[i + 5], .len = UINT64_MAX});
        struct op op = name_op(OP_XATTR_DEL, 0, 0, "user.value", files[i + 6]);
        (void)change_one(op);
        most = MAX_OF(most, n);
    }
    cr_assert_gt(most, 4 * idx.extents.depth, "else the way to one leaf would have been enough");
    check_index();
}
