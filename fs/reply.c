/*
 * reply.c - see reply.h. State: a buffer for each thread. No locks. */
#include "reply.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "room.h"

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;
static __thread struct {
    void *data;
    size_t size;
} thread_buffer;

static void buffer_key_init(void)
{
    (void)pthread_key_create(&buffer_key, free);
}

void *reply_buffer(size_t size)
{
    if (thread_buffer.size >= size && thread_buffer.data)
        return thread_buffer.data;
    (void)pthread_once(&buffer_once, buffer_key_init);
    size_t rounded = (size + 65535) / 65536 * 65536;
    free(thread_buffer.data);
    thread_buffer.data = aligned_alloc(4096, rounded ? rounded : 65536);
    thread_buffer.size = thread_buffer.data ? rounded : 0;
    (void)pthread_setspecific(buffer_key, thread_buffer.data); /* freed when the thread ends */
    return thread_buffer.data;
}

void reply_err(fuse_req_t req, enum request_op op, int err)
{
    if (err == -EAGAIN && room_changes(op)) {
        if (room_put_aside(req, op))
            return;
        err = -ENOSPC;
    }
    if (err == -EBADMSG)
        err = -EIO;
    bool expected = (op == REQUEST_lookup && err == -ENOENT) || (op == REQUEST_getxattr && err == -ENODATA);
    if (err && !expected)
        request_failed(&session_of(req)->stats, op);
    (void)fuse_reply_err(req, -err);
}

void reply_xattr(fuse_req_t req, enum request_op op, const char *value, size_t n, size_t size)
{
    if (size == 0)
        (void)fuse_reply_xattr(req, n);
    else if (n > size)
        reply_err(req, op, -ERANGE);
    else
        (void)fuse_reply_buf(req, value, n);
}

struct timespec reply_time(int64_t ns)
{
    struct timespec ts = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    if (ts.tv_nsec < 0) {
        ts.tv_nsec += 1000000000;
        ts.tv_sec--;
    }
    return ts;
}
