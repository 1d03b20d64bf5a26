/*
 * test_past_moved.c - the log is lost that says where a compaction has moved what a file has now and what it
 * had, after the segment is gone in which both were: a salvage gives the file what is certain to be its own,
 * and hands out the rest. */
#include "past_states.h"

#include <criterion/criterion.h>

#define SIZE 5000u
#define VALUE 3000u

static struct unit u;
static uint64_t file, kept;

static void set_value(char c)
{
    char value[VALUE];
    memset(value, c, sizeof value);
    MUST(eng_setxattr(u.eng, file, "user.big", value, sizeof value, 0) == 0);
}

static uint32_t segment_of(uint64_t number)
{
    struct locator loc;
    MUST(past_locator(&u, number, 0, &loc));
    return loc.seg;
}

static void remove_file(const char *name)
{
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, name) == 0 && eng_sync(u.eng) == 0);
}

/* The first batch of them, of a segment of the log. */
static uint64_t find_relocations(const uint8_t *image, uint64_t end)
{
    struct batch_header h = {0};
    uint64_t at = sizeof(struct segment_header);
    for (; h.n_ops < 2; at += sizeof h + h.ops_len + h.extents_len) {
        MUST(at < end);
        memcpy(&h, image + at, sizeof h);
    }
    return at - (sizeof h + h.ops_len + h.extents_len);
}

/* Both states, and a value of each, go from the log to one segment, and on to another one. */
static void setup(void)
{
    uint8_t *image;
    size_t size;
    unit_new(&u, 0);
    MUST(store_set_history(u.eng) == 0);
    file = unit_file(&u, "file", SIZE, 1);
    set_value('a');
    (void)unit_file(&u, "goes", SIZE, 3);
    (void)unit_file(&u, "goes later", SIZE, 4);
    kept = keep_state(&u, file);
    unit_write(&u, file, SIZE, 2, 0);
    set_value('b');
    remove_file("goes");
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    uint32_t first = segment_of(file);
    MUST(segment_of(kept) == first && index_segment(&u.eng->idx, first)->kind == SEGMENT_SURVIVORS);
    remove_file("goes later");
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    MUST(segment_of(file) > first && !unit_has_segment(&u, first));
    struct unit_place end = unit_log_place(&u);
    unit_kill(&u, SIM_KEEP_ALL, 0);
    unit_without_echo(&u);
    MUST(simdisk_get(u.disk, end.name, &image, &size) == 0);
    simdisk_put(u.disk, end.name, image, find_relocations(image, end.offset));
    free(image);
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_moved, .init = setup, .fini = teardown);

/* What is handed out of the file. */
struct pieces {
    unsigned past, now, past_value, value, others;
};

static int note(void *arg, const struct eng_lost *piece, const void *data)
{
    struct pieces *pieces = arg;
    uint8_t *was = unit_bytes(SIZE, 1), *is = unit_bytes(SIZE, 2);
    const char *c = data;
    if (piece->ino != file)
        pieces->others++;
    else if (piece->offset == ENG_LOST_VALUE)
        *(*c == 'a' ? &pieces->past_value : &pieces->value) += 1;
    else if (piece->size == SIZE && memcmp(data, was, SIZE) == 0)
        pieces->past++;
    else if (piece->size == SIZE && memcmp(data, is, SIZE) == 0)
        pieces->now++;
    free(was);
    free(is);
    return 0;
}

Test(past_moved, an_opening_does_not_go_on_without_it)
{
    cr_assert_eq(unit_try_open(&u), -EBADMSG);
    cr_assert(strstr(u.why, "only copy"), "%s", u.why);
}

Test(past_moved, a_salvage_takes_what_is_certain_and_hands_out_the_rest)
{
    struct pieces pieces = {0};
    char value[VALUE];
    u.opt.salvage = u.opt.read_only = true;
    unit_open(&u);
    cr_assert(unit_holds(&u, file, SIZE, 2));
    cr_assert_not(past_holds(&u, kept, SIZE, 1));
    cr_assert_not(past_holds(&u, kept, SIZE, 2));
    cr_assert_eq(eng_getxattr(u.eng, file, "user.big", value, sizeof value), -EIO, "of which state is it?");
    cr_assert_eq(eng_lost(u.eng, note, &pieces), 0);
    cr_assert(pieces.past == 1 && pieces.now == 0, "%u, %u", pieces.past, pieces.now);
    cr_assert(pieces.past_value == 1 && pieces.value == 1, "%u, %u", pieces.past_value, pieces.value);
}
