#!/usr/bin/env bash
# archives.sh - archives and trees that mean ill, by the thousand, made from a seed: names with .., absolute ones, links and files
# through them, hard links out of the archive, lying sizes, devices, deep and huge names, doubled entries. Whatever they are, nothing
# outside the target changes, nothing crashes or hangs, and the store stays clean.
#
#   SEED=123 tests/ops/archives.sh [BUILD] [COUNT]     300; in full mode 10,000
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
WORKERS=2 # each has a mount of its own, and every second number
COUNT=${2-300}
[ "${2-}" ] || [ "${ENGRAM_TEST_MODE-}" != full ] || COUNT=10000
[ "${2-}" ] || [ "${ENGRAM_TEST_MODE-}" != quick ] || COUNT=60
SEED=${SEED-$RANDOM$RANDOM}
LIMIT=$((120 + COUNT / 3)) # seconds
echo "# seed $SEED, $COUNT archives and trees, at most $LIMIT s"
worker() { # K
    local dir=$WORK/$1
    mkdir "$dir" && cd "$dir" || return 1
    must_mount "$dir/store" "$dir/mnt"
    timeout $((LIMIT + 60)) python3 "$T_LIB/ops/hostile_archives.py" "$CTL" "$SEED" "$COUNT" "$LIMIT" "$1" $WORKERS >"$dir.result" 2>&1
}
for k in $(seq 0 $((WORKERS - 1))); do
    worker "$k" &
    WORKER[k]=$!
done
for k in $(seq 0 $((WORKERS - 1))); do
    wait "${WORKER[k]}"
    check_equal "worker $k: none of them did harm" 0 $?
    cut -c 1-300 "$WORK/$k.result" | head -n 20
    check "worker $k: unmount" unmount_store "$WORK/$k/mnt"
    check "worker $k: the store is whole" "$CTL" check "$WORK/$k/store"
done
t_end
