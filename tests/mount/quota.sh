#!/usr/bin/env bash
# A quota of the store's file system, of which statfs says nothing, is a full disk: over it reading, removing and compacting work,
# what was removed is room again, and nobody sees EDQUOT. The file system commits when it is asked to. life.sh has the limit of the size of a file.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
PATH=$PATH:/usr/sbin:/sbin
MNT=$WORK/mnt

cat >"$WORK/files.py" <<'P'
"""files.py fill MOUNT PREFIX MAX: new memories until there is no room, MAX at most; tells how many. thin MOUNT: removes two of
three. verify MOUNT: each is whole."""
import errno, os, random, sys
what, mount = sys.argv[1], sys.argv[2]
def data(name):
    return random.Random(name).randbytes(20000)
if what == "fill":
    n = 0
    while n < int(sys.argv[4]):
        name = "%s%d" % (sys.argv[3], n)
        path = os.path.join(mount, name)
        try:
            f = os.open(path, os.O_CREAT | os.O_WRONLY)
        except OSError as e:
            assert e.errno == errno.ENOSPC, e
            break
        try:
            assert os.write(f, data(name)) == 20000
            n += 1
        except OSError as e:
            assert e.errno == errno.ENOSPC, e
            os.close(f)
            os.unlink(path)
            break
        os.close(f)
    print(n)
elif what == "thin":
    for i, name in enumerate(sorted(os.listdir(mount))):
        if i % 3:
            os.unlink(os.path.join(mount, name))
else:
    for name in os.listdir(mount):
        f = os.open(os.path.join(mount, name), os.O_RDONLY)
        os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.read(f, 30000) == data(name), name
        os.close(f)
P
files() { timeout 300 python3 "$WORK/files.py" "$@"; }
# what was removed is free for others only when the file system commits, so more than once
fill_again() { # PREFIX
    local n=0 more i
    for i in 1 2 3; do
        more=$(files fill "$MNT" "$1$i-" 100000) || return 1
        n=$((n + more))
        sync -f "$WORK/disk"
    done
    echo $n
}
over_the_limit() { # NAME LEAST
    local n again
    n=$(files fill "$MNT" a 100000)
    if [ "${n:-0}" -ge "$2" ]; then ok "$1: $n memories, then ENOSPC"; else not_ok "$1: filling" "$n memories"; fi
    check "$1: all can be read" files verify "$MNT"
    check "$1: removing works" files thin "$MNT"
    check "$1: the rest can be read" files verify "$MNT"
    again=$(fill_again b)
    if [ "${again:-0}" -ge $((n / 3)) ]; then
        ok "$1: what was removed is room, and nobody compacted by hand ($again memories)"
    else
        not_ok "$1: what was removed is room" "$again memories"
    fi
    check "$1: removing works again" files thin "$MNT"
    check "$1: compacting works" timeout 120 bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"
    check "$1: all can be read" files verify "$MNT"
    check "$1: syncing works" sync -f "$MNT"
    check "$1: unmount" unmount_store "$MNT"
}

# ---- a quota: of btrfs, whose are for root as well

quota() {
    truncate -s 512M "$WORK/disk.img"
    mkdir -p "$WORK/disk"
    if [ "$(id -u)" -ne 0 ]; then
        skip "quota" "not root, no loop device"
    elif ! command -v mkfs.btrfs >/dev/null; then
        skip "quota" "no mkfs.btrfs"
    elif ! { mkfs.btrfs -q -m single "$WORK/disk.img" >/dev/null && mount -o loop,commit=300 "$WORK/disk.img" "$WORK/disk" &&
        btrfs quota enable "$WORK/disk" && btrfs subvolume create "$WORK/disk/sub" &&
        btrfs qgroup limit 64M "$WORK/disk/sub"; } >"$WORK/setup" 2>&1; then
        skip "quota" "no btrfs with quotas: $(tail -n 1 "$WORK/setup")"
    else
        must_mount "$WORK/disk/sub/store" "$MNT" -o segment_size=2M
        over_the_limit "quota" 1500
        check "quota: engramctl check" "$CTL" check "$WORK/disk/sub/store"
        free=$(stat -f -c '%a %S' "$WORK/disk" | awk '{print $1 * $2}')
        if [ "$free" -ge $((200 << 20)) ]; then ok "quota: the disk itself was not full"; else not_ok "quota: the disk was full" "$free bytes"; fi
    fi
    mounts_under "$WORK/disk" | xargs -r umount
}

quota
t_end
