/*
 * owners.h - whether the summaries of all segments lead to what the whole index names in them. */
#ifndef ENGRAMFS_TESTS_OWNERS_H
#define ENGRAMFS_TESTS_OWNERS_H

#include <stdbool.h>

struct eng;

#define OWNERS_WHY_MAX 256

/* Of a store that nobody changes meanwhile: each summary, alone, and with the walk for what it has missed.
 * Where a summary had to be made by a scan that met damage it may lack something alone. False, with the
 * reason in `why`. */
bool owners_agree(struct eng *eng, char why[OWNERS_WHY_MAX]);

#endif
