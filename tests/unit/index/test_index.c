/*
 * test_index.c - the tables of the index: names in a table that grows, inode
 * numbers, references, paths, xattr records, freezes. Changes are made by
 * ops, as everywhere. */
#include "engine.h"
#include "index/apply.h"
#include "index/verify.h"
#include "index/version1.h"

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
        struct table_ahead ahead = {0}, undone;
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

/* ---- numbers and chunks that are dropped -------------------------------------------- */

#define SLOTS 4000u /* 8 chunks of inodes */

static struct op history[60000];
static unsigned n_history;

static int record(struct op op)
{
    MUST(n_history < ARRAY_LEN(history));
    history[n_history++] = op;
    return apply(op);
}

/* Makes inodes and frees them, whole chunks of them more than others. Each number is greater than all that
 * its slot ever had. */
static void make_and_free(bool shrink)
{
    static uint64_t inos[SLOTS], last[2 * SLOTS];
    uint64_t rng = test_seed();
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < SLOTS; i++) {
            if (inos[i])
                continue;
            uint64_t ino = index_predict_ino(&idx, NULL);
            uint32_t slot = ino_slot(ino);
            MUST(record((struct op){.type = OP_CREATE, .ino = ino, .mode = S_IFREG, .time = 1}) == 0);
            MUST(slot < ARRAY_LEN(last) && (!last[slot] || ino > last[slot]));
            inos[i] = last[slot] = ino;
        }
        unsigned from = (unsigned)rng_below(&rng, SLOTS / 2);
        for (unsigned i = from; i < from + SLOTS / 2; i++) {
            if (rng_below(&rng, 100) != 0 || round % 3 != 2)
                MUST(record((struct op){.type = OP_FREE, .ino = inos[i]}) == 0);
            else
                continue;
            inos[i] = 0;
        }
        if (shrink)
            while (index_shrink(&idx, 1) > 0)
                ;
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        if (inos[i])
            MUST(record((struct op){.type = OP_FREE, .ino = inos[i]}) == 0);
        inos[i] = 0;
    }
}

Test(index, numbers_of_dropped_chunks_are_never_given_twice)
{
    uint64_t held = chunk_pool_live_bytes(idx.pool);
    make_and_free(true);
    while (index_shrink(&idx, 1) > 0)
        ;
    cr_assert_leq(chunk_pool_live_bytes(idx.pool), held);
    cr_assert_eq(idx.inode_refs.n_chunks, 1);
    struct table_ahead ahead = {0};
    uint64_t ino = 0;
    for (unsigned k = 0; k <= 600; k++)
        ino = index_predict_ino(&idx, &ahead); /* at last in a chunk that is not there */
    cr_assert_geq(ino >> 32, 2);
    cr_assert_eq(apply((struct op){.type = OP_CREATE, .ino = ino - (UINT64_C(1) << 32), .mode = S_IFREG}),
                 -EBADMSG, "used that often it was before");
    cr_assert_eq(apply((struct op){.type = OP_CREATE, .ino = ino, .mode = S_IFREG}), 0);
    cr_assert_eq(apply((struct op){.type = OP_CREATE, .ino = ino, .mode = S_IFREG}), -EBADMSG);
    cr_assert_eq(apply((struct op){.type = OP_CREATE, .ino = idx.inodes.used + 1, .mode = S_IFREG}),
                 -EBADMSG);
    cr_assert_eq(apply((struct op){.type = OP_CREATE,
                                   .ino = (uint64_t)(INO_REUSE_MAX + 1) << 32 | idx.inodes.used,
                                   .mode = S_IFREG}),
                 -EBADMSG);
    cr_assert_eq(index_ref(&idx, ino_slot(ino), 2), 2);
    cr_assert_eq(apply((struct op){.type = OP_FREE, .ino = ino}), 0);
}

/* Other chunks are dropped, at other times, so that other slots would be next: the log says which it was. */
Test(index, a_replay_gives_the_same_numbers_whatever_was_dropped)
{
    make_and_free(true);
    uint64_t slots = idx.inodes.used;
    for (unsigned k = 0; k < 3; k++) {
        index_free(&idx);
        cr_assert_eq(index_init(&idx, 42), 0);
        cr_assert_eq(make(S_IFDIR | 0755), 1);
        for (unsigned i = 0; i < n_history; i++) {
            MUST(apply(history[i]) == 0);
            if (k > 0 && i % (1000 * k) == 0)
                (void)index_shrink(&idx, k);
        }
        cr_assert_eq(idx.inodes.used, slots);
        cr_assert_eq(index_verify(&idx, true, NULL, NULL), 0);
    }
}

