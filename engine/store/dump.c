/*
 * dump.c - the records of one segment file, for people who look for a fault. Nothing is opened or
 * replayed: the file is read as it is, of a store that is mounted, damaged or unknown as well. Each record
 * tells which of its checksums do not hold; where no record can be made out the dump goes on at the next
 * place that looks like one. */
#include "admin.h"
#include "base/util.h"
#include "disk/codec.h"
#include "disk/segments.h"
#include "disk/summary.h"
#include "image/segment_file.h"

#include <stdio.h>

struct dump {
    struct io_file *file;
    const struct eng_io_ops *ops;
    uint64_t end, size, at; /* what is told ends at `end`, or where the file does: `size` */
    struct seg_file sf;     /* which part of it cannot be read */
    bool content;           /* verify the payload of extents, too */
    int (*emit)(void *arg, const struct eng_dump_item *item);
    void *arg;
    struct buf ops_buf, extent;
    struct eng_dump_field fields[20];
    size_t n;
    bool later; /* of the operation that is told */
    char flags[40];
};

static void put(struct dump *d, const char *key, enum eng_dump_type type, uint64_t number)
{
    d->fields[d->n++] = (struct eng_dump_field){.key = key, .type = type, .number = number};
}

static void put_bytes(struct dump *d, const char *key, const void *bytes, size_t len)
{
    d->fields[d->n++] =
        (struct eng_dump_field){.key = key, .type = ENG_DUMP_BYTES, .bytes = bytes, .len = len};
}

static int emit(struct dump *d, int depth, const char *kind, uint64_t offset, uint64_t size,
                const char *problem)
{
    struct eng_dump_item item = {.depth = depth,
                                 .kind = kind,
                                 .offset = offset,
                                 .size = size,
                                 .fields = d->fields,
                                 .n_fields = d->n,
                                 .problem = problem,
                                 .later = d->later};
    d->n = 0;
    d->later = false;
    return d->emit(d->arg, &item);
}

/* -EBADMSG: there is less. What cannot be read is zeros, so that what lies around it is told. */
static int read_at(struct dump *d, void *buf, size_t size, uint64_t at)
{
    if (at > d->size || size > d->size - at)
        return -EBADMSG;
    ssize_t n = segment_file_read_around(d->ops, &d->sf, d->file, buf, size, at);
    if (n < 0)
        return (int)n;
    return (size_t)n == size ? 0 : -EBADMSG;
}

static int read_into(struct dump *d, struct buf *buf, size_t size, uint64_t at)
{
    if (at > d->size || size > d->size - at) /* before memory is taken for what a header merely says */
        return -EBADMSG;
    buf->len = 0;
    int r = buf_reserve(buf, size + 1);
    return r ? r : read_at(d, buf->data, size, at);
}

/* ---- ops -------------------------------------------------------------------------- */

