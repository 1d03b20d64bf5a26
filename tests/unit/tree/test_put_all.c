/*
 * test_put_all.c - eng_put_all(): records with guards that are stored all at once, or not at all. */
#include "guarded.h"
#include "hook.h"
#include "inside.h"
#include "must.h"
#include "one_file.h"

#include <criterion/criterion.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>

TestSuite(put_all, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t state_of(const char *name)
{
    uint64_t state = 0;
    cr_assert_eq(eng_state(u.eng, unit_lookup(&u, name), &state), 0);
    return state;
}

static struct eng_record record(const char *name, const void *content, size_t size)
{
    return (struct eng_record){
        .parent = ENG_ROOT_INO, .name = name, .content = content, .size = size, .mode = 0644, .result = 77};
}

static struct eng_guard of_state(const char *name)
{
    return (struct eng_guard){.kind = ENG_GUARD_STATE, .state = state_of(name)};
}

static bool holds(const char *name, const char *text)
{
    return unit_holds_bytes(&u, unit_lookup(&u, name), text, strlen(text));
}

Test(put_all, stores_all_or_nothing)
{
    const struct eng_guard none = {.kind = ENG_GUARD_NONE};
    (void)unit_file(&u, "g", 100, 1);
    struct eng_record records[] = {record("f", "one", 3), record("g", "two", 3), record("h", "six", 3)};
    struct eng_guard guards[] = {of_state("f"), of_state("g"), none};
    uint64_t before = eng_position(u.eng);
    cr_assert_eq(eng_put_all(u.eng, records, guards, 3), 0);
    cr_expect_eq(eng_position(u.eng), before + 1, "one batch");
    cr_expect(holds("f", "one") && holds("g", "two") && holds("h", "six"));
    for (size_t bad = 0; bad < 3; bad++) {
        struct eng_guard fits[] = {of_state("f"), of_state("g"), of_state("h")};
        struct eng_record others[] = {record("f", "ONE", 3), record("g", "TWO", 3), record("h", "SIX", 3)};
        fits[bad].state++;
        cr_expect_eq(eng_put_all(u.eng, others, fits, 3), -ECANCELED);
        for (size_t i = 0; i < 3; i++)
            cr_expect_eq(others[i].result, i == bad ? -ECANCELED : 0, "record %zu of %zu", i, bad);
        cr_expect(holds("f", "one") && holds("g", "two") && holds("h", "six"));
    }
    guards[2] = none;
    cr_expect_eq(eng_put_all(u.eng, &records[2], &guards[2], 1), -ECANCELED);
    cr_expect_eq(eng_put_all(u.eng, records, NULL, 3), 0, "without guards");
    cr_expect_eq(eng_put_all(u.eng, NULL, NULL, 0), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(put_all, looks_at_contents_and_versions)
{
    uint8_t *bytes = unit_bytes(300000, 1);
    struct eng_guard guard = {.kind = ENG_GUARD_SHA256};
    struct sha256_ctx sha;
    sha256_init(&sha);
    sha256_update(&sha, 300000, bytes);
    sha256_digest(&sha, sizeof guard.sha256, guard.sha256);
    uint64_t g = unit_file(&u, "g", 300000, 1);
    struct eng_guard guards[] = {{.kind = ENG_GUARD_SEEN, .ino = f, .version = unit_attr(&u, f).version},
                                 guard};
    struct eng_record records[] = {record("f", "one", 3), record("g", bytes, 300000)};
    cr_expect_eq(eng_put_all(u.eng, records, guards, 2), 0);
    cr_expect_eq(eng_put_all(u.eng, records, guards, 2), -ECANCELED, "f was seen before");
    cr_expect_eq(records[0].result, -ECANCELED);
    guards[0].version = unit_attr(&u, f).version;
    guards[0].ino = g;
    cr_expect_eq(eng_put_all(u.eng, records, guards, 2), -EREMCHG);
    guards[0].ino = f;
    unit_write(&u, g, 1, 2, 0);
    cr_expect_eq(eng_put_all(u.eng, records, guards, 2), -ECANCELED, "an equal content is no exception");
    cr_expect_eq(records[1].result, -ECANCELED);
    guards[1].kind = ENG_GUARD_STORED;
    cr_expect_eq(eng_put_all(u.eng, records, guards, 2), -EINVAL);
    free(bytes);
}

Test(put_all, refuses_what_is_no_one_batch)
{
    static struct eng_record many[ENG_PUT_ALL_MAX + 1];
    static char names[ENG_PUT_ALL_MAX + 1][8], content[1 << 20];
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        (void)snprintf(names[i], sizeof names[i], "n%zu", i);
        many[i] = record(names[i], content, 1 << 16);
    }
    cr_expect_eq(eng_put_all(u.eng, many, NULL, ENG_PUT_ALL_MAX + 1), -E2BIG);
    cr_expect_eq(unit_lookup(&u, "n0"), 0);
    cr_expect_eq(eng_put_all(u.eng, many, NULL, ENG_PUT_ALL_MAX), 0, "16 MiB");
    many[0].size++;
    cr_expect_eq(eng_put_all(u.eng, many, NULL, ENG_PUT_ALL_MAX), -E2BIG);
    many[1].name = "n0";
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 2), -EINVAL, "the same name");
    cr_expect_eq(many[0].result, 0);
    cr_expect_eq(many[1].result, -EINVAL);
    cr_assert_eq(eng_link(u.eng, NULL, unit_lookup(&u, "n0"), ENG_ROOT_INO, "l", NULL), 0);
    many[1].name = "l";
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 2), -EINVAL, "the same file");
    many[1].name = "a/b";
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 2), -EINVAL);
    (void)unit_mkdir(&u, "d");
    many[1].name = "d";
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 2), -EISDIR);
    many[1].parent = f;
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 2), -ENOTDIR);
    static struct eng_xattr_pair pairs[2048];
    static char xattrs[2048][16];
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        (void)snprintf(xattrs[i], sizeof xattrs[i], "user.%zu", i);
        pairs[i] = (struct eng_xattr_pair){xattrs[i], "", 0};
    }
    for (size_t i = 0; i < ENG_PUT_ALL_MAX; i++) {
        many[i] = record(names[i], NULL, 0);
        many[i].xattrs = pairs;
        many[i].n_xattrs = ARRAY_LEN(pairs);
    }
    cr_expect_eq(eng_put_all(u.eng, many, NULL, ENG_PUT_ALL_MAX), -E2BIG);
    cr_expect_eq(many[0].result, 0);
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 8), 0);
    cr_expect_eq(eng_put_all(u.eng, many, NULL, 8), 0);
    cr_assert_eq(unit_problems(&u), 0);
}

