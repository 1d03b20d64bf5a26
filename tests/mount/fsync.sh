#!/usr/bin/env bash
# fsync.sh - fsyncs are flushed in groups (fs/fsync.c), and each is answered by a flush that began after it: what was written
# before is durable then, also where another flush was under way. A daemon that answers by the flush under way is found out.
#
#   tests/mount/fsync.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 cc
MNT=$WORK/mnt STALL=$WORK/stall
cc -shared -fPIC -o "$WORK/stall.so" "$(dirname "$0")/stall_shim.c" -ldl || {
    not_ok "setup" "the shim does not compile"
    exit 1
}
cat >"$WORK/group.py" <<'P'
"""group.py MOUNT STALL KIND N: while a flush stands still, since the disk does not answer, N files are changed and asked to be
durable. Says in which batch the last of them was, and up to which batch all was durable when each of them was answered."""
import os, re, sys, threading, time
mount, stall, kind, n = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def until(done):
    end = time.time() + 30
    while not done():
        if time.time() > end:
            print("it does not come so far", flush=True)
            if os.path.exists(stall):
                os.unlink(stall)
            os._exit(1)
        time.sleep(0.01)
def marks():
    text = open(mount + "/.engram/status").read()
    return tuple(map(int, re.search(r"batch +(\d+), durable to (\d+),", text).groups()))
def came(op):
    return int(re.search(r'^engram_fuse_requests_total{op="%s"} (\d+)' % op, open(mount + "/.engram/metrics").read(), re.M)[1])
def opened(name):
    return os.open(mount + "/" + name, os.O_CREAT | os.O_WRONLY)
first, others = opened("first"), [opened("other%d" % i) for i in range(n)]
os.makedirs(mount + "/folder", exist_ok=True)
folder = os.open(mount + "/folder", os.O_RDONLY | os.O_DIRECTORY)
sync = {"fsync": os.fsync, "fdatasync": os.fdatasync, "fsyncdir": lambda fd: os.fsync(folder)}[kind]
op = "fsyncdir" if kind == "fsyncdir" else "fsync"
os.fsync(first)
os.write(first, b"first")
before = came("fsync")
open(stall, "w").close()
answers = []
def ask(fd):
    sync(fd)
    answers.append(marks()[1])
threads = [threading.Thread(target=os.fsync, args=(first,))]
threads[0].start()
until(lambda: came("fsync") == before + 1)
until(lambda: os.path.exists(stall + ".in")) # it is within its flush
before = came(op)
for fd in others:
    os.write(fd, b"second")
batch = marks()[0]
for fd in others:
    threads.append(threading.Thread(target=ask, args=(fd,)))
    threads[-1].start()
until(lambda: came(op) == before + n)
early = len(answers)
os.unlink(stall)
for t in threads:
    t.join(30)
print("early" if early else "", "durable" if len(answers) == n and min(answers) >= batch else "not durable", batch, answers)
P
remount() {
    export STALL_SHIM=$STALL
    LD_PRELOAD=$WORK/stall.so must_mount "$WORK/store" "$MNT" -o commit=3600
    unset STALL_SHIM
}
group() { # KIND N: says what came of it
    rm -f "$STALL.in"
    timeout 100 python3 "$WORK/group.py" "$MNT" "$STALL" "$@" 2>&1
}
remount
for kind in fsync fdatasync fsyncdir; do # of one folder the kernel syncs one at a time
    n=20
    [ $kind != fsyncdir ] || n=1
    said=$(group $kind $n)
    if [[ $said == " durable "* ]]; then ok "$kind while a flush is under way"; else not_ok "$kind while a flush is under way" "$said"; fi
    rm -f "$MNT"/other* "$STALL"
done
check "unmount" unmount_store "$MNT"

# ---- that it notices
ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
if [ -x "$ENGRAMFS" ]; then
    export FS_MUTANT_LATE_TAKE=1
    remount
    unset FS_MUTANT_LATE_TAKE
    said=$(group fsync 20)
    if [[ $said == " not durable "* ]]; then ok "a flush that began before is noticed"; else not_ok "a flush that began before is noticed" "$said"; fi
    rm -f "$STALL"
    check "unmount" unmount_store "$MNT"
else
    skip "a flush that began before is noticed" "tests/mount/fsfuzz/engramfs is not built"
fi
check "engramctl check" "$CTL" check "$WORK/store"
t_end
