/*
 * echo.c - see echo.h. */
#include "disk/echo.h"

#include "base/fault.h"

#include <stdio.h>

#define CREATE_TRIES 16u /* names that somebody else made are passed by */

/* ---- layout ------------------------------------------------------------ */

void echo_header_seal(struct echo_header *h)
{
    h->magic = ECHO_MAGIC;
    h->sum = codec_hash(h, offsetof(struct echo_header, sum));
}

int echo_header_check(const struct echo_header *h)
{
    bool whole = h->magic == ECHO_MAGIC && h->sum == codec_hash(h, offsetof(struct echo_header, sum));
    return whole ? 0 : -EBADMSG;
}

uint64_t echo_record_sum(const struct echo_record *rec)
{
    uint64_t summed[4] = {(uint64_t)rec->segment << 32 | rec->magic, rec->offset, rec->synced,
                          rec->batch.sum};
    return codec_hash(summed, sizeof summed);
}

void echo_name(uint32_t id, char out[ECHO_NAME_SIZE])
{
    snprintf(out, ECHO_NAME_SIZE, "e%08x.log", id);
}

void echo_kept_name(uint32_t id, char out[ECHO_NAME_SIZE])
{
    snprintf(out, ECHO_NAME_SIZE, "e%08x.kept", id);
}

static int parse_name(const char *name, void (*to_name)(uint32_t id, char *out), uint32_t *ret_id)
{
    char again[ECHO_NAME_SIZE];
    unsigned id;
    if (sscanf(name, "e%8x.", &id) != 1)
        return -EINVAL;
    to_name(id, again);
    if (strcmp(name, again) != 0)
        return -EINVAL;
    *ret_id = id;
    return 0;
}

int echo_parse_name(const char *name, uint32_t *ret_id)
{
    return parse_name(name, echo_name, ret_id);
}

int echo_parse_kept_name(const char *name, uint32_t *ret_id)
{
    return parse_name(name, echo_kept_name, ret_id);
}

/* ---- the whole ------------------------------------------------------------ */

void echo_init(struct echo *echo, struct eng_io *io)
{
    *echo = (struct echo){.io = io, .next_id = 1};
    pthread_mutex_init(&echo->ready_lock, NULL);
    pthread_mutex_init(&echo->lock, NULL);
}

static void close_file(struct echo *echo, struct echo_file *f)
{
    if (f->file)
        echo->io->ops->close(f->file);
    f->file = NULL;
}

void echo_free(struct echo *echo)
{
    for (size_t i = 0; i < echo->n_files; i++)
        close_file(echo, &echo->files[i]);
    free(echo->files);
    buf_free(&echo->pending);
    buf_free(&echo->ready);
    pthread_mutex_destroy(&echo->ready_lock);
    pthread_mutex_destroy(&echo->lock);
}

void echo_miss(struct echo *echo, uint64_t seq, uint64_t n_batches)
{
    uint64_t before = echo_lacks(echo);
    atomic_fetch_add_explicit(&echo->dropped, n_batches, memory_order_relaxed);
    while (before < seq && !atomic_compare_exchange_weak_explicit(&echo->lacks, &before, seq,
                                                                  memory_order_acq_rel, memory_order_acquire))
        ;
}

static struct echo_header make_header(const struct echo *echo, uint32_t id, struct io_file *file)
{
    struct echo_header h = {
        .store = echo->store, .id = id, .created = now_ns(), .self = io_identity(file, echo->io->ops)};
    echo_header_seal(&h);
    return h;
}

int echo_adopt(struct echo *echo, const struct echo_file *file)
{
    int r = array_grow(&echo->files, &echo->cap_files, echo->n_files + 1, sizeof *echo->files);
    if (r)
        return r;
    size_t i = echo->n_files++;
    for (; i > 0 && echo->files[i - 1].id > file->id; i--)
        echo->files[i] = echo->files[i - 1];
    echo->files[i] = *file;
    echo->files[i].file = NULL;
    echo->files[i].ended = true;
    atomic_fetch_add_explicit(&echo->bytes, file->size, memory_order_relaxed);
    return 0;
}

static int cut_file(struct io_file *file, const struct eng_io_ops *ops, uint64_t size)
{
    uint64_t now;
    int r = ops->file_size(file, &now);
    if (r || now <= size)
        return r;
    r = ops->truncate(file, size);
    return r || MUTANT(CUT_UNSYNCED) ? r
                                     : ops->datasync(file); /* before the header says that all of it counts */
}

