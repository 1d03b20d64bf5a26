/*
 * apply_room.c - the memory that applying ops takes (index_reserve()), and the chunks that it changes
 * (index_changes()). Locking as index.h says. */
#include "index/apply.h"

#include "index/extents.h"
#include "index/floor.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/revert.h"
#include "index/xattr_list.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"

/* What ops may take beyond what is there: an op that only removes takes nothing, so that it works also where
 * nothing more goes in. */
struct need {
    uint32_t inodes, dentries, extents, segments, moments, actors;
    struct names_need names;
    struct past_need past;
    uint64_t copies; /* chunks that a freeze sees */
};

void index_op_range(const struct index *idx, const struct op *op, uint64_t *ret_from, uint64_t *ret_end)
{
    const struct inode_rec *inode = index_inode(idx, op->ino);
    uint64_t from = op->off, end = UINT64_MAX;
    if (op->type == OP_FREE) {
        from = 0;
    } else if (op->type == OP_TRUNCATE) {
        from = op->len;
        end = op->flags & OP_LATER ? from + 1 : end;
    } else {
        bool has_len = op->type == OP_PUNCH || op->type == OP_DROP || op->type == OP_REVERT;
        (void)__builtin_add_overflow(from, has_len ? op->len : op->loc.len, &end);
        end = end < from ? UINT64_MAX : end;
    }
    bool may_grow = op->type == OP_TRUNCATE || op->type == OP_EXTENT || op->type == OP_REWRITE;
    if (inode && inode->flags & INODE_TAIL && may_grow)
        from = MIN_OF(from, inode->size); /* the file may grow over what a truncation has left */
    *ret_from = from;
    *ret_end = end;
}

/* Extents and xattrs that the op may take out of the index, or cut: not those that it adds, but for those
 * that it gives to past states. */
struct taken {
    uint32_t extents, xattrs, given;
};

static bool sets_xattr(const struct op *op)
{
    return op->type == OP_XATTR_SET || op->type == OP_XATTR_EXTENT || op->type == OP_XATTR_DEL;
}

/* With `kept` the batch keeps a state before the op. */
static struct taken taken_by(const struct index *idx, const struct op *op, bool kept)
{
    struct taken taken = {0};
    uint64_t from, end, stop;
    uint32_t slot = ino_slot(op->ino);
    bool cuts = op->type == OP_FREE || op->type == OP_TRUNCATE || op->type == OP_PUNCH ||
                op->type == OP_EXTENT || op->type == OP_REWRITE || op->type == OP_DROP ||
                op->type == OP_REVERT;
    if (!cuts && !sets_xattr(op))
        return taken;
    const struct inode_rec *inode = index_inode(idx, op->ino);
    if (op->type == OP_DROP) {
        inode = past_state(idx, op->past);
        slot = ino_slot(op->past);
    }
    if (inode && sets_xattr(op) && (inode->past || kept))
        taken.xattrs = 2; /* one that goes to the past, and the front of its list */
    if (!inode || !cuts)
        return taken;
    index_op_range(idx, op, &from, &end);
    if (extents_count(idx, slot, from, end, UINT32_MAX, &taken.extents, &stop))
        taken.extents = inode_n_extents(inode);
    if (op->type == OP_FREE || op->type == OP_DROP)
        taken.xattrs = index_count_xattrs(idx, inode, XATTRS_MAX);
    if (inode->past || kept)
        taken.given = past_gives(idx, op, from, end, taken.extents, kept);
    return taken;
}

/* Chunks that the op changes for what it takes, beside those for itself: leaves of extents and what leads to
 * them, cells of xattrs and of those before them, records of segments. */
static uint64_t copies_of_content(const struct index *idx, const struct op *op, bool kept)
{
    struct taken taken = taken_by(idx, op, kept);
    uint64_t extents = (uint64_t)taken.extents + taken.given, xattrs = taken.xattrs;
    if (MUTANT(ALL_RESERVED) && op->type == OP_PUNCH)
        return 2 * (uint64_t)inode_n_extents(index_inode(idx, op->ino));
    return MIN_OF(2 * extents, idx->extents.nodes.n_chunks) + MIN_OF(2 * xattrs, idx->names.cells.n_chunks) +
           MIN_OF(extents + xattrs, idx->segs.n_chunks);
}

static void add_need(struct need *need, const struct op *op)
{
    uint32_t xattr = (uint32_t)sizeof(struct xattr_rec) + op->name_len;
    switch (op->type) {
    case OP_KEEP:
        need->inodes++;
        break;
    case OP_CREATE:
        need->inodes++;
        names_need(&need->names, op->value_len);
        break;
    case OP_LINK:
        need->dentries++;
        names_need(&need->names, op->name_len);
        break;
    case OP_XATTR_SET:
        names_need(&need->names, xattr + op->value_len);
        break;
    case OP_XATTR_EXTENT:
        names_need(&need->names, xattr + (uint32_t)sizeof op->loc);
        break;
    case OP_EXTENT:
    case OP_REWRITE:
    case OP_PUNCH:
    case OP_TRUNCATE:
    case OP_RELOCATE:
    case OP_DROP:
    case OP_REVERT:
        need->extents += 3; /* what is cut in two, what is put, and the one that stood in the inode */
        break;
    case OP_SEGMENT:
        need->segments++;
        break;
    case OP_BY:
        need->actors += op->name_len > 0;
        break;
    case OP_MOMENT:
    case OP_SNAPSHOT:
    case OP_SNAPSHOT_NAME:
        need->moments += op->type != OP_SNAPSHOT_NAME;
        if (op->name_len)
            names_need(&need->names, op->name_len);
        break;
    default:
        break;
    }
}

