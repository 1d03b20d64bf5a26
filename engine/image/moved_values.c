/*
 * moved_values.c - see moved_values.h. */
#include "image/moved_values.h"

#include "index/apply.h"
#include "index/past.h"

bool moved_is_older(struct eng *eng, uint32_t seg, uint64_t seq, const struct locator *missing)
{
    const struct seg_rec *victim = index_segment(&eng->idx, missing->seg);
    return seg < missing->seg || (victim && seq < victim->last_seq);
}

int moved_take_over(struct recovery *rec, const struct op *op)
{
    struct index *idx = &rec->eng->idx;
    struct op ops[2] = {{.type = OP_SEGMENT, .ino = op->loc.seg, .len = op->loc.len}, *op};
    if (rec->eng->lost_after == UINT64_MAX) /* what has emptied the segment that is gone was durable */
        rec->eng->lost_after = rec->seq;
    int r = index_reserve(idx, ops, ARRAY_LEN(ops));
    for (size_t i = 0; i < ARRAY_LEN(ops) && r >= 0; i++)
        r = index_apply(idx, &ops[i], rec->seq);
    return MIN_OF(r, 0);
}

/* The next large value of that length from *x on, a handle; moves it on. False: there is none. */
static bool next_value(struct eng *eng, uint32_t *x, uint32_t len, struct locator *ret_loc)
{
    struct xattr_view view;
    while (*x && index_xattr(&eng->idx, *x, &view)) {
        *x = view.next;
        *ret_loc = view.loc;
        if (view.is_extent && view.loc.len == len)
            return true;
    }
    return false;
}

static uint32_t first_value(struct eng *eng, uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&eng->idx, ino);
    return inode ? inode->xattrs : 0;
}

/* The past state that is next to the inode, or past state, in that slot; NULL: none. */
static const struct inode_rec *older_state(struct eng *eng, const struct inode_rec *inode)
{
    return inode ? index_slot(&eng->idx, inode->past) : NULL;
}

/* A copy for a past state has the date of what it is a copy of. */
bool moved_value_is_wanted(struct eng *eng, const struct extent_header *h, uint32_t seg)
{
    struct locator loc;
    const struct inode_rec *state = index_inode(&eng->idx, h->ino);
    for (; state; state = older_state(eng, state))
        for (uint32_t x = state->xattrs; next_value(eng, &x, h->len, &loc);)
            if (!segments_has(&eng->segments, loc.seg) &&
                !(state->flags & INODE_PAST ? seg < loc.seg : moved_is_older(eng, seg, h->seq, &loc)))
                return !MUTANT(VALUES_FORGOTTEN);
    return false;
}

bool moved_value_is_named(struct eng *eng, const struct extent_header *h, uint32_t seg, uint64_t at)
{
    struct locator loc;
    const struct inode_rec *state = index_inode(&eng->idx, h->ino);
    for (; state; state = older_state(eng, state))
        for (uint32_t x = state->xattrs; next_value(eng, &x, h->len, &loc);)
            if (loc.seg == seg && locator_offset(&loc) == at)
                return true;
    return false;
}

/* ---- which of them is which ------------------------------------------------------------------- */

static uint64_t print_of(const uint8_t *head, uint32_t len)
{
    return codec_hash(head + sizeof(struct extent_header), (size_t)8 * extent_blocks(len));
}

int moved_values_note(struct moved_values *values, uint32_t seg, uint64_t at, const uint8_t *head)
{
    struct extent_header h;
    memcpy(&h, head, sizeof h);
    int r = array_grow(&values->all, &values->cap, values->n + 1, sizeof *values->all);
    if (!r)
        values->all[values->n++] = (struct moved_value){.ino = h.ino,
                                                        .at = at,
                                                        .seq = h.seq,
                                                        .hsum = h.sum,
                                                        .print = print_of(head, h.len),
                                                        .len = h.len,
                                                        .seg = seg};
    return r;
}

/* By memory and length; then the youngest segment first, in its order. */
static int by_memory(const void *a, const void *b)
{
    const struct moved_value *x = a, *y = b;
    if (x->ino != y->ino)
        return x->ino < y->ino ? -1 : 1;
    if (x->len != y->len)
        return x->len < y->len ? -1 : 1;
    if (x->seg != y->seg)
        return x->seg > y->seg ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int by_place(const void *a, const void *b)
{
    const struct locator *x = a, *y = b;
    if (x->seg != y->seg)
        return x->seg < y->seg ? -1 : 1;
    return (x->off8 > y->off8) - (x->off8 < y->off8);
}

/* Copies of copies: the youngest stays. */
static size_t drop_older_copies(struct moved_value *v, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool again = false;
        for (size_t k = 0; k < kept && !again; k++)
            again = v[k].print == v[i].print && v[k].seg != v[i].seg;
        if (!again)
            v[kept++] = v[i];
    }
    return kept;
}

