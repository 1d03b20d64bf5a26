/*
 * test_codec.c - the format as literal bytes, so that a change of it is
 * noticed; decoders against damage of every byte, every length, and noise.
 * A change of the format changes docs/FORMAT.md, these bytes, and
 * FORMAT_VERSION or a feature flag, in one commit. */
#include "disk/codec.h"

#include "base/hash.h"
#include "must.h"
#include "rng.h"
#include "unit_store.h"

#include <criterion/criterion.h>
#include <xxhash.h>

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

/* Compares with bytes written as hexadecimal digits; spaces do not count. */
static void expect_bytes(const char *what, const void *data, size_t size, const char *hex)
{
    char got[2048], want[2048];
    size_t n = 0;
    MUST(size * 2 < sizeof(got));
    for (size_t i = 0; i < size; i++)
        (void)snprintf(got + 2 * i, 3, "%02x", ((const uint8_t *)data)[i]);
    for (; *hex; hex++) {
        if (*hex != ' ')
            want[n++] = *hex;
    }
    want[n] = 0;
    cr_assert_str_eq(got, want, "%s is %s", what, got);
}

/* ---- golden bytes ------------------------------------------------------------------- */

Test(codec, sums_are_the_same_by_whatever_vectors)
{
    enum { MOST = 5000 };
    uint8_t data[MOST];
    for (size_t i = 0; i < MOST; i++)
        data[i] = (uint8_t)(i * 31 + i / 251);
    for (size_t n = 0; n <= MOST; n++)
        cr_assert_eq(codec_hash(data, n), XXH3_64bits(data, n), "%zu bytes", n);
}

Test(codec, superblock_bytes)
{
    struct superblock sb = {.version = 2,
                            .compat = 2,
                            .incompat = 0,
                            .hash_seed = 0x1122334455667788,
                            .segment_size = 64 << 20,
                            .created = 1234567890123456789};
    uint8_t image[2 * SUPERBLOCK_SIZE];
    memcpy(sb.uuid, uuid, 16);
    superblock_encode(&sb, image);
    expect_bytes("superblock", image, sizeof(sb),
                 "45454e4746533031 0200000002000000 0000000000000000 0102030405060708 "
                 "090a0b0c0d0e0f10 8877665544332211 0000000400000000 1581e97df4102211 "
                 "90dd2417c2e03d18");
    cr_assert_eq(memcmp(image, image + SUPERBLOCK_SIZE, SUPERBLOCK_SIZE), 0, "two copies");
    for (size_t i = sizeof(sb); i < SUPERBLOCK_SIZE; i++)
        MUST(image[i] == 0);
    struct superblock back;
    cr_assert_eq(superblock_decode(image, sizeof(image), &back), 0);
    cr_assert_eq(superblock_tag(&back), UINT64_C(0x4ce3d92550f6c2d8), "%llx",
                 (unsigned long long)superblock_tag(&back));
}

Test(codec, segment_header_bytes)
{
    struct segment_header h = {.kind = SEGMENT_SURVIVORS,
                               .epoch = 99,
                               .id = 0x1234,
                               .first_seq = 77,
                               .chain = 0xabcdef,
                               .durable_seq = 70,
                               .created = -2};
    memcpy(h.uuid, uuid, 16);
    segment_header_seal(&h, FORMAT_VERSION_OLD);
    expect_bytes("segment header of version 1", &h, sizeof(h),
                 "454e475345473031 0200000001000000 0102030405060708 090a0b0c0d0e0f10 "
                 "3412000000000000 4d00000000000000 efcdab0000000000 4600000000000000 "
                 "feffffffffffffff 807a0b8a51d19a50");
    cr_assert_eq(segment_header_check(&h, uuid, 0x1234), 0);
    cr_assert_eq(segment_header_version(&h), 1);
    segment_header_seal(&h, FORMAT_VERSION);
    expect_bytes("segment header", &h, sizeof(h),
                 "454e475345473032 0200000000000000 0102030405060708 090a0b0c0d0e0f10 "
                 "3412000000000000 4d00000000000000 efcdab0000000000 4600000000000000 "
                 "feffffffffffffff da4e8822522cd5b1");
    cr_assert_eq(segment_header_check(&h, uuid, 0x1234), 0);
    cr_assert_eq(segment_header_version(&h), 2);
}

