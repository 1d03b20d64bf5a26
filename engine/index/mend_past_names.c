/*
 * mend_past_names.c - see mend_past.h. Records are believed as far as they fit; what leads to them is made
 * anew, from folder, cookie, inode and lives. */
#include "index/mend_past.h"

#include "base/util.h"
#include "engine.h"
#include "index/past_names.h"

#include <stdlib.h>

static struct past_name_rec *record(struct index *idx, uint32_t i)
{
    return table_mut(&idx->past_names, i);
}

static void drop(struct index *idx, uint32_t i)
{
    *record(idx, i) = (struct past_name_rec){0};
}

/* Folder and inode are there, and what it says of itself can be. */
static bool fits(const struct index *idx, const struct past_name_rec *past, uint64_t last)
{
    const struct inode_rec *dir = index_slot(idx, past->parent), *child = index_slot(idx, past->child);
    bool has_text = past->name_len && past->name_len <= ENG_NAME_MAX;
    const char *text = has_text ? names_get(&idx->names, past->name, past->name_len) : NULL;
    if (!dir || !S_ISDIR(dir->mode) || !child || (dir->flags | child->flags) & INODE_PAST || !text ||
        past->hash != codec_name_hash(idx->hash_seed, past->parent, text, past->name_len))
        return false;
    return past->begin < past->end && (!last || past->end <= last) &&
           past->begin >= past->cookie >> COOKIE_BATCH_SHIFT && past->cookie >= 3 &&
           past->cookie < idx->s.next_cookie;
}

/* ---- groups ----------------------------------------------------------------------- */

static int by_key(struct bkey a, struct bkey b)
{
    if (a.a != b.a)
        return a.a < b.a ? -1 : 1;
    return (a.b > b.b) - (a.b < b.b);
}

