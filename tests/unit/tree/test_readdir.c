/*
 * test_readdir.c - listing directories: order, cookies that stay good while
 * entries come and go, and references. */
#include "inside.h"

#include "must.h"
#include "rng.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define N 10000u

static struct unit u;

static void setup(void)
{
    unit_new(&u, 1 << 20);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(readdir, .init = setup, .fini = teardown);

static uint64_t make(uint64_t dir, const char *prefix, unsigned i)
{
    char name[32];
    struct eng_attr attr;
    (void)snprintf(name, sizeof(name), "%s%u", prefix, i);
    MUST(eng_create(u.eng, NULL, dir, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
    return attr.ino;
}

static void drop(uint64_t dir, const char *prefix, unsigned i)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%s%u", prefix, i);
    MUST(eng_unlink(u.eng, dir, name) == 0);
}

/* A listing in pieces of `chunk` entries. */
struct listing {
    uint64_t cookie;
    unsigned chunk, got;
    unsigned seen[N]; /* how often "f<i>" was delivered */
    unsigned others, last;
    bool ordered;
};

static int collect(void *arg, const struct eng_dirent *entry)
{
    struct listing *l = arg;
    unsigned i;
    if (l->got == l->chunk)
        return 1;
    MUST(entry->cookie > l->cookie);
    MUST(strlen(entry->name) == entry->name_len);
    l->cookie = entry->cookie;
    l->got++;
    if (sscanf(entry->name, "f%u", &i) == 1 && i < N) {
        l->seen[i]++;
        l->ordered = l->ordered && (l->last == N || i > l->last);
        l->last = i;
    } else {
        l->others++;
    }
    return 0;
}

/* False: the end. */
static bool list_chunk(struct listing *l, uint64_t dir)
{
    l->got = 0;
    MUST(eng_readdir(u.eng, NULL, dir, l->cookie, collect, l) == 0);
    return l->got > 0;
}

static struct listing *new_listing(unsigned chunk)
{
    struct listing *l = calloc(1, sizeof *l);
    MUST(l);
    l->chunk = chunk;
    l->last = N;
    l->ordered = true;
    return l;
}

static uint64_t big_directory(void)
{
    uint64_t dir = unit_mkdir(&u, "big");
    for (unsigned i = 0; i < N; i++)
        (void)make(dir, "f", i);
    return dir;
}

Test(readdir, delivers_each_once_in_order_of_creation)
{
    uint64_t dir = big_directory();
    static const unsigned chunks[] = {1, 7, 190, N + 2, N + 100};
    for (unsigned c = 0; c < ARRAY_LEN(chunks); c++) {
        struct listing *l = new_listing(chunks[c]);
        while (list_chunk(l, dir))
            ;
        for (unsigned i = 0; i < N; i++)
            MUST(l->seen[i] == 1);
        cr_assert(l->ordered);
        cr_assert_eq(l->others, 2, "the dots");
        free(l);
        if (c == 2)
            unit_reopen(&u); /* cookies outlive the process */
    }
}

/* Those behind the position and those before it: a listing under way tells no file twice. */
Test(readdir, a_name_changed_in_its_directory_keeps_its_place)
{
    uint64_t dir = big_directory();
    uint64_t mark = eng_dir_mark(u.eng);
    struct listing *l = new_listing(N / 2);
    MUST(list_chunk(l, dir));
    for (unsigned i = 0; i < N; i += 3) {
        char from[32], to[32];
        (void)snprintf(from, sizeof(from), "f%u", i);
        (void)snprintf(to, sizeof(to), "%u.new", i);
        MUST(eng_rename(u.eng, NULL, dir, from, dir, to, 0) == 0);
    }
    unsigned listed = l->got;
    while (list_chunk(l, dir))
        listed += l->got;
    cr_assert_eq(listed, N + 2);
    cr_assert_leq(l->cookie, mark, "nothing was made");
    (void)make(dir, "made", 1);
    MUST(list_chunk(l, dir));
    cr_assert_gt(l->cookie, mark);
    unit_reopen(&u);
    struct listing *again = new_listing(N + 10);
    MUST(list_chunk(again, dir));
    cr_assert_eq(again->got, N + 3);
    cr_assert_gt(eng_dir_mark(u.eng), mark);
    free(again);
    free(l);
}

Test(readdir, entries_that_stay_are_delivered_once_whatever_comes_and_goes)
{
    uint64_t dir = big_directory(), rng = test_seed();
    static bool removed[N], early[N];
    struct listing *l = new_listing(50);
    unsigned added = 0;
    while (list_chunk(l, dir)) {
        for (unsigned k = 0; k < 40; k++) { /* some already delivered, some not */
            unsigned i = (unsigned)rng_below(&rng, N);
            if (removed[i])
                continue;
            drop(dir, "f", i);
            removed[i] = true;
            early[i] = !l->seen[i];
        }
        if (added < 500)
            (void)make(dir, "new", added++);
        if (added % 100 == 50)
            MUST(checkpoint_write(u.eng) == 0);
    }
    for (unsigned i = 0; i < N; i++) {
        MUST(l->seen[i] <= 1);
        MUST(removed[i] || l->seen[i] == 1);
        MUST(!early[i] || l->seen[i] == 0);
    }
    free(l);
}

Test(readdir, a_directory_is_emptied_while_it_is_listed)
{
    uint64_t dir = big_directory();
    struct listing *l = new_listing(100); /* rm -r */
    unsigned done = 0;
    while (list_chunk(l, dir)) {
        for (unsigned i = 0; i < N; i++) {
            if (l->seen[i] == 1) {
                drop(dir, "f", i);
                l->seen[i]++;
                done++;
            }
        }
    }
    cr_assert_eq(done, N);
    cr_assert_eq(eng_rmdir(u.eng, ENG_ROOT_INO, "big"), 0);
    free(l);
    cr_assert_eq(unit_problems(&u), 0);
}

struct first {
    unsigned n, stop_at;
    char names[4][16];
    uint64_t inos[4], cookies[4];
};

static int collect_first(void *arg, const struct eng_dirent *entry)
{
    struct first *f = arg;
    if (f->n == f->stop_at)
        return 7;
    (void)snprintf(f->names[f->n], sizeof(f->names[0]), "%s", entry->name);
    f->inos[f->n] = entry->attr.ino;
    f->cookies[f->n++] = entry->cookie;
    return 0;
}

Test(readdir, dots_come_first_and_references_are_counted_for_what_was_delivered)
{
    uint64_t dir = unit_mkdir(&u, "d"), a = make(dir, "a", 0), b = make(dir, "b", 0);
    struct eng_caller with_ref = {.ref = true};
    struct first f = {.stop_at = 3};
    cr_assert_eq(eng_readdir(u.eng, &with_ref, dir, 0, collect_first, &f), 0);
    cr_assert_eq(f.n, 3);
    cr_assert(!strcmp(f.names[0], ".") && !strcmp(f.names[1], "..") && !strcmp(f.names[2], "a0"));
    cr_assert(f.inos[0] == dir && f.inos[1] == ENG_ROOT_INO && f.inos[2] == a);
    cr_assert(f.cookies[0] == 1 && f.cookies[1] == 2 && f.cookies[2] > 2);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(a)), 1);
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(b)), 0, "its entry was refused");
    cr_assert_eq(index_refs(&u.eng->idx, ino_slot(dir)) + index_refs(&u.eng->idx, 1), 0);
    f = (struct first){.stop_at = 4};
    cr_assert_eq(eng_readdir(u.eng, NULL, ENG_ROOT_INO, 0, collect_first, &f), 0);
    cr_assert(f.inos[1] == ENG_ROOT_INO, "the root is its own parent");
    f = (struct first){.stop_at = 4};
    cr_assert_eq(eng_readdir(u.eng, NULL, dir, UINT64_MAX - 1, collect_first, &f), 0);
    cr_assert_eq(f.n, 0);
    cr_assert_eq(eng_readdir(u.eng, NULL, dir, UINT64_MAX, collect_first, &f), 0);
    cr_assert_eq(f.n, 0, "beyond the last there is nothing");
    cr_assert_eq(eng_readdir(u.eng, NULL, a, 0, collect_first, &f), -ENOTDIR);
    cr_assert_eq(eng_readdir(u.eng, NULL, 999, 0, collect_first, &f), -ESTALE);
}
