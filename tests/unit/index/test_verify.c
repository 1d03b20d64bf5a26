/*
 * test_verify.c - nothing from disk is trusted (I10): checkpoints and logs
 * whose checksums are right but whose contents are not. They are refused, or
 * the store can be used: no crash, no endless loop, no byte beyond a buffer
 * (run with sanitizers, it is worth most). */
#include "inside.h"

#include "image_files.h"
#include "must.h"
#include "rng.h"
#include "unit_store.h"

#include <criterion/criterion.h>

#define ROUNDS 250u /* of each test, times $ROUNDS */

static struct unit u;

static unsigned rounds(void)
{
    const char *text = getenv("ROUNDS");
    return ROUNDS * (text ? (unsigned)strtoul(text, NULL, 0) : 1);
}

/* Something of everything, and freed records in between. */
static void setup(void)
{
    self_check_is_forged = true;
    struct eng_attr attr;
    char name[16];
    unit_new(&u, 0);
    uint64_t dir = unit_mkdir(&u, "dir");
    cr_assert_eq(eng_create(u.eng, NULL, dir, "sub", S_IFDIR | 0755, 0, NULL, &attr), 0);
    cr_assert_eq(eng_create(u.eng, NULL, attr.ino, "deep", S_IFDIR | 0755, 0, NULL, &attr), 0);
    cr_assert_eq(eng_create(u.eng, NULL, attr.ino, "link", S_IFLNK | 0777, 0, "../../file", &attr), 0);
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(name, sizeof(name), "file%u", i);
        uint64_t ino = unit_file(&u, name, 500 + 300 * i, i);
        if (i % 3 == 0)
            unit_write(&u, ino, 100, i, 400 + 100 * i); /* several extents */
        if (i % 5 == 0)
            cr_assert_eq(eng_setxattr(u.eng, ino, "user.small", "value", 5, 0), 0);
        if (i % 7 == 0) {
            uint8_t *value = unit_bytes(1000, i);
            cr_assert_eq(eng_setxattr(u.eng, ino, "user.large", value, 1000, 0), 0);
            free(value);
        }
        if (i % 6 == 0)
            cr_assert_eq(eng_link(u.eng, NULL, ino, dir, name, &attr), 0);
        if (i % 4 == 0)
            cr_assert_eq(eng_unlink(u.eng, 1, name), 0);
    }
    cr_assert_eq(commit_orphans(u.eng), 0);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(verify, .init = setup, .fini = teardown, .timeout = 1000);

/* ---- using a store, whatever its state ------------------------------------------------ */

struct found {
    uint64_t dirs[512], inos[512];
    unsigned n_dirs, n;
};

static int collect_entry(void *arg, const struct eng_dirent *entry)
{
    struct found *f = arg;
    if (strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
        return 0;
    if (f->n < 512)
        f->inos[f->n++] = entry->attr.ino;
    if (S_ISDIR(entry->attr.mode) && f->n_dirs < 512)
        f->dirs[f->n_dirs++] = entry->attr.ino;
    return f->n == 512;
}

static void use_calls(struct unit *c)
{
    static char buf[70000];
    struct found f = {.dirs = {ENG_ROOT_INO}, .n_dirs = 1};
    struct eng_attr attr;
    uint64_t hash;
    for (unsigned i = 0; i < f.n_dirs; i++)
        (void)eng_readdir(c->eng, NULL, f.dirs[i], 0, collect_entry, &f);
    for (unsigned i = 0; i < f.n; i++) {
        (void)eng_getattr(c->eng, f.inos[i], &attr);
        (void)eng_read(c->eng, f.inos[i], buf, 65536, 100);
        (void)eng_readlink(c->eng, f.inos[i], buf, sizeof(buf));
        (void)eng_listxattr(c->eng, f.inos[i], buf, sizeof(buf));
        (void)eng_getxattr(c->eng, f.inos[i], "user.small", buf, sizeof(buf));
        (void)eng_getxattr(c->eng, f.inos[i], "user.large", buf, sizeof(buf));
        if (attr.size < 1000000)
            (void)eng_content_hash(c->eng, f.inos[i], &hash);
    }
    if (c->opt.read_only)
        return;
    (void)eng_create(c->eng, NULL, ENG_ROOT_INO, "created", S_IFREG | 0644, 0, NULL, &attr);
    (void)eng_rename(c->eng, NULL, ENG_ROOT_INO, "dir", ENG_ROOT_INO, "renamed", 0);
    for (unsigned i = 0; i < f.n; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "file%u", i);
        (void)eng_append(c->eng, f.inos[i], "more", 4, NULL);
        (void)eng_setxattr(c->eng, f.inos[i], "user.large", buf, 500, 0);
        (void)eng_unlink(c->eng, ENG_ROOT_INO, name);
    }
    (void)eng_sync(c->eng);
}

