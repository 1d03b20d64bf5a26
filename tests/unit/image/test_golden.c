/*
 * test_golden.c - stores as bytes: two of format version 1 (golden_v1.h), one
 * that died, so that all is in its log, and one that was closed, so that all
 * is in its checkpoint; two such of version 2, and one that has a history,
 * past states, past names and a snapshot (golden_v2.h). All must open and mean what they meant when they were
 * written. When this fails, stores that people have do not open any more:
 * then the format version changes, and new images are added beside these.
 *
 *     GOLDEN=print test_golden        prints golden_v2.h anew */
#include "inside.h"

#include "golden_v1.h"
#include "golden_v2.h"
#include "past_states.h"
#include "unit_store.h"

#include "index/moments.h"
#include "index/past_names.h"
#include "index/times.h"

#include <criterion/criterion.h>

static struct unit u;

/* What a store has beside what expect_filled() names. */
static struct more {
    uint64_t memories, live, total;
} more;

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(golden, .fini = teardown);

/* ---- what is in the stores -------------------------------------------------------------- */

static uint64_t make(uint64_t dir, const char *name, uint32_t mode, const char *target)
{
    struct eng_attr attr;
    struct eng_caller who = {.uid = 1001, .gid = 1002};
    cr_assert_eq(eng_create(u.eng, &who, dir, name, mode, 0x105, target, &attr), 0);
    return attr.ino;
}

static void fill(void)
{
    struct eng_attr attr = {.mtime = 1000000000000000001, .atime = -7};
    char text[300], value[80];
    memset(text, 'b', sizeof(text));
    memset(value, 'v', sizeof(value));
    uint64_t dir = make(1, "dir", S_IFDIR | 0750, NULL), file = make(dir, "hello", S_IFREG | 0640, NULL);
    cr_assert_eq(eng_write(u.eng, file, "hello world\n", 12, 0), 12);
    cr_assert_eq(eng_setxattr(u.eng, file, "user.engram.confidence", "0.75", 4, 0), 0);
    cr_assert_eq(eng_setxattr(u.eng, file, "user.engram.embedding", value, sizeof(value), 0), 0);
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_MTIME | ENG_SET_ATIME, NULL), 0);
    cr_assert_eq(eng_link(u.eng, NULL, file, 1, "hard", &attr), 0);
    uint64_t cut = make(1, "cut", S_IFREG | 0600, NULL);
    cr_assert_eq(eng_write(u.eng, cut, text, sizeof(text), 0), 300);
    cr_assert_eq(eng_write(u.eng, cut, "XXXXX", 5, 100), 5);
    cr_assert_eq(eng_fallocate(u.eng, cut, ENG_FALLOC_PUNCH_HOLE | ENG_FALLOC_KEEP_SIZE, 200, 50), 0);
    attr.size = 280;
    cr_assert_eq(eng_setattr(u.eng, cut, &attr, ENG_SET_SIZE, NULL), 0);
    (void)make(1, "sym", S_IFLNK | 0777, "dir/hello");
    (void)make(1, "dev", S_IFCHR | 0666, NULL);
    (void)make(1, "gone", S_IFREG | 0600, NULL);
    cr_assert_eq(eng_unlink(u.eng, 1, "gone"), 0);
    (void)make(1, "old name", S_IFREG | 0600, NULL);
    cr_assert_eq(eng_rename(u.eng, NULL, 1, "old name", dir, "new name", 0), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
}

static uint64_t at(uint64_t dir, const char *name, struct eng_attr *ret_attr)
{
    cr_assert_eq(eng_lookup(u.eng, NULL, dir, name, ret_attr), 0, "%s", name);
    return ret_attr->ino;
}

