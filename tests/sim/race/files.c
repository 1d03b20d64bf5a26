/*
 * files.c - segment files opened, closed, made and retired by many threads at once, with so few files open
 * that each pin may close somebody else's.
 *
 * The folder exists only as calls (struct eng_io): a file knows its segment and whether it is open. While a
 * segment is pinned its file must be there, open, and that segment's; each is closed once; in the end none is
 * open, and at no time more than open_max, those that are pinned, and those that are just being opened.
 *
 *   files [--seed S] [--rounds N] */
#include "disk/segments.h"

#include "base/util.h"
#include "rng.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#define THREADS 6
#define FIRST_SEGMENTS 40u
#define OPEN_MAX_HERE 8u
#define PINS_MAX 3u /* that a thread holds at a time */

struct io_file {
    uint32_t id;
    _Atomic bool is_open;
    struct io_file *next; /* of all there ever were, so that one that is closed can be told */
};

static struct eng_io io;
static struct fault_hook hook;
static struct segments segments;
static _Atomic(struct io_file *) all;
static _Atomic uint64_t opens, closes, reads, retired, failures;
static _Atomic int open_now, most_open;

static void fail(const char *what, uint32_t id)
{
    if (atomic_fetch_add(&failures, 1) < 10)
        fprintf(stderr, "segment %" PRIu32 ": %s\n", id, what);
}

static int fake_open(struct eng_io *of, const char *name, int flags, struct io_file **ret_file)
{
    uint32_t id;
    (void)of, (void)flags;
    if (segment_parse_name(name, &id) != 0)
        return -ENOENT;
    struct io_file *file = calloc(1, sizeof *file);
    if (!file)
        return -ENOMEM;
    file->id = id;
    file->is_open = true;
    file->next = atomic_load(&all);
    while (!atomic_compare_exchange_weak(&all, &file->next, file))
        ;
    int now = atomic_fetch_add(&open_now, 1) + 1, most = atomic_load(&most_open);
    while (now > most && !atomic_compare_exchange_weak(&most_open, &most, now))
        ;
    atomic_fetch_add(&opens, 1);
    sched_yield(); /* another may open it as well */
    *ret_file = file;
    return 0;
}

static void fake_close(struct io_file *file)
{
    if (!atomic_exchange(&file->is_open, false))
        fail("its file is closed twice", file->id);
    atomic_fetch_sub(&open_now, 1);
    atomic_fetch_add(&closes, 1);
}

static ssize_t fake_pwritev(struct io_file *file, const struct iovec *iov, int n, uint64_t offset)
{
    ssize_t size = 0;
    (void)file, (void)offset;
    for (int i = 0; i < n; i++)
        size += (ssize_t)iov[i].iov_len;
    return size;
}

static int fake_unlink(struct eng_io *of, const char *name)
{
    (void)of, (void)name;
    return 0;
}

static const struct eng_io_ops ops = {
    .open = fake_open, .close = fake_close, .pwritev = fake_pwritev, .unlink = fake_unlink};

/* As a read does: what it was given stays as it is until it lets go. */
static void look(const struct segment *seg, uint32_t id)
{
    for (int i = 0; i < 3; i++) {
        const struct io_file *file = seg->file;
        if (!file || file->id != id || seg->id != id)
            fail("pinned, and its file is another", id);
        else if (!atomic_load(&file->is_open))
            fail("pinned, and its file is closed", id);
        sched_yield();
    }
    atomic_fetch_add(&reads, 1);
}

static void pin_some(uint64_t *rng, uint32_t last)
{
    struct segment *pinned[PINS_MAX];
    uint32_t ids[PINS_MAX];
    size_t n = 0, want = 1 + rng_below(rng, PINS_MAX);
    while (n < want) {
        /* some more often than others */
        uint32_t id = last - (uint32_t)rng_below(rng, rng_below(rng, 2) ? FIRST_SEGMENTS : OPEN_MAX_HERE);
        bool no_io = rng_below(rng, 4) == 0;
        int r = (no_io ? segments_pin_open : segments_pin)(&segments, id, &pinned[n]);
        if (r && r != -ENOENT && !(no_io && r == -EAGAIN))
            fail("cannot be pinned", id);
        if (r)
            break;
        ids[n++] = id;
    }
    for (size_t i = 0; i < n; i++)
        look(pinned[i], ids[i]);
    while (n-- > 0)
        segments_unpin(pinned[n]);
}

static uint64_t rounds = 20000;

static void *work(void *arg)
{
    uint64_t rng = *(uint64_t *)arg;
    uint32_t last = FIRST_SEGMENTS;
    for (uint64_t i = 0; i < rounds; i++) {
        pin_some(&rng, last);
        uint64_t what = rng_below(&rng, 16);
        if (what == 0) {
            struct segment *seg;
            if (segments_create(&segments, SEGMENT_LOG, 1, 0, 0, &seg) == 0) {
                last = seg->id;
                look(seg, last);
                segments_unpin(seg);
            }
        } else if (what == 1) {
            int r = segments_retire(&segments, last - (uint32_t)rng_below(&rng, FIRST_SEGMENTS));
            atomic_fetch_add(&retired, !r);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t threads[THREADS];
    uint64_t seeds[THREADS], seed = now_ns() & 0xffffff;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--rounds"))
            rounds = strtoull(argv[i + 1], NULL, 0);
    }
    io.ops = &ops;
    segments_init(&segments, &io, &hook);
    segments.open_max = OPEN_MAX_HERE;
    for (uint32_t id = 1; id <= FIRST_SEGMENTS; id++)
        (void)segments_add(&segments, id, SEGMENT_LOG, 1000);
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = seed * THREADS + i;
        if (pthread_create(&threads[i], NULL, work, &seeds[i]) != 0)
            return 2;
    }
    for (unsigned i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    if (segments.n_open != (unsigned)open_now)
        fail("the number of open files is another", 0);
    if (most_open > (int)(OPEN_MAX_HERE + THREADS * (PINS_MAX + 1)))
        fail("more files were open than may be", (uint32_t)most_open);
    segments_free(&segments);
    if (open_now)
        fail("a file was never closed", 0);
    bool thin = reads < THREADS * rounds / 4 || !retired || closes < rounds / 10;
    if (thin)
        fail("too little of it happened", 0);
    for (struct io_file *file = all, *next; file; file = next) {
        next = file->next;
        free(file);
    }
    printf("seed %" PRIu64 ": %" PRIu64 " reads, %" PRIu64 " files opened, %" PRIu64
           " closed, %d open at most, %" PRIu64 " retired\n",
           seed, reads, opens, closes, most_open, retired);
    printf("%d passed, %" PRIu64 " failed\n", failures ? 0 : 1, failures);
    return failures ? 1 : 0;
}
