/*
 * revived.c - see revived.h. */
#include "revived.h"

#include <stdatomic.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Protected by lock, in no order; `n` is read without it as well: relaxed, it only grows from 0 before the
 * first entry of such a folder is answered. */
static struct revived {
    uint64_t ino, generation;
} all[REVIVED_MAX];
static _Atomic unsigned n;

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

/* One that the kernel has forgotten needs no generation any more. */
static uint64_t find_forgotten(struct eng *eng)
{
    for (unsigned i = 0; i < REVIVED_MAX; i++) {
        (void)pthread_mutex_lock(&lock);
        const uint64_t ino = i < n ? all[i].ino : 0;
        (void)pthread_mutex_unlock(&lock);
        if (ino && !eng_is_referenced(eng, ino))
            return ino;
    }
    return 0;
}

static void note_one(struct eng *eng, uint64_t ino)
{
    if (!eng_is_referenced(eng, ino))
        return;
    const uint64_t forgotten = atomic_load(&n) == REVIVED_MAX ? find_forgotten(eng) : 0;
    (void)pthread_mutex_lock(&lock);
    struct revived *revived = find_locked(ino);
    if (!revived && n == REVIVED_MAX && forgotten && (revived = find_locked(forgotten)))
        *revived = (struct revived){ino, 0};
    if (!revived && n < REVIVED_MAX) {
        revived = &all[n];
        *revived = (struct revived){ino, 0};
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

/* Under the engine's shared lock: copies, and nothing else. */
static int emit(void *arg, const struct eng_dirent *entry)
{
    if (S_ISDIR(entry->attr.mode) && entry->cookie > 2) /* `.`, `..` */
        push(arg, entry->attr.ino);
    return 0;
}

void revived_note(struct eng *eng, uint64_t ino)
{
    struct folders folders = {.n = 0};
    push(&folders, ino);
    while (folders.n > 0) {
        const uint64_t folder = folders.inos[--folders.n];
        note_one(eng, folder);
        (void)eng_readdir(eng, NULL, folder, 0, emit, &folders);
    }
    free(folders.inos);
}
