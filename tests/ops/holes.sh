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
check "unmount" unmount_store "$WORK/mnt"
t_end
