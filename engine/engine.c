/*
 * engine.c - opening and closing a store, and what every room reports to:
 * log lines, errors, damage, the read-only state.
 */
#include "compact.h"
#include "engine_impl.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#ifdef ENG_MUTANTS
uint64_t eng_mutants;

/* A test of any kind is run without a protection by its environment. */
static __attribute__((constructor)) void choose_mutant(void)
{
#define MUTANT_NAME(name) #name,
    static const char *const names[] = {MUTANT_LIST(MUTANT_NAME)};
#undef MUTANT_NAME
    const char *wanted = getenv("ENG_MUTANT");
    for (size_t i = 0; wanted && i < ARRAY_LEN(names); i++)
        if (!strcmp(names[i], wanted))
            eng_mutants = UINT64_C(1) << i;
    if (wanted && !eng_mutants)
        abort(); /* a name that is not there must not look like a test that passes */
}
#endif

#define SUPERBLOCK_FILE "superblock"

/* ---- reporting ------------------------------------------------------------ */

/* How many locks this thread holds under which no line may be handed out: the callback may call the engine.
 */
static _Thread_local unsigned quiet;

struct log_line {
    enum eng_log_level level;
    char text[512];
};

void eng_quiet(void)
{
    quiet++;
}

void eng_speak(struct eng *eng)
{
    if (--quiet || !__atomic_load_n(&eng->n_lines, __ATOMIC_RELAXED))
        return;
    pthread_mutex_lock(&eng->misc_lock);
    struct log_line *lines = STEAL(eng->lines);
    size_t n = eng->n_lines;
    __atomic_store_n(&eng->n_lines, 0, __ATOMIC_RELAXED);
    eng->cap_lines = 0;
    pthread_mutex_unlock(&eng->misc_lock);
    for (size_t i = 0; i < n; i++)
        eng->opt.log(eng->opt.log_arg, lines[i].level, lines[i].text);
    free(lines);
}

/* Keeps a line until the thread holds no lock any more. Without memory it is lost. */
static void keep_line(struct eng *eng, const struct log_line *line)
{
    pthread_mutex_lock(&eng->misc_lock);
    size_t n = eng->n_lines;
    if (array_grow(&eng->lines, &eng->cap_lines, n + 1, sizeof *eng->lines) == 0) {
        eng->lines[n] = *line;
        __atomic_store_n(&eng->n_lines, n + 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&eng->misc_lock);
}

void eng_logf(struct eng *eng, enum eng_log_level level, const char *fmt, ...)
{
    if (!eng->opt.log)
        return;
    struct log_line line = {.level = level};
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line.text, sizeof line.text, fmt, ap);
    va_end(ap);
    if (quiet)
        keep_line(eng, &line);
    else
        eng->opt.log(eng->opt.log_arg, level, line.text);
}

void eng_turn_read_only(struct eng *eng, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&eng->misc_lock);
    bool first = !__atomic_exchange_n(&eng->read_only, 1, __ATOMIC_ACQ_REL);
    if (first)
        memcpy(eng->read_only_reason, line, sizeof line);
    pthread_mutex_unlock(&eng->misc_lock);
    if (first)
        eng_logf(eng, ENG_LOG_ERROR, "store is read-only now: %s", line);
}

void eng_set_error(struct eng *eng, const char *fmt, ...)
{
    char line[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&eng->misc_lock);
    memcpy(eng->last_error, line, sizeof line);
    pthread_mutex_unlock(&eng->misc_lock);
    eng_logf(eng, ENG_LOG_ERROR, "%s", line);
}

int eng_store_error(struct eng *eng, const char *what, int r)
{
    char line[sizeof eng->last_error];
    const char *hint = r == -ENOMEM                   ? "wait until there is memory"
                       : r == -EMFILE || r == -ENFILE ? "raise the limit of open files"
                                                      : "are its folder and disk still there?";
    snprintf(line, sizeof line, "%s the store failed (%s): %s", what, strerror(-r), hint);
    pthread_mutex_lock(&eng->misc_lock);
    bool known = strcmp(eng->last_error, line) == 0;
    pthread_mutex_unlock(&eng->misc_lock);
    if (!known)
        eng_set_error(eng, "%s", line);
    return r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -EPERM ? -EIO : r;
}

#define DAMAGE_MAX 10000u
#define DAMAGE_LOGGED 20u

