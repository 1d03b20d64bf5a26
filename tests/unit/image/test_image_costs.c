/*
 * test_image_costs.c - what checkpoints cost, counted in bytes: for random changes, for few, for none; how
 * many files there are, and how large they are. */
#include "image_tables.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(image_costs, .timeout = 240);

/* A tenth of a store of 1,000,000 memories: the share of a chunk in a change is the same. */
#define MEMORIES 100000u
#define OVERWRITES 2000u /* between two checkpoints: a fiftieth of the memories */
#define LOG_BYTES                                                                                            \
    514u /* of an overwrite of 300 bytes: header of the batch, ops, head of the extent, content, hint */

static struct it it;

static void setup(void)
{
    it_new(&it, test_seed());
    it.live.images.spare_bytes = IMAGE_SPARE_BYTES / 4;
    for (uint32_t i = 0; i < MEMORIES; i++)
        (void)it_add(&it, 0);
    for (uint32_t i = 0; i < MEMORIES; i++)
        (void)it_add(&it, 1);
    MUST(it_checkpoint(&it) == 0);
    it.bytes = 0;
}

static void teardown(void)
{
    it_free(&it);
}

static uint64_t on_disk(uint64_t *ret_live)
{
    uint64_t size = 0;
    *ret_live = 0;
    for (size_t i = 0; i < it.live.images.map.n_files; i++) {
        size += it.live.images.map.files[i].size;
        *ret_live += it.live.images.map.files[i].live;
    }
    return size;
}

Test(image_costs, random_overwrites, .init = setup, .fini = teardown)
{
    uint64_t log = 0, most = 0, live = 0, cleaned = 0, images = 0, merged = 0, pages = 0, bytes = 0;
    for (int round = 0; round < 120; round++) {
        for (uint32_t i = 0; i < OVERWRITES; i++)
            it_change(&it, 0, 1 + (uint32_t)rng_below(&it.rng, MEMORIES));
        MUST(it_checkpoint(&it) == 0);
        log += OVERWRITES * LOG_BYTES;
        bytes += it.last.bytes;
        cleaned += it.last.cleaned;
        images += it.last.images;
        merged += it.last.merged;
        pages += it.last.pages;
        most = MAX_OF(most, on_disk(&live));
        if (round == 0)
            (void)fprintf(stderr, "the first checkpoint: %.2f bytes for a byte of log\n",
                          (double)bytes / (double)log);
        if (round == 0)
            MUST(bytes < log);
        if (round % 20 == 19)
            (void)fprintf(stderr,
                          "%d checkpoints: %.2f (moved %.2f; %llu images, %llu merged, %llu pages), on disk "
                          "%.2f x 2 of %.1f MB\n",
                          round + 1, (double)bytes / (double)log, (double)cleaned / (double)log,
                          (unsigned long long)images, (unsigned long long)merged, (unsigned long long)pages,
                          (double)most / (double)(MEMORIES * 144), (double)(MEMORIES * 144) / 1e6);
    }
    MUST(bytes <= 3 * log);
    MUST(it_reads_as(&it, &it.live));
}

/* Small ones are merged as they come, at a cost in proportion to them. */
Test(image_costs, few_changes, .init = setup, .fini = teardown)
{
    uint64_t most = 0, live, files = 0;
    for (int round = 0; round < 400; round++) {
        for (int i = 0; i < 3; i++)
            it_change(&it, 0, 1 + (uint32_t)rng_below(&it.rng, MEMORIES));
        MUST(it_checkpoint(&it) == 0);
        most = MAX_OF(most, it.last.bytes);
        files = MAX_OF(files, it.live.images.map.n_files);
    }
    uint64_t size = on_disk(&live);
    (void)fprintf(stderr, "a checkpoint of 3 changes: %.0f bytes, %llu at most; %llu files at most\n",
                  (double)it.bytes / 400, (unsigned long long)most, (unsigned long long)files);
    MUST(files <= IMAGE_FILES_MAX + 1);
    MUST(it.bytes / 400 < 256u << 10 && most < 4u << 20);
    MUST(size <= live * 2);
    MUST(it_reads_as(&it, &it.live));
}

/* What is removed comes back, although nothing else changes. */
Test(image_costs, what_is_gone, .init = setup, .fini = teardown)
{
    uint64_t live, before = on_disk(&live);
    for (uint32_t i = 1; i < MEMORIES - 10000; i++)
        it_remove(&it, 0, i);
    MUST(table_drop_empty(&it.live.t[0], MEMORIES) == 0);
    for (int round = 0; round < 40; round++) {
        it_change(&it, 0, MEMORIES - 5);
        MUST(it_checkpoint(&it) == 0);
    }
    uint64_t after = on_disk(&live);
    (void)fprintf(stderr, "%llu bytes before, %llu after\n", (unsigned long long)before,
                  (unsigned long long)after);
    MUST(live < before / 3);
    MUST(after <= live * 3 / 2 + it.live.images.spare_bytes + (64u << 10));
    MUST(it_reads_as(&it, &it.live));
}

/* Each has something that nothing supersedes: they are merged although none is empty. */
Test(image_costs, many_files, .init = setup, .fini = teardown)
{
    uint64_t files = 0, most = 0;
    it.live.images.spare_bytes = UINT64_MAX / 2;
    for (uint32_t c = 0; c < 150; c++) {
        for (uint32_t i = 0; i < 512; i++)
            it_change(&it, 0, MAX_OF(c * 512 + i, 1u));
        MUST(it_checkpoint(&it) == 0);
        files = MAX_OF(files, it.live.images.map.n_files);
        most = MAX_OF(most, it.last.bytes);
    }
    (void)fprintf(stderr, "%llu files at most, %llu bytes a checkpoint at most\n", (unsigned long long)files,
                  (unsigned long long)most);
    MUST(files <= IMAGE_FILES_MAX + 1);
    MUST(most < 8u << 20);
    MUST(it_reads_as(&it, &it.live));
}