static void expect_filled(void)
{
    struct eng_attr a;
    char buf[400], cut[280];
    uint64_t dir = at(1, "dir", &a), file;
    cr_assert(a.mode == (S_IFDIR | 0750) && a.size == 2 && a.nlink == 2);
    file = at(dir, "hello", &a);
    cr_assert(a.mode == (S_IFREG | 0640) && a.uid == 1001 && a.gid == 1002 && a.nlink == 2);
    cr_assert(a.mtime == 1000000000000000001 && a.atime == -7 && a.version == 1);
    cr_assert(unit_holds_bytes(&u, file, "hello world\n", 12));
    cr_assert_eq(eng_getxattr(u.eng, file, "user.engram.confidence", buf, 400), 4);
    cr_assert_eq(memcmp(buf, "0.75", 4), 0);
    cr_assert_eq(eng_getxattr(u.eng, file, "user.engram.embedding", buf, 400), 80);
    cr_assert(buf[0] == 'v' && buf[79] == 'v');
    cr_assert_eq(at(1, "hard", &a), file);
    uint64_t holes = at(1, "cut", &a);
    memset(cut, 'b', sizeof(cut));
    memset(cut + 100, 'X', 5);
    memset(cut + 200, 0, 50);
    cr_assert(unit_holds_bytes(&u, holes, cut, sizeof(cut)));
    cr_assert_eq(a.bytes, 230);
    cr_assert_eq(eng_readlink(u.eng, at(1, "sym", &a), buf, 400), 9);
    cr_assert_str_eq(buf, "dir/hello");
    (void)at(1, "dev", &a);
    cr_assert(S_ISCHR(a.mode) && a.rdev == 0x105);
    cr_assert_eq(eng_lookup(u.eng, NULL, 1, "gone", &a), -ENOENT);
    (void)at(dir, "new name", &a);
    struct eng_stats st = unit_stats(&u);
    cr_assert(st.memories == 3 + more.memories && st.directories == 2 && st.other_inodes == 2);
    cr_assert(st.live_bytes == 12 + 80 + 230 + more.live && st.total_bytes == 12 + 80 + 305 + more.total);
    cr_assert_eq(unit_problems(&u), 0);
}

/* ---- and in the one that has a history ------------------------------------------------------ */

#define LINES "line one..line two..line three line four.line five.line six..line seven line eight "
#define LINE 10u
#define N_LINES 8u

static struct op *stage(struct txn *txn, enum op_type type, uint8_t flags, const char *name, uint64_t ino)
{
    struct op *op = txn_op(txn, type);
    cr_assert(op);
    op->flags = flags;
    op->parent = ENG_ROOT_INO;
    op->ino = ino;
    op->time = 1000000000000000002;
    op->name = name;
    op->name_len = name ? (uint16_t)strlen(name) : 0;
    return op;
}

static void commit(struct txn *txn)
{
    cr_assert_eq(commit_begin(u.eng), 0);
    cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, txn)), 0);
    txn_reset(txn);
}

/* A state is kept, and in the same batch a field comes that it has not. */
static void keep_and_set_field(uint64_t ino)
{
    CLEANUP_TXN struct txn txn = {0};
    stage(&txn, OP_KEEP, 0, NULL, ino)->past = index_predict_ino(&u.eng->idx, NULL);
    struct op *op = stage(&txn, OP_XATTR_SET, 0, "user.later", ino);
    op->value = "1";
    op->value_len = 1;
    commit(&txn);
}

/* A name that is removed, and one that another replaces: all are kept. */
static void end_names(void)
{
    CLEANUP_TXN struct txn txn = {0};
    uint64_t left = make(1, "left", S_IFREG | 0600, NULL), old = make(1, "taken", S_IFREG | 0600, NULL),
             new = make(1, "taking", S_IFREG | 0600, NULL);
    cr_assert_eq(eng_write(u.eng, left, "5 now", 5, 0), 5);
    cr_assert_eq(eng_write(u.eng, old, "old one", 7, 0), 7);
    cr_assert_eq(eng_write(u.eng, new, "newer.", 6, 0), 6);
    (void)stage(&txn, OP_UNLINK, OP_KEPT, "left", left);
    commit(&txn);
    stage(&txn, OP_REPOINT, OP_KEPT, "taken", new)->other = old;
    (void)stage(&txn, OP_UNLINK, OP_KEPT | OP_MOVED, "taking", new);
    commit(&txn);
}

