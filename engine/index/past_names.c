/*
 * past_names.c - see past_names.h.
 *
 * State: the table of past names; past_order, which leads from folder and cookie to the newest of a group;
 * past_lookup, by the hash of the text, for those that own theirs. The ring of a group: `next` leads to older
 * ones, from the oldest to none; `newer` back, and from the newest to the oldest. Its lives do not overlap,
 * and what was dropped leaves a gap; so each walk ends where ends do not fall, damaged or not. */
#include "index/past_names.h"

#include "base/util.h"
#include "engine.h"
#include "index/actors.h"

#include <string.h>

/* ---- groups --------------------------------------------------------------- */

uint32_t index_newest_past(const struct index *idx, uint32_t dir, uint64_t cookie)
{
    struct bkey key = {dir, cookie}, found;
    uint32_t i;
    if (!idx->past_order.count || btree_ceil(&idx->past_order, key, &found, &i) != 0)
        return 0;
    return found.a == dir && found.b == cookie ? i : 0;
}

bool index_has_past_names(const struct index *idx, uint32_t dir)
{
    struct bkey found;
    uint32_t i;
    return idx->past_order.count && btree_ceil(&idx->past_order, (struct bkey){dir, 0}, &found, &i) == 0 &&
           found.a == dir;
}

/* The next older one of the group, NULL none. */
static const struct past_name_rec *older(const struct index *idx, const struct past_name_rec *past)
{
    const struct past_name_rec *next = index_past_name(idx, past->next);
    return next && next->end < past->end ? next : NULL;
}

/* The member that was there at that batch, from `past` on; with `sharing` only as far as they share a text.
 * NULL: none. */
static const struct past_name_rec *member_at(const struct index *idx, const struct past_name_rec *past,
                                             uint64_t at, bool sharing)
{
    while (past && past->begin > at) {
        past = older(idx, past);
        if (past && sharing && !(past->flags & PAST_SHARES_TEXT))
            return NULL;
    }
    return past && at < past->end ? past : NULL;
}

/* The batch in which a live name began, whose group has `newest`; NULL: it has none. */
static uint64_t live_since(const struct dentry_rec *live, const struct past_name_rec *newest)
{
    return newest ? newest->end : live->cookie >> COOKIE_BATCH_SHIFT;
}

/* The newest past name of a live one's group, 0 none. */
static uint32_t newest_of(const struct index *idx, const struct dentry_rec *live)
{
    return live->flags & DENTRY_HAS_PAST ? index_newest_past(idx, live->parent, live->cookie) : 0;
}

uint64_t index_name_begin(const struct index *idx, uint32_t d)
{
    const struct dentry_rec *live = index_dentry(idx, d);
    return live ? live_since(live, index_past_name(idx, newest_of(idx, live))) : 0;
}

/* From both ends, of which one is near as a rule. */
uint32_t index_find_past(const struct index *idx, uint32_t dir, uint64_t cookie, uint64_t end)
{
    uint32_t a = index_newest_past(idx, dir, cookie), b;
    const struct past_name_rec *young = index_past_name(idx, a), *old;
    old = young ? index_past_name(idx, b = young->newer) : NULL;
    while (young && old && young->end >= end && old->end <= end) {
        if (young->end == end)
            return a;
        if (old->end == end)
            return b;
        a = young->next;
        young = older(idx, young);
        uint64_t last = old->end;
        old = index_past_name(idx, b = old->newer);
        if (old && old->end <= last)
            return 0;
    }
    return 0;
}

/* ---- a name at a batch ------------------------------------------------------ */

bool index_past_is_called(const struct index *idx, const struct past_name_rec *past, uint32_t dir,
                          const char *name, size_t len)
{
    if (!past || past->parent != dir || past->name_len != len)
        return false;
    const void *text = names_get(&idx->names, past->name, past->name_len);
    return text && memcmp(text, name, len) == 0;
}

