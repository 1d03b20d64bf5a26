/*
 * past_space.c - see past_space.h.
 *
 * A past state that one snapshot sees, and neither another nor a history, goes with it; what of it the next
 * older state lacks goes to that one (index/past.c:past_drop()), the rest is freed. An inode without a name
 * whose past names one snapshot sees goes whole. Views in use count for nothing: they are closed some time,
 * and who asks for a snapshot through a mount has one. */
#include "store/past_space.h"

#include "base/job.h"
#include "core/eng.h"
#include "index/extents.h"
#include "index/moments.h"
#include "index/past.h"
#include "index/past_names.h"

#define LOOKS 4096u  /* inodes, past states, past names, and snapshots that see them, under index_lock */
#define ENTRIES 128u /* extents of a state that goes, and of older ones below them, the same */
#define NONE SIZE_MAX
#define SEVERAL (SIZE_MAX - 1)

struct past_space {
    pthread_mutex_t lock;
    /* Protected by lock. What the last look has found: */
    uint64_t seq;      /* behind which batch; UINT64_MAX: there was none */
    uint64_t at, took; /* mono_ns() at its end, and how long it took */
    uint64_t shown;    /* bytes of the past that snapshots show */
    struct eng_snapshot_space *of;
    size_t n;
};

int past_space_new(struct eng *eng)
{
    eng->past_space = calloc(1, sizeof *eng->past_space);
    if (!eng->past_space)
        return -ENOMEM;
    pthread_mutex_init(&eng->past_space->lock, NULL);
    eng->past_space->seq = UINT64_MAX;
    return 0;
}

void past_space_free(struct eng *eng)
{
    if (!eng->past_space)
        return;
    pthread_mutex_destroy(&eng->past_space->lock);
    free(eng->past_space->of);
    free(eng->past_space);
    eng->past_space = NULL;
}

/* ---- a look ------------------------------------------------------------------------- */

/* A past state, or what an inode has, that goes with a snapshot, */
struct leaving {
    size_t snapshot;
    uint64_t ino;
    size_t n_older; /* as do so many states that are next older */
};

struct look {
    struct eng *eng;
    const struct index *idx;
    uint64_t *batches; /* of the snapshots, which rise */
    struct eng_snapshot_space *of;
    size_t n;
    uint64_t floor; /* what ended behind it a history keeps; UINT64_MAX: there is none */
    uint64_t shown;
    unsigned looks;
    struct leaving *plan;
    size_t n_plan, cap;
    size_t *goes; /* of the states of a line, newest first: with which snapshot, NONE: with none */
    size_t n_goes, cap_goes;
};

static uint64_t bytes_of(const struct index *idx, const struct inode_rec *inode)
{
    struct xattr_walk walk = {.next = inode->xattrs};
    uint64_t bytes = inode_bytes(inode);
    while (index_next_xattr(idx, &walk))
        bytes += walk.xattr.is_extent ? walk.xattr.loc.len : 0;
    return bytes;
}

/* What lived in the batches [begin, end) has so many bytes. `with`: if no snapshot shows it, it is there for
 * what that one shows; NONE. */
static void show(struct look *l, uint64_t begin, uint64_t end, uint64_t bytes, size_t with)
{
    size_t first = snapshots_from(l->batches, l->n, begin), i = first;
    for (; i < l->n && l->batches[i] < end; i++)
        l->of[i].shared += bytes;
    if (i == first && with != NONE)
        l->of[with].shared += bytes;
    l->shown += i > first || with != NONE ? bytes : 0;
    l->looks += (unsigned)(i - first);
}

/* The only snapshot that sees it; NONE: none, or several, or a history keeps it. */
static size_t only_one(const struct look *l, uint64_t begin, uint64_t end)
{
    size_t i = snapshots_from(l->batches, l->n, begin);
    bool one = i < l->n && l->batches[i] < end && !(i + 1 < l->n && l->batches[i + 1] < end);
    return one && end <= l->floor ? i : NONE;
}

static bool is_kept(const struct look *l, uint64_t begin, uint64_t end)
{
    return end > l->floor || snapshots_see(l->batches, l->n, begin, end);
}

