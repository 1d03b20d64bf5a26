/*
 * test_claims.c - what a file claims takes no memory: batches and manifests that are said to be large, in
 * files that are large by their holes only, which cost their maker nothing. */
#include "inside.h"

#include "disk/summary.h"
#include "image_files.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOLE (UINT64_C(640) << 20)   /* how large a file is made to look */
#define CLAIM ((uint32_t)512u << 20) /* what its header claims */
#define MEMORY (UINT64_C(160) << 20) /* that the process may take on top */

static struct unit u;
static char folder[] = "/tmp/engram-claims-XXXXXX";
static uint64_t seq, chain, tag;
static struct unit_place place; /* of the next batch */

static void put_file(void *arg, const char *name, uint64_t size)
{
    char path[128];
    uint8_t *data;
    size_t n;
    (void)arg, (void)size;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    cr_assert_eq(simdisk_get(u.disk, name, &data, &n), 0);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, n), (ssize_t)n);
    (void)close(fd);
    free(data);
}

/* A store in a folder, as a kill leaves it: a checkpoint, and files that came behind it. */
static void setup(void)
{
    cr_assert_not_null(mkdtemp(folder));
    unit_new(&u, 1 << 20);
    (void)unit_file(&u, "a", 5000, 1);
    unit_reopen(&u);
    (void)unit_file(&u, "b", 5000, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    seq = u.eng->log.seq;
    chain = u.eng->log.chain;
    tag = u.eng->log.store;
    place = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_each(u.disk, put_file, NULL);
}

static void teardown(void)
{
    char command[128];
    unit_done(&u);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(claims, .init = setup, .fini = teardown, .timeout = 120);

/* Writes into a file of the folder and has it end in a hole. */
static void poke(const char *name, uint64_t at, const void *data, size_t size, uint64_t end)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = open(path, O_WRONLY);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, data, size, (off_t)at), (ssize_t)size);
    if (end)
        cr_assert_eq(ftruncate(fd, (off_t)end), 0);
    (void)close(fd);
}

/* From here on the process gets so much memory and no more. */
static void limit_memory(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%lu", &pages), 1);
    (void)fclose(f);
    struct rlimit limit = {pages * 4096 + MEMORY, RLIM_INFINITY};
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

static int open_folder(bool read_only, struct eng **ret_eng)
{
    const struct eng_options opt = {.no_background = true, .must_exist = true, .read_only = read_only};
    char why[256];
    return eng_open(folder, &opt, ret_eng, why);
}

static struct batch_header next_batch(void)
{
    return (struct batch_header){.magic = BATCH_MAGIC, .seq = seq + 1, .chain = chain, .store = tag};
}

static void expect_whole(struct eng *eng)
{
    struct eng_attr attr;
    cr_assert_eq(eng_lookup(eng, NULL, ENG_ROOT_INO, "a", &attr), 0);
    cr_assert_eq(eng_lookup(eng, NULL, ENG_ROOT_INO, "b", &attr), 0);
    cr_assert_eq(attr.size, 5000);
}

static void expect_sound(struct eng *eng)
{
    int r = eng_job_run(eng, ENG_JOB_CHECK, NULL, NULL);
    cr_assert_eq(r, 0, "%s", strerror(-r));
}

/* Opens, checks and dumps; all that was there is there. */
static void expect_little(void)
{
    struct eng *eng = NULL;
    limit_memory();
    cr_assert_eq(open_folder(true, &eng), 0);
    expect_whole(eng);
    expect_sound(eng);
    eng_close(eng);
    cr_assert_eq(open_folder(false, &eng), 0);
    expect_whole(eng);
    expect_sound(eng);
    eng_close(eng);
}

Test(claims, the_ops_of_the_next_batch)
{
    struct batch_header h = next_batch();
    h.ops_len = CLAIM;
    h.n_ops = 7;
    poke(place.name, place.offset, &h, sizeof h, HOLE);
    expect_little();
}

Test(claims, the_extents_of_the_next_batch)
{
    struct batch_header h = next_batch();
    struct op op = {.type = OP_EXTENT, .ino = 2, .time = 1, .loc = {.len = 4096, .ext_len = 4096}};
    uint8_t bytes[sizeof h + 256];
    cr_assert_leq(op_size(&op), 256);
    h.ops_len = (uint32_t)op_size(&op);
    h.extents_len = CLAIM;
    h.n_ops = 1;
    op.loc.seg = place.segment;
    op.loc.off8 = (uint32_t)((place.offset + sizeof h + h.ops_len) / 8);
    op_encode(&op, bytes + sizeof h);
    h.sum = batch_sum(&h, bytes + sizeof h);
    memcpy(bytes, &h, sizeof h);
    poke(place.name, place.offset, bytes, sizeof h + h.ops_len, HOLE);
    expect_little();
}

Test(claims, a_batch_somewhere_behind_the_end)
{
    struct batch_header h = next_batch();
    h.seq += 5;
    h.ops_len = CLAIM;
    poke(place.name, place.offset + 4096, &h, sizeof h, HOLE);
    expect_little();
}

/* Another file, whose header is damaged and whose first batch claims to speak for it. */
Test(claims, the_first_batch_of_a_segment_without_a_header)
{
    uint8_t bytes[sizeof(struct segment_header) + sizeof(struct batch_header)] = {1};
    struct batch_header h = next_batch();
    char name[SEGMENT_NAME_SIZE], path[128];
    h.ops_len = CLAIM;
    memcpy(bytes + sizeof(struct segment_header), &h, sizeof h);
    segment_name(place.segment + 1, name);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    poke(name, 0, bytes, sizeof bytes, HOLE);
    expect_little();
}

static int no_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)piece;
    (void)data;
    ++*(unsigned *)arg;
    return 0;
}

