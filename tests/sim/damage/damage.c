/*
 * damage.c - a small store of everything is damaged in every way, one at a
 * time: each bit flipped, each file cut at each length, sectors and pages
 * zeroed, filled or unreadable, segments and checkpoints swapped, doubled, removed.
 *
 *   damage [--stride N] [--only CASE]      CASE as a failure prints it
 *   damage --open N                        only beneath open stores, every Nth bit
 *   damage --liar NAME                     a store that lies: must fail
 *
 * What each may cost is computed from the layout of the files (cost.h): the block of content in which the
 * damage lies, of that memory only, which is then -EIO and listed; the last batch, if the damage reaches it,
 * since it was not durable and nothing was built on it. Everything else is there twice, and must be there: no
 * store is refused. Of stores that open for writing, work goes on, and nothing more is lost by a compaction.
 *
 * What was refused is salvaged: whatever content is whole comes back, under its name or as a piece that says
 * whose it is. There are two stores: one in which work went on after its compaction, and one in which nothing
 * did, so that only the compaction itself has written how far its log was durable. Both once more without the
 * second copy of their log: then it may cost all, where nothing else says what the damaged bytes said. Such a
 * store is refused with a line that says why, and nothing on the disk has changed.
 *
 * At the end three liars take the place of the engine: each must be caught.
 */
#include "cost.h"
#include "unit_store.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#define FAILURES_SHOWN 20
#define OPEN_STRIDE 5   /* beneath open stores every so manyth of those that are flipped otherwise */
#define CASE_SECONDS 20 /* a case takes less than a millisecond; more is a hang */
#define MEMORY_LIMIT (UINT64_C(1) << 30)

/* ---- what a store shows ------------------------------------------------------------- */

#define PIECE 4096u
#define MAX_ENTRIES 64
#define MAX_PIECES 16
#define MAX_XATTRS 4

struct entry {
    char path[64];
    struct eng_attr attr;
    char link[64];
    unsigned n_pieces, n_xattrs;
    int bad[MAX_PIECES]; /* 0, or the errno of reading that piece */
    uint64_t sum[MAX_PIECES];
    char xattr[MAX_XATTRS][32];
    int xattr_bad[MAX_XATTRS];
    uint64_t xattr_sum[MAX_XATTRS];
};

struct tree {
    unsigned n, n_bad;
    int error; /* of the walk itself */
    struct entry entries[MAX_ENTRIES];
};

struct listing {
    char names[MAX_ENTRIES][64];
    struct eng_attr attrs[MAX_ENTRIES];
    unsigned n;
};

static int list_entry(void *arg, const struct eng_dirent *d)
{
    struct listing *l = arg;
    if (d->cookie <= 2)
        return 0;
    if (l->n == MAX_ENTRIES)
        return 1;
    (void)snprintf(l->names[l->n], sizeof l->names[0], "%.*s", (int)d->name_len, d->name);
    l->attrs[l->n++] = d->attr;
    return 0;
}

static void inspect_content(struct eng *eng, struct entry *e)
{
    uint8_t buf[PIECE];
    for (uint64_t off = 0; off < e->attr.size && e->n_pieces < MAX_PIECES; off += PIECE, e->n_pieces++) {
        ssize_t n = eng_read(eng, e->attr.ino, buf, sizeof buf, off);
        e->bad[e->n_pieces] = n < 0 ? (int)n : 0;
        e->sum[e->n_pieces] = n < 0 ? 0 : codec_hash(buf, (size_t)n) + (uint64_t)n;
    }
}

static void inspect_xattrs(struct eng *eng, struct entry *e)
{
    char list[512], value[1024];
    ssize_t n = eng_listxattr(eng, e->attr.ino, list, sizeof list);
    for (const char *s = list; n > 0 && s < list + n && e->n_xattrs < MAX_XATTRS; s += strlen(s) + 1) {
        unsigned x = e->n_xattrs++;
        (void)snprintf(e->xattr[x], sizeof e->xattr[0], "%.31s", s);
        ssize_t got = eng_getxattr(eng, e->attr.ino, s, value, sizeof value);
        e->xattr_bad[x] = got < 0 ? (int)got : 0;
        e->xattr_sum[x] = got < 0 ? 0 : codec_hash(value, (size_t)got);
    }
}

