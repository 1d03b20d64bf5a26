/* fuzz_batch.c - any bytes as the ops of a batch: what is decoded is encoded to the same bytes, and nothing
 * beyond is read. */
#include "fuzz_store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size + 1), *out;
    UNIT_NEED(copy);
    memcpy(copy, data, size);
    for (size_t at = 0; at < size;) {
        struct op op, again;
        size_t used, used_again;
        if (op_decode(copy + at, size - at, &op, &used) != 0)
            break;
        UNIT_NEED(used > 0 && used <= size - at && op_size(&op) == used);
        out = calloc(1, used);
        UNIT_NEED(out);
        op_encode(&op, out);
        UNIT_NEED(op_decode(out, used, &again, &used_again) == 0 && used_again == used &&
                  again.type == op.type && again.ino == op.ino);
        free(out);
        at += used;
    }
    free(copy);
    return 0;
}