/* The first by name; when it goes on (a disk is gone) only each time the number has doubled. */
static void log_damage(struct eng *eng, const struct eng_damage *d, uint64_t n)
{
    if (n <= DAMAGE_LOGGED)
        eng_logf(eng, ENG_LOG_ERROR,
                 "damaged content of %s (inode %llu): segment %llu, offset %llu: %s; restore it from a copy",
                 d->path[0] ? d->path : "?", (unsigned long long)d->ino, (unsigned long long)d->segment,
                 (unsigned long long)d->offset, d->reason);
    else if ((n & (n - 1)) == 0)
        eng_logf(eng, ENG_LOG_ERROR, "%llu damaged extents: .engram/damaged lists them, the log no more",
                 (unsigned long long)n);
}

void eng_note_damage(struct eng *eng, uint64_t ino, uint64_t off, const struct locator *loc,
                     const char *reason)
{
    struct eng_damage d = {.ino = ino, .segment = loc->seg, .offset = locator_offset(loc)};
    snprintf(d.reason, sizeof d.reason, "%s", reason);
    pthread_rwlock_rdlock(&eng->index_lock);
    if (index_inode(&eng->idx, ino))
        d.path[index_path(&eng->idx, ino_slot(ino), d.path, sizeof d.path - 1)] = 0;
    pthread_rwlock_unlock(&eng->index_lock);
    bool known = false;
    pthread_mutex_lock(&eng->misc_lock);
    for (size_t i = 0; i < eng->n_damage && !known; i++) {
        struct damage *old = &eng->damage[i];
        known = old->told.ino == ino && old->told.segment == d.segment && old->told.offset == d.offset;
        if (known) { /* the same extent, but perhaps another range of it is named now */
            old->off = off;
            old->loc = *loc;
        }
    }
    if (!known && eng->n_damage < DAMAGE_MAX &&
        array_grow(&eng->damage, &eng->cap_damage, eng->n_damage + 1, sizeof *eng->damage) == 0)
        eng->damage[eng->n_damage++] = (struct damage){d, off, *loc};
    pthread_mutex_unlock(&eng->misc_lock);
    if (known)
        return;
    log_damage(eng, &d, __atomic_add_fetch(&eng->counters.damaged, 1, __ATOMIC_RELAXED));
}

int eng_damaged(struct eng *eng, void (*emit)(void *arg, const struct eng_damage *d), void *arg)
{
    pthread_mutex_lock(&eng->misc_lock);
    size_t n = eng->n_damage;
    struct damage *copy = malloc((n + 1) * sizeof *copy);
    if (copy && n)
        memcpy(copy, eng->damage, n * sizeof *copy);
    pthread_mutex_unlock(&eng->misc_lock);
    if (!copy)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) { /* not what was overwritten or removed since */
        struct extent_ref ref = {.ino = copy[i].told.ino, .off = copy[i].off, .from = copy[i].loc};
        if (extent_ref_current(eng, &ref))
            emit(arg, &copy[i].told);
    }
    free(copy);
    return 0;
}

/* ---- creating a store ------------------------------------------------------- */

/* 1 for a name that does not belong to a store that is about to be created. */
static int is_foreign(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, SUPERBLOCK_FILE) != 0 &&
           strncmp(name, SUPERBLOCK_FILE ".", sizeof SUPERBLOCK_FILE) != 0 && strcmp(name, "lost+found") != 0;
}

static int create_superblock(struct eng *eng, char why[256])
{
    int r = eng->io->ops->list(eng->io, is_foreign, NULL);
    if (r < 0)
        return r;
    if (r > 0) {
        snprintf(why, 256, "the folder is not empty and not a store (no file named superblock)");
        return -ENOTEMPTY;
    }
    struct superblock sb = {.version = FORMAT_VERSION,
                            .compat = FORMAT_COMPAT,
                            .incompat = FORMAT_INCOMPAT,
                            .segment_size =
                                eng->opt.segment_size ? eng->opt.segment_size : ENG_SEGMENT_SIZE_DEFAULT,
                            .created = now_ns()};
    if (getrandom(sb.uuid, sizeof sb.uuid, 0) < 0 || getrandom(&sb.hash_seed, sizeof sb.hash_seed, 0) < 0)
        return -errno;
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&sb, image);
    r = io_replace_file(eng->io, SUPERBLOCK_FILE, image, sizeof image);
    if (r)
        snprintf(why, 256, "cannot create the store: %s", strerror(-r));
    return r;
}

