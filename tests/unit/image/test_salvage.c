/*
 * test_salvage.c - what one damaged part of the index costs: the memories whose records, or names, or places
 * it held, and no other; and of those the content comes with its path hint. */
#include "inside.h"

#include "image_files.h"
#include "one_store.h"

#include "image/load.h"

#include "rng.h"

#include <criterion/criterion.h>

#define N_DIRS 12
#define N_FILES 2600
#define N_LATE 40
#define CONTENT 40u

/* Tables in the order in which a checkpoint stores them. */
enum { INODES, DENTRIES, BUCKETS, SEGS, CELLS, DIRS, EXTENTS };

/* A memory of the whole store. */
struct memory {
    uint64_t ino;
    char path[200];
    uint32_t slot, dentry, name, n_extents;
    bool late;  /* made behind the checkpoints */
    bool moved; /* renamed there: its hint has the old name */
    uint64_t seed;
    bool found;
    uint8_t piece[CONTENT]; /* of its beginning */
    char hint[1024];
};

static struct memory memories[N_FILES + N_LATE];
static unsigned n_memories;
static uint64_t dirs[N_DIRS];
static char dir_paths[N_DIRS][100];

static struct memory *add_memory(unsigned dir, const char *name, uint64_t seed)
{
    struct eng_attr attr;
    struct memory *m = &memories[n_memories++];
    cr_assert_eq(eng_create(u.eng, NULL, dirs[dir], name, S_IFREG | 0644, 0, NULL, &attr), 0);
    *m = (struct memory){.ino = attr.ino, .slot = ino_slot(attr.ino), .seed = seed};
    (void)snprintf(m->path, sizeof m->path, "%s%s%s", dir_paths[dir], dir ? "/" : "", name);
    unit_write(&u, m->ino, CONTENT, seed, 0);
    return m;
}

static void make_dirs(void)
{
    dirs[0] = ENG_ROOT_INO;
    for (unsigned i = 1; i < N_DIRS; i++) { /* nested in threes */
        struct eng_attr attr;
        unsigned in = i % 3 == 1 ? 0 : i - 1;
        char name[16];
        (void)snprintf(name, sizeof name, "folder%u", i);
        cr_assert_eq(eng_create(u.eng, NULL, dirs[in], name, S_IFDIR | 0755, 0, NULL, &attr), 0);
        dirs[i] = attr.ino;
        (void)snprintf(dir_paths[i], sizeof dir_paths[i], "%s%s%s", dir_paths[in], in ? "/" : "", name);
    }
}

static void make_files(void)
{
    for (unsigned i = 0; i < N_FILES; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "a memory with a rather long name, number %u", i);
        struct memory *m = add_memory(i % N_DIRS, name, i);
        for (unsigned k = 1; k < 4 && i % 2; k++)
            unit_write(&u, m->ino, CONTENT, i, k * 8192);
        if (i % 7 == 0)
            cr_assert_eq(eng_setxattr(u.eng, m->ino, "user.engram.confidence", "0.5", 3, 0), 0);
    }
}

/* What only the log tells of. */
static void make_late(void)
{
    char name[64], old[64];
    for (unsigned i = 0; i < N_LATE; i++) {
        (void)snprintf(name, sizeof name, "late %u", i);
        add_memory(i % N_DIRS, name, 5000 + i)->late = true;
    }
    for (unsigned i = 0; i < N_LATE; i++) { /* renamed, and some over another */
        struct memory *m = &memories[60 * i + 5];
        (void)snprintf(old, sizeof old, "a memory with a rather long name, number %u", 60 * i + 5);
        (void)snprintf(name, sizeof name, "renamed %u", i);
        unsigned dir = (60 * i + 5) % N_DIRS;
        cr_assert_eq(eng_rename(u.eng, NULL, dirs[dir], old, dirs[dir], name, 0), 0);
        (void)snprintf(m->path, sizeof m->path, "%s%s%s", dir_paths[dir], dir ? "/" : "", name);
        m->moved = true;
    }
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "late 0"), 0);
    memories[N_FILES] = memories[--n_memories];
}

