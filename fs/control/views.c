/*
 * views.c - see views.h.
 *
 * A place counts the kernel's nodes and the requests that read it; so does the place of a caller. Callers are
 * shared by all views: the first is root. */
#include "control/views.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "persons.h"

enum { SLOT_BITS = 32, REUSE_BITS = 7, CALLER_BITS = 9, PLACE_BITS = 12 };
enum { REUSE_AT = SLOT_BITS, CALLER_AT = REUSE_AT + REUSE_BITS, PLACE_AT = CALLER_AT + CALLER_BITS };
_Static_assert(VIEWS_PLACES == 1 << PLACE_BITS && VIEWS_CALLERS == 1 << CALLER_BITS, "a nodeid has them all");
enum { SHUT_AT = PLACE_AT + PLACE_BITS };
_Static_assert(SHUT_AT < 61, "and is one of a view");

/* So many places of each kind only trusted callers get. */
enum { PLACES_KEPT = 128, CALLERS_KEPT = 32 };
/* At so many views, and as so many users, one person may look who is not trusted (persons.h). */
enum { PLACES_OF_ONE = VIEWS_PLACES / 4, CALLERS_OF_ONE = VIEWS_CALLERS / 4 };
/* ctl_views_refused() */
#define REFUSED_NS INT64_C(10000000000)
/* With more in use the kernel is asked to give up some. */
enum {
    PLACES_MANY = VIEWS_PLACES / 4 * 3,
    CALLERS_MANY = VIEWS_CALLERS / 4 * 3,
    TIMES_MANY = VIEWS_OF_TIMES / 4 * 3
};

struct place {
    struct eng_view *view; /* NULL: free. Owned */
    struct ctl_views_what what;
    uint64_t batch;
    uint64_t lookups; /* what the kernel has */
    unsigned users;   /* requests */
    bool dropped;     /* there is no such snapshot any more */
    bool is_strangers;
    uid_t person;       /* who was the first to look, if he is not trusted */
    pid_t refused;      /* the last process that tried to remove something in it, */
    int64_t refused_ns; /* and when */
};

struct caller {
    uid_t uid, person;
    uint64_t lookups; /* in all views */
    unsigned users;
};

struct ctl_views {
    struct eng *eng; /* immutable */
    pthread_mutex_t lock;
    /* Protected by lock: */
    unsigned used, dropped; /* dropped: of those in use */
    unsigned of_times;      /* the same */
    unsigned end;           /* no place behind it is in use */
    struct place places[VIEWS_PLACES];
    struct caller callers[VIEWS_CALLERS]; /* the first is root's */
};

static uint32_t bits_of(uint64_t nodeid, unsigned at, unsigned n)
{
    return (uint32_t)(nodeid >> at & ((UINT64_C(1) << n) - 1));
}

uint64_t ctl_views_nodeid(const struct ctl_views_node *node)
{
    return VIEWS_NODE_BITS | (uint64_t)node->shut << SHUT_AT | (uint64_t)node->place << PLACE_AT |
           (uint64_t)node->caller << CALLER_AT | (uint64_t)node->reuse << REUSE_AT | node->slot;
}

struct ctl_views_node ctl_views_node(uint64_t nodeid)
{
    return (struct ctl_views_node){.place = bits_of(nodeid, PLACE_AT, PLACE_BITS),
                                   .caller = bits_of(nodeid, CALLER_AT, CALLER_BITS),
                                   .reuse = bits_of(nodeid, REUSE_AT, REUSE_BITS),
                                   .slot = (uint32_t)nodeid,
                                   .shut = bits_of(nodeid, SHUT_AT, 1) != 0};
}

struct ctl_views *ctl_views_new(struct eng *eng)
{
    struct ctl_views *views = calloc(1, sizeof *views);
    if (!views)
        return NULL;
    views->eng = eng;
    (void)pthread_mutex_init(&views->lock, NULL);
    return views;
}

