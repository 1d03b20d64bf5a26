/*
 * test_past.c - states that ended and are kept: random changes beside plain arrays, compared at each batch,
 * and the examples of docs/lab/history-design.md. */
#include "index/apply.h"
#include "index/extents.h"
#include "index/past_read.h"
#include "index/verify.h"

#include "base/util.h"
#include "engine.h"
#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#define SIZE 200u /* of the file, at most */
#define SEGS 3u
#define SEG_BYTES (1u << 21)
#define STATES 64u
#define VALUE 128u /* bytes, at most */
#define NAMES 6u   /* of xattrs */

static struct index idx;
static uint64_t ino, seq, rng;
static uint32_t slot, place; /* of the next extent, in units of 8 */
static uint8_t content[SEGS][SEG_BYTES];

static void done(void)
{
    index_free(&idx);
}

static int apply(const struct op *ops, size_t n)
{
    MUST(index_reserve(&idx, ops, n) == 0);
    int r = 0;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = index_apply(&idx, &ops[i], seq);
    return r;
}

static uint64_t make(uint32_t mode)
{
    struct op op = {.type = OP_CREATE, .ino = index_predict_ino(&idx, NULL), .mode = mode};
    seq++;
    MUST(apply(&op, 1) == 0);
    return op.ino;
}

static void begin(void)
{
    done();
    place = 1;
    seq = 0;
    MUST(index_init(&idx, 1) == 0);
    (void)make(S_IFDIR | 0755);
    ino = make(S_IFREG | 0644);
    slot = ino_slot(ino);
    for (uint32_t seg = 1; seg <= SEGS; seg++)
        MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, 1) == 0);
}

TestSuite(past, .init = begin, .fini = done, .timeout = 120);

static void print(void *arg, const char *line)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

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

static void compare(void)
{
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
};

static struct op *add(struct batch *b, uint8_t type)
{
    b->ops[b->n] = (struct op){.type = type, .ino = ino, .time = (int64_t)seq};
    return &b->ops[b->n++];
}

