/*
 * bulk.c - many records in few batches: what an import needs. A batch is cut before it grows large, and
 * before a record whose name it already holds, since what is staged cannot be seen in the index yet. The
 * records of about one batch are drafted, hashed above all, before log.lock is taken. */
#include "commit/atimes.h"
#include "commit/commit.h"
#include "commit/orphans.h"
#include "index/extents.h"
#include "tree/content.h"
#include "tree/entries.h"
#include "tree/guards.h"
#include "tree/tails.h"
#include "tree/xattrs.h"
#include "upkeep/full_disk.h"

#define BATCH_OPS 2048u
#define BATCH_BYTES (4u << 20)
#define BATCH_PIECES 400u
#define RECORD_BYTES (16u << 20) /* content of one */
/* Of eng_put_all(): over so many extents each record may come, and some more for its size; so many things may
 * go with all of them, besides; and so large is the batch, that the log takes it. */
#define WHOLE_EXTENTS 16u
#define WHOLE_GONE 16384u
#define WHOLE_OPS (BATCH_N_OPS_MAX / 2)
#define WHOLE_BYTES (BATCH_OPS_MAX / 2)
#define SEEN_SLOTS 4096u /* power of two, above BATCH_OPS */

struct bulk {
    struct eng *eng;
    struct txn txn;
    struct draft draft;
    struct eng_record *records;
    size_t first, next; /* records [first, next) are staged */
    size_t drafted;     /* and [next, drafted) drafted, */
    size_t extent;      /* from this extent of the draft on */
    uint64_t tail;      /* the file, one a batch, of which the batch leaves a tail; 0: none */
    uint64_t crowded;   /* the file whose content is to be gathered before the next batch; 0: none */
    uint64_t spread;    /* the file whose xattrs are to be copied before it (xattrs_copy()); 0: none */
    uint64_t tailed;    /* the file whose tail is to be freed before it; 0: none */
    size_t gathered;    /* the record for which that was done last, + 1 */
    bool whole;         /* all records are one batch: eng_put_all() */
    uint64_t ino;       /* the file of the record that was staged last */
    uint32_t creates;
    struct table_ahead ahead; /* the numbers that they get */
    uint64_t dir;             /* whose path is in `path` */
    size_t dir_len;
    char path[EXTENT_NAME_MAX + 1];
    uint32_t seen[SEEN_SLOTS]; /* record index + 1 - first, by hash of parent and name */
};

static size_t seen_slot(const struct eng_record *rec)
{
    return codec_name_hash(0, ino_slot(rec->parent), rec->name, strlen(rec->name)) % SEEN_SLOTS;
}

/* Whether the batch holds that name already; if not, notes it. */
static bool seen_before(struct bulk *b, size_t i)
{
    const struct eng_record *rec = &b->records[i];
    size_t slot = seen_slot(rec);
    for (; b->seen[slot]; slot = (slot + 1) % SEEN_SLOTS) {
        const struct eng_record *other = &b->records[b->first + b->seen[slot] - 1];
        if (other->parent == rec->parent && strcmp(other->name, rec->name) == 0)
            return true;
    }
    b->seen[slot] = (uint32_t)(i - b->first + 1);
    return false;
}

/* The path hint of the record: the directory's path is kept from one record to the next. */
static uint32_t path_hint(struct bulk *b, const struct eng_record *rec)
{
    struct view live = view_live(b->eng);
    if (b->dir != rec->parent) {
        b->dir = rec->parent;
        view_begin(&live);
        b->dir_len = index_inode(live.idx, rec->parent)
                         ? index_path(live.idx, ino_slot(rec->parent), b->path, sizeof b->path)
                         : 0;
        if (view_end(&live, 0) != 0) /* a hint is not worth an error */
            b->dir_len = 0;
        if (b->dir_len && b->dir_len < sizeof b->path)
            b->path[b->dir_len++] = '/';
    }
    size_t len = strlen(rec->name);
    if (b->dir_len + len > EXTENT_NAME_MAX || (!b->dir_len && rec->parent != ENG_ROOT_INO))
        return 0;
    memcpy(b->path + b->dir_len, rec->name, len);
    return (uint32_t)(b->dir_len + len);
}