void ctl_views_free(struct ctl_views *views)
{
    if (!views)
        return;
    for (unsigned i = 0; i < VIEWS_PLACES; i++)
        eng_view_close(views->places[i].view);
    (void)pthread_mutex_destroy(&views->lock);
    free(views);
}

/* ---- places --------------------------------------------------------------- */

static bool is_same(const struct ctl_views_what *a, const struct ctl_views_what *b)
{
    return a->is_at == b->is_at && a->is_batch == b->is_batch && a->key == b->key;
}

static struct place *find_locked(struct ctl_views *views, const struct ctl_views_what *what)
{
    for (unsigned i = 0; i < views->end; i++)
        if (views->places[i].view && is_same(&views->places[i].what, what))
            return &views->places[i];
    return NULL;
}

/* How many places that person was the first to look at. */
static unsigned count_places_locked(const struct ctl_views *views, uid_t person)
{
    unsigned n = 0;
    for (unsigned i = 0; i < views->end; i++)
        n += views->places[i].view && views->places[i].is_strangers && views->places[i].person == person;
    return n;
}

/* A free one for an open view; `place` as it is to be. */
static struct place *add_locked(struct ctl_views *views, const struct place *place)
{
    if (views->used >= VIEWS_PLACES - (place->is_strangers ? PLACES_KEPT : 0))
        return NULL;
    if (place->is_strangers && count_places_locked(views, place->person) >= PLACES_OF_ONE)
        return NULL;
    if (place->what.is_at && place->is_strangers && views->of_times >= VIEWS_OF_TIMES)
        return NULL;
    struct place *to = views->places;
    while (to->view)
        to++;
    *to = *place;
    views->used++;
    views->of_times += place->what.is_at;
    if (to == &views->places[views->end])
        views->end++;
    return to;
}

/* The view to be closed when the lock is given back, or NULL. */
static struct eng_view *drop_if_unused_locked(struct ctl_views *views, struct place *place)
{
    struct eng_view *view = place->view;
    if (place->lookups || place->users)
        return NULL;
    place->view = NULL;
    views->used--;
    views->dropped -= place->dropped;
    views->of_times -= place->what.is_at;
    while (views->end > 0 && !views->places[views->end - 1].view)
        views->end--;
    return view;
}

/* Who asks. */
struct looker {
    uid_t uid, person;
    bool trusted;
};

/* Under no lock. */
static struct looker looker_of(uid_t uid, bool trusted)
{
    return (struct looker){uid, trusted || uid == 0 ? uid : person_of(uid), trusted};
}

static bool is_used(const struct caller *caller)
{
    return caller->lookups || caller->users;
}

/* As how many users there are: that person, or with NULL all. */
static unsigned count_callers_locked(const struct ctl_views *views, const uid_t *person)
{
    unsigned n = 0;
    for (unsigned i = 0; i < VIEWS_CALLERS; i++)
        n += is_used(&views->callers[i]) && (!person || views->callers[i].person == *person);
    return n;
}

/* A free place for another user. -ENFILE. */
static int caller_add_locked(struct ctl_views *views, const struct looker *who, uint32_t *ret_caller)
{
    uint32_t at = who->uid == 0 ? 0 : 1;
    const uint32_t most = VIEWS_CALLERS - (who->trusted ? 0 : CALLERS_KEPT);
    while (at < most && is_used(&views->callers[at]))
        at++;
    if (at >= most || (!who->trusted && count_callers_locked(views, &who->person) >= CALLERS_OF_ONE))
        return -ENFILE;
    views->callers[at].uid = who->uid;
    views->callers[at].person = who->person;
    *ret_caller = at;
    return 0;
}

/* -ENFILE */
static int caller_take_locked(struct ctl_views *views, const struct looker *who, uint32_t *ret_caller)
{
    uint32_t at = who->uid == 0 ? 0 : 1;
    while (at < VIEWS_CALLERS && !(is_used(&views->callers[at]) && views->callers[at].uid == who->uid))
        at++;
    int r = at < VIEWS_CALLERS ? 0 : caller_add_locked(views, who, &at);
    if (r)
        return r;
    views->callers[at].users++;
    *ret_caller = at;
    return 0;
}

