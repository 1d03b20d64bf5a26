/*
 * test_keep.c - what each change keeps for snapshots: for every snapshot and every memory, what the index
 * shows is compared with a copy that was made when the snapshot was; after changes of every kind, openings,
 * cuts, compactions, and when other snapshots have gone. */
#include "rng.h"
#include "snapshot_copies.h"

#include "one_store.h"

#define MANY 20u

TestSuite(keep, .init = setup, .fini = teardown, .timeout = 280);

static const struct eng_caller opener = {.ref = true};

static void compare_after_all(const struct copy *copies, size_t n)
{
    for (unsigned round = 0; round < 4; round++) {
        for (size_t i = 0; i < n; i++)
            copy_compare(&u, &copies[i]);
        cr_assert_eq(unit_problems(&u), 0);
        if (round == 0) {
            MUST(eng_sync(u.eng) == 0);
            unit_kill(&u, SIM_DROP_ALL, 1);
            unit_open(&u);
        } else if (round == 1) {
            MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        } else if (round == 2) {
            unit_reopen(&u);
        }
    }
}

static void compare_one(struct copy *copy)
{
    compare_after_all(copy, 1);
    copy_free(copy);
}

/* ---- each kind of change --------------------------------------------------------- */

static void set_attr(uint64_t ino, unsigned mask, uint64_t size)
{
    const struct eng_attr attr = {
        .mode = 0604, .uid = 7, .gid = 8, .size = size, .atime = 123, .mtime = 456, .ctime = 789};
    MUST(eng_setattr(u.eng, ino, &attr, mask, NULL) == 0);
}

static void xattr(uint64_t ino, const char *name, size_t size, uint64_t seed)
{
    uint8_t *value = unit_bytes(size, seed);
    MUST(eng_setxattr(u.eng, ino, name, value, size, 0) == 0);
    free(value);
}

static void change(unsigned kind, uint64_t ino)
{
    switch (kind) {
    case 0:
        return unit_write(&u, ino, 3000, 99, 100);
    case 1:
        return unit_write(&u, ino, 3000, 98, 39000);
    case 2:
        return set_attr(ino, ENG_SET_SIZE, 1000);
    case 3:
        return set_attr(ino, ENG_SET_SIZE, 90000);
    case 4:
        return (void)eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 5000, 9000);
    case 5:
        return (void)eng_fallocate(u.eng, ino, ENG_FALLOC_ZERO_RANGE, 100, 200);
    case 6:
        return set_attr(ino, ENG_SET_MODE, 0);
    case 7:
        return set_attr(ino, ENG_SET_UID | ENG_SET_GID, 0);
    case 8:
        return set_attr(ino, ENG_SET_MTIME, 0);
    case 9:
        return set_attr(ino, 0, 0);
    case 10:
        return xattr(ino, "user.a", 30, 5);
    case 11:
        return xattr(ino, "user.b", 3000, 6);
    case 12:
        return xattr(ino, "user.new", 10, 7);
    case 13:
        MUST(eng_removexattr(u.eng, ino, "user.a") == 0);
        return;
    case 14:
        MUST(eng_removexattr(u.eng, ino, "user.b") == 0);
        return;
    case 15:
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "another", NULL) == 0);
        return;
    default:
        return;
    }
}

#define KINDS 16u

static uint64_t memory(const char *name)
{
    uint64_t ino = unit_file(&u, name, 40000, 1);
    xattr(ino, "user.a", 20, 3);
    xattr(ino, "user.b", 2000, 4);
    return ino;
}

Test(keep, a_snapshot_has_what_each_change_replaced)
{
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", kind);
        (void)memory(name);
    }
    struct copy copy = copied_snapshot(&u, "s");
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", kind);
        change(kind, unit_lookup(&u, name));
        copy_compare(&u, &copy);
    }
    /* Once more: what is amended changes nothing. */
    for (unsigned kind = 0; kind < KINDS - 1; kind++)
        for (unsigned other = 0; other < 13; other++) {
            char name[8];
            (void)snprintf(name, sizeof name, "f%u", kind);
            change(other, unit_lookup(&u, name));
        }
    compare_one(&copy);
}

