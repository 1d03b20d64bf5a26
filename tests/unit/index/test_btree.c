/*
 * test_btree.c - the B+tree against a sorted array, its shape, frozen views,
 * and what it does with damaged nodes (I10). */
#include "index/btree.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static struct chunk_pool *pool;
static struct btree tree;

static void setup(void)
{
    MUST(chunk_pool_new(&pool) == 0);
}

static void teardown(void)
{
    MUST(chunk_pool_overdrafts(pool) == 0);
    btree_free(&tree);
    chunk_pool_free(pool);
}

TestSuite(btree, .init = setup, .fini = teardown, .timeout = 120);

/* The value that belongs to a key and a stamp: every byte counts. */
static const void *value_for(uint64_t stamp)
{
    static uint8_t value[BTREE_VALUE_MAX];
    rng_fill(value, sizeof(value), stamp);
    return value;
}

static int put(struct bkey key, uint64_t stamp)
{
    MUST(btree_reserve(&tree, 1) == 0);
    MUST(chunk_pool_reserve(pool, BTREE_OP_CHUNKS) == 0);
    return btree_put(&tree, key, value_for(stamp));
}

static int del(struct bkey key)
{
    MUST(chunk_pool_reserve(pool, BTREE_OP_CHUNKS) == 0);
    return btree_del(&tree, key);
}

static uint32_t nodes_in_use(void)
{
    return tree.nodes.used - 1 - tree.nodes.n_free;
}

static uint32_t leaf_capacity(void)
{
    return (BTREE_NODE - 8) / (12 + tree.value_size);
}

/* ---- the model ---------------------------------------------------------- */

#define ENTRIES_MAX 20000

struct entry {
    struct bkey key;
    uint64_t stamp;
};

struct model {
    uint32_t n;
    struct entry e[ENTRIES_MAX]; /* sorted */
};

static struct model now;

static int key_cmp(struct bkey x, struct bkey y)
{
    if (x.a != y.a)
        return x.a < y.a ? -1 : 1;
    return x.b < y.b ? -1 : x.b > y.b;
}

