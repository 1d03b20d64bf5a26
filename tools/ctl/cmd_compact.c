/*
 * cmd_compact.c - engramctl compact: takes back dead space, or steers a
 * compaction of a mount. No state. */
#include "ctl/background.h"
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl compact [--json] [ACTION] TARGET\n"
    "\n"
    "Moves live memories out of segments that hold garbage and removes those segments.\n"
    "TARGET is a store that is not mounted, or a mount point.\n"
    "\n"
    "  --json         the report as JSON, with the keys of the mount's .engram/compact\n"
    "\n"
    "Actions, instead of running and waiting for the end:\n"
    "  --estimate     what a compaction would move and give back; nothing is moved\n"
    "and for a mount point only:\n"
    "  --start        start and return\n"
    "  --wait         wait for the one that runs\n"
    "  --status       print the report of the one that runs or ended last\n"
    "  --pause, --resume, --cancel\n"
    "  --rate=BYTES   bytes a second, with k, M or G; 0 is unlimited\n"
    "\n"
    "Exit codes: 0 done, 1 it failed, was cancelled or one is running already, 2 not\n"
    "started: no such target, not allowed, no control files.\n";

static void print_people(const json_t *o)
{
    char a[32], b[32], c[32], d[32];
    cli_print_name(report_text(o, "state"));
    printf(": %s given back (%s, now %s), %s moved, fragmentation %.4f, was %.4f, in %.3f s\n",
           cli_bytes(report_number(o, "bytes_reclaimed"), a), cli_bytes(report_number(o, "old_size"), b),
           cli_bytes(report_number(o, "new_size"), c), cli_bytes(report_number(o, "bytes_moved"), d),
           report_real(o, "fragmentation_after"), report_real(o, "fragmentation_before"),
           (double)report_number(o, "duration_ms") / 1000);
    if (*report_text(o, "reason")) {
        printf("  ");
        cli_print_name(report_text(o, "reason"));
        putchar('\n');
    }
    if (report_number(o, "extents_damaged"))
        printf("  %" PRIu64 " damaged extents were left in place: run engramctl check\n",
               report_number(o, "extents_damaged"));
}

static void print_report(const json_t *o, bool json)
{
    if (json)
        report_print_json(o);
    else
        print_people(o);
}

static void print_estimate(const json_t *o, bool json)
{
    char a[32], b[32];
    if (json)
        report_print_json(o);
    else
        printf("would empty %" PRIu64 " segments, move %s and give back %s\n", report_number(o, "segments"),
               cli_bytes(report_number(o, "bytes_to_move"), a),
               cli_bytes(report_number(o, "bytes_given_back"), b));
}

/* ---- a store ------------------------------------------------------------------- */

/*
 * The engine runs without threads of its own here, or a compaction that it
 * starts by itself on a very fragmented store would stand in the way. */
static int compact_store(struct target *t, bool json)
{
    struct eng_job_report r;
    (void)background_job(t->eng, ENG_JOB_HISTORY); /* what a drop of a snapshot that was killed has left */
    int error = background_job(t->eng, ENG_JOB_COMPACT), e = eng_job_status(t->eng, ENG_JOB_COMPACT, &r);
    if (!e && r.state == ENG_JOB_IDLE)
        e = error; /* it did not even start */
    if (e < 0) {
        cli_error("%s: %s", t->path, strerror(-e));
        return CLI_ERROR;
    }
    json_t *o = report_compaction(&r);
    print_report(o, json);
    json_decref(o);
    if (r.state == ENG_JOB_DONE && !r.error)
        return CLI_OK;
    const char *why = r.error_text;
    if (!*why)
        why = r.error ? strerror(-r.error) : "the compaction was cancelled";
    cli_error("%s: %s", t->path, why);
    return CLI_SOME;
}

static int estimate_store(struct target *t, bool json)
{
    struct eng_compact_estimate e;
    int r = eng_compact_estimate(t->eng, &e);
    if (r < 0) {
        cli_error("%s: %s", t->path, strerror(-r));
        return CLI_ERROR;
    }
    json_t *o = report_estimate(&e);
    print_estimate(o, json);
    json_decref(o);
    return CLI_OK;
}

/* ---- a mount -------------------------------------------------------------------- */

static json_t *read_report(const struct target *t)
{
    struct buf text = {0};
    int r = control_read(t->mountpoint, "compact", &text);
    json_t *o = !r ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    if (!o)
        cli_error("%s/.engram/compact: %s", t->mountpoint, r < 0 ? control_strerror(r) : "not JSON");
    buf_done(&text);
    return o;
}