/* What has gone from the past again: a state, a name, and a snapshot. */
static void let_go(uint64_t ino)
{
    CLEANUP_TXN struct txn txn = {0};
    uint64_t batch, brief = make(1, "brief", S_IFREG | 0600, NULL);
    uint32_t d = index_find_name(&u.eng->idx, ENG_ROOT_INO, "brief", 5);
    struct op gone = {.type = OP_DROP_NAME, .parent = ENG_ROOT_INO, .ino = brief};
    gone.cookie = index_dentry(&u.eng->idx, d)->cookie;
    drop_state(&u, keep_state(&u, ino));
    (void)stage(&txn, OP_UNLINK, OP_KEPT, "brief", brief);
    commit(&txn);
    gone.end = u.eng->log.seq;
    (void)past_commit_op(&u, &gone);
    cr_assert_eq(eng_snapshot_create(u.eng, "gone", &batch), 0);
    (void)past_commit_op(&u, &(struct op){.type = OP_SNAPSHOT_NAME, .batch = batch});
}

#define MOMENT_TIME INT64_C(1000000000000000002)

/* For a moment the past is whole, and then not any more: nothing is kept of what a test changes. */
static void keep_history(void)
{
    struct op floor = {.type = OP_FLOOR, .reason = FLOOR_ON, .batch = u.eng->log.seq};
    (void)past_commit_op(&u, &floor);
    (void)past_commit_op(&u, &(struct op){.type = OP_MOMENT, .time = MOMENT_TIME, .age = 77});
    floor = (struct op){.type = OP_FLOOR, .reason = FLOOR_OFF, .batch = FLOOR_NONE};
    (void)past_commit_op(&u, &floor);
}

/* The last line takes the others along. */
static void fill_past(void)
{
    uint64_t ino = make(1, "log", S_IFREG | 0600, NULL);
    for (unsigned i = 0; i < N_LINES; i++) {
        if (i == 3)
            (void)keep_state(&u, ino);
        cr_assert_eq(eng_append(u.eng, ino, &LINES[i * LINE], LINE, NULL), LINE);
    }
    cr_assert_eq(unit_extents(&u, ino), 1);
    (void)keep_state(&u, ino);
    cr_assert_eq(eng_write(u.eng, ino, "XXXX", 4, 2), 4);
    keep_and_set_field(ino);
    end_names();
    let_go(ino);
    keep_history();
    cr_assert_eq(eng_sync(u.eng), 0);
}

/* The slot that a name in the root led to, when it first led to one. */
static uint32_t first_at(const char *name)
{
    uint32_t slot = 0;
    for (uint64_t seq = 1; !slot && seq <= u.eng->log.seq; seq++)
        slot = index_name_at(&u.eng->idx, ENG_ROOT_INO, name, strlen(name), seq);
    cr_assert(slot, "%s", name);
    return slot;
}

static uint64_t first_ino_at(const char *name)
{
    uint32_t slot = first_at(name);
    return index_ino(index_slot(&u.eng->idx, slot), slot);
}

static void expect_moment(void)
{
    const struct index *idx = &u.eng->idx;
    const struct moment_rec *m = index_moment(idx, index_moment_by(idx, UINT64_MAX));
    cr_assert(m && m->time == MOMENT_TIME && m->age == 77 && idx->s.age == 77);
    cr_assert_eq(idx->s.floor, FLOOR_NONE);
}

