/*
 * rollback_plan.c - see rollback_plan.h.
 *
 * Where the two views may differ a sweep finds (diff_changed.h): names in folders, by the folders' inodes. So
 * a folder that was renamed is one name, whatever is below it. What a folder was before it came into this
 * one, and what becomes of what has left it, nobody can say: that is refused. */
#include "tree/rollback_plan.h"

#include "tree/attr.h"
#include "tree/entries.h"
#include "tree/past_view.h"

#define BALANCE_NONE (UINT64_C(1) << 32)
#define SECTION_NAMES 256u

static int64_t balance_of(const struct idmap *map, uint32_t slot)
{
    uint64_t n = idmap_get(map, slot);
    return n ? (int64_t)(n - BALANCE_NONE) : 0;
}

static int add_balance(struct idmap *map, uint32_t slot, int64_t by)
{
    if (idmap_reserve(map, 1) != 0)
        return -ENOMEM;
    idmap_set(map, slot, BALANCE_NONE + (uint64_t)(balance_of(map, slot) + by));
    return 0;
}

/* ---- where ------------------------------------------------------------------ */

/* Whether the folder lay in the one that is rolled back, or is it, at that batch. In a section. */
static bool is_inside(const struct rollback *rb, uint32_t dir, uint64_t at)
{
    const struct index *idx = rb->then->idx;
    for (uint64_t left = idx->s.n_dirs + 1; dir && left > 0; left--) {
        if (dir == rb->folder)
            return true;
        if (dir == ENG_ROOT_INO)
            return false;
        dir = index_parent_at(idx, dir, at);
    }
    return false;
}

static uint32_t child_at(const struct view *view, uint32_t dir, const struct diff_place *place)
{
    uint32_t slot = index_name_at(view->idx, dir, place->text, place->len, view->at);
    return slot && view_slot(view, slot) ? slot : 0;
}

/* ---- what ------------------------------------------------------------------- */

static bool is_full(const struct rollback *rb)
{
    return rb->n_names + rb->re.n >= ENG_ROLLBACK_MAX;
}

/* The inode becomes what it was; once. In a section. */
static int add_memory(struct rollback *rb, uint32_t slot)
{
    struct restoring *re = &rb->re;
    const struct inode_rec *inode = index_slot(rb->then->idx, slot);
    if (!inode || idmap_get(&rb->known, slot))
        return inode ? 0 : -EBADMSG;
    if (is_full(rb))
        return -E2BIG;
    if (array_grow(&re->all, &rb->cap_memories, re->n + 1, sizeof *re->all) ||
        idmap_reserve(&rb->known, 1) != 0)
        return -ENOMEM;
    idmap_set(&rb->known, slot, 1);
    uint64_t ino = index_ino(inode, slot);
    re->all[re->n++] = (struct memory){.ino = ino, .from = ino, .is_any = true, .view = rb->then};
    return 0;
}

static uint64_t ino_in(const struct rollback *rb, uint32_t slot)
{
    const struct inode_rec *inode = slot ? index_slot(rb->then->idx, slot) : NULL;
    return inode ? index_ino(inode, slot) : 0;
}

static bool is_folder(const struct rollback *rb, uint32_t slot)
{
    const struct inode_rec *inode = slot ? index_slot(rb->then->idx, slot) : NULL;
    return inode && S_ISDIR(inode->mode);
}

static int add_name(struct rollback *rb, const struct diff_place *place, uint32_t was, uint32_t is)
{
    if (is_full(rb))
        return -E2BIG;
    if (array_grow(&rb->names, &rb->cap_names, rb->n_names + 1, sizeof *rb->names))
        return -ENOMEM;
    rb->names[rb->n_names++] = (struct rollback_name){.dir = ino_in(rb, place->dir),
                                                      .was = ino_in(rb, was),
                                                      .is = ino_in(rb, is),
                                                      .is_of_folder = is_folder(rb, was) || is_folder(rb, is),
                                                      .len = place->len,
                                                      .text = place->text};
    int r = was ? add_balance(&rb->balance, was, 1) : 0;
    if (!r && is)
        r = add_balance(&rb->balance, is, -1);
    return r ? r : add_balance(&rb->inside, place->dir, (was != 0) - (is != 0));
}

