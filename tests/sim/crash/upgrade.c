/*
 * upgrade.c - a store of version 1 is opened for writing, and each I/O call of that is the last, or fails.
 * See README.md.
 *
 * The stores are real ones, written by programs of version 1 (tests/mount/old). Whatever is left must be
 * whole and of the version that its superblock says: one of version 1 without what the upgrade added, as an
 * older program sees it; one of version 2 without what it was made from. Then the same of a life that gives
 * the store a history as soon as it is of version 2. */
#include "engine.h"
#include "inside.h"
#include "need.h"
#include "sight.h"
#include "simdisk.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define FAILURES_SHOWN 20
#define SUBSETS_OF_MAX 7 /* operations that are not durable: up to so many, all subsets of them are tried */
#define FILES_MAX 64
#define UPGRADED "upgraded from format"

/* The store that is upgraded. */
struct old {
    const char *label;
    struct simdisk *disk; /* as it was unpacked */
    char *sight;
    struct old_file {
        char name[64];
        uint8_t *data;
        size_t size;
    } files[FILES_MAX];
    unsigned n_files;
};

static uint64_t n_passed, n_failed, n_cuts, n_faults, n_survivors, n_seen[3];
static char current[256], why[1024], problem[256];
static uint64_t stride = 1;
static bool brief; /* cuts of the first life alone, and what is likely to survive them */
static bool with_history;

#define FAIL(...)                                                                                            \
    do {                                                                                                     \
        (void)snprintf(why, sizeof why, __VA_ARGS__);                                                        \
        return false;                                                                                        \
    } while (0)

static bool report(bool ok)
{
    n_passed += ok;
    n_failed += !ok;
    if (!ok && n_failed <= FAILURES_SHOWN)
        printf("FAILED: upgrade %s\n    %s\n", current, why);
    (void)fflush(stdout);
    return ok;
}

/* ---- unpacking ------------------------------------------------------------------------------ */

static void run(char *const argv[])
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execvp(argv[0], argv);
        _exit(127);
    }
    UNIT_NEED(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
}

static void put_file(struct old *old, const char *folder, const char *name)
{
    char path[512];
    struct old_file *f = &old->files[old->n_files];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *in = fopen(path, "rb");
    UNIT_NEED(in && old->n_files < FILES_MAX && strlen(name) < sizeof f->name);
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    UNIT_NEED(fseek(in, 0, SEEK_END) == 0);
    f->size = (size_t)ftell(in);
    rewind(in);
    f->data = malloc(f->size + 1);
    UNIT_NEED(f->data && fread(f->data, 1, f->size, in) == f->size);
    (void)fclose(in);
    simdisk_put(old->disk, name, f->data, f->size);
    old->n_files++;
    UNIT_NEED(unlink(path) == 0);
}

static void unpack(struct old *old, const char *archive)
{
    char folder[] = "/tmp/engramfs-upgrade.XXXXXX";
    UNIT_NEED(mkdtemp(folder) != NULL);
    run((char *[]){"tar", "-C", folder, "-xJf", (char *)archive, NULL});
    DIR *dir = opendir(folder);
    UNIT_NEED(dir != NULL);
    old->disk = simdisk_new();
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            put_file(old, folder, e->d_name);
    (void)closedir(dir);
    UNIT_NEED(rmdir(folder) == 0);
}

/* ---- opening -------------------------------------------------------------------------------- */

struct opened {
    struct eng *eng;
    unsigned upgrades; /* lines that say so */
    char why[256];
    int r;
};

static void note_line(void *arg, enum eng_log_level level, const char *line)
{
    struct opened *o = arg;
    (void)level;
    o->upgrades += strstr(line, UPGRADED) != NULL;
}

static void open_store(struct opened *o, struct simdisk *disk, bool read_only)
{
    struct eng_options opt = {.no_background = true,
                              .read_only = read_only,
                              .must_exist = true,
                              .io = simdisk_io(disk),
                              .log = note_line,
                              .log_arg = o};
    *o = (struct opened){0};
    o->r = eng_open("simulated", &opt, &o->eng, o->why);
}

static void note_problem(void *arg, const char *line)
{
    /* A root that only one copy has yet; an opening for writing mends that. */
    bool half = *(bool *)arg && strstr(line, "end of a copy of a checkpoint");
    if (!half)
        (void)snprintf(problem, sizeof problem, "%s", line);
}

