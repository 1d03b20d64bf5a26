/*
 * result.h - what became of a copy, an import or an export of a whole tree. */
#ifndef ENGRAMCTL_RESULT_H
#define ENGRAMCTL_RESULT_H

#include <stdint.h>

struct copy_result {
    uint64_t files, dirs, others, links, bytes;
    uint64_t failed; /* each was reported on stderr */
    /* Of those: folders left out with all in them, and folders not listed to their end. */
    uint64_t folders, cut;
    uint64_t unfinished; /* left out: what imports have not finished */
};

#endif
