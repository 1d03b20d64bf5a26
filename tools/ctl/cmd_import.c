/*
 * cmd_import.c - engramctl import: JSON lines, a directory tree or a tar archive
 * into a store or mount. State: struct import, for one run. */
#include "ctl/subcommand.h"
#include "ctl/transfer/copy.h"
#include "ctl/transfer/lines.h"
#include "ctl/transfer/loader.h"
#include "ctl/transfer/place.h"
#include "ctl/transfer/tar.h"
#include "ctl/transfer/target.h"
#include "ctl/transfer/trust.h"
#include "ctl/transfer/unpack.h"
#include "shared/buf.h"
#include "shared/cli.h"
#include "shared/jsontext.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char help_text[] =
    "usage: engramctl import [--format jsonl|tree|tar] [--create] [--json] [--lenient]\n"
    "                        [--timezone ZONE] [--errors FILE] [--trust] SOURCE|- TARGET\n"
    "\n"
    "Reads memories from SOURCE ('-' is standard input) into TARGET, a store (made\n"
    "if missing) or a mount point or directory of a mount. Memories that exist are\n"
    "replaced if they differ; importing twice changes nothing.\n"
    "\n"
    "  --format jsonl   one JSON object a line, compressed (gzip, bzip2, xz, zstd, lz4) or\n"
    "                   not; the default unless SOURCE is a directory or is called .tar,\n"
    "                   .tgz, .tar.zst or the like\n"
    "  --format tree    a directory: files, directories, symlinks, hard links, modes,\n"
    "                   times and attributes\n"
    "  --format tar     the same from a tar archive, compressed or not. A name that leads\n"
    "                   out of the archive is reported and left out\n"
    "  --create         TARGET may be an empty folder, which becomes a store. Without it\n"
    "                   that is refused: it may be a mount point without its mount\n"
    "  --json           the summary as JSON\n"
    "  --trust          as root, of a tree in a mount of another user: all of it, as of export;\n"
    "                   of another one also what other users have mounted in it with FUSE,\n"
    "                   which else is left out and told, exit code 1\n"
    "\n"
    "  --lenient        of lines: a field that does not fit is kept under the key\n"
    "                   original_KEY, instead of leaving out the memory\n"
    "  --timezone ZONE  of times without an offset: UTC, +02:00 or Europe/Berlin\n"
    "  --errors FILE    every bad line, with its number and why, as JSON lines\n"
    "\n"
    "Keys of a line:\n"
    "  id            string, required; a path where it can be one, else the memory is\n"
    "                stored under an escaped name and the id kept in user.engram.id\n"
    "  content       string, or null for a memory without content; required\n"
    "  created_at    RFC 3339 time, kept as given and used as the file's time. Also taken,\n"
    "                and kept as RFC 3339: a date, +0530, seconds or milliseconds since\n"
    "                1970; with --timezone a time without an offset\n"
    "  confidence, activation (0 to 1), decay_rate (0 or more), recall_count,\n"
    "  node_flags (unsigned), last_access (RFC 3339 time or integer), embedding\n"
    "  (array of numbers, kept as 32-bit floats): kept as user.engram.NAME\n"
    "  content_base64, id_base64, xattrs_base64: what text cannot hold, as export writes it\n"
    "  anything else kept as the attribute user.KEY; export gives the same JSON back\n"
    "\n"
    "A line that is not such an object is reported as FILE:LINE: why, and left out.\n"
    "A later line with the same id replaces the earlier one, and makes exit code 1.\n"
    "Numbers may be in quotes, and 3.0 is taken for 3 where an integer is wanted.\n"
    "\n"
    "Exit codes: 0 all imported, 1 some were left out, 2 not imported.\n";

struct import {
    const char *source; /* for messages */
    struct target *target;
    struct loader *loader;
    struct unpack *unpack;
    struct lines lines;
    struct complaints bad;
    struct progress progress;
    struct jsonl_options options;
    FILE *errors;  /* each bad line; NULL: not asked for */
    uint64_t size; /* of a regular file; 0: unknown, lines are counted then */
};

