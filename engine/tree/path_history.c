/*
 * path_history.c - eng_history() and eng_history_names(): what a path showed over time.
 *
 * A list is made first, in sections for each inode that the path led to, and told under no lock. What the
 * store keeps changes from one section to the next: what comes meanwhile is not told, nor what goes. */
#include "index/lives.h"
#include "index/times.h"
#include "tree/attr.h"
#include "tree/path_spans.h"
#include "tree/sightings.h"

/* Where the path led, as of now. */
struct led {
    struct view live;
    struct path_spans spans;
    struct sightings sightings;
};

static int lead(struct eng *eng, const char *path, struct led *led)
{
    *led = (struct led){.live = view_live(eng)};
    view_begin(&led->live);
    int r = path_spans_find(&eng->idx, path, &led->spans);
    if (!r)
        r = sightings_of(&led->live, &led->sightings);
    return (int)view_end(&led->live, r);
}

static void led_done(struct led *led)
{
    path_spans_done(&led->spans);
    sightings_done(&led->sightings);
}

/* ---- versions ---------------------------------------------------------------------- */

#define SHOWN_IN_SECTION 16u /* each may go through all past names of the inode, or of a folder */

struct told_state {
    uint32_t slot; /* of the record */
    uint64_t begin, end;
};

struct versions {
    struct led led;
    struct eng_version *all;
    size_t n, cap;
    struct inode_rec last; /* the state of the last one, of the inode */
    uint64_t last_ino;
    struct told_state *line; /* of the present span, newest first */
    size_t n_line, cap_line;
    bool is_first; /* none of that span was told */
    /* What is to be shown of the last one: the newest state of it, when it is known to be that. */
    uint32_t slot; /* 0: it is shown */
    uint64_t at;
    unsigned shown; /* in this section */
};

/* As past_at() has it, a state lasts until the next newer one that is shown begins. */
static int find_line(struct versions *v, const struct path_span *span)
{
    const struct index *idx = v->led.live.idx;
    const struct inode_rec *state = index_inode(idx, span->ino);
    uint32_t slot = ino_slot(span->ino);
    uint64_t begin = state ? past_head_begin(idx, state) : 0, end = UINT64_MAX, left = idx->s.n_past + 1;
    v->n_line = 0;
    while (state && end > span->from && left--) {
        bool is_shown = !(state->flags & INODE_GOING) && begin < MIN_OF(span->to, end);
        int r = is_shown ? array_grow(&v->line, &v->cap_line, v->n_line + 1, sizeof *v->line) : 0;
        if (r)
            return r;
        if (is_shown)
            v->line[v->n_line++] = (struct told_state){slot, begin, end};
        end = state->flags & INODE_GOING ? end : MIN_OF(end, begin);
        slot = state->past;
        state = index_slot(idx, slot);
        begin = state ? past_begin(state) : 0;
    }
    return 0;
}

/* Whether both are one version. */
static bool is_same(const struct versions *v, uint64_t ino, const struct inode_rec *state)
{
    const struct inode_rec *last = &v->last;
    return v->n && v->last_ino == ino && last->state == state->state && last->mode == state->mode &&
           last->uid == state->uid && last->gid == state->gid;
}

/* Whether the state is what the path showed before, by another inode: that took the other's place as it was,
 * and has not changed since. */
static bool goes_on(const struct versions *v, const struct path_span *span, const struct told_state *told,
                    const struct inode_rec *state)
{
    const struct inode_rec *last = &v->last;
    return span->goes_on && v->is_first && v->n && v->all[v->n - 1].ended == ENG_VERSION_REPLACED &&
           told->begin <= span->from && state->state >> 16 <= span->from && last->mode == state->mode &&
           last->uid == state->uid && last->gid == state->gid && !MUTANT(SAME_IS_ANOTHER);
}

static void show_last(struct versions *v)
{
    const struct view *live = &v->led.live;
    if (!v->slot)
        return;
    struct eng_version *version = &v->all[v->n - 1];
    const struct inode_rec *state = index_slot(live->idx, v->slot);
    struct view past = sighting_view(live, v->at);
    version->seen_at = v->at;
    if (v->at)
        attr_show_state(&past, ino_slot(version->ino), state, &version->attr);
    else
        attr_show(live, state, ino_slot(version->ino), &version->attr);
    v->slot = 0;
    v->shown++;
}

static void will_show(struct versions *v, const struct told_state *told, uint64_t at)
{
    v->slot = told->slot;
    v->at = at;
    if (MUTANT(EACH_STATE_SHOWN))
        show_last(v);
}

