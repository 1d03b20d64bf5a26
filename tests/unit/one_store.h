/*
 * one_store.h - a new store `u` for each test of TestSuite(name, .init = setup, .fini = teardown). */
#ifndef ENGRAMFS_TESTS_ONE_STORE_H
#define ENGRAMFS_TESTS_ONE_STORE_H

#include "unit_store.h"

static struct unit u;

static void setup(void)
{
    unit_new(&u, 0);
}

static void teardown(void)
{
    unit_done(&u);
}

#endif
