/*
 * test_rest.c - a store that answers before all of its index is loaded and verified. What it says is right or
 * an error, whatever is damaged and whatever fails meanwhile; what fails once is asked for again; damage that
 * is found late ends all answers. Nothing goes or is written that only an index that was verified may say. */
#include "inside.h"

#include "image_files.h"
#include "must.h"
#include "rng.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <sched.h>

#define FILES 2600u

static struct unit u;
static uint64_t inos[FILES];

static const char *name_of(unsigned i)
{
    static _Thread_local char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

static bool has_tree(unsigned i)
{
    return i % 3 == 0;
}

/* Several chunks of inodes and dentries, extents in the inode and in the tree, xattrs; in deltas and in
 * images. */
static void setup(void)
{
    rest_from = UINT64_MAX;
    unit_new(&u, 1 << 20);
    for (unsigned i = 0; i < FILES; i++) {
        inos[i] = unit_file(&u, name_of(i), 64, i);
        if (i % 5 == 0)
            MUST(eng_setxattr(u.eng, inos[i], "user.number", &i, sizeof i, 0) == 0);
    }
    MUST(checkpoint_write(u.eng) == 0);
    for (unsigned i = 0; i < FILES; i += 3)
        unit_write(&u, inos[i], 64, i + FILES, 8192);
    unit_close(&u);
    rest_from = 0;
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(rest, .init = setup, .fini = teardown, .timeout = 600);

/* ---- looking --------------------------------------------------------------------------------- */

static int look_content(struct unit *c, unsigned i, const struct eng_attr *attr)
{
    uint8_t buf[64], want[64], end[64];
    MUST(attr->ino == inos[i] && attr->size == (has_tree(i) ? 8192 + 64 : 64));
    rng_fill(want, sizeof want, i);
    rng_fill(end, sizeof end, i + FILES);
    ssize_t n = eng_read(c->eng, inos[i], buf, sizeof buf, 0);
    if (n >= 0)
        MUST(n == sizeof buf && memcmp(buf, want, sizeof buf) == 0);
    if (n >= 0 && has_tree(i)) {
        n = eng_read(c->eng, inos[i], buf, sizeof buf, 8192);
        if (n >= 0)
            MUST(n == sizeof buf && memcmp(buf, end, sizeof buf) == 0);
    }
    return (int)MIN_OF(n, 0);
}

static int look_xattr(struct unit *c, unsigned i)
{
    unsigned value;
    ssize_t n = eng_getxattr(c->eng, inos[i], "user.number", &value, sizeof value);
    if (i % 5 || n < 0)
        return n == -ENODATA && i % 5 ? 0 : (int)n;
    MUST(n == sizeof value && value == i);
    return 0;
}

/* 0: all that the store says of the file is right; else its error. What is wrong, or not there, is neither.
 */
static int look(struct unit *c, unsigned i)
{
    struct eng_attr attr;
    int r = eng_lookup(c->eng, NULL, ENG_ROOT_INO, name_of(i), &attr);
    if (!r)
        r = look_content(c, i, &attr);
    if (!r)
        r = look_xattr(c, i);
    MUST(r != -ENOENT && r != -ESTALE && r != -ENODATA && r != -EBADMSG);
    return r;
}

struct seen {
    unsigned n;
};

static int see(void *arg, const struct eng_dirent *entry)
{
    ((struct seen *)arg)->n += entry->name[0] == 'f';
    return 0;
}

/* The listing is whole, or an error. */
static int look_at_list(struct unit *c)
{
    struct seen seen = {0};
    int r = eng_readdir(c->eng, NULL, ENG_ROOT_INO, 0, see, &seen);
    MUST(r || seen.n == FILES);
    return r;
}

static unsigned absent(struct eng *eng)
{
    unsigned n = 0;
    for (unsigned t = 0; t < INDEX_TABLES; t++) {
        struct table *table = index_table(&eng->idx, t);
        for (uint32_t c = 0; c < table->n_chunks; c++)
            n += table->states[c] == TABLE_ABSENT;
    }
    return n;
}

static bool is_dead(struct unit *c)
{
    struct eng_attr attr;
    struct eng_stats st = unit_stats(c);
    return st.read_only_reason[0] && eng_getattr(c->eng, ENG_ROOT_INO, &attr) == -EIO &&
           look_at_list(c) == -EIO && look(c, 7) == -EIO &&
           eng_create(c->eng, NULL, ENG_ROOT_INO, "new", S_IFREG | 0644, 0, NULL, NULL) == -EIO &&
           eng_job_run(c->eng, ENG_JOB_SCRUB, NULL, NULL) == -EIO;
}

/* ---- what is needed first -------------------------------------------------------------------- */

Test(rest, an_answer_takes_what_it_needs)
{
    unit_open(&u);
    unsigned all = absent(u.eng);
    MUST(all >= 10 && !loading_is_done(&u.eng->loading));
    MUST(unit_stats(&u).index_unverified_bytes >= all * (uint64_t)TABLE_CHUNK_SIZE);
    MUST(look(&u, 1700) == 0);
    unsigned after = absent(u.eng);
    cr_assert(after < all && after >= 5, "%u chunks of %u are not here", after, all);
    MUST(eng_tick(u.eng) == 0 && loading_is_done(&u.eng->loading) && absent(u.eng) == 0);
    MUST(unit_stats(&u).index_unverified_bytes == 0);
    for (unsigned i = 0; i < FILES; i++)
        MUST(look(&u, i) == 0);
    MUST(look_at_list(&u) == 0 && unit_problems(&u) == 0);
}

/* The log behind the checkpoint changes a file in each of the first n chunks of inodes. */
static void change_and_kill(unsigned n)
{
    unit_open(&u);
    MUST(eng_tick(u.eng) == 0);
    for (unsigned i = 0; i < n * 512; i += 512)
        unit_write(&u, inos[i], 64, i, 0);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_KEEP_ALL, 1);
}

/* After a kill the log changes some chunks; the others are not needed for that. */
Test(rest, a_replay_takes_what_it_changes)
{
    change_and_kill(1);
    unit_open(&u);
    cr_assert_geq(absent(u.eng), 6u);
    for (unsigned i = 0; i < FILES; i++)
        MUST(look(&u, i) == 0);
    MUST(eng_tick(u.eng) == 0 && unit_problems(&u) == 0);
}

/* ---- damage ------------------------------------------------------------------------------------ */

/* Calls `with` for each piece of a chunk, on a copy of the disk in which the piece is altered in one copy of
 * its file or (IMAGE_COPIES) in both. */
static unsigned each_piece(unsigned copy, void (*with)(struct unit *c, unsigned table))
{
    struct {
        struct piece_ref ref;
        unsigned table;
    } pieces[128];
    unsigned n = 0;
    uint64_t rng = test_seed();
    unit_open(&u);
    const struct image_map *map = &u.eng->checkpoints->images.map;
    for (unsigned t = 0; t < INDEX_TABLES_PLAIN; t++)
        for (uint32_t c = 0; c < map->tables[t].n_chunks; c++)
            for (uint32_t k = 0; k < map->tables[t].entries[c].n_refs && n < 128; k++)
                pieces[n++] = (typeof(pieces[0])){map->tables[t].entries[c].refs[k], t};
    unit_close(&u);
    for (unsigned i = 0; i < n; i++) {
        struct unit c;
        char name[IMAGE_NAME_SIZE];
        uint64_t at = pieces[i].ref.offset + rng_below(&rng, pieces[i].ref.len);
        uint8_t bit = (uint8_t)(1u << rng_below(&rng, 8));
        unit_clone(&c, &u);
        for (unsigned k = 0; k < IMAGE_COPIES; k++) {
            image_name(pieces[i].ref.file, k, name);
            if (copy == k || copy == IMAGE_COPIES)
                MUST(simdisk_flip(c.disk, name, at, bit) == 0);
        }
        with(&c, pieces[i].table);
        unit_done(&c);
    }
    return n;
}

static bool first_copy;

/* Of one copy: nobody notices but who looks after the store. */
static void flipped_once(struct unit *c, unsigned table)
{
    (void)table;
    unit_open(c);
    MUST(look_at_list(c) == 0);
    for (unsigned i = 0; i < FILES; i += 7)
        MUST(look(c, i) == 0);
    MUST(eng_tick(c->eng) == 0 && loading_is_done(&c->eng->loading));
    MUST(look(c, 11) == 0);
    /* nobody needs the second copy, until a scrub comes to it */
    cr_assert_eq(strstr(c->last_warning, "stands in for it") != NULL, first_copy, "%s", c->last_warning);
    unit_close(c);
    rest_from = UINT64_MAX;
    unit_open(c);
    MUST(eng_job_run(c->eng, ENG_JOB_SCRUB, NULL, NULL) == 0 && unit_problems(c) == 0);
    rest_from = 0;
}

Test(rest, a_bit_of_one_copy_costs_nothing)
{
    first_copy = true;
    cr_assert_gt(each_piece(0, flipped_once), 12);
    first_copy = false;
    cr_assert_gt(each_piece(1, flipped_once), 12);
}

static unsigned n_right, n_dead;

/* Of both: what lies there is an error from the first answer on, then all is. */
static void flipped_twice(struct unit *c, unsigned table)
{
    unit_open(c);
    /* What the opening itself needs it has from the checkpoint before, or from the log. */
    if (c->eng->checkpoints->images.map.id < image_files_newest(c->disk)) {
        MUST(eng_tick(c->eng) == 0);
    } else if (!loading_is_done(&c->eng->loading)) {
        int error = 0;
        for (unsigned i = 0; i < FILES && !error; i++) {
            error = look(c, i);
            MUST(error == 0 || error == -EIO);
            n_right += !error;
        }
        /* what nobody of them needs (free cells, say) the loader finds */
        MUST(eng_tick(c->eng) == -EIO || error);
        MUST(rest_await(c->eng) == -EIO && is_dead(c));
        MUST(strstr(unit_stats(c).read_only_reason, "the index is damaged") != NULL);
        n_dead++;
        (void)eng_close(c->eng);
        c->eng = NULL;
        unit_open(c); /* the next run finds it early, and has all of it from the log */
    }
    MUST(loading_is_done(&c->eng->loading) && look_at_list(c) == 0);
    for (unsigned i = 0; i < FILES; i += 13)
        MUST(look(c, i) == 0);
    unit_reopen(c);
    MUST(!loading_is_done(&c->eng->loading) && eng_tick(c->eng) == 0 && unit_problems(c) == 0);
    (void)table;
}

Test(rest, what_both_copies_have_lost_ends_all_answers)
{
    unsigned n = each_piece(IMAGE_COPIES, flipped_twice);
    cr_assert(n > 12 && n_dead > 10 && n_right > FILES, "%u pieces, %u found late, %u right before", n,
              n_dead, n_right);
}

/* Read-only, nothing could be noted for the next run: it is found before anybody is answered. */
static void flipped_read_only(struct unit *c, unsigned table)
{
    (void)table;
    c->opt.read_only = true;
    for (unsigned life = 0; life < 2; life++) {
        unit_open(c);
        MUST(rest_await(c->eng) == 0 && look_at_list(c) == 0);
        for (unsigned i = 0; i < FILES; i += 13)
            MUST(look(c, i) == 0);
        unit_close(c);
    }
}

Test(rest, what_both_copies_have_lost_is_found_early_where_nothing_is_written)
{
    cr_assert_gt(each_piece(IMAGE_COPIES, flipped_read_only), 12);
}

/* ---- sums that are right ------------------------------------------------------------------------- */

/* The store has a checkpoint of an index that `alter` has altered. */
static void forge(void (*alter)(struct index *idx))
{
    self_check_is_forged = true;
    rest_from = UINT64_MAX;
    unit_open(&u);
    unit_write(&u, inos[1], 64, 1, 0);
    alter(&u.eng->idx);
    MUST(checkpoint_write(u.eng) == 0);
    struct unit c;
    unit_clone(&c, &u); /* as it is after a kill; closing would go by what was altered */
    unit_done(&u);
    u = c;
    u.opt.log_arg = &u;
    rest_from = 0;
}

static struct inode_rec *inode_of(struct index *idx, unsigned i)
{
    MUST(chunk_pool_reserve(idx->pool, 1) == 0);
    return table_mut(&idx->inodes, ino_slot(inos[i]));
}

static void count_wrong(struct index *idx)
{
    inode_of(idx, 2000)->nlink++;
}

/* It says so before it is known, and nothing that destroys or writes comes before that. */
Test(rest, an_index_that_does_not_fit_together_is_found_late)
{
    char name[64];
    forge(count_wrong);
    unit_open(&u);
    MUST(look(&u, 3) == 0);
    unsigned images = unit_files(&u, ".ckp", name);
    MUST(checkpoint_write(u.eng) == -EBUSY);
    MUST(unit_files(&u, ".ckp", NULL) == images);
    MUST(eng_tick(u.eng) == -EIO && is_dead(&u));
    (void)eng_close(u.eng);
    u.eng = NULL;
    MUST(unit_files(&u, ".ckp", NULL) == images);
    unit_open(&u); /* which finds it early, and has the log */
    MUST(loading_is_done(&u.eng->loading) && look(&u, 2000) == 0 && unit_problems(&u) == 0);
}

static void lead_astray(struct index *idx)
{
    inode_of(idx, 2000)->size = ENG_FILE_SIZE_MAX + 1; /* no file is so long, whatever else is right */
}

/* Who answered before a chunk is looked at would tell of it. */
Test(rest, a_record_that_cannot_be_is_not_believed_for_a_moment)
{
    forge(lead_astray);
    unit_open(&u);
    MUST(look(&u, 3) == 0);
    cr_assert_eq(look(&u, 2000), -EIO);
    MUST(rest_await(u.eng) == -EIO && is_dead(&u));
}

static void empty_segment(struct index *idx)
{
    uint32_t slot = index_segment_slot(idx, 1);
    MUST(slot && chunk_pool_reserve(idx->pool, 1) == 0);
    struct seg_rec *seg = table_mut(&idx->segs, slot);
    idx->s.live -= seg->live;
    seg->live = 0;
    seg->n_live = 0;
}

/* The records of segments say that nothing is live in one; the inodes, not looked at yet, say otherwise. */
Test(rest, no_segment_goes_on_the_word_of_an_index_that_is_not_verified)
{
    forge(empty_segment);
    unit_open(&u);
    MUST(unit_has_segment(&u, 1));
    MUST(retire_segments(u.eng) == 0);
    MUST(unit_has_segment(&u, 1) && look(&u, 3) == 0);
    MUST(eng_tick(u.eng) == -EIO);
    (void)eng_close(u.eng);
    u.eng = NULL;
    MUST(unit_has_segment(&u, 1));
}

/* ---- what waits ---------------------------------------------------------------------------------- */

/* An inode that lost its last name while it was open, and a segment that the log does not know. */
Test(rest, what_an_earlier_run_left_goes_once_it_is_verified)
{
    struct eng_attr attr;
    const struct eng_caller kernel = {.ref = true};
    uint8_t *segment;
    size_t size;
    rest_from = UINT64_MAX;
    unit_open(&u);
    MUST(eng_lookup(u.eng, &kernel, ENG_ROOT_INO, name_of(9), &attr) == 0);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(9)) == 0 && eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_KEEP_ALL, 1);
    MUST(simdisk_get(u.disk, "s00000001.seg", &segment, &size) == 0);
    struct segment_header h;
    memcpy(&h, segment, sizeof h);
    free(segment);
    h.id = 0x77;
    h.first_seq = 1u << 30;
    segment_header_seal(&h, FORMAT_VERSION);
    simdisk_put(u.disk, "s00000077.seg", &h, sizeof h);
    rest_from = 0;
    unit_open(&u);
    MUST(u.eng->idx.n_orphans == 1 && orphans_queued(u.eng) == 0 && unit_has_segment(&u, 0x77));
    MUST(eng_tick(u.eng) == 0);
    MUST(!unit_has_segment(&u, 0x77) && unit_stats(&u).orphans == 0);
    MUST(eng_getattr(u.eng, attr.ino, &attr) == -ESTALE && unit_problems(&u) == 0);
}

