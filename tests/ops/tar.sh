#!/usr/bin/env bash
# tar.sh - engramctl import and export of tar archives: whole round trips, other tars, one moment, what is damaged,
# and archives that mean ill.
#
#   tests/ops/tar.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 rsync tar setfattr
if ! "$CTL" export --format tar "$WORK/nothing" /dev/null 2>&1 | grep -q "not a store\|No such"; then
    skip tar "engramctl was built without libarchive"
    exit 0
fi
cd "$WORK" || exit 1
make_tree
truncate -s 30M tree/hole
echo newline >"tree/deep/a
newline and %percent"
echo utf >tree/$'n\xc3\xafce'
echo decomposed >tree/$'n\x69\xcc\x88ce'
echo bytes >tree/$'no\xfftext'
ln -s $'\xff\xfe' tree/$'l\xff'
long=$(printf 'n%.0s' $(seq 250))
mkdir -p "tree/$long/$long"
echo deep >"tree/$long/$long/$long"
setfattr -n user.bytes -v 0x00010a3dff tree/zero
setfattr -n user.a=b%3D -v x=y tree/zero
finish_tree
same_tree() {
    local out
    out=$(rsync -aHXcni --delete "$1/" "$2/" | grep -v '^\.d\.\.t\.* \./$')
    [ -z "$out" ] || { echo "$out" | tail -n 1; return 1; }
}
tree_of() { "$CTL" export --format tree "$1" "$1.tree"; } # STORE

check "import a tree" "$CTL" import tree first
check "export it as tar" "$CTL" export first a.tar
check "import that" "$CTL" import a.tar second
check "back as a tree" tree_of second
check "nothing is different" same_tree tree second.tree
check "holes stay holes" test "$(du_bytes second.tree)" -lt 16000000
check "nor large in the archive" test "$(stat -c %s a.tar)" -lt 12000000
check_equal "the summary as JSON" "10 2" "$("$CTL" import --json a.tar second | python3 -c 'import json, sys; o = json.load(sys.stdin); print(o["files"], o["hard_links"])')"
rm -rf second.tree
tree_of second 2>/dev/null
check "importing twice changes nothing" same_tree tree second.tree
"$CTL" stat --json second >stat1
check "nor in the store" sh -c "'$CTL' import a.tar second && '$CTL' import --format tree tree second && '$CTL' stat --json second >stat2"
check_equal "no byte of content was written again" "$(json_get total_bytes <stat1) $(json_get live_bytes <stat1)" \
    "$(json_get total_bytes <stat2) $(json_get live_bytes <stat2)"
check "its store is whole" "$CTL" check second
check "from standard input, to standard output, compressed" bash -c "'$CTL' export --format tar first - | gzip | '$CTL' import --format tar - third"
tree_of third 2>/dev/null
check "the same tree" same_tree tree third.tree
mkdir old-times
echo old >old-times/a
touch -h -d '1966-10-14 09:00:00.25' old-times/a
"$CTL" import old-times times >/dev/null
check "times before 1970" sh -c "'$CTL' export --format tar times | '$CTL' import --format tar - times2 && '$CTL' export --format tree times2 times2.tree && rsync -aHXcni old-times/ times2.tree/ | grep -v '^.d' | wc -l | grep -qx 0"
check_equal "the summary goes where the archive does not" "10" "$("$CTL" export --json --format tar first 2>&1 >/dev/null | json_get files)"

# other programs
mkdir gnu
check "GNU tar reads it" bash -c "tar --xattrs -xpf a.tar -C gnu 2>tar.err"
check "to the same tree" same_tree tree gnu
tar --xattrs --format=pax -cf gnu.tar -C tree .
check "what GNU tar writes is read" "$CTL" import gnu.tar fourth
tree_of fourth 2>/dev/null
check "to the same tree again" same_tree tree fourth.tree
tar -cf plain.tar --format=ustar -C tree deep/a link empty
check "an old tar" "$CTL" import plain.tar old

# names of attributes as they are, in every program; only '=' and '%' are escaped, as GNU tar has it
echo '{"id":"t","content":"1","标签":"x","my key":"y","a=b":"z","100%":"p","new\nline":"n"}' >names.jsonl
"$CTL" import names.jsonl names >/dev/null
"$CTL" export names names.tar
mkdir names.gnu
check_equal "GNU tar has nothing to say about them" "" "$(tar --xattrs --xattrs-include='user.*' -xf names.tar -C names.gnu 2>&1)"
check "it reads all" sh -c "'$CTL' import --format tree names.gnu names2 && '$CTL' export names | sed 's/\"created_at\":[^,]*,//' >n1 && '$CTL' export names2 >n2 && cmp n1 n2"
check_equal "python reads them" "True True" "$(python3 -c 'import tarfile; h = tarfile.open("names.tar").getmembers()[0].pax_headers; print("SCHILY.xattr.user.my key" in h, "SCHILY.xattr.user.\u6807\u7b7e" in h)')"
check "so do we" sh -c "'$CTL' import names.tar names3 && '$CTL' export names3 >n3 && cmp n1 n3"

