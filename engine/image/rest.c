/*
 * rest.c - see rest.h. */
#include "image/rest.h"

#include "commit/orphans.h"
#include "commit/retire.h"
#include "image/checkpoint.h"
#include "image/freeze.h"
#include "index/chunk_check.h"

#include <stdio.h>
#include <unistd.h>

#define REST_FROM 128u /* chunks: 8 MiB */
/* Chunks, and a share of all: to wait for these one by one takes longer than to read all in their order. */
#define REST_MANY 64u
#define MANY_SHARE 16u
#define THREADS_MAX 8
#define BACKGROUND_NICE 5
#define PAUSE_MS 100u
#define PAUSE_MAX_MS 5000u
#define READ_TRIES 6u /* of a chunk that the disk cannot read: six seconds with all pauses */

uint64_t rest_from = REST_FROM, rest_many = REST_MANY;

struct rest {
    struct index_limits limits; /* immutable while chunks are absent */
    struct table *tables[INDEX_TABLES];
    struct images_loading work;
    pthread_t thread;
    bool has_thread, fetched_many;
    bool whole;         /* nothing is left to the loader; immutable once the store is being opened */
    bool lost;          /* recovery needs what is lost */
    uint32_t *discards; /* segments; written by recovery, read by the loader */
    size_t n_discards, cap_discards;
};

int rest_new(struct eng *eng)
{
    eng->rest = calloc(1, sizeof *eng->rest);
    return eng->rest ? 0 : -ENOMEM;
}

void rest_free(struct eng *eng)
{
    if (!eng->rest)
        return;
    free(eng->rest->discards);
    free(eng->rest);
    eng->rest = NULL;
}

/* ---- chunks ------------------------------------------------------------------------------ */

static int check_chunk(void *arg, unsigned table, uint32_t c, const struct table_meta *m,
                       const uint8_t *chunk)
{
    const struct rest *l = arg;
    return index_check_chunk(&l->limits, table, c, m, chunk);
}

void rest_watch(struct eng *eng)
{
    struct rest *l = eng->rest;
    for (unsigned i = 0; i < INDEX_TABLES; i++)
        l->tables[i] = index_table(&eng->idx, i);
    index_limits(&eng->idx, &l->limits);
    l->limits.has_history = eng_has_history(eng);
    eng->checkpoints->images.check = check_chunk;
    eng->checkpoints->images.check_arg = l;
}

/* Of a run that found the index damaged when it was open already. */
#define SUSPECT_FILE "suspect"

static bool is_suspect(const struct eng *eng)
{
    struct io_file *file;
    int r = eng->io->ops->open(eng->io, SUSPECT_FILE, IO_RDONLY, &file);
    if (!r)
        eng->io->ops->close(file);
    return !r;
}

/* What cannot be written costs the next run as much as this one. */
void rest_suspect(struct eng *eng)
{
    struct io_file *file;
    if (eng->opt.read_only || MUTANT(LATE_NOT_REMEMBERED) ||
        eng->io->ops->open(eng->io, SUSPECT_FILE, IO_RDWR | IO_CREATE, &file) != 0)
        return;
    (void)eng->io->ops->datasync(file);
    eng->io->ops->close(file);
    (void)io_syncdir(eng->io);
}

void rest_forget_suspicion(struct eng *eng)
{
    if (!eng->opt.read_only && loading_is_done(&eng->loading) && is_suspect(eng))
        (void)eng->io->ops->unlink(eng->io, SUSPECT_FILE); /* one that comes back costs time */
}

bool rest_wants_whole(const struct eng *eng)
{
    return eng->rest && eng->rest->lost && !MUTANT(LOST_IS_REFUSED);
}

void rest_load_whole(struct eng *eng)
{
    eng->rest->whole = true;
}

int rest_missed(struct eng *eng, char why[256])
{
    if (!pool_missed && !chunk_pool_poisoned(eng->idx.pool))
        return 0;
    bool lost = chunk_pool_lost(eng->idx.pool) != 0;
    if (lost)
        rest_suspect(eng);
    eng->rest->lost = lost;
    snprintf(why, 256, "a part of the index that recovery needs %s", lost ? "is damaged" : "cannot be read");
    if (lost)
        return -EBADMSG;
    return pool_missed ? pool_missed : -EIO;
}

