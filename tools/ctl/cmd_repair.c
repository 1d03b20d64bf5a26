/*
 * cmd_repair.c - engramctl repair: what can be read of a damaged store, into a new one. No state. */
#include "ctl/subcommand.h"
static const char help_text[] =
    "usage: engramctl repair --into NEWSTORE|--in-place [--json] STORE\n"
    "\n"
    "Copies what can be read of STORE, which may be refused otherwise and is not changed, to\n"
    "a new store: memories that are whole under their names, others as far as they can be\n"
    "read to lost+found, with what can be read of files sXXXXXXXX.kept, which an opening has\n"
    "set aside. What is lost is listed on standard error. (The same as engramctl check\n"
    "--repair.)\n"
    "\n"
    "  --into NEWSTORE  the new store, a folder that does not exist yet\n"
    "  --in-place       the new store takes the place of STORE, kept as STORE.damaged\n"
    "  --json           the summary as JSON\n"
    "\n"
    "Exit codes: 0 nothing was lost, 1 something was, 2 no new store was made.\n";

int cmd_repair(int argc, char **argv)
{
    return check_or_repair(argc, argv, "repair", help_text, true);
}
