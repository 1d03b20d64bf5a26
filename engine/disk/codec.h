/*
 * codec.h - the on-disk format: layouts, encoders and decoders. The only code
 * that turns raw bytes into meaning; docs/FORMAT.md has the byte tables.
 * Everything is little-endian and 8-byte aligned. Decoders trust nothing
 * (I10): they check bounds and checksums and answer -EBADMSG.
 * No state, no locks. */
#ifndef ENGRAMFS_CODEC_H
#define ENGRAMFS_CODEC_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/util.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the format is the memory layout of a little-endian host");

#define FORMAT_VERSION 2u
#define FORMAT_VERSION_OLD 1u /* is read, and made the other where it is to be written */
#define FORMAT_COMPAT 0u      /* features that an older reader may ignore */
/* Features that an older reader must refuse, bits of superblock.incompat; a new store has none of them. */
#define INCOMPAT_HISTORY 1u /* past states, past names, moments: ops, tables, flags of their own */
#define FORMAT_INCOMPAT INCOMPAT_HISTORY /* those that are known here */

#define BLOCK_SIZE 4096u            /* unit of content checksums (I6) */
#define EXTENT_MAX (256u << 10)     /* payload of one extent */
#define EXTENT_XATTR_OFF UINT64_MAX /* file offset of an extent that holds an xattr value */
#define XATTR_INLINE_MAX 64u        /* larger values are extents */

uint64_t codec_hash(const void *data, size_t size);
/* Keyed by the store's secret, so that nobody can construct colliding names. */
uint32_t codec_name_hash(uint64_t seed, uint32_t parent, const char *name, size_t len);
uint64_t codec_keyed_hash(uint64_t seed, const void *data, size_t size);

/* ---- superblock: two copies, at 0 and SUPERBLOCK_SIZE ------------------- */

#define SUPERBLOCK_SIZE 4096u
#define SUPERBLOCK_FILE "superblock"
struct superblock {
    uint64_t magic;
    uint32_t version, compat, incompat, reserved;
    uint8_t uuid[16];
    uint64_t hash_seed;
    uint64_t segment_size; /* of new segments, bytes */
    int64_t created;       /* ns */
    uint64_t sum;          /* of all before it */
};
static_assert(sizeof(struct superblock) == 72, "superblock layout");

void superblock_encode(const struct superblock *sb, uint8_t out[2 * SUPERBLOCK_SIZE]);
/* 0; -EBADMSG neither copy is valid; -EPROTONOSUPPORT version or incompat flags unknown. */
int superblock_decode(const uint8_t *data, size_t size, struct superblock *ret_sb);
/* A number that each batch of the store carries and that nobody knows who cannot read the superblock. */
uint64_t superblock_tag(const struct superblock *sb);

/* ---- segments ----------------------------------------------------------- */

enum segment_kind { SEGMENT_LOG = 1, SEGMENT_SURVIVORS = 2 };
struct segment_header {
    uint64_t magic; /* has the version */
    uint32_t kind;
    uint32_t epoch;   /* of the writer: 0. In version 1 the version, again */
    uint8_t uuid[16]; /* of the store */
    uint64_t id;
    uint64_t first_seq;   /* of the first batch to come; survivors: log sequence when begun */
    uint64_t chain;       /* sum of the batch before first_seq; survivors: 0 */
    uint64_t durable_seq; /* known durable when the segment was begun */
    int64_t created;
    uint64_t sum;
};
static_assert(sizeof(struct segment_header) == 80, "segment header layout");

/* Sets magic, sum and what else the version says: that of the store. */
void segment_header_seal(struct segment_header *h, uint32_t version);
int segment_header_check(const struct segment_header *h, const uint8_t uuid[16], uint64_t id);
uint32_t segment_header_version(const struct segment_header *h);

/* Whether a store whose newest batch is `seq` can have used numbers of segments up to there: each segment of
 * the log begins with a batch, and of survivors a batch tells. Only copies that were given up have none. */
