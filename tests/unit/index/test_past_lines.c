/*
 * test_past_lines.c - past states one by one: the examples of docs/lab/history-design.md, what is refused,
 * and what a check tells. */
#include "one_line.h"

TestSuite(past_lines, .init = begin, .fini = done, .timeout = 120);

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

Test(past_lines, three_states_and_a_short_one)
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

Test(past_lines, a_write_through_the_other_of_two_names)
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

Test(past_lines, holes_stay_holes_and_ends_ends)
{
    uint64_t p1, p2;
    change_at(10, content_op(100, 100, 10), NULL);
    change_at(20, content_op(50, 100, 20), &p1);
    cr_assert_str_eq(entries(p1), "50:0+0+50 100:10+0+50");
    cr_assert_str_eq(shown(p1), "100:10+0+50 150:10+50+50");
    change_at(30, (struct op){.type = OP_PUNCH, .ino = ino, .off = 0, .len = 60}, NULL);
    change_at(31, (struct op){.type = OP_TRUNCATE, .ino = ino, .len = 60}, NULL);
    cr_assert_str_eq(entries(p1), "100:10+0+50 150:10+50+50", "where nothing is nothing is noted");
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
Test(past_lines, a_tail_is_of_the_state_before_the_truncation)
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

Test(past_lines, what_does_not_fit_is_refused)
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

Test(past_lines, what_is_not_for_it_is_freed)
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

Test(past_lines, what_is_no_file_has_one_too)
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
Test(past_lines, what_gives_much_has_the_memory_for_it)
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
        cr_assert_eq(inode_n_extents(past_state(&idx, p1)), MANY, "where nothing is nothing is noted");
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

Test(past_lines, a_check_tells_what_cannot_be)
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
Test(past_lines, xattrs_that_come_and_go_leave_nothing)
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
