/*
 * modes.c - who may what: owner, group, supplementary group and others; set-user-ID, set-group-ID
 * and sticky; chmod and chown, and what takes the special bits away. */
#include "posix.h"

#include <stdio.h>
#include <sys/xattr.h>

static mode_t mode_of(const char *path)
{
    return p_stat(path).st_mode & 07777;
}

/* Files of bob's and of group g, one for each mode: what alice may read, write and execute. */
static const struct {
    const char *name;
    uid_t uid;
    gid_t gid;
    int shift; /* which triple of bits counts for alice */
} relations[] = {
    {"owner", 5001, 1, 6}, {"group", 1, 5001, 3}, {"extra", 1, EXTRA_GROUP, 3}, {"other", 1, 1, 0}};

static void may_alice(void)
{
    for (size_t r = 0; r < COUNT_OF(relations); r++)
        for (unsigned bits = 0; bits < 8; bits++) {
            const char *file = p_id("files/%s%u", relations[r].name, bits);
            const char *dir = p_id("dirs/%s%u", relations[r].name, bits);
            const char *id = p_id("modes.%s.%u", relations[r].name, bits);
            X(p_id("%s.read", id), p_open(file, O_RDONLY, 0), bits & 4 ? 0 : EACCES);
            X(p_id("%s.write", id), p_open(file, O_WRONLY, 0), bits & 2 ? 0 : EACCES);
            X(p_id("%s.both", id), p_open(file, O_RDWR, 0), (bits & 6) == 6 ? 0 : EACCES);
            X(p_id("%s.execute", id), access(file, X_OK), bits & 1 ? 0 : EACCES);
            X(p_id("%s.truncate", id), truncate(file, 0), bits & 2 ? 0 : EACCES);
            X(p_id("%s.touch-now", id), utimensat(AT_FDCWD, file, NULL, 0), r == 0 || bits & 2 ? 0 : EACCES);
            X(p_id("%s.setxattr", id), setxattr(file, "user.x", "1", 1, 0), bits & 2 ? 0 : EACCES);
            X(p_id("%s.list", id), p_open(dir, O_RDONLY | O_DIRECTORY, 0), bits & 4 ? 0 : EACCES);
            X(p_id("%s.search", id), access(p_id("%s/f", dir), F_OK), bits & 1 ? 0 : EACCES);
            X(p_id("%s.create", id), p_open(p_id("%s/new", dir), O_CREAT | O_EXCL, 0644),
              (bits & 3) == 3 ? 0 : EACCES);
            X(p_id("%s.unlink", id), unlink(p_id("%s/f", dir)), (bits & 3) == 3 ? 0 : EACCES);
        }
}

static void triples(void)
{
    p_dir("files", 0755);
    p_dir("dirs", 0755);
    for (size_t r = 0; r < COUNT_OF(relations); r++)
        for (unsigned bits = 0; bits < 8; bits++) {
            const char *file = p_id("files/%s%u", relations[r].name, bits);
            const char *dir = p_id("dirs/%s%u", relations[r].name, bits);
            /* all other triples say the opposite: only the one that applies may count */
            mode_t mode = (~(07u << relations[r].shift) & 0777) & ~(bits * 0111u);
            mode = (mode & ~(07u << relations[r].shift)) | bits << relations[r].shift;
            p_file(file, mode, 1);
            p_dir(dir, 0755);
            p_file(p_id("%s/f", dir), 0644, 0);
            MUST(chown(file, relations[r].uid, relations[r].gid));
            MUST(chown(dir, relations[r].uid, relations[r].gid));
            MUST(chmod(file, mode));
            MUST(chmod(dir, mode));
        }
    p_as(&alice, may_alice);
}

