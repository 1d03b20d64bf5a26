/*
 * refs.c - see refs.h.
 *
 * An extent has one owner for its life: what of it is live are the ranges of that inode, and of each past
 * state of its line, between its place in the file and its end, that lie in this segment at this place. The
 * owner is known by its slot, which another inode, or a past state of another one, may have by now: nothing
 * of that one lies at this place. Attributes have no order to be asked by: those of an inode that ever placed
 * one in the segment, and of its past states, are looked at once, all of them.
 *
 * A range goes from one state to an older one only, and from newer to older ones they are asked: what moves
 * between two slices is found twice, perhaps, of which one is not current any more, and not missed.
 *
 * A look costs more than one of the walk, and extents that were overwritten in many pieces may be asked for
 * again and again; lines may be long: so no more looks are taken than the walk would need. */
#include "commit/refs.h"

#include "base/job.h"
#include "commit/summaries.h"
#include "commit/walk.h"
#include "index/past.h"

#include <assert.h>

#define SLICE_ENTRIES 256u /* of a summary */
#define SLICE_LOOKS 512u   /* at ranges; only xattrs of the last inode of a slice exceed it */

/* ---- one of them ------------------------------------------------------------------------------ */

/* Up to where extents count: what lies behind the size is of a tail, and dead, but for what a past state has
 * of that. */
static uint64_t live_end(const struct index *idx, const struct inode_rec *inode)
{
    const struct inode_rec *past = NULL;
    if (inode->flags & INODE_PAST_TAIL && !(inode->flags & INODE_PAST))
        past = index_slot(idx, past_tail_owner(idx, inode));
    return past ? MAX_OF(inode->size, past_reach(past)) : inode->size;
}

bool extent_ref_current_locked(const struct index *idx, const struct extent_ref *ref)
{
    const struct inode_rec *inode = past_or_inode(idx, ref->ino);
    struct locator loc;
    uint64_t off;
    if (!inode)
        return false;
    if (ref->off != EXTENT_XATTR_OFF)
        return (ref->off < inode->size || ref->off < live_end(idx, inode)) &&
               index_extent(idx, ino_slot(ref->ino), ref->off, &off, &loc) == 0 && off == ref->off &&
               locator_equal(&loc, &ref->from);
    struct xattr_walk walk = {.next = inode->xattrs};
    while (index_next_xattr(idx, &walk)) {
        if (walk.xattr.is_extent && locator_equal(&walk.xattr.loc, &ref->from))
            return true;
    }
    return false;
}

bool extent_ref_current(struct eng *eng, const struct extent_ref *ref)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    bool current = extent_ref_current_locked(&eng->idx, ref);
    pthread_rwlock_unlock(&eng->index_lock);
    return current;
}

/* ---- many xattrs ------------------------------------------------------------------------------ */

static int by_inode_and_place(const void *a, const void *b)
{
    const struct extent_ref *x = *(const struct extent_ref *const *)a,
                            *y = *(const struct extent_ref *const *)b;
    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    return locator_order(&x->from, &y->from);
}

/* Notes those of one inode's refs, sorted, that lie there. */
static void note_current(const struct extent_ref *const *refs, size_t n, const struct locator *loc,
                         bool *current)
{
    size_t at = 0, end = n;
    while (at < end) {
        size_t mid = (at + end) / 2;
        if (locator_order(&refs[mid]->from, loc) < 0)
            at = mid + 1;
        else
            end = mid;
    }
    for (; at < n && locator_equal(&refs[at]->from, loc); at++)
        current[at] = true;
}

/* Goes through the list of the inode that the refs begin with, for all of its own: *ret_n. Returns how many
 * xattrs it has. */
static uint32_t look_for_xattrs(const struct index *idx, const struct extent_ref *const *refs, size_t n,
                                bool *current, size_t *ret_n)
{
    const struct inode_rec *inode = past_or_inode(idx, refs[0]->ino);
    struct xattr_walk walk = {.next = inode ? inode->xattrs : 0};
    size_t own = 1;
    while (own < n && refs[own]->ino == refs[0]->ino && !MUTANT(LOOKED_FOR_EACH))
        own++;
    while (index_next_xattr(idx, &walk))
        if (walk.xattr.is_extent)
            note_current(refs, own, &walk.xattr.loc, current);
    *ret_n = own;
    return walk.n;
}

