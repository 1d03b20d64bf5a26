/*
 * bounds.c - what is bounded, measured: the memory and the disk space that a compaction takes on top (I9),
 * and the bytes that are copied while a long queue of orphans goes. Each is measured on a small store and on
 * one four times as large, and must be within what the parts are said to take (docs/DESIGN.md, "Bounds"),
 * which the size of the store is not among.
 *
 * Memory is what the engine has from malloc and mmap; the simulated disk's own does not count. With the
 * engine that has mutants a group of any size, or victims that stay until the end, must be noticed.
 *
 * Also: how many segments are looked at in one hold of log.lock, or of index_lock, when some are to be
 * retired or chosen, or figures of all are asked for; and how many xattrs in one hold of index_lock, while
 * a compaction moves those of files that have many.
 *
 *   bounds [memory|scrub|disk|orphans|looks|xattrs] */
#include "core/look.h"
#include "hook.h"
#include "unit_store.h"
#include "upkeep/choose.h"
#include "upkeep/install.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define KIB (UINT64_C(1) << 10)
#define SEGMENT_SIZE (256 * KIB)

/* ---- memory: counted where it is asked for -------------------------------------------- */

/* Bytes of the engine, and the most since that was last set: by malloc, and mapped for the index. */
struct meter {
    _Atomic int64_t now, most;
};
static struct meter heap, mapped;
static _Atomic uint64_t copied;        /* bytes, by memcpy and memmove */
static _Thread_local unsigned in_disk; /* this thread is in the simulated disk */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void __real_free(void *p);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *at, size_t len);
void *__real_memmove(void *to, const void *from, size_t n);
void *__real_memcpy(void *to, const void *from, size_t n);
void __real_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));
void __wrap_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
void __wrap_free(void *p);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *at, size_t len);
void *__wrap_memmove(void *to, const void *from, size_t n);
void *__wrap_memcpy(void *to, const void *from, size_t n);

static void count(struct meter *meter, int64_t bytes)
{
    if (in_disk)
        return;
    int64_t now = atomic_fetch_add(&meter->now, bytes) + bytes, most = atomic_load(&meter->most);
    while (now > most && !atomic_compare_exchange_weak(&meter->most, &most, now))
        ;
}

static int64_t size_of(void *p)
{
    return p ? (int64_t)malloc_usable_size(p) : 0;
}

static void *counted(void *p)
{
    count(&heap, size_of(p));
    return p;
}

void *__wrap_malloc(size_t size)
{
    return counted(__real_malloc(size));
}
void *__wrap_calloc(size_t n, size_t size)
{
    return counted(__real_calloc(n, size));
}
void *__wrap_realloc(void *p, size_t size)
{
    int64_t before = size_of(p);
    void *q = __real_realloc(p, size);
    count(&heap, q ? size_of(q) - before : 0);
    return q;
}
void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    int64_t before = size_of(p);
    void *q = __real_reallocarray(p, n, size);
    count(&heap, q ? size_of(q) - before : 0);
    return q;
}
void *__wrap_aligned_alloc(size_t align, size_t size)
{
    return counted(__real_aligned_alloc(align, size));
}
void __wrap_free(void *p)
{
    count(&heap, -size_of(p));
    __real_free(p);
}
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    void *p = __real_mmap64(at, len, prot, flags, fd, off);
    count(&mapped, p == MAP_FAILED ? 0 : (int64_t)len);
    return p;
}
int __wrap_munmap(void *at, size_t len)
{
    count(&mapped, -(int64_t)len);
    return __real_munmap(at, len);
}
void *__wrap_memmove(void *to, const void *from, size_t n)
{
    copied += in_disk ? 0 : n;
    return __real_memmove(to, from, n);
}
void *__wrap_memcpy(void *to, const void *from, size_t n)
{
    copied += in_disk ? 0 : n;
    return __real_memcpy(to, from, n);
}

/* The libc's takes memory itself: a copy, and of larger elements a pointer to each. */
void __wrap_qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *))
{
    int64_t takes = (int64_t)(n * (size + sizeof(void *)));
    count(&heap, takes);
    __real_qsort(base, n, size, compare);
    count(&heap, -takes);
}

/* ---- looks: in one hold of a lock --------------------------------------------------------- */

static pthread_mutex_t *watched; /* NULL: none */
static pthread_rwlock_t *watched_shared;
static bool watched_held; /* the latter is */
static uint64_t looks, most_looks, all_looks;

