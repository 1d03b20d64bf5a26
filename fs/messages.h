/*
 * messages.h - the daemon's log: stderr in the foreground, syslog (and so the
 * journal) in the background. One line an event, with what to do about it.
 * As a service stderr is the journal: lines carry their level there, as <3>. */
#ifndef ENGRAMFS_FS_MESSAGES_H
#define ENGRAMFS_FS_MESSAGES_H

#include <fuse_log.h>
#include <stdarg.h>
#include <stdbool.h>

#include "engine.h"

/* Once, before the first line. `debug` lets ENG_LOG_DEBUG through. */
void messages_init(bool foreground, bool debug);
void messages_line(enum eng_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* For whoever started the program, on stderr, before there is a log. */
void messages_say(const char *text);
/* The engine's callback (eng_options.log). */
void messages_engine(void *arg, enum eng_log_level level, const char *line);
/* libfuse's callback (fuse_set_log_func). */
void messages_fuse(enum fuse_log_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

#endif
