/*
 * deleted.c - see deleted.h. No state, no locks. */
#include "deleted.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "attr.h"
#include "caller.h"
#include "revived.h"
#include "rules/shown_names.h"

/* Places in listings: folders that are there have those of eng_readdir(), what was removed those of
 * eng_removed_list() behind this. */
#define PLACE_REMOVED (UINT64_C(1) << 62)
#define MS INT64_C(1000000)

/* Of how many live entries the folders are looked for under one lock. */
enum { LOOKS = 4096, PLACE_UP = 2 };
/* How long one request tells names, but for the first: each may be of an inode that had very many. */
#define REMOVED_NS INT64_C(10000000)

/* ---- rights --------------------------------------------------------------- */

static int check_folder(fuse_req_t req, const struct ctl_paths_what *of, enum past_right right)
{
    struct eng_attr today;
    struct past past;
    if (of->kind == CTL_PATHS_FOLDER) {
        int r = eng_getattr(session_of(req)->eng, of->ino, &today);
        if (!r && today.nlink == 0)
            r = -ESTALE; /* it was removed: by that name it is another node */
        const bool may = !r && (caller_is_above_modes(req) || past_lets_in(req, &today, right));
        return r || may ? r : -EACCES;
    }
    if (of->kind != CTL_PATHS_REMOVED_FOLDER)
        return -ENOTDIR;
    int r = deleted_open(req, of, 0, &past);
    if (r)
        return r;
    r = past_check(req, &past, of->ino, right);
    past_done(&past);
    return r;
}

int deleted_check_way(fuse_req_t req, const struct past *past, const struct ctl_paths_what *what)
{
    struct eng_attr at = {.ino = what->folder};
    int r = 0;
    if (paths_asks_no_way(req))
        return 0;
    for (bool is_top = false; !r && !is_top;) {
        is_top = at.ino == ENG_ROOT_INO;
        r = past_check(req, past, at.ino, PAST_SEARCH);
        if (!r && !is_top)
            r = eng_view_lookup(past->view, at.ino, "..", &at);
    }
    return r;
}

/* ---- names ------------------------------------------------------------------ */

int deleted_folder(fuse_req_t req, uint64_t ino, struct paths_found *found)
{
    struct eng *eng = session_of(req)->eng;
    struct eng_attr up = {.ino = 0};
    int r = eng_getattr(eng, ino, &found->attr);
    if (!r && (found->attr.nlink == 0 || !S_ISDIR(found->attr.mode)))
        r = -ESTALE;
    if (!r && ino != ENG_ROOT_INO)
        r = eng_lookup(eng, NULL, ino, "..", &up);
    found->what = (struct ctl_paths_what){.kind = CTL_PATHS_FOLDER, .ino = ino, .folder = up.ino, .path = ""};
    return r;
}

static int folder_of_name(fuse_req_t req, const struct ctl_paths_what *in, const char *name,
                          struct paths_found *found)
{
    struct eng_attr attr;
    int r =
        in->kind == CTL_PATHS_FOLDER ? eng_lookup(session_of(req)->eng, NULL, in->ino, name, &attr) : -ENOENT;
    if (r || !S_ISDIR(attr.mode))
        return r == -ESTALE || !r ? -ENOENT : r;
    r = deleted_folder(req, attr.ino, found);
    return r == -ESTALE ? -ENOENT : r;
}

/* The removal that is shown as a name with that stamp: one that its number tells, or the newest one of that
 * millisecond, but for that which is shown without a stamp. */
static int find_stamped(fuse_req_t req, uint64_t folder, const char *name, const struct shown_stamp *stamp,
                        struct eng_removed *ret_removed)
{
    struct eng *eng = session_of(req)->eng;
    const int64_t last = stamp->time == INT64_MAX ? INT64_MAX : stamp->time + MS - 1;
    if (!stamp->number)
        return eng_removed_find_at(eng, folder, name, stamp->time, last, ret_removed);
    int r = eng_removed_find(eng, folder, name, stamp->number, ret_removed);
    return !r && !shown_stamp_is_of(stamp, ret_removed->time) ? -ENOENT : r;
}

