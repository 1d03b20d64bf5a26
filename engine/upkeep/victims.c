/*
 * victims.c - see victims.h.
 *
 * The filling thread and the taker share windows by two counts: windows [taken, filled) are full, and the one
 * before `taken` is the taker's until it takes the next.
 *
 * Locks: `lock` of the reader, a leaf; segments.lock to pin. */
#include "upkeep/victims.h"

#define WINDOW (1u << 20)
/* of a buffer: the last extent of a window may reach beyond it, and both ends are aligned */
#define WINDOW_BYTES ((WINDOW + EXTENT_MAX + EXTENT_HEAD_MAX) / IO_ALIGN * IO_ALIGN + 3 * IO_ALIGN)
#define WINDOW_GAP (128u << 10) /* dead bytes that are read rather than skipped */
#define CACHE_SAMPLES 16u
#define READ_AHEAD (16u << 20) /* what the disk is asked for before it is needed */

/* Bytes of the extent of ref r that are needed: its head, and the blocks that cover its range. */
static void needed_bytes(const struct extent_ref *r, uint64_t *ret_from, uint64_t *ret_to)
{
    uint64_t at = locator_offset(&r->from);
    uint32_t end =
        MIN_OF((uint32_t)ALIGN8((r->from.skip + r->from.len + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE),
               (uint32_t)ALIGN8(r->from.ext_len));
    *ret_from = at;
    *ret_to = at + extent_head_size(r->from.ext_len) + end;
}

/* Reads [from, to) of the victim into the window. What there is, if the file ends early. */
static int read_window(struct victim_reader *r, struct victim_window *w, uint64_t from, uint64_t to)
{
    w->at = from;
    w->len = 0;
    ssize_t n = io_pread_full(w->seg->file, r->eng->io->ops, w->data, (size_t)(to - from), from);
    if (n < 0)
        return (int)n;
    w->len = (size_t)n;
    return 0;
}

static void read_ahead(struct victim_reader *r, const struct victim_window *w, uint64_t from, uint64_t end)
{
    const struct eng_io_ops *ops = r->eng->io->ops;
    if (r->ahead_of != w->seg->id)
        r->ahead = 0;
    r->ahead_of = w->seg->id;
    uint64_t start = MAX_OF(from, r->ahead);
    if (!ops->advise || end + READ_AHEAD / 2 <= r->ahead)
        return;
    r->ahead = end + READ_AHEAD;
    ops->advise(w->seg->file, IO_WILL_NEED, start, r->ahead - start);
}

static void end_direct(struct victim_reader *r)
{
    r->eng->io->ops->close(r->direct);
    r->direct = NULL;
    r->direct_of = 0;
}

static struct io_file *direct_file(struct victim_reader *r, uint32_t seg)
{
    const struct eng_io_ops *ops = r->eng->io->ops;
    if (r->direct_of == seg)
        return r->direct;
    r->direct_of = seg;
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg, name);
    if (ops->open(r->eng->io, name, IO_DIRECT, &r->direct) != 0)
        r->direct = NULL;
    return r->direct;
}