int echo_claim(struct echo *echo, uint32_t id, uint64_t size)
{
    const struct eng_io_ops *ops = echo->io->ops;
    char name[ECHO_NAME_SIZE];
    struct io_file *file;
    echo_name(id, name);
    int r = ops->open(echo->io, name, IO_RDWR, &file);
    if (r)
        return r;
    struct echo_header h = make_header(echo, id, file);
    struct iovec iov = {&h, sizeof h};
    r = cut_file(file, ops, size);
    if (!r)
        r = io_pwritev_full(file, ops, &iov, 1, 0);
    if (!r)
        r = ops->datasync(file);
    ops->close(file);
    return r;
}

int echo_files(struct echo *echo, struct echo_file **ret_files, size_t *ret_n)
{
    pthread_mutex_lock(&echo->lock);
    *ret_n = echo->n_files;
    *ret_files = calloc(echo->n_files + 1, sizeof **ret_files);
    if (*ret_files && echo->n_files)
        memcpy(*ret_files, echo->files, echo->n_files * sizeof **ret_files);
    pthread_mutex_unlock(&echo->lock);
    return *ret_files ? 0 : -ENOMEM;
}

/* ---- records ------------------------------------------------------------ */

void echo_note(struct echo *echo, uint32_t segment, uint64_t offset, const struct batch_header *h,
               const void *ops)
{
    struct echo_record rec = {.magic = echo->held ? ECHO_RECORD_HELD : ECHO_RECORD_MAGIC,
                              .segment = segment,
                              .offset = offset,
                              .synced = atomic_load_explicit(&echo->synced, memory_order_relaxed),
                              .batch = *h};
    size_t n = sizeof rec + h->ops_len;
    if (echo_lacks(echo) &&
        !MUTANT(SYNCED_IN_PART)) /* and what a cut of the power has torn is that, and no damage */
        rec.synced = 0;
    rec.sum = echo_record_sum(&rec);
    if (atomic_load_explicit(&echo->lean, memory_order_relaxed) || echo->pending.len + n > ECHO_PENDING_MAX ||
        buf_reserve(&echo->pending, n) != 0) {
        echo_miss(echo, h->seq, 1);
        return;
    }
    memcpy(echo->pending.data + echo->pending.len, &rec, sizeof rec);
    memcpy(echo->pending.data + echo->pending.len + sizeof rec, ops, h->ops_len);
    echo->pending.len += n;
    atomic_store_explicit(&echo->n_pending, echo->pending.len, memory_order_relaxed);
}

struct buf echo_take(struct echo *echo)
{
    struct buf taken = echo->pending;
    echo->pending = (struct buf){0};
    atomic_store_explicit(&echo->n_pending, 0, memory_order_relaxed);
    return taken;
}

/* Some records, one behind the other, that go to one file. */
struct run {
    const uint8_t *data;
    size_t len;
    uint64_t first, last, n;
};

/* The next records of `buf` from *at on, up to those behind the checkpoint at `cut`. */
static struct run next_run(const struct buf *buf, size_t *at, uint64_t cut)
{
    struct run run = {.data = buf->data + *at};
    while (*at < buf->len) {
        struct echo_record rec;
        memcpy(&rec, buf->data + *at, sizeof rec);
        if (run.n && run.first <= cut && rec.batch.seq > cut)
            break;
        run.first = run.n ? run.first : rec.batch.seq;
        run.last = rec.batch.seq;
        run.n++;
        run.len += sizeof rec + rec.batch.ops_len;
        *at += sizeof rec + rec.batch.ops_len;
    }
    return run;
}

static void miss_all(struct echo *echo, const struct buf *records)
{
    size_t at = 0;
    struct run run = next_run(records, &at, 0);
    if (run.n)
        echo_miss(echo, run.last, run.n);
}

void echo_give(struct echo *echo, struct buf *take_records)
{
    pthread_mutex_lock(&echo->ready_lock);
    int r = 0;
    if (!echo->ready.len) {
        buf_free(&echo->ready);
        echo->ready = *take_records;
        *take_records = (struct buf){0};
    } else if (echo->ready.len + take_records->len > ECHO_PENDING_MAX) {
        r = -ENOBUFS;
    } else if (take_records->len && !(r = buf_reserve(&echo->ready, take_records->len))) {
        memcpy(echo->ready.data + echo->ready.len, take_records->data, take_records->len);
        echo->ready.len += take_records->len;
    }
    pthread_mutex_unlock(&echo->ready_lock);
    if (r)
        miss_all(echo, take_records);
    buf_free(take_records);
}

