/*
 * race_mount.c - readers and writers through a mount, beside compactions.
 *
 * usage: race_mount MOUNT READS [SEED]
 *
 * 8 readers and 4 writers over 10,000 memories while `run` is written to the
 * control file again and again, until READS verified reads have overlapped
 * a compaction. Every content carries its id, its version and its length, and
 * the rest follows from them, so a wrong, torn, stale or lost byte is seen.
 * Reads are O_DIRECT: each is one READ that reaches the daemon. A read counts as moved
 * when no writer touched the memory meanwhile and its generation changed.
 *
 * Each memory belongs to one writer. began[id] is raised before a version is
 * written, ended[id] after the write returned; a reader that found ended[id] = v
 * before it opened the file must see v or later, and no later than began[id] afterwards. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { MEMORIES = 10000, READERS = 8, WRITERS = 4, CONTENT_MAX = 8192, FOLDERS = 100 };

struct header {
    uint32_t id, version, length, seal;
};

static const char *mount_path;
static uint64_t reads_wanted;
/* atomic: a writer's release store pairs with the readers' acquire load */
static _Atomic uint32_t began[MEMORIES], ended[MEMORIES];
/* atomic: figures, and flags that nothing else is ordered by */
static atomic_bool compacting, stop;
static _Atomic uint64_t reads, overlapping, moved, moved_eligible, writes, replaced, compactions, wrong;

static uint64_t next_random(uint64_t *state)
{
    /* xorshift64*, Marsaglia and Vigna: cheap and good enough to choose with */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

static void complain(uint32_t id, const char *what, long long a, long long b)
{
    if (atomic_fetch_add(&wrong, 1) < 10)
        (void)fprintf(stderr, "memory %" PRIu32 ": %s (%lld, %lld)\n", id, what, a, b);
    atomic_store(&stop, true);
}

static void path_of(char *ret, size_t cap, uint32_t id, const char *suffix)
{
    (void)snprintf(ret, cap, "%s/race/%" PRIu32 "/%" PRIu32 "%s", mount_path, id % FOLDERS, id, suffix);
}

static void fill(unsigned char *buf, uint32_t id, uint32_t version, uint32_t length)
{
    struct header h = {id, version, length, id ^ version * 2654435761U ^ length};
    memcpy(buf, &h, sizeof(h));
    uint64_t state = ((uint64_t)id << 32 | version) * 2 + 1;
    for (size_t at = sizeof(h); at < length; at += sizeof(uint64_t)) {
        uint64_t word = next_random(&state);
        size_t n = length - at < sizeof(word) ? length - at : sizeof(word);
        memcpy(buf + at, &word, n);
    }
}

static bool is_whole(const unsigned char *buf, size_t size, uint32_t id, uint32_t *ret_version)
{
    struct header h;
    unsigned char want[CONTENT_MAX];
    if (size < sizeof(h) || size > CONTENT_MAX)
        return false;
    memcpy(&h, buf, sizeof(h));
    if (h.id != id || h.length != size)
        return false;
    fill(want, id, h.version, h.length);
    if (memcmp(buf, want, size) != 0)
        return false;
    *ret_version = h.version;
    return true;
}

static int put(const char *path, const unsigned char *buf, size_t size, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
    if (fd < 0)
        return -errno;
    ssize_t n = pwrite(fd, buf, size, 0);
    int err = n < 0 ? -errno : 0;
    if (!err && (size_t)n != size)
        err = -EIO;
    (void)close(fd);
    return err;
}

/* In place with the same length, by one WRITE; or by a new file of another length, renamed over the old
 * one. */
static int write_version(uint32_t id, uint32_t version, uint32_t *length, uint64_t *rng)
{
    unsigned char buf[CONTENT_MAX];
    char path[512], temp[512];
    path_of(path, sizeof(path), id, "");
    bool replace = version == 1 || next_random(rng) % 4 == 0;
    if (replace)
        *length = (uint32_t)(sizeof(struct header) + next_random(rng) % (id % 10 == 0 ? 8000 : 2000));
    fill(buf, id, version, *length);
    if (!replace)
        return put(path, buf, *length, 0);
    path_of(temp, sizeof(temp), id, ".new");
    int err = put(temp, buf, *length, O_CREAT | O_TRUNC);
    if (!err && rename(temp, path))
        err = -errno;
    atomic_fetch_add(&replaced, 1);
    return err;
}

struct writer {
    pthread_t thread;
    uint32_t number;
    uint64_t rng;
    uint32_t lengths[MEMORIES / WRITERS];
};

static int advance(struct writer *w, uint32_t slot)
{
    uint32_t id = slot * WRITERS + w->number;
    uint32_t version = atomic_load(&began[id]) + 1;
    atomic_store(&began[id], version);
    int err = write_version(id, version, &w->lengths[slot], &w->rng);
    if (err)
        complain(id, strerror(-err), version, w->lengths[slot]);
    else
        atomic_store(&ended[id], version);
    return err;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;
    while (!atomic_load(&stop)) {
        (void)advance(w, (uint32_t)(next_random(&w->rng) % (MEMORIES / WRITERS)));
        atomic_fetch_add(&writes, 1);
    }
    return NULL;
}

static uint64_t generation_of(int fd)
{
    char text[32];
    ssize_t n = fgetxattr(fd, "user.engram.generation", text, sizeof(text) - 1);
    if (n < 0)
        return 0;
    text[n] = '\0';
    return strtoull(text, NULL, 10);
}

static void read_one(uint32_t id, unsigned char *buf, bool check_generation)
{
    char path[512];
    path_of(path, sizeof(path), id, "");
    bool overlaps = atomic_load(&compacting);
    uint32_t least = atomic_load(&ended[id]), first = atomic_load(&began[id]);
    int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        complain(id, "open", errno, 0);
        return;
    }
    uint64_t before = check_generation ? generation_of(fd) : 0;
    ssize_t n = pread(fd, buf, CONTENT_MAX * 2, 0);
    int err = n < 0 ? errno : 0;
    uint64_t after = check_generation ? generation_of(fd) : 0;
    (void)close(fd);
    uint32_t most = atomic_load(&began[id]), version;
    if (err)
        complain(id, strerror(err), 0, 0);
    else if (!is_whole(buf, (size_t)n, id, &version))
        complain(id, "torn or wrong content of this size", n, least);
    else if (version < least)
        complain(id, "stale: found version, was already", version, least);
    else if (version > most)
        complain(id, "from the future", version, most);
    else
        atomic_fetch_add(&reads, 1);
    if (check_generation && before && first == most && least == first) {
        atomic_fetch_add(&moved_eligible, 1);
        if (before != after)
            atomic_fetch_add(&moved, 1);
    }
    if ((overlaps || atomic_load(&compacting)) && atomic_fetch_add(&overlapping, 1) + 1 >= reads_wanted)
        atomic_store(&stop, true);
}

