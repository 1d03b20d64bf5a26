/*
 * test_past.c - states that ended and are kept: random changes beside plain arrays, compared at each batch.
 */
#include "one_line.h"
#include "rng.h"

#include "index/leaps.h"

#define SIZE 200u /* of the file, at most */
#define SEG_BYTES (1u << 21)
#define STATES 64u
#define VALUE 128u /* bytes, at most */
#define NAMES 6u   /* of xattrs */

static uint64_t rng;
static uint32_t place; /* of the next extent, in units of 8 */
static uint8_t content[SEGS][SEG_BYTES];

TestSuite(past, .init = begin, .fini = done, .timeout = 120);

/* An extent of these bytes, somewhere. */
static struct locator placed(const uint8_t *bytes, uint64_t len)
{
    struct locator loc = {1 + (uint32_t)rng_below(&rng, SEGS), place, 0, (uint32_t)len, (uint32_t)len};
    MUST(place * 8 + len <= SEG_BYTES);
    memcpy(&content[loc.seg - 1][place * 8], bytes, len);
    place += (uint32_t)(len + 7) / 8;
    return loc;
}

static const uint8_t *bytes_of(const struct locator *loc)
{
    return &content[loc->seg - 1][locator_offset(loc) + loc->skip];
}

/* ---- what is there ------------------------------------------------------------------ */

/* Bytes of the head in [off, end). */
static void read_head(uint8_t *buf, uint64_t off, uint64_t end)
{
    uint64_t at = off, from;
    struct locator loc;
    memset(buf, 0, end - off);
    while (at < end && index_extent(&idx, slot, at, &from, &loc) == 0 && from < end) {
        uint64_t lo = MAX_OF(from, off), hi = MIN_OF(from + loc.len, end);
        memcpy(buf + (lo - off), bytes_of(&loc) + (lo - from), hi - lo);
        at = from + loc.len;
    }
}

/* The same of a past state, a few pieces at a time; returns how many there were. */
static size_t read_past(uint32_t past, uint8_t *buf, uint64_t off, uint64_t end, size_t max)
{
    struct past_piece pieces[64];
    size_t n, all = 0;
    uint64_t stop;
    memset(buf, 0, end - off);
    for (uint64_t at = off; at < end; at = stop, all += n) {
        MUST(past_read(&idx, past, at, end, pieces, max, &n, &stop) == 0);
        MUST(n <= max && stop > at && stop <= end);
        for (size_t i = 0; i < n; i++) {
            const struct past_piece *p = &pieces[i];
            MUST(p->off >= at && p->off + p->loc.len <= stop && p->loc.seg);
            MUST(!i || p->off >= p[-1].off + p[-1].loc.len);
            memcpy(buf + (p->off - off), bytes_of(&p->loc), p->loc.len);
        }
    }
    return all;
}

/* ---- what must be there --------------------------------------------------------------- */

struct state {
    uint64_t begin, size, number; /* number 0: the head */
    uint32_t mode;
    bool going;
    uint8_t bytes[SIZE];
    uint16_t xattrs[NAMES]; /* a number that its value has; 0: none */
};

static struct model {
    struct state head, past[STATES]; /* the newest last */
    unsigned n;
    uint64_t changed; /* the batch that last changed content, */
    bool gathered;    /* which was gathered since */
} model;

/* Without a past nothing tells when an owner was changed. */
static uint64_t head_begin(void)
{
    if (model.n)
        return model.head.begin;
    return model.gathered ? 0 : model.changed;
}

static const struct state *state_at(uint64_t at)
{
    if (head_begin() <= at)
        return &model.head;
    for (unsigned i = model.n; i-- > 0;)
        if (!model.past[i].going && model.past[i].begin <= at)
            return &model.past[i];
    return NULL;
}