static int add_version(struct versions *v, const struct path_span *span, const struct told_state *told)
{
    const struct view *live = &v->led.live;
    const struct inode_rec *state = index_slot(live->idx, told->slot);
    uint64_t from = MAX_OF(told->begin, span->from), to = MIN_OF(told->end, span->to);
    uint64_t at = to == UINT64_MAX ? 0 : sighting_in(&v->led.sightings, from, to);
    bool is_made = span->began == ENG_VERSION_CREATED;
    bool is_first = told->begin <= span->from || (is_made && v->is_first);
    if (from > v->led.sightings.now || (!at && to != UINT64_MAX))
        return 0;
    bool is_last = is_same(v, span->ino, state) || goes_on(v, span, told, state);
    v->is_first = false;
    enum eng_version_event ended = told->end < span->to ? ENG_VERSION_CHANGED : span->ended;
    if (is_last) {
        v->all[v->n - 1].ended = ended;
        v->all[v->n - 1].ino = v->last_ino = span->ino;
        v->last = *state;
        will_show(v, told, at);
        return 0;
    }
    show_last(v);
    int r = array_grow(&v->all, &v->cap, v->n + 1, sizeof *v->all);
    if (r)
        return r;
    struct eng_version *version = &v->all[v->n++];
    *version = (struct eng_version){.number = from,
                                    .time = index_time_of(live->idx, from),
                                    .ino = span->ino,
                                    .began = is_first ? span->began : ENG_VERSION_CHANGED,
                                    .ended = ended};
    const struct inode_rec *maker = MUTANT(ACTOR_OF_LAST) ? index_inode(live->idx, span->ino) : state;
    sighting_actor(live->idx, is_first && !is_made ? span->actor : maker->actor, &version->actor);
    will_show(v, told, at);
    v->last = *state;
    v->last_ino = span->ino;
    return 0;
}

/* A section: states that ended behind *told_to, which moves on. 1: there are others. */
static int add_some_of(struct versions *v, const struct path_span *span, uint64_t *told_to)
{
    view_begin(&v->led.live);
    int r = find_line(v, span);
    v->shown = 0;
    size_t i = v->n_line;
    while (i && v->line[i - 1].end <= *told_to)
        i--;
    while (i && !r && v->shown < SHOWN_IN_SECTION) {
        r = add_version(v, span, &v->line[--i]);
        *told_to = v->line[i].end;
    }
    show_last(v);
    return (int)view_end(&v->led.live, r ? r : i > 0);
}

static int add_span_of(struct versions *v, const struct path_span *span)
{
    uint64_t told_to = 0;
    int r;
    v->is_first = true;
    do
        r = add_some_of(v, span, &told_to);
    while (r == 1);
    return r;
}

int eng_history(struct eng *eng, const char *path, int (*emit)(void *arg, const struct eng_version *version),
                void *arg)
{
    struct versions v = {0};
    if (!eng || !path || !emit)
        return -EINVAL;
    int r = lead(eng, path, &v.led);
    for (size_t i = 0; i < v.led.spans.n && !r; i++)
        r = add_span_of(&v, &v.led.spans.all[i]);
    if (!r && !v.n)
        r = -ENOENT;
    for (size_t i = 0; i < v.n && !r; i++)
        r = emit(arg, &v.all[i]);
    led_done(&v.led);
    free(v.line);
    free(v.all);
    return r;
}

/* ---- names ---------------------------------------------------------------------------- */

#define NAMES_TOLD 4096u
#define NAMES_LOOKS 1024u /* at names in one section */
#define PLACE_BIT (UINT64_C(1) << 62)

struct told_name {
    uint64_t place;
    uint16_t len;
    char text[ENG_NAME_MAX + 1];
};

/* The first names behind `place`, of more perhaps. */
struct names_told {
    struct led led;
    const struct path_span *span; /* of the present folder */
    uint64_t place, end;          /* what lies from `end` on is left for later */
    struct told_name *all;
    size_t n, cap;
    uint64_t cookie; /* in the present folder, up to which it was looked at */
    unsigned looks;
};

static int by_place(const void *a, const void *b)
{
    const struct told_name *x = a, *y = b;
    return (x->place > y->place) - (x->place < y->place);
}

/* In order, each once, and NAMES_TOLD at most. */
static void put_in_order(struct names_told *t)
{
    size_t n = 0;
    if (t->n)
        qsort(t->all, t->n, sizeof *t->all, by_place);
    for (size_t i = 0; i < t->n; i++)
        if (!n || t->all[i].place != t->all[n - 1].place)
            t->all[n++] = t->all[i];
    if (n > NAMES_TOLD) {
        t->end = t->all[NAMES_TOLD].place;
        n = NAMES_TOLD;
    }
    t->n = n;
}

