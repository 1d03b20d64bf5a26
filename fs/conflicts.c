/*
 * conflicts.c - see conflicts.h. No state but session->seen and session->refused, no locks of its own.
 *
 * Who replaces something is judged by what seen.h knows of him. If he has seen what is there, the engine
 * looks once more, under its lock, in the batch that replaces it (ENG_GUARD_SEEN); if that has changed
 * meanwhile, he is judged anew. What a request has done is noted before it is answered: the kernel holds the
 * inode's lock, or the folder's, until then, so that nobody is judged between the two. */
#include "conflicts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "caller.h"
#include "control/nodes.h"
#include "guards.h"
#include "processes.h"
#include "refused.h"

/* Each is a change by somebody else, between the look and the lock. */
enum { TRIES_MAX = 100 };
/* Files up to that size are read past the kernel's cache, by those who open them to read only: so each of
 * their read(2)s is heard of. Larger ones are worth their read-ahead. */
enum { DIRECT_MOST = 1 << 20 };
/* Of an open by execve(2): __FMODE_EXEC of Linux. */
enum { OPEN_TO_EXECUTE = 0x20 };
enum { WAY_BITS = 2, KEY_SHIFT = CONFLICTS_HANDLE_BITS + WAY_BITS };

bool conflicts_start(struct session *session)
{
    if (!session->opt->refuses_conflicts)
        return true;
    session->seen = seen_new(0);
    session->refused = refused_new();
    return session->seen && session->refused;
}

void conflicts_stop(struct session *session)
{
    seen_free(session->seen);
    refused_free(session->refused);
}

/* ---- judging ------------------------------------------------------------------ */

struct attempt {
    fuse_req_t req;
    struct eng *eng; /* for changes in the caller's name */
    struct seen *seen;
    struct seen_process who;
    const char *what;
    /* The name that is to show something else; NULL: an inode itself is changed. */
    fuse_ino_t parent;
    const char *name;
    bool is_new;  /* the name shows nothing */
    bool by_name; /* a truncation that is not by a descriptor */
    unsigned tries;
};

static struct attempt attempt(fuse_req_t req, const char *what, fuse_ino_t parent, const char *name)
{
    struct attempt a = {.req = req, .seen = session_of(req)->seen, .what = what, .parent = parent};
    a.name = name;
    a.eng = caller_engine(req);
    process_of(req, &a.who);
    return a;
}

static void path_of(const struct attempt *a, uint64_t ino, char path[PATH_MAX])
{
    const size_t room = PATH_MAX - (a->name ? strlen(a->name) + 1 : 0);
    ssize_t n = eng_path(a->eng, a->name ? a->parent : ino, path, room);
    if (n < 0)
        (void)snprintf(path, PATH_MAX, "%s", a->name ? a->name : "");
    else if (a->name)
        (void)snprintf(path + n, PATH_MAX - (size_t)n, "%s%s", n ? "/" : "", a->name);
}

/* -ECANCELED, told to those who look for it. */
static int refuse(const struct attempt *a, const struct eng_attr *found, uint64_t version_seen)
{
    struct timespec now;
    struct refused_one *one = calloc(1, sizeof *one);
    if (!one)
        return -ECANCELED;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *one = (struct refused_one){.time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
                                .what = a->what,
                                .who = a->who,
                                .seen = version_seen,
                                .ino = found->ino,
                                .version = found->version,
                                .size = found->size};
    one->has_writer = seen_writer(a->seen, a->who.key, found->ino, &one->writer);
    (void)eng_state(a->eng, found->ino, &one->state);
    path_of(a, found->ino, one->path);
    refused_add(session_of(a->req)->refused, one);
    free(one);
    return -ECANCELED;
}

/* What is there now is to be replaced, or what was. 0, and the guard to do it with, of kind 0 if there need
 * be none. */