static const struct past_name_rec *next_name(struct look *l, const struct past_name_rec *name)
{
    const struct past_name_rec *next = index_past_name(l->idx, name->of_inode);
    l->looks++;
    return next && next->end <= name->end ? next : NULL;
}

/* The only snapshot that sees past names of an inode that has no other; NONE as above. */
static size_t only_one_of_names(struct look *l, const struct inode_rec *head)
{
    const struct past_name_rec *name = index_past_name(l->idx, head->past_name);
    size_t only = NONE;
    for (; name; name = next_name(l, name)) {
        if (!is_kept(l, name->begin, name->end))
            continue;
        size_t one = only_one(l, name->begin, name->end);
        if (one == NONE || (only != NONE && one != only))
            return NONE;
        only = one;
    }
    return only;
}

/* Whose past names of the inode, from *at on, the newest, ended in [from, end): the state that ends there
 * stays as long as one of them does (upkeep/history.c). NONE: nobody's. */
static size_t names_of(struct look *l, const struct past_name_rec **at, uint64_t from, uint64_t end)
{
    size_t whose = NONE;
    for (; *at && (*at)->end >= from; *at = next_name(l, *at)) {
        const struct past_name_rec *name = *at;
        if (name->end >= end || name->flags & PAST_MOVED || !is_kept(l, name->begin, name->end))
            continue;
        size_t one = only_one(l, name->begin, name->end);
        bool is_other = one == NONE || (whose != NONE && whose != one);
        whose = is_other ? SEVERAL : one;
    }
    return whose;
}

/* With which snapshot it goes. What none sees is there for past names alone. */
static size_t goes_with(struct look *l, uint64_t begin, uint64_t end, size_t names)
{
    size_t one = only_one(l, begin, end);
    if (!is_kept(l, begin, end))
        return names < SEVERAL ? names : NONE;
    return names == NONE || names == one ? one : NONE;
}

/* `whole`: the snapshot with which all of the line goes, NONE: not all does. */
static int look_at_state(struct look *l, const struct inode_rec *past, const struct past_name_rec **name,
                         size_t whole)
{
    const struct inode_rec *older = index_slot(l->idx, past->past);
    uint64_t begin = past_begin(past), end = past_end(past), bytes = bytes_of(l->idx, past);
    size_t names = names_of(l, name, older ? past_end(older) : end, end);
    bool is_going = past->flags & INODE_GOING;
    size_t goes = is_going ? NONE : goes_with(l, begin, end, names);
    l->looks++;
    if (!is_going)
        show(l, begin, end, bytes, whole != NONE ? whole : goes);
    if (whole != NONE)
        l->of[whole].alone += bytes;
    if (array_grow(&l->goes, &l->cap_goes, l->n_goes + 1, sizeof *l->goes))
        return -ENOMEM;
    l->goes[l->n_goes++] = whole != NONE ? NONE : goes;
    return 0;
}

/* With which snapshot the present state goes, of an inode that past names alone keep: it began when the last
 * of those that stay had ended (commit/orphans.c:is_unseen()). NONE. */
static size_t head_goes_with(struct look *l, const struct inode_rec *head)
{
    const struct past_name_rec *name = index_past_name(l->idx, head->past_name);
    uint64_t begin = head->flags & INODE_AMENDED ? 0 : head->state >> 16;
    size_t one = NONE;
    while (name && !is_kept(l, name->begin, name->end))
        name = next_name(l, name);
    one = name ? only_one(l, name->begin, name->end) : NONE;
    if (one == NONE)
        return NONE;
    for (size_t i = 0; i < l->n_goes; i++)
        begin = l->goes[i] != one ? past_head_begin(l->idx, head) : begin;
    while (name && (!is_kept(l, name->begin, name->end) || only_one(l, name->begin, name->end) == one))
        name = next_name(l, name);
    return name && begin > name->end ? one : NONE;
}

static int plan(struct look *l, size_t snapshot, uint64_t ino, size_t from)
{
    struct leaving leaving = {.snapshot = snapshot, .ino = ino};
    if (snapshot == NONE)
        return 0;
    for (; from < l->n_goes && l->goes[from] == snapshot; from++)
        leaving.n_older++;
    if (array_grow(&l->plan, &l->cap, l->n_plan + 1, sizeof *l->plan))
        return -ENOMEM;
    l->plan[l->n_plan++] = leaving;
    return 0;
}

