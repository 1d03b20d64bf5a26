/*
 * test_chunk_reserve.c - once a batch is in the log nothing may fail for want of memory: index_reserve() has
 * fetched all. From FP_LOG_WRITTEN until the call returns this test lets each mmap() fail (the linker wraps
 * it) and counts them. While a view is frozen each change copies chunks; what a removal of an inode with many
 * attributes or extents copies is more than any other op. */
#include "inside.h"

#include "tree/view.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define SPREAD 200u         /* attributes or extents, each in a chunk of its own */
#define CELLS_OF_LARGE 300u /* the target of a symlink and its name have less */

void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);

static bool poor, was_written;
static unsigned asked, given;

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    if (!poor) {
        given++;
        return __real_mmap64(at, len, prot, flags, fd, off);
    }
    asked++;
    errno = ENOMEM;
    return MAP_FAILED;
}

int __real_index_reserve(struct index *idx, const struct op *ops, size_t n);
int __wrap_index_reserve(struct index *idx, const struct op *ops, size_t n);

/* The call goes on with a batch of its own, which may ask. */
int __wrap_index_reserve(struct index *idx, const struct op *ops, size_t n)
{
    poor = false;
    return __real_index_reserve(idx, ops, n);
}

static void become_poor(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_LOG_WRITTEN)
        poor = was_written = true;
}

static struct unit u;
static struct view *frozen;
static uint64_t file, many;

/* Cells of all chunks of names in which nothing is. */
static uint32_t cells_left(void)
{
    const struct table *cells = &u.eng->idx.names.cells;
    return cells->n_free + (NAMES_CHUNK_CELLS - cells->used % NAMES_CHUNK_CELLS) % NAMES_CHUNK_CELLS;
}

/* The chunks of names are full of others, so that the next name begins another, and so is a leaf of the tree
 * of extents. */
static void fill_chunks(void)
{
    static char target[ENG_SYMLINK_MAX + 1];
    static unsigned n;
    struct eng_attr attr;
    char name[NAMES_CELL];
    memset(target, 't', ENG_SYMLINK_MAX);
    for (uint32_t left = cells_left(); left > 0; left = cells_left()) {
        bool large = left > CELLS_OF_LARGE;
        (void)snprintf(name, sizeof(name), "l%u", n++);
        UNIT_NEED(eng_create(u.eng, NULL, ENG_ROOT_INO, name, large ? S_IFLNK | 0777 : S_IFREG | 0600, 0,
                             large ? target : NULL, &attr) == 0);
    }
}

/* How many chunks the attributes of `file` lie in. */
static unsigned chunks_of_xattrs(void)
{
    struct xattr_walk walk = {.next = index_inode(&u.eng->idx, file)->xattrs};
    unsigned n = 0;
    uint32_t last = 0;
    for (uint32_t at = walk.next; index_next_xattr(&u.eng->idx, &walk); at = walk.next) {
        n += at / NAMES_CHUNK_CELLS != last;
        last = at / NAMES_CHUNK_CELLS;
    }
    return n;
}

static void setup(void)
{
    char name[24];
    unit_new(&u, 1 << 20);
    file = unit_create(&u, "file");
    many = unit_create(&u, "many");
    for (unsigned i = 0; i < SPREAD; i++) {
        (void)snprintf(name, sizeof(name), "user.%u", i);
        UNIT_NEED(eng_setxattr(u.eng, file, name, "value", 5, 0) == 0);
        fill_chunks();
    }
    for (unsigned i = 0; i < 20 * SPREAD; i++)
        unit_write(&u, many, 1, i, 2 * (uint64_t)i);
    cr_assert_geq(chunks_of_xattrs(), SPREAD - 1);
    UNIT_NEED(eng_hold(u.eng) == 0 && view_freeze(u.eng, &frozen) == 0);
    u.eng->hook.arg = NULL;
    atomic_store(&u.eng->hook.fn, become_poor);
}

