/*
 * past_view.h - what is behind an eng_view, for those who read two of them. */
#ifndef ENGRAMFS_PAST_VIEW_H
#define ENGRAMFS_PAST_VIEW_H

#include "tree/view.h"

struct eng_view {
    struct view view;
    unsigned place; /* among the views in use */
};

/* As eng_view_open(), of any batch as of a snapshot: what it shows stays until it is closed, whoever changes
 * it meanwhile, and however full the disk. Times may be inexact as ever. */
int past_view_open(struct eng *eng, uint64_t batch, struct eng_view **ret_view);
/* A view of the store as it is now, exact, as if a snapshot were made: what is changed from now on is kept
 * until it is closed. Nothing of it outlives the process. Of a store that has a past. `marks`: what changed
 * since is found quickly (image/ages.h); marks are few. -ENOMEM, -ENFILE. */
int past_view_of_now(struct eng *eng, bool marks, struct eng_view **ret_view);
/* Under log.lock: the store as it is, for who compares it with a view of now. */
struct view past_view_under_lock(struct eng *eng);

#endif