/* ---- files ------------------------------------------------------------ */

/* The file that records from batch `first` on go to; NULL: a new one. */
static struct echo_file *current_locked(struct echo *echo, uint64_t first)
{
    uint64_t cut = atomic_load_explicit(&echo->cut, memory_order_acquire);
    struct echo_file *f = echo->n_files ? &echo->files[echo->n_files - 1] : NULL;
    if (!f || f->ended)
        return NULL;
    f->ended = f->size >= ECHO_FILE_BYTES || (f->first <= cut && first > cut);
    return f->ended ? NULL : f;
}

/* The file that was set aside has the number for as long as it is there: the next may be set aside, too. */
static bool is_kept(struct echo *echo, uint32_t id)
{
    char name[ECHO_NAME_SIZE];
    struct io_file *file;
    echo_kept_name(id, name);
    int r = MUTANT(KEPT_AGAIN) ? -ENOENT : echo->io->ops->open(echo->io, name, IO_RDONLY, &file);
    if (!r)
        echo->io->ops->close(file);
    return r != -ENOENT;
}

static int create_locked(struct echo *echo, uint64_t first, struct echo_file **ret_file)
{
    int r = array_grow(&echo->files, &echo->cap_files, echo->n_files + 1, sizeof *echo->files);
    if (r)
        return r;
    struct echo_file *f = &echo->files[echo->n_files];
    r = -EEXIST;
    for (unsigned i = 0; r == -EEXIST && i < CREATE_TRIES; i++) {
        char name[ECHO_NAME_SIZE];
        *f = (struct echo_file){.id = echo->next_id++, .first = first, .unnamed = true};
        if (is_kept(echo, f->id))
            continue;
        echo_name(f->id, name);
        r = echo->io->ops->open(echo->io, name, IO_RDWR | IO_CREATE, &f->file);
    }
    if (r)
        return r;
    echo->n_files++;
    *ret_file = f;
    return 0;
}

/* Forgets file i, which is closed. */
static void remove_locked(struct echo *echo, size_t i)
{
    atomic_fetch_sub_explicit(&echo->bytes, echo->files[i].size, memory_order_relaxed);
    echo->n_files--;
    memmove(&echo->files[i], &echo->files[i + 1], (echo->n_files - i) * sizeof *echo->files);
}

/* A file that could not be begun is taken back. */
static void uncreate_locked(struct echo *echo)
{
    char name[ECHO_NAME_SIZE];
    struct echo_file *f = &echo->files[echo->n_files - 1];
    echo_name(f->id, name);
    close_file(echo, f);
    (void)echo->io->ops->unlink(echo->io, name);
    remove_locked(echo, echo->n_files - 1);
}

static int write_run_locked(struct echo *echo, const struct run *run)
{
    if (atomic_load_explicit(&echo->lean, memory_order_relaxed))
        return -ENOSPC;
    struct echo_file *f = current_locked(echo, run->first);
    int r = f ? 0 : create_locked(echo, run->first, &f);
    if (r)
        return r;
    struct echo_header h = make_header(echo, f->id, f->file);
    struct iovec iov[2] = {{&h, sizeof h}, {(void *)(uintptr_t)run->data, run->len}};
    bool is_new = f->size == 0;
    unsigned skip = is_new ? 0 : 1;
    r = io_pwritev_full(f->file, echo->io->ops, iov + skip, 2 - (int)skip, f->size);
    if (r && is_new)
        uncreate_locked(echo);
    else if (r)
        f->ended = r != -ENOSPC;
    if (r)
        return r;
    uint64_t size = run->len + (is_new ? sizeof h : 0);
    f->size += size;
    f->first = MIN_OF(f->first, run->first);
    f->last = MAX_OF(f->last, run->last);
    f->n += run->n;
    f->unsynced = true;
    atomic_fetch_add_explicit(&echo->bytes, size, memory_order_relaxed);
    atomic_fetch_add_explicit(&echo->written, size, memory_order_relaxed);
    return 0;
}

static void write_ready_locked(struct echo *echo)
{
    for (;;) {
        pthread_mutex_lock(&echo->ready_lock);
        struct buf records = echo->ready;
        echo->ready = (struct buf){0};
        pthread_mutex_unlock(&echo->ready_lock);
        if (!records.len) {
            buf_free(&records); /* it may have room all the same */
            return;
        }
        for (size_t at = 0; at < records.len;) {
            struct run run = next_run(&records, &at, atomic_load_explicit(&echo->cut, memory_order_acquire));
            if (write_run_locked(echo, &run) != 0)
                echo_miss(echo, run.last, run.n);
        }
        buf_free(&records);
    }
}

