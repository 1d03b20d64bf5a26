/*
 * regressions.c - what the system before this one got wrong, one deterministic
 * test each: two threads meet at a fault point, or a disk loses power there.
 * Linked with an engine whose protections can be taken out (engine/fault.h); run.sh of this
 * folder shows that each test fails without the protection that it is about.
 *
 *   regressions [TEST]      all, or one of them
 *
 * Each test runs in a process of its own: without its protection it may crash. */
#include "hook.h"
#include "inside.h"
#include "simdisk.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST_TIMEOUT 60 /* seconds; a test that hangs has failed */

/* A failed expectation ends the test's process. */
#define EXPECT(cond)                                                                                         \
    do {                                                                                                     \
        if (!(cond)) {                                                                                       \
            fprintf(stderr, "    %s:%d: %s\n", __FILE__, __LINE__, #cond);                                   \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

/* ---- a small store on a simulated disk ------------------------------------------ */

#define N_FILES 40u
#define FILE_SIZE 3000u

struct store {
    struct simdisk *disk;
    struct eng *eng;
    uint64_t inos[N_FILES];
    /* what a test does at its fault point */
    enum fault_point point;
    void (*at_point)(struct store *s);
    int calls;
};

static void hook(void *arg, enum fault_point point)
{
    struct store *s = arg;
    if (s->at_point && point == s->point && s->calls++ == 0)
        s->at_point(s);
}

static void name_of(unsigned i, char out[16])
{
    snprintf(out, 16, "f%u", i);
}

static void fill(uint8_t *buf, unsigned i, unsigned version)
{
    for (unsigned at = 0; at < FILE_SIZE; at++)
        buf[at] = (uint8_t)(i * 7 + version * 31 + at);
}

static void open_store(struct store *s)
{
    char why[256] = "";
    struct eng_options opt = {.segment_size = 64u << 10, .no_background = true, .io = simdisk_io(s->disk)};
    int r = eng_open("sim", &opt, &s->eng, why);
    if (r)
        fprintf(stderr, "    open: %s\n", why);
    EXPECT(r == 0);
    hook_set(s->eng, hook, s);
}

static void write_file(struct store *s, unsigned i, unsigned version)
{
    uint8_t buf[FILE_SIZE];
    fill(buf, i, version);
    EXPECT(eng_write(s->eng, s->inos[i], buf, FILE_SIZE, 0) == FILE_SIZE);
}

/* N_FILES files, each written twice at once, so that half of every segment is garbage. */
static struct store *new_store(void)
{
    struct store *s = calloc(1, sizeof *s);
    EXPECT(s);
    s->disk = simdisk_new();
    open_store(s);
    EXPECT(eng_config_set(s->eng, "auto_compact", "0") == 0);
    for (unsigned i = 0; i < N_FILES; i++) {
        char name[16];
        struct eng_attr attr;
        name_of(i, name);
        EXPECT(eng_create(s->eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0644, 0, NULL, &attr) == 0);
        s->inos[i] = attr.ino;
        write_file(s, i, 1);
        write_file(s, i, 2);
    }
    EXPECT(eng_sync(s->eng) == 0);
    return s;
}

static int read_file(struct store *s, unsigned i, unsigned version)
{
    uint8_t got[FILE_SIZE + 1], want[FILE_SIZE];
    ssize_t n = eng_read(s->eng, s->inos[i], got, sizeof got, 0);
    fill(want, i, version);
    if (n < 0)
        return (int)n;
    return n == FILE_SIZE && memcmp(got, want, FILE_SIZE) == 0 ? 0 : -EILSEQ;
}

static void expect_all(struct store *s, unsigned version)
{
    for (unsigned i = 0; i < N_FILES; i++)
        EXPECT(read_file(s, i, version) == 0);
}

static void problem(void *arg, const char *line)
{
    (void)arg;
    fprintf(stderr, "    check: %s\n", line);
}

static void expect_sound(struct store *s)
{
    struct eng_job_report report;
    EXPECT(eng_job_run(s->eng, ENG_JOB_CHECK, &(struct eng_job_options){.on_problem = problem}, &report) ==
           0);
    EXPECT(report.check.problems == 0);
}

static void end_store(struct store *s)
{
    EXPECT(eng_close(s->eng) == 0);
    simdisk_free(s->disk);
    free(s);
}

static void cut_power(struct store *s, enum sim_survival mode, uint64_t seed)
{
    simdisk_cut_at(s->disk, 1, false);
    (void)eng_close(s->eng);
    simdisk_power_on(s->disk, mode, seed);
    open_store(s);
}

static uint32_t segment_of(struct store *s, unsigned i, uint64_t *ret_offset)
{
    const struct inode_rec *inode = index_inode(&s->eng->idx, s->inos[i]);
    EXPECT(inode && inode_n_extents(inode) == 1);
    *ret_offset = locator_offset(&inode->first);
    return inode->first.seg;
}

/* ---- read between copy and install ------------------------------------------------ */

struct interleaving {
    struct store *s;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool arrived, released; /* protected by lock */
    int result;
};
static struct interleaving *interleaving; /* of the one reader thread */
static __thread bool is_reader;

static void interleave(struct store *s)
{
    (void)s;
    if (!is_reader)
        return;
    pthread_mutex_lock(&interleaving->lock);
    interleaving->arrived = true;
    pthread_cond_broadcast(&interleaving->cond);
    while (!interleaving->released)
        pthread_cond_wait(&interleaving->cond, &interleaving->lock);
    pthread_mutex_unlock(&interleaving->lock);
}

static void *reader(void *arg)
{
    struct interleaving *m = arg;
    is_reader = true;
    m->result = read_file(m->s, 5, 2);
    return NULL;
}

/* A reader is stopped at the fault point while a whole compaction goes by, which empties the segment that it
 * was about to read. */
static void read_across_compaction(enum fault_point point, bool pinned)
{
    struct store *s = new_store();
    struct interleaving m = {
        .s = s, .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .result = 1};
    struct eng_job_report report;
    uint64_t offset;
    uint32_t old = segment_of(s, 5, &offset);
    pthread_t thread;
    interleaving = &m;
    s->point = point;
    s->at_point = interleave;
    EXPECT(pthread_create(&thread, NULL, reader, &m) == 0);
    pthread_mutex_lock(&m.lock);
    while (!m.arrived)
        pthread_cond_wait(&m.cond, &m.lock);
    pthread_mutex_unlock(&m.lock);
    EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report) == 0 && report.compact.extents_moved > 0);
    EXPECT(segment_of(s, 5, &offset) != old);
    EXPECT(segments_has(&s->eng->segments, old) == pinned); /* I1: a pin keeps it, nothing else does */
    pthread_mutex_lock(&m.lock);
    m.released = true;
    pthread_cond_broadcast(&m.cond);
    pthread_mutex_unlock(&m.lock);
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(m.result == 0);
    EXPECT(eng_tick(s->eng) == 0);
    EXPECT(!segments_has(&s->eng->segments, old));
    expect_all(s, 2);
    expect_sound(s);
    end_store(s);
}

static void test_read_between_copy_and_install(void)
{
    read_across_compaction(FP_READ_COLLECTED, false);
}

static void test_read_while_segment_is_emptied(void)
{
    read_across_compaction(FP_READ_PINNED, true);
}

/* ---- append between copy and swap; update of another field -------------------------- */

static void write_while_copied(struct store *s)
{
    write_file(s, 3, 3);
    EXPECT(eng_append(s->eng, s->inos[4], "appended", 8, NULL) == 8);
    EXPECT(eng_unlink(s->eng, ENG_ROOT_INO, "f6") == 0);
}

static void test_append_between_copy_and_swap(void)
{
    struct store *s = new_store();
    struct eng_job_report report;
    char tail[8];
    s->point = FP_COMPACT_COPIED;
    s->at_point = write_while_copied;
    EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    EXPECT(s->calls > 0);
    for (int pass = 0; pass < 2; pass++) {
        struct eng_attr attr;
        EXPECT(read_file(s, 3, 3) == 0);
        EXPECT(eng_read(s->eng, s->inos[4], tail, 8, FILE_SIZE) == 8 && memcmp(tail, "appended", 8) == 0);
        EXPECT(eng_lookup(s->eng, NULL, ENG_ROOT_INO, "f6", &attr) == -ENOENT);
        EXPECT(read_file(s, 7, 2) == 0);
        expect_sound(s);
        EXPECT(eng_sync(s->eng) == 0);
        cut_power(s, SIM_DROP_ALL, 1);
    }
    end_store(s);
}

/* Of which bytes the embeddings are: others after each update. */
static int embedding_byte;

static void set_embeddings(struct store *s)
{
    uint8_t embedding[3072];
    memset(embedding, ++embedding_byte, sizeof embedding);
    for (unsigned i = 0; i < N_FILES; i++)
        EXPECT(eng_setxattr(s->eng, s->inos[i], "user.engram.embedding", embedding, sizeof embedding, 0) ==
               0);
}

static unsigned installs_before;

static void update_fields(struct store *s)
{
    struct eng_attr attr = {.mode = 0600, .mtime = 12345};
    if (installs_before-- > 0) {
        s->calls = 0; /* at a later one */
        return;
    }
    set_embeddings(s);
    EXPECT(eng_setxattr(s->eng, s->inos[9], "user.engram.activation", "0.75", 4, 0) == 0);
    EXPECT(eng_setattr(s->eng, s->inos[9], &attr, ENG_SET_MODE | ENG_SET_MTIME, NULL) == 0);
}

/* The fields change just before the n-th installing; returns how many copies were stale then. */
static uint64_t update_before_install(unsigned n)
{
    struct store *s = new_store();
    struct eng_job_report report;
    struct eng_attr attr;
    uint8_t got[3072];
    set_embeddings(s);
    set_embeddings(s); /* garbage of their kind, too */
    installs_before = n;
    s->point = FP_COMPACT_COPIED;
    s->at_point = update_fields;
    EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    EXPECT(s->calls > 0);
    for (unsigned i = 0; i < N_FILES; i++) {
        EXPECT(eng_getxattr(s->eng, s->inos[i], "user.engram.embedding", got, sizeof got) == sizeof got);
        EXPECT(got[0] == embedding_byte && memcmp(got, got + 1, sizeof got - 1) == 0);
    }
    EXPECT(eng_getxattr(s->eng, s->inos[9], "user.engram.activation", got, sizeof got) == 4);
    EXPECT(eng_getattr(s->eng, s->inos[9], &attr) == 0);
    EXPECT(attr.mode == (S_IFREG | 0600) && attr.mtime == 12345);
    expect_all(s, 2);
    expect_sound(s);
    end_store(s);
    return report.compact.extents_lost;
}

static void test_update_of_another_field_while_moved(void)
{
    for (unsigned n = 0; update_before_install(n) == 0; n++)
        ; /* embeddings are not among what is installed first */
}

/* ---- failure in the middle of a compaction ------------------------------------------- */

static void test_failure_in_mid_compaction(void)
{
    static const struct {
        enum sim_call call;
        int error;
    } faults[] = {{SIM_PWRITEV, EIO},  {SIM_PWRITEV, EROFS}, {SIM_PWRITEV, ENOSPC},
                  {SIM_DATASYNC, EIO}, {SIM_CREATE, ENOSPC}, {SIM_UNLINK, EIO}};
    for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
        bool failed = true;
        unsigned forgiven = 0;
        for (uint64_t nth = 1; failed && nth < 500; nth++) {
            struct store *s = new_store();
            struct eng_job_report report;
            simdisk_fail(s->disk, faults[f].call, nth, faults[f].error);
            uint64_t before = simdisk_calls_of(s->disk, faults[f].call);
            int r = eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report);
            failed = simdisk_calls_of(s->disk, faults[f].call) - before >= nth;
            simdisk_fail(s->disk, faults[f].call, 0, 0);
            bool echo = simdisk_struck(s->disk, ".log"); /* the second copy costs itself, no more */
            if (failed && echo)
                EXPECT(r == 0);
            else if (failed && faults[f].call != SIM_UNLINK && faults[f].error != ENOSPC)
                forgiven += r == 0; /* a full disk is what the reserve is for */
            expect_all(s, 2);       /* I8 */
            expect_sound(s);
            cut_power(s, SIM_DROP_ALL, nth);
            expect_all(s, 2);
            EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report) == 0 &&
                   report.compact.fragmentation_after <= 0.01);
            expect_all(s, 2);
            expect_sound(s);
            end_store(s);
        }
        EXPECT(!failed); /* every call of the kind had its turn */
        /* The summaries of the log segment that it seals and of two outputs; the sync of that of the last. A
         * batch that the medium refuses goes to another segment. */
        EXPECT(forgiven <= (faults[f].call == SIM_DATASYNC ? 1 : 3) ||
               (faults[f].call == SIM_PWRITEV && faults[f].error == EIO));
    }
}