struct find_at {
    const struct index *idx;
    uint32_t dir, hash;
    const char *name;
    size_t len;
    uint64_t at;
    uint32_t child;
};

static int find_by_text(void *arg, struct bkey key, const void *value)
{
    struct find_at *f = arg;
    uint32_t i;
    if (key.a != f->hash)
        return 1;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(f->idx, i);
    if (!index_past_is_called(f->idx, past, f->dir, f->name, f->len))
        return 0;
    past = member_at(f->idx, past, f->at, true);
    f->child = past ? past->child : 0;
    return past != NULL;
}

uint32_t index_name_at(const struct index *idx, uint32_t dir, const char *name, size_t len, uint64_t at)
{
    const struct dentry_rec *live = index_dentry(idx, index_find_name(idx, dir, name, len));
    if (live) {
        const struct past_name_rec *newest = index_past_name(idx, newest_of(idx, live));
        if (at >= live_since(live, newest))
            return live->child;
        bool is_shared = newest && newest->flags & PAST_SHARES_TEXT;
        const struct past_name_rec *past = is_shared ? member_at(idx, newest, at, true) : NULL;
        if (past)
            return past->child;
    }
    if (!idx->past_lookup.count)
        return 0;
    struct find_at f = {.idx = idx,
                        .dir = dir,
                        .hash = codec_name_hash(idx->hash_seed, dir, name, len),
                        .name = name,
                        .len = len,
                        .at = at};
    (void)btree_scan(&idx->past_lookup, (struct bkey){f.hash, 0}, find_by_text, &f);
    return f.child;
}

struct find_end {
    struct find_at by; /* but for `child`; one that ended behind `at` */
    bool found;
};

static int find_end(void *arg, struct bkey key, const void *value)
{
    struct find_end *f = arg;
    uint32_t i;
    if (key.a != f->by.hash)
        return 1;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(f->by.idx, i);
    f->found = past && past->end > f->by.at &&
               index_past_is_called(f->by.idx, past, f->by.dir, f->by.name, f->by.len);
    return f->found;
}

bool index_name_ended(const struct index *idx, uint32_t dir, const char *name, size_t len, uint64_t begin)
{
    const struct dentry_rec *live = index_dentry(idx, index_find_name(idx, dir, name, len));
    const struct past_name_rec *newest = live ? index_past_name(idx, newest_of(idx, live)) : NULL;
    struct find_end f = {.by = {.idx = idx,
                                .dir = dir,
                                .hash = codec_name_hash(idx->hash_seed, dir, name, len),
                                .name = name,
                                .len = len,
                                .at = begin}};
    if (newest && newest->flags & PAST_SHARES_TEXT && newest->end > begin)
        return true;
    if (idx->past_lookup.count)
        (void)btree_scan(&idx->past_lookup, (struct bkey){f.by.hash, 0}, find_end, &f);
    return f.found;
}

bool index_folder_name_at(const struct index *idx, uint32_t dir, uint64_t at, struct folder_name *ret_name)
{
    const struct inode_rec *inode = index_slot(idx, dir);
    const struct past_name_rec *past = inode ? index_past_name(idx, inode->past_name) : NULL;
    for (uint64_t left = idx->s.n_past_names; past && past->end > at && left > 0; left--) {
        if (past->begin <= at) {
            *ret_name = (struct folder_name){past->parent, past->name, past->name_len};
            return true;
        }
        past = index_past_name(idx, past->of_inode);
    }
    const struct dentry_rec *live = inode ? index_dentry(idx, inode->dentry) : NULL;
    if (!live || at < live_since(live, index_past_name(idx, newest_of(idx, live))))
        return false;
    *ret_name = (struct folder_name){live->parent, live->name, live->name_len};
    return true;
}