static uint64_t xattr_bytes(const struct eng_record *rec)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < rec->n_xattrs; i++)
        bytes += rec->xattrs[i].size;
    return bytes;
}

/* Of what is too large, which record_check() refuses, there is no draft. */
static bool may_draft(const struct eng_record *rec)
{
    bool may = rec->size <= RECORD_BYTES && (rec->n_xattrs <= ENG_XATTR_COUNT_MAX || MUTANT(MANY_XATTRS));
    for (size_t i = 0; i < rec->n_xattrs && may; i++)
        may = rec->xattrs[i].size <= ENG_XATTR_SIZE_MAX;
    return may;
}

/* How many extents the draft holds of it. */
static size_t content_extents(const struct eng_record *rec)
{
    return may_draft(rec) ? (rec->size + EXTENT_MAX - 1) / EXTENT_MAX : 0;
}

static size_t record_extents(const struct eng_record *rec)
{
    size_t n = content_extents(rec);
    for (size_t i = 0; i < rec->n_xattrs && may_draft(rec); i++)
        n += rec->xattrs[i].size > XATTR_INLINE_MAX;
    return n;
}

static int draft_record(struct bulk *b, const struct eng_record *rec)
{
    if (!may_draft(rec))
        return 0;
    int r = rec->size ? content_draft(&b->draft, rec->content, rec->size, b->path, path_hint(b, rec)) : 0;
    for (size_t i = 0; i < rec->n_xattrs && !r; i++)
        r = xattrs_draft(&b->draft, rec->xattrs[i].value, rec->xattrs[i].size);
    return r;
}

/* Drafts the next records, as many as a batch takes; without log.lock. */
static int draft_some(struct bulk *b, size_t n)
{
    uint64_t bytes = 0;
    int r = 0;
    draft_reset(&b->draft);
    b->extent = 0;
    b->dir = 0; /* names may have changed */
    for (b->drafted = b->next; b->drafted < n && !r && (bytes < BATCH_BYTES || b->whole); b->drafted += !r) {
        const struct eng_record *rec = &b->records[b->drafted];
        if (b->drafted - b->next >= BATCH_OPS)
            break;
        bytes += rec->size + xattr_bytes(rec);
        r = draft_record(b, rec);
    }
    return r;
}

static int stage_new(struct bulk *b, const struct eng_record *rec, int64_t now, uint64_t *ret_ino)
{
    uint64_t cookie = entries_new_cookie(b->eng) + b->creates;
    uint64_t ino = cookie <= COOKIE_MAX ? index_predict_ino(&b->eng->idx, &b->ahead) : 0;
    struct op *op = ino ? txn_op(&b->txn, OP_CREATE) : NULL;
    if (!op)
        return ino ? -ENOMEM : -ENOSPC;
    op->ino = ino;
    op->mode = S_IFREG | (rec->mode & 07777);
    op->uid = rec->uid;
    op->gid = rec->gid;
    op->time = now;
    op = txn_op(&b->txn, OP_LINK);
    if (!op)
        return -ENOMEM;
    op->parent = rec->parent;
    op->ino = ino;
    op->cookie = cookie;
    b->creates++;
    op->time = now;
    op->name = rec->name;
    op->name_len = (uint16_t)strlen(rec->name);
    *ret_ino = ino;
    return 0;
}

/* An existing file loses content and xattrs. */
static int stage_clear(struct bulk *b, const struct inode_rec *inode, uint64_t ino, int64_t now)
{
    struct op *op;
    bool tail = false;
    int r = tail_stage_size(b->eng, &b->txn, ino, 0, now, &tail);
    if (r)
        return r;
    if (tail)
        b->tail = ino;
    struct xattr_walk walk = {.next = inode->xattrs};
    while (index_next_xattr(&b->eng->idx, &walk)) {
        op = txn_op(&b->txn, OP_XATTR_DEL);
        if (!op)
            return -ENOMEM;
        op->ino = ino;
        op->time = now;
        op->name = walk.xattr.name; /* in the index, which does not change before the commit */
        op->name_len = (uint16_t)walk.xattr.name_len;
        b->txn.n_freed += 1 + eng_apart(b->eng);
    }
    b->txn.n_freed += eng_apart(b->eng) * (inode_in_tree(inode) ? 2 : 1);
    return 0;
}

