/*
 * test_image_damage.c - image files that lost something: what one copy has lost the other has, and mends;
 * what both have lost is told, and written anew from memory; what a file claims is bounded by what it has. */
#include "image_tables.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(image_damage, .timeout = 240);

static struct it it;

static void change_some(void)
{
    for (uint32_t i = 1; i < it.live.t[0].used; i += 97)
        it_change(&it, 0, i);
}

/* A few files: images, deltas behind deltas, pages. */
static void setup(void)
{
    it_new(&it, test_seed());
    for (int i = 0; i < 1200; i++)
        (void)it_add(&it, 0);
    for (int i = 0; i < 3000; i++)
        (void)it_add(&it, 1);
    for (int i = 0; i < 4; i++) {
        change_some();
        MUST(it_checkpoint(&it) == 0);
    }
    MUST(it.live.images.map.n_files >= 3);
    images_close(&it.live.images, 0);
}

static void teardown(void)
{
    it_free(&it);
}

/* ---- one copy -------------------------------------------------------------------------------------- */

struct files {
    char names[64][IMAGE_NAME_SIZE];
    uint64_t sizes[64];
    size_t n;
};

static void note_file(void *arg, const char *name, uint64_t size)
{
    struct files *l = arg;
    uint64_t id;
    unsigned copy;
    if (image_parse_name(name, &id, &copy) != 0)
        return;
    MUST(l->n < 64);
    (void)snprintf(l->names[l->n], IMAGE_NAME_SIZE, "%s", name);
    l->sizes[l->n++] = size;
}

static struct files list_files(void)
{
    struct files l = {.n = 0};
    simdisk_each(it.disk, note_file, &l);
    return l;
}

/* Pieces are proved as wholes, so that one bit of each 64 bytes stands for the others; of what is small all
 * count. */
Test(image_damage, a_bit_costs_nothing, .init = setup, .fini = teardown)
{
    struct files l = list_files();
    uint64_t n = 0;
    for (size_t i = 0; i < l.n; i++) {
        for (uint64_t at = rng_below(&it.rng, 64);
             at<l.sizes[i]; at += at + 300> l.sizes[i] ? 1 : 64 + rng_below(&it.rng, 200)) {
            uint8_t mask = (uint8_t)(1u << rng_below(&it.rng, 8));
            MUST(simdisk_flip(it.disk, l.names[i], at, mask) == 0);
            MUST(it_reads_as(&it, &it.live));
            MUST(simdisk_flip(it.disk, l.names[i], at, mask) == 0);
            n++;
        }
    }
    (void)fprintf(stderr, "%llu bits\n", (unsigned long long)n);
    MUST(n > 1000);
}

Test(image_damage, a_file_costs_nothing, .init = setup, .fini = teardown)
{
    struct files l = list_files();
    for (size_t i = 0; i < l.n; i++) {
        uint8_t *data;
        size_t size;
        MUST(simdisk_get(it.disk, l.names[i], &data, &size) == 0);
        for (size_t keep = 0; keep < size; keep += 1 + rng_below(&it.rng, 2000)) {
            simdisk_put(it.disk, l.names[i], data, keep);
            MUST(it_reads_as(&it, &it.live));
        }
        MUST(simdisk_remove(it.disk, l.names[i]) == 0);
        MUST(it_reads_as(&it, &it.live));
        simdisk_put(it.disk, l.names[i], data, size);
        MUST(simdisk_spoil(it.disk, l.names[i], 0, size) == 0);
        MUST(it_reads_as(&it, &it.live));
        MUST(simdisk_remove(it.disk, l.names[i]) == 0);
        simdisk_put(it.disk, l.names[i], data, size);
        free(data);
    }
}

/* All of one copy, and of each file the one or the other: whatever is left suffices, after a cut of the
 * power, too. */
Test(image_damage, any_one_of_two_suffices, .init = setup, .fini = teardown)
{
    simdisk_power_on(it.disk, SIM_DROP_ALL, 0);
    struct files l = list_files();
    for (int round = 0; round < 30; round++) {
        struct simdisk *whole = simdisk_clone(it.disk);
        for (size_t i = 0; i + 1 < l.n; i += 2) { /* cN.ckp and cN.cpy stand together */
            size_t which = round < 2 ? (size_t)round : (size_t)rng_below(&it.rng, 2);
            MUST(simdisk_remove(it.disk, l.names[i + which]) == 0);
        }
        MUST(it_reads_as(&it, &it.live));
        struct simdisk *poor = it.disk;
        it.disk = whole;
        it.io = it.live.images.io = simdisk_io(whole);
        simdisk_free(poor);
    }
}

