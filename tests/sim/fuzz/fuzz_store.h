/*
 * fuzz_store.h - a small store of everything, and what is done with one whose
 * files have been altered. A property that does not hold aborts, which the fuzzer reports. */
#ifndef ENGRAMFS_TESTS_FUZZ_STORE_H
#define ENGRAMFS_TESTS_FUZZ_STORE_H

#include "unit_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_LOG "s00000001.seg"

/* A store that died (`closed` false: all is in its log) or was closed (all is in its checkpoint). Made
 * once. */
const struct unit *fuzz_store(bool closed);
/* The same of some size: 2,000 directories below each other, 700 beside each other, and a file of 700
 * attributes and 350 extents. */
const struct unit *fuzz_store_large(bool closed);
/* Opens it, reads, checks, changes and compacts it, closes it; and again: what was let in is let in again.
 * Frees it. */
void fuzz_use(struct unit *c);
/* Makes sums, numbers and chain of the batches of a log image right again, as far as their lengths allow. */
void fuzz_reseal_log(uint8_t *image, size_t size);
/* The same for the chunks, the manifest and the footer of a checkpoint. */
void fuzz_reseal_checkpoint(uint8_t *image, size_t size);

#endif
