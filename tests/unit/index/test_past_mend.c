/*
 * test_past_mend.c - an index with a past that has lost some chunks: what is left of it is sound, each state
 * that is left shows what it showed before, no batch shows another inode under a name, and the log goes on.
 * With nothing lost nothing goes. */
#include "index/apply.h"
#include "index/extents.h"
#include "index/mend.h"
#include "index/past.h"
#include "index/past_read.h"
#include "index/verify.h"

#include "must.h"
#include "past_ops.h"

#define DIRS 6u
#define FILES 220u
#define BATCHES 6000u
#define KNOWN 5200u /* of them: what the image has; the log has the others */
#define SEGS 3u
#define OPS 20000u
#define SLOTS 8192u
#define VIEWS 8u
#define SHOWN 60000u

/* ---- a log ------------------------------------------------------------------------ */

static struct logged {
    struct op op;
    uint64_t seq;
    char text[16];
} ops[OPS];
static size_t n_ops, n_known;
static uint64_t files[FILES], dirs[DIRS];
static uint32_t place;

/* Notes an op and applies it. */
static void put_op(struct op op)
{
    struct logged *l = &ops[n_ops++];
    MUST(n_ops < OPS);
    if (op.name) {
        memcpy(l->text, op.name, op.name_len);
        op.name = l->text;
    }
    l->op = op;
    l->seq = seq;
    must_apply(op);
}

static struct locator somewhere(uint32_t len)
{
    place += 1000;
    return (struct locator){1 + place / 1000 % SEGS, place, 0, len, len};
}

static void change_content(uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&idx, ino);
    struct op op = {.type = OP_EXTENT, .ino = ino, .off = 100 * below(8), .loc = somewhere(100)};
    switch (below(8)) {
    case 0:
        op = (struct op){.type = OP_TRUNCATE, .ino = ino, .len = 100 * below(9)};
        if (below(2) && op.len < inode->size)
            op.flags = OP_LATER;
        if (past_tail_in_way(inode, op.len))
            op.len = inode->size;
        break;
    case 1:
        op = (struct op){.type = OP_PUNCH, .ino = ino, .off = 100 * below(8), .len = 150};
        break;
    case 2:
    case 3:
        op = name_op(OP_XATTR_SET, 0, 0, below(2) ? "user.a" : "user.b", ino);
        op.value = "some value";
        op.value_len = 1 + (uint32_t)below(10);
        break;
    case 4:
        op = name_op(OP_XATTR_EXTENT, 0, 0, "user.big", ino);
        op.loc = somewhere(500);
        break;
    default:
        break;
    }
    put_op(op);
}

static void change_file(uint64_t ino)
{
    const struct inode_rec *inode = index_inode(&idx, ino);
    if (past_head_begin(&idx, inode) < seq && below(3))
        put_op((struct op){.type = OP_KEEP, .ino = ino, .past = index_predict_past(&idx, NULL, NULL)});
    change_content(ino);
    inode = index_inode(&idx, ino);
    const struct inode_rec *past = index_slot(&idx, inode->past);
    const struct inode_rec *older = past ? index_slot(&idx, past->past) : NULL;
    if (past && !((past->flags | (older ? older->flags : 0)) & INODE_PAST_TAIL) && below(12) == 0)
        put_op((struct op){
            .type = OP_DROP, .past = index_ino(past, inode->past), .len = below(2) ? UINT64_MAX : 300});
}

/* A name that is there: the k-th file of the folder has it, if any does. */
static const struct dentry_rec *some_name(void)
{
    for (unsigned i = 0; i < 50; i++) {
        const struct dentry_rec *d = index_dentry(&idx, 1 + (uint32_t)below(idx.dentries.used - 1));
        const struct inode_rec *child = d ? index_slot(&idx, d->child) : NULL;
        if (child && S_ISREG(child->mode))
            return d;
    }
    return NULL;
}