static void compare_state(const struct state *s, uint32_t at_slot)
{
    uint8_t buf[SIZE];
    uint64_t off = rng_below(&rng, 2) ? 0 : rng_below(&rng, s->size + 1), end = s->size;
    const struct inode_rec *inode = index_slot(&idx, at_slot);
    if (rng_below(&rng, 2))
        end = off + rng_below(&rng, s->size - off + 1);
    MUST(inode && inode->size == s->size && (inode->mode & 07777) == s->mode);
    if (!s->number) {
        MUST(at_slot == slot);
        read_head(buf, off, end);
    } else {
        MUST(index_ino(inode, at_slot) == s->number && past_begin(inode) == s->begin);
        MUST(!index_inode(&idx, s->number));
        (void)read_past(at_slot, buf, off, end, 1 + rng_below(&rng, 64));
    }
    MUST(memcmp(buf, s->bytes + off, end - off) == 0);
}

/* ---- xattrs ------------------------------------------------------------------------ */

/* The value of that number, in the op or an extent. */
static void value_of(uint16_t number, char value[VALUE])
{
    (void)snprintf(value, VALUE, "%0*u", number % 2 ? 99 : 9, number);
}

/* The number that a value has; 0: none that was set. */
static unsigned number_of(const struct xattr_view *view)
{
    char value[VALUE];
    const void *at = view->is_extent ? (const void *)bytes_of(&view->loc) : view->value;
    unsigned number = 0;
    for (uint32_t i = 0; i < view->value_len; i++)
        number = 10 * number + (unsigned)(((const char *)at)[i] - '0');
    value_of((uint16_t)number, value);
    return strlen(value) == view->value_len ? number : 0;
}

static int note_xattr(void *arg, const struct xattr_view *view)
{
    uint16_t *found = arg;
    unsigned i = (unsigned)(view->name[0] - 'a');
    MUST(view->name_len == 1 && i < NAMES && !found[i] && !view->is_absent);
    found[i] = (uint16_t)number_of(view);
    MUST(found[i]);
    return 0;
}

static void compare_xattrs(const struct state *s, uint32_t at_slot)
{
    uint16_t found[NAMES] = {0};
    struct xattr_walk walk = {.next = index_slot(&idx, at_slot)->xattrs};
    while (!s->number && index_next_xattr(&idx, &walk))
        (void)note_xattr(found, &walk.xattr);
    MUST(!s->number || past_xattrs(&idx, at_slot, note_xattr, found) == 0);
    MUST(memcmp(found, s->xattrs, sizeof found) == 0);
    for (unsigned i = 0; i < NAMES && s->number; i++) {
        const char name[] = {(char)('a' + i)};
        struct xattr_view view;
        MUST(past_xattr(&idx, at_slot, name, 1, &view) == !s->xattrs[i]);
        MUST(!s->xattrs[i] || number_of(&view) == s->xattrs[i]);
    }
}

static int find_hole(void *arg, uint64_t off, const struct locator *loc)
{
    const uint32_t *past = arg;
    bool is_cut = index_slot(&idx, *past)->flags & INODE_GOING; /* it may be what is left of a hole */
    MUST(is_cut || !past_is_hole(loc) || past_hides(&idx, *past, off, off + loc->len) == 1);
    return 0;
}

/* A hole is noted only where something newer is below it: what comes and goes leaves none. */
static void compare_holes(void)
{
    for (uint32_t past = index_slot(&idx, slot)->past; past; past = index_slot(&idx, past)->past)
        MUST(extents_scan(&idx, past, 0, UINT64_MAX, find_hole, &past) == 0);
}

static void compare(void)
{
    compare_holes();
    for (uint64_t at = 0; at <= seq; at++) {
        uint32_t found = past_at(&idx, slot, at);
        const struct state *s = state_at(at);
        MUST(!s == !found);
        if (!s)
            continue;
        compare_state(s, found);
        compare_xattrs(s, found);
    }
    MUST(index_verify(&idx, true, print, NULL) == 0);
    MUST(btree_validate(&idx.extents) == 0);
}

/* ---- changes ---------------------------------------------------------------------------------- */

struct batch {
    struct op ops[8];
    size_t n;
    uint32_t tail; /* INODE_TAIL: the head may have one */
    bool keeps;
};

static struct op *add(struct batch *b, uint8_t type)
{
    b->ops[b->n] = (struct op){.type = type, .ino = ino, .time = (int64_t)seq};
    return &b->ops[b->n++];
}

