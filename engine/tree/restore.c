/*
 * restore.c - eng_restore(): memories become again what they were, by changes as anybody makes them, in one
 * batch.
 *
 * What differs between a memory and what it is to become is found block by block, by where the two have their
 * content: what both have in one place is the same. Only that is read, from a view of then, and encoded,
 * before log.lock is taken. Under the lock nothing may have changed since, else it begins anew; then each
 * state that ends is kept (OP_KEEP), whatever else the store keeps. */
#include "commit/commit.h"
#include "commit/orphans.h"
#include "index/extents.h"
#include "tree/content.h"
#include "tree/past_view.h"
#include "tree/tails.h"
#include "tree/xattrs.h"
#include "upkeep/full_disk.h"

#define SEEK_TO_DATA 3 /* SEEK_DATA and SEEK_HOLE */
#define SEEK_TO_HOLE 4
#define LOOK_PIECES 512u             /* of each of the two, looked up in one section */
#define PART_MAX (UINT64_C(1) << 20) /* bytes of content that are compared at once; whole extents */
#define MODE_BITS 07777u

/* Whole blocks, but for the end of the file. */
struct range {
    uint64_t off, end;
    bool is_hole; /* in what is to be */
    bool is_same; /* no byte differs */
};

struct ranges {
    struct range *at;
    size_t n, cap;
};

/* What may be different, or tells that something has changed. */
struct restore_state {
    uint64_t version, state, size;
    uint32_t mode, uid, gid;
};

struct memory {
    uint64_t ino, from;
    const struct view *view; /* in which `from` is what `ino` is to be */
    struct restore_state is, then;
    struct ranges differ, parts; /* where, and the same parted into content and holes */
    size_t extent;               /* its first in the draft */
    char *names;                 /* of what it is to have, one behind the other */
    char *gone;                  /* of what it has and is to have no more, */
    size_t gone_len;             /* bytes */
    struct eng_xattr_pair *sets;
    size_t n_sets;
    bool has_tail; /* the batch leaves one */
};

struct restoring {
    struct eng *eng;
    struct memory *all;
    size_t n;
    struct eng_view **views;
    size_t n_views;
    struct draft draft;
    void **blobs; /* content and values, which the draft borrows */
    size_t n_blobs, cap_blobs;
    uint64_t bytes;              /* in them */
    uint32_t n_taken;            /* extents and xattrs that the batch takes out */
    const struct memory *in_way; /* it has a tail, or lies in more extents than a batch takes */
};

/* ---- memory ------------------------------------------------------------------ */

static void memory_reset(struct memory *m)
{
    m->differ.n = m->parts.n = 0;
    m->n_sets = m->gone_len = 0;
    free(STEAL(m->names));
    free(STEAL(m->gone));
    free(STEAL(m->sets));
}

static void plan_reset(struct restoring *re)
{
    for (size_t i = 0; i < re->n; i++)
        memory_reset(&re->all[i]);
    for (size_t i = 0; i < re->n_blobs; i++)
        free(re->blobs[i]);
    re->n_blobs = 0;
    re->bytes = 0;
    draft_reset(&re->draft);
}

static void restoring_done(struct restoring *re)
{
    if (re->all)
        plan_reset(re);
    for (size_t i = 0; i < re->n && re->all; i++) {
        free(re->all[i].differ.at);
        free(re->all[i].parts.at);
    }
    for (size_t i = 0; i < re->n_views; i++)
        eng_view_close(re->views[i]);
    draft_free(&re->draft);
    free(re->blobs);
    free(re->views);
    free(re->all);
}

/* So many bytes more, which live as long as the draft. -EFBIG: too many. */
static int blob_new(struct restoring *re, size_t size, void **ret_blob)
{
    if (size > ENG_RESTORE_MAX - re->bytes)
        return -EFBIG;
    int r = array_grow(&re->blobs, &re->cap_blobs, re->n_blobs + 1, sizeof *re->blobs);
    void *blob = r ? NULL : malloc(size + 1);
    if (!blob)
        return -ENOMEM;
    re->blobs[re->n_blobs++] = blob;
    re->bytes += size;
    *ret_blob = blob;
    return 0;
}

