/*
 * pieces.c - see pieces.h. */
#include "image/pieces.h"

#include "base/fault.h"
#include "base/hash.h"

static uint64_t piece_sum(const struct piece_header *h, const void *data)
{
    uint64_t sums[2] = {codec_hash(h, offsetof(struct piece_header, sum)), codec_hash(data, h->len)};
    return codec_hash(sums, sizeof sums);
}

void piece_seal(struct piece_header *h, const void *data)
{
    h->magic = PIECE_MAGIC;
    h->reserved = 0;
    h->sum = piece_sum(h, data);
}

int piece_probe(uint64_t file, uint64_t store, const void *bytes, size_t size)
{
    struct piece_header h;
    if (size < sizeof h)
        return -EBADMSG;
    memcpy(&h, bytes, sizeof h);
    if (h.magic != PIECE_MAGIC || h.file != file || h.store != store || h.len % 8 ||
        h.len > size - sizeof h || h.kind < PIECE_IMAGE || h.kind > PIECE_ROOT)
        return -EBADMSG;
    return h.sum == piece_sum(&h, (const uint8_t *)bytes + sizeof h) ? 0 : -EBADMSG;
}

int piece_check(const struct piece_ref *ref, uint64_t store, const void *bytes)
{
    struct piece_header h;
    int r = piece_probe(ref->file, store, bytes, ref->len);
    if (r)
        return r;
    memcpy(&h, bytes, sizeof h);
    return h.sum == ref->sum && h.kind == ref->kind && h.len == ref->len - sizeof h ? 0 : -EBADMSG;
}

/* ---- deltas ------------------------------------------------------------ */

uint32_t delta_size(const struct table_dirty *units)
{
    uint32_t n = 0;
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++)
        n += (uint32_t)__builtin_popcountll(units->bits[w]);
    return (uint32_t)sizeof *units + n * TABLE_UNIT;
}

void delta_encode(const struct table_dirty *units, const uint8_t *chunk, uint8_t *out)
{
    memcpy(out, units, sizeof *units);
    out += sizeof *units;
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++) {
        for (uint64_t left = units->bits[w]; left; left &= left - 1, out += TABLE_UNIT)
            memcpy(out, chunk + (size_t)(w * 64 + (unsigned)__builtin_ctzll(left)) * TABLE_UNIT, TABLE_UNIT);
    }
}

int delta_apply(const uint8_t *delta, uint32_t len, uint8_t *chunk)
{
    struct table_dirty units;
    if (len < sizeof units)
        return -EBADMSG;
    memcpy(&units, delta, sizeof units);
    if (len != delta_size(&units))
        return -EBADMSG;
    delta += sizeof units;
    for (unsigned w = 0; w < TABLE_UNIT_WORDS; w++) {
        for (uint64_t left = units.bits[w]; left; left &= left - 1, delta += TABLE_UNIT)
            memcpy(chunk + (size_t)(w * 64 + (unsigned)__builtin_ctzll(left)) * TABLE_UNIT, delta,
                   TABLE_UNIT);
    }
    return 0;
}

/* ---- the map ------------------------------------------------------------ */

struct page_entry {
    uint32_t carry;
    uint16_t free_head, n_free;
    uint32_t n_refs, flags;
};
static_assert(sizeof(struct page_entry) == 16, "map entry layout");

static_assert(MAP_PAGE_MAX ==
                  MAP_PAGE_CHUNKS * (sizeof(struct page_entry) + sizeof((struct map_entry *)0)->refs +
                                     sizeof(struct table_dirty)),
              "size of the largest page");

/* Bytes of the bitmap behind the references: there is one if there are deltas. */
static size_t since_size(uint32_t n_refs)
{
    return n_refs > 1 ? sizeof(struct table_dirty) : 0;
}

uint32_t map_page_size(const struct map_entry *entries, uint32_t n)
{
    size_t size = n * sizeof(struct page_entry);
    for (uint32_t i = 0; i < n; i++)
        size += entries[i].n_refs * sizeof(struct piece_ref) + since_size(entries[i].n_refs);
    return (uint32_t)size;
}

void map_page_encode(const struct map_entry *entries, uint32_t n, uint8_t *out)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct map_entry *e = &entries[i];
        struct page_entry pe = {e->meta.carry, e->meta.free_head, e->meta.n_free, e->n_refs, e->meta.flags};
        memcpy(out, &pe, sizeof pe);
        out += sizeof pe;
        memcpy(out, e->refs, e->n_refs * sizeof *e->refs);
        out += e->n_refs * sizeof *e->refs;
        memcpy(out, &e->since, since_size(e->n_refs));
        out += since_size(e->n_refs);
    }
}

static bool may_be_ref(const struct piece_ref *ref, bool first)
{
    uint32_t kind = first ? PIECE_IMAGE : PIECE_DELTA;
    size_t most = sizeof(struct piece_header) + TABLE_CHUNK_SIZE + (first ? 0 : sizeof(struct table_dirty));
    return ref->file && ref->kind == kind && ref->len > sizeof(struct piece_header) && ref->len <= most &&
           ref->len % 8 == 0 && ref->offset % 8 == 0;
}

int map_page_decode(const uint8_t *page, uint32_t len, struct map_entry *ret_entries, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct map_entry *e = &ret_entries[i];
        struct page_entry pe;
        if (len < sizeof pe)
            return -EBADMSG;
        memcpy(&pe, page, sizeof pe);
        page += sizeof pe;
        len -= (uint32_t)sizeof pe;
        if (pe.n_refs > ARRAY_LEN(e->refs) || len < pe.n_refs * sizeof *e->refs + since_size(pe.n_refs))
            return -EBADMSG;
        uint32_t flags = MUTANT(APART_FORGOTTEN) ? 0 : pe.flags & TABLE_APART;
        *e = (struct map_entry){.meta = {pe.free_head, pe.n_free, pe.carry, flags}, .n_refs = pe.n_refs};
        memcpy(e->refs, page, pe.n_refs * sizeof *e->refs);
        page += pe.n_refs * sizeof *e->refs;
        memcpy(&e->since, page, since_size(pe.n_refs));
        page += since_size(pe.n_refs);
        len -= (uint32_t)(pe.n_refs * sizeof *e->refs + since_size(pe.n_refs));
        for (uint32_t k = 0; k < e->n_refs; k++)
            if (!may_be_ref(&e->refs[k], k == 0))
                return -EBADMSG;
    }
    return len == 0 ? 0 : -EBADMSG;
}
