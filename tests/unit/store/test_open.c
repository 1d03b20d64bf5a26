/*
 * test_open.c - opening and closing: what is taken for a store, what is
 * refused and with which words, locks, and a store on the real file system. */
#include "inside.h"

#include "unit_store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

static struct unit u;
static char scratch[64], path[128];

static void setup(void)
{
    unit_new(&u, 0);
    strcpy(scratch, "/tmp/engramfs-engine-XXXXXX");
    cr_assert_not_null(mkdtemp(scratch));
    (void)snprintf(path, sizeof(path), "%s/store", scratch);
}

static void remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    if (d)
        closedir(d);
    (void)rmdir(dir);
}

static void teardown(void)
{
    unit_done(&u);
    remove_tree(path);
    remove_tree(scratch);
}

TestSuite(open, .init = setup, .fini = teardown, .timeout = 100);

static void touch(const char *dir, const char *name)
{
    char file[256];
    (void)snprintf(file, sizeof(file), "%s/%s", dir, name);
    int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    close(fd);
}

static int try_path(const char *at, const struct eng_options *opt, char why[256])
{
    struct eng *eng = NULL;
    memset(why, 0, 256);
    int r = eng_open(at, opt, &eng, why);
    cr_assert_eq(r == 0, eng != NULL);
    cr_assert(r == 0 || why[0], "an explanation comes with every refusal");
    cr_assert_eq(eng_close(eng), 0);
    return r;
}

/* ---- what is a store ------------------------------------------------------------------ */

Test(open, lives_in_a_folder_of_the_real_file_system)
{
    struct eng_options opt = {.no_background = true, .segment_size = UNIT_SEGMENT};
    struct eng *eng;
    struct eng_attr attr;
    char back[6];
    cr_assert_eq(eng_open(path, &opt, &eng, NULL), 0, "created");
    cr_assert_eq(eng_create(eng, NULL, 1, "f", S_IFREG | 0644, 0, NULL, &attr), 0);
    cr_assert_eq(eng_write(eng, attr.ino, "hello", 5, 0), 5);
    cr_assert_eq(eng_close(eng), 0);
    opt.segment_size = 0;
    opt.no_background = false;
    cr_assert_eq(eng_open(path, &opt, &eng, NULL), 0);
    cr_assert_eq(eng->log.segment_size, UNIT_SEGMENT, "as it was created");
    cr_assert_eq(eng_lookup(eng, NULL, 1, "f", &attr), 0);
    cr_assert_eq(eng_read(eng, attr.ino, back, 6, 0), 5);
    cr_assert_eq(memcmp(back, "hello", 5), 0);
    cr_assert_eq(eng_close(eng), 0);
    cr_assert_eq(eng_open(path, NULL, &eng, NULL), 0, "options are optional");
    cr_assert_eq(eng_close(eng), 0);
    cr_assert_eq(eng_close(NULL), 0);
}

Test(open, refuses_what_is_not_a_store)
{
    static const struct eng_options create = {.no_background = true},
                                    must = {.no_background = true, .must_exist = true},
                                    ro = {.no_background = true, .read_only = true};
    char why[256], sub[256];
    cr_assert_eq(try_path(path, &must, why), -ENOENT, "missing");
    cr_assert_eq(try_path(path, &ro, why), -ENOENT);
    cr_assert_neq(access(path, F_OK), 0, "and it was not created by that");
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(try_path(path, &must, why), -ENOENT, "empty");
    cr_assert_eq(try_path(path, &ro, why), -ENOENT);
    touch(path, "letter.txt");
    cr_assert_eq(try_path(path, &create, why), -ENOTEMPTY);
    cr_assert_not_null(strstr(why, "not a store"), "%s", why);
    (void)snprintf(sub, sizeof(sub), "%s/letter.txt", path);
    cr_assert_eq(try_path(sub, &create, why), -ENOTDIR);
    (void)snprintf(sub, sizeof(sub), "%s/none/below", path);
    cr_assert_eq(try_path(sub, &create, why), -ENOENT);
    cr_assert_eq(unlink((snprintf(sub, sizeof(sub), "%s/letter.txt", path), sub)), 0);
    touch(path, "superblock.tmp"); /* a creation that was cut off */
    cr_assert_eq(try_path(path, &create, why), 0);
    cr_assert_eq(try_path(path, &must, why), 0);
}

Test(open, refuses_bad_options)
{
    static const uint64_t sizes[] = {1, ENG_SEGMENT_SIZE_MIN - 1, ENG_SEGMENT_SIZE_MAX + 1, UINT64_MAX};
    char why[256];
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct eng_options opt = {.no_background = true, .segment_size = sizes[i]};
        cr_assert_eq(try_path(path, &opt, why), -EINVAL);
        cr_assert_not_null(strstr(why, "segment size"));
    }
    cr_assert_neq(access(path, F_OK), 0);
}

