/*
 * sweep.c - see sweep.h.
 *
 * A state that no snapshot sees stays as long as a past name ended in it and an older state is there, which
 * would stand for it, and count that name twice (index_links_at()). */
#include "upkeep/sweep.h"

#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"

/* With `is_one_of_many` only snapshots and views in use count. */
static bool is_seen(const struct sweep *s, uint64_t begin, uint64_t end, bool is_one_of_many)
{
    bool newest_only = MUTANT(DROPPED_EARLY) && s->n_snapshots;
    if (newest_only)
        return snapshots_see(s->snapshots + s->n_snapshots - 1, 1, begin, end);
    /* Since the floor each batch may be looked at; later ones raise it, or switch it on behind `seq`. */
    bool is_whole = s->floor && end > s->floor && !is_one_of_many && !MUTANT(EXPIRED_EARLY);
    return end > s->seq || is_whole || snapshots_see(s->snapshots, s->n_snapshots, begin, end);
}

/* ---- names ------------------------------------------------------------------------------- */

/* Those of the group that ended by then are more than a history keeps. The newest, with which a live name
 * begins, is none. */
static uint64_t end_of_too_many(struct sweep *s, const struct past_name_rec *newest)
{
    const struct past_name_rec *past = newest;
    uint64_t last = UINT64_MAX;
    for (uint64_t n = 0; s->versions && past && past->end < last && n < s->versions; n++) {
        last = past->end;
        past = index_past_name(&s->eng->idx, past->next);
        s->looks -= s->looks > 0;
    }
    return s->versions && past && past->end < last ? past->end : 0;
}

void sweep_plan_name(struct sweep *s, const struct past_name_rec *past, bool is_one_of_many)
{
    const struct index *idx = &s->eng->idx;
    if (!is_seen(s, past->begin, past->end, is_one_of_many))
        s->plan[s->n++] = (struct leaving){.ino = index_ino(index_slot(idx, past->child), past->child),
                                           .dir = index_ino(index_slot(idx, past->parent), past->parent),
                                           .cookie = past->cookie,
                                           .begin = past->begin,
                                           .end = past->end,
                                           .is_one_of_many = is_one_of_many};
}

static bool is_full(const struct sweep *s)
{
    return s->n >= SWEEP_PLAN || !s->looks;
}

/* The record with which the walk goes on in the group, or begins. 0: it is not there. */
static uint32_t first_of(const struct names_walk *w, const struct index *idx, uint32_t newest)
{
    const struct past_name_rec *past = index_past_name(idx, w->at ? w->at : newest);
    bool is_it = past && past->parent == w->next.a && past->cookie == w->next.b && past->end == w->end;
    if (w->at)
        return is_it ? w->at : 0;
    return past ? past->newer : 0;
}

struct names_plan {
    struct sweep *s;
    struct names_walk *w;
    int r;
};

/* Those of one group, oldest first; a walk of which each is newer than the one before. */
static int plan_group(void *arg, struct bkey key, const void *value)
{
    struct names_plan *p = arg;
    const struct index *idx = &p->s->eng->idx;
    uint32_t newest;
    memcpy(&newest, value, sizeof newest);
    const struct past_name_rec *past = index_past_name(idx, newest);
    bool goes_on = p->w->at && key.a == p->w->next.a && key.b == p->w->next.b;
    if (!goes_on)
        *p->w = (struct names_walk){.next = key};
    if (is_full(p->s))
        return 1;
    uint64_t too_many = past ? end_of_too_many(p->s, past) : 0;
    uint32_t i = first_of(p->w, idx, newest);
    for (bool is_last = goes_on && !i; !is_last; i = past->newer) {
        uint64_t before = p->w->end;
        past = index_past_name(idx, i);
        if (!past || !index_slot(idx, past->child) || !index_slot(idx, key.a) || past->end < before) {
            p->r = -EBADMSG;
            return 1;
        }
        p->w->at = i;
        p->w->end = past->end;
        if (is_full(p->s))
            return 1;
        p->s->looks--;
        sweep_plan_name(p->s, past, past->end <= too_many);
        is_last = i == newest;
    }
    *p->w = (struct names_walk){.next = {key.a, key.b + 1}};
    return 0;
}

int sweep_names(struct sweep *s, struct names_walk *w, bool *ret_more)
{
    struct names_plan p = {.s = s, .w = w};
    *ret_more = btree_scan(&s->eng->idx.past_order, w->next, plan_group, &p) > 0;
    return p.r;
}

/* ---- states -------------------------------------------------------------------------------- */

