/*
 * diff.c - eng_diff(): the paths at which two views of a store are not the same.
 *
 * What changed is found in the index (diff_changed.h); then a walk from the root tells it. A folder that is
 * the same inode at the same path in both views is looked at where there is a place in it; one of another
 * path, or that has taken another's, is listed whole, in both views. So each path is come to once, and what
 * costs something is told, or lies above it.
 *
 * State: struct diff, for one run. Nothing is held between two steps: both views are in use, so what they
 * show stays. Memory: the places, and a frame for each folder above what is told. */
#include "tree/attr.h"
#include "tree/diff_changed.h"
#include "tree/entries.h"
#include "tree/past_view.h"
#include "tree/xattrs.h"

#define BLOCK_NAMES 64u
#define LIST_LOOKS 1024u /* at groups of names in one section */

enum frame_kind {
    FRAME_PLACES, /* one folder, the same in both views */
    FRAME_BEFORE, /* all that the older view shows; then */
    FRAME_AFTER   /* what the newer one alone does */
};

struct frame {
    uint32_t before, after; /* slots of the folder in the two views, 0 none */
    enum frame_kind kind;
    size_t place, end; /* of FRAME_PLACES: those that are left */
    uint64_t cookie;   /* of the others: all up to that one were listed */
    bool is_listed;    /* nothing is behind that */
    size_t path_len;
};

struct listed {
    uint64_t cookie;
    uint32_t child;
    uint16_t len;
    char text[ENG_NAME_MAX];
};

struct diff {
    const struct view *a, *b;
    int (*emit)(void *arg, const struct eng_difference *difference);
    void *arg;
    struct diff_changed changed;
    struct frame *frames;
    size_t n_frames, cap_frames;
    char *path;
    size_t path_len, cap_path;
    struct listed *block; /* BLOCK_NAMES names of the folder on top, the next ones */
    unsigned n_block, next;
    char *names, *values[2]; /* of fields, ENG_XATTR_LIST_MAX and ENG_XATTR_SIZE_MAX bytes */
};

/* ---- in a section ---------------------------------------------------------------------- */

/* What a view shows at a path; slot 0: nothing. */
struct sight {
    uint32_t slot;
    struct eng_attr attr;
    uint64_t state;
};

static void look(const struct view *view, uint32_t slot, struct sight *ret)
{
    const struct inode_rec *state = slot ? index_slot(view->idx, view_slot(view, slot)) : NULL;
    *ret = (struct sight){0};
    if (state && attr_show_past(*view, slot, &ret->attr)) {
        ret->slot = slot;
        ret->state = state->state;
    }
}

static uint32_t child_of(const struct view *view, uint32_t dir, const char *text, size_t len)
{
    uint32_t slot = dir ? index_name_at(view->idx, dir, text, len, view->at) : 0;
    return slot && view_slot(view, slot) ? slot : 0;
}

static bool same_target(const struct index *idx, uint32_t x, uint32_t y)
{
    const struct inode_rec *one = index_slot(idx, x), *two = index_slot(idx, y);
    const char *a = names_get(&idx->names, one->target, (uint32_t)one->size);
    const char *b = names_get(&idx->names, two->target, (uint32_t)two->size);
    return a && b && one->size == two->size && memcmp(a, b, one->size) == 0;
}

/* Whether the content may differ: of two inodes nobody compares it. */
static bool content_differs(const struct index *idx, const struct sight *x, const struct sight *y)
{
    if (x->slot == y->slot)
        return S_ISREG(x->attr.mode) && (x->attr.version != y->attr.version || x->attr.size != y->attr.size);
    if (S_ISLNK(x->attr.mode))
        return !same_target(idx, x->slot, y->slot);
    return S_ISREG(x->attr.mode) || x->attr.rdev != y->attr.rdev;
}

/* What is not the same, but for fields. */
static unsigned compare(const struct index *idx, const struct sight *x, const struct sight *y)
{
    unsigned what = 0;
    if ((x->attr.mode ^ y->attr.mode) & S_IFMT)
        what |= ENG_DIFF_TYPE;
    else if (content_differs(idx, x, y))
        what |= ENG_DIFF_CONTENT;
    if ((x->attr.mode ^ y->attr.mode) & ~(uint32_t)S_IFMT)
        what |= ENG_DIFF_MODE;
    if (x->attr.uid != y->attr.uid || x->attr.gid != y->attr.gid)
        what |= ENG_DIFF_OWNER;
    return x->attr.mtime != y->attr.mtime ? what | ENG_DIFF_MTIME : what;
}

/* ---- fields ------------------------------------------------------------------------------ */

/* Whether `view` has all fields of the list with the values of the other one. What cannot be read counts as
 * changed. */
