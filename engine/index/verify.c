/*
 * verify.c - checks the index record by record against itself: after a
 * checkpoint was loaded, so that nothing from disk is trusted (I10), and for eng_check(), with a line for
 * each finding. The tables' own structure (free chains, trees, names) has been validated before. Read-only;
 * the caller keeps the index from changing. */
#include "index/verify.h"
#include "base/fault.h"
#include "base/util.h"
#include "engine.h"
#include "index/actors.h"
#include "index/chunk_check.h"
#include "index/findings.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_verify.h"

#include <pthread.h>

enum tree_state { TREE_UNSEEN, TREE_ON_WAY, TREE_HANGS, TREE_LOOSE };

struct verify {
    const struct index *idx;
    struct findings findings;
    bool deep, chains_end, no_memory;
    uint8_t *waiting;        /* bit by dentry: in use, and no chain has led to it yet */
    uint32_t *links;         /* by slot: names seen */
    uint32_t *kids;          /* by slot: entries seen in a directory */
    uint32_t *subdirs;       /* by slot */
    uint64_t *bytes;         /* by slot: content bytes seen */
    uint32_t *extents;       /* by slot */
    uint64_t *live, *n_live; /* by record of segs */
    uint8_t *tree;           /* by slot: enum tree_state */
    uint8_t *cells;          /* bit by cell of names: it has an owner, or is free */
    uint64_t n_names, n_past, past_live;
    bool has_lines;   /* some inode has a past, or is of one */
    struct bkey last; /* end of the extent before, to notice overlaps */
};

static void report_line(void *arg, const char *line)
{
    findings_add(&((struct verify *)arg)->findings, "%s", line);
}

/* Asked for each thing that is looked at, by its number: whether nobody wants to know any more. */
static bool is_cancelled(const struct verify *v, uint32_t i)
{
    return i % 1024 == 0 && v->idx->cancel && atomic_load_explicit(v->idx->cancel, memory_order_relaxed);
}

/* ---- names ------------------------------------------------------------------ */

static void verify_dentry(struct verify *v, uint32_t d, const struct dentry_rec *dentry)
{
    const struct index *idx = v->idx;
    const struct inode_rec *dir = index_slot(idx, dentry->parent), *child = index_slot(idx, dentry->child);
    const char *name = names_get(&idx->names, dentry->name, dentry->name_len);
    if (!dir || !S_ISDIR(dir->mode) || !child || (dir->flags | child->flags) & INODE_PAST) {
        findings_add(&v->findings, "dentry %u: parent or child is not there", d);
        return;
    }
    if (!name || !dentry->name_len || dentry->name_len > ENG_NAME_MAX ||
        !names_mark(&idx->names, dentry->name, dentry->name_len, v->cells))
        findings_add(&v->findings, "dentry %u: no name", d);
    else if (v->deep &&
             (dentry->hash != codec_name_hash(idx->hash_seed, dentry->parent, name, dentry->name_len) ||
              index_find_name(idx, dentry->parent, name, dentry->name_len) != d))
        findings_add(&v->findings, "dentry %u: its name is not found", d);
    if (dentry->cookie < 3 || dentry->cookie >= idx->s.next_cookie)
        findings_add(&v->findings, "dentry %u: cookie out of range", d);
    v->links[dentry->child]++;
    v->kids[dentry->parent]++;
    if (S_ISDIR(child->mode))
        v->subdirs[dentry->parent]++;
    v->n_names++;
}

/* Notes that a chain leads to d. False: to a free dentry, or not for the first time. */
static bool reach(struct verify *v, uint32_t d)
{
    if (d >= v->idx->dentries.used || !(v->waiting[d / 8] >> (d % 8) & 1))
        return false;
    v->waiting[d / 8] &= (uint8_t) ~(1u << (d % 8));
    return true;
}

/*
 * Hash chains must end. When no dentry is led to twice, no chain from a bucket can run into a
 * cycle. Goes through the records in their order, which is much faster than along the chains. */