/* Whether the batch would free more than a slice with what the file loses. */
static bool exceeds_slice(const struct bulk *b, const struct inode_rec *inode)
{
    return !MUTANT(FROZEN_AT_ONCE) && b->txn.n_freed &&
           b->txn.n_freed + orphans_weight(b->eng, inode) > eng_cut(b->eng);
}

/* Whether the record's content lies over more extents than a batch takes out. Once for each record: who
 * writes the file all the time must not hold it up. */
static bool is_over_many(struct bulk *b, const struct eng_record *rec, const struct inode_rec *inode,
                         uint64_t ino)
{
    uint32_t n = 0, slice = eng_cut(b->eng);
    uint64_t stop;
    if (b->whole)
        slice = WHOLE_EXTENTS + (uint32_t)(rec->size / (EXTENT_MAX / 4));
    if (inode_n_extents(inode) <= slice || b->gathered == b->next + 1)
        return false;
    return extents_count(&b->eng->idx, ino_slot(ino), 0, rec->size, slice, &n, &stop) == 0 &&
           stop < rec->size;
}

/* Whether a frozen view sees more xattrs of the file than one batch may copy. Once for each record, too. */
static bool has_spread_xattrs(const struct bulk *b, const struct inode_rec *inode)
{
    uint32_t max = eng_cut(b->eng) / (1 + eng_apart(b->eng));
    return eng_apart(b->eng) && b->gathered != b->next + 1 && !b->whole &&
           index_count_xattrs(&b->eng->idx, inode, max + 1) > max;
}

static int record_check(const struct bulk *b, const struct eng_record *rec, const struct inode_rec **ret_old,
                        uint64_t *ret_ino)
{
    const struct index *idx = &b->eng->idx;
    const struct inode_rec *dir = index_inode(idx, rec->parent);
    size_t len = strlen(rec->name);
    if (!dir)
        return -ESTALE;
    if (!S_ISDIR(dir->mode))
        return -ENOTDIR;
    if (!len || !dir->nlink)
        return -ENOENT;
    if (len > ENG_NAME_MAX)
        return -ENAMETOOLONG;
    if (strchr(rec->name, '/') || strcmp(rec->name, ".") == 0 || strcmp(rec->name, "..") == 0 ||
        rec->size > RECORD_BYTES)
        return -EINVAL;
    size_t list = 0;
    for (size_t i = 0; i < rec->n_xattrs; i++) {
        size_t name_len = strlen(rec->xattrs[i].name);
        if (!name_len || name_len > ENG_XATTR_NAME_MAX || rec->xattrs[i].size > ENG_XATTR_SIZE_MAX)
            return -ERANGE;
        list += name_len + 1;
    }
    if (list > ENG_XATTR_LIST_MAX &&
        !MUTANT(NO_LIST_LIMIT)) /* as eng_setxattr(): index_verify() would refuse the store */
        return -ENOSPC;
    if (rec->n_xattrs > ENG_XATTR_COUNT_MAX && !MUTANT(MANY_XATTRS))
        return -ENOSPC;
    const struct dentry_rec *d =
        index_dentry(idx, index_find_name(idx, ino_slot(rec->parent), rec->name, len));
    const struct inode_rec *old = d ? index_slot(idx, d->child) : NULL;
    if (old && !S_ISREG(old->mode))
        return S_ISDIR(old->mode) ? -EISDIR : -EEXIST;
    *ret_old = old;
    *ret_ino = old ? index_ino(old, d->child) : 0;
    return 0;
}

