/*
 * past_view.h - what is behind an eng_view, for those who read two of them. */
#ifndef ENGRAMFS_PAST_VIEW_H
#define ENGRAMFS_PAST_VIEW_H

#include "tree/view.h"

struct eng_view {
    struct view view;
    unsigned place; /* among the views in use */
};

/* A view of the store as it is now, exact, as if a snapshot were made: what is changed from now on is kept
 * until it is closed. Nothing of it outlives the process. Of a store that has a past. -ENOMEM, -ENFILE. */
int past_view_of_now(struct eng *eng, struct eng_view **ret_view);

#endif
