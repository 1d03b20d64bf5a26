/*
 * seen.c - see seen.h.
 *
 * Records are of a process and an inode, or of a process and a line: then they say that it has seen some
 * inode of that line. An inode has a line only if it came to a name that had another one before: lines are
 * numbers of their own, and know the inode that they began with (`origin`), whose readers have no record of
 * the line. A record of an inode is forgotten together with those of its line, and used after them: a process
 * that is known to have seen an older inode alone would be refused what it has read. */
#include "seen.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine.h"
#include "lru.h"

#define LINE_BIT (UINT64_C(1) << 63)

static uint64_t name_seed; /* a secret: nobody can make two names that are taken for one. Set by seen_new() */

#define TAKEN_BY_UNKNOWN UINT64_MAX

enum { OPENINGS = 1024 };

struct record {
    uint64_t seen;               /* version */
    uint64_t since;              /* how many lines there were when this began */
    uint16_t n_cached, n_direct; /* descriptors that are open */
    uint16_t n_void;             /* others: of what was opened to truncate, which has not been done */
    bool is_read : 1;            /* through one that is direct, since one is */
    bool is_mapped : 1;          /* pages of it were asked for, likewise */
    bool is_at_start : 1;        /* the next read begins anew */
    bool is_created : 1;         /* by this process */
};

struct line {
    uint64_t id; /* 0: none */
    uint64_t origin;
};

struct inode {
    struct line line;
    uint64_t rewritten; /* the version since which there were appends only; 0: not known */
    uint64_t maker;     /* the process that has made it, as long as no other has seen or changed it; else 0 */
    uint64_t taker; /* the last process that took a name of it away, or tried to; TAKEN_BY_UNKNOWN; 0: none */
    /* the last, and the last before that who was another; pid 0: not known */
    struct seen_process writer, former;
};

struct seen {
    pthread_mutex_t lock;
    struct lru records, away, inodes, names; /* protected by lock, as all that follows */
    struct record *record;
    struct seen_away *taken;
    struct inode *inode;
    struct line *name;
    uint64_t lines;                         /* how many there were */
    struct seen_opening openings[OPENINGS]; /* by process and inode */
    struct seen_change *changes;
};

/* ---- tables ------------------------------------------------------------------- */

struct seen *seen_new(unsigned records)
{
    struct seen *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)getrandom(&name_seed, sizeof name_seed, 0);
    bool ok = lru_init(&s->records, records ? records : SEEN_RECORDS);
    ok = lru_init(&s->away, records ? records / 4 : SEEN_AWAY) && ok;
    ok = lru_init(&s->inodes, records ? records / 4 : SEEN_INODES) && ok;
    ok = lru_init(&s->names, records ? records / 4 : SEEN_NAMES) && ok;
    s->record = calloc((size_t)s->records.size + 1, sizeof *s->record);
    s->taken = calloc((size_t)s->away.size + 1, sizeof *s->taken);
    s->inode = calloc((size_t)s->inodes.size + 1, sizeof *s->inode);
    s->name = calloc((size_t)s->names.size + 1, sizeof *s->name);
    if (ok && s->record && s->taken && s->inode && s->name)
        return s;
    seen_free(s);
    return NULL;
}