uint32_t index_parent_at(const struct index *idx, uint32_t dir, uint64_t at)
{
    struct folder_name name;
    if (dir == ENG_ROOT_INO)
        return index_slot(idx, dir) ? dir : 0;
    return index_folder_name_at(idx, dir, at, &name) ? name.parent : 0;
}

/* ---- listing ------------------------------------------------------------------ */

struct lister {
    const struct index *idx;
    struct list_at *list;
    uint64_t next;   /* cookie of the next group with past names, UINT64_MAX none */
    uint32_t newest; /* of that group */
    int r;           /* enum list_end, or -EBADMSG */
};

/* To the first group with past names from that cookie on. */
static int find_group(struct lister *l, uint64_t cookie)
{
    struct bkey key;
    int r = l->idx->past_order.count
                ? btree_ceil(&l->idx->past_order, (struct bkey){l->list->dir, cookie}, &key, &l->newest)
                : 1;
    l->next = !r && key.a == l->list->dir ? key.b : UINT64_MAX;
    return MIN_OF(r, 0);
}

static int show(struct lister *l, uint64_t cookie, uint32_t child, uint32_t name, uint16_t name_len)
{
    struct shown_name shown = {cookie, child, name, name_len};
    return l->list->emit(l->list->arg, &shown) ? LIST_STOPPED : LIST_END;
}

/* What the group shows, of which `newest` is a past one and `live`: NULL, none. */
static int list_group(struct lister *l, uint64_t cookie, const struct past_name_rec *newest,
                      const struct dentry_rec *live)
{
    if (!l->list->looks)
        return LIST_GOES_ON;
    int r = LIST_END;
    bool lives = live && l->list->at >= live_since(live, newest);
    const struct past_name_rec *past = lives ? NULL : member_at(l->idx, newest, l->list->at, false);
    if (past)
        r = show(l, cookie, past->child, past->name, past->name_len);
    if (!r && (lives || (past && live && MUTANT(SHOWN_TWICE))))
        r = show(l, cookie, live->child, live->name, live->name_len);
    if (r)
        return r;
    l->list->looks--;
    l->list->cookie = cookie;
    return LIST_END;
}

/* Groups without a live name, up to that cookie. */
static int list_ended(struct lister *l, uint64_t end)
{
    int r = 0;
    while (!r && l->next < end) {
        const struct past_name_rec *newest = index_past_name(l->idx, l->newest);
        r = newest ? list_group(l, l->next, newest, NULL) : -EBADMSG;
        if (!r)
            r = find_group(l, l->next + 1);
    }
    return r;
}

static int list_live(void *arg, struct bkey key, const void *value)
{
    struct lister *l = arg;
    uint32_t d;
    if (key.a != l->list->dir)
        return 1;
    memcpy(&d, value, sizeof d);
    const struct dentry_rec *live = index_dentry(l->idx, d);
    l->r = live ? list_ended(l, key.b) : -EBADMSG;
    bool has_past = l->next == key.b;
    const struct past_name_rec *newest = has_past ? index_past_name(l->idx, l->newest) : NULL;
    if (!l->r)
        l->r = has_past && !newest ? -EBADMSG : list_group(l, key.b, newest, live);
    if (!l->r && has_past)
        l->r = find_group(l, key.b + 1);
    return l->r;
}

int index_list_at(const struct index *idx, struct list_at *list)
{
    struct lister l = {.idx = idx, .list = list};
    if (list->cookie >= COOKIE_MAX)
        return LIST_END;
    l.r = find_group(&l, list->cookie + 1);
    if (l.r)
        return l.r;
    int r = btree_scan(&idx->dirs, (struct bkey){list->dir, list->cookie + 1}, list_live, &l);
    if (l.r || r < 0)
        return l.r ? l.r : r;
    return list_ended(&l, UINT64_MAX);
}

/* ---- link counts --------------------------------------------------------------- */

