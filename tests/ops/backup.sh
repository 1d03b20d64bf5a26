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
BACKUP=${BACKUP-$ROOT/packaging/engram-backup}
PATH=$BUILD/tools:$PATH # engram-backup runs engramctl
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

# with the control files in the listing, as docs/OPERATIONS.md says
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o ctl=visible
EXCLUDE=$(grep -o -- '--exclude=[^`]*' "$ROOT/docs/OPERATIONS.md" | head -n 1)
check "rsync of a mount with -o ctl=visible" rsync -aHX "$EXCLUDE" "$MNT/" "$WORK/copy.visible/"
check_equal "copies no control file" "" "$(find "$WORK/copy.visible" -name '.engram*')"
check_equal "and all the rest" "" "$(rsync -aHXcni --delete "$WORK/copy/" "$WORK/copy.visible/")"
check "into one" rsync -aHX --delete "$EXCLUDE" "$WORK/copy.visible/" "$MNT/"
check_equal "a second one has nothing to do" "" "$(rsync -aHX --out-format=%n "$EXCLUDE" "$MNT/" "$WORK/copy.visible/")"
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o segment_size=256k

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
for round in 1 2 3 4 5; do
    newest=$(tail -n 1 <"$C/segments" | cut -f 1)
    check "backup $round while it is written" timeout 100 "$CTL" backup --rate 8M "$MNT" "$WORK/live$((round % 2))"
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
# Of metrics: to look at .engram/hold would end a hold that its program has left behind.
holds() { awk '$1 == "engram_store_holds" {print $2}' "${1:-$C}/metrics"; }
check_equal "nothing is held" 0 "$(holds)"

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
check "a second backup" sh -c "'$CTL' backup --json '$WORK/mnt4' '$WORK/cost.copy' >'$WORK/second'"
echo "# engramctl backup copied $(json_get bytes_copied <"$WORK/second") bytes of $(json_get bytes <"$WORK/second")"
check "an export" sh -c "'$CTL' export --snapshot '$WORK/mnt4' - | wc -c >'$WORK/size'"
echo "# an export as JSON lines has $(cat "$WORK/size") bytes each time"
check "unmount 4" unmount_store "$WORK/mnt4"
check "the last backup is whole" "$CTL" check "$WORK/cost.copy"
check_fails "a folder that is no mount" "not the mount point" "$BACKUP" "$WORK" "$STORE" "$WORK/no"

# ---- which store, and which backup
status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>&1
    echo $?
}
for name in a b; do # stores of the same second, as a script makes them
    must_mount "$WORK/store.$name" "$WORK/mnt.$name"
    echo "$name" >"$WORK/mnt.$name/$name"
