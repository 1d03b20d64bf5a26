/*
 * processes.c - see processes.h. State: what was found out of some threads, under `lock`, a leaf. */
#include "processes.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KNOWN_NS (INT64_C(10) * 1000000)
enum { KNOWN = 1024 };
enum { KERNEL_THREAD = 0x200000 }; /* PF_KTHREAD, of Linux's include/linux/sched.h */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known {
    pid_t thread; /* 0: none */
    int64_t at;
    struct seen_process process;
} known[KNOWN]; /* protected by lock */

void proc_read(pid_t pid, const char *file, char *text, size_t size)
{
    char path[40];
    (void)snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, size - 1);
    text[n > 0 ? n : 0] = 0;
    if (fd >= 0)
        (void)close(fd);
}

pid_t proc_of_thread(pid_t thread)
{
    static const char word[] = "\nTgid:\t";
    char status[512];
#ifdef ENG_MUTANTS
    if (getenv("FS_MUTANT_THREADS")) /* tests/mount/conflicts.sh */
        return thread;
#endif
    proc_read(thread, "status", status, sizeof status);
    const char *tgid = strstr(status, word);
    long process = tgid ? strtol(tgid + sizeof word - 1, NULL, 10) : 0;
    return process > 0 ? (pid_t)process : 0;
}

bool process_parse_stat(const char *stat, struct seen_process *ret_process)
{
    /* pid (name, which may hold anything) state …: the 9th has flags, the 22nd the start */
    const char *name = strchr(stat, '('), *end = strrchr(stat, ')');
    unsigned flags = 0;
    unsigned long long start = 0;
    long pid = strtol(stat, NULL, 10);
    if (!name || !end || end < name || pid <= 0 || pid >= 1L << PROCESS_PID_BITS ||
        sscanf(end + 1, /* NOLINT(cert-err34-c): the kernel's own numbers */
               " %*c %*d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &flags,
               &start) != 2 ||
        flags & KERNEL_THREAD)
        return false;
    start &= (UINT64_C(1) << PROCESS_START_BITS) - 1;
    *ret_process =
        (struct seen_process){.key = (uint64_t)start << PROCESS_PID_BITS | (uint64_t)pid, .pid = (pid_t)pid};
    size_t n = (size_t)(end - name - 1);
    memcpy(ret_process->name, name + 1, n < sizeof ret_process->name ? n : sizeof ret_process->name - 1);
    return true;
}

static void look_up(pid_t thread, struct seen_process *ret_process)
{
    char stat[1024] = "";
    const pid_t process = thread ? proc_of_thread(thread) : 0;
    if (process)
        proc_read(process, "stat", stat, sizeof stat);
    if (!process_parse_stat(stat, ret_process))
        *ret_process = (struct seen_process){.key = 0, .pid = thread};
}

static int64_t coarse_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void process_of(fuse_req_t req, struct seen_process *ret_process)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct known *k = &known[(unsigned)ctx->pid % KNOWN];
    const int64_t now = coarse_ns();
    (void)pthread_mutex_lock(&lock);
    bool is_known = ctx->pid && k->thread == ctx->pid && now - k->at <= KNOWN_NS;
    if (is_known)
        *ret_process = k->process;
    (void)pthread_mutex_unlock(&lock);
    if (!is_known) {
        look_up(ctx->pid, ret_process);
        (void)pthread_mutex_lock(&lock);
        *k = (struct known){ctx->pid, now, *ret_process};
        (void)pthread_mutex_unlock(&lock);
    }
    ret_process->uid = ctx->uid;
}
