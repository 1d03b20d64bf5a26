/*
 * main.c - the daemon: options, start, session, end.
 *
 * In the background the parent waits for one message from the child: empty
 * when the mount answers, else the line to print. The child is made before
 * the store is opened, since neither locks nor threads survive a fork. If
 * the parent ends before it was told, so does the child.
 *
 * Threads: main has FUSE's requests served by others (loop.h); `signals` waits for SIGTERM and SIGINT,
 * unmounts as umount(8) would, so that pages written through mappings
 * come back first, and ends the session if the mount is busy, or others have it (containers); on SIGHUP it
 * has the configuration read again, on SIGUSR1 it writes the status to the log; `probe` asks the mount for
 * its root once, to know that it answers. Signals are blocked in all others, the engine's too, so that no
 * handler is needed. While the store is opened, which may take its time, `early` waits for SIGTERM and
 * SIGINT, and they end the process. */
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "conflicts.h"
#include "control/nodes.h"
#include "control/past_paths.h"
#include "control/views.h"
#include "digests.h"
#include "fuse_compat.h"
#include "loop.h"
#include "messages.h"
#include "mount.h"
#include "ops.h"
#include "options.h"
#include "room.h"
#include "session.h"
#include "waiters.h"

/* umount returns before the old daemon has written its checkpoint. */
enum { LOCK_WAIT_MS = 10000 };
/* How long those who have the mount elsewhere have it after SIGTERM, and from when on the log says so. */
enum { LINGER_MS = 3000, LINGER_QUIET_MS = 500, LINGER_STEP_MS = 50 };
/* umount -f ends the connection a moment before it takes the mount away. */
enum { FORCED_MS = 1000, FORCED_STEP_MS = 20 };

struct daemon_state {
    struct fs_options opt;
    struct session session;
    char *store, *mountpoint; /* absolute */
    struct mnt_place place;   /* of the mount point */
    struct fuse_session *fuse;
    int ready_fd;  /* to the parent; -1 in the foreground or once told */
    bool logging;  /* what fails is for the log, too */
    bool is_stuck; /* the kernel keeps a thread, which has the session (ctl_stop()). Main's */
    pthread_t main_thread, early_thread, signal_thread, probe_thread;
    bool has_early_thread, has_signal_thread, has_probe_thread;
    atomic_bool ending; /* the loop is to end */
    _Atomic bool ended; /* set by main after the loop, read by the signal thread */
    /* What lies on the mount point is not ours (any more). Set by the signal thread, read by main */
    _Atomic bool not_ours;
    dev_t device; /* of the mount; 0: it is not where it should be. Immutable once there are threads */
    sem_t probed; /* posted when the probe has ended, or there is none */
};

/* ---- telling that it works, or why not ---------------------------------- */

/* sd_notify(3) without the library: one datagram to the socket that systemd names. */
static void notify_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (!path || (*path != '/' && *path != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    memcpy(to.sun_path, path, strlen(path));
    if (*path == '@')
        to.sun_path[0] = '\0'; /* an abstract name */
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
    (void)close(fd);
}

/* Once: to the parent, or to stderr. `why` NULL: the mount answers. False: there is no parent any more. */
static bool tell(struct daemon_state *d, const char *why)
{
    bool told = true;
    if (why && d->logging && !d->opt.foreground)
        messages_line(ENG_LOG_ERROR, "%s", why);
    if (d->ready_fd >= 0) {
        char message[FS_WHY_MAX + 1] = {why ? 'E' : 'R'};
        if (why)
            (void)snprintf(message + 1, FS_WHY_MAX, "%s", why);
        told = write(d->ready_fd, message, strlen(message)) >= 0;
        (void)close(d->ready_fd);
        d->ready_fd = -1;
    } else if (why && d->opt.foreground) {
        messages_line(ENG_LOG_ERROR, "%s", why);
    } else if (why) {
        messages_say(why);
    }
    if (!why)
        notify_systemd("READY=1");
    return told;
}

/* The parent's part of going to the background; returns its exit code. */
static int await_child(int fd, pid_t child)
{
    char message[FS_WHY_MAX + 1];
    size_t n = 0;
    while (n < sizeof message - 1) {
        ssize_t got = read(fd, message + n, sizeof message - 1 - n);
        if (got == 0 || (got < 0 && errno != EINTR))
            break;
        if (got > 0)
            n += (size_t)got;
    }
    message[n] = '\0';
    if (message[0] == 'R')
        return 0;
    int status = 0;
    if (n > 1)
        messages_say(message + 1);
    else if (waitpid(child, &status, 0) == child && WIFSIGNALED(status))
        (void)fprintf(stderr, "engramfs: the daemon was killed by signal %d while it started\n",
                      WTERMSIG(status));
    else
        (void)fprintf(stderr, "engramfs: the daemon ended while it started; see the system log\n");
    return 1;
}

static void to_null(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
}

/* In the background: whoever started us was killed, or gave it up. What comes later nobody expects. */
static bool is_abandoned(const struct daemon_state *d)
{
    struct pollfd parent = {.fd = d->ready_fd};
    return d->ready_fd >= 0 && poll(&parent, 1, 0) == 1 && (parent.revents & POLLERR);
}

/* Returns in the child (0), or never; <0 if there is none. The child dies with its parent until there is a
 * mount to be taken away: to open a store may take its time, and may be broken off at any moment. */
static int go_to_background(struct daemon_state *d)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0)
        return -errno;
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child > 0) {
        (void)close(fds[1]);
        _exit(await_child(fds[0], child));
    }
    (void)close(fds[0]);
    d->ready_fd = fds[1];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (is_abandoned(d))
        _exit(1);
    (void)setsid();
    return 0;
}

