/*
 * codec.c - encoders and decoders of the on-disk format. See codec.h and
 * docs/FORMAT.md. Pure functions. */
#include "disk/codec.h"
#include "base/fault.h"
#include "base/hash.h"

#include <errno.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define SUPERBLOCK_MAGIC UINT64_C(0x31305346474e4545) /* "EENGFS01" */
#define SEGMENT_MAGIC_V1 UINT64_C(0x3130474553474e45) /* "ENGSEG01" */
#define SEGMENT_MAGIC UINT64_C(0x3230474553474e45)    /* "ENGSEG02" */

#define HASH_INLINE_MAX 512u

uint64_t codec_hash(const void *data, size_t size)
{
    return size < HASH_INLINE_MAX ? XXH3_64bits(data, size) : hash_long(data, size);
}

uint32_t codec_name_hash(uint64_t seed, uint32_t parent, const char *name, size_t len)
{
    return (uint32_t)XXH3_64bits_withSeed(name, len,
                                          seed ^ ((uint64_t)parent * UINT64_C(0x9e3779b97f4a7c15)));
}

uint64_t codec_keyed_hash(uint64_t seed, const void *data, size_t size)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

void superblock_encode(const struct superblock *sb, uint8_t out[2 * SUPERBLOCK_SIZE])
{
    struct superblock copy = *sb;
    copy.magic = SUPERBLOCK_MAGIC;
    copy.sum = codec_hash(&copy, offsetof(struct superblock, sum));
    memset(out, 0, (size_t)2 * SUPERBLOCK_SIZE);
    memcpy(out, &copy, sizeof copy);
    memcpy(out + SUPERBLOCK_SIZE, &copy, sizeof copy);
}

int superblock_decode(const uint8_t *data, size_t size, struct superblock *ret_sb)
{
    for (size_t at = 0; at < (size_t)2 * SUPERBLOCK_SIZE; at += SUPERBLOCK_SIZE) {
        struct superblock sb;
        if (at + sizeof sb > size)
            break;
        memcpy(&sb, data + at, sizeof sb);
        if (sb.magic != SUPERBLOCK_MAGIC || sb.sum != codec_hash(&sb, offsetof(struct superblock, sum)))
            continue;
        if ((sb.version != FORMAT_VERSION && sb.version != FORMAT_VERSION_OLD) ||
            (sb.incompat & ~(sb.version == FORMAT_VERSION_OLD ? 0 : FORMAT_INCOMPAT)))
            return -EPROTONOSUPPORT;
        *ret_sb = sb;
        return 0;
    }
    return -EBADMSG;
}

uint64_t superblock_tag(const struct superblock *sb)
{
    return XXH3_64bits_withSeed(sb->uuid, sizeof sb->uuid, sb->hash_seed);
}

void segment_header_seal(struct segment_header *h, uint32_t version)
{
    h->magic = version == FORMAT_VERSION_OLD ? SEGMENT_MAGIC_V1 : SEGMENT_MAGIC;
    h->epoch = version == FORMAT_VERSION_OLD ? FORMAT_VERSION_OLD : 0;
    h->sum = codec_hash(h, offsetof(struct segment_header, sum));
}

uint32_t segment_header_version(const struct segment_header *h)
{
    return h->magic == SEGMENT_MAGIC_V1 ? FORMAT_VERSION_OLD : FORMAT_VERSION;
}

int segment_header_check(const struct segment_header *h, const uint8_t uuid[16], uint64_t id)
{
    bool is_old = h->magic == SEGMENT_MAGIC_V1 && h->epoch == FORMAT_VERSION_OLD;
    if ((h->magic != SEGMENT_MAGIC && !is_old) ||
        h->sum != codec_hash(h, offsetof(struct segment_header, sum)))
        return -EBADMSG;
    if (h->id != id || memcmp(h->uuid, uuid, 16) != 0)
        return -EBADMSG;
    return h->kind == SEGMENT_LOG || h->kind == SEGMENT_SURVIVORS ? 0 : -EBADMSG;
}

uint64_t batch_sum(const struct batch_header *h, const void *ops)
{
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, h, offsetof(struct batch_header, sum));
    XXH3_64bits_update(&state, ops, h->ops_len);
    return XXH3_64bits_digest(&state);
}

bool batch_header_fits(const struct batch_header *h, uint64_t left)
{
    return h->magic == BATCH_MAGIC && h->ops_len % 8 == 0 && h->extents_len % 8 == 0 && h->ops_len <= left &&
           ((h->ops_len <= BATCH_OPS_MAX && h->n_ops <= BATCH_N_OPS_MAX) || MUTANT(BATCH_BELIEVED));
}

size_t ckpt_head_encode(const struct ckpt_head *h, void *out)
{
    struct ckpt_head_plain plain = {.n_orphans = h->n_orphans};
    if (h->version == CKPT_HEAD_VERSION) {
        memcpy(out, h, sizeof *h);
        return sizeof *h;
    }
    memcpy(&plain, h, offsetof(struct ckpt_head, scalars));
    memcpy(plain.scalars, h->scalars, sizeof plain.scalars);
    memcpy(plain.trees, h->trees, sizeof plain.trees);
    memcpy(out, &plain, sizeof plain);
    return sizeof plain;
}

