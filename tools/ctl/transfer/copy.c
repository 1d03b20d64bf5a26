/*
 * copy.c - tree to tree.
 *
 * State: struct copy, for the run: the walk through the source, the handles of
 * the matching directories, the batch being filled, the first name of each
 * inode with several, and the attributes of directories, which are set last
 * because filling a directory changes its time (and may need its permission).
 */
#include "ctl/transfer/copy.h"

#include "ctl/transfer/batch.h"
#include "ctl/transfer/links.h"
#include "ctl/transfer/walk.h"
#include "shared/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define IO_SIZE ((size_t)4 << 20)
#define SET_ALL (ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | ENG_SET_ATIME | ENG_SET_MTIME)

struct later {
    tdir dir;
    const char *name;
    struct target_attr attr;
};

struct copy {
    struct target *from, *to;
    struct walk walk;
    struct batch *batch;
    struct level {
        tdir dir;
        bool fresh; /* made by us: nothing can be in the way inside */
    } * levels;     /* of the destination, by depth of the walk */
    size_t cap_levels;
    struct links links; /* dir and name are those of the destination */
    struct later *later;
    size_t n_later, cap_later;
    struct pool names; /* of later */
    struct complaints complaints;
    struct progress progress;
    uint64_t total; /* files to come, for the progress; 0: unknown */
    struct copy_result result;
    bool source_failed; /* the last error concerns one file of the source, whatever its number: a damaged
                           memory is EIO */
};

static void complain(struct copy *c, const char *path, int error)
{
    cli_complain(&c->complaints, "%s: %s", path, target_strerror(error));
}

static void on_failed(void *arg, const struct eng_record *rec, uint64_t tag, int error)
{
    (void)tag;
    complain(arg, rec->name, error);
}

/* ---- hard links --------------------------------------------------------------- */

/* 1: linked to the name under which this inode came before; 0: it is the first. */
static int link_or_note(struct copy *c, tdir dir, const char *name)
{
    struct links_first first;
    int r = links_note(&c->links, &c->walk.attr, dir, name, &first);
    if (r <= 0)
        return r;
    r = batch_flush(c->batch);
    if (r == 0)
        r = c->to->ops->link(c->to, first.dir, first.name, dir, name);
    return r < 0 ? r : 1;
}

/* ---- attributes ---------------------------------------------------------------- */

/* The user.* attributes of the source's file, in the batch's pool. */
static int load_xattrs(struct copy *c, struct target_file *f, struct eng_record *rec)
{
    return target_load_xattrs(c->from, f, batch_pool(c->batch), &rec->xattrs, &rec->n_xattrs);
}

static int copy_dir_xattrs(struct copy *c, tdir dir, const char *name)
{
    struct walk *w = &c->walk;
    struct eng_record rec = {0};
    struct target_file in, out;
    struct target_attr attr;
    batch_begin(c->batch);
    int r = c->from->ops->open(c->from, w->dir, w->name, &w->attr, false, &in);
    if (r < 0)
        return r;
    r = load_xattrs(c, &in, &rec);
    (void)c->from->ops->close(c->from, &in);
    if (r < 0 || rec.n_xattrs == 0)
        return r;
    r = c->to->ops->lookup(c->to, dir, name, &attr);
    if (r == 0)
        r = c->to->ops->open(c->to, dir, name, &attr, false, &out);
    if (r < 0)
        return r;
    for (size_t i = 0; r == 0 && i < rec.n_xattrs; i++)
        r = c->to->ops->setxattr(c->to, &out, rec.xattrs[i].name, rec.xattrs[i].value, rec.xattrs[i].size);
    (void)c->to->ops->close(c->to, &out);
    return r;
}

static int set_later(struct copy *c, tdir dir, const char *name, const struct target_attr *attr)
{
    if (c->n_later == c->cap_later) {
        size_t cap = c->cap_later ? c->cap_later * 2 : 256;
        struct later *l = realloc(c->later, cap * sizeof *l);
        if (!l)
            return -ENOMEM;
        c->later = l;
        c->cap_later = cap;
    }
    const char *copy = pool_copy(&c->names, name, strlen(name));
    if (!copy)
        return -ENOMEM;
    c->later[c->n_later++] = (struct later){dir, copy, *attr};
    return 0;
}

/* ---- entries -------------------------------------------------------------------- */

/* Makes the name free or a plain file that may be overwritten; tells which. */
static int clear_way(struct copy *c, tdir dir, const char *name, bool keep_file, bool *ret_exists)
{
    struct target_attr attr;
    *ret_exists = false;
    if (c->levels[c->walk.depth - 1].fresh)
        return 0;
    int r = c->to->ops->lookup(c->to, dir, name, &attr);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return r;
    if (S_ISDIR(attr.mode))
        return -EISDIR;
    /* A file with other names is not written through: those names may be other files by now. */
    if (keep_file && S_ISREG(attr.mode) && attr.nlink == 1) {
        *ret_exists = true;
        return 0;
    }
    r = batch_flush(c->batch);
    return r < 0 ? r : c->to->ops->unlink(c->to, dir, name);
}