Test(keep, each_snapshot_has_its_own)
{
    struct copy copies[KINDS];
    uint64_t ino = memory("f");
    for (unsigned kind = 0; kind < KINDS; kind++) {
        char name[8];
        (void)snprintf(name, sizeof name, "s%u", kind);
        copies[kind] = copied_snapshot(&u, name);
        change(kind, ino);
        if (kind % 2)
            change(0, ino);
    }
    compare_after_all(copies, KINDS);
    for (unsigned i = 0; i < KINDS; i++)
        copy_free(&copies[i]);
}

Test(keep, one_state_a_snapshot)
{
    uint64_t ino = memory("f");
    uint64_t before = u.eng->idx.s.n_past;
    unit_write(&u, ino, 100, 1, 0);
    cr_assert_eq(u.eng->idx.s.n_past, before, "no snapshot sees it");
    struct copy copy = copied_snapshot(&u, "s");
    for (unsigned i = 0; i < MANY; i++)
        unit_write(&u, ino, 100, i, i * 50);
    cr_assert_eq(u.eng->idx.s.n_past, before + 1);
    (void)eng_accessed(u.eng, unit_create(&u, "new"));
    unit_write(&u, unit_lookup(&u, "new"), 100, 1, 0);
    cr_assert_eq(u.eng->idx.s.n_past, before + 2, "the root's, and none of what is new");
    compare_one(&copy);
}

/* Reading leaves nothing: no view promises an atime. */
Test(keep, reading_keeps_nothing)
{
    uint64_t ino = memory("f");
    unit_close(&u);
    u.opt.relatime = true;
    unit_open(&u);
    struct copy copy = copied_snapshot(&u, "s");
    eng_accessed(u.eng, ino);
    unit_reopen(&u);
    cr_assert_gt(unit_attr(&u, ino).atime, copy.all[1].attr.atime);
    cr_assert_eq(u.eng->idx.s.n_past, 0);
    unit_write(&u, ino, 100, 1, 0);
    cr_assert_eq(u.eng->idx.s.n_past, 1);
    struct copy later = copied_snapshot(&u, "t");
    eng_accessed(u.eng, ino);
    unit_reopen(&u); /* which writes the time, and ends no state by that */
    cr_assert_gt(unit_attr(&u, ino).atime, later.all[1].attr.atime);
    cr_assert_eq(u.eng->idx.s.n_past, 1);
    copy_compare(&u, &later);
    copy_free(&later);
    compare_one(&copy);
}

/* ---- names --------------------------------------------------------------------------- */

/* Example 3 of the design, and what a later change of the other name's memory would count twice. */
Test(keep, a_name_that_went_is_counted_once)
{
    uint64_t ino = unit_file(&u, "f", 5000, 1);
    MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "g", NULL) == 0);
    struct copy copy = copied_snapshot(&u, "s");
    unit_write(&u, ino, 100, 2, 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "g") == 0);
    copy_compare(&u, &copy);
    unit_write(&u, ino, 100, 3, 0);
    copy_compare(&u, &copy);
    /* The state in between stays when what no snapshot sees goes. */
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    compare_one(&copy);
}

Test(keep, renames_of_all_kinds)
{
    uint64_t dir = unit_mkdir(&u, "dir"), below = 0;
    struct eng_attr attr;
    for (unsigned i = 0; i < 8; i++)
        (void)unit_file(&u, (char[]){(char)('a' + i), 0}, 3000, i);
    MUST(eng_create(u.eng, NULL, dir, "sub", S_IFDIR | 0755, 0, NULL, &attr) == 0);
    below = attr.ino;
    MUST(eng_create(u.eng, NULL, below, "deep", S_IFREG | 0644, 0, NULL, &attr) == 0);
    MUST(eng_create(u.eng, NULL, ENG_ROOT_INO, "link", S_IFLNK | 0777, 0, "target of it", NULL) == 0);
    MUST(eng_create(u.eng, NULL, ENG_ROOT_INO, "fifo", S_IFIFO | 0600, 0, NULL, NULL) == 0);
    struct copy copies[2] = {copied_snapshot(&u, "s")};
    const uint64_t root = ENG_ROOT_INO;
    MUST(eng_rename(u.eng, NULL, root, "a", root, "a2", 0) == 0);
    MUST(eng_rename(u.eng, NULL, root, "b", root, "c", 0) == 0);
    MUST(eng_rename(u.eng, NULL, root, "dir", dir, "sub", ENG_RENAME_EXCHANGE) == -EINVAL);
    MUST(eng_rename(u.eng, NULL, root, "e", below, "deep", ENG_RENAME_EXCHANGE) == 0);
    MUST(eng_rename(u.eng, NULL, root, "f", dir, "f", ENG_RENAME_WHITEOUT) == 0);
    MUST(eng_rename(u.eng, NULL, dir, "sub", root, "up", 0) == 0);
    MUST(eng_rename(u.eng, NULL, root, "link", dir, "link", 0) == 0);
    MUST(eng_rename(u.eng, NULL, root, "a2", root, "a", 0) == 0);
    copy_compare(&u, &copies[0]);
    copies[1] = copied_snapshot(&u, "t");
    MUST(eng_unlink(u.eng, root, "g") == 0);
    MUST(eng_rename(u.eng, NULL, root, "h", root, "g", 0) == 0);
    MUST(eng_rename(u.eng, NULL, root, "g", root, "h", 0) == 0);
    MUST(eng_rename(u.eng, NULL, dir, "link", root, "link", 0) == 0);
    MUST(eng_unlink(u.eng, dir, "f") == 0);
    MUST(eng_rmdir(u.eng, root, "dir") == 0);
    MUST(eng_unlink(u.eng, root, "fifo") == 0);
    compare_after_all(copies, 2);
    copy_free(&copies[0]);
    copy_free(&copies[1]);
}

