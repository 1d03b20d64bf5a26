#!/usr/bin/env bash
# strangers.sh - what a user without rights can make the daemon do is bounded (docs/STRANGERS.md): while such a user does
# each of the things that the page lists, from 64 processes, root's requests are answered, and the daemon has no more memory,
# threads and descriptors than the page says.
#
#   tests/mount/strangers.sh [BUILD [ATTACK...]]
# Environment: SECONDS_EACH (2), ANSWER (3): how many seconds an answer may take.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "strangers" "not root: there is nobody to be"
    exit 0
fi
HERE=$(cd "$(dirname "$0")" && pwd)
MNT=$WORK/mnt
EACH=${SECONDS_EACH:-2}
ANSWER=${ANSWER:-3}
STRANGER=51001
# What docs/STRANGERS.md says: MiB beside what it has at the start and twice what was written; threads; descriptors
# beside the segments.
MEMORY=256 DESCRIPTORS=48
THREADS=$((4 * $(nproc) < 32 ? 32 : 4 * $(nproc) > 64 ? 64 : 4 * $(nproc)))
THREADS=$((THREADS + 16))
stranger() { setpriv --reuid=$STRANGER --regid=$STRANGER --clear-groups "$@"; }
get() { python3 -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$@"; }
at_most() { # NAME WHAT VALUE BOUND
    if python3 -c 'import sys; sys.exit(float(sys.argv[1]) > float(sys.argv[2]))' "$3" "$4"; then
        ok "$1: $2: $3 of $4"
    else
        not_ok "$1: $2" "$3, at most $4; $PROBED"
    fi
}
store_mib() { du -sm "$WORK/store" | cut -f 1; }

umask 022
chmod 755 "$WORK"
mkdir "$MNT"
# so many memories that a walk over all of them takes its time; for all attacks
python3 -c '
for i in range(300000): print("{\"id\":\"heap/%d\",\"content\":\"x\"}" % i)' | timeout 200 "$CTL" import - "$WORK/store" >/dev/null
timeout 60 "$ENGRAMFS" -o allow_other "$WORK/store" "$MNT" || {
    not_ok "mount" "it does not"
    exit 1
}
DAEMON=$(daemons_under "$WORK/store")
mkdir "$MNT/probe"
echo "what root keeps here" >"$MNT/probe/f"
(umask 077 && head -c 67108864 /dev/urandom >"$MNT/probe/large")
install -d -o $STRANGER -g $STRANGER "$MNT/own"
# for all attacks: a folder of many memories, and a large file
python3 -c '
import json
for i in range(30000): print(json.dumps({"id": f"own/many/m{i}", "content": "x"}))' | "$CTL" import - "$MNT" >/dev/null
chmod 755 "$MNT/own/many"
stranger bash -c 'head -c 209715200 /dev/zero | tr "\0" x >"$1/own/dense"' _ "$MNT"

check "a file is written and punched byte by byte" stranger timeout 120 python3 "$HERE/strangers.py" fragment "$MNT/own"

probe_begin() {
    coproc PROBE { timeout -s KILL $((EACH + 60)) python3 "$HERE/strangers.py" probe "$MNT" "$DAEMON" "$1"; }
    PROBE_OUT=${PROBE[0]} PROBE_IN=${PROBE[1]} PROBE_JOB=$PROBE_PID
}
probe_end() { # sets PROBED
    exec {PROBE_IN}>&-
    read -t 60 -r PROBED <&"$PROBE_OUT" || PROBED=
    wait "$PROBE_JOB" 2>/dev/null
}

ticks() { awk '{print $14 + $15}' "/proc/$DAEMON/stat"; }
at_rest() { # less than a tenth of a processor over half a second
    local before
    before=$(ticks)
    sleep 0.5
    [ $(($(ticks) - before)) -lt 5 ]
}

assault() { # ATTACK: result in $OUT
    local rss0 mib0 grown
    mib0=$(store_mib)
    rss0=$(awk '/VmRSS/ {print int($2 / 1024)}' "/proc/$DAEMON/status")
    stranger cat "$MNT/.engram/status" >/dev/null # while there is none everybody makes one
    probe_begin "$1"
    OUT=$(stranger timeout -s KILL $((EACH + 30)) python3 "$HERE/strangers.py" attack "$1" "$MNT/own" "$EACH" 2>"$WORK/attack.err")
    STATUS=$?
    probe_end
    if [ -z "$PROBED" ]; then
        not_ok "$1: root is answered" "not within a minute"
        return
    fi
    [ $STATUS -eq 0 ] || OUT=${OUT:-$(tail -n 1 "$WORK/attack.err")}
    echo "# $1: ${OUT:0:200} $(get "$PROBED" all)"
    check_equal "$1: it was tried, and refused where it has to be" 0 $STATUS
    [ "$(get "$OUT" tried)" -ge 64 ] || not_ok "$1: it was tried" "$OUT"
    at_most "$1" "root is answered, s" "$(get "$PROBED" longest)" "$ANSWER"
    at_most "$1" "root has a turn at digests, s" "$(get "$PROBED" digest)" $((2 * ANSWER))
    at_most "$1" "kill -9 ends all, s" "$(get "$OUT" killed_in)" $((3 * ANSWER)) # many processes, on a busy machine
    grown=$(($(store_mib) - mib0)) # less than nothing, if a compaction came by
    # one each 100 ms, and the first
    [ "$1" != control_texts ] ||
        at_most "$1" "texts that were made" "$(cat "$MNT"/own/made* | sort -u | wc -l)" $((EACH * 10 + 3))
    case $1 in digest_*) check "$1: nothing is hashed for those who are gone" wait_until 10 at_rest ;; esac
    at_most "$1" "memory, MiB" "$(get "$PROBED" rss)" $((rss0 + MEMORY + (grown > 0 ? 2 * grown : 0)))
    at_most "$1" "threads" "$(get "$PROBED" threads)" $THREADS
    at_most "$1" "descriptors" "$(get "$PROBED" fds)" $DESCRIPTORS
}