size_t extent_refs_current_xattrs(struct eng *eng, const struct extent_ref **refs, size_t n)
{
    bool current[REFS_AT_ONCE] = {false};
    size_t kept = 0;
    assert(n <= REFS_AT_ONCE);
    if (n)
        qsort(refs, n, sizeof *refs, by_inode_and_place);
    for (size_t at = 0, own; at < n;) {
        uint64_t left = MUTANT(LOOKS_UNCOUNTED) || MUTANT(LOOKED_FOR_EACH) ? UINT64_MAX : eng_slice(eng);
        pthread_rwlock_rdlock(&eng->index_lock);
        do {
            uint32_t looks = look_for_xattrs(&eng->idx, refs + at, n - at, current + at, &own);
            left -= MIN_OF(left, (uint64_t)looks + 1);
            at += own;
        } while (at < n && left);
        pthread_rwlock_unlock(&eng->index_lock);
    }
    for (size_t i = 0; i < n; i++)
        if (current[i])
            refs[kept++] = refs[i];
    return kept;
}

/* ---- those of a segment, by its summary ------------------------------------------------------- */

struct question {
    struct eng *eng;
    uint32_t segment;
    struct summary_entry entries[SLICE_ENTRIES]; /* being asked for */
    unsigned n, i;
    uint64_t from;          /* of entry i: up to there it was answered by a state; 0: it was not begun */
    uint64_t at;            /* that state, or the head; 0: none */
    struct idmap xattrs_of; /* slots whose attributes were looked at */
    struct ref_list found;  /* by this slice */
    unsigned left;          /* looks of this slice */
    uint64_t looks, looks_max;
    uint64_t ino, owner; /* of entry i: who is asked, and its head */
    uint64_t bytes;      /* found in all */
    uint64_t yielded;
};

static void looked(struct question *q)
{
    q->left -= MIN_OF(q->left, 1u);
    q->looks++;
}

static int found(struct question *q, uint64_t off, const struct locator *loc)
{
    q->bytes += loc->len;
    return ref_list_add(&q->found, q->ino, q->owner, off, loc);
}

/* A range of the owner, where the extent was placed. 1: the slice ends before it. */
static int answer(void *arg, uint64_t off, const struct locator *loc)
{
    struct question *q = arg;
    const struct summary_entry *e = &q->entries[q->i];
    q->from = off;
    if (!q->left)
        return 1;
    looked(q);
    if (loc->seg != q->segment || (loc->off8 != e->off8 && !MUTANT(OWNER_BY_SLOT)))
        return 0;
    return found(q, off, loc);
}

static int answer_xattrs(struct question *q, const struct inode_rec *inode)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    int r = 0;
    while (!r && index_next_xattr(&q->eng->idx, &walk)) {
        looked(q);
        if (walk.xattr.is_extent && walk.xattr.loc.seg == q->segment)
            r = found(q, EXTENT_XATTR_OFF, &walk.xattr.loc);
    }
    return r;
}

/* What the head, or a state of its line, has of entry i. 1: the slice ended within it. */
static int ask_one(struct question *q, const struct inode_rec *inode, uint32_t slot)
{
    const struct summary_entry *e = &q->entries[q->i];
    uint64_t end = e->off + e->len;
    q->at = q->ino = index_ino(inode, slot); /* here the question goes on, if the slice ends */
    if (e->off == EXTENT_XATTR_OFF)
        return answer_xattrs(q, inode);
    return extents_scan(&q->eng->idx, slot, MAX_OF(q->from, e->off), MAX_OF(end, e->off), answer, q);
}

/* Where the question goes on in the line of entry i; if that state has gone, or none was asked, it begins,
 * with the head. NULL: there is nothing to ask. */
static const struct inode_rec *go_on(struct question *q, uint32_t *ret_slot)
{
    const struct index *idx = &q->eng->idx;
    const struct summary_entry *e = &q->entries[q->i];
    const struct inode_rec *head = index_slot(idx, e->slot), *at = past_or_inode(idx, q->at);
    if (!head || head->flags & INODE_PAST)
        return NULL;
    *ret_slot = at ? ino_slot(q->at) : e->slot;
    q->owner = index_ino(head, e->slot);
    if (at && past_owner(idx, at, *ret_slot) == q->owner)
        return at;
    if (e->off == EXTENT_XATTR_OFF && idmap_get(&q->xattrs_of, e->slot))
        return NULL;
    if (e->off == EXTENT_XATTR_OFF)
        idmap_set(&q->xattrs_of, e->slot, 1);
    q->from = 0;
    *ret_slot = e->slot;
    return head;
}

