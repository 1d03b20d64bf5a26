/*
 * test_guards.c - guarded operations (I13): what each kind of guard says of each target, and that of those
 * that race one wins. */
#include "guarded.h"
#include "hook.h"
#include "inside.h"
#include "must.h"
#include "one_file.h"
#include "tree/content.h"

#include <criterion/criterion.h>
#include <nettle/sha2.h>
#include <pthread.h>
#include <stdio.h>

TestSuite(guards, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t state_of(uint64_t ino)
{
    uint64_t state = 0;
    cr_assert_eq(eng_state(u.eng, ino, &state), 0);
    return state;
}

static struct eng_guard of_state(uint64_t state)
{
    return (struct eng_guard){.kind = ENG_GUARD_STATE, .state = state};
}

static struct eng_guard of_version(enum eng_guard_kind kind, uint64_t ino)
{
    return (struct eng_guard){.kind = kind, .ino = ino, .version = unit_attr(&u, ino).version};
}

static struct eng_guard of_content(size_t size, uint64_t seed)
{
    struct eng_guard guard = {.kind = ENG_GUARD_SHA256};
    struct sha256_ctx sha;
    uint8_t *bytes = unit_bytes(size, seed);
    sha256_init(&sha);
    sha256_update(&sha, size, bytes);
    sha256_digest(&sha, sizeof guard.sha256, guard.sha256);
    free(bytes);
    return guard;
}

static const struct eng_guard nothing = {.kind = ENG_GUARD_NONE};

static int rename_if(const char *from, const char *to, unsigned flags, const struct eng_guard *guard)
{
    return eng_rename_if(u.eng, NULL, ENG_ROOT_INO, from, ENG_ROOT_INO, to, flags, guard);
}

/* A new file `t`, and what renaming it does: `expect`, and the names are as that says. */
static void expect_rename(int line, const char *to, const struct eng_guard *guard, size_t size, uint64_t seed,
                          int expect)
{
    uint64_t was = unit_lookup(&u, to), t = unit_file(&u, "t", size, seed);
    int r = rename_if("t", to, 0, guard);
    cr_expect_eq(r, expect, "line %d: %d, not %d", line, r, expect);
    cr_expect_eq(unit_lookup(&u, to), r ? was : t, "line %d", line);
    cr_expect_eq(unit_lookup(&u, "t"), r ? t : 0, "line %d", line);
    if (r)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "t"), 0);
}

/* `f`, with content that depends on the seed. */
static void make_f(size_t size, uint64_t seed)
{
    (void)eng_unlink(u.eng, ENG_ROOT_INO, "f");
    f = unit_file(&u, "f", size, seed);
}

Test(guards, by_state)
{
    make_f(1000, 1);
    struct eng_guard guard = of_state(state_of(f));
    expect_rename(__LINE__, "g", &guard, 10, 7, -ECANCELED); /* no target */
    expect_rename(__LINE__, "f", &guard, 10, 7, 0);
    expect_rename(__LINE__, "f", &guard, 11, 7, -ECANCELED); /* another inode */
    make_f(1000, 1);
    guard = of_state(state_of(f));
    cr_assert_eq(eng_setxattr(u.eng, f, "user.x", "1", 1, 0), 0);
    expect_rename(__LINE__, "f", &guard, 10, 7, -ECANCELED);
    expect_rename(__LINE__, "f", &guard, 1000, 2, -ECANCELED); /* as long */
    expect_rename(__LINE__, "f", &guard, 1000, 1, 0);          /* the same content */
    make_f(0, 1);
    guard = of_state(1);
    expect_rename(__LINE__, "f", &guard, 0, 1, 0); /* none is the same as none */
}

Test(guards, by_none)
{
    expect_rename(__LINE__, "g", &nothing, 10, 7, 0);
    expect_rename(__LINE__, "g", &nothing, 10, 8, -ECANCELED);
    expect_rename(__LINE__, "g", &nothing, 10, 7, -ECANCELED); /* the same content is a target, too */
}

