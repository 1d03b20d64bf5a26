#!/usr/bin/env bash
# backup.sh - the three ways of docs/OPERATIONS.md, each restored and compared: rsync of the mount, the store's
# folder while writers and compaction go on, an export of one moment. And what a second backup costs.
#
#   tests/ops/backup.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs rsync python3 getfattr
STORE=$WORK/store MNT=$WORK/mnt C=$WORK/mnt/.engram
BACKUP=$ROOT/packaging/engram-backup
must_mount "$STORE" "$MNT" -o segment_size=256k
python3 - "$MNT" <<'P'
import os, struct, sys
top = sys.argv[1]
os.makedirs(f"{top}/d/e")
for i in range(60):
    path = f"{top}/{'d/e/' if i % 3 else ''}m{i}"
    with open(path, "wb") as f:
        f.write(os.urandom(20000 + i))
    os.setxattr(path, "user.engram.confidence", b"0.5")
    os.setxattr(path, "user.engram.embedding", struct.pack("<768f", *range(768)))
    os.utime(path, (1, i * 100000))
os.symlink("m0", f"{top}/link")
os.link(f"{top}/m0", f"{top}/hard")
for path in "link", "d/e", "d", ".": # rsync compares whole seconds: old times, so that it has something to set
    os.utime(f"{top}/{path}", (1, 2), follow_symlinks=False)
P
# Everything of a tree: names, types, modes, times, contents, attributes.
whole() { tree_digest "$1"; (cd "$1" && find . -type f | sort | xargs -d '\n' getfattr -d -m 'user\.' -e hex | sha256sum); }
WANT=$(whole "$MNT")

# ---- 1: rsync of the mount
check "rsync of the mount" rsync -aHX "$MNT/" "$WORK/copy/"
check_equal "a second one has nothing to do" "" "$(rsync -aHX --out-format=%n "$MNT/" "$WORK/copy/")"
echo run >"$C/compact"
check_equal "nor after a compaction" "" "$(rsync -aHX --out-format=%n "$MNT/" "$WORK/copy/")"
must_mount "$WORK/restored1" "$WORK/mnt1"
check "restored by rsync" rsync -aHX "$WORK/copy/" "$WORK/mnt1/"
check_equal "it is the same" "$WANT" "$(whole "$WORK/mnt1")"
check "unmount 1" unmount_store "$WORK/mnt1"

# ---- 3: an export of one moment
if [ "$("$CTL" version --json | json_get tar)" = true ]; then
    check "export as tar" sh -c "'$CTL' export --snapshot --format tar '$MNT' - >'$WORK/export.tar'"
    check "import of the tar" sh -c "'$CTL' import --format tar - '$WORK/restored3' <'$WORK/export.tar'"
else
    check "export" "$CTL" export --snapshot --format tree "$MNT" "$WORK/export"
    check "import" "$CTL" import --format tree "$WORK/export" "$WORK/restored3"
fi
must_mount "$WORK/restored3" "$WORK/mnt3"
check_equal "it is the same as well" "$WANT" "$(whole "$WORK/mnt3")"
check "unmount 3" unmount_store "$WORK/mnt3"

# ---- 2: the store's folder, nobody writing
check "engram-backup" "$BACKUP" "$MNT" "$STORE" "$WORK/backup"
check "the copy is a whole store" "$CTL" check "$WORK/backup"
must_mount "$WORK/backup" "$WORK/mnt2"
check_equal "with the same memories" "$WANT" "$(whole "$WORK/mnt2")"
check "unmount 2" unmount_store "$WORK/mnt2"

# ---- and while the log rolls over, compaction and checkpoints go on
cat >"$WORK/writer.py" <<'P'
# Rounds, each in order over all files: at any one moment numbers never rise along the files, and differ by one at most.
import os, sys
top, stop = sys.argv[1:]
os.makedirs(f"{top}/w", exist_ok=True)
n = 0
while not os.path.exists(stop):
    n += 1
    for i in range(200):
        with open(f"{top}/w/.tmp", "w") as f:
            f.write(f"{n} " + "x" * 3000)
        os.rename(f"{top}/w/.tmp", f"{top}/w/{i:03}")
    open(stop + ".ready", "w").close()
