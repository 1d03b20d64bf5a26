#!/usr/bin/env python3
"""conflicts.py - who may replace what, with -o conflicts=refuse: processes and threads that read, change and replace.

    conflicts.py MOUNT [GROUP...]     one line for each check: 'ok - NAME' or 'not ok - NAME: why'

Each actor is a process of its own, which does one step after the other as it is told, in its main thread or in
another one. Groups: alone rules truncations anew threads own forked descriptors names oracle race.
"""
import errno
import json
import mmap
import os
import subprocess
import sys
import threading
from random import Random

FAILED = 0


# ---- what an actor can do: in its own process ---------------------------------------------------

class Steps:
    """State of an actor: descriptors and mappings, by name."""

    def __init__(self, folder):
        self.folder = folder
        self.fds = {}
        self.maps = {}
        self.serial = 0

    def p(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.p(name), encoding="ascii") as f:
            return f.read()

    def write(self, name, text):
        with open(self.p(name), "w", encoding="ascii") as f:
            f.write(text)

    def write_and_read(self, name, text):
        with open(self.p(name), "w+", encoding="ascii") as f:
            f.write(text)

    def append(self, name, text):
        with open(self.p(name), "a", encoding="ascii") as f:
            f.write(text)

    def patch(self, name, text):
        with open(self.p(name), "r+", encoding="ascii") as f:
            f.write(text)

    def temporary(self, name, text):
        self.serial += 1
        path = os.path.join(os.path.dirname(self.p(name)), f".tmp-{os.getpid()}-{self.serial}")
        with open(path, "x", encoding="ascii") as f:
            f.write(text)
        return path

    def rename(self, name, text):
        path = self.temporary(name, text)
        try:
            os.rename(path, self.p(name))
        except OSError:
            os.unlink(path)
            raise

    def fixed_rename(self, name, text):
        self.write(name + ".tmp", text)
        os.rename(self.p(name + ".tmp"), self.p(name))

    def fixed_clean(self, name, text):
        """As careful programs do: what could not be put is removed."""
        self.write(name + ".new", text)
        try:
            os.rename(self.p(name + ".new"), self.p(name))
        except OSError:
            os.unlink(self.p(name + ".new"))
            raise

    def spool(self, name):
        self.write("spool.new", "work")
        self.move("spool.new", name)

    def anew_by(self, name, text, how):
        """Removes it first: refused once, if what was removed had not been seen, and done all the same."""
        def put():
            if how == "link":
                os.link(path, self.p(name))
            else:
                self.exclusively(name, text)
        path = self.temporary(name, text)
        os.unlink(self.p(name))
        try:
            put()
        except OSError:
            put()
            raise
        finally:
            os.unlink(path)

    def truncate(self, name, size):
        os.truncate(self.p(name), size)

    def truncate_fd(self, name, text):
        fd = os.open(self.p(name), os.O_WRONLY)
        try:
            os.ftruncate(fd, 0)
            os.write(fd, text.encode())
        finally:
            os.close(fd)

    def truncate_name(self, name, text):
        os.truncate(self.p(name), 0)
        self.append(name, text)

    def vim(self, name, text):
        backup = self.p(name + "~")
        os.rename(self.p(name), backup)
        try:
            fd = os.open(self.p(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        except OSError:
            os.rename(backup, self.p(name))
            raise
        os.write(fd, text.encode())
        os.close(fd)
        os.unlink(backup)

    def vim_backup(self, name, text):
        """As vim, and the old file stays."""
        os.rename(self.p(name), self.p(name + ".bak"))
        try:
            self.write(name, text)
        except OSError:
            os.rename(self.p(name + ".bak"), self.p(name))
            raise

    def anew(self, name, text):
        os.unlink(self.p(name))
        self.write(name, text)

    def away_then(self, name, text, how):
        """Renames it away, and puts something else there by `how`; what was there comes back if that fails."""
        away = self.p(name + ".away")
        temporary = self.temporary(name, text)
        os.rename(self.p(name), away)
        try:
            if how == "symlink":
                os.symlink(temporary, self.p(name))
                return
            (os.link if how == "link" else os.rename)(temporary, self.p(name))
        except OSError:
            os.rename(away, self.p(name))
            os.unlink(temporary)
            raise
        if how == "link":
            os.unlink(temporary)

    def own_link(self, name, text):
        self.unlink(name)
        path = self.temporary(name, text)
        os.link(path, self.p(name))
        os.unlink(path)

    def away_link(self, name, text):
        self.away_then(name, text, "link")

    def away_rename(self, name, text):
        self.away_then(name, text, "rename")

    def away_symlink(self, name, text):
        self.away_then(name, text, "symlink")

    def store(self, name, text):
        """Through a shared mapping."""
        with open(self.p(name), "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
            m[: len(text)] = text.encode()
            m.flush()

    def punch(self, name):
        subprocess.run(["fallocate", "-p", "-o", "0", "-l", "1", self.p(name)], check=True)

    def copy_range(self, name):
        with open(self.temporary(name, "copied"), "rb") as a, open(self.p(name), "r+b") as b:
            os.copy_file_range(a.fileno(), b.fileno(), 6)

    def unlink(self, name):
        os.unlink(self.p(name))

    def fifo(self, name):
        os.mkfifo(self.p(name))

    def move(self, name, to):
        os.rename(self.p(name), self.p(to))

    def exclusively(self, name, text):
        with open(self.p(name), "x", encoding="ascii") as f:
            f.write(text)

    def open(self, name, key, flags):
        self.fds[key] = os.open(self.p(name), flags)

    def close(self, key):
        os.close(self.fds.pop(key))

    def pread(self, key, offset, size):
        return os.pread(self.fds[key], size, offset).decode()

    def pwrite(self, key, offset, text):
        os.pwrite(self.fds[key], text.encode(), offset)

    def ftruncate(self, key, size):
        os.ftruncate(self.fds[key], size)

    def map(self, name):
        fd = os.open(self.p(name), os.O_RDONLY)
        self.maps[name] = mmap.mmap(fd, 0, prot=mmap.PROT_READ, flags=mmap.MAP_PRIVATE)
        os.close(fd)

    def unmap(self, name):
        m = self.maps.pop(name)
        text = bytes(m).decode()
        m.close()
        return text

    def fork(self, step, *args):
        """The same by a child."""
        r, w = os.pipe()
        if not os.fork():
            try:
                getattr(self, step)(*args)
                os._exit(0)
            except OSError as e:
                os.write(w, bytes([e.errno]))
                os._exit(1)
        os.close(w)
        error = os.read(r, 1)
        os.close(r)
        os.wait()
        if error:
            raise OSError(error[0], "in the child")

    def execute(self):
        """The same process, another program."""
        os.execv(sys.executable, [sys.executable, os.path.abspath(__file__), "--actor-again", self.folder])

    def race(self, name, rounds, by):
        """Adds a line in each round, again until that is taken. How many were, and how many refused."""
        taken = refused = 0
        for i in range(rounds):
            while True:
                text = self.read(name)
                try:
                    self.rename(name, text + f"{by} {i}\n")
                except OSError as e:
                    if e.errno != errno.ECANCELED:
                        raise
                    refused += 1
                    continue
                taken += 1
                break
        return [taken, refused]

    def edits(self, name, number, how, times):
        """Adds lines, each until it is taken; an empty file is between another's truncation and its write."""
        for i in range(times):
            taken = False
            while not taken:
                text = self.read(name)
                try:
                    if text:
                        getattr(self, how)(name, text + f"{number} {i}\n")
                        taken = True
                except OSError as e:
                    if e.errno != errno.ECANCELED:
                        raise

    def records(self, name, rounds):
        """Appends records of many lengths until the file `stop` is there, and one more; a round ends with a look at what is there."""
        number = 0
        faults = []
        for i in range(rounds):
            fd = os.open(self.p(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            ends = False
            while not ends:
                ends = os.path.exists(self.p(f"stop{i}"))
                for _ in range(20):
                    os.write(fd, f"{number}:".encode().ljust(10 + number * 37 % 150, b"x") + b"\n")
                    number += 1
            os.close(fd)
            with open(self.p(name), "rb") as f:
                lines = f.read().split(b"\n")
            numbers = range(number - len(lines) + 1, number)
            if lines != [f"{n}:".encode().ljust(10 + n * 37 % 150, b"x") for n in numbers] + [b""]:
                faults.append(i)
        return faults

    def truncations(self, name, rounds):
        for i in range(rounds):
            for _ in range(30):
                try:
                    self.read(name)
                    os.close(os.open(self.p(name), os.O_WRONLY | os.O_TRUNC))
                except OSError as e:
                    if e.errno not in (errno.ECANCELED, errno.ENOENT):
                        raise
            os.close(os.open(self.p(f"stop{i}"), os.O_WRONLY | os.O_CREAT, 0o644))

    def write_in_threads(self, name, times):
        refused = []

        def write():
            for i in range(times):
                try:
                    self.write(name, "x" * (10 + i % 50))
                except OSError as e:
                    refused.append(e.errno)
        threads = [threading.Thread(target=write) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        return refused


def actor(folder):
    steps = Steps(folder)
    for line in sys.stdin:
        ask = json.loads(line)
        answer = {}

        def do():
            try:
                answer["result"] = getattr(steps, ask["step"])(*ask["args"])
            except OSError as e:
                answer["errno"] = e.errno
        if ask["thread"]:
            t = threading.Thread(target=do)
            t.start()
            t.join()
        else:
            do()
        print(json.dumps(answer), flush=True)


# ---- the checks ---------------------------------------------------------------------------------

class Actor:
    def __init__(self, folder):
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__), "--actor", folder],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, step, *args, thread=False):
        self.process.stdin.write(json.dumps({"step": step, "args": args, "thread": thread}) + "\n")
        self.process.stdin.flush()

    def end(self):
        answer = json.loads(self.process.stdout.readline())
        return errno.errorcode[answer["errno"]] if "errno" in answer else answer.get("result")

    def do(self, step, *args, thread=False):
        self.begin(step, *args, thread=thread)
        return self.end()

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def check(name, got, wanted):
    global FAILED
    if got == wanted:
        print(f"ok - {name}", flush=True)
    else:
        FAILED += 1
        print(f"not ok - {name}: expected {wanted!r}, got {got!r}", flush=True)


REFUSED = "ECANCELED"
REPLACEMENTS = ("write", "write_and_read", "rename", "fixed_rename", "truncate_fd", "truncate_name", "vim", "vim_backup", "anew",
                "away_link", "away_rename", "away_symlink")
CHANGES = {"append": ("more",), "write": ("other",), "patch": ("X",), "rename": ("other",), "vim": ("other",), "vim_backup": ("other",),
           "anew": ("other",), "truncate": (3,), "truncate_fd": ("other",), "store": ("X",), "punch": (), "copy_range": (),
           "own_link": ("other",),
           "away_link": ("other",), "away_rename": ("other",)}


class Groups:
    def __init__(self, mnt):
        self.mnt = mnt
        self.made = 0
        self.actors = []

    def file(self, text="something to begin with"):
        """A new memory in a folder of its own, made by nobody who is an actor."""
        self.made += 1
        folder = os.path.join(self.mnt, f"d{os.getpid()}-{self.made}")
        os.mkdir(folder)
        with open(os.path.join(folder, "f"), "w", encoding="ascii") as f:
            f.write(text)
        return folder

    def new(self, folder):
        a = Actor(folder)
        self.actors.append(a)
        return a

    def stop(self):
        for a in self.actors:
            a.stop()
        self.actors = []

    def alone(self):
        for way in REPLACEMENTS:
            folder = self.file()
            a = self.new(folder)
            wrong = []
            for i in range(20):
                if way == "away_symlink" and i:
                    break
                wrong += [r for r in (a.do("read", "f"), a.do(way, "f", f"round {i}")) if r and r.startswith("E")]
            check(f"alone: reads and replaces again and again: {way}", wrong, [])
            wrong = [r for i in range(10) if (r := a.do(way, "f", f"once more {i}")) and way != "away_symlink"]
            check(f"alone: replaces without reading again: {way}", wrong, [])
            self.stop()

    def rules(self):
        a, b, c = (self.new(self.mnt) for _ in range(3))
        for way in REPLACEMENTS:
            for change, args in CHANGES.items():
                f = os.path.join(os.path.basename(self.file()), "f")
                a.do("read", f)
                check(f"rules: {change} by another, who has not read it", b.do(change, f, *args), None)
                is_there = c.do("read", f)
                check(f"rules: after {change} {way} is refused", a.do(way, f, "mine"), REFUSED)
                if way != "anew":  # what was unlinked is gone
                    check(f"rules: after {change} {way} has changed nothing", c.do("read", f), is_there)
                    check(f"rules: and is refused again: {way} after {change}", a.do(way, f, "mine"), REFUSED)
                    a.do("read", f)
                check(f"rules: read again, {way} after {change}", a.do(way, f, "mine"), "ENOENT" if way == "anew" else None)
        self.stop()

    def truncations(self):
        folder = self.file()
        a, b = self.new(folder), self.new(folder)
        a.do("read", "f")
        b.do("append", "f", "more")
        for i in range(3):
            check(f"rules: O_TRUNC is no reading, nor O_RDWR with it: {i}", [a.do("write", "f", "x"), a.do("write_and_read", "f", "x")],
                  [REFUSED, REFUSED])
        check("rules: who never saw it may replace it", self.new(folder).do("rename", "f", "x"), None)
        check("rules: a truncation to more than nothing is no replacement", a.do("truncate", "f", 1), None)
        check("rules: nor is writing in place", [a.do("patch", "f", "y"), a.do("append", "f", "y")], [None, None])
        check("rules: nor a removal", a.do("unlink", "f"), None)
        a.begin("records", "log", 50)
        b.do("truncations", "log", 50)
        check("truncations: what is appended while another truncates has its place", a.end(), [])
        self.stop()

    def anew(self):
        """What vim does, and others: a file is made under a name from which it took what it had read."""
        a, b = self.new(self.mnt), self.new(self.mnt)
        for way in ("vim", "vim_backup", "anew", "away_link", "away_rename"):
            f = os.path.join(os.path.basename(self.file()), "f")
            a.do("read", f)
            b.do("append", f, "more")
            check(f"anew: {way}", a.do(way, f, "mine"), REFUSED)
        self.stop()

    def threads(self):
        folder = self.file()
        a, b = self.new(folder), self.new(folder)
        a.do("read", "f", thread=True)
        check("threads: read in one, replaced in another", a.do("rename", "f", "one", thread=True), None)
        check("threads: and in the first", a.do("write", "f", "two"), None)
        check("threads: four of one process write one file again and again", a.do("write_in_threads", "own", 300), [])
        b.do("append", "f", "more")
        check("threads: what one has seen, another may not replace by older", a.do("write", "f", "x", thread=True), REFUSED)
        check("threads: nor the first", a.do("rename", "f", "x"), REFUSED)
        a.do("read", "f", thread=True)
        check("threads: one has read it again", a.do("rename", "f", "three"), None)
        self.stop()

    def own(self):
        folder = self.file()
        a, b = self.new(folder), self.new(folder)
        for change, args in (("append", ("more",)), ("patch", ("X",)), ("truncate", (3,)), ("store", ("Y",)), ("punch", ()),
                             ("copy_range", ())):
            if change == "punch":  # by a child, which is another process
                continue
            a.do("read", "f")
            a.do(change, "f", *args)
            check(f"own: {change} by itself counts as seen", a.do("rename", "f", "something new"), None)
        a.do("read", "f")
        b.do("append", "f", "theirs")
        a.do("append", "f", "mine")
        check("own: what it adds to what it has not seen does not", a.do("rename", "f", "x"), REFUSED)
        a.do("exclusively", "g", "made")
        b.do("append", "g", "theirs")
        check("own: what it has made it has seen", a.do("write", "g", "x"), REFUSED)
        b.do("rename", "g", "theirs")
        check("own: and what another puts in its place is newer", a.do("rename", "g", "x"), REFUSED)
        a.do("rename", "h", "made")
        b.do("append", "h", "theirs")
        check("own: what it has renamed it has seen", a.do("write", "h", "x"), REFUSED)
        self.stop()

    def forked(self):
        folder = self.file()
        a = self.new(folder)
        a.do("read", "f")
        check("forked: a child has seen nothing", a.do("fork", "rename", "f", "child"), None)
        check("forked: and is another process than its parent", a.do("rename", "f", "parent"), REFUSED)
        b = self.new(folder)
        a.do("read", "f")
        b.do("append", "f", "more")
        a.do("execute")
        check("forked: another program in the same process", a.do("rename", "f", "x"), REFUSED)
        self.stop()

    def descriptors(self):
        folder = self.file("0123456789" * 10)
        a, b = self.new(folder), self.new(folder)
        a.do("open", "f", "r", os.O_RDONLY)
        a.do("pread", "r", 0, 1000)
        b.do("write", "f", "other" * 20)
        check("descriptors: read before, and open still", a.do("rename", "f", "x"), REFUSED)
        a.do("pread", "r", 0, 1000)
        check("descriptors: read again by the same one", a.do("write", "f", "x" * 100), None)
        a.do("pread", "r", 0, 50)
        b.do("read", "f")
        b.do("write", "f", "other" * 20)
        a.do("pread", "r", 50, 1000)
        check("descriptors: half of one version, half of another", a.do("write", "f", "x"), REFUSED)
        a.do("pread", "r", 0, 1000)
        b.do("append", "f", "more")
        a.do("pread", "r", 100, 1000)
        check("descriptors: what was appended is read on", a.do("write", "f", "y" * 100), None)
        a.do("close", "r")
        b.do("read", "f")
        b.do("append", "f", "more")
        a.do("open", "f", "w", os.O_RDWR)
        a.do("pread", "w", 0, 1000)
        b.do("append", "f", "more")
        a.do("pread", "w", 0, 1000)
        check("descriptors: through the cache, nobody knows what was read", a.do("ftruncate", "w", 0), None)
        a.do("pwrite", "w", 0, "journal")
        b.do("append", "f", "more")
        a.do("close", "w")
        check("descriptors: closed, it may have seen what was there then", a.do("rename", "f", "new"), None)
        b.do("append", "f", "more")
        check("descriptors: but not what came later", a.do("rename", "f", "x"), REFUSED)
        a.do("map", "f")
        b.do("append", "f", "more")
        check("descriptors: mapped, and closed", a.do("rename", "f", "mapped"), None)
        a.do("unmap", "f")
        with open(os.path.join(folder, "big"), "wb") as f:
            f.truncate(2 << 20)
        a.do("open", "big", "r", os.O_RDONLY)
        a.do("pread", "r", 0, 10)
        b.do("append", "big", "more")
        check("descriptors: a large file is read through the cache", a.do("rename", "big", "x"), None)
        a.do("close", "r")
        self.stop()

    def names(self):
        folder = self.file()
        a, b = self.new(folder), self.new(folder)
        a.do("read", "f")
        b.do("move", "f", "g")
        check("names: moved by another, unchanged, it is the same memory", a.do("rename", "g", "x"), None)
        b.do("write", "f", "another")
        check("names: what another makes at the old name is newer than what was seen there", a.do("rename", "f", "x"), REFUSED)
        a.do("read", "f")
        a.do("write", "f~", "backup")
        b.do("vim", "f", "b")
        b.do("vim_backup", "f", "b")
        a.do("read", "f")
        check("names: a backup that was never read is replaced", [a.do("move", "f", "f.bak"), a.do("write", "f", "new")], [None, None])
        a.do("exclusively", "lock", "1")
        a.do("unlink", "lock")
        b.do("exclusively", "lock", "2")
        b.do("unlink", "lock")
        check("names: a lock file that comes and goes", a.do("exclusively", "lock", "3"), None)
        a.do("exclusively", "pipe", "1")
        a.do("unlink", "pipe")
        a.do("fifo", "pipe0")
        a.do("move", "pipe0", "pipe")
        a.do("unlink", "pipe")
        check("names: what is no memory is none of a name's states", a.do("exclusively", "pipe", "2"), None)
        for i in range(5):
            one, other = (a, b) if i % 2 else (b, a)
            one.do("read", "f")
            check(f"names: both use one temporary name: {i}", one.do("fixed_rename", "f", "x"), None)
            other.do("read", "f")
        b.do("write", "f.tmp", "left by a crash")
        for i in range(3):
            check(f"names: a temporary name, again after a consumer has changed what got it: {i}", a.do("spool", f"job{i}"), None)
            b.do("append", f"job{i}", "done")
        check("names: a temporary file of another, who has ended", a.do("fixed_rename", "f", "x"), None)
        self.stop()

    def oracle(self):
        """At random, against what each has seen: nobody is refused, nor let through, who should not be."""
        for seed in range(12):
            random = Random(seed)
            folder = self.file("begin")
            actors = [self.new(folder) for _ in range(3)]
            present, seen, told = "begin", [None] * 3, []
            for i in range(150):
                who = random.randrange(3)
                step = random.choice(("read", "read", "append", "write", "rename", "fixed_clean", "vim", "truncate_name", "link", "new"))
                text = f"{seed}.{i} "
                stale = seen[who] not in (None, present)
                wanted, before = None, present
                if step == "read":
                    wanted = seen[who] = present
                elif step == "append":
                    present += text
                    seen[who] = present if seen[who] == before else seen[who]
                else:
                    wanted = REFUSED if stale else None
                    if not stale or step in ("link", "new"):
                        present = seen[who] = text
                args = {"read": ("read", "f"), "link": ("anew_by", "f", text, "link"), "new": ("anew_by", "f", text, "new")}
                got = actors[who].do(*args.get(step, (step, "f", text)))
                told.append((who, step))
                if got != wanted:
                    check(f"oracle: seed {seed}, after {told[-12:]}", got, wanted)
                    break
            else:
                check(f"oracle: seed {seed}", True, True)
            self.stop()

    def race(self):
        folder = self.file("")
        actors = [self.new(folder) for _ in range(8)]
        for i, a in enumerate(actors):
            a.begin("race", "f", 25, i)
        results = [a.end() for a in actors]
        lines = self.new(folder).do("read", "f").splitlines()
        wanted = sorted(f"{i} {n}" for i in range(8) for n in range(25))
        check("race: each edit that was taken is there, once", sorted(lines), wanted)
        check("race: and some were refused", sum(r[1] for r in results) > 0, True)
        self.stop()
        folder = self.file("begin\n")
        actors = [self.new(folder) for _ in range(6)]
        for i, a in enumerate(actors):
            a.begin("edits", "f", i, "rename" if i % 2 else "write", 60)
        for a in actors:
            a.end()
        lines = self.new(folder).do("read", "f").splitlines()
        wanted = sorted(["begin"] + [f"{i} {n}" for i in range(6) for n in range(60)])
        check("race: nor is an edit lost where some rename and some truncate", sorted(lines), wanted)
        self.stop()


def main():
    if sys.argv[1] == "--actor-again":
        print("{}", flush=True)
    if sys.argv[1].startswith("--actor"):
        actor(sys.argv[2])
        return
    groups = Groups(sys.argv[1])
    for name in sys.argv[2:] or ("alone", "rules", "truncations", "anew", "threads", "own", "forked", "descriptors", "names", "oracle", "race"):
        getattr(groups, name)()
    sys.exit(1 if FAILED else 0)


main()
