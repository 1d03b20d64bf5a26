/*
 * test_worker_threads.c - the threads of worker.c: who is called when a job
 * ends, pausing and cancelling a compaction, closing while one runs, commits
 * and checkpoints in the background. Threads are stopped at fault points; where one
 * has to be waited for, it is waited for, not guessed at. */
#include "hook.h"
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

static struct unit u;

static void setup(void)
{
    unit_new(&u, 0);
    for (int i = 0; i < 8; i++) {
        unit_file(&u, (char[]){(char)('a' + i), 0}, 20000, (uint64_t)i);
        unit_file(&u, "garbage", 9000, 0);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "garbage"), 0);
    }
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = -1; /* unless a test is about it */
    unit_open(&u);
}

static void teardown(void)
{
    for (int i = 0; i < 8 && u.eng; i++)
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 20000, (uint64_t)i));
    unit_done(&u);
}

TestSuite(worker_threads, .init = setup, .fini = teardown, .timeout = 100);

/* Somebody who waits for a report. */
struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int calls, error;
    struct eng_job_report rep;
    bool compacted;
};
#define WAITING                                                                                              \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                                  \
    }

static void record_call(struct waiting *w, int error)
{
    w->calls++;
    w->error = error;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->lock);
}

static void on_job_done(void *arg, const struct eng_job_report *rep)
{
    struct waiting *w = arg;
    pthread_mutex_lock(&w->lock);
    w->rep = *rep;
    record_call(w, rep->error);
}

static void on_maintained(void *arg, const struct eng_maintenance_report *rep, int error)
{
    struct waiting *w = arg;
    pthread_mutex_lock(&w->lock);
    w->compacted = rep->compacted;
    record_call(w, error);
}

static void await(struct waiting *w, int calls)
{
    pthread_mutex_lock(&w->lock);
    while (w->calls < calls)
        pthread_cond_wait(&w->cond, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

/* Holds the compactor at a fault point until it is let go. */
static pthread_barrier_t barrier;
static enum fault_point stop_at;
static int stop_times;

static void stop_here(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != stop_at || !stop_times)
        return;
    stop_times--;
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void stop_compactor(enum fault_point point)
{
    stop_at = point;
    stop_times = 1;
    pthread_barrier_init(&barrier, NULL, 2);
    hook_set(u.eng, stop_here, NULL);
}

static void pass_barrier(void)
{
    pthread_barrier_wait(&barrier);
}

static enum eng_job_state state(void)
{
    struct eng_job_report rep;
    cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
    return rep.state;
}

/* The compactor waits at its point until the installer has nothing to do but to sleep. */
static _Atomic pid_t installer_tid;

static bool sleeps(pid_t tid)
{
    char path[64], state = 'R';
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)tid);
    FILE *f = fopen(path, "re");
    cr_assert_not_null(f);
    cr_assert_eq(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
    (void)fclose(f);
    return state == 'S';
}

static void installer_first(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_INSTALLER_IDLE)
        installer_tid = gettid();
    while (point == FP_INSTALLER_GIVEN && (!installer_tid || !sleeps(installer_tid)))
        (void)sched_yield();
}

Test(worker_threads, a_installer_quicker_than_its_creator)
{
    struct waiting starter = WAITING;
    installer_tid = 0;
    hook_set(u.eng, installer_first, NULL);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &starter), 0);
    await(&starter, 1);
    cr_assert_eq(starter.error, 0);
    cr_assert_gt(starter.rep.compact.bytes_moved, 0);
    cr_assert_leq(starter.rep.compact.fragmentation_after, 0.01);
}

/* ---- who is told ---------------------------------------------------------------------- */

