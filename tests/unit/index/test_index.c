/*
 * test_index.c - the tables of the index: names in a table that grows, inode
 * numbers, references, paths, xattr records, freezes. Changes are made by
 * ops, as everywhere. */
#include "index/apply.h"
#include "index/verify.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

static struct index idx;
static uint64_t seq;

/* Applies an op as a live mutation does. */
static int apply(struct op op)
{
    MUST(index_reserve(&idx, &op, 1) == 0);
    return index_apply(&idx, &op, ++seq);
}

static uint64_t make(uint32_t mode)
{
    uint64_t ino = index_predict_ino(&idx, NULL);
    MUST(apply((struct op){.type = OP_CREATE, .ino = ino, .mode = mode, .time = 1}) == 0);
    return ino;
}

static int name(uint64_t dir, const char *text, uint64_t ino)
{
    return apply((struct op){.type = OP_LINK,
                             .parent = dir,
                             .ino = ino,
                             .cookie = idx.s.next_cookie,
                             .time = 2,
                             .name = text,
                             .name_len = (uint16_t)strlen(text)});
}

static int unname(uint64_t dir, const char *text, uint64_t ino)
{
    return apply((struct op){.type = OP_UNLINK,
                             .parent = dir,
                             .ino = ino,
                             .time = 3,
                             .name = text,
                             .name_len = (uint16_t)strlen(text)});
}

static uint32_t find(uint64_t dir, const char *text)
{
    return index_find_name(&idx, ino_slot(dir), text, strlen(text));
}

static void setup(void)
{
    cr_assert_eq(index_init(&idx, 42), 0);
    cr_assert_eq(make(S_IFDIR | 0755), 1);
}

static void teardown(void)
{
    cr_assert_eq(index_verify(&idx, true, NULL, NULL), 0);
    cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0, "what was reserved was enough");
    index_free(&idx);
}

TestSuite(index, .init = setup, .fini = teardown);

Test(index, finds_each_of_many_names_while_the_table_grows_and_empties)
{
    enum { N = 20000 };
    static uint64_t inos[N];
    char text[16];
    uint64_t dirs[2] = {make(S_IFDIR), make(S_IFDIR)};
    MUST(name(1, "a", dirs[0]) == 0 && name(1, "b", dirs[1]) == 0);
    for (unsigned i = 0; i < N; i++) {
        inos[i] = make(S_IFREG);
        (void)snprintf(text, sizeof(text), "n%u", i / 2); /* the same names in two directories */
        MUST(name(dirs[i % 2], text, inos[i]) == 0);
    }
    for (unsigned i = 0; i < N; i += 3) {
        (void)snprintf(text, sizeof(text), "n%u", i / 2);
        MUST(unname(dirs[i % 2], text, inos[i]) == 0);
    }
    for (unsigned i = 0; i < N; i++) {
        (void)snprintf(text, sizeof(text), "n%u", i / 2);
        const struct dentry_rec *d = index_dentry(&idx, find(dirs[i % 2], text));
        MUST((d == NULL) == (i % 3 == 0));
        MUST(!d || (d->child == ino_slot(inos[i]) && d->parent == ino_slot(dirs[i % 2])));
    }
    cr_assert_eq(find(dirs[0], "n"), 0);
    cr_assert_eq(find(dirs[0], "n99999"), 0);
    cr_assert_eq(find(99, "n5"), 0);
    cr_assert_eq(idx.s.n_names, 2 + N - (N + 2) / 3);
    cr_assert_eq(index_slot(&idx, ino_slot(dirs[0]))->size + index_slot(&idx, ino_slot(dirs[1]))->size,
                 idx.s.n_names - 2);
}

