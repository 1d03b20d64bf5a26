/*
 * lives.c - see lives.h. */
#include "index/lives.h"

#include "base/util.h"
#include "engine.h"
#include "index/past_read.h"

#include <string.h>

/* ---- of an entry ------------------------------------------------------------------ */

struct teller {
    const struct index *idx;
    uint32_t dir, hash;
    const char *name;
    size_t len;
    int (*emit)(void *arg, const struct name_life *life);
    void *arg;
    int stopped; /* what emit has returned */
};

/* From the record on those that have one text. */
static int tell_row(struct teller *t, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(t->idx, i);
    while (past && !t->stopped) {
        struct name_life life = {past->child, i, past->begin, past->end, past->flags};
        t->stopped = t->emit(t->arg, &life);
        i = past->next;
        past = index_past_name(t->idx, i);
        if (past && (past->end >= life.end || !(past->flags & PAST_SHARES_TEXT)))
            past = NULL;
    }
    return t->stopped;
}

static int tell_owner(void *arg, struct bkey key, const void *value)
{
    struct teller *t = arg;
    uint32_t i;
    if (key.a != t->hash)
        return 1;
    memcpy(&i, value, sizeof i);
    return index_past_is_called(t->idx, index_past_name(t->idx, i), t->dir, t->name, t->len) ? tell_row(t, i)
                                                                                             : 0;
}

static void tell_live(struct teller *t)
{
    uint32_t d = index_find_name(t->idx, t->dir, t->name, t->len);
    const struct dentry_rec *live = index_dentry(t->idx, d);
    if (!live)
        return;
    struct name_life life = {live->child, 0, index_name_begin(t->idx, d), UINT64_MAX, 0};
    t->stopped = t->emit(t->arg, &life);
    uint32_t newest = live->flags & DENTRY_HAS_PAST ? index_newest_past(t->idx, t->dir, live->cookie) : 0;
    const struct past_name_rec *past = index_past_name(t->idx, newest);
    if (past && past->flags & PAST_SHARES_TEXT)
        (void)tell_row(t, newest);
}

int index_lives(const struct index *idx, uint32_t dir, const char *name, size_t len,
                int (*emit)(void *arg, const struct name_life *life), void *arg)
{
    struct teller t = {.idx = idx,
                       .dir = dir,
                       .hash = codec_name_hash(idx->hash_seed, dir, name, len),
                       .name = name,
                       .len = len,
                       .emit = emit,
                       .arg = arg};
    int r = 0;
    tell_live(&t);
    if (!t.stopped && idx->past_lookup.count)
        r = btree_scan(&idx->past_lookup, (struct bkey){t.hash, 0}, tell_owner, &t);
    return t.stopped ? t.stopped : MIN_OF(r, 0);
}

/* ---- of an inode ---------------------------------------------------------------------- */

/* Whether the name that the inode got in that batch is the only one that it had then. */
static bool is_only_name(const struct index *idx, uint32_t slot, uint64_t begin)
{
    const struct inode_rec *state = index_slot(idx, past_at(idx, slot, begin));
    if (!state)
        return false;
    uint64_t end = state->flags & INODE_PAST ? past_end(state) : UINT64_MAX;
    return S_ISDIR(state->mode) || index_links_at(idx, slot, state->nlink, end, begin) == 1;
}

uint32_t index_former_name(const struct index *idx, uint32_t slot, uint32_t from, uint64_t begin)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    uint32_t i = from || !inode ? from : inode->past_name;
    const struct past_name_rec *past = index_past_name(idx, i);
    for (uint64_t left = idx->s.n_past_names; past && left > 0; left--) {
        if (past->end == begin && past->flags & PAST_MOVED)
            return i;
        if (past->end < begin)
            return past->flags & PAST_REMOVED && is_only_name(idx, slot, begin) ? i : 0;
        i = past->of_inode;
        past = index_past_name(idx, i);
    }
    return 0;
}

/* A name takes another's place in one group alone: by a REPOINT. */
uint32_t index_took_place(const struct index *idx, const struct past_name_rec *past)
{
    const struct past_name_rec *older = index_past_name(idx, past->next);
    bool ended_then = older && older->end == past->begin;
    return ended_then && older->flags & PAST_SHARES_TEXT ? past->next : 0;
}
