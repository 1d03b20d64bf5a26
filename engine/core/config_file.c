/*
 * config_file.c - see config_file.h. */
#include "core/config_file.h"

#include "base/fault.h"
#include "base/util.h"
#include "disk/codec.h"

#include <inttypes.h>
#include <stdio.h>

/* Before the text; `of` is the time of config, ns, 0: not known. */
#define HEAD "engramfs config.copy 1 store=%016" PRIx64 " of=%" PRId64 " sum=%016" PRIx64 "\n"
#define HEAD_MAX (CONFIG_COPY_MAX - CONFIG_MAX)

const char *const config_names[2] = {CONFIG_FILE, CONFIG_COPY};

/* ---- the copy ------------------------------------------------------------ */

/* Of the text, and of what the head says. */
static uint64_t copy_sum(uint64_t store, int64_t of, const char *text, size_t size)
{
    uint64_t summed[4] = {store, (uint64_t)of, size, codec_hash(text, size)};
    return codec_hash(summed, sizeof summed);
}

struct copy {
    char *data;
    size_t text, size; /* where its text begins, and that of all */
    int64_t of;
};

static int parse_copy(const char *data, size_t size, uint64_t store, size_t *ret_text, int64_t *ret_of)
{
    char head[HEAD_MAX];
    uint64_t says = 0, sum = 0;
    const char *end = memchr(data, '\n', MIN_OF(size, (size_t)HEAD_MAX));
    if (!end)
        return -EBADMSG;
    int n = sscanf(data, "engramfs config.copy 1 store=%" SCNx64 " of=%" SCNd64 " sum=%" SCNx64, &says,
                   ret_of, &sum);
    *ret_text = (size_t)(end + 1 - data);
    if (n != 3 || says != store || sum != copy_sum(says, *ret_of, end + 1, size - *ret_text))
        return -EBADMSG;
    int len = snprintf(head, sizeof head, HEAD, says, *ret_of, sum);
    return len == (int)*ret_text && memcmp(head, data, *ret_text) == 0 ? 0 : -EBADMSG;
}

int config_copy_check(const char *data, size_t size, uint64_t store, size_t *ret_at)
{
    int64_t of = 0;
    return parse_copy(data, size, store, ret_at, &of);
}

static int read_copy(struct eng_io *io, uint64_t store, struct copy *c)
{
    *c = (struct copy){0};
    int r = io_read_file(io, CONFIG_COPY, CONFIG_COPY_MAX, &c->data, &c->size);
    return r ? r : parse_copy(c->data, c->size, store, &c->text, &c->of);
}

static int write_copy(struct eng_io *io, uint64_t store, int64_t of, const char *text, size_t size)
{
    CLEANUP_FREE char *data = malloc(HEAD_MAX + size);
    if (!data)
        return -ENOMEM;
    int n = snprintf(data, HEAD_MAX, HEAD, store, of, copy_sum(store, of, text, size));
    memcpy(data + n, text, size);
    return io_replace_file(io, CONFIG_COPY, data, (size_t)n + size);
}

/* ---- reading ------------------------------------------------------------ */

/* When config was written; 0: not known. */
static int64_t time_of(struct eng_io *io)
{
    struct io_file *file;
    int64_t t = 0;
    if (!io->ops->written_at || io->ops->open(io, CONFIG_FILE, IO_RDONLY, &file) != 0)
        return 0;
    if (io->ops->written_at(file, &t) != 0)
        t = 0;
    io->ops->close(file);
    return t;
}

static enum config_sight judge(const struct config_text *t, const struct copy *c, int64_t of)
{
    size_t size = c->size - c->text;
    if (t->text && t->size == size && memcmp(t->text, c->data + c->text, size) == 0)
        return c->of == of ? CONFIG_WHOLE : CONFIG_COPY_OLD;
    bool is_there = t->text || t->error == -EFBIG;
    return is_there && of && c->of != of ? CONFIG_EDITED : CONFIG_DAMAGED;
}

static int take_copy(struct config_text *t, const struct copy *c)
{
    size_t size = c->size - c->text;
    char *text = malloc(size + 1);
    if (!text)
        return -ENOMEM;
    memcpy(text, c->data + c->text, size);
    text[size] = '\0';
    free(t->text);
    t->text = text;
    t->size = size;
    return 0;
}

int config_file_read(struct eng_io *io, uint64_t store, struct config_text *ret)
{
    struct copy c;
    *ret = (struct config_text){0};
    int r = io_read_file(io, CONFIG_FILE, CONFIG_MAX, &ret->text, &ret->size);
    if (r == -ENOMEM)
        return r;
    int error = read_copy(io, store, &c);
    if (error) { /* then there is only the one */
        ret->sight = r ? CONFIG_WHOLE : CONFIG_COPY_BAD;
        ret->error = error;
    } else {
        ret->error = r ? r : -EBADMSG;
        ret->sight = judge(ret, &c, time_of(io));
        r = ret->sight == CONFIG_DAMAGED ? take_copy(ret, &c) : 0;
    }
    free(c.data);
    return r;
}

/* ---- writing ------------------------------------------------------------ */

int config_file_write(struct eng_io *io, uint64_t store, const char *text, size_t size)
{
    int r = io_replace_file(io, CONFIG_FILE, text, size);
    return r ? r : write_copy(io, store, time_of(io), text, size);
}

static const char *what_is_wrong(int error)
{
    if (error == -ENOENT)
        return "it is missing";
    return error == -EBADMSG ? "it is damaged" : strerror(-error);
}

void config_file_mend(struct eng_io *io, uint64_t store, struct report *report, const struct config_text *t,
                      bool read_only)
{
    bool mends = !read_only && !MUTANT(COPY_UNMENDED);
    int r = -EROFS;
    if (t->sight == CONFIG_WHOLE)
        return;
    if (mends && t->sight == CONFIG_DAMAGED)
        r = config_file_write(io, store, t->text, t->size);
    else if (mends)
        r = write_copy(io, store, time_of(io), t->text, t->size);
    if (t->sight == CONFIG_DAMAGED)
        report_line(report, ENG_LOG_WARNING, CONFIG_FILE ": %s; " CONFIG_COPY " %s", what_is_wrong(t->error),
                    r ? "stands in for it" : "has it written anew; to have the defaults remove both");
    else if (t->sight == CONFIG_COPY_BAD && t->error != -ENOENT)
        report_line(report, ENG_LOG_WARNING, CONFIG_COPY ": %s%s", what_is_wrong(t->error),
                    r ? "" : "; written anew from " CONFIG_FILE);
}
