/*
 * room.h - requests that wait for room on a full disk, in no thread of the session: readers, and whoever
 * cancels the compaction, need those. */
#ifndef ENGRAMFS_FS_ROOM_H
#define ENGRAMFS_FS_ROOM_H

#include "session.h"

struct room;

/* NULL: no memory. */
struct room *room_new(struct session *session);
/* After the session's loop, while its descriptor is open: who still waits gets EINTR; nobody is answered from
 * here after that. */
void room_stop(struct room *room);
/* Before the engine's end; NULL is fine. Stops it. */
void room_free(struct room *room);

/* The request that this thread handles next, as the kernel has sent it; valid until the thread has handled
 * it. */
void room_note_request(const void *request, size_t size);
/* The same as it came, for whoever puts it aside. Size 0: it is not known. */
size_t room_request_size(void);
void room_copy_request(void *to);
/*
 * A handler got -EAGAIN from the engine (eng_options.room_later): puts the request aside, to be handled anew
 * once there is room. False: it is to be answered now, with ENOSPC if it is a change. */
bool room_put_aside(fuse_req_t req, enum request_op op);
/* Whether this thread handles anew what was put aside. There is one such thread, and all who wait for room
 * wait for it: it takes no work over from others. */
bool room_is_handling(void);
/* Whether such a request changes something: nothing else waits for room. */
bool room_changes(enum request_op op);

#endif