/* A store that is closed before it is verified has its changes in the log. */
Test(rest, a_life_that_was_never_verified_loses_nothing)
{
    for (unsigned life = 0; life < 4; life++) {
        unit_open(&u);
        MUST(!loading_is_done(&u.eng->loading));
        unit_write(&u, inos[100 + life], 64, 100 + life, 0);
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, name_of(200 + life), ENG_ROOT_INO, "away", 0) == 0);
        MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, "away", ENG_ROOT_INO, name_of(200 + life), 0) == 0);
        unit_close(&u);
    }
    unit_open(&u);
    MUST(eng_tick(u.eng) == 0);
    for (unsigned i = 0; i < FILES; i++)
        MUST(look(&u, i) == 0);
    MUST(unit_problems(&u) == 0);
}

/* ---- what fails once ------------------------------------------------------------------------------- */

/* Reads of image files that fail, counted from when `from` was set: `span` of them from that one on. */
static struct {
    const struct eng_io_ops *ops;
    struct eng_io_ops failing;
    struct io_file *images[64];
    uint64_t n, from, span;
    int error;
    bool opens; /* they are not even opened */
} fault;

static bool fails(void)
{
    return fault.from && ++fault.n >= fault.from && fault.n < fault.from + fault.span;
}

static int fault_open(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    bool image = strstr(name, ".ckp") || strstr(name, ".cpy");
    if (image && fault.opens && fails())
        return -fault.error;
    int r = fault.ops->open(io, name, flags, ret_file);
    for (size_t i = 0; i < ARRAY_LEN(fault.images) && image && !r; i++) {
        if (!fault.images[i]) {
            fault.images[i] = *ret_file;
            break;
        }
    }
    return r;
}