static int add_name(struct names_told *t, uint32_t handle, uint16_t len)
{
    const struct index *idx = t->led.live.idx;
    const void *text = len <= ENG_NAME_MAX ? names_get(&idx->names, handle, len) : NULL;
    if (!text)
        return -EBADMSG;
    uint64_t place = codec_keyed_hash(idx->hash_seed, text, len) >> 2 | PLACE_BIT;
    if (place <= t->place || place >= t->end)
        return 0;
    if (t->n == 2 * (size_t)NAMES_TOLD)
        put_in_order(t);
    int r = array_grow(&t->all, &t->cap, t->n + 1, sizeof *t->all);
    if (r)
        return r;
    struct told_name *name = &t->all[t->n++];
    name->place = place;
    name->len = len;
    memcpy(name->text, text, len);
    name->text[len] = 0;
    return 0;
}

/* ---- of a folder ---- */

static bool is_in_folder(const struct names_told *t, uint64_t begin, uint64_t end)
{
    uint64_t from = MAX_OF(begin, t->span->from), to = MIN_OF(end, t->span->to);
    return to == UINT64_MAX ? from <= t->led.sightings.now : sighting_in(&t->led.sightings, from, to) != 0;
}

static int tell_live(void *arg, struct bkey key, const void *value)
{
    struct names_told *t = arg;
    const struct index *idx = t->led.live.idx;
    uint32_t d;
    if (key.a != ino_slot(t->span->ino))
        return 1;
    memcpy(&d, value, sizeof d);
    const struct dentry_rec *live = index_dentry(idx, d);
    if (!live)
        return -EBADMSG;
    if (!t->looks--)
        return 2;
    t->cookie = key.b;
    return is_in_folder(t, index_name_begin(idx, d), UINT64_MAX) ? add_name(t, live->name, live->name_len)
                                                                 : 0;
}

static int tell_group(void *arg, struct bkey key, const void *value)
{
    struct names_told *t = arg;
    const struct index *idx = t->led.live.idx;
    uint32_t i;
    if (key.a != ino_slot(t->span->ino))
        return 1;
    if (!t->looks)
        return 2;
    t->cookie = key.b;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(idx, i);
    for (uint64_t end = UINT64_MAX; past && past->end < end; past = index_past_name(idx, past->next)) {
        int r = is_in_folder(t, past->begin, past->end) ? add_name(t, past->name, past->name_len) : 0;
        if (r)
            return r;
        t->looks -= t->looks > 0;
        end = past->end;
    }
    return 0;
}

/* What one of the trees has of the folder. */
static int tell_tree(struct names_told *t, bool of_past)
{
    const struct view *live = &t->led.live;
    int r = 2;
    for (t->cookie = 0; r == 2;) {
        const struct btree *tree = of_past ? &live->idx->past_order : &live->idx->dirs;
        t->looks = NAMES_LOOKS;
        view_begin(live);
        struct bkey from = {ino_slot(t->span->ino), t->cookie + 1};
        bool is_there = tree->count && index_inode(live->idx, t->span->ino);
        if (is_there && of_past)
            r = btree_scan(tree, from, tell_group, t);
        else
            r = is_there ? btree_scan(tree, from, tell_live, t) : 1;
        r = (int)view_end(live, r);
    }
    return MIN_OF(r, 0);
}

static bool is_folder(struct names_told *t)
{
    const struct view *live = &t->led.live;
    view_begin(live);
    const struct inode_rec *inode = index_inode(live->idx, t->span->ino);
    bool is = inode && S_ISDIR(inode->mode);
    (void)view_end(live, 0);
    return is;
}

/* The folders' names behind `place`. */
static int find_names(struct names_told *t)
{
    int r = -ENOTDIR;
    t->n = 0;
    t->end = UINT64_MAX;
    for (size_t i = 0; i < t->led.spans.n && (!r || r == -ENOTDIR); i++) {
        t->span = &t->led.spans.all[i];
        if (!is_folder(t))
            continue;
        r = tell_tree(t, false);
        if (!r)
            r = tell_tree(t, true);
    }
    put_in_order(t);
    return r;
}

int eng_history_names(struct eng *eng, const char *path, uint64_t place,
                      int (*emit)(void *arg, const char *name, size_t len, uint64_t place_behind), void *arg)
{
    struct names_told t = {.place = place, .end = 0};
    if (!eng || !path || !emit)
        return -EINVAL;
    int r = lead(eng, path, &t.led);
    while (!r && t.end != UINT64_MAX) {
        r = find_names(&t);
        for (size_t i = 0; i < t.n && !r; i++) {
            t.place = t.all[i].place;
            r = emit(arg, t.all[i].text, t.all[i].len, t.place);
        }
    }
    led_done(&t.led);
    free(t.all);
    return r;
}