/* ---- mending ------------------------------------------------------------------------------------------ */

struct told {
    unsigned n, lost, mended, excluded;
    struct copies_damage last;
};

static void exclude(void *arg)
{
    ((struct told *)arg)->excluded++;
}

static void allow(void *arg)
{
    ((struct told *)arg)->excluded--;
}

static int no_step(void *arg)
{
    return ((struct told *)arg)->excluded ? -EDEADLK : 0;
}

static int tell(void *arg, const struct copies_damage *d)
{
    struct told *told = arg;
    told->n++;
    told->mended += d->mended;
    told->lost += d->copy == IMAGE_COPIES;
    told->last = *d;
    if (d->copy == IMAGE_COPIES && d->kind == PIECE_PAGE)
        copies_renew_page(&it.live.images, d->table, d->k);
    else if (d->copy == IMAGE_COPIES && d->kind != PIECE_ROOT)
        MUST(table_dirty_all(&it.live.t[d->table], d->chunk));
    return 0;
}

static struct told prove(bool mend)
{
    struct medium m;
    struct told told = {.n = 0};
    struct copies_run run = {.images = &it.live.images,
                             .medium = &m,
                             .mend = mend,
                             .exclude = exclude,
                             .allow = allow,
                             .step = no_step,
                             .found = tell,
                             .arg = &told};
    MUST(medium_init(&m, it.io) == 0);
    MUST(copies_prove(&run) == 0);
    medium_free(&m);
    images_close(&it.live.images, 0);
    return told;
}

static bool is_copied(const char *name, bool whole)
{
    char other[IMAGE_NAME_SIZE];
    uint64_t id;
    unsigned copy;
    uint8_t *a, *b;
    size_t n, m;
    MUST(image_parse_name(name, &id, &copy) == 0);
    image_name(id, 1 - copy, other);
    MUST(simdisk_get(it.disk, name, &a, &n) == 0 && simdisk_get(it.disk, other, &b, &m) == 0);
    bool same = n == m && (!whole || memcmp(a, b, n) == 0);
    free(a);
    free(b);
    return same;
}

Test(image_damage, one_copy_mends_the_other, .init = setup, .fini = teardown)
{
    struct files l = list_files();
    MUST(prove(true).n == 0);
    for (int round = 0; round < 300; round++) {
        size_t i = rng_below(&it.rng, l.n);
        uint64_t at = rng_below(&it.rng, l.sizes[i]);
        unsigned how = (unsigned)rng_below(&it.rng, 6);
        uint8_t *data;
        size_t size;
        MUST(simdisk_get(it.disk, l.names[i], &data, &size) == 0);
        if (how == 0)
            MUST(simdisk_remove(it.disk, l.names[i]) == 0);
        else if (how == 1)
            simdisk_put(it.disk, l.names[i], data, at);
        else if (how == 2)
            MUST(simdisk_spoil(it.disk, l.names[i], at / 4096 * 4096, at / 4096 * 4096 + 4096) == 0);
        else if (how == 3) /* as memory does not show it */
            MUST(simdisk_rot(it.disk, l.names[i], at, 4) == 0);
        else
            MUST(simdisk_flip(it.disk, l.names[i], at, 1) == 0);
        free(data);
        struct told only = prove(false), told = prove(true), again = prove(true);
        MUST(only.n == told.n && only.mended == 0 && told.mended == told.n && told.lost == 0);
        MUST(again.n == 0); /* where nothing was told, nothing was that anybody needs */
        MUST(is_copied(l.names[i], false));
        MUST(it_reads_as(&it, &it.live));
        simdisk_power_on(it.disk, SIM_DROP_ALL, 1);
        MUST(prove(true).n == 0); /* and it is durable */
    }
}

struct pieces {
    struct piece_ref refs[1024];
    size_t n;
};

static int note_piece(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk, uint32_t k)
{
    struct pieces *l = arg;
    (void)table;
    (void)chunk;
    (void)k;
    MUST(l->n < 1024);
    l->refs[l->n++] = *ref;
    return 0;
}

