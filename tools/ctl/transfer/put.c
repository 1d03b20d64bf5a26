/*
 * put.c - see put.h. State: struct put, for one run. */
#include "ctl/transfer/put.h"

#include "ctl/transfer/same.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_SHOWN                                                                                           \
    400 /* bytes of a path in a message: of deep directories all together grow with the square */

struct put_later {
    tdir self;
    const char *name;
    size_t depth, order; /* deeper ones first; of two for one directory the later one counts */
    struct target_attr attr;
};

void put_complain(struct put *p, const char *path, const char *what)
{
    if (p->prefix)
        cli_complain(&p->complaints, "%s: %.400s: %s", p->prefix, path, what);
    else
        cli_complain(&p->complaints, "%.400s: %s", path, what);
}

static void on_failed(void *arg, const struct eng_record *rec, uint64_t tag, int error)
{
    (void)tag;
    put_complain(arg, rec->name, target_strerror(error));
}

static int on_put(void *arg, const struct eng_record *rec, uint64_t tag, uint64_t ino)
{
    struct put *p = arg;
    return tag ? placed_note(&p->placed, rec->parent, rec->name, ino) : 0;
}

static void on_refused(void *arg, const char *entry, const char *why)
{
    put_complain(arg, entry, why);
}

static bool is_empty(struct target *t)
{
    struct target_scan *scan;
    struct target_attr attr;
    const char *name;
    int error;
    if (t->ops->scan_open(t, t->root, &scan) < 0)
        return false;
    int r = t->ops->scan_next(scan, &name, &attr, &error);
    t->ops->scan_close(scan);
    return !r;
}

int put_init(struct put *p, const struct put_source *source, struct target *to, const char *prefix)
{
    *p = (struct put){.source = source, .to = to, .prefix = prefix, .implied_mode = 0777 & ~umask(0)};
    to->wrote = true;
    to->keeps_attr = false;
    to->refused = on_refused;
    to->refused_arg = p;
    p->fresh = is_empty(to);
    progress_start(&p->progress, source->unit);
    p->batch = batch_new(to, on_failed, p);
    if (!p->batch)
        return -ENOMEM;
    p->batch->put = on_put;
    return 0;
}

/* ---- the way ------------------------------------------------------------------ */

bool put_is_reserved(const struct put *p, const char *name)
{
    bool has_control = p->to->kind != TARGET_TREE && !(p->to->prefix && *p->to->prefix);
    return has_control && !strcmp(name, ".engram");
}

int put_lookup(struct put *p, tdir dir, const char *name, struct target_attr *ret)
{
    int r = batch_pending(p->batch, dir, name) ? batch_flush(p->batch) : 0;
    return r < 0 ? r : p->to->ops->lookup(p->to, dir, name, ret);
}

int put_find_way(struct put *p, tdir dir, const char *name, bool links, enum put_way *ret_way)
{
    struct target_attr attr;
    *ret_way = PUT_FREE;
    int r = put_lookup(p, dir, name, &attr);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    /* Other names of a file may be other files by now. */
    *ret_way = S_ISREG(attr.mode) && (attr.nlink == 1 || links) ? PUT_FILE : PUT_OTHER;
    return S_ISDIR(attr.mode) ? -EISDIR : 0;
}

int put_enter(struct put *p, tdir parent, const char *name, int mode, tdir *ret_dir)
{
    struct target_attr attr;
    int r = put_lookup(p, parent, name, &attr);
    if (!r)
        return S_ISDIR(attr.mode) ? p->to->ops->subdir(p->to, parent, name, &attr, ret_dir) : -ENOTDIR;
    if (r != -ENOENT || mode < 0)
        return r;
    return p->to->ops->mkdir(p->to, parent, name, (uint32_t)mode, ret_dir);
}

static bool sets_owners(const struct put *p)
{
    return p->to->kind == TARGET_STORE || geteuid() == 0;
}

/* ---- entries ------------------------------------------------------------------ */

int put_xattrs(struct put *p, tdir self, const struct eng_record *rec)
{
    struct target_file f;
    if (!rec->n_xattrs)
        return 0;
    int r = p->to->ops->open_dir(p->to, self, &f);
    if (r < 0)
        return r;
    r = same_add_xattrs(p->to, &f, rec);
    (void)p->to->ops->close(p->to, &f);
    if (r == -ENOMEM || r >= 0 || target_error_is_fatal(p->to, r))
        return r;
    p->source->complain(p, r);
    return 0;
}

int put_set_later(struct put *p, tdir self, const char *name, size_t depth, const struct target_attr *attr)
{
    struct put_later *later = array_room(p->later, p->n_later, &p->cap_later, sizeof *later);
    const char *copy = later ? pool_copy(&p->names, name, strnlen(name, NAME_SHOWN)) : NULL;
    if (later)
        p->later = later;
    if (!copy)
        return -ENOMEM;
    p->later[p->n_later] = (struct put_later){self, copy, depth, p->n_later, *attr};
    p->n_later++;
    return 0;
}

