#!/usr/bin/env bash
# tools.sh - engramctl map, config, scrub; signals of the daemon.
#
#   tests/ops/tools.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
MNT=$WORK/mnt C=$WORK/mnt/.engram STORE=$WORK/store
must_mount "$STORE" "$MNT" -o segment_size=256k
python3 - "$MNT" <<'P'
import os, sys
for i in range(40):
    open(f"{sys.argv[1]}/m{i:02}", "wb").write(os.urandom(50000))
for i in range(0, 20):
    os.unlink(f"{sys.argv[1]}/m{i:02}")
P
SEGMENTS=$(grep -vc checkpoint "$C/segments")
"$CTL" map "$MNT" >"$WORK/map"
check "map has a cell for each segment" python3 - "$WORK/map" "$SEGMENTS" <<'P'
import sys
lines = open(sys.argv[1], encoding="utf-8").read().splitlines()
assert len("".join(lines[:-1])) == int(sys.argv[2]), lines
assert "█" in lines[0] and "·" in lines[0] and "▶" in lines[0]
assert lines[-1].startswith(sys.argv[2] + " segments, "), lines[-1]
P
check_equal "no colour in a file" 0 "$(grep -c $'\033' "$WORK/map")"
on_terminal() { script -qec "$1" /dev/null </dev/null; }
if command -v script >/dev/null; then
    check "colour on a terminal" grep -q $'\033\[32m' <(TERM=xterm on_terminal "$CTL map $MNT")
    check_equal "but not with NO_COLOR" 0 "$(NO_COLOR=1 TERM=xterm on_terminal "$CTL map $MNT" | grep -c $'\033\[3')"
else
    skip "colour" "no script(1)"
fi
check_equal "--width breaks lines" $(((SEGMENTS + 3) / 4 + 1)) "$("$CTL" map --width 4 "$MNT" | wc -l)"
check "--svg is well formed, a group for each segment" python3 - "$CTL" "$MNT" "$SEGMENTS" <<'P'
import subprocess, sys, xml.dom.minidom
svg = xml.dom.minidom.parseString(subprocess.check_output([sys.argv[1], "map", "--svg", sys.argv[2]]))
assert len(svg.getElementsByTagName("g")) == int(sys.argv[3])
P
check_fails "--width 0" "must be 1 to 500" "$CTL" map --width 0 "$MNT"

check "config prints" sh -c "'$CTL' config '$MNT' | cmp - '$C/config'"
check "config changes" "$CTL" config "$MNT" compact_min_fragmentation=0.25 commit_ms=1000
check "at once" grep -qx commit_ms=1000 "$C/config"
check_fails "unknown key" "unknown key or bad value" "$CTL" config "$MNT" nonsense=1
check_fails "bad value" "unknown key or bad value" "$CTL" config "$MNT" compact_min_fragmentation=7
check_fails "no pair" "not KEY=VALUE" "$CTL" config "$MNT" commit_ms
check_equal "status of failure" 2 "$("$CTL" config "$MNT" x=1 2>/dev/null; echo $?)"
check "scrub" "$CTL" scrub "$MNT"
check_equal "scrub --json" "done" "$("$CTL" scrub --json "$MNT" | json_get state)"
check "unmount" unmount_store "$MNT"
check "config of a store that is not mounted" sh -c "'$CTL' config '$STORE' | grep -qx commit_ms=1000"
check "changes that, too" "$CTL" config "$STORE" commit_ms=2000
check "for good" sh -c "'$CTL' config '$STORE' | grep -qx commit_ms=2000"
check "map of a store that is not mounted" "$CTL" map "$STORE"
check "and it is whole" "$CTL" check "$STORE"

# ---- signals; and that systemd is told when the mount answers
python3 - "$WORK/notify" >"$WORK/notified" <<'P' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
for _ in range(2):
    print(s.recv(100).decode(), os.path.ismount(os.path.dirname(sys.argv[1]) + "/mnt"), flush=True)
P
wait_until 10 test -S "$WORK/notify"
# as a service: the file that standard error is, is the journal, which systemd says by its device and inode
: >"$WORK/log"
NOTIFY_SOCKET=$WORK/notify JOURNAL_STREAM=$(stat -c %d:%i "$WORK/log") "$ENGRAMFS" -f "$STORE" "$MNT" >"$WORK/log" 2>&1 &
DAEMON=$!
check "READY=1 when the mount answers" wait_until 20 grep -qx "READY=1 True" "$WORK/notified"
sed -i 's/^commit_ms=.*/commit_ms=3000/' "$STORE/config"
kill -HUP $DAEMON
check "SIGHUP rereads config" wait_until 10 grep -q "config was read again" "$WORK/log"
check "which is in force" grep -qx commit_ms=3000 "$C/config"
echo nonsense >>"$STORE/config"
kill -HUP $DAEMON
check "a bad line is told" wait_until 10 grep -q "'nonsense' is not understood" "$WORK/log"
kill -USR1 $DAEMON
check "SIGUSR1 writes the status to the log" wait_until 10 grep -q "status: last control error" "$WORK/log"
check "the space receipt is in it" grep -q "status: space" "$WORK/log"
check "it still serves" ls "$MNT"
check "its descriptor limit is the hard one" test "$(awk '/open files/ {print $4}' /proc/$DAEMON/limits)" = "$(awk '/open files/ {print $5}' /proc/$DAEMON/limits)"
kill -TERM $DAEMON
check "SIGTERM unmounts" wait_until 20 no_daemon "$MNT"
check "STOPPING=1" wait_until 5 grep -q STOPPING=1 "$WORK/notified"
check "in the journal each line has its level" grep -q "^<6>$STORE mounted on $MNT" "$WORK/log"
check "a warning another" grep -q "^<4>warning: .*'nonsense' is not understood" "$WORK/log"
check_equal "and none is without" "" "$(grep -v '^<[3467]>' "$WORK/log")"
mkdir "$WORK/none" && touch "$WORK/none/file"
JOURNAL_STREAM=$(stat -c %d:%i "$WORK/log") "$ENGRAMFS" -f "$WORK/none" "$MNT" >>"$WORK/log" 2>&1
check "so does the reason not to start" grep -q "^<3>error: $WORK/none: .*not a store" "$WORK/log"
JOURNAL_STREAM=1:1 "$ENGRAMFS" -f "$WORK/none" "$MNT" >"$WORK/log" 2>&1
check "elsewhere lines have the program's name" grep -q "^engramfs: error: $WORK/none: " "$WORK/log"
t_end