static void expect_past(void)
{
    struct eng_attr a;
    struct xattr_view x;
    uint8_t lines[] = LINES;
    uint64_t ino = at(1, "log", &a), states[3];
    uint32_t slot = index_inode(&u.eng->idx, ino)->past;
    for (unsigned i = 0; i < 3; i++, slot = index_slot(&u.eng->idx, slot)->past)
        states[i] = index_ino(index_slot(&u.eng->idx, slot), slot);
    cr_assert(!slot && u.eng->idx.s.n_past == 4 && u.eng->idx.s.n_past_names == 3, "and one of the root");
    uint32_t snapshot = index_find_snapshot(&u.eng->idx, "golden", 6);
    cr_assert(snapshot && !index_find_snapshot(&u.eng->idx, "gone", 4));
    cr_assert_eq(index_moment(&u.eng->idx, snapshot)->batch, u.eng->idx.s.newest_snapshot);
    cr_assert_eq(
        index_slot(&u.eng->idx, past_at(&u.eng->idx, ENG_ROOT_INO, u.eng->idx.s.newest_snapshot))->size, 0);
    cr_assert(past_holds_bytes(&u, states[2], lines, 3 * LINE));
    cr_assert(past_holds_bytes(&u, states[1], lines, N_LINES * LINE));
    memset(lines + 2, 'X', 4);
    cr_assert(past_holds_bytes(&u, states[0], lines, N_LINES * LINE));
    cr_assert(unit_holds_bytes(&u, ino, lines, N_LINES * LINE));
    cr_assert_eq(past_xattr(&u.eng->idx, ino_slot(states[0]), "user.later", 10, &x), 1);
    cr_assert_eq(eng_getxattr(u.eng, ino, "user.later", lines, 1), 1);
    cr_assert_eq(u.eng->idx.s.past_live, 4);
    cr_assert_eq(unit_lookup(&u, "left") + unit_lookup(&u, "taking"), 0);
    cr_assert(unit_holds_bytes(&u, first_ino_at("left"), "5 now", 5));
    cr_assert(unit_holds_bytes(&u, first_ino_at("taken"), "old one", 7));
    cr_assert_eq(first_ino_at("taking"), at(1, "taken", &a));
    cr_assert(unit_holds_bytes(&u, a.ino, "newer.", 6));
    expect_moment();
}

/* ---- images ------------------------------------------------------------------------------- */

/* Bytes from hexadecimal digits, where "00*12 " stands for twelve zero bytes. Without any: the same as the
 * file before. */
static void put_image(const struct golden_file *f)
{
    static uint8_t image[65536];
    static size_t n;
    n = f->hex ? 0 : n;
    for (const char *p = f->hex ? f->hex : ""; *p;) {
        unsigned byte;
        size_t times = 1;
        char *end;
        cr_assert_eq(sscanf(p, "%2x", &byte), 1);
        p += 2;
        if (*p == '*') {
            times = strtoul(p + 1, &end, 10);
            p = end + 1;
        }
        cr_assert_leq(n + times, sizeof(image));
        memset(image + n, (int)byte, times);
        n += times;
    }
    simdisk_put(u.disk, f->name, image, n);
}

static void print_file(void *arg, const char *name, uint64_t size)
{
    static uint8_t *before;
    static size_t n_before;
    uint8_t *image;
    size_t n, column = 0;
    (void)arg;
    if (strcmp(name, "reserve") == 0 || simdisk_get(u.disk, name, &image, &n) != 0)
        return;
    (void)size;
    if (before && n == n_before && memcmp(image, before, n) == 0) {
        printf("    {\"%s\", NULL},\n", name);
        free(image);
        return;
    }
    printf("    {\"%s\",\n     \"", name);
    for (size_t i = 0; i < n;) {
        size_t run = 1;
        while (i + run < n && image[i + run] == image[i])
            run++;
        if (column > 92) {
            printf("\"\n     \"");
            column = 0;
        }
        column += run > 4 ? (size_t)printf("%02x*%zu ", image[i], run) : (size_t)printf("%02x", image[i]);
        i += run > 4 ? run : 1;
    }
    printf("\"},\n");
    free(before);
    before = image;
    n_before = n;
}

