/*
 * test_salvage_start.c - salvage of a store whose very beginning is damaged: its superblock, its first batch;
 * and around what cannot be read.
 */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>

#define SEGMENT (64u << 10)
#define N_FILES 40u
#define SIZE 9000u

static struct unit u;

/* Killed, without a checkpoint; each memory but the last is known to be durable. */
static void fill(struct unit *s, const char *prefix, unsigned n, unsigned seed)
{
    char last[64];
    unit_new(s, SEGMENT);
    for (unsigned i = 0; i < n; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s%u", prefix, i);
        (void)unit_file(s, name, SIZE, seed + i);
        cr_assert_eq(eng_sync(s->eng), 0);
    }
    unit_kill(s, SIM_KEEP_ALL, 0);
    if (unit_files(s, ".ckp", last)) /* of which the name is all there is */
        cr_assert_eq(simdisk_remove(s->disk, last), 0);
}

static void setup(void)
{
    fill(&u, "m", N_FILES, 0);
    cr_assert(unit_has_segment(&u, 4));
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(salvage_start, .init = setup, .fini = teardown, .timeout = 100);

/* ---- what comes of it -------------------------------------------------------------------------- */

static unsigned n_bytes[N_FILES], n_pieces, n_foreign;

/* A byte of it counts once: the pieces of one file do not overlap here. */
static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    unsigned i = N_FILES;
    (void)arg;
    n_pieces++;
    if (sscanf(piece->path, "m%u", &i) != 1 || i >= N_FILES) {
        n_foreign++;
        return 0;
    }
    uint8_t *expect = unit_bytes(SIZE, i);
    cr_assert_leq(piece->offset + piece->size, SIZE);
    cr_assert_eq(memcmp(expect + piece->offset, data, piece->size), 0);
    free(expect);
    n_bytes[i] += (unsigned)piece->size;
    return 0;
}

static void salvage(struct unit *c)
{
    c->opt.read_only = c->opt.salvage = true;
    cr_assert_eq(unit_try_open(c), 0, "%s", c->why);
    memset(n_bytes, 0, sizeof n_bytes);
    n_pieces = n_foreign = 0;
    cr_assert_eq(eng_lost(c->eng, take_piece, NULL), 0);
}

static unsigned n_whole(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_FILES; i++)
        n += n_bytes[i] == SIZE;
    return n;
}

static unsigned n_named(struct unit *c)
{
    unsigned n = 0;
    for (unsigned i = 0; i < N_FILES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "m%u", i);
        uint64_t ino = unit_lookup(c, name);
        n += ino && unit_holds(c, ino, SIZE, i);
    }
    return n;
}

/* ---- the first batch ---------------------------------------------------------------------------------- */

Test(salvage_start, each_bit_of_the_first_batch)
{
    const char *name = "s00000001.seg";
    struct batch_header h;
    uint8_t *image;
    size_t size, at = sizeof(struct segment_header);
    cr_assert_eq(simdisk_get(u.disk, name, &image, &size), 0);
    memcpy(&h, image + at, sizeof h);
    free(image);
    cr_assert_eq(h.seq, 1);
    for (size_t i = 0; i < sizeof h + h.ops_len; i++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_without_echo(&c);
        cr_assert_eq(simdisk_flip(c.disk, name, at + i, (uint8_t)(1u << i % 8)), 0);
        cr_assert_eq(unit_try_open(&c), -EBADMSG, "%zu", i);
        salvage(&c);
        cr_assert_eq(n_whole(), N_FILES, "byte %zu: %u", i, n_whole());
        unit_done(&c);
    }
}

/* ---- the superblock --------------------------------------------------------------------------------- */

/* No file, one that is too long, one of zeros. */
static void lose_superblock(struct unit *c, unsigned how)
{
    static const uint8_t zeros[3 * SUPERBLOCK_SIZE];
    cr_assert_eq(simdisk_remove(c->disk, SUPERBLOCK_FILE ".copy"), 0);
    if (how == 0)
        cr_assert_eq(simdisk_remove(c->disk, SUPERBLOCK_FILE), 0);
    else
        simdisk_put(c->disk, SUPERBLOCK_FILE, zeros, (how + 1) * (size_t)SUPERBLOCK_SIZE);
}

