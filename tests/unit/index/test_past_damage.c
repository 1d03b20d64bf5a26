/*
 * test_past_damage.c - past states that are damaged and meet a reader or a change before anybody has verified
 * them, as in a store that is loaded by need: each call comes back, with what is there or an error. */
#include "one_line.h"
#include "rng.h"

#define STATES 10u
#define STEP 64u /* bytes */

static uint64_t rng, numbers[STATES];
static uint32_t place;

TestSuite(past_damage, .init = begin, .fini = done, .timeout = 100);

static struct locator somewhere(uint32_t len)
{
    place += len / 8 + 1;
    return (struct locator){1 + place % SEGS, place, 0, len, len};
}

static struct op random_change(void)
{
    static const char *const names[] = {"user.a", "user.b"};
    struct op op = {
        .type = OP_EXTENT, .ino = ino, .off = STEP * rng_below(&rng, 8), .len = STEP, .loc = somewhere(STEP)};
    switch (rng_below(&rng, 6)) {
    case 0:
        op.type = OP_PUNCH;
        op.len = STEP * rng_below(&rng, 8);
        break;
    case 1:
        op.type = OP_TRUNCATE;
        op.len = STEP * rng_below(&rng, 8);
        op.flags = rng_below(&rng, 2) ? OP_LATER : 0;
        break;
    case 2:
        op = (struct op){.type = OP_XATTR_SET, .ino = ino, .name = names[rng_below(&rng, 2)], .name_len = 6};
        op.value = "value";
        op.value_len = (uint32_t)rng_below(&rng, 6);
        break;
    case 3:
        op = (struct op){.type = OP_XATTR_DEL, .ino = ino, .name = names[rng_below(&rng, 2)], .name_len = 6};
        break;
    default:
        break;
    }
    return op;
}

static void keep_one(unsigned i)
{
    struct op op = {.type = OP_KEEP, .ino = ino, .past = numbers[i] = index_predict_ino(&idx, NULL)};
    seq++;
    (void)apply(&op, 1);
    for (unsigned k = 0; k < 3; k++) {
        struct op change = random_change();
        (void)apply(&change, 1); /* some cannot be: a tail in the way, no such xattr */
    }
}

/* ---- damage -------------------------------------------------------------------------- */

static uint32_t random_slot(void)
{
    return (uint32_t)rng_below(&rng, idx.inodes.used);
}

/* Of what an image may hold: each record is in range by itself (chunk_check.c). */
static void damage_record(struct inode_rec *inode)
{
    bool is_past = inode->flags & INODE_PAST;
    switch (rng_below(&rng, is_past ? 10 : 4)) {
    case 0:
        inode->past = random_slot();
        return;
    case 1:
        inode->size = STEP * rng_below(&rng, 12);
        return;
    case 2:
        inode->xattrs = rng_below(&rng, 2) ? index_slot(&idx, slot)->xattrs : (uint32_t)rng_below(&rng, 200);
        return;
    case 3:
        inode->flags ^= rng_below(&rng, 2) ? INODE_PAST_TAIL : INODE_INLINE;
        if (inode->flags & INODE_INLINE)
            inode->first = somewhere(200);
        return;
    case 4:
        past_set_head(inode, 1 + random_slot() % (idx.inodes.used - 1), 1 + (uint32_t)rng_below(&rng, 20));
        return;
    case 5:
        past_set_begin(inode, rng_below(&rng, past_end(inode) + 1));
        return;
    case 6:
        past_set_end(inode, past_begin(inode) + 1 + rng_below(&rng, seq));
        return;
    case 7:
        inode->extents.n = (uint32_t)rng_below(&rng, 5);
        return;
    case 8:
        inode->extents.bytes = rng_below(&rng, 300);
        return;
    default:
        inode->flags ^= INODE_GOING;
    }
}

static void damage_extent(void)
{
    struct bkey key;
    struct locator loc;
    if (btree_ceil(&idx.extents, (struct bkey){random_slot(), 0}, &key, &loc) != 0)
        return;
    loc = rng_below(&rng, 2) ? (struct locator){.len = (uint32_t)(1 + rng_below(&rng, 400))} : somewhere(200);
    MUST(btree_put(&idx.extents, key, &loc) == 1);
}

static void damage(void)
{
    for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
        uint32_t i = random_slot();
        if (rng_below(&rng, 5) == 0)
            damage_extent();
        else if (index_slot(&idx, i) && i != ENG_ROOT_INO)
            damage_record(table_mut(&idx.inodes, i));
    }
}

/* ---- who meets it ------------------------------------------------------------------------ */

static int pass_by(void *arg, const struct xattr_view *view)
{
    *(unsigned *)arg += view->name_len;
    return 0;
}

static void read_all(void)
{
    struct past_piece pieces[16];
    struct xattr_view view;
    for (uint64_t at = 0; at <= seq; at++)
        (void)past_at(&idx, slot, at);
    for (unsigned i = 0; i < STATES; i++) {
        uint64_t end, off = 0;
        size_t n = 1;
        unsigned sum = 0;
        int r = 0;
        for (unsigned k = 0; k < 100 && !r && n; k++, off = end)
            r = past_read(&idx, ino_slot(numbers[i]), off, UINT64_MAX, pieces, 16, &n, &end);
        MUST(r == 0 || r == -EBADMSG || r == -ESTALE);
        r = past_xattr(&idx, ino_slot(numbers[i]), "user.a", 6, &view);
        MUST(r == 0 || r == 1 || r == -EBADMSG || r == -ESTALE);
        r = past_xattrs(&idx, ino_slot(numbers[i]), pass_by, &sum);
        MUST(r == 0 || r == -EBADMSG || r == -ESTALE);
    }
}

static void change_all(void)
{
    for (unsigned i = 0; i < 12; i++) {
        struct op op = random_change();
        uint64_t number = numbers[rng_below(&rng, STATES)];
        switch (rng_below(&rng, 5)) {
        case 0:
            op = (struct op){.type = OP_DROP, .past = number, .len = rng_below(&rng, 2) ? UINT64_MAX : STEP};
            break;
        case 1:
            op = (struct op){.type = OP_KEEP, .ino = ino, .past = index_predict_ino(&idx, NULL)};
            break;
        case 2:
            op = (struct op){
                .type = OP_RELOCATE, .ino = number, .loc = somewhere(STEP), .old = somewhere(STEP)};
            break;
        default:
            break;
        }
        seq++;
        int r = apply(&op, 1);
        MUST(r == 0 || r == 1 || r == -EBADMSG);
        if (r == -EBADMSG && i % 2) /* nothing is changed any more, as a rule */
            return;
    }
}

static void all_meet_it(void)
{
    (void)index_verify(&idx, true, NULL, NULL);
    read_all();
    change_all();
    read_all();
}

Test(past_damage, everybody_comes_back)
{
    rng = test_seed();
    for (unsigned i = 0; i < 3000; i++) {
        begin();
        place = 1;
        for (unsigned k = 0; k < STATES; k++)
            keep_one(k);
        damage();
        all_meet_it();
    }
}
