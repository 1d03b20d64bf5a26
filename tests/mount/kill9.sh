#!/usr/bin/env bash
# kill -9 of the daemon under load, N times (second argument, 5 by default),
# each time at another moment; all that was acknowledged must be there. Each
# fifth round ends the daemon by SIGTERM instead: an unmount under load.
# SEED=number repeats a run as far as timing allows.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3

ROUNDS=${2:-5} WRITERS=3
SEED=${SEED:-$RANDOM}
LOAD="$T_LIB/mount/kill9_load.py"
STORE=$WORK/store MNT=$WORK/mnt
echo "# SEED=$SEED"
RANDOM=$SEED

acknowledged() {
    local n w
    for w in $(seq $WRITERS); do # on a busy machine one may be done before another has begun
        grep -q '^done' "$WORK/journal.$w" 2>/dev/null || return 1
    done
    n=$(cat "$WORK"/journal.* 2>/dev/null | grep -c '^done')
    [ "$n" -ge "$1" ]
}
no_daemon() { [ -z "$(daemons_under "$MNT")" ]; }
all_ended() { ! kill -0 "${writers[@]}" 2>/dev/null; }

# Small segments, so that rollover, checkpoints and compaction all happen within a round.
must_mount "$STORE" "$MNT" -o segment_size=1M
echo checkpoint_ops=500 >"$MNT/.engram/config" || not_ok "config" "checkpoint_ops was refused"
for round in $(seq "$ROUNDS"); do
    writers=()
    for w in $(seq $WRITERS); do
        python3 "$LOAD" write "$MNT/w$w" "$WORK/journal.$w" $((SEED * 1000 + round * 10 + w)) 2>"$WORK/writer.$w.err" &
        writers+=($!)
    done
    # Compactions one after another until the daemon is gone.
    (
        while echo run >"$MNT/.engram/compact"; do :; done
    ) 2>/dev/null &
    compactor=$!
    target=$((20 + RANDOM % 300)) # from a round that barely began to one with checkpoints, rollovers and compactions
    wait_until 60 acknowledged $target || not_ok "round $round: load" "fewer than $target operations in 60 s"
    signal=KILL
    if [ $((round % 5)) -eq 0 ]; then signal=TERM; fi
    for pid in $(daemons_under "$MNT"); do kill -$signal "$pid"; done
    if [ $signal = TERM ]; then
        check "round $round: unmount under load" wait_until 60 no_daemon
        check "round $round: the mount is gone" bash -c '! mountpoint -q "$1"' _ "$MNT"
    fi
    wait_until 30 all_ended || not_ok "round $round: writers end" "a writer hangs after the daemon died"
    kill -9 "${writers[@]}" $compactor 2>/dev/null
    wait "${writers[@]}" $compactor 2>/dev/null
    [ $signal = TERM ] || kill_daemon "$MNT" || not_ok "round $round: kill" "the daemon did not go"
    wrong=$(cat "$WORK"/writer.*.err)
    if [ "$wrong" ]; then not_ok "round $round: a living daemon answered wrongly" "$(tail -n 1 <<<"$wrong")"; fi
    # -o segment_size is for new segments: given again, so that every round rolls over
    must_mount "$STORE" "$MNT" -o segment_size=1M
    for w in $(seq $WRITERS); do
        check "round $round: writer $w finds all of $(grep -c '^done' "$WORK/journal.$w") operations" \
            python3 "$LOAD" verify "$MNT/w$w" "$WORK/journal.$w" || cp -a "$WORK/journal.$w" "$WORK/journal.$w.bad"
    done
    [ $T_FAILED -eq 0 ] || break
done
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
