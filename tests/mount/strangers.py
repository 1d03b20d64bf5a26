#!/usr/bin/env python3
"""What strangers.sh runs: attacks of a user without rights, and a reader who looks how long everybody waits.

    strangers.py probe MOUNT PID NAME  beside the attack, until its input ends; prints the longest answers and the peaks of the daemon
    strangers.py attack NAME DIR SECS  prints how often it was done or refused, and how long kill -9 took
    strangers.py names
    strangers.py fragment DIR          makes what an attack reads

An attack is a function `NAME(dir, worker, deadline)` that runs in PROCESSES processes at once, each with its number,
until the deadline. It yields what is to be done next; an OSError of that is counted and ends nothing. At the deadline
those that still wait are killed.
"""
import ctypes
import errno
import fcntl
import json
import mmap
import os
import resource
import select
import signal
import sys
import time

PROCESSES = 64
TRIED = ERRORS = 256
HOLE = 16 << 30  # what a digest takes at most
LARGEST = (16 << 40) - 4096
HASH = 'user.engram.content_hash'
LIBC = ctypes.CDLL(None, use_errno=True)


# ---- the reader ---------------------------------------------------------------------------


def is_other(descriptor):
    """Open, and no segment."""
    try:
        return not os.readlink(descriptor).removesuffix(' (deleted)').endswith('.seg')
    except FileNotFoundError:
        return False


def status(pid):
    fields = {}
    with open(f'/proc/{pid}/status') as f:
        for line in f:
            key, _, value = line.partition(':')
            if key in ('VmRSS', 'Threads'):
                fields[key] = int(value.split()[0])
    return fields['VmRSS'] >> 10, fields['Threads'], sum(is_other(f'/proc/{pid}/fd/{fd}') for fd in
                                                         os.listdir(f'/proc/{pid}/fd'))


def direct_read(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        buf = mmap.mmap(-1, 4096)
        assert os.preadv(fd, [buf], 0) > 0
    finally:
        os.close(fd)


def missing(path):
    try:
        os.stat(path)
    except FileNotFoundError:
        return
    raise AssertionError(path)


def written(path):
    with open(path, 'wb') as f:
        f.write(b'x' * 1000)
    os.unlink(path)


def digest(path):
    """Of 64 MiB that have just been changed: root's turn comes whoever waits."""
    with open(path, 'r+b') as f:
        f.write(os.urandom(8))
    os.getxattr(path, HASH)


def probe(mount, pid, with_digest):
    own = f'{mount}/probe'
    longest, peaks, rounds = {}, (0, 0, 0), 0
    while rounds == 0 or not select.select([0], [], [], 0)[0]:
        looks = {
            'read': lambda: direct_read(f'{own}/f'),
            'lookup': lambda: missing(f'{own}/none{rounds}'),
            'list': lambda: os.listdir(f'{mount}/.engram'),
            'status': lambda: open(f'{mount}/.engram/status').read(),
            'write': lambda: written(f'{own}/w{rounds}'),
        }
        if with_digest:
            looks['digest'] = lambda: digest(f'{own}/large')
        for name, look in looks.items():
            began = time.monotonic()
            look()
            longest[name] = max(longest.get(name, 0), time.monotonic() - began)
        peaks = tuple(map(max, peaks, status(pid)))
        rounds += 1
        time.sleep(0.005)
    print(json.dumps({'rounds': rounds, 'longest': max(v for k, v in longest.items() if k != 'digest'),
                      'digest': longest.get('digest', 0),
                      'all': {k: round(v, 3) for k, v in longest.items()},
                      'rss': peaks[0], 'threads': peaks[1], 'fds': peaks[2]}))


# ---- attacks ------------------------------------------------------------------------------


def forever(deadline):
    i = 0
    while time.monotonic() < deadline:
        yield i
        i += 1


def sized(path, size):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(fd, size)
    return fd


def digest_of_the_largest_hole(d, worker, deadline):
    path = f'{d}/largest'
    os.close(sized(path, LARGEST))
    for _ in forever(deadline):
        yield lambda: os.getxattr(path, HASH)


def digest_of_many_holes(d, worker, deadline):
    """As much as is taken, another file for each, and changed so that nothing is known; more than may wait."""
    path = f'{d}/hole{worker}'
    fd = sized(path, HOLE)
    for i in forever(deadline):
        os.ftruncate(fd, HOLE - i)
        yield lambda: os.getxattr(path, HASH)


def digest_of_a_dense_file(d, worker, deadline):
    """All ask for one large file; some of them write to it all the time."""
    path = f'{d}/dense'
    fd = os.open(path, os.O_RDWR)
    for i in forever(deadline):
        if worker % 8 == 0:
            yield lambda: os.pwrite(fd, b'%d' % i, worker)
        else:
            yield lambda: os.getxattr(path, HASH)


def digest_interrupted(d, worker, deadline):
    """Signals that a program handles, all the time: each sends an INTERRUPT."""
    path = f'{d}/hole{worker}'
    fd = sized(path, HOLE - worker)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    for i in forever(deadline):
        os.ftruncate(fd, HOLE - i)
        yield lambda: LIBC.getxattr(path.encode(), HASH.encode(), ctypes.create_string_buffer(64), 64)


def open_files(d, worker, deadline):
    soft = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, soft))
    fds = []
    for i in forever(deadline):
        def one():
            fds.append(os.open(f'{d}/open{worker}.{i % 100}', os.O_RDWR | os.O_CREAT, 0o600))
            os.unlink(f'{d}/open{worker}.{i % 100}')
        yield one