done
must_mount "$WORK/store.c" "$WORK/mnt.c"
touch -d '2020-01-01' "$WORK/store.a/superblock" "$WORK/store.b/superblock"
check_equal "the store of another mount is refused" 2 "$(status "$BACKUP" "$WORK/mnt.a" "$WORK/store.b" "$WORK/ab")"
check "with a line" grep -q "store.b is not the store that is mounted on" "$WORK/out"
check "and nothing is made" test ! -e "$WORK/ab"
cp -a "$WORK/store.a" "$WORK/moved"
check_equal "a copy of the right one, too" 2 "$(status "$BACKUP" "$WORK/mnt.a" "$WORK/moved" "$WORK/ab")"
check_equal "as is a backup into the store" 2 "$(status "$CTL" backup "$WORK/mnt.a" "$WORK/store.a")"
check_equal "a backup of one" 0 "$(status "$BACKUP" "$WORK/mnt.b" "$WORK/store.b" "$WORK/bk")"
check_equal "is not overwritten by that of another" 2 "$(status "$BACKUP" "$WORK/mnt.a" "$WORK/store.a" "$WORK/bk")"
check "with a line as well" grep -q "backup of another store" "$WORK/out"
check "it is whole" "$CTL" check "$WORK/bk"
must_mount "$WORK/bk" "$WORK/mnt2" -o ro
check_equal "and has what it had" b "$(cat "$WORK/mnt2/b")"
check_equal "a backup that is mounted is not changed" 2 "$(status "$BACKUP" "$WORK/mnt.b" "$WORK/store.b" "$WORK/bk")"
check "unmount bk" unmount_store "$WORK/mnt2"
mkdir "$WORK/full" && : >"$WORK/full/thesis"
check_equal "nor a folder with something else" 2 "$(status "$BACKUP" "$WORK/mnt.a" "$WORK/store.a" "$WORK/full")"
check_equal "which stays" thesis "$(ls "$WORK/full")"
echo compact_rate=100 >"$WORK/mnt.b/.engram/config"
check_equal "a second backup" 0 "$(status "$BACKUP" "$WORK/mnt.b" "$WORK/store.b" "$WORK/bk")"
echo compact_rate=200 >"$WORK/mnt.b/.engram/config"
touch -r "$WORK/bk/config" "$WORK/store.b/config" # the same second, the same length
check_equal "a third one" 0 "$(status "$BACKUP" "$WORK/mnt.b" "$WORK/store.b" "$WORK/bk")"
check "config is compared by content" cmp "$WORK/store.b/config" "$WORK/bk/config"
SEGMENT=$(basename "$(ls "$WORK"/bk/s*.seg | tail -n 1)")
printf X | dd of="$WORK/bk/$SEGMENT" bs=1 seek=20 conv=notrunc status=none
check_equal "a segment of the backup with another beginning is copied anew" 0 "$(status "$CTL" backup "$WORK/mnt.b" "$WORK/bk")"
# ---- a copy whose log has rotted where nothing behind it says that it was durable
head -c 3000000 /dev/urandom >"$WORK/mnt.b/rot" && sync "$WORK/mnt.b/rot"
rot() { # one bit in the midst of that content, where it lies last, alive, in a copy of the store
    python3 - "$WORK/mnt.b/rot" "$1"/s*.seg <<'P'
import sys
wanted = open(sys.argv[1], "rb").read()[1000000:1000100]
for name in reversed(sys.argv[2:]):
    with open(name, "r+b") as f:
        at = f.read().rfind(wanted)
        if at >= 0:
            f.seek(at)
            f.write(bytes([wanted[0] ^ 1]))
            sys.exit(0)
sys.exit("not there")
P
}
check_equal "with a large memory" 0 "$(status "$CTL" backup "$WORK/mnt.b" "$WORK/bk")"
check "a bit of the copy flips" rot "$WORK/bk"
check_equal "the next run copies the end of the log anew" 0 "$(status "$CTL" backup "$WORK/mnt.b" "$WORK/bk")"
cp -r "$WORK/bk" "$WORK/bk.try"
must_mount "$WORK/bk.try" "$WORK/mnt2"
check "and the memory is whole in the copy" cmp "$WORK/mnt.b/rot" "$WORK/mnt2/rot"
check "unmount the copy" unmount_store "$WORK/mnt2"
check "a bit of the store flips" rot "$WORK/store.b"
rm -rf "$WORK/bk.try" "$WORK/bk.new"
check_equal "what is copied of it is not called whole" 1 "$(status "$CTL" backup "$WORK/mnt.b" "$WORK/bk.new")"
check "but damaged, since the log's second copy knows that it was durable" grep -q "the store is damaged there, too" "$WORK/out"
rm -rf "$WORK/bk.new"
check "the second copy rots, too" python3 - "$WORK"/store.b/e*.log <<'P'
import os, sys
for name in sys.argv[1:]:
    with open(name, "r+b") as f:
        f.write(bytes(os.path.getsize(name)))
P
check_equal "what is copied then is not called whole" 1 "$(status "$CTL" backup "$WORK/mnt.b" "$WORK/bk.new")"
check "but told to end early" grep -q "the log of the copy ends early" "$WORK/out"
rm "$WORK/mnt.b/rot"
check "unmount b" unmount_store "$WORK/mnt.b"
must_mount "$WORK/store.b" "$WORK/mnt.b" -o ro
check_equal "a mount with -o ro can be backed up" 0 "$(status "$BACKUP" "$WORK/mnt.b" "$WORK/store.b" "$WORK/bk")"
check "and exported as of one moment" sh -c "'$CTL' export --snapshot '$WORK/mnt.b' - | grep -q '\"b\"'"
check "unmount b" unmount_store "$WORK/mnt.b"
check "the store is shorter than its mount says" sh -c 'head -c 30000 /dev/urandom >"$1/long" && sync "$1/long" && truncate -s 1000 "$2"/s*1.seg' _ "$WORK/mnt.c" "$WORK/store.c"
check_equal "that is no backup" 2 "$(status "$BACKUP" "$WORK/mnt.c" "$WORK/store.c" "$WORK/ck")"
check "and told" grep -q "not the store of this mount, or damaged" "$WORK/out"
kill_daemon "$WORK/mnt.c"
check "unmount a" unmount_store "$WORK/mnt.a"

