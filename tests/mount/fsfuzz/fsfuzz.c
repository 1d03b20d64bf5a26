/*
 * fsfuzz.c - options, seeds and processes of the fuzzing workload (fsfuzz.h).
 *
 *   fsfuzz [--seed N] [--seeds N] [--ops M] [--procs P] [--users] [--remount COMMAND]
 *          [--lie KIND] [--verbose] OURS REF
 *
 * OURS is a directory on the file system under test, REF one on a trusted
 * one. Each seed works in a folder of its own, which goes when all was well.
 * With --procs each process has a folder of its own and all have one that
 * they share; nothing can be compared there but that it agrees with itself.
 * Exit status 0: no difference; 1: one, explained on standard output. */
#include "fsfuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rng.h"

/* The ordinary user of --users: any number that owns nothing else. */
enum { USER = 12345, USER_GROUP = 12346, USER_GROUP2 = 12347 };

uint64_t below(struct run *r, uint64_t n)
{
    return rng_below(&r->rng, n);
}

bool chance(struct run *r, unsigned percent)
{
    return below(r, 100) < percent;
}

void say(struct run *r, const char *format, ...)
{
    char *line = r->said[r->n_said++ % HISTORY];
    int n = snprintf(line, SAID_MAX, "%lu%s: ", r->op, r->as_user ? " (user)" : "");
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line + n, SAID_MAX - (size_t)n, format, args);
    va_end(args);
    if (r->opt->verbose)
        (void)printf("%s\n", line);
}

void wrong(struct run *r, const char *format, ...)
{
    va_list args;
    (void)printf("DIFFERENCE at seed %llu, operation %lu: ", (unsigned long long)r->seed, r->op);
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    (void)printf("\nlast operations:\n");
    unsigned long from = r->n_said > HISTORY ? r->n_said - HISTORY : 0;
    for (unsigned long i = from; i < r->n_said; i++)
        (void)printf("  %s\n", r->said[i % HISTORY]);
    const struct options *o = r->opt;
    (void)printf("ours: %s\nref: %s\n", r->where[OURS], r->sides > 1 ? r->where[REF] : "none");
    (void)printf("again: fsfuzz --seed %llu --seeds 1 --ops %lu%s%s%s%s %s %s\n", (unsigned long long)o->seed,
                 o->ops, o->users ? " --users" : "", o->remount ? " --remount '" : "",
                 o->remount ? o->remount : "", o->remount ? "'" : "", o->ours, o->ref);
    if (o->procs > 1)
        (void)printf("(with --procs %u; the order of the processes is not the seed's)\n", o->procs);
    (void)fflush(stdout);
    _exit(1);
}

bool lies(struct run *r, int side, const char *kind)
{
    /* Not at once: there has to be something to be wrong about. */
    if (side != OURS || !r->opt->lie || r->op < 100 || strcmp(r->opt->lie, kind) != 0)
        return false;
    if (!r->lied)
        say(r, "(from here on our side is wrong about: %s)", kind);
    r->lied = true;
    return true;
}

/* ---- one operation ------------------------------------------------------- */

static void become(uid_t uid, gid_t gid, size_t n_groups, const gid_t *groups)
{
    /* root first: only root may choose groups */
    if (seteuid(0) || setegid(gid) || setgroups(n_groups, groups) || seteuid(uid)) {
        perror("fsfuzz: cannot change the user");
        _exit(2);
    }
}

void act_begin(struct run *r)
{
    static const gid_t groups[] = {USER_GROUP, USER_GROUP2};
    watch_before(r);
    if (r->as_user)
        become(USER, USER_GROUP, 2, groups);
}

void record(struct run *r, int side, long ret)
{
    r->err[side] = ret < 0 ? errno : 0;
    r->ret[side] = ret;
}

