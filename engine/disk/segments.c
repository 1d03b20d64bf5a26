/*
 * segments.c - see segments.h. */
#include "disk/segments.h"

#include "base/util.h"

#include <stdio.h>

#define OPEN_MAX 512u /* files kept open, unless more are needed at a time */

void segments_init(struct segments *segments, struct eng_io *io, const struct fault_hook *hook)
{
    *segments = (struct segments){.io = io, .hook = hook, .next_id = 1, .open_max = OPEN_MAX};
    if (io->ops->files_max) /* the other half is for all else that opens files */
        segments->open_max = (unsigned)MIN_OF(io->ops->files_max(io) / 2, (uint64_t)OPEN_MAX);
    pthread_mutex_init(&segments->lock, NULL);
}

static struct segment *find_locked(const struct segments *segments, uint32_t id)
{
    return (struct segment *)(uintptr_t)idmap_get(&segments->by_id, id);
}

/* Of slot i of the map: all segments are met as i goes from 0 to segs.cap. */
static struct segment *segment_at(const struct segments *segments, uint32_t i)
{
    return (struct segment *)(uintptr_t)segments->by_id.slots[i].value;
}

void segments_free(struct segments *segments)
{
    if (!segments->io)
        return;
    for (uint32_t i = 0; i < segments->by_id.cap; i++) {
        struct segment *seg = segment_at(segments, i);
        if (seg && seg->file)
            segments->io->ops->close(seg->file);
        free(seg);
    }
    idmap_done(&segments->by_id);
    pthread_mutex_destroy(&segments->lock);
    *segments = (struct segments){0};
}

void segment_name(uint32_t id, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "s%08x.seg", id);
}

int segment_parse_name(const char *name, uint32_t *ret_id)
{
    unsigned id;
    char again[SEGMENT_NAME_SIZE];
    if (sscanf(name, "s%8x.seg", &id) != 1 || !id)
        return -EINVAL;
    segment_name(id, again);
    if (strcmp(name, again) != 0)
        return -EINVAL;
    *ret_id = id;
    return 0;
}

/* Registers seg; the lock is held. */
static int add_locked(struct segments *segments, struct segment *seg)
{
    if (find_locked(segments, seg->id))
        return -EEXIST;
    int r = idmap_reserve(&segments->by_id);
    if (r)
        return r;
    idmap_set(&segments->by_id, seg->id, (uintptr_t)seg);
    if (seg->kind && seg->id >= segments->next_id) /* a name alone proves nothing */
        segments->next_id = seg->id < UINT32_MAX ? seg->id + 1 : UINT32_MAX;
    return 0;
}

static int add(struct segments *segments, struct segment *take_seg)
{
    pthread_mutex_lock(&segments->lock);
    int r = add_locked(segments, take_seg);
    pthread_mutex_unlock(&segments->lock);
    if (r)
        free(take_seg);
    return r;
}

int segments_add(struct segments *segments, uint32_t id, uint32_t kind, uint64_t size)
{
    struct segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct segment){.id = id, .kind = kind, .size = size};
    return add(segments, seg);
}

/* An id that got no file: a full disk, tried again and again, must not use the ids up. */
static void take_back(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    if (segments->next_id == id + 1)
        segments->next_id = id;
    pthread_mutex_unlock(&segments->lock);
}

/* Closes idle files until there is room for one more. */
static void close_idle_locked(struct segments *segments)
{
    for (uint32_t i = 0; i < segments->by_id.cap && segments->n_open >= segments->open_max; i++) {
        struct segment *seg = segment_at(segments, i);
        if (!seg || !seg->file || atomic_load_explicit(&seg->pins, memory_order_acquire))
            continue;
        segments->io->ops->close(seg->file);
        seg->file = NULL;
        segments->n_open--;
    }
}