P
python3 "$WORK/writer.py" "$MNT" "$WORK/stop" >"$WORK/writer.log" 2>&1 &
WRITER=$!
(while [ ! -e "$WORK/stop" ]; do
    echo run >"$C/compact"
    sync "$MNT"
done) 2>/dev/null &
BUSY=$!
check "the writer writes" wait_until 60 test -e "$WORK/stop.ready"
one_moment() {
    python3 - "$1" <<'P'
import os, sys
top = sys.argv[1] + "/w"
numbers = []
for name in sorted(n for n in os.listdir(top) if n != ".tmp"):
    number, rest = open(f"{top}/{name}").read().split(" ")
    assert rest == "x" * 3000, name
    numbers.append(int(number))
assert len(numbers) == 200, len(numbers)
assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, numbers
P
}
# A slow copy, so that the log does roll over while it runs.
mkdir "$WORK/bin"
cat >"$WORK/bin/rsync" <<S
#!/bin/sh
exec $(command -v rsync) --bwlimit=4m --inplace "\$@"
S
chmod +x "$WORK/bin/rsync"
for round in 1 2 3 4 5; do
    newest=$(tail -n 1 <"$C/segments" | cut -f 1)
    check "backup $round while it is written" env PATH="$WORK/bin:$PATH" timeout 100 "$BACKUP" "$MNT" "$STORE" "$WORK/live$((round % 2))"
    cp -r "$WORK/live$((round % 2))" "$WORK/try"
    check "copy $round is whole" "$CTL" check "$WORK/try"
    must_mount "$WORK/try" "$WORK/mnt2"
    check "copy $round is one moment" one_moment "$WORK/mnt2"
    check "unmount copy $round" unmount_store "$WORK/mnt2"
    rm -rf "$WORK/try"
done
touch "$WORK/stop"
wait $WRITER $BUSY
check_equal "the writer met no error" "" "$(cat "$WORK/writer.log")"
check "the log went on to other segments meanwhile" test "$newest" != "$(tail -n 1 <"$C/segments" | cut -f 1)"
check_equal "nothing is held" 0 "$(json_get holds <"$C/hold")"

# ---- what the next backup costs, after one memory in a hundred was written anew. COST_MEMORIES=20000 gives the figures
# of docs/OPERATIONS.md.
MEMORIES=${COST_MEMORIES:-1000}
write_some() { # STEP
    python3 - "$WORK/mnt4" "$MEMORIES" "$1" <<'P'
import os, sys
top, n, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for i in range(0, n, step):
    os.makedirs(f"{top}/{i % 100:02}", exist_ok=True)
    with open(f"{top}/{i % 100:02}/m{i}", "wb") as f:
        f.write(os.urandom(5000))
    os.setxattr(f"{top}/{i % 100:02}/m{i}", "user.engram.confidence", b"0.5")
    os.utime(f"{top}/{i % 100:02}/m{i}", (1e9 + step, 1e9 + step))  # rsync looks at seconds, and both steps may fit into one
P
    sync "$WORK/mnt4"
}
cost() { # FIELD of the statistics of rsync
    sed -n "s/^$1: \([0-9,]*\).*/\1/p" "$WORK/stats" | tr -d ,
}
counted_backup() { # OPTION of rsync
    cat >"$WORK/bin/rsync" <<S
#!/bin/sh
exec $(command -v rsync) --stats $1 "\$@" >"$WORK/stats"
S
    env PATH="$WORK/bin:$PATH" "$BACKUP" "$WORK/mnt4" "$WORK/cost" "$WORK/cost.copy"
}
must_mount "$WORK/cost" "$WORK/mnt4"
write_some 1
rsync -aHX "$WORK/mnt4/" "$WORK/cost.tree/"
check "a first backup" "$BACKUP" "$WORK/mnt4" "$WORK/cost" "$WORK/cost.copy"
write_some 100
rsync -aHX --stats "$WORK/mnt4/" "$WORK/cost.tree/" >"$WORK/stats"
NEW=$((MEMORIES * 50)) # a hundred is a divisor
check_equal "rsync of the mount transfers what is new" "$NEW" "$(cost "Total transferred file size")"
echo "# $NEW of $((MEMORIES * 5000)) bytes written anew"
echo "# rsync of the mount sent $(cost "Total bytes sent") bytes"
check "a second backup" counted_backup --whole-file
echo "# engram-backup copied files of $(cost "Total transferred file size") bytes, of $(cost "Total file size")"
write_some 100
check "a third one, as over a network" counted_backup --no-whole-file
echo "# where rsync compares what is in them it sent $(cost "Total bytes sent") bytes"
check "an incremental backup sends little" test "$(cost "Total bytes sent")" -lt $(($(cost "Total file size") / 4))
check "an export" sh -c "'$CTL' export --snapshot '$WORK/mnt4' - | wc -c >'$WORK/size'"
echo "# an export as JSON lines has $(cat "$WORK/size") bytes each time"
check "unmount 4" unmount_store "$WORK/mnt4"
check "the last backup is whole" "$CTL" check "$WORK/cost.copy"
check_fails "a folder that is no mount" "usage" "$BACKUP" "$WORK" "$STORE" "$WORK/no"
check "unmount" unmount_store "$MNT"
t_end