static void stage_keep(struct batch *b)
{
    struct op *op = add(b, OP_KEEP);
    b->keeps = true;
    op->past = index_predict_ino(&idx, NULL);
    model.past[model.n] = model.head;
    model.past[model.n].begin = head_begin();
    model.past[model.n++].number = op->past;
    model.head.begin = seq;
}

static void content_changed(void)
{
    model.head.begin = model.changed = seq;
    model.gathered = false;
}

/* Content at a random place; `same`: what is there already, as gathering writes it. */
static void stage_write(struct batch *b, bool same)
{
    uint64_t size = model.head.size, off = rng_below(&rng, MIN_OF(SIZE - 1u, size + 20));
    uint64_t len = 1 + rng_below(&rng, rng_below(&rng, 4) ? 16 : SIZE - off);
    off = same ? MIN_OF(off, size - 1) : off;
    len = MIN_OF(len, (same ? size : SIZE) - off);
    uint64_t from = off, to = off + len, end = off + len;
    if (rng_below(&rng, 3) == 0) { /* only a part is new */
        from = off + rng_below(&rng, MIN_OF(end, size) > off ? MIN_OF(end, size) - off + 1 : 1);
        to = end > size ? end : from + rng_below(&rng, end - from + 1);
    }
    to = same ? from : to;
    if (from < to)
        rng_fill(&model.head.bytes[from], to - from, rng_next(&rng));
    model.head.size = MAX_OF(size, end);
    bool whole = from == off && to == end;
    bool gathers = same && rng_below(&rng, 2) == 0; /* as a store without history does it */
    struct op *op = add(b, whole || gathers ? OP_EXTENT : OP_REWRITE);
    op->flags = gathers ? OP_SAME : 0;
    op->off = off;
    op->from = from;
    op->to = to;
    op->loc = placed(&model.head.bytes[off], len);
    if (from < to)
        content_changed();
    model.gathered |= gathers;
}

static void stage_hole(struct batch *b)
{
    struct op *op = add(b, OP_PUNCH);
    op->off = rng_below(&rng, SIZE);
    op->len = rng_below(&rng, rng_below(&rng, 3) ? 30 : SIZE);
    if (op->off < model.head.size)
        memset(&model.head.bytes[op->off], 0, MIN_OF(op->len, model.head.size - op->off));
    content_changed();
}

static void stage_size(struct batch *b)
{
    struct op *op = add(b, OP_TRUNCATE);
    uint64_t size = model.head.size;
    op->len = rng_below(&rng, 3) ? rng_below(&rng, size + 1) : rng_below(&rng, SIZE + 1);
    if (past_tail_in_way(&(struct inode_rec){.past = model.n, .flags = b->tail, .size = size}, op->len))
        op->len = size; /* it must go first */
    if (rng_below(&rng, 2) && (b->keeps || !leaps_are_in(&idx, slot))) {
        op->flags = OP_LATER;
        b->tail |= op->len < size ? INODE_TAIL : 0;
    }
    if (op->len < size)
        memset(&model.head.bytes[op->len], 0, size - op->len);
    model.head.size = op->len;
    content_changed();
}

static void stage_mode(struct batch *b)
{
    struct op *op = add(b, OP_ATTR);
    op->mask = ENG_SET_MODE;
    op->mode = model.head.mode = (uint32_t)rng_below(&rng, 512);
    model.head.begin = seq;
}

/* An xattr is set, or removed. */
static void stage_xattr(struct batch *b)
{
    static const char names[] = "abcdef";
    static char value[8][VALUE];
    unsigned i = (unsigned)rng_below(&rng, NAMES);
    uint16_t old = model.head.xattrs[i], number = (uint16_t)(1 + rng_below(&rng, 60000));
    bool goes = old && rng_below(&rng, 2);
    value_of(number, value[b->n]);
    uint32_t len = (uint32_t)strlen(value[b->n]);
    char *text = value[b->n];
    uint8_t type = len > XATTR_INLINE_MAX ? OP_XATTR_EXTENT : OP_XATTR_SET;
    struct op *op = add(b, goes ? OP_XATTR_DEL : type);
    op->name = &names[i];
    op->name_len = 1;
    if (op->type == OP_XATTR_SET) {
        op->value = text;
        op->value_len = len;
    } else if (!goes) {
        op->loc = placed((const uint8_t *)text, len);
    }
    model.head.xattrs[i] = goes ? 0 : number;
    content_changed();
}

