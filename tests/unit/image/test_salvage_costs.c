/*
 * test_salvage_costs.c - that what mending takes is in proportion to the store, and what stands in its way.
 */
#include "hook.h"
#include "inside.h"

#include "image_files.h"
#include "unit_store.h"

#include "image/load.h"

#include <criterion/criterion.h>
#include <sys/resource.h>
#include <time.h>

#define SEGMENT (256u << 10)

static struct unit u;
static uint64_t store; /* its number */

static void setup(void)
{
    unit_new(&u, SEGMENT);
    store = u.eng->log.store;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(salvage_costs, .init = setup, .fini = teardown, .timeout = 100);

/* Ends whatever the checkpoint is, so that only salvage reads it: an older one does not come to the rescue.
 */
static void spoil_older(void *arg, const char *name, uint64_t size)
{
    uint64_t id;
    unsigned copy;
    if (size > 0 && image_parse_name(name, &id, &copy) == 0 && id != *(const uint64_t *)arg)
        cr_assert_eq(simdisk_flip(u.disk, name, size - 1, 1), 0);
}

static struct image_map map; /* of the newest checkpoint, whose store is closed */

static void read_map(void)
{
    struct images images;
    void *head = NULL;
    uint64_t newest = image_files_newest(u.disk);
    cr_assert_eq(images_init(&images, simdisk_io(u.disk), store, INDEX_TABLES_PLAIN), 0);
    cr_assert_eq(images_open(&images, newest, sizeof(struct ckpt_head_plain), &head), 0);
    cr_assert_eq(map_clone(&images.map, &map), 0);
    images_free(&images);
    free(head);
    simdisk_each(u.disk, spoil_older, &newest);
}

/* Damages the images of the first chunks of a table, in both copies. */
static void lose_chunks(enum index_table table, uint32_t n_chunks)
{
    read_map();
    for (uint32_t c = 0; c < MIN_OF(n_chunks, map.tables[table].n_chunks); c++) {
        const struct map_entry *e = &map.tables[table].entries[c];
        if (e->n_refs)
            image_files_flip(u.disk, e->refs[0].file, e->refs[0].offset + e->refs[0].len / 2, 0xff);
    }
    map_free(&map);
}

static uint64_t make_junk(void)
{
    uint64_t junk = unit_create(&u, "junk");
    for (unsigned i = 0; i < 80; i++)
        unit_write(&u, junk, 4000, i, i * 5000);
    return junk;
}

static uint64_t make_dir(const char *prefix, unsigned n, const char *suffix)
{
    struct eng_attr attr;
    char name[64];
    (void)snprintf(name, sizeof name, "%s%u%s", prefix, n, suffix);
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFDIR | 0755, 0, NULL, &attr), 0);
    return attr.ino;
}

/* The log does not go back to its beginning. */
static void forget_log(uint64_t junk)
{
    for (unsigned i = 0; i < 80; i++)
        unit_write(&u, junk, 4000, i, i * 5000);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "junk"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_close(&u);
}

static int salvage(double *ret_seconds)
{
    struct timespec a, b;
    u.opt.read_only = u.opt.salvage = true;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    int r = unit_try_open(&u);
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    *ret_seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
    return r;
}

/* ---- directories whose names are lost ------------------------------------------------------ */

#define N_NAMELESS 40000u

Test(salvage_costs, many_nameless_directories_get_names)
{
    double seconds;
    uint64_t junk = make_junk(), last = 0;
    for (unsigned i = 0; i < N_NAMELESS; i++)
        last = make_dir("directory-with-a-name-", i, "");
    forget_log(junk);
    lose_chunks(TABLE_DENTRIES, UINT32_MAX);
    cr_assert_eq(salvage(&seconds), 0);
    cr_assert_eq(unit_attr(&u, ENG_ROOT_INO).size, N_NAMELESS);
    char name[32];
    (void)snprintf(name, sizeof name, "#%u", ino_slot(last));
    cr_assert_eq(unit_lookup(&u, name), last);
    cr_assert_lt(seconds, 15.0, "%.1f s: not in proportion", seconds); /* 0.3; if it were quadratic, 80 */
}

