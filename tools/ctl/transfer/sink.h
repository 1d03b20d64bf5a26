/*
 * sink.h - the content of one large file on its way into a target. As long as what comes is what the file of
 * that name has already nothing is written, so that what is imported twice is not touched; from the first
 * difference on a new file is written, which takes the name at the end (stream_open(), target_ops.h). */
#ifndef ENGRAMCTL_SINK_H
#define ENGRAMCTL_SINK_H

#include "ctl/transfer/target_ops.h"

struct sink {
    struct target *t;             /* borrowed, as is rec */
    struct eng_record *rec;       /* its content is not looked at */
    struct target_attr have;      /* of the old file */
    struct target_file old, file; /* the old file, for reading; the new one */
    bool has_old, has_file;
    uint64_t pos; /* everything before is there */
    char *piece;
};

/* `over`: what has the name, anything but a directory, is not looked at, and is replaced at the end. */
int sink_open(struct sink *s, struct target *t, struct eng_record *rec, bool over);
/* `offset` never goes back; what is left out is a hole. */
int sink_write(struct sink *s, const void *buf, size_t n, uint64_t offset);
/* The whole content came. */
int sink_end(struct sink *s, uint64_t size);
/* In any case. With an error, which is returned, the target is as it was. */
int sink_close(struct sink *s, int r);

#endif