int ckpt_head_decode(const void *data, size_t len, struct ckpt_head *ret_head)
{
    struct ckpt_head_plain plain;
    struct ckpt_head h = {0};
    if (len == sizeof h) {
        memcpy(ret_head, data, sizeof h);
        return ret_head->version == CKPT_HEAD_VERSION ? 0 : -EBADMSG;
    }
    if (len != sizeof plain)
        return -EBADMSG;
    memcpy(&plain, data, sizeof plain);
    memcpy(&h, &plain, offsetof(struct ckpt_head, scalars));
    memcpy(h.scalars, plain.scalars, sizeof plain.scalars);
    memcpy(h.trees, plain.trees, sizeof plain.trees);
    h.n_orphans = plain.n_orphans;
    *ret_head = h;
    return h.version == CKPT_HEAD_PLAIN_VERSION ? 0 : -EBADMSG;
}

/* The sum of an extent header and its block checksums; the sum field itself counts as zero. */
static uint64_t extent_head_sum(const uint8_t *head, uint32_t len)
{
    uint8_t copy[EXTENT_HEAD_MAX];
    size_t size = extent_head_size(len);
    memcpy(copy, head, size);
    memset(copy + offsetof(struct extent_header, sum), 0, 8);
    return codec_hash(copy, size);
}

uint64_t extent_head_encode(uint8_t *head, uint64_t ino, uint64_t file_off, uint64_t seq, const void *payload,
                            uint32_t len, const char *name, uint32_t name_len)
{
    struct extent_header h = {.magic = EXTENT_MAGIC,
                              .len = len,
                              .ino = ino,
                              .file_off = file_off,
                              .seq = seq,
                              .name_len = name_len,
                              .name_sum = name_len ? (uint32_t)codec_hash(name, name_len) : 0};
    memcpy(head, &h, sizeof h);
    fault_hashes(len);
    for (uint32_t i = 0; i < extent_blocks(len); i++) {
        uint32_t at = i * BLOCK_SIZE;
        uint64_t sum = codec_hash((const uint8_t *)payload + at, MIN_OF(BLOCK_SIZE, len - at));
        memcpy(head + sizeof h + (size_t)8 * i, &sum, 8);
    }
    return extent_head_set_seq(head, seq);
}

void extent_head_place(uint8_t *head, uint64_t ino, uint64_t file_off)
{
    memcpy(head + offsetof(struct extent_header, ino), &ino, 8);
    memcpy(head + offsetof(struct extent_header, file_off), &file_off, 8);
}

uint64_t extent_head_set_seq(uint8_t *head, uint64_t seq)
{
    uint32_t len;
    memcpy(&len, head + offsetof(struct extent_header, len), 4);
    memcpy(head + offsetof(struct extent_header, seq), &seq, 8);
    uint64_t sum = extent_head_sum(head, len);
    memcpy(head + offsetof(struct extent_header, sum), &sum, 8);
    return sum;
}

uint64_t extent_head_renew(uint8_t *head, uint64_t seq, const char *name, uint32_t name_len)
{
    uint32_t name_sum = name_len ? (uint32_t)codec_hash(name, name_len) : 0;
    memcpy(head + offsetof(struct extent_header, name_len), &name_len, 4);
    memcpy(head + offsetof(struct extent_header, name_sum), &name_sum, 4);
    return extent_head_set_seq(head, seq);
}

int extent_head_check(const uint8_t *head, uint64_t ino, uint64_t file_off, uint32_t ext_len)
{
    struct extent_header h;
    memcpy(&h, head, sizeof h);
    if (h.magic != EXTENT_MAGIC || h.len != ext_len || h.ino != ino || h.file_off != file_off)
        return -EBADMSG;
    return h.sum == extent_head_sum(head, ext_len) ? 0 : -EBADMSG;
}

int extent_blocks_check(const uint8_t *head, uint32_t first, uint32_t n, const void *data)
{
    struct extent_header h;
    memcpy(&h, head, sizeof h);
    fault_hashes(n * BLOCK_SIZE);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t at = (first + i) * BLOCK_SIZE;
        uint64_t sum;
        memcpy(&sum, head + sizeof h + (size_t)8 * (first + i), 8);
        if (sum != codec_hash((const uint8_t *)data + (size_t)i * BLOCK_SIZE, MIN_OF(BLOCK_SIZE, h.len - at)))
            return -EBADMSG;
    }
    return 0;
}

/* ---- ops ---------------------------------------------------------------- */

/* The fixed fields of each op in the order in which they are stored; name and value follow them. */
#define FIELD(f)                                                                                             \
    {                                                                                                        \
        offsetof(struct op, f), sizeof(((struct op *)0)->f)                                                  \
    }
