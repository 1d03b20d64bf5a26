/*
 * test_proof.c - scrubs and checks prove what a recovery would need, from the medium, and make it good from
 * memory: whichever part of it is damaged while the store is open, whatever goes on meanwhile. */
#include "hook.h"
#include "inside.h"

#include "one_store.h"

#include "image/proof.h"

#include <criterion/criterion.h>

#define N_FILES 30

static char log_segment[SEGMENT_NAME_SIZE];
static uint64_t log_from, log_to; /* in it, the log behind the checkpoint */

static void put_files(struct unit *s, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        unit_file(s, (char[]){(char)('a' + i % 26), (char)('a' + i / 26), 0}, 100 * (size_t)i, i);
}

/* Survivors, checkpoints, and log behind the last. */
static void prepare(void)
{
    setup();
    put_files(&u, 0, N_FILES / 2);
    unit_write(&u, unit_lookup(&u, "ca"), 100, 1, 0);
    unit_write(&u, unit_lookup(&u, "ca"), 200, 2, 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    put_files(&u, N_FILES / 2, N_FILES - 4);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    put_files(&u, N_FILES - 4, N_FILES - 2);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    log_from = unit_log_place(&u).offset;
    put_files(&u, N_FILES - 2, N_FILES);
    cr_assert_eq(eng_sync(u.eng), 0);
    memcpy(log_segment, unit_log_place(&u).name, sizeof log_segment);
    log_to = unit_log_place(&u).offset;
}

TestSuite(proof, .init = prepare, .fini = teardown);

static void expect_whole(struct unit *s)
{
    for (unsigned i = 0; i < N_FILES; i++)
        cr_assert(unit_holds(s, unit_lookup(s, (char[]){(char)('a' + i % 26), (char)('a' + i / 26), 0}),
                             100 * (size_t)i, i),
                  "file %u", i);
    cr_assert_eq(unit_problems(s), 0);
}

static struct eng_recovery_figures scrub(struct unit *s)
{
    struct eng_job_report report;
    cr_assert_eq(eng_job_run(s->eng, ENG_JOB_SCRUB, NULL, &report), 0);
    return report.scrub.recovery;
}

static void record_damage(void *arg, const struct eng_damage *d)
{
    struct eng_damage *first = arg;
    if (!first->path[0])
        *first = *d;
}

static struct eng_damage first_damage(struct unit *s)
{
    struct eng_damage d = {0};
    cr_assert_eq(eng_damaged(s->eng, record_damage, &d), 0);
    return d;
}

/* ---- which parts ----------------------------------------------------------------------- */

struct place {
    char name[32];
    uint64_t at;
};

/* Calls `with` for every so manyth byte that a recovery reads. */
struct each_piece {
    uint64_t every;
    unsigned n;
    void (*with)(const struct place *place);
};

static int in_piece(void *arg, const struct piece_ref *ref, unsigned table, uint32_t chunk, uint32_t k)
{
    struct each_piece *e = arg;
    struct place place;
    uint64_t every = ref->kind == PIECE_ROOT ? e->every / 4 + 1 : e->every;
    (void)table;
    for (uint64_t b = (chunk + k) % 7; b < ref->len;
         b += b < sizeof(struct piece_header) ? 5 : every, e->n++) {
        image_name(ref->file, e->n % IMAGE_COPIES, place.name);
        place.at = ref->offset + b;
        e->with(&place);
    }
    return 0;
}

static unsigned each_place(uint64_t every, void (*with)(const struct place *place))
{
    struct each_piece e = {.every = every, .with = with};
    const struct image_map *map = &u.eng->checkpoints->images.map;
    struct place place;
    for (size_t i = 0; i < map->n_files; i++)
        (void)map_each_piece(map, map->files[i].id, in_piece, &e);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        image_name(map->id, copy, place.name);
        for (uint64_t back = 1; back <= sizeof(struct image_footer); back += every / 10 + 1, e.n++) {
            place.at = map_file(map, map->id)->size - back;
            with(&place);
        }
    }
    unsigned n = e.n;
    memcpy(place.name, log_segment, sizeof log_segment);
    struct batch_header h;
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, log_segment, &image, &size), 0);
    for (uint64_t at = log_from; at < log_to; at += sizeof h + h.ops_len + h.extents_len) {
        memcpy(&h, image + at, sizeof h);
        cr_assert_eq(h.magic, BATCH_MAGIC);
        for (uint64_t b = at % every; b < sizeof h + h.ops_len; b += every / 10 + 1, n++) {
            place.at = at + b;
            with(&place);
        }
    }
    free(image);
    for (uint32_t id = 0; (id = segments_after(&u.eng->segments, id)) > 0;) {
        segment_name(id, place.name);
        for (place.at = id % 7; place.at < sizeof(struct segment_header); place.at += every / 20 + 1, n++)
            with(&place);
    }
    (void)snprintf(place.name, sizeof place.name, SUPERBLOCK_FILE);
    for (place.at = 0; place.at < 2 * SUPERBLOCK_SIZE; place.at += every, n++)
        with(&place);
    return n;
}

