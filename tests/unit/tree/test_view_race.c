/*
 * test_view_race.c - views of batches that threads read while others change the files, keep their states,
 * drop the oldest ones that no view in use sees, compact, and write checkpoints: each read gives what the
 * file had then, or says that it cannot. */
#include "past_tree.h"

#include "core/views.h"
#include "hook.h"
#include "must.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define WRITERS 2u
#define READERS 2u
#define FILES 4u /* of each writer */
#define CHANGES 250u
#define KEPT 40u /* states of a file, about */
#define SIZE_MAX_OF_FILE 40000u

static atomic_bool stop;
static atomic_uint reads, stale, wrong;

/* What a file had after a batch; filled in by its writer alone, read once n tells of it. */
static struct file {
    uint64_t ino;
    uint8_t *bytes;
    size_t size;
    struct {
        uint64_t at, hash, size;
    } had[CHANGES + 1];
    atomic_uint n;
} files[WRITERS * FILES];

static void note(struct file *f)
{
    unsigned n = atomic_load(&f->n);
    f->had[n].at = eng_position(u.eng);
    f->had[n].hash = hash_long(f->bytes, f->size);
    f->had[n].size = f->size;
    atomic_store(&f->n, n + 1);
}

static void cut(struct file *f, uint64_t size)
{
    struct eng_attr attr = {.size = size};
    MUST(eng_setattr(u.eng, f->ino, &attr, ENG_SET_SIZE, NULL) == 0);
    if (size > f->size)
        memset(f->bytes + f->size, 0, size - f->size);
    f->size = size;
}

static void change_file(struct file *f, uint64_t *rng)
{
    (void)keep_state(&u, f->ino);
    if (rng_below(rng, 4) == 0) {
        cut(f, rng_below(rng, SIZE_MAX_OF_FILE));
    } else {
        size_t off = rng_below(rng, f->size + 1), size = 1 + rng_below(rng, SIZE_MAX_OF_FILE - off);
        rng_fill(f->bytes + off, size, rng_next(rng));
        MUST(eng_write(u.eng, f->ino, f->bytes + off, size, off) == (ssize_t)size);
        f->size = MAX_OF(f->size, off + size);
    }
    note(f);
}

/* The oldest state, if there are many: asked and dropped in one batch, as engine/core/views.h says. */
static void drop_oldest(struct file *f)
{
    const struct index *idx = &u.eng->idx;
    struct txn txn = {0};
    unsigned n = 0;
    MUST(commit_begin(u.eng) == 0);
    uint32_t oldest = 0;
    for (uint32_t slot = index_inode(idx, f->ino)->past; slot; slot = index_slot(idx, slot)->past) {
        oldest = slot;
        n++;
    }
    const struct inode_rec *past = index_slot(idx, oldest);
    if (n > KEPT && !(past->flags & INODE_PAST_TAIL) &&
        !views_see(u.eng, past_begin(past), past_end(past), false)) {
        struct op *op = txn_op(&txn, OP_DROP);
        MUST(op);
        op->past = index_ino(past, oldest);
        op->len = UINT64_MAX;
        past_commit(&u, &txn);
        return;
    }
    MUST(commit_end(u.eng, 0) == 0);
}

static void *write_all(void *arg)
{
    struct file *mine = arg;
    uint64_t rng = mine->ino;
    for (unsigned i = 0; i < CHANGES * FILES; i++) {
        struct file *f = &mine[i % FILES];
        while (atomic_load(&reads) < i / 2) /* not ahead of the readers */
            (void)sched_yield();
        change_file(f, &rng);
        drop_oldest(f);
    }
    return NULL;
}

static void *compact_all(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
        MUST(checkpoint_write(u.eng) == 0);
    }
    return NULL;
}

/* Others go on while a reader has found its places, and pinned nothing. */
static void let_go_on(void *arg, enum fault_point point)
{
    (void)arg;
    for (unsigned i = 0; i < 5 && point == FP_READ_COLLECTED; i++)
        (void)sched_yield();
}

static void read_file(struct eng_view *view, const struct file *f, unsigned k, uint8_t *buf)
{
    ssize_t n = eng_view_read(view, f->ino, buf, SIZE_MAX_OF_FILE + 1, 0);
    struct eng_attr attr;
    int r = eng_view_getattr(view, f->ino, &attr);
    if (n == -ESTALE && r == -ESTALE) /* it was gone before the view was opened */
        atomic_fetch_add(&stale, 1);
    else if (n != (ssize_t)f->had[k].size || r || attr.size != f->had[k].size ||
             hash_long(buf, (size_t)n) != f->had[k].hash)
        atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&reads, 1);
}

static void *read_all(void *arg)
{
    uint64_t rng = (uintptr_t)arg;
    uint8_t *buf = malloc(SIZE_MAX_OF_FILE + 1);
    while (!atomic_load(&stop)) {
        const struct file *f = &files[rng_below(&rng, WRITERS * FILES)];
        unsigned n = atomic_load(&f->n), k = n - 1 - (unsigned)rng_below(&rng, MIN_OF(n, KEPT + 10));
        struct eng_view *view = NULL;
        MUST(eng_view_open(u.eng, f->had[k].at, &view) == 0);
        for (unsigned i = 0; i < 3; i++)
            read_file(view, f, k, buf);
        eng_view_close(view);
    }
    free(buf);
    return NULL;
}

TestSuite(view_race, .timeout = 300);

Test(view_race, each_read_gives_what_was_there)
{
    pthread_t writers[WRITERS], readers[READERS], compactor;
    tree_begin(false, test_seed());
    for (unsigned i = 0; i < WRITERS * FILES; i++) {
        files[i].ino = unit_file(&u, (char[]){'f', (char)('0' + i), 0}, 20000, i);
        files[i].bytes = calloc(1, 2 * SIZE_MAX_OF_FILE);
        files[i].size = 20000;
        rng_fill(files[i].bytes, 20000, i);
        MUST(eng_write(u.eng, files[i].ino, files[i].bytes, 20000, 0) == 20000);
        note(&files[i]);
    }
    tree_whole(true);
    hook_set(u.eng, let_go_on, NULL);
    for (unsigned i = 0; i < WRITERS; i++)
        MUST(pthread_create(&writers[i], NULL, write_all, &files[i * FILES]) == 0);
    for (unsigned i = 0; i < READERS; i++)
        MUST(pthread_create(&readers[i], NULL, read_all, (void *)(uintptr_t)(i + 1)) == 0);
    MUST(pthread_create(&compactor, NULL, compact_all, NULL) == 0);
    for (unsigned i = 0; i < WRITERS; i++)
        MUST(pthread_join(writers[i], NULL) == 0);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < READERS; i++)
        MUST(pthread_join(readers[i], NULL) == 0);
    MUST(pthread_join(compactor, NULL) == 0);
    (void)fprintf(stderr, "%u reads, %u of states that had gone, %llu began anew\n", reads, stale,
                  (unsigned long long)unit_stats(&u).read_restarts);
    cr_assert_eq(wrong, 0);
    cr_assert_gt(reads, CHANGES + 2 * stale);
    cr_assert_eq(views_count(u.eng), 0);
    cr_assert_eq(unit_stats(&u).damaged_extents, 0);
    tree_whole(false);
    cr_assert_eq(unit_problems(&u), 0);
    for (unsigned i = 0; i < WRITERS * FILES; i++)
        free(files[i].bytes);
    tree_end();
}
