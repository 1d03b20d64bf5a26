/*
 * cmd_log.c - engramctl log: the versions of one memory, with when and by whom each was made; of a folder or
 * the whole store what happened in it. Events come in no order: they are sorted in bounded memory (sorted.h).
 * State: struct lister, for one run. */
#include "ctl/mount_history.h"
#include "ctl/report.h"
#include "ctl/sorted.h"
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
    "usage: engramctl log [--json] [--since WHEN] [--snapshot] [--store STORE] TARGET [PATH]\n"
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
    "Of a folder, or without PATH of all of TARGET, it lists what happened to it and below it,\n"
    "as far as that is kept, oldest first; EVENT is also removed; PATH is that of then, and FROM\n"
    "the one before of what was renamed, replaced by a rename, or restored:\n"
    "\n"
    "  NUMBER  TIME  SIZE  PROCESS (UID)  EVENT  PATH[  FROM]\n"
    "\n"
    "Of a mount, one memory is read by .engram/history, as the caller may; with --snapshot, and\n"
    "of a folder, its store is read besides its daemon, as it is at one moment. Who may not do\n"
    "that, but root and the owner of the mount, is told of a folder the versions of each memory\n"
    "in it that he may see, as of one memory, with its PATH.\n"
    "\n"
    "  --json        a JSON object a line: number, time, event, inode, type, size, mode, uid,\n"
    "                gid; end (of what PATH does not show any more), and process and\n"
    "                process_uid, where they are known; of a folder also path and from (or\n"
    "                path_base64 and from_base64)\n"
    "  --since WHEN  from that time on: 2026-11-28T12:00:00Z, or an age: 90s, 10m, 2h, 3d\n"
    "  --snapshot    of one memory of a mount: by the store, too\n"
    "  --store STORE of a mount: where its store is, if not where the mount says\n"
    "\n"
    "Exit codes: 0 done, 2 not: also where nothing is kept that PATH showed.\n";

#define SORT_BYTES ((size_t)32 << 20) /* of events in memory; what is more lies in temporary files */

struct lister {
    bool json;
    int64_t since;
    struct buf line;
    struct sorted *sorted;
    struct buf record;
    struct eng_version last; /* of the path, the folder perhaps */
};

/* Whether the path shows nothing, or another file, behind this state; not another state of the same one. */
static bool has_gone(const struct eng_version *v)
{
    return v->ended != ENG_VERSION_PRESENT && v->ended != ENG_VERSION_CHANGED;
}

/* ---- a line -------------------------------------------------------------------- */

/* What one line says; of a version `path` is NULL. */
struct line {
    uint64_t number, ino, size;
    int64_t time;
    uint32_t mode, uid, gid;
    enum eng_version_event event, end; /* PRESENT: none */
    struct eng_actor actor;
    const char *path, *from;
};

static void print_line(const struct line *l, const char *when)
{
    printf("%" PRIu64 "\t%s\t%" PRIu64 "\t", l->number, when, l->size);
    if (l->actor.known) {
        cli_print_name(l->actor.process);
        printf(" (%" PRIu32 ")", l->actor.uid);
    } else {
        putchar('-');
    }
    printf("\t%s", report_event(l->event));
    if (l->end != ENG_VERSION_PRESENT)
        printf(", then %s", report_event(l->end));
    if (l->path) {
        putchar('\t');
        cli_print_name(*l->path ? l->path : ".");
    }
    if (l->from) {
        putchar('\t');
        cli_print_name(l->from);
    }
    putchar('\n');
}

static void put_json(struct buf *line, const struct line *l, const char *when)
{
    char text[256];
    buf_reset(line);
    (void)snprintf(text, sizeof text, "{\"number\": %" PRIu64, l->number);
    buf_str(line, text);
    if (l->time != INT64_MAX) {
        buf_str(line, ", \"time\": \"");
        buf_str(line, when);
        buf_char(line, '"');
    }
    (void)snprintf(text, sizeof text,
                   ", \"event\": \"%s\", \"inode\": %" PRIu64 ", \"type\": \"%s\", \"size\": %" PRIu64
                   ", \"mode\": \"%04o\", \"uid\": %" PRIu32 ", \"gid\": %" PRIu32,
                   report_event(l->event), l->ino, report_type(l->mode), l->size, l->mode & 07777, l->uid,
                   l->gid);
    buf_str(line, text);
    if (l->end != ENG_VERSION_PRESENT) {
        buf_str(line, ", \"end\": \"");
        buf_str(line, report_event(l->end));
        buf_char(line, '"');
    }
    if (l->actor.known) {
        jt_put_member(line, "process", l->actor.process);
        (void)snprintf(text, sizeof text, ", \"process_uid\": %" PRIu32, l->actor.uid);
        buf_str(line, text);
    }
    if (l->path)
        jt_put_member(line, "path", *l->path ? l->path : ".");
    if (l->from)
        jt_put_member(line, "from", l->from);
    buf_char(line, '}');
}

static int print_one(struct lister *l, const struct line *line)
{
    char when[40] = "-";
    if (line->time < l->since)
        return 0;
    if (line->time != INT64_MAX)
        (void)rfc3339_format(line->time, when);
    if (l->json) {
        put_json(&l->line, line, when);
        if (l->line.failed)
            return -ENOMEM;
        cli_print_json(l->line.data, l->line.len);
    } else {
        print_line(line, when);
    }
    if (cli_interrupted())
        return -EINTR;
    return ferror(stdout) ? -EIO : 0;
}