#define SEGMENTS_UNTOLD (UINT64_C(1) << 24)
static inline bool segment_id_is_plausible(uint64_t id, uint64_t seq)
{
    return id < UINT32_MAX && (id < SEGMENTS_UNTOLD || id - SEGMENTS_UNTOLD <= seq);
}

/* A locator names no byte behind these, so whatever says so, no segment is larger. */
#define SEGMENT_BYTES_MAX (UINT64_C(8) << 32)

/* Whether a batch can end there; segment 0: the log goes on in a new one. */
static inline bool log_place_is_plausible(uint64_t segment, uint64_t offset)
{
    return !segment || (offset >= sizeof(struct segment_header) && offset < SEGMENT_BYTES_MAX &&
                        (offset % 8 == 0 || MUTANT(PLACE_BELIEVED)));
}

/* ---- batches ------------------------------------------------------------ */

#define BATCH_MAGIC 0x62676e65u /* "engb" */
struct batch_header {
    uint32_t magic, n_ops;
    uint64_t seq;
    uint64_t durable_seq; /* everything up to here was durable when this was written (I7) */
    uint64_t chain;       /* sum of the batch before */
    int64_t time;         /* ns */
    uint32_t ops_len;     /* bytes of ops after the header, multiple of 8 */
    uint32_t extents_len; /* bytes of extents after the ops, multiple of 8 */
    uint64_t store;       /* superblock_tag(): content that looks like a batch is none */
    uint64_t sum;         /* of the header before it and of the ops; extents are covered through op.hsum */
};
static_assert(sizeof(struct batch_header) == 64, "batch header layout");

/*
 * No batch has more: the log refuses it (-EFBIG), so a header that says more is none. What makes the largest
 * is a record of eng_put_many() with a full list of attributes over one that has such a list: 65,536 ops, and
 * under 5 MiB. */
#define BATCH_OPS_MAX (8u << 20) /* bytes */
#define BATCH_N_OPS_MAX (1u << 17)

uint64_t batch_sum(const struct batch_header *h, const void *ops);
/* Whether it looks like a header whose ops lie in the `left` bytes behind it, and are no more than a batch
 * has: to be asked before its sum can be, and before memory is taken. */
bool batch_header_fits(const struct batch_header *h, uint64_t left);

/*
 * Whether somebody who looks for batches at each place of a file of `size` bytes may read and hash `len`
 * bytes of ops more; *hashed is his, 0 at first. Batches that are whole, or damaged behind a whole header,
 * are together no more than the file, and none of them is passed by: the rest is for headers that say a wrong
 * length. Only where these are many, as nobody but a forger writes them, may something whole stay unseen; a
 * small batch, as one that tells how far the log was durable, never does. */
#define BATCH_SMALL 256u /* bytes of ops: four times the size of a header */

static inline bool batch_search_may(uint64_t *hashed, uint64_t len, uint64_t size)
{
    if (len <= BATCH_SMALL || MUTANT(SEARCH_UNBOUND))
        return true;
    if (len > 4 * size + (1u << 20) - *hashed)
        return false;
    *hashed += len;
    return true;
}

/* ---- checkpoints ---------------------------------------------------------- */

/* What the root of a checkpoint says besides its map (image/map.h); of a store with INCOMPAT_HISTORY. */
struct ckpt_head {
    uint32_t version, reserved;
    uint8_t uuid[16];
    uint64_t seq, chain;      /* last batch in it, and that batch's sum */
    uint64_t segment, offset; /* where the log goes on; segment 0: in a new one */
    uint64_t next_segment_id;
    int64_t created;
    uint64_t scalars[16]; /* struct index_scalars */
    uint64_t trees[5]
                  [3];  /* root, depth, count of dirs, extents, past order and past lookup; the last unused */
    uint64_t n_orphans; /* inodes without a name */
    uint64_t reserved_too;
};
/* Of any other store. */
struct ckpt_head_plain {
    uint32_t version, reserved;
    uint8_t uuid[16];
    uint64_t seq, chain;
    uint64_t segment, offset;
    uint64_t next_segment_id;
    int64_t created;
    uint64_t scalars[8];
    uint64_t trees[2][3];
    uint64_t n_orphans;
};
static_assert(sizeof(struct ckpt_head) == 336 && sizeof(struct ckpt_head_plain) == 192 &&
                  offsetof(struct ckpt_head, scalars) == offsetof(struct ckpt_head_plain, scalars),
              "checkpoint head layout");
