/*
 * unit_store.c - see unit_store.h. */
#include "unit_store.h"

#include "rng.h"

/* ---- opening and closing ---------------------------------------------------- */

static void record_line(void *arg, enum eng_log_level level, const char *line)
{
    struct unit *u = arg;
    if (level > ENG_LOG_WARNING)
        return;
    size_t len = u->warnings++ ? strlen(u->all_warnings) : 0;
    (void)snprintf(u->all_warnings + len, sizeof(u->all_warnings) - len, "%s\n", line);
    (void)snprintf(u->last_warning, sizeof(u->last_warning), "%s", line);
}

static void prepare(struct unit *u, struct simdisk *disk, const struct eng_options *opt)
{
    *u = (struct unit){.disk = disk, .opt = *opt};
    if (getenv("ENG_LAZY"))
        rest_from = 0;
    u->opt.io = simdisk_io(disk);
    u->opt.log = record_line;
    u->opt.log_arg = u;
}

void unit_new(struct unit *u, uint64_t segment_size)
{
    struct eng_options opt = {.no_background = true,
                              .segment_size = segment_size ? segment_size : UNIT_SEGMENT};
    prepare(u, simdisk_new(), &opt);
    unit_open(u);
}

void unit_clone(struct unit *u, const struct unit *from)
{
    prepare(u, simdisk_clone(from->disk), &from->opt);
}

void unit_done(struct unit *u)
{
    if (u->eng)
        (void)eng_close(u->eng);
    simdisk_free(u->disk);
    *u = (struct unit){0};
}

int unit_try_open(struct unit *u)
{
    UNIT_NEED(!u->eng);
    u->why[0] = 0;
    return eng_open("simulated", &u->opt, &u->eng, u->why);
}

void unit_open(struct unit *u)
{
    int r = unit_try_open(u);
    if (r)
        (void)fprintf(stderr, "open: %s (%s)\n", strerror(-r), u->why);
    UNIT_NEED(r == 0);
}

void unit_close(struct unit *u)
{
    int r = eng_close(u->eng);
    u->eng = NULL;
    UNIT_NEED(r == 0);
}

void unit_reopen(struct unit *u)
{
    unit_close(u);
    unit_open(u);
}

void unit_kill(struct unit *u, enum sim_survival mode, uint64_t seed)
{
    unsigned warnings = u->warnings;
    simdisk_cut_at(u->disk, 1, true); /* nothing of what eng_close() still tries reaches the disk */
    (void)eng_close(u->eng);
    u->eng = NULL;
    u->warnings = warnings; /* and what it says about that does not count */
    simdisk_power_on(u->disk, mode, seed);
}

/* ---- content ------------------------------------------------------------------ */

uint8_t *unit_bytes(size_t size, uint64_t seed)
{
    uint8_t *bytes = malloc(size + 8);
    UNIT_NEED(bytes != NULL);
    rng_fill(bytes, size, seed);
    return bytes;
}

static uint64_t create(struct unit *u, const char *name, uint32_t mode)
{
    struct eng_attr attr;
    UNIT_NEED(eng_create(u->eng, NULL, ENG_ROOT_INO, name, mode, 0, NULL, &attr) == 0);
    return attr.ino;
}

uint64_t unit_create(struct unit *u, const char *name)
{
    return create(u, name, S_IFREG | 0644);
}

uint64_t unit_mkdir(struct unit *u, const char *name)
{
    return create(u, name, S_IFDIR | 0755);
}

void unit_write(struct unit *u, uint64_t ino, size_t size, uint64_t seed, uint64_t off)
{
    uint8_t *bytes = unit_bytes(size, seed);
    UNIT_NEED(eng_write(u->eng, ino, bytes, size, off) == (ssize_t)size);
    free(bytes);
}

uint64_t unit_file(struct unit *u, const char *name, size_t size, uint64_t seed)
{
    uint64_t ino = unit_create(u, name);
    unit_write(u, ino, size, seed, 0);
    return ino;
}

uint64_t unit_lookup(struct unit *u, const char *name)
{
    struct eng_attr attr;
    int r = eng_lookup(u->eng, NULL, ENG_ROOT_INO, name, &attr);
    UNIT_NEED(r == 0 || r == -ENOENT);
    return r ? 0 : attr.ino;
}

struct eng_attr unit_attr(struct unit *u, uint64_t ino)
{
    struct eng_attr attr;
    UNIT_NEED(eng_getattr(u->eng, ino, &attr) == 0);
    return attr;
}

