/*
 * test_config.c - settings: defaults, what is accepted, what lasts, and files
 * that cannot be understood. */
#include "inside.h"
#include "must.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(config, .init = setup, .fini = teardown);

struct want {
    const char *key;
    char value[64];
    unsigned n;
};

static void pick(void *arg, const char *key, const char *value)
{
    struct want *w = arg;
    w->n++;
    if (strcmp(key, w->key) == 0)
        (void)snprintf(w->value, sizeof(w->value), "%s", value);
}

static void expect(const char *key, const char *value)
{
    struct want w = {.key = key};
    cr_assert_eq(eng_config_each(u.eng, pick, &w), 0);
    cr_assert_eq(w.n, 13);
    cr_assert_str_eq(w.value, value, "%s is %s", key, w.value);
}

/* As an editor does: the file is another one. */
static void edit(struct unit *unit, const char *text, size_t size)
{
    (void)simdisk_remove(unit->disk, "config");
    simdisk_put(unit->disk, "config", text, size);
}

static unsigned n_lines;

static void set_from_log(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    if (level == ENG_LOG_WARNING && strstr(line, "not understood")) {
        n_lines++;
        cr_assert_eq(eng_config_set(u.eng, "commit_ms", "77"), 0);
        cr_assert_eq(eng_hold(u.eng), 0);
        cr_assert_eq(eng_release(u.eng), 0);
    }
}

/* The callback runs under no lock of the engine. */
Test(config, the_log_callback_of_a_reload_may_change_it, .timeout = 20)
{
    unit_close(&u);
    u.opt.log = set_from_log;
    unit_open(&u);
    edit(&u, "what=ever\n", 10);
    cr_assert_eq(eng_config_reload(u.eng), 0);
    cr_assert_eq(n_lines, 1);
    expect("commit_ms", "77");
}

Test(config, defaults_are_those_of_the_manual)
{
    expect("compact_min_fragmentation", "0.5");
    expect("compact_min_bytes", "100000000");
    expect("startup_fragmentation", "0.7");
    expect("compact_rate", "0");
    expect("auto_compact", "1");
    expect("checkpoint_bytes", "33554432");
    expect("checkpoint_ops", "500000");
    expect("commit_ms", "5000");
    expect("history", "0");
    expect("history_versions", "100");
    expect("history_bytes", "0");
    expect("history_settle", "1s");
    expect("history_ignore", "activation,recall_count,last_access,atime");
}