Test(codec, batch_header_bytes)
{
    static const char ops[16] = "some operations";
    struct batch_header h = {.magic = BATCH_MAGIC,
                             .n_ops = 3,
                             .seq = 0x0102030405060708,
                             .durable_seq = 9,
                             .chain = 10,
                             .time = 11,
                             .ops_len = 16,
                             .extents_len = 24,
                             .store = 12};
    h.sum = batch_sum(&h, ops);
    expect_bytes("batch header", &h, sizeof(h),
                 "656e676203000000 0807060504030201 0900000000000000 0a00000000000000 "
                 "0b00000000000000 1000000018000000 0c00000000000000 292eb90a1826b93d");
}

Test(codec, extent_bytes)
{
    uint8_t head[EXTENT_HEAD_MAX], payload[5000];
    memset(payload, 'p', sizeof(payload));
    uint64_t sum = extent_head_encode(head, 0x200000003, 4096, 99, payload, sizeof(payload), "a/b", 3);
    cr_assert_eq(extent_head_size(5000), 64);
    cr_assert_eq(extent_size(5000, 3), 64 + 5000 + 8);
    expect_bytes("extent head", head, 64,
                 "656e677888130000 0300000002000000 0010000000000000 6300000000000000 "
                 "0300000004068675 89c41a8a3cfcbb27 4a227d3041b6d324 85ac1a3a5759ce00");
    struct extent_header h;
    memcpy(&h, head, sizeof(h));
    cr_assert_eq(h.sum, sum);
}

Test(codec, checkpoint_bytes)
{
    struct ckpt_manifest m = {.magic = CKPT_MANIFEST_MAGIC,
                              .version = 1,
                              .n_tables = 7,
                              .id = 2,
                              .seq = 3,
                              .chain = 4,
                              .segment = 5,
                              .offset = 6,
                              .next_segment_id = 7,
                              .created = 8};
    struct ckpt_table t = {1, 2, 3, 4};
    struct ckpt_chunk c = {1, 2, 3, 4, 0};
    struct ckpt_footer f = {CKPT_FOOTER_MAGIC, 1, 2, 3, 4};
    memcpy(m.uuid, uuid, 16);
    for (uint64_t i = 0; i < 8; i++)
        m.scalars[i] = 0x10 + i;
    for (uint64_t i = 0; i < 6; i++)
        m.trees[i / 3][i % 3] = 0x20 + i;
    m.names_free[0] = 0x30;
    m.names_free[63] = 0x31;
    expect_bytes("manifest", &m, sizeof(m),
                 "454e474b504d3031 0100000007000000 0102030405060708 090a0b0c0d0e0f10 "
                 "0200000000000000 0300000000000000 0400000000000000 0500000000000000 "
                 "0600000000000000 0700000000000000 0800000000000000 1000000000000000 "
                 "1100000000000000 1200000000000000 1300000000000000 1400000000000000 "
                 "1500000000000000 1600000000000000 1700000000000000 2000000000000000 "
                 "2100000000000000 2200000000000000 2300000000000000 2400000000000000 "
                 "2500000000000000 3000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000000000000 0000000000000000 0000000000000000 0000000000000000 "
                 "0000000031000000");
    expect_bytes("manifest table", &t, sizeof(t), "01000000020000000300000004000000");
    expect_bytes("manifest chunk", &c, sizeof(c),
                 "0100000000000000 0200000000000000 0300000000000000 04000000 00000000");
    expect_bytes("footer", &f, sizeof(f),
                 "454e474b50463031 0100000000000000 0200000000000000 0300000000000000 0400000000000000");
}

