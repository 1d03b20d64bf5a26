/*
 * self_check.c - see self_check.h. Built with ENG_CHECKED only. */
#include "image/self_check.h"

#include "commit/refs.h"
#include "commit/walk.h"
#include "index/chunk_check.h"
#include "index/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

bool self_check_is_forged;

static void fail(const char *line)
{
    (void)fprintf(stderr, "self-check: %s\n", line);
    abort();
}

static void found(void *arg, const char *line)
{
    (void)arg;
    fail(line);
}

void self_check_view(const struct index *view)
{
    struct index idx = *view;
    int r = 0;
    if (self_check_is_forged)
        return;
    idx.seg_slots = (struct idmap){0};
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = table_validate_free(index_table(&idx, i));
    if (!r)
        r = names_validate(&idx.names);
    if (!r)
        r = index_check_trees(&idx);
    if (!r)
        r = index_map_segments(&idx);
    if (!r)
        (void)index_verify(&idx, false, found, NULL);
    idmap_done(&idx.seg_slots);
    if (r == -EBADMSG)
        fail("a table of the index is broken");
}

void self_check_memory(const struct index *idx)
{
    if (chunk_pool_overdrafts(idx->pool))
        fail("a change took chunks that it had not reserved");
}

/* ---- owners ------------------------------------------------------------------------------ */

#define OWNERS_MAX 20000u /* looks of a store that is walked for each segment before each install */

static uint64_t published(struct eng *eng, uint64_t *ret_things, uint32_t *ret_segs)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t seq = eng->published_seq;
    *ret_things = eng->idx.inodes.used + eng->idx.extents.count;
    *ret_segs = eng->idx.segs.used;
    pthread_rwlock_unlock(&eng->index_lock);
    return seq;
}

static bool same_ref(const struct extent_ref *a, const struct extent_ref *b)
{
    return a->ino == b->ino && a->owner == b->owner && a->off == b->off && locator_equal(&a->from, &b->from);
}

/* The segment in record i of the index, 0 none. */
static uint32_t segment_in(struct eng *eng, uint32_t i)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct seg_rec *seg = i < eng->idx.segs.used ? table_get(&eng->idx.segs, i) : NULL;
    uint32_t id = seg ? seg->id : 0;
    pthread_rwlock_unlock(&eng->index_lock);
    return id;
}

/* Whether both are the same; `part`: the summary may lack some. */
static bool same_refs(const struct ref_list *all, const struct ref_list *list, bool part)
{
    size_t k = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (k < list->n && same_ref(&all->refs[i], &list->refs[k]))
            k++;
        else if (!part)
            return false;
    }
    return k == list->n;
}

static void check_segment(struct eng *eng, uint32_t id, uint64_t seq)
{
    struct ref_list by_summary = {0}, by_walk = {0};
    struct idmap wanted = {0};
    bool whole = false;
    uint64_t things;
    uint32_t segs;
    int r = idmap_reserve(&wanted, 1);
    if (!r) {
        idmap_set(&wanted, id, 1);
        r = walk_refs(eng, &wanted, &by_walk);
    }
    if (!r)
        r = extent_refs_by_summary(eng, id, &by_summary, &whole);
    ref_list_sort(&by_walk);
    ref_list_sort(&by_summary);
    if (!r && published(eng, &things, &segs) == seq && !same_refs(&by_walk, &by_summary, !whole))
        fail("the summary of a segment does not lead to what is live in it");
    idmap_done(&wanted);
    free(by_summary.refs);
    free(by_walk.refs);
}

void self_check_owners(struct eng *eng)
{
    uint64_t things;
    uint32_t segs;
    uint64_t seq = published(eng, &things, &segs);
    if (self_check_is_forged || things * segs > OWNERS_MAX)
        return;
    for (uint32_t i = 1; i < segs; i++) {
        uint32_t id = segment_in(eng, i);
        if (id)
            check_segment(eng, id, seq);
    }
}
