/*
 * tar_in.c - a tar archive into a target.
 *
 * State: struct tar_in, for the run: the directories above the last entry, the batch being filled, and the
 * attributes of directories, which are set last because filling a directory changes its time (and may need
 * its permission).
 *
 * An archive is data from anywhere. Names are taken apart here, each part is looked up without following
 * links, and a directory is never replaced: so no entry can lead out of the target, not by "..", not by a
 * leading slash, not through a link that an earlier entry made. Nothing is allocated for what an entry merely
 * claims, beyond BATCH_CONTENT_MAX. Only filters that are part of libarchive are used, since others would
 * start programs.
 */
#include "ctl/transfer/tar.h"

#include "ctl/transfer/batch.h"
#include "shared/cli.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const bool tar_is_built = true;

#define READ_SIZE ((size_t)1 << 20)
#define SET_ALL (ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID | ENG_SET_ATIME | ENG_SET_MTIME)

/* A directory above the last entry. */
struct level {
    char *name;
    tdir dir;
};

struct later {
    tdir dir;
    const char *name;
    size_t depth, order; /* deeper ones first; of two for one directory the later one counts */
    struct target_attr attr;
};

struct tar_in {
    int fd;
    const char *name;
    struct target *to;
    struct archive *a;
    struct archive_entry *entry; /* the current one; libarchive's */
    char *buffer;                /* READ_SIZE bytes */
    uint64_t bytes_read, size;   /* of the archive; size 0: unknown */
    struct level *levels;
    size_t depth, cap_levels;
    struct batch *batch;
    struct later *later;
    size_t n_later, cap_later;
    struct pool names; /* of later */
    struct complaints complaints;
    struct progress progress;
    struct copy_result result;
};

static void complain(struct tar_in *in, int error)
{
    const char *path = archive_entry_pathname(in->entry);
    cli_complain(&in->complaints, "%s: %.400s: %s", in->name, path ? path : "?",
                 error == -EXDEV    ? "leads out of the archive, or to the control files"
                 : error == -EEXIST ? strerror(EEXIST)
                                    : target_strerror(error));
}

static void on_failed(void *arg, const struct eng_record *rec, uint64_t tag, int error)
{
    struct tar_in *in = arg;
    (void)tag;
    cli_complain(&in->complaints, "%s: %s: %s", in->name, rec->name, target_strerror(error));
}

/* ---- the archive ------------------------------------------------------------- */

static la_ssize_t read_in(struct archive *a, void *arg, const void **ret_data)
{
    struct tar_in *in = arg;
    for (;;) {
        ssize_t n = read(in->fd, in->buffer, READ_SIZE);
        if (n >= 0) {
            in->bytes_read += (uint64_t)n;
            *ret_data = in->buffer;
            return n;
        }
        if (errno != EINTR || cli_interrupted()) {
            archive_set_error(a, errno, "%s", strerror(errno));
            return -1;
        }
    }
}

static int archive_open_in(struct tar_in *in)
{
    in->buffer = malloc(READ_SIZE);
    in->a = archive_read_new();
    if (!in->a || !in->buffer)
        return -ENOMEM;
    (void)archive_read_support_filter_gzip(in->a);
    (void)archive_read_support_filter_bzip2(in->a);
    (void)archive_read_support_filter_xz(in->a);
    (void)archive_read_support_filter_zstd(in->a);
    (void)archive_read_support_filter_lz4(in->a);
    if (archive_read_support_format_tar(in->a) != ARCHIVE_OK)
        return -EOPNOTSUPP;
    return 0;
}

/* Says why the archive cannot be read on. */
static int give_up(struct tar_in *in)
{
    if (cli_interrupted())
        return -EINTR;
    const char *why = archive_error_string(in->a);
    cli_error("%s: not a tar archive, or damaged: %s", in->name, why ? why : "unknown error");
    return -ECANCELED;
}

/* ---- places ------------------------------------------------------------------- */

