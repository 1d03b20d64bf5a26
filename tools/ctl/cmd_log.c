/*
 * cmd_log.c - engramctl log: the versions of one memory, with when and by whom each was made. State: struct
 * lister, for one run. */
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "rules/rfc3339.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/jsontext.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static const char help_text[] =
    "usage: engramctl log [--json] [--since WHEN] [--snapshot [--store STORE]] TARGET PATH\n"
    "\n"
    "Lists the versions of the memory PATH that TARGET keeps, oldest first: each state of\n"
    "content, owner, mode and fields that this path showed, whichever file had it. What was\n"
    "renamed to PATH, or came back out of what was removed, has its line with it.\n"
    "\n"
    "  NUMBER  TIME  SIZE  PROCESS (UID)  EVENT[, then END]      with tabs between them\n"
    "\n"
    "EVENT is created, changed, renamed, replaced (by another file), linked, restored, folder\n"
    "(with one above it), or unknown; END says how the last state in a row went. A process\n"
    "that is not known is a dash: nobody has noted who it was.\n"
    "\n"
    "One memory, or the states of one folder itself: not yet of what is in a folder, or in\n"
    "all of the store.\n"
    "\n"
    "  --json        a JSON object a line: number, time, event, inode, type, size, mode, uid,\n"
    "                gid; end (of what PATH does not show any more), and process and\n"
    "                process_uid, where they are known\n"
    "  --since WHEN  from that time on: 2026-11-28T12:00:00Z, or an age: 90s, 10m, 2h, 3d\n"
    "  --snapshot    of a mount: its store is read besides its daemon, as it is at one moment\n"
    "  --store STORE with --snapshot: where that store is, if not where the mount says\n"
    "\n"
    "Exit codes: 0 done, 2 not: also where nothing is kept that PATH showed.\n";

struct lister {
    bool json;
    int64_t since;
    struct buf line;
};

static const char *const words[] = {
    [ENG_VERSION_UNKNOWN] = "unknown", [ENG_VERSION_PRESENT] = "present",
    [ENG_VERSION_CREATED] = "created", [ENG_VERSION_CHANGED] = "changed",
    [ENG_VERSION_RENAMED] = "renamed", [ENG_VERSION_REPLACED] = "replaced",
    [ENG_VERSION_LINKED] = "linked",   [ENG_VERSION_RESTORED] = "restored",
    [ENG_VERSION_REMOVED] = "removed", [ENG_VERSION_FOLDER] = "folder",
};

/* Whether the path shows nothing, or another file, behind this state; not another state of the same one. */
static bool has_gone(const struct eng_version *v)
{
    return v->ended != ENG_VERSION_PRESENT && v->ended != ENG_VERSION_CHANGED;
}

/* ---- a line -------------------------------------------------------------------- */

static void print_line(const struct eng_version *v, const char *when)
{
    printf("%" PRIu64 "\t%s\t%" PRIu64 "\t", v->number, when, v->attr.size);
    if (v->actor.known) {
        cli_print_name(v->actor.process);
        printf(" (%" PRIu32 ")", v->actor.uid);
    } else {
        putchar('-');
    }
    printf("\t%s", words[v->began]);
    if (has_gone(v))
        printf(", then %s", words[v->ended]);
    putchar('\n');
}

static void put_json(struct buf *line, const struct eng_version *v, const char *when)
{
    char text[256];
    buf_reset(line);
    (void)snprintf(text, sizeof text, "{\"number\": %" PRIu64, v->number);
    buf_str(line, text);
    if (v->time != INT64_MAX) {
        buf_str(line, ", \"time\": \"");
        buf_str(line, when);
        buf_char(line, '"');
    }
    (void)snprintf(text, sizeof text,
                   ", \"event\": \"%s\", \"inode\": %" PRIu64 ", \"type\": \"%s\", \"size\": %" PRIu64
                   ", \"mode\": \"%04o\", \"uid\": %" PRIu32 ", \"gid\": %" PRIu32,
                   words[v->began], v->ino, report_type(v->attr.mode), v->attr.size, v->attr.mode & 07777,
                   v->attr.uid, v->attr.gid);
    buf_str(line, text);
    if (has_gone(v)) {
        buf_str(line, ", \"end\": \"");
        buf_str(line, words[v->ended]);
        buf_char(line, '"');
    }
    if (v->actor.known) {
        jt_put_member(line, "process", v->actor.process);
        (void)snprintf(text, sizeof text, ", \"process_uid\": %" PRIu32, v->actor.uid);
        buf_str(line, text);
    }
    buf_char(line, '}');
}