/* What is live of entry i. 1: the slice ended before all were asked. */
static int ask(struct question *q)
{
    uint32_t slot = 0;
    looked(q);
    const struct inode_rec *inode = go_on(q, &slot);
    int r = inode ? ask_one(q, inode, slot) : 0;
    while (!r && inode && inode->past && !MUTANT(PAST_UNASKED)) {
        slot = inode->past;
        inode = index_slot(&q->eng->idx, slot);
        q->from = 0;
        q->at = inode ? index_ino(inode, slot) : 0;
        if (inode && !q->left)
            return 1;
        looked(q);
        r = inode ? ask_one(q, inode, slot) : 0;
    }
    return r;
}

/* The records of owners lie anywhere in the index: what takes the time is to wait for memory, one after the
 * other. */
static void prefetch_owners(const struct question *q)
{
    for (unsigned i = q->i; i < q->n; i++) {
        const char *inode = table_get(&q->eng->idx.inodes, q->entries[i].slot);
        __builtin_prefetch(inode);
        __builtin_prefetch(inode ? inode + offsetof(struct inode_rec, first) : inode);
    }
}

/* Asks for entries, in one hold of index_lock, as far as a slice goes. */
static int ask_slice(struct question *q, struct ref_list *list)
{
    int r = 0;
    q->left = SLICE_LOOKS;
    pthread_rwlock_rdlock(&q->eng->index_lock);
    prefetch_owners(q);
    while (!r && q->i < q->n && q->left) {
        r = ask(q);
        if (!r) {
            q->i++;
            q->from = q->at = 0;
        }
    }
    pthread_rwlock_unlock(&q->eng->index_lock);
    r = MIN_OF(r, 0);
    if (!r)
        r = ref_list_move(list, &q->found);
    atomic_fetch_add_explicit(&q->eng->looks, 1, memory_order_relaxed);
    if (!q->eng->opt.no_background)
        job_yield(&q->yielded);
    return r;
}

/* *ret_more: there may be further entries. Damage among them, although their sum was right, ends them. */
static int take_entries(struct question *q, struct summary_reader *reader, bool *ret_more)
{
    int r = 1;
    q->n = q->i = 0;
    while (q->n < SLICE_ENTRIES && (r = summary_next(reader, &q->entries[q->n])) == 1)
        q->n++;
    *ret_more = r == 1;
    return idmap_reserve(&q->xattrs_of, q->n);
}

static int ask_all(struct question *q, const struct known_summary *known, struct ref_list *list)
{
    struct summary_reader reader = summary_begin(&known->entries, known->end);
    bool more = true;
    int r = 0;
    while (more && !r && q->looks <= q->looks_max) {
        r = take_entries(q, &reader, &more);
        while (!r && q->i < q->n && q->looks <= q->looks_max)
            r = ask_slice(q, list);
    }
    return r;
}

/* No more looks than the walk takes. False: with lines as long as those of this store are it would be more,
 * as a rule, and the walk is quicker: it goes through the records in order. */
static bool begin_question(struct question *q, uint32_t entries)
{
    const struct index *idx = &q->eng->idx;
    pthread_rwlock_rdlock(&q->eng->index_lock);
    uint64_t heads = idx->s.n_files + idx->s.n_dirs + idx->s.n_others;
    q->looks_max = (uint64_t)idx->inodes.used + idx->extents.count + 2 * (uint64_t)entries + SLICE_LOOKS;
    bool asks = entries * (1 + idx->s.n_past / MAX_OF(heads, 1)) <= q->looks_max;
    pthread_rwlock_unlock(&q->eng->index_lock);
    return asks;
}

/*
 * Whether the ranges found are all that is live. A sealed segment only loses: each range that was live all
 * the time was found, with as many bytes as are left of it, or more. The active one gains no more than its
 * payload grows by. */
static bool is_all(struct question *q, uint64_t total)
{
    pthread_rwlock_rdlock(&q->eng->index_lock);
    const struct seg_rec *rec = index_segment(&q->eng->idx, q->segment);
    bool all = !rec || q->bytes + (rec->total - MIN_OF(total, rec->total)) >= rec->live;
    pthread_rwlock_unlock(&q->eng->index_lock);
    return all;
}

static uint64_t total_of(struct eng *eng, uint32_t segment)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct seg_rec *rec = index_segment(&eng->idx, segment);
    uint64_t total = rec ? rec->total : 0;
    pthread_rwlock_unlock(&eng->index_lock);
    return total;
}

