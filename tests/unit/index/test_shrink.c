/*
 * test_shrink.c - what is removed takes no memory and no place in checkpoints any more: an index that had
 * many memories is as large as one that never had them. And how large it is for each memory that it has. */
#include "engine.h"
#include "index/apply.h"
#include "index/verify.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#define KEPT 20000u
#define GONE 300000u
#define DIRS 100u

static struct index idx;
static uint64_t seq, dirs[DIRS];
static unsigned made;

static void apply(struct op op)
{
    MUST(index_reserve(&idx, &op, 1) == 0);
    MUST(index_apply(&idx, &op, ++seq) == 0);
}

static uint64_t make(uint32_t mode, uint64_t dir, const char *text)
{
    uint64_t ino = index_predict_ino(&idx, NULL);
    apply((struct op){.type = OP_CREATE, .ino = ino, .mode = mode, .time = 1});
    if (dir)
        apply((struct op){.type = OP_LINK,
                          .parent = dir,
                          .ino = ino,
                          .cookie = idx.s.next_cookie,
                          .time = 2,
                          .name = text,
                          .name_len = (uint16_t)strlen(text)});
    return ino;
}

static void index_begin(void)
{
    char text[16];
    seq = 0;
    MUST(index_init(&idx, 42) == 0);
    MUST(make(S_IFDIR | 0755, 0, NULL) == 1);
    MUST(index_touch_segment(&idx, 1, SEGMENT_LOG, 1) == 0);
    for (unsigned i = 0; i < DIRS; i++) {
        (void)snprintf(text, sizeof(text), "d%u", i);
        dirs[i] = make(S_IFDIR | 0755, 1, text);
    }
}

/* A memory as most are: one extent, one attribute. */
struct memory {
    uint64_t ino, dir;
    char text[24];
};

static void memory_make(struct memory *m, unsigned dir, bool large)
{
    uint64_t rng = made;
    m->dir = dirs[dir];
    (void)snprintf(m->text, sizeof(m->text), "memory-%06u.md", made++);
    m->ino = make(S_IFREG | 0644, m->dir, m->text);
    struct locator loc = {1, made % 1000, 0, 100, 100};
    apply((struct op){.type = OP_EXTENT, .ino = m->ino, .loc = loc});
    if (!large)
        return;
    for (uint64_t off = 4096; off < 3 * 4096; off += 4096)
        apply((struct op){.type = OP_EXTENT, .ino = m->ino, .off = off, .loc = loc});
    apply((struct op){.type = OP_XATTR_SET,
                      .ino = m->ino,
                      .name = "user.tag",
                      .name_len = 8,
                      .value = "0123456789012345678901234567890123456789",
                      .value_len = (uint32_t)rng_below(&rng, 40)});
}

static void memory_remove(const struct memory *m)
{
    apply((struct op){.type = OP_UNLINK,
                      .parent = m->dir,
                      .ino = m->ino,
                      .time = 3,
                      .name = m->text,
                      .name_len = (uint16_t)strlen(m->text)});
    apply((struct op){.type = OP_FREE, .ino = m->ino});
}

/* What a checkpoint of all of it has, and what memory holds. */
static uint64_t image_bytes(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < INDEX_TABLES; i++) {
        const struct table *t = index_table(&idx, i);
        for (uint32_t c = 0; c < t->n_chunks; c++)
            bytes += t->states[c] == TABLE_DROPPED ? 0 : table_chunk_len(t, c);
    }
    return bytes;
}

static uint64_t memory_bytes(void)
{
    while (chunk_pool_trim(idx.pool, 100) > 0)
        ;
    return chunk_pool_bytes(idx.pool) + chunk_pool_live_bytes(idx.ref_pool);
}

/* What an opening makes anew. */
static void open_again(void)
{
    idmap_done(&idx.seg_slots);
    MUST(index_opened(&idx) == 0);
}

static void shrink(void)
{
    uint32_t chunks = 0, rounds = 0;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        chunks += index_table(&idx, i)->n_chunks;
    while (index_shrink(&idx, 1) > 0)
        MUST(++rounds <= 5 * chunks); /* bit by bit, and it ends */
}

static void index_end(void)
{
    MUST(index_verify(&idx, true, NULL, NULL) == 0);
    MUST(names_validate(&idx.names) == 0 && btree_validate(&idx.dirs) == 0);
    MUST(btree_validate(&idx.extents) == 0);
    MUST(chunk_pool_overdrafts(idx.pool) == 0 && chunk_pool_overdrafts(idx.ref_pool) == 0);
    index_free(&idx);
}

static struct memory *make_some(unsigned n, bool large)
{
    struct memory *m = calloc(n, sizeof *m);
    MUST(m != NULL);
    for (unsigned i = 0; i < n; i++)
        memory_make(&m[i], i % DIRS, large);
    return m;
}

/* Some before, as many are made while others go, in any order; the chunks that are shared with those that are
 * kept are few. */
static void make_and_remove(uint64_t *rng)
{
    struct memory *gone = make_some(GONE, true);
    for (unsigned i = GONE; i > 0; i--) {
        unsigned k = (unsigned)rng_below(rng, i);
        memory_remove(&gone[k]);
        gone[k] = gone[i - 1];
        if (i % 1000 == 0)
            (void)index_shrink(&idx, 1);
    }
    free(gone);
    shrink();
}

Test(shrink, what_was_made_and_removed_takes_nothing, .timeout = 120)
{
    uint64_t rng = test_seed();
    index_begin();
    struct memory *kept = make_some(KEPT, false);
    uint64_t new_image = image_bytes(), new_memory = memory_bytes();
    make_and_remove(&rng);
    printf("%u memories of %u: image %llu, of new ones %llu; memory %llu, %llu\n", KEPT, KEPT + GONE,
           (unsigned long long)image_bytes(), (unsigned long long)new_image,
           (unsigned long long)memory_bytes(), (unsigned long long)new_memory);
    MUST(image_bytes() <= new_image + new_image / 10);
    MUST(memory_bytes() <= new_memory + new_memory / 10);
    open_again();
    MUST(memory_bytes() <= new_memory + new_memory / 10);
    make_and_remove(&rng); /* not little by little, either */
    MUST(image_bytes() <= new_image + new_image / 10);
    for (unsigned i = 0; i < KEPT; i++)
        memory_remove(&kept[i]);
    free(kept);
    shrink();
    MUST(index_find_name(&idx, 1, "d7", 2) == index_inode(&idx, dirs[7])->dentry);
    /* Each table has its first chunk at most; that of the inodes has the folders. */
    MUST(chunk_pool_live_bytes(idx.pool) <= INDEX_TABLES * (uint64_t)TABLE_CHUNK_SIZE);
    MUST(idx.dentries.n_chunks == 1 && idx.buckets.n_chunks == 1 && idx.extents.nodes.used == 1);
    index_end();
}

/* The ways in which memories are made: into many folders by turns, and one folder after the other. */
Test(shrink, bytes_for_each_memory)
{
    for (int by_turns = 0; by_turns < 2; by_turns++) {
        index_begin();
        uint64_t before = image_bytes();
        enum { N = 200000 };
        struct memory m;
        for (unsigned i = 0; i < N; i++)
            memory_make(&m, by_turns ? i % DIRS : i / (N / DIRS), false);
        double bytes = (double)(image_bytes() - before) / N;
        printf("%.1f bytes a memory\n", bytes);
        MUST(bytes < 198); /* inode 128, dentry 32, bucket 4, name 16, order 16 and a little */
        index_end();
    }
}
