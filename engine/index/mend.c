/*
 * mend.c - see mend.h.
 *
 * What each record says of others is compared with what is left of them. Whatever can be derived is made
 * anew: the hash table, the order of directories, the tree of extents, counts. An inode whose record is there
 * but whose content is named by a lost one is given up, since it would show zeros. */
#include "index/mend.h"

#include "base/fault.h"
#include "base/util.h"
#include "engine.h"
#include "index/actors.h"
#include "index/apply.h"
#include "index/chunk_check.h"
#include "index/mend_past.h"
#include "index/past.h"
#include "index/past_names.h"
#include "index/verify.h"

#include <stdio.h>

#define SLOTS_AHEAD 65536u /* of what is left of the inodes: a log creates them one by one */

struct mend {
    struct index *idx;
    const struct index_holes *holes;
    uint8_t *lost;       /* bit by slot */
    uint32_t *n_extents; /* by slot, in the tree */
    uint64_t *bytes;
    uint8_t *cells;     /* bit by cell of names: of an attribute that an inode has */
    uint8_t *past_only; /* bit by slot: past names alone lead to it */
    struct mend_past_names past_names;
    struct btree extents; /* the new one */
};

static int have_room(struct index *idx, uint32_t name_len)
{
    return index_reserve(idx, &(struct op){.type = OP_LINK, .name_len = name_len}, 1);
}

static void mark_lost(struct mend *m, uint32_t slot)
{
    m->lost[slot / 8] |= (uint8_t)(1u << slot % 8);
}

static void drop_inode(struct mend *m, uint32_t slot, bool lost)
{
    struct inode_rec *inode = table_mut(&m->idx->inodes, slot);
    *inode = (struct inode_rec){.reuse = inode->reuse};
    if (lost)
        mark_lost(m, slot);
}

/* ---- free lists, segments --------------------------------------------------------------- */

/* Records of a list that is broken are not used again. */
static void mend_free_lists(struct index *idx)
{
    static const unsigned numbers[] = {TABLE_INODES,     TABLE_DENTRIES, TABLE_SEGMENTS,
                                       TABLE_PAST_NAMES, TABLE_MOMENTS,  TABLE_ACTORS};
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        struct table *t = index_table(idx, numbers[i]);
        t->is_lossy = true;
        for (uint32_t c = 0; c < t->n_chunks; c++)
            if (table_validate_chunk(t, c) != 0 ||
                (t->states[c] != TABLE_DROPPED && index_check_free(numbers[i], &t->metas[c], t->chunks[c])))
                table_lose_chain(t, c);
    }
    names_mend(&idx->names);
}

static int mend_segments(struct mend *m, const struct index_file *files, size_t n_files)
{
    struct index *idx = m->idx;
    int r = index_loaded(idx);
    for (size_t i = 0; i < n_files && !r && m->holes->lost[3]; i++)
        r = index_touch_segment(idx, files[i].id, files[i].kind, 0);
    for (uint32_t i = 1; i < idx->segs.used && !r; i++) {
        struct seg_rec *seg = table_mut(&idx->segs, i);
        seg->live = seg->n_live = 0;
    }
    idx->s.live = 0;
    return r;
}

/* ---- inodes --------------------------------------------------------------------------------- */

/* Whether the tree may name content of that file there. */
static bool has_extent(const struct mend *m, struct bkey key, const struct locator *loc)
{
    const struct inode_rec *inode = index_slot(m->idx, key.a);
    if (!inode || !S_ISREG(inode->mode) || inode->flags & INODE_INLINE || key.b > ENG_FILE_SIZE_MAX)
        return false;
    if (inode->flags & INODE_PAST)
        return (past_is_hole(loc) || past_leap(loc) >= past_number(inode) ||
                index_locator_is_valid(m->idx, loc)) &&
               key.b + loc->len <= inode->size;
    return index_locator_is_valid(m->idx, loc) &&
           (key.b + loc->len <= inode->size ||
            ((inode->flags & INODE_TAIL) && key.b >= inode->size && !MUTANT(TAIL_BREAKS)));
}

static int count_extent(void *arg, struct bkey key, const void *value)
{
    struct mend *m = arg;
    struct locator loc;
    memcpy(&loc, value, sizeof loc);
    if (has_extent(m, key, &loc)) {
        m->n_extents[key.a]++;
        m->bytes[key.a] += loc.seg ? loc.len : 0;
    }
    return 0;
}

