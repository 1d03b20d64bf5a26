/*
 * past.c - each read of a past moment is what was there at that moment, while writers, compactions, the
 * expiry of the history, snapshots that come and go, and the history's being switched off go on.
 *
 * Each file has one writer, which notes for each change the position before and behind it: the change is of a
 * batch between the two. So of each moment it is known which change was the last one, but for one that was
 * under way. A view that is exact has to show just that; any other one what some change before left, and what
 * it shows of each block of one file at once has to be of one state.
 *
 *   past [--reads N]     1,000,000; with ENGRAM_TEST_MODE=quick 20,000 */
#include "unit_store.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { WRITERS = 2, READERS = 2, FILES = 12, BLOCKS = 6, BLOCK = 4096, CHANGES = 150000, OF_VIEW = 48 };
#define NO_BLOCK UINT8_MAX
#define UNDER_WAY UINT64_MAX

enum { WRITE, REMOVE, MAKE };
struct change {
    uint64_t before; /* the position then */
    _Atomic uint64_t after;
    uint8_t kind, block; /* a WRITE replaces this block */
};

static struct {
    char name[8];
    struct change *changes;
    atomic_uint n; /* begun */
} files[FILES];

static struct unit u;
static atomic_bool stop;
static atomic_bool keeps_all; /* nothing is thinned: each view since the past is whole is exact */
static atomic_ulong verified, exact, of_snapshots, gone;
static uint64_t reads_wanted = 1000000;

/* ---- writers ------------------------------------------------------------------------------- */

/* What block `block` has after change `n` wrote it. */
static void fill(uint8_t *bytes, unsigned file, unsigned n)
{
    uint64_t word = ((uint64_t)file << 32 | n) * UINT64_C(0x9E3779B97F4A7C15);
    for (size_t i = 0; i < BLOCK; i += sizeof word, word += UINT64_C(0x2545F4914F6CDD1D))
        memcpy(bytes + i, &word, sizeof word);
}

static struct change *begin(unsigned file, uint8_t kind, uint8_t block)
{
    unsigned n = atomic_load(&files[file].n);
    struct change *change = &files[file].changes[n];
    *change = (struct change){.before = eng_position(u.eng), .kind = kind, .block = block};
    atomic_store(&change->after, UNDER_WAY);
    atomic_store(&files[file].n, n + 1);
    return change;
}

static void end(struct change *change)
{
    atomic_store(&change->after, eng_position(u.eng));
}

static uint64_t make(unsigned file)
{
    struct eng_attr attr;
    struct change *change = begin(file, MAKE, NO_BLOCK);
    UNIT_NEED(eng_create(u.eng, NULL, ENG_ROOT_INO, files[file].name, S_IFREG | 0600, 0, NULL, &attr) == 0);
    end(change);
    return attr.ino;
}

static void *writer(void *arg)
{
    unsigned first = (unsigned)(uintptr_t)arg;
    uint64_t inos[FILES], random = first + 1;
    uint8_t bytes[BLOCK];
    for (unsigned f = first; f < FILES; f += WRITERS)
        inos[f] = make(f);
    while (!atomic_load(&stop)) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned f = first + WRITERS * (unsigned)((random >> 33) % (FILES / WRITERS));
        if (atomic_load(&files[f].n) + 2 > CHANGES)
            break;
        if ((random >> 20) % 32 == 0) {
            struct change *change = begin(f, REMOVE, NO_BLOCK);
            UNIT_NEED(eng_unlink(u.eng, ENG_ROOT_INO, files[f].name) == 0);
            end(change);
            inos[f] = make(f);
        } else {
            uint8_t block = (uint8_t)((random >> 50) % BLOCKS);
            struct change *change = begin(f, WRITE, block);
            fill(bytes, f, (unsigned)(change - files[f].changes));
            UNIT_NEED(eng_write(u.eng, inos[f], bytes, BLOCK, (uint64_t)block * BLOCK) == BLOCK);
            end(change);
        }
    }
    return NULL;
}