static void change_name(void)
{
    char text[16], fresh[16];
    const struct dentry_rec *found = some_name();
    if (!found)
        return;
    const struct dentry_rec d = *found;
    uint64_t dir = index_ino(index_slot(&idx, d.parent), d.parent);
    uint64_t ino = index_ino(index_slot(&idx, d.child), d.child);
    (void)snprintf(text, sizeof text, "%.*s", d.name_len,
                   (const char *)names_get(&idx.names, d.name, d.name_len));
    (void)snprintf(fresh, sizeof fresh, "n%zu", n_ops);
    struct op op;
    switch (below(4)) {
    case 0: /* it goes; the file stays for the past */
        put_op(name_op(OP_UNLINK, OP_KEPT, dir, text, ino));
        return;
    case 1: /* it leads to another file */
        op = name_op(OP_REPOINT, OP_KEPT, dir, text, files[below(FILES)]);
        op.other = ino;
        put_op(op);
        return;
    case 2: /* it moves within its folder */
        put_op(name_op(OP_UNLINK, OP_KEPT | OP_MOVED, dir, text, ino));
        op = name_op(OP_LINK, 0, dir, fresh, ino);
        op.cookie = d.cookie;
        put_op(op);
        return;
    default: /* another one comes */
        op = name_op(OP_LINK, 0, dirs[below(DIRS)], fresh, ino);
        op.cookie = new_cookie();
        put_op(op);
    }
}

static void begin_batch(void)
{
    seq++;
    for (uint32_t seg = 1; seg <= SEGS; seg++)
        MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, seq) == 0);
}

static uint64_t create(uint32_t mode, uint64_t dir, const char *text)
{
    uint64_t ino = index_predict_ino(&idx, NULL);
    begin_batch();
    put_op((struct op){.type = OP_CREATE, .ino = ino, .mode = mode});
    if (dir) {
        struct op op = name_op(OP_LINK, 0, dir, text, ino);
        op.cookie = new_cookie();
        put_op(op);
    }
    return ino;
}

static void make_log(uint64_t with_seed)
{
    char text[16];
    seed = with_seed;
    seq = n_ops = n_known = 0;
    place = 0;
    MUST(index_init(&idx, 1) == 0);
    MUST(create(S_IFDIR | 0755, 0, "") == ENG_ROOT_INO);
    for (unsigned i = 0; i < DIRS; i++) {
        (void)snprintf(text, sizeof text, "dir%u", i);
        dirs[i] = create(S_IFDIR | 0755, i ? dirs[below(i)] : ENG_ROOT_INO, text);
    }
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(text, sizeof text, "file%u", i);
        files[i] = create(S_IFREG | 0644, dirs[below(DIRS)], text);
    }
    for (unsigned i = 0; i < BATCHES; i++) {
        begin_batch();
        n_known = i == KNOWN ? n_ops : n_known;
        if (below(2))
            change_file(files[below(FILES)]);
        else
            change_name();
    }
}

/* ---- what an index shows --------------------------------------------------------------- */

struct shown {
    uint64_t view, hash; /* of folder and name */
    uint32_t child;
};

/* By slot, of inodes and past states. */
struct picture {
    uint64_t number[SLOTS], content[SLOTS], xattrs[SLOTS];
    struct shown shown[SHOWN];
    size_t n_shown;
    unsigned n_states, n_heads;
};
static struct picture before, after, now;

static int add_xattr(void *arg, const struct xattr_view *view)
{
    uint64_t *sum = arg, hash = codec_hash(view->name, view->name_len);
    if (view->is_extent)
        hash ^= codec_hash(&view->loc, sizeof view->loc);
    else
        hash ^= codec_hash(view->value, view->value_len);
    *sum += hash;
    return 0;
}

static int add_extent(void *arg, uint64_t off, const struct locator *loc)
{
    uint64_t *sum = arg;
    for (uint64_t at = 0; at < loc->len; at += 50) { /* however it is cut: all places are multiples of 50 */
        const uint64_t byte[] = {off + at, loc->seg, loc->off8, loc->skip + at};
        *sum += codec_hash(byte, sizeof byte);
    }
    return 0;
}

