/*
 * test_checkpoint.c - checkpoints: what they hold, when they are written, what
 * is kept, and what happens when one is damaged, cut or cannot be written. */
#include "hook.h"
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(checkpoint, .init = setup, .fini = teardown);

#define N_FILES 30

static void expect_files(struct unit *s, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cr_assert(unit_holds(s, unit_lookup(s, (char[]){(char)('a' + i), 0}), 100 * i, i), "file %u of %u", i,
                  n);
    cr_assert_eq(unit_lookup(s, (char[]){(char)('a' + n), 0}), 0);
    cr_assert_eq(unit_problems(s), 0);
}

/* Ten files in the older checkpoint, twenty in the newer, thirty in the log. Killed. */
static void two_checkpoints(char ret_newest[64])
{
    for (unsigned i = 0; i < N_FILES; i++) {
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i);
        if (i % 10 == 9 && i < 29)
            cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_eq(unit_stats(&u).checkpoints, 2);
    cr_assert_eq(eng_sync(u.eng), 0);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(unit_files(&u, ".ckp", ret_newest), 2);
}

/* ---- damage ------------------------------------------------------------------------ */

static void try_damaged(const char *name, uint64_t at)
{
    struct unit c;
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_flip(c.disk, name, at, 0x01), 0);
    cr_assert_eq(unit_try_open(&c), 0, "byte %llu: %s", (unsigned long long)at, c.why);
    cr_assert_geq(c.warnings, 1, "byte %llu: it was noticed", (unsigned long long)at);
    expect_files(&c, N_FILES);
    unit_reopen(&c);
    cr_assert_eq(unit_files(&c, name, NULL), 0, "and does not stay");
    expect_files(&c, N_FILES);
    unit_done(&c);
}

Test(checkpoint, a_damaged_one_is_replaced_by_the_one_before)
{
    char newest[64];
    two_checkpoints(newest);
    uint64_t size = unit_file_size(&u, newest);
    uint64_t tail = sizeof(struct ckpt_footer) + sizeof(struct ckpt_manifest);
    for (uint64_t at = 0; at < size; at += at + 200 < size - tail ? size / 60 : 7)
        try_damaged(newest, at);
    for (uint64_t at = size - sizeof(struct ckpt_footer); at < size; at++)
        try_damaged(newest, at);
}

/* The log since the older one is kept for it: so it must be one that a recovery can use, chunks and all (I4).
 */
Test(checkpoint, an_older_one_with_any_byte_wrong_does_not_count)
{
    char newest[64], older[32];
    uint64_t newest_id;
    two_checkpoints(newest);
    cr_assert_eq(checkpoint_parse_name(newest, &newest_id), 0);
    checkpoint_name(newest_id - 1, older);
    uint64_t size = unit_file_size(&u, older), shared = 0;
    for (uint64_t at = 0; at < size; at += 13) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, older, at, 0x10), 0);
        unit_open(&c);
        shared += c.eng->checkpoints->kept[0].id != newest_id;
        cr_assert_eq(c.eng->marks.oldest_seq, 0, "byte %llu of %s", (unsigned long long)at, older);
        cr_assert_geq(c.warnings, 1);
        expect_files(&c, N_FILES);
        unit_done(&c);
    }
    cr_assert_lt(shared, size / 13, "some bytes of it the newer one does not need");
    unit_open(&u);
    cr_assert_neq(u.eng->marks.oldest_seq, 0, "the sound one counts");
}

Test(checkpoint, one_cut_anywhere_is_replaced_by_the_one_before)
{
    char newest[64];
    uint8_t *image;
    size_t size;
    two_checkpoints(newest);
    cr_assert_eq(simdisk_get(u.disk, newest, &image, &size), 0);
    for (size_t cut = 0; cut < size; cut += cut < 200 || cut + 200 > size ? 13 : size / 40) {
        struct unit c;
        unit_clone(&c, &u);
        simdisk_put(c.disk, newest, image, cut);
        cr_assert_eq(unit_try_open(&c), 0, "cut at %zu: %s", cut, c.why);
        expect_files(&c, N_FILES);
        unit_done(&c);
    }
    free(image);
}