static int by_offset(const void *a, const void *b)
{
    const struct piece_ref *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static bool share_block(const struct piece_ref *a, const struct piece_ref *b)
{
    return (a->offset + a->len - 1) / IO_ALIGN == b->offset / IO_ALIGN;
}

/* One copy has lost a block in the midst of piece `lost`, the other a bit of its neighbour, in the block in
 * which both lie. */
static void lose_beside(const struct piece_ref *lost, uint64_t bit)
{
    char name[IMAGE_NAME_SIZE];
    uint64_t block = (lost->offset / IO_ALIGN + 1) * IO_ALIGN;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        image_name(lost->file, copy, name);
        MUST(simdisk_spoil(it.disk, name, block, block + IO_ALIGN) == 0);
        image_name(lost->file, 1 - copy, name);
        MUST(simdisk_flip(it.disk, name, bit, 1) == 0);
        struct told told = prove(true);
        MUST(told.n == 2 && told.mended == 2 && told.lost == 0);
        MUST(prove(true).n == 0);
        MUST(it_reads_as(&it, &it.live));
    }
}

/* It is the only copy of that one. */
Test(image_damage, a_block_is_not_mended_with_a_bad_neighbour, .init = setup, .fini = teardown)
{
    const struct image_map *map = &it.live.images.map;
    unsigned n = 0;
    for (size_t f = 0; f < map->n_files; f++) {
        static struct pieces l;
        l.n = 0;
        MUST(map_each_piece(map, map->files[f].id, note_piece, &l) == 0);
        qsort(l.refs, l.n, sizeof l.refs[0], by_offset);
        for (size_t i = 1; i + 1 < l.n && n < 20; i++) {
            const struct piece_ref *ref = &l.refs[i];
            if (ref->len < 3 * IO_ALIGN || !share_block(ref - 1, ref) || !share_block(ref, ref + 1))
                continue;
            lose_beside(ref, ref->offset - 1);
            lose_beside(ref, ref[1].offset);
            n++;
        }
    }
    (void)fprintf(stderr, "%u pieces\n", n);
    MUST(n > 1);
}

/* Each piece of each file in both copies. */
Test(image_damage, what_both_have_lost_comes_from_memory, .init = setup, .fini = teardown)
{
    unsigned lost = 0;
    for (int round = 0; round < 60; round++) {
        change_some();
        MUST(it_checkpoint(&it) == 0);
        images_close(&it.live.images, 0);
        struct files l = list_files();
        size_t i = rng_below(&it.rng, l.n / 2) * 2;
        uint64_t at = rng_below(&it.rng, l.sizes[i]);
        MUST(simdisk_flip(it.disk, l.names[i], at, 1) == 0 &&
             simdisk_flip(it.disk, l.names[i + 1], at, 1) == 0);
        struct told told = prove(true);
        lost += told.lost;
        MUST(told.mended == 0);
        if (told.n) {
            struct it_life l2;
            bool opens = it_open(&it, &l2) != 0, same = opens && it_is_as(&l2, &it.live);
            MUST(!same || told.lost == 0); /* as a recovery would see it */
            if (opens && told.lost && told.last.kind <= PIECE_DELTA)
                MUST(chunk_pool_lost(l2.pool) == -EBADMSG && !chunk_pool_poisoned(l2.pool));
            it_end(&l2);
        }
        MUST(it_checkpoint(&it) == 0);
        images_close(&it.live.images, 0);
        MUST(prove(true).n == 0);
        MUST(it_reads_as(&it, &it.live));
    }
    MUST(lost > 10);
}

/* ---- the end of one copy -------------------------------------------------------------------------- */

/* Copy `copy` of the newest checkpoint, of which `keep` bytes are left, as an opening for writing mends it:
 * whether it says so. *ret_notes: what is left to tell. */
static bool mend_cut(unsigned copy, uint64_t keep, unsigned *ret_notes)
{
    struct it_life l;
    struct image_note notes[IMAGE_NOTES];
    char name[IMAGE_NAME_SIZE];
    uint8_t *data;
    size_t size;
    image_name(it.live.images.map.id, copy, name);
    MUST(simdisk_get(it.disk, name, &data, &size) == 0);
    MUST(keep <= size);
    simdisk_put(it.disk, name, data, keep);
    free(data);
    MUST(it_open(&it, &l) == it.live.images.map.id);
    unsigned mended = images_mend_end(&l.images);
    MUST(mended == 0 || mended == 1u << copy);
    *ret_notes = images_take_notes(&l.images, notes);
    it_end(&l);
    simdisk_power_on(it.disk, SIM_DROP_ALL, 0);
    return mended;
}

static uint64_t newest_size(void)
{
    return map_file(&it.live.images.map, it.live.images.map.id)->size;
}

