/*
 * index.c - inodes, names (a linear-hashed table that grows bucket by bucket,
 * Litwin 1980), xattr records and segment use. Locking as index.h says. */
#include "index/index.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"

#include <string.h>

#define ROOT_SLOT 1u
#define BUCKETS_SPARE 64u /* that stay beyond five for four names */
#define MERGES_MAX 2u     /* buckets that go with a name */
#define STATE_SHIFT 16u   /* what one batch may change: one that has more of it has it of one inode */
#define CHAIN_MAX 4096u   /* dentries of a bucket: more are damage, since hashes are keyed */

static int init_past(struct index *idx)
{
    int r = table_init(&idx->past_names, idx->pool, sizeof(struct past_name_rec));
    if (!r)
        r = btree_init(&idx->past_order, idx->pool, sizeof(uint32_t));
    if (!r)
        r = btree_init(&idx->past_lookup, idx->pool, sizeof(uint32_t));
    if (!r)
        r = table_init(&idx->moments, idx->pool, sizeof(struct moment_rec));
    if (!r)
        r = table_init(&idx->actors, idx->pool, sizeof(struct actor_rec));
    return r;
}

int index_init(struct index *idx, uint64_t hash_seed)
{
    *idx = (struct index){.hash_seed = hash_seed, .s = {.next_cookie = 3}};
    int r = chunk_pool_new(&idx->ref_pool); /* first: index_free() knows by it whose the pools are */
    if (!r)
        r = chunk_pool_new(&idx->pool);
    if (!r)
        r = table_init(&idx->inodes, idx->pool, sizeof(struct inode_rec));
    if (!r)
        table_keep_word(&idx->inodes); /* inode_rec.reuse */
    if (!r)
        r = table_init(&idx->dentries, idx->pool, sizeof(struct dentry_rec));
    if (!r)
        r = table_init(&idx->buckets, idx->pool, sizeof(uint32_t));
    if (!r)
        r = table_init(&idx->segs, idx->pool, sizeof(struct seg_rec));
    if (!r)
        r = names_init(&idx->names, idx->pool);
    if (!r)
        r = btree_init(&idx->dirs, idx->pool, sizeof(uint32_t));
    if (!r)
        r = btree_init(&idx->extents, idx->pool, sizeof(struct locator));
    if (!r)
        r = table_init(&idx->inode_refs, idx->ref_pool, sizeof(uint32_t));
    if (!r)
        r = init_past(idx);
    if (r)
        index_free(idx);
    return r;
}

void index_free(struct index *idx)
{
    names_free(&idx->names);
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        table_free(index_table(idx, i));
    table_free(&idx->inode_refs);
    idmap_done(&idx->seg_slots);
    free(idx->moment_sums);
    free(idx->line_room);
    if (idx->ref_pool) { /* a view has no pools of its own */
        chunk_pool_free(idx->pool);
        chunk_pool_free(idx->ref_pool);
    }
    *idx = (struct index){0};
}

struct table *index_table(struct index *idx, unsigned i)
{
    struct table *tables[INDEX_TABLES] = {[TABLE_INODES] = &idx->inodes,
                                          [TABLE_DENTRIES] = &idx->dentries,
                                          [TABLE_BUCKETS] = &idx->buckets,
                                          [TABLE_SEGMENTS] = &idx->segs,
                                          [TABLE_NAMES] = &idx->names.cells,
                                          [TABLE_DIRS] = &idx->dirs.nodes,
                                          [TABLE_EXTENTS] = &idx->extents.nodes,
                                          [TABLE_PAST_NAMES] = &idx->past_names,
                                          [TABLE_PAST_ORDER] = &idx->past_order.nodes,
                                          [TABLE_PAST_LOOKUP] = &idx->past_lookup.nodes,
                                          [TABLE_MOMENTS] = &idx->moments,
                                          [TABLE_ACTORS] = &idx->actors};
    return tables[i];
}

/* ---- inodes ------------------------------------------------------------- */

bool index_name_is_valid(const char *name, size_t len)
{
    return len > 0 && len <= ENG_NAME_MAX && !memchr(name, '/', len) && !memchr(name, 0, len) &&
           !(len == 1 && name[0] == '.') && !(len == 2 && name[0] == '.' && name[1] == '.');
}

