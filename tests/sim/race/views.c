/*
 * views.c - frozen views that several threads read while writers, a compactor and a writer of checkpoints go
 * on: what is seen through one is what was there at the freeze, as often as one looks.
 *
 * Every other view is frozen while the store stands still, and compared with what the eng_ calls showed; the
 * others are frozen in the midst, and must show each content whole, and the same at each look.
 *
 * ENGRAM_TEST_MODE (quick, default, full) sets the number of views unless it is given.
 *
 *   views [--views N] [--seed S] */
#include "tree/content.h"
#include "tree/entries.h"

#include "rng.h"
#include "sight.h"
#include "unit_store.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#define WRITERS 3u
#define ACTORS (WRITERS + 2) /* a compactor, and who writes checkpoints */
#define FILES 8u             /* of each writer */
#define READERS 2u           /* of each view */
#define LOOKS 2u             /* of each reader at each view */
#define STEPS 40u            /* that a writer takes between a freeze and the thaw, at least */
#define HEAD 8u              /* bytes of a content that say from which seed the others are made */

static struct {
    uint64_t views, seed;
} opt = {30, 0};

static struct unit u;
static atomic_bool stop;
static atomic_uint failures, kinds[4];

/* Who changes the store, one step after the other. */
static struct actor {
    unsigned id;
    void (*step)(struct actor *a);
    uint64_t rng, seed; /* of a writer */
    pthread_t thread;
    pthread_mutex_t lock; /* held for each step: whoever has all of them has a store that stands still */
    atomic_uint steps;
} actors[ACTORS];

static void fail(const char *what)
{
    if (atomic_fetch_add(&failures, 1) < 10)
        (void)fprintf(stderr, "%s\n", what);
}

/* ---- writers -------------------------------------------------------------------------------- */

static size_t size_of(uint64_t seed)
{
    return HEAD + (seed % 5 ? seed * 37 % 3000 : 20000 + seed * 37 % 9000);
}

static uint8_t *content_of(uint64_t seed, size_t *ret_size)
{
    *ret_size = size_of(seed);
    uint8_t *bytes = unit_bytes(*ret_size, seed);
    memcpy(bytes, &seed, HEAD);
    return bytes;
}

static void name_of(unsigned writer, unsigned file, char name[32])
{
    (void)snprintf(name, 32, "%u of %u", file, writer);
}

/* A new file under the name: whole before it takes the place of the old one. */
static void replace(struct actor *a, const char *name)
{
    char temporary[32];
    struct eng_attr attr;
    size_t size;
    uint8_t *bytes = content_of(a->seed, &size);
    (void)snprintf(temporary, sizeof temporary, "temporary %u", a->id);
    UNIT_NEED(!eng_create(u.eng, NULL, ENG_ROOT_INO, temporary, S_IFREG | 0600, 0, NULL, &attr));
    UNIT_NEED(eng_write(u.eng, attr.ino, bytes, size, 0) == (ssize_t)size);
    UNIT_NEED(!eng_setxattr(u.eng, attr.ino, "user.large", bytes, MIN_OF(size, (size_t)900), 0));
    UNIT_NEED(!eng_rename(u.eng, NULL, ENG_ROOT_INO, temporary, ENG_ROOT_INO, name, 0));
    free(bytes);
}

/* One step. The name is always there, whole. */
static void step(struct actor *a)
{
    char name[32], other[32];
    struct eng_attr attr;
    name_of(a->id, (unsigned)rng_below(&a->rng, FILES), name);
    name_of(a->id, (unsigned)rng_below(&a->rng, FILES), other);
    uint64_t kind = rng_below(&a->rng, 4);
    a->seed += WRITERS;
    UNIT_NEED(!eng_lookup(u.eng, NULL, ENG_ROOT_INO, name, &attr));
    if (kind == 0) { /* the same size in one batch */
        while (size_of(a->seed) != attr.size && a->seed % 100)
            a->seed += WRITERS;
        size_t size;
        uint8_t *bytes = content_of(a->seed, &size);
        if (size == attr.size)
            UNIT_NEED(eng_write(u.eng, attr.ino, bytes, size, 0) == (ssize_t)size);
        free(bytes);
    } else if (kind == 1) {
        UNIT_NEED(!eng_rename(u.eng, NULL, ENG_ROOT_INO, name, ENG_ROOT_INO, other, ENG_RENAME_EXCHANGE));
    } else if (kind == 2) {
        uint8_t value[300];
        rng_fill(value, sizeof value, a->seed);
        UNIT_NEED(!eng_setxattr(u.eng, attr.ino, "user.value", value, a->seed % sizeof value, 0));
    } else {
        replace(a, name);
    }
    atomic_fetch_add(&kinds[kind], 1);
}

static void compact(struct actor *a)
{
    (void)a;
    UNIT_NEED(!eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL));
}

static void write_checkpoint(struct actor *a)
{
    (void)a;
    UNIT_NEED(!checkpoint_write(u.eng));
}

static void *act(void *arg)
{
    struct actor *a = arg;
    while (!atomic_load(&stop)) {
        pthread_mutex_lock(&a->lock);
        a->step(a);
        pthread_mutex_unlock(&a->lock);
        atomic_fetch_add(&a->steps, 1);
    }
    return NULL;
}

static void start(void)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        struct actor *a = &actors[i];
        pthread_mutex_init(&a->lock, NULL);
        a->id = i;
        a->rng = opt.seed + i;
        a->seed = i;
        a->step = step;
        for (unsigned file = 0; i < WRITERS && file < FILES; file++) {
            char name[32];
            name_of(i, file, name);
            a->seed += WRITERS;
            replace(a, name);
        }
    }
    actors[WRITERS].step = compact;
    actors[WRITERS + 1].step = write_checkpoint;
    for (unsigned i = 0; i < ACTORS; i++)
        UNIT_NEED(!pthread_create(&actors[i].thread, NULL, act, &actors[i]));
}

