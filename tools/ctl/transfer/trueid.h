/*
 * trueid.h - the true id: whether the id that a file has in its attribute user.engram.id is its own. Anybody
 * who may write to a file can set that, and it stays behind when the file is moved or copied. So an id is
 * believed only where the name of the file is a form of it (idpath.h), and it leads to no other memory. */
#ifndef ENGRAMCTL_TRUEID_H
#define ENGRAMCTL_TRUEID_H

#include "ctl/transfer/walk.h"

/* Of the file that the walk has come to. The id is that from the mount's root on. */
bool trueid_is(const struct walk *w, const char *id, size_t len);

/* Whether `path` is a place where an import into one of the folders on it may put this id. Pure. */
bool trueid_leads(const char *id, size_t len, const char *path);

#endif