struct inode_rec *index_slot_mut(struct index *idx, uint32_t slot)
{
    return index_slot(idx, slot) ? table_mut(&idx->inodes, slot) : NULL;
}

int index_claim(struct index *idx, uint64_t ino, bool past)
{
    uint32_t slot = ino_slot(ino), reuse = (uint32_t)(ino >> 32);
    if (reuse < table_kept_word(&idx->inodes, slot) || reuse > INO_REUSE_MAX)
        return -EBADMSG;
    int r = past ? table_claim_apart(&idx->inodes, slot) : table_claim(&idx->inodes, slot);
    if (r) /* I1: one that is in use, or was retired, is not free */
        return r;
    while (idx->inode_refs.used <= slot)
        table_alloc(&idx->inode_refs);
    *(uint32_t *)table_mut(&idx->inode_refs, slot) = 0;
    return 0;
}

void index_free_slot(struct index *idx, uint32_t slot)
{
    struct inode_rec *inode = table_mut(&idx->inodes, slot);
    uint32_t reuse = inode->reuse + 1;
    *inode = (struct inode_rec){.reuse = reuse};
    if (reuse <= INO_REUSE_MAX)
        table_free_record(&idx->inodes, slot);
}

uint64_t index_new_state(struct index *idx, uint64_t seq)
{
    uint64_t first = seq << STATE_SHIFT, end = first + (1u << STATE_SHIFT) - 1;
    bool same = idx->last_state >= first && idx->last_state <= end && !MUTANT(STATE_TWICE);
    idx->last_state = same ? MIN_OF(idx->last_state + 1, end) : first;
    return idx->last_state;
}

uint64_t index_predict_ino(const struct index *idx, struct table_ahead *ahead)
{
    uint32_t slot = table_predict(&idx->inodes, ahead);
    return (uint64_t)table_kept_word(&idx->inodes, slot) << 32 | slot;
}

uint64_t index_predict_past(const struct index *idx, struct table_ahead *ahead,
                            const struct table_ahead *creates)
{
    if (MUTANT(PAST_AMONG_HEADS))
        return index_predict_ino(idx, creates ? (struct table_ahead *)(uintptr_t)creates : ahead);
    uint32_t slot = table_predict_apart(&idx->inodes, ahead, creates);
    return (uint64_t)table_kept_word(&idx->inodes, slot) << 32 | slot;
}

uint32_t index_refs(const struct index *idx, uint32_t slot)
{
    const _Atomic uint32_t *n = table_get(&idx->inode_refs, slot);
    return n ? atomic_load_explicit(n, memory_order_acquire) : 0;
}

uint32_t index_ref(struct index *idx, uint32_t slot, int64_t n)
{
    _Atomic uint32_t *count = (_Atomic uint32_t *)(uintptr_t)table_get(&idx->inode_refs, slot);
    if (!count)
        return 0;
    uint32_t old = atomic_load_explicit(count, memory_order_relaxed), next;
    do {
        if (old == UINT32_MAX) /* too many to be counted: it is never freed while the store is open */
            return old;
        int64_t sum = (int64_t)old + n;
        next = (uint32_t)MIN_OF(MAX_OF(sum, INT64_C(0)), (int64_t)UINT32_MAX);
    } while (!atomic_compare_exchange_weak_explicit(count, &old, next, memory_order_acq_rel,
                                                    memory_order_relaxed));
    return next;
}

/* ---- names -------------------------------------------------------------- */

/* Bucket of a hash among n: the low bits, one fewer where that bucket was not split off yet. */
static uint32_t bucket_of(uint32_t hash, uint32_t n)
{
    uint64_t top = n > 1 ? UINT64_C(1) << (32 - __builtin_clz(n - 1)) : 1; /* may come to 2^32 */
    uint32_t b = hash & (uint32_t)(top - 1);
    return b < n ? b : hash & (uint32_t)(top / 2 - 1);
}

/* Bucket b is record b + 1 of the table. */
static uint32_t bucket_head(const struct index *idx, uint32_t b)
{
    const uint32_t *head = table_get(&idx->buckets, b + 1);
    return head ? *head : 0;
}

static void set_bucket_head(struct index *idx, uint32_t b, uint32_t d)
{
    *(uint32_t *)table_mut(&idx->buckets, b + 1) = d;
}

