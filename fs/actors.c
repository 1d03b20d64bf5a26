/*
 * actors.c - see actors.h. */
#include "actors.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

#include "engine.h"
#include "persons.h"

/* NAMES: twice as many as are noted of all, a power of two. */
enum { NAMES_OF_ONE = 1024, NAMES_OF_ALL = 32768, NAMES = 65536, NAMED_PERSONS = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Protected by lock: */
static uint64_t names[NAMES]; /* hashes of a user and a name; 0: free */
static unsigned n_names, n_named;
static uint64_t seed; /* that nobody knows: else names could be made that all lie in one place. 0: none yet */
static struct named {
    uid_t person;
    unsigned n;
} named[NAMED_PERSONS];

static uint64_t hash_locked(uid_t uid, const char *name)
{
    if (!seed && getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = (uint64_t)(uintptr_t)&lock; /* as the process came to lie */
    return eng_keyed_hash(eng_keyed_hash(seed, &uid, sizeof uid), name, strlen(name)) | 1;
}

/* One more name of that person. False: there is no room for it. */
static bool count_locked(uid_t person)
{
    unsigned i = 0;
    while (i < n_named && named[i].person != person)
        i++;
    if (i == NAMED_PERSONS || n_names == NAMES_OF_ALL || (i < n_named && named[i].n == NAMES_OF_ONE))
        return false;
    if (i == n_named)
        named[n_named++] = (struct named){person, 0};
    named[i].n++;
    n_names++;
    return true;
}

bool actors_has_room(uid_t uid, const char *name)
{
    const uid_t person = person_of(uid);
    (void)pthread_mutex_lock(&lock);
    const uint64_t hash = hash_locked(uid, name);
    size_t at = hash % NAMES;
    while (names[at] && names[at] != hash)
        at = (at + 1) % NAMES;
    bool may = names[at] == hash || count_locked(person);
    if (may)
        names[at] = hash;
    (void)pthread_mutex_unlock(&lock);
    return may;
}
