/*
 * diff_changed.h - where two views of a store may differ: names that came or went between their batches,
 * names of what was changed, and those of the folders above. Found by a sweep through the parts of the index
 * that were written since (image/ages.h); the rest of the store is not looked at. */
#ifndef ENGRAMFS_DIFF_CHANGED_H
#define ENGRAMFS_DIFF_CHANGED_H

#include "tree/view.h"

/* What a folder shows under that name in one view may not be as in the other. */
struct diff_place {
    uint32_t dir; /* slot */
    uint16_t len;
    const char *text; /* without NUL */
};
struct diff_texts;
struct diff_changed {
    struct diff_place *all; /* by folder, then by text; each once */
    size_t n, cap;
    struct diff_texts *texts;
    uint64_t chunks, looked; /* of tables that were swept, and those that were not passed by */
};

/*
 * Of two past views of one store, of which `a` is the older. Memory in proportion to what was changed, and
 * the depth at which it lies; index_lock for a slice at a time. A changed file that has several names costs a
 * sweep through all names: nothing leads from an inode to them. -ENOMEM, and the errors of view_end(); then,
 * too, the caller frees what there is. */
int diff_find_changed(const struct view *a, const struct view *b, struct diff_changed *ret_changed);
void diff_free_changed(struct diff_changed *changed); /* zeroed is fine */
/* The places of that folder are all[*ret_first..*ret_end). */
void diff_places_in(const struct diff_changed *changed, uint32_t dir, size_t *ret_first, size_t *ret_end);

/* A section (view.h) in which both views are read. */
static inline void diff_begin(const struct view *a)
{
    view_begin(a);
}
static inline int diff_end(const struct view *a, const struct view *b, int r)
{
    bool is_gone = !b->is_exact && b->at < b->idx->s.floor;
    return (int)view_end(a, is_gone ? -ESTALE : r);
}

#endif
