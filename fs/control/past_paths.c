/*
 * past_paths.c - see past_paths.h. */
#include "control/past_paths.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine.h"
#include "persons.h"

enum { BUCKETS = 16384, NUMBER_AT = 5 };
/* Beside what a node itself has: what malloc(3) takes for one. */
enum { MALLOC_BYTES = 16 };
/* With more in use the kernel is asked to give up some. */
#define MANY (CTL_PATHS_BYTES / 4 * 3)
#define MANY_OF_ONE (CTL_PATHS_OF_ONE / 4 * 3)

struct person {
    struct person *next; /* protected by lock, as all that follows */
    uid_t uid;
    size_t bytes;
};

struct ctl_path {
    struct ctl_path *next_of_id, *next_of_what; /* protected by lock */
    struct person *person;                      /* NULL: a trusted caller's; immutable, as all that follows */
    uint64_t id;
    uid_t uid;
    uint64_t state;
    struct ctl_paths_what what;
    size_t bytes; /* that count; protected by lock, as all that follows */
    uint64_t seen_at;
    struct ctl_way way; /* who was let pass last; batch 0: nobody */
    uint64_t lookups;   /* what the kernel has */
    unsigned users;     /* requests */
    char path[];
};

struct ctl_paths {
    uint64_t seed; /* immutable */
    pthread_mutex_t lock;
    /* Protected by lock: */
    size_t bytes;
    unsigned many; /* persons with more than MANY_OF_ONE */
    uint64_t serial;
    uint64_t position; /* ctl_paths_time() was of it, */
    int64_t time;      /* and told that */
    struct person *persons;
    struct ctl_path *by_id[BUCKETS], *by_what[BUCKETS];
};

struct ctl_paths *ctl_paths_new(uint64_t seed)
{
    struct ctl_paths *paths = calloc(1, sizeof *paths);
    if (!paths)
        return NULL;
    paths->seed = seed;
    (void)pthread_mutex_init(&paths->lock, NULL);
    return paths;
}

void ctl_paths_free(struct ctl_paths *paths)
{
    if (!paths)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct ctl_path *p = paths->by_id[i], *next; p; p = next) {
            next = p->next_of_id;
            free(p);
        }
    for (struct person *p = paths->persons, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    (void)pthread_mutex_destroy(&paths->lock);
    free(paths);
}

/* ---- who has how much ------------------------------------------------------ */

static void take_locked(struct ctl_paths *paths, struct person *person, size_t bytes)
{
    paths->bytes += bytes;
    if (!person)
        return;
    paths->many += person->bytes <= MANY_OF_ONE && person->bytes + bytes > MANY_OF_ONE;
    person->bytes += bytes;
}

static void give_back_locked(struct ctl_paths *paths, struct person *person, size_t bytes)
{
    paths->bytes -= bytes;
    if (!person)
        return;
    paths->many -= person->bytes > MANY_OF_ONE && person->bytes - bytes <= MANY_OF_ONE;
    person->bytes -= bytes;
    if (person->bytes > 0)
        return;
    struct person **at = &paths->persons;
    while (*at != person)
        at = &(*at)->next;
    *at = person->next;
    free(person);
}

/* Who is not trusted, with room for so many bytes more; `spare` becomes a new one. NULL: there is no room. */
static struct person *person_locked(struct ctl_paths *paths, uid_t uid, size_t bytes, struct person **spare)
{
    struct person *person = paths->persons;
    while (person && person->uid != uid)
        person = person->next;
    if (paths->bytes + bytes > CTL_PATHS_BYTES - CTL_PATHS_KEPT ||
        (person ? person->bytes : 0) + bytes > CTL_PATHS_OF_ONE)
        return NULL;
    if (!person) {
        person = *spare;
        *spare = NULL;
        *person = (struct person){.next = paths->persons, .uid = uid};
        paths->persons = person;
    }
    return person;
}

/* ---- nodes ------------------------------------------------------------------ */

static size_t bucket_of_id(uint64_t id)
{
    return (id >> NUMBER_AT) % BUCKETS;
}

