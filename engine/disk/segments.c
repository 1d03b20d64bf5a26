/*
 * segments.c - see segments.h. */
#include "disk/segments.h"

#include "base/util.h"

#include <assert.h>
#include <stdio.h>

#define SLICE 1024u   /* places of the map that are looked at in one hold of the lock */
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
    idmap_done(&segments->kept);
    pthread_mutex_destroy(&segments->lock);
    *segments = (struct segments){0};
}

void segment_name(uint32_t id, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "s%08x.seg", id);
}

void segment_kept_name(uint32_t id, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "s%08x.kept", id);
}

static int parse_name(const char *name, void (*make)(uint32_t id, char *out), uint32_t *ret_id)
{
    unsigned id;
    char again[SEGMENT_NAME_SIZE];
    if (sscanf(name, "s%8x.", &id) != 1 || !id)
        return -EINVAL;
    make(id, again);
    if (strcmp(name, again) != 0)
        return -EINVAL;
    *ret_id = id;
    return 0;
}

int segment_parse_name(const char *name, uint32_t *ret_id)
{
    return parse_name(name, segment_name, ret_id);
}

int segment_parse_kept_name(const char *name, uint32_t *ret_id)
{
    return parse_name(name, segment_kept_name, ret_id);
}

static void file_name(const struct segment *seg, char out[SEGMENT_NAME_SIZE])
{
    if (seg->kept)
        segment_kept_name(seg->id, out);
    else
        segment_name(seg->id, out);
}

/* Registers seg; the lock is held. */
static int add_locked(struct segments *segments, struct segment *seg)
{
    if (find_locked(segments, seg->id))
        return -EEXIST;
    int r = idmap_reserve(&segments->by_id, 1);
    if (r)
        return r;
    idmap_set(&segments->by_id, seg->id, (uintptr_t)seg);
    atomic_fetch_add_explicit(&segments->bytes, atomic_load_explicit(&seg->size, memory_order_relaxed),
                              memory_order_relaxed);
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

int segments_add_kept(struct segments *segments, uint32_t id, uint64_t size)
{
    struct segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct segment){.id = id, .size = size, .kept = true};
    return add(segments, seg);
}

static bool is_kept_locked(const struct segments *segments, uint32_t id)
{
    return idmap_get(&segments->kept, id) != 0;
}

int segments_note_kept(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    int r = is_kept_locked(segments, id) ? -EEXIST : idmap_reserve(&segments->kept, 1);
    if (!r && !MUTANT(KEPT_REPLACED))
        idmap_set(&segments->kept, id, 1);
    pthread_mutex_unlock(&segments->lock);
    return r;
}

/* An id that got no file: a full disk, tried again and again, must not use the ids up. */
static void take_back(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    if (segments->next_id == id + 1)
        segments->next_id = id;
    pthread_mutex_unlock(&segments->lock);
}

/* ---- the files that are open ------------------------------------------------- */

static void ring_remove_locked(struct segments *segments, struct segment *seg)
{
    segments->n_open--;
    if (segments->hand == seg)
        segments->hand = seg->next == seg ? NULL : seg->next;
    seg->prev->next = seg->next;
    seg->next->prev = seg->prev;
    seg->prev = seg->next = NULL;
}

/* Behind the hand, which comes by all others first. */
static void ring_add_locked(struct segments *segments, struct segment *seg)
{
    struct segment *hand = segments->hand ? segments->hand : seg;
    seg->next = hand;
    seg->prev = hand == seg ? seg : hand->prev;
    seg->prev->next = seg;
    hand->prev = seg;
    seg->again = false; /* what is read once, as by a scrub, goes before what is read again and again */
    segments->hand = hand;
    segments->n_open++;
}

/* The idle file that was not wanted again for longest leaves the ring; NULL: all are pinned. Goes round among
 * the open files only, twice at most. */