Test(guards, by_content)
{
    make_f(300000, 1);
    struct eng_guard guard = of_content(300000, 1);
    expect_rename(__LINE__, "g", &guard, 10, 7, -ECANCELED);
    expect_rename(__LINE__, "f", &guard, 10, 7, 0);
    expect_rename(__LINE__, "f", &guard, 20, 7, -ECANCELED);
    make_f(300000, 1); /* another inode with that content is as good */
    expect_rename(__LINE__, "f", &guard, 300000, 2, 0);
    guard = of_content(10, 1);
    expect_rename(__LINE__, "f", &guard, 300000, 3, -ECANCELED);
    expect_rename(__LINE__, "f", &guard, 300000, 2, 0); /* the same content */
    cr_assert_eq(eng_create(u.eng, NULL, ENG_ROOT_INO, "link", S_IFLNK | 0777, 0, "f", NULL), 0);
    expect_rename(__LINE__, "link", &guard, 10, 1, -ECANCELED);
}

Test(guards, by_what_was_seen)
{
    make_f(1000, 1);
    struct eng_guard guard = of_version(ENG_GUARD_SEEN, f);
    expect_rename(__LINE__, "g", &guard, 10, 7, -EREMCHG);
    cr_assert_eq(eng_setxattr(u.eng, f, "user.x", "1", 1, 0), 0); /* no other content */
    expect_rename(__LINE__, "f", &guard, 10, 7, 0);
    expect_rename(__LINE__, "f", &guard, 10, 7, -EREMCHG);
    make_f(1000, 1);
    guard = of_version(ENG_GUARD_SEEN, f);
    unit_write(&u, f, 10, 2, 0);
    expect_rename(__LINE__, "f", &guard, 10, 7, -ECANCELED);
    unit_write(&u, f, 1000, 1, 0);
    expect_rename(__LINE__, "f", &guard, 1000, 1, -ECANCELED); /* it was seen, or it was not */
}

Test(guards, by_what_was_moved_away)
{
    make_f(1000, 1);
    cr_assert_eq(rename_if("f", "f~", 0, NULL), 0);
    struct eng_guard guard = of_version(ENG_GUARD_MOVED, f);
    expect_rename(__LINE__, "f", &guard, 10, 7, 0);
    expect_rename(__LINE__, "f", &guard, 10, 7, -EREMCHG);
    unit_write(&u, f, 10, 2, 0);
    expect_rename(__LINE__, "g", &guard, 10, 7, -ECANCELED);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f~"), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    while (eng_getattr(u.eng, f, &(struct eng_attr){0}) == 0)
        cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0); /* which frees it */
    expect_rename(__LINE__, "g", &guard, 10, 7, -EREMCHG);
}

Test(guards, of_the_other_operations)
{
    struct eng_attr attr = {.size = 0};
    const uint32_t mode = S_IFREG | 0644;
    make_f(1000, 1);
    struct eng_guard seen = of_version(ENG_GUARD_SEEN, f), moved = of_version(ENG_GUARD_MOVED, f);
    struct eng_guard state = of_state(state_of(f)), content = of_content(1000, 1), other = of_content(10, 1);
    /* link */
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "f", &nothing, NULL), -EEXIST);
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "f", &state, NULL), -EEXIST);
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "g", &state, NULL), -ECANCELED);
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "g", &content, NULL), -ECANCELED);
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "g", &moved, NULL), 0);
    cr_expect_eq(eng_link_if(u.eng, NULL, f, ENG_ROOT_INO, "h", &nothing, NULL), 0);
    /* create */
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "f", mode, 0, NULL, &moved, NULL), -EEXIST);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "i", mode, 0, NULL, &state, NULL), -ECANCELED);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "i", mode, 0, NULL, &seen, NULL), -EREMCHG);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "i", mode, 0, NULL, &moved, NULL), 0);
    unit_write(&u, f, 10, 2, 0);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "j", mode, 0, NULL, &moved, NULL), -ECANCELED);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "j", mode, 0, NULL, &nothing, NULL), 0);
    /* setattr */
    unit_write(&u, f, 1000, 1, 0);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &seen, NULL), -ECANCELED);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &state, NULL), -ECANCELED);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &other, NULL), -ECANCELED);
    cr_expect_eq(unit_attr(&u, f).size, 1000);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &content, NULL), 0);
    cr_expect_eq(unit_attr(&u, f).size, 0);
    seen = of_version(ENG_GUARD_SEEN, f);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &seen, NULL), 0);
    /* unlink */
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "f", &seen), -ECANCELED);
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "i", &seen), -EREMCHG);
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "f", &content), -ECANCELED);
    state = of_state(state_of(f));
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "f", &state), 0);
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "f", &state), -ENOENT);
}

