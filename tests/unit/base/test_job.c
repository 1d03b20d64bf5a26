/*
 * test_job.c - a job's life: asked for, taken, paused, slowed, cancelled,
 * waited for. */
#include "base/job.h"

#include <criterion/criterion.h>

static struct job job;

static void setup(void)
{
    job_init(&job, ENG_JOB_SCRUB, "bytes");
}

static void teardown(void)
{
    job_free(&job);
}

TestSuite(job, .init = setup, .fini = teardown);

static const struct job_request request = {.reason = "a test"};

static void waiter_a(void *arg, const struct eng_job_report *report)
{
    (void)arg;
    (void)report;
}

static void waiter_b(void *arg, const struct eng_job_report *report)
{
    (void)arg;
    (void)report;
}

/* Ends the run; how many waiters were handed over. */
static size_t finish(int error)
{
    struct eng_job_report report;
    struct job_waiter *waiters;
    size_t n;
    job_end(&job, error, &report);
    cr_assert_eq(report.error, error);
    cr_assert(job_busy(&job), "not before all is told");
    job_finish(&job, &waiters, &n);
    cr_assert_eq(report.state, job.report.state);
    free(waiters);
    return n;
}

Test(job, runs_once_for_each_start)
{
    cr_assert_eq(job.report.state, ENG_JOB_IDLE);
    cr_assert_not(job_take(&job));
    cr_assert_not(job_busy(&job));
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert(job_busy(&job), "asked for counts as busy");
    cr_assert_eq(job_start(&job, &request, NULL, NULL), -EBUSY);
    cr_assert(job_take(&job));
    cr_assert_not(job_take(&job));
    cr_assert_eq(job.report.state, ENG_JOB_RUNNING);
    cr_assert_eq(job_start(&job, &request, NULL, NULL), -EBUSY);
    cr_assert_eq(finish(0), 0);
    cr_assert_eq(job.report.state, ENG_JOB_DONE);
    cr_assert_not(job_busy(&job));
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0, "and again");
    cr_assert(job_take(&job));
    (void)finish(-EIO);
    cr_assert_eq(job.report.state, ENG_JOB_FAILED);
}

Test(job, waiters_are_handed_over_in_order)
{
    struct eng_job_report report;
    struct job_waiter *waiters;
    size_t n;
    bool none;
    int x, y, z;
    cr_assert_eq(job_await(&job, waiter_a, &x, &none), 0);
    cr_assert(none, "there is nothing to wait for");
    cr_assert_eq(job_start(&job, &request, waiter_a, &x), 0);
    cr_assert_eq(job_start(&job, &request, waiter_b, &y), -EBUSY);
    cr_assert(job_await(&job, waiter_b, &y, &none) == 0 && !none);
    cr_assert(job_await(&job, NULL, NULL, &none) == 0 && !none, "NULL: nobody is told");
    cr_assert(job_take(&job));
    cr_assert(job_await(&job, waiter_b, &z, &none) == 0 && !none);
    job_end(&job, 0, &report);
    job_finish(&job, &waiters, &n);
    cr_assert_eq(n, 3, "the refused one is not among them");
    cr_assert(waiters[0].on_done == waiter_a && waiters[0].arg == &x);
    cr_assert(waiters[1].on_done == waiter_b && waiters[1].arg == &y);
    cr_assert(waiters[2].on_done == waiter_b && waiters[2].arg == &z);
    free(waiters);
    cr_assert(job_await(&job, waiter_a, &x, &none) == 0 && none);
}

Test(job, cancelling)
{
    cr_assert_eq(job_cancel(&job), -ESRCH);
    cr_assert_eq(job_pause(&job, true), -ESRCH);
    cr_assert_eq(job_pause(&job, false), -ESRCH);
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert_eq(job_cancel(&job), 0, "before it has begun");
    cr_assert(job_take(&job));
    cr_assert_eq(job_gate(&job, 0), -ECANCELED);
    (void)finish(-ECANCELED);
    cr_assert_eq(job.report.state, ENG_JOB_CANCELLED);
    cr_assert_eq(job_cancel(&job), -ESRCH);
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert(job_take(&job));
    cr_assert_eq(job_gate(&job, 100), 0, "the next run does not inherit it");
    (void)finish(0);
}