uint32_t index_links_at(const struct index *idx, uint32_t slot, uint32_t nlink, uint64_t end, uint64_t at)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    const struct past_name_rec *past = inode ? index_past_name(idx, inode->past_name) : NULL;
    for (uint64_t left = idx->s.n_past_names; past && past->end > at && left > 0; left--) {
        nlink += past->end < end && !(past->flags & PAST_MOVED);
        past = index_past_name(idx, past->of_inode);
    }
    return nlink;
}

/* ---- what a folder showed --------------------------------------------------------- */

struct count_at {
    const struct index *idx;
    uint32_t dir, looks;
    uint64_t at;
    struct folder_at *folder;
};

static void note_change(struct folder_at *folder, uint64_t batch)
{
    folder->changed = batch > folder->changed ? batch : folder->changed;
}

static int count_shown(void *arg, const struct shown_name *name)
{
    struct count_at *c = arg;
    const struct inode_rec *inode = index_slot(c->idx, name->child);
    c->folder->n_names++;
    c->folder->n_dirs += inode && S_ISDIR(inode->mode);
    if (name->cookie >> COOKIE_BATCH_SHIFT <= c->at)
        note_change(c->folder, name->cookie >> COOKIE_BATCH_SHIFT);
    return 0;
}

/* Of a group: the newest of its past names that ended by then. */
static int count_ended(void *arg, struct bkey key, const void *value)
{
    struct count_at *c = arg;
    uint32_t i;
    if (key.a != c->dir)
        return 1;
    memcpy(&i, value, sizeof i);
    const struct past_name_rec *past = index_past_name(c->idx, i);
    for (; past && c->looks && past->end > c->at; c->looks--)
        past = older(c->idx, past);
    if (!c->looks)
        return -E2BIG;
    c->looks--;
    if (past)
        note_change(c->folder, past->end);
    return 0;
}

int index_folder_at(const struct index *idx, uint32_t dir, uint64_t at, uint32_t looks,
                    struct folder_at *ret_folder)
{
    struct folder_at folder = {0};
    struct count_at c = {.idx = idx, .dir = dir, .looks = looks, .at = at, .folder = &folder};
    struct list_at list = {.dir = dir, .at = at, .looks = looks, .emit = count_shown, .arg = &c};
    int r = index_list_at(idx, &list);
    if (r)
        return r == LIST_GOES_ON ? -E2BIG : r;
    if (idx->past_order.count)
        r = btree_scan(&idx->past_order, (struct bkey){dir, 0}, count_ended, &c);
    if (r < 0)
        return r;
    *ret_folder = folder;
    return 0;
}

/* ---- memory ---------------------------------------------------------------------- */

uint64_t past_names_copies(const struct index *idx)
{
    return PAST_NAME_RECORDS + 2 * (uint64_t)(idx->past_order.depth + 1) +
           4 * (uint64_t)(idx->past_lookup.depth + 1);
}

void past_names_need(const struct op *op, struct past_need *need)
{
    need->names += op->type != OP_DROP_NAME && op->flags & OP_KEPT;
    need->texts++; /* its own, or that of one that shares it */
}

int past_names_reserve(struct index *idx, const struct past_need *need)
{
    int r = need->names ? table_reserve(&idx->past_names, need->names) : 0;
    if (!r && need->names)
        r = btree_reserve(&idx->past_order, need->names + 1);
    if (!r)
        r = btree_reserve(&idx->past_lookup, need->names + need->texts + 1);
    return r;
}

/* ---- changes ----------------------------------------------------------------------- */

static struct past_name_rec *past_mut(struct index *idx, uint32_t i)
{
    return index_past_name(idx, i) ? table_mut(&idx->past_names, i) : NULL;
}

/* Its text has no other owner any more: it is found by it. */
static int own_text(struct index *idx, uint32_t i)
{
    struct past_name_rec *past = past_mut(idx, i);
    past->flags &= (uint16_t)~PAST_SHARES_TEXT;
    return btree_put(&idx->past_lookup, (struct bkey){past->hash, i}, &i) == 0 ? 0 : -EBADMSG;
}