/* The states of the line that go, which look_at_state() has found. */
static int plan_line(struct look *l, const struct inode_rec *head)
{
    uint32_t at = head->past;
    int r = 0;
    for (size_t i = 0; i < l->n_goes && !r; i++) {
        const struct inode_rec *past = index_slot(l->idx, at);
        r = plan(l, l->goes[i], index_ino(past, at), i + 1);
        at = past->past;
    }
    return r;
}

static int look_at_line(struct look *l, uint32_t slot, const struct inode_rec *head)
{
    const struct index *idx = l->idx;
    const struct past_name_rec *name = index_past_name(idx, head->past_name), *newest = name;
    bool is_nameless = name && index_is_kept(idx, head);
    size_t whole = is_nameless ? only_one_of_names(l, head) : NONE;
    uint64_t left = idx->s.n_past, bytes = is_nameless ? bytes_of(idx, head) : 0;
    int r = 0;
    l->n_goes = 0;
    for (uint32_t at = head->past; index_slot(idx, at) && left-- && !r; at = index_slot(idx, at)->past)
        r = look_at_state(l, index_slot(idx, at), &name, whole);
    if (!r)
        r = plan_line(l, head);
    if (r || !is_nameless)
        return r;
    show(l, past_head_begin(idx, head), newest->end, bytes, whole);
    if (whole != NONE)
        l->of[whole].alone += bytes;
    return whole != NONE ? 0 : plan(l, head_goes_with(l, head), index_ino(head, slot), 0);
}

/* ---- what an older state would not take over ------------------------------------------- */

struct gain {
    const struct index *idx;
    uint32_t older; /* slot of the next older state, 0 none */
    size_t n_older; /* so many go, too: what it lacks the next one may have */
    uint64_t reach; /* of that which stays: what lies behind it nobody reads */
    unsigned entries;
    uint64_t next; /* where to go on */
    uint64_t bytes;
    int r;
};

/* What of [from, end) states from a slot on, n and one more, have entries for. */
struct cover {
    const struct index *idx;
    uint32_t slot;
    size_t n;
    uint64_t from, end, bytes;
    unsigned entries;
    int r;
};

static void cover_gap(struct cover *c, uint64_t end);

static int cover_entry(void *arg, uint64_t off, const struct locator *loc)
{
    struct cover *c = arg;
    c->entries++;
    cover_gap(c, MIN_OF(off, c->end));
    uint64_t end = MIN_OF(off + loc->len, c->end);
    c->bytes += c->from < end ? end - c->from : 0;
    c->from = MAX_OF(c->from, end);
    return c->r;
}

static void cover(struct cover *c)
{
    int r = extents_scan_into(c->idx, c->slot, c->from, c->end, cover_entry, c);
    cover_gap(c, c->end);
    c->r = MIN_OF(r, c->r);
}

/* What the present state lacks up to `end`, the next older one may have. */
static void cover_gap(struct cover *c, uint64_t end)
{
    const struct inode_rec *inode = index_slot(c->idx, c->slot);
    if (c->from >= end)
        return;
    if (c->n && inode && inode->past) {
        struct cover older = {.idx = c->idx, .slot = inode->past, .n = c->n - 1, .from = c->from, .end = end};
        cover(&older);
        c->bytes += older.bytes;
        c->entries += older.entries;
        c->r = MIN_OF(c->r, older.r);
    }
    c->from = end;
}

/* An extent of the state that goes: what older ones have entries for is freed, and what none reads. */
static int add_gain(void *arg, uint64_t off, const struct locator *loc)
{
    struct gain *g = arg;
    uint64_t end = off + loc->len, reach = MIN_OF(end, MAX_OF(g->reach, off));
    if (g->entries > ENTRIES) {
        g->next = off;
        return 1;
    }
    g->entries++;
    if (!loc->seg)
        return 0;
    struct cover c = {.idx = g->idx, .slot = g->older, .n = g->n_older, .from = off, .end = reach};
    if (off < reach)
        cover(&c);
    g->bytes += end - reach + c.bytes;
    g->entries += c.entries;
    g->r = c.r;
    return c.r;
}