static size_t bucket_of_what(const struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid)
{
    const uint64_t of[] = {what->ino, what->number, what->folder, (uint64_t)what->kind * 2 + what->shut, uid};
    uint64_t h = eng_keyed_hash(paths->seed, of, sizeof of);
    return eng_keyed_hash(h, what->path, what->path_len) % BUCKETS;
}

static bool is_same(const struct ctl_path *path, const struct ctl_paths_what *b, uid_t uid)
{
    const struct ctl_paths_what *a = &path->what;
    return path->uid == uid && a->kind == b->kind && a->shut == b->shut && a->ino == b->ino &&
           a->number == b->number && a->folder == b->folder && a->path_len == b->path_len &&
           memcmp(a->path, b->path, a->path_len) == 0;
}

static struct ctl_path *find_locked(struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid)
{
    struct ctl_path *p = paths->by_what[bucket_of_what(paths, what, uid)];
    while (p && !is_same(p, what, uid))
        p = p->next_of_what;
    return p;
}

static struct ctl_path *find_id_locked(struct ctl_paths *paths, uint64_t id)
{
    struct ctl_path *p = paths->by_id[bucket_of_id(id)];
    while (p && p->id != id)
        p = p->next_of_id;
    return p;
}

static void drop_if_unused_locked(struct ctl_paths *paths, struct ctl_path *path)
{
    if (path->lookups || path->users)
        return;
    struct ctl_path **at = &paths->by_id[bucket_of_id(path->id)];
    while (*at != path)
        at = &(*at)->next_of_id;
    *at = path->next_of_id;
    at = &paths->by_what[bucket_of_what(paths, &path->what, path->uid)];
    while (*at != path)
        at = &(*at)->next_of_what;
    *at = path->next_of_what;
    give_back_locked(paths, path->person, path->bytes);
    free(path);
}

static struct ctl_path *node_new(const struct ctl_paths_what *what, uid_t uid, uint64_t state)
{
    struct ctl_path *path = calloc(1, sizeof *path + what->path_len + 1);
    if (!path)
        return NULL;
    if (what->path_len)
        memcpy(path->path, what->path, what->path_len);
    path->what = *what;
    path->what.path = path->path;
    path->uid = uid;
    path->state = state;
    path->bytes = sizeof *path + what->path_len + 1 + MALLOC_BYTES;
    return path;
}

/* A node that is new. False: there is no room for it. */
static bool add_locked(struct ctl_paths *paths, struct ctl_path *path, uid_t person, bool trusted,
                       struct person **spare)
{
    if (trusted && paths->bytes + path->bytes > CTL_PATHS_BYTES)
        return false;
    if (!trusted && !(path->person = person_locked(paths, person, path->bytes, spare)))
        return false;
    path->id = CTL_PATHS_BITS | ++paths->serial << NUMBER_AT | (uint64_t)path->what.kind << 2 |
               (uint64_t)(path->uid == 0) << 1 | path->what.shut;
    struct ctl_path **at = &paths->by_id[bucket_of_id(path->id)];
    path->next_of_id = *at;
    *at = path;
    at = &paths->by_what[bucket_of_what(paths, &path->what, path->uid)];
    path->next_of_what = *at;
    *at = path;
    take_locked(paths, path->person, path->bytes);
    return true;
}

int ctl_paths_ref(struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid, bool trusted,
                  uint64_t seen_at, uint64_t state, uint64_t *ret_nodeid)
{
    const uid_t person = trusted ? uid : person_of(uid);
    struct ctl_path *made = node_new(what, uid, state);
    struct person *spare = malloc(sizeof *spare);
    int r = made && spare ? 0 : -ENOMEM;
    (void)pthread_mutex_lock(&paths->lock);
    struct ctl_path *path = r ? NULL : find_locked(paths, what, uid);
    if (!r && !path && add_locked(paths, made, person, trusted, &spare)) {
        path = made;
        made = NULL;
    }
    if (path) {
        path->lookups++;
        path->seen_at = seen_at;
        *ret_nodeid = path->id;
    } else if (!r) {
        r = -ENFILE;
    }
    (void)pthread_mutex_unlock(&paths->lock);
    free(made);
    free(spare);
    return r;
}

