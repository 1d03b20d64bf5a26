/*
 * history.c - see history.h. No state, no locks. */
#include "history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "caller.h"
#include "rules/shown_names.h"

/* Places in listings. Those of names are far behind (eng_history_names()), of versions their numbers. */
enum { PLACE_UP = 2, PLACE_VERSIONS = 3, PLACE_NUMBER = 3 };

/* How long one request looks for what it may tell. */
#define LOOK_NS INT64_C(10000000)

/* ---- rights --------------------------------------------------------------- */

struct judging {
    fuse_req_t req;
    enum past_right right;
    uint64_t ino; /* of the folder that `last` is the last state of; 0: none yet */
    struct eng_attr last;
};

static int judge_last(const struct judging *j)
{
    struct eng_attr today;
    if (!j->ino)
        return 0;
    int r = eng_getattr(session_of(j->req)->eng, j->ino, &today);
    if (r && r != -ESTALE)
        return r;
    if (r || today.nlink == 0)
        today = j->last;
    return past_lets_in(j->req, &today, j->right) ? 0 : -EACCES;
}

static int judge(void *arg, const struct eng_version *version)
{
    struct judging *j = arg;
    int r = version->ino == j->ino ? 0 : judge_last(j);
    j->ino = S_ISDIR(version->attr.mode) ? version->ino : 0;
    j->last = version->attr;
    return r;
}

/* Do all folders that the path has led to let the caller in? -ENOENT: it never led anywhere. */
static int check_folders(fuse_req_t req, const char *path, enum past_right right)
{
    struct judging judging = {.req = req, .right = right};
    if (caller_is_above_modes(req))
        return 0;
    int r = eng_history(session_of(req)->eng, path, judge, &judging);
    return r ? r : judge_last(&judging);
}

/* Is he the owner of then, and of today? */
static int check_owner(fuse_req_t req, const struct past *past, uint64_t ino)
{
    struct eng_attr then, today;
    int r = eng_view_getattr(past->view, ino, &then);
    if (r)
        return r;
    const bool is_named = eng_getattr(past->eng, ino, &today) == 0 && today.nlink > 0;
    const uid_t uid = fuse_req_ctx(req)->uid;
    return then.uid == uid && (!is_named || today.uid == uid) ? 0 : -EACCES;
}

int history_check_way(fuse_req_t req, const struct past *past, const struct ctl_paths_what *what)
{
    struct eng_attr at = {.ino = ENG_ROOT_INO};
    char name[ENG_NAME_MAX + 1];
    int r = 0;
    if (paths_asks_no_way(req))
        return 0;
    for (const char *part = what->path; *part && !r;) {
        const size_t len = strcspn(part, "/");
        memcpy(name, part, len);
        name[len] = '\0';
        part += len + (part[len] == '/');
        r = eng_view_lookup(past->view, at.ino, name, &at);
        if (!r && *part)
            r = past_check(req, past, at.ino, PAST_SEARCH);
    }
    if (!r && what->path_len)
        r = past_check(req, past, ENG_ROOT_INO, PAST_SEARCH);
    if (r == -ENOENT || r == -ENOTDIR || (!r && at.ino != what->ino))
        return check_owner(req, past, what->ino);
    return r;
}

/* ---- versions --------------------------------------------------------------- */

struct wanted {
    uint64_t number;
    struct eng_version version;
};

static int is_wanted(void *arg, const struct eng_version *version)
{
    struct wanted *wanted = arg;
    if (version->number != wanted->number)
        return version->number > wanted->number ? -ENOENT : 0;
    wanted->version = *version;
    return 1;
}

static int find_version(fuse_req_t req, const char *path, uint64_t number, struct eng_version *ret_version)
{
    struct wanted wanted = {.number = number};
    int r = eng_history(session_of(req)->eng, path, is_wanted, &wanted);
    *ret_version = wanted.version;
    if (r <= 0)
        return r ? r : -ENOENT;
    return 0;
}

/* With the view of a batch in which the path shows that version. The present one has a view where the store
 * has a history, else it is not told of here: it is the file itself. */