Test(guards, that_mean_nothing_are_refused)
{
    struct eng_attr attr = {0};
    struct eng_guard bad = {.kind = (enum eng_guard_kind)0}, of_source = {.kind = ENG_GUARD_STORED};
    struct eng_guard state = of_state(state_of(f));
    unit_mkdir(&u, "d");
    (void)unit_create(&u, "g");
    cr_expect_eq(rename_if("f", "g", 0, &bad), -EINVAL);
    bad.kind = (enum eng_guard_kind)99;
    cr_expect_eq(rename_if("f", "g", 0, &bad), -EINVAL);
    cr_expect_eq(rename_if("f", "g", ENG_RENAME_EXCHANGE, &state), -EINVAL);
    cr_expect_eq(rename_if("f", "d", 0, &state), -EINVAL);
    cr_expect_eq(rename_if("d", "e", 0, &nothing), -EINVAL);
    cr_expect_eq(rename_if("g", "f", ENG_RENAME_NOREPLACE, &state), -EEXIST);
    cr_expect_eq(rename_if("g", "h", ENG_RENAME_NOREPLACE, &state), -ECANCELED);
    cr_expect_eq(rename_if("g", "f", ENG_RENAME_WHITEOUT, &state), 0);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &nothing, NULL), -EINVAL);
    cr_expect_eq(eng_setattr_if(u.eng, f, &attr, ENG_SET_SIZE, &of_source, NULL), -EINVAL);
    cr_expect_eq(eng_unlink_if(u.eng, ENG_ROOT_INO, "f", &nothing), -EINVAL);
    cr_expect_eq(eng_create_if(u.eng, NULL, ENG_ROOT_INO, "x", S_IFREG, 0, NULL, &of_source, NULL), -EINVAL);
}

Test(guards, as_texts)
{
    struct eng_guard guard;
    char hex[65];
    memset(hex, 'a', 64);
    hex[64] = 0;
    const struct {
        const char *text;
        int kind; /* 0: none */
    } cases[] = {{"none", ENG_GUARD_NONE},
                 {"state:1", ENG_GUARD_STATE},
                 {"state:18446744073709551615", ENG_GUARD_STATE},
                 {"state:18446744073709551616", 0},
                 {"state:", 0},
                 {"state:1 ", 0},
                 {"state:-1", 0},
                 {"state: 1", 0},
                 {"state:x", 0},
                 {"1", 0},
                 {"", 0},
                 {"None", 0},
                 {"none\n", 0},
                 {hex, ENG_GUARD_SHA256},
                 {hex + 1, 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int r = eng_guard_parse(cases[i].text, strlen(cases[i].text), &guard);
        cr_expect_eq(r, cases[i].kind ? 0 : -EINVAL, "%s", cases[i].text);
        cr_expect(r || (int)guard.kind == cases[i].kind, "%s", cases[i].text);
    }
    memcpy(hex, "0123456789ABCDEFabcdef", 22);
    cr_assert_eq(eng_guard_parse(hex, 64, &guard), 0);
    cr_expect_arr_eq(guard.sha256, ((uint8_t[]){0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xab}), 9);
    hex[63] = 'g';
    cr_expect_eq(eng_guard_parse(hex, 64, &guard), -EINVAL);
    cr_expect_eq(eng_guard_parse("none\0", 5, &guard), -EINVAL);
}

/* ---- of the source ------------------------------------------------------------------- */

static void set_guard(uint64_t ino, const char *value)
{
    cr_assert_eq(eng_setxattr(u.eng, ino, ENG_GUARD_XATTR, value, strlen(value), 0), 0);
}

static bool has_guard(uint64_t ino)
{
    char value[65];
    ssize_t n = eng_getxattr(u.eng, ino, ENG_GUARD_XATTR, value, sizeof value);
    cr_assert(n > 0 || n == -ENODATA);
    return n > 0;
}

static const struct eng_guard stored = {.kind = ENG_GUARD_STORED};

/* A new file `t` with that guard, renamed as expect_rename() has it; done, it has none any more. */
static void expect_stored(int line, const char *value, const char *to, int expect)
{
    uint64_t was = unit_lookup(&u, to), t = unit_file(&u, "t", 20, 9);
    set_guard(t, value);
    int r = rename_if("t", to, 0, &stored);
    cr_expect_eq(r, expect, "line %d: %d, not %d", line, r, expect);
    cr_expect_eq(unit_lookup(&u, to), r ? was : t, "line %d", line);
    cr_expect_eq(has_guard(t), r != 0, "line %d", line);
    if (r)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "t"), 0);
}