static void teardown(void)
{
    atomic_store(&u.eng->hook.fn, NULL);
    view_thaw(frozen);
    UNIT_NEED(eng_release(u.eng) == 0);
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(chunk_reserve, .init = setup, .fini = teardown, .timeout = 60);

/* The call succeeded, and asked for no memory after its batch was written. */
static void expect_frugal(long r, const char *what)
{
    cr_assert(was_written, "%s: a batch was written", what);
    poor = was_written = false;
    cr_assert_geq(r, 0, "%s", what);
    cr_assert_eq(asked, 0, "%s", what);
    cr_assert_eq(chunk_pool_overdrafts(u.eng->idx.pool), 0, "%s", what);
}

Test(chunk_reserve, freeing_an_inode_with_attributes_everywhere)
{
    expect_frugal(eng_unlink(u.eng, ENG_ROOT_INO, "file"), "unlink");
    for (unsigned i = 0; orphans_queued(u.eng); i++) /* each takes a slice along */
        expect_frugal(eng_setxattr(u.eng, many, "user.x", &i, sizeof(i), 0), "free");
    cr_assert_eq(eng_getattr(u.eng, file, &(struct eng_attr){0}), -ESTALE);
}

Test(chunk_reserve, punching_and_truncating_many_extents)
{
    struct eng_attr attr = {.size = 3};
    expect_frugal(eng_fallocate(u.eng, many, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 7, 10000),
                  "punch");
    expect_frugal(eng_write(u.eng, many, unit_bytes(30000, 1), 30000, 9001), "write over them");
    expect_frugal(eng_setattr(u.eng, many, &attr, ENG_SET_SIZE, NULL), "truncate");
}

/* Everybody waits for what is mapped. */
Test(chunk_reserve, a_piece_of_a_large_file_needs_no_copies_of_all)
{
    unsigned before = given;
    uint64_t large = unit_create(&u, "large"), all = 0;
    atomic_store(&u.eng->hook.fn, NULL);
    poor = false;
    for (uint64_t i = 0; i < 2 * SPREAD; i++)
        unit_write(&u, large, 1, i, 8192 * i);
    atomic_store(&u.eng->hook.fn, become_poor);
    for (unsigned t = 0; t < INDEX_TABLES; t++)
        all += index_table(&u.eng->idx, t)->n_chunks;
    cr_assert(all > SPREAD && unit_extents(&u, large) == 2 * SPREAD);
    for (uint64_t i = 100; i < 103; i++) {
        expect_frugal(
            eng_fallocate(u.eng, large, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 8192 * i, 4096),
            "punch");
        expect_frugal(eng_write(u.eng, large, "123", 3, 8192 * (10 + i)), "write over one");
    }
    cr_assert_leq(given - before, 3u, "%u of 2 MiB are mapped for copies of a few of %u chunks",
                  given - before, (unsigned)all);
}

Test(chunk_reserve, whatever_else_changes)
{
    struct eng_attr attr;
    struct eng_record rec[30];
    static char names[30][16];
    for (unsigned i = 0; i < 30; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "bulk%u", i);
        rec[i] = (struct eng_record){.parent = 1, .name = names[i], .content = "c", .size = 1, .mode = 0600};
    }
    expect_frugal(eng_put_many(u.eng, rec, 30), "bulk");
    expect_frugal(eng_create(u.eng, NULL, 1, "dir", S_IFDIR | 0755, 0, NULL, &attr), "mkdir");
    expect_frugal(eng_rename(u.eng, NULL, 1, "file", attr.ino, "moved", 0), "rename");
    expect_frugal(eng_link(u.eng, NULL, file, 1, "link", &attr), "link");
    expect_frugal(eng_setxattr(u.eng, file, "user.1", names, 300, 0), "setxattr");
    expect_frugal(eng_removexattr(u.eng, file, "user.2"), "removexattr");
    expect_frugal(eng_rename(u.eng, NULL, 1, "bulk0", 1, "bulk1", 0), "replace");
    expect_frugal(eng_append(u.eng, file, names, sizeof(names), NULL), "append");
    expect_frugal(eng_unlink(u.eng, 1, "link"), "unlink");
}
