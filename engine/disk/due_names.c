/*
 * due_names.c - see due_names.h. No state.
 *
 * The list is text: a line "engramfs names 1", then "+ NAME" for each file that gets its name and "- NAME"
 * for each that goes, then "= " and the hash of all before it. */
#include "disk/due_names.h"

#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "engramfs names 1\n"
#define END_SIZE sizeof "= 0123456789abcdef" /* with the end of its line */
#define LIST_MAX ((size_t)1 << 24) /* a million files; the names that it tells take ten times as much */
#define PART DUE_LIST ".part"

void due_names_waiting(const char *name, char ret[DUE_NAME_SIZE])
{
    (void)snprintf(ret, DUE_NAME_SIZE, DUE_PREFIX "%s", name);
}

void due_names_free(struct due_names *due)
{
    free(due->names);
    *due = (struct due_names){0};
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct eng_due_name *)a)->name, ((const struct eng_due_name *)b)->name);
}

const struct eng_due_name *due_names_find(const struct due_names *due, const char *name)
{
    struct eng_due_name key = {0};
    if (!due->n || strlen(name) >= sizeof key.name)
        return NULL;
    memcpy(key.name, name, strlen(name) + 1);
    return bsearch(&key, due->names, due->n, sizeof key, by_name);
}

/* As the files of a store are named. */
static bool is_name(const char *name, size_t len)
{
    return len > 0 && len < sizeof((struct eng_due_name *)0)->name && name[0] != '.' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789.") >= len;
}

static int fsync_fd(int fd)
{
    int r;
    do
        r = fsync(fd);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

/* ---- reading -------------------------------------------------------------------- */

static int read_text(int fd, char **ret_text, size_t *ret_size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > LIST_MAX)
        return -EBADMSG;
    size_t size = (size_t)st.st_size, done = 0;
    char *text = malloc(size + 1);
    int r = text ? 0 : -ENOMEM;
    while (!r && done < size) {
        ssize_t n = pread(fd, text + done, size - done, (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            r = n < 0 ? -errno : -EBADMSG;
        done += r ? 0 : (size_t)n;
    }
    if (r) {
        free(text);
        return r;
    }
    text[size] = '\0';
    *ret_text = text;
    *ret_size = size;
    return 0;
}

static bool is_whole(const char *text, size_t size)
{
    char end[END_SIZE + 1];
    if (size < sizeof HEAD - 1 + END_SIZE || memcmp(text, HEAD, sizeof HEAD - 1) != 0)
        return false;
    (void)snprintf(end, sizeof end, "= %016" PRIx64 "\n", hash_long(text, size - END_SIZE));
    return memcmp(text + size - END_SIZE, end, END_SIZE) == 0;
}

/* Lines "+ NAME" and "- NAME" up to `end`. */
static int parse(const char *at, const char *end, struct due_names *due)
{
    due->names = calloc((size_t)(end - at) / 4 + 1, sizeof *due->names);
    if (!due->names)
        return -ENOMEM;
    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t len = line_end && line_end - at > 2 ? (size_t)(line_end - at) - 2 : 0;
        if (!len || (at[0] != '+' && at[0] != '-') || at[1] != ' ' || !is_name(at + 2, len))
            return -EBADMSG;
        struct eng_due_name *name = &due->names[due->n++];
        memcpy(name->name, at + 2, len);
        name->goes = at[0] == '-';
        at = line_end + 1;
    }
    qsort(due->names, due->n, sizeof *due->names, by_name);
    return 0;
}

int due_names_read(int folder, struct due_names *ret_due)
{
    struct due_names due = {0};
    char *text = NULL;
    size_t size = 0;
    int fd = openat(folder, DUE_LIST, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT)
        return errno == ELOOP ? -EBADMSG : -errno;
    int r = fd < 0 ? 0 : read_text(fd, &text, &size);
    if (fd >= 0)
        (void)close(fd);
    if (!r && text && !is_whole(text, size))
        r = -EBADMSG;
    if (!r && text)
        r = parse(text + sizeof HEAD - 1, text + size - END_SIZE, &due);
    free(text);
    if (r) {
        due_names_free(&due);
        return r;
    }
    *ret_due = due;
    return 0;
}

/* ---- giving --------------------------------------------------------------------- */

int due_names_give(int folder, const struct due_names *due)
{
    int r = 0;
    for (size_t i = 0; !r && i < due->n; i++) {
        const struct eng_due_name *name = &due->names[i];
        char waiting[DUE_NAME_SIZE];
        due_names_waiting(name->name, waiting);
        int done =
            name->goes ? unlinkat(folder, name->name, 0) : renameat(folder, waiting, folder, name->name);
        if (done < 0 && errno != ENOENT) /* which is one that was given before */
            r = -errno;
    }
    if (!r)
        r = fsync_fd(folder); /* the list stands for what a power cut might take back */
    if (!r && unlinkat(folder, DUE_LIST, 0) < 0 && errno != ENOENT)
        r = -errno;
    return r ? r : fsync_fd(folder); /* before a file waits there for another list */
}

int eng_due_names_give(int folder)
{
    struct due_names due = {0};
    int r = due_names_read(folder, &due);
    bool any = !r && due.names;
    if (any)
        r = due_names_give(folder, &due);
    due_names_free(&due);
    return r ? r : any;
}

/* ---- writing -------------------------------------------------------------------- */

static int write_text(int folder, const char *text, size_t size)
{
    if (unlinkat(folder, PART, 0) < 0 && errno != ENOENT)
        return -errno;
    int fd = openat(folder, PART, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), r = 0;
    if (fd < 0)
        return -errno;
    for (size_t done = 0; !r && done < size;) {
        ssize_t n = write(fd, text + done, size - done);
        r = n < 0 && errno != EINTR ? -errno : 0;
        done += n > 0 ? (size_t)n : 0;
    }
    if (!r)
        r = fsync_fd(fd);
    if (close(fd) < 0 && !r)
        r = -errno;
    return r;
}

/* The text; NULL: no memory. */
static char *make_text(const struct eng_due_name *names, size_t n, size_t *ret_size)
{
    size_t room = sizeof HEAD + n * (sizeof names->name + 3) + END_SIZE + 1, size = sizeof HEAD - 1;
    char *text = malloc(room);
    if (!text)
        return NULL;
    memcpy(text, HEAD, sizeof HEAD);
    for (size_t i = 0; i < n; i++)
        size +=
            (size_t)snprintf(text + size, room - size, "%c %s\n", names[i].goes ? '-' : '+', names[i].name);
    *ret_size =
        size + (size_t)snprintf(text + size, room - size, "= %016" PRIx64 "\n", hash_long(text, size));
    return text;
}

int eng_due_names_note(int folder, const struct eng_due_name *names, size_t n)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_name(names[i].name, strnlen(names[i].name, sizeof names[i].name)))
            return -EINVAL;
    char *text = make_text(names, n, &size);
    int r = text ? 0 : -ENOMEM;
    if (!r)
        r = size > LIST_MAX ? -EFBIG : write_text(folder, text, size);
    free(text);
    if (!r)
        r = fsync_fd(folder); /* the files that wait, before the list counts */
    if (!r && renameat(folder, PART, folder, DUE_LIST) < 0)
        r = -errno;
    return r ? r : fsync_fd(folder);
}
