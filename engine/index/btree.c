/*
 * btree.c - an ordered map as a B+tree of 1 KiB nodes in a freezable table.
 *
 * State: the node table, root, depth and count of struct btree. A node of level 0 is a leaf; the children of
 * a node of level n are all of level n - 1, which bounds every descent even in a damaged tree. In an inner
 * node keys[i] is the lower bound of child i (all of its keys are >= keys[i], those of child i - 1 are below
 * it); keys[0] is meaningless, since its meaning is that of the parent's key. No node is empty.
 *
 * Nodes come from disk unchecked, and btree_validate() is not called for every reader: each node is checked
 * when it is reached (I10), and again after any step that could have changed it through a damaged free chain.
 *
 * Source of the algorithms: D. Comer, "The Ubiquitous B-Tree", ACM Computing Surveys 11(2), 1979; the split
 * at the right end is the usual one for ascending bulk insertion.
 *
 * Locks: none here, see table.h. */
#include "index/btree.h"

#include "base/fault.h"
#include "base/util.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Of a node in use. A freed node has the free chain in its place, so a stale reference to it is noticed. */
#define NODE_MAGIC 0xb7eeb7eeu
#define NODE_BODY (BTREE_NODE - 8)
#define KEY_SIZE 12u

struct node_key { /* a struct bkey without padding */
    uint32_t a, b_low, b_high;
};

struct node {
    uint32_t magic;
    uint16_t count; /* entries; never 0 */
    uint8_t level;
    uint8_t reserved;
    struct node_key keys[NODE_BODY / KEY_SIZE]; /* the node's capacity of them; then as many payloads */
};

_Static_assert(sizeof(struct node_key) == KEY_SIZE, "keys are packed");
_Static_assert(sizeof(struct node) <= BTREE_NODE && offsetof(struct node, keys) == BTREE_NODE - NODE_BODY,
               "nodes have the size of the record");

/* A way down: path[0] is the root, `at` the child that was taken (in a leaf: unused). */
struct step {
    uint32_t node, at;
};

/* ---- nodes -------------------------------------------------------------- */

static struct bkey key_load(const struct node *n, uint32_t i)
{
    const struct node_key *k = &n->keys[i];
    return (struct bkey){k->a, (uint64_t)k->b_high << 32 | k->b_low};
}

static void key_store(struct node *n, uint32_t i, struct bkey key)
{
    n->keys[i] = (struct node_key){key.a, (uint32_t)key.b, (uint32_t)(key.b >> 32)};
}

static bool key_less(struct bkey x, struct bkey y)
{
    return x.a < y.a || (x.a == y.a && x.b < y.b);
}

static bool key_equal(struct bkey x, struct bkey y)
{
    return x.a == y.a && x.b == y.b;
}

/* Bytes that belong to each key: a value, or the index of a child. */
static uint32_t payload_size(const struct btree *t, uint32_t level)
{
    return level == 0 ? t->value_size : (uint32_t)sizeof(uint32_t);
}

static uint32_t capacity(const struct btree *t, uint32_t level)
{
    return NODE_BODY / (KEY_SIZE + payload_size(t, level));
}

static const uint8_t *payload_at(const struct btree *t, const struct node *n, uint32_t i)
{
    return (const uint8_t *)n->keys + capacity(t, n->level) * KEY_SIZE + i * payload_size(t, n->level);
}

static uint8_t *payload_mut(const struct btree *t, struct node *n, uint32_t i)
{
    return (uint8_t *)n->keys + capacity(t, n->level) * KEY_SIZE + i * payload_size(t, n->level);
}

static uint32_t child_at(const struct btree *t, const struct node *n, uint32_t i)
{
    uint32_t child;
    memcpy(&child, payload_at(t, n, i), sizeof child);
    return child;
}

/* Node i if it is a sound one of this level, else NULL. */
static const struct node *node_get(const struct btree *t, uint32_t i, uint32_t level)
{
    const struct node *n = table_get(&t->nodes, i);
    if (!n || n->magic != NODE_MAGIC || n->level != level || !n->count || n->count > capacity(t, level))
        return NULL;
    return n;
}

static struct node *node_mut(struct btree *t, uint32_t i, uint32_t level)
{
    return node_get(t, i, level) ? table_mut(&t->nodes, i) : NULL;
}

