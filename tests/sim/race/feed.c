/*
 * feed.c - writers, a compaction and readers of the feed at once, and what the readers were told compared
 * with the log itself.
 *
 * Eight writers change names, content, attributes and fields. Of the readers that keep up one waits, one
 * reads in pieces of any size and opens its feed anew where it stands, and one looks at what it is told of;
 * the writers wait for these three. One reader sleeps until it has fallen behind. The store is held, so that
 * no segment goes: in the end eng_dump() shows every batch of the log, and what each reader was told must be
 * the changes of exactly those batches, each once and in order, with their times; but for a reader that was
 * told -ESTALE, which must not have missed anything else.
 *
 * ENGRAM_TEST_MODE (quick, default, full) sets the number of batches unless it is given.
 *
 *   feed [--batches N] [--seed S] [DIR] */
#include "admin.h"
#include "rng.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WRITERS 8
#define KEEPING_UP 3
#define READERS (KEEPING_UP + 1)
#define RING_BYTES (UINT64_C(512) << 10) /* some 5000 batches */
#define LAG_MOST 800                     /* batches; much less than the ring holds, with those under way */
#define LAG_LEAST 15000                  /* batches that the ring does not hold */
#define CHECK_EVERY 16                   /* operations of a writer */
#define FILES 40

static struct {
    uint64_t batches, seed;
} opt = {600000, 0};

static struct eng *eng;
static uint64_t first, last; /* positions before and after all changes */
static uint64_t dirs[WRITERS], counters[WRITERS];
static _Atomic uint64_t n_failures, n_counted;
static _Atomic bool stop;

static void fail(const char *what, uint64_t a, int64_t b)
{
    if (atomic_fetch_add(&n_failures, 1) < 20)
        printf("FAILED: %s (%" PRIu64 ", %" PRId64 ")\n", what, a, b);
}

static bool is_over(void)
{
    return atomic_load(&stop) || atomic_load(&n_failures);
}

static void nap(int64_t ns)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = ns}, NULL);
}

/* ---- what is told of a batch ------------------------------------------------------------ */

/* The changes of each batch, folded to a number: 0 none. */
struct history {
    uint64_t *folded;
    bool *known;
    size_t n; /* of the batches first + 1 ... */
};

static void history_grow(struct history *h, uint64_t position)
{
    size_t n = (size_t)(position - first);
    if (n <= h->n)
        return;
    size_t cap = (n / 65536 + 1) * 65536;
    h->folded = realloc(h->folded, cap * sizeof *h->folded);
    h->known = realloc(h->known, cap * sizeof *h->known);
    if (!h->folded || !h->known)
        abort();
    for (; h->n < n; h->n++) {
        h->folded[h->n] = 0;
        h->known[h->n] = false;
    }
}

static void history_free(struct history *h)
{
    free(h->folded);
    free(h->known);
}

static void fold(uint64_t *sum, uint64_t value)
{
    *sum ^= value;
    *sum = rng_next(sum) | 1;
}

static void fold_change(struct history *h, const struct eng_change *c)
{
    history_grow(h, c->position);
    uint64_t *sum = &h->folded[c->position - first - 1];
    fold(sum, (uint64_t)c->kind << 32 | c->mask);
    fold(sum, c->ino << 1 | c->moved);
    fold(sum, c->parent);
    fold(sum, (uint64_t)c->time);
    fold(sum, c->name_len);
    for (size_t i = 0; i < c->name_len; i++)
        fold(sum, (uint8_t)c->name[i]);
}

/* ---- the log: what should have been told ---------------------------------------------------- */

/* One batch, op by op: "moved" is known when all have been seen. */
struct replay {
    struct history h;
    uint64_t position;
    int64_t time;
    struct eng_change changes[4096];
    size_t n;
    uint64_t content_of; /* the last operation was on the content of this inode; 0: it was another */
};

static const struct eng_dump_field *field_of(const struct eng_dump_item *item, const char *key)
{
    for (size_t i = 0; i < item->n_fields; i++) {
        if (strcmp(item->fields[i].key, key) == 0)
            return &item->fields[i];
    }
    return NULL;
}