if [ $# -gt 1 ]; then
    ATTACKS=("${@:2}")
else
    mapfile -t ATTACKS < <(python3 "$HERE/strangers.py" names)
fi

# ---- digests, by a stranger: those that xxhsum -H3 gives
digest() { stranger timeout 30 getfattr --absolute-names --only-values -n user.engram.content_hash "$1"; }
stranger truncate -s 17179869184 "$MNT/own/hole"
stranger truncate -s 17179869185 "$MNT/own/more"
check_equal "the digest of a small file" e4d39fa4090fd694 "$(digest "$MNT/probe/f")"
check_equal "of a large one" 70a8db49e750611a "$(digest "$MNT/own/dense")"
check_equal "of 16 GiB of a hole" 582f4f8a997fd4d6 "$(digest "$MNT/own/hole")"
check_equal "and again, since it is known" 582f4f8a997fd4d6 "$(digest "$MNT/own/hole")"
check_fails "of a byte more" "File too large" digest "$MNT/own/more"
check_fails "of what one may not read" "Permission denied" digest "$MNT/probe/large"

for attack in "${ATTACKS[@]}"; do assault "$attack"; done

# ---- the end, while many wait
rm -f "$MNT"/own/hole*
setpriv --reuid=$STRANGER --regid=$STRANGER --clear-groups timeout -s KILL 60 python3 "$HERE/strangers.py" attack digest_of_many_holes "$MNT/own" 30 >/dev/null 2>&1 &
check "many wait for digests" wait_until 20 test -e "$MNT/own/hole199"
kill -TERM "$DAEMON"
check "SIGTERM ends the daemon while they wait" wait_until 10 no_daemon "$WORK/store"
kill -TERM $! # its processes end with it
wait $!
timeout 60 "$ENGRAMFS" -o allow_other "$WORK/store" "$MNT"
check "it is mounted again" test -e "$MNT/probe/f"
check "unmount" unmount_store "$MNT"
check "the store is whole" "$CTL" check "$WORK/store"
t_end
