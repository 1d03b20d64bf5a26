/*
 * journal.c - see journal.h. State: where lines go, immutable after journal_init().
 * May be called from any thread.
 */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

static bool to_stderr = true;
static bool with_debug;

void journal_init(bool foreground, bool debug)
{
    to_stderr = foreground;
    with_debug = debug;
    if (!foreground)
        openlog("engramfs", LOG_PID, LOG_DAEMON);
}

void journal_line(enum eng_log_level level, const char *format, ...)
{
    static const int priority[] = {
        [ENG_LOG_ERROR] = LOG_ERR,
        [ENG_LOG_WARNING] = LOG_WARNING,
        [ENG_LOG_INFO] = LOG_INFO,
        [ENG_LOG_DEBUG] = LOG_DEBUG,
    };
    static const char *const label[] = {
        [ENG_LOG_ERROR] = "error: ",
        [ENG_LOG_WARNING] = "warning: ",
        [ENG_LOG_INFO] = "",
        [ENG_LOG_DEBUG] = "debug: ",
    };
    if (level == ENG_LOG_DEBUG && !with_debug)
        return;
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof(line), format, args);
    va_end(args);
    if (to_stderr)
        (void)fprintf(stderr, "engramfs: %s%s\n", label[level], line);
    else
        syslog(priority[level], "%s%s", label[level], line);
}

void journal_engine(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    journal_line(level, "%s", line);
}
