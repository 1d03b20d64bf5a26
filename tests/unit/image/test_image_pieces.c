/*
 * test_image_pieces.c - the parts of image files: what is sealed is believed, what differs in a bit is not;
 * deltas and pages of the map come back as they went. */
#include "image/pieces.h"

#include "must.h"
#include "rng.h"

#include <criterion/criterion.h>

#define STORE UINT64_C(77)

TestSuite(pieces, .timeout = 60);

static struct piece_ref seal(uint8_t *bytes, enum piece_kind kind, uint32_t len)
{
    struct piece_header *h = (struct piece_header *)bytes;
    *h = (struct piece_header){
        .kind = (uint8_t)kind, .table = 3, .number = 9, .len = len, .file = 5, .store = STORE, .seq = 100};
    piece_seal(h, bytes + sizeof(*h));
    return (struct piece_ref){
        .file = 5, .offset = 64, .sum = h->sum, .len = len + (uint32_t)sizeof(*h), .kind = kind};
}

Test(pieces, only_what_was_sealed_is_believed)
{
    _Alignas(8) uint8_t bytes[48 + 128];
    uint64_t rng = test_seed();
    rng_fill(bytes, sizeof(bytes), rng_next(&rng));
    struct piece_ref ref = seal(bytes, PIECE_DELTA, 128), other = ref;
    MUST(piece_check(&ref, STORE, bytes) == 0 && piece_probe(5, STORE, bytes, sizeof(bytes)) == 0);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        MUST(piece_check(&ref, STORE, bytes) == -EBADMSG &&
             piece_probe(5, STORE, bytes, sizeof(bytes)) == -EBADMSG);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    MUST(piece_check(&ref, STORE + 1, bytes) == -EBADMSG);
    MUST(piece_probe(6, STORE, bytes, sizeof(bytes)) == -EBADMSG);
    MUST(piece_probe(5, STORE, bytes, sizeof(bytes) - 1) == -EBADMSG &&
         piece_probe(5, STORE, bytes, 47) == -EBADMSG);
    other.kind = PIECE_IMAGE;
    MUST(piece_check(&other, STORE, bytes) == -EBADMSG);
    bytes[60]++; /* another piece that is whole, at the same place */
    other = seal(bytes, PIECE_DELTA, 128);
    MUST(piece_check(&ref, STORE, bytes) == -EBADMSG && piece_check(&other, STORE, bytes) == 0);
}

Test(pieces, deltas_bring_a_chunk_up_to_date)
{
    static uint8_t before[TABLE_CHUNK_SIZE], after[TABLE_CHUNK_SIZE], delta[TABLE_CHUNK_SIZE + 64];
    uint64_t rng = test_seed();
    for (int round = 0; round < 200; round++) {
        struct table_dirty units = {0};
        rng_fill(before, sizeof(before), rng_next(&rng));
        memcpy(after, before, sizeof(after));
        uint32_t n = (uint32_t)rng_below(&rng, rng_below(&rng, 2) ? 5 : 600);
        for (uint32_t k = 0; k < n; k++) {
            uint32_t u = (uint32_t)rng_below(&rng, TABLE_UNITS);
            units.bits[u / 64] |= UINT64_C(1) << u % 64;
            rng_fill(after + u * TABLE_UNIT, TABLE_UNIT, rng_next(&rng));
        }
        MUST(units_any(&units) == (n > 0));
        uint32_t len = delta_size(&units);
        delta_encode(&units, after, delta);
        MUST(delta_apply(delta, len, before) == 0);
        MUST(memcmp(before, after, sizeof(after)) == 0);
        MUST(delta_apply(delta, len - 8, before) == -EBADMSG && delta_apply(delta, 63, before) == -EBADMSG);
        delta[3] ^= 1; /* a bitmap that says something else */
        MUST(delta_apply(delta, len, before) == -EBADMSG);
    }
}

static void random_entry(uint64_t *rng, struct map_entry *e)
{
    *e = (struct map_entry){.meta = {(uint16_t)rng_next(rng), (uint16_t)rng_next(rng),
                                     (uint32_t)rng_next(rng), (uint32_t)rng_below(rng, 2)},
                            .n_refs = (uint32_t)rng_below(rng, 2 + MAP_DELTAS_MAX)};
    for (uint32_t k = 0; k < e->n_refs; k++)
        e->refs[k] = (struct piece_ref){.file = 1 + rng_below(rng, 1000),
                                        .offset = rng_below(rng, 1u << 30) * 8,
                                        .sum = rng_next(rng),
                                        .len = 48 + 8 + (uint32_t)rng_below(rng, 8000) * 8,
                                        .kind = k ? PIECE_DELTA : PIECE_IMAGE};
    for (unsigned w = 0; e->n_refs > 1 && w < TABLE_UNIT_WORDS; w++)
        e->since.bits[w] = rng_next(rng);
}

Test(pieces, pages_of_the_map_come_back)
{
    static struct map_entry entries[MAP_PAGE_CHUNKS], got[MAP_PAGE_CHUNKS];
    static uint8_t page[MAP_PAGE_MAX];
    uint64_t rng = test_seed();
    for (int round = 0; round < 200; round++) {
        uint32_t n = (uint32_t)rng_below(&rng, MAP_PAGE_CHUNKS + 1);
        for (uint32_t i = 0; i < n; i++)
            random_entry(&rng, &entries[i]);
        uint32_t len = map_page_size(entries, n);
        MUST(len % 8 == 0 && len <= sizeof(page));
        map_page_encode(entries, n, page);
        MUST(map_page_decode(page, len, got, n) == 0);
        for (uint32_t i = 0; i < n; i++) {
            MUST(memcmp(&got[i].meta, &entries[i].meta, sizeof(got[i].meta)) == 0 &&
                 got[i].n_refs == entries[i].n_refs);
            MUST(memcmp(got[i].refs, entries[i].refs, got[i].n_refs * sizeof(got[i].refs[0])) == 0);
            MUST(memcmp(&got[i].since, &entries[i].since, sizeof(got[i].since)) == 0);
        }
        if (n > 0)
            MUST(map_page_decode(page, len, got, n - 1) == -EBADMSG &&
                 map_page_decode(page, len - 8, got, n) == -EBADMSG);
        for (int k = 0; k < 50 && n > 0; k++) { /* and anything else does no harm */
            page[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
            (void)map_page_decode(page, len, got, n);
        }
    }
}
