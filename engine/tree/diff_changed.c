/*
 * diff_changed.c - see diff_changed.h.
 *
 * First the live names, then the past ones: a name that ends meanwhile goes from there to here, never back. A
 * path that is not led to differs in no view, or lies below a name that is told. */
#include "tree/diff_changed.h"

#include "image/ages.h"
#include "index/past_names.h"
#include "index/times.h"

#define LOOKS 4096u /* at records in one section, or so */
#define TEXT_BLOCK 65536u

struct diff_texts {
    struct diff_texts *next;
    size_t len;
    char bytes[TEXT_BLOCK];
};

struct slots {
    uint32_t *all;
    size_t n, cap;
    struct idmap known; /* those that are in it */
};

struct finding {
    struct eng *eng;
    const struct index *idx;
    const struct view *a, *b;
    struct ages ages;
    struct diff_changed *out;
    struct slots folders; /* that have a place */
    struct slots linked;  /* changed files with live names that a sweep must find */
};

/* ---- places ------------------------------------------------------------------------ */

static int add_slot(struct slots *slots, uint32_t slot)
{
    if (idmap_get(&slots->known, slot))
        return 0;
    if (idmap_reserve(&slots->known, 1) || array_grow(&slots->all, &slots->cap, slots->n + 1, sizeof slot))
        return -ENOMEM;
    idmap_set(&slots->known, slot, 1);
    slots->all[slots->n++] = slot;
    return 0;
}

static void free_slots(struct slots *slots)
{
    free(slots->all);
    idmap_done(&slots->known);
}

static const char *keep_text(struct diff_changed *out, const char *text, uint16_t len)
{
    struct diff_texts *block = out->texts;
    if (!block || block->len + len > TEXT_BLOCK) {
        block = malloc(sizeof *block);
        if (!block)
            return NULL;
        block->next = out->texts;
        block->len = 0;
        out->texts = block;
    }
    char *at = block->bytes + block->len;
    memcpy(at, text, len);
    block->len += len;
    return at;
}

static int add_place(struct finding *f, uint32_t dir, uint32_t name, uint16_t len)
{
    struct diff_changed *out = f->out;
    const char *text = names_get(&f->idx->names, name, len);
    if (!text)
        return -EBADMSG;
    if (array_grow(&out->all, &out->cap, out->n + 1, sizeof *out->all))
        return -ENOMEM;
    text = keep_text(out, text, len);
    if (!text)
        return -ENOMEM;
    out->all[out->n++] = (struct diff_place){dir, len, text};
    return add_slot(&f->folders, dir);
}

