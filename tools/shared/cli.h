/*
 * cli.h - what programs of the command line share: exit codes, messages on
 * stderr, progress on a terminal, signals, and the checked stdout. */
#ifndef ENGRAM_SHARED_CLI_H
#define ENGRAM_SHARED_CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

/* The name that stands before each message. A program that is not engramctl sets it at its start. */
extern const char *cli_program;

/* Exit codes of every subcommand. */
enum {
    CLI_OK = 0,
    CLI_SOME = 1,  /* the work was done, but not for everything: bad lines, problems found, a failed job */
    CLI_ERROR = 2, /* nothing useful was done: usage, target, output */
};

/* One line on stderr, prefixed with the name of the program. */
void cli_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void cli_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* One line on stderr without a prefix, for findings that come as lines. */
void cli_note(const char *line);
void cli_notef(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A name, or another text of anybody's, on stdout, with what is no text for a terminal, and backslash, as
 * \xHH. */
void cli_print_name(const char *name);
void cli_write_name(FILE *to, const char *name);
/* A line, or lines, of valid JSON on stdout: what is no text for a terminal is written as \uXXXX in its
 * strings, and is a blank between them. */
void cli_print_json(const char *text, size_t len);
/* Complaints about single lines or files: the first 20 are shown, all are counted. */
struct complaints {
    uint64_t n;
};
void cli_complain(struct complaints *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Answers a usage error: one line that points to --help; returns CLI_ERROR. */
int cli_usage(const char *subcommand, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Flushes stdout; a full disk or a closed pipe turns `code` into CLI_ERROR, with a message. */
int cli_finish_stdout(int code);

/* First of all: what is blocked and ignored is inherited from whoever starts the program. */
void cli_reset_signals(void);
/* SIGINT, SIGTERM and, but for nohup(1), SIGHUP only set this; long work looks at it between steps. */
bool cli_interrupted(void);
void cli_catch_signals(void);

/* ---- progress: silent unless stderr is a terminal ------------------------ */

struct progress {
    const char *what; /* e.g. "memories"; NULL: bytes. borrowed */
    bool on;          /* immutable after progress_start() */
    bool drawn;
    struct timespec start, last;
};

void progress_start(struct progress *p, const char *what);
/* How far, how fast and how long still. Draws at most five times a second. `total` 0: unknown. */
void progress_show(struct progress *p, uint64_t done, uint64_t total);
/* Takes the line away, so that messages and results start on a clean one. */
void progress_clear(struct progress *p);

double cli_seconds_since(const struct timespec *start);
/* "1.5 MiB"; returns buf, of 32 bytes at least. */
char *cli_bytes(uint64_t n, char *buf);

#endif
