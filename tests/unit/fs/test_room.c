/*
 * test_room.c - requests that wait for room on a full disk: how often they are handled anew, what room is
 * made for them, that an interrupt is kept, who has a place, how long a folder is kept, and the end. libfuse,
 * waiters.c, the engine and the clock are played here. */
#include "room.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "waiters.h"

/* The numbers of room.c. */
enum { TRIES = 64, PLACES = 1024, OF_STRANGERS = PLACES / 4 * 3, OF_ONE = PLACES / 2, BACKGROUND = 32 };
enum { BYTES = 64 << 20, BIG = 1 << 20, TOO_MANY = 1000 };

struct fuse_req {
    struct fuse_ctx ctx;
    bool interrupted;
};
struct waiter {
    fuse_req_t req;
    waiter_reply *reply;
    size_t size;
};

static struct fs_options options;
static struct session session = {.opt = &options, .uid = 7};
static struct fuse_req request; /* the one that is handled anew */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned n_handled, n_watched, n_ended, n_cancelled, n_makes;
static _Atomic size_t room_wanted;
static _Atomic bool making, held, must_stop, again, handles_unknown;
static _Atomic int64_t limit,
    clock_ahead;           /* until when the last may wait, 0: no end; what the clock says more, ns */
static _Atomic int put_as; /* what the handler of the thread puts aside again */
/* Protected by lock: */
static int last_error;
static bool is_over; /* the request got its answer */

/* ---- what is played ------------------------------------------------------------------------ */

void *fuse_req_userdata(fuse_req_t req)
{
    (void)req;
    return &session;
}

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    return &req->ctx;
}

int fuse_req_interrupted(fuse_req_t req)
{
    return req->interrupted;
}

void fuse_reply_none(fuse_req_t req)
{
    (void)req;
}

static void end_with(int error)
{
    (void)pthread_mutex_lock(&lock);
    last_error = error;
    is_over = true;
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    atomic_fetch_add(&n_ended, 1);
}

int fuse_reply_err(fuse_req_t req, int error)
{
    (void)req;
    end_with(error);
    return 0;
}

struct waiter *waiter_begin(struct waiters *all, fuse_req_t req, waiter_reply *reply, size_t size)
{
    (void)all;
    struct waiter *w = malloc(sizeof *w);
    if (w)
        *w = (struct waiter){.req = req, .reply = reply, .size = size};
    return w;
}

void waiter_watch(struct waiter *w)
{
    (void)w;
    atomic_fetch_add(&n_watched, 1);
}

bool waiter_limit(struct waiter *w, int64_t end, int result)
{
    (void)w;
    cr_assert_eq(result, -ENOSPC);
    atomic_store(&limit, end);
    return true;
}

void waiter_abandon(struct waiter *w)
{
    free(w);
}

void waiter_ready(struct waiter *w)
{
    (void)w;
}

void waiter_done(struct waiter *w, int result, const char *text)
{
    w->reply(w->req, result, w->size, text);
    free(w);
}

bool waiter_must_stop(fuse_req_t req)
{
    (void)req;
    return atomic_load(&must_stop);
}

/* The handler finds no room, as often as it is asked, and has the request put aside; ENOSPC if it is not. */
void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buf)
{
    (void)se, (void)buf;
    unsigned n = atomic_fetch_add(&n_handled, 1) + 1;
    if (!room_is_handling())
        atomic_store(&handles_unknown, true);
    request.interrupted = false; /* the kernel interrupts once */
    if (!atomic_load(&again) || n >= TOO_MANY ||
        !room_put_aside(&request, (enum request_op)atomic_load(&put_as)))
        end_with(ENOSPC);
}

int __wrap_eng_make_room(struct eng *eng, uint64_t size);
int __wrap_eng_job_cancel(struct eng *eng, enum eng_job_id id);

enum { FOLDER = 1, FILE_OF_IT = 2, OTHER_FOLDER = 3 };
int __wrap_eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr);
int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now);
int __real_clock_gettime(clockid_t id, struct timespec *ret_now);

int __wrap_eng_getattr(struct eng *eng, uint64_t ino, struct eng_attr *ret_attr)
{
    (void)eng;
    *ret_attr = (struct eng_attr){.ino = ino, .mode = ino == FILE_OF_IT ? S_IFREG : S_IFDIR};
    return 0;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ret_now)
{
    int r = __real_clock_gettime(id, ret_now);
    if (id == CLOCK_MONOTONIC)
        ret_now->tv_sec += atomic_load(&clock_ahead) / 1000000000;
    return r;
}

