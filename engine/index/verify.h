/*
 * verify.h - whether an index is one that the log could have made.
 *
 * Locking: index_lock shared, or a frozen view. */
#ifndef ENGRAMFS_VERIFY_H
#define ENGRAMFS_VERIFY_H

#include "index/index.h"

/*
 * Checks every record, link and count. Each finding goes to `problem` (may be NULL) as a line; the walk stops
 * where it could not go on safely. Returns the number of findings, -ENOMEM, or -ECANCELED (idx->cancel).
 * `deep` also checks that directories form a tree. */
int64_t index_verify(const struct index *idx, bool deep, void (*problem)(void *arg, const char *line),
                     void *arg);
/* The same as one answer: 0, -EBADMSG, -ENOMEM, -ECANCELED. */
int index_is_sound(const struct index *idx);

#endif
