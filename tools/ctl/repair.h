/*
 * repair.h - engramctl check --repair: what can be read of a damaged store, into a new one. */
#ifndef ENGRAMCTL_REPAIR_H
#define ENGRAMCTL_REPAIR_H

#include <stdbool.h>

/*
 * Copies what can be read of `store`, which is not changed, to the new store `into` (a path that does not
 * exist). What belongs to no name, or is whole only in part, goes to a new folder in it: lost+found, or
 * lost+found.1 and so on. With `into` NULL the new store takes the place of the old one, which is kept as
 * STORE.damaged. What is lost is listed on stderr. Returns an exit code of cli.h: CLI_OK nothing was lost,
 * CLI_SOME something was, CLI_ERROR no new store. */
int repair_store(const char *store, const char *into, bool json);

#endif