static void fault_close(struct io_file *file)
{
    for (size_t i = 0; i < ARRAY_LEN(fault.images); i++)
        if (fault.images[i] == file)
            fault.images[i] = NULL;
    fault.ops->close(file);
}

static ssize_t fault_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    for (size_t i = 0; i < ARRAY_LEN(fault.images); i++)
        if (fault.images[i] == file && !fault.opens && fails())
            return -fault.error;
    return fault.ops->pread(file, buf, size, offset);
}

static void fault_install(struct unit *c)
{
    fault.ops = c->opt.io->ops;
    fault.failing = *fault.ops;
    fault.failing.open = fault_open;
    fault.failing.close = fault_close;
    fault.failing.pread = fault_pread;
    c->opt.io->ops = &fault.failing;
    memset(fault.images, 0, sizeof fault.images);
    fault.from = fault.n = 0;
}

static void fault_begin(struct unit *c, uint64_t from, uint64_t span, int error, bool opens)
{
    fault_install(c);
    unit_open(c);
    fault.from = from;
    fault.span = span;
    fault.error = error;
    fault.opens = opens;
    if (opens)
        images_close(&c->eng->checkpoints->images, 0);
}

/* Whether it came to all that were to fail. */
static bool fault_end(struct unit *c)
{
    bool all = fault.n >= fault.from + fault.span;
    fault.from = 0;
    MUST(!chunk_pool_lost(c->eng->idx.pool) && !chunk_pool_poisoned(c->eng->idx.pool));
    MUST(eng_tick(c->eng) == 0);
    return all;
}

