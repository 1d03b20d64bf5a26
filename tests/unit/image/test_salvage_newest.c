/*
 * test_salvage_newest.c - a salvage shows the newest state that can be had: never what was overwritten since,
 * because something older is whole. */
#include "inside.h"

#include "image_files.h"
#include "one_store.h"

#include "image/load.h"

#include <criterion/criterion.h>

#define SIZE 5000u
#define DOC 3000u
#define N_STAY 8u
#define N_LATER 20u

TestSuite(salvage_newest, .init = setup, .fini = teardown, .timeout = 120);

/* ---- stores ------------------------------------------------------------------------------- */

static const char *name_of(const char *what, unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "%s%u", what, i);
    return name;
}

static void make_files(const char *what, unsigned n, unsigned seed)
{
    for (unsigned i = 0; i < n; i++)
        unit_file(&u, name_of(what, i), SIZE, seed + i);
}

static void remove_files(const char *what, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(what, i)), 0);
}

/* One that is in the tree of extents. */
static void make_scattered(void)
{
    uint64_t ino = unit_create(&u, "scattered");
    for (unsigned i = 0; i < 5; i++)
        unit_write(&u, ino, 100, i, (uint64_t)i * 10000);
}

static struct piece_ref images[64]; /* of the newest checkpoint: the first piece of each chunk */
static size_t n_images;
static uint64_t store;
static uint64_t doc; /* overwritten since: 100 before, 101 now */

/* Of the log's second copy: what a checkpoint takes away. */
static struct {
    char name[ECHO_NAME_SIZE];
    uint8_t *data;
    size_t size;
} echoes[8];
static unsigned n_echoes;

static void save_echo(void *arg, const char *name, uint64_t size)
{
    uint32_t id;
    if (echo_parse_name(name, &id) != 0)
        return;
    cr_assert_lt(n_echoes, ARRAY_LEN(echoes));
    (void)snprintf(echoes[n_echoes].name, sizeof echoes[0].name, "%s", name);
    cr_assert_eq(simdisk_get(u.disk, name, &echoes[n_echoes].data, &echoes[n_echoes].size), 0);
    n_echoes++;
}

