/*
 * past_ops.h - an index, and the ops that make names and end them: what tests of past names begin with. */
#ifndef ENGRAMFS_TESTS_PAST_OPS_H
#define ENGRAMFS_TESTS_PAST_OPS_H

#include "inside.h"

#include "index/past_names.h"
#include "rng.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define LIVE UINT64_MAX /* end of what is there now */

enum fate { KEPT, LEFT_OUT, DROPPED }; /* of a life that has ended */

/* Of a name. */
struct life {
    uint64_t dir, ino, cookie;
    uint64_t began; /* truly */
    uint64_t begin; /* as it is shown: what was left out before it in its group counts as it */
    uint64_t end;
    enum fate fate;
    char text[16];
};

static struct index idx;
static uint64_t seq, seed;

static inline uint64_t below(uint64_t n)
{
    return rng_below(&seed, n);
}

static inline int apply(struct op op)
{
    cr_assert_eq(index_reserve(&idx, &op, 1), 0);
    return index_apply(&idx, &op, seq);
}

static inline void must_apply(struct op op)
{
    cr_assert_eq(apply(op), 0, "batch %llu: op %u", (unsigned long long)seq, op.type);
}

static inline struct op name_op(enum op_type type, uint8_t flags, uint64_t dir, const char *text,
                                uint64_t ino)
{
    return (struct op){.type = (uint8_t)type,
                       .flags = flags,
                       .parent = dir,
                       .ino = ino,
                       .name = text,
                       .name_len = (uint16_t)strlen(text)};
}

static inline uint64_t new_cookie(void)
{
    return index_new_cookie(&idx, true, seq);
}

static inline void link_op(uint64_t dir, const char *text, uint64_t ino, uint64_t cookie)
{
    struct op op = name_op(OP_LINK, 0, dir, text, ino);
    op.cookie = cookie;
    must_apply(op);
}

static inline void unlink_op(const struct life *l, uint8_t flags)
{
    must_apply(name_op(OP_UNLINK, flags, l->dir, l->text, l->ino));
}

static inline void repoint_op(const struct life *l, uint64_t ino, uint8_t flags)
{
    struct op op = name_op(OP_REPOINT, flags, l->dir, l->text, ino);
    op.other = l->ino;
    must_apply(op);
}

static inline int drop_op(const struct life *l)
{
    return apply((struct op){
        .type = OP_DROP_NAME, .parent = l->dir, .ino = l->ino, .cookie = l->cookie, .end = l->end});
}

static inline uint64_t inode_op(uint32_t mode)
{
    uint64_t ino = index_predict_ino(&idx, NULL);
    must_apply((struct op){.type = OP_CREATE, .ino = ino, .mode = mode});
    return ino;
}

static inline void tell(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "%s\n", line);
}

static inline void check_index(void)
{
    cr_assert_eq(index_verify(&idx, true, tell, NULL), 0, "batch %llu", (unsigned long long)seq);
}

/* A root, in batch 1. */
static inline void begin_index(uint64_t with_seed)
{
    seed = with_seed;
    seq = 1;
    cr_assert_eq(index_init(&idx, 1), 0);
    cr_assert_eq(inode_op(S_IFDIR | 0755), ENG_ROOT_INO);
}

#endif