/* Whether past names of the inode, from *at on, which is the newest, ended in [from, end). */
static bool names_ended(const struct index *idx, const struct past_name_rec **at, uint64_t from, uint64_t end)
{
    bool ended = false;
    while (*at && (*at)->end >= from) {
        ended = ended || ((*at)->end < end && !((*at)->flags & PAST_MOVED));
        const struct past_name_rec *next = index_past_name(idx, (*at)->of_inode);
        *at = next && next->end <= (*at)->end ? next : NULL;
    }
    return ended && !MUTANT(COUNTED_TWICE);
}

/* One more of the line: of more than a plan takes the oldest are in it, in a ring. */
static void plan_state(struct sweep *s, struct states_walk *w, const struct leaving *state)
{
    s->plan[w->first + w->n_found++ % SWEEP_PLAN] = *state;
    s->n = w->first + MIN_OF(w->n_found, (size_t)SWEEP_PLAN);
}

void sweep_reverse(struct leaving *plan, size_t from, size_t end)
{
    for (; from + 1 < end; from++, end--) {
        struct leaving swap = plan[from];
        plan[from] = plan[end - 1];
        plan[end - 1] = swap;
    }
}

/* Takes those out of the plan that stay since an older one does. */
static void let_stay(struct sweep *s, const struct states_walk *w)
{
    size_t n = w->first, n_counted = 0;
    for (size_t i = w->first; i < s->n; i++) {
        bool stays =
            s->plan[i].counts && (w->n_stay > s->plan[i].n_newer || n_counted || MUTANT(OLDER_UNASKED));
        n_counted += stays;
        if (!stays)
            s->plan[n++] = s->plan[i];
    }
    s->n = n;
}

/* The line was gone through, from its newest to its oldest state: these go first. */
static void end_line(struct sweep *s, struct states_walk *w)
{
    w->is_long = w->n_found > SWEEP_PLAN;
    w->n_batches = s->n_batches;
    size_t cut = w->first + (w->is_long ? w->n_found % SWEEP_PLAN : 0); /* the ring begins there */
    sweep_reverse(s->plan, w->first, cut);
    sweep_reverse(s->plan, cut, s->n);
    let_stay(s, w);
}

/* The states of one line that may go, as far as looks last. */
static void plan_line(struct sweep *s, struct states_walk *w, const struct inode_rec *head)
{
    const struct index *idx = &s->eng->idx;
    const struct past_name_rec *name = index_past_name(idx, head->past_name);
    for (; w->at && s->looks; s->looks--) {
        const struct inode_rec *past = index_slot(idx, w->at),
                               *older = past ? index_slot(idx, past->past) : NULL;
        bool is_next = past && past->flags & INODE_PAST && past_head(past) == w->slot;
        if (!is_next || past_number(past) >= w->number) {
            w->at = 0;
            break;
        }
        bool counts = names_ended(idx, &name, older ? past_end(older) : past_end(past), past_end(past));
        bool is_one_of_many = s->versions && w->n++ >= s->versions;
        const struct leaving state = {.ino = index_ino(head, w->slot),
                                      .past = index_ino(past, w->at),
                                      .begin = past_begin(past),
                                      .end = past_end(past),
                                      .is_one_of_many = is_one_of_many,
                                      .counts = counts && !(past->flags & INODE_GOING),
                                      .n_newer = w->n_stay};
        if (past->flags & INODE_GOING || !is_seen(s, state.begin, state.end, is_one_of_many))
            plan_state(s, w, &state);
        else
            w->n_stay++;
        w->number = past_number(past);
        w->at = past->past;
    }
    if (!w->at)
        end_line(s, w);
}

void sweep_states(struct sweep *s, struct states_walk *w, bool *ret_more)
{
    const struct index *idx = &s->eng->idx;
    uint32_t end = w->end ? MIN_OF(w->end, idx->inodes.used) : idx->inodes.used;
    if (w->is_long && w->n_batches == s->n_batches)
        w->slot++; /* what was planned has changed: it is for the next run */
    w->is_long = false;
    for (; w->slot < end && (w->at || !is_full(s)); w->slot++, s->looks -= s->looks > 0) {
        const struct inode_rec *head = index_slot(idx, w->slot);
        if (!head || !head->past || head->flags & INODE_PAST) {
            w->at = 0;
            continue;
        }
        if (!w->at)
            *w = (struct states_walk){
                .end = w->end, .slot = w->slot, .at = head->past, .number = UINT64_MAX, .first = s->n};
        plan_line(s, w, head);
        if (w->at || w->is_long)
            break;
    }
    *ret_more = w->slot < end;
}