static void inspect(struct eng *eng, struct tree *t, uint64_t dir, const char *path)
{
    struct listing l = {.n = 0};
    int r = eng_readdir(eng, NULL, dir, 0, list_entry, &l);
    if (r < 0)
        t->error = r;
    for (unsigned i = 0; i < l.n && t->n < MAX_ENTRIES; i++) {
        struct entry *e = &t->entries[t->n++];
        memset(e, 0, sizeof *e);
        (void)snprintf(e->path, sizeof e->path, "%s/%s", path, l.names[i]);
        e->attr = l.attrs[i];
        if (S_ISREG(e->attr.mode))
            inspect_content(eng, e);
        if (S_ISLNK(e->attr.mode) && eng_readlink(eng, e->attr.ino, e->link, sizeof e->link) < 0)
            (void)snprintf(e->link, sizeof e->link, "?");
        inspect_xattrs(eng, e);
        for (unsigned k = 0; k < e->n_pieces; k++)
            t->n_bad += e->bad[k] != 0;
        for (unsigned k = 0; k < e->n_xattrs; k++)
            t->n_bad += e->xattr_bad[k] != 0;
        if (S_ISDIR(e->attr.mode))
            inspect(eng, t, e->attr.ino, e->path);
    }
}

/* An engine that keeps its word otherwise, but of a store that was opened again: answers -EIO to every read;
 * refuses; or hides each memory of which a part is damaged. */
static enum { HONEST, EIO_LIAR, REFUSING_LIAR, HIDING_LIAR, N_LIARS } liar;
static const char *const liars[N_LIARS] = {"none", "eio", "refuse", "hide"};

static bool has_damage(const struct entry *e)
{
    bool bad = false;
    for (unsigned k = 0; k < e->n_pieces; k++)
        bad |= e->bad[k] != 0;
    for (unsigned k = 0; k < e->n_xattrs; k++)
        bad |= e->xattr_bad[k] != 0;
    return bad;
}

static void lie(struct tree *t)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->n; i++) {
        struct entry *e = &t->entries[i];
        for (unsigned k = 0; liar == EIO_LIAR && k < e->n_pieces; k++, t->n_bad++)
            e->bad[k] = -EIO;
        if (liar != HIDING_LIAR || !has_damage(e))
            t->entries[kept++] = *e;
    }
    t->n = kept;
}

static struct tree *tree_of(struct eng *eng)
{
    struct tree *t = calloc(1, sizeof *t);
    UNIT_NEED(t);
    inspect(eng, t, ENG_ROOT_INO, "");
    return t;
}

/* Whether `found` is `expect`, but for what may be -EIO by its cost. Tells in `why` where not. */
static bool same_but_for(const struct cost *cost, const struct tree *expect, const struct tree *found,
                         char why[256])
{
    (void)snprintf(why, 256, "%u entries instead of %u (error %d)", found->n, expect->n, found->error);
    if (found->error || found->n != expect->n)
        return false;
    for (unsigned i = 0; i < expect->n; i++) {
        const struct entry *a = &expect->entries[i], *b = &found->entries[i];
        struct eng_attr attr = b->attr;
        attr.generation = a->attr.generation; /* counts placements of this run */
        (void)snprintf(why, 256, "%s became %s, or its attributes differ", a->path, b->path);
        if (strcmp(a->path, b->path) != 0 || memcmp(&a->attr, &attr, sizeof attr) != 0 ||
            strcmp(a->link, b->link) != 0 || a->n_pieces != b->n_pieces || a->n_xattrs != b->n_xattrs)
            return false;
        for (unsigned k = 0; k < a->n_pieces; k++) {
            (void)snprintf(why, 256, "%s: wrong content, or error %d, in piece %u", a->path, b->bad[k], k);
            if (b->bad[k] ? b->bad[k] != -EIO : a->sum[k] != b->sum[k])
                return false;
            (void)snprintf(why, 256, "%s: piece %u is whole, but unreadable", a->path, k);
            if (b->bad[k] && !cost_covers(cost, a->attr.ino, (uint64_t)k * PIECE, PIECE))
                return false;
        }
        for (unsigned k = 0; k < a->n_xattrs; k++) {
            (void)snprintf(why, 256, "%s: attribute %s wrong, or error %d", a->path, a->xattr[k],
                           b->xattr_bad[k]);
            if (strcmp(a->xattr[k], b->xattr[k]) != 0 ||
                (b->xattr_bad[k] ? b->xattr_bad[k] != -EIO : a->xattr_sum[k] != b->xattr_sum[k]))
                return false;
            (void)snprintf(why, 256, "%s: attribute %s is whole, but unreadable", a->path, a->xattr[k]);
            if (b->xattr_bad[k] && !cost_covers(cost, a->attr.ino, EXTENT_XATTR_OFF, 0))
                return false;
        }
    }
    return true;
}

struct told {
    uint64_t inos[MAX_ENTRIES];
    unsigned n;
    bool unexplained;
};

static void record_told(void *arg, const struct eng_damage *d)
{
    struct told *told = arg;
    if (told->n < MAX_ENTRIES)
        told->inos[told->n++] = d->ino;
    told->unexplained |= !d->reason[0];
}

