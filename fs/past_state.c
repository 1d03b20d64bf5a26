/*
 * past_state.c - see past_state.h.
 *
 * What others than root ask for is asked of the daemon each time, and answered for the caller of the request,
 * whoever looked the node up. No state, no locks. */
#include "past_state.h"

#include <errno.h>
#include <stdlib.h>

#include "attr.h"
#include "caller.h"
#include "control/drop_names.h"
#include "control/nodes.h"
#include "reply.h"

/* ---- rights --------------------------------------------------------------- */

/* Whose rights are asked for. */
struct asker {
    const struct fs_options *opt;
    uid_t uid;
    fuse_req_t req; /* NULL: he does not ask himself, so his groups are not known: all may be his */
};

static bool mode_lets_in(const struct asker *who, const struct eng_attr *attr, unsigned want)
{
    unsigned mode = attr->mode & 0777;
    if (who->uid == attr->uid)
        mode >>= 6;
    else if (!who->req)
        mode |= mode >> 3;
    else if (caller_in_group(who->req, attr->gid))
        mode >>= 3;
    return (mode & want) == want;
}

static bool lets_in(const struct asker *who, const struct eng_attr *attr, enum past_right right)
{
    bool is_folder = S_ISDIR(attr->mode);
    bool of_owner = who->opt->past == PAST_OWNER && (right == PAST_READ || right == PAST_FIELDS);
    if (of_owner && who->uid != attr->uid)
        return false;
    if (S_ISLNK(attr->mode)) /* its mode means nothing */
        return true;
    return who->opt->noperm || mode_lets_in(who, attr, right == PAST_SEARCH && is_folder ? 1 : 4);
}

static int check(const struct asker *who, const struct past *past, uint64_t ino, enum past_right right)
{
    struct eng_attr then, today;
    int r = eng_view_getattr(past->view, ino, &then);
    if (r)
        return r;
    if (!lets_in(who, &then, right))
        return -EACCES;
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_MODE_OF_THEN_ONLY")) /* tests/mount/past.sh */
        return 0;
#endif
    r = eng_getattr(past->eng, ino, &today);
    if (r == -ESTALE || (!r && today.nlink == 0))
        return 0;
    if (!r && !lets_in(who, &today, right))
        r = -EACCES;
    return r;
}

int past_check(fuse_req_t req, const struct past *past, uint64_t ino, enum past_right right)
{
    const struct asker who = {session_of(req)->opt, fuse_req_ctx(req)->uid, req};
    return caller_is_above_modes(req) ? 0 : check(&who, past, ino, right);
}

bool past_lets_in(fuse_req_t req, const struct eng_attr *attr, enum past_right right)
{
    const struct asker who = {session_of(req)->opt, fuse_req_ctx(req)->uid, req};
    return lets_in(&who, attr, right);
}

int past_check_whose(const struct session *session, const struct past *past, uid_t whose, uint64_t ino,
                     enum past_right right)
{
    const struct asker who = {session->opt, whose, NULL};
    return check(&who, past, ino, right);
}

/* ---- views ------------------------------------------------------------------ */

int past_open(fuse_req_t req, uint64_t batch, struct past *ret_past)
{
    const struct session *session = session_of(req);
    const struct ctl_views_what what = {.is_batch = true, .key = batch};
    int r = ctl_views_get(session->views, &what, fuse_req_ctx(req)->uid, ctl_is_trusted(session->ctl, req),
                          ret_past);
    if (r)
        return r;
    ret_past->of_path = true;
    ret_past->kept = false;
    return 0;
}

int past_check_still(const struct past *past, uint64_t ino)
{
    uint64_t state;
    int r = past->of_path ? eng_view_state(past->view, ino, &state) : 0;
    return !r && past->of_path && state != past->state ? -ESTALE : r;
}

/* Not of the request, which may have been answered. */
void past_done(const struct past *past)
{
    ctl_views_put(past->views, past);
}

double past_timeout(const struct past *past)
{
    return past->kept ? REPLY_TIMEOUT : 0;
}

void past_stat(const struct session *session, const struct past *past, const struct eng_attr *attr,
               struct stat *ret_st)
{
    attr_stat(session, attr, ret_st);
    ret_st->st_ino = ctl_views_shown_ino(session->eng, &past->what, attr->ino);
}

void past_count_bytes(const struct past *past, struct eng_attr *attr)
{
    if (S_ISREG(attr->mode)) /* else it stays the size */
        (void)eng_view_bytes(past->view, attr->ino, &attr->bytes);
}

bool past_is_as_then(const struct past *past, const struct eng_attr *then)
{
    struct eng_attr today;
    return eng_getattr(past->eng, then->ino, &today) == 0 && today.nlink > 0 &&
           today.version == then->version && today.mode == then->mode && today.uid == then->uid &&
           today.gid == then->gid;
}

/* What the kernel goes by are set-ID programs and devices. */
mode_t past_safe_mode(const struct past *past, const struct eng_attr *attr)
{
    bool is_device = S_ISCHR(attr->mode) || S_ISBLK(attr->mode);
    if (!is_device && (!S_ISREG(attr->mode) || !(attr->mode & (S_ISUID | S_ISGID))))
        return attr->mode;
    if (past_is_as_then(past, attr))
        return attr->mode;
    return attr->mode & ~(mode_t)(is_device ? 07777 : S_ISUID | S_ISGID);
}

void past_look_at_memory(const struct session *session)
{
    const unsigned wanted = drop_names_wanted(session);
    if (wanted)
        (void)drop_names_views(ctl_drop_names(session->ctl), wanted); /* without a thread: at the next look */
}