static bool is_whole(const struct mend *m, uint32_t slot, const struct inode_rec *inode)
{
    const struct mend_found found = {m->n_extents, m->bytes, m->cells};
    const uint32_t of_files = INODE_FLAGS_PLAIN | INODE_PAST_TAIL | INODE_LEAPS;
    if (inode->flags & ~(INODE_AMENDED | (S_ISREG(inode->mode) ? of_files : 0)))
        return false;
    if (S_ISLNK(inode->mode)) {
        const char *target = inode->size > 0 && inode->size <= ENG_SYMLINK_MAX
                                 ? names_get(&m->idx->names, inode->target, (uint32_t)inode->size)
                                 : NULL;
        return target && *target;
    }
    return !S_ISREG(inode->mode) || mend_content_is_whole(m->idx, inode, slot, &found);
}

/* Cuts the list of attributes where a record is lost, or is another inode's. Past states show what is in it,
 * too: so they go. */
static void mend_xattrs(struct mend *m, struct inode_rec *inode)
{
    uint32_t last;
    if (mend_xattrs_are_whole(m->idx, inode, m->cells, &last))
        return;
    inode->past = 0;
    if (last)
        memset(names_mut(&m->idx->names, last, sizeof(uint32_t)), 0, sizeof(uint32_t)); /* xattr_rec.next */
    else
        inode->xattrs = 0;
}

static bool is_in_hole(const struct mend *m, uint32_t slot)
{
    const uint8_t *lost = m->holes->lost[0];
    return lost && lost[slot >> m->idx->inodes.chunk_shift];
}

/* What counts names and entries is counted anew. Past states are left to mend_lines(). */
static void mend_inodes(struct mend *m)
{
    for (uint32_t slot = 1; slot < m->idx->inodes.used; slot++) {
        struct inode_rec *inode = index_slot_mut(m->idx, slot);
        if (!inode && is_in_hole(m, slot))
            mark_lost(m, slot);
        if (!inode || inode->flags & INODE_PAST)
            continue;
        bool orphan = index_is_orphan(m->idx, inode) && slot != ENG_ROOT_INO;
        if (orphan || !is_whole(m, slot, inode)) {
            drop_inode(m, slot, !orphan);
            continue;
        }
        mend_xattrs(m, inode);
        if (!inode->nlink)
            m->past_only[slot / 8] |= (uint8_t)(1u << slot % 8);
        inode->nlink = slot == ENG_ROOT_INO;
        inode->dentry = inode->past_name = 0;
        if (S_ISDIR(inode->mode))
            inode->size = 0;
    }
}

/* ---- names ------------------------------------------------------------------------------------ */

/* A directory that only its entries, or nothing, tell of. */
static void make_dir(struct mend *m, uint32_t slot)
{
    const struct inode_rec *root = index_slot(m->idx, ENG_ROOT_INO);
    struct inode_rec *inode = table_mut(&m->idx->inodes, slot);
    int64_t now = now_ns();
    *inode = (struct inode_rec){.reuse = inode->reuse,
                                .mode = S_IFDIR | 0755,
                                .uid = root ? root->uid : 0,
                                .gid = root ? root->gid : 0,
                                .atime = now,
                                .mtime = now,
                                .ctime = now,
                                .btime = now,
                                .nlink = slot == ENG_ROOT_INO,
                                .generation = 1};
}

static const char *name_of(const struct mend *m, const struct dentry_rec *dentry)
{
    const char *name = names_get(&m->idx->names, dentry->name, dentry->name_len);
    uint32_t hash =
        name ? codec_name_hash(m->idx->hash_seed, dentry->parent, name, dentry->name_len) : ~dentry->hash;
    return hash == dentry->hash ? name : NULL;
}

static bool make_parents(struct mend *m)
{
    bool made = false;
    for (uint32_t d = 1; d < m->idx->dentries.used; d++) {
        const struct dentry_rec *dentry = index_dentry(m->idx, d);
        uint32_t parent = dentry ? dentry->parent : 0;
        if (!parent || parent >= m->idx->inodes.used || index_slot(m->idx, parent) ||
            !index_slot(m->idx, dentry->child) || !name_of(m, dentry))
            continue;
        make_dir(m, parent);
        made = true;
    }
    return made;
}

