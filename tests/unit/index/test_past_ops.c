/*
 * test_past_ops.c - names that ended, one by one: which are kept, what that keeps from being freed, and what
 * ops on them need. Random ones are in test_past_names.c. */
#include "past_ops.h"

TestSuite(past_ops, .timeout = 300);

/* ---- one by one ---------------------------------------------------------------------- */

static uint64_t make_in(uint64_t dir, const char *text, uint32_t mode)
{
    uint64_t ino = inode_op(mode);
    link_op(dir, text, ino, new_cookie());
    return ino;
}

static struct life name_of(uint64_t dir, const char *text)
{
    const struct dentry_rec *d = index_dentry(&idx, index_find_name(&idx, ino_slot(dir), text, strlen(text)));
    cr_assert(d);
    struct life l = {.dir = dir,
                     .ino = index_ino(index_slot(&idx, d->child), d->child),
                     .cookie = d->cookie,
                     .began = d->cookie >> COOKIE_BATCH_SHIFT};
    (void)snprintf(l.text, sizeof(l.text), "%s", text);
    return l;
}

static uint32_t at(uint64_t dir, const char *text, uint64_t batch)
{
    return index_name_at(&idx, ino_slot(dir), text, strlen(text), batch);
}

/* Example 2 of docs/lab/history-design.md. */
Test(past_ops, rename_over)
{
    begin_index(1);
    seq = 10;
    uint64_t a = make_in(ENG_ROOT_INO, "f", S_IFREG | 0644);
    seq = 49;
    uint64_t b = make_in(ENG_ROOT_INO, "t", S_IFREG | 0644);
    seq = 50;
    struct life f = name_of(ENG_ROOT_INO, "f"), t = name_of(ENG_ROOT_INO, "t");
    repoint_op(&f, b, OP_KEPT);
    unlink_op(&t, OP_MOVED);
    const struct inode_rec *inode = index_inode(&idx, a);
    const struct past_name_rec *n1 = index_past_name(&idx, inode->past_name);
    cr_assert(n1 && n1->end == 50 && n1->begin == 10 && n1->child == ino_slot(a) && n1->cookie == f.cookie);
    cr_assert_eq(n1->flags, PAST_REPLACED | PAST_SHARES_TEXT);
    cr_assert(inode->nlink == 0 && !index_is_orphan(&idx, inode) && idx.n_orphans == 0);
    cr_assert(at(ENG_ROOT_INO, "f", 49) == ino_slot(a) && at(ENG_ROOT_INO, "f", 50) == ino_slot(b));
    cr_assert(at(ENG_ROOT_INO, "f", 9) == 0 && at(ENG_ROOT_INO, "f", 10) == ino_slot(a));
    cr_assert_eq(at(ENG_ROOT_INO, "t", 49), 0, "what was not settled is left out");
    cr_assert_eq(index_links_at(&idx, ino_slot(a), 0, UINT64_MAX, 49), 1);
    cr_assert_eq(index_links_at(&idx, ino_slot(b), 1, UINT64_MAX, 49), 1, "a move counts nothing");
    check_index();
    seq = 51;
    f.end = 50;
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = a}), -EBADMSG, "a past name leads to it");
    cr_assert_eq(drop_op(&f), 0);
    cr_assert_eq(idx.n_orphans, 1);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = a}), 0);
    cr_assert_eq(at(ENG_ROOT_INO, "f", 50), ino_slot(b));
    check_index();
    index_free(&idx);
}

/* What began in the batch in which it ends nobody has seen: no past name is made, though it be asked for. */
Test(past_ops, have_a_life)
{
    begin_index(1);
    seq = 5;
    uint64_t a = make_in(ENG_ROOT_INO, "f", S_IFREG | 0644), b = make_in(ENG_ROOT_INO, "g", S_IFREG | 0644);
    struct life f = name_of(ENG_ROOT_INO, "f"), g = name_of(ENG_ROOT_INO, "g");
    unlink_op(&g, OP_KEPT);
    repoint_op(&f, b, OP_KEPT);
    cr_assert(idx.s.n_past_names == 0 && index_is_orphan(&idx, index_inode(&idx, a)));
    seq = 6;
    f.ino = b;
    repoint_op(&f, a, OP_KEPT);
    f.ino = a;
    repoint_op(&f, b, OP_KEPT);
    f.ino = b;
    unlink_op(&f, OP_KEPT);
    cr_assert_eq(idx.s.n_past_names, 1, "of three that ended in a batch one was seen");
    cr_assert(at(ENG_ROOT_INO, "f", 5) == ino_slot(b) && at(ENG_ROOT_INO, "f", 6) == 0);
    check_index();
    index_free(&idx);
}

/* A folder is freed behind the past names that are in it. */
Test(past_ops, keep_their_folder)
{
    begin_index(1);
    seq = 5;
    uint64_t dir = make_in(ENG_ROOT_INO, "d", S_IFDIR | 0755), a = make_in(dir, "f", S_IFREG | 0644);
    struct life d = name_of(ENG_ROOT_INO, "d"), f = name_of(dir, "f");
    seq = 6;
    unlink_op(&f, OP_KEPT);
    unlink_op(&d, 0);
    cr_assert(index_is_orphan(&idx, index_inode(&idx, dir)) && !index_is_orphan(&idx, index_inode(&idx, a)));
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = dir}), -EBADMSG);
    f.end = 6;
    cr_assert_eq(drop_op(&f), 0);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = dir}), 0);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = a}), 0);
    check_index();
    index_free(&idx);
}