static void learn(void)
{
    for (unsigned i = 0; i < n_memories; i++) {
        const struct inode_rec *inode = index_inode(&u.eng->idx, memories[i].ino);
        memories[i].dentry = inode->dentry;
        memories[i].name = index_dentry(&u.eng->idx, inode->dentry)->name;
        memories[i].n_extents = inode_n_extents(inode);
    }
}

#define N_LINKS 20

static void make_links(void)
{
    struct eng_attr attr;
    for (unsigned i = 0; i < N_LINKS; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "link %u", i);
        cr_assert_eq(eng_create(u.eng, NULL, dirs[i % N_DIRS], name, S_IFLNK | 0777, 0, name, &attr), 0);
    }
}

static struct piece_ref *images[INDEX_TABLES_PLAIN]; /* of each chunk; file 0: it was dropped */
static uint32_t n_chunks[INDEX_TABLES_PLAIN];
static uint64_t newest;

/* One that is there for its pieces may not come to the rescue. */
static void spoil_older(void *arg, const char *name, uint64_t size)
{
    uint64_t id;
    unsigned copy;
    (void)arg;
    if (image_parse_name(name, &id, &copy) == 0 && id != newest)
        cr_assert_eq(simdisk_flip(u.disk, name, size - 1, 1), 0);
}

static void note_images(void)
{
    const struct image_map *map = &u.eng->checkpoints->images.map;
    newest = map->id;
    for (unsigned i = 0; i < INDEX_TABLES_PLAIN; i++) {
        n_chunks[i] = map->tables[i].n_chunks;
        images[i] = calloc(n_chunks[i], sizeof *images[i]);
        cr_assert_not_null(images[i]);
        for (uint32_t k = 0; k < n_chunks[i]; k++)
            if (map->tables[i].entries[k].n_refs)
                images[i][k] = map->tables[i].entries[k].refs[0];
    }
}

/* The log does not go back to its beginning. Killed. */
static void prepare(void)
{
    setup();
    unit_file(&u, "goes", 30000, 1); /* so that the log's beginning is compacted away */
    make_dirs();
    make_files();
    make_links();
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "goes"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    (void)retire_segments(u.eng);
    cr_assert(!unit_has_segment(&u, 1));
    note_images();
    make_late();
    cr_assert_eq(eng_sync(u.eng), 0);
    learn();
    unit_kill(&u, SIM_DROP_ALL, 0);
    simdisk_each(u.disk, spoil_older, NULL);
}

static void clean_up(void)
{
    for (unsigned i = 0; i < INDEX_TABLES_PLAIN; i++)
        free(images[i]);
    teardown();
}

TestSuite(salvage, .init = prepare, .fini = clean_up);

/* ---- what is there ------------------------------------------------------------------------ */

static struct unit c;
static unsigned lost_table, links_found;

static void find_all(uint64_t dir, const char *path);

struct walk {
    const char *path;
    unsigned n;
    struct eng_attr attrs[600];
    char names[600][64];
};

static int take_entry(void *arg, const struct eng_dirent *d)
{
    struct walk *w = arg;
    if (d->cookie <= 2)
        return 0;
    cr_assert_lt(w->n, 600);
    (void)snprintf(w->names[w->n], sizeof w->names[0], "%.*s", (int)d->name_len, d->name);
    w->attrs[w->n++] = d->attr;
    return 0;
}