static int add_place(struct rollback *rb, const struct diff_place *place, bool was_inside)
{
    uint32_t was = was_inside ? child_at(rb->then, place->dir, place) : 0;
    uint32_t is = child_at(&rb->now->view, place->dir, place);
    if (was == is && (!was || view_slot(rb->then, was) == view_slot(&rb->now->view, was)))
        return 0; /* something below it is another */
    int r = was ? add_memory(rb, was) : 0;
    if (r || was == is)
        return r;
    r = add_name(rb, place, was, is);
    return r || !was_inside ? r : add_memory(rb, place->dir);
}

/* Places of one folder, all in a section or two. */
static int add_places(struct rollback *rb, size_t first, size_t end)
{
    uint32_t dir = rb->changed.all[first].dir;
    int r = 0;
    while (first < end && !r) {
        size_t stop = MIN_OF(end, first + SECTION_NAMES);
        diff_begin(rb->then);
        bool was = is_inside(rb, dir, rb->then->at), is = is_inside(rb, dir, rb->now->view.at);
        for (; first < stop && (was || is) && !r; first++)
            r = add_place(rb, &rb->changed.all[first], was);
        r = diff_end(rb->then, &rb->now->view, r);
        first = was || is ? first : end;
    }
    return r;
}

/* ---- what comes from outside, or has gone there ------------------------------------ */

/* How many names an inode has in the view; of a folder one at most. In a section. */
static int64_t names_in(const struct view *view, uint32_t slot)
{
    struct eng_attr attr;
    struct folder_name name;
    if (!view_slot(view, slot) || !attr_show_past(*view, slot, &attr))
        return 0;
    if (S_ISDIR(attr.mode))
        return slot == ENG_ROOT_INO || index_folder_name_at(view->idx, slot, view->at, &name);
    return attr.nlink;
}

/* Whether a name led to it in the view: a record alone may be one that stands for a time without any. */
static bool had_name(const struct view *view, const struct inode_rec *inode)
{
    const struct past_name_rec *past = index_past_name(view->idx, inode->past_name);
    uint64_t left = view->idx->s.n_past_names;
    if (inode->dentry && index_name_begin(view->idx, inode->dentry) <= view->at)
        return true;
    for (; past && past->end > view->at && left > 0; left--) {
        if (past->begin <= view->at)
            return true;
        past = index_past_name(view->idx, past->of_inode);
    }
    return false;
}

/* What was there then has no more names afterwards than it had, and one at least. What is new has none left
 * that leads to a folder, with nothing in it. */
static int check_one(const struct rollback *rb, uint32_t slot)
{
    const struct inode_rec *inode = index_slot(rb->then->idx, slot);
    int64_t then = inode && had_name(rb->then, inode) ? names_in(rb->then, slot) : 0;
    int64_t after = names_in(&rb->now->view, slot) + balance_of(&rb->balance, slot);
    if (!inode)
        return -EBADMSG;
    if (then > 0 && (after == 0 || after > then))
        return -EXDEV;
    bool is_left = S_ISDIR(inode->mode) && !after && (int64_t)inode->size + balance_of(&rb->inside, slot) > 0;
    return is_left ? -EXDEV : 0;
}

static int check_names(const struct rollback *rb)
{
    int r = 0;
    for (size_t i = 0; i < rb->n_names && !r;) {
        diff_begin(rb->then);
        for (size_t left = SECTION_NAMES; i < rb->n_names && left > 0 && !r; left--, i++) {
            r = rb->names[i].was ? check_one(rb, ino_slot(rb->names[i].was)) : 0;
            if (!r && rb->names[i].is)
                r = check_one(rb, ino_slot(rb->names[i].is));
        }
        r = diff_end(rb->then, &rb->now->view, r);
    }
    return r;
}