/* Power is lost right after the relocations became durable: what they name must be there. */
static void cut_after_install(struct store *s)
{
    EXPECT(eng_fsync(s->eng, ENG_ROOT_INO) == 0);
    simdisk_cut_at(s->disk, 1, false);
}

static void test_survivors_durable_before_relocation(void)
{
    struct store *s = new_store();
    s->point = FP_COMPACT_INSTALLED;
    s->at_point = cut_after_install;
    (void)eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, NULL);
    EXPECT(s->calls > 0);
    cut_power(s, SIM_DROP_ALL, 1);
    expect_all(s, 2);
    expect_sound(s);
    end_store(s);
}

/* A failed flush is never followed by a successful one of the same data (I11). */
static void test_failed_flush_stays_failed(void)
{
    struct store *s = new_store();
    write_file(s, 1, 3);
    simdisk_fail(s->disk, SIM_DATASYNC, 1, EIO);
    bool told = eng_fsync(s->eng, s->inos[1]) != 0;
    bool again = eng_fsync(s->eng, s->inos[1]) != 0;
    cut_power(s, SIM_DROP_ALL, 1);
    EXPECT(read_file(s, 1, 3) == 0 || (told && again));
    EXPECT(read_file(s, 2, 2) == 0);
    end_store(s);
}