static const struct {
    int error;
    bool opens;
} faults[] = {{EIO, false}, {ENOMEM, false}, {EMFILE, true}, {ENOMEM, true}};

/* Each read of each look fails, of one copy and of both: an error at most, and right the next time. What one
 * copy cannot give for want of a disk the other does. */
Test(rest, a_read_that_fails_is_made_again)
{
    unsigned failed[2] = {0};
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        for (uint64_t span = 1; span <= 2; span++) {
            bool more = true;
            for (uint64_t from = 1; more && from < 100; from++) {
                fault_begin(&u, from, span, faults[f].error, faults[f].opens);
                for (unsigned i = 1; i < FILES; i += 300) {
                    int r = look(&u, i);
                    MUST(r == 0 || r == -faults[f].error);
                    failed[span - 1] += r == -EIO;
                    MUST(!r || look(&u, i) == 0 || look(&u, i) == 0);
                }
                more = fault_end(&u);
                unit_close(&u);
                u.opt.io->ops = fault.ops;
            }
        }
    }
    cr_assert(failed[0] == 0 && failed[1] > 5, "%u, %u failed", failed[0], failed[1]);
}

#define CHANGES 5u

static int change(struct unit *c, unsigned k)
{
    struct eng_attr attr;
    ssize_t n;
    switch (k) {
    case 0:
        return eng_create(c->eng, NULL, ENG_ROOT_INO, "new", S_IFREG | 0644, 0, NULL, &attr);
    case 1:
        return eng_rename(c->eng, NULL, ENG_ROOT_INO, name_of(1500), ENG_ROOT_INO, "other", 0);
    case 2:
        n = eng_write(c->eng, inos[900], "12345", 5, 4096);
        return (int)MIN_OF(n, 0);
    case 3:
        return eng_setxattr(c->eng, inos[2000], "user.number", "x", 1, 0);
    default:
        return eng_unlink(c->eng, ENG_ROOT_INO, name_of(2400));
    }
}

