#!/usr/bin/env bash
# scale.sh - what many memories of 200 B cost: import, mount after an orderly end and after kill -9, memory of the daemon,
# look-up and create. Prints a table; the last line is the same as JSON.
#
#   tests/bench/scale.sh [BUILD] [MEMORIES]
#
# Needs some 1.2 KB a memory under TMPDIR for the store and 260 bytes for the lines. As root the page cache is dropped
# before each mount.
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
N=${2:-1000000}

# row KEY VALUE WHAT: a figure, for the table and for the JSON
row() {
    printf '%-58s %s\n' "$3" "$2" | tee -a "$WORK/table"
    printf '%s"%s": %s' "${JSON:+$JSON, }" "$1" "$2" >"$WORK/json.next"
    JSON=$(cat "$WORK/json.next")
}
mount_timed() {
    local t
    cold
    t=$(now)
    must_mount "$STORE" "$MNT"
    row "$1" "$(since "$t")" "$2, seconds"
}
JSON=
row memories "$N" "memories of 200 bytes, in folders of 1000"
lines_of_200 "$N" >"$WORK/lines.jsonl"
t=$(now)
"$CTL" import "$WORK/lines.jsonl" "$STORE" >"$WORK/import.log" 2>&1 || not_ok import "$(tail -n 1 "$WORK/import.log")"
s=$(since "$t")
row import_seconds "$s" "import, seconds"
row import_rate "$(awk -v n="$N" -v s="$s" 'BEGIN {printf "%.0f", n / s}')" "import, memories a second"
rm "$WORK/lines.jsonl"
row store_bytes "$(du_bytes "$STORE")" "store on disk, bytes"

mount_timed mount_clean_seconds "mount after an orderly end, page cache dropped"
check "unmount" unmount_store "$MNT"
t=$(now)
must_mount "$STORE" "$MNT"
row mount_warm_seconds "$(since "$t")" "mount after an orderly end, checkpoint in the page cache, seconds"
row rss_bytes "$(memory VmRSS)" "daemon's resident memory after the mount, bytes"
row rss_per_memory "$(awk -v n="$N" -v r="$(memory VmRSS)" 'BEGIN {printf "%.0f", r / n}')" "the same for each memory"
row index_bytes_per_memory "$(awk -v n="$N" -v r="$(json_get index_bytes <"$MNT/.engram/stats.json")" \
    'BEGIN {printf "%.0f", r / n}')" "of it index, for each memory"
# Look-ups through the mount of names that the kernel does not know yet, and creations
python3 - "$MNT" "$N" >"$WORK/ops" <<'P'
import os, random, sys, time
mount, n = sys.argv[1], int(sys.argv[2])
rng = random.Random(2)
names = ["%s/m/%05d/%08d" % (mount, i // 1000, i) for i in rng.sample(range(n), min(n, 20000))]
folders = {os.path.dirname(name) for name in names}
for folder in folders:
    os.stat(folder)
t = time.perf_counter()
for name in names:
    os.stat(name)
print((time.perf_counter() - t) / len(names) * 1e6)
os.mkdir(mount + "/new")
t = time.perf_counter()
for i in range(20000):
    os.close(os.open("%s/new/%d" % (mount, i), os.O_CREAT | os.O_WRONLY))
print((time.perf_counter() - t) / 20000 * 1e6)
P
row lookup_us "$(sed -n 1p "$WORK/ops" | cut -c1-6)" "look-up through the mount, microseconds"
row create_us "$(sed -n 2p "$WORK/ops" | cut -c1-6)" "create through the mount, microseconds"
kill_daemon "$MNT" || not_ok "kill -9" "the daemon did not go"
mount_timed mount_killed_seconds "mount after kill -9 with 20,000 creations in the log"
check_equal "all memories are there" $((N + 20000)) "$(json_get memories <"$MNT/.engram/stats.json")"
check "unmount" unmount_store "$MNT"
echo
cat "$WORK/table"
echo "{$JSON}"
t_end