struct stream {
    struct copy *c;
    struct target_file *in;
    uint64_t size;
};

/* Copies one range of data; `ret_end` is set to where it really ended if the source is shorter by now. */
static int stream_range(struct stream *s, struct target *t, struct target_file *f, char *buf, uint64_t from,
                        uint64_t to)
{
    while (from < to && !cli_interrupted()) {
        size_t n = to - from < IO_SIZE ? (size_t)(to - from) : IO_SIZE;
        ssize_t r = s->c->from->ops->read(s->c->from, s->in, buf, n, from);
        if (r <= 0) {
            s->c->source_failed = r < 0;
            return (int)r;
        }
        ssize_t w = t->ops->write(t, f, buf, (size_t)r, from);
        if (w < 0)
            return (int)w;
        from += (uint64_t)w;
    }
    return cli_interrupted() ? -EINTR : 0;
}

static int stream_content(void *arg, struct target *t, struct target_file *f)
{
    struct stream *s = arg;
    struct target *from = s->c->from;
    char *buf = malloc(IO_SIZE);
    int r = buf ? 0 : -ENOMEM;
    uint64_t at = 0, data, hole;
    while (r == 0 && at < s->size) {
        data = at;
        hole = s->size;
        int e = from->ops->seek(from, s->in, at, SEEK_DATA, &data);
        if (e == -ENXIO)
            break; /* holes up to the end */
        /* Where holes cannot be asked for everything is data. */
        if (e == 0 && from->ops->seek(from, s->in, data, SEEK_HOLE, &hole) < 0)
            hole = s->size;
        if (hole > s->size)
            hole = s->size;
        r = stream_range(s, t, f, buf, data, hole);
        at = hole;
    }
    if (r == 0)
        r = t->ops->truncate(t, f, s->size);
    free(buf);
    return r;
}

static int copy_content(struct copy *c, struct target_file *in, struct eng_record *rec)
{
    struct walk *w = &c->walk;
    if (w->attr.size > BATCH_CONTENT_MAX) {
        struct stream s = {c, in, w->attr.size};
        int r = batch_put_streamed(c->batch, rec, stream_content, &s);
        if (r == 0)
            c->batch->stored_bytes += w->attr.size;
        else /* half a file must not look like a whole one */
            (void)c->to->ops->unlink(c->to, rec->parent, rec->name);
        return r;
    }
    char *content = pool_alloc(batch_pool(c->batch), (size_t)w->attr.size + 1);
    if (!content)
        return -ENOMEM;
    ssize_t n = c->from->ops->read(c->from, in, content, (size_t)w->attr.size, 0);
    if (n < 0) {
        c->source_failed = true;
        return (int)n;
    }
    rec->content = content;
    rec->size = (size_t)n;
    return batch_add(c->batch, rec, 0);
}

static int copy_file(struct copy *c, tdir dir)
{
    struct walk *w = &c->walk;
    struct target_file in;
    bool exists;
    batch_begin(c->batch);
    int r = clear_way(c, dir, w->name, w->attr.nlink == 1, &exists);
    if (r == 0 && w->attr.nlink > 1)
        r = link_or_note(c, dir, w->name);
    if (r != 0) {
        c->result.links += r > 0;
        return r < 0 ? r : 0;
    }
    struct eng_record rec = {.parent = dir,
                             .name = pool_copy(batch_pool(c->batch), w->name, strlen(w->name)),
                             .mode = w->attr.mode,
                             .uid = w->attr.uid,
                             .gid = w->attr.gid,
                             .mtime = w->attr.mtime};
    if (!rec.name)
        return -ENOMEM;
    r = c->from->ops->open(c->from, w->dir, w->name, &w->attr, false, &in);
    c->source_failed = r < 0;
    if (r < 0)
        return r;
    r = load_xattrs(c, &in, &rec);
    c->source_failed = r < 0;
    if (r == 0)
        r = copy_content(c, &in, &rec);
    (void)c->from->ops->close(c->from, &in);
    if (r == 0 && exists) /* a replaced file keeps its mode and owner; a copy has those of the source */
        r = batch_flush(c->batch);
    if (r == 0 && exists)
        r = c->to->ops->setattr(c->to, dir, w->name, &w->attr, SET_ALL);
    return r;
}

static int copy_other(struct copy *c, tdir dir)
{
    struct walk *w = &c->walk;
    char link[PATH_MAX];
    bool exists;
    int r = clear_way(c, dir, w->name, false, &exists);
    if (r == 0 && S_ISLNK(w->attr.mode)) {
        ssize_t n = c->from->ops->readlink(c->from, w->dir, w->name, &w->attr, link, sizeof link);
        r = n < 0 ? (int)n : 0;
    }
    if (r == 0 && w->attr.nlink > 1)
        r = link_or_note(c, dir, w->name);
    if (r != 0) {
        c->result.links += r > 0;
        return r < 0 ? r : 0;
    }
    r = c->to->ops->make(c->to, dir, w->name, &w->attr, S_ISLNK(w->attr.mode) ? link : NULL);
    if (r == 0)
        r = c->to->ops->setattr(c->to, dir, w->name, &w->attr,
                                S_ISLNK(w->attr.mode) ? ENG_SET_ATIME | ENG_SET_MTIME : SET_ALL);
    c->result.others += r == 0;
    return r;
}