/* As emacs, sed -i and rsync do, many times. */
Test(keep, what_was_renamed_over)
{
    struct copy copies[4];
    (void)unit_file(&u, "f", 5000, 0);
    for (unsigned i = 0; i < 4 * MANY; i++) {
        (void)unit_file(&u, "tmp", 5000 + i, i);
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "tmp", ENG_ROOT_INO, "f", 0) == 0);
        if (i % MANY == 0)
            copies[i / MANY] = copied_snapshot(&u, (char[]){(char)('a' + i / MANY), 0});
    }
    cr_assert_eq(u.eng->idx.s.n_past_names, 4, "one for each snapshot, none of what none sees");
    compare_after_all(copies, 4);
    for (unsigned i = 0; i < 4; i++)
        copy_free(&copies[i]);
}

Test(keep, open_but_removed)
{
    struct eng_attr attr;
    uint64_t kept = unit_file(&u, "kept", 9000, 1);
    MUST(eng_lookup(u.eng, &opener, ENG_ROOT_INO, "kept", &attr) == 0);
    struct copy copy = copied_snapshot(&u, "s");
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "kept") == 0);
    unit_write(&u, kept, 500, 2, 100);
    unit_write(&u, kept, 500, 3, 100);
    copy_compare(&u, &copy);
    set_attr(kept, ENG_SET_SIZE, 0);
    copy_compare(&u, &copy);
    /* One that no snapshot sees keeps nothing. */
    uint64_t before = u.eng->idx.s.n_past, loose = unit_file(&u, "loose", 9000, 1);
    MUST(eng_lookup(u.eng, &opener, ENG_ROOT_INO, "loose", &attr) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "loose") == 0);
    struct copy later = copied_snapshot(&u, "t");
    unit_write(&u, loose, 500, 2, 100);
    cr_assert_eq(u.eng->idx.s.n_past, before);
    MUST(eng_forget(u.eng, loose, 1) == 0 && eng_forget(u.eng, kept, 1) == 0);
    MUST(eng_sync(u.eng) == 0);
    copy_compare(&u, &copy);
    copy_compare(&u, &later);
    copy_free(&later);
    compare_one(&copy);
}

/* ---- slices and tails -------------------------------------------------------------------- */

static uint64_t in_pieces(const char *name)
{
    uint64_t ino = unit_create(&u, name);
    for (unsigned i = MANY; i-- > 0;) /* from behind: no write takes another along */
        unit_write(&u, ino, 1000, i, (uint64_t)9000 * i);
    return ino;
}

/* A tail of before the snapshot is in the way of another truncation after it. */
Test(keep, truncations_in_slices)
{
    atomic_store(&u.eng->slice, 4);
    uint64_t a = in_pieces("a"), b = in_pieces("b"), c = in_pieces("c");
    const uint64_t all[] = {a, b, c};
    struct copy first = copied_snapshot(&u, "s");
    set_attr(a, ENG_SET_SIZE, 20000);
    set_attr(b, ENG_SET_SIZE, 0);
    unit_write(&u, b, 3000, 5, 170000);
    copy_compare(&u, &first);
    struct copy second = copied_snapshot(&u, "t");
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        set_attr(all[i], ENG_SET_SIZE, 10000);
        set_attr(all[i], ENG_SET_SIZE, 150000);
    }
    (void)eng_fallocate(u.eng, c, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 150000);
    copy_compare(&u, &first);
    MUST(eng_snapshot_drop(u.eng, "t") == 0);
    copy_compare(&u, &first);
    copy_free(&second);
    compare_one(&first);
}