int __real_pthread_mutex_lock(pthread_mutex_t *lock);
int __wrap_pthread_mutex_lock(pthread_mutex_t *lock);

int __wrap_pthread_mutex_lock(pthread_mutex_t *lock)
{
    int r = __real_pthread_mutex_lock(lock);
    if (lock == watched)
        looks = 0;
    return r;
}

int __real_pthread_rwlock_rdlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock);

int __wrap_pthread_rwlock_rdlock(pthread_rwlock_t *lock)
{
    int r = __real_pthread_rwlock_rdlock(lock);
    if (lock == watched_shared)
        looks = 0;
    watched_held = watched_held || lock == watched_shared;
    return r;
}

int __real_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock);
int __real_pthread_rwlock_unlock(pthread_rwlock_t *lock);
int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock);
bool __real_index_next_xattr(const struct index *idx, struct xattr_walk *walk);
bool __wrap_index_next_xattr(const struct index *idx, struct xattr_walk *walk);

int __wrap_pthread_rwlock_wrlock(pthread_rwlock_t *lock)
{
    int r = __real_pthread_rwlock_wrlock(lock);
    if (lock == watched_shared)
        looks = 0;
    watched_held = watched_held || lock == watched_shared;
    return r;
}

int __wrap_pthread_rwlock_unlock(pthread_rwlock_t *lock)
{
    watched_held = watched_held && lock != watched_shared;
    return __real_pthread_rwlock_unlock(lock);
}

bool __wrap_index_next_xattr(const struct index *idx, struct xattr_walk *walk)
{
    all_looks += watched_held;
    looks += watched_held;
    most_looks = MAX_OF(most_looks, looks);
    return __real_index_next_xattr(idx, walk);
}

static bool look(struct eng *eng, const struct seg_rec *seg)
{
    (void)eng, (void)seg;
    all_looks++;
    looks++;
    most_looks = MAX_OF(most_looks, looks);
    return false;
}

static const struct keeper onlooker = {.kind = KEEPER_LIVE, .key = "looks", .needs = look};

/* ---- the disk: what it holds at most --------------------------------------------------- */

static const struct eng_io_ops *disk_ops;
static struct eng_io_ops ops;
static struct unit u;
/* What the disk holds, bytes, and the most of it. Where two threads run they take turns. */
struct used {
    uint64_t checkpoints, others;
};
static struct used most_used;

static void add_file(void *arg, const char *name, uint64_t size)
{
    struct used *used = arg;
    uint64_t blocks = (size + 4095) / 4096 * 4096;
    bool is_image = strstr(name, ".ckp") || strstr(name, ".cpy");
    *(is_image ? &used->checkpoints : &used->others) += blocks;
}

static struct used look_at_disk(void)
{
    struct used used = {0};
    simdisk_each(u.disk, add_file, &used);
    most_used.checkpoints = MAX_OF(most_used.checkpoints, used.checkpoints);
    most_used.others = MAX_OF(most_used.others, used.others);
    return used;
}

#define THROUGH(type, call, params, args)                                                                    \
    static type disk_##call params                                                                           \
    {                                                                                                        \
        in_disk++;                                                                                           \
        type r = disk_ops->call args;                                                                        \
        in_disk--;                                                                                           \
        return r;                                                                                            \
    }
#define THROUGH_AND_LOOK(type, call, params, args)                                                           \
    static type disk_##call params                                                                           \
    {                                                                                                        \
        in_disk++;                                                                                           \
        type r = disk_ops->call args;                                                                        \
        (void)look_at_disk();                                                                                \
        in_disk--;                                                                                           \
        return r;                                                                                            \
    }
THROUGH_AND_LOOK(int, open, (struct eng_io * io, const char *name, int flags, struct io_file **ret),
                 (io, name, flags, ret))
THROUGH_AND_LOOK(ssize_t, pwritev, (struct io_file * file, const struct iovec *iov, int n, uint64_t at),
                 (file, iov, n, at))