/* ---- making ---- */

/* The newest of its group and of its inode. */
static int put_past(struct index *idx, uint32_t i, const struct past_name_rec *rec)
{
    struct inode_rec *child = index_slot_mut(idx, rec->child);
    struct past_name_rec *of_older = rec->of_inode ? past_mut(idx, rec->of_inode) : NULL;
    if (!child || (rec->of_inode && !of_older))
        return -EBADMSG;
    if (of_older)
        of_older->of_newer = i;
    if (rec->next)
        past_mut(idx, rec->next)->newer = i;
    child->past_name = i;
    *(struct past_name_rec *)table_mut(&idx->past_names, i) = *rec;
    idx->s.n_past_names++;
    int r = btree_put(&idx->past_order, (struct bkey){rec->parent, rec->cookie}, &i);
    if (r < 0 || (r == 1) != (rec->next != 0))
        return -EBADMSG;
    return rec->flags & PAST_SHARES_TEXT ? 0 : own_text(idx, i);
}

static uint16_t end_of(const struct op *op)
{
    if (op->flags & OP_MOVED)
        return PAST_MOVED;
    if (op->type == OP_UNLINK)
        return PAST_REMOVED;
    return op->flags & OP_SAME ? PAST_REPLACED | PAST_SAME : PAST_REPLACED;
}

/* 1: it is kept; 0: nobody has seen it, since it began in this batch. */
static int keep(struct index *idx, uint32_t d, const struct op *op, uint64_t seq)
{
    const struct dentry_rec *name = index_dentry(idx, d);
    bool lives_on = op->type == OP_REPOINT;
    uint32_t next = newest_of(idx, name);
    const struct past_name_rec *before = index_past_name(idx, next);
    const struct inode_rec *child = index_slot(idx, name->child);
    uint64_t begin = live_since(name, before);
    if (!child)
        return -EBADMSG;
    if (begin >= seq)
        return 0;
    uint32_t i = table_alloc(&idx->past_names);
    struct past_name_rec rec = {.next = before ? next : 0,
                                .parent = name->parent,
                                .child = name->child,
                                .name = name->name,
                                .cookie = name->cookie,
                                .end = seq,
                                .hash = name->hash,
                                .name_len = name->name_len,
                                .flags = (uint16_t)(end_of(op) | (lives_on ? PAST_SHARES_TEXT : 0)),
                                .of_inode = child->past_name,
                                .actor = actors_now(idx, seq),
                                .begin = begin,
                                .newer = before ? before->newer : i};
    struct dentry_rec *left = table_mut(&idx->dentries, d);
    left->flags |= DENTRY_HAS_PAST;
    left->name = lives_on ? left->name : 0; /* the text is the past name's */
    int r = put_past(idx, i, &rec);
    return r ? r : 1;
}

int past_names_end(struct index *idx, uint32_t d, const struct op *op, uint64_t seq)
{
    int r = op->flags & OP_KEPT ? keep(idx, d, op, seq) : 0;
    const struct dentry_rec *name = index_dentry(idx, d);
    uint32_t newest = r || op->type == OP_REPOINT ? 0 : newest_of(idx, name);
    const struct past_name_rec *past = index_past_name(idx, newest);
    if (r < 0 || !past || !(past->flags & PAST_SHARES_TEXT))
        return MIN_OF(r, 0);
    ((struct dentry_rec *)table_mut(&idx->dentries, d))->name = 0;
    return own_text(idx, newest);
}

void past_names_join(struct index *idx, uint32_t d)
{
    const struct dentry_rec *name = index_dentry(idx, d);
    if (name && index_newest_past(idx, name->parent, name->cookie))
        ((struct dentry_rec *)table_mut(&idx->dentries, d))->flags |= DENTRY_HAS_PAST;
}

