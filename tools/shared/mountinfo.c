/*
 * mountinfo.c - see mountinfo.h. No state. */
#include "shared/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

/* Space, tab, newline and backslash are written as \ooo. */
static void unescape(char *s)
{
    char *o = s;
    while (*s) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
            *o++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 4;
        } else {
            *o++ = *s++;
        }
    }
    *o = 0;
}

/* The options of the file system come last, behind texts of whoever mounted it, and have no blanks. */
static uid_t mounter(const char *line)
{
    const char *options = strrchr(line, ' '), *user = options ? strstr(options, ",user_id=") : NULL;
    unsigned uid;
    return user && sscanf(user, ",user_id=%u", &uid) == 1 ? (uid_t)uid : MOUNTINFO_NOBODY;
}

static bool parse(const char *line, struct mountinfo *ret)
{
    unsigned major, minor;
    char type[64] = "";
    const char *rest = strstr(line, " - ");
    ret->source[0] = '\0';
    if (!rest || sscanf(rest, " - %63s %4095s", type, ret->source) < 1 ||
        sscanf(line, "%d %*d %u:%u %4095s %4095s", &ret->id, &major, &minor, ret->root, ret->mountpoint) != 5)
        return false;
    ret->is_engramfs = !strcmp(type, "fuse.engramfs");
    ret->is_fuse = !strcmp(type, "fuse") || !strcmp(type, "fuseblk") || !strncmp(type, "fuse.", 5) ||
                   !strncmp(type, "fuseblk.", 8);
    ret->user = ret->is_fuse ? mounter(line) : 0;
    ret->dev = makedev(major, minor);
    unescape(ret->root);
    unescape(ret->mountpoint);
    unescape(ret->source);
    return true;
}

/* By its number, or, if that is -1, by its device. */
static int find_line(int id, dev_t dev, struct mountinfo *ret)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    if (!f)
        return -errno;
    char *line = NULL;
    size_t cap = 0;
    bool found = false;
    while (!found && getline(&line, &cap, f) > 0)
        found = parse(line, ret) &&
                (id >= 0 ? ret->id == id : ret->is_engramfs && ret->dev == dev && !strcmp(ret->root, "/"));
    free(line);
    fclose(f);
    return found;
}

int mountinfo_find(int id, struct mountinfo *ret)
{
    return id < 0 ? -ENOSYS : find_line(id, 0, ret);
}

int mountinfo_find_whole(dev_t dev, struct mountinfo *ret)
{
    return find_line(-1, dev, ret);
}

int mountinfo_number(int fd)
{
    char path[64], line[128];
    int id = -1;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f) && sscanf(line, "mnt_id: %d", &id) != 1)
        ;
    if (f)
        fclose(f);
    return id;
}
