#!/usr/bin/env bash
# restore.sh - engramctl restore: memories become what they were at a snapshot, a batch or a time, what was there is kept, and
# copies are made of what is not there any more; whatever is refused changes nothing.
#
#   tests/ops/restore.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 getfattr setfattr
STORE=$WORK/store MNT=$WORK/mnt AT=$WORK/mnt/.engram/at
SMALL=(-o segment_size=64k)

status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>&1
    echo $?
}
up() { must_mount "$STORE" "$MNT" "${SMALL[@]}"; }
down() { unmount_store "$MNT"; }
now() { date -u +%Y-%m-%dT%H:%M:%S.%NZ; }
is_past() { [ "$(date +%s%N)" -gt "$1" ]; }
next_moment() { wait_until 10 is_past $(($(date +%s%N) + 20000000)); } # the next change begins one
sight() { # FILE: all that is restored of it
    stat -c '%f %u %g %s' "$1"
    sha256sum <"$1"
    getfattr -d -m '^user\.(note|long)' -e hex "$1" 2>/dev/null | grep -v '^#' | sort
}
inode() { stat -c %i "$1"; }

up
echo history_settle=0 >"$MNT/.engram/config"
echo history=1d >"$MNT/.engram/config"
mkdir "$MNT/sub"
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
open("sub/text", "w").write("first\n")
open("sub/big", "wb").write(os.urandom(2000000))
open("other", "w").write("other, first\n")
open("gone", "w").write("gone\n")
open("a@b", "w").write("at\n")
with open("sparse", "wb") as f:
    f.write(b"a" * 5000)
    f.seek(90000000)
    f.write(b"b" * 5000)
os.link("other", "sub/link")
os.setxattr("sub/text", "user.note", b"short")
os.setxattr("sub/big", "user.long", os.urandom(3000))
os.chmod("other", 0o640)
P
for f in sub/text sub/big other gone sparse a@b; do sight "$MNT/$f" >"$WORK/first.${f//\//.}"; done
big=$(inode "$MNT/sub/big")
next_moment
first=$(now)
next_moment
batch=$(cat "$MNT/.engram/position")
down
check "a snapshot of it is made" "$CTL" snapshot create "$STORE" monday
up
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
open("sub/new", "w").write("second, of an editor\n")
os.rename("sub/new", "sub/text")
with open("sub/big", "r+b") as f:
    f.seek(1000000)
    f.write(b"x" * 10)
os.removexattr("sub/big", "user.long")
os.setxattr("sub/big", "user.note", b"late")
open("other", "a").write("other, second\n")
os.chmod("other", 0o600)
os.truncate("sparse", 100)
os.unlink("gone")
open("a@b", "a").write("again\n")
P
for f in sub/text sub/big other sparse; do sight "$MNT/$f" >"$WORK/second.${f//\//.}"; done
next_moment
second=$(now)
next_moment

check_equal "of a mount nothing is restored" 2 "$(status "$CTL" restore "$MNT" other@monday)"
check "  which is said" grep -q "is mounted: copy from its .engram/snapshots" "$WORK/out"
down

# ---- in place

check_equal "nothing is restored of what was never there" 2 "$(status "$CTL" restore "$STORE" other@monday sub/none@monday)"
check "  which is said" grep -q "sub/none: at monday: No such file" "$WORK/out"
check_equal "nor of a folder with others" 2 "$(status "$CTL" restore "$STORE" sub@monday other@monday)"
check "  which is said" grep -q "sub: was no memory at monday" "$WORK/out"
check_equal "nor at no time" 2 "$(status "$CTL" restore "$STORE" other@mondey)"
check "  which is said" grep -q "'mondey' is no snapshot, batch or time" "$WORK/out"
check_equal "nor before there was a history" 2 "$(status "$CTL" restore "$STORE" other@2001-01-01T00:00:00Z)"
check "  which is said" grep -q "other: 2001-01-01T00:00:00Z: nothing is kept of then" "$WORK/out"
check_equal "nor in the future" 2 "$(status "$CTL" restore "$STORE" other@99999999999)"
check_equal "without a WHEN" 2 "$(status "$CTL" restore "$STORE" other)"
check_equal "twice the same" 2 "$(status "$CTL" restore "$STORE" other@monday other@"$batch")"
check "  which is said" grep -q "other: is one memory with another one" "$WORK/out"
check_equal "nor by another name" 2 "$(status "$CTL" restore "$STORE" other@monday sub/link@"$batch")"
check "  which is said" grep -q "sub/link: is one memory with another one" "$WORK/out"
check_equal "nor by the name of a folder" 2 "$(status "$CTL" restore "$STORE" gone/@monday)"
check "  which is said" grep -q "gone/: at monday: Not a directory" "$WORK/out"
check_equal "one that is not there now, beside others" 2 "$(status "$CTL" restore "$STORE" other@monday gone@monday)"