static bool verify_buckets(struct verify *v)
{
    const struct index *idx = v->idx;
    uint64_t links = 0;
    bool sound = idx->s.n_buckets == 0 || idx->buckets.used == idx->s.n_buckets + 1;
    for (uint32_t i = 1; i < idx->dentries.used; i++)
        if (index_dentry(idx, i))
            v->waiting[i / 8] |= (uint8_t)(1u << (i % 8));
    for (uint32_t b = 1; b < idx->buckets.used && sound && idx->s.n_buckets; b++) {
        const uint32_t *head = table_get(&idx->buckets, b);
        uint32_t d = head ? *head : 0;
        sound = head && (!d || reach(v, d));
        links += d != 0;
    }
    for (uint32_t i = 1; i < idx->dentries.used && sound && !is_cancelled(v, i); i++) {
        const struct dentry_rec *dentry = index_dentry(idx, i);
        uint32_t d = dentry ? dentry->hash_next : 0;
        sound = !d || reach(v, d);
        links += d != 0;
    }
    if (sound && links == idx->s.n_names)
        return true;
    findings_add(&v->findings, "name table: its chains are broken");
    return false;
}

static int verify_order(void *arg, struct bkey key, const void *value)
{
    struct verify *v = arg;
    uint32_t d;
    memcpy(&d, value, sizeof d);
    const struct dentry_rec *dentry = index_dentry(v->idx, d);
    if (!dentry || dentry->parent != key.a || dentry->cookie != key.b)
        findings_add(&v->findings, "directory order: entry (%u, %llu) has no dentry", key.a,
                     (unsigned long long)key.b);
    return is_cancelled(v, d);
}

/* ---- extents ------------------------------------------------------------------ */

static void verify_locator(struct verify *v, uint32_t slot, const struct locator *loc)
{
    uint32_t seg = index_segment_slot(v->idx, loc->seg);
    if (!loc->len || loc->ext_len > EXTENT_MAX || loc->skip >= loc->ext_len ||
        loc->len > loc->ext_len - loc->skip || !seg) {
        findings_add(&v->findings, "inode %u: a locator leads nowhere (segment %u)", slot, loc->seg);
        return;
    }
    v->live[seg] += loc->len;
    v->n_live[seg]++;
}

/* It leads to a newer state, and that there may be one is said. */
static void verify_leap(struct verify *v, uint32_t slot, const struct inode_rec *past, uint32_t number)
{
    const struct inode_rec *head = index_slot(v->idx, past_head(past));
    bool is_said = past->flags & INODE_LEAPS && head && head->flags & INODE_LEAPS;
    if (!is_said || number < past_number(past))
        findings_add(&v->findings, "past state %u: a leap leads nowhere (%u)", slot, number);
}

static int verify_extent(void *arg, struct bkey key, const void *value)
{
    struct verify *v = arg;
    struct locator loc;
    memcpy(&loc, value, sizeof loc);
    const struct inode_rec *inode = index_slot(v->idx, key.a);
    if (!inode || !S_ISREG(inode->mode) || (inode->flags & INODE_INLINE)) {
        findings_add(&v->findings, "extent of inode %u, which has none", key.a);
        return 0;
    }
    if (v->last.a == key.a && v->last.b > key.b)
        findings_add(&v->findings, "inode %u: extents overlap at %llu", key.a, (unsigned long long)key.b);
    bool beyond = key.b + loc.len > inode->size && !((inode->flags & INODE_TAIL) && key.b >= inode->size);
    if (key.b > ENG_FILE_SIZE_MAX || key.b + loc.len > ENG_FILE_SIZE_MAX || beyond)
        findings_add(&v->findings, "inode %u: extent beyond the end", key.a);
    v->last = (struct bkey){key.a, key.b + loc.len};
    v->extents[key.a]++;
    if (inode->flags & INODE_PAST && past_leap(&loc)) {
        verify_leap(v, key.a, inode, past_leap(&loc));
    } else if (!(inode->flags & INODE_PAST) || !past_is_hole(&loc)) {
        v->bytes[key.a] += loc.len;
        verify_locator(v, key.a, &loc);
    }
    return is_cancelled(v, v->extents[key.a] + key.a);
}

/* A list ends, and no list is walked twice, since each of its cells may have one owner: so it may be as long
 * as what the log says makes it. */