# a mount, at one moment, and into a folder of it
must_mount "$WORK/mounted" "$WORK/mnt"
mkdir mnt/folder
check "import into a mount" "$CTL" import a.tar mnt/folder
check "the same in the mount" same_tree tree mnt/folder
check "export from the mount, at one moment" "$CTL" export --snapshot mnt/folder d.tar
mkdir moment
tar --xattrs -xpf d.tar -C moment 2>/dev/null
check "the same at that moment" same_tree tree moment
check "export from the mount itself" "$CTL" export mnt/folder e.tar
check "equal" cmp d.tar e.tar
check "unmount" unmount_store "$WORK/mnt"

# a hole of 20 GiB is not read, let alone twice
mkdir holes && truncate -s 20G holes/big && printf x | dd of=holes/big bs=1 seek=9000000000 conv=notrunc status=none
"$CTL" import --format tree holes holes.store >/dev/null
check "export of a large hole" "$CTL" export --format tar holes.store holes.tar
must_mount "$WORK/holes.store" "$WORK/mnt"
START=$(date +%s%N)
check "from a mount" timeout 60 "$CTL" export mnt holes.mount.tar
check "takes less than five seconds" test $((($(date +%s%N) - START) / 1000000)) -lt 5000
check "unmount" unmount_store "$WORK/mnt"
check_equal "and is the same" "$(stat -c %s holes.tar)" "$(stat -c %s holes.mount.tar)"
check "import of it" timeout 60 "$CTL" import holes.tar holes.store2
check_equal "the same" "21474836480 x" "$("$CTL" export --format tree holes.store2 holes.tree >/dev/null; stat -c %s holes.tree/big) $(dd if=holes.tree/big bs=1 skip=9000000000 count=1 status=none)"
check "GNU tar reads it" sh -c "mkdir holes.gnu && tar -xf holes.tar -C holes.gnu && cmp -i 8999000000 -n 2000000 holes.gnu/big holes.tree/big"
rm -rf holes holes.*

# what cannot be done
check_fails "a full disk is noticed" "No space left" bash -c "'$CTL' export --format tar first >/dev/full"
check_fails "a closed pipe is noticed" "Broken pipe" bash -c "set -o pipefail; '$CTL' export --format tar first | head -c 10 >/dev/null"
check_fails "no tar at all" "not a tar archive" "$CTL" import --format tar tree/deep/er/big sixth
check_fails "an empty file" "not a tar archive" "$CTL" import --format tar /dev/null sixth
head -c 5000000 a.tar >cut.tar
check_fails "an archive that is cut off" "damaged" "$CTL" import cut.tar seventh
check "half a file does not look like a whole one" sh -c "tar tf cut.tar 2>/dev/null | tail -n 1 >last; '$CTL' export --format tree seventh seventh.tree; test ! -e \"seventh.tree/\$(cat last)\""
check "what was whole is stored" "$CTL" check seventh

# a damaged memory is left out, under each of its names; the archive is whole
mkdir small
for i in 1 2 3; do echo "memory number $i, which is silver" >small/$i; done
ln small/2 small/also-2
"$CTL" import small damaged >/dev/null
python3 - <<'P'
import glob
for path in glob.glob("damaged/*.seg"):
    data = bytearray(open(path, "rb").read())
    at = data.find(b"number 2")
    if at >= 0:
        data[at] ^= 1
        open(path, "wb").write(data)
P
"$CTL" export damaged damaged.tar 2>damaged.err
check_equal "damage: exit code" 1 $?
check_equal "damage: both names are told" 2 "$(grep -c ': Input/output error' damaged.err)"
check_equal "damage: the others are there" "1 3" "$(tar tf damaged.tar | sort | xargs)"
"$CTL" import damaged.tar rest >/dev/null
check_equal "damage: they are read back" "memory number 3, which is silver" "$("$CTL" export rest | python3 -c 'import json, sys; print([json.loads(l)["content"] for l in sys.stdin if "number 3" in l][0].strip())')"

# ---- archives that mean ill: nothing gets out of the target, whatever it is
python3 - <<'P'
import io, tarfile
t = tarfile.open("evil.tar", "w", format=tarfile.PAX_FORMAT)
def file(name, data=b"evil", **more):
    i = tarfile.TarInfo(name)
    i.size = len(data)
    for k, v in more.items():
        setattr(i, k, v)
    t.addfile(i, io.BytesIO(data))