static int print_one(void *arg, const struct eng_version *v)
{
    struct lister *l = arg;
    char when[40] = "-";
    if (v->time < l->since)
        return 0;
    if (v->time != INT64_MAX)
        (void)rfc3339_format(v->time, when);
    if (l->json) {
        put_json(&l->line, v, when);
        if (l->line.failed)
            return -ENOMEM;
        cli_print_json(l->line.data, l->line.len);
    } else {
        print_line(v, when);
    }
    if (cli_interrupted())
        return -EINTR;
    return ferror(stdout) ? -EIO : 0;
}

/* ---- the command ------------------------------------------------------------------ */

/* 2026-11-28T12:00:00Z, or an age. */
static bool parse_since(const char *text, int64_t *ret_time)
{
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    char *end;
    struct timespec now;
    if (rfc3339_parse(text, strlen(text), ret_time))
        return true;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (errno || text[0] < '0' || text[0] > '9' || !unit || end[1] || n > 10000000000)
        return false;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    int64_t age = (int64_t)n * seconds[unit - units];
    *ret_time = age < now.tv_sec ? (now.tv_sec - age) * 1000000000 + now.tv_nsec : INT64_MIN;
    return true;
}

static const char *error_text(int error)
{
    switch (error) {
    case -ENOENT:
        return "nothing is kept that it showed";
    case -ENOSPC:
        return "a name in it was given and taken too often";
    case -EINTR:
        return "interrupted";
    default:
        return strerror(-error);
    }
}

static int list(struct target *t, const char *path, struct lister *l)
{
    char *whole = NULL;
    const char *prefix = t->prefix ? t->prefix : "";
    if (asprintf(&whole, "%s/%s", prefix, path) < 0) {
        cli_error("%s", strerror(ENOMEM));
        return CLI_ERROR;
    }
    int r = eng_history(t->eng, whole, print_one, l);
    if (r && !ferror(stdout))
        cli_error("%s: %s", path, error_text(r));
    free(whole);
    buf_done(&l->line);
    return r ? CLI_ERROR : CLI_OK;
}

int cmd_log(int argc, char **argv)
{
    bool json = false, snapshot = false;
    const char *store = NULL, *since = NULL;
    const struct subcommand_option options[] = {{"json", &json, NULL},
                                                {"since", NULL, &since},
                                                {"snapshot", &snapshot, NULL},
                                                {"store", NULL, &store},
                                                {0}};
    struct lister l = {.since = INT64_MIN};
    struct target *t;
    char why[512];
    int code = subcommand_options(argc, argv, "log", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage("log", "expected TARGET and PATH");
    if (since && !parse_since(since, &l.since))
        return cli_usage("log", "'%s' is no time", since);
    if (store && !snapshot)
        return cli_usage("log", "--store goes with --snapshot");
    l.json = json;
    cli_catch_signals();
    unsigned flags = TARGET_READ_ONLY | (snapshot ? TARGET_SNAPSHOT : 0u);
    if (target_open_as(argv[optind], store, NULL, flags, &t, why)) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
    code = CLI_ERROR;
    if (t->kind == TARGET_STORE)
        code = list(t, argv[optind + 1], &l);
    else
        cli_error("%s is mounted: log needs --snapshot, to read its store", t->path);
    (void)target_close(t); /* nothing was written to it */
    return code;
}
