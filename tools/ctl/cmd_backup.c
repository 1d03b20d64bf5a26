/*
 * cmd_backup.c - engramctl backup: options, the order of the steps, verification, summary. No state. */
#include "ctl/backup.h"
#include "ctl/subcommand.h"
#include "ctl/transfer/target.h"
#include "shared/cli.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "usage: engramctl backup [--store STORE] [--rate BYTES] [--no-verify] [--replace] [--json]\n"
    "                        MOUNT BACKUP\n"
    "\n"
    "Copies the store that is mounted on MOUNT to the folder BACKUP, as it is at one\n"
    "moment, while others go on reading and writing. BACKUP becomes a store. A second\n"
    "run into the same folder copies only what is new, and until it has all of it the\n"
    "earlier backup stays as it was. Everything is synced, and read again at the end;\n"
    "what is damaged then is copied once more, and all is read again.\n"
    "A BACKUP that has changes which the store does not have is refused: it was mounted and\n"
    "written to, or the store went back to an earlier state.\n"
    "\n"
    "  --store STORE  where the folder of the store is, if not where the mount says\n"
    "  --rate BYTES   copy so many bytes a second (k, M, G)\n"
    "  --no-verify    do not read the copy at the end\n"
    "  --replace      replace a BACKUP of this store whatever it has\n"
    "  --json         the summary as JSON\n"
    "\n"
    "Needs leave to read the store's folder and to write to MOUNT/.engram/hold. The hold\n"
    "ends with this program, however that ends.\n"
    "\n"
    "Exit codes: 0 complete, synced and verified; 1 complete, but damaged, as the store\n"
    "itself is, or the disk of the copy: see what was printed; 2 not complete: BACKUP is\n"
    "the earlier one or the new one, whole, and the next run goes on.\n";

static bool parse_rate(const char *text, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    static const char units[] = "kMG";
    const char *unit = *end ? strchr(units, *end) : NULL;
    if (*text < '0' || *text > '9' || errno || (*end && (!unit || end[1])) || n > UINT64_MAX >> 30)
        return false;
    *ret = unit ? (uint64_t)n << (10 * (unit - units + 1)) : (uint64_t)n;
    return true;
}

static void on_problem(void *arg, const char *line)
{
    (void)arg;
    cli_note(line);
}

/* Of eng_damaged(): the file of the store's folder that it lies in. */
static void on_damage(void *arg, const struct eng_damage *d)
{
    char name[40];
    if (d->ino)
        snprintf(name, sizeof name, "s%08" PRIx64 ".seg", d->segment);
    else
        snprintf(name, sizeof name, "%.39s", d->path);
    if (backup_suspect(arg, name) < 0)
        (void)backup_suspect(arg, NULL);
}

/* A recovery may take damage for the end of the log: the copy must go as far as the mount did. */
static bool goes_far_enough(const struct backup *b, struct eng *eng)
{
    struct eng_stats stats;
    if (eng_stats(eng, &stats) == 0 && stats.log_seq >= b->seq)
        return true;
    cli_error("%s: the log of the copy ends early", b->path);
    return false;
}

/* Reads the copy as a whole, as `engramctl check` does; without its lock, which the backup has. What is
 * damaged are the suspects then. */
static int verify(struct backup *b)
{
    b->n_suspects = 0;
    b->suspects_all = false;
    bool complete = true;
    const struct eng_options options = {
        .read_only = true, .snapshot = true, .must_exist = true, .no_background = true};
    const struct eng_job_options job = {.on_problem = on_problem};
    struct eng_job_report report = {.job = ENG_JOB_CHECK};
    struct eng *eng;
    char why[256] = "", folder[BACKUP_FOLDER_SIZE];
    backup_folder(b->to_fd, folder);
    int r = eng_open(folder, &options, &eng, why);
    if (!r) {
        complete = goes_far_enough(b, eng);
        r = eng_job_run(eng, ENG_JOB_CHECK, &job, &report);
        (void)eng_damaged(eng, on_damage, b);
        (void)eng_close(eng);
    }
    if (r)
        cli_error("%s: the copy cannot be read: %s", b->path, *why ? why : strerror(-r));
    else if (report.check.problems)
        cli_error("%s: %" PRIu64 " problems in the copy", b->path, report.check.problems);
    if (r || !complete || (report.check.problems && !b->n_suspects))
        (void)backup_suspect(b, NULL);
    return r || !complete || report.check.problems ? CLI_SOME : CLI_OK;
}