/* A truncation of which nobody frees the tail, as after a cut. */
static void truncate_later(uint64_t ino, uint64_t size)
{
    CLEANUP_TXN struct txn txn = {0};
    MUST(commit_begin(u.eng) == 0);
    struct op *op = txn_op(&txn, OP_TRUNCATE);
    *op = (struct op){.type = OP_TRUNCATE, .flags = OP_LATER, .ino = ino, .len = size, .time = 5};
    MUST(commit_end(u.eng, commit_txn(u.eng, &txn)) == 0);
}

/* No snapshot then, one now. */
Test(keep, a_tail_of_before_is_freed_first)
{
    uint64_t ino = in_pieces("f");
    MUST(store_set_history(u.eng) == 0);
    truncate_later(ino, 20000);
    MUST(index_inode(&u.eng->idx, ino)->flags & INODE_TAIL);
    struct copy copy = copied_snapshot(&u, "s");
    set_attr(ino, ENG_SET_SIZE, 500);
    copy_compare(&u, &copy);
    set_attr(ino, ENG_SET_SIZE, 100000);
    compare_one(&copy);
}

/* Example 4 of the design: the tail is what a snapshot sees. */
Test(keep, a_tail_that_a_snapshot_sees)
{
    for (unsigned how = 0; how < 4; how++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", how);
        uint64_t ino = in_pieces(name);
        struct copy copy = copied_snapshot(&u, name);
        truncate_later(ino, 20000);
        copy_compare(&u, &copy);
        if (how & 1) {
            (void)unit_file(&u, "garbage", 60000, 1);
            MUST(eng_unlink(u.eng, ENG_ROOT_INO, "garbage") == 0);
            MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
            copy_compare(&u, &copy);
        }
        if (how & 2) { /* what is dropped has the tail */
            atomic_store(&u.eng->slice, 4);
            MUST(eng_snapshot_drop(u.eng, name) == 0);
            cr_assert_eq(u.eng->idx.s.n_past, 0);
            copy_free(&copy);
        } else {
            unit_write(&u, ino, 2000, 8, 50000);
            copy_compare(&u, &copy);
            compare_one(&copy);
            MUST(eng_snapshot_drop(u.eng, name) == 0);
        }
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
        MUST(eng_sync(u.eng) == 0);
        cr_assert_eq(u.eng->idx.s.live, 0);
        cr_assert_eq(unit_problems(&u), 0);
    }
}

Test(keep, many_at_once)
{
    struct eng_record records[300];
    static char names[300][8];
    uint8_t *bytes = unit_bytes(400, 1);
    struct copy copies[3];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 300; i++) {
            (void)snprintf(names[i], sizeof names[i], "n%u", (i * (round + 1)) % 500);
            records[i] = (struct eng_record){.parent = ENG_ROOT_INO,
                                             .name = names[i],
                                             .mode = 0600 + round,
                                             .mtime = (int64_t)round,
                                             .content = bytes + round,
                                             .size = 200 + i % 100};
        }
        MUST(eng_put_many(u.eng, records, 300) == 300);
        copies[round] = copied_snapshot(&u, (char[]){(char)('a' + round), 0});
        for (unsigned i = 0; i < 300; i += 7)
            (void)eng_unlink(u.eng, ENG_ROOT_INO, names[i]);
    }
    free(bytes);
    compare_after_all(copies, 3);
    for (unsigned i = 0; i < 3; i++)
        copy_free(&copies[i]);
}

/* ---- attributes that come and go ---------------------------------------------------------- */

#define COME 24u
#define CYCLES 9u

static void each_attribute(uint64_t ino, unsigned cycle, bool comes)
{
    char name[24];
    for (unsigned i = 0; i < COME; i++) {
        (void)snprintf(name, sizeof name, "user.%u-%u", cycle, i);
        if (comes)
            xattr(ino, name, 5, cycle);
        else
            MUST(eng_removexattr(u.eng, ino, name) == 0);
    }
}

