/*
 * times.c - which operation moves which timestamp: a table of operations,
 * each with what is seen to move on the file (f), on its directory (d) and on the other directory (e).
 *
 * Before each, atime and mtime of all three are set to one moment long ago,
 * so that relatime has no reason to leave an atime alone. */
#include "posix.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/xattr.h>

static char buffer[8192] __attribute__((aligned(4096)));

static int opened(int flags)
{
    int fd = open("d/f", flags | O_CLOEXEC, 0644);
    MUST(fd);
    return fd;
}
/* The result of a call on an open file, which is then closed. */
static void closing(int fd, ssize_t result)
{
    MUST(result);
    MUST(close(fd));
}

static void op_read(void)
{
    int fd = opened(O_RDONLY);
    closing(fd, read(fd, buffer, 10));
}
static void op_read_cached(void)
{
    int fd = opened(O_RDONLY);
    MUST(read(fd, buffer, 10));
    MUST(close(fd));
    const struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
    MUST(utimensat(AT_FDCWD, "d/f", past, 0));
    fd = opened(O_RDONLY);
    closing(fd, read(fd, buffer, 10));
}
static void op_read_direct(void)
{
    int fd = opened(O_RDONLY | O_DIRECT);
    closing(fd, read(fd, buffer, 4096));
}
static void op_read_noatime(void)
{
    int fd = opened(O_RDONLY | O_NOATIME | O_DIRECT);
    closing(fd, read(fd, buffer, 4096));
}
static void op_read_nothing(void)
{
    int fd = opened(O_RDONLY);
    closing(fd, read(fd, buffer, 0));
}
static void op_read_end(void)
{
    int fd = opened(O_RDONLY);
    closing(fd, pread(fd, buffer, 10, 1000000));
}
static void op_open(void)
{
    closing(opened(O_RDWR), 0);
}
static void op_stat(void)
{
    (void)p_stat("d/f");
}
static void op_access(void)
{
    MUST(access("d/f", R_OK));
}
static void op_lookup_miss(void)
{
    (void)access("d/none", R_OK);
}
static void op_seek(void)
{
    int fd = opened(O_RDONLY);
    closing(fd, lseek(fd, 0, SEEK_HOLE) >= 0 ? 0 : -1);
}
static void op_write(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, write(fd, "x", 1));
}
static void op_write_same(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, write(fd, "a", 1));
}
static void op_write_none(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, write(fd, "x", 0));
}
static void op_write_direct(void)
{
    int fd = opened(O_WRONLY | O_DIRECT);
    closing(fd, write(fd, buffer, 4096));
}
static void op_append(void)
{
    int fd = opened(O_WRONLY | O_APPEND);
    closing(fd, write(fd, "x", 1));
}
static void op_write_extend(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, pwrite(fd, "x", 1, 100000));
}
static void op_ftruncate_same(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, ftruncate(fd, 5000));
}
static void op_truncate_same(void)
{
    MUST(truncate("d/f", 5000));
}
static void op_truncate_down(void)
{
    MUST(truncate("d/f", 10));
}
static void op_truncate_up(void)
{
    MUST(truncate("d/f", 10000));
}
static void op_open_truncate(void)
{
    closing(opened(O_WRONLY | O_TRUNC), 0);
}
static void op_open_truncate_twice(void)
{
    closing(opened(O_WRONLY | O_TRUNC), 0);
    const struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
    MUST(utimensat(AT_FDCWD, "d/f", past, 0));
    closing(opened(O_WRONLY | O_TRUNC), 0); /* empty already */
}
static void op_open_create(void)
{
    closing(opened(O_WRONLY | O_CREAT), 0);
}
static void op_open_exclusive(void)
{
    (void)p_open("d/f", O_WRONLY | O_CREAT | O_EXCL, 0644);
}
static void allocate(int mode, off_t len)
{
    int fd = opened(O_WRONLY);
    closing(fd, fallocate(fd, mode, 0, len));
}
static void op_fallocate(void)
{
    allocate(0, 100000);
}
static void op_fallocate_keep(void)
{
    allocate(FALLOC_FL_KEEP_SIZE, 100000);
}
static void op_punch(void)
{
    allocate(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 4096);
}
static void op_zero(void)
{
    allocate(FALLOC_FL_ZERO_RANGE, 4096);
}
static void op_copy_range(void)
{
    int in = open("e/source", O_RDONLY | O_CLOEXEC), out = opened(O_WRONLY);
    MUST(in);
    closing(in, copy_file_range(in, NULL, out, NULL, 10, 0));
    MUST(close(out));
}
static void op_map_read(void)
{
    int fd = opened(O_RDONLY);
    volatile char *m = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    MUST(m == MAP_FAILED ? -1 : m[0] * 0);
    MUST(munmap((void *)m, 4096));
    MUST(close(fd));
}
static void op_map_write(void)
{
    int fd = opened(O_RDWR);
    p_store_mapped(fd);
    MUST(close(fd));
}
static void op_map_private(void)
{
    int fd = opened(O_RDWR | O_NOATIME);
    char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    m[0] = 'P';
    MUST(munmap(m, 4096));
    MUST(close(fd));
}
static void op_fsync(void)
{
    int fd = opened(O_WRONLY);
    closing(fd, fsync(fd));
}
static void op_chmod(void)
{
    MUST(chmod("d/f", 0600));
}
static void op_chmod_same(void)
{
    MUST(chmod("d/f", 0644));
}
static void op_chmod_denied(void)
{
    MUST(seteuid(alice.uid));
    (void)chmod("d/f", 0600);
    MUST(seteuid(0));
}
static void op_chown(void)
{
    MUST(chown("d/f", 1, 1));
}
static void op_chown_same(void)
{
    MUST(chown("d/f", 0, 0));
}
static void op_chown_none(void)
{
    MUST(chown("d/f", (uid_t)-1, (gid_t)-1));
}
static void op_utimes_atime(void)
{
    const struct timespec t[2] = {{1200000000, 5}, {0, UTIME_OMIT}};
    MUST(utimensat(AT_FDCWD, "d/f", t, 0));
}
static void op_utimes_mtime(void)
{
    const struct timespec t[2] = {{0, UTIME_OMIT}, {1200000000, 5}};
    MUST(utimensat(AT_FDCWD, "d/f", t, 0));
}
static void op_utimes_now(void)
{
    MUST(utimensat(AT_FDCWD, "d/f", NULL, 0));
}
static void op_utimes_omit(void)
{
    const struct timespec t[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    MUST(utimensat(AT_FDCWD, "d/f", t, 0));
}
static void op_utimes_same(void)
{
    const struct timespec t[2] = {{1000000000, 0}, {1000000000, 0}};
    MUST(utimensat(AT_FDCWD, "d/f", t, 0));
}
static void op_setxattr(void)
{
    MUST(setxattr("d/f", "user.y", "1", 1, 0));
}
static void op_replace_xattr(void)
{
    MUST(setxattr("d/f", "user.x", "2", 1, XATTR_REPLACE));
}
static void op_removexattr(void)
{
    MUST(removexattr("d/f", "user.x"));
}
static void op_getxattr(void)
{
    MUST(getxattr("d/f", "user.x", buffer, 10));
}
static void op_setxattr_refused(void)
{
    (void)setxattr("d/f", "user.x", "1", 1, XATTR_CREATE);
}
static void op_link(void)
{
    MUST(link("d/f", "d/new"));
}
static void op_link_far(void)
{
    MUST(link("d/f", "e/new"));
}
static void op_link_refused(void)
{
    (void)link("d/f", "d/g");
}
static void op_unlink_other(void)
{
    MUST(unlink("d/g"));
}
static void op_unlink_twin(void)
{
    MUST(unlink("d/twin"));
}
static void op_unlink_missing(void)
{
    (void)unlink("d/none");
}
static void op_rename(void)
{
    MUST(rename("d/f", "d/new"));
    MUST(link("d/new", "d/f"));
    MUST(unlink("d/new"));
}
static void op_rename_far_in(void)
{
    MUST(rename("e/source", "d/new"));
}
static void op_rename_over(void)
{
    MUST(rename("d/g", "d/f"));
}
static void op_rename_itself(void)
{
    MUST(rename("d/f", "d/f"));
}
static void op_rename_twin(void)
{
    MUST(rename("d/f", "d/twin"));
}
static void op_rename_refused(void)
{
    (void)renameat2(AT_FDCWD, "d/g", AT_FDCWD, "d/f", RENAME_NOREPLACE);
}
static void op_exchange(void)
{
    MUST(renameat2(AT_FDCWD, "d/f", AT_FDCWD, "e/source", RENAME_EXCHANGE));
    MUST(renameat2(AT_FDCWD, "d/f", AT_FDCWD, "e/source", RENAME_EXCHANGE));
}
static void op_creat(void)
{
    MUST(p_open("d/new", O_CREAT | O_EXCL, 0644));
}
static void op_mkdir(void)
{
    MUST(mkdir("d/new", 0755));
}
static void op_mkdir_refused(void)
{
    (void)mkdir("d/g", 0755);
}
static void op_rmdir(void)
{
    MUST(rmdir("d/sub"));
}
static void op_rmdir_refused(void)
{
    (void)rmdir("d");
}
static void op_mkfifo(void)
{
    MUST(mkfifo("d/new", 0644));
}
static void op_symlink(void)
{
    MUST(symlink("x", "d/new"));
}
static void op_readdir(void)
{
    DIR *dir = opendir("d");
    MUST(dir ? 0 : -1);
    while (readdir(dir)) {
    }
    MUST(closedir(dir));
}
static void op_opendir(void)
{
    MUST(p_open("d", O_RDONLY | O_DIRECTORY, 0));
}
static void op_write_below(void)
{
    int fd = open("d/sub/x", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(close(fd));
    MUST(unlink("d/sub/x"));
}
static void op_move_dir(void)
{
    MUST(rename("d/sub", "e/sub"));
}

static const struct {
    const char *name;
    void (*op)(void);
    const char *moved;
} ops[] = {
    {"read", op_read, "f:a d: e:"},
    {"read-cached", op_read_cached, "f:ac d: e:"}, /* c: by utimensat */
    {"read-direct", op_read_direct, "f:a d: e:"},
    {"read-noatime", op_read_noatime, "f: d: e:"},
    {"read-nothing", op_read_nothing, "f: d: e:"},
    {"read-at-end", op_read_end, "f:a d: e:"},
    {"open", op_open, "f: d: e:"},
    {"stat", op_stat, "f: d: e:"},
    {"access", op_access, "f: d: e:"},
    {"lookup", op_lookup_miss, "f: d: e:"},
    {"seek-hole", op_seek, "f: d: e:"},
    {"write", op_write, "f:mc d: e:"},
    {"write-same", op_write_same, "f:mc d: e:"},
    {"write-none", op_write_none, "f: d: e:"},
    {"write-direct", op_write_direct, "f:mc d: e:"},
    {"append", op_append, "f:mc d: e:"},
    {"write-extend", op_write_extend, "f:mc d: e:"},
    {"ftruncate-same", op_ftruncate_same, "f:mc d: e:"},
    {"truncate-same", op_truncate_same, "f:mc d: e:"},
    {"truncate-down", op_truncate_down, "f:mc d: e:"},
    {"truncate-up", op_truncate_up, "f:mc d: e:"},
    {"open-truncate", op_open_truncate, "f:mc d: e:"},
    {"open-truncate-empty", op_open_truncate_twice, "f:mc d: e:"},
    {"open-create", op_open_create, "f: d: e:"},
    {"open-exclusive", op_open_exclusive, "f: d: e:"},
    {"fallocate", op_fallocate, "f:mc d: e:"},
    {"fallocate-keep", op_fallocate_keep, "f:mc d: e:"},
    {"punch", op_punch, "f:mc d: e:"},
    {"zero-range", op_zero, "f:mc d: e:"},
    {"copy-file-range", op_copy_range, "f:mc d: e:"},
    {"map-read", op_map_read, "f:a d: e:"},
    {"map-write", op_map_write, "f:amc d: e:"},
    {"map-private", op_map_private, "f: d: e:"},
    {"fsync", op_fsync, "f: d: e:"},
    {"chmod", op_chmod, "f:c d: e:"},
    {"chmod-same", op_chmod_same, "f:c d: e:"},
    {"chmod-denied", op_chmod_denied, "f: d: e:"},
    {"chown", op_chown, "f:c d: e:"},
    {"chown-same", op_chown_same, "f:c d: e:"},
    {"chown-none", op_chown_none, "f:c d: e:"},
    {"utimes-atime", op_utimes_atime, "f:ac d: e:"},
    {"utimes-mtime", op_utimes_mtime, "f:mc d: e:"},
    {"utimes-now", op_utimes_now, "f:amc d: e:"},
    {"utimes-omit", op_utimes_omit, "f: d: e:"},
    {"utimes-same", op_utimes_same, "f:c d: e:"},
    {"setxattr", op_setxattr, "f:c d: e:"},
    {"setxattr-replace", op_replace_xattr, "f:c d: e:"},
    {"setxattr-refused", op_setxattr_refused, "f: d: e:"},
    {"removexattr", op_removexattr, "f:c d: e:"},
    {"getxattr", op_getxattr, "f: d: e:"},
    {"link", op_link, "f:c d:mc e:"},
    {"link-far", op_link_far, "f:c d: e:mc"},
    {"link-refused", op_link_refused, "f: d: e:"},
    {"unlink-other", op_unlink_other, "f: d:mc e:"},
    {"unlink-twin", op_unlink_twin, "f:c d:mc e:"},
    {"unlink-missing", op_unlink_missing, "f: d: e:"},
    {"rename", op_rename, "f:c d:mc e:"},
    {"rename-far", op_rename_far_in, "f: d:mc e:mc"},
    {"rename-over", op_rename_over, "f:amc d:mc e:"},
    {"rename-itself", op_rename_itself, "f: d: e:"},
    {"rename-twin", op_rename_twin, "f: d: e:"},
    {"rename-refused", op_rename_refused, "f: d: e:"},
    {"exchange", op_exchange, "f:c d:mc e:mc"},
    {"creat", op_creat, "f: d:mc e:"},
    {"mkdir", op_mkdir, "f: d:mc e:"},
    {"mkdir-refused", op_mkdir_refused, "f: d: e:"},
    {"rmdir", op_rmdir, "f: d:mc e:"},
    {"rmdir-refused", op_rmdir_refused, "f: d: e:"},
    {"mkfifo", op_mkfifo, "f: d:mc e:"},
    {"symlink", op_symlink, "f: d:mc e:"},
    {"readdir", op_readdir, "f: d:a e:"},
    {"opendir", op_opendir, "f: d: e:"},
    {"below", op_write_below, "f: d: e:"},
    {"move-dir", op_move_dir, "f: d:mc e:mc"},
};

static const char *const watched[] = {"d/f", "d", "e"};

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void run_op(size_t i)
{
    static const struct timespec past[2] = {{1000000000, 0}, {1000000000, 0}};
    struct stat before[3];
    char moved[64] = "";
    size_t n = 0;
    MUST(chdir(p_id("t%zu", i)));
    p_file("d/f", 0644, 5000);
    p_file("d/g", 0644, 10);
    MUST(link("d/f", "d/twin"));
    MUST(mkdir("d/sub", 0755));
    p_file("e/source", 0644, 100);
    MUST(setxattr("d/f", "user.x", "1", 1, 0));
    for (size_t w = 0; w < COUNT_OF(watched); w++) {
        MUST(utimensat(AT_FDCWD, watched[w], past, 0));
        before[w] = p_stat(watched[w]);
    }
    int fd = open("d/f", O_RDONLY | O_CLOEXEC); /* the first read must be a read, not a look into memory */
    MUST(fd);
    MUST(fsync(fd));
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    MUST(close(fd));
    p_tick();
    ops[i].op();
    for (size_t w = 0; w < COUNT_OF(watched); w++) {
        struct stat st = p_stat(watched[w]);
        n += (size_t)snprintf(moved + n, sizeof(moved) - n, "%s%c:%s%s%s", w ? " " : "", "fde"[w],
                              same_time(st.st_atim, before[w].st_atim) ? "" : "a",
                              same_time(st.st_mtim, before[w].st_mtim) ? "" : "m",
                              same_time(st.st_ctim, before[w].st_ctim) ? "" : "c");
    }
    p_text(p_id("times.%s", ops[i].name), moved, ops[i].moved);
    MUST(chdir(".."));
}

void times_run(void)
{
    for (size_t i = 0; i < COUNT_OF(ops); i++) {
        p_dir(p_id("t%zu", i), 0755);
        p_dir(p_id("t%zu/d", i), 0755);
        p_dir(p_id("t%zu/e", i), 0755);
        run_op(i);
    }
}
