/*
 * test_sweep_again.c - a job `history` that failed is tried again when its time has come, though nothing else
 * happens in the store; and a full disk is told of once. */
#include "hook.h"
#include "inside.h"
#include "must.h"
#include "one_store.h"
#include "upkeep/runner.h"

#include <criterion/criterion.h>

TestSuite(sweep_again, .init = setup, .fini = teardown, .timeout = 120);

/* Waits for a run of the job that ended well. */
static void await_run(void)
{
    struct job *job = runner_job(u.eng, ENG_JOB_HISTORY);
    struct eng_job_report report = {0};
    pthread_mutex_lock(&job->lock);
    while (job->report.state == ENG_JOB_IDLE) /* who starts it broadcasts */
        pthread_cond_wait(&job->cond, &job->lock);
    pthread_mutex_unlock(&job->lock);
    while (report.state != ENG_JOB_DONE)
        MUST(eng_job_status(u.eng, ENG_JOB_HISTORY, &report) == 0);
}

/* No commit is due before the test is over, nor does anything else wake the housekeeper. */
Test(sweep_again, when_its_time_has_come)
{
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = 1000000;
    unit_open(&u);
    atomic_store(&u.eng->sweep_at, mono_ns() + 200000000u); /* as after a failure */
    wake_workers(&u.eng->wake);
    await_run();
    cr_assert_eq(atomic_load(&u.eng->sweep_at), 0);
}

#define FILES 3000u
#define TRIES 5u

/* Others fill the disk, at the batch of the drop. */
static void fill(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_LOG_WRITTEN)
        simdisk_limit(u.disk, 1);
}

Test(sweep_again, on_a_full_disk_without_a_word)
{
    char name[16];
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        (void)unit_file(&u, name, 100, i);
    }
    MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
    }
    MUST(eng_sync(u.eng) == 0);
    u.warnings = 0;
    hook_set(u.eng, fill, NULL);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    hook_set(u.eng, NULL, NULL);
    for (unsigned i = 0; i < TRIES; i++) {
        struct eng_job_report report;
        uint64_t at = atomic_load(&u.eng->sweep_at);
        cr_assert_gt(at, mono_ns(), "it has a time of its own");
        cr_assert(u.eng->wake.wanted, "of which the housekeeper knows");
        u.eng->wake.wanted = false;
        atomic_store(&u.eng->sweep_at, 1); /* that has come */
        (void)eng_tick(u.eng);
        MUST(eng_job_status(u.eng, ENG_JOB_HISTORY, &report) == 0);
        cr_assert_eq(report.state, ENG_JOB_FAILED);
    }
    cr_assert_leq(u.warnings, 2, "each told once: %s", u.all_warnings);
    simdisk_limit(u.disk, 0);
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    cr_assert(u.eng->idx.s.n_past == 0 && u.eng->idx.s.n_past_names == 0);
}
