/*
 * cli.c - messages, progress, signals and the checked stdout.
 *
 * State: whether stderr is a coloured terminal, the line of progress being
 * shown (cleared before any message), and the signal flag. One thread. */
#include "shared/cli.h"

#include "rules/figures.h"
#include "rules/printable.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *cli_program = "engramctl";

static volatile sig_atomic_t g_signalled;
static struct progress *g_progress; /* the one on the screen, or NULL */

static bool terminal(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
}

/* no-color.org: any non-empty value means no. */
static bool coloured(void)
{
    const char *no = getenv("NO_COLOR");
    return terminal() && (!no || !*no);
}

#define LINE_MAX_BYTES 5120 /* a path, and what is said of it */

/* One line of text: names may hold anything, and must not steer the terminal or look like a
 * second message. */
static void print_line(const char *format, va_list ap) __attribute__((format(printf, 1, 0)));
static void print_line(const char *format, va_list ap)
{
    char text[LINE_MAX_BYTES];
    int n = vsnprintf(text, sizeof text, format, ap);
    printable_line(text);
    fputs(text, stderr);
    fputs(n >= (int)sizeof text ? "...\n" : "\n", stderr);
}

static void message(const char *colour, const char *kind, const char *format, va_list ap)
    __attribute__((format(printf, 3, 0)));
static void message(const char *colour, const char *kind, const char *format, va_list ap)
{
    if (g_progress)
        progress_clear(g_progress);
    bool in_colour = coloured();
    const char *on = in_colour ? colour : "";
    const char *off = in_colour ? "\033[0m" : "";
    fprintf(stderr, "%s%s: %s%s", on, cli_program, kind, off);
    print_line(format, ap);
}

void cli_error(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    message("\033[31m", "", format, ap);
    va_end(ap);
}

void cli_warning(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    message("\033[33m", "warning: ", format, ap);
    va_end(ap);
}

void cli_notef(const char *format, ...)
{
    va_list ap;
    if (g_progress)
        progress_clear(g_progress);
    va_start(ap, format);
    print_line(format, ap);
    va_end(ap);
}

void cli_note(const char *line)
{
    cli_notef("%s", line);
}

void cli_write_name(FILE *to, const char *name)
{
    char piece[5];
    while (*name) {
        name += printable_piece(name, piece);
        fputs(piece, to);
    }
}

void cli_print_name(const char *name)
{
    cli_write_name(stdout, name);
}

void cli_print_json(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i], next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        if (c == 0x7f)
            fputs("\\u007f", stdout);
        else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
            printf("\\u%04x", (unsigned char)text[++i]);
        else
            putchar(c < ' ' && c != '\n' ? ' ' : c);
    }
    putchar('\n');
}

#define COMPLAINTS_SHOWN 20

void cli_complain(struct complaints *c, const char *format, ...)
{
    va_list ap;
    c->n++;
    if (c->n == COMPLAINTS_SHOWN + 1)
        cli_warning("further ones like these are only counted");
    if (c->n > COMPLAINTS_SHOWN)
        return;
    if (g_progress)
        progress_clear(g_progress);
    va_start(ap, format);
    print_line(format, ap);
    va_end(ap);
}

int cli_usage(const char *subcommand, const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (*subcommand)
        cli_error("%s: %s (see %s %s --help)", subcommand, text, cli_program, subcommand);
    else
        cli_error("%s (see %s --help)", text, cli_program);
    return CLI_ERROR;
}

int cli_finish_stdout(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    cli_error("cannot write to standard output: %s", strerror(errno ? errno : EIO));
    return CLI_ERROR;
}

/* Comes again each second: a signal that arrives just before a write to a full pipe does not interrupt it. */
static void on_signal(int sig)
{
    (void)sig;
    g_signalled = 1;
    (void)alarm(1);
}

void cli_reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGCHLD, SIG_DFL); /* ignored, programs that libraries run would leave no status */
}

void cli_catch_signals(void)
{
    /* Once only: a second Ctrl-C ends the program at once, as it would have without us. */
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND}, was;
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    if (sigaction(SIGHUP, NULL, &was) < 0 || was.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &sa, NULL); /* the terminal or the connection to it is gone */
    sa.sa_flags = 0;
    sigaction(SIGALRM, &sa, NULL);
}

bool cli_interrupted(void)
{
    return g_signalled != 0;
}

double cli_seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

void progress_start(struct progress *p, const char *what)
{
    *p = (struct progress){.what = what, .on = terminal()};
    clock_gettime(CLOCK_MONOTONIC, &p->start);
    p->last = p->start;
}

/* "1.5 MiB", or "12 memories". */
static const char *quantity(const struct progress *p, uint64_t n, char buf[64])
{
    if (!p->what)
        return cli_bytes(n, buf);
    snprintf(buf, 64, "%llu %s", (unsigned long long)n, p->what);
    return buf;
}

static void print_time_left(double seconds)
{
    unsigned long long s = (unsigned long long)(seconds + 0.5);
    if (s >= 3600)
        fprintf(stderr, ", %llu:%02llu:%02llu left", s / 3600, s / 60 % 60, s % 60);
    else
        fprintf(stderr, ", %llu:%02llu left", s / 60, s % 60);
}

void progress_show(struct progress *p, uint64_t done, uint64_t total)
{
    if (!p->on || cli_seconds_since(&p->last) < 0.2)
        return;
    clock_gettime(CLOCK_MONOTONIC, &p->last);
    double seconds = cli_seconds_since(&p->start);
    double rate = seconds > 0 ? (double)done / seconds : 0;
    char a[64], b[64];
    fprintf(stderr, "\r\033[K%s", quantity(p, done, a));
    if (total)
        fprintf(stderr, " of %s", quantity(p, total, b));
    fprintf(stderr, ", %s/s", quantity(p, (uint64_t)rate, a));
    if (total > done && rate > 0)
        print_time_left((double)(total - done) / rate);
    fflush(stderr);
    p->drawn = true;
    g_progress = p;
}

void progress_clear(struct progress *p)
{
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
    if (g_progress == p)
        g_progress = NULL;
}

char *cli_bytes(uint64_t n, char *buf)
{
    return figure_bytes(n, buf);
}
