#!/usr/bin/env bash
# root.sh - the mode, owner, time and attributes of the uppermost folder: in archives, trees and repairs; and that an import leaves
# those of a folder that has something in it.
#
#   tests/ops/root.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 tar setfattr getfattr setpriv
if [ "$(id -u)" -ne 0 ]; then
    skip root "not root: owners are part of what is looked at"
    exit 0
fi
cd "$WORK" || exit 1
chmod 755 .
look() { echo "$(stat -c '%a %u:%g %y' "$1") $(getfattr --absolute-names --only-values -n user.owner "$1" 2>/dev/null) $(getfattr --absolute-names -d -m '^user\.' "$1" 2>/dev/null | grep -c '^user\.')"; }
WANT="2711 1001:1002 2011-02-03 04:05:06.123456789 +0000 ada 1"
export TZ=UTC
open_store() { must_mount "$WORK/$1" "$WORK/mnt" -o allow_other; }
close_store() { unmount_store "$WORK/mnt" || not_ok "unmount" "$(cat /proc/mounts)"; }
is_root() { # NAME STORE: of a store
    open_store "$2"
    check_equal "$1" "$WANT secret" "$(look mnt) $(cat mnt/diary)"
    close_store
}
make_root() { # FOLDER
    echo secret >"$1/diary"
    mkdir "$1/folder"
    setfattr -n user.owner -v ada "$1"
    chown 1001:1002 "$1"
    chmod 2711 "$1"
    touch -d '2011-02-03 04:05:06.123456789' "$1"
}
open_store store
make_root mnt
check "an archive of a mount" "$CTL" export --format tar mnt mount.tar
check "a tree of a mount" "$CTL" export --format tree mnt mount.tree
check_equal "  has its root" "$WANT" "$(look mount.tree)"
mkdir mnt/sub mnt/sub/x
chmod 750 mnt/sub
touch -d '2011-02-03 04:05:06.123456789' mnt/sub mnt
check "a folder of a mount" "$CTL" export --format tar mnt/sub sub.tar
check_equal "  has that folder's, and first of all" "drwxr-s--- ./" "$(tar tvf sub.tar | head -n 1 | awk '{print $1, $NF}')"
rmdir mnt/sub/x mnt/sub
touch -d '2011-02-03 04:05:06.123456789' mnt
close_store
check "an archive of a store" "$CTL" export --format tar store store.tar
check_equal "  is the same" "$(tar tvf mount.tar | head -n 1)" "$(tar tvf store.tar | head -n 1)"
check "the summary does not count it" grep -q " 1 directories" <("$CTL" export --format tar store again.tar 2>&1)
mkdir gnu
tar --xattrs -xpf store.tar -C gnu
check_equal "GNU tar makes it so" "$WANT" "$(look gnu)"
tar --xattrs --format=posix -cf gnu.tar -C gnu .
for archive in mount store gnu; do
    check "$archive.tar into a new store" "$CTL" import $archive.tar $archive.new
    is_root "  has the root" $archive.new
    check "  twice changes nothing" "$CTL" import $archive.tar $archive.new
    is_root "  has the root still" $archive.new
    open_store $archive.empty
    check "$archive.tar into a mount that is empty" "$CTL" import $archive.tar mnt
    check_equal "  has the root" "$WANT" "$(look mnt)"
    close_store
done
check "a tree into a new store" "$CTL" import --format tree gnu tree.new
is_root "  has the root" tree.new
check "repair --into" "$CTL" repair --into repaired store
is_root "  has the root" repaired
cp -a store placed
check "repair --in-place" "$CTL" repair --in-place placed
is_root "  has the root" placed
check "a tree of a store" "$CTL" export --format tree store store.tree
check_equal "  has its root" "$WANT" "$(look store.tree)"

# ---- what has something in it keeps its own
open_store other
echo mine >mnt/mine
setfattr -n user.owner -v bob mnt
touch -d '2001-01-01' mnt/mine mnt
for what in store.tar gnu; do
    check "$what into a mount that has something" "$CTL" import $what mnt
    check_equal "  its root stays" "755 0:0 bob 1 mine secret" "$(look mnt | cut -d ' ' -f 1,2,6-) $(cat mnt/mine mnt/diary | xargs)"
done
# an import that was broken off leaves nothing open that was closed
head -c 700000 /dev/urandom >gnu/large
chmod 700 gnu
tar --xattrs --format=posix --sort=name -cf whole.tar -C gnu .
head -c 400000 whole.tar >cut.tar
mkdir mnt/cut
check_fails "an archive that is cut off, into an empty folder" "damaged" "$CTL" import cut.tar mnt/cut
check_equal "  it is closed" "2700 1001:1002" "$(look mnt/cut | cut -d ' ' -f 1,2)"
close_store
check_fails "an archive that is cut off, into a new store" "damaged" "$CTL" import cut.tar cut.new
open_store cut.new
check_equal "  it is closed" "2700 1001:1002" "$(look mnt | cut -d ' ' -f 1,2)"
close_store

# ---- somebody, into a folder of his own
open_store other
mkdir mnt/his
chown 1003 mnt/his
chmod 500 gnu
rm gnu/large
tar --xattrs --format=posix -cf closed.tar -C gnu .
check "as somebody, into an empty folder of his" setpriv --reuid 1003 --regid 1003 --clear-groups "$CTL" import closed.tar mnt/his
check_equal "  has the mode, in the end" "500 1003 ada secret" "$(look mnt/his | sed 's/ \([0-9]*\):[^ ]* .* \(ada\) .*/ \1 \2/') $(cat mnt/his/diary)"
close_store
t_end