/* The last one, of that size, is not needed. */
static void blob_drop(struct restoring *re, size_t size)
{
    free(re->blobs[--re->n_blobs]);
    re->bytes -= size;
}

static int range_add(struct ranges *ranges, uint64_t off, uint64_t end, bool is_hole)
{
    if (ranges->n >= FREED_PER_BATCH)
        return -EFBIG;
    int r = array_grow(&ranges->at, &ranges->cap, ranges->n + 1, sizeof *ranges->at);
    if (!r)
        ranges->at[ranges->n++] = (struct range){.off = off, .end = end, .is_hole = is_hole};
    return r;
}

/* ---- what differs --------------------------------------------------------------- */

static struct restore_state state_of(const struct inode_rec *inode)
{
    return (struct restore_state){.version = inode->version,
                                  .state = inode->state,
                                  .size = inode->size,
                                  .mode = inode->mode,
                                  .uid = inode->uid,
                                  .gid = inode->gid};
}

/* Nobody has changed it since. */
static bool is_still(const struct inode_rec *inode, const struct restore_state *was)
{
    return inode->version == was->version && inode->state == was->state && inode->size == was->size &&
           inode->mode == was->mode && inode->uid == was->uid && inode->gid == was->gid;
}

static int check_regular(const struct inode_rec *inode)
{
    if (!inode)
        return -ESTALE;
    if (!S_ISREG(inode->mode))
        return S_ISDIR(inode->mode) ? -EISDIR : -EINVAL;
    return 0;
}

/* The memory as it is. Without a name nobody would find it again. */
static int check_head(const struct inode_rec *inode)
{
    return inode && !inode->nlink ? -ESTALE : check_regular(inode);
}

/* In a section: both. */
static int states_of(const struct memory *m, const struct inode_rec **ret_is,
                     const struct inode_rec **ret_then)
{
    *ret_is = index_inode(m->view->idx, m->ino);
    *ret_then = view_state(m->view, m->from);
    int r = check_head(*ret_is);
    return r ? r : check_regular(*ret_then);
}

struct looked {
    struct past_piece at[LOOK_PIECES];
    size_t n, i; /* i: the first that ends behind where the comparison is */
};

/* In a section: what the inode in the slot, or past state, has in [off, *end), or in less of it. */
static int look(const struct index *idx, uint32_t slot, uint64_t off, struct looked *l, uint64_t *end)
{
    const struct inode_rec *inode = index_slot(idx, slot);
    l->n = l->i = 0;
    if (inode->flags & INODE_PAST)
        return past_read(idx, slot, off, *end, l->at, LOOK_PIECES, &l->n, end);
    uint64_t stop = MIN_OF(*end, inode->size);
    while (off < stop) {
        struct past_piece *p = &l->at[l->n];
        int r = l->n < LOOK_PIECES ? index_extent(idx, slot, off, &p->off, &p->loc) : 0;
        if (l->n == LOOK_PIECES)
            *end = off;
        if (r || l->n == LOOK_PIECES || p->off >= stop)
            return MIN_OF(r, 0);
        l->n++;
        off = p->off + p->loc.len;
    }
    return 0;
}

/* What has the byte at `off`, NULL: nothing; *end: how far one thing can be said of it. */
static const struct past_piece *piece_at(struct looked *l, uint64_t off, uint64_t *end)
{
    while (l->i < l->n && l->at[l->i].off + l->at[l->i].loc.len <= off)
        l->i++;
    const struct past_piece *p = l->i < l->n ? &l->at[l->i] : NULL;
    if (!p)
        return NULL;
    bool has = p->off <= off;
    *end = MIN_OF(*end, has ? p->off + p->loc.len : p->off);
    return has ? p : NULL;
}

static bool in_one_place(const struct past_piece *a, const struct past_piece *b, uint64_t off)
{
    if (!a || !b)
        return !a && !b;
    return a->loc.seg == b->loc.seg && a->loc.off8 == b->loc.off8 &&
           a->loc.skip + (off - a->off) == b->loc.skip + (off - b->off);
}

