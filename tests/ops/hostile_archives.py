"""hostile_archives.py CTL SEED COUNT LIMIT K N: imports archives and trees that mean ill into mnt/ and into stores; see archives.sh.

Of the numbers below COUNT it takes every Nth, from K. Works in the current folder. Exit status 1, with a line for each fault, if there was one."""
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import time

ctl, (seed, count, limit, first, step) = sys.argv[1], map(int, sys.argv[2:7])
here = os.getcwd()
outside = here + "/outside"
faults = 0

NAMES = ["a", "b", "c", "dir", "..", ".", "", "%fa", "%", "a\nb", "\x1b[2J", "\udcff\udcfe", "ä", "x" * 255, "x" * 256, ".engram",
         ".engramctl-1-0.part", "-rf", "con", " ", "*", "lost+found"]
TARGETS = ["/", "..", "../..", outside, outside + "/file", "../../outside", ".", "a", "dir", "/etc/passwd", "", "x" * 4000, "/proc/self/fd"]


def fault(number, what):
    global faults
    faults += 1
    print(f"archive {number} of seed {seed}: {what}", flush=True)


def digest():
    """What is outside of the target: each file, its mode, owner, time and content."""
    state = []
    for top, dirs, files in os.walk(outside):
        dirs.sort()
        for name in ["."] + sorted(files):
            path = os.path.join(top, name)
            st = os.lstat(path)
            state.append((path, st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_mtime_ns, st.st_nlink))
            if name != ".":
                state.append(open(path, "rb").read())
    return state


def a_name(r):
    if r.random() < 0.05:
        return "/".join(["d"] * r.randrange(1, 1200))
    name = "/".join(r.choice(NAMES) for _ in range(r.choice([1, 1, 2, 2, 3, 5])))
    if r.random() < 0.15:
        name = r.choice(["/", "//", "../", "../../", outside + "/", "./"]) + name
    return name