/* ---- dropping ---- */

static int drop_text(struct index *idx, uint32_t i, const struct past_name_rec *rec)
{
    if (rec->flags & PAST_SHARES_TEXT)
        return 0;
    if (btree_del(&idx->past_lookup, (struct bkey){rec->hash, i}) != 0)
        return -EBADMSG;
    const struct past_name_rec *next = index_past_name(idx, rec->next);
    bool is_shared = next && next->flags & PAST_SHARES_TEXT;
    if (!is_shared || MUTANT(TEXT_FREED_TWICE))
        names_free_cells(&idx->names, rec->name, rec->name_len);
    return is_shared ? own_text(idx, rec->next) : 0;
}

/* The last of its group has gone: a live name stands alone. */
static void leave_live(struct index *idx, const struct past_name_rec *rec)
{
    struct bkey key = {rec->parent, rec->cookie}, found;
    uint32_t d;
    if (btree_ceil(&idx->dirs, key, &found, &d) == 0 && found.a == key.a && found.b == key.b &&
        index_dentry(idx, d))
        ((struct dentry_rec *)table_mut(&idx->dentries, d))->flags &= (uint16_t)~DENTRY_HAS_PAST;
}

static int drop_from_group(struct index *idx, uint32_t i, const struct past_name_rec *rec)
{
    struct bkey key = {rec->parent, rec->cookie};
    uint32_t newest = index_newest_past(idx, rec->parent, rec->cookie);
    if (rec->newer == i) {
        leave_live(idx, rec);
        return btree_del(&idx->past_order, key) == 0 ? 0 : -EBADMSG;
    }
    /* The ring without it: from an older one, or from the newest to the oldest. */
    struct past_name_rec *back = past_mut(idx, rec->next ? rec->next : newest);
    if (!back)
        return -EBADMSG;
    back->newer = rec->newer;
    if (newest == i)
        return btree_put(&idx->past_order, key, &rec->next) == 1 ? 0 : -EBADMSG;
    struct past_name_rec *newer = past_mut(idx, rec->newer);
    if (!newer)
        return -EBADMSG;
    newer->next = rec->next;
    return 0;
}

static int drop_from_inode(struct index *idx, const struct past_name_rec *rec)
{
    struct past_name_rec *newer = past_mut(idx, rec->of_newer), *next = past_mut(idx, rec->of_inode);
    struct inode_rec *child = index_slot_mut(idx, rec->child);
    if (!child || (rec->of_newer && !newer) || (rec->of_inode && !next))
        return -EBADMSG;
    index_count_kept(idx, child, -1);
    if (next)
        next->of_newer = rec->of_newer;
    if (newer)
        newer->of_inode = rec->of_inode;
    else
        child->past_name = rec->of_inode;
    index_count_kept(idx, child, 1);
    idx->n_orphans += index_is_orphan(idx, child);
    return 0;
}

int past_names_drop(struct index *idx, const struct op *op)
{
    uint32_t i = index_find_past(idx, ino_slot(op->parent), op->cookie, op->end);
    const struct past_name_rec *past = index_past_name(idx, i);
    if (!past || past->child != ino_slot(op->ino) || !index_inode(idx, op->parent) ||
        !index_inode(idx, op->ino))
        return -EBADMSG;
    struct past_name_rec rec = *past;
    int r = drop_text(idx, i, &rec);
    if (!r)
        r = drop_from_group(idx, i, &rec);
    if (!r)
        r = drop_from_inode(idx, &rec);
    if (r)
        return r;
    *(struct past_name_rec *)table_mut(&idx->past_names, i) = (struct past_name_rec){0};
    table_free_record(&idx->past_names, i);
    if (index_is_kept_whole(idx) && rec.end > idx->s.floor)
        idx->s.inexact = MAX_OF(idx->s.inexact, rec.end);
    idx->s.n_past_names--;
    return 0;
}
