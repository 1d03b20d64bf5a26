/*
 * revived.h - folders that came back out of .engram/deleted while somebody was still in them. To the kernel
 * such a folder is dead as long as it has its inode: nothing is found or made in it. So it is given another
 * generation of the same node: the kernel takes that for another inode, and who is in the old one gets EIO.
 *
 * Locking: a lock of its own, a leaf: the engine is never called under it. */
#ifndef ENGRAMFS_FS_REVIVED_H
#define ENGRAMFS_FS_REVIVED_H

#include "session.h"

enum { REVIVED_MAX = 4096 };

/* Of an entry that leads to that inode: 0, but for such a folder. */
uint64_t revived_generation(uint64_t ino);
/* Before the kernel can look it up: the folder came back, and all below it. Of more than REVIVED_MAX that
 * somebody is in some stay as they are, until nobody is; so do some of those of one person who is not
 * trusted, of more than an eighth of that. Calls `linked` for each file below that has another name, perhaps
 * since it was linked there again: of that the kernel may have another number of links. */
void revived_note(struct eng *eng, uint64_t ino, uid_t uid, bool trusted,
                  void (*linked)(void *arg, uint64_t ino), void *arg);

#endif
