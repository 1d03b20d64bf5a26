/*
 * test_history_figures.c - what the figures tell of a history: what is kept, since when, and why what went
 * did. */
#include "tree/history_tree.h"

TestSuite(history_figures, .timeout = 100, .fini = tree_end);

static uint64_t f;

static void setup_file(void)
{
    begin(1);
    f = unit_file(&u, "f", 3000, 1);
    pass_ms(2000);
}

/* So many states of f are kept. */
static void keep_states(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        (void)write_at(f, i + 2);
        pass_ms(2000);
    }
}

static struct eng_stats now_told(void)
{
    return unit_stats(&u);
}

/* Of what was let go since `before`, so much for that reason, and nothing for another one. */
#define WENT(before, field, n)                                                                               \
    do {                                                                                                     \
        struct eng_stats after_ = now_told();                                                                \
        const struct eng_stats *b_ = &(before), *a_ = &after_;                                               \
        uint64_t all_ = a_->dropped_unseen + a_->dropped_off + a_->dropped_age + a_->dropped_bytes +         \
                        a_->dropped_versions + a_->dropped_full_disk;                                        \
        all_ -= b_->dropped_unseen + b_->dropped_off + b_->dropped_age + b_->dropped_bytes +                 \
                b_->dropped_versions + b_->dropped_full_disk;                                                \
        uint64_t went_ = a_->field - b_->field;                                                              \
        cr_assert(went_ == (n) && all_ == (n), "%llu of %llu, not %llu", (unsigned long long)went_,          \
                  (unsigned long long)all_, (unsigned long long)(n));                                        \
    } while (0)

Test(history_figures, tell_what_is_kept)
{
    setup_file();
    struct eng_stats before = now_told();
    cr_assert(before.past_states == 0 && before.past_since > 0 && before.past_since < now_ns());
    keep_states(3);
    (void)write_at(f, 10);
    (void)write_at(f, 11); /* what stood too short is not kept */
    struct eng_stats after = now_told();
    cr_assert(after.past_states == 4 && after.past_names == 0);
    cr_assert_eq(after.states_kept - before.states_kept, 4);
    cr_assert_eq(after.states_amended - before.states_amended, 1);
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    cr_assert_eq(now_told().past_names, 1);
    set_history(0);
    sweep();
    for (unsigned i = 0; i < 20; i++)
        change();
    cr_assert(now_told().past_since == 0 && now_told().past_states == 0);
}

Test(history_figures, tell_what_is_too_old)
{
    setup_file();
    keep_states(5);
    struct eng_stats before = now_told();
    pass_ms(1000000);
    set_history(100);
    sweep();
    WENT(before, dropped_age, 5);
    cr_assert_gt(now_told().past_since, before.past_since);
}

Test(history_figures, tell_what_is_too_much)
{
    setup_file();
    keep_states(5);
    struct eng_stats before = now_told();
    versions = 2;
    set_history(1u << 30);
    sweep();
    versions = 0;
    WENT(before, dropped_versions, 3);
    before = now_told();
    set_history(1u << 30);
    atomic_store(&u.eng->config.history_bytes, 3000);
    sweep();
    WENT(before, dropped_bytes, 1);
    cr_assert_leq(now_told().past_bytes, 3000);
}

Test(history_figures, tell_what_nobody_wants)
{
    setup_file();
    keep_states(1);
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    keep_states(4);
    struct eng_stats before = now_told();
    set_history(0);
    sweep();
    WENT(before, dropped_off, 4); /* the snapshot's stays */
    before = now_told();
    cr_assert_eq(before.past_states, 1);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    sweep();
    WENT(before, dropped_unseen, 1);
}