/* 0, or the negative errno of the record, or 1: it must begin a batch. */
static int stage_record(struct bulk *b, const struct eng_record *rec)
{
    const struct inode_rec *old = NULL;
    uint64_t ino = 0;
    int64_t now = now_ns();
    int r = record_check(b, rec, &old, &ino);
    if (r)
        return r;
    if (old && old->nlink > 1 && b->txn.n_ops && !b->whole)
        return 1; /* the batch may hold this file under another of its names */
    if (old && !b->whole && exceeds_slice(b, old))
        return 1; /* it frees a slice by itself */
    b->tailed = old && tail_in_way_of_size(b->eng, ino, 0) ? ino : 0;
    if (b->tailed)
        return 1;
    if (old) {
        b->crowded = is_over_many(b, rec, old, ino) ? ino : 0;
        b->spread = has_spread_xattrs(b, old) ? ino : 0;
        if (b->crowded || b->spread)
            return 1;
    }
    r = old ? stage_clear(b, old, ino, now) : stage_new(b, rec, now, &ino);
    size_t n = content_extents(rec), at = b->extent + n;
    if (!r)
        r = content_stage(&b->txn, &b->draft, b->extent, n, ino, 0, now);
    for (size_t i = 0; i < rec->n_xattrs && !r; i++)
        r = xattrs_stage(&b->txn, &b->draft, &at, ino, &rec->xattrs[i], now);
    struct op *op = r ? NULL : txn_op(&b->txn, OP_ATTR);
    if (!op)
        return r ? r : -ENOMEM;
    op->ino = ino;
    op->mask = ENG_SET_ATIME | ENG_SET_MTIME;
    op->atime = op->mtime = rec->mtime;
    op->ctime = now;
    b->ino = ino;
    atimes_drop(b->eng, ino);
    return 0;
}

/* Commits what is staged. The store's own failure is returned, and is the fate of these records. */
static int flush(struct bulk *b)
{
    int r = b->txn.n_ops ? commit_txn(b->eng, &b->txn) : 0;
    for (size_t i = b->first; i < b->next && r; i++) {
        if (!b->records[i].result)
            b->records[i].result = r;
    }
    if (!r && b->tail)
        orphans_add(b->eng, b->tail);
    if (r) /* which record is the next one is for the caller to say */
        b->crowded = b->spread = b->tailed = 0;
    b->tail = 0;
    b->first = b->next;
    b->creates = 0;
    b->ahead = (struct table_ahead){0};
    memset(b->seen, 0, sizeof b->seen);
    txn_reset(&b->txn);
    return r;
}

/* Stages the next record; what it staged before failing is taken back. False: the batch must be cut before
 * it. */
static bool stage_or_undo(struct bulk *b)
{
    struct txn_mark before = txn_mark(&b->txn);
    uint32_t creates = b->creates;
    struct table_ahead ahead = b->ahead;
    int r = stage_record(b, &b->records[b->next]);
    if (r > 0)
        return false;
    int doubt = r ? eng_doubt(b->eng) : 0; /* what was not found may only not be here */
    r = doubt ? doubt : r;
    b->extent += record_extents(&b->records[b->next]);
    b->records[b->next++].result = r;
    if (r) {
        txn_rewind(&b->txn, &before);
        b->creates = creates;
        b->ahead = ahead;
    }
    return true;
}

static bool batch_full(const struct bulk *b)
{
    return b->txn.n_ops >= BATCH_OPS || b->txn.extents_len >= BATCH_BYTES ||
           b->txn.n_pieces >= BATCH_PIECES || b->next - b->first >= eng_step(b->eng, BATCH_OPS);
}

/* What a batch of these records will need, about. */
static size_t batch_bytes(const struct eng_record *records, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n && bytes < BATCH_BYTES; i++)
        bytes += records[i].size + xattr_bytes(&records[i]) + 256;
    return MIN_OF(bytes, (size_t)BATCH_BYTES);
}

/* Gathers what the next record lies over, or frees what a truncation has left of the file. */
static int gather(struct bulk *b)
{
    int r = b->tailed ? commit_tail(b->eng, b->tailed) : 0;
    if (!r && b->crowded)
        r = content_gather(b->eng, b->crowded, 0, b->records[b->next].size);
    if (!r && b->spread)
        r = xattrs_copy(b->eng, b->spread);
    if (r && r != -ESTALE) /* else it has been removed meanwhile */
        return r;
    b->gathered = b->crowded || b->spread ? b->next + 1 : b->gathered;
    b->crowded = b->spread = b->tailed = 0;
    return 0;
}

