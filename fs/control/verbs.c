/*
 * verbs.c - the table of control files and verbs, the parser that it
 * drives and the help that it prints. Holds no state, takes no locks. */
#include "control/verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"

const struct ctl_file_info ctl_files[CTL_FILES] = {
    [CTL_COMPACT] = {"compact", true, false, false, "JSON of the compaction now running or last ended"},
    [CTL_MAINTENANCE] = {"maintenance", true, false, false, "JSON report of the last maintenance run"},
    [CTL_SCRUB] = {"scrub", true, false, false, "JSON of the scrub now running or last ended"},
    [CTL_HOLD] = {"hold", true, false, false, "JSON: how many holds there are, and which store this is"},
    [CTL_DAMAGED] = {"damaged", false, false, false,
                     "one line for each damaged extent: id, segment, offset, reason (tabs between)"},
    [CTL_SEGMENTS] =
        {"segments", false, false, false,
         "one line for each file of the store: name, bytes, kind, state, total, live (tabs between)"},
    [CTL_STATS] = {"stats.json", false, true, false, "JSON: content storage statistics"},
    [CTL_METRICS] = {"metrics", false, true, false, "the same and more for Prometheus"},
    [CTL_STATUS] = {"status", false, true, false, "the same for people, one screen"},
    [CTL_CONFIG] = {"config", true, false, false, "key=value lines"},
    [CTL_POSITION] = {"position", false, true, false, "the number of the last batch that this mount shows"},
    [CTL_WAIT_FOR] = {"wait-for", true, false, false, "the same number"},
    [CTL_CHANGES] = {"changes", false, false, false,
                     "the latest changes as JSON lines; the last line tells the position"},
    [CTL_CHANGES_SINCE] =
        {"changes-since", false, false, true,
         "a folder: SINCE in it has the changes after position SINCE, in pieces of about 1 MiB"},
    [CTL_SNAPSHOTS] = {"snapshots", false, false, true,
                       "a folder: mkdir NAME in it takes a snapshot, rmdir drops it, mv renames it; in NAME "
                       "is the tree of then"},
    [CTL_AT] =
        {"at", false, false, true,
         "a folder: WHEN in it, 2026-11-28T12:00:00Z, is the tree of then; an age (90s, 10m, 2h, 3d) a "
         "link to that"},
    [CTL_HISTORY] = {"history", false, false, true,
                     "a folder: PATH/@ in it has each kept state of PATH, oldest first, as NUMBER@TIME"},
    [CTL_DELETED] = {"deleted", false, false, true,
                     "a folder: what was removed and is kept, under its path of then; mv out of it brings it "
                     "back"},
    [CTL_CONFLICTS] = {"conflicts", false, false, false,
                       "what -o conflicts=refuse has refused, the last 256, as JSON lines"},
    [CTL_HELP] = {"help", false, true, false, "this text"},
};

/* What every job can be told; what differs is how help says it. */
#define JOB_START_VERBS(file, job, run_help)                                                                 \
    {file, "run", CTL_ARG_NONE, CTL_DO_JOB_RUN, true, run_help, job},                                        \
        {file, "start", CTL_ARG_NONE, CTL_DO_JOB_START, false, "the same, returns at once", job},            \
    {                                                                                                        \
        file, "wait", CTL_ARG_NONE, CTL_DO_JOB_WAIT, true,                                                   \
            "wait for the running one; if none runs, the result of the last", job                            \
    }
#define JOB_STEER_VERBS(file, job, cancel_help, rate_help)                                                   \
    {file, "pause", CTL_ARG_NONE, CTL_DO_JOB_PAUSE, false, "pause the running one", job},                    \
        {file, "resume", CTL_ARG_NONE, CTL_DO_JOB_RESUME, false, "let it go on", job},                       \
        {file, "cancel", CTL_ARG_NONE, CTL_DO_JOB_CANCEL, false, cancel_help, job},                          \
    {                                                                                                        \
        file, "rate=", CTL_ARG_BYTES, CTL_DO_JOB_RATE, false, rate_help " (k, M, G; 0 = unlimited)", job     \
    }
