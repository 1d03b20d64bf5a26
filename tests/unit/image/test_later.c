/*
 * test_later.c - what docs/FORMAT.md keeps for later, met by a program of today: each place is ignored,
 * carried or refused as it says there. Sums are right in all of them. */
#include "inside.h"

#include "image_files.h"
#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(later, .init = setup, .fini = teardown);

static uint64_t file;

static void fill_and_close(void)
{
    file = unit_file(&u, "file", 5000, 1);
    cr_assert_eq(eng_setxattr(u.eng, file, "user.small", "value", 5, 0), 0);
    (void)unit_mkdir(&u, "dir");
    unit_close(&u);
}

/* Whether the store opens and has what fill_and_close() put there; closes it again. */
static bool is_usable(void)
{
    if (unit_try_open(&u) != 0)
        return false;
    bool usable = unit_holds(&u, unit_lookup(&u, "file"), 5000, 1) && unit_problems(&u) == 0;
    unit_close(&u);
    return usable;
}

static bool is_usable_again(void)
{
    unit_reopen(&u);
    return unit_holds(&u, unit_lookup(&u, "file"), 5000, 1) && unit_problems(&u) == 0;
}

/* ---- the superblock ------------------------------------------------------------------------- */

static struct superblock superblock_on_disk(void)
{
    struct superblock sb;
    uint8_t *data;
    size_t size;
    cr_assert_eq(simdisk_get(u.disk, "superblock", &data, &size), 0);
    cr_assert_eq(superblock_decode(data, size, &sb), 0);
    free(data);
    return sb;
}

static void put_superblock(const struct superblock *sb)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(sb, image);
    simdisk_put(u.disk, "superblock", image, sizeof(image));
}

Test(later, bits_and_a_field_of_the_superblock_are_carried)
{
    fill_and_close();
    struct superblock sb = superblock_on_disk();
    sb.compat = 0x80000005;
    sb.reserved = 77;
    for (uint32_t version = FORMAT_VERSION_OLD; version <= FORMAT_VERSION; version++) {
        sb.version = version;
        put_superblock(&sb);
        cr_assert_eq(simdisk_flip(u.disk, "superblock", 30, 1), 0, "one copy is mended");
        cr_assert(is_usable(), "%s", u.why);
        struct superblock now = superblock_on_disk();
        cr_assert(now.compat == sb.compat && now.reserved == 77 && now.version == FORMAT_VERSION);
    }
}

static void put_both(const struct superblock *sb)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(sb, image);
    simdisk_put(u.disk, "superblock", image, sizeof(image));
    simdisk_put(u.disk, "superblock.copy", image, sizeof(image));
}