void ctl_paths_forget(struct ctl_paths *paths, uint64_t nodeid, uint64_t n)
{
    (void)pthread_mutex_lock(&paths->lock);
    struct ctl_path *path = find_id_locked(paths, nodeid);
    if (path) {
        path->lookups -= n < path->lookups ? n : path->lookups;
        drop_if_unused_locked(paths, path);
    }
    (void)pthread_mutex_unlock(&paths->lock);
}

void ctl_paths_moved(struct ctl_paths *paths, const struct ctl_paths_what *what, uid_t uid)
{
    struct ctl_paths_what either = *what;
    (void)pthread_mutex_lock(&paths->lock);
    for (int shut = 0; shut < 2; shut++) {
        either.shut = shut;
        struct ctl_path *path = find_locked(paths, &either, uid);
        if (!path || path->person)
            continue;
        give_back_locked(paths, NULL, path->bytes);
        path->bytes = 0;
    }
    (void)pthread_mutex_unlock(&paths->lock);
}

struct ctl_path *ctl_paths_get(struct ctl_paths *paths, uint64_t nodeid)
{
    (void)pthread_mutex_lock(&paths->lock);
    struct ctl_path *path = find_id_locked(paths, nodeid);
    if (path)
        path->users++;
    (void)pthread_mutex_unlock(&paths->lock);
    return path;
}

void ctl_paths_put(struct ctl_paths *paths, struct ctl_path *path)
{
    (void)pthread_mutex_lock(&paths->lock);
    path->users--;
    drop_if_unused_locked(paths, path);
    (void)pthread_mutex_unlock(&paths->lock);
}

const struct ctl_paths_what *ctl_path_what(const struct ctl_path *path)
{
    return &path->what;
}

uint64_t ctl_path_state(const struct ctl_path *path)
{
    return path->state;
}

uid_t ctl_path_uid(const struct ctl_path *path)
{
    return path->uid;
}

uint64_t ctl_path_seen_at(struct ctl_paths *paths, const struct ctl_path *path)
{
    (void)pthread_mutex_lock(&paths->lock);
    uint64_t seen_at = path->seen_at;
    (void)pthread_mutex_unlock(&paths->lock);
    return seen_at;
}

bool ctl_path_is_open(struct ctl_paths *paths, const struct ctl_path *path, const struct ctl_way *way)
{
    (void)pthread_mutex_lock(&paths->lock);
    const struct ctl_way *last = &path->way;
    bool is = last->batch && last->batch == way->batch && last->position == way->position &&
              last->pid == way->pid && last->uid == way->uid && last->gid == way->gid;
    (void)pthread_mutex_unlock(&paths->lock);
    return is;
}

void ctl_path_opened(struct ctl_paths *paths, struct ctl_path *path, const struct ctl_way *way)
{
    (void)pthread_mutex_lock(&paths->lock);
    path->way = *way;
    (void)pthread_mutex_unlock(&paths->lock);
}

bool ctl_paths_wants_back(struct ctl_paths *paths)
{
    (void)pthread_mutex_lock(&paths->lock);
    bool wanted = paths->bytes > MANY || paths->many > 0;
    (void)pthread_mutex_unlock(&paths->lock);
    return wanted;
}

size_t ctl_paths_used(struct ctl_paths *paths)
{
    (void)pthread_mutex_lock(&paths->lock);
    size_t bytes = paths->bytes;
    (void)pthread_mutex_unlock(&paths->lock);
    return bytes;
}

int64_t ctl_paths_time(struct ctl_paths *paths, uint64_t position)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    const int64_t now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    (void)pthread_mutex_lock(&paths->lock);
    if (position != paths->position || !paths->time) {
        paths->position = position;
        paths->time = now > paths->time ? now : paths->time + 1;
    }
    int64_t time = paths->time;
    (void)pthread_mutex_unlock(&paths->lock);
    return time;
}
