/*
 * subcommand.c - see subcommand.h. No state. */
#include "ctl/subcommand.h"

#include "shared/cli.h"

#include <getopt.h>

/* `order`: as getopt_long(3) has it, "" or "+". */
static int decode(int argc, char **argv, const char *order, const char *name, const char *help,
                  const struct subcommand_option *options)
{
    enum { MOST = 15, HELP = 1000 };
    struct option list[MOST + 2] = {{"help", no_argument, NULL, HELP}};
    for (int i = 0; i < MOST && options[i].name; i++)
        list[i + 1] =
            (struct option){options[i].name, options[i].value ? required_argument : no_argument, NULL, i};
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, order, list, NULL)) != -1;) {
        if (o == HELP) {
            fputs(help, stdout);
            return CLI_OK;
        }
        if (o == '?')
            return cli_usage(name, "bad option '%s'", argv[optind - 1]);
        if (options[o].value)
            *options[o].value = optarg;
        else
            *options[o].flag = true;
    }
    return -1;
}

int subcommand_options(int argc, char **argv, const char *name, const char *help,
                       const struct subcommand_option *options)
{
    return decode(argc, argv, "", name, help, options);
}

int subcommand_options_first(int argc, char **argv, const char *name, const char *help,
                             const struct subcommand_option *options)
{
    return decode(argc, argv, "+", name, help, options);
}

struct target *subcommand_open(const char *path, unsigned flags)
{
    struct target *t;
    char why[512];
    if (!target_open(path, flags, &t, why))
        return t;
    cli_error("%s", why);
    return NULL;
}
