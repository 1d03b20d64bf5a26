#!/usr/bin/env bash
# at.sh - a history in a mount: .engram/at/WHEN is the tree of then, compared with copies that were made then; ages; what is no
# time, or not kept; who may see it; a killed daemon; and the history switched off.
#
#   tests/mount/at.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv rsync setfattr getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "at" "not root: there is nobody to be"
    exit 0
fi
umask 022
chmod 755 "$WORK"
cd "$WORK" || exit 1
STORE=$WORK/store MNT=$WORK/mnt AT=$WORK/mnt/.engram/at BOB=51002
ROUNDS=6
as_bob() { setpriv --reuid=$BOB --regid=$BOB --clear-groups "$@"; }
fields() { (cd "$1" && find . -depth -print0 | sort -z | xargs -0 getfattr -h -d -m '^user\.(topic|of|nothing)' 2>/dev/null); }
sight() { # FOLDER: all but times of folders, of which a history has moments only
    (cd "$1" && find . ! -type d -printf '%P\0%y %m %U %G %s %n %T@ %l\0' -o -printf '%P\0%y %m %U %G\0' | sort -z | sha256sum)
    content_digest "$1"
}
same_tree() { # NAME A B
    check_equal "$1: names, modes, owners, link counts, times, content" "$(sight "$2")" "$(sight "$3")"
    check_equal "$1: extended attributes" "$(fields "$2")" "$(fields "$3")"
}
configure() { for line in "$@"; do echo "$line" >"$MNT/.engram/config" || return 1; done; }

# ---- each state

must_mount "$STORE" "$MNT" -o allow_other,noatime
before=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
check "a history that keeps each state" configure history_settle=0 history=1d
check "status says since when" grep -q "whole since" "$MNT/.engram/status"
make_tree
finish_tree
rsync -aHAX tree/ "$MNT/tree"
change() { # N: each kind of change
    echo "content $1" >"$MNT/tree/deep/a"
    echo "line $1" >>"$MNT/tree/log"
    echo "new $1" >"$MNT/tree/.new" && mv "$MNT/tree/.new" "$MNT/tree/replaced" # as os.replace does
    sed -i "s/new/newer/" "$MNT/tree/replaced"
    printf 'x%s' "$1" | dd of="$MNT/tree/sparse" bs=1 seek=$((100 * $1)) conv=notrunc status=none
    truncate -s $((9000 - 1000 * $1)) "$MNT/tree/deep/er/big"
    rm -rf "$MNT/tree/folder$(($1 - 1))"
    mkdir "$MNT/tree/folder$1" && echo "$1" >"$MNT/tree/folder$1/below"
    mv "$MNT/tree/moved$(($1 - 1))" "$MNT/tree/moved$1" 2>/dev/null || mkdir "$MNT/tree/moved$1"
    ln -f "$MNT/tree/zero" "$MNT/tree/link$1"
    rm -f "$MNT/tree/link$(($1 - 2))"
    setfattr -n user.topic -v "$1" "$MNT/tree/deep/a"
    chmod $((600 + 10 * ($1 % 7))) "$MNT/tree/zero"
}
WHEN=()
for ((i = 0; i < ROUNDS; i++)); do
    change $i
    cp -a "$MNT/tree" "copy$i"
    ls -R "$MNT/tree" >/dev/null
    WHEN[i]=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
    [ $i -ne 2 ] || echo run >"$MNT/.engram/compact"