/* Whether each memory that gave -EIO is in the list of damage. */
static bool is_told(struct eng *eng, const struct tree *t)
{
    struct told told = {.n = 0};
    if (eng_damaged(eng, record_told, &told) != 0 || told.unexplained)
        return false;
    for (unsigned i = 0; i < t->n; i++) {
        bool bad = has_damage(&t->entries[i]), listed = liar != HONEST; /* it tells, too */
        for (unsigned k = 0; k < told.n; k++)
            listed |= told.inos[k] == t->entries[i].attr.ino;
        if (bad && !listed)
            return false;
    }
    return true;
}

/* ---- the store ------------------------------------------------------------------------- */

static struct unit whole;
static struct tree *now;
static char settings[1024];

static void add_setting(void *arg, const char *key, const char *value)
{
    char *text = arg;
    size_t n = strlen(text);
    (void)snprintf(text + n, sizeof settings - n, "%s=%s ", key, value);
}

static bool same_settings(struct eng *eng)
{
    char text[sizeof settings] = "";
    return eng_config_each(eng, add_setting, text) == 0 && strcmp(text, settings) == 0;
}

/* What the store showed after each of its last batches, all of which lie in one file and in no checkpoint. */
#define MAX_STATES 8
static struct state {
    uint64_t end; /* of the batch, in that file */
    struct tree *tree;
} states[MAX_STATES];
static unsigned n_states;
static char tail_file[SEGMENT_NAME_SIZE];

static void record_state(struct unit *u, uint64_t end)
{
    UNIT_NEED(n_states < MAX_STATES);
    states[n_states++] = (struct state){end, tree_of(u->eng)};
}

/* What is left when the log ends before `lost_from`. */
static const struct tree *state_before(uint64_t lost_from)
{
    unsigned i = n_states - 1;
    while (i > 0 && states[i].end > lost_from)
        i--;
    return states[i].tree;
}

/* Where those batches of the active segment end that have operations: what follows says that they are
 * durable. */
static uint64_t end_of_operations(struct unit *u)
{
    struct unit_place tail = unit_log_place(u);
    uint64_t end = 0;
    uint8_t *image;
    size_t size;
    UNIT_NEED(simdisk_get(u->disk, tail.name, &image, &size) == 0);
    for (uint64_t at = sizeof(struct segment_header); at < tail.offset;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        UNIT_NEED(h.magic == BATCH_MAGIC);
        at += sizeof h + h.ops_len + h.extents_len;
        end = h.n_ops ? at : end;
    }
    free(image);
    UNIT_NEED(end > 0 && end < tail.offset);
    return end;
}

static void set_times(struct unit *u, uint64_t ino)
{
    struct eng_attr attr = {.mode = 0640, .atime = 1, .mtime = 2};
    UNIT_NEED(eng_setattr(u->eng, ino, &attr, ENG_SET_MODE | ENG_SET_ATIME | ENG_SET_MTIME, NULL) == 0);
}

/* A log segment of which all is live: no compaction moves it, and its summary stays. */
static void fill_sealed(struct unit *u)
{
    unit_file(u, "sealed", 9000, 10);
    UNIT_NEED(commit_begin(u->eng) == 0);
    uint64_t end = u->eng->log.tail;
    int r = log_seal_locked(&u->eng->log);
    (void)commit_end(u->eng, 0);
    UNIT_NEED(r == 0 && segments_size_of(&u->eng->segments, 1) > end);
}

static bool idle;  /* the store in which nothing was done after the compaction */
static bool alone; /* its log has lost its second copy, and only its last file is damaged */

static void fill_store(struct unit *u)
{
    struct eng_attr attr;
    char value[300];
    memset(value, 'v', sizeof value);
    fill_sealed(u);
    uint64_t a = unit_file(u, "a", 100, 1), big = unit_file(u, "big", 9000, 2);
    uint64_t dir = unit_mkdir(u, "dir"), sparse = unit_file(u, "sparse", 50, 3);
    unit_write(u, sparse, 50, 4, 20000);
    unit_create(u, "empty");
    UNIT_NEED(eng_create(u->eng, NULL, dir, "link", S_IFLNK | 0777, 0, "../a", &attr) == 0);
    UNIT_NEED(eng_create(u->eng, NULL, dir, "fifo", S_IFIFO | 0600, 0, NULL, &attr) == 0);
    UNIT_NEED(eng_link(u->eng, NULL, a, dir, "second name", &attr) == 0);
    UNIT_NEED(eng_setxattr(u->eng, a, "user.small", value, 10, 0) == 0);
    UNIT_NEED(eng_setxattr(u->eng, big, "user.large", value, sizeof value, 0) == 0);
    set_times(u, a);
    unit_write(u, big, 5000, 5, 0); /* garbage, and an extent of which only a part is live */
    unit_file(u, "goes", 3000, 6);
    UNIT_NEED(eng_unlink(u->eng, ENG_ROOT_INO, "goes") == 0);
    UNIT_NEED(eng_job_run(u->eng, ENG_JOB_COMPACT, NULL, NULL) == 0); /* survivors, and a checkpoint */
    record_state(u, idle ? end_of_operations(u) : u->eng->log.tail);
    if (idle)
        return;
    uint64_t late = unit_create(u, "late"); /* log behind the checkpoint */
    record_state(u, u->eng->log.tail);
    unit_write(u, late, 500, 7, 0);
    record_state(u, u->eng->log.tail);
    UNIT_NEED(eng_rename(u->eng, NULL, ENG_ROOT_INO, "empty", dir, "moved", 0) == 0);
    record_state(u, u->eng->log.tail);
    unit_write(u, a, 60, 8, 20);
    record_state(u, u->eng->log.tail);
    UNIT_NEED(eng_sync(u->eng) == 0);
    unit_write(u, late, 200, 9, 500); /* not durable; says of the others that they are */
}

