#!/usr/bin/env python3
"""past_kinds.py MNT KIND - what one kind of change leaves in the past of a mount, as docs/HISTORY.md says.

The mount has history_settle=0, but for the kinds that are told of a settle of some seconds. Each kind is a
function; it ends with 0 if the past was as it has to be. `past_kinds.py list` names all."""
import ctypes
import mmap
import os
import shutil
import stat
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
EXCHANGE, WHITEOUT, KEEP_SIZE, PUNCH, FOLLOW = 2, 4, 1, 3, 0x400
KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


def at_text(now):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + ".%09dZ" % (now % 10**9)


class Mount:
    def __init__(self, mnt, folder):
        self.mnt, self.folder = mnt, folder
        os.mkdir(self.live(""))

    def live(self, name):
        return os.path.join(self.mnt, self.folder, name)

    def control(self, name):
        return os.path.join(self.mnt, ".engram", name)

    def moment(self):
        """The folder as it is now: a look at it begins another moment with the next change."""
        text = at_text(time.time_ns())
        os.stat(self.control("at/" + text))
        return os.path.join(self.control("at/" + text), self.folder)


def write(path, data, flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC, at=0):
    fd = os.open(path, flags, 0o644)
    os.pwrite(fd, data, at)
    os.close(fd)


def read(*parts):
    with open(os.path.join(*parts), "rb") as file:
        return file.read()


def equal(what, is_, has_to_be):
    if is_ != has_to_be:
        raise SystemExit("%s: %.200r, not %.200r" % (what, is_, has_to_be))


def rename2(old, new, flags):
    if LIBC.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), old)


def names(folder):
    return sorted(os.listdir(folder))


@kind
def writing_in_place(m):
    write(m.live("f"), b"a" * 10000)
    was = m.moment()
    write(m.live("f"), b"b" * 100, os.O_WRONLY, 5000)
    since = m.moment()
    write(m.live("f"), b"c", os.O_WRONLY, 0)
    equal("before", read(was, "f"), b"a" * 10000)
    equal("between", read(since, "f"), b"a" * 5000 + b"b" * 100 + b"a" * 4900)
    equal("inode", os.stat(since + "/f").st_size, 10000)


@kind
def appending(m):
    write(m.live("log"), b"")
    seen = []
    for n in range(20):
        write(m.live("log"), b"line %d\n" % n, os.O_WRONLY | os.O_APPEND)
        seen.append((m.moment(), read(m.live("log"))))
    for was, content in seen:
        equal("log", read(was, "log"), content)


@kind
def truncation(m):
    content = os.urandom(300000)
    write(m.live("f"), content)
    whole = m.moment()
    os.truncate(m.live("f"), 70001)
    cut = m.moment()
    os.truncate(m.live("f"), 200000)
    longer = m.moment()
    os.truncate(m.live("f"), 0)
    empty = m.moment()
    write(m.live("f"), b"new")
    equal("whole", read(whole, "f"), content)
    equal("cut", read(cut, "f"), content[:70001])
    equal("longer", read(longer, "f"), content[:70001] + bytes(200000 - 70001))
    equal("empty", read(empty, "f"), b"")


@kind
def holes(m):
    content = os.urandom(262144)
    write(m.live("f"), content)
    whole = m.moment()
    fd = os.open(m.live("f"), os.O_RDWR)
    if LIBC.fallocate(fd, PUNCH, ctypes.c_long(65536), ctypes.c_long(131072)):
        raise OSError(ctypes.get_errno(), "punch")
    punched = m.moment()
    os.pwrite(fd, b"filled", 100000)
    filled = m.moment()
    os.close(fd)
    write(m.live("f"), b"new")
    hole = content[:65536] + bytes(131072) + content[65536 + 131072:]
    equal("whole", read(whole, "f"), content)
    equal("with a hole", read(punched, "f"), hole)
    equal("filled", read(filled, "f"), hole[:100000] + b"filled" + hole[100006:])


@kind
def fallocate(m):
    write(m.live("f"), b"short")
    was = m.moment()
    fd = os.open(m.live("f"), os.O_RDWR)
    os.posix_fallocate(fd, 0, 100000)
    longer = m.moment()
    if LIBC.fallocate(fd, KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(200000)):
        raise OSError(ctypes.get_errno(), "keep size")
    kept = m.moment()
    os.close(fd)
    os.unlink(m.live("f"))
    equal("before", read(was, "f"), b"short")
    equal("longer", read(longer, "f"), b"short" + bytes(99995))
    equal("the same", os.stat(kept + "/f").st_size, 100000)


@kind
def shared_mapping(m):
    write(m.live("f"), b"a" * 8192)
    was = m.moment()
    fd = os.open(m.live("f"), os.O_RDWR)
    pages = mmap.mmap(fd, 8192)
    pages[4096:4100] = b"bbbb"
    pages.flush()
    since = m.moment()
    pages[0:1] = b"c"
    pages.flush()
    pages.close()
    os.close(fd)
    equal("before", read(was, "f"), b"a" * 8192)
    equal("written back", read(since, "f"), b"a" * 4096 + b"bbbb" + b"a" * 4092)


