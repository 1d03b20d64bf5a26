#!/usr/bin/env bash
# attributes.sh - attributes that do not fit, or cannot be read, cost themselves or their entry, and no more: in imports, exports and
# repairs, of files and of folders.
#
#   tests/ops/attributes.sh [BUILD]
#
# many_attributes.tar.xz is a store of 88d1342, which knew no limit of their number: a, many, dir (1001, 0750), dir/in, z, where
# `many` and `dir` have 2100 attributes, user.engram.id last. Its engramctl imported the archive that make.py below writes.
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setfattr getfattr tar xz
if [ "$(id -u)" -ne 0 ]; then
    skip attributes "not root: owners are part of what is looked at"
    exit 0
fi
cd "$WORK" || exit 1
cat >make.py <<'P'
import io, sys, tarfile
def attributes(n, first):
    return {"SCHILY.xattr.user.engram.id" if i == n - 1 else f"SCHILY.xattr.user.{first}{i:04}": f"{i}" for i in range(n)}
with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as t:
    for name in "a", "many", "dir", "dir/in", "z":
        i = tarfile.TarInfo(name)
        i.mtime = 10**9
        if name in ("many", "dir"):
            i.pax_headers = attributes(int(sys.argv[2]), sys.argv[3])
        if name == "dir":
            i.type, i.mode, i.uid = tarfile.DIRTYPE, 0o750, 1001
        data = name.encode() * int(sys.argv[4] if name == "many" else 1)
        i.size = len(data) if name != "dir" else 0
        t.addfile(i, io.BytesIO(data))
P
python3 make.py many.tar 2100 a 1
python3 make.py large.tar 2100 a 3000000 # in pieces
python3 make.py full-a.tar 2000 a 3000000
python3 make.py full-b.tar 2000 b 3000000
names() { (cd "$1" && find . -mindepth 1 ! -path './.engram*' | cut -c 3- | sort | xargs); }
how_many() { getfattr --absolute-names -d -m '^user\.' "$1" 2>/dev/null | grep -c '^user\.'; }
open_store() { must_mount "$WORK/$1" "$WORK/mnt" -o allow_other; }
close_store() { unmount_store "$WORK/mnt" || not_ok "unmount" "$(cat /proc/mounts)"; }

# ---- an archive
for archive in many large; do
    "$CTL" import $archive.tar $archive.store >out 2>err
    check_equal "$archive: import into a store: exit code" 1 $?
    check_equal "  the two are named" "dir/ many" "$(sed -n "s/^\(engramctl: \)\?$archive.tar: \(.*\): its attributes are too large or too many .*/\2/p" err | sort | xargs)"
    open_store $archive.store
    check_equal "  the rest is there, with what is in the folder" "a dir dir/in z" "$(names mnt)"
    check_equal "  and the folder is as it is to be" "750 1001 1000000000" "$(stat -c '%a %u %Y' mnt/dir)"
    check "  with as many of its attributes as fit" test "$(how_many mnt/dir)" -ge 2000
    mkdir mnt/into
    "$CTL" import $archive.tar mnt/into >out 2>err
    check_equal "$archive: import into a mount: exit code" 1 $?
    check_equal "  the rest is there, with what is in the folder" "a dir dir/in z" "$(names mnt/into)"
    check_equal "  and the folder is as it is to be" "750 1001 1000000000" "$(stat -c '%a %u %Y' mnt/into/dir)"
    close_store
    check "  the store is whole" "$CTL" check $archive.store
done
# all others than those that a large memory has: more than fit together
for into in store mount; do
    [ $into = store ] || { mkdir -p mnt; open_store full.store; }
    to=full.store
    [ $into = store ] || to=mnt/f
    mkdir -p mnt/f
    "$CTL" import full-a.tar $to >/dev/null 2>err
    "$CTL" import full-b.tar $to >/dev/null 2>err
    check_equal "all other attributes than before, $into: only the folder cannot have them" "dir/" \
        "$(sed -n "s/^\(engramctl: \)\?full-b.tar: \(.*\): its attributes are too .*/\2/p" err | xargs)"
    [ $into = mount ] || open_store full.store
    [ $into = store ] && seen=mnt || seen=mnt/f
    check_equal "  the file has" "2000 0" "$(how_many "$seen/many") $(getfattr -d -m '^user\.a' "$seen/many" | grep -c user)"
    close_store
done