/* ---- time ------------------------------------------------------------------------------------------- */

static uint64_t n_read;
static unsigned n_pieces;
static const struct eng_io_ops *plain;

static ssize_t count_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    n_read += size;
    return plain->pread(file, buf, size, offset);
}

/* Bytes that an opening, and the search for what was lost, read of the folder. */
static uint64_t read_by(bool salvage)
{
    struct eng *eng = NULL;
    struct eng_io *io;
    struct eng_io_ops counting;
    char why[256];
    n_pieces = 0;
    cr_assert_eq(io_posix_new(folder, false, &io), 0);
    plain = io->ops;
    counting = *plain;
    counting.pread = count_pread;
    io->ops = &counting;
    const struct eng_options opt = {
        .no_background = true, .must_exist = true, .read_only = true, .salvage = salvage, .io = io};
    n_read = 0;
    cr_assert_eq(eng_open(folder, &opt, &eng, why), 0, "%s", why);
    expect_whole(eng);
    if (salvage) {
        eng->lost_after = 0;
        cr_assert_eq(eng_lost(eng, no_piece, &n_pieces), 0);
    }
    eng_close(eng);
    io->ops = plain;
    io_posix_free(io);
    return n_read;
}

/* A batch far behind the end, in the segment of the log and in one without a header, where those of the log
 * follow it. */
static void claim_size(uint64_t hole)
{
    struct batch_header h = next_batch();
    char name[SEGMENT_NAME_SIZE], path[128];
    h.seq += 5;
    poke(place.name, place.offset + hole / 2 / 4096 * 4096, &h, sizeof h, hole);
    segment_name(place.segment + 1, name);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    (void)close(open(path, O_CREAT | O_WRONLY, 0600));
    poke(name, 4096, &h, sizeof h, hole);
    uint8_t *log;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, place.name, &log, &size), 0);
    poke(name, hole / 4096 / 2 * 4096, log + sizeof(struct segment_header),
         size - sizeof(struct segment_header), 0);
    free(log);
}

Test(claims, a_hole_takes_no_time)
{
    uint64_t before = read_by(false), lost_before = read_by(true);
    unsigned n_before = n_pieces;
    cr_assert_gt(n_before, 0);
    claim_size(UINT64_C(4) << 30);
    uint64_t after = read_by(false), lost_after = read_by(true);
    cr_expect_leq(after, before + (UINT64_C(32) << 20), "%llu MiB", (unsigned long long)after >> 20);
    cr_expect_gt(n_pieces, n_before, "what lies behind a hole is found");
    cr_expect_leq(lost_after, lost_before + (UINT64_C(32) << 20), "%llu MiB",
                  (unsigned long long)lost_after >> 20);
}