#define NESTED_MAX 64u /* lost directories below lost ones; those below come into the root */

static void make_dirs(struct mend *m)
{
    const struct inode_rec *root = index_slot(m->idx, ENG_ROOT_INO);
    if (!root || !S_ISDIR(root->mode))
        make_dir(m, ENG_ROOT_INO);
    for (unsigned i = 0; i < NESTED_MAX && make_parents(m); i++)
        ;
}

static void count_name(struct index *idx, uint32_t dir, uint32_t child)
{
    struct inode_rec *inode = index_slot_mut(idx, child);
    inode->nlink++;
    if (S_ISDIR(inode->mode))
        index_slot_mut(idx, dir)->nlink++;
}

static int mend_name(struct mend *m, uint32_t d)
{
    struct index *idx = m->idx;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    if (!dentry)
        return 0;
    const struct inode_rec *dir = index_slot(idx, dentry->parent), *child = index_slot(idx, dentry->child);
    uint32_t parent = dentry->parent, slot = dentry->child;
    bool fits = dir && S_ISDIR(dir->mode) && child && !((dir->flags | child->flags) & INODE_PAST) &&
                slot != ENG_ROOT_INO && name_of(m, dentry) && dentry->cookie >= 3 &&
                dentry->cookie < idx->s.next_cookie &&
                !(S_ISDIR(child->mode) && child->dentry); /* a directory has one name */
    if (!fits) {
        *(struct dentry_rec *)table_mut(&idx->dentries, d) = (struct dentry_rec){0};
        return 0;
    }
    mend_past_names_beside(&m->past_names, d);
    int r = have_room(idx, 0); /* the name is there */
    if (!r)
        r = index_link(idx, d);
    if (!r)
        count_name(idx, parent, slot);
    return r;
}

static bool is_live(const struct index *idx, uint32_t dir, uint64_t cookie)
{
    struct bkey found;
    uint32_t d;
    return btree_ceil(&idx->dirs, (struct bkey){dir, cookie}, &found, &d) == 0 && found.a == dir &&
           found.b == cookie;
}

/* A place in the order of the directory that no entry has, had, or will have. Each search, in whatever
 * directory, goes on where the last one ended: all of them together look at each place about once. */
static uint64_t free_cookie(struct index *idx, uint32_t dir)
{
    uint64_t next = idx->s.next_cookie, cookie = idx->mend_cookie ? idx->mend_cookie : next;
    for (uint64_t left = next; left > 3; left--) {
        cookie = cookie > 3 ? cookie - 1 : next - 1;
        if (!is_live(idx, dir, cookie) && !index_newest_past(idx, dir, cookie))
            break;
    }
    idx->mend_cookie = cookie;
    return cookie;
}

/* "#N", or what follows where somebody called something so. */
static uint32_t free_name(const struct index *idx, uint32_t slot, char name[32])
{
    uint32_t len = (uint32_t)snprintf(name, 32, "#%u", slot);
    for (uint32_t n = 2; index_find_name(idx, ENG_ROOT_INO, name, len); n++)
        len = (uint32_t)snprintf(name, 32, "#%u-%u", slot, n);
    return len;
}

/* The content of what has no name is found without. Where past names lead to it, it stays for them. */
static void lose_nameless(struct mend *m, uint32_t slot)
{
    if (index_slot(m->idx, slot)->past_name)
        mark_lost(m, slot);
    else
        drop_inode(m, slot, true);
}

/* What no name leads to: directories get one, files are lost. */
static int mend_nameless(struct mend *m)
{
    struct index *idx = m->idx;
    int r = 0;
    for (uint32_t slot = 2; slot < idx->inodes.used && !r; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        bool past_only = m->past_only[slot / 8] >> slot % 8 & 1;
        if (!inode || inode->dentry || inode->flags & INODE_PAST || (past_only && inode->past_name))
            continue;
        if (S_ISDIR(inode->mode) && past_only && !inode->size) /* an orphan now */
            continue;
        if (!S_ISDIR(inode->mode)) {
            lose_nameless(m, slot);
            continue;
        }
        char name[32];
        uint32_t len = free_name(idx, slot, name);
        r = have_room(idx, len);
        if (!r)
            r = index_add_name(idx, ENG_ROOT_INO, name, len, slot, free_cookie(idx, ENG_ROOT_INO));
        if (!r)
            count_name(idx, ENG_ROOT_INO, slot);
    }
    return r;
}