static void print_stores(void)
{
    static const char *const names[] = {"died_v2", "closed_v2", "history"};
    printf("/*\n * golden_v2.h - stores of format version 2, see test_golden.c, which printed this.\n */\n"
           "#ifndef ENGRAMFS_TESTS_GOLDEN_V2_H\n#define ENGRAMFS_TESTS_GOLDEN_V2_H\n\n"
           "#include \"golden_v1.h\"\n\n/* clang-format off */\n");
    for (int which = 0; which < 3; which++) {
        unit_new(&u, 0);
        if (which == 2)
            cr_assert_eq(eng_snapshot_create(u.eng, "golden", NULL), 0);
        fill();
        if (which == 2)
            fill_past();
        if (which)
            unit_close(&u);
        else
            unit_kill(&u, SIM_DROP_ALL, 0);
        printf("static const struct golden_file golden_%s[] = {\n", names[which]);
        simdisk_each(u.disk, print_file, NULL);
        printf("};\n%s", which == 2 ? "/* clang-format on */\n\n#endif\n" : "\n");
        unit_done(&u);
    }
    (void)fflush(stdout);
}

static void open_images(const struct golden_file *files, size_t n, bool read_only)
{
    u.disk = simdisk_new();
    u.opt = (struct eng_options){.no_background = true, .io = simdisk_io(u.disk), .read_only = read_only};
    for (size_t i = 0; i < n; i++)
        put_image(&files[i]);
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
}

static void use_images(const struct golden_file *files, size_t n)
{
    open_images(files, n, true);
    expect_filled();
    unit_done(&u);
    open_images(files, n, false);
    expect_filled();
    unit_reopen(&u);
    expect_filled();
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_file(&u, "added", 1000, 1);
    cr_assert_eq(eng_unlink(u.eng, 1, "added"), 0);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_open(&u);
    cr_assert_eq(unit_stats(&u).live_bytes, 322 + more.live);
}

Test(golden, a_store_that_died_opens_from_its_log)
{
    use_images(golden_died, ARRAY_LEN(golden_died));
    cr_assert_eq(unit_files(&u, ".ckp", NULL) > 0, true);
}

Test(golden, a_store_that_was_closed_opens_from_its_checkpoint)
{
    cr_assert(strstr(golden_closed[0].name, ".ckp"), "the images hold one");
    use_images(golden_closed, ARRAY_LEN(golden_closed));
}

Test(golden, one_of_version_2_that_died)
{
    if (getenv("GOLDEN"))
        print_stores();
    use_images(golden_died_v2, ARRAY_LEN(golden_died_v2));
    cr_assert(!eng_has_history(u.eng));
}

/* Whose next checkpoint has no more tables. */
Test(golden, one_of_version_2_that_was_closed)
{
    use_images(golden_closed_v2, ARRAY_LEN(golden_closed_v2));
    cr_assert_eq(u.eng->checkpoints->images.map.n_tables, INDEX_TABLES_PLAIN);
}

#define MORE_OF_HISTORY                                                                                      \
    (struct more)                                                                                            \
    {                                                                                                        \
        .memories = 2, .live = N_LINES * LINE + 4 + 5 + 7 + 6,                                               \
        .total = (2 * N_LINES - 1) * LINE + 4 + 5 + 7 + 6                                                    \
    }

Test(golden, one_that_has_a_history)
{
    more = MORE_OF_HISTORY;
    open_images(golden_history, ARRAY_LEN(golden_history), true);
    cr_assert(eng_has_history(u.eng));
    cr_assert_eq(u.eng->checkpoints->images.map.n_tables, INDEX_TABLES);
    expect_past();
    unit_done(&u);
    use_images(golden_history, ARRAY_LEN(golden_history));
    cr_assert(eng_has_history(u.eng));
    expect_past();
}

/* Its checkpoint is lost: all is in its log. */
Test(golden, one_that_has_a_history_from_its_log)
{
    more = MORE_OF_HISTORY;
    cr_assert(strstr(golden_history[1].name, ".cpy") && strstr(golden_history[2].name, ".seg"));
    open_images(golden_history + 2, ARRAY_LEN(golden_history) - 2, false);
    expect_filled();
    expect_past();
    unit_reopen(&u);
    expect_filled();
    expect_past();
}