/* ---- readers -------------------------------------------------------------------------------- */

/* What the first `n` changes of the file leave: whether it is there, and of which change each block is, -1:
 * of none. */
struct state {
    bool is_there;
    int blocks[BLOCKS];
};
static struct state state_after(unsigned file, unsigned n)
{
    struct state state = {.is_there = false};
    for (unsigned b = 0; b < BLOCKS; b++)
        state.blocks[b] = -1;
    unsigned found = 0;
    for (unsigned i = n; i-- > 0 && found < BLOCKS;) {
        const struct change *change = &files[file].changes[i];
        if (change->kind == REMOVE)
            return state;
        state.is_there = true;
        if (change->kind == MAKE)
            break;
        if (state.blocks[change->block] < 0) {
            state.blocks[change->block] = (int)i;
            found++;
        }
    }
    return state;
}

/* How many changes are of batches up to `at`; one more may be: *ret_maybe. */
static unsigned changes_until(unsigned file, uint64_t at, bool *ret_maybe)
{
    const struct change *changes = files[file].changes;
    unsigned low = 0, high = atomic_load(&files[file].n);
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (atomic_load(&changes[middle].after) <= at)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_maybe = low < atomic_load(&files[file].n) && changes[low].before < at;
    return low;
}

struct sight {
    bool is_there;
    uint64_t size;
    uint8_t bytes[BLOCKS * BLOCK];
};

static bool block_is(const struct sight *sight, unsigned file, unsigned block, int change)
{
    uint8_t want[BLOCK] = {0};
    uint64_t off = (uint64_t)block * BLOCK;
    if (off >= sight->size)
        return change < 0;
    if (change >= 0)
        fill(want, file, (unsigned)change);
    return memcmp(sight->bytes + off, want, BLOCK) == 0;
}

static bool is_as(const struct sight *sight, unsigned file, const struct state *state)
{
    bool is = sight->is_there == state->is_there;
    for (unsigned b = 0; is && sight->is_there && b < BLOCKS; b++)
        is = block_is(sight, file, b, state->blocks[b]);
    return is;
}

/* 0, -ESTALE: the past of then has gone meanwhile. */
static int look(struct eng_view *view, unsigned file, struct sight *ret_sight)
{
    struct eng_attr attr;
    int r = eng_view_lookup(view, ENG_ROOT_INO, files[file].name, &attr);
    *ret_sight = (struct sight){.is_there = r == 0};
    if (r == -ENOENT)
        return 0;
    ssize_t n = r ? r : eng_view_read(view, attr.ino, ret_sight->bytes, sizeof ret_sight->bytes, 0);
    if (n < 0)
        return (int)n;
    UNIT_NEED((uint64_t)n == attr.size && n % BLOCK == 0);
    ret_sight->size = attr.size;
    return 0;
}

/* A state of before, where those between were not kept: at most so many changes back that the history has. */
static bool is_older(const struct sight *sight, unsigned file, unsigned n)
{
    for (unsigned i = n + 1; i-- > 0;) {
        struct state state = state_after(file, i);
        if (is_as(sight, file, &state))
            return true;
    }
    return false;
}

static void verify(struct eng_view *view, uint64_t at, unsigned file, bool is_of_snapshot, bool has_all)
{
    static _Thread_local struct sight sight;
    int64_t time;
    bool is_exact = false, maybe;
    int r = look(view, file, &sight);
    if (r == 0)
        r = eng_view_when(view, &time, &is_exact);
    if (r) {
        UNIT_NEED(r == -ESTALE && !is_of_snapshot);
        atomic_fetch_add(&gone, 1);
        return;
    }
    UNIT_NEED(is_exact || !has_all || !atomic_load(&keeps_all));
    unsigned n = changes_until(file, at, &maybe);
    struct state before = state_after(file, n), after = state_after(file, n + maybe);
    bool is = is_as(&sight, file, &before) || is_as(&sight, file, &after);
    if (!is && !is_exact)
        is = is_older(&sight, file, n + maybe);
    if (!is)
        (void)fprintf(stderr, "%s at %" PRIu64 ": not what %u changes left, there %d, of %" PRIu64 " bytes\n",
                      files[file].name, at, n, sight.is_there, sight.size);
    UNIT_NEED(is);
    atomic_fetch_add(&exact, is_exact);
    atomic_fetch_add(&of_snapshots, is_of_snapshot);
    atomic_fetch_add(&verified, 1);
}

