#!/usr/bin/env bash
# large.sh - a store about as large as the memory of the machine: files of 1 KiB read at random, overwritten and removed
# through a mount, and compacted. Prints a table.
#
#   tests/bench/large.sh [BUILD] [MEMORIES]
#
# MEMORIES: 20,000,000 by default, which take some 37 GiB under TMPDIR and 4 GiB of memory. As root the page cache
# is dropped before the mount.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-20000000}

mib() { echo $(($(memory "$1") >> 20)); }
row() { printf '%-58s %s\n' "$1" "$2"; }

t=$(now)
"$BUILD/tests/bench/compaction" make "$STORE" "$N" 1024 0 >"$WORK/make.log" || not_ok "the store" "$(cat "$WORK/make.log")"
row "made, $N memories of 1 KiB, seconds" "$(since "$t")"
row "store on disk, MiB" "$(($(du_bytes "$STORE") >> 20))"
cold
t=$(now)
must_mount "$STORE" "$MNT"
row "mount, page cache dropped, seconds" "$(since "$t")"
row "daemon's resident memory, MiB" "$(mib VmRSS)"
python3 - "$MNT" "$N" <<'P'
import os, random, sys, time
mount, n = sys.argv[1], int(sys.argv[2])
rng = random.Random(3)
names = ["%s/d%d/f%d" % (mount, i // 1000, i % 1000) for i in rng.sample(range(n), min(n, 20000))]


def timed(what, some, do):
    began = time.perf_counter()
    for name in some:
        do(name)
    print("%-58s %.1f" % (what + ", microseconds each", (time.perf_counter() - began) / len(some) * 1e6))


def read(name):
    with open(name, "rb") as f:
        assert len(f.read()) == 1024


def write(name):
    with open(name, "r+b") as f:
        f.write(b"x" * 1024)


timed("20,000 at random, read, nothing cached", names, read)
timed("the same again", names, read)
timed("overwritten", names, write)
timed("half of them removed", names[:len(names) // 2], os.unlink)
P
t=$(now)
check "compaction" sh -c "echo run >'$MNT/.engram/compact'"
row "compaction, seconds" "$(since "$t")"
row "daemon's resident memory; largest, MiB" "$(mib VmRSS); $(mib VmHWM)"
check "unmount" unmount_store "$MNT"
t_end