/* As far as segments tell; 0: not all of them are there. */
static uint64_t last_batch(const struct mend *m)
{
    const struct index *idx = m->idx;
    uint64_t last = 0;
    for (uint32_t i = 1; i < idx->segs.used && !m->holes->lost[TABLE_SEGMENTS]; i++)
        last = MAX_OF(last, ((const struct seg_rec *)table_get(&idx->segs, i))->last_seq);
    return last;
}

static int mend_names(struct mend *m)
{
    struct index *idx = m->idx;
    table_free(&idx->buckets);
    btree_free(&idx->dirs);
    idx->s.n_names = idx->s.n_buckets = 0;
    int r = table_init(&idx->buckets, idx->pool, sizeof(uint32_t));
    if (!r)
        r = btree_init(&idx->dirs, idx->pool, sizeof(uint32_t));
    if (r)
        return r;
    make_dirs(m);
    r = mend_past_names_begin(&m->past_names, idx, last_batch(m));
    for (uint32_t d = 1; d < idx->dentries.used && !r; d++)
        r = mend_name(m, d);
    if (!r)
        r = mend_past_names_end(&m->past_names);
    return r ? r : mend_nameless(m);
}

/* ---- content ------------------------------------------------------------------------------------ */

/* What a segment has live was written there, whatever its lost record said. */
static int account(struct index *idx, const struct locator *loc)
{
    const struct seg_rec *seg = index_segment(idx, loc->seg);
    uint64_t live = seg->live + loc->len;
    int64_t more = live > seg->total ? (int64_t)(live - seg->total) : 0;
    return segment_account(idx, loc->seg, loc->len, more, 0);
}

static int take_extent(void *arg, struct bkey key, const void *value)
{
    struct mend *m = arg;
    struct locator loc;
    memcpy(&loc, value, sizeof loc);
    if (!has_extent(m, key, &loc))
        return 0;
    int r = chunk_pool_reserve(m->idx->pool, BTREE_OP_CHUNKS);
    if (!r)
        r = btree_reserve(&m->extents, 1);
    if (!r)
        r = btree_put(&m->extents, key, &loc) == 0 ? 0 : -EBADMSG;
    if (r || !loc.seg)
        return r;
    m->idx->s.past_live += index_slot(m->idx, key.a)->flags & INODE_PAST ? loc.len : 0;
    return account(m->idx, &loc);
}

static int account_inode(struct index *idx, const struct inode_rec *inode)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    uint64_t bytes = 0;
    int r = 0;
    if (inode->flags & INODE_INLINE) {
        r = account(idx, &inode->first);
        bytes += inode->first.len;
    }
    while (!r && index_next_xattr(idx, &walk))
        if (walk.xattr.is_extent) {
            r = account(idx, &walk.xattr.loc);
            bytes += walk.xattr.loc.len;
        }
    if (inode->flags & INODE_PAST) {
        idx->s.past_live += bytes;
        idx->s.n_past++;
        return r;
    }
    idx->s.n_files += S_ISREG(inode->mode);
    idx->s.n_dirs += S_ISDIR(inode->mode);
    idx->s.n_others += !S_ISREG(inode->mode) && !S_ISDIR(inode->mode);
    return r;
}

static int mend_content(struct mend *m)
{
    struct index *idx = m->idx;
    int r = btree_init(&m->extents, idx->pool, sizeof(struct locator));
    idx->s.past_live = idx->s.n_past = 0;
    if (!r)
        r = btree_each_leaf(&idx->extents, take_extent, m);
    if (r) {
        btree_free(&m->extents);
        return r;
    }
    btree_free(&idx->extents);
    idx->extents = m->extents;
    idx->s.n_files = idx->s.n_dirs = idx->s.n_others = 0;
    for (uint32_t slot = 1; slot < idx->inodes.used && !r; slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode)
            r = account_inode(idx, inode);
    }
    index_count_orphans(idx);
    idx->s.total = 0;
    for (uint32_t i = 1; i < idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&idx->segs, i);
        idx->s.total += seg->id ? seg->total : 0;
    }
    return r;
}

