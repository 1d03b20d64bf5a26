#!/usr/bin/env bash
# holes.sh - holes cost nothing: of files of all sizes they stay holes in archives, trees and stores, and no line of JSON becomes
# longer than an import takes.
#
#   tests/ops/holes.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 truncate
cd "$WORK" || exit 1
mkdir src
for size in 200K 1M 4M 5M 8M 9M; do
    truncate -s $size src/$size
    printf x | dd of=src/$size bs=1 seek=100000 conv=notrunc status=none
    truncate -s $size src/$size.empty
done
same() { diff -r src "$1" && [ "$(du_bytes "$1")" -lt 400000 ]; } # FOLDER: the same bytes, and few on the disk
check "a tree into a store" "$CTL" import --format tree src store
check_equal "  its content is small" 1 "$(($("$CTL" stat --json store | json_get live_bytes) < 100000))"
check "an archive of it" "$CTL" export --format tar store a.tar
check "  is small" test "$(stat -c %s a.tar)" -lt 200000
check "  into a store" "$CTL" import a.tar store2
check_equal "  its content is small" 1 "$(($("$CTL" stat --json store2 | json_get live_bytes) < 100000))"
check "a tree of it" "$CTL" export --format tree store2 tree
check "  has the holes" same tree
must_mount "$WORK/store3" "$WORK/mnt"
check "the archive into a mount" "$CTL" import a.tar mnt
check "  twice" "$CTL" import a.tar mnt
check "a tree of the mount" "$CTL" export --format tree mnt tree2
check "  has the holes" same tree2
check "an archive of the mount" "$CTL" export --format tar mnt b.tar
check "  is small" test "$(stat -c %s b.tar)" -lt 200000
mkdir mnt/lines
truncate -s 300M mnt/lines/nul
python3 -c 'open("mnt/lines/text", "w").write("a line\n" * 20000); open("mnt/lines/small", "w").write("\1\2\3" * 100)'
check "lines of what is large and has no text" "$CTL" export mnt/lines out.jsonl
check "  are no longer than they need" test "$(stat -c %s out.jsonl)" -lt 430000000
check_equal "  text stays text" "small text" "$(grep -v '^{"id":"nul"' out.jsonl | python3 -c 'import json, sys; print(*sorted(m["id"] for m in map(json.loads, sys.stdin) if "content" in m))')"
check "  an import takes them" "$CTL" import out.jsonl lines.store
check_equal "  the same" 3 "$("$CTL" stat --json lines.store | json_get memories)"
python3 -c 'f = open("mnt/odd", "wb"); f.write(b"a" * 5000); f.seek(900000); f.write(b"b" * 5000); f.seek(901000 + 9000); f.write(b"c")'
check "an archive of data that ends amid blocks" "$CTL" export --format tar --snapshot mnt odd.tar
mkdir odd && tar -C odd -xf odd.tar ./odd 2>/dev/null || tar -C odd -xf odd.tar odd
check "  GNU tar reads it" cmp mnt/odd odd/odd
mkdir mnt/again && check "  an import, too" "$CTL" import odd.tar mnt/again && check "    the same" cmp mnt/odd mnt/again/odd
check "unmount" unmount_store "$WORK/mnt"

# ---- a map of where the data is has any size; it follows the headers, and is none
cat >map.py <<'P'
# map.py PIECES COMMENTS: an archive of a file of so many pieces of a byte, whose map has so many comments of 100 bytes, and of one behind it.
import sys, tarfile
n, comments, out = int(sys.argv[1]), int(sys.argv[2]), sys.stdout.buffer
def whole(data):
    return data + bytes(-len(data) % 512)
def head(name, size, kind=tarfile.REGTYPE):
    i = tarfile.TarInfo(name)
    i.type, i.size, i.mode = kind, size, 0o644
    return i.tobuf(tarfile.USTAR_FORMAT)
def pax(**pairs):
    text = b""
    for key, value in pairs.items():
        line = f" {key}={value}\n".encode()
        size = len(line) + 2
        text += str(size if len(str(size)) == 2 else size + 1).encode() + line
    return head("PaxHeader", len(text), b"x") + whole(text)
sparse = {"GNU.sparse.major": 1, "GNU.sparse.minor": 0, "GNU.sparse.name": "sparse", "GNU.sparse.realsize": n * 8192}
table = whole(b"%d\n" % n + (b"#" + b"-" * 98 + b"\n") * comments + b"".join(b"%d\n1\n" % (i * 8192) for i in range(n)))
out.write(pax(**sparse) + head("GNUSparseFile.0/sparse", len(table) + n) + table + whole(b"x" * n))
out.write(pax(mtime="5.5") + head("behind", 6) + whole(b"behind") + bytes(1024))
P
python3 map.py 100 800000 >map.tar
check "a map of 80 MB" timeout 60 "$CTL" import map.tar map.store
check_equal "  all of it, and what is behind" "sparse 819200 100, behind 6 at 5.5" "$("$CTL" export --format tree map.store map.tree >/dev/null &&
    (cd map.tree && python3 -c 'import os
f, n, at = os.open("sparse", os.O_RDONLY), 0, 0
while True:
    try:
        at = os.lseek(f, at, os.SEEK_DATA)
    except OSError:
        break
    n += os.pread(f, 1, at) == b"x"
    at = at // 8192 * 8192 + 8192
s = os.stat("behind")
print("sparse", os.stat("sparse").st_size, f"{n},", "behind", s.st_size, "at", s.st_mtime)'))"
# and what has more pieces than fit memory is told
if cc -shared -fPIC -Wall -Werror -o pieces.so "$ROOT/tests/ops/pieces_shim.c" -ldl; then
    mkdir pieces && truncate -s 1500M pieces/many && truncate -s 200M pieces/nearly && echo behind >pieces/small
    (
        ulimit -v 1000000
        env "LD_PRELOAD=$WORK/pieces.so" timeout 60 "$CTL" export --tree --format tar pieces pieces.tar >pieces.said 2>&1
    )
    check_equal "more than a million pieces: left out, and told" "1 1 1" "$? $(grep -c 'many: in more than a million pieces' pieces.said) $(grep -c ': in more' pieces.said)"
    check_equal "  but no others" "./ nearly small" "$(tar -tf pieces.tar | sort | xargs)"
else
    skip "more pieces than fit memory" "no compiler"
fi
t_end
