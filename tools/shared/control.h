/*
 * control.h - the control files of a mount, MOUNT/.engram/NAME. Any FUSE may call itself an engramfs: no link
 * is followed, nothing but a regular file of that mount is written to, texts have a bound, and root asks
 * nothing of a mount that somebody else has made (-EREMOTE). */
#ifndef ENGRAM_SHARED_CONTROL_H
#define ENGRAM_SHARED_CONTROL_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "shared/buf.h"

/* Which mount it is: of the same store, mounted again, another. */
struct control_mount {
    dev_t dev;
    struct timespec began;
};

/* Writes one line. 0, or the control file's errno (see its `help`). */
int control_write(const char *mountpoint, const char *name, const char *line);
/* Reads the whole text; ends with a NUL that is not counted. */
int control_read(const char *mountpoint, const char *name, struct buf *ret_text);
/* Which mount is there. 0 or -errno. */
int control_find_mount(const char *mountpoint, struct control_mount *ret_mount);
/*
 * Has the daemon hold the files of its store until the descriptor returned is closed, however that happens.
 * Of a mount with -o ro, whose daemon removes nothing and keeps others from it, any control file will do. Or
 * -errno. */
int control_hold(const char *mountpoint);
/* Gives it back and closes it: sooner than closing alone, of which the daemon hears a moment later. */
void control_release(int fd);
/* Is the daemon that gave the hold still there? */
bool control_is_held(int fd);
/* The folder `snapshots` of that mount, open for reading. Or -errno. */
int control_open_snapshots(const char *mountpoint);
/* What an errno of a control file means, in words. */
const char *control_strerror(int error);

#endif