void seen_free(struct seen *s)
{
    if (!s)
        return;
    lru_done(&s->records);
    lru_done(&s->away);
    lru_done(&s->inodes);
    lru_done(&s->names);
    free(s->record);
    free(s->taken);
    free(s->inode);
    free(s->name);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

size_t seen_bytes(const struct seen *s)
{
    return sizeof *s + lru_bytes(&s->records) + lru_bytes(&s->away) + lru_bytes(&s->inodes) +
           lru_bytes(&s->names) + ((size_t)s->records.size + 1) * sizeof *s->record +
           ((size_t)s->away.size + 1) * sizeof *s->taken + ((size_t)s->inodes.size + 1) * sizeof *s->inode +
           ((size_t)s->names.size + 1) * sizeof *s->name;
}

static void forget(struct lru *lru, uint64_t a, uint64_t b)
{
    uint32_t i = lru_find(lru, a, b);
    if (i)
        lru_remove(lru, i);
}

/* The entry of that key, the newest from now on; a new one in the place of the oldest. */
static uint32_t use_entry(struct lru *lru, uint64_t a, uint64_t b, bool *ret_is_new)
{
    uint32_t i = lru_find(lru, a, b);
    *ret_is_new = !i;
    if (i) {
        lru_touch(lru, i);
        return i;
    }
    if (lru_is_full(lru))
        lru_remove(lru, lru->oldest);
    return lru_add(lru, a, b);
}

static struct inode *find_inode(const struct seen *s, uint64_t ino)
{
    uint32_t i = lru_find(&s->inodes, ino, 0);
    return i ? &s->inode[i] : NULL;
}

static struct inode *use_inode(struct seen *s, uint64_t ino)
{
    bool is_new;
    uint32_t i = use_entry(&s->inodes, ino, 0, &is_new);
    if (is_new)
        s->inode[i] = (struct inode){.rewritten = 0};
    return &s->inode[i];
}

static struct line line_of(const struct seen *s, uint64_t ino)
{
    const struct inode *inode = find_inode(s, ino);
    return inode ? inode->line : (struct line){0};
}

static void set_line(struct seen *s, uint64_t ino, struct line line)
{
    if (line.id || find_inode(s, ino))
        use_inode(s, ino)->line = line;
}

/* That of the inode, for what comes to its name: it begins here if there is none. */
static struct line line_on(struct seen *s, uint64_t ino)
{
    struct line line = line_of(s, ino);
    return line.id ? line : (struct line){LINE_BIT | ++s->lines, ino};
}

static struct record *find_record(const struct seen *s, uint64_t process, uint64_t ino)
{
    uint32_t i = process ? lru_find(&s->records, process, ino) : 0;
    return i ? &s->record[i] : NULL;
}

/* The oldest record, and what would say without it that its process has seen something older. */
static void forget_oldest(struct seen *s)
{
    const uint32_t i = s->records.oldest;
    const struct lru_entry e = s->records.entries[i];
    struct line line = {0};
    if (!(e.b & LINE_BIT))
        line = line_of(s, e.b);
    lru_remove(&s->records, i);
    if (line.id) {
        forget(&s->records, e.a, line.id);
        forget(&s->records, e.a, line.origin);
    }
}

static struct record *use_one(struct seen *s, uint64_t process, uint64_t ino, bool *ret_is_new)
{
    if (lru_is_full(&s->records) && !lru_find(&s->records, process, ino))
        forget_oldest(s);
    uint32_t i = use_entry(&s->records, process, ino, ret_is_new);
    if (*ret_is_new)
        s->record[i] = (struct record){.since = s->lines};
    return &s->record[i];
}

/* The process is not 0. */
static struct record *use_record(struct seen *s, uint64_t process, uint64_t ino, bool *ret_is_new)
{
    struct inode *inode = find_inode(s, ino);
    if (inode && inode->maker != process)
        inode->maker = 0;
    if (inode && inode->line.id)
        (void)use_one(s, process, inode->line.id, ret_is_new);
    return use_one(s, process, ino, ret_is_new);
}

static void raise_seen(struct record *r, uint64_t version)
{
    if (r->seen < version)
        r->seen = version;
}

/* ---- reading ------------------------------------------------------------------ */

static struct seen_opening *opening_of(struct seen *s, uint64_t process, uint64_t ino)
{
    return &s->openings[(process * UINT64_C(0x9E3779B97F4A7C15) + ino) % OPENINGS];
}

/* What comes next of that process and inode is no truncation by its OPEN. */
static void end_opening(struct seen *s, uint64_t process, uint64_t ino)
{
    struct seen_opening *o = opening_of(s, process, ino);
    if (o->process == process && o->ino == ino)
        *o = (struct seen_opening){.process = 0};
}

void seen_opened(struct seen *s, uint64_t process, uint64_t ino, uint64_t version, enum seen_way way)
{
    bool is_new;
    if (!process || way == SEEN_NOT)
        return;
    (void)pthread_mutex_lock(&s->lock);
    struct record *r = use_record(s, process, ino, &is_new);
    raise_seen(r, version);
    r->is_at_start = true;
    if (way == SEEN_CACHED && r->n_cached < UINT16_MAX)
        r->n_cached++;
    else if (way == SEEN_DIRECT && r->n_direct < UINT16_MAX)
        r->n_direct++;
    (void)pthread_mutex_unlock(&s->lock);
}

void seen_opens(struct seen *s, const struct seen_opening *opening)
{
    if (!opening->process)
        return;
    (void)pthread_mutex_lock(&s->lock);
    const struct record *r = find_record(s, opening->process, opening->ino);
    const struct line line = line_of(s, opening->ino);
    struct seen_opening *o = opening_of(s, opening->process, opening->ino);
    *o = *opening;
    o->seen = r ? r->seen : 0;
    o->had_record = r;
    o->had_line = line.id && find_record(s, opening->process, line.id);
    (void)pthread_mutex_unlock(&s->lock);
}

static uint16_t *count_of(struct record *r, enum seen_way way)
{
    return way == SEEN_CACHED ? &r->n_cached : &r->n_direct;
}

static void take_back(struct seen *s, const struct seen_opening *o)
{
    struct record *r = o->way == SEEN_NOT ? NULL : find_record(s, o->process, o->ino);
    const struct line line = line_of(s, o->ino);
    if (!r)
        return;
    uint16_t *count = count_of(r, o->way);
    if (*count) {
        (*count)--;
        r->n_void++;
    }
    if (r->seen == o->version)
        r->seen = o->seen;
    if (!o->had_record)
        forget(&s->records, o->process, o->ino);
    if (!o->had_line && line.id)
        forget(&s->records, o->process, line.id);
}

bool seen_open_truncates(struct seen *s, struct seen_opening *opening)
{
    if (!opening->process)
        return false;
    (void)pthread_mutex_lock(&s->lock);
    struct seen_opening *o = opening_of(s, opening->process, opening->ino);
    const bool is_it =
        o->thread == opening->thread && o->process == opening->process && o->ino == opening->ino;
    if (is_it) {
        if (!o->is_taken_back)
            take_back(s, o);
        *opening = *o;
        o->thread = 0;
    }
    (void)pthread_mutex_unlock(&s->lock);
    return is_it;
}

/* What has failed may be asked for once more: a request that waited for room is handled anew. */
void seen_open_ends(struct seen *s, const struct seen_opening *opening, bool done)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!done) {
        struct seen_opening *o = opening_of(s, opening->process, opening->ino);
        *o = *opening;
        o->is_taken_back = true;
    } else if (opening->way != SEEN_NOT) {
        bool is_new;
        struct record *r = use_record(s, opening->process, opening->ino, &is_new);
        if (r->n_void)
            r->n_void--;
        if (*count_of(r, opening->way) < UINT16_MAX)
            (*count_of(r, opening->way))++;
    }
    (void)pthread_mutex_unlock(&s->lock);
}