uint32_t index_find_name(const struct index *idx, uint32_t dir, const char *name, size_t len)
{
    if (!idx->s.n_buckets)
        return 0;
    uint32_t hash = codec_name_hash(idx->hash_seed, dir, name, len);
    uint32_t d = bucket_head(idx, bucket_of(hash, (uint32_t)idx->s.n_buckets));
    const struct dentry_rec *dentry;
    for (uint32_t n = 0; (dentry = index_dentry(idx, d)) && n < CHAIN_MAX; n++, d = dentry->hash_next) {
        if (dentry->hash != hash || dentry->parent != dir || dentry->name_len != len)
            continue;
        const void *stored = names_get(&idx->names, dentry->name, dentry->name_len);
        if (stored && memcmp(stored, name, len) == 0)
            return d;
    }
    return 0;
}

static void fetch_bucket(const struct index *idx, uint32_t b)
{
    uint32_t d = bucket_head(idx, b);
    const struct dentry_rec *dentry;
    for (uint32_t k = 0; (dentry = index_dentry(idx, d)) && k < CHAIN_MAX; k++)
        d = dentry->hash_next;
}

void index_fetch_buckets(const struct index *idx, uint64_t before)
{
    uint64_t n = idx->s.n_buckets;
    if (n && n + before < UINT32_MAX)
        fetch_bucket(idx, bucket_of((uint32_t)(n + before), (uint32_t)n)); /* to be split */
    unsigned joined = MUTANT(ONE_MERGE) ? 1 : MERGES_MAX;
    for (uint64_t i = before * MERGES_MAX + 1; i <= before * MERGES_MAX + joined && i < n; i++) {
        uint32_t last = (uint32_t)(n - i);
        fetch_bucket(idx, last); /* to be joined with the other */
        fetch_bucket(idx, bucket_of(last, last));
    }
}

/* Adds one bucket and moves to it what belongs there from the bucket that it splits. */
static void split_bucket(struct index *idx)
{
    uint32_t n = (uint32_t)idx->s.n_buckets;
    table_alloc(&idx->buckets); /* record n + 1 */
    idx->s.n_buckets = n + 1;
    if (!n)
        return;
    uint64_t top = UINT64_C(1) << (32 - __builtin_clz(n));
    uint32_t from = n & (uint32_t)(top / 2 - 1), stay = 0, go = 0;
    for (uint32_t d = bucket_head(idx, from), next, left = CHAIN_MAX; index_dentry(idx, d) && left--;
         d = next) {
        struct dentry_rec *dentry = table_mut(&idx->dentries, d);
        bool goes = bucket_of(dentry->hash, n + 1) == n;
        next = dentry->hash_next;
        dentry->hash_next = goes ? go : stay;
        *(goes ? &go : &stay) = d;
    }
    set_bucket_head(idx, from, stay);
    set_bucket_head(idx, n, go);
}

/* Takes the last bucket away: what is in it goes before what is in the one that it was split off from. */
static void merge_bucket(struct index *idx)
{
    uint32_t last = (uint32_t)idx->s.n_buckets - 1, to = bucket_of(last, last);
    uint32_t head = bucket_head(idx, last), end = head;
    const struct dentry_rec *dentry = index_dentry(idx, end);
    for (uint32_t n = 0; dentry && dentry->hash_next && n < CHAIN_MAX; n++) {
        end = dentry->hash_next;
        dentry = index_dentry(idx, end);
    }
    if (head && dentry) {
        ((struct dentry_rec *)table_mut(&idx->dentries, end))->hash_next = bucket_head(idx, to);
        set_bucket_head(idx, to, head);
    }
    idx->s.n_buckets = last;
    table_cut(&idx->buckets, last + 1);
}

/* A name has gone: buckets of which many are empty go, a few for each name. */
static void merge_buckets(struct index *idx)
{
    for (unsigned i = 0;
         i < MERGES_MAX && idx->s.n_buckets > BUCKETS_SPARE + idx->s.n_names + idx->s.n_names / 4; i++)
        merge_bucket(idx);
}

