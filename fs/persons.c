/*
 * persons.c - see persons.h.
 *
 * State: /etc/subuid as it was read last, under `lock`, a leaf. */
#include "persons.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char path[] = "/etc/subuid";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Protected by lock: */
static struct persons known;
static struct stat seen; /* of the file that `known` is from */
static time_t looked;    /* CLOCK_MONOTONIC; 0: never */

static void add(struct persons *p, const struct persons_range *range)
{
    if (!range->first || !range->count || p->n == PERSONS_RANGES)
        return;
    struct persons_range *new = &p->ranges[p->n];
    *new = *range;
    new->person = range->first;
    for (size_t i = p->n; i-- > 0;)
        if (strcmp(p->ranges[i].owner, range->owner) == 0) {
            new->person = p->ranges[i].person;
            break;
        }
    p->n++;
}

void persons_parse(FILE *file, struct persons *ret_persons)
{
    char line[256];
    ret_persons->n = 0;
    while (fgets(line, sizeof line, file)) {
        struct persons_range range = {0};
        if (sscanf(line, "%63[^:\n]:%" SCNu32 ":%" SCNu32, range.owner, &range.first, &range.count) == 3)
            add(ret_persons, &range);
    }
}

uid_t persons_find(const struct persons *persons, uid_t uid)
{
    for (size_t i = 0; uid && i < persons->n; i++)
        if (uid >= persons->ranges[i].first && uid - persons->ranges[i].first < persons->ranges[i].count)
            return persons->ranges[i].person;
    return uid;
}

static void look_locked(void)
{
    struct timespec now;
    struct stat st = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    if (looked == now.tv_sec + 1)
        return;
    looked = now.tv_sec + 1;
    if (stat(path, &st) != 0)
        memset(&st, 0, sizeof st);
    if (st.st_ino == seen.st_ino && st.st_size == seen.st_size && st.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        st.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    FILE *file = st.st_ino ? fopen(path, "re") : NULL;
    known.n = 0;
    seen = st;
    if (!file)
        return;
    persons_parse(file, &known);
    (void)fclose(file);
}

uid_t person_of(uid_t uid)
{
    if (uid == 0)
        return uid;
    (void)pthread_mutex_lock(&lock);
    look_locked();
    uid_t person = persons_find(&known, uid);
    (void)pthread_mutex_unlock(&lock);
    return person;
}
