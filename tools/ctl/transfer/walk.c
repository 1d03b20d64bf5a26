/*
 * walk.c - iterative tree walk. State: struct walk, with one open listing for
 * each level. */
#include "ctl/transfer/walk.h"

#include "ctl/transfer/temporary.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char walk_too_long[] = "its path is too long for this format (over 4095 bytes), use --format tree";

struct walk_frame {
    tdir dir, parent;
    struct target_scan *scan;
    size_t path_len; /* of this directory */
    struct target_attr attr;
};

/* Opens a directory as the new top. */
static int push(struct walk *w, tdir dir, tdir parent, size_t path_len, const struct target_attr *attr)
{
    struct walk_frame *frames = array_room(w->frames, w->depth, &w->cap, sizeof *frames);
    if (!frames)
        return -ENOMEM;
    w->frames = frames;
    struct walk_frame *f = &w->frames[w->depth];
    *f = (struct walk_frame){.dir = dir, .parent = parent, .path_len = path_len, .attr = *attr};
    int r = w->t->ops->scan_open(w->t, dir, &f->scan);
    if (!r)
        w->depth++;
    return r;
}

int walk_init(struct walk *w, struct target *t)
{
    struct target_attr none = {0};
    *w = (struct walk){.t = t};
    return push(w, t->root, t->root, 0, &none);
}

void walk_done(struct walk *w)
{
    while (w->depth > 0)
        w->t->ops->scan_close(w->frames[--w->depth].scan);
    free(w->frames);
    links_done(&w->gone);
    buf_done(&w->path_buf);
}

/* Sets `path` to that of the top frame and, if given, a name in it. */
static int set_path(struct walk *w, size_t dir_len, const char *name)
{
    struct buf *b = &w->path_buf;
    b->len = dir_len;
    if (name) {
        if (dir_len)
            buf_char(b, '/');
        buf_str(b, name);
    }
    if (!buf_reserve(b, 1))
        return -ENOMEM;
    b->data[b->len] = 0;
    w->path = b->data;
    w->path_len = b->len;
    const char *slash = strrchr(b->data, '/');
    w->name = slash ? slash + 1 : b->data;
    return 0;
}

static enum walk_event failed(struct walk *w, int error, enum walk_loss loss)
{
    bool gone = error == -ENOENT || error == -ESTALE; /* while we were on the way to it */
    if (gone && loss <= WALK_LOST_FOLDER)
        error = walk_gone(w);
    if (!error || w->seeks)
        return WALK_SKIPPED;
    w->error = error;
    w->loss = loss;
    w->folders += loss == WALK_LOST_FOLDER;
    w->cut += loss == WALK_LOST_REST;
    return WALK_ERROR;
}

int walk_gone(struct walk *w)
{
    struct links_first first;
    int r = links_note(&w->gone, &w->attr, S_ISDIR(w->attr.mode), w->path, &first);
    return r < 0 ? r : 0;
}

const char *walk_why(struct walk *w)
{
    static const char *const what[] = {
        [WALK_LOST_ENTRY] = "",
        [WALK_LOST_FOLDER] = "; a folder, left out with all in it",
        [WALK_LOST_REST] = "; a folder, not listed to its end",
        [WALK_MOVED] = "was moved here meanwhile, and is left out",
        [WALK_REMOVED] = "a folder that was removed meanwhile, perhaps with something moved out of it before",
    };
    if (w->loss >= WALK_MOVED)
        return what[w->loss];
    snprintf(w->why, sizeof w->why, "%s%s", target_strerror(w->error), what[w->loss]);
    return w->why;
}

static enum walk_event told(struct walk *w, int error, enum walk_loss loss)
{
    w->error = error;
    w->loss = loss;
    return WALK_ERROR;
}

