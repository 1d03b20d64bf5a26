#!/usr/bin/env bash
# conflicts.sh - what -o conflicts=refuse costs: opening, reading and closing a memory, warm and cold, creating one, and
# replacing it, in turn on a mount without the option and on one with it, in one run. Prints medians of the rounds, in
# microseconds for each operation; the last line is the same as JSON.
#
#   tests/bench/conflicts.sh [BUILD] [ROUNDS] [FILES]
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
ROUNDS=${2:-7} FILES=${3:-2000}

cat >"$WORK/ops.py" <<'P'
import json, os, sys, time

mnt, n = sys.argv[1], int(sys.argv[2])
DATA = b"x" * 1024


def timed(do):
    began = time.perf_counter_ns()
    for i in range(n):
        do(i)
    return (time.perf_counter_ns() - began) / n / 1000


def create(i):
    fd = os.open(f"{mnt}/f{i}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, DATA)
    os.close(fd)


def read(i):
    fd = os.open(f"{mnt}/f{i}", os.O_RDONLY)
    os.read(fd, 4096)
    os.close(fd)


def overwrite(i):
    fd = os.open(f"{mnt}/f{i}", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, DATA)
    os.close(fd)


def replace(i):
    fd = os.open(f"{mnt}/tmp", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, DATA)
    os.close(fd)
    os.rename(f"{mnt}/tmp", f"{mnt}/f{i}")


def cold():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as f:
        f.write("3")
    os.stat(mnt)


result = {"create": timed(create)}
timed(read)
result["open, read, close: warm"] = timed(read)
if os.geteuid() == 0:
    cold()
    result["open, read, close: cold"] = timed(read)
result["open with O_TRUNC, write, close"] = timed(overwrite)
result["write another, rename over"] = timed(replace)
print(json.dumps(result))
P

for ((i = 0; i < ROUNDS; i++)); do
    for mode in allow refuse; do
        mkdir -p "$MNT"
        "$BUILD/fs/engramfs" -o "conflicts=$mode" "$STORE" "$MNT" || exit 1
        python3 "$WORK/ops.py" "$MNT" "$FILES" >>"$WORK/$mode" || exit 1
        umount "$MNT"
        wait_until 60 no_daemon "$MNT"
        rm -rf "$STORE"
    done
done
python3 - "$WORK" <<'P'
import json, statistics, sys
both = {}
for mode in ("allow", "refuse"):
    with open(f"{sys.argv[1]}/{mode}", encoding="ascii") as f:
        rounds = [json.loads(line) for line in f]
    both[mode] = {k: round(statistics.median(r[k] for r in rounds), 1) for k in rounds[0]}
row = "{:36} {:>10} {:>10} {:>8}".format
print(row("microseconds", "allow", "refuse", "times"))
for k, v in both["allow"].items():
    print(row(k, v, both["refuse"][k], f"{both['refuse'][k] / v:.2f}"))
print(json.dumps(both))
P