struct checkpoint_names {
    char name[8][64];
    unsigned n;
};

static void record_checkpoint(void *arg, const char *name, uint64_t size)
{
    struct checkpoint_names *names = arg;
    (void)size;
    if (strstr(name, ".ckp") && names->n < 8)
        (void)snprintf(names->name[names->n++], 64, "%s", name);
}

Test(checkpoint, without_any_the_log_must_reach_back_to_its_beginning)
{
    char newest[64];
    struct checkpoint_names names = {0};
    struct unit c;
    two_checkpoints(newest);
    simdisk_each(u.disk, record_checkpoint, &names);
    for (unsigned i = 0; i < names.n; i++)
        cr_assert_eq(simdisk_flip(u.disk, names.name[i], unit_file_size(&u, names.name[i]) - 1, 1), 0);
    unit_clone(&c, &u);
    unit_open(&c);
    expect_files(&c, N_FILES); /* from the first batch on */
    unit_done(&c);
    cr_assert_eq(simdisk_remove(u.disk, "s00000001.seg"), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    cr_assert_not_null(strstr(u.why, "checkpoint"), "%s", u.why);
}

Test(checkpoint, one_of_another_store_is_not_taken)
{
    struct unit other;
    uint8_t *image;
    size_t size;
    char newest[64];
    unit_new(&other, 0);
    unit_file(&other, "foreign", 10, 1);
    unit_close(&other);
    cr_assert_eq(unit_files(&other, ".ckp", newest), 1);
    cr_assert_eq(simdisk_get(other.disk, newest, &image, &size), 0);
    two_checkpoints(newest);
    simdisk_put(u.disk, "c0000000000000001.ckp", image, size);
    simdisk_put(u.disk, "c00000000000000ff.ckp", image, size);
    unit_open(&u);
    expect_files(&u, N_FILES);
    free(image);
    unit_done(&other);
}

/* ---- what is written, what is kept ---------------------------------------------------- */

Test(checkpoint, only_changed_chunks_are_written_and_their_files_kept)
{
    struct eng_record r = {.parent = 1, .mode = 0644};
    for (unsigned i = 0; i < 6000; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%u", i);
        r.name = name;
        cr_assert_eq(eng_put_many(u.eng, &r, 1), 1);
    }
    char newest[64];
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(unit_files(&u, ".ckp", newest), 1);
    uint64_t whole = unit_file_size(&u, newest);
    cr_assert_gt(whole, 1000000);
    for (unsigned i = 0; i < 40; i++) {
        unit_file(&u, (char[]){'n', (char)('0' + i), 0}, 10, i);
        cr_assert_eq(checkpoint_write(u.eng), 0);
        (void)unit_files(&u, ".ckp", newest);
        if (i < 3)
            cr_assert_lt(unit_file_size(&u, newest), whole / 2, "an increment: %llu of %llu",
                         (unsigned long long)unit_file_size(&u, newest), (unsigned long long)whole);
        cr_assert_lt(unit_stats(&u).checkpoint_bytes, 6 * whole, "what is superseded goes in time");
    }
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    for (unsigned i = 0; i < 40; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){'n', (char)('0' + i), 0}), 10, i));
    cr_assert_eq(unit_problems(&u), 0);
    cr_assert_gt(unit_stats(&u).checkpoint_bytes, whole, "known after opening, too");
}

