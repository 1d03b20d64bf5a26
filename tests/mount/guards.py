#!/usr/bin/env python3
"""Guards (user.engram.if_match) in a mount, as programs use them: guards.py PART MOUNT."""
import ctypes
import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

GUARD = 'user.engram.if_match'
NOREPLACE, EXCHANGE = 1, 2
PROCESSES, EDITS = 8, 40
STRANGER = 51001
failures = 0


def check(ok, what):
    global failures
    failures += not ok
    print(('ok - ' if ok else 'not ok - ') + what)


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def state(path):
    return os.getxattr(path, 'user.engram.state').decode()


def guard(path, value):
    os.setxattr(path, GUARD, value.encode())


def has_guard(path):
    try:
        return bool(os.getxattr(path, GUARD))
    except OSError as e:
        assert e.errno == errno.ENODATA
        return False


def error_of(call, *args):
    try:
        call(*args)
    except OSError as e:
        return errno.errorcode[e.errno]
    return 'done'


libc = ctypes.CDLL(None, use_errno=True)


def renameat2(a, b, flags):
    if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def name_unnamed(fd, path):
    if libc.linkat(-100, b'/proc/self/fd/%d' % fd, -100, path.encode(), 0x400) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def expect(line, value, target, want, call=os.rename):
    """A new file `t` with that guard comes to be `target`, or that is refused and nothing has changed."""
    before = read(target) if os.path.isfile(target) else None
    write('t', 'of line %d' % line)
    guard('t', value)
    got = error_of(call, 't', target)
    if got == 'done':
        right = read(target) == 'of line %d' % line and not has_guard(target)
    else:
        right = has_guard('t') and (read(target) if os.path.isfile(target) else None) == before
    check(got == want and right, 'line %d: %s onto %s with "%s": %s' % (line, call.__name__, target, value[:20], got))
    if os.path.exists('t'):
        os.unlink('t')


def line():
    return sys._getframe(1).f_lineno


def kinds():
    write('f', 'old')
    sha = hashlib.sha256(b'old').hexdigest()
    expect(line(), 'none', 'f', 'ECANCELED')
    expect(line(), 'none', 'g', 'done')
    expect(line(), 'state:1', 'f', 'ECANCELED')
    expect(line(), 'state:' + state('f'), 'h', 'ECANCELED')
    expect(line(), 'state:' + state('g'), 'f', 'ECANCELED')
    expect(line(), 'state:' + state('f'), 'f', 'done')
    write('f', 'old')
    expect(line(), hashlib.sha256(b'new').hexdigest(), 'f', 'ECANCELED')
    expect(line(), sha, 'new', 'ECANCELED')
    expect(line(), sha.upper(), 'f', 'done')

    def noreplace(a, b):
        renameat2(a, b, NOREPLACE)

    def exchange(a, b):
        renameat2(a, b, EXCHANGE)
    expect(line(), 'none', 'f', 'EEXIST', noreplace)
    expect(line(), 'none', 'i', 'done', noreplace)
    expect(line(), 'state:' + state('f'), 'f', 'EEXIST', noreplace)
    expect(line(), 'state:' + state('f'), 'j', 'ECANCELED', noreplace)
    expect(line(), 'state:' + state('f'), 'f', 'EINVAL', exchange)
    os.mkdir('folder')
    expect(line(), 'none', 'folder', 'EISDIR')  # says Linux
    expect(line(), 'none', 'f', 'EEXIST', os.link)
    expect(line(), 'none', 'k', 'done', os.link)
    expect(line(), 'state:1', 'l', 'ECANCELED', os.link)

    # the same content
    write('f', 'the same')
    write('t', 'the same')
    guard('t', 'state:1')
    check(error_of(os.rename, 't', 'f') == 'done', 'a target that has the content already is replaced')
    write('t', 'the same')
    guard('t', 'none')
    check(error_of(os.rename, 't', 'f') == 'ECANCELED', 'but not where none may be')
    os.unlink('t')

    # two names, an unnamed file
    write('t', 'two names')
    os.link('t', 'u')
    guard('t', 'state:1')
    check(error_of(os.rename, 't', 'u') == 'done' and os.path.exists('t') and has_guard('u'),
          'of two names of one file nothing is done, as POSIX has it')
    check(error_of(os.rename, 'u', 'f') == 'ECANCELED' and error_of(os.rename, 't', 'f') == 'ECANCELED',
          'the guard is of the file, whichever of its names is renamed')
    os.removexattr('t', GUARD)
    check(error_of(os.rename, 'u', 'f') == 'done', 'without a guard it is renamed')
    fd = os.open('.', os.O_TMPFILE | os.O_RDWR)
    os.setxattr(fd, GUARD, b'none')
    check(error_of(name_unnamed, fd, 'f') == 'EEXIST' and error_of(name_unnamed, fd, 'm') == 'done' and not has_guard('m'), 'an unnamed file gets its name')
    os.close(fd)


