#!/usr/bin/env bash
# A folder of 100,000 entries (1,000,000 when ENGRAM_TEST_MODE=full): listed while it changes, emptied in linear time. What is
# compared is counted, not timed: requests to the daemon, and the processor time that it took for them.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 rsync
STORE=$WORK/store MNT=$WORK/mnt BIG="$T_LIB/mount/bigdir.py"
N=100000 SECONDS_STABLE=5
if [ "${ENGRAM_TEST_MODE-}" = full ]; then N=1000000 SECONDS_STABLE=60; fi
if [ "${ENGRAM_TEST_MODE-}" = quick ]; then N=20000; fi
[ "${T_COMPACT_LOOP:-0}" = 0 ] || N=$((N * 3 / 10)) # each of the many compactions begins with checkpoints of all names
must_mount "$STORE" "$MNT"

check "$N entries" python3 "$BIG" fill "$MNT/big" 0 $N
check_equal "ls -U" $N "$(ls -U "$MNT/big" | sort -u | wc -l)"
check_equal "find" $N "$(find "$MNT/big" -type f | wc -l)"
if python3 "$BIG" stable "$MNT/big" $N $SECONDS_STABLE >"$WORK/stable" 2>&1; then
    ok "listings beside additions, removals and renames: none skipped, none repeated"
    sed 's/^/# /' "$WORK/stable"
else
    not_ok "listings beside changes" "$(tail -n 1 "$WORK/stable")"
fi
check "telldir, seekdir, rewinddir" python3 "$BIG" seek "$MNT/big" $N
check "positions" python3 "$BIG" save "$MNT/big" "$WORK/positions"
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT"
check "positions hold over a restart" python3 "$BIG" check "$MNT/big" "$WORK/positions"
check_equal "all entries after a restart" $N "$(ls -U "$MNT/big" | wc -l)"

# ---- twice the entries, twice the work
if [ "${T_COMPACT_LOOP:-0}" != 0 ]; then
    echo "# twice the entries, twice the work: not counted beside compactions, whose requests and time cannot be told apart"
    check "rm -r of the folder" rm -r "$MNT/big"
    check "unmount at the end" unmount_store "$MNT"
    check "engramctl check" "$CTL" check "$STORE"
    t_end
fi
requests() { awk '/^engram_fuse_requests_total/ && !/forget/ {n += $2} END {print n}' "$MNT/.engram/metrics"; }
ticks() { # of the processor, in user and system mode, by the daemon
    local pid
    pid=$(daemons_under "$MNT")
    awk '{print $14 + $15}' "/proc/$pid/stat"
}
measure() { # COMMAND...: sets USED_REQUESTS and USED_TICKS
    local r t
    r=$(requests) t=$(ticks)
    "$@" >"$WORK/out" 2>&1 || not_ok "$1" "$(tail -n 1 "$WORK/out")"
    USED_REQUESTS=$(($(requests) - r)) USED_TICKS=$(($(ticks) - t))
}
# An entry takes two requests, or four where the kernel's cache is emptied meanwhile. Processor time, which a busy machine blurs,
# may be half as much again as double.
PER_ENTRY=4
linear() { # NAME ENTRIES R1 R2 T1 T2: twice the entries, at the most twice the work
    if [ "$4" -le $(($2 * PER_ENTRY + 200)) ] && [ "$6" -le $(($5 * 3 + 100)) ]; then
        ok "$1 is linear: requests $3 and $4, ticks of processor time $5 and $6"
    else
        not_ok "$1 is linear" "requests $3 and $4, ticks $5 and $6"
    fi
}
M=20000 # the second and larger folder
[ $N -le 100000 ] || M=200000
one_pass() { # ENTRIES COMMAND... with the folder as last argument
    local n=$1
    shift
    rm -rf "$MNT/pass"
    python3 "$BIG" fill "$MNT/pass" 0 "$n" || not_ok "fill" "failed"
    measure "$@" "$MNT/pass"
}
compare() { # NAME COMMAND...
    local name=$1 r1 t1
    shift
    one_pass $((M / 2)) "$@"
    r1=$USED_REQUESTS t1=$USED_TICKS
    one_pass $M "$@"
    linear "$name" $M "$r1" "$USED_REQUESTS" "$t1" "$USED_TICKS"
}
compare "rm -r" rm -r
check_fails "it is gone" "No such file" ls "$MNT/pass"
mkdir "$WORK/void"
rsync_delete() { rsync -a --delete "$WORK/void/" "$1/"; }
compare "rsync --delete" rsync_delete
check_equal "it is empty" "" "$(ls -A "$MNT/pass")"
find_delete() { find "$1" -delete; }
compare "find -delete" find_delete
measure rm -r "$MNT/big"
if [ "$USED_REQUESTS" -le $((N * PER_ENTRY + 200)) ]; then
    ok "rm -r of the $N: requests $USED_REQUESTS"
else
    not_ok "rm -r of the $N" "requests $USED_REQUESTS"
fi
check_fails "it is gone, too" "No such file" ls "$MNT/big"
check "unmount at the end" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