Test(checkpoint, is_written_when_due_and_at_closing_only)
{
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_ops", "20"), 0);
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_bytes", "50000"), 0);
    unit_reopen(&u);
    for (unsigned i = 0; i < 20; i++)
        unit_create(&u, (char[]){(char)('a' + i), 0});
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 0, "20 are not more than 20");
    unit_create(&u, "z");
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 1);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, unit_stats(&u).log_seq);
    unit_write(&u, unit_lookup(&u, "a"), 40000, 1, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 1);
    unit_write(&u, unit_lookup(&u, "a"), 40000, 2, 0);
    cr_assert_eq(eng_tick(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoints, 2);
    unit_create(&u, "y");
    unit_reopen(&u);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, unit_stats(&u).log_seq, "closing wrote one");
    uint64_t writes = simdisk_calls_of(u.disk, SIM_PWRITEV);
    unit_close(&u);
    cr_assert_eq(simdisk_calls_of(u.disk, SIM_PWRITEV), writes, "nothing changed, nothing is written");
}

/* ---- while others go on, and while calls fail -------------------------------------------- */

static void change_things(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_SYNC)
        return;
    hook_set(u.eng, NULL, NULL);
    for (unsigned i = 5; i < N_FILES; i++)
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i);
    cr_assert_eq(eng_unlink(u.eng, 1, "doomed"), 0);
    unit_write(&u, unit_lookup(&u, "d"), 300, 3, 0);
}

Test(checkpoint, is_of_one_moment_while_writers_go_on)
{
    unit_file(&u, "doomed", 40000, 1);
    for (unsigned i = 0; i < 5; i++)
        unit_file(&u, (char[]){(char)('a' + i), 0}, 100 * i, i + (i == 3));
    uint64_t seq = unit_stats(&u).log_seq;
    hook_set(u.eng, change_things, NULL);
    cr_assert_eq(checkpoint_write(u.eng), 0);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, seq);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    expect_files(&u, N_FILES);
    cr_assert_eq(unit_lookup(&u, "doomed"), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0); /* an increment of the one just loaded */
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    expect_files(&u, N_FILES);
}

Test(checkpoint, that_cannot_be_written_harms_nothing)
{
    char newest[64];
    two_checkpoints(newest);
    for (uint64_t nth = 1;; nth++) {
        struct unit c;
        unit_clone(&c, &u);
        unit_open(&c);
        unit_file(&c, "another", 50, 5);
        simdisk_fail(c.disk, SIM_ANY_CALL, nth, ENOSPC);
        int r = checkpoint_write(c.eng);
        simdisk_fail(c.disk, SIM_ANY_CALL, 0, 0);
        if (r) {
            cr_assert(is_read_only(c.eng) || unit_stats(&c).last_error[0], "call %llu",
                      (unsigned long long)nth);
            cr_assert_leq(unit_files(&c, ".ckp", NULL), 2, "no half one stays");
        }
        cr_assert(unit_holds(&c, unit_lookup(&c, "another"), 50, 5));
        if (!is_read_only(c.eng))
            cr_assert_eq(checkpoint_write(c.eng), 0, "call %llu: it can be tried again",
                         (unsigned long long)nth);
        unit_kill(&c, SIM_KEEP_ALL, 0);
        unit_open(&c);
        cr_assert(unit_holds(&c, unit_lookup(&c, "another"), 50, 5));
        cr_assert_eq(unit_problems(&c), 0);
        unit_done(&c);
        if (!r && nth > 20)
            break;
        cr_assert_lt(nth, 200);
    }
}

