/*
 * pieces_shim.c - for LD_PRELOAD: a file system that has, of each file, the blocks of 512 bytes with even
 * numbers, and a hole behind each of them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

off_t lseek64(int fd, off_t offset, int whence)
{
    off_t (*real)(int, off_t, int) = (off_t(*)(int, off_t, int))dlsym(RTLD_NEXT, "lseek64");
    struct stat st;
    if ((whence != SEEK_DATA && whence != SEEK_HOLE) || fstat(fd, &st) < 0)
        return real(fd, offset, whence);
    if (offset >= st.st_size) {
        errno = ENXIO;
        return -1;
    }
    off_t block = offset / 512, sought = whence == SEEK_DATA ? 0 : 1;
    off_t at = block % 2 == sought ? offset : (block + 1) * 512;
    return at < st.st_size ? at : st.st_size;
}
