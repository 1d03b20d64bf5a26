/*
 * checkpoint.c - images of the index on disk. A checkpoint is written from a
 * frozen view, so writers go on; it writes what was changed since the one before (writer.h), which
 * it takes the place of.
 *
 * A checkpoint becomes valid with its root, which is written after the log up
 * to its sequence is durable: it never knows more than the log does (I7). By then its pieces are durable
 * in both copies. It counts for I4 only when root and names are durable, too.
 *
 * Locking: checkpoints.lock for the whole of it; log.lock and index_lock only to freeze and to thaw. */
#include "image/checkpoint.h"

#include "commit/atimes.h"
#include "commit/flush.h"
#include "core/damage.h"
#include "core/keepers.h"
#include "core/reserve.h"
#include "image/freeze.h"
#include "image/self_check.h"
#include "image/writer.h"

int checkpoint_new(struct eng *eng)
{
    eng->checkpoints = calloc(1, sizeof *eng->checkpoints);
    if (!eng->checkpoints)
        return -ENOMEM;
    pthread_mutex_init(&eng->checkpoints->lock, NULL);
    return 0;
}

int checkpoint_begin(struct eng *eng)
{
    struct images *images = &eng->checkpoints->images;
    int r = images_init(images, eng->io, eng->log.store, INDEX_TABLES_PLAIN);
    if (!r && eng_has_history(eng))
        images->wide = (struct map_shape){INDEX_TABLES, sizeof(struct ckpt_head)};
    return r;
}

void checkpoint_close(struct eng *eng)
{
    if (eng->checkpoints)
        images_free(&eng->checkpoints->images);
}

void checkpoint_free(struct eng *eng)
{
    if (!eng->checkpoints)
        return;
    pthread_mutex_destroy(&eng->checkpoints->lock);
    free(eng->checkpoints);
    eng->checkpoints = NULL;
}

void checkpoint_exclude(struct eng *eng)
{
    pthread_mutex_lock(&eng->checkpoints->lock);
}

void checkpoint_allow(struct eng *eng)
{
    pthread_mutex_unlock(&eng->checkpoints->lock);
}

uint64_t checkpoint_newest(struct eng *eng, struct ckpt_position *ret_at)
{
    checkpoint_exclude(eng);
    uint64_t id = eng->checkpoints->images.map.id;
    *ret_at = eng->checkpoints->at;
    checkpoint_allow(eng);
    return id;
}

/* Between the numbers of two checkpoints there is never so much. */
#define CKPT_ID_GAP (UINT64_C(1) << 32)

uint64_t checkpoint_next_id(const uint64_t *ids, size_t n)
{
    uint64_t next = 1;
    for (size_t i = n; i-- > 0;)
        if (ids[i] < next + CKPT_ID_GAP)
            next = ids[i] + 1;
    return next;
}

/* ---- files that are not needed any more ---------------------------------------- */

/* Of format 1: whether it is finished, and what the manifest says. */
static bool says_alien(struct eng *eng, struct io_file *file, uint64_t id)
{
    const struct eng_io_ops *ops = eng->io->ops;
    struct ckpt_footer f;
    struct ckpt_manifest m;
    uint64_t size = 0;
    return ops->file_size(file, &size) == 0 && size >= sizeof f + sizeof m &&
           io_pread_exact(file, ops, &f, sizeof f, size - sizeof f) == 0 && f.magic == CKPT_FOOTER_MAGIC &&
           f.sum == codec_hash(&f, offsetof(struct ckpt_footer, sum)) &&
           f.manifest_offset <= size - sizeof f - sizeof m &&
           io_pread_exact(file, ops, &m, sizeof m, f.manifest_offset) == 0 &&
           m.magic == CKPT_MANIFEST_MAGIC && (m.id != id || memcmp(m.uuid, eng->sb.uuid, sizeof m.uuid) != 0);
}