/* A copy of the disk, open, with one byte of it wrong on the medium only. */
static void open_damaged(struct unit *c, const struct place *place, bool read_only)
{
    unit_clone(c, &u);
    c->opt.read_only = read_only;
    unit_open(c);
    cr_assert_eq(simdisk_rot(c->disk, place->name, place->at, 0x20), 0, "%s %llu", place->name,
                 (unsigned long long)place->at);
}

static void heal_one(const struct place *place)
{
    struct unit c;
    open_damaged(&c, place, false);
    struct eng_recovery_figures f = scrub(&c);
    cr_assert_geq(f.damaged, 1, "%s %llu: it is noticed", place->name, (unsigned long long)place->at);
    cr_assert_eq(f.healed, f.damaged, "%s %llu: and made good", place->name, (unsigned long long)place->at);
    cr_assert_geq(c.warnings, 1);
    cr_assert_eq(first_damage(&c).path[0], 0, "what was made good is not listed");
    cr_assert_eq(unit_stats(&c).recovery_healed, f.healed);
    cr_assert_eq(scrub(&c).damaged, 0);
    unit_kill(&c, SIM_DROP_ALL, 0);
    c.warnings = 0;
    unit_open(&c);
    cr_assert_eq(c.warnings, 0, "%s %llu: %s", place->name, (unsigned long long)place->at, c.last_warning);
    expect_whole(&c);
    unit_done(&c);
}

Test(proof, every_damaged_byte_is_made_good_from_memory)
{
    cr_assert_gt(each_place(37, heal_one), 400);
}

static void tell_one(const struct place *place)
{
    struct unit c;
    struct eng_job_report report;
    open_damaged(&c, place, true);
    uint64_t calls = simdisk_calls(c.disk, false);
    struct eng_recovery_figures f = scrub(&c);
    cr_assert_geq(f.damaged, 1, "%s %llu: it is noticed", place->name, (unsigned long long)place->at);
    cr_assert_eq(f.healed, 0);
    struct eng_damage d = first_damage(&c);
    cr_assert_eq(d.ino, 0);
    cr_assert_str_eq(d.path, place->name);
    cr_assert_eq(eng_job_run(c.eng, ENG_JOB_CHECK, NULL, &report), 0);
    cr_assert_geq(report.check.problems, 1);
    cr_assert_eq(report.check.recovery.damaged, f.damaged);
    cr_assert_eq(simdisk_calls(c.disk, false), calls, "a store for reading is not written to");
    unit_done(&c);
}

Test(proof, of_a_store_for_reading_every_damaged_byte_is_told)
{
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_gt(each_place(71, tell_one), 200);
}

Test(proof, a_whole_store_is_left_as_it_is)
{
    uint64_t calls = simdisk_calls(u.disk, false);
    cr_assert_eq(scrub(&u).damaged, 0);
    expect_whole(&u);
    cr_assert_eq(simdisk_calls(u.disk, false), calls);
    cr_assert_eq(u.warnings, 0);
}

/* ---- meanwhile -------------------------------------------------------------------------- */

static struct eng_io_ops ops;
static const struct eng_io_ops *real_ops;
static uint64_t reads, act_at;
static bool acting;
static void (*act)(void);

/* A checkpoint reads what it moves, and holds the lock that another would wait for. */
static bool checkpoint_is_written(void)
{
    bool written = pthread_mutex_trylock(&u.eng->checkpoints->lock) != 0;
    if (!written)
        pthread_mutex_unlock(&u.eng->checkpoints->lock);
    return written;
}

static ssize_t pread_and_act(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    if (!acting && !checkpoint_is_written() && ++reads == act_at) {
        acting = true;
        act();
        acting = false;
    }
    return real_ops->pread(file, buf, size, offset);
}

