/*
 * restore_plan.c - see restore_plan.h.
 *
 * What differs between a memory and what it is to become is found block by block, by where the two have their
 * content: what both have in one place is the same. If it was the memory itself that had it then, nothing of
 * it is read; of another one only what differs is, from a view of then, and encoded. */
#include "tree/restore_plan.h"

#include "tree/content.h"
#include "tree/xattrs.h"

#define LOOK_PIECES 512u                /* of each of the two, looked up in one section */
#define PART_MAX (UINT64_C(1) << 20)    /* bytes of content that are compared at once; whole extents */
#define PARTS_MAX (4 * FREED_PER_BATCH) /* more than that take more extents, or bytes, than a batch may */

/* ---- memory ------------------------------------------------------------------ */

static void memory_reset(struct memory *m)
{
    m->parts.n = 0;
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
    re->n_blobs = re->n_parts = 0;
    re->bytes = re->n_read = 0;
    draft_reset(&re->draft);
}

void restore_free(struct restoring *re)
{
    if (re->all)
        plan_reset(re);
    for (size_t i = 0; i < re->n && re->all; i++)
        free(re->all[i].parts.at);
    free(re->differ.at);
    for (size_t i = 0; i < re->n_views; i++)
        eng_view_close(re->views[i]);
    draft_free(&re->draft);
    free(re->blobs);
    free(re->views);
    free(re->all);
}

/* So many bytes more, which live as long as the draft. */
static int blob_new(struct restoring *re, size_t size, void **ret_blob)
{
    int r = array_grow(&re->blobs, &re->cap_blobs, re->n_blobs + 1, sizeof *re->blobs);
    void *blob = r ? NULL : malloc(size + 1);
    if (!blob)
        return -ENOMEM;
    re->blobs[re->n_blobs++] = blob;
    *ret_blob = blob;
    return 0;
}

/* The last one, of that size, is needed or not. -EFBIG: too many are; -EBUSY: too many are read while all who
 * write wait. */