static uint64_t number_of(const struct eng_dump_item *item, const char *key)
{
    const struct eng_dump_field *f = field_of(item, key);
    return f ? f->number : 0;
}

static bool gets_other(const struct replay *re, const struct eng_change *c)
{
    enum eng_change_kind other = c->kind == ENG_CHANGE_LINKED ? ENG_CHANGE_UNLINKED : ENG_CHANGE_LINKED;
    for (size_t i = 0; i < re->n; i++) {
        if (re->changes[i].kind == other && re->changes[i].ino == c->ino)
            return true;
    }
    return false;
}

static void end_batch(struct replay *re)
{
    for (size_t i = 0; i < re->n; i++) {
        struct eng_change *c = &re->changes[i];
        if (c->kind == ENG_CHANGE_LINKED || c->kind == ENG_CHANGE_UNLINKED)
            c->moved = gets_other(re, c);
        if (re->position > first)
            fold_change(&re->h, c);
    }
    re->n = 0;
    re->content_of = 0;
}

static void add_change(struct replay *re, const struct eng_dump_item *item, enum eng_change_kind kind,
                       uint64_t ino)
{
    if (re->n == sizeof re->changes / sizeof re->changes[0])
        abort();
    struct eng_change *c = &re->changes[re->n++];
    *c = (struct eng_change){.position = re->position, .time = re->time, .kind = kind, .ino = ino};
    if (kind == ENG_CHANGE_LINKED || kind == ENG_CHANGE_UNLINKED)
        c->parent = number_of(item, "parent");
    if (kind == ENG_CHANGE_ATTRIBUTES)
        c->mask = (unsigned)number_of(item, "mask");
    const struct eng_dump_field *name = field_of(item, "name");
    if (name && (c->parent || kind == ENG_CHANGE_FIELDS)) {
        c->name_len = name->len;
        memcpy(c->name, name->bytes, name->len);
    }
}

static void add_op(struct replay *re, const struct eng_dump_item *item)
{
    static const struct {
        const char *op;
        enum eng_change_kind kind;
    } kinds[] = {{"create", ENG_CHANGE_CREATED},      {"link", ENG_CHANGE_LINKED},
                 {"unlink", ENG_CHANGE_UNLINKED},     {"attr", ENG_CHANGE_ATTRIBUTES},
                 {"truncate", ENG_CHANGE_CONTENT},    {"extent", ENG_CHANGE_CONTENT},
                 {"punch", ENG_CHANGE_CONTENT},       {"xattr-set", ENG_CHANGE_FIELDS},
                 {"xattr-extent", ENG_CHANGE_FIELDS}, {"xattr-del", ENG_CHANGE_FIELDS},
                 {"free", ENG_CHANGE_REMOVED},        {"repoint", ENG_CHANGE_LINKED}};
    uint64_t ino = number_of(item, "ino"), content_of = re->content_of;
    re->content_of = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(item->kind, kinds[i].op) != 0)
            continue;
        if (kinds[i].kind == ENG_CHANGE_CONTENT)
            re->content_of = ino;
        if (strcmp(item->kind, "repoint") == 0)
            add_change(re, item, ENG_CHANGE_UNLINKED, number_of(item, "other"));
        if (kinds[i].kind != ENG_CHANGE_CONTENT || content_of != ino)
            add_change(re, item, kinds[i].kind, ino);
    }
}

static int replay_item(void *arg, const struct eng_dump_item *item)
{
    struct replay *re = arg;
    if (item->problem)
        fail(item->problem, item->offset, 0);
    if (item->depth == 1)
        end_batch(re);
    if (item->depth == 1 && strcmp(item->kind, "batch") == 0) {
        uint64_t position = number_of(item, "seq");
        if (re->position && position != re->position + 1)
            fail("the log has a gap", re->position, (int64_t)position);
        re->position = position;
        re->time = (int64_t)number_of(item, "time");
        if (position > first) {
            history_grow(&re->h, position);
            re->h.known[position - first - 1] = true;
        }
    } else if (item->depth == 2 && re->position && strcmp(item->kind, "data") != 0) {
        add_op(re, item);
    }
    return 0;
}