Test(image_damage, the_end_of_one_copy_is_written_as_the_other_has_it, .init = setup, .fini = teardown)
{
    uint64_t root = it.live.images.map.root.offset, size = newest_size();
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        for (uint64_t keep = root; keep < size; keep += 1 + rng_below(&it.rng, 20)) {
            char name[IMAGE_NAME_SIZE];
            unsigned notes;
            image_name(it.live.images.map.id, copy, name);
            MUST(mend_cut(copy, keep, &notes) && notes == 0);
            MUST(is_copied(name, true)); /* and it is durable */
        }
    }
    MUST(prove(true).n == 0);
}

/* What was before the end is missing, too, or may be: no later opening would find that. */
Test(image_damage, a_copy_that_lacks_more_than_its_end_is_told, .init = setup, .fini = teardown)
{
    uint64_t root = it.live.images.map.root.offset;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        for (uint64_t left = root; left > 0; left = left > 1000 ? left - 1000 : 0) {
            unsigned notes;
            MUST(!mend_cut(copy, left - 1, &notes) && notes == 1);
            MUST(!mend_cut(copy, left - 1, &notes) && notes == 1); /* the next time, too */
        }
        MUST(prove(true).mended > 0 && prove(true).n == 0);
    }
}

/* A page of the copy is bad besides. */
Test(image_damage, with_its_end_not_all_of_a_copy_is_mended, .init = setup, .fini = teardown)
{
    const struct piece_ref *page = &it.live.images.map.tables[0].pages[0].ref;
    char name[IMAGE_NAME_SIZE];
    unsigned notes;
    MUST(page->file == it.live.images.map.id);
    image_name(page->file, 0, name);
    MUST(simdisk_flip(it.disk, name, page->offset + 50, 1) == 0);
    MUST(mend_cut(0, newest_size() - 1, &notes) && notes == 1);
    MUST(prove(true).mended == 1);
}

/* Of a file that the newest checkpoint still needs, though it is older. */
Test(image_damage, a_short_copy_of_an_older_file_is_told, .init = setup, .fini = teardown)
{
    const struct image_map *map = &it.live.images.map;
    struct image_note notes[IMAGE_NOTES];
    struct it_life l;
    char name[IMAGE_NAME_SIZE];
    uint8_t *data;
    size_t size;
    uint64_t id = map->files[map->files[0].id == map->id].id;
    image_name(id, 1, name);
    MUST(simdisk_get(it.disk, name, &data, &size) == 0);
    simdisk_put(it.disk, name, data, size - 1);
    free(data);
    MUST(it_open(&it, &l) == map->id);
    MUST(images_mend_end(&l.images) == 0);
    MUST(images_take_notes(&l.images, notes) == 1);
    MUST(notes[0].file == id && notes[0].copy == 1 && notes[0].error == -EBADMSG && !notes[0].end);
    it_end(&l);
}

/* ---- what is lost must not be taken for something --------------------------------------------------------
 */

Test(image_damage, a_writer_of_a_lost_chunk_is_told, .init = setup, .fini = teardown)
{
    const struct map_entry *e = &it.live.images.map.tables[0].entries[1];
    char name[IMAGE_NAME_SIZE];
    struct it_life l;
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        image_name(e->refs[0].file, copy, name);
        MUST(simdisk_flip(it.disk, name, e->refs[0].offset + 100, 1) == 0);
    }
    MUST(it_open(&it, &l) != 0);
    MUST(!table_get(&l.t[0], 512) && chunk_pool_lost(l.pool) == -EBADMSG && !chunk_pool_poisoned(l.pool));
    MUST(table_get(&l.t[0], 511) && table_get(&l.t[0], 1024)); /* its neighbours are there */
    MUST(chunk_pool_reserve(l.pool, 1) == 0);
    memset(table_mut(&l.t[0], 512), 1, 128);
    MUST(chunk_pool_poisoned(l.pool));
    it_end(&l);
}

static int refuse(void *arg, unsigned table, uint32_t c, const struct table_meta *m, const uint8_t *chunk)
{
    (void)m;
    (void)chunk;
    return table == 0 && c == *(uint32_t *)arg ? -EBADMSG : 0;
}

Test(image_damage, records_are_looked_at_before_they_are_believed, .init = setup, .fini = teardown)
{
    struct it_life l;
    uint32_t bad = 2;
    MUST(it_open(&it, &l) != 0);
    l.images.check = refuse;
    l.images.check_arg = &bad;
    MUST(table_get(&l.t[0], 1) && !table_get(&l.t[0], 1024) && chunk_pool_lost(l.pool) == -EBADMSG);
    it_end(&l);
}

/* ---- claims
 * ------------------------------------------------------------------------------------------------ */