/* ---- one case ---------------------------------------------------------------------------- */

static char current[160];
static uint64_t n_cases, n_refused, n_whole, n_older, n_eio, n_failed;
static uint64_t n_free, n_may_refuse; /* by their cost: that must be whole, that may be refused */
static uint64_t n_beneath;            /* beneath an open store */

static void give_up(int sig)
{
    static const char text[] = "not ok - crashed or hung: ";
    (void)!write(STDOUT_FILENO, text, sizeof text - 1);
    (void)!write(STDOUT_FILENO, current, strlen(current));
    (void)!write(STDOUT_FILENO, "\n0 passed, 1 failed\n", 20);
    (void)signal(sig, SIG_DFL);
    (void)raise(sig);
}

static void failed(const char *why)
{
    if (n_failed++ < (liar ? 1 : FAILURES_SHOWN))
        printf("not ok - %s: %s\n", current, why);
}

static void count_problem(void *arg, const char *line)
{
    (void)line;
    ++*(unsigned *)arg;
}

/*
 * What was opened must be right. The log may end where the damage begins if that took all that is
 * behind it, too, and so every word about it having been durable: which is what a power cut leaves.
 */
static void judge_opened(struct unit *c, const struct cost *cost)
{
    char why[256], why_older[256];
    unsigned told = 0;
    struct eng_job_report report;
    struct tree *t = tree_of(c->eng);
    if (liar)
        lie(t);
    bool newest = same_but_for(cost, now, t, why);
    if (!newest &&
        !(cost->lost_from != COST_NO_LOSS && same_but_for(cost, state_before(cost->lost_from), t, why_older)))
        failed(cost->lost_from == COST_NO_LOSS ? why : why_older);
    else if (!is_told(c->eng, t))
        failed("damaged content is not listed");
    else if (!same_settings(c->eng))
        failed("a setting is another");
    else if (eng_job_run(c->eng, ENG_JOB_CHECK,
                         &(struct eng_job_options){.on_problem = count_problem, .problem_arg = &told},
                         &report) != 0 ||
             (t->n_bad && !told && !liar))
        failed("check does not tell of it");
    else if (t->n_bad)
        n_eio++;
    else
        *(t->n_bad ? &n_eio : newest ? &n_whole : &n_older) += 1;
    if (!c->opt.read_only && !n_failed && !liar) { /* work goes on, and loses nothing more */
        unit_file(c, "after", 100, 10);
        UNIT_NEED(eng_unlink(c->eng, ENG_ROOT_INO, "after") == 0);
        (void)eng_job_run(c->eng, ENG_JOB_COMPACT, NULL, NULL);
        struct tree *after = tree_of(c->eng);
        unsigned before = t->n_bad;
        for (unsigned i = 0; i < t->n; i++) /* what was lost may not become something else */
            for (unsigned k = 0; k < t->entries[i].n_pieces && i < after->n; k++)
                if (t->entries[i].bad[k] && !after->entries[i].bad[k])
                    failed("a compaction made damaged content readable");
        if (after->n != t->n || after->n_bad > before)
            failed("a compaction lost more");
        free(after);
    }
    free(t);
}

/* Calls that change the disk; flushing it does not. */
static uint64_t changes(struct simdisk *disk)
{
    return simdisk_calls(disk, false) - simdisk_calls_of(disk, SIM_DATASYNC) -
           simdisk_calls_of(disk, SIM_SYNCDIR);
}

static bool unreadable; /* the damage is bytes that cannot be read */
static bool headless;   /* they are the header of a segment */

static uint64_t n_salvaged, n_pieces;

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg, (void)piece, (void)data;
    n_pieces++;
    return 0;
}

