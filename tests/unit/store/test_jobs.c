/*
 * test_jobs.c - what every kind of job promises, of each kind in the table: who
 * is told and how often, pause, rate, cancel, closing, read-only. A job that is
 * added to the table is tested by that; the store of setup_store() must give
 * it something to do.
 *
 * Threads are waited for by what they have come to, not by the clock. */
#include "inside.h"
#include "store/jobs.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <sched.h>

#define N_FILES 8

static struct unit u;

/* Past states that no snapshot sees, of which nobody has told the job. */
static void leave_a_past(void)
{
    struct txn txn = {0};
    uint64_t batch;
    cr_assert_eq(eng_snapshot_create(u.eng, "gone", &batch), 0);
    for (int i = 0; i < 2; i++)
        unit_write(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 20000, (uint64_t)i, 0);
    cr_assert_eq(commit_begin(u.eng), 0);
    struct op *op = txn_op(&txn, OP_SNAPSHOT_NAME);
    cr_assert(op);
    op->batch = batch;
    cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, &txn)), 0);
    txn_free(&txn);
}

/* Memories with garbage between them, in several segments. */
static void setup_store(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < N_FILES; i++) {
        unit_file(&u, (char[]){(char)('a' + i), 0}, 20000, (uint64_t)i);
        unit_file(&u, "garbage", 9000, 0);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage"), 0);
    }
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = -1;
    unit_open(&u);
    leave_a_past();
}

static void expect_all(const char *job)
{
    for (int i = 0; i < N_FILES; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 20000, (uint64_t)i), "%s",
                  job);
}

/* A store of its own for each kind of job. */
static void of_each(void (*test)(enum eng_job_id id, const char *name))
{
    for (unsigned i = 0; i < ENG_JOBS; i++) {
        setup_store();
        test((enum eng_job_id)i, job_kinds[i].name);
        if (u.eng)
            expect_all(job_kinds[i].name);
        unit_done(&u);
    }
}

TestSuite(jobs, .timeout = 120);

/* ---- who is told ------------------------------------------------------------- */

struct told {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls;
    struct eng_job_report report;
};
#define TOLD                                                                                                 \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                                  \
    }

static void on_done(void *arg, const struct eng_job_report *report)
{
    struct told *t = arg;
    pthread_mutex_lock(&t->lock);
    t->report = *report;
    t->calls++;
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->lock);
}

static int calls_of(struct told *t)
{
    pthread_mutex_lock(&t->lock);
    int calls = t->calls;
    pthread_mutex_unlock(&t->lock);
    return calls;
}

static void await(struct told *t, int calls)
{
    pthread_mutex_lock(&t->lock);
    while (t->calls < calls)
        pthread_cond_wait(&t->cond, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

/* ---- where a job is ------------------------------------------------------------ */

static struct eng_job_report status(enum eng_job_id id)
{
    struct eng_job_report report;
    cr_assert_eq(eng_job_status(u.eng, id, &report), 0);
    return report;
}

/* Whether it comes to its gate and is paused there, rather than ending. */
static bool rests(enum eng_job_id id)
{
    struct job *job = runner_job(u.eng, id);
    enum eng_job_state state;
    do {
        sched_yield();
        pthread_mutex_lock(&job->lock);
        state = job->report.state; /* by the gate alone: that of eng_job_status() says it at once */
        pthread_mutex_unlock(&job->lock);
    } while (state == ENG_JOB_RUNNING);
    return state == ENG_JOB_PAUSED;
}

/* Whether it has moved something, and is too fast for its rate by that, rather than ending. */
static bool is_slowed(enum eng_job_id id)
{
    struct job *job = runner_job(u.eng, id);
    bool slowed, runs;
    do {
        sched_yield();
        pthread_mutex_lock(&job->lock);
        slowed = job->free_at > mono_ns();
        runs = job->report.state == ENG_JOB_RUNNING;
        pthread_mutex_unlock(&job->lock);
    } while (runs && !slowed);
    return slowed;
}

/* Starts it, and lets it get into the middle of its work, where it stays for days. */
static void start_slowly(enum eng_job_id id, struct told *t)
{
    cr_assert_eq(eng_job_rate(u.eng, id, 1), 0);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, t ? on_done : NULL, t), 0);
    cr_assert(is_slowed(id), "%s does not heed its rate, or had nothing to do", eng_job_name(id));
}

static void let_go(enum eng_job_id id)
{
    cr_assert_eq(eng_job_rate(u.eng, id, 0), 0);
}

/* ---- names ------------------------------------------------------------------------ */

