/*
 * removed.c - eng_removed_list() and eng_removed_find(): names that were removed and are kept.
 *
 * Of the names of a group the newest alone can have been removed: no other joins the group behind it. So a
 * place is a cookie. */
#include "index/lives.h"
#include "index/times.h"
#include "tree/attr.h"
#include "tree/entries.h"
#include "tree/sightings.h"

#define REMOVED_BLOCK 64u
#define REMOVED_LOOKS 1024u /* at groups in one section */

struct removed_name {
    struct eng_removed removed;
    uint64_t place;
    char text[ENG_NAME_MAX + 1];
};

struct lister {
    struct view live;
    struct sightings sightings;
    uint32_t dir;
    struct removed_name *block;
    size_t n;
    uint64_t cookie; /* up to it was looked */
    unsigned looks;
    bool is_end;
    /* What was found last of a text: lists have the same again and again. */
    char text[ENG_NAME_MAX + 1];
    uint64_t newest;
};

/* ---- in a section -------------------------------------------------------------------- */

/* The batch of which a view shows what was removed; 0: the life is none of such a name, or not kept. */
static uint64_t removed_sight(const struct lister *l, const struct name_life *life)
{
    const struct inode_rec *inode = index_slot(l->live.idx, life->child);
    bool is_removed = life->flags & PAST_REMOVED || (life->flags & PAST_MOVED && MUTANT(MOVED_IS_DELETED));
    if (!life->past || !is_removed || !inode || inode->nlink)
        return 0;
    uint64_t at = sighting_in(&l->sightings, life->begin, life->end);
    return at && past_at(l->live.idx, life->child, at) ? at : 0;
}

struct newest {
    const struct lister *l;
    uint64_t number;
    bool is_hidden; /* by a folder that is there */
};

static int find_newest(void *arg, const struct name_life *life)
{
    struct newest *f = arg;
    const struct inode_rec *inode = index_slot(f->l->live.idx, life->child);
    if (!life->past)
        f->is_hidden = inode && S_ISDIR(inode->mode);
    else if (life->end > f->number && removed_sight(f->l, life))
        f->number = life->end;
    return f->is_hidden;
}

/* The batch that removed the newest one of that name; 0: a folder has the name. */
static int newest_of(const struct lister *l, const char *name, size_t len, uint64_t *ret_number)
{
    struct newest f = {.l = l};
    int r = index_lives(l->live.idx, l->dir, name, len, find_newest, &f);
    *ret_number = f.is_hidden ? 0 : f.number;
    return MIN_OF(r, 0);
}

static void show(const struct lister *l, const struct name_life *life, uint64_t at,
                 struct eng_removed *ret_removed)
{
    const struct index *idx = l->live.idx;
    struct view view = sighting_view(&l->live, at);
    *ret_removed = (struct eng_removed){
        .number = life->end,
        .time = index_time_of(idx, life->end),
        .seen_at = at,
        .ino = index_ino(index_slot(idx, life->child), life->child),
    };
    sighting_actor(idx, index_past_name(idx, life->past)->actor, &ret_removed->actor);
    (void)attr_show_past(view, life->child, &ret_removed->attr);
}

/* ---- all of a folder --------------------------------------------------------------------- */

static int list_one(struct lister *l, uint64_t cookie, const struct name_life *life, uint64_t at,
                    const struct past_name_rec *past)
{
    struct removed_name *name = &l->block[l->n];
    const void *text =
        past->name_len <= ENG_NAME_MAX ? names_get(&l->live.idx->names, past->name, past->name_len) : NULL;
    if (!text)
        return -EBADMSG;
    memcpy(name->text, text, past->name_len);
    name->text[past->name_len] = 0;
    if (!l->text[0] || strcmp(l->text, name->text) != 0) {
        int r = newest_of(l, name->text, past->name_len, &l->newest);
        if (r)
            return r;
        memcpy(l->text, name->text, sizeof l->text);
    }
    show(l, life, at, &name->removed);
    name->removed.name_len = past->name_len;
    name->removed.newest = l->newest == life->end;
    name->place = cookie;
    l->n++;
    return 0;
}