Test(config, bad_keys_and_values_are_refused_and_change_nothing)
{
    static char zeros[5000], long_name[CONFIG_VALUE_SIZE + 1];
    memset(long_name, 'a', sizeof long_name - 1);
    memset(zeros, '0', sizeof(zeros) - 2);
    zeros[sizeof(zeros) - 2] = '1';
    const struct {
        const char *key, *value;
        int expect;
    } cases[] = {{"nothing", "1", -ENOENT},
                 {"", "1", -ENOENT},
                 {"commit_ms ", "1", -ENOENT},
                 {"compact_min_fragmentation", "1.01", -EINVAL},
                 {"compact_min_fragmentation", "-0.1", -EINVAL},
                 {"compact_min_fragmentation", "nan", -EINVAL},
                 {"compact_min_fragmentation", "", -EINVAL},
                 {"compact_min_fragmentation", "0.5x", -EINVAL},
                 {"compact_min_fragmentation", "0.5\n", -EINVAL},
                 {"compact_min_fragmentation", "\n0.5", -EINVAL},
                 {"compact_min_fragmentation", zeros, -EINVAL},
                 {"startup_fragmentation", "inf", -EINVAL},
                 {"compact_min_bytes", "-1", -EINVAL},
                 {"compact_min_bytes", " -1", -EINVAL},
                 {"compact_min_bytes", "18446744073709551616", -EINVAL},
                 {"compact_min_bytes", "1.5", -EINVAL},
                 {"compact_min_bytes", "1e3", -EINVAL},
                 {"compact_min_bytes", zeros, -EINVAL},
                 {"compact_min_bytes", "10MB", -EINVAL},
                 {"compact_min_bytes", "10x", -EINVAL},
                 {"compact_min_bytes", "M", -EINVAL},
                 {"compact_min_bytes", "16777216T", -EINVAL},
                 {"compact_min_fragmentation", "1k", -EINVAL},
                 {"auto_compact", "1k", -EINVAL},
                 {"compact_min_bytes", "7\ncommit_ms=1", -EINVAL},
                 {"auto_compact", "2", -EINVAL},
                 {"auto_compact", "yes", -EINVAL},
                 {"checkpoint_bytes", "4095", -EINVAL},
                 {"checkpoint_ops", "0", -EINVAL},
                 {"commit_ms", "0", -EINVAL},
                 {"commit_ms", "86400001", -EINVAL},
                 {"history", "30", -EINVAL},
                 {"history", "d", -EINVAL},
                 {"history", "30D", -EINVAL},
                 {"history", "30d ", -EINVAL},
                 {"history", "1.5d", -EINVAL},
                 {"history", "-1d", -EINVAL},
                 {"history", "30days", -EINVAL},
                 {"history", "36501d", -EINVAL},
                 {"history", "213503982334602d", -EINVAL},
                 {"history", "1k", -EINVAL},
                 {"history", "on", -EINVAL},
                 {"history_versions", "0", -EINVAL},
                 {"history_versions", "4097", -EINVAL},
                 {"history_bytes", "1d", -EINVAL},
                 {"history_settle", "1", -EINVAL},
                 {"history_settle", "61m", -EINVAL},
                 {"history_ignore", "a,,b", -EINVAL},
                 {"history_ignore", ",a", -EINVAL},
                 {"history_ignore", "a,", -EINVAL},
                 {"history_ignore", "a b", -EINVAL},
                 {"history_ignore", "a=b", -EINVAL},
                 {"history_ignore", "a\nhistory=1d", -EINVAL},
                 {"history_ignore", long_name, -EINVAL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        cr_assert_eq(eng_config_set(u.eng, cases[i].key, cases[i].value), cases[i].expect, "%s=%.30s",
                     cases[i].key, cases[i].value);
    expect("compact_min_fragmentation", "0.5");
    expect("compact_min_bytes", "100000000");
    expect("commit_ms", "5000");
    cr_assert_eq(unit_file_size(&u, "config"), 0, "nothing was stored");
}

static const struct {
    const char *key, *value;
} good[] = {{"compact_min_fragmentation", "0.123456789"},
            {"compact_min_bytes", "18446744073709551615"},
            {"startup_fragmentation", "1"},
            {"compact_rate", "1048576"},
            {"auto_compact", "0"},
            {"checkpoint_bytes", "4096"},
            {"checkpoint_ops", "1"},
            {"commit_ms", "86400000"},
            {"history", "30d"},
            {"history_versions", "4096"},
            {"history_bytes", "1000000000"},
            {"history_settle", "0"},
            {"history_ignore", "recall_count,user.my-tool.score,a"}};

Test(config, what_is_set_counts_at_once_and_lasts)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert_eq(eng_config_set(u.eng, good[i].key, good[i].value), 0, "%s", good[i].key);
        expect(good[i].key, good[i].value);
    }
    struct eng_job_report rep;
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert_eq(rep.rate, 1048576, "the compactor knows at once");
    for (int pass = 0; pass < 2; pass++) {
        if (pass)
            unit_reopen(&u);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_open(&u);
        for (size_t i = 0; i < ARRAY_LEN(good); i++)
            expect(good[i].key, good[i].value);
        cr_assert_eq(u.warnings, 0);
    }
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert_eq(rep.rate, 1048576);
}

Test(config, a_number_may_end_in_a_unit_in_a_call_and_in_the_file)
{
    cr_assert_eq(eng_config_set(u.eng, "compact_rate", "10M"), 0);
    expect("compact_rate", "10485760");
    unit_close(&u);
    edit(&u, "compact_rate=3k\ncompact_min_bytes=16777215T\n", 44);
    u.warnings = 0;
    unit_open(&u);
    cr_assert_eq(u.warnings, 0);
    expect("compact_rate", "3072");
    expect("compact_min_bytes", "18446742974197923840");
    cr_assert_eq(eng_config_check("compact_rate", "1g"), 0);
    cr_assert_eq(eng_config_check("compact_rate", "1gb"), -EINVAL);
    cr_assert_eq(eng_config_check("rate", "1"), -ENOENT);
    expect("compact_rate", "3072");
}