/* Writes how it is shown in listings: no two of a folder are the same, but for names that are cut. */
static void show_name(const struct eng_removed *removed, char ret_text[SHOWN_NAME_SIZE])
{
    struct shown_stamp stamp = {0, removed->time};
    char text[SHOWN_STAMP_SIZE];
    if (removed->newest) {
        (void)shown_name_encode(removed->name, removed->name_len, SHOWN_NAME_MAX, ret_text);
        return;
    }
    if (!removed->last_then)
        stamp.number = removed->number;
    const size_t stamp_len = shown_stamp_format(&stamp, text);
    const size_t n =
        shown_name_encode(removed->name, removed->name_len, SHOWN_NAME_MAX - 1 - stamp_len, ret_text);
    (void)snprintf(ret_text + n, SHOWN_NAME_SIZE - n, "@%s", text);
}

/* A name of which a text is that is cut. */
struct cut {
    const char *text;
    size_t len, room; /* of which it was cut for so much room */
    char name[SHOWN_NAME_SIZE];
};

static bool is_cut_of(struct cut *cut, const char *name, size_t len)
{
    char text[SHOWN_NAME_SIZE];
    if (shown_name_encode(name, len, cut->room, text) != cut->len || memcmp(text, cut->text, cut->len) != 0)
        return false;
    memcpy(cut->name, name, len);
    cut->name[len] = '\0';
    return true;
}

static int is_cut_removal(void *arg, const struct eng_removed *removed, uint64_t place)
{
    (void)place;
    return is_cut_of(arg, removed->name, removed->name_len);
}

static int is_cut_folder(void *arg, const struct eng_dirent *entry)
{
    return S_ISDIR(entry->attr.mode) && entry->name_len <= ENG_NAME_MAX &&
           is_cut_of(arg, entry->name, entry->name_len);
}

/* Once through all of the folder, whatever it has. */
static int find_cut(struct eng *eng, const struct ctl_paths_what *in, struct cut *cut)
{
    int r = eng_removed_list(eng, in->ino, 0, is_cut_removal, cut);
    if (!r && in->kind == CTL_PATHS_FOLDER)
        r = eng_readdir(eng, NULL, in->ino, 0, is_cut_folder, cut);
    if (r < 0)
        return r;
    return r ? 0 : -ENOENT;
}

/* The removal that a text is of, whose name is in `cut`; 1: it is that of a folder that is there. */
static int find_removal(fuse_req_t req, const struct ctl_paths_what *in, const char *text, struct cut *cut,
                        struct eng_removed *ret_removed)
{
    struct eng *eng = session_of(req)->eng;
    struct shown_stamp stamp;
    const size_t len = strlen(text), name_len = shown_name_split(text, len, &stamp);
    const bool stamped = name_len < len;
    size_t n;
    int r = 0;
    *cut = (struct cut){.text = text, .len = name_len, .room = SHOWN_NAME_MAX - (len - name_len)};
    if (len > SHOWN_NAME_MAX)
        return -ENAMETOOLONG;
    switch (shown_name_decode(text, name_len, cut->room, cut->name, &n)) {
    case SHOWN_NAME_CUT:
        r = find_cut(eng, in, cut);
        break;
    case SHOWN_NAME_WHOLE:
        r = memchr(cut->name, '/', n) ? -ENOENT : 0;
        break;
    case SHOWN_NAME_NONE:
        r = -ENOENT;
    }
    if (r)
        return r;
    r = stamped ? find_stamped(req, in->ino, cut->name, &stamp, ret_removed)
                : eng_removed_find(eng, in->ino, cut->name, 0, ret_removed);
    return r == -ENOENT && !stamped ? 1 : r;
}