static uint32_t oldest_has(uint64_t ino)
{
    const struct inode_rec *at = index_inode(&u.eng->idx, ino);
    while (at->past)
        at = index_slot(&u.eng->idx, at->past);
    return index_count_xattrs(&u.eng->idx, at, XATTRS_MAX);
}

/* A snapshot that stays, and others that come and go, each with attributes of its own: that those were not
 * there is not noted for ever. `n` of them are there at once. */
static void come_and_go(uint64_t ino, unsigned n)
{
    struct copy stays = copied_snapshot(&u, "stays"), copies[CYCLES];
    uint32_t most = 0;
    set_attr(ino, ENG_SET_MODE, 0);
    for (unsigned k = 0; k < CYCLES; k++) {
        each_attribute(ino, k, true);
        copies[k] = copied_snapshot(&u, (char[]){(char)('a' + k), 0});
        each_attribute(ino, k, false);
        if (k + 1 >= n) {
            copy_free(&copies[k + 1 - n]);
            MUST(eng_snapshot_drop(u.eng, (char[]){(char)('a' + k + 1 - n), 0}) == 0);
        }
        for (unsigned i = k + 2 > n ? k + 2 - n : 0; i <= k; i++)
            copy_compare(&u, &copies[i]);
        copy_compare(&u, &stays);
        most = MAX_OF(most, oldest_has(ino));
    }
    cr_assert_leq(most, (n + 1) * COME);
    for (unsigned i = CYCLES + 1 - n; i < CYCLES; i++)
        copy_free(&copies[i]);
    compare_after_all(&stays, 1);
    copy_free(&stays);
}

Test(keep, attributes_that_come_and_go)
{
    come_and_go(unit_file(&u, "f", 100, 1), 1);
}

Test(keep, attributes_that_come_and_go_in_a_longer_line)
{
    come_and_go(unit_file(&u, "f", 100, 1), 3);
}

/* ---- pieces that come and go ---------------------------------------------------------------- */

#define PIECES 40u
#define APART 65536u

static uint32_t oldest_has_entries(uint64_t ino)
{
    const struct inode_rec *at = index_inode(&u.eng->idx, ino);
    while (at->past)
        at = index_slot(&u.eng->idx, at->past);
    return inode_n_extents(at);
}

static void punch(uint64_t ino, uint64_t off, uint64_t len)
{
    MUST(eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, off, len) == 0);
}

/* A snapshot that stays sees a hole; pieces come into it, each at a place of its own, and go again, some
 * while another snapshot sees them. No hole is noted for ever. */