static bool is_alien(void *arg, uint64_t id)
{
    struct eng *eng = arg;
    struct io_file *file;
    char name[IMAGE_NAME_SIZE];
    image_name(id, 0, name);
    if (eng->io->ops->open(eng->io, name, IO_RDONLY, &file) != 0)
        return false;
    bool alien = says_alien(eng, file, id);
    eng->io->ops->close(file);
    return alien;
}

static void tell_alien(struct eng *eng, uint64_t id)
{
    if (id && id != eng->checkpoints->alien)
        report_line(&eng->report, ENG_LOG_WARNING,
                    "c%016llx belongs to another store or has another name: left alone",
                    (unsigned long long)id);
    eng->checkpoints->alien = id;
}

/* A copy of a held store's folder must have the files that the copied root names; and a store of version 1
 * needs its own until it is none any more. */
void checkpoint_clean(struct eng *eng)
{
    const struct image_others others = {is_alien, eng};
    uint64_t alien;
    struct images *images = &eng->checkpoints->images;
    bool is_old =
        eng->checkpoints->is_v1 || (eng->sb.version == FORMAT_VERSION_OLD && !MUTANT(UPGRADE_UNLINKS));
    enum image_removal which = is_old ? IMAGE_REMOVE_OURS : IMAGE_REMOVE_ALL;
    bool unread = eng->checkpoints->unread && !MUTANT(UNREAD_CKPT_IS_NONE);
    if (eng->opt.read_only || unread || keepers_find_all(eng) || !loading_is_done(&eng->loading))
        which = IMAGE_REMOVE_NONE;
    atomic_store_explicit(&eng->marks.disk_bytes, image_remove_dead(images, which, &others, &alien),
                          memory_order_relaxed);
    if (which != IMAGE_REMOVE_NONE)
        tell_alien(eng, alien);
    echo_forget(&eng->log.echo, atomic_load_explicit(&eng->marks.newest_seq, memory_order_acquire),
                which == IMAGE_REMOVE_ALL);
}

/* ---- copies ------------------------------------------------------------ */

void checkpoint_tell_copies(struct eng *eng)
{
    struct image_note notes[IMAGE_NOTES];
    unsigned n = images_take_notes(&eng->checkpoints->images, notes);
    for (unsigned i = 0; i < n; i++) {
        char name[IMAGE_NAME_SIZE], other[IMAGE_NAME_SIZE];
        image_name(notes[i].file, notes[i].copy, name);
        image_name(notes[i].file, 1 - notes[i].copy, other);
        report_line(&eng->report, ENG_LOG_WARNING, "%s: %s; %s stands in for it, a scrub mends it", name,
                    notes[i].error == -ENOENT ? "it is missing" : damage_reason(notes[i].error), other);
        if (eng->opt.read_only)
            damage_record_file(eng, name, 0,
                               notes[i].end ? "the end of a copy of a checkpoint is damaged"
                                            : "a copy of a part of the index is damaged");
    }
}

/* ---- writing ----------------------------------------------------------------------- */

/* A frozen index, and what it belongs to. */
struct frozen {
    struct index view;
    struct ckpt_position pos;
    uint64_t freeze, log_bytes, n_orphans;
};

/* Moves what is noted of changes to the view. -ENOMEM: nothing was moved. */
static int take_changes(struct eng *eng, struct index *view)
{
    unsigned n = 0;
    int r = 0;
    while (n < eng_tables(eng) && !(r = table_take_dirty(index_table(&eng->idx, n), index_table(view, n))))
        n++;
    while (r && n > 0) {
        n--;
        table_return_dirty(index_table(&eng->idx, n), index_table(view, n));
    }
    for (unsigned i = 0; i < n; i++)
        atomic_store_explicit(&eng->marks.taken[i], index_table(view, i)->n_changed, memory_order_relaxed);
    return r;
}

/* They are written, or else wait for the next checkpoint. */
static void settle_changes(struct eng *eng, struct index *view, bool failed)
{
    for (unsigned i = 0; i < eng_tables(eng); i++) {
        if (failed && !MUTANT(CHANGES_FORGOTTEN))
            table_return_dirty(index_table(&eng->idx, i), index_table(view, i));
        atomic_store_explicit(&eng->marks.taken[i], 0, memory_order_relaxed);
    }
}