Test(salvage_start, the_superblock_is_no_more)
{
    for (unsigned how = 0; how < 3; how++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_without_echo(&c);
        lose_superblock(&c, how);
        c.opt.must_exist = true;
        cr_assert_lt(unit_try_open(&c), 0);
        salvage(&c);
        cr_assert_eq(n_named(&c), N_FILES, "%u: %u", how, n_named(&c));
        unit_done(&c);
    }
}

Test(salvage_start, a_folder_is_no_store)
{
    struct unit c = {.disk = simdisk_new()};
    static const uint8_t text[] = "text";
    c.opt = u.opt;
    c.opt.io = simdisk_io(c.disk);
    c.opt.read_only = c.opt.salvage = c.opt.must_exist = true;
    simdisk_put(c.disk, "a.txt", text, sizeof text);
    cr_assert_lt(unit_try_open(&c), 0);
    cr_assert(strstr(c.why, "not a store"), "%s", c.why);
    simdisk_put(c.disk, "s00000001.seg", text, sizeof text);
    cr_assert_lt(unit_try_open(&c), 0);
    simdisk_free(c.disk);
}

/* ---- whose the segments are ------------------------------------------------------------------- */

static struct eng_io_ops listing;
static const struct eng_io_ops *plain;
static bool backwards;
static char names[64][64];
static unsigned n_names;

static int note_name(void *arg, const char *name)
{
    (void)arg;
    cr_assert_lt(n_names, 64);
    (void)snprintf(names[n_names++], sizeof names[0], "%s", name);
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Those of `from` in the numbers from..to lie among those of `c`. */
static void add_strays(struct unit *c, struct unit *other, uint32_t from, uint32_t to)
{
    for (uint32_t id = from; id < to; id++) {
        char name[SEGMENT_NAME_SIZE];
        uint8_t *image;
        size_t size;
        segment_name(id, name);
        cr_assert_eq(simdisk_get(other->disk, name, &image, &size), 0);
        simdisk_put(c->disk, name, image, size);
        free(image);
    }
}

/* A folder has no order. */
static int list_some_way(struct eng_io *io, int (*emit)(void *arg, const char *name), void *arg)
{
    n_names = 0;
    int r = plain->list(io, note_name, NULL);
    qsort(names, n_names, sizeof names[0], by_text);
    for (unsigned i = 0; !r && i < n_names; i++)
        r = emit(arg, names[backwards ? n_names - 1 - i : i]);
    return r;
}

static void list_by(struct unit *c, bool back)
{
    plain = c->opt.io->ops;
    listing = *plain;
    listing.list = list_some_way;
    c->opt.io->ops = &listing;
    backwards = back;
}

Test(salvage_start, strays_of_another_store_do_not_say_whose_it_is)
{
    struct unit other;
    cr_assert(!unit_has_segment(&u, 9));
    fill(&other, "stranger", 2 * N_FILES, 1000);
    for (unsigned back = 0; back < 2; back++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_without_echo(&c);
        lose_superblock(&c, 1);
        add_strays(&c, &other, 9, 11);
        list_by(&c, back);
        salvage(&c);
        cr_assert_eq(n_named(&c), N_FILES, "%u: %u", back, n_named(&c));
        unit_done(&c);
    }
    unit_done(&other);
}

/* What has its beginning is a store; the rest of another is none, though it is more. */
Test(salvage_start, more_strays_than_its_own)
{
    struct unit other, few, c;
    fill(&other, "stranger", 3 * N_FILES, 1000);
    fill(&few, "m", N_FILES / 2, 0);
    cr_assert(!unit_has_segment(&few, 5) && unit_has_segment(&other, 14));
    unit_clone(&c, &few);
    unit_without_echo(&c);
    lose_superblock(&c, 1);
    add_strays(&c, &other, 5, 15);
    salvage(&c);
    cr_assert_eq(n_named(&c), N_FILES / 2);
    cr_assert(strstr(c.last_warning, "of one store"), "%s", c.last_warning);
    unit_done(&c);
    unit_done(&few);
    unit_done(&other);
}

Test(salvage_start, a_number_is_believed_with_its_sum_only)
{
    for (unsigned back = 0; back < 2; back++)
        for (unsigned bit = 0; bit < 64; bit += 9) {
            struct unit c;
            char last[64];
            unit_clone(&c, &u);
            unit_without_echo(&c);
            lose_superblock(&c, 1);
            unit_files(&c, ".seg", last);
            const char *name = back ? last : "s00000001.seg";
            size_t at = sizeof(struct segment_header) + offsetof(struct batch_header, store);
            cr_assert_eq(simdisk_flip(c.disk, name, at + bit / 8, (uint8_t)(1u << bit % 8)), 0);
            list_by(&c, back);
            salvage(&c);
            if (back)
                cr_assert_gt(n_named(&c), N_FILES / 2);
            else
                cr_assert_eq(n_whole(), N_FILES, "%u: %u", bit, n_whole());
            unit_done(&c);
        }
}

/* ---- strays that nobody asked for ---------------------------------------------------------------------- */

enum stray { STRAY_WHOLE, STRAY_BAD_HEADER, STRAY_NO_SECTOR, STRAY_N };

/* What a damaged header leaves of a segment to tell whose it is. */
static void damage_header(struct unit *c, const char *name, enum stray how)
{
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(c->disk, name, &image, &size), 0);
    if (how == STRAY_BAD_HEADER)
        image[offsetof(struct segment_header, uuid)] ^= 1;
    if (how == STRAY_NO_SECTOR)
        memset(image, 0, 512);
    simdisk_put(c->disk, name, image, size);
    free(image);
}