static void stage_times(struct batch *b)
{
    struct op *op = add(b, OP_ATTR);
    op->flags = OP_SAME;
    op->mask = ENG_SET_MTIME;
}

static void stage_change(struct batch *b)
{
    switch (rng_below(&rng, 15)) {
    case 0:
        stage_hole(b);
        break;
    case 1:
    case 2:
        stage_size(b);
        break;
    case 3:
        stage_mode(b);
        break;
    case 4:
        stage_times(b);
        break;
    case 6:
    case 7:
    case 8:
        stage_xattr(b);
        break;
    case 5:
        if (model.head.size) {
            stage_write(b, true);
            break;
        }
        /* fall through */
    default:
        stage_write(b, false);
    }
}

/* An xattr of the head or of a past state goes elsewhere. */
static void relocate_xattr(void)
{
    uint64_t k = rng_below(&rng, model.n + 1u);
    uint64_t number = k < model.n ? model.past[k].number : ino;
    struct xattr_walk walk = {.next = index_slot(&idx, ino_slot(number))->xattrs};
    while (index_next_xattr(&idx, &walk) && !walk.xattr.is_extent)
        ;
    if (!walk.handle || !walk.xattr.is_extent)
        return;
    struct op op = {.type = OP_RELOCATE, .ino = number, .off = EXTENT_XATTR_OFF, .old = walk.xattr.loc};
    op.loc = placed(bytes_of(&op.old), op.old.len);
    seq++;
    MUST(segment_account(&idx, op.loc.seg, 0, op.loc.ext_len, 0) == 0);
    MUST(apply(&op, 1) == 0);
}

/* Content of a past state again, all of it or a part. */
static void stage_revert(struct batch *b)
{
    const struct state *past = &model.past[rng_below(&rng, model.n)];
    const struct inode_rec tail = {.past = 1, .flags = b->tail, .size = model.head.size};
    if (past->going || past_tail_in_way(&tail, past->size))
        return;
    if (b->n < ARRAY_LEN(b->ops) - 3 && !b->keeps && model.n < STATES && head_begin() < seq &&
        rng_below(&rng, 8)) {
        const uint64_t number = past->number;
        stage_keep(b);
        past = &model.past[0];
        while (past->number != number)
            past++;
    }
    struct op *op = add(b, OP_TRUNCATE);
    op->len = past->size;
    op->flags = b->keeps && rng_below(&rng, 2) ? OP_LATER : 0;
    op = add(b, OP_REVERT);
    op->past = past->number;
    op->off = rng_below(&rng, 2) ? 0 : rng_below(&rng, past->size + 1);
    op->len = rng_below(&rng, 2) ? past->size - op->off : rng_below(&rng, past->size - op->off + 1);
    memset(&model.head.bytes[past->size], 0, SIZE - past->size);
    model.head.size = past->size;
    memcpy(&model.head.bytes[op->off], &past->bytes[op->off], op->len);
    content_changed();
}

static void change(void)
{
    struct batch b = {.tail = index_slot(&idx, slot)->flags & INODE_TAIL};
    seq++;
    for (uint32_t seg = 1; seg <= SEGS; seg++)
        MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, seq) == 0);
    if (model.n < STATES && head_begin() < seq && rng_below(&rng, 3) == 0)
        stage_keep(&b);
    bool reverts = model.n && rng_below(&rng, 4) == 0;
    if (reverts)
        stage_revert(&b);
    for (uint64_t n = reverts ? 0 : 1 + rng_below(&rng, 3); n > 0; n--)
        stage_change(&b);
    MUST(apply(b.ops, b.n) >= 0);
}