# ---- a copy that has rotted in the midst of a sealed segment, whose size, beginning and end are right
must_mount "$WORK/store.d" "$WORK/mnt.d" -o segment_size=256k
flip() { # FOLDER CONTENT OFFSET: one bit of those bytes of the content CONTENT, where they lie last, alive, in FOLDER
    python3 - "$@" <<'P'
import sys
folder, content, at = sys.argv[1], sys.argv[2], int(sys.argv[3])
import glob
wanted = open(content, "rb").read()[at:at + 64]
for name in sorted(glob.glob(folder + "/s*.seg"), reverse=True):
    data = open(name, "rb").read()
    place = data.rfind(wanted)
    if place >= 0:
        with open(name, "r+b") as f:
            f.seek(place + 5)
            f.write(bytes([data[place + 5] ^ 1]))
        print(name.split("/")[-1])
        sys.exit(0)
sys.exit("not there")
P
}
D=$WORK/mnt.d BK=$WORK/bk.d
for name in one two; do head -c 700000 /dev/urandom >"$D/$name"; done
head -c 900000 /dev/urandom >"$D/last" && sync "$D"
same_files() { # each file of the backup but the log's end is what the store has
    local name
    for name in "$BK"/[sc]*.???; do cmp -n "$(stat -c %s "$name")" "$name" "$WORK/store.d/${name##*/}" || return 1; done
}
check_equal "a backup of many segments" 0 "$(status "$CTL" backup "$D" "$BK")"
flip "$BK" "$D/one" 200000 >"$WORK/flipped"
check "a bit flips in a sealed segment of the copy" test "$(cat "$WORK/flipped")" != "$(basename "$(ls "$BK"/s*.seg | tail -n 1)")"
check "which is not what the store has any more" sh -c "! cmp -s '$BK/$(cat "$WORK/flipped")' '$WORK/store.d/$(cat "$WORK/flipped")'"
check_equal "the next run makes it good" 0 "$(status "$CTL" backup "$D" "$BK")"
check "and says so" grep -q "1 files copied anew" "$WORK/out"
check "the copy is whole" "$CTL" check "$BK"
check "and each of its files is that of the store" same_files
echo run >"$D/.engram/compact" # and makes checkpoints
check_equal "with checkpoints" 0 "$(status "$CTL" backup "$D" "$BK")"
python3 - "$BK" <<'P'
import glob, os, sys
names = sorted(glob.glob(sys.argv[1] + "/c*.ckp"))
assert names
for name in names:
    with open(name, "r+b") as f:
        f.seek(os.path.getsize(name) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
P
check "a bit of each checkpoint flips" sh -c "! cmp -s $(find "$BK" -name 'c*.ckp' | head -n 1) $WORK/store.d/$(find "$BK" -name 'c*.ckp' -printf '%f\n' | head -n 1)"
check_equal "the next run makes them good" 0 "$(status "$CTL" backup "$D" "$BK")"
check "each file is that of the store again" same_files
# damage of the store does not come into a copy that is good, even where another file of it is copied anew
BAD=$(flip "$WORK/store.d" "$D/two" 300000)
GOOD=$(sha256sum <"$BK/$BAD")
flip "$BK" "$D/one" 200000 >"$WORK/flipped"
check "damage of the copy and of the store in different files" test "$BAD" != "$(cat "$WORK/flipped")"
check_equal "that of the copy is made good" 0 "$(status "$CTL" backup "$D" "$BK")"
check_equal "and what is good in it stays" "$GOOD" "$(sha256sum <"$BK/$BAD")"
check "the copy is whole again" "$CTL" check "$BK"
# damage of both
check "the same bit flips in the copy" flip "$BK" "$D/two" 300000
check_equal "that cannot be made good" 1 "$(status "$CTL" backup "$D" "$BK")"
check "which is said" grep -q "the store is damaged there, too" "$WORK/out"
check_equal "nothing is left of the try" "" "$(find "$BK" -name '.engram-backup*')"
check_equal "nor a hold" 0 "$(holds "$D/.engram")"
check_equal "nor is it called good in another folder" 1 "$(status "$CTL" backup "$D" "$BK.new")"
kill_daemon "$D"

# ---- two runs at once, and runs that are killed
check_equal "nothing is held" 0 "$(holds)"
head -c 6000000 /dev/urandom >"$MNT/large"
slow_backup() { # RATE: starts one of some seconds, $SLOW, that has 6 MB to copy
    "$CTL" backup --rate "$1" "$MNT" "$WORK/two" 2>"$WORK/two.log" &
    SLOW=$!
    check "a run begins" wait_until 60 has_begun "$WORK/two"
}
has_begun() { compgen -G "$1/.engram-backup.*.part" >/dev/null; }
# the daemon of a backup that was mounted may be about to end
"$CTL" backup "$MNT" "$WORK/was" >/dev/null 2>&1
lock_was() { # $LOCKER has the folder, until it is killed
    rm -f "$WORK/locked"
    python3 - "$WORK/was" "$WORK/locked" <<'P' &
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
fcntl.flock(fd, fcntl.LOCK_EX)
os.close(os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY))
signal.pause()
P
    LOCKER=$!
    wait_until 60 test -e "$WORK/locked"
    "$CTL" backup "$MNT" "$WORK/was" >"$WORK/was.log" 2>&1 &
    WAITER=$!
    check "it is locked, and a run waits" wait_until 20 is_waiting
}
is_waiting() { # it sleeps, and has opened the folder, not only its path (O_PATH)
    local fd
    fd=$(find "/proc/$WAITER/fd" -lname "$WORK/was" -printf '%f\n' | tail -n 1)
    grep -q $'^flags:\t02' "/proc/$WAITER/fdinfo/${fd:-none}" && grep -q '^State:.S' "/proc/$WAITER/status"
}
lock_was
kill $LOCKER
wait $WAITER
check_equal "a backup that is being unmounted is waited for" 0 $?
lock_was
kill -INT $WAITER
wait $WAITER
check_equal "who interrupts that is told so" "2 1 0" "$? $(grep -c interrupted "$WORK/was.log") $(grep -c "in use" "$WORK/was.log")"
kill $LOCKER
slow_backup 1M
check_equal "a second one into the same folder is refused" 2 "$(status "$BACKUP" "$MNT" "$STORE" "$WORK/two")"
check "because of the first" grep -q "in use by another run" "$WORK/out"
check_equal "the first holds" 1 "$(holds)"
check_fails "and its hold is not another's to give back" "Invalid argument" bash -c "echo release >'$C/hold'"
wait $SLOW
check_equal "the first ends well" 0 $?
check "its copy is whole" "$CTL" check "$WORK/two"
check_equal "nothing is held any more" 0 "$(holds)"
no_holds() { [ "$(holds)" = 0 ]; }
digest() { (cd "$WORK/two" && sha256sum -- s* c*); }
OLD=$(digest)
for signal in KILL KILL KILL TERM HUP; do
    rm -f "$MNT/large" && head -c 6000000 /dev/urandom >"$MNT/large"
    echo run >"$C/compact"
    rm -f "$WORK/two"/.engram-backup.*.part # what the last one left would look like the beginning of this
    slow_backup 1M
    kill -$signal $SLOW
    wait $SLOW 2>/dev/null
    check "and is ended by SIG$signal" test $? -ne 0
    check "as is its hold" wait_until 20 no_holds
    check_equal "the earlier backup is what it was" "$OLD" "$(digest)"
    check "and a whole store" "$CTL" check "$WORK/two"
