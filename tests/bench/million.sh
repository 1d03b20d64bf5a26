#!/usr/bin/env bash
# million.sh - 1,000,000 memories of 1 KiB: imported, mounted, half of them
# removed, compacted, checked. Prints the figures as a table, with a raw copy
# of the same bytes (read, XXH3, write, one fdatasync) measured in the same run.
#
#   tests/bench/million.sh [BUILD] [MEMORIES]
#
# Needs some 5 GiB under TMPDIR. As root the page cache is dropped before each measured step.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-1000000}

calc() { awk "BEGIN {printf \"$1\", $2}"; }
rss() { echo $(($(memory VmRSS) >> 20)); }
row() { printf '%-46s %s\n' "$1" "$2" | tee -a "$WORK/table"; }
mount_timed() {
    local t
    cold
    t=$(now)
    must_mount "$STORE" "$MNT"
    row "$1" "$(since "$t") s"
}

row "memories, bytes each" "$N, 1024"
row "machine" "$(nproc) processors, $(awk '/MemTotal/ {printf "%.0f GiB", $2 / 1048576}' /proc/meminfo), Linux $(uname -r)"
python3 - "$N" >"$WORK/million.jsonl" <<'P'
import random, sys
# Base64-like text of 1024 bytes that no compression and no repetition helps with; ids in folders of 1000
rng = random.Random(1)
letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
table = [a + b for a in letters for b in letters]
for i in range(int(sys.argv[1])):
    r = rng.getrandbits(6144)
    text = []
    for _ in range(512):
        text.append(table[r & 4095])
        r >>= 12
    print('{"id":"m/%03d/%06d","content":"%s"}' % (i // 1000, i, "".join(text)))
P
cold
t=$(now)
"$CTL" import "$WORK/million.jsonl" "$STORE" >"$WORK/import.log" 2>&1 || not_ok import "$(tail -n 1 "$WORK/import.log")"
s=$(since "$t")
row "import into the unmounted store" "$s s, $(calc %.0f "$N / $s") memories/s, $(calc %.1f "$N / 1024 / $s") MiB/s"
rm "$WORK/million.jsonl"
row "store on disk after the import" "$(calc '%.1f MiB' "$(du_bytes "$STORE") / 1048576")"

mount_timed "mount, after an orderly end"
row "daemon VmRSS after the mount" "$(rss) MiB"
t=$(now)
found=$(find "$MNT" -type f | wc -l)
row "find of all" "$(since "$t") s"
check_equal "all memories are there" "$N" "$found"

# every second one, as a person would: by its name through the mount
t=$(now)
python3 - "$MNT" "$N" <<'P'
import os, sys
mount, n = sys.argv[1], int(sys.argv[2])
for folder in range((n + 999) // 1000):
    d = os.open("%s/m/%03d" % (mount, folder), os.O_RDONLY | os.O_DIRECTORY)
    for i in range(folder * 1000, min(n, folder * 1000 + 1000), 2):
        os.unlink("%06d" % i, dir_fd=d)
    os.close(d)
P
s=$(since "$t")
row "removing half of them through the mount" "$s s, $(calc %.0f "$N / 2 / $s") a second"
row "daemon VmRSS after the removal" "$(rss) MiB"

kill_daemon "$MNT" || not_ok "kill -9" "the daemon did not go"
mount_timed "mount after kill -9, with the removals in the log"
row "daemon VmRSS after recovery" "$(rss) MiB"

# the yardstick, once before and once after: the disk is not the same at all times
live=$(json_get live_bytes <"$MNT/.engram/stats.json")
raw() {
    local files
    files=$(find "$STORE" -type f -size +1M | sort)
    cold
    # shellcheck disable=SC2086  # a list of plain names
    "$BUILD/tests/bench/rawcopy" "$live" "$WORK/raw" $files
    rm -f "$WORK/raw"
}
raw1=$(raw)
before=$(du_bytes "$STORE")
cold
t=$(now)
echo run >"$MNT/.engram/compact" || not_ok compact "$(json_get error <"$MNT/.engram/compact")"
s=$(since "$t")
cat "$MNT/.engram/compact" >"$WORK/compact.json"
get() { json_get "$1" <"$WORK/compact.json"; }
moved=$(get bytes_moved)
row "compaction" "$s s, duration_ms $(get duration_ms)"
row "bytes moved" "$(calc '%.1f MiB' "$moved / 1048576"), $(calc '%.1f MiB/s' "$moved / 1048576 / $s")"
row "daemon VmRSS after the compaction" "$(rss) MiB"
row "bytes reclaimed; fall of du" "$(get bytes_reclaimed); $((before - $(du_bytes "$STORE")))"
row "fragmentation before, after" "$(get fragmentation_before), $(get fragmentation_after)"
raw2=$(raw)
row "raw copy of $live live bytes, before and after" "$raw1 s, $raw2 s"
row "compaction, in raw copies" "$(calc %.2f "$s / (($raw1 + $raw2) / 2)")"
check_equal "half of the memories are left" $((N / 2)) "$(find "$MNT" -type f | wc -l)"
t=$(now)
check "unmount" unmount_store "$MNT"
row "unmount" "$(since "$t") s"
mount_timed "mount, after an orderly end"
row "daemon VmRSS after the mount" "$(rss) MiB"
check "unmount" unmount_store "$MNT"
cold
t=$(now)
check "engramctl check" "$CTL" check "$STORE"
row "engramctl check" "$(since "$t") s"
echo
cat "$WORK/table"
t_end