/* Whether it may have read what nobody here was asked for. */
static bool is_unsure(const struct record *r)
{
    return r->n_cached || (r->n_direct && (!r->is_read || r->is_mapped));
}

void seen_closed(struct seen *s, uint64_t process, uint64_t ino, uint64_t version, enum seen_way way)
{
    (void)pthread_mutex_lock(&s->lock);
    struct record *r = way == SEEN_NOT ? NULL : find_record(s, process, ino);
    if (!r || r->n_cached + r->n_direct + r->n_void <= 1) /* else it may be another descriptor */
        end_opening(s, process, ino);
    if (r && r->n_void) {
        r->n_void--;
        r = NULL;
    }
    if (r && (way == SEEN_CACHED || is_unsure(r)))
        raise_seen(r, version);
    if (r && way == SEEN_CACHED && r->n_cached)
        r->n_cached--;
    else if (r && way == SEEN_DIRECT && r->n_direct && --r->n_direct == 0)
        r->is_read = r->is_mapped = false;
    (void)pthread_mutex_unlock(&s->lock);
}

/* What was read before, of an older version, is there still. */
static bool goes_on(const struct seen *s, uint64_t ino, const struct record *r)
{
    const struct inode *inode = find_inode(s, ino);
    return !inode || inode->rewritten <= r->seen;
}

