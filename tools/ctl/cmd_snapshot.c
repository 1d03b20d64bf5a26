/*
 * cmd_snapshot.c - engramctl snapshot: makes, lists, renames and drops snapshots of a store or a mount, and
 * brings a store back to one. No state. */
#include "ctl/mount_snapshots.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "rules/rfc3339.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"
#include "shared/jsontext.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl snapshot create TARGET NAME\n"
    "       engramctl snapshot list [--json] [--space] TARGET\n"
    "       engramctl snapshot rename TARGET NAME NEWNAME\n"
    "       engramctl snapshot drop TARGET NAME\n"
    "       engramctl snapshot rollback STORE NAME [FOLDER]\n"
    "\n"
    "A snapshot is the whole tree as it was at one moment. What is changed or removed\n"
    "afterwards keeps its room until the snapshot is dropped. TARGET is a store that is not\n"
    "mounted, or a mount point, where it is .engram/snapshots/NAME. With its first snapshot a\n"
    "store is refused by versions that know of none, for good.\n"
    "\n"
    "  create   makes a snapshot of what TARGET holds now; of a mount with what programs have\n"
    "           stored into mappings\n"
    "  list     all snapshots, oldest first: batch, time, name\n"
    "  rename   gives one another name\n"
    "  drop     lets one go, and what it alone showed; compact gives the room back\n"
    "  rollback makes all of STORE, which must not be mounted, what the snapshot shows, or FOLDER\n"
    "           with what is below it, at once: what has come since goes, what was removed comes\n"
    "           back, with numbers, links and times of then; nothing is copied. At most 4,096 names\n"
    "           and memories may differ. What was there until now is kept as history; a store that\n"
    "           keeps none shows it in a snapshot alone: make one first\n"
    "\n"
    "  --space  before each name of the list: the bytes that come back, compacted, if it alone\n"
    "           is dropped; of the past, what it shows besides, which others keep, too\n"
    "  --json   the list as JSON; a name that is not UTF-8 is name_base64\n"
    "\n"
    "Exit codes: 0 done, 2 not.\n";

/* ---- list --------------------------------------------------------------------- */

struct listing {
    const struct target *t;
    bool json, space;
    struct buf out; /* of --json */
};

static int space_of(const struct target *t, const struct eng_snapshot *snapshot,
                    struct eng_snapshot_space *ret_space)
{
    enum { OLD_MS = 1000 };
    return t->eng ? eng_snapshot_space(t->eng, snapshot->batch, OLD_MS, ret_space)
                  : mount_snapshots_space(t->mountpoint, snapshot->name, ret_space);
}

static void put_json(struct listing *l, const struct eng_snapshot *snapshot, const char *when,
                     const struct eng_snapshot_space *space)
{
    struct buf *out = &l->out;
    char text[96];
    (void)snprintf(text, sizeof text, "{\"batch\": %" PRIu64 ", \"time\": \"", snapshot->batch);
    buf_str(out, out->len > 1 ? ",\n " : "");
    buf_str(out, text);
    buf_str(out, when);
    buf_char(out, '"');
    (void)snprintf(text, sizeof text, ", \"alone_bytes\": %" PRIu64 ", \"shared_bytes\": %" PRIu64,
                   space->alone, space->shared);
    buf_str(out, l->space ? text : "");
    jt_put_member(out, "name", snapshot->name);
    buf_char(out, '}');
}

static int print_one(void *arg, const struct eng_snapshot *snapshot)
{
    struct listing *l = arg;
    struct eng_snapshot_space space = {0};
    char when[40];
    (void)rfc3339_format(snapshot->time, when);
    int r = l->space ? space_of(l->t, snapshot, &space) : 0;
    if (r)
        return r == -ENOENT ? 0 : r; /* it went meanwhile */
    if (l->json) {
        put_json(l, snapshot, when, &space);
        return l->out.failed ? -ENOMEM : 0;
    }
    printf("%" PRIu64 "\t%s\t", snapshot->batch, when);
    if (l->space)
        printf("%" PRIu64 "\t%" PRIu64 "\t", space.alone, space.shared);
    cli_print_name(snapshot->name);
    putchar('\n');
    return 0;
}

/* Of the store or the mount. */
static int each(struct target *t, struct listing *l)
{
    return t->eng ? eng_snapshot_list(t->eng, print_one, l)
                  : mount_snapshots_list(t->mountpoint, print_one, l);
}

static int list(struct target *t, const struct listing *how)
{
    struct listing l = *how;
    bool json = l.json;
    l.t = t;
    if (json)
        buf_char(&l.out, '[');
    int r = each(t, &l);
    if (!r && json)
        printf("%.*s]\n", (int)l.out.len, l.out.data);
    buf_done(&l.out);
    return r;
}

/* ---- the verbs ------------------------------------------------------------------ */

static const struct verb {
    const char *name;
    int names; /* that follow STORE */
    int more;  /* at most, behind those */
} verbs[] = {{"create", 1, 0}, {"list", 0, 0}, {"rename", 2, 0}, {"drop", 1, 0}, {"rollback", 1, 1}};
enum { CREATE, LIST, RENAME, DROP, ROLLBACK, N_VERBS };