static void use(struct unit *c)
{
    struct eng_job_report check;
    use_calls(c);
    (void)eng_job_run(c->eng, ENG_JOB_CHECK, NULL, &check);
    (void)eng_job_run(c->eng, ENG_JOB_COMPACT, NULL, NULL);
}

/* Uses a store of whose index nothing is verified yet, and has it verified then. Whether it was found sound;
 * else it says no more. */
static bool use_early(struct unit *c)
{
    struct eng_attr attr;
    use_calls(c);
    int r = rest_await(c->eng);
    if (!r)
        return true;
    struct eng_stats st = unit_stats(c);
    MUST(r == -EIO && eng_getattr(c->eng, ENG_ROOT_INO, &attr) == -EIO);
    MUST(eng_job_run(c->eng, ENG_JOB_CHECK, NULL, NULL) == -EIO);
    MUST(c->opt.read_only ? st.last_error[0] : st.read_only_reason[0]);
    return false;
}

/* Whether stores are used before they are verified. */
static bool early;

/* Opens a store with altered files and uses it twice: what was let in once, and used, is let in again. How
 * often it was. */
static unsigned try(struct unit *c)
{
    unsigned opened = 0;
    for (int run = 0; run < 2; run++) {
        rest_from = early && run == 0 ? 0 : UINT64_MAX;
        int r = unit_try_open(c);
        if (!r && early && run == 0 && !use_early(c)) {
            (void)eng_close(c->eng);
            c->eng = NULL;
            break;
        }
        MUST(r == 0 || (run == 0 && (r == -EBADMSG || r == -EIO)));
        MUST(r == 0 || c->why[0]);
        if (r)
            break;
        opened++;
        /* what was let in fits together, by itself and not because each use of it is on its guard */
        MUST(run > 0 || index_verify(&c->eng->idx, false, NULL, NULL) == 0);
        use(c);
        (void)eng_close(c->eng);
        c->eng = NULL;
    }
    return opened;
}

struct tally {
    unsigned opened, refused;
};

/* The `i`th of many: a clone of the store in which the file `name` has these bytes. */
static void try_with(const char *name, const uint8_t *bytes, size_t size, unsigned i, struct tally *t)
{
    struct unit c;
    unit_clone(&c, &u);
    if (strstr(name, ".seg"))
        simdisk_put(c.disk, name, bytes, size);
    else
        image_files_put(c.disk, name, bytes, size);
    c.opt.read_only = i % 4 == 0;
    bool opened = try(&c) > 0;
    t->opened += opened;
    t->refused += !opened;
    unit_done(&c);
}

static void expect_both(const struct tally *t)
{
    (void)fprintf(stderr, "%u opened, %u refused\n", t->opened, t->refused);
    cr_assert(t->opened > 20 && t->refused > 20, "both happen, or this tests nothing");
}

/* ---- checkpoints ------------------------------------------------------------------------- */

static void alter(uint8_t *byte, uint64_t *rng)
{
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    switch (rng_below(rng, 4)) {
    case 0:
        *byte ^= (uint8_t)(1u << rng_below(rng, 8));
        break;
    case 1:
        *byte = (uint8_t)(*byte + 1);
        break;
    case 2:
        *byte = values[rng_below(rng, sizeof(values))];
        break;
    default:
        *byte = (uint8_t)rng_next(rng);
    }
}