/* What is different in the attributes of what was there before. */
static unsigned changes(const struct put *p, const struct target_attr *have, const struct target_attr *attr,
                        struct target_attr *ret_want)
{
    struct eng_record rec = {.mode = attr->mode, .uid = attr->uid, .gid = attr->gid, .mtime = attr->mtime};
    unsigned mask = same_changes(&rec, have, sets_owners(p), ret_want);
    return S_ISLNK(have->mode) ? mask & ~(unsigned)ENG_SET_MODE : mask;
}

static int settle(struct put *p, tdir dir, const char *name, const struct target_attr *have,
                  const struct target_attr *attr)
{
    struct target_attr want;
    unsigned mask = changes(p, have, attr, &want);
    return mask ? p->to->ops->setattr(p->to, dir, name, &want, mask) : 0;
}

int put_file(struct put *p, tdir dir, const char *name, const struct target_attr *attr, enum put_way way)
{
    struct target_attr have;
    batch_begin(p->batch);
    p->way = way;
    struct eng_record rec = {.parent = dir,
                             .name = pool_copy(batch_pool(p->batch), name, strlen(name)),
                             .mode = attr->mode,
                             .uid = attr->uid,
                             .gid = attr->gid,
                             .mtime = attr->mtime};
    int r = rec.name ? p->source->add_file(p, &rec, attr) : -ENOMEM;
    /* A store keeps mode and owner of a file that is replaced; this one has those of the source. */
    if (r < 0 || way != PUT_FILE || p->to->kind != TARGET_STORE)
        return r;
    struct target_attr as = {.mode = rec.mode, .uid = rec.uid, .gid = rec.gid, .mtime = rec.mtime};
    r = put_lookup(p, dir, name, &have);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* it was refused, which was told */
    return settle(p, dir, name, &have, &as);
}

int put_streamed(struct put *p, struct eng_record *rec, uint64_t size,
                 int (*write)(void *arg, struct sink *sink), void *arg)
{
    uint64_t ino;
    int r = batch_put_streamed(p->batch, rec, p->way == PUT_OTHER, write, arg, &ino);
    p->batch->stored_bytes += !r ? size : 0;
    return r < 0 ? r : on_put(p, rec, p->may_be_linked, ino);
}

static int write_whole(void *arg, struct sink *sink)
{
    const struct eng_record *rec = arg;
    int r = rec->size ? sink_write(sink, rec->content, rec->size, 0) : 0;
    return r < 0 ? r : sink_end(sink, rec->size);
}

int put_whole(struct put *p, struct eng_record *rec)
{
    if (p->way != PUT_OTHER)
        return batch_add(p->batch, rec, p->may_be_linked);
    return put_streamed(p, rec, rec->size, write_whole, rec);
}

/* Whether what is there is the same symlink or special file. */
static bool same_other(struct put *p, tdir dir, const char *name, const struct target_attr *have,
                       const struct target_attr *attr, const char *link)
{
    char buf[PATH_MAX];
    if ((have->mode ^ attr->mode) & S_IFMT)
        return false;
    if (!link)
        return have->rdev == attr->rdev;
    return p->to->ops->readlink(p->to, dir, name, have, buf, sizeof buf) >= 0 && !strcmp(buf, link);
}

/* Whether what is there can stay, with other attributes at most. Other names of it may be others' by now, and
 * others may have a pipe open. */
static bool can_stay(struct put *p, const struct target_attr *have, const struct target_attr *attr)
{
    struct target_attr want;
    unsigned mask = changes(p, have, attr, &want);
    return !mask || (have->nlink == 1 && (S_ISLNK(have->mode) || !same_takes_away(p->to, have, &want, mask)));
}

int put_other(struct put *p, tdir dir, const char *name, const struct target_attr *attr, const char *link)
{
    struct target_attr have;
    uint64_t ino = 0;
    int r = put_lookup(p, dir, name, &have);
    bool exists = !r;
    if (r < 0 && r != -ENOENT)
        return r;
    if (exists && S_ISDIR(have.mode))
        return -EISDIR;
    if (exists && same_other(p, dir, name, &have, attr, link) && can_stay(p, &have, attr)) {
        ino = have.ino;
        r = settle(p, dir, name, &have, attr);
    } else {
        r = p->to->ops->make(p->to, dir, name, attr, link, exists, &ino);
    }
    p->result.others += !r;
    return !r && p->may_be_linked ? placed_note(&p->placed, dir, name, ino) : r;
}

