/*
 * main.c - engramctl: finds the subcommand and runs it. */
#include "ctl/subcommand.h"
#include "ctl/transfer/tar.h"
#include "engine.h"
#include "shared/cli.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

static int cmd_version(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--json")) {
        printf("{\"version\": \"%s\", \"tar\": %s}\n", ENG_VERSION, tar_is_built ? "true" : "false");
        return CLI_OK;
    }
    if (argc > 1)
        return cli_usage("version", "takes --json or nothing");
    printf("engramctl %s\n", ENG_VERSION);
    return CLI_OK;
}

static int cmd_help(int argc, char **argv);

static const struct subcommand subcommands[] = {
    {"backup", "copy the store of a mount as it is at one moment", cmd_backup},
    {"bench", "measure how fast a store or mount is", cmd_bench},
    {"check", "verify every checksum, locator and count of a store", cmd_check},
    {"compact", "take back the space of overwritten and removed memories", cmd_compact},
    {"config", "print or change the configuration", cmd_config},
    {"diff", "list what changed between two snapshots", cmd_diff},
    {"dump", "print the records of a segment, for debugging", cmd_dump},
    {"edit", "have a program change a memory of a mount, losing nobody's change", cmd_edit},
    {"export", "write memories out as JSON lines, a directory tree or a tar archive", cmd_export},
    {"help", "print this text, or that of a subcommand", cmd_help},
    {"import", "read memories in from JSON lines, a directory tree or a tar archive", cmd_import},
    {"log", "list the versions of a memory, and who made them", cmd_log},
    {"map", "draw the segments of a store, live against dead", cmd_map},
    {"put", "replace a memory of a mount, if it is still what was read", cmd_put},
    {"repair", "save what can be read of a damaged store", cmd_repair},
    {"restore", "give memories of a store back what they were", cmd_restore},
    {"scrub", "verify the content of a mount while it is in use", cmd_scrub},
    {"snapshot", "make, list, rename and drop snapshots of a store", cmd_snapshot},
    {"stat", "print the figures of a store", cmd_stat},
    {"version", "print the version", cmd_version},
    {"watch", "print changes of a mount as they come", cmd_watch},
};
#define N_SUBCOMMANDS (sizeof subcommands / sizeof *subcommands)

static const struct subcommand *find(const char *name)
{
    for (size_t i = 0; i < N_SUBCOMMANDS; i++)
        if (!strcmp(subcommands[i].name, name))
            return &subcommands[i];
    return NULL;
}

static void print_help(FILE *out)
{
    fputs("usage: engramctl SUBCOMMAND [OPTIONS] …\n\n"
          "Works on a store folder that is not mounted, or on a mount point (or a\n"
          "directory inside one).\n\n",
          out);
    for (size_t i = 0; i < N_SUBCOMMANDS; i++)
        fprintf(out, "  %-9s %s\n", subcommands[i].name, subcommands[i].summary);
    fputs("\nengramctl SUBCOMMAND --help tells more.\n"
          "Exit codes: 0 all done, 1 done but not for everything, 2 not done.\n",
          out);
}

static int cmd_help(int argc, char **argv)
{
    if (argc > 2)
        return cli_usage("help", "takes one subcommand at most");
    if (argc == 2) {
        const struct subcommand *c = find(argv[1]);
        char help[] = "--help", *args[] = {argv[1], help, NULL};
        return c && c->run != cmd_help ? c->run(2, args) : cli_usage("", "unknown subcommand '%s'", argv[1]);
    }
    print_help(stdout);
    return CLI_OK;
}

/* A walk holds a descriptor for each level it is deep. */
static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

int main(int argc, char **argv)
{
    cli_reset_signals();
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is a write error like any other, with a message */
    signal(SIGXFSZ, SIG_IGN); /* as is a file that may not grow (ulimit -f) */
    raise_descriptor_limit();
    if (argc < 2) {
        print_help(stderr);
        return CLI_ERROR;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    else if (!strcmp(name, "--version"))
        name = "version";
    const struct subcommand *c = find(name);
    if (!c)
        return cli_usage("", "unknown subcommand '%s'", name);
    if (argc == 3 && !strcmp(argv[2], "--help") && (c->run == cmd_help || c->run == cmd_version)) {
        print_help(stdout); /* these two have no more to say */
        return cli_finish_stdout(CLI_OK);
    }
    return cli_finish_stdout(c->run(argc - 1, argv + 1));
}