/* Under names of the echo, too; they are no more than their names say. */
Test(claims, holes_that_are_called_an_echo_take_no_time)
{
    uint64_t before = read_by(false);
    for (unsigned i = 0; i < 20; i++) {
        char name[ECHO_NAME_SIZE], path[128];
        echo_name(1000 + i, name);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        int fd = open(path, O_CREAT | O_WRONLY, 0600);
        cr_assert(fd >= 0 && ftruncate(fd, 2 * ECHO_FILE_BYTES) == 0);
        (void)close(fd);
    }
    uint64_t after = read_by(false);
    cr_assert_leq(after, before + 20 * (UINT64_C(512) << 10), "%llu MiB", (unsigned long long)after >> 20);
}

static int no_item(void *arg, const struct eng_dump_item *item)
{
    (void)item;
    ++*(unsigned *)arg;
    return 0;
}

Test(claims, what_a_dump_is_of)
{
    struct batch_header h = next_batch();
    unsigned n = 0;
    h.ops_len = CLAIM;
    h.extents_len = CLAIM - 4096;
    poke(place.name, place.offset, &h, sizeof h, HOLE);
    limit_memory();
    cr_assert_eq(eng_dump(folder, NULL, place.segment, true, no_item, &n), 0);
    cr_assert_gt(n, 2);
}

/* Of the checkpoint, in both copies: a footer whose own sum holds, and a root of that length. Of it there is
 * what a root begins with, `real` bytes; the rest is a hole. It claims so many files, each of 16 bytes. */
static void claim_root(size_t real)
{
    struct forgery f;
    struct image_footer footer = {.store = tag, .len = sizeof(struct piece_header) + CLAIM};
    uint32_t n_files = (CLAIM - 4096) / 16;
    forge_begin(&f, u.disk, tag);
    uint8_t head[sizeof f.head];
    size_t head_len = forge_head(&f, head), len = map_root_size(&f.map, head_len);
    uint8_t *root = calloc(1, len);
    cr_assert_not_null(root);
    map_root_encode(&f.map, head, head_len, root);
    memcpy(root + 20, &n_files, sizeof n_files); /* of its head */
    struct piece_ref ref = forge_piece(&f, PIECE_ROOT, root, (uint32_t)len);
    footer.id = ref.file;
    footer.offset = ref.offset;
    footer.piece_sum = ref.sum;
    footer_seal(&footer);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(ref.file, copy, name);
        poke(name, ref.offset, f.file.data + ref.offset, MIN_OF(real, (size_t)ref.len),
             ref.offset + footer.len);
        poke(name, ref.offset + footer.len, &footer, sizeof footer, 0);
    }
    free(root);
    buf_free(&f.file);
    map_free(&f.map);
}

Test(claims, a_root_that_is_a_hole)
{
    claim_root(0);
    expect_little();
}

Test(claims, a_root_of_which_the_beginning_is_right)
{
    claim_root(SIZE_MAX);
    expect_little();
}

#define PAGES 32768u /* of a chunk each that is claimed 256 times: entries of 4 GiB */

/* A root that is whole, and pages in a file that is a hole. */
static void claim_pages(unsigned table)
{
    struct forgery f;
    forge_begin(&f, u.disk, tag);
    cr_assert_lt(table, f.map.n_tables);
    uint64_t id = f.map.id + 1;
    cr_assert_eq(map_add_file(&f.map, id, HOLE), 0);
    cr_assert_eq(map_resize(&f.map, table, PAGES * MAP_PAGE_CHUNKS), 0);
    for (uint32_t p = 0; p < PAGES; p++)
        f.map.tables[table].pages[p].ref =
            (struct piece_ref){id, 0, 7, sizeof(struct piece_header) + MAP_PAGE_CHUNKS * 16, PIECE_PAGE};
    forge_end(&f);
    simdisk_each(u.disk, put_file, NULL);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE], path[128];
        image_name(id, copy, name);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        (void)close(open(path, O_CREAT | O_WRONLY, 0600));
        poke(name, 0, "", 1, HOLE);
    }
    expect_little();
}

Test(claims, pages_that_are_holes)
{
    claim_pages(TABLE_INODES);
}

