/*
 * test_sorted.c - records in order, in as much memory as they may take: in one piece, in runs, and in more
 * runs than are merged at once. */
#include "ctl/sorted.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

struct told {
    uint64_t key, n;
    char text[64];
};

static int check(void *arg, uint64_t key, const void *data, size_t len)
{
    struct told *t = arg;
    cr_assert_lt(len, sizeof t->text);
    bool is_behind = !t->n || key > t->key;
    if (!is_behind && key == t->key)
        is_behind = strncmp(t->text, data, sizeof t->text) < 0;
    cr_assert(is_behind, "%llu behind %llu", (unsigned long long)key, (unsigned long long)t->key);
    t->key = key;
    memcpy(t->text, data, len);
    t->text[len] = 0;
    t->n++;
    return 0;
}

static void sort(unsigned n, size_t bytes)
{
    struct sorted *s = sorted_new(bytes);
    struct told told = {.n = 0};
    char text[64];
    for (unsigned i = 0; i < n; i++) {
        unsigned k = (i * 7919u) % n; /* each once, and a third of them again */
        int len = snprintf(text, sizeof text, "record %05u%.*s", k, (int)(k % 30),
                           "..............................");
        cr_assert_eq(sorted_add(s, k / 3, text, (size_t)len + 1), 0);
        cr_assert(k % 3 || sorted_add(s, k / 3, text, (size_t)len + 1) == 0);
    }
    cr_assert_eq(sorted_tell(s, check, &told), 0);
    cr_assert_eq(told.n, n, "%llu", (unsigned long long)told.n);
    sorted_free(s);
}

Test(sorted, in_memory)
{
    sort(1, 1 << 20);
    sort(5000, 1 << 20);
}

Test(sorted, in_runs)
{
    sort(5000, 50000);
}

Test(sorted, in_more_runs_than_are_merged_at_once)
{
    sort(5000, 2000);
}

static int stop(void *arg, uint64_t key, const void *data, size_t len)
{
    (void)key, (void)data, (void)len;
    return --*(int *)arg ? 0 : 7;
}

Test(sorted, until_it_is_told_to_stop)
{
    struct sorted *s = sorted_new(1000);
    int left = 3;
    for (unsigned i = 0; i < 100; i++)
        cr_assert_eq(sorted_add(s, i, "", 0), 0);
    cr_assert_eq(sorted_tell(s, stop, &left), 7);
    cr_assert_eq(left, 0);
    sorted_free(s);
    s = sorted_new(1000);
    cr_assert_eq(sorted_tell(s, stop, &left), 0);
    sorted_free(s);
    sorted_free(NULL);
}