def open_folders(d, worker, deadline):
    fds = []
    for i in forever(deadline):
        yield lambda: fds.append(os.open(d, os.O_RDONLY | os.O_DIRECTORY))


def lists(d, worker, deadline):
    """A folder of many thousand memories, as often as it goes, from anywhere."""
    where = f'{d}/many'
    for i in forever(deadline):
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        buf = ctypes.create_string_buffer(1 << 20)
        os.lseek(fd, (i * 7919 + worker) * 1009, os.SEEK_SET)
        yield lambda: LIBC.syscall(217, fd, buf, len(buf))  # getdents64
        yield lambda: os.listdir(where)
        os.close(fd)


def control_files(d, worker, deadline):
    fds = []
    names = ('status', 'stats.json', 'metrics', 'help')
    for i in forever(deadline):
        yield lambda: fds.append(os.open(f'{d}/../.engram/{names[i % 4]}', os.O_RDONLY))


def control_texts(d, worker, deadline):
    """The same text by all at once, again and again; each says by its mtime when it was made. What is removed and open is
    looked for among all memories."""
    gone = sized(f'{d}/gone{worker}', 0)
    os.unlink(f'{d}/gone{worker}')
    made = os.open(f'{d}/made{worker}', os.O_WRONLY | os.O_CREAT, 0o600)
    seen = set()
    for _ in forever(deadline):
        def one():
            fd = os.open(f'{d}/../.engram/status', os.O_RDONLY)
            when = os.fstat(fd).st_mtime_ns
            os.close(fd)
            if when not in seen:
                seen.add(when)
                os.write(made, b'%d\n' % when)
        yield one


def control_verbs(d, worker, deadline):
    """Files of the owner, opened by nobody else; and those that all may read, for writing."""
    for i in forever(deadline):
        name = ('compact', 'scrub', 'hold', 'config', 'segments', 'status')[i % 6]
        yield lambda: os.close(os.open(f'{d}/../.engram/{name}', os.O_WRONLY))


def lookups(d, worker, deadline):
    for i in forever(deadline):
        yield lambda: os.stat(f'{d}/none{worker}.{i}')


def attributes(d, worker, deadline):
    """As many attributes as there may be, and the list of them."""
    path = f'{d}/attributes{worker}'
    os.close(sized(path, 0))
    for i in forever(deadline):
        yield lambda: os.setxattr(path, f'user.{worker}.{i}', b'v' * (i % 64))
        if i % 50 == 0:
            yield lambda: os.listxattr(path)


def large_attributes(d, worker, deadline):
    path = f'{d}/attributes{worker}'
    os.close(sized(path, 0))
    for i in forever(deadline):
        yield lambda: os.setxattr(path, f'user.large{i % 4}', bytes([i % 256]) * 65536)
        yield lambda: os.getxattr(path, f'user.large{i % 4}')


def locks(d, worker, deadline):
    fd = sized(f'{d}/locked', 0)
    for i in forever(deadline):
        yield lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, i * 2)
        yield lambda: fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)


def links(d, worker, deadline):
    path = f'{d}/linked'
    os.close(sized(path, 0))
    for i in forever(deadline):
        yield lambda: os.link(path, f'{d}/link{worker}.{i}')


