/* fuzz_superblock.c - any bytes as a superblock: what is accepted is what it says, and such a store is
 * refused or usable. */
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct superblock sb, again;
    uint8_t image[2 * SUPERBLOCK_SIZE], resealed[2 * SUPERBLOCK_SIZE] = {0};
    if (superblock_decode(data, size, &sb) == 0) {
        superblock_encode(&sb, image);
        UNIT_NEED(superblock_decode(image, sizeof image, &again) == 0 && memcmp(&sb, &again, sizeof sb) == 0);
    }
    /* the sum of the first copy made right, so that what is in it is looked at */
    memcpy(resealed, data, MIN_OF(size, sizeof resealed));
    uint64_t sum = codec_hash(resealed, 64);
    memcpy(resealed + 64, &sum, sizeof sum);
    struct unit c;
    unit_clone(&c, fuzz_store(true));
    simdisk_put(c.disk, "superblock", resealed, sizeof resealed);
    fuzz_use(&c);
    return 0;
}
