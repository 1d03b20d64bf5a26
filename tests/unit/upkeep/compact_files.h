/*
 * compact_files.h - the files that the tests of compaction work on. */
#ifndef ENGRAMFS_TESTS_COMPACT_FILES_H
#define ENGRAMFS_TESTS_COMPACT_FILES_H

#include "inside.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define N_FILES 24

static struct unit u;
static uint64_t inos[N_FILES]; /* "a", "b", ... */

static size_t size_of(int i)
{
    return 3000 + (size_t)i * 1777;
}

/*
 * Files of different sizes. The even ones were overwritten: what lies between the odd ones is garbage, and
 * the new copies lie in segments without any. */
static void setup(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < N_FILES; i++)
        inos[i] = unit_file(&u, (char[]){(char)('a' + i), 0}, size_of(i), (uint64_t)i);
    for (int i = 0; i < N_FILES; i += 2)
        unit_write(&u, inos[i], size_of(i), (uint64_t)i, 0);
}

static void teardown(void)
{
    unit_done(&u);
}

static void expect_all(void)
{
    for (int i = 0; i < N_FILES; i++)
        cr_assert(unit_holds(&u, inos[i], size_of(i), (uint64_t)i), "file %d", i);
    cr_assert_eq(unit_problems(&u), 0);
}

#endif
