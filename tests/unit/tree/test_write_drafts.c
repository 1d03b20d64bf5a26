/*
 * test_write_drafts.c - what a write reads and hashes before it takes log.lock, and what happens when the
 * file has changed by the time it has the lock. */
#include "hook.h"
#include "inside.h"

#include "must.h"
#include "one_file.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <time.h>

#define PATIENCE 20 /* seconds; who takes longer waits for ever */
#define SMALL 100u
#define RUN 7u /* so many small extents at the tail are taken along by the next append */

/* ---- a read of the disk that is held up ----------------------------------------------------- */

static struct eng_io_ops slow, plain;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool reading, go_on, over; /* protected by lock */
static _Thread_local bool is_held_up;

static ssize_t slow_pread(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    if (is_held_up) {
        is_held_up = false;
        pthread_mutex_lock(&lock);
        reading = true;
        pthread_cond_broadcast(&changed);
        while (!go_on)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
    }
    return plain.pread(file, buf, size, offset);
}

/* False: it did not become true in time. */
static bool await(const bool *what)
{
    struct timespec end;
    (void)clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += PATIENCE;
    int r = 0;
    pthread_mutex_lock(&lock);
    while (!*what && !r)
        r = pthread_cond_timedwait(&changed, &lock, &end);
    bool ok = *what;
    pthread_mutex_unlock(&lock);
    return ok;
}

static void set(bool *what)
{
    pthread_mutex_lock(&lock);
    *what = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void small_tail(void)
{
    for (unsigned i = 0; i < RUN; i++)
        unit_write(&u, f, SMALL, i, (uint64_t)i * SMALL);
    cr_assert_eq(unit_extents(&u, f), RUN);
    plain = slow = *simdisk_io(u.disk)->ops;
    slow.pread = slow_pread;
    simdisk_io(u.disk)->ops = &slow;
}

static void *append(void *arg)
{
    uint8_t *data = unit_bytes(SMALL, 99);
    uint64_t at = 0;
    is_held_up = true;
    *(bool *)arg = eng_append(u.eng, f, data, SMALL, &at) == SMALL;
    is_held_up = false;
    free(data);
    return NULL;
}

static void *make_another(void *arg)
{
    *(bool *)arg = unit_create(&u, "another") != 0;
    set(&over);
    return NULL;
}

Test(write_drafts, a_cold_tail_is_read_while_others_write, .init = setup, .fini = teardown)
{
    pthread_t first, second;
    bool appended = false, made = false;
    small_tail();
    MUST(pthread_create(&first, NULL, append, &appended) == 0);
    cr_assert(await(&reading), "the append takes the small extents along, and reads them");
    MUST(pthread_create(&second, NULL, make_another, &made) == 0);
    bool in_time = await(&over);
    set(&go_on);
    MUST(pthread_join(first, NULL) == 0 && pthread_join(second, NULL) == 0);
    cr_assert(in_time, "nobody waits for another's read of the disk");
    cr_assert(appended && made);
    cr_assert_eq(unit_extents(&u, f), 1);
    simdisk_io(u.disk)->ops = &plain;
}

/* ---- the file changes between the draft and the lock ---------------------------------------------- */

static struct change {
    void (*make)(void);
    unsigned times, seen; /* how often it may come in between; how often it did */
} change;

static void come_between(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_WRITE_DRAFTED || change.seen == change.times)
        return;
    change.seen++;
    hook_set(u.eng, NULL, NULL);
    change.make();
    hook_set(u.eng, come_between, NULL);
}

static void overwrite_tail(void)
{
    unit_write(&u, f, 3, 1000 + change.seen, SMALL * 2 + 50);
}

static void append_some(void)
{
    uint8_t byte = (uint8_t)change.seen;
    cr_assert_eq(eng_append(u.eng, f, &byte, 1, NULL), 1);
}

static void cut_all(void)
{
    const struct eng_attr attr = {.size = 0};
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL), 0);
}

static void compact(void)
{
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
}

static void exchange_extents(void) /* the same size, other bytes */
{
    unit_write(&u, f, RUN * SMALL, 77, 0);
}