/* The same of changes: one that fails has changed nothing, and no part of the index is lost by it. */
Test(rest, a_change_whose_read_fails_can_be_made_again)
{
    unsigned failed[2] = {0};
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        for (uint64_t span = 1; span <= 2; span++) {
            bool more = true;
            for (uint64_t from = 1; more && from < 100; from++) {
                struct unit c;
                unit_clone(&c, &u);
                fault_begin(&c, from, span, faults[f].error, faults[f].opens);
                for (unsigned k = 0; k < CHANGES; k++) {
                    int r = change(&c, k);
                    cr_assert(r == 0 || r == -faults[f].error, "%u: %d, from %u", k, r, (unsigned)from);
                    failed[span - 1] += r == -EIO;
                    MUST(!r || change(&c, k) == 0 || change(&c, k) == 0);
                }
                more = fault_end(&c);
                MUST(unit_lookup(&c, "new") && unit_lookup(&c, "other") == inos[1500]);
                MUST(!unit_lookup(&c, name_of(1500)) && !unit_lookup(&c, name_of(2400)));
                MUST(unit_problems(&c) == 0);
                unit_done(&c);
            }
        }
    }
    cr_assert(failed[0] == 0 && failed[1] > 5, "%u, %u failed", failed[0], failed[1]);
}