static int find_and_open(fuse_req_t req, const char *path, uint64_t number, struct past *ret_past,
                         struct eng_version *ret_version)
{
    enum { TRIES = 4 };
    int r = -ENOENT;
    for (int i = 0; i < TRIES; i++) {
        struct eng_version again;
        r = find_version(req, path, number, ret_version);
        const uint64_t now = eng_position(session_of(req)->eng);
        if (!r)
            r = past_open(req, ret_version->seen_at ? ret_version->seen_at : now, ret_past);
        if (r || ret_version->seen_at)
            return r;
        r = find_version(req, path, number, &again); /* it is in `now`, if it has not ended since */
        if (!r && !again.seen_at) {
            ret_version->seen_at = now;
            return 0;
        }
        past_done(ret_past);
        if (r)
            return r;
    }
    return -ESTALE;
}

int history_open(fuse_req_t req, const struct ctl_paths_what *what, uint64_t seen_at, struct past *ret_past)
{
    struct eng_version version;
    int r = past_open(req, seen_at, ret_past);
    return r == -ENOENT ? find_and_open(req, what->path, what->number, ret_past, &version) : r;
}

static int find_in_versions(fuse_req_t req, const struct ctl_paths_what *in, const char *name,
                            struct paths_found *found)
{
    struct shown_stamp stamp;
    struct eng_version version;
    if (!shown_stamp_parse(name, strlen(name), &stamp) || !stamp.number)
        return -ENOENT;
    int r = find_and_open(req, in->path, stamp.number, &found->past, &version);
    if (r)
        return r;
    found->has_past = true;
    found->what.kind = CTL_PATHS_VERSION;
    found->what.ino = version.ino;
    found->what.number = version.number;
    /* The number names it. Its time goes back when a snapshot between is dropped, by which it was told: who
     * has listed it before still finds it. */
    r = shown_stamp_is_of(&stamp, version.time) || stamp.time > version.time ? 0 : -ENOENT;
    if (!r)
        r = history_check_way(req, &found->past, &found->what);
    if (!r)
        r = eng_view_state(found->past.view, version.ino, &found->past.state);
    return r ? r : eng_view_getattr(found->past.view, version.ino, &found->attr);
}

/* ---- names ------------------------------------------------------------------ */

static int stop(void *arg, const struct eng_version *version)
{
    (void)arg, (void)version;
    return 1;
}

/* Has the path shown something? 0 or -ENOENT, or another error but that there is too much. */
static int find_path(fuse_req_t req, const char *path)
{
    int r = eng_history(session_of(req)->eng, path, stop, NULL);
    if (r == 1 || r == -ENOSPC)
        return 0;
    return r ? r : -ENOENT;
}

/* With a name behind it. -ENAMETOOLONG. */
static int extend(struct paths_found *found, const struct ctl_paths_what *in, const char *name, size_t len)
{
    if (in->path_len + 1 + len >= sizeof found->path)
        return -ENAMETOOLONG;
    int r = paths_set(found, in->path, in->path_len);
    if (r)
        return r;
    size_t at = in->path_len;
    if (at)
        found->path[at++] = '/';
    memcpy(found->path + at, name, len);
    found->path[at + len] = '\0';
    found->what.path_len = at + len;
    return 0;
}

struct cut {
    const char *text;
    const struct ctl_paths_what *in;
    struct paths_found *found;
};

static int is_cut_name(void *arg, const char *name, size_t len, uint64_t place)
{
    const struct cut *cut = arg;
    char text[SHOWN_NAME_SIZE];
    (void)place;
    (void)shown_name_encode(name, len, SHOWN_NAME_MAX, text);
    if (strcmp(text, cut->text) != 0)
        return 0;
    int r = extend(cut->found, cut->in, name, len);
    return r ? r : 1;
}