static void overwrite_between_checkpoints(void)
{
    for (unsigned i = 0; i < 2; i++) {
        unit_write(&u, doc, DOC, 101, 0);
        cr_assert_eq(eng_sync(u.eng), 0);
        simdisk_each(u.disk, save_echo, NULL);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    unit_write(&u, doc, DOC, 101, 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

static void read_map(void)
{
    struct images all;
    void *head = NULL;
    n_images = 0;
    cr_assert_eq(images_init(&all, simdisk_io(u.disk), store, INDEX_TABLES_PLAIN), 0);
    cr_assert_eq(images_open(&all, image_files_newest(u.disk), sizeof(struct ckpt_head_plain), &head), 0);
    for (unsigned t = 0; t < INDEX_TABLES_PLAIN; t++)
        for (uint32_t i = 0; i < all.map.tables[t].n_chunks; i++) {
            const struct map_entry *e = &all.map.tables[t].entries[i];
            cr_assert_lt(n_images, ARRAY_LEN(images));
            if (e->n_refs)
                images[n_images++] = e->refs[0];
        }
    images_free(&all);
    free(head);
}

/* Killed. */
static void end_store(void)
{
    store = u.eng->log.store;
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    read_map();
}

/* `retired`: the segments behind the first, from which the log went on, are gone, as by compaction. */
static void make_with_beginning(bool retired)
{
    make_files("stay", N_STAY, 0);
    doc = unit_file(&u, "doc", DOC, 100);
    make_scattered();
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_files("goes", 40, 1000);
    make_files("later", N_LATER, 2000);
    unit_write(&u, doc, DOC, 101, 0);
    remove_files("goes", 40);
    if (!retired)
        cr_assert_eq(eng_hold(u.eng), 0);
    overwrite_between_checkpoints();
    (void)retire_segments(u.eng);
    cr_assert(unit_has_segment(&u, 1));
    cr_assert_neq(unit_has_segment(&u, 2), retired);
    end_store();
}

/* A checkpoint is whole that is older than the two kept; `retired`: it is there for its images alone. */
static void make_with_older(bool retired)
{
    if (!retired)
        cr_assert_eq(eng_hold(u.eng), 0);
    make_files("goes", 8, 500);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_files("stay", N_STAY, 0);
    doc = unit_file(&u, "doc", DOC, 100);
    make_scattered();
    remove_files("goes", 8);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_files("between", 30, 1000);
    remove_files("between", 30);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    make_files("later", N_LATER, 2000);
    unit_write(&u, doc, DOC, 101, 0);
    overwrite_between_checkpoints();
    (void)retire_segments(u.eng);
    if (retired) {
        cr_assert(!unit_has_segment(&u, 1));
    } else {
        cr_assert_eq(simdisk_remove(u.disk, "s00000001.seg"), 0); /* no other way to begin */
    }
    end_store();
}

/* ---- what a salvage has ----------------------------------------------------------------------- */

static struct unit c;

static struct {
    uint64_t seq, ino, size;
    uint8_t data[SIZE];
} newest[128];
static unsigned n_newest;

/* The youngest that begins a file. */
static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    unsigned i = 0;
    (void)arg;
    while (i < n_newest && newest[i].ino != piece->ino)
        i++;
    if (piece->offset || piece->size > SIZE || (i < n_newest && newest[i].seq > piece->seq))
        return 0;
    cr_assert_lt(i, 128);
    newest[i].ino = piece->ino;
    newest[i].seq = piece->seq;
    newest[i].size = piece->size;
    memcpy(newest[i].data, data, piece->size);
    n_newest += i == n_newest;
    return 0;
}

static bool is_piece(size_t size, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(size, seed);
    bool found = false;
    for (unsigned i = 0; i < n_newest; i++)
        found = found || (newest[i].size == size && memcmp(newest[i].data, bytes, size) == 0);
    free(bytes);
    return found;
}

struct outcome {
    unsigned later, stay; /* whole, under their names */
    bool doc, opens;      /* without a salvage, too */
};

/* Whatever is not there under its name must come as a piece; nothing else may have the name. */
static unsigned expect_newest(const char *what, unsigned n, size_t size, unsigned seed, size_t image)
{
    unsigned named = 0;
    for (unsigned i = 0; i < n; i++) {
        const char *name = n > 1 ? name_of(what, i) : what;
        uint64_t ino = unit_lookup(&c, name);
        if (ino)
            cr_assert(unit_holds(&c, ino, size, seed + i), "image %zu: %s is not what it was", image, name);
        else
            cr_assert(is_piece(size, seed + i), "image %zu: nothing has the content of %s", image, name);
        named += ino != 0;
    }
    return named;
}

/* One bit of an image, in both copies. */
static struct outcome salvage_without(size_t image)
{
    struct outcome o = {0};
    unit_clone(&c, &u);
    image_files_flip(c.disk, images[image].file, images[image].offset + images[image].len / 2, 1);
    c.opt.read_only = true;
    int r = unit_try_open(&c);
    o.opens = !r;
    cr_assert(!r || r == -EBADMSG);
    if (!r)
        unit_close(&c);
    c.opt.salvage = true;
    cr_assert_eq(unit_try_open(&c), 0, "%s", c.why);
    n_newest = 0;
    cr_assert_eq(eng_lost(c.eng, take_piece, NULL), 0);
    o.later = expect_newest("later", N_LATER, SIZE, 2000, image);
    o.stay = expect_newest("stay", N_STAY, SIZE, 0, image);
    o.doc = expect_newest("doc", 1, DOC, 101, image) == 1;
    cr_assert_eq(index_verify(&c.eng->idx, false, NULL, NULL), 0);
    unit_done(&c);
    return o;
}

struct result {
    unsigned n_refused, n_whole; /* where all is there under its name */
};

static struct result salvage_each(void)
{
    struct result res = {0};
    for (size_t i = 0; i < n_images; i++) {
        struct outcome o = salvage_without(i);
        bool whole = o.doc && o.later == N_LATER && o.stay == N_STAY;
        cr_assert(whole || !o.opens, "image %zu", i);
        res.n_whole += whole;
        res.n_refused += !o.opens;
    }
    unit_open(&u);
    return res;
}

/* Without records, or without cells, no name of so small a store is left; all else can be derived. */
#define N_NAMES 3u /* images that have a part of the names */

Test(salvage_newest, not_from_a_beginning_that_leads_nowhere)
{
    make_with_beginning(true);
    struct result res = salvage_each();
    cr_assert_gt(res.n_refused, N_NAMES);
    cr_assert_geq(res.n_whole + N_NAMES, n_images);
}

Test(salvage_newest, not_from_a_checkpoint_that_is_there_for_its_images)
{
    make_with_older(true);
    struct result res = salvage_each();
    cr_assert_gt(res.n_refused, N_NAMES);
    cr_assert_geq(res.n_whole + N_NAMES, n_images);
}

Test(salvage_newest, from_the_beginning_if_it_leads_here)
{
    make_with_beginning(false);
    struct result res = salvage_each();
    cr_assert_eq(res.n_refused, 0);
    cr_assert_eq(res.n_whole, n_images);
}

Test(salvage_newest, from_an_older_checkpoint_if_its_log_leads_here)
{
    make_with_older(false);
    struct result res = salvage_each();
    cr_assert_eq(res.n_whole, n_images);
}

/* Where the log itself does not lead any more, its second copy does. */
Test(salvage_newest, from_the_beginning_if_the_second_copy_leads_here)
{
    uint8_t *image;
    size_t size;
    make_with_beginning(false);
    cr_assert_eq(simdisk_get(u.disk, "s00000002.seg", &image, &size), 0);
    image[sizeof(struct segment_header) + offsetof(struct batch_header, sum)] ^= 1;
    simdisk_put(u.disk, "s00000002.seg", image, size);
    free(image);
    struct result res = salvage_each();
    cr_assert_eq(res.n_whole, n_images);
}

/* The half of a second copy leads nowhere, either. */
Test(salvage_newest, not_from_the_beginning_of_a_second_copy)
{
    make_with_beginning(true);
    cr_assert_gt(n_echoes, 0);
    simdisk_put(u.disk, echoes[0].name, echoes[0].data, echoes[0].size / 2);
    struct result res = salvage_each();
    cr_assert_gt(res.n_refused, N_NAMES);
    cr_assert_geq(res.n_whole + N_NAMES, n_images);
}