/* *ret_all: nothing is missing, as far as the segment's record tells. */
static int by_summary(struct eng *eng, uint32_t segment, struct ref_list *list, bool *ret_whole,
                      bool *ret_all)
{
    struct known_summary known = {0};
    *ret_whole = *ret_all = false;
    int r = summaries_get(eng, segment, &known);
    if (r == -ENOMEM)
        return r;
    CLEANUP_FREE struct question *q = calloc(1, sizeof *q);
    if (!q) {
        summary_free(&known.entries);
        return -ENOMEM;
    }
    q->eng = eng;
    q->segment = segment;
    if (!r) {
        if (begin_question(q, known.entries.n))
            r = ask_all(q, &known, list);
        else
            q->looks = q->looks_max + 1;
        fault_point(&eng->hook, FP_REFS_ASKED);
        *ret_whole = known.whole && q->looks <= q->looks_max;
        *ret_all = q->looks <= q->looks_max && is_all(q, known.total);
    } else { /* the file is gone or cannot be read: what is live in it the index alone can tell */
        *ret_all = is_all(q, total_of(eng, segment));
        r = 0;
    }
    summary_free(&known.entries);
    idmap_done(&q->xattrs_of);
    free(q->found.refs);
    return r;
}

int extent_refs_by_summary(struct eng *eng, uint32_t segment, struct ref_list *list, bool *ret_whole)
{
    bool all;
    return by_summary(eng, segment, list, ret_whole, &all);
}

/* ---- of many ---------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* The ranges from `at` on are all those of one segment: the next look need not walk. */
static void keep_walked(struct eng *eng, const struct ref_list *list, size_t at, size_t end)
{
    struct summary s = {0};
    for (size_t i = at; i < end; i++) {
        const struct extent_ref *ref = &list->refs[i];
        const struct summary_entry e = {.off8 = ref->from.off8,
                                        .len = ref->from.ext_len,
                                        .slot = ino_slot(ref->owner),
                                        .off = ref->off == EXTENT_XATTR_OFF ? ref->off
                                                                            : ref->off - ref->from.skip};
        if (e.off8 > s.last.off8)
            summary_add(&s, &e);
    }
    if (!s.lost && at < end)
        summaries_keep(eng, list->refs[at].from.seg, &s);
    summary_free(&s);
}

/* What the summaries of these segments have missed: I4 keeps the segments, and this finds it. */
static int walk_missed(struct eng *eng, const struct idmap *missed, struct ref_list *list)
{
    struct ref_list walked = {0};
    summaries_count_walked(eng, missed->n);
    int r = walk_refs(eng, missed, &walked);
    if (!r) {
        ref_list_sort(&walked);
        for (size_t at = 0, end; at < walked.n; at = end) {
            for (end = at; end < walked.n && walked.refs[end].from.seg == walked.refs[at].from.seg;)
                end++;
            keep_walked(eng, &walked, at, end);
        }
        r = ref_list_move(list, &walked);
    }
    free(walked.refs);
    return r;
}

static int collect_each(struct eng *eng, const uint32_t *ids, size_t n, struct ref_list *list)
{
    struct idmap missed = {0};
    int r = 0;
    for (size_t i = 0; i < n && !r; i++) {
        size_t before = list->n;
        bool whole, all;
        r = by_summary(eng, ids[i], list, &whole, &all);
        if (r || all || MUTANT(SUMMARY_UNCOUNTED))
            continue;
        list->n = before;
        r = idmap_reserve(&missed, 1);
        if (!r)
            idmap_set(&missed, ids[i], 1);
    }
    if (!r && missed.n)
        r = walk_missed(eng, &missed, list);
    idmap_done(&missed);
    return r;
}

static int collect_wanted(struct eng *eng, const struct idmap *wanted, struct ref_list *list)
{
    CLEANUP_FREE uint32_t *ids = calloc(wanted->n + 1u, sizeof *ids);
    size_t n = 0;
    if (!ids)
        return -ENOMEM;
    for (uint32_t i = 0; i < wanted->cap; i++)
        if (wanted->slots[i].id)
            ids[n++] = wanted->slots[i].id;
    if (n)
        qsort(ids, n, sizeof *ids, by_id);
    return collect_each(eng, ids, n, list);
}

int extent_refs_collect(struct eng *eng, const struct idmap *wanted, struct extent_ref **ret_refs,
                        size_t *ret_n)
{
    struct ref_list list = {0};
    int r = wanted ? collect_wanted(eng, wanted, &list) : walk_refs(eng, NULL, &list);
    if (r) {
        free(list.refs);
        return r;
    }
    ref_list_sort(&list);
    *ret_refs = list.refs;
    *ret_n = list.n;
    return 0;
}