/* ---- the superblock ----------------------------------------------------------------------- */

static void put_superblock(uint32_t version, uint32_t incompat, uint64_t segment_size)
{
    struct superblock sb = u.eng ? u.eng->sb : (struct superblock){0};
    uint8_t image[2 * SUPERBLOCK_SIZE];
    if (u.eng)
        unit_close(&u);
    sb.version = version;
    sb.incompat = incompat;
    sb.segment_size = segment_size;
    superblock_encode(&sb, image);
    simdisk_put(u.disk, "superblock", image, sizeof(image));
}

Test(open, refuses_formats_that_it_does_not_know)
{
    static const struct {
        uint32_t version, incompat;
        uint64_t segment_size;
        int expect;
    } cases[] = {{FORMAT_VERSION + 1, 0, UNIT_SEGMENT, -EPROTONOSUPPORT},
                 {FORMAT_VERSION, FORMAT_INCOMPAT + 1, UNIT_SEGMENT, -EPROTONOSUPPORT},
                 {FORMAT_VERSION, 0, ENG_SEGMENT_SIZE_MIN - 1, -EBADMSG},
                 {FORMAT_VERSION, 0, ENG_SEGMENT_SIZE_MAX + 1, -EBADMSG}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        put_superblock(cases[i].version, cases[i].incompat, cases[i].segment_size);
        for (int ro = 0; ro < 2; ro++) {
            u.opt.read_only = ro;
            uint64_t calls = simdisk_calls(u.disk, false);
            cr_assert_eq(unit_try_open(&u), cases[i].expect, "case %zu", i);
            cr_assert_not_null(strstr(u.why, "superblock"), "it names the file: %s", u.why);
            cr_assert_eq(simdisk_calls(u.disk, false), calls, "nothing is written to what is not understood");
        }
    }
}

static void without_copy(struct simdisk *disk)
{
    (void)simdisk_remove(disk, "superblock.copy");
}

/* Four copies in two files: any of them is enough, and the opening makes good the others. */
Test(open, each_copy_of_the_superblock_is_enough)
{
    static const char *const names[] = {"superblock", "superblock.copy"};
    unit_file(&u, "f", 10, 1);
    unit_close(&u);
    for (unsigned left = 0; left < 4; left++)
        for (unsigned ro = 0; ro < 2; ro++) {
            struct unit c;
            unit_clone(&c, &u);
            for (unsigned i = 0; i < 4; i++)
                if (i != left)
                    cr_assert_eq(simdisk_flip(c.disk, names[i / 2], i % 2 * SUPERBLOCK_SIZE + 20, 1), 0);
            c.opt.read_only = ro;
            uint64_t calls = simdisk_calls(c.disk, false);
            unit_open(&c);
            cr_assert(unit_holds(&c, unit_lookup(&c, "f"), 10, 1));
            cr_assert_eq(c.warnings, 2);
            if (ro)
                cr_assert_eq(simdisk_calls(c.disk, false), calls, "nothing is written");
            unit_close(&c);
            c.warnings = 0;
            unit_open(&c);
            cr_assert_eq(c.warnings, ro ? 2u : 0u, "%s", c.last_warning);
            unit_done(&c);
        }
}

Test(open, a_missing_superblock_is_written_anew_from_the_other_file)
{
    unit_file(&u, "f", 10, 1);
    unit_close(&u);
    for (unsigned i = 0; i < 2; i++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_remove(c.disk, i ? "superblock.copy" : "superblock"), 0);
        unit_open(&c);
        cr_assert(unit_holds(&c, unit_lookup(&c, "f"), 10, 1));
        unit_close(&c);
        cr_assert_eq(unit_file_size(&c, "superblock"), 2 * SUPERBLOCK_SIZE);
        cr_assert_eq(unit_file_size(&c, "superblock.copy"), 2 * SUPERBLOCK_SIZE);
        cr_assert_eq(simdisk_remove(c.disk, i ? "superblock" : "superblock.copy"), 0);
        unit_open(&c);
        cr_assert(unit_holds(&c, unit_lookup(&c, "f"), 10, 1));
        unit_done(&c);
    }
}

