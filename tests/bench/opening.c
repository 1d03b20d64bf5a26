/*
 * opening.c - how long a store takes to its first answer, and until all of its index is verified. For
 * opening.sh, which builds it for other engines, too: it uses what all of them have, and STAGED for one that
 * answers before it has verified.
 *
 *   opening STORE MEMORIES SEED              a look-up and a read of one memory; prints the seconds: until it
 *                                            was read, until all is verified
 *   opening STORE MEMORIES SEED OVERWRITES   overwrites as many at random, makes them durable, and dies */
#include "engine.h"
#if __has_include("admin.h")
#include "admin.h"
#endif

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void need(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(-r));
        exit(1);
    }
}

/* Finds one of n memories, as opening.sh names them. */
static uint64_t any_memory(struct eng *eng, unsigned n)
{
    unsigned i = (unsigned)((double)rand() / ((double)RAND_MAX + 1) * n);
    char folder[16], name[16];
    struct eng_attr attr;
    snprintf(folder, sizeof folder, "%05u", i / 1000);
    snprintf(name, sizeof name, "%08u", i);
    need(eng_lookup(eng, NULL, ENG_ROOT_INO, "m", &attr), "look-up");
    need(eng_lookup(eng, NULL, attr.ino, folder, &attr), "look-up");
    need(eng_lookup(eng, NULL, attr.ino, name, &attr), "look-up");
    return attr.ino;
}

static void await_verified(struct eng *eng)
{
#ifdef STAGED
    struct eng_stats st;
    do {
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        need(eng_stats(eng, &st), "statistics");
    } while (st.index_unverified_bytes);
#else
    (void)eng;
#endif
}

int main(int argc, char **argv)
{
    struct eng_options options = {.must_exist = true, .commit_ms = -1};
    struct eng *eng;
    char why[256], buf[256];
    if (argc < 4)
        return 2;
    unsigned n = (unsigned)strtoul(argv[2], NULL, 10);
    srand((unsigned)strtoul(argv[3], NULL, 10));
    double from = now();
    int r = eng_open(argv[1], &options, &eng, why);
    if (r) {
        fprintf(stderr, "open: %s\n", why);
        return 1;
    }
    if (argc > 4) {
        for (unsigned k = (unsigned)strtoul(argv[4], NULL, 10); k > 0; k--)
            need((int)eng_write(eng, any_memory(eng, n), "overwritten", 11, 0), "write");
        need(eng_sync(eng), "sync");
        _exit(0);
    }
    need((int)eng_read(eng, any_memory(eng, n), buf, sizeof buf, 0), "read");
    double first = now() - from;
    await_verified(eng);
    printf("%.4f %.4f\n", first, now() - from);
    need(eng_close(eng), "close");
    return 0;
}