static int push_level(struct tar_in *in, const char *name, tdir dir)
{
    if (in->depth == in->cap_levels) {
        size_t cap = in->cap_levels ? in->cap_levels * 2 : 32;
        struct level *l = realloc(in->levels, cap * sizeof *l);
        if (!l)
            return -ENOMEM;
        in->levels = l;
        in->cap_levels = cap;
    }
    struct level *l = &in->levels[in->depth];
    l->name = strdup(name);
    if (!l->name)
        return -ENOMEM;
    l->dir = dir;
    in->depth++;
    return 0;
}

static void cut_levels(struct tar_in *in, size_t depth)
{
    while (in->depth > depth)
        free(in->levels[--in->depth].name);
}

static tdir level_dir(const struct tar_in *in, size_t depth)
{
    return depth ? in->levels[depth - 1].dir : in->to->root;
}

/* Looks a name up for sure: one that waits in the batch is put first. */
static int lookup(struct tar_in *in, tdir dir, const char *name, struct target_attr *ret)
{
    int r = batch_pending(in->batch, dir, name) ? batch_flush(in->batch) : 0;
    return r < 0 ? r : in->to->ops->lookup(in->to, dir, name, ret);
}

/* The directory `name` below the first `depth` levels becomes the next level. */
static int enter(struct tar_in *in, size_t depth, const char *name, bool make)
{
    if (depth < in->depth && !strcmp(in->levels[depth].name, name))
        return 0;
    cut_levels(in, depth);
    tdir parent = level_dir(in, depth), dir = 0;
    struct target_attr attr;
    int r = lookup(in, parent, name, &attr);
    if (r == 0)
        r = S_ISDIR(attr.mode) ? in->to->ops->subdir(in->to, parent, name, &attr, &dir) : -ENOTDIR;
    else if (r == -ENOENT && make)
        r = in->to->ops->mkdir(in->to, parent, name, 0777, &dir);
    return r < 0 ? r : push_level(in, name, dir);
}

/*
 * Where `path`, a copy that is cut up, leads: directory, last component and how deep that is. Directories on
 * the way are made if they may be. *ret_name NULL: the root itself. -EXDEV: out of the archive, or to the
 * control files.
 */
static int find_place(struct tar_in *in, char *path, bool make, tdir *ret_dir, const char **ret_name,
                      size_t *ret_depth)
{
    char *rest = path, *part;
    const char *last = NULL;
    size_t depth = 0;
    while ((part = strsep(&rest, "/"))) {
        if (!*part || !strcmp(part, "."))
            continue;
        if (!strcmp(part, ".."))
            return -EXDEV;
        bool in_root = !last && in->to->kind != TARGET_TREE && !(in->to->prefix && *in->to->prefix);
        if (in_root && !strcmp(part, ".engram"))
            return -EXDEV;
        int r = last ? enter(in, depth, last, make) : 0;
        if (r < 0)
            return r;
        depth += last != NULL;
        last = part;
    }
    *ret_dir = level_dir(in, depth);
    *ret_name = last;
    *ret_depth = depth;
    return 0;
}

/* ---- entries ------------------------------------------------------------------ */

