/*
 * test_moved.c - damage in the log that says where a compaction has moved content, after the segments that it
 * emptied are gone: whatever is damaged, none of the only copies goes. */
#include "inside.h"

#include "hook.h"
#include "one_store.h"

#include <criterion/criterion.h>

#define N_FILES 40
#define SIZE 5000u
#define PAGE 4096u

TestSuite(moved, .init = setup, .fini = teardown, .timeout = 120);

static const char *name_of(unsigned i)
{
    static char name[8];
    (void)snprintf(name, sizeof name, "f%02u", i);
    return name;
}

static struct unit_place end;   /* of the log */
static uint32_t moved_to;       /* the segment of survivors */
static uint64_t relocations;    /* where the last batch of relocations ends */
static struct simdisk *echoing; /* the disk, with its echo */

/* Where the last batch with operations ends, up to `limit` in the last segment. */
static void find_relocations(uint64_t limit)
{
    uint8_t *image;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, end.name, &image, &size), 0);
    for (uint64_t at = sizeof(struct segment_header); at < limit;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        cr_assert_eq(h.magic, BATCH_MAGIC);
        if (h.n_ops)
            relocations = at + sizeof h + h.ops_len + h.extents_len;
        at += sizeof h + h.ops_len + h.extents_len;
    }
    free(image);
    cr_assert_gt(relocations, 0);
}

/* Half of the files are old, and all of them are moved out of their segments, which go; then it dies. What
 * the log loses the echo would have: but for the last test, each is about a store that has none any more. */
static void make_store(bool later)
{
    struct locator loc;
    for (unsigned i = 0; i < N_FILES; i++)
        unit_file(&u, name_of(i), SIZE, i);
    unit_reopen(&u); /* durable long since */
    for (unsigned i = 0; i < N_FILES; i += 2)
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name_of(i)), 0);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert(unit_locator(&u, unit_lookup(&u, name_of(1)), 0, &loc));
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    cr_assert_not(unit_has_segment(&u, loc.seg), "it was emptied, and nothing keeps it");
    cr_assert(unit_locator(&u, unit_lookup(&u, name_of(1)), 0, &loc));
    moved_to = loc.seg;
    uint64_t limit = unit_log_place(&u).offset;
    if (later) {
        unit_file(&u, "later", 100, 1);
        cr_assert_eq(eng_sync(u.eng), 0);
        unit_file(&u, "last", 100, 2);
        cr_assert_eq(eng_sync(u.eng), 0);
    }
    end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    find_relocations(limit);
    echoing = simdisk_clone(u.disk);
    unit_without_echo(&u);
}

static unsigned whole_files(struct unit *c)
{
    unsigned n = 0;
    for (unsigned i = 1; i < N_FILES; i += 2) {
        uint64_t ino = unit_lookup(c, name_of(i));
        n += ino && unit_holds(c, ino, SIZE, i);
    }
    return n;
}

/* Opened twice: either all is there, or the store is refused and still has all its files. */
static void expect_nothing_lost(struct unit *c, const char *what, uint64_t at, unsigned *refused)
{
    unsigned before = unit_files(c, ".seg", NULL);
    int r = unit_try_open(c);
    if (r) {
        cr_assert(c->why[0]);
        cr_assert_null(strstr(c->why, "only copy"), "%s %lu: the log itself says so: %s", what, at, c->why);
        cr_assert_eq(unit_files(c, ".seg", NULL), before, "%s %lu: refused, and files went", what, at);
        ++*refused;
        return;
    }
    cr_assert_eq(whole_files(c), N_FILES / 2, "%s %lu: opened without what was moved", what, at);
    unit_reopen(c);
    cr_assert_eq(whole_files(c), N_FILES / 2, "%s %lu", what, at);
}

