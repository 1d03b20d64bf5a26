/*
 * folder.c - who can open the folder of a store. No state. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin.h"

bool eng_folder_is_open(int folder)
{
    struct stat st, above;
    if (fstat(folder, &st) != 0)
        return false;
    bool others = st.st_mode & S_IROTH;
    bool group = (st.st_mode & S_IRGRP) && st.st_gid != getegid();
    /* Nor does it matter where they cannot come. */
    int at = openat(folder, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    while (at >= 0 && (others || group) && fstat(at, &above) == 0 &&
           (above.st_dev != st.st_dev || above.st_ino != st.st_ino)) {
        others = others && (above.st_mode & S_IXOTH);
        group = group && (above.st_mode & (S_IXGRP | S_IXOTH));
        st = above;
        int next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        (void)close(at);
        at = next;
    }
    if (at >= 0)
        (void)close(at);
    return others || group;
}
