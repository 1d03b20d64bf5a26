/*
 * segment_file.c - see segment_file.h. */
#include "image/segment_file.h"

/*
 * A damaged header of a log segment costs nothing if its first batch is whole: what the header says of the
 * log that batch says, too, and it carries the store's own number. -ENOMEM. */
static int header_from_batch(struct eng *eng, struct io_file *file, struct seg_file *sf, struct buf *scratch)
{
    const struct eng_io_ops *ops = eng->io->ops;
    struct batch_header h;
    uint64_t at = sizeof sf->header;
    if (MUTANT(NO_BATCH_SUM) || io_pread_full(file, ops, &h, sizeof h, at) != (ssize_t)sizeof h ||
        h.store != eng->log.store || !batch_header_fits(&h, sf->size - at - sizeof h))
        return 0;
    scratch->len = 0;
    int r = buf_reserve(scratch, h.ops_len + 1u);
    if (r)
        return r;
    if (io_pread_full(file, ops, scratch->data, h.ops_len, at + sizeof h) != (ssize_t)h.ops_len ||
        h.sum != batch_sum(&h, scratch->data))
        return 0;
    sf->valid = sf->mended = true;
    sf->header.kind = SEGMENT_LOG;
    sf->header.first_seq = h.seq;
    sf->header.chain = h.chain;
    sf->header.durable_seq = h.durable_seq;
    return 0;
}

/* An error of the medium may pass. */
static int open_sized(struct eng *eng, const char *name, struct io_file **ret_file, uint64_t *ret_size)
{
    const struct eng_io_ops *ops = eng->io->ops;
    int r = -EIO;
    for (unsigned tries = 0; r == -EIO && tries < MEDIUM_TRIES; tries++) {
        r = ops->open(eng->io, name, IO_RDONLY, ret_file);
        if (r)
            continue;
        r = ops->file_size(*ret_file, ret_size);
        if (r)
            ops->close(*ret_file);
    }
    return r;
}

void segment_file_advise(struct eng *eng, uint32_t id)
{
    const struct eng_io_ops *ops = eng->io->ops;
    char name[SEGMENT_NAME_SIZE];
    struct io_file *file;
    segment_name(id, name);
    if (!ops->advise || ops->open(eng->io, name, IO_RDONLY, &file) != 0)
        return;
    ops->advise(file, IO_WILL_NEED, 0, sizeof(struct segment_header));
    ops->close(file);
}

int segment_file_read(struct eng *eng, struct seg_file *sf, struct buf *scratch)
{
    const struct eng_io_ops *ops = eng->io->ops;
    char name[SEGMENT_NAME_SIZE];
    struct io_file *file;
    segment_name(sf->id, name);
    int r = open_sized(eng, name, &file, &sf->size);
    sf->valid = sf->mended = false;
    if (r) {
        sf->alien = io_is_no_file(r);
        sf->unreadable = r == -EIO;
        sf->size = 0;
        return sf->alien || sf->unreadable ? 0 : r;
    }
    sf->size = MIN_OF(sf->size, SEGMENT_BYTES_MAX);
    ssize_t n = io_pread_full(file, ops, &sf->header, sizeof sf->header, 0);
    sf->unreadable = n == -EIO;
    sf->valid = n == sizeof sf->header && segment_header_check(&sf->header, eng->sb.uuid, sf->id) == 0;
    sf->alien = !sf->valid && n == sizeof sf->header &&
                segment_header_check(&sf->header, sf->header.uuid, sf->header.id) == 0;
    if (!sf->valid && !sf->alien && (n == sizeof sf->header || sf->unreadable))
        r = header_from_batch(eng, file, sf, scratch);
    ops->close(file);
    return n < 0 && !sf->unreadable ? (int)n : r;
}

int segment_file_by_id(const void *a, const void *b)
{
    uint32_t x = ((const struct seg_file *)a)->id, y = ((const struct seg_file *)b)->id;
    return (x > y) - (x < y);
}

#define SECTOR 512u

static void note_unread(struct seg_file *sf, uint64_t from, uint64_t to)
{
    if (!sf->unread)
        sf->unread_from = from;
    sf->unread = to - sf->unread_from;
}

bool segment_file_pass_by(struct seg_file *sf, uint64_t at)
{
    bool first = !sf->passed_by;
    sf->holds = sf->passed_by = true;
    if (sf->valid && !sf->unread)
        note_unread(sf, at, sf->size);
    return first;
}

ssize_t segment_file_read_around(const struct eng_io_ops *ops, struct seg_file *sf, struct io_file *file,
                                 uint8_t *buf, size_t size, uint64_t at)
{
    ssize_t n = io_pread_full(file, ops, buf, size, at);
    if (n != -EIO)
        return n;
    sf->unreadable = true;
    size = (size_t)MIN_OF(size, sf->size > at ? sf->size - at : 0);
    for (size_t done = 0, len; done < size; done += len) {
        len = MIN_OF(SECTOR - (size_t)((at + done) % SECTOR), size - done);
        n = io_pread_full(file, ops, buf + done, len, at + done);
        if (n < 0 && n != -EIO)
            return n;
        if (n < (ssize_t)len)
            memset(buf + done + MAX_OF(n, 0), 0, len - (size_t)MAX_OF(n, 0));
        if (n == -EIO)
            note_unread(sf, at + done, at + done + len);
    }
    return (ssize_t)size;
}

int segment_file_mend(struct eng *eng, struct seg_file *sf)
{
    const struct eng_io_ops *ops = eng->io->ops;
    struct segment_header h = {.kind = sf->header.kind,
                               .id = sf->id,
                               .first_seq = sf->header.first_seq,
                               .chain = sf->header.chain,
                               .durable_seq = sf->header.durable_seq,
                               .created = now_ns()};
    struct iovec iov = {&h, sizeof h};
    struct segment *seg;
    memcpy(h.uuid, eng->sb.uuid, sizeof h.uuid);
    segment_header_seal(&h,
                        eng->sb.version); /* before an upgrade too: the program that wrote it may come back */
    int r = segments_pin(&eng->segments, sf->id, &seg);
    if (r)
        return r;
    r = io_pwritev_full(seg->file, ops, &iov, 1, 0);
    if (!r)
        r = log_sync_file(&eng->log, seg->file);
    segments_unpin(seg);
    sf->mended = r != 0;
    return r;
}