static int compare_texts(const struct diff_place *x, const struct diff_place *y)
{
    int order = memcmp(x->text, y->text, MIN_OF(x->len, y->len));
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static int by_place(const void *a, const void *b)
{
    const struct diff_place *x = a, *y = b;
    return x->dir == y->dir ? compare_texts(x, y) : (x->dir > y->dir) - (x->dir < y->dir);
}

/* Sorts them, and leaves each once. */
static void order_places(struct diff_changed *out)
{
    size_t n = 0;
    if (out->n)
        qsort(out->all, out->n, sizeof *out->all, by_place);
    for (size_t i = 0; i < out->n; i++)
        if (!n || by_place(&out->all[n - 1], &out->all[i]) != 0)
            out->all[n++] = out->all[i];
    out->n = n;
}

/* ---- sweeping ------------------------------------------------------------------------ */

typedef int (*look_fn)(struct finding *f, uint32_t i);

static int end_slice(struct finding *f, int r)
{
    r = diff_end(f->a, f->b, r);
    fault_point(&f->eng->hook, FP_DIFF_SLICE);
    return r;
}

/* Returns how many records that is, or an error. */
static int64_t sweep_chunk(struct finding *f, unsigned which, bool all, uint32_t c, look_fn look)
{
    const struct table *t = index_table(&f->eng->idx, which);
    uint64_t first = (uint64_t)c << t->chunk_shift, end = first + (UINT64_C(1) << t->chunk_shift);
    if (t->states[c] == TABLE_DROPPED)
        return 1;
    f->out->chunks++;
    if (!all && ages_is_older(f->eng, &f->ages, which, c))
        return 1;
    f->out->looked++;
    end = MIN_OF(end, (uint64_t)t->used);
    for (uint64_t i = MAX_OF(first, UINT64_C(1)); i < end; i++) {
        int r = look(f, (uint32_t)i);
        if (r)
            return r;
    }
    return (int64_t)(end - first);
}

/* All chunks of a table, or those that were written since. */
static int sweep(struct finding *f, unsigned which, bool all, look_fn look)
{
    const struct table *t = index_table(&f->eng->idx, which);
    int r = 0;
    uint32_t c = 0;
    for (bool more = true; more && !r;) {
        int64_t looks = 0;
        diff_begin(f->a);
        for (int64_t n = 0; c < t->n_chunks && looks < LOOKS && n >= 0; c++) {
            n = sweep_chunk(f, which, all, c, look);
            looks += n;
            r = n < 0 ? (int)n : 0;
        }
        more = c < t->n_chunks;
        r = end_slice(f, r);
    }
    return r;
}

/* ---- names --------------------------------------------------------------------------- */

static bool is_shown(const struct view *view, uint64_t begin, uint64_t end)
{
    return begin <= view->at && view->at < end;
}

static int look_at_name(struct finding *f, uint32_t i)
{
    const struct dentry_rec *name = index_dentry(f->idx, i);
    uint64_t begin = name ? index_name_begin(f->idx, i) : 0;
    if (!name || is_shown(f->a, begin, UINT64_MAX) == is_shown(f->b, begin, UINT64_MAX))
        return 0;
    return add_place(f, name->parent, name->name, name->name_len);
}

static int look_at_past_name(struct finding *f, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(f->idx, i);
    if (!past || is_shown(f->a, past->begin, past->end) == is_shown(f->b, past->begin, past->end))
        return 0;
    return add_place(f, past->parent, past->name, past->name_len);
}

/* Past names of the inode that both views show. */
static int add_past_names(struct finding *f, const struct inode_rec *inode)
{
    const struct past_name_rec *past = index_past_name(f->idx, inode->past_name);
    int r = 0;
    for (uint64_t left = f->idx->s.n_past_names; past && past->end > f->b->at && left > 0 && !r; left--) {
        if (past->begin <= f->a->at)
            r = add_place(f, past->parent, past->name, past->name_len);
        past = index_past_name(f->idx, past->of_inode);
    }
    return r;
}

/* The live name d, if both views show it. */
static int add_live_name(struct finding *f, uint32_t d)
{
    const struct dentry_rec *name = index_dentry(f->idx, d);
    if (index_name_begin(f->idx, d) > f->a->at)
        return 0;
    return add_place(f, name->parent, name->name, name->name_len);
}

static int look_at_link(struct finding *f, uint32_t i)
{
    const struct dentry_rec *name = index_dentry(f->idx, i);
    return name && idmap_get(&f->linked.known, name->child) ? add_live_name(f, i) : 0;
}

/* ---- states -------------------------------------------------------------------------- */

static bool may_differ(const struct inode_rec *x, const struct inode_rec *y)
{
    return x->mode != y->mode || x->uid != y->uid || x->gid != y->gid || x->mtime != y->mtime ||
           x->version != y->version || x->state != y->state || x->size != y->size;
}

/* Names that both views show, of an inode that is not the same in them; others are found as names. */
static int add_names(struct finding *f, uint32_t slot, const struct inode_rec *head)
{
    struct folder_name name;
    if (S_ISDIR(head->mode))
        return index_folder_name_at(f->idx, slot, f->a->at, &name)
                   ? add_place(f, name.parent, name.name, name.name_len)
                   : 0;
    const struct dentry_rec *only = head->nlink == 1 ? index_dentry(f->idx, head->dentry) : NULL;
    int r = add_past_names(f, head);
    if (r || !head->nlink)
        return r;
    return only && only->child == slot ? add_live_name(f, head->dentry) : add_slot(&f->linked, slot);
}

/* Whether the view shows times of a folder that are not those of its record (attr_show_past()). */
static bool is_made_out(const struct view *view, const struct inode_rec *head)
{
    return S_ISDIR(head->mode) && view_may_differ(view, head->ctime);
}

static int look_at_inode(struct finding *f, uint32_t slot)
{
    const struct index *idx = f->idx;
    const struct inode_rec *head = index_slot(idx, slot);
    if (!head || head->flags & INODE_PAST)
        return 0;
    if (is_made_out(f->a, head) || is_made_out(f->b, head))
        return add_names(f, slot, head);
    if (past_head_begin(idx, head) <= f->a->at)
        return 0;
    uint32_t at_a = past_at(idx, slot, f->a->at), at_b = past_at(idx, slot, f->b->at);
    const struct inode_rec *x = index_slot(idx, at_a), *y = index_slot(idx, at_b);
    return x && y && at_a != at_b && may_differ(x, y) ? add_names(f, slot, head) : 0;
}

/* ---- all of it ------------------------------------------------------------------------- */

/* Runs `step` for each slot, those that it adds included, section by section. */
static int each_slot(struct finding *f, const struct slots *slots, look_fn step)
{
    int r = 0;
    for (size_t i = 0; i < slots->n && !r;) {
        diff_begin(f->a);
        for (size_t left = LOOKS / 4; i < slots->n && left > 0 && !r; left--)
            r = step(f, slots->all[i++]);
        r = end_slice(f, r);
    }
    return r;
}

/* What became a past name before the sweep came to it. */
static int add_late_names(struct finding *f, uint32_t slot)
{
    const struct inode_rec *inode = index_slot(f->idx, slot);
    return inode && !MUTANT(LATE_NAMES_MISSED) ? add_past_names(f, inode) : 0;
}

/* The way to it begins at the root, and is the same in both views up to what is told anyway. */
static int add_folder(struct finding *f, uint32_t slot)
{
    struct folder_name name;
    bool is_there = index_folder_name_at(f->idx, slot, f->a->at, &name);
    return is_there ? add_place(f, name.parent, name.name, name.name_len) : 0;
}

int diff_find_changed(const struct view *a, const struct view *b, struct diff_changed *ret_changed)
{
    struct finding f = {.eng = a->eng, .idx = a->idx, .a = a, .b = b, .out = ret_changed};
    int r = ages_begin(f.eng, a->at, &f.ages);
    if (!r)
        r = sweep(&f, TABLE_DENTRIES, false, look_at_name);
    if (!r)
        r = sweep(&f, TABLE_PAST_NAMES, false, look_at_past_name);
    if (!r)
        r = sweep(&f, TABLE_INODES, false, look_at_inode);
    if (!r && f.linked.n)
        r = sweep(&f, TABLE_DENTRIES, true, look_at_link);
    if (!r)
        r = each_slot(&f, &f.linked, add_late_names);
    if (!r)
        r = each_slot(&f, &f.folders, add_folder);
    if (!r)
        order_places(ret_changed);
    free_slots(&f.folders);
    free_slots(&f.linked);
    ages_end(&f.ages);
    return r;
}

void diff_free_changed(struct diff_changed *changed)
{
    for (struct diff_texts *block = changed->texts, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(changed->all);
    *changed = (struct diff_changed){0};
}

void diff_places_in(const struct diff_changed *changed, uint32_t dir, size_t *ret_first, size_t *ret_end)
{
    size_t lo = 0, hi = changed->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (changed->all[mid].dir < dir)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret_first = lo;
    while (lo < changed->n && changed->all[lo].dir == dir)
        lo++;
    *ret_end = lo;
}