static struct node *node_new(struct btree *t, uint32_t level, uint32_t *ret_i)
{
    *ret_i = table_alloc(&t->nodes);
    struct node *n = table_mut(&t->nodes, *ret_i);
    n->magic = NODE_MAGIC;
    n->level = (uint8_t)level;
    return n;
}

/* The first of keys[lo..count) that is >= key. */
static uint32_t lower_bound(const struct node *n, uint32_t lo, struct bkey key)
{
    uint32_t hi = n->count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (key_less(key_load(n, mid), key))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The first of keys[lo..count) that is > key. */
static uint32_t upper_bound(const struct node *n, uint32_t lo, struct bkey key)
{
    uint32_t hi = n->count;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        if (key_less(key, key_load(n, mid)))
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

/* Puts an entry at `pos` of a node that is not full. */
static void entry_insert(const struct btree *t, struct node *n, uint32_t pos, struct bkey key,
                         const void *payload)
{
    uint32_t size = payload_size(t, n->level), after = n->count - pos;
    memmove(&n->keys[pos + 1], &n->keys[pos], after * KEY_SIZE);
    memmove(payload_mut(t, n, pos + 1), payload_at(t, n, pos), after * size);
    key_store(n, pos, key);
    memcpy(payload_mut(t, n, pos), payload, size);
    n->count++;
}

static void entry_remove(const struct btree *t, struct node *n, uint32_t pos)
{
    uint32_t size = payload_size(t, n->level), after = n->count - pos - 1;
    memmove(&n->keys[pos], &n->keys[pos + 1], after * KEY_SIZE);
    memmove(payload_mut(t, n, pos), payload_at(t, n, pos + 1), after * size);
    n->count--;
}

/* Appends entries from..count of src to dst, which has room for them. */
static void entries_append(const struct btree *t, struct node *dst, const struct node *src, uint32_t from)
{
    uint32_t n = src->count - from;
    memcpy(&dst->keys[dst->count], &src->keys[from], n * KEY_SIZE);
    memcpy(payload_mut(t, dst, dst->count), payload_at(t, src, from), n * payload_size(t, src->level));
    dst->count = (uint16_t)(dst->count + n);
}

/* ---- finding the way ---------------------------------------------------- */

/* 0: there is something in the tree; 1: empty; -EBADMSG: neither can be. */
static int tree_state(const struct btree *t)
{
    if (t->root == 0)
        return t->depth == 0 && t->count == 0 ? 1 : -EBADMSG;
    return t->depth >= 1 && t->depth <= BTREE_MAX_DEPTH && t->count > 0 ? 0 : -EBADMSG;
}

/* Level of the nodes at path[i]. */
static uint32_t path_level(const struct btree *t, uint32_t i)
{
    return t->depth - 1 - i;
}

/* Finds the leaf where key is or would be. 0; 1: the tree is empty; -EBADMSG. */
static int descend(const struct btree *t, struct bkey key, struct step *path, const struct node **ret_leaf)
{
    uint32_t node = t->root;
    int r = tree_state(t);
    for (uint32_t i = 0; !r; i++) {
        const struct node *n = node_get(t, node, path_level(t, i));
        if (!n)
            return -EBADMSG;
        path[i] = (struct step){.node = node};
        *ret_leaf = n;
        if (n->level == 0)
            break;
        path[i].at = upper_bound(n, 1, key) - 1;
        node = child_at(t, n, path[i].at);
    }
    return r;
}

/* Goes on to the next (or, not `forward`, the previous) leaf. 0, 1: there is none, -EBADMSG. */
static int next_leaf(const struct btree *t, struct step *path, bool forward, const struct node **ret_leaf)
{
    const struct node *n;
    uint32_t i = t->depth - 1;
    for (;;) { /* up, to the first node that has another child on this side */
        if (i == 0)
            return 1;
        i--;
        n = node_get(t, path[i].node, path_level(t, i));
        if (!n)
            return -EBADMSG;
        if (forward ? path[i].at + 1 < n->count : path[i].at > 0)
            break;
    }
    path[i].at += forward ? 1 : (uint32_t)-1;
    while (n->level > 0) { /* down, along the near side */
        uint32_t child = child_at(t, n, path[i].at);
        i++;
        n = node_get(t, child, path_level(t, i));
        if (!n)
            return -EBADMSG;
        path[i] = (struct step){.node = child, .at = forward ? 0 : n->count - 1u};
    }
    *ret_leaf = n;
    return 0;
}

void btree_touch(const struct btree *t, struct bkey key)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *n = NULL;
    int r = descend(t, key, path, &n);
    for (uint32_t i = 0; !r && i + 1 < t->depth && !MUTANT(NEIGHBOURS_AWAY); i++) {
        n = node_get(t, path[i].node, path_level(t, i));
        for (uint32_t at = path[i].at - (path[i].at > 0); n && at < n->count && at <= path[i].at + 1; at++)
            (void)node_get(t, child_at(t, n, at), path_level(t, i + 1));
    }
}

static void copy_out(const struct btree *t, const struct node *leaf, uint32_t pos, struct bkey *ret_key,
                     void *ret_value)
{
    *ret_key = key_load(leaf, pos);
    memcpy(ret_value, payload_at(t, leaf, pos), t->value_size);
}

int btree_ceil(const struct btree *t, struct bkey key, struct bkey *ret_key, void *ret_value)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *leaf;
    int r = descend(t, key, path, &leaf);
    if (r)
        return r;
    uint32_t pos = lower_bound(leaf, 0, key);
    if (pos == leaf->count) {
        r = next_leaf(t, path, true, &leaf);
        if (r)
            return r;
        pos = 0;
        /* Callers step on from what they get: going back would make them loop. */
        if (key_less(key_load(leaf, pos), key))
            return -EBADMSG;
    }
    copy_out(t, leaf, pos, ret_key, ret_value);
    return 0;
}

