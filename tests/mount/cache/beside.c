/*
 * beside.c - each operation while three threads read without a pause: one in order, so that the kernel reads
 * ahead of it, one at random, one through a mapping. What they leave in the cache must be what is there when
 * the operation has ended: all readers look once they have stopped. */
#include "cache.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    SIZE = 1 << 20,
    TIMES_ASYNC = 15, /* as many rounds for what has its own way to be late */
};

static pthread_barrier_t start;
static _Atomic bool stop;
static _Atomic unsigned long n_reads;

struct reader {
    const struct file *f;
    uint64_t random;
    bool mapped;
};

/* Each reader says when it has begun, so that the operation meets all of them. */
static void has_read(bool *first)
{
    if (*first)
        (void)pthread_barrier_wait(&start);
    *first = false;
    atomic_fetch_add_explicit(&n_reads, 1, memory_order_relaxed);
}

static void *in_order(void *arg)
{
    static unsigned char buf[65536];
    const struct reader *r = arg;
    int fd = open(r->f->name, O_RDONLY | O_CLOEXEC); /* its own, for what the kernel knows of the order */
    bool first = true;
    MUST(fd);
    while (!atomic_load(&stop)) {
        ssize_t n = read(fd, buf, sizeof(buf));
        MUST(n);
        if (n == 0)
            MUST(lseek(fd, 0, SEEK_SET));
        has_read(&first);
    }
    (void)close(fd);
    return NULL;
}

static void *at_random(void *arg)
{
    unsigned char buf[2000];
    struct reader *r = arg;
    bool first = true;
    while (!atomic_load(&stop)) {
        r->random = r->random * 6364136223846793005u + 1442695040888963407u;
        MUST(pread(r->f->reader, buf, sizeof(buf), (off_t)((r->random >> 20) % SIZE)));
        has_read(&first);
    }
    return NULL;
}

/* Page by page. Of a file that may shrink meanwhile nothing is touched. */
static void *by_mapping(void *arg)
{
    const struct reader *r = arg;
    const volatile unsigned char *bytes = r->f->shared;
    size_t size = r->mapped ? r->f->size / CACHE_PAGE * CACHE_PAGE : 0;
    bool first = true;
    for (size_t at = 0; !atomic_load(&stop); at += CACHE_PAGE) {
        if (size)
            (void)bytes[at % size];
        has_read(&first);
        (void)sched_yield(); /* else it leaves no processor to the others */
    }
    return NULL;
}

/* 0: done; 1: not available. */
static int round_of(const struct content_op *op, struct file *f)
{
    static void *(*const kinds[])(void *) = {in_order, at_random, by_mapping};
    pthread_t threads[COUNT_OF(kinds)];
    struct reader r = {f, rnd(), !op->shrinks};
    struct file seen = *f; /* the operation changes the size */
    r.f = &seen;
    atomic_store(&stop, false);
    MUST(-pthread_barrier_init(&start, NULL, COUNT_OF(kinds) + 1));
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        MUST(-pthread_create(&threads[i], NULL, kinds[i], &r));
    (void)pthread_barrier_wait(&start);
    int result = op->run(f);
    atomic_store(&stop, true);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        MUST(-pthread_join(threads[i], NULL));
    (void)pthread_barrier_destroy(&start);
    return result;
}

/* How many of the rounds left something wrong behind; the first in `why`. */
static unsigned rounds_of(const struct content_op *op, unsigned rounds, struct file *f, char why[256])
{
    unsigned wrong = 0;
    bool open = false;
    for (unsigned i = 0; i < rounds; i++) {
        char found[256];
        if (open && (f->size < SIZE / 2 || f->size > SIZE + SIZE / 2 || wrong)) {
            file_end(f);
            open = false;
        }
        if (!open)
            file_begin(f, SIZE, false);
        open = true;
        if (round_of(op, f)) {
            printf("# beside.%s is not done here\n", op->name);
            break;
        }
        if (file_agrees(f, false, found))
            continue;
        if (!wrong++)
            memcpy(why, found, sizeof(found));
    }
    if (open)
        file_end(f);
    return wrong;
}

void beside_run(unsigned rounds)
{
    static struct file f;
    for (size_t i = 0; i < content_ops_n; i++) {
        const struct content_op *op = &content_ops[i];
        bool async = op->run == op_aio || op->run == op_uring || op->run == op_aio_append;
        unsigned n = async ? rounds * TIMES_ASYNC : rounds;
        char what[100], why[256];
        (void)snprintf(what, sizeof(what), "beside.%s", op->name);
        unsigned wrong = rounds_of(op, n, &f, why);
        if (wrong)
            say(what, "%u of %u rounds; the first: %s", wrong, n, why);
        else
            say(what, NULL);
    }
    printf("# %lu reads beside\n", atomic_load(&n_reads));
}