def values():
    write('f', 'content')
    os.setxattr('f', 'user.x', b'1')
    was, number = os.stat('f'), state('f')
    for value in 'none', 'state:0', 'state:18446744073709551615', 'a' * 64, 'A' * 64:
        guard('f', value)
        check(os.getxattr('f', GUARD) == value.encode(), 'the guard "%s" is read as it was set' % value[:30])
    for value in '', 'None', 'none\n', 'state:', 'state:x', 'state:18446744073709551616', 'a' * 63, 'g' * 64, '1':
        check(error_of(guard, 'f', value) == 'EINVAL', 'the guard "%s" is refused' % value[:30].strip())
    check(os.listxattr('f') == ['user.x'], 'it is not listed')
    now = os.stat('f')
    check((was.st_ctime_ns, was.st_mtime_ns, number) == (now.st_ctime_ns, now.st_mtime_ns, state('f')),
          'it changes no time and no state')
    check(error_of(os.removexattr, 'f', GUARD) == 'done' and error_of(os.removexattr, 'f', GUARD) == 'ENODATA',
          'it is removed')
    os.mkdir('d')
    check(error_of(guard, 'd', 'none') == 'EINVAL' and error_of(guard, '.', 'none') == 'EINVAL', 'no folder has one')
    guard('f', 'state:7')


def kept():
    check(os.getxattr('f', GUARD) == b'state:7' and os.listxattr('f') == ['user.x'], 'it is there after a remount')
    check(error_of(os.rename, 'f', 'g') == 'ECANCELED', 'and is heeded')


def unset():
    write('f', '1')
    write('t', '2')
    check(error_of(guard, 't', 'none') in ('EOPNOTSUPP', 'ENOTSUP'), 'with -o noxattr no guard is set')


def edit(me):
    """Adds a line of its own EDITS times; returns how often it was told that it is there."""
    done = 0
    mine = 't%d' % me
    for i in range(EDITS):
        while True:
            number = state('words')
            text = read('words')
            write(mine, '%s%d %d\n' % (text, me, i))
            guard(mine, 'state:' + number)
            got = error_of(os.rename, mine, 'words')
            if got == 'done':
                done += 1
                break
            assert got == 'ECANCELED', got
    return done


def race():
    write('words', '')
    children = [subprocess.Popen([sys.executable, __file__, 'edit:%d' % i, '.'], stdout=subprocess.PIPE)
                for i in range(PROCESSES)]
    done = sum(int(c.communicate()[0].splitlines()[-1]) for c in children)
    lines = read('words').splitlines()
    check(done == PROCESSES * EDITS, '%d edits are acknowledged' % done)
    check(sorted(lines) == sorted('%d %d' % (p, i) for p in range(PROCESSES) for i in range(EDITS)),
          'and %d found, each once' % len(lines))


