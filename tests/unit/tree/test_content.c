/*
 * test_content.c - reading and writing: limits and errors, holes, appends in
 * small pieces, damage, readers that are overtaken, and random operations
 * against a plain buffer. */
#include "inside.h"

#include "must.h"
#include "one_file.h"
#include "rng.h"

#include <criterion/criterion.h>

#define KEEP ENG_FALLOC_KEEP_SIZE
#define PUNCH (ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE)
#define ZERO ENG_FALLOC_ZERO_RANGE

TestSuite(content, .init = setup, .fini = teardown);

static void truncate_to(uint64_t size, int expect)
{
    struct eng_attr attr = {.size = size}, after;
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, &after), expect);
    if (!expect)
        cr_assert_eq(after.size, size);
}

/* ---- limits and errors ------------------------------------------------------------ */

Test(content, what_is_not_a_file_has_no_content)
{
    struct eng_attr dir, sym, fifo;
    uint64_t off, hash;
    char b[8] = {0};
    cr_assert_eq(eng_create(u.eng, NULL, 1, "d", S_IFDIR | 0755, 0, NULL, &dir), 0);
    cr_assert_eq(eng_create(u.eng, NULL, 1, "s", S_IFLNK | 0777, 0, "f", &sym), 0);
    cr_assert_eq(eng_create(u.eng, NULL, 1, "p", S_IFIFO | 0600, 0, NULL, &fifo), 0);
    const struct {
        uint64_t ino;
        int expect, falloc;
    } cases[] = {{dir.ino, -EISDIR, -EISDIR},  {sym.ino, -EINVAL, -ENODEV},
                 {fifo.ino, -EINVAL, -ENODEV}, {f + 1000, -ESTALE, -ESTALE},
                 {0, -ESTALE, -ESTALE},        {f | UINT64_C(1) << 32, -ESTALE, -ESTALE}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct eng_attr attr = {.size = 1};
        cr_assert_eq(eng_read(u.eng, cases[i].ino, b, 1, 0), cases[i].expect, "case %zu", i);
        cr_assert_eq(eng_write(u.eng, cases[i].ino, b, 1, 0), cases[i].expect, "case %zu", i);
        cr_assert_eq(eng_append(u.eng, cases[i].ino, b, 1, &off), cases[i].expect, "case %zu", i);
        cr_assert_eq(eng_setattr(u.eng, cases[i].ino, &attr, ENG_SET_SIZE, NULL), cases[i].expect);
        cr_assert_eq(eng_fallocate(u.eng, cases[i].ino, 0, 0, 1), cases[i].falloc, "case %zu", i);
        cr_assert_lt(eng_content_hash(u.eng, cases[i].ino, &hash), 0);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

Test(content, sizes_and_offsets_have_limits)
{
    char b[1] = {7};
    uint64_t off = 99, max = ENG_FILE_SIZE_MAX;
    cr_assert_eq(eng_write(u.eng, f, b, (16u << 20) + 1, 0), -EINVAL);
    cr_assert_eq(eng_write(u.eng, f, b, 1, max), -EFBIG);
    cr_assert_eq(eng_write(u.eng, f, b, 1, UINT64_MAX), -EFBIG);
    cr_assert_eq(eng_write(u.eng, f, b, 1, max - 1), 1);
    cr_assert_eq(unit_attr(&u, f).size, max);
    cr_assert_eq(eng_append(u.eng, f, b, 1, &off), -EFBIG);
    cr_assert_eq(off, 99, "written only on success");
    truncate_to(max + 1, -EFBIG);
    truncate_to(max, 0);
    cr_assert_eq(eng_fallocate(u.eng, f, 0, max, 1), -EFBIG);
    cr_assert_eq(eng_fallocate(u.eng, f, 0, UINT64_MAX, 2), -EFBIG);
    cr_assert_eq(eng_read(u.eng, f, b, 1, max - 1), 1);
    cr_assert_eq(b[0], 7);
    cr_assert_eq(eng_read(u.eng, f, b, 1, max), 0);
    cr_assert_eq(eng_read(u.eng, f, b, 1, UINT64_MAX), 0);
    cr_assert_eq(unit_attr(&u, f).bytes, 1);
    unit_reopen(&u);
    cr_assert_eq(unit_attr(&u, f).size, max);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(content, an_allocation_moves_the_times_even_if_there_is_nothing_to_do)
{
    static const struct eng_attr old = {.mtime = 1000, .ctime = 1000};
    unit_write(&u, f, 100, 1, 0);
    for (unsigned flags = 0; flags <= KEEP; flags++) {
        MUST(eng_setattr(u.eng, f, &old, ENG_SET_MTIME | ENG_SET_CTIME, NULL) == 0);
        MUST(eng_fallocate(u.eng, f, flags, 0, 100) == 0);
        struct eng_attr attr = unit_attr(&u, f);
        cr_assert(attr.mtime > old.mtime && attr.ctime > old.ctime && attr.size == 100, "flags %u", flags);
    }
}

Test(content, fallocate_takes_what_linux_takes)
{
    static const struct {
        unsigned flags;
        uint64_t off, len;
        int expect;
    } cases[] = {{ENG_FALLOC_PUNCH_HOLE, 0, 10, -EOPNOTSUPP},
                 {8, 0, 10, -EOPNOTSUPP},
                 {PUNCH | ZERO, 0, 10, -EOPNOTSUPP},
                 {0, 0, 0, -EINVAL},
                 {PUNCH, 5, 0, -EINVAL},
                 {KEEP, 0, 100, 0},
                 {ZERO | KEEP, 0, 100, 0},
                 {PUNCH, 1000, 100, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(eng_fallocate(u.eng, f, cases[i].flags, cases[i].off, cases[i].len), cases[i].expect,
                     "case %zu", i);
        cr_assert_eq(unit_attr(&u, f).size, 0);
    }
    cr_assert_eq(eng_fallocate(u.eng, f, 0, 100, 50), 0);
    cr_assert_eq(unit_attr(&u, f).size, 150);
    cr_assert_eq(eng_fallocate(u.eng, f, ZERO, 100, 60), 0);
    cr_assert_eq(unit_attr(&u, f).size, 160);
    cr_assert_eq(eng_fallocate(u.eng, f, 0, 0, 10), 0);
    cr_assert_eq(unit_attr(&u, f).size, 160, "it never shrinks");
    cr_assert_eq(unit_attr(&u, f).bytes, 0);
}

Test(content, one_write_is_one_change_whatever_its_size)
{
    static const size_t sizes[] = {1, 4096, EXTENT_MAX, EXTENT_MAX + 1, 3 * EXTENT_MAX + 5, 16u << 20};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct eng_attr before = unit_attr(&u, f);
        uint64_t seq = log_seq(&u.eng->log);
        unit_write(&u, f, sizes[i], i, 0);
        struct eng_attr after = unit_attr(&u, f);
        cr_assert_eq(after.version, before.version + 1);
        cr_assert_gt(after.generation, before.generation);
        cr_assert_geq(after.mtime, before.mtime);
        cr_assert_eq(after.mtime, after.ctime);
        cr_assert_eq(after.atime, before.atime);
        cr_assert_eq(after.size, sizes[i]);
        cr_assert_eq(after.bytes, sizes[i]);
        cr_assert_eq(log_seq(&u.eng->log), seq + 1, "one batch: whole, or not there");
        cr_assert(unit_holds(&u, f, sizes[i], i));
    }
    struct eng_attr before = unit_attr(&u, f), after;
    cr_assert_eq(eng_write(u.eng, f, "", 0, 5), 0);
    after = unit_attr(&u, f);
    cr_assert_eq(memcmp(&before, &after, sizeof(after)), 0, "writing nothing changes nothing");
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, f, 16u << 20, 5));
}

Test(content, a_write_cut_by_the_power_is_whole_or_not_there)
{
    unit_write(&u, f, 100000, 1, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_write(&u, f, 300000, 2, 0);
    unsigned old = 0, new = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct unit c;
        unit_clone(&c, &u);
        simdisk_power_on(c.disk, seed % 2 ? SIM_TORN : SIM_KEEP_PREFIX, seed);
        unit_open(&c);
        bool is_old = unit_holds(&c, f, 100000, 1);
        cr_assert(is_old || unit_holds(&c, f, 300000, 2), "seed %llu", (unsigned long long)seed);
        old += is_old;
        new += !is_old;
        unit_done(&c);
    }
    cr_assert(old && new);
}

Test(content, hash_is_of_the_whole_content)
{
    uint64_t hash;
    uint8_t *bytes = unit_bytes(700000, 3);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), 0);
    cr_assert_eq(hash, codec_hash("", 0));
    unit_write(&u, f, 700000, 3, 0);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), 0);
    cr_assert_eq(hash, codec_hash(bytes, 700000));
    cr_assert_eq(eng_fallocate(u.eng, f, PUNCH, 1000, 400000), 0);
    memset(bytes + 1000, 0, 400000);
    cr_assert_eq(eng_content_hash(u.eng, f, &hash), 0);
    cr_assert_eq(hash, codec_hash(bytes, 700000), "holes are zeros");
    free(bytes);
}