int deleted_find(fuse_req_t req, const struct ctl_paths_what *in, const char *name, struct paths_found *found)
{
    struct cut cut;
    struct eng_removed gone, *removed = &gone;
    int r = check_folder(req, in, PAST_SEARCH);
    if (!r)
        r = find_removal(req, in, name, &cut, &gone);
    if (r == 1)
        return folder_of_name(req, in, cut.name, found);
    if (!r)
        r = paths_set(found, gone.name, gone.name_len);
    if (r)
        return r;
    found->what.kind = S_ISDIR(removed->attr.mode) ? CTL_PATHS_REMOVED_FOLDER : CTL_PATHS_REMOVED;
    found->what.ino = removed->ino;
    found->what.number = removed->number;
    found->what.folder = in->ino;
    found->attr = removed->attr;
    r = past_open(req, removed->seen_at, &found->past);
    found->has_past = !r;
    if (!r)
        r = deleted_check_way(req, &found->past, &found->what);
    return r ? r : eng_view_state(found->past.view, removed->ino, &found->past.state);
}

int deleted_open(fuse_req_t req, const struct ctl_paths_what *what, uint64_t seen_at, struct past *ret_past)
{
    struct eng_removed removed;
    int r = seen_at ? past_open(req, seen_at, ret_past) : -ENOENT;
    if (r != -ENOENT)
        return r;
    r = eng_removed_find(session_of(req)->eng, what->folder, what->path, what->number, &removed);
    return r ? -ESTALE : past_open(req, removed.seen_at, ret_past);
}

/* ---- listings ----------------------------------------------------------------- */

struct listing {
    fuse_req_t req;
    const struct ctl_paths_what *of;
    paths_emit emit;
    void *arg;
    uint64_t cookie; /* up to it live entries were looked at */
    unsigned looks;
    int64_t until; /* no removal is told later than that; 0: none was yet */
    bool full;
};

static uint64_t ino_of(const struct listing *l, enum ctl_paths_kind kind, uint64_t ino, uint64_t number)
{
    const struct ctl_paths_what what = {.kind = kind, .ino = ino, .number = number, .path = ""};
    return paths_ino(session_of(l->req), &what);
}

static int64_t now_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Under the engine's shared lock: copies, and nothing else. */
static int tell_folder(void *arg, const struct eng_dirent *entry)
{
    struct listing *l = arg;
    char text[SHOWN_NAME_SIZE];
    if (l->looks-- == 0)
        return 1;
    const bool is_told =
        S_ISDIR(entry->attr.mode) && entry->cookie > PLACE_UP && entry->name_len <= ENG_NAME_MAX;
    if (is_told) {
        (void)shown_name_encode(entry->name, entry->name_len, SHOWN_NAME_MAX, text);
        l->full =
            l->emit(l->arg, text, ino_of(l, CTL_PATHS_FOLDER, entry->attr.ino, 0), S_IFDIR, entry->cookie);
    }
    if (!l->full)
        l->cookie = entry->cookie;
    return l->full;
}

static int tell_removed(void *arg, const struct eng_removed *removed, uint64_t place)
{
    struct listing *l = arg;
    char text[SHOWN_NAME_SIZE];
    const bool is_folder = S_ISDIR(removed->attr.mode);
    const enum ctl_paths_kind kind = is_folder ? CTL_PATHS_REMOVED_FOLDER : CTL_PATHS_REMOVED;
    if (l->until && now_ns() > l->until) {
        l->full = true;
        return 1;
    }
    if (!l->until)
        l->until = now_ns() + REMOVED_NS;
    show_name(removed, text);
    l->full = l->emit(l->arg, text, ino_of(l, kind, removed->ino, removed->number), removed->attr.mode,
                      PLACE_REMOVED + place);
    return l->full;
}

static int list_folders(struct listing *l)
{
    struct eng *eng = session_of(l->req)->eng;
    struct eng_attr attr;
    int r = eng_getattr(eng, l->of->ino, &attr);
    if (r || attr.nlink == 2) /* it has none */
        return r;
    uint64_t before;
    do {
        before = l->cookie;
        l->looks = LOOKS;
        r = eng_readdir(eng, NULL, l->of->ino, l->cookie, tell_folder, l);
    } while (!r && !l->full && l->cookie != before);
    return r;
}

