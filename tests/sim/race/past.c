/*
 * past.c - writers, views at times, the expiry of a history by number and bytes, compactions,
 * and somebody who switches it off and on: each view shows each memory whole, as it was written at one time.
 */
#include "unit_store.h"

#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#define FILES 6u
#define SIZE 6000u
#define WRITES 400u

static struct unit u;
static atomic_bool stop;
static atomic_uint seen, gone, none;

static void name_of(uint64_t i, char name[8])
{
    (void)snprintf(name, 8, "f%u", (unsigned)(i % FILES));
}

/* A content says at its beginning of which seed the rest is. */
/* Somebody may have removed it. */
static void write_one(uint64_t ino, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(SIZE, seed);
    memcpy(bytes, &seed, sizeof seed);
    (void)eng_write(u.eng, ino, bytes, SIZE, 0);
    free(bytes);
}

static void *writer(void *arg)
{
    uint64_t first = (uint64_t)(uintptr_t)arg * WRITES;
    struct eng_attr attr;
    char name[8];
    for (uint64_t i = first; i < first + WRITES; i++) {
        name_of(i, name);
        if (i % 7 == 0)
            (void)eng_unlink(u.eng, ENG_ROOT_INO, name);
        if (eng_lookup(u.eng, NULL, ENG_ROOT_INO, name, &attr) != 0 &&
            eng_create(u.eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr) != 0)
            continue;
        write_one(attr.ino, i);
    }
    return NULL;
}

static void look(struct eng_view *view, const char *name)
{
    struct eng_attr attr;
    uint8_t got[SIZE];
    uint64_t seed;
    int r = eng_view_lookup(view, ENG_ROOT_INO, name, &attr);
    ssize_t n = r ? r : eng_view_read(view, attr.ino, got, SIZE, 0);
    if (n <= 0) {
        UNIT_NEED(n == 0 || n == -ENOENT || n == -ESTALE);
        atomic_fetch_add(n == -ESTALE ? &gone : &none, 1);
        return;
    }
    UNIT_NEED(n == (ssize_t)SIZE);
    memcpy(&seed, got, sizeof seed);
    uint8_t *want = unit_bytes(SIZE, seed);
    memcpy(want, &seed, sizeof seed);
    UNIT_NEED(memcmp(got, want, SIZE) == 0);
    free(want);
    atomic_fetch_add(&seen, 1);
}

static void *reader(void *arg)
{
    uint64_t batch, since;
    int64_t time;
    struct eng_view *view;
    char name[8];
    (void)arg;
    for (uint64_t i = 0; !atomic_load(&stop); i++) {
        struct timespec ts;
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        int64_t ago = (int64_t)(i % 40) * 1000000;
        if (eng_past_since(u.eng, &since, &time) ||
            eng_past_at(u.eng, (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec - ago, &batch) ||
            eng_view_open(u.eng, batch, &view))
            continue;
        for (uint64_t k = 0; k < FILES; k++) {
            name_of(k, name);
            look(view, name);
        }
        eng_view_close(view);
    }
    return NULL;
}

static void *keeper(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        (void)eng_job_run(u.eng, i % 4 ? ENG_JOB_HISTORY : ENG_JOB_COMPACT, NULL, NULL);
        if (i % 16 == 7)
            UNIT_NEED(eng_config_set(u.eng, "history", i % 32 == 7 ? "0" : "1h") == 0);
        (void)sched_yield();
    }
    return NULL;
}

int main(void)
{
    pthread_t writers[2], others[3];
    unit_new(&u, 0);
    UNIT_NEED(eng_config_set(u.eng, "history_settle", "0") == 0);
    UNIT_NEED(eng_config_set(u.eng, "history_versions", "8") == 0);
    UNIT_NEED(eng_config_set(u.eng, "history_bytes", "300k") == 0);
    UNIT_NEED(eng_config_set(u.eng, "history", "1h") == 0);
    for (uintptr_t i = 0; i < 2; i++)
        UNIT_NEED(pthread_create(&writers[i], NULL, writer, (void *)i) == 0);
    for (unsigned i = 0; i < 3; i++)
        UNIT_NEED(pthread_create(&others[i], NULL, i < 2 ? reader : keeper, NULL) == 0);
    for (unsigned i = 0; i < 2; i++)
        UNIT_NEED(pthread_join(writers[i], NULL) == 0);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 3; i++)
        UNIT_NEED(pthread_join(others[i], NULL) == 0);
    (void)printf("%u contents seen, %u gone, %u not there\n", seen, gone, none);
    UNIT_NEED(seen > 10);
    UNIT_NEED(unit_problems(&u) == 0);
    UNIT_NEED(eng_config_set(u.eng, "history", "0") == 0);
    UNIT_NEED(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    UNIT_NEED(!u.eng->idx.s.n_past && !u.eng->idx.s.n_past_names && !u.eng->idx.s.past_live);
    unit_done(&u);
    return 0;
}