static void expect_stored_state(int line, uint64_t state, const char *to, int expect)
{
    char value[32];
    (void)snprintf(value, sizeof value, "state:%llu", (unsigned long long)state);
    expect_stored(line, value, to, expect);
}

Test(guards, of_the_source)
{
    make_f(1000, 1);
    expect_stored(__LINE__, "none", "f", -ECANCELED);
    expect_stored(__LINE__, "none", "g", 0);
    expect_stored_state(__LINE__, state_of(f) + 1, "f", -ECANCELED);
    expect_stored_state(__LINE__, state_of(f), "h", -ECANCELED);
    expect_stored_state(__LINE__, state_of(f), "f", 0);
    expect_stored_state(__LINE__, state_of(f), "f", 0); /* it has the content of the source by now */
    make_f(1000, 1);
    expect_stored(__LINE__, "state:x", "f", -EINVAL);
    cr_assert_eq(rename_if("f", "g", 0, &stored), 0); /* none: nothing is looked at */
    struct eng_guard otherwise = {.kind = ENG_GUARD_STORED, .otherwise = &nothing};
    (void)unit_create(&u, "f");
    cr_expect_eq(rename_if("g", "f", 0, &otherwise), -ECANCELED);
    set_guard(unit_lookup(&u, "g"), "state:0");
    cr_expect_eq(rename_if("g", "f", 0, &otherwise), -ECANCELED);
    cr_expect_eq(rename_if("g", "i", 0, &otherwise), -ECANCELED, "its own is what counts");
    cr_expect_eq(rename_if("g", "i", 0, NULL), 0, "who asks for nothing");
    otherwise.otherwise = &otherwise;
    cr_expect_eq(rename_if("i", "j", 0, &otherwise), -EINVAL);
}

