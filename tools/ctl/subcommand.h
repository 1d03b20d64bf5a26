/*
 * subcommand.h - what a subcommand of engramctl is, and which there are. Each is in cmd_NAME.c. */
#ifndef ENGRAMCTL_SUBCOMMAND_H
#define ENGRAMCTL_SUBCOMMAND_H

#include "ctl/transfer/target.h"

#include <stdbool.h>

struct subcommand {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name */
};

int cmd_import(int argc, char **argv);
int cmd_export(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_compact(int argc, char **argv);
int cmd_map(int argc, char **argv);
int cmd_config(int argc, char **argv);
int cmd_scrub(int argc, char **argv);
int cmd_repair(int argc, char **argv);
int cmd_dump(int argc, char **argv);
int cmd_backup(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_diff(int argc, char **argv);
int cmd_restore(int argc, char **argv);
int cmd_log(int argc, char **argv);
int cmd_watch(int argc, char **argv);
int cmd_put(int argc, char **argv);
int cmd_edit(int argc, char **argv);

/* An option: without an argument it sets *flag, with one *value. */
struct subcommand_option {
    const char *name;
    bool *flag;
    const char **value; /* NULL: without */
};
/* Decodes options, of which the last has name NULL, and --help. -1: go on, argv[optind] is the first operand;
 * else the exit code. */
int subcommand_options(int argc, char **argv, const char *name, const char *help,
                       const struct subcommand_option *options);
/* The same, of options before the first operand only: what follows is a command with options of its own. */
int subcommand_options_first(int argc, char **argv, const char *name, const char *help,
                             const struct subcommand_option *options);
/* As target_open(). NULL: it cannot be opened, which was said. */
struct target *subcommand_open(const char *path, unsigned flags);

/* What `check` and `repair` share. `name` is one of them; `repair`: that is asked for without an option. */
int check_or_repair(int argc, char **argv, const char *name, const char *help, bool repair);

#endif