static int set_level(struct copy *c, size_t depth, tdir dir, bool fresh)
{
    if (depth >= c->cap_levels) {
        size_t cap = c->cap_levels ? c->cap_levels * 2 : 32;
        struct level *l = realloc(c->levels, cap * sizeof *l);
        if (!l)
            return -ENOMEM;
        c->levels = l;
        c->cap_levels = cap;
    }
    c->levels[depth] = (struct level){dir, fresh};
    return 0;
}

/* The directory was entered by the walk: its depth is one more than that of the destination's parent. */
static int copy_dir(struct copy *c)
{
    struct walk *w = &c->walk;
    struct level *parent = &c->levels[w->depth - 2];
    struct target_attr attr;
    tdir dir = 0;
    bool fresh = false;
    int r = parent->fresh ? -ENOENT : c->to->ops->lookup(c->to, parent->dir, w->name, &attr);
    if (r == 0) {
        r = S_ISDIR(attr.mode) ? c->to->ops->subdir(c->to, parent->dir, w->name, &attr, &dir) : -ENOTDIR;
    } else if (r == -ENOENT) {
        fresh = true;
        r = c->to->ops->mkdir(c->to, parent->dir, w->name, (w->attr.mode & 07777) | 0700, &dir);
    }
    if (r == 0)
        r = copy_dir_xattrs(c, parent->dir, w->name);
    return r < 0 ? r : set_level(c, w->depth - 1, dir, fresh);
}

/* One event of the walk. Returns errors of the entry; the caller tells whether they are fatal. */
static int step(struct copy *c, enum walk_event event)
{
    struct walk *w = &c->walk;
    struct level *level = &c->levels[w->depth > 0 ? w->depth - 1 : 0];
    int r;
    /* In the root of a store or mount the name belongs to the control files. */
    if (event != WALK_LEAVE && c->to->kind != TARGET_TREE && !strcmp(w->path, ".engram") &&
        !(c->to->prefix && *c->to->prefix)) {
        if (event == WALK_ENTER)
            walk_skip(w);
        return -EPERM;
    }
    switch (event) {
    case WALK_ERROR:
        return w->error;
    case WALK_ENTER:
        r = copy_dir(c);
        if (r < 0)
            walk_skip(w);
        return r;
    case WALK_LEAVE:
        c->result.dirs++;
        return set_later(c, level->dir, w->name, &w->attr);
    case WALK_ENTRY:
        return S_ISREG(w->attr.mode) ? copy_file(c, level->dir) : copy_other(c, level->dir);
    case WALK_END:
        break;
    }
    return 0;
}

static int run(struct copy *c)
{
    enum walk_event event;
    int r = set_level(c, 0, c->to->root, false);
    while (r == 0 && (event = walk_next(&c->walk)) != WALK_END) {
        c->source_failed = event == WALK_ERROR;
        r = step(c, event);
        if (r < 0 && r != -EINTR && (c->source_failed || !target_error_is_fatal(r))) {
            complain(c, c->walk.path, r);
            r = 0;
        }
        if (r == 0 && cli_interrupted())
            r = -EINTR;
        progress_show(&c->progress, c->batch->stored, c->total);
    }
    int f = batch_flush(c->batch);
    return r < 0 ? r : f;
}

/* Children come before their parents in the list, so that a directory closed to us closes behind us. */
static int set_directories(struct copy *c)
{
    for (size_t i = 0; i < c->n_later; i++) {
        const struct later *l = &c->later[i];
        int r = c->to->ops->setattr(c->to, l->dir, l->name, &l->attr, SET_ALL);
        if (target_error_is_fatal(r))
            return r;
        if (r < 0)
            complain(c, l->name, r);
    }
    return 0;
}

int copy_tree(struct target *from, struct target *to, struct copy_result *ret)
{
    struct copy c = {.from = from, .to = to, .total = target_count(from)};
    to->wrote = true;
    progress_start(&c.progress, "files");
    c.batch = batch_new(to, on_failed, &c);
    int r = c.batch ? walk_init(&c.walk, from) : -ENOMEM;
    if (r == 0)
        r = run(&c);
    if (r == 0)
        r = set_directories(&c);
    progress_clear(&c.progress);
    if (c.batch) {
        c.result.files = c.batch->stored;
        c.result.bytes = c.batch->stored_bytes;
    }
    c.result.failed = c.complaints.n;
    *ret = c.result;
    walk_done(&c.walk);
    batch_free(c.batch);
    free(c.levels);
    links_done(&c.links);
    free(c.later);
    pool_done(&c.names);
    return r;
}
