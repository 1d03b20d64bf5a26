/* paced.c - see paced.h. No locks: each thread has its own latencies. */
#include "paced.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "rng.h"

enum { SAMPLES_MAX = 1 << 21, EVERY_NS = 500000 };

static _Atomic bool ended;

static uint64_t now(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void *run(void *arg)
{
    struct paced *p = arg;
    static _Atomic uint64_t numbers;
    char buf[PACED_BUF];
    uint64_t rng = p->seed, due = now();
    rng_fill(buf, sizeof(buf), 1);
    while (!atomic_load(&ended) && p->n < SAMPLES_MAX) {
        due += EVERY_NS;
        if (now() < due) {
            struct timespec ts = {.tv_sec = (time_t)(due / 1000000000), .tv_nsec = (long)(due % 1000000000)};
            (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
            due = now(); /* waking up late is the scheduler's */
        }
        p->one(&rng, numbers++, buf);
        uint64_t took = now() - due;
        p->ns[p->n++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    }
    return NULL;
}

void paced_begin(struct paced *kinds, size_t n, unsigned seconds)
{
    struct timespec ts = {.tv_sec = seconds};
    for (size_t i = 0; i < n; i++) {
        kinds[i].seed = 100 + i;
        kinds[i].ns = malloc(SAMPLES_MAX * sizeof(uint32_t));
        if (!kinds[i].ns || pthread_create(&kinds[i].thread, NULL, run, &kinds[i]) != 0) {
            (void)fprintf(stderr, "no memory or no thread for %s\n", kinds[i].name);
            exit(1);
        }
    }
    (void)nanosleep(&ts, NULL);
    for (size_t i = 0; i < n; i++)
        kinds[i].idle = kinds[i].n;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print(const char *name, const char *when, uint32_t *v, size_t n)
{
    if (!n)
        return;
    qsort(v, n, sizeof *v, by_value);
    printf(", \"%s_%s_us\": {\"n\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"max\": %.1f}", name,
           when, n, v[n / 2] / 1e3, v[n * 99 / 100] / 1e3, v[n * 999 / 1000] / 1e3, v[n - 1] / 1e3);
}

void paced_end(struct paced *kinds, size_t n)
{
    atomic_store(&ended, true);
    for (size_t i = 0; i < n; i++) {
        struct paced *p = &kinds[i];
        (void)pthread_join(p->thread, NULL);
        print(p->name, "idle", p->ns, p->idle);
        print(p->name, "compacting", p->ns + p->idle, p->n - p->idle);
        free(p->ns);
    }
}
