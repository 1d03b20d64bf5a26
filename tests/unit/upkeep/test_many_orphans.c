/*
 * test_many_orphans.c - who closes a store waits for some of what is to be freed, however much that is,
 * whoever is freeing it; the next opening frees the rest. Counted are batches. */
#include "commit/orphans.h"
#include "hook.h"
#include "inside.h"
#include "must.h"
#include "one_store.h"
#include "upkeep/runner.h"

#include <criterion/criterion.h>

#define FILES 3000u /* some 47 batches */
#define FEW 9u      /* batches, and one that was under way */

TestSuite(many_orphans, .init = setup, .fini = teardown, .timeout = 120);

static const char *name_of(unsigned i)
{
    static char name[16];
    (void)snprintf(name, sizeof name, "f%u", i);
    return name;
}

/* Files that are removed, and open, or with `seen` shown by a snapshot. */
static void make(bool seen, uint64_t inos[FILES])
{
    const struct eng_caller opener = {.ref = true};
    for (unsigned i = 0; i < FILES; i++) {
        struct eng_attr attr;
        MUST(eng_create(u.eng, seen ? NULL : &opener, ENG_ROOT_INO, name_of(i), S_IFREG | 0600, 0, NULL,
                        &attr) == 0);
        inos[i] = attr.ino;
    }
    if (seen)
        MUST(eng_snapshot_create(u.eng, "s", NULL) == 0);
    for (unsigned i = 0; i < FILES; i++)
        MUST(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)) == 0);
}

/* ---- batches -------------------------------------------------------------------------- */

static struct counting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    _Atomic bool armed;
    unsigned batches, at;          /* since it was armed; in which it calls */
    void (*call)(struct eng *eng); /* that, or NULL */
} counting = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

static void count(void *arg, enum fault_point point)
{
    const struct eng *eng = arg;
    if (point != FP_LOG_WRITTEN || !counting.armed || !orphans_queued(arg) || eng->idx.s.n_past_names)
        return;
    pthread_mutex_lock(&counting.lock);
    bool calls = ++counting.batches == counting.at;
    pthread_cond_broadcast(&counting.cond);
    pthread_mutex_unlock(&counting.lock);
    if (calls && counting.call)
        counting.call(arg);
}

static void arm(void (*call)(struct eng *eng), unsigned at)
{
    counting.batches = 0;
    counting.at = at;
    counting.call = call;
    counting.armed = true;
    hook_set(u.eng, count, u.eng);
}

/* What is left the next life frees. */
static void close_and_open(void)
{
    MUST(eng_close(u.eng) == 0);
    u.eng = NULL;
    cr_assert(counting.batches > 0 && counting.batches <= FEW + 1, "%u batches", counting.batches);
    counting.armed = false;
    u.opt.no_background = true;
    unit_open(&u);
    cr_assert_gt(unit_stats(&u).orphans, FILES / 2);
    MUST(eng_sync(u.eng) == 0);
    cr_assert(u.eng->idx.n_orphans == 0 && u.eng->idx.s.n_files == 0);
    cr_assert_eq(unit_problems(&u), 0);
}

Test(many_orphans, are_not_what_a_close_waits_for)
{
    static uint64_t inos[FILES];
    make(false, inos);
    for (unsigned i = 0; i < FILES; i++)
        MUST(eng_forget(u.eng, inos[i], 1) == 0);
    arm(NULL, 0);
    close_and_open();
}

static void cancel(struct eng *eng)
{
    MUST(eng_job_cancel(eng, ENG_JOB_HISTORY) == 0);
}

/* Names are dropped by the thousand, and then what they led to, in slices: a job that is cancelled ends with
 * one of these. */
Test(many_orphans, are_not_what_a_cancelled_job_waits_for)
{
    static uint64_t inos[FILES];
    struct eng_job_report report = {0};
    make(true, inos);
    arm(cancel, 5);
    MUST(eng_snapshot_drop(u.eng, "s") == 0);
    MUST(eng_job_status(u.eng, ENG_JOB_HISTORY, &report) == 0);
    cr_assert_eq(report.state, ENG_JOB_CANCELLED);
    cr_assert_eq(counting.batches, 5, "%u batches", counting.batches);
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    cr_assert_eq(u.eng->idx.s.n_files, 0);
}

/* In the housekeeper: until the store is being closed. */
static void await_close(struct eng *eng)
{
    struct job *job = runner_job(eng, ENG_JOB_HISTORY);
    pthread_mutex_lock(&job->lock);
    while (!job->stop)
        pthread_cond_wait(&job->cond, &job->lock);
    pthread_mutex_unlock(&job->lock);
}

Test(many_orphans, are_not_what_the_housekeeper_stays_for)
{
    static uint64_t inos[FILES];
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = 1;
    unit_open(&u);
    make(false, inos);
    arm(await_close, 1);
    for (unsigned i = 0; i < FILES; i++)
        MUST(eng_forget(u.eng, inos[i], 1) == 0);
    pthread_mutex_lock(&counting.lock);
    while (!counting.batches)
        pthread_cond_wait(&counting.cond, &counting.lock);
    pthread_mutex_unlock(&counting.lock);
    close_and_open();
}
