/*
 * pieces.c - see pieces.h.
 *
 * The beginnings and ends of a file's pieces cut it into intervals. The pieces take them from the youngest to
 * the oldest; `next` leads over those that are taken, so that each is taken once. */
#include "ctl/pieces.h"

#include "shared/buf.h"

#include <errno.h>
#include <stdlib.h>

int pieces_add(struct pieces *p, const struct piece *take_piece)
{
    struct piece *all = array_room(p->all, p->n, &p->cap, sizeof *all);
    if (!all)
        return -ENOMEM;
    p->all = all;
    all[p->n++] = *take_piece;
    return 0;
}

static int compare(uint64_t x, uint64_t y)
{
    return (x > y) - (x < y);
}

static int by_file(const void *a, const void *b)
{
    const struct piece *x = a, *y = b;
    int r = compare(x->ino, y->ino);
    r = r ? r : compare(x->seq, y->seq);
    r = r ? r : compare(x->segment, y->segment);
    return r ? r : compare(x->at, y->at);
}

static int by_value(const void *a, const void *b)
{
    return compare(*(const uint64_t *)a, *(const uint64_t *)b);
}

/* Where the pieces of the file of all[i] end in `all`. */
static size_t end_of_file(const struct pieces *p, size_t i)
{
    size_t end = i + 1;
    while (end < p->n && p->all[end].ino == p->all[i].ino)
        end++;
    return end;
}

/* The first cut of [from, to) that is not below `value`. */
static size_t cut_at(const struct pieces *p, size_t from, size_t to, uint64_t value)
{
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (p->cuts[mid] < value)
            from = mid + 1;
        else
            to = mid;
    }
    return from;
}

/* The first interval from `i` on that nobody has taken. */
static size_t free_one(size_t *next, size_t i)
{
    while (next[i] != i) {
        next[i] = next[next[i]];
        i = next[i];
    }
    return i;
}

/* The first piece of a file has the path of the youngest that tells one, the others none. */
static void keep_one_path(struct pieces *p, size_t from, size_t to)
{
    char *path = NULL;
    for (size_t i = to; i-- > from; p->all[i].path = NULL) {
        if (path)
            free(p->all[i].path);
        else
            path = p->all[i].path;
    }
    p->all[from].path = path;
}

/* Each place once, so that no piece has more of them than bytes; behind them what no piece reaches. */
static void sort_cuts(uint64_t *cuts, size_t n)
{
    size_t kept = 0;
    qsort(cuts, n, sizeof *cuts, by_value);
    for (size_t i = 0; i < n; i++)
        if (!i || cuts[i] != cuts[kept - 1])
            cuts[kept++] = cuts[i];
    while (kept < n)
        cuts[kept++] = UINT64_MAX;
}

/* The pieces [from, to) of one file. */
static void settle_file(struct pieces *p, size_t *next, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++) {
        p->cuts[2 * i] = p->all[i].offset;
        p->cuts[2 * i + 1] = p->all[i].offset + p->all[i].size;
    }
    sort_cuts(p->cuts + 2 * from, 2 * (to - from));
    for (size_t i = to; i-- > from;) {
        size_t k = cut_at(p, 2 * from, 2 * to, p->all[i].offset);
        uint64_t end = p->all[i].offset + p->all[i].size;
        for (k = free_one(next, k); k < 2 * to && p->cuts[k] < end; k = free_one(next, k + 1)) {
            p->owners[k] = i;
            next[k] = k + 1;
            p->n_cuts++;
        }
    }
}

int pieces_settle(struct pieces *p)
{
    size_t n = 2 * p->n + 1;
    size_t *next = calloc(n, sizeof *next);
    p->cuts = calloc(n, sizeof *p->cuts);
    p->owners = calloc(n, sizeof *p->owners);
    if (!next || !p->cuts || !p->owners) {
        free(next);
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        next[i] = i;
        p->owners[i] = SIZE_MAX;
    }
    if (p->n)
        qsort(p->all, p->n, sizeof *p->all, by_file);
    for (size_t from = 0, to; from < p->n; from = to) {
        to = end_of_file(p, from);
        keep_one_path(p, from, to);
        settle_file(p, next, from, to);
    }
    free(next);
    return 0;
}

size_t pieces_find(const struct pieces *p, const struct piece *piece)
{
    const struct piece *found = p->n ? bsearch(piece, p->all, p->n, sizeof *p->all, by_file) : NULL;
    return found && found->offset == piece->offset && found->size == piece->size ? (size_t)(found - p->all)
                                                                                 : SIZE_MAX;
}

/* Of the file of all[i]. By halves: a file may have millions. */
static void bounds_of_file(const struct pieces *p, size_t i, size_t *ret_from, size_t *ret_to)
{
    const uint64_t ino = p->all[i].ino;
    size_t low = 0, high = i;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->all[mid].ino < ino)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_from = low;
    low = i + 1, high = p->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (p->all[mid].ino == ino)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_to = low;
}

int pieces_visible(struct pieces *p, size_t i, int (*emit)(void *arg, uint64_t from, uint64_t to), void *arg)
{
    const struct piece *piece = &p->all[i];
    uint64_t end = piece->offset + piece->size;
    size_t from, to;
    int r = 0;
    bounds_of_file(p, i, &from, &to);
    size_t k = cut_at(p, 2 * from, 2 * to, piece->offset);
    while (!r && k < 2 * to && p->cuts[k] < end) {
        size_t last = k;
        while (last < 2 * to && p->cuts[last] < end && (p->owners[last] == i) == (p->owners[k] == i))
            last++;
        p->n_cuts += last - k;
        if (p->owners[k] == i)
            r = emit(arg, p->cuts[k] - piece->offset, p->cuts[last] - piece->offset);
        k = last;
    }
    return r;
}

const char *pieces_path(const struct pieces *p, size_t i)
{
    size_t from, to;
    bounds_of_file(p, i, &from, &to);
    return p->all[from].path;
}

size_t pieces_files(const struct pieces *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += i == 0 || p->all[i].ino != p->all[i - 1].ino;
    return n;
}

void pieces_free(struct pieces *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->all[i].path);
    free(p->all);
    free(p->cuts);
    free(p->owners);
    *p = (struct pieces){0};
}
