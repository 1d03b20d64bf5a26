/*
 * cmd_check.c - engramctl check: verifies a store. No state but the count of
 * problems shown. */
#include "ctl/background.h"
#include "ctl/repair.h"
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/control.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl check [--json] [--scrub] TARGET\n"
    "       engramctl check --repair --into NEWSTORE|--in-place [--json] STORE\n"
    "\n"
    "Verifies every checksum, every locator and every count of a store that is not\n"
    "mounted, without changing it. Problems go to standard error, one a line.\n"
    "\n"
    "  --json    the summary as JSON\n"
    "  --scrub   TARGET is a mount point: let its daemon verify every memory's content\n"
    "            while it is in use (locators and counts need the store unmounted)\n"
    "\n"
    "  --repair         copies what can be read of STORE, which may be refused otherwise\n"
    "                   and is not changed, to a new store: memories that are whole under\n"
    "                   their names, others as far as they can be read to lost+found.\n"
    "                   What is lost is listed on standard error\n"
    "  --into NEWSTORE  the new store, a folder that does not exist yet\n"
    "  --in-place       the new store takes the place of STORE, kept as STORE.damaged\n"
    "\n"
    "Exit codes: 0 all holds, 1 problems were found, 2 could not check.\n";

static void on_problem(void *arg, const char *text)
{
    (void)arg;
    cli_note(text);
}

static int check_store(struct target *t, bool json)
{
    const struct eng_job_options options = {.on_problem = on_problem};
    struct eng_job_report report;
    int e = eng_job_run(t->eng, ENG_JOB_CHECK, &options, &report);
    if (e < 0) {
        cli_error("%s: cannot check: %s", t->path, strerror(-e));
        return CLI_ERROR;
    }
    const struct eng_check_figures r = report.check;
    if (json)
        printf("{\"problems\": %" PRIu64 ", \"inodes\": %" PRIu64 ", \"names\": %" PRIu64
               ", \"extents\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"segments\": %" PRIu64 "}\n",
               r.problems, r.inodes, r.dentries, r.extents, r.bytes, r.segments);
    else
        printf("%s: %" PRIu64 " inodes, %" PRIu64 " names, %" PRIu64 " extents, %" PRIu64 " bytes in %" PRIu64
               " segments: %" PRIu64 " problems\n",
               r.problems ? "DAMAGED" : "clean", r.inodes, r.dentries, r.extents, r.bytes, r.segments,
               r.problems);
    return r.problems ? CLI_SOME : CLI_OK;
}

/* Names what is damaged, as the mount's `damaged` lists it. */
static void print_damaged(const struct target *t)
{
    struct buf text = {0};
    if (control_read(t->mountpoint, "damaged", &text) == 0)
        for (char *rest = text.data, *line; (line = strsep(&rest, "\n"));)
            if (*line)
                cli_note(line);
    buf_done(&text);
}

static int scrub_mount(const struct target *t, bool json)
{
    struct buf text = {0};
    int e = background_verb(t->mountpoint, "scrub", "run", NULL, "bytes_done", "bytes_total");
    /* Finding damage may itself be an error of the job; the report tells. */
    int r = e == 0 || e == -EIO ? control_read(t->mountpoint, "scrub", &text) : e;
    json_t *o = !r ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    buf_done(&text);
    if (!o) {
        cli_error("%s: scrub: %s", t->path, r < 0 ? control_strerror(r) : "unreadable report");
        return CLI_ERROR;
    }
    uint64_t own = report_number(o, "recovery_damaged"), damaged = own + report_number(o, "damaged");
    bool done = !strcmp(report_text(o, "state"), "done");
    const char *verdict = done ? "clean" : "NOT COMPLETE";
    if (damaged) {
        verdict = "DAMAGED";
        print_damaged(t);
    }
    if (json)
        report_print_json(o);
    else
        printf("%s: %" PRIu64 " extents, %" PRIu64 " bytes verified: %" PRIu64 " damaged\n", verdict,
               report_number(o, "extents"), report_number(o, "bytes_done"), damaged - own);
    if (own && !json)
        printf("in the store's own files, which a recovery needs: %" PRIu64 " parts damaged, %" PRIu64
               " of them made good\n",
               own, report_number(o, "recovery_healed"));
    json_decref(o);
    if (damaged)
        return CLI_SOME;
    return done ? CLI_OK : CLI_ERROR;
}

static int check(const char *path, bool scrub, bool json)
{
    struct target *t = subcommand_open(path, TARGET_READ_ONLY);
    if (!t)
        return CLI_ERROR;
    int code = CLI_ERROR;
    if (t->kind == TARGET_STORE && scrub)
        cli_error("%s: --scrub is for mounts; without it this store is checked wholly", t->path);
    else if (t->kind == TARGET_STORE)
        code = check_store(t, json);
    else if (scrub)
        code = scrub_mount(t, json);
    else
        cli_error("%s is mounted: unmount it and check its store, or verify its contents in use with "
                  "engramctl check --scrub %s",
                  t->path, t->mountpoint);
    (void)target_close(t);
    return code;
}

int check_or_repair(int argc, char **argv, const char *name, const char *help, bool repair)
{
    bool json = false, scrub = false, in_place = false, always = repair;
    const char *into = NULL;
    const struct subcommand_option options[] = {
        {"json", &json, NULL},         {"into", NULL, &into},
        {"in-place", &in_place, NULL}, {always ? NULL : "scrub", &scrub, NULL},
        {"repair", &repair, NULL},     {0}};
    int code = subcommand_options(argc, argv, name, help, options);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cli_usage(name, "expected one %s", always ? "STORE" : "TARGET");
    if ((into || in_place) != repair || (into && in_place) || (repair && scrub))
        return cli_usage(name, "%s one of --into NEWSTORE and --in-place",
                         always ? "expected" : "--repair goes with");
    return repair ? repair_store(argv[optind], into, json) : check(argv[optind], scrub, json);
}

int cmd_check(int argc, char **argv)
{
    return check_or_repair(argc, argv, "check", help_text, false);
}