/* Which fields an op has: by their bits, in the order of the dump. */
enum {
    F_INO = 1 << 0,
    F_PARENT = 1 << 1,
    F_OTHER = 1 << 2,
    F_COOKIE = 1 << 3,
    F_TIME = 1 << 4,
    F_OFF = 1 << 5,
    F_LEN = 1 << 6,
    F_MODE = 1 << 7,
    F_RDEV = 1 << 8,
    F_ATTR = 1 << 9,
    F_LOC = 1 << 10,
    F_OLD = 1 << 11,
    F_NAME = 1 << 12,
    F_VALUE = 1 << 13,
    F_PAST = 1 << 14,
    F_FROM_TO = 1 << 15, /* a range of bytes */
    F_ACTOR = 1 << 17,
    F_AGE = 1 << 18,
    F_REASON = 1 << 19,
    F_END = 1 << 20,
    F_NUMBER = 1 << 21,
    F_BATCH = 1 << 22,
};
static const struct {
    const char *name;
    unsigned fields;
} op_kinds[OP_TYPES] = {
    [OP_CREATE] = {"create", F_INO | F_MODE | F_RDEV | F_TIME | F_VALUE},
    [OP_LINK] = {"link", F_PARENT | F_NAME | F_INO | F_COOKIE | F_TIME},
    [OP_UNLINK] = {"unlink", F_PARENT | F_NAME | F_INO | F_TIME},
    [OP_REPOINT] = {"repoint", F_PARENT | F_NAME | F_INO | F_OTHER | F_TIME},
    [OP_ATTR] = {"attr", F_INO | F_MODE | F_ATTR},
    [OP_TRUNCATE] = {"truncate", F_INO | F_LEN | F_TIME},
    [OP_EXTENT] = {"extent", F_INO | F_OFF | F_LOC | F_TIME},
    [OP_PUNCH] = {"punch", F_INO | F_OFF | F_LEN | F_TIME},
    [OP_XATTR_SET] = {"xattr-set", F_INO | F_NAME | F_VALUE | F_TIME},
    [OP_XATTR_EXTENT] = {"xattr-extent", F_INO | F_NAME | F_LOC | F_TIME},
    [OP_XATTR_DEL] = {"xattr-del", F_INO | F_NAME | F_TIME},
    [OP_RELOCATE] = {"relocate", F_INO | F_OFF | F_OLD | F_LOC},
    [OP_FREE] = {"free", F_INO},
    [OP_SEGMENT] = {"segment", F_INO | F_LEN},
    [OP_BY] = {"by", F_ACTOR | F_NAME},
    [OP_MOMENT] = {"moment", F_TIME | F_AGE},
    [OP_KEEP] = {"keep", F_INO | F_PAST},
    [OP_REWRITE] = {"rewrite", F_INO | F_OFF | F_LOC | F_TIME | F_FROM_TO},
    [OP_SNAPSHOT] = {"snapshot", F_NAME | F_TIME},
    [OP_SNAPSHOT_NAME] = {"snapshot-name", F_BATCH | F_NAME},
    [OP_FLOOR] = {"floor", F_BATCH | F_REASON},
    [OP_DROP] = {"drop", F_PAST | F_OFF | F_LEN},
    [OP_DROP_NAME] = {"drop-name", F_PARENT | F_INO | F_COOKIE | F_END},
    [OP_REVERT] = {"revert", F_INO | F_PAST | F_OFF | F_LEN | F_TIME},
    [OP_SWITCH] = {"switch", F_NUMBER},
    [OP_THIN] = {"thin", F_BATCH | F_END},
};

static void put_locator(struct dump *d, const struct locator *l, const char *const keys[4])
{
    put(d, keys[0], ENG_DUMP_NUMBER, l->seg);
    put(d, keys[1], ENG_DUMP_NUMBER, locator_offset(l));
    put(d, keys[2], ENG_DUMP_NUMBER, l->skip);
    put(d, keys[3], ENG_DUMP_NUMBER, l->len);
}

/* Those of a history, as words. */
static void put_flags(struct dump *d, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *word;
    } words[] = {
        {OP_KEPT, "kept "}, {OP_SAME, "same "}, {OP_NOT_FOR_PAST, "not-for-past "}, {OP_MOVED, "moved "}};
    size_t len = 0;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (flags & words[i].flag)
            len += (size_t)snprintf(d->flags + len, sizeof d->flags - len, "%s", words[i].word);
    if (len)
        put_bytes(d, "flags", d->flags, len - 1);
}

