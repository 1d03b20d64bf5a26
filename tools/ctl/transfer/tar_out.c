/*
 * tar_out.c - a target out as a tar archive.
 *
 * State: struct tar_out, for the run. libarchive works in the C locale, which this program never leaves: so
 * names are bytes, written and read back as they are.
 *
 * A header says how long its file is, so nothing that follows may fail: a small file is read whole before,
 * and a large one is read once to the end to see that it can be (I6: content is verified or refused). */
#include "ctl/transfer/tar.h"

#include "ctl/transfer/links.h"
#include "ctl/transfer/tar_exact.h"
#include "ctl/transfer/trust.h"
#include "ctl/transfer/walk.h"
#include "shared/buf.h"
#include "shared/cli.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Files up to this are read whole; it is also what is read and written at once. */
#define PIECE ((size_t)4 << 20)
#define AT_ONCE ((size_t)1 << 20) /* written at least, but for the end, which fills up */
#define LAST_BLOCK 10240          /* a block of this size, as other programs have it */
/* libarchive reads no header over 1 MiB; some of it is for the name and the other fields. */
#define XATTRS_MAX ((size_t)1000 << 10)
/* Each piece of a file with holes takes libarchive some 200 bytes of memory. */
#define PIECES_MAX 1000000

struct range;
struct tar_out {
    struct target *from;
    int fd;
    struct tar_exact exact;
    uint64_t written;
    /* Nothing more is written: what libarchive adds when it is freed would look like an end. */
    bool failed;
    struct archive *a;
    struct archive_entry *entry;
    struct walk walk;
    struct links links;   /* by path in the archive */
    struct pool pool;     /* of one entry */
    char *piece;          /* PIECE bytes */
    struct range *ranges; /* data of the current file, if it is large */
    size_t n_ranges, cap_ranges;
    uint64_t cut; /* where the current file ends by now; UINT64_MAX: where it did */
    struct complaints complaints;
    struct progress progress;
    uint64_t total; /* files to come, for the progress; 0: unknown */
    struct copy_result result;
};

/* ---- the archive ------------------------------------------------------------- */

/* Writes what waits to be written. */
static int flush(struct tar_out *o)
{
    struct buf *out = &o->exact.out;
    int r = 0;
    for (size_t done = 0; !r && done < out->len;) {
        ssize_t n = write(o->fd, out->data + done, out->len - done);
        done += n > 0 ? (size_t)n : 0;
        if (n < 0 && (errno != EINTR || cli_interrupted()))
            r = -errno;
    }
    o->written += out->len;
    buf_reset(out);
    return r;
}

/* libarchive calls this at once, so that tar_exact knows whose header it has. */
static la_ssize_t write_out(struct archive *a, void *arg, const void *data, size_t size)
{
    struct tar_out *o = arg;
    if (o->failed) {
        archive_set_error(a, ECANCELED, "%s", strerror(ECANCELED));
        return -1;
    }
    int r = tar_exact_feed(&o->exact, data, size);
    if (!r && o->exact.out.len >= AT_ONCE)
        r = flush(o);
    if (!r)
        return (la_ssize_t)size;
    archive_set_error(a, -r, "%s", strerror(-r));
    return -1;
}

/* What a failed call of libarchive means: only that of a write can be told apart. */
static int archive_error(struct archive *a)
{
    int e = archive_errno(a);
    return e > 0 ? -e : -EIO;
}