Test(guards, of_the_source_of_a_link)
{
    struct eng_caller who = {.ref = true};
    struct eng_attr t;
    make_f(1000, 1);
    cr_assert_eq(eng_create(u.eng, &who, ENG_ROOT_INO, NULL, S_IFREG | 0644, 0, NULL, &t), 0);
    set_guard(t.ino, "none");
    cr_expect_eq(eng_link_if(u.eng, NULL, t.ino, ENG_ROOT_INO, "f", &stored, NULL), -EEXIST);
    cr_expect(has_guard(t.ino));
    cr_expect_eq(eng_link_if(u.eng, NULL, t.ino, ENG_ROOT_INO, "g", &stored, NULL), 0);
    cr_expect(!has_guard(t.ino));
    set_guard(t.ino, "state:1");
    cr_expect_eq(eng_link_if(u.eng, NULL, t.ino, ENG_ROOT_INO, "f", &stored, NULL), -EEXIST);
    cr_expect_eq(eng_link_if(u.eng, NULL, t.ino, ENG_ROOT_INO, "h", &stored, NULL), -ECANCELED);
    cr_expect_eq(eng_link(u.eng, NULL, t.ino, ENG_ROOT_INO, "h", NULL), 0);
    cr_expect_eq(rename_if("h", "g", 0, &stored), 0, "two names of one inode");
    cr_expect(has_guard(t.ino));
    cr_expect_eq(unit_lookup(&u, "h"), t.ino);
    cr_expect_eq(rename_if("h", "f", 0, &stored), -ECANCELED, "whichever of its names");
    cr_expect_eq(rename_if("h", "f", ENG_RENAME_EXCHANGE, &stored), -EINVAL);
    unit_mkdir(&u, "d");
    cr_expect_eq(rename_if("h", "d", 0, &stored), -EINVAL);
    cr_expect_eq(eng_forget(u.eng, t.ino, 1), 0);
}

/* Not that it is there, nor that it came or went, but to who asks for it by name. */
Test(guards, of_a_source_are_seen_by_who_asks_for_them_alone)
{
    struct eng_feed *feed;
    struct eng_change change;
    char list[64];
    make_f(1000, 1);
    cr_assert_eq(eng_setxattr(u.eng, f, "user.x", "1", 1, 0), 0);
    struct eng_attr was = unit_attr(&u, f);
    uint64_t state = state_of(f);
    cr_assert_eq(eng_feed_open(u.eng, ENG_FEED_NOW, &feed), 0);
    for (int i = 0; i < 2; i++) {
        set_guard(f, i ? "none" : "state:1");
        cr_expect(has_guard(f));
        cr_expect_eq(eng_listxattr(u.eng, f, list, sizeof list), 7);
        cr_expect_eq(eng_listxattr(u.eng, f, NULL, 0), 7);
        cr_expect_str_eq(list, "user.x");
    }
    cr_assert_eq(eng_removexattr(u.eng, f, ENG_GUARD_XATTR), 0);
    set_guard(f, "none");
    struct eng_attr now = unit_attr(&u, f);
    cr_expect_eq(memcmp(&was, &now, sizeof was), 0);
    cr_expect_eq(state_of(f), state);
    cr_expect_eq(eng_feed_read(feed, &change, 1), 0);
    eng_feed_close(feed);
    for (int pass = 0; pass < 3; pass++) { /* from the log, and from a checkpoint */
        if (pass == 1)
            unit_kill(&u, SIM_KEEP_ALL, 0);
        if (pass == 1)
            unit_open(&u);
        if (pass == 2)
            unit_reopen(&u);
        cr_expect(has_guard(f), "pass %d", pass);
        cr_expect_eq(state_of(f), state, "pass %d", pass);
    }
    cr_assert_eq(unit_problems(&u), 0);
}

static int count_version(void *arg, const struct eng_version *version)
{
    (void)version;
    ++*(unsigned *)arg;
    return 0;
}

static unsigned versions(void)
{
    unsigned n = 0;
    cr_assert_eq(eng_history(u.eng, "f", count_version, &n), 0);
    return n;
}

