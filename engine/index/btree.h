/*
 * btree.h - an ordered map in a table of 1 KiB nodes (a B+tree): directory
 * order (directory, cookie) -> dentry and extent maps (inode, file offset) -> locator.
 *
 * Keys are (uint32_t a, uint64_t b), ordered by a, then b. Values have a fixed
 * size given at init (4 to 64 bytes). Leaves hold header + packed 12-byte keys +
 * packed values; inner nodes hold keys and uint32_t children. A node that is
 * split by an insertion at its right end leaves the old node full, so
 * ascending insertion fills nodes completely; likewise, nearly, when several `a` grow at their ends. Before a
 * leaf is split its neighbours under the same parent take some of it. Nodes
 * are freed when empty, and merged with a neighbour under the same parent when both together fill less than
 * three quarters. No sibling pointers: iteration goes by key (btree_ceil), so it survives any change in
 * between. Locking and memory as table.h: writers reserve room in the arrays for each insertion
 * (btree_reserve()) and up to BTREE_OP_CHUNKS chunks of the pool for each insertion or deletion first; no
 * more are ever needed than the table has chunks, plus one for each new node.
 *
 * Any call may return -EBADMSG for a tree from disk that was not validated, never crash or loop; after a
 * failed btree_put() or btree_del() such a tree may be more damaged than before. */
#ifndef ENGRAMFS_BTREE_H
#define ENGRAMFS_BTREE_H

#include "index/table.h"

#define BTREE_NODE 1024u
#define BTREE_MAX_DEPTH 12u /* beyond what fits into a table: deeper is damage */
#define BTREE_VALUE_MAX 64u
/* Most chunks that one btree_put() (a copy and a new node on each level, and a root) or btree_del() takes. */
#define BTREE_OP_CHUNKS (2 * BTREE_MAX_DEPTH + 1)

struct bkey {
    uint32_t a;
    uint64_t b;
};

struct btree {
    struct table nodes;
    uint32_t root;  /* 0: empty */
    uint32_t depth; /* levels, 0 empty, 1: the root is a leaf */
    uint32_t value_size;
    uint64_t count; /* entries */
};

int btree_init(struct btree *t, struct chunk_pool *pool, uint32_t value_size);
void btree_free(struct btree *t);
/* Room in the node table for n insertions (arrays only). */
int btree_reserve(struct btree *t, uint32_t n);

/* The smallest entry with key >= *key: 0, with *ret_key and the value copied out; 1: none; -EBADMSG. */
int btree_ceil(const struct btree *t, struct bkey key, struct bkey *ret_key, void *ret_value);
/* The greatest entry with key <= *key: 0, 1: none; -EBADMSG. */
int btree_floor(const struct btree *t, struct bkey key, struct bkey *ret_key, void *ret_value);
/* Calls emit for entries from `from` on, in order, until it returns non-zero (returned) or the end (0).
 * -EBADMSG. Faster than repeated btree_ceil(); the tree must not change meanwhile. */
int btree_scan(const struct btree *t, struct bkey from,
               int (*emit)(void *arg, struct bkey key, const void *value), void *arg);
/* Calls emit for the entries of each sound leaf, in no order, until it returns non-zero (returned): of a tree
 * of which some nodes are lost, too. */
int btree_each_leaf(const struct btree *t, int (*emit)(void *arg, struct bkey key, const void *value),
                    void *arg);
/* Reads the way down to the key, and at each level the neighbours under the same parent, which a change of
 * the key may take along. pool_missed tells what could not be had. */
void btree_touch(const struct btree *t, struct bkey key);
/* Inserts, or replaces the value of an existing key. 0 new, 1 replaced, -EBADMSG. */
int btree_put(struct btree *t, struct bkey key, const void *value);
/* 0 removed, 1 not there, -EBADMSG. */
int btree_del(struct btree *t, struct bkey key);

/*
 * Moves a node from the last chunk of the table to a lower one, if a quarter of its records or more is free,
 * so that chunks become empty. Takes up to BTREE_GATHER_CHUNKS chunks of the pool. False: there is none to be
 * moved. */
#define BTREE_GATHER_CHUNKS 4u
bool btree_gather(struct btree *t);

/* What a chunk of nodes must be, whoever leads to them: at most `used` nodes are in the table; `value` (may
 * be NULL) looks at each entry of a leaf, and returns 0 for one that may be. 0, -EBADMSG. */
int btree_check_chunk(uint32_t value_size, uint32_t used, const uint8_t *chunk,
                      int (*value)(const void *arg, struct bkey key, const void *value), const void *arg);
int btree_freeze(const struct btree *t, struct table_room *room, struct btree *view);
/* Checks a loaded tree whole: node indices, each node reached once or free, depth, order,
 * counts. 0, -EBADMSG, -ENOMEM. */
int btree_validate(const struct btree *t);

#endif
