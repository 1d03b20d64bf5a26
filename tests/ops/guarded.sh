#!/usr/bin/env bash
# guarded.sh - attributes that the system guards, trusted.* and security.*: repairs, archives and trees keep them, of files, large
# files and folders, with owners that would take a capability away; and where they cannot be kept that is told, and all else is kept.
#
#   tests/ops/guarded.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs setfattr getfattr setpriv tar
touch "$WORK/probe"
if [ "$(id -u)" -ne 0 ] || ! setfattr -n trusted.probe -v x "$WORK/probe" 2>/dev/null; then
    skip guarded "not root, or no such attributes in $WORK"
    exit 0
fi
cd "$WORK" || exit 1
chmod 755 .
CAPABILITY=0x0100000200200000000000000000000000000000
prints() { (cd "$1" && find . -mindepth 1 ! -path './.engram*' | sort | xargs -d '\n' getfattr -h -d -m '^(user|trusted|security)\.' -e hex 2>/dev/null); }
of_store() { # STORE: what a mount of it shows
    must_mount "$WORK/$1" "$WORK/mnt" -o allow_other
    prints mnt
    unmount_store "$WORK/mnt" >&2
}
must_mount "$WORK/first" "$WORK/mnt"
mkdir mnt/dir mnt/dir/in
echo small >mnt/dir/small
echo plain >mnt/plain
head -c 9000000 /dev/urandom >mnt/dir/large
chown 1001:1001 mnt/dir/small mnt/dir/large mnt/dir
for f in dir dir/small dir/large dir/in; do
    setfattr -n user.u -v "of $f" mnt/$f
    setfattr -n trusted.overlay.opaque -v y mnt/$f
done
for f in small large; do setfattr -n security.capability -v $CAPABILITY mnt/dir/$f; done
prints mnt >true
check "unmount" unmount_store "$WORK/mnt"
check_equal "what is to be kept" "4 4 2" "$(grep -c user.u true) $(grep -c trusted true) $(grep -c capability true)"

"$CTL" check --repair --into repaired first >/dev/null 2>&1
check "a repair keeps all" diff true <(of_store repaired)
check "export as an archive" "$CTL" export --format tar first first.tar
check "  which a store keeps" "$CTL" import first.tar from-tar
check "    all" diff true <(of_store from-tar)
check "  and one that has them already" "$CTL" import first.tar from-tar
check "    all" diff true <(of_store from-tar)
check "export as a tree" "$CTL" export --format tree first tree
check "  has all" diff true <(prints tree)
check "  which a store keeps" "$CTL" import --format tree tree from-tree
check "    all" diff true <(of_store from-tree)
mkdir gnu
tar --xattrs --xattrs-include='*' -xpf first.tar -C gnu
check "GNU tar has all of the archive" diff true <(prints gnu)
must_mount "$WORK/second" "$WORK/mnt" -o allow_other
check "import of the archive into a mount" "$CTL" import first.tar mnt
check "  which has all" diff true <(prints mnt)
check "  again" "$CTL" import first.tar mnt
check "  which has all still" diff true <(prints mnt)
setfattr -n trusted.overlay.opaque -v other mnt/dir/small
chown 0:0 mnt/dir/large mnt/dir/small # which takes the capabilities away
check "  and once more, where some were lost" "$CTL" import --format tree tree mnt
check "  which has all again" diff true <(prints mnt)
check "export of the mount" "$CTL" export --format tar mnt second.tar
check "  the same at one moment" "$CTL" export --snapshot --format tar mnt third.tar
for archive in second third; do
    check "  $archive: into a store" "$CTL" import $archive.tar $archive.store
done

# who is not root cannot set them
mkdir mnt/his
chown 1001 mnt/his
as_him() { setpriv --reuid 1001 --regid 1001 --clear-groups "$@"; }
chmod 644 first.tar
as_him "$CTL" import first.tar mnt/his >out 2>err
check_equal "as somebody, into a mount: exit code" 1 $?
check_equal "  what could not be set is told, for each" "6" "$(grep -c "the attribute \(trusted.overlay.opaque\|security.capability\) cannot be kept" err)"
check_equal "  all else is there" "4 0 0 5" "$(prints mnt/his >his; grep -c user.u his) $(grep -c trusted his) $(grep -c capability his) $(find mnt/his -mindepth 1 | wc -l)"
check "unmount" unmount_store "$WORK/mnt"
check "what was exported from a mount is the same" diff true <(of_store second.store)
check "  and at one moment" diff true <(of_store third.store)
"$CTL" export first first.jsonl 2>err
check_equal "JSON lines have none, which is told" "4 attributes left out: --format tar or tree exports them" "$(sed -n 's/.*: \([0-9]* \)[a-z.* ]*\(attributes left out.*\)/\1\2/p' err)"

# of links and pipes
must_mount "$WORK/other" "$WORK/mnt"
ln -s nowhere mnt/link
mkfifo mnt/pipe
setfattr -h -n trusted.overlay.origin -v l mnt/link
setfattr -n trusted.overlay.origin -v p mnt/pipe
prints mnt >true
check "unmount" unmount_store "$WORK/mnt"
"$CTL" check --repair --into other2 other >/dev/null 2>&1
check "a repair keeps those of links and pipes" diff true <(of_store other2)
"$CTL" export --format tar other other.tar >/dev/null 2>err
check_equal "an archive does not: exit code" 1 $?
check_equal "  that is told" "2" "$(grep -c '^\(engramctl: \)\?\(link\|pipe\): the attributes of a symlink or special file are not kept' err)"
check_equal "  they are there" "link pipe" "$(tar tf other.tar | sed 's|^\./||' | grep . | sort | xargs)"
t_end
