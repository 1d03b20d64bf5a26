/*
 * summary.c - see summary.h.
 *
 * An entry: flags and, each as a number of 7 bits a byte, the distance of its place from the one before, its
 * length, the zigzag difference of its slot, and its offset, if the flags say that there is one. */
#include "disk/summary.h"

#include "base/fault.h"

#define ENTRY_MAX 40u /* bytes, more than one can take */
#define HAS_OFFSET 1u /* not 0, and not an attribute's */
#define IS_XATTR 2u
#define SAME_LENGTH 4u /* as the one before */

void summary_reset(struct summary *s)
{
    struct buf bytes = s->bytes;
    bytes.len = 0;
    *s = (struct summary){.bytes = bytes};
}

void summary_free(struct summary *s)
{
    buf_free(&s->bytes);
    *s = (struct summary){0};
}

static uint8_t *put_number(uint8_t *out, uint64_t n)
{
    for (; n >= 128; n >>= 7)
        *out++ = (uint8_t)(n | 128);
    *out++ = (uint8_t)n;
    return out;
}

/* The entry behind `last`. Returns the end of it. */
static uint8_t *put_entry(uint8_t *out, const struct summary_entry *last, const struct summary_entry *entry)
{
    bool is_xattr = entry->off == EXTENT_XATTR_OFF, same = entry->len == last->len;
    int64_t slot = (int64_t)entry->slot - last->slot;
    uint8_t flags = same ? SAME_LENGTH : 0;
    if (is_xattr)
        flags |= IS_XATTR;
    else if (entry->off)
        flags |= HAS_OFFSET;
    *out++ = flags;
    out = put_number(out, entry->off8 - last->off8);
    if (!same)
        out = put_number(out, entry->len);
    out = put_number(out, slot < 0 ? (uint64_t)-slot * 2 - 1 : (uint64_t)slot * 2);
    return flags & HAS_OFFSET ? put_number(out, entry->off) : out;
}

void summary_add(struct summary *s, const struct summary_entry *entry)
{
    s->lost = s->lost || buf_reserve(&s->bytes, ENTRY_MAX) != 0;
    if (s->lost || (MUTANT(SUMMARY_SHORT) && entry->off8 / 8 % 4 == 3))
        return;
    uint8_t *from = s->bytes.data + s->bytes.len;
    size_t size = (size_t)(put_entry(from, &s->last, entry) - from);
    if (s->n == 0) {
        s->first = *entry;
        s->first_size = size;
    }
    s->bytes.len += size;
    s->last = *entry;
    s->n++;
}

int summary_join(struct summary *s, const struct summary *before)
{
    struct buf joined = {0};
    size_t rest = s->n ? s->bytes.len - s->first_size : 0;
    if (!before->n)
        return 0;
    if (buf_reserve(&joined, before->bytes.len + ENTRY_MAX + rest) != 0)
        return -ENOMEM;
    memcpy(joined.data, before->bytes.data, before->bytes.len);
    uint8_t *end = joined.data + before->bytes.len;
    if (s->n) { /* each but the first is a difference to one that stays in front of it */
        end = put_entry(end, &before->last, &s->first);
        memcpy(end, s->bytes.data + s->first_size, rest);
    }
    joined.len = (size_t)(end - joined.data) + rest;
    buf_free(&s->bytes);
    s->bytes = joined;
    s->first = before->first;
    s->first_size = before->first_size;
    s->last = s->n ? s->last : before->last;
    s->n += before->n;
    return 0;
}

uint64_t summary_size(const struct summary *s)
{
    return ALIGN8(s->bytes.len) + sizeof(struct summary_footer);
}

int summary_seal(struct summary *s, uint32_t segment, uint64_t store)
{
    size_t len = s->bytes.len, padded = ALIGN8(len);
    if (s->lost)
        return -ENODATA;
    if (padded > UINT32_MAX || buf_reserve(&s->bytes, padded - len + sizeof(struct summary_footer)) != 0)
        return -ENOMEM;
    memset(s->bytes.data + len, 0, padded - len);
    struct summary_footer f = {.magic = SUMMARY_MAGIC,
                               .store = store,
                               .segment = segment,
                               .n = s->n,
                               .len = (uint32_t)padded,
                               .entries_sum = codec_hash(s->bytes.data, padded)};
    f.sum = codec_hash(&f, offsetof(struct summary_footer, sum));
    memcpy(s->bytes.data + padded, &f, sizeof f);
    s->bytes.len = padded + sizeof f;
    return 0;
}

