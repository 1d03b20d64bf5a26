/*
 * sink.c - see sink.h. State: struct sink. */
#include "ctl/transfer/sink.h"

#include "ctl/transfer/guarded.h"
#include "ctl/transfer/same.h"
#include "shared/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE ((size_t)1 << 20)

static int open_new(struct sink *s, bool over)
{
    int r = s->t->ops->stream_open(s->t, s->rec, over, &s->file);
    s->has_file = !r;
    return r;
}

/* Where data of the old file is, in [from, to); all of it where holes cannot be asked for. */
static bool next_data(struct sink *s, uint64_t from, uint64_t to, uint64_t *ret_from, uint64_t *ret_to)
{
    const struct target_ops *ops = s->t->ops;
    uint64_t data = from, hole = to;
    int r = ops->seek(s->t, &s->old, from, SEEK_DATA, &data);
    if (r == -ENXIO || data >= to)
        return false;
    if (!r && ops->seek(s->t, &s->old, data, SEEK_HOLE, &hole) < 0)
        hole = to;
    *ret_from = data;
    *ret_to = hole < to ? hole : to;
    return true;
}

/* What was copied is what was compared, if nobody has written to it, or cut it, in between. */
static int check_old(struct sink *s)
{
    const struct target_attr *have = &s->have;
    struct target_attr now;
    int r = s->t->ops->lookup(s->t, s->rec->parent, s->rec->name, &now);
    if (r < 0 && r != -ENOENT)
        return r;
    bool same = !r && now.dev == have->dev && now.ino == have->ino && now.size == have->size;
    return same && now.mtime == have->mtime ? 0 : -EREMCHG;
}

/* The old content up to `pos`, which is that of the new file, into it. */
static int copy_old(struct sink *s)
{
    const struct target_ops *ops = s->t->ops;
    uint64_t data, hole;
    for (uint64_t at = 0; at < s->pos && next_data(s, at, s->pos, &data, &hole); at = hole)
        for (; data < hole; data += PIECE) {
            size_t n = hole - data < PIECE ? (size_t)(hole - data) : PIECE;
            ssize_t got = ops->read(s->t, &s->old, s->piece, n, data);
            ssize_t put = got > 0 ? ops->write(s->t, &s->file, s->piece, (size_t)got, data) : got;
            if (put < 0 || cli_interrupted())
                return put < 0 ? (int)put : -EINTR;
        }
    return s->pos ? check_old(s) : 0;
}

/* From here on it is another content. */
static int diverge(struct sink *s)
{
    if (s->has_file)
        return 0;
    int r = open_new(s, false);
    if (!r)
        r = s->file.in_place ? s->t->ops->truncate(s->t, &s->file, s->pos) : copy_old(s);
    return r;
}

/* Whether the old file is not even to be looked at: what is copied of it would be whatever has been written
 * to it since, by those who have it open. */
static bool is_to_be_another(const struct sink *s)
{
    struct target_attr want;
    unsigned mask = same_changes(s->rec, &s->have, geteuid() == 0, &want);
    return same_takes_away(s->t, &s->have, &want, mask);
}

int sink_open(struct sink *s, struct target *t, struct eng_record *rec, bool over)
{
    *s = (struct sink){.t = t, .rec = rec, .piece = malloc(PIECE)};
    if (!s->piece)
        return -ENOMEM;
    if (over)
        return open_new(s, true);
    int r = t->ops->lookup(t, rec->parent, rec->name, &s->have);
    if (r < 0 && r != -ENOENT)
        return r;
    if (!r && !S_ISREG(s->have.mode))
        return S_ISDIR(s->have.mode) ? -EISDIR : -EEXIST;
    if (!r && t->keeps_attr) {
        rec->mode = s->have.mode;
        rec->uid = s->have.uid;
        rec->gid = s->have.gid;
    }
    if (!r && is_to_be_another(s)) {
        int n = open_new(s, true);
        if (n != -EACCES && n != -EPERM) /* where nothing can be made it stays what it is */
            return n;
    }
    s->has_old = !r && !t->ops->open(t, rec->parent, rec->name, &s->have, false, &s->old);
    return s->has_old ? 0 : diverge(s);
}

/* Whether the old file has zeros from `pos` to there. */
static bool is_zero(struct sink *s, uint64_t to)
{
    uint64_t data, hole;
    for (uint64_t at = s->pos; at < to && next_data(s, at, to, &data, &hole); at = hole)
        for (; data < hole; data += PIECE) {
            size_t n = hole - data < PIECE ? (size_t)(hole - data) : PIECE;
            ssize_t got = s->t->ops->read(s->t, &s->old, s->piece, n, data);
            if (got != (ssize_t)n || s->piece[0] || memcmp(s->piece, s->piece + 1, n - 1) != 0)
                return false;
        }
    return true;
}

static bool is_same(struct sink *s, const char *buf, size_t n, uint64_t offset)
{
    for (size_t at = 0; at < n;) {
        size_t part = n - at < PIECE ? n - at : PIECE;
        ssize_t got = s->t->ops->read(s->t, &s->old, s->piece, part, offset + at);
        if (got != (ssize_t)part || memcmp(s->piece, buf + at, part) != 0)
            return false;
        at += part;
    }
    return true;
}

int sink_write(struct sink *s, const void *buf, size_t n, uint64_t offset)
{
    if (offset < s->pos)
        return -EINVAL;
    bool same = !s->has_file && is_zero(s, offset) && is_same(s, buf, n, offset);
    int r = same ? 0 : diverge(s);
    if (!same && !r) {
        ssize_t w = s->t->ops->write(s->t, &s->file, buf, n, offset);
        r = w < 0 ? (int)w : 0;
    }
    if (!r)
        s->pos = offset + n;
    return r;
}

int sink_end(struct sink *s, uint64_t size)
{
    struct target_attr want;
    if (!s->has_file && s->have.size == size && is_zero(s, size)) {
        unsigned mask = same_changes(s->rec, &s->have, s->t->kind == TARGET_STORE || geteuid() == 0, &want);
        int r = same_xattrs(s->t, &s->old, s->rec);
        if (r < 0)
            return r;
        /* As in put(): what others may have linked to this name is not changed, but replaced; as is what its
         * owner may not write to. */
        bool may = s->t->kind == TARGET_STORE || geteuid() == 0 || (s->have.mode & 0200);
        if ((s->have.nlink == 1 && (r || may)) || (r && !mask)) {
            r = r ? 0 : same_set_xattrs(s->t, &s->old, s->rec);
            if (!r && mask)
                r = s->t->ops->setattr(s->t, s->rec->parent, s->rec->name, &want, mask);
            if (!r && mask && guarded_any(s->rec))
                r = same_add_xattrs(s->t, &s->old, s->rec);
            if (r != -E2BIG) /* they may fit without those that go */
                return r;
        }
    }
    int r = diverge(s);
    return r < 0 ? r : s->t->ops->truncate(s->t, &s->file, size);
}

int sink_close(struct sink *s, int r)
{
    if (s->has_file)
        r = s->t->ops->stream_close(s->t, s->rec, &s->file, r);
    if (s->has_old)
        (void)s->t->ops->close(s->t, &s->old);
    free(s->piece);
    return r;
}
