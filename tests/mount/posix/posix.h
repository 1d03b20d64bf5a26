/*
 * posix.h - what the subjects of the conformance program share.
 *
 * A check has an id (subject.what.case), which docs/COMPATIBILITY.md names when
 * engramfs answers otherwise than ext4 does, and an expected answer: ext4's.
 * It prints one line, 'ok - ID' or 'not ok - ID: got ..., expected ...'. A line
 * says nothing that differs from run to run: two outputs are compared. */
#ifndef ENGRAMFS_TESTS_POSIX_H
#define ENGRAMFS_TESTS_POSIX_H

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* An id made of pieces; valid until the sixty-fourth call after this one. */
const char *p_id(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A call with a result >= 0 is errno 0. */
void p_errno(const char *id, long result, int err, int expected);
void p_equal(const char *id, long long got, long long expected);
void p_text(const char *id, const char *got, const char *expected);
void p_true(const char *id, bool holds);
void p_skip(const char *id, const char *why);
/* Preparations: ends the subject when they fail. */
void p_must(long result, const char *what, const char *file, int line);

/* The call must answer `expected`: an errno value, 0 for success. */
#define X(id, call, expected)                                                                                \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long x_result = (long)(call);                                                                        \
        p_errno(id, x_result, errno, expected);                                                              \
    } while (0)
#define MUST(call) p_must((long)(call), #call, __FILE__, __LINE__)

/* Opens and closes; 0 or -1. */
int p_open(const char *path, int flags, mode_t mode);
/* A new file of that mode with that many bytes, 'a' to 'z' over and over. */
void p_file(const char *path, mode_t mode, size_t size);
void p_dir(const char *path, mode_t mode);
struct stat p_stat(const char *path);
/* Whole content of a small file as text, "" if it cannot be read; valid until the next call. */
const char *p_content(const char *path);
/* Writes the first byte through a shared mapping, synced. */
void p_store_mapped(int fd);
/* Until the clock that ext4 takes times from has moved on. */
void p_tick(void);

/* Who a check acts for, besides root. Neither is in the other's groups. */
struct who {
    uid_t uid;
    gid_t gid, extra; /* extra 0: no supplementary group */
};
extern const struct who alice, bob; /* alice is in group 5555 besides */
#define EXTRA_GROUP 5555
/* Runs `checks` in a child that has become `who`. */
void p_as(const struct who *who, void (*checks)(void));
/* Runs `checks` in a child; what it opened, locked, limited or masked is gone afterwards. */
void p_apart(void (*checks)(void));

/* The subjects, each called in an empty directory of its own. */
void paths_run(void);
void open_run(void);
void names_run(void);
void rename_run(void);
void modes_run(void);
void times_run(void);
void stamps_run(void);
void data_run(void);
void holes_run(void);
void io_run(void);
void xattr_run(void);
void locks_run(void);
void watch_run(void);
void dirs_run(void);
void pages_run(void);
void system_run(void);
void races_run(void);
void misc_run(void);

#endif
