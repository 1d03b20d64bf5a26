#!/usr/bin/env bash
# environment.sh - when what is around the daemon fails: one clear line, no wrong byte, and it recovers where it can.
#
#   tests/ops/environment.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 prlimit
MNT=$WORK/mnt C=$WORK/mnt/.engram
mkdir "$MNT"
# begin STORE [OPTIONS...]: a daemon in the foreground with its log in $WORK/log
begin() {
    "${WITH[@]}" "$ENGRAMFS" -f "${@:2}" "$1" "$MNT" >"$WORK/log" 2>&1 &
    DAEMON=$!
    wait_until 20 mountpoint -q "$MNT"
}
WITH=()
fill() {
    python3 - "$MNT" "$1" <<'P'
import sys
for i in range(int(sys.argv[2])):
    open(f"{sys.argv[1]}/m{i}", "wb").write(bytes([i % 251]) * 30000)
P
}
right() {
    python3 - "$MNT" "$1" <<'P'
import sys
for i in range(int(sys.argv[2])):
    assert open(f"{sys.argv[1]}/m{i}", "rb").read() == bytes([i % 251]) * 30000, i
P
}
finish() {
    unmount_store "$MNT"
    wait $DAEMON
}

# ---- the daemon is stopped for a while: callers wait, nothing fails
begin "$WORK/s1"
fill 5
kill -STOP $DAEMON
timeout 30 cat "$C/status" >"$WORK/status" 2>&1 &
READER=$!
stopped() { [ "$(cut -d ' ' -f 3 /proc/$DAEMON/stat)" = T ]; }
wait_until 5 stopped
kill -CONT $DAEMON
wait $READER
check_equal "a request waits for a stopped daemon" 0 $?
check "and is answered" grep -q space "$WORK/status"
finish

# ---- the store's folder is deleted
begin "$WORK/s2" -o segment_size=64k
fill 20
sync "$MNT"
rm -rf "$WORK/s2"
echo 3 >/proc/sys/vm/drop_caches 2>/dev/null
timeout 20 bash -c 'for i in 1 2 3 4 5 6 7 8; do head -c 50000 /dev/zero >"$1/n$i" || exit 1; done; sync "$1/n1"' _ "$MNT" 2>"$WORK/err"
check_equal "a deleted store does not hang writers" no "$([ $? -ge 124 ] && echo hang || echo no)"
check "the log says so" wait_until 20 grep -qiE "error|warning" "$WORK/log"
check "status still answers" timeout 10 cat "$C/status"
timeout 60 umount "$MNT" || umount -l "$MNT"
check "the daemon ends" wait_until 30 no_daemon "$MNT"
wait $DAEMON
sed 's/^/# deleted store: /' "$WORK/log" | cut -c 1-180 | head -n 4

# ---- no file descriptors
WITH=(prlimit --nofile=24:24)
begin "$WORK/s3" -o segment_size=64k
check "with 24 descriptors a store of many segments is written" fill 60
check "every byte of it is right" right 60
check_equal "and it can be compacted" 0 "$(echo run >"$C/compact" && echo 0)"
kill -TERM $DAEMON
check "it ends" wait_until 30 no_daemon "$MNT"
wait $DAEMON
check_equal "without a crash" 0 $?
sed 's/^/# 24 descriptors: /' "$WORK/log" | cut -c 1-180 | head -n 3
WITH=()
check "and the store is whole" "$CTL" check "$WORK/s3"

# ---- no memory
begin "$WORK/s4"
fill 20
finish
WITH=(prlimit --as=40000000)
if begin "$WORK/s4" -o ro; then
    finish
    ok "it runs with an address space of 40 MB"
else
    wait $DAEMON
    check_equal "it says why it does not start" yes "$(grep -qiE 'memory|thread|allocate|shared librar' "$WORK/log" && echo yes || head -n 1 "$WORK/log")"
fi
WITH=()
begin "$WORK/s4"
check "with enough of it all is there" right 20
finish

# ---- permission lost, no such places
if [ "$(id -u)" -ne 0 ]; then
    skip "permissions" "not root"
else
    chmod 755 "$WORK"
    mkdir "$WORK/other"
    chown 65533 "$WORK/other"
    check_fails "a store of somebody else" "Permission denied|not allowed" setpriv --reuid=65533 --regid=65533 --clear-groups "$ENGRAMFS" "$WORK/s1" "$WORK/other"
fi
check_fails "engramctl on a mount point without a mount" "not a store|no such|No such|not an" "$CTL" stat "$MNT"
t_end