done
look() { # NAME
    local i
    for ((i = 0; i < ROUNDS; i++)); do
        same_tree "$1, $i" "copy$i/" "$AT/${WHEN[i]}/tree"
        check "$1, $i: diff -r" diff -r --no-dereference -x pipe "copy$i" "$AT/${WHEN[i]}/tree"
    done
}
look "as it was"
check_equal "what has each state is exact" yes "$(getfattr --absolute-names --only-values -n user.engram.exact "$AT/${WHEN[1]}")"
check "cp from the past onto the memory" cp "$AT/${WHEN[1]}/tree/deep/a" "$MNT/tree/deep/a"
check_equal "it is as it was" "content 1" "$(cat "$MNT/tree/deep/a")"
# Programs tell by device and inode whether two names are one file.
THEN=$AT/${WHEN[2]}/tree
check "install from the past" install "$THEN/zero" "$MNT/tree/installed"
check "cp of what has not changed since, onto itself" cp "$THEN/zero" "$MNT/tree/zero"
check "  and what was there is still there" cmp "$THEN/zero" "$MNT/tree/zero"
check "mv out of the past makes a copy, and fails to remove" sh -c "! mv '$THEN/zero' '$MNT/tree/mv' 2>/dev/null"
tar -C "$MNT" -cf both.tar tree/zero tree/log ".engram/at/${WHEN[2]}/tree/zero" ".engram/at/${WHEN[2]}/tree/log" 2>/dev/null
check_equal "tar has each of both whole, and no links between them" "0 4" \
    "$(tar -tvf both.tar | grep -c ' link to ') $(tar -tf both.tar | wc -l)"
check_fails "diff between then and now looks at both" "differ" diff -rq -x pipe "$THEN" "$MNT/tree"
inodes() { find "$1" -printf '%i\n' | sort -u; }
check_equal "numbers are none of the present, nor of another time" "" \
    "$(comm -12 <(sort -u <(inodes "$MNT/tree") <(inodes "$AT/${WHEN[1]}/tree")) <(inodes "$AT/${WHEN[2]}/tree"))"
NUMBERS=$(inodes "$AT/${WHEN[3]}/tree")

# ---- names

check_fails "the future" "No such file" ls "$AT/2999-01-01T00:00:00Z"
check_fails "before the history" "No such file" ls "$AT/$before"
for name in 0s 01m s 5 5w -5s 99999999999s 2026-11-28 none; do
    check_fails "no time: $name" "No such file" ls -d "$AT/$name"
done
check "an age is a link to its time" python3 -c '
import calendar, os, sys, time
for name, seconds in ("90s", 90), ("10m", 600), ("2h", 7200), ("3d", 259200):
    at = time.time()
    target = os.readlink(sys.argv[1] + "/" + name)
    age = at - calendar.timegm(time.strptime(target, "%Y-%m-%dT%H:%M:%SZ"))
    assert -1 <= age - seconds <= 3, (name, target, age)
    assert os.lstat(sys.argv[1] + "/" + name).st_size == len(target)' "$AT"
check "that leads to a tree" wait_until 20 test -d "$AT/1s/tree"
check_fails "nothing is made there" "Read-only file system" mkdir "$AT/none"
check_fails "nor removed" "Read-only file system" rmdir "$AT/${WHEN[1]}"
check_fails "nor an age" "Read-only file system" rm "$AT/1s"
check_fails "nor renamed" "Read-only file system" mv "$AT/${WHEN[1]}" "$AT/none"
check_fails "nor written" "Read-only file system" sh -c "echo x >'$AT/${WHEN[1]}/tree/deep/a'"
check_equal ".. leads back" "$(stat -c %i "$AT")" "$(stat -c %i "$AT/${WHEN[1]}/..")"
check "root may list at" ls "$AT"
check_fails "a stranger may not" "Permission denied" as_bob ls "$AT"
check_fails "nor read what is not his" "Permission denied" as_bob cat "$AT/${WHEN[1]}/tree/log"

# ---- killed, and another mount

sync -f "$MNT"
kill_daemon "$MNT"
must_mount "$STORE" "$MNT" -o allow_other,noatime
look "after kill -9"
check_equal "the numbers are the same" "$NUMBERS" "$(inodes "$AT/${WHEN[3]}/tree")"
exec 5<"$AT/${WHEN[4]}/tree/deep/a"
check "a history that is switched off" configure history=0
check_fails "shows nothing any more" "No such file" ls "$AT/${WHEN[3]}/"
check "status says nothing of it" sh -c "! grep -q 'whole since' $MNT/.engram/status"
exec 5<&-
check "on again it begins anew" configure history=1d
check_fails "and has nothing of before" "No such file" ls "$AT/${WHEN[3]}/"
unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
must_mount "$STORE" "$MNT" -o allow_other,past=off
check_fails "past=off: there is no such folder" "No such file" ls "$AT"
unmount_store "$MNT"
t_end