/* One damaged copy is made good by the other as soon as the store may be written: the next damage may hit
 * that. */
static void mend_superblock(struct eng *eng, const char *data, size_t size)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(&eng->sb, image);
    if (size == sizeof image && memcmp(data, image, size) == 0)
        return;
    int r = eng->opt.read_only ? -EROFS : io_replace_file(eng->io, SUPERBLOCK_FILE, image, sizeof image);
    eng_logf(eng, ENG_LOG_WARNING, "superblock: one copy is damaged; %s",
             r ? "the other serves" : "rewritten from the other");
}

static int load_superblock(struct eng *eng, char why[256])
{
    char *data;
    size_t size;
    int r = io_read_file(eng->io, SUPERBLOCK_FILE, (size_t)2 * SUPERBLOCK_SIZE, &data, &size);
    if (r == -ENOENT && !eng->opt.must_exist && !eng->opt.read_only) {
        r = create_superblock(eng, why);
        if (r)
            return r;
        r = io_read_file(eng->io, SUPERBLOCK_FILE, (size_t)2 * SUPERBLOCK_SIZE, &data, &size);
    }
    if (r) {
        snprintf(why, 256, r == -ENOENT ? "not a store: it has no file named superblock" : "superblock: %s",
                 strerror(-r));
        return r;
    }
    r = superblock_decode((uint8_t *)data, size, &eng->sb);
    if (!r)
        mend_superblock(eng, data, size);
    free(data);
    if (r == -EBADMSG && eng->opt.salvage)
        return salvage_identity(eng, why);
    if (r == -EPROTONOSUPPORT)
        snprintf(why, 256,
                 "superblock: unknown format version or feature; this is engramfs " ENG_VERSION
                 " with format %u; use a newer one",
                 FORMAT_VERSION);
    else if (r || eng->sb.segment_size < ENG_SEGMENT_SIZE_MIN ||
             eng->sb.segment_size > ENG_SEGMENT_SIZE_MAX) {
        snprintf(why, 256, "superblock: both copies are damaged; restore the file from a copy");
        r = -EBADMSG;
    }
    return r;
}

/* The first batch of a store: its root directory. */
static int create_root(struct eng *eng)
{
    CLEANUP_TXN struct txn txn = {0};
    struct op *op = txn_op(&txn, OP_CREATE);
    if (!op)
        return -ENOMEM;
    op->ino = ENG_ROOT_INO;
    op->mode = S_IFDIR | 0755;
    op->uid = (uint32_t)geteuid();
    op->gid = (uint32_t)getegid();
    op->time = now_ns();
    int r = eng_begin_work(eng);
    if (r)
        return r;
    r = eng_commit(eng, &txn);
    eng_end(eng);
    return r ? r : eng_flush(eng);
}

/* ---- opening ------------------------------------------------------------------ */

static int lock_store(struct eng *eng, char why[256])
{
    int64_t waited = 0;
    int r;
    if (eng->opt.snapshot)
        return 0;
    while ((r = eng->io->ops->lock(eng->io, eng->opt.read_only)) == -EBUSY &&
           waited < eng->opt.lock_wait_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        waited += 20;
    }
    if (MUTANT(NO_LOCK))
        r = 0;
    eng->locked = r == 0;
    if (r)
        snprintf(why, 256,
                 r == -EBUSY ? "the store is in use by another process" : "cannot lock the store: %s",
                 strerror(-r));
    return r;
}

static void init_locks(struct eng *eng)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* The default would let a stream of readers keep every writer out. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&eng->index_lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&eng->misc_lock, NULL);
    pthread_mutex_init(&eng->atime_lock, NULL);
    pthread_mutex_init(&eng->reserve_lock, NULL);
    pthread_mutex_init(&eng->room_lock, NULL);
    pthread_mutex_init(&eng->reclaim_lock, NULL);
    pthread_mutex_init(&eng->ckpt_lock, NULL);
}