bool unit_holds_bytes(struct unit *u, uint64_t ino, const void *bytes, size_t size)
{
    uint8_t *back = malloc(size + 1);
    UNIT_NEED(back != NULL);
    ssize_t n = eng_read(u->eng, ino, back, size + 1, 0);
    bool same = n == (ssize_t)size && (size == 0 || memcmp(back, bytes, size) == 0);
    free(back);
    return same;
}

bool unit_holds(struct unit *u, uint64_t ino, size_t size, uint64_t seed)
{
    uint8_t *bytes = unit_bytes(size, seed);
    bool same = unit_holds_bytes(u, ino, bytes, size);
    free(bytes);
    return same;
}

int unit_read_error(struct unit *u, uint64_t ino)
{
    uint8_t byte;
    ssize_t n = eng_read(u->eng, ino, &byte, 1, 0);
    return n < 0 ? (int)n : 0;
}

/* ---- looking inside -------------------------------------------------------------- */

struct eng_stats unit_stats(struct unit *u)
{
    struct eng_stats st;
    UNIT_NEED(eng_stats(u->eng, &st) == 0);
    return st;
}

static void print_problem(void *arg, const char *line)
{
    (void)arg;
    (void)fprintf(stderr, "check: %s\n", line);
}

uint64_t unit_problems(struct unit *u)
{
    struct eng_job_report report;
    UNIT_NEED(eng_job_run(u->eng, ENG_JOB_CHECK, &(struct eng_job_options){.on_problem = print_problem},
                          &report) == 0);
    struct index again = u->eng->idx; /* what it counts as it goes along */
    index_count_orphans(&again);
    bool counts = memcmp(&again.kept, &u->eng->idx.kept, sizeof again.kept) == 0 &&
                  again.n_orphans == u->eng->idx.n_orphans;
    if (!counts)
        print_problem(NULL, "inodes without a name: counted and found differ");
    return report.check.problems + !counts;
}

bool unit_locator(struct unit *u, uint64_t ino, unsigned n, struct locator *ret_loc)
{
    uint64_t at = 0, off;
    struct locator loc;
    while (index_extent(&u->eng->idx, ino_slot(ino), at, &off, &loc) == 0) {
        if (n-- == 0) {
            *ret_loc = loc;
            return true;
        }
        at = off + loc.len;
    }
    return false;
}

unsigned unit_extents(struct unit *u, uint64_t ino)
{
    unsigned n = 0;
    struct locator loc;
    while (unit_locator(u, ino, n, &loc))
        n++;
    return n;
}

void unit_damage(struct unit *u, const struct locator *loc, uint32_t at)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(loc->seg, name);
    uint64_t offset = locator_offset(loc) + extent_head_size(loc->ext_len) + loc->skip + at;
    UNIT_NEED(simdisk_flip(u->disk, name, offset, 0x10) == 0);
}

struct counting {
    const char *suffix;
    unsigned n;
    uint64_t size;
    char last[64];
};

static void count_file(void *arg, const char *name, uint64_t size)
{
    struct counting *c = arg;
    size_t len = strlen(name), suffix = strlen(c->suffix);
    if (len < suffix || strcmp(name + len - suffix, c->suffix) != 0)
        return;
    c->n++;
    c->size = size;
    (void)snprintf(c->last, sizeof(c->last), "%s", name);
}

unsigned unit_files(struct unit *u, const char *suffix, char ret_last[64])
{
    struct counting c = {.suffix = suffix};
    simdisk_each(u->disk, count_file, &c);
    if (ret_last)
        memcpy(ret_last, c.last, sizeof(c.last));
    return c.n;
}

struct unit_place unit_log_place(struct unit *u)
{
    struct unit_place place = {u->eng->log.active->id, u->eng->log.tail, ""};
    segment_name(place.segment, place.name);
    return place;
}

size_t unit_log_end(const uint8_t *image, size_t size)
{
    while (size && image[size - 1] == 0)
        size--;
    return ALIGN8(size);
}

void unit_spend_reserve(struct unit *u)
{
    while (reserve_bytes(u->eng))
        if (!reserve_spend(u->eng, RESERVE_ALL))
            abort();
}

uint64_t unit_file_size(struct unit *u, const char *name)
{
    struct counting c = {.suffix = name};
    simdisk_each(u->disk, count_file, &c);
    return c.size;
}

void unit_without_echo(struct unit *u)
{
    char name[64];
    simdisk_power_on(u->disk, SIM_KEEP_ALL, 0); /* names that are not durable would come back */
    while (unit_files(u, ".log", name) > 0)
        UNIT_NEED(simdisk_remove(u->disk, name) == 0);
}

bool unit_has_segment(struct unit *u, uint32_t id)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(id, name);
    return unit_files(u, name, NULL) == 1;
}