#define N_TAKEN 2200u /* their entries fill more than a chunk */

Test(salvage_costs, names_that_somebody_gave_stand_in_nobodys_way)
{
    static uint64_t dirs[N_TAKEN];
    double seconds;
    char name[32];
    uint64_t junk = make_junk();
    for (unsigned i = 0; i < N_TAKEN; i++)
        dirs[i] = make_dir("directory-", i, "");
    for (unsigned i = 0; i < N_TAKEN; i++) {
        (void)snprintf(name, sizeof name, "#%u", ino_slot(dirs[i]));
        (void)unit_file(&u, name, 10, i);
        if (i % 2)
            (void)make_dir("#", ino_slot(dirs[i]), "-2");
    }
    forget_log(junk);
    lose_chunks(TABLE_DENTRIES, 1); /* of the first directories */
    cr_assert_eq(salvage(&seconds), 0);
    uint32_t lost = TABLE_CHUNK_SIZE / (uint32_t)sizeof(struct dentry_rec) / 2;
    for (unsigned i = 0; i < MIN_OF(lost, N_TAKEN); i++) {
        (void)snprintf(name, sizeof name, "#%u-%u", ino_slot(dirs[i]), i % 2 ? 3 : 2);
        cr_assert_eq(unit_lookup(&u, name), dirs[i], "%s", name);
    }
    (void)snprintf(name, sizeof name, "#%u", ino_slot(dirs[N_TAKEN - 1]));
    cr_assert(unit_holds(&u, unit_lookup(&u, name), 10, N_TAKEN - 1));
}

/* A memory that the log gives such a name has it, and the directory another; so has one that comes later. */
Test(salvage_costs, a_name_that_somebody_gives_later_is_his)
{
    double seconds;
    char name[32];
    uint64_t junk = make_junk(), a = make_dir("directory-", 1, ""), b = make_dir("directory-", 2, "");
    forget_log(junk);
    unit_open(&u);
    (void)snprintf(name, sizeof name, "#%u", ino_slot(a));
    uint64_t file = unit_file(&u, name, 3000, 5);
    (void)snprintf(name, sizeof name, "#%u-2", ino_slot(a));
    uint64_t other = unit_file(&u, name, 3000, 6);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    lose_chunks(TABLE_DENTRIES, UINT32_MAX);
    cr_assert_eq(salvage(&seconds), 0);
    (void)snprintf(name, sizeof name, "#%u", ino_slot(a));
    cr_assert_eq(unit_lookup(&u, name), file);
    cr_assert(unit_holds(&u, file, 3000, 5));
    (void)snprintf(name, sizeof name, "#%u-2", ino_slot(a));
    cr_assert_eq(unit_lookup(&u, name), other);
    (void)snprintf(name, sizeof name, "#%u-3", ino_slot(a));
    cr_assert_eq(unit_lookup(&u, name), a);
    (void)snprintf(name, sizeof name, "#%u", ino_slot(b));
    cr_assert_eq(unit_lookup(&u, name), b);
    cr_assert_eq(index_is_sound(&u.eng->idx), 0);
}