/* The older states that go, and the first that stays. */
static void begin_gain(const struct index *idx, const struct inode_rec *past, size_t n_older,
                       struct gain *ret_gain)
{
    *ret_gain = (struct gain){.idx = idx, .older = past->past, .n_older = n_older, .next = UINT64_MAX};
    const struct inode_rec *older = index_slot(idx, past->past);
    uint64_t reach = UINT64_MAX;
    for (size_t i = 0; older; i++, older = index_slot(idx, older->past)) {
        reach = MIN_OF(reach, past_reach(older));
        if (i == n_older) {
            ret_gain->reach = reach;
            break;
        }
    }
}

/* Whether one of them has an xattr of that name, or nobody reads what it is. */
static bool xattr_is_freed(const struct gain *g, const struct xattr_view *xattr)
{
    const struct inode_rec *older = index_slot(g->idx, g->older);
    bool found = false;
    size_t i = 0;
    for (; older && i <= g->n_older && !found; i++, older = index_slot(g->idx, older->past))
        found = index_find_xattr(g->idx, older, xattr->name, xattr->name_len) != 0;
    return found || i <= g->n_older; /* else the last of them stays */
}

static uint64_t gain_of_xattrs(const struct gain *g, const struct inode_rec *past)
{
    struct xattr_walk walk = {.next = past->xattrs};
    uint64_t bytes = 0;
    while (index_next_xattr(g->idx, &walk))
        bytes += walk.xattr.is_extent && xattr_is_freed(g, &walk.xattr) ? walk.xattr.loc.len : 0;
    return bytes;
}

/* A slice of the gain; *from: where it begins, and the next one, UINT64_MAX: none. */
static int look_at_leaving(struct look *l, const struct leaving *leaving, uint64_t *from)
{
    const struct index *idx = l->idx;
    struct gain g = {.next = UINT64_MAX};
    int r = 0;
    pthread_rwlock_rdlock(&l->eng->index_lock);
    const struct inode_rec *past = past_or_inode(idx, leaving->ino);
    if (past)
        begin_gain(idx, past, leaving->n_older, &g);
    if (past && S_ISREG(past->mode))
        r = extents_scan(idx, ino_slot(leaving->ino), *from, EXTENT_XATTR_OFF, add_gain, &g);
    if (past && g.next == UINT64_MAX)
        g.bytes += gain_of_xattrs(&g, past);
    pthread_rwlock_unlock(&l->eng->index_lock);
    l->of[leaving->snapshot].alone += g.bytes;
    *from = g.next;
    return MIN_OF(r, 0);
}

static int look_at_plan(struct look *l, uint64_t *last)
{
    int r = 0;
    for (size_t i = 0; i < l->n_plan && !r; i++)
        for (uint64_t from = 0; from != UINT64_MAX && !r;) {
            r = look_at_leaving(l, &l->plan[i], &from);
            job_yield(last);
        }
    l->n_plan = 0;
    return r;
}

/* ---- all inodes ------------------------------------------------------------------------- */

static int look_at_all(struct look *l)
{
    struct eng *eng = l->eng;
    uint64_t last = 0;
    bool more = true;
    int r = 0;
    for (uint32_t slot = 1; more && !r;) {
        pthread_rwlock_rdlock(&eng->index_lock);
        for (l->looks = 0; l->looks < LOOKS && slot < l->idx->inodes.used && !r; slot++) {
            const struct inode_rec *inode = index_slot(l->idx, slot);
            l->looks++;
            if (inode && !(inode->flags & INODE_PAST) && (inode->past || inode->past_name))
                r = look_at_line(l, slot, inode);
        }
        more = slot < l->idx->inodes.used;
        pthread_rwlock_unlock(&eng->index_lock);
        atomic_fetch_add_explicit(&eng->looks, 1, memory_order_relaxed);
        job_yield(&last);
        if (!r)
            r = look_at_plan(l, &last);
    }
    return r;
}

