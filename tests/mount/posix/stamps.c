/* stamps.c - the values that timestamps take: of new files, of utimensat, of relatime. */
#include "posix.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int64_t ns(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void values(void)
{
    static const struct {
        const char *name;
        int64_t sec;
        long nsec;
    } table[] = {
        {"epoch", 0, 0},
        {"one-ns", 0, 1},
        {"last-ns", 0, 999999999},
        {"before-epoch", -1, 999999999},
        {"minus-one", -1, 0},
        {"1969", -86400, 123456789},
        {"1901", -2147483648ll, 0},
        {"2000", 946684800, 123456789},
        {"2038-last", 2147483647, 999999999},
        {"2038-first", 2147483648ll, 0},
        {"2106-last", 4294967295ll, 999999999},
        {"2106-first", 4294967296ll, 1},
        {"2200", 7258118400ll, 42},
        {"2261", 9183110399ll, 7},
        {"2300", 10413792000ll, 0},
        {"1800", -5364662400ll, 0},
        {"2446", 15032385535ll, 0},
    };
    p_file("f", 0644, 1);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct timespec t[2] = {{table[i].sec, table[i].nsec}, {table[i].sec, table[i].nsec}};
        X(p_id("stamps.%s", table[i].name), utimensat(AT_FDCWD, "f", t, 0), 0);
        struct stat st = p_stat("f");
        /* ext4 keeps 1901 to 2446, and takes the nearest for what lies outside */
        int64_t want = table[i].sec < -2147483648ll ? -2147483648ll : table[i].sec;
        p_equal(p_id("stamps.%s.atime", table[i].name), st.st_atim.tv_sec, want);
        p_equal(p_id("stamps.%s.mtime", table[i].name), st.st_mtim.tv_sec, want);
        p_equal(p_id("stamps.%s.ns", table[i].name), st.st_mtim.tv_nsec, table[i].nsec);
    }
}

static void special(void)
{
    struct timespec t[2] = {{1, 2}, {3, 4}};
    MUST(utimensat(AT_FDCWD, "f", t, 0));
    t[0] = (struct timespec){0, UTIME_OMIT};
    t[1] = (struct timespec){9, 9};
    X("stamps.omit.atime", utimensat(AT_FDCWD, "f", t, 0), 0);
    p_equal("stamps.omit.atime-kept", ns(p_stat("f").st_atim), 1000000002);
    p_equal("stamps.omit.mtime-set", ns(p_stat("f").st_mtim), 9000000009);
    t[0] = (struct timespec){5, 6};
    t[1] = (struct timespec){0, UTIME_OMIT};
    X("stamps.omit.mtime", utimensat(AT_FDCWD, "f", t, 0), 0);
    p_equal("stamps.omit.mtime-kept", ns(p_stat("f").st_mtim), 9000000009);
    p_equal("stamps.omit.atime-set", ns(p_stat("f").st_atim), 5000000006);
    t[0] = (struct timespec){0, UTIME_NOW};
    X("stamps.now.atime", utimensat(AT_FDCWD, "f", t, 0), 0);
    p_true("stamps.now.atime-now", llabs((long long)(p_stat("f").st_atime - time(NULL))) < 60);
    p_equal("stamps.now.mtime-kept", ns(p_stat("f").st_mtim), 9000000009);
    t[0] = (struct timespec){0, 1000000000};
    X("stamps.ns-too-many", utimensat(AT_FDCWD, "f", t, 0), EINVAL);
    t[0] = (struct timespec){0, -1};
    X("stamps.ns-negative", utimensat(AT_FDCWD, "f", t, 0), EINVAL);
    MUST(symlink("f", "l"));
    t[0] = t[1] = (struct timespec){77, 7};
    X("stamps.symlink", utimensat(AT_FDCWD, "l", t, AT_SYMLINK_NOFOLLOW), 0);
    p_equal("stamps.symlink.set", ns(p_stat("l").st_mtim), 77000000007);
    p_true("stamps.symlink.not-target", p_stat("f").st_mtim.tv_sec != 77);
    p_dir("d", 0755);
    X("stamps.dir", utimensat(AT_FDCWD, "d", t, 0), 0);
    p_equal("stamps.dir.set", ns(p_stat("d").st_atim), 77000000007);
    int fd = open("f", O_RDONLY | O_CLOEXEC);
    MUST(fd);
    X("stamps.futimens", futimens(fd, t), 0);
    p_equal("stamps.futimens.set", ns(p_stat("f").st_mtim), 77000000007);
    MUST(close(fd));
    p_true("stamps.ctime-now", llabs((long long)(p_stat("f").st_ctime - time(NULL))) < 60);
}