struct reader {
    pthread_t thread;
    uint64_t rng;
};

static void *reader_main(void *arg)
{
    struct reader *r = arg;
    unsigned char *buf = aligned_alloc(4096, CONTENT_MAX * 2);
    if (!buf) {
        complain(0, "out of memory", 0, 0);
        return NULL;
    }
    /* The generation costs two round trips more, so not every read asks for it. */
    for (uint64_t i = 0; !atomic_load(&stop); i++)
        read_one((uint32_t)(next_random(&r->rng) % MEMORIES), buf, i % 4 == 0);
    free(buf);
    return NULL;
}

static void *compactor_main(void *arg)
{
    (void)arg;
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/.engram/compact", mount_path);
    while (!atomic_load(&stop)) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0) {
            complain(0, "opening the control file", errno, 0);
            break;
        }
        atomic_store(&compacting, true);
        bool ok = write(fd, "run\n", 4) == 4;
        int err = errno;
        atomic_store(&compacting, false);
        (void)close(fd);
        if (ok)
            atomic_fetch_add(&compactions, 1);
        else if (err != EBUSY) /* the daemon may have started one by itself */
            complain(0, strerror(err), 0, 0);
    }
    return NULL;
}

static int prepare(struct writer writers[WRITERS])
{
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/race", mount_path);
    if (mkdir(path, 0755))
        return -errno;
    for (int i = 0; i < FOLDERS; i++) {
        (void)snprintf(path, sizeof(path), "%s/race/%d", mount_path, i);
        if (mkdir(path, 0755))
            return -errno;
    }
    for (uint32_t id = 0; id < MEMORIES; id++) {
        int err = advance(&writers[id % WRITERS], id / WRITERS);
        if (err)
            return err;
    }
    return 0;
}

/* After the storm: all there, each at the version that its writer wrote last. */
static void final_check(void)
{
    unsigned char buf[CONTENT_MAX * 2];
    char path[512];
    for (uint32_t id = 0; id < MEMORIES; id++) {
        uint32_t version = 0;
        path_of(path, sizeof(path), id, "");
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));
        if (fd >= 0)
            (void)close(fd);
        if (n < 0 || !is_whole(buf, (size_t)n, id, &version) || version != atomic_load(&ended[id]))
            complain(id, "at the end: not the last version", version, atomic_load(&ended[id]));
    }
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        (void)fprintf(stderr, "usage: race_mount MOUNT READS [SEED]\n");
        return 2;
    }
    mount_path = argv[1];
    reads_wanted = strtoull(argv[2], NULL, 10);
    uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : (uint64_t)time(NULL);
    (void)printf("# seed %" PRIu64 "\n", seed);
    (void)fflush(stdout);

    static struct writer writers[WRITERS];
    static struct reader readers[READERS];
    for (uint32_t i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        writers[i].rng = seed * 31 + i + 1;
    }
    int err = prepare(writers);
    if (err) {
        (void)fprintf(stderr, "preparing: %s\n", strerror(-err));
        return 1;
    }
    pthread_t compactor;
    struct timespec start, end;
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    bool failed = pthread_create(&compactor, NULL, compactor_main, NULL) != 0;
    for (int i = 0; i < WRITERS; i++)
        failed |= pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]) != 0;
    for (int i = 0; i < READERS; i++) {
        readers[i].rng = seed * 77 + (uint64_t)i + 1;
        failed |= pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]) != 0;
    }
    if (failed) {
        (void)fprintf(stderr, "cannot start the threads\n");
        return 1;
    }
    for (int i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i].thread, NULL);
    (void)pthread_join(compactor, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    final_check();
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    (void)printf("# %" PRIu64 " verified reads, %" PRIu64 " of them beside a compaction; %" PRIu64
                 " moved while they were read, of %" PRIu64 " looked at; %" PRIu64 " writes, %" PRIu64
                 " by rename; %" PRIu64 " compactions; %.1f s\n",
                 atomic_load(&reads), atomic_load(&overlapping), atomic_load(&moved),
                 atomic_load(&moved_eligible), atomic_load(&writes), atomic_load(&replaced),
                 atomic_load(&compactions), seconds);
    if (atomic_load(&wrong) == 0 && atomic_load(&moved) == 0 && reads_wanted >= 100000) {
        (void)fprintf(stderr, "no memory was moved while it was read: this run proves nothing\n");
        return 1;
    }
    return atomic_load(&wrong) != 0;
}