static void stage_keep(struct batch *b)
{
    struct op *op = add(b, OP_KEEP);
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
    if (rng_below(&rng, 2)) {
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

static void change(void)
{
    struct batch b = {.tail = index_slot(&idx, slot)->flags & INODE_TAIL};
    seq++;
    for (uint32_t seg = 1; seg <= SEGS; seg++)
        MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, seq) == 0);
    if (model.n < STATES && head_begin() < seq && rng_below(&rng, 3) == 0)
        stage_keep(&b);
    for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
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

/* ---- examples --------------------------------------------------------------------------------- */

#define KIB UINT64_C(1024)

/* In batch `at`, before which the state is kept, if `past` leads to where its number goes. */
static void change_at(uint64_t at, struct op op, uint64_t *past)
{
    const struct op keep = {.type = OP_KEEP, .ino = op.ino, .past = index_predict_ino(&idx, NULL)};
    seq = at;
    if (past) {
        MUST(apply(&keep, 1) == 0);
        *past = keep.past;
    }
    MUST(apply(&op, 1) == 0);
}

static struct op content_op(uint64_t off, uint64_t len, uint32_t off8)
{
    return (struct op){
        .type = OP_EXTENT, .ino = ino, .off = off, .loc = {1, off8, 0, (uint32_t)len, (uint32_t)len}};
}

/* The entries of an inode or past state as text: "off:off8+skip+len ...", a hole with off8 0. */
static const char *entries(uint64_t number)
{
    static char text[4][512];
    static unsigned turn;
    char *buf = text[turn++ % 4];
    size_t n = 0;
    uint64_t at = 0, off;
    struct locator loc;
    buf[0] = 0;
    while (index_extent(&idx, ino_slot(number), at, &off, &loc) == 0 && n < sizeof(text[0]) - 64) {
        n += (size_t)snprintf(buf + n, sizeof(text[0]) - n, "%s%llu:%u+%u+%u", n ? " " : "",
                              (unsigned long long)off, loc.off8, loc.skip, loc.len);
        at = off + loc.len;
    }
    return buf;
}

/* The same of what a past state shows. */
static const char *shown(uint64_t number)
{
    static char buf[512];
    struct past_piece pieces[16];
    uint64_t end;
    size_t found, n = 0;
    buf[0] = 0;
    cr_assert_eq(past_read(&idx, ino_slot(number), 0, UINT64_MAX, pieces, 16, &found, &end), 0);
    cr_assert_eq(end, past_state(&idx, number)->size);
    for (size_t i = 0; i < found; i++)
        n += (size_t)snprintf(buf + n, sizeof buf - n, "%s%llu:%u+%u+%u", n ? " " : "",
                              (unsigned long long)pieces[i].off, pieces[i].loc.off8, pieces[i].loc.skip,
                              pieces[i].loc.len);
    return buf;
}

static uint64_t number_at(uint64_t at)
{
    uint32_t found = past_at(&idx, slot, at);
    return found ? index_ino(index_slot(&idx, found), found) : 0;
}

Test(past, three_states_and_a_short_one)
{
    uint64_t p1, p2;
    change_at(10, content_op(0, 16 * KIB, 100), NULL);
    change_at(20, content_op(4 * KIB, 4 * KIB, 200), &p1);
    cr_assert_str_eq(entries(p1), "4096:100+4096+4096");
    change_at(30, content_op(4 * KIB, 8 * KIB, 300), NULL); /* too soon to be kept */
    change_at(40, content_op(16 * KIB, 4 * KIB, 400), &p2);
    cr_assert_str_eq(entries(p1), "4096:100+4096+4096 8192:100+8192+4096");
    cr_assert_str_eq(entries(p2), "", "what is appended to has its size alone");
    cr_assert_str_eq(entries(ino), "0:100+0+4096 4096:300+0+8192 12288:100+12288+4096 16384:400+0+4096");
    cr_assert(past_begin(past_state(&idx, p1)) == 10 && past_end(past_state(&idx, p1)) == 30);
    cr_assert(past_begin(past_state(&idx, p2)) == 30 && past_end(past_state(&idx, p2)) == 40);
    cr_assert(past_state(&idx, p2)->size == 16 * KIB && past_number(past_state(&idx, p2)) == 2);
    cr_assert(number_at(9) == 0 && number_at(10) == p1 && number_at(25) == p1 && number_at(35) == p2);
    cr_assert(number_at(40) == ino && number_at(UINT64_MAX) == ino);
    cr_assert_str_eq(shown(p1), "0:100+0+4096 4096:100+4096+4096 8192:100+8192+4096 12288:100+12288+4096");
    cr_assert_str_eq(shown(p2), "0:100+0+4096 4096:300+0+8192 12288:100+12288+4096");
    cr_assert_eq(index_segment(&idx, 1)->live, 28 * KIB, "only what none of them has is free");
    cr_assert_eq(idx.s.past_live, 8 * KIB);
    cr_assert_eq(idx.s.inexact, 30);
}

static void link_at(uint64_t at, const char *name)
{
    seq = at;
    const struct op op = {.type = OP_LINK,
                          .parent = 1,
                          .ino = ino,
                          .cookie = idx.s.next_cookie,
                          .name = name,
                          .name_len = (uint16_t)strlen(name)};
    MUST(apply(&op, 1) == 0);
}

Test(past, a_write_through_the_other_of_two_names)
{
    uint64_t p1;
    link_at(3, "f");
    link_at(3, "g");
    change_at(40, content_op(0, 4 * KIB, 100), NULL);
    change_at(49, content_op(0, 4 * KIB, 200), NULL);
    change_at(51, content_op(0, 4 * KIB, 300), &p1); /* g ended in 50 */
    cr_assert(past_begin(past_state(&idx, p1)) == 49 && past_end(past_state(&idx, p1)) == 51);
    cr_assert(number_at(49) == p1 && number_at(50) == p1 && number_at(48) == 0);
    cr_assert_str_eq(shown(p1), "0:200+0+4096");
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
}

Test(past, holes_stay_holes_and_ends_ends)
{
    uint64_t p1, p2;
    change_at(10, content_op(100, 100, 10), NULL);
    change_at(20, content_op(50, 100, 20), &p1);
    cr_assert_str_eq(entries(p1), "50:0+0+50 100:10+0+50");
    cr_assert_str_eq(shown(p1), "100:10+0+50 150:10+50+50");
    change_at(30, (struct op){.type = OP_PUNCH, .ino = ino, .off = 0, .len = 60}, NULL);
    change_at(31, (struct op){.type = OP_TRUNCATE, .ino = ino, .len = 60}, NULL);
    cr_assert_str_eq(entries(p1), "50:0+0+50 100:10+0+50 150:10+50+50", "where nothing is nothing is noted");
    change_at(40, (struct op){.type = OP_TRUNCATE, .ino = ino, .len = 0}, &p2);
    change_at(41, content_op(0, 300, 30), NULL);
    cr_assert_str_eq(entries(p2), "0:0+0+60");
    change_at(50, (struct op){.type = OP_DROP, .past = p2, .len = UINT64_MAX}, NULL);
    cr_assert_eq(past_reach(past_state(&idx, p1)), 60, "what lies behind was zeros while p2 was there");
    cr_assert_str_eq(shown(p1), "100:10+0+50 150:10+50+50");
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
}

/* A truncation in slices, which a cut of the power may end at any time: what is not given yet is in the tail.
 */
Test(past, a_tail_is_of_the_state_before_the_truncation)
{
    uint64_t p1, p2;
    char all[512];
    for (uint32_t i = 0; i < 8; i++)
        change_at(10, content_op(100 * i, 100, 10 + 20 * i), NULL);
    struct op size = {.type = OP_TRUNCATE, .flags = OP_LATER, .ino = ino, .len = 50};
    struct op slice = {.type = OP_PUNCH, .flags = OP_LATER | OP_CONTINUES, .ino = ino, .off = 50, .len = 250};
    change_at(60, size, &p1);
    cr_assert_str_eq(entries(p1), "50:10+50+50", "what is cut is given at once");
    cr_assert(past_state(&idx, p1)->flags & INODE_PAST_TAIL);
    (void)snprintf(all, sizeof all, "%s", shown(p1));
    cr_assert_str_eq(all, "0:10+0+50 50:10+50+50 100:30+0+100 200:50+0+100 300:70+0+100 400:90+0+100 "
                          "500:110+0+100 600:130+0+100 700:150+0+100");
    change_at(61, slice, NULL);
    cr_assert_str_eq(entries(p1), "50:10+50+50 100:30+0+100 200:50+0+100");
    cr_assert_str_eq(shown(p1), all);
    seq = 62;
    size.len = 10;
    cr_assert_eq(apply(&size, 1), -EBADMSG, "another one would make two tails of it");
    cr_assert_eq(apply(&(struct op){.type = OP_DROP, .past = p1}, 1), -EBADMSG);
    change_at(63, content_op(50, 400, 300), &p2); /* over a part of the tail */
    cr_assert_str_eq(entries(p2), "");
    cr_assert_str_eq(entries(ino),
                     "0:10+0+50 50:300+0+400 450:90+50+50 500:110+0+100 600:130+0+100 700:150+0+100");
    cr_assert_str_eq(shown(p1), "0:10+0+50 50:10+50+50 100:30+0+100 200:50+0+100 300:70+0+100 400:90+0+50 "
                                "450:90+50+50 500:110+0+100 600:130+0+100 700:150+0+100");
    cr_assert_str_eq(shown(p2), "0:10+0+50");
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
    seq = 64;
    cr_assert_eq(apply(&(struct op){.type = OP_DROP, .past = p2}, 1), -EBADMSG);
    slice.off = 450;
    slice.len = UINT64_MAX - 450;
    change_at(65, slice, NULL);
    cr_assert_str_eq(entries(ino), "0:10+0+50 50:300+0+400");
    cr_assert(!(past_state(&idx, p1)->flags & INODE_PAST_TAIL) && index_slot(&idx, slot)->flags == 0);
    cr_assert_eq(index_segment(&idx, 1)->live, 1200, "nothing has died");
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
    change_at(66, (struct op){.type = OP_DROP, .past = p2}, NULL);
    cr_assert_eq(past_reach(past_state(&idx, p1)), 50);
    cr_assert_eq(past_at(&idx, slot, 62), ino_slot(p1));
}

/* ---- what is refused, and what is not for the past ----------------------------------------------- */

Test(past, what_does_not_fit_is_refused)
{
    uint64_t p1;
    change_at(10, content_op(0, 100, 10), NULL);
    change_at(20, content_op(0, 100, 20), &p1);
    seq = 20;
    uint64_t next = index_predict_ino(&idx, NULL);
    const struct locator loc = {1, 10, 0, 50, 50};
    const struct op cases[] = {
        {.type = OP_KEEP, .ino = ino, .past = next}, /* twice in a batch */
        {.type = OP_KEEP, .ino = p1, .past = next},
        {.type = OP_KEEP, .ino = 99, .past = next},
        {.type = OP_DROP, .past = ino},
        {.type = OP_DROP, .past = 99},
        {.type = OP_DROP, .past = p1 | UINT64_C(1) << 32},
        {.type = OP_FREE, .ino = ino},
        {.type = OP_FREE, .ino = p1},
        {.type = OP_ATTR, .ino = p1},
        {.type = OP_EXTENT, .ino = p1, .loc = loc},
        {.type = OP_PUNCH, .ino = p1, .len = 1},
        {.type = OP_TRUNCATE, .ino = p1},
        {.type = OP_XATTR_SET, .ino = p1, .name = "x", .name_len = 1},
        {.type = OP_LINK, .parent = 1, .ino = p1, .cookie = 9, .name = "x", .name_len = 1},
        {.type = OP_REWRITE, .ino = ino, .off = 10, .loc = loc, .from = 9, .to = 20},
        {.type = OP_REWRITE, .ino = ino, .off = 10, .loc = loc, .from = 20, .to = 19},
        {.type = OP_REWRITE, .ino = ino, .off = 10, .loc = loc, .from = 20, .to = 61},
        {.type = OP_REWRITE, .ino = ino, .off = 80, .loc = loc, .from = 90, .to = 120}, /* grows by what is
                                                                                           old */
        {.type = OP_REWRITE, .ino = ino, .off = 80, .loc = loc, .from = 110, .to = 130},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(apply(&cases[i], 1), -EBADMSG, "case %zu", i);
    seq = 21;
    const struct op again[] = {
        {.type = OP_KEEP, .ino = ino, .past = p1},
        {.type = OP_KEEP, .ino = ino, .past = next + 1000},
        {.type = OP_KEEP, .ino = ino, .past = (uint64_t)(INO_REUSE_MAX + 1) << 32 | next},
    };
    for (size_t i = 0; i < ARRAY_LEN(again); i++)
        cr_assert_eq(apply(&again[i], 1), -EBADMSG, "case %zu", i);
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
}

Test(past, what_is_not_for_it_is_freed)
{
    uint64_t p1;
    change_at(10, content_op(0, 100, 10), NULL);
    change_at(20, content_op(0, 50, 20), &p1);
    struct op op = content_op(50, 50, 30);
    op.flags = OP_NOT_FOR_PAST | OP_SAME;
    change_at(30, op, NULL);
    cr_assert_str_eq(shown(p1), "0:10+0+50 50:30+0+50");
    cr_assert_eq(past_end(past_state(&idx, p1)), 20);
    cr_assert_eq(index_segment(&idx, 1)->live, 150);
    change_at(40, (struct op){.type = OP_DROP, .past = p1, .len = UINT64_MAX}, NULL);
    cr_assert(index_slot(&idx, slot)->flags & INODE_AMENDED && number_at(0) == ino, "not known since when");
    cr_assert_eq(index_segment(&idx, 1)->live, 100);
    cr_assert_eq(index_segment(&idx, 1)->death_seq, 40);
}

Test(past, what_is_no_file_has_one_too)
{
    static const uint32_t modes[] = {S_IFDIR | 0755, S_IFLNK | 0777, S_IFBLK | 0600, S_IFIFO | 0600};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct op op = {
            .type = OP_CREATE, .ino = index_predict_ino(&idx, NULL), .mode = modes[i], .rdev = 77};
        op.value = "target";
        op.value_len = S_ISLNK(modes[i]) ? 6 : 0;
        uint64_t at = seq + 10, p1, p2, number = op.ino;
        change_at(at, op, NULL);
        op = (struct op){.type = OP_ATTR, .ino = number, .mask = ENG_SET_UID, .uid = 5};
        change_at(at + 1, op, &p1);
        op.uid = 6;
        change_at(at + 2, op, &p2);
        cr_assert(past_state(&idx, p1)->uid == 0 && past_state(&idx, p2)->uid == 5);
        cr_assert_eq(past_at(&idx, ino_slot(number), at + 1), ino_slot(p2));
        cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
        change_at(at + 3, (struct op){.type = OP_DROP, .past = p2}, NULL);
        cr_assert_eq(past_end(past_state(&idx, p1)), at + 2);
        change_at(at + 4, (struct op){.type = OP_DROP, .past = p1}, NULL);
        change_at(at + 5, (struct op){.type = OP_FREE, .ino = number}, NULL);
        cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
    }
    cr_assert_eq(idx.s.n_past, 0);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

#define MANY 50000u

/* What gives thousands of extents at once, and what takes them back, has the memory for it, beside a freeze,
 * too. */
Test(past, what_gives_much_has_the_memory_for_it)
{
    for (unsigned frozen = 0; frozen < 2; frozen++) {
        struct index view;
        uint64_t freeze = 0, p1, p2;
        begin();
        for (uint32_t i = 0; i < MANY; i++)
            change_at(10, content_op(5 * (uint64_t)i, 3, i), NULL);
        struct op ops[] = {content_op(0, 200000, 1), {.type = OP_TRUNCATE, .ino = ino}};
        for (unsigned i = 0; i < 2; i++) {
            if (frozen)
                MUST(index_freeze(&idx, NULL, &view, &freeze) == 0);
            change_at(20 + i, ops[i], i ? &p2 : &p1);
            if (frozen)
                index_free(&view);
            if (frozen)
                index_thaw(&idx, freeze);
            cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0, "%s", i ? "truncated" : "overwritten");
        }
        cr_assert_eq(inode_n_extents(past_state(&idx, p1)), 80000, "half of them holes");
        cr_assert_eq(inode_n_extents(past_state(&idx, p2)), MANY - 40000 + 1);
        if (frozen)
            MUST(index_freeze(&idx, NULL, &view, &freeze) == 0);
        change_at(30, (struct op){.type = OP_DROP, .past = p2, .len = UINT64_MAX}, NULL);
        cr_assert_eq(inode_n_extents(past_state(&idx, p1)), 80000 + MANY - 40000);
        change_at(31, (struct op){.type = OP_DROP, .past = p1, .len = 100000}, NULL);
        change_at(32, (struct op){.type = OP_DROP, .past = p1, .off = 1000, .len = UINT64_MAX}, NULL);
        if (frozen)
            index_free(&view);
        cr_assert_eq(chunk_pool_overdrafts(idx.pool), 0);
        cr_assert(idx.s.n_past == 0 && idx.s.live == 0);
    }
}

/* ---- what a check tells ----------------------------------------------------------------------------- */

static void break_number(struct inode_rec *p1, struct inode_rec *p2)
{
    past_set_head(p1, past_head(p1), past_number(p2));
}
static void break_head(struct inode_rec *p1, struct inode_rec *p2)
{
    past_set_head(p1, ENG_ROOT_INO, past_number(p1));
    (void)p2;
}
static void break_end(struct inode_rec *p1, struct inode_rec *p2)
{
    past_set_end(p1, past_begin(p2) + 1);
}
static void break_begin(struct inode_rec *p1, struct inode_rec *p2)
{
    past_set_begin(p2, past_end(p2));
    (void)p1;
}
static void break_kind(struct inode_rec *p1, struct inode_rec *p2)
{
    p1->flags &= ~(uint32_t)INODE_PAST;
    (void)p2;
}
static void break_flags(struct inode_rec *p1, struct inode_rec *p2)
{
    p1->flags |= INODE_TAIL;
    (void)p2;
}
static void break_tail(struct inode_rec *p1, struct inode_rec *p2)
{
    p1->flags |= INODE_PAST_TAIL;
    (void)p2;
}
static void break_line(struct inode_rec *p1, struct inode_rec *p2)
{
    p2->past = 0;
    (void)p1;
}
static void break_end_of_line(struct inode_rec *p1, struct inode_rec *p2)
{
    p1->past = past_head(p2);
}
static void break_size(struct inode_rec *p1, struct inode_rec *p2)
{
    p1->size = 149;
    (void)p2;
}
static void break_count(struct inode_rec *p1, struct inode_rec *p2)
{
    idx.s.past_live++;
    (void)p1, (void)p2;
}

Test(past, a_check_tells_what_cannot_be)
{
    static void (*const ways[])(struct inode_rec *, struct inode_rec *) = {
        break_number, break_head, break_end,         break_begin, break_kind, break_flags,
        break_tail,   break_line, break_end_of_line, break_size,  break_count};
    for (size_t i = 0; i <= ARRAY_LEN(ways); i++) {
        uint64_t p1, p2;
        begin();
        change_at(10, content_op(100, 50, 10), NULL);
        change_at(20, content_op(50, 100, 20), &p1);
        change_at(30, content_op(0, 150, 30), &p2);
        if (i < ARRAY_LEN(ways))
            ways[i](table_mut(&idx.inodes, ino_slot(p1)), table_mut(&idx.inodes, ino_slot(p2)));
        cr_assert_eq(index_verify(&idx, true, NULL, NULL) > 0, i < ARRAY_LEN(ways), "way %zu", i);
    }
}

/* ---- xattrs, one by one ------------------------------------------------------------------------------ */

static struct op xattr_op(uint8_t type, const char *name, const char *value)
{
    return (struct op){.type = type,
                       .ino = ino,
                       .name = name,
                       .name_len = (uint16_t)strlen(name),
                       .value = value,
                       .value_len = value ? (uint32_t)strlen(value) : 0};
}

static int count_one(void *arg, const struct xattr_view *view)
{
    (void)view;
    ++*(unsigned *)arg;
    return 0;
}

/* Names that come and go before a state is kept leave nothing: the list of the newest past state has no more
 * than that state had, and what the head has. */
Test(past, xattrs_that_come_and_go_leave_nothing)
{
    uint64_t p1;
    unsigned n = 0;
    change_at(10, xattr_op(OP_XATTR_SET, "stays", "1"), NULL);
    change_at(20, xattr_op(OP_XATTR_SET, "comes", "1"), &p1);
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "name%u", i);
        change_at(21, xattr_op(OP_XATTR_SET, name, "2"), NULL);
        change_at(21, xattr_op(OP_XATTR_SET, name, "3"), NULL);
        change_at(21, xattr_op(OP_XATTR_DEL, name, NULL), NULL);
    }
    cr_assert_eq(index_count_xattrs(&idx, past_state(&idx, p1), 10), 1, "that one was not there");
    cr_assert_eq(past_xattrs(&idx, ino_slot(p1), count_one, &n), 0);
    cr_assert_eq(n, 1);
    struct xattr_view view;
    cr_assert_eq(past_xattr(&idx, ino_slot(p1), "stays", 5, &view), 0);
    cr_assert_eq(past_xattr(&idx, ino_slot(p1), "comes", 5, &view), 1);
    struct op op = xattr_op(OP_XATTR_SET, "stays", "4");
    op.flags = OP_NOT_FOR_PAST;
    change_at(22, op, NULL);
    cr_assert_eq(past_xattr(&idx, ino_slot(p1), "stays", 5, &view), 0);
    cr_assert_eq(*(const char *)view.value, '4');
    cr_assert_eq(index_verify(&idx, true, print, NULL), 0);
    struct xattr_walk walk = {.next = index_slot(&idx, slot)->xattrs};
    cr_assert(index_next_xattr(&idx, &walk));
    struct xattr_rec *rec = names_mut(&idx.names, walk.handle, sizeof *rec);
    rec->flags = XATTR_ABSENT;
    cr_assert_gt(index_verify(&idx, true, NULL, NULL), 0);
}
