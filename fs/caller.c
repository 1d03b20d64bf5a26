/*
 * caller.c - see caller.h. No locks; which threads were seen in the daemon's user namespace is remembered for
 * some milliseconds, and each thread has the names of some processes for KNOWN_NS. */
#include "caller.h"

#include <limits.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "actors.h"
#include "processes.h"

struct eng_caller caller_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    return (struct eng_caller){.uid = ctx->uid, .gid = ctx->gid, .ref = true};
}

/* ---- for whom changes are made ---------------------------------------------------- */

#define KNOWN_NS (INT64_C(10) * 1000000)

static _Thread_local struct known {
    pid_t pid; /* 0 none */
    int64_t at;
    char name[17];
} known[8];

/* That of the process: the request has the number of a thread, which may have a name of its own. */
static void read_name(pid_t thread, char name[17])
{
    pid_t process = proc_of_thread(thread);
    proc_read(process ? process : thread, "comm", name, 17);
    name[strcspn(name, "\n")] = 0;
}

/* With a coarse clock, which is as good as free: a name is read again after KNOWN_NS and one tick. */
static const char *name_of(pid_t pid)
{
    struct known *k = &known[(unsigned)pid % 8];
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    int64_t now = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    if (k->pid != pid || now - k->at > KNOWN_NS) {
        *k = (struct known){.pid = pid, .at = now};
        read_name(pid, k->name);
    }
    return k->name;
}

struct eng *caller_engine(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    struct eng *eng = session_of(req)->eng;
    if (eng_notes_actors(eng)) {
        struct eng_actor actor = {.known = true, .uid = ctx->uid};
        if (ctx->pid)
            memcpy(actor.process, name_of(ctx->pid), sizeof actor.process);
        if (ctx->uid != 0 && ctx->uid != session_of(req)->uid && !actors_has_room(ctx->uid, actor.process))
            actor.process[0] = '\0';
        eng_act_as(&actor);
    } else {
        eng_act_as(NULL);
    }
    return eng;
}

/* ---- groups ----------------------------------------------------------------------- */

static bool has(const gid_t *groups, int n, gid_t gid)
{
    for (int i = 0; i < n; i++)
        if (groups[i] == gid)
            return true;
    return false;
}

bool caller_in_group(fuse_req_t req, gid_t gid)
{
    enum { FEW = 64 };
    gid_t few[FEW];
    if (fuse_req_ctx(req)->gid == gid)
        return true;
    int n = fuse_req_getgroups(req, FEW, few);
    if (n <= FEW)
        return has(few, n, gid);
    int most = n < NGROUPS_MAX ? n : NGROUPS_MAX;
    gid_t *all = calloc((size_t)most, sizeof *all);
    if (!all)
        return has(few, FEW, gid);
    n = fuse_req_getgroups(req, most, all);
    bool found = has(all, n < most ? n : most, gid);
    free(all);
    return found;
}

/* Whether it has a right over files; of a thread that cannot be seen yes. */
static bool has_capability(pid_t thread)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = thread};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    const __u32 wanted = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;
    if (thread == 0 || syscall(SYS_capget, &header, data) < 0)
        return true;
    return data[0].effective & wanted;
}

/* A look at /proc costs more than all else of a request. A thread that was in the daemon's namespace just now
 * is taken to be there still: its number, and when, in ms. */
enum { SEEN = 64, SEEN_MS = 20 };
static _Atomic uint64_t seen_here[SEEN];

static uint32_t now_ms(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
    return (uint32_t)(ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
}

/* In another one, root's own capabilities mean nothing here. */
static bool is_in_our_users(pid_t thread)
{
    char path[40];
    struct stat theirs, ours;
    if (thread == 0)
        return true;
    _Atomic uint64_t *seen = &seen_here[(unsigned)thread % SEEN];
    const uint64_t was = atomic_load_explicit(seen, memory_order_relaxed);
    const uint32_t now = now_ms();
    if (was >> 32 == (uint32_t)thread && now - (uint32_t)was < SEEN_MS)
        return true;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)thread);
    if (stat(path, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0)
        return true;
    bool is_here = theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
    if (is_here)
        atomic_store_explicit(seen, (uint64_t)(uint32_t)thread << 32 | now, memory_order_relaxed);
    return is_here;
}

bool caller_is_above_modes(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    return ctx->uid == 0 && has_capability(ctx->pid) && is_in_our_users(ctx->pid);
}

pid_t caller_process(fuse_req_t req)
{
    return proc_of_thread(fuse_req_ctx(req)->pid);
}