Test(open, one_good_superblock_copy_is_enough)
{
    unit_file(&u, "f", 10, 1);
    unit_close(&u);
    without_copy(u.disk);
    cr_assert_eq(simdisk_flip(u.disk, "superblock", 20, 1), 0);
    unit_open(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 10, 1));
    unit_close(&u);
    cr_assert_eq(simdisk_flip(u.disk, "superblock", SUPERBLOCK_SIZE + 20, 1), 0);
    unit_open(&u); /* the first copy was made good by it */
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 10, 1));
    unit_close(&u);
    without_copy(u.disk);
    cr_assert_eq(simdisk_flip(u.disk, "superblock", 20, 1), 0);
    cr_assert_eq(simdisk_flip(u.disk, "superblock", SUPERBLOCK_SIZE + 20, 1), 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    simdisk_put(u.disk, "superblock", "", 0);
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    static const char big[9000];
    simdisk_put(u.disk, "superblock", big, sizeof(big));
    cr_assert_lt(unit_try_open(&u), 0);
    cr_assert_eq(simdisk_remove(u.disk, "superblock"), 0);
    cr_assert_eq(unit_try_open(&u), -ENOTEMPTY,
                 "segments without a superblock are not overwritten by a new store");
    cr_assert_geq(unit_files(&u, ".seg", NULL), 1);
}

/* Of reading some bytes of the superblock. */
static struct eng_io_ops bad_ops;
static const struct eng_io_ops *good_ops;
static struct io_file *superblock;
static uint64_t bad_from, bad_to;

static int open_bad(struct eng_io *io, const char *name, int flags, struct io_file **ret_file)
{
    int r = good_ops->open(io, name, flags, ret_file);
    if (!r && !strcmp(name, SUPERBLOCK_FILE))
        superblock = *ret_file;
    return r;
}

static void close_bad(struct io_file *file)
{
    if (file == superblock)
        superblock = NULL;
    good_ops->close(file);
}

static ssize_t pread_bad(struct io_file *file, void *buf, size_t size, uint64_t offset)
{
    return file == superblock && offset < bad_to && offset + size > bad_from
               ? -EIO
               : good_ops->pread(file, buf, size, offset);
}

static int open_with_bad_superblock(struct unit *c, uint64_t from, uint64_t to, bool salvage)
{
    unit_clone(c, &u);
    without_copy(c->disk);
    c->opt.read_only = c->opt.salvage = salvage;
    struct eng_io *io = simdisk_io(c->disk);
    good_ops = io->ops;
    bad_ops = *good_ops;
    bad_ops.open = open_bad;
    bad_ops.close = close_bad;
    bad_ops.pread = pread_bad;
    io->ops = &bad_ops;
    bad_from = from;
    bad_to = to;
    return unit_try_open(c);
}

Test(open, one_superblock_copy_that_can_be_read_is_enough)
{
    unit_file(&u, "f", 10, 1);
    unit_close(&u);
    for (unsigned salvage = 0; salvage < 2; salvage++) {
        struct unit c;
        for (uint64_t at = 0; at < (uint64_t)2 * SUPERBLOCK_SIZE; at += 512) {
            cr_assert_eq(open_with_bad_superblock(&c, at, at + 512, salvage), 0, "%llu: %s",
                         (unsigned long long)at, c.why);
            cr_assert(unit_holds(&c, unit_lookup(&c, "f"), 10, 1));
            cr_assert_geq(c.warnings, 1);
            unit_close(&c);
            simdisk_io(c.disk)->ops = good_ops;
            c.warnings = 0;
            unit_open(&c);
            cr_assert_eq(c.warnings, salvage, "written anew, unless it was for reading only");
            unit_done(&c);
        }
        int r = open_with_bad_superblock(&c, 0, (uint64_t)2 * SUPERBLOCK_SIZE, salvage);
        cr_assert_eq(r, salvage ? 0 : -EIO, "%d: %s", r, c.why);
        cr_assert(salvage || strstr(c.why, "superblock"), "%s", c.why);
        unit_done(&c);
    }
}

Test(open, segments_of_another_store_are_not_ours)
{
    struct unit other;
    unit_new(&other, 0);
    unit_file(&u, "f", 10, 1);
    unit_file(&other, "g", 10, 1);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_kill(&other, SIM_KEEP_ALL, 0);
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(other.disk, "s00000001.seg", &image, &size), 0);
    simdisk_put(u.disk, "s00000001.seg", image, size);
    int r = unit_try_open(&u);
    cr_assert(r == -EBADMSG || unit_lookup(&u, "g") == 0);
    free(image);
    unit_done(&other);
}

/* ---- locks ----------------------------------------------------------------------------------- */

Test(open, one_writer_or_many_readers)
{
    struct eng_options rw = u.opt, ro = u.opt;
    struct eng *eng = NULL;
    char why[256] = "";
    ro.read_only = true;
    unit_file(&u, "f", 10, 1);
    cr_assert_eq(eng_open("x", &rw, &eng, why), -EBUSY);
    cr_assert_not_null(strstr(why, "in use"), "%s", why);
    cr_assert_eq(eng_open("x", &ro, &eng, why), -EBUSY);
    cr_assert_null(eng);
    cr_assert(unit_holds(&u, unit_lookup(&u, "f"), 10, 1), "the first one does not notice");
    unit_close(&u);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert_eq(eng_open("x", &ro, &eng, why), 0, "readers go together");
    struct eng *writer = NULL;
    cr_assert_eq(eng_open("x", &rw, &writer, why), -EBUSY);
    cr_assert_eq(eng_close(eng), 0);
    unit_close(&u);
    cr_assert_eq(eng_open("x", &rw, &writer, why), 0);
    cr_assert_eq(eng_close(writer), 0);
}