static int by_group(const void *a, const void *b)
{
    const struct mend_past_name *x = a, *y = b;
    int order = by_key(x->group, y->group);
    if (order)
        return order;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static int by_child(const void *a, const void *b)
{
    const struct mend_past_name *x = a, *y = b;
    if (x->child != y->child)
        return x->child < y->child ? -1 : 1;
    if (x->end != y->end)
        return x->end > y->end ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

/* Lives of a group do not overlap: of two that do the older one goes. */
static void drop_overlaps(struct mend_past_names *m)
{
    size_t n = 0;
    for (size_t k = 0; k < m->n; k++) {
        const struct mend_past_name *newer = n ? &m->all[n - 1] : NULL;
        if (newer && by_key(newer->group, m->all[k].group) == 0 &&
            m->all[k].end > index_past_name(m->idx, newer->i)->begin)
            drop(m->idx, m->all[k].i);
        else
            m->all[n++] = m->all[k];
    }
    m->n = n;
}

int mend_past_names_begin(struct mend_past_names *m, struct index *idx, uint64_t last)
{
    m->idx = idx;
    m->n = 0;
    m->last = last;
    m->all = calloc(idx->past_names.used, sizeof *m->all);
    if (!m->all)
        return -ENOMEM;
    for (uint32_t i = 1; i < idx->past_names.used; i++) {
        const struct past_name_rec *past = index_past_name(idx, i);
        if (past && fits(idx, past, last))
            m->all[m->n++] = (struct mend_past_name){{past->parent, past->cookie}, past->end, past->child, i};
        else if (past)
            drop(idx, i);
    }
    if (m->n)
        qsort(m->all, m->n, sizeof *m->all, by_group);
    drop_overlaps(m);
    return 0;
}

void mend_past_names_done(struct mend_past_names *m)
{
    free(m->all);
}

/* The first of the group in m->all, or where it would be. */
static size_t find_group(const struct mend_past_names *m, struct bkey group)
{
    size_t at = 0, end = m->n;
    while (at < end) {
        size_t mid = (at + end) / 2;
        if (by_key(m->all[mid].group, group) < 0)
            at = mid + 1;
        else
            end = mid;
    }
    return at;
}

static bool is_of(const struct mend_past_names *m, size_t k, struct bkey group)
{
    return k < m->n && by_key(m->all[k].group, group) == 0;
}

/* Whether the newest that is left was it all the time: it says which is the oldest, which no other does. */
static bool is_newest(const struct index *idx, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(idx, i),
                               *oldest = past ? index_past_name(idx, past->newer) : NULL;
    return oldest && oldest->parent == past->parent && oldest->cookie == past->cookie &&
           oldest->end <= past->end;
}

void mend_past_names_beside(struct mend_past_names *m, uint32_t d)
{
    struct index *idx = m->idx;
    struct dentry_rec *live = table_mut(&idx->dentries, d);
    const struct bkey group = {live->parent, live->cookie};
    size_t at = find_group(m, group);
    bool has_past = live->flags & DENTRY_HAS_PAST;
    if (!has_past && !is_of(m, at, group))
        return;
    live->flags &= (uint16_t)~DENTRY_HAS_PAST;
    if (is_of(m, at, group) && m->all[at].i && is_newest(idx, m->all[at].i)) {
        live->flags |= DENTRY_HAS_PAST;
        return;
    }
    for (; is_of(m, at, group); at++) {
        if (m->all[at].i)
            drop(idx, m->all[at].i);
        m->all[at].i = 0;
    }
    live->cookie = index_new_cookie(idx, true, m->last);
    idx->s.next_cookie = live->cookie + 1;
}

/* ---- what leads to them ------------------------------------------------------------- */

static int put(struct index *idx, struct btree *t, struct bkey key, uint32_t i)
{
    int r = chunk_pool_reserve(idx->pool, BTREE_OP_CHUNKS);
    if (!r)
        r = btree_reserve(t, 1);
    if (!r)
        r = btree_put(t, key, &i) == 0 ? 0 : -EBADMSG;
    return r;
}

/* The text of the next newer one, which a live name may be. */
static void text_of_newer(const struct mend_past_names *m, size_t at, uint32_t *ret_name, uint32_t *ret_len)
{
    const struct index *idx = m->idx;
    struct bkey found, group = m->all[at].group;
    uint32_t d;
    *ret_name = *ret_len = 0;
    if (at && is_of(m, at - 1, group)) {
        const struct past_name_rec *newer = index_past_name(idx, m->all[at - 1].i);
        *ret_name = newer->name;
        *ret_len = newer->name_len;
    } else if (btree_ceil(&idx->dirs, group, &found, &d) == 0 && by_key(found, group) == 0) {
        const struct dentry_rec *live = index_dentry(idx, d);
        *ret_name = live ? live->name : 0;
        *ret_len = live ? live->name_len : 0;
    }
}

/* A member of a group, which is m->all[first] to m->all[end - 1]. */
static int put_member(struct mend_past_names *m, size_t first, size_t at, size_t end)
{
    struct index *idx = m->idx;
    uint32_t i = m->all[at].i, name, len;
    struct past_name_rec *past = record(idx, i);
    text_of_newer(m, at, &name, &len);
    past->next = at + 1 < end ? m->all[at + 1].i : 0;
    past->newer = m->all[at > first ? at - 1 : end - 1].i;
    if (past->flags & PAST_SHARES_TEXT && name == past->name && len == past->name_len)
        return 0;
    past->flags &= (uint16_t)~PAST_SHARES_TEXT;
    return put(idx, &idx->past_lookup, (struct bkey){past->hash, i}, i);
}

static int put_groups(struct mend_past_names *m)
{
    int r = 0;
    for (size_t at = 0, end; at < m->n && !r; at = end) {
        r = put(m->idx, &m->idx->past_order, m->all[at].group, m->all[at].i);
        for (end = at; is_of(m, end, m->all[at].group);)
            end++;
        for (size_t k = at; k < end && !r; k++)
            r = put_member(m, at, k, end);
    }
    return r;
}

static void put_chains(struct mend_past_names *m)
{
    struct index *idx = m->idx;
    if (m->n)
        qsort(m->all, m->n, sizeof *m->all, by_child);
    for (size_t k = 0; k < m->n; k++) {
        struct past_name_rec *past = record(idx, m->all[k].i);
        bool is_first = !k || m->all[k - 1].child != past->child;
        bool is_last = k + 1 == m->n || m->all[k + 1].child != past->child;
        past->of_newer = is_first ? 0 : m->all[k - 1].i;
        past->of_inode = is_last ? 0 : m->all[k + 1].i;
        if (is_first)
            index_slot_mut(idx, past->child)->past_name = m->all[k].i;
    }
}

int mend_past_names_end(struct mend_past_names *m)
{
    struct index *idx = m->idx;
    size_t n = 0;
    for (size_t k = 0; k < m->n; k++)
        if (m->all[k].i)
            m->all[n++] = m->all[k];
    m->n = n;
    btree_free(&idx->past_order);
    btree_free(&idx->past_lookup);
    int r = btree_init(&idx->past_order, idx->pool, sizeof(uint32_t));
    if (!r)
        r = btree_init(&idx->past_lookup, idx->pool, sizeof(uint32_t));
    if (!r)
        r = put_groups(m);
    if (!r)
        put_chains(m);
    idx->s.n_past_names = n;
    return r;
}