# ---- a store that an earlier version wrote
mkdir old
tar -C old -xJf "$T_LIB/ops/many_attributes.tar.xz"
check "of an earlier version: it is clean" "$CTL" check old
"$CTL" check --repair --into new old >out 2>err
check_equal "repair: exit code" 1 $?
check_equal "  the two are named, with how many" "dir: 52 of its 2100 many: 52 of its 2100" \
    "$(sed -n 's/^\(dir\|many\): \([0-9]* of its [0-9]*\) attributes .*/\1: \2/p' err | sort | xargs)"
open_store new
check_equal "  all is there" "a dir dir/in many z" "$(names mnt)"
check_equal "  as it was" "a in many z 750 1001 1000000000" "$(cat mnt/a) $(cut -c 5- mnt/dir/in) $(cat mnt/many mnt/z | sed 's/z$/ z/') $(stat -c '%a %u %Y' mnt/dir)"
check_equal "  with as many attributes as fit" "2048 2048" "$(how_many mnt/many) $(how_many mnt/dir)"
check_equal "  and those of fields first" "2099 2099" "$(getfattr --only-values -n user.engram.id mnt/many) $(getfattr --only-values -n user.engram.id mnt/dir 2>/dev/null)"
close_store
check "  it is clean" "$CTL" check new
"$CTL" export --format tar old old.tar 2>err
check_equal "export as an archive: exit code" 0 $?
"$CTL" import old.tar restored >out 2>err
check_equal "  and import of that: exit code" 1 $?
open_store restored
check_equal "  the rest is there" "a dir dir/in z" "$(names mnt)"
close_store

# ---- attributes of a folder that cannot be read, or do not fit where it goes
mkdir -p mnt
open_store damaged
mkdir mnt/dir mnt/dir/deep
echo in >mnt/dir/in
echo deep >mnt/dir/deep/in
chown 1001 mnt/dir
chmod 750 mnt/dir
setfattr -n user.large -v "$(printf 'FINDME%.0s' $(seq 100))" mnt/dir
setfattr -n user.small -v x mnt/dir
touch -d @1000000000 mnt/dir
close_store
cp -a damaged whole
python3 - <<'P'
import glob
for path in glob.glob("damaged/*.seg"):
    data = bytearray(open(path, "rb").read())
    at = data.find(b"FINDMEFINDME")
    if at >= 0:
        data[at + 1] ^= 1
        open(path, "wb").write(data)
P
is_like() { # FOLDER: all of it but that attribute
    echo "dir dir/deep dir/deep/in dir/in 750 1001 1000000000 x $(getfattr --absolute-names -n user.large "$1/dir" 2>/dev/null | wc -l)" |
        diff - <(echo "$(names "$1") $(stat -c '%a %u %Y' "$1/dir") $(getfattr --absolute-names --only-values -n user.small "$1/dir") 0")
}
"$CTL" check --repair --into damaged.new damaged >out 2>err
check_equal "an attribute of a folder is damaged: repair" 1 $?
open_store damaged.new
check "  all but that is there" is_like mnt
close_store
"$CTL" export --format tar damaged damaged.tar 2>err
check_equal "export as an archive" 1 $?
check "  the folder is named" grep -q '^dir: ' err
mkdir untar
tar --xattrs -C untar -xpf damaged.tar
check "  all but that is there" is_like untar
"$CTL" export --format tree damaged tree 2>err
check_equal "export as a tree" 1 $?
check "  all but that is there" is_like tree
open_store damaged
"$CTL" import --format tree mnt again >out 2>err
check_equal "import of it from a mount as a tree" 1 $?
close_store
open_store again
check "  all but that is there" is_like mnt
close_store
if mkdir small && setfattr -n user.x -v "$(head -c 8000 /dev/zero | tr '\0' x)" small 2>/dev/null; then
    skip "a tree on a file system of small attributes" "this one takes large ones"
else
    open_store whole
    setfattr -n user.large -v "$(head -c 20000 /dev/zero | tr '\0' x)" mnt/dir
    touch -d @1000000000 mnt/dir
    "$CTL" export --format tree mnt smaller 2>err
    check_equal "a tree on a file system of small attributes" 1 $?
    check "  all but that is there" is_like smaller
    close_store
fi
# two thousand of half a kilobyte are more than an archive can have
open_store whole
python3 -c 'import os
for i in range(2000): os.setxattr("mnt/dir", f"user.n{i:04}", b"%" * 600)'
touch -d @1000000000 mnt/dir
"$CTL" export --format tar mnt toomany.tar 2>err
check_equal "a folder's attributes are too large for an archive" "1 1" "$? $(grep -c '^dir: its attributes are too large for a tar archive' err)"
check_equal "  all in it is there" "dir/ dir/deep/ dir/deep/in dir/in" "$(tar -tf toomany.tar 2>/dev/null | grep -v '^\./$' | sort | xargs)"
close_store
t_end