static void find_one(uint64_t ino, const char *path)
{
    for (unsigned i = 0; i < n_memories; i++) {
        struct memory *m = &memories[i];
        if (m->ino != ino)
            continue;
        const char *name = strrchr(m->path, '/') ? strrchr(m->path, '/') + 1 : m->path;
        m->found = true;
        cr_assert(strcmp(m->path, path) == 0 || strcmp(path + strlen(path) - strlen(name), name) == 0,
                  "%s became %s", m->path, path);
        uint8_t *expect = unit_bytes(CONTENT, m->seed), data[CONTENT];
        for (uint64_t at = 0; at < (m->n_extents > 1 ? 4 : 1) * UINT64_C(8192); at += 8192) {
            cr_assert_eq(eng_read(c.eng, ino, data, CONTENT, at), (ssize_t)CONTENT, "%s", path);
            cr_assert_eq(memcmp(data, expect, CONTENT), 0, "%s at %llu", path, (unsigned long long)at);
        }
        free(expect);
        if (m->seed < N_FILES && m->seed % 7 == 0 && lost_table != CELLS)
            cr_assert_eq(eng_getxattr(c.eng, ino, "user.engram.confidence", data, sizeof data), 3);
        return;
    }
    cr_assert(false, "%s was not there", path);
}

static void find_link(uint64_t ino, const char *name)
{
    char target[64];
    cr_assert_geq(eng_readlink(c.eng, ino, target, sizeof target), 0);
    cr_assert_str_eq(target, name);
    links_found++;
}

static void find_all(uint64_t dir, const char *path)
{
    struct walk *w = calloc(1, sizeof *w);
    cr_assert_not_null(w);
    cr_assert_eq(eng_readdir(c.eng, NULL, dir, 0, take_entry, w), 0);
    for (unsigned i = 0; i < w->n; i++) {
        char below[400];
        (void)snprintf(below, sizeof below, "%s%s%s", path, *path ? "/" : "", w->names[i]);
        if (S_ISDIR(w->attrs[i].mode))
            find_all(w->attrs[i].ino, below);
        else if (S_ISLNK(w->attrs[i].mode))
            find_link(w->attrs[i].ino, w->names[i]);
        else
            find_one(w->attrs[i].ino, below);
    }
    free(w);
}

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    for (unsigned i = 0; i < n_memories; i++) {
        struct memory *m = &memories[i];
        if (m->ino != piece->ino)
            continue;
        cr_assert(!m->found, "%s has its name", m->path);
        if (piece->offset)
            continue;
        cr_assert_geq(piece->size, CONTENT);
        memcpy(m->piece, data, CONTENT);
        (void)snprintf(m->hint, sizeof m->hint, "%s", piece->path);
    }
    return 0;
}

/* Flips a byte of both copies of the image of a chunk, and opens what is left. */
static unsigned salvage_without(unsigned table, uint32_t chunk)
{
    const struct piece_ref *image = &images[table][chunk];
    unsigned lost = 0;
    lost_table = table;
    links_found = 0;
    unit_clone(&c, &u);
    image_files_flip(c.disk, image->file, image->offset + image->len / 2, 4);
    cr_assert_eq(unit_try_open(&c), -EBADMSG, "table %u, chunk %u", table, chunk);
    c.opt.read_only = c.opt.salvage = true;
    unit_open(&c);
    for (unsigned i = 0; i < n_memories; i++) {
        memories[i].found = false;
        memories[i].hint[0] = 0;
    }
    find_all(ENG_ROOT_INO, "");
    cr_assert_eq(eng_lost(c.eng, take_piece, NULL), 0);
    for (unsigned i = 0; i < n_memories; i++) {
        const struct memory *m = &memories[i];
        if (m->found)
            continue;
        uint8_t *expect = unit_bytes(CONTENT, m->seed);
        cr_assert_eq(memcmp(m->piece, expect, CONTENT), 0, "%s: its content comes", m->path);
        cr_assert(m->moved || strcmp(m->hint, m->path) == 0, "%s: with its path, not '%s'", m->path, m->hint);
        free(expect);
        lost++;
    }
    return lost;
}

/* Whether the chunk held something without which the memory has no name, or is not whole. What was renamed
 * since may have had its name anywhere. */