/* A root has 7 tables; in a store with a history it has these, too, or 12. */
Test(later, tables_of_a_history_go_with_its_bit)
{
    static const struct {
        bool writes, reads; /* with the bit */
    } cases[] = {{false, false}, {false, true}, {true, true}, {true, false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct unit before = u;
        unit_new(&u, 0);
        if (cases[i].writes)
            cr_assert_eq(store_set_history(u.eng), 0);
        fill_and_close();
        struct superblock sb = superblock_on_disk();
        cr_assert_eq(sb.incompat, cases[i].writes ? INCOMPAT_HISTORY : 0);
        sb.incompat = cases[i].reads ? INCOMPAT_HISTORY : 0;
        put_both(&sb);
        unit_open(&u);
        cr_assert(unit_holds(&u, file, 5000, 1));
        cr_assert_eq(u.warnings > 0, cases[i].writes && !cases[i].reads, "%zu: %s", i, u.last_warning);
        cr_assert_eq(strstr(u.all_warnings, "cannot be used") != NULL, u.warnings > 0);
        (void)unit_file(&u, "more", 10, 1);
        cr_assert_eq(checkpoint_write(u.eng), 0);
        cr_assert_eq(u.eng->checkpoints->images.map.n_tables,
                     cases[i].reads ? INDEX_TABLES : INDEX_TABLES_PLAIN);
        cr_assert(is_usable_again(), "%zu: %s", i, u.why);
        unit_done(&u);
        u = before;
    }
}

/* Without the bit an op of a history is none, nor is its batch. */
Test(later, ops_of_a_history_go_with_its_bit)
{
    for (unsigned reads = 0; reads < 2; reads++) {
        struct unit before = u;
        CLEANUP_TXN struct txn txn = {0};
        unit_new(&u, 0);
        cr_assert_eq(store_set_history(u.eng), 0);
        struct op *op = txn_op(&txn, OP_ATTR);
        *op = (struct op){.type = OP_ATTR, .flags = OP_SAME, .ino = 1, .mask = ENG_SET_MODE, .mode = 0711};
        cr_assert_eq(commit_begin(u.eng), 0);
        cr_assert_eq(commit_end(u.eng, commit_txn(u.eng, &txn)), 0);
        cr_assert_eq(eng_sync(u.eng), 0);
        unit_kill(&u, SIM_DROP_ALL, 0);
        unit_without_echo(&u);
        struct superblock sb = superblock_on_disk();
        sb.incompat = reads ? INCOMPAT_HISTORY : 0;
        put_both(&sb);
        unit_open(&u);
        cr_assert_eq(unit_attr(&u, 1).mode & 07777, reads ? 0711 : 0755);
        unit_done(&u);
        u = before;
    }
}

/* ---- segments ------------------------------------------------------------------------------- */

Test(later, an_epoch_is_not_looked_at)
{
    char name[SEGMENT_NAME_SIZE];
    struct segment_header h;
    uint8_t *data;
    size_t size;
    fill_and_close();
    segment_name(1, name);
    cr_assert_eq(simdisk_get(u.disk, name, &data, &size), 0);
    memcpy(&h, data, sizeof(h));
    cr_assert_eq(h.epoch, 0);
    h.epoch = 0xffffffff;
    h.sum = codec_hash(&h, offsetof(struct segment_header, sum));
    memcpy(data, &h, sizeof(h));
    simdisk_put(u.disk, name, data, size);
    free(data);
    unsigned warnings = u.warnings;
    cr_assert(is_usable(), "%s", u.why);
    cr_assert_eq(u.warnings, warnings, "%s", u.last_warning);
}

/* ---- image files ---------------------------------------------------------------------------- */

struct image {
    char name[IMAGE_NAME_SIZE];
    uint8_t *data;
    size_t size;
};

static struct image read_image(void)
{
    struct image image;
    image_name(image_files_newest(u.disk), 0, image.name);
    cr_assert_eq(simdisk_get(u.disk, image.name, &image.data, &image.size), 0);
    return image;
}

/* Where the first piece of that kind and table is. */
static uint8_t *find_piece(const struct image *image, enum piece_kind kind, unsigned table)
{
    struct piece_header h;
    size_t at = 0;
    for (;; at += sizeof(h) + h.len) {
        cr_assert_leq(at + sizeof(h), image->size);
        memcpy(&h, image->data + at, sizeof(h));
        cr_assert_eq(h.magic, PIECE_MAGIC, "no such piece");
        if (h.kind == kind && h.table == table)
            break;
    }
    return image->data + at;
}

Test(later, fields_of_image_files)
{
    static const struct {
        const char *what;
        enum piece_kind kind;
        size_t at; /* in the piece */
        bool refused;
    } cases[] = {
        {"nothing", PIECE_IMAGE, 0, false},
        {"the first chunk of a page", PIECE_PAGE, sizeof(struct piece_header) + 12, false},
        {"a root", PIECE_ROOT, sizeof(struct piece_header) + 28, false},
        {"the low half of the end of a past state", PIECE_IMAGE, sizeof(struct piece_header) + 2 * 128 + 108,
         false},
        {"the past of an inode", PIECE_IMAGE, sizeof(struct piece_header) + 2 * 128 + 120, true},
        {"the actor of an inode", PIECE_IMAGE, sizeof(struct piece_header) + 2 * 128 + 124, true},
        {"a flag of an inode", PIECE_IMAGE, sizeof(struct piece_header) + 2 * 128 + 12, true},
        {"the number of tables", PIECE_ROOT, sizeof(struct piece_header) + 16, true},
    };
    fill_and_close();
    cr_assert_eq(ino_slot(file), 2);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct unit whole = u;
        struct image image = read_image();
        uint8_t *piece = find_piece(&image, cases[i].kind, 0);
        piece[cases[i].at] |= cases[i].at ? 8 : 0;
        image_files_reseal(image.data, image.size);
        unit_clone(&u, &whole);
        image_files_put(u.disk, image.name, image.data, image.size);
        /* A checkpoint that is refused is done without here: the log goes back to its beginning. */
        cr_assert(is_usable(), "%s: %s", cases[i].what, u.why);
        cr_assert_eq(u.warnings > 0, cases[i].refused, "%s: %s", cases[i].what, u.last_warning);
        cr_assert_eq(strstr(u.last_warning, "cannot be used") != NULL, cases[i].refused, "%s",
                     u.last_warning);
        free(image.data);
        unit_done(&u);
        u = whole;
    }
}

static uint32_t reserved_of(uint64_t ino)
{
    const struct inode_rec *inode = index_slot(&u.eng->idx, ino_slot(ino));
    cr_assert(inode);
    return inode->past_name;
}

/* Whatever happens to the inode: an extent of its own becomes several and one again, it is moved, renamed,
 * and written by checkpoints. One that takes its slot begins with 0. */
