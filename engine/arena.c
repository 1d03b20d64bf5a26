/*
 * arena.c - see arena.h.
 */
#include "arena.h"

#include "util.h"

#include <stdio.h>

#define OPEN_MAX 512u /* files kept open, unless more are needed at a time */

void arena_init(struct arena *arena, struct eng_io *io, const struct fault_hook *hook)
{
    *arena = (struct arena){.io = io, .hook = hook, .next_id = 1, .open_max = OPEN_MAX};
    if (io->ops->files_max) /* the other half is for all else that opens files */
        arena->open_max = (unsigned)MIN_OF(io->ops->files_max(io) / 2, (uint64_t)OPEN_MAX);
    pthread_mutex_init(&arena->lock, NULL);
}

static struct segment *find_locked(const struct arena *arena, uint32_t id)
{
    return (struct segment *)(uintptr_t)idmap_get(&arena->segs, id);
}

/* Of slot i of the map: all segments are met as i goes from 0 to segs.cap. */
static struct segment *segment_at(const struct arena *arena, uint32_t i)
{
    return (struct segment *)(uintptr_t)arena->segs.slots[i].value;
}

void arena_done(struct arena *arena)
{
    if (!arena->io)
        return;
    for (uint32_t i = 0; i < arena->segs.cap; i++) {
        struct segment *seg = segment_at(arena, i);
        if (seg && seg->file)
            arena->io->ops->close(seg->file);
        free(seg);
    }
    idmap_done(&arena->segs);
    pthread_mutex_destroy(&arena->lock);
    *arena = (struct arena){0};
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
static int add_locked(struct arena *arena, struct segment *seg)
{
    if (find_locked(arena, seg->id))
        return -EEXIST;
    int r = idmap_reserve(&arena->segs);
    if (r)
        return r;
    idmap_set(&arena->segs, seg->id, (uintptr_t)seg);
    if (seg->id >= arena->next_id)
        arena->next_id = seg->id < UINT32_MAX ? seg->id + 1 : UINT32_MAX;
    return 0;
}

static int add(struct arena *arena, struct segment *take_seg)
{
    pthread_mutex_lock(&arena->lock);
    int r = add_locked(arena, take_seg);
    pthread_mutex_unlock(&arena->lock);
    if (r)
        free(take_seg);
    return r;
}

int arena_add(struct arena *arena, uint32_t id, uint32_t kind, uint64_t size)
{
    struct segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct segment){.id = id, .kind = kind, .size = size};
    return add(arena, seg);
}

/* An id that got no file: a full disk, tried again and again, must not use the ids up. */
static void take_back(struct arena *arena, uint32_t id)
{
    pthread_mutex_lock(&arena->lock);
    if (arena->next_id == id + 1)
        arena->next_id = id;
    pthread_mutex_unlock(&arena->lock);
}

/* Closes idle files until there is room for one more. */
static void close_idle_locked(struct arena *arena)
{
    for (uint32_t i = 0; i < arena->segs.cap && arena->n_open >= arena->open_max; i++) {
        struct segment *seg = segment_at(arena, i);
        if (!seg || !seg->file || __atomic_load_n(&seg->pins, __ATOMIC_ACQUIRE))
            continue;
        arena->io->ops->close(seg->file);
        seg->file = NULL;
        arena->n_open--;
    }
}

int arena_create(struct arena *arena, uint32_t kind, uint64_t first_seq, uint64_t chain, uint64_t durable_seq,
                 struct segment **ret_seg)
{
    pthread_mutex_lock(&arena->lock);
    uint32_t id = arena->next_id;
    if (id < UINT32_MAX)
        arena->next_id++; /* (I1) */
    close_idle_locked(arena);
    pthread_mutex_unlock(&arena->lock);
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
    memcpy(header.uuid, arena->uuid, sizeof header.uuid);
    segment_header_seal(&header);
    const struct eng_io_ops *ops = arena->io->ops;
    char name[SEGMENT_NAME_SIZE];
    segment_name(id, name);
    struct iovec iov = {&header, sizeof header};
    int r = ops->open(arena->io, name, IO_RDWR | IO_CREATE, &seg->file);
    bool clean = r && r != -EEXIST;
    if (!r) {
        r = io_pwritev_full(seg->file, ops, &iov, 1, 0);
        if (r) {
            ops->close(seg->file);
            clean = ops->unlink(arena->io, name) == 0;
        }
    }
    if (r) {
        if (clean)
            take_back(arena, id);
        free(seg);
        return r;
    }
    pthread_mutex_lock(&arena->lock);
    r = add_locked(arena, seg);
    arena->n_open += !r;
    pthread_mutex_unlock(&arena->lock);
    if (r) {
        ops->close(seg->file);
        (void)ops->unlink(arena->io, name);
        free(seg);
        return r;
    }
    *ret_seg = seg;
    return 0;
}