#define CKPT_HEAD_VERSION 3u
#define CKPT_HEAD_PLAIN_VERSION 2u

/* Makes of the head that its version says; returns how many bytes, at most sizeof *h. */
size_t ckpt_head_encode(const struct ckpt_head *h, void *out);
/* Of either kind, `len` bytes; what a plain one has not is 0. -EBADMSG: neither is so long. */
int ckpt_head_decode(const void *data, size_t len, struct ckpt_head *ret_head);

/*
 * A checkpoint file of format 1: chunk images, manifest, footer. The manifest names for each chunk of each
 * table the file (this or an older checkpoint's) and place of its image. */
struct ckpt_manifest {
    uint64_t magic;
    uint32_t version, n_tables;
    uint8_t uuid[16];
    uint64_t id;
    uint64_t seq, chain;      /* last batch in it, and that batch's sum */
    uint64_t segment, offset; /* where the log goes on; segment 0: in a new one */
    uint64_t next_segment_id;
    int64_t created;
    uint64_t scalars[8];  /* struct index_scalars */
    uint64_t trees[2][3]; /* root, depth, count of dirs and extents */
    uint32_t names_free[64];
};
static_assert(sizeof(struct ckpt_manifest) == 88 + 64 + 48 + 256, "checkpoint manifest layout");
/* Then for each table this, then for each chunk of all tables a ckpt_chunk. */
struct ckpt_table {
    uint32_t n_chunks, used, free_head, n_free;
};
struct ckpt_chunk {
    uint64_t file, offset, sum;
    uint32_t len, reserved;
};
static_assert(sizeof(struct ckpt_table) == 16 && sizeof(struct ckpt_chunk) == 32, "checkpoint tables layout");
struct ckpt_footer {
    uint64_t magic, manifest_offset, manifest_len, manifest_sum;
    uint64_t sum; /* of all before it */
};
static_assert(sizeof(struct ckpt_footer) == 40, "checkpoint footer layout");
#define CKPT_MANIFEST_MAGIC UINT64_C(0x31304d504b474e45) /* "ENGKPM01" */
#define CKPT_FOOTER_MAGIC UINT64_C(0x313046504b474e45)   /* "ENGKPF01" */

/* ---- extents ------------------------------------------------------------ */

/* Where bytes of a file lie: `len` payload bytes from `skip` of the extent of `ext_len` bytes at off8 * 8 in
 * `seg`. */
struct locator {
    uint32_t seg; /* 0: none */
    uint32_t off8;
    uint32_t skip, len, ext_len; /* payload bytes */
};
static_assert(sizeof(struct locator) == 20, "locator layout");

static inline uint64_t locator_offset(const struct locator *l)
{
    return (uint64_t)l->off8 * 8;
}
static inline bool locator_equal(const struct locator *a, const struct locator *b)
{
    return a->seg == b->seg && a->off8 == b->off8 && a->skip == b->skip && a->len == b->len &&
           a->ext_len == b->ext_len;
}
/* By place; 0: equal. */
static inline int locator_order(const struct locator *a, const struct locator *b)
{
    if (a->seg != b->seg)
        return a->seg < b->seg ? -1 : 1;
    if (a->off8 != b->off8)
        return a->off8 < b->off8 ? -1 : 1;
    if (a->skip != b->skip)
        return a->skip < b->skip ? -1 : 1;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return (a->ext_len > b->ext_len) - (a->ext_len < b->ext_len);
}

/*
 * On disk: header, one uint64 checksum a block, payload padded to 8, path hint
 * padded to 8. The hint (path of the memory when the extent was placed; only
 * with the first extent of a file) lets salvage name it without a checkpoint. */