/* A checkpoint is due, and the index that it needs does not come: who closes the store waits for neither. */
/* No read succeeds any more: it asks for one, or had all that it needs before. */
static bool loader_is_stuck(void)
{
    uint64_t before = simdisk_calls_of(u.disk, SIM_PREAD);
    while (!loading_is_done(&u.eng->loading) && simdisk_calls_of(u.disk, SIM_PREAD) == before)
        (void)sched_yield();
    return !loading_is_done(&u.eng->loading);
}

Test(rest, a_store_that_cannot_be_loaded_can_be_closed, .timeout = 60)
{
    unit_open(&u);
    MUST(eng_config_set(u.eng, "checkpoint_bytes", "4096") == 0);
    for (unsigned i = 0; i < 4; i++)
        unit_write(&u, inos[i], 64, i, 0);
    unit_close(&u);
    u.opt.no_background = false;
    bool due = false;
    for (unsigned round = 0; !due && round < 50; round++) {
        unit_open(&u);
        unit_write(&u, inos[4], 8000, 4, 0);
        MUST(eng_sync(u.eng) == 0);
        simdisk_fail_always(u.disk, SIM_PREAD, ENOMEM);
        due = checkpoint_is_due(u.eng) && loader_is_stuck();
        MUST(eng_close(u.eng) == 0);
        u.eng = NULL;
        simdisk_fail_always(u.disk, SIM_PREAD, 0);
    }
    u.opt.no_background = true;
    unit_open(&u);
    MUST(due && eng_tick(u.eng) == 0 && look(&u, 3) == 0 && unit_problems(&u) == 0);
}

/* ---- what a replay misses ---------------------------------------------------------------------------- */

/* Both copies of many chunks are damaged, in a store whose log has all: as an opening does that loads all of
 * them first, each lazy one finds another way, for writing and without. */
Test(rest, what_a_replay_misses_is_looked_for_elsewhere)
{
    struct unit c;
    char name[IMAGE_NAME_SIZE];
    rest_from = UINT64_MAX;
    unit_new(&c, 0);
    for (unsigned i = 0; i < FILES; i++)
        (void)unit_file(&c, name_of(i), 10, i);
    MUST(checkpoint_write(c.eng) == 0);
    for (unsigned i = 0; i < FILES; i += 9)
        MUST(eng_unlink(c.eng, ENG_ROOT_INO, name_of(i)) == 0);
    MUST(eng_sync(c.eng) == 0);
    unit_kill(&c, SIM_KEEP_ALL, 1);
    uint64_t id = image_files_newest(c.disk);
    for (unsigned k = 0; k < IMAGE_COPIES; k++) {
        image_name(id, k, name);
        uint64_t size = unit_file_size(&c, name);
        MUST(size > 200000);
        for (uint64_t at = 70000; at < size * 3 / 4; at += 30000) /* behind the root's chunk */
            MUST(simdisk_flip(c.disk, name, at, 1) == 0);
    }
    rest_from = 0;
    for (unsigned life = 0; life < 6; life++) {
        c.opt.read_only = life % 3 != 1;
        cr_assert_eq(unit_try_open(&c), 0, "life %u: %s", life, c.why);
        MUST(rest_await(c.eng) == 0 && !unit_lookup(&c, name_of(9)) && unit_lookup(&c, name_of(10)));
        MUST(unit_holds(&c, unit_lookup(&c, name_of(FILES - 1)), 10, FILES - 1));
        unit_kill(&c, SIM_KEEP_ALL, 1);
    }
    unit_done(&c);
}

