/*
 * path_spans.c - see path_spans.h.
 *
 * What a path led to is found component by component: of each folder, as long as the path so far led there,
 * the lives of the entry. Where the path led nowhere before a life began, the line of its inode is followed
 * back by the former names of the inode, as far as the path led nowhere. */
#include "tree/path_spans.h"

#include "index/lives.h"

#define PATH_LIVES_MAX (16u * ENG_LIVES_MAX)

struct finder {
    const struct index *idx;
    struct path_spans *spans; /* of the path with this component */
    uint64_t last_end;        /* of what it led to so far */
    struct name_life *lives;  /* of the entry, folder by folder */
    size_t n_lives, cap_lives;
    struct found {
        size_t first, end; /* in lives */
    } * found;             /* each folder once */
    size_t n_found, cap_found;
    struct idmap numbers;     /* in found, from 1 on, by slot of the folder */
    size_t looks;             /* at so many lives more, of all components */
    struct path_spans former; /* newest first */
};

static int add_span(struct path_spans *spans, const struct path_span *span)
{
    if (spans->n == ENG_LIVES_MAX)
        return -ENOSPC;
    int r = array_grow(&spans->all, &spans->cap, spans->n + 1, sizeof *spans->all);
    if (!r)
        spans->all[spans->n++] = *span;
    return r;
}

/* ---- the lives of an entry ------------------------------------------------------------ */

static int add_life(void *arg, const struct name_life *life)
{
    struct finder *f = arg;
    if (f->n_lives - f->found[f->n_found - 1].first == ENG_LIVES_MAX || !f->looks--)
        return -ENOSPC;
    int r = array_grow(&f->lives, &f->cap_lives, f->n_lives + 1, sizeof *f->lives);
    if (!r)
        f->lives[f->n_lives++] = *life;
    return r;
}

