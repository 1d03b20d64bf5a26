/*
 * options.c - decodes the command line (see options.h).
 *
 * Called also by mount.fuse3 for an fstab line, which puts the options last
 * and passes on everything that mount(8) knows: those are taken or skipped by
 * name; whatever is unknown is refused, because an option that is ignored in
 * silence is a promise that is not kept. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "engine.h"

const char opt_usage[] =
    "usage: engramfs [-f] [-d] [-s] [-o OPTIONS] STORE MOUNTPOINT\n"
    "\n"
    "Mounts the memories in STORE (a directory, created if missing) on MOUNTPOINT.\n"
    "Unmount with: umount MOUNTPOINT (as an ordinary user: fusermount3 -u MOUNTPOINT)\n"
    "\n"
    "    -f                    stay in the foreground, messages to stderr\n"
    "    -d                    the same, with every FUSE request shown\n"
    "    -s                    answer requests one at a time\n"
    "    -o ro                 read-only; nothing is written to STORE\n"
    "    -o allow_other        other users may enter; modes decide\n"
    "    -o noperm             do not check modes and owners\n"
    "    -o noxattr            no extended attributes: fewer round trips\n"
    "    -o ctl=hidden|visible|off  control files in MOUNTPOINT/.engram\n"
    "    -o ctl_group=NAME     a group that may use the control files\n"
    "    -o past=off|owner|on  who may read the past beside root: nobody, owners, whom modes let in\n"
    "    -o conflicts=allow|refuse  refuse who saw a memory, and would replace a newer state of it\n"
    "    -o commit=SECONDS     make everything durable so often (default 5)\n"
    "    -o segment_size=BYTES size of new segments (k, M, G; default 64M)\n"
    "    -o writeback          let the kernel collect small writes\n"
    "    and of mount(8): rw, suid, nosuid, dev, nodev, exec, noexec, sync, async, noatime, dirsync\n"
    "    -h, -V                this text; the version\n";

static int fail(char why[FS_WHY_MAX], const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(char why[FS_WHY_MAX], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, FS_WHY_MAX, format, args);
    va_end(args);
    return -EINVAL;
}

static bool in_list(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

static int replace(char **field, const char *value)
{
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

static int add_mount_flag(struct fs_options *opt, const char *flag)
{
    char *joined;
    const char *old = opt->mount_flags ? opt->mount_flags : "";
    if (asprintf(&joined, "%s%s%s", old, *old ? "," : "", flag) < 0)
        return -ENOMEM;
    free(opt->mount_flags);
    opt->mount_flags = joined;
    return 0;
}

static int set_flag(struct fs_options *opt, const char *word, bool *ret_known)
{
    /* Flags of the kernel that libfuse and fusermount3 know and pass on. */
    static const char *const passed[] = {"suid", "nosuid", "dev",     "nodev",   "exec", "noexec",
                                         "sync", "async",  "noatime", "dirsync", NULL};
    /* What fstab, mount(8) and systemd add for themselves. */
    static const char *const skipped[] = {
        "defaults",  "auto",    "noauto", "user",   "nouser",        "users",      "owner",
        "group",     "_netdev", "nofail", "atime",  "relatime",      "diratime",   "nolazytime",
        "nodirsync", "silent",  "loud",   "nomand", "nostrictatime", "noiversion", NULL};
    *ret_known = true;
    /* The kernel leaves atimes to us. */
    opt->noatime = opt->noatime || strcmp(word, "noatime") == 0;
    /* Of both the kernel does no more than to sync after each write(2); see fsync.h. */
    opt->sync = strcmp(word, "sync") == 0 || (opt->sync && strcmp(word, "async") != 0);
    opt->dirsync = strcmp(word, "dirsync") == 0 || (opt->dirsync && strcmp(word, "nodirsync") != 0);
    if (in_list(word, passed))
        return add_mount_flag(opt, word);
    if (in_list(word, skipped) || strncmp(word, "x-", 2) == 0 || strncmp(word, "X-", 2) == 0 ||
        strncmp(word, "comment=", 8) == 0 || strncmp(word, "subtype=", 8) == 0)
        return 0;
    if (strcmp(word, "ro") == 0)
        opt->read_only = true;
    else if (strcmp(word, "rw") == 0)
        opt->read_only = false;
    else if (strcmp(word, "allow_other") == 0)
        opt->allow_other = true;
    else if (strcmp(word, "noperm") == 0)
        opt->noperm = true;
    else if (strcmp(word, "noxattr") == 0)
        opt->noxattr = true;
    else if (strcmp(word, "writeback") == 0)
        opt->writeback = true;
    else if (strcmp(word, "default_permissions") != 0) /* always on */
        *ret_known = false;
    return 0;
}

