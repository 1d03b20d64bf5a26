/*
 * processes.h - who a thread belongs to: FUSE tells a thread's number alone. */
#ifndef ENGRAMFS_FS_PROCESSES_H
#define ENGRAMFS_FS_PROCESSES_H

#include "seen.h"
#include "session.h"

/* The beginning of /proc/PID/FILE, as a string: empty, if it cannot be had. */
void proc_read(pid_t pid, const char *file, char *text, size_t size);
/* The process of a thread. 0: it cannot be told. */
pid_t proc_of_thread(pid_t thread);

/* Number and start of a process make its key, of 61 bits: a number that is used again is another process. */
enum { PROCESS_PID_BITS = 22, PROCESS_START_BITS = 39, PROCESS_KEY_BITS = 61 };

/*
 * The process of the thread that asks. Key 0, unknown: it is of another pid namespace, which is not below the
 * daemon's, or /proc does not show it, or it is a thread of the kernel's, which works for many (an NFS
 * server). What was found out of a thread is taken to be so for 10 ms: numbers are not used again so soon. */
void process_of(fuse_req_t req, struct seen_process *ret_process);
/* What a text of /proc/PID/stat says. False: it is not understood, or the process is the kernel's. */
bool process_parse_stat(const char *stat, struct seen_process *ret_process);

#endif
