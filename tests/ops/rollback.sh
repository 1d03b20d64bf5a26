#!/usr/bin/env bash
# rollback.sh - engramctl snapshot rollback, and restore of a folder: all is what it was, numbers, links and times as well; what was there
# until then stays in a snapshot; whatever is refused changes nothing; killed at any time, it is done or not.
#
#   tests/ops/rollback.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 getfattr
STORE=$WORK/store MNT=$WORK/mnt
SMALL=(-o segment_size=64k)

status() { # COMMAND...: its exit status
    timeout 100 "$@" >"$WORK/out" 2>&1
    echo $?
}
up() { must_mount "$STORE" "$MNT" "${SMALL[@]}"; }
down() { unmount_store "$MNT"; }
sight() { # FOLDER: all below it, numbers and times as well
    (cd "$1" && find . -path ./.engram -prune -o -print | LC_ALL=C sort | while read -r f; do
        printf '%s ' "$f"
        stat -c '%i %f %h %u %g %Y.%y' "$f"
        [ ! -f "$f" ] || sha256sum <"$f"
        getfattr -h -d -m '^user\.(note|long)' -e hex "$f" 2>/dev/null | grep -v '^#' | sort
    done)
}
change() { # SEED
    python3 - "$MNT" "$1" <<'P'
import os, sys, shutil
os.chdir(sys.argv[1])
n = sys.argv[2]
open("a/new" + n, "w").write("new, to a file of before\n")
os.rename("a/new" + n, "a/replaced")
with open("a/large", "r+b") as f:
    f.seek(1000000)
    f.write(b"x" * 100000)
    f.truncate(1500000 if n == "1" else 3000000)
os.setxattr("a/large", "user.note", n.encode())
os.removexattr("a/replaced2", "user.note")
os.unlink("gone")
shutil.rmtree("old")
os.rename("a", "moved")
os.mkdir("a")
open("a/inside", "w").write(n)
os.makedirs("fresh/deep/er")
open("fresh/deep/er/f", "w").write(n)
os.link("moved/replaced2", "fresh/link")
os.rename("moved/replaced2", "outside")
os.chmod("b", 0o700)
os.symlink("elsewhere", "link2")
os.truncate("sparse", 10)
P
}

up
python3 - "$MNT" <<'P'
import os, sys
os.chdir(sys.argv[1])
for d in ("a", "b", "old", "old/er"):
    os.mkdir(d)
open("a/replaced", "w").write("first\n")
open("a/replaced2", "w").write("first\n")
open("a/large", "wb").write(os.urandom(2500000))
open("b/kept", "w").write("kept\n")
open("gone", "w").write("gone\n")
open("old/er/file", "w").write("old\n")
os.link("gone", "b/hard")
os.symlink("target", "link")
with open("sparse", "wb") as f:
    f.seek(5000000)
    f.write(b"b" * 5000)
os.setxattr("a/replaced2", "user.note", b"short")
os.setxattr("a/large", "user.long", os.urandom(3000))
P
sight "$MNT" >"$WORK/first"
sight "$MNT/b" >"$WORK/first.b"
mkdir "$MNT/.engram/snapshots/first"
change 1
sight "$MNT" >"$WORK/second"
mkdir "$MNT/.engram/snapshots/second"
check_equal "of a mount nothing is rolled back" 2 "$(status "$CTL" snapshot rollback "$MNT" first)"
check "and it says why" grep -q "is mounted" "$WORK/out"
down

is_first() { up && sight "$MNT" >"$WORK/is" && down && cmp "$WORK/first" "$WORK/is"; }
is_second() { up && sight "$MNT" >"$WORK/is" && down && cmp "$WORK/second" "$WORK/is"; }
check_equal "no snapshot of that name" 2 "$(status "$CTL" snapshot rollback "$STORE" none)"
check_equal "no such folder" 2 "$(status "$CTL" snapshot rollback "$STORE" first nothing)"
check_equal "what is new was no folder then" 2 "$(status "$CTL" snapshot rollback "$STORE" first fresh)"
check_equal "something of the folder is in another one now, too" 2 "$(status "$CTL" snapshot rollback "$STORE" first moved)"
check "and it says so" grep -q "one above both" "$WORK/out"
check "nothing has changed" is_second
before=$(du -s --block-size=1 "$STORE" | cut -f1)
check "it is rolled back" "$CTL" snapshot rollback "$STORE" first
after=$(du -s --block-size=1 "$STORE" | cut -f1)
check "nothing was copied" test $((after - before)) -lt 1000000
check "and is what it was, numbers, links and times as well" is_first
check "the other way" "$CTL" snapshot rollback "$STORE" second
check "and is what it was before that" is_second
check "twice the same changes nothing" "$CTL" snapshot rollback "$STORE" second
check "which it says" test "$("$CTL" snapshot rollback "$STORE" second)" = "0 names and memories are what they were"
check "one folder" "$CTL" restore "$STORE" b@first
up
links() { sed -E 's/^(\.[^ ]* [0-9]+ [0-9a-f]+) [0-9]+/\1/'; } # one was outside, and is not any more
check "is what it was" cmp <(links <"$WORK/first.b") <(sight "$MNT/b" | links)
check "and no other" test -e "$MNT/fresh/deep/er/f"
check "the snapshots show what they showed" cmp <(sight "$MNT/.engram/snapshots/first" | sed 's/ [0-9]* / /;s/[0-9]\{10\}\..*//') \
    <(sed 's/ [0-9]* / /;s/[0-9]\{10\}\..*//' "$WORK/first")
down
check "a check finds nothing" "$CTL" check "$STORE"

# Killed at any time: all of it or nothing.
"$CTL" snapshot rollback "$STORE" second >/dev/null
whole=0 broken=0
for i in $(seq 1 12); do
    to=first
    [ $((i % 2)) = 1 ] || to=second
    "$CTL" snapshot rollback "$STORE" $to >/dev/null 2>&1 &
    pid=$!
    python3 -c "import time; time.sleep($i * 0.004)"
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    up
    sight "$MNT" >"$WORK/is"
    down
    if cmp -s "$WORK/is" "$WORK/first" || cmp -s "$WORK/is" "$WORK/second"; then
        whole=$((whole + 1))
    else
        broken=$((broken + 1))
    fi
    back=first
    [ "$to" != first ] || back=second
    "$CTL" snapshot rollback "$STORE" "$back" >/dev/null 2>&1
done
check_equal "killed 12 times: all or nothing" "12 0" "$whole $broken"
check "a check finds nothing" "$CTL" check "$STORE"
t_end