int __wrap_eng_make_room(struct eng *eng, uint64_t size)
{
    (void)eng;
    atomic_store(&room_wanted, size);
    atomic_fetch_add(&n_makes, 1);
    (void)pthread_mutex_lock(&lock);
    atomic_store(&making, true);
    (void)pthread_cond_broadcast(&changed);
    while (atomic_load(&held))
        (void)pthread_cond_wait(&changed, &lock);
    atomic_store(&making, false);
    (void)pthread_mutex_unlock(&lock);
    return atomic_load(&must_stop) ? -ENOSPC : 0;
}

int __wrap_eng_job_cancel(struct eng *eng, enum eng_job_id id)
{
    (void)eng, (void)id;
    /* the first one comes before there is a compaction to cancel */
    if (atomic_fetch_add(&n_cancelled, 1) + 1 >= 3) {
        (void)pthread_mutex_lock(&lock);
        atomic_store(&held, false);
        (void)pthread_cond_broadcast(&changed);
        (void)pthread_mutex_unlock(&lock);
    }
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

static char bytes[BIG] __attribute__((aligned(16)));

static bool put_aside(uid_t uid, size_t size, enum request_op op)
{
    static struct fuse_req all[4096]; /* they live until they are answered */
    static unsigned n;
    cr_assert_lt(n, sizeof all / sizeof *all);
    struct fuse_req *req = &all[n++];
    req->ctx.uid = uid;
    room_note_request(bytes, size);
    bool is_aside = room_put_aside(req, op);
    room_note_request(NULL, 0);
    return is_aside;
}

static void write_head(uint32_t opcode, const void *in, size_t size)
{
    struct fuse_in_header head = {.opcode = opcode};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, in, size);
}

static void setup(void)
{
    memset(bytes, 0, sizeof bytes);
    session.room = room_new(&session);
    cr_assert_not_null(session.room);
}

static void teardown(void)
{
    atomic_store(&held, true); /* until it is cancelled for the third time */
    if (!atomic_load(&making))
        atomic_store(&held, false);
    room_free(session.room);
}

TestSuite(room, .init = setup, .fini = teardown, .timeout = 30);

/* The first is in the thread, where it waits for room: all others stay where they are. */
static void hold_the_thread(void)
{
    atomic_store(&held, true);
    cr_assert(put_aside(0, 100, REQUEST_write));
    (void)pthread_mutex_lock(&lock);
    while (!atomic_load(&making))
        (void)pthread_cond_wait(&changed, &lock);
    (void)pthread_mutex_unlock(&lock);
}

static int await_answer(void)
{
    (void)pthread_mutex_lock(&lock);
    while (!is_over)
        (void)pthread_cond_wait(&changed, &lock);
    int error = last_error;
    (void)pthread_mutex_unlock(&lock);
    return error;
}

/* ---- tests ---------------------------------------------------------------------------------- */

Test(room, what_never_finds_it_is_handled_anew_so_often_and_no_more)
{
    atomic_store(&again, true);
    atomic_store(&put_as, REQUEST_write);
    cr_assert(put_aside(5, 200, REQUEST_write));
    cr_assert_eq(await_answer(), ENOSPC);
    cr_assert_eq(atomic_load(&n_handled), TRIES, "%u times", atomic_load(&n_handled));
    cr_assert_eq(atomic_load(&n_makes), TRIES);
}

Test(room, its_thread_is_told_from_others)
{
    room_note_request(bytes, sizeof bytes);
    cr_expect_not(room_is_handling());
    room_note_request(NULL, 0);
    cr_assert(put_aside(5, 200, REQUEST_write));
    cr_assert_eq(await_answer(), ENOSPC);
    cr_expect_not(room_is_handling() || atomic_load(&handles_unknown));
}

/* What has to wait is a request that changes something. */
Test(room, what_changes_nothing_does_not_wait)
{
    cr_assert_not(put_aside(5, 200, REQUEST_getattr));
    cr_assert_not(put_aside(5, 200, REQUEST_fsync));
}

static size_t wanted_of(size_t size, enum request_op op)
{
    cr_assert(put_aside(5, size, op));
    cr_assert_eq(await_answer(), ENOSPC);
    return atomic_load(&room_wanted);
}

Test(room, is_made_for_what_a_copy_copies)
{
    struct fuse_copy_file_range_in in = {.len = 700000};
    write_head(FUSE_COPY_FILE_RANGE, &in, sizeof in);
    size_t wanted = wanted_of(sizeof(struct fuse_in_header) + sizeof in, REQUEST_copy_file_range);
    cr_assert_eq(wanted, 700000, "%zu", wanted);
}