Test(later, the_low_half_of_the_end_of_a_past_state_is_carried)
{
    const struct eng_attr attr = {.mode = 0600, .size = 100};
    const struct eng_caller who = {0};
    fill_and_close();
    struct image image = read_image();
    uint8_t *piece = find_piece(&image, PIECE_IMAGE, 0);
    piece[sizeof(struct piece_header) + (size_t)ino_slot(file) * 128 + 108] = 8;
    image_files_reseal(image.data, image.size);
    image_files_put(u.disk, image.name, image.data, image.size);
    free(image.data);
    unit_open(&u);
    cr_assert_eq(reserved_of(file), 8);
    unit_write(&u, file, 5000, 2, 300000);
    unit_write(&u, file, 5000, 3, 100000);
    cr_assert_gt(unit_extents(&u, file), 1);
    cr_assert_eq(eng_setattr(u.eng, file, &attr, ENG_SET_MODE | ENG_SET_SIZE, NULL), 0);
    cr_assert_eq(unit_extents(&u, file), 1);
    cr_assert_eq(eng_rename(u.eng, &who, ENG_ROOT_INO, "file", ENG_ROOT_INO, "new", 0), 0);
    cr_assert_eq(eng_removexattr(u.eng, file, "user.small"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_reopen(&u);
    cr_assert_eq(reserved_of(file), 8);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "new"), 0);
    unit_reopen(&u);
    uint64_t next = unit_file(&u, "next", 10, 1);
    cr_assert_eq(ino_slot(next), ino_slot(file));
    cr_assert_eq(reserved_of(next), 0);
}

/* Not one of the file, where nothing is, but one of a past state: an entry that names no segment. */
Test(later, an_extent_that_is_a_hole_is_refused)
{
    enum { LEAF = 1024, KEYS = 8, FANOUT = 1016 / (12 + 20) };
    fill_and_close();
    unit_open(&u);
    unit_write(&u, file, 5000, 1, 0);
    unit_write(&u, file, 10, 2, 300000);
    unit_close(&u);
    struct image image = read_image();
    uint8_t *piece = find_piece(&image, PIECE_IMAGE, TABLE_EXTENTS);
    struct locator loc;
    uint8_t *at = piece + sizeof(struct piece_header) + LEAF + KEYS + (size_t)FANOUT * 12;
    memcpy(&loc, at, sizeof(loc));
    cr_assert(loc.seg && loc.len == 5000);
    loc.seg = 0;
    memcpy(at, &loc, sizeof(loc));
    image_files_reseal(image.data, image.size);
    image_files_put(u.disk, image.name, image.data, image.size);
    free(image.data);
    unsigned warnings = u.warnings;
    (void)unit_try_open(&u);
    cr_assert_gt(u.warnings, warnings);
    cr_assert(strstr(u.last_warning, "cannot be used"), "%s", u.last_warning);
}

/* That of a piece's header and of the head behind the map. */
Test(later, fields_of_a_root)
{
    struct image_footer f;
    struct piece_header h;
    struct ckpt_head_plain head;
    fill_and_close();
    struct image image = read_image();
    uint8_t *root = find_piece(&image, PIECE_ROOT, 0);
    memcpy(&h, root, sizeof(h));
    uint8_t *end = root + sizeof(h) + h.len;
    memcpy(&head, end - sizeof(head), sizeof(head));
    head.reserved = 1;
    memcpy(end - sizeof(head), &head, sizeof(head));
    h.reserved = 1;
    uint64_t sums[2] = {codec_hash(&h, offsetof(struct piece_header, sum)),
                        codec_hash(root + sizeof(h), h.len)};
    h.sum = codec_hash(sums, sizeof(sums));
    memcpy(root, &h, sizeof(h));
    memcpy(&f, end, sizeof(f));
    f.piece_sum = h.sum;
    footer_seal(&f);
    memcpy(end, &f, sizeof(f));
    image_files_put(u.disk, image.name, image.data, image.size);
    free(image.data);
    cr_assert(is_usable(), "%s", u.why);
}

/* ---- files ---------------------------------------------------------------------------------- */

Test(later, files_of_other_kinds_are_left_alone)
{
    static const char *const names[] = {"receipts", "recall", "forgetting", "c0000000000000001.ckp.tmp",
                                        "s00000001.sum"};
    fill_and_close();
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        simdisk_put(u.disk, names[i], names[i], strlen(names[i]));
    unit_open(&u);
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "file"), 0);
    cr_assert_eq(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL), 0);
    unit_reopen(&u);
    unit_close(&u);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        cr_assert_eq(unit_file_size(&u, names[i]), strlen(names[i]), "%s", names[i]);
}