static void stop_all(void)
{
    atomic_store(&stop, true);
    for (unsigned i = 0; i < ACTORS; i++)
        UNIT_NEED(!pthread_join(actors[i].thread, NULL));
}

/* ---- readers of one view ---------------------------------------------------------------------- */

struct reader {
    const struct view *view;
    const char *want; /* what the eng_ calls showed at the freeze; NULL: not known */
    pthread_t thread;
};

/* Each name of each writer has a content that is whole. */
static void expect_whole(const struct view *view)
{
    char name[32];
    struct eng_attr attr;
    for (unsigned i = 0; i < WRITERS * FILES; i++) {
        uint8_t is[32768];
        uint64_t seed = 0;
        ssize_t n = 0;
        name_of(i / FILES, i % FILES, name);
        if (entries_lookup(view, false, ENG_ROOT_INO, name, &attr) ||
            content_read_range(view, attr.ino, is, sizeof is, 0, &n) || n < (ssize_t)HEAD) {
            fail("a name or its content is missing");
            continue;
        }
        memcpy(&seed, is, HEAD);
        size_t size;
        uint8_t *want = content_of(seed, &size);
        if (n != (ssize_t)size || attr.size != size || memcmp(is, want, size) != 0)
            fail("a content is not whole");
        free(want);
    }
}

static void *read_on(void *arg)
{
    struct reader *r = arg;
    char *first = NULL;
    for (unsigned i = 0; i < LOOKS; i++) {
        expect_whole(r->view);
        char *is = sight_of(u.eng, r->view, NULL);
        if (strstr(is, SIGHT_DIFFERENT))
            fail("whole and in pieces a content is not the same");
        if (r->want && strcmp(is, r->want) != 0)
            fail("the view is not what was there at the freeze");
        if (first && strcmp(is, first) != 0)
            fail("the view has changed");
        free(first);
        first = is;
    }
    free(first);
    return NULL;
}

static void stand_still(bool still)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        if (still)
            pthread_mutex_lock(&actors[i].lock);
        else
            pthread_mutex_unlock(&actors[i].lock);
    }
}

static void await_steps(const unsigned *since)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        while (atomic_load(&actors[i].steps) - since[i] < (i < WRITERS ? STEPS : 1))
            (void)sched_yield();
    }
}

/* `still`: the store stands still while it is frozen, so that the eng_ calls tell what the view must show. */
static void look_at_one(bool still)
{
    struct view *view = NULL;
    struct reader readers[READERS];
    char *want = NULL;
    unsigned since[ACTORS];
    UNIT_NEED(!eng_hold(u.eng));
    if (still)
        stand_still(true);
    UNIT_NEED(!view_freeze(u.eng, &view));
    if (still)
        want = sight_of(u.eng, NULL, NULL);
    for (unsigned i = 0; i < ACTORS; i++)
        since[i] = atomic_load(&actors[i].steps);
    if (still)
        stand_still(false);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = (struct reader){.view = view, .want = want};
        UNIT_NEED(!pthread_create(&readers[i].thread, NULL, read_on, &readers[i]));
    }
    await_steps(since);
    read_on(&(struct reader){.view = view, .want = want}); /* when much has changed for certain */
    for (unsigned i = 0; i < READERS; i++)
        UNIT_NEED(!pthread_join(readers[i].thread, NULL));
    free(want);
    view_thaw(view);
    UNIT_NEED(!eng_release(u.eng));
}

/* A store with its threads, on a simulated disk; nothing is flushed that need not be. */
static void open_store(void)
{
    unit_new(&u, 0);
    unit_close(&u);
    u.opt.no_background = false;
    u.opt.commit_ms = -1;
    unit_open(&u);
}

/* What the run has to have met, and what must be left when it is over. */
static void expect_end(void)
{
    for (unsigned i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!atomic_load(&kinds[i]))
            fail("a kind of step was never taken");
    }
    if (!unit_stats(&u).relocations)
        fail("compaction has moved nothing");
    if (unit_stats(&u).damaged_extents)
        fail("damage");
    if (u.eng->idx.n_freezes)
        fail("a freeze is left");
    if (unit_problems(&u))
        fail("the check finds a problem");
}

int main(int argc, char **argv)
{
    const char *mode = getenv("ENGRAM_TEST_MODE");
    if (mode && !strcmp(mode, "quick"))
        opt.views = 2;
    else if (mode && !strcmp(mode, "full"))
        opt.views = 2000;
    opt.seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    for (int i = 1; i < argc; i += 2) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
        if (!strcmp(argv[i], "--views") && value)
            opt.views = value;
        else if (!strcmp(argv[i], "--seed") && value)
            opt.seed = value;
        else
            return (void)fprintf(stderr, "usage: views [--views N] [--seed S]\n"), 2;
    }
    printf("seed %llu\n", (unsigned long long)opt.seed);
    (void)fflush(stdout);
    open_store();
    start();
    uint64_t views = 0;
    for (; views < opt.views && !atomic_load(&failures); views++)
        look_at_one(views % 2);
    stop_all();
    expect_end();
    unit_done(&u);
    printf("%llu views, each looked at %u times: %u failures\n", (unsigned long long)views,
           LOOKS * (READERS + 1), atomic_load(&failures));
    return atomic_load(&failures) ? 1 : 0;
}
