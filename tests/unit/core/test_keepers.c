/*
 * test_keepers.c - a segment goes when no keeper needs it (I4): each keeper alone keeps, in the order of the
 * list; and a keeper that a room adds is heeded by reclaiming and named by the space receipt. */
#include "inside.h"

#include "one_store.h"

#include <criterion/criterion.h>

TestSuite(keepers, .init = setup, .fini = teardown);

#define SEG 9999u /* no segment of the store has this number */

static int kind_of(const struct seg_rec *seg)
{
    const struct keeper *keeper = keepers_find(u.eng, seg);
    return keeper ? (int)keeper->kind : -1;
}

/* The log goes on in another segment. */
static void end_active(void)
{
    uint32_t active = u.eng->log.active->id;
    unit_file(&u, "long", 60000, 2);
    unit_file(&u, "next", 60000, 3);
    cr_assert_neq(u.eng->log.active->id, active);
}

/* ---- the list ------------------------------------------------------------------------- */

Test(keepers, each_alone_keeps)
{
    unit_file(&u, "a", 1000, 1); /* so that a segment is active */
    uint32_t active = u.eng->log.active->id;
    const struct seg_rec none = {.id = SEG}, live = {.id = SEG, .live = 1}, written_to = {.id = active},
                         unsynced = {.id = SEG, .death_seq = log_durable(&u.eng->log) + 1},
                         young = {.id = SEG, .last_seq = u.eng->marks.newest_seq + 1};
    cr_assert_eq(kind_of(&none), -1, "nobody needs it");
    cr_assert_eq(kind_of(&live), KEEPER_LIVE);
    cr_assert_eq(kind_of(&written_to), KEEPER_ACTIVE);
    cr_assert_eq(kind_of(&unsynced), KEEPER_DURABLE);
    cr_assert_eq(kind_of(&young), KEEPER_CHECKPOINTS);
    u.eng->marks.newest_in = SEG;
    cr_assert_eq(kind_of(&none), KEEPER_CHECKPOINTS, "the log goes on in it");
    u.eng->marks.newest_in = 0;
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(kind_of(&none), KEEPER_HOLDS);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(kind_of(&none), KEEPER_HOLDS, "held twice, released once");
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(kind_of(&none), -1);
    cr_assert_eq(eng_release(u.eng), -EINVAL);

    end_active();
    const struct seg_rec sealed = {.id = active};
    struct segment *pinned;
    cr_assert_eq(eng_sync(u.eng), 0); /* until then the log pins what it has to flush */
    cr_assert_eq(kind_of(&sealed), -1);
    cr_assert_eq(segments_pin(&u.eng->segments, active, &pinned), 0);
    cr_assert_eq(kind_of(&sealed), KEEPER_PINS);
    segments_unpin(pinned);
    cr_assert_eq(kind_of(&sealed), -1);
}

Test(keepers, are_asked_in_their_order)
{
    struct segment *pinned;
    unit_file(&u, "a", 1000, 1);
    struct seg_rec seg = {.id = u.eng->log.active->id, .live = 1};
    cr_assert_eq(segments_pin(&u.eng->segments, seg.id, &pinned), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    seg.death_seq = seg.last_seq = UINT64_MAX;
    cr_assert_eq(kind_of(&seg), KEEPER_LIVE);
    seg.live = 0;
    cr_assert_eq(kind_of(&seg), KEEPER_ACTIVE);
    end_active();
    cr_assert_eq(kind_of(&seg), KEEPER_DURABLE);
    seg.death_seq = 0;
    cr_assert_eq(kind_of(&seg), KEEPER_CHECKPOINTS);
    for (int kind = KEEPER_LIVE; kind <= KEEPER_PINS; kind++) {
        bool needs = kind == KEEPER_CHECKPOINTS || kind == KEEPER_HOLDS || kind == KEEPER_PINS;
        cr_assert_eq(keepers_need(u.eng, (enum keeper_kind)kind, &seg), needs, "kind %d by itself", kind);
    }
    seg.last_seq = 0;
    cr_assert_eq(kind_of(&seg), KEEPER_HOLDS);
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert_eq(kind_of(&seg), KEEPER_PINS);
    segments_unpin(pinned);
    cr_assert_eq(eng_sync(u.eng), 0);
    cr_assert_eq(kind_of(&seg), -1);
}

/* ---- keepers that a room adds ------------------------------------------------------------ */

static bool needs_one, needs_all;
static uint32_t needed;

static bool test_needs(struct eng *eng, const struct seg_rec *seg)
{
    cr_assert_eq(eng, u.eng);
    return needs_one && seg->id == needed;
}

static bool test_needs_all(struct eng *eng)
{
    cr_assert_eq(eng, u.eng);
    return needs_all;
}

static const struct keeper for_test = {KEEPER_HOLDS,          "test_lease", "emptied, leased",
                                       "the end of the test", test_needs,   test_needs_all};

Test(keepers, one_that_is_added_has_its_place)
{
    static const struct keeper early = {KEEPER_DURABLE, "early", "early", "", test_needs, NULL};
    cr_assert_eq(keepers_add(u.eng, &for_test), 0);
    cr_assert_eq(keepers_add(u.eng, &early), 0);
    size_t n = 0;
    bool seen_early = false, seen_test = false;
    for (const struct keeper *keeper, *before = NULL; (keeper = keepers_at(u.eng, n)); before = keeper, n++) {
        cr_assert(!before || before->kind <= keeper->kind);
        if (before && before->kind == keeper->kind)
            cr_assert(keeper == &early || keeper == &for_test, "after those that were there");
        seen_early |= keeper == &early;
        seen_test |= keeper == &for_test;
    }
    cr_assert(seen_early && seen_test);
    for (; n < KEEPERS_MAX; n++)
        cr_assert_eq(keepers_add(u.eng, &early), 0);
    cr_assert_eq(keepers_add(u.eng, &early), -ENOSPC);
}

static int64_t bytes_of(const char *key)
{
    struct eng_space sp;
    int64_t bytes = -1;
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    for (unsigned i = 0; i < sp.n_kinds; i++) {
        if (strcmp(sp.kinds[i].key, key) == 0)
            bytes = sp.kinds[i].bytes;
    }
    return bytes;
}

/* A segment that nobody needs any more, but that was not reclaimed yet. */
static uint32_t emptied_segment(void)
{
    struct locator loc;
    cr_assert(unit_locator(&u, unit_file(&u, "a", 60000, 1), 0, &loc));
    unit_file(&u, "b", 60000, 2); /* in the next */
    cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, "a"), 0);
    cr_assert_eq(checkpoint_write(u.eng), 0); /* frees nothing: the orphan waits for a batch */
    cr_assert_eq(commit_orphans(u.eng), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(checkpoint_write(u.eng), 0);
    const struct seg_rec *seg = index_segment(&u.eng->idx, loc.seg);
    cr_assert(seg && !keepers_find(u.eng, seg));
    return loc.seg;
}