int index_link(struct index *idx, uint32_t d)
{
    if (idx->s.n_names >= idx->s.n_buckets)
        split_bucket(idx);
    struct dentry_rec *dentry = table_mut(&idx->dentries, d);
    uint32_t b = bucket_of(dentry->hash, (uint32_t)idx->s.n_buckets);
    dentry->hash_next = bucket_head(idx, b);
    set_bucket_head(idx, b, d);
    idx->s.n_names++;
    if (btree_put(&idx->dirs, (struct bkey){dentry->parent, dentry->cookie}, &d) != 0)
        return -EBADMSG; /* that cookie was there */
    struct inode_rec *parent = table_mut(&idx->inodes, dentry->parent),
                     *inode = table_mut(&idx->inodes, dentry->child);
    parent->size++;
    inode->dentry = d;
    return 0;
}

int index_add_name(struct index *idx, uint32_t dir, const char *name, uint32_t len, uint32_t child,
                   uint64_t cookie)
{
    uint32_t d = table_alloc(&idx->dentries);
    struct dentry_rec *dentry = table_mut(&idx->dentries, d);
    *dentry = (struct dentry_rec){.parent = dir,
                                  .child = child,
                                  .name = names_alloc(&idx->names, len),
                                  .cookie = cookie,
                                  .hash = codec_name_hash(idx->hash_seed, dir, name, len),
                                  .name_len = (uint16_t)len};
    memcpy(names_mut(&idx->names, dentry->name, len), name, len);
    return index_link(idx, d);
}

int index_remove_name(struct index *idx, uint32_t d)
{
    struct dentry_rec *dentry = table_mut(&idx->dentries, d);
    uint32_t b = bucket_of(dentry->hash, (uint32_t)idx->s.n_buckets), at = bucket_head(idx, b);
    if (at == d) {
        set_bucket_head(idx, b, dentry->hash_next);
    } else {
        const struct dentry_rec *prev;
        uint32_t n = 0;
        while ((prev = index_dentry(idx, at)) && prev->hash_next != d && n++ < CHAIN_MAX)
            at = prev->hash_next;
        if (!prev || prev->hash_next != d)
            return -EBADMSG;
        ((struct dentry_rec *)table_mut(&idx->dentries, at))->hash_next = dentry->hash_next;
    }
    if (btree_del(&idx->dirs, (struct bkey){dentry->parent, dentry->cookie}) != 0)
        return -EBADMSG;
    struct inode_rec *parent = index_slot_mut(idx, dentry->parent),
                     *child = index_slot_mut(idx, dentry->child);
    if (!parent || !child || !parent->size)
        return -EBADMSG;
    parent->size--;
    if (child->dentry == d)
        child->dentry = 0;
    names_free_cells(&idx->names, dentry->name, dentry->name_len);
    dentry->child = 0;
    table_free_record(&idx->dentries, d);
    idx->s.n_names--;
    merge_buckets(idx);
    return 0;
}

uint32_t index_parent(const struct index *idx, uint32_t dir)
{
    const struct inode_rec *inode = index_slot(idx, dir);
    if (dir == ROOT_SLOT || !inode)
        return inode ? dir : 0;
    const struct dentry_rec *dentry = index_dentry(idx, inode->dentry);
    return dentry ? dentry->parent : 0;
}

size_t index_path(const struct index *idx, uint32_t slot, char *buf, size_t size)
{
    size_t at = size; /* built from the end */
    while (slot != ROOT_SLOT) {
        const struct inode_rec *inode = index_slot(idx, slot);
        const struct dentry_rec *dentry = inode ? index_dentry(idx, inode->dentry) : NULL;
        const void *name = dentry ? names_get(&idx->names, dentry->name, dentry->name_len) : NULL;
        size_t need = dentry ? dentry->name_len + (size_t)(at < size) : 0;
        if (!name || need > at)
            return 0;
        if (at < size)
            buf[--at] = '/';
        at -= dentry->name_len;
        memcpy(buf + at, name, dentry->name_len);
        slot = dentry->parent;
    }
    memmove(buf, buf + at, size - at);
    return size - at;
}

/* ---- xattrs ------------------------------------------------------------- */