/* While it is pinned neither the file nor the bytes in it go (I1). */
int arena_pin(struct arena *arena, uint32_t id, struct segment **ret_seg)
{
    int r = -ENOENT;
    pthread_mutex_lock(&arena->lock);
    struct segment *seg = find_locked(arena, id);
    if (seg) {
        r = 0;
        if (!seg->file) {
            char name[SEGMENT_NAME_SIZE];
            segment_name(id, name);
            close_idle_locked(arena);
            r = arena->io->ops->open(arena->io, name, arena->read_only ? IO_RDONLY : IO_RDWR, &seg->file);
            arena->n_open += !r;
        }
    }
    if (!r) {
        __atomic_add_fetch(&seg->pins, 1, __ATOMIC_ACQUIRE);
        *ret_seg = seg;
    }
    pthread_mutex_unlock(&arena->lock);
    return r;
}

void arena_unpin(struct segment *seg)
{
    if (seg)
        __atomic_sub_fetch(&seg->pins, 1, __ATOMIC_RELEASE); /* pairs with the load in arena_remove() */
}

/* Pins are the last of the conditions of I4; the others are the caller's. */
int arena_remove(struct arena *arena, uint32_t id, struct segment **ret_seg)
{
    pthread_mutex_lock(&arena->lock);
    struct segment *seg = find_locked(arena, id);
    int r = !seg ? -ENOENT : __atomic_load_n(&seg->pins, __ATOMIC_ACQUIRE) && !MUTANT(NO_PIN) ? -EBUSY : 0;
    if (!r) {
        idmap_del(&arena->segs, id);
        arena->n_open -= seg->file != NULL;
    }
    pthread_mutex_unlock(&arena->lock);
    if (!r)
        *ret_seg = seg;
    return r;
}

int arena_unlink(struct arena *arena, struct segment *take_seg)
{
    char name[SEGMENT_NAME_SIZE];
    segment_name(take_seg->id, name);
    fault_point(arena->hook, FP_RETIRE);
    if (take_seg->file)
        arena->io->ops->close(take_seg->file);
    free(take_seg);
    return arena->io->ops->unlink(arena->io, name);
}

int arena_retire(struct arena *arena, uint32_t id)
{
    struct segment *seg;
    int r = arena_remove(arena, id, &seg);
    return r ? r : arena_unlink(arena, seg);
}

bool arena_has(struct arena *arena, uint32_t id)
{
    pthread_mutex_lock(&arena->lock);
    bool has = find_locked(arena, id) != NULL;
    pthread_mutex_unlock(&arena->lock);
    return has;
}

unsigned arena_pinned(struct arena *arena)
{
    unsigned n = 0;
    pthread_mutex_lock(&arena->lock);
    for (uint32_t i = 0; i < arena->segs.cap; i++) {
        struct segment *seg = segment_at(arena, i);
        n += seg && __atomic_load_n(&seg->pins, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&arena->lock);
    return n;
}

uint64_t arena_bytes(struct arena *arena)
{
    uint64_t sum = 0;
    pthread_mutex_lock(&arena->lock);
    for (uint32_t i = 0; i < arena->segs.cap; i++) {
        struct segment *seg = segment_at(arena, i);
        sum += seg ? __atomic_load_n(&seg->size, __ATOMIC_RELAXED) : 0;
    }
    pthread_mutex_unlock(&arena->lock);
    return sum;
}

uint64_t arena_size_of(struct arena *arena, uint32_t id)
{
    pthread_mutex_lock(&arena->lock);
    const struct segment *seg = find_locked(arena, id);
    uint64_t size = seg ? __atomic_load_n(&seg->size, __ATOMIC_RELAXED) : 0;
    pthread_mutex_unlock(&arena->lock);
    return size;
}

unsigned arena_pins_of(struct arena *arena, uint32_t id)
{
    pthread_mutex_lock(&arena->lock);
    const struct segment *seg = find_locked(arena, id);
    int pins = seg ? __atomic_load_n(&seg->pins, __ATOMIC_RELAXED) : 0;
    pthread_mutex_unlock(&arena->lock);
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
    CLEANUP_FREE uint8_t *heap = NULL;
    size_t size = head_size + (to - from);
    if (size > sizeof on_stack) {
        heap = malloc(size);
        if (!heap)
            return -ENOMEM;
        mem = heap;
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