void seen_read(struct seen *s, uint64_t process, uint64_t ino, uint64_t version, uint64_t offset, bool direct)
{
    bool is_new;
    if (!process)
        return;
    (void)pthread_mutex_lock(&s->lock);
    end_opening(s, process, ino);
    struct record *r = use_record(s, process, ino, &is_new);
    if (is_new || r->is_at_start || offset == 0 || goes_on(s, ino, r))
        raise_seen(r, version);
    r->is_at_start = false;
    r->is_read = r->is_read || (direct && r->n_direct);
    r->is_mapped = r->is_mapped || (!direct && r->n_direct);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- changing ----------------------------------------------------------------- */

void seen_change_begin(struct seen *s, struct seen_change *change, uint64_t process, uint64_t ino)
{
    *change = (struct seen_change){.process = process, .ino = ino};
    (void)pthread_mutex_lock(&s->lock);
    for (struct seen_change *c = s->changes; c; c = c->next)
        if (c->ino == ino)
            c->overlaps = change->overlaps = true;
    change->next = s->changes;
    s->changes = change;
    (void)pthread_mutex_unlock(&s->lock);
}

/* What it has not seen before, or others have changed meanwhile, it has not seen now either. */
static void note_own(struct seen *s, const struct seen_change *change, const struct seen_step *step)
{
    const bool is_alone = !change->overlaps || step->after == step->before + 1;
    struct record *r = find_record(s, change->process, change->ino);
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_OWN_WRITES_UNSEEN")) /* tests/mount/conflicts.sh */
        return;
#endif
    if (r && r->seen >= step->before && is_alone)
        raise_seen(r, step->after);
}

static void set_writer(struct inode *inode, const struct seen_process *who)
{
    static const struct seen_process nobody;
    if (!who)
        who = &nobody;
    if (inode->writer.key != who->key)
        inode->former = inode->writer;
    if (inode->maker != who->key)
        inode->maker = 0;
    inode->writer = *who;
}

void seen_change_end(struct seen *s, struct seen_change *change, const struct seen_step *step,
                     const struct seen_process *who)
{
    (void)pthread_mutex_lock(&s->lock);
    struct seen_change **at = &s->changes;
    while (*at != change)
        at = &(*at)->next;
    *at = change->next;
    if (step->after != step->before) {
        struct inode *inode = use_inode(s, change->ino);
        if (!step->appends)
            inode->rewritten = step->after;
        set_writer(inode, who);
        if (change->process)
            note_own(s, change, step);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

void seen_made(struct seen *s, uint64_t process, uint64_t ino, uint64_t version, bool created)
{
    bool is_new;
    if (!process)
        return;
    (void)pthread_mutex_lock(&s->lock);
    struct record *r = use_record(s, process, ino, &is_new);
    raise_seen(r, version);
    r->is_created = r->is_created || created;
    if (created)
        use_inode(s, ino)->maker = process;
    (void)pthread_mutex_unlock(&s->lock);
}

void seen_put(struct seen *s, uint64_t process, uint64_t ino, uint64_t version)
{
    bool is_new;
    if (!process)
        return;
    (void)pthread_mutex_lock(&s->lock);
    struct record *r = use_record(s, process, ino, &is_new);
    if (is_new)
        raise_seen(r, version);
    (void)pthread_mutex_unlock(&s->lock);
}

/* ---- judging ------------------------------------------------------------------ */

static bool is_changing(const struct seen *s, uint64_t process, uint64_t ino)
{
    const struct seen_change *c = s->changes;
    while (c && (c->process != process || c->ino != ino))
        c = c->next;
    return c != NULL;
}

/* Whoever has seen the origin only after it had left, as a backup, has not seen it under this name. */
static bool has_older(const struct seen *s, uint64_t process, struct line line)
{
    if (!line.id)
        return false;
    const struct record *r = find_record(s, process, line.origin);
    return find_record(s, process, line.id) || (r && r->since < (line.id & ~LINE_BIT));
}

static enum seen_verdict judge_locked(const struct seen *s, uint64_t process, uint64_t ino, uint64_t version,
                                      uint64_t *ret_seen)
{
    const struct record *r = find_record(s, process, ino);
    *ret_seen = r ? r->seen : 0;
    if (r && r->seen >= version)
        return SEEN_PRESENT;
    if (r)
        return is_unsure(r) || is_changing(s, process, ino) ? SEEN_UNSURE : SEEN_OLDER;
    return has_older(s, process, line_of(s, ino)) ? SEEN_OLDER : SEEN_NEVER;
}

enum seen_verdict seen_judge(struct seen *s, uint64_t process, uint64_t ino, uint64_t version,
                             uint64_t *ret_seen)
{
    (void)pthread_mutex_lock(&s->lock);
    enum seen_verdict verdict = judge_locked(s, process, ino, version, ret_seen);
    (void)pthread_mutex_unlock(&s->lock);
    return verdict;
}

/* ---- names -------------------------------------------------------------------- */

struct seen_name seen_name(uint64_t folder, const char *name)
{
    return (struct seen_name){folder, eng_keyed_hash(name_seed, name, strlen(name))};
}

/* A process has one record for a name: folder and hash make one number. */
static uint64_t one_number(struct seen_name name)
{
    return (name.hash ^ name.folder * UINT64_C(0x9E3779B97F4A7C15)) & ~LINE_BIT;
}

/* Nobody but that process knows the inode: it has made it, and no other has seen or changed it. */
static bool is_own(const struct seen *s, uint64_t process, uint64_t ino)
{
    const struct inode *inode = find_inode(s, ino);
    return process && inode && inode->maker == process;
}

static void leave_locked(struct seen *s, uint64_t process, struct seen_name name, uint64_t ino,
                         uint64_t version)
{
    bool is_new;
    uint64_t version_seen;
    s->name[use_entry(&s->names, name.folder, name.hash, &is_new)] = line_on(s, ino);
    const enum seen_verdict verdict = judge_locked(s, process, ino, version, &version_seen);
    if (verdict == SEEN_NEVER || is_own(s, process, ino))
        forget(&s->away, process, one_number(name));
    else
        s->taken[use_entry(&s->away, process, one_number(name), &is_new)] =
            (struct seen_away){ino, version, version_seen, verdict == SEEN_OLDER};
}

/* What came to the name goes on with the line of what was there. */
static void come_locked(struct seen *s, uint64_t process, struct seen_name name, uint64_t ino,
                        uint64_t replaced)
{
    bool is_new;
    const uint32_t i = lru_find(&s->names, name.folder, name.hash);
    struct line line = i ? s->name[i] : (struct line){0};
    if (replaced)
        line = line_on(s, replaced);
    set_line(s, ino, line);
    if (find_record(s, process, ino)) /* who knows the inode knows one of that line */
        (void)use_record(s, process, ino, &is_new);
    if (i)
        lru_remove(&s->names, i);
    forget(&s->away, process, one_number(name));
}

void seen_came(struct seen *s, uint64_t process, struct seen_name name, uint64_t ino, bool has_others)
{
    (void)pthread_mutex_lock(&s->lock);
    if (has_others && line_of(s, ino).id) /* that of its other names */
        forget(&s->away, process, one_number(name));
    else
        come_locked(s, process, name, ino, 0);
    (void)pthread_mutex_unlock(&s->lock);
}

/* A file that the process itself has made under a name of its own, and now puts in another's place, or which
 * nobody else knows: its name was for that alone, and who finds something there later finds another temporary
 * file. (Not what has a line: others may know an older one of that.) */
static bool was_temporary(const struct seen *s, uint64_t process, const struct seen_move *move)
{
    const struct record *r = find_record(s, process, move->ino);
    if (is_own(s, process, move->ino) && !line_of(s, move->ino).id)
        return true;
    const bool has_place = move->replaced != 0 || lru_find(&s->names, move->to.folder, move->to.hash) != 0;
    return r && r->is_created && has_place && !line_of(s, move->ino).id;
}

/* Back to the name that the process has taken it away from. */
static bool comes_back(const struct seen *s, uint64_t process, const struct seen_move *move)
{
    const uint32_t i = process ? lru_find(&s->away, process, one_number(move->to)) : 0;
    return i && s->taken[i].ino == move->ino;
}

void seen_moved(struct seen *s, uint64_t process, const struct seen_move *move)
{
    (void)pthread_mutex_lock(&s->lock);
    if (!was_temporary(s, process, move) && !comes_back(s, process, move))
        leave_locked(s, process, move->from, move->ino, move->version);
    come_locked(s, process, move->to, move->ino, move->replaced);
    (void)pthread_mutex_unlock(&s->lock);
}

/* A file that its maker has linked to another name had this one for that alone: see was_temporary(). */
void seen_removed(struct seen *s, uint64_t process, struct seen_name name, uint64_t ino, uint64_t version,
                  bool has_others)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct record *r = find_record(s, process, ino);
    if (!(has_others && r && r->is_created))
        leave_locked(s, process, name, ino, version);
    (void)pthread_mutex_unlock(&s->lock);
}

void seen_takes_name(struct seen *s, uint64_t process, uint64_t ino)
{
    (void)pthread_mutex_lock(&s->lock);
    use_inode(s, ino)->taker = process ? process : TAKEN_BY_UNKNOWN;
    (void)pthread_mutex_unlock(&s->lock);
}

bool seen_lost_name(struct seen *s, uint64_t process, uint64_t ino)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct inode *inode = find_inode(s, ino);
    bool lost = inode && inode->taker && inode->taker != process;
    (void)pthread_mutex_unlock(&s->lock);
    return lost;
}

void seen_exchanged(struct seen *s, uint64_t one, uint64_t other)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct line of_one = line_on(s, one), of_other = line_on(s, other);
    set_line(s, one, of_other);
    set_line(s, other, of_one);
    (void)pthread_mutex_unlock(&s->lock);
}