/* Scrubs the store, and does `fn` at the `nth` of its reads that are no checkpoint's; false: it has fewer. */
static bool scrub_and(uint64_t nth, void (*fn)(void), int expect, struct eng_recovery_figures *ret_figures)
{
    struct eng_io *io = simdisk_io(u.disk);
    struct eng_job_report report;
    real_ops = io->ops;
    ops = *real_ops;
    ops.pread = pread_and_act;
    reads = 0;
    act_at = nth;
    act = fn;
    io->ops = &ops;
    int r = eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report);
    io->ops = real_ops;
    cr_assert_eq(r, reads < nth ? 0 : expect);
    *ret_figures = report.scrub.recovery;
    return reads >= nth;
}

/* All that takes away what the scrub is about to read. It takes every lock, so none may be held. */
static void everything(void)
{
    unit_write(&u, unit_lookup(&u, "da"), 300, 3, 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_release(u.eng), 0);
}

Test(proof, what_goes_meanwhile_is_no_damage)
{
    struct eng_recovery_figures f;
    uint64_t nth = 1;
    for (; scrub_and(nth, everything, 0, &f); nth++) {
        cr_assert_eq(f.damaged, 0, "read %llu: %s", (unsigned long long)nth, u.last_warning);
        expect_whole(&u);
        teardown();
        prepare();
    }
    cr_assert_gt(nth, 15);
}

/* The checkpoint goes that the scrub has set out from, and the segments with the log behind it. */
static void age(void)
{
    unsigned before = unit_files(&u, ".seg", NULL);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_lt(unit_files(&u, ".seg", NULL), before);
}

/* A batch that the scrub is about to look at is damaged, with others before it and behind it. */
static void rot_what_ages(void)
{
    uint32_t first = unit_log_place(&u).segment;
    cr_assert_eq(checkpoint_write(u.eng), 0);
    uint64_t ino = unit_create(&u, "x");
    while (unit_log_place(&u).segment < first + 3) /* one of them holds nothing that is not replaced */
        unit_write(&u, ino, 30000, 5, 0);
    unit_write(&u, ino, 100, 5, 0);
    struct unit_place place = unit_log_place(&u);
    unit_create(&u, "y");
    unit_create(&u, "z");
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(simdisk_rot(u.disk, place.name, place.offset + 70, 1), 0);
}

/* A checkpoint that is written meanwhile has whatever the scrub was to look at: at the end a recovery finds
 * all that it needs, whether the damage was found or not. */
Test(proof, a_checkpoint_beside_it_leaves_no_damage)
{
    struct eng_recovery_figures f;
    bool acted = true;
    uint64_t nth = 1;
    unsigned found = 0;
    for (; acted; nth++) {
        rot_what_ages();
        acted = scrub_and(nth, age, 0, &f);
        found += f.damaged > 0;
        cr_assert(acted || f.damaged == 1);
        cr_assert_eq(f.healed, f.damaged);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_open(&u);
        cr_assert(unit_lookup(&u, "y") && unit_lookup(&u, "z"), "read %llu", (unsigned long long)nth);
        expect_whole(&u);
        teardown();
        prepare();
    }
    cr_assert_gt(nth, 20);
    cr_assert_geq(found, 1);
}

/* The checkpoint has its copy, so nothing of the log before it is needed. */
Test(proof, the_log_before_the_checkpoint_counts_no_more)
{
    teardown();
    setup();
    struct unit_place place = unit_log_place(&u);
    put_files(&u, 0, N_FILES);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(simdisk_rot(u.disk, place.name, place.offset + 70, 1), 0);
    struct eng_recovery_figures f = scrub(&u);
    cr_assert_eq(f.damaged, 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_whole(&u);
}

static void cancel(void)
{
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_SCRUB), 0);
}

Test(proof, passes_the_gate_between_its_steps)
{
    struct eng_recovery_figures f;
    put_files(&u, N_FILES, 10 * N_FILES); /* more than one step */
    cr_assert(scrub_and(2, cancel, -ECANCELED, &f));
    uint64_t few = reads;
    cr_assert(!scrub_and(UINT64_MAX, cancel, 0, &f));
    cr_assert_lt(few, reads, "it did not go on to the end");
    cr_assert_eq(f.damaged, 0);
}

/* ---- what cannot be read, what cannot be written -------------------------------------------- */

static char unreadable[64];
static struct io_file *unreadable_file;

static int open_and_note(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    int r = real_ops->open(io, name, flags, ret_file);
    if (!r && strcmp(name, unreadable) == 0)
        unreadable_file = *ret_file;
    return r;
}