#define JOB_VERBS(file, job, run_help, cancel_help, rate_help)                                               \
    JOB_START_VERBS(file, job, run_help), JOB_STEER_VERBS(file, job, cancel_help, rate_help)

static const struct ctl_verb verbs[] = {
    JOB_START_VERBS(CTL_COMPACT, ENG_JOB_COMPACT,
                    "compact all garbage whatever the thresholds; returns when it is done"),
    {CTL_COMPACT, "estimate", CTL_ARG_NONE, CTL_DO_ESTIMATE, false,
     "what a run would give now; then read \"estimate\" in this file", ENG_JOBS},
    JOB_STEER_VERBS(CTL_COMPACT, ENG_JOB_COMPACT,
                    "end it; what it has moved stays moved; those who wait for it get ECANCELED",
                    "bytes a second that are copied"),
    {CTL_MAINTENANCE, "run", CTL_ARG_NONE, CTL_DO_MAINTENANCE_RUN, true,
     "compact only if the thresholds in config say so; returns when it is done", ENG_JOBS},
    JOB_VERBS(CTL_SCRUB, ENG_JOB_SCRUB,
              "verify every live byte; returns when it is done, EIO if there is damage", "end it",
              "bytes a second that are read"),
    {CTL_HOLD, "hold", CTL_ARG_NONE, CTL_DO_HOLD, false,
     "unlink no segment from now on, so that the store can be copied; nests", ENG_JOBS},
    {CTL_HOLD, "hold-while-open", CTL_ARG_NONE, CTL_DO_HOLD_WHILE_OPEN, false,
     "the same until the file that wrote it is closed, however that happens", ENG_JOBS},
    {CTL_HOLD, "release", CTL_ARG_NONE, CTL_DO_RELEASE, false, "take one hold back", ENG_JOBS},
    {CTL_CONFIG, "KEY=VALUE", CTL_ARG_PAIR, CTL_DO_CONFIG_SET, false,
     "change a key that this file lists; lasts over restarts", ENG_JOBS},
    {CTL_WAIT_FOR, "POSITION", CTL_ARG_POSITION, CTL_DO_WAIT_FOR, true,
     "returns when this mount shows that batch; one that shows it already at once", ENG_JOBS},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

int ctl_file_by_name(const char *name)
{
    for (int i = 0; i < CTL_FILES; i++)
        if (strcmp(ctl_files[i].name, name) == 0)
            return i;
    return -1;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Copies s[0..len) with the blanks around it removed; false if it is empty, too long or holds a NUL. */
static bool take(char *ret, size_t cap, const char *s, size_t len)
{
    while (len > 0 && is_blank(s[0])) {
        s++;
        len--;
    }
    while (len > 0 && is_blank(s[len - 1]))
        len--;
    if (len == 0 || len >= cap || memchr(s, '\0', len))
        return false;
    memcpy(ret, s, len);
    ret[len] = '\0';
    return true;
}

static int parse_pair(const char *line, struct ctl_command *ret)
{
    const char *equals = strchr(line, '=');
    if (!equals || !take(ret->key, sizeof ret->key, line, (size_t)(equals - line)) ||
        !take(ret->value, sizeof ret->value, equals + 1, strlen(equals + 1)))
        return -EINVAL;
    return 0;
}

int ctl_parse_position(const char *text, uint64_t *ret_position)
{
    uint64_t position = 0;
    if (!*text)
        return -EINVAL;
    for (const char *p = text; *p; p++) {
        unsigned digit = (unsigned)(*p - '0');
        if (*p < '0' || *p > '9')
            return -EINVAL;
        if (position > ((uint64_t)INT64_MAX - digit) / 10) /* beyond any batch */
            return -ERANGE;
        position = position * 10 + digit;
    }
    *ret_position = position;
    return 0;
}

static int parse_line(enum ctl_file file, const char *line, struct ctl_command *ret)
{
    memset(ret, 0, sizeof *ret);
    for (size_t i = 0; i < VERBS; i++) {
        const struct ctl_verb *v = &verbs[i];
        if (v->file != file)
            continue;
        size_t n = strlen(v->name);
        ret->verb = v;
        if (v->argument == CTL_ARG_PAIR)
            return parse_pair(line, ret);
        if (v->argument == CTL_ARG_POSITION)
            return ctl_parse_position(line, &ret->position) ? -EINVAL : 0;
        if (v->argument == CTL_ARG_NONE && strcmp(line, v->name) == 0)
            return 0;
        if (v->argument == CTL_ARG_BYTES && strncmp(line, v->name, n) == 0)
            return bytes_parse(line + n, &ret->bytes) ? -EINVAL : 0;
    }
    return -EINVAL;
}

int ctl_parse(enum ctl_file file, const char *buf, size_t size,
              struct ctl_command ret_commands[CTL_COMMANDS_MAX], size_t *ret_n)
{
    size_t n = 0;
    bool waiting = false;
    while (size > 0) {
        const char *newline = memchr(buf, '\n', size);
        size_t len = newline ? (size_t)(newline - buf) : size;
        const char *line = buf;
        buf += newline ? len + 1 : len;
        size -= newline ? len + 1 : len;

        char text[CTL_KEY_MAX + CTL_VALUE_MAX + 8];
        bool blank = true;
        for (size_t i = 0; i < len && blank; i++)
            blank = is_blank(line[i]);
        if (blank)
            continue;
        if (*line == '#')
            continue;
        if (!take(text, sizeof text, line, len) || waiting)
            return -EINVAL;
        if (n == CTL_COMMANDS_MAX)
            return -E2BIG;
        int r = parse_line(file, text, &ret_commands[n]);
        if (r)
            return r;
        waiting = ret_commands[n].verb->waits;
        n++;
    }
    *ret_n = n;
    return 0;
}

void ctl_help(struct text *t)
{
    text_add(t, "Control files of this engramfs mount (%s/). Example: echo run > %s/compact\n", CTL_DIRECTORY,
             CTL_DIRECTORY);
    for (int file = 0; file < CTL_FILES; file++) {
        text_add(t, "\n%-12s read:  %s\n", ctl_files[file].name, ctl_files[file].help);
        for (size_t i = 0; i < VERBS; i++) {
            if (verbs[i].file != (enum ctl_file)file)
                continue;
            char name[32];
            (void)snprintf(name, sizeof name, "%s%s", verbs[i].name,
                           verbs[i].argument == CTL_ARG_BYTES ? "BYTES" : "");
            text_add(t, "             write: %-15s %s\n", name, verbs[i].help);
        }
    }
    text_add(t, "\n"
                "A write is one or more whole lines; the last newline may be missing, a line that\n"
                "begins with # is a comment. Nothing is done unless every line is right. A verb that\n"
                "returns when its work is done must be the last line; its writer may be interrupted\n"
                "(Ctrl-C, EINTR) while the work goes on. The offset means nothing, but Linux cuts a\n"
                "write at the first multiple of 4096 that is in it: a line that goes over it is\n"
                "EINVAL, and whole lines before it are a write of their own. At offset 0 nothing is\n"
                "cut.\n"
                "\n"
                "Errors: EINVAL unknown verb or value, EBUSY one is running already, ESRCH none is\n"
                "running, ENOSPC not enough room to move anything, EROFS read-only, EACCES not the\n"
                "owner of the mount (nor in -o ctl_group=), ECANCELED cancelled while waited for,\n"
                "EIO failed: see \"error\" in the file and `status`.\n");
}