bool index_xattr(const struct index *idx, uint32_t handle, struct xattr_view *ret_view)
{
    struct xattr_rec rec;
    const uint8_t *p = names_get(&idx->names, handle, sizeof rec);
    if (!p)
        return false;
    memcpy(&rec, p, sizeof rec);
    bool is_extent = rec.flags & XATTR_IS_EXTENT;
    if (!is_extent && rec.value_len > XATTR_INLINE_MAX)
        return false;
    uint32_t stored = is_extent ? (uint32_t)sizeof(struct locator) : rec.value_len;
    p = names_get(&idx->names, handle, (uint32_t)sizeof rec + rec.name_len + stored);
    if (!p)
        return false;
    struct xattr_view view = {.next = rec.next,
                              .name_len = rec.name_len,
                              .value_len = rec.value_len,
                              .is_extent = is_extent,
                              .is_absent = rec.flags & XATTR_ABSENT,
                              .name = (const char *)p + sizeof rec,
                              .value = p + sizeof rec + rec.name_len};
    if (is_extent)
        memcpy(&view.loc, view.value, sizeof view.loc);
    *ret_view = view;
    return true;
}

bool index_next_xattr(const struct index *idx, struct xattr_walk *walk)
{
    if (!walk->next || walk->n == XATTRS_MAX || !index_xattr(idx, walk->next, &walk->xattr))
        return false;
    walk->handle = walk->next;
    walk->next = walk->xattr.next;
    walk->n++;
    return true;
}

static bool is_xattr(const struct index *idx, uint32_t handle, const char *name, size_t len)
{
    struct xattr_view view;
    const uint8_t *p = names_get(&idx->names, handle, (uint32_t)(sizeof(struct xattr_rec) + len));
    return p && memcmp(p + sizeof(struct xattr_rec), name, len) == 0 && index_xattr(idx, handle, &view);
}

/* Of all others no more is looked at than the head: a replay goes through long lists, again and again. */
uint32_t index_find_xattr_behind(const struct index *idx, const struct inode_rec *inode, const char *name,
                                 size_t len, uint32_t *ret_before)
{
    uint32_t at = inode->xattrs;
    *ret_before = 0;
    for (uint32_t n = 0; at && n < XATTRS_MAX; n++) {
        const struct xattr_rec *rec = names_get(&idx->names, at, sizeof *rec);
        if (!rec)
            return 0;
        if (rec->name_len == len && is_xattr(idx, at, name, len))
            return at;
        *ret_before = at;
        at = rec->next;
    }
    return 0;
}

uint32_t index_find_xattr(const struct index *idx, const struct inode_rec *inode, const char *name,
                          size_t len)
{
    uint32_t before;
    return index_find_xattr_behind(idx, inode, name, len, &before);
}

uint32_t index_count_xattrs(const struct index *idx, const struct inode_rec *inode, uint32_t max)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    while (walk.n < max && index_next_xattr(idx, &walk))
        ;
    return walk.n;
}

/* ---- segments ----------------------------------------------------------- */

const struct seg_rec *index_segment(const struct index *idx, uint32_t id)
{
    return table_get(&idx->segs, index_segment_slot(idx, id));
}

int index_reserve_segments(struct index *idx, uint32_t n)
{
    int r = idmap_reserve(&idx->seg_slots, n);
    return r ? r : table_reserve(&idx->segs, n);
}

void index_put_segment(struct index *idx, uint32_t id, uint32_t kind, uint64_t seq)
{
    if (!index_segment(idx, id)) {
        uint32_t i = table_alloc(&idx->segs);
        *(struct seg_rec *)table_mut(&idx->segs, i) =
            (struct seg_rec){.id = id, .kind = kind, .created = now_ns()};
        idmap_set(&idx->seg_slots, id, i);
    }
    struct seg_rec *seg = table_mut(&idx->segs, index_segment_slot(idx, id));
    seg->last_seq = MAX_OF(seg->last_seq, seq);
}

int index_touch_segment(struct index *idx, uint32_t id, uint32_t kind, uint64_t seq)
{
    int r = index_segment(idx, id) ? 0 : index_reserve_segments(idx, 1);
    if (!r) /* a freeze may see the record's chunk */
        r = chunk_pool_reserve(idx->pool, 4);
    if (r)
        return r;
    index_put_segment(idx, id, kind, seq);
    return 0;
}

void index_drop_segment(struct index *idx, uint32_t id)
{
    const struct seg_rec *seg = index_segment(idx, id);
    if (!seg || seg->live)
        return;
    uint32_t i = index_segment_slot(idx, id);
    idx->s.total -= seg->total;
    *(struct seg_rec *)table_mut(&idx->segs, i) = (struct seg_rec){0};
    table_free_record(&idx->segs, i);
    idmap_del(&idx->seg_slots, id);
}

