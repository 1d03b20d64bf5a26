/*
 * cmd_scrub.c - engramctl scrub: check --scrub under its own name. No state. */
#include "ctl/subcommand.h"
#include "shared/cli.h"

#include <stdlib.h>
#include <string.h>

int cmd_scrub(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs("usage: engramctl scrub [--json] MOUNTPOINT\n"
              "\n"
              "Verifies the content of every memory of a mount while it is in use; the same as\n"
              "check --scrub. Damaged memories go to standard error, one a line. What the next\n"
              "mount will need (checkpoint, log; both copies) is verified, too, and healed.\n"
              "\n"
              "  --json   the report as JSON, with the keys of the mount's .engram/scrub\n"
              "\n"
              "Exit codes: 0 clean, 1 damaged, 2 not checked.\n",
              stdout);
        return CLI_OK;
    }
    char option[] = "--scrub";
    char **args = calloc((size_t)argc + 2, sizeof *args);
    if (!args) {
        cli_error("out of memory");
        return CLI_ERROR;
    }
    args[0] = argv[0];
    args[1] = option;
    for (int i = 1; i < argc; i++)
        args[i + 1] = argv[i];
    int code = cmd_check(argc + 1, args);
    free(args);
    return code;
}
