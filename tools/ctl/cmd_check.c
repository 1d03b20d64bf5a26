/*
 * cmd_check.c - engramctl check: verifies a store. No state but the count of
 * problems shown.
 */
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
    struct eng_check_report r;
    int e = eng_check(t->eng, on_problem, NULL, &r);
    if (e < 0) {
        cli_error("%s: cannot check: %s", t->path, strerror(-e));
        return CLI_ERROR;
    }
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
        fwrite(text.data, 1, text.len, stderr);
    buf_done(&text);
}

static int scrub_mount(const struct target *t, bool json)
{
    struct buf text = {0};
    int e = background_verb(t->mountpoint, "scrub", "run", NULL, "bytes_done", "bytes_total");
    /* Finding damage may itself be an error of the job; the report tells. */
    int r = e == 0 || e == -EIO ? control_read(t->mountpoint, "scrub", &text) : e;
    json_t *o = r == 0 ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    buf_done(&text);
    if (!o) {
        cli_error("%s: scrub: %s", t->path, r < 0 ? control_strerror(r) : "unreadable report");
        return CLI_ERROR;
    }
    uint64_t damaged = report_number(o, "damaged");
    bool done = !strcmp(report_text(o, "state"), "done");
    if (damaged)
        print_damaged(t);
    if (json)
        report_print_json(o);
    else
        printf("%s: %" PRIu64 " extents, %" PRIu64 " bytes verified: %" PRIu64 " damaged\n",
               damaged ? "DAMAGED"
               : done  ? "clean"
                       : "NOT COMPLETE",
               report_number(o, "extents"), report_number(o, "bytes_done"), damaged);
    json_decref(o);
    return damaged ? CLI_SOME : done ? CLI_OK : CLI_ERROR;
}

int cmd_check(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"scrub", no_argument, NULL, 's'},
                                            {"repair", no_argument, NULL, 'r'},
                                            {"into", required_argument, NULL, 'i'},
                                            {"in-place", no_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false, scrub = false, repair = false, in_place = false;
    const char *into = NULL;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help_text, stdout);
            return CLI_OK;
        }
        if (o == 'j')
            json = true;
        else if (o == 's')
            scrub = true;
        else if (o == 'r')
            repair = true;
        else if (o == 'i')
            into = optarg;
        else if (o == 'p')
            in_place = true;
        else
            return cli_usage("check", "bad option '%s'", argv[optind - 1]);
    }
    if (argc - optind != 1)
        return cli_usage("check", "expected one TARGET");
    if ((into || in_place) != repair || (into && in_place) || (repair && scrub))
        return cli_usage("check", "--repair goes with one of --into NEWSTORE and --in-place");
    if (repair)
        return repair_store(argv[optind], into, json);
    struct target *t;
    char why[512];
    if (target_open(argv[optind], TARGET_READ_ONLY, &t, why) < 0) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
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
