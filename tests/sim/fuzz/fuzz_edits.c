/*
 * fuzz_edits.c - real stores of some size, altered here and there, with all sums made right again: so that
 * the verification of a checkpoint, and recovery from a log, are reached and not only their first checks. The
 * input is a script: one byte that chooses the image, then commands, until it ends:
 *
 *   even  place (4 bytes), length (1), bytes: written over the image
 *   odd   table (1), number (3): so many more chunks claimed by the table (checkpoints only)
 *
 * Beside what fuzz_use() asks, opening may take no more steps from directory to directory, and no more
 * memory, than what is there allows: the linker wraps index_parent() and mmap()
 * for this. */
#include "fuzz_store.h"

#include "image_files.h"

#define STEPS_EACH 8u /* for an entry that there may be */
#define MAPPED_MORE (UINT64_C(64) << 20)

uint32_t __real_index_parent(const struct index *idx, uint32_t dir);
uint32_t __wrap_index_parent(const struct index *idx, uint32_t dir);

void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off);

static uint64_t steps, mapped;

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
    mapped += len;
    return __real_mmap64(at, len, prot, flags, fd, off);
}

uint32_t __wrap_index_parent(const struct index *idx, uint32_t dir)
{
    steps++;
    return __real_index_parent(idx, dir);
}

static uint32_t number(const uint8_t *data, size_t n)
{
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++)
        value |= (uint32_t)data[i] << 8 * i;
    return value;
}

/* Makes table t of a checkpoint claim n chunks more, in its root alone: without pages that tell of them. */
static void claim(uint8_t *image, size_t size, unsigned t, uint32_t n)
{
    struct image_footer f;
    uint32_t n_chunks, used;
    memcpy(&f, image + size - sizeof f, sizeof f);
    uint64_t at =
        f.offset + sizeof(struct piece_header) + 32 + 8 * (uint64_t)t; /* behind the head of the root */
    if (f.offset > size || at > size - 8)
        return;
    memcpy(&n_chunks, image + at, 4);
    memcpy(&used, image + at + 4, 4);
    n_chunks += n;
    used += n * (TABLE_CHUNK_SIZE / 128);
    memcpy(image + at, &n_chunks, 4);
    memcpy(image + at + 4, &used, 4);
}

static void run_script(uint8_t **image, size_t *size, const uint8_t *data, size_t left, bool checkpoint)
{
    while (left >= 6) {
        size_t used = 5;
        if (data[0] % 2 && checkpoint) {
            claim(*image, *size, data[1] % INDEX_TABLES_PLAIN, number(data + 2, 3) % (1u << 18));
        } else {
            size_t at = number(data + 1, 4) % *size, len = MIN_OF((size_t)(data[5] % 16 + 1), left - 6);
            len = MIN_OF(len, *size - at);
            memcpy(*image + at, data + 6, len);
            used = 6 + len;
        }
        data += used;
        left -= used;
    }
}

/* Opens it once, for the bounds; whether it is let in or not. */
static void measure(const struct unit *c, size_t image_size)
{
    struct unit once;
    unit_clone(&once, c);
    once.opt.read_only = true;
    steps = mapped = 0;
    (void)unit_try_open(&once);
    UNIT_NEED(steps <= STEPS_EACH * (image_size / sizeof(struct dentry_rec)));
    UNIT_NEED(mapped <= 4 * (uint64_t)image_size + MAPPED_MORE);
    unit_done(&once);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unit c;
    char name[64] = FUZZ_LOG;
    uint8_t *image;
    size_t image_size;
    if (size < 1)
        return 0;
    bool closed = data[0] & 1, large = data[0] & 2;
    unit_clone(&c, large ? fuzz_store_large(closed) : fuzz_store(closed));
    if (closed) {
        UNIT_NEED(unit_files(&c, ".ckp", name) == 1);
        (void)simdisk_remove(c.disk, FUZZ_LOG);
    }
    UNIT_NEED(simdisk_get(c.disk, name, &image, &image_size) == 0);
    run_script(&image, &image_size, data + 1, size - 1, closed);
    if (closed)
        fuzz_reseal_checkpoint(image, image_size);
    else
        fuzz_reseal_log(image, image_size);
    if (closed)
        image_files_put(c.disk, name, image, image_size);
    else
        simdisk_put(c.disk, name, image, image_size);
    free(image);
    measure(&c, image_size);
    fuzz_use(&c);
    return 0;
}