int segment_account(struct index *idx, uint32_t id, int64_t live, int64_t total, uint64_t death_seq)
{
    uint32_t slot = index_segment_slot(idx, id);
    if (!slot)
        return -EBADMSG;
    struct seg_rec *seg = table_mut(&idx->segs, slot);
    if (live < 0 && (seg->live < (uint64_t)-live || !seg->n_live))
        return -EBADMSG;
    if (seg->total + (uint64_t)total > INT64_MAX ||
        (live > 0 && seg->live + (uint64_t)live > seg->total + (uint64_t)total))
        return -EBADMSG; /* more is live than was ever written */
    seg->live += (uint64_t)live;
    seg->total += (uint64_t)total;
    idx->s.live += (uint64_t)live;
    idx->s.total += (uint64_t)total;
    seg->n_live += live > 0;
    seg->n_live -= live < 0;
    if (live < 0)
        seg->death_seq = MAX_OF(seg->death_seq, death_seq);
    return 0;
}

/* ---- shrinking ---------------------------------------------------------- */

/* Whether chunk c of the references has none: all inodes that it is for are gone. */
static bool has_no_refs(const struct index *idx, uint32_t c)
{
    uint32_t share = 1u << (idx->inode_refs.chunk_shift - idx->inodes.chunk_shift);
    uint32_t at = c * share, end = MIN_OF(at + share, idx->inodes.n_chunks);
    while (at < end && idx->inodes.states[at] == TABLE_DROPPED)
        at++;
    return at >= end;
}

static void shrink_refs(struct index *idx)
{
    struct table *t = &idx->inode_refs;
    for (uint32_t c = 0; c < t->n_chunks; c++)
        if (t->states[c] != TABLE_DROPPED && has_no_refs(idx, c))
            table_drop(t, c);
}

/* Moves up to n nodes to where there is room. 1: there may be more to be moved. */
static size_t gather(struct index *idx, struct btree *t, size_t n)
{
    while (n > 0 && chunk_pool_reserve(idx->pool, BTREE_GATHER_CHUNKS) == 0 && btree_gather(t))
        n--;
    return n == 0;
}

size_t index_shrink(struct index *idx, size_t max)
{
    struct table *tables[] = {
        &idx->inodes,     &idx->dentries,         &idx->dirs.nodes,        &idx->extents.nodes,
        &idx->past_names, &idx->past_order.nodes, &idx->past_lookup.nodes, &idx->moments};
    struct btree *trees[] = {&idx->dirs, &idx->extents, &idx->past_order, &idx->past_lookup};
    size_t left = names_drop_empty(&idx->names, max);
    for (size_t i = 0; i < ARRAY_LEN(trees); i++)
        left += gather(idx, trees[i], 16 * max);
    uint64_t live = chunk_pool_live_bytes(idx->pool);
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        left += table_drop_empty(tables[i], max);
    if (chunk_pool_live_bytes(idx->pool) != live)
        shrink_refs(idx);
    table_cut_empty(&idx->segs); /* many go through all of its records, and there are few */
    idmap_shrink(&idx->seg_slots);
    return left;
}

/* ---- freezing and loading ------------------------------------------------ */

int index_room_init(struct index_room *ret_room, const uint32_t chunks[INDEX_TABLES], bool with_dirty)
{
    int r = 0;
    *ret_room = (struct index_room){0};
    for (unsigned i = 0; i < INDEX_TABLES && !r && !MUTANT(NO_FREEZE_ROOM); i++)
        r = table_room_init(&ret_room->tables[i], chunks[i], with_dirty);
    return r;
}

void index_room_done(struct index_room *room)
{
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        table_room_done(&room->tables[i]);
}

static int freeze_past(struct index *idx, struct table_room *in, struct index *v)
{
    int r = table_freeze_in(&idx->past_names, &in[TABLE_PAST_NAMES], &v->past_names);
    if (!r)
        r = btree_freeze(&idx->past_order, &in[TABLE_PAST_ORDER], &v->past_order);
    if (!r)
        r = btree_freeze(&idx->past_lookup, &in[TABLE_PAST_LOOKUP], &v->past_lookup);
    if (!r)
        r = table_freeze_in(&idx->moments, &in[TABLE_MOMENTS], &v->moments);
    if (!r)
        r = table_freeze_in(&idx->actors, &in[TABLE_ACTORS], &v->actors);
    return r;
}