static void verify_xattrs(struct verify *v, uint32_t slot, const struct inode_rec *inode)
{
    struct xattr_view view;
    for (uint32_t x = inode->xattrs; x; x = view.next) {
        if (!index_xattr(v->idx, x, &view) || !view.name_len || view.name_len > ENG_XATTR_NAME_MAX ||
            !names_mark(&v->idx->names, x, xattr_stored_size(&view), v->cells)) {
            findings_add(&v->findings, "inode %u: xattr list is broken", slot);
            return;
        }
        bool is_past = inode->flags & INODE_PAST;
        if (view.is_extent && view.loc.len != view.value_len)
            findings_add(&v->findings, "inode %u: xattr length", slot);
        if (view.is_absent && (!is_past || view.is_extent || view.value_len))
            findings_add(&v->findings, "inode %u: an xattr that is not there", slot);
        if (!view.is_extent)
            continue;
        verify_locator(v, slot, &view.loc);
        v->past_live += is_past ? view.loc.len : 0;
    }
}

/* ---- what is free ----------------------------------------------------------------- */

/* No record that is chained as free is in use: it would be handed out. */
static void verify_free(struct verify *v, unsigned number, const struct table *t)
{
    for (uint32_t c = 0; c < t->n_chunks; c++) {
        const uint8_t *chunk = t->metas[c].n_free && t->states[c] != TABLE_DROPPED ? table_chunk(t, c) : NULL;
        if (chunk && index_check_free(number, &t->metas[c], chunk) != 0)
            findings_add(&v->findings, "table %u, chunk %u: a record is free and in use", number, c);
    }
}

/* So many of its records are in use; all others are free. One that is neither harms nobody: who listens is
 * told, and no opening minds. */
static void verify_rest(struct verify *v, const struct table *t, uint64_t in_use, const char *what)
{
    bool may_lack = t->is_lossy || (!v->findings.problem && !MUTANT(LOST_REFUSED)) || MUTANT(LOST_BELIEVED);
    if (in_use + t->n_free + 1 != t->used && !may_lack && !MUTANT(FREE_BELIEVED))
        findings_add(&v->findings, "%s: of %u records %llu are in use and %u free", what, t->used - 1,
                     (unsigned long long)in_use, t->n_free);
}

/* Inodes whose number cannot be used again (I1): they are not chained. */
static uint64_t count_retired(const struct index *idx)
{
    uint64_t n = 0;
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++)
        n += !index_slot(idx, slot) && table_kept_word(&idx->inodes, slot) > INO_REUSE_MAX;
    return n;
}

/* ---- inodes ------------------------------------------------------------------- */

static void verify_content(struct verify *v, uint32_t slot, const struct inode_rec *inode)
{
    if (inode->flags & INODE_INLINE) {
        verify_locator(v, slot, &inode->first);
        v->bytes[slot] += inode->first.len;
        v->extents[slot]++;
        if (inode->first.len > inode->size && (inode->size || !(inode->flags & INODE_TAIL)))
            findings_add(&v->findings, "inode %u: extent beyond the end", slot);
    }
    if (inode_n_extents(inode) != v->extents[slot] || inode_bytes(inode) != v->bytes[slot] ||
        inode->size > ENG_FILE_SIZE_MAX)
        findings_add(&v->findings, "inode %u: %u extents with %llu bytes counted, found %u with %llu", slot,
                     inode_n_extents(inode), (unsigned long long)inode_bytes(inode), v->extents[slot],
                     (unsigned long long)v->bytes[slot]);
}

/* Of a past state, what it is by itself: whether it is in a line its head tells. */
static void verify_past(struct verify *v, uint32_t slot, const struct inode_rec *past)
{
    uint32_t may_be = INODE_PAST | INODE_PAST_TAIL | INODE_GOING;
    may_be |= S_ISREG(past->mode) ? INODE_INLINE | INODE_LEAPS : 0;
    v->n_past++;
    if (past->flags & ~may_be)
        findings_add(&v->findings, "past state %u: unknown flags", slot);
    if (S_ISREG(past->mode))
        verify_content(v, slot, past);
    v->past_live += v->bytes[slot];
}

