/*
 * damage.c - see damage.h. */
#include "core/damage.h"

#include "core/eng.h"
#include "index/past.h"

#include <stdio.h>

#define DAMAGE_MAX 10000u
#define DAMAGE_LOGGED 20u
#define PAST_SUFFIX_MAX 22u /* "@", a batch and NUL */

struct damage_list {
    pthread_mutex_t lock;
    struct damage *all; /* protected by lock */
    size_t n, cap;      /* protected by lock */
};

int damage_new(struct eng *eng)
{
    eng->damage = calloc(1, sizeof *eng->damage);
    if (!eng->damage)
        return -ENOMEM;
    pthread_mutex_init(&eng->damage->lock, NULL);
    return 0;
}

void damage_free(struct eng *eng)
{
    if (!eng->damage)
        return;
    pthread_mutex_destroy(&eng->damage->lock);
    free(eng->damage->all);
    free(eng->damage);
    eng->damage = NULL;
}

/* Reports the first ones by name; later (a disk is gone) only each time the number has doubled. */
static void report_damage(struct eng *eng, const struct eng_damage *d, uint64_t n)
{
    if (n <= DAMAGE_LOGGED)
        report_line(
            &eng->report, ENG_LOG_ERROR,
            "damaged content of %s (inode %llu): segment %llu, offset %llu: %s; restore it from a copy",
            d->path[0] ? d->path : "?", (unsigned long long)d->ino, (unsigned long long)d->segment,
            (unsigned long long)d->offset, d->reason);
    else if ((n & (n - 1)) == 0)
        report_line(&eng->report, ENG_LOG_ERROR,
                    "%llu damaged extents: .engram/damaged lists them, the log no more",
                    (unsigned long long)n);
}

/* Adds damage to the list. False: the list has it already. */
static bool add(struct damage_list *list, const struct damage *d)
{
    bool known = false;
    pthread_mutex_lock(&list->lock);
    for (size_t i = 0; i < list->n && !known; i++) {
        struct damage *old = &list->all[i];
        known = old->told.ino == d->told.ino && old->ino == d->ino && old->told.segment == d->told.segment &&
                old->told.offset == d->told.offset &&
                (old->told.ino || strcmp(old->told.path, d->told.path) == 0);
        if (known) { /* the same extent, but a memory may name another range of it now */
            old->off = d->off;
            old->loc = d->loc;
        }
    }
    if (!known && list->n < DAMAGE_MAX &&
        array_grow(&list->all, &list->cap, list->n + 1, sizeof *list->all) == 0)
        list->all[list->n++] = *d;
    pthread_mutex_unlock(&list->lock);
    return !known;
}

/* Of which memory it is, and of a past state the batch from which on that was so. */
static void tell_whose(const struct index *idx, struct damage *d)
{
    char *path = d->told.path;
    const struct inode_rec *inode = past_or_inode(idx, d->ino);
    uint64_t owner = inode ? past_owner(idx, inode, ino_slot(d->ino)) : 0;
    if (!owner)
        return;
    bool is_past = inode->flags & INODE_PAST;
    d->told.ino = owner;
    size_t n = index_path(idx, ino_slot(owner), path, sizeof d->told.path - (is_past ? PAST_SUFFIX_MAX : 1));
    path[n] = 0;
    if (is_past)
        snprintf(path + n, PAST_SUFFIX_MAX, "@%llu",
                 (unsigned long long)(past_begin(inode) ? past_begin(inode) : past_end(inode) - 1));
}

void damage_record(struct eng *eng, uint64_t ino, uint64_t off, const struct locator *loc, const char *reason)
{
    struct damage d = {.told = {.ino = ino, .segment = loc->seg, .offset = locator_offset(loc)},
                       .ino = ino,
                       .off = off,
                       .loc = *loc};
    snprintf(d.told.reason, sizeof d.told.reason, "%s", reason);
    pthread_rwlock_rdlock(&eng->index_lock);
    tell_whose(&eng->idx, &d);
    pthread_rwlock_unlock(&eng->index_lock);
    if (add(eng->damage, &d))
        report_damage(eng, &d.told, 1 + atomic_fetch_add(&eng->counters.damaged, 1));
}

void damage_record_file(struct eng *eng, const char *name, uint64_t offset, const char *reason)
{
    struct damage d = {.told = {.offset = offset}};
    snprintf(d.told.path, sizeof d.told.path, "%s", name);
    snprintf(d.told.reason, sizeof d.told.reason, "%s", reason);
    (void)add(eng->damage, &d);
}

void damage_forget_files(struct eng *eng)
{
    struct damage_list *list = eng->damage;
    size_t n = 0;
    pthread_mutex_lock(&list->lock);
    for (size_t i = 0; i < list->n; i++)
        if (list->all[i].told.ino)
            list->all[n++] = list->all[i];
    list->n = n;
    pthread_mutex_unlock(&list->lock);
}

int damage_copy(struct eng *eng, struct damage **ret_damage, size_t *ret_n)
{
    struct damage_list *list = eng->damage;
    pthread_mutex_lock(&list->lock);
    size_t n = list->n;
    struct damage *copy = malloc((n + 1) * sizeof *copy);
    if (copy && n)
        memcpy(copy, list->all, n * sizeof *copy);
    pthread_mutex_unlock(&list->lock);
    if (!copy)
        return -ENOMEM;
    *ret_damage = copy;
    *ret_n = n;
    return 0;
}

const char *damage_reason(int error)
{
    if (error == -EIO)
        return "read error";
    return error == -ENOENT ? "segment is missing" : "checksum mismatch";
}
