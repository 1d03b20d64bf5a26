/*
 * attr.c - see attr.h. Also eng_getattr(), eng_state() and eng_accessed(). */
#include "tree/attr.h"

#include "commit/atimes.h"
#include "index/past_names.h"
#include "index/times.h"

#define DAY_NS (INT64_C(86400) * 1000000000)

void attr_fill(const struct inode_rec *inode, uint32_t slot, struct eng_attr *ret_attr)
{
    bool device = S_ISBLK(inode->mode) || S_ISCHR(inode->mode);
    *ret_attr = (struct eng_attr){
        .ino = index_ino(inode, slot),
        .size = inode->size,
        .bytes = inode_bytes(inode),
        .rdev = device ? inode->rdev : 0,
        .atime = inode->atime,
        .mtime = inode->mtime,
        .ctime = inode->ctime,
        .btime = inode->btime,
        .mode = inode->mode,
        .nlink = inode->nlink + (S_ISDIR(inode->mode) && inode->nlink ? 1 : 0), /* its own "." */
        .uid = inode->uid,
        .gid = inode->gid,
        .version = inode->version,
        .generation = inode->generation,
    };
}

/* ---- of a past view (docs/lab/history-design.md, 4) ---------------------------- */

#define FOLDER_LOOKS 4096u

/* What changes of its names may have left in the folder's record, as the view shows it. */
static void show_folder(const struct view *view, uint32_t slot, struct eng_attr *attr)
{
    struct folder_at folder;
    int64_t changed = view->time;
    attr->nlink = 1; /* not known: it has "." */
    if (index_folder_at(view->idx, slot, view->at, FOLDER_LOOKS, &folder) == 0) {
        attr->nlink = (uint32_t)(2 + folder.n_dirs); /* its name, ".", and ".." of those */
        attr->size = folder.n_names;
        changed = folder.changed ? index_time_of(view->idx, folder.changed) : attr->btime;
        changed = MIN_OF(changed, view->time);
    }
    attr->mtime = MIN_OF(attr->mtime, changed);
    attr->ctime = MIN_OF(attr->ctime, changed);
}

void attr_show_state(const struct view *view, uint32_t slot, const struct inode_rec *state,
                     struct eng_attr *ret_attr)
{
    bool is_past = state->flags & INODE_PAST;
    uint64_t end = is_past ? past_end(state) : UINT64_MAX;
    bool may_differ = view_may_differ(view, state->ctime);
    attr_fill(state, slot, ret_attr);
    ret_attr->ino = index_ino(index_slot(view->idx, slot), slot);
    ret_attr->generation = 0;
    ret_attr->atime = state->mtime;
    if (is_past && S_ISREG(state->mode))
        ret_attr->bytes = state->size; /* no state has all of it itself; see attr_bytes_past() */
    if (S_ISDIR(state->mode) && (may_differ || !state->nlink) && !MUTANT(FOLDER_AS_IT_IS))
        show_folder(view, slot, ret_attr);
    else if (!S_ISDIR(state->mode) && !MUTANT(LINKS_AS_RECORDED))
        ret_attr->nlink = index_links_at(view->idx, slot, state->nlink, end, view->at);
    if (may_differ)
        ret_attr->ctime = MIN_OF(ret_attr->ctime, view->time);
}

bool attr_show_past(struct view view, uint32_t slot, struct eng_attr *ret_attr)
{
    const struct inode_rec *state =
        index_slot(view.idx, slot) ? index_slot(view.idx, view_slot(&view, slot)) : NULL;
    if (state)
        attr_show_state(&view, slot, state, ret_attr);
    return state != NULL;
}

int attr_bytes_past(const struct view *view, uint64_t ino, uint64_t *ret_bytes)
{
    view_begin(view);
    uint32_t slot = index_inode(view->idx, ino) ? view_slot(view, ino_slot(ino)) : 0;
    const struct inode_rec *inode = index_slot(view->idx, slot);
    bool is_past = inode && inode->flags & INODE_PAST && S_ISREG(inode->mode);
    *ret_bytes = inode ? inode_bytes(inode) : 0;
    if (is_past)
        *ret_bytes = MUTANT(PAST_HAS_NO_HOLES) ? inode->size : past_payload(view->idx, slot);
    return (int)view_end(view, inode ? 0 : -ESTALE);
}

/* ---- in any view ------------------------------------------------------------------ */

int attr_get(const struct view *view, uint64_t ino, struct eng_attr *ret_attr)
{
    view_begin(view);
    /* Found by slot, the record's second cache line need not wait for the number in its first. */
    bool found = index_inode(view->idx, ino) && attr_of(view, ino_slot(ino), ret_attr);
    return (int)view_end(view, found ? 0 : -ESTALE);
}

VIEW_HOT int eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr)
{
    if (!eng || !ret_attr)
        return -EINVAL;
    struct view live = view_live(eng);
    return attr_get(&live, ino, ret_attr);
}

int attr_get_state(const struct view *view, uint64_t ino, uint64_t *ret_state)
{
    view_begin(view);
    const struct inode_rec *state = view_state(view, ino);
    if (state)
        *ret_state = state->state;
    return (int)view_end(view, state ? 0 : -ESTALE);
}

int eng_state(struct eng *eng, uint64_t ino, uint64_t *ret_state)
{
    if (!eng || !ret_state)
        return -EINVAL;
    struct view live = view_live(eng);
    return attr_get_state(&live, ino, ret_state);
}

/* ---- access times -------------------------------------------------------------- */

/* The rule of relatime: an atime tells whether something was read since it changed, and the day. */
static bool is_stale(const struct eng_attr *attr, int64_t now)
{
    return attr->atime <= attr->mtime || attr->atime <= attr->ctime || now - attr->atime >= DAY_NS;
}

void eng_accessed(struct eng *eng, uint64_t ino)
{
    struct eng_attr attr;
    if (!eng || !eng->opt.relatime || is_read_only(eng))
        return;
    int64_t now = now_ns();
    if (eng_getattr(eng, ino, &attr) != 0 || !is_stale(&attr, now))
        return;
    for (unsigned tries = 0; tries < 2; tries++) {
        if (atimes_add(eng, ino, now))
            return;
        atimes_flush(eng); /* if that fails the time is not kept */
    }
}
