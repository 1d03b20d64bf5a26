/*
 * cost.c - see cost.h.
 */
#include "cost.h"

#include <stdlib.h>
#include <string.h>

static struct extent_ref *refs;
static size_t n_refs;
static uint64_t tail_relocated, tail_last, tail_replay;
static char tail[SEGMENT_NAME_SIZE];
static uint8_t *log_image; /* NULL: the log has its second copy */
static size_t log_size;

void cost_learn(struct unit *u, uint64_t relocated, uint64_t last_batch)
{
    struct ckpt_position at;
    UNIT_NEED(extent_refs_collect(u->eng, NULL, &refs, &n_refs) == 0);
    UNIT_NEED(checkpoint_newest(u->eng, &at));
    segment_name(u->eng->log.active->id, tail);
    tail_replay = at.segment == u->eng->log.active->id ? at.offset : 0;
    tail_relocated = relocated;
    tail_last = last_batch;
}

void cost_learn_alone(struct simdisk *disk)
{
    UNIT_NEED(simdisk_get(disk, tail, &log_image, &log_size) == 0);
}

void cost_forget(void)
{
    free(refs);
    free(log_image);
    refs = NULL;
    log_image = NULL;
    n_refs = 0;
}

static bool meet(uint64_t from, uint64_t to, uint64_t a, uint64_t b)
{
    return from < b && a < to;
}

static void add_piece(struct cost *cost, uint64_t ino, uint64_t off, uint64_t len)
{
    UNIT_NEED(cost->n < COST_PIECES_MAX);
    cost->pieces[cost->n++] = (struct cost_piece){ino, off, len};
}

/* Of a live range: with the head of its extent all of it goes, with a block what lies in that block. */
static void cost_of_ref(struct cost *cost, const struct extent_ref *ref, uint64_t from, uint64_t to)
{
    uint64_t at = locator_offset(&ref->from), data = at + extent_head_size(ref->from.ext_len);
    uint32_t skip = ref->from.skip, end = skip + ref->from.len;
    if (ref->off == EXTENT_XATTR_OFF) {
        if (meet(from, to, at, data + ref->from.ext_len))
            add_piece(cost, ref->ino, EXTENT_XATTR_OFF, 0);
        return;
    }
    if (meet(from, to, at, data)) {
        add_piece(cost, ref->ino, ref->off, ref->from.len);
        return;
    }
    for (uint32_t b = skip / BLOCK_SIZE * BLOCK_SIZE; b < end; b += BLOCK_SIZE) {
        uint32_t block_end = MIN_OF(b + BLOCK_SIZE, ref->from.ext_len), lo = MAX_OF(b, skip),
                 hi = MIN_OF(block_end, end);
        if (meet(from, to, data + b, data + block_end))
            add_piece(cost, ref->ino, ref->off + (lo - skip), hi - lo);
    }
}

/* Of the part of the log that is replayed the metadata has a second copy, but that of the last batch. Where
 * that copy is gone its last batch may go, too, of the others only the content may. */
static void cost_of_log(struct cost *cost, uint64_t from, uint64_t to)
{
    if (to > tail_last) {
        cost->lost_from = log_image ? from : MAX_OF(from, tail_last);
        /* Where the survivors lie is said only here, and what they were copied from is gone: nothing may be
         * lost of them, but the store may be refused. */
        cost->may_refuse = log_image && from < tail_relocated;
        return;
    }
    for (uint64_t at = sizeof(struct segment_header); log_image && at < tail_last;) {
        struct batch_header h;
        memcpy(&h, log_image + at, sizeof h);
        UNIT_NEED(h.magic == BATCH_MAGIC);
        if (at >= tail_replay && meet(from, to, at, at + sizeof h + h.ops_len))
            cost->may_refuse = true;
        at += sizeof h + h.ops_len + h.extents_len;
    }
}

/* All but content has two copies: what one has lost costs nothing. */
struct cost cost_of(const char *name, uint64_t from, uint64_t to)
{
    struct cost cost = {.lost_from = COST_NO_LOSS};
    uint32_t id;
    if (strcmp(name, tail) == 0)
        cost_of_log(&cost, from, to);
    for (size_t i = 0; i < n_refs && segment_parse_name(name, &id) == 0; i++)
        if (refs[i].from.seg == id)
            cost_of_ref(&cost, &refs[i], from, to);
    return cost;
}

bool cost_covers(const struct cost *cost, uint64_t ino, uint64_t off, uint64_t len)
{
    for (unsigned i = 0; i < cost->n; i++) {
        const struct cost_piece *p = &cost->pieces[i];
        bool xattr = off == EXTENT_XATTR_OFF, is_xattr = p->off == EXTENT_XATTR_OFF;
        if (p->ino == ino && xattr == is_xattr && (xattr || meet(off, off + len, p->off, p->off + p->len)))
            return true;
    }
    return false;
}

bool cost_is_none(const struct cost *cost)
{
    return !cost->may_refuse && cost->lost_from == COST_NO_LOSS && !cost->n;
}