/* What the errno of a verb says about how far it came. */
static int verb_failed(const struct target *t, int error)
{
    switch (error) {
    case -EBUSY:
    case -EIO:
    case -ENOSPC:
    case -EINTR:
    case -ESRCH:
    case -ECANCELED:
        cli_error("%s: %s", t->mountpoint, control_strerror(error));
        return CLI_SOME;
    default:
        cli_error("%s/.engram/compact: %s", t->mountpoint, control_strerror(error));
        return CLI_ERROR;
    }
}

static int estimate_mount(const struct target *t, bool json)
{
    int r = control_write(t->mountpoint, "compact", "estimate");
    if (r < 0)
        return verb_failed(t, r);
    json_t *o = read_report(t);
    json_t *e = json_object_get(o, "estimate");
    if (o && json_is_object(e))
        print_estimate(e, json);
    else if (o)
        cli_error("%s/.engram/compact: no estimate in the report", t->mountpoint);
    int code = json_is_object(e) ? CLI_OK : CLI_ERROR;
    json_decref(o);
    return code;
}

static int compact_mount(const struct target *t, const char *verb, bool json)
{
    int r = 0;
    bool waits = !strcmp(verb, "run") || !strcmp(verb, "wait"), reports = waits || !strcmp(verb, "status");
    if (waits)
        r = background_verb(t->mountpoint, "compact", verb, "segments", "segments_done", "segments_total");
    else if (!reports)
        r = control_write(t->mountpoint, "compact", verb);
    if (r < 0 && r != -EIO && r != -ECANCELED)
        return verb_failed(t, r);
    json_t *o = reports ? read_report(t) : NULL;
    if (reports && !o)
        return CLI_ERROR;
    if (o)
        print_report(o, json);
    if (o && *report_text(o, "error"))
        cli_error("%s: %s", t->mountpoint, report_text(o, "error"));
    json_decref(o);
    return r < 0 ? CLI_SOME : CLI_OK;
}

static int run(const char *path, const char *verb, bool json)
{
    struct target *t;
    bool estimate = !strcmp(verb, "estimate");
    t = subcommand_open(path, estimate ? TARGET_READ_ONLY : TARGET_QUIET);
    if (!t)
        return CLI_ERROR;
    int code;
    if (t->kind == TARGET_MOUNT) {
        code = estimate ? estimate_mount(t, json) : compact_mount(t, verb, json);
    } else if (estimate) {
        code = estimate_store(t, json);
    } else if (strcmp(verb, "run") != 0) {
        cli_error("%s is not a mount point: a compaction can only be run there, not steered", path);
        code = CLI_ERROR;
    } else {
        cli_catch_signals();
        code = compact_store(t, json);
    }
    int c = target_close(t);
    if (c < 0 && code == CLI_OK) {
        cli_error("%s: %s", path, strerror(-c));
        code = CLI_ERROR;
    }
    return code;
}

int cmd_compact(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"rate", required_argument, NULL, 'r'},
                                            {"estimate", no_argument, NULL, 'a'},
                                            {"start", no_argument, NULL, 'a'},
                                            {"wait", no_argument, NULL, 'a'},
                                            {"status", no_argument, NULL, 'a'},
                                            {"pause", no_argument, NULL, 'a'},
                                            {"resume", no_argument, NULL, 'a'},
                                            {"cancel", no_argument, NULL, 'a'},
                                            {0}};
    char rate[64];
    const char *verb = NULL;
    bool json = false;
    opterr = 0;
    for (int o, index; (o = getopt_long(argc, argv, "", options, &index)) != -1;) {
        if (o == 'h') {
            fputs(help_text, stdout);
            return CLI_OK;
        }
        if (o == '?')
            return cli_usage("compact", "bad option '%s'", argv[optind - 1]);
        if (o == 'j') {
            json = true;
            continue;
        }
        if (verb)
            return cli_usage("compact", "one action at a time");
        verb = options[index].name;
        if (o == 'r') {
            if (strlen(optarg) > 30 || strchr(optarg, '\n'))
                return cli_usage("compact", "bad rate '%.40s'", optarg);
            snprintf(rate, sizeof rate, "rate=%s", optarg);
            verb = rate;
        }
    }
    if (argc - optind != 1)
        return cli_usage("compact", "expected one TARGET");
    return run(argv[optind], verb ? verb : "run", json);
}