def other(name, type, link=""):
    i = tarfile.TarInfo(name)
    i.type, i.linkname = type, link
    t.addfile(i)
for name in "../up", "a/../../up", "..", ".engram/compact", "./.engram", "/../up":
    file(name)
other("out", tarfile.SYMTYPE, "/")
file("out/tmp/engramfs-pwned")
other("up", tarfile.SYMTYPE, "..")
file("up/pwned")
other("passwd", tarfile.LNKTYPE, "/etc/passwd")
other("up-link", tarfile.LNKTYPE, "../x")
other("through", tarfile.LNKTYPE, "out/etc/passwd")
file("taken")
other("taken", tarfile.DIRTYPE)
file("d/x")
other("d", tarfile.SYMTYPE, "/")
file("d/y")
file("n" * 256)
file("escape\033[2J\nengramctl: fake/../..")
file("fields", pax_headers={"SCHILY.xattr.user.engram.version": "9", "SCHILY.xattr.security.capability": "x",
                            "SCHILY.xattr.trusted.x": "1", "SCHILY.xattr.user.ok": "1"})
file("/absolute")
t.close()
data = bytearray(open("evil.tar", "rb").read()[:512])
def header(name, size, type=b"0"):
    h = bytearray(512)
    h[0:len(name)] = name
    h[100:108], h[108:116], h[116:124] = b"0000644\0", b"0000000\0", b"0000000\0"
    h[124:136] = b"\x80" + size.to_bytes(11, "big")
    h[136:148], h[148:156], h[156:157], h[257:265] = b"00000000000\0", b" " * 8, type, b"ustar\x0000"
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)
open("claims.tar", "wb").write(header(b"huge", 1 << 62) + b"x" * 1024)
open("claims2.tar", "wb").write(header(b"large", 1 << 40) + b"x" * 1024)
open("header.tar", "wb").write(header(b"pax", 1 << 36, b"x") + b"9" * (1 << 20))
P
echo outside >outside
for target in evil-store mnt/evil; do
    if [ $target = mnt/evil ]; then
        must_mount "$WORK/mounted" "$WORK/mnt"
        mkdir mnt/evil
    fi
    "$CTL" import evil.tar $target >evil.out 2>evil.err
    check_equal "$target: exit code" 1 $?
    check "$target: no control character on the terminal" sh -c "! grep -q \"\$(printf '\\033')\" evil.err"
    check_equal "$target: one line for each" "$(grep -c '^evil.tar: ' evil.err)" "$(wc -l <evil.err)"
    if [ $target = mnt/evil ]; then
        rsync -aX mnt/evil/ evil.tree/
        check "$target: unmount" unmount_store "$WORK/mnt"
    else
        "$CTL" export --format tree $target evil.tree 2>/dev/null
    fi
    # in a folder of a mount that name is not reserved
    own=
    [ $target != mnt/evil ] || own=".engram .engram/compact "
    check_equal "$target: what is in it" "${own}absolute d d/x d/y fields out taken up" "$(cd evil.tree && find . -mindepth 1 | cut -c 3- | sort | grep -v '^a$' | xargs)"
    check_equal "$target: attributes that may be set" "user.ok" "$(getfattr --absolute-names -d -m - evil.tree/fields | sed -n 's/=.*//p')"
    rm -rf evil.tree
done
check_equal "nothing got out" "" "$(find / -maxdepth 2 -name 'engramfs-pwned' 2>/dev/null; find . -name pwned; find .. -maxdepth 1 -name up)"
# ---- what libarchive passes over without a word: NUL bytes in names of pax headers, damaged ones, global ones
cat >pax.py <<'P'
import gzip
def header(name, size, kind, link=b""):
    h = bytearray(512)
    for at, what in ((0, name), (100, b"0000644"), (108, b"0000000"), (116, b"0000000"), (124, b"%011o" % size), (136, b"%011o" % 10**9),
                     (148, b" " * 8), (156, kind), (157, link), (257, b"ustar\x0000")):
        h[at:at + len(what)] = what
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h)
def entry(name, data=b"x", kind=b"0", link=b""):
    return header(name, len(data), kind, link) + data + bytes(-len(data) % 512)
def record(key, value):
    n = len(key) + len(value) + 3
    while len(r := b"%d %s=%s\n" % (n, key, value)) != n:
        n = len(r)
    return r
def pax(*records, kind=b"x"):
    return entry(b"pax", b"".join(record(*r) for r in records), kind)
def whole(*entries):
    return b"".join(entries) + entry(b"next") + bytes(1024)