/* One batch of the records that are left. */
static int put_batch(struct bulk *b, size_t n)
{
    int r = 0;
    if (b->crowded || b->spread || b->tailed)
        r = gather(b);
    if (!r && b->next == b->drafted && !MUTANT(LATE_DRAFT))
        r = draft_some(b, n);
    if (!r)
        r = commit_begin(b->eng);
    if (r)
        return r;
    if (b->next == b->drafted) /* LATE_DRAFT */
        r = draft_some(b, n);
    while (b->next < b->drafted && !batch_full(b) && !seen_before(b, b->next) && stage_or_undo(b))
        ;
    int flushed = flush(b);
    return commit_end(b->eng, r ? r : flushed);
}

static bool lacks_something(const struct eng_record *rec)
{
    bool lacks = !rec->name || (!rec->content && rec->size) || (!rec->xattrs && rec->n_xattrs);
    for (size_t i = 0; !lacks && i < rec->n_xattrs; i++)
        lacks = !rec->xattrs[i].name || (!rec->xattrs[i].value && rec->xattrs[i].size);
    return lacks;
}

ssize_t eng_put_many(struct eng *eng, struct eng_record *records, size_t n)
{
    if (!eng || (!records && n))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (lacks_something(&records[i]))
            return -EINVAL;
    }
    struct bulk *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->eng = eng;
    b->records = records;
    /* once, instead of growing into it each time */
    int r = buf_reserve(&b->draft.bytes, batch_bytes(records, n));
    while (b->next < n && !r) {
        size_t first = b->next;
        struct full_disk_try change = {.size = batch_bytes(records + first, n - first)};
        for (r = put_batch(b, n); full_disk_again(eng, &change, &r); r = put_batch(b, n))
            b->first = b->next = b->drafted = first; /* nothing of the batch has happened */
        if (r == -EAGAIN)
            b->next = first; /* nor has it now: what the records were told holds no longer */
    }
    ssize_t stored = 0;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        if (i >= b->next)
            records[i].result = r;
        stored += !records[i].result;
        bytes += records[i].result ? 0 : records[i].size;
    }
    txn_free(&b->txn);
    draft_free(&b->draft);
    free(b);
    COUNT(eng, writes, (uint64_t)stored);
    COUNT(eng, bytes_written, bytes);
    return r ? r : stored;
}

/* ---- all or nothing ------------------------------------------------------------------ */

/* Records that are one batch, with a guard each. */
struct whole {
    struct bulk *b;
    size_t n;
    struct guarded *guarded; /* one for each record */
    uint64_t *inos;          /* of what is staged */
    unsigned gathers;
};

static int find_target(const struct index *idx, const struct eng_record *rec, uint32_t *ret_slot)
{
    *ret_slot = 0;
    int r = entries_child(idx, rec->parent, rec->name, ret_slot);
    return r == -ENOENT ? 0 : r;
}

/* Under log.lock: the record, if its guard holds. 1 as of stage_record(). */
static int stage_guarded(struct whole *w, size_t i)
{
    struct bulk *b = w->b;
    const struct eng_record *rec = &b->records[i];
    uint32_t target;
    int r = find_target(&b->eng->idx, rec, &target);
    if (!r && seen_before(b, i))
        r = -EINVAL;
    if (!r)
        r = guards_check(b->eng, &w->guarded[i], 0, target);
    if (!r)
        r = stage_record(b, rec);
    if (r)
        return r;
    b->extent += record_extents(rec);
    w->inos[i] = b->ino;
    for (size_t k = 0; k < i; k++)
        if (w->inos[k] == b->ino) /* by another of its names */
            return -EINVAL;
    return 0;
}

/* Whether the log takes it as one batch, and readers do not wait for it too long. */
static bool is_one_batch(const struct txn *txn)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < txn->n_ops; i++)
        bytes += txn->ops[i].name_len + (txn->ops[i].value ? txn->ops[i].value_len : 0);
    return txn->n_freed <= WHOLE_GONE && txn->n_ops <= WHOLE_OPS && bytes <= WHOLE_BYTES;
}

static void forget_staged(struct bulk *b)
{
    txn_reset(&b->txn);
    memset(b->seen, 0, sizeof b->seen);
    b->first = b->next = b->extent = 0;
    b->creates = 0;
    b->ahead = (struct table_ahead){0};
}

/* One try: 1, something is to be gathered first for record b->next; -EINPROGRESS, a digest is wanted by the
 * guard of that. */