@kind
def hard_links(m):
    write(m.live("f"), b"one")
    one = m.moment()
    os.link(m.live("f"), m.live("g"))
    two = m.moment()
    write(m.live("g"), b"two")
    os.unlink(m.live("f"))
    left = m.moment()
    os.unlink(m.live("g"))
    equal("links of one", os.stat(one + "/f").st_nlink, 1)
    equal("names of one", names(one), ["f"])
    equal("links of two", [os.stat(two + "/" + n).st_nlink for n in "fg"], [2, 2])
    equal("one inode", os.stat(two + "/f").st_ino, os.stat(two + "/g").st_ino)
    equal("content of two", [read(two, n) for n in "fg"], [b"one", b"one"])
    equal("names left", names(left), ["g"])
    equal("links left", os.stat(left + "/g").st_nlink, 1)
    equal("content left", read(left, "g"), b"two")


@kind
def replaced_and_written_by_another_name(m):
    write(m.live("f"), b"old")
    os.link(m.live("f"), m.live("g"))
    write(m.live("t"), b"new")
    was = m.moment()
    os.rename(m.live("t"), m.live("g"))
    replaced = m.moment()
    write(m.live("f"), b"later")
    equal("before", [read(was, n) for n in "fg"], [b"old", b"old"])
    equal("replaced", [read(replaced, n) for n in "fg"], [b"old", b"new"])
    equal("links", os.stat(replaced + "/f").st_nlink, 1)


@kind
def rename_of_a_folder(m):
    os.makedirs(m.live("a/b/c"))
    write(m.live("a/b/c/f"), b"below")
    was = m.moment()
    os.mkdir(m.live("z"))
    os.rename(m.live("a/b"), m.live("z/moved"))
    moved = m.moment()
    write(m.live("z/moved/c/f"), b"later")
    equal("before", read(was, "a/b/c/f"), b"below")
    equal("no new path then", names(was), ["a"])
    equal("moved", read(moved, "z/moved/c/f"), b"below")
    equal("no old path", names(moved + "/a"), [])


@kind
def exchange(m):
    write(m.live("f"), b"f")
    os.mkdir(m.live("d"))
    write(m.live("d/x"), b"x")
    was = m.moment()
    rename2(m.live("f"), m.live("d"), EXCHANGE)
    since = m.moment()
    shutil.rmtree(m.live("f"))
    equal("before", (read(was, "f"), read(was, "d/x")), (b"f", b"x"))
    equal("since", (read(since, "d"), read(since, "f/x")), (b"f", b"x"))


@kind
def whiteout(m):
    write(m.live("f"), b"f")
    was = m.moment()
    rename2(m.live("f"), m.live("g"), WHITEOUT)
    since = m.moment()
    os.unlink(m.live("f"))
    os.unlink(m.live("g"))
    equal("before", (names(was), read(was, "f")), (["f"], b"f"))
    equal("since", (names(since), read(since, "g")), (["f", "g"], b"f"))
    white = os.lstat(since + "/f")
    equal("a whiteout", (stat.S_ISCHR(white.st_mode), white.st_rdev), (True, 0))


@kind
def without_a_name(m):
    fd = os.open(m.live(""), os.O_TMPFILE | os.O_RDWR, 0o644)
    os.write(fd, b"one")
    was = m.moment()
    os.pwrite(fd, b"two", 0)
    if LIBC.linkat(-100, b"/proc/self/fd/%d" % fd, -100, os.fsencode(m.live("f")), FOLLOW):
        raise OSError(ctypes.get_errno(), "linkat")
    named = m.moment()
    os.pwrite(fd, b"three", 0)
    os.close(fd)
    equal("not there", names(was), [])
    equal("named", read(named, "f"), b"two")


@kind
def open_but_removed(m):
    write(m.live("f"), b"shown")
    fd = os.open(m.live("f"), os.O_RDWR)
    was = m.moment()
    os.unlink(m.live("f"))
    os.pwrite(fd, b"never shown", 0)
    since = m.moment()
    equal("who has it open", os.pread(fd, 100, 0), b"never shown")
    os.close(fd)
    equal("before", read(was, "f"), b"shown")
    equal("gone", names(since), [])


@kind
def modes_owners_and_fields(m):
    write(m.live("f"), b"f")
    os.setxattr(m.live("f"), "user.topic", b"sailing")
    os.chmod(m.live("f"), 0o640)
    os.chown(m.live("f"), 51002, 51003)
    was = m.moment()
    os.chmod(m.live("f"), 0o600)
    os.chown(m.live("f"), 0, 0)
    os.setxattr(m.live("f"), "user.topic", b"rowing")
    since = m.moment()
    os.removexattr(m.live("f"), "user.topic")
    os.setxattr(m.live("f"), "user.other", b"x")

    def sight(folder):
        st = os.stat(folder + "/f")
        fields = sorted((n, os.getxattr(folder + "/f", n)) for n in os.listxattr(folder + "/f"))
        return stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, fields
    equal("before", sight(was), (0o640, 51002, 51003, [("user.topic", b"sailing")]))
    equal("since", sight(since), (0o600, 0, 0, [("user.topic", b"rowing")]))