/* The first entry >= key. */
static uint32_t model_find(const struct model *m, struct bkey key)
{
    uint32_t lo = 0, hi = m->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (key_cmp(m->e[mid].key, key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool model_has(const struct model *m, uint32_t at, struct bkey key)
{
    return at < m->n && key_cmp(m->e[at].key, key) == 0;
}

static void check_put(struct bkey key, uint64_t stamp)
{
    uint32_t at = model_find(&now, key);
    bool there = model_has(&now, at, key);
    MUST(put(key, stamp) == (there ? 1 : 0));
    if (!there) {
        MUST(now.n < ENTRIES_MAX);
        memmove(&now.e[at + 1], &now.e[at], (now.n - at) * sizeof(now.e[0]));
        now.n++;
    }
    now.e[at] = (struct entry){key, stamp};
}

static void check_del(struct bkey key)
{
    uint32_t at = model_find(&now, key);
    bool there = model_has(&now, at, key);
    MUST(del(key) == (there ? 0 : 1));
    if (there) {
        now.n--;
        memmove(&now.e[at], &now.e[at + 1], (now.n - at) * sizeof(now.e[0]));
    }
}

static void check_found(const struct btree *t, const struct entry *want, int r, struct bkey key,
                        const void *value)
{
    MUST(r == (want != NULL ? 0 : 1));
    if (want != NULL) {
        MUST(key_cmp(key, want->key) == 0);
        MUST(memcmp(value, value_for(want->stamp), t->value_size) == 0);
    }
}

static void check_near(const struct btree *t, const struct model *m, struct bkey key)
{
    uint32_t at = model_find(m, key);
    uint8_t value[BTREE_VALUE_MAX];
    struct bkey got = {0};
    int r = btree_ceil(t, key, &got, value);
    check_found(t, at < m->n ? &m->e[at] : NULL, r, got, value);
    r = btree_floor(t, key, &got, value);
    if (model_has(m, at, key))
        check_found(t, &m->e[at], r, got, value);
    else
        check_found(t, at > 0 ? &m->e[at - 1] : NULL, r, got, value);
}

struct walk {
    const struct btree *t;
    const struct model *m;
    uint32_t at, stop_at;
};

static int walk_emit(void *arg, struct bkey key, const void *value)
{
    struct walk *w = arg;
    MUST(w->at < w->m->n);
    check_found(w->t, &w->m->e[w->at], 0, key, value);
    w->at++;
    return w->at == w->stop_at ? 77 : 0;
}

static void check_scan(const struct btree *t, const struct model *m, struct bkey from)
{
    struct walk w = {.t = t, .m = m, .at = model_find(m, from)};
    MUST(btree_scan(t, from, walk_emit, &w) == 0);
    MUST(w.at == m->n);
}

static void check_whole(const struct btree *t, const struct model *m)
{
    MUST(t->count == m->n);
    MUST(btree_validate(t) == 0);
    check_scan(t, m, (struct bkey){0});
}

/* Keys as an index has them: some owners with many entries each, dense and sparse. */
static struct bkey random_key(uint64_t *rng)
{
    uint32_t a = (uint32_t)rng_below(rng, 12);
    uint64_t b = rng_below(rng, 1500);
    if (a == 0)
        a = UINT32_MAX;
    if (a % 2 == 0)
        b <<= 33;
    else if (b == 1499)
        b = UINT64_MAX;
    return (struct bkey){a, b};
}

/* ---- behaviour ---------------------------------------------------------- */

Test(btree, empty)
{
    struct bkey key = {0};
    uint8_t value[BTREE_VALUE_MAX];
    MUST(btree_init(&tree, pool, 4) == 0);
    MUST(btree_ceil(&tree, (struct bkey){0}, &key, value) == 1);
    MUST(btree_floor(&tree, (struct bkey){5, 5}, &key, value) == 1);
    MUST(btree_del(&tree, (struct bkey){5, 5}) == 1);
    check_whole(&tree, &now);
    check_put((struct bkey){5, 5}, 1);
    check_near(&tree, &now, (struct bkey){5, 4});
    check_near(&tree, &now, (struct bkey){5, 6});
    check_del((struct bkey){5, 5});
    MUST(tree.root == 0 && tree.depth == 0 && nodes_in_use() == 0);
    check_whole(&tree, &now);
}

/* Grows, shrinks and grows again, by a bias that turns. */
/* As housekeeping does between changes. */
static void shrink(void)
{
    for (int i = 0; i < 64; i++) {
        MUST(chunk_pool_reserve(pool, BTREE_GATHER_CHUNKS) == 0);
        (void)btree_gather(&tree);
    }
    (void)table_drop_empty(&tree.nodes, 2);
}

static void random_against_model(uint32_t value_size, uint32_t steps)
{
    uint64_t rng = test_seed() + value_size;
    MUST(btree_init(&tree, pool, value_size) == 0);
    for (uint32_t step = 1; step <= steps; step++) {
        struct bkey key = random_key(&rng);
        uint64_t put_bias = step / 20000 % 2 == 0 ? 70 : 25;
        if (rng_below(&rng, 100) < put_bias)
            check_put(key, step);
        else
            check_del(key);
        check_near(&tree, &now, random_key(&rng));
        if (step % 500 == 0)
            shrink();
        if (step % 2500 == 0) {
            check_whole(&tree, &now);
            check_scan(&tree, &now, random_key(&rng));
        }
    }
    check_whole(&tree, &now);
}

Test(btree, random_values_of_4_bytes)
{
    random_against_model(4, 120000);
}

Test(btree, random_values_of_20_bytes)
{
    random_against_model(20, 120000);
}

Test(btree, random_values_of_64_bytes)
{
    random_against_model(64, 60000);
}

Test(btree, scan_stops_when_told)
{
    MUST(btree_init(&tree, pool, 8) == 0);
    for (uint64_t i = 0; i < 1000; i++)
        check_put((struct bkey){1, i}, i);
    struct walk w = {.t = &tree, .m = &now, .stop_at = 500};
    MUST(btree_scan(&tree, (struct bkey){0}, walk_emit, &w) == 77);
    MUST(w.at == 500);
}

/* ---- shape -------------------------------------------------------------- */

Test(btree, ascending_insertion_fills_nodes)
{
    for (uint32_t size = 4; size <= BTREE_VALUE_MAX; size *= 2) {
        MUST(btree_init(&tree, pool, size) == 0);
        uint32_t n = 50000, want = 0, level = (n + leaf_capacity() - 1) / leaf_capacity();
        for (uint32_t i = 0; i < n; i++)
            MUST(put((struct bkey){i / 1000, i}, i) == 0);
        for (; level > 1; level = (level + 62) / 63)
            want += level;
        MUST(nodes_in_use() == want + 1);
        MUST(btree_validate(&tree) == 0);
        btree_free(&tree);
    }
}

/* Directories that grow side by side: the end of each lies in the middle of the tree. */
Test(btree, ascending_in_several_places_fills_well)
{
    MUST(btree_init(&tree, pool, 4) == 0);
    for (uint32_t i = 0; i < 100000; i++)
        MUST(put((struct bkey){1 + i % 10, i}, i) == 0);
    MUST(nodes_in_use() < 100000 / leaf_capacity() * 12 / 10);
    MUST(btree_validate(&tree) == 0);
}

/* Bytes of nodes for an entry after n were appended, each to one of `dirs` directories. */
static double bytes_an_entry(uint32_t dirs, bool at_random)
{
    enum { N = 200000 };
    uint64_t rng = test_seed();
    MUST(btree_init(&tree, pool, 4) == 0);
    for (uint32_t i = 0; i < N; i++) {
        uint32_t dir = at_random ? (uint32_t)rng_below(&rng, dirs) : i % dirs;
        MUST(put((struct bkey){1 + dir, 3 + i}, i) == 0);
    }
    MUST(btree_validate(&tree) == 0);
    double bytes = (double)nodes_in_use() * BTREE_NODE / N;
    btree_free(&tree);
    printf("%u directories: %.2f bytes an entry\n", dirs, bytes);
    return bytes;
}

/* An entry takes 16. */
Test(btree, directories_of_any_size_fill_well)
{
    MUST(bytes_an_entry(1, false) < 16.6);
    MUST(bytes_an_entry(100, false) < 17.5 && bytes_an_entry(100, true) < 17.5);
    MUST(bytes_an_entry(1000, false) < 21 && bytes_an_entry(1000, true) < 21);
    MUST(bytes_an_entry(3000, false) < 24 && bytes_an_entry(3000, true) < 24);
    MUST(bytes_an_entry(20000, false) < 21.5 && bytes_an_entry(20000, true) < 21.5);
}

enum order { ORDER_UP, ORDER_DOWN, ORDER_RANDOM };

static void delete_all(enum order order)
{
    enum { N = 15000 };
    static uint32_t perm[N];
    uint64_t rng = test_seed();
    MUST(btree_init(&tree, pool, 20) == 0);
    for (uint32_t i = 0; i < N; i++) {
        MUST(put((struct bkey){i % 7, i}, i) == 0);
        perm[i] = order == ORDER_DOWN ? N - 1 - i : i;
    }
    for (uint32_t i = N - 1; order == ORDER_RANDOM && i > 0; i--) {
        uint32_t k = (uint32_t)rng_below(&rng, i + 1), swap = perm[i];
        perm[i] = perm[k];
        perm[k] = swap;
    }
    for (uint32_t i = 0; i < N; i++) {
        MUST(del((struct bkey){perm[i] % 7, perm[i]}) == 0);
        MUST(del((struct bkey){perm[i] % 7, perm[i]}) == 1);
        if (i % 500 == 0) {
            MUST(btree_validate(&tree) == 0);
            /* Neighbours that fit into three quarters were merged: on average nodes are three eighths
             * full. */
            MUST(nodes_in_use() <= tree.count * 8 / (3 * leaf_capacity()) * 11 / 10 + 8);
        }
    }
    MUST(tree.count == 0 && tree.root == 0 && tree.depth == 0);
    MUST(nodes_in_use() == 0);
    MUST(btree_validate(&tree) == 0);
}

Test(btree, delete_all_ascending)
{
    delete_all(ORDER_UP);
}

Test(btree, delete_all_descending)
{
    delete_all(ORDER_DOWN);
}

Test(btree, delete_all_at_random)
{
    delete_all(ORDER_RANDOM);
}

/* The first key of an inner node goes stale when its first child goes; a merge must not take it for a
 * bound. */
Test(btree, merge_of_inner_nodes_keeps_the_bound)
{
    enum { LEAF = 13, INNER = 63 * LEAF };
    MUST(btree_init(&tree, pool, 64) == 0);
    for (uint64_t i = 0; i < 3 * INNER; i++)
        check_put((struct bkey){1, 10 * i}, i);
    MUST(leaf_capacity() == LEAF && tree.depth == 3);
    for (uint64_t i = INNER; i < INNER + LEAF; i++) /* the first leaf of the second inner node */
        check_del((struct bkey){1, 10 * i});
    check_put((struct bkey){1, 10 * INNER + 5}, 7); /* now in what was the second leaf */
    uint32_t nodes = nodes_in_use();
    for (uint64_t i = 5 * LEAF; i < INNER; i++)
        check_del((struct bkey){1, 10 * i});
    for (uint64_t i = INNER + 5 * LEAF; i < 2 * INNER; i++)
        check_del((struct bkey){1, 10 * i});
    MUST(nodes - nodes_in_use() == 58 + 58 + 1);
    check_near(&tree, &now, (struct bkey){1, 10 * INNER + 5});
    check_whole(&tree, &now);
}

/* ---- freezes ------------------------------------------------------------ */

#define VIEWS 5

static struct {
    uint64_t freeze; /* 0: none */
    struct btree view;
    struct model model;
} views[VIEWS];

static void freeze_or_thaw(uint32_t k)
{
    if (views[k].freeze == 0) {
        views[k].freeze = chunk_pool_freeze(pool);
        MUST(btree_freeze(&tree, NULL, &views[k].view) == 0);
        views[k].model = now;
        return;
    }
    check_whole(&views[k].view, &views[k].model);
    btree_free(&views[k].view);
    chunk_pool_thaw(pool, views[k].freeze);
    views[k].freeze = 0;
}

Test(btree, views_stay_while_the_tree_changes)
{
    uint64_t rng = test_seed();
    MUST(btree_init(&tree, pool, 20) == 0);
    for (uint32_t step = 0; step < 60000; step++) {
        if (rng_below(&rng, 10) < 6)
            check_put(random_key(&rng), step);
        else
            check_del(random_key(&rng));
        if (rng_below(&rng, 300) == 0)
            freeze_or_thaw((uint32_t)rng_below(&rng, VIEWS));
    }
    check_whole(&tree, &now);
    for (uint32_t k = 0; k < VIEWS; k++)
        if (views[k].freeze != 0)
            freeze_or_thaw(k);
}

/* Nine of ten entries go, in any order, so that what is left lies everywhere. */
Test(btree, nodes_are_gathered_in_few_chunks)
{
    uint64_t rng = test_seed();
    MUST(btree_init(&tree, pool, 64) == 0);
    for (uint32_t i = 0; i < ENTRIES_MAX; i++)
        check_put((struct bkey){i % 100, i}, i);
    uint32_t chunks = tree.nodes.n_chunks;
    while (now.n > ENTRIES_MAX / 10) {
        check_del(now.e[rng_below(&rng, now.n)].key);
        if (now.n % 200 == 0) {
            shrink();
            freeze_or_thaw((uint32_t)rng_below(&rng, VIEWS));
        }
    }
    for (int i = 0; i < 50; i++)
        shrink();
    check_whole(&tree, &now);
    printf("%u of %u chunks for %u nodes\n", tree.nodes.n_chunks, chunks, nodes_in_use());
    MUST(chunks > 20 && tree.nodes.n_chunks <= nodes_in_use() * 4 / 3 / 64 + 2);
    for (uint32_t k = 0; k < VIEWS; k++)
        if (views[k].freeze != 0)
            freeze_or_thaw(k);
    while (now.n > 0)
        check_del(now.e[now.n - 1].key);
    while (table_drop_empty(&tree.nodes, 2) > 0)
        ;
    MUST(chunk_pool_live_bytes(pool) == 0 && tree.nodes.used == 1);
}

/* ---- damage ------------------------------------------------------------- */

/* A sound tree's parts, to be loaded again and again. */
static struct {
    uint8_t chunks[8][TABLE_CHUNK_SIZE];
    struct table_meta metas[8];
    struct btree tree;
} image;

static void image_save(void)
{
    MUST(tree.nodes.n_chunks <= 8);
    for (uint32_t c = 0; c < tree.nodes.n_chunks; c++) {
        memcpy(image.chunks[c], tree.nodes.chunks[c], TABLE_CHUNK_SIZE);
        image.metas[c] = tree.nodes.metas[c];
    }
    image.tree = tree;
}

static void image_load(void)
{
    MUST(table_load_begin(&tree.nodes, image.tree.nodes.n_chunks, &(struct table_source){0}) == 0);
    for (uint32_t c = 0; c < tree.nodes.n_chunks; c++) {
        memcpy(tree.nodes.chunks[c], image.chunks[c], TABLE_CHUNK_SIZE);
        tree.nodes.metas[c] = image.metas[c];
    }
    tree.nodes.used = image.tree.nodes.used;
    MUST(table_loaded(&tree.nodes) == 0);
    tree.root = image.tree.root;
    tree.depth = image.tree.depth;
    tree.count = image.tree.count;
}

/* A tree of three levels with freed nodes; `dirs` of one value, sorted keys. */
static void build(uint64_t *rng, uint32_t value_size)
{
    MUST(btree_init(&tree, pool, value_size) == 0);
    uint32_t n = leaf_capacity() * 150;
    for (uint32_t i = 0; i < n; i++)
        MUST(put((struct bkey){(uint32_t)rng_below(rng, 50), rng_below(rng, 1u << 20)}, i) >= 0);
    for (uint32_t i = 0; i < n / 20; i++) {
        struct bkey key = {0};
        uint8_t value[BTREE_VALUE_MAX];
        for (int k = 0; k < 8; k++) { /* neighbours, so that nodes are merged */
            if (btree_ceil(&tree, (struct bkey){i % 3, 0}, &key, value) == 0)
                MUST(del(key) == 0);
        }
    }
    MUST(tree.depth == 3 && tree.nodes.n_free > 0);
    MUST(btree_validate(&tree) == 0);
    image_save();
}

static uint8_t *random_node(uint64_t *rng)
{
    uint32_t i = 1 + (uint32_t)rng_below(rng, tree.nodes.used - 1);
    return tree.nodes.chunks[i / 64] + (size_t)(i % 64) * BTREE_NODE;
}

static void damage_once(uint64_t *rng)
{
    uint8_t *node = random_node(rng);
    uint32_t word = (uint32_t)rng_below(rng, tree.nodes.used + 2);
    switch (rng_below(rng, 8)) {
    case 0: /* header */
        node[rng_below(rng, 8)] = (uint8_t)rng_next(rng);
        break;
    case 1: /* count */
        word = (uint32_t)rng_below(rng, 80);
        memcpy(node + 4, &word, 2);
        break;
    case 2: /* a key */
        node[8 + rng_below(rng, 12 * 60)] ^= (uint8_t)(1u << rng_below(rng, 8));
        break;
    case 3: /* a child, in an inner node */
    case 4:
        memcpy(node + 8 + 63 * 12 + 4 * rng_below(rng, 63), &word, 4);
        break;
    case 5: /* one node in the place of another */
        memcpy(node, random_node(rng), BTREE_NODE);
        break;
    case 6:
        rng_fill(node + 8 * rng_below(rng, 128), 8, rng_next(rng));
        break;
    default: { /* what the checkpoint says of the tree */
        struct table_meta *meta = &tree.nodes.metas[rng_below(rng, tree.nodes.n_chunks)];
        uint32_t value = rng_below(rng, 2) == 0 ? word : (uint32_t)rng_below(rng, 14);
        uint64_t field = rng_below(rng, 4);
        if (field == 0)
            tree.root = value;
        else if (field == 1)
            tree.depth = value;
        else if (field == 2)
            meta->free_head = (uint16_t)value;
        else
            meta->n_free = (uint16_t)(value % 64);
        (void)table_loaded(&tree.nodes);
        break;
    }
    }
}

struct order_check {
    struct bkey last;
    uint64_t n;
};

static int order_emit(void *arg, struct bkey key, const void *value)
{
    struct order_check *c = arg;
    MUST(c->n == 0 || key_cmp(c->last, key) < 0);
    MUST(value != NULL);
    c->last = key;
    c->n++;
    return 0;
}

/* Everything that a reader does: any answer but a crash, a loop, or a step back. */
static bool read_damaged(uint64_t *rng)
{
    struct order_check c = {0};
    uint8_t value[BTREE_VALUE_MAX];
    struct bkey got = {0};
    bool found = btree_validate(&tree) < 0;
    int r = btree_scan(&tree, (struct bkey){0}, order_emit, &c);
    MUST(r == 0 || r == -EBADMSG);
    MUST(c.n <= (uint64_t)tree.nodes.used * leaf_capacity());
    found = found || r < 0;
    for (int i = 0; i < 30; i++) {
        struct bkey key = {(uint32_t)rng_below(rng, 51), rng_below(rng, 1u << 20)};
        r = btree_ceil(&tree, key, &got, value);
        MUST(r == 1 || r == -EBADMSG || (r == 0 && key_cmp(got, key) >= 0));
        found = found || r < 0;
        r = btree_floor(&tree, key, &got, value);
        MUST(r == 1 || r == -EBADMSG || (r == 0 && key_cmp(got, key) <= 0));
        found = found || r < 0;
    }
    return found;
}

static void write_damaged(uint64_t *rng)
{
    for (int i = 0; i < 300; i++) {
        struct bkey key = {(uint32_t)rng_below(rng, 51), rng_below(rng, 1u << 20)};
        struct bkey near = {0};
        uint8_t value[BTREE_VALUE_MAX];
        int r = rng_below(rng, 2) == 0 ? put(key, 1) : btree_ceil(&tree, key, &near, value);
        MUST(r == 0 || r == 1 || r == -EBADMSG);
        if (r == 0 && rng_below(rng, 2) == 0)
            r = del(rng_below(rng, 2) == 0 ? key : near);
        MUST(r == 0 || r == 1 || r == -EBADMSG);
    }
}

static void survive_damage(uint32_t value_size, int rounds)
{
    uint64_t rng = test_seed() + value_size;
    build(&rng, value_size);
    int found = 0;
    for (int round = 0; round < rounds; round++) {
        image_load();
        MUST(round > 0 || btree_validate(&tree) == 0);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            damage_once(&rng);
        found += read_damaged(&rng);
        write_damaged(&rng);
        (void)read_damaged(&rng);
    }
    MUST(found > rounds / 2); /* the rest fell on values and unused bytes */
}

Test(btree, damaged_nodes_give_ebadmsg_4)
{
    survive_damage(4, 1500);
}

Test(btree, damaged_nodes_give_ebadmsg_20)
{
    survive_damage(20, 1500);
}

/* 63 ways to the same node on each level: 63^3 leaves, were it not for the order. */
Test(btree, a_node_reached_many_times_ends_the_walk)
{
    MUST(btree_init(&tree, pool, 4) == 0);
    for (uint32_t i = 0; i < 300000; i++)
        MUST(put((struct bkey){1, i}, i) == 0);
    MUST(tree.depth == 4);
    for (uint32_t i = 1; i < tree.nodes.used; i++) {
        uint8_t *node = tree.nodes.chunks[i / 64] + (size_t)(i % 64) * BTREE_NODE;
        for (int k = 1; node[6] > 0 && k < 63; k++)
            memcpy(node + 8 + 63 * 12 + 4 * k, node + 8 + 63 * 12, 4);
    }
    struct order_check c = {0};
    MUST(btree_validate(&tree) == -EBADMSG);
    MUST(btree_scan(&tree, (struct bkey){0}, order_emit, &c) == -EBADMSG);
    MUST(c.n <= 63);
    uint64_t rng = test_seed();
    write_damaged(&rng);
}

/* A free chain that holds nodes in use: an insertion is handed its own way down. */
Test(btree, a_free_chain_through_the_tree_is_noticed)
{
    MUST(btree_init(&tree, pool, 64) == 0);
    for (uint32_t i = 0; i < 13 * 63 * 2; i++) /* every node on the right side is full, but the root */
        MUST(put((struct bkey){1, i}, i) == 0);
    MUST(tree.depth == 3);
    image_save();
    for (uint32_t i = 1; i < image.tree.nodes.used; i++) {
        image_load();
        uint32_t per_chunk = TABLE_CHUNK_SIZE / BTREE_NODE;
        tree.nodes.metas[i / per_chunk] =
            (struct table_meta){.free_head = (uint16_t)(i % per_chunk), .n_free = 1};
        MUST(table_loaded(&tree.nodes) == 0);
        MUST(btree_validate(&tree) == -EBADMSG);
        int r = put((struct bkey){2, 0}, 0);
        MUST(r == 0 || r == -EBADMSG);
        MUST(i != tree.root || r == -EBADMSG);
        uint64_t rng = i;
        (void)read_damaged(&rng);
    }
}

Test(btree, impossible_trees_are_refused)
{
    struct bkey key = {0};
    uint8_t value[BTREE_VALUE_MAX];
    MUST(btree_init(&tree, pool, 4) == 0);
    for (uint32_t i = 0; i < 1000; i++)
        MUST(put((struct bkey){1, i}, i) == 0);
    const struct btree sound = tree;
    struct btree bad[6] = {sound, sound, sound, sound, sound, sound};
    bad[0].depth = BTREE_MAX_DEPTH + 1;
    bad[1].depth = 0;
    bad[2].root = 0;
    bad[3].root = UINT32_MAX;
    bad[4].count = 0;
    bad[5].depth = UINT32_MAX;
    for (int i = 0; i < 6; i++) {
        MUST(btree_ceil(&bad[i], (struct bkey){0}, &key, value) == -EBADMSG);
        MUST(btree_floor(&bad[i], (struct bkey){9, 9}, &key, value) == -EBADMSG);
        MUST(btree_scan(&bad[i], (struct bkey){0}, order_emit, NULL) == -EBADMSG);
        MUST(btree_put(&bad[i], (struct bkey){9, 9}, value) == -EBADMSG);
        MUST(btree_del(&bad[i], (struct bkey){1, 1}) == -EBADMSG);
        MUST(btree_validate(&bad[i]) == -EBADMSG);
    }
    bad[0] = sound;
    bad[0].count++;
    MUST(btree_validate(&bad[0]) == -EBADMSG);
    MUST(btree_validate(&sound) == 0);
}
