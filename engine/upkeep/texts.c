/*
 * texts.c - see texts.h. Names that own their text are found by it (past_lookup); each leads to the older
 * ones that share it, as a live one does. */
#include "upkeep/texts.h"

#include "index/past_names.h"

int texts_begin(const struct sweep *s, struct texts_walk *ret_w)
{
    *ret_w = (struct texts_walk){.cap = (uint32_t)s->versions};
    ret_w->ends = calloc(ret_w->cap + 1, sizeof *ret_w->ends);
    return ret_w->ends ? 0 : -ENOMEM;
}

void texts_done(struct texts_walk *w)
{
    free(w->ends);
    w->ends = NULL;
}

static void look_at(struct texts_walk *w, uint32_t first, uint32_t dir, const char *text, size_t len)
{
    memcpy(w->text, text, len);
    w->len = len;
    w->dir = dir;
    w->first = first;
    w->other = w->n_ends = 0;
    w->n = 0;
    w->plans = false;
    w->next = (struct bkey){w->hash, 0};
}

void texts_only(const struct index *idx, struct texts_walk *w, uint32_t dir, const char *text, size_t len)
{
    w->hash = codec_name_hash(idx->hash_seed, dir, text, len);
    look_at(w, UINT32_MAX, dir, text, len);
}

/* ---- counting --------------------------------------------------------------------------- */

/* What is on top goes down to its place. */
static void sift(uint64_t *ends, uint32_t n)
{
    for (uint32_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
        child += child + 1 < n && ends[child + 1] < ends[child];
        if (ends[i] <= ends[child])
            break;
        uint64_t swap = ends[i];
        ends[i] = ends[child];
        ends[child] = swap;
    }
}

static void count(struct texts_walk *w, uint64_t end)
{
    w->n++;
    if (w->n_ends == w->cap) {
        if (w->cap && end > w->ends[0]) {
            w->ends[0] = end;
            sift(w->ends, w->n_ends);
        }
        return;
    }
    uint32_t i = w->n_ends++;
    for (; i && w->ends[(i - 1) / 2] > end; i = (i - 1) / 2)
        w->ends[i] = w->ends[(i - 1) / 2];
    w->ends[i] = end;
}

/* ---- planning ------------------------------------------------------------------------------- */

/* A live name begins where it ends. */
static bool is_begin_of_live(const struct index *idx, const struct past_name_rec *past, uint32_t i)
{
    struct bkey key = {past->parent, past->cookie}, found;
    uint32_t d;
    return !MUTANT(LIVE_BEGINS_EARLY) && index_newest_past(idx, past->parent, past->cookie) == i &&
           btree_ceil(&idx->dirs, key, &found, &d) == 0 && found.a == key.a && found.b == key.b;
}

/* The name, and those older ones that share its text: counts them, or plans those that are too many. */
static void take(struct sweep *s, struct texts_walk *w, uint32_t i)
{
    const struct index *idx = &s->eng->idx;
    const struct past_name_rec *past = index_past_name(idx, i);
    size_t first = s->n;
    bool shares = true;
    while (past && shares) {
        if (!w->plans)
            count(w, past->end);
        else if (past->end < w->ends[0] && s->n < 2 * SWEEP_PLAN && !is_begin_of_live(idx, past, i))
            sweep_plan_name(s, past, true);
        s->looks -= s->looks > 0;
        const struct past_name_rec *older = index_past_name(idx, i = past->next);
        shares = older && older->flags & PAST_SHARES_TEXT && older->end < past->end;
        past = older;
    }
    sweep_reverse(s->plan, first, s->n);
}

struct texts_look {
    struct sweep *s;
    struct texts_walk *w;
    bool stopped; /* and goes on from w->next */
};

/* One record of past_lookup. */
static int look(void *arg, struct bkey key, const void *value)
{
    struct texts_look *l = arg;
    struct texts_walk *w = l->w;
    const struct index *idx = &l->s->eng->idx;
    uint32_t i;
    memcpy(&i, value, sizeof i);
    if (w->len && key.a != w->hash)
        return 1;
    l->stopped = !l->s->looks || l->s->n >= SWEEP_PLAN;
    w->next = key;
    if (l->stopped)
        return 1;
    l->s->looks--;
    const struct past_name_rec *past = index_past_name(idx, i);
    const char *text = past ? names_get(&idx->names, past->name, past->name_len) : NULL;
    if (!text || past->name_len > sizeof w->text)
        return 0;
    if (!w->len) {
        w->hash = key.a;
        look_at(w, i, past->parent, text, past->name_len);
    }
    bool is_it = past->parent == w->dir && past->name_len == w->len && memcmp(text, w->text, w->len) == 0;
    if (is_it)
        take(l->s, w, i);
    else if (!w->other && i > w->first)
        w->other = i;
    return 0;
}

/* Those that share the text of the live name of today. */
static void look_at_live(struct sweep *s, struct texts_walk *w)
{
    const struct index *idx = &s->eng->idx;
    const struct dentry_rec *live = index_dentry(idx, index_find_name(idx, w->dir, w->text, w->len));
    uint32_t newest =
        live && live->flags & DENTRY_HAS_PAST ? index_newest_past(idx, live->parent, live->cookie) : 0;
    const struct past_name_rec *past = index_past_name(idx, newest);
    if (past && past->flags & PAST_SHARES_TEXT)
        take(s, w, newest);
}

/* All records of the hash were looked at: what comes next. False: nothing does. */
static bool go_on(const struct index *idx, struct texts_walk *w)
{
    const struct past_name_rec *other = index_past_name(idx, w->other);
    const char *text = other && !(other->flags & PAST_SHARES_TEXT) && other->hash == w->hash
                           ? names_get(&idx->names, other->name, other->name_len)
                           : NULL;
    if (!w->plans && w->n > w->cap) {
        w->plans = true;
        w->next = (struct bkey){w->hash, 0};
        return true;
    }
    if (text && other->name_len <= sizeof w->text) {
        look_at(w, w->other, other->parent, text, other->name_len);
        return true;
    }
    w->len = 0;
    w->next = (struct bkey){w->hash + 1, 0};
    return w->hash != UINT32_MAX && w->first != UINT32_MAX;
}

void texts_plan(struct sweep *s, struct texts_walk *w, bool *ret_more)
{
    const struct index *idx = &s->eng->idx;
    struct texts_look l = {.s = s, .w = w};
    *ret_more = false;
    if (!s->versions || (!w->len && !idx->past_lookup.count))
        return;
    for (bool more = true; more && !l.stopped;) {
        int r = btree_scan(&idx->past_lookup, w->next, look, &l);
        if (l.stopped)
            break;
        if (r < 0 || !w->len)
            return; /* there are none behind it */
        look_at_live(s, w);
        more = go_on(idx, w);
        if (!more)
            return;
    }
    *ret_more = true;
}
