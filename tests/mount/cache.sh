#!/usr/bin/env bash
# cache.sh - what the kernel keeps of a mount is what the daemon would say: tests/mount/cache/ on mounts with and without
# -o writeback, and on ext4, where all of it must hold as well. Then that the program notices what it is for: pages that
# asynchronous O_DIRECT writes leave behind, if the kernel is asked for them, and attributes of which it is not told.
# docs/KERNEL-CACHE.md has the list.
#
#   tests/mount/cache.sh BUILD
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
CACHE=$BUILD/tests/mount/cache/cache
if [ ! -x "$CACHE" ]; then
    skip cache "tests/mount/cache/cache is not built"
    exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
MNT=$WORK/mnt
SEED=${SEED:-1} ROUNDS=5
case ${ENGRAM_TEST_MODE-} in
full) ROUNDS=40 ;;
soak) SEED=$RANDOM ;;
esac
OPTIONS=segment_size=4M
if [ "$(id -u)" -eq 0 ]; then
    OPTIONS=$OPTIONS,allow_other
    chmod 755 "$WORK"
fi

agree() { # NAME FOLDER ARGUMENTS...: the program's lines, with the name before them
    local name=$1 dir=$2 status
    shift 2
    mkdir -p "$dir"
    timeout 900 "$CACHE" "$dir" --seed "$SEED" --rounds "$ROUNDS" "$@" >"$WORK/out" 2>&1
    status=$?
    sed "s/^\(ok\|not ok\) - cache\./\1 - $name: /" "$WORK/out"
    T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$WORK/out")))
    if ! grep -q '^# seed .* passed' "$WORK/out" || { [ $status -ne 0 ] && ! grep -q '^not ok' "$WORK/out"; }; then
        not_ok "$name: the program ran to its end" "status $status: $(tail -n 1 "$WORK/out")"
    fi
}

# ---- tar, cp and what else asks for holes, of a file that its writer has open still

# The writer has its descriptor open, and nothing has been written back when the other looks. That one was there before:
# a process that is started later inherits the descriptor, and closing it writes everything back.
holding() { # FILE COMMAND...
    python3 -c '
import os, subprocess, sys
name, command = sys.argv[1], sys.argv[2:]
other = subprocess.Popen(["sh", "-c", "read go; exec \"$@\"", "sh", *command], stdin=subprocess.PIPE)
data = os.urandom(60000)
fd = os.open(name, os.O_CREAT | os.O_TRUNC | os.O_RDWR, 0o644)
os.ftruncate(fd, 400000)
os.pwrite(fd, data, 100001)
other.stdin.write(b"\n")
other.stdin.close()
if other.wait():
    sys.exit("the command failed")
with open(name + ".copy", "rb") as f:
    copy = f.read()
if copy != bytes(100001) + data + bytes(400000 - 160001):
    sys.exit(f"other content: {len(copy)} bytes, {len(copy) - copy.count(0)} of them not zero")' "$@"
}
sparse_tools() { # NAME FOLDER
    check "$1: cp --sparse=auto of a file that is being written" \
        holding "$2/s" cp --sparse=auto "$2/s" "$2/s.copy"
    check "$1: cp --sparse=always" holding "$2/s" cp --sparse=always "$2/s" "$2/s.copy"
    check "$1: tar -S" \
        holding "$2/s" sh -c "tar -C '$2' -S -cf '$WORK/s.tar' s && tar -xOf '$WORK/s.tar' s >'$2/s.copy'"
    rm -f "$2/s" "$2/s.copy"
}

# ---- the control

t_more_cleanup() { umount "$WORK/ext4" 2>/dev/null; }

make_control() {
    mkdir -p "$WORK/ext4" && truncate -s 512M "$WORK/ext4.img" && mkfs.ext4 -q -F -b 4096 "$WORK/ext4.img" &&
        mount -o loop "$WORK/ext4.img" "$WORK/ext4"
}
if [ "$(id -u)" -ne 0 ] || ! make_control 2>"$WORK/why"; then
    skip "the control" "no ext4 to compare with: $(head -c 200 "$WORK/why" 2>/dev/null)"
else
    agree ext4 "$WORK/ext4/t"
    sparse_tools ext4 "$WORK/ext4/t"
fi

# ---- mounts

on_mount() { # NAME OPTIONS
    must_mount "$WORK/store.$1" "$MNT" -o "$OPTIONS$2"
    local control=("--control" "$MNT/.engram/compact")
    [ "${T_COMPACT_LOOP:-0}" = 0 ] || control=() # one at a time
    [ "$1" != writeback ] || control+=(--writeback 1)
    agree "$1" "$MNT/t" "${control[@]}"
    sparse_tools "$1" "$MNT/t"
    check "$1: unmount" unmount_store "$MNT"
    check "$1: engramctl check" "$CTL" check "$WORK/store.$1"
}
on_mount plain ""
on_mount writeback ,writeback

# ---- that it notices

notices() { # WHAT VARIABLE=VALUE PART FAULT: without the protection the program finds it
    local before=$ENGRAMFS fault="^not ok - cache\.$4"
    ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
    if [ ! -x "$ENGRAMFS" ]; then
        skip "$1 is noticed" "tests/mount/fsfuzz/engramfs is not built"
        ENGRAMFS=$before
        return
    fi
    export "${2?}"
    must_mount "$WORK/store.mutant" "$MNT" -o "$OPTIONS"
    unset "${2%%=*}"
    mkdir -p "$MNT/t"
    timeout 600 "$CACHE" "$MNT/t" --rounds 5 "$3" >"$WORK/out" 2>&1
    if grep -q "$fault" "$WORK/out"; then
        ok "$1 is noticed: $(grep -m1 "$fault" "$WORK/out" | cut -d ' ' -f 4-)"
    else
        not_ok "$1 is noticed" "$(tail -n 1 "$WORK/out")"
    fi
    unmount_store "$MNT"
    ENGRAMFS=$before
}
notices "ASYNC_DIO asked for" FS_MUTANT_ASK=ASYNC_DIO beside 'beside\.\(aio\|uring\):'
notices "a kernel that is not told" FS_MUTANT_UNTOLD=1 attrs 'attrs\.'
t_end