/* The log goes on in a new segment, whose name is not durable; and the next sync of the folder fails. */
static void roll_over_and_fail(struct store *s)
{
    uint32_t before = s->eng->segments.next_id;
    for (unsigned i = 0; s->eng->segments.next_id == before; i++)
        write_file(s, i % N_FILES, 3);
    write_file(s, 0, 3);
    simdisk_fail(s->disk, SIM_SYNCDIR, 1, EIO);
}

static int set_something(struct store *s)
{
    return eng_config_set(s->eng, "checkpoint_ops", "77");
}

static int compact_now(struct store *s)
{
    return eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, NULL);
}

/* Somebody else's sync of the folder was told that names are lost; the log's next one would hear nothing. */
static void test_failed_syncdir_of_another_stays_failed(void)
{
    int (*const others[])(struct store * s) = {set_something, compact_now};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct store *s = new_store();
        s->point = FP_COMPACT_READ;
        s->at_point = roll_over_and_fail;
        if (i == 0)
            roll_over_and_fail(s);
        EXPECT(others[i](s) != 0);
        EXPECT(i == 0 || s->calls > 0);
        bool told = eng_fsync(s->eng, s->inos[0]) != 0;
        bool again = eng_fsync(s->eng, s->inos[0]) != 0;
        s->at_point = NULL;
        cut_power(s, SIM_DROP_ALL, 1);
        EXPECT(read_file(s, 0, 3) == 0 || (told && again));
        end_store(s);
    }
}