Test(codec, checkpoint_head_bytes)
{
    struct ckpt_head h = {.version = CKPT_HEAD_VERSION,
                          .seq = 3,
                          .chain = 4,
                          .segment = 5,
                          .offset = 6,
                          .next_segment_id = 7,
                          .created = 8,
                          .n_orphans = 9},
                     back;
    uint8_t image[sizeof h];
    memcpy(h.uuid, uuid, 16);
    for (uint64_t i = 0; i < ARRAY_LEN(h.scalars); i++)
        h.scalars[i] = 0x10 + i;
    for (uint64_t i = 0; i < 15; i++)
        h.trees[i / 3][i % 3] = 0x20 + i;
    cr_assert_eq(ckpt_head_encode(&h, image), 336);
    expect_bytes("head", image, 336,
                 "0300000000000000 0102030405060708 090a0b0c0d0e0f10 "
                 "0300000000000000 0400000000000000 0500000000000000 "
                 "0600000000000000 0700000000000000 0800000000000000 "
                 "1000000000000000 1100000000000000 1200000000000000 1300000000000000 "
                 "1400000000000000 1500000000000000 1600000000000000 1700000000000000 "
                 "1800000000000000 1900000000000000 1a00000000000000 1b00000000000000 "
                 "1c00000000000000 1d00000000000000 1e00000000000000 1f00000000000000 "
                 "2000000000000000 2100000000000000 2200000000000000 2300000000000000 "
                 "2400000000000000 2500000000000000 2600000000000000 2700000000000000 "
                 "2800000000000000 2900000000000000 2a00000000000000 2b00000000000000 "
                 "2c00000000000000 2d00000000000000 2e00000000000000 "
                 "0900000000000000 0000000000000000");
    cr_assert_eq(ckpt_head_decode(image, 336, &back), 0);
    cr_assert_eq(memcmp(&h, &back, sizeof h), 0);
    h.version = CKPT_HEAD_PLAIN_VERSION;
    cr_assert_eq(ckpt_head_encode(&h, image), 192);
    expect_bytes("plain head", image, 192,
                 "0200000000000000 0102030405060708 090a0b0c0d0e0f10 "
                 "0300000000000000 0400000000000000 0500000000000000 "
                 "0600000000000000 0700000000000000 0800000000000000 "
                 "1000000000000000 1100000000000000 1200000000000000 1300000000000000 "
                 "1400000000000000 1500000000000000 1600000000000000 1700000000000000 "
                 "2000000000000000 2100000000000000 2200000000000000 2300000000000000 "
                 "2400000000000000 2500000000000000 0900000000000000");
    cr_assert_eq(ckpt_head_decode(image, 192, &back), 0);
    cr_assert(back.scalars[7] == 0x17 && !back.scalars[8] && back.trees[1][2] == 0x25 && !back.trees[2][0] &&
              back.n_orphans == 9);
    cr_assert_eq(ckpt_head_decode(image, 336, &back), -EBADMSG, "neither version is as long as the other");
    image[0] = CKPT_HEAD_VERSION;
    cr_assert_eq(ckpt_head_decode(image, 192, &back), -EBADMSG);
    cr_assert_eq(ckpt_head_decode(image, 200, &back), -EBADMSG);
}

/* Every field of every op with a value of its own; what an op does not store comes back as zero. */
static struct op full_op(uint8_t type)
{
    return (struct op){.type = type,
                       .flags = OP_CONTINUES,
                       .ino = 0x0101010101010101,
                       .parent = 0x0202020202020202,
                       .other = 0x0303030303030303,
                       .cookie = 0x0404040404040404,
                       .time = 0x0505050505050505,
                       .off = 0x0606060606060606,
                       .len = 0x0707070707070707,
                       .mask = 0x08080808,
                       .mode = 0x09090909,
                       .uid = 0x0a0a0a0a,
                       .gid = 0x0b0b0b0b,
                       .rdev = 0x0c0c0c0c0c0c0c0c,
                       .atime = 0x0d0d0d0d0d0d0d0d,
                       .mtime = 0x0e0e0e0e0e0e0e0e,
                       .ctime = 0x0f0f0f0f0f0f0f0f,
                       .loc = {0x10101010, 0x11111111, 0x12121212, 0x13131313, 0x14141414},
                       .old = {0x15151515, 0x16161616, 0x17171717, 0x18181818, 0x19191919},
                       .hsum = 0x1a1a1a1a1a1a1a1a,
                       .past = 0x1b1b1b1b1b1b1b1b,
                       .from = 0x1c1c1c1c1c1c1c1c,
                       .to = 0x1d1d1d1d1d1d1d1d,
                       .name_len = 3,
                       .value_len = 2,
                       .name = "nam",
                       .value = "va"};
}

