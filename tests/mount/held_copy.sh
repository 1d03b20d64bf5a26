#!/usr/bin/env bash
# held_copy.sh - a store that is killed in a hold, and a copy of its folder that cp made in it, file by file: the second copy
# of the log is younger in the copy than the log, and is not believed there. In the store itself it is, whatever the log lost.
#
#   tests/mount/held_copy.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
if [ "$(stat -c %W "$WORK")" = 0 ]; then
    skip held_copy "a file system that tells no time of birth"
    exit 0
fi
STORE=$WORK/store MNT=$WORK/mnt COPY=$WORK/copy
put() { # NAME BYTE: 9000 of them, synced
    python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
os.write(fd, sys.argv[2].encode() * 9000)
os.fsync(fd)' "$MNT/$1" "$2"
}
has() { [ "$(tr -d "$3" <"$1/$2" | wc -c)" = 0 ] && [ "$(stat -c %s "$1/$2")" = 9000 ]; }
names() { find "$1" -name 'later*' | wc -l; }
echoed() { grep -q later5 "$STORE"/e*.log; }

must_mount "$STORE" "$MNT"
put doc 1
check "it is closed" unmount_store "$MNT"
must_mount "$STORE" "$MNT"
echo hold >"$MNT/.engram/hold"
put x 5
mkdir "$COPY"
cp -p "$STORE"/* "$COPY"
rm -f "$COPY"/e*.log
put doc 2
for i in 1 2 3 4 5; do put "later$i" 3; done
check "the second copy of the log has it" wait_until 20 echoed
cp -p "$STORE"/e*.log "$COPY"
check "kill" kill_daemon "$MNT"

segment=$(cd "$STORE" && for f in s*.seg; do cmp -s "$f" "$COPY/$f" || echo "$f"; done)
check_equal "one segment was written meanwhile" "$(wc -w <<<"$segment")" 1
at=$(cmp "$STORE/$segment" "$COPY/$segment" 2>&1 | grep -oE '(byte|char) [0-9]+' | grep -oE '[0-9]+')
cp -a "$STORE" "$WORK/moved"
truncate -s "$((at - 1))" "$STORE/$segment"

must_mount "$STORE" "$MNT"
check_equal "the store itself has the names" "$(names "$MNT")" 5
check_fails "and of what was overwritten nothing old" "input/output error" cat "$MNT/doc"
check "what was there before" has "$MNT" x 5
check "it is closed again" unmount_store "$MNT"

must_mount "$COPY" "$MNT"
check_equal "the copy has what the log had" "$(names "$MNT")" 0
check "as it was" has "$MNT" doc 1
check "all of it" has "$MNT" x 5
put more 7
check "the copy is closed" unmount_store "$MNT"
must_mount "$COPY" "$MNT"
check "the copy goes on" has "$MNT" more 7
check "from there" has "$MNT" doc 1
check "the copy is closed again" unmount_store "$MNT"

must_mount "$WORK/moved" "$MNT"
check_equal "a copy of all of it has all names" "$(names "$MNT")" 5
check "and all content" has "$MNT" doc 2
check "kill, of the copy" kill_daemon "$MNT"
truncate -s "$((at - 1))" "$WORK/moved/$segment"
must_mount "$WORK/moved" "$MNT"
check_equal "which has the full word of its own" "$(names "$MNT")" 5
check_fails "as the store has" "input/output error" cat "$MNT/doc"
check "and is closed" unmount_store "$MNT"
t_end
