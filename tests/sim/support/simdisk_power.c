/*
 * simdisk_power.c - the simulated disk: life and death. Making and copying
 * disks, what survives a power loss, setting of faults, raw access.
 *
 * Locks: as simdisk.c. */
#include "simdisk_private.h"

#include "rng.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512

const char *const sim_survival_names[SIM_N_SURVIVALS + 1] = {
    [SIM_KEEP_ALL] = "keep-all", [SIM_DROP_ALL] = "drop-all", [SIM_KEEP_PREFIX] = "keep-prefix",
    [SIM_RANDOM] = "random",     [SIM_TORN] = "torn",         [SIM_SUBSET] = "subset",
};

/* ---- making and copying ------------------------------------------------- */

struct simdisk *simdisk_new(void)
{
    struct simdisk *disk = sim_alloc(sizeof *disk);
    disk->io.ops = &sim_ops;
    pthread_mutex_init(&disk->mutex, NULL);
    return disk;
}

static void forget_everything(struct simdisk *disk)
{
    sim_dirops_free(disk);
    free(disk->now.names);
    free(disk->durable.names);
    disk->now = disk->durable = (struct sim_dir){0};
    sim_collect_nodes(disk);
}

void simdisk_free(struct simdisk *disk)
{
    if (!disk)
        return;
    assert(disk->handles == 0);
    forget_everything(disk);
    pthread_mutex_destroy(&disk->mutex);
    free(disk);
}

struct eng_io *simdisk_io(struct simdisk *disk)
{
    return &disk->io;
}

static void clone_dir(struct sim_dir *to, const struct sim_dir *from)
{
    for (size_t i = 0; i < from->n; i++)
        sim_name_set(to, from->names[i].name, from->names[i].node->copy);
}

static void clone_node(struct simdisk *to, struct sim_node *node)
{
    struct sim_node *copy = node->copy = sim_node_new(to);
    memcpy(copy->rots, node->rots, sizeof copy->rots);
    copy->written_at = node->written_at;
    copy->self = node->self;
    copy->bad_from = node->bad_from;
    copy->bad_to = node->bad_to;
    sim_buf_copy(&copy->now, &node->now);
    sim_buf_copy(&copy->durable, &node->durable);
    struct sim_write **link = &copy->writes;
    for (const struct sim_write *write = node->writes; write; write = write->next) {
        struct sim_write *twin = *link = copy->last_write = sim_alloc(sizeof *twin);
        *twin = *write;
        twin->next = NULL;
        if (write->data) {
            twin->data = sim_alloc(write->size);
            memcpy(twin->data, write->data, write->size);
        }
        link = &twin->next;
    }
}

struct simdisk *simdisk_clone(const struct simdisk *disk)
{
    struct simdisk *to = simdisk_new();
    pthread_mutex_t *mutex = (pthread_mutex_t *)(uintptr_t)&disk->mutex; /* it changes in no other way */
    pthread_mutex_lock(mutex);
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        clone_node(to, node);
    clone_dir(&to->now, &disk->now);
    clone_dir(&to->durable, &disk->durable);
    struct sim_dirop **link = &to->dirops;
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next) {
        struct sim_dirop *twin = *link = to->last_dirop = sim_alloc(sizeof *twin);
        *twin = *op;
        twin->next = NULL;
        twin->node = op->node->copy;
        link = &twin->next;
    }
    to->seq = disk->seq;
    to->clock = disk->clock;
    to->limit = disk->limit;
    to->ignore_datasync = disk->ignore_datasync;
    to->ignore_syncdir = disk->ignore_syncdir;
    to->off = disk->off;
    to->cut_call = disk->cut_call;
    pthread_mutex_unlock(mutex);
    sim_collect_nodes(to);
    return to;
}

/* ---- power -------------------------------------------------------------- */

void simdisk_cut_at(struct simdisk *disk, uint64_t nth, bool reads)
{
    pthread_mutex_lock(&disk->mutex);
    disk->cut_in = nth;
    disk->cut_reads = reads;
    pthread_mutex_unlock(&disk->mutex);
}

bool simdisk_is_off(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    bool off = disk->off;
    pthread_mutex_unlock(&disk->mutex);
    return off;
}

enum sim_call simdisk_cut_call(struct simdisk *disk)
{
    assert(disk->off);
    return disk->cut_call;
}

