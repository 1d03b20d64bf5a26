#!/usr/bin/env bash
# requests.sh - how many FUSE requests each operation costs, which decides how fast it is; unlike its time it is the
# same on each machine. Each operation is done to some files and must cost exactly what the table says for each
# of them: no request more, none less. Only GETATTRs may be fewer: later kernels ask less often.
#
#   tests/mount/requests.sh BUILD
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
if [ "$(id -u)" -ne 0 ]; then
    skip requests "needs root, to drop caches"
    exit 0
fi

cat >"$WORK/requests.py" <<'PY'
import os, re, sys

mnt, mode = sys.argv[1:3]
N = 40
control = os.path.join(mnt, ".engram", "metrics")


def counts():
    with open(control, encoding="ascii") as f:
        return {m[1]: int(m[2]) for m in
                re.finditer(r'^engram_fuse_requests_total\{op="(\w+)"\} (\d+)', f.read(), re.M)}


OWN = None  # what reading the counts costs by itself


def cost_of(do, each):
    before = counts()
    for i in range(N) if each else [0]:
        do(i)
    after = counts()
    return {k: v for k in after if (v := after[k] - before.get(k, 0) - (OWN or {}).get(k, 0)) and k != "forget"}


def expect(name, do, wanted, each=True):
    times = N if each else 1
    spent = cost_of(do, each)
    kinds = sorted(set(spent) | set(wanted))
    wrong = [k for k in kinds if (spent.get(k, 0) > wanted.get(k, 0) * times if k == "getattr"
                                  else spent.get(k, 0) != wanted.get(k, 0) * times)]
    def show(c, by):
        return ", ".join(f"{k} {c[k] / by:g}" for k in sorted(c)) or "none"
    if wrong:
        print(f"not ok - {mode}: {name}: {show(spent, times)}; expected {show(wanted, 1)}")
    else:
        print(f"ok - {mode}: {name}: {show(spent, times)}")


def path(i):
    return os.path.join(mnt, "d", f"f{i}")


def write(p, flags, data=b"x" * 1024):
    fd = os.open(p, flags, 0o644)
    os.write(fd, data)
    os.close(fd)


def read(p):
    fd = os.open(p, os.O_RDONLY)
    while os.read(fd, 4096):
        pass
    os.close(fd)


def replace(i):
    write(path(i) + ".tmp", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    os.chmod(path(i) + ".tmp", 0o600)
    os.utime(path(i) + ".tmp", ns=(1, 1))
    os.rename(path(i) + ".tmp", path(i))


def drop():
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")


def synced(i):
    fd = os.open(path(i), os.O_WRONLY)
    os.write(fd, b"y" * 1024)
    os.fsync(fd)
    os.close(fd)


def listed(_):
    for entry in os.scandir(os.path.join(mnt, "d")):
        entry.stat()


# While attributes are on the kernel looks for security.capability before the first change of a file whose
# attributes it was told anew.
x = 1 if mode != "noxattr" else 0
attr = {"getxattr": x} if x else {}
# With -o conflicts=refuse opening and closing are requests, and so is each read(2) of a small file: there are two of
# them, the last one at the end.
refuse = mode == "refuse"
opened = {"open": 1, "release": 1} if refuse else {}
released = {"release": 1} if refuse else {}
reads = {"read": 2, **opened} if refuse else {}
os.mkdir(os.path.join(mnt, "d"))
# Made before anything was opened, and statvfs is answered after the RELEASE that there might be.
write(os.path.join(mnt, "unopened"), os.O_CREAT | os.O_WRONLY)
os.statvfs(mnt)
if not refuse:
    print(f"{'not ok' if counts().get('release', 0) else 'ok'} - {mode}: no RELEASE of the first file")
# What is asked once for a connection: whether there is OPEN, OPENDIR, GETXATTR.
write(os.path.join(mnt, "first"), os.O_CREAT | os.O_WRONLY)
os.listdir(mnt)
counts()
OWN = cost_of(lambda i: None, False)
expect("create, write, close", lambda i: write(path(i), os.O_CREAT | os.O_EXCL | os.O_WRONLY),
       {"lookup": 1, "create": 1, "write": 1, "getattr": 1, **released, **attr})
os.stat(os.path.join(mnt, "d", "."))
expect("stat", lambda i: os.stat(path(i)), {"getattr": 1})
expect("open, read, close for the first time", lambda i: read(path(i)), {"read": 1, **reads})
expect("open, read, close", lambda i: read(path(i)), reads)
expect("open O_TRUNC, write, close", lambda i: write(path(i), os.O_TRUNC | os.O_WRONLY),
       {"setattr": 1, "write": 1, **opened, **({"getxattr": 2} if x else {})})
expect("open, write, fsync, close", synced, {"write": 1, "fsync": 1, **opened})
expect("append", lambda i: write(path(i), os.O_APPEND | os.O_WRONLY), {"write": 1, "getattr": 1, **opened})
expect("write a temporary file, chmod, utimens, rename over", replace,
       {"lookup": 2, "create": 1, "write": 1, "setattr": 2, "rename": 1, "getattr": 2, **released, **attr})
drop()
os.stat(os.path.join(mnt, "d"))
expect("cold: open, read, close", lambda i: read(path(i)), {"lookup": 1, "read": 1, **reads})
drop()
os.stat(os.path.join(mnt, "d"))
expect("cold: a listing with the attributes of all", listed, {"readdirplus": 2}, each=False)
expect("stat after a listing", lambda i: os.stat(path(i)), {})
expect("a listing again", listed, {"getattr": 1}, each=False)
# No name in a snapshot is kept, since who may use it changes (docs/KERNEL-CACHE.md); attributes and content are, for root.
os.mkdir(os.path.join(mnt, ".engram", "snapshots", "s"))
past = os.path.join(mnt, ".engram", "snapshots", "s", "d")
os.listdir(past)
expect("in a snapshot: stat", lambda i: os.stat(os.path.join(past, f"f{i}")), {"lookup": 3, "getattr": 1})
expect("in a snapshot: open, read, close for the first time", lambda i: read(os.path.join(past, f"f{i}")), {"lookup": 3, "getattr": 1, "read": 1, **opened})
expect("in a snapshot: open, read, close", lambda i: read(os.path.join(past, f"f{i}")), {"lookup": 3, "getattr": 1, **opened})
expect("a name that is not there, for the first time", lambda i: os.path.exists(path(i) + ".no"), {"lookup": 1})
expect("a name that is not there", lambda i: os.path.exists(path(i) + ".no"), {})
expect("unlink", lambda i: os.unlink(path(i)), {"unlink": 1, "getattr": 1})
PY

count_once() { # name, options
    must_mount "$WORK/store.$1" "$WORK/mnt" "${@:2}"
    python3 "$WORK/requests.py" "$WORK/mnt" "$1" >"$WORK/out" 2>&1 || echo "not ok - $1: the program failed" >>"$WORK/out"
    unmount_store "$WORK/mnt"
    rm -rf "$WORK/store.$1"
}

# Whoever else empties the kernel's caches meanwhile, as other tests do, adds requests: then it is counted again.
run_mode() { # name, options
    local try
    for try in 1 2 3 4 5; do
        count_once "$@"
        grep -q '^not ok' "$WORK/out" || break
    done
    [ "$try" -eq 1 ] || echo "# $1: counted $try times"
    cat "$WORK/out"
    T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$WORK/out")))
}
run_mode defaults
run_mode noxattr -o noxattr
run_mode refuse -o conflicts=refuse
t_end