/* ---- the whole ------------------------------------------------------------------------------------ */

int index_mend(struct index *idx, const struct index_holes *holes, const struct index_file *files,
               size_t n_files, uint8_t **ret_lost, uint32_t *ret_n_slots)
{
    struct mend m = {.idx = idx, .holes = holes};
    uint32_t n = idx->inodes.used;
    m.lost = calloc(n / 8 + 1, 1);
    m.n_extents = calloc(n, sizeof *m.n_extents);
    m.bytes = calloc(n, sizeof *m.bytes);
    m.cells = calloc(idx->names.cells.used / 8 + 1, 1);
    m.past_only = calloc(n / 8 + 1, 1);
    bool memory = m.lost && m.n_extents && m.bytes && m.cells && m.past_only;
    int r = memory && n > ENG_ROOT_INO ? 0 : -ENOMEM;
    mend_free_lists(idx);
    if (!r)
        r = mend_segments(&m, files, n_files);
    if (!r)
        r = btree_each_leaf(&idx->extents, count_extent, &m);
    if (!r) {
        mend_inodes(&m);
        r = mend_names(&m);
    }
    const struct mend_found found = {m.n_extents, m.bytes, m.cells};
    if (!r)
        r = mend_lines(idx, &found);
    if (!r)
        r = mend_content(&m);
    if (!r)
        r = mend_moments(idx);
    if (!r)
        actors_mend(idx);
    if (!r)
        r = index_is_sound(idx);
    free(m.n_extents);
    free(m.bytes);
    free(m.cells);
    free(m.past_only);
    mend_past_names_done(&m.past_names);
    if (r) {
        free(m.lost);
        return r;
    }
    *ret_lost = m.lost;
    *ret_n_slots = n;
    return 0;
}

/* ---- a replay ------------------------------------------------------------------------------------ */

/* Makes the slot of `ino` one that OP_CREATE finds free. */
static int make_way(struct index *idx, uint64_t ino)
{
    uint32_t slot = ino_slot(ino), used = idx->inodes.used;
    if (!slot || index_slot(idx, slot) || (slot >= used && slot - used > SLOTS_AHEAD))
        return -EBADMSG;
    uint32_t more = slot > used ? slot - used : 0;
    int r = table_reserve(&idx->inodes, more + 1);
    if (!r)
        r = table_reserve(&idx->inode_refs, more + 1);
    if (!r)
        r = chunk_pool_reserve(idx->pool, more / 512 + 2);
    if (!r)
        r = chunk_pool_reserve(idx->ref_pool, more / 512 + 2);
    if (r)
        return r;
    while (idx->inodes.used < slot) { /* those are not used again */
        r = table_claim(&idx->inodes, idx->inodes.used);
        if (r)
            return r;
    }
    while (idx->inode_refs.used < slot)
        (void)table_alloc(&idx->inode_refs);
    if (slot < used && !table_is_free(&idx->inodes, slot))
        table_free_record(&idx->inodes, slot); /* of a chain that is lost */
    return 0;
}

/* A directory has one name: the new one takes the place of the one that mending gave it. */
static int unlink_dir(struct index *idx, uint64_t ino, uint64_t seq)
{
    const struct inode_rec *inode = index_inode(idx, ino);
    const struct dentry_rec *dentry = inode && S_ISDIR(inode->mode) ? index_dentry(idx, inode->dentry) : NULL;
    const struct inode_rec *dir = dentry ? index_slot(idx, dentry->parent) : NULL;
    char name[ENG_NAME_MAX];
    if (!dir || dentry->name_len > sizeof name)
        return 0;
    const char *stored = names_get(&idx->names, dentry->name, dentry->name_len);
    if (!stored)
        return -EBADMSG;
    memcpy(name, stored, dentry->name_len);
    const struct op op = {.type = OP_UNLINK,
                          .ino = ino,
                          .parent = index_ino(dir, dentry->parent),
                          .name = name,
                          .name_len = dentry->name_len,
                          .time = inode->ctime};
    int r = index_reserve(idx, &op, 1);
    return r ? r : index_apply(idx, &op, seq);
}

