/*
 * cmd_edit.c - engramctl edit: a program makes the new content of a memory of a mount out of the present one;
 * if somebody else changes it meanwhile, once more. State: struct edit, for one run. */
#include "ctl/replace.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/temporary.h"
#include "shared/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl edit [--create] [--tries N] PATH COMMAND [ARGUMENT...]\n"
    "\n"
    "Runs COMMAND with the memory at PATH, in a mount, on its standard input, and replaces\n"
    "the memory by what it prints: in one step, and only if nobody else has changed it since\n"
    "it was opened; else runs COMMAND again, on what is there now. If COMMAND fails nothing\n"
    "is written. Owner, mode and fields stay, as far as you may set them. It ends when the\n"
    "new content is on the disk.\n"
    "\n"
    "An ARGUMENT that is {} stands for a file of that content instead, which COMMAND is to\n"
    "change: engramctl edit notes.md vim {}. If somebody else was faster that file is kept\n"
    "and named, and COMMAND is not run again, unless --tries says so.\n"
    "\n"
    "  --create   if nothing has that name begin with nothing, and make it\n"
    "  --tries N  run COMMAND at most N times; 10 by default, with {} once\n"
    "\n"
    "Exit codes: 0 done, 1 refused N times, since others had changed it: nothing was written,\n"
    "2 not done: COMMAND failed, no mount of engramfs, no attributes there, an error.\n";

enum { TRIES = 10, TRIES_MAX = 1000000, LONGEST_PAUSE_MS = 128 };

struct edit {
    struct replace r;
    char **command;
    bool create;
    /* With {}: the file, its folder, and the command with its path. */
    char *file, *folder;
    char **with_file;
    bool keep; /* somebody's work is in it */
};

/* ---- running it ----------------------------------------------------------------- */

/* What this program ignores, another one may want. */
static int set_signals(posix_spawnattr_t *attr)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    sigaddset(&signals, SIGXFSZ);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGQUIT);
    int r = -posix_spawnattr_setsigdefault(attr, &signals);
    return r ? r : -posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF);
}