static void verify_inode(struct verify *v, uint32_t slot, const struct inode_rec *inode)
{
    uint32_t names = v->links[slot] + (slot == ENG_ROOT_INO ? 1 : 0);
    if (inode->nlink != names + (S_ISDIR(inode->mode) ? v->subdirs[slot] : 0))
        findings_add(&v->findings, "inode %u: link count %u, found %u", slot, inode->nlink, names);
    if (S_ISDIR(inode->mode)) {
        if (names > 1 || inode->size != v->kids[slot] || (!names && inode->size))
            findings_add(&v->findings, "directory %u: %llu entries counted, found %u", slot,
                         (unsigned long long)inode->size, v->kids[slot]);
    }
    if (inode->dentry) {
        const struct dentry_rec *d = index_dentry(v->idx, inode->dentry);
        if (!d || d->child != slot)
            findings_add(&v->findings, "inode %u: its name belongs to another", slot);
    } else if (S_ISDIR(inode->mode) && slot != ENG_ROOT_INO && inode->nlink) {
        findings_add(&v->findings, "directory %u: no name", slot);
    }
    if (S_ISLNK(inode->mode) && (inode->size > ENG_SYMLINK_MAX ||
                                 !names_mark(&v->idx->names, inode->target, (uint32_t)inode->size, v->cells)))
        findings_add(&v->findings, "symlink %u: no target", slot);
    if (inode->flags & ~(uint32_t)INODE_FLAGS_HEAD)
        findings_add(&v->findings, "inode %u: unknown flags", slot);
    if (!S_ISREG(inode->mode) && inode->flags & (INODE_FLAGS_HEAD & ~(uint32_t)INODE_AMENDED))
        findings_add(&v->findings, "inode %u: has extents and is no file", slot);
    if (S_ISREG(inode->mode))
        verify_content(v, slot, inode);
}

static void verify_inodes(struct verify *v)
{
    uint64_t files = 0, dirs = 0, others = 0;
    for (uint32_t slot = 1; slot < v->idx->inodes.used && !is_cancelled(v, slot); slot++) {
        const struct inode_rec *inode = index_slot(v->idx, slot);
        if (!inode)
            continue;
        verify_xattrs(v, slot, inode);
        if (inode->actor && !index_actor(v->idx, inode->actor))
            findings_add(&v->findings, "inode %u: made by actor %u, who is not there", slot, inode->actor);
        v->has_lines = v->has_lines || inode->past || inode->flags & (INODE_PAST | INODE_PAST_TAIL);
        if (inode->flags & INODE_PAST) {
            verify_past(v, slot, inode);
            continue;
        }
        verify_inode(v, slot, inode);
        files += S_ISREG(inode->mode);
        dirs += S_ISDIR(inode->mode);
        others += !S_ISREG(inode->mode) && !S_ISDIR(inode->mode);
    }
    if (files != v->idx->s.n_files || dirs != v->idx->s.n_dirs || others != v->idx->s.n_others)
        findings_add(&v->findings, "number of inodes: counted and found differ");
    if (v->n_past != v->idx->s.n_past || v->past_live != v->idx->s.past_live)
        findings_add(&v->findings, "past states: %llu with %llu bytes counted, found %llu with %llu",
                     (unsigned long long)v->idx->s.n_past, (unsigned long long)v->idx->s.past_live,
                     (unsigned long long)v->n_past, (unsigned long long)v->past_live);
    uint64_t n = files + dirs + others + v->n_past;
    if (n + v->idx->inodes.n_free + 1 != v->idx->inodes.used)
        n += count_retired(v->idx);
    verify_rest(v, &v->idx->inodes, n, "inodes");
    const struct inode_rec *root = index_slot(v->idx, ENG_ROOT_INO);
    if (v->idx->inodes.used > 1 && (!root || !S_ISDIR(root->mode)))
        findings_add(&v->findings, "the root is not a directory");
}

static void verify_segments(struct verify *v)
{
    uint64_t total = 0, live = 0, n = 0;
    for (uint32_t i = 1; i < v->idx->segs.used; i++) {
        const struct seg_rec *seg = table_get(&v->idx->segs, i);
        if (!seg->id)
            continue;
        if (seg->live != v->live[i] || seg->n_live != v->n_live[i] || seg->live > seg->total)
            findings_add(&v->findings, "segment %u: %llu live bytes of %llu counted, found %llu", seg->id,
                         (unsigned long long)seg->live, (unsigned long long)seg->total,
                         (unsigned long long)v->live[i]);
        total += seg->total;
        live += seg->live;
        n++;
    }
    verify_rest(v, &v->idx->segs, n, "segments");
    if (total != v->idx->s.total || live != v->idx->s.live)
        findings_add(&v->findings, "store: %llu live of %llu bytes counted, found %llu of %llu",
                     (unsigned long long)v->idx->s.live, (unsigned long long)v->idx->s.total,
                     (unsigned long long)live, (unsigned long long)total);
}