THROUGH_AND_LOOK(int, truncate, (struct io_file * file, uint64_t size), (file, size))
THROUGH_AND_LOOK(int, allocate, (struct io_file * file, uint64_t from, uint64_t to), (file, from, to))
THROUGH(ssize_t, pread, (struct io_file * file, void *buf, size_t size, uint64_t at), (file, buf, size, at))
THROUGH(int, datasync, (struct io_file * file), (file))
THROUGH(int, unlink, (struct eng_io * io, const char *name), (io, name))
THROUGH(int, rename, (struct eng_io * io, const char *from, const char *to), (io, from, to))
THROUGH(int, syncdir, (struct eng_io * io), (io))

static void disk_close(struct io_file *file)
{
    in_disk++;
    disk_ops->close(file);
    in_disk--;
}

static void watch_disk(void)
{
    disk_ops = simdisk_io(u.disk)->ops;
    ops = *disk_ops;
    ops.open = disk_open;
    ops.close = disk_close;
    ops.pread = disk_pread;
    ops.pwritev = disk_pwritev;
    ops.truncate = disk_truncate;
    ops.allocate = disk_allocate;
    ops.datasync = disk_datasync;
    ops.unlink = disk_unlink;
    ops.rename = disk_rename;
    ops.syncdir = disk_syncdir;
    simdisk_io(u.disk)->ops = &ops;
}

/* ---- what is measured -------------------------------------------------------------------- */

static uint64_t n_passed, n_failed;

static bool within(const char *what, uint64_t got, uint64_t bound)
{
    bool ok = got <= bound;
    printf("%s: %s: %" PRIu64 " KiB of at most %" PRIu64 " KiB\n", ok ? "ok" : "FAILED", what, got / KIB,
           bound / KIB);
    n_passed += ok;
    n_failed += !ok;
    return ok;
}

struct measured {
    /* Bytes that the compaction took on top: of both kinds of memory, and of the disk, without checkpoints
     * and for them. */
    uint64_t heap, mapped, disk, checkpoints;
    uint64_t moved, moved_bytes, victims, index;
};

static void new_store(void)
{
    in_disk++;
    unit_new(&u, SEGMENT_SIZE);
    unit_close(&u);
    in_disk--;
    watch_disk();
    u.opt.segment_size = SEGMENT_SIZE;
    unit_open(&u);
    UNIT_NEED(eng_config_set(u.eng, "auto_compact", "0") == 0);
}

static struct measured compact(bool beside)
{
    struct measured m;
    struct eng_job_report report;
    struct schedule *schedule = NULL;
    UNIT_NEED(eng_tick(u.eng) == 0); /* orphans, checkpoint, what is empty */
    if (beside)
        schedule = schedule_new(u.eng, 5);
    most_used = (struct used){0};
    const struct used used = look_at_disk();
    const int64_t had = heap.now, had_mapped = mapped.now;
    heap.most = had;
    mapped.most = had_mapped;
    m.index = unit_stats(&u).index_bytes;
    UNIT_NEED(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    m.heap = (uint64_t)(heap.most - had);
    m.mapped = (uint64_t)(mapped.most - had_mapped);
    m.disk = most_used.others - used.others;
    m.checkpoints = most_used.checkpoints - used.checkpoints;
    m.moved = report.compact.extents_moved;
    m.moved_bytes = report.compact.bytes_moved;
    m.victims = report.total;
    UNIT_NEED(m.victims > 8 && report.compact.fragmentation_after < 0.02);
    UNIT_NEED(unit_problems(&u) == 0);
    unit_close(&u);
    schedule_free(schedule);
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
    return m;
}

/* ---- memory: many small ranges -------------------------------------------------------------- */

#define GROUP 1024u
#define IN_FILE 500u
#define BUFFERS (2 * (1024 + 300) * KIB) /* a window, and the end of the output segment */
#define A_REF 64u
#define A_VICTIM 128u     /* of the choice: the candidate, and its place in the map */
#define SLAB (2048 * KIB) /* of the index, with its room for a batch: a chunk for each relocation */
#define BATCH (256 * 64 * KIB)
#define OTHERS (256 * KIB) /* paths for hints, a batch in memory, manifests of checkpoints */

static struct measured of_ranges(unsigned files)
{
    uint8_t bytes[300];
    new_store();
    u.eng->compact_group = GROUP;
    memset(bytes, 7, sizeof bytes);
    for (unsigned i = 0; i < files; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "f%u", i);
        uint64_t ino = unit_create(&u, name);
        for (unsigned k = 0; k < IN_FILE; k++) {
            UNIT_NEED(eng_write(u.eng, ino, bytes, sizeof bytes, (uint64_t)k * 8192) == sizeof bytes);
            if (k % 2)
                UNIT_NEED(eng_fallocate(u.eng, ino, 3, (uint64_t)k * 8192, 8192) == 0); /* garbage */
        }
        UNIT_NEED(eng_sync(u.eng) == 0);
    }
    struct measured m = compact(false);
    UNIT_NEED(m.moved > 8 * GROUP);
    return m;
}