static int note_batch(void *arg, const struct eng_snapshot *snapshot)
{
    uint64_t *batch = arg;
    bool take = batch[1]-- == 0;
    *batch = snapshot->batch;
    return take;
}

/* A moment of the past to look at: of a snapshot, some milliseconds ago, or any batch since the past is
 * whole. */
static int choose(uint64_t random, uint64_t *ret_batch, bool *ret_is_of_snapshot)
{
    uint64_t found[2] = {0, random >> 40 & 7}, since;
    int64_t time;
    struct timespec ts;
    *ret_is_of_snapshot = random % 4 == 0;
    if (*ret_is_of_snapshot) {
        (void)eng_snapshot_list(u.eng, note_batch, found);
        *ret_batch = found[0];
        return found[0] ? 0 : -ENOENT;
    }
    int r = eng_past_since(u.eng, &since, &time);
    if (r)
        return r;
    if (random % 4 == 1) {
        (void)clock_gettime(CLOCK_REALTIME, &ts);
        int64_t ago = (int64_t)(random >> 40 & 63) * 1000000;
        return eng_past_at(u.eng, (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec - ago, ret_batch);
    }
    *ret_batch = since + (random >> 8) % (eng_position(u.eng) - since + 1);
    return 0;
}

static int is_that(void *arg, const struct eng_snapshot *snapshot)
{
    return snapshot->batch == *(const uint64_t *)arg;
}

static void *reader(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg * 977 + 1, batch;
    bool is_of_snapshot;
    while (atomic_load(&verified) < reads_wanted) {
        struct eng_view *view;
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        bool has_all = atomic_load(&keeps_all);
        if (choose(random >> 11, &batch, &is_of_snapshot) || eng_view_open(u.eng, batch, &view)) {
            (void)sched_yield();
            continue;
        }
        /* One that was dropped before the view was opened may be a moment of the history. */
        is_of_snapshot = is_of_snapshot && eng_snapshot_list(u.eng, is_that, &batch) == 1;
        for (unsigned i = 0; i < OF_VIEW; i++)
            verify(view, batch, (unsigned)((random >> 17) + i) % FILES, is_of_snapshot, has_all);
        eng_view_close(view);
    }
    return NULL;
}

/* ---- what goes on beside ------------------------------------------------------------------------ */

static void set(const char *key, const char *value)
{
    UNIT_NEED(eng_config_set(u.eng, key, value) == 0);
}

static void *keeper(void *arg)
{
    unsigned was = 0;
    (void)arg;
    while (!atomic_load(&stop)) {
        (void)eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL);
        unsigned part = (unsigned)(atomic_load(&verified) * 24 / reads_wanted);
        if (part != was && part % 6 == 2) { /* what is one too many goes, and no view is exact */
            atomic_store(&keeps_all, false);
            set("history_versions", "8");
        }
        if (part != was && part % 6 == 4) { /* all of it goes */
            set("history_versions", "4096");
            set("history", "0");
            set("history", "1h");
            atomic_store(&keeps_all, true);
        }
        was = part;
        (void)sched_yield();
    }
    return NULL;
}

static void *compactor(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
        (void)sched_yield();
    }
    return NULL;
}

