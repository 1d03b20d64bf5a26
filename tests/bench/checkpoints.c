/*
 * checkpoints.c - what checkpoints cost after random overwrites: bytes of both copies for each byte of log.
 *
 *   checkpoints FOLDER [MEMORIES [OVERWRITES [ROUNDS]]]
 *
 * Makes MEMORIES (1,000,000) of 300 bytes in a new store in FOLDER and writes a checkpoint; then, ROUNDS (6)
 * times, OVERWRITES (20,000) of random ones and a checkpoint. Prints a line for each round. */
#include "inside.h"

#include "rng.h"

#include <stdio.h>

#define SIZE 300u

static struct eng *eng;
static uint64_t *inos;

static void need(int r, const char *what)
{
    if (!r)
        return;
    (void)fprintf(stderr, "%s: %s\n", what, strerror(-r));
    exit(1);
}

static void make(uint32_t n)
{
    static char names[1000][32], bytes[SIZE];
    static struct eng_record records[1000];
    for (uint32_t i = 0; i < n; i += 1000) {
        for (uint32_t k = 0; k < 1000; k++) {
            (void)snprintf(names[k], sizeof names[k], "memory-%08u", i + k);
            records[k] = (struct eng_record){
                .parent = ENG_ROOT_INO, .name = names[k], .mode = 0600, .content = bytes, .size = SIZE};
        }
        need(eng_put_many(eng, records, 1000) == 1000 ? 0 : -EIO, "put");
        for (uint32_t k = 0; k < 1000; k++) {
            struct eng_attr attr;
            need(eng_lookup(eng, NULL, ENG_ROOT_INO, names[k], &attr), "lookup");
            inos[i + k] = attr.ino;
        }
    }
}

int main(int argc, char **argv)
{
    uint32_t memories = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1000000;
    uint32_t overwrites = argc > 3 ? (uint32_t)strtoul(argv[3], NULL, 0) : 20000;
    uint32_t rounds = argc > 4 ? (uint32_t)strtoul(argv[4], NULL, 0) : 6;
    struct eng_options opt = {.no_background = true, .commit_ms = -1};
    char why[256], bytes[SIZE];
    uint64_t rng = 1;
    memories = (memories + 999) / 1000 * 1000;
    inos = calloc(memories, sizeof *inos);
    if (argc < 2 || !inos)
        return 2;
    need(eng_open(argv[1], &opt, &eng, why), why);
    make(memories);
    need(checkpoint_write(eng), "checkpoint");
    (void)printf("%u memories, index %.0f MB, first checkpoint %.1f MB\n", memories,
                 (double)chunk_pool_live_bytes(eng->idx.pool) / 1e6,
                 (double)COUNTED(eng, checkpoint_written) / 1e6);
    uint64_t written0 = COUNTED(eng, checkpoint_written), log0 = log_bytes(&eng->log);
    for (uint32_t round = 1; round <= rounds; round++) {
        uint64_t written = COUNTED(eng, checkpoint_written), log = log_bytes(&eng->log);
        for (uint32_t i = 0; i < overwrites; i++) {
            rng_fill(bytes, sizeof bytes, rng_next(&rng));
            ssize_t n = eng_write(eng, inos[rng_below(&rng, memories)], bytes, SIZE, 0);
            need(n == SIZE ? 0 : (int)n, "write");
        }
        uint64_t t0 = mono_ns();
        need(checkpoint_write(eng), "checkpoint");
        double ms = (double)(mono_ns() - t0) / 1e6;
        written = COUNTED(eng, checkpoint_written) - written;
        log = log_bytes(&eng->log) - log;
        (void)printf(
            "round %u: log %.1f MB, checkpoint %.1f MB in %.0f ms: %.2f; over all %.2f; files %.0f MB\n",
            round, (double)log / 1e6, (double)written / 1e6, ms, (double)written / (double)log,
            (double)(COUNTED(eng, checkpoint_written) - written0) / (double)(log_bytes(&eng->log) - log0),
            (double)atomic_load(&eng->marks.disk_bytes) / 1e6);
        (void)fflush(stdout);
    }
    need(eng_close(eng), "close");
    free(inos);
    return 0;
}