Test(guards, of_a_source_are_of_no_view_and_make_no_version)
{
    struct eng_view *view;
    char value[65];
    uint64_t batch, number;
    make_f(1000, 1);
    cr_assert_eq(eng_config_set(u.eng, "history", "1d"), 0);
    cr_assert_eq(eng_config_set(u.eng, "history_settle", "0"), 0);
    unit_write(&u, f, 10, 2, 0);
    unsigned n = versions();
    set_guard(f, "none");
    cr_assert_eq(eng_snapshot_create(u.eng, "s", &batch), 0);
    uint64_t past = eng_position(u.eng);
    set_guard(f, "state:1");
    cr_assert_eq(eng_removexattr(u.eng, f, ENG_GUARD_XATTR), 0);
    set_guard(f, "state:2");
    cr_expect_eq(versions(), n);
    for (int changed = 0; changed < 2; changed++) {
        if (changed)
            unit_write(&u, f, 10, 3, 0);
        cr_assert_eq(eng_view_open(u.eng, past, &view), 0);
        cr_expect_eq(eng_view_getxattr(view, f, ENG_GUARD_XATTR, value, sizeof value), -ENODATA);
        cr_expect_eq(eng_view_listxattr(view, f, value, sizeof value), 0);
        cr_assert_eq(eng_view_state(view, f, &number), 0);
        cr_expect(changed || number == state_of(f));
        eng_view_close(view);
    }
    cr_expect(has_guard(f));
    cr_expect_eq(versions(), n + 1);
    cr_assert_eq(unit_problems(&u), 0);
}

/* `f` is replaced by what has its content, though the guard does not hold. */
static void replace_by_same(uint32_t mode, const char *field)
{
    (void)unit_file(&u, "t", 1000, 1);
    struct eng_attr attr = {.mode = mode};
    uint64_t t = unit_lookup(&u, "t");
    cr_assert_eq(eng_setattr(u.eng, t, &attr, ENG_SET_MODE, NULL), 0);
    cr_assert_eq(eng_setxattr(u.eng, t, "user.x", field, strlen(field), 0), 0);
    set_guard(t, "state:0");
    cr_assert_eq(rename_if("t", "f", 0, &stored), 0);
}

static int show_number(void *arg, const struct eng_version *version)
{
    *(struct eng_version *)arg = *version;
    return 0;
}

Test(guards, of_what_has_the_content_already_make_no_version)
{
    struct eng_version last;
    make_f(1000, 1);
    cr_assert_eq(eng_config_set(u.eng, "history", "1d"), 0);
    cr_assert_eq(eng_config_set(u.eng, "history_settle", "0"), 0);
    replace_by_same(0644, "1");
    unsigned n = versions();
    cr_assert_eq(eng_history(u.eng, "f", show_number, &last), 0);
    uint64_t number = last.number;
    for (int i = 0; i < 5; i++)
        replace_by_same(0644, "1");
    for (int pass = 0; pass < 3; pass++) {
        if (pass == 1)
            unit_reopen(&u);
        if (pass == 2)
            cr_assert_eq(rename_if("f", "g", 0, NULL), 0);
        cr_assert_eq(eng_history(u.eng, pass == 2 ? "g" : "f", show_number, &last), 0);
        cr_expect_eq(last.number, number, "pass %d", pass);
        cr_expect_eq(last.ino, unit_lookup(&u, pass == 2 ? "g" : "f"));
        cr_expect(last.ended == ENG_VERSION_PRESENT && last.seen_at == 0);
        cr_expect(pass == 2 || versions() == n);
    }
    cr_assert_eq(rename_if("g", "f", 0, NULL), 0);
    n = versions();
    replace_by_same(0600, "1");
    cr_expect_eq(versions(), n + 1, "another mode");
    replace_by_same(0600, "2");
    cr_expect_eq(versions(), n + 2, "another field");
    replace_by_same(0600, "2");
    cr_expect_eq(versions(), n + 2);
    unit_write(&u, unit_lookup(&u, "f"), 10, 2, 0);
    cr_expect_eq(versions(), n + 3, "another content, of the one that is there now");
    unit_write(&u, unit_lookup(&u, "f"), 10, 1, 0);
    cr_expect_eq(versions(), n + 4);
    cr_assert_eq(unit_problems(&u), 0);
}

/* Guard, rename and removal are one batch: whichever part of the log is there, the guard is where its file
 * has not got the name. */