/* A salvage opens what an opening refuses, shows what an opening would show, and changes nothing. */
static void judge_salvaged(const struct unit *of, const struct cost *cost)
{
    struct unit c;
    char why[256], why_older[256];
    unit_clone(&c, of);
    c.opt.read_only = c.opt.salvage = true;
    int r = unit_try_open(&c);
    if (r) {
        (void)snprintf(why, sizeof why, "cannot be salvaged: %.200s", c.why);
        failed(why);
    } else {
        struct tree *t = tree_of(c.eng);
        if (!cost->may_refuse && !same_but_for(cost, now, t, why) &&
            !(cost->lost_from != COST_NO_LOSS &&
              same_but_for(cost, state_before(cost->lost_from), t, why_older)))
            failed("a salvage shows something else");
        if (eng_lost(c.eng, take_piece, NULL) != 0)
            failed("the search for what was lost fails");
        free(t);
        n_salvaged++;
    }
    if (changes(c.disk) != 0)
        failed("a salvage has changed something");
    unit_done(&c);
}

#define MAX_LOST 256
static struct lost {
    struct eng_lost piece;
    uint8_t *data;
} lost[MAX_LOST];
static unsigned n_lost;
static uint64_t n_back, n_from_pieces;

static int keep_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    if (n_lost == MAX_LOST)
        return -ENOSPC;
    uint8_t *copy = malloc(piece->size);
    UNIT_NEED(copy);
    memcpy(copy, data, piece->size);
    lost[n_lost++] = (struct lost){*piece, copy};
    return 0;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = ((const struct lost *)a)->piece.seq, y = ((const struct lost *)b)->piece.seq;
    return (x > y) - (x < y);
}

/* Whether the pieces, the younger over the older, make piece k of the file, over what its name leads to. */
static bool pieces_make(struct eng *eng, const struct entry *e, unsigned k)
{
    uint8_t buf[PIECE] = {0};
    uint64_t from = (uint64_t)k * PIECE, size = MIN_OF(PIECE, e->attr.size - from);
    if (eng_read(eng, e->attr.ino, buf, size, from) < 0)
        memset(buf, 0, sizeof buf);
    for (unsigned i = 0; i < n_lost; i++) {
        const struct eng_lost *p = &lost[i].piece;
        uint64_t at = MAX_OF(from, p->offset), end = MIN_OF(from + size, p->offset + p->size);
        if (p->ino == e->attr.ino && at < end)
            memcpy(buf + (at - from), lost[i].data + (at - p->offset), end - at);
    }
    return codec_hash(buf, size) + size == e->sum[k];
}

static bool named_is(const struct tree *t, const struct entry *e, unsigned k)
{
    for (unsigned i = 0; i < t->n; i++) {
        const struct entry *b = &t->entries[i];
        if (!strcmp(b->path, e->path) && k < b->n_pieces && !b->bad[k] && b->sum[k] == e->sum[k])
            return true;
    }
    return false;
}

/* Of a store that was refused all content comes back of files in whose content the damage does not lie. But
 * a file of which the first sector cannot be read may be anything, and is not looked at. */
static void expect_content(struct unit *c, const struct cost *cost)
{
    c->opt.read_only = c->opt.salvage = true;
    UNIT_NEED(unit_try_open(c) == 0); /* judge_salvaged() was here */
    struct tree *t = tree_of(c->eng);
    if (eng_lost(c->eng, keep_piece, NULL) != 0)
        failed("what was lost is not handed out");
    if (n_lost)
        qsort(lost, n_lost, sizeof *lost, by_seq);
    for (unsigned i = 0; i < now->n; i++) {
        const struct entry *e = &now->entries[i];
        for (unsigned k = 0; k < e->n_pieces; k++) {
            bool named = named_is(t, e, k), found = named || pieces_make(c->eng, e, k);
            n_from_pieces += found && !named;
            if (!found && !cost_covers(cost, e->attr.ino, 0, e->attr.size)) {
                char why[160];
                (void)snprintf(why, sizeof why, "%s: piece %u is whole, and no salvage finds it", e->path, k);
                failed(why);
            }
        }
    }
    n_back++;
    while (n_lost)
        free(lost[--n_lost].data);
    free(t);
}

static void judge(struct unit *c, const struct cost *cost, bool read_only)
{
    (void)alarm(CASE_SECONDS);
    if (!liar)
        judge_salvaged(c, cost);
    n_cases++;
    n_free += cost_is_none(cost);
    n_may_refuse += cost->may_refuse;
    c->opt.read_only = read_only;
    int r = unit_try_open(c);
    bool refused = r != 0 || liar == REFUSING_LIAR;
    if (!refused) {
        judge_opened(c, cost);
    } else if (!cost->may_refuse) {
        char why[256];
        (void)snprintf(why, sizeof why, "refused, although what was damaged is not needed: %.200s", c->why);
        failed(why);
    } else if (!liar) {
        n_refused++;
        if (!c->why[0])
            failed("refused without a word");
        if (r != -EBADMSG && r != -EPROTONOSUPPORT && r != -ENOENT && r != -ENOTEMPTY &&
            (r != -EIO || !unreadable))
            failed("refused with an error that does not say damage");
        if (changes(c->disk) != 0)
            failed("changed something although it refused");
        if (!headless)
            expect_content(c, cost);
    }
    unit_done(c);
}