int btree_floor(const struct btree *t, struct bkey key, struct bkey *ret_key, void *ret_value)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *leaf;
    int r = descend(t, key, path, &leaf);
    if (r)
        return r;
    uint32_t pos = upper_bound(leaf, 0, key);
    if (pos == 0) {
        r = next_leaf(t, path, false, &leaf);
        if (r)
            return r;
        pos = leaf->count;
        if (key_less(key, key_load(leaf, pos - 1)))
            return -EBADMSG;
    }
    copy_out(t, leaf, pos - 1, ret_key, ret_value);
    return 0;
}

int btree_each_leaf(const struct btree *t, int (*emit)(void *arg, struct bkey key, const void *value),
                    void *arg)
{
    int r = 0;
    for (uint32_t i = 1; i < t->nodes.used && !r; i++) {
        const struct node *leaf = node_get(t, i, 0);
        for (uint32_t k = 0; leaf && k < leaf->count && !r; k++)
            r = emit(arg, key_load(leaf, k), payload_at(t, leaf, k));
    }
    return r;
}

int btree_scan(const struct btree *t, struct bkey from,
               int (*emit)(void *arg, struct bkey key, const void *value), void *arg)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *leaf;
    int r = descend(t, from, path, &leaf);
    if (r)
        return r < 0 ? r : 0;
    bool first = true;
    struct bkey last = from;
    uint32_t pos = lower_bound(leaf, 0, from);
    for (;;) {
        for (; pos < leaf->count; pos++) {
            struct bkey key = key_load(leaf, pos);
            /* Strict order is also what ends the walk in a tree whose nodes are reached many times. */
            if (first ? key_less(key, last) : !key_less(last, key))
                return -EBADMSG;
            first = false;
            last = key;
            r = emit(arg, key, payload_at(t, leaf, pos));
            if (r)
                return r;
        }
        r = next_leaf(t, path, true, &leaf);
        if (r)
            return r < 0 ? r : 0;
        pos = 0;
    }
}

/* ---- insertion ---------------------------------------------------------- */

/*
 * How many entries stay in a full node that is split for a key at `pos`: all at its right end, and all before
 * the key where entries of one owner (`a`) are being appended before those of another. Ascending insertion
 * fills nodes so, also when several directories or files grow side by side. Otherwise half. */
