/*
 * cmd_diff.c - engramctl diff: what changed in a store between two snapshots, or since one. State: struct
 * diff, for one run. */
#include "ctl/diff_text.h"
#include "ctl/report.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/jsontext.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static const char help_text[] =
    "usage: engramctl diff [--json|--text|--files0|--removed0] [--store STORE] TARGET A [B]\n"
    "\n"
    "Lists the paths that differ between A and B, snapshots of TARGET or numbers of batches\n"
    "that it keeps; without B between A and now. Looks only at what was written since A.\n"
    "\n"
    "  + PATH  B alone has it      - PATH  A alone has it      M PATH  it is not the same\n"
    "\n"
    "Folders end with a slash. What is below a renamed folder has other paths. Content that\n"
    "was written counts as changed, if only with the same bytes. Link counts and times other\n"
    "than that of the last change are not compared.\n"
    "\n"
    "  --json       a JSON object a line: change (added, removed, changed), path (or\n"
    "               path_base64), type, inode; of what is changed also what (type, content,\n"
    "               mode, owner, mtime, fields), and type_before and inode_before if these\n"
    "               are others\n"
    "  --text       behind each line of a file how its content differs, by diff -u\n"
    "  --files0     the paths that B has, each with a NUL behind it, for\n"
    "               rsync --from0 --files-from=-\n"
    "  --removed0   those that A alone has, for xargs -0 rm -rf --\n"
    "  --store STORE  of a mount: where its store is, if not where the mount says\n"
    "  --snapshot   of a mount: as without it\n"
    "\n"
    "Of a mount the store is read besides its daemon, as it is at one moment: for root and the\n"
    "owner of the mount.\n"
    "\n"
    "Exit codes, as of diff(1): 0 nothing differs, 1 something does, 2 trouble.\n";

enum form { FORM_LINES, FORM_TEXT, FORM_JSON, FORM_FILES0, FORM_REMOVED0 };

struct diff {
    enum form form;
    const char *prefix; /* of a folder of a mount: nothing else counts, "" all does */
    struct diff_sides sides;
    uint64_t n;
    bool failed; /* of some text, which was said */
    struct buf line;
};

/* ---- a line -------------------------------------------------------------------- */

/* What is there, or was. */
static const struct eng_attr *attr_of(const struct eng_difference *d)
{
    return d->after ? d->after : d->before;
}

static void print_line(const struct eng_difference *d, const char *path)
{
    static const char signs[] = {[ENG_DIFF_ADDED] = '+', [ENG_DIFF_REMOVED] = '-', [ENG_DIFF_CHANGED] = 'M'};
    printf("%c ", signs[d->kind]);
    cli_print_name(*path ? path : ".");
    puts(S_ISDIR(attr_of(d)->mode) ? "/" : "");
}

static void put_number(struct buf *line, const char *key, uint64_t n)
{
    char text[64];
    (void)snprintf(text, sizeof text, ", \"%s\": %" PRIu64, key, n);
    buf_str(line, text);
}

static void put_what(struct buf *line, unsigned what)
{
    static const struct {
        unsigned bit;
        const char *word;
    } words[] = {{ENG_DIFF_TYPE, "type"},   {ENG_DIFF_CONTENT, "content"}, {ENG_DIFF_MODE, "mode"},
                 {ENG_DIFF_OWNER, "owner"}, {ENG_DIFF_MTIME, "mtime"},     {ENG_DIFF_FIELDS, "fields"}};
    const char *before = ", \"what\": [\"";
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!(what & words[i].bit))
            continue;
        buf_str(line, before);
        buf_str(line, words[i].word);
        before = "\", \"";
    }
    buf_str(line, "\"]");
}

/* Where both are there, what is not the same. */
static void put_both(struct buf *line, const struct eng_difference *d)
{
    put_what(line, d->what);
    if (d->what & ENG_DIFF_TYPE) {
        buf_str(line, ", \"type_before\": \"");
        buf_str(line, report_type(d->before->mode));
        buf_char(line, '"');
    }
    if (d->before->ino != d->after->ino)
        put_number(line, "inode_before", d->before->ino);
}

static void put_json(struct buf *line, const struct eng_difference *d, const char *path)
{
    static const char *const words[] = {
        [ENG_DIFF_ADDED] = "added", [ENG_DIFF_REMOVED] = "removed", [ENG_DIFF_CHANGED] = "changed"};
    buf_reset(line);
    buf_str(line, "{\"change\": \"");
    buf_str(line, words[d->kind]);
    buf_char(line, '"');
    jt_put_member(line, "path", *path ? path : ".");
    buf_str(line, ", \"type\": \"");
    buf_str(line, report_type(attr_of(d)->mode));
    buf_char(line, '"');
    put_number(line, "inode", attr_of(d)->ino);
    if (d->kind == ENG_DIFF_CHANGED)
        put_both(line, d);
    buf_char(line, '}');
}

