/*
 * fsync.c - fsyncs are flushed in groups.
 *
 * All writes go to one log, so that one flush answers for all who asked before it. The first who asks
 * flushes, and then for those who came meanwhile, until there are none; their threads go on with other
 * requests, so that no thread of the session sleeps for each of them. The one thread of room.c, for which
 * others wait, flushes for nobody else. session->sync_lock is a leaf: nothing
 * is called under it. */
#include "fsync.h"

#include <stdlib.h>

#include "control/nodes.h"
#include "reply.h"
#include "room.h"

struct fsync_waiter {
    struct fsync_waiter *next;
    fuse_req_t req;
    fuse_ino_t ino;
    enum request_op op;
    struct request_timer timer;
    fsync_reply *reply; /* NULL: reply_err() */
    void *arg;
};

static void answer(struct fsync_waiter *s, int result)
{
    request_end(&s->timer); /* what who was answered looks up counts this request */
    if (s->reply)
        s->reply(s->req, result, s->arg);
    else
        reply_err(s->req, s->op, result);
}

static void answer_all(struct fsync_waiter *group, int r)
{
    while (group) {
        struct fsync_waiter *s = group;
        group = s->next;
        answer(s, r);
        free(s);
    }
}

static void flush_for(struct eng *eng, struct fsync_waiter *group)
{
    int r = eng_fsync(eng, group->ino);
    answer_all(group, r);
}

/* Whether another thread flushes already, and will for this one. */
static bool queue(struct session *session, struct fsync_waiter *s)
{
    pthread_mutex_lock(&session->sync_lock);
    bool taken = session->syncing;
    session->syncing = true;
    if (session->sync_first)
        session->sync_last->next = s;
    else
        session->sync_first = s;
    session->sync_last = s;
    pthread_mutex_unlock(&session->sync_lock);
    return taken;
}

/* Those who wait; NULL: nobody, and the next to ask flushes. */
static struct fsync_waiter *take(struct session *session)
{
    pthread_mutex_lock(&session->sync_lock);
    struct fsync_waiter *group = session->sync_first;
    session->sync_first = NULL;
    session->syncing = group != NULL;
    pthread_mutex_unlock(&session->sync_lock);
    return group;
}

static void flush_then_answer(const struct fsync_waiter *me)
{
    struct session *session = session_of(me->req);
    struct fsync_waiter *s = room_is_handling() ? NULL : malloc(sizeof *s);
    if (!s) { /* it flushes for itself, and for nobody else */
        struct fsync_waiter alone = *me;
        answer(&alone, eng_fsync(session->eng, alone.ino));
        return;
    }
    *s = *me;
    if (queue(session, s))
        return;
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_LATE_TAKE")) { /* tests/mount/fsync.sh: the flush answers for those who came
                                            meanwhile */
        int r = eng_fsync(session->eng, s->ino);
        answer_all(take(session), r);
    }
#endif
    struct fsync_waiter *group;
    while ((group = take(session)))
        flush_for(session->eng, group);
}

void fsync_then_answer(fuse_req_t req, enum request_op op, fuse_ino_t ino, struct request_timer timer)
{
    const struct fsync_waiter me = {.req = req, .ino = ino, .op = op, .timer = timer};
    flush_then_answer(&me);
}

void fsync_then_reply(fuse_req_t req, fsync_reply *reply, void *arg, struct request_timer timer)
{
    const struct fsync_waiter me = {
        .req = req, .ino = ENG_ROOT_INO, .timer = timer, .reply = reply, .arg = arg};
    flush_then_answer(&me);
}

void fsync_request(fuse_req_t req, enum request_op op, fuse_ino_t ino)
{
    struct request_timer timer = request_begin(&session_of(req)->stats, op);
    /* Of a control file: that of a backup, which has listed what there is. */
    fsync_then_answer(req, op, ctl_owns(ino) ? ENG_ROOT_INO : ino, timer);
}

int fsync_names(fuse_req_t req, int r)
{
    const struct session *session = session_of(req);
    return !r && (session->opt->dirsync || session->opt->sync) ? eng_sync(session->eng) : r;
}

int fsync_change(fuse_req_t req, int r)
{
    const struct session *session = session_of(req);
    return !r && session->opt->sync ? eng_sync(session->eng) : r;
}
