/*
 * copy.c - tree to tree: the walk through a target as a source of put.h.
 *
 * State: struct copy, for the run: the walk, the handles of the matching directories, and the first name of
 * each inode with several. */
#include "ctl/transfer/copy.h"

#include "ctl/transfer/fields.h"
#include "ctl/transfer/links.h"
#include "ctl/transfer/put.h"
#include "ctl/transfer/same.h"
#include "ctl/transfer/trust.h"
#include "ctl/transfer/walk.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IO_SIZE ((size_t)4 << 20)

struct level {
    tdir dir;
    bool fresh; /* made by us: nothing can be in the way inside */
};

struct copy {
    struct put put; /* the first member: the callbacks of the source get it */
    struct target *from;
    unsigned flags;
    struct walk walk;
    struct level *levels; /* of the destination, by depth of the walk */
    size_t cap_levels;
    struct links links; /* dir and name are those of the destination */
    bool rooted;        /* the root has its attributes */
    bool lost;          /* the last event of the walk was a WALK_ERROR */
    bool cut;           /* the current file was, while it was read: */
    uint64_t end;       /* it has no more than this */
    uint64_t total;     /* files to come, for the progress; 0: unknown */
};

static const char *where(const struct copy *c)
{
    return c->walk.path_len ? c->walk.path : c->from->path;
}

static void complain(struct put *p, int error)
{
    struct copy *c = (struct copy *)p;
    put_complain(p, where(c), c->lost ? walk_why(&c->walk) : target_strerror(error));
}

/* ---- hard links --------------------------------------------------------------- */

/* Links to the name under which this inode came before; *ret_linked false: it is the first. */
static int link_or_note(struct copy *c, tdir dir, const char *name, bool *ret_linked)
{
    struct links_first first;
    c->put.may_be_linked = c->walk.attr.nlink > 1;
    int r = c->put.may_be_linked ? links_note(&c->links, &c->walk.attr, dir, name, &first) : 0;
    int has = r > 0 ? put_has(&c->put, first.dir, first.name) : 0;
    if (has < 0)
        return has;
    if (r > 0 && !has) { /* it was refused */
        links_break(&c->links, &c->walk.attr);
        r = links_note(&c->links, &c->walk.attr, dir, name, &first);
    }
    *ret_linked = r > 0;
    if (r <= 0)
        return r;
    r = put_link(&c->put, first.dir, first.name, dir, name);
    c->put.result.links += !r;
    return r;
}

/* ---- content -------------------------------------------------------------------- */

struct stream {
    struct copy *c;
    struct target_file *in;
    uint64_t size;
};

/* What was read of the current file is neither what it was nor what it is. */
static int was_cut(struct copy *c, uint64_t end)
{
    c->cut = c->put.source_failed = true;
    c->end = end;
    return -EREMCHG;
}

/* Copies one range of data. */
static int stream_range(struct stream *s, struct sink *sink, char *buf, uint64_t from, uint64_t to)
{
    while (from < to && !cli_interrupted()) {
        size_t n = to - from < IO_SIZE ? (size_t)(to - from) : IO_SIZE;
        ssize_t got = s->c->from->ops->read(s->c->from, s->in, buf, n, from);
        s->c->put.source_failed = got < 0;
        if (got < 0)
            return (int)got;
        if ((size_t)got < n)
            return was_cut(s->c, from + (uint64_t)got);
        int r = sink_write(sink, buf, (size_t)got, from);
        if (r < 0)
            return r;
        from += (uint64_t)got;
    }
    return cli_interrupted() ? -EINTR : 0;
}

static int stream_content(void *arg, struct sink *sink)
{
    struct stream *s = arg;
    struct target *from = s->c->from;
    char *buf = malloc(IO_SIZE);
    int r = buf ? 0 : -ENOMEM;
    uint64_t at = 0, data, hole;
    while (!r && at < s->size) {
        data = at;
        hole = s->size;
        int e = from->ops->seek(from, s->in, at, SEEK_DATA, &data);
        if (e == -ENXIO)
            break; /* holes up to the end */
        /* Where holes cannot be asked for everything is data. */
        if (!e && from->ops->seek(from, s->in, data, SEEK_HOLE, &hole) < 0)
            hole = s->size;
        if (hole > s->size)
            hole = s->size;
        r = stream_range(s, sink, buf, data, hole);
        at = hole;
    }
    free(buf);
    if (!r && target_is_cut(from, s->in, s->size, &at))
        r = was_cut(s->c, at);
    return r < 0 ? r : sink_end(sink, s->size);
}

