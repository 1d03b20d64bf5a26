/*
 * cost.c - see cost.h.
 */
#include "cost.h"

#include <stdlib.h>
#include <string.h>

#define RANGES_MAX 256

/* Bytes of a checkpoint file that one of the two kept checkpoints needs. */
struct range {
    uint64_t file, from, to;
    unsigned checkpoint; /* 0: the newest, 1: the one before */
};

static struct extent_ref *refs;
static size_t n_refs;
static uint64_t kept[2], tail_relocated, tail_last, tail_replay;
static char tail[SEGMENT_NAME_SIZE];
static struct range ranges[RANGES_MAX];
static unsigned n_ranges;
static uint8_t *log_image;
static size_t log_size;

void cost_learn(struct unit *u, uint64_t relocated, uint64_t last_batch)
{
    UNIT_NEED(extent_refs_collect(u->eng, NULL, &refs, &n_refs) == 0);
    for (unsigned i = 0; i < 2; i++)
        kept[i] = u->eng->checkpoints->kept[i].id;
    UNIT_NEED(kept[0] && kept[1]);
    segment_name(u->eng->log.active->id, tail);
    tail_relocated = relocated;
    tail_last = last_batch;
}

static void add_range(uint64_t file, uint64_t from, uint64_t to, unsigned checkpoint)
{
    UNIT_NEED(n_ranges < RANGES_MAX);
    ranges[n_ranges++] = (struct range){file, from, to, checkpoint};
}

static void learn_checkpoint(struct simdisk *disk, unsigned i)
{
    char name[32];
    uint8_t *image;
    size_t size;
    struct ckpt_footer f;
    struct ckpt_manifest m;
    checkpoint_name(kept[i], name);
    UNIT_NEED(simdisk_get(disk, name, &image, &size) == 0);
    memcpy(&f, image + size - sizeof f, sizeof f);
    memcpy(&m, image + f.manifest_offset, sizeof m);
    add_range(kept[i], f.manifest_offset, size, i);
    size_t fixed = sizeof m + m.n_tables * sizeof(struct ckpt_table);
    for (uint64_t at = fixed; at < f.manifest_len; at += sizeof(struct ckpt_chunk)) {
        struct ckpt_chunk cc;
        memcpy(&cc, image + f.manifest_offset + at, sizeof cc);
        add_range(cc.file, cc.offset, cc.offset + cc.len, i);
    }
    uint32_t id;
    if (i == 0)
        tail_replay = segment_parse_name(tail, &id) == 0 && m.segment == id ? m.offset : 0;
    free(image);
}

void cost_learn_files(struct simdisk *disk)
{
    for (unsigned i = 0; i < 2; i++)
        learn_checkpoint(disk, i);
    UNIT_NEED(simdisk_get(disk, tail, &log_image, &log_size) == 0);
}

void cost_forget(void)
{
    free(refs);
    free(log_image);
    refs = NULL;
    log_image = NULL;
    n_refs = n_ranges = 0;
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

/* Of the part of the log that is replayed: its last batch may go, of the others only the content may. */
static void cost_of_log(struct cost *cost, uint64_t from, uint64_t to)
{
    if (to > tail_last) {
        cost->lost_from = from;
        /* Where the survivors lie is said only here, and what they were copied from is gone: nothing may be
         * lost of them, but the store may be refused. */
        cost->may_refuse = from < tail_relocated;
        return;
    }
    for (uint64_t at = sizeof(struct segment_header); at < tail_last;) {
        struct batch_header h;
        memcpy(&h, log_image + at, sizeof h);
        UNIT_NEED(h.magic == BATCH_MAGIC);
        if (at >= tail_replay && meet(from, to, at, at + sizeof h + h.ops_len))
            cost->may_refuse = true;
        at += sizeof h + h.ops_len + h.extents_len;
    }
}

static void cost_of_checkpoint(struct cost *cost, uint64_t id, uint64_t from, uint64_t to)
{
    bool bad[2] = {false, false};
    for (unsigned i = 0; i < n_ranges; i++)
        if (ranges[i].file == id && meet(from, to, ranges[i].from, ranges[i].to))
            bad[ranges[i].checkpoint] = true;
    cost->may_refuse = bad[0] && bad[1]; /* one alone has the other beside it, and the log since that */
}

struct cost cost_of(const char *name, uint64_t from, uint64_t to)
{
    struct cost cost = {.lost_from = COST_NO_LOSS};
    uint32_t id;
    uint64_t ckpt;
    if (checkpoint_parse_name(name, &ckpt) == 0)
        cost_of_checkpoint(&cost, ckpt, from, to);
    if (strcmp(name, "superblock") == 0) /* two copies */
        cost.may_refuse = from < sizeof(struct superblock) && to > SUPERBLOCK_SIZE;
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