void echo_drain(struct echo *echo)
{
    if (pthread_mutex_trylock(&echo->lock) != 0)
        return;
    if (!echo->syncing)
        write_ready_locked(echo);
    pthread_mutex_unlock(&echo->lock);
}

int echo_put(struct echo *echo)
{
    int r = 0;
    pthread_mutex_lock(&echo->lock);
    for (size_t at = 0; at < echo->pending.len && !r;) {
        struct run run = next_run(&echo->pending, &at, 0);
        r = write_run_locked(echo, &run);
    }
    pthread_mutex_unlock(&echo->lock);
    if (r)
        return r;
    echo->pending.len = 0;
    atomic_store_explicit(&echo->n_pending, 0, memory_order_relaxed);
    return 0;
}

/* ---- durable ------------------------------------------------------------ */

static struct echo_file *find_locked(struct echo *echo, uint32_t id)
{
    for (size_t i = 0; i < echo->n_files; i++)
        if (echo->files[i].id == id)
            return &echo->files[i];
    return NULL;
}

/* One that is not durable; of those behind `id`. */
static struct echo_file *next_unsynced_locked(struct echo *echo, uint32_t id)
{
    for (size_t i = 0; i < echo->n_files; i++)
        if (echo->files[i].unsynced && echo->files[i].file && echo->files[i].id > id)
            return &echo->files[i];
    return NULL;
}

/* After the sync of all that it had up to batch `last`, which `r` tells of. What a failed one was to make
 * durable may be lost, and no later one tells (I11): the file gets no more, and does not count. */
static void synced_locked(struct echo *echo, struct echo_file *f, uint64_t size, uint64_t last, int r)
{
    f->refs--;
    if (f->gone) {
        close_file(echo, f);
        remove_locked(echo, (size_t)(f - echo->files));
        return;
    }
    if (r) {
        f->ended = true;
        echo_miss(echo, f->last, f->n);
    }
    f->unsynced = !r && f->size > size;
    const struct echo_file *first = next_unsynced_locked(echo, 0);
    if (!r && (!first || first >= f))
        atomic_store_explicit(&echo->synced, last, memory_order_relaxed);
    f->unnamed = f->unnamed && r;
    if (f->ended && !f->unsynced)
        close_file(echo, f);
}

void echo_sync(struct echo *echo)
{
    uint32_t id = 0;
    struct echo_file *f;
    pthread_mutex_lock(&echo->lock);
    write_ready_locked(echo);
    while (!echo->syncing && (f = next_unsynced_locked(echo, id))) {
        uint64_t size = f->size, last = f->last;
        struct io_file *file = f->file;
        bool unnamed = f->unnamed;
        id = f->id;
        f->refs++;
        echo->syncing = true;
        pthread_mutex_unlock(&echo->lock);
        int r = echo->io->ops->datasync(file);
        if (!r && unnamed)
            r = io_syncdir(echo->io);
        pthread_mutex_lock(&echo->lock);
        echo->syncing = false;
        synced_locked(echo, find_locked(echo, id), size, last, r);
        write_ready_locked(echo);
    }
    pthread_mutex_unlock(&echo->lock);
}

/* ---- checkpoints ------------------------------------------------------------ */

void echo_cut(struct echo *echo, uint64_t seq)
{
    atomic_store_explicit(&echo->cut, seq, memory_order_release);
}

void echo_forget(struct echo *echo, uint64_t seq, bool may_unlink)
{
    uint64_t lacks = echo_lacks(echo);
    pthread_mutex_lock(&echo->lock);
    for (size_t i = echo->n_files; i-- > 0;) {
        struct echo_file *f = &echo->files[i];
        char name[ECHO_NAME_SIZE];
        if (f->last > seq || f->gone)
            continue;
        f->ended = true;
        if (!may_unlink) {
            if (!f->refs && !f->unsynced && !MUTANT(HELD_STAYS_OPEN))
                close_file(echo, f);
            continue;
        }
        echo_name(f->id, name);
        (void)echo->io->ops->unlink(echo->io, name); /* one that stays goes with the next opening */
        f->gone = true;
        if (f->refs)
            continue;
        close_file(echo, f);
        remove_locked(echo, i);
    }
    pthread_mutex_unlock(&echo->lock);
    if (lacks && lacks <= seq)
        (void)atomic_compare_exchange_strong_explicit(&echo->lacks, &lacks, 0, memory_order_acq_rel,
                                                      memory_order_acquire);
}