static const char *const op_bytes[OP_TYPES] = {
    [OP_CREATE] = "0101030002000000 0101010101010101 090909090a0a0a0a 0b0b0b0b0c0c0c0c "
                  "0c0c0c0c05050505 050505056e616d76 6100000000000000",
    [OP_LINK] = "0201030002000000 0202020202020202 0101010101010101 0404040404040404 "
                "0505050505050505 6e616d7661000000",
    [OP_UNLINK] = "0301030002000000 0202020202020202 0101010101010101 0505050505050505 "
                  "6e616d7661000000",
    [OP_REPOINT] = "0401030002000000 0202020202020202 0101010101010101 0303030303030303 "
                   "0505050505050505 6e616d7661000000",
    [OP_ATTR] = "0501030002000000 0101010101010101 0808080809090909 0a0a0a0a0b0b0b0b "
                "0d0d0d0d0d0d0d0d 0e0e0e0e0e0e0e0e 0f0f0f0f0f0f0f0f 6e616d7661000000",
    [OP_TRUNCATE] = "0601030002000000 0101010101010101 0707070707070707 0505050505050505 "
                    "6e616d7661000000",
    [OP_EXTENT] = "0701030002000000 0101010101010101 0606060606060606 1010101011111111 "
                  "1212121213131313 141414141a1a1a1a 1a1a1a1a05050505 050505056e616d76 "
                  "6100000000000000",
    [OP_PUNCH] = "0801030002000000 0101010101010101 0606060606060606 0707070707070707 "
                 "0505050505050505 6e616d7661000000",
    [OP_XATTR_SET] = "0901030002000000 0101010101010101 0505050505050505 6e616d7661000000",
    [OP_XATTR_EXTENT] = "0a01030002000000 0101010101010101 1010101011111111 1212121213131313 "
                        "141414141a1a1a1a 1a1a1a1a05050505 050505056e616d76 6100000000000000",
    [OP_XATTR_DEL] = "0b01030002000000 0101010101010101 0505050505050505 6e616d7661000000",
    [OP_RELOCATE] = "0c01030002000000 0101010101010101 0606060606060606 1515151516161616 "
                    "1717171718181818 1919191910101010 1111111112121212 1313131314141414 "
                    "1a1a1a1a1a1a1a1a 6e616d7661000000",
    [OP_FREE] = "0d01030002000000 0101010101010101 6e616d7661000000",
    [OP_SEGMENT] = "0e01030002000000 0101010101010101 0707070707070707 0606060606060606 "
                   "6e616d7661000000",
    [OP_BY] = "0f01030002000000 1c1c1c1c1c1c1c1c 1d1d1d1d1d1d1d1d 6e616d7661000000",
    [OP_MOMENT] = "1001030002000000 0505050505050505 1c1c1c1c1c1c1c1c 6e616d7661000000",
    [OP_KEEP] = "1101030002000000 0101010101010101 1b1b1b1b1b1b1b1b 6e616d7661000000",
    [OP_REWRITE] = "1201030002000000 0101010101010101 0606060606060606 1010101011111111 "
                   "1212121213131313 141414141a1a1a1a 1a1a1a1a05050505 050505051c1c1c1c "
                   "1c1c1c1c1d1d1d1d 1d1d1d1d6e616d76 6100000000000000",
    [OP_SNAPSHOT] = "1301030002000000 0505050505050505 6e616d7661000000",
    [OP_SNAPSHOT_NAME] = "1401030002000000 1d1d1d1d1d1d1d1d 6e616d7661000000",
    [OP_FLOOR] = "1501030002000000 1d1d1d1d1d1d1d1d 1c1c1c1c1c1c1c1c 6e616d7661000000",
    [OP_DROP] = "1601030002000000 1b1b1b1b1b1b1b1b 0606060606060606 0707070707070707 "
                "6e616d7661000000",
    [OP_DROP_NAME] = "1701030002000000 0202020202020202 0101010101010101 0404040404040404 "
                     "1c1c1c1c1c1c1c1c 6e616d7661000000",
    [OP_REVERT] = "1801030002000000 0101010101010101 1b1b1b1b1b1b1b1b 0606060606060606 "
                  "0707070707070707 0505050505050505 6e616d7661000000",
    [OP_SWITCH] = "1901030002000000 1d1d1d1d1d1d1d1d 6e616d7661000000",
    [OP_THIN] = "1a01030002000000 1d1d1d1d1d1d1d1d 1c1c1c1c1c1c1c1c 6e616d7661000000",
};

