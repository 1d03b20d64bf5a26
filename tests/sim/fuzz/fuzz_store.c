/*
 * fuzz_store.c - see fuzz_store.h. State: the stores, made at first use. */
#include "fuzz_store.h"

#include "image_files.h"

/* What reverts have led back to, and leaps: to the content of now, and to that of another state. */
static void fill_past(struct unit *u)
{
    uint64_t ino = unit_file(u, "back", 3000, 7), first, second, n;
    UNIT_NEED(eng_snapshot_create(u->eng, "first", &first) == 0);
    unit_write(u, ino, 1000, 8, 500);
    UNIT_NEED(eng_snapshot_create(u->eng, "second", &second) == 0);
    const struct eng_restore restore = {.ino = ino, .from = ino, .batch = first};
    UNIT_NEED(eng_restore(u->eng, &restore, 1) == 0);
    unit_write(u, ino, 200, 9, 700);
    UNIT_NEED(eng_rollback(u->eng, ENG_ROOT_INO, second, NULL, NULL, &n) == 0);
    unit_write(u, ino, 10, 10, 600);
}

static void fill(struct unit *u)
{
    struct eng_attr attr;
    char value[300];
    memset(value, 'v', sizeof value);
    uint64_t dir = unit_mkdir(u, "dir");
    for (unsigned i = 0; i < 6; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "file%u", i);
        uint64_t ino = unit_file(u, name, 100 + 900 * i, i);
        unit_write(u, ino, 50, i, 60);
        (void)eng_setxattr(u->eng, ino, "user.small", name, 5, 0);
        (void)eng_setxattr(u->eng, ino, "user.large", value, sizeof value, 0);
        (void)eng_link(u->eng, NULL, ino, dir, name, &attr);
        (void)eng_fallocate(u->eng, ino, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 20, 30);
        if (i % 2)
            (void)eng_unlink(u->eng, ENG_ROOT_INO, name);
    }
    (void)eng_create(u->eng, NULL, dir, "sym", S_IFLNK | 0777, 0, "file0", &attr);
    (void)eng_rename(u->eng, NULL, ENG_ROOT_INO, "file0", dir, "moved", 0);
    fill_past(u);
    UNIT_NEED(eng_sync(u->eng) == 0);
    unit_create(u, "behind the mark");
}

static uint64_t make_dir(struct unit *u, uint64_t parent, const char *name)
{
    struct eng_attr attr;
    UNIT_NEED(eng_create(u->eng, NULL, parent, name, S_IFDIR | 0755, 0, NULL, &attr) == 0);
    return attr.ino;
}

static void fill_much(struct unit *u)
{
    char name[24];
    uint64_t at = ENG_ROOT_INO, flat = unit_mkdir(u, "flat"), many = unit_create(u, "many");
    for (unsigned i = 0; i < 2000; i++)
        at = make_dir(u, at, "d");
    for (unsigned i = 0; i < 700; i++) {
        (void)snprintf(name, sizeof name, "user.%u", i);
        (void)make_dir(u, flat, name);
        UNIT_NEED(eng_setxattr(u->eng, many, name, name, strlen(name), 0) == 0);
        if (i % 2)
            unit_write(u, many, 3, i, 8 * (uint64_t)i);
    }
}

static const struct unit *make(struct unit *u, bool closed, bool large)
{
    if (u->disk)
        return u;
    unit_new(u, 4 << 20); /* one segment */
    if (large)
        fill_much(u);
    fill(u);
    if (closed)
        unit_close(u);
    else
        unit_kill(u, SIM_KEEP_ALL, 0);
    return u;
}

const struct unit *fuzz_store(bool closed)
{
    static struct unit stores[2];
    return make(&stores[closed], closed, false);
}

const struct unit *fuzz_store_large(bool closed)
{
    static struct unit stores[2];
    return make(&stores[closed], closed, true);
}

struct found {
    uint64_t inos[64];
    unsigned n;
};

static int collect(void *arg, const struct eng_dirent *d)
{
    struct found *f = arg;
    if (f->n == 64)
        return 1;
    if (d->cookie > 2)
        f->inos[f->n++] = d->attr.ino;
    return 0;
}

static void read_one(struct eng *eng, uint64_t ino)
{
    char buf[8192], list[1024];
    ssize_t n = eng_listxattr(eng, ino, list, sizeof list);
    for (const char *s = list; n > 0 && s < list + n; s += strlen(s) + 1)
        (void)eng_getxattr(eng, ino, s, buf, sizeof buf);
    (void)eng_read(eng, ino, buf, sizeof buf, 0);
    (void)eng_readlink(eng, ino, buf, sizeof buf);
}

static void change(struct eng *eng, const struct found *f)
{
    struct eng_attr attr = {.size = 10};
    for (unsigned i = 0; i < f->n; i++) {
        (void)eng_append(eng, f->inos[i], "more", 4, NULL);
        (void)eng_setattr(eng, f->inos[i], &attr, ENG_SET_SIZE, NULL);
    }
    (void)eng_create(eng, NULL, ENG_ROOT_INO, "new", S_IFREG | 0600, 0, NULL, &attr);
    (void)eng_rename(eng, NULL, ENG_ROOT_INO, "dir", ENG_ROOT_INO, "renamed", 0);
    (void)eng_unlink(eng, ENG_ROOT_INO, "file2");
    (void)eng_sync(eng);
    (void)eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL);
}

void fuzz_use(struct unit *c)
{
    for (int run = 0; run < 2; run++) {
        struct found f = {.n = 0};
        struct eng_job_report report;
        int r = unit_try_open(c);
        UNIT_NEED(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT || r == -EIO);
        UNIT_NEED(r == 0 || run == 0);
        UNIT_NEED(r == 0 || c->why[0]); /* refused with a word */
        if (r)
            break;
        (void)eng_readdir(c->eng, NULL, ENG_ROOT_INO, 0, collect, &f);
        for (unsigned i = 0, n = f.n; i < n; i++)
            (void)eng_readdir(c->eng, NULL, f.inos[i], 0, collect, &f);
        for (unsigned i = 0; i < f.n; i++)
            read_one(c->eng, f.inos[i]);
        UNIT_NEED(eng_job_run(c->eng, ENG_JOB_CHECK, NULL, &report) == 0);
        change(c->eng, &f);
        (void)eng_close(c->eng);
        c->eng = NULL;
    }
    unit_done(c);
}

void fuzz_reseal_log(uint8_t *image, size_t size)
{
    uint64_t at = sizeof(struct segment_header), chain = 0, seq = 0;
    struct batch_header h, first;
    if (size < at + sizeof h)
        return;
    memcpy(&first, image + at, sizeof first);
    while (at + sizeof h <= size) {
        memcpy(&h, image + at, sizeof h);
        if (h.ops_len % 8 || h.extents_len % 8 || (uint64_t)h.ops_len + h.extents_len > size - at - sizeof h)
            return;
        h.magic = BATCH_MAGIC;
        h.store = first.store;
        h.seq = ++seq;
        h.chain = chain;
        h.sum = batch_sum(&h, image + at + sizeof h);
        chain = h.sum;
        memcpy(image + at, &h, sizeof h);
        at += sizeof h + h.ops_len + h.extents_len;
    }
}

void fuzz_reseal_checkpoint(uint8_t *image, size_t size)
{
    image_files_reseal(image, size);
}