Test(open, two_processes_do_not_share_a_real_store)
{
    struct eng_options opt = {.no_background = true};
    struct eng *eng;
    char why[256];
    cr_assert_eq(eng_open(path, &opt, &eng, NULL), 0);
    cr_assert_eq(try_path(path, &opt, why), -EBUSY);
    cr_assert_eq(eng_close(eng), 0);
    cr_assert_eq(try_path(path, &opt, why), 0);
}

static void *close_it(void *arg)
{
    (void)arg;
    cr_assert_eq(eng_close(u.eng), 0);
    return NULL;
}

Test(open, waits_for_the_lock_as_long_as_told)
{
    struct eng_options opt = u.opt;
    struct eng *eng;
    pthread_t thread;
    opt.lock_wait_ms = 60;
    uint64_t t0 = mono_ns();
    cr_assert_eq(eng_open("x", &opt, &eng, NULL), -EBUSY);
    cr_assert_geq(mono_ns() - t0, 50000000);
    opt.lock_wait_ms = 60000;
    pthread_create(&thread, NULL, close_it, NULL); /* before or while we wait */
    cr_assert_eq(eng_open("x", &opt, &eng, NULL), 0);
    pthread_join(thread, NULL);
    u.eng = eng;
}

/* ---- reporting --------------------------------------------------------------------------------- */

static void busy_log(void *arg, enum eng_log_level level, const char *line)
{
    struct eng_stats st;
    (void)level;
    cr_assert_neq(line[0], 0);
    if (u.eng)
        cr_assert_eq(eng_stats(u.eng, &st), 0, "no lock is held where lines are logged");
    ++*(unsigned *)arg;
}

Test(open, log_lines_come_under_no_lock)
{
    unsigned lines = 0;
    struct locator loc;
    uint64_t f = unit_file(&u, "f", 1000, 1);
    unit_close(&u);
    u.opt.log = busy_log;
    u.opt.log_arg = &lines;
    unit_open(&u);
    cr_assert(unit_locator(&u, f, 0, &loc));
    unit_damage(&u, &loc, 0);
    cr_assert_eq(unit_read_error(&u, f), -EIO);
    cr_assert_eq(lines, 1);
    simdisk_fail(u.disk, SIM_DATASYNC, 1, EIO);
    unit_file(&u, "g", 10, 1);
    cr_assert_eq(eng_sync(u.eng), -EIO);
    cr_assert_geq(lines, 2);
    u.opt.log = NULL; /* lines are optional */
}

Test(open, an_empty_store_cannot_be_set_up_read_only)
{
    struct superblock sb = u.eng->sb;
    uint8_t image[2 * SUPERBLOCK_SIZE];
    unit_done(&u);
    superblock_encode(&sb, image);
    u.disk = simdisk_new();
    u.opt = (struct eng_options){.no_background = true, .read_only = true, .io = simdisk_io(u.disk)};
    simdisk_put(u.disk, "superblock", image, sizeof(image));
    cr_assert_eq(unit_try_open(&u), -EROFS);
    u.opt.read_only = false;
    unit_open(&u);
}

static const struct eng_io_ops *real_ops;

static int space_of_read_only_medium(struct eng_io *io, struct io_space *ret_space)
{
    int r = real_ops->space(io, ret_space);
    ret_space->read_only = true;
    return r;
}

/* The store is closed, and its last segment full, so that an opening has nothing to write. */
Test(open, a_read_only_medium_is_refused_unless_the_store_is_only_read)
{
    uint64_t ino = unit_file(&u, "f", UNIT_SEGMENT, 1);
    unit_close(&u);
    struct eng_io *io = simdisk_io(u.disk);
    real_ops = io->ops;
    struct eng_io_ops ops = *real_ops;
    ops.space = space_of_read_only_medium;
    io->ops = &ops;
    cr_assert_eq(unit_try_open(&u), -EROFS);
    cr_assert_not_null(strstr(u.why, "mounted read-only"), "%s", u.why);
    u.opt.read_only = true;
    unit_open(&u);
    cr_assert(unit_holds(&u, ino, UNIT_SEGMENT, 1));
    unit_close(&u);
    u.opt.read_only = false;
    io->ops = real_ops;
    unit_open(&u);
}