struct ids {
    uint32_t id[100000];
    size_t n;
};

static int add_file(void *arg, const struct eng_file *file)
{
    struct ids *ids = arg;
    if (file->kind == ENG_FILE_LOG && ids->n < sizeof ids->id / sizeof ids->id[0])
        ids->id[ids->n++] = (uint32_t)file->id;
    return 0;
}

/* ---- writers ----------------------------------------------------------------------------------- */

struct reader {
    pthread_t thread;
    unsigned number;
    struct eng_feed *feed;
    _Atomic uint64_t position;
    struct history h;
    uint64_t n_changes, n_stale, n_opened, counted[WRITERS];
};
static struct reader readers[READERS];

/* So that three readers keep up, whatever else this machine does. */
static void let_readers_catch_up(void)
{
    for (bool behind = true; behind && !is_over();) {
        uint64_t position = eng_position(eng);
        behind = false;
        for (unsigned i = 0; i < KEEPING_UP; i++)
            behind = behind || atomic_load(&readers[i].position) + LAG_MOST < position;
        if (behind)
            nap(500000);
    }
}

static void check(const char *what, int64_t r)
{
    if (r < 0 && r != -ENOENT && r != -EEXIST && r != -ENODATA)
        fail(what, 0, r);
}

static void put_some(uint64_t dir, uint64_t *rng)
{
    static const struct eng_xattr_pair pairs[] = {{"user.a", "1", 1}, {"user.b", "2", 1}};
    struct eng_record records[6];
    char names[6][16];
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%u", (unsigned)rng_below(rng, FILES));
        records[i] = (struct eng_record){.parent = dir,
                                         .name = names[i],
                                         .content = "some content",
                                         .size = rng_below(rng, 12),
                                         .mode = 0600,
                                         .xattrs = pairs,
                                         .n_xattrs = rng_below(rng, 3)};
    }
    check("put", eng_put_many(eng, records, 6));
}

static void change_names(uint64_t dir, uint64_t *rng)
{
    static const unsigned flags[] = {0, 0, ENG_RENAME_NOREPLACE, ENG_RENAME_EXCHANGE};
    struct eng_attr attr;
    char name[16], other[16];
    uint64_t to = dirs[rng_below(rng, WRITERS)];
    (void)snprintf(name, sizeof name, "f%u", (unsigned)rng_below(rng, FILES));
    (void)snprintf(other, sizeof other, "f%u", (unsigned)rng_below(rng, FILES));
    switch (rng_below(rng, 4)) {
    case 0:
        check("create", eng_create(eng, NULL, dir, name, S_IFREG | 0600, 0, NULL, &attr));
        break;
    case 1:
        check("unlink", eng_unlink(eng, dir, name));
        break;
    case 2:
        if (eng_lookup(eng, NULL, dir, name, &attr) == 0 &&
            eng_link(eng, NULL, attr.ino, to, other, &attr) == -EIO)
            fail("link", 0, 0);
        break;
    default:
        check("rename", eng_rename(eng, NULL, dir, name, to, other, flags[rng_below(rng, 4)]));
    }
}