Test(room, is_made_for_no_more_than_the_engine_copies_at_a_time)
{
    struct fuse_copy_file_range_in in = {.len = UINT64_C(1) << 40};
    write_head(FUSE_COPY_FILE_RANGE, &in, sizeof in);
    size_t wanted = wanted_of(sizeof(struct fuse_in_header) + sizeof in, REQUEST_copy_file_range);
    cr_assert_eq(wanted, 1 << 20, "%zu", wanted);
}

Test(room, is_made_for_what_a_write_brings)
{
    struct fuse_write_in in = {.size = 300000};
    write_head(FUSE_WRITE, &in, sizeof in);
    cr_assert_eq(wanted_of(300000, REQUEST_write), 300000);
}

/* It comes once, in one try of many: each later one is watched for the caller's signals. */
Test(room, an_interrupt_is_carried_from_one_try_to_the_next)
{
    struct fuse_req req = {.ctx = {.uid = 5}, .interrupted = true};
    atomic_store(&again, true);
    atomic_store(&put_as, REQUEST_write);
    room_note_request(bytes, 200);
    cr_assert(room_put_aside(&req, REQUEST_write));
    cr_assert_eq(await_answer(), ENOSPC);
    room_note_request(NULL, 0);
    cr_assert_eq(atomic_load(&n_watched), TRIES - 1, "%u", atomic_load(&n_watched));
}

Test(room, one_that_must_stop_the_caller_ends_it)
{
    struct fuse_req req = {.ctx = {.uid = 5}, .interrupted = true};
    atomic_store(&must_stop, true);
    room_note_request(bytes, 200);
    cr_assert(room_put_aside(&req, REQUEST_write));
    cr_assert_eq(await_answer(), EINTR);
    room_note_request(NULL, 0);
    cr_assert_eq(atomic_load(&n_handled), 0);
}

/* How many find a place. */
static unsigned fill(uid_t uid, size_t size, enum request_op op)
{
    unsigned n = 0;
    while (n < TOO_MANY * 2 && put_aside(uid, size, op))
        n++;
    return n;
}

Test(room, one_user_has_half_of_the_places_and_root_the_last_quarter)
{
    hold_the_thread(); /* one of root's */
    cr_assert_eq(fill(5, 100, REQUEST_write), OF_ONE);
    cr_assert_eq(fill(6, 100, REQUEST_write), OF_STRANGERS - OF_ONE - 1);
    cr_assert_eq(fill(8, 100, REQUEST_write), 0);
    cr_assert(put_aside(7, 100, REQUEST_write), "who mounted");
    cr_assert_eq(fill(0, 100, REQUEST_write), PLACES - OF_STRANGERS - 1);
    cr_assert_not(put_aside(7, 100, REQUEST_write));
}

Test(room, and_so_it_is_with_bytes)
{
    hold_the_thread();
    cr_assert_eq(fill(5, BIG, REQUEST_write), BYTES / BIG / 2);
    cr_assert_eq(fill(6, BIG, REQUEST_write), BYTES / BIG / 4 - 1);
    cr_assert(put_aside(6, 100, REQUEST_write), "what is small fits");
    cr_assert_eq(fill(0, BIG, REQUEST_write), BYTES / BIG / 4);
}

/* Reads ahead are of that kind, too, and wait for those. */
Test(room, no_more_in_the_background_than_half_of_what_the_kernel_sends)
{
    struct fuse_write_in in = {.write_flags = FUSE_WRITE_CACHE};
    hold_the_thread();
    write_head(FUSE_WRITE, &in, sizeof in);
    cr_assert_eq(fill(0, 4096, REQUEST_write), BACKGROUND);
    in.write_flags = 0;
    write_head(FUSE_WRITE, &in, sizeof in);
    cr_assert(put_aside(0, 4096, REQUEST_write));
}

/* ---- folders ------------------------------------------------------------------------------- */

static bool put_name(uid_t uid, enum request_op op, uint64_t ino, uint64_t new_folder)
{
    struct fuse_in_header head = {.nodeid = ino};
    struct fuse_rename_in in = {.newdir = new_folder};
    memcpy(bytes, &head, sizeof head);
    memcpy(bytes + sizeof head, &in, sizeof in);
    atomic_store(&limit, 0);
    return put_aside(uid, 200, op);
}

static void pass(int64_t seconds)
{
    atomic_fetch_add(&clock_ahead, seconds * 1000000000);
}