/* The same, past the cache. Whether that could be done. */
static bool read_around(struct victim_reader *r, struct victim_window *w, uint64_t from, uint64_t to)
{
    w->at = from / IO_ALIGN * IO_ALIGN;
    w->len = (size_t)(to - w->at);
    struct io_file *file = direct_file(r, w->seg->id);
    size_t size = (w->len + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN;
    ssize_t n = file ? r->eng->io->ops->pread(file, w->data, size, w->at) : -EINVAL;
    return n >= 0 && (size_t)n >= w->len;
}

/* 1, 0, or -errno: cannot be told. */
static int cached(struct victim_reader *r, struct victim_window *w, uint64_t from, uint64_t to)
{
    const struct eng_io_ops *ops = r->eng->io->ops;
    from = from / IO_ALIGN * IO_ALIGN;
    return ops->cached ? ops->cached(w->seg->file, from, (size_t)(to - from)) : -EOPNOTSUPP;
}

/* Fills the window with the next ref and those that follow closely. */
static void fill(struct victim_reader *r, struct victim_window *w)
{
    uint64_t from, to, next_from, next_to;
    uint32_t seg = r->refs[r->next].from.seg;
    needed_bytes(&r->refs[r->next], &from, &to);
    w->first = r->next++;
    for (; r->next < r->n_refs && r->refs[r->next].from.seg == seg; r->next++) {
        needed_bytes(&r->refs[r->next], &next_from, &next_to);
        if (next_from > to + WINDOW_GAP || MAX_OF(to, next_to) - from > WINDOW)
            break;
        to = MAX_OF(to, next_to);
    }
    w->end = r->next;
    w->len = 0;
    if (r->direct_of != seg)
        end_direct(r); /* the file may be unlinked once its pins are gone */
    w->seg = NULL;
    w->error = segments_pin(&r->eng->segments, seg, &w->seg);
    if (w->error)
        return;
    if (cached(r, w, from, to) == 0 && read_around(r, w, from, to))
        return;
    read_ahead(r, w, from, to);
    w->error = read_window(r, w, from, to);
}

static void *reading(void *arg)
{
    struct victim_reader *r = arg;
    pthread_mutex_lock(&r->lock);
    while (!r->stop && r->next < r->n_refs) {
        if (r->filled - r->taken + (r->taken > 0) == READER_WINDOWS) {
            pthread_cond_wait(&r->changed, &r->lock);
            continue;
        }
        struct victim_window *w = &r->windows[r->filled % READER_WINDOWS];
        pthread_mutex_unlock(&r->lock);
        fill(r, w);
        pthread_mutex_lock(&r->lock);
        r->filled++;
        pthread_cond_broadcast(&r->changed);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* As far as some samples tell. */
static bool all_cached(struct victim_reader *r)
{
    bool all = r->n_refs > 0;
    for (size_t i = 0; i < CACHE_SAMPLES && all; i++) {
        const struct extent_ref *ref = &r->refs[i * (r->n_refs - 1) / (CACHE_SAMPLES - 1)];
        struct victim_window w = {0};
        uint64_t from, to;
        needed_bytes(ref, &from, &to);
        all = segments_pin(&r->eng->segments, ref->from.seg, &w.seg) == 0 && cached(r, &w, from, to) == 1;
        segments_unpin(w.seg);
    }
    return all;
}

int reader_begin(struct victim_reader *r, struct eng *eng, const struct extent_ref *refs, size_t n_refs,
                 bool threaded)
{
    *r = (struct victim_reader){.eng = eng, .refs = refs, .n_refs = n_refs};
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    threaded = threaded && !all_cached(r); /* there is nothing to wait for then */
    for (size_t i = 0; i < (threaded ? READER_WINDOWS : 1); i++) {
        r->windows[i].data = aligned_alloc(IO_ALIGN, WINDOW_BYTES);
        if (!r->windows[i].data)
            return -ENOMEM;
    }
    r->has_thread = threaded && n_refs && pthread_create(&r->thread, NULL, reading, r) == 0;
    return 0;
}

struct victim_window *reader_take(struct victim_reader *r)
{
    if (!r->has_thread) {
        fill(r, &r->windows[0]);
        return &r->windows[0];
    }
    pthread_mutex_lock(&r->lock);
    while (r->filled == r->taken)
        pthread_cond_wait(&r->changed, &r->lock);
    struct victim_window *w = &r->windows[r->taken++ % READER_WINDOWS];
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    return w;
}

int reader_again(struct victim_reader *reader, struct victim_window *w, size_t i)
{
    uint64_t from, to;
    struct victim_window alone = {.data = w->data};
    needed_bytes(&reader->refs[i], &from, &to);
    int r = segments_pin(&reader->eng->segments, reader->refs[i].from.seg, &alone.seg);
    if (!r)
        r = read_window(reader, &alone, from, to);
    segments_unpin(alone.seg);
    w->at = alone.at;
    w->len = alone.len;
    return r;
}

int window_find(const struct victim_window *w, const struct extent_ref *ref, const uint8_t **ret_head)
{
    uint64_t from, to;
    needed_bytes(ref, &from, &to);
    if (from < w->at || to > w->at + w->len)
        return -EBADMSG;
    *ret_head = w->data + (from - w->at);
    return 0;
}

void reader_end(struct victim_reader *r)
{
    if (!r->eng)
        return;
    pthread_mutex_lock(&r->lock);
    r->stop = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    if (r->has_thread)
        (void)pthread_join(r->thread, NULL);
    for (; r->taken < r->filled; r->taken++)
        segments_unpin(r->windows[r->taken % READER_WINDOWS].seg);
    end_direct(r);
    for (size_t i = 0; i < READER_WINDOWS; i++)
        free(r->windows[i].data);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    *r = (struct victim_reader){0};
}