/* ---- all of them ------------------------------------------------------------------ */

/* The path from the folder on that is compared; NULL: it is not in that. */
static const char *path_within(const struct diff *diff, const char *path)
{
    size_t len = strlen(diff->prefix);
    if (!len)
        return path;
    if (strncmp(path, diff->prefix, len) != 0 || (path[len] && path[len] != '/'))
        return NULL;
    return path[len] ? path + len + 1 : path + len;
}

static int print_one(void *arg, const struct eng_difference *d)
{
    struct diff *diff = arg;
    const char *path = path_within(diff, d->path);
    bool is_removed = d->kind == ENG_DIFF_REMOVED;
    if (!path)
        return 0;
    diff->n++;
    if (diff->form <= FORM_TEXT) {
        print_line(d, path);
        int r = diff->form == FORM_TEXT ? diff_text_print(&diff->sides, d, path) : 0;
        if (r == -ENOENT) {
            cli_error("there is no diff(1) here");
            return -ECANCELED;
        }
        if (r)
            cli_error("%s: %s", path, strerror(-r));
        diff->failed |= r != 0;
    } else if (diff->form == FORM_JSON) {
        put_json(&diff->line, d, path);
        if (diff->line.failed)
            return -ENOMEM;
        cli_print_json(diff->line.data, diff->line.len);
    } else if (is_removed == (diff->form == FORM_REMOVED0) && *path) {
        (void)fwrite(path, strlen(path) + 1, 1, stdout);
    }
    if (cli_interrupted())
        return -EINTR;
    return ferror(stdout) ? -EIO : 0;
}

/* The folder that a mount point leads to, without slashes at its ends. */
static const char *prefix_of(const struct target *t)
{
    const char *prefix = t->prefix ? t->prefix : "";
    return prefix + strspn(prefix, "/");
}

static int compare(struct target *t, enum form form, const char *a, const char *b)
{
    struct diff diff = {.form = form, .prefix = prefix_of(t)};
    struct eng_view *before = NULL, *after = NULL;
    char why[512];
    int r = target_open_view(t, a, &before, why);
    if (!r && b)
        r = target_open_view(t, b, &after, why);
    if (r) {
        cli_error("%s", why);
    } else {
        diff.sides = (struct diff_sides){t->eng, before, after};
        r = eng_diff(before, after, print_one, &diff);
        if (r == -EINVAL)
            cli_error("%s: '%s' is later than '%s'", t->path, a, b);
        else if (r && r != -ECANCELED && !ferror(stdout))
            cli_error("%s: %s", t->path, r == -EINTR ? "interrupted" : strerror(-r));
    }
    eng_view_close(before);
    eng_view_close(after);
    buf_done(&diff.line);
    if (r || diff.failed)
        return CLI_ERROR;
    return diff.n ? CLI_SOME : CLI_OK;
}

static enum form form_of(bool json, bool text, bool files, bool removed)
{
    if (text)
        return FORM_TEXT;
    if (json)
        return FORM_JSON;
    if (files)
        return FORM_FILES0;
    return removed ? FORM_REMOVED0 : FORM_LINES;
}

int cmd_diff(int argc, char **argv)
{
    bool json = false, text = false, files = false, removed = false, snapshot = false;
    const char *store = NULL;
    const struct subcommand_option options[] = {{"json", &json, NULL},
                                                {"text", &text, NULL},
                                                {"files0", &files, NULL},
                                                {"removed0", &removed, NULL},
                                                {"snapshot", &snapshot, NULL},
                                                {"store", NULL, &store},
                                                {0}};
    struct target *t;
    char why[512];
    int code = subcommand_options(argc, argv, "diff", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind < 2 || argc - optind > 3)
        return cli_usage("diff", "expected TARGET, A and perhaps B");
    if (json + text + files + removed > 1)
        return cli_usage("diff", "--json, --text, --files0 and --removed0 exclude each other");
    cli_catch_signals(); /* before a mount is asked to hold its segments */
    if (target_open_as(argv[optind], store, NULL, TARGET_READ_ONLY | TARGET_SNAPSHOT, &t, why)) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
    code = compare(t, form_of(json, text, files, removed), argv[optind + 1],
                   argc - optind == 3 ? argv[optind + 2] : NULL);
    (void)target_close(t); /* nothing was written to it */
    return code;
}