static int add_content(struct copy *c, struct target_file *in, struct eng_record *rec, uint64_t size)
{
    struct put *p = &c->put;
    uint64_t hole = size;
    bool asks = size > TARGET_HOLES_FROM && size <= BATCH_CONTENT_MAX;
    bool sparse = asks && !c->from->ops->seek(c->from, in, 0, SEEK_HOLE, &hole) && hole < size;
    if (size > BATCH_CONTENT_MAX || sparse) {
        struct stream s = {c, in, size};
        return put_streamed(p, rec, size, stream_content, &s);
    }
    char *content = pool_alloc(batch_pool(p->batch), (size_t)size + 1);
    if (!content)
        return -ENOMEM;
    ssize_t n = c->from->ops->read(c->from, in, content, (size_t)size, 0);
    if (n < 0) {
        p->source_failed = true;
        return (int)n;
    }
    if ((uint64_t)n < size)
        return was_cut(c, (uint64_t)n);
    rec->content = content;
    rec->size = (size_t)n;
    return put_whole(p, rec);
}

/* Takes those that fit into a store, fields first. */
static int fit_xattrs(struct copy *c, struct eng_record *rec)
{
    struct eng_xattr_pair *x = pool_alloc(batch_pool(c->put.batch), (rec->n_xattrs + 1) * sizeof *x);
    char text[128];
    size_t n = 0, list = 0;
    if (!x)
        return -ENOMEM;
    for (size_t i = 0; i < 2 * rec->n_xattrs; i++) {
        const struct eng_xattr_pair *one = &rec->xattrs[i % rec->n_xattrs];
        bool is_field = !strncmp(one->name, FIELD_OWN_PREFIX, sizeof FIELD_OWN_PREFIX - 1);
        size_t size = strlen(one->name) + 1;
        if (is_field != (i < rec->n_xattrs) || n == ENG_XATTR_COUNT_MAX || list + size > ENG_XATTR_LIST_MAX)
            continue;
        list += size;
        x[n++] = *one;
    }
    if (n < rec->n_xattrs) {
        snprintf(text, sizeof text,
                 "%zu of its %zu attributes are more than a memory can have, and are left out",
                 rec->n_xattrs - n, rec->n_xattrs);
        put_complain(&c->put, where(c), text);
    }
    rec->xattrs = x;
    rec->n_xattrs = n;
    return 0;
}

/* Leaves out those that are not taken over from this source. */
static int limit_xattrs(struct copy *c, struct eng_record *rec)
{
    struct eng_xattr_pair *x = pool_alloc(batch_pool(c->put.batch), (rec->n_xattrs + 1) * sizeof *x);
    char text[ENG_XATTR_NAME_MAX + 256];
    size_t n = 0;
    if (!x)
        return -ENOMEM;
    for (size_t i = 0; i < rec->n_xattrs; i++) {
        if (!trust_has_not(c->from, rec->xattrs[i].name)) {
            x[n++] = rec->xattrs[i];
            continue;
        }
        snprintf(text, sizeof text, "the attribute %s %s", rec->xattrs[i].name, trust_why_attribute);
        put_complain(&c->put, where(c), text);
    }
    rec->xattrs = x;
    rec->n_xattrs = n;
    return 0;
}

/* The attributes of the source's file, in the batch's pool; with an error those that can be read. */
static int load_xattrs(struct copy *c, struct target_file *f, struct eng_record *rec)
{
    int r = target_load_xattrs(c->from, f, batch_pool(c->put.batch), &rec->xattrs, &rec->n_xattrs);
    int limit = r != -ENOMEM && rec->n_xattrs && c->from->limited ? limit_xattrs(c, rec) : 0;
    if (limit < 0)
        return limit;
    int fit = r != -ENOMEM && rec->n_xattrs && (c->flags & COPY_FIT) ? fit_xattrs(c, rec) : 0;
    return fit < 0 ? fit : r;
}

static int add_as(struct put *p, struct eng_record *rec, const struct target_attr *attr)
{
    struct copy *c = (struct copy *)p;
    const struct walk *w = &c->walk;
    struct target_attr now = *attr;
    struct target_file in;
    int r = target_open_file(c->from, w->dir, w->name, &now, &in);
    p->source_failed = r < 0;
    if (r < 0)
        return r;
    (void)trust_limit(c->from, &now); /* which was told of the entry */
    /* Content is never shown to others than those who may see the file that it is of. */
    rec->mode = now.mode;
    rec->uid = now.uid;
    rec->gid = now.gid;
    rec->mtime = now.mtime;
    r = load_xattrs(c, &in, rec);
    p->source_failed = r < 0;
    if (!r)
        r = add_content(c, &in, rec, now.size);
    (void)c->from->ops->close(c->from, &in);
    return r;
}