static void picture_inode(struct picture *p, uint32_t slot, const struct inode_rec *inode)
{
    struct past_piece pieces[256];
    struct xattr_walk walk = {.next = inode->xattrs};
    uint64_t end;
    size_t n = 0;
    p->number[slot] = index_ino(inode, slot);
    p->content[slot] = inode->size;
    if (inode->flags & INODE_PAST) {
        p->n_states++;
        MUST(past_read(&idx, slot, 0, UINT64_MAX, pieces, 256, &n, &end) == 0);
        MUST(!S_ISREG(inode->mode) || end == inode->size);
        for (size_t i = 0; i < n; i++)
            (void)add_extent(&p->content[slot], pieces[i].off, &pieces[i].loc);
        MUST(past_xattrs(&idx, slot, add_xattr, &p->xattrs[slot]) == 0);
        return;
    }
    p->n_heads++;
    MUST(extents_scan(&idx, slot, 0, inode->size, add_extent, &p->content[slot]) == 0);
    while (index_next_xattr(&idx, &walk))
        (void)add_xattr(&p->xattrs[slot], &walk.xattr);
}

struct listing {
    struct picture *p;
    uint64_t view;
    uint32_t dir;
};

static int add_shown(void *arg, const struct shown_name *name)
{
    struct listing *l = arg;
    MUST(l->p->n_shown < SHOWN);
    uint64_t hash = codec_hash(names_get(&idx.names, name->name, name->name_len), name->name_len);
    l->p->shown[l->p->n_shown++] = (struct shown){l->view, hash * 31 + l->dir, name->child};
    return 0;
}

static int by_all(const void *a, const void *b)
{
    const struct shown *x = a, *y = b;
    if (x->view != y->view)
        return x->view < y->view ? -1 : 1;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return (x->child > y->child) - (x->child < y->child);
}

static void take_picture(struct picture *p, uint64_t last)
{
    memset(p, 0, sizeof *p);
    MUST(idx.inodes.used < SLOTS);
    for (uint32_t slot = 1; slot < idx.inodes.used; slot++) {
        const struct inode_rec *inode = index_slot(&idx, slot);
        if (inode)
            picture_inode(p, slot, inode);
    }
    for (uint64_t i = 1; i <= VIEWS; i++)
        for (uint32_t dir = 1; dir < idx.inodes.used; dir++) {
            const struct inode_rec *inode = index_slot(&idx, dir);
            struct listing l = {p, last * i / VIEWS, dir};
            struct list_at list = {
                .dir = dir, .at = l.view, .looks = UINT32_MAX, .emit = add_shown, .arg = &l};
            MUST(!inode || !S_ISDIR(inode->mode) || inode->flags & INODE_PAST ||
                 index_list_at(&idx, &list) == LIST_END);
        }
    qsort(p->shown, p->n_shown, sizeof p->shown[0], by_all);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void lose(struct index_holes *holes, unsigned table, uint32_t c)
{
    struct table *t = index_table(&idx, table);
    if (!holes->lost[table])
        holes->lost[table] = calloc(t->n_chunks, 1);
    MUST(holes->lost[table] && c < t->n_chunks);
    memset(t->chunks[c], 0, TABLE_CHUNK_SIZE);
    holes->lost[table][c] = 1;
    holes->n++;
}

static void replay(size_t from, size_t end, bool mended)
{
    for (size_t i = from; i < end; i++) {
        if (seq != ops[i].seq) {
            seq = ops[i].seq;
            for (uint32_t seg = 1; seg <= SEGS; seg++)
                MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, seq) == 0);
        }
        if (mended) {
            int r = index_apply_mended(&idx, &ops[i].op, seq);
            MUST(r >= 0 || r == -EBADMSG);
        } else {
            must_apply(ops[i].op);
        }
    }
}

