/*
 * cmd_put.c - engramctl put: replaces a memory of a mount by what comes on standard input, if it is still
 * what the caller has read. No state. */
#include "ctl/replace.h"
#include "ctl/subcommand.h"
#include "shared/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl put [--if-match STATE | --create] PATH < CONTENT\n"
    "\n"
    "Replaces the memory at PATH, in a mount, by what comes on standard input, in one step:\n"
    "others see the old content or the new one. Owner, mode and fields stay, as far as you\n"
    "may set them. It ends when the new content is on the disk, and prints its state.\n"
    "\n"
    "  --if-match STATE  only if the memory is still in that state, else nothing is changed.\n"
    "                    STATE is what getfattr -n user.engram.state printed before you read\n"
    "                    the memory (state:N, or N alone), or what sha256sum prints of the\n"
    "                    content that you have read (64 hexadecimal digits). If the content\n"
    "                    is already what it is to become, that is success\n"
    "  --create          only if nothing has that name\n"
    "\n"
    "Without either whatever is there is replaced. A symbolic link is followed; other names\n"
    "of the memory (hard links) keep the old content.\n"
    "\n"
    "Exit codes: 0 done, 1 refused, since somebody else has changed or made it: nothing was\n"
    "written, 2 not done: no mount of engramfs, no attributes there, an error.\n";

enum { TRIES = 10 };

static int refused(const struct replace *r, const char *guard)
{
    uint64_t now = replace_state_now(r);
    if (!guard)
        cli_error("%s: refused: it exists (state:%" PRIu64 "); nothing was written", r->path, now);
    else if (!now)
        cli_error("%s: refused: it is gone, and was to be %s; nothing was written", r->path, guard);
    else
        cli_error("%s: refused: it is not %s any more, but state:%" PRIu64
                  "; nothing was written. Read it again, and put what becomes of that",
                  r->path, guard, now);
    return CLI_SOME;
}

/* Without a condition whatever comes meanwhile is replaced, too, with the fields that it has then. */
static int commit(struct replace *r, const char *guard, bool create)
{
    uint64_t state = 0;
    bool is_any = !guard && !create;
    int e = create && r->old >= 0 ? -EEXIST : replace_commit(r, guard, &state);
    for (int i = 1; (e == -ECANCELED || e == -EEXIST) && is_any && i < TRIES; i++) {
        if (replace_open_again(r))
            return CLI_ERROR;
        e = replace_commit(r, guard, &state);
    }
    if (e == -ECANCELED || e == -EEXIST)
        return refused(r, guard);
    if (!e)
        printf("state:%" PRIu64 "\n", state);
    return e ? CLI_ERROR : CLI_OK;
}

static int put(struct replace *r, const char *path, const char *guard, bool create)
{
    if (replace_find(r, path) || replace_open(r))
        return CLI_ERROR;
    int e = replace_copy(STDIN_FILENO, r->new);
    if (e) {
        cli_error("%s: nothing was written: %s", path, strerror(-e));
        return CLI_ERROR;
    }
    return replace_open_again(r) ? CLI_ERROR : commit(r, guard, create);
}

int cmd_put(int argc, char **argv)
{
    const char *state = NULL;
    char guard[REPLACE_GUARD_BUF];
    bool create = false;
    struct replace r = {0};
    const struct subcommand_option options[] = {{"if-match", NULL, &state}, {"create", &create, NULL}, {0}};
    int code = subcommand_options(argc, argv, "put", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 1)
        return cli_usage("put", "expected one PATH");
    if (state && create)
        return cli_usage("put", "--if-match and --create exclude each other");
    if (state && !replace_parse_guard(state, guard))
        return cli_usage("put", "'%.80s' is no state", state);
    cli_catch_signals();
    code = put(&r, argv[optind], state ? guard : NULL, create);
    replace_done(&r);
    return code;
}