static int create_one(struct segments *segments, uint32_t kind, uint64_t first_seq, uint64_t chain,
                      uint64_t durable_seq, struct segment **ret_seg)
{
    pthread_mutex_lock(&segments->lock);
    uint32_t id = segments->next_id;
    if (id < UINT32_MAX)
        segments->next_id++; /* (I1) */
    close_idle_locked(segments);
    pthread_mutex_unlock(&segments->lock);
    if (id == UINT32_MAX)
        return -EFBIG;

    struct segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct segment){.id = id, .kind = kind, .size = sizeof(struct segment_header), .pins = 1};
    struct segment_header header = {.kind = kind,
                                    .id = id,
                                    .first_seq = first_seq,
                                    .chain = chain,
                                    .durable_seq = durable_seq,
                                    .created = now_ns()};
    memcpy(header.uuid, segments->uuid, sizeof header.uuid);
    segment_header_seal(&header);
    const struct eng_io_ops *ops = segments->io->ops;
    char name[SEGMENT_NAME_SIZE];
    segment_name(id, name);
    struct iovec iov = {&header, sizeof header};
    int r = ops->open(segments->io, name, IO_RDWR | IO_CREATE, &seg->file);
    bool clean = r && r != -EEXIST;
    if (!r) {
        r = io_pwritev_full(seg->file, ops, &iov, 1, 0);
        if (r) {
            ops->close(seg->file);
            clean = ops->unlink(segments->io, name) == 0;
        }
    }
    if (r) {
        if (clean)
            take_back(segments, id);
        free(seg);
        return r;
    }
    pthread_mutex_lock(&segments->lock);
    r = add_locked(segments, seg);
    segments->n_open += !r;
    pthread_mutex_unlock(&segments->lock);
    if (r) {
        ops->close(seg->file);
        (void)ops->unlink(segments->io, name);
        free(seg);
        return r;
    }
    *ret_seg = seg;
    return 0;
}

int segments_create(struct segments *segments, uint32_t kind, uint64_t first_seq, uint64_t chain,
                    uint64_t durable_seq, struct segment **ret_seg)
{
    int r;
    do /* a file of that name that is none of ours is passed over */
        r = create_one(segments, kind, first_seq, chain, durable_seq, ret_seg);
    while (r == -EEXIST);
    return r;
}

uint32_t segments_after(struct segments *segments, uint32_t id)
{
    uint32_t next = 0;
    pthread_mutex_lock(&segments->lock);
    for (uint32_t i = 0; i < segments->by_id.cap; i++) {
        const struct segment *seg = segment_at(segments, i);
        if (seg && seg->id > id && (!next || seg->id < next))
            next = seg->id;
    }
    pthread_mutex_unlock(&segments->lock);
    return next;
}

/* While it is pinned neither the file nor the bytes in it go (I1). */
int segments_pin(struct segments *segments, uint32_t id, struct segment **ret_seg)
{
    int r = -ENOENT;
    pthread_mutex_lock(&segments->lock);
    struct segment *seg = find_locked(segments, id);
    if (seg) {
        r = 0;
        if (!seg->file) {
            char name[SEGMENT_NAME_SIZE];
            segment_name(id, name);
            close_idle_locked(segments);
            r = segments->io->ops->open(segments->io, name, segments->read_only ? IO_RDONLY : IO_RDWR,
                                        &seg->file);
            segments->n_open += !r;
        }
    }
    if (!r) {
        atomic_fetch_add_explicit(&seg->pins, 1, memory_order_acquire);
        *ret_seg = seg;
    }
    pthread_mutex_unlock(&segments->lock);
    return r;
}

void segments_unpin(struct segment *seg)
{
    if (seg)
        atomic_fetch_sub_explicit(&seg->pins, 1,
                                  memory_order_release); /* pairs with the load in segments_remove() */
}

/* Pins are the last of the conditions of I4; the others are the caller's. */
int segments_remove(struct segments *segments, uint32_t id, struct segment **ret_seg)
{
    pthread_mutex_lock(&segments->lock);
    struct segment *seg = find_locked(segments, id);
    int r = seg ? 0 : -ENOENT;
    if (seg && atomic_load_explicit(&seg->pins, memory_order_acquire) && !MUTANT(NO_PIN))
        r = -EBUSY;
    if (!r) {
        idmap_del(&segments->by_id, id);
        segments->n_open -= seg->file != NULL;
    }
    pthread_mutex_unlock(&segments->lock);
    if (!r)
        *ret_seg = seg;
    return r;
}

int segments_unlink(struct segments *segments, struct segment *take_seg)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(take_seg->id, name);
    fault_point(segments->hook, FP_RETIRE);
    if (take_seg->file)
        segments->io->ops->close(take_seg->file);
    free(take_seg);
    return segments->io->ops->unlink(segments->io, name);
}