static int act_on(const struct attempt *a, enum seen_verdict verdict, const struct eng_attr *now,
                  uint64_t version_seen, struct eng_guard *ret_guard)
{
    if (verdict == SEEN_OLDER)
        return refuse(a, now, version_seen);
    if (verdict == SEEN_PRESENT)
        *ret_guard = (struct eng_guard){
            .kind = a->is_new ? ENG_GUARD_MOVED : ENG_GUARD_SEEN, .ino = now->ino, .version = now->version};
    return 0;
}

static int judge(const struct attempt *a, const struct eng_attr *now, struct eng_guard *ret_guard)
{
    uint64_t version_seen;
    const enum seen_verdict verdict = seen_judge(a->seen, a->who.key, now->ino, now->version, &version_seen);
    return act_on(a, verdict, now, version_seen, ret_guard);
}

/* Something is to come to a name that shows nothing (`ino`; 0: a new inode). If the caller has taken
 * something away from it, that is what is replaced; unless it comes back. */
static int judge_new(struct attempt *a, uint64_t ino, struct eng_guard *ret_guard)
{
    const struct seen_name name = seen_name(a->parent, a->name);
    struct seen_away away;
    struct eng_attr now;
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_MAKING_ANEW")) /* tests/mount/conflicts.sh */
        return 0;
#endif
    a->is_new = true;
    if (!seen_away(a->seen, a->who.key, name, &away) || away.ino == ino)
        return 0;
    uint64_t version_seen = away.seen;
    enum seen_verdict verdict = SEEN_NEVER;
    if (eng_getattr(a->eng, away.ino, &now) == 0) /* he may have read it again meanwhile */
        verdict = seen_judge(a->seen, a->who.key, away.ino, now.version, &version_seen);
    else
        now = (struct eng_attr){.ino = away.ino, .version = away.version};
    if (verdict == SEEN_NEVER && away.older)
        verdict = SEEN_OLDER;
    int r = act_on(a, verdict, &now, version_seen, ret_guard);
    /* What has no name any more nobody can read again, and to refuse for ever saves nothing of it. */
    if (r && now.nlink == 0)
        seen_away_forget(a->seen, a->who.key, name);
    return r;
}

/* Whether what was done with a guard is to be judged and done again. */
static bool again(struct attempt *a, const struct eng_guard *guard, int r)
{
    return guard->kind && (r == -ECANCELED || r == -EREMCHG) && ++a->tries < TRIES_MAX;
}

static const struct eng_guard *given(const struct eng_guard *guard)
{
    return guard->kind ? guard : NULL;
}

/* What the engine's answer means to the caller. */
static int outcome(int r)
{
    return r == -EREMCHG ? -ECANCELED : r;
}

/* ---- content ------------------------------------------------------------------ */

void conflicts_begin(fuse_req_t req, struct conflicts_change *change, fuse_ino_t ino, bool by_nobody)
{
    const struct session *session = session_of(req);
    struct eng_attr before = {0};
    change->seen = session->seen;
    if (!session->seen)
        return;
    *change = (struct conflicts_change){.seen = session->seen, .by_nobody = by_nobody};
    if (!by_nobody)
        process_of(req, &change->who);
    seen_change_begin(change->seen, &change->change, change->who.key, ino);
    (void)eng_getattr(session->eng, ino, &before);
    change->version = before.version;
    change->size = before.size;
}

void conflicts_end(fuse_req_t req, struct conflicts_change *change, uint64_t off)
{
    struct eng_attr after;
    if (!change->seen)
        return;
    struct seen_step step = {change->version, change->version, off >= change->size};
    if (eng_getattr(session_of(req)->eng, change->change.ino, &after) == 0)
        step.after = after.version;
    seen_change_end(change->seen, &change->change, &step, change->by_nobody ? NULL : &change->who);
}

/* One try, once it is judged. */
static int set_size(struct attempt *a, fuse_ino_t ino, const struct eng_attr *attr, unsigned mask,
                    const struct eng_guard *guard, struct eng_attr *ret_attr)
{
    struct conflicts_change change;
    conflicts_begin(a->req, &change, ino, false);
    int r = eng_setattr_if(a->eng, ino, attr, mask, given(guard), ret_attr);
    conflicts_end(a->req, &change, attr->size);
    if (!r && attr->size == 0)
        seen_made(a->seen, a->who.key, ino, ret_attr->version, false);
    return r;
}