Test(guards, of_a_source_go_with_the_rename)
{
    for (uint64_t seed = 0; seed < 40; seed++) {
        make_f(1000, 1);
        (void)eng_unlink(u.eng, ENG_ROOT_INO, "t");
        uint64_t t = unit_file(&u, "t", 20, 9);
        char value[32];
        (void)snprintf(value, sizeof value, "state:%llu", (unsigned long long)state_of(f));
        set_guard(t, value);
        cr_assert_eq(eng_sync(u.eng), 0);
        cr_assert_eq(rename_if("t", "f", 0, &stored), 0);
        unit_kill(&u, SIM_RANDOM, seed);
        unit_open(&u);
        bool is_done = unit_lookup(&u, "f") == t;
        cr_assert_eq(unit_lookup(&u, "t"), is_done ? 0 : t, "seed %llu", (unsigned long long)seed);
        cr_assert_eq(has_guard(t), !is_done, "seed %llu", (unsigned long long)seed);
    }
}

/* Of a store without history too. */
Test(guards, by_state_do_not_mind_gathering)
{
    make_f(0, 0);
    for (uint64_t i = 0; i < 300; i++)
        unit_write(&u, f, 10, i, 20 * i);
    uint64_t state = state_of(f);
    unsigned before = unit_extents(&u, f);
    cr_assert_eq(content_gather(u.eng, f, 0, 6000), 0);
    cr_assert_lt(unit_extents(&u, f), before);
    cr_expect_eq(state_of(f), state);
    struct eng_guard guard = of_state(state);
    expect_rename(__LINE__, "f", &guard, 10, 7, 0);
}

/* ---- digests ------------------------------------------------------------------------ */

static unsigned writes; /* that are still made */

/* Another content while a digest is computed, or just before. */
static void write_meanwhile(void *arg, enum fault_point point)
{
    if (point != FP_PROOF_WANTED || !writes)
        return;
    writes--;
    hook_set(u.eng, NULL, NULL);
    unit_write(&u, f, 10, *(uint64_t *)arg + writes, 0);
    hook_set(u.eng, write_meanwhile, arg);
}

/* The digest is there, and the version moves before it is looked at. */
static void write_behind(void *arg, enum fault_point point)
{
    if (point != FP_READ_PINNED || !writes)
        return;
    writes--;
    hook_set(u.eng, NULL, NULL);
    unit_write(&u, f, 10, *(uint64_t *)arg + writes, 0);
    hook_set(u.eng, write_behind, arg);
}

Test(guards, of_a_content_that_is_changed_meanwhile)
{
    uint64_t seed = 100;
    make_f(300000, 1);
    struct eng_guard guard = of_content(300000, 1);
    writes = 1;
    hook_set(u.eng, write_meanwhile, &seed);
    expect_rename(__LINE__, "f", &guard, 10, 7, -ECANCELED);
    make_f(300000, 1);
    writes = UINT32_MAX;
    hook_set(u.eng, write_behind, &seed); /* for ever */
    uint64_t t = unit_file(&u, "t", 10, 7);
    cr_expect_eq(rename_if("t", "f", 0, &guard), -ECANCELED);
    hook_set(u.eng, NULL, NULL);
    cr_expect_eq(unit_lookup(&u, "t"), t);
}

