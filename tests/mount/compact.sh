#!/usr/bin/env bash
# The main job: memories imported through the mount, changed, and compacted
# while they are read; then rsync, kill -9 and mount again.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 rsync

STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
DATA=$ROOT/../shared/data/locomo-turns.jsonl
if [ ! -r "$DATA" ]; then
    DATA=$WORK/sample.jsonl
    cat "$ROOT"/tools/sample/*.jsonl >"$DATA"
fi
HELP="$T_LIB/mount/memories.py"
EXPECT=$WORK/expect.json

must_mount "$STORE" "$MNT"
check "import through the mount" "$CTL" import "$DATA" "$MNT"
check "read back equal" python3 "$HELP" load "$DATA" "$EXPECT" "$MNT"
check "overwrite half, remove a third" python3 "$HELP" change "$EXPECT" "$MNT"
check "equal before the compaction" python3 "$HELP" verify "$EXPECT" "$MNT"
mkdir "$MNT/churn" # where garbage is made beside the readers, who do not look there
rsync -a --exclude=/churn "$MNT/" "$WORK/backup/"

# Readers, until told to stop; each leaves a line only if something was wrong, and a count of rounds.
rm -f "$WORK/stop"
python3 "$HELP" readers "$EXPECT" "$MNT" "$WORK/stop" "$WORK/readers.rounds" >"$WORK/readers.wrong" 2>&1 &
readers=$!
all_lines() { grep -r --exclude-dir=churn '' "$MNT" | wc -l; }
digest() {
    (cd "$MNT" && find . -path ./churn -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum | sha256sum)
}
lines=$(all_lines 2>&1)
grep_loop() {
    local n=0
    until [ -e "$WORK/stop" ]; do
        [ "$(all_lines 2>>"$WORK/grep.wrong")" = "$lines" ] || echo "grep: another number of lines" >>"$WORK/grep.wrong"
        n=$((n + 1))
    done
    echo $n >"$WORK/grep.rounds"
}
sum=$(digest)
sum_loop() {
    local n=0
    until [ -e "$WORK/stop" ]; do
        [ "$(digest 2>>"$WORK/sum.wrong")" = "$sum" ] || echo "another digest" >>"$WORK/sum.wrong"
        n=$((n + 1))
    done
    echo $n >"$WORK/sum.rounds"
}
grep_loop &
grepper=$!
sum_loop &
summer=$!
wait_until 60 test -e "$WORK/readers.rounds" || not_ok "readers" "no round in 60 s"

before=$(du_bytes "$STORE")
check "echo run > compact" bash -c 'echo run >"$1"' _ "$C/compact"
after=$(du_bytes "$STORE")
cat "$C/compact" >"$WORK/compact.json"
get() { json_get "$1" <"$WORK/compact.json"; }
check_equal "state" "done" "$(get state)"
fell=$((before - after)) said=$(get bytes_reclaimed)
if [ "$said" -gt 0 ] && [ $((fell - said)) -le 65536 ] && [ $((said - fell)) -le 65536 ]; then
    ok "bytes_reclaimed is the fall of du"
else
    not_ok "bytes_reclaimed is the fall of du" "du fell by $fell ($before to $after), the report says $said"
fi
check "fragmentation_after <= 0.01" python3 -c '
import sys; b, a = map(float, sys.argv[1:]); sys.exit(not (b > 0.2 and 0 <= a <= 0.01) and f"{b} {a}")' \
    "$(get fragmentation_before)" "$(get fragmentation_after)"
check "segments_done and bytes_moved are real" test "$(get segments_done)" -ge 1 -a "$(get bytes_moved)" -gt 0
echo "# compaction: $before -> $after bytes of disk, $(get bytes_moved) moved, $(get duration_ms) ms"

# A slow compaction, and several more, each with new garbage, so that reads and moves meet often.
for round in 1 2 3 4 5; do
    python3 "$HELP" churn "$MNT/churn" || not_ok "churn $round" "failed"
    echo "rate=$((round % 2 * 4))M" >"$C/compact"
    echo run >"$C/compact" || not_ok "compaction $round" "failed"
done
echo rate=0 >"$C/compact"
touch "$WORK/stop"
wait $readers
check_equal "the readers ended well" 0 $?
wait $grepper $summer
check_equal "nothing wrong in the readers" "" "$(head -n 3 "$WORK/readers.wrong")"
check_equal "nothing wrong in grep -r" "" "$(head -n 3 "$WORK/grep.wrong" 2>/dev/null)"
check_equal "nothing wrong in the sums" "" "$(head -n 3 "$WORK/sum.wrong" 2>/dev/null)"
echo "# rounds beside the compactions: readers $(cat "$WORK/readers.rounds"), grep -r $(cat "$WORK/grep.rounds"), sums $(cat "$WORK/sum.rounds")"

check "equal after the compactions" python3 "$HELP" verify "$EXPECT" "$MNT"
check_equal "rsync -a transfers nothing after them" "" "$(rsync -ai --delete --exclude=/churn "$MNT/" "$WORK/backup/" 2>&1)"
check "kill -9" kill_daemon "$MNT"
must_mount "$STORE" "$MNT"
check "equal after kill -9" python3 "$HELP" verify "$EXPECT" "$MNT"
check_equal "rsync -a transfers nothing after it" "" "$(rsync -ai --delete --exclude=/churn "$MNT/" "$WORK/backup/" 2>&1)"
check "echo run > compact, without anything to do" bash -c 'echo run >"$1"' _ "$C/compact"
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
