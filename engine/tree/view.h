/*
 * view.h - what a reader looks at: the live index, or a frozen one; later a past one, or a follower's.
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
 *
 * A view keeps no segment. Content of the live one is kept by pins (I1); content of a frozen one by whoever
 * froze it, see view_freeze().
 *
 * Locking: index_lock shared, or none, as the view says. index_lock prefers writers: no section within
 * another. */
#ifndef ENGRAMFS_VIEW_H
#define ENGRAMFS_VIEW_H

#include "core/eng.h"

struct view {
    struct eng *eng; /* the store: its segments, its disk, its reports */
    const struct index *idx;
    pthread_rwlock_t *lock; /* protects idx; NULL: idx does not change */
    bool is_live;
};

/* The store as it is. Whoever holds log.lock may read it without a section. */
static inline struct view view_live(struct eng *eng)
{
    return (struct view){.eng = eng, .idx = &eng->idx, .lock = &eng->index_lock, .is_live = true};
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
 * which then looks as if nothing were there. */
static inline ssize_t view_end(const struct view *view, ssize_t r)
{
    int doubt = eng_doubt(view->eng);
    if (view->lock)
        pthread_rwlock_unlock(view->lock);
    return doubt ? doubt : r;
}

/* For the eng_ calls that are made most: what they do with the live view is compiled for the live view. */
#define VIEW_HOT __attribute__((flatten))

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