static void get_attr(const struct tar_in *in, struct target_attr *ret)
{
    struct archive_entry *e = in->entry;
    int64_t ns;
    if (__builtin_mul_overflow((int64_t)archive_entry_mtime(e), INT64_C(1000000000), &ns) ||
        __builtin_add_overflow(ns, (int64_t)archive_entry_mtime_nsec(e), &ns))
        ns = 0; /* a time that nothing can keep */
    la_int64_t size = archive_entry_size(e);
    *ret = (struct target_attr){.mode = archive_entry_mode(e),
                                .uid = (uint32_t)archive_entry_uid(e),
                                .gid = (uint32_t)archive_entry_gid(e),
                                .size = size > 0 ? (uint64_t)size : 0,
                                .rdev = archive_entry_rdev(e),
                                .atime = ns,
                                .mtime = ns};
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The name of an attribute is part of a key that ends at the first '='; libarchive and GNU tar write %XX. In
 * place. */
static void unquote(char *name)
{
    char *to = name;
    while (*name) {
        int high = name[0] == '%' ? hex(name[1]) : -1, low = high >= 0 ? hex(name[2]) : -1;
        bool quoted = low >= 0 && high + low > 0;
        *to++ = quoted ? (char)(high << 4 | low) : *name;
        name += quoted ? 3 : 1;
    }
    *to = 0;
}

/* What a mount computes is no attribute to be set. */
static bool is_wanted(const char *name)
{
    static const char *const computed[] = {"user.engram.content_hash", "user.engram.version",
                                           "user.engram.generation"};
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        if (!strcmp(name, computed[i]))
            return false;
    return !strncmp(name, "user.", 5) && name[5];
}

static int load_xattrs(struct tar_in *in, struct eng_record *rec)
{
    struct pool *pool = batch_pool(in->batch);
    int n = archive_entry_xattr_reset(in->entry);
    struct eng_xattr_pair *x = n > 0 ? pool_alloc(pool, (size_t)n * sizeof *x) : NULL;
    const char *name;
    const void *value;
    size_t size;
    if (n > 0 && !x)
        return -ENOMEM;
    rec->xattrs = x;
    for (int i = 0; i < n && archive_entry_xattr_next(in->entry, &name, &value, &size) == ARCHIVE_OK; i++) {
        char *copy = pool_copy(pool, name, strlen(name));
        void *data = pool_copy(pool, value, size);
        if (!copy || !data)
            return -ENOMEM;
        unquote(copy);
        if (is_wanted(copy))
            x[rec->n_xattrs++] = (struct eng_xattr_pair){copy, data, size};
    }
    return 0;
}

/* Makes the name free or, with `keep_file`, a plain file that may be overwritten; tells which. */
static int clear_way(struct tar_in *in, tdir dir, const char *name, bool keep_file, bool *ret_exists)
{
    struct target_attr attr;
    *ret_exists = false;
    int r = lookup(in, dir, name, &attr);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    if (S_ISDIR(attr.mode))
        return -EISDIR;
    if (keep_file && S_ISREG(attr.mode) && attr.nlink == 1) {
        *ret_exists = true;
        return 0;
    }
    return in->to->ops->unlink(in->to, dir, name);
}

/* The content of a small file; what the archive leaves out is a hole. */
static int read_content(struct tar_in *in, char *content, size_t size)
{
    const void *data;
    size_t n;
    la_int64_t at;
    int r;
    memset(content, 0, size);
    while ((r = archive_read_data_block(in->a, &data, &n, &at)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
        if (at < 0 || (uint64_t)at > size || n > size - (uint64_t)at)
            return -EINVAL; /* more than its header said */
        memcpy(content + at, data, n);
    }
    return r == ARCHIVE_EOF ? 0 : give_up(in);
}

struct stream {
    struct tar_in *in;
    uint64_t size;
};

/* The content of a large one, as it comes. */
static int stream_content(void *arg, struct target *t, struct target_file *f)
{
    struct stream *s = arg;
    const void *data;
    size_t n;
    la_int64_t at;
    int r;
    while ((r = archive_read_data_block(s->in->a, &data, &n, &at)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
        if (at < 0 || (uint64_t)at > s->size || n > s->size - (uint64_t)at)
            return -EINVAL;
        ssize_t w = n ? t->ops->write(t, f, data, n, (uint64_t)at) : 0;
        if (w < 0)
            return (int)w;
        if (cli_interrupted())
            return -EINTR;
    }
    return r == ARCHIVE_EOF ? t->ops->truncate(t, f, s->size) : give_up(s->in);
}

static int put_file(struct tar_in *in, struct eng_record *rec, const struct target_attr *attr)
{
    if (attr->size > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    if (attr->size > BATCH_CONTENT_MAX) {
        struct stream s = {in, attr->size};
        int r = batch_put_streamed(in->batch, rec, stream_content, &s);
        if (r == 0)
            in->batch->stored_bytes += attr->size;
        else /* half a file must not look like a whole one */
            (void)in->to->ops->unlink(in->to, rec->parent, rec->name);
        return r;
    }
    char *content = pool_alloc(batch_pool(in->batch), (size_t)attr->size + 1);
    int r = content ? read_content(in, content, (size_t)attr->size) : -ENOMEM;
    rec->content = content;
    rec->size = (size_t)attr->size;
    return r < 0 ? r : batch_add(in->batch, rec, 0);
}

static int add_file(struct tar_in *in, tdir dir, const char *name, const struct target_attr *attr)
{
    bool exists;
    int r = clear_way(in, dir, name, true, &exists);
    if (r < 0)
        return r;
    batch_begin(in->batch);
    struct eng_record rec = {.parent = dir,
                             .name = pool_copy(batch_pool(in->batch), name, strlen(name)),
                             .mode = attr->mode,
                             .uid = attr->uid,
                             .gid = attr->gid,
                             .mtime = attr->mtime};
    r = rec.name ? load_xattrs(in, &rec) : -ENOMEM;
    if (r == 0)
        r = put_file(in, &rec, attr);
    if (r == 0 &&
        exists) /* a replaced file keeps its mode and owner; a restored one has those of the archive */
        r = batch_flush(in->batch);
    if (r == 0 && exists)
        r = in->to->ops->setattr(in->to, dir, name, attr, SET_ALL);
    return r;
}

static int set_later(struct tar_in *in, tdir dir, const char *name, size_t depth,
                     const struct target_attr *attr)
{
    if (in->n_later == in->cap_later) {
        size_t cap = in->cap_later ? in->cap_later * 2 : 256;
        struct later *l = realloc(in->later, cap * sizeof *l);
        if (!l)
            return -ENOMEM;
        in->later = l;
        in->cap_later = cap;
    }
    const char *copy = pool_copy(&in->names, name, strlen(name));
    if (!copy)
        return -ENOMEM;
    in->later[in->n_later] = (struct later){dir, copy, depth, in->n_later, *attr};
    in->n_later++;
    return 0;
}

static int add_dir(struct tar_in *in, tdir dir, const char *name, size_t depth,
                   const struct target_attr *attr)
{
    struct eng_record rec = {0};
    struct target_attr there;
    struct target_file f;
    batch_begin(in->batch);
    int r = enter(in, depth, name, true);
    if (r == 0)
        r = load_xattrs(in, &rec);
    if (r == 0 && rec.n_xattrs) {
        r = in->to->ops->lookup(in->to, dir, name, &there);
        if (r == 0)
            r = in->to->ops->open(in->to, dir, name, &there, false, &f);
        if (r < 0)
            return r;
        for (size_t i = 0; r == 0 && i < rec.n_xattrs; i++)
            r = in->to->ops->setxattr(in->to, &f, rec.xattrs[i].name, rec.xattrs[i].value,
                                      rec.xattrs[i].size);
        (void)in->to->ops->close(in->to, &f);
    }
    in->result.dirs += r == 0;
    return r < 0 ? r : set_later(in, dir, name, depth, attr);
}

static int add_other(struct tar_in *in, tdir dir, const char *name, const struct target_attr *attr)
{
    const char *link = S_ISLNK(attr->mode) ? archive_entry_symlink(in->entry) : NULL;
    bool exists;
    if (S_ISLNK(attr->mode) && (!link || !*link))
        return -EINVAL;
    int r = clear_way(in, dir, name, false, &exists);
    if (r == 0)
        r = in->to->ops->make(in->to, dir, name, attr, link);
    if (r == 0)
        r = in->to->ops->setattr(in->to, dir, name, attr, link ? ENG_SET_ATIME | ENG_SET_MTIME : SET_ALL);
    in->result.others += r == 0;
    return r;
}

/* A hard link as (dir, name) to (from_dir, from). */
static int link_at(struct tar_in *in, tdir from_dir, const char *from, tdir dir, const char *name)
{
    struct target_attr old, attr;
    bool exists;
    int r = lookup(in, from_dir, from, &old);
    if (r < 0)
        return r;
    /* to itself, or to what it is linked to already */
    if (lookup(in, dir, name, &attr) == 0 && attr.dev == old.dev && attr.ino == old.ino)
        return 0;
    r = clear_way(in, dir, name, false, &exists);
    return r < 0 ? r : in->to->ops->link(in->to, from_dir, from, dir, name);
}

static int add_link(struct tar_in *in, const char *to_path, const char *path)
{
    tdir from_dir = 0, dir = 0;
    const char *from = NULL, *name = NULL;
    size_t depth;
    char *copy = strdup(to_path), *copy2 = strdup(path);
    int r = copy && copy2 ? find_place(in, copy, false, &from_dir, &from, &depth) : -ENOMEM;
    if (r == 0 && !from)
        r = -EXDEV;
    if (r == 0)
        r = find_place(in, copy2, true, &dir, &name, &depth);
    if (r == 0)
        r = name ? link_at(in, from_dir, from, dir, name) : -EISDIR;
    in->result.links += r == 0;
    free(copy);
    free(copy2);
    return r;
}

static int add_entry(struct tar_in *in)
{
    const char *path = archive_entry_pathname(in->entry), *link = archive_entry_hardlink(in->entry);
    struct target_attr attr;
    const char *name;
    size_t depth;
    tdir dir;
    if (!path || !*path)
        return -EINVAL;
    if (link)
        return add_link(in, link, path);
    get_attr(in, &attr);
    char *copy = strdup(path);
    int r = copy ? find_place(in, copy, true, &dir, &name, &depth) : -ENOMEM;
    if (r == 0 && !name)
        r = S_ISDIR(attr.mode) ? 0 : -EISDIR; /* the root keeps its attributes, as in a tree */
    else if (r == 0 && S_ISREG(attr.mode))
        r = add_file(in, dir, name, &attr);
    else if (r == 0 && S_ISDIR(attr.mode))
        r = add_dir(in, dir, name, depth, &attr);
    else if (r == 0)
        r = attr.mode & S_IFMT ? add_other(in, dir, name, &attr) : -EINVAL;
    free(copy);
    return r;
}

static int run(struct tar_in *in)
{
    int r = 0;
    if (archive_read_open(in->a, in, NULL, read_in, NULL) != ARCHIVE_OK)
        return give_up(in);
    while (r == 0) {
        int h = archive_read_next_header(in->a, &in->entry);
        if (h == ARCHIVE_EOF)
            break;
        if (h == ARCHIVE_RETRY || h < ARCHIVE_WARN)
            return give_up(in);
        r = add_entry(in);
        if (r < 0 && r != -EINTR && r != -ECANCELED && !target_error_is_fatal(r)) {
            complain(in, r);
            r = 0;
        }
        if (r == 0 && cli_interrupted())
            r = -EINTR;
        progress_show(&in->progress, in->bytes_read, in->size);
    }
    return r;
}

/* ---- directories, at the end ------------------------------------------------------ */

static int deeper_first(const void *a, const void *b)
{
    const struct later *x = a, *y = b;
    if (x->depth != y->depth)
        return x->depth > y->depth ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int set_directories(struct tar_in *in)
{
    if (in->n_later > 1)
        qsort(in->later, in->n_later, sizeof *in->later, deeper_first);
    for (size_t i = 0; i < in->n_later; i++) {
        const struct later *l = &in->later[i];
        int r = in->to->ops->setattr(in->to, l->dir, l->name, &l->attr, SET_ALL);
        if (target_error_is_fatal(r))
            return r;
        if (r < 0)
            cli_complain(&in->complaints, "%s: %s: %s", in->name, l->name, strerror(-r));
    }
    return 0;
}

int tar_import(int fd, const char *name, struct target *to, struct copy_result *ret)
{
    struct tar_in in = {.fd = fd, .name = name, .to = to};
    to->wrote = true;
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        in.size = (uint64_t)st.st_size;
    progress_start(&in.progress, NULL);
    in.batch = batch_new(to, on_failed, &in);
    int r = in.batch ? archive_open_in(&in) : -ENOMEM;
    if (r == 0)
        r = run(&in);
    int f = in.batch ? batch_flush(in.batch) : 0; /* also after an error: what was whole is kept */
    int d = f == 0 ? set_directories(&in) : 0;
    r = r < 0 ? r : f < 0 ? f : d;
    progress_clear(&in.progress);
    if (in.batch) {
        in.result.files = in.batch->stored;
        in.result.bytes = in.batch->stored_bytes;
    }
    in.result.failed = in.complaints.n;
    *ret = in.result;
    archive_read_free(in.a);
    batch_free(in.batch);
    cut_levels(&in, 0);
    free(in.levels);
    free(in.later);
    pool_done(&in.names);
    free(in.buffer);
    return r;
}