static int by_begin(const void *a, const void *b)
{
    const struct name_life *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* Of the entry in that folder: looked for once, however often the path led to it. */
static int find_lives(struct finder *f, uint32_t dir, const char *name, size_t len, struct found *ret_found)
{
    uint64_t number = idmap_get(&f->numbers, dir);
    int r = 0;
    if (!number || MUTANT(LIVES_FOUND_AGAIN)) {
        r = idmap_reserve(&f->numbers, 1);
        if (!r)
            r = array_grow(&f->found, &f->cap_found, f->n_found + 1, sizeof *f->found);
        if (r)
            return r;
        struct found *found = &f->found[f->n_found++];
        found->first = f->n_lives;
        r = index_lives(f->idx, dir, name, len, add_life, f);
        found->end = f->n_lives;
        if (found->end - found->first > 1)
            qsort(f->lives + found->first, found->end - found->first, sizeof *f->lives, by_begin);
        number = f->n_found;
        idmap_set(&f->numbers, dir, number);
    }
    *ret_found = f->found[number - 1];
    return r;
}

/* The first life in [first, end) that has not ended at that batch. */
static size_t life_after(const struct finder *f, const struct found *found, uint64_t batch)
{
    size_t at = found->first, end = found->end;
    while (at < end) {
        size_t mid = at + (end - at) / 2;
        if (f->lives[mid].end <= batch)
            at = mid + 1;
        else
            end = mid;
    }
    return at;
}

static enum eng_version_event how_ended(uint16_t flags)
{
    if (flags & PAST_MOVED)
        return ENG_VERSION_RENAMED;
    if (flags & PAST_REPLACED)
        return ENG_VERSION_REPLACED;
    return flags & PAST_REMOVED ? ENG_VERSION_REMOVED : ENG_VERSION_PRESENT;
}

/* Whether the inode was made in that batch, although its state of then was too short to be kept: none that
 * was has been dropped. */
static bool is_made_then(const struct index *idx, uint32_t slot, uint64_t begin)
{
    const struct inode_rec *state = index_slot(idx, slot);
    for (uint64_t left = idx->s.n_past; state && state->past && left > 0; left--)
        state = index_slot(idx, state->past);
    bool is_whole = index_is_kept_whole(idx) && begin >= idx->s.floor;
    return is_whole && state && (!(state->flags & INODE_PAST) || past_number(state) == 1);
}

enum eng_version_event path_how_came(const struct index *idx, uint32_t slot, uint32_t former, uint64_t begin)
{
    const struct past_name_rec *past = index_past_name(idx, former);
    if (past)
        return past->flags & PAST_MOVED ? ENG_VERSION_RENAMED : ENG_VERSION_RESTORED;
    if (!begin || !past_at(idx, slot, begin))
        return is_made_then(idx, slot, begin) ? ENG_VERSION_CREATED : ENG_VERSION_UNKNOWN;
    return past_at(idx, slot, begin - 1) ? ENG_VERSION_LINKED : ENG_VERSION_CREATED;
}

/* ---- where the line came from ---------------------------------------------------------- */

/* The past name is the span's. */
static struct path_span former_span(const struct finder *f, uint32_t slot, const struct past_name_rec *past)
{
    return (struct path_span){.ino = index_ino(index_slot(f->idx, slot), slot),
                              .from = MAX_OF(past->begin, f->last_end),
                              .to = past->end,
                              .began = ENG_VERSION_RENAMED,
                              .ended = how_ended(past->flags)};
}

/* What the inode was called before it got a name out of nothing, back to where the path led somewhere. Where
 * such a name took another inode's place, it goes on with what that path led to before: a memory that was
 * saved by a rename over it. `i`: the first such name. */
static int follow(struct finder *f, uint32_t slot, uint32_t i)
{
    const struct past_name_rec *past = index_past_name(f->idx, i);
    f->former.n = 0;
    while (past && past->end > f->last_end) {
        if (!index_slot(f->idx, slot))
            return -EBADMSG;
        struct path_span span = former_span(f, slot, past);
        bool goes_on = past->begin > f->last_end && past->begin < past->end; /* damaged or not */
        uint32_t took_place = goes_on ? index_took_place(f->idx, past) : 0;
        bool looks = goes_on && past->of_inode && (!took_place || MUTANT(FOLLOWS_REPLACED));
        i = looks ? index_former_name(f->idx, slot, past->of_inode, past->begin) : 0;
        if (goes_on)
            span.began = took_place ? ENG_VERSION_REPLACED : path_how_came(f->idx, slot, i, span.from);
        i = took_place && !looks && !MUTANT(REPLACED_LEFT) ? took_place : i;
        past = index_past_name(f->idx, i);
        const struct past_name_rec *gone = took_place ? index_past_name(f->idx, took_place) : past;
        slot = past ? past->child : 0;
        if (gone && goes_on && span.began != ENG_VERSION_RESTORED)
            span.actor = gone->actor;
        span.goes_on = took_place && gone && gone->flags & PAST_SAME;
        int r = add_span(&f->former, &span);
        if (r)
            return r;
    }
    while (f->former.n) {
        int r = add_span(f->spans, &f->former.all[--f->former.n]);
        if (r)
            return r;
    }
    return 0;
}

/* ---- one component ---------------------------------------------------------------------- */

/* Life i of the entry, as long as the path led to the folder; `first` is its first one. */
static int add_entry(struct finder *f, const struct path_span *folder, size_t first, size_t i)
{
    const struct name_life *life = &f->lives[i], *before = i > first ? life - 1 : NULL;
    const struct inode_rec *inode = index_slot(f->idx, life->child);
    bool took_place = before && before->end == life->begin;
    bool came = life->begin >= folder->from, went = life->end <= folder->to;
    if (!inode)
        return -EBADMSG;
    if (life->begin >= folder->to || life->end <= folder->from)
        return 0;
    struct path_span span = {.ino = index_ino(inode, life->child),
                             .from = MAX_OF(life->begin, folder->from),
                             .to = MIN_OF(life->end, folder->to),
                             .began = ENG_VERSION_FOLDER,
                             .ended = went ? how_ended(life->flags) : ENG_VERSION_FOLDER,
                             .actor = folder->actor};
    const struct past_name_rec *gone = NULL;
    int r = 0;
    if (came && took_place) {
        span.began = ENG_VERSION_REPLACED;
        span.goes_on = before->flags & PAST_SAME;
        gone = index_past_name(f->idx, before->past);
    } else if (came) {
        uint32_t former = index_former_name(f->idx, life->child, life->past, life->begin);
        gone = index_past_name(f->idx, former);
        span.began = path_how_came(f->idx, life->child, former, life->begin);
        gone = span.began == ENG_VERSION_RENAMED ? gone : NULL;
        r = follow(f, life->child, former);
    }
    if (came)
        span.actor = gone ? gone->actor : 0;
    if (!r)
        r = add_span(f->spans, &span);
    f->last_end = span.to;
    return r;
}

static int find_component(struct finder *f, const struct path_spans *folders, const char *name, size_t len)
{
    struct found found = {0};
    int r = 0;
    f->last_end = 0;
    f->n_lives = f->n_found = 0;
    idmap_clear(&f->numbers);
    for (size_t i = 0; i < folders->n && !r; i++) {
        const struct path_span *folder = &folders->all[i];
        const struct inode_rec *inode = index_inode(f->idx, folder->ino);
        if (!inode || !S_ISDIR(inode->mode))
            continue;
        r = find_lives(f, ino_slot(folder->ino), name, len, &found);
        for (size_t k = r ? 0 : life_after(f, &found, folder->from); k < found.end && !r; k++) {
            if (f->lives[k].begin >= folder->to)
                break;
            r = add_entry(f, folder, found.first, k);
        }
    }
    return r;
}

/* ---- all of a path ------------------------------------------------------------------------- */

static int find_path(struct finder *f, const char *path)
{
    struct path_spans before = {0};
    int r = 0;
    for (path += strspn(path, "/"); *path && !r; path += strspn(path, "/")) {
        size_t len = strcspn(path, "/");
        struct path_spans free_now = before;
        before = *f->spans;
        *f->spans = free_now;
        f->spans->n = 0;
        r = len > ENG_NAME_MAX ? -ENAMETOOLONG : find_component(f, &before, path, len);
        path += len;
    }
    free(before.all);
    return r;
}

int path_spans_find(const struct index *idx, const char *path, struct path_spans *ret_spans)
{
    struct finder f = {.idx = idx, .spans = ret_spans, .looks = PATH_LIVES_MAX};
    struct path_span root = {
        .ino = ENG_ROOT_INO, .to = UINT64_MAX, .began = ENG_VERSION_CREATED, .ended = ENG_VERSION_PRESENT};
    *ret_spans = (struct path_spans){0};
    int r = add_span(ret_spans, &root);
    if (!r)
        r = find_path(&f, path);
    free(f.lives);
    free(f.found);
    idmap_done(&f.numbers);
    free(f.former.all);
    return r || ret_spans->n ? r : -ENOENT;
}

void path_spans_done(struct path_spans *spans)
{
    free(spans->all);
}
