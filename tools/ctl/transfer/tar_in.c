/*
 * tar_in.c - a tar archive into a target: a source of put.h.
 *
 * State: struct tar_in, for the run: the archive and the directories above the last entry.
 *
 * An archive is data from anywhere. Names are taken apart here, each part is looked up without following
 * links, and a directory is never replaced: so no entry can lead out of the target, not by "..", not by a
 * leading slash, not through a link that an earlier entry made. Nothing is allocated for what an entry merely
 * claims, beyond BATCH_CONTENT_MAX.
 *
 * If it is packed, nothing is known of what was unpacked before all was read and the sum compared (unpack.h):
 * it is read on behind the end of the archive, and if that goes wrong all entries are told. */
#include "ctl/transfer/fields.h"
#include "ctl/transfer/guarded.h"
#include "ctl/transfer/put.h"
#include "ctl/transfer/tar.h"
#include "ctl/transfer/tar_exact.h"
#include "ctl/transfer/tar_pax.h"
#include "ctl/transfer/temporary.h"
#include "ctl/transfer/unpack.h"
#include "shared/buf.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

const bool tar_is_built = true;

#define READ_SIZE ((size_t)1 << 20)
#define HEADERS_MAX ((size_t)64 << 20) /* of one entry; libarchive takes 1 MiB for each */

/* A directory above the last entry. */
struct level {
    char *name;
    tdir dir;
};

struct tar_in {
    struct put put; /* the first member: the callbacks of the source get it */
    struct unpack *unpack;
    int read_error;              /* of that */
    struct archive *a;           /* what is in it, as a tar archive */
    struct archive_entry *entry; /* the current one; libarchive's */
    char *buffer;                /* READ_SIZE bytes */
    uint64_t size;               /* of the archive; 0: unknown */
    struct buf raw;              /* what was unpacked last, with all headers of the current entry, */
    la_int64_t raw_at, read;     /* where that begins, and where it ends */
    la_int64_t needed;           /* it is kept from here on: the headers that are being read */
    bool heading;                /* they are being read right now, */
    struct buf headers;     /* and, if more is read after them, are kept here: a map of holes may follow */
    struct buf first, last; /* paths of the first entry and of the last one */
    uint64_t entries;
    bool told_global;
    struct tar_pax head; /* of the current entry */
    const char *why;     /* it is refused with -EILSEQ */
    struct level *levels;
    size_t depth, cap_levels;
};

static void complain(struct put *p, int error)
{
    const struct tar_in *in = (const struct tar_in *)p;
    const char *path = archive_entry_pathname(in->entry), *what = target_strerror(error);
    if (error == -EEXIST)
        what = strerror(EEXIST);
    else if (error == -EILSEQ && in->why)
        what = in->why;
    put_complain(p, path ? path : "?", what);
}

/* ---- the archive ------------------------------------------------------------- */

/* What was unpacked may be wrong, all of it. */
static void tell_entries(const struct tar_in *in)
{
    if (in->entries && unpack_is_packed(in->unpack))
        cli_error("%s: %" PRIu64
                  " entries came from it, '%.200s' to '%.200s', before its sum could be looked at: "
                  "they may be damaged",
                  in->put.prefix, in->entries, in->first.data, in->last.data);
}

/* What is wrong with what it is in. */
static void tell_unpacking(const struct tar_in *in)
{
    int e = in->read_error;
    const char *why = e == -EBADMSG ? unpack_why(in->unpack) : strerror(-e);
    cli_error("%s: %s%s", in->put.prefix, e == -EBADMSG ? "damaged, or cut off: " : "", why);
}

/* Says why the archive cannot be read on. */
static int give_up(struct tar_in *in)
{
    in->put.ended = true;
    if (cli_interrupted())
        return -EINTR;
    const char *why = archive_error_string(in->a);
    if (in->read_error)
        tell_unpacking(in);
    else
        cli_error("%s: not a tar archive, or damaged: %s", in->put.prefix, why ? why : "unknown error");
    tell_entries(in);
    return -ECANCELED;
}

