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
    out=$(rsync -aHXcni --delete "$1/" "$2/")
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
# Times before 1970: of what we write by what GNU tar and Python make of it, and of what they write by what we do.
cat >times.py <<'P'
import os, sys, tarfile
TIMES = [-1_500_000_000, -1_250_000_000, -1_000_000_000, -999_999_999, -250_000_000, -1, 0, 250_000_000, 1_250_000_000,
         -86400_750_000_000, -101_638_799_750_000_000, 2**31 * 10**9 + 500_000_000]
def lines(what):
    print("\n".join(f"{name} {ns}" for name, ns in sorted(what)))
def of_tree(top):
    return [(os.path.relpath(os.path.join(d, n), top), os.lstat(os.path.join(d, n)).st_mtime_ns) for d, dirs, files in os.walk(top) for n in dirs + files]
def ns_of(text): # without a float between
    whole, _, part = text.lstrip("-").partition(".")
    return (-1 if text.startswith("-") else 1) * (int(whole) * 10**9 + int(part.ljust(9, "0")[:9]))
if sys.argv[1] == "make":
    for i, ns in enumerate(TIMES):
        at = f"{sys.argv[2]}/{i}"
        os.makedirs(at + ".d")
        open(at + ".f", "w").write("x")
        os.link(at + ".f", at + ".h")
        os.symlink("x", at + ".l")
        open(at + ".d/in", "w").write("x")
        for name in ".f", ".l", ".d/in", ".d":
            os.utime(at + name, ns=(ns, ns), follow_symlinks=False)
elif sys.argv[1] == "tree":
    lines(of_tree(sys.argv[2]))
elif sys.argv[1] == "tar": # what it says, which Python's floats do not hold
    with tarfile.open(sys.argv[2]) as t:
        lines((os.path.relpath(m.name), ns_of(m.pax_headers.get("mtime", str(int(m.mtime))))) for m in t if os.path.relpath(m.name) != ".")
elif sys.argv[1] == "write": # what it makes of those times, which it writes
    with tarfile.open(sys.argv[2], "w", format=tarfile.PAX_FORMAT) as t:
        t.add(sys.argv[3], ".")
        lines((os.path.relpath(m.name), round(m.mtime * 10**9)) for m in t.getmembers() if os.path.relpath(m.name) != ".")
P
mkdir old-times
python3 times.py make old-times
python3 times.py tree old-times >times.true
tar_times() { "$CTL" import "$1" "$1.store" >/dev/null && "$CTL" export --format tree "$1.store" "$1.tree" >/dev/null 2>&1 && python3 times.py tree "$1.tree"; } # ARCHIVE
"$CTL" import old-times old-times.store >/dev/null
"$CTL" export old-times.store old.tar >/dev/null 2>&1
mkdir old.gnu
tar --warning=no-timestamp -xpf old.tar -C old.gnu
tar --format=posix -cf gnu-old.tar -C old-times .
python3 times.py write python-old.tar old-times >times.python
check_equal "times before 1970: the archive says them" "$(cat times.true)" "$(python3 times.py tar old.tar)"
check_equal "  GNU tar extracts them" "$(cat times.true)" "$(python3 times.py tree old.gnu)"
check_equal "  so do we" "$(cat times.true)" "$(tar_times old.tar)"
check_equal "  and what GNU tar writes" "$(cat times.true)" "$(tar_times gnu-old.tar)"
exact() { grep '[^0]0\{6\}$'; } # a float holds these
check_equal "  and Python" "$(exact <times.true)" "$(tar_times python-old.tar | exact)"
check_equal "  which are there" "$(exact <times.true | wc -l)" "$(exact <times.python | wc -l)"
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
check_equal "python reads them" "True True" "$(python3 -c 'import tarfile; h = tarfile.open("names.tar").getmember("t").pax_headers; print("SCHILY.xattr.user.my key" in h, "SCHILY.xattr.user.\u6807\u7b7e" in h)')"
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
check_equal "damage: the others are there" "./ 1 3" "$(tar tf damaged.tar | sort | xargs)"
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
    # as root: a trusted.x, but what is no capability is none to the system
    check_equal "$target: attributes that may be set" "$([ "$(id -u)" -ne 0 ] || echo trusted.x)user.ok" "$(getfattr --absolute-names -d -m - evil.tree/fields | sed -n 's/=.*//p' | xargs | tr -d ' ')"
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
def patched(e, *changes):
    h = bytearray(e[:512])
    for at, what in changes + ((148, b" " * 8),):
        h[at:at + len(what)] = what
    h[148:156] = b"%06o\0 " % sum(h)
    return bytes(h) + e[512:]
