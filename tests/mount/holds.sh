#!/usr/bin/env bash
# holds.sh - `hold-while-open` ends with the last descriptor of the file that wrote it, by itself: nothing here looks
# .engram/hold up to see that, since the look-up itself would end it. What is held is read from metrics, and from the disk.
#
#   tests/mount/holds.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
MNT=$WORK/mnt
HOLD=$MNT/.engram/hold
held() { [ "$(awk '$1 == "engram_store_holds" {print $2}' "$MNT/.engram/metrics")" = "$1" ]; }
segments() { find "$WORK/store" -name '*.seg' | wc -l; }
# Writes to a file's descriptor, then does what it is told to through the pipe `tell`.
cat >"$WORK/holder.py" <<'P'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, b"hold-while-open\n")
sys.stdin.readline()
if sys.argv[2] == "fork" and os.fork():
    os._exit(0)
print("ready", flush=True)
sys.stdin.readline()
P
holder() { # HOW: starts one, with descriptors 7 (to tell it) and 8 (what it says)
    rm -f "$WORK/tell" "$WORK/said"
    mkfifo "$WORK/tell" "$WORK/said"
    exec 7<>"$WORK/tell" 8<>"$WORK/said"
    python3 "$WORK/holder.py" "$HOLD" "$1" <&7 >&8 7<&- 8<&- 9>&- &
    HOLDER=$!
}
cat >"$WORK/lookers.py" <<'P'
import os, sys, threading
folder, looking, enough = sys.argv[1:]
def look(n):
    i = 0
    while not os.path.exists(enough):
        for _ in range(50):
            i += 1
            try:
                os.stat(f"{folder}/none-{n}-{i}")
            except FileNotFoundError:
                pass
        open(looking, "w").close()
threads = [threading.Thread(target=look, args=(n,)) for n in range(4)]
for t in threads: t.start()
for t in threads: t.join()
P
for options in "-o segment_size=256k" "-s -o segment_size=256k" "-o segment_size=256k,writeback"; do
    # shellcheck disable=SC2086
    must_mount "$WORK/store" "$MNT" $options
    exec 9>"$HOLD"
    echo hold-while-open >&9
    check "$options: it holds" held 1
    check "$options: others look the name up" bash -c 'for i in 1 2 3; do cat "$1" && stat "$1" && ls -l "${1%/*}"; done' _ "$HOLD"
    check "$options: which ends nothing" held 1
    exec 9>&-
    check "$options: closing it does" wait_until 20 held 0

    exec 9>"$HOLD"
    echo hold-while-open >&9
    echo hold-while-open >&9
    check "$options: two of one file" held 2
    echo release >&9
    check "$options: one is given back" held 1
    exec 9>&-
    check "$options: the other ends with it" wait_until 20 held 0

    holder stay
    check "$options: a program holds" wait_until 20 held 1
    kill -KILL $HOLDER
    { wait $HOLDER; } 2>/dev/null
    check "$options: its death ends that" wait_until 20 held 0

    holder fork
    check "$options: another one" wait_until 20 held 1
    echo go >&7
    read -t 20 -r _ <&8
    wait $HOLDER
    check "$options: a child has its file still" held 1
    echo end >&7
    check "$options: until it ends, too" wait_until 20 held 0
    exec 7>&- 8>&-

    # what the promise is for: what was held is off the disk, and nobody has asked for anything but a compaction
    for i in $(seq 40); do head -c 200000 /dev/urandom >"$MNT/$i"; done
    holder stay
    check "$options: a backup holds" wait_until 20 held 1
    rm "$MNT"/[0-9]*
    echo run >"$MNT/.engram/compact"
    BEFORE=$(segments)
    check "$options: all is there" test "$BEFORE" -ge 30
    kill -KILL $HOLDER
    { wait $HOLDER; } 2>/dev/null
    few_segments() { [ "$(segments)" -lt 15 ]; }
    check "$options: it is killed, and the disk is given back" wait_until 20 few_segments
    exec 7>&- 8>&-

    # while others look names up in that folder without a pause: asking the kernel to drop one waits for them
    rm -f "$WORK/looking" "$WORK/enough"
    timeout 90 python3 "$WORK/lookers.py" "$MNT/.engram" "$WORK/looking" "$WORK/enough" &
    LOOKERS=$!
    wait_until 20 test -e "$WORK/looking" || not_ok "$options: names are looked up"
    check "$options: 300 holds beside look-ups" timeout 60 bash -c \
        'for i in $(seq 300); do echo hold-while-open >"$1" || exit 1; done' _ "$HOLD"
    touch "$WORK/enough"
    wait $LOOKERS
    check_equal "$options: the look-ups end" 0 $?
    check "$options: and so have all holds" wait_until 20 held 0

    # one that is in force keeps no daemon from its end
    exec 9>"$HOLD"
    echo hold-while-open >&9
    DAEMON=$(daemons_under "$MNT")
    kill -TERM "$DAEMON"
    check "$options: SIGTERM ends a daemon that is held" wait_until 20 no_process "$DAEMON"
    exec 9>&-
    check_fails "$options: and its mount" "" mountpoint -q "$MNT"
done
t_end