static int blob_decide(struct restoring *re, size_t size, bool needed)
{
    re->n_read += size;
    if (!needed)
        free(re->blobs[--re->n_blobs]);
    else if (size > ENG_RESTORE_MAX - re->bytes)
        return -EFBIG;
    else
        re->bytes += size;
    return re->is_locked && re->n_read > 2 * ENG_RESTORE_MAX && !MUTANT(RESTORE_HOLDS_UP) ? -EBUSY : 0;
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

bool restore_is_still(const struct inode_rec *inode, const struct restore_state *was)
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

int restore_check(const struct memory *m, const struct inode_rec *inode)
{
    if (m->is_any)
        return inode ? 0 : -ESTALE;
    return inode && !inode->nlink ? -ESTALE : check_regular(inode);
}

/* In a section: both. */
static int states_of(const struct memory *m, const struct inode_rec **ret_is,
                     const struct inode_rec **ret_then)
{
    *ret_is = index_inode(m->view->idx, m->ino);
    *ret_then = view_state(m->view, m->from);
    int r = restore_check(m, *ret_is);
    if (!r && m->is_any)
        return *ret_then ? 0 : -ESTALE;
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
static int note_difference(struct ranges *differ, const struct memory *m, uint64_t off, uint64_t end)
{
    struct range *last = differ->n ? &differ->at[differ->n - 1] : NULL;
    int r = 0;
    off -= off % BLOCK_SIZE;
    end = MIN_OF((end + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE, m->then.size);
    if (!last || last->end < off)
        r = range_add(differ, off, end, false);
    else
        last->end = MAX_OF(last->end, end);
    if (!r)
        differ->at[differ->n - 1].n_pieces++;
    return r;
}

static int compare(struct ranges *differ, const struct memory *m, struct looked looked[2], uint64_t off,
                   uint64_t end)
{
    int r = 0;
    while (off < end && !r) {
        uint64_t stop = end;
        const struct past_piece *a = piece_at(&looked[0], off, &stop), *b = piece_at(&looked[1], off, &stop);
        if (!in_one_place(a, b, off))
            r = note_difference(differ, m, off, stop);
        off = stop;
    }
    return r;
}

/* One section of it: from *off on. */
static int compare_some(struct ranges *differ, struct memory *m, struct looked looked[2], uint64_t *off)
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
    end = S_ISREG(m->then.mode) ? m->then.size : *off;
    if (!r && !restore_is_still(then, &m->then))
        r = -ESTALE;
    if (!r && *off < end)
        r = look(idx, view_slot(m->view, ino_slot(m->from)), *off, &looked[1], &end);
    if (!r && *off < end)
        r = look(idx, ino_slot(m->ino), *off, &looked[0], &end);
    r = (int)view_end(m->view, r);
    if (!r && *off < end)
        r = compare(differ, m, looked, *off, end);
    *off = end;
    return r;
}

static int find_differences(struct ranges *differ, struct memory *m, struct looked looked[2])
{
    uint64_t off = 0;
    int r = 0;
    differ->n = 0;
    do
        r = compare_some(differ, m, looked, &off);
    while (!r && S_ISREG(m->then.mode) && off < m->then.size);
    return r;
}

/* ---- content ----------------------------------------------------------------------- */

/* Of a range: content behind which is what was not looked at yet. */
struct run {
    uint64_t off, end;
};

static int add_run(struct ranges *parts, const struct run *run)
{
    int r = 0;
    for (uint64_t off = run->off; off < run->end && !r; off += PART_MAX)
        r = range_add(parts, off, MIN_OF(off + PART_MAX, run->end), false);
    return r;
}

/* The next content is in the blocks [off, end): between the two is a hole. */
static int next_run(struct ranges *parts, struct run *run, uint64_t off, uint64_t end)
{
    if (off <= run->end) {
        run->end = MAX_OF(run->end, end);
        return 0;
    }
    int r = add_run(parts, run);
    if (!r)
        r = range_add(parts, run->end, off, true);
    *run = (struct run){off, end};
    return r;
}

/* Holes are of whole blocks. */
static int part(struct memory *m, struct looked *l, const struct range *range)
{
    struct run run = {range->off, range->off};
    uint64_t off = range->off, end;
    int r = 0;
    for (; off < range->end && !r; off = end) {
        const struct inode_rec *then;
        end = range->end;
        view_begin(m->view);
        then = view_state(m->view, m->from);
        r = then && restore_is_still(then, &m->then)
                ? look(m->view->idx, view_slot(m->view, ino_slot(m->from)), off, l, &end)
                : -ESTALE;
        r = (int)view_end(m->view, r);
        for (size_t i = 0; i < l->n && !r; i++) {
            uint64_t first = MAX_OF(l->at[i].off, off), last = MIN_OF(l->at[i].off + l->at[i].loc.len, end);
            last = MIN_OF((last + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE, range->end);
            r = first < last ? next_run(&m->parts, &run, first - first % BLOCK_SIZE, last) : 0;
        }
    }
    if (!r)
        r = add_run(&m->parts, &run);
    return r || run.end >= range->end ? r : range_add(&m->parts, run.end, range->end, true);
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
    if (r)
        return r;
    p->is_same = has_bytes(re, m, p->off, bytes, size);
    r = blob_decide(re, size, !p->is_same);
    if (r || p->is_same)
        return r;
    return content_draft(&re->draft, bytes, size, path, p->off ? 0 : path_len);
}

/* The parts of many memories may have the same bytes. */
static void drop_same(struct ranges *parts)
{
    size_t n = 0;
    for (size_t i = 0; i < parts->n; i++)
        if (!parts->at[i].is_same)
            parts->at[n++] = parts->at[i];
    parts->n = n;
    if (n)
        return;
    free(STEAL(parts->at));
    parts->cap = 0;
}

/* Whether it is its own content of then, in no more pieces than a batch moves. */
static bool may_revert(const struct memory *m, const struct ranges *differ)
{
    uint64_t n = 0;
    for (size_t i = 0; i < differ->n; i++)
        n += differ->at[i].n_pieces;
    return m->from == m->ino && n <= FREED_PER_BATCH && !MUTANT(RESTORE_COPIES);
}

static int take_ranges(struct memory *m, const struct ranges *differ)
{
    int r = 0;
    for (size_t i = 0; i < differ->n && !r; i++) {
        r = range_add(&m->parts, differ->at[i].off, differ->at[i].end, false);
        if (!r)
            m->parts.at[m->parts.n - 1].n_pieces = differ->at[i].n_pieces;
    }
    return r;
}

static int draft_copies(struct restoring *re, struct memory *m, struct looked looked[2])
{
    struct view live = view_live(re->eng);
    char path[EXTENT_NAME_MAX + 1];
    int r = 0;
    for (size_t i = 0; i < re->differ.n && !r; i++)
        r = part(m, &looked[1], &re->differ.at[i]);
    view_begin(&live);
    uint32_t path_len = (uint32_t)index_path(live.idx, ino_slot(m->ino), path, EXTENT_NAME_MAX);
    int doubt = (int)view_end(&live, 0);
    r = r ? r : doubt;
    for (size_t i = 0; i < m->parts.n && !r; i++)
        if (!m->parts.at[i].is_hole)
            r = draft_part(re, m, &m->parts.at[i], path, path_len);
    drop_same(&m->parts);
    return r;
}

static int draft_content(struct restoring *re, struct memory *m, struct looked looked[2])
{
    int r = find_differences(&re->differ, m, looked);
    m->extent = re->draft.n;
    m->reverts = !r && may_revert(m, &re->differ);
    if (!r)
        r = m->reverts ? take_ranges(m, &re->differ) : draft_copies(re, m, looked);
    re->n_parts += m->parts.n;
    return r || re->n_parts <= PARTS_MAX ? r : -EFBIG;
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

/* A change of it makes no version: it is no part of what the memory becomes. */
static bool is_ignored(const struct restoring *re, const char *name)
{
    return config_ignores(&re->eng->config, name, strlen(name)) && !MUTANT(RESTORE_RECALLS);
}

/* The value that the memory had, unless it has the same, or any of a field that is ignored. One that cannot
 * be read is another. */
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
    bool is_same = (n == size && memcmp(now, value, (size_t)size) == 0) || (n >= 0 && is_ignored(re, name));
    r = blob_decide(re, (size_t)size, !is_same);
    if (r || is_same)
        return r;
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
        if (!has_name(m->names, len, at) && !is_ignored(re, at)) {
            memmove(m->gone + m->gone_len, at, n);
            m->gone_len += n;
        }
        at += n;
    }
    return r;
}

bool restore_is_changed(const struct memory *m)
{
    bool has_size = S_ISREG(m->then.mode) && m->is.size != m->then.size;
    return m->parts.n || has_size || m->sets_mtime || m->n_sets || m->gone_len ||
           m->is.mode != m->then.mode || m->is.uid != m->then.uid || m->is.gid != m->then.gid;
}

int restore_plan(struct restoring *re)
{
    CLEANUP_FREE struct looked *looked = calloc(2, sizeof *looked);
    int r = looked ? 0 : -ENOMEM;
    plan_reset(re);
    for (size_t i = 0; i < re->n && !r; i++) {
        r = draft_content(re, &re->all[i], looked);
        if (!r)
            r = draft_fields(re, &re->all[i]);
    }
    return r;
}