static int find_name(fuse_req_t req, const struct ctl_paths_what *in, const char *text,
                     struct paths_found *found)
{
    char name[SHOWN_NAME_SIZE];
    size_t len;
    int r = -ENOENT;
    const enum shown_name_kind kind = shown_name_decode(text, strlen(text), SHOWN_NAME_MAX, name, &len);
    struct cut cut = {text, in, found};
    if (kind == SHOWN_NAME_CUT)
        r = eng_history_names(session_of(req)->eng, in->path, 0, is_cut_name, &cut);
    else if (kind == SHOWN_NAME_WHOLE && !memchr(name, '/', len))
        r = extend(found, in, name, len);
    if (r == -ENOTDIR || (kind == SHOWN_NAME_CUT && !r))
        r = -ENOENT;
    return r < 0 ? r : find_path(req, found->path);
}

int history_find(fuse_req_t req, const struct ctl_paths_what *in, const char *name, struct paths_found *found)
{
    int r = paths_set(found, in->path, in->path_len);
    found->what.kind = CTL_PATHS_HISTORY;
    if (r || in->kind == CTL_PATHS_VERSION) /* of a folder: what was in it is in at/ */
        return r ? r : -ENOENT;
    if (in->kind == CTL_PATHS_VERSIONS)
        return find_in_versions(req, in, name, found);
    if (strcmp(name, SHOWN_NAME_VERSIONS) == 0) {
        found->what.kind = CTL_PATHS_VERSIONS;
        return find_path(req, in->path);
    }
    r = check_folders(req, in->path, PAST_SEARCH);
    return r ? r : find_name(req, in, name, found);
}

/* ---- listings ----------------------------------------------------------------- */

struct listing {
    fuse_req_t req;
    const struct ctl_paths_what *of;
    uint64_t from;
    bool has_history;
    paths_emit emit;
    void *arg;
    int64_t until; /* nothing is looked for later than that */
    struct paths_found found;
};

static int64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* What stands at that place is not told. A listing that tells nothing would be at its end: so where it has
 * looked for long it tells of the folder itself once more, and goes on from there with the next request. */
static int pass_by(struct listing *l, uint64_t place)
{
    if (now_ns() < l->until)
        return 0;
    (void)l->emit(l->arg, ".", paths_ino(session_of(l->req), l->of), S_IFDIR, place);
    return 1;
}

static int told(struct listing *l, const char *name, mode_t mode, uint64_t place)
{
    return l->emit(l->arg, name, paths_ino(session_of(l->req), &l->found.what), mode, place);
}

/* Is it one that the caller may look up? */
static bool is_for_caller(struct listing *l, const struct eng_version *version)
{
    if (!version->seen_at && !l->has_history)
        return false;
    if (caller_is_above_modes(l->req))
        return true;
    struct past past;
    const uint64_t at = version->seen_at ? version->seen_at : eng_position(session_of(l->req)->eng);
    if (past_open(l->req, at, &past))
        return false;
    bool is = history_check_way(l->req, &past, &l->found.what) == 0;
    past_done(&past);
    return is;
}

static int tell_version(void *arg, const struct eng_version *version)
{
    struct listing *l = arg;
    const uint64_t place = version->number + PLACE_NUMBER;
    const struct shown_stamp stamp = {version->number, version->time};
    char text[SHOWN_STAMP_SIZE];
    l->found.what.kind = CTL_PATHS_VERSION;
    l->found.what.ino = version->ino;
    l->found.what.number = version->number;
    if (place <= l->from)
        return 0;
    if (!is_for_caller(l, version))
        return pass_by(l, place);
    (void)shown_stamp_format(&stamp, text);
    return told(l, text, version->attr.mode, place);
}

/* What a folder is called that has been elsewhere since is none of this path. */
static int tell_name(void *arg, const char *name, size_t len, uint64_t place)
{
    struct listing *l = arg;
    char text[SHOWN_NAME_SIZE];
    int r = extend(&l->found, l->of, name, len);
    if (r || find_path(l->req, l->found.path))
        return pass_by(l, place);
    (void)shown_name_encode(name, len, SHOWN_NAME_MAX, text);
    return told(l, text, S_IFDIR, place);
}