static int set_ctl(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    if (strcmp(value, "hidden") == 0)
        opt->ctl = CTL_HIDDEN;
    else if (strcmp(value, "visible") == 0)
        opt->ctl = CTL_VISIBLE;
    else if (strcmp(value, "off") == 0)
        opt->ctl = CTL_OFF;
    else
        return fail(why, "option ctl=%s: must be hidden, visible or off", value);
    return 0;
}

static int set_past(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    if (strcmp(value, "off") == 0)
        opt->past = PAST_OFF;
    else if (strcmp(value, "owner") == 0)
        opt->past = PAST_OWNER;
    else if (strcmp(value, "on") == 0)
        opt->past = PAST_ON;
    else
        return fail(why, "option past=%s: must be off, owner or on", value);
    return 0;
}

static int set_conflicts(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    if (strcmp(value, "refuse") != 0 && strcmp(value, "allow") != 0)
        return fail(why, "option conflicts=%s: must be allow or refuse", value);
    opt->refuses_conflicts = *value == 'r';
    return 0;
}

static int set_group(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    struct group *group = *value ? getgrnam(value) : NULL;
    if (group) {
        opt->ctl_gid = group->gr_gid;
    } else {
        char *end = NULL;
        errno = 0;
        unsigned long gid = strtoul(value, &end, 10);
        if (*value < '0' || *value > '9' || !end || *end || errno || gid >= (gid_t)-1)
            return fail(why, "option ctl_group=%s: no such group", value);
        opt->ctl_gid = (gid_t)gid;
    }
    opt->has_ctl_gid = true;
    return 0;
}

static int set_commit(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    char *end = NULL;
    double seconds = *value >= '0' && *value <= '9' ? strtod(value, &end) : -1;
    if (seconds < 0 || !end || *end || !(seconds == 0 || (seconds >= 0.001 && seconds <= 86400)))
        return fail(why, "option commit=%s: must be seconds, 0.001 to 86400, or 0 for the default", value);
    opt->commit_ms = (int64_t)(seconds * 1000 + 0.5);
    return 0;
}

static int set_segment_size(struct fs_options *opt, const char *value, char why[FS_WHY_MAX])
{
    uint64_t bytes;
    if (bytes_parse(value, &bytes) || bytes < ENG_SEGMENT_SIZE_MIN || bytes > ENG_SEGMENT_SIZE_MAX)
        return fail(why, "option segment_size=%s: must be %lluk to %lluM", value,
                    (unsigned long long)(ENG_SEGMENT_SIZE_MIN >> 10),
                    (unsigned long long)(ENG_SEGMENT_SIZE_MAX >> 20));
    opt->segment_size = bytes;
    return 0;
}