@kind
def links_and_special_files(m):
    os.symlink("there", m.live("s"))
    os.mkfifo(m.live("p"))
    os.mknod(m.live("n"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    was = m.moment()
    os.unlink(m.live("s"))
    os.symlink("elsewhere", m.live("s"))
    os.unlink(m.live("p"))
    os.unlink(m.live("n"))
    equal("a link", os.readlink(was + "/s"), "there")
    equal("a fifo", stat.S_ISFIFO(os.lstat(was + "/p").st_mode), True)
    equal("a device", os.lstat(was + "/n").st_rdev, os.makedev(1, 3))


@kind
def replaced(m):
    write(m.live("f"), b"old")
    was = m.moment()
    write(m.live("t"), b"new")
    os.replace(m.live("t"), m.live("f"))
    since = m.moment()
    os.unlink(m.live("f"))
    gone = m.moment()
    equal("before", (names(was), read(was, "f")), (["f"], b"old"))
    equal("since", (names(since), read(since, "f")), (["f"], b"new"))
    equal("numbers", os.stat(was + "/f").st_ino == os.stat(since + "/f").st_ino, False)
    equal("removed", names(gone), [])


@kind
def the_same_by_a_guard(m):
    versions = m.control("history/%s/f/@" % m.folder)
    write(m.live("f"), b"same")
    was = len(names(versions))
    m.moment()
    for n in range(3):
        write(m.live("t"), b"same")
        os.setxattr(m.live("t"), "user.engram.if_match", b"state:0")
        os.rename(m.live("t"), m.live("f"))
        m.moment()
    equal("versions", (len(names(versions)), read(versions, names(versions)[-1])), (was, b"same"))
    os.chmod(m.live("f"), 0o600)
    write(m.live("t"), b"same")
    os.setxattr(m.live("t"), "user.engram.if_match", b"state:0")
    os.rename(m.live("t"), m.live("f"))
    equal("of another mode", len(names(versions)), was + 2)


@kind
def a_removed_tree(m):
    for n in range(30):
        os.makedirs(m.live("d/%d" % n))
        write(m.live("d/%d/f" % n), b"%d" % n)
    was = m.moment()
    shutil.rmtree(m.live("d"))
    os.mkdir(m.live("d"))
    since = m.moment()
    write(m.live("d/new"), b"new")
    equal("before", [read(was, "d/%d/f" % n) for n in range(30)], [b"%d" % n for n in range(30)])
    equal("link count", os.stat(was + "/d").st_nlink, 32)
    equal("another folder of that name", names(since + "/d"), [])


# ---- with a settle of some seconds: what stood shorter. What a view in use sees is kept, so nobody looks meanwhile.

def unseen(m):
    """The path of the folder as it is now, which nobody looks at yet; the next change is of another moment."""
    now = time.time_ns()
    time.sleep(0.05)
    return os.path.join(m.control("at/" + at_text(now)), m.folder)


@kind
def short_states(m):
    """What was current for less than history_settle, and not removed, leaves nothing; what it replaced stays."""
    stood = os.urandom(5 * 16384)
    write(m.live("f"), stood)
    time.sleep(2.2)  # that is what this tests: the settle of this mount is 2 s
    was = unseen(m)
    for n in range(50):
        write(m.live("f"), b"short %d" % n, os.O_WRONLY, n % 5 * 16384)
        os.utime(m.live("f"))
    short = unseen(m)
    write(m.live("f"), b"last", os.O_WRONLY | os.O_TRUNC)
    equal("what stood", read(was, "f"), stood)
    equal("a short one is not shown", read(short, "f"), stood)
    root = os.path.dirname(short)
    equal("which is said", os.getxattr(root, "user.engram.exact"), b"no")


@kind
def short_names(m):
    """The name under which a tool writes before it renames leaves none; one that is removed does."""
    write(m.live("f"), b"stood")
    time.sleep(2.2)
    write(m.live(".f.tmp"), b"new")
    during = unseen(m)
    os.rename(m.live(".f.tmp"), m.live("f"))
    write(m.live("lock"), b"lock")
    locked = unseen(m)
    os.unlink(m.live("lock"))
    equal("no temporary name", (names(during), read(during, "f")), (["f"], b"stood"))
    equal("what was removed", read(locked, "lock"), b"lock")


def main():
    if sys.argv[1] == "list":
        print("\n".join(KINDS))
        return
    m = Mount(sys.argv[1], sys.argv[2])
    KINDS[sys.argv[2]](m)


if __name__ == "__main__":
    main()
