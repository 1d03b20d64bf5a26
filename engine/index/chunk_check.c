/*
 * chunk_check.c - see chunk_check.h. */
#include "index/chunk_check.h"

#include "index/past_state.h"

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
    ret_limits->has_history = false;
    ret_limits->has_past = idx->s.n_past > 0;
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

static bool past_is_in_range(const struct index_limits *l, const struct inode_rec *past)
{
    return past_head(past) && leads(l, INODES, past_head(past)) && past_number(past) && past_end(past) &&
           past_begin(past) <= past_end(past);
}

/* What an inode says of its past, or a past state of itself. */
static bool life_is_in_range(const struct index_limits *l, const struct inode_rec *inode)
{
    bool is_past = inode->flags & INODE_PAST;
    if (!l->has_history) /* 108 is carried */
        return !(inode->flags & ~(uint32_t)INODE_FLAGS_PLAIN) && !inode->past && !inode->actor &&
               leads(l, DENTRIES, inode->dentry);
    if (!l->has_past && (is_past || inode->past))
        return false;
    if (!leads(l, INODES, inode->past) || !leads(l, ACTORS, inode->actor))
        return false;
    if (is_past)
        return !(inode->flags & ~(uint32_t)INODE_FLAGS_PAST) && past_is_in_range(l, inode);
    return !(inode->flags & ~(uint32_t)INODE_FLAGS_HEAD) && leads(l, DENTRIES, inode->dentry) &&
           leads(l, PAST_NAMES, inode->past_name);
}

static bool inode_is_in_range(const struct index_limits *l, const struct inode_rec *inode)
{
    if (!inode->mode)
        return true;
    bool right = type_is_known(inode->mode) && inode->reuse <= INO_REUSE_MAX && life_is_in_range(l, inode) &&
                 leads(l, CELLS, inode->xattrs);
    if (S_ISLNK(inode->mode) && !(inode->flags & INODE_PAST)) /* its past states have the same target */
        right = right && inode->size <= ENG_SYMLINK_MAX && has_cells(l, inode->target, inode->size);
    if (!S_ISREG(inode->mode))
        return right && !(inode->flags & (INODE_FLAGS_PLAIN | INODE_PAST_TAIL));
    if (inode->flags & INODE_INLINE)
        right = right && locator_is_in_range(&inode->first);
    return right && inode->size <= ENG_FILE_SIZE_MAX;
}

static bool dentry_is_in_range(const struct index_limits *l, const struct dentry_rec *d)
{
    if (!d->child)
        return true;
    return leads(l, INODES, d->child) && d->parent && leads(l, INODES, d->parent) &&
           leads(l, DENTRIES, d->hash_next) && d->name_len && d->name_len <= ENG_NAME_MAX &&
           has_cells(l, d->name, d->name_len) && d->cookie >= 3 && d->cookie <= COOKIE_MAX;
}

static bool past_name_is_in_range(const struct index_limits *l, const struct past_name_rec *p)
{
    enum { KNOWN = PAST_REMOVED | PAST_MOVED | PAST_REPLACED | PAST_SHARES_TEXT | PAST_SAME };
    if (!p->child)
        return true;
    return leads(l, INODES, p->child) && p->parent && leads(l, INODES, p->parent) &&
           leads(l, PAST_NAMES, p->next) && p->newer && leads(l, PAST_NAMES, p->newer) &&
           leads(l, PAST_NAMES, p->of_inode) && leads(l, PAST_NAMES, p->of_newer) &&
           leads(l, ACTORS, p->actor) && p->name_len && p->name_len <= ENG_NAME_MAX &&
           has_cells(l, p->name, p->name_len) && p->cookie >= 3 && p->cookie <= COOKIE_MAX &&
           p->begin < p->end && !(p->flags & ~KNOWN);
}

