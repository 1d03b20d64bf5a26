/*
 * conflicts_text.h - the text of `conflicts`. */
#ifndef ENGRAMFS_CONTROL_CONFLICTS_TEXT_H
#define ENGRAMFS_CONTROL_CONFLICTS_TEXT_H

#include "control/text_buffer.h"
#include "session.h"

/* The refusals that are kept, oldest first, as JSON lines; none without -o conflicts=refuse. */
int conflicts_text(const struct session *session, struct text *t);
/* How many there were since the mount. */
uint64_t conflicts_refused(const struct session *session);

#endif