static uint32_t split_point(const struct node *n, uint32_t pos, struct bkey key)
{
    uint32_t run = n->count / 4u; /* few entries of an owner are not worth a lopsided split */
    if (pos == n->count)
        return pos;
    if (pos >= run && key_load(n, pos - run).a == key.a && key_load(n, pos).a != key.a)
        return pos;
    return n->count / 2u;
}

/* Splits full node `left` and inserts an entry at `pos` of it. Gives the new node and its lower bound. */
static int split(struct btree *t, uint32_t left, uint32_t level, uint32_t pos, struct bkey key,
                 const void *payload, uint32_t *ret_right, struct bkey *ret_bound)
{
    uint32_t right, cap = capacity(t, level);
    (void)node_new(t, level, &right);
    struct node *l = node_mut(t, left, level);
    if (!l || l->count != cap) /* a damaged free chain handed out this very node */
        return -EBADMSG;
    struct node *r = table_mut(&t->nodes, right);
    uint32_t stay = split_point(l, pos, key);
    entries_append(t, r, l, stay);
    l->count = (uint16_t)stay;
    if (pos <= stay && stay < cap)
        entry_insert(t, l, pos, key, payload);
    else
        entry_insert(t, r, pos - stay, key, payload);
    *ret_right = right;
    *ret_bound = key_load(r, 0);
    return 0;
}

/* Moves entries between two neighbours, so that the left one has `left` of them all. */
static void share(const struct btree *t, struct node *l, struct node *r, uint32_t left)
{
    uint32_t size = payload_size(t, l->level), k = left > l->count ? left - l->count : l->count - left;
    if (left > l->count) {
        memcpy(&l->keys[l->count], r->keys, k * KEY_SIZE);
        memcpy(payload_mut(t, l, l->count), payload_at(t, r, 0), k * size);
        r->count = (uint16_t)(r->count - k);
        memmove(r->keys, &r->keys[k], r->count * KEY_SIZE);
        memmove(payload_mut(t, r, 0), payload_at(t, r, k), r->count * size);
    } else {
        memmove(&r->keys[k], r->keys, r->count * KEY_SIZE);
        memmove(payload_mut(t, r, k), payload_at(t, r, 0), r->count * size);
        memcpy(r->keys, &l->keys[left], k * KEY_SIZE);
        memcpy(payload_mut(t, r, 0), payload_at(t, l, left), k * size);
        r->count = (uint16_t)(r->count + k);
    }
    l->count = (uint16_t)left;
}

/*
 * Puts an entry at `pos` of the full leaf that `up` leads to into it and its neighbour, the left or the right
 * one under the same parent, if that has room for more than a few: nodes stay fuller than by splitting alone.
 * False: neither has. */
static bool insert_into_two(struct btree *t, const struct step *up, uint32_t pos, struct bkey key,
                            const void *value)
{
    const struct node *parent = node_get(t, up->node, 1), *leaf;
    uint32_t cap = capacity(t, 0), pair[2] = {up->at - 1, up->at}; /* the left one of the two */
    for (unsigned i = up->at == 0; i < 2; i++) {
        if (!parent || pair[i] + 1 >= parent->count)
            continue;
        uint32_t l = child_at(t, parent, pair[i]), r = child_at(t, parent, pair[i] + 1);
        const struct node *a = node_get(t, l, 0), *b = node_get(t, r, 0);
        if (!a || !b || l == r || a->count + b->count + 1u > 2 * cap - MAX_OF(cap / 8, 1u))
            continue;
        leaf = i == 0 ? b : a;
        bool appends = split_point(leaf, pos, key) == pos;
        if (i == 1 && appends && pos < leaf->count && b->count > cap / 2)
            continue; /* better a leaf that this owner fills than entries that move again and again */
        uint32_t place = i == 0 ? a->count + pos : pos, total = a->count + b->count + 1u;
        /* Appending leaves full nodes behind. */
        uint32_t left = i == 0 && appends ? cap : total / 2;
        bool goes_left = place < left;
        struct node *x = table_mut(&t->nodes, l), *y = table_mut(&t->nodes, r);
        share(t, x, y, goes_left ? left - 1 : left);
        if (goes_left)
            entry_insert(t, x, place, key, value);
        else
            entry_insert(t, y, place - left, key, value);
        key_store(table_mut(&t->nodes, up->node), pair[i] + 1, key_load(y, 0));
        return true;
    }
    return false;
}

