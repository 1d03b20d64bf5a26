/* fuzz_checkpoint.c - any bytes as a checkpoint, once as they are and once with sums that hold; without the
 * log to fall back on. */
#include "fuzz_store.h"

#include "image_files.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char name[64];
    for (int resealed = 0; resealed < 2; resealed++) {
        struct unit c;
        uint8_t *copy = malloc(size + 1);
        UNIT_NEED(copy);
        memcpy(copy, data, size);
        if (resealed)
            fuzz_reseal_checkpoint(copy, size);
        unit_clone(&c, fuzz_store(true));
        UNIT_NEED(unit_files(&c, ".ckp", name) == 1);
        (void)simdisk_remove(c.disk, FUZZ_LOG);
        image_files_put(c.disk, name, copy, size);
        free(copy);
        fuzz_use(&c);
    }
    return 0;
}
