#!/usr/bin/env bash
# On a full disk more writers wait for a compaction than the daemon has threads, and the compaction stands still, since the disk
# does not answer: reading, status, removing and `cancel` are answered all the same, a writer can be killed, and all end.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 mkfs.ext4 losetup cc
if [ "$(id -u)" -ne 0 ]; then
    skip "full_waiters" "not root, no loop device"
    exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
cc -shared -fPIC -o "$WORK/stall.so" "$(dirname "$0")/stall_shim.c" -ldl || {
    not_ok "setup" "the shim does not compile"
    exit 1
}
truncate -s 96M "$WORK/disk.img"
mkfs.ext4 -q -m 0 "$WORK/disk.img"
mkdir "$WORK/disk"
if ! mount -o loop "$WORK/disk.img" "$WORK/disk" 2>"$WORK/mount.err"; then
    skip "full_waiters" "no loop device: $(tail -n 1 "$WORK/mount.err")"
    exit 0
fi
STORE=$WORK/disk/store MNT=$WORK/mnt STALL=$WORK/stall
WRITERS=80 # the daemon has 32 threads, 64 with more than 16 processors

cat >"$WORK/files.py" <<'P'
"""files.py fill MOUNT: memories until there is no room. write MOUNT N PREFIX PID: N processes, each writes to a file of its own
that is there (else the kernel lets one at a time change their folder); tells how many got each errno, 0 for success, and dies if
a writer does not end within two minutes."""
import collections, errno, os, signal, sys, time
mount = sys.argv[2]
def put(name, flags=os.O_CREAT):
    try:
        f = os.open("%s/%s" % (mount, name), flags | os.O_WRONLY)
        try:
            os.write(f, name.encode().ljust(20000))
            if flags == 0:
                os.fsync(f) # with a write-back cache this is where it is written
        finally:
            os.close(f)
        return 0
    except OSError as e:
        return e.errno
if sys.argv[1] == "fill":
    n = 0
    while put("f%d" % n) == 0:
        n += 1
    print(n)
    sys.exit()
pids = []
for i in range(int(sys.argv[3])):
    pid = os.fork()
    if pid == 0:
        os._exit(put("%s%d" % (sys.argv[4], i), 0))
    pids.append(pid)
open(sys.argv[5], "w").write("%d\n" % pids[0])
ends = collections.Counter()
end = time.time() + 120
while pids:
    pid, status = os.waitpid(-1, os.WNOHANG)
    if pid:
        pids.remove(pid)
        ends["killed" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)] += 1
    elif time.time() > end:
        for p in pids:
            os.kill(p, signal.SIGKILL)
        sys.exit("%d writers did not end" % len(pids))
    else:
        time.sleep(0.02)
print(" ".join("%s:%d" % (errno.errorcode.get(k, k), ends[k]) for k in sorted(ends, key=str)))
P

# how many writes have come, says the daemon itself
came() { timeout 20 cat "$MNT/.engram/metrics" | awk '/^engram_fuse_requests_total{op="write"}/ {print int($2)}'; }
all_came() { [ "$(came)" -ge $((came_before + WRITERS)) ]; }
reads_past_the_cache() {
    timeout 20 python3 -c '
import os, sys
f = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
sys.exit(os.read(f, 30000) != b"f1".ljust(20000))' "$MNT/f1"
}
remount() { # OPTIONS...
    export STALL_SHIM=$STALL
    LD_PRELOAD=$WORK/stall.so must_mount "$STORE" "$MNT" -o segment_size=2M "$@"
    unset STALL_SHIM
}
# full, a third of it garbage, and files for the writers
make_full() { # PREFIX
    check "$1: files for the writers" bash -c 'for i in $(seq 0 "$3"); do : >"$1/$2$i"; done' _ "$MNT" "$1" $((WRITERS - 1))
    n=$(timeout 300 python3 "$WORK/files.py" fill "$MNT")
    if [ "$n" -ge 2000 ]; then ok "$1: full with $n memories"; else not_ok "$1: full" "with $n memories"; fi
    check "$1: a third is removed" timeout 120 python3 -c 'import os, sys
for i in range(0, int(sys.argv[2]), 3): os.unlink("%s/f%d" % (sys.argv[1], i))' "$MNT" "$n"
}
begin_writers() { # PREFIX
    came_before=$(came)
    touch "$STALL"
    rm -f "$WORK/pid"
    timeout 200 python3 "$WORK/files.py" write "$MNT" $WRITERS "$1" "$WORK/pid" >"$WORK/out" 2>&1 &
    writers=$!
    check "$1: all writers have come, and metrics can be read" wait_until 60 all_came
    if grep -q . "$WORK/out"; then not_ok "$1: they wait" "$(cat "$WORK/out")"; else ok "$1: they wait"; fi
}
ends_with() { # NAME PATTERN
    wait "$writers"
    if grep -qE -- "$2" "$WORK/out"; then ok "$1: $(cat "$WORK/out")"; else not_ok "$1" "$(cat "$WORK/out")"; fi
}

remount -o rw
make_full cancelled
begin_writers cancelled
check "a memory is read while all wait" reads_past_the_cache
check "status is read" timeout 20 cat "$MNT/.engram/status"
check "a memory is removed" timeout 20 rm "$MNT/f2"
check "the compaction is cancelled" timeout 20 bash -c 'echo cancel >"$1"' _ "$MNT/.engram/compact"
check "a memory is still read" reads_past_the_cache
rm "$STALL"
ends_with "after the cancel every writer ends" '^(0:[0-9]+ )?(0:80|ENOSPC:[0-9]+)$'

check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" timeout 120 bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"
make_full waiting
begin_writers waiting
pid=$(cat "$WORK/pid")
check "a writer that waits can be killed" kill -KILL "$pid"
check "and ends" wait_until 20 bash -c '! kill -0 "$1" 2>/dev/null || grep -q "^State:.Z" "/proc/$1/status"' _ "$pid"
check "a memory is read" reads_past_the_cache
rm "$STALL"
ends_with "and all others succeed once the disk answers" '^0:79 killed:1$'
check "what they wrote is there" bash -c 'for f in "$1"/waiting*; do [ "$(stat -c %s "$f")" = 20000 ] || [ "$f" = "$1/waiting0" ] || exit 1; done' _ "$MNT"
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# with a write-back cache they are background to the kernel, and so are reads ahead
remount -o rw
check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" timeout 120 bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"
make_full cached
check "unmount" unmount_store "$MNT"
remount -o writeback
begin_writers cached
check "a memory is read" reads_past_the_cache
rm "$STALL"
ends_with "those that could wait succeed, the others are told" '^0:[0-9]+ ENOSPC:[0-9]+$'
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# the session ends while they wait
remount -o rw
check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" timeout 120 bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"
make_full ended
begin_writers ended
pid=$(daemons_under "$MNT")
kill -TERM "$pid"
rm "$STALL"
ends_with "every writer ends when the daemon is told to" '.'
wait_until 60 no_daemon "$MNT" || not_ok "the daemon ends" "it is still there"
umount -l "$MNT" 2>/dev/null
check "engramctl check" "$CTL" check "$STORE"
umount "$WORK/disk"
t_end
