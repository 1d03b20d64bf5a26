/*
 * feed.c - see feed.h.
 *
 * The ring holds records, each a struct record and a name, at offsets that only grow; the place of an offset
 * is its remainder by the size of the ring. A reader copies bytes out of the ring under the lock, and makes
 * changes of them without it, so that a mutation waits for a copy of READ_BYTES at most. */
#include "commit/feed.h"

#include "index/xattr_list.h"

#define RING_BYTES_MIN (UINT64_C(4) << 10)
#define READ_BYTES 16384u

enum record_flags {
    RECORD_LAST = 1, /* of its batch */
    RECORD_MOVED = 2 /* eng_change.moved */
};

struct record {
    uint64_t seq; /* of its batch */
    int64_t time;
    uint64_t ino, parent;
    uint32_t mask;
    uint8_t kind, flags, name_len, reserved;
};
static_assert(sizeof(struct record) == 40, "record layout");
static_assert(ENG_NAME_MAX <= UINT8_MAX, "a length fits its field");
static_assert(ENG_XATTR_NAME_MAX <= UINT8_MAX, "a length fits its field");
#define RECORD_BYTES_MAX ALIGN8(sizeof(struct record) + ENG_NAME_MAX)
static_assert(RECORD_BYTES_MAX <= READ_BYTES && RECORD_BYTES_MAX <= RING_BYTES_MIN, "a record fits");

/* Shared by the store and its readers, and freed by the last of them. */
struct feed {
    _Atomic unsigned refs;
    _Atomic unsigned n_readers; /* raised under log.lock and lock, lowered under lock */
    _Atomic unsigned n_waiting; /* changed under lock */
    uint64_t ring_bytes;        /* immutable */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* All protected by lock. */
    uint8_t *ring;     /* NULL: there are no readers */
    uint64_t tail;     /* offset of the oldest record */
    uint64_t head;     /* behind the newest that readers see */
    uint64_t staged;   /* behind the newest, seen or not */
    uint64_t last;     /* offset of the newest, seen or not */
    bool too_large;    /* the batch that is staged does not fit the ring */
    uint64_t end_seq;  /* the last batch that was published */
    uint64_t lost_seq; /* the last batch whose records are not all in the ring any more */
    bool shut;
};

/* Used by one thread at a time. */
struct eng_feed {
    struct feed *feed;
    uint64_t position; /* batches up to this one have been read */
    uint64_t at;       /* offset in the ring of the record that follows `bytes` */
    size_t next, len;  /* the records in `bytes` that are not read yet */
    bool drained;      /* nothing followed `bytes`, up to batch end_seq */
    uint64_t end_seq;
    uint8_t bytes[READ_BYTES];
};

/* ---- life ------------------------------------------------------------------------------- */

int feed_new(struct eng *eng)
{
    struct feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return -ENOMEM;
    uint64_t bytes = eng->opt.feed_bytes ? eng->opt.feed_bytes : ENG_FEED_BYTES_DEFAULT;
    feed->refs = 1;
    feed->ring_bytes = MAX_OF(bytes / 8 * 8, RING_BYTES_MIN);
    pthread_mutex_init(&feed->lock, NULL);
    cond_init_mono(&feed->changed);
    eng->feed = feed;
    return 0;
}

