/* holes.c - sparse files: SEEK_DATA and SEEK_HOLE, in blocks and within them, punching, random writes into 16
 * GiB. */
#include "posix.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

enum { B = 4096 };

static int sparse(const char *name)
{
    static char buf[2 * B];
    memset(buf, 'd', sizeof(buf));
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(pwrite(fd, buf, 2 * B, 4 * B)); /* hole 0..4, data 4..6, hole 6..10, data 10..11, hole 11..20 */
    MUST(pwrite(fd, buf, B, 10 * B));
    MUST(ftruncate(fd, 20 * B));
    return fd;
}

static void seeks(void)
{
    static const struct {
        const char *name;
        int whence;
        long from, to; /* in blocks; to -1: ENXIO */
    } table[] = {
        {"data-0", SEEK_DATA, 0, 4},     {"data-3", SEEK_DATA, 3, 4},
        {"data-4", SEEK_DATA, 4, 4},     {"data-5", SEEK_DATA, 5, 5},
        {"data-6", SEEK_DATA, 6, 10},    {"data-11", SEEK_DATA, 11, -1},
        {"data-end", SEEK_DATA, 20, -1}, {"data-beyond", SEEK_DATA, 30, -1},
        {"hole-0", SEEK_HOLE, 0, 0},     {"hole-4", SEEK_HOLE, 4, 6},
        {"hole-5", SEEK_HOLE, 5, 6},     {"hole-6", SEEK_HOLE, 6, 6},
        {"hole-10", SEEK_HOLE, 10, 11},  {"hole-19", SEEK_HOLE, 19, 19},
        {"hole-end", SEEK_HOLE, 20, -1}, {"hole-beyond", SEEK_HOLE, 30, -1},
    };
    int fd = sparse("s");
    for (int synced = 0; synced < 2; synced++) {
        for (size_t i = 0; i < COUNT_OF(table); i++) {
            const char *id = p_id("holes.%s%s", table[i].name, synced ? ".synced" : "");
            if (table[i].to < 0)
                X(id, lseek(fd, table[i].from * B, table[i].whence), ENXIO);
            else
                p_equal(id, lseek(fd, table[i].from * B, table[i].whence), table[i].to * B);
        }
        MUST(fsync(fd));
    }
    X("holes.negative", lseek(fd, -1, SEEK_DATA), ENXIO);
    MUST(pwrite(fd, "x", 1, 20 * B)); /* data up to the end: the end is a hole */
    p_equal("holes.at-end", lseek(fd, 20 * B, SEEK_HOLE), 20 * B + 1);
    X("holes.punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * B, B), 0);
    p_equal("holes.punched", lseek(fd, 0, SEEK_DATA), 5 * B);
    p_equal("holes.position", lseek(fd, 0, SEEK_CUR), 5 * B);
    char buf[100];
    memset(buf, 1, sizeof(buf));
    X("holes.punch-part", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10 * B + 100, 100), 0);
    MUST(pread(fd, buf, 100, 10 * B + 150));
    int zeros = 0;
    for (int i = 0; i < 100; i++)
        zeros += buf[i] == 0;
    p_equal("holes.punched-part", zeros, 50);
    MUST(close(fd));
    fd = open("empty", O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    X("holes.empty.data", lseek(fd, 0, SEEK_DATA), ENXIO);
    X("holes.empty.hole", lseek(fd, 0, SEEK_HOLE), ENXIO);
    MUST(ftruncate(fd, 1 << 20));
    X("holes.only.data", lseek(fd, 0, SEEK_DATA), ENXIO);
    p_equal("holes.only.hole", lseek(fd, 5, SEEK_HOLE), 5);
    MUST(close(fd));
}

/* Blocks with any content in them are data, whole ones: what cp, tar and qemu-img derive block sizes from. */
static void pieces(void)
{
    static const struct {
        long at, n;
    } pieces[] = {{100, 1}, {3 * B - 1, 2}, {5 * B + 4000, 10}, {9 * B, 1}, {14 * B + 17, 2 * B}};
    enum { BLOCKS = 20, SIZE = BLOCKS * B - 1001 };
    static char buf[2 * B];
    bool has[BLOCKS] = {false};
    memset(buf, 'p', sizeof(buf));
    int fd = open("pieces", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644), wrong = 0;
    MUST(fd);
    MUST(ftruncate(fd, SIZE));
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        MUST(pwrite(fd, buf, (size_t)pieces[i].n, pieces[i].at));
        for (long at = pieces[i].at; at < pieces[i].at + pieces[i].n; at++)
            has[at / B] = true;
    }
    for (long at = 0; at < SIZE; at += at % 97 + 1) {
        long data = at / B, hole = at / B;
        while (data < BLOCKS && !has[data])
            data++;
        while (hole < BLOCKS && has[hole])
            hole++;
        long want_data = data == BLOCKS ? -1 : data * B, want_hole = hole * B < SIZE ? hole * B : SIZE;
        wrong += lseek(fd, at, SEEK_DATA) != (want_data >= 0 && want_data < at ? at : want_data);
        wrong += lseek(fd, at, SEEK_HOLE) != (want_hole < at ? at : want_hole);
    }
    p_equal("holes.pieces.wrong", wrong, 0);
    X("holes.pieces.data-end", lseek(fd, SIZE, SEEK_DATA), ENXIO);
    X("holes.pieces.hole-end", lseek(fd, SIZE, SEEK_HOLE), ENXIO);
    p_equal("holes.pieces.hole-last", lseek(fd, SIZE - 1, SEEK_HOLE), SIZE - 1);
    p_true("holes.pieces.blocks", p_stat("pieces").st_blocks > 0 && p_stat("pieces").st_blocks < SIZE / 512);
    MUST(close(fd));
}