bool rest_is_for(const struct eng *eng, uint64_t chunks)
{
    /* Read-only, nothing could be noted of damage that is found late: each opening would find it so again. */
    bool read_only = eng->opt.read_only && !MUTANT(LATE_READ_ONLY);
    if (read_only || eng->opt.snapshot || eng->opt.salvage || eng->rest->whole || is_suspect(eng))
        return false;
    return rest_from == 0 || (!eng->opt.no_background && chunks >= rest_from);
}

static void lock_shared(void *arg)
{
    pthread_rwlock_rdlock(&((struct eng *)arg)->index_lock);
}

static void unlock_shared(void *arg)
{
    pthread_rwlock_unlock(&((struct eng *)arg)->index_lock);
}

/* Memory and files may be had again, in whatever time; a disk that cannot read will not for ever. */
static bool try_again(void *arg, int error, unsigned tries)
{
    struct eng *eng = arg;
    bool may_pass = error == -ENOMEM || error == -EMFILE || error == -ENFILE;
    if (error == -EBADMSG || (!may_pass && tries >= READ_TRIES))
        return false;
    if (tries == 1)
        (void)report_store_error(&eng->report, "loading the index of", error);
    if (eng->opt.no_background)
        return tries < READ_TRIES;
    return !loading_pause(&eng->loading, MIN_OF(PAUSE_MS << MIN_OF(tries, 6u), PAUSE_MAX_MS));
}

static unsigned threads(const struct eng *eng)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return eng->opt.no_background ? 1 : (unsigned)MIN_OF(MAX_OF(processors, 1L), (long)THREADS_MAX);
}

static int load(struct eng *eng, bool again)
{
    struct images_loading *work = &eng->rest->work;
    work->images = &eng->checkpoints->images;
    work->tables = eng->rest->tables;
    work->lock = lock_shared;
    work->unlock = unlock_shared;
    work->again = again ? try_again : NULL;
    work->done = &eng->loading.loaded;
    work->arg = eng;
    return images_load(work, threads(eng));
}

int rest_fetch_all(struct eng *eng)
{
    return load(eng, false);
}

int rest_fetch_many(struct eng *eng, uint64_t needed, char why[256])
{
    uint64_t chunks = loading_left(&eng->loading);
    if (eng->rest->fetched_many || !chunks || !needed || needed < MAX_OF(chunks / MANY_SHARE, rest_many))
        return 0;
    eng->rest->fetched_many = true;
    int r = rest_fetch_all(eng);
    pool_missed = r == -EBADMSG ? r : 0; /* what else could not be had is asked for again */
    return rest_missed(eng, why);
}

/* ---- verifying ---------------------------------------------------------------------------- */

static int verify_tables(struct index *idx)
{
    int r = idx->s.n_buckets < idx->buckets.used ? 0 : -EBADMSG;
    for (unsigned i = 0; i < INDEX_TABLES && !r; i++)
        r = table_validate_free(index_table(idx, i));
    if (!r)
        r = names_validate(&idx->names);
    if (!r)
        r = index_check_trees(idx);
    return r;
}

int rest_verify(struct index *idx)
{
    int r = verify_tables(idx);
    uint64_t counted = idx->n_orphans;
    if (!r)
        index_count_orphans(idx);
    if (!r && idx->n_orphans != counted)
        r = -EBADMSG;
    idx->n_orphans = counted;
    return r || MUTANT(NO_INDEX_VERIFY) ? r : index_is_sound(idx);
}

/* What was there at the freeze, of which `counted` had come since opening. */
static void add_kept(struct eng *eng, const struct index_kept *there, const struct index_kept *counted)
{
    pthread_rwlock_wrlock(&eng->index_lock);
    eng->idx.kept.files += there->files - counted->files;
    eng->idx.kept.dirs += there->dirs - counted->dirs;
    eng->idx.kept.others += there->others - counted->others;
    eng->idx.kept.bytes += there->bytes - counted->bytes;
    pthread_rwlock_unlock(&eng->index_lock);
}

/* Of the index as it is now, all of it in memory, while everybody goes on. */
static int verify_frozen(struct eng *eng)
{
    struct index view;
    uint64_t freeze;
    freeze_warm_briefly(eng);
    struct index_room room;
    int r = freeze_room(eng, false, &room);
    if (r)
        return r;
    freeze_lock(eng);
    uint64_t n_orphans = eng->idx.n_orphans;
    struct index_kept kept = eng->idx.kept;
    r = index_freeze(&eng->idx, &room, &view, &freeze);
    freeze_unlock(eng);
    index_room_done(&room);
    if (r)
        return r;
    view.n_orphans = n_orphans;
    view.cancel = &eng->rest->work.stop;
    r = index_map_segments(&view);
    if (!r)
        r = rest_verify(&view);
    idmap_done(&view.seg_slots);
    if (!r)
        add_kept(eng, &view.kept, &kept);
    freeze_give_back(eng, &view, freeze);
    return r;
}

