#!/usr/bin/env bash
# snapshot.sh - engramctl export --snapshot: one moment of a mount, while writers and compaction go on.
#
#   tests/mount/snapshot.sh [BUILD]
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
mkdir "$WORK/store" "$WORK/mnt"
must_mount "$WORK/store" "$WORK/mnt" -o segment_size=256k

# Each round writes the same number to file after file, in order. So at any one moment the numbers never rise
# along the files, and differ by one at most; a walk that takes longer than a round sees something else.
cat >"$WORK/writer.py" <<'P'
import os, sys
top, stop = sys.argv[1], sys.argv[2]
os.makedirs(f"{top}/d/e", exist_ok=True)
n = 0
while not os.path.exists(stop):
    n += 1
    for i in range(300):
        temporary = f"{top}/d/e/.tmp"
        with open(temporary, "w") as f:
            f.write(f"{n} " + "x" * 2000)
        os.rename(temporary, f"{top}/d/e/{i:03}")
    if n == 1:
        open(stop + ".ready", "w").close()
print(n)
P
cat >"$WORK/judge.py" <<'P'
import json, sys
rounds = {}
for line in open(sys.argv[1]):
    m = json.loads(line)
    if m["id"].endswith(".tmp"):
        continue
    number, rest = m["content"].split(" ")
    assert rest == "x" * 2000, m["id"]
    rounds[m["id"]] = int(number)
assert len(rounds) == 300, len(rounds)
numbers = [rounds[k] for k in sorted(rounds)]
assert numbers == sorted(numbers, reverse=True), numbers
assert numbers[0] - numbers[-1] <= 1, numbers
print(numbers[0])
P
python3 "$WORK/writer.py" "$WORK/mnt" "$WORK/stop" >"$WORK/rounds" 2>&1 &
WRITER=$!
(while [ ! -e "$WORK/stop" ]; do echo run >"$WORK/mnt/.engram/compact"; done) 2>/dev/null &
COMPACTOR=$!
check "the first round is written" wait_until 60 test -e "$WORK/stop.ready"
for round in $(seq "${SNAPSHOTS:-10}"); do
    check "snapshot $round is exported" timeout 60 "$CTL" export --snapshot "$WORK/mnt" "$WORK/$round.jsonl" || break
    check "snapshot $round is one moment" python3 "$WORK/judge.py" "$WORK/$round.jsonl"
done
check "a folder of the mount can be exported so" timeout 60 "$CTL" export --snapshot "$WORK/mnt/d/e" "$WORK/folder.jsonl"
check_equal "and has its own ids" "$(grep -c '"id":"[0-9]*"' "$WORK/folder.jsonl")" 300
if [ "$("$CTL" version --json | json_get tar)" = true ]; then
    check "as a tar archive" timeout 60 "$CTL" export --snapshot --format tar "$WORK/mnt" "$WORK/archive.tar"
    check "which is read" timeout 60 "$CTL" import "$WORK/archive.tar" "$WORK/from-tar"
    "$CTL" export "$WORK/from-tar" "$WORK/from-tar.jsonl"
    check "and is one moment" python3 "$WORK/judge.py" "$WORK/from-tar.jsonl"
fi
check "as a tree" timeout 60 "$CTL" export --snapshot --format tree "$WORK/mnt" "$WORK/tree"
check_equal "the tree is whole" "$(find "$WORK/tree/d/e" -name '[0-9]*' -size 2c -o -name '[0-9]*' -size +1900c | wc -l)" 300
touch "$WORK/stop"
wait $WRITER $COMPACTOR
check "the writer wrote more than two rounds meanwhile" test "$(tail -n 1 "$WORK/rounds")" -gt 2
# of metrics: to look at .engram/hold would end a hold that its program has left behind
holds() { awk '$1 == "engram_store_holds" {print $2}' "$WORK/mnt/.engram/metrics"; }
check_equal "nothing is held any more" 0 "$(holds)"

check_fails "a folder that is not there" "no such directory" "$CTL" export --snapshot "$WORK/mnt/nothing" "$WORK/x"
check_equal "nothing is held after a failure" 0 "$(holds)"
# a hold ends with its holder, however that ends: here while it writes into a pipe that nobody empties
mkfifo "$WORK/pipe"
exec 5<>"$WORK/pipe"
head -c 3000000 /dev/urandom >"$WORK/mnt/large"
holds_are() { [ "$(holds)" = "$1" ]; }
for signal in HUP QUIT KILL TERM; do
    env --default-signal "$CTL" export --snapshot --format tar "$WORK/mnt" "$WORK/pipe" >/dev/null 2>&1 5>&- &
    EXPORT=$!
    check "SIG$signal: an export holds" wait_until 20 holds_are 1
    kill -s $signal $EXPORT
    { wait $EXPORT; } 2>/dev/null
    check "SIG$signal: and nothing is held any more" wait_until 20 holds_are 0
done
exec 5<&-
check "unmount" unmount_store "$WORK/mnt"
check "the snapshot of an unmounted store is the store" "$CTL" export --snapshot "$WORK/store" "$WORK/after.jsonl"
check "which is whole" "$CTL" check "$WORK/store"
t_end
