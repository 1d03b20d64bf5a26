/*
 * one_line.h - an index with one file `ino`, in `slot`, for each test of a suite about its past states; batch
 * `seq` is the one that ops are applied in. */
#ifndef ENGRAMFS_TESTS_ONE_LINE_H
#define ENGRAMFS_TESTS_ONE_LINE_H

#include "index/apply.h"
#include "index/extents.h"
#include "index/past.h"
#include "index/past_read.h"
#include "index/verify.h"

#include "base/util.h"
#include "engine.h"
#include "must.h"

#include <criterion/criterion.h>

#define SEGS 3u

static struct index idx;
static uint64_t ino, seq;
static uint32_t slot;

static void done(void)
{
    index_free(&idx);
}

static int apply(const struct op *ops, size_t n)
{
    MUST(index_reserve(&idx, ops, n) == 0);
    int r = 0;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = index_apply(&idx, &ops[i], seq);
    return r;
}

static uint64_t make(uint32_t mode)
{
    struct op op = {.type = OP_CREATE, .ino = index_predict_ino(&idx, NULL), .mode = mode};
    seq++;
    MUST(apply(&op, 1) == 0);
    return op.ino;
}

static void begin(void)
{
    done();
    seq = 0;
    MUST(index_init(&idx, 1) == 0);
    (void)make(S_IFDIR | 0755);
    ino = make(S_IFREG | 0644);
    slot = ino_slot(ino);
    for (uint32_t seg = 1; seg <= SEGS; seg++)
        MUST(index_touch_segment(&idx, seg, SEGMENT_LOG, 1) == 0);
}

static inline void print(void *arg, const char *line)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

#endif