Test(codec, op_bytes)
{
    for (uint8_t type = 1; type < OP_TYPES; type++) {
        struct op op = full_op(type), back;
        uint8_t image[256], again[256];
        char what[16];
        size_t size = op_size(&op), used;
        memset(image, 0xff, sizeof(image));
        op_encode(&op, image);
        (void)snprintf(what, sizeof(what), "op %u", type);
        cr_assert_eq(size % 8, 0);
        expect_bytes(what, image, size, op_bytes[type]);
        cr_assert_eq(op_decode(image, size, &back, &used), 0);
        cr_assert_eq(used, size);
        cr_assert(back.type == type && back.flags == OP_CONTINUES);
        cr_assert(back.name_len == 3 && memcmp(back.name, "nam", 3) == 0);
        cr_assert(back.value_len == 2 && memcmp(back.value, "va", 2) == 0);
        op_encode(&back, again);
        cr_assert_eq(memcmp(image, again, size), 0);
    }
}

Test(codec, what_later_ops_have_is_refused)
{
    for (uint8_t type = 1; type < OP_TYPES; type++) {
        for (unsigned flag = 0; flag < 8; flag++) {
            struct op op = full_op(type), back;
            uint8_t image[256];
            size_t used;
            op.flags = (uint8_t)(1u << flag);
            op_encode(&op, image);
            cr_assert_eq(op_decode(image, sizeof(image), &back, &used), flag < 6 ? 0 : -EBADMSG,
                         "op %u, flag %u", type, 1u << flag);
        }
    }
    for (unsigned type = OP_TYPES; type < 256; type++) {
        uint8_t image[256] = {(uint8_t)type};
        struct op back;
        size_t used;
        cr_assert_eq(op_decode(image, sizeof(image), &back, &used), -EBADMSG, "type %u", type);
    }
}

Test(codec, hashes_are_xxh3)
{
    cr_assert_eq(codec_hash("", 0), UINT64_C(0x2d06800538d394c2));
    cr_assert_eq(codec_hash("engramfs", 8), UINT64_C(0xac97e2bf55adef3a), "%llx",
                 (unsigned long long)codec_hash("engramfs", 8));
    cr_assert_eq(codec_name_hash(5, 6, "name", 4), 0xe69ab2a0, "%x", codec_name_hash(5, 6, "name", 4));
    struct hash_stream *h = hash_stream_new();
    hash_stream_add(h, "engr", 4);
    hash_stream_add(h, "", 0);
    hash_stream_add(h, "amfs", 4);
    cr_assert_eq(hash_stream_free(h), codec_hash("engramfs", 8), "in pieces or at once");
    cr_assert_eq(hash_stream_free(NULL), 0);
}

/* ---- what decoders refuse --------------------------------------------------------------- */

/* Encodes with these fields, and a right checksum. */
static int decode_superblock(uint32_t version, uint32_t compat, uint32_t incompat)
{
    struct superblock sb = {.version = version, .compat = compat, .incompat = incompat}, back;
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&sb, image);
    return superblock_decode(image, sizeof(image), &back);
}