/* What the position and the view belong to: the end of the log, at one moment. */
static int freeze_now(struct eng *eng, struct index_room *room, struct frozen *f)
{
    struct log *log = &eng->log;
    pthread_mutex_lock(&log->lock);
    f->pos = (struct ckpt_position){.seq = log->seq,
                                    .chain = log->chain,
                                    .segment = log->active ? log->active->id : 0,
                                    .offset = log->active ? log->tail : 0};
    f->log_bytes = log->bytes;
    echo_cut(&log->echo, f->pos.seq);
    pthread_mutex_lock(&eng->segments.lock);
    f->pos.next_segment_id = eng->segments.next_id;
    pthread_mutex_unlock(&eng->segments.lock);
    pthread_rwlock_wrlock(&eng->index_lock);
    self_check_memory(&eng->idx);
    f->n_orphans = eng->idx.n_orphans;
    int r = chunk_pool_poisoned(eng->idx.pool) ? -EIO : index_freeze(&eng->idx, room, &f->view, &f->freeze);
    if (!r) {
        r = take_changes(eng, &f->view);
        if (r) {
            index_thaw(&eng->idx, f->freeze);
            index_free(&f->view);
        }
    }
    pthread_rwlock_unlock(&eng->index_lock);
    pthread_mutex_unlock(&log->lock);
    return r;
}

/* Ends the freeze; after a failure what was changed before it is still to be written. */
static void thaw(struct eng *eng, struct frozen *f, bool failed)
{
    freeze_lock(eng);
    settle_changes(eng, &f->view, failed);
    index_thaw(&eng->idx, f->freeze);
    freeze_unlock(eng);
    index_free(&f->view);
}

static void tree_encode(const struct btree *t, uint64_t out[3])
{
    out[0] = t->root;
    out[1] = t->depth;
    out[2] = t->count;
}

static struct ckpt_head make_head(struct eng *eng, const struct frozen *f)
{
    struct ckpt_head h = {.version = eng_has_history(eng) ? CKPT_HEAD_VERSION : CKPT_HEAD_PLAIN_VERSION,
                          .seq = f->pos.seq,
                          .chain = f->pos.chain,
                          .segment = f->pos.segment,
                          .offset = f->pos.offset,
                          .next_segment_id = f->pos.next_segment_id,
                          .created = now_ns(),
                          .n_orphans = f->n_orphans};
    memcpy(h.uuid, eng->sb.uuid, sizeof h.uuid);
    memcpy(h.scalars, &f->view.s, sizeof h.scalars);
    tree_encode(&f->view.dirs, h.trees[0]);
    tree_encode(&f->view.extents, h.trees[1]);
    tree_encode(&f->view.past_order, h.trees[2]);
    tree_encode(&f->view.past_lookup, h.trees[3]);
    return h;
}

/* A checkpoint must not know more than the durable log. */
static int settle_log(void *arg)
{
    return MUTANT(CHECKPOINT_UNSYNCED) ? 0 : flush_log(arg);
}

static void keep_warm(void *arg)
{
    freeze_keep_warm(arg);
}

/* No more of the reserve than is needed, and at once: what it gives back whole, others on that disk may take
 * before it is used. */
static int make_room(void *arg, struct io_file *file, uint64_t from, uint64_t to)
{
    return reserve_give(arg, file, from, to);
}