/* Tells of a bad line. Its text is not known any more if it was refused by the target. */
static void bad_line(struct import *im, uint64_t number, const char *why, const char *line, size_t len)
{
    cli_complain(&im->bad, "%s:%" PRIu64 ": %s", im->source, number, why);
    if (!im->errors)
        return;
    struct buf out = {0};
    char head[32];
    snprintf(head, sizeof head, "{\"line\":%" PRIu64, number);
    buf_str(&out, head);
    buf_str(&out, ",\"error\":");
    jt_put_string(&out, why, utf8_valid(why, strlen(why)) ? strlen(why) : 0);
    if (line && utf8_valid(line, len)) {
        buf_str(&out, ",\"text\":");
        jt_put_string(&out, line, len);
    } else if (line) {
        buf_str(&out, ",\"text_base64\":");
        jt_put_base64(&out, line, len);
    }
    buf_str(&out, "}\n");
    if (!out.failed)
        (void)fwrite(out.data, 1, out.len, im->errors); /* looked at in the end */
    buf_done(&out);
}

static void on_failed(void *arg, const struct eng_record *rec, uint64_t line, int error)
{
    (void)rec;
    bad_line(arg, line, target_strerror(error), NULL, 0);
}

/* Handles one line; a negative errno ends the import. */
static int import_line(struct import *im, const char *line, size_t len)
{
    char why[JSONL_WHY_MAX];
    struct memory m;
    if (im->lines.number == 1 && len >= 3 && !memcmp(line, "\xEF\xBB\xBF", 3)) { /* a byte order mark */
        line += 3;
        len -= 3;
    }
    size_t blank = 0;
    while (blank < len && (line[blank] == ' ' || line[blank] == '\t' || line[blank] == '\r'))
        blank++;
    if (blank == len)
        return 0;
    int r = jsonl_parse_as(line, len, &im->options, loader_begin(im->loader), &m, why);
    if (r == -EINVAL) {
        bad_line(im, im->lines.number, why, line, len);
        return 0;
    }
    if (!r)
        r = loader_add(im->loader, &m, im->lines.number);
    if (!r || target_error_is_fatal(im->target, r))
        return r;
    bad_line(im, im->lines.number, target_strerror(r), line, len);
    return 0;
}

static void show_progress(struct import *im)
{
    progress_show(&im->progress, im->size ? im->lines.bytes : im->lines.number, im->size);
}

/* Why the lines cannot be read on. */
static void source_failed(const struct import *im, int error)
{
    const char *what = error == -EOPNOTSUPP ? "compressed, and this engramctl was built without libarchive"
                                            : strerror(-error);
    if (error != -EBADMSG)
        cli_error("%s: %s", im->source, what);
    else
        cli_error("%s: damaged, or cut off: %s", im->source,
                  im->unpack ? unpack_why(im->unpack) : "it cannot be unpacked");
    if (error == -EBADMSG && im->lines.number)
        cli_error("%s: lines 1 to %" PRIu64
                  " came from it before its sum could be looked at: what they had may be "
                  "damaged",
                  im->source, im->lines.number);
}

static int import_lines(struct import *im)
{
    const char *line;
    size_t len;
    int r;
    while ((r = lines_next(&im->lines, &line, &len)) != 0) {
        if (r == -E2BIG) {
            bad_line(im, im->lines.number, "longer than 1 GiB", NULL, 0);
        } else if (r < 0 && r != -EINTR) {
            source_failed(im, r);
            return -ECANCELED;
        } else if (r > 0 && (r = import_line(im, line, len)) < 0) {
            return r;
        }
        if (cli_interrupted())
            return -EINTR;
        if ((im->lines.number & 255) == 0)
            show_progress(im);
    }
    return 0;
}

/* Ends the run: closes the target and prints what came of it. */
static int conclude(struct target *t, int r)
{
    char path[256];
    snprintf(path, sizeof path, "%s", t->path);
    int c = target_close(t);
    if (r == -EINTR)
        cli_error("interrupted; what was read until then is stored");
    else if (r < 0 && r != -ECANCELED)
        cli_error("%s: %s", path, strerror(-r));
    if (c < 0 && !r)
        cli_error("%s: %s", path, strerror(-c));
    return r < 0 || c < 0 ? CLI_ERROR : CLI_OK;
}

/* What the user says about lines. */
struct line_options {
    struct jsonl_options as;
    const char *errors; /* a file, or NULL */
};