/* Writes checkpoint `name` anew with a first table of `n` chunks, all but the first being `more`. */
static void claim_chunks(const char *name, uint32_t n, uint32_t used, struct ckpt_chunk more)
{
    uint8_t *image;
    size_t size;
    struct ckpt_footer f;
    struct buf out = {0};
    cr_assert_eq(simdisk_get(u.disk, name, &image, &size), 0);
    memcpy(&f, image + size - sizeof f, sizeof f);
    size_t fixed = sizeof(struct ckpt_manifest) + INDEX_TABLES * sizeof(struct ckpt_table);
    struct ckpt_table *tables = (void *)(image + f.manifest_offset + sizeof(struct ckpt_manifest));
    uint32_t had = tables[0].n_chunks;
    tables[0].n_chunks = n;
    tables[0].used = used;
    const uint8_t *chunks = image + f.manifest_offset + fixed;
    size_t rest = f.manifest_len - fixed - had * sizeof(struct ckpt_chunk);
    cr_assert_eq(buf_reserve(&out, size + TABLE_CHUNK_SIZE + n * sizeof more), 0);
    memcpy(out.data, image, f.manifest_offset);
    memset(out.data + f.manifest_offset, 0,
           TABLE_CHUNK_SIZE); /* an image that may be named again and again */
    more.offset = f.manifest_offset;
    more.sum = codec_hash(out.data + more.offset, more.len);
    size_t at = f.manifest_offset + TABLE_CHUNK_SIZE;
    f.manifest_offset = at;
    memcpy(out.data + at, image + size - sizeof f - f.manifest_len, fixed);
    at += fixed;
    for (uint32_t c = 0; c < n; c++, at += sizeof more)
        memcpy(out.data + at, &more, sizeof more);
    memcpy(out.data + at, chunks + had * sizeof more, rest);
    at += rest;
    f.manifest_len = at - f.manifest_offset;
    f.manifest_sum = codec_hash(out.data + f.manifest_offset, f.manifest_len);
    f.sum = codec_hash(&f, offsetof(struct ckpt_footer, sum));
    memcpy(out.data + at, &f, sizeof f);
    simdisk_put(u.disk, name, out.data, at + sizeof f);
    buf_free(&out);
    free(image);
}

/* I10: a small file takes little memory, whatever it claims. */
Test(checkpoint, a_manifest_cannot_claim_more_than_its_files_hold)
{
    char name[64];
    uint64_t id;
    unit_file(&u, "f", 100, 1);
    unit_close(&u);
    cr_assert_eq(unit_files(&u, ".ckp", name), 1);
    cr_assert_eq(checkpoint_parse_name(name, &id), 0);
    uint32_t n = 2000, records = TABLE_CHUNK_SIZE / sizeof(struct inode_rec);
    struct ckpt_chunk none = {.file = id}, again = {.file = id, .len = TABLE_CHUNK_SIZE};
    for (unsigned i = 0; i < 2; i++) {
        struct unit c;
        struct index idx;
        struct ckpt_position pos;
        struct ckpt_info info;
        claim_chunks(name, n, n * records, i ? again : none);
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_remove(c.disk, name), 0);
        unit_open(&c); /* the log has all; now the file comes back */
        uint8_t *image;
        size_t size;
        cr_assert_eq(simdisk_get(u.disk, name, &image, &size), 0);
        simdisk_put(c.disk, name, image, size);
        free(image);
        cr_assert_eq(index_init(&idx, c.eng->sb.hash_seed), 0);
        cr_assert_eq(checkpoint_load(c.eng, id, &idx, &pos, &info), -EBADMSG);
        cr_assert_lt(chunk_pool_live_bytes(idx.pool), 2u << 20, "%llu bytes",
                     (unsigned long long)chunk_pool_live_bytes(idx.pool));
        index_free(&idx);
        unit_done(&c);
    }
}

Test(checkpoint, names_are_parsed_exactly)
{
    static const struct {
        const char *name;
        int expect;
        uint64_t id;
    } cases[] = {{"c0000000000000001.ckp", 0, 1},        {"cffffffffffffffff.ckp", 0, UINT64_MAX},
                 {"c0000000000000000.ckp", -EINVAL, 0},  {"c000000000000001.ckp", -EINVAL, 0},
                 {"c0000000000000001.ckp~", -EINVAL, 0}, {"C0000000000000001.ckp", -EINVAL, 0},
                 {"c000000000000000A.ckp", -EINVAL, 0},  {"c 000000000000001.ckp", -EINVAL, 0},
                 {"s00000001.seg", -EINVAL, 0},          {"", -EINVAL, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t id = 0;
        cr_assert_eq(checkpoint_parse_name(cases[i].name, &id), cases[i].expect, "%s", cases[i].name);
        cr_assert_eq(id, cases[i].id);
    }
}
