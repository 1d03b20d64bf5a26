#!/usr/bin/env bash
# deep.sh - folders in each other by the ten thousand, which anybody makes in seconds: what an export or a repair takes of memory
# and room grows with their number, not with its square; what other programs could not read is told, and all else is there.
#
#   tests/ops/deep.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
cd "$WORK" || exit 1
LEVELS=20000
must_mount "$WORK/store" "$WORK/mnt"
python3 - mnt $LEVELS <<'P'
import os, sys
def nest(top, levels, name, file):
    os.mkdir(top)
    at = os.open(top, os.O_RDONLY)
    for i in range(levels):
        if file:
            os.close(os.open("m", os.O_WRONLY | os.O_CREAT, dir_fd=at))
        os.mkdir(name, dir_fd=at)
        down = os.open(name, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = down
    os.close(at)
nest(sys.argv[1] + "/nest", int(sys.argv[2]), "d", False)
nest(sys.argv[1] + "/long", 50, "n" * 255, False)
nest(sys.argv[1] + "/with", 3000, "d", True)
open(sys.argv[1] + "/before", "w").write("before")
os.mkdir(sys.argv[1] + "/z")
open(sys.argv[1] + "/z/other", "w").write("other")
P
check "unmount" unmount_store "$WORK/mnt"
# Prints how a command ended, and the most memory that it took, in MiB.
measured() {
    python3 -c 'import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=open("out", "w"), stderr=open("err", "w"), timeout=300).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)' "$@"
}
MOST=300 # a sanitizer's part included
TOLD="its path is too long for this format (over 4095 bytes), use --format tree"

read -r code memory <<<"$(measured "$CTL" export --format tar store store.tar)"
check_equal "as an archive: exit code" 1 "$code"
check "  little memory ($memory MiB)" test "$memory" -lt $MOST
check "  which is small ($(stat -c %s store.tar) bytes)" test "$(stat -c %s store.tar)" -lt 60000000
check_equal "  where each of them goes on is told" "1 long 1 nest 2 with" "$(grep -F "$TOLD" err | cut -d / -f 1 | sort | uniq -c | xargs)"
check_equal "  paths in messages are cut" 0 "$(awk 'length > 1000' err | wc -l)"
python3 - >facts <<'P'
import tarfile
with tarfile.open("store.tar") as t:
    names = [m.name.rstrip("/").removeprefix("./") for m in t]
print(max(map(len, names)) <= 4095, sum(n.startswith("nest") for n in names), sum(n.startswith("long") for n in names), "before" in names, "z/other" in names)
P
check_equal "  all that have a path are in it" "True 2046 16 True True" "$(cat facts)"
check "  and can be restored" "$CTL" import store.tar restored

read -r code memory <<<"$(measured "$CTL" export store store.jsonl)"
check_equal "as JSON lines: exit code" 1 "$code"
check "  little memory ($memory MiB)" test "$memory" -lt $MOST
check_equal "  all that have a path are in it" "2047" "$(wc -l <store.jsonl)"
check "  what has none is told" grep -qF "$TOLD" err
check "  and can be restored" "$CTL" import store.jsonl restored2

read -r code memory <<<"$(measured "$CTL" check --repair --into repaired store)"
check_equal "a repair: exit code" 0 "$code"
check "  little memory ($memory MiB)" test "$memory" -lt $MOST
folders() { "$CTL" stat --json "$1" | python3 -c 'import json, sys; print({k: v for k, v in json.load(sys.stdin).items() if k in ("memories", "directories")})'; }
check_equal "  with all that is there" "$(folders store)" "$(folders repaired)"
t_end