static int list_group(void *arg, struct bkey key, const void *value)
{
    struct lister *l = arg;
    uint32_t i;
    if (key.a != l->dir) {
        l->is_end = true;
        return 1;
    }
    if (!l->looks-- || l->n == REMOVED_BLOCK)
        return 1;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(l->live.idx, i);
    if (!past)
        return -EBADMSG;
    struct name_life life = {past->child, i, past->begin, past->end, past->flags};
    uint64_t at = removed_sight(l, &life);
    int r = at ? list_one(l, key.b, &life, at, past) : 0;
    l->cookie = key.b;
    return r;
}

static int list_block(struct lister *l, uint64_t folder)
{
    const struct inode_rec *inode;
    l->n = 0;
    l->looks = REMOVED_LOOKS;
    l->text[0] = 0;
    view_begin(&l->live);
    const struct index *idx = l->live.idx;
    int r = entries_dir(idx, folder, &inode);
    if (!r)
        r = sightings_of(&l->live, &l->sightings);
    if (!r) {
        struct bkey from = {l->dir, l->cookie + 1};
        r = idx->past_order.count ? btree_scan(&idx->past_order, from, list_group, l) : 0;
        l->is_end = l->is_end || !r;
        sightings_done(&l->sightings);
    }
    return (int)view_end(&l->live, MIN_OF(r, 0));
}

int eng_removed_list(struct eng *eng, uint64_t folder, uint64_t place,
                     int (*emit)(void *arg, const struct eng_removed *removed, uint64_t place_behind),
                     void *arg)
{
    if (!eng || !emit)
        return -EINVAL;
    struct lister *l = calloc(1, sizeof *l);
    int r = l ? 0 : -ENOMEM;
    if (l) {
        *l = (struct lister){.live = view_live(eng), .dir = ino_slot(folder), .cookie = place};
        l->block = calloc(REMOVED_BLOCK, sizeof *l->block);
        l->is_end = place >= COOKIE_MAX;
        r = l->block ? 0 : -ENOMEM;
    }
    while (!r && !l->is_end) {
        r = list_block(l, folder);
        for (size_t i = 0; i < l->n && !r; i++) {
            l->block[i].removed.name = l->block[i].text;
            r = emit(arg, &l->block[i].removed, l->block[i].place);
        }
    }
    if (l)
        free(l->block);
    free(l);
    return r;
}

/* ---- one --------------------------------------------------------------------------------- */

struct wanted {
    const struct lister *l;
    uint64_t number, newest;
    struct eng_removed *ret;
};

static int find_removed(void *arg, const struct name_life *life)
{
    struct wanted *w = arg;
    uint64_t at = life->end == w->number ? removed_sight(w->l, life) : 0;
    if (!at)
        return 0;
    show(w->l, life, at, w->ret);
    w->ret->newest = life->end == w->newest;
    return 1;
}

int eng_removed_find(struct eng *eng, uint64_t folder, const char *name, uint64_t number,
                     struct eng_removed *ret_removed)
{
    if (!eng || !name || !ret_removed)
        return -EINVAL;
    struct lister l = {.live = view_live(eng), .dir = ino_slot(folder)};
    struct eng_removed found;
    struct wanted w = {.l = &l, .ret = &found};
    const struct inode_rec *inode;
    size_t len = strlen(name);
    view_begin(&l.live);
    int r = entries_dir(l.live.idx, folder, &inode);
    if (!r)
        r = entries_check_name(name);
    if (!r)
        r = sightings_of(&l.live, &l.sightings);
    if (!r)
        r = newest_of(&l, name, len, &w.newest);
    w.number = number ? number : w.newest;
    if (!r)
        r = w.number ? index_lives(l.live.idx, l.dir, name, len, find_removed, &w) : 0;
    if (r >= 0)
        r = r ? 0 : -ENOENT;
    sightings_done(&l.sightings);
    r = (int)view_end(&l.live, r);
    if (r)
        return r;
    found.name = name;
    found.name_len = len;
    *ret_removed = found;
    return 0;
}
