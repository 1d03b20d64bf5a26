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
begin "$WORK/s1" -o commit=0.2
fill 5
stopped() { ! cut -d ' ' -f 3 /proc/"$DAEMON"/task/*/stat | grep -qv T; } # each of its threads
kill -STOP $DAEMON
check "the daemon is stopped" wait_until 5 stopped
timeout 120 cat "$C/status" >"$WORK/status" 2>&1 &
READER=$!
timeout 120 sh -c 'echo waited >"$1/late" && sync "$1/late"' _ "$MNT" &
WRITER=$!
[ "${ENGRAM_TEST_MODE-}" != full ] || sleep 60 # not to be in time: so long is it stopped
check_equal "callers of a stopped daemon wait" "0 0" "$(kill -0 $READER; echo -n "$? "; kill -0 $WRITER; echo $?)"
kill -CONT $DAEMON
wait $READER
check_equal "a request waits for a stopped daemon" 0 $?
check "and is answered" grep -q space "$WORK/status"
wait $WRITER
check_equal "a writer, too, and its sync" 0 $?
check_equal "what it wrote is there" waited "$(cat "$MNT/late")"
check_equal "the log has nothing to complain of" "" "$(grep -E 'error|warning' "$WORK/log")"
finish

# ---- the store's folder is deleted
begin "$WORK/s2" -o commit=0.2 # the segment that is written to is far from full
fill 20
sync "$MNT"
rm -rf "$WORK/s2"
echo hello >"$MNT/lost"
check "a deleted store is noticed at the next flush" wait_until 20 grep -q "error: store is read-only now: .*its files were deleted" "$WORK/log"
check_fails "a sync does not say that it is durable" "Input/output error" timeout 20 sync "$MNT/lost"
check_fails "writers are told" "Read-only file system" timeout 20 sh -c 'echo x >"$1/new"' _ "$MNT"
check "status still answers" sh -c "timeout 10 cat '$C/status' | grep -q 'READ-ONLY: .*its files were deleted'"
check "metrics still answer" sh -c "timeout 10 cat '$C/metrics' | grep -q '^engram_store_read_only 1'"
check "it unmounts" timeout 60 umount "$MNT"
check "the daemon ends" wait_until 30 no_daemon "$MNT"
wait $DAEMON
check_equal "and its status says that something was lost" 1 $?
check "in the log it is two lines, and one more if a checkpoint met it first" \
    test "$(grep 'error:' "$WORK/log" | grep -vc 'error: checkpoint failed: No such file')" = 2
check "and each once" test "$(grep -c 'error:' "$WORK/log")" -le 3

# ---- the disk is removed
make_disk() { # a file system of its own on $WORK/disk
    truncate -s 200M "$WORK/disk.img" && mkfs.ext4 -q -F "$WORK/disk.img" && mkdir -p "$WORK/disk" &&
        mount -o loop "$WORK/disk.img" "$WORK/disk" 2>/dev/null
}
# EXT4_IOC_SHUTDOWN, with nothing written back: from then on every request of the file system fails with EIO, as when the
# device is gone.
remove_disk() {
    python3 - "$1" <<'P'
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack("I", 2))
P
}
disk_removed() {
    echo 3 >/proc/sys/vm/drop_caches
    check "reads of a removed disk are right or fail" timeout 60 python3 - "$MNT" <<'P'
import errno, sys
failed = 0
for i in range(60):
    try:
        assert open(f"{sys.argv[1]}/m{i}", "rb").read() == bytes([i % 251]) * 30000, i
    except OSError as e:
        assert e.errno == errno.EIO, e
        failed += 1
assert failed > 0
P
    check_fails "writes fail" "Input/output error|Read-only" timeout 20 sh -c 'echo x >"$1/new" && sync "$1/new"' _ "$MNT"
    check_fails "removing fails" "Input/output error|Read-only" timeout 20 rm "$MNT/m1"
    check "status still answers, and has the reason" sh -c "timeout 10 cat '$C/status' | grep -q 'the store failed (Input/output error)'"
    check "metrics still answer" sh -c "timeout 10 cat '$C/metrics' | grep -q '^engram_content_damaged_extents'"
    check "the log asks for the disk" grep -q "error: reading the store failed (Input/output error): are its folder and disk still there" "$WORK/log"
    check "damage does not fill the log" test "$(grep -c damaged "$WORK/log")" -lt 30
    check "it unmounts" timeout 60 umount "$MNT"
    check "the daemon ends" wait_until 30 no_daemon "$MNT"
    wait $DAEMON
    check_equal "and its status says that something was lost" 1 $?
    umount "$WORK/disk"
    check "the disk is back" mount -o loop "$WORK/disk.img" "$WORK/disk"
    begin "$WORK/disk/store"
    check "all that was synced is there" right 60
    finish
    check "and the store is whole" "$CTL" check "$WORK/disk/store"
}
if [ "$(id -u)" -ne 0 ] || ! command -v mkfs.ext4 >/dev/null || ! make_disk; then
    skip "a disk that is removed" "not root, or no loop device or mkfs.ext4"
else
    begin "$WORK/disk/store" -o segment_size=256k
    fill 60
    sync "$MNT"
    if remove_disk "$WORK/disk" 2>/dev/null; then
        disk_removed
    else
        skip "a disk that is removed" "ext4 has no shutdown here"
        finish
    fi
    umount "$WORK/disk"
fi

# ---- the store's folder may not be entered any more
if [ "$(id -u)" -ne 0 ] || ! setpriv --bounding-set -dac_override true 2>/dev/null; then
    skip "permission lost" "not root, or no setpriv"
else
    WITH=(setpriv --bounding-set "-dac_override,-dac_read_search")
    begin "$WORK/s6" -o segment_size=64k
    WITH=()
    fill 20
    sync "$MNT"
    chmod 000 "$WORK/s6"
    roll() { timeout 20 sh -c 'for i in 1 2 3; do head -c 50000 /dev/zero >"$1/n$i" || exit 1; done' _ "$MNT"; }
    check_fails "without permission writers fail when the log needs a new file" "Input/output error" roll
    check "what was written can be read" right 20
    check "the log says why" grep -q "error: writing to the store failed (Permission denied): are its folder" "$WORK/log"
    check "status still answers, and has the reason" sh -c "timeout 10 cat '$C/status' | grep -q 'the store failed (Permission denied)'"
    chmod 700 "$WORK/s6"
    check "with it, all goes on" roll
    check "what was written is still there" right 20
    finish
    check_equal "and ends well" 0 $?
    check "and the store is whole" "$CTL" check "$WORK/s6"
fi

# ---- the clock is set back, by ten years
if ! cc -shared -fPIC -Wall -Werror -o "$WORK/clock.so" "$ROOT/tests/ops/clock_shim.c" -ldl 2>"$WORK/cc.log" ||
    grep -q __asan_init "$ENGRAMFS"; then
    skip "the clock is set back" "no compiler, or a sanitizer that has to come first"
else
    echo 0 >"$WORK/offset"
    WITH=(env LD_PRELOAD="$WORK/clock.so" CLOCK_SHIM="$WORK/offset")
    begin "$WORK/s7" -o "commit=0.2,segment_size=64k"
    WITH=()
    fill 20
    echo old >"$MNT/note"
    VERSION=$(getfattr --only-values -n user.engram.version "$MNT/note" 2>/dev/null)
    echo -315360000 >"$WORK/offset"
    echo new >"$MNT/note"
    check "the daemon believes the clock" test "$(stat -c %Y "$MNT/note")" -lt $(($(date +%s) - 300000000))
    check "versions go on rising" test "$(getfattr --only-values -n user.engram.version "$MNT/note" 2>/dev/null)" -gt "$VERSION"
    committed() { [ "$(json_get log_seq <"$C/stats.json")" = "$(json_get durable_seq <"$C/stats.json")" ]; }
    check "what is not synced becomes durable in time" wait_until 20 committed
    rm "$MNT"/m1[0-9]
    check "compaction" sh -c "echo run >'$C/compact'"
    check "takes a time that can be" test "$(json_get duration_ms <"$C/compact" | cut -d . -f 1)" -lt 600000
    check_equal "no figure is negative" "" "$(grep -v '^#' "$C/metrics" | grep -E ' -[0-9]')"
    kill_daemon "$MNT"
    wait $DAEMON
    begin "$WORK/s7"
    check_equal "after kill -9 and with the right clock: the newer content" new "$(cat "$MNT/note")"
    check "and all the others" right 10
    finish
    check "the store is whole" "$CTL" check "$WORK/s7"
fi

# ---- the gateway comes before the mount
GATEWAY=$BUILD/tools/engram-gateway
if [ ! -x "$GATEWAY" ] || ! command -v curl >/dev/null; then
    skip "the gateway without a mount" "it is not built, or no curl"
else
    "$GATEWAY" --port 0 "$MNT" >"$WORK/gateway.log" 2>&1 &
    GATEWAY_PID=$!
    check "it starts" wait_until 20 grep -q "listening on" "$WORK/gateway.log"
    PORT=$(sed -n 's/.*listening on .* port \([0-9]*\).*/\1/p' "$WORK/gateway.log" | head -n 1)
    answer() { curl -s -o "$WORK/body" -w '%{http_code}' --max-time 20 "$@"; }
    check_equal "without a mount it says so" 503 "$(answer "http://127.0.0.1:$PORT/health")"
    check "in words" grep -qi "mount" "$WORK/body"
    check_equal "and does not compact" 503 "$(answer -X POST "http://127.0.0.1:$PORT/api/v1/maintenance/compact")"
    begin "$WORK/s1"
    healthy() { [ "$(answer "http://127.0.0.1:$PORT/health")" = 200 ]; }
    check "it finds the mount when it comes" wait_until 20 healthy
    finish
    check_equal "and that it goes" 503 "$(answer "http://127.0.0.1:$PORT/metrics")"
    kill $GATEWAY_PID
    wait $GATEWAY_PID
    check_equal "it ends well" 0 $?
fi

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

# and no more of it while it runs: what is left is used up
begin "$WORK/s4"
prlimit --pid $DAEMON --as=$(($(awk '/^VmSize/ {print $2 * 1024}' /proc/$DAEMON/status) + 200000)):
check "without memory writers get ENOMEM" timeout 200 python3 - "$MNT" <<'P'
import errno, sys
failed = 0
for i in range(100000):
    try:
        open(f"{sys.argv[1]}/n{i}", "wb").write(b"x" * 5000)
    except OSError as e:
        assert e.errno == errno.ENOMEM, e
        failed += 1
        if failed == 100:
            break
else:
    raise SystemExit("it never ran out of memory")
P
check "the daemon lives, and reads go on" right 20
check "the log says so" grep -q "error: writing to the store failed (Cannot allocate memory): wait until there is memory" "$WORK/log"
check "in few lines" test "$(wc -l <"$WORK/log")" -lt 30
prlimit --pid $DAEMON --as=unlimited:
check "with memory, all goes on" sh -c "echo hello >'$MNT/after' && sync '$MNT/after' && grep -q hello '$MNT/after'"
finish
check_equal "and ends well" 0 $?
check "and the store is whole" "$CTL" check "$WORK/s4"

# ---- signals are blocked, and SIGCHLD ignored, by whoever starts it: all that is inherited
cat >"$WORK/rude.py" <<'P'
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])
P
RUDE=(python3 "$WORK/rude.py")
ends() { # NAME PID [STATUS]
    if ! wait_until 20 no_process "$2"; then
        not_ok "$1" "it runs still"
        kill -KILL "$2"
    fi
    wait "$2" 2>/dev/null
    check_equal "$1" "${3-0}" $?
}
WITH=("${RUDE[@]}")
begin "$WORK/s1"
exec 7<"$MNT"
kill -TERM $DAEMON
ends "rudely started, busy: SIGTERM ends it" $DAEMON
exec 7<&-
check_fails "and nothing is mounted" "" mountpoint -q "$MNT"
WITH=()
mkfifo "$WORK/feed"
"${RUDE[@]}" "$CTL" import - "$WORK/s1" <"$WORK/feed" >"$WORK/out" 2>&1 &
IMPORT=$!
exec 7>"$WORK/feed"
catches() { [ $((0x$(sed -n "s,^SigCgt:\t,,p" "/proc/$1/status") >> 14 & 1)) -eq 1 ]; }
check "an import, rudely started, waits for its lines" wait_until 20 catches $IMPORT
kill -TERM $IMPORT
ends "SIGTERM ends it" $IMPORT 2
exec 7>&-

# nohup(1): a hangup is nothing to such a command
(trap '' HUP && exec "$CTL" import - "$WORK/s1" <"$WORK/feed" >"$WORK/out" 2>&1) &
IMPORT=$!
exec 7>"$WORK/feed"
check "an import under nohup waits for its lines" wait_until 20 catches $IMPORT
kill -HUP $IMPORT
echo '{"id":"hung-up","content":"x"}' >&7
exec 7>&-
ends "it does all its work" $IMPORT
check "and the memory is there" grep -q "1 memor" "$WORK/out"

# ---- not allowed from the start, no such places
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
