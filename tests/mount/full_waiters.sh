#!/usr/bin/env bash
# On a full disk more writers wait for a compaction than the daemon has threads, and the compaction stands still, since the disk
# does not answer: reading, status, removing and `cancel` are answered all the same, a writer can be killed, and all end.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 mkfs.ext4 losetup cc setpriv
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
a writer does not end within two minutes. PID.I is there, with the number of process I, until its write has returned."""
import collections, errno, os, signal, sys, time
mount = sys.argv[2]
def put(name, flags=os.O_CREAT, mark=None):
    if mark:
        open(mark, "w").write("%d\n" % os.getpid())
    try:
        f = os.open("%s/%s" % (mount, name), flags | os.O_WRONLY)
        try:
            os.write(f, name.encode().ljust(20000))
            if mark:
                os.unlink(mark)
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
        os._exit(put("%s%d" % (sys.argv[4], i), 0, "%s.%d" % (sys.argv[5], i)))
    pids.append(pid)
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

cat >"$WORK/kinds.py" <<'P'
"""kinds.py prepare MOUNT NAME: a folder of its own for a change of each kind. run MOUNT NAME RESULTS: makes them all at once, and
writes what became of each as it ends: errno, and what is there then. Those of set-user-ID files show whether it was taken away."""
import os, stat, sys
what, mount, name = sys.argv[1:4]
def opened(path, flags, do):
    f = os.open(path, flags, 0o600)
    try:
        return do(f)
    finally:
        os.close(f)
def stranger(do):
    os.setresgid(1002, 1002, 1002)
    os.setgroups([])
    os.setresuid(1002, 1002, 1002)
    do()
def copy(): # only for a descriptor that has made its file the daemon copies by itself: the shell has it open
    os.copy_file_range(os.open("b", os.O_RDONLY), int(os.environ["MADE"]), 20000)
KINDS = {
    "chown": lambda: os.chown("a", 0, 0),
    "chown_nothing": lambda: os.chown("a", -1, -1),
    "chmod": lambda: os.chmod("a", 0o640),
    "truncate": lambda: stranger(lambda: os.truncate("a", 5)),
    "grow": lambda: stranger(lambda: os.truncate("a", 100000)),
    "open_trunc": lambda: stranger(lambda: os.close(os.open("a", os.O_WRONLY | os.O_TRUNC))),
    "utimes": lambda: os.utime("a", (5, 6)),
    "write": lambda: stranger(lambda: opened("a", os.O_WRONLY, lambda f: os.write(f, b"y" * 30000))),
    "mknod": lambda: os.mknod("new", 0o600 | stat.S_IFIFO),
    "mkdir": lambda: os.mkdir("new", 0o750),
    "symlink": lambda: os.symlink("t" * 200, "new"),
    "rename": lambda: os.rename("b", "new"),
    "link": lambda: os.link("b", "new"),
    "setxattr": lambda: os.setxattr("a", "user.x", b"v" * 900),
    "create": lambda: os.close(os.open("new", os.O_CREAT | os.O_EXCL, 0o604)),
    "fallocate": lambda: opened("a", os.O_WRONLY, lambda f: os.posix_fallocate(f, 0, 300000)),
    "copy_file_range": copy,
    "unlink": lambda: os.unlink("b"),
    "rmdir": lambda: os.rmdir("d"),
    "removexattr": lambda: os.removexattr("b", "user.b"),
}
def state():
    for n in sorted(os.listdir(".")):
        s = os.lstat(n)
        x = {k: os.getxattr(n, k)[:3] for k in os.listxattr(n)} if stat.S_ISREG(s.st_mode) else ""
        body = hash_of(n) if stat.S_ISREG(s.st_mode) else os.readlink(n) if stat.S_ISLNK(s.st_mode) else ""
        size = 0 if stat.S_ISDIR(s.st_mode) else s.st_size
        yield "%s %o %d %d %d %d %s %s" % (n, s.st_mode, s.st_uid, s.st_gid, size, s.st_nlink, x, body)
def hash_of(n):
    import hashlib
    return hashlib.sha256(open(n, "rb").read()).hexdigest()[:8]
def prepare(path):
    os.mkdir(path)
    os.chmod(path, 0o777)
    os.chdir(path)
    os.mkdir("d")
    for n in "ab":
        opened(n, os.O_CREAT | os.O_WRONLY, lambda f: os.write(f, b"x" * 20000))
        os.setxattr(n, "user.b", b"1")
        os.chown(n, 1001, 1001)
        os.chmod(n, 0o6777)
    if path.endswith("-copy_file_range"):
        os.rename("%s/made-%s" % (mount, name), "made")
for kind in KINDS:
    pid = os.fork()
    if pid == 0:
        path = "%s/%s-%s" % (mount, name, kind)
        if what == "prepare":
            prepare(path)
            os._exit(0)
        os.chdir(path)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            r = 0
            try:
                KINDS[kind]()
            except OSError as e:
                r = e.errno
            os.write(writer, b"%d" % r)
            os._exit(0)
        os.close(writer)
        r = os.read(reader, 9).decode()
        opened(sys.argv[4], os.O_WRONLY | os.O_APPEND | os.O_CREAT,
               lambda f: os.write(f, ("%s: %s; %s\n" % (kind, r, "; ".join(state()))).encode()))
        os._exit(0)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
P

# how many writes have come, says the daemon itself
came() { timeout 20 cat "$MNT/.engram/metrics" | awk '/^engram_fuse_requests_total{op="write"}/ {print int($2)}'; }
count_of() { timeout 20 cat "$MNT/.engram/metrics" | awk -v op="engram_fuse_requests_total{op=\"$1\"}" '$1 == op {print int($2)}'; }
came_kinds() { for op in setattr mknod mkdir symlink rename link setxattr create fallocate copy_file_range; do count_of $op; done; }
# Four of setattr come by themselves, chmod, chown, utimes; the others need only have come.
all_kinds_came() { paste <(came_kinds) <(printf '%s\n' "$kinds_before") | awk '$1 < $2 + (NR == 1 ? 7 : 1) {bad = 1} END {exit bad}'; }
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
    rm -f "$WORK"/pid.*
    timeout 200 python3 "$WORK/files.py" write "$MNT" $WRITERS "$1" "$WORK/pid" >"$WORK/out" 2>&1 &
    writers=$!
    check "$1: all writers have come, and metrics can be read" wait_until 60 all_came
    if grep -q . "$WORK/out"; then not_ok "$1: they wait" "$(cat "$WORK/out")"; else ok "$1: they wait"; fi
}
ends_with() { # NAME PATTERN
    wait "$writers"
    if grep -qE -- "$2" "$WORK/out"; then ok "$1: $(cat "$WORK/out")"; else not_ok "$1" "$(cat "$WORK/out")"; fi
}

remount -o rw,allow_other
exec {made_plain}>"$MNT/made-plain" {made_waits}>"$MNT/made-waits"
timeout 60 python3 "$WORK/kinds.py" prepare "$MNT" plain
timeout 60 python3 "$WORK/kinds.py" prepare "$MNT" waits
MADE=$made_plain check "a change of each kind, with room" timeout 60 python3 "$WORK/kinds.py" run "$MNT" plain "$WORK/plain"
if [ "$(grep -c ': 0; ' "$WORK/plain")" = 20 ]; then ok "all 20 succeed"; else not_ok "all 20 succeed" "$(cut -d';' -f1 "$WORK/plain")"; fi
make_full kinds
begin_writers kinds
kinds_before=$(came_kinds)
: >"$WORK/waits"
MADE=$made_waits timeout 200 python3 "$WORK/kinds.py" run "$MNT" waits "$WORK/waits" &
kinds=$!
run_by_hand() { timeout 100 bash -c 'echo run >"$1"' _ "$MNT/.engram/compact" 2>/dev/null; } # busy: one of its own runs
check "a change of each kind has come" wait_until 60 all_kinds_came
early=$(cut -d: -f1 "$WORK/waits" | grep -vE '^(unlink|rmdir|removexattr|truncate|open_trunc)$' | tr '\n' ' ')
if [ -z "$early" ]; then ok "those that need room wait"; else not_ok "those that need room wait" "$early"; fi
rm "$STALL"
wait "$kinds"
exec {made_plain}>&- {made_waits}>&-
wait "$writers"
if diff <(sort "$WORK/plain") <(sort "$WORK/waits") >"$WORK/diff"; then
    ok "each does what it does with room"
else
    not_ok "each does what it does with room" "$(cat "$WORK/diff")"
fi
check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" wait_until 120 run_by_hand

mkdir -m 1777 "$MNT/shared"
mkdir "$MNT/roots"
touch "$MNT/shared/kept"
make_full cancelled
begin_writers cancelled
some_have_come() { [ "$(count_of create)" -gt "$created" ]; }
created=$(count_of create)
check "a memory is read while all wait" reads_past_the_cache
check "status is read" timeout 20 cat "$MNT/.engram/status"
check "a memory is removed" timeout 20 rm "$MNT/f2"
# strangers who make names keep others from removing there for a second; root waits, elsewhere, as long as it takes
strangers=()
for i in $(seq 8); do
    (cd "$MNT/shared" && exec timeout 60 setpriv --reuid=1002 --regid=1002 --clear-groups sh -c ": >new$i") 2>"$WORK/stranger.$i" &
    strangers+=($!)
done
mkdirs=$(count_of mkdir)
timeout 100 mkdir "$MNT/roots/new" 2>"$WORK/roots" &
roots=$!
root_waits() { [ "$(count_of mkdir)" -gt "$mkdirs" ] && kill -0 $roots; }
check "strangers make names in a folder" wait_until 20 some_have_come
check "a memory is removed there" timeout 10 rm "$MNT/shared/kept"
check_fails "a name is looked up there" "No such file" timeout 10 stat "$MNT/shared/nothing"
check "it is listed" timeout 10 ls "$MNT/shared"
for pid in "${strangers[@]}"; do wait "$pid"; done
check_equal "the strangers are told that there is no room" 8 "$(cat "$WORK"/stranger.* | grep -c 'No space left')"
check "root waits" wait_until 20 root_waits # it has come, and has not ended
check "the compaction is cancelled" timeout 20 bash -c 'echo cancel >"$1"' _ "$MNT/.engram/compact"
check "a memory is still read" reads_past_the_cache
rm "$STALL"
ends_with "after the cancel every writer ends" '^(0:[0-9]+ )?(0:80|ENOSPC:[0-9]+)$'
wait "$roots"

check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" wait_until 120 run_by_hand
make_full waiting
begin_writers waiting
mark=$(find "$WORK" -name 'pid.*' | head -n 1) # one of those that came first may be beyond its write
pid=$(cat "$mark") killed=waiting${mark##*.}
check "a writer that waits can be killed" kill -KILL "$pid"
check "and ends" wait_until 20 bash -c '! kill -0 "$1" 2>/dev/null || grep -q "^State:.Z" "/proc/$1/status"' _ "$pid"
check "a memory is read" reads_past_the_cache
rm "$STALL"
ends_with "and all others succeed once the disk answers" '^0:79 killed:1$'
check "what they wrote is there" bash -c 'for f in "$1"/waiting*; do [ "$(stat -c %s "$f")" = 20000 ] || [ "$f" = "$1/$2" ] || exit 1; done' _ "$MNT" "$killed"
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# with a write-back cache they are background to the kernel, and so are reads ahead
remount -o rw
check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" wait_until 120 run_by_hand
make_full cached
check "unmount" unmount_store "$MNT"
remount -o writeback
begin_writers cached
check "a memory is read" reads_past_the_cache
rm "$STALL"
ends_with "those that could wait succeed, the others are told" '^0:(80|(3[2-9]|[4-7][0-9]) ENOSPC:[0-9]+)$' # 32 have a place
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"

# the session ends while they wait
remount -o rw
check "everything is removed" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "a run by hand" wait_until 120 run_by_hand
make_full ended
begin_writers ended
pid=$(daemons_under "$MNT")
rm -f "$STALL.end"
kill -TERM "$pid"
rm "$STALL"
ends_with "every writer ends when the daemon is told to" '.'
wait_until 60 no_daemon "$MNT" || not_ok "the daemon ends" "it is still there"
# what it answers goes to a descriptor whose number is another's soon
check_equal "who waited was answered before the connection was closed" "joined closed " "$(tr '\n' ' ' <"$STALL.end")"
umount -l "$MNT" 2>/dev/null
check "engramctl check" "$CTL" check "$STORE"
umount "$WORK/disk"

# room for a small change, and none for a copy whose request is small: it ends, with room made for what it copies
rm "$WORK/disk.img"
truncate -s 128M "$WORK/disk.img"
mkfs.ext4 -q -m 0 "$WORK/disk.img"
mount -o loop "$WORK/disk.img" "$WORK/disk"
must_mount "$STORE" "$MNT" -o segment_size=8M
cat >"$WORK/copy.py" <<'P'
import os, sys, time
mount, disk = sys.argv[1:3]
def put(name):
    with open(mount + "/" + name, "wb") as f:
        f.write(os.urandom(1 << 20))
def free():
    s = os.statvfs(disk)
    return s.f_bavail * s.f_frsize
for i in range(40):
    put("g%d" % i)
put("src")
b = os.open(mount + "/dst", os.O_CREAT | os.O_WRONLY)
os.write(b, os.urandom(1 << 20))
for i in range(0, 40, 2):
    os.unlink("%s/g%d" % (mount, i))
os.sync()
filler = os.open(disk + "/filler", os.O_CREAT | os.O_WRONLY)
os.posix_fallocate(filler, 0, free() - 700000)
os.fsync(filler)
a = os.open(mount + "/src", os.O_RDONLY)
n = [os.copy_file_range(a, b, 1 << 20, 0, k << 20) for k in range(3)]
open(sys.argv[3], "w").write("%s %d" % (n, os.stat(mount + "/dst").st_size))
P
timeout 60 python3 "$WORK/copy.py" "$MNT" "$WORK/disk" "$WORK/copied" &
copier=$!
check "a copy on a disk that is nearly full ends" wait_until 40 test -s "$WORK/copied"
if grep -qx '\[1048576, 1048576, 1048576\] 3145728' "$WORK/copied"; then ok "it has copied all"; else not_ok "it has copied all" "$(cat "$WORK/copied")"; fi
if test -s "$WORK/copied"; then wait "$copier"; fi
check "a compaction was begun for it" bash -c 'grep -q "^engram_compactions_total.* [1-9]" "$1" || grep -q "the disk is full" "$2"' _ "$MNT/.engram/metrics" "$MNT/.engram/status"
check "unmount" unmount_store "$MNT"
umount "$WORK/disk"
t_end
