/*
 * ages.c - see ages.h. */
#include "image/ages.h"

#include "image/checkpoint.h"

/* The numbers of the image files that there are now. */
static int list_files(struct images *images, struct ages *ages)
{
    pthread_rwlock_rdlock(&images->lock);
    size_t n = images->map.n_files;
    ages->files = calloc(n + 1, sizeof *ages->files);
    for (size_t i = 0; ages->files && i < n; i++)
        ages->files[i].file = images->map.files[i].id;
    pthread_rwlock_unlock(&images->lock);
    ages->n_files = ages->files ? n : 0;
    return ages->files ? 0 : -ENOMEM;
}

int ages_begin(struct eng *eng, uint64_t since, struct ages *ret_ages)
{
    struct images *images = &eng->checkpoints->images;
    struct ages ages = {.since = since};
    pthread_rwlock_rdlock(&eng->index_lock);
    ages.period = chunk_pool_marked(eng->idx.pool, since);
    pthread_rwlock_unlock(&eng->index_lock);
    int r = ages.period ? 0 : list_files(images, &ages); /* else all that was loaded is older */
    for (size_t i = 0; i < ages.n_files; i++)
        if (images_probe(images, ages.files[i].file, &ages.files[i].seq))
            ages.files[i].seq = UINT64_MAX;
    *ret_ages = ages;
    return r;
}

void ages_end(struct ages *ages)
{
    free(ages->files);
    *ages = (struct ages){0};
}

static uint64_t seq_of(const struct ages *ages, uint64_t file)
{
    size_t lo = 0, hi = ages->n_files;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ages->files[mid].file < file)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < ages->n_files && ages->files[lo].file == file ? ages->files[lo].seq : UINT64_MAX;
}

/* The batch of the checkpoint that wrote the newest of its pieces. */
static uint64_t image_seq(struct images *images, const struct ages *ages, unsigned table, uint32_t c)
{
    uint64_t newest = 0;
    pthread_rwlock_rdlock(&images->lock);
    const struct map_table *t = table < images->map.n_tables ? &images->map.tables[table] : NULL;
    const struct map_entry *e = t && c < t->n_chunks ? &t->entries[c] : NULL;
    uint32_t n = e ? e->n_refs : 0;
    for (uint32_t k = 0; k < (MUTANT(FIRST_PIECE_ASKED) ? MIN_OF(n, 1u) : n); k++)
        newest = MAX_OF(newest, seq_of(ages, e->refs[k].file));
    pthread_rwlock_unlock(&images->lock);
    return n ? newest : UINT64_MAX;
}

bool ages_is_older(struct eng *eng, const struct ages *ages, unsigned table, uint32_t c)
{
    uint64_t birth = index_table(&eng->idx, table)->births[c];
    if (birth || ages->period)
        return birth <= ages->period + MUTANT(CHUNK_PASSED_BY);
    return image_seq(&eng->checkpoints->images, ages, table, c) <= ages->since;
}