static void alice_chmods(void)
{
    p_file("open/f", 0644, 1);
    for (mode_t m = 0; m <= 07777; m += 0111) {
        MUST(chmod("open/f", m));
        p_equal(p_id("modes.chmod.%04o", m), mode_of("open/f"), m);
    }
    MUST(chmod("open/f", 06755));
    p_equal("modes.chmod.suid", mode_of("open/f"), 06755);
    X("modes.chmod.group-not-mine", chmod("foreign", 02755), 0);
    p_equal("modes.chmod.sgid-lost", mode_of("foreign"), 0755);
    X("modes.chmod.sticky-file", chmod("open/f", 01644), 0);
    p_equal("modes.chmod.sticky-kept", mode_of("open/f"), 01644);
    X("modes.chown.give-away", chown("open/f", bob.uid, (gid_t)-1), EPERM);
    X("modes.chown.same", chown("open/f", alice.uid, alice.gid), 0);
    X("modes.chown.extra", chown("open/f", (uid_t)-1, EXTRA_GROUP), 0);
    p_equal("modes.chown.extra-gid", p_stat("open/f").st_gid, EXTRA_GROUP);
    X("modes.chown.strange-group", chown("open/f", (uid_t)-1, bob.gid), EPERM);
    X("modes.chown.nothing", chown("rootfile", (uid_t)-1, (gid_t)-1), 0);
    X("modes.chmod.not-owner", chmod("rootfile", 0666), EPERM);
    X("modes.utimes.not-owner-now", utimensat(AT_FDCWD, "rootfile", NULL, 0), EACCES);
    const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    X("modes.utimes.not-owner-omit", utimensat(AT_FDCWD, "rootfile", omit, 0), 0);
    const struct timespec half[2] = {{0, UTIME_NOW}, {0, UTIME_OMIT}};
    X("modes.utimes.not-owner-half", utimensat(AT_FDCWD, "writable", half, 0), EPERM);
    X("modes.utimes.writable-now", utimensat(AT_FDCWD, "writable", NULL, 0), 0);
    const struct timespec fixed[2] = {{1, 0}, {1, 0}};
    X("modes.utimes.writable-fixed", utimensat(AT_FDCWD, "writable", fixed, 0), EPERM);
    MUST(unlink("open/f"));
}