static int take_locked(struct ctl_views *views, struct place *place, const struct looker *who,
                       struct past *ret_past)
{
    uint32_t caller = 0;
    int r = caller_take_locked(views, who, &caller);
    if (r)
        return r;
    place->users++;
    *ret_past = (struct past){.views = views,
                              .eng = views->eng,
                              .view = place->view,
                              .what = place->what,
                              .batch = place->batch,
                              .place = (uint32_t)(place - views->places),
                              .caller = caller,
                              .kept = caller == 0};
    return 0;
}

/* A view that nobody has yet, for a place. */
static int open_view(const struct ctl_views *views, const struct ctl_views_what *what,
                     struct place *ret_place)
{
    uint64_t batch = what->key;
    struct eng_view *view = NULL;
    int r = what->is_at ? eng_past_at(views->eng, (int64_t)what->key, &batch) : 0;
    if (!r)
        r = eng_view_open(views->eng, batch, &view);
    *ret_place = (struct place){.view = view, .what = *what, .batch = batch};
    return r;
}

int ctl_views_get(struct ctl_views *views, const struct ctl_views_what *what, uid_t uid, bool trusted,
                  struct past *ret_past)
{
    struct place opened;
    const struct looker who = looker_of(uid, trusted);
    (void)pthread_mutex_lock(&views->lock);
    struct place *place = find_locked(views, what);
    int r = place ? take_locked(views, place, &who, ret_past) : 0;
    (void)pthread_mutex_unlock(&views->lock);
    if (place)
        return r;
    r = open_view(views, what, &opened);
    if (r)
        return r;
    struct eng_view *view = opened.view;
    opened.is_strangers = !trusted;
    opened.person = who.person;
    (void)pthread_mutex_lock(&views->lock);
    place = find_locked(views, what); /* meanwhile */
    if (!place && (place = add_locked(views, &opened)))
        view = NULL;
    r = place ? take_locked(views, place, &who, ret_past) : -ENFILE;
    if (place && r && !view)
        view = drop_if_unused_locked(views, place);
    (void)pthread_mutex_unlock(&views->lock);
    eng_view_close(view);
    return r;
}

int ctl_views_get_node(struct ctl_views *views, uint64_t nodeid, uid_t uid, bool trusted,
                       struct past *ret_past, uint64_t *ret_ino)
{
    const struct ctl_views_node node = ctl_views_node(nodeid);
    const struct looker who = looker_of(uid, trusted);
    uint64_t ino = 0;
    (void)pthread_mutex_lock(&views->lock);
    struct place *place = &views->places[node.place];
    int r = place->view ? take_locked(views, place, &who, ret_past) : -ESTALE;
    (void)pthread_mutex_unlock(&views->lock);
    if (r)
        return r;
    ret_past->kept = ret_past->kept && node.caller == 0;
    r = eng_view_find(ret_past->view, node.slot, &ino);
    if (!r && bits_of(ino, REUSE_AT, REUSE_BITS) != node.reuse)
        r = -ESTALE;
    if (r)
        ctl_views_put(views, ret_past);
    *ret_ino = ino;
    return r;
}

void ctl_views_put(struct ctl_views *views, const struct past *past)
{
    (void)pthread_mutex_lock(&views->lock);
    views->callers[past->caller].users--;
    views->places[past->place].users--;
    struct eng_view *view = drop_if_unused_locked(views, &views->places[past->place]);
    (void)pthread_mutex_unlock(&views->lock);
    eng_view_close(view);
}

/* ---- nodes ---------------------------------------------------------------- */