/* What the log removes goes, whatever it is called now, and its number is another's. */
Test(salvage_costs, a_directory_that_is_removed_later_goes)
{
    double seconds;
    char name[32];
    uint64_t junk = make_junk(), a = make_dir("directory-", 1, ""), b = make_dir("directory-", 2, "");
    forget_log(junk);
    unit_open(&u);
    cr_assert_eq(eng_rmdir(u.eng, ENG_ROOT_INO, "directory-1"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    uint64_t file = 0;
    for (unsigned i = 0; i < 8 && (!file || ino_slot(file) != ino_slot(a)); i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        file = unit_file(&u, name, 3000, 5);
    }
    cr_assert_eq(ino_slot(file), ino_slot(a));
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    lose_chunks(TABLE_DENTRIES, UINT32_MAX);
    cr_assert_eq(salvage(&seconds), 0);
    cr_assert_eq(unit_lookup(&u, name), file);
    cr_assert(unit_holds(&u, file, 3000, 5));
    (void)snprintf(name, sizeof name, "#%u", ino_slot(a));
    cr_assert_eq(unit_lookup(&u, name), 0);
    (void)snprintf(name, sizeof name, "#%u", ino_slot(b));
    cr_assert_eq(unit_lookup(&u, name), b);
    cr_assert_eq(index_is_sound(&u.eng->idx), 0);
}

/* ---- what a map claims ----------------------------------------------------------------------------- */

#define N_CLAIMED 8192u /* images: 512 MiB */

/* The newest checkpoint, which salvage alone reads. */
static void begin_forgery(struct forgery *f)
{
    uint64_t newest = image_files_newest(u.disk);
    forge_begin(f, u.disk, store);
    simdisk_each(u.disk, spoil_older, &newest);
}

/* Has the map of the newest checkpoint claim so many images of inodes, all the same one of file `id`; 0: the
 * newest. */
static void claim(uint64_t file)
{
    static const uint8_t zeros[TABLE_CHUNK_SIZE];
    struct forgery f;
    begin_forgery(&f);
    struct piece_ref image = forge_piece(&f, PIECE_IMAGE, zeros, sizeof zeros);
    image.file = file ? file : image.file;
    cr_assert_eq(map_resize(&f.map, 0, N_CLAIMED), 0);
    f.map.tables[0].used = N_CLAIMED * (uint32_t)(TABLE_CHUNK_SIZE / sizeof(struct inode_rec));
    for (uint32_t c = 0; c < N_CLAIMED; c++)
        f.map.tables[0].entries[c] = (struct map_entry){.n_refs = 1, .refs = {image}};
    for (uint32_t p = 0; p < map_n_pages(N_CLAIMED); p++)
        forge_page(&f, 0, p);
    forge_end(&f);
}

#ifdef __SANITIZE_ADDRESS__
#define LITTLE (256 + 200) /* MiB: what is freed is set aside for a while */
#else
#define LITTLE 200
#endif

static long most_memory(void) /* MiB */
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss >> 10;
}

static void expect_little(uint64_t file)
{
    double seconds;
    uint64_t junk = make_junk();
    (void)unit_file(&u, "a", 5000, 1);
    forget_log(junk);
    claim(file);
    long before = most_memory();
    int r = salvage(&seconds);
    cr_assert(r == 0 || r == -EBADMSG, "%d", r);
    cr_assert_lt(most_memory() - before, LITTLE, "%ld MiB, then %ld", before, most_memory());
}

Test(salvage_costs, an_image_that_is_claimed_again_takes_no_memory)
{
    expect_little(0);
}

Test(salvage_costs, an_image_of_no_file_takes_no_memory)
{
    expect_little(77777);
}

/* ---- a place that no file has ------------------------------------------------------------------- */

/* Gives the first image of the buckets, which all can do without, another place. */
static void misplace(uint64_t offset)
{
    struct forgery f;
    begin_forgery(&f);
    cr_assert_gt(f.map.tables[2].n_chunks, 0);
    cr_assert_gt(f.map.tables[2].entries[0].n_refs, 0);
    f.map.tables[2].entries[0].refs[0].offset = offset;
    forge_page(&f, 2, 0);
    forge_end(&f);
}

static void place_costs_one_image(uint64_t offset)
{
    double seconds;
    uint64_t junk = make_junk();
    (void)unit_file(&u, "a", 5000, 1);
    forget_log(junk);
    misplace(offset);
    cr_assert_eq(salvage(&seconds), 0, "%s", u.why);
    cr_assert(unit_holds(&u, unit_lookup(&u, "a"), 5000, 1), "%llu", (unsigned long long)offset);
}

Test(salvage_costs, an_image_beyond_all_files)
{
    place_costs_one_image(UINT64_C(1) << 40);
}

Test(salvage_costs, an_image_where_no_file_reaches)
{
    place_costs_one_image((UINT64_C(1) << 63) + 8);
}

Test(salvage_costs, an_image_at_the_end_of_numbers)
{
    place_costs_one_image(UINT64_MAX - 103);
}

/* ---- attributes ---------------------------------------------------------------------------------- */

Test(salvage_costs, a_list_of_attributes_is_one_inodes)
{
    struct eng eng = {.io = simdisk_io(u.disk)};
    struct index *idx = &eng.idx;
    struct ckpt_position pos;
    struct index_holes holes = {0};
    uint8_t *lost = NULL;
    uint32_t n_slots;
    uint64_t a = unit_file(&u, "a", 10, 1), b = unit_file(&u, "b", 10, 2);
    cr_assert_eq(eng_setxattr(u.eng, a, "user.x", "1", 1, 0), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    eng.log.store = store;
    eng.sb = u.eng->sb;
    cr_assert_eq(index_init(idx, eng.sb.hash_seed), 0);
    cr_assert(checkpoint_new(&eng) == 0 && checkpoint_begin(&eng) == 0);
    cr_assert_eq(load_parts(&eng, image_files_newest(u.disk), &pos, &holes), 0);
    uint32_t list = index_slot(idx, ino_slot(a))->xattrs;
    cr_assert_neq(list, 0);
    ((struct inode_rec *)table_mut(&idx->inodes, ino_slot(b)))->xattrs = list;
    cr_assert_eq(index_mend(idx, &holes, NULL, 0, &lost, &n_slots), 0);
    cr_assert_eq(index_slot(idx, ino_slot(a))->xattrs, list);
    cr_assert_eq(index_slot(idx, ino_slot(b))->xattrs, 0);
    free(lost);
    index_free(idx);
    checkpoint_close(&eng);
    checkpoint_free(&eng);
}

/* ---- tails ------------------------------------------------------------------------------------ */

static struct simdisk *in_between;

static void snap_in_between(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_TAIL_SLICE || in_between)
        return;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    in_between = simdisk_clone(u.disk);
}

/* A checkpoint has extents behind the end of a file, whose records, names and places are all whole. */
Test(salvage_costs, an_unfinished_truncation_costs_nothing)
{
    enum { PIECES = 60, LEFT = 30 };
    double seconds;
    uint64_t junk = make_junk(), file = unit_create(&u, "file");
    forget_log(junk);
    unit_open(&u);
    for (unsigned i = 0; i < PIECES; i++)
        unit_write(&u, file, 1000, i, (uint64_t)i * 8192);
    cr_assert_eq(eng_sync(u.eng), 0);
    hook_slice(u.eng, 4);
    hook_set(u.eng, snap_in_between, NULL);
    const struct eng_attr attr = {.size = LEFT * 8192};
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_SIZE, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_not_null(in_between);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_free(u.disk);
    u.disk = in_between;
    u.opt.io = simdisk_io(u.disk);
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    lose_chunks(TABLE_BUCKETS, 1);
    cr_assert_eq(salvage(&seconds), 0, "%s", u.why);
    for (unsigned i = 0; i < LEFT; i++) {
        uint8_t *want = unit_bytes(1000, i), got[1000];
        cr_assert_eq(eng_read(u.eng, unit_lookup(&u, "file"), got, sizeof got, (uint64_t)i * 8192),
                     (ssize_t)sizeof got);
        cr_assert_eq(memcmp(got, want, sizeof got), 0, "%u", i);
        free(want);
    }
}
