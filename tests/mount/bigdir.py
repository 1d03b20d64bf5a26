#!/usr/bin/env python3
"""A folder with very many entries, as bigdir.sh asks for it.

    bigdir.py fill FOLDER FROM TO       makes the entries e<FROM> .. e<TO - 1>, in an order that is not theirs
    bigdir.py stable FOLDER N SECONDS   lists while others add, remove and rename; N entries stay all the time
    bigdir.py seek FOLDER N             telldir, seekdir, rewinddir, also next to what is removed
    bigdir.py save FOLDER FILE          positions with the name that follows; `check` finds them again, after a restart
    bigdir.py check FOLDER FILE

Listings are made by getdents64 and readdir themselves, not by os.listdir: how
much comes at a time is part of the test.
"""
import ctypes
import multiprocessing
import os
import random
import struct
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = ctypes.c_void_p
libc.opendir.argtypes = [ctypes.c_char_p]
libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for name in ("readdir", "closedir", "rewinddir", "telldir"):
    getattr(libc, name).argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
libc.syscall.restype = ctypes.c_long
SYS_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
NAME_AT = 19  # of d_name in struct dirent (64 bits) and struct linux_dirent64


def getdents(fd, size):
    """All names from where fd stands, in pieces of `size` bytes."""
    buf = ctypes.create_string_buffer(size)
    while True:
        n = libc.syscall(SYS_GETDENTS64, fd, buf, size)
        if n < 0:
            raise OSError(ctypes.get_errno(), "getdents64")
        if n == 0:
            return
        raw, at = buf.raw, 0
        while at < n:
            length = struct.unpack_from("<H", raw, at + 16)[0]
            end = raw.index(b"\0", at + NAME_AT)
            yield raw[at + NAME_AT:end]
            at += length


def listing(folder, size):
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield from getdents(fd, size)
    finally:
        os.close(fd)


def fill(folder, first, last):
    os.makedirs(folder, exist_ok=True)
    numbers = list(range(first, last))
    random.Random(3).shuffle(numbers)
    at = os.open(folder, os.O_RDONLY)
    for i in numbers:
        os.mknod("e%d" % i, 0o600, dir_fd=at)


def disturb(folder, number, stop):
    """Adds, removes, renames and replaces entries of its own, old ones and new ones, until told to stop."""
    r = random.Random(number)
    at = os.open(folder, os.O_RDONLY)
    mine, made, done = [], 0, 0
    while not stop.is_set():
        kind = r.random()
        if kind < 0.4 or len(mine) < 50:
            name = "t%d-%d" % (number, made)
            made += 1
            fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=at)
            os.write(fd, name.encode() * 20)  # for a compaction beside it to move
            os.close(fd)
            mine.append(name)
        elif kind < 0.7:
            os.unlink(mine.pop(r.randrange(len(mine))), dir_fd=at)
        elif kind < 0.9:
            i = r.randrange(len(mine))
            name = "t%d-%d" % (number, made)
            made += 1
            os.rename(mine[i], name, src_dir_fd=at, dst_dir_fd=at)
            mine[i] = name
        else:
            i, j = r.sample(range(len(mine)), 2)
            os.rename(mine[i], mine[j], src_dir_fd=at, dst_dir_fd=at)
            mine[i] = mine[-1] if i < len(mine) - 1 else mine[i]
            mine.pop()
        done += 1
    for name in mine:
        try:
            os.unlink(name, dir_fd=at)
        except FileNotFoundError:
            pass
    return done


def watch(folder, n, size, stop, results):
    """Lists again and again; each stable entry must come exactly once in each listing."""
    rounds = strange = 0
    try:
        while rounds == 0 or not stop.is_set():
            seen = bytearray(n)
            once = set()
            for name in listing(folder, size):
                if name[:1] == b"e":
                    i = int(name[1:])
                    if seen[i]:
                        raise AssertionError("%s came twice" % name)
                    seen[i] = 1
                elif name[:1] == b"t":
                    # a name that was removed and made again may come again, but these are never made twice
                    if name in once:
                        raise AssertionError("%s came twice" % name)
                    once.add(name)
                    strange += 1
            if sum(seen) != n:
                raise AssertionError("%d of %d are missing, e%d among them" % (n - sum(seen), n, seen.index(0)))
            rounds += 1
        results.put((size, rounds, strange, ""))
    except Exception as e:  # told to the parent, which fails
        results.put((size, rounds, strange, repr(e)))