/* Takes one out that is a copy of the value at loc, which is where the index has it. False: it cannot be
 * read, so that nobody knows. -ENOMEM. */
static int drop_copy_of(struct recovery *rec, struct moved_value *v, size_t *n, const struct locator *loc,
                        bool *ret_known)
{
    struct segment *seg;
    uint32_t size = extent_head_size(v->len);
    *ret_known = false;
    rec->found.len = 0;
    int r = buf_reserve(&rec->found, size);
    if (r)
        return r;
    if (segments_pin(&rec->eng->segments, loc->seg, &seg) != 0)
        return 0;
    *ret_known = io_pread_full(seg->file, rec->eng->io->ops, rec->found.data, size, locator_offset(loc)) ==
                     (ssize_t)size &&
                 extent_head_check(rec->found.data, v->ino, EXTENT_XATTR_OFF, v->len) == 0;
    segments_unpin(seg);
    uint64_t print = *ret_known ? print_of(rec->found.data, v->len) : 0;
    for (size_t i = 0; i < *n && *ret_known; i++)
        if (v[i].print == print) {
            memmove(v + i, v + i + 1, (--*n - i) * sizeof *v);
            break;
        }
    return 0;
}

/* The values that the memory lacks, in order of place, and the copies that may be theirs, of *n. *ret_n 0:
 * nobody knows. */
static int find_lacking(struct recovery *rec, struct moved_value *v, size_t *n, struct locator *lacking,
                        size_t *ret_n)
{
    struct eng *eng = rec->eng;
    struct locator loc;
    bool known = true;
    const struct moved_value first = *v;
    int r = 0;
    *ret_n = 0;
    for (uint32_t x = first_value(eng, first.ino); !r && known && next_value(eng, &x, first.len, &loc);) {
        if (segments_has(&eng->segments, loc.seg))
            r = drop_copy_of(rec, v, n, &loc, &known);
        else if (!moved_is_older(eng, first.seg, first.seq, &loc) && *ret_n < ENG_XATTR_COUNT_MAX)
            lacking[(*ret_n)++] = loc;
    }
    *ret_n = known ? *ret_n : 0;
    if (*ret_n)
        qsort(lacking, *ret_n, sizeof *lacking, by_place);
    return r;
}

/* All copies of one length of one memory. */
static int settle_some(struct recovery *rec, struct moved_value *v, size_t n, struct locator *lacking,
                       uint64_t *taken)
{
    size_t n_lacking;
    if (n > ENG_XATTR_COUNT_MAX || older_state(rec->eng, index_inode(&rec->eng->idx, v->ino)))
        return 0; /* of which state it is nobody knows */
    n = drop_older_copies(v, n);
    int r = find_lacking(rec, v, &n, lacking, &n_lacking);
    if (MUTANT(VALUES_GUESSED))
        n = n_lacking = MIN_OF(n, n_lacking);
    if (r || !n || n != n_lacking || lacking[0].seg != lacking[n - 1].seg || v[0].seg != v[n - 1].seg)
        return r;
    for (size_t i = 0; i < n && !r; i++) {
        struct op op = {
            .type = OP_RELOCATE,
            .ino = v[i].ino,
            .off = EXTENT_XATTR_OFF,
            .old = lacking[i],
            .loc = {.seg = v[i].seg, .off8 = (uint32_t)(v[i].at / 8), .len = v[i].len, .ext_len = v[i].len},
            .hsum = v[i].hsum};
        r = moved_take_over(rec, &op);
        ++*taken;
    }
    return r;
}

int moved_values_settle(struct recovery *rec, struct moved_values *values, uint64_t *ret_taken)
{
    CLEANUP_FREE struct locator *lacking = calloc(ENG_XATTR_COUNT_MAX, sizeof *lacking);
    struct moved_value *v = values->all;
    int r = lacking ? 0 : -ENOMEM;
    *ret_taken = 0;
    if (values->n)
        qsort(v, values->n, sizeof *v, by_memory);
    for (size_t i = 0, end; i < values->n && !r; i = end) {
        for (end = i + 1; end < values->n && v[end].ino == v[i].ino && v[end].len == v[i].len;)
            end++;
        r = settle_some(rec, v + i, end - i, lacking, ret_taken);
    }
    values->n = 0;
    return r;
}
