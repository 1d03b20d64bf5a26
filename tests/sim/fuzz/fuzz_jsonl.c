/* fuzz_jsonl.c - any line: refused with a word, or printed and parsed again to the same memory. */
#include "ctl/transfer/jsonl.h"

#include "need.h" /* not fuzz_store.h: the tools have names in common with the inside of the engine */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void one(const uint8_t *data, size_t size, const struct jsonl_options *options)
{
    struct pool pool = {0}, pool_again = {0};
    struct memory m, again;
    struct buf out = {0};
    char why[JSONL_WHY_MAX] = "";
    int r = jsonl_parse_as((const char *)data, size, options, &pool, &m, why);
    UNIT_NEED(r == 0 || (r == -EINVAL && why[0]));
    if (!r) {
        UNIT_NEED(jsonl_print(&m, &pool, &out) == 0 && out.len > 0);
        r = jsonl_parse((const char *)out.data, out.len - 1, &pool_again, &again, why);
        if (r)
            (void)fprintf(stderr, "%s: %.*s\n", why, (int)out.len, (const char *)out.data);
        UNIT_NEED(r == 0);
        UNIT_NEED(again.id_len == m.id_len && memcmp(again.id, m.id, m.id_len) == 0);
        UNIT_NEED(again.content_len == m.content_len &&
                  (m.content_len == 0 || memcmp(again.content, m.content, m.content_len) == 0));
        UNIT_NEED(again.n_xattrs == m.n_xattrs);
    }
    buf_done(&out);
    pool_done(&pool);
    pool_done(&pool_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct jsonl_options strict, lenient = {.lenient = true, .zone.known = true};
    one(data, size, &strict);
    one(data, size, &lenient);
    return 0;
}