/* Makes it a store with a history: its newest checkpoint has the tables of one. */
static void add_history(void)
{
    unit_open(&u);
    cr_assert_eq(store_set_history(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_each(u.disk, put_file, NULL);
}

Test(claims, pages_of_moments_that_are_holes)
{
    add_history();
    claim_pages(TABLE_MOMENTS);
}

/* Of the tables of a store with a history there are 12, and no more, however many there may be one day. */
Test(claims, more_tables_than_there_are)
{
    struct forgery f;
    add_history();
    forge_begin(&f, u.disk, tag);
    f.map.n_tables = MAP_TABLES_MAX;
    forge_end(&f);
    simdisk_each(u.disk, put_file, NULL);
    expect_little();
}

/* A summary behind the only segment, said to be as long as one of so large a file may be. */
static void claim_summary(void)
{
    struct summary_footer f = {.magic = SUMMARY_MAGIC,
                               .store = tag,
                               .segment = place.segment,
                               .n = HOLE / sizeof(struct extent_header),
                               .len = CLAIM * 3 / 8};
    f.sum = codec_hash(&f, offsetof(struct summary_footer, sum));
    cr_assert_eq(summary_footer_check(&f, place.segment, tag, HOLE), 0);
    poke(place.name, HOLE - sizeof f, &f, sizeof f, 0);
}

Test(claims, a_summary_that_is_a_hole)
{
    claim_summary();
    expect_little();
}

/* ---- what the engine writes itself ------------------------------------------------------- */

#define N_ATTRS ENG_XATTR_COUNT_MAX /* and a full list of names: of 31 bytes each, and its end */

/* The largest batch: all attributes that a record can have, over as many. It has room below the limit, and is
 * read again. */
Test(claims, the_largest_batch_of_all_is_none)
{
    static char names[N_ATTRS][32], values[XATTR_INLINE_MAX];
    static struct eng_xattr_pair pairs[N_ATTRS];
    for (unsigned i = 0; i < N_ATTRS; i++) {
        (void)snprintf(names[i], sizeof names[i], "user.%026u", i);
        pairs[i] = (struct eng_xattr_pair){.name = names[i], .value = values, .size = sizeof values};
    }
    struct eng_record rec = {.parent = 1, .name = "r", .mode = 0644, .xattrs = pairs, .n_xattrs = N_ATTRS};
    unit_open(&u);
    for (unsigned i = 0; i < 2; i++)
        cr_assert_eq(eng_put_many(u.eng, &rec, 1), 1, "%d", rec.result);
    const struct batch_header *h = (const void *)u.eng->log.scratch.data;
    cr_assert_gt(h->n_ops, 2 * N_ATTRS);
    cr_assert_lt(h->ops_len, BATCH_OPS_MAX / 2);
    uint64_t written = u.eng->log.seq;
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_geq(u.eng->log.seq, written);
    cr_assert_eq(eng_getxattr(u.eng, unit_lookup(&u, "r"), names[N_ATTRS - 1], NULL, 0), XATTR_INLINE_MAX);
}

/* ---- numbers ------------------------------------------------------------------------- */

/* What is claimed to have used all numbers up is not believed, and new segments can be made. */
static void expect_numbers(void)
{
    struct eng *eng = NULL;
    struct eng_attr attr;
    cr_assert_eq(open_folder(false, &eng), 0);
    expect_whole(eng);
    cr_assert_lt(eng->segments.next_id, 1000);
    cr_assert_eq(log_seal_locked(&eng->log), 0);
    cr_assert_eq(eng_create(eng, NULL, ENG_ROOT_INO, "new", S_IFREG | 0644, 0, NULL, &attr), 0);
    eng_close(eng);
}

static void claim_next_segment(uint64_t next)
{
    struct forgery f;
    forge_begin(&f, u.disk, tag);
    f.head.next_segment_id = next;
    forge_end(&f);
    simdisk_each(u.disk, put_file, NULL);
}

Test(claims, the_next_number_of_a_checkpoint)
{
    claim_next_segment(UINT32_MAX);
    expect_numbers();
}

Test(claims, a_next_number_beyond_all)
{
    claim_next_segment(UINT64_MAX);
    expect_numbers();
}

Test(claims, the_segment_of_the_last_batch)
{
    struct batch_header h = next_batch();
    struct op op = {.type = OP_SEGMENT, .ino = UINT32_MAX - 1};
    uint8_t bytes[sizeof h + 64];
    struct eng *eng = NULL;
    h.ops_len = (uint32_t)op_size(&op);
    h.n_ops = 1;
    op_encode(&op, bytes + sizeof h);
    h.sum = batch_sum(&h, bytes + sizeof h);
    memcpy(bytes, &h, sizeof h);
    poke(place.name, place.offset, bytes, sizeof h + h.ops_len, 0);
    cr_assert_eq(open_folder(false, &eng), -EBADMSG);
}