void act_end(struct run *r)
{
    static const gid_t groups[] = {0};
    if (r->as_user)
        become(0, 0, 1, groups);
    for (int s = 0; s < r->sides; s++) {
        const int e = r->err[s];
        if (r->ret[s] < 0 && (e == EIO || e == EBADMSG || e == ENOTCONN || e == EUCLEAN || e == ENOSYS))
            wrong(r, "side %d answers %s", s, strerror(e));
    }
    if (r->sides == SIDES && (r->ret[OURS] != r->ret[REF] || r->err[OURS] != r->err[REF]))
        wrong(r, "ours returns %ld (%s), the reference %ld (%s)", r->ret[OURS],
              r->err[OURS] ? strerror(r->err[OURS]) : "no error", r->ret[REF],
              r->err[REF] ? strerror(r->err[REF]) : "no error");
    if (r->opt->verbose)
        (void)printf("    = %ld %s\n", r->ret[OURS], r->err[OURS] ? strerrorname_np(r->err[OURS]) : "");
    watch_after(r);
}

static void step(struct run *r)
{
    r->op++;
    r->n_watches = 0;
    r->any_times = false;
    r->as_user = r->opt->users && chance(r, 25);
    for (int s = 0; s < SIDES; s++)
        r->ret[s] = r->err[s] = 0;
    uint64_t kind = below(r, 100);
    if (kind < 35)
        op_names(r);
    else if (kind < 55)
        op_attributes(r);
    else
        op_data(r);
}

/* ---- one run ------------------------------------------------------------- */

static int open_root(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        (void)printf("fsfuzz: %s: %s\n", path, strerror(errno));
        exit(2);
    }
    return fd;
}

/* Does the reference give each change a time of its own? Kernels before 6.13 do not. */
static bool times_are_fine(int root)
{
    bool fine = true;
    for (int i = 0; i < 4 && fine; i++) {
        struct stat before, after;
        if (fstat(root, &before) || fchmod(root, 0777) || fstat(root, &after))
            return false;
        fine =
            before.st_ctim.tv_sec != after.st_ctim.tv_sec || before.st_ctim.tv_nsec != after.st_ctim.tv_nsec;
    }
    return fine;
}

static struct run *run_new(const struct options *opt, const char *folder, uint64_t seed, int sides)
{
    struct run *r = calloc(1, sizeof *r);
    if (!r)
        exit(2);
    r->opt = opt;
    r->seed = r->rng = seed;
    r->sides = sides;
    for (int s = 0; s < sides; s++) {
        (void)snprintf(r->where[s], PATH_MAX, "%s/%s", s == OURS ? opt->ours : opt->ref, folder);
        if (mkdir(r->where[s], 0755) && errno != EEXIST) {
            (void)printf("fsfuzz: %s: %s\n", r->where[s], strerror(errno));
            exit(2);
        }
        r->root[s] = open_root(r->where[s]);
        (void)fchmod(r->root[s], 0777); /* past the umask */
        r->buf[s] = malloc(OP_MAX);
        if (!r->buf[s])
            exit(2);
    }
    r->fine_times = sides == SIDES && times_are_fine(r->root[REF]);
    return r;
}

static void run_free(struct run *r)
{
    close_all(r);
    for (int s = 0; s < r->sides; s++) {
        (void)close(r->root[s]);
        free(r->buf[s]);
    }
    free(r);
}

static void remount(struct run *r, const char *how)
{
    char command[PATH_MAX + 32];
    say(r, "remount after %s", how);
    close_all(r);
    (void)syncfs(r->root[OURS]); /* what was stored through mappings is the kernel's until then */
    (void)close(r->root[OURS]);
    (void)snprintf(command, sizeof(command), "%s %s", r->opt->remount, how);
    (void)fflush(stdout);
    if (system(command) != 0)
        wrong(r, "'%s' failed", command);
    r->root[OURS] = open_root(r->where[OURS]);
}

static void remove_tree(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(127);
    }
    (void)waitpid(pid, NULL, 0);
}