/* ---- the cases ------------------------------------------------------------------------------ */

struct file {
    char name[32];
    uint8_t *data;
    size_t size;
};
static struct file files[32];
static unsigned n_files;
static uint64_t stride = 1, open_stride;
static const char *only;

static void record_file(void *arg, const char *name, uint64_t size)
{
    (void)arg, (void)size;
    UNIT_NEED(n_files < ARRAY_LEN(files));
    struct file *f = &files[n_files++];
    (void)snprintf(f->name, sizeof f->name, "%s", name);
    UNIT_NEED(simdisk_get(whole.disk, name, &f->data, &f->size) == 0);
}

static void make_store(void)
{
    unit_new(&whole, 0);
    UNIT_NEED(eng_config_set(whole.eng, "auto_compact", "0") == 0);
    UNIT_NEED(eng_config_set(whole.eng, "checkpoint_bytes", "987654321") == 0);
    fill_store(&whole);
    segment_name(whole.eng->log.active->id, tail_file);
    now = tree_of(whole.eng);
    settings[0] = 0;
    UNIT_NEED(eng_config_each(whole.eng, add_setting, settings) == 0);
    cost_learn(&whole, states[0].end, states[n_states - 1].end);
    unit_kill(&whole, SIM_KEEP_ALL, 0);
    if (alone) {
        unit_without_echo(&whole);
        cost_learn_alone(whole.disk);
    }
    simdisk_each(whole.disk, record_file, NULL);
}

/* Bytes that mean nothing, whatever they are: of them a few are enough. */
static bool is_reserve(const struct file *f)
{
    return strcmp(f->name, "reserve") == 0;
}

__attribute__((format(printf, 1, 2))) static bool begin(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = snprintf(current, sizeof current, "%s%s", idle ? "idle: " : "", alone ? "alone: " : "");
    (void)vsnprintf(current + n, sizeof current - (size_t)n, format, ap);
    va_end(ap);
    return !only || strcmp(only, current) == 0;
}

static void put_case(const char *name, const uint8_t *data, size_t size, struct cost cost, bool read_only)
{
    struct unit c;
    unit_clone(&c, &whole);
    simdisk_put(c.disk, name, data, size);
    judge(&c, &cost, read_only);
}

static void flip_every_bit(const struct file *f, uint64_t *bits)
{
    uint64_t step = is_reserve(f) ? f->size / 64 : 1;
    for (uint64_t at = 0; at < f->size; at += step)
        for (unsigned bit = 0; bit < 8; bit++) {
            if ((at * 8 + bit) % stride || !begin("flip %s %llu.%u", f->name, (unsigned long long)at, bit))
                continue;
            struct unit c;
            unit_clone(&c, &whole);
            UNIT_NEED(simdisk_flip(c.disk, f->name, at, (uint8_t)(1u << bit)) == 0);
            struct cost cost = cost_of(f->name, at, at + 1);
            judge(&c, &cost, bit != 3);
            ++*bits;
        }
}

/* Flips that bit in the other of two files that are the same byte for byte, if it is there. */
static void flip_in_copy(struct simdisk *disk, const char *name, uint64_t at, unsigned bit)
{
    static const char *const ends[][2] = {{".ckp", ".cpy"}, {".cpy", ".ckp"}, {".copy", ""}, {"", ".copy"}};
    size_t len = strlen(name), i = 0;
    char other[80];
    while (len < strlen(ends[i][0]) || strcmp(name + len - strlen(ends[i][0]), ends[i][0]) != 0)
        i++;
    (void)snprintf(other, sizeof other, "%.*s%s", (int)(len - strlen(ends[i][0])), name, ends[i][1]);
    int r = simdisk_flip(disk, other, at, (uint8_t)(1u << bit));
    UNIT_NEED(r == 0 || r == -ENOENT || r == -ERANGE);
}

/*
 * The same beneath an open store: a scrub, or a check, makes good whatever a recovery needs, and
 * that stays so however the store ends, and although the copy that might stand in is damaged
 * afterwards. Content alone may be lost, of those memories that have it. */
static void flip_beneath(const struct file *f, uint64_t at, unsigned bit)
{
    struct unit c;
    unit_clone(&c, &whole);
    unit_open(&c);
    UNIT_NEED(simdisk_flip(c.disk, f->name, at, (uint8_t)(1u << bit)) == 0);
    UNIT_NEED(eng_job_run(c.eng, at % 3 ? ENG_JOB_SCRUB : ENG_JOB_CHECK, NULL, NULL) == 0);
    n_beneath++;
    flip_in_copy(c.disk, f->name, at, bit);
    if (at / 3 % 2)
        unit_close(&c);
    else
        unit_kill(&c, SIM_DROP_ALL, 0);
    struct cost cost = cost_of(f->name, at, at + 1);
    cost.may_refuse = false;
    cost.lost_from = COST_NO_LOSS;
    judge(&c, &cost, bit % 2);
}

