#!/usr/bin/env bash
# guards.sh - user.engram.if_match: a rename or a link is done only if what it replaces is in that state, has that content, or is not
# there; no tool carries a guard along, no history tells of it; of those that race one wins; and nobody waits for a digest but who
# needs it.
#
#   tests/mount/guards.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setfattr getfattr rsync tar
HERE=$(cd "$(dirname "$0")" && pwd)
cd "$WORK" || exit 1
STORE=$WORK/store MNT=$WORK/mnt
GUARD=user.engram.if_match
part() { # NAME: what guards.py checks of it
    local status
    python3 "$HERE/guards.py" "$1" "${2:-$MNT}" >"$WORK/part.out" 2>"$WORK/part.err"
    status=$?
    cat "$WORK/part.out"
    T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$WORK/part.out")))
    if [ $status -gt 1 ] || [ ! -s "$WORK/part.out" ] || grep -q Traceback "$WORK/part.err"; then
        not_ok "guards.py $1" "$(tail -n 1 "$WORK/part.err")"
    fi
}
ctl() { timeout 60 "$BUILD/tools/engramctl" "$@"; }
in_folder() { # MOUNT NAME: a part in a folder of its own
    mkdir -p "$1/$2" && part "$2" "$1/$2"
}
guard_of() { getfattr --absolute-names --only-values -n $GUARD "$1" 2>/dev/null; }
no_guard() { ! grep -q . <<<"$(guard_of "$1")"; }

must_mount "$STORE" "$MNT" -o noatime
in_folder "$MNT" kinds
in_folder "$MNT" values
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o noxattr
mkdir "$MNT/unset"
part unset "$MNT/unset"
check "unmount" unmount_store "$MNT"
must_mount "$STORE" "$MNT" -o noatime
part kept "$MNT/values"
in_folder "$MNT" race

# ---- what carries it, and tells of it: nothing

mkdir "$MNT/tools" copied
echo memory >"$MNT/tools/f"
setfattr -n user.engram.confidence -v 0.5 "$MNT/tools/f"
setfattr -n $GUARD -v state:7 "$MNT/tools/f"
check "rsync -aX" rsync -aX "$MNT/tools/" copied/rsync/
check "tar --xattrs" tar --xattrs --xattrs-include='*' -cf copied/tar.tar -C "$MNT/tools" f
check "cp -a" cp -a "$MNT/tools/f" copied/cp
check "cp -a within the mount" cp -a "$MNT/tools/f" "$MNT/tools/g"
check "export" ctl export "$MNT" copied/export.tar
check "export as lines" ctl export "$MNT" copied/export.jsonl
check "export as a folder" ctl export "$MNT" copied/export/
check_equal "no copy has the guard" "" "$(grep -rlaF if_match copied)$(getfattr -Rd -m - copied 2>/dev/null | grep if_match)"
check "the other attribute is there" grep -q confidence copied/export.jsonl
check "nor has a copy in the mount" no_guard "$MNT/tools/g"
check_equal "the file has it" state:7 "$(guard_of "$MNT/tools/f")"
# a file of elsewhere that says so
mkdir foreign && echo memory >foreign/f
python3 - foreign/f copied/foreign.tar <<'END'
import io, sys, tarfile
with tarfile.open(sys.argv[2], 'w', format=tarfile.PAX_FORMAT) as tar:
    info = tarfile.TarInfo('foreign')
    info.pax_headers = {'SCHILY.xattr.user.engram.if_match': 'none', 'SCHILY.xattr.user.x': '1'}
    info.size = 6
    tar.addfile(info, io.BytesIO(b'memory'))
END
check "import of a foreign archive" ctl import copied/foreign.tar "$MNT/tools"
check "its file has no guard" no_guard "$MNT/tools/foreign"
check_equal "but its attribute" 1 "$(getfattr --absolute-names --only-values -n user.x "$MNT/tools/foreign")"

# ---- histories

H=$MNT/.engram/history/h/f
mkdir "$MNT/h"
echo history_settle=0 >"$MNT/.engram/config"
echo history=1d >"$MNT/.engram/config"
position=$(cat "$MNT/.engram/position")
echo one >"$MNT/h/f"
before=$(find "$H/@" -type f | wc -l)
setfattr -n $GUARD -v none "$MNT/h/f"
mkdir "$MNT/.engram/snapshots/s"
setfattr -n $GUARD -v state:1 "$MNT/h/f"
check_equal "a guard makes no version" "$before" "$(find "$H/@" -type f | wc -l)"
check_equal "in a snapshot there is none" "" "$(guard_of "$MNT/.engram/snapshots/s/h/f")"
check_equal "nor in history/" "" "$(find "$H/@" -type f -exec getfattr --only-values -n $GUARD {} + 2>/dev/null)"
check_equal "nor in any list of them" "" "$(getfattr -Rd -m - "$MNT/.engram/snapshots/s" "$H/@" 2>/dev/null | grep if_match)"
check_equal "the changes do not tell of it" "" "$(grep if_match "$MNT/.engram/changes-since/$position")"
check "they tell of the file" grep -q '"h/f"' "$MNT/.engram/changes-since/$position"
rmdir "$MNT/.engram/snapshots/s"
check "unmount" unmount_store "$MNT"

if [ "$(id -u)" -eq 0 ]; then
    chmod 755 "$WORK"
    must_mount "$STORE" "$MNT" -o noatime,allow_other
    mkdir -m 777 "$MNT/stranger"
    part stranger "$MNT/stranger"
    mkdir -m 777 "$MNT/unreadable"
    part unreadable "$MNT/unreadable"
    check "unmount" unmount_store "$MNT"
else
    skip "strangers" "not root: there is nobody to be"
fi

# ---- digests of large contents, with one thread for all requests

must_mount "$STORE" "$MNT" -o noatime -s
in_folder "$MNT" large
check "unmount" unmount_store "$MNT"
real=$ENGRAMFS ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
if [ -x "$ENGRAMFS" ]; then
    FS_MUTANT_HASHED_HERE=1 must_mount "$STORE" "$MNT" -o noatime -s
    mkdir "$MNT/mutant"
    check_fails "a digest that holds up others is noticed" 'not ok - others are answered' \
        python3 "$HERE/guards.py" large "$MNT/mutant"
    check "unmount" unmount_store "$MNT"
else
    skip "a digest that holds up others is noticed" "tests/mount/fsfuzz/engramfs is not built"
fi
ENGRAMFS=$real
check "the store is sound" ctl check "$STORE"
t_end