def deep_nest(d, worker, deadline):
    """Deeper and deeper; and a folder is moved there and back, which looks upwards from there."""
    top = os.open(d, os.O_RDONLY)
    os.mkdir(f'{d}/moved{worker}')
    os.mkdir(f'{d}/nest{worker}')
    os.chdir(f'{d}/nest{worker}')
    for i in forever(deadline):
        def down():
            os.mkdir('d')
            os.chdir('d')
        yield down
        yield lambda: os.rename(f'moved{worker}', 'e', src_dir_fd=top)
        yield lambda: os.rename('e', f'moved{worker}', dst_dir_fd=top)


def symbolic_links(d, worker, deadline):
    for i in forever(deadline):
        yield lambda: os.symlink('x' * 4095, f'{d}/symlink{worker}.{i}')


def empty_files(d, worker, deadline):
    for i in forever(deadline):
        yield lambda: os.close(os.open(f'{d}/empty{worker}.{i}', os.O_WRONLY | os.O_CREAT, 0o600))


def holes(d, worker, deadline):
    fd = sized(f'{d}/holes{worker}', LARGEST)
    for i in forever(deadline):
        at = (i * 1000003 << 16) % LARGEST
        yield lambda: os.pwrite(fd, b'x', at)
        yield lambda: os.lseek(fd, at + 1, os.SEEK_HOLE)
        yield lambda: os.lseek(fd, 0, os.SEEK_DATA)
        yield lambda: LIBC.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(LARGEST))  # PUNCH_HOLE, KEEP_SIZE
        yield lambda: os.ftruncate(fd, LARGEST - i % 2)


def copies_of_holes(d, worker, deadline):
    """copy_file_range(2) of a file that is one hole; what was copied is given back. The daemon copies, since the
    descriptor has made its file."""
    source, target = sized(f'{d}/largest', LARGEST), os.open(d, os.O_TMPFILE | os.O_RDWR, 0o600)
    for i in forever(deadline):
        yield lambda: os.copy_file_range(source, target, 1 << 30, i << 20, 0)
        if i % 4 == 3:
            yield lambda: os.ftruncate(target, 0)


def syncs(d, worker, deadline):
    fd = sized(f'{d}/synced{worker}', 0)
    for i in forever(deadline):
        os.pwrite(fd, b'x' * 100, i % 1000)
        yield lambda: os.fsync(fd)


def renames(d, worker, deadline):
    a, b = f'{d}/a{worker}', f'{d}/b{worker}'
    os.makedirs(f'{d}/into', exist_ok=True)
    for path in (a, b):
        os.close(sized(path, 0))
    for i in forever(deadline):
        yield lambda: LIBC.renameat2(-100, a.encode(), -100, b.encode(), 2)  # RENAME_EXCHANGE
        yield lambda: os.rename(a, f'{d}/into/moved{worker}')
        yield lambda: os.rename(f'{d}/into/moved{worker}', a)


def changes_of_modes(d, worker, deadline):
    """Metadata alone, which goes to the log all the same."""
    path = f'{d}/mode{worker}'
    os.close(sized(path, 0))
    for i in forever(deadline):
        yield lambda: os.chmod(path, 0o600 + i % 8)
        yield lambda: os.utime(path, (i, i))


def direct_reads(d, worker, deadline):
    fd = os.open(f'{d}/dense', os.O_RDONLY | os.O_DIRECT)
    buf = mmap.mmap(-1, 1 << 20)
    for i in forever(deadline):
        yield lambda: os.preadv(fd, [buf], (i * 67 + worker) % 200 << 20)