/* ---- lines of past states --------------------------------------------------------- */

/* Marks the past states of an inode. */
static void verify_line(struct verify *v, uint32_t head, const struct inode_rec *inode)
{
    const struct inode_rec *newer = inode;
    unsigned tails = 0;
    for (uint32_t slot = inode->past; slot; slot = newer->past) {
        const struct inode_rec *past = index_slot(v->idx, slot);
        if (!past || !(past->flags & INODE_PAST) || past_head(past) != head || v->tree[slot] != TREE_UNSEEN ||
            !past_may_follow(past, newer)) {
            findings_add(&v->findings, "inode %u: its line of past states is broken at %u", head, slot);
            return;
        }
        v->tree[slot] = TREE_HANGS;
        tails += (past->flags & INODE_PAST_TAIL) != 0;
        newer = past;
    }
    bool has_tail = (inode->flags & INODE_TAIL) && (inode->flags & INODE_PAST_TAIL);
    if (tails != has_tail || (inode->flags & INODE_PAST_TAIL && !has_tail))
        findings_add(&v->findings, "inode %u: %u past states have its tail", head, tails);
}

static void verify_lines(struct verify *v)
{
    const struct index *idx = v->idx;
    for (uint32_t slot = 1; slot < idx->inodes.used && v->has_lines && !is_cancelled(v, slot); slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && !(inode->flags & INODE_PAST))
            verify_line(v, slot, inode);
    }
    for (uint32_t slot = 1; slot < idx->inodes.used && v->has_lines && !is_cancelled(v, slot); slot++) {
        const struct inode_rec *inode = index_slot(idx, slot);
        if (inode && inode->flags & INODE_PAST && v->tree[slot] != TREE_HANGS)
            findings_add(&v->findings, "past state %u: in no line", slot);
    }
}

/* ---- the tree ------------------------------------------------------------------ */

/*
 * Goes up from a directory until it meets one of which is known whether it hangs in the tree, or one of this
 * very way, which then is a cycle; what holds for that one holds for the whole way. So no directory is passed
 * more than twice, however deep the tree is. */
static void climb(struct verify *v, uint32_t slot)
{
    const struct index *idx = v->idx;
    uint32_t at = slot;
    while (at && at < idx->inodes.used && v->tree[at] == TREE_UNSEEN) {
        v->tree[at] = TREE_ON_WAY;
        at = index_parent(idx, at);
    }
    bool hangs = at && at < idx->inodes.used && v->tree[at] == TREE_HANGS;
    for (at = slot; at && at < idx->inodes.used && v->tree[at] == TREE_ON_WAY; at = index_parent(idx, at))
        v->tree[at] = hangs ? TREE_HANGS : TREE_LOOSE;
}

/* Every directory that has a name leads to the root. */
static void verify_tree(struct verify *v)
{
    for (uint32_t slot = 1; slot < v->idx->inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(v->idx, slot);
        if (slot == ENG_ROOT_INO)
            v->tree[slot] = TREE_HANGS;
        if (!inode || !S_ISDIR(inode->mode) || !inode->nlink || inode->flags & INODE_PAST)
            continue;
        climb(v, slot);
        if (v->tree[slot] != TREE_HANGS)
            findings_add(&v->findings, "directory %u: does not hang in the tree", slot);
    }
}

static void *verify_chains(void *arg)
{
    struct verify *v = arg;
    v->chains_end = verify_buckets(v);
    if (v->chains_end && btree_scan(&v->idx->dirs, (struct bkey){0, 0}, verify_order, v) < 0)
        findings_add(&v->findings, "directory order: the tree is broken");
    return NULL;
}

static void verify_dentries(struct verify *v)
{
    const struct index *idx = v->idx;
    for (uint32_t d = 1; d < idx->dentries.used && !is_cancelled(v, d); d++) {
        const struct dentry_rec *dentry = index_dentry(idx, d);
        if (dentry)
            verify_dentry(v, d, dentry);
    }
    if (v->n_names != idx->s.n_names || idx->dirs.count != idx->s.n_names)
        findings_add(&v->findings, "number of names: counted and found differ");
    verify_rest(v, &idx->dentries, v->n_names, "dentries");
    if (idx->s.next_cookie < 3 || idx->s.next_cookie > COOKIE_MAX + 1)
        findings_add(&v->findings, "the next cookie is out of range");
}