#define EXTENT_MAGIC 0x78676e65u /* "engx" */
struct extent_header {
    uint32_t magic, len; /* payload bytes, 1..EXTENT_MAX */
    uint64_t ino, file_off;
    uint64_t seq;      /* log sequence as of which the content is current */
    uint32_t name_len; /* of the path hint, 0..1023 */
    uint32_t name_sum; /* of the path hint */
    uint64_t sum;      /* of the header before it and the block checksums */
};
static_assert(sizeof(struct extent_header) == 48, "extent header layout");
#define EXTENT_NAME_MAX 1023u

static inline uint32_t extent_blocks(uint32_t len)
{
    return (len + BLOCK_SIZE - 1) / BLOCK_SIZE;
}
/* Bytes before the payload, and of the whole extent. */
static inline uint32_t extent_head_size(uint32_t len)
{
    return (uint32_t)sizeof(struct extent_header) + 8 * extent_blocks(len);
}
static inline uint32_t extent_size(uint32_t len, uint32_t name_len)
{
    return extent_head_size(len) + ALIGN8(len) + ALIGN8(name_len);
}
#define EXTENT_HEAD_MAX (sizeof(struct extent_header) + 8 * (EXTENT_MAX / BLOCK_SIZE))

/* Writes header and block checksums for `payload` to `head` (extent_head_size(len) bytes); returns the
 * header's sum. */
uint64_t extent_head_encode(uint8_t *head, uint64_t ino, uint64_t file_off, uint64_t seq, const void *payload,
                            uint32_t len, const char *name, uint32_t name_len);
/* Says of an encoded head of which file and offset it is; it must be dated afterwards. */
void extent_head_place(uint8_t *head, uint64_t ino, uint64_t file_off);
/* Dates an encoded head: sets its sequence and returns its new sum. */
uint64_t extent_head_set_seq(uint8_t *head, uint64_t seq);
/* The same with a new path hint; the block checksums stay. */
uint64_t extent_head_renew(uint8_t *head, uint64_t seq, const char *name, uint32_t name_len);
/* Checks `head` (extent_head_size(ext_len) bytes) for being the extent of that inode, offset and length. */
int extent_head_check(const uint8_t *head, uint64_t ino, uint64_t file_off, uint32_t ext_len);
/* Checks the payload blocks [first, first + n) that `data` holds against the checksums in a checked
 * `head`. */
int extent_blocks_check(const uint8_t *head, uint32_t first, uint32_t n, const void *data);

/* ---- ops: what a batch does --------------------------------------------- */

enum op_type {
    OP_CREATE = 1,   /* inode without a name yet */
    OP_LINK,         /* name for an inode */
    OP_UNLINK,       /* a name goes */
    OP_REPOINT,      /* an existing name gets another inode */
    OP_ATTR,         /* mode, owner, times */
    OP_TRUNCATE,     /* size, both ways */
    OP_EXTENT,       /* content placed */
    OP_PUNCH,        /* a hole */
    OP_XATTR_SET,    /* small value, in the op */
    OP_XATTR_EXTENT, /* large value, an extent */
    OP_XATTR_DEL,
    OP_RELOCATE, /* an extent slot moves, if it is still where it was (I3) */
    OP_FREE,     /* an inode without names goes, with its content */
    OP_SEGMENT,  /* a survivors segment exists and got that much payload */
    /* Of a store with INCOMPAT_HISTORY alone; docs/FORMAT.md has their fields. */
    OP_BY,            /* who makes this batch */
    OP_MOMENT,        /* this batch begins a moment */
    OP_KEEP,          /* the state that ends here is kept */
    OP_REWRITE,       /* as OP_EXTENT, of which only [from, to) differs from what was there */
    OP_SNAPSHOT,      /* this batch is a snapshot */
    OP_SNAPSHOT_NAME, /* a snapshot gets another name, or goes */
    OP_FLOOR,         /* the past before is not whole any more */
    OP_DROP,          /* a past state goes, by and by */
    OP_DROP_NAME,     /* a past name goes */
    OP_REVERT,        /* a range of the content is that of a past state again */
    OP_SWITCH,        /* never written */
    OP_THIN,          /* moments go in which nothing that is kept begins or ends */
    OP_TYPES
};
#define OP_TYPES_PLAIN ((unsigned)OP_BY) /* those below are in any store */
/* Bits of an OP_ATTR's mask, as in enum eng_set: mode, uid, gid, atime, mtime. No others are written. */
#define ATTR_MASK_STORED 0x37u
enum op_flags {
    OP_CONTINUES = 1, /* same content change as the op before: version counts once */
    /* OP_TRUNCATE: what lies behind the new size is dead, and freed by later ops. OP_PUNCH: frees some of
     * that; nothing that a reader sees changes. OP_XATTR_DEL: of an inode that is to be freed. */
    OP_LATER = 2,
    /* Of a store with INCOMPAT_HISTORY alone. */
    OP_KEPT = 4, /* OP_UNLINK, OP_REPOINT: the name that ends is kept as a past name */
    /* Ends no state: times, ignored fields, gathering, tails. OP_REPOINT: what comes is, but for its number
     * and its times, what goes. */
    OP_SAME = 8,
    OP_NOT_FOR_PAST = 16, /* what it replaces is freed, whatever the past reads */
    OP_MOVED = 32         /* OP_UNLINK, OP_REPOINT: the inode gets, or got, another name in the same batch */
};
#define OP_FLAGS_PLAIN (OP_CONTINUES | OP_LATER)
#define OP_FLAGS (OP_FLAGS_PLAIN | OP_KEPT | OP_SAME | OP_NOT_FOR_PAST | OP_MOVED)

