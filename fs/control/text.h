/*
 * text.h - what the control files say, from the figures of the engine
 * and the little that the session remembers itself. */
#ifndef ENGRAMFS_CONTROL_TEXT_H
#define ENGRAMFS_CONTROL_TEXT_H

#include "control/remembered.h"
#include "control/verbs.h"
#include "session.h"

/* Writes the text of `file` as of now. Errors of the engine come back. */
int ctl_text(struct session *session, const struct ctl_memory *memory, enum ctl_file file, struct text *t);

#endif