int put_link(struct put *p, tdir from_dir, const char *from, tdir dir, const char *name)
{
    struct target_attr old, attr;
    uint64_t ino = 0;
    int r = put_lookup(p, from_dir, from, &old);
    if (r < 0 && r != -ENOENT)
        return r;
    if (r < 0 || !placed_find(&p->placed, from_dir, from, &ino) || (ino && ino != old.ino))
        return -ENOTUNIQ;
    r = put_lookup(p, dir, name, &attr);
    bool exists = !r;
    if (r < 0 && r != -ENOENT)
        return r;
    /* to itself, or to what it is linked to already */
    if (exists && attr.dev == old.dev && attr.ino == old.ino)
        r = 0;
    else if (exists && S_ISDIR(attr.mode))
        r = -EISDIR;
    else
        r = p->to->ops->link(p->to, from_dir, from, old.ino, dir, name, exists);
    return r < 0 ? r : placed_note(&p->placed, dir, name, ino);
}

int put_has(struct put *p, tdir dir, const char *name)
{
    uint64_t ino;
    int r = batch_pending(p->batch, dir, name) ? batch_flush(p->batch) : 0;
    return r < 0 ? r : placed_find(&p->placed, dir, name, &ino);
}

/* ---- all of them -------------------------------------------------------------- */

static int deeper_first(const void *a, const void *b)
{
    const struct put_later *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int settle_dir(struct put *p, const struct put_later *l)
{
    struct eng_record rec = {
        .mode = l->attr.mode, .uid = l->attr.uid, .gid = l->attr.gid, .mtime = l->attr.mtime};
    struct target_attr have, want;
    int r = p->to->ops->getattr_dir(p->to, l->self, &have);
    unsigned mask = r < 0 ? 0 : same_changes(&rec, &have, sets_owners(p), &want);
    return mask ? p->to->ops->setattr_dir(p->to, l->self, &want, mask) : r;
}

/* A folder that was there stays who is its owner's, and becomes no more open than it was. */
static int as_found(struct put *p, const struct target_attr *attr, struct target_attr *ret)
{
    struct target_attr have = {0};
    *ret = *attr;
    if (p->to->kind != TARGET_TREE || !p->to->is_found)
        return 0;
    int r = p->to->ops->getattr_dir(p->to, p->to->root, &have);
    ret->mode &= ~07777u | have.mode;
    ret->uid = have.uid;
    ret->gid = have.gid;
    return r;
}

int put_root(struct put *p, const char *name, const struct eng_record *rec, const struct target_attr *attr)
{
    struct target_attr as;
    if (!p->fresh)
        return 0;
    int r = put_xattrs(p, p->to->root, rec);
    if (!r)
        r = as_found(p, attr, &as);
    if (!r)
        r = put_set_later(p, p->to->root, name, 0, &as);
    if (!r && sets_owners(p))
        r = settle_dir(p, &p->later[p->n_later - 1]);
    return r;
}

/* The deepest first, so that a directory closed to us closes behind us. */
static int set_directories(struct put *p)
{
    if (p->n_later > 1)
        qsort(p->later, p->n_later, sizeof *p->later, deeper_first);
    for (size_t i = 0; i < p->n_later; i++) {
        const struct put_later *l = &p->later[i];
        int r = settle_dir(p, l);
        if (target_error_is_fatal(p->to, r))
            return r;
        if (r < 0)
            put_complain(p, l->name, target_strerror(r));
    }
    return 0;
}

/* Whether the error of an entry lets the next one be tried. */
static bool goes_on(const struct put *p, int error)
{
    if (error == -EINTR || p->ended)
        return false;
    return p->source_failed || !target_error_is_fatal(p->to, error);
}

int put_run(struct put *p)
{
    int r;
    do {
        p->source_failed = false;
        r = p->source->step(p);
        if (r < 0 && goes_on(p, r)) {
            p->source->complain(p, r);
            r = 1;
        }
        if (r > 0 && cli_interrupted())
            r = -EINTR;
        uint64_t done = 0, total = 0;
        p->source->progress(p, &done, &total);
        progress_show(&p->progress, done, total);
    } while (r > 0);
    int f = batch_flush(p->batch); /* also after an error: what was whole is kept */
    int d = !f && (!r || p->source->finishes_after_error) ? set_directories(p) : 0;
    if (!r)
        r = f;
    return r ? r : d;
}

void put_done(struct put *p, struct copy_result *ret)
{
    progress_clear(&p->progress);
    if (p->batch) {
        p->result.files = p->batch->stored;
        p->result.bytes = p->batch->stored_bytes;
    }
    p->result.failed = p->complaints.n;
    *ret = p->result;
    batch_free(p->batch);
    p->to->refused = NULL;
    free(p->later);
    pool_done(&p->names);
    placed_done(&p->placed);
}