Test(jobs, the_table_is_complete)
{
    struct eng_job_report report;
    setup_store();
    for (unsigned i = 0; i < ENG_JOBS; i++) {
        cr_assert(job_kinds[i].name && job_kinds[i].unit && job_kinds[i].run, "job %u", i);
        cr_assert_str_eq(eng_job_name((enum eng_job_id)i), job_kinds[i].name);
        for (unsigned j = 0; j < i; j++)
            cr_assert_str_neq(job_kinds[i].name, job_kinds[j].name);
    }
    const enum eng_job_id none = ENG_JOBS;
    cr_assert_null(eng_job_name(none));
    cr_assert_eq(eng_job_start(u.eng, none, NULL, NULL, NULL), -EINVAL);
    cr_assert_eq(eng_job_run(u.eng, none, NULL, NULL), -EINVAL);
    cr_assert_eq(eng_job_wait(u.eng, none, NULL, NULL), -EINVAL);
    cr_assert_eq(eng_job_pause(u.eng, none), -EINVAL);
    cr_assert_eq(eng_job_resume(u.eng, none), -EINVAL);
    cr_assert_eq(eng_job_cancel(u.eng, none), -EINVAL);
    cr_assert_eq(eng_job_rate(u.eng, none, 0), -EINVAL);
    cr_assert_eq(eng_job_status(u.eng, none, &report), -EINVAL);
    unit_done(&u);
}

/* ---- life ------------------------------------------------------------------------- */

static void idle(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    struct eng_job_report report = status(id);
    cr_assert(report.job == id && report.state == ENG_JOB_IDLE && !report.error, "%s", name);
    cr_assert_str_eq(report.unit, job_kinds[id].unit);
    cr_assert_eq(eng_job_pause(u.eng, id), -ESRCH, "%s", name);
    cr_assert_eq(eng_job_resume(u.eng, id), -ESRCH, "%s", name);
    cr_assert_eq(eng_job_cancel(u.eng, id), -ESRCH, "%s", name);
    cr_assert_eq(eng_job_wait(u.eng, id, on_done, &t), 0);
    cr_assert_eq(t.calls, 1, "%s: none runs, so at once, here", name);
    cr_assert_eq(t.report.state, ENG_JOB_IDLE);
}

Test(jobs, none_runs_before_it_is_asked_for)
{
    of_each(idle);
}

static void runs_to_its_end(enum eng_job_id id, const char *name)
{
    struct told t = TOLD, late = TOLD;
    for (int run = 1; run <= 2; run++) {
        cr_assert_eq(eng_job_start(u.eng, id, NULL, on_done, &t), 0, "%s", name);
        await(&t, run);
        cr_assert(t.report.job == id && t.report.state == ENG_JOB_DONE && !t.report.error, "%s", name);
        cr_assert_str_eq(t.report.unit, job_kinds[id].unit);
        cr_assert(t.report.reason[0]);
        cr_assert_eq(t.report.done, t.report.total, "%s", name);
        if (run == 1)
            cr_assert_gt(t.report.total, 0, "%s had nothing to do", name);
        struct eng_job_report now = status(id);
        cr_assert_eq(memcmp(&now, &t.report, sizeof now), 0, "%s: the last report stays", name);
    }
    cr_assert_eq(eng_job_wait(u.eng, id, on_done, &late), 0);
    cr_assert(late.calls == 1 && late.report.state == ENG_JOB_DONE, "%s", name);
    unit_close(&u);
    cr_assert_eq(t.calls, 2, "%s: once for each run", name);
}

Test(jobs, each_start_is_a_run_that_is_told_once)
{
    of_each(runs_to_its_end);
}

static void one_at_a_time(enum eng_job_id id, const char *name)
{
    struct told starter = TOLD, first = TOLD, second = TOLD, refused = TOLD;
    struct eng_job_report report;
    start_slowly(id, &starter);
    cr_assert_eq(status(id).state, ENG_JOB_RUNNING);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, on_done, &refused), -EBUSY, "%s", name);
    cr_assert_eq(eng_job_run(u.eng, id, NULL, &report), -EBUSY, "%s", name);
    cr_assert_eq(eng_job_wait(u.eng, id, on_done, &first), 0);
    cr_assert_eq(eng_job_wait(u.eng, id, on_done, &second), 0);
    cr_assert_eq(eng_job_wait(u.eng, id, NULL, NULL), 0, "%s", name);
    cr_assert_eq(calls_of(&starter) + calls_of(&first) + calls_of(&second), 0, "%s", name);
    let_go(id);
    await(&starter, 1);
    await(&first, 1);
    await(&second, 1);
    cr_assert_eq(memcmp(&first.report, &starter.report, sizeof first.report), 0, "%s", name);
    cr_assert_eq(memcmp(&second.report, &starter.report, sizeof second.report), 0, "%s", name);
    unit_close(&u);
    cr_assert(starter.calls == 1 && first.calls == 1 && second.calls == 1 && !refused.calls, "%s", name);
}