static int set_option(struct fs_options *opt, const char *word, char why[FS_WHY_MAX])
{
    bool known = false;
    int r = set_flag(opt, word, &known);
    if (r || known)
        return r;
    if (strncmp(word, "ctl=", 4) == 0)
        return set_ctl(opt, word + 4, why);
    if (strncmp(word, "past=", 5) == 0)
        return set_past(opt, word + 5, why);
    if (strncmp(word, "conflicts=", 10) == 0)
        return set_conflicts(opt, word + 10, why);
    if (strncmp(word, "ctl_group=", 10) == 0)
        return set_group(opt, word + 10, why);
    if (strncmp(word, "commit=", 7) == 0)
        return set_commit(opt, word + 7, why);
    if (strncmp(word, "segment_size=", 13) == 0)
        return set_segment_size(opt, word + 13, why);
    if (strncmp(word, "fsname=", 7) == 0 && word[7])
        return replace(&opt->fsname, word + 7);
    if (strcmp(word, "remount") == 0)
        return fail(why, "remount cannot be done: unmount, and mount with the other options");
    if (strcmp(word, "strictatime") == 0 || strcmp(word, "lazytime") == 0 ||
        strcmp(word, "nodiratime") == 0 || strcmp(word, "norelatime") == 0)
        return fail(
            why, "option %s cannot be done: access times are kept as with relatime, or not at all (noatime)",
            word);
    return fail(why, "unknown option: %s (engramfs -h lists them)", word);
}

/* A comma ends an option unless a backslash stands before it, as everywhere in FUSE. */
static int set_options(struct fs_options *opt, const char *list, char why[FS_WHY_MAX])
{
    char *word = calloc(1, strlen(list) + 1);
    if (!word)
        return -ENOMEM;
    int r = 0;
    while (*list && !r) {
        size_t n = 0;
        for (; *list && *list != ','; list++) {
            if (*list == '\\' && list[1])
                list++;
            word[n++] = *list;
        }
        if (*list == ',')
            list++;
        word[n] = '\0';
        if (n > 0)
            r = set_option(opt, word, why);
    }
    free(word);
    return r;
}

static int set_positional(struct fs_options *opt, int argc, char **argv, char why[FS_WHY_MAX])
{
    if (argc == 0)
        return fail(why, "STORE and MOUNTPOINT are missing (engramfs -h shows the usage)");
    if (argc == 1)
        return fail(why, "MOUNTPOINT is missing (engramfs -h shows the usage)");
    if (argc > 2)
        return fail(why, "too many arguments: %s (engramfs -h shows the usage)", argv[2]);
    if (!*argv[0] || !*argv[1])
        return fail(why, "STORE and MOUNTPOINT must not be empty");
    int r = replace(&opt->store, argv[0]);
    return r ? r : replace(&opt->mountpoint, argv[1]);
}

int opt_parse(int argc, char **argv, struct fs_options *ret, char why[FS_WHY_MAX])
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
    *ret = (struct fs_options){.mount_flags = NULL};
    int r = replace(&ret->mount_flags, "");
    optind = 0; /* 0, not 1: starts glibc's parser anew, so that it can be called again */
    opterr = 0;
    int c;
    while (!r && (c = getopt_long(argc, argv, ":fdshVo:", long_options, NULL)) != -1) {
        switch (c) {
        case 'f':
            ret->foreground = true;
            break;
        case 'd':
            ret->debug = ret->foreground = true;
            break;
        case 's':
            ret->single = true;
            break;
        case 'h':
            ret->help = true;
            break;
        case 'V':
            ret->version = true;
            break;
        case 'o':
            r = set_options(ret, optarg, why);
            break;
        case ':':
            r = fail(why, "-%c needs an argument", optopt);
            break;
        default:
            r = optopt ? fail(why, "unknown option: -%c (engramfs -h lists them)", optopt)
                       : fail(why, "unknown option: %s (engramfs -h lists them)", argv[optind - 1]);
        }
    }
    if (!r && !ret->help && !ret->version)
        r = set_positional(ret, argc - optind, argv + optind, why);
    if (!r && ret->refuses_conflicts && ret->writeback)
        r = fail(why, "options conflicts=refuse and writeback cannot be had together: the kernel would take "
                      "writes for itself, and nobody could tell whose they are");
    if (r == -ENOMEM)
        return fail(why, "out of memory");
    return r;
}

void opt_done(struct fs_options *opt)
{
    free(opt->store);
    free(opt->mountpoint);
    free(opt->fsname);
    free(opt->mount_flags);
    *opt = (struct fs_options){.mount_flags = NULL};
}