/* Whose damage is it that is still there? */
static void tell_whose(const struct backup *b)
{
    for (size_t i = 0; i < b->n; i++) {
        const struct backup_item *item = &b->items[i];
        if (backup_is_suspect(b, item->name) && !backup_is_same(b, item) &&
            !backup_is_source_damaged(b, item)) {
            cli_error("%s/%s is not what was written: its disk does not keep it", b->path, item->name);
            return;
        }
    }
    cli_error(
        "%s: the store is damaged there, too: nothing better can be copied; see engramctl check --scrub %s",
        b->store, b->mountpoint);
}

/* Copies what is damaged in the copy anew, and looks again. */
static int mend(struct backup *b)
{
    uint64_t before = b->copied_files;
    cli_error("%s: comparing what is damaged with the store", b->path);
    int r = backup_again(b);
    if (!r)
        r = backup_list(b);
    if (!r)
        r = backup_copy(b);
    if (!r)
        r = backup_adopt(b);
    if (r)
        return CLI_SOME;
    cli_error("%s: %" PRIu64 " files copied anew", b->path, b->copied_files - before);
    int code = verify(b);
    if (code != CLI_OK)
        tell_whose(b);
    return code;
}

static void print_summary(const struct backup *b, bool verified, bool json)
{
    char copied[32], total[32];
    double seconds = cli_seconds_since(&b->start);
    if (json)
        printf("{\"files\": %zu, \"bytes\": %" PRIu64 ", \"files_copied\": %" PRIu64
               ", \"bytes_copied\": %" PRIu64 ", \"verified\": %s, \"seconds\": %.3f}\n",
               b->n, b->total_bytes, b->copied_files, b->copied_bytes, verified ? "true" : "false", seconds);
    else
        fprintf(stderr, "%zu files of %s, %" PRIu64 " of them copied (%s), in %.1f s%s\n", b->n,
                cli_bytes(b->total_bytes, total), b->copied_files, cli_bytes(b->copied_bytes, copied),
                seconds, verified ? "; verified" : "");
}

static int run(struct backup *b, bool verified, bool json)
{
    int r = backup_open(b);
    if (!r)
        r = backup_list(b);
    if (!r)
        r = backup_compare(b);
    if (!r)
        r = backup_copy(b);
    if (!r)
        r = backup_adopt(b);
    int code = r ? CLI_ERROR : CLI_OK;
    if (!r && verified)
        code = verify(b);
    if (code == CLI_SOME && !cli_interrupted())
        code = mend(b);
    backup_close(b);
    if (code == CLI_OK)
        print_summary(b, verified, json);
    return code;
}

int cmd_backup(int argc, char **argv)
{
    struct backup b = {0};
    struct target_mount mount = {0};
    bool json = false, unverified = false;
    const char *rate = NULL;
    char why[512];
    const struct subcommand_option options[] = {
        {"store", NULL, &b.store},     {"rate", NULL, &rate}, {"no-verify", &unverified, NULL},
        {"replace", &b.replace, NULL}, {"json", &json, NULL}, {0}};
    int code = subcommand_options(argc, argv, "backup", help_text, options);
    if (code >= 0)
        return code;
    if (argc - optind != 2)
        return cli_usage("backup", "expected MOUNT and BACKUP");
    if (rate && !parse_rate(rate, &b.rate))
        return cli_usage("backup", "bad rate '%.40s'", rate);
    int r = target_find_mount(argv[optind], &mount, why);
    if (r < 0) {
        cli_error("%s", why);
        return CLI_ERROR;
    }
    if (!r || *mount.prefix)
        return cli_usage("backup", "%s is not the mount point of an engramfs", argv[optind]);
    b.mountpoint = mount.mountpoint;
    b.store = b.store ? b.store : mount.source;
    b.user = mount.user;
    b.path = argv[optind + 1];
    (void)clock_gettime(CLOCK_MONOTONIC, &b.start);
    cli_catch_signals();
    code = run(&b, !unverified, json);
    mounts_done(&mount);
    return code;
}