/* One that is cut meanwhile is read again: its name has not been given yet. */
static int add_file(struct put *p, struct eng_record *rec, const struct target_attr *attr)
{
    struct copy *c = (struct copy *)p;
    struct target_attr now = *attr;
    int r = -EREMCHG;
    c->cut = true;
    for (int i = 0; c->cut && i < CUTS_MAX; i++) {
        r = i ? c->from->ops->lookup(c->from, c->walk.dir, c->walk.name, &now) : 0;
        p->source_failed = r < 0;
        if (i && now.size > c->end) /* a file system may not know sizes */
            now.size = c->end;
        c->cut = false;
        if (!r)
            r = add_as(p, rec, &now);
    }
    return r;
}

/* ---- entries -------------------------------------------------------------------- */

static int copy_file(struct copy *c, tdir dir)
{
    const struct walk *w = &c->walk;
    enum put_way way = PUT_FREE;
    bool done;
    int r = link_or_note(c, dir, w->name, &done);
    if (r < 0 || done)
        return r;
    if (!c->levels[w->depth - 1].fresh)
        r = put_find_way(&c->put, dir, w->name, w->attr.nlink > 1, &way);
    if (!r)
        r = put_file(&c->put, dir, w->name, &w->attr, way);
    return r;
}

/* Those of a symlink or special file, which are guarded ones: from a store to a store. */
static int copy_other_xattrs(struct copy *c, tdir dir)
{
    const struct walk *w = &c->walk;
    struct eng_record rec = {.name = w->path};
    struct target_file in, out;
    struct target_attr made;
    if (c->from->kind != TARGET_STORE)
        return 0;
    batch_begin(c->put.batch);
    int r = c->from->ops->open(c->from, w->dir, w->name, &w->attr, false, &in);
    c->put.source_failed = r < 0;
    if (r < 0)
        return r;
    r = load_xattrs(c, &in, &rec);
    (void)c->from->ops->close(c->from, &in);
    c->put.source_failed = r < 0;
    if (r < 0 || !rec.n_xattrs)
        return r;
    if (c->put.to->kind != TARGET_STORE) {
        put_complain(&c->put, w->path, "the attributes of a symlink or special file are not kept");
        return 0;
    }
    r = put_lookup(&c->put, dir, w->name, &made);
    if (!r)
        r = c->put.to->ops->open(c->put.to, dir, w->name, &made, true, &out);
    if (r < 0)
        return r;
    r = same_add_xattrs(c->put.to, &out, &rec);
    (void)c->put.to->ops->close(c->put.to, &out);
    return r;
}

static int copy_other(struct copy *c, tdir dir)
{
    const struct walk *w = &c->walk;
    char link[PATH_MAX];
    bool is_link = S_ISLNK(w->attr.mode), done;
    ssize_t n = is_link ? c->from->ops->readlink(c->from, w->dir, w->name, &w->attr, link, sizeof link) : 0;
    c->put.source_failed = n < 0;
    if (n < 0)
        return (int)n;
    int r = link_or_note(c, dir, w->name, &done);
    if (r < 0 || done)
        return r;
    r = put_other(&c->put, dir, w->name, &w->attr, is_link ? link : NULL);
    return r < 0 ? r : copy_other_xattrs(c, dir);
}

static int set_level(struct copy *c, size_t depth, tdir dir, bool fresh)
{
    struct level *levels = array_room(c->levels, depth, &c->cap_levels, sizeof *levels);
    if (!levels)
        return -ENOMEM;
    c->levels = levels;
    c->levels[depth] = (struct level){dir, fresh};
    return 0;
}

/* Those of the directory just entered, which may be the root. */
static int load_dir_xattrs(struct copy *c, struct eng_record *rec)
{
    struct target_file in;
    batch_begin(c->put.batch);
    int r = c->from->ops->open_dir(c->from, walk_entered(&c->walk), &in);
    if (!r) {
        r = load_xattrs(c, &in, rec);
        (void)c->from->ops->close(c->from, &in);
    }
    c->put.source_failed = r == -ENOENT || r == -ESTALE; /* it is gone */
    if (r == -ENOMEM || c->put.source_failed)
        return r;
    if (r < 0) { /* what is in it does not depend on it */
        int gone = target_still_there(c->from);
        c->put.source_failed = c->put.ended = gone < 0;
        if (gone < 0)
            return gone;
        complain(&c->put, r);
    }
    return 0;
}