Test(job, after_stop_nothing_begins)
{
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert(job_take(&job));
    job_stop(&job);
    cr_assert_eq(job_gate(&job, 0), -ECANCELED);
    (void)finish(-ECANCELED);
    cr_assert_eq(job_start(&job, &request, NULL, NULL), -ESHUTDOWN);
}

/* A thread that goes through the gate `passes` times, `bytes` each. */
struct walker {
    uint64_t bytes;
    int passes, result, passed;
    uint64_t ns;
};

static void *walk(void *arg)
{
    struct walker *w = arg;
    uint64_t t0 = mono_ns();
    while (!w->result && w->passed < w->passes) {
        w->result = job_gate(&job, w->bytes);
        __atomic_fetch_add(&w->passed, w->result == 0, __ATOMIC_SEQ_CST);
    }
    w->ns = mono_ns() - t0;
    return NULL;
}

/* Waits until the gate has said that it is paused. */
static void await_paused(void)
{
    enum eng_job_state state;
    do {
        pthread_mutex_lock(&job.lock);
        state = job.report.state;
        pthread_mutex_unlock(&job.lock);
        sched_yield();
    } while (state != ENG_JOB_PAUSED);
}

Test(job, pause_holds_at_the_gate_until_resumed_or_cancelled)
{
    for (int cancel = 0; cancel < 2; cancel++) {
        struct walker w = {.passes = 1};
        pthread_t thread;
        cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
        cr_assert(job_take(&job));
        cr_assert_eq(job_pause(&job, true), 0);
        pthread_create(&thread, NULL, walk, &w);
        await_paused();
        cr_assert(job_busy(&job));
        cr_assert_eq(job_start(&job, &request, NULL, NULL), -EBUSY, "paused is not ended");
        cr_assert_eq(__atomic_load_n(&w.passed, __ATOMIC_SEQ_CST), 0);
        cr_assert_eq(cancel ? job_cancel(&job) : job_pause(&job, false), 0);
        pthread_join(thread, NULL);
        cr_assert_eq(w.result, cancel ? -ECANCELED : 0);
        (void)finish(w.result);
    }
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert(job_take(&job));
    cr_assert_eq(job_gate(&job, 0), 0, "the pause is not inherited");
    (void)finish(0);
}

Test(job, rate_limits_what_passes)
{
    struct walker w = {.bytes = 1000, .passes = 5};
    cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
    cr_assert(job_take(&job));
    job_set_rate(&job, 50000); /* 20 ms a pass */
    (void)walk(&w);
    cr_assert_eq(w.result, 0);
    cr_assert_geq(w.ns, 95000000, "%llu ns", (unsigned long long)w.ns);
    job_set_rate(&job, 0);
    w = (struct walker){.bytes = UINT64_C(1) << 40, .passes = 1000};
    (void)walk(&w);
    cr_assert_lt(w.ns, 5000000000u);
    (void)finish(0);
}

Test(job, a_slow_job_hears_of_a_new_rate_and_of_a_cancel)
{
    for (int cancel = 0; cancel < 2; cancel++) {
        struct walker w = {.bytes = 1000000, .passes = 1};
        pthread_t thread;
        cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
        cr_assert(job_take(&job));
        job_set_rate(&job, 1); /* eleven days */
        pthread_create(&thread, NULL, walk, &w);
        if (cancel)
            cr_assert_eq(job_cancel(&job), 0);
        else
            do {
                job_set_rate(&job, 0); /* whether it waits already or not */
                sched_yield();
            } while (!__atomic_load_n(&w.passed, __ATOMIC_SEQ_CST));
        pthread_join(thread, NULL);
        cr_assert_eq(w.result, cancel ? -ECANCELED : 0);
        (void)finish(w.result);
        job_set_rate(&job, 0);
    }
}

Test(job, who_waits_for_room_is_not_held_up_by_rate_nor_pause)
{
    for (int paused = 0; paused < 2; paused++) {
        struct walker w = {.bytes = 1000000, .passes = 3};
        pthread_t thread;
        cr_assert_eq(job_start(&job, &request, NULL, NULL), 0);
        cr_assert(job_take(&job));
        job_set_rate(&job, 1);
        cr_assert(!paused || job_pause(&job, true) == 0);
        pthread_create(&thread, NULL, walk, &w);
        job_hurry(&job, true); /* whether it waits already or not */
        pthread_join(thread, NULL);
        cr_assert_eq(w.result, 0);
        job_hurry(&job, false);
        (void)finish(0);
        job_set_rate(&job, 0);
    }
}