/* How one power loss decides. */
struct fate {
    enum sim_survival mode;
    uint64_t rng;
    uint64_t seqs[64]; /* SIM_SUBSET: of the first operations that are not durable, in order */
    size_t n_seqs;
    uint64_t last_seq;  /* SIM_KEEP_PREFIX: the last operation kept */
    unsigned keep_rate; /* SIM_RANDOM, SIM_TORN: of 100 */
};

/* Puts the numbers of the operations that are not durable into seqs, at most `max`; returns how many there
 * are. */
static size_t unsynced(const struct simdisk *disk, uint64_t *seqs, size_t max)
{
    size_t n = 0;
    for (const struct sim_node *node = disk->nodes; node; node = node->next)
        for (const struct sim_write *write = node->writes; write; write = write->next)
            if (write->state != SIM_DURABLE && n++ < max)
                seqs[n - 1] = write->seq;
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next)
        if (op->state != SIM_DURABLE && n++ < max)
            seqs[n - 1] = op->seq;
    return n;
}

size_t simdisk_unsynced(const struct simdisk *disk)
{
    return unsynced(disk, NULL, 0);
}

/* Whether bit i is set, `seq` being the i-th of the operations. */
static bool in_subset(const struct fate *fate, uint64_t seq)
{
    unsigned i = 0;
    for (size_t k = 0; k < fate->n_seqs; k++)
        i += fate->seqs[k] < seq;
    return fate->rng >> i & 1;
}

static uint64_t oldest_seq(const struct simdisk *disk)
{
    uint64_t oldest = disk->dirops ? disk->dirops->seq : disk->seq + 1;
    for (const struct sim_node *node = disk->nodes; node; node = node->next) {
        if (node->writes && node->writes->seq < oldest)
            oldest = node->writes->seq;
    }
    return oldest;
}

static struct fate fate_decide(const struct simdisk *disk, enum sim_survival mode, uint64_t seed)
{
    static const unsigned rates[] = {10, 50, 90, 97};
    struct fate fate = {.mode = mode, .rng = seed};
    if (mode == SIM_SUBSET) {
        fate.n_seqs = unsynced(disk, fate.seqs, 64);
        assert(fate.n_seqs <= 64);
        return fate;
    }
    uint64_t oldest = oldest_seq(disk);
    fate.last_seq = oldest - 1 + rng_below(&fate.rng, disk->seq + 2 - oldest);
    uint64_t first = mode == SIM_TORN ? 2 : 0;
    fate.keep_rate = rates[first + rng_below(&fate.rng, 4 - first)];
    return fate;
}

static bool fate_keeps(struct fate *fate, uint64_t seq)
{
    switch (fate->mode) {
    case SIM_KEEP_ALL:
        return true;
    case SIM_DROP_ALL:
        return false;
    case SIM_KEEP_PREFIX:
        return seq <= fate->last_seq;
    case SIM_SUBSET:
        return in_subset(fate, seq);
    default:
        return rng_below(&fate->rng, 100) < fate->keep_rate;
    }
}

static bool fate_tears(struct fate *fate, uint64_t seq)
{
    if (fate->mode == SIM_KEEP_PREFIX)
        return seq == fate->last_seq && rng_below(&fate->rng, 2);
    return fate->mode == SIM_TORN && rng_below(&fate->rng, 2);
}

/* A write of which the medium took a part: `buf` gets that part. */
static void apply_torn(struct sim_buf *buf, const struct sim_write *write, struct fate *fate)
{
    uint64_t cut = rng_below(&fate->rng, write->size + 1);
    if (rng_below(&fate->rng, 2)) /* most media write sectors whole */
        cut -= (write->offset + cut) % SECTOR < cut ? (write->offset + cut) % SECTOR : cut;

    switch (rng_below(&fate->rng, 4)) {
    case 0: /* the end is missing */
        sim_buf_write(buf, write->data, cut, write->offset);
        break;
    case 1: /* the end is missing, but the file's size had been updated */
        if (write->offset + write->size > buf->size)
            sim_buf_resize(buf, write->offset + write->size);
        sim_buf_write(buf, write->data, cut, write->offset);
        break;
    case 2: /* the end is what lay there before in blocks of somebody else */
        sim_buf_write(buf, write->data, write->size, write->offset);
        for (uint64_t i = cut; i < write->size; i++)
            buf->data[write->offset + i] = (uint8_t)rng_next(&fate->rng);
        break;
    default: /* sectors were written in any order, and some not at all */
        if (write->offset + write->size > buf->size)
            sim_buf_resize(buf, write->offset + write->size);
        for (uint64_t at = 0; at < write->size;) {
            uint64_t n = SECTOR - (write->offset + at) % SECTOR;
            n = n < write->size - at ? n : write->size - at;
            if (rng_below(&fate->rng, 2))
                sim_buf_write(buf, write->data + at, n, write->offset + at);
            at += n;
        }
        break;
    }
}

