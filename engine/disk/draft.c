/*
 * draft.c - see draft.h. */
#include "disk/draft.h"

#include <assert.h>

/* Payloads up to this size, bytes, are copied, so that a batch has few pieces; larger ones are written from
 * where they are. */
#define COPY_MAX 16384u

void draft_free(struct draft *draft)
{
    free(draft->extents);
    buf_free(&draft->bytes);
    *draft = (struct draft){0};
}

void draft_reset(struct draft *draft)
{
    draft->n = draft->bytes.len = 0;
}

int draft_extent(struct draft *draft, const void *payload, uint32_t len, const char *name, uint32_t name_len)
{
    bool copied = len <= COPY_MAX;
    size_t borrowed = copied ? 0 : len;
    int r = array_grow(&draft->extents, &draft->cap, draft->n + 1, sizeof *draft->extents);
    if (!r)
        r = buf_reserve(&draft->bytes, extent_size(len, name_len) - borrowed);
    if (r)
        return r;
    assert(draft->extents && draft->bytes.data); /* both have room now */
    struct buf *b = &draft->bytes;
    draft->extents[draft->n++] = (struct draft_extent){b->len, copied ? NULL : payload, len, name_len};
    (void)extent_head_encode(b->data + b->len, 0, 0, 0, payload, len, name, name_len);
    b->len += extent_head_size(len);
    if (copied)
        memcpy(b->data + b->len, payload, len);
    memset(b->data + b->len + len - borrowed, 0, ALIGN8(len) - len);
    b->len += ALIGN8(len) - borrowed;
    if (name_len)
        memcpy(b->data + b->len, name, name_len);
    memset(b->data + b->len + name_len, 0, ALIGN8(name_len) - name_len);
    b->len += ALIGN8(name_len);
    return 0;
}