Test(codec, unknown_versions_and_features_are_refused)
{
    cr_assert_eq(decode_superblock(FORMAT_VERSION, 0, 0), 0);
    cr_assert_eq(decode_superblock(1, 0, 0), 0, "a version that is upgraded");
    cr_assert_eq(decode_superblock(1, 0, 1), -EPROTONOSUPPORT);
    cr_assert_eq(decode_superblock(FORMAT_VERSION, 0xffffffff, 0), 0, "compatible features may be ignored");
    cr_assert_eq(decode_superblock(FORMAT_VERSION, 0, INCOMPAT_HISTORY), 0);
    for (uint32_t bit = 2; bit; bit <<= 1)
        cr_assert_eq(decode_superblock(FORMAT_VERSION, 0, bit | 1), -EPROTONOSUPPORT, "bit %x", bit);
    cr_assert_eq(decode_superblock(FORMAT_VERSION, 0, 0x80000000), -EPROTONOSUPPORT);
    cr_assert_eq(decode_superblock(FORMAT_VERSION + 1, 0, 0), -EPROTONOSUPPORT);
    cr_assert_eq(decode_superblock(0, 0, 0), -EPROTONOSUPPORT);
}

Test(codec, either_superblock_copy_will_do)
{
    struct superblock sb = {.version = FORMAT_VERSION, .segment_size = 5}, back;
    uint8_t image[2 * SUPERBLOCK_SIZE];
    for (size_t at = 0; at < sizeof(sb); at++) {
        for (unsigned which = 1; which < 4; which++) {
            superblock_encode(&sb, image);
            image[at] ^= which & 1 ? 0x20 : 0;
            image[SUPERBLOCK_SIZE + at] ^= which & 2 ? 0x20 : 0;
            cr_assert_eq(superblock_decode(image, sizeof(image), &back), which == 3 ? -EBADMSG : 0,
                         "byte %zu of copies %u", at, which);
        }
    }
    superblock_encode(&sb, image);
    for (size_t size = 0; size < sizeof(image); size += 31)
        cr_assert_eq(superblock_decode(image, size, &back), size < sizeof(sb) ? -EBADMSG : 0);
}

Test(codec, headers_with_any_byte_wrong_are_refused)
{
    struct segment_header h = {.kind = SEGMENT_LOG, .id = 5}, bad;
    memcpy(h.uuid, uuid, 16);
    segment_header_seal(&h, FORMAT_VERSION);
    cr_assert_eq(segment_header_check(&h, uuid, 5), 0);
    cr_assert_eq(segment_header_check(&h, uuid, 6), -EBADMSG, "a file under another name");
    uint8_t other[16] = {1};
    cr_assert_eq(segment_header_check(&h, other, 5), -EBADMSG, "of another store");
    for (size_t at = 0; at < sizeof(h); at++) {
        bad = h;
        ((uint8_t *)&bad)[at] ^= 1;
        cr_assert_eq(segment_header_check(&bad, uuid, 5), -EBADMSG, "byte %zu", at);
    }
    bad = h;
    bad.epoch = 7; /* sealed, so that only its meaning is new: it is not looked at */
    bad.sum = codec_hash(&bad, offsetof(struct segment_header, sum));
    cr_assert_eq(segment_header_check(&bad, uuid, 5), 0);
    segment_header_seal(&bad, FORMAT_VERSION_OLD);
    bad.epoch = 2; /* there it is the version */
    bad.sum = codec_hash(&bad, offsetof(struct segment_header, sum));
    cr_assert_eq(segment_header_check(&bad, uuid, 5), -EBADMSG);
    bad = h;
    bad.kind = 3;
    segment_header_seal(&bad, FORMAT_VERSION);
    cr_assert_eq(segment_header_check(&bad, uuid, 5), -EBADMSG);

    uint8_t head[EXTENT_HEAD_MAX], payload[9000];
    rng_fill(payload, sizeof(payload), 1);
    (void)extent_head_encode(head, 1, 2, 3, payload, sizeof(payload), "n", 1);
    cr_assert_eq(extent_head_check(head, 1, 2, sizeof(payload)), 0);
    for (size_t at = 0; at < extent_head_size(sizeof(payload)); at++) {
        head[at] ^= 0x40;
        cr_assert_eq(extent_head_check(head, 1, 2, sizeof(payload)), -EBADMSG, "byte %zu", at);
        head[at] ^= 0x40;
    }
    cr_assert_eq(extent_head_check(head, 2, 2, sizeof(payload)), -EBADMSG);
    cr_assert_eq(extent_head_check(head, 1, 3, sizeof(payload)), -EBADMSG);
    cr_assert_eq(extent_head_check(head, 1, 2, sizeof(payload) - 1), -EBADMSG);
    for (size_t at = 0; at < sizeof(payload); at += 97) {
        payload[at] ^= 1;
        for (uint32_t block = 0; block < 3; block++)
            cr_assert_eq(extent_blocks_check(head, block, 1, payload + (size_t)block * BLOCK_SIZE),
                         at / BLOCK_SIZE == block ? -EBADMSG : 0, "byte %zu, block %u", at, block);
        cr_assert_eq(extent_blocks_check(head, 0, 3, payload), -EBADMSG);
        payload[at] ^= 1;
    }
    cr_assert_eq(extent_blocks_check(head, 0, 3, payload), 0);
}

