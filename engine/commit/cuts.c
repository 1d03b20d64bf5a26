/*
 * cuts.c - see cuts.h. */
#include "commit/cuts.h"

#include "index/past_names.h"
#include "index/past_state.h"

#define SOON_NS UINT64_C(1000000000)

int cuts_new(struct eng *eng)
{
    eng->cuts = calloc(1, sizeof *eng->cuts);
    if (!eng->cuts)
        return -ENOMEM;
    pthread_mutex_init(&eng->cuts->lock, NULL);
    eng->cuts->counts = calloc(CUT_COUNTS, sizeof *eng->cuts->counts);
    return eng->cuts->counts ? 0 : -ENOMEM; /* the caller closes */
}

void cuts_free(struct eng *eng)
{
    if (!eng->cuts)
        return;
    pthread_mutex_destroy(&eng->cuts->lock);
    free(eng->cuts->counts);
    free(eng->cuts);
    eng->cuts = NULL;
}

/* With the lock held. */
static void add_line(struct eng *eng, uint64_t ino)
{
    struct cuts *cuts = eng->cuts;
    bool has = false;
    for (size_t i = cuts->n_inos; i-- > 0 && !has;)
        has = cuts->inos[i] == ino;
    if (!has && cuts->n_inos == CUT_LINES)
        cuts->is_over = true;
    else if (!has)
        cuts->inos[cuts->n_inos++] = ino;
}

static void add_path(struct eng *eng, const struct op *op)
{
    struct cuts *cuts = eng->cuts;
    bool has = false;
    for (size_t i = cuts->n_paths; i-- > 0 && !has;) {
        const struct cut_path *path = &cuts->paths[i];
        has = path->dir == op->parent && path->len == op->name_len &&
              memcmp(path->text, op->name, path->len) == 0;
    }
    if (has)
        return;
    if (cuts->n_paths == CUT_PATHS) {
        cuts->is_over = true;
        return;
    }
    struct cut_path *path = &cuts->paths[cuts->n_paths++];
    path->dir = op->parent;
    path->len = op->name_len;
    memcpy(path->text, op->name, op->name_len);
}

/* By the number that the state gets. */
static bool gets_long(const struct index *idx, uint64_t versions, uint64_t ino)
{
    const struct inode_rec *head = index_inode(idx, ino);
    const struct inode_rec *newest = head ? index_slot(idx, head->past) : NULL;
    uint32_t number = newest ? past_number(newest) + 1 : 0;
    return number > versions && number % CUT_STEP == 0;
}

/* A path has one more. What is forgotten now and then the next sweep finds. */
static bool gets_many(struct eng *eng, uint64_t versions, const struct op *op)
{
    uint32_t hash = codec_name_hash(eng->idx.hash_seed, ino_slot(op->parent), op->name, op->name_len);
    struct cut_count *count = &eng->cuts->counts[hash % CUT_COUNTS];
    if (op->name_len > ENG_NAME_MAX)
        return false;
    if (count->hash != hash && count->n > 1) {
        count->n--;
        return false;
    }
    *count = (struct cut_count){hash, count->hash == hash ? count->n + 1 : 1};
    return count->n > versions && count->n % CUT_STEP == 0;
}

void cuts_note(struct eng *eng, const struct txn *txn)
{
    uint64_t versions = atomic_load_explicit(&eng->config.history_versions, memory_order_relaxed);
    if (!index_is_kept_whole(&eng->idx) || !versions || MUTANT(LINES_STAY_LONG))
        return;
    for (size_t i = 0; i < txn->n_ops; i++) {
        const struct op *op = &txn->ops[i];
        bool line = op->type == OP_KEEP && gets_long(&eng->idx, versions, op->ino);
        bool path = op->flags & OP_KEPT && gets_many(eng, versions, op);
        if (!line && !path)
            continue;
        pthread_mutex_lock(&eng->cuts->lock);
        if (line)
            add_line(eng, op->ino);
        else
            add_path(eng, op);
        if (!eng->cuts->due_at) {
            eng->cuts->due_at = mono_ns() + SOON_NS;
            atomic_store_explicit(&eng->cuts->rings, true, memory_order_relaxed);
        }
        pthread_mutex_unlock(&eng->cuts->lock);
    }
}

bool cuts_ring(struct eng *eng)
{
    _Atomic bool *rings = &eng->cuts->rings;
    return atomic_load_explicit(rings, memory_order_relaxed) && atomic_exchange(rings, false);
}

uint64_t cuts_due_at(struct eng *eng)
{
    pthread_mutex_lock(&eng->cuts->lock);
    uint64_t at = eng->cuts->due_at;
    pthread_mutex_unlock(&eng->cuts->lock);
    return at;
}

struct cuts *cuts_take(struct eng *eng)
{
    struct cuts *cuts = eng->cuts, *taken = malloc(sizeof *taken);
    if (!taken)
        return NULL;
    pthread_mutex_lock(&cuts->lock);
    memcpy(taken->inos, cuts->inos, cuts->n_inos * sizeof *taken->inos);
    memcpy(taken->paths, cuts->paths, cuts->n_paths * sizeof *taken->paths);
    taken->n_inos = cuts->n_inos;
    taken->n_paths = cuts->n_paths;
    taken->is_over = cuts->is_over;
    cuts->n_inos = cuts->n_paths = 0;
    cuts->is_over = false;
    cuts->due_at = 0;
    pthread_mutex_unlock(&cuts->lock);
    return taken;
}