/* ---- times -------------------------------------------------------------------------- */

/* Those of then. What comes and goes in a folder, and what is written, would set them. */
static int plan_times(struct rollback *rb)
{
    int r = 0;
    for (size_t i = 0; i < rb->re.n && !r;) {
        diff_begin(rb->then);
        for (size_t left = SECTION_NAMES; i < rb->re.n && left > 0; left--, i++) {
            struct memory *m = &rb->re.all[i];
            struct eng_attr then, now;
            uint32_t slot = ino_slot(m->ino);
            bool has_both =
                attr_show_past(*rb->then, slot, &then) && attr_show_past(rb->now->view, slot, &now);
            m->mtime = has_both ? then.mtime : 0;
            m->sets_mtime = has_both && (restore_is_changed(m) || balance_of(&rb->inside, slot) ||
                                         idmap_get(&rb->inside, slot) || then.mtime != now.mtime);
        }
        r = diff_end(rb->then, &rb->now->view, r);
    }
    return r;
}

/* ---- all of it ---------------------------------------------------------------------- */

static int begin_plan(struct rollback *rb)
{
    diff_begin(rb->then);
    const struct inode_rec *then = index_slot(rb->then->idx, view_slot(rb->then, rb->folder));
    int r = then && S_ISDIR(then->mode) && is_inside(rb, rb->folder, rb->then->at) ? 0 : -ESTALE;
    if (!r)
        r = add_memory(rb, rb->folder);
    return (int)view_end(rb->then, r);
}

static int find(struct rollback *rb)
{
    int r = diff_find_changed(rb->then, &rb->now->view, &rb->changed);
    for (size_t i = 0, end; i < rb->changed.n && !r; i = end) {
        for (end = i + 1; end < rb->changed.n && rb->changed.all[end].dir == rb->changed.all[i].dir;)
            end++;
        r = add_places(rb, i, end);
    }
    return r;
}

int rollback_plan(struct rollback *rb)
{
    rb->re.eng = rb->eng;
    int r = past_view_of_now(rb->eng, true, &rb->now);
    if (!r)
        r = begin_plan(rb);
    if (!r && rb->now->view.at > rb->then->at)
        r = find(rb);
    if (!r && rb->folder != ENG_ROOT_INO) /* outside of which there is nothing */
        r = check_names(rb);
    if (!r)
        r = restore_plan(&rb->re);
    return r ? r : plan_times(rb);
}

void rollback_plan_free(struct rollback *rb)
{
    restore_free(&rb->re);
    rb->re = (struct restoring){0};
    diff_free_changed(&rb->changed);
    free(STEAL(rb->names));
    rb->n_names = rb->cap_names = rb->cap_memories = 0;
    idmap_done(&rb->known);
    idmap_done(&rb->balance);
    idmap_done(&rb->inside);
    rb->known = rb->balance = rb->inside = (struct idmap){0};
    eng_view_close(STEAL(rb->now));
}

int rollback_is_stale(const struct rollback *rb, bool *ret_stale)
{
    const struct view is = past_view_under_lock(rb->eng);
    struct diff_changed since = {0};
    *ret_stale = false;
    if (is.at == rb->now->view.at || MUTANT(ROLLBACK_PLAN_STALE))
        return 0;
    int r = diff_find_changed(&rb->now->view, &is, &since);
    diff_begin(&is);
    for (size_t i = 0; i < since.n && !r && !*ret_stale; i++)
        *ret_stale =
            is_inside(rb, since.all[i].dir, is.at) || is_inside(rb, since.all[i].dir, rb->now->view.at);
    r = diff_end(&rb->now->view, &is, r);
    diff_free_changed(&since);
    return r;
}
