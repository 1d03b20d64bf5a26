/*
 * guarded.c - see guarded.h. No state. */
#include "ctl/transfer/guarded.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool guarded_is(const char *name)
{
    return !strncmp(name, "trusted.", 8) || !strncmp(name, "security.", 9);
}

bool guarded_any(const struct eng_record *rec)
{
    for (size_t i = 0; i < rec->n_xattrs; i++)
        if (guarded_is(rec->xattrs[i].name))
            return true;
    return false;
}

int guarded_refuse(struct target *t, const char *entry, const char *name, int error)
{
    char why[ENG_XATTR_NAME_MAX + 256];
    switch (error) {
    case -EPERM:
    case -EACCES:
    case -EOPNOTSUPP:
    case -EINVAL:
    case -ERANGE:
    case -E2BIG:
        break;
    default:
        return error;
    }
    snprintf(why, sizeof why, "the attribute %s cannot be kept: %s", name,
             error == -E2BIG ? "it does not fit" : strerror(-error));
    if (t->refused)
        t->refused(t->refused_arg, entry ? entry : "?", why);
    return 0;
}
