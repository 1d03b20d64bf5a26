/*
 * storeid.h - which store it is: that a folder is the store of a mount, and not one of the same name
 * elsewhere (in another container, say), one that has taken its place, or a copy of it. */
#ifndef ENGRAMCTL_STOREID_H
#define ENGRAMCTL_STOREID_H

#include <stdint.h>
#include <sys/types.h>

enum { STOREID_SIZE = 16 };

/* Has the superblock in folder `fd` this uuid? 1 yes, 0 no, -ENOENT there is none, or another error. */
int storeid_has(int fd, const uint8_t uuid[STOREID_SIZE]);
/*
 * The folder `fd`, called `store`, is that of the mount, which `user` has mounted, or it is refused with a
 * reason. A mount says itself which store it has: of somebody else's store it would lend out our right to
 * read it, so that it has to be the user's own. */
int storeid_prove(const char *mountpoint, uid_t user, const char *store, int fd,
                  uint8_t ret_uuid[STOREID_SIZE], char ret_why[512]);
/* Opens it, where the mount, or somebody who knows, says that it is. A descriptor, or -errno. */
int storeid_open(const char *mountpoint, uid_t user, const char *store, char ret_why[512]);

#endif