def large():
    """While a digest of 1 GiB is computed for a rename, others are answered; who is killed goes at once."""
    os.mkdir('away')
    write('near', 'x')

    def begin(name, value):
        with open('away/' + name, 'w') as f:
            f.truncate(1 << 30)
        write('away/t', 'x')
        guard('away/t', value)
        code = "import os\nprint('begins', flush=True)\nos.rename('away/t', 'away/%s')" % name
        child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        child.stdout.readline()
        return child
    child = begin('big', 'a' * 64)
    ended = threading.Event()
    threading.Thread(target=lambda: (child.wait(), ended.set())).start()
    begun = last = time.monotonic()
    longest = 0
    while not ended.is_set():
        os.getxattr('near', 'user.engram.version')  # which the kernel does not know
        now = time.monotonic()
        longest, last = max(longest, now - last), now
    check(longest < (last - begun) / 4, 'others are answered beside it (%.3f s for one, of %.3f s)' % (longest, last - begun))
    check(b'Operation canceled' in child.stderr.read() and has_guard('away/t') and os.stat('away/big').st_size == 1 << 30,
          'another content is refused')
    zeros = hashlib.sha256()
    for _ in range(1024):
        zeros.update(bytes(1 << 20))
    child = begin('known', zeros.hexdigest())
    check(child.wait() == 0 and read('away/known') == 'x' and not has_guard('away/known'), 'the same is replaced')
    child = begin('left', zeros.hexdigest())
    child.send_signal(signal.SIGKILL)
    check(child.wait() == -signal.SIGKILL and os.stat('away/left').st_size == 1 << 30 and has_guard('away/t'),
          'one that is killed has done nothing')


def stranger():
    """Nobody keeps others from a folder for as long as a digest of 8 GiB takes."""
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
    for name in 'f', 't':
        with open(name, 'w') as f:
            f.truncate(8 << 30)
    guard('t', 'a' * 64)
    since = time.monotonic()
    check(error_of(os.rename, 't', 'f') == 'EBUSY' and has_guard('t'), 'who has not asked for the digest before is told so')
    check(time.monotonic() - since < 0.7, 'at once: nobody holds a folder up, again and again')
    guard('t', 'state:1')
    check(error_of(os.rename, 't', 'f') == 'ECANCELED' and has_guard('t'), 'nor are contents compared for so long')
    write('f', 'small')
    guard('t', hashlib.sha256(b'small').hexdigest())
    check(error_of(os.rename, 't', 'f') == 'done', 'a digest that takes no time is looked at')
    os.truncate('f', 64 << 20)
    known = os.getxattr('f', 'user.engram.content_sha256')
    write('t', 'new')
    guard('t', known.decode())
    check(error_of(os.rename, 't', 'f') == 'done', 'one that was asked for is known')


def unreadable():
    """Who may not read a file learns nothing of its content by a guard."""
    write('secret', 'PIN 0042')
    os.chmod('secret', 0o600)
    sha = hashlib.sha256(b'PIN 0042').hexdigest()
    check(os.getxattr('secret', 'user.engram.content_sha256') == sha.encode(), 'its owner knows the digest')
    os.setgroups([])
    os.setgid(STRANGER)
    os.setuid(STRANGER)
    for text in 'PIN 0041', 'PIN 0042':
        write('guess', text)
        guard('guess', 'state:1')
        check(error_of(os.rename, 'guess', 'secret') == 'ECANCELED', f'the same or not: {text}')
    for value in 'a' * 64, sha:
        guard('guess', value)
        check(error_of(os.rename, 'guess', 'secret') == 'EACCES', f'by its digest, right or wrong: {value[:2]}')
    check(has_guard('guess') and os.stat('secret').st_uid == 0, 'nothing was replaced')


def main():
    part, _, number = sys.argv[1].partition(':')
    os.chdir(sys.argv[2])
    if part == 'edit':
        print(edit(int(number)))
        return
    {'kinds': kinds, 'values': values, 'kept': kept, 'unset': unset, 'race': race, 'large': large, 'stranger': stranger,
     'unreadable': unreadable}[part]()
    sys.exit(failures > 0)


main()
