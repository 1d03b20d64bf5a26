/*
 * messages.c - see messages.h. State: where lines go, immutable after messages_init(); the last line of
 * libfuse. May be called from any thread. */
#include "messages.h"

#include "rules/printable.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static int stderr_fd = STDERR_FILENO; /* a copy: the number 2 is redirected while libfuse mounts */
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

void messages_init(bool foreground, bool debug)
{
    to_stderr = foreground;
    with_debug = debug;
    to_journald = foreground && stderr_is_journal();
    int copy = foreground ? fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3) : -1;
    if (copy >= 0)
        stderr_fd = copy;
    if (!foreground)
        openlog("engramfs", LOG_PID, LOG_DAEMON);
}

void messages_line(enum eng_log_level level, const char *format, ...)
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
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    printable_line(line); /* with names of anybody's */
    if (to_journald)
        (void)dprintf(stderr_fd, "<%d>%s%s\n", priority[level], label[level], line);
    else if (to_stderr)
        (void)dprintf(stderr_fd, "engramfs: %s%s\n", label[level], line);
    else
        syslog(priority[level], "%s%s", label[level], line);
}

void messages_say(const char *text)
{
    char line[1024];
    (void)snprintf(line, sizeof line, "%s", text);
    printable_line(line);
    (void)fprintf(stderr, "engramfs: %s\n", line);
}

void messages_engine(void *arg, enum eng_log_level level, const char *line)
{
    (void)arg;
    messages_line(level, "%s", line);
}

/* libfuse says for each request that it could not start a thread: the same line once more only when it came
 * twice as often. */
static bool is_repeated(const char *line)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static char last[512];      /* protected by lock */
    static unsigned long times; /* protected by lock */
    (void)pthread_mutex_lock(&lock);
    times = strcmp(line, last) == 0 ? times + 1 : 1;
    bool tell = (times & (times - 1)) == 0;
    (void)snprintf(last, sizeof last, "%s", line);
    (void)pthread_mutex_unlock(&lock);
    return !tell;
}

void messages_fuse(enum fuse_log_level level, const char *format, va_list args)
{
    char line[512];
    int n = vsnprintf(line, sizeof line, format, args);
    while (n > 0 && (size_t)n < sizeof line && line[n - 1] == '\n')
        line[--n] = '\0';
    if (level != FUSE_LOG_DEBUG && is_repeated(line))
        return;
    enum eng_log_level as = ENG_LOG_DEBUG;
    if (level <= FUSE_LOG_ERR)
        as = ENG_LOG_ERROR;
    else if (level <= FUSE_LOG_NOTICE)
        as = ENG_LOG_WARNING;
    else if (level <= FUSE_LOG_INFO)
        as = ENG_LOG_INFO;
    messages_line(as, "%s", line);
}