int summary_footer_check(const struct summary_footer *f, uint32_t segment, uint64_t store, uint64_t file_size)
{
    bool is_whole = f->sum == codec_hash(f, offsetof(struct summary_footer, sum)) || MUTANT(SUMMARY_BELIEVED);
    if (f->magic != SUMMARY_MAGIC || !is_whole || f->store != store || f->segment != segment || f->len % 8 ||
        f->len > (uint64_t)f->n * ENTRY_MAX + 7 || f->n > file_size / sizeof(struct extent_header) ||
        file_size < sizeof(struct segment_header) + sizeof *f + f->len)
        return -EBADMSG;
    return 0;
}

int summary_entries_check(const struct summary_footer *f, const uint8_t *entries)
{
    return codec_hash(entries, f->len) == f->entries_sum || MUTANT(SUMMARY_BELIEVED) ? 0 : -EBADMSG;
}

/* 0: it does not end in time. */
static size_t get_number(const uint8_t *in, size_t left, uint64_t *ret_n)
{
    uint64_t n = 0;
    for (size_t i = 0; i < left && i < 10; i++) {
        n |= (uint64_t)(in[i] & 127) << 7 * i;
        if (in[i] < 128) {
            *ret_n = n;
            return i + 1;
        }
    }
    return 0;
}

static bool take_number(struct summary_reader *r, uint64_t *ret_n)
{
    size_t used = get_number(r->at, r->left, ret_n);
    r->at += used;
    r->left -= used;
    return used != 0;
}

/* The entry behind `e`, in its place. False: there can be no such. */
static bool next_entry(struct summary_reader *r, struct summary_entry *e)
{
    uint64_t distance = 0, len = e->len, zigzag = 0, off = 0;
    if (r->left == 0)
        return false;
    uint8_t flags = *r->at++;
    r->left--;
    if (!take_number(r, &distance) || (!(flags & SAME_LENGTH) && !take_number(r, &len)) ||
        !take_number(r, &zigzag) || ((flags & HAS_OFFSET) && !take_number(r, &off)))
        return false;
    int64_t difference = (int64_t)(zigzag / 2), slot;
    if (__builtin_add_overflow((int64_t)e->slot, zigzag & 1 ? -difference - 1 : difference, &slot) ||
        flags & ~(HAS_OFFSET | IS_XATTR | SAME_LENGTH) || distance == 0 || distance > UINT32_MAX ||
        e->off8 + distance >= r->end8 || len == 0 || len > EXTENT_MAX || slot <= 0 || slot > UINT32_MAX ||
        ((flags & HAS_OFFSET) && ((flags & IS_XATTR) || off == 0 || off == EXTENT_XATTR_OFF)))
        return false;
    *e = (struct summary_entry){.off8 = (uint32_t)(e->off8 + distance),
                                .len = (uint32_t)len,
                                .slot = (uint32_t)slot,
                                .off = flags & IS_XATTR ? EXTENT_XATTR_OFF : off};
    return true;
}

struct summary_reader summary_begin(const struct summary *s, uint64_t end)
{
    return (struct summary_reader){
        .at = s->bytes.data, .left = s->bytes.len, .n = s->n, .end8 = MIN_OF(end / 8, (uint64_t)UINT32_MAX)};
}

int summary_next(struct summary_reader *r, struct summary_entry *ret_entry)
{
    if (r->n == 0) {
        for (size_t i = 0; i < r->left; i++) /* the padding */
            if (r->left >= 8 || r->at[i])
                return -EBADMSG;
        return 0;
    }
    if (!next_entry(r, &r->entry))
        return -EBADMSG;
    r->n--;
    *ret_entry = r->entry;
    return 1;
}
