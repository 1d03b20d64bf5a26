/*
 * caller.c - see caller.h. No state, no locks. */
#include "caller.h"

#include <limits.h>
#include <stdlib.h>

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
