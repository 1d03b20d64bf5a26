/*
 * view.c - frozen views, and damage that views meet. See view.h. */
#include "tree/view.h"

#include "commit/atimes.h"
#include "core/damage.h"
#include "core/keepers.h"
#include "image/freeze.h"

struct frozen {
    struct view view; /* the first member: view_thaw() is given its address */
    struct index idx;
    uint64_t freeze;
};

int view_freeze(struct eng *eng, struct view **ret_view)
{
    assert(keepers_holds(eng) > 0);
    struct frozen *frozen = calloc(1, sizeof *frozen);
    if (!frozen)
        return -ENOMEM;
    frozen->view = (struct view){.eng = eng, .idx = &frozen->idx, .at = VIEW_NOW};
    atimes_flush(eng);
    freeze_keep_warm(eng);
    int r = freeze_take(eng, &frozen->idx, &frozen->freeze);
    if (r) {
        free(frozen);
        return r;
    }
    *ret_view = &frozen->view;
    return 0;
}

void view_thaw(struct view *take_view)
{
    if (!take_view)
        return;
    struct frozen *frozen = (struct frozen *)take_view;
    struct eng *eng = take_view->eng;
    freeze_give_back(eng, &frozen->idx, frozen->freeze);
    free(frozen);
}

void view_damage(struct view view, uint64_t ino, uint64_t off, const struct locator *loc, const char *reason)
{
    struct past_piece piece = {.off = off, .loc = *loc};
    uint64_t holder = 0;
    if (view_is_past(&view)) {
        view_begin(&view);
        holder = past_holder(view.idx, ino_slot(ino), &piece);
        (void)view_end(&view, 0);
    }
    damage_record(view.eng, holder ? holder : ino, piece.off, &piece.loc, reason);
}