Test(room, a_folder_is_kept_from_removals_for_a_second_and_no_more)
{
    hold_the_thread();
    cr_assert(put_name(5, REQUEST_mkdir, FOLDER, 0));
    const int64_t end = atomic_load(&limit);
    cr_assert_neq(end, 0);
    cr_assert(put_name(6, REQUEST_create, FOLDER, 0));
    cr_assert_eq(atomic_load(&limit), end, "the next one has what is left");
    pass(1);
    const enum request_op all[] = {REQUEST_mknod,  REQUEST_mkdir,  REQUEST_symlink, REQUEST_link,
                                   REQUEST_create, REQUEST_rename, REQUEST_setattr, REQUEST_setxattr};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        cr_assert_not(put_name(6, all[i], FOLDER, FOLDER), "%d", (int)all[i]);
    cr_assert(put_name(6, REQUEST_mkdir, OTHER_FOLDER, 0), "another one");
    cr_assert_gt(atomic_load(&limit), end);
}

Test(room, who_keeps_no_folder_waits_as_long_as_it_takes)
{
    hold_the_thread();
    cr_assert(put_name(5, REQUEST_mkdir, FOLDER, 0));
    pass(1);
    const enum request_op of_files[] = {REQUEST_setattr, REQUEST_setxattr, REQUEST_write, REQUEST_unlink};
    for (size_t i = 0; i < sizeof of_files / sizeof *of_files; i++) {
        cr_assert(put_name(5, of_files[i], FILE_OF_IT, 0));
        cr_assert_eq(atomic_load(&limit), 0);
    }
    const uid_t trusted[] = {0, 7};
    for (size_t i = 0; i < 2; i++) {
        cr_assert(put_name(trusted[i], REQUEST_mkdir, FOLDER, 0));
        cr_assert_eq(atomic_load(&limit), 0);
    }
}

Test(room, a_rename_keeps_both_folders_and_all_others_of_that_kind)
{
    hold_the_thread();
    cr_assert(put_name(5, REQUEST_rename, FOLDER, OTHER_FOLDER));
    pass(1);
    cr_assert_not(put_name(5, REQUEST_mkdir, OTHER_FOLDER, 0));
    cr_assert_not(put_name(5, REQUEST_rename, 10, 11), "from one folder to another");
    cr_assert(put_name(5, REQUEST_rename, 10, 10));
}

/* A stranger's request is handled anew when his second is over, and refused. */
static void retry_in_vain(void)
{
    atomic_store(&again, true);
    atomic_store(&put_as, REQUEST_mkdir);
    atomic_store(&held, true);
    cr_assert(put_name(5, REQUEST_mkdir, FOLDER, 0));
    (void)pthread_mutex_lock(&lock);
    while (!atomic_load(&making))
        (void)pthread_cond_wait(&changed, &lock);
    pass(1);
    request.ctx.uid = 5;
    atomic_store(&held, false);
    (void)pthread_cond_broadcast(&changed);
    (void)pthread_mutex_unlock(&lock);
    cr_assert_eq(await_answer(), ENOSPC);
}

/* The clock goes on for who is handled anew, and begins again for a folder. */
Test(room, a_try_in_vain_gives_no_more_time)
{
    retry_in_vain();
    cr_assert_eq(atomic_load(&n_handled), 1, "%u", atomic_load(&n_handled));
    cr_assert(put_name(5, REQUEST_mkdir, FOLDER, 0));
}

/* Who is handled anew when his second is over keeps nobody any more. */
Test(room, a_refused_retry_leaves_no_clock)
{
    retry_in_vain();
    for (int i = 0; i < 10; i++) {
        pass(60);
        (void)pthread_mutex_lock(&lock);
        is_over = false;
        (void)pthread_mutex_unlock(&lock);
        unsigned makes = atomic_load(&n_makes);
        cr_assert(put_name(6, REQUEST_mkdir, FOLDER, 0), "nobody waits, and it is refused after %d minutes",
                  i + 1);
        (void)await_answer(); /* from here on nobody waits again */
        cr_assert_gt(atomic_load(&n_makes), makes, "room was asked for");
    }
}

/* The thread is within the engine, and its compaction begins only after the first cancel. */
Test(room, stopping_ends_the_thread_and_then_answers_who_waits)
{
    hold_the_thread();
    for (unsigned i = 0; i < 10; i++)
        cr_assert(put_aside(5, 100, REQUEST_write));
    room_stop(session.room);
    cr_assert_geq(atomic_load(&n_cancelled), 3);
    cr_assert_not(atomic_load(&making), "the thread is still in the engine");
    cr_assert_eq(atomic_load(&n_ended), 11, "%u", atomic_load(&n_ended));
    cr_assert_not(put_aside(5, 100, REQUEST_write), "nobody waits any more");
    cr_assert_eq(atomic_load(&n_ended), 11);
}
