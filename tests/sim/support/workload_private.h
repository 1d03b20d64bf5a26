/*
 * workload_private.h - what the files of the workloads share. */
#ifndef ENGRAMFS_TESTS_WORKLOAD_PRIVATE_H
#define ENGRAMFS_TESTS_WORKLOAD_PRIVATE_H

#include "workload.h"

#define OP_MTIME_BASE INT64_C(700000000000000000) /* ns; in 1992 */
#define OP_EMBEDDING "user.engram.embedding"
#define OP_EMBEDDING_SIZE 3072
#define OP_CONFIDENCE "user.engram.confidence"

/* The `i`th record of an OP_PUT_MANY. */
struct op_record {
    char name[8], confidence[8];
    uint64_t size, seed;
    int64_t mtime;
    bool with_embedding;
};
void op_record(const struct op *op, unsigned i, struct op_record *ret_record);

/* The first of the paths of an OP_RESTORE; returns where the others begin. */
const char *op_next_path(const char *paths, char ret_path[48]);

/* Of an OP_CHOWN; the group is one more. */
uint32_t op_uid(const struct op *op);

/* malloc'd bytes that depend on `seed` only. */
uint8_t *op_bytes(uint64_t size, uint64_t seed);

#endif
