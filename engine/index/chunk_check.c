/*
 * chunk_check.c - see chunk_check.h. */
#include "index/chunk_check.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"

/* The order of index_table(). */
enum {
    INODES,
    DENTRIES,
    BUCKETS,
    SEGS,
    CELLS,
    DIRS,
    EXTENTS,
    PAST_NAMES,
    PAST_ORDER,
    PAST_LOOKUP,
    MOMENTS,
    ACTORS
};

/* Log2 of the bytes of a record. */
static const uint8_t shifts[INDEX_TABLES] = {7, 5, 2, 6, 4, 10, 10, 6, 10, 10, 5, 5};

void index_limits(struct index *idx, struct index_limits *ret_limits)
{
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        ret_limits->used[i] = index_table(idx, i)->used;
}

/* 0, none, is right. */
static bool leads(const struct index_limits *l, unsigned table, uint32_t i)
{
    return i < l->used[table];
}

static bool has_cells(const struct index_limits *l, uint32_t handle, uint64_t bytes)
{
    return handle && bytes && leads(l, CELLS, handle) &&
           (bytes + NAMES_CELL - 1) / NAMES_CELL <= l->used[CELLS] - handle;
}

static bool locator_is_in_range(const struct locator *loc)
{
    return loc->seg && loc->len && loc->ext_len <= EXTENT_MAX && loc->skip < loc->ext_len &&
           loc->len <= loc->ext_len - loc->skip;
}

static bool type_is_known(uint32_t mode)
{
    uint32_t type = mode & S_IFMT;
    return type == S_IFREG || type == S_IFDIR || type == S_IFLNK || type == S_IFIFO || type == S_IFSOCK ||
           type == S_IFBLK || type == S_IFCHR;
}

static bool inode_is_in_range(const struct index_limits *l, const struct inode_rec *inode)
{
    if (!inode->mode)
        return true;
    bool right = type_is_known(inode->mode) && inode->reuse <= INO_REUSE_MAX &&
                 leads(l, DENTRIES, inode->dentry) && leads(l, CELLS, inode->xattrs);
    if (S_ISLNK(inode->mode))
        right = right && inode->size <= ENG_SYMLINK_MAX && has_cells(l, inode->target, inode->size);
    if (!S_ISREG(inode->mode))
        return right && !inode->flags;
    if (inode->flags & INODE_INLINE)
        right = right && locator_is_in_range(&inode->first);
    return right && !(inode->flags & ~(uint32_t)INODE_FLAGS_PLAIN) && inode->size <= ENG_FILE_SIZE_MAX;
}

static bool dentry_is_in_range(const struct index_limits *l, const struct dentry_rec *d)
{
    if (!d->child)
        return true;
    return leads(l, INODES, d->child) && d->parent && leads(l, INODES, d->parent) &&
           leads(l, DENTRIES, d->hash_next) && d->name_len && d->name_len <= ENG_NAME_MAX &&
           has_cells(l, d->name, d->name_len) && d->cookie >= 3 && d->cookie <= COOKIE_MAX;
}

static bool seg_is_in_range(const struct seg_rec *seg)
{
    return !seg->id || (seg->live <= seg->total && seg->total <= INT64_MAX);
}

static bool record_is_in_range(const struct index_limits *l, unsigned table, const uint8_t *record)
{
    const void *rec = record;
    switch (table) {
    case INODES:
        return inode_is_in_range(l, rec);
    case DENTRIES:
        return dentry_is_in_range(l, rec);
    case BUCKETS:
        return leads(l, DENTRIES, *(const uint32_t *)rec);
    default:
        return seg_is_in_range(rec);
    }
}

static int check_dir_entry(const void *arg, struct bkey key, const void *value)
{
    const struct index_limits *l = arg;
    uint32_t d;
    memcpy(&d, value, sizeof d);
    return key.a && leads(l, INODES, key.a) && d && leads(l, DENTRIES, d) ? 0 : -EBADMSG;
}