Test(keepers, one_that_is_added_is_heeded_and_named)
{
    cr_assert_eq(keepers_add(u.eng, &for_test), 0);
    needed = emptied_segment();
    int64_t size = (int64_t)segments_size_of(&u.eng->segments, needed);
    cr_assert_eq(bytes_of("empty"), size);
    cr_assert_eq(bytes_of("test_lease"), 0);
    needs_one = true;
    cr_assert_eq(bytes_of("empty"), 0);
    cr_assert_eq(bytes_of("test_lease"), size, "the receipt names it");
    cr_assert_eq(retire_segments(u.eng), 0);
    cr_assert(unit_has_segment(&u, needed), "reclaiming heeds it");
    needs_one = false;
    needs_all = true;
    cr_assert_eq(bytes_of("test_lease"), size);
    cr_assert_eq(retire_segments(u.eng), 0);
    cr_assert_eq(eng_hold(u.eng), 0);
    cr_assert_eq(bytes_of("held"), size, "it was there before");
    cr_assert_eq(eng_release(u.eng), 0);
    cr_assert(unit_has_segment(&u, needed));
    needs_all = false;
    cr_assert_eq(retire_segments(u.eng), 1);
    cr_assert_not(unit_has_segment(&u, needed));
    cr_assert_eq(unit_problems(&u), 0);
}

Test(keepers, one_that_needs_every_file_keeps_checkpoints_and_what_was_copied_in_vain)
{
    cr_assert_eq(keepers_add(u.eng, &for_test), 0);
    needs_all = true;
    for (int i = 0; i < 4; i++) {
        unit_file(&u, i % 2 ? "x" : "y", 100, 1);
        cr_assert_eq(eng_unlink(u.eng, ENG_ROOT_INO, i % 2 ? "x" : "y"), 0);
        cr_assert_eq(checkpoint_write(u.eng), 0);
    }
    cr_assert_geq(unit_files(&u, ".ckp", NULL), 4);
    struct segment *out;
    cr_assert_eq(segments_create(&u.eng->segments, SEGMENT_SURVIVORS, 1, 0, 0, &out), 0);
    uint32_t id = out->id;
    segments_unpin(out);
    retire_unrecorded(u.eng, id);
    cr_assert(unit_has_segment(&u, id));
    needs_all = false;
    retire_unrecorded(u.eng, id);
    cr_assert_not(unit_has_segment(&u, id));
    checkpoint_clean(u.eng);
    cr_assert_leq(unit_files(&u, ".ckp", NULL), 3);
}

Test(keepers, the_receipt_has_their_keys)
{
    static const char *const keys[] = {"live",     "orphans",        "snapshots",    "history",
                                       "dead",     "dead_active",    "waiting_sync", "waiting_checkpoint",
                                       "held",     "pinned",         "empty",        "copies",
                                       "metadata", "metadata_spent", "echo",         "checkpoints",
                                       "reserve",  "set_aside",      "slack"};
    struct eng_space_kind kinds[ENG_SPACE_KINDS_MAX];
    struct eng_space sp;
    cr_assert_eq(eng_space_kinds(kinds), ARRAY_LEN(keys));
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    cr_assert_eq(sp.n_kinds, ARRAY_LEN(keys));
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        cr_assert_str_eq(kinds[i].key, keys[i]);
        cr_assert_str_eq(sp.kinds[i].key, keys[i]);
    }
    cr_assert_eq(keepers_add(u.eng, &for_test), 0);
    cr_assert_eq(eng_space(u.eng, &sp), 0);
    cr_assert_eq(sp.n_kinds, ARRAY_LEN(keys) + 1);
    cr_assert_str_eq(sp.kinds[9].key, "test_lease");
    cr_assert_str_eq(sp.kinds[9].label, "emptied, leased");
}