done
WANT=$(whole "$MNT")
check_equal "the next run completes it" 0 "$(status "$BACKUP" "$MNT" "$STORE" "$WORK/two")"
check_equal "nothing is left of the others" "" "$(find "$WORK/two" -name '.engram-backup*')"
must_mount "$WORK/two" "$WORK/mnt2"
check_equal "it has everything" "$WANT" "$(whole "$WORK/mnt2")"
check "unmount two" unmount_store "$WORK/mnt2"

# ---- the daemon ends, and another one has the mount, while a run reads the store
rm -f "$MNT/large" && head -c 6000000 /dev/urandom >"$MNT/large"
sync "$MNT/large"
OLD=$(digest)
slow_backup 1M
check "the daemon is killed" kill_daemon "$MNT"
must_mount "$STORE" "$MNT" -o ctl=visible
for i in 1 2 3; do echo "after $i" >"$MNT/after$i"; done
wait $SLOW
check_equal "the run says that it is no backup" 2 $?
check "and why" grep -q "the daemon ended meanwhile; nothing was changed" "$WORK/two.log"
check_equal "the earlier backup is what it was" "$OLD" "$(digest)"
check_equal "the next run is one" 0 "$(status "$BACKUP" "$MNT" "$STORE" "$WORK/two")"

# ---- eight writers and compaction: each is in the copy as it was at one moment, after all that was acknowledged before
cat >"$WORK/eight.py" <<'P'
# eight.py write MNT ACKS STOP: K writers, each a fixed sequence of steps; the number of the last one acknowledged goes to ACKS/K.
# eight.py check COPY BEFORE: each writer's files are those after some step not before the one in BEFORE/K.
import os, sys
FILES = 40
def step(state, k, i):
    name = f"{i * 7 % FILES:02}"
    if i % 11 == 0:
        state.pop(name, None)
        return name, None
    state[name] = f"{k} {i} " + chr(97 + i % 26) * (i * 37 % 9000)
    return name, state[name]
