/*
 * test_processes.c - which process a thread is of. */
#include "processes.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fuse_ctx asks;

const struct fuse_ctx *fuse_req_ctx(fuse_req_t req)
{
    (void)req;
    return &asks;
}

static struct seen_process process_of_thread(pid_t thread)
{
    struct seen_process process;
    asks = (struct fuse_ctx){.uid = 7, .pid = thread};
    process_of(NULL, &process);
    return process;
}

static void *thread_main(void *arg)
{
    *(pid_t *)arg = gettid();
    *((struct seen_process *)((pid_t *)arg + 2)) = process_of_thread(gettid());
    return NULL;
}

Test(processes, a_thread_is_its_process)
{
    struct {
        pid_t thread, unused;
        struct seen_process process;
    } of;
    pthread_t thread;
    const struct seen_process me = process_of_thread(getpid());
    cr_expect_eq(me.pid, getpid());
    cr_expect_eq(me.uid, 7);
    cr_expect_eq(me.key & ((1 << PROCESS_PID_BITS) - 1), (uint64_t)getpid());
    cr_expect(me.key >> PROCESS_PID_BITS, "and when it started");
    cr_assert_eq(pthread_create(&thread, NULL, thread_main, &of), 0);
    (void)pthread_join(thread, NULL);
    cr_expect_neq(of.thread, getpid());
    cr_expect_eq(of.process.key, me.key);
    cr_expect_eq(of.process.pid, me.pid);
}

Test(processes, a_child_is_another)
{
    const struct seen_process me = process_of_thread(getpid());
    int both[2];
    cr_assert_eq(pipe(both), 0);
    pid_t child = fork();
    if (!child) {
        char c;
        (void)!read(both[0], &c, 1);
        _exit(0);
    }
    cr_expect_neq(process_of_thread(child).key, me.key);
    (void)!write(both[1], "x", 1);
    (void)waitpid(child, NULL, 0);
}

Test(processes, who_is_not_there_is_unknown)
{
    cr_expect_eq(process_of_thread(0).key, 0);
    pid_t child = fork();
    if (!child)
        _exit(0);
    (void)waitpid(child, NULL, 0);
    cr_expect_eq(process_of_thread(child).key, 0);
}

Test(processes, the_same_number_at_another_time_is_another)
{
    static const char one[] = "77 (a) b) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1000 9 9\n";
    static const char other[] = "77 (a) b) S 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 1001 9 9\n";
    struct seen_process a, b;
    cr_assert(process_parse_stat(one, &a));
    cr_assert(process_parse_stat(other, &b));
    cr_expect_str_eq(a.name, "a) b", "a name may hold anything");
    cr_expect_eq(a.pid, 77);
    cr_expect_neq(a.key, b.key);
    cr_expect_eq(a.key >> PROCESS_PID_BITS, 1000);
}

Test(processes, the_kernels_work_for_many)
{
    struct seen_process p;
    cr_expect(!process_parse_stat("2 (nfsd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 3 0 0\n", &p));
    cr_expect(!process_parse_stat("", &p));
    cr_expect(!process_parse_stat("77 (x", &p));
    cr_expect(!process_parse_stat("77 (x) S 1", &p));
}