Test(index, each_state_has_a_name_of_its_own)
{
    static uint64_t states[70000];
    uint64_t file = make(S_IFREG), other = make(S_IFREG), before = index_inode(&idx, file)->state;
    MUST(index_inode(&idx, other)->state > before && before >> 16 == seq - 1);
    MUST(index_touch_segment(&idx, 1, SEGMENT_LOG, 1) == 0);
    const struct locator at = {1, 10, 0, 100, 100}, moved = {1, 99, 0, 100, 100};
    const struct op changes[] = {
        {.type = OP_EXTENT, .ino = file, .loc = at},
        {.type = OP_TRUNCATE, .ino = file, .len = 50},
        {.type = OP_PUNCH, .ino = file, .off = 10, .len = 10},
        {.type = OP_XATTR_SET, .ino = file, .name = "x", .name_len = 1},
        {.type = OP_XATTR_DEL, .ino = file, .name = "x", .name_len = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        MUST(apply(changes[i]) == 0);
        MUST(index_inode(&idx, file)->state > before);
        before = index_inode(&idx, file)->state;
    }
    const struct op others[] = {
        {.type = OP_ATTR, .ino = file, .mask = ENG_SET_MODE, .mode = 0600},
        {.type = OP_LINK, .parent = 1, .ino = file, .cookie = 9, .name = "f", .name_len = 1},
        {.type = OP_RELOCATE, .ino = file, .off = 20, .old = at, .loc = moved},
        {.type = OP_UNLINK, .parent = 1, .ino = file, .name = "f", .name_len = 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        MUST(apply(others[i]) >= 0);
        MUST(index_inode(&idx, file)->state == before);
    }
    seq++;
    for (uint32_t i = 0; i < ARRAY_LEN(states); i++) { /* in one batch: as many as it can have, and more */
        struct op op = {.type = OP_XATTR_SET, .ino = i % 2 ? file : other, .name = "y", .name_len = 1};
        MUST(index_reserve(&idx, &op, 1) == 0 && index_apply(&idx, &op, seq) == 0);
        states[i] = index_inode(&idx, op.ino)->state;
        MUST(states[i] >> 16 == seq && (i == 0 || i >= 65536 || states[i] > states[i - 1]));
    }
    MUST(make(S_IFREG) && index_new_state(&idx, seq + 1) > states[ARRAY_LEN(states) - 1]);
    MUST(apply((struct op){.type = OP_FREE, .ino = file}) == 0);
}

Test(index, segments_that_are_gone_take_no_place)
{
    enum { N = 5000 };
    for (uint32_t id = 1; id <= N; id++)
        MUST(index_touch_segment(&idx, id, SEGMENT_LOG, id) == 0);
    uint32_t chunks = idx.segs.n_chunks, cap = idx.seg_slots.cap;
    for (uint32_t id = 100; id <= 4500; id++)
        index_drop_segment(&idx, id);
    while (index_shrink(&idx, 1) > 0)
        ;
    for (uint32_t i = 1; i < idx.segs.used; i++)
        MUST(table_get(&idx.segs, i) != NULL); /* whoever goes through them relies on it */
    MUST(idx.segs.n_chunks == chunks);
    for (uint32_t id = 4501; id <= N; id++)
        index_drop_segment(&idx, id);
    while (index_shrink(&idx, 1) > 0)
        ;
    MUST(idx.segs.n_chunks == 1 && idx.seg_slots.cap < cap / 8);
    for (uint32_t id = 1; id <= N; id++)
        MUST((index_segment(&idx, id) != NULL) == (id < 100));
    for (uint32_t id = 1; id < 100; id++)
        index_drop_segment(&idx, id);
    (void)index_shrink(&idx, 1);
    MUST(idx.segs.used == 1 && index_touch_segment(&idx, 7, SEGMENT_LOG, 1) == 0);
    MUST(index_segment(&idx, 7)->id == 7);
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

static uint64_t n_looks;

const void *__real_names_get(const struct names *h, uint32_t handle, uint32_t size);
const void *__wrap_names_get(const struct names *h, uint32_t handle, uint32_t size);
const void *__wrap_names_get(const struct names *h, uint32_t handle, uint32_t size)
{
    n_looks++;
    return __real_names_get(h, handle, size);
}

static struct op set_xattr(uint64_t ino, unsigned i, const char *value)
{
    static char text[16];
    (void)snprintf(text, sizeof text, "user.%04u", i);
    return (struct op){
        .type = OP_XATTR_SET, .ino = ino, .name = text, .name_len = 9, .value = value, .value_len = 1};
}

/* That which was set first is the last of the list. A replay of many changes sets it again and again. */
Test(index, an_xattr_is_replaced_with_one_look_at_each_other)
{
    enum { N = 2000 };
    uint64_t ino = make(S_IFREG);
    MUST(name(1, "f", ino) == 0);
    for (unsigned i = 0; i < N; i++)
        MUST(apply(set_xattr(ino, i, "1")) == 0);
    for (unsigned i = 0; i < N; i += 97) {
        struct xattr_view view;
        n_looks = 0;
        MUST(apply(set_xattr(ino, i, "2")) == 0);
        cr_assert_leq(n_looks, 2 * N + 100, "%llu", (unsigned long long)n_looks); /* its head, and its name */
        MUST(index_xattr(&idx, index_inode(&idx, ino)->xattrs, &view));
        cr_assert(!memcmp(view.name + 5, set_xattr(ino, i, "2").name + 5, 4) && !memcmp(view.value, "2", 1));
    }
    cr_assert_eq(index_count_xattrs(&idx, index_inode(&idx, ino), 2 * N), N);
    MUST(apply(set_xattr(ino, 1, "3")) == 0); /* in the middle, by now, and then first */
    MUST(apply(set_xattr(ino, 1, "4")) == 0);
    cr_assert_eq(index_count_xattrs(&idx, index_inode(&idx, ino), 2 * N), N);
    cr_assert_eq(index_verify(&idx, false, NULL, NULL), 0);
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

/* A store is used before all of it was verified (I10). */
Test(index, what_loops_ends, .timeout = 30)
{
    char buf[4096];
    uint64_t dir = make(S_IFDIR), below = make(S_IFDIR), file = make(S_IFREG);
    MUST(name(1, "dir", dir) == 0 && name(dir, "below", below) == 0 && name(1, "file", file) == 0);
    MUST(apply((struct op){.type = OP_XATTR_SET, .ino = file, .name = "x", .name_len = 1}) == 0);
    MUST(apply((struct op){.type = OP_XATTR_SET, .ino = file, .name = "y", .name_len = 1}) == 0);
    struct inode_rec *inode = index_slot_mut(&idx, ino_slot(file));
    uint32_t first = inode->xattrs, last = index_find_xattr(&idx, inode, "x", 1), none = 0;
    memcpy(names_mut(&idx.names, last, 4), &first, 4); /* xattr_rec.next */
    MUST(index_find_xattr(&idx, inode, "z", 1) == 0 &&
         index_count_xattrs(&idx, inode, UINT32_MAX) == XATTRS_MAX);
    memcpy(names_mut(&idx.names, last, 4), &none, 4);

    struct dentry_rec saved[8];
    for (uint32_t d = 1; d < idx.dentries.used; d++) {
        struct dentry_rec *dentry = table_mut(&idx.dentries, d);
        saved[d] = *dentry;
        dentry->hash_next = d;
    }
    MUST(find(1, "nothing") == 0 && find(dir, "nothing") == 0);
    struct dentry_rec *of_dir = table_mut(&idx.dentries, index_inode(&idx, dir)->dentry);
    of_dir->parent = ino_slot(below); /* /dir/below/dir/below/... */
    MUST(index_path(&idx, ino_slot(below), buf, sizeof(buf)) == 0);
    for (uint32_t d = 1; d < idx.dentries.used; d++)
        *(struct dentry_rec *)table_mut(&idx.dentries, d) = saved[d];
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
            MUST(index_freeze(&idx, NULL, &views[v], &freezes[v]) == 0);
            digests[v] = digest(&views[v]);
            MUST(digests[v] == digest(&idx));
        }
    }
    static const unsigned order[VIEWS] = {2, 0, 3, 1};
    for (unsigned i = 0; i < VIEWS; i++) {
        for (unsigned j = i; j < VIEWS; j++)
            cr_assert_eq(digest(&views[order[j]]), digests[order[j]]);
        index_free(&views[order[i]]);
        index_thaw(&idx, freezes[order[i]]);
    }
    cr_assert_eq(idx.n_freezes, 0);
}

/* ---- version 1 ------------------------------------------------------------------------------ */

/* Flags that version 1 does not know a check finds, though today's inodes may have them: in the next
 * checkpoint nothing would stand for them. The first 80 bytes are the same. */
Test(index, flags_of_version_1_are_two, .init = setup, .fini = teardown)
{
    for (unsigned bit = 0; bit < 32; bit++) {
        uint32_t flag = UINT32_C(1) << bit;
        uint64_t ino = make(S_IFREG | 0644);
        struct inode_rec *inode = table_mut(&idx.inodes, ino_slot(ino));
        struct inode_rec was = *inode;
        inode->flags = flag;
        index_convert_v1(&idx);
        bool is_known = flag == INODE_INLINE || flag == INODE_TAIL;
        cr_assert_eq(index_slot(&idx, ino_slot(ino))->flags == UINT32_MAX, !is_known, "flag %x", flag);
        *inode = was;
    }
}