/* What a group of ranges takes, whose last segment is in it whole: twice, while they are sorted; grown by
 * doubling. */
static uint64_t group_bound(uint64_t in_segment)
{
    return (GROUP + in_segment) * (2 * A_REF + A_REF + 8);
}

static uint64_t heap_bound(const struct measured *m)
{
    return group_bound(SEGMENT_SIZE / 300) + BUFFERS + m->victims * A_VICTIM + OTHERS;
}

static void measure_memory(void)
{
    struct measured small = of_ranges(40), large = of_ranges(160);
    printf("%" PRIu64 " and %" PRIu64 " ranges moved, indexes of %" PRIu64 " and %" PRIu64 " KiB\n",
           small.moved, large.moved, small.index / KIB, large.index / KIB);
    (void)within("memory of a compaction", small.heap, heap_bound(&small));
    (void)within("memory of one four times as large", large.heap, heap_bound(&large));
    uint64_t more = large.heap > small.heap ? large.heap - small.heap : 0;
    (void)within("what it takes more", more, (large.victims - small.victims) * A_VICTIM + OTHERS);
    (void)within("for the index", small.mapped, small.index / 4 + BATCH + SLAB);
    (void)within("for an index four times as large", large.mapped, large.index / 4 + BATCH + SLAB);
}

/* What a scrub takes of ranges of a byte, beside what it reads with. */
static void measure_scrub(void)
{
    struct eng_job_report report;
    new_store();
    u.eng->compact_group = GROUP;
    uint64_t ino = unit_create(&u, "f"), segments = unit_stats(&u).segments;
    for (unsigned k = 0; k < 40 * GROUP; k++)
        UNIT_NEED(eng_write(u.eng, ino, "x", 1, (uint64_t)k * 8192) == 1);
    UNIT_NEED(eng_tick(u.eng) == 0);
    segments = unit_stats(&u).segments - segments;
    const int64_t had = heap.now;
    heap.most = had;
    UNIT_NEED(eng_job_run(u.eng, ENG_JOB_SCRUB, NULL, &report) == 0);
    UNIT_NEED(report.scrub.damaged == 0 && report.scrub.extents == 40 * GROUP && segments > 16);
    uint64_t buffers = 1024 * KIB + OTHERS; /* of the proof; what the extents are read into is less */
    (void)within("memory of a scrub", (uint64_t)(heap.most - had),
                 MAX_OF(buffers, group_bound(40 * GROUP / segments) + buffers / 2));
    unit_close(&u);
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
}

/* ---- disk: much content, little index ----------------------------------------------------------- */

#define CONTENT 30000u

static struct measured of_content(unsigned files, bool beside)
{
    new_store();
    for (unsigned i = 0; i < 2 * files; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%c%u", i % 2 ? 'k' : 'd', i);
        unit_file(&u, name, CONTENT, i);
    }
    for (unsigned i = 0; i < 2 * files; i += 2) {
        char name[16];
        (void)snprintf(name, sizeof name, "d%u", i);
        UNIT_NEED(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
    }
    return compact(beside);
}

static uint64_t disk_bound(const struct measured *m)
{
    uint64_t relocations = m->moved * 72 + (m->moved / 256 + m->moved_bytes / SEGMENT_SIZE + 2) * 256;
    uint64_t ends = 8 * 4 * KIB; /* blocks that are not full; a log segment that was begun */
    return 2 * SEGMENT_SIZE + relocations + ends;
}

static void measure_disk(void)
{
    for (int beside = 0; beside < 2; beside++) {
        struct measured small = of_content(150, beside), large = of_content(600, beside);
        printf("%s: %" PRIu64 " and %" PRIu64 " KiB moved, indexes of %" PRIu64 " and %" PRIu64 " KiB\n",
               beside ? "with an installer" : "alone", small.moved_bytes / KIB, large.moved_bytes / KIB,
               small.index / KIB, large.index / KIB);
        (void)within("disk of a compaction", small.disk, disk_bound(&small));
        (void)within("disk of one four times as large", large.disk, disk_bound(&large));
        (void)within("its checkpoints", large.checkpoints, 2 * (large.index + 64 * KIB));
    }
}

/* ---- orphans -------------------------------------------------------------------------------------- */

/* Bytes copied for each while so many are freed. */
static uint64_t of_orphans(unsigned n)
{
    struct eng_caller holder = {.ref = true};
    struct eng_attr attr;
    uint64_t *inos = calloc(n, sizeof *inos);
    UNIT_NEED(inos);
    new_store();
    for (unsigned i = 0; i < n; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "o%u", i);
        UNIT_NEED(eng_create(u.eng, &holder, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr) == 0);
        inos[i] = attr.ino;
        UNIT_NEED(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0);
    }
    for (unsigned i = 0; i < n; i++)
        UNIT_NEED(eng_forget(u.eng, inos[i], 1) == 0);
    UNIT_NEED(u.eng->idx.n_orphans == n);
    copied = 0;
    UNIT_NEED(eng_sync(u.eng) == 0);
    uint64_t each = copied / n;
    UNIT_NEED(u.eng->idx.n_orphans == 0);
    free(inos);
    unit_close(&u);
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
    return each;
}