/* Where the headers begin that are being read, in `raw`. */
static size_t headers_at(const struct tar_in *in)
{
    la_int64_t at = in->needed - in->raw_at;
    return at >= 0 && (uint64_t)at <= in->raw.len ? (size_t)at : in->raw.len;
}

/* The headers of the current entry, or a beginning of them. */
static const char *headers(const struct tar_in *in, size_t *ret_n)
{
    size_t from = headers_at(in);
    *ret_n = in->headers.len ? in->headers.len : in->raw.len - from;
    return in->headers.len ? in->headers.data : in->raw.data + from;
}

/* More is to be read: of what is there only headers are needed, and if those are whole nothing else. */
static void keep_headers(struct tar_in *in)
{
    size_t from = headers_at(in);
    bool asks = in->heading && in->raw.len && !in->headers.len;
    size_t n = asks ? tar_pax_length(in->raw.data + from, in->raw.len - from) : 0;
    if (!n)
        return;
    buf_add(&in->headers, in->raw.data + from, n);
    in->needed = INT64_MAX;
}

/* Drops what no header is in any more. */
static void drop_raw(struct tar_in *in)
{
    la_int64_t drop = in->needed - in->raw_at;
    if (drop <= 0)
        return;
    size_t n = (uint64_t)drop < in->raw.len ? (size_t)drop : in->raw.len;
    in->raw.len -= n;
    if (in->raw.len)
        memmove(in->raw.data, in->raw.data + n, in->raw.len);
    in->raw_at = in->raw.len ? in->needed : in->read;
}

static la_ssize_t read_unpacked(struct archive *a, void *arg, const void **ret_data)
{
    struct tar_in *in = arg;
    ssize_t n;
    do
        n = unpack_read(in->unpack, in->buffer, READ_SIZE);
    while (n == -EINTR && !cli_interrupted());
    if (n < 0) {
        in->read_error = (int)n;
        archive_set_error(a, EIO, "%s", strerror(EIO)); /* give_up() tells */
        return -1;
    }
    keep_headers(in);
    drop_raw(in);
    buf_add(&in->raw, in->buffer, (size_t)n);
    in->read += n;
    *ret_data = in->buffer;
    if (in->raw.len <= HEADERS_MAX && !in->raw.failed && !in->headers.failed)
        return n;
    archive_set_error(a, ENOMEM, "%s", "more headers than fit memory");
    return -1;
}

static int archive_open_in(struct tar_in *in, int fd)
{
    in->buffer = malloc(READ_SIZE);
    in->a = archive_read_new();
    if (!in->a || !in->buffer)
        return -ENOMEM;
    if (archive_read_support_format_tar(in->a) != ARCHIVE_OK)
        return -EOPNOTSUPP;
    int r = unpack_open(fd, &in->unpack);
    if (r == -EBADMSG) {
        in->put.ended = true;
        cli_error("%s: damaged, or cut off", in->put.prefix);
        return -ECANCELED;
    }
    if (r < 0)
        return r;
    return archive_read_open(in->a, in, NULL, read_unpacked, NULL) == ARCHIVE_OK ? 0 : give_up(in);
}

/* ---- places ------------------------------------------------------------------- */

static int push_level(struct tar_in *in, const char *name, tdir dir)
{
    struct level *levels = array_room(in->levels, in->depth, &in->cap_levels, sizeof *levels);
    if (!levels)
        return -ENOMEM;
    in->levels = levels;
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
    return depth ? in->levels[depth - 1].dir : in->put.to->root;
}

/* The directory `name` below the first `depth` levels becomes the next level, as put_enter() takes `mode`. */
static int enter(struct tar_in *in, size_t depth, const char *name, int mode)
{
    if (depth < in->depth && !strcmp(in->levels[depth].name, name))
        return 0;
    cut_levels(in, depth);
    tdir dir = 0;
    int r = put_enter(&in->put, level_dir(in, depth), name, mode, &dir);
    return r < 0 ? r : push_level(in, name, dir);
}