/* The path led to it, then somebody else took its last name: who has seen it means what is there now. */
static bool is_elsewhere(const struct attempt *a, const struct eng_attr *now)
{
    return a->by_name && now->nlink == 0 && seen_lost_name(a->seen, a->who.key, now->ino);
}

static int truncate_judged(struct attempt *a, fuse_ino_t ino, const struct eng_attr *attr, unsigned mask,
                           struct eng_attr *ret_attr)
{
    struct eng_guard guard;
    struct eng_attr now;
    int r;
    do {
        guard = (struct eng_guard){.kind = 0};
        r = attr->size == 0 ? eng_getattr(a->eng, ino, &now) : 0;
#ifdef ENG_MUTANTS
        if (!r && getenv("FS_MUTANT_TRUNCATION_READS") && strcmp(a->what, "open") == 0) /* conflicts.sh */
            seen_made(a->seen, a->who.key, ino, now.version, false);
#endif
        if (!r && attr->size == 0)
            r = judge(a, &now, &guard);
        if (!r && guard.kind && is_elsewhere(a, &now))
            return refuse(a, &now, 0);
        if (!r)
            r = set_size(a, ino, attr, mask, &guard, ret_attr);
        if (!r && guard.kind && is_elsewhere(a, ret_attr)) /* by now */
            return refuse(a, ret_attr, 0);
    } while (again(a, &guard, r));
    return outcome(r);
}

/* The kernel sends OPEN without O_TRUNC, and then this, in the same thread, under the inode's lock. */
int conflicts_setattr(fuse_req_t req, fuse_ino_t ino, const struct eng_attr *attr, unsigned mask,
                      bool by_name, struct eng_attr *ret_attr)
{
    if (!session_of(req)->seen || !(mask & ENG_SET_SIZE))
        return eng_setattr(caller_engine(req), ino, attr, mask, ret_attr);
    struct attempt a = attempt(req, "truncate", 0, NULL);
    a.by_name = by_name;
    struct seen_opening opening = {.thread = fuse_req_ctx(req)->pid, .process = a.who.key, .ino = ino};
    const bool opens = by_name && attr->size == 0 && seen_open_truncates(a.seen, &opening);
    if (opens)
        a.what = "open";
    int r = truncate_judged(&a, ino, attr, mask, ret_attr);
    if (opens)
        seen_open_ends(a.seen, &opening, !r);
    return r;
}

/* Of which version what it gives is, too: of no single one, if others write all the time; then the oldest. */
ssize_t conflicts_read(fuse_req_t req, fuse_ino_t ino, void *buf, size_t size, uint64_t off,
                       const struct fuse_file_info *fi)
{
    enum { TRIES = 4 };
    struct session *session = session_of(req);
    struct eng_attr before = {0}, after = {0};
    struct seen_process who;
    ssize_t n = 0;
    if (!session->seen)
        return eng_read(session->eng, ino, buf, size, off);
    for (int i = 0; i < TRIES && (i == 0 || (n >= 0 && before.version != after.version)); i++) {
        n = eng_getattr(session->eng, ino, &before);
        if (n == 0)
            n = eng_read(session->eng, ino, buf, size, off);
        if (n >= 0)
            (void)eng_getattr(session->eng, ino, &after);
    }
    if (n < 0)
        return n;
    process_of(req, &who);
    /* libfuse has the owner of locks of reads past the cache alone */
    seen_read(session->seen, who.key, ino, before.version, off, fi->lock_owner != 0);
    return n;
}

/* ---- descriptors -------------------------------------------------------------- */

static enum seen_way way_of(const struct session *session, const struct fuse_file_info *fi, uint64_t size)
{
    const int mode = fi->flags & O_ACCMODE;
    if (mode == O_WRONLY || fi->flags & OPEN_TO_EXECUTE)
        return SEEN_NOT;
    return mode == O_RDONLY && size <= DIRECT_MOST && session->maps_direct ? SEEN_DIRECT : SEEN_CACHED;
}