static bool tell_dots(struct listing *l, uint64_t from)
{
    const bool is_root = l->of->kind == CTL_PATHS_FOLDER && l->of->ino == ENG_ROOT_INO;
    const uint64_t up = is_root ? CTL_DIR_INO : ino_of(l, CTL_PATHS_FOLDER, l->of->folder, 0);
    if (from < 1 && l->emit(l->arg, ".", paths_ino(session_of(l->req), l->of), S_IFDIR, 1))
        return false;
    return from >= PLACE_UP || !l->emit(l->arg, "..", up, S_IFDIR, PLACE_UP);
}

int deleted_list(fuse_req_t req, const struct ctl_paths_what *of, uint64_t from, paths_emit emit, void *arg)
{
    struct listing l = {.req = req, .of = of, .emit = emit, .arg = arg};
    int r = check_folder(req, of, PAST_LIST);
    if (r || !tell_dots(&l, from))
        return r;
    l.cookie = from > PLACE_UP ? from : PLACE_UP;
    if (from < PLACE_REMOVED && of->kind == CTL_PATHS_FOLDER)
        r = list_folders(&l);
    if (r || l.full)
        return r;
    r = eng_removed_list(session_of(req)->eng, of->ino, from < PLACE_REMOVED ? 0 : from - PLACE_REMOVED,
                         tell_removed, &l);
    return r < 0 ? r : 0;
}

/* ---- who, and mv out ---------------------------------------------------------- */

ssize_t deleted_told(fuse_req_t req, const struct ctl_paths_what *what, enum xa_virtual which, char *text,
                     size_t size)
{
    struct eng_removed removed;
    int r = eng_removed_find(session_of(req)->eng, what->folder, what->path, what->number, &removed);
    if (r)
        return r;
    if (which == XA_ACTOR)
        return removed.actor.known ? paths_actor(&removed.actor, text, size) : -ENODATA;
    return snprintf(text, size, "removed");
}

static void on_linked(void *arg, uint64_t ino)
{
    attr_changed(session_of(arg), ino);
}

int deleted_undelete(fuse_req_t req, const struct ctl_paths_what *in, const char *name, fuse_ino_t new_parent,
                     const char *new_name)
{
    const struct session *session = session_of(req);
    struct eng_caller who = caller_of(req);
    struct eng_attr attr;
    struct eng_removed removed;
    struct cut cut;
    int r = check_folder(req, in, PAST_SEARCH);
    if (!r)
        r = find_removal(req, in, name, &cut, &removed);
    if (r == 1) /* a folder that is there */
        return -EROFS;
    if (r)
        return r;
    who.ref = false;
    r = eng_undelete(caller_engine(req), &who, caller_is_above_modes(req) ? NULL : &who.uid, in->ino,
                     removed.name, removed.number, new_parent, new_name, &attr);
    if (r)
        return r;
    if (ctl_is_trusted(session->ctl, req)) {
        const bool is_folder = S_ISDIR(attr.mode);
        ctl_paths_moved(
            session->paths,
            &(struct ctl_paths_what){.kind = is_folder ? CTL_PATHS_REMOVED_FOLDER : CTL_PATHS_REMOVED,
                                     .ino = removed.ino,
                                     .number = removed.number,
                                     .folder = in->ino,
                                     .path = removed.name,
                                     .path_len = removed.name_len},
            fuse_req_ctx(req)->uid);
    }
    if (S_ISDIR(attr.mode))
        revived_note(session->eng, attr.ino, fuse_req_ctx(req)->uid, ctl_is_trusted(session->ctl, req),
                     on_linked, req);
    attr_changed(session, attr.ino);
    attr_changed(session, new_parent);
    return 0;
}