static void measure_orphans(void)
{
    uint64_t few = of_orphans(5000), many = of_orphans(20000);
    bool ok = many <= few + few / 4;
    printf("%s: %" PRIu64 " bytes copied for each of 5000 orphans, %" PRIu64 " for each of 20000\n",
           ok ? "ok" : "FAILED", few, many);
    n_passed += ok;
    n_failed += !ok;
}

/* ---- looks ------------------------------------------------------------------------------------------ */

#define SEGMENTS 5000u

static int no_info(void *arg, const struct eng_segment_info *info)
{
    (void)arg, (void)info;
    return 0;
}

static int no_file(void *arg, const struct eng_file *file)
{
    (void)arg, (void)file;
    return 0;
}

static void look_retire(struct eng *eng)
{
    (void)retire_segments(eng);
}

static void look_choose(struct eng *eng)
{
    const struct choice choice = {.leave = 0};
    struct candidate *victims = NULL;
    size_t n;
    UNIT_NEED(choose_victims(eng, &choice, &victims, &n) == 0);
    free(victims);
}

static void look_estimate(struct eng *eng)
{
    struct eng_compact_estimate estimate;
    UNIT_NEED(eng_compact_estimate(eng, &estimate) == 0);
}

static void look_check_room(struct eng *eng)
{
    UNIT_NEED(choose_check_room(eng, false) == 0);
}

static void look_age(struct eng *eng)
{
    uint64_t newest = eng->marks.newest_seq;
    eng->marks.newest_seq = UINT64_MAX; /* no checkpoint has to be written */
    UNIT_NEED(install_age_metadata(eng) == 0);
    eng->marks.newest_seq = newest;
}

static void look_segments(struct eng *eng)
{
    UNIT_NEED(eng_segments(eng, no_info, NULL) == 0);
}

static void look_files(struct eng *eng)
{
    UNIT_NEED(eng_files(eng, no_file, NULL) == 0);
}

static void look_space(struct eng *eng)
{
    struct eng_space space;
    UNIT_NEED(eng_space(eng, &space) == 0);
}

static void look_stats(struct eng *eng)
{
    UNIT_NEED(unit_stats(&u).segments >= SEGMENTS && eng == u.eng);
}

static const struct {
    const char *name;
    void (*fn)(struct eng *eng);
} looking[] = {
    {"to retire", look_retire},      {"to choose victims", look_choose},
    {"to estimate", look_estimate},  {"to check room", look_check_room},
    {"to age metadata", look_age},   {"to list segments", look_segments},
    {"to list files", look_files},   {"to tell the space", look_space},
    {"to tell figures", look_stats},
};

static void count_look(void *arg, enum fault_point point)
{
    if (point == FP_SEGMENT_LOOK)
        (void)look(arg, NULL);
}