/* What each change does to 06777 and to 06767: without the group's x a member keeps the sgid bit. */
static void write_one(const char *p)
{
    int fd = open(p, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "x", 1));
    MUST(close(fd));
}
static void write_none(const char *p)
{
    int fd = open(p, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "x", 0));
    MUST(close(fd));
}
static void write_direct(const char *p)
{
    int fd = open(p, O_WRONLY | O_DIRECT | O_CLOEXEC);
    static char block[4096] __attribute__((aligned(4096)));
    MUST(fd);
    MUST(write(fd, block, sizeof(block)));
    MUST(close(fd));
}
static void shorten(const char *p)
{
    MUST(truncate(p, 1));
}
static void lengthen(const char *p)
{
    MUST(truncate(p, 9000));
}
static void open_truncate(const char *p)
{
    MUST(p_open(p, O_WRONLY | O_TRUNC, 0));
}
static void allocate(const char *p)
{
    int fd = open(p, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(fallocate(fd, 0, 0, 20000));
    MUST(close(fd));
}
static void punch(const char *p)
{
    int fd = open(p, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
    MUST(close(fd));
}
static void copy_into(const char *p)
{
    int in = open("source", O_RDONLY | O_CLOEXEC), out = open(p, O_WRONLY | O_CLOEXEC);
    MUST(in);
    MUST(out);
    MUST(copy_file_range(in, NULL, out, NULL, 10, 0));
    MUST(close(in));
    MUST(close(out));
}
static void store_mapped(const char *p)
{
    int fd = open(p, O_RDWR | O_CLOEXEC);
    MUST(fd);
    p_store_mapped(fd);
    MUST(close(fd));
}
static void give_user(const char *p)
{
    MUST(chown(p, 77, (gid_t)-1));
}
static void give_group(const char *p)
{
    MUST(chown(p, (uid_t)-1, 77));
}
static void give_none(const char *p)
{
    MUST(chown(p, (uid_t)-1, (gid_t)-1));
}
static void set_xattr(const char *p)
{
    MUST(setxattr(p, "user.x", "1", 1, 0));
}
static void touch(const char *p)
{
    MUST(utimensat(AT_FDCWD, p, NULL, 0));
}
static void rename_it(const char *p)
{
    MUST(rename(p, "tmp"));
    MUST(rename("tmp", p));
}

static const struct {
    const char *name;
    void (*change)(const char *path);
    mode_t with_exec, without_exec, by_root; /* what is left of 06777, 06767 for alice, of 06777 for root */
} drops[] = {
    {"write", write_one, 0777, 02767, 06777},
    {"write-none", write_none, 06777, 06767, 06777},
    {"write-direct", write_direct, 0777, 02767, 06777},
    {"truncate-down", shorten, 0777, 02767, 06777},
    {"truncate-up", lengthen, 0777, 02767, 06777},
    {"open-truncate", open_truncate, 0777, 02767, 06777},
    {"fallocate", allocate, 0777, 02767, 06777},
    {"punch", punch, 0777, 02767, 06777},
    {"copy-file-range", copy_into, 0777, 02767, 06777},
    {"mmap", store_mapped, 06777, 06767, 06777},
    {"chown-none", give_none, 0777, 02767, 0777},
    {"setxattr", set_xattr, 06777, 06767, 06777},
    {"touch", touch, 06777, 06767, 06777},
    {"rename", rename_it, 06777, 06767, 06777},
};

static void drops_for_alice(void)
{
    MUST(chdir("open"));
    p_file("source", 0644, 100);
    for (size_t i = 0; i < COUNT_OF(drops); i++) {
        p_file("f", 06777, 5000);
        drops[i].change("f");
        p_equal(p_id("modes.drop.%s", drops[i].name), mode_of("f"), drops[i].with_exec);
        MUST(unlink("f"));
        p_file("f", 06767, 5000);
        drops[i].change("f");
        p_equal(p_id("modes.drop.%s.noexec", drops[i].name), mode_of("f"), drops[i].without_exec);
        MUST(unlink("f"));
    }
    p_dir("d", 06777);
    MUST(chown("d", (uid_t)-1, EXTRA_GROUP));
    p_equal("modes.drop.chown-dir", mode_of("d"), 06777);
}

static void drops_for_root(void)
{
    MUST(chdir("rootdir"));
    p_file("source", 0644, 100);
    for (size_t i = 0; i < COUNT_OF(drops); i++) {
        p_file("f", 06777, 5000);
        drops[i].change("f");
        p_equal(p_id("modes.drop.%s.root", drops[i].name), mode_of("f"), drops[i].by_root);
        MUST(unlink("f"));
    }
    p_file("f", 06777, 1);
    give_user("f");
    p_equal("modes.drop.chown-user.root", mode_of("f"), 0777);
    MUST(chmod("f", 06777));
    give_group("f");
    p_equal("modes.drop.chown-group.root", mode_of("f"), 0777);
    MUST(chmod("f", 02767));
    give_group("f");
    p_equal("modes.drop.chown-noexec.root", mode_of("f"), 02767);
    MUST(mkfifo("fifo", 0644));
    MUST(chmod("fifo", 06755));
    give_user("fifo");
    p_equal("modes.drop.chown-fifo.root", mode_of("fifo"), 0755);
    p_equal("modes.chown.uid", p_stat("f").st_uid, 77);
    p_equal("modes.chown.gid", p_stat("f").st_gid, 77);
    MUST(chown("f", 4294967294u, 4294967294u));
    p_equal("modes.chown.greatest", p_stat("f").st_uid, 4294967294u);
}

static void in_setgid_dir(void)
{
    MUST(p_open("setgid/f", O_CREAT | O_EXCL | O_RDWR, 0644));
    p_equal("modes.setgid.gid", p_stat("setgid/f").st_gid, 4444);
    p_equal("modes.setgid.mode", mode_of("setgid/f"), 0644);
    MUST(mkdir("setgid/d", 0755));
    p_equal("modes.setgid.dir-gid", p_stat("setgid/d").st_gid, 4444);
    p_equal("modes.setgid.dir-mode", mode_of("setgid/d"), 02755);
    MUST(mkfifo("setgid/p", 0644));
    p_equal("modes.setgid.fifo-gid", p_stat("setgid/p").st_gid, 4444);
    MUST(symlink("x", "setgid/l"));
    p_equal("modes.setgid.symlink-gid", p_stat("setgid/l").st_gid, 4444);
    MUST(p_open("setgid/s", O_CREAT | O_EXCL | O_RDWR, 02755));
    p_equal("modes.setgid.sgid-file", mode_of("setgid/s"), 0755); /* not in the group: the bit goes */
    MUST(p_open("setgid/t", O_CREAT | O_EXCL | O_RDWR, 02745));
    p_equal("modes.setgid.sgid-noexec", mode_of("setgid/t"), 02745);
    MUST(mknod("setgid/n", S_IFREG | 02755, 0));
    p_equal("modes.setgid.sgid-mknod", mode_of("setgid/n"), 0755);
    MUST(p_open("open/plain", O_CREAT | O_EXCL | O_RDWR, 0644));
    p_equal("modes.plain.gid", p_stat("open/plain").st_gid, alice.gid);
    p_equal("modes.plain.uid", p_stat("open/plain").st_uid, alice.uid);
    MUST(p_open("setgid-mine/s", O_CREAT | O_EXCL | O_RDWR, 02755));
    p_equal("modes.setgid.member", mode_of("setgid-mine/s"), 02755);
}

/* A writer who is not the owner takes the bits away all the same. */
static void drops_for_stranger(void)
{
    write_one("foreign-suid");
    p_equal("modes.drop.stranger-write", mode_of("foreign-suid"), 0777);
    MUST(truncate("foreign-suid2", 1));
    p_equal("modes.drop.stranger-truncate", mode_of("foreign-suid2"), 0777);
    X("modes.access.exec-none", access("noexec", X_OK), EACCES);
}

/* What fs.protected_* of sysctl decides. */
static void protections(void)
{
    X("modes.sticky.create-foreign", p_open("sticky/rootfile", O_CREAT | O_WRONLY, 0644), 0);
    X("modes.sticky.follow", p_open("sticky/link", O_RDONLY, 0), 0);
    bool protected = p_content("/proc/sys/fs/protected_hardlinks")[0] == '1';
    X("modes.hardlink.foreign", link("rootfile", "open/hard"), protected ? EPERM : 0);
    (void)unlink("open/hard");
}

void modes_run(void)
{
    p_dir("open", 0777);
    p_dir("rootdir", 0755);
    p_dir("setgid", 0777);
    MUST(chown("setgid", 0, 4444));
    MUST(chmod("setgid", 02777));
    p_dir("setgid-mine", 0777);
    MUST(chown("setgid-mine", 0, EXTRA_GROUP));
    MUST(chmod("setgid-mine", 02777));
    p_file("foreign", 0755, 1);
    MUST(chown("foreign", alice.uid, 4444));
    p_file("rootfile", 0644, 1);
    p_file("writable", 0666, 1);
    p_dir("sticky", 01777);
    p_file("sticky/rootfile", 0666, 1);
    MUST(symlink("rootfile", "sticky/link"));
    p_file("foreign-suid", 06777, 5);
    p_file("foreign-suid2", 06777, 5);
    p_file("noexec", 0666, 5);
    X("modes.access.root-exec-none", access("noexec", X_OK), EACCES);
    triples();
    p_as(&alice, drops_for_stranger);
    p_as(&alice, alice_chmods);
    p_as(&alice, drops_for_alice);
    p_apart(drops_for_root);
    p_as(&alice, in_setgid_dir);
    p_as(&alice, protections);
}