/* Puts a new root above the present one and its new neighbour. */
static void grow_root(struct btree *t, struct bkey bound, uint32_t right)
{
    uint32_t root;
    struct node *n = node_new(t, t->depth, &root);
    entry_insert(t, n, 0, (struct bkey){0}, &t->root);
    entry_insert(t, n, 1, bound, &right);
    t->root = root;
    t->depth++;
}

static void plant(struct btree *t, struct bkey key, const void *value)
{
    struct node *n = node_new(t, 0, &t->root);
    entry_insert(t, n, 0, key, value);
    t->depth = 1;
    t->count = 1;
}

/* Is there room for one more split? A sound tree of this depth would not fit into a table. */
static bool may_split(const struct btree *t, const struct step *path)
{
    for (uint32_t i = 0; i < t->depth; i++) {
        const struct node *n = node_get(t, path[i].node, path_level(t, i));
        if (n && n->count < capacity(t, n->level))
            return true;
    }
    return t->depth < BTREE_MAX_DEPTH;
}

/* Inserts a new key at `pos` of the leaf that path leads to, splitting what is full on the way up. */
static int insert(struct btree *t, const struct step *path, uint32_t pos, struct bkey key, const void *value)
{
    const void *payload = value;
    uint32_t right = 0;
    for (uint32_t i = t->depth; i-- > 0;) {
        uint32_t level = path_level(t, i), child;
        struct node *n = node_mut(t, path[i].node, level);
        if (!n || pos > n->count)
            return -EBADMSG;
        if (n->count < capacity(t, level)) {
            entry_insert(t, n, pos, key, payload);
            return 0;
        }
        if (level == 0 && i > 0 && insert_into_two(t, &path[i - 1], pos, key, payload))
            return 0;
        int r = split(t, path[i].node, level, pos, key, payload, &child, &key);
        if (r < 0)
            return r;
        right = child;
        payload = &right;
        pos = i > 0 ? path[i - 1].at + 1 : 0;
    }
    grow_root(t, key, right);
    return 0;
}

int btree_put(struct btree *t, struct bkey key, const void *value)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *leaf;
    int r = descend(t, key, path, &leaf);
    if (r < 0)
        return r;
    if (r == 1) {
        plant(t, key, value);
        return 0;
    }
    uint32_t pos = lower_bound(leaf, 0, key);
    if (pos < leaf->count && key_equal(key_load(leaf, pos), key)) {
        struct node *n = table_mut(&t->nodes, path[t->depth - 1].node);
        memcpy(payload_mut(t, n, pos), value, t->value_size);
        return 1;
    }
    if (!may_split(t, path))
        return -EBADMSG;
    r = insert(t, path, pos, key, value);
    if (!r)
        t->count++;
    return r;
}

/* ---- deletion ----------------------------------------------------------- */

/*
 * Merges children at and at + 1 of a node of level + 1 into the first of them, if both together fill less
 * than three quarters of a node. The caller removes the entry of the second. A damaged neighbour is left
 * alone: whoever needs it will be told. */
static bool merge(struct btree *t, uint32_t parent, uint32_t level, uint32_t at)
{
    const struct node *p = node_get(t, parent, level + 1);
    if (!p || at + 1 >= p->count)
        return false;
    uint32_t left = child_at(t, p, at), right = child_at(t, p, at + 1);
    struct bkey bound = key_load(p, at + 1);
    const struct node *l = node_get(t, left, level), *r = node_get(t, right, level);
    if (!l || !r || left == right || 4 * (l->count + r->count) >= 3 * (int)capacity(t, level))
        return false;
    struct node *dst = table_mut(&t->nodes, left);
    r = table_get(&t->nodes, right); /* the same chunk may have moved */
    uint32_t seam = dst->count;
    entries_append(t, dst, r, 0);
    if (level > 0)
        key_store(dst, seam, bound); /* keys[0] meant nothing; here it means something */
    table_free_record(&t->nodes, right);
    return true;
}