static int whole_once(struct whole *w)
{
    struct bulk *b = w->b;
    forget_staged(b);
    int r = draft_some(b, w->n);
    if (!r)
        r = commit_begin(b->eng);
    if (r)
        return r;
    while (!r && b->next < w->n) {
        r = stage_guarded(w, b->next);
        b->next += !r;
        if (!r && MUTANT(PUT_IN_PART)) {
            r = commit_txn(b->eng, &b->txn);
            txn_reset(&b->txn);
        }
    }
    if (!r && !is_one_batch(&b->txn))
        r = -E2BIG;
    if (!r && b->txn.n_ops)
        r = commit_txn(b->eng, &b->txn);
    const struct inode_rec *inode;
    for (size_t i = 0; i < w->n && !r; i++)
        if ((inode = index_inode(&b->eng->idx, w->inos[i])) && inode->flags & INODE_TAIL)
            orphans_add(b->eng, w->inos[i]);
    int ended = commit_end(b->eng, r < 0 ? r : 0);
    return ended ? ended : r;
}

#define WHOLE_GATHERS 4u /* for each record, and some more */

static int whole_try(struct whole *w)
{
    int r;
    do {
        r = whole_once(w);
        if (r == 1)
            r = ++w->gathers > WHOLE_GATHERS * (w->n + 1) ? -EBUSY : gather(w->b);
        else
            break;
    } while (!r);
    return r;
}

/* What belongs to one record and not to the store, so that its result tells it. */
static void tell_result(struct whole *w, int r)
{
    struct bulk *b = w->b;
    bool is_its = r && b->next < w->n && r != -ENOSPC && r != -EAGAIN && r != -EROFS && r != -EIO &&
                  r != -ENOMEM && r != -E2BIG && r != -EBUSY;
    for (size_t i = 0; i < w->n; i++)
        b->records[i].result = is_its && i == b->next ? r : 0;
}

static int put_whole(struct whole *w)
{
    struct bulk *b = w->b;
    struct full_disk_try change = {.size = batch_bytes(b->records, w->n)};
    bool again;
    int r;
    do {
        r = whole_try(w);
        again = b->next < w->n && guards_again(b->eng, &w->guarded[b->next], &r);
    } while (again || full_disk_again(b->eng, &change, &r));
    tell_result(w, r);
    return r;
}

static int whole_check(struct whole *w, const struct eng_guard *guards)
{
    const unsigned kinds = 1u << ENG_GUARD_STATE | 1u << ENG_GUARD_NONE | 1u << ENG_GUARD_SHA256 |
                           1u << ENG_GUARD_SEEN | 1u << ENG_GUARD_MOVED;
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct eng_guard *guard = guards && guards[i].kind ? &guards[i] : NULL;
        if (lacks_something(&w->b->records[i]) || guards_begin(&w->guarded[i], guard, kinds) != 0)
            return -EINVAL;
        bytes += w->b->records[i].size + xattr_bytes(&w->b->records[i]);
    }
    return bytes <= ENG_PUT_ALL_BYTES ? 0 : -E2BIG;
}

int eng_put_all(struct eng *eng, struct eng_record *records, const struct eng_guard *guards, size_t n)
{
    if (!eng || (!records && n))
        return -EINVAL;
    if (n > ENG_PUT_ALL_MAX)
        return -E2BIG;
    struct whole w = {.b = calloc(1, sizeof *w.b), .n = n};
    w.guarded = calloc(n + 1, sizeof *w.guarded);
    w.inos = calloc(n + 1, sizeof *w.inos);
    int r = w.b && w.guarded && w.inos ? 0 : -ENOMEM;
    if (!r) {
        w.b->eng = eng;
        w.b->records = records;
        w.b->whole = true;
        r = whole_check(&w, guards);
    }
    if (!r)
        r = put_whole(&w);
    for (size_t i = 0; i < n && !r; i++)
        COUNT(eng, bytes_written, records[i].size);
    COUNT(eng, writes, r ? 0 : n);
    if (w.b) {
        txn_free(&w.b->txn);
        draft_free(&w.b->draft);
    }
    free(w.inos);
    free(w.guarded);
    free(w.b);
    return r;
}
