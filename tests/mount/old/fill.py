"""fill.py first|second|third MNT: fills a mount step by step with one of each kind; fill.py look MNT: prints all that is in it.

What make.sh had an old engramfs write, and what old_store.sh asks a new one for. Nothing here is random."""
import hashlib
import json
import os
import signal
import stat
import struct
import sys

step, top = sys.argv[1:3]


def text(n, salt):
    """n bytes that look different in each file and pack well."""
    line = f"{salt}: the quick brown fox jumps over the lazy dog {salt}\n".encode()
    return (line * (n // len(line) + 1))[:n]


def put(name, data):
    with open(f"{top}/{name}", "wb") as f:
        f.write(data)


def patch(name, at, data):
    fd = os.open(f"{top}/{name}", os.O_WRONLY)
    os.pwrite(fd, data, at)
    os.fsync(fd)
    os.close(fd)


def field(name, key, value):
    os.setxattr(f"{top}/{name}", "user." + key, value)


def first():  # for the first checkpoint, and for compaction: most of it is overwritten or removed later
    for d in "people/ada", "deep/" + "/".join("abcdefgh"), "closed", "n" * 255:
        os.makedirs(f"{top}/{d}")
    for i in range(40):
        put(f"people/m{i:02}", text(3000 + 97 * i, f"m{i}"))
        field(f"people/m{i:02}", "engram.confidence", b"0.%d" % (i % 10))
    put("people/ada/birthday", b"14 March\n")
    field("people/ada/birthday", "engram.embedding", struct.pack("<768f", *range(768)))
    field("people/ada/birthday", "large", text(60000, "value"))
    for i in range(30):
        field("people/ada/birthday", f"field{i}", b"%d" % i)
    os.link(f"{top}/people/ada/birthday", f"{top}/hard")
    os.link(f"{top}/people/ada/birthday", f"{top}/deep/a/hard")
    os.symlink("people/ada/birthday", f"{top}/link")
    os.symlink("t" * 4000, f"{top}/long-link")
    os.mkfifo(f"{top}/pipe", 0o640)
    os.mknod(f"{top}/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(f"{top}/disk", stat.S_IFBLK | 0o660, os.makedev(8, 1))
    put("empty", b"")
    put(os.fsdecode(b"not\xfftext"), b"bytes")
    put("n" * 255 + "/" + "f" * 255, b"long names")
    put("big", text(300000, "big"))
    with open(f"{top}/sparse", "wb") as f:
        f.truncate(1 << 40)
        f.seek(1 << 30)
        f.write(b"in the middle")
    os.chown(f"{top}/people/ada", 1001, 1002)
    os.chmod(f"{top}/closed", 0o555)
    os.chmod(f"{top}/empty", 0o4711)
    os.sync()


def second():  # after a compaction: what is in survivors is cut, overwritten in part, punched and renamed
    for i in range(0, 40, 2):
        os.unlink(f"{top}/people/m{i:02}")
    for i in range(1, 40, 4):
        put(f"people/m{i:02}", text(2500 + i, f"again{i}"))
    patch("big", 100000, text(5000, "patch"))
    patch("big", 4095, b"XY")
    os.truncate(f"{top}/big", 250001)
    os.truncate(f"{top}/big", 260000)
    os.system(f"fallocate -p -o 40960 -l 20480 '{top}/big'")
    os.rename(f"{top}/people/m03", f"{top}/deep/a/b/moved")
    os.rename(f"{top}/people/m07", f"{top}/people/m11")
    os.removexattr(f"{top}/people/ada/birthday", "user.field7")
    field("people/ada/birthday", "field8", b"another")
    os.utime(f"{top}/people/ada/birthday", ns=(-7, 1000000000000000001))
    os.utime(f"{top}/link", ns=(5, -99000000001), follow_symlinks=False)


def third():  # behind the last checkpoint, in the log alone
    put("late", text(20000, "late"))
    field("late", "engram.confidence", b"1")
    patch("people/m39", 10, b"LATE")
    os.rename(f"{top}/hard", f"{top}/harder")
    os.unlink(f"{top}/pipe")
    os.mkdir(f"{top}/last")
    fd = os.open(f"{top}/orphan", os.O_RDWR | os.O_CREAT)
    os.write(fd, text(9000, "orphan"))
    os.unlink(f"{top}/orphan")
    patch("late", 19999, b"!")  # fsync: all of it is durable; the orphan is still open when the daemon is killed
    print("ready", flush=True)
    signal.pause()


def attributes(path, st):
    if not (stat.S_ISREG(st.st_mode) or stat.S_ISDIR(st.st_mode)):
        return {}
    names = sorted(os.listxattr(path))
    if stat.S_ISREG(st.st_mode):
        names += ["user.engram.version"] + ["user.engram.content_hash"] * (st.st_size < 1 << 24)
    return {n: hashlib.sha256(os.getxattr(path, n)).hexdigest()[:16] for n in names}


def content(path, st):
    """Of the data only: each run of it, where it lies and what it says. Holes are not read."""
    runs, at = [], 0
    fd = os.open(path, os.O_RDONLY)
    whole = st.st_size < 1 << 24
    digest = hashlib.sha256()
    while not whole and at < st.st_size:
        try:
            at = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        end = os.lseek(fd, at, os.SEEK_HOLE)
        data = os.pread(fd, end - at, at)
        first = len(data) - len(data.lstrip(b"\0"))
        runs.append([at + first, hashlib.sha256(data.strip(b"\0")).hexdigest()])
        at = end
    while whole and (data := os.read(fd, 1 << 20)):
        digest.update(data)
    os.close(fd)
    return digest.hexdigest() if whole else runs


def look():
    for folder, dirs, files in os.walk(os.fsencode(top)):
        dirs.sort()
        for name in [b"."] + sorted(files + [d for d in dirs if os.path.islink(os.path.join(folder, d))]):
            path = os.path.join(folder, name)
            st = os.lstat(path)
            line = {"path": os.path.relpath(path, os.fsencode(top)).decode("latin-1"), "mode": oct(st.st_mode), "ino": st.st_ino,
                    "nlink": st.st_nlink, "owner": [st.st_uid, st.st_gid], "rdev": st.st_rdev, "mtime": st.st_mtime_ns,
                    "ctime": st.st_ctime_ns, "attributes": attributes(path, st)}
            if stat.S_ISREG(st.st_mode):
                line.update(size=st.st_size, content=content(path, st))
            elif stat.S_ISLNK(st.st_mode):
                line["target"] = os.readlink(path).decode()
            print(json.dumps(line, sort_keys=True))


{"first": first, "second": second, "third": third, "look": look}[step]()