static bool held(const struct memory *m, unsigned table, uint32_t chunk)
{
    const uint32_t inodes = TABLE_CHUNK_SIZE / sizeof(struct inode_rec),
                   dentries = TABLE_CHUNK_SIZE / sizeof(struct dentry_rec),
                   cells = TABLE_CHUNK_SIZE / NAMES_CELL;
    switch (table) {
    case INODES:
        return m->slot / inodes == chunk;
    case DENTRIES:
        return m->dentry / dentries == chunk || m->moved;
    case CELLS:
        return m->name / cells == chunk || m->moved;
    case EXTENTS:
        return m->n_extents > 1;
    default:
        return false;
    }
}

Test(salvage, a_lost_part_costs_what_it_held)
{
    unsigned n_cases = 0;
    for (unsigned t = 0; t < INDEX_TABLES_PLAIN; t++)
        for (uint32_t chunk = 0; chunk < n_chunks[t]; chunk++) {
            if (!images[t][chunk].file)
                continue;
            n_cases++;
            unsigned lost = salvage_without(t, chunk);
            for (unsigned i = 0; i < n_memories; i++) {
                const struct memory *m = &memories[i];
                cr_assert(m->found || (held(m, t, chunk) && !m->late), "table %u, chunk %u: %s is lost", t,
                          chunk, m->path);
            }
            bool derived = t == BUCKETS || t == SEGS || t == DIRS;
            cr_assert_eq(lost == 0, derived, "table %u, chunk %u: %u", t, chunk, lost);
            cr_assert(links_found == N_LINKS || t == INODES || t == DENTRIES || t == CELLS);
            if (n_chunks[t] > 1)
                cr_assert_lt(lost, n_memories * 4 / 5, "table %u, chunk %u: %u", t, chunk, lost);
            unit_done(&c);
        }
    cr_assert_gt(n_cases, 15);
    cr_assert(n_chunks[INODES] > 3 && n_chunks[DENTRIES] > 1 && n_chunks[CELLS] > 1 && n_chunks[EXTENTS] > 1);
}

/* I10: whatever the records say, nothing is read or written out of bounds, and what comes of it is sound. */
Test(salvage, any_records_are_mended_or_refused)
{
    unsigned n_mended = 0;
    u.opt.read_only = true;
    unit_open(&u);
    for (uint64_t seed = 0; seed < 150; seed++) {
        uint64_t rng = seed;
        struct eng eng = {.io = simdisk_io(u.disk)};
        struct index *idx = &eng.idx;
        struct ckpt_position pos;
        struct index_holes holes = {0};
        uint8_t *lost = NULL;
        uint32_t n_slots;
        eng.log.store = u.eng->log.store;
        eng.sb = u.eng->sb;
        cr_assert_eq(index_init(idx, eng.sb.hash_seed), 0);
        cr_assert(checkpoint_new(&eng) == 0 && checkpoint_begin(&eng) == 0);
        cr_assert_eq(load_parts(&eng, newest, &pos, &holes), 0);
        for (unsigned i = 0; i < seed % 40; i++) {
            struct table *t = index_table(idx, (unsigned)rng_below(&rng, INDEX_TABLES_PLAIN));
            uint32_t chunk = (uint32_t)rng_below(&rng, t->n_chunks);
            uint64_t at = rng_below(&rng, TABLE_CHUNK_SIZE);
            if (t->chunks[chunk])
                t->chunks[chunk][at] = (uint8_t)rng_next(&rng);
        }
        int r = index_mend(idx, &holes, NULL, 0, &lost, &n_slots);
        cr_assert(r == 0 || r == -EBADMSG, "seed %llu: %d", (unsigned long long)seed, r);
        n_mended += !r;
        if (!r)
            cr_assert_eq(index_verify(idx, false, NULL, NULL), 0);
        free(lost);
        index_free(idx);
        checkpoint_close(&eng);
        checkpoint_free(&eng);
    }
    cr_assert_gt(n_mended, 20);
}