Test(jobs, one_runs_at_a_time_and_all_who_wait_are_told_once)
{
    of_each(one_at_a_time);
}

static void tells_nobody(enum eng_job_id id, const char *name)
{
    struct eng_job_report report;
    cr_assert_eq(eng_job_wait(u.eng, id, NULL, NULL), 0, "%s", name);
    start_slowly(id, NULL);
    cr_assert_eq(eng_job_wait(u.eng, id, NULL, NULL), 0, "%s", name);
    let_go(id);
    int r;
    while ((r = eng_job_run(u.eng, id, NULL, NULL)) == -EBUSY)
        sched_yield();
    cr_assert_eq(r, 0, "%s", name);
    cr_assert_eq(eng_job_run(u.eng, id, &(struct eng_job_options){0}, &report), 0, "%s", name);
    cr_assert(report.job == id && report.state == ENG_JOB_DONE, "%s", name);
}

Test(jobs, nobody_has_to_be_told)
{
    of_each(tells_nobody);
}

/* Asks for the next run from the callback of the last. */
struct chain {
    enum eng_job_id id;
    int result;
    struct told next;
};

static void start_next(void *arg, const struct eng_job_report *report)
{
    struct chain *c = arg;
    (void)report;
    c->result = eng_job_start(u.eng, c->id, NULL, on_done, &c->next);
}

static void calls_under_no_lock(enum eng_job_id id, const char *name)
{
    struct chain c = {.id = id, .next = TOLD};
    cr_assert_eq(eng_job_start(u.eng, id, NULL, start_next, &c), 0);
    await(&c.next, 1);
    cr_assert(!c.result && c.next.report.state == ENG_JOB_DONE, "%s", name);
}

Test(jobs, a_callback_may_ask_for_the_next_run)
{
    of_each(calls_under_no_lock);
}

/* ---- steering ---------------------------------------------------------------------- */

static void pauses(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    u.eng->installs_beside = false; /* else what was handed to the installer is still installed */
    start_slowly(id, &t);
    cr_assert_eq(eng_job_pause(u.eng, id), 0);
    cr_assert_eq(status(id).state, ENG_JOB_PAUSED, "%s", name);
    cr_assert(rests(id), "%s ends in spite of a pause", name);
    struct eng_job_report before = status(id);
    let_go(id); /* by the rate; wakes it */
    expect_all(name);
    unit_file(&u, "meanwhile", 5000, 3);
    cr_assert(rests(id), "%s", name);
    struct eng_job_report after = status(id);
    before.rate = 0;
    cr_assert_eq(memcmp(&before, &after, sizeof before), 0, "%s goes on while it is paused", name);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, NULL, NULL), -EBUSY, "%s: paused is not ended", name);
    cr_assert_eq(calls_of(&t), 0);
    cr_assert_eq(eng_job_resume(u.eng, id), 0);
    await(&t, 1);
    cr_assert_eq(t.report.state, ENG_JOB_DONE, "%s", name);
}

Test(jobs, a_pause_holds_it_until_it_is_resumed)
{
    of_each(pauses);
}

static void pauses_before_it_begins(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    cr_assert_eq(eng_job_start(u.eng, id, NULL, on_done, &t), 0);
    int r = eng_job_pause(u.eng, id); /* at any moment of its life */
    if (!r && rests(id)) {
        cr_assert_eq(calls_of(&t), 0, "%s", name);
        cr_assert_eq(eng_job_resume(u.eng, id), 0);
    }
    cr_assert(!r || r == -ESRCH);
    await(&t, 1);
    cr_assert_eq(t.report.state, ENG_JOB_DONE, "%s", name);
}

Test(jobs, a_pause_may_come_early)
{
    of_each(pauses_before_it_begins);
}

static void has_a_rate(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    start_slowly(id, &t);
    cr_assert_eq(status(id).rate, 1, "%s", name);
    cr_assert_eq(calls_of(&t), 0);
    let_go(id);
    await(&t, 1);
    cr_assert(t.report.state == ENG_JOB_DONE && t.report.rate == 0, "%s", name);
    cr_assert_eq(eng_job_rate(u.eng, id, 123456789), 0);
    cr_assert_eq(status(id).rate, 123456789, "%s: also while none runs", name);
    unit_reopen(&u);
    cr_assert_eq(status(id).rate, job_kinds[id].rate_key ? 123456789 : 0, "%s", name);
}

