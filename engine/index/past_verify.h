/*
 * past_verify.h - the past names' part of index_verify().
 *
 * Locking: as verify.h. */
#ifndef ENGRAMFS_PAST_VERIFY_H
#define ENGRAMFS_PAST_VERIFY_H

#include "index/index.h"

/* Checks each past name, and marks its text in `cells` (names_mark()), in which those of live names are
 * marked. Each finding goes to `problem` as a line. Returns the number of findings, or -ENOMEM; idx->cancel
 * ends it early. */
int64_t past_names_verify(const struct index *idx, uint8_t *cells,
                          void (*problem)(void *arg, const char *line), void *arg);

#endif
