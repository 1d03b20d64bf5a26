#!/usr/bin/env bash
# space.sh - the space receipt: each byte that du counts for the store is in one of its lines, and goes by what
# that line says.
#
#   tests/ops/space.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
must_mount "$STORE" "$MNT" -o segment_size=1M,commit=3600
echo auto_compact=0 >"$C/config"

# part KEY: one line of the receipt, in bytes
part() { python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["space"][sys.argv[2]])' "$C/stats.json" "$1"; }
# The receipt adds up to what du says, to the byte; no part but slack is negative; slack is small.
adds_up() {
    check "$1: adds up to du" python3 - "$C/stats.json" "$STORE" <<'P'
import json, subprocess, sys
du = lambda: int(subprocess.check_output(["du", "-s", "-B1", sys.argv[2]]).split()[0])
before = du()
space = json.load(open(sys.argv[1]))["space"]
after = du()
usage = space.pop("disk_usage")
assert sum(space.values()) == usage, (space, usage)
assert usage in (before, after), (before, usage, after)
assert all(v >= 0 for k, v in space.items() if k != "slack"), space
assert abs(space["slack"]) <= 256 << 10, space
P
    check "$1: engramctl stat says the same" python3 - "$CTL" "$MNT" <<'P'
import json, subprocess, sys
s = json.loads(subprocess.check_output([sys.argv[1], "stat", "--json", sys.argv[2]]))["space"]
assert sum(v for k, v in s.items() if k != "disk_usage") == s["disk_usage"], s
P
}
adds_up "new store"
check "fill" python3 - "$MNT" <<'P'
import os, sys
for i in range(40):
    with open(f"{sys.argv[1]}/m{i:02}", "wb") as f:
        f.write(os.urandom(100000))
P
adds_up "filled"
check_equal "all of it is live" $((40 * 100000)) "$(part live)"
check_equal "nothing is dead" "0 0" "$(part dead) $(part dead_active)"

# dead among live, in sealed segments
for i in 00 01 02 12 13; do rm "$MNT/m$i"; done
adds_up "removed"
check_equal "what was removed is dead" 500000 $(($(part dead) + $(part dead_active)))
check "status says what gives it back" grep -qE '^  dead +[0-9.]+ KiB   back by: compact' "$C/status"
# the active segment
echo x >"$MNT/last" && rm "$MNT/last"
check "dead in the active segment" test "$(part dead_active)" -ge 2

# removed but open
exec 9<"$MNT/m20"
rm "$MNT/m20"
check_equal "an open orphan is counted as such" 100000 "$(part orphans)"
check_equal "by its id" m20 "$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["open_orphans"][0]["id"])' "$C/stats.json")"
check "status names it" grep -q '^    inode .*m20$' "$C/status"
check "engramctl stat names it" sh -c "'$CTL' stat '$MNT' | grep -q '^    inode .*m20$'"
adds_up "with an orphan"
exec 9<&-
gone() { [ "$(part orphans)" = 0 ]; }
check "closing the file makes it dead" wait_until 20 gone
adds_up "orphan closed"

# emptied segments: not durable, in recovery, held, gone
for i in 3 4 5 6 7 8 9; do rm "$MNT/m0$i"; done
rm "$MNT/m10" "$MNT/m11"
check "an emptied segment waits for a sync" test "$(part waiting_sync)" -ge 1000000
adds_up "waiting for a sync"
sync "$MNT"
check "then for a checkpoint" test "$(part waiting_checkpoint)" -ge 1000000
check_equal "and no longer for a sync" 0 "$(part waiting_sync)"
adds_up "waiting for a checkpoint"
echo hold >"$C/hold"
echo run >"$C/compact"
check "then for the release" test "$(part held)" -ge 1000000
check_equal "and for nothing else" "0 0" "$(part waiting_sync) $(part waiting_checkpoint)"
adds_up "held"
check "status says so" grep -qE '^  emptied, held +.*back by: release' "$C/status"
echo release >"$C/hold"
echo run >"$C/compact"
check_equal "released: nothing is left of it" "0 0 0 0" "$(part held) $(part empty) $(part dead) $(part dead_active)"
adds_up "compacted"
check_equal "the survivors are live" $((25 * 100000)) "$(part live)"
# as docs/FAQ.md says
check "a file in pieces of 4 KiB" python3 -c '
import os, sys
with open(sys.argv[1], "wb", buffering=0) as f:
    for i in range(500):
        f.write(os.urandom(4096))' "$MNT/pieces"
check "leaves more dead than it has" test $(($(part dead) + $(part dead_active))) -gt $((500 * 4096))
rm "$MNT/pieces"
dd if=/dev/urandom of="$MNT/whole" bs=2048000 count=1 status=none
echo run >"$C/compact"
check_equal "in one piece nothing" "0" $(($(part dead) + $(part dead_active)))
find "$MNT" -type f -delete
echo run >"$C/compact"
check_equal "all deleted and compacted: no content, live or dead" "0 0 0" "$(part live) $(part dead) $(part dead_active)"
check "and not much else: less than a tenth of a segment beside the reserve" \
    test $(($(du_bytes "$STORE") - $(part reserve))) -lt 100000
check "of which the receipt has the reserve" test "$(part reserve)" -gt 0
adds_up "all deleted"
check "unmount" unmount_store "$MNT"
check "a store that is not mounted" python3 - "$CTL" "$STORE" <<'P'
import json, subprocess, sys
s = json.loads(subprocess.check_output([sys.argv[1], "stat", "--json", sys.argv[2]]))["space"]
usage = s.pop("disk_usage")
assert sum(s.values()) == usage == int(subprocess.check_output(["du", "-s", "-B1", sys.argv[2]]).split()[0]), s
P
t_end