/* All was seen: whether some of it has to be looked for, and then which folders were not found. */
static enum walk_event end(struct walk *w)
{
    struct target_attr none = {0};
    if (!w->seeks && w->gone.n) {
        w->seeks = true;
        if (push(w, w->t->root, w->t->root, 0, &none) == 0)
            return WALK_SKIPPED;
    }
    while (w->next_gone < w->gone.cap) {
        const struct links_first *f = &w->gone.table[w->next_gone++];
        if (!f->name || f->broken || !f->dir)
            continue;
        if (set_path(w, 0, f->name) < 0)
            return failed(w, -ENOMEM, WALK_LOST_ENTRY);
        w->folders++;
        return told(w, -ENOENT, WALK_REMOVED);
    }
    return WALK_END;
}

/* Whether the entry is one that was gone from where it was before. */
static bool was_gone(struct walk *w)
{
    struct links_first *f = w->gone.n ? links_find(&w->gone, &w->attr) : NULL;
    bool was = f && !f->broken;
    if (was)
        f->broken = true;
    return was;
}

/* The top frame is exhausted. */
static enum walk_event leave(struct walk *w)
{
    struct walk_frame *f = &w->frames[--w->depth];
    w->t->ops->scan_close(f->scan);
    if (w->depth == 0)
        return end(w);
    if (w->seeks)
        return WALK_SKIPPED;
    if (set_path(w, f->path_len, NULL) < 0)
        return failed(w, -ENOMEM, WALK_LOST_ENTRY);
    w->dir = f->parent;
    w->attr = f->attr;
    return WALK_LEAVE;
}

static enum walk_event enter(struct walk *w, tdir parent)
{
    tdir dir;
    int r = w->t->ops->subdir(w->t, parent, w->name, &w->attr, &dir);
    if (!r)
        r = push(w, dir, parent, w->path_len, &w->attr);
    if (r < 0)
        return failed(w, r, WALK_LOST_FOLDER);
    return w->seeks ? WALK_SKIPPED : WALK_ENTER;
}

enum walk_event walk_next(struct walk *w)
{
    if (w->depth == 0)
        return end(w);
    struct walk_frame *f = &w->frames[w->depth - 1];
    const char *name;
    int error = 0;
    int r = w->t->ops->scan_next(f->scan, &name, &w->attr, &error);
    if (!r)
        return leave(w);
    if (r < 0) { /* it is left without a WALK_LEAVE */
        w->t->ops->scan_close(f->scan);
        (void)set_path(w, f->path_len, NULL);
        w->depth--;
        return failed(w, r, WALK_LOST_REST);
    }
    enum walk_loss loss = S_ISDIR(w->attr.mode) ? WALK_LOST_FOLDER : WALK_LOST_ENTRY;
    if (set_path(w, f->path_len, name) < 0)
        return failed(w, -ENOMEM, loss);
    w->dir = f->dir;
    if (w->seeks && (error || !was_gone(w)))
        return !error && S_ISDIR(w->attr.mode) ? enter(w, f->dir) : WALK_SKIPPED;
    if (w->seeks) {
        w->folders += S_ISDIR(w->attr.mode);
        return told(w, -EREMCHG, WALK_MOVED);
    }
    if (!error)
        (void)was_gone(w);
    if (!S_ISDIR(w->attr.mode) && temporary_is(w->name, strlen(w->name))) {
        cli_complain(&w->unfinished, "%s: left out; no memory, but a file that an import has not finished",
                     w->path);
        return WALK_SKIPPED;
    }
    if (error)
        return failed(w, error, loss);
    if (w->t->self_ino && w->attr.ino == w->t->self_ino && w->attr.dev == w->t->self_dev)
        return failed(w, -EDEADLK, WALK_LOST_ENTRY);
    return S_ISDIR(w->attr.mode) ? enter(w, f->dir) : WALK_ENTRY;
}

tdir walk_entered(const struct walk *w)
{
    return w->frames[w->depth - 1].dir;
}

tdir walk_above(const struct walk *w, size_t depth)
{
    return w->frames[depth].dir;
}

void walk_skip(struct walk *w)
{
    struct walk_frame *f = &w->frames[--w->depth];
    w->t->ops->scan_close(f->scan);
}