/* Bits of the log, one in each copy of the store. How many of these are refused. */
static unsigned flip_bits_of_the_log(void)
{
    unsigned refused = 0;
    for (uint64_t at = 0; at < end.offset; at += at < relocations ? 7 : 61) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, end.name, at, (uint8_t)(1u << at % 8)), 0);
        expect_nothing_lost(&c, "bit", at, &refused);
        unit_done(&c);
    }
    return refused;
}

/* Nothing was written since: only what the compaction itself has written can tell that its batches were
 * durable. */
Test(moved, one_bit_in_what_says_so_costs_nothing)
{
    make_store(false);
    cr_assert_gt(flip_bits_of_the_log(), 10);
}

/* The word about a batch may not go with it: no sector, and no page of memory or disk, has both. */
static void spoil_each(uint64_t size, bool readable)
{
    unsigned refused = 0;
    for (uint64_t at = 0; at < end.offset; at += size) {
        struct unit c;
        uint8_t *image;
        size_t len;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_get(c.disk, end.name, &image, &len), 0);
        if (readable) {
            memset(image + at, 0, MIN_OF(size, len - at));
            simdisk_put(c.disk, end.name, image, len);
        } else {
            cr_assert_eq(simdisk_spoil(c.disk, end.name, at, at + size), 0);
        }
        free(image);
        expect_nothing_lost(&c, readable ? "zeros" : "unreadable", at, &refused);
        unit_done(&c);
    }
    cr_assert_gt(refused, 0);
}

Test(moved, one_bad_page_costs_nothing)
{
    make_store(false);
    for (int readable = 0; readable < 2; readable++) {
        spoil_each(512, readable);
        spoil_each(PAGE, readable);
    }
}

/* ---- salvage ------------------------------------------------------------------------------ */

static unsigned n_pieces, n_right; /* handed out, and those that are a file that was moved */

static int take_piece(void *arg, const struct eng_lost *piece, const void *data)
{
    (void)arg;
    n_pieces++;
    for (unsigned i = 1; i < N_FILES && piece->size == SIZE; i += 2) {
        uint8_t *bytes = unit_bytes(SIZE, i);
        n_right += memcmp(bytes, data, SIZE) == 0;
        free(bytes);
    }
    return 0;
}

static void salvage(struct unit *c)
{
    c->opt.read_only = c->opt.salvage = true;
    cr_assert_eq(unit_try_open(c), 0, "%s", c->why);
    n_pieces = n_right = 0;
    cr_assert_eq(eng_lost(c->eng, take_piece, NULL), 0);
}

/* Where a batch of relocations begins: the last one, or the first. */
static uint64_t find_batch(bool last)
{
    uint8_t *image;
    size_t size;
    uint64_t found = 0;
    cr_assert_eq(simdisk_get(u.disk, end.name, &image, &size), 0);
    for (uint64_t at = sizeof(struct segment_header); at < relocations;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        if (h.n_ops > 1 && (!found || last) && at + sizeof h + h.ops_len <= relocations)
            found = at;
        at += sizeof h + h.ops_len + h.extents_len;
    }
    free(image);
    cr_assert_gt(found, 0);
    return found;
}

static void refuse_and_salvage(bool later)
{
    make_store(later);
    for (int last = 0; last < 2; last++) {
        struct unit c;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_flip(c.disk, end.name, find_batch(last) + 70, 1), 0);
        cr_assert_eq(unit_try_open(&c), -EBADMSG);
        salvage(&c);
        cr_assert_eq(whole_files(&c), N_FILES / 2, "all is there, under its name");
        cr_assert_eq(unit_problems(&c), 1, "that the log was cut short, and nothing else");
        cr_assert_eq(n_right, 0, "and not a second time");
        unit_done(&c);
    }
}

Test(moved, salvage_finds_what_was_moved_behind_the_damage)
{
    refuse_and_salvage(false);
}

Test(moved, the_same_where_work_went_on)
{
    refuse_and_salvage(true);
}

