/*
 * revived.c - see revived.h. */
#include "revived.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "persons.h"

/* Of REVIVED_MAX the last only for trusted callers, and so many for one person who is not (persons.h). */
enum { KEPT = 1024, OF_ONE = 512 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Protected by lock, in no order; `n` is read without it as well: relaxed, it only grows from 0 before the
 * first entry of such a folder is answered. */
static struct revived {
    uint64_t ino, generation;
    uid_t person; /* who had it come back; TRUSTED */
} all[REVIVED_MAX];
static _Atomic unsigned n;
#define TRUSTED ((uid_t)-1)

static struct revived *find_locked(uint64_t ino)
{
    for (unsigned i = 0; i < n; i++)
        if (all[i].ino == ino)
            return &all[i];
    return NULL;
}

uint64_t revived_generation(uint64_t ino)
{
    if (atomic_load_explicit(&n, memory_order_relaxed) == 0)
        return 0;
    (void)pthread_mutex_lock(&lock);
    const struct revived *revived = find_locked(ino);
    const uint64_t generation = revived ? revived->generation : 0;
    (void)pthread_mutex_unlock(&lock);
    return generation;
}

/* Which one may give way to one more of that person: of all, or of his own if he has as many as he may. */
enum way { WAY_FREE, WAY_OF_ALL, WAY_OF_HIS };

static enum way way_locked(uid_t person)
{
    unsigned his = 0, strangers = 0;
    for (unsigned i = 0; i < n; i++) {
        his += all[i].person == person;
        strangers += all[i].person != TRUSTED;
    }
    if (person != TRUSTED && his >= OF_ONE)
        return WAY_OF_HIS;
    return n == REVIVED_MAX || (person != TRUSTED && strangers >= REVIVED_MAX - KEPT) ? WAY_OF_ALL : WAY_FREE;
}

/* One that the kernel has forgotten needs no generation any more. Trusted callers' stay with them, if it is
 * for another. */
static uint64_t find_forgotten(struct eng *eng, uid_t person, enum way way)
{
    for (unsigned i = 0; i < REVIVED_MAX; i++) {
        (void)pthread_mutex_lock(&lock);
        const bool may = i < n && (all[i].person == person ||
                                   (way == WAY_OF_ALL && (person == TRUSTED || all[i].person != TRUSTED)));
        const uint64_t ino = may ? all[i].ino : 0;
        (void)pthread_mutex_unlock(&lock);
        if (ino && !eng_is_referenced(eng, ino))
            return ino;
    }
    return 0;
}

/* *is_full: there was no room for an earlier one, and so it is not looked for again. */
static void note_one(struct eng *eng, uint64_t ino, uid_t person, bool *is_full)
{
    if (!eng_is_referenced(eng, ino))
        return;
    (void)pthread_mutex_lock(&lock);
    struct revived *revived = find_locked(ino);
    const enum way way = revived || *is_full ? WAY_FREE : way_locked(person);
    (void)pthread_mutex_unlock(&lock);
    const uint64_t forgotten = way != WAY_FREE ? find_forgotten(eng, person, way) : 0;
    *is_full = *is_full || (way != WAY_FREE && !forgotten);
    (void)pthread_mutex_lock(&lock);
    revived = find_locked(ino);
    if (!revived && forgotten && (revived = find_locked(forgotten)))
        *revived = (struct revived){ino, 0, person};
    if (!revived && !*is_full && n < REVIVED_MAX) {
        revived = &all[n];
        *revived = (struct revived){ino, 0, person};
        atomic_fetch_add(&n, 1);
    }
    if (revived)
        revived->generation++;
    (void)pthread_mutex_unlock(&lock);
}

struct folders {
    uint64_t *inos;
    size_t n, cap;
};

static void push(struct folders *folders, uint64_t ino)
{
    if (folders->n == folders->cap) {
        const size_t cap = folders->cap ? 2 * folders->cap : 64;
        uint64_t *inos = reallocarray(folders->inos, cap, sizeof *inos);
        if (!inos) /* then it stays as it is */
            return;
        folders->inos = inos;
        folders->cap = cap;
    }
    folders->inos[folders->n++] = ino;
}

struct below {
    struct folders folders, linked;
};

/* Under the engine's shared lock: copies, and nothing else. */
static int emit(void *arg, const struct eng_dirent *entry)
{
    struct below *below = arg;
    if (S_ISDIR(entry->attr.mode) && entry->cookie > 2) /* `.`, `..` */
        push(&below->folders, entry->attr.ino);
    if (!S_ISDIR(entry->attr.mode) && entry->attr.nlink > 1)
        push(&below->linked, entry->attr.ino);
    return 0;
}

void revived_note(struct eng *eng, uint64_t ino, uid_t uid, bool trusted,
                  void (*linked)(void *arg, uint64_t ino), void *arg)
{
    const uid_t person = trusted ? TRUSTED : person_of(uid);
    bool is_full = false;
    struct below below = {.folders.n = 0};
    push(&below.folders, ino);
    while (below.folders.n > 0) {
        const uint64_t folder = below.folders.inos[--below.folders.n];
        note_one(eng, folder, person, &is_full);
        (void)eng_readdir(eng, NULL, folder, 0, emit, &below);
    }
    while (below.linked.n > 0)
        linked(arg, below.linked.inos[--below.linked.n]);
    free(below.folders.inos);
    free(below.linked.inos);
}
