#!/usr/bin/env python3
"""past_writers.py FOLDER SEED N: N processes that change what is below FOLDER, each in each way there is, until they are killed.

They share the folders and half of the names, so that they meet: what another one has taken away meanwhile is passed over. Nothing is
stored through mappings, which the kernel would have and the daemon not.
"""
import ctypes
import os
import random
import signal
import sys

FOLDER, SEED, N = os.fsencode(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
FOLDERS, NAMES, LARGE = 4, 5, 60000
libc = ctypes.CDLL(None, use_errno=True)


def fallocate(fd, mode, at, size):
    libc.fallocate(fd, mode, ctypes.c_int64(at), ctypes.c_int64(size))


class Writer:
    def __init__(self, me):
        self.me = me
        self.random = random.Random(SEED * 1000 + me)

    def folder(self):
        return b"%s/d%d" % (FOLDER, self.random.randrange(FOLDERS))

    def name(self):
        # odd bytes, and half of the names one's own
        whose = b"\xff\n" if self.random.random() < 0.5 else b"%d" % self.me
        return b"%s/%s-%d" % (self.folder(), whose, self.random.randrange(NAMES))

    def data(self, most=LARGE):
        return self.random.randbytes(self.random.choice((0, 10, 400, 5000, self.random.randrange(most))))

    def put(self, path, flags, data):
        fd = os.open(path, flags | os.O_WRONLY, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)

    def create(self):
        self.put(self.name(), os.O_CREAT | os.O_TRUNC, self.data())

    def append(self):
        self.put(self.name(), os.O_APPEND, self.data(3000))

    def overwrite(self):
        fd = os.open(self.name(), os.O_WRONLY)
        try:
            os.pwrite(fd, self.data(20000), self.random.randrange(LARGE))
        finally:
            os.close(fd)

    def punch(self):
        fd = os.open(self.name(), os.O_WRONLY)
        try:
            fallocate(fd, self.random.choice((0, 1, 3)), self.random.randrange(LARGE), 1 + self.random.randrange(50000))
        finally:
            os.close(fd)

    def truncate(self):
        os.truncate(self.name(), self.random.randrange(LARGE))

    def replace(self):
        temporary = b"%s/.%d" % (self.folder(), self.me)
        self.put(temporary, os.O_CREAT | os.O_TRUNC, self.data())
        os.rename(temporary, self.name())

    def move(self):
        os.rename(self.name(), self.name())

    def exchange(self):
        libc.renameat2(-100, self.name(), -100, self.name(), 2)

    def move_folder(self):
        path, away = self.folder(), self.folder() + b"/in"
        os.rename(path, away)
        os.rename(away, path)

    def link(self):
        os.link(self.name(), self.name())

    def symlink(self):
        os.symlink(self.data(900).replace(b"\0", b"0") or b"x", self.name())

    def remove(self):
        os.unlink(self.name())

    def make_folder(self):
        os.mkdir(self.folder(), 0o755)
        os.mkdir(self.name())

    def remove_folder(self):
        os.rmdir(self.name())

    def mode(self):
        os.chmod(self.name(), self.random.randrange(0o1000))
        os.chmod(self.folder(), 0o700 | self.random.randrange(0o100))

    def times(self):
        os.utime(self.name(), ns=(0, self.random.randrange(10**18)))

    def field(self):
        os.setxattr(self.name(), b"user.%d" % self.random.randrange(4), self.data(100)[:100])

    def no_field(self):
        os.removexattr(self.name(), b"user.%d" % self.random.randrange(4))

    def unlinked(self):
        """Written to when it has no name any more."""
        path = self.name()
        fd = os.open(path, os.O_RDWR)
        try:
            os.unlink(path)
            os.pwrite(fd, self.data(), 100)
        finally:
            os.close(fd)

    def run(self):
        ways = [self.create] * 3 + [self.append, self.overwrite, self.replace] * 2 + [
            self.punch, self.truncate, self.move, self.exchange, self.move_folder, self.link, self.symlink, self.remove,
            self.make_folder, self.remove_folder, self.mode, self.times, self.field, self.no_field, self.unlinked]
        while True:
            try:
                self.random.choice(ways)()
            except OSError:
                pass


def end_with_parent():
    libc.prctl(1, signal.SIGKILL)


end_with_parent()
for number in range(N):
    if os.fork() == 0:
        end_with_parent()
        Writer(number).run()
os.wait()