Test(codec, a_renewed_head_keeps_its_block_sums)
{
    uint8_t head[EXTENT_HEAD_MAX], again[EXTENT_HEAD_MAX], payload[5000];
    rng_fill(payload, sizeof(payload), 2);
    (void)extent_head_encode(head, 1, 2, 3, payload, sizeof(payload), "old", 3);
    cr_assert_eq(extent_head_renew(head, 8, "newer", 5),
                 extent_head_encode(again, 1, 2, 8, payload, sizeof(payload), "newer", 5));
    cr_assert_eq(memcmp(head, again, extent_head_size(sizeof(payload))), 0);
    (void)extent_head_set_seq(head, 9);
    (void)extent_head_encode(again, 1, 2, 9, payload, sizeof(payload), "newer", 5);
    cr_assert_eq(memcmp(head, again, extent_head_size(sizeof(payload))), 0);
}

Test(codec, cut_ops_are_refused)
{
    for (uint8_t type = 1; type < OP_TYPES; type++) {
        struct op op = full_op(type), back;
        size_t size = op_size(&op), used = 77;
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *image = malloc(size), *exact = malloc(cut + 1);
            op_encode(&op, image);
            memcpy(exact, image, cut); /* so that a sanitizer sees a byte too many */
            cr_assert_eq(op_decode(exact, cut, &back, &used), -EBADMSG, "op %u cut at %zu", type, cut);
            free(image);
            free(exact);
        }
        cr_assert_eq(used, 77);
    }
    uint8_t none[64] = {0}, beyond[64] = {OP_TYPES};
    struct op back;
    size_t used;
    cr_assert_eq(op_decode(none, sizeof(none), &back, &used), -EBADMSG);
    cr_assert_eq(op_decode(beyond, sizeof(beyond), &back, &used), -EBADMSG);
}

Test(codec, noise_never_leads_out_of_bounds)
{
    uint64_t rng = test_seed();
    for (unsigned i = 0; i < 200000; i++) {
        size_t size = (size_t)rng_below(&rng, 160), used;
        uint8_t *image = malloc(size + 1);
        struct op back;
        rng_fill(image, size, rng_next(&rng));
        if (size > 8) {
            image[0] = (uint8_t)rng_below(&rng, OP_TYPES + 1);
            image[3] = image[5] = image[6] = image[7] = (uint8_t)(rng_below(&rng, 8) ? 0 : 0xff);
        }
        if (op_decode(image, size, &back, &used) == 0) {
            MUST(used <= size && used % 8 == 0 && used > 0);
            MUST((const uint8_t *)back.name >= image && (const uint8_t *)back.value >= image);
            MUST((const uint8_t *)back.name + back.name_len <= image + size);
            MUST((const uint8_t *)back.value + back.value_len <= image + size);
        }
        free(image);
    }
}
