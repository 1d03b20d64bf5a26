/*
 * test_depth.c - trees as deep as somebody likes to make them: opening, checking and renaming go up from a
 * directory to its parent, and how often they do is counted here (the linker wraps index_parent()). It must
 * follow the number of directories, or a limit, and not the depth of each. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define DEPTH 40000u
#define LIMIT ENG_MOVE_DEPTH_MAX

uint32_t __real_index_parent(const struct index *idx, uint32_t dir);
uint32_t __wrap_index_parent(const struct index *idx, uint32_t dir);

static uint64_t steps;

uint32_t __wrap_index_parent(const struct index *idx, uint32_t dir)
{
    steps++;
    return __real_index_parent(idx, dir);
}

static struct unit u;
static uint64_t at_depth[DEPTH + 1]; /* inode at depth n; 0: the root */

static uint64_t make_dir(uint64_t parent, const char *name)
{
    struct eng_attr attr;
    UNIT_NEED(eng_create(u.eng, NULL, parent, name, S_IFDIR | 0755, 0, NULL, &attr) == 0);
    return attr.ino;
}

static void setup(void)
{
    unit_new(&u, 4 << 20);
    at_depth[0] = ENG_ROOT_INO;
    for (unsigned i = 1; i <= DEPTH; i++)
        at_depth[i] = make_dir(at_depth[i - 1], "d");
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(depth, .init = setup, .fini = teardown, .timeout = 300);

Test(depth, opening_and_checking_take_some_steps_a_directory)
{
    unit_close(&u);
    steps = 0;
    unit_open(&u);
    cr_assert(steps >= DEPTH && steps <= 3 * DEPTH, "opening: %llu steps", (unsigned long long)steps);
    steps = 0;
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert(steps >= DEPTH && steps <= 3 * DEPTH, "a check: %llu steps", (unsigned long long)steps);
    make_dir(at_depth[DEPTH], "more");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    steps = 0;
    unit_open(&u);
    cr_assert(steps >= DEPTH && steps <= 6 * DEPTH, "with a log: %llu steps", (unsigned long long)steps);
}

/* ---- renaming ------------------------------------------------------------------ */

static int move(uint64_t from, const char *name, uint64_t to, const char *new_name, unsigned flags)
{
    steps = 0;
    return eng_rename(u.eng, NULL, from, name, to, new_name, flags);
}

Test(depth, a_rename_looks_up_no_further_than_the_limit)
{
    uint64_t tree = make_dir(ENG_ROOT_INO, "tree");
    uint64_t leaf = make_dir(ENG_ROOT_INO, "leaf");
    make_dir(tree, "sub");
    static const unsigned fits[] = {1, LIMIT - 1, LIMIT};
    for (size_t i = 0; i < ARRAY_LEN(fits); i++) {
        cr_assert_eq(move(1, "tree", at_depth[fits[i]], "tree", 0), 0, "to depth %u", fits[i]);
        cr_assert(steps <= LIMIT + 1, "%llu steps", (unsigned long long)steps);
        cr_assert_eq(move(at_depth[fits[i]], "tree", 1, "tree", 0), 0, "and up again");
        cr_assert(steps <= 1);
    }
    static const unsigned too_deep[] = {LIMIT + 1, LIMIT + 2, DEPTH};
    for (size_t i = 0; i < ARRAY_LEN(too_deep); i++) {
        cr_assert_eq(move(1, "tree", at_depth[too_deep[i]], "tree", 0), -ENAMETOOLONG, "to depth %u",
                     too_deep[i]);
        cr_assert(steps <= LIMIT + 1, "%llu steps", (unsigned long long)steps);
    }
    cr_assert_eq(move(1, "leaf", at_depth[DEPTH], "leaf", 0), 0, "nothing can lie below it");
    cr_assert(steps == 0);
    cr_assert_eq(move(at_depth[DEPTH], "leaf", at_depth[DEPTH], "renamed", 0), 0);
    cr_assert_eq(move(at_depth[DEPTH - 1], "d", at_depth[DEPTH - 1], "renamed", 0), 0, "in its directory");
    cr_assert(steps == 0);
    cr_assert_eq(move(at_depth[DEPTH - 1], "renamed", 1, "up", 0), 0, "out of the depth");
    cr_assert(steps <= 1);
    (void)leaf;
    cr_assert_eq(unit_problems(&u), 0);
}

Test(depth, no_directory_ends_below_itself)
{
    static const unsigned deep[] = {2, 3, 100, LIMIT - 1, LIMIT, LIMIT + 1, LIMIT + 2, DEPTH};
    uint64_t other = make_dir(at_depth[2], "other");
    struct eng_attr attr;
    cr_assert_eq(eng_create(u.eng, NULL, at_depth[DEPTH], "file", S_IFREG | 0644, 0, NULL, &attr), 0);
    make_dir(other, "sub");
    for (size_t i = 0; i < ARRAY_LEN(deep); i++) {
        int expect = deep[i] <= LIMIT + 2 ? -EINVAL : -ENAMETOOLONG; /* it is found, or not looked for */
        cr_assert_eq(move(at_depth[1], "d", at_depth[deep[i]], "x", 0), expect, "depth %u", deep[i]);
        cr_assert(steps <= LIMIT + 1);
        cr_assert_eq(move(at_depth[1], "d", at_depth[deep[i]], "x", ENG_RENAME_NOREPLACE), expect);
    }
    cr_assert_eq(move(at_depth[2], "d", other, "d", 0), 0, "beside itself it may");
    cr_assert_eq(move(other, "d", at_depth[2], "d", 0), 0);
    cr_assert_eq(move(1, "d", at_depth[3], "d", ENG_RENAME_EXCHANGE), -EINVAL);
    cr_assert_eq(move(at_depth[3], "d", 1, "d", ENG_RENAME_EXCHANGE), -EINVAL);
    cr_assert_eq(move(at_depth[3], "d", 1, "d", 0), -ENOTEMPTY, "over one above it");
    cr_assert_eq(move(at_depth[DEPTH], "file", at_depth[DEPTH - 2], "d", 0), -ENOTEMPTY);
    cr_assert_eq(move(at_depth[DEPTH], "file", 1, "d", 0), -EISDIR, "too far up to be noticed");
    cr_assert(steps <= LIMIT + 1);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- cycles -------------------------------------------------------------------- */

static void count_loose(void *arg, const char *line)
{
    unsigned *n = arg;
    *n += strstr(line, "does not hang in the tree") != NULL;
}

static unsigned loose_when(unsigned child, unsigned parent)
{
    struct index *idx = &u.eng->idx;
    unsigned n = 0;
    uint32_t d = index_slot(idx, ino_slot(at_depth[child]))->dentry;
    struct dentry_rec *dentry = table_mut(&idx->dentries, d);
    uint32_t was = dentry->parent;
    dentry->parent = ino_slot(at_depth[parent]);
    steps = 0;
    cr_assert(index_verify(idx, false, count_loose, &n) > 0);
    cr_assert(steps <= 3 * DEPTH, "%llu steps", (unsigned long long)steps);
    dentry->parent = was;
    return n;
}

Test(depth, a_cycle_and_all_that_hangs_on_it_are_found)
{
    cr_assert_eq(loose_when(1, DEPTH), DEPTH, "one cycle of all");
    cr_assert_eq(loose_when(1, 1), DEPTH, "its own parent, and a long tail");
    cr_assert_eq(loose_when(1, DEPTH / 2), DEPTH, "a cycle in the middle");
    cr_assert_eq(loose_when(DEPTH / 2, DEPTH), DEPTH - DEPTH / 2 + 1, "below a sound half");
    cr_assert_eq(loose_when(DEPTH, DEPTH), 1);
    cr_assert_eq(unit_problems(&u), 0, "and nothing where there is nothing");
}