Test(worker_threads, everybody_who_asked_is_told_once)
{
    struct waiting starter = WAITING, waiter = WAITING, late = WAITING, refused = WAITING;
    cr_assert_eq(state(), ENG_JOB_IDLE);
    cr_assert_eq(eng_job_wait(u.eng, ENG_JOB_COMPACT, on_job_done, &late), 0);
    cr_assert_eq(late.calls, 1, "none runs: at once, here");
    cr_assert_eq(late.rep.state, ENG_JOB_IDLE);
    stop_compactor(FP_COMPACT_COPIED);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &starter), 0);
    pass_barrier();
    cr_assert_eq(state(), ENG_JOB_RUNNING);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &refused), -EBUSY);
    cr_assert_eq(eng_maintenance_start(u.eng, on_maintained, &refused), -EBUSY);
    cr_assert_eq(eng_job_wait(u.eng, ENG_JOB_COMPACT, on_job_done, &waiter), 0);
    cr_assert_eq(waiter.calls + starter.calls, 0);
    pass_barrier();
    await(&starter, 1);
    await(&waiter, 1);
    cr_assert(starter.error == 0 && waiter.rep.compact.bytes_moved == starter.rep.compact.bytes_moved);
    cr_assert_eq(starter.rep.state, ENG_JOB_DONE);
    cr_assert_leq(starter.rep.compact.fragmentation_after, 0.01);
    cr_assert_eq(refused.calls, 0);
    cr_assert_eq(eng_job_wait(u.eng, ENG_JOB_COMPACT, on_job_done, &late), 0);
    cr_assert_eq(late.calls, 2);
    cr_assert_eq(late.rep.compact.bytes_moved, starter.rep.compact.bytes_moved,
                 "the last one's report stays");
    cr_assert(starter.calls == 1 && waiter.calls == 1);
}

Test(worker_threads, pause_and_resume)
{
    struct waiting w = WAITING;
    cr_assert_eq(eng_job_pause(u.eng, ENG_JOB_COMPACT), -ESRCH);
    cr_assert_eq(eng_job_resume(u.eng, ENG_JOB_COMPACT), -ESRCH);
    stop_compactor(FP_COMPACT_READ);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &w), 0);
    pass_barrier();
    cr_assert_eq(eng_job_pause(u.eng, ENG_JOB_COMPACT), 0);
    cr_assert_eq(state(), ENG_JOB_PAUSED);
    pass_barrier();
    for (int i = 0; i < 8; i++) /* readers do not care */
        cr_assert(unit_holds(&u, unit_lookup(&u, (char[]){(char)('a' + i), 0}), 20000, (uint64_t)i));
    cr_assert_eq(state(), ENG_JOB_PAUSED);
    cr_assert_eq(w.calls, 0);
    cr_assert_eq(eng_job_resume(u.eng, ENG_JOB_COMPACT), 0);
    await(&w, 1);
    cr_assert_eq(w.rep.state, ENG_JOB_DONE);
}

Test(worker_threads, writers_do_not_wait_while_a_segment_is_unlinked)
{
    struct waiting w = WAITING;
    stop_compactor(FP_RETIRE);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &w), 0);
    pass_barrier();
    unit_file(&u, "meanwhile", 5000, 3); /* would wait for ever */
    cr_assert(unit_holds(&u, unit_lookup(&u, "meanwhile"), 5000, 3));
    pass_barrier();
    await(&w, 1);
    cr_assert_eq(w.error, 0);
}

Test(worker_threads, cancel_a_paused_one)
{
    struct waiting w = WAITING;
    stop_compactor(FP_COMPACT_READ);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &w), 0);
    pass_barrier();
    cr_assert_eq(eng_job_pause(u.eng, ENG_JOB_COMPACT), 0);
    pass_barrier();
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_COMPACT), 0);
    await(&w, 1);
    cr_assert_eq(w.error, -ECANCELED);
    cr_assert_eq(w.rep.state, ENG_JOB_CANCELLED);
    cr_assert_eq(eng_job_cancel(u.eng, ENG_JOB_COMPACT), -ESRCH);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

Test(worker_threads, closing_cancels_and_tells)
{
    struct waiting w = WAITING, s = WAITING;
    stop_compactor(FP_COMPACT_READ);
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &w), 0);
    pass_barrier();
    cr_assert_eq(eng_job_pause(u.eng, ENG_JOB_COMPACT), 0);
    cr_assert_eq(eng_job_rate(u.eng, ENG_JOB_SCRUB, 1), 0); /* would take days */
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_SCRUB, NULL, on_job_done, &s), 0);
    pass_barrier();
    unit_close(&u);
    cr_assert(w.calls == 1 && w.error == -ECANCELED);
    cr_assert(s.calls == 1 && s.error == -ECANCELED);
    unit_open(&u);
}

