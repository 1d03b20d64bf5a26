#!/usr/bin/env bash
# synced.sh - what is durable when a call on a descriptor with O_DSYNC or O_SYNC returns, by the marks of `status`: on mounts
# with and without -o writeback, of descriptors that have made their file and of others. On ext4, where the same calls must
# flush the disk, and the same one need not, by the flushes of its device. Then that nothing is flushed which need not be, and
# of which bytes user.engram.content_hash is.
#
#   tests/mount/synced.sh BUILD
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
PATH=$PATH:/usr/sbin:/sbin
MNT=$WORK/mnt

cat >"$WORK/synced.py" <<'P'
"""synced.py NAME FOLDER mount|DEVICE"""
import ctypes, errno, mmap, os, re, sys

name, folder, device = sys.argv[1:4]
libc = ctypes.CDLL(None, use_errno=True)


def allocate(fd, mode, at, n):
    if libc.fallocate(fd, mode, ctypes.c_long(at), ctypes.c_long(n)):
        raise OSError(ctypes.get_errno(), "fallocate")


def mark():
    """Grows when the disk is flushed for what was changed."""
    if device == "mount":
        with open(folder + "/.engram/status", encoding="utf-8") as f:
            return int(re.search(r"^ *batch +\d+, durable to (\d+),", f.read(), re.M)[1])
    with open(f"/sys/block/{device}/stat", encoding="ascii") as f:
        return int(f.read().split()[15])


def say(good, what, why):
    print(f"ok - {name}: {what}" if good else f"not ok - {name}: {what}: {why}")


def say_not_flushed(durable, what):
    """Beside compactions, which flush the disk for themselves, that cannot be told."""
    if device != "mount" or os.environ.get("T_COMPACT_LOOP", "0") == "0":
        say(not durable, what + ": no flush", "the disk was flushed")


page = mmap.mmap(-1, 65536)
page.write(b"y" * 65536)
source = os.open(folder + "/source", os.O_CREAT | os.O_RDWR)
os.write(source, b"x" * 100000)
os.fsync(source)
CHANGES = {
    "pwrite": lambda fd: os.pwritev(fd, [page], 0),
    "copy_file_range": lambda fd: os.copy_file_range(source, fd, 65536, 0, 0),
    "sendfile": lambda fd: (os.lseek(fd, 0, os.SEEK_SET), os.sendfile(fd, source, 0, 65536)),
    "fallocate": lambda fd: allocate(fd, 0, 0, 3 << 20),
    "fallocate, keeping the size": lambda fd: allocate(fd, 1, 5 << 20, 1 << 20),
    "zeroing": lambda fd: allocate(fd, 16, 8292, 8192),  # of whole blocks ext4 does not flush for it
    "punching": lambda fd: allocate(fd, 3, 16384, 8192),
}
FLAGS = {"": 0, "O_DSYNC": os.O_DSYNC, "O_SYNC": os.O_SYNC, "O_DSYNC|O_DIRECT": os.O_DSYNC | os.O_DIRECT}
# Without a flag these are durable where the file was there before: the daemon is not told how it was opened.
FLUSHED_UNASKED = {(change, "opened", "") for change in ("fallocate", "fallocate, keeping the size", "zeroing")}


def one(how, flags):
    """Whether each change is durable when it returns."""
    path = folder + "/file"
    if how == "made":
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | FLAGS[flags])
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
        fd = os.open(path, os.O_RDWR | FLAGS[flags])
    os.pwritev(fd, [page], 0)
    for change, do in CHANGES.items():
        os.fsync(fd)
        before = mark()
        do(fd)
        durable = mark() > before
        what = f"{change}, {flags or 'no flag'}, {how}"
        if not flags:
            if device != "mount" or "writeback" in name or (change, how, flags) in FLUSHED_UNASKED:
                continue
            say_not_flushed(durable, what)
        elif change == "punching":  # as on ext4
            say_not_flushed(durable, what)
        else:
            say(durable, what + ": durable", "it returned before that")
    os.close(fd)
    os.unlink(path)


for how in "made", "opened":
    for flags in FLAGS:
        one(how, flags)
P

# The lines of the program, which must end well.
lines_of() { # PROGRAM ARGUMENTS...
    timeout 120 python3 "$@" >"$WORK/out" 2>&1
    local status=$?
    cat "$WORK/out"
    T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$WORK/out")))
    check_equal "$2: the program ran to its end" 0 $status
}

# ---- mounts: the disk is flushed by nothing else, unless compactions run beside this

on_mount() { # NAME OPTIONS
    must_mount "$WORK/store.$1" "$MNT" -o "commit=86400$2"
    lines_of "$WORK/synced.py" "$1" "$MNT" mount
    check "$1: unmount" unmount_store "$MNT"
}
on_mount plain ""
on_mount writeback ,writeback

# ---- ext4

t_more_cleanup() { umount "$WORK/ext4" 2>/dev/null; }
make_control() {
    mkdir -p "$WORK/ext4" && truncate -s 256M "$WORK/ext4.img" && mkfs.ext4 -q -F -b 4096 "$WORK/ext4.img" &&
        mount -o loop,commit=300 "$WORK/ext4.img" "$WORK/ext4"
}
if [ "$(id -u)" -ne 0 ] || ! make_control 2>"$WORK/why"; then
    skip "ext4" "no ext4 to compare with: $(head -c 200 "$WORK/why" 2>/dev/null)"
else
    device=$(findmnt -n -o SOURCE --mountpoint "$WORK/ext4")
    lines_of "$WORK/synced.py" ext4 "$WORK/ext4" "${device#/dev/}"
    umount "$WORK/ext4"
fi

# ---- content_hash and version are of what has reached the daemon

cat >"$WORK/hash.py" <<'P'
"""hash.py NAME FOLDER write|store"""
import mmap, os, sys

name, folder, way = sys.argv[1:4]


def told(path):
    return tuple(os.getxattr(folder + path, "user.engram." + what) for what in ("content_hash", "version"))


def made(path, content):
    fd = os.open(folder + path, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    os.write(fd, content)
    os.fsync(fd)
    return fd


fd, other = made("/" + way, b"old"), made("/other", b"new")
old, new = told("/" + way), told("/other")
m = mmap.mmap(fd, 3)
if way == "write":
    os.pwrite(fd, b"new", 0)
else:
    m[0:3] = b"new"
kept = told("/" + way)
seen = os.pread(os.open(folder + "/" + way, os.O_RDONLY), 9, 0)
is_new = kept[0] == new[0] and kept[1] != old[1]
good = seen == b"new" and (is_new or (kept == old and (way, name) != ("write", "hash")))
print(f"{'ok' if good else 'not ok'} - {name}: after a {way} they are of the {'new' if is_new else 'old'} content, both")
os.fsync(fd)
now = told("/" + way)
print(f"{'ok' if now[0] == new[0] and now[1] != old[1] else 'not ok'} - {name}: after fsync they are of what is read")
os.unlink(folder + "/other")
P
for options in "" ,writeback; do
    must_mount "$WORK/store.hash$options" "$MNT" -o "commit=86400$options"
    for way in write store; do
        lines_of "$WORK/hash.py" "hash${options/,/, }" "$MNT" $way
    done
    check "unmount" unmount_store "$MNT"
done
t_end
