#!/usr/bin/env bash
# backup_past.sh - a backup replaces nothing that the store does not have: a folder that was the store itself meanwhile, or
# has what a store that went back to an earlier state has not, is refused; one that was only looked at is not.
#
#   tests/ops/backup_past.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
STORE=$WORK/store MNT=$WORK/mnt BK=$WORK/bk SIDE=$WORK/side
SMALL=(-o "segment_size=64k,commit=600") # so that nothing but a sync or a backup makes something durable
status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>&1
    echo $?
}
backup() { status "$CTL" backup "$@" "$MNT" "$BK"; }
sums() { (cd "$BK" && sha256sum -- *); }
has() { # NAME...: what the backup has, as a copy of it says
    rm -rf "$WORK/try" && cp -r "$BK" "$WORK/try"
    must_mount "$WORK/try" "$SIDE" -o ro
    (cd "$SIDE" && echo *)
    unmount_store "$SIDE"
}
written() { # MOUNT NAME: made, and durable
    echo "$2" >"$1/$2"
    sync "$1/$2"
}
refused() { # WHAT MESSAGE NAMES: and nothing of it was changed
    local before
    before=$(sums)
    check_equal "$1: refused" 2 "$(backup)"
    check "$1: says why" grep -q "$2" "$WORK/out"
    check "$1: and what to do" grep -q -e "--replace" "$WORK/out"
    check_equal "$1: not a byte was changed" "$before" "$(sums)"
    check_equal "$1: it has what it had" "$3" "$(has)"
}
log_files() { (cd "$STORE" && ls s*.seg); }
compacted() { # so that the log has none of the segments any more that it has now
    local name
    for name in $(log_files); do set -- "$@" "$name"; done
    for name in "$MNT"/*; do cp "$name" "$WORK/again" && cat "$WORK/again" >"$name"; done # what they had is dead
    head -c 200000 /dev/urandom >"$MNT/filler" && sync "$MNT/filler" && rm "$MNT/filler"
    echo run >"$MNT/.engram/compact" || return 1
    for name; do wait_until 30 test ! -e "$STORE/$name" || { echo "$name is still there"; return 1; }; done
}

# ---- was only looked at
must_mount "$STORE" "$MNT" "${SMALL[@]}"
written "$MNT" old
check_equal "a first backup" 0 "$(backup)"
check_equal "a second one, of nothing new" 0 "$(backup)"
must_mount "$BK" "$SIDE"
check "the backup is mounted and looked at" test "$(ls "$SIDE")" = old
check "and read" grep -q old "$SIDE/old"
check "unmount" unmount_store "$SIDE"
check "which has written access times" sh -c "'$CTL' dump '$BK' 1 | grep -q 'attr ino=.* mask=16 '"
written "$MNT" next
check_equal "that is no obstacle" 0 "$(backup)"
check_equal "it has all" "next old" "$(has)"
must_mount "$BK" "$SIDE"
check "looked at once more" test -e "$SIDE/next" -a "$(ls "$SIDE" | wc -l)" = 2
check "unmount" unmount_store "$SIDE"
check "the store's log loses all that it had then" compacted
check_equal "nor then" 0 "$(backup)"

# ---- what the backup has no power cut takes from the store any more
written "$MNT" synced && rm "$MNT/synced"
figure() { awk -v name="engram_store_$1" '$1 == name {print $2}' "$MNT/.engram/metrics"; }
check "the store has what is not durable" test "$(figure log_sequence)" -gt "$(figure durable_sequence)"
check_equal "a backup" 0 "$(backup)"
check_equal "it is durable in the store as well" "$(figure log_sequence)" "$(figure durable_sequence)"

# ---- was the store meanwhile
must_mount "$BK" "$SIDE"
written "$SIDE" new1
check "unmount" unmount_store "$SIDE"
refused "a backup that was the store" "holds changes that the store does not have" "new1 next old"
for name in a b c d e f; do written "$MNT" "$name"; done
refused "which the store has overtaken" "holds changes that the store does not have" "new1 next old"
check "the store's log loses all that it had then" compacted
refused "also when the log goes back no further" "no note says" "new1 next old"
check_equal "with --replace it is replaced" 0 "$(backup --replace)"
check_equal "by the store" "a b c d e f next old" "$(has)"
check_equal "and then backups go on" 0 "$(backup)"

# ---- one without a note, as programs before had left none
rm "$BK/.engram-past"
written "$MNT" g
check_equal "a backup without a note: the log says that all is well" 0 "$(backup)"
check "now it has one" test -s "$BK/.engram-past"
rm "$BK/.engram-past"
check "the store's log loses all that it had then" compacted
refused "without a note, and nobody can tell" "no note says" "a b c d e f g next old"
check_equal "once with --replace" 0 "$(backup --replace)"
check "the store's log loses all that it had then" compacted
check_equal "and backups go on" 0 "$(backup)"
check_equal "nothing else is left in it" "" "$(find "$BK" -name '.engram*' ! -name .engram-past)"

# ---- snapshots
check "unmount" unmount_store "$MNT"
check "a snapshot of the store" "$CTL" snapshot create "$STORE" first
must_mount "$STORE" "$MNT" "${SMALL[@]}"
for name in a b c; do written "$MNT" "$name"; done
check_equal "a backup" 0 "$(backup)"
check_equal "it has the snapshot" first "$("$CTL" snapshot list "$BK" | awk '{print $NF}')"
check "one is made of the backup" "$CTL" snapshot create "$BK" second
refused "with a snapshot of its own" "holds changes that the store does not have" "a b c d e f g next old"
check_equal "once with --replace" 0 "$(backup --replace)"
check "unmount" unmount_store "$MNT"
check "the snapshot is dropped" "$CTL" snapshot drop "$STORE" first
must_mount "$STORE" "$MNT" "${SMALL[@]}"
check_equal "and backups go on" 0 "$(backup)"
check_equal "it has none" "" "$("$CTL" snapshot list "$BK")"

# ---- the store goes back
check "unmount" unmount_store "$MNT"
cp -a "$STORE" "$WORK/monday"
must_mount "$STORE" "$MNT"
written "$MNT" tuesday
check_equal "the backup of Tuesday" 0 "$(backup)"
check "unmount" unmount_store "$MNT"
rm -rf "$STORE" && cp -a "$WORK/monday" "$STORE"
must_mount "$STORE" "$MNT"
refused "the store is Monday's again" "holds changes that the store does not have" "a b c d e f g next old tuesday"
for name in u v w x y z; do written "$MNT" "$name"; done
refused "and has gone on" "holds changes that the store does not have" "a b c d e f g next old tuesday"
check_equal "with --replace it is replaced" 0 "$(backup --replace)"
check_equal "by the store" "a b c d e f g next old u v w x y z" "$(has)"

# ---- it goes back, and its log has lost what would tell; a segment of the same number is another one
check "unmount" unmount_store "$MNT"
rm -rf "$WORK/monday" && cp -a "$STORE" "$WORK/monday"
must_mount "$STORE" "$MNT"
check "a compaction" compacted
written "$MNT" wednesday
check_equal "the backup of Wednesday" 0 "$(backup)"
check "unmount" unmount_store "$MNT"
rm -rf "$STORE" && mv "$WORK/monday" "$STORE"
must_mount "$STORE" "$MNT"
for name in 1 2 3 4 5 6 7 8; do written "$MNT" "$name"; done
check "another compaction" compacted
refused "gone back and compacted" "went back to an earlier state" \
    "a b c d e f g next old u v w wednesday x y z"
check "unmount" unmount_store "$MNT"

# ---- it has a large removed file that nothing had freed; to look at it frees it, piece by piece
rm -rf "$BK" "$STORE"
must_mount "$STORE" "$MNT"
written "$MNT" old
python3 - "$MNT" "$WORK/let-go" <<'END' &
import os, sys, time
mount, let_go = sys.argv[1:]
for name in ("kept", "removed"):
    fd = os.open(mount + "/" + name, os.O_CREAT | os.O_RDWR)
    for i in range(6000):
        os.pwrite(fd, b"x" * 10, i * 8192)
    os.fsync(fd)
os.unlink(mount + "/removed")
open(mount + "/ready", "w").close()
while not os.path.exists(let_go):
    time.sleep(0.1)
END
holder=$!
check "a large file is removed, and open" wait_until 60 test -e "$MNT/ready"
check_equal "a backup of it" 0 "$(backup)"
touch "$WORK/let-go"
wait "$holder"
operations() { # FOLDER: of its log
    local name
    for name in "$1"/s*.seg; do "$CTL" dump "$1" "${name##*/}" 2>/dev/null; done | grep '^    '
}
does() { operations "$BK" | grep " $1 " >"$WORK/did"; } # WHAT
must_mount "$BK" "$SIDE"
check "it is looked at" test -e "$SIDE/old"
check "which frees the file" wait_until 30 does free
check "unmount" unmount_store "$SIDE"
check "piece by piece" does punch
written "$MNT" next
check_equal "that is no obstacle, either" 0 "$(backup)"
check_equal "it has what the store has" "kept next old ready" "$(has)"

# ---- but a user's truncation, which frees in the same way, is one
must_mount "$BK" "$SIDE"
check "a large file of the backup is emptied" truncate -s 0 "$SIDE/kept"
sync "$SIDE/kept"
check "unmount" unmount_store "$SIDE"
refused "a backup with a file that somebody has emptied" "holds changes that the store does not have" \
    "kept next old ready"
check_equal "once with --replace" 0 "$(backup --replace)"

# ---- whoever owns the store makes a segment of it longer than the mount says, by a hole
longer() { truncate -s 8T "$1" 2>/dev/null || truncate -s 1T "$1"; }
segment=$(find "$STORE" -name 's*.seg' | sort | tail -n 1)
size=$(stat -c %s "$segment")
check "a segment gets a hole at its end" longer "$segment"
check_equal "a backup does not read that" 0 "$(status timeout -s KILL 30 "$CTL" backup "$MNT" "$BK")"
check_equal "nor does a look at the segment" 0 \
    "$(status timeout -s KILL 30 "$CTL" dump "$STORE" "${segment##*/}")"
check "which tells of it" grep -q zeros "$WORK/out"
truncate -s "$size" "$segment"
check "unmount" unmount_store "$MNT"
t_end
