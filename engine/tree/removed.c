/*
 * removed.c - see removed.h. Also eng_removed_list() and eng_removed_find().
 *
 * Of the names of a group the newest alone can have been removed: no other joins the group behind it. So a
 * place is a cookie. */
#include "tree/removed.h"

#include "index/times.h"
#include "tree/attr.h"
#include "tree/entries.h"

#define REMOVED_BLOCK 64u
#define REMOVED_LOOKS 1024u /* at groups in one section */

/* ---- what counts --------------------------------------------------------------------- */

/* Since when the inode had a name all the time, until it lost its last one. */
static uint64_t last_life(const struct index *idx, const struct inode_rec *inode)
{
    const struct past_name_rec *past = index_past_name(idx, inode->past_name);
    uint64_t since = UINT64_MAX, left = idx->s.n_past_names;
    for (; past && left > 0 && (since == UINT64_MAX || past->end >= since); left--) {
        since = MIN_OF(since, past->begin);
        past = index_past_name(idx, past->of_inode);
    }
    return since;
}

/* past_at() finds a state from that batch on. */
static uint64_t oldest_state(const struct index *idx, const struct inode_rec *inode)
{
    uint64_t begin = past_head_begin(idx, inode), left = idx->s.n_past;
    for (inode = index_slot(idx, inode->past); inode && left > 0; left--) {
        begin = inode->flags & INODE_GOING ? begin : past_begin(inode);
        inode = index_slot(idx, inode->past);
    }
    return begin;
}

static const struct removed_inode *inode_of(struct removed_look *look, uint32_t slot)
{
    const struct index *idx = look->live.idx;
    struct removed_inode *found = &look->inodes[slot % REMOVED_INODES];
    if (found->slot != slot || MUTANT(CHAIN_WALKED_AGAIN)) {
        const struct inode_rec *inode = index_slot(idx, slot);
        *found = (struct removed_inode){slot, last_life(idx, inode), oldest_state(idx, inode)};
    }
    return found;
}

/* Whether a file had a name all the time since that one went: it is there by another one. */
static bool is_linked_since(const struct index *idx, const struct inode_rec *inode, uint64_t end)
{
    const struct inode_rec *state = index_slot(idx, inode->past);
    bool is_linked = inode->nlink && !S_ISDIR(inode->mode);
    for (uint64_t left = idx->s.n_past; is_linked && state && past_end(state) > end && left > 0; left--) {
        is_linked = state->nlink > 0 || MUTANT(LINKED_BEFORE);
        state = index_slot(idx, state->past);
    }
    return is_linked;
}

uint64_t removed_sight(struct removed_look *look, const struct name_life *life)
{
    const struct index *idx = look->live.idx;
    const struct inode_rec *inode = index_slot(idx, life->child);
    bool is_removed = life->flags & PAST_REMOVED || (life->flags & PAST_MOVED && MUTANT(MOVED_IS_DELETED));
    if (!life->past || !is_removed || !inode)
        return 0;
    if (inode->nlink && !(look->with_linked && is_linked_since(idx, inode, life->end)))
        return 0;
    const struct removed_inode *known = inode_of(look, life->child);
    if (!inode->nlink && life->end < known->life)
        return 0;
    uint64_t at = sighting_in(&look->sightings, life->begin, life->end);
    return at >= known->oldest ? at : 0;
}

/* ---- by name ------------------------------------------------------------------------- */

int removed_note(struct removed_look *look)
{
    look->noted = calloc(REMOVED_CACHE, sizeof *look->noted);
    return look->noted ? 0 : -ENOMEM;
}

void removed_begin(struct removed_look *look)
{
    memset(look->inodes, 0, sizeof look->inodes);
}

static void forget(struct removed_look *look, struct removed_noted *noted)
{
    look->n_numbers -= noted->n;
    free(noted->numbers);
    *noted = (struct removed_noted){0};
}

void removed_done(struct removed_look *look)
{
    for (size_t i = 0; look->noted && i < REMOVED_CACHE; i++)
        forget(look, &look->noted[i]);
    free(look->noted);
    look->noted = NULL;
    sightings_done(&look->sightings);
}

struct newest {
    struct removed_look *look;
    uint64_t number;
    bool is_hidden; /* by a folder that is there */
    uint64_t *numbers;
    size_t n, cap;
};

