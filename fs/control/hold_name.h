/*
 * hold_name.h - has the kernel give up the name .engram/hold whenever a file of it holds.
 *
 * The kernel keeps the entry of a name, and with it the inode, beyond the last
 * close, until that name is looked up again: FORGET, which ends a hold, would
 * come when somebody happens to do so. An inode that no name leads to goes
 * with its last descriptor. */
#ifndef ENGRAMFS_CONTROL_HOLD_NAME_H
#define ENGRAMFS_CONTROL_HOLD_NAME_H

#include "session.h"

struct hold_name;

/* `folder`: .engram. NULL: no memory. */
struct hold_name *hold_name_new(struct session *session, fuse_ino_t folder);
void hold_name_free(struct hold_name *hold_name); /* after hold_name_stop() has said true */
/* Whatever is open under that name by now loses it soon. -EAGAIN if there can be no thread for it. */
int hold_name_drop(struct hold_name *hold_name);
/* True: from then on FUSE's session is not used. Requests must still be answered meanwhile, or the connection
 * have ended: the kernel waits for look-ups in that folder before it gives a name up.
 *
 * False: the kernel does not come back, since somebody keeps the folder's lock. What is given here is used
 * until the process ends: neither hold_name nor FUSE's session may be freed, nor does closing FUSE's
 * descriptor end the connection. */
bool hold_name_stop(struct hold_name *hold_name);

#endif
