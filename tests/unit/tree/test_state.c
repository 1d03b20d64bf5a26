/*
 * test_state.c - the names of states: each change of content or attributes gives a new one, nothing else
 * does, none is given twice, and a view shows that of then. SHA-256 of contents. */
#include "inside.h"
#include "must.h"
#include "one_file.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(state, .init = setup, .fini = teardown, .timeout = 60);

static uint64_t state_of(uint64_t ino)
{
    uint64_t state = 0;
    cr_assert_eq(eng_state(u.eng, ino, &state), 0);
    return state;
}

static void expect_new(uint64_t *state, const char *what)
{
    uint64_t now = state_of(f);
    cr_expect_gt(now, *state, "%s: %llu", what, (unsigned long long)now);
    *state = now;
}

static void set(unsigned mask, struct eng_attr attr)
{
    cr_assert_eq(eng_setattr(u.eng, f, &attr, mask, NULL), 0);
}

Test(state, each_change_of_content_or_fields_gives_a_new_name)
{
    uint64_t state = state_of(f);
    unit_write(&u, f, 100, 1, 0);
    expect_new(&state, "a write");
    unit_write(&u, f, 100, 1, 0);
    expect_new(&state, "the same bytes");
    unit_write(&u, f, 10, 2, 5000);
    expect_new(&state, "a write behind the end");
    set(ENG_SET_SIZE, (struct eng_attr){.size = 60});
    expect_new(&state, "a truncation");
    set(ENG_SET_SIZE, (struct eng_attr){.size = 6000});
    expect_new(&state, "a longer one");
    cr_assert_eq(eng_fallocate(u.eng, f, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 0, 50), 0);
    expect_new(&state, "a hole");
    cr_assert_eq(eng_setxattr(u.eng, f, "user.x", "1", 1, 0), 0);
    expect_new(&state, "an attribute");
    cr_assert_eq(eng_setxattr(u.eng, f, "user.x", "2", 1, 0), 0);
    expect_new(&state, "another value");
    cr_assert_eq(eng_removexattr(u.eng, f, "user.x"), 0);
    expect_new(&state, "no attribute");
}

Test(state, nothing_else_does)
{
    struct eng_caller who = {0};
    unit_write(&u, f, 100000, 1, 0);
    unit_write(&u, f, 5000, 2, 3000);
    uint64_t state = state_of(f);
    struct eng_attr attr;
    char buf[10];
    cr_assert_eq(eng_read(u.eng, f, buf, sizeof buf, 0), sizeof buf);
    set(ENG_SET_MODE | ENG_SET_UID, (struct eng_attr){.mode = 0600, .uid = 5});
    set(ENG_SET_MTIME_NOW | ENG_SET_ATIME_NOW, (struct eng_attr){0});
    cr_assert_eq(eng_link(u.eng, &who, f, ENG_ROOT_INO, "g", NULL), 0);
    cr_assert_eq(eng_rename(u.eng, &who, ENG_ROOT_INO, "g", ENG_ROOT_INO, "h", 0), 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(eng_lookup(u.eng, &who, ENG_ROOT_INO, "h", &attr), 0);
    cr_expect_eq(state_of(f), state, "times, modes and names");
    struct eng_attr before;
    cr_assert_eq(eng_getattr(u.eng, f, &before), 0);
    unit_write(&u, unit_create(&u, "garbage"), 100000, 3, 0);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_eq(eng_getattr(u.eng, f, &attr), 0);
    cr_expect_gt(attr.generation, before.generation, "the compaction moved it");
    cr_expect_eq(state_of(f), state, "compaction");
    unit_reopen(&u);
    cr_expect_eq(state_of(f), state, "another opening");
}

Test(state, no_two_files_have_one)
{
    enum { N = 500 };
    uint64_t seen[N];
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "n%u", i % 7);
        if (i >= 7)
            cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
        seen[i] = state_of(unit_create(&u, name));
        for (unsigned k = 0; k < i; k++)
            cr_assert_neq(seen[k], seen[i], "%u and %u", k, i);
        if (i % 100 == 99)
            unit_reopen(&u);
    }
}

Test(state, a_view_shows_that_of_then)
{
    uint64_t batch, then, shown;
    struct eng_view *view;
    unit_write(&u, f, 100, 1, 0);
    then = state_of(f);
    cr_assert_eq(eng_snapshot_create(u.eng, "one", &batch), 0);
    cr_assert_eq(eng_view_open(u.eng, batch, &view), 0);
    cr_assert_eq(eng_view_state(view, f, &shown), 0);
    cr_expect_eq(shown, then, "of what has not changed");
    unit_write(&u, f, 100, 2, 50);
    cr_assert_eq(eng_view_state(view, f, &shown), 0);
    cr_expect_eq(shown, then, "of a past state");
    cr_expect_gt(state_of(f), then);
    uint64_t later = unit_create(&u, "later");
    cr_expect_eq(eng_view_state(view, later, &shown), -ESTALE);
    cr_expect_eq(eng_view_state(NULL, f, &shown), -EINVAL);
    cr_expect_eq(eng_state(u.eng, f, NULL), -EINVAL);
    cr_expect_eq(eng_state(u.eng, f + 1000, &shown), -ESTALE);
    eng_view_close(view);
}

/* ---- SHA-256 (the digests of FIPS 180-4, and of a mebibyte of zeros by sha256sum) ---------------- */

static void expect_sha256(const char *want)
{
    struct eng_digest *d;
    struct eng_digest_value value;
    char buf[1000], text[2 * ENG_DIGEST_MAX + 1] = "";
    int r;
    cr_assert_eq(eng_digest_begin(u.eng, f, ENG_DIGEST_SHA256, &d), 0);
    do
        r = eng_digest_step(d, buf, sizeof buf, &value);
    while (r > 0);
    eng_digest_end(d);
    cr_assert_eq(r, 0);
    cr_assert_eq(value.size, 32);
    for (unsigned i = 0; i < value.size; i++)
        (void)snprintf(text + (size_t)2 * i, 3, "%02x", value.bytes[i]);
    cr_expect_str_eq(text, want);
}

Test(state, sha256_is_that_of_the_standard)
{
    static const char long_one[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    expect_sha256("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    cr_assert_eq(eng_write(u.eng, f, "abc", 3, 0), 3);
    expect_sha256("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert_eq(eng_write(u.eng, f, long_one, sizeof long_one - 1, 0), sizeof long_one - 1);
    expect_sha256("248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    set(ENG_SET_SIZE, (struct eng_attr){.size = 0});
    set(ENG_SET_SIZE, (struct eng_attr){.size = 1 << 20});
    expect_sha256("30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58");
}
