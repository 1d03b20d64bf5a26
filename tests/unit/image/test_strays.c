/*
 * test_strays.c - files of another store that somebody has put into the folder: nobody needs them here, and
 * all of them stay as they are. Those that were left unfinished tell nothing, and are not meant. */
#include "inside.h"

#include "one_store.h"

#include "image/pieces.h"

#include <criterion/criterion.h>

#define N_FILES 20u
#define SIZE 5000u

TestSuite(strays, .init = setup, .fini = teardown, .timeout = 60);

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof name, "f%02u", i);
    return name;
}

static void make_files(struct unit *c, uint64_t seed)
{
    for (unsigned i = 0; i < N_FILES; i++)
        unit_file(c, name_of(i), SIZE, seed + i);
}

static void write_files(uint64_t seed)
{
    for (unsigned i = 0; i < N_FILES; i++)
        unit_write(&u, unit_lookup(&u, name_of(i)), SIZE, seed + i, 0);
}

static void expect_files(uint64_t seed)
{
    for (unsigned i = 0; i < N_FILES; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, name_of(i)), SIZE, seed + i), "%u", i);
}

/* ---- checkpoints --------------------------------------------------------------------------- */

static void expect_same(const char *name, const uint8_t *bytes, size_t size)
{
    uint8_t *now;
    size_t len;
    cr_assert_eq(simdisk_get(u.disk, name, &now, &len), 0, "%s is gone", name);
    cr_assert_eq(len, size, "%s", name);
    cr_assert_eq(memcmp(now, bytes, size), 0, "%s", name);
    free(now);
}

struct stray {
    char name[IMAGE_NAME_SIZE];
    uint8_t *bytes;
    size_t size;
};

/* What another store has finished as its checkpoint, by both of its names. */
static void make_strays(struct stray strays[2])
{
    struct unit other;
    struct ckpt_position at;
    unit_new(&other, 0);
    make_files(&other, 500);
    for (unsigned i = 0; i < 5; i++)
        cr_assert_eq(checkpoint_write(other.eng), 0);
    uint64_t id = checkpoint_newest(other.eng, &at);
    cr_assert_neq(memcmp(other.eng->sb.uuid, u.eng->sb.uuid, sizeof u.eng->sb.uuid), 0);
    unit_kill(&other, SIM_KEEP_ALL, 0);
    for (unsigned copy = 0; copy < 2; copy++) {
        image_name(id, copy, strays[copy].name);
        cr_assert_eq(simdisk_get(other.disk, strays[copy].name, &strays[copy].bytes, &strays[copy].size), 0);
    }
    unit_done(&other);
}

/* The same of format 1; its images do not matter. */
static void make_old_stray(struct stray *stray)
{
    struct {
        struct ckpt_manifest m;
        struct ckpt_footer f;
    } old = {.m = {.magic = CKPT_MANIFEST_MAGIC, .version = 1, .id = 9}, .f = {.magic = CKPT_FOOTER_MAGIC}};
    memset(old.m.uuid, 7, sizeof old.m.uuid);
    old.f.manifest_len = sizeof old.m;
    old.f.sum = codec_hash(&old.f, offsetof(struct ckpt_footer, sum));
    image_name(9, 0, stray->name);
    stray->size = sizeof old;
    stray->bytes = malloc(stray->size);
    memcpy(stray->bytes, &old, sizeof old);
}

static void expect_strays(const struct stray *strays, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        expect_same(strays[i].name, strays[i].bytes, strays[i].size);
}

/* Openings, checkpoints and compactions clean what is ours, as ever. */
static void live_beside(const struct stray *strays, unsigned n)
{
    make_files(&u, 0);
    unit_close(&u);
    for (unsigned i = 0; i < n; i++)
        simdisk_put(u.disk, strays[i].name, strays[i].bytes, strays[i].size);
    for (unsigned round = 0; round < 4; round++) {
        u.last_warning[0] = 0;
        unit_open(&u);
        cr_assert_not_null(strstr(u.last_warning, "another store"), "%s", u.last_warning);
        expect_strays(strays, n);
        expect_files(round);
        write_files(round + 1);
        cr_assert_eq(checkpoint_write(u.eng), 0);
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
        cr_assert_eq(unit_problems(&u), 0);
        if (round % 2)
            unit_kill(&u, SIM_KEEP_ALL, 0);
        else
            unit_close(&u);
        expect_strays(strays, n);
    }
    unit_open(&u);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_leq(unit_files(&u, ".cpy", NULL), 3 + n / 2);
    for (unsigned i = 0; i < n; i++)
        free(strays[i].bytes);
}

Test(strays, finished_checkpoints_stay)
{
    struct stray strays[2];
    make_strays(strays);
    live_beside(strays, 2);
}

Test(strays, and_those_of_format_1)
{
    struct stray stray;
    make_old_stray(&stray);
    live_beside(&stray, 1);
}

/* ---- segments ---------------------------------------------------------------------------------- */

/* Somebody has put it in the place of one of ours, which is missing then: told, and nothing is written to
 * it. */
Test(strays, a_scrub_writes_to_no_segment_of_another_store)
{
    struct locator loc;
    struct segment_header h;
    struct stray stray;
    struct eng_job_report report;
    make_files(&u, 0);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < N_FILES; i += 2)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert(unit_locator(&u, unit_lookup(&u, name_of(1)), 0, &loc));
    unit_close(&u);
    segment_name(loc.seg, stray.name);
    cr_assert_eq(simdisk_get(u.disk, stray.name, &stray.bytes, &stray.size), 0);
    memcpy(&h, stray.bytes, sizeof h);
    cr_assert_eq(h.kind, SEGMENT_SURVIVORS);
    h.uuid[3] ^= 1;
    segment_header_seal(&h, FORMAT_VERSION);
    memcpy(stray.bytes, &h, sizeof h);
    simdisk_put(u.disk, stray.name, stray.bytes, stray.size);
    unit_open(&u);
    for (unsigned round = 0; round < 2; round++) {
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report), 0);
        cr_assert_gt(report.scrub.recovery.damaged, 0, "it is told");
        expect_same(stray.name, stray.bytes, stray.size);
    }
    unit_close(&u);
    expect_same(stray.name, stray.bytes, stray.size);
    free(stray.bytes);
    unit_open(&u);
}
