/*
 * test_capabilities.c - what is asked of the kernel at INIT is what the list says, whatever this libfuse asks
 * for by itself. A session without a mount is sent an INIT of a kernel that can do everything. */
#include "capabilities.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

struct init {
    bool ask;
    enum capability_ask option;
    uint64_t wanted, offered; /* before asking */
    struct fuse_init_out out;
    int error;
};

static void on_init(void *userdata, struct fuse_conn_info *conn)
{
    struct init *init = userdata;
    init->wanted = capabilities_wanted(conn);
    init->offered = capabilities_offered(conn);
    if (init->ask)
        capabilities_ask(conn, init->option);
}

static ssize_t take_reply(int fd, struct iovec *iov, int count, void *userdata)
{
    struct init *init = userdata;
    const struct fuse_out_header *head = iov[0].iov_base;
    ssize_t n = 0;
    init->error = head->error;
    if (count > 1)
        memcpy(&init->out, iov[1].iov_base,
               iov[1].iov_len < sizeof(init->out) ? iov[1].iov_len : sizeof(init->out));
    for (int i = 0; i < count; i++)
        n += (ssize_t)iov[i].iov_len;
    return n;
}

static ssize_t no_request(int fd, void *buf, size_t size, void *userdata)
{
    errno = ENODEV;
    return -1;
}

static void never_called(void)
{
    cr_assert(false, "a handler was called");
}

/* libfuse wants some capabilities for certain handlers only: here there are all of them. */
static struct fuse_lowlevel_ops all_handlers(void)
{
    union {
        struct fuse_lowlevel_ops ops;
        void (*each[sizeof(struct fuse_lowlevel_ops) / sizeof(void (*)(void))])(void);
    } u;
    for (size_t i = 0; i < sizeof(u.each) / sizeof(*u.each); i++)
        u.each[i] = never_called;
    u.ops.init = on_init;
    u.ops.destroy = NULL;
    return u.ops;
}

static void send_init(struct init *init)
{
    static const struct fuse_custom_io io = {.read = no_request, .writev = take_reply};
    const struct fuse_lowlevel_ops ops = all_handlers();
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    cr_assert_eq(fuse_opt_add_arg(&args, "test"), 0);
    struct fuse_session *session = fuse_session_new(&args, &ops, sizeof(ops), init);
    fuse_opt_free_args(&args);
    cr_assert(session);
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    cr_assert_eq(fuse_session_custom_io(session, &io, fd), 0);
    struct {
        struct fuse_in_header head;
        struct fuse_init_in in;
    } request = {
        .head = {.len = sizeof(request), .opcode = FUSE_INIT, .unique = 2},
        .in = {.major = FUSE_KERNEL_VERSION,
               .minor = FUSE_KERNEL_MINOR_VERSION,
               .max_readahead = 131072,
               .flags = UINT32_MAX},
    };
#ifdef FUSE_INIT_EXT
    request.in.flags2 = UINT32_MAX;
#endif
    const struct fuse_buf buf = {.size = sizeof(request), .mem = &request};
    fuse_session_process_buf(session, &buf);
    fuse_session_destroy(session);
}

static const struct capability *find(uint64_t bit)
{
    for (size_t i = 0; i < capabilities_n; i++)
        if (capabilities[i].bit == bit)
            return &capabilities[i];
    return NULL;
}

Test(capabilities, what_libfuse_asks_for_by_itself_is_in_the_list)
{
    struct init init = {.ask = false};
    send_init(&init);
    cr_assert_eq(init.error, 0);
    cr_assert(init.wanted & FUSE_CAP_ASYNC_DIO, "or this test has nothing to show: %llx",
              (unsigned long long)init.wanted);
    for (int i = 0; i < 64; i++) {
        uint64_t bit = UINT64_C(1) << i;
        cr_expect(!(init.wanted & bit) || find(bit),
                  "libfuse %s asks for bit %d, of which fs/capabilities.c says nothing", fuse_pkgversion(),
                  i);
    }
}

Test(capabilities, each_stands_once_and_with_its_reason)
{
    for (size_t i = 0; i < capabilities_n; i++) {
        cr_expect(capabilities[i].bit && !(capabilities[i].bit & (capabilities[i].bit - 1)), "%s",
                  capabilities[i].name);
        cr_expect_eq(find(capabilities[i].bit), &capabilities[i], "%s", capabilities[i].name);
        cr_expect(strlen(capabilities[i].why) > 10, "%s", capabilities[i].name);
    }
}

/* The kernel's own names: no table between the two. */
static void reply_is(enum capability_ask option, uint32_t must_have)
{
    const uint32_t may_have =
        FUSE_PARALLEL_DIROPS | FUSE_BIG_WRITES | FUSE_MAX_PAGES | 1u << 30; /* INIT_EXT */
    struct init init = {.ask = true, .option = option};
    send_init(&init);
    cr_expect_eq(init.error, 0);
    cr_expect_eq(init.out.flags & must_have, must_have, "%x", init.out.flags);
    cr_expect_eq(init.out.flags & ~(must_have | may_have), 0, "%x", init.out.flags & ~(must_have | may_have));
}

Test(capabilities, the_kernel_is_asked_for_these_and_for_no_others)
{
    const uint32_t always = FUSE_ASYNC_READ | FUSE_EXPORT_SUPPORT | FUSE_DO_READDIRPLUS |
                            FUSE_CACHE_SYMLINKS | FUSE_EXPLICIT_INVAL_DATA;
    reply_is(CAPABILITY_ON, always);
    reply_is(CAPABILITY_WRITEBACK, always | FUSE_WRITEBACK_CACHE);
    reply_is(CAPABILITY_REFUSE, always);
}

Test(capabilities, only_what_the_kernel_can_do)
{
    struct fuse_conn_info conn = {.capable = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO, .want = UINT32_MAX};
#ifdef HAVE_FUSE_WANT_EXT
    conn.capable_ext = conn.capable;
    conn.want_ext = UINT64_MAX;
#endif
    capabilities_ask(&conn, CAPABILITY_WRITEBACK);
    cr_expect_eq(capabilities_wanted(&conn), FUSE_CAP_ASYNC_READ);
    cr_expect_eq(conn.want, FUSE_CAP_ASYNC_READ);
}
