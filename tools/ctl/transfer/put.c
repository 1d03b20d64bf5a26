/*
 * put.c - see put.h. State: struct put, for one run. */
#include "ctl/transfer/put.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct put_later {
    tdir dir;
    const char *name;
    size_t depth, order; /* deeper ones first; of two for one directory the later one counts */
    struct target_attr attr;
};

void put_complain(struct put *p, const char *path, const char *what)
{
    if (p->prefix)
        cli_complain(&p->complaints, "%s: %.400s: %s", p->prefix, path, what);
    else
        cli_complain(&p->complaints, "%s: %s", path, what);
}

static void on_failed(void *arg, const struct eng_record *rec, uint64_t tag, int error)
{
    (void)tag;
    put_complain(arg, rec->name, target_strerror(error));
}

int put_init(struct put *p, const struct put_source *source, struct target *to, const char *prefix)
{
    *p = (struct put){.source = source, .to = to, .prefix = prefix};
    to->wrote = true;
    progress_start(&p->progress, source->unit);
    p->batch = batch_new(to, on_failed, p);
    return p->batch ? 0 : -ENOMEM;
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

int put_clear_way(struct put *p, tdir dir, const char *name, bool keep_file, bool *ret_exists)
{
    struct target_attr attr;
    *ret_exists = false;
    int r = put_lookup(p, dir, name, &attr);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (S_ISDIR(attr.mode))
        return -EISDIR;
    /* A file with other names is not written through: those names may be other files by now. */
    if (keep_file && S_ISREG(attr.mode) && attr.nlink == 1) {
        *ret_exists = true;
        return 0;
    }
    return p->to->ops->unlink(p->to, dir, name);
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

/* ---- entries ------------------------------------------------------------------ */

int put_xattrs(struct put *p, tdir dir, const char *name, const struct eng_record *rec)
{
    struct target_attr attr;
    struct target_file f;
    if (!rec->n_xattrs)
        return 0;
    int r = p->to->ops->lookup(p->to, dir, name, &attr);
    if (!r)
        r = p->to->ops->open(p->to, dir, name, &attr, false, &f);
    if (r < 0)
        return r;
    for (size_t i = 0; !r && i < rec->n_xattrs; i++)
        r = p->to->ops->setxattr(p->to, &f, rec->xattrs[i].name, rec->xattrs[i].value, rec->xattrs[i].size);
    (void)p->to->ops->close(p->to, &f);
    return r;
}

int put_set_later(struct put *p, tdir dir, const char *name, size_t depth, const struct target_attr *attr)
{
    struct put_later *later = array_room(p->later, p->n_later, &p->cap_later, sizeof *later);
    const char *copy = later ? pool_copy(&p->names, name, strlen(name)) : NULL;
    if (later)
        p->later = later;
    if (!copy)
        return -ENOMEM;
    p->later[p->n_later] = (struct put_later){dir, copy, depth, p->n_later, *attr};
    p->n_later++;
    return 0;
}

int put_file(struct put *p, tdir dir, const char *name, const struct target_attr *attr, bool exists)
{
    batch_begin(p->batch);
    struct eng_record rec = {.parent = dir,
                             .name = pool_copy(batch_pool(p->batch), name, strlen(name)),
                             .mode = attr->mode,
                             .uid = attr->uid,
                             .gid = attr->gid,
                             .mtime = attr->mtime};
    int r = rec.name ? p->source->add_file(p, &rec, attr) : -ENOMEM;
    /* A replaced file keeps its mode and owner; this one has those of the source. */
    if (!r && exists)
        r = batch_flush(p->batch);
    if (!r && exists)
        r = p->to->ops->setattr(p->to, dir, name, attr, PUT_SET_ALL);
    return r;
}

int put_streamed(struct put *p, struct eng_record *rec, uint64_t size,
                 int (*write)(void *arg, struct target *t, struct target_file *f), void *arg)
{
    int r = batch_put_streamed(p->batch, rec, write, arg);
    if (!r)
        p->batch->stored_bytes += size;
    else /* half a file must not look like a whole one */
        (void)p->to->ops->unlink(p->to, rec->parent, rec->name);
    return r;
}

int put_other(struct put *p, tdir dir, const char *name, const struct target_attr *attr, const char *link)
{
    int r = p->to->ops->make(p->to, dir, name, attr, link);
    if (!r)
        r = p->to->ops->setattr(p->to, dir, name, attr, link ? ENG_SET_ATIME | ENG_SET_MTIME : PUT_SET_ALL);
    p->result.others += !r;
    return r;
}

/* ---- all of them -------------------------------------------------------------- */

static int deeper_first(const void *a, const void *b)
{
    const struct put_later *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

/* The deepest first, so that a directory closed to us closes behind us. */
static int set_directories(struct put *p)
{
    if (p->n_later > 1)
        qsort(p->later, p->n_later, sizeof *p->later, deeper_first);
    for (size_t i = 0; i < p->n_later; i++) {
        const struct put_later *l = &p->later[i];
        int r = p->to->ops->setattr(p->to, l->dir, l->name, &l->attr, PUT_SET_ALL);
        if (target_error_is_fatal(r))
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
    return p->source_failed || !target_error_is_fatal(error);
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
    free(p->later);
    pool_done(&p->names);
}