def binary(n, size):
    return n.to_bytes(size, "big", signed=True) if n < 0 else b"\x80" + n.to_bytes(size - 1, "big")
def device(major, minor):
    return patched(header(b"f", 0, b"3"), (329, binary(major, 8)), (337, binary(minor, 8)))
suid = patched(entry(b"f"), (100, b"0004755\0"), (108, b"0000005\0"), (116, b"0000006\0"))
TIMES = (b"1099511627776", b"-1099511627776", b"-1099511627776.5", b"9" * 40, b"-" + b"9" * 40, b"9223372036.854775807",
         b"-9223372036.854775808", b"-0.0000000001", b"5e-05", b"3")
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
    "pax-time": whole(pax((b"mtime", b"abc")), entry(b"f")),
    "header-time": whole(entry(b"first"), patched(entry(b"f"), (136, b"12x45678901"))),
    # no owner, mode or device that there can be
    "uid": whole(pax((b"uid", b"4294967296")), suid),
    "no-uid": whole(pax((b"uid", b"4294967295")), suid),
    "text-uid": whole(pax((b"uid", b"abc")), suid),
    "minus-uid": whole(pax((b"uid", b"-1")), suid),
    "huge-uid": whole(pax((b"uid", b"9" * 30)), suid),
    "binary-uid": whole(patched(suid, (108, binary(1 << 32, 8)))),
    "binary-minus-uid": whole(patched(suid, (108, binary(-5, 8)))),
    "octal-uid": whole(entry(b"first"), patched(suid, (108, b"00000zz\0"))),
    "gid": whole(pax((b"gid", b"%d" % ((1 << 32) + 5))), suid),
    "binary-gid": whole(patched(suid, (116, binary(1 << 32, 8)))),
    "octal-gid": whole(entry(b"first"), patched(suid, (116, b"-000005\0"))),
    "mode": whole(patched(suid, (100, binary((1 << 32) + 0o4755, 8)))),
    "octal-mode": whole(entry(b"first"), patched(suid, (100, b"rwsr-xr-"))),
    "volume-uid": whole(entry(b"label", b"", b"V"), patched(suid, (108, binary(1 << 32, 8)))),
    "major": whole(device(4096, 0)),
    "minor": whole(device(1, 1 << 20)),
    "pax-major": whole(pax((b"SCHILY.devmajor", b"4294967297")), device(1, 3)),
    "pax-minor": whole(pax((b"SCHILY.devminor", b"x")), device(1, 3)),
    "text-size": whole(pax((b"size", b"abc")), header(b"f", 0, b"0")),
    "minus-size": whole(pax((b"GNU.sparse.realsize", b"-5")), header(b"f", 0, b"0")),
    # what is one
    "last-uid": whole(pax((b"uid", b"4294967294"), (b"gid", b"4294967294")), suid),
    "empty-uid": whole(pax((b"uid", b"77"), (b"uid", b""), (b"mtime", b"")), suid),
    "label": whole(entry(b"label", b"", b"V"), patched(suid, (108, binary(1 << 31, 8)))),
    "whole-mode": whole(patched(suid, (100, b"0104755\0"))),
    "spaces": whole(patched(suid, (100, b"  4755 \0"), (108, b"     5 \0"))),
    "device": whole(device(4095, (1 << 20) - 1)),
    "times": whole(*[e for i, t in enumerate(TIMES) for e in (pax((b"mtime", t)), entry(b"p%d" % i))],
                   *[patched(entry(b"b%d" % i), (136, binary(t, 12))) for i, t in enumerate((1 << 40, -1 << 40, 1 << 80, -1 << 80, -2))]),
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
ENDS="tar tar.gz"
pax() { # NAME STATUS MESSAGE NAMES...: what an import ends with, says, and leaves there
    local name=$1 status=$2 message=$3 end result
    shift 3
    for end in $ENDS; do
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
said() { # of the store of pax(): mode, owner, group, devices and time of each
    "$CTL" export --format tar pax-store pax-said.tar >/dev/null 2>&1
    python3 -c 'import tarfile
for m in tarfile.open("pax-said.tar"):
    if m.name not in ("next", ".", "./"):
        print(m.name.removeprefix("./"), "%o" % m.mode, f"{m.uid}:{m.gid}", *((m.devmajor, m.devminor) if m.ischr() else ()), m.pax_headers.get("mtime", int(m.mtime)))'
}
ENDS=tar
pax pax-time 1 "f: its time is none" "next 1"
pax header-time 1 "f: its time is none" "first 1" "next 1"
for name in uid no-uid text-uid minus-uid huge-uid binary-uid binary-minus-uid volume-uid; do
    pax $name 1 "f: its owner is no number that an owner can have" "next 1"
done
pax octal-uid 1 "f: its owner is no number that an owner can have" "first 1" "next 1"
for name in gid binary-gid; do pax $name 1 "f: its group is no number that a group can have" "next 1"; done
pax octal-gid 1 "f: its group is no number that a group can have" "first 1" "next 1"
pax mode 1 "f: its mode is none" "next 1"
pax octal-mode 1 "f: its mode is none" "first 1" "next 1"
for name in major minor pax-major pax-minor; do pax $name 1 "f: a device that there cannot be" "next 1"; done
for name in text-size minus-size; do pax $name 1 "f: its size is none" "next 1"; done
pax last-uid 0 "" "f 1" "next 1"
check_equal "  and its owner" "f 4755 4294967294:4294967294 1000000000" "$(said)"
pax empty-uid 0 "" "f 1" "next 1"
check_equal "  an empty value is none: the header's" "f 4755 5:6 1000000000" "$(said)"
pax label 0 "" "f 1" "next 1"
check_equal "  of the entry, not of the label" "f 4755 2147483648:6 1000000000" "$(said)"
for name in whole-mode spaces; do
    pax $name 0 "" "f 1" "next 1"
    check_equal "  and its mode and owner" "f 4755 5:6 1000000000" "$(said)"
done
rm -rf pax-store
check "pax: device" "$CTL" import pax-device.tar pax-store
check_equal "  and which" "f 644 0:0 4095 1048575 1000000000" "$(said)"
# what cannot be kept is the nearest that can, as on a mount, in each format
LAST=9223372036.854775807
rm -rf pax-store
check "pax: times out of range" "$CTL" import pax-times.tar pax-store
check_equal "  the nearest that is kept" "b0 $LAST b1 -$LAST b2 $LAST b3 -$LAST b4 -2 p0 $LAST p1 -$LAST p2 -$LAST p3 $LAST p4 -$LAST p5 $LAST p6 -$LAST p7 -0.000000001 p8 0.00005 p9 3" \
    "$(said | cut -d ' ' -f 1,4 | sort | xargs)"
rm -rf pax-store
cat >far.jsonl <<'E'
{"id":"a","content":"1","created_at":"1066-10-14T09:00:00Z"}
{"id":"b","content":"1","created_at":"9999-12-31T23:59:59Z"}
{"id":"c","content":"1","created_at":-10000000000.5}
{"id":"d","content":"1","created_at":90000000000}
{"id":"e","content":"1","created_at":"-10000000000500"}
E
check "JSON lines: times out of range" "$CTL" import --lenient far.jsonl pax-store
check_equal "  the nearest that is kept" "a -$LAST b $LAST c -$LAST d $LAST e -$LAST" "$(said | cut -d ' ' -f 1,4 | sort | xargs)"
check_equal "  and the field has them" "1066-10-14T09:00:00Z 9999-12-31T23:59:59Z 1653-02-10T06:13:19.500000000Z 4821-12-26T16:00:00Z 1653-02-10T06:13:19.500000000Z" \
    "$("$CTL" export pax-store | python3 -c 'import json, sys; print(*(v["created_at"] for v in sorted((json.loads(l) for l in sys.stdin), key=lambda v: v["id"])))')"
must_mount "$WORK/far" "$WORK/mnt"
touch mnt/far mnt/early
touch -d '2300-01-01' mnt/far
touch -d '1600-01-01' mnt/early
check "export of a mount that has such" "$CTL" export --format tar mnt far.tar
check_equal "  the nearest that is kept" "-$LAST $LAST" "$(python3 -c 'import tarfile; print(*(m.pax_headers["mtime"] for m in sorted(tarfile.open("far.tar"), key=lambda m: m.name) if m.isreg()))')"
check "unmount" unmount_store "$WORK/mnt"
check "the same of the store" "$CTL" export --format tar far far2.tar
check_equal "  equal" "$(python3 times.py tar far.tar)" "$(python3 times.py tar far2.tar)"
check "as a tree" "$CTL" export --format tree far far.tree
check_equal "  and not now" "1 1" "$(($(stat -c %Y far.tree/early) < -2000000000)) $(($(stat -c %Y far.tree/far) > 4000000000))"
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