static void flip_beneath_open_stores(uint64_t every)
{
    for (unsigned i = 0; i < n_files; i++) {
        const struct file *f = &files[i];
        if (is_reserve(f))
            continue;
        for (uint64_t at = 0; at < f->size; at++)
            for (unsigned bit = 0; bit < 8; bit++)
                if ((at * 8 + bit) % every == 0 &&
                    begin("flip open %s %llu.%u", f->name, (unsigned long long)at, bit))
                    flip_beneath(f, at, bit);
    }
}

static void cut_at_every_length(const struct file *f)
{
    uint64_t step = is_reserve(f) ? f->size / 16 : 1;
    for (uint64_t size = 0; size < f->size; size += step)
        if (size % (stride > 4 ? 4 : stride) == 0 && begin("cut %s %llu", f->name, (unsigned long long)size))
            put_case(f->name, f->data, size, cost_of(f->name, size, f->size), size % 5 != 0);
}

static void overwrite_blocks(const struct file *f, size_t block, uint8_t value)
{
    uint8_t *copy = malloc(f->size + 1);
    UNIT_NEED(copy);
    for (uint64_t at = 0; at < f->size && at < (is_reserve(f) ? 4 * block : f->size); at += block) {
        size_t len = MIN_OF(block, f->size - at);
        if (!begin("fill %s %llu+%zu with %02x", f->name, (unsigned long long)at, len, value))
            continue;
        memcpy(copy, f->data, f->size);
        memset(copy + at, value, len);
        put_case(f->name, copy, f->size, cost_of(f->name, at, at + len), false);
    }
    free(copy);
}

/* A bad sector, or a page of them, costs no more than wrong bytes there, and is as little served. */
static void spoil_sectors(const struct file *f, size_t sector)
{
    unreadable = true;
    for (uint64_t at = 0; at < f->size && at < (is_reserve(f) ? 4 * sector : f->size); at += sector)
        for (int ro = 0; ro < 2; ro++) {
            if (!begin("spoil %s %llu+%zu %s", f->name, (unsigned long long)at, sector, ro ? "ro" : "rw"))
                continue;
            struct unit c;
            struct cost cost = cost_of(f->name, at, MIN_OF(at + sector, f->size));
            if (cost.lost_from < sizeof(struct segment_header)) /* who knows whether the log goes on in it */
                cost.may_refuse = true;
            unit_clone(&c, &whole);
            UNIT_NEED(simdisk_spoil(c.disk, f->name, at, at + sector) == 0);
            headless = at == 0 && strstr(f->name, ".seg");
            judge(&c, &cost, ro);
        }
    unreadable = headless = false;
}

static bool alike(const struct file *a, const struct file *b)
{
    const char *x = strrchr(a->name, '.'), *y = strrchr(b->name, '.');
    return x && y && strcmp(x, y) == 0;
}

static struct cost cost_of_both(const struct file *f, const struct file *g)
{
    struct cost a = cost_of(f->name, 0, f->size), b = cost_of(g->name, 0, g->size);
    a.may_refuse |= b.may_refuse || strstr(f->name, ".ckp"); /* both checkpoints */
    a.lost_from = MIN_OF(a.lost_from, b.lost_from);
    for (unsigned i = 0; i < b.n && a.n < COST_PIECES_MAX; i++)
        a.pieces[a.n++] = b.pieces[i];
    return a;
}

static void exchange_and_double(void)
{
    for (unsigned i = 0; i < n_files; i++) {
        struct file *f = &files[i];
        struct unit c;
        if (begin("remove %s", f->name)) {
            unit_clone(&c, &whole);
            UNIT_NEED(simdisk_remove(c.disk, f->name) == 0);
            struct cost cost = cost_of(f->name, 0, f->size);
            judge(&c, &cost, false);
        }
        for (unsigned k = 0; k < n_files; k++) {
            struct file *g = &files[k];
            if (i == k || !alike(f, g))
                continue;
            if (begin("put %s in place of %s", f->name, g->name))
                put_case(g->name, f->data, f->size, cost_of(g->name, 0, g->size), false);
            if (i < k && begin("swap %s and %s", f->name, g->name)) {
                unit_clone(&c, &whole);
                simdisk_put(c.disk, g->name, f->data, f->size);
                simdisk_put(c.disk, f->name, g->data, g->size);
                struct cost cost = cost_of_both(f, g);
                judge(&c, &cost, false);
            }
        }
        const char *doubled = strstr(f->name, ".seg")   ? "s00000099.seg"
                              : strstr(f->name, ".log") ? "e00000099.log"
                                                        : "c0000000000000099.ckp";
        if (strchr(f->name, '.') && begin("double %s as %s", f->name, doubled))
            put_case(doubled, f->data, f->size, (struct cost){.lost_from = COST_NO_LOSS}, false);
    }
}