static void new_files(void)
{
    struct timespec from, to;
    p_tick();
    MUST(clock_gettime(CLOCK_REALTIME_COARSE, &from));
    p_file("new", 0644, 0);
    p_dir("newdir", 0755);
    MUST(symlink("x", "newlink"));
    MUST(clock_gettime(CLOCK_REALTIME, &to));
    static const char *const names[] = {"new", "newdir", "newlink"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        struct stat st = p_stat(names[i]);
        p_true(p_id("stamps.%s.atime", names[i]), ns(st.st_atim) >= ns(from) && ns(st.st_atim) <= ns(to));
        p_true(p_id("stamps.%s.mtime", names[i]), ns(st.st_mtim) >= ns(from) && ns(st.st_mtim) <= ns(to));
        p_true(p_id("stamps.%s.ctime", names[i]), ns(st.st_ctim) >= ns(from) && ns(st.st_ctim) <= ns(to));
        struct statx stx = {.stx_mask = 0};
        MUST(statx(AT_FDCWD, names[i], AT_SYMLINK_NOFOLLOW, STATX_ALL, &stx));
        p_true(p_id("stamps.%s.btime", names[i]), stx.stx_mask & STATX_BTIME &&
                                                      stx.stx_btime.tv_sec >= from.tv_sec &&
                                                      stx.stx_btime.tv_sec <= to.tv_sec);
    }
}

static void read_once(void)
{
    char buf[4096] __attribute__((aligned(4096)));
    int fd = open("r", O_RDONLY | O_DIRECT | O_CLOEXEC);
    MUST(fd);
    MUST(read(fd, buf, sizeof(buf)));
    MUST(close(fd));
}

/* An atime moves when it is not later than mtime and ctime, or a day old. */
static void relatime(void)
{
    time_t now = time(NULL);
    static const struct {
        const char *name;
        long atime, mtime; /* seconds from now */
        bool moves;
    } table[] = {
        {"older", -1000, -500, true},
        {"same", -500, -500, true},
        {"a-day", -86500, -90000, true},
        {"future", 5000, 1000, false},
    };
    p_file("r", 0644, 4096);
    for (size_t i = 0; i < COUNT_OF(table); i++) {
        const struct timespec t[2] = {{now + table[i].atime, 0}, {now + table[i].mtime, 0}};
        MUST(utimensat(AT_FDCWD, "r", t, 0));
        p_tick();
        read_once();
        p_equal(p_id("stamps.relatime.%s", table[i].name), p_stat("r").st_atim.tv_sec != now + table[i].atime,
                table[i].moves);
    }
    /* once moved it stays, until the next change */
    const struct timespec t[2] = {{1000, 0}, {1000, 0}};
    MUST(utimensat(AT_FDCWD, "r", t, 0));
    p_tick();
    read_once();
    struct timespec first = p_stat("r").st_atim;
    p_tick();
    p_tick();
    read_once();
    p_true("stamps.relatime.once", ns(p_stat("r").st_atim) == ns(first));
    MUST(chmod("r", 0600));
    p_tick();
    read_once();
    p_true("stamps.relatime.after-chmod", ns(p_stat("r").st_atim) > ns(first));
    /* what was read stays so through a change of another field, and a setting of it is a setting */
    struct timespec second = p_stat("r").st_atim;
    MUST(chmod("r", 0644));
    p_true("stamps.relatime.kept-by-chmod", ns(p_stat("r").st_atim) == ns(second));
    MUST(utimensat(AT_FDCWD, "r", t, 0));
    p_true("stamps.relatime.set-back", p_stat("r").st_atim.tv_sec == 1000);
    char buf[8];
    MUST(symlink("target", "rl"));
    MUST(utimensat(AT_FDCWD, "rl", t, AT_SYMLINK_NOFOLLOW));
    p_tick();
    MUST(readlink("rl", buf, sizeof(buf)));
    p_true("stamps.relatime.readlink", p_stat("rl").st_atim.tv_sec != 1000);
}

void stamps_run(void)
{
    values();
    special();
    new_files();
    relatime();
}