/* A root that anybody could have sealed. */
struct forged {
    struct image_map map;
    uint8_t *bytes;
    size_t len;
    uint64_t id;
};

static int open_forged(const struct image_map *map)
{
    uint64_t id = map->id;
    size_t len = map_root_size(map, IT_HEAD), all = sizeof(struct piece_header) + len;
    uint8_t *bytes = calloc(1, all + sizeof(struct image_footer));
    struct piece_header h = {.kind = PIECE_ROOT, .len = (uint32_t)len, .file = id, .store = IT_STORE};
    uint64_t head[2] = {id, ~id};
    char name[IMAGE_NAME_SIZE];
    uint8_t *old;
    size_t size;
    image_name(id, 0, name);
    MUST(bytes && simdisk_get(it.disk, name, &old, &size) == 0);
    map_root_encode(map, head, sizeof head, bytes + sizeof h);
    piece_seal(&h, bytes + sizeof h);
    memcpy(bytes, &h, sizeof h);
    struct image_footer f = {
        .store = IT_STORE, .id = id, .offset = map->root.offset, .len = all, .piece_sum = h.sum};
    footer_seal(&f);
    memcpy(bytes + all, &f, sizeof f);
    uint8_t *file = calloc(1, map->root.offset + all + sizeof f);
    MUST(file);
    memcpy(file, old, map->root.offset);
    memcpy(file + map->root.offset, bytes, all + sizeof f);
    struct simdisk *real = it.disk;
    it.disk = simdisk_clone(real);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        image_name(id, copy, name);
        simdisk_put(it.disk, name, file, map->root.offset + all + sizeof f);
    }
    struct images images;
    void *read = NULL;
    MUST(images_init(&images, simdisk_io(it.disk), IT_STORE, IT_TABLES) == 0);
    int r = images_open(&images, id, IT_HEAD, &read);
    free(read);
    images_free(&images);
    simdisk_free(it.disk);
    it.disk = real;
    free(bytes);
    free(old);
    free(file);
    return r;
}

Test(image_damage, a_root_claims_no_more_than_there_is, .init = setup, .fini = teardown)
{
    struct image_map map;
    MUST(map_clone(&it.live.images.map, &map) == 0);
    MUST(open_forged(&map) == 0); /* a forgery of what is so */
    map.tables[1].n_chunks = 1u << 30;
    struct map_page *pages = map.tables[1].pages;
    map.tables[1].pages = calloc(map_n_pages(1u << 30), sizeof *pages);
    MUST(map.tables[1].pages);
    MUST(open_forged(&map) == -EBADMSG);
    free(map.tables[1].pages);
    map.tables[1].pages = pages;
    map.tables[1].n_chunks = it.live.images.map.tables[1].n_chunks;
    map.files[0].size += 1u << 20; /* longer than either copy is */
    MUST(open_forged(&map) == -EBADMSG);
    map.files[0].size -= 1u << 20;
    struct piece_ref ref = map.tables[0].pages[0].ref; /* one page for two */
    map.tables[1].pages[0].ref = ref;
    MUST(open_forged(&map) == -EBADMSG);
    map.tables[1].pages[0].ref = it.live.images.map.tables[1].pages[0].ref;
    map.tables[0].pages[0].ref.offset = 1u << 30;
    MUST(open_forged(&map) == -EBADMSG);
    map.tables[0].pages[0].ref = ref;
    MUST(open_forged(&map) == 0);
    map_free(&map);
}

/* The same image for every chunk: so much memory is not in the files. */
Test(image_damage, a_piece_is_claimed_once, .init = setup, .fini = teardown)
{
    static uint8_t page[MAP_PAGE_MAX];
    struct image_map map;
    MUST(map_clone(&it.live.images.map, &map) == 0);
    struct map_entry *entries = map.tables[0].entries;
    uint32_t n = map.tables[0].n_chunks;
    for (uint32_t c = 1; c < n; c++)
        entries[c] = entries[0];
    uint32_t len = map_page_size(entries, n);
    map_page_encode(entries, n, page);
    struct image_map taken;
    MUST(map_clone(&it.live.images.map, &taken) == 0);
    for (uint32_t c = 0; c < n; c++)
        map_clear_entry(&taken, 0, c);
    int r = 0;
    for (int again = 0; again < 50 && !r; again++) /* until the files have no room for one more */
        r = map_take_page(&taken, 0, 0, page, len);
    MUST(r == -EBADMSG);
    for (size_t i = 0; i < taken.n_files; i++)
        MUST(taken.files[i].live <= taken.files[i].size);
    map_free(&taken);
    map_free(&map);
}