/* Not initialised as a whole: what is told twice is the same to the last byte. */
static void set_version(struct line *line, const struct eng_version *v)
{
    memset(line, 0, sizeof *line);
    line->number = v->number;
    line->ino = v->ino;
    line->size = v->attr.size;
    line->time = v->time;
    line->mode = v->attr.mode;
    line->uid = v->attr.uid;
    line->gid = v->attr.gid;
    line->event = v->began;
    line->end = has_gone(v) ? v->ended : ENG_VERSION_PRESENT;
    line->actor = v->actor;
}

static int print_version(void *arg, const struct eng_version *v)
{
    struct line line;
    set_version(&line, v);
    return print_one(arg, &line);
}

/* ---- events, in their order ------------------------------------------------------- */

/* A record: the path and its NUL, the line itself, and the path before and its NUL, or nothing. */
static int add_line(struct lister *l, const struct line *line, const char *path, const char *from)
{
    buf_reset(&l->record);
    buf_add(&l->record, path, strlen(path) + 1);
    buf_add(&l->record, line, sizeof *line);
    if (from)
        buf_add(&l->record, from, strlen(from) + 1);
    if (l->record.failed)
        return -ENOMEM;
    return cli_interrupted() ? -EINTR : sorted_add(l->sorted, line->number, l->record.data, l->record.len);
}

static int add_event(void *arg, const struct eng_event *e)
{
    struct line line;
    memset(&line, 0, sizeof line);
    line.number = e->number;
    line.ino = e->ino;
    line.size = e->size;
    line.time = e->time;
    line.mode = e->mode;
    line.uid = e->uid;
    line.gid = e->gid;
    line.event = e->what;
    line.end = ENG_VERSION_PRESENT;
    line.actor = e->actor;
    return add_line(arg, &line, e->path, e->from);
}

static int add_version(void *arg, const char *path, const struct eng_version *v)
{
    struct line line;
    set_version(&line, v);
    return add_line(arg, &line, path, NULL);
}

static int print_event(void *arg, uint64_t key, const void *data, size_t len)
{
    const char *path = data;
    size_t path_len = strlen(path) + 1;
    struct line line;
    (void)key;
    memcpy(&line, path + path_len, sizeof line);
    line.path = path;
    line.from = len > path_len + sizeof line ? path + path_len + sizeof line : NULL;
    return print_one(arg, &line);
}

static int print_sorted(struct lister *l, int r)
{
    if (!r)
        r = sorted_tell(l->sorted, print_event, l);
    sorted_free(l->sorted);
    buf_done(&l->record);
    return r;
}

static int list_events(struct eng *eng, uint64_t folder, struct lister *l)
{
    l->sorted = sorted_new(SORT_BYTES);
    return print_sorted(l, l->sorted ? eng_events(eng, folder, l->since, add_event, l) : -ENOMEM);
}

/* What a user may see who may not read the store. */
static int list_below(const struct target *t, const char *path, struct lister *l)
{
    l->sorted = sorted_new(SORT_BYTES);
    return print_sorted(l, l->sorted ? mount_history_below(t->mountpoint, path, add_version, l) : -ENOMEM);
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

static int note_last(void *arg, const struct eng_version *v)
{
    struct lister *l = arg;
    l->last = *v;
    return 0;
}

static int list_path(struct eng *eng, const char *path, struct lister *l)
{
    int r = eng_history(eng, path, note_last, l);
    if (!path[strspn(path, "/")])
        return list_events(eng, ENG_ROOT_INO, l);
    if (!r && S_ISDIR(l->last.attr.mode))
        return list_events(eng, l->last.ino, l);
    return r ? r : eng_history(eng, path, print_version, l);
}

enum by { BY_HISTORY, BY_STORE, BY_FOLDERS };

/* -EISDIR: of a mount, whose store is to be read. */
static int list(const struct target *t, const char *path, enum by by, struct lister *l)
{
    char *whole = NULL;
    if (asprintf(&whole, "%s/%s", t->prefix ? t->prefix : "", path) < 0)
        return -ENOMEM;
    int r;
    if (t->kind == TARGET_STORE)
        r = list_path(t->eng, whole, l);
    else if (by == BY_FOLDERS)
        r = list_below(t, whole, l);
    else
        r = mount_history(t->mountpoint, whole, print_version, l);
    free(whole);
    buf_done(&l->line);
    return r;
}

/* One memory of a mount by its history, a folder by the store, or, where the caller may not read that, by the
 * history of each memory in it. */
static int list_target(const char *target, const char *store, const char *path, bool of_store,
                       struct lister *l)
{
    enum by by = of_store ? BY_STORE : BY_HISTORY;
    struct target *t;
    char why[512];
    int r = -EISDIR;
    while (r == -EISDIR) {
        unsigned flags = TARGET_READ_ONLY | (by == BY_STORE ? TARGET_SNAPSHOT : 0u);
        r = target_open_as(target, store, NULL, flags, &t, why);
        if (r == -EACCES && by == BY_STORE && !of_store) {
            by = BY_FOLDERS;
            r = -EISDIR;
            continue;
        }
        if (r) {
            cli_error("%s", why);
            return CLI_ERROR;
        }
        r = list(t, path, by, l);
        by = BY_STORE;
        (void)target_close(t); /* nothing was written to it */
    }
    if (r && !ferror(stdout))
        cli_error("%s: %s", *path ? path : target, error_text(r));
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
    int code = subcommand_options(argc, argv, "log", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 1 || argc - optind > 2)
        return cli_usage("log", "expected TARGET and perhaps PATH");
    if (since && !parse_since(since, &l.since))
        return cli_usage("log", "'%s' is no time", since);
    l.json = json;
    cli_catch_signals();
    return list_target(argv[optind], store, argc - optind == 2 ? argv[optind + 1] : "", snapshot || store,
                       &l);
}