static void survive_node(struct sim_node *node, struct fate *fate)
{
    for (const struct sim_write *write = node->writes; write; write = write->next) {
        if (write->state != SIM_DURABLE && !fate_keeps(fate, write->seq))
            continue;
        if (write->state != SIM_DURABLE && write->kind == SIM_WRITE && fate_tears(fate, write->seq))
            apply_torn(&node->durable, write, fate);
        else
            sim_write_apply(&node->durable, write);
    }
    sim_writes_free(node);
    sim_buf_copy(&node->now, &node->durable);
}

/* Whether an earlier operation on a name of `op` was lost: then `op` was, too. */
static bool depends_on_lost(const struct sim_dir *lost, const struct sim_dirop *op)
{
    struct sim_dir *names = (struct sim_dir *)(uintptr_t)lost;
    return (op->from[0] && sim_name_find(names, op->from)) || (op->to[0] && sim_name_find(names, op->to));
}

static void survive_dir(struct simdisk *disk, struct fate *fate)
{
    struct sim_dir lost = {0};
    for (const struct sim_dirop *op = disk->dirops; op; op = op->next) {
        if (op->state == SIM_DURABLE || (!depends_on_lost(&lost, op) && fate_keeps(fate, op->seq))) {
            sim_dirop_apply(&disk->durable, op);
            continue;
        }
        if (op->from[0])
            sim_name_set(&lost, op->from, op->node);
        if (op->to[0])
            sim_name_set(&lost, op->to, op->node);
    }
    free(lost.names);
    sim_dirops_free(disk);
    disk->now.n = 0;
    for (size_t i = 0; i < disk->durable.n; i++)
        sim_name_set(&disk->now, disk->durable.names[i].name, disk->durable.names[i].node);
}

/* The disk as the next process meets it. */
static void begin_life(struct simdisk *disk)
{
    memset(disk->calls, 0, sizeof(disk->calls));
    disk->epoch++;
    disk->cut_in = 0;
    disk->off = false;
    disk->fault = (struct sim_fault){0};
    disk->short_reads_every = disk->short_writes_every = disk->interrupt_every = 0;
    disk->exclusive = false;
    disk->sharers = 0;
}

void simdisk_process_dies(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    begin_life(disk);
    pthread_mutex_unlock(&disk->mutex);
}

void simdisk_power_on(struct simdisk *disk, enum sim_survival mode, uint64_t seed)
{
    pthread_mutex_lock(&disk->mutex);
    struct fate fate = fate_decide(disk, mode, seed);
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        sim_rot_show(node);
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        survive_node(node, &fate);
    survive_dir(disk, &fate);
    sim_collect_nodes(disk);
    begin_life(disk);
    pthread_mutex_unlock(&disk->mutex);
}

/* ---- faults ------------------------------------------------------------- */

#define SETTER(function, type, field)                                                                        \
    void function(struct simdisk *disk, type value)                                                          \
    {                                                                                                        \
        pthread_mutex_lock(&disk->mutex);                                                                    \
        disk->field = value;                                                                                 \
        pthread_mutex_unlock(&disk->mutex);                                                                  \
    }
SETTER(simdisk_ignore_datasync, bool, ignore_datasync)
SETTER(simdisk_ignore_syncdir, bool, ignore_syncdir)
SETTER(simdisk_short_reads, unsigned, short_reads_every)
SETTER(simdisk_short_writes, unsigned, short_writes_every)
SETTER(simdisk_interrupt, unsigned, interrupt_every)
SETTER(simdisk_limit, uint64_t, limit)

void simdisk_fail(struct simdisk *disk, enum sim_call call, uint64_t nth, int error)
{
    pthread_mutex_lock(&disk->mutex);
    disk->fault = (struct sim_fault){.call = call, .left = nth, .error = nth ? error : 0};
    pthread_mutex_unlock(&disk->mutex);
}