void conflicts_opened(fuse_req_t req, const struct eng_attr *now, bool created, struct fuse_file_info *fi)
{
    struct session *session = session_of(req);
    struct seen_process who;
    if (!session->seen)
        return;
    process_of(req, &who);
    const enum seen_way way = way_of(session, fi, now->size);
    struct seen_opening opening = {fuse_req_ctx(req)->pid, who.key, now->ino, now->version, .way = way};
    if (!created)
        seen_opens(session->seen, &opening);
    seen_opened(session->seen, who.key, now->ino, now->version, way);
    fi->fh |= who.key << KEY_SHIFT | (uint64_t)way << CONFLICTS_HANDLE_BITS;
    fi->direct_io = way == SEEN_DIRECT;
}

void conflicts_release(struct session *session, fuse_ino_t ino, uint64_t handle)
{
    struct eng_attr now = {0};
    const enum seen_way way = handle >> CONFLICTS_HANDLE_BITS & ((1 << WAY_BITS) - 1);
    if (!session->seen || ctl_owns(ino) || way == SEEN_NOT)
        return;
    (void)eng_getattr(session->eng, ino, &now);
    seen_closed(session->seen, handle >> KEY_SHIFT, ino, now.version, way);
}

/* ---- names -------------------------------------------------------------------- */

/* FIFOs, sockets and devices have no content, and folders are no memories. */
static bool is_noted(mode_t mode)
{
    return S_ISREG(mode) || S_ISLNK(mode);
}

int conflicts_create(fuse_req_t req, const struct eng_caller *who, fuse_ino_t parent, const char *name,
                     mode_t mode, dev_t rdev, const char *target, struct eng_attr *ret_attr)
{
    if (!session_of(req)->seen || !is_noted(mode))
        return eng_create(caller_engine(req), who, parent, name, mode, rdev, target, ret_attr);
    struct attempt a = attempt(req, "create", parent, name);
    struct eng_guard guard;
    int r;
    do {
        guard = (struct eng_guard){.kind = 0};
        r = name ? judge_new(&a, 0, &guard) : 0;
        if (!r)
            r = eng_create_if(a.eng, who, parent, name, mode, rdev, target, given(&guard), ret_attr);
    } while (again(&a, &guard, r));
    if (r)
        return outcome(r);
    if (name)
        seen_came(a.seen, a.who.key, seen_name(parent, name), ret_attr->ino, false);
    seen_made(a.seen, a.who.key, ret_attr->ino, ret_attr->version, true);
    seen_wrote(a.seen, ret_attr->ino, &a.who);
    return 0;
}

/* Who says himself what he replaces (guards.h) is asked nothing more. */
static bool has_guard(const struct attempt *a, uint64_t ino)
{
    return eng_getxattr(a->eng, ino, ENG_GUARD_XATTR, NULL, 0) >= 0;
}

int conflicts_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name,
                   struct eng_attr *ret_attr)
{
    if (!session_of(req)->seen)
        return guards_link(req, ino, parent, name, NULL, ret_attr);
    struct attempt a = attempt(req, "link", parent, name);
    const bool guarded = has_guard(&a, ino);
    struct eng_guard guard;
    int r;
    do {
        guard = (struct eng_guard){.kind = 0};
        r = guarded ? 0 : judge_new(&a, ino, &guard);
        if (!r)
            r = guards_link(req, ino, parent, name, given(&guard), ret_attr);
    } while (again(&a, &guard, r));
    if (!r)
        seen_came(a.seen, a.who.key, seen_name(parent, name), ino, ret_attr->nlink > 1);
    return outcome(r);
}