/* An extent of the head or of a past state goes elsewhere. */
static void relocate_one(void)
{
    uint64_t k = rng_below(&rng, model.n + 1u), at;
    uint64_t number = k < model.n ? model.past[k].number : ino;
    struct locator loc;
    if (index_extent(&idx, ino_slot(number), rng_below(&rng, SIZE), &at, &loc) != 0)
        return;
    struct op op = {.type = OP_RELOCATE, .ino = number, .off = at, .old = loc};
    uint8_t bytes[SIZE] = {0};
    if (loc.seg)
        memcpy(bytes, bytes_of(&loc), loc.len);
    op.loc = placed(bytes, MIN_OF(loc.len, SIZE));
    seq++;
    MUST(segment_account(&idx, op.loc.seg, 0, op.loc.ext_len, 0) == 0);
    MUST(apply(&op, 1) == !loc.seg);
}

/* Some of what a truncation has left, or all of it, goes. */
static void free_tail(bool all)
{
    const struct inode_rec *head = index_slot(&idx, slot);
    struct op op = {.type = OP_PUNCH, .flags = OP_LATER | OP_CONTINUES, .ino = ino, .off = head->size};
    op.off += all ? 0 : rng_below(&rng, 20); /* as from a batch in which it grew */
    op.len = all ? UINT64_MAX - op.off : rng_below(&rng, 60);
    seq++;
    MUST(apply(&op, 1) == 0);
    MUST(!all || !(index_slot(&idx, slot)->flags & (INODE_TAIL | INODE_PAST_TAIL)));
}

/* A part of a past state goes, or the rest of it. */
static void drop_some(void)
{
    if (!model.n)
        return;
    unsigned i = (unsigned)rng_below(&rng, model.n);
    struct op op = {.type = OP_DROP, .past = model.past[i].number};
    if (rng_below(&rng, 2)) {
        op.off = rng_below(&rng, SIZE);
        op.len = rng_below(&rng, SIZE);
    } else {
        op.len = UINT64_MAX;
    }
    const struct inode_rec *past = past_state(&idx, op.past), *older = index_slot(&idx, past->past);
    bool tail = past->flags & INODE_PAST_TAIL || (older && older->flags & INODE_PAST_TAIL);
    seq++;
    MUST(apply(&op, 1) == (tail ? -EBADMSG : 0));
    if (tail)
        return;
    model.past[i].going = true;
    if (past_state(&idx, op.past))
        return;
    memmove(&model.past[i], &model.past[i + 1], (model.n - i - 1) * sizeof model.past[0]);
    model.n--;
}

static void begin_model(void)
{
    begin();
    place = 1;
    model = (struct model){.head = {.mode = 0644, .begin = seq}, .changed = seq};
}

/* One life: `n` steps, and at last without a past. */
static void live(unsigned n, unsigned drops)
{
    struct index view;
    uint64_t freeze = 0;
    begin_model();
    for (unsigned i = 0; i < n; i++) {
        uint64_t kind = rng_below(&rng, 10);
        if (kind < drops)
            drop_some();
        else if (kind == 8 && rng_below(&rng, 2))
            free_tail(rng_below(&rng, 3) == 0);
        else if (kind == 9 && rng_below(&rng, 2))
            relocate_xattr();
        else if (kind == 9)
            relocate_one();
        else
            change();
        compare();
        if (i % 40 == 10)
            MUST(index_freeze(&idx, NULL, &view, &freeze) == 0);
        if (i % 40 == 30) {
            index_free(&view);
            index_thaw(&idx, freeze);
        }
    }
    free_tail(true);
    while (model.n)
        drop_some();
    compare();
    MUST(idx.s.n_past == 0 && idx.s.past_live == 0 && !index_slot(&idx, slot)->past);
    MUST(index_count_xattrs(&idx, index_slot(&idx, slot), NAMES + 1) <= NAMES);
    cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
    if (n % 40 > 10 && n % 40 <= 30)
        index_free(&view);
}

Test(past, each_state_is_as_it_was)
{
    rng = test_seed();
    for (unsigned i = 0; i < 200; i++)
        live(60, 2);
    for (unsigned i = 0; i < 8; i++)
        live(300, 1);
}
