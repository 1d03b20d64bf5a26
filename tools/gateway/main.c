/*
 * main.c - engram-gateway: options, who it runs as, start and end.
 *
 * It has no rights of its own: it opens control files as the user and group
 * that it runs as, which the mount lets in by -o allow_other,ctl_group=NAME. */
#include "gateway/gateway.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef GATEWAY_VERSION
#define GATEWAY_VERSION "unknown"
#endif

static const char help_text[] =
    "usage: engram-gateway [OPTIONS] MOUNTPOINT\n"
    "\n"
    "Serves maintenance and metrics of an engramfs mount by HTTP. It only uses the\n"
    "mount's control files, so it needs no rights but theirs: mount with\n"
    "-o allow_other,ctl_group=NAME and run it with that group as its primary one.\n"
    "\n"
    "  --listen ADDRESS        127.0.0.1 by default; one that is not of this machine\n"
    "                          only with --token-file\n"
    "  --port N                9464 by default; 0: any that is free\n"
    "  --token-file FILE       requests need 'Authorization: Bearer TOKEN', the first\n"
    "                          line of FILE; /health does not\n"
    "  --max-connections N     32 by default\n"
    "  --user NAME             started as root, become that user\n"
    "  --help, --version\n"
    "\n"
    "  GET  /metrics                       for Prometheus\n"
    "  GET  /health                        200 while the store takes writes, else 503\n"
    "  GET  /api/v1/maintenance/stats      as .engram/stats.json\n"
    "  POST /api/v1/maintenance/compact    {\"force\", \"min_fragmentation\", \"rate\", \"wait\"}\n"
    "  POST /api/v1/maintenance/run        compacts if the thresholds say so\n"
    "\n"
    "Exit codes: 0 ended by a signal, 2 could not start.\n";

struct options {
    const char *listen, *port, *token_file, *user;
    unsigned max_connections;
};

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static int fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("engram-gateway: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    return 2;
}

static bool parse_number(const char *s, unsigned long min, unsigned long max, unsigned long *ret)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(s, &end, 10);
    if (*s < '0' || *s > '9' || *end || errno || v < min || v > max)
        return false;
    *ret = v;
    return true;
}

/* The first line of the file; the caller frees it. */
static int read_token(const char *path, char **ret_token)
{
    char line[1024];
    FILE *f = fopen(path, "re");
    if (!f)
        return fail("%s: %s", path, strerror(errno));
    const char *got = fgets(line, sizeof line, f);
    fclose(f);
    if (got)
        line[strcspn(line, "\r\n")] = '\0';
    if (!got || strlen(line) < 8)
        return fail("%s: a token has at least 8 characters", path);
    *ret_token = strdup(line);
    return *ret_token ? 0 : fail("out of memory");
}

static bool is_loopback(const struct sockaddr *addr)
{
    if (addr->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)addr)->sin_addr.s_addr) >> 24 == 127;
    return addr->sa_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr);
}

static int become(const char *name)
{
    const struct passwd *pw = getpwnam(name);
    if (!pw)
        return fail("no user %s", name);
    if (initgroups(name, pw->pw_gid) || setgid(pw->pw_gid) || setuid(pw->pw_uid))
        return fail("cannot become %s: %s", name, strerror(errno));
    return 0;
}

static int parse_options(int argc, char **argv, struct options *o)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},     {"port", required_argument, NULL, 'p'},
        {"token-file", required_argument, NULL, 't'}, {"max-connections", required_argument, NULL, 'c'},
        {"user", required_argument, NULL, 'u'},       {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},          {0}};
    unsigned long n;
    opterr = 0;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'l':
            o->listen = optarg;
            break;
        case 'p':
            o->port = optarg;
            if (!parse_number(optarg, 0, 65535, &n))
                return fail("--port %s: must be 0 to 65535", optarg);
            break;
        case 't':
            o->token_file = optarg;
            break;
        case 'u':
            o->user = optarg;
            break;
        case 'c':
            if (!parse_number(optarg, 1, 1024, &n))
                return fail("--max-connections %s: must be 1 to 1024", optarg);
            o->max_connections = (unsigned)n;
            break;
        case 'h':
            fputs(help_text, stdout);
            exit(0);
        case 'V':
            printf("engram-gateway %s\n", GATEWAY_VERSION);
            exit(0);
        default:
            return fail("bad option '%s' (--help lists them)", argv[optind - 1]);
        }
    }
    return argc - optind == 1 ? 0 : fail("expected one MOUNTPOINT (--help shows the usage)");
}

/* Until a signal comes. What still waits for a compaction then gets no answer; the work goes on in the
 * daemon. */
static void serve(struct gateway *g, struct MHD_Daemon *d, const sigset_t *set, const struct options *o)
{
    int sig;
    fprintf(stderr, "engram-gateway: listening on %s port %u for %s\n", o->listen, http_port(d),
            g->mountpoint);
    while (sigwait(set, &sig) != 0)
        ;
    fprintf(stderr, "engram-gateway: signal %d: ending\n", sig);
    if (atomic_load(&g->working) > 0)
        _exit(0);
    http_stop(d);
}

static int start(const struct options *o, struct gateway *g)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *addr;
    sigset_t set;
    /* the one name that every machine has; what others stand for may change */
    const char *address = strcmp(o->listen, "localhost") == 0 ? "127.0.0.1" : o->listen;
    int r = getaddrinfo(address, o->port, &hints, &addr);
    if (r)
        return fail("--listen %s: %s", o->listen, gai_strerror(r));
    r = !g->token && !is_loopback(addr->ai_addr)
            ? fail("--listen %s: others can reach that, so it needs --token-file", o->listen)
            : 0;
    if (!r && o->user)
        r = become(o->user);
    if (!r && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        r = fail("cannot give up privileges: %s", strerror(errno));
    if (!r && geteuid() == 0)
        fprintf(
            stderr,
            "engram-gateway: warning: running as root; --user NAME, in the mount's ctl_group, is enough\n");
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (!r) {
        struct MHD_Daemon *d = http_start(g, addr->ai_addr);
        if (d)
            serve(g, d, &set, o);
        else
            r = fail("cannot listen on %s port %s: %s", o->listen, o->port, strerror(errno));
    }
    freeaddrinfo(addr);
    return r;
}

int main(int argc, char **argv)
{
    struct options o = {.listen = "127.0.0.1", .port = "9464", .max_connections = 32};
    char *token = NULL;
    int r = parse_options(argc, argv, &o);
    if (!r && o.token_file)
        r = read_token(o.token_file, &token);
    if (!r) {
        struct gateway g = {.mountpoint = argv[optind], .token = token, .max_connections = o.max_connections};
        r = start(&o, &g);
    }
    free(token);
    return r;
}
