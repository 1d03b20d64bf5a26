/*
 * history_tree.h - a store that keeps a history by itself, under a clock that the test moves; and what its
 * views show. */
#ifndef ENGRAMFS_TESTS_HISTORY_TREE_H
#define ENGRAMFS_TESTS_HISTORY_TREE_H

#include "hand_clock.h"
#include "past_changes.h"

#include "hook.h"
#include "index/moments.h"

static uint64_t versions; /* that are kept, 0 all */

static inline void set_history(uint64_t seconds)
{
    atomic_store(&u.eng->config.history_is_known, true);
    atomic_store(&u.eng->config.history, seconds);
    atomic_store(&u.eng->config.history_settle, 1);
    atomic_store(&u.eng->config.history_versions, versions);
}

/* A store in which the past is whole from now on. */
static inline void begin(uint64_t seed)
{
    tree_begin(false, seed);
    by_itself = folder_times = true;
    n_names = 0;
    set_history(1u << 30);
    (void)unit_create(&u, "first");
    cr_assert_eq(u.eng->idx.s.floor, last_batch());
    pass_ms(60000);
}

static inline uint64_t n_past(void)
{
    return u.eng->idx.s.n_past;
}

static inline uint64_t n_past_names(void)
{
    return u.eng->idx.s.n_past_names;
}

/* Under the hand clock all that follows begins another moment. */
static inline void note(void)
{
    times[last_batch()] = now_ns();
    tree_note();
}

static inline void compare_all(void)
{
    for (uint64_t at = u.eng->idx.s.floor; at <= last_batch(); at++)
        if (sights[at])
            tree_compare(at);
}

static inline void compare_after_all(void)
{
    compare_all();
    cr_assert_eq(unit_problems(&u), 0);
    MUST(eng_sync(u.eng) == 0);
    unit_kill(&u, SIM_DROP_ALL, 1);
    unit_open(&u);
    set_history(1u << 30);
    compare_all();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    unit_reopen(&u);
    set_history(1u << 30);
    compare_all();
    cr_assert_eq(unit_problems(&u), 0);
}

/* Writes, and the state is what is seen of `seed` then. */
static inline uint64_t write_at(uint64_t ino, uint64_t seed)
{
    unit_write(&u, ino, 3000, seed, 0);
    return last_batch();
}

static inline void expect_shown(uint64_t at, uint64_t ino, uint64_t seed)
{
    struct eng_view *view;
    uint8_t got[3000], *want = unit_bytes(sizeof got, seed);
    MUST(eng_view_open(u.eng, at, &view) == 0);
    cr_assert_eq(eng_view_read(view, ino, got, sizeof got, 0), (ssize_t)sizeof got);
    cr_assert_eq(memcmp(got, want, sizeof got), 0, "batch %llu shows not %llu", (unsigned long long)at,
                 (unsigned long long)seed);
    eng_view_close(view);
    free(want);
}

static inline uint64_t shown(uint64_t at, const char *name)
{
    struct eng_view *view;
    struct eng_attr attr;
    MUST(eng_view_open(u.eng, at, &view) == 0);
    int r = eng_view_lookup(view, ENG_ROOT_INO, name, &attr);
    eng_view_close(view);
    return r ? 0 : attr.ino;
}

static inline void move(const char *from, const char *to)
{
    MUST(eng_rename(u.eng, NULL, ENG_ROOT_INO, from, ENG_ROOT_INO, to, 0) == 0);
}

static inline void sweep(void)
{
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
}

static inline bool nothing_is_left(void)
{
    const struct index_scalars *s = &u.eng->idx.s;
    return !s->n_past && !s->n_past_names && !s->past_live && !u.eng->idx.n_orphans;
}

/* Each past state and name that is left a batch from the floor on shows, or a link is counted by. */
static inline void expect_no_more(void)
{
    const struct index *idx = &u.eng->idx;
    for (uint32_t i = 1; i < idx->past_names.used; i++) {
        const struct past_name_rec *past = index_past_name(idx, i);
        cr_assert(!past || past->end > idx->s.floor);
    }
    for (uint32_t slot = 1; slot < idx->inodes.used; slot++) {
        const struct inode_rec *past = index_slot(idx, slot);
        bool is_oldest = past && past->flags & INODE_PAST && !past->past;
        cr_assert(!is_oldest || past_end(past) > idx->s.floor);
    }
}

#endif