void simdisk_fail_from(struct simdisk *disk, enum sim_call call, uint64_t nth, int error)
{
    pthread_mutex_lock(&disk->mutex);
    disk->fault = (struct sim_fault){.call = call, .left = nth, .error = error, .always = true};
    pthread_mutex_unlock(&disk->mutex);
}

bool simdisk_fault_waits(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    bool waits = disk->fault.error != 0 && (!disk->fault.always || disk->fault.left > 1);
    pthread_mutex_unlock(&disk->mutex);
    return waits;
}

bool simdisk_struck(struct simdisk *disk, const char *suffix)
{
    pthread_mutex_lock(&disk->mutex);
    size_t len = strlen(disk->struck), n = strlen(suffix);
    bool struck = len >= n && strcmp(disk->struck + len - n, suffix) == 0;
    pthread_mutex_unlock(&disk->mutex);
    return struck;
}

void simdisk_fail_always(struct simdisk *disk, enum sim_call call, int error)
{
    pthread_mutex_lock(&disk->mutex);
    disk->fault = (struct sim_fault){.call = call, .error = error, .always = true};
    pthread_mutex_unlock(&disk->mutex);
}

void simdisk_tell_space(struct simdisk *disk, enum sim_telling telling)
{
    pthread_mutex_lock(&disk->mutex);
    disk->telling = telling;
    pthread_mutex_unlock(&disk->mutex);
}

uint64_t simdisk_calls_of(struct simdisk *disk, enum sim_call call)
{
    pthread_mutex_lock(&disk->mutex);
    uint64_t n = disk->calls[call];
    pthread_mutex_unlock(&disk->mutex);
    return n;
}