static bool is_stopped(const struct eng *eng)
{
    return atomic_load_explicit(&eng->rest->work.stop, memory_order_relaxed);
}

static int verify(struct eng *eng)
{
    int r;
    while ((r = verify_frozen(eng)) == -ENOMEM && !eng->opt.no_background)
        if (loading_pause(&eng->loading, PAUSE_MAX_MS))
            return -ECANCELED;
    return is_stopped(eng) ? -ECANCELED : r;
}

/* ---- what waited for it --------------------------------------------------------------------- */

static void discard(struct eng *eng)
{
    struct rest *l = eng->rest;
    for (size_t i = 0; i < l->n_discards && !is_read_only(eng); i++) {
        report_line(&eng->report, ENG_LOG_INFO, "removing s%08x.seg: not part of the store any more",
                    l->discards[i]);
        retire_unrecorded(eng, l->discards[i]);
    }
}

int rest_discard_later(struct eng *eng, uint32_t segment)
{
    struct rest *l = eng->rest;
    int r = array_grow(&l->discards, &l->cap_discards, l->n_discards + 1, sizeof *l->discards);
    if (!r)
        l->discards[l->n_discards++] = segment;
    return r;
}

static void finish(struct eng *eng)
{
    if (!is_read_only(eng)) {
        orphans_find(eng);
        discard(eng);
    }
    checkpoint_exclude(eng);
    images_close(&eng->checkpoints->images, 0);
    checkpoint_clean(eng);
    checkpoint_allow(eng);
    wake_workers(&eng->wake); /* a checkpoint, orphans, maintenance may be due */
}

static void run(struct eng *eng)
{
    char why[200] = "";
    int r = load(eng, true);
    if (r && r != -EBADMSG && loading_pause(&eng->loading, 0)) /* what cannot be had now the next run has */
        return;
    checkpoint_tell_copies(eng);
    if (!r)
        r = verify(eng);
    if (r == -ECANCELED)
        return;
    if (r == -EBADMSG)
        snprintf(
            why, sizeof why,
            "the index is damaged, as was found while it was loaded, and nothing is told of it any more; "
            "mount again: it is made good from the log if that can be");
    else if (r)
        snprintf(why, sizeof why, "the index cannot be loaded (%s): mount again once it can be read",
                 strerror(-r));
    if (r == -EBADMSG)
        rest_suspect(eng);
    if (r) {
        loading_fail(&eng->loading, &eng->report, why);
        return;
    }
    loading_succeed(&eng->loading);
    finish(eng);
}

/* ---- the thread ----------------------------------------------------------------------------- */

static void *loading_thread(void *arg)
{
    struct eng *eng = arg;
    (void)nice(BACKGROUND_NICE); /* Linux: of this thread, and of those that it starts */
    run(eng);
    if (!is_stopped(eng))
        loading_end(&eng->loading);
    return NULL;
}

static bool is_under_way(struct eng *eng)
{
    pthread_mutex_lock(&eng->loading.lock);
    bool under_way = eng->loading.under_way;
    pthread_mutex_unlock(&eng->loading.lock);
    return under_way;
}

int rest_opened(struct eng *eng)
{
    if (eng->opt.no_background || !is_under_way(eng))
        return 0;
    int r = -pthread_create(&eng->rest->thread, NULL, loading_thread, eng);
    eng->rest->has_thread = !r;
    return r;
}

int rest_await(struct eng *eng)
{
    if (eng->opt.no_background && is_under_way(eng) && !is_stopped(eng)) {
        run(eng);
        loading_end(&eng->loading);
    }
    return loading_await(&eng->loading);
}

void rest_stop(struct eng *eng)
{
    if (!eng->rest)
        return;
    atomic_store_explicit(&eng->rest->work.stop, true, memory_order_relaxed);
    loading_stop(&eng->loading);
    if (eng->rest->has_thread)
        pthread_join(eng->rest->thread, NULL);
    eng->rest->has_thread = false;
}