/* Takes away inner roots that have one child only. */
static int shrink_root(struct btree *t)
{
    while (t->depth > 1) {
        const struct node *n = node_get(t, t->root, t->depth - 1);
        if (!n)
            return -EBADMSG;
        if (n->count > 1)
            break;
        uint32_t child = child_at(t, n, 0);
        if (!node_get(t, child, t->depth - 2))
            return -EBADMSG;
        table_free_record(&t->nodes, t->root);
        t->root = child;
        t->depth--;
    }
    return 0;
}

/* Removes entry `pos` of the leaf that path leads to, and on the way up what this makes empty or
 * mergeable. */
static int take_out(struct btree *t, const struct step *path, uint32_t pos)
{
    for (uint32_t i = t->depth; i-- > 0;) {
        uint32_t level = path_level(t, i);
        struct node *n = node_mut(t, path[i].node, level);
        if (!n || pos >= n->count)
            return -EBADMSG;
        entry_remove(t, n, pos);
        bool empty = n->count == 0;
        if (empty)
            table_free_record(&t->nodes, path[i].node);
        if (i == 0) {
            if (empty) {
                t->root = 0;
                t->depth = 0;
            }
            break;
        }
        /* What the parent loses: this child, its right neighbour, or this one again, merged into the left. */
        uint32_t at = path[i - 1].at;
        if (!empty && merge(t, path[i - 1].node, level, at))
            pos = at + 1;
        else if (empty || (at > 0 && merge(t, path[i - 1].node, level, at - 1)))
            pos = at;
        else
            break;
    }
    return shrink_root(t);
}

int btree_del(struct btree *t, struct bkey key)
{
    struct step path[BTREE_MAX_DEPTH];
    const struct node *leaf;
    int r = descend(t, key, path, &leaf);
    if (r)
        return r;
    uint32_t pos = lower_bound(leaf, 0, key);
    if (pos == leaf->count || !key_equal(key_load(leaf, pos), key))
        return 1;
    r = take_out(t, path, pos);
    if (!r)
        t->count--;
    return r;
}

/* ---- gathering ----------------------------------------------------------- */

/* Finds the way to node i, which is of that level: *ret_up is its parent, node 0 for the root. */
static bool find_parent(const struct btree *t, uint32_t i, uint32_t level, struct step *ret_up)
{
    const struct node *n = node_get(t, i, level);
    for (uint32_t l = level; n && l > 0; l--)
        n = node_get(t, child_at(t, n, 0), l - 1);
    if (!n)
        return false;
    struct bkey key = key_load(n, 0); /* which lies below it */
    struct step up = {0, 0};
    uint32_t at = t->root;
    for (uint32_t l = t->depth; l-- > level + 1; at = child_at(t, n, up.at)) {
        n = node_get(t, at, l);
        if (!n)
            return false;
        up = (struct step){.node = at, .at = upper_bound(n, 1, key) - 1};
    }
    *ret_up = up;
    return at == i;
}

static void move_node(struct btree *t, uint32_t i, const struct step *up)
{
    uint32_t to = table_alloc(&t->nodes);
    memcpy(table_mut(&t->nodes, to), table_get(&t->nodes, i), BTREE_NODE);
    if (up->node)
        memcpy(payload_mut(t, table_mut(&t->nodes, up->node), up->at), &to, sizeof to);
    else
        t->root = to;
    table_free_record(&t->nodes, i);
}

bool btree_gather(struct btree *t)
{
    struct table *nodes = &t->nodes;
    uint32_t first = (nodes->n_chunks - 1) << nodes->chunk_shift;
    if (nodes->n_free <= nodes->used / 4 || tree_state(t) != 0)
        return false;
    for (uint32_t i = nodes->used; i-- > first;) {
        const struct node *n = table_get(nodes, i);
        uint32_t to = table_predict(nodes, NULL);
        struct step up;
        if (to >= first || !to)
            return false;
        if (n && n->magic == NODE_MAGIC && n->level < t->depth && find_parent(t, i, n->level, &up)) {
            move_node(t, i, &up);
            return true;
        }
    }
    return false;
}

/* ---- the tree as a whole ------------------------------------------------ */

int btree_init(struct btree *t, struct chunk_pool *pool, uint32_t value_size)
{
    assert(value_size >= 4 && value_size <= BTREE_VALUE_MAX);
    *t = (struct btree){.value_size = value_size};
    return table_init(&t->nodes, pool, BTREE_NODE);
}

