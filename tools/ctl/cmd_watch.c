/*
 * cmd_watch.c - engramctl watch: what changes in a mount, as it changes. Reads changes-since, and lets the
 * daemon tell by wait-for when there is more; where the kernel lets nobody write, looks each second. No
 * state. */
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl watch [--json] [--once] [--from POSITION] MOUNTPOINT\n"
    "\n"
    "Prints the changes of a mount as they come: a line for each, with its time and path.\n"
    "Ctrl-C ends it.\n"
    "\n"
    "  --from POSITION  all changes after that position, which is what the mount's\n"
    "                   .engram/position or the member position of a change once said.\n"
    "                   A position of another mount of the store may be taken for one of\n"
    "                   this one: engramfs-control(7)\n"
    "  --once           end when all changes that there are at the beginning have been\n"
    "                   printed; without --from these are the latest 1,000\n"
    "  --json           JSON lines, as in the mount's .engram/changes\n"
    "\n"
    "Exit codes: 0 ended by a signal, or with --once, 1 changes were missed (they came\n"
    "faster than they were read, POSITION is too old, or the store was mounted again\n"
    "since watch began), 2 not started, or the mount is gone.\n";

struct watch {
    const char *mountpoint;
    bool json, once;
    bool begun;        /* the mount has answered */
    uint64_t position; /* all changes up to this one have been printed */
    uint64_t last;     /* once: the newest when it began */
    struct control_mount mount;
};

static int failed(const struct watch *w, const char *file, int error)
{
    if (error == -EREMCHG) {
        cli_error("%s: mounted again: what changed after position %" PRIu64 " is not known", w->mountpoint,
                  w->position);
        return CLI_SOME;
    }
    if (error == -ESTALE) {
        cli_error("%s: the changes after position %" PRIu64 " are not all known any more", w->mountpoint,
                  w->position);
        return CLI_SOME;
    }
    if (w->begun && (error == -ENOENT || error == -ENOTCONN || error == -ECONNABORTED || error == -ENODEV))
        cli_error("%s: the mount is gone", w->mountpoint);
    else
        cli_error("%s/.engram/%s: %s", w->mountpoint, file, control_strerror(error));
    return CLI_ERROR;
}

/* What the daemon tells are words of anybody's, be they names. */
static void print_people(const json_t *o)
{
    const char *path = report_text(o, "path"), *change = report_text(o, "change");
    cli_print_name(report_text(o, "time"));
    printf("  ");
    cli_print_name(change);
    printf("%*s", strlen(change) < 10 ? (int)(12 - strlen(change)) : 2, "");
    if (json_is_null(json_object_get(o, "path")))
        printf("(inode %" PRIu64 ")", report_number(o, "inode"));
    else
        cli_print_name(*path ? path : "/");
    if (json_is_true(json_object_get(o, "moved")))
        printf("  moved");
    if (*report_text(o, "field"))
        printf("  ");
    cli_print_name(report_text(o, "field"));
    const json_t *names = json_object_get(o, "attributes");
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        printf("%s", i ? "," : "  ");
        cli_print_name(name ? name : "");
    }
    printf("\n");
}

/* One line of `changes`. -EBADMSG. */
static int take_line(struct watch *w, const char *line, size_t len)
{
    json_t *o = json_loadb(line, len, 0, NULL);
    const json_t *position = json_object_get(o, "position");
    bool good = json_is_integer(position);
    if (good && !strcmp(report_text(o, "change"), "end"))
        w->position = (uint64_t)json_integer_value(position);
    else if (good && w->json)
        cli_print_json(line, len);
    else if (good)
        print_people(o);
    json_decref(o);
    return good ? 0 : -EBADMSG;
}

/* Positions are numbers, which another mount of the store may have given to other changes. -EREMCHG. */
static int check_mount(const struct watch *w)
{
    struct control_mount now;
    int r = control_find_mount(w->mountpoint, &now);
    bool same = !r && now.dev == w->mount.dev && now.began.tv_sec == w->mount.began.tv_sec &&
                now.began.tv_nsec == w->mount.began.tv_nsec;
    return r || same ? r : -EREMCHG;
}

/* Reads one of the files with changes, and prints them. */
static int print_changes(struct watch *w, const char *file)
{
    struct buf text = {0};
    int r = control_read(w->mountpoint, file, &text);
    if (!r)
        r = check_mount(w);
    const char *at = text.data, *end = text.data + text.len;
    while (!r && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        r = newline ? take_line(w, at, (size_t)(newline - at)) : -EBADMSG;
        at = newline ? newline + 1 : end;
    }
    if (!r && fflush(stdout))
        r = -errno;
    buf_done(&text);
    return r;
}

static int wait_for_more(const struct watch *w)
{
    enum { LOOK_MS = 1000 };
    char line[32];
    (void)snprintf(line, sizeof line, "%" PRIu64, w->position + 1);
    int r = control_write(w->mountpoint, "wait-for", line);
    if (r != -EROFS)
        return r;
    /* -o ro, or a read-only view of a mount that others write to. A signal ends this, too. */
    (void)poll(NULL, 0, LOOK_MS);
    return 0;
}

static int watch(struct watch *w, bool from)
{
    char file[48] = "changes";
    bool first = !from;
    for (;;) {
        uint64_t before = w->position;
        if (!first)
            (void)snprintf(file, sizeof file, "changes-since/%" PRIu64, w->position);
        int r = print_changes(w, file);
        if (r)
            return ferror(stdout) ? CLI_ERROR : failed(w, file, r);
        if (w->once && w->position >= w->last)
            return CLI_OK;
        w->begun = true;
        if (!w->once && w->position == before)
            r = wait_for_more(w);
        first = false;
        if (cli_interrupted())
            return CLI_OK;
        if (r && r != -EINTR) /* the mount ends: the next look tells */
            return failed(w, "wait-for", r);
    }
}

/* Where the mount is now. */
static int find_position(const struct watch *w, uint64_t *ret_position)
{
    struct buf text = {0};
    int r = control_read(w->mountpoint, "position", &text);
    if (!r && sscanf(text.data, "%" SCNu64, ret_position) != 1)
        r = -EBADMSG;
    buf_done(&text);
    return r;
}

int cmd_watch(int argc, char **argv)
{
    const char *from = NULL;
    struct watch w = {0};
    const struct subcommand_option options[] = {
        {"json", &w.json, NULL}, {"once", &w.once, NULL}, {"from", NULL, &from}, {0}};
    int code = subcommand_options(argc, argv, "watch", help_text, options), used = 0;
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cli_usage("watch", "expected one MOUNTPOINT");
    if (from && (sscanf(from, "%" SCNu64 "%n", &w.position, &used) != 1 || from[used] || *from == '-'))
        return cli_usage("watch", "bad position '%.40s'", from);
    struct target *t = subcommand_open(argv[optind], TARGET_QUIET);
    if (!t)
        return CLI_ERROR;
    w.mountpoint = t->mountpoint;
    if (t->kind != TARGET_MOUNT) {
        cli_error("%s is not a mount point: only there things change", argv[optind]);
        code = CLI_ERROR;
    } else {
        cli_catch_signals();
        int r = control_find_mount(w.mountpoint, &w.mount);
        if (!r && (w.once || !from))
            r = find_position(&w, w.once ? &w.last : &w.position);
        code = r ? failed(&w, "position", r) : watch(&w, from || !w.once);
    }
    (void)target_close(t);
    return code;
}
