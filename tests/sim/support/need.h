/*
 * need.h - for what a test needs but is not about: aborts with a line that says where. */
#ifndef ENGRAMFS_TESTS_NEED_H
#define ENGRAMFS_TESTS_NEED_H

#include <stdio.h>
#include <stdlib.h>

#define UNIT_NEED(cond)                                                                                      \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            (void)fprintf(stderr, "%s:%d: need %s\n", __FILE__, __LINE__, #cond);                            \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