/* What is there already: a file neither stays open to others nor stays theirs. */
static int reopen_errors(const struct place *p)
{
    struct stat st;
    char path[PLACE_PATH];
    if (fstat(p->fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode))
        return place_open_special(p, &st);
    if (st.st_uid != geteuid())
        return -EACCES;
    if (st.st_nlink != 1)
        return -EMLINK;
    int fd = open(place_path(p->fd, path), O_WRONLY | O_CLOEXEC);
    int r = fd < 0 || fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0 ? -errno : fd;
    if (r < 0 && fd >= 0)
        close(fd);
    return r;
}

/* The file of bad lines, which may hold what nobody else is to read. */
static FILE *open_errors(const char *path)
{
    struct place p;
    int r = place_open(path, &p), fd = r;
    if (!r && p.fd >= 0)
        fd = reopen_errors(&p);
    else if (!r && (fd = openat(p.folder, p.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        fd = -errno;
    if (!r)
        place_close(&p);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (f)
        return f;
    r = fd < 0 ? fd : -errno;
    cli_error("%s: %s", path, r == -EACCES ? "belongs to somebody else" : target_strerror(r));
    if (fd >= 0)
        close(fd);
    return NULL;
}

static int import_jsonl(const char *source, int fd, struct target *t, const struct line_options *how,
                        bool json)
{
    struct import im = {
        .source = strcmp(source, "-") != 0 ? source : "(standard input)", .target = t, .options = how->as};
    if (how->errors && !(im.errors = open_errors(how->errors)))
        return conclude(t, -ECANCELED);
    mode_t mask = umask(0); /* modes are given exactly from here on */
    int r = unpack_open(fd, &im.unpack);
    if (r < 0) {
        source_failed(&im, r);
        return conclude(t, -ECANCELED);
    }
    lines_init(&im.lines, unpack_read, im.unpack);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && !unpack_is_packed(im.unpack))
        im.size = (uint64_t)st.st_size;
    progress_start(&im.progress, im.size ? NULL : "lines");
    r = loader_new(t, mask, on_failed, &im, &im.loader);
    if (r < 0)
        return conclude(t, r);
    r = import_lines(&im);
    unpack_tell_sums(im.unpack, im.source);
    int f = loader_flush(im.loader); /* also after an error: what was accepted is kept */
    r = r < 0 ? r : f;
    progress_clear(&im.progress);
    int code = conclude(t, r);
    if (im.errors && (ferror(im.errors) | fclose(im.errors))) {
        cli_error("%s: %s", how->errors, strerror(errno));
        code = CLI_ERROR;
    }
    uint64_t stored = loader_stored(im.loader), duplicates = loader_duplicates(im.loader);
    double seconds = cli_seconds_since(&im.progress.start);
    if (json)
        printf("{\"imported\": %" PRIu64 ", \"bad_lines\": %" PRIu64 ", \"duplicate_ids\": %" PRIu64
               ", \"content_bytes\": %" PRIu64 ", \"seconds\": %.3f}\n",
               stored, im.bad.n, duplicates, loader_bytes(im.loader), seconds);
    else
        printf("imported %" PRIu64 " memories, %" PRIu64 " bad lines, %" PRIu64
               " repeated ids, in %.1f s (%.0f/s)\n",
               stored, im.bad.n, duplicates, seconds, seconds > 0 ? (double)stored / seconds : 0);
    loader_free(im.loader);
    lines_done(&im.lines);
    unpack_close(im.unpack);
    return code == CLI_OK && (im.bad.n || duplicates) ? CLI_SOME : code;
}

/* What came of a tree or an archive. */
static int conclude_copy(struct target *t, int r, const struct copy_result *res, const struct timespec *start,
                         bool json)
{
    int code = conclude(t, r);
    double seconds = cli_seconds_since(start);
    if (json)
        printf("{\"files\": %" PRIu64 ", \"directories\": %" PRIu64 ", \"others\": %" PRIu64
               ", \"hard_links\": %" PRIu64 ", \"content_bytes\": %" PRIu64 ", \"failed\": %" PRIu64
               ", \"seconds\": %.3f}\n",
               res->files, res->dirs, res->others, res->links, res->bytes, res->failed, seconds);
    else
        printf("imported %" PRIu64 " files, %" PRIu64 " directories, %" PRIu64 " others, %" PRIu64
               " hard links; %" PRIu64 " failed; in %.1f s\n",
               res->files, res->dirs, res->others, res->links, res->failed, seconds);
    return code == CLI_OK && res->failed ? CLI_SOME : code;
}

static int import_tree(const char *source, struct target *t, bool trust, bool json)
{
    struct target *from;
    struct copy_result res;
    struct timespec start;
    char why[512];
    clock_gettime(CLOCK_MONOTONIC, &start);
    int r = target_open_tree(source, TARGET_FIELDS, &from, why);
    if (r < 0) {
        cli_error("%s", why);
        return conclude(t, -ECANCELED);
    }
    trust_begin(from, trust);
    r = copy_tree(from, t, 0, &res);
    (void)target_close(from);
    return conclude_copy(t, r, &res, &start, json);
}

static int import_tar(const char *source, int fd, struct target *t, bool json)
{
    struct copy_result res;
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    int r = tar_import(fd, strcmp(source, "-") != 0 ? source : "(standard input)", t, &res);
    return conclude_copy(t, r, &res, &start, json);
}

/* A SOURCE that is a file, before anything is done to TARGET: a mistyped one must not leave an empty store
 * behind. Looked up as all other places are: a link of somebody else's leads to what is his, or nowhere. */
static int open_source(const char *path)
{
    struct place p;
    char name[PLACE_PATH];
    if (!strcmp(path, "-"))
        return STDIN_FILENO;
    int r = place_open(path, &p);
    if (r < 0)
        return r;
    int fd = p.fd >= 0 ? open(place_path(p.fd, name), O_RDONLY | O_NOCTTY | O_CLOEXEC) : -1;
    r = p.fd < 0 ? -ENOENT : -errno;
    place_close(&p);
    return fd >= 0 ? fd : r;
}

/* The format of a source by what it is and how it is called. */
static const char *guess_format(const char *source)
{
    struct stat st;
    if (strcmp(source, "-") != 0 && stat(source, &st) == 0 && S_ISDIR(st.st_mode))
        return "tree";
    return tar_is_name(source) ? "tar" : "jsonl";
}

int cmd_import(int argc, char **argv)
{
    const char *format = NULL;
    const char *zone = NULL;
    struct line_options how = {0};
    bool json = false, create = false, trust = false;
    const struct subcommand_option options[] = {{"format", NULL, &format},          {"json", &json, NULL},
                                                {"create", &create, NULL},          {"trust", &trust, NULL},
                                                {"lenient", &how.as.lenient, NULL}, {"timezone", NULL, &zone},
                                                {"errors", NULL, &how.errors},      {0}};
    int code = subcommand_options(argc, argv, "import", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage("import", "expected SOURCE and TARGET");
    if (zone && !times_zone(zone, &how.as.zone))
        return cli_usage("import", "unknown time zone '%s'", zone);
    if (!format)
        format = guess_format(argv[optind]);
    bool tree = !strcmp(format, "tree"), tar = !strcmp(format, "tar");
    if (!tree && !tar && strcmp(format, "jsonl") != 0)
        return cli_usage("import", "unknown format '%s'", format);
    if (tar && !tar_is_built)
        return cli_usage("import", "this engramctl was built without libarchive");
    int fd = tree && access(argv[optind], R_OK) < 0 ? -errno : STDIN_FILENO;
    if (!tree)
        fd = open_source(argv[optind]);
    if (fd < 0) {
        cli_error("%s: %s", argv[optind], target_strerror(fd));
        return CLI_ERROR;
    }
    struct target *t =
        subcommand_open(argv[optind + 1], TARGET_CREATE | TARGET_FIELDS | (create ? TARGET_CREATE_IN : 0u));
    if (!t)
        return CLI_ERROR;
    cli_catch_signals();
    if (tree)
        return import_tree(argv[optind], t, trust, json);
    code = tar ? import_tar(argv[optind], fd, t, json) : import_jsonl(argv[optind], fd, t, &how, json);
    if (fd != STDIN_FILENO)
        close(fd);
    return code;
}
