/*
 * fuzz_recover.c - a store whose log is altered here and there, with sums and chain made right again, so that
 * recovery gets to what the ops say. The input is a list of changes: place (3 bytes), length (1), bytes. */
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t *image;
    static size_t image_size;
    if (!image)
        UNIT_NEED(simdisk_get(fuzz_store(false)->disk, FUZZ_LOG, &image, &image_size) == 0);
    uint8_t *altered = malloc(image_size);
    UNIT_NEED(altered);
    memcpy(altered, image, image_size);
    while (size >= 5) {
        size_t at = (data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16) % image_size;
        size_t len = MIN_OF(MIN_OF((size_t)(data[3] % 16 + 1), size - 4), image_size - at);
        memcpy(altered + at, data + 4, len);
        data += 4 + len;
        size -= 4 + len;
    }
    fuzz_reseal_log(altered, image_size);
    struct unit c;
    unit_clone(&c, fuzz_store(false));
    simdisk_put(c.disk, FUZZ_LOG, altered, image_size);
    free(altered);
    fuzz_use(&c);
    return 0;
}
