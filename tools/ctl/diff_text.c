/*
 * diff_text.c - text differences by diff(1), which reads both contents from temporary files that have no
 * name any more. */
#include "ctl/diff_text.h"

#include "shared/cli.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 1 << 18 };

extern char **environ;

/* `view` NULL: of the store as it is. */
static int copy_content(struct eng *eng, struct eng_view *view, uint64_t ino, FILE *to)
{
    char *piece = malloc(PIECE);
    ssize_t n = piece ? 1 : -ENOMEM;
    for (uint64_t off = 0; n > 0; off += (uint64_t)n) {
        n = view ? eng_view_read(view, ino, piece, PIECE, off) : eng_read(eng, ino, piece, PIECE, off);
        if (n > 0 && fwrite(piece, (size_t)n, 1, to) != 1)
            n = -errno;
    }
    free(piece);
    return n < 0 ? (int)n : 0;
}

/* The content of a side in a file that goes when it is closed; empty where there is no regular file. */
static int open_side(const struct diff_sides *sides, struct eng_view *view, const struct eng_attr *attr,
                     FILE **ret_file)
{
    *ret_file = tmpfile(); /* which a program that is started inherits */
    if (!*ret_file)
        return -errno;
    int r = attr && S_ISREG(attr->mode) ? copy_content(sides->eng, view, attr->ino, *ret_file) : 0;
    if (!r && fflush(*ret_file) != 0)
        r = -errno;
    return r;
}

/* NULL: no memory. */
static char *label_of(const char *side, const char *path, const struct eng_attr *attr)
{
    char *text = NULL;
    size_t len;
    FILE *to = open_memstream(&text, &len);
    if (!to)
        return NULL;
    if (attr && S_ISREG(attr->mode)) {
        fputs(side, to);
        cli_write_name(to, path);
        if (strchr(path, ' '))
            fputc('\t', to); /* else patch(1) takes the name to end at the blank, as git knows */
    } else {
        fputs("/dev/null", to);
    }
    return fclose(to) == 0 ? text : NULL;
}

static int run_diff(char *label_a, char *label_b, int a, int b)
{
    char path_a[32], path_b[32], diff[] = "diff", unified[] = "-u", label[] = "--label", end[] = "--";
    char *argv[] = {diff, unified, label, label_a, label, label_b, end, path_a, path_b, NULL};
    pid_t pid;
    int status;
    (void)snprintf(path_a, sizeof path_a, "/dev/fd/%d", a);
    (void)snprintf(path_b, sizeof path_b, "/dev/fd/%d", b);
    int r = fflush(stdout) == 0 ? -posix_spawnp(&pid, diff, NULL, NULL, argv, environ) : -EIO;
    if (r)
        return r;
    while ((r = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
        ;
    return r == pid && WIFEXITED(status) && WEXITSTATUS(status) <= 1 ? 0 : -EIO;
}

int diff_text_print(const struct diff_sides *sides, const struct eng_difference *d, const char *path)
{
    bool has_regular = (d->before && S_ISREG(d->before->mode)) || (d->after && S_ISREG(d->after->mode));
    if (!has_regular || (d->kind == ENG_DIFF_CHANGED && !(d->what & (ENG_DIFF_CONTENT | ENG_DIFF_TYPE))))
        return 0;
    FILE *a = NULL, *b = NULL;
    char *label_a = label_of("a/", path, d->before), *label_b = label_of("b/", path, d->after);
    int r = label_a && label_b ? 0 : -ENOMEM;
    if (!r)
        r = open_side(sides, sides->before, d->before, &a);
    if (!r)
        r = open_side(sides, sides->after, d->after, &b);
    if (!r)
        r = run_diff(label_a, label_b, fileno(a), fileno(b));
    if (a)
        (void)fclose(a);
    if (b)
        (void)fclose(b);
    free(label_a);
    free(label_b);
    return r;
}