/* What does not pass ends it, once the loader has tried for long enough; the next opening may have it. */
Test(rest, a_disk_that_cannot_be_read_is_given_up)
{
    unit_open(&u);
    simdisk_fail_always(u.disk, SIM_PREAD, EIO);
    MUST(look(&u, 5) == -EIO);
    MUST(rest_await(u.eng) == -EIO);
    simdisk_fail_always(u.disk, SIM_PREAD, 0);
    cr_assert(strstr(unit_stats(&u).read_only_reason, "cannot be loaded") != NULL, "%s",
              unit_stats(&u).read_only_reason);
    MUST(is_dead(&u));
    (void)eng_close(u.eng);
    u.eng = NULL;
    unit_open(&u);
    MUST(look(&u, 5) == 0 && eng_tick(u.eng) == 0);
}

/* ---- a long replay --------------------------------------------------------------------------------- */

/* What the newest checkpoint has of the last chunk of inodes, or of the first. */
static struct map_entry entry_of(bool last)
{
    struct unit c;
    unit_clone(&c, &u);
    unit_open(&c);
    const struct map_table *inodes = &c.eng->checkpoints->images.map.tables[TABLE_INODES];
    MUST(inodes->n_chunks >= 4);
    struct map_entry entry = inodes->entries[last ? inodes->n_chunks - 1 : 0];
    unit_done(&c);
    return entry;
}

static void look_at_all(void)
{
    MUST(look_at_list(&u) == 0);
    for (unsigned i = 0; i < FILES; i++)
        MUST(look(&u, i) == 0);
}

/* Then it goes on with all of them here; they are not verified together before the store is open. */
Test(rest, a_replay_that_needs_many_chunks_takes_all)
{
    change_and_kill(1);
    rest_many = 0;
    unit_open(&u);
    MUST(absent(u.eng) == 0 && !loading_is_done(&u.eng->loading));
    look_at_all();
    MUST(eng_tick(u.eng) == 0 && loading_is_done(&u.eng->loading) && unit_problems(&u) == 0);
    unit_reopen(&u); /* without a log nothing is needed */
    MUST(absent(u.eng) >= 10);
}

/* What is damaged in a chunk that came with the others is damage now, not when somebody needs it; whether all
 * were fetched before the replay, or while it went on. */
static void find_damage(unsigned n)
{
    change_and_kill(n);
    struct map_entry entry = entry_of(true);
    for (unsigned copy = 0; copy < IMAGE_COPIES; copy++) {
        char name[IMAGE_NAME_SIZE];
        image_name(entry.refs[0].file, copy, name);
        MUST(simdisk_flip(u.disk, name, entry.refs[0].offset + entry.refs[0].len / 2, 1) == 0);
    }
    rest_many = 0;
    unit_open(&u); /* which begins anew, and has all of it from the log */
    cr_assert(strstr(u.all_warnings, "cannot be used") != NULL, "%s", u.all_warnings);
    MUST(loading_is_done(&u.eng->loading) && look_at_list(&u) == 0);
    unit_reopen(&u);
    MUST(eng_tick(u.eng) == 0 && unit_problems(&u) == 0);
}

Test(rest, what_a_long_replay_finds_damaged_is_not_passed_by)
{
    find_damage(1);
}

Test(rest, what_is_found_damaged_before_a_long_replay_is_not_passed_by)
{
    find_damage(4);
}

/* A read that fails meanwhile, of one copy or both: the chunk is asked for again when somebody needs it. */
Test(rest, a_long_replay_whose_reads_fail)
{
    unsigned opened = 0, refused = 0;
    change_and_kill(1);
    rest_many = 0;
    for (uint64_t k = 0; k < 160; k++) {
        struct unit c;
        unit_clone(&c, &u);
        fault_install(&c);
        fault.error = EIO;
        fault.opens = false;
        fault.span = 1 + k % 2;
        fault.from = 1 + k / 2;
        int r = unit_try_open(&c);
        fault.from = 0;
        cr_assert(r == 0 || r == -EIO, "%d at %u: %s", r, (unsigned)k, c.why);
        opened += !r;
        refused += r == -EIO;
        if (r)
            unit_open(&c);
        for (unsigned i = 0; i < FILES; i += 97)
            MUST(look(&c, i) == 0);
        MUST(eng_tick(c.eng) == 0 && unit_problems(&c) == 0);
        unit_done(&c);
    }
    cr_assert(opened > 100, "%u opened, %u refused", opened, refused);
}

