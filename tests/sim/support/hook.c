/*
 * hook.c - see hook.h. */
#include "hook.h"

#include "inside.h"
#include "rng.h"

void hook_set(struct eng *eng, void (*fn)(void *arg, enum fault_point point), void *arg)
{
    if (fn)
        eng->hook.arg = arg;
    atomic_store_explicit(&eng->hook.fn, fn, memory_order_release);
}

void hook_slice(struct eng *eng, uint32_t n)
{
    atomic_store_explicit(&eng->slice, n ? n : FREED_PER_BATCH, memory_order_relaxed);
}

void hook_block_extents(struct eng *eng, uint32_t n)
{
    atomic_store_explicit(&eng->block_extents, n ? n : BLOCK_EXTENTS, memory_order_relaxed);
}

void hook_keep_chunks(struct eng *eng)
{
    chunk_pool_keep(eng->idx.pool, 1024);
    chunk_pool_keep(eng->idx.ref_pool, 1024);
}

void hook_history(struct eng *eng)
{
    if (getenv("ENG_HISTORY"))
        (void)store_set_history(eng);
}

void hook_installer(struct eng *eng, bool beside)
{
    eng->installs_beside = beside;
}

/* ---- a compaction and its installer take turns ------------------------------ */

enum side { COMPACTION, INSTALLER };

struct schedule {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t rng;   /* protected by lock */
    enum side turn; /* who may run. protected by lock */
    bool idle;      /* the installer has nothing to do. protected by lock */
    bool awaited;   /* the compaction waits for it. protected by lock */
};

static __thread bool is_installer;
static uint64_t n_given; /* atomic */

/* Under the lock of the two, so without waiting: who stops gives its turn to the other. */
static void record_locked(struct schedule *s, enum fault_point point)
{
    bool idle = point == FP_INSTALLER_IDLE;
    s->idle = idle;
    s->awaited = !idle;
    s->turn = idle ? COMPACTION : INSTALLER;
    pthread_cond_broadcast(&s->changed);
}

static void take_turns_locked(struct schedule *s, enum side me)
{
    bool other_can = me == COMPACTION ? !s->idle : !s->awaited;
    if (s->turn == me && other_can && rng_below(&s->rng, 3) == 0) {
        s->turn = me == COMPACTION ? INSTALLER : COMPACTION;
        pthread_cond_broadcast(&s->changed);
    }
    while (s->turn != me)
        pthread_cond_wait(&s->changed, &s->lock);
}

static void at_point(void *arg, enum fault_point point)
{
    struct schedule *s = arg;
    is_installer = is_installer || point == FP_INSTALLER_RUNS;
    if (point == FP_LOG_WRITTEN || point == FP_RETIRE ||
        point == FP_SEGMENT_LOOK) /* under log.lock, that the other may need */
        return;
    pthread_mutex_lock(&s->lock);
    if (point == FP_INSTALLER_GIVEN) {
        s->idle = false;
        (void)__atomic_add_fetch(&n_given, 1, __ATOMIC_RELAXED);
    }
    if (point == FP_INSTALLER_IDLE || point == FP_INSTALLER_AWAITED)
        record_locked(s, point);
    else
        take_turns_locked(s, is_installer ? INSTALLER : COMPACTION);
    pthread_mutex_unlock(&s->lock);
}

struct schedule *schedule_new(struct eng *eng, uint64_t seed)
{
    struct schedule *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    *s = (struct schedule){.rng = seed, .turn = COMPACTION, .idle = true};
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    hook_installer(eng, true);
    hook_set(eng, at_point, s);
    return s;
}

void schedule_free(struct schedule *s)
{
    if (!s)
        return;
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

uint64_t schedules_given(void)
{
    return __atomic_load_n(&n_given, __ATOMIC_RELAXED);
}
