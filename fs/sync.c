/*
 * sync.c - fsyncs are flushed in groups.
 *
 * All writes go to one log, so that one flush answers for all who asked before it. The first who asks
 * flushes, and then for those who came meanwhile, until there are none; their threads go on with other
 * requests, so that no thread of the session sleeps for each of them. face->sync_lock is a leaf: nothing is
 * called under it.
 */
#include <stdlib.h>

#include "control.h"
#include "face.h"

struct face_sync {
    struct face_sync *next;
    fuse_req_t req;
    fuse_ino_t ino;
    enum face_op op;
    struct face_timer timer;
};

static void answer(struct face_sync *s, int result)
{
    face_timer_end(&s->timer); /* what who was answered looks up counts this request */
    face_reply_err(s->req, s->op, result);
}

static void flush_for(struct eng *eng, struct face_sync *group)
{
    int r = eng_fsync(eng, group->ino);
    while (group) {
        struct face_sync *s = group;
        group = s->next;
        answer(s, r);
        free(s);
    }
}

/* Whether another thread flushes already, and will for this one. */
static bool queue(struct face *face, struct face_sync *s)
{
    pthread_mutex_lock(&face->sync_lock);
    bool taken = face->syncing;
    face->syncing = true;
    if (face->sync_first)
        face->sync_last->next = s;
    else
        face->sync_first = s;
    face->sync_last = s;
    pthread_mutex_unlock(&face->sync_lock);
    return taken;
}

/* Those who wait; NULL: nobody, and the next to ask flushes. */
static struct face_sync *take(struct face *face)
{
    pthread_mutex_lock(&face->sync_lock);
    struct face_sync *group = face->sync_first;
    face->sync_first = NULL;
    face->syncing = group != NULL;
    pthread_mutex_unlock(&face->sync_lock);
    return group;
}

void face_sync(fuse_req_t req, enum face_op op, fuse_ino_t ino)
{
    struct face *face = face_of(req);
    struct face_sync me = {.req = req, .ino = ino, .op = op, .timer = face_timer_begin(face, op)};
    if (ctl_owns(ino)) {
        answer(&me, 0);
        return;
    }
    struct face_sync *s = malloc(sizeof *s);
    if (!s) {
        answer(&me, eng_fsync(face->eng, ino));
        return;
    }
    *s = me;
    if (queue(face, s))
        return;
    struct face_sync *group;
    while ((group = take(face)))
        flush_for(face->eng, group);
}
