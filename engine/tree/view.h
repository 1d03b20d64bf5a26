/*
 * view.h - what a reader looks at: the live index, a frozen one, or the store as it was after a batch; later
 * a follower's.
 *
 * Lookup, getattr, readdir, readlink, read, seek, getxattr and listxattr are functions over a view
 * (entries.h, attr.h, content.h, xattrs.h); the eng_ calls pass them the live one. The differences between
 * the views are here, and in no other file:
 *
 *   lock      held shared from view_begin() to view_end(). A view with a lock may change between two such
 *             sections, so content is pinned and then compared by generation (I2). A frozen index never
 *             changes: its view has no lock and compares nothing.
 *   is_live   access times that are noted beside the index are shown, and references from outside are
 *             counted. In any other view an inode has the times of the index, and nothing can free it.
 *   at        the names and states are shown whose lives contain that batch (docs/lab/history-design.md, 3
 *             and 4). What they hold never changes and lies where it lay when it was found, or has moved: so
 *             a reader compares no generation, and begins anew where a segment is gone.
 *
 * A view keeps no segment. Content of the live one is kept by pins (I1); content of a frozen one by whoever
 * froze it, see view_freeze().
 *
 * Locking: index_lock shared, or none, as the view says. index_lock prefers writers: no section within
 * another. */
#ifndef ENGRAMFS_VIEW_H
#define ENGRAMFS_VIEW_H

#include "core/eng.h"
#include "index/past_read.h"

#define VIEW_NOW UINT64_MAX

struct view {
    struct eng *eng; /* the store: its segments, its disk, its reports */
    const struct index *idx;
    pthread_rwlock_t *lock; /* protects idx; NULL: idx does not change */
    bool is_live;
    bool is_exact; /* of a past view: it is one of a snapshot, for which every record was kept */
    uint64_t at;   /* VIEW_NOW: idx as it is; else that of a past view */
    int64_t time;  /* of a past view: of its batch (index/times.h) */
};

/* The store as it is. Whoever holds log.lock may read it without a section. */
static inline struct view view_live(struct eng *eng)
{
    return (struct view){
        .eng = eng, .idx = &eng->idx, .lock = &eng->index_lock, .is_live = true, .at = VIEW_NOW};
}

static inline bool view_is_past(const struct view *view)
{
    return view->at != VIEW_NOW;
}

/* Whether a record with that ctime may have been changed behind the batch of a view that is not exact: names
 * of a folder, and times, leave no state. Where the clock was set back the moments behind the batch tell so,
 * but a change may have looked at the clock some time before its moment did. */
#define VIEW_SLACK_NS (INT64_C(10) * 1000000000)
static inline bool view_may_differ(const struct view *view, int64_t ctime)
{
    int64_t slack = MUTANT(SET_BACK_UNSEEN) ? 0 : VIEW_SLACK_NS;
    return !view->is_exact && (view->time == INT64_MAX || ctime > view->time - slack);
}

/* Between the two calls idx does not change. */
static inline void view_begin(const struct view *view)
{
    if (view->lock)
        pthread_rwlock_rdlock(view->lock);
    if (__builtin_expect(!loading_is_done(&view->eng->loading), 0))
        pool_missed = 0;
}

/* What the section has come to: `r`, or the error because of which a part of the index could not be had,
 * which then looks as if nothing were there. -ESTALE: the view is past, and the floor has passed it. */
static inline ssize_t view_end(const struct view *view, ssize_t r)
{
    int doubt = eng_doubt(view->eng);
    if (view_is_past(view) && !view->is_exact && view->at < view->idx->s.floor && !MUTANT(FLOOR_UNSEEN))
        r = -ESTALE; /* the past of then is not whole any more */
    if (view->lock)
        pthread_rwlock_unlock(view->lock);
    return doubt ? doubt : r;
}

/* For the eng_ calls that are made most: what they do with the live view is compiled for the live view. */
#define VIEW_HOT __attribute__((flatten))

/* The slot of the state that the inode in `slot` has in the view, in a section: its own, or that of a past
 * state. 0: the inode was not there, or that state is not kept. */
static inline uint32_t view_slot(const struct view *view, uint32_t slot)
{
    return view_is_past(view) ? past_at(view->idx, slot, view->at - MUTANT(STATE_TOO_EARLY)) : slot;
}
/* The record of that state, NULL: none. Of a past one some places mean something else (index.h). */
static inline const struct inode_rec *view_state(const struct view *view, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(view->idx, ino);
    return inode && view_is_past(view) ? index_slot(view->idx, view_slot(view, ino_slot(ino))) : inode;
}

/* Records that what the inode holds at `off` in the view (EXTENT_XATTR_OFF: as an xattr) cannot be read from
 * `loc`. Takes the view's lock. The view is a copy: one whose address goes nowhere is compiled away. */
void view_damage(struct view view, uint64_t ino, uint64_t off, const struct locator *loc, const char *reason);

/* Counts a reference from outside to the inode in the slot, in a section. Nothing happens in a view that is
 * not live. */
static inline void view_ref(const struct view *view, uint32_t slot)
{
    if (view->is_live)
        (void)index_ref(&view->eng->idx, slot, 1);
}

/*
 * The store as it is now, for as long as the caller likes; access times that were only noted are written
 * first. The caller must hold the store (eng_hold(), keepers_hold()) from before this call until after
 * view_thaw(): no other keeper keeps the segments that the frozen index names from being unlinked (I4). The
 * memory is that of the chunks that writers change meanwhile. Several may live at once; all of them must be
 * thawed before the store is closed. The caller holds no lock. -ENOMEM. */
int view_freeze(struct eng *eng, struct view **ret_view);
/* Frees a view of view_freeze(), in which nobody may be reading any more. NULL is fine. */
void view_thaw(struct view *take_view);

#endif
