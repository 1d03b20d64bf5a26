#!/usr/bin/env bash
# sdk_memory.sh - no edit that was acknowledged is lost: 4 and 16 processes with the memory tool of a vendor's SDK, unchanged, each
# replace words of their own in one file; beside compactions, snapshots and a history. Each state in the history is the one before it and one
# acknowledged edit, a reader sees no other state and none older than before, and after each round what is there is what was acknowledged
# (sdk_memory.mjs). On the local file system, the control, edits must get lost, else the runs show nothing; on a mount without the
# option they are counted. The same with guards by a client of our own (guarded_client.py), without the option.
#
#   tests/ops/sdk_memory.sh [BUILD]
# Environment: ROUNDS (20; 100 with ENGRAM_TEST_MODE=full). SDK: folder of the package, else it is loaded by npm, with what
# tests/ops/clients/package-lock.json names.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
HERE=$(cd "$(dirname "$0")" && pwd)
STORE=$WORK/store MNT=$WORK/mnt
ROUNDS=${ROUNDS:-$([ "${ENGRAM_TEST_MODE-}" = full ] && echo 100 || echo 20)}
t_needs python3 setfattr

# ---- what runs beside it

SNAPSHOTS=
beside_start() { # MOUNT
    printf '%s\n' history=30d history_versions=4096 >"$1/.engram/config"
    compact_loop_start "$1"
    # what it writes is garbage soon, among what the others write, which a compaction moves
    (while mkdir "$1/.engram/snapshots/s$BASHPID"; do
        echo
        for _ in 1 2 3 4 5; do
            head -c 50000 /dev/urandom >"$1/garbage"
            sleep 0.02
        done
        rmdir "$1/.engram/snapshots/s$BASHPID"
    done >"$WORK/snapshots" 2>"$WORK/snapshots.err") &
    SNAPSHOTS=$!
}
beside_stop() { # MOUNT
    kill "$SNAPSHOTS" && wait "$SNAPSHOTS" 2>/dev/null
    compact_loop_stop "$1"
    [ "$(wc -l <"$WORK/snapshots")" -gt 0 ] || not_ok "snapshots beside it" "none"
}

# ---- what was found

# TERM...: conditions on the JSON text in $OUT, of its names; the numbers are told either way.
holds() { # NAME CONDITION...
    local name=$1 wrong
    shift
    wrong=$(python3 -c '
import json, sys
try:
    r = json.loads(sys.argv[1])
    print("; ".join(c for c in sys.argv[2:] if not eval(c, {}, r)))
except ValueError as e:
    print(e)' "$OUT" "$@" 2>&1)
    if [ -z "$wrong" ]; then ok "$name"; else not_ok "$name" "not so: $wrong"; fi
    echo "# ${OUT:-nothing was said}"
}
NOTHING_LOST=(lost==0 unasked==0)
CHAIN=(behind==0 errors==0 forks==0 strays==0 versions==acknowledged+1 'views>0')

# ---- the tool of the SDK

tool() { # FOLDER PROCESSES [retry]: the tool's own folder is made; if the mount keeps a history that is looked at
    local history=$MNT/.engram/history/${1##*/}/memories/shared.md/@
    [ "${1%/*}" = "$MNT" ] || history=
    mkdir "$1"
    # shellcheck disable=SC2086
    OUT=$(timeout -k 5 300 node "$HERE/sdk_memory.mjs" "$SDK" "$1" "$2" "$ROUNDS" ${3-} $history 2>"$WORK/err") || OUT=$(grep -m1 Error "$WORK/err")
}
load_sdk() {
    [ -z "${SDK-}" ] || return 0
    command -v node >/dev/null && command -v npm >/dev/null || {
        skip "the tool of the SDK" "no node, or no npm"
        return 1
    }
    cp -r "$HERE/clients" "$WORK/clients"
    (cd "$WORK/clients" && timeout 100 npm ci --ignore-scripts --no-audit --no-fund --fetch-retries=1) >"$WORK/npm" 2>&1 || {
        skip "the tool of the SDK" "npm does not load it: $(grep -m1 -i error "$WORK/npm" | cut -c 1-200)"
        return 1
    }
    SDK=$WORK/clients/node_modules/@anthropic-ai/sdk
}
if load_sdk; then
    for n in 4 16; do
        mkdir -p "$WORK/local"
        tool "$WORK/local/$n" $n
        holds "$n processes on $(stat -f -c %T "$WORK"), the control: edits are lost, in silence" 'lost>0' refused==0 errors==0
    done
    must_mount "$STORE" "$MNT"
    beside_start "$MNT"
    tool "$MNT/lost" 4
    holds "4 processes on a mount without the option: all are acknowledged, what is lost is counted" refused==0 errors==0
    beside_stop "$MNT"
    check "unmount" unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o conflicts=refuse
    beside_start "$MNT"
    for n in 4 16; do
        tool "$MNT/once-$n" $n
        holds "$n processes with conflicts=refuse: what was acknowledged is there, the others were told" "${NOTHING_LOST[@]}" "${CHAIN[@]}" \
            'fewest>=1' "acknowledged+refused==$n*$ROUNDS" 'refused>0'
        tool "$MNT/again-$n" $n retry
        holds "$n processes that try again: all edits are there, none after more than $n attempts" "${NOTHING_LOST[@]}" "${CHAIN[@]}" \
            "acknowledged==$n*$ROUNDS" "attempts<=$n"
    done
    tool "$MNT/alone" 1
    holds "one alone is never refused" "${NOTHING_LOST[@]}" "${CHAIN[@]}" refused==0 "acknowledged==$ROUNDS"
    beside_stop "$MNT"
    check "unmount that" unmount_store "$MNT"
fi

# ---- guards, without the option

guarded() { # MEMORY PROCESSES [retry]
    OUT=$(timeout -k 5 300 python3 "$HERE/guarded_client.py" "$1" "$2" "$ROUNDS" "${@:3}" 2>"$WORK/err") || OUT=$(tail -n 1 "$WORK/err")
}
must_mount "$STORE" "$MNT"
beside_start "$MNT"
for n in 4 16; do
    guarded "$MNT/guarded-$n" $n
    holds "$n processes with guards: what was acknowledged is there, the others were told" "${NOTHING_LOST[@]}" forks==0 'fewest>=1' \
        "acknowledged+refused==$n*$ROUNDS" 'refused>0'
    guarded "$MNT/guarded-again-$n" $n retry
    holds "$n processes with guards that try again: all edits are there, none after more than $n attempts" "${NOTHING_LOST[@]}" forks==0 \
        "acknowledged==$n*$ROUNDS" "attempts<=$n"
done
guarded "$MNT/guarded-alone" 1
holds "one alone is never refused, with guards" "${NOTHING_LOST[@]}" forks==0 refused==0 "acknowledged==$ROUNDS"
beside_stop "$MNT"
check "unmount at the end" unmount_store "$MNT"
check "the store is whole" "$CTL" check "$STORE"
compact_loop_verdict
t_end