static int write_frozen(struct eng *eng, struct frozen *f, struct image_written *done)
{
    struct table *views[INDEX_TABLES];
    struct ckpt_head h = make_head(eng, f);
    uint8_t head[sizeof h];
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        views[i] = index_table(&f->view, i);
    struct image_write in = {.images = &eng->checkpoints->images,
                             .id = eng->checkpoints->next_id++,
                             .seq = f->pos.seq,
                             .views = views,
                             .n_views = eng_tables(eng),
                             .head = head,
                             .head_len = ckpt_head_encode(&h, head),
                             .settle = settle_log,
                             .pause = keep_warm,
                             .arg = eng,
                             .keep_files = keepers_find_all(eng),
                             .tidy = atomic_exchange(&eng->checkpoints->tidy, false)};
    int r = image_write(&in, done);
    if (r == -ENOSPC && !MUTANT(GIVEN_BACK_WHOLE)) {
        in.make_room = make_room;
        in.keep_files = true;
        r = image_write(&in, done);
    }
    if (r)
        reserve_removed(eng); /* what was begun; once, or the loop would await its own files */
    while (r == -ENOSPC && reserve_spend(eng, RESERVE_ALL)) /* what is not content has no room, as names */
        r = image_write(&in, done);
    return r;
}

static void remember(struct eng *eng, const struct frozen *f, const struct image_written *done)
{
    eng->checkpoints->at = f->pos;
    eng->checkpoints->is_v1 = false;
    eng->checkpoints->unread = 0;
    atomic_store_explicit(&eng->marks.newest_in, f->pos.segment, memory_order_relaxed);
    atomic_store_explicit(&eng->marks.newest_seq, f->pos.seq, memory_order_release);
    log_note_marked(&eng->log, f->pos.seq);
    atomic_store_explicit(&eng->marks.log_bytes, f->log_bytes, memory_order_relaxed);
    COUNT(eng, checkpoints, 1);
    COUNT(eng, checkpoint_written, done->bytes);
}

static int checkpoint_locked(struct eng *eng)
{
    struct frozen f;
    struct image_written done;
    freeze_shrink(eng);
    freeze_keep_warm(eng);
    struct index_room room;
    int r = freeze_room(eng, true, &room);
    if (r)
        return r;
    r = freeze_now(eng, &room, &f);
    index_room_done(&room);
    if (r)
        return r;
    self_check_view(&f.view);
    fault_point(&eng->hook, FP_CHECKPOINT_FROZEN);
    r = write_frozen(eng, &f, &done);
    thaw(eng, &f, r != 0);
    freeze_trim(eng);
    if (!r) {
        remember(eng, &f, &done);
        checkpoint_clean(eng);
        reserve_removed(eng);
    } else {
        atomic_store_explicit(&eng->marks.retry_at, mono_ns() + MARKS_RETRY_NS, memory_order_relaxed);
        report_error(&eng->report, "checkpoint failed: %s", strerror(-r));
        if (io_dir_failed(eng->io))
            (void)flush_log(eng); /* turns the store read-only: the folder may have lost names of others */
    }
    return r;
}

int checkpoint_write(struct eng *eng)
{
    if (is_read_only(eng))
        return -EROFS;
    if (!loading_is_done(&eng->loading))
        return -EBUSY;
    atimes_flush(eng);
    report_defer();
    pthread_mutex_lock(&eng->checkpoints->lock);
    int r = checkpoint_locked(eng);
    pthread_mutex_unlock(&eng->checkpoints->lock);
    report_flush(&eng->report);
    return r;
}

/* ---- tidying ----------------------------------------------------------------------- */

#define TIDY_FROM                                                                                            \
    (UINT64_C(256) << 10) /* bytes of a copy that nobody needs, beyond the share that may stay */

void checkpoint_tidy_next(struct eng *eng)
{
    atomic_store(&eng->checkpoints->tidy, true);
}

static bool is_untidy(struct eng *eng)
{
    const struct image_map *map = &eng->checkpoints->images.map;
    uint64_t size = 0, live = 0;
    checkpoint_exclude(eng);
    for (size_t i = 0; i < map->n_files; i++) {
        size += map->files[i].size;
        live += map->files[i].live;
    }
    checkpoint_allow(eng);
    return size > live + live / IMAGE_TIDY_SHARE + TIDY_FROM;
}

int checkpoint_tidy(struct eng *eng)
{
    if (!is_untidy(eng) || reserve_is_short(eng) || keepers_find_all(eng))
        return 0;
    checkpoint_tidy_next(eng);
    return checkpoint_write(eng);
}