static struct {
    const struct eng_io_ops *ops;
    struct eng_io_ops noting;
    uint64_t offsets[512];
    unsigned n;
} advice;

static void note_advice(struct io_file *file, enum io_advice kind, uint64_t offset, uint64_t size)
{
    (void)file;
    (void)size;
    if (kind == IO_WILL_NEED && advice.n < ARRAY_LEN(advice.offsets))
        advice.offsets[advice.n++] = offset;
}

static bool was_advised(const struct map_entry *entry)
{
    bool found = false;
    for (unsigned i = 0; i < advice.n; i++)
        found = found || advice.offsets[i] == entry->refs[0].offset;
    return found;
}

/* The system is told which inodes it needs before the first of them is, and of no others. */
Test(rest, a_replay_says_ahead_what_it_needs)
{
    change_and_kill(1);
    struct map_entry first = entry_of(false), last = entry_of(true);
    advice.ops = u.opt.io->ops;
    advice.noting = *advice.ops;
    advice.noting.advise = note_advice;
    u.opt.io->ops = &advice.noting;
    unit_open(&u);
    u.opt.io->ops = advice.ops;
    cr_assert(was_advised(&first) && !was_advised(&last), "of %u", advice.n);
}

/* ---- threads ------------------------------------------------------------------------------------- */

static void *reader(void *arg)
{
    uint64_t rng = (uintptr_t)arg;
    for (unsigned k = 0; k < 150; k++)
        MUST(look(&u, (unsigned)rng_below(&rng, FILES)) == 0);
    return NULL;
}

static void *changer(void *arg)
{
    for (unsigned k = 0; k < 40; k++) {
        char name[16];
        (void)snprintf(name, sizeof name, "c%u", k);
        uint64_t ino = unit_file(&u, name, 100, k);
        if (k % 2)
            MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
        (void)ino;
    }
    return arg;
}

/* Many need one chunk, and others, while the loader brings them. */
Test(rest, many_ask_while_it_is_loaded)
{
    u.opt.no_background = false;
    for (unsigned round = 0; round < 6; round++) {
        pthread_t threads[5];
        unit_open(&u);
        for (unsigned i = 0; i < 5; i++)
            MUST(pthread_create(&threads[i], NULL, i ? reader : changer,
                                (void *)(uintptr_t)(round % 2 ? 77 : 10 * round + i + 1)) == 0);
        for (unsigned i = 0; i < 5; i++)
            MUST(pthread_join(threads[i], NULL) == 0);
        MUST(rest_await(u.eng) == 0);
        MUST(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, NULL) == 0);
        for (unsigned k = 0; k < 40; k += 2) {
            char name[16];
            (void)snprintf(name, sizeof name, "c%u", k);
            MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
        }
        unit_close(&u);
    }
    u.opt.no_background = true;
    rest_from = UINT64_MAX;
    unit_open(&u);
    MUST(unit_problems(&u) == 0);
}

/* Whatever the loader is at. */
Test(rest, a_store_may_be_closed_at_once)
{
    unsigned verified = 0, jobs = 0;
    u.opt.no_background = false;
    for (unsigned round = 0; round < 60; round++) {
        unit_open(&u);
        if (round % 4 == 1)
            jobs += eng_job_start(u.eng, ENG_JOB_SCRUB, NULL, NULL, NULL) == 0;
        if (round % 4 == 2)
            unit_write(&u, inos[round], 64, round, 0);
        if (round % 4 == 3)
            (void)rest_await(u.eng);
        verified += loading_is_done(&u.eng->loading);
        unit_close(&u);
    }
    cr_assert(verified >= 15 && verified < 60 && jobs > 0, "%u of 60", verified);
    u.opt.no_background = true;
    unit_open(&u);
    MUST(eng_tick(u.eng) == 0 && unit_problems(&u) == 0);
    for (unsigned i = 0; i < FILES; i++)
        MUST(look(&u, i) == 0);
}