Test(config, a_duration_has_a_unit_and_is_told_in_the_largest)
{
    static const char *const cases[][2] = {{"90s", "90s"},       {"120s", "2m"}, {"24h", "1d"},
                                           {"0", "0"},           {"0d", "0"},    {"36h", "36h"},
                                           {"36500d", "36500d"}, {"7d", "7d"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(eng_config_set(u.eng, "history", cases[i][0]), 0, "%s", cases[i][0]);
        expect("history", cases[i][1]);
    }
    unit_reopen(&u);
    expect("history", "7d");
}

/* ---- of a history ---------------------------------------------------------- */

static uint64_t floor_of(void)
{
    return u.eng->idx.s.floor;
}

Test(config, a_history_begins_and_ends_with_the_call)
{
    uint64_t ino = unit_file(&u, "f", 100, 1);
    cr_assert(!eng_has_history(u.eng) && floor_of() == 0);
    cr_assert_eq(eng_config_set(u.eng, "history_settle", "0"), 0);
    cr_assert(!eng_has_history(u.eng));
    cr_assert_eq(eng_config_set(u.eng, "history", "30d"), 0);
    cr_assert(eng_has_history(u.eng) && floor_of() == eng_position(u.eng));
    unit_write(&u, ino, 100, 2, 0);
    cr_assert_eq(u.eng->idx.s.n_past, 1, "what is there from the beginning is kept, too");
    unit_reopen(&u);
    cr_assert(index_is_kept_whole(&u.eng->idx) && u.eng->idx.s.n_past == 1);
    uint64_t floor = floor_of();
    cr_assert_eq(eng_config_set(u.eng, "history", "60d"), 0);
    cr_assert_eq(floor_of(), floor);
    cr_assert_eq(eng_config_set(u.eng, "history", "0"), 0);
    cr_assert_eq(floor_of(), FLOOR_NONE);
    cr_assert_eq(u.eng->idx.s.n_past, 0);
    unit_reopen(&u);
    cr_assert_eq(floor_of(), FLOOR_NONE);
}

Test(config, a_history_cannot_begin_while_the_store_is_held)
{
    MUST(eng_hold(u.eng) == 0);
    cr_assert_eq(eng_config_set(u.eng, "history", "30d"), -EBUSY);
    expect("history", "0");
    MUST(eng_release(u.eng) == 0);
    cr_assert_eq(eng_config_set(u.eng, "history", "30d"), 0);
}

/* A file that was edited, and read again, or at the next opening. */
Test(config, a_history_begins_and_ends_with_the_file)
{
    edit(&u, "history=30d\n", 12);
    cr_assert_eq(eng_config_reload(u.eng), 0);
    cr_assert(index_is_kept_whole(&u.eng->idx));
    edit(&u, "history=0\n", 10);
    cr_assert_eq(eng_config_reload(u.eng), 0);
    cr_assert_eq(floor_of(), FLOOR_NONE);
    unit_close(&u);
    edit(&u, "history=9d\n", 11);
    unit_open(&u);
    cr_assert(index_is_kept_whole(&u.eng->idx));
    unit_close(&u);
    edit(&u, "history=0\n", 10);
    unit_open(&u);
    cr_assert_eq(floor_of(), FLOOR_NONE);
}

/* What does not say whether there is a history lets nothing go. */
Test(config, a_history_goes_on_where_the_file_does_not_say)
{
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {{"", 0}, {"commit_ms=4000\n", 15}, {"history=3o d\n", 13}, {"history=\n", 9}, {NULL, 0}};
    uint64_t ino = unit_file(&u, "f", 100, 0), n = 0;
    MUST(eng_config_set(u.eng, "history_settle", "0") == 0 && eng_config_set(u.eng, "history", "30d") == 0);
    uint64_t floor = floor_of();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unit_close(&u);
        (void)simdisk_remove(u.disk, "config.copy");
        if (cases[i].text)
            edit(&u, cases[i].text, cases[i].size);
        else
            (void)simdisk_remove(u.disk, "config");
        unit_open(&u);
        expect("history", "0");
        unit_write(&u, ino, 100, i, 0);
        MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
        cr_assert(floor_of() == floor && u.eng->idx.s.n_past == ++n, "case %zu", i);
        /* Nor does the file once something else was set. */
        cr_assert_eq(eng_config_set(u.eng, "commit_ms", "4001"), 0);
        unit_reopen(&u);
        MUST(eng_config_reload(u.eng) == 0);
        cr_assert(floor_of() == floor && u.eng->idx.s.n_past == n, "case %zu", i);
    }
    cr_assert_eq(eng_config_set(u.eng, "history", "0"), 0);
    cr_assert(floor_of() == FLOOR_NONE && u.eng->idx.s.n_past == 0);
}

