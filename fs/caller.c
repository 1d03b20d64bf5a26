/*
 * caller.c - see caller.h. No state, no locks. */
#include "caller.h"

#include <limits.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct eng_caller caller_of(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    return (struct eng_caller){.uid = ctx->uid, .gid = ctx->gid, .ref = true};
}

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

/* In another one, root's own capabilities mean nothing here. */
static bool is_in_our_users(pid_t thread)
{
    char path[40];
    struct stat theirs, ours;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)thread);
    if (thread == 0 || stat(path, &theirs) < 0 || stat("/proc/self/ns/user", &ours) < 0)
        return true;
    return theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

bool caller_is_above_modes(fuse_req_t req)
{
    const struct fuse_ctx *ctx = fuse_req_ctx(req);
    return ctx->uid == 0 && has_capability(ctx->pid) && is_in_our_users(ctx->pid);
}

pid_t caller_process(fuse_req_t req)
{
    char line[128];
    int process = 0;
    (void)snprintf(line, sizeof line, "/proc/%d/status", (int)fuse_req_ctx(req)->pid);
    FILE *file = fopen(line, "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "Tgid: %d", &process) == 1)
            break;
    if (file)
        (void)fclose(file);
    return process;
}