static void eng_free(struct eng *eng)
{
    eng_worker_free(eng);
    log_done(&eng->log);
    arena_done(&eng->arena);
    index_done(&eng->idx);
    if (eng->locked)
        eng->io->ops->unlock(eng->io);
    if (eng->own_io)
        io_posix_free(eng->io);
    pthread_rwlock_destroy(&eng->index_lock);
    pthread_mutex_destroy(&eng->misc_lock);
    pthread_mutex_destroy(&eng->atime_lock);
    pthread_mutex_destroy(&eng->reserve_lock);
    pthread_mutex_destroy(&eng->room_lock);
    pthread_mutex_destroy(&eng->reclaim_lock);
    pthread_mutex_destroy(&eng->ckpt_lock);
    free(eng->ckpts[0].files);
    free(eng->ckpts[1].files);
    free(eng->orphans);
    free(eng->atimes);
    free(eng->damage);
    free(eng->lines);
    free(eng);
}

static int open_io(struct eng *eng, const char *path, char why[256])
{
    if (eng->opt.io) {
        eng->io = eng->opt.io;
        return 0;
    }
    int r = io_posix_new(path, !eng->opt.must_exist && !eng->opt.read_only, &eng->io);
    eng->own_io = r == 0;
    if (r)
        snprintf(why, 256, "%s", strerror(-r));
    return r;
}

static int open_store(struct eng *eng, char why[256])
{
    int r = lock_store(eng, why);
    if (!r)
        r = load_superblock(eng, why);
    if (!r)
        r = config_load(eng);
    if (!r)
        r = index_init(&eng->idx, eng->sb.hash_seed);
    if (r)
        return r;
    memcpy(eng->arena.uuid, eng->sb.uuid, sizeof eng->arena.uuid);
    eng->arena.read_only = eng->opt.read_only;
    uint64_t store = eng->log.store;
    log_init(&eng->log, eng->io, &eng->arena, &eng->hook,
             eng->opt.segment_size ? eng->opt.segment_size : eng->sb.segment_size);
    eng->log.store = store;
    if (!store)
        eng->log.store = superblock_tag(&eng->sb);
    reserve_init(eng);
    r = eng_recover(eng, why);
    if (!r && !index_inode(&eng->idx, ENG_ROOT_INO)) {
        if (eng->opt.read_only) {
            snprintf(why, 256, "the store is empty and cannot be set up read-only");
            r = -EROFS;
        } else {
            r = create_root(eng);
        }
    }
    if (r)
        return r;
    if (!eng->opt.read_only)
        reserve_opened(eng);
    return eng_worker_new(eng);
}

int eng_open(const char *path, const struct eng_options *opt, struct eng **ret_eng, char ret_why[256])
{
    char why[256] = "";
    struct eng *eng = calloc(1, sizeof *eng);
    if (!eng)
        return -ENOMEM;
    if (opt)
        eng->opt = *opt;
    eng->read_only = eng->opt.read_only;
    eng->settles_beside = !eng->opt.no_background;
    eng->lost_after = UINT64_MAX;
    init_locks(eng);
    int r = 0;
    if (eng->opt.segment_size &&
        (eng->opt.segment_size < ENG_SEGMENT_SIZE_MIN || eng->opt.segment_size > ENG_SEGMENT_SIZE_MAX)) {
        snprintf(why, sizeof why, "segment size must be 64 KiB to 1 GiB");
        r = -EINVAL;
    }
    if ((eng->opt.snapshot || eng->opt.salvage) && !eng->opt.read_only) {
        snprintf(why, sizeof why, "a snapshot or salvage is read-only");
        r = -EINVAL;
    }
    if (!r)
        r = open_io(eng, path, why);
    if (!r) {
        arena_init(&eng->arena, eng->io, &eng->hook);
        r = open_store(eng, why);
    }
    if (r) {
        if (ret_why)
            snprintf(ret_why, 256, "%s",
                     why[0]         ? why
                     : r == -EAGAIN ? "no memory for its threads, or too many of them; raise the limits"
                                    : strerror(-r));
        eng_free(eng);
        return r;
    }
    *ret_eng = eng;
    return 0;
}

int eng_close(struct eng *eng)
{
    if (!eng)
        return 0;
    eng_worker_free(eng);
    int r = 0;
    eng_flush_atimes(eng);
    if (!eng->opt.read_only)
        r = eng_sync(eng); /* tells also of a sync that failed earlier (I11) */
    if (!eng_is_read_only(eng)) {
        if (!r && log_seq(&eng->log) > __atomic_load_n(&eng->newest_ckpt_seq, __ATOMIC_ACQUIRE))
            r = eng_checkpoint(eng);
        if (!r)
            (void)eng_reclaim(eng);
    }
    eng_free(eng);
    return r;
}