/* What they replace lies in thousands of extents, or is large. */
Test(put_all, over_what_is_in_pieces)
{
    static const char *const names[] = {"a", "b", "c"};
    uint8_t *bytes = unit_bytes(200000, 9);
    struct eng_record records[3];
    for (size_t k = 0; k < 3; k++) {
        uint64_t ino = unit_file(&u, names[k], 5 << 20, k);
        for (uint64_t i = 0; i < 2000; i++)
            unit_write(&u, ino, 10, i, i * 4096 % (5 << 20));
        records[k] = record(names[k], bytes, k ? 200000 : 10);
    }
    for (int with_snapshot = 0; with_snapshot < 2; with_snapshot++) {
        if (with_snapshot)
            cr_assert_eq(eng_snapshot_create(u.eng, "s", NULL), 0);
        cr_assert_eq(eng_put_all(u.eng, records, NULL, 3), 0);
        for (size_t k = 0; k < 3; k++)
            cr_expect(unit_holds(&u, unit_lookup(&u, names[k]), records[k].size, 9), "%s", names[k]);
        cr_assert_eq(unit_problems(&u), 0);
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_expect(unit_holds(&u, unit_lookup(&u, "b"), 200000, 9));
    cr_assert_eq(unit_problems(&u), 0);
    free(bytes);
}

Test(put_all, is_there_whole_after_a_crash)
{
    for (uint64_t seed = 1; seed < 40; seed++) {
        char text[24];
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
        struct eng_record records[] = {record("f", text, strlen(text)), record("g", text, strlen(text))};
        cr_assert_eq(eng_put_all(u.eng, records, NULL, 2), 0);
        unit_kill(&u, SIM_TORN, seed);
        unit_open(&u);
        uint64_t g = unit_lookup(&u, "g");
        char a[24] = "", b[24] = "";
        cr_assert_geq(eng_read(u.eng, unit_lookup(&u, "f"), a, sizeof a, 0), 0);
        cr_assert(!g || eng_read(u.eng, g, b, sizeof b, 0) >= 0);
        cr_assert_str_eq(a, b);
    }
}

/* ---- races -------------------------------------------------------------------------- */

#define RACES 3000u

struct racer {
    pthread_t thread;
    unsigned won;
};

/* Counts up in two files at once, if neither has changed. */
static void *race(void *arg)
{
    struct racer *me = arg;
    for (unsigned i = 0; i < RACES; i++) {
        struct eng_record records[2] = {record("f", NULL, 8), record("g", NULL, 8)};
        struct eng_guard guards[2] = {{0}};
        uint64_t counts[2];
        for (size_t k = 0; k < 2; k++) {
            struct eng_attr attr;
            guards[k].kind = ENG_GUARD_STATE;
            MUST(eng_lookup(u.eng, NULL, ENG_ROOT_INO, records[k].name, &attr) == 0);
            MUST(eng_state(u.eng, attr.ino, &guards[k].state) == 0);
            MUST(eng_read(u.eng, attr.ino, &counts[k], 8, 0) == 8);
            counts[k]++;
            records[k].content = &counts[k];
        }
        int r = eng_put_all(u.eng, records, guards, 2);
        MUST(r == 0 || r == -ECANCELED);
        MUST(r != 0 || counts[0] == counts[1]);
        me->won += r == 0;
    }
    return NULL;
}

Test(put_all, of_those_that_race_one_wins)
{
    struct racer racers[2] = {{0}, {0}};
    uint64_t counts[2] = {0};
    struct eng_record records[2] = {record("f", counts, 8), record("g", counts, 8)};
    cr_assert_eq(eng_put_all(u.eng, records, NULL, 2), 0);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(pthread_join(racers[i].thread, NULL), 0);
    for (size_t k = 0; k < 2; k++)
        cr_assert_eq(eng_read(u.eng, unit_lookup(&u, k ? "g" : "f"), &counts[k], 8, 0), 8);
    cr_expect_eq(counts[0], racers[0].won + racers[1].won);
    cr_expect_eq(counts[0], counts[1]);
}