/* Names that were there before the store kept a past: their cookies tell no batch, and they were there. */
Test(past_ops, of_older_names_have_no_beginning)
{
    begin_index(1);
    seq = 90;
    uint64_t a = inode_op(S_IFREG | 0644);
    link_op(ENG_ROOT_INO, "f", a, index_new_cookie(&idx, false, seq));
    struct life f = name_of(ENG_ROOT_INO, "f");
    cr_assert_eq(f.cookie, 3);
    seq = 91;
    unlink_op(&f, OP_KEPT);
    cr_assert(at(ENG_ROOT_INO, "f", 1) == ino_slot(a) && at(ENG_ROOT_INO, "f", 90) == ino_slot(a));
    cr_assert_eq(at(ENG_ROOT_INO, "f", 91), 0);
    index_free(&idx);
}

/* ---- what ops need --------------------------------------------------------------------- */

#define MANY 20000u

static struct life many[MANY];

static struct index_room no_room;

/* The chunks of past names that the op changes are no more than it was said to change, beside those that
 * come. */
static void change_counted(struct op op)
{
    struct index view;
    uint64_t freeze, chunks[INDEX_TABLES];
    cr_assert_eq(index_freeze(&idx, &no_room, &view, &freeze), 0);
    index_changes(&idx, &op, 1, chunks);
    must_apply(op);
    for (unsigned i = TABLE_PAST_NAMES; i <= TABLE_PAST_LOOKUP; i++) {
        const struct table *t = index_table(&idx, i), *before = index_table(&view, i);
        uint64_t n = 0;
        for (uint32_t c = 0; c < before->n_chunks; c++)
            n += t->births[c] > freeze;
        cr_assert_leq(n, chunks[i], "table %u: op %u changes %llu chunks", i, op.type, (unsigned long long)n);
    }
    index_thaw(&idx, freeze);
    index_free(&view);
    cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
}

/* So many names that no table is small; all of one inode, so that its chain is long. */
static void make_many(uint64_t dir, uint64_t ino)
{
    for (unsigned i = 0; i < MANY; i++) {
        seq++;
        char text[16];
        (void)snprintf(text, sizeof(text), "name %u", i);
        many[i] = (struct life){.dir = dir, .ino = ino, .cookie = new_cookie(), .end = LIVE};
        link_op(dir, text, ino, many[i].cookie);
    }
}

static struct op end_op(enum op_type type, unsigned i, uint8_t flags, char text[16])
{
    (void)snprintf(text, 16, "name %u", i);
    return name_op(type, flags, many[i].dir, text, many[i].ino);
}

Test(past_ops, change_no_more_than_is_told)
{
    char text[16];
    begin_index(7);
    seq = 2;
    uint64_t dir = make_in(ENG_ROOT_INO, "d", S_IFDIR | 0755),
             ino = make_in(ENG_ROOT_INO, "f", S_IFREG | 0644),
             other = make_in(ENG_ROOT_INO, "g", S_IFREG | 0644);
    uint64_t group[MANY / 2000], n_group = 0;
    make_many(dir, ino);
    struct life often = name_of(ENG_ROOT_INO, "g");
    for (unsigned i = 0; i < MANY; i += 2) { /* those of one group come to lie far apart */
        seq++;
        must_apply(end_op(OP_UNLINK, i, OP_KEPT, text));
        many[i].end = seq;
        if (i % 2000)
            continue;
        repoint_op(&often, often.ino == ino ? other : ino, OP_KEPT);
        often.ino = often.ino == ino ? other : ino;
        group[n_group++] = seq;
    }
    for (uint64_t i = 1; i + 1 < n_group; i += 2) {
        seq++;
        change_counted((struct op){.type = OP_DROP_NAME,
                                   .parent = ENG_ROOT_INO,
                                   .ino = ino,
                                   .cookie = often.cookie,
                                   .end = group[i]});
    }
    for (unsigned n = 0; n < 600; n++) {
        unsigned i = (unsigned)below(MANY);
        seq++;
        if (many[i].end == LIVE && n % 2) {
            struct op op = end_op(OP_REPOINT, i, OP_KEPT, text);
            op.ino = other;
            op.other = ino;
            change_counted(op);
            change_counted(name_op(OP_UNLINK, n % 4 == 1 ? OP_KEPT : 0, dir, text, other));
        } else if (many[i].end == LIVE) {
            change_counted(end_op(OP_UNLINK, i, OP_KEPT, text));
        } else if (many[i].end < LIVE - 1) {
            change_counted((struct op){.type = OP_DROP_NAME,
                                       .parent = dir,
                                       .ino = ino,
                                       .cookie = many[i].cookie,
                                       .end = many[i].end});
            many[i].end = LIVE - 1;
            continue;
        } else {
            continue;
        }
        many[i].end = seq;
    }
    check_index();
    index_free(&idx);
}