nul = pax((b"path", b"a\0b")) + entry(b"orig")
archives = {
    "path": whole(nul),
    "linkpath": whole(pax((b"linkpath", b"t\0b")), entry(b"l", b"", b"2", b"o")),
    "hardlink": whole(entry(b"f"), pax((b"linkpath", b"f\0b")), entry(b"l", b"", b"1", b"f")),
    "xattr": whole(pax((b"SCHILY.xattr.user.a\0b", b"v")), entry(b"f")),
    "length": whole(entry(b"pax", b"999 path=z\n", b"x"), entry(b"f")),
    "two": whole(pax((b"mtime", b"5")), entry(b"@", b"long\0", b"L"), nul),
    "later": whole(entry(b"large", bytes(range(256)) * 20000), pax((b"mtime", b"5")), entry(b"f"), nul),
    "global": whole(pax((b"uid", b"77"), kind=b"g"), entry(b"f")),
    "comment": whole(pax((b"comment", b"0123"), kind=b"g"), entry(b"f")),
    # what GNU tar takes as well
    "inner": whole(entry(b"f", whole(nul))),
    "twice": whole(pax((b"path", b"first"), (b"path", b"second")), entry(b"f")),
    "larger": whole(pax((b"size", b"3")), header(b"f", 0, b"0") + b"abc" + bytes(509)),
    "smaller": whole(pax((b"size", b"1")), entry(b"f", b"abc")),
    "binary": whole(pax((b"hdrcharset", b"BINARY"), (b"path", b"a\xff")), entry(b"f")),
    "value": whole(pax((b"SCHILY.xattr.user.a", b"v\0w")), entry(b"f")),
    "record": whole(pax((b"comment", bytes(2 << 20))), entry(b"f")),
}
for name, data in archives.items():
    open(f"pax-{name}.tar", "wb").write(data)
    open(f"pax-{name}.tar.gz", "wb").write(gzip.compress(data, 1))
P
python3 pax.py
pax() { # NAME STATUS MESSAGE NAMES...: what an import ends with, says, and leaves there
    local name=$1 status=$2 message=$3 end result
    shift 3
    for end in tar tar.gz; do
        rm -rf pax-store pax-tree
        timeout 60 "$CTL" import "pax-$name.$end" pax-store >/dev/null 2>pax.err
        result=$?
        check_equal "pax: $name.$end" "$status $message" "$result $(sed -n "s/^\(engramctl: \)\?pax-$name.$end: //p" pax.err | head -n 1)"
        "$CTL" export --format tree pax-store pax-tree >/dev/null 2>&1
        check_equal "  and what is there" "$(printf '%s\n' "$@")" "$(cd pax-tree && stat -c '%n %s' -- * 2>/dev/null)"
    done
}
pax path 1 "a: a NUL byte in its path, or in that of its link" "next 1"
pax linkpath 1 "l: a NUL byte in its path, or in that of its link" "next 1"
pax hardlink 1 "l: a NUL byte in its path, or in that of its link" "f 1" "next 1"
pax xattr 1 "f: a NUL byte in a key of its pax header" "next 1"
pax length 1 "f: a damaged pax header" "next 1"
pax two 1 "long: a NUL byte in its path, or in that of its link" "next 1"
pax later 1 "a: a NUL byte in its path, or in that of its link" "f 1" "large 5120000" "next 1"
pax global 1 "uid: a global header sets this for all that follows, which is not done" "f 1" "next 1"
pax comment 0 "" "f 1" "next 1"
pax inner 0 "" "f 4096" "next 1"
pax twice 0 "" "next 1" "second 1"
pax larger 0 "" "f 3" "next 1"
pax smaller 0 "" "f 1" "next 1"
pax binary 0 "" $'a\xff 1' "next 1"
pax value 0 "" "f 1" "next 1"
check_equal "  and its value is whole" 0sdgB3 "$(getfattr --absolute-names -e base64 -n user.a pax-tree/f | sed -n 's/^user.a=//p')"
pax record 2 "not a tar archive, or damaged: Special header too large" ""
# The address sanitizer takes more than any limit; there the system's is the only one.
LIMIT=4000000
(ulimit -v $LIMIT && "$CTL" version >/dev/null 2>&1) || LIMIT=unlimited
for claim in claims claims2 header; do
    (
        ulimit -v $LIMIT
        timeout 60 "$CTL" import $claim.tar $claim >$claim.out 2>$claim.err
    )
    check_equal "$claim: refused, and no memory taken for it" 2 $?
    check_equal "$claim: nothing is stored" 0 "$("$CTL" stat --json $claim | json_get memories)"
done
chmod 755 tree/closed ./*.tree/closed gnu/closed moment/closed
t_end