/* ---- holes -------------------------------------------------------------------------- */

Test(content, data_and_holes_are_found)
{
    /* data: [0, 100) [5000, 6000) [6000, 6100) and a hole to 10000 */
    unit_write(&u, f, 1000, 1, 5000);
    unit_write(&u, f, 100, 2, 6000);
    unit_write(&u, f, 100, 3, 0);
    truncate_to(10000, 0);
    static const struct {
        uint64_t at, data, hole; /* UINT64_MAX: -ENXIO */
    } cases[] = {{0, 0, 100},
                 {99, 99, 100},
                 {100, 5000, 100},
                 {4999, 5000, 4999},
                 {5000, 5000, 6100},
                 {5999, 5999, 6100},
                 {6050, 6050, 6100},
                 {6100, UINT64_MAX, 6100},
                 {9999, UINT64_MAX, 9999},
                 {10000, UINT64_MAX, UINT64_MAX},
                 {UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t off = 1;
        int r = eng_seek(u.eng, f, cases[i].at, 3, &off);
        cr_assert_eq(r, cases[i].data == UINT64_MAX ? -ENXIO : 0, "case %zu", i);
        cr_assert(r || off == cases[i].data, "case %zu: %llu", i, (unsigned long long)off);
        r = eng_seek(u.eng, f, cases[i].at, 4, &off);
        cr_assert_eq(r, cases[i].hole == UINT64_MAX ? -ENXIO : 0, "case %zu", i);
        cr_assert(r || off == cases[i].hole, "case %zu: %llu", i, (unsigned long long)off);
    }
    uint64_t off;
    cr_assert_eq(eng_seek(u.eng, f, 0, 0, &off), -EINVAL);
    cr_assert_eq(eng_seek(u.eng, f + 99, 0, 3, &off), -ESTALE);
    truncate_to(6100, 0);
    cr_assert_eq(eng_seek(u.eng, f, 6000, 4, &off), 0);
    cr_assert_eq(off, 6100, "the end of the file is a hole");
}

Test(content, shrinking_and_growing_again_shows_zeros)
{
    char b[20000];
    unit_write(&u, f, 20000, 1, 0);
    truncate_to(5, 0);
    truncate_to(20000, 0);
    uint8_t *bytes = unit_bytes(20000, 1);
    memset(bytes + 5, 0, 19995);
    cr_assert(unit_holds_bytes(&u, f, bytes, 20000));
    cr_assert_eq(unit_attr(&u, f).bytes, 5);
    truncate_to(0, 0);
    truncate_to(3, 0);
    cr_assert_eq(eng_read(u.eng, f, b, sizeof(b), 0), 3);
    cr_assert_eq(memcmp(b, "\0\0\0", 3), 0);
    cr_assert_eq(unit_stats(&u).live_bytes, 0);
    free(bytes);
}

/* ---- appending ------------------------------------------------------------------------- */

Test(content, small_appends_cost_neither_extents_nor_quadratic_writes)
{
    static const struct {
        size_t piece, n;
        unsigned max_extents;
        uint64_t max_amplification;
    } cases[] = {{1, 20000, 64, 19}, {100, 5000, 64, 7}, {1000, 2000, 64, 6}, {5000, 800, 110, 5}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t ino = unit_create(&u, (char[]){(char)('A' + i), 0}), off;
        size_t piece = cases[i].piece, size = piece * cases[i].n;
        uint64_t total = unit_stats(&u).total_bytes;
        uint8_t *bytes = unit_bytes(size, i);
        for (size_t at = 0; at < size; at += piece) {
            MUST(eng_append(u.eng, ino, bytes + at, piece, &off) == (ssize_t)piece);
            MUST(off == at);
        }
        cr_assert(unit_holds_bytes(&u, ino, bytes, size));
        cr_assert_leq(unit_extents(&u, ino), cases[i].max_extents, "case %zu: %u extents", i,
                      unit_extents(&u, ino));
        total = unit_stats(&u).total_bytes - total;
        cr_assert_leq(total, size * cases[i].max_amplification, "case %zu: %llu bytes written for %zu", i,
                      (unsigned long long)total, size);
        free(bytes);
        cr_assert_eq(unit_attr(&u, ino).version, cases[i].n);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

Test(content, appends_to_a_damaged_file_leave_the_damage_where_it_is)
{
    uint8_t *bytes = unit_bytes(20, 1);
    for (int i = 0; i < 7; i++)
        cr_assert_eq(eng_append(u.eng, f, bytes + i, 1, NULL), 1);
    struct locator bad, now;
    cr_assert(unit_locator(&u, f, 3, &bad));
    unit_damage(&u, &bad, 0);
    for (int i = 7; i < 20; i++)
        cr_assert_eq(eng_append(u.eng, f, bytes + i, 1, NULL), 1, "it would merge with what came before");
    cr_assert(unit_locator(&u, f, 3, &now));
    cr_assert(locator_equal(&bad, &now));
    char b[20];
    cr_assert_eq(eng_read(u.eng, f, b, 13, 7), 13);
    cr_assert_eq(memcmp(b, bytes + 7, 13), 0);
    cr_assert_eq(eng_read(u.eng, f, b, 1, 3), -EIO);
    free(bytes);
}

/* ---- damage ---------------------------------------------------------------------------- */

Test(content, no_byte_of_a_damaged_block_is_handed_out)
{
    static const struct {
        uint32_t at;
        uint64_t off;
        size_t size;
        ssize_t expect;
    } cases[] = {{5000, 0, 4096, 4096},      {5000, 0, 4097, -EIO},      {5000, 4096, 1, -EIO},
                 {5000, 8191, 1, -EIO},      {5000, 8192, 9000, 9000},   {0, 0, 1, -EIO},
                 {299999, 299000, 10, -EIO}, {299999, 0, 262144, 262144}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct locator loc;
        uint8_t *buf = malloc(300000), *want = unit_bytes(300000, i);
        unit_write(&u, f, 300000, i, 0);
        bool second = cases[i].at >= EXTENT_MAX;
        cr_assert(unit_locator(&u, f, second, &loc));
        unit_damage(&u, &loc, cases[i].at - (second ? EXTENT_MAX : 0));
        memset(buf, 0xee, 300000);
        ssize_t n = eng_read(u.eng, f, buf, cases[i].size, cases[i].off);
        cr_assert_eq(n, cases[i].expect, "case %zu: %zd", i, n);
        cr_assert(n < 0 || memcmp(buf, want + cases[i].off, (size_t)n) == 0);
        uint64_t hash;
        cr_assert_eq(eng_content_hash(u.eng, f, &hash), -EIO);
        free(buf);
        free(want);
    }
    cr_assert_eq(unit_stats(&u).damaged_extents, ARRAY_LEN(cases), "each is counted once");
}

Test(content, a_damaged_extent_head_is_damage_too)
{
    struct locator loc;
    char name[SEGMENT_NAME_SIZE];
    unit_write(&u, f, 10000, 1, 0);
    cr_assert(unit_locator(&u, f, 0, &loc));
    segment_name(loc.seg, name);
    for (uint64_t at = 0; at < extent_head_size(10000); at++) {
        cr_assert_eq(simdisk_flip(u.disk, name, locator_offset(&loc) + at, 4), 0);
        cr_assert_eq(unit_read_error(&u, f), -EIO, "byte %llu", (unsigned long long)at);
        cr_assert_eq(simdisk_flip(u.disk, name, locator_offset(&loc) + at, 4), 0);
    }
    cr_assert(unit_holds(&u, f, 10000, 1));
}