/* Content behind a damaged survivor is not believed to be what the index looks for, but it is handed out. */
Test(moved, what_follows_a_damaged_survivor_is_handed_out)
{
    struct unit c;
    char name[SEGMENT_NAME_SIZE];
    make_store(true);
    unit_clone(&c, &u);
    segment_name(moved_to, name);
    cr_assert_eq(simdisk_flip(c.disk, end.name, find_batch(false) + 70, 1), 0);
    cr_assert_eq(simdisk_flip(c.disk, name, sizeof(struct segment_header) + 3, 1), 0);
    salvage(&c);
    unsigned whole = whole_files(&c);
    cr_assert_lt(whole, N_FILES / 2);
    cr_assert_eq(whole + n_right, N_FILES / 2 - 1, "but for the damaged one");
    unit_done(&c);
}

/* ---- without a word about it ------------------------------------------------------------------ */

/* As an engine left it that unlinked before the disk said so: the log ends before the relocations. */
static void forget_relocations(struct unit *c)
{
    uint8_t *image;
    size_t size;
    unit_clone(c, &u);
    cr_assert_eq(simdisk_get(c->disk, end.name, &image, &size), 0);
    uint64_t at = find_batch(false);
    memset(image + at, 0, size - at);
    simdisk_put(c->disk, end.name, image, size);
    free(image);
}

Test(moved, survivors_of_what_is_missing_prove_that_more_was_durable)
{
    struct unit c;
    make_store(false);
    /* what marks there are lie in headers of later segments of survivors */
    forget_relocations(&c);
    unsigned before = unit_files(&c, ".seg", NULL);
    cr_assert_eq(unit_try_open(&c), -EBADMSG);
    cr_assert_eq(unit_files(&c, ".seg", NULL), before);
    salvage(&c);
    cr_assert_eq(whole_files(&c), N_FILES / 2);
    unit_done(&c);
}

/* Content was overwritten after a compaction, and the segment of the new content goes missing: an error for
 * that, whole or in part, and never what it replaced. */