/* Also those that are not told of count: a look at all that is made in another way would make none. */
static void measure_one(const char *name, void (*fn)(struct eng *eng))
{
    looks = most_looks = all_looks = 0;
    watched = &u.eng->log.lock;
    watched_shared = &u.eng->index_lock;
    fn(u.eng);
    watched = NULL;
    watched_shared = NULL;
    bool ok = most_looks <= 2 * LOOK_SLICE && all_looks >= SEGMENTS; /* some ask a keeper as well */
    printf("%s: %s: %" PRIu64 " of %" PRIu64 " looks at segments in one hold of a lock\n",
           ok ? "ok" : "FAILED", name, most_looks, all_looks);
    n_passed += ok;
    n_failed += !ok;
}

static void measure_looks(void)
{
    new_store();
    UNIT_NEED(keepers_add(u.eng, &onlooker) == 0);
    (void)unit_file(&u, "f", 100, 1);
    UNIT_NEED(eng_sync(u.eng) == 0);
    pthread_mutex_lock(&u.eng->log.lock); /* segments that the index knows, and that must stay */
    pthread_rwlock_wrlock(&u.eng->index_lock);
    for (uint32_t i = 0; i < SEGMENTS; i++)
        UNIT_NEED(index_touch_segment(&u.eng->idx, 1000 + i, SEGMENT_LOG, UINT64_MAX) == 0);
    pthread_rwlock_unlock(&u.eng->index_lock);
    pthread_mutex_unlock(&u.eng->log.lock);
    hook_set(u.eng, count_look, u.eng);
    for (size_t i = 0; i < ARRAY_LEN(looking); i++)
        measure_one(looking[i].name, looking[i].fn);
    hook_set(u.eng, NULL, NULL);
    unit_kill(&u, SIM_KEEP_ALL, 0); /* those segments are in no log */
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
}

/* ---- xattrs ------------------------------------------------------------------------------------------ */

/* Each twice, so that half of what there is is garbage; of one file after the other, or of all in turn. */
static void set_xattrs(const uint64_t *inos, unsigned files, unsigned xattrs, bool in_turn)
{
    char bytes[XATTR_INLINE_MAX + 1], name[24];
    memset(bytes, 'x', sizeof bytes);
    for (unsigned i = 0; i < files * xattrs; i++) {
        unsigned file = in_turn ? i % files : i / xattrs, n = in_turn ? i / files : i % xattrs;
        (void)snprintf(name, sizeof name, "user.%u", n);
        for (unsigned twice = 0; twice < 2; twice++)
            UNIT_NEED(eng_setxattr(u.eng, inos[file], name, bytes, sizeof bytes, 0) == 0);
    }
}

static void measure_moving(unsigned files, unsigned xattrs, bool in_turn)
{
    struct eng_job_report report;
    uint64_t inos[64];
    UNIT_NEED(files <= ARRAY_LEN(inos));
    new_store();
    for (unsigned i = 0; i < files; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "x%u", i);
        inos[i] = unit_create(&u, name);
    }
    set_xattrs(inos, files, xattrs, in_turn);
    UNIT_NEED(eng_sync(u.eng) == 0);
    looks = most_looks = all_looks = 0;
    watched_shared = &u.eng->index_lock;
    UNIT_NEED(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    watched_shared = NULL;
    UNIT_NEED(report.compact.extents_moved >= (uint64_t)files * xattrs * 9 / 10);
    UNIT_NEED(unit_problems(&u) == 0);
    bool ok = most_looks <= eng_slice(u.eng) + 2 * ENG_XATTR_COUNT_MAX;
    printf("%s: %u files of %u xattrs, %s: %" PRIu64 " of %" PRIu64
           " looks at xattrs in one hold of index_lock\n",
           ok ? "ok" : "FAILED", files, xattrs, in_turn ? "in turn" : "one by one", most_looks, all_looks);
    n_passed += ok;
    n_failed += !ok;
    unit_close(&u);
    simdisk_io(u.disk)->ops = disk_ops;
    unit_done(&u);
}

static void measure_xattrs(void)
{
    measure_moving(4, 1500, false);
    measure_moving(40, 300, true);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    if (!only || !strcmp(only, "memory"))
        measure_memory();
    if (!only || !strcmp(only, "scrub"))
        measure_scrub();
    if (!only || !strcmp(only, "disk"))
        measure_disk();
    if (!only || !strcmp(only, "orphans"))
        measure_orphans();
    if (!only || !strcmp(only, "looks"))
        measure_looks();
    if (!only || !strcmp(only, "xattrs"))
        measure_xattrs();
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", n_passed, n_failed);
    return n_failed || !n_passed ? 1 : 0;
}