/* ---- raw access --------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct sim_name *)a)->name, ((const struct sim_name *)b)->name);
}

void simdisk_each(struct simdisk *disk, void (*emit)(void *arg, const char *name, uint64_t size), void *arg)
{
    pthread_mutex_lock(&disk->mutex);
    size_t n = disk->now.n;
    struct sim_name *names = sim_alloc(n * sizeof *names);
    uint64_t *sizes = sim_alloc(n * sizeof *sizes);
    if (n)
        memcpy(names, disk->now.names, n * sizeof *names);
    qsort(names, n, sizeof *names, compare_names);
    for (size_t i = 0; i < n; i++)
        sizes[i] = names[i].node->now.size;
    pthread_mutex_unlock(&disk->mutex);
    for (size_t i = 0; i < n; i++)
        emit(arg, names[i].name, sizes[i]);
    free(names);
    free(sizes);
}

int simdisk_get(struct simdisk *disk, const char *name, uint8_t **ret_data, size_t *ret_size)
{
    pthread_mutex_lock(&disk->mutex);
    struct sim_name *found = sim_name_find(&disk->now, name);
    if (found) {
        const struct sim_buf *now = &found->node->now;
        *ret_data = sim_alloc(now->size);
        sim_buf_read(now, *ret_data, now->size, 0);
        *ret_size = now->size;
    }
    pthread_mutex_unlock(&disk->mutex);
    return found ? 0 : -ENOENT;
}

void simdisk_put(struct simdisk *disk, const char *name, const void *data, size_t size)
{
    pthread_mutex_lock(&disk->mutex);
    const struct sim_name *before = sim_name_find(&disk->now, name);
    struct sim_node *node = sim_node_new(disk);
    if (before) {
        node->written_at = before->node->written_at;
        node->self = before->node->self;
    }
    sim_buf_write(&node->now, data, size, 0);
    sim_buf_write(&node->durable, data, size, 0);
    sim_name_set(&disk->now, name, node);
    sim_name_set(&disk->durable, name, node);
    sim_collect_nodes(disk);
    pthread_mutex_unlock(&disk->mutex);
}

void simdisk_copied(struct simdisk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    for (struct sim_node *node = disk->nodes; node; node = node->next)
        node->self = sim_new_self();
    pthread_mutex_unlock(&disk->mutex);
}

static void flip_locked(struct sim_node *node, uint64_t offset, uint8_t mask)
{
    sim_buf_flip(&node->now, offset, mask);
    sim_buf_flip(&node->durable, offset, mask);
    for (struct sim_write *write = node->writes; write; write = write->next)
        if (write->kind == SIM_WRITE && offset >= write->offset && offset - write->offset < write->size)
            write->data[offset - write->offset] ^= mask;
}

static int damage(struct simdisk *disk, const char *name, uint64_t offset, uint8_t mask, bool seen)
{
    int r = -ENOENT;
    pthread_mutex_lock(&disk->mutex);
    struct sim_name *found = sim_name_find(&disk->now, name);
    if (found) {
        struct sim_node *node = found->node;
        unsigned i = 0;
        r = offset < node->now.size ? 0 : -ERANGE;
        while (!r && !seen && i < SIM_ROTS_MAX && node->rots[i].mask)
            i++;
        if (!r && i == SIM_ROTS_MAX)
            r = -ENOSPC;
        if (!r && seen)
            flip_locked(node, offset, mask);
        else if (!r)
            node->rots[i] = (struct sim_rot){offset, mask};
    }
    pthread_mutex_unlock(&disk->mutex);
    return r;
}

int simdisk_flip(struct simdisk *disk, const char *name, uint64_t offset, uint8_t mask)
{
    return damage(disk, name, offset, mask, true);
}

int simdisk_rot(struct simdisk *disk, const char *name, uint64_t offset, uint8_t mask)
{
    return damage(disk, name, offset, mask, false);
}

void sim_rot_read(const struct sim_node *node, uint8_t *data, uint64_t size, uint64_t offset)
{
    for (unsigned i = 0; i < SIM_ROTS_MAX; i++) {
        const struct sim_rot *rot = &node->rots[i];
        if (rot->mask && rot->offset >= offset && rot->offset - offset < size)
            data[rot->offset - offset] ^= rot->mask;
    }
}

int simdisk_spoil(struct simdisk *disk, const char *name, uint64_t from, uint64_t to)
{
    pthread_mutex_lock(&disk->mutex);
    const struct sim_name *entry = sim_name_find(&disk->now, name);
    if (entry) {
        entry->node->bad_from = from;
        entry->node->bad_to = to;
    }
    pthread_mutex_unlock(&disk->mutex);
    return entry ? 0 : -ENOENT;
}

ssize_t sim_readable(const struct sim_node *node, size_t size, uint64_t offset)
{
    if (offset >= node->bad_to || offset + size <= node->bad_from)
        return (ssize_t)size;
    return offset >= node->bad_from ? -EIO : (ssize_t)(node->bad_from - offset);
}

static bool is_bad_block(const struct sim_node *node, uint64_t at)
{
    return at < node->now.size && at < node->bad_to && at + SIM_BLOCK > node->bad_from;
}

ssize_t sim_writable(const struct sim_node *node, uint64_t size, uint64_t offset)
{
    uint64_t end = offset + size, last = end / SIM_BLOCK * SIM_BLOCK;
    if (offset % SIM_BLOCK && is_bad_block(node, offset / SIM_BLOCK * SIM_BLOCK))
        return -EIO;
    if (end % SIM_BLOCK == 0 || !is_bad_block(node, last))
        return (ssize_t)size;
    return last > offset ? (ssize_t)(last - offset) : -EIO;
}

void sim_rot_overwrite(struct sim_node *node, uint64_t size, uint64_t offset)
{
    for (unsigned i = 0; i < SIM_ROTS_MAX; i++)
        if (node->rots[i].offset >= offset && node->rots[i].offset - offset < size)
            node->rots[i].mask = 0;
    if (offset <= node->bad_from && offset + size >= node->bad_to) /* the disk puts another in its place */
        node->bad_to = 0;
}

void sim_rot_show(struct sim_node *node)
{
    for (unsigned i = 0; i < SIM_ROTS_MAX; i++) {
        if (node->rots[i].mask)
            flip_locked(node, node->rots[i].offset, node->rots[i].mask);
        node->rots[i].mask = 0;
    }
}

int simdisk_remove(struct simdisk *disk, const char *name)
{
    pthread_mutex_lock(&disk->mutex);
    bool found = sim_name_find(&disk->now, name) != NULL;
    if (found) {
        sim_name_remove(&disk->now, name);
        sim_name_remove(&disk->durable, name);
        sim_collect_nodes(disk);
    }
    pthread_mutex_unlock(&disk->mutex);
    return found ? 0 : -ENOENT;
}