int conflicts_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct session *session = session_of(req);
    struct eng_attr was;
    struct seen_process who;
    bool is_known =
        session->seen && eng_lookup(session->eng, NULL, parent, name, &was) == 0 && is_noted(was.mode);
    if (is_known) {
        process_of(req, &who);
        seen_takes_name(session->seen, who.key, was.ino);
    }
    int r = eng_unlink(caller_engine(req), parent, name);
    if (!r && is_known)
        seen_removed(session->seen, who.key, seen_name(parent, name), was.ino, was.version, was.nlink > 1);
    return r;
}

struct renaming {
    fuse_ino_t parent, new_parent;
    const char *name, *new_name;
    unsigned flags;
    struct eng_attr source, target;
    bool has_target;
    bool puts; /* what it puts in the place of something else is no newer than what it knows */
};

/* To a name that the caller has taken something else away from. */
static bool comes_anew(const struct attempt *a, const struct renaming *rn)
{
    struct seen_away away;
    return seen_away(a->seen, a->who.key, seen_name(rn->new_parent, rn->new_name), &away) &&
           away.ino != rn->source.ino;
}

static int judge_rename(struct attempt *a, struct renaming *rn, struct eng_guard *ret_guard)
{
    uint64_t version_seen;
    int r = eng_lookup(a->eng, NULL, rn->parent, rn->name, &rn->source);
    rn->has_target = eng_lookup(a->eng, NULL, rn->new_parent, rn->new_name, &rn->target) == 0;
    rn->puts = a->is_new = false;
    if (r || !is_noted(rn->source.mode) || rn->flags & ENG_RENAME_EXCHANGE)
        return r;
    const bool replaces = rn->has_target && S_ISREG(rn->target.mode) && rn->target.ino != rn->source.ino &&
                          !(rn->flags & ENG_RENAME_NOREPLACE);
    rn->puts = replaces || (!rn->has_target && comes_anew(a, rn));
    rn->puts = rn->puts && seen_judge(a->seen, a->who.key, rn->source.ino, rn->source.version,
                                      &version_seen) != SEEN_OLDER;
    if (has_guard(a, rn->source.ino))
        return 0;
    if (!rn->has_target)
        return judge_new(a, rn->source.ino, ret_guard);
    return replaces ? judge(a, &rn->target, ret_guard) : 0;
}

static void note_rename(const struct attempt *a, const struct renaming *rn)
{
    if (!is_noted(rn->source.mode) || (rn->has_target && rn->target.ino == rn->source.ino))
        return;
    if (rn->flags & ENG_RENAME_EXCHANGE) {
        if (is_noted(rn->target.mode))
            seen_exchanged(a->seen, rn->source.ino, rn->target.ino);
        return;
    }
    const bool is_file = rn->has_target && S_ISREG(rn->target.mode);
    const struct seen_move move = {.from = seen_name(rn->parent, rn->name),
                                   .to = seen_name(rn->new_parent, rn->new_name),
                                   .ino = rn->source.ino,
                                   .version = rn->source.version,
                                   .replaced = is_file ? rn->target.ino : 0};
    seen_moved(a->seen, a->who.key, &move);
    if (!rn->puts)
        return;
    seen_wrote(a->seen, rn->source.ino, &a->who);
    seen_put(a->seen, a->who.key, rn->source.ino, rn->source.version);
}

int conflicts_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                     const char *new_name, unsigned flags)
{
    if (!session_of(req)->seen)
        return guards_rename(req, parent, name, new_parent, new_name, flags, NULL);
    struct attempt a = attempt(req, "rename", new_parent, new_name);
    struct renaming rn = {parent, new_parent, name, new_name, flags, .has_target = false};
    struct eng_guard guard;
    int r;
    do {
        guard = (struct eng_guard){.kind = 0};
        r = judge_rename(&a, &rn, &guard);
        if (!r && rn.has_target)
            seen_takes_name(a.seen, a.who.key, rn.target.ino);
        if (!r)
            r = guards_rename(req, parent, name, new_parent, new_name, flags, given(&guard));
    } while (again(&a, &guard, r));
    if (!r)
        note_rename(&a, &rn);
    return outcome(r);
}