/* 1: the entry is left out. */
static int limit_entry(struct copy *c, struct target_attr *attr)
{
    const char *refused = trust_refuses(c->from, attr),
               *what = refused ? refused : trust_limit(c->from, attr);
    if (what)
        put_complain(&c->put, where(c), what);
    return refused != NULL;
}

static int copy_root(struct copy *c)
{
    struct eng_record rec = {.name = c->from->path};
    struct target_attr attr;
    int r = c->from->ops->getattr_dir(c->from, c->from->root, &attr);
    c->put.source_failed = r < 0;
    if (!r)
        limit_entry(c, &attr);
    if (!r)
        r = load_dir_xattrs(c, &rec);
    return r < 0 ? r : put_root(&c->put, c->from->path, &rec, &attr);
}

/* The directory was entered by the walk: its depth is one more than that of the destination's parent. */
static int copy_dir(struct copy *c)
{
    struct walk *w = &c->walk;
    const struct level *parent = &c->levels[w->depth - 2];
    struct eng_record rec = {.name = w->path};
    tdir up = parent->dir, dir = 0;
    int r = parent->fresh ? -ENOENT : put_enter(&c->put, up, w->name, -1, &dir);
    bool fresh = r == -ENOENT;
    if (fresh)
        r = c->put.to->ops->mkdir(c->put.to, up, w->name, 0700, &dir);
    if (!r)
        r = load_dir_xattrs(c, &rec);
    if (!r)
        r = put_xattrs(&c->put, dir, &rec);
    if (!r)
        r = put_set_later(&c->put, dir, w->path, w->depth, &w->attr);
    return r < 0 ? r : set_level(c, w->depth - 1, dir, fresh);
}

/* One event of the walk. */
static int copy_event(struct copy *c, enum walk_event event)
{
    struct walk *w = &c->walk;
    int r = 0;
    if ((event == WALK_ENTER || event == WALK_ENTRY) && limit_entry(c, &w->attr))
        return 0;
    if (event != WALK_LEAVE && put_is_reserved(&c->put, w->path)) {
        if (event == WALK_ENTER)
            walk_skip(w);
        return -EPERM;
    }
    switch (event) {
    case WALK_ERROR:
        c->put.source_failed = true;
        return w->error;
    case WALK_ENTER:
        r = copy_dir(c);
        if (r < 0)
            walk_skip(w);
        break;
    case WALK_LEAVE:
        c->put.result.dirs++;
        return 0;
    case WALK_ENTRY:
        r = S_ISREG(w->attr.mode) ? copy_file(c, c->levels[w->depth - 1].dir)
                                  : copy_other(c, c->levels[w->depth - 1].dir);
        break;
    case WALK_SKIPPED:
    case WALK_END:
        break;
    }
    return c->put.source_failed && (r == -ENOENT || r == -ESTALE) ? walk_gone(w) : r;
}

static int step(struct put *p)
{
    struct copy *c = (struct copy *)p;
    c->lost = false;
    enum walk_event event = c->rooted ? walk_next(&c->walk) : WALK_SKIPPED;
    if (event == WALK_END)
        return 0;
    int r = c->rooted ? copy_event(c, event) : copy_root(c);
    c->rooted = true;
    c->lost = r < 0 && event == WALK_ERROR;
    int gone = r < 0 && p->source_failed ? target_still_there(c->from) : 0;
    p->ended = gone < 0;
    if (gone < 0)
        return gone;
    return r < 0 ? r : 1;
}

static void progress(const struct put *p, uint64_t *ret_done, uint64_t *ret_total)
{
    const struct copy *c = (const struct copy *)p;
    *ret_done = p->batch->stored;
    *ret_total = c->total;
}

int copy_tree(struct target *from, struct target *to, unsigned flags, struct copy_result *ret)
{
    static const struct put_source source = {.unit = "files",
                                             .finishes_after_error = true,
                                             .step = step,
                                             .add_file = add_file,
                                             .complain = complain,
                                             .progress = progress};
    struct copy c = {.from = from, .flags = flags, .total = target_count(from)};
    target_leave_out(from, to->at_dev, to->at_ino);
    int r = put_init(&c.put, &source, to, NULL);
    if (!r)
        r = walk_init(&c.walk, from);
    if (!r)
        r = set_level(&c, 0, to->root, false);
    if (!r)
        r = put_run(&c.put);
    put_done(&c.put, ret);
    ret->folders = c.walk.folders;
    ret->cut = c.walk.cut;
    ret->unfinished = c.walk.unfinished.n;
    walk_done(&c.walk);
    free(c.levels);
    links_done(&c.links);
    return r;
}