int segments_retire(struct segments *segments, uint32_t id)
{
    struct segment *seg;
    int r = segments_remove(segments, id, &seg);
    return r ? r : segments_unlink(segments, seg);
}

bool segments_has(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    bool has = find_locked(segments, id) != NULL;
    pthread_mutex_unlock(&segments->lock);
    return has;
}

unsigned segments_pinned(struct segments *segments)
{
    unsigned n = 0;
    pthread_mutex_lock(&segments->lock);
    for (uint32_t i = 0; i < segments->by_id.cap; i++) {
        struct segment *seg = segment_at(segments, i);
        n += seg && atomic_load_explicit(&seg->pins, memory_order_relaxed);
    }
    pthread_mutex_unlock(&segments->lock);
    return n;
}

uint64_t segments_bytes(struct segments *segments)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&segments->lock);
    for (uint32_t i = 0; i < segments->by_id.cap; i++) {
        struct segment *seg = segment_at(segments, i);
        sum += seg ? atomic_load_explicit(&seg->size, memory_order_relaxed) : 0;
    }
    pthread_mutex_unlock(&segments->lock);
    return sum;
}

uint64_t segments_size_of(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    const struct segment *seg = find_locked(segments, id);
    uint64_t size = seg ? atomic_load_explicit(&seg->size, memory_order_relaxed) : 0;
    pthread_mutex_unlock(&segments->lock);
    return size;
}

unsigned segments_pins_of(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    const struct segment *seg = find_locked(segments, id);
    int pins = seg ? atomic_load_explicit(&seg->pins, memory_order_relaxed) : 0;
    pthread_mutex_unlock(&segments->lock);
    return pins > 0 ? (unsigned)pins : 0;
}

/* ---- reading ------------------------------------------------------------ */

#define READ_ON_STACK 16384u

static int read_exactly(struct segment *seg, const struct eng_io_ops *ops, void *buf, size_t size,
                        uint64_t off)
{
    ssize_t n = io_pread_full(seg->file, ops, buf, size, off);
    if (n < 0)
        return (int)n;
    return (size_t)n == size ? 0 : -EBADMSG; /* the file ends too early */
}

/* The only way from a segment to a caller: nothing leaves private memory unverified (I6). The locator was
 * checked when it entered the index, its place was not: a read beyond the end of the file is damage (I10). */
int segment_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                 const struct locator *loc, uint32_t off, uint32_t len, void *buf)
{
    if (loc->ext_len > EXTENT_MAX || loc->skip > loc->ext_len || loc->len > loc->ext_len - loc->skip ||
        !len || off > loc->len || len > loc->len - off)
        return -EBADMSG; /* I10: eng_check() comes here with what it has just found wrong */
    uint64_t ext_off = loc_off == EXTENT_XATTR_OFF ? loc_off : loc_off - loc->skip;
    uint32_t head_size = extent_head_size(loc->ext_len);
    uint32_t first = (loc->skip + off) / BLOCK_SIZE;
    uint32_t last = (loc->skip + off + len - 1) / BLOCK_SIZE;
    uint32_t from = first * BLOCK_SIZE, to = MIN_OF((last + 1) * BLOCK_SIZE, loc->ext_len);

    /* Head and blocks go to private memory: in one piece where they are neighbours, else in two. */
    uint8_t on_stack[READ_ON_STACK];
    uint8_t *mem = on_stack;
    CLEANUP_FREE uint8_t *large = NULL;
    size_t size = head_size + (to - from);
    if (size > sizeof on_stack) {
        large = malloc(size);
        if (!large)
            return -ENOMEM;
        mem = large;
    }
    uint64_t at = locator_offset(loc);
    int r;
    if (from == 0) {
        r = read_exactly(seg, ops, mem, size, at);
    } else {
        r = read_exactly(seg, ops, mem, head_size, at);
        if (!r)
            r = read_exactly(seg, ops, mem + head_size, to - from, at + head_size + from);
    }
    if (!r && !MUTANT(NO_VERIFY)) {
        r = extent_head_check(mem, ino, ext_off, loc->ext_len);
        if (!r)
            r = extent_blocks_check(mem, first, last - first + 1, mem + head_size);
    }
    if (!r)
        memcpy(buf, mem + head_size + (loc->skip + off - from), len);
    return r;
}