static bool has_all(struct diff *d, const struct view *view, uint64_t ino, const struct view *other,
                    uint64_t other_ino, ssize_t len)
{
    for (const char *name = d->names; name < d->names + len; name += strlen(name) + 1) {
        ssize_t n = xattrs_get(other, other_ino, name, d->values[0], ENG_XATTR_SIZE_MAX);
        if (n < 0 || xattrs_get(view, ino, name, d->values[1], ENG_XATTR_SIZE_MAX) != n ||
            memcmp(d->values[0], d->values[1], (size_t)n) != 0)
            return false;
    }
    return true;
}

static bool fields_differ(struct diff *d, const struct sight *x, const struct sight *y)
{
    if (x->slot == y->slot && x->state == y->state)
        return false;
    ssize_t size = xattrs_list(d->b, y->attr.ino, NULL, 0);
    ssize_t n = xattrs_list(d->a, x->attr.ino, d->names, ENG_XATTR_LIST_MAX);
    return n < 0 || size != n || !has_all(d, d->b, y->attr.ino, d->a, x->attr.ino, n);
}

/* ---- telling ------------------------------------------------------------------------------- */

static int tell(struct diff *d, enum eng_difference_kind kind, unsigned what, const struct sight *x,
                const struct sight *y)
{
    const struct eng_difference difference = {.kind = kind,
                                              .what = what,
                                              .path = d->path,
                                              .path_len = d->path_len,
                                              .before = x->slot ? &x->attr : NULL,
                                              .after = y->slot ? &y->attr : NULL};
    return d->emit(d->arg, &difference);
}

static int tell_both(struct diff *d, unsigned what, const struct sight *x, const struct sight *y)
{
    if (fields_differ(d, x, y))
        what |= ENG_DIFF_FIELDS;
    return what ? tell(d, ENG_DIFF_CHANGED, what, x, y) : 0;
}

/* ---- the way ------------------------------------------------------------------------------- */

/* The block belongs to the folder on top: what is left of it is listed again. */
static void leave_block(struct diff *d)
{
    struct frame *frame = &d->frames[d->n_frames - 1];
    frame->cookie = d->block[d->next - 1].cookie;
    frame->is_listed = false;
    d->n_block = d->next = 0;
}

static int enter(struct diff *d, const struct frame *frame)
{
    if (array_grow(&d->frames, &d->cap_frames, d->n_frames + 1, sizeof *d->frames))
        return -ENOMEM;
    if (d->next < d->n_block)
        leave_block(d);
    d->frames[d->n_frames] = *frame;
    d->frames[d->n_frames++].path_len = d->path_len;
    return 0;
}

/* Goes on into what is a folder in either view, if anything can differ there. */
static int enter_folders(struct diff *d, const struct sight *x, const struct sight *y)
{
    struct frame frame = {.before = x->slot && S_ISDIR(x->attr.mode) ? x->slot : 0,
                          .after = y->slot && S_ISDIR(y->attr.mode) ? y->slot : 0,
                          .kind = FRAME_BEFORE};
    if (!frame.before && !frame.after)
        return 0;
    if (frame.before == frame.after) {
        frame.kind = FRAME_PLACES;
        diff_places_in(&d->changed, frame.before, &frame.place, &frame.end);
    }
    return frame.kind == FRAME_PLACES && frame.place == frame.end ? 0 : enter(d, &frame);
}

static int set_path(struct diff *d, size_t folder, const char *text, size_t len)
{
    size_t at = folder + (folder > 0);
    if (array_grow(&d->path, &d->cap_path, at + len + 1, 1))
        return -ENOMEM;
    if (folder)
        d->path[folder] = '/';
    memcpy(d->path + at, text, len);
    d->path[at + len] = 0;
    d->path_len = at + len;
    return 0;
}

/* The path leads to these, each in its view. */
static int compare_path(struct diff *d, uint32_t before, uint32_t after)
{
    struct sight x, y;
    diff_begin(d->a);
    look(d->a, before, &x);
    look(d->b, after, &y);
    unsigned what = x.slot && y.slot ? compare(d->a->idx, &x, &y) : 0;
    int r = diff_end(d->a, d->b, 0);
    if (!r && x.slot && y.slot)
        r = tell_both(d, what, &x, &y);
    else if (!r && (x.slot || y.slot))
        r = tell(d, x.slot ? ENG_DIFF_REMOVED : ENG_DIFF_ADDED, 0, &x, &y);
    return r ? r : enter_folders(d, &x, &y);
}

static int step_place(struct diff *d, struct frame *frame)
{
    const struct diff_place *place = &d->changed.all[frame->place++];
    int r = set_path(d, frame->path_len, place->text, place->len);
    if (r)
        return r;
    diff_begin(d->a);
    uint32_t before = child_of(d->a, frame->before, place->text, place->len);
    uint32_t after = child_of(d->b, frame->after, place->text, place->len);
    r = diff_end(d->a, d->b, 0);
    return r ? r : compare_path(d, before, after);
}