static int set_files(const struct edit *e, posix_spawn_file_actions_t *files)
{
    if (e->file)
        return 0;
    int r = e->r.old >= 0 ? -posix_spawn_file_actions_adddup2(files, e->r.old, STDIN_FILENO)
                          : -posix_spawn_file_actions_addopen(files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    return r ? r : -posix_spawn_file_actions_adddup2(files, e->r.new, STDOUT_FILENO);
}

static int start(const struct edit *e, pid_t *ret_pid)
{
    posix_spawnattr_t attr;
    posix_spawn_file_actions_t files;
    char **command = e->file ? e->with_file : e->command;
    int r = -posix_spawnattr_init(&attr);
    if (r)
        return r;
    r = -posix_spawn_file_actions_init(&files);
    if (!r) {
        r = set_signals(&attr);
        if (!r)
            r = set_files(e, &files);
        if (!r)
            r = -posix_spawnp(ret_pid, command[0], &files, &attr, command, environ);
        (void)posix_spawn_file_actions_destroy(&files);
    }
    (void)posix_spawnattr_destroy(&attr);
    return r;
}

/* What ends this program ends that one. */
static int wait_for(pid_t pid, int *ret_status)
{
    while (waitpid(pid, ret_status, 0) < 0) {
        if (errno != EINTR)
            return -errno;
        if (cli_interrupted())
            (void)kill(pid, SIGTERM);
    }
    return 0;
}

/* Runs the command; 0 if it has succeeded. */
static int run(const struct edit *e)
{
    pid_t pid;
    int status = 0;
    /* An editor has a meaning of its own for Ctrl-C. */
    struct sigaction ignore = {.sa_handler = SIG_IGN}, interrupt = {0}, quit = {0};
    if (e->file) {
        sigaction(SIGINT, &ignore, &interrupt);
        sigaction(SIGQUIT, &ignore, &quit);
    }
    int r = start(e, &pid);
    if (!r)
        r = wait_for(pid, &status);
    if (e->file) {
        sigaction(SIGINT, &interrupt, NULL);
        sigaction(SIGQUIT, &quit, NULL);
    }
    if (r)
        cli_error("%s: %s", e->command[0], strerror(-r));
    else if (WIFSIGNALED(status))
        cli_error("%s: nothing was written: %s was ended by signal %d", e->r.path, e->command[0],
                  WTERMSIG(status));
    else if (WEXITSTATUS(status))
        cli_error("%s: nothing was written: %s ended with status %d", e->r.path, e->command[0],
                  WEXITSTATUS(status));
    return r || status ? -EIO : 0;
}

/* ---- a file for {} --------------------------------------------------------------- */

static int complain(const char *path, int error)
{
    cli_error("%s: %s", path, strerror(-error));
    return -EIO;
}

/* In a folder that only its owner may enter, by the memory's own name: an editor goes by that. */
static int name_file(struct edit *e)
{
    const char *where = getenv("TMPDIR");
    if (!where || *where != '/')
        where = "/tmp";
    if (asprintf(&e->folder, "%s/engramctl-XXXXXX", where) < 0)
        e->folder = NULL;
    if (!e->folder || !mkdtemp(e->folder)) {
        int r = complain(where, e->folder ? -errno : -ENOMEM);
        free(e->folder);
        e->folder = NULL;
        return r;
    }
    if (asprintf(&e->file, "%s/%s", e->folder, e->r.name) < 0)
        e->file = NULL;
    size_t n = 0;
    while (e->command[n])
        n++;
    e->with_file = calloc(n + 1, sizeof *e->with_file);
    if (!e->file || !e->with_file)
        return complain(e->folder, -ENOMEM);
    for (size_t i = 0; i < n; i++)
        e->with_file[i] = strcmp(e->command[i], "{}") ? e->command[i] : e->file;
    return 0;
}

static int fill_file(const struct edit *e)
{
    int fd = open(e->file, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : 0;
    if (!r && e->r.old >= 0)
        r = replace_copy(e->r.old, fd);
    if (fd >= 0 && close(fd) < 0 && !r)
        r = -errno;
    return r ? complain(e->file, r) : 0;
}

/* Editors put another file in its place. */
static int take_file(const struct edit *e)
{
    int fd = open(e->file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int r = fd < 0 ? -errno : replace_copy(fd, e->r.new);
    if (fd >= 0)
        close(fd);
    return r ? complain(e->file, r) : 0;
}

static void drop_file(struct edit *e)
{
    if (e->file && !e->keep)
        (void)unlink(e->file);
    if (e->folder && !e->keep && rmdir(e->folder) < 0)
        cli_warning("%s: left there: %s", e->folder, strerror(errno));
    if (e->keep)
        cli_notef("what it was to become is in %s", e->file);
    free(e->with_file);
    free(e->file);
    free(e->folder);
}

/* ---- attempts ---------------------------------------------------------------------- */

/* Some ms, at random, and longer after each attempt: so that not all who were refused come again at once. */
static void pause_after(int attempt)
{
    uint64_t longest = attempt < 7 ? UINT64_C(1) << attempt : LONGEST_PAUSE_MS;
    struct timespec t = {.tv_nsec = (long)(temporary_number() % (longest * 1000000))};
    (void)nanosleep(&t, NULL);
}

/* 0, -ECANCELED or -EEXIST: another attempt may do, or -EIO: it was told why not. */
static int attempt(struct edit *e)
{
    char guard[32];
    if (replace_open(&e->r))
        return -EIO;
    if (e->r.old < 0 && !e->create)
        return complain(e->r.path, -ENOENT);
    if (e->file && fill_file(e))
        return -EIO;
    if (run(e))
        return -EIO;
    e->keep = e->file;
    if (e->file && take_file(e))
        return -EIO;
    (void)snprintf(guard, sizeof guard, "state:%" PRIu64, e->r.state);
    int r = replace_commit(&e->r, e->r.old >= 0 ? guard : NULL, NULL);
    e->keep = e->keep && r;
    return r;
}

static int edit(struct edit *e, const char *path, int tries)
{
    bool by_file = false;
    int r = -ECANCELED;
    for (char **word = e->command; *word; word++)
        by_file = by_file || !strcmp(*word, "{}");
    if (!tries)
        tries = by_file ? 1 : TRIES;
    if (replace_find(&e->r, path) || (by_file && name_file(e)))
        return CLI_ERROR;
    for (int i = 0; (r == -ECANCELED || r == -EEXIST) && i < tries && !cli_interrupted(); i++) {
        if (i)
            pause_after(i);
        r = attempt(e);
    }
    if (r != -ECANCELED && r != -EEXIST)
        return r ? CLI_ERROR : CLI_OK;
    if (cli_interrupted())
        cli_error("%s: interrupted; nothing was written", path);
    else
        cli_error("%s: refused %d time%s: others have changed it meanwhile; nothing was written", path, tries,
                  tries == 1 ? "" : "s");
    return cli_interrupted() ? CLI_ERROR : CLI_SOME;
}

int cmd_edit(int argc, char **argv)
{
    const char *tries = NULL;
    struct edit e = {.r = {.folder = -1, .old = -1, .new = -1, .is_exact = true}};
    const struct subcommand_option options[] = {{"create", &e.create, NULL}, {"tries", NULL, &tries}, {0}};
    int code = subcommand_options_first(argc, argv, "edit", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 2)
        return cli_usage("edit", "expected PATH and COMMAND");
    char *end = NULL;
    long n = tries ? strtol(tries, &end, 10) : 0;
    if (tries && (end == tries || *end || n < 1 || n > TRIES_MAX))
        return cli_usage("edit", "--tries: expected a number from 1 to %d", TRIES_MAX);
    e.command = argv + optind + 1;
    cli_catch_signals();
    code = edit(&e, argv[optind], (int)n);
    drop_file(&e);
    replace_done(&e.r);
    return code;
}