/* All of them; of a liar only up to the first that catches it. Returns the bits flipped. */
static uint64_t every_case(void)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < n_files && !(liar && n_failed); i++) {
        if (alone && strcmp(files[i].name, tail_file) != 0)
            continue;
        if (!liar)
            printf("# %s: %zu bytes\n", files[i].name, files[i].size);
        flip_every_bit(&files[i], &bits);
        cut_at_every_length(&files[i]);
        overwrite_blocks(&files[i], 512, 0);
        overwrite_blocks(&files[i], 4096, 0);
        overwrite_blocks(&files[i], 512, 0xff);
        spoil_sectors(&files[i], 512);
        spoil_sectors(&files[i], 4096);
    }
    if (!alone)
        exchange_and_double();
    return bits;
}

/* What was counted, against what the layout of the files foretold; and that this forbids enough. */
static void within_bounds(uint64_t bits)
{
    printf("# %llu cases salvaged, with %llu pieces of what was lost\n", (unsigned long long)n_salvaged,
           (unsigned long long)n_pieces);
    printf("# %llu bits flipped beneath open stores\n", (unsigned long long)n_beneath);
    printf("# %llu bits flipped (every %lluth); %llu cases: %llu refused (of %llu that may be), %llu whole "
           "(%llu "
           "must be), %llu without the last batch, %llu with damaged memories\n",
           (unsigned long long)bits, (unsigned long long)stride, (unsigned long long)n_cases,
           (unsigned long long)n_refused, (unsigned long long)n_may_refuse, (unsigned long long)n_whole,
           (unsigned long long)n_free, (unsigned long long)n_older, (unsigned long long)n_eio);
    printf("# of %llu that were refused all content came back, %llu parts of files from pieces\n",
           (unsigned long long)n_back, (unsigned long long)n_from_pieces);
    (void)begin("counts");
    if (!n_back || !n_from_pieces || n_refused > n_may_refuse || n_whole < n_free || !n_eio || !n_older)
        failed("not what the layout of the files says");
    if (n_may_refuse > n_cases / 2 || n_free < n_cases / 4)
        failed("too much is allowed");
}

static void forget_store(void)
{
    while (n_files)
        free(files[--n_files].data);
    unit_done(&whole);
    free(now);
    cost_forget();
    while (n_states)
        free(states[--n_states].tree);
}

/* A test that cannot fail proves nothing: each liar must be caught. The number of those that are. */
static unsigned catch_liars(void)
{
    unsigned caught = 0;
    uint64_t honest = n_failed;
    for (liar = EIO_LIAR; liar < N_LIARS; liar++) {
        n_failed = 0;
        (void)every_case();
        printf("# liar '%s': %s\n", liars[liar], n_failed ? "caught" : "NOT CAUGHT");
        caught += n_failed > 0;
    }
    liar = HONEST;
    n_failed = honest + (N_LIARS - 1 - caught);
    return caught;
}

int main(int argc, char **argv)
{
    const char *mode = getenv("ENGRAM_TEST_MODE");
    stride = mode && !strcmp(mode, "quick") ? 61 : mode && !strcmp(mode, "full") ? 1 : 11;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--stride"))
            stride = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--only"))
            only = argv[i + 1], stride = 1;
        else if (!strcmp(argv[i], "--open"))
            open_stride = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--liar"))
            while (++liar < N_LIARS && strcmp(argv[i + 1], liars[liar]) != 0)
                ;
    }
    if (!stride || liar == N_LIARS)
        return 2;
    (void)signal(SIGALRM, give_up);
    (void)signal(SIGSEGV, give_up);
    (void)signal(SIGABRT, give_up);
#if !defined(__SANITIZE_ADDRESS__)
    (void)setrlimit(RLIMIT_AS, &(struct rlimit){MEMORY_LIMIT, MEMORY_LIMIT});
#endif
    uint64_t bits = 0;
    for (unsigned i = 0; !open_stride && !liar && i < 3; i++) { /* the others first */
        idle = i < 2;
        alone = i > 0;
        make_store();
        bits += every_case();
        forget_store();
    }
    idle = alone = false;
    make_store();
    bits += open_stride ? 0 : every_case();
    if (!liar)
        flip_beneath_open_stores(open_stride ? open_stride : only ? 1 : OPEN_STRIDE * stride);
    uint64_t passed = n_cases - n_failed;
    if (!only && !liar && !open_stride) {
        within_bounds(bits);
        passed += catch_liars();
    }
    (void)alarm(0);
    printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)n_failed);
    forget_store();
    return n_failed || !n_cases;
}