/* ---- threads ------------------------------------------------------------ */

/* Linux asks whether there is OPEN when a file is opened, and sends RELEASE for each file made
 * before that. */
static void show_no_open(const struct daemon_state *d, int root)
{
    int folder = d->session.ctl ? openat(root, ".engram", O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    int fd = folder >= 0 ? openat(folder, "help", O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0)
        (void)close(fd);
    if (folder >= 0)
        (void)close(folder);
}

/* -errno if the mount does not answer, or is not where it should be. The kernel's own attributes are no
 * answer, and the modes of the root folder no hindrance. */
static int ask(const struct daemon_state *d)
{
    struct statx st;
    int root = d->device ? mnt_open_root(&d->place) : -ESTALE;
    if (root < 0)
        return root;
    int r = statx(root, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) == 0 ? 0 : -errno;
    if (!r && makedev(st.stx_dev_major, st.stx_dev_minor) != d->device)
        r = -ESTALE;
    if (!r)
        show_no_open(d, root);
    (void)close(root);
    return r;
}

/* Ends the loop, which waits: only a signal to its thread ends that; one could come too early. */
static void end_loop(struct daemon_state *d)
{
    atomic_store(&d->ending, true);
    while (!atomic_load(&d->ended)) {
        (void)pthread_kill(d->main_thread, SIGUSR2);
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

static void probe(struct daemon_state *d)
{
    int r = ask(d);
    if (!r) {
        messages_line(ENG_LOG_INFO, "%s mounted on %s%s", d->store, d->mountpoint,
                      d->opt.read_only ? ", read-only" : "");
        bool told = tell(d, NULL);
        if (!d->opt.foreground)
            to_null();
        if (!told) /* the signal thread takes it */
            (void)kill(getpid(), SIGTERM);
    } else if (!atomic_load(&d->ended)) {
        char why[FS_WHY_MAX];
        (void)snprintf(why, sizeof why, "mount point %.300s does not answer: %s", d->mountpoint,
                       r == -ESTALE ? "something else lies there" : strerror(-r));
        (void)tell(d, why);
        end_loop(d);
    }
}

static void *probe_main(void *arg)
{
    struct daemon_state *d = arg;
    probe(d);
    (void)sem_post(&d->probed);
    return NULL;
}

static void on_wake(int sig)
{
    (void)sig;
}

static void reread_config(struct daemon_state *d)
{
    int r = eng_config_reload(d->session.eng);
    if (r)
        messages_line(ENG_LOG_ERROR, "%s/config cannot be read again: %s", d->store, strerror(-r));
    else
        messages_line(ENG_LOG_INFO, "%s/config was read again", d->store);
}

static void log_status(struct daemon_state *d)
{
    struct text t = TEXT_INIT;
    char *save = NULL;
    int r = d->session.ctl ? ctl_status(d->session.ctl, &t) : -ENOTSUP;
    if (!r && text_failed(&t))
        r = -ENOMEM;
    if (r)
        messages_line(ENG_LOG_ERROR, "no status: %s",
                      d->session.ctl ? strerror(-r) : "mounted with -o ctl=off");
    else
        for (char *line = strtok_r(t.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            messages_line(ENG_LOG_INFO, "status: %s", line);
    text_done(&t);
}

/* What the signal thread waits for, and all others block. */
static sigset_t awaited_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)sigaddset(&set, SIGUSR1);
    return set;
}

/* Has the kernel ended the connection? It does so with the last mount of it, in whatever namespace. */
static bool is_disconnected(struct daemon_state *d)
{
    struct pollfd device = {.fd = fuse_session_fd(d->fuse)};
    return poll(&device, 1, 0) == 1 && (device.revents & POLLERR);
}

/* After the unmounting, which ends the connection unless others have the mount: bind mounts, the namespaces
 * of containers. Who has it gets some seconds to let it go; another SIGTERM cuts them short. */
static bool wait_for_the_end(struct daemon_state *d, const sigset_t *set)
{
    bool told = false;
    for (int left = LINGER_MS; left > 0 && !atomic_load(&d->ended) && !is_disconnected(d);
         left -= LINGER_STEP_MS) {
        if (!told && left <= LINGER_MS - LINGER_QUIET_MS) {
            messages_line(ENG_LOG_WARNING,
                          "%s is unmounted, but mounted elsewhere still (a bind mount, a container)",
                          d->mountpoint);
            told = true;
        }
        int sig = sigtimedwait(set, NULL, &(struct timespec){.tv_nsec = LINGER_STEP_MS * 1000000});
        if (sig == SIGTERM || sig == SIGINT)
            break;
    }
    return atomic_load(&d->ended) || is_disconnected(d);
}

static void detach(struct daemon_state *d)
{
    (void)ctl_stop(d->session.ctl); /* main will know */
    end_loop(d);
}

static void *signal_main(void *arg)
{
    struct daemon_state *d = arg;
    const sigset_t set = awaited_signals();
    int sig = 0;
    while (sigwait(&set, &sig) != 0 || sig == SIGHUP || sig == SIGUSR1) {
        if (sig == SIGHUP)
            reread_config(d);
        else if (sig == SIGUSR1)
            log_status(d);
        sig = 0;
    }
    while (sem_wait(&d->probed) != 0) /* a mount that has not answered yet cannot be told from others */
        ;
    if (atomic_load(&d->ended))
        return NULL;
    messages_line(ENG_LOG_INFO, "signal %d: unmounting %s", sig, d->mountpoint);
    notify_systemd("STOPPING=1");
    waiters_interrupt_all(d->session.waiters);
    int r = -EBUSY;
    bool ours = mnt_on_top(&d->place, d->device);
    if (ours) {
        mnt_write_back(&d->place);
        r = mnt_unmount(&d->place, false);
    }
    atomic_store(&d->not_ours, !ours || !r || r == -ETIMEDOUT);
    if (!r && wait_for_the_end(d, &set))
        return NULL;
    messages_line(ENG_LOG_WARNING, "%s is busy; it is detached, open files get ENOTCONN", d->mountpoint);
    detach(d);
    return NULL;
}

static sigset_t ending_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    return set;
}

/* There is no mount yet: a store that is being opened may be left at any moment. */
static void *early_main(void *arg)
{
    struct daemon_state *d = arg;
    const sigset_t set = ending_signals();
    siginfo_t info;
    int sig;
    while ((sig = sigwaitinfo(&set, &info)) < 0)
        ;
    if (info.si_pid == getpid()) /* end_early(): the store is open */
        return NULL;
    messages_line(ENG_LOG_INFO, "signal %d: %s is not mounted", sig, d->store);
    (void)signal(sig, SIG_DFL);
    (void)kill(getpid(), sig);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return NULL;
}

static void start_early(struct daemon_state *d)
{
    d->has_early_thread = pthread_create(&d->early_thread, NULL, early_main, d) == 0;
}

static void end_early(struct daemon_state *d)
{
    if (!d->has_early_thread)
        return;
    /* It waits for the signal. NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread) */
    (void)pthread_kill(d->early_thread, SIGTERM);
    (void)pthread_join(d->early_thread, NULL);
}

static int start_threads(struct daemon_state *d)
{
    (void)sem_init(&d->probed, 0, 0);
    int r = pthread_create(&d->signal_thread, NULL, signal_main, d);
    d->has_signal_thread = !r;
    if (!r) {
        r = pthread_create(&d->probe_thread, NULL, probe_main, d);
        d->has_probe_thread = !r;
    }
    return -r;
}

static void join_threads(struct daemon_state *d)
{
    if (!d->has_probe_thread)
        (void)sem_post(&d->probed);
    if (d->has_signal_thread) {
        /* It waits for the signal. NOLINTNEXTLINE(bugprone-bad-signal-to-kill-thread) */
        (void)pthread_kill(d->signal_thread, SIGTERM);
        (void)pthread_join(d->signal_thread, NULL);
    }
    if (d->has_probe_thread)
        (void)pthread_join(d->probe_thread, NULL);
}

/* ---- session ------------------------------------------------------------ */

/* What pthread_create() means by EAGAIN. */
static const char no_threads[] = "no memory for its threads, or too many of them; raise the limits";

static int loop(struct daemon_state *d)
{
    /* A thread waits while its batch is written or flushed: more of them than processors pay, but
     * not many. */
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned most = cpus > 16 ? LOOP_THREADS_MAX : (unsigned)cpus * 4;
    if (cpus < 8)
        most = 32;
    return loop_serve(d->fuse, d->opt.single ? 1 : most, &d->ending);
}

/* The connection has ended, and the mount stays: nobody has unmounted it. */
static bool is_dead(const struct daemon_state *d)
{
    bool is = mnt_on_top(&d->place, d->device);
    for (int left = FORCED_MS; is && left > 0; left -= FORCED_STEP_MS) {
        (void)nanosleep(&(struct timespec){.tv_nsec = FORCED_STEP_MS * 1000000}, NULL);
        is = mnt_on_top(&d->place, d->device);
    }
    return is;
}

/* Takes the mount away, unless the kernel or others have done so. libfuse would unmount what the path leads
 * to by now; of a connection that has ended it only frees what it knows. -ECONNABORTED: others have ended the
 * connection, and left the mount. */
static int end_mount(struct daemon_state *d)
{
    if (is_disconnected(d)) {
        bool dead = is_dead(d);
        fuse_session_unmount(d->fuse);
        if (dead)
            (void)mnt_unmount(&d->place, true);
        return dead ? -ECONNABORTED : 0;
    }
    /* First the connection, for nobody answers any more. Its number stays taken: the session closes it. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        (void)dup3(null, fuse_session_fd(d->fuse), O_CLOEXEC);
        (void)close(null);
    }
    if (d->is_stuck) /* that thread has it open still */
        mnt_abort(d->device);
    if (!atomic_load(&d->not_ours) && mnt_on_top(&d->place, d->device))
        (void)mnt_unmount(&d->place, true);
    return 0;
}

/* From a mounted session to its end. */
static int serve(struct daemon_state *d, char why[FS_WHY_MAX])
{
    if (d->ready_fd >= 0)
        (void)prctl(PR_SET_PDEATHSIG, 0);
    if (is_abandoned(d)) {
        (void)snprintf(why, FS_WHY_MAX, "not mounted: whoever started it has ended");
        return -ECANCELED;
    }
    int r = mnt_mount(d->fuse, &d->place, &d->device, why);
    if (r)
        return r;
    r = compat_attach(d->fuse);
    if (!r)
        r = start_threads(d);
    if (r) {
        (void)snprintf(why, FS_WHY_MAX, "cannot start: %s", r == -EAGAIN ? no_threads : strerror(-r));
    } else {
        r = loop(d);
        if (r < 0)
            (void)snprintf(why, FS_WHY_MAX, "the FUSE session failed: %s",
                           r == -EAGAIN ? no_threads : strerror(-r));
        else
            r = 0; /* >0: the number of a signal, handled */
    }
    atomic_store(&d->ended, true);
    waiters_interrupt_all(d->session.waiters);
    d->is_stuck = !ctl_stop(d->session.ctl);
    room_stop(d->session.room); /* it answers into the session's descriptor, whose number is soon another's */
    digests_stop(d->session.digests); /* as it does */
    int ended = end_mount(d);
    if (ended && !r && !atomic_load(&d->ending)) {
        (void)snprintf(why, FS_WHY_MAX,
                       "%.300s: its connection was aborted (fusectl, or a limit of the kernel on requests)",
                       d->mountpoint);
        r = ended;
    }
    join_threads(d);
    return r;
}

static int run_session(struct daemon_state *d, char why[FS_WHY_MAX])
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    int r = mnt_session_args(&d->opt, d->store, &args);
    if (!r) {
        d->fuse = fuse_session_new(&args, &ops_table, sizeof ops_table, &d->session);
        if (!d->fuse)
            r = -EINVAL;
        d->session.fuse = d->fuse;
    }
    fuse_opt_free_args(&args);
    if (r) {
        (void)snprintf(why, FS_WHY_MAX, "cannot make a FUSE session: %s", strerror(-r));
        return r;
    }
    return serve(d, why);
}

/* ---- store -------------------------------------------------------------- */

/* The engine says it in the log, where who mounts in the background does not look. */
static void warn_of_limit(const struct daemon_state *d)
{
    struct rlimit size;
    uint64_t segment = d->opt.segment_size ? d->opt.segment_size : ENG_SEGMENT_SIZE_DEFAULT;
    if (d->opt.foreground || d->opt.read_only || getrlimit(RLIMIT_FSIZE, &size) != 0 ||
        size.rlim_cur >= segment)
        return;
    (void)fprintf(
        stderr,
        "engramfs: warning: files may not grow over %llu bytes here (ulimit -f), less than a segment; "
        "raise the limit\n",
        (unsigned long long)size.rlim_cur);
}

/* To the log, and to whoever mounts in the background. */
static void warn_of_folder(const struct daemon_state *d)
{
    static const char text[] = "other users may open this folder, and so keep the store from being mounted";
    int folder = d->store ? open(d->store, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    if (folder >= 0 && eng_folder_is_open(folder)) {
        messages_line(ENG_LOG_WARNING, "%s: %s: chmod 0700 %s", d->store, text, d->store);
        if (!d->opt.foreground) {
            char line[FS_WHY_MAX];
            int n = snprintf(line, sizeof line, "warning: %s: %s: chmod 0700 %s", d->store, text, d->store);
            if (n >= (int)sizeof line) /* no command that names another folder */
                (void)snprintf(line, sizeof line, "warning: the store: %s: chmod 0700 it", text);
            messages_say(line);
        }
    }
    if (folder >= 0)
        (void)close(folder);
}

static int open_store(struct daemon_state *d, char why[FS_WHY_MAX])
{
    const struct eng_options options = {
        .read_only = d->opt.read_only,
        .relatime = !d->opt.noatime,
        .segment_size = d->opt.segment_size,
        .commit_ms = d->opt.commit_ms,
        .lock_wait_ms = LOCK_WAIT_MS,
        .room_later = true,
        .log = messages_engine,
    };
    char reason[256] = "";
    int r = eng_open(d->store, &options, &d->session.eng, reason);
    if (r)
        (void)snprintf(why, FS_WHY_MAX, "%.200s: %s", d->store, *reason ? reason : strerror(-r));
    if (!r) {
        warn_of_limit(d);
        warn_of_folder(d);
    }
    return r;
}

static int run(struct daemon_state *d, char why[FS_WHY_MAX])
{
    struct session *session = &d->session;
    struct stat folder;
    start_early(d);
    int r = open_store(d, why);
    end_early(d);
    if (r)
        return r;
    if (d->store && stat(d->store, &folder) == 0) {
        session->store_device = folder.st_dev;
        session->store_inode = folder.st_ino;
    }
    session->waiters = waiters_new();
    session->digests = digests_new(session);
    session->room = room_new(session);
    if (d->opt.ctl != CTL_OFF)
        session->ctl = ctl_new(session);
    const bool has_past = d->opt.ctl != CTL_OFF && d->opt.past != PAST_OFF;
    if (has_past) {
        session->views = ctl_views_new(session->eng);
        session->paths = ctl_paths_new(eng_view_mark(session->eng, UINT64_MAX, 0));
    }
    if (!session->waiters || !session->digests || !session->room || !conflicts_start(session) ||
        (d->opt.ctl != CTL_OFF && !session->ctl) || (has_past && (!session->views || !session->paths))) {
        (void)snprintf(why, FS_WHY_MAX, "out of memory");
        r = -ENOMEM;
    }
    if (!r)
        r = run_session(d, why);
    room_free(session->room);
    digests_free(session->digests);
    ctl_views_free(session->views);
    ctl_paths_free(session->paths);
    /* The engine before the waiters: it may still answer writers that wait. */
    int close_err = eng_close(session->eng);
    if (close_err && r)
        messages_line(ENG_LOG_ERROR, "closing %s: %s", d->store, strerror(-close_err));
    else if (close_err)
        (void)snprintf(why, FS_WHY_MAX, "closing %.300s: %s; what was not yet durable may be lost", d->store,
                       strerror(-close_err));
    if (d->fuse && !d->is_stuck)
        fuse_session_destroy(d->fuse);
    ctl_free(session->ctl);
    waiters_free(session->waiters);
    conflicts_stop(session);
    return r ? r : close_err;
}

/* ---- process ------------------------------------------------------------ */

static void raise_limit(int resource)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(resource, &limit);
    }
}

