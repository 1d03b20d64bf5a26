/*
 * ref_list.c - see ref_list.h. */
#include "commit/ref_list.h"

int ref_list_add(struct ref_list *list, uint64_t ino, uint64_t owner, uint64_t off, const struct locator *loc)
{
    int r = array_grow(&list->refs, &list->cap, list->n + 1, sizeof *list->refs);
    if (!r)
        list->refs[list->n++] = (struct extent_ref){.ino = ino, .owner = owner, .off = off, .from = *loc};
    return r;
}

int ref_list_move(struct ref_list *list, struct ref_list *found)
{
    int r = array_grow(&list->refs, &list->cap, list->n + found->n, sizeof *list->refs);
    if (r)
        return r;
    if (found->n)
        memcpy(list->refs + list->n, found->refs, found->n * sizeof *found->refs);
    list->n += found->n;
    found->n = 0;
    return 0;
}

static int by_place(const void *a, const void *b)
{
    const struct locator *x = &((const struct extent_ref *)a)->from,
                         *y = &((const struct extent_ref *)b)->from;
    if (x->seg != y->seg)
        return x->seg < y->seg ? -1 : 1;
    if (x->off8 != y->off8)
        return x->off8 < y->off8 ? -1 : 1;
    return (x->skip > y->skip) - (x->skip < y->skip);
}

void ref_list_sort(struct ref_list *list)
{
    bool sorted = true;
    for (size_t i = 1; i < list->n && sorted; i++)
        sorted = by_place(&list->refs[i - 1], &list->refs[i]) <= 0;
    if (!sorted) /* summaries are in order, but for attributes */
        qsort(list->refs, list->n, sizeof *list->refs, by_place);
}