int index_freeze(struct index *idx, struct index_room *room, struct index *view, uint64_t *ret_freeze)
{
    struct index v = {.pool = idx->pool, .s = idx->s, .hash_seed = idx->hash_seed};
    struct index_room none = {0};
    struct table_room *in = room ? room->tables : none.tables;
    uint64_t freeze = chunk_pool_freeze(idx->pool);
    int r = freeze ? table_freeze_in(&idx->inodes, &in[TABLE_INODES], &v.inodes) : -ENOMEM;
    if (!r)
        r = table_freeze_in(&idx->dentries, &in[TABLE_DENTRIES], &v.dentries);
    if (!r)
        r = table_freeze_in(&idx->buckets, &in[TABLE_BUCKETS], &v.buckets);
    if (!r)
        r = table_freeze_in(&idx->segs, &in[TABLE_SEGMENTS], &v.segs);
    if (!r)
        r = names_freeze(&idx->names, &in[TABLE_NAMES], &v.names);
    if (!r)
        r = btree_freeze(&idx->dirs, &in[TABLE_DIRS], &v.dirs);
    if (!r)
        r = btree_freeze(&idx->extents, &in[TABLE_EXTENTS], &v.extents);
    if (!r)
        r = freeze_past(idx, in, &v);
    if (r) {
        index_free(&v);
        chunk_pool_thaw(idx->pool, freeze);
        return r;
    }
    idx->n_freezes++;
    *ret_freeze = freeze;
    *view = v;
    return 0;
}

void index_thaw(struct index *idx, uint64_t freeze)
{
    chunk_pool_thaw(idx->pool, freeze);
    idx->n_freezes--;
}

int index_map_segments(struct index *idx)
{
    pool_missed = 0;
    for (uint32_t i = 1; i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        if (!seg) /* it cannot be had, or was dropped before others */
            return pool_missed ? pool_missed : -EBADMSG;
        if (!seg->id)
            continue;
        if (index_segment(idx, seg->id))
            return -EBADMSG; /* twice */
        int r = idmap_reserve(&idx->seg_slots, 1);
        if (r)
            return r;
        idmap_set(&idx->seg_slots, seg->id, i);
    }
    return 0;
}

/* The memory that it gets is zeroed. */
static int fetch_zeros(void *arg, unsigned which, uint32_t c, uint8_t *into)
{
    (void)arg, (void)which, (void)c, (void)into;
    return 0;
}

/* References are 0; memory for them comes with the first look at each chunk. */
static int begin_refs(struct index *idx)
{
    const struct table_source source = {.fetch = fetch_zeros};
    struct table *t = &idx->inode_refs;
    uint32_t n = ((idx->inodes.used - 1) >> t->chunk_shift) + 1;
    int r = table_load_begin(t, n, &source);
    if (r)
        return r;
    for (uint32_t c = 0; c < n; c++)
        if (has_no_refs(idx, c))
            table_load_dropped(t, c);
    t->used = idx->inodes.used;
    return table_loaded(t);
}

int index_opened(struct index *idx)
{
    int r = names_loaded(&idx->names);
    if (!r)
        r = begin_refs(idx);
    return r ? r : index_map_segments(idx);
}

void index_count_kept(struct index *idx, const struct inode_rec *inode, int by)
{
    if (!index_is_kept(idx, inode) || MUTANT(KEPT_UNCOUNTED))
        return;
    int64_t bytes = (int64_t)inode_bytes(inode);
    struct xattr_walk walk = {.next = inode->xattrs};
    while (index_next_xattr(idx, &walk))
        bytes += walk.xattr.is_extent ? walk.xattr.loc.len : 0;
    idx->kept.files += S_ISREG(inode->mode) ? by : 0;
    idx->kept.dirs += S_ISDIR(inode->mode) ? by : 0;
    idx->kept.others += S_ISREG(inode->mode) || S_ISDIR(inode->mode) ? 0 : by;
    idx->kept.bytes += by * bytes;
}

void index_count_orphans(struct index *idx)
{
    idx->n_orphans = 0;
    idx->kept = (struct index_kept){0};
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        idx->n_orphans += inode && index_is_orphan(idx, inode);
        if (inode)
            index_count_kept(idx, inode, 1);
    }
}

int index_loaded(struct index *idx)
{
    int r = index_opened(idx);
    if (!r)
        index_count_orphans(idx);
    return r;
}