/* The folder that the path leads to now; NULL: the root. */
static int find_folder(struct eng *eng, const char *path, uint64_t *ret_ino)
{
    char name[ENG_NAME_MAX + 1];
    struct eng_attr at = {.ino = ENG_ROOT_INO};
    int r = 0;
    for (path = path ? path + strspn(path, "/") : ""; *path && !r; path += strspn(path, "/")) {
        size_t n = strcspn(path, "/");
        if (n > ENG_NAME_MAX)
            return -ENAMETOOLONG;
        memcpy(name, path, n);
        name[n] = 0;
        path += n;
        r = eng_lookup(eng, NULL, at.ino, name, &at);
        r = r == -ENOENT ? -ENOTDIR : r;
    }
    *ret_ino = at.ino;
    return r;
}

static int rollback(struct eng *eng, const char *name, const char *path)
{
    uint64_t folder, batch, n = 0;
    int r = eng_snapshot_find(eng, name, &batch);
    if (!r)
        r = find_folder(eng, path, &folder);
    if (!r)
        r = eng_rollback(eng, folder, batch, NULL, NULL, &n);
    if (!r)
        printf("%" PRIu64 " names and memories are what they were\n", n);
    return r;
}

static int run(struct target *t, int verb, char **names, const struct listing *how)
{
    switch (verb) {
    case CREATE:
        return t->eng ? eng_snapshot_create(t->eng, names[0], NULL)
                      : mount_snapshots_create(t->mountpoint, names[0]);
    case RENAME:
        return t->eng ? eng_snapshot_rename(t->eng, names[0], names[1])
                      : mount_snapshots_rename(t->mountpoint, names[0], names[1]);
    case DROP:
        return t->eng ? eng_snapshot_drop(t->eng, names[0]) : mount_snapshots_drop(t->mountpoint, names[0]);
    case ROLLBACK:
        return t->eng ? rollback(t->eng, names[0], names[1]) : -EISCONN;
    default:
        return list(t, how);
    }
}

static const char *error_text(const struct target *t, int error)
{
    switch (error) {
    case -EEXIST:
        return "there is a snapshot of that name";
    case -ENOENT:
        return "there is no such snapshot";
    case -EISCONN:
        return "the store is mounted";
    case -ENOTDIR:
        return "there is no such folder now: roll back the one above";
    case -ESTALE:
        return "that folder was not there then: roll back the one above";
    case -E2BIG:
        return "more than 4,096 names and memories differ: folder by folder there are fewer";
    case -EFBIG:
        return "what differs lies in too many pieces: compact, or fewer folders at once";
    case -EXDEV:
        return "something in the folder was in another one, or is there now: roll back one above both";
    case -EINVAL:
        return "a name has no '/', and is not empty, '.' or '..'";
    case -EOPNOTSUPP:
        return "the mount has no folder .engram/snapshots (mounted with -o past=off or -o ctl=off?)";
    case -ENOSYS:
        return "the mount shows no attributes (-o noxattr), which tell when each was taken: ls "
               ".engram/snapshots";
    case -EBUSY: /* and what else is not a control file's */
    case -ENOSPC:
        return strerror(-error);
    default:
        return t->eng ? strerror(-error) : control_strerror(error);
    }
}

static int run_on(const char *path, int verb, char **names, const struct listing *how)
{
    struct target *t = subcommand_open(path, verb == LIST ? TARGET_READ_ONLY : TARGET_QUIET);
    if (!t)
        return CLI_ERROR;
    int r = run(t, verb, names, how);
    if (r)
        cli_error("%s: %s: %s", t->path, verbs[verb].name, error_text(t, r));
    int c = target_close(t);
    if (c)
        cli_error("%s: %s", path, strerror(-c));
    return r || c ? CLI_ERROR : CLI_OK;
}

int cmd_snapshot(int argc, char **argv)
{
    struct listing how = {0};
    const struct subcommand_option options[] = {{"json", &how.json, NULL}, {"space", &how.space, NULL}, {0}};
    int verb = 0, code = subcommand_options(argc, argv, "snapshot", help_text, options);
    if (code >= 0)
        return code;
    while (verb < N_VERBS && optind < argc && strcmp(argv[optind], verbs[verb].name) != 0)
        verb++;
    if (optind == argc || verb == N_VERBS)
        return cli_usage("snapshot", "expected create, list, rename, drop or rollback");
    int left = argc - optind - 2 - verbs[verb].names;
    if (left < 0 || left > verbs[verb].more)
        return cli_usage("snapshot", "%s: expected TARGET%s%s", verbs[verb].name,
                         (const char *[]){"", " NAME", " NAME NEWNAME"}[verbs[verb].names],
                         verbs[verb].more ? " [FOLDER]" : "");
    if ((how.json || how.space) && verb != LIST)
        return cli_usage("snapshot", "--%s goes with list", how.json ? "json" : "space");
    return run_on(argv[optind + 1], verb, argv + optind + 2, &how);
}