Test(jobs, a_rate_slows_it_and_lifting_the_rate_lets_it_go)
{
    of_each(has_a_rate);
}

static void is_cancelled(enum eng_job_id id, const char *name)
{
    for (int paused = 0; paused < 2; paused++) {
        struct told t = TOLD, waiter = TOLD;
        start_slowly(id, &t);
        cr_assert_eq(eng_job_wait(u.eng, id, on_done, &waiter), 0);
        if (paused)
            cr_assert(eng_job_pause(u.eng, id) == 0 && rests(id), "%s", name);
        cr_assert_eq(eng_job_cancel(u.eng, id), 0);
        await(&t, 1);
        await(&waiter, 1);
        cr_assert(t.report.state == ENG_JOB_CANCELLED && t.report.error == -ECANCELED, "%s", name);
        cr_assert_eq(waiter.report.state, ENG_JOB_CANCELLED);
        cr_assert_eq(status(id).state, ENG_JOB_CANCELLED);
        cr_assert_eq(eng_job_cancel(u.eng, id), -ESRCH);
        leave_a_past();
    }
    let_go(id);
    cr_assert_eq(eng_job_run(u.eng, id, NULL, NULL), 0, "%s: the next run does not inherit it", name);
}

Test(jobs, a_cancelled_one_ends_and_says_so)
{
    of_each(is_cancelled);
}

/* ---- beside each other ------------------------------------------------------------------ */

Test(jobs, different_kinds_do_not_wait_for_each_other)
{
    struct told t[ENG_JOBS];
    setup_store();
    for (unsigned i = 0; i < ENG_JOBS; i++) {
        t[i] = (struct told)TOLD;
        start_slowly((enum eng_job_id)i, &t[i]);
    }
    for (unsigned i = 0; i < ENG_JOBS; i++)
        cr_assert_eq(status((enum eng_job_id)i).state, ENG_JOB_RUNNING, "%s", job_kinds[i].name);
    for (unsigned i = ENG_JOBS; i-- > 0;) {
        let_go((enum eng_job_id)i);
        await(&t[i], 1);
        cr_assert_eq(t[i].report.state, ENG_JOB_DONE, "%s", job_kinds[i].name);
    }
    expect_all("all");
    unit_done(&u);
}

/* ---- stores that are closed, read-only, or have no threads -------------------------------- */

static void is_closed(enum eng_job_id id, const char *name)
{
    for (int paused = 0; paused < 2; paused++) {
        struct told t = TOLD;
        start_slowly(id, &t);
        if (paused)
            cr_assert(eng_job_pause(u.eng, id) == 0 && rests(id), "%s", name);
        unit_close(&u);
        cr_assert(t.calls == 1 && t.report.state == ENG_JOB_CANCELLED && t.report.error == -ECANCELED, "%s",
                  name);
        unit_open(&u);
        leave_a_past();
    }
    let_go(id);
    cr_assert_eq(eng_job_run(u.eng, id, NULL, NULL), 0, "%s", name);
}

Test(jobs, closing_cancels_it_and_tells)
{
    of_each(is_closed);
}

static void is_read_only_store(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    int expect = job_kinds[id].writes ? -EROFS : 0;
    uint64_t calls = simdisk_calls(u.disk, false);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, on_done, &t), expect, "%s", name);
    if (!expect)
        await(&t, 1);
    cr_assert_eq(eng_job_run(u.eng, id, NULL, NULL), expect, "%s", name);
    cr_assert_eq(simdisk_calls(u.disk, false), calls, "%s writes to a store that is read-only", name);
    cr_assert_eq(status(id).state, expect ? ENG_JOB_IDLE : ENG_JOB_DONE, "%s", name);
    cr_assert_eq(t.calls, expect ? 0 : 1, "%s: who was refused is not told", name);
}

Test(jobs, those_that_write_are_refused_when_read_only)
{
    of_each(is_read_only_store);
}

static void runs_here(enum eng_job_id id, const char *name)
{
    struct told t = TOLD;
    unit_close(&u);
    u.opt.no_background = true;
    unit_open(&u);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, on_done, &t), 0);
    cr_assert(t.calls == 1 && t.report.state == ENG_JOB_DONE, "%s: before the call returns", name);
    cr_assert_eq(eng_job_start(u.eng, id, NULL, NULL, NULL), 0);
    cr_assert_eq(eng_job_run(u.eng, id, NULL, NULL), 0, "%s", name);
}

Test(jobs, without_threads_it_runs_in_the_call)
{
    of_each(runs_here);
}