static int reserve_tables(struct index *idx, const struct need *need)
{
    int r = table_reserve(&idx->inodes, need->inodes);
    if (!r)
        r = table_reserve(&idx->inode_refs, need->inodes);
    if (!r)
        r = table_reserve(&idx->dentries, need->dentries);
    if (!r)
        r = table_reserve(&idx->buckets, need->dentries ? need->dentries + 1 : 0);
    if (!r)
        r = index_reserve_segments(idx, need->segments);
    if (!r)
        r = names_reserve(&idx->names, &need->names);
    if (!r)
        r = moments_reserve(idx, need->moments);
    if (!r && need->actors)
        r = table_reserve(&idx->actors, need->actors);
    if (!r && need->dentries)
        r = btree_reserve(&idx->dirs, need->dentries + 1);
    if (!r && need->extents)
        r = btree_reserve(&idx->extents, need->extents + 1);
    return r || !need->past.texts ? r : past_names_reserve(idx, &need->past);
}

/* Entries that the ops give to past states, and names of xattrs for these; *ret_keeps: an op keeps one. */
static uint64_t need_of_past(const struct index *idx, const struct op *ops, size_t n,
                             struct names_need *names, bool *ret_keeps)
{
    uint64_t given = 0;
    bool keeps = false;
    for (size_t i = 0; i < n; i++) {
        keeps = keeps || ops[i].type == OP_KEEP;
        if (!keeps && !idx->s.n_past)
            continue;
        struct taken taken = taken_by(idx, &ops[i], keeps);
        given += taken.given;
        if (sets_xattr(&ops[i]) && taken.xattrs)
            names_need(names, (uint32_t)sizeof(struct xattr_rec) + ops[i].name_len);
    }
    *ret_keeps = keeps;
    return given;
}

#define GIVEN_A_CHUNK 512u /* entries, at least, until new leaves for them fill another chunk */

int index_reserve(struct index *idx, const struct op *ops, size_t n)
{
    struct need need = {0};
    uint64_t all = 0;
    bool keeps;
    for (size_t i = 0; i < n; i++) {
        if (ops[i].type == OP_REVERT && revert_reserve(idx, &ops[i]) != 0)
            return -ENOMEM;
        add_need(&need, &ops[i]);
        if (past_names_changes(idx, &ops[i]))
            past_names_need(&ops[i], &need.past);
    }
    uint64_t given = need_of_past(idx, ops, n, &need.names, &keeps);
    need.extents += (uint32_t)MIN_OF(given, (uint64_t)UINT32_MAX / 64);
    need.inodes += keeps ? 2u << idx->inodes.chunk_shift : 0; /* see table_claim_apart() */
    if (idx->n_freezes) {
        for (unsigned i = 0; i < INDEX_TABLES; i++)
            all += index_table(idx, i)->n_chunks;
        /* two tree paths, inodes, dentries of a split bucket, names, segments */
        for (size_t i = 0; i < n && need.copies < all; i++) {
            need.copies += 40 + copies_of_content(idx, &ops[i], keeps);
            need.copies += past_names_changes(idx, &ops[i]) ? past_names_copies(idx) : 0;
        }
    }
    size_t nodes = n + given / GIVEN_A_CHUNK;
    int r = chunk_pool_reserve(idx->pool, 16 + keeps + nodes + MIN_OF(need.copies, all));
    if (!r)
        r = chunk_pool_reserve(idx->ref_pool, 2 + n / 1024);
    return r ? r : reserve_tables(idx, &need);
}

/* Of a tree: the nodes from the root to a leaf, and at each level one that is merged or split. */
static uint64_t path_changes(const struct btree *t)
{
    return UINT64_C(2) * t->depth;
}

void index_changes(const struct index *idx, const struct op *ops, size_t n, uint64_t ret_chunks[INDEX_TABLES])
{
    bool keeps = false;
    memset(ret_chunks, 0, INDEX_TABLES * sizeof *ret_chunks);
    for (size_t i = 0; i < n; i++) {
        const struct op *op = &ops[i];
        keeps = keeps || op->type == OP_KEEP;
        struct taken taken = taken_by(idx, op, keeps);
        uint64_t content = (uint64_t)taken.extents + taken.xattrs + taken.given;
        ret_chunks[TABLE_INODES] += taken.given ? 4 : 2; /* and that of the directory, or of past states */
        ret_chunks[TABLE_NAMES] += 2 + content;          /* the place, and what leads to it */
        ret_chunks[TABLE_SEGMENTS] += 1 + content;       /* and that of the batch */
        if (content)
            ret_chunks[TABLE_EXTENTS] += path_changes(&idx->extents) + content;
        if (past_names_changes(idx, op)) {
            ret_chunks[TABLE_PAST_NAMES] += PAST_NAME_RECORDS;
            ret_chunks[TABLE_PAST_ORDER] += path_changes(&idx->past_order);
            ret_chunks[TABLE_PAST_LOOKUP] += 2 * path_changes(&idx->past_lookup);
            ret_chunks[TABLE_DENTRIES] += 1;
        }
        ret_chunks[TABLE_ACTORS] += op->type == OP_BY && op->name_len;
        ret_chunks[TABLE_MOMENTS] += moments_change(op) + (floor_takes_moments(op) ? FLOOR_CHUNKS : 0);
        if (op->type != OP_LINK && op->type != OP_UNLINK && op->type != OP_REPOINT)
            continue;
        ret_chunks[TABLE_DENTRIES] += 2;
        ret_chunks[TABLE_BUCKETS] += 1;
        ret_chunks[TABLE_DIRS] += path_changes(&idx->dirs);
    }
    ret_chunks[TABLE_INODES] +=
        keeps; /* a chunk of past states begins: what is unused before it becomes free */
}