/* ---- an unreadable record during compaction -------------------------------------------- */

static void test_unreadable_record_during_compaction(void)
{
    struct store *s = new_store();
    struct eng_job_report report;
    uint64_t offset;
    char name[SEGMENT_NAME_SIZE];
    uint32_t seg = segment_of(s, 12, &offset);
    segment_name(seg, name);
    EXPECT(simdisk_flip(s->disk, name, offset + extent_head_size(FILE_SIZE) + 100, 0x40) == 0);
    EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, &report) == 0);
    EXPECT(report.compact.extents_damaged == 1);  /* counted and reported (I5) */
    EXPECT(segments_has(&s->eng->segments, seg)); /* left in place, */
    EXPECT(read_file(s, 12, 2) == -EIO);          /* never invented (I6) */
    for (unsigned i = 0; i < N_FILES; i++)
        EXPECT(i == 12 || read_file(s, i, 2) == 0);
    struct eng_stats st;
    EXPECT(eng_stats(s->eng, &st) == 0 && st.damaged_extents == 1);
    write_file(s, 12, 3); /* and it heals by being written anew */
    EXPECT(read_file(s, 12, 3) == 0);
    end_store(s);
}

static void test_damage_is_never_served(void)
{
    struct store *s = new_store();
    uint64_t offset;
    char name[SEGMENT_NAME_SIZE];
    segment_name(segment_of(s, 12, &offset), name);
    EXPECT(simdisk_flip(s->disk, name, offset + extent_head_size(FILE_SIZE) + 2999, 0x01) == 0);
    EXPECT(read_file(s, 12, 2) == -EIO);
    EXPECT(read_file(s, 13, 2) == 0);
    end_store(s);
}