static struct io_file *take_idle_locked(struct segments *segments)
{
    for (unsigned left = 2 * segments->n_open; left > 0; left--) {
        struct segment *seg = segments->hand;
        assert(seg); /* there are n_open in the ring */
        segments->hand = seg->next;
        bool again = seg->again && !MUTANT(EVICT_USED);
        seg->again = false;
        if (again || (atomic_load_explicit(&seg->pins, memory_order_acquire) && !MUTANT(EVICT_PINNED)))
            continue;
        ring_remove_locked(segments, seg);
        return STEAL(seg->file);
    }
    return NULL;
}

#define EVICTED_MAX 2u /* one more was opened; and if more than open_max were pinned, some go */

/* An open file becomes that of the segment; *ret_idle: those that the caller closes, without the lock. */
static void add_file_locked(struct segments *segments, struct segment *seg, struct io_file *take_file,
                            struct io_file *ret_idle[EVICTED_MAX])
{
    for (unsigned i = 0; i < EVICTED_MAX; i++)
        ret_idle[i] = segments->n_open >= segments->open_max ? take_idle_locked(segments) : NULL;
    seg->file = take_file;
    ring_add_locked(segments, seg);
}

static void close_files(struct segments *segments, struct io_file *const take_files[EVICTED_MAX])
{
    for (unsigned i = 0; i < EVICTED_MAX; i++) {
        if (take_files[i])
            segments->io->ops->close(take_files[i]);
    }
}

/* ---- creating ---------------------------------------------------------------- */

/* A file that has the header and no more. *ret_clean, after an error: whether there is no such file. */
static int create_file(struct segments *segments, const char *name, struct segment_header *header,
                       struct io_file **ret_file, bool *ret_clean)
{
    const struct eng_io_ops *ops = segments->io->ops;
    struct iovec iov = {header, sizeof *header};
    int r = ops->open(segments->io, name, IO_RDWR | IO_CREATE, ret_file);
    *ret_clean = r && r != -EEXIST;
    if (!r) {
        r = io_pwritev_full(*ret_file, ops, &iov, 1, 0);
        if (r) {
            ops->close(*ret_file);
            *ret_clean = ops->unlink(segments->io, name) == 0;
        }
    }
    return r;
}

