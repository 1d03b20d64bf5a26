/*
 * diff_text.h - a difference between two views as diff(1) shows it. */
#ifndef ENGRAM_CTL_DIFF_TEXT_H
#define ENGRAM_CTL_DIFF_TEXT_H

#include "engine.h"

/* What is compared: borrowed. */
struct diff_sides {
    struct eng *eng;
    struct eng_view *before, *after; /* after NULL: the store as it is */
};

/* Has diff(1) print on stdout how the content of a regular file differs, under the names a/PATH and b/PATH;
 * of anything else, and of what is the same, nothing. 0; -ENOENT: there is no diff(1); what reading the
 * content or making a temporary file of it came to; -EIO: diff(1) failed. */
int diff_text_print(const struct diff_sides *sides, const struct eng_difference *d, const char *path);

#endif