static int archive_open_out(struct tar_out *o)
{
    o->a = archive_write_new();
    o->entry = archive_entry_new();
    o->piece = malloc(PIECE);
    if (!o->a || !o->entry || !o->piece)
        return -ENOMEM;
    if (archive_write_set_format_pax(o->a) != ARCHIVE_OK ||
        archive_write_set_format_option(o->a, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(o->a, 0) != ARCHIVE_OK ||
        archive_write_open(o->a, o, NULL, write_out, NULL) != ARCHIVE_OK)
        return archive_error(o->a);
    return 0;
}

/* ARCHIVE_WARN is for names that are not ASCII, which are written as they are. */
static int write_header(struct tar_out *o)
{
    return archive_write_header(o->a, o->entry) < ARCHIVE_WARN ? archive_error(o->a) : 0;
}

static int write_data(struct tar_out *o, const char *data, size_t size)
{
    for (size_t done = 0; done < size;) {
        la_ssize_t n = archive_write_data(o->a, data + done, size - done);
        if (n <= 0)
            return archive_error(o->a);
        done += (size_t)n;
    }
    return 0;
}

/* The end of the archive. */
static int finish(struct tar_out *o)
{
    struct buf *out = &o->exact.out;
    if (archive_write_close(o->a) != ARCHIVE_OK)
        return archive_error(o->a);
    while ((o->written + out->len) % LAST_BLOCK && !out->failed)
        buf_char(out, 0);
    return out->failed ? -ENOMEM : flush(o);
}

static const char *why(const struct tar_out *o, int error)
{
    if (error == -ETOOMANYREFS)
        return "in more than a million pieces, with holes between, use --format tree";
    if (error == -EOPNOTSUPP)
        return "a socket, which a tar archive cannot hold";
    if (error == -E2BIG)
        return "its attributes are too large for a tar archive, use --format tree";
    if (error == -ENAMETOOLONG && o->walk.path_len > WALK_PATH_MAX)
        return walk_too_long;
    return target_strerror(error);
}

static void complain(struct tar_out *o, const char *what)
{
    const struct walk *w = &o->walk;
    cli_complain(&o->complaints, "%.400s: %s", w->path_len ? w->path : o->from->path, what);
}

/* ---- entries ------------------------------------------------------------------ */

static void set_stat(struct tar_out *o, uint64_t size)
{
    const struct target_attr *a = &o->walk.attr;
    struct archive_entry *e = o->entry;
    archive_entry_clear(e);
    archive_entry_copy_pathname(e, o->walk.path);
    archive_entry_set_mode(e, a->mode);
    archive_entry_set_uid(e, a->uid);
    archive_entry_set_gid(e, a->gid);
    archive_entry_set_size(e, (la_int64_t)size);
    if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
        archive_entry_set_rdev(e, a->rdev);
    int64_t seconds = a->mtime / 1000000000, ns = a->mtime % 1000000000;
    if (ns < 0) {
        seconds--;
        ns += 1000000000;
    }
    archive_entry_set_mtime(e, seconds, (long)ns); /* which decides whether a pax header has it */
    o->exact.mtime = a->mtime;
}

static void tell_attribute(struct tar_out *o, const char *name)
{
    char text[ENG_XATTR_NAME_MAX + 256];
    snprintf(text, sizeof text, "the attribute %s %s", name, trust_why_attribute);
    complain(o, text);
}

/* libarchive writes what is not plain in names as %XX, for which there must be room. With an error but
 * -ENOMEM, those that can be read, or that there is room for. */
static int set_xattrs(struct tar_out *o, struct target_file *f)
{
    const struct eng_xattr_pair *x;
    size_t n, bytes = 0;
    pool_reset(&o->pool);
    int r = target_load_xattrs(o->from, f, &o->pool, &x, &n);
    for (size_t i = 0; r != -ENOMEM && i < n; i++) {
        if (trust_has_not(o->from, x[i].name)) {
            tell_attribute(o, x[i].name);
            continue;
        }
        bytes += 3 * strlen(x[i].name) + x[i].size + 64;
        if (bytes > XATTRS_MAX)
            return -E2BIG;
        archive_entry_xattr_add_entry(o->entry, x[i].name, x[i].value, x[i].size);
    }
    return r;
}

/* 1: written as a hard link to an earlier entry. */
static int write_link(struct tar_out *o, bool *ret_fatal)
{
    struct links_first first;
    int r = links_note(&o->links, &o->walk.attr, 0, o->walk.path, &first);
    if (r <= 0)
        return r;
    if (first.broken)
        return -EIO;
    set_stat(o, 0);
    archive_entry_copy_hardlink(o->entry, first.name);
    *ret_fatal = true;
    r = write_header(o);
    o->result.links += !r;
    return r < 0 ? r : 1;
}

/* ---- content ------------------------------------------------------------------ */

/* Where the data of a large file is. */
struct range {
    uint64_t from, to;
};

/* One that touches the last one is no range of its own. */
static int add_range(struct tar_out *o, uint64_t from, uint64_t to)
{
    if (o->n_ranges && o->ranges[o->n_ranges - 1].to == from) {
        o->ranges[o->n_ranges - 1].to = to;
        return 0;
    }
    if (o->n_ranges == PIECES_MAX)
        return -ETOOMANYREFS;
    struct range *ranges = array_room(o->ranges, o->n_ranges, &o->cap_ranges, sizeof *ranges);
    if (!ranges)
        return -ENOMEM;
    o->ranges = ranges;
    o->ranges[o->n_ranges++] = (struct range){from, to};
    return 0;
}

/* Asks for the data of the file. Where holes cannot be asked for all is data. Ranges begin and end with
 * blocks of the archive: libarchive writes one right behind the other, and GNU tar looks for each in a new
 * block. */
static int find_data(struct tar_out *o, struct target_file *f, uint64_t size)
{
    const struct target_ops *ops = o->from->ops;
    int added = 0;
    o->n_ranges = 0;
    for (uint64_t at = 0, data, hole; at < size && !added; at = hole) {
        data = at;
        hole = size;
        int r = ops->seek(o->from, f, at, SEEK_DATA, &data);
        if (r == -ENXIO || data >= size)
            break;
        if (!r && (ops->seek(o->from, f, data, SEEK_HOLE, &hole) < 0 || hole > size))
            hole = size;
        data -= data % TAR_BLOCK;
        hole += (TAR_BLOCK - hole % TAR_BLOCK) % TAR_BLOCK;
        hole = hole > size ? size : hole;
        added = add_range(o, data, hole);
    }
    return added;
}

static bool has_holes(const struct tar_out *o, uint64_t size)
{
    return o->n_ranges != 1 || o->ranges[0].from != 0 || o->ranges[0].to != size;
}

/* Tells the entry where data is, unless all is. */
static void set_holes(struct tar_out *o, uint64_t size)
{
    if (!has_holes(o, size))
        return;
    for (size_t i = 0; i < o->n_ranges; i++)
        archive_entry_sparse_add_entry(o->entry, (la_int64_t)o->ranges[i].from,
                                       (la_int64_t)(o->ranges[i].to - o->ranges[i].from));
    if (o->n_ranges == 0)
        archive_entry_sparse_add_entry(o->entry, (la_int64_t)size, 0); /* one hole */
}

/* Reads one range. A file that has grown is cut; of one that was cut meanwhile the rest is zeros. */
static int read_range(struct tar_out *o, struct target_file *f, const struct range *range, bool out)
{
    for (uint64_t at = range->from; at < range->to;) {
        size_t n = range->to - at < PIECE ? (size_t)(range->to - at) : PIECE;
        ssize_t got = o->from->ops->read(o->from, f, o->piece, n, at);
        if (got < 0)
            return (int)got;
        if ((size_t)got < n) {
            memset(o->piece + got, 0, n - (size_t)got);
            o->cut = at + (uint64_t)got < o->cut ? at + (uint64_t)got : o->cut;
        }
        int r = cli_interrupted() ? -EINTR : 0;
        if (!r && out)
            r = write_data(o, o->piece, n);
        if (r < 0)
            return r;
        at += n;
    }
    return 0;
}

/* libarchive takes the bytes of holes as well, and drops them. */
static int write_hole(struct tar_out *o, uint64_t size)
{
    int r = 0;
    if (size)
        memset(o->piece, 0, size < PIECE ? (size_t)size : PIECE);
    for (uint64_t done = 0; !r && done < size; done += PIECE)
        r = write_data(o, o->piece, size - done < PIECE ? (size_t)(size - done) : PIECE);
    return r;
}

/* Reads all data of a large file, to see that it can be read or (`out`) into the archive. */
static int read_through(struct tar_out *o, struct target_file *f, uint64_t size, bool out)
{
    uint64_t at = 0;
    int r = 0;
    for (size_t i = 0; !r && i < o->n_ranges; i++) {
        if (out)
            r = write_hole(o, o->ranges[i].from - at);
        if (!r)
            r = read_range(o, f, &o->ranges[i], out);
        at = o->ranges[i].to;
    }
    return !r && out ? write_hole(o, size - at) : r;
}

/* Once: whether the file has holes or is large, or its content in `piece`. */
static int look_at(struct tar_out *o, struct target_file *f, uint64_t size, bool *ret_in_parts)
{
    int r = size > TARGET_HOLES_FROM ? find_data(o, f, size) : 0;
    if (r < 0)
        return r;
    *ret_in_parts = size > PIECE || (size > TARGET_HOLES_FROM && has_holes(o, size));
    if (*ret_in_parts) {
        r = read_through(o, f, size, false);
        (void)target_is_cut(o->from, f, size, &o->cut);
        return r;
    }
    ssize_t n = o->from->ops->read(o->from, f, o->piece, (size_t)size, 0);
    if (n >= 0 && (uint64_t)n < size)
        o->cut = (uint64_t)n;
    return n < 0 ? (int)n : 0;
}

/* Until it is one file, not the beginning of what it was before it was cut. */
static int look_through(struct tar_out *o, struct target_file *f, uint64_t *size, bool *ret_in_parts)
{
    for (int i = 0; i < CUTS_MAX; i++) {
        o->cut = UINT64_MAX;
        int r = look_at(o, f, *size, ret_in_parts);
        if (r < 0 || o->cut == UINT64_MAX)
            return r;
        *size = o->cut;
    }
    return -EREMCHG;
}

/* The header is out, and says how much there is. */
static void tell_cut(struct tar_out *o)
{
    char text[128];
    snprintf(text, sizeof text, "was cut while it was read: what follows byte %" PRIu64 " is zeros", o->cut);
    complain(o, text);
}

/* With *ret_fatal the error is not of this file alone: its header is out already. */
static int write_open_file(struct tar_out *o, struct target_file *f, bool *ret_fatal)
{
    uint64_t size = o->walk.attr.size;
    bool in_parts = false;
    int r = look_through(o, f, &size, &in_parts);
    if (r < 0)
        return r;
    set_stat(o, size);
    r = set_xattrs(o, f);
    if (r < 0)
        return r;
    if (in_parts)
        set_holes(o, size);
    *ret_fatal = true;
    r = write_header(o);
    if (!r)
        r = in_parts ? read_through(o, f, size, true) : write_data(o, o->piece, (size_t)size);
    bool whole = !r && o->cut == UINT64_MAX;
    if (!r && !whole)
        tell_cut(o);
    o->result.files += whole;
    o->result.bytes += whole ? size : 0;
    return r;
}

static int write_file(struct tar_out *o, bool *ret_fatal)
{
    struct walk *w = &o->walk;
    struct target_file f;
    int r = target_open_file(o->from, w->dir, w->name, &w->attr, &f);
    if (r < 0)
        return r;
    (void)trust_limit(o->from, &w->attr); /* which was told of the entry */
    r = write_open_file(o, &f, ret_fatal);
    (void)o->from->ops->close(o->from, &f);
    return r;
}

static int write_dir(struct tar_out *o, bool *ret_fatal)
{
    struct walk *w = &o->walk;
    struct target_file f;
    set_stat(o, 0);
    int r = o->from->ops->open_dir(o->from, walk_entered(w), &f);
    if (r < 0)
        return r;
    r = set_xattrs(o, &f);
    (void)o->from->ops->close(o->from, &f);
    if (r < 0 && r != -ENOMEM) { /* what is in it does not depend on them */
        int gone = target_still_there(o->from);
        if (!gone)
            complain(o, why(o, r));
        r = gone;
    }
    *ret_fatal = r < 0;
    if (r < 0)
        return r;
    *ret_fatal = true;
    o->result.dirs++;
    return write_header(o);
}

/* Of what is no file and no directory: guarded ones. Only a store is asked: it opens nothing for that. */
static bool has_xattrs(struct tar_out *o)
{
    const struct walk *w = &o->walk;
    const struct eng_xattr_pair *x;
    struct target_file f;
    size_t n = 0;
    if (o->from->kind != TARGET_STORE ||
        o->from->ops->open(o->from, w->dir, w->name, &w->attr, false, &f) < 0)
        return false;
    pool_reset(&o->pool);
    int r = target_load_xattrs(o->from, &f, &o->pool, &x, &n);
    (void)o->from->ops->close(o->from, &f);
    return r < 0 || n > 0;
}

static int write_other(struct tar_out *o, bool *ret_fatal)
{
    struct walk *w = &o->walk;
    char link[PATH_MAX];
    ssize_t n = 0;
    if (S_ISSOCK(w->attr.mode))
        return -EOPNOTSUPP;
    if (S_ISLNK(w->attr.mode))
        n = o->from->ops->readlink(o->from, w->dir, w->name, &w->attr, link, sizeof link);
    if (n < 0)
        return (int)n;
    if (has_xattrs(o))
        complain(o, "the attributes of a symlink or special file are not kept");
    set_stat(o, 0);
    if (S_ISLNK(w->attr.mode))
        archive_entry_copy_symlink(o->entry, link);
    *ret_fatal = true;
    o->result.others++;
    return write_header(o);
}

/* What is not taken over from this source. 1: the entry as a whole. */
static int limit_entry(struct tar_out *o)
{
    struct target_attr *attr = &o->walk.attr;
    const char *refused = trust_refuses(o->from, attr),
               *what = refused ? refused : trust_limit(o->from, attr);
    if (what)
        complain(o, what);
    return refused != NULL;
}

static int write_entry(struct tar_out *o, bool *ret_fatal)
{
    const struct target_attr *attr = &o->walk.attr;
    if (limit_entry(o))
        return 0;
    int r = attr->nlink > 1 ? write_link(o, ret_fatal) : 0;
    if (r)
        return r < 0 ? r : 0;
    r = S_ISREG(attr->mode) ? write_file(o, ret_fatal) : write_other(o, ret_fatal);
    if (r < 0 && attr->nlink > 1)
        links_break(&o->links, attr);
    return r;
}

/* The root, which is an entry as of other programs. */
static int write_root(struct tar_out *o, bool *ret_fatal)
{
    int r = o->from->ops->getattr_dir(o->from, o->from->root, &o->walk.attr);
    o->walk.path = "./";
    o->walk.path_len = 2;
    if (!r)
        (void)limit_entry(o);
    if (!r)
        r = write_dir(o, ret_fatal);
    o->result.dirs = 0; /* in it */
    return r;
}

/* One event of the walk; *ret_fatal: what was written so far is no archive that can be ended. */
static int step(struct tar_out *o, enum walk_event event, bool *ret_fatal)
{
    bool too_long = o->walk.path_len > WALK_PATH_MAX;
    int r;
    switch (event) {
    case WALK_ERROR:
        return o->walk.error;
    case WALK_ENTER:
        o->walk.folders += too_long;
        (void)limit_entry(o);
        r = too_long ? -ENAMETOOLONG : write_dir(o, ret_fatal);
        if (r < 0)
            walk_skip(&o->walk);
        return r;
    case WALK_ENTRY:
        return too_long ? -ENAMETOOLONG : write_entry(o, ret_fatal);
    case WALK_LEAVE:
    case WALK_SKIPPED:
    case WALK_END:
        break;
    }
    return 0;
}

/* The error of one event: told, if nothing but what is here is left out. */
static int pass_over(struct tar_out *o, enum walk_event event, int error)
{
    if (event != WALK_ERROR && (error == -ENOENT || error == -ESTALE))
        return walk_gone(&o->walk);
    int r = target_still_there(o->from);
    if (!r && event == WALK_ERROR)
        complain(o, walk_why(&o->walk));
    else if (!r)
        complain(o, why(o, error));
    return r;
}

static int run(struct tar_out *o)
{
    enum walk_event event;
    bool root_fatal;
    int r = write_root(o, &root_fatal);
    while (!r && (event = walk_next(&o->walk)) != WALK_END) {
        bool fatal = false;
        r = step(o, event, &fatal);
        if (r < 0 && !fatal && r != -EINTR && r != -ENOMEM)
            r = pass_over(o, event, r);
        if (!r && cli_interrupted())
            r = -EINTR;
        progress_show(&o->progress, o->result.files, o->total);
    }
    return r ? r : finish(o);
}

int tar_export(struct target *from, int fd, struct copy_result *ret)
{
    struct tar_out o = {.from = from, .fd = fd, .total = target_count(from)};
    progress_start(&o.progress, "files");
    int r = archive_open_out(&o);
    if (!r)
        r = walk_init(&o.walk, from);
    if (!r)
        r = run(&o);
    progress_clear(&o.progress);
    o.result.failed = o.complaints.n;
    o.result.folders = o.walk.folders;
    o.result.cut = o.walk.cut;
    o.result.unfinished = o.walk.unfinished.n;
    *ret = o.result;
    o.failed = true;
    archive_write_free(o.a);
    archive_entry_free(o.entry);
    walk_done(&o.walk);
    links_done(&o.links);
    pool_done(&o.pool);
    tar_exact_done(&o.exact);
    free(o.piece);
    free(o.ranges);
    return r;
}