/* ---- whole folders --------------------------------------------------------------------------- */

static int take_name(void *arg, const struct shown_name *name)
{
    struct diff *d = arg;
    const struct index *idx = d->a->idx;
    const struct inode_rec *last = d->n_block ? index_slot(idx, d->block[d->n_block - 1].child) : NULL;
    if (d->n_block == BLOCK_NAMES || (last && S_ISDIR(last->mode)))
        return 1;
    const char *text = names_get(&idx->names, name->name, name->name_len);
    if (!text || name->name_len > ENG_NAME_MAX)
        return -EBADMSG;
    struct listed *to = &d->block[d->n_block++];
    to->cookie = name->cookie;
    to->child = name->child;
    to->len = name->name_len;
    memcpy(to->text, text, name->name_len);
    return 0;
}

/* The next names of the folder, up to one of a folder: as a rule nothing is left of a block when one is
 * entered. */
static int list_some(struct diff *d, struct frame *frame)
{
    bool is_before = frame->kind == FRAME_BEFORE;
    struct list_at list = {.dir = is_before ? frame->before : frame->after,
                           .at = is_before ? d->a->at : d->b->at,
                           .cookie = MAX_OF(frame->cookie, UINT64_C(2)),
                           .looks = LIST_LOOKS,
                           .emit = take_name,
                           .arg = d};
    d->n_block = d->next = 0;
    diff_begin(d->a);
    int r = diff_end(d->a, d->b, list.dir ? index_list_at(d->a->idx, &list) : LIST_END);
    frame->cookie = list.cookie;
    frame->is_listed = r == LIST_END;
    return MIN_OF(r, 0);
}

static int step_listed(struct diff *d, const struct frame *frame)
{
    const struct listed *name = &d->block[d->next++];
    bool is_before = frame->kind == FRAME_BEFORE;
    int r = set_path(d, frame->path_len, name->text, name->len);
    if (r)
        return r;
    diff_begin(d->a);
    uint32_t before = child_of(d->a, frame->before, name->text, name->len);
    uint32_t after = child_of(d->b, frame->after, name->text, name->len);
    r = diff_end(d->a, d->b, 0);
    if (r || (!is_before && before)) /* was told */
        return r;
    return compare_path(d, before, after);
}

static int step(struct diff *d)
{
    struct frame *frame = &d->frames[d->n_frames - 1];
    if (frame->kind == FRAME_PLACES && frame->place < frame->end)
        return step_place(d, frame);
    if (frame->kind != FRAME_PLACES && d->next < d->n_block)
        return step_listed(d, frame);
    if (frame->kind != FRAME_PLACES && !frame->is_listed)
        return list_some(d, frame);
    if (frame->kind == FRAME_BEFORE) {
        frame->kind = FRAME_AFTER;
        frame->cookie = 0;
        frame->is_listed = false;
    } else {
        d->n_frames--;
    }
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int walk(struct diff *d)
{
    d->block = calloc(BLOCK_NAMES, sizeof *d->block);
    d->names = malloc(ENG_XATTR_LIST_MAX);
    d->values[0] = malloc(ENG_XATTR_SIZE_MAX);
    d->values[1] = malloc(ENG_XATTR_SIZE_MAX);
    if (!d->block || !d->names || !d->values[0] || !d->values[1])
        return -ENOMEM;
    int r = set_path(d, 0, "", 0);
    if (!r)
        r = compare_path(d, ENG_ROOT_INO, ENG_ROOT_INO);
    while (!r && d->n_frames)
        r = step(d);
    return r;
}

static int diff_views(struct diff *d)
{
    int r = diff_find_changed(d->a, d->b, &d->changed);
    if (!r)
        r = walk(d);
    diff_free_changed(&d->changed);
    free(d->frames);
    free(d->path);
    free(d->block);
    free(d->names);
    free(d->values[0]);
    free(d->values[1]);
    return r;
}

int eng_diff(struct eng_view *before, struct eng_view *after,
             int (*emit)(void *arg, const struct eng_difference *difference), void *arg)
{
    struct eng_view *now = NULL;
    if (!before || !emit || (after && after->view.eng != before->view.eng))
        return -EINVAL;
    int r = after ? 0 : past_view_of_now(before->view.eng, false, &now);
    const struct eng_view *to = after ? after : now;
    if (!r && to->view.at < before->view.at)
        r = -EINVAL;
    struct diff d = {.a = &before->view, .emit = emit, .arg = arg};
    if (!r && to->view.at > before->view.at) {
        d.b = &to->view;
        r = diff_views(&d);
    }
    eng_view_close(now);
    return r;
}
