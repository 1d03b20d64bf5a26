/*
 * test_position.c - who waits for a position is told once, when the batch is shown and not before; also where
 * the batch comes just then; who gave up is not kept; the end of the store ends all waiting. */
#include "hook.h"
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <semaphore.h>

static struct unit u;

struct told {
    struct eng_position_wait wait;
    _Atomic int times;
    int result;
    bool given_up;
    sem_t sem;
};

static void setup(void)
{
    unit_new(&u, 0);
}

static void teardown(void)
{
    cr_assert_eq(unit_problems(&u), 0);
    unit_done(&u);
}

TestSuite(position, .init = setup, .fini = teardown, .timeout = 60);

static void on_told(void *arg, int result)
{
    struct told *t = arg;
    t->result = result;
    atomic_fetch_add(&t->times, 1);
    (void)sem_post(&t->sem);
}

static bool gave_up(void *arg)
{
    const struct told *t = arg;
    return t->given_up;
}

static void wait_for(struct told *t, uint64_t position)
{
    *t = (struct told){.wait = {.position = position, .done = on_told, .is_given_up = gave_up, .arg = t}};
    cr_assert_eq(sem_init(&t->sem, 0, 0), 0);
    cr_assert_eq(eng_position_wait(u.eng, &t->wait), 0);
}

Test(position, what_is_shown_already_is_told_at_once)
{
    struct told t;
    (void)unit_create(&u, "a");
    const uint64_t shown[] = {0, 1, eng_position(u.eng)};
    for (size_t i = 0; i < ARRAY_LEN(shown); i++) {
        wait_for(&t, shown[i]);
        cr_assert(t.times == 1 && t.result == 0);
    }
    cr_assert_eq(eng_position_wait(u.eng, NULL), -EINVAL);
    cr_assert_eq(eng_position_wait(NULL, &t.wait), -EINVAL);
    t.wait.done = NULL;
    cr_assert_eq(eng_position_wait(u.eng, &t.wait), -EINVAL);
}

Test(position, each_is_told_with_its_batch)
{
    enum { N = 9 };
    struct told t[N];
    uint64_t now = eng_position(u.eng);
    /* not in the order of their positions; two for each of some */
    static const unsigned ahead[N] = {5, 1, 3, 3, 2, 9, 1, 4, 1000};
    for (unsigned i = 0; i < N; i++)
        wait_for(&t[i], now + ahead[i]);
    for (unsigned step = 1; step < 12; step++) {
        char name[8];
        (void)snprintf(name, sizeof name, "f%u", step);
        (void)unit_create(&u, name);
        cr_assert_eq(eng_position(u.eng), now + step);
        for (unsigned i = 0; i < N; i++)
            cr_assert_eq(t[i].times, ahead[i] <= step, "%u after %u", ahead[i], step);
    }
    unit_close(&u);
    for (unsigned i = 0; i < N; i++)
        cr_assert(t[i].times == 1 && t[i].result == (ahead[i] == 1000 ? -ESHUTDOWN : 0));
    unit_open(&u);
}

/* The batch comes when it is known that it is not there yet: only where that is possible. */
static void make_it_now(void *arg, enum fault_point point)
{
    if (point != FP_POSITION_ASKED || pthread_mutex_trylock(&u.eng->log.lock))
        return;
    pthread_mutex_unlock(&u.eng->log.lock);
    (void)unit_create(&u, "x");
    *(bool *)arg = true;
}

Test(position, a_batch_that_comes_meanwhile_is_not_missed)
{
    struct told t;
    bool made = false;
    hook_set(u.eng, make_it_now, &made);
    wait_for(&t, eng_position(u.eng) + 1);
    hook_set(u.eng, NULL, NULL);
    if (!made)
        (void)unit_create(&u, "x");
    cr_assert_eq(t.times, 1);
}

Test(position, who_gave_up_goes_when_another_comes)
{
    struct told t[4];
    uint64_t far = eng_position(u.eng) + 1000;
    for (unsigned i = 0; i < 3; i++)
        wait_for(&t[i], far);
    t[0].given_up = t[2].given_up = true;
    cr_assert(!t[0].times && !t[2].times);
    wait_for(&t[3], far);
    cr_assert(t[0].times == 1 && t[0].result == -ECANCELED && t[2].times == 1 && t[2].result == -ECANCELED);
    cr_assert(!t[1].times && !t[3].times);
    unit_close(&u);
    cr_assert(t[0].times == 1 && t[1].result == -ESHUTDOWN && t[3].result == -ESHUTDOWN);
    unit_open(&u);
}

/* ---- beside writers -------------------------------------------------------------------- */

enum { WRITERS = 3, WAITERS = 3, ROUNDS = 3000 };
static _Atomic bool over;

static void *write_on(void *arg)
{
    uint64_t ino = *(uint64_t *)arg;
    while (!atomic_load(&over))
        cr_assert_eq(eng_write(u.eng, ino, "x", 1, 0), 1);
    return NULL;
}

static void *wait_on(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct told t;
        uint64_t position = eng_position(u.eng) + i % 3;
        wait_for(&t, position);
        while (sem_wait(&t.sem)) /* for ever, if it is missed: the suite's timeout ends that */
            ;
        cr_assert(t.times == 1 && t.result == 0);
        cr_assert_geq(eng_position(u.eng), position);
    }
    return NULL;
}

Test(position, none_is_missed_beside_writers)
{
    pthread_t writers[WRITERS], waiters[WAITERS];
    uint64_t inos[WRITERS];
    atomic_store(&over, false);
    for (int i = 0; i < WRITERS; i++) {
        char name[] = {(char)('a' + i), 0};
        inos[i] = unit_create(&u, name);
        cr_assert_eq(pthread_create(&writers[i], NULL, write_on, &inos[i]), 0);
    }
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(pthread_create(&waiters[i], NULL, wait_on, NULL), 0);
    for (int i = 0; i < WAITERS; i++)
        cr_assert_eq(pthread_join(waiters[i], NULL), 0);
    atomic_store(&over, true);
    for (int i = 0; i < WRITERS; i++)
        cr_assert_eq(pthread_join(writers[i], NULL), 0);
}
