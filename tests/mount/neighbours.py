#!/usr/bin/env python3
"""Processes that go on for long and mean no harm, for neighbours.sh.

    neighbours.py fresh FOLDER    replaces files that others have changed in each way that there is, each time after it has read
                                  what they are now
    neighbours.py threads FILE    one thread reads, another one writes, and a third one replaces, until its input ends
    neighbours.py exchange FOLDER alone: makes files, exchanges or moves them, removes them, and makes them anew
    neighbours.py stale FILE      replaces what somebody else has changed since it was read: exit status 3 if that is refused
"""
import ctypes
import errno
import itertools
import os
import select
import subprocess
import sys
import threading


def read(path):
    with open(path, 'rb') as f:
        return f.read()


def by_rename(path, text):
    with open(path + '.new', 'wb') as f:
        f.write(text)
    os.rename(path + '.new', path)


def by_w(path, text):
    with open(path, 'wb') as f:
        f.write(text)


def by_w_plus(path, text):
    with open(path, 'w+b') as f:
        f.write(text)
        f.seek(0)
        assert f.read() == text


def by_r_plus(path, text):
    with open(path, 'r+b') as f:
        f.read()
        f.seek(0)
        f.truncate()
        f.write(text)


def by_truncate(path, text):
    os.truncate(path, 0)
    with open(path, 'ab') as f:
        f.write(text)


def by_unlink(path, text):
    os.unlink(path)
    with open(path, 'xb') as f:
        f.write(text)


def by_moving_away(path, text):
    os.rename(path, path + '~')
    with open(path, 'xb') as f:
        f.write(text)
    os.unlink(path + '~')


def by_link(path, text):
    with open(path + '.new', 'wb') as f:
        f.write(text)
    os.unlink(path)
    os.link(path + '.new', path)
    os.unlink(path + '.new')


WAYS = [by_rename, by_w, by_w_plus, by_r_plus, by_truncate, by_unlink, by_moving_away, by_link]
OTHERS = ['echo theirs >>"$0"', 'echo theirs >"$0"', 'echo theirs >"$0.t" && mv "$0.t" "$0"', 'sed -i s/mine/theirs/ "$0"',
          'mv "$0" "$0.away" && cp "$0.away" "$0" && rm "$0.away"', 'rm "$0" && echo theirs >"$0"', 'cp -f /etc/hostname "$0"']


def fresh(folder):
    for way in WAYS:
        path = f'{folder}/fresh.{way.__name__}'
        by_w(path, b'mine\n')
        with open(path, 'rb') as kept:  # and a descriptor of what it was at first is open all the time
            for other in OTHERS:
                read(path)
                subprocess.run(['sh', '-c', other, path], check=True)
                now = read(path)
                os.pread(kept.fileno(), 100, 0)
                way(path, now + b'mine\n')
                assert read(path) == now + b'mine\n', (way, other)
    # through one descriptor, as a database does: what it reads may come from the kernel's cache
    path = f'{folder}/fresh.descriptor'
    by_w(path, b'mine\n')
    with open(path, 'r+b', buffering=0) as f:
        for _ in range(20):
            subprocess.run(['sh', '-c', 'echo theirs >>"$0"', path], check=True)
            text = os.pread(f.fileno(), 100000, 0)
            assert text.endswith(b'theirs\n')
            f.truncate(0)
            os.pwrite(f.fileno(), text + b'mine\n', 0)


def threads(path):
    by_w(path, b'x')
    stop = threading.Event()
    failed = []

    def forever(do):
        try:
            while not stop.is_set():
                do()
        except OSError as e:
            failed.append(e)

    def write():
        with open(path, 'r+b') as f:
            f.write(b'in place')

    work = [lambda: read(path), write, lambda: by_rename(path, b'replaced'), lambda: by_w(path, b'truncated')]
    running = [threading.Thread(target=forever, args=(do,)) for do in work]
    for t in running:
        t.start()
    while not select.select([0], [], [], 0.1)[0] and not failed:
        pass
    stop.set()
    for t in running:
        t.join()
    assert not failed, failed


def make(kind, path):
    if kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'symlink':
        os.symlink('somewhere', path)
    else:
        with open(path, 'xb') as f:
            f.write(b'mine' if kind == 'file' else b'')


def exchange(folder):
    libc = ctypes.CDLL(None, use_errno=True)
    paths = [os.path.join(folder, name) for name in ('one', 'other')]
    for kinds in itertools.product(('file', 'empty', 'symlink', 'fifo'), repeat=2):
        for _ in range(3):
            for kind, path in zip(kinds, paths):
                make(kind, path)
            assert not libc.renameat2(-100, os.fsencode(paths[0]), -100, os.fsencode(paths[1]), 2), ctypes.get_errno()
            for path in paths:
                os.unlink(path)
    one, other = paths
    for kind, put in itertools.product(('file', 'empty', 'symlink', 'fifo'), (os.rename, os.link)):
        make('file', one)  # what is put to a name that had another file, which is open still
        with open(one, 'rb') as f:
            f.read()
            os.unlink(one)
            make(kind, other)
            put(other, one)
            os.unlink(one)
            make('file', one)
            os.unlink(one)
        if os.path.lexists(other):
            os.unlink(other)


def stale(path):
    by_w(path, b'mine\n')
    with open(path, 'rb') as f:
        f.read()
    subprocess.run(['sh', '-c', 'echo theirs >"$0"', path], check=True)
    try:
        by_rename(path, b'mine again\n')
    except OSError as e:
        if e.errno == errno.ECANCELED:
            os.unlink(path + '.new')
            sys.exit(3)
        raise


if __name__ == '__main__':
    {'fresh': fresh, 'threads': threads, 'exchange': exchange, 'stale': stale}[sys.argv[1]](sys.argv[2])