Test(keep, pieces_that_come_and_go)
{
    uint64_t ino = unit_file(&u, "f", 100, 1);
    const struct eng_attr large = {.size = UINT64_C(1) << 32};
    MUST(eng_setattr(u.eng, ino, &large, ENG_SET_SIZE, NULL) == 0);
    MUST(eng_snapshot_create(u.eng, "stays", NULL) == 0);
    unit_write(&u, ino, 100, 2, 0);
    for (unsigned k = 0; k < 2 * CYCLES; k++) {
        for (unsigned i = 0; i < PIECES; i++)
            unit_write(&u, ino, 300, i, (1 + k * PIECES + (i * 7) % PIECES) * (uint64_t)APART);
        if (k % 2)
            MUST(eng_snapshot_create(u.eng, "goes", NULL) == 0);
        punch(ino, APART, UINT64_C(1) << 31);
        if (k % 2)
            MUST(eng_snapshot_drop(u.eng, "goes") == 0);
        cr_assert_leq(oldest_has_entries(ino), 1);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

/* The same in pieces of any size, of several snapshots, and cut off. */
Test(keep, pieces_that_come_and_go_anyhow)
{
    struct copy copies[4];
    uint64_t ino = unit_file(&u, "f", 90000, 1), rng = test_seed();
    punch(ino, 10000, 60000);
    for (unsigned k = 0; k < 40; k++) {
        unsigned i = k % ARRAY_LEN(copies);
        char name[] = {(char)('a' + i), 0};
        if (k >= ARRAY_LEN(copies)) {
            copy_free(&copies[i]);
            MUST(eng_snapshot_drop(u.eng, name) == 0);
        }
        copies[i] = copied_snapshot(&u, name);
        for (unsigned n = 0; n < 12; n++) {
            uint64_t off = rng_below(&rng, 80000), len = 1 + rng_below(&rng, 9000);
            if (rng_below(&rng, 3) == 0)
                set_attr(ino, ENG_SET_SIZE, off + len);
            else if (rng_below(&rng, 2))
                unit_write(&u, ino, len, n, off);
            else
                punch(ino, off, len);
        }
        for (unsigned j = 0; j < ARRAY_LEN(copies) && j <= k; j++)
            copy_compare(&u, &copies[j]);
        if (k % 10 == 9) {
            MUST(eng_sync(u.eng) == 0);
            unit_kill(&u, SIM_DROP_ALL, k);
            unit_open(&u);
        }
    }
    compare_after_all(copies, ARRAY_LEN(copies));
    for (unsigned j = 0; j < ARRAY_LEN(copies); j++)
        copy_free(&copies[j]);
}

/* ---- anything ---------------------------------------------------------------------------- */

#define STEPS 1500u
#define SNAPSHOTS 6u
#define FILES 8u
#define OPEN 3u

static uint64_t rng;
static struct copy live[SNAPSHOTS];
static uint64_t opened[OPEN];

static uint64_t below(uint64_t n)
{
    return rng_below(&rng, n);
}

static const char *any_name(void)
{
    static const char names[FILES][4] = {"a", "b", "c", "d", "ee", "ff", "gg", "h"};
    return names[below(FILES)];
}

static uint64_t any_dir(void)
{
    uint64_t dir = ENG_ROOT_INO;
    struct eng_attr attr;
    while (below(2) && eng_lookup(u.eng, NULL, dir, any_name(), &attr) == 0 && S_ISDIR(attr.mode))
        dir = attr.ino;
    return dir;
}

/* A file, by one of its names or as one that is open. 0: there is none. */
static uint64_t any_file(void)
{
    struct eng_attr attr;
    if (below(6) == 0 && opened[below(OPEN)])
        return opened[below(OPEN)];
    for (unsigned tries = 0; tries < 8; tries++)
        if (eng_lookup(u.eng, NULL, any_dir(), any_name(), &attr) == 0 && S_ISREG(attr.mode))
            return attr.ino;
    return 0;
}

static void change_content(uint64_t ino)
{
    uint8_t *bytes = unit_bytes(30000, rng);
    uint64_t off = below(60000), len = below(4) ? below(9000) : below(30000);
    struct eng_attr attr = {.size = below(3) ? off : 0};
    const struct inode_rec *inode = index_inode(&u.eng->idx, ino);
    if (below(12) == 0 && !(inode->flags & INODE_TAIL) && inode->size > 1000)
        truncate_later(ino, below(inode->size));
    switch (below(6)) {
    case 0:
        MUST(eng_setattr(u.eng, ino, &attr, ENG_SET_SIZE, NULL) == 0);
        break;
    case 1:
        MUST(eng_fallocate(u.eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, off, len + 1) == 0);
        break;
    case 2:
        MUST(eng_append(u.eng, ino, bytes, len % 3000, NULL) >= 0);
        break;
    default:
        MUST(eng_write(u.eng, ino, bytes, len, off) == (ssize_t)len);
        break;
    }
    free(bytes);
}

static void change_fields(uint64_t ino)
{
    static const char names[4][8] = {"user.a", "user.b", "user.c", "user.d"};
    const char *name = names[below(4)];
    switch (below(5)) {
    case 0:
        (void)eng_removexattr(u.eng, ino, name);
        return;
    case 1:
        return set_attr(ino, ENG_SET_MODE | (below(2) ? ENG_SET_UID : 0), 0);
    case 2:
        return set_attr(ino, ENG_SET_MTIME, 0);
    default:
        return xattr(ino, name, below(3) ? below(60) : 100 + below(3000), rng);
    }
}

static void change_names(void)
{
    static const unsigned flags[] = {0, 0, 0, ENG_RENAME_EXCHANGE, ENG_RENAME_WHITEOUT, ENG_RENAME_NOREPLACE};
    uint64_t dir = any_dir(), to = any_dir(), file = any_file();
    const char *name = any_name(), *other = any_name();
    switch (below(9)) {
    case 0:
    case 1:
        (void)eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, NULL);
        return;
    case 2:
        (void)eng_create(u.eng, NULL, dir, name, S_IFDIR | 0755, 0, NULL, NULL);
        return;
    case 3:
        (void)(below(3) ? eng_unlink(u.eng, dir, name) : eng_rmdir(u.eng, dir, name));
        return;
    case 4:
        if (file)
            (void)eng_link(u.eng, NULL, file, dir, name, NULL);
        return;
    case 5:
        (void)eng_create(u.eng, NULL, dir, name, S_IFLNK | 0777, 0, "elsewhere", NULL);
        return;
    default:
        (void)eng_rename(u.eng, NULL, dir, name, below(2) ? to : dir, other, flags[below(ARRAY_LEN(flags))]);
        return;
    }
}

static void put_some(void)
{
    struct eng_record records[5];
    struct eng_xattr_pair pair = {.name = "user.a", .value = "of many", .size = 7};
    uint8_t *bytes = unit_bytes(4000, rng);
    for (size_t i = 0; i < ARRAY_LEN(records); i++)
        records[i] = (struct eng_record){.parent = any_dir(),
                                         .name = any_name(),
                                         .mode = 0640,
                                         .content = bytes,
                                         .size = below(4000),
                                         .mtime = (int64_t)i,
                                         .xattrs = &pair,
                                         .n_xattrs = below(2)};
    MUST(eng_put_many(u.eng, records, ARRAY_LEN(records)) >= 0); /* folders are in the way of some */
    free(bytes);
}

static void open_one(void)
{
    struct eng_attr attr;
    uint64_t *at = &opened[below(OPEN)];
    if (*at)
        MUST(eng_forget(u.eng, *at, 1) == 0);
    *at = 0;
    if (eng_lookup(u.eng, NULL, any_dir(), any_name(), &attr) == 0 && S_ISREG(attr.mode)) {
        pthread_rwlock_rdlock(&u.eng->index_lock);
        (void)index_ref(&u.eng->idx, ino_slot(attr.ino), 1);
        pthread_rwlock_unlock(&u.eng->index_lock);
        *at = attr.ino;
    }
}

static void snapshot_or_drop(void)
{
    unsigned i = (unsigned)below(SNAPSHOTS);
    char name[8];
    (void)snprintf(name, sizeof name, "s%u", i);
    if (!live[i].n) {
        live[i] = copied_snapshot(&u, name);
        return;
    }
    copy_free(&live[i]);
    MUST(eng_snapshot_drop(u.eng, name) == 0);
}

static void compare_live(void)
{
    for (unsigned i = 0; i < SNAPSHOTS; i++)
        if (live[i].n)
            copy_compare(&u, &live[i]);
}

static void end_life(void)
{
    memset(opened, 0, sizeof opened); /* their references end with the process */
    if (below(2))
        MUST(eng_sync(u.eng) == 0);
    else if (below(2))
        return unit_reopen(&u);
    else
        return unit_kill(&u, SIM_KEEP_ALL, 0), unit_open(&u);
    unit_kill(&u, SIM_DROP_ALL, rng);
    unit_open(&u);
}

static void step(void)
{
    uint64_t file = any_file(), kind = below(100);
    if (kind < 45 && file)
        change_content(file);
    else if (kind < 58 && file)
        change_fields(file);
    else if (kind < 60)
        put_some();
    else if (kind < 85)
        change_names();
    else if (kind < 90)
        open_one();
    else if (kind < 95)
        snapshot_or_drop();
    else if (kind < 96)
        end_life();
    else if (kind < 97)
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    else if (kind < 98)
        MUST(eng_tick(u.eng) == 0);
    atomic_store(&u.eng->slice, below(10) ? 4 : 4096);
}

Test(keep, anything)
{
    rng = test_seed();
    for (unsigned i = 0; i < STEPS; i++) {
        step();
        if (i % 16 == 0)
            compare_live();
    }
    compare_live();
    cr_assert_eq(unit_problems(&u), 0);
    memset(opened, 0, sizeof opened);
    unit_reopen(&u);
    compare_live();
    /* Once the last has gone nothing is left of the past. */
    for (unsigned i = 0; i < SNAPSHOTS; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "s%u", i);
        if (!live[i].n)
            continue;
        copy_free(&live[i]);
        MUST(eng_snapshot_drop(u.eng, name) == 0);
        compare_live();
    }
    cr_assert_eq(u.eng->idx.s.n_past, 0);
    cr_assert_eq(u.eng->idx.s.n_past_names, 0);
    cr_assert_eq(u.eng->idx.s.past_live, 0);
    cr_assert_eq(unit_problems(&u), 0);
}