def an_archive(r, path):
    formats = [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
    made = io.BytesIO()
    archive = tarfile.open(fileobj=made, mode="w", format=r.choice(formats), errors="surrogateescape")
    names = []
    for _ in range(r.randrange(1, 25)):
        info = tarfile.TarInfo(r.choice(names) if names and r.random() < 0.4 else a_name(r))
        if names and r.random() < 0.2:
            info.name = r.choice(names) + "/" + r.choice(NAMES)  # through what an earlier one made
        names.append(info.name)
        info.type = r.choice([tarfile.REGTYPE] * 6 + [tarfile.DIRTYPE] * 3 + [tarfile.SYMTYPE] * 4 + [tarfile.LNKTYPE] * 3 +
                             [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"7", b"Z"])
        info.mode = r.choice([0o644, 0o600, 0, 0o777, 0o4755, 0o2777, 0o1777, 0o7777])
        info.uid, info.gid = r.choice([0, 1000, 65534, 2097151]), r.choice([0, 1000])
        info.mtime = r.choice([0, 1, 1700000000, 2 ** 33 - 1])
        info.devmajor, info.devminor = r.choice([(1, 3), (8, 0), (255, 255)])
        if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
            info.linkname = r.choice(TARGETS + names)
        if r.random() < 0.1:
            info.pax_headers = r.choice([{"SCHILY.xattr.user.engram.id": "a"}, {"SCHILY.xattr.user.a": "x" * 70000},
                                         {"SCHILY.xattr.user.": "x"}, {"SCHILY.xattr.trusted.a": "x"}, {"path": "../out"},
                                         {"size": "99999999999999"}, {"linkpath": "/"}, {"mtime": "-1e99"}])
        data = r.randbytes(r.choice([0, 1, 100, 5000])) if info.isreg() else b""
        info.size = len(data)
        try:
            archive.addfile(info, io.BytesIO(data))
        except (ValueError, UnicodeError):
            pass  # a format that cannot say it
    archive.close()
    data = bytearray(made.getvalue())
    if r.random() < 0.3:  # a size that lies, with a right checksum
        at = 512 * r.randrange(len(data) // 512)
        data[at + 124:at + 136] = r.choice([b"77777777777\0", b"\x80" + b"\0" * 3 + b"\xff" * 8, b"-0000000001\0", b"00000001000\0"])
        data[at + 148:at + 156] = b" " * 8
        data[at + 148:at + 156] = b"%06o\0 " % sum(data[at:at + 512])
    for _ in range(r.choice([0, 0, 0, 1, 3])):
        data[r.randrange(len(data))] = r.randrange(256)
    if r.random() < 0.1:
        del data[r.randrange(len(data)):]
    with open(path, "wb") as f:
        f.write(data)


def a_tree(r, path):
    os.mkdir(path)
    dirs, files = [os.fsencode(path)], []
    for _ in range(r.randrange(1, 30)):
        name = os.path.join(r.choice(dirs), os.fsencode(r.choice(NAMES)))
        try:
            what = r.randrange(8)
            if what < 2:
                os.mkdir(name)
                dirs.append(name)
            elif what < 4:
                with open(name, "xb") as f:
                    f.write(r.randbytes(r.choice([0, 10, 3000])))
                files.append(name)
                os.chmod(name, r.choice([0o644, 0o4755, 0o400, 0]))
            elif what < 6:
                os.symlink(os.fsencode(r.choice(TARGETS)), name)
            elif what < 7 and files:
                os.link(r.choice(files), name, follow_symlinks=False)
            else:
                os.mkfifo(name)
        except OSError:
            pass  # a name that cannot be, or is taken


def run(number, *args):
    process = subprocess.run([ctl, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if process.returncode not in (0, 1, 2):
        fault(number, f"{args[0]} ended with {process.returncode}: {process.stdout[-200:]!r}")
    return process.returncode


def one(number):
    r = random.Random(seed * 1000003 + number)
    source = here + "/source"
    tree = r.random() < 0.3
    (a_tree if tree else an_archive)(r, source)
    kind = "tree" if tree else "tar"
    target = here + "/mnt/folder"
    os.mkdir(target)
    for _ in range(r.choice([1, 1, 2])):
        run(number, "import", "--format", kind, source, target)
    if number % 10 == 0:
        run(number, "import", "--format", kind, source, here + "/new")
        if os.path.exists(here + "/new") and run(number, "check", here + "/new") != 0:
            fault(number, "the store is not clean")
        shutil.rmtree(here + "/new", ignore_errors=True)
    if number % 7 == 0:
        run(number, "export", "--format", "tree", target, here + "/out")
        run(number, "export", target, here + "/out.tar")
        run(number, "export", target, here + "/out.jsonl")
        remove(here + "/out")
    left = [n for n in os.listdir(here + "/mnt") if n not in ("folder", ".engram")]
    if left:
        fault(number, f"beside the target: {left}")
    remove(target)
    remove(source)


def remove(path):
    subprocess.run(["rm", "-rf", path], check=True, timeout=60)


os.makedirs(outside + "/dir")
for name in ("file", "dir/file"):
    with open(f"{outside}/{name}", "w") as f:
        f.write("not to be touched")
    os.chmod(f"{outside}/{name}", 0o640)
around = sorted(os.listdir(here) + ["out.tar", "out.jsonl"])
before, start, done = digest(), time.monotonic(), 0
for number in range(first, count, step):
    if time.monotonic() - start > limit:
        fault(number, f"not done after {limit:.0f} s")
        break
    one(number)
    done += 1
    if (done % 25 == 0 or number + step >= count) and digest() != before:
        fault(number, f"something outside has changed, by this one or the 24 before of worker {first} of {step}")
        break
stray = sorted(set(os.listdir(here)) - set(around))
if stray:
    fault(done, f"left behind: {stray}")
print(f"# {done} archives and trees in {time.monotonic() - start:.0f} s, {faults} faults")
sys.exit(1 if faults else 0)