def stable(folder, n, seconds):
    stop, results = multiprocessing.Event(), multiprocessing.Queue()
    sizes = [1 << 20, 32768, 4096, 600]
    others = [multiprocessing.Process(target=disturb, args=(folder, k, stop)) for k in range(2)]
    watchers = [multiprocessing.Process(target=watch, args=(folder, n, s, stop, results)) for s in sizes]
    for p in others + watchers:
        p.start()
    time.sleep(seconds)  # how long the test lasts, not a way to wait for something
    stop.set()
    answers = [results.get(timeout=600) for _ in watchers]
    for p in others + watchers:
        p.join(600)
    for size, rounds, strange, why in sorted(answers):
        print("getdents of %d bytes: %d listings, %d entries of others seen" % (size, rounds, strange))
        if why:
            sys.exit(why)
    if any(p.exitcode != 0 for p in others):
        sys.exit("a process that adds and removes has failed")
    if sum(a[2] for a in answers) == 0:
        sys.exit("no listing met an entry that was added")
    left = sum(1 for _ in listing(folder, 1 << 20)) - 2
    if left != n:
        sys.exit("%d entries in the end, %d expected" % (left, n))


class Dir:
    def __init__(self, folder):
        self.handle = libc.opendir(os.fsencode(folder))
        if not self.handle:
            raise OSError(ctypes.get_errno(), folder)

    def read(self):
        entry = libc.readdir(self.handle)
        return ctypes.string_at(entry + NAME_AT) if entry else None

    def tell(self):
        return libc.telldir(self.handle)

    def seek(self, position):
        libc.seekdir(self.handle, position)

    def rewind(self):
        libc.rewinddir(self.handle)

    def close(self):
        libc.closedir(self.handle)


def positions(folder, step):
    """[(position, the name that follows, the one after that)] for each step-th entry, and all names in their order."""
    d = Dir(folder)
    order, at = [], []
    while True:
        position = d.tell()
        name = d.read()
        if name is None:
            break
        if len(order) % step == 0:
            at.append((position, len(order)))
        order.append(name)
    d.close()
    return [(p, order[i], order[i + 1] if i + 1 < len(order) else None) for p, i in at], order


def seek(folder, n):
    marks, order = positions(folder, max(1, n // 500))
    assert len(order) == n + 2 and len(set(order)) == n + 2, len(order)
    r = random.Random(5)
    r.shuffle(marks)
    d = Dir(folder)
    for position, name, _ in marks:
        d.seek(position)
        assert d.read() == name, (position, name)
    # What follows a position may be removed: then it comes once more at most, from what the kernel has read already, or the
    # next one does.
    for position, name, after in marks[:100]:
        if name in (b".", b"..") or after in (None, b"..") or name[:1] != b"e":
            continue
        os.unlink(os.fsencode(folder) + b"/" + name)
        d.seek(position)
        got = d.read()
        assert got in (name, after), (position, name, got, after)
        if got == name:
            got = d.read()
            assert got == after, (position, name, got, after)
        os.mknod(os.fsencode(folder) + b"/" + name, 0o600)
    # A new name is seen after rewinddir, and everything else still once.
    os.mknod(os.path.join(folder, "new"), 0o600)
    d.rewind()
    names = []
    while (name := d.read()) is not None:
        names.append(name)
    assert len(names) == n + 3 and len(set(names)) == n + 3 and b"new" in names, len(names)
    d.close()
    os.unlink(os.path.join(folder, "new"))


def save(folder, file):
    marks, order = positions(folder, max(1, len(os.listdir(folder)) // 300))
    with open(file, "w") as f:
        for position, name, _ in marks:
            f.write("%d %s\n" % (position, name.decode()))
    print(len(marks), "positions")


def check(folder, file):
    d = Dir(folder)
    for line in open(file):
        position, name = line.split()
        d.seek(int(position))
        got = d.read()
        assert got == name.encode(), (position, name, got)
    d.close()


if __name__ == "__main__":
    command, folder, rest = sys.argv[1], sys.argv[2], sys.argv[3:]
    if command == "fill":
        fill(folder, int(rest[0]), int(rest[1]))
    elif command == "stable":
        stable(folder, int(rest[0]), float(rest[1]))
    elif command == "seek":
        seek(folder, int(rest[0]))
    elif command == "save":
        save(folder, rest[0])
    elif command == "check":
        check(folder, rest[0])
    else:
        sys.exit("bigdir.py: unknown command " + command)