/* The snapshots and the floor of one moment; *ret_seq: its batch. */
static int begin(struct look *l, uint64_t *ret_seq)
{
    struct eng *eng = l->eng;
    pthread_rwlock_rdlock(&eng->index_lock);
    *ret_seq = eng->published_seq;
    l->floor = index_is_kept_whole(l->idx) ? l->idx->s.floor : UINT64_MAX;
    int r = index_snapshots(l->idx, &l->batches, &l->n);
    pthread_rwlock_unlock(&eng->index_lock);
    l->of = r ? NULL : calloc(l->n + 1, sizeof *l->of);
    for (size_t i = 0; l->of && i < l->n; i++)
        l->of[i].batch = l->batches[i];
    return r || l->of ? r : -ENOMEM;
}

/* Under the lock of ps. */
static int look(struct eng *eng, struct past_space *ps)
{
    struct look l = {.eng = eng, .idx = &eng->idx};
    uint64_t seq = 0, from = mono_ns();
    int r = begin(&l, &seq);
    if (!r && l.n)
        r = look_at_all(&l);
    for (size_t i = 0; i < l.n && !r; i++)
        l.of[i].shared -= MIN_OF(l.of[i].alone, l.of[i].shared);
    free(l.plan);
    free(l.goes);
    free(l.batches);
    if (r) {
        free(l.of);
        return r;
    }
    free(ps->of);
    ps->of = l.of;
    ps->n = l.n;
    ps->shown = l.shown;
    ps->seq = seq;
    ps->at = mono_ns();
    ps->took = ps->at - from;
    return 0;
}

/* ---- asking ----------------------------------------------------------------------------- */

#define LONG_NS UINT64_C(10000000)
#define SHARE 32u

static uint64_t published(struct eng *eng)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    uint64_t seq = eng->published_seq;
    pthread_rwlock_unlock(&eng->index_lock);
    return seq;
}

/* A look that is no older than that, in ns, or than the last change. Under the lock of ps. */
static int look_if_old(struct eng *eng, struct past_space *ps, uint64_t max_age)
{
    if (ps->seq != UINT64_MAX && (ps->seq == published(eng) || mono_ns() - ps->at < max_age))
        return 0;
    return look(eng, ps);
}

/* Without a look: nothing of the past is shown by snapshots, or all of it. */
static bool is_plain(struct eng *eng, uint64_t *ret_bytes)
{
    pthread_rwlock_rdlock(&eng->index_lock);
    const struct index *idx = &eng->idx;
    uint64_t bytes = index_past_bytes(idx);
    bool is_whole = index_is_kept_whole(idx), has_snapshots = idx->s.newest_snapshot;
    pthread_rwlock_unlock(&eng->index_lock);
    *ret_bytes = has_snapshots ? bytes : 0;
    return !has_snapshots || !is_whole || !bytes || !loading_is_done(&eng->loading);
}

uint64_t past_space_of_snapshots(struct eng *eng)
{
    struct past_space *ps = eng->past_space;
    uint64_t bytes;
    if (is_plain(eng, &bytes))
        return bytes;
    pthread_mutex_lock(&ps->lock);
    uint64_t max_age = ps->took > LONG_NS ? SHARE * ps->took : 0;
    bytes = look_if_old(eng, ps, max_age) ? 0 : ps->shown;
    pthread_mutex_unlock(&ps->lock);
    return bytes;
}

static const struct eng_snapshot_space *find(const struct past_space *ps, uint64_t batch)
{
    for (size_t i = 0; i < ps->n; i++)
        if (ps->of[i].batch == batch)
            return &ps->of[i];
    return NULL;
}

int eng_snapshot_space(struct eng *eng, uint64_t batch, unsigned max_age_ms,
                       struct eng_snapshot_space *ret_space)
{
    if (!eng || !ret_space)
        return -EINVAL;
    struct past_space *ps = eng->past_space;
    int r = loading_await(&eng->loading);
    if (r)
        return r;
    pthread_mutex_lock(&ps->lock);
    r = look_if_old(eng, ps, max_age_ms * UINT64_C(1000000));
    const struct eng_snapshot_space *found = r ? NULL : find(ps, batch);
    if (!r && !found && ps->seq != published(eng)) { /* it may be newer than the last look */
        r = look(eng, ps);
        found = r ? NULL : find(ps, batch);
    }
    if (found)
        *ret_space = *found;
    pthread_mutex_unlock(&ps->lock);
    return r || found ? r : -ENOENT;
}