/* The file as a plain buffer. */
static size_t read_all(uint8_t buf[2000])
{
    ssize_t n = eng_read(u.eng, f, buf, 2000, 0);
    cr_assert_geq(n, 0);
    return (size_t)n;
}

/* Appends while the change comes between, once or again and again, and cuts what was appended off again. */
static void append_against(void (*make)(void), unsigned times)
{
    uint8_t got[2000], *data = unit_bytes(SMALL, 99);
    uint64_t at = 0;
    change = (struct change){.make = make, .times = times};
    hook_set(u.eng, come_between, NULL);
    cr_assert_eq(eng_append(u.eng, f, data, SMALL, &at), SMALL);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(change.seen, 0);
    cr_assert_eq(read_all(got), at + SMALL, "it went to the end");
    cr_assert_eq(memcmp(got + at, data, SMALL), 0);
    cr_assert_eq(unit_problems(&u), 0);
    const struct eng_attr attr = {.size = at};
    cr_assert_eq(eng_setattr(u.eng, f, &attr, ENG_SET_SIZE, NULL), 0);
    free(data);
}

static void refill(void)
{
    cut_all();
    for (unsigned i = 0; i < RUN; i++)
        unit_write(&u, f, SMALL, i, (uint64_t)i * SMALL);
    cr_assert_eq(unit_extents(&u, f), RUN);
}

Test(write_drafts, a_tail_that_changed_is_read_again, .init = setup, .fini = teardown)
{
    uint8_t want[2000], got[2000];
    for (unsigned times = 1; times <= 20; times += 19) {
        refill();
        append_against(overwrite_tail, times);
        cr_assert_eq(change.seen, MIN_OF(times, 3u), "three tries, then under the lock");
        size_t n = read_all(got);
        cr_assert_eq(n, RUN * SMALL);
        for (unsigned i = 0; i < RUN; i++) {
            uint8_t *part = unit_bytes(SMALL, i);
            memcpy(want + (size_t)i * SMALL, part, SMALL);
            free(part);
        }
        uint8_t *over_it = unit_bytes(3, 1000 + change.seen);
        memcpy(want + SMALL * 2 + 50, over_it, 3);
        free(over_it);
        cr_assert_eq(memcmp(got, want, n), 0, "%u times: the last overwrite is there", times);
        refill();
        append_against(exchange_extents, times);
        cr_assert(unit_holds(&u, f, RUN * SMALL, 77), "%u times: other bytes of the same size", times);
    }
}

Test(write_drafts, an_append_goes_to_the_end_that_is_there_now, .init = setup, .fini = teardown)
{
    for (unsigned times = 1; times <= 20; times += 19) {
        refill();
        append_against(append_some, times);
        refill();
        append_against(cut_all, times);
        cr_assert_eq(unit_attr(&u, f).size, 0);
        cut_all();
        append_against(append_some, times); /* the draft was for offset 0, with the path hint */
    }
}

Test(write_drafts, a_relocation_is_no_change, .init = setup, .fini = teardown)
{
    refill();
    append_against(compact, 20);
    cr_assert_eq(change.seen, 1, "content and size are the same");
    for (unsigned i = 0; i < RUN; i++) {
        uint8_t got[SMALL], *want = unit_bytes(SMALL, i);
        cr_assert_eq(eng_read(u.eng, f, got, SMALL, (uint64_t)i * SMALL), SMALL);
        cr_assert_eq(memcmp(got, want, SMALL), 0);
        free(want);
    }
}

static void remove_it(void)
{
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "f"), 0);
    cr_assert_eq(commit_orphans(u.eng), 0);
}

Test(write_drafts, a_file_that_is_gone_is_stale, .init = setup, .fini = teardown)
{
    refill();
    change = (struct change){.make = remove_it, .times = 1};
    hook_set(u.eng, come_between, NULL);
    cr_assert_eq(eng_append(u.eng, f, "x", 1, NULL), -ESTALE);
    cr_assert_eq(eng_write(u.eng, f, "x", 1, 0), -ESTALE);
    hook_set(u.eng, NULL, NULL);
    cr_assert_eq(unit_problems(&u), 0);
}
