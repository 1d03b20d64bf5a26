/*
 * storeid.c - see storeid.h. No state. */
#include "ctl/transfer/storeid.h"

#include "shared/control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of the superblock, docs/FORMAT.md: two equal copies. */
enum { SUPERBLOCK_COPY = 4096, UUID_AT = 24 };
static const char superblock_magic[] = "EENGFS01";

/* Has that superblock in folder `fd` this uuid? 1 yes, 0 no, -ENOENT there is none, or another error. */
static int file_has(int fd, const char *name, const uint8_t uuid[STOREID_SIZE])
{
    uint8_t data[2 * SUPERBLOCK_COPY] = {0};
    int file = openat(fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        return -errno;
    ssize_t n = pread(file, data, sizeof data, 0);
    close(file);
    if (n < 0)
        return -errno;
    for (int copy = 0; copy < 2; copy++) {
        const uint8_t *at = data + (size_t)copy * SUPERBLOCK_COPY;
        if (!memcmp(at, superblock_magic, sizeof superblock_magic - 1) &&
            !memcmp(at + UUID_AT, uuid, STOREID_SIZE))
            return 1;
    }
    return 0;
}

/* The second one stands in for a first that is damaged or missing. */
int storeid_has(int fd, const uint8_t uuid[STOREID_SIZE])
{
    int r = file_has(fd, "superblock", uuid);
    return r != 1 && file_has(fd, "superblock.copy", uuid) == 1 ? 1 : r;
}

static bool parse_uuid(const char *text, uint8_t ret[STOREID_SIZE])
{
    if (!text)
        return false;
    for (size_t i = 0; i < STOREID_SIZE; i++) {
        unsigned byte;
        if (!text[0] || !text[1] || sscanf(text, "%2x", &byte) != 1)
            return false;
        ret[i] = (uint8_t)byte;
        text += 2;
    }
    return !*text;
}

/* What the mount says of its store. */
static int read_identity(const char *mountpoint, uint8_t ret_uuid[STOREID_SIZE], struct stat *ret_folder,
                         char ret_why[512])
{
    struct buf text = {0};
    int r = control_read(mountpoint, "hold", &text);
    json_t *o = !r ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    buf_done(&text);
    bool known = parse_uuid(json_string_value(json_object_get(o, "store_uuid")), ret_uuid);
    ret_folder->st_dev = (dev_t)json_integer_value(json_object_get(o, "store_device"));
    ret_folder->st_ino = (ino_t)json_integer_value(json_object_get(o, "store_inode"));
    json_decref(o);
    if (!r && known)
        return 0;
    snprintf(ret_why, 512, "%s: %s", mountpoint,
             r ? control_strerror(r) : "its daemon does not say which store it has: it is an older one");
    return r ? r : -EPROTO;
}

int storeid_prove(const char *mountpoint, uid_t user, const char *store, int fd,
                  uint8_t ret_uuid[STOREID_SIZE], char ret_why[512])
{
    struct stat said = {0}, folder;
    int r = read_identity(mountpoint, ret_uuid, &said, ret_why);
    if (r < 0)
        return r;
    if (fstat(fd, &folder) < 0 || folder.st_dev != said.st_dev || folder.st_ino != said.st_ino ||
        storeid_has(fd, ret_uuid) != 1) {
        snprintf(ret_why, 512, "%.230s is not the store that is mounted on %.230s", store, mountpoint);
        return -EXDEV;
    }
    if (user == 0 || user == geteuid() || user == folder.st_uid)
        return 0;
    snprintf(ret_why, 512, "%.200s is not a store of user %u, who has mounted %.200s", store, (unsigned)user,
             mountpoint);
    return -EPERM;
}

int storeid_open(const char *mountpoint, uid_t user, const char *store, char ret_why[512])
{
    uint8_t uuid[STOREID_SIZE];
    int fd = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = fd < 0 ? -errno : 0;
    if (r < 0)
        snprintf(ret_why, 512, "%.400s, the store of the mount: %s (--store names it as it is here)", store,
                 strerror(-r));
    else
        r = storeid_prove(mountpoint, user, store, fd, uuid, ret_why);
    if (r < 0 && fd >= 0)
        close(fd);
    return r < 0 ? r : fd;
}