/* ---- when a segment may go --------------------------------------------------------------- */

/* The directory as it is becomes durable: the unlinking of segments, if nothing else. */
static void sync_directory(struct store *s)
{
    struct eng_io *io = simdisk_io(s->disk);
    EXPECT(io->ops->syncdir(io) == 0);
}

/* All content of the first segments dies, unsynced; then power is lost. */
static void test_deaths_durable_before_unlink(void)
{
    struct store *s = new_store();
    EXPECT(checkpoint_write(s->eng) == 0 && checkpoint_write(s->eng) == 0);
    for (unsigned i = 0; i < N_FILES; i++)
        write_file(s, i, 3);
    (void)retire_segments(s->eng);
    sync_directory(s);
    cut_power(s, SIM_DROP_ALL, 1);
    for (unsigned i = 0; i < N_FILES; i++)
        EXPECT(read_file(s, i, 3) == 0 || read_file(s, i, 2) == 0);
    expect_sound(s);
    end_store(s);
}

/* The log that recovery needs from the older checkpoint on stays, even when its content is dead. */
static void test_metadata_outlives_checkpoint(void)
{
    struct store *s = new_store();
    for (unsigned i = 0; i < N_FILES; i++)
        write_file(s, i, 3);
    EXPECT(eng_sync(s->eng) == 0);
    (void)retire_segments(s->eng);
    sync_directory(s);
    cut_power(s, SIM_DROP_ALL, 1);
    expect_all(s, 3);
    expect_sound(s);
    end_store(s);
}

/* What was removed does not come back, although the removal lies in a segment in which nothing lives. */
static void test_removed_memories_stay_removed(void)
{
    struct store *s = new_store();
    EXPECT(checkpoint_write(s->eng) == 0); /* it knows them */
    for (unsigned i = 0; i < N_FILES; i += 2) {
        char name[16];
        name_of(i, name);
        EXPECT(eng_unlink(s->eng, ENG_ROOT_INO, name) == 0);
    }
    for (unsigned version = 3; version < 6;
         version++) /* the log goes on, and all of it dies again and again */
        for (unsigned i = 1; i < N_FILES; i += 2)
            write_file(s, i, version);
    EXPECT(eng_sync(s->eng) == 0);
    (void)retire_segments(s->eng);
    sync_directory(s);
    cut_power(s, SIM_DROP_ALL, 1);
    for (unsigned i = 0; i < N_FILES; i++) {
        char name[16];
        struct eng_attr attr;
        name_of(i, name);
        EXPECT(eng_lookup(s->eng, NULL, ENG_ROOT_INO, name, &attr) == (i % 2 ? 0 : -ENOENT));
        EXPECT(i % 2 == 0 || read_file(s, i, 5) == 0);
    }
    expect_sound(s);
    end_store(s);
}

