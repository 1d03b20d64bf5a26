/*
 * superblock_file.c - see superblock_file.h. */
#include "disk/superblock_file.h"

const char *const superblock_names[SUPERBLOCK_FILES] = {SUPERBLOCK_FILE, SUPERBLOCK_FILE ".copy"};

struct image {
    uint8_t data[2 * SUPERBLOCK_SIZE];
    size_t size;
};

/* Each half by itself: one that cannot be read is zeros, as long as the other can be. */
static int read_halves(struct io_file *file, const struct eng_io_ops *ops, struct image *image)
{
    uint64_t size = 0;
    unsigned n_bad = 0;
    int r = ops->file_size(file, &size);
    if (!r && size > sizeof image->data)
        r = -EFBIG;
    for (uint64_t at = 0; !r && at < size; at += SUPERBLOCK_SIZE) {
        size_t len = (size_t)MIN_OF(size - at, (uint64_t)SUPERBLOCK_SIZE);
        ssize_t n = io_pread_full(file, ops, image->data + at, len, at);
        if (n == -EIO)
            memset(image->data + at, 0, len);
        r = n < 0 && (n != -EIO || ++n_bad == 2) ? (int)n : 0;
    }
    image->size = (size_t)size;
    return r;
}

static int read_file(struct eng_io *io, unsigned which, struct superblock *ret_sb, struct image *image)
{
    struct io_file *file;
    memset(image, 0, sizeof *image);
    int r = io->ops->open(io, superblock_names[which], IO_RDONLY, &file);
    if (r)
        return r;
    r = read_halves(file, io->ops, image);
    io->ops->close(file);
    return r ? r : superblock_decode(image->data, image->size, ret_sb);
}

static bool is_whole(const struct image *image, const struct superblock *sb)
{
    uint8_t expect[2 * SUPERBLOCK_SIZE];
    superblock_encode(sb, expect);
    return image->size == sizeof expect && memcmp(image->data, expect, sizeof expect) == 0;
}

bool superblock_is_ahead(const uint8_t *data, size_t size, const struct superblock *sb)
{
    struct superblock ahead, same;
    if (size != 2 * SUPERBLOCK_SIZE || superblock_decode(data, size, &ahead) != 0)
        return false;
    same = *sb;
    same.incompat = ahead.incompat;
    uint8_t expect[2 * SUPERBLOCK_SIZE];
    superblock_encode(&same, expect);
    return memcmp(data, expect, sizeof expect) == 0 && (ahead.incompat & sb->incompat) == sb->incompat &&
           ahead.incompat != sb->incompat;
}

int superblock_read(struct eng_io *io, struct superblock *ret_sb, int ret_errors[SUPERBLOCK_FILES])
{
    struct image images[SUPERBLOCK_FILES];
    struct superblock found[SUPERBLOCK_FILES];
    for (unsigned i = 0; i < SUPERBLOCK_FILES; i++)
        ret_errors[i] = read_file(io, i, &found[i], &images[i]);
    int first = ret_errors[0];
    if (first == -EPROTONOSUPPORT || first == -ENOMEM || (first && ret_errors[1]))
        return first == -ENOENT ? ret_errors[1] : first;
    *ret_sb = found[first ? 1 : 0];
    for (unsigned i = 0; i < SUPERBLOCK_FILES; i++)
        if (!ret_errors[i] && !is_whole(&images[i], ret_sb))
            ret_errors[i] =
                i && superblock_is_ahead(images[i].data, images[i].size, ret_sb) ? -ESTALE : -EBADMSG;
    return 0;
}

int superblock_write_file(struct eng_io *io, const struct superblock *sb, unsigned which)
{
    uint8_t image[2 * SUPERBLOCK_SIZE];
    superblock_encode(sb, image);
    return io_replace_file(io, superblock_names[which], image, sizeof image);
}

int superblock_write(struct eng_io *io, const struct superblock *sb)
{
    int r = 0;
    for (unsigned i = 0; i < SUPERBLOCK_FILES && !r; i++)
        r = superblock_write_file(io, sb, i);
    return r;
}

int superblock_replace(struct eng_io *io, const struct superblock *sb)
{
    int r = 0;
    for (unsigned i = SUPERBLOCK_FILES; i-- > 0 && !r;)
        r = superblock_write_file(io, sb, i);
    return r;
}
