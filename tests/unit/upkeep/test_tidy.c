/*
 * test_tidy.c - checkpoint files have no more than the index needs, once a history has expired and once the
 * store was compacted: what a store takes on the disk does not tell what there was in it. */
#include "image/checkpoint.h"
#include "inside.h"
#include "must.h"
#include "one_store.h"

#include <criterion/criterion.h>

#define FILES 6000u
#define CHUNKS 4u /* of 64 KiB, and a share, that may stay */

TestSuite(tidy, .init = setup, .fini = teardown, .timeout = 120);

static uint64_t inos[FILES];

static void make_files(void)
{
    char name[16];
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "f%u", i);
        inos[i] = unit_file(&u, name, 100, i);
    }
    MUST(checkpoint_write(u.eng) == 0);
}

static int add_size(void *arg, const char *name)
{
    uint64_t id;
    unsigned copy;
    uint64_t *bytes = arg;
    if (image_parse_name(name, &id, &copy) == 0)
        *bytes += unit_file_size(&u, name);
    return 0;
}

/* Bytes of all checkpoint files. */
static uint64_t on_disk(void)
{
    uint64_t bytes = 0;
    MUST(u.eng->io->ops->list(u.eng->io, add_size, &bytes) == 0);
    return bytes;
}

/* Of these, what is needed. */
static uint64_t needed(void)
{
    const struct image_map *map = &u.eng->checkpoints->images.map;
    uint64_t live = 0;
    for (size_t i = 0; i < map->n_files; i++)
        live += map->files[i].live;
    return 2 * live;
}

static bool is_tidy(void)
{
    return on_disk() <= needed() + needed() / 64 + 2 * CHUNKS * TABLE_CHUNK_SIZE;
}

/* As many checkpoints as it takes until the files have much that nobody needs. */
static void make_untidy(void)
{
    const struct eng_attr attr = {.mode = 0600};
    for (unsigned i = 0; is_tidy() && i < FILES; i += 700) {
        for (unsigned k = i; k < i + 700 && k < FILES; k++)
            MUST(eng_setattr(u.eng, inos[k], &attr, ENG_SET_MODE, NULL) == 0);
        MUST(checkpoint_write(u.eng) == 0);
    }
    MUST(!is_tidy());
}

Test(tidy, a_compaction_leaves_what_is_needed)
{
    make_files();
    make_untidy();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    cr_assert(is_tidy(), "%llu bytes, of which %llu are needed", (unsigned long long)on_disk(),
              (unsigned long long)needed());
    uint64_t was = on_disk();
    MUST(eng_job_run(u.eng, ENG_JOB_COMPACT, NULL, NULL) == 0);
    cr_assert_eq(on_disk(), was, "and nothing is written where nothing is to be gained");
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, inos[FILES - 1], 100, FILES - 1));
}

/* The next checkpoint, whoever writes it. */
Test(tidy, so_does_a_checkpoint_once_a_history_has_expired)
{
    make_files();
    MUST(eng_config_set(u.eng, "history_settle", "0") == 0);
    MUST(eng_config_set(u.eng, "history", "30d") == 0);
    for (unsigned i = 0; i < FILES / 2; i++)
        unit_write(&u, inos[i], 100, i + 1, 0);
    make_untidy();
    MUST(unit_stats(&u).past_states >= FILES / 2);
    MUST(eng_config_set(u.eng, "history", "0") == 0);
    MUST(eng_job_run(u.eng, ENG_JOB_HISTORY, NULL, NULL) == 0);
    MUST(unit_stats(&u).past_states == 0);
    MUST(checkpoint_write(u.eng) == 0);
    cr_assert(is_tidy(), "%llu bytes, of which %llu are needed", (unsigned long long)on_disk(),
              (unsigned long long)needed());
    cr_assert_eq(unit_problems(&u), 0);
    unit_reopen(&u);
    cr_assert(unit_holds(&u, inos[0], 100, 1));
}