static void mend(const struct index_holes *holes)
{
    const struct index_file known[SEGS] = {{1, SEGMENT_LOG}, {2, SEGMENT_LOG}, {3, SEGMENT_LOG}};
    uint8_t *lost = NULL;
    uint32_t n_slots = 0;
    idmap_done(&idx.seg_slots); /* as it is loaded */
    idx.seg_slots = (struct idmap){0};
    int r = index_mend(&idx, holes, known, SEGS, &lost, &n_slots);
    check_index();
    cr_assert_eq(r, 0);
    free(lost);
}

/* Nothing is shown that was not; returns how many states are left. */
static unsigned expect_part(const struct picture *all, bool with_xattrs)
{
    unsigned n = 0;
    for (uint32_t slot = 1; slot < SLOTS; slot++) {
        if (!now.number[slot] || now.number[slot] != all->number[slot])
            continue;
        bool is_past = index_slot(&idx, slot)->flags & INODE_PAST;
        bool is_dir = S_ISDIR(index_slot(&idx, slot)->mode);
        MUST(is_dir || now.content[slot] == all->content[slot]);
        MUST(!with_xattrs || !is_past || now.xattrs[slot] == all->xattrs[slot]);
        n += is_past;
    }
    return n;
}

static void expect_names(const struct picture *all)
{
    for (size_t i = 0, k = 0; i < now.n_shown; i++) {
        const struct inode_rec *child = index_slot(&idx, now.shown[i].child);
        while (k < all->n_shown && by_all(&all->shown[k], &now.shown[i]) < 0)
            k++;
        bool was = k < all->n_shown && by_all(&all->shown[k], &now.shown[i]) == 0;
        MUST(was || (child && S_ISDIR(child->mode))); /* folders may have got a new name */
    }
}

/* ---- tests -------------------------------------------------------------------------------------- */

static void setup(void)
{
    make_log(test_seed());
    check_index();
    take_picture(&after, seq);
    index_free(&idx);
}

TestSuite(past_mend, .init = setup, .timeout = 300);

static void begin_known(void)
{
    MUST(index_init(&idx, 1) == 0);
    seq = 0;
    replay(0, n_known, false);
    take_picture(&before, seq);
    MUST(before.n_states > 600 && idx.s.n_past_names > 1500);
}

Test(past_mend, loses_nothing_where_nothing_is_lost)
{
    struct index_holes none = {0};
    begin_known();
    uint64_t names = idx.s.n_past_names, past_live = idx.s.past_live, orphans = idx.n_orphans;
    mend(&none);
    take_picture(&now, seq);
    cr_assert_eq(expect_part(&before, true), before.n_states);
    cr_assert_eq(now.n_heads, before.n_heads);
    cr_assert_eq(now.n_shown, before.n_shown);
    cr_assert_eq(memcmp(now.shown, before.shown, now.n_shown * sizeof now.shown[0]), 0);
    cr_assert_eq(idx.s.n_past_names, names);
    cr_assert_eq(idx.s.past_live, past_live);
    cr_assert_eq(idx.n_orphans, orphans);
    replay(n_known, n_ops, true);
    check_index();
    take_picture(&now, seq);
    cr_assert_eq(expect_part(&after, true), after.n_states);
    cr_assert_eq(memcmp(now.shown, after.shown, now.n_shown * sizeof now.shown[0]), 0);
    index_free(&idx);
}

/* One chunk of a table, or several of all. */
static void lose_and_mend(unsigned table, unsigned n, unsigned *ret_states, uint64_t *ret_names)
{
    struct index_holes holes = {0};
    begin_known();
    for (unsigned i = 0; i < n; i++) {
        unsigned which = table == INDEX_TABLES ? (unsigned)below(INDEX_TABLES) : table;
        struct table *t = index_table(&idx, which);
        if (t->n_chunks)
            lose(&holes, which, (uint32_t)below(t->n_chunks));
    }
    mend(&holes);
    take_picture(&now, seq);
    *ret_states = expect_part(&before, true);
    *ret_names = idx.s.n_past_names;
    expect_names(&before);
    replay(n_known, n_ops, true);
    check_index();
    take_picture(&now, seq);
    (void)expect_part(&after, false);
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        free(holes.lost[i]);
    index_free(&idx);
}