/* Whether the open store shows what it showed as one of version 1, and a check finds nothing. */
static bool agrees(const struct old *old, const struct opened *o, bool read_only, const char *when)
{
    if (o->r)
        FAIL("%s: does not open: %s", when, o->why);
    char *now = sight_of(o->eng, NULL, NULL);
    size_t at = 0;
    while (now[at] && now[at] == old->sight[at])
        at++;
    bool same = now[at] == old->sight[at];
    if (!same)
        (void)snprintf(why, sizeof why, "%s: shows other things from byte %zu on: %.60s instead of %.60s",
                       when, at, now + (at > 20 ? at - 20 : 0), old->sight + (at > 20 ? at - 20 : 0));
    free(now);
    if (!same)
        return false;
    struct eng_job_report found;
    struct eng_job_options options = {.on_problem = note_problem, .problem_arg = &read_only};
    problem[0] = 0;
    UNIT_NEED(eng_job_run(o->eng, ENG_JOB_CHECK, &options, &found) == 0);
    if (problem[0])
        FAIL("%s: a check finds %s", when, problem);
    return true;
}

#define ONCE_OR_NOT UINT_MAX

static bool opens(const struct old *old, struct simdisk *disk, bool read_only, unsigned upgrades,
                  const char *when)
{
    struct opened o;
    uint64_t calls = simdisk_calls(disk, false);
    open_store(&o, disk, read_only);
    bool ok = agrees(old, &o, read_only, when);
    if (!o.r && eng_close(o.eng) != 0 && ok) {
        (void)snprintf(why, sizeof why, "%s: does not close", when);
        ok = false;
    }
    if (ok && (upgrades == ONCE_OR_NOT ? o.upgrades > 1 : o.upgrades != upgrades))
        FAIL("%s: says %u times that it upgrades instead of %u", when, o.upgrades, upgrades);
    if (ok && read_only && simdisk_calls(disk, false) != calls)
        FAIL("%s: a read-only opening writes", when);
    return ok;
}

/* ---- what is left --------------------------------------------------------------------------- */

/* All 0: there is none. */
static struct superblock superblock_of(struct simdisk *disk)
{
    struct superblock sb = {0}, none = {0};
    uint8_t *data;
    size_t size;
    if (simdisk_get(disk, "superblock", &data, &size) != 0)
        return none;
    int r = superblock_decode(data, size, &sb);
    free(data);
    return r ? none : sb;
}

/* The version that the superblock says; 0: none. */
static unsigned version_of(struct simdisk *disk)
{
    return superblock_of(disk).version;
}

static uint32_t bits_of(struct simdisk *disk)
{
    return superblock_of(disk).incompat;
}

struct listing {
    char names[FILES_MAX][64];
    unsigned n;
};