static bool moment_is_in_range(const struct index_limits *l, const struct moment_rec *m)
{
    if (!m->batch)
        return true;
    bool is_snapshot = m->flags & MOMENT_SNAPSHOT;
    return !(m->flags & ~(MOMENT_SNAPSHOT | MOMENT_ALONE)) && m->name_len <= ENG_NAME_MAX &&
           (is_snapshot || !(m->flags & MOMENT_ALONE)) &&
           (is_snapshot ? has_cells(l, m->name, m->name_len) : !m->name && !m->name_len);
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
    case PAST_NAMES:
        return past_name_is_in_range(l, rec);
    case MOMENTS:
        return moment_is_in_range(l, rec);
    case ACTORS:
        return true;
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

/* What a past state has for an extent: a hole, or a leap. index_verify() tells whose they are. */
static bool stands_for_extent(const struct index_limits *l, uint64_t off, const struct locator *loc)
{
    return l->has_history && (past_is_hole(loc) || past_leap(loc)) && off <= ENG_FILE_SIZE_MAX;
}

static int check_extent(const void *arg, struct bkey key, const void *value)
{
    const struct index_limits *l = arg;
    struct locator loc;
    memcpy(&loc, value, sizeof loc);
    bool right =
        (key.b <= ENG_FILE_SIZE_MAX && locator_is_in_range(&loc)) || stands_for_extent(l, key.b, &loc);
    return key.a && leads(l, INODES, key.a) && right ? 0 : -EBADMSG;
}

/* Of past order and past lookup: those of the one begin with a folder, those of the other end with the
 * record. */
static int check_past_order(const void *arg, struct bkey key, const void *value)
{
    const struct index_limits *l = arg;
    uint32_t p;
    memcpy(&p, value, sizeof p);
    return key.a && leads(l, INODES, key.a) && p && leads(l, PAST_NAMES, p) ? 0 : -EBADMSG;
}

static int check_past_lookup(const void *arg, struct bkey key, const void *value)
{
    const struct index_limits *l = arg;
    uint32_t p;
    memcpy(&p, value, sizeof p);
    return p && leads(l, PAST_NAMES, p) && key.b == p ? 0 : -EBADMSG;
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
    case PAST_NAMES:
        return offsetof(struct past_name_rec, child);
    case MOMENTS:
        return offsetof(struct moment_rec, batch);
    default:
        return offsetof(struct seg_rec, id);
    }
}

int index_check_free(unsigned table, const struct table_meta *m, const uint8_t *chunk)
{
    if (m->n_free == 0 || MUTANT(FREE_BELIEVED))
        return 0;
    if (table == BUCKETS || table == ACTORS) /* they come and go at the end, or never go */
        return -EBADMSG;
    if (table != INODES && table != DENTRIES && table != SEGS && table != PAST_NAMES && table != MOMENTS)
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
    if (table == PAST_ORDER)
        return btree_check_chunk(sizeof(uint32_t), limits->used[table], chunk, check_past_order, limits);
    if (table == PAST_LOOKUP)
        return btree_check_chunk(sizeof(uint32_t), limits->used[table], chunk, check_past_lookup, limits);
    return check_records(limits, table, first, end, shift, chunk);
}

static bool tree_is_in_range(const struct btree *t)
{
    if (!t->root)
        return !t->depth && !t->count;
    return t->root < t->nodes.used && t->depth && t->depth <= BTREE_MAX_DEPTH && t->count;
}

static bool past_figures_are_in_range(const struct index *idx)
{
    const struct index_scalars *s = &idx->s;
    return s->n_past < idx->inodes.used && s->n_past_names < idx->past_names.used &&
           s->past_live <= s->live && idx->actors.used <= ACTORS_MAX + 1 &&
           tree_is_in_range(&idx->past_order) && tree_is_in_range(&idx->past_lookup) &&
           idx->past_lookup.count <= s->n_past_names && idx->past_order.count <= s->n_past_names;
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
    right = right && s->live <= s->total && s->total <= INT64_MAX && past_figures_are_in_range(idx);
    return right && tree_is_in_range(&idx->dirs) && tree_is_in_range(&idx->extents) ? 0 : -EBADMSG;
}

int index_check_trees(const struct index *idx)
{
    const struct btree *trees[] = {&idx->dirs, &idx->extents, &idx->past_order, &idx->past_lookup};
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(trees) && !r; i++)
        r = btree_validate(trees[i]);
    return r;
}
