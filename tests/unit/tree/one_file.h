/*
 * one_file.h - a new store `u` with an empty file `f` for each test of a suite, as one_store.h. */
#ifndef ENGRAMFS_TESTS_ONE_FILE_H
#define ENGRAMFS_TESTS_ONE_FILE_H

#include "unit_store.h"

static struct unit u;
static uint64_t f;

static void setup(void)
{
    unit_new(&u, 0);
    f = unit_create(&u, "f");
}

static void teardown(void)
{
    unit_done(&u);
}

#endif