/* As an opening does that sets it aside. */
static void rename_kept(struct unit *c, uint32_t id)
{
    char name[SEGMENT_NAME_SIZE], to[SEGMENT_NAME_SIZE];
    uint8_t *image;
    size_t size;
    segment_name(id, name);
    segment_kept_name(id, to);
    cr_assert_eq(simdisk_get(c->disk, name, &image, &size), 0);
    simdisk_put(c->disk, to, image, size);
    cr_assert_eq(simdisk_remove(c->disk, name), 0);
    free(image);
}

/* The first batch is lost, so that all is found by what it says of itself: of this store, and of no other. */
Test(salvage_start, what_strays_hold_is_not_handed_out)
{
    struct unit other;
    fill(&other, "stranger", 2 * N_FILES, 1000);
    for (enum stray how = 0; how < STRAY_N; how++)
        for (unsigned kept = 0; kept < 2; kept++) {
            struct unit c;
            unit_clone(&c, &u);
            unit_without_echo(&c);
            cr_assert_eq(simdisk_flip(c.disk, "s00000001.seg", sizeof(struct segment_header), 1), 0);
            add_strays(&c, &other, 9, 12);
            damage_header(&c, "s00000009.seg", how);
            damage_header(&c, "s0000000a.seg", how);
            damage_header(&c, "s00000002.seg", how);
            if (kept)
                rename_kept(&c, 0xa);
            salvage(&c);
            cr_expect_eq(n_foreign, 0, "%d, %u: %u of another store", how, kept, n_foreign);
            cr_expect_geq(n_whole(), N_FILES - 1, "%d, %u: %u", how, kept, n_whole());
            unit_done(&c);
        }
    unit_done(&other);
}

/* ---- what cannot be read ---------------------------------------------------------------------------- */

Test(salvage_start, one_bad_sector_costs_what_lies_in_it)
{
    unsigned n_cases = 0;
    cr_assert_eq(simdisk_flip(u.disk, "s00000001.seg", sizeof(struct segment_header), 1), 0);
    for (uint64_t at = 0; at < SEGMENT - 1024; at += (uint64_t)13 * 512, n_cases++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_without_echo(&c);
        cr_assert_eq(simdisk_spoil(c.disk, "s00000002.seg", at, at + 512), 0);
        salvage(&c);
        cr_assert_geq(n_whole(), N_FILES - 2, "%llu: %u", (unsigned long long)at, n_whole());
        cr_assert(n_whole() < N_FILES || at < 512 || at > SEGMENT - 10000);
        unit_done(&c);
    }
    cr_assert_gt(n_cases, 8);
}
