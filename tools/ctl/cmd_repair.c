/*
 * cmd_repair.c - engramctl repair: what can be read of a damaged store, into a new one. No state.
 */
#include "ctl/repair.h"
#include "ctl/subcommand.h"
#include "shared/cli.h"

#include <getopt.h>

static const char help_text[] =
    "usage: engramctl repair --into NEWSTORE|--in-place [--json] STORE\n"
    "\n"
    "Copies what can be read of STORE, which may be refused otherwise and is not changed, to\n"
    "a new store: memories that are whole under their names, others as far as they can be\n"
    "read to lost+found. What is lost is listed on standard error. (The same as engramctl\n"
    "check --repair.)\n"
    "\n"
    "  --into NEWSTORE  the new store, a folder that does not exist yet\n"
    "  --in-place       the new store takes the place of STORE, kept as STORE.damaged\n"
    "  --json           the summary as JSON\n"
    "\n"
    "Exit codes: 0 nothing was lost, 1 something was, 2 no new store was made.\n";

int cmd_repair(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"into", required_argument, NULL, 'i'},
                                            {"in-place", no_argument, NULL, 'p'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    bool json = false, in_place = false;
    const char *into = NULL;
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'h') {
            fputs(help_text, stdout);
            return CLI_OK;
        }
        if (o == 'j')
            json = true;
        else if (o == 'i')
            into = optarg;
        else if (o == 'p')
            in_place = true;
        else
            return cli_usage("repair", "bad option '%s'", argv[optind - 1]);
    }
    if (argc - optind != 1)
        return cli_usage("repair", "expected one STORE");
    if (!into == !in_place)
        return cli_usage("repair", "expected one of --into NEWSTORE and --in-place");
    return repair_store(argv[optind], into, json);
}