static void run_seed(const struct options *opt, uint64_t seed)
{
    char folder[64];
    (void)snprintf(folder, sizeof(folder), "s%llu", (unsigned long long)seed);
    struct run *r = run_new(opt, folder, seed, SIDES);
    const unsigned long between = opt->ops / 3 + 1;
    while (r->op < opt->ops) {
        step(r);
        if (opt->remount && r->op % between == 0) {
            remount(r, r->op / between % 2 ? "kill" : "unmount");
            compare_trees(r);
        }
    }
    close_all(r);
    compare_trees(r);
    if (opt->remount) {
        remount(r, "unmount");
        compare_trees(r);
    }
    for (int s = 0; s < SIDES; s++)
        remove_tree(r->where[s]);
    run_free(r);
}

/* ---- several processes --------------------------------------------------- */

static void run_process(const struct options *opt, unsigned number)
{
    char folder[64];
    const uint64_t seed = opt->seed * 1000 + number;
    (void)snprintf(folder, sizeof(folder), "s%llu", (unsigned long long)seed);
    struct run *own = run_new(opt, folder, seed, SIDES);
    struct run *shared = run_new(opt, "shared", ~seed, 1);
    while (own->op < opt->ops) {
        step(own);
        step(shared);
    }
    close_all(own);
    compare_trees(own);
    for (int s = 0; s < SIDES; s++)
        remove_tree(own->where[s]);
    run_free(own);
    run_free(shared);
}

static int run_processes(const struct options *opt)
{
    int bad = 0;
    (void)fflush(stdout);
    for (unsigned i = 0; i < opt->procs; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            run_process(opt, i);
            exit(0);
        }
        if (pid < 0)
            bad++;
    }
    int status;
    while (wait(&status) > 0)
        if (status != 0)
            bad++;
    if (bad)
        return 1;
    struct run *r = run_new(opt, "shared", opt->seed, 1);
    uint64_t before = survey(r);
    for (int round = 0; opt->remount && round < 2; round++) {
        remount(r, round ? "unmount" : "kill");
        if (survey(r) != before)
            wrong(r, "the shared folder is another one after a %s", round ? "unmount" : "kill");
    }
    remove_tree(r->where[OURS]);
    run_free(r);
    return 0;
}

/* ---- options ------------------------------------------------------------- */

static void usage(void)
{
    (void)fprintf(stderr, "usage: fsfuzz [--seed N] [--seeds N] [--ops M] [--procs P] [--users]\n"
                          "              [--remount COMMAND] [--lie KIND] [--verbose] OURS REF\n");
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"seed", required_argument, NULL, 's'},
                                            {"seeds", required_argument, NULL, 'n'},
                                            {"ops", required_argument, NULL, 'o'},
                                            {"procs", required_argument, NULL, 'p'},
                                            {"users", no_argument, NULL, 'u'},
                                            {"lie", required_argument, NULL, 'l'},
                                            {"remount", required_argument, NULL, 'r'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {NULL, 0, NULL, 0}};
    struct options opt = {.seed = 1, .seeds = 1, .ops = 2000, .procs = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 's':
            opt.seed = strtoull(optarg, NULL, 0);
            break;
        case 'n':
            opt.seeds = strtoull(optarg, NULL, 0);
            break;
        case 'o':
            opt.ops = strtoul(optarg, NULL, 0);
            break;
        case 'p':
            opt.procs = (unsigned)strtoul(optarg, NULL, 0);
            break;
        case 'u':
            opt.users = true;
            break;
        case 'l':
            opt.lie = optarg;
            break;
        case 'r':
            opt.remount = optarg;
            break;
        case 'v':
            opt.verbose = true;
            break;
        default:
            usage();
        }
    }
    if (argc - optind != 2 || opt.ops == 0)
        usage();
    opt.ours = argv[optind];
    opt.ref = argv[optind + 1];
    if (opt.users && geteuid() != 0) {
        (void)fprintf(stderr, "fsfuzz: --users needs root\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    int failed = 0;
    for (uint64_t last = opt.seed + opt.seeds; opt.seed < last && !failed; opt.seed++) {
        if (opt.procs > 1)
            failed = run_processes(&opt);
        else
            run_seed(&opt, opt.seed);
    }
    if (!failed)
        (void)printf("%llu seeds, %lu operations each, %u processes: no difference\n",
                     (unsigned long long)opt.seeds, opt.ops, opt.procs);
    return failed;
}