Test(worker_threads, maintenance_answers_from_the_background)
{
    struct waiting w = WAITING;
    cr_assert_eq(eng_maintenance_start(u.eng, on_maintained, &w), 0);
    await(&w, 1);
    cr_assert(w.error == 0 && !w.compacted);
    cr_assert_eq(eng_config_set(u.eng, "compact_min_bytes", "1000"), 0);
    cr_assert_eq(eng_config_set(u.eng, "auto_compact", "0"), 0);
    cr_assert_eq(eng_config_set(u.eng, "compact_min_fragmentation", "0.1"), 0);
    cr_assert_eq(eng_maintenance_start(u.eng, on_maintained, &w), 0);
    await(&w, 2);
    cr_assert(w.error == 0 && w.compacted);
    cr_assert_eq(unit_stats(&u).compactions_ok, 1);
}

Test(worker_threads, a_rate_slows_a_compaction_and_lifting_it_lets_go)
{
    struct waiting w = WAITING;
    cr_assert_eq(eng_job_rate(u.eng, ENG_JOB_COMPACT, 1000), 0); /* minutes */
    cr_assert_eq(eng_job_start(u.eng, ENG_JOB_COMPACT, NULL, on_job_done, &w), 0);
    struct eng_job_report rep;
    do {
        cr_assert_eq(eng_job_status(u.eng, ENG_JOB_COMPACT, &rep), 0);
        sched_yield();
    } while (!rep.compact.bytes_moved);
    cr_assert(rep.state == ENG_JOB_RUNNING && rep.rate == 1000);
    cr_assert_eq(w.calls, 0);
    cr_assert_eq(eng_job_rate(u.eng, ENG_JOB_COMPACT, 0), 0);
    await(&w, 1);
    cr_assert_eq(w.error, 0);
}

/* ---- on its own ------------------------------------------------------------------------- */

Test(worker_threads, commits_by_the_clock)
{
    unit_close(&u);
    u.opt.commit_ms = 5;
    unit_open(&u);
    unit_file(&u, "new", 10, 1);
    while (unit_stats(&u).durable_seq < unit_stats(&u).log_seq)
        sched_yield();
    unit_kill(&u, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "new"), 10, 1));
}

/* Whether all that was acknowledged gets durable by itself. */
static bool becomes_durable(void)
{
    struct eng_stats st;
    uint64_t end = mono_ns() + UINT64_C(20000000000);
    do {
        st = unit_stats(&u);
        sched_yield();
    } while (st.durable_seq < st.log_seq && mono_ns() < end);
    return st.durable_seq >= st.log_seq;
}

/* The committer hears of it although the bell was rung already, and the housekeeper has not come yet. */
Test(worker_threads, a_shorter_commit_ms_holds_at_once)
{
    unit_close(&u);
    u.opt.commit_ms = 3600000;
    unit_open(&u);
    (void)pthread_mutex_lock(&u.eng->wake.lock);
    u.eng->wake.wanted = true; /* without the broadcast: it has been, and the committer sleeps */
    (void)pthread_mutex_unlock(&u.eng->wake.lock);
    unit_file(&u, "new", 10, 1);
    cr_assert_eq(eng_config_set(u.eng, "commit_ms", "5"), 0);
    cr_assert(becomes_durable());
}

/* A checkpoint takes as long as writing the index does; what is acknowledged meanwhile has commit_ms. */
Test(worker_threads, commits_while_a_checkpoint_is_being_written)
{
    unit_close(&u);
    u.opt.commit_ms = 5;
    unit_open(&u);
    stop_compactor(FP_CHECKPOINT_FROZEN);
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_ops", "50"), 0);
    uint64_t before = unit_stats(&u).checkpoints;
    for (int i = 0; i < 60; i++)
        unit_write(&u, unit_lookup(&u, "a"), 20000, 0, 0);
    pass_barrier();
    for (uint64_t i = 0; i < 5; i++) {
        char name[] = {(char)('p' + i), 0};
        unit_file(&u, name, 10, i);
        cr_assert(becomes_durable(), "change %d while a checkpoint is being written", (int)i);
    }
    cr_assert_eq(unit_stats(&u).checkpoints, before, "it is still being written");
    struct unit lost; /* and the power fails */
    unit_clone(&lost, &u);
    simdisk_power_on(lost.disk, SIM_DROP_ALL, 0);
    lost.opt.no_background = true;
    pass_barrier();
    unit_open(&lost);
    for (uint64_t i = 0; i < 5; i++)
        cr_assert(unit_holds(&lost, unit_lookup(&lost, (char[]){(char)('p' + i), 0}), 10, i));
    unit_done(&lost);
    while (unit_stats(&u).checkpoints == before)
        sched_yield();
}