Test(moved, no_older_copy_stands_for_what_is_missing)
{
    struct locator loc;
    uint64_t whole, half;
    uint8_t *bytes = unit_bytes(SIZE, 1003);
    make_store(false);
    unit_open(&u);
    whole = unit_lookup(&u, name_of(1));
    half = unit_lookup(&u, name_of(3));
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_write(&u, whole, SIZE, 1001, 0);
    cr_assert_eq(eng_write(u.eng, half, bytes + PAGE, SIZE - PAGE, PAGE), (ssize_t)(SIZE - PAGE));
    cr_assert(unit_locator(&u, whole, 0, &loc));
    cr_assert_neq(loc.seg, moved_to);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    for (unsigned i = 0; i < 2; i++) {
        unit_create(&u, i ? "x" : "y");
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    unit_close(&u);
    char name[SEGMENT_NAME_SIZE];
    segment_name(loc.seg, name);
    cr_assert_eq(simdisk_remove(u.disk, name), 0);
    for (int salvage = 0; salvage < 2; salvage++) {
        struct unit c;
        uint8_t byte;
        unit_clone(&c, &u);
        c.opt.salvage = c.opt.read_only = salvage;
        unit_open(&c);
        cr_assert_eq(unit_read_error(&c, whole), -EIO, "%d", salvage);
        cr_assert_eq(eng_read(c.eng, half, &byte, 1, 0), 1);
        cr_assert_eq(eng_read(c.eng, half, &byte, 1, PAGE), -EIO, "%d", salvage);
        unit_done(&c);
    }
    unit_open(&u);
    free(bytes);
}

/* One that somebody lost, and one of a compaction that was killed, which nobody can look through. */
static void lose_one(void)
{
    char name[SEGMENT_NAME_SIZE], alone[SEGMENT_NAME_SIZE];
    struct {
        struct segment_header h;
        uint8_t torn[64];
    } copy = {.h = {.kind = SEGMENT_SURVIVORS, .created = 1}, .torn = {1}};
    make_store(true);
    segment_name(moved_to, name);
    cr_assert_eq(simdisk_remove(u.disk, name), 0);
    copy.h.id = end.segment + 3; /* one of which nothing was installed */
    unit_open(&u);
    memcpy(copy.h.uuid, u.eng->sb.uuid, sizeof copy.h.uuid);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    segment_header_seal(&copy.h, FORMAT_VERSION);
    segment_name(copy.h.id, alone);
    simdisk_put(u.disk, alone, &copy, sizeof copy);
}

/* A file that somebody lost costs what was in it, and no more, as ever; and what nobody could look through is
 * not removed meanwhile. */
Test(moved, a_segment_that_somebody_lost_refuses_nothing)
{
    lose_one();
    cr_assert_eq(unit_try_open(&u), 0, "%s", u.why);
    cr_assert_lt(whole_files(&u), N_FILES / 2);
    cr_assert(unit_holds(&u, unit_lookup(&u, "later"), 100, 1));
    cr_assert_eq(unit_files(&u, ".kept", NULL), 1, "who knows what it is of");
    unit_reopen(&u);
    cr_assert(unit_holds(&u, unit_lookup(&u, "later"), 100, 1));
}

/* It may be part of the store: the records of segments alone say that it is not. */
Test(moved, nothing_is_set_aside_before_the_index_is_verified)
{
    lose_one();
    rest_from = 0;
    for (unsigned life = 0; life < 2; life++) {
        unit_open(&u);
        cr_assert_not(loading_is_done(&u.eng->loading));
        cr_assert_eq(unit_files(&u, ".kept", NULL), 0, "%u", life);
        cr_assert(unit_has_segment(&u, end.segment + 3), "%u", life);
        if (life)
            cr_assert_eq(rest_await(u.eng), 0);
        unit_kill(&u, SIM_KEEP_ALL, 0);
    }
    rest_from = UINT64_MAX;
    unit_open(&u);
    cr_assert_eq(unit_files(&u, ".kept", NULL), 1);
}

/* ---- several batches, several lives --------------------------------------------------------------- */

#define N_SMALL 800u
#define SMALL 60u

/* More survivors in one output segment than one batch of relocations has; `held`: nothing was unlinked. */
static void make_small(bool held)
{
    char name[8];
    unit_close(&u);
    unit_done(&u);
    unit_new(&u, 1u << 20);
    for (unsigned i = 0; i < N_SMALL; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        unit_file(&u, name, SMALL, i);
    }
    unit_reopen(&u);
    for (unsigned i = 0; i < N_SMALL; i += 2) {
        (void)snprintf(name, sizeof name, "s%u", i);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    if (held)
        cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    if (held) {
        unit_kill(&u, SIM_KEEP_ALL, 0);
        unit_open(&u);
        cr_assert_gt(retire_segments(u.eng), 0);
    }
    end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
}

static unsigned whole_small(struct unit *c)
{
    unsigned n = 0;
    char name[8];
    for (unsigned i = 1; i < N_SMALL; i += 2) {
        (void)snprintf(name, sizeof name, "s%u", i);
        uint64_t ino = unit_lookup(c, name);
        n += ino && unit_holds(c, ino, SMALL, i);
    }
    return n;
}

/* Flips a bit in the last batch of relocations in `image`, which has two of them; its end. */
static uint64_t spoil_relocations(uint8_t *image)
{
    uint64_t last = 0, behind = 0;
    unsigned n = 0;
    for (uint64_t at = sizeof(struct segment_header); at < end.offset;) {
        struct batch_header h;
        memcpy(&h, image + at, sizeof h);
        uint64_t next = at + sizeof h + h.ops_len + h.extents_len;
        if (h.n_ops > 100) {
            n++;
            last = at;
            behind = next;
        }
        at = next;
    }
    cr_assert_gt(n, 1);
    image[last + 70] ^= 1;
    return behind;
}

/* The first batch names a part of what the segment holds; with the others the word about them is lost. */
Test(moved, each_batch_of_relocations_counts)
{
    make_small(false);
    for (int alone = 0; alone < 2; alone++) {
        struct unit c;
        uint8_t *image;
        size_t size;
        unit_clone(&c, &u);
        cr_assert_eq(simdisk_get(c.disk, end.name, &image, &size), 0);
        uint64_t behind = spoil_relocations(image);
        if (alone)
            memset(image + behind, 0, size - behind);
        simdisk_put(c.disk, end.name, image, size);
        free(image);
        cr_assert_eq(unit_try_open(&c), -EBADMSG, "%d", alone);
        salvage(&c);
        cr_assert_eq(whole_small(&c), N_SMALL / 2, "%d", alone);
        unit_done(&c);
    }
}

/* It was killed before it unlinked anything, and the next one does: not before the disk says so. */
Test(moved, what_an_earlier_life_knew_is_no_mark)
{
    struct unit c;
    uint8_t *image;
    size_t size;
    make_small(true);
    unit_clone(&c, &u);
    cr_assert_eq(simdisk_get(c.disk, end.name, &image, &size), 0);
    (void)spoil_relocations(image);
    simdisk_put(c.disk, end.name, image, size);
    free(image);
    cr_assert_eq(unit_try_open(&c), -EBADMSG);
    cr_assert_null(strstr(c.why, "only copy"), "the log itself says so: %s", c.why);
    unit_done(&c);
}

static struct simdisk *when_copied;

static void snap_when_copied(void *arg, enum fault_point point)
{
    (void)arg;
    if (point == FP_COMPACT_COPIED && !when_copied)
        when_copied = simdisk_clone(u.disk);
}

Test(moved, killed_compactions_leave_nothing_beside_a_missing_segment)
{
    char name[SEGMENT_NAME_SIZE];
    make_store(true);
    segment_name(moved_to, name);
    cr_assert_eq(simdisk_remove(u.disk, name), 0);
    for (unsigned round = 0; round < 4; round++) {
        unit_open(&u);
        cr_assert_eq(unit_files(&u, ".kept", NULL), 0, "round %u", round);
        unit_file(&u, "kept", SIZE, 1);
        unit_file(&u, "gone", SIZE, round);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "gone"), 0);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "kept"), 0);
        unit_file(&u, (char[]){(char)('a' + round), 0}, SIZE, 2);
        hook_set(u.eng, snap_when_copied, NULL);
        (void)eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL);
        hook_set(u.eng, NULL, NULL);
        cr_assert_not_null(when_copied);
        unit_kill(&u, SIM_KEEP_ALL, 0);
        simdisk_free(u.disk);
        u.disk = when_copied;
        u.opt.io = simdisk_io(u.disk);
        when_copied = NULL;
        simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    }
    unit_open(&u);
}