static const struct op_field {
    uint16_t offset, size;
} op_fields[OP_TYPES][9] = {
    [OP_CREATE] = {FIELD(ino), FIELD(mode), FIELD(uid), FIELD(gid), FIELD(rdev), FIELD(time)},
    [OP_LINK] = {FIELD(parent), FIELD(ino), FIELD(cookie), FIELD(time)},
    [OP_UNLINK] = {FIELD(parent), FIELD(ino), FIELD(time)},
    [OP_REPOINT] = {FIELD(parent), FIELD(ino), FIELD(other), FIELD(time)},
    [OP_ATTR] = {FIELD(ino), FIELD(mask), FIELD(mode), FIELD(uid), FIELD(gid), FIELD(atime), FIELD(mtime),
                 FIELD(ctime)},
    [OP_TRUNCATE] = {FIELD(ino), FIELD(len), FIELD(time)},
    [OP_EXTENT] = {FIELD(ino), FIELD(off), FIELD(loc), FIELD(hsum), FIELD(time)},
    [OP_PUNCH] = {FIELD(ino), FIELD(off), FIELD(len), FIELD(time)},
    [OP_XATTR_SET] = {FIELD(ino), FIELD(time)},
    [OP_XATTR_EXTENT] = {FIELD(ino), FIELD(loc), FIELD(hsum), FIELD(time)},
    [OP_XATTR_DEL] = {FIELD(ino), FIELD(time)},
    [OP_RELOCATE] = {FIELD(ino), FIELD(off), FIELD(old), FIELD(loc), FIELD(hsum)},
    [OP_FREE] = {FIELD(ino)},
    [OP_SEGMENT] = {FIELD(ino), FIELD(len), FIELD(off)},
    [OP_BY] = {FIELD(actor), FIELD(user)},
    [OP_MOMENT] = {FIELD(time), FIELD(age)},
    [OP_KEEP] = {FIELD(ino), FIELD(past)},
    [OP_REWRITE] = {FIELD(ino), FIELD(off), FIELD(loc), FIELD(hsum), FIELD(time), FIELD(from), FIELD(to)},
    [OP_SNAPSHOT] = {FIELD(time)},
    [OP_SNAPSHOT_NAME] = {FIELD(batch)},
    [OP_FLOOR] = {FIELD(batch), FIELD(reason)},
    [OP_DROP] = {FIELD(past), FIELD(off), FIELD(len)},
    [OP_DROP_NAME] = {FIELD(parent), FIELD(ino), FIELD(cookie), FIELD(end)},
    [OP_REVERT] = {FIELD(ino), FIELD(past), FIELD(off), FIELD(len), FIELD(time)},
    [OP_SWITCH] = {FIELD(number)},
    [OP_THIN] = {FIELD(batch), FIELD(end)},
};

#define OP_HEAD 8u /* type, flags, name_len, value_len */

static size_t op_fixed_size(uint8_t type)
{
    size_t size = OP_HEAD;
    for (const struct op_field *f = op_fields[type]; f->size; f++)
        size += f->size;
    return size;
}

size_t op_size(const struct op *op)
{
    return ALIGN8(op_fixed_size(op->type) + op->name_len + op->value_len);
}

size_t op_encode(const struct op *op, uint8_t *out)
{
    const uint8_t *begin = out;
    memcpy(out, op, OP_HEAD);
    out += OP_HEAD;
    for (const struct op_field *f = op_fields[op->type]; f->size; f++) {
        memcpy(out, (const uint8_t *)op + f->offset, f->size);
        out += f->size;
    }
    if (op->name_len)
        memcpy(out, op->name, op->name_len);
    out += op->name_len;
    if (op->value_len)
        memcpy(out, op->value, op->value_len);
    out += op->value_len;
    size_t size = (size_t)(out - begin);
    memset(out, 0, ALIGN8(size) - size);
    return ALIGN8(size);
}
static_assert(offsetof(struct op, type) == 0 && offsetof(struct op, flags) == 1 &&
                  offsetof(struct op, name_len) == 2 && offsetof(struct op, value_len) == 4,
              "the first 8 bytes of struct op are the stored head of an op");

/* Bounds only (I10); whether the op fits the index is for index_apply() to say. */
int op_decode(const uint8_t *data, size_t size, struct op *ret_op, size_t *ret_used)
{
    struct op op = {0};
    if (size < OP_HEAD)
        return -EBADMSG;
    memcpy(&op, data, OP_HEAD);
    if (op.type == 0 || op.type >= OP_TYPES || (op.flags & ~OP_FLAGS))
        return -EBADMSG;
    size_t fixed = op_fixed_size(op.type);
    if (size < fixed || size - fixed < (size_t)op.name_len + op.value_len || op_size(&op) > size)
        return -EBADMSG;
    const uint8_t *at = data + OP_HEAD;
    for (const struct op_field *f = op_fields[op.type]; f->size; f++) {
        memcpy((uint8_t *)&op + f->offset, at, f->size);
        at += f->size;
    }
    op.name = (const char *)at;
    op.value = at + op.name_len;
    *ret_used = op_size(&op);
    *ret_op = op;
    return 0;
}