/* Whoever starts us may block and ignore what he likes, and that is inherited. */
static void reset_signals(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, programs that we run would leave no status */
}

static void prepare_process(void)
{
    reset_signals();
    raise_limit(RLIMIT_NOFILE);
    raise_limit(RLIMIT_FSIZE);
    /* A lock or a pipe of who starts us would live as long as the mount. */
    (void)close_range(3, ~0U, 0);
    /* libfuse ends its threads by pthread_cancel(), for which glibc loads libgcc_s: while there are
     * descriptors. */
    void *frame;
    (void)backtrace(&frame, 1);
    /* Nobody else may read the store past the modes of the mount. */
    (void)umask(077);
    /* File descriptors 0 to 2 must not become the store's files. */
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= 2);
    if (fd > 2)
        (void)close(fd);
}

static void block_signals(void)
{
    struct sigaction wake = {.sa_handler = on_wake}, ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGUSR2, &wake, NULL); /* no SA_RESTART: it is there to interrupt */
    (void)sigaction(SIGPIPE, &ignore, NULL);
    (void)sigaction(SIGXFSZ, &ignore, NULL); /* write(2) says EFBIG then */
    const sigset_t set = awaited_signals();
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static bool lies_in(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int resolve(struct daemon_state *d, char why[FS_WHY_MAX])
{
    int r = mnt_absolute(d->opt.store, &d->store);
    if (r) {
        (void)snprintf(why, FS_WHY_MAX, "store %.300s: %s", d->opt.store, strerror(-r));
        return r;
    }
    r = mnt_absolute(d->opt.mountpoint, &d->mountpoint);
    if (r) {
        (void)snprintf(why, FS_WHY_MAX, "mount point %.300s: %s", d->opt.mountpoint, strerror(-r));
        return r;
    }
    r = mnt_place_open(d->mountpoint, &d->place);
    if (r) {
        (void)snprintf(why, FS_WHY_MAX, "mount point %.300s: %s", d->mountpoint, strerror(-r));
        return r;
    }
    r = mnt_prepare(&d->place, why);
    if (!r && d->store && d->mountpoint &&
        (lies_in(d->store, d->mountpoint) || lies_in(d->mountpoint, d->store))) {
        (void)snprintf(why, FS_WHY_MAX, "store %.200s and mount point %.200s must not lie in one another",
                       d->store, d->mountpoint);
        r = -EINVAL;
    }
    return r;
}

static int start(struct daemon_state *d)
{
    char why[FS_WHY_MAX] = "";
    messages_init(d->opt.foreground, d->opt.debug);
    int r = resolve(d, why);
    if (!r && !d->opt.foreground) {
        r = go_to_background(d);
        if (r)
            (void)snprintf(why, sizeof why, "cannot go to the background: %s", strerror(-r));
    }
    if (!r) {
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        d->logging = true;
        fuse_set_log_func(messages_fuse);
        block_signals();
        d->main_thread = pthread_self();
        d->session.opt = &d->opt;
        d->session.store = d->store;
        d->session.mountpoint = d->mountpoint;
        d->session.uid = getuid();
        d->session.gid = getgid();
        d->session.labels = access("/sys/fs/selinux", F_OK) == 0;
        d->session.started = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
        if (!d->opt.foreground)
            (void)chdir("/");
        r = run(d, why);
    }
    if (r)
        (void)tell(d, *why ? why : strerror(-r));
    else
        messages_line(ENG_LOG_INFO, "%s unmounted from %s", d->store, d->mountpoint);
    mnt_place_close(&d->place);
    free(d->store);
    free(d->mountpoint);
    return r ? 1 : 0;
}

int main(int argc, char **argv)
{
    static struct daemon_state d = {
        .ready_fd = -1, .place = {.parent = -1, .point = -1}, .session.sync_lock = PTHREAD_MUTEX_INITIALIZER};
    char why[FS_WHY_MAX] = "";
    prepare_process();
    int code = 2;
    if (opt_parse(argc, argv, &d.opt, why) != 0) {
        messages_say(why);
    } else if (d.opt.help) {
        (void)fputs(opt_usage, stdout);
        code = 0;
    } else if (d.opt.version) {
        (void)printf("engramfs %s, libfuse %s\n", ENG_VERSION, fuse_pkgversion());
        code = 0;
    } else {
        code = start(&d);
    }
    opt_done(&d.opt);
    if (d.is_stuck) /* what that thread uses stays, and nobody waits for it */
        _exit(code);
    return code;
}