static void any_checkpoints(void)
{
    uint64_t rng = test_seed();
    char name[64];
    uint8_t *image, *altered;
    size_t size;
    struct tally tally = {0, 0};
    unit_close(&u);
    cr_assert_eq(unit_files(&u, ".ckp", name), 1);
    cr_assert_eq(simdisk_get(u.disk, name, &image, &size), 0);
    cr_assert_eq(simdisk_remove(u.disk, "s00000001.seg"), 0); /* the log is no way around the checkpoint */
    struct image_footer f;
    memcpy(&f, image + size - sizeof(f), sizeof(f));
    altered = malloc(size);
    for (unsigned i = 0; i < rounds(); i++) {
        memcpy(altered, image, size);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
            bool root = rng_below(&rng, 3) == 0;
            uint64_t at = root ? f.offset + rng_below(&rng, f.len) : rng_below(&rng, f.offset);
            alter(&altered[at], &rng);
        }
        image_files_reseal(altered, size);
        try_with(name, altered, size, i, &tally);
    }
    expect_both(&tally);
    free(image);
    free(altered);
}

Test(verify, checkpoints_with_any_contents_are_refused_or_usable)
{
    any_checkpoints();
}

Test(verify, checkpoints_with_any_contents_are_used_before_it_is_known)
{
    early = true;
    any_checkpoints();
}

/* ---- logs ---------------------------------------------------------------------------------- */

/* Alters ops of batches and puts the sums and the chain right again. */
static void alter_log(uint8_t *image, size_t size, uint64_t *rng, unsigned n)
{
    uint64_t at = sizeof(struct segment_header), chain = 0;
    unsigned batches = 0;
    struct batch_header h;
    for (uint64_t a = at; a + sizeof(h) <= size; a += sizeof(h) + h.ops_len + h.extents_len, batches++)
        memcpy(&h, image + a, sizeof(h));
    while (n--) {
        uint64_t pick = 1 + rng_below(rng, batches - 1);
        for (at = sizeof(struct segment_header); pick--; at += sizeof(h) + h.ops_len + h.extents_len)
            memcpy(&h, image + at, sizeof(h));
        at -= h.ops_len + h.extents_len;
        alter(&image[at + rng_below(rng, h.ops_len)], rng);
    }
    for (at = sizeof(struct segment_header); at + sizeof(h) <= size;
         at += sizeof(h) + h.ops_len + h.extents_len) {
        memcpy(&h, image + at, sizeof(h));
        h.chain = chain;
        h.sum = batch_sum(&h, image + at + sizeof(h));
        chain = h.sum;
        memcpy(image + at, &h, sizeof(h));
    }
}

Test(verify, logs_with_any_contents_are_refused_or_usable)
{
    uint64_t rng = test_seed();
    uint8_t *image, *altered;
    size_t size;
    struct tally tally = {0, 0};
    unit_done(&u);
    unit_new(&u, 16 << 20); /* all in one segment */
    uint64_t dir = unit_mkdir(&u, "dir");
    for (unsigned i = 0; i < 25; i++) {
        struct eng_attr attr;
        char name[16];
        (void)snprintf(name, sizeof(name), "file%u", i);
        uint64_t ino = unit_file(&u, name, 300, i);
        unit_write(&u, ino, 100, i, 200);
        (void)eng_setxattr(u.eng, ino, "user.small", name, 5, 0);
        (void)eng_setxattr(u.eng, ino, "user.large", name, 16, 0);
        (void)eng_link(u.eng, NULL, ino, dir, name, &attr);
        (void)eng_rename(u.eng, NULL, 1, name, 1, "renamed", 0);
        (void)eng_fallocate(u.eng, ino, 3, 50, 100);
        if (i % 2)
            (void)eng_unlink(u.eng, dir, name);
    }
    unit_kill(&u, SIM_KEEP_ALL, 0);
    cr_assert_eq(simdisk_get(u.disk, "s00000001.seg", &image, &size), 0);
    size = unit_log_end(image, size);
    altered = malloc(size);
    for (unsigned i = 0; i < rounds(); i++) {
        memcpy(altered, image, size);
        alter_log(altered, size, &rng, 1 + i % 3);
        try_with("s00000001.seg", altered, size, i, &tally);
    }
    expect_both(&tally);
    free(image);
    free(altered);
}