static void close_and_note(struct io_file *file)
{
    if (file == unreadable_file)
        unreadable_file = NULL;
    real_ops->close(file);
}

static ssize_t pread_or_fail(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    return file == unreadable_file ? -EIO : real_ops->pread(file, buf, size, offset);
}

static void unreadable_one(void *arg, const char *name, uint64_t size)
{
    struct unit c;
    (void)size;
    if (strcmp(name, "reserve") == 0)
        return;
    ++*(unsigned *)arg;
    unit_clone(&c, &u);
    unit_open(&c);
    struct eng_io *io = simdisk_io(c.disk);
    (void)snprintf(unreadable, sizeof unreadable, "%s", name);
    real_ops = io->ops;
    ops = *real_ops;
    ops.open = open_and_note;
    ops.close = close_and_note;
    ops.pread = pread_or_fail;
    io->ops = &ops;
    struct eng_recovery_figures f = scrub(&c);
    cr_assert_geq(f.damaged, 1, "%s", name);
    if (*name == 'e') /* a checkpoint takes it away */
        cr_assert_eq(f.healed, f.damaged, "%s", name);
    else if (*name != 'c' || !strstr(name, ".c")) /* a copy cannot be mended while it cannot be read */
        cr_assert_str_eq(first_damage(&c).path, name);
    io->ops = real_ops;
    cr_assert_eq(scrub(&c).damaged, 0);
    cr_assert_eq(first_damage(&c).path[0], 0, "%s: it can be read again", name);
    unit_done(&c);
}

Test(proof, a_file_that_cannot_be_read_is_damage)
{
    unsigned n = 0;
    cr_assert_eq(eng_config_set(u.eng, "auto_compact", "0"), 0);
    simdisk_each(u.disk, unreadable_one, &n);
    cr_assert_geq(n, 6);
}

Test(proof, what_the_disk_refuses_to_heal_is_healed_later)
{
    char name[64];
    (void)unit_files(&u, ".ckp", name);
    for (uint64_t nth = 1;; nth++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        cr_assert_eq(simdisk_flip(c.disk, name, 100, 1), 0);
        cr_assert_eq(simdisk_flip(c.disk, SUPERBLOCK_FILE, 8, 1), 0);
        simdisk_fail(c.disk, SIM_ANY_CALL, nth, EIO);
        struct eng_recovery_figures f = scrub(&c);
        bool met = !simdisk_fault_waits(c.disk);
        simdisk_fail(c.disk, SIM_ANY_CALL, 0, 0);
        cr_assert_geq(f.damaged, 2);
        if (!is_read_only(c.eng)) {
            f = scrub(&c);
            cr_assert_eq(f.healed, f.damaged, "call %llu", (unsigned long long)nth);
        }
        unit_kill(&c, SIM_KEEP_ALL, 0);
        unit_open(&c);
        expect_whole(&c);
        unit_done(&c);
        if (!met)
            break;
    }
}

/* What nobody has asked the disk for since lies there damaged, although memory shows it whole. */
Test(proof, reads_the_medium_and_not_the_cache)
{
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_rot(u.disk, SUPERBLOCK_FILE, 9, 1), 0);
    cr_assert_eq(simdisk_get(u.disk, SUPERBLOCK_FILE, &image, &size), 0);
    struct superblock sb;
    memcpy(&sb, image, sizeof sb);
    cr_assert_eq(sb.sum, codec_hash(&sb, offsetof(struct superblock, sum)), "the cache has it whole");
    cr_assert_eq(scrub(&u).healed, 1);
    free(image);
}

/* The kernel tells of a lost write once for an open file: here the sync of the mended header is told, and
 * what it may have lost is what a caller has yet to sync. */
Test(proof, lost_writes_that_a_mend_is_told_of_are_everybodys)
{
    uint64_t ino = unit_file(&u, "unsynced", 5000, 7);
    cr_assert_eq(simdisk_flip(u.disk, log_segment, 20, 0x10), 0);
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    cr_assert_eq(scrub(&u).damaged, 1);
    cr_assert_not(simdisk_fault_waits(u.disk));
    cr_assert(is_read_only(u.eng));
    cr_assert_neq(unit_stats(&u).read_only_reason[0], 0);
    cr_assert_eq(eng_fsync(u.eng, ino), -EIO);
    cr_assert_eq(eng_sync(u.eng), -EIO);
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_whole(&u);
    cr_assert_eq(unit_lookup(&u, "unsynced"), 0, "it is lost, as was told");
}