def fragment(d):
    """A file of 1 MiB, written and punched so that each byte of its first quarter would be a piece of its own."""
    fd = os.open(f'{d}/fragments', os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(fd, b'x' * (1 << 20), 0)
    for i in range(1, 128 << 10, 2):
        os.pwrite(fd, b'y', i)
    for i in range(128 << 10, 256 << 10, 2):
        if LIBC.fallocate(fd, 3, ctypes.c_long(i), ctypes.c_long(1)):
            raise OSError(ctypes.get_errno(), 'fallocate')
    want = b'xy' * (64 << 10) + b'\0x' * (64 << 10) + b'x' * (768 << 10)
    if os.pread(fd, 1 << 20, 0) != want:
        sys.exit('another content was read than was written')


def reads_of_fragments(d, worker, deadline):
    """Some add to them."""
    fd = os.open(f'{d}/fragments', os.O_RDWR | os.O_DIRECT)
    writer = os.open(f'{d}/fragments', os.O_RDWR)
    buf = mmap.mmap(-1, 1 << 20)
    for i in forever(deadline):
        yield lambda: os.preadv(fd, [buf], 0)
        if worker % 8 == 0:
            yield lambda: os.pwrite(writer, b'z', (256 << 10) + (i * 64 + worker) * 6 % (700 << 10))


def mappings(d, worker, deadline):
    fd = sized(f'{d}/mapped{worker}', 1 << 22)
    pages = mmap.mmap(fd, 1 << 22)
    for i in forever(deadline):
        def one():
            pages[i * 4096 % (1 << 22)] = i % 256
            if i % 64 == 0:
                pages.flush()
        yield one


def questions(d, worker, deadline):
    """ioctl(2), poll(2), statfs(2), readlink(2)."""
    fd = sized(f'{d}/asked', 0)
    poll = select.poll()
    poll.register(fd)
    for i in forever(deadline):
        yield lambda: fcntl.ioctl(fd, 0x80086601, bytes(8))  # FS_IOC_GETFLAGS
        yield lambda: fcntl.ioctl(fd, 0xdead, bytes(8))
        yield lambda: poll.poll(0)
        yield lambda: os.statvfs(fd)


def forgets(d, worker, deadline):
    """Made, written, open while removed, closed: freed when the kernel forgets it."""
    for i in forever(deadline):
        def one():
            fd = os.open(f'{d}/gone{worker}', os.O_RDWR | os.O_CREAT, 0o600)
            os.pwrite(fd, b'x' * 50000, 0)
            os.unlink(f'{d}/gone{worker}')
            os.close(fd)
        yield one


ATTACKS = {f.__name__: f for f in (
    digest_of_the_largest_hole, digest_of_many_holes, digest_of_a_dense_file, digest_interrupted, open_files,
    open_folders, lists, control_files, control_texts, control_verbs, lookups, attributes, large_attributes, locks, links, deep_nest,
    symbolic_links, empty_files, holes, copies_of_holes, syncs, renames, changes_of_modes, direct_reads,
    reads_of_fragments, mappings, questions, forgets)}


MORE = {'digest_of_many_holes': 200}  # processes
# What must be met: the bounds that are there to be met.
REFUSED = {'digest_of_the_largest_hole': 'EFBIG', 'digest_of_many_holes': 'EAGAIN', 'digest_of_a_dense_file': 'EBUSY',
           'control_files': 'ENFILE', 'control_verbs': 'EACCES'}


def run(name, d, worker, deadline, row):
    """row: how often it was done, and how often it was refused, by errno."""
    try:
        for act in ATTACKS[name](d, worker, deadline):
            row[TRIED] += 1
            try:
                act()
                row[0] += 1
            except OSError as e:
                row[e.errno] += 1
    except OSError as e:
        row[e.errno] += 1


def attack(name, d, seconds):
    deadline = time.monotonic() + seconds
    processes = MORE.get(name, PROCESSES)
    rows = [memoryview(mmap.mmap(-1, (TRIED + 1) * 8)).cast('Q') for _ in range(processes)]
    workers = set()
    for worker in range(processes):
        pid = os.fork()
        if pid == 0:
            LIBC.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
            os.umask(0o077)
            try:
                run(name, d, worker, deadline, rows[worker])
            finally:
                os._exit(0)
        workers.add(pid)
    time.sleep(max(0, deadline - time.monotonic()))
    # Those that are waiting for an answer are killed where they wait.
    began = time.monotonic()
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    for pid in workers:
        os.waitpid(pid, 0)
    ended = time.monotonic() - began
    refused = {errno.errorcode[e]: n for e in range(1, ERRORS) if (n := sum(row[e] for row in rows))}
    print(json.dumps({'tried': sum(row[TRIED] for row in rows), 'done': sum(row[0] for row in rows),
                      'refused': refused, 'killed_in': round(ended, 3)}))
    if REFUSED.get(name, 0) not in {0, *refused}:
        sys.exit(f'{name}: nothing was refused with {REFUSED[name]}')


if sys.argv[1] == 'probe':
    probe(sys.argv[2], int(sys.argv[3]), sys.argv[4].startswith('digest'))
elif sys.argv[1] == 'attack':
    attack(sys.argv[2], sys.argv[3], float(sys.argv[4]))
elif sys.argv[1] == 'fragment':
    fragment(sys.argv[2])
else:
    print('\n'.join(ATTACKS))
