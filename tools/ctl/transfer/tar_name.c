/*
 * tar_name.c - how tar archives are called. Pure. */
#include "ctl/transfer/tar.h"

#include <string.h>

bool tar_is_name(const char *path)
{
    static const char *const ends[] = {".tar",    ".tgz",     ".tbz2",   ".txz",     ".tzst",
                                       ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t m = strlen(ends[i]);
        if (n > m && !strcmp(path + n - m, ends[i]))
            return true;
    }
    return false;
}