check "two are restored, by name and number" "$CTL" restore "$STORE" "sub/big@monday" "other@$batch"
check "one that an editor has replaced, by time" "$CTL" restore "$STORE" "/sub/text@$first"
check "a sparse one" "$CTL" restore "$STORE" sparse@monday
check "one with an @" "$CTL" restore "$STORE" a@b@monday
check "one that was removed" "$CTL" restore "$STORE" gone@monday
check "one by two names" "$CTL" restore "$STORE" other@monday sub/link@monday
check "one that is as it was" "$CTL" restore "$STORE" other@monday
check "the store is whole" "$CTL" check "$STORE"
up
for f in sub/text sub/big other gone sparse a@b; do
    check_equal "  $f is as it was" "$(cat "$WORK/first.${f//\//.}")" "$(sight "$MNT/$f")"
done
check_equal "  and has its number" "$big" "$(inode "$MNT/sub/big")"
check "  holes are holes" test "$(stat -c %b "$MNT/sparse")" -lt 200
for f in sub/text sub/big other sparse; do
    check_equal "  what $f was until then is kept" "$(cat "$WORK/second.${f//\//.}")" "$(sight "$AT/$second/$f")"
    check_equal "  and what it was before" "$(cat "$WORK/first.${f//\//.}")" "$(sight "$AT/$first/$f")"
done

# ---- copies

down
check_equal "a copy is made of nothing that is there" 2 "$(status "$CTL" restore --to other "$STORE" "sub/text@$second")"
check "  which is said" grep -q "other: there is something already" "$WORK/out"
check_equal "nor where no folder is" 2 "$(status "$CTL" restore --to none/other "$STORE" "sub/text@$second")"
check_equal "nor as a folder" 2 "$(status "$CTL" restore --to sub/other/ "$STORE" "sub/text@$second")"
check "  which is said" grep -q "sub/other/: Not a directory" "$WORK/out"
check_equal "nor where control files are" 2 "$(status "$CTL" restore --to /.engram "$STORE" "sub/text@$second")"
check "  which is said" grep -q "/.engram: is where mounts have their control files" "$WORK/out"
check_equal "nor of two" 2 "$(status "$CTL" restore --to both "$STORE" "sub/text@$second" "other@$second")"
check "a copy is made" "$CTL" restore --to sub/copy "$STORE" "sub/text@$second"
check "  and of a sparse one" "$CTL" restore "$STORE" sparse@monday --to sparse-copy
up
check_equal "  which is as that was" "$(cat "$WORK/second.sub.text")" "$(sight "$MNT/sub/copy")"
check_equal "  with its time" "$(stat -c %y "$AT/$second/sub/text")" "$(stat -c %y "$MNT/sub/copy")"
check_equal "  the sparse one is, too" "$(cat "$WORK/first.sparse")" "$(sight "$MNT/sparse-copy")"
check "  with its holes" test "$(stat -c %b "$MNT/sparse-copy")" -lt 200
check_equal "  and what it is of stays" "$(cat "$WORK/first.sub.text")" "$(sight "$MNT/sub/text")"

# ---- what is more than a batch takes

head -c 30000000 /dev/urandom >"$MNT/large"
digest=$(sha256sum <"$MNT/large")
down
check "a snapshot of a large one" "$CTL" snapshot create "$STORE" large
up
: >"$MNT/large"
down
check "its own content is brought back, however large" "$CTL" restore "$STORE" large@large
up
check "  and whole" test "$(sha256sum <"$MNT/large")" = "$digest"
rm "$MNT/large"
: >"$MNT/large" # another one
down
check_equal "more than 16 MiB of another are not restored" 2 "$(status "$CTL" restore "$STORE" large@large)"
check "  which is said" grep -q "more than 16 MiB of it differ, or too many pieces: --to makes a copy" "$WORK/out"
check "  but copied" "$CTL" restore "$STORE" large@large --to large-copy

# ---- without a history

up
echo history=0 >"$MNT/.engram/config"
check "the copy is whole" test "$(sha256sum <"$MNT/large-copy")" = "$digest"
echo third >"$MNT/other"
down
check_equal "without a history it is restored from a snapshot" 0 "$(status "$CTL" restore "$STORE" other@monday)"
check "  and it is said what is lost" grep -q "keeps no history" "$WORK/out"
check_equal "  at a time there is nothing" 2 "$(status "$CTL" restore "$STORE" "other@$second")"
up
check_equal "  other is as it was" "$(cat "$WORK/first.other")" "$(sight "$MNT/other")"
down
check "the store is whole" "$CTL" check "$STORE"
t_end
