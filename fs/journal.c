/*
 * journal.c - see journal.h. State: where lines go, immutable after journal_init().
 * May be called from any thread.
 */
#include "journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static bool to_stderr = true;
static bool with_debug;
static bool to_journald;

/* Is stderr the journal's? systemd says which file that is, since it may have been redirected meanwhile:
 * JOURNAL_STREAM in systemd.exec(5). */
static bool stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &st) == 0 &&
           st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void journal_init(bool foreground, bool debug)
{
    to_stderr = foreground;
    with_debug = debug;
    to_journald = foreground && stderr_is_journal();
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
    if (to_journald)
        (void)fprintf(stderr, "<%d>%s%s\n", priority[level], label[level], line);
    else if (to_stderr)
        (void)fprintf(stderr, "engramfs: %s%s\n", label[level], line);
    else
        syslog(priority[level], "%s%s", label[level], line);
}

void journal_engine(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    journal_line(level, "%s", line);
}