static int create_one(struct segments *segments, uint32_t kind, uint64_t first_seq, uint64_t chain,
                      uint64_t durable_seq, struct segment **ret_seg)
{
    pthread_mutex_lock(&segments->lock);
    uint32_t id = segments->next_id;
    while (id < UINT32_MAX && is_kept_locked(segments, id)) /* one number stands for one segment for good */
        id++;
    segments->next_id = id < UINT32_MAX ? id + 1 : id; /* (I1) */
    pthread_mutex_unlock(&segments->lock);
    if (id == UINT32_MAX)
        return -ENOSPC; /* no write can be the reason: it would be told "file too large" */

    struct segment *seg = calloc(1, sizeof *seg);
    if (!seg)
        return -ENOMEM;
    *seg = (struct segment){.id = id, .kind = kind, .size = sizeof(struct segment_header), .pins = 1};
    struct segment_header header = {.kind = kind,
                                    .id = id,
                                    .first_seq = first_seq,
                                    .chain = chain,
                                    .durable_seq = MUTANT(HEADER_MARK_LOST) ? 0 : durable_seq,
                                    .created = now_ns()};
    memcpy(header.uuid, segments->uuid, sizeof header.uuid);
    segment_header_seal(&header, FORMAT_VERSION);
    char name[SEGMENT_NAME_SIZE];
    segment_name(id, name);
    struct io_file *file, *idle[EVICTED_MAX] = {0};
    bool clean;
    int r = create_file(segments, name, &header, &file, &clean);
    if (r) {
        if (clean)
            take_back(segments, id);
        free(seg);
        return r;
    }
    pthread_mutex_lock(&segments->lock);
    r = add_locked(segments, seg);
    if (!r)
        add_file_locked(segments, seg, file, idle);
    pthread_mutex_unlock(&segments->lock);
    close_files(segments, idle);
    if (r) {
        segments->io->ops->close(file);
        (void)segments->io->ops->unlink(segments->io, name);
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

/* ---- pins --------------------------------------------------------------------- */

/* While it is pinned neither the file nor the bytes in it go (I1). -ENOENT. -EAGAIN: its file is closed;
 * pinned all the same. */
static int pin_locked(struct segments *segments, uint32_t id, struct segment **ret_seg)
{
    struct segment *seg = find_locked(segments, id);
    if (!seg)
        return -ENOENT;
    atomic_fetch_add_explicit(&seg->pins, 1, memory_order_acquire);
    *ret_seg = seg;
    seg->again = seg->again || seg->file;
    return seg->file ? 0 : -EAGAIN;
}

/* Of a segment that the caller has pinned. Several may come here at once: the first that is ready wins. */
static int open_file(struct segments *segments, struct segment *seg)
{
    struct io_file *file = NULL, *idle[EVICTED_MAX] = {0};
    char name[SEGMENT_NAME_SIZE];
    file_name(seg, name);
    int r = segments->io->ops->open(segments->io, name, segments->read_only ? IO_RDONLY : IO_RDWR, &file);
    pthread_mutex_lock(&segments->lock);
    if (seg->file)
        r = 0;
    else if (!r)
        add_file_locked(segments, seg, STEAL(file), idle);
    pthread_mutex_unlock(&segments->lock);
    close_files(segments, idle);
    if (file)
        segments->io->ops->close(file);
    return io_is_no_file(r) ? -EIO : r;
}

int segments_pin(struct segments *segments, uint32_t id, struct segment **ret_seg)
{
    struct segment *seg = NULL;
    pthread_mutex_lock(&segments->lock);
    int r = pin_locked(segments, id, &seg);
    pthread_mutex_unlock(&segments->lock);
    if (r == -EAGAIN)
        r = open_file(segments, seg);
    if (r)
        segments_unpin(seg);
    else
        *ret_seg = seg;
    return r;
}

int segments_pin_open(struct segments *segments, uint32_t id, struct segment **ret_seg)
{
    struct segment *seg = NULL;
    pthread_mutex_lock(&segments->lock);
    int r = pin_locked(segments, id, &seg);
    pthread_mutex_unlock(&segments->lock);
    if (r)
        segments_unpin(seg);
    else
        *ret_seg = seg;
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
        if (seg->file)
            ring_remove_locked(segments, seg);
        atomic_fetch_sub_explicit(&segments->bytes, atomic_load_explicit(&seg->size, memory_order_relaxed),
                                  memory_order_relaxed);
    }
    pthread_mutex_unlock(&segments->lock);
    if (!r)
        *ret_seg = seg;
    return r;
}

int segments_unlink(struct segments *segments, struct segment *take_seg)
{
    char name[SEGMENT_NAME_SIZE];
    file_name(take_seg, name);
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

int segments_set_aside(struct segments *segments, uint32_t id)
{
    struct segment *seg;
    char name[SEGMENT_NAME_SIZE], kept[SEGMENT_NAME_SIZE];
    int r = segments_note_kept(segments, id);
    if (!r)
        r = segments_remove(segments, id, &seg);
    if (r)
        return r;
    if (seg->file)
        segments->io->ops->close(seg->file);
    free(seg);
    segment_name(id, name);
    segment_kept_name(id, kept);
    return segments->io->ops->rename(segments->io, name, kept);
}

bool segments_has(struct segments *segments, uint32_t id)
{
    pthread_mutex_lock(&segments->lock);
    bool has = find_locked(segments, id) != NULL;
    pthread_mutex_unlock(&segments->lock);
    return has;
}

/* In slices: there may be many, and every pin takes the lock. What comes and goes meanwhile counts or does
 * not. */
unsigned segments_pinned(struct segments *segments)
{
    unsigned n = 0;
    bool more = true;
    for (uint32_t i = 0; more;) {
        pthread_mutex_lock(&segments->lock);
        for (unsigned looks = 0; looks < SLICE && i < segments->by_id.cap; looks++, i++) {
            struct segment *seg = segment_at(segments, i);
            n += seg && atomic_load_explicit(&seg->pins, memory_order_relaxed);
        }
        more = i < segments->by_id.cap;
        pthread_mutex_unlock(&segments->lock);
    }
    return n;
}

uint64_t segments_bytes(struct segments *segments)
{
    return atomic_load_explicit(&segments->bytes, memory_order_relaxed);
}

void segments_resize(struct segments *segments, struct segment *seg, uint64_t size)
{
    uint64_t old = atomic_exchange_explicit(&seg->size, size, memory_order_relaxed);
    atomic_fetch_add_explicit(&segments->bytes, size - old, memory_order_relaxed);
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

static bool is_in_window(const struct segment_window *w, const struct segment *seg, uint64_t off, size_t size)
{
    return w->bytes && w->segment == seg->id && off >= w->from && off - w->from <= w->len &&
           size <= w->len - (off - w->from);
}

/* A sector that cannot be read takes a disk seconds: the ranges before it do not ask for it. */
static void move_window(struct segment_window *w, struct segment *seg, const struct eng_io_ops *ops,
                        uint64_t off)
{
    if (!w->bytes)
        w->bytes = malloc(SEGMENT_WINDOW);
    ssize_t n = w->bytes ? io_pread_full(seg->file, ops, w->bytes, SEGMENT_WINDOW, off) : -ENOMEM;
    w->segment = seg->id;
    w->from = off;
    w->len = n > 0 ? (size_t)n : 0;
    w->alone = n < 0 && !MUTANT(WINDOW_AGAIN) ? off + SEGMENT_WINDOW : 0;
    w->read += n < 0 && !MUTANT(ERRORS_UNCOUNTED) ? SEGMENT_WINDOW : w->len;
}

/* `w` may be NULL. */
static int read_exactly(struct segment *seg, const struct eng_io_ops *ops, struct segment_window *w,
                        void *buf, size_t size, uint64_t off)
{
    bool ahead = w && size <= SEGMENT_WINDOW && (w->segment != seg->id || off >= w->alone);
    if (ahead && !is_in_window(w, seg, off, size))
        move_window(w, seg, ops, off);
    if (w && is_in_window(w, seg, off, size)) {
        memcpy(buf, w->bytes + (off - w->from), size);
        return 0;
    }
    ssize_t n = io_pread_full(seg->file, ops, buf, size, off);
    if (w && !MUTANT(ERRORS_UNCOUNTED))
        w->read += size;
    if (n < 0)
        return (int)n;
    return (size_t)n == size ? 0 : -EBADMSG; /* the file ends too early */
}

/* The only way from a segment to a caller: nothing leaves private memory unverified (I6). The locator was
 * checked when it entered the index, its place was not: a read beyond the end of the file is damage (I10). */
static int read_range(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                      const struct locator *loc, uint32_t off, uint32_t len, struct segment_window *w,
                      void *buf)
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
        r = read_exactly(seg, ops, w, mem, size, at);
    } else {
        r = read_exactly(seg, ops, w, mem, head_size, at);
        if (!r)
            r = read_exactly(seg, ops, w, mem + head_size, to - from, at + head_size + from);
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

int segment_read(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                 const struct locator *loc, uint32_t off, uint32_t len, void *buf)
{
    return read_range(seg, ops, ino, loc_off, loc, off, len, NULL, buf);
}

int segment_verify(struct segment *seg, const struct eng_io_ops *ops, uint64_t ino, uint64_t loc_off,
                   const struct locator *loc, struct segment_window *window, void *buf)
{
    return read_range(seg, ops, ino, loc_off, loc, 0, loc->len, window, buf);
}