static int dump_op(struct dump *d, const struct op *op, uint64_t offset, uint64_t size)
{
    static const char *const to[] = {"segment", "at", "skip", "len"};
    static const char *const from[] = {"from_segment", "from_at", "from_skip", "from_len"};
    unsigned f = op_kinds[op->type].fields;
    const struct {
        unsigned bit;
        const char *key;
        enum eng_dump_type type;
        uint64_t number;
    } numbers[] = {
        {F_PARENT, "parent", ENG_DUMP_NUMBER, op->parent},
        {F_INO, "ino", ENG_DUMP_NUMBER, op->ino},
        {F_OTHER, "other", ENG_DUMP_NUMBER, op->other},
        {F_COOKIE, "cookie", ENG_DUMP_NUMBER, op->cookie},
        {F_OFF, "offset", ENG_DUMP_NUMBER, op->off},
        {F_LEN, "len", ENG_DUMP_NUMBER, op->len},
        {F_ATTR, "mask", ENG_DUMP_NUMBER, op->mask},
        {F_MODE, "mode", ENG_DUMP_OCTAL, op->mode},
        {F_MODE, "uid", ENG_DUMP_NUMBER, op->uid},
        {F_MODE, "gid", ENG_DUMP_NUMBER, op->gid},
        {F_RDEV, "rdev", ENG_DUMP_NUMBER, op->rdev},
        {F_ATTR, "atime", ENG_DUMP_TIME, (uint64_t)op->atime},
        {F_ATTR, "mtime", ENG_DUMP_TIME, (uint64_t)op->mtime},
        {F_ATTR, "ctime", ENG_DUMP_TIME, (uint64_t)op->ctime},
        {F_TIME, "time", ENG_DUMP_TIME, (uint64_t)op->time},
        {F_ACTOR, "actor", ENG_DUMP_NUMBER, op->actor},
        {F_ACTOR, "user", ENG_DUMP_NUMBER, op->user},
        {F_AGE, "age", ENG_DUMP_NUMBER, op->age},
        {F_PAST, "past", ENG_DUMP_NUMBER, op->past},
        {F_NUMBER, "number", ENG_DUMP_NUMBER, op->number},
        {F_FROM_TO, "from", ENG_DUMP_NUMBER, op->from},
        {F_FROM_TO, "to", ENG_DUMP_NUMBER, op->to},
        {F_BATCH, "batch", ENG_DUMP_NUMBER, op->batch},
        {F_REASON, "reason", ENG_DUMP_NUMBER, op->reason},
        {F_END, "end", ENG_DUMP_NUMBER, op->end},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (f & numbers[i].bit)
            put(d, numbers[i].key, numbers[i].type, numbers[i].number);
    if (f & F_OLD)
        put_locator(d, &op->old, from);
    if (f & F_LOC)
        put_locator(d, &op->loc, to);
    if (f & F_NAME)
        put_bytes(d, "name", op->name, op->name_len);
    if (f & F_VALUE && op->value_len)
        put_bytes(d, "value", op->value, op->value_len);
    put_flags(d, op->flags);
    d->later = op->flags & OP_LATER;
    return emit(d, 2, op_kinds[op->type].name, offset, size, NULL);
}

/* ---- extents ---------------------------------------------------------------------- */

static const char *extent_problem(struct dump *d, const struct extent_header *h)
{
    const uint8_t *head = d->extent.data;
    if (extent_head_check(head, h->ino, h->file_off, h->len) != 0)
        return "the checksum of its header does not hold";
    if (d->content &&
        extent_blocks_check(head, 0, extent_blocks(h->len), head + extent_head_size(h->len)) != 0)
        return "the checksum of its content does not hold";
    return NULL;
}

/* The extent at `at`, which ends before `end`. *ret_size 0: there is none. */
static int dump_extent(struct dump *d, int depth, uint64_t at, uint64_t end, uint64_t *ret_size)
{
    struct extent_header h;
    *ret_size = 0;
    int r = end - at < sizeof h ? -EBADMSG : read_at(d, &h, sizeof h, at);
    if (r == -EBADMSG || (!r && (h.magic != EXTENT_MAGIC || !h.len || h.len > EXTENT_MAX ||
                                 h.name_len > EXTENT_NAME_MAX || extent_size(h.len, h.name_len) > end - at)))
        return 0;
    uint64_t size = extent_size(h.len, h.name_len);
    r = r ? r : read_into(d, &d->extent, size, at);
    if (r)
        return r == -EBADMSG ? 0 : r;
    put(d, "ino", ENG_DUMP_NUMBER, h.ino);
    if (h.file_off == EXTENT_XATTR_OFF)
        put_bytes(d, "of", "attribute", 9);
    else
        put(d, "offset", ENG_DUMP_NUMBER, h.file_off);
    put(d, "len", ENG_DUMP_NUMBER, h.len);
    put(d, "seq", ENG_DUMP_NUMBER, h.seq);
    if (h.name_len)
        put_bytes(d, "path", d->extent.data + extent_head_size(h.len) + ALIGN8(h.len), h.name_len);
    *ret_size = size;
    return emit(d, depth, "data", at, size, extent_problem(d, &h));
}

/* Extents from `at` to `end`, as far as they can be made out; *ret_at: up to where. */
static int dump_extents(struct dump *d, int depth, uint64_t at, uint64_t end, uint64_t *ret_at)
{
    uint64_t size = 1;
    int r = 0;
    while (!r && size && at < end) {
        r = dump_extent(d, depth, at, end, &size);
        at += size;
    }
    *ret_at = at;
    return r;
}

/* ---- batches ---------------------------------------------------------------------- */

static int dump_ops(struct dump *d, uint64_t at, size_t size, uint32_t n)
{
    int r = 0;
    size_t used = 0, step;
    struct op op;
    for (uint32_t i = 0; !r && i < n; i++) {
        if (op_decode(d->ops_buf.data + used, size - used, &op, &step) != 0)
            return emit(d, 2, "unreadable", at + used, size - used, "no operation can be made out here");
        r = dump_op(d, &op, at + used, step);
        used += step;
    }
    return r;
}

/* Whether the lengths of a batch whose checksum does not hold can be right: it ends where the next one
 * begins. */
static bool ends_well(struct dump *d, uint64_t end)
{
    uint32_t magic;
    return end == d->size || (end < d->size && read_at(d, &magic, sizeof magic, end) == 0 &&
                              (magic == BATCH_MAGIC || magic == 0));
}

/* Operations and extents of a batch, up to `end`. */
static int dump_batch_content(struct dump *d, const struct batch_header *h, uint64_t end)
{
    uint64_t at = d->at + sizeof *h + h->ops_len;
    int r = dump_ops(d, d->at + sizeof *h, h->ops_len, h->n_ops);
    if (!r)
        r = dump_extents(d, 2, at, end, &at);
    return !r && at < end ? emit(d, 2, "unreadable", at, end - at, "no extent can be made out here") : r;
}

/* The batch at d->at. *ret_size 0: there is none. */
static int dump_batch(struct dump *d, uint64_t *ret_size)
{
    struct batch_header h;
    *ret_size = 0;
    int r = read_at(d, &h, sizeof h, d->at);
    if (r == -EBADMSG || (!r && !batch_header_fits(&h, d->size - d->at - sizeof h)))
        return 0;
    r = r ? r : read_into(d, &d->ops_buf, h.ops_len, d->at + sizeof h);
    if (r)
        return r == -EBADMSG ? 0 : r;
    put(d, "seq", ENG_DUMP_NUMBER, h.seq);
    put(d, "durable_seq", ENG_DUMP_NUMBER, h.durable_seq);
    put(d, "time", ENG_DUMP_TIME, (uint64_t)h.time);
    put(d, "ops", ENG_DUMP_NUMBER, h.n_ops);
    put(d, "ops_len", ENG_DUMP_NUMBER, h.ops_len);
    put(d, "extents_len", ENG_DUMP_NUMBER, h.extents_len);
    put(d, "chain", ENG_DUMP_HEX, h.chain);
    put(d, "sum", ENG_DUMP_HEX, h.sum);
    uint64_t end = d->at + sizeof h + h.ops_len + h.extents_len;
    bool good = h.sum == batch_sum(&h, d->ops_buf.data), whole = end <= d->size;
    if (!good && !ends_well(d, end)) { /* what follows is told as far as it is a record by itself */
        *ret_size = sizeof h;
        return emit(d, 1, "batch", d->at, sizeof h, "neither its checksum nor its length can be right");
    }
    end = MIN_OF(end, d->size);
    *ret_size = end - d->at;
    const char *problem = whole ? NULL : "the file ends within it";
    if (!good)
        problem = "its checksum does not hold";
    r = emit(d, 1, "batch", d->at, *ret_size, problem);
    return r ? r : dump_batch_content(d, &h, end);
}

/* ---- the file --------------------------------------------------------------------- */

static int dump_header(struct dump *d, struct segment_header *ret_header)
{
    struct segment_header *h = ret_header;
    int r = read_at(d, h, sizeof *h, 0);
    if (r == -EBADMSG)
        return emit(d, 0, "unreadable", 0, d->size, "shorter than the header of a segment");
    if (r)
        return r;
    const char *of = "unknown";
    if (h->kind == SEGMENT_LOG)
        of = "log";
    else if (h->kind == SEGMENT_SURVIVORS)
        of = "survivors";
    put_bytes(d, "of", of, strlen(of));
    put(d, "version", ENG_DUMP_NUMBER, segment_header_version(h));
    put(d, "id", ENG_DUMP_NUMBER, h->id);
    put(d, "first_seq", ENG_DUMP_NUMBER, h->first_seq);
    put(d, "durable_seq", ENG_DUMP_NUMBER, h->durable_seq);
    put(d, "created", ENG_DUMP_TIME, (uint64_t)h->created);
    put(d, "chain", ENG_DUMP_HEX, h->chain);
    put(d, "sum", ENG_DUMP_HEX, h->sum);
    return emit(d, 0, "segment", 0, sizeof *h,
                segment_header_check(h, h->uuid, d->sf.id)
                    ? "its checksum does not hold, or it is of another segment"
                    : NULL);
}

/* The next place behind d->at that looks like a record; *ret_zeros: nothing but zeros lies before it. */
static int find_record(struct dump *d, uint64_t *ret_at, bool *ret_zeros)
{
    CLEANUP_FREE uint8_t *window = malloc(1 << 16);
    bool zeros = true;
    for (uint64_t at = d->at; window && at < d->size; at += 1 << 16) {
        at = io_skip_hole(d->file, d->ops, at);
        if (at >= d->size)
            break;
        size_t n = MIN_OF((uint64_t)1 << 16, d->size - at);
        int r = read_at(d, window, n, at);
        if (r)
            return r;
        for (size_t i = 0; i < n; i++) {
            uint32_t magic = 0;
            if (i % 8 == 0 && at + i > d->at && n - i >= sizeof magic)
                memcpy(&magic, window + i, sizeof magic);
            if (magic == BATCH_MAGIC || magic == EXTENT_MAGIC) {
                *ret_at = at + i;
                *ret_zeros = zeros;
                return 0;
            }
            zeros = zeros && !window[i];
        }
    }
    *ret_at = d->size;
    *ret_zeros = zeros;
    return window ? 0 : -ENOMEM;
}

#define ENTRIES_STEP (1u << 20)

/* The entries of a summary, which end where they cannot be any. */
static int read_entries(struct dump *d, uint32_t len, bool *good)
{
    int r = 0;
    d->extent.len = 0;
    while (!r && *good && d->extent.len < len) {
        size_t n = MIN_OF(len - d->extent.len, (size_t)ENTRIES_STEP);
        r = buf_reserve(&d->extent, n);
        if (!r)
            r = read_at(d, d->extent.data + d->extent.len, n, d->at + d->extent.len);
        *good = !r && !io_has_hole(d->extent.data + d->extent.len, n);
        d->extent.len += n;
    }
    return r;
}

/* Whether the rest of the file is a summary, or was one. */
static int dump_summary(struct dump *d, uint64_t *ret_size)
{
    struct summary_footer f;
    uint64_t left = d->size - d->at;
    *ret_size = 0;
    int r = left < sizeof f ? -EBADMSG : read_at(d, &f, sizeof f, d->size - sizeof f);
    if (r == -EBADMSG || (!r && (f.magic != SUMMARY_MAGIC || f.len != left - sizeof f)))
        return 0;
    bool good = summary_footer_check(&f, d->sf.id, f.store, d->size) == 0;
    r = r ? r : read_entries(d, f.len, &good);
    if (r)
        return r;
    good = good && summary_entries_check(&f, d->extent.data) == 0;
    put(d, "segment", ENG_DUMP_NUMBER, f.segment);
    put(d, "entries", ENG_DUMP_NUMBER, f.n);
    put(d, "entries_len", ENG_DUMP_NUMBER, f.len);
    put(d, "sum", ENG_DUMP_HEX, f.sum);
    *ret_size = left;
    return emit(d, 1, "summary", d->at, left, good ? NULL : "its checksum does not hold");
}

/* What lies at d->at is no record. Zeros at the end were written ahead of the log. */
static int dump_gap(struct dump *d, uint64_t *ret_size)
{
    uint64_t next = d->size;
    bool zeros = false;
    d->sf.unread = 0;
    int r = find_record(d, &next, &zeros);
    if (r)
        return r;
    *ret_size = next - d->at;
    if (d->sf.unread)
        return emit(d, 1, "unreadable", d->at, *ret_size, "cannot be read from the disk, or only in part");
    zeros = zeros && next == d->size;
    if (zeros)
        return emit(d, 1, "zeros", d->at, *ret_size, NULL);
    return emit(d, 1, "unreadable", d->at, *ret_size, "no record can be made out here");
}

static int dump_records(struct dump *d, bool log)
{
    int r = 0;
    while (!r && d->at < d->size) {
        uint64_t size = 0;
        if (log)
            r = dump_batch(d, &size);
        if (!r && !size) /* of a log: what is left of a batch whose header is gone */
            r = dump_extent(d, 1, d->at, d->size, &size);
        if (!r && !size)
            r = dump_summary(d, &size);
        if (!r && !size)
            r = dump_gap(d, &size);
        d->at += size;
    }
    return r;
}

static int dump_file(struct eng_io *io, struct dump *d)
{
    struct segment_header h = {0};
    char name[SEGMENT_NAME_SIZE];
    segment_name(d->sf.id, name);
    int r = io->ops->open(io, name, IO_RDONLY, &d->file);
    if (r)
        return r;
    d->ops = io->ops;
    d->at = sizeof h;
    r = d->ops->file_size(d->file, &d->size);
    d->size = MIN_OF(d->size, d->end);
    d->sf.size = d->size;
    if (!r)
        r = dump_header(d, &h);
    if (!r)
        r = dump_records(d, h.kind != SEGMENT_SURVIVORS);
    d->ops->close(d->file);
    buf_free(&d->ops_buf);
    buf_free(&d->extent);
    return r;
}

int eng_dump_until(const char *store, struct eng_io *io, uint32_t segment, bool content, uint64_t end,
                   int (*emit_item)(void *arg, const struct eng_dump_item *item), void *arg)
{
    struct eng_io *own = NULL;
    struct dump d = {.emit = emit_item, .arg = arg, .sf.id = segment, .content = content, .end = end};
    if ((!store && !io) || !emit_item)
        return -EINVAL;
    int r = io ? 0 : io_posix_new(store, false, &own);
    if (r)
        return r;
    r = dump_file(io ? io : own, &d);
    io_posix_free(own);
    return r;
}

int eng_dump(const char *store, struct eng_io *io, uint32_t segment, bool content,
             int (*emit_item)(void *arg, const struct eng_dump_item *item), void *arg)
{
    return eng_dump_until(store, io, segment, content, UINT64_MAX, emit_item, arg);
}
