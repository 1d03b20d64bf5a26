/*
 * paced.h - latencies of operations that come at a steady pace, one each 500 us, each kind in a thread of its
 * own, before and while something else goes on. What comes late because the one before took long begins at
 * once, and its latency counts from when it was due. */
#ifndef ENGRAMFS_BENCH_PACED_H
#define ENGRAMFS_BENCH_PACED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { PACED_BUF = 4096 };

struct paced {
    const char *name;
    /* Does operation `n`, a number that no other has; ends the program if it fails. */
    void (*one)(uint64_t *rng, uint64_t n, char buf[PACED_BUF]);
    pthread_t thread; /* this and the rest are paced.c's */
    uint64_t seed;
    uint32_t *ns;
    _Atomic size_t n;
    size_t idle;
};

/* Starts `n` kinds, and lets them run alone for so many seconds. Ends the program without memory or
 * threads. */
void paced_begin(struct paced *kinds, size_t n, unsigned seconds);
/* Ends them, and prints a member of a JSON object, with a comma before it, for each kind before and since. */
void paced_end(struct paced *kinds, size_t n);

#endif