static void *maker_of_snapshots(void *arg)
{
    char name[16], old[16];
    (void)arg;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        uint64_t batch;
        (void)snprintf(name, sizeof name, "s%u", i);
        (void)snprintf(old, sizeof old, "s%u", i - 6);
        UNIT_NEED(eng_snapshot_create_unsynced(u.eng, name, &batch) == 0);
        if (i >= 6)
            UNIT_NEED(eng_snapshot_drop(u.eng, old) == 0);
        struct timespec pause = {.tv_nsec = 2000000}; /* between two snapshots something is to happen */
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

/* What snapshots keep, while it comes and goes. */
static void *teller(void *arg)
{
    struct eng_snapshot_space kept;
    struct eng_space space;
    (void)arg;
    while (!atomic_load(&stop)) {
        uint64_t batch[2] = {0, 2};
        struct timespec pause = {.tv_nsec = 1000000}; /* a look that is no older is told again */
        (void)eng_snapshot_list(u.eng, note_batch, batch);
        int r = eng_snapshot_space(u.eng, batch[0], 0, &kept);
        UNIT_NEED(r == 0 || r == -ENOENT);
        UNIT_NEED(eng_space(u.eng, &space) == 0);
        (void)nanosleep(&pause, NULL);
    }
    return NULL;
}

static void run_all(void)
{
    enum { OTHERS = 4 };
    void *(*const beside[OTHERS])(void *) = {keeper, maker_of_snapshots, compactor, teller};
    pthread_t writers[WRITERS], readers[READERS], others[OTHERS];
    for (uintptr_t i = 0; i < WRITERS; i++)
        UNIT_NEED(pthread_create(&writers[i], NULL, writer, (void *)i) == 0);
    for (unsigned i = 0; i < OTHERS; i++)
        UNIT_NEED(pthread_create(&others[i], NULL, beside[i], NULL) == 0);
    for (uintptr_t i = 0; i < READERS; i++)
        UNIT_NEED(pthread_create(&readers[i], NULL, reader, (void *)i) == 0);
    for (unsigned i = 0; i < READERS; i++)
        UNIT_NEED(pthread_join(readers[i], NULL) == 0);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        UNIT_NEED(pthread_join(writers[i], NULL) == 0);
    for (unsigned i = 0; i < OTHERS; i++)
        UNIT_NEED(pthread_join(others[i], NULL) == 0);
}

static int drop(void *arg, const struct eng_snapshot *snapshot)
{
    (void)snprintf(arg, 16, "%s", snapshot->name);
    return 1;
}

int main(int argc, char **argv)
{
    const char *mode = getenv("ENGRAM_TEST_MODE");
    if (mode && strcmp(mode, "quick") == 0)
        reads_wanted = 20000;
    if (argc == 3 && strcmp(argv[1], "--reads") == 0)
        reads_wanted = strtoull(argv[2], NULL, 0);
    unit_new(&u, 0);
    for (unsigned f = 0; f < FILES; f++) {
        (void)snprintf(files[f].name, sizeof files[f].name, "f%u", f);
        files[f].changes = calloc(CHANGES, sizeof *files[f].changes);
        UNIT_NEED(files[f].changes);
    }
    set("history_settle", "0");
    set("history_versions", "4096");
    set("history_bytes", "4M");
    set("history", "1h");
    run_all();
    unsigned changes = 0;
    for (unsigned f = 0; f < FILES; f++)
        changes += atomic_load(&files[f].n);
    (void)printf("%lu reads verified beside %u changes: %lu exact, %lu of snapshots; %lu of what was gone\n",
                 verified, changes, exact, of_snapshots, gone);
    (void)fflush(stdout);
    UNIT_NEED(exact > reads_wanted / 20 && of_snapshots > reads_wanted / 50);
    UNIT_NEED(unit_problems(&u) == 0);
    set("history", "0");
    for (char name[16] = ""; eng_snapshot_list(u.eng, drop, name) && eng_snapshot_drop(u.eng, name) == 0;) {
    }
    UNIT_NEED(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    UNIT_NEED(!u.eng->idx.s.n_past && !u.eng->idx.s.n_past_names && !u.eng->idx.s.past_live);
    unit_done(&u);
    for (unsigned f = 0; f < FILES; f++)
        free(files[f].changes);
    return 0;
}