static void folders(void)
{
    p_dir("folder", 0755);
    int fd = open("folder", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(fd);
    p_equal("holes.folder.empty.data", lseek(fd, 0, SEEK_DATA), 0);
    p_true("holes.folder.empty.hole", lseek(fd, 0, SEEK_HOLE) > 0);
    p_true("holes.folder.empty.size", p_stat("folder").st_size > 0);
    p_file("folder/x", 0644, 1);
    p_equal("holes.folder.data", lseek(fd, 0, SEEK_DATA), 0);
    p_true("holes.folder.hole", lseek(fd, 0, SEEK_HOLE) > 0);
    MUST(close(fd));
}

/* Stored into a hole through a mapping, before and after it was written back. */
static void stored(void)
{
    int fd = open("stored", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(ftruncate(fd, 8 * B));
    char *m = mmap(NULL, 8 * B, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    MUST(m == MAP_FAILED ? -1 : 0);
    m[5 * B + 1] = 's';
    p_equal("holes.stored.data", lseek(fd, 0, SEEK_DATA), 5 * B);
    p_true("holes.stored.blocks", p_stat("stored").st_blocks > 0);
    MUST(msync(m, 8 * B, MS_SYNC));
    p_equal("holes.stored.synced.data", lseek(fd, 0, SEEK_DATA), 5 * B);
    p_equal("holes.stored.synced.hole", lseek(fd, 5 * B, SEEK_HOLE), 6 * B);
    p_true("holes.stored.synced.blocks", p_stat("stored").st_blocks > 0);
    MUST(munmap(m, 8 * B));
    MUST(close(fd));
}

/* The kth place: each of the 4 Mi blocks at most once. */
static off_t place(unsigned k)
{
    return (off_t)((uint64_t)k * 2654435761u % (1u << 22)) * B;
}

static void random_writes(void)
{
    enum { WRITES = 1500 };
    static char buf[B], want[B];
    int fd = open("large", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);
    MUST(fd);
    MUST(ftruncate(fd, (off_t)16 << 30));
    for (unsigned k = 0; k < WRITES; k++) {
        memset(buf, 'A' + (int)(k % 26), sizeof(buf));
        memcpy(buf, &k, sizeof(k));
        MUST(pwrite(fd, buf, B, place(k)));
    }
    p_equal("holes.large.size", p_stat("large").st_size == (off_t)16 << 30, 1);
    MUST(fsync(fd));
    MUST(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
    p_equal("holes.large.blocks", p_stat("large").st_blocks / 100,
            WRITES * 8 / 100); /* ext4: tree blocks besides */
    int wrong = 0, runs = 0;
    for (unsigned k = 0; k < WRITES; k++) {
        memset(want, 'A' + (int)(k % 26), sizeof(want));
        memcpy(want, &k, sizeof(k));
        wrong += pread(fd, buf, B, place(k)) != B || memcmp(buf, want, B) != 0;
    }
    p_equal("holes.large.wrong", wrong, 0);
    /* what SEEK_DATA and SEEK_HOLE name is all of it */
    off_t data = 0, hole, total = 0;
    while ((data = lseek(fd, data, SEEK_DATA)) >= 0 && (hole = lseek(fd, data, SEEK_HOLE)) > data) {
        total += hole - data;
        runs++;
        data = hole;
    }
    p_equal("holes.large.data", total, (long long)WRITES * B);
    p_true("holes.large.runs", runs > WRITES * 9 / 10);
    X("holes.large.half", ftruncate(fd, (off_t)8 << 30), 0);
    wrong = 0;
    for (unsigned k = 0; k < WRITES; k++)
        wrong += pread(fd, buf, B, place(k)) != (place(k) < (off_t)8 << 30 ? B : 0);
    p_equal("holes.large.half-wrong", wrong, 0);
    X("holes.large.unlink", unlink("large"), 0);
    MUST(close(fd));
}

void holes_run(void)
{
    seeks();
    pieces();
    folders();
    stored();
    random_writes();
}