static void lose_of(unsigned table, unsigned *ret_states, uint64_t *ret_names)
{
    *ret_states = 0;
    *ret_names = 0;
    for (unsigned i = 0; i < 4; i++) {
        unsigned states;
        uint64_t names;
        lose_and_mend(table, 1, &states, &names);
        *ret_states = MAX_OF(*ret_states, states);
        *ret_names = MAX_OF(*ret_names, names);
    }
}

Test(past_mend, a_state_goes_with_what_it_reads)
{
    unsigned states;
    uint64_t names;
    lose_of(TABLE_EXTENTS, &states, &names);
    cr_assert(states > before.n_states / 50 && states < before.n_states, "%u of %u", states, before.n_states);
    lose_of(TABLE_INODES, &states, &names);
    cr_assert(states > before.n_states / 50 && states < before.n_states, "%u of %u", states, before.n_states);
    lose_of(TABLE_NAMES, &states, &names);
    cr_assert(states > before.n_states / 50, "%u of %u", states, before.n_states);
}

Test(past_mend, what_leads_to_past_names_is_made_anew)
{
    static const unsigned derived[] = {TABLE_PAST_ORDER, TABLE_PAST_LOOKUP, TABLE_BUCKETS, TABLE_DIRS};
    unsigned states;
    uint64_t names, all;
    begin_known();
    all = idx.s.n_past_names;
    index_free(&idx);
    for (unsigned i = 0; i < ARRAY_LEN(derived); i++) {
        lose_of(derived[i], &states, &names);
        cr_assert_eq(names, all);
        cr_assert_eq(states, before.n_states);
    }
    lose_of(TABLE_PAST_NAMES, &states, &names);
    cr_assert(names > all / 10 && names < all, "%llu of %llu", (unsigned long long)names,
              (unsigned long long)all);
    lose_of(TABLE_DENTRIES, &states, &names);
    cr_assert_gt(names, all / 10);
}

Test(past_mend, whatever_is_lost)
{
    unsigned states;
    uint64_t names;
    for (unsigned i = 0; i < 25; i++)
        lose_and_mend(INDEX_TABLES, 1 + (unsigned)below(5), &states, &names);
}

/* I10: whatever the records say, nothing is read or written out of bounds, and what comes of it is sound. */
Test(past_mend, any_records_are_mended_or_refused)
{
    unsigned n_mended = 0;
    for (unsigned i = 0; i < 60; i++) {
        struct index_holes none = {0};
        uint8_t *lost = NULL;
        uint32_t n_slots;
        MUST(index_init(&idx, 1) == 0);
        seq = 0;
        replay(0, n_known, false);
        for (unsigned k = 0; k < i % 30; k++) {
            struct table *t = index_table(&idx, (unsigned)below(INDEX_TABLES));
            uint32_t chunk = t->n_chunks ? (uint32_t)below(t->n_chunks) : 0;
            if (t->n_chunks && t->chunks[chunk])
                t->chunks[chunk][below(TABLE_CHUNK_SIZE)] = (uint8_t)below(256);
        }
        idmap_done(&idx.seg_slots);
        idx.seg_slots = (struct idmap){0};
        int r = index_mend(&idx, &none, NULL, 0, &lost, &n_slots);
        MUST(r == 0 || r == -EBADMSG);
        n_mended += !r;
        MUST(r || index_verify(&idx, true, tell, NULL) == 0);
        if (!r)
            replay(n_known, n_ops, true);
        MUST(r || index_verify(&idx, true, tell, NULL) == 0);
        free(lost);
        index_free(&idx);
    }
    cr_assert_gt(n_mended, 15);
}