/* The process dies, the next run serves what it finds, and then the power goes: what was served must stay. */
/* Also where the second copy of the log, which would make the names durable with its own, cannot be begun. */
static void test_recovered_is_durable(void)
{
    struct store *s = new_store();
    uint32_t synced = s->eng->log.active->id;
    for (unsigned i = 0; i < N_FILES; i++) /* more than fits into that segment: the next one is a new name */
        write_file(s, i, 3);
    EXPECT(s->eng->log.active->id != synced);
    for (int echoed = 0; echoed < 2; echoed++) {
        struct store next = *s;
        next.disk = simdisk_clone(s->disk); /* what was not synced is not, there either */
        if (!echoed)
            simdisk_fail(next.disk, SIM_CREATE, 1, ENOSPC);
        open_store(&next);
        EXPECT((echo_lacks(&next.eng->log.echo) == 0) == echoed);
        expect_all(&next, 3);
        cut_power(&next, SIM_DROP_ALL, 1);
        expect_all(&next, 3);
        EXPECT(eng_close(next.eng) == 0);
        simdisk_free(next.disk);
    }
    end_store(s);
}

static void test_checkpoint_behind_the_durable_log(void)
{
    struct store *s = new_store();
    for (unsigned i = 0; i < N_FILES; i++)
        write_file(s, i, 3);
    EXPECT(checkpoint_write(s->eng) == 0);
    cut_power(s, SIM_DROP_ALL, 1);
    expect_all(s, 3);
    expect_sound(s);
    end_store(s);
}

/* The process dies in call `nth` of writing a checkpoint, before which it was sound; false: it has fewer. */
static bool die_in_checkpoint(struct store *s, uint64_t nth)
{
    struct eng_attr attr;
    EXPECT(checkpoint_write(s->eng) == 0);
    for (unsigned i = 0; i < N_FILES; i++)
        write_file(s, i, 3);
    EXPECT(eng_create(s->eng, NULL, ENG_ROOT_INO, "late", S_IFREG | 0644, 0, NULL, &attr) == 0);
    EXPECT(eng_sync(s->eng) == 0);
    simdisk_cut_at(s->disk, nth, false);
    (void)checkpoint_write(s->eng);
    bool died = simdisk_is_off(s->disk);
    simdisk_cut_at(s->disk, died ? 0 : 1, false);
    (void)eng_close(s->eng);
    simdisk_process_dies(s->disk);
    return died;
}

/*
 * The process dies while it writes a checkpoint; the next one finds it whole, in memory. After two more
 * checkpoints nothing else is left of what came before: the names are in that one's images only. Then the
 * power fails.
 */
static void test_adopted_checkpoint_is_durable(void)
{
    bool died = true;
    for (uint64_t nth = 1; died; nth++) {
        struct store *s = new_store();
        struct eng_attr attr;
        died = die_in_checkpoint(s, nth);
        open_store(s);
        expect_all(s, 3);
        for (unsigned version = 4; version < 6; version++) { /* of the log before nothing stays, either */
            for (unsigned i = 0; i < N_FILES; i++)
                write_file(s, i, version);
            EXPECT(checkpoint_write(s->eng) == 0);
            (void)retire_segments(s->eng);
        }
        sync_directory(s);
        cut_power(s, SIM_DROP_ALL, nth);
        expect_all(s, 5);
        EXPECT(eng_lookup(s->eng, NULL, ENG_ROOT_INO, "late", &attr) == 0);
        expect_sound(s);
        end_store(s);
    }
}

static void test_directory_durable_with_fsync(void)
{
    struct store *s = new_store(); /* several segments, each a new name in the directory */
    cut_power(s, SIM_DROP_ALL, 1);
    expect_all(s, 2);
    end_store(s);
}