/* Who computes the digests by itself is told which ones. */
Test(guards, with_digests_of_the_caller)
{
    make_f(300000, 1);
    uint64_t t = unit_file(&u, "t", 300000, 1);
    struct eng_proof proof = {0};
    struct eng_guard guard = of_content(10, 1);
    struct eng_digest_value of_f = {.version = unit_attr(&u, f).version, .size = 32}, of_t = of_f;
    struct eng_guard sum = of_content(300000, 1);
    memcpy(of_f.bytes, sum.sha256, 32);
    memcpy(of_t.bytes, sum.sha256, 32);
    of_t.version = unit_attr(&u, t).version;
    guard.proof = &proof;
    cr_assert_eq(rename_if("t", "f", 0, &guard), -EINPROGRESS);
    cr_assert_eq(proof.wanted, f);
    of_f.version--;
    eng_proof_add(&proof, 0, &of_f);
    cr_assert_eq(rename_if("t", "f", 0, &guard), -EINPROGRESS, "of what the file was is not enough");
    cr_assert_eq(proof.wanted, f);
    of_f.version++;
    eng_proof_add(&proof, 0, &of_f);
    cr_assert_eq(rename_if("t", "f", 0, &guard), -EINPROGRESS);
    cr_assert_eq(proof.wanted, t);
    eng_proof_add(&proof, 0, &of_t);
    cr_assert_eq(rename_if("t", "f", 0, &guard), 0, "the contents are the same");
    cr_assert_eq(unit_lookup(&u, "f"), t);

    (void)unit_file(&u, "s", 10, 1);
    proof = (struct eng_proof){0};
    cr_assert_eq(rename_if("s", "f", 0, &guard), -EINPROGRESS);
    cr_assert_eq(proof.wanted, t);
    eng_proof_add(&proof, -EIO, NULL);
    cr_assert_eq(rename_if("s", "f", 0, &guard), -EIO);
    proof = (struct eng_proof){0};
    int r, tries = 0;
    for (r = -EINPROGRESS; r == -EINPROGRESS; tries++) { /* a digest that is never right */
        r = rename_if("s", "f", 0, &guard);
        eng_proof_add(&proof, 0, &of_f);
    }
    cr_assert_eq(r, -ECANCELED);
    cr_assert_leq(tries, 20);
}

/* ---- races -------------------------------------------------------------------------- */

#define RACES 10000u

struct racer {
    pthread_t thread;
    unsigned number, won;
};

/* Each replaces `f` when it is in the state that it has seen, and counts how often that was so. What it
 * writes is its own: the same content as another's would be taken. */
static void *race(void *arg)
{
    struct racer *me = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "t%u", me->number);
    for (unsigned i = 0; i < RACES; i++) {
        struct eng_attr attr, at_f;
        struct eng_guard guard = {.kind = ENG_GUARD_STATE};
        int r = eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0644, 0, NULL, &attr);
        MUST(r == 0 || r == -EEXIST); /* left by one that was refused */
        if (r == -EEXIST)
            MUST(eng_lookup(u.eng, NULL, ENG_ROOT_INO, name, &attr) == 0);
        MUST(eng_lookup(u.eng, NULL, ENG_ROOT_INO, "f", &at_f) == 0);
        uint64_t content[2] = {0};
        ssize_t n = eng_read(u.eng, at_f.ino, content, sizeof content, 0);
        r = n < 0 ? (int)n : eng_state(u.eng, at_f.ino, &guard.state);
        if (r == -ESTALE) /* it was replaced, and has gone */
            continue;
        MUST(r == 0);
        content[0]++;
        content[1] = (uint64_t)i << 8 | me->number;
        MUST(eng_write(u.eng, attr.ino, content, sizeof content, 0) == sizeof content);
        r = eng_rename_if(u.eng, NULL, ENG_ROOT_INO, name, ENG_ROOT_INO, "f", 0, &guard);
        MUST(r == 0 || r == -ECANCELED);
        me->won += r == 0;
    }
    return NULL;
}

Test(guards, of_those_that_race_one_wins)
{
    struct racer racers[2] = {{.number = 0}, {.number = 1}};
    uint64_t count = 0;
    make_f(0, 0);
    cr_assert_eq(eng_write(u.eng, f, &count, sizeof count, 0), (ssize_t)sizeof count);
    for (size_t i = 0; i < ARRAY_LEN(racers); i++)
        cr_assert_eq(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    for (size_t i = 0; i < ARRAY_LEN(racers); i++)
        cr_assert_eq(pthread_join(racers[i].thread, NULL), 0);
    cr_assert_eq(eng_read(u.eng, unit_lookup(&u, "f"), &count, sizeof count, 0), (ssize_t)sizeof count);
    cr_expect_eq(count, racers[0].won + racers[1].won, "%llu of %u and %u", (unsigned long long)count,
                 racers[0].won, racers[1].won);
    cr_expect_gt(count, RACES / 2);
}