#define BESIDE_FROM 100000u /* names: a thread costs less than what it saves */

/*
 * Chains and order on the one hand, records on the other: they mark different arrays, so that opening a large
 * store does both at once. */
struct chains {
    struct verify v; /* their own findings */
    pthread_t thread;
    bool beside;
};

/* A deep look follows the chains, and must know first that they end. False: they do not. */
static bool begin_chains(struct verify *v, struct chains *chains)
{
    chains->v = *v;
    chains->beside = !v->deep && !v->findings.problem && v->idx->dentries.used > BESIDE_FROM &&
                     pthread_create(&chains->thread, NULL, verify_chains, &chains->v) == 0;
    if (!chains->beside)
        (void)verify_chains(&chains->v);
    return chains->beside || chains->v.chains_end;
}

static void end_chains(struct verify *v, struct chains *chains)
{
    if (chains->beside)
        (void)pthread_join(chains->thread, NULL);
    v->findings.n += chains->v.findings.n;
}

static void verify_moments(struct verify *v)
{
    uint64_t n = 0;
    if (moments_verify(v->idx, v->cells, report_line, v, &n) == -ENOMEM)
        v->no_memory = true;
    verify_rest(v, &v->idx->moments, n, "moments");
}

static void verify_all(struct verify *v)
{
    struct chains chains;
    verify_free(v, TABLE_INODES, &v->idx->inodes);
    verify_free(v, TABLE_DENTRIES, &v->idx->dentries);
    verify_free(v, TABLE_BUCKETS, &v->idx->buckets);
    verify_free(v, TABLE_SEGMENTS, &v->idx->segs);
    verify_free(v, TABLE_PAST_NAMES, &v->idx->past_names);
    verify_free(v, TABLE_MOMENTS, &v->idx->moments);
    if (begin_chains(v, &chains)) {
        verify_dentries(v);
        if (btree_scan(&v->idx->extents, (struct bkey){0, 0}, verify_extent, v) < 0)
            findings_add(&v->findings, "extents: the tree is broken");
        verify_inodes(v);
        verify_segments(v);
        verify_lines(v);
        verify_tree(v);
        v->no_memory = past_names_verify(v->idx, v->cells, report_line, v) == -ENOMEM;
        verify_rest(v, &v->idx->past_names, v->idx->s.n_past_names, "past names");
        verify_moments(v);
        (void)actors_verify(v->idx, report_line, v);
    }
    end_chains(v, &chains);
}

int64_t index_verify(const struct index *idx, bool deep, void (*problem)(void *arg, const char *line),
                     void *arg)
{
    struct verify v = {.idx = idx, .deep = deep, .findings = {.problem = problem, .arg = arg}};
    size_t n = idx->inodes.used;
    v.waiting = calloc(idx->dentries.used / 8 + 1, 1);
    v.links = calloc(n, sizeof *v.links);
    v.kids = calloc(n, sizeof *v.kids);
    v.subdirs = calloc(n, sizeof *v.subdirs);
    v.extents = calloc(n, sizeof *v.extents);
    v.bytes = calloc(n, sizeof *v.bytes);
    v.live = calloc(idx->segs.used, sizeof *v.live);
    v.n_live = calloc(idx->segs.used, sizeof *v.n_live);
    v.tree = calloc(n, 1);
    v.cells = calloc(idx->names.cells.used / 8 + 1, 1);
    bool memory = v.waiting && v.links && v.kids && v.subdirs && v.extents && v.bytes && v.live && v.n_live &&
                  v.tree && v.cells;
    if (memory && names_mark_free(&idx->names, v.cells) < 0)
        findings_add(&v.findings, "names: the lists of free cells are broken");
    else if (memory)
        verify_all(&v);
    free(v.waiting);
    free(v.links);
    free(v.kids);
    free(v.subdirs);
    free(v.extents);
    free(v.bytes);
    free(v.live);
    free(v.n_live);
    free(v.tree);
    free(v.cells);
    if (memory && is_cancelled(&v, 0))
        return -ECANCELED;
    return memory && !v.no_memory ? v.findings.n : -ENOMEM;
}

int index_is_sound(const struct index *idx)
{
    int64_t found = index_verify(idx, false, NULL, NULL);
    return found > 0 ? -EBADMSG : (int)found;
}
