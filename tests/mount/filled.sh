#!/usr/bin/env bash
# filled.sh - one writer fills a disk with memories, by small writes, which compactions for room move meanwhile. Nearly all of the
# disk is used then, and all can be removed: what compactions write leaves room for the checkpoint without which the segments that
# they have emptied stay.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
MNT=$WORK/mnt

cat >"$WORK/fill.py" <<'P'
"""fill.py MOUNT: memories of 1 MiB until there is no room; tells how many."""
import errno, os, sys
n = 0
try:
    while n < 1000:
        fd = os.open("%s/f%d" % (sys.argv[1], n), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        n += 1
        for i in range(128):
            assert os.write(fd, os.urandom(8192)) == 8192
        os.close(fd)
except OSError as e:
    assert e.errno == errno.ENOSPC, e
print(n)
P

fill_and_empty() { # TIME
    local n left
    if ! mount -t tmpfs -o size=100m none "$WORK/disk" 2>"$WORK/why"; then
        skip "$1" "no tmpfs: $(head -c 200 "$WORK/why")"
        return
    fi
    must_mount "$WORK/disk/store" "$MNT" -o segment_size=4M
    n=$(timeout 120 python3 "$WORK/fill.py" "$MNT")
    if [ "${n:-0}" -ge 75 ]; then ok "$1: $n MiB of 100, then ENOSPC"; else not_ok "$1: filling" "$n MiB"; fi
    check "$1: the first can be removed" rm "$MNT/f1"
    check "$1: and so can all" bash -c 'rm "$1"/f*' _ "$MNT"
    left=$(ls "$MNT")
    check_equal "$1: none is left" "" "$left"
    check "$1: unmount" unmount_store "$MNT"
    check "$1: the disk is given up" umount "$WORK/disk"
}
mkdir "$WORK/disk"
for time in first second third fourth; do fill_and_empty "$time"; done
t_end