Test(config, a_rate_set_by_the_call_lasts_too)
{
    cr_assert_eq(eng_job_rate(u.eng, ENG_JOB_COMPACT, 777), 0);
    unit_reopen(&u);
    expect("compact_rate", "777");
    struct eng_job_report rep;
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    cr_assert_eq(rep.rate, 777);
}

Test(config, an_option_of_one_mount_is_not_stored)
{
    cr_assert_eq(eng_config_set(u.eng, "commit_ms", "3000"), 0);
    unit_close(&u);
    u.opt.commit_ms = 1000;
    unit_open(&u);
    expect("commit_ms", "1000");
    cr_assert_eq(eng_config_set(u.eng, "auto_compact", "0"), 0);
    unit_close(&u);
    u.opt.commit_ms = 0;
    unit_open(&u);
    expect("commit_ms", "3000");
    expect("auto_compact", "0");
}

Test(config, a_file_that_cannot_be_understood_does_not_keep_the_store_closed)
{
    static char big[70000];
    memset(big, 'x', sizeof(big) - 1);
    const struct {
        const char *text;
        size_t size;
        unsigned warnings;
    } cases[] = {{"", 0, 0},
                 {"commit_ms=4000\n", 15, 0},
                 {"commit_ms=4000", 14, 0},
                 {"nonsense\ncommit_ms=4000\nfuture_key=1\n", 36, 2},
                 {"commit_ms=-1\n", 13, 1},
                 {"commit_ms=4000\n\0\0\0", 18, 0},
                 {"=\n==\n", 5, 2},
                 {big, sizeof(big) - 1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unit_close(&u);
        edit(&u, cases[i].text, cases[i].size);
        u.warnings = 0;
        unit_open(&u);
        cr_assert_eq(u.warnings, cases[i].warnings, "case %zu: %u", i, u.warnings);
        expect("commit_ms", strstr(cases[i].text, "4000") ? "4000" : "5000");
        expect("compact_min_bytes", "100000000");
    }
}

/* ---- the copy ------------------------------------------------------------ */

static void with_settings(void)
{
    cr_assert_eq(eng_config_set(u.eng, "commit_ms", "7000"), 0);
    cr_assert_eq(eng_config_set(u.eng, "auto_compact", "0"), 0);
    unit_close(&u);
    u.warnings = 0;
}

static void expect_settings(struct unit *c)
{
    struct want ms = {.key = "commit_ms"}, compact = {.key = "auto_compact"};
    cr_assert_eq(eng_config_each(c->eng, pick, &ms), 0);
    cr_assert_eq(eng_config_each(c->eng, pick, &compact), 0);
    cr_assert_str_eq(ms.value, "7000");
    cr_assert_str_eq(compact.value, "0");
}

Test(config, each_bit_of_the_file_and_of_its_copy_may_flip, .timeout = 120)
{
    static const char *const names[] = {"config", "config.copy"};
    with_settings();
    for (unsigned i = 0; i < 2; i++)
        for (uint64_t at = 0; at < unit_file_size(&u, names[i]); at++) {
            struct unit c;
            unit_clone(&c, &u);
            cr_assert_eq(simdisk_flip(c.disk, names[i], at, (uint8_t)(1u << at % 8)), 0);
            c.opt.read_only = at % 3 == 0;
            unit_open(&c);
            expect_settings(&c);
            cr_assert_eq(c.warnings, 1);
            unit_close(&c);
            c.warnings = 0;
            unit_open(&c);
            expect_settings(&c);
            cr_assert_eq(c.warnings, c.opt.read_only, "made good: %s", c.last_warning);
            unit_done(&c);
        }
}

Test(config, either_may_be_missing_or_unreadable)
{
    static const char *const names[] = {"config", "config.copy"};
    with_settings();
    for (unsigned i = 0; i < 2; i++)
        for (unsigned how = 0; how < 2; how++) {
            struct unit c;
            unit_clone(&c, &u);
            cr_assert_eq(how ? simdisk_spoil(c.disk, names[i], 0, 10) : simdisk_remove(c.disk, names[i]), 0);
            unit_open(&c);
            expect_settings(&c);
            unit_close(&c);
            cr_assert_gt(unit_file_size(&c, names[i]), 0);
            cr_assert_eq(simdisk_remove(c.disk, names[1 - i]), 0); /* then by itself */
            unit_open(&c);
            expect_settings(&c);
            unit_done(&c);
        }
}

Test(config, who_edits_the_file_is_believed_and_the_copy_follows)
{
    with_settings();
    edit(&u, "commit_ms=8000\n", 15);
    unit_open(&u);
    cr_assert_eq(u.warnings, 0);
    expect("commit_ms", "8000");
    expect("auto_compact", "1");
    unit_close(&u);
    cr_assert_eq(simdisk_flip(u.disk, "config", 10, 1), 0);
    unit_open(&u);
    expect("commit_ms", "8000");
}

Test(config, the_copy_of_another_store_is_none)
{
    struct unit other;
    uint8_t *data;
    size_t size;
    with_settings();
    unit_new(&other, 0);
    cr_assert_eq(simdisk_get(u.disk, "config.copy", &data, &size), 0);
    unit_close(&other);
    simdisk_put(other.disk, "config.copy", data, size);
    unit_open(&other);
    struct want ms = {.key = "commit_ms"};
    cr_assert_eq(eng_config_each(other.eng, pick, &ms), 0);
    cr_assert_str_eq(ms.value, "5000");
    unit_done(&other);
    free(data);
}

/* SIGHUP with a slip in the file must not lift a limit that is in force. */
Test(config, a_reload_changes_nothing_by_what_it_cannot_understand)
{
    static char big[70000];
    memset(big, 'x', sizeof(big) - 1);
    const struct {
        const char *text, *rate, *commit;
    } cases[] = {{"compact_rate=20x\ncommit_ms=4000\n", "20000", "4000"},
                 {"compact_rate\n", "20000", "5000"},
                 {"commit_ms=many\nnonsense\n", "0", "3000"},
                 {big, "20000", "3000"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_assert_eq(eng_config_set(u.eng, "compact_rate", "20000"), 0);
        cr_assert_eq(eng_config_set(u.eng, "commit_ms", "3000"), 0);
        edit(&u, cases[i].text, strlen(cases[i].text));
        u.warnings = 0;
        cr_assert_eq(eng_config_reload(u.eng), 0);
        cr_assert_gt(u.warnings, 0, "case %zu", i);
        expect("compact_rate", cases[i].rate);
        expect("commit_ms", cases[i].commit);
    }
}

Test(config, one_that_cannot_be_stored_does_not_count)
{
    for (uint64_t nth = 1; nth <= 5; nth++) {
        simdisk_fail(u.disk, SIM_ANY_CALL, nth, ENOSPC);
        int r = eng_config_set(u.eng, "commit_ms", "1234");
        simdisk_fail(u.disk, SIM_ANY_CALL, 0, 0);
        if (!r)
            break;
        expect("commit_ms", "5000");
        cr_assert_lt(nth, 6);
        if (is_read_only(u.eng)) { /* the folder's sync failed (I11) */
            unit_kill(&u, SIM_DROP_ALL, 0);
            unit_open(&u);
        }
    }
    unit_reopen(&u);
    cr_assert_eq(eng_config_set(u.eng, "commit_ms", "2345"), 0);
    unit_reopen(&u);
    expect("commit_ms", "2345");
}
