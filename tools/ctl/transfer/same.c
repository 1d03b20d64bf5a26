/*
 * same.c - see same.h. No state. */
#include "ctl/transfer/same.h"

#include "ctl/transfer/guarded.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PIECE ((size_t)256 << 10)

uint32_t same_mode(uint32_t mode, uint32_t uid, uint32_t gid, uint32_t have_uid, uint32_t have_gid)
{
    mode &= 07777;
    if (uid != have_uid)
        mode &= ~(uint32_t)S_ISUID;
    if (gid != have_gid)
        mode &= ~(uint32_t)S_ISGID;
    return mode;
}

static const struct eng_xattr_pair *find(const struct eng_record *rec, const char *name)
{
    for (size_t i = 0; i < rec->n_xattrs; i++)
        if (!strcmp(rec->xattrs[i].name, name))
            return &rec->xattrs[i];
    return NULL;
}

/* Whether the file has this attribute, with this value. `buf` has ENG_XATTR_SIZE_MAX bytes. */
static bool has(struct target *t, struct target_file *f, const struct eng_xattr_pair *x, char *buf)
{
    ssize_t n = t->ops->getxattr(t, f, x->name, buf, ENG_XATTR_SIZE_MAX);
    return n >= 0 && (size_t)n == x->size && (!n || !memcmp(buf, x->value, x->size));
}

int same_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec)
{
    char list[ENG_XATTR_LIST_MAX], *buf = NULL;
    size_t found = 0, fields = 0;
    ssize_t n = t->ops->listxattr(t, f, list, sizeof list);
    if (n < 0)
        return 0;
    bool same = true;
    for (size_t i = 0; i < rec->n_xattrs; i++)
        fields += !guarded_is(rec->xattrs[i].name);
    for (const char *s = list; same && s < list + n; s += strlen(s) + 1) {
        bool counts = !strncmp(s, "user.", 5);
        same = !counts || find(rec, s);
        found += counts;
    }
    if (!same || found != fields)
        return 0;
    if (rec->n_xattrs && !(buf = malloc(ENG_XATTR_SIZE_MAX)))
        return -ENOMEM;
    for (size_t i = 0; same && i < rec->n_xattrs; i++)
        same = has(t, f, &rec->xattrs[i], buf);
    free(buf);
    return same;
}

int same_add_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec)
{
    char *buf = malloc(ENG_XATTR_SIZE_MAX);
    int r = buf ? 0 : -ENOMEM, too_big = 0;
    for (size_t i = 0; !r && i < rec->n_xattrs; i++) {
        if (!has(t, f, &rec->xattrs[i], buf))
            r = t->ops->setxattr(t, f, rec->xattrs[i].name, rec->xattrs[i].value, rec->xattrs[i].size);
        if (r < 0 && t->kind != TARGET_STORE && guarded_is(rec->xattrs[i].name))
            r = guarded_refuse(t, rec->name, rec->xattrs[i].name, r);
        if (r == -E2BIG) {
            too_big = r;
            r = 0;
        }
    }
    free(buf);
    return r ? r : too_big;
}

int same_set_xattrs(struct target *t, struct target_file *f, const struct eng_record *rec)
{
    char list[ENG_XATTR_LIST_MAX];
    int r = same_add_xattrs(t, f, rec);
    ssize_t n = !r ? t->ops->listxattr(t, f, list, sizeof list) : 0;
    for (const char *s = list; !r && s < list + n; s += strlen(s) + 1)
        if (!strncmp(s, "user.", 5) && !find(rec, s)) {
            r = t->ops->removexattr(t, f, s);
            r = r == -ENODATA ? 0 : r;
        }
    return n < 0 ? (int)n : r;
}

static int same_content(struct target *t, struct target_file *f, const struct eng_record *rec)
{
    char *buf = malloc(PIECE);
    bool same = buf;
    for (size_t at = 0; same && at < rec->size;) {
        size_t n = rec->size - at < PIECE ? rec->size - at : PIECE;
        ssize_t got = t->ops->read(t, f, buf, n, at);
        same = got == (ssize_t)n && !memcmp(buf, (const char *)rec->content + at, n);
        at += n;
    }
    free(buf);
    return buf ? same : -ENOMEM;
}

int same_record(struct target *t, const struct eng_record *rec, const struct target_attr *attr)
{
    struct target_file f;
    if (attr->size != rec->size)
        return 0;
    /* What cannot be read, or was damaged, is replaced. */
    if (t->ops->open(t, rec->parent, rec->name, attr, false, &f) < 0)
        return 0;
    int r = same_xattrs(t, &f, rec);
    if (r > 0)
        r = same_content(t, &f, rec);
    (void)t->ops->close(t, &f);
    return r;
}

unsigned same_changes(const struct eng_record *rec, const struct target_attr *have, bool owner,
                      struct target_attr *ret_want)
{
    unsigned mask = 0;
    uint32_t uid = owner ? rec->uid : have->uid;
    uint32_t gid = owner ? rec->gid : have->gid;
    *ret_want = *have;
    ret_want->mode = rec->mode;
    ret_want->uid = rec->uid;
    ret_want->gid = rec->gid;
    ret_want->mtime = ret_want->atime = rec->mtime;
    if (rec->mtime != TARGET_NOW && rec->mtime != have->mtime)
        mask |= ENG_SET_MTIME | ENG_SET_ATIME;
    if (owner && (uid != have->uid || gid != have->gid))
        mask |= ENG_SET_UID | ENG_SET_GID | ENG_SET_MODE; /* giving it away takes the set-ID bits */
    if (same_mode(rec->mode, rec->uid, rec->gid, uid, gid) != (have->mode & 07777))
        mask |= ENG_SET_MODE;
    return mask;
}

bool same_takes_away(const struct target *t, const struct target_attr *have, const struct target_attr *want,
                     unsigned mask)
{
    if (t->kind == TARGET_STORE)
        return false;
    return mask & (ENG_SET_UID | ENG_SET_GID) || (mask & ENG_SET_MODE && have->mode & ~want->mode & 07777);
}
