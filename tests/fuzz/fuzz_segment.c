/* fuzz_segment.c - any bytes as the file of the log. */
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unit c;
    unit_clone(&c, fuzz_store(false));
    simdisk_put(c.disk, FUZZ_LOG, data, size);
    fuzz_use(&c);
    return 0;
}