static bool can_link(const struct index *idx, const struct op *op)
{
    const struct inode_rec *dir = index_inode(idx, op->parent);
    return dir && S_ISDIR(dir->mode) && index_inode(idx, op->ino) &&
           !index_find_name(idx, ino_slot(op->parent), op->name, op->name_len);
}

/* A name that moves within its folder keeps its place; what was there before may be lost, or not have gone.
 * Where there is a past the place tells when the name began: so it has it only if its past name is there. */
static bool has_place(const struct index *idx, const struct op *op, uint64_t seq)
{
    uint32_t dir = ino_slot(op->parent);
    const struct past_name_rec *past = index_past_name(idx, index_newest_past(idx, dir, op->cookie));
    bool is_new = op->cookie >> COOKIE_BATCH_SHIFT >= seq, has_past = idx->s.n_past || idx->s.n_past_names;
    return !is_live(idx, dir, op->cookie) && (is_new || !has_past || (past && past->end == seq));
}

static int link_in_place(struct index *idx, const struct op *op, uint64_t seq)
{
    struct op link = *op;
    bool has_past = idx->s.n_past || idx->s.n_past_names;
    if (!has_place(idx, op, seq))
        link.cookie = has_past ? index_new_cookie(idx, true, seq) : free_cookie(idx, ino_slot(op->parent));
    int r = index_reserve(idx, &link, 1);
    return r ? r : index_apply(idx, &link, seq);
}

/* The name that was to lead elsewhere is lost: it is made. */
static int link_instead(struct index *idx, const struct op *op, uint64_t seq)
{
    struct op link = *op;
    link.type = OP_LINK;
    link.cookie = free_cookie(idx, ino_slot(op->parent));
    int r = unlink_dir(idx, op->ino, seq);
    return r ? r : link_in_place(idx, &link, seq);
}

/* Somebody gave a name that mending has given to a directory, since it was free: that one gets another. A log
 * gives no name that is there, so it is none of the log's. */
static int give_way(struct index *idx, const struct op *op)
{
    const uint32_t root = ENG_ROOT_INO;
    uint32_t d = op->parent == root ? index_find_name(idx, root, op->name, op->name_len) : 0;
    const struct dentry_rec *dentry = index_dentry(idx, d);
    const struct inode_rec *inode = dentry ? index_slot(idx, dentry->child) : NULL;
    char name[32];
    if (!inode || !S_ISDIR(inode->mode) || inode->dentry != d || MUTANT(MADE_NAMES_STAY))
        return 0;
    uint32_t slot = dentry->child, len = (uint32_t)snprintf(name, sizeof name, "#%u", slot);
    if (op->name_len < len || memcmp(op->name, name, len) != 0)
        return 0;
    len = free_name(idx, slot, name);
    int r = have_room(idx, len);
    if (!r)
        r = index_remove_name(idx, d);
    return r ? r : index_add_name(idx, root, name, len, slot, free_cookie(idx, root));
}

int index_apply_mended(struct index *idx, const struct op *op, uint64_t seq)
{
    int r = 0;
    if (op->type == OP_CREATE)
        r = make_way(idx, op->ino);
    if (op->type == OP_KEEP && index_inode(idx, op->ino))
        r = make_way(idx, op->past);
    if (op->type == OP_LINK)
        r = give_way(idx, op);
    if (!r && op->type == OP_LINK && can_link(idx, op))
        r = unlink_dir(idx, op->ino, seq);
    if (!r && op->type == OP_LINK)
        return link_in_place(idx, op, seq);
    if (!r)
        r = index_reserve(idx, op, 1);
    if (!r)
        r = index_apply(idx, op, seq);
    /* The only name of a directory goes, whatever it is now: its number may be given away next. */
    if (r == -EBADMSG && op->type == OP_UNLINK && !MUTANT(MADE_NAMES_STAY))
        r = unlink_dir(idx, op->ino, seq);
    if (r == -EBADMSG && op->type == OP_REPOINT && can_link(idx, op)) {
        r = MUTANT(MADE_NAMES_STAY) ? 0 : unlink_dir(idx, op->other, seq);
        r = r ? r : link_instead(idx, op, seq);
    }
    return r;
}