/* ---- a part of what is missing ------------------------------------------------------------------ */

#define BIG 22000u
#define CUT_AT (5u * PAGE / 4)
#define CUT_SIZE 777u

static struct {
    uint64_t ino, seq; /* of the file, and of the batch that overwrites it in its middle */
    unsigned windows;
} split;

static void overwrite_while_copied(void *arg, enum fault_point point)
{
    (void)arg;
    if (point != FP_COMPACT_READ || ++split.windows != 2)
        return;
    unit_write(&u, split.ino, CUT_SIZE, 777, CUT_AT);
    split.seq = log_seq(&u.eng->log);
}

/* So many small files that the large one is copied in a second step. It is written meanwhile, so that two
 * survivors have what is left of it; then the log loses that batch, with all that follows. */
static void make_split(void)
{
    char name[16];
    split.windows = 0;
    for (unsigned i = 0; i < 530; i++) {
        (void)snprintf(name, sizeof name, "s%u", i);
        unit_file(&u, name, SMALL, i);
    }
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    split.ino = unit_file(&u, "f", BIG, 5);
    unit_file(&u, "g", SIZE, 6);
    cr_assert_eq(log_seal_locked(&u.eng->log), 0);
    unit_create(&u, "x");
    unit_reopen(&u);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "g"), 0);
    for (unsigned i = 0; i < 530; i += 2) {
        (void)snprintf(name, sizeof name, "s%u", i);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, name), 0);
    }
    cr_assert_eq(eng_sync(u.eng), 0);
    hook_set(u.eng, overwrite_while_copied, NULL);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    hook_set(u.eng, NULL, NULL);
    cr_assert_gt(split.seq, 0);
    struct locator part[3];
    for (unsigned i = 0; i < 3; i++)
        cr_assert(unit_locator(&u, split.ino, i, &part[i]));
    cr_assert_eq(part[0].len, CUT_AT);
    cr_assert_eq(part[0].seg, part[2].seg, "both are survivors");
    cr_assert_neq(part[0].seg, part[1].seg);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
}