static int check_extent(const void *arg, struct bkey key, const void *value)
{
    const struct index_limits *l = arg;
    struct locator loc;
    memcpy(&loc, value, sizeof loc);
    return key.a && leads(l, INODES, key.a) && key.b <= ENG_FILE_SIZE_MAX && locator_is_in_range(&loc)
               ? 0
               : -EBADMSG;
}

/* Of a table of fixed records without values of their own. */
static int check_records(const struct index_limits *l, unsigned table, uint32_t first, uint32_t end,
                         unsigned shift, const uint8_t *chunk)
{
    for (uint32_t p = first; p < end; p++)
        if (!record_is_in_range(l, table, chunk + ((size_t)p << shift)))
            return -EBADMSG;
    return 0;
}

/* The 4-byte word that is not 0 of a record in use. */
static size_t word_of_use(unsigned table)
{
    switch (table) {
    case INODES:
        return offsetof(struct inode_rec, mode);
    case DENTRIES:
        return offsetof(struct dentry_rec, child);
    default:
        return offsetof(struct seg_rec, id);
    }
}

int index_check_free(unsigned table, const struct table_meta *m, const uint8_t *chunk)
{
    if (m->n_free == 0 || MUTANT(FREE_BELIEVED))
        return 0;
    if (table == BUCKETS) /* they come and go at the end */
        return -EBADMSG;
    if (table != INODES && table != DENTRIES && table != SEGS)
        return 0; /* nodes and cells are marked (btree_validate(), names_mark()) */
    size_t size = (size_t)1 << shifts[table], word = word_of_use(table);
    uint32_t place = m->free_head, is_used;
    for (uint32_t left = m->n_free; left > 0; left--) {
        if (place >= TABLE_CHUNK_SIZE / size) /* one of memory may have been broken since it was loaded */
            return -EBADMSG;
        const uint8_t *record = chunk + place * size;
        memcpy(&is_used, record + word, sizeof is_used);
        if (is_used)
            return -EBADMSG;
        memcpy(&place, record, sizeof place);
    }
    return 0;
}

int index_check_chunk(const struct index_limits *limits, unsigned table, uint32_t c,
                      const struct table_meta *m, const uint8_t *chunk)
{
    unsigned shift = shifts[table];
    uint64_t from = (uint64_t)c * (TABLE_CHUNK_SIZE >> shift);
    if (from >= limits->used[table])
        return -EBADMSG;
    uint32_t first = c == 0, end = (uint32_t)MIN_OF(limits->used[table] - from, TABLE_CHUNK_SIZE >> shift);
    if (table == CELLS)
        return names_check_chunk(m, limits->used[CELLS], c, chunk);
    int r = table_check_chain(m, chunk, first, end, shift);
    if (!r)
        r = index_check_free(table, m, chunk);
    if (r)
        return r;
    if (table == DIRS)
        return btree_check_chunk(sizeof(uint32_t), limits->used[DIRS], chunk, check_dir_entry, limits);
    if (table == EXTENTS)
        return btree_check_chunk(sizeof(struct locator), limits->used[EXTENTS], chunk, check_extent, limits);
    return check_records(limits, table, first, end, shift, chunk);
}

static bool tree_is_in_range(const struct btree *t)
{
    if (!t->root)
        return !t->depth && !t->count;
    return t->root < t->nodes.used && t->depth && t->depth <= BTREE_MAX_DEPTH && t->count;
}

int index_check_head(const struct index *idx)
{
    const struct index_scalars *s = &idx->s;
    bool right = !s->n_buckets || s->n_buckets == idx->buckets.used - 1;
    right = right && (!idx->buckets.n_free || MUTANT(FREE_BELIEVED));
    right = right && s->next_cookie >= 3 && s->next_cookie <= COOKIE_MAX + 1;
    right = right && s->n_names < idx->dentries.used && s->n_files < idx->inodes.used &&
            s->n_dirs < idx->inodes.used && s->n_others < idx->inodes.used &&
            idx->n_orphans < idx->inodes.used;
    right = right && s->live <= s->total && s->total <= INT64_MAX;
    return right && tree_is_in_range(&idx->dirs) && tree_is_in_range(&idx->extents) ? 0 : -EBADMSG;
}