Test(index, numbers_are_predicted_and_never_given_twice)
{
    enum { N = 50 };
    uint64_t inos[N], rng = 1, all[2000];
    unsigned n_all = 0;
    for (unsigned i = 0; i < N; i++)
        inos[i] = all[n_all++] = make(S_IFREG);
    for (unsigned round = 0; round < 30; round++) {
        uint64_t want[8];
        for (unsigned i = 0; i < 8; i++) {
            unsigned k = (unsigned)rng_below(&rng, N);
            if (inos[k])
                MUST(apply((struct op){.type = OP_FREE, .ino = inos[k]}) == 0);
            inos[k] = 0;
        }
        struct ino_ahead ahead = {0}, undone;
        for (uint32_t k = 0; k < 8; k++) {
            undone = ahead;
            (void)index_predict_ino(&idx, &undone); /* one that is taken back */
            want[k] = index_predict_ino(&idx, &ahead);
        }
        MUST(index_predict_ino(&idx, NULL) == want[0]);
        for (unsigned i = 0, k = 0; i < N && k < 8; i++) {
            if (inos[i])
                continue;
            inos[i] = make(S_IFREG);
            MUST(inos[i] == want[k++]);
            for (unsigned j = 0; j < n_all; j++)
                MUST(all[j] != inos[i]);
            all[n_all++] = inos[i];
        }
    }
    cr_assert_null(index_inode(&idx, 0));
    cr_assert_null(index_inode(&idx, UINT64_MAX));
    cr_assert_null(index_inode(&idx, UINT64_C(1) << 32 | 1), "the root's slot of another generation");
    uint64_t last = 0;
    for (unsigned i = 0; i < N; i++)
        last = inos[i] ? inos[i] : last;
    struct inode_rec *rec = table_mut(&idx.inodes, ino_slot(last));
    rec->reuse = INO_REUSE_MAX; /* a slot at the end of its numbers is given up */
    MUST(apply((struct op){.type = OP_FREE, .ino = (uint64_t)INO_REUSE_MAX << 32 | ino_slot(last)}) == 0);
    for (unsigned i = 0; i < 100; i++)
        MUST(ino_slot(make(S_IFREG)) != ino_slot(last));
}

Test(index, references_are_counted)
{
    uint64_t ino = make(S_IFREG);
    uint32_t slot = ino_slot(ino);
    cr_assert_eq(index_refs(&idx, slot), 0);
    cr_assert_eq(index_ref(&idx, slot, 1), 1);
    cr_assert_eq(index_ref(&idx, slot, 5), 6);
    cr_assert_eq(index_ref(&idx, slot, -2), 4);
    cr_assert_eq(index_ref(&idx, slot, -100), 0, "never below none");
    cr_assert_eq(index_ref(&idx, slot, 3), 3);
    MUST(apply((struct op){.type = OP_FREE, .ino = ino}) == 0);
    cr_assert_eq(ino_slot(make(S_IFREG)), slot);
    cr_assert_eq(index_refs(&idx, slot), 0, "they do not pass to the next inode in that slot");
    cr_assert_eq(index_ref(&idx, slot, UINT32_MAX - 1), UINT32_MAX - 1);
    cr_assert_eq(index_ref(&idx, slot, 1), UINT32_MAX);
    cr_assert_eq(index_ref(&idx, slot, 1), UINT32_MAX, "they do not wrap to none");
    cr_assert_eq(index_ref(&idx, slot, -5), UINT32_MAX, "what was not counted keeps it for good");
    cr_assert_eq(index_ref(&idx, 0, 1), 0);
    cr_assert_eq(index_ref(&idx, 4000000, 1), 0);
}

