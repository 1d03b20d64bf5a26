/*
 * control.h - the control files of a mount, MOUNT/.engram/NAME. */
#ifndef ENGRAM_SHARED_CONTROL_H
#define ENGRAM_SHARED_CONTROL_H

#include "shared/buf.h"

/* Writes one line. 0, or the control file's errno (see its `help`). */
int control_write(const char *mountpoint, const char *name, const char *line);
/* Reads the whole text; ends with a NUL that is not counted. */
int control_read(const char *mountpoint, const char *name, struct buf *ret_text);
/* What an errno of a control file means, in words. */
const char *control_strerror(int error);

#endif