/* Truncates the segment that has the batch, there. */
static void lose_from(struct unit *c, uint64_t seq)
{
    for (uint32_t id = 1; id < 64; id++) {
        char name[SEGMENT_NAME_SIZE];
        uint8_t *image;
        size_t size;
        struct batch_header h;
        segment_name(id, name);
        if (simdisk_get(c->disk, name, &image, &size) != 0)
            continue;
        for (uint64_t at = sizeof(struct segment_header); at + sizeof h <= size;
             at += sizeof h + h.ops_len + h.extents_len) {
            memcpy(&h, image + at, sizeof h);
            if (h.magic != BATCH_MAGIC)
                break;
            if (h.seq == seq) {
                simdisk_put(c->disk, name, image, at);
                free(image);
                return;
            }
        }
        free(image);
    }
    cr_assert(false, "no segment has batch %lu", seq);
}

static bool is_right(struct unit *c, uint64_t from, uint64_t end_of)
{
    uint8_t *want = unit_bytes(BIG, 5), *got = calloc(1, BIG);
    bool right = eng_read(c->eng, split.ino, got, end_of - from, from) == (ssize_t)(end_of - from) &&
                 memcmp(want + from, got, end_of - from) == 0;
    free(want);
    free(got);
    return right;
}

/* The range that the log names as one has become two copies, and both are only copies. */
Test(moved, what_was_cut_in_two_while_it_was_copied)
{
    struct unit c;
    make_split();
    lose_from(&u, split.seq);
    unit_clone(&c, &u);
    cr_assert_eq(unit_try_open(&c), -EBADMSG);
    cr_assert_not_null(strstr(c.why, "only copy"), "%s", c.why);
    unit_done(&c);
    unit_clone(&c, &u);
    salvage(&c);
    cr_assert(is_right(&c, 0, CUT_AT));
    cr_assert(is_right(&c, CUT_AT + CUT_SIZE, BIG));
    uint8_t byte;
    for (unsigned i = 0; i < CUT_SIZE; i += CUT_SIZE - 1)
        cr_assert_eq(eng_read(c.eng, split.ino, &byte, 1, CUT_AT + i), -EIO, "what it had there is gone");
    cr_assert_eq(unit_problems(&c), 3, "that, its segment, and that the log was cut short");
    unit_done(&c);
}

/* ---- the second copy ------------------------------------------------------------------------------ */

/* The same bits as above, where the log's second copy is there: nothing is refused, and nothing is lost. */
Test(moved, the_second_copy_has_what_was_moved)
{
    make_store(false);
    simdisk_free(u.disk);
    u.disk = echoing;
    u.opt.io = simdisk_io(u.disk);
    simdisk_power_on(u.disk, SIM_KEEP_ALL, 0);
    cr_assert_eq(flip_bits_of_the_log(), 0);
}