/* The blocks of [off, end) differ. */
static int note_difference(struct memory *m, uint64_t off, uint64_t end)
{
    struct range *last = m->differ.n ? &m->differ.at[m->differ.n - 1] : NULL;
    off -= off % BLOCK_SIZE;
    end = MIN_OF((end + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE, m->then.size);
    if (!last || last->end < off)
        return range_add(&m->differ, off, end, false);
    last->end = MAX_OF(last->end, end);
    return 0;
}

static int compare(struct memory *m, struct looked *is, struct looked *then, uint64_t off, uint64_t end)
{
    int r = 0;
    while (off < end && !r) {
        uint64_t stop = end;
        const struct past_piece *a = piece_at(is, off, &stop), *b = piece_at(then, off, &stop);
        if (!in_one_place(a, b, off))
            r = note_difference(m, off, stop);
        off = stop;
    }
    return r;
}

/* One section of it: from *off on. */
static int compare_some(struct memory *m, struct looked looked[2], uint64_t *off)
{
    const struct inode_rec *is, *then;
    const struct index *idx = m->view->idx;
    uint64_t end;
    view_begin(m->view);
    int r = states_of(m, &is, &then);
    if (!r && !*off) {
        m->is = state_of(is);
        m->then = state_of(then);
    }
    end = m->then.size;
    if (!r && *off < end)
        r = look(idx, view_slot(m->view, ino_slot(m->from)), *off, &looked[1], &end);
    if (!r && *off < end)
        r = look(idx, ino_slot(m->ino), *off, &looked[0], &end);
    r = (int)view_end(m->view, r);
    if (!r && *off < end)
        r = compare(m, &looked[0], &looked[1], *off, end);
    *off = end;
    return r;
}

static int find_differences(struct memory *m)
{
    struct looked *looked = calloc(2, sizeof *looked);
    uint64_t off = 0;
    int r = looked ? 0 : -ENOMEM;
    do
        r = r ? r : compare_some(m, looked, &off);
    while (!r && off < m->then.size);
    free(looked);
    return r;
}

/* ---- content ----------------------------------------------------------------------- */

/* Where in [off, end) the first content lies, or with `hole` the first byte of none. */
static int seek(const struct memory *m, uint64_t off, uint64_t end, bool hole, uint64_t *ret_off)
{
    uint64_t at = end;
    int r = content_seek(m->view, m->from, off, hole ? SEEK_TO_HOLE : SEEK_TO_DATA, &at);
    if (r && r != -ENXIO)
        return r;
    *ret_off = r ? end : MIN_OF(at, end);
    return 0;
}

/* Holes are of whole blocks. */
static int part(struct memory *m, const struct range *range)
{
    uint64_t off = range->off, end = range->end, data, hole;
    int r = 0;
    while (off < end && !r) {
        r = seek(m, off, end, false, &data);
        if (r)
            break;
        uint64_t first = data < end ? data - data % BLOCK_SIZE : end;
        hole = end;
        if (off < first)
            r = range_add(&m->parts, off, first, true);
        if (!r && first < end)
            r = seek(m, data, end, true, &hole);
        hole = MIN_OF((hole + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE, end);
        for (off = first; !r && off < hole; off += PART_MAX)
            r = range_add(&m->parts, off, MIN_OF(off + PART_MAX, hole), false);
        off = hole;
    }
    return r;
}

/* Whether the memory has the same bytes there, if in another place: once restored, it has. What cannot be
 * read is to be replaced. */
static bool has_bytes(const struct restoring *re, const struct memory *m, uint64_t off, const void *bytes,
                      size_t size)
{
    struct view live = view_live(re->eng);
    CLEANUP_FREE uint8_t *now = malloc(size);
    ssize_t n = 0;
    return now && content_read_range(&live, m->ino, now, size, off, &n) == 0 && (size_t)n == size &&
           memcmp(now, bytes, size) == 0;
}

static int draft_part(struct restoring *re, const struct memory *m, struct range *p, const char *path,
                      uint32_t path_len)
{
    size_t size = (size_t)(p->end - p->off);
    void *bytes = NULL;
    ssize_t n = 0;
    int r = blob_new(re, size, &bytes);
    if (!r)
        r = content_read_range(m->view, m->from, bytes, size, p->off, &n);
    if (!r && (size_t)n != size)
        r = -ESTALE;
    p->is_same = !r && has_bytes(re, m, p->off, bytes, size);
    if (p->is_same)
        blob_drop(re, size);
    if (r || p->is_same)
        return r;
    return content_draft(&re->draft, bytes, size, path, p->off ? 0 : path_len);
}

static void drop_same(struct ranges *parts)
{
    size_t n = 0;
    for (size_t i = 0; i < parts->n; i++)
        if (!parts->at[i].is_same)
            parts->at[n++] = parts->at[i];
    parts->n = n;
}

static int draft_content(struct restoring *re, struct memory *m)
{
    struct view live = view_live(re->eng);
    char path[EXTENT_NAME_MAX + 1];
    int r = 0;
    for (size_t i = 0; i < m->differ.n && !r; i++)
        r = part(m, &m->differ.at[i]);
    view_begin(&live);
    uint32_t path_len = (uint32_t)index_path(live.idx, ino_slot(m->ino), path, EXTENT_NAME_MAX);
    int doubt = (int)view_end(&live, 0);
    r = r ? r : doubt;
    m->extent = re->draft.n;
    for (size_t i = 0; i < m->parts.n && !r; i++)
        if (!m->parts.at[i].is_hole)
            r = draft_part(re, m, &m->parts.at[i], path, path_len);
    drop_same(&m->parts);
    return r;
}

/* ---- fields --------------------------------------------------------------------------- */

/* The names of all xattrs, one behind the other; the caller frees. */
static int load_names(const struct view *view, uint64_t ino, char **ret_names, size_t *ret_len)
{
    char *names = malloc(ENG_XATTR_LIST_MAX);
    ssize_t len = names ? xattrs_list(view, ino, names, ENG_XATTR_LIST_MAX) : -ENOMEM;
    if (len < 0) {
        free(names);
        return (int)len;
    }
    *ret_names = names;
    *ret_len = (size_t)len;
    return 0;
}

static bool has_name(const char *names, size_t len, const char *name)
{
    for (const char *at = names; at < names + len; at += strlen(at) + 1)
        if (strcmp(at, name) == 0)
            return true;
    return false;
}

/* The value that the memory had, unless it has the same. One that cannot be read is another. */
static int add_field(struct restoring *re, struct memory *m, const char *name, uint8_t *now)
{
    struct view live = view_live(re->eng);
    ssize_t size = xattrs_get(m->view, m->from, name, NULL, 0);
    void *value = NULL;
    int r = size < 0 ? (int)size : blob_new(re, (size_t)size, &value);
    if (!r && size > 0)
        size = xattrs_get(m->view, m->from, name, value, (size_t)size);
    if (r || size < 0)
        return r ? r : (int)size;
    ssize_t n = xattrs_get(&live, m->ino, name, now, ENG_XATTR_SIZE_MAX);
    if (n == size && memcmp(now, value, (size_t)size) == 0) {
        blob_drop(re, (size_t)size);
        return 0;
    }
    m->sets[m->n_sets++] = (struct eng_xattr_pair){name, value, (size_t)size};
    return xattrs_draft(&re->draft, value, (size_t)size);
}

static int draft_fields(struct restoring *re, struct memory *m)
{
    struct view live = view_live(re->eng);
    CLEANUP_FREE uint8_t *now = malloc(ENG_XATTR_SIZE_MAX);
    size_t len = 0, now_len = 0;
    int r = now ? load_names(m->view, m->from, &m->names, &len) : -ENOMEM;
    if (!r)
        r = load_names(&live, m->ino, &m->gone, &now_len);
    if (!r && !(m->sets = calloc(len / 2 + 1, sizeof *m->sets)))
        r = -ENOMEM;
    for (char *at = m->names; !r && at < m->names + len; at += strlen(at) + 1)
        r = add_field(re, m, at, now);
    for (char *at = m->gone, *end = at + now_len; !r && at < end;) {
        size_t n = strlen(at) + 1;
        if (!has_name(m->names, len, at)) {
            memmove(m->gone + m->gone_len, at, n);
            m->gone_len += n;
        }
        at += n;
    }
    return r;
}

static bool is_changed(const struct memory *m)
{
    return m->parts.n || m->is.size != m->then.size || m->n_sets || m->gone_len ||
           m->is.mode != m->then.mode || m->is.uid != m->then.uid || m->is.gid != m->then.gid;
}

/* All that the batch needs to know. Under log.lock or not: without it all may change before it is staged. */
static int plan(struct restoring *re)
{
    int r = 0;
    plan_reset(re);
    for (size_t i = 0; i < re->n && !r; i++) {
        r = find_differences(&re->all[i]);
        if (!r)
            r = draft_content(re, &re->all[i]);
        if (!r)
            r = draft_fields(re, &re->all[i]);
    }
    return r;
}

/* ---- staging ------------------------------------------------------------------------------ */

static int stage_part(struct restoring *re, struct txn *txn, const struct memory *m, const struct range *p,
                      size_t *extent, int64_t now)
{
    uint32_t n = 0;
    uint64_t stop;
    int r = extents_count(&re->eng->idx, ino_slot(m->ino), p->off, p->end, UINT32_MAX, &n, &stop);
    txn->n_freed += n;
    re->n_taken += n;
    if (r)
        return r;
    if (!p->is_hole) {
        size_t k = (size_t)((p->end - p->off + EXTENT_MAX - 1) / EXTENT_MAX);
        r = content_stage(txn, &re->draft, *extent, k, m->ino, p->off, now);
        *extent += k;
        return r;
    }
    struct op *op = txn_op(txn, OP_PUNCH);
    if (!op)
        return -ENOMEM;
    op->ino = m->ino;
    op->off = p->off;
    op->len = p->end - p->off;
    op->time = now;
    return 0;
}

static int stage_growth(struct txn *txn, const struct memory *m, int64_t now)
{
    struct op *op = txn_op(txn, OP_TRUNCATE);
    if (!op)
        return -ENOMEM;
    op->ino = m->ino;
    op->len = m->then.size;
    op->time = now;
    return 0;
}

/* Its version counts all of that once. */
static int stage_content(struct restoring *re, struct txn *txn, struct memory *m, size_t *extent, int64_t now)
{
    size_t first = txn->n_ops;
    int r = m->is.size < m->then.size ? stage_growth(txn, m, now) : 0;
    for (size_t i = 0; i < m->parts.n && !r; i++)
        r = stage_part(re, txn, m, &m->parts.at[i], extent, now);
    m->has_tail = false;
    if (!r &&
        m->is.size > m->then.size) /* last: of what is behind it that much goes for which there is room */
        r = tail_stage_size(re->eng, txn, m->ino, m->then.size, now, &m->has_tail);
    for (size_t i = first + 1; i < txn->n_ops; i++)
        txn->ops[i].flags |= OP_CONTINUES;
    return r;
}

static int stage_fields(struct restoring *re, struct txn *txn, const struct memory *m, size_t *extent,
                        int64_t now)
{
    uint32_t before = (uint32_t)txn->n_ops;
    int r = 0;
    for (const char *at = m->gone; at < m->gone + m->gone_len; at += strlen(at) + 1) {
        struct op *op = txn_op(txn, OP_XATTR_DEL);
        if (!op)
            return -ENOMEM;
        op->ino = m->ino;
        op->time = now;
        op->name = at;
        op->name_len = (uint16_t)strlen(at);
    }
    for (size_t i = 0; i < m->n_sets && !r; i++)
        r = xattrs_stage(txn, &re->draft, extent, m->ino, &m->sets[i], now);
    uint32_t n = (uint32_t)txn->n_ops - before;
    txn->n_freed += n * (1 + eng_apart(re->eng));
    re->n_taken += n;
    return r;
}

static int stage_attr(struct txn *txn, const struct memory *m, int64_t now)
{
    struct op *op;
    if (m->is.mode == m->then.mode && m->is.uid == m->then.uid && m->is.gid == m->then.gid)
        return 0;
    if (!(op = txn_op(txn, OP_ATTR)))
        return -ENOMEM;
    op->ino = m->ino;
    op->mask = ENG_SET_MODE | ENG_SET_UID | ENG_SET_GID;
    op->mode = m->then.mode & MODE_BITS;
    op->uid = m->then.uid;
    op->gid = m->then.gid;
    op->ctime = now;
    return 0;
}

/* What is there now is kept, settled or not. */
static int stage_keeps(const struct restoring *re, struct txn *txn)
{
    struct table_ahead ahead = {0};
    for (size_t i = 0; i < re->n && !MUTANT(RESTORE_UNKEPT); i++) {
        if (!is_changed(&re->all[i]))
            continue;
        struct op *op = txn_op(txn, OP_KEEP);
        if (!op)
            return -ENOMEM;
        op->ino = re->all[i].ino;
        op->past = index_predict_past(&re->eng->idx, &ahead, NULL);
        if (!op->past)
            return -ENOSPC;
    }
    return 0;
}

static int stage(struct restoring *re, struct txn *txn)
{
    int64_t now = now_ns();
    int r = stage_keeps(re, txn);
    re->n_taken = 0;
    for (size_t i = 0; i < re->n && !r; i++) {
        struct memory *m = &re->all[i];
        size_t extent = m->extent;
        r = stage_content(re, txn, m, &extent, now);
        if (!r && MUTANT(RESTORE_IN_PART) && txn->n_ops) {
            r = commit_txn(re->eng, txn);
            txn_reset(txn);
        }
        if (!r)
            r = stage_fields(re, txn, m, &extent, now);
        if (!r)
            r = stage_attr(txn, m, now);
    }
    return r;
}

/* ---- one batch -------------------------------------------------------------------------------- */

/* What trying has come to; all but the first begin again. */
enum outcome {
    RESTORE_DONE,
    RESTORE_STALE,   /* something has changed since the plan was made */
    RESTORE_TAILED,  /* a truncation has left something that must go first */
    RESTORE_CROWDED, /* the batch would take more extents out of the index than it may */
};

#define PLAN_TRIES 3u   /* then it is made under log.lock */
#define GATHER_TRIES 2u /* of all memories together */

/* Under log.lock: whether all is as it was planned for. */
static int fits(struct restoring *re, enum outcome *ret_outcome)
{
    int r = 0;
    *ret_outcome = RESTORE_DONE;
    for (size_t i = 0; i < re->n && !r && *ret_outcome == RESTORE_DONE; i++) {
        const struct memory *m = &re->all[i];
        const struct inode_rec *inode = index_inode(&re->eng->idx, m->ino);
        r = check_head(inode);
        if (!r && !is_still(inode, &m->is) && !MUTANT(RESTORE_PLAN_STALE))
            *ret_outcome = RESTORE_STALE;
        else if (!r && inode->flags & INODE_TAIL)
            *ret_outcome = RESTORE_TAILED;
        re->in_way = m;
    }
    return r;
}

/* The memory with content in the most extents is to be gathered first. */
static void choose_crowded(struct restoring *re)
{
    uint32_t most = 0;
    for (size_t i = 0; i < re->n; i++) {
        const struct memory *m = &re->all[i];
        const struct inode_rec *inode = index_inode(&re->eng->idx, m->ino);
        if (!m->differ.n || inode_n_extents(inode) <= most)
            continue;
        most = inode_n_extents(inode);
        re->in_way = m;
    }
}

/* Whether something is to be gathered before the batch; `gathered`: that was tried. Beside a frozen view, and
 * behind others that write, the batch takes more all the same. */
static bool is_crowded(struct restoring *re, const struct txn *txn, bool gathered)
{
    if (gathered ? re->n_taken <= FREED_PER_BATCH : txn->n_freed <= eng_cut(re->eng))
        return false;
    choose_crowded(re);
    return true;
}

static int try_it(struct restoring *re, bool locked, bool gathered, enum outcome *ret_outcome)
{
    CLEANUP_TXN struct txn txn = {0};
    int r = locked ? 0 : plan(re);
    if (!r && !locked)
        fault_point(&re->eng->hook, FP_WRITE_DRAFTED);
    if (!r)
        r = commit_begin(re->eng);
    if (r)
        return r;
    if (locked)
        r = plan(re);
    if (!r)
        r = fits(re, ret_outcome);
    if (!r && *ret_outcome == RESTORE_DONE)
        r = stage(re, &txn);
    if (!r && *ret_outcome == RESTORE_DONE && is_crowded(re, &txn, gathered))
        *ret_outcome = RESTORE_CROWDED;
    else if (!r && *ret_outcome == RESTORE_DONE && txn.n_ops)
        r = commit_txn(re->eng, &txn);
    return commit_end(re->eng, r);
}

/* What a truncation has left of the memories goes, or is queued. */
static void free_tails(struct restoring *re)
{
    for (size_t i = 0; i < re->n; i++)
        if (re->all[i].has_tail && commit_tail(re->eng, re->all[i].ino) != 0)
            orphans_add(re->eng, re->all[i].ino);
}

/* What content is to come over is written anew in few extents. */
static int gather(const struct restoring *re)
{
    const struct ranges *parts = &re->in_way->parts;
    int r = 0;
    for (size_t i = 0; i < parts->n && !r; i++)
        if (!parts->at[i].is_hole)
            r = content_gather(re->eng, re->in_way->ino, parts->at[i].off, parts->at[i].end);
    return r;
}

static int restore_once(struct restoring *re)
{
    enum outcome outcome = RESTORE_STALE;
    unsigned stale = 0, crowded = 0;
    int r = 0;
    while (!r && outcome != RESTORE_DONE) {
        r = try_it(re, stale >= PLAN_TRIES, crowded >= GATHER_TRIES, &outcome);
        if (!r && outcome == RESTORE_TAILED)
            r = commit_tail(re->eng, re->in_way->ino);
        if (!r && outcome == RESTORE_CROWDED)
            r = crowded < GATHER_TRIES ? gather(re) : -EFBIG;
        stale += outcome == RESTORE_STALE;
        crowded += outcome == RESTORE_CROWDED;
    }
    if (!r)
        free_tails(re);
    return r;
}

/* ---- the call --------------------------------------------------------------------------------- */

static int open_view(struct restoring *re, uint64_t batch, const struct view **ret_view)
{
    size_t i = 0;
    int r = 0;
    while (i < re->n_views && re->views[i]->view.at != batch)
        i++;
    if (i == re->n_views)
        r = eng_view_open(re->eng, batch, &re->views[re->n_views]);
    if (r)
        return r == -ENOENT ? -ESTALE : r;
    re->n_views += i == re->n_views;
    *ret_view = &re->views[i]->view;
    return 0;
}

static int open_all(struct restoring *re, const struct eng_restore *restores)
{
    int r = 0;
    for (size_t i = 0; i < re->n && !r; i++) {
        struct memory *m = &re->all[i];
        m->ino = restores[i].ino;
        m->from = restores[i].from;
        for (size_t k = 0; k < i && !r; k++)
            r = re->all[k].ino == m->ino ? -EINVAL : 0;
        if (!r)
            r = open_view(re, restores[i].batch, &m->view);
    }
    return r;
}

int eng_restore(struct eng *eng, const struct eng_restore *restores, size_t n)
{
    if (!eng || (!restores && n))
        return -EINVAL;
    if (n > FREED_PER_BATCH)
        return -E2BIG;
    struct restoring re = {.eng = eng, .n = n};
    re.all = calloc(n + 1, sizeof *re.all);
    re.views = calloc(n + 1, sizeof(struct eng_view *));
    int r = re.all && re.views ? open_all(&re, restores) : -ENOMEM;
    struct full_disk_try change = {0};
    bool again = !r;
    while (again) {
        r = restore_once(&re);
        change.size = re.bytes;
        again = full_disk_again(eng, &change, &r);
    }
    if (!r) {
        COUNT(eng, writes, n);
        COUNT(eng, bytes_written, re.bytes);
    }
    restoring_done(&re);
    return r;
}