static void note_name(void *arg, const char *name, uint64_t size)
{
    struct listing *l = arg;
    (void)size;
    UNIT_NEED(l->n < FILES_MAX && strlen(name) < sizeof l->names[0]);
    (void)snprintf(l->names[l->n++], sizeof l->names[0], "%s", name);
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static const struct old_file *old_file(const struct old *old, const char *name)
{
    for (unsigned i = 0; i < old->n_files; i++)
        if (strcmp(old->files[i].name, name) == 0)
            return &old->files[i];
    return NULL;
}

/* A copy of the disk without the image files that the upgrade wrote, or without those that it found. */
static struct simdisk *without(const struct old *old, const struct simdisk *disk, bool ours)
{
    struct simdisk *copy = simdisk_clone(disk);
    struct listing l = {0};
    simdisk_power_on(copy, SIM_KEEP_ALL, 0); /* names that are not durable would come back, or go */
    simdisk_each(copy, note_name, &l);
    for (unsigned i = 0; i < l.n; i++) {
        bool is_image = ends_in(l.names[i], ".ckp") || ends_in(l.names[i], ".cpy");
        if (is_image && (old_file(old, l.names[i]) == NULL) == ours)
            UNIT_NEED(simdisk_remove(copy, l.names[i]) == 0);
    }
    return copy;
}

/* Of a store of version 1 each file is as it was, but for what is behind its end: zeros written ahead. */
static bool has_all_files(const struct old *old, struct simdisk *disk)
{
    for (unsigned i = 0; i < old->n_files; i++) {
        const struct old_file *f = &old->files[i];
        uint8_t *data;
        size_t size;
        if (simdisk_get(disk, f->name, &data, &size) != 0)
            FAIL("of version 1, and %s is gone", f->name);
        bool same = size == f->size && memcmp(data, f->data, size) == 0;
        free(data);
        if (!same)
            FAIL("of version 1, and %s is not what it was", f->name);
    }
    return true;
}

static uint64_t *known, n_known;
static size_t cap_known;

/* Whether a disk with the same files was found whole before. */
static bool is_known(struct simdisk *disk)
{
    struct listing l = {0};
    uint64_t sum[2] = {0, 0};
    simdisk_each(disk, note_name, &l);
    for (unsigned i = 0; i < l.n; i++) {
        uint8_t *data;
        size_t size;
        UNIT_NEED(simdisk_get(disk, l.names[i], &data, &size) == 0);
        sum[1] = codec_hash(data, size) + codec_hash(l.names[i], strlen(l.names[i])) * 3;
        sum[0] = codec_hash(sum, sizeof sum);
        free(data);
    }
    for (uint64_t i = 0; i < n_known; i++)
        if (known[i] == sum[0])
            return true;
    UNIT_NEED(array_grow(&known, &cap_known, n_known + 1, sizeof *known) == 0);
    known[n_known++] = sum[0];
    return false;
}

/* What must hold of a disk that is on again. It is left as it is. `unsure`: a sync of the folder has failed
 * and the power has not, so that a superblock which is seen need not be the one that is there. */
static bool is_whole(const struct old *old, const struct simdisk *disk, bool unsure)
{
    struct simdisk *rest = simdisk_clone(disk);
    unsigned version = version_of(rest);
    bool ok = version == 1 || version == 2;
    if (!ok)
        (void)snprintf(why, sizeof why, "the superblock is gone");
    else
        n_seen[version]++;
    if (ok && version == 1)
        ok = has_all_files(old, rest);
    if (ok)
        ok = opens(old, rest, true, 0, "read-only");
    simdisk_free(rest);
    rest = without(old, disk, version == 1);
    if (ok)
        ok = opens(old, rest, true, 0, version == 1 ? "as version 1" : "as version 2");
    simdisk_free(rest);
    rest = simdisk_clone(disk);
    if (ok)
        ok = opens(old, rest, false, unsure ? ONCE_OR_NOT : version == 1, "for writing");
    if (ok && version_of(rest) != 2)
        FAIL("opened for writing, and not of version 2");
    if (ok)
        ok = opens(old, rest, false, 0, "once more");
    simdisk_power_on(rest, SIM_DROP_ALL, 0);
    if (ok)
        ok = opens(old, rest, false, 0, "after another power loss");
    simdisk_free(rest);
    rest = without(old, disk, version == 1);
    if (ok) /* by what did not see the upgrade's files, and then the upgrade again */
        ok =
            opens(old, rest, false, unsure ? ONCE_OR_NOT : version == 1, "without the other version's files");
    simdisk_free(rest);
    return ok;
}

static void survive(const struct old *old, const struct simdisk *disk, enum sim_survival mode, uint64_t seed)
{
    size_t at = strlen(current);
    struct simdisk *survivor = simdisk_clone(disk);
    (void)snprintf(current + at, sizeof current - at, ", %s %" PRIu64, sim_survival_names[mode], seed);
    simdisk_power_on(survivor, mode, seed);
    if (!is_known(survivor))
        (void)report(is_whole(old, survivor, false));
    n_survivors++;
    simdisk_free(survivor);
    current[at] = 0;
}

/* The power fails now. `few`: not all subsets. */
static void power_fails(const struct old *old, const struct simdisk *disk, uint64_t seed, bool few)
{
    size_t n = simdisk_unsynced(disk);
    for (int mode = 0; mode < SIM_N_SURVIVALS; mode++)
        survive(old, disk, (enum sim_survival)mode, seed + (uint64_t)mode);
    if (!few && n <= SUBSETS_OF_MAX)
        for (uint64_t subset = 0; subset < UINT64_C(1) << n; subset++)
            survive(old, disk, SIM_SUBSET, subset);
}

/* ---- lives ---------------------------------------------------------------------------------- */

/* Opens for writing and closes. Whether it opened. */
static bool live(struct simdisk *disk, struct opened *o)
{
    open_store(o, disk, false);
    if (o->r)
        return false;
    if (with_history && store_set_history(o->eng) == 0)
        (void)checkpoint_write(o->eng);
    (void)eng_close(o->eng);
    return true;
}

static uint64_t calls_of(const struct old *old, bool reads)
{
    struct opened o;
    struct simdisk *disk = simdisk_clone(old->disk);
    UNIT_NEED(live(disk, &o));
    uint64_t n = simdisk_calls(disk, reads);
    (void)snprintf(current, sizeof current, "%s, undisturbed%s", old->label,
                   with_history ? ", with a history" : "");
    (void)report(o.upgrades == 1 && is_whole(old, disk, false) && bits_of(disk) == with_history);
    simdisk_free(disk);
    return n;
}

/* The process dies in a call, and the power fails in one of the life after it. */
static void second_life(const struct old *old, const struct simdisk *first, uint64_t cut)
{
    for (uint64_t nth = 1 + cut % 3;; nth += 3 * stride) {
        struct opened o;
        struct simdisk *disk = simdisk_clone(first);
        simdisk_process_dies(disk);
        (void)snprintf(current, sizeof current, "%s, died in call %" PRIu64 ", power failed in call %" PRIu64,
                       old->label, cut, nth);
        simdisk_cut_at(disk, nth, false);
        (void)live(disk, &o);
        bool was_cut = simdisk_is_off(disk);
        if (was_cut)
            power_fails(old, disk, cut + nth, true);
        simdisk_free(disk);
        if (!was_cut)
            break;
    }
}

static void all_cuts(const struct old *old)
{
    uint64_t n = calls_of(old, false);
    printf("%s: %" PRIu64 " calls that write or sync\n", old->label, n);
    for (uint64_t cut = 1; cut <= n; cut += stride) {
        struct opened o;
        struct simdisk *disk = simdisk_clone(old->disk);
        (void)snprintf(current, sizeof current, "%s, cut in call %" PRIu64, old->label, cut);
        simdisk_cut_at(disk, cut, false);
        (void)live(disk, &o);
        power_fails(old, disk, cut, brief);
        if (!brief)
            second_life(old, disk, cut);
        n_cuts++;
        simdisk_free(disk);
    }
}

/* Call `nth` of a kind fails once. An opening that fails says why; what is left is whole, with the power on
 * and without. */
static bool one_fault(const struct old *old, enum sim_call call, uint64_t nth, int error)
{
    struct opened o;
    struct simdisk *disk = simdisk_clone(old->disk);
    (void)snprintf(current, sizeof current, "%s, call %" PRIu64 " of %s fails: %s", old->label, nth,
                   call == SIM_ANY_CALL ? "all" : sim_call_names[call], strerror(error));
    simdisk_fail(disk, call, nth, error);
    open_store(&o, disk, false);
    bool opened = !o.r, struck = !simdisk_fault_waits(disk);
    simdisk_cut_at(disk, 1, true); /* what closing meets is not the upgrade's */
    (void)eng_close(o.eng);
    if (struck) {
        n_faults++;
        if (!opened && !o.why[0])
            (void)snprintf(why, sizeof why, "it does not open, and says nothing");
        (void)report(opened || o.why[0]);
        power_fails(old, disk, nth, true);
        simdisk_process_dies(disk);
        (void)report(is_whole(old, disk, true));
    }
    simdisk_free(disk);
    return struck;
}

static void all_faults(const struct old *old)
{
    static const struct {
        enum sim_call call;
        int error;
    } faults[] = {{SIM_ANY_CALL, EIO}, {SIM_ANY_CALL, ENOSPC}, {SIM_PREAD, EIO},
                  {SIM_PREAD, EINTR},  {SIM_OPEN, EMFILE},     {SIM_LIST, EIO},
                  {SIM_LIST, ENOMEM},  {SIM_FILE_SIZE, EIO},   {SIM_DATASYNC, ENOSPC}};
    for (size_t i = 0; i < ARRAY_LEN(faults); i++)
        for (uint64_t nth = 1; one_fault(old, faults[i].call, nth, faults[i].error); nth += stride)
            ;
}

/* A disk that has room for the store and `pages` more. Whether it could be upgraded. */
static bool full_disk(const struct old *old, uint64_t pages, bool reserve)
{
    struct opened o;
    struct simdisk *disk = simdisk_clone(old->disk);
    static uint8_t zeros[16 * 4096];
    if (reserve)
        simdisk_put(disk, "reserve", zeros, sizeof zeros);
    (void)snprintf(current, sizeof current, "%s, room for %" PRIu64 " pages%s", old->label, pages,
                   reserve ? " and a reserve" : "");
    simdisk_limit(disk, simdisk_used(disk) + pages * 4096);
    bool opened = live(disk, &o), ok = true;
    if (!opened && (!strstr(o.why, strerror(ENOSPC)) || version_of(disk) != 1)) {
        (void)snprintf(why, sizeof why, "version %u, and it says: %s", version_of(disk), o.why);
        ok = false;
    }
    (void)report(ok);
    simdisk_limit(disk, 0);
    power_fails(old, disk, pages, true);
    simdisk_free(disk);
    return opened;
}

static void full_disks(const struct old *old)
{
    uint64_t pages[2] = {0, 0};
    for (int reserve = 0; reserve < 2; reserve++)
        while (!full_disk(old, pages[reserve], reserve) && pages[reserve] < 1000)
            pages[reserve]++;
    printf("%s: upgraded with room for %" PRIu64 " pages, or %" PRIu64 " and a reserve of 16\n", old->label,
           pages[0], pages[1]);
    (void)snprintf(current, sizeof current, "%s, full disks", old->label);
    (void)snprintf(why, sizeof why, "the limits do not bite, or the reserve is not spent");
    (void)report(pages[0] > 4 && pages[1] < pages[0]);
}

/* Short counts and interruptions, of which nothing may come. */
static void awkward_disk(const struct old *old)
{
    for (unsigned every = 1; every < 4; every++) {
        struct opened o;
        struct simdisk *disk = simdisk_clone(old->disk);
        (void)snprintf(current, sizeof current, "%s, awkward disk %u", old->label, every);
        simdisk_short_reads(disk, every + 1);
        simdisk_short_writes(disk, every + 1);
        simdisk_interrupt(disk, every + 2);
        bool opened = live(disk, &o);
        if (!opened)
            (void)snprintf(why, sizeof why, "%s", o.why);
        (void)report(opened && o.upgrades == 1);
        power_fails(old, disk, every, true);
        simdisk_free(disk);
    }
}

/* ---- main ----------------------------------------------------------------------------------- */

static void one_store(const char *archive)
{
    struct old old = {.label = strrchr(archive, '/') ? strrchr(archive, '/') + 1 : archive};
    struct opened o;
    unpack(&old, archive);
    open_store(&o, old.disk, true);
    UNIT_NEED(!o.r && version_of(old.disk) == 1);
    old.sight = sight_of(o.eng, NULL, NULL);
    UNIT_NEED(eng_close(o.eng) == 0 && strlen(old.sight) > 100000);
    all_cuts(&old);
    if (!brief) {
        all_faults(&old);
        full_disks(&old);
        awkward_disk(&old);
        with_history = brief = true;
        all_cuts(&old);
        with_history = brief = false;
    }
    for (unsigned i = 0; i < old.n_files; i++)
        free(old.files[i].data);
    free(old.sight);
    free(known);
    known = NULL;
    n_known = cap_known = 0;
    simdisk_free(old.disk);
}

int main(int argc, char **argv)
{
    int first = 1;
    const char *mode = getenv("ENGRAM_TEST_MODE");
    if (mode && strcmp(mode, "quick") == 0)
        stride = 5;
    if (argc > 3 && strcmp(argv[1], "--stride") == 0) {
        stride = strtoull(argv[2], NULL, 0);
        first = 3;
    }
    if (argc > 2 && strcmp(argv[1], "--brief") == 0) {
        brief = true;
        stride = 1;
        first = 2;
    }
    if (first >= argc || !stride) {
        (void)fputs("upgrade [--brief | --stride N] ARCHIVE...: stores of version 1 as .tar.xz\n", stderr);
        return 2;
    }
    for (int i = first; i < argc; i++)
        one_store(argv[i]);
    printf("%" PRIu64 " cuts, %" PRIu64 " faults, %" PRIu64 " survivors; different disks: %" PRIu64
           " of version 1, %" PRIu64 " of version 2\n",
           n_cuts, n_faults, n_survivors, n_seen[1], n_seen[2]);
    (void)snprintf(current, sizeof current, "all");
    (void)snprintf(why, sizeof why, "not both versions were seen");
    (void)report(n_seen[1] && n_seen[2]);
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", n_passed, n_failed);
    return n_failed ? 1 : 0;
}
