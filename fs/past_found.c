/*
 * past_found.c - see past_found.h. */
#include "past_found.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "caller.h"

/* Numbers for stat(2) are hashed from these, which no batch has, nor a time after the epoch (views.c). */
#define MARK_STATE (UINT64_C(1) << 62)
#define MARK_DELETED (UINT64_C(3) << 61)
#define MARK_PATH (UINT64_C(5) << 60)

bool paths_is_top(const struct ctl_paths_what *what)
{
    return (what->kind == CTL_PATHS_HISTORY && what->path_len == 0) ||
           (what->kind == CTL_PATHS_FOLDER && what->ino == ENG_ROOT_INO);
}

int64_t paths_time(const struct session *session)
{
    return ctl_paths_time(session->paths, eng_position(session->eng));
}

uint64_t paths_ino(const struct session *session, const struct ctl_paths_what *what)
{
    uint64_t key = what->number | (what->kind == CTL_PATHS_VERSION ? MARK_STATE : MARK_DELETED);
    uint64_t ino = what->ino;
    if (paths_is_top(what))
        return paths_is_history(what->kind) ? CTL_HISTORY_INO : CTL_DELETED_INO;
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_SAME_INO") && what->ino) /* tests/mount/history.sh */
        return ino;
#endif
    if (paths_is_history(what->kind) && what->kind != CTL_PATHS_VERSION) {
        key = MARK_PATH | (uint64_t)what->kind;
        ino = eng_keyed_hash(eng_view_mark(session->eng, key, 0), what->path, what->path_len);
    }
    return VIEWS_INO_BIT | (eng_view_mark(session->eng, key, ino) & (VIEWS_INO_BIT - 1));
}

int paths_set(struct paths_found *found, const char *path, size_t len)
{
    if (len >= sizeof found->path)
        return -ENAMETOOLONG;
    if (len)
        memcpy(found->path, path, len);
    found->path[len] = '\0';
    found->what = (struct ctl_paths_what){.path = found->path, .path_len = len};
    return 0;
}

int paths_actor(const struct eng_actor *actor, char *text, size_t size)
{
    return snprintf(text, size, "%" PRIu32 ":%s", actor->uid, actor->process);
}

bool paths_asks_no_way(fuse_req_t req)
{
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_WAY_UNASKED")) /* tests/mount/history.sh */
        return true;
#endif
    return caller_is_above_modes(req);
}