static void change_file(uint64_t dir, uint64_t *rng)
{
    static const uint8_t bytes[300000];
    struct eng_attr attr;
    char name[16];
    (void)snprintf(name, sizeof name, "f%u", (unsigned)rng_below(rng, FILES));
    if (eng_lookup(eng, NULL, dir, name, &attr) != 0)
        return;
    int64_t r = 0; /* it may be removed by now */
    switch (rng_below(rng, 6)) {
    case 0:
        r = eng_append(eng, attr.ino, bytes, 1 + rng_below(rng, 3000), NULL);
        break;
    case 1:
        r = eng_write(eng, attr.ino, bytes, rng_below(rng, 50) ? 100 : sizeof bytes, rng_below(rng, 5000));
        break;
    case 2:
        attr.size = rng_below(rng, 5000);
        r = eng_setattr(eng, attr.ino, &attr, ENG_SET_SIZE | (rng_below(rng, 2) ? ENG_SET_MTIME : 0), NULL);
        break;
    case 3:
        r = eng_setattr(eng, attr.ino, &attr, ENG_SET_MODE, NULL);
        break;
    case 4:
        r = eng_fallocate(eng, attr.ino, ENG_FALLOC_ZERO_RANGE, rng_below(rng, 3000), 100);
        break;
    default:
        r = eng_removexattr(eng, attr.ino, rng_below(rng, 2) ? "user.a" : "user.b");
    }
    if (r < 0 && r != -ESTALE && r != -ENODATA)
        fail("change", attr.ino, r);
}

static void *writer(void *arg)
{
    unsigned me = (unsigned)(uintptr_t)arg;
    uint64_t rng = opt.seed + me, count = 0;
    for (unsigned i = 0; !is_over(); i++) {
        if (i % CHECK_EVERY == 0) {
            let_readers_catch_up();
            if (eng_position(eng) >= first + opt.batches)
                break;
        }
        uint64_t what = rng_below(&rng, 64);
        if (what == 0) {
            put_some(dirs[me], &rng);
        } else if (what < 30) {
            change_names(dirs[me], &rng);
        } else if (what < 56) {
            change_file(dirs[me], &rng);
        } else {
            count++;
            check("count", eng_setxattr(eng, counters[me], "user.count", &count, sizeof count, 0));
        }
    }
    return NULL;
}

/* Relocations, checkpoints and flushes among it all. */
static void *maintainer(void *arg)
{
    (void)arg;
    for (uint64_t next = first; !is_over();) {
        nap(2000000);
        check("sync", eng_sync(eng));
        if (eng_position(eng) < next)
            continue;
        next += opt.batches / 30;
        check("compact", eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL));
    }
    check("compact", eng_job_run(eng, ENG_JOB_COMPACT, NULL, NULL));
    return NULL;
}

/* ---- readers --------------------------------------------------------------------------------------- */

/* The feed is never ahead of the store: of each counter, what is read is at least what was told. */
static void check_counter(struct reader *r, const struct eng_change *c)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        if (c->kind != ENG_CHANGE_FIELDS || c->ino != counters[i])
            continue;
        r->counted[i]++;
        atomic_fetch_add(&n_counted, 1);
        if (eng_getxattr(eng, c->ino, "user.count", &value, sizeof value) != sizeof value ||
            value < r->counted[i])
            fail("the store is behind the feed", c->position, (int64_t)value);
    }
}

/* What was read up to the position counts. */
static void record_known(struct reader *r, uint64_t from)
{
    uint64_t to = eng_feed_position(r->feed);
    history_grow(&r->h, to);
    for (uint64_t position = from + 1; position <= to; position++)
        r->h.known[position - first - 1] = true;
    atomic_store(&r->position, to);
}

/* Reads once, n changes at most; eng_feed_read()'s result. */
static ssize_t read_once(struct reader *r, size_t n, bool counts)
{
    struct eng_change c[64];
    uint64_t from = eng_feed_position(r->feed);
    ssize_t got = eng_feed_read(r->feed, c, n);
    if (got == -ESTALE) {
        r->n_stale++;
        if (r->h.n > from - first) /* a batch of which only a part was told */
            r->h.folded[from - first] = 0;
        atomic_store(&r->position, eng_feed_position(r->feed));
        return got;
    }
    for (ssize_t i = 0; i < got; i++) {
        if (c[i].position <= from || (i && c[i].position < c[i - 1].position))
            fail("out of order", c[i].position, (int64_t)from);
        fold_change(&r->h, &c[i]);
        if (counts)
            check_counter(r, &c[i]);
    }
    r->n_changes += got > 0 ? (uint64_t)got : 0;
    record_known(r, from);
    return got;
}

