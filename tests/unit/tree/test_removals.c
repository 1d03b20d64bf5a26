/*
 * test_removals.c - what a listing of removals costs where one name, or one inode, has very many; and which
 * of those of one millisecond is the last. */
#include "history_tree.h"

TestSuite(removals, .timeout = 300, .fini = tree_end);

#define MANY 6000u

static double cpu_s(void)
{
    struct timespec ts;
    MUST(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) == 0);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

struct listed {
    struct {
        uint64_t number;
        int64_t time;
        bool newest, last_then;
    } all[MANY + 1];
    size_t n, stop;
    uint64_t place;
};
static struct listed l;

static int add(void *arg, const struct eng_removed *removed, uint64_t place_behind)
{
    (void)arg;
    MUST(l.n <= MANY);
    if (l.n == l.stop)
        return 7;
    l.all[l.n].number = removed->number;
    l.all[l.n].time = removed->time;
    l.all[l.n].newest = removed->newest;
    l.all[l.n++].last_then = removed->last_then;
    l.place = place_behind;
    return 0;
}

/* In requests of so many names: the time of the slowest. */
static double list(size_t at_once)
{
    double most = 0;
    int r;
    l.n = l.place = 0;
    do {
        double before = cpu_s();
        l.stop = MIN_OF(l.n + at_once, (size_t)MANY + 1);
        r = eng_removed_list(u.eng, ENG_ROOT_INO, l.place, add, NULL);
        most = MAX_OF(most, cpu_s() - before);
    } while (r == 7);
    cr_assert_eq(r, 0);
    return most;
}

Test(removals, of_one_name_cost_the_same_each)
{
    begin(1);
    for (unsigned i = 0; i < MANY; i++) {
        (void)unit_create(&u, "f");
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
        if (i % 7 == 0)
            pass_ms(2);
    }
    double most = list(600);
    cr_assert_eq(l.n, MANY);
    cr_log_info("%.4f s", most);
    cr_assert_lt(most, 0.1, "%.3f s for a request", most);
    for (size_t i = 0; i < MANY; i++) {
        bool is_last = true;
        for (size_t k = i < 100 ? 0 : i - 100; k < MIN_OF(i + 100, (size_t)MANY) && is_last; k++)
            is_last = l.all[k].newest || l.all[k].number <= l.all[i].number ||
                      l.all[k].time / 1000000 != l.all[i].time / 1000000;
        cr_assert_eq(l.all[i].last_then, is_last, "%zu", i);
    }
}

/* A folder of that name hides that one of them is the newest. */
Test(removals, beside_a_folder_the_last_is_told_as_the_others)
{
    begin(1);
    for (unsigned i = 0; i < 3; i++) {
        (void)unit_create(&u, "f");
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    }
    (void)list(10);
    cr_assert(l.n == 3 && l.all[2].newest && l.all[1].last_then && !l.all[0].last_then);
    (void)unit_mkdir(&u, "f");
    (void)list(10);
    cr_assert(l.n == 3 && !l.all[2].newest && l.all[2].last_then && !l.all[1].last_then);
}

Test(removals, of_one_inode_cost_the_same_each)
{
    begin(1);
    uint64_t ino = unit_create(&u, "f");
    for (unsigned i = 0; i < MANY - 1; i++) {
        MUST(eng_link(u.eng, NULL, ino, ENG_ROOT_INO, "l", NULL) == 0);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, "l") == 0);
    }
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "f") == 0);
    double before = cpu_s();
    struct eng_removed removed;
    for (unsigned i = 0; i < 100; i++)
        MUST(eng_removed_find(u.eng, ENG_ROOT_INO, "l", 0, &removed) == 0);
    double took = cpu_s() - before;
    cr_log_info("%.4f s", took);
    cr_assert_lt(took, 1.0, "%.3f s for 100 look-ups", took);
    double most = list(600);
    cr_assert_eq(l.n, MANY);
    cr_log_info("%.4f s", most);
}