static void unref(struct feed *feed)
{
    if (atomic_fetch_sub_explicit(&feed->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed->ring);
    free(feed);
}

void feed_free(struct eng *eng)
{
    if (!eng->feed)
        return;
    eng_feed_shutdown(eng);
    unref(eng->feed);
    eng->feed = NULL;
}

void eng_feed_shutdown(struct eng *eng)
{
    if (!eng)
        return;
    pthread_mutex_lock(&eng->feed->lock);
    eng->feed->shut = true;
    pthread_cond_broadcast(&eng->feed->changed);
    pthread_mutex_unlock(&eng->feed->lock);
}

/* ---- the ring ----------------------------------------------------------------------------- */

static void ring_put(struct feed *feed, uint64_t at, const void *data, size_t size)
{
    uint64_t place = at % feed->ring_bytes;
    size_t first = (size_t)MIN_OF((uint64_t)size, feed->ring_bytes - place);
    memcpy(feed->ring + place, data, first);
    memcpy(feed->ring, (const uint8_t *)data + first, size - first);
}

static void ring_get(const struct feed *feed, uint64_t at, void *data, size_t size)
{
    uint64_t place = at % feed->ring_bytes;
    size_t first = (size_t)MIN_OF((uint64_t)size, feed->ring_bytes - place);
    memcpy(data, feed->ring + place, first);
    memcpy((uint8_t *)data + first, feed->ring, size - first);
}

static size_t record_bytes(const struct record *rec)
{
    return ALIGN8(sizeof *rec + rec->name_len);
}

static void drop_oldest(struct feed *feed)
{
    struct record rec;
    ring_get(feed, feed->tail, &rec, sizeof rec);
    feed->lost_seq = rec.seq;
    feed->tail += record_bytes(&rec);
}

static void put_record(struct feed *feed, const struct record *rec, const char *name)
{
    size_t size = record_bytes(rec);
    feed->too_large = feed->too_large || feed->staged + size - feed->head > feed->ring_bytes;
    if (feed->too_large)
        return;
    while (feed->staged + size - feed->tail > feed->ring_bytes)
        drop_oldest(feed);
    ring_put(feed, feed->staged, rec, sizeof *rec);
    if (rec->name_len)
        ring_put(feed, feed->staged + sizeof *rec, name, rec->name_len);
    feed->last = feed->staged;
    feed->staged += size;
}

/* ---- from operations to changes --------------------------------------------------------------- */

/* Which inode loses the operation's name, and which gets it; 0: none. */
static void name_goes(const struct op *op, uint64_t *ret_from, uint64_t *ret_to)
{
    *ret_from = *ret_to = 0;
    if (op->type == OP_LINK || op->type == OP_REPOINT)
        *ret_to = op->ino;
    if (op->type == OP_UNLINK)
        *ret_from = op->ino;
    if (op->type == OP_REPOINT)
        *ret_from = op->other;
}

/* Whether the batch takes names and gives names. Few do, and those are short. */
static bool may_move(const struct txn *txn)
{
    uint64_t from, to;
    bool takes = false, gives = false;
    for (size_t i = 0; i < txn->n_ops; i++) {
        name_goes(&txn->ops[i], &from, &to);
        takes = takes || from;
        gives = gives || to;
    }
    return takes && gives;
}

/* Whether the batch takes a name from the inode, and gives one to it. */
static bool is_moved(const struct txn *txn, uint64_t ino)
{
    uint64_t from, to;
    bool takes = false, gives = false;
    for (size_t i = 0; i < txn->n_ops; i++) {
        name_goes(&txn->ops[i], &from, &to);
        takes = takes || from == ino;
        gives = gives || to == ino;
    }
    return takes && gives;
}

static void put_name(struct feed *feed, const struct txn *txn, const struct op *op, bool moves,
                     const struct record *like)
{
    struct record rec = *like;
    uint64_t from, to;
    name_goes(op, &from, &to);
    rec.parent = op->parent;
    rec.name_len = (uint8_t)op->name_len;
    if (from) {
        rec.kind = ENG_CHANGE_UNLINKED;
        rec.ino = from;
        rec.flags = moves && is_moved(txn, from) ? RECORD_MOVED : 0;
        put_record(feed, &rec, op->name);
    }
    if (to) {
        rec.kind = ENG_CHANGE_LINKED;
        rec.ino = to;
        rec.flags = moves && is_moved(txn, to) ? RECORD_MOVED : 0;
        put_record(feed, &rec, op->name);
    }
}

/* The kind of change that an operation on an inode is; 0: on a name, or no change. */
static enum eng_change_kind kind_of(const struct op *op)
{
    switch (op->type) {
    case OP_CREATE:
        return ENG_CHANGE_CREATED;
    case OP_ATTR:
        return ENG_CHANGE_ATTRIBUTES;
    case OP_PUNCH:
        if (op->flags & (OP_LATER | OP_SAME))
            return 0; /* of what was told to be gone already, or of what nothing shows */
        return ENG_CHANGE_CONTENT;
    case OP_REWRITE:
        if (op->from == op->to || MUTANT(REWRITE_UNTOLD))
            return 0; /* only its place is another */
        return ENG_CHANGE_CONTENT;
    case OP_TRUNCATE:
        if (op->flags & OP_SAME)
            return 0; /* of what nothing shows */
        return ENG_CHANGE_CONTENT;
    case OP_EXTENT:
    case OP_REVERT:
        return ENG_CHANGE_CONTENT;
    case OP_XATTR_DEL:
        if (op->flags & OP_LATER)
            return 0; /* the same */
        return xattr_is_guard(op->name, op->name_len) ? 0 : ENG_CHANGE_FIELDS;
    case OP_XATTR_SET:
    case OP_XATTR_EXTENT:
        return xattr_is_guard(op->name, op->name_len) ? 0 : ENG_CHANGE_FIELDS;
    case OP_FREE:
        return ENG_CHANGE_REMOVED;
    default:
        return 0;
    }
}

/* Of a run of operations on the content of one file the first is told. */
static bool is_told(const struct op *op, const struct op *before)
{
    enum eng_change_kind kind = kind_of(op);
    return kind &&
           (kind != ENG_CHANGE_CONTENT || !before || before->ino != op->ino || kind_of(before) != kind);
}

static void put_changes(struct feed *feed, const struct txn *txn, uint64_t seq, int64_t time)
{
    bool moves = may_move(txn);
    for (size_t i = 0; i < txn->n_ops; i++) {
        const struct op *op = &txn->ops[i];
        struct record rec = {.seq = seq, .time = time, .ino = op->ino, .kind = (uint8_t)kind_of(op)};
        if (rec.kind == ENG_CHANGE_ATTRIBUTES)
            rec.mask = op->mask;
        if (rec.kind == ENG_CHANGE_FIELDS)
            rec.name_len = (uint8_t)op->name_len;
        if (op->type == OP_LINK || op->type == OP_UNLINK || op->type == OP_REPOINT)
            put_name(feed, txn, op, moves, &rec);
        else if (is_told(op, i ? op - 1 : NULL))
            put_record(feed, &rec, op->name);
    }
}

/* ---- publishing ------------------------------------------------------------------------------- */

static void mark_last(struct feed *feed)
{
    struct record rec;
    ring_get(feed, feed->last, &rec, sizeof rec);
    rec.flags |= RECORD_LAST;
    ring_put(feed, feed->last, &rec, sizeof rec);
}

void feed_stage(struct eng *eng, const struct txn *txn)
{
    struct feed *feed = eng->feed;
    if (!atomic_load_explicit(&feed->n_readers, memory_order_relaxed)) /* raised under log.lock */
        return;
    pthread_mutex_lock(&feed->lock);
    if (feed->ring) {
        feed->staged = feed->head;
        feed->too_large = false;
        put_changes(feed, txn, log_seq(&eng->log), eng->log.time);
        if (feed->staged > feed->head)
            mark_last(feed);
    }
    pthread_mutex_unlock(&feed->lock);
}

void feed_publish(struct eng *eng)
{
    struct feed *feed = eng->feed;
    if (!atomic_load_explicit(&feed->n_readers, memory_order_relaxed))
        return;
    pthread_mutex_lock(&feed->lock);
    feed->head = feed->staged;
    feed->end_seq = log_seq(&eng->log);
    if (feed->too_large) { /* every reader gets -ESTALE */
        feed->lost_seq = feed->end_seq;
        feed->tail = feed->head += 8;
    }
    pthread_mutex_unlock(&feed->lock);
}

void feed_wake(struct eng *eng)
{
    struct feed *feed = eng->feed;
    /* A waiting reader found nothing new while it held the lock, so feed_publish() took the lock after it,
     * and the load sees it. */
    if (atomic_load_explicit(&feed->n_waiting, memory_order_relaxed))
        pthread_cond_broadcast(&feed->changed);
}

/* ---- readers: coming and going -------------------------------------------------------------------- */

/* Touches each page, so that no mutation waits for a page fault. */
static uint8_t *ring_new(uint64_t size)
{
    uint8_t *ring = malloc(size);
    if (ring)
        memset(ring, 0xff, size);
    return ring;
}

/* Also under log.lock, so that batch `seq` is published and the next one finds the reader. Uses *ring if
 * there is none yet. -EAGAIN: and has none. */
static int attach_locked(struct feed *feed, struct eng_feed *reader, uint64_t seq, uint64_t since,
                         uint8_t **ring)
{
    if (!feed->ring && !*ring)
        return -EAGAIN;
    if (!feed->ring)
        feed->lost_seq = feed->end_seq = seq;
    since = since == ENG_FEED_NOW ? feed->end_seq : since;
    since = since == ENG_FEED_OLDEST ? feed->lost_seq : since;
    if (feed->shut)
        return -ESHUTDOWN;
    if (since < feed->lost_seq || since > feed->end_seq)
        return -ESTALE;
    if (!feed->ring) {
        feed->ring = STEAL(*ring);
        feed->tail = feed->head = feed->staged = 0;
    }
    reader->feed = feed;
    reader->position = since;
    reader->at = feed->tail;
    atomic_fetch_add_explicit(&feed->n_readers, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&feed->refs, 1, memory_order_relaxed);
    return 0;
}

int eng_feed_open(struct eng *eng, uint64_t since, struct eng_feed **ret_feed)
{
    if (!eng || !ret_feed)
        return -EINVAL;
    struct feed *feed = eng->feed;
    struct eng_feed *reader = calloc(1, sizeof *reader);
    CLEANUP_FREE uint8_t *ring = NULL;
    bool has_ring = atomic_load_explicit(&feed->n_readers, memory_order_relaxed) > 0;
    int r = reader ? -EAGAIN : -ENOMEM;
    while (r == -EAGAIN) { /* twice, where the last reader has gone meanwhile */
        ring = has_ring ? NULL : ring_new(feed->ring_bytes);
        if (!has_ring && !ring) {
            r = -ENOMEM;
            break;
        }
        pthread_mutex_lock(&eng->log.lock);
        pthread_mutex_lock(&feed->lock);
        r = attach_locked(feed, reader, log_seq(&eng->log), since, &ring);
        pthread_mutex_unlock(&feed->lock);
        pthread_mutex_unlock(&eng->log.lock);
        has_ring = false;
    }
    if (r) {
        free(reader);
        return r;
    }
    *ret_feed = reader;
    return 0;
}

void eng_feed_close(struct eng_feed *reader)
{
    if (!reader)
        return;
    struct feed *feed = reader->feed;
    uint8_t *ring = NULL;
    pthread_mutex_lock(&feed->lock);
    if (atomic_fetch_sub_explicit(&feed->n_readers, 1, memory_order_relaxed) == 1)
        ring = STEAL(feed->ring);
    pthread_mutex_unlock(&feed->lock);
    free(ring);
    free(reader);
    unref(feed);
}

uint64_t eng_feed_position(const struct eng_feed *reader)
{
    return reader ? reader->position : 0;
}

/* ---- readers: reading ------------------------------------------------------------------------------ */

/* How many of these bytes are whole records. */
static size_t whole_records(const uint8_t *bytes, size_t len)
{
    struct record rec;
    size_t at = 0;
    while (len - at >= sizeof rec) {
        memcpy(&rec, bytes + at, sizeof rec);
        if (record_bytes(&rec) > len - at)
            break;
        at += record_bytes(&rec);
    }
    return at;
}

/* Copies the next records, if any, to reader->bytes. -ESTALE: some that follow the position are overwritten.
 * -ESHUTDOWN: there are none, and the feed is shut. */
static int fetch(struct eng_feed *reader)
{
    struct feed *feed = reader->feed;
    int r = 0;
    size_t n = 0;
    pthread_mutex_lock(&feed->lock);
    if (reader->at < feed->tail && reader->position < feed->lost_seq && !MUTANT(FEED_GAP)) {
        r = -ESTALE;
    } else {
        reader->at = MAX_OF(reader->at, feed->tail);
        n = (size_t)MIN_OF(feed->head - reader->at, (uint64_t)READ_BYTES);
        ring_get(feed, reader->at, reader->bytes, n);
        reader->drained = reader->at + n == feed->head;
        reader->end_seq = feed->end_seq;
        if (feed->shut && !n && reader->position == feed->end_seq)
            r = -ESHUTDOWN;
    }
    pthread_mutex_unlock(&feed->lock);
    reader->next = 0;
    reader->len = whole_records(reader->bytes, n);
    reader->at += reader->len;
    return r;
}

/* After -ESTALE the reader goes on with the batches that are to come. */
static void restart(struct eng_feed *reader)
{
    pthread_mutex_lock(&reader->feed->lock);
    reader->position = reader->feed->end_seq;
    reader->at = reader->feed->head;
    pthread_mutex_unlock(&reader->feed->lock);
}

/* Makes a change of the next record. False: the record belongs to a batch that was read before. */
static bool copy_change(struct eng_feed *reader, struct eng_change *ret_change)
{
    struct record rec;
    memcpy(&rec, reader->bytes + reader->next, sizeof rec);
    const uint8_t *name = reader->bytes + reader->next + sizeof rec;
    reader->next += record_bytes(&rec);
    if (rec.seq <= reader->position)
        return false;
    *ret_change = (struct eng_change){.position = rec.seq,
                                      .time = rec.time,
                                      .kind = rec.kind,
                                      .moved = rec.flags & RECORD_MOVED,
                                      .mask = rec.mask,
                                      .ino = rec.ino,
                                      .parent = rec.parent,
                                      .name_len = rec.name_len};
    memcpy(ret_change->name, name, rec.name_len);
    if (rec.flags & RECORD_LAST)
        reader->position = rec.seq;
    return true;
}

/* Once all that was fetched is read the position passes batches without changes as well. */
static void pass_end(struct eng_feed *reader)
{
    if (reader->drained && reader->next == reader->len) {
        reader->position = reader->end_seq;
        reader->drained = false;
    }
}

ssize_t eng_feed_read(struct eng_feed *reader, struct eng_change *ret_changes, size_t n)
{
    if (!reader || !ret_changes)
        return -EINVAL;
    size_t got = 0;
    int r = n ? 0 : -EINVAL;
    while (!r && got < n) {
        if (reader->next == reader->len)
            r = fetch(reader);
        bool any = !r && reader->len;
        if (any)
            got += copy_change(reader, &ret_changes[got]);
        if (!r)
            pass_end(reader);
        if (!any)
            break;
    }
    if (r == -ESTALE && !got)
        restart(reader);
    return got ? (ssize_t)got : r;
}

int eng_feed_wait(struct eng_feed *reader, int64_t timeout_ms)
{
    if (!reader)
        return -EINVAL;
    struct feed *feed = reader->feed;
    const int64_t longest = INT64_C(1000) * 86400 * 365;
    struct timespec until = mono_after((uint64_t)MIN_OF(MAX_OF(timeout_ms, 0), longest) * 1000000);
    int timed_out = 0;
    pthread_mutex_lock(&feed->lock);
    atomic_fetch_add_explicit(&feed->n_waiting, 1, memory_order_relaxed);
    while (reader->position >= feed->end_seq && !feed->shut && !timed_out) {
        if (timeout_ms < 0)
            pthread_cond_wait(&feed->changed, &feed->lock);
        else
            timed_out = pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
    }
    atomic_fetch_sub_explicit(&feed->n_waiting, 1, memory_order_relaxed);
    bool ready = reader->position < feed->end_seq, shut = feed->shut;
    pthread_mutex_unlock(&feed->lock);
    if (ready)
        return 0;
    return shut ? -ESHUTDOWN : -ETIMEDOUT;
}