def write(k, mnt, acks, stop):
    os.makedirs(f"{mnt}/{k}", exist_ok=True)
    state, i = {}, 0
    ack = os.open(f"{acks}/{k}", os.O_WRONLY | os.O_CREAT, 0o600)
    while not os.path.exists(stop):
        i += 1
        had = set(state)
        name, text = step(state, k, i)
        if text is None:
            if name in had:
                os.unlink(f"{mnt}/{k}/{name}")
        else:
            with open(f"{mnt}/{k}/.tmp", "w") as f:
                f.write(text)
            os.rename(f"{mnt}/{k}/.tmp", f"{mnt}/{k}/{name}")
        os.pwrite(ack, b"%012d" % i, 0)
def check(k, copy, before):
    least = int(open(f"{before}/{k}").read())
    seen = {n: open(f"{copy}/{k}/{n}").read() for n in os.listdir(f"{copy}/{k}") if n != ".tmp"}
    most = max([int(t.split(" ")[1]) for t in seen.values()] + [least]) + 2
    state = {}
    for i in range(1, most + 1):
        step(state, k, i)
        if i >= least and state == seen:
            return
    raise SystemExit(f"writer {k}: no step from {least} to {most} has these files")
if sys.argv[1] == "check":
    for k in range(8):
        check(k, sys.argv[2], sys.argv[3])
else:
    children = []
    for k in range(8):
        pid = os.fork()
        if pid == 0:
            write(k, *sys.argv[2:5])
            os._exit(0)
        children.append(pid)
    sys.exit(any([os.waitpid(p, 0)[1] for p in children]))
P
mkdir "$WORK/acks"
must_mount "$WORK/store8" "$WORK/mnt8" -o segment_size=1M
timeout 200 python3 "$WORK/eight.py" write "$WORK/mnt8" "$WORK/acks" "$WORK/stop8" 2>"$WORK/eight.log" &
WRITERS=$!
(while [ ! -e "$WORK/stop8" ]; do echo run >"$WORK/mnt8/.engram/compact"; done) 2>/dev/null &
BUSY=$!
all_write() { [ "$(find "$WORK/acks" -size +0 | wc -l)" = 9 ]; } # the folder is one of them
check "eight writers write" wait_until 60 all_write
for round in 1 2 3 4 5 6; do
    rm -rf "$WORK/before" && cp -r "$WORK/acks" "$WORK/before"
    check "backup $round beside eight writers" timeout 100 "$BACKUP" "$WORK/mnt8" "$WORK/store8" "$WORK/copy8"
    cp -r "$WORK/copy8" "$WORK/try8"
    must_mount "$WORK/try8" "$WORK/mnt2"
    check "copy $round has all that was acknowledged before, of one moment" python3 "$WORK/eight.py" check "$WORK/mnt2" "$WORK/before"
    check "unmount copy $round" unmount_store "$WORK/mnt2"
    rm -rf "$WORK/try8"
done
touch "$WORK/stop8"
wait $WRITERS
check_equal "the writers met no error" "0 " "$? $(cat "$WORK/eight.log")"
wait $BUSY
check "unmount 8" unmount_store "$WORK/mnt8"
check "unmount" unmount_store "$MNT"
t_end
