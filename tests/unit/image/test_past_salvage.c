/*
 * test_past_salvage.c - a store with a past of whose index a part is lost in both copies: what a salvage
 * shows of files and of their past states is right, and most of it is there. */
#include "past_states.h"

#include "rng.h"

#include "image/checkpoint.h"
#include "image/reader.h"

#include <criterion/criterion.h>

#define FILES 900u
#define STATES 2u
#define SIZE 300u

static struct unit u;
static uint64_t files[FILES], kept[FILES][STATES], newest;

/* One that is there for its pieces may not come to the rescue. */
static void spoil_older(void *arg, const char *name, uint64_t size)
{
    uint64_t id;
    unsigned copy;
    (void)arg;
    if (image_parse_name(name, &id, &copy) == 0 && id != newest)
        MUST(simdisk_flip(u.disk, name, size - 1, 1) == 0);
}

/* The log does not go back to its beginning, and one checkpoint is left. */
static void leave_one_checkpoint(void)
{
    MUST(eng_unlink(u.eng, ENG_ROOT_INO, "goes") == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    MUST(checkpoint_write(u.eng) == 0);
    (void)retire_segments(u.eng);
    MUST(!unit_has_segment(&u, 1));
    newest = u.eng->checkpoints->images.map.id;
    unit_kill(&u, SIM_KEEP_ALL, 0);
    simdisk_each(u.disk, spoil_older, NULL);
    unit_without_echo(&u);
}

static void setup(void)
{
    char name[16];
    unit_new(&u, 1 << 20);
    MUST(store_set_history(u.eng) == 0);
    (void)unit_file(&u, "goes", 30000, 1);
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file%u", i);
        files[i] = unit_file(&u, name, SIZE, i);
    }
    for (unsigned s = 0; s < STATES; s++)
        for (unsigned i = 0; i < FILES; i++) {
            kept[i][s] = keep_state(&u, files[i]);
            unit_write(&u, files[i], SIZE, i + (s + 1) * FILES, 0);
        }
    leave_one_checkpoint();
}

static void teardown(void)
{
    unit_done(&u);
}

TestSuite(past_salvage, .init = setup, .fini = teardown, .timeout = 300);

/* One byte of both copies of the newest checkpoint. */
static bool spoil(struct unit *c, uint64_t at)
{
    char name[IMAGE_NAME_SIZE];
    bool there = true;
    for (unsigned copy = 0; copy < 2; copy++) {
        image_name(newest, copy, name);
        there = at < unit_file_size(c, name) && simdisk_flip(c->disk, name, at, 1) == 0 && there;
    }
    return there;
}

/* How many files and states are left; what is there is right. */
static void count(struct unit *c, unsigned *ret_files, unsigned *ret_states)
{
    char name[16];
    *ret_files = *ret_states = 0;
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "file%u", i);
        uint64_t ino = unit_lookup(c, name);
        MUST(!ino || ino == files[i]);
        MUST(!ino || unit_holds(c, ino, SIZE, i + STATES * FILES));
        *ret_files += ino != 0;
        for (unsigned s = 0; s < STATES; s++) {
            bool is_there = past_state(&c->eng->idx, kept[i][s]) != NULL;
            MUST(!is_there || past_holds(c, kept[i][s], SIZE, i + s * FILES));
            *ret_states += is_there;
        }
    }
}

Test(past_salvage, what_is_left_is_right)
{
    unsigned n_damaged = 0, n_files, n_states, n_less = 0, most = 0;
    for (uint64_t at = 5000; at < 1 << 20; at += 16384) {
        struct unit c;
        unit_clone(&c, &u);
        bool there = spoil(&c, at);
        c.opt.salvage = c.opt.read_only = true;
        if (there && unit_try_open(&c) == 0) {
            count(&c, &n_files, &n_states);
            n_damaged++;
            n_less += n_states < FILES * STATES;
            most = MAX_OF(most, n_states < FILES * STATES ? n_states : 0);
            cr_assert(!n_files || c.eng->idx.s.inexact == c.eng->published_seq,
                      "and what is not, is not exact");
            cr_assert(n_files > 0 || n_states == 0, "at %llu", (unsigned long long)at);
        }
        unit_done(&c);
        if (!there)
            break;
    }
    cr_assert(n_damaged > 8 && n_less > 4 && most > FILES, "%u, %u, %u", n_damaged, n_less, most);
}
