/* fuzz_segment.c - any bytes as the file of the log. */
#include "fuzz_store.h"

static int on_item(void *arg, const struct eng_dump_item *item)
{
    (void)arg;
    for (size_t i = 0; i < item->n_fields; i++) /* each byte that is handed out may be looked at */
        if (item->fields[i].type == ENG_DUMP_BYTES &&
            memchr(item->fields[i].bytes, 0xa5, item->fields[i].len))
            return 0;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct unit c;
    unit_clone(&c, fuzz_store(false));
    simdisk_put(c.disk, FUZZ_LOG, data, size);
    (void)eng_dump(NULL, c.opt.io, 1, true, on_item, NULL);
    fuzz_use(&c);
    return 0;
}