static int leads_out(struct tar_in *in)
{
    in->why = "leads out of the archive, or to the control files";
    return -EILSEQ;
}

/*
 * Where `path`, a copy that is cut up, leads: directory, last component and how deep that is. Directories on
 * the way are made if they may be. *ret_name NULL: the root itself. */
static int find_place(struct tar_in *in, char *path, bool make, tdir *ret_dir, const char **ret_name,
                      size_t *ret_depth)
{
    char *rest = path, *part;
    const char *last = NULL;
    size_t depth = 0;
    int mode = make ? (int)in->put.implied_mode : -1;
    while ((part = strsep(&rest, "/"))) {
        if (!*part || !strcmp(part, "."))
            continue;
        if (!strcmp(part, ".."))
            return leads_out(in);
        if (!last && put_is_reserved(&in->put, part))
            return leads_out(in);
        int r = last ? enter(in, depth, last, mode) : 0;
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
    const int64_t *number = in->head.number;
    la_int64_t size = archive_entry_size(e);
    *ret = (struct target_attr){.mode = archive_entry_filetype(e) | ((uint32_t)number[TAR_MODE] & 07777),
                                .uid = (uint32_t)number[TAR_UID],
                                .gid = (uint32_t)number[TAR_GID],
                                .size = size > 0 ? (uint64_t)size : 0,
                                .rdev = makedev((unsigned)number[TAR_MAJOR], (unsigned)number[TAR_MINOR]),
                                .atime = in->head.mtime,
                                .mtime = in->head.mtime};
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The name of an attribute is part of a key that ends at the first '='; libarchive and GNU tar write %XX. In
 * place. */
static void unquote(char *name)
{
    char *to = name;
    while (*name) {
        int high = name[0] == '%' ? hex(name[1]) : -1;
        int low = high >= 0 ? hex(name[2]) : -1;
        bool quoted = low >= 0 && high + low > 0;
        *to++ = quoted ? (char)(high << 4 | low) : *name;
        name += quoted ? 3 : 1;
    }
    *to = 0;
}

/* What a mount computes is no attribute to be set; nor does a guard outlive the rename that it is for. */
static bool is_wanted(const char *name)
{
    static const char *const computed[] = {
        "user.engram.content_hash",      "user.engram.content_sha256", "user.engram.state",
        "user.engram.version",           "user.engram.generation",     "user.engram.exact",
        "user.engram.snapshot.position", "user.engram.snapshot.time",  FIELD_GUARD};
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        if (!strcmp(name, computed[i]))
            return false;
    return (!strncmp(name, "user.", 5) && name[5]) || guarded_is(name);
}

static int load_xattrs(struct tar_in *in, struct eng_record *rec)
{
    struct pool *pool = batch_pool(in->put.batch);
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
static int stream_content(void *arg, struct sink *sink)
{
    struct stream *s = arg;
    const void *data;
    size_t n;
    la_int64_t at;
    int r;
    while ((r = archive_read_data_block(s->in->a, &data, &n, &at)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
        if (at < 0 || (uint64_t)at > s->size || n > s->size - (uint64_t)at)
            return -EINVAL;
        int w = n ? sink_write(sink, data, n, (uint64_t)at) : 0;
        if (w < 0)
            return w;
        if (cli_interrupted())
            return -EINTR;
    }
    return r == ARCHIVE_EOF ? sink_end(sink, s->size) : give_up(s->in);
}

static int add_file(struct put *p, struct eng_record *rec, const struct target_attr *attr)
{
    struct tar_in *in = (struct tar_in *)p;
    int r = load_xattrs(in, rec);
    if (r < 0)
        return r;
    if (attr->size > ENG_FILE_SIZE_MAX)
        return -EFBIG;
    bool sparse = attr->size > TARGET_HOLES_FROM && archive_entry_sparse_count(in->entry) > 0;
    if (attr->size > BATCH_CONTENT_MAX || sparse) {
        struct stream s = {in, attr->size};
        return put_streamed(p, rec, attr->size, stream_content, &s);
    }
    char *content = pool_alloc(batch_pool(p->batch), (size_t)attr->size + 1);
    r = content ? read_content(in, content, (size_t)attr->size) : -ENOMEM;
    rec->content = content;
    rec->size = (size_t)attr->size;
    return r < 0 ? r : put_whole(p, rec);
}

static int put_regular(struct tar_in *in, tdir dir, const char *name, const struct target_attr *attr)
{
    enum put_way way;
    int r = put_find_way(&in->put, dir, name, true, &way);
    return r < 0 ? r : put_file(&in->put, dir, name, attr, way);
}

static int put_dir(struct tar_in *in, const char *name, size_t depth, const struct target_attr *attr)
{
    struct eng_record rec = {.name = archive_entry_pathname(in->entry)};
    batch_begin(in->put.batch);
    int r = enter(in, depth, name, 0700);
    if (!r)
        r = load_xattrs(in, &rec);
    if (!r)
        r = put_xattrs(&in->put, level_dir(in, depth + 1), &rec);
    if (r < 0)
        return r;
    in->put.result.dirs++;
    return put_set_later(&in->put, level_dir(in, depth + 1), archive_entry_pathname(in->entry), depth + 1,
                         attr);
}

static int put_top(struct tar_in *in, const struct target_attr *attr)
{
    struct eng_record rec = {.name = archive_entry_pathname(in->entry)};
    batch_begin(in->put.batch);
    int r = load_xattrs(in, &rec);
    return r < 0 ? r : put_root(&in->put, archive_entry_pathname(in->entry), &rec, attr);
}

static int put_special(struct tar_in *in, tdir dir, const char *name, const struct target_attr *attr)
{
    const char *link = S_ISLNK(attr->mode) ? archive_entry_symlink(in->entry) : NULL;
    if (S_ISLNK(attr->mode) && (!link || !*link))
        return -EINVAL;
    return put_other(&in->put, dir, name, attr, link);
}

static int put_hard_link(struct tar_in *in, const char *to_path, const char *path)
{
    tdir from_dir = 0, dir = 0;
    const char *from = NULL, *name = NULL;
    size_t depth;
    char *copy = strdup(to_path), *copy2 = strdup(path);
    int r = copy && copy2 ? find_place(in, copy, false, &from_dir, &from, &depth) : -ENOMEM;
    if (!r && !from)
        r = leads_out(in);
    if (!r)
        r = find_place(in, copy2, true, &dir, &name, &depth);
    if (!r && name && temporary_is(name, strlen(name)))
        r = -EINPROGRESS;
    if (!r)
        r = name ? put_link(&in->put, from_dir, from, dir, name) : -EISDIR;
    in->put.result.links += !r;
    free(copy);
    free(copy2);
    return r;
}

static int put_entry(struct tar_in *in)
{
    const char *path = archive_entry_pathname(in->entry), *link = archive_entry_hardlink(in->entry);
    struct target_attr attr;
    const char *name;
    size_t depth;
    tdir dir;
    if (!path || !*path)
        return -EINVAL;
    if (link)
        return put_hard_link(in, link, path);
    get_attr(in, &attr);
    char *copy = strdup(path);
    int r = copy ? find_place(in, copy, true, &dir, &name, &depth) : -ENOMEM;
    if (!r && name && !S_ISDIR(attr.mode) && temporary_is(name, strlen(name)))
        r = -EINPROGRESS;
    else if (!r && !name)
        r = S_ISDIR(attr.mode) ? put_top(in, &attr) : -EISDIR;
    else if (!r && S_ISREG(attr.mode))
        r = put_regular(in, dir, name, &attr);
    else if (!r && S_ISDIR(attr.mode))
        r = put_dir(in, name, depth, &attr);
    else if (!r)
        r = attr.mode & S_IFMT ? put_special(in, dir, name, &attr) : -EINVAL;
    free(copy);
    return r;
}

/* What libarchive does not tell. */
static int look_at_headers(struct tar_in *in)
{
    struct tar_pax *head = &in->head;
    size_t n;
    const char *first = headers(in, &n);
    tar_pax_look(first, n, head);
    if (*head->global && !in->told_global) {
        in->told_global = true;
        put_complain(&in->put, head->global,
                     "a global header sets this for all that follows, which is not done");
    }
    in->why = head->why;
    return in->why ? -EILSEQ : 0;
}

static int note_entry(struct tar_in *in)
{
    const char *path = archive_entry_pathname(in->entry);
    struct buf *b = in->entries++ ? &in->last : &in->first;
    buf_reset(b);
    buf_str(b, path ? path : "?");
    buf_char(b, 0);
    if (in->entries == 1) {
        buf_reset(&in->last);
        buf_add(&in->last, in->first.data, in->first.len);
    }
    return in->first.failed || in->last.failed ? -ENOMEM : 0;
}

/* Where libarchive found the end there are zeros, unless it has been cut off. */
static bool has_end(const struct tar_in *in)
{
    size_t zeros = 0, n;
    const char *first = headers(in, &n);
    while (zeros < TAR_BLOCK && zeros < n && !first[zeros])
        zeros++;
    return zeros == TAR_BLOCK;
}

/* Behind the last entry: what is packed is read to its own end, where its sum is. As put->step() has it. */
static int end(struct tar_in *in)
{
    ssize_t n = 1;
    if (!has_end(in))
        cli_complain(&in->put.complaints, "%s: it has no end: it may have been cut off behind the last entry",
                     in->put.prefix);
    while (unpack_is_packed(in->unpack) && n > 0 && !cli_interrupted())
        n = unpack_read(in->unpack, in->buffer, READ_SIZE);
    if (cli_interrupted())
        return -EINTR;
    if (n >= 0)
        return 0;
    in->read_error = (int)n;
    in->put.complaints.n++;
    tell_unpacking(in);
    tell_entries(in);
    return 0;
}

static int step(struct put *p)
{
    struct tar_in *in = (struct tar_in *)p;
    if (in->entry && archive_read_data_skip(in->a) < ARCHIVE_WARN)
        return give_up(in);
    in->needed = archive_filter_bytes(in->a, 0);
    buf_reset(&in->headers);
    in->heading = true;
    int h = archive_read_next_header(in->a, &in->entry);
    in->heading = false;
    if (h == ARCHIVE_EOF)
        return end(in);
    if (h == ARCHIVE_RETRY || h < ARCHIVE_WARN)
        return give_up(in);
    int r = note_entry(in);
    if (!r)
        r = look_at_headers(in);
    in->needed = INT64_MAX; /* until the next headers */
    if (!r)
        r = put_entry(in);
    return r < 0 ? r : 1;
}

static void progress(const struct put *p, uint64_t *ret_done, uint64_t *ret_total)
{
    const struct tar_in *in = (const struct tar_in *)p;
    *ret_done = unpack_bytes(in->unpack);
    *ret_total = in->size;
}

int tar_import(int fd, const char *name, struct target *to, struct copy_result *ret)
{
    static const struct put_source source = {.finishes_after_error = true,
                                             .step = step,
                                             .add_file = add_file,
                                             .complain = complain,
                                             .progress = progress};
    struct tar_in in = {0};
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        in.size = (uint64_t)st.st_size;
    int r = put_init(&in.put, &source, to, name);
    in.put.may_be_linked = true; /* of an entry nothing tells */
    if (!r)
        r = archive_open_in(&in, fd);
    if (!r)
        r = put_run(&in.put);
    put_done(&in.put, ret);
    archive_read_free(in.a);
    unpack_tell_sums(in.unpack, name);
    unpack_close(in.unpack);
    buf_done(&in.raw);
    buf_done(&in.headers);
    buf_done(&in.first);
    buf_done(&in.last);
    cut_levels(&in, 0);
    free(in.levels);
    free(in.buffer);
    return r;
}