uint64_t ctl_views_nodeid_of(const struct past *past, uint64_t ino, bool shut)
{
    const struct ctl_views_node node = {.place = past->place,
                                        .caller = past->caller,
                                        .reuse = bits_of(ino, REUSE_AT, REUSE_BITS),
                                        .slot = (uint32_t)ino,
                                        .shut = shut};
    return ctl_views_nodeid(&node);
}

uint64_t ctl_views_shown_ino(const struct eng *eng, const struct ctl_views_what *what, uint64_t ino)
{
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_SAME_INO")) /* tests/mount/past.sh */
        return ino;
#endif
    const uint64_t kind = what->is_at ? UINT64_C(1) << 63 : 0; /* which no batch has */
    return VIEWS_INO_BIT | (eng_view_mark(eng, what->key | kind, ino) & (VIEWS_INO_BIT - 1));
}

void ctl_views_ref(struct ctl_views *views, const struct past *past, uint64_t n)
{
    (void)pthread_mutex_lock(&views->lock);
    views->places[past->place].lookups += n;
    views->callers[past->caller].lookups += n;
    (void)pthread_mutex_unlock(&views->lock);
}

static void take_away(uint64_t *count, uint64_t n)
{
    *count -= n < *count ? n : *count;
}

void ctl_views_forget(struct ctl_views *views, uint64_t nodeid, uint64_t n)
{
    const struct ctl_views_node node = ctl_views_node(nodeid);
    struct eng_view *view = NULL;
    (void)pthread_mutex_lock(&views->lock);
    struct place *place = &views->places[node.place];
    take_away(&views->callers[node.caller].lookups, n);
    take_away(&place->lookups, n);
    if (place->view)
        view = drop_if_unused_locked(views, place);
    (void)pthread_mutex_unlock(&views->lock);
    eng_view_close(view);
}

uid_t ctl_views_uid(struct ctl_views *views, uint32_t caller)
{
    (void)pthread_mutex_lock(&views->lock);
    uid_t uid = views->callers[caller].uid;
    (void)pthread_mutex_unlock(&views->lock);
    return uid;
}

static int64_t mono_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void ctl_views_refused(struct ctl_views *views, uint64_t nodeid, pid_t process)
{
    (void)pthread_mutex_lock(&views->lock);
    struct place *place = &views->places[ctl_views_node(nodeid).place];
    place->refused = process;
    place->refused_ns = mono_ns();
    (void)pthread_mutex_unlock(&views->lock);
}

bool ctl_views_is_refused(struct ctl_views *views, uint64_t batch, pid_t process)
{
    (void)pthread_mutex_lock(&views->lock);
    const struct place *place = find_locked(views, &(struct ctl_views_what){.key = batch});
    bool is = place && process && place->refused == process && mono_ns() - place->refused_ns < REFUSED_NS;
    (void)pthread_mutex_unlock(&views->lock);
    return is;
}

void ctl_views_dropped(struct ctl_views *views, uint64_t batch)
{
    (void)pthread_mutex_lock(&views->lock);
    struct place *place = find_locked(views, &(struct ctl_views_what){.key = batch});
    if (place && !place->dropped) {
        place->dropped = true;
        views->dropped++;
    }
    (void)pthread_mutex_unlock(&views->lock);
}

unsigned ctl_views_wants_back(struct ctl_views *views)
{
    (void)pthread_mutex_lock(&views->lock);
    const bool many = views->used > PLACES_MANY || count_callers_locked(views, NULL) > CALLERS_MANY;
    unsigned wanted = many ? CTL_VIEWS_MANY : 0;
    if (views->of_times > TIMES_MANY || (many && views->of_times > 0))
        wanted |= CTL_VIEWS_TIMES;
    if (views->dropped > 0)
        wanted |= CTL_VIEWS_DROPPED;
    (void)pthread_mutex_unlock(&views->lock);
    return wanted;
}

unsigned ctl_views_used(struct ctl_views *views)
{
    (void)pthread_mutex_lock(&views->lock);
    unsigned used = views->used;
    (void)pthread_mutex_unlock(&views->lock);
    return used;
}
