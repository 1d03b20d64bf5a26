/*
 * subcommand.h - what a subcommand of engramctl is, and which there are. Each is in cmd_NAME.c. */
#ifndef ENGRAMCTL_SUBCOMMAND_H
#define ENGRAMCTL_SUBCOMMAND_H

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
int cmd_bench(int argc, char **argv);

#endif