static int find_newest(void *arg, const struct name_life *life)
{
    struct newest *f = arg;
    const struct inode_rec *inode = index_slot(f->look->live.idx, life->child);
    if (!life->past)
        f->is_hidden = inode && S_ISDIR(inode->mode);
    if (!life->past || (life->end <= f->number && !f->look->noted) || !removed_sight(f->look, life))
        return 0;
    f->number = MAX_OF(f->number, life->end);
    int r = f->look->noted ? array_grow(&f->numbers, &f->cap, f->n + 1, sizeof *f->numbers) : 0;
    if (!r && f->look->noted)
        f->numbers[f->n++] = life->end;
    return r;
}

static uint64_t hash_of(const struct removed_look *look, const char *name, size_t len)
{
    uint64_t seed = look->live.idx->hash_seed;
    return codec_keyed_hash(codec_keyed_hash(seed, &look->dir, sizeof look->dir), name, len) | 1;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void note(struct removed_look *look, struct removed_noted *noted, uint64_t hash,
                 const struct newest *f)
{
    if (f->n > 1)
        qsort(f->numbers, f->n, sizeof *f->numbers, by_number);
    forget(look, noted);
    for (size_t i = 0; look->n_numbers && look->n_numbers + f->n > REMOVED_NUMBERS && i < REMOVED_CACHE; i++)
        forget(look, &look->noted[i]);
    *noted = (struct removed_noted){hash, f->is_hidden ? 0 : f->number, f->numbers, f->n};
    look->n_numbers += f->n;
}

/* All removals of that name: looked for once, as long as there is room for it. */
static int find_noted(struct removed_look *look, const char *name, size_t len,
                      struct removed_noted **ret_noted)
{
    struct newest f = {.look = look};
    uint64_t hash = hash_of(look, name, len);
    struct removed_noted *noted = &look->noted[(hash >> 1) % REMOVED_CACHE];
    *ret_noted = noted;
    if (noted->hash == hash && !MUTANT(REMOVALS_FOUND_AGAIN))
        return 0;
    int r = index_lives(look->live.idx, look->dir, name, len, find_newest, &f);
    if (r < 0)
        free(f.numbers);
    else
        note(look, noted, hash, &f);
    return MIN_OF(r, 0);
}

int removed_newest(struct removed_look *look, const char *name, size_t len, uint64_t *ret_number)
{
    struct newest f = {.look = look};
    struct removed_noted *noted = NULL;
    int r = look->noted ? find_noted(look, name, len, &noted)
                        : index_lives(look->live.idx, look->dir, name, len, find_newest, &f);
    if (r < 0)
        return r;
    *ret_number = f.is_hidden ? 0 : f.number;
    if (noted)
        *ret_number = noted->newest;
    return 0;
}

#define MS INT64_C(1000000)

static bool is_same_ms(const struct index *idx, uint64_t a, uint64_t b)
{
    int64_t x = index_time_of(idx, a), y = index_time_of(idx, b);
    if (x == TIME_UNKNOWN || y == TIME_UNKNOWN)
        return x == y;
    return x - (x % MS + MS) % MS == y - (y % MS + MS) % MS;
}

/* Times do not fall with numbers: the next one tells. */
int removed_last_then(struct removed_look *look, const char *name, size_t len, uint64_t number,
                      bool *ret_last)
{
    struct removed_noted *noted;
    int r = find_noted(look, name, len, &noted);
    if (r)
        return r;
    size_t lo = 0, hi = noted->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (noted->numbers[mid] <= number)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool is_last = lo == noted->n || noted->numbers[lo] == noted->newest;
    *ret_last = is_last || !is_same_ms(look->live.idx, noted->numbers[lo], number);
    return 0;
}

struct wanted {
    struct removed_look *look;
    uint64_t number;
    struct name_life *ret;
};

static int find_number(void *arg, const struct name_life *life)
{
    struct wanted *w = arg;
    if (life->end != w->number || !removed_sight(w->look, life))
        return 0;
    *w->ret = *life;
    return 1;
}

int removed_find(struct removed_look *look, const char *name, size_t len, uint64_t number,
                 struct name_life *ret_life)
{
    struct wanted w = {look, number, ret_life};
    int r = number ? 0 : removed_newest(look, name, len, &w.number);
    if (!r && w.number)
        r = index_lives(look->live.idx, look->dir, name, len, find_number, &w);
    if (r < 0)
        return r;
    return r ? 0 : -ENOENT;
}

/* ---- all of a folder -------------------------------------------------------------------- */

static int each_group(void *arg, struct bkey key, const void *value)
{
    struct removed_lister *l = arg;
    const struct index *idx = l->look->live.idx;
    uint32_t i;
    if (key.a != l->look->dir)
        return 1;
    if (!l->looks)
        return 2;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(idx, i);
    const void *text =
        past && past->name_len <= ENG_NAME_MAX ? names_get(&idx->names, past->name, past->name_len) : NULL;
    if (!text)
        return -EBADMSG;
    struct name_life life = {past->child, i, past->begin, past->end, past->flags};
    uint64_t at = removed_sight(l->look, &life);
    l->stopped = at ? l->emit(l->arg, &life, at, text, past->name_len) : 0;
    if (l->stopped)
        return 1;
    l->cookie = key.b;
    l->looks--;
    return 0;
}

int removed_each(struct removed_lister *lister, bool *ret_more)
{
    const struct index *idx = lister->look->live.idx;
    struct bkey from = {lister->look->dir, lister->cookie + 1};
    *ret_more = false;
    if (!idx->past_order.count || lister->cookie >= COOKIE_MAX)
        return 0;
    lister->stopped = 0;
    int r = btree_scan(&idx->past_order, from, each_group, lister);
    *ret_more = r == 2;
    return r < 0 ? r : lister->stopped;
}

/* ---- listing ------------------------------------------------------------------------------- */

struct removed_name {
    struct eng_removed removed;
    uint64_t place;
    char text[ENG_NAME_MAX + 1];
};

struct block {
    struct removed_look look;
    struct removed_lister lister;
    struct removed_name *names;
    size_t n;
};

static void show(const struct removed_look *look, const struct name_life *life, uint64_t at,
                 struct eng_removed *ret_removed)
{
    const struct index *idx = look->live.idx;
    struct view view = sighting_view(&look->live, at);
    *ret_removed = (struct eng_removed){
        .number = life->end,
        .time = index_time_of(idx, life->end),
        .seen_at = at,
        .ino = index_ino(index_slot(idx, life->child), life->child),
    };
    sighting_actor(idx, index_past_name(idx, life->past)->actor, &ret_removed->actor);
    (void)attr_show_past(view, life->child, &ret_removed->attr);
}

static int add_to_block(void *arg, const struct name_life *life, uint64_t sight, const char *text, size_t len)
{
    struct block *b = arg;
    struct removed_name *name = &b->names[b->n];
    uint64_t newest = 0;
    bool is_last = false;
    if (b->n == REMOVED_BLOCK)
        return 1;
    int r = removed_newest(&b->look, text, len, &newest);
    if (!r)
        r = removed_last_then(&b->look, text, len, life->end, &is_last);
    if (r)
        return r;
    memcpy(name->text, text, len);
    name->text[len] = 0;
    show(&b->look, life, sight, &name->removed);
    name->removed.name = name->text;
    name->removed.name_len = len;
    name->removed.newest = newest == life->end;
    name->removed.last_then = is_last;
    name->place = index_past_name(b->look.live.idx, life->past)->cookie;
    b->n++;
    return 0;
}

/* The next names; *ret_more: there may be others behind them. */
static int list_block(struct block *b, uint64_t folder, bool *ret_more)
{
    const struct inode_rec *inode;
    struct view live = b->look.live;
    b->n = 0;
    b->lister.looks = REMOVED_LOOKS;
    *ret_more = false;
    view_begin(&live);
    removed_begin(&b->look);
    int r = entries_dir(live.idx, folder, &inode);
    sightings_done(&b->look.sightings);
    b->look.sightings = (struct sightings){0};
    if (!r)
        r = sightings_of(&live, &b->look.sightings);
    if (!r) {
        r = removed_each(&b->lister, ret_more);
        *ret_more = *ret_more || r == 1;
    }
    return (int)view_end(&live, MIN_OF(r, 0));
}

int eng_removed_list(struct eng *eng, uint64_t folder, uint64_t place,
                     int (*emit)(void *arg, const struct eng_removed *removed, uint64_t place_behind),
                     void *arg)
{
    if (!eng || !emit)
        return -EINVAL;
    struct block b = {.look = {.live = view_live(eng), .dir = ino_slot(folder)},
                      .names = calloc(REMOVED_BLOCK, sizeof *b.names)};
    int r = b.names ? removed_note(&b.look) : -ENOMEM;
    b.lister = (struct removed_lister){.look = &b.look, .cookie = place, .emit = add_to_block, .arg = &b};
    for (bool more = true; more && !r;) {
        r = list_block(&b, folder, &more);
        for (size_t i = 0; i < b.n && !r; i++)
            r = emit(arg, &b.names[i].removed, b.names[i].place);
    }
    removed_done(&b.look);
    free(b.names);
    return r;
}

/* ---- one --------------------------------------------------------------------------------- */

/* Of batches, each up to the one before its end. */
struct span {
    struct removed_look *look;
    uint64_t first, end, unknown_end; /* of what has no known time: from 0 on */
    uint64_t newest, number;
};

/* The first batch that was at `time` or later, since later ones have no earlier times: a search that is made
 * once, and not for each life. Behind the last moment UINT64_MAX. */
static uint64_t first_batch(const struct index *idx, int64_t time)
{
    return index_next_moment(idx, time == INT64_MIN ? 0 : index_moment_at(idx, time - 1));
}

static struct span span_of(struct removed_look *look, int64_t first, int64_t last, uint64_t newest)
{
    const struct index *idx = look->live.idx;
    const bool is_open = last == TIME_UNKNOWN;
    return (struct span){.look = look,
                         .first = first_batch(idx, first),
                         .end = is_open ? UINT64_MAX : first_batch(idx, last + 1),
                         .unknown_end = is_open ? first_batch(idx, INT64_MIN) : 0,
                         .newest = newest};
}

static int find_number_at(void *arg, const struct name_life *life)
{
    struct span *s = arg;
    const bool is_in = (life->end >= s->first && life->end < s->end) || life->end < s->unknown_end;
    if (life->past && is_in && life->end > s->number && life->end != s->newest &&
        removed_sight(s->look, life))
        s->number = life->end;
    return 0;
}

/* From, to: ns since the epoch. */
struct times {
    int64_t first, last;
};

/* By its number or, with `times`, by when it was removed. In a section. */
static int find_one(struct removed_look *look, uint64_t number, const struct times *times,
                    struct eng_removed *found)
{
    struct name_life life;
    uint64_t newest = 0;
    const char *name = found->name;
    const size_t len = found->name_len;
    int r = removed_newest(look, name, len, &newest);
    if (!r && times) {
        struct span span = span_of(look, times->first, times->last, newest);
        r = index_lives(look->live.idx, look->dir, name, len, find_number_at, &span);
        number = span.number;
        if (!r && !number)
            r = -ENOENT;
    }
    if (!r)
        r = removed_find(look, name, len, number, &life);
    if (r)
        return r;
    show(look, &life, removed_sight(look, &life), found);
    found->name = name;
    found->name_len = len;
    found->newest = life.end == newest;
    return 0;
}

static int find(struct eng *eng, uint64_t folder, const char *name, uint64_t number,
                const struct times *times, struct eng_removed *ret_removed)
{
    if (!eng || !name || !ret_removed)
        return -EINVAL;
    struct removed_look look = {.live = view_live(eng), .dir = ino_slot(folder)};
    struct eng_removed found = {.name = name, .name_len = strlen(name)};
    const struct inode_rec *inode;
    view_begin(&look.live);
    int r = entries_dir(look.live.idx, folder, &inode);
    if (!r)
        r = entries_check_name(name);
    if (!r)
        r = sightings_of(&look.live, &look.sightings);
    if (!r)
        r = find_one(&look, number, times, &found);
    removed_done(&look);
    r = (int)view_end(&look.live, r);
    if (!r)
        *ret_removed = found;
    return r;
}

int eng_removed_find(struct eng *eng, uint64_t folder, const char *name, uint64_t number,
                     struct eng_removed *ret_removed)
{
    return find(eng, folder, name, number, NULL, ret_removed);
}

int eng_removed_find_at(struct eng *eng, uint64_t folder, const char *name, int64_t first, int64_t last,
                        struct eng_removed *ret_removed)
{
    return find(eng, folder, name, 0, &(struct times){first, last}, ret_removed);
}
