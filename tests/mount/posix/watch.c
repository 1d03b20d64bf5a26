/* watch.c - inotify: which events each operation sends, to a watch on the file and to one on its
 * directory. */
#include "posix.h"

#include <stdio.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static const struct {
    uint32_t bit;
    const char *name;
} bits[] = {
    {IN_ACCESS, "access"},           {IN_ATTRIB, "attrib"}, {IN_CLOSE_WRITE, "close-write"},
    {IN_CLOSE_NOWRITE, "close"},     {IN_CREATE, "create"}, {IN_DELETE, "delete"},
    {IN_DELETE_SELF, "delete-self"}, {IN_MODIFY, "modify"}, {IN_MOVE_SELF, "move-self"},
    {IN_MOVED_FROM, "from"},         {IN_MOVED_TO, "to"},   {IN_OPEN, "open"},
    {IN_IGNORED, "ignored"},         {IN_ISDIR, "dir"},
};

static int watcher;

/* All that has come, as text: NAME(BITS) in order. */
static const char *events(void)
{
    static char text[2048];
    char buf[8192] __attribute__((aligned(8)));
    size_t n = 0;
    ssize_t got;
    text[0] = '\0';
    while ((got = read(watcher, buf, sizeof(buf))) > 0)
        for (ssize_t at = 0; at < got;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)(buf + at);
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? " " : "", e->len ? e->name : ".");
            for (size_t b = 0; b < COUNT_OF(bits) && n < sizeof(text); b++)
                if (e->mask & bits[b].bit)
                    n += (size_t)snprintf(text + n, sizeof(text) - n, ":%s", bits[b].name);
            at += (ssize_t)(sizeof *e + e->len);
        }
    return text;
}

static void expect(const char *name, const char *want)
{
    p_text(p_id("watch.%s", name), events(), want);
}

void watch_run(void)
{
    char c = 'x';
    p_dir("d", 0755);
    p_dir("e", 0755);
    watcher = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    MUST(watcher);
    MUST(inotify_add_watch(watcher, "d", IN_ALL_EVENTS));
    int fd = open("d/f", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    expect("create", "f:create f:open");
    MUST(write(fd, &c, 1));
    expect("write", "f:modify");
    MUST(pread(fd, &c, 1, 0));
    expect("read", "f:access");
    MUST(ftruncate(fd, 100));
    expect("truncate", "f:modify");
    MUST(fchmod(fd, 0600));
    expect("chmod", "f:attrib");
    MUST(fchown(fd, 1, 1));
    expect("chown", "f:attrib");
    MUST(futimens(fd, NULL));
    expect("utimes", "f:attrib");
    MUST(fsetxattr(fd, "user.x", "1", 1, 0));
    expect("setxattr", "f:attrib");
    MUST(fallocate(fd, 0, 0, 200));
    expect("fallocate", "f:modify");
    MUST(close(fd));
    expect("close", "f:close-write");
    MUST(truncate("d/f", 5));
    expect("truncate-path", "f:modify");
    MUST(link("d/f", "d/g"));
    expect("link", "g:create");
    MUST(rename("d/f", "d/h"));
    expect("rename", "f:from h:to");
    MUST(rename("d/h", "e/h"));
    expect("rename-away", "h:from");
    MUST(rename("e/h", "d/h"));
    expect("rename-in", "h:to");
    MUST(unlink("d/g"));
    expect("unlink", "g:delete");
    MUST(mkdir("d/sub", 0755));
    expect("mkdir", "sub:create:dir");
    MUST(rmdir("d/sub"));
    expect("rmdir", "sub:delete:dir");
    MUST(symlink("x", "d/l"));
    expect("symlink", "l:create");
    MUST(mkfifo("d/p", 0644));
    expect("mkfifo", "p:create");
    (void)renameat2(AT_FDCWD, "d/l", AT_FDCWD, "d/p", RENAME_EXCHANGE);
    expect("exchange", "l:from p:to p:from l:to");
    MUST(inotify_add_watch(watcher, "d/h", IN_ALL_EVENTS));
    MUST(chmod("d", 0700));
    expect("chmod-dir", ".:attrib:dir");
    MUST(unlink("d/h"));
    expect("delete-self", ".:attrib .:delete-self .:ignored h:delete");
}
