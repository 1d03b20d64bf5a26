/*
 * owners.c - see owners.h. */
#include "owners.h"

#include "inside.h"

#include <stdarg.h>
#include <stdio.h>

static __attribute__((format(printf, 2, 3))) bool disagree(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, OWNERS_WHY_MAX, format, args);
    va_end(args);
    return false;
}

static bool same(const struct extent_ref *a, const struct extent_ref *b)
{
    return a->ino == b->ino && a->owner == b->owner && a->off == b->off && locator_equal(&a->from, &b->from);
}

/* Whether `list` has all of `all`, or, with `part`, nothing else. */
static bool agree(const struct ref_list *all, const struct ref_list *list, bool part)
{
    size_t k = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (k < list->n && same(&all->refs[i], &list->refs[k]))
            k++;
        else if (!part)
            return false;
    }
    return k == list->n;
}

static bool compare(struct eng *eng, uint32_t id, struct idmap *wanted, char why[OWNERS_WHY_MAX])
{
    struct ref_list all = {0}, alone = {0}, together = {0};
    bool whole = false, ok = true;
    idmap_set(wanted, id, 1);
    int r = walk_refs(eng, wanted, &all);
    if (!r)
        r = extent_refs_by_summary(eng, id, &alone, &whole);
    if (!r)
        r = extent_refs_collect(eng, wanted, &together.refs, &together.n);
    ref_list_sort(&all);
    ref_list_sort(&alone);
    if (r)
        ok = disagree(why, "the owners in segment %u: %s", id, strerror(-r));
    else if (!agree(&all, &alone, !whole))
        ok = disagree(why, "the summary of segment %u leads to %zu ranges, not to %zu", id, alone.n, all.n);
    else if (!agree(&all, &together, false))
        ok = disagree(why, "segment %u: %zu ranges were collected of %zu", id, together.n, all.n);
    free(all.refs);
    free(alone.refs);
    free(together.refs);
    return ok;
}

bool owners_agree(struct eng *eng, char why[OWNERS_WHY_MAX])
{
    bool ok = true;
    for (uint32_t i = 1; i < eng->idx.segs.used && ok; i++) {
        const struct seg_rec *seg = table_get(&eng->idx.segs, i);
        struct idmap wanted = {0};
        if (!seg->id)
            continue;
        ok = idmap_reserve(&wanted, 1) == 0 && compare(eng, seg->id, &wanted, why);
        idmap_done(&wanted);
    }
    return ok;
}
