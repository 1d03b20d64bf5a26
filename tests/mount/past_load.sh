#!/usr/bin/env bash
# past_load.sh - 20 snapshots while eight writers change everything and compactions run: each is copied by rsync(1), beside the others
# and beside the writers, and the copy is what there was at that moment, of which another copy was made while all writers stood still.
#
#   tests/mount/past_load.sh [BUILD] [SNAPSHOTS] [SEED]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 rsync
if [ "$(id -u)" -ne 0 ]; then
    skip "past_load" "not root: who writes changes modes"
    exit 0
fi
if [ "${T_COMPACT_LOOP:-0}" = 1 ]; then
    skip "past_load" "it compacts all the time by itself"
    exit 0
fi
N=${2-20} SEED=${3-$RANDOM} WRITERS=8
echo "# seed $SEED"
cd "$WORK" || exit 1
MNT=$WORK/mnt SNAPSHOTS=$WORK/mnt/.engram/snapshots
must_mount "$WORK/store" "$MNT"
mkdir "$MNT/tree"
"$ROOT/tests/mount/past_writers.py" "$MNT/tree" "$SEED" $WRITERS &
PARENT=$!
signal() { pkill "-$1" -P "$PARENT"; }
stand() { # all of them: one that waits for an answer stops behind it
    local states
    states=$(ps -o state= --ppid "$PARENT" | sort -u)
    [ "$states" = T ]
}
all_write() { [ "$(pgrep -c -P "$PARENT")" -eq $WRITERS ]; }
wait_until 20 all_write || not_ok "the writers have begun"
compact_all() { while [ ! -e "$WORK/end" ]; do echo run >"$MNT/.engram/compact" || sleep 0.1; done; } 2>/dev/null
compact_all &
COMPACT=$!
same() { # A B: names, modes, owners, times, links, attributes, content
    local differs
    differs=$(rsync -aHXcni --delete "$1/" "$2/") && [ -z "$differs" ]
}
take_out() { # NUMBER: twice, of which the second is behind many more changes
    rsync -aHX "$SNAPSHOTS/s$1/tree/" "out$1/" && sleep 0.2 && same "$SNAPSHOTS/s$1/tree" "out$1" && same "then$1" "out$1"
}
READERS=()
for ((i = 0; i < N; i++)); do
    signal STOP
    wait_until 20 stand || not_ok "all writers stand still"
    rsync -aHX "$MNT/tree/" "then$i/" || not_ok "a copy of what there is"
    mkdir "$SNAPSHOTS/s$i" || not_ok "a snapshot"
    signal CONT
    take_out $i &
    READERS+=($!)
    sleep 0.1
done
for ((i = 0; i < N; i++)); do
    if wait "${READERS[i]}"; then ok "snapshot $i is what there was then"; else not_ok "snapshot $i is what there was then"; fi
done
all_write || not_ok "the writers live"
check "some hundred files" [ "$(find then* -type f | wc -l)" -gt $((N * 50)) ]
check "each is another tree" [ "$(for ((i = 0; i < N; i++)); do content_digest "then$i"; done | sort -u | wc -l)" -eq "$N" ]
signal KILL
wait "$PARENT"
touch "$WORK/end"
wait $COMPACT
for ((i = 1; i < N; i += 2)); do
    rmdir "$SNAPSHOTS/s$i" || not_ok "snapshot $i is dropped"
done
echo run >"$MNT/.engram/compact"
for ((i = 0; i < N; i += 2)); do
    same "then$i" "$SNAPSHOTS/s$i/tree" || not_ok "snapshot $i, when others were dropped"
done
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$WORK/store"
t_end