void btree_free(struct btree *t)
{
    table_free(&t->nodes);
    *t = (struct btree){0};
}

int btree_reserve(struct btree *t, uint32_t n)
{
    uint32_t nodes;
    if (__builtin_mul_overflow(n, BTREE_MAX_DEPTH + 2, &nodes))
        return -EOVERFLOW;
    return table_reserve(&t->nodes, nodes);
}

int btree_freeze(const struct btree *t, struct table_room *room, struct btree *view)
{
    struct btree v = *t;
    int r = table_freeze_in(&t->nodes, room, &v.nodes);
    if (r < 0)
        return r;
    *view = v;
    return 0;
}

int btree_check_chunk(uint32_t value_size, uint32_t used, const uint8_t *chunk,
                      int (*value)(const void *arg, struct bkey key, const void *value), const void *arg)
{
    const struct btree t = {.value_size = value_size};
    int r = 0;
    for (size_t at = 0; at < TABLE_CHUNK_SIZE && !r; at += BTREE_NODE) {
        const struct node *n = (const struct node *)(const void *)(chunk + at);
        if (n->magic != NODE_MAGIC) /* nobody takes it for a node */
            continue;
        if (n->level >= BTREE_MAX_DEPTH || !n->count || n->count > capacity(&t, n->level))
            return -EBADMSG;
        for (uint32_t i = 0; i < n->count && !r; i++) {
            if (n->level > 0)
                r = child_at(&t, n, i) - 1 < used - 1 ? 0 : -EBADMSG;
            else if (value)
                r = value(arg, key_load(n, i), payload_at(&t, n, i));
        }
    }
    return r;
}

struct check {
    uint8_t *seen; /* a bit for each node: reached, or free */
    uint64_t nodes, entries;
};

static bool check_mark(struct check *c, uint32_t i)
{
    uint8_t bit = (uint8_t)(1u << i % 8);
    bool fresh = (c->seen[i / 8] & bit) == 0;
    c->seen[i / 8] |= bit;
    c->nodes += fresh;
    return fresh;
}

/* keys[from..] are in strict order, not below low, and below high if there is one. */
static bool check_keys(const struct node *n, uint32_t from, struct bkey low, const struct bkey *high)
{
    for (uint32_t i = from; i < n->count; i++) {
        struct bkey key = key_load(n, i);
        struct bkey before = i == from ? low : key_load(n, i - 1);
        bool ok = i ? key_less(before, key) : !key_less(key, low);
        if (!ok || (high && !key_less(key, *high)))
            return false;
    }
    return true;
}

/* Node i and all below it: at most BTREE_MAX_DEPTH calls deep, since the level falls with each. */
static int check_node(const struct btree *t, struct check *c, uint32_t i, uint32_t level, struct bkey low,
                      const struct bkey *high)
{
    const struct node *n = node_get(t, i, level);
    if (!n || !check_mark(c, i) || !check_keys(n, level > 0, low, high))
        return -EBADMSG;
    if (level == 0) {
        c->entries += n->count;
        return 0;
    }
    for (uint32_t at = 0; at < n->count; at++) {
        struct bkey child_low = at > 0 ? key_load(n, at) : low, next;
        const struct bkey *child_high = high;
        if (at + 1 < n->count) {
            next = key_load(n, at + 1);
            child_high = &next;
        }
        int r = check_node(t, c, child_at(t, n, at), level - 1, child_low, child_high);
        if (r < 0)
            return r;
    }
    return 0;
}

int btree_validate(const struct btree *t)
{
    int r = table_validate_free(&t->nodes);
    if (r < 0)
        return r;
    r = tree_state(t);
    if (r < 0)
        return r;
    struct check c = {.seen = calloc((size_t)t->nodes.used / 8 + 1, 1)};
    if (!c.seen)
        return -ENOMEM;
    table_mark_free(&t->nodes, c.seen); /* whose chains were found to be sound */
    c.nodes = t->nodes.n_free;
    r = r == 1 ? 0 : check_node(t, &c, t->root, t->depth - 1, (struct bkey){0}, NULL);
    free(c.seen);
    if (r < 0)
        return r;
    return c.entries == t->count && c.nodes == t->nodes.used - 1 ? 0 : -EBADMSG;
}