static void *closer(void *arg)
{
    *(int *)arg = eng_close(u.eng);
    return NULL;
}

Test(worker_threads, closing_awaits_the_checkpoint_under_way)
{
    pthread_t thread;
    int r = 1;
    stop_compactor(FP_CHECKPOINT_FROZEN);
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_ops", "50"), 0);
    for (int i = 0; i < 60; i++)
        unit_write(&u, unit_lookup(&u, "a"), 20000, 0, 0);
    pass_barrier();
    unit_file(&u, "p", 10, 5); /* is in the one that closing writes */
    cr_assert_eq(pthread_create(&thread, NULL, closer, &r), 0);
    pass_barrier();
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(r, 0);
    u.eng = NULL;
    simdisk_power_on(u.disk, SIM_DROP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_stats(&u).checkpoint_seq, unit_stats(&u).log_seq);
    cr_assert(unit_holds(&u, unit_lookup(&u, "p"), 10, 5));
}

/* Processor time that the process has used, ns. */
static uint64_t used_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* With commit_ms < 0 nothing is due when the time of the configuration has passed: the committer sleeps on.
 */
Test(worker_threads, without_commits_the_committer_sleeps)
{
    struct waiting w = WAITING;
    cr_assert_eq(eng_config_set(u.eng, "commit_ms", "1"), 0);
    (void)pthread_mutex_lock(&w.lock); /* nobody signals it: a second is over */
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 1;
    uint64_t before = used_ns();
    while (pthread_cond_timedwait(&w.cond, &w.lock, &end) == 0)
        ;
    uint64_t used = used_ns() - before;
    (void)pthread_mutex_unlock(&w.lock);
    cr_assert_lt(used, 300000000, "%llu ms of a second", (unsigned long long)used / 1000000);
}

Test(worker_threads, without_commits_what_was_fsynced_is_there_twice_soon)
{
    uint64_t ino = unit_file(&u, "fsynced", 100, 1), seq = log_seq(&u.eng->log);
    cr_assert_eq(eng_fsync(u.eng, ino), 0);
    uint64_t end = mono_ns() + UINT64_C(20000000000);
    while (atomic_load(&u.eng->log.echo.synced) < seq && mono_ns() < end)
        (void)sched_yield();
    unit_file(&u, "not fsynced", 100, 2);
    unit_kill(&u, SIM_DROP_ALL, 0);
    cr_assert_eq(unit_files(&u, ".log", NULL), 1);
    unit_open(&u);
    cr_assert_neq(unit_lookup(&u, "fsynced"), 0);
    cr_assert_eq(unit_lookup(&u, "not fsynced"), 0);
}

Test(worker_threads, checkpoints_when_due_without_waiting_for_the_clock)
{
    cr_assert_eq(eng_config_set(u.eng, "checkpoint_ops", "50"), 0);
    for (int i = 0; i < 200; i++)
        unit_write(&u, unit_lookup(&u, "a"), 20000, 0, 0);
    while (unit_stats(&u).checkpoints == 0)
        sched_yield();
    unit_write(&u, unit_lookup(&u, "a"), 20000, 0, 0);
    cr_assert_eq(unit_stats(&u).durable_seq < unit_stats(&u).log_seq, true, "nobody commits at -1");
}

Test(worker_threads, compacts_by_threshold)
{
    unit_close(&u);
    u.opt.commit_ms = 5;
    unit_open(&u);
    cr_assert_eq(eng_config_set(u.eng, "compact_min_bytes", "1000"), 0);
    unit_file(&u, "dead", 300000, 1);
    cr_assert_eq(eng_unlink(u.eng, 1, "dead"), 0);
    while (unit_stats(&u).compactions_ok == 0)
        sched_yield();
    cr_assert_leq(unit_stats(&u).fragmentation_ratio, 0.5);
}