static void open_again(struct reader *r)
{
    struct eng_feed *old = r->feed;
    int e = eng_feed_open(eng, eng_feed_position(old), &r->feed);
    eng_feed_close(old);
    if (e) {
        fail("cannot open again", 0, e);
        exit(1);
    }
    r->n_opened++;
}

static void *reader(void *arg)
{
    struct reader *r = arg;
    uint64_t rng = opt.seed + 100 + r->number;
    int waited;
    while ((waited = eng_feed_wait(r->feed, r->number == 1 ? 1 : -1)) != -ESHUTDOWN) {
        size_t n = r->number == 1 ? 1 + rng_below(&rng, 20) : 64;
        ssize_t got = read_once(r, n, r->number == 2);
        if (got < 0)
            fail("a reader that keeps up", eng_feed_position(r->feed), got);
        /* with less than it asked for it has read whole batches */
        if (r->number == 1 && got < (ssize_t)n && rng_below(&rng, 4) == 0 && !is_over())
            open_again(r);
        if (waited && waited != -ETIMEDOUT)
            fail("wait", 0, waited);
    }
    return NULL;
}

static void *sleeper(void *arg)
{
    struct reader *r = arg;
    while (eng_feed_wait(r->feed, -1) != -ESHUTDOWN) {
        while (!is_over() && eng_position(eng) < eng_feed_position(r->feed) + LAG_LEAST)
            nap(1000000);
        for (unsigned i = 0; i < 1000 && eng_feed_wait(r->feed, 10) == 0; i++)
            (void)read_once(r, 64, false);
    }
    return NULL;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static void set_up(const char *dir)
{
    const struct eng_options o = {.segment_size = 1u << 20, .commit_ms = 50, .feed_bytes = RING_BYTES};
    char why[256], name[16];
    struct eng_attr attr;
    int r = eng_open(dir, &o, &eng, why);
    if (r) {
        printf("cannot open %s: %s\n", dir, why);
        exit(2);
    }
    check("config", eng_config_set(eng, "auto_compact", "0"));
    check("config", eng_config_set(eng, "checkpoint_ops", "5000"));
    check("hold", eng_hold(eng));
    for (unsigned i = 0; i < WRITERS; i++) {
        (void)snprintf(name, sizeof name, "d%u", i);
        check("mkdir", eng_create(eng, NULL, ENG_ROOT_INO, name, S_IFDIR | 0700, 0, NULL, &attr));
        dirs[i] = attr.ino;
        (void)snprintf(name, sizeof name, "counter%u", i);
        check("create", eng_create(eng, NULL, ENG_ROOT_INO, name, S_IFREG | 0600, 0, NULL, &attr));
        counters[i] = attr.ino;
    }
    first = eng_position(eng);
    for (unsigned i = 0; i < READERS; i++) {
        readers[i].number = i;
        atomic_store(&readers[i].position, first);
        check("feed", eng_feed_open(eng, i % 2 ? first : ENG_FEED_NOW, &readers[i].feed));
    }
}

static void run(struct ids *ids)
{
    pthread_t writers[WRITERS], maintains;
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_create(&readers[i].thread, NULL, i < KEEPING_UP ? reader : sleeper, &readers[i]);
    for (unsigned i = 0; i < WRITERS; i++)
        (void)pthread_create(&writers[i], NULL, writer, (void *)(uintptr_t)i);
    (void)pthread_create(&maintains, NULL, maintainer, NULL);
    for (unsigned i = 0; i < WRITERS; i++)
        (void)pthread_join(writers[i], NULL);
    atomic_store(&stop, true);
    (void)pthread_join(maintains, NULL);
    eng_feed_shutdown(eng);
    for (unsigned i = 0; i < READERS; i++)
        (void)pthread_join(readers[i].thread, NULL);
    struct eng_stats st;
    check("files", eng_files(eng, add_file, ids));
    check("stats", eng_stats(eng, &st));
    printf("%" PRIu64 " relocations\n", st.relocations);
    if (!st.relocations)
        fail("nothing was moved", 0, 0);
    uint64_t position = eng_position(eng);
    check("close", eng_close(eng));
    for (unsigned i = 0; i < READERS; i++) { /* and what closing changed */
        ssize_t got;
        while ((got = read_once(&readers[i], 64, false)) > 0)
            ;
        if (got != -ESHUTDOWN || eng_feed_position(readers[i].feed) < position)
            fail("the end was not read", position, got);
        eng_feed_close(readers[i].feed);
    }
}

static void compare(const struct reader *r, const struct history *log)
{
    uint64_t missed = 0;
    bool keeps_up = r->number < KEEPING_UP;
    if (r->h.n != last - first)
        fail("another end than the log's", r->h.n, (int64_t)(last - first));
    for (size_t i = 0; i < r->h.n && i < log->n; i++) {
        if (r->h.known[i] && r->h.folded[i] != log->folded[i])
            fail("not what the log has", first + 1 + i, r->number);
        if (!r->h.known[i] && r->h.folded[i])
            fail("told of a part", first + 1 + i, r->number);
        missed += !r->h.known[i];
    }
    if (keeps_up ? r->n_stale || missed : !r->n_stale || !missed)
        fail(keeps_up ? "fell behind" : "did not fall behind", r->n_stale, (int64_t)missed);
    printf("reader %u: %" PRIu64 " changes of %zu batches; behind %" PRIu64 " times, for %" PRIu64
           " batches; opened again %" PRIu64 " times\n",
           r->number, r->n_changes, r->h.n - (size_t)missed, r->n_stale, missed, r->n_opened);
}

static void compare_all(const char *dir, const struct ids *ids)
{
    struct replay *re = calloc(1, sizeof *re);
    uint64_t with_changes = 0;
    if (!re)
        abort();
    for (size_t i = 0; i < ids->n; i++)
        check("dump", eng_dump(dir, NULL, ids->id[i], false, replay_item, re));
    end_batch(re);
    last = re->position;
    for (size_t i = 0; i < re->h.n; i++) {
        with_changes += re->h.folded[i] != 0;
        if (!re->h.known[i])
            fail("a batch is not in the log", first + 1 + i, 0);
    }
    printf("the log: %zu batches, %" PRIu64 " of them with changes\n", re->h.n, with_changes);
    for (unsigned i = 0; i < READERS; i++) {
        compare(&readers[i], &re->h);
        history_free(&readers[i].h);
    }
    history_free(&re->h);
    free(re);
}

int main(int argc, char **argv)
{
    char temp[256], command[300];
    static struct ids ids;
    const char *mode = getenv("ENGRAM_TEST_MODE"), *given = NULL, *tmp = getenv("TMPDIR");
    if (mode && strcmp(mode, "quick") == 0)
        opt.batches = 8000;
    else if (mode && strcmp(mode, "full") == 0)
        opt.batches = 3000000;
    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 0) : 0;
        if (strcmp(argv[i], "--batches") == 0 && value)
            opt.batches = value, i++;
        else if (strcmp(argv[i], "--seed") == 0 && value)
            opt.seed = value, i++;
        else if (argv[i][0] != '-')
            given = argv[i];
        else
            return (void)fprintf(stderr, "usage: feed [--batches N] [--seed S] [DIR]\n"), 2;
    }
    if (!opt.seed)
        opt.seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    (void)snprintf(temp, sizeof temp, "%s/feed.XXXXXX", tmp ? tmp : "/tmp");
    const char *dir = given ? given : mkdtemp(temp);
    if (!dir)
        return 2;
    printf("seed %" PRIu64 "\n", opt.seed);
    (void)fflush(stdout);
    set_up(dir);
    run(&ids);
    compare_all(dir, &ids);
    if (!atomic_load(&n_counted))
        fail("no counter was looked at", 0, 0);
    if (!given) {
        (void)snprintf(command, sizeof command, "rm -rf '%s'", temp);
        (void)!system(command);
    }
    uint64_t failures = atomic_load(&n_failures);
    printf("%d passed, %" PRIu64 " failed\n", failures ? 0 : READERS, failures);
    return failures ? 1 : 0;
}