Test(index, paths_lead_from_the_root)
{
    char buf[32];
    uint64_t a = make(S_IFDIR), b = make(S_IFDIR), f = make(S_IFREG), nameless = make(S_IFREG);
    MUST(name(1, "a", a) == 0 && name(a, "bb", b) == 0 && name(b, "file", f) == 0);
    static const struct {
        size_t size, expect;
    } cases[] = {{32, 9}, {9, 9}, {8, 0}, {4, 0}, {1, 0}, {0, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cr_assert_eq(index_path(&idx, ino_slot(f), buf, cases[i].size), cases[i].expect, "size %zu",
                     cases[i].size);
        cr_assert(!cases[i].expect || memcmp(buf, "a/bb/file", 9) == 0);
    }
    cr_assert_eq(index_path(&idx, 1, buf, 32), 0);
    cr_assert_eq(index_path(&idx, ino_slot(nameless), buf, 32), 0);
    cr_assert_eq(index_path(&idx, 12345, buf, 32), 0);
    cr_assert_eq(index_parent(&idx, ino_slot(b)), ino_slot(a));
    cr_assert_eq(index_parent(&idx, 1), 1);
    cr_assert_eq(index_parent(&idx, ino_slot(nameless)), 0);
    MUST(apply((struct op){.type = OP_FREE, .ino = nameless}) == 0);
}

Test(index, xattr_records_are_checked)
{
    struct xattr_view view;
    uint64_t ino = make(S_IFREG);
    MUST(name(1, "f", ino) == 0);
    MUST(apply((struct op){.type = OP_XATTR_SET,
                           .ino = ino,
                           .name = "user.a",
                           .name_len = 6,
                           .value = "12345",
                           .value_len = 5}) == 0);
    const struct inode_rec *inode = index_inode(&idx, ino);
    uint32_t x = index_find_xattr(&idx, inode, "user.a", 6);
    cr_assert_eq(x, inode->xattrs);
    cr_assert_eq(index_find_xattr(&idx, inode, "user.", 5), 0);
    cr_assert_eq(index_find_xattr(&idx, inode, "user.ab", 7), 0);
    cr_assert(index_xattr(&idx, x, &view));
    cr_assert(view.name_len == 6 && view.value_len == 5 && !view.is_extent && view.next == 0);
    cr_assert_eq(memcmp(view.value, "12345", 5), 0);
    struct xattr_rec *rec = names_mut(&idx.names, x, sizeof(*rec)), good = *rec;
    rec->value_len = XATTR_INLINE_MAX + 1;
    cr_assert_not(index_xattr(&idx, x, &view));
    *rec = good;
    rec->name_len = 60000;
    cr_assert_not(index_xattr(&idx, x, &view));
    *rec = good;
    cr_assert_not(index_xattr(&idx, 0, &view));
    cr_assert_not(index_xattr(&idx, 70000000, &view));
    rec->next = x; /* a circle: what walks it must end */
    cr_assert_gt(index_verify(&idx, false, NULL, NULL), 0);
    *rec = good;
}

/* The state of a view, as sums of its names and inodes. */
static uint64_t digest(const struct index *view)
{
    uint64_t sum = view->s.n_names * 31 + view->s.n_files;
    for (uint32_t d = 1; d < view->dentries.used; d++) {
        const struct dentry_rec *dentry = index_dentry(view, d);
        const void *text = dentry ? names_get(&view->names, dentry->name, dentry->name_len) : NULL;
        if (text)
            sum += codec_hash(text, dentry->name_len) * (dentry->child + 7u) + dentry->cookie;
    }
    for (uint32_t slot = 1; slot < view->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(view, slot);
        sum += inode ? inode->nlink * 1000003u + inode->mode + inode->size * 17u + (uint64_t)inode->mtime : 0;
    }
    return sum;
}

Test(index, frozen_views_stay_as_they_were)
{
    enum { VIEWS = 4, N = 3000 };
    static uint64_t inos[N];
    struct index views[VIEWS];
    uint64_t freezes[VIEWS], digests[VIEWS], rng = test_seed();
    char text[16];
    for (unsigned i = 0; i < VIEWS * 4000; i++) {
        unsigned k = (unsigned)rng_below(&rng, N);
        (void)snprintf(text, sizeof(text), "n%u", k);
        if (inos[k]) {
            MUST(unname(1, text, inos[k]) == 0);
            MUST(apply((struct op){.type = OP_FREE, .ino = inos[k]}) == 0);
            inos[k] = 0;
        } else {
            inos[k] = make(S_IFREG | (uint32_t)(i % 512));
            MUST(name(1, text, inos[k]) == 0);
        }
        if (i % 4000 == 2000) {
            unsigned v = i / 4000;
            MUST(index_freeze(&idx, &views[v], &freezes[v]) == 0);
            digests[v] = digest(&views[v]);
            MUST(digests[v] == digest(&idx));
        }
    }
    static const unsigned order[VIEWS] = {2, 0, 3, 1};
    for (unsigned i = 0; i < VIEWS; i++) {
        for (unsigned j = i; j < VIEWS; j++)
            cr_assert_eq(digest(&views[order[j]]), digests[order[j]]);
        index_thaw(&idx, &views[order[i]], freezes[order[i]]);
    }
    cr_assert_eq(idx.n_freezes, 0);
}