/* A batch whose middle was lost ends the log; it must not be believed. */
static void test_torn_batch_is_refused(void)
{
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct store *s = new_store();
        for (unsigned i = 0; i < 10; i++)
            write_file(s, i, 3);
        cut_power(s, SIM_TORN, seed);
        for (unsigned i = 0; i < 10; i++)
            EXPECT(read_file(s, i, 3) == 0 || read_file(s, i, 2) == 0);
        expect_sound(s);
        end_store(s);
    }
}

static void test_second_opener_is_refused(void)
{
    struct store *s = new_store();
    struct eng *other = NULL;
    struct eng_options opt = {.no_background = true, .io = simdisk_io(s->disk)};
    EXPECT(eng_open("sim", &opt, &other, NULL) == -EBUSY);
    end_store(s);
}

/* Writes of all kinds, none of which hashes its content while others wait for log.lock. */
static void test_content_is_hashed_before_the_lock(void)
{
    static uint8_t large[3u << 20];
    struct store *s = new_store();
    struct eng_xattr_pair pair = {"user.large", large, 20000};
    struct eng_record records[40];
    char names[40][16];
    memset(large, 7, sizeof large);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], i % 3 ? "f%u" : "new%u", i);
        records[i] = (struct eng_record){
            .parent = ENG_ROOT_INO, .name = names[i], .content = large, .size = 1 + i * 9000, .mode = 0644};
        records[i].xattrs = &pair;
        records[i].n_xattrs = i & 1;
    }
    EXPECT(eng_write(s->eng, s->inos[0], large, sizeof large, 0) == (ssize_t)sizeof large);
    EXPECT(eng_write(s->eng, s->inos[0], large, 5, 100) == 5);
    for (unsigned i = 0; i < 100; i++) /* these take small extents at the tail along */
        EXPECT(eng_append(s->eng, s->inos[1], large, 50, NULL) == 50);
    EXPECT(eng_setxattr(s->eng, s->inos[2], "user.x", large, 60000, 0) == 0);
    EXPECT(eng_put_many(s->eng, records, 40) == 40);
    EXPECT(atomic_load(&fault_hashed_locked) == 0);
    EXPECT(eng_job_run(s->eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    EXPECT(atomic_load(&fault_hashed_locked) == 0);
    expect_sound(s);
    end_store(s);
}

/* ---- running them ---------------------------------------------------------------------------- */

static const struct test {
    const char *name;
    void (*run)(void);
} tests[] = {
#define TEST(name)                                                                                           \
    {                                                                                                        \
#name, test_##name                                                                                   \
    }
    TEST(read_between_copy_and_install), TEST(read_while_segment_is_emptied),
    TEST(append_between_copy_and_swap),  TEST(update_of_another_field_while_moved),
    TEST(failure_in_mid_compaction),     TEST(survivors_durable_before_relocation),
    TEST(failed_flush_stays_failed),     TEST(unreadable_record_during_compaction),
    TEST(damage_is_never_served),        TEST(deaths_durable_before_unlink),
    TEST(metadata_outlives_checkpoint),  TEST(removed_memories_stay_removed),
    TEST(recovered_is_durable),          TEST(checkpoint_behind_the_durable_log),
    TEST(adopted_checkpoint_is_durable), TEST(failed_syncdir_of_another_stays_failed),
    TEST(directory_durable_with_fsync),  TEST(torn_batch_is_refused),
    TEST(second_opener_is_refused),      TEST(content_is_hashed_before_the_lock),
};

/* True if the test passed, in a process of its own. */
static bool run_one(const struct test *t)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return false;
    if (pid == 0) {
        alarm(TEST_TIMEOUT);
        t->run();
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
    unsigned good = 0, bad = 0;
    for (size_t i = 0; i < ARRAY_LEN(tests); i++) {
        if (argc > 1 && strcmp(argv[1], tests[i].name) != 0)
            continue;
        bool passed = run_one(&tests[i]);
        printf("%s - %s\n", passed ? "ok" : "not ok", tests[i].name);
        ++*(passed ? &good : &bad);
    }
    printf("%u passed, %u failed\n", good, bad);
    return bad || !good;
}