/* One op, decoded. Which fields count depends on the type (table in codec.c). name and value are borrowed. */
struct op {
    uint8_t type, flags;
    uint16_t name_len;
    uint32_t value_len;
    uint64_t ino, parent, other, cookie;
    int64_t time;
    uint64_t off, len;
    uint32_t mask, mode, uid, gid;
    uint64_t rdev;
    int64_t atime, mtime, ctime;
    struct locator loc, old;
    uint64_t hsum; /* sum of the extent's header */
    /* Of history. */
    union {
        uint64_t past;   /* OP_KEEP, OP_DROP, OP_REVERT: number of a past state */
        uint64_t dentry; /* OP_UNLINK, OP_REPOINT, in memory alone: perhaps that of the name; 0 not known */
    };
    union {
        uint64_t from;   /* OP_REWRITE */
        uint64_t actor;  /* OP_BY: record of the table of actors */
        uint64_t age;    /* OP_MOMENT: seconds of the store's life */
        uint64_t reason; /* OP_FLOOR: enum floor_reason */
        uint64_t end;    /* OP_DROP_NAME: batch in which the name ended; OP_THIN: behind the last */
    };
    union {
        uint64_t to;     /* OP_REWRITE */
        uint64_t number; /* OP_SWITCH */
        uint64_t user;   /* OP_BY: uid */
        uint64_t batch;  /* OP_SNAPSHOT_NAME, OP_FLOOR; OP_THIN: the first */
    };
    const char *name;
    const void *value;
};

/* Whether it may be in the log of a store without INCOMPAT_HISTORY. */
static inline bool op_is_plain(const struct op *op)
{
    return op->type < OP_TYPES_PLAIN && !(op->flags & ~(unsigned)OP_FLAGS_PLAIN);
}

/* Whether it places content in a file, from `off` on. */
static inline bool op_is_content(const struct op *op)
{
    return op->type == OP_EXTENT || op->type == OP_REWRITE;
}
/* Whether its batch has the extent that `loc` names, and that extent's place in the file. */
static inline bool op_has_extent(const struct op *op)
{
    return op_is_content(op) || op->type == OP_XATTR_EXTENT;
}
static inline uint64_t op_extent_off(const struct op *op)
{
    return op_is_content(op) ? op->off : EXTENT_XATTR_OFF;
}

/* Bytes that `op` takes encoded, a multiple of 8. */
size_t op_size(const struct op *op);
/* Encodes to `out`; op_size(). */
size_t op_encode(const struct op *op, uint8_t *out);
/* Decodes the op at data (size bytes left); name and value point into data. *ret_used: bytes consumed.
 * -EBADMSG. */
int op_decode(const uint8_t *data, size_t size, struct op *ret_op, size_t *ret_used);

#endif