bool seen_away(struct seen *s, uint64_t process, struct seen_name name, struct seen_away *ret_away)
{
    (void)pthread_mutex_lock(&s->lock);
    uint32_t i = process ? lru_find(&s->away, process, one_number(name)) : 0;
    if (i)
        *ret_away = s->taken[i];
    (void)pthread_mutex_unlock(&s->lock);
    return i != 0;
}

void seen_away_forget(struct seen *s, uint64_t process, struct seen_name name)
{
    (void)pthread_mutex_lock(&s->lock);
    forget(&s->away, process, one_number(name));
    (void)pthread_mutex_unlock(&s->lock);
}

void seen_wrote(struct seen *s, uint64_t ino, const struct seen_process *who)
{
    (void)pthread_mutex_lock(&s->lock);
    set_writer(use_inode(s, ino), who);
    (void)pthread_mutex_unlock(&s->lock);
}

bool seen_writer(struct seen *s, uint64_t process, uint64_t ino, struct seen_process *ret_who)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct inode *inode = find_inode(s, ino);
    const struct seen_process *who = inode ? &inode->writer : NULL;
    if (who && who->key && who->key == process)
        who = &inode->former;
    if (who && who->pid)
        *ret_who = *who;
    (void)pthread_mutex_unlock(&s->lock);
    return who && who->pid;
}