/* `.` and `..`; non-zero: no more. */
static int tell_dots(struct listing *l)
{
    const struct session *session = session_of(l->req);
    struct ctl_paths_what up = *l->of;
    int r = l->from < 1 ? l->emit(l->arg, ".", paths_ino(session, l->of), S_IFDIR, 1) : 0;
    if (r || l->from >= PLACE_UP)
        return r;
    if (l->of->kind == CTL_PATHS_VERSION) {
        up.kind = CTL_PATHS_VERSIONS;
    } else if (l->of->kind == CTL_PATHS_VERSIONS) {
        up.kind = CTL_PATHS_HISTORY;
    } else {
        const char *slash = strrchr(up.path, '/');
        up.path_len = slash ? (size_t)(slash - up.path) : 0;
    }
    const bool is_root = l->of->kind == CTL_PATHS_HISTORY && !l->of->path_len;
    return l->emit(l->arg, "..", is_root ? CTL_DIR_INO : paths_ino(session, &up), S_IFDIR, PLACE_UP);
}

static int list_names(struct listing *l)
{
    struct eng *eng = session_of(l->req)->eng;
    int r = check_folders(l->req, l->of->path, PAST_LIST);
    if (r)
        return r == -ENOENT && !l->of->path_len ? 0 : r;
    if (tell_dots(l))
        return 0;
    l->found.what.kind = CTL_PATHS_VERSIONS;
    if (l->from < PLACE_VERSIONS && told(l, SHOWN_NAME_VERSIONS, S_IFDIR, PLACE_VERSIONS))
        return 0;
    l->found.what.kind = CTL_PATHS_HISTORY;
    r = eng_history_names(eng, l->of->path, l->from > PLACE_VERSIONS ? l->from : 0, tell_name, l);
    return r == -ENOTDIR || r == 1 ? 0 : r;
}

static int list_versions(struct listing *l)
{
    uint64_t batch;
    int64_t time;
    l->has_history = eng_past_since(session_of(l->req)->eng, &batch, &time) == 0;
    if (tell_dots(l))
        return 0;
    int r = eng_history(session_of(l->req)->eng, l->of->path, tell_version, l);
    return r < 0 ? r : 0;
}

int history_list(fuse_req_t req, const struct ctl_paths_what *of, uint64_t from, paths_emit emit, void *arg)
{
    struct listing *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    *l = (struct listing){
        .req = req, .of = of, .from = from, .emit = emit, .arg = arg, .until = now_ns() + LOOK_NS};
    int r = paths_set(&l->found, of->path, of->path_len);
    if (!r && of->kind == CTL_PATHS_HISTORY)
        r = list_names(l);
    else if (!r && of->kind == CTL_PATHS_VERSIONS)
        r = list_versions(l);
    else if (!r)
        (void)tell_dots(l);
    free(l);
    return r;
}

/* ---- who, and what happened --------------------------------------------------- */

static const char *event_name(enum eng_version_event event)
{
    static const char *const names[] = {
        [ENG_VERSION_UNKNOWN] = "unknown", [ENG_VERSION_PRESENT] = "present",
        [ENG_VERSION_CREATED] = "created", [ENG_VERSION_CHANGED] = "changed",
        [ENG_VERSION_RENAMED] = "renamed", [ENG_VERSION_REPLACED] = "replaced",
        [ENG_VERSION_LINKED] = "linked",   [ENG_VERSION_RESTORED] = "restored",
        [ENG_VERSION_REMOVED] = "removed", [ENG_VERSION_FOLDER] = "folder"};
    return (size_t)event < sizeof names / sizeof *names ? names[event] : names[0];
}

ssize_t history_told(fuse_req_t req, const struct ctl_paths_what *what, enum xa_virtual which, char *text,
                     size_t size)
{
    struct eng_version version;
    int r = find_version(req, what->path, what->number, &version);
    if (r)
        return r;
    if (which == XA_ENDED && version.ended == ENG_VERSION_PRESENT)
        return -ENODATA;
    if (which == XA_ACTOR)
        return version.actor.known ? paths_actor(&version.actor, text, size) : -ENODATA;
    return snprintf(text, size, "%s", event_name(which == XA_EVENT ? version.began : version.ended));
}
