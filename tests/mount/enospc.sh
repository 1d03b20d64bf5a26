#!/usr/bin/env bash
# A store on a small disk that fills up: ENOSPC is said, nothing that was
# acknowledged is lost, removing works, and compaction makes room again.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 mkfs.ext4 losetup
if [ "$(id -u)" -ne 0 ]; then
    skip "enospc" "not root, no loop device"
    exit 0
fi
PATH=$PATH:/usr/sbin:/sbin
truncate -s 96M "$WORK/disk.img"
mkfs.ext4 -q -m 0 "$WORK/disk.img"
mkdir "$WORK/disk"
if ! mount -o loop "$WORK/disk.img" "$WORK/disk" 2>"$WORK/mount.err"; then
    skip "enospc" "no loop device: $(tail -n 1 "$WORK/mount.err")"
    exit 0
fi
STORE=$WORK/disk/store MNT=$WORK/mnt
must_mount "$STORE" "$MNT" -o segment_size=2M

cat >"$WORK/fill.py" <<'P'
"""fill.py MOUNT JOURNAL SIZE PREFIX: whole new memories until ENOSPC; the journal has the name of each that was
acknowledged. What was begun and refused is removed, as a careful program does."""
import errno, os, random, sys
mount, journal, size, prefix = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
done = 0
with open(journal, "a") as log:
    for i in range(10**6):
        path = "%s/%s%d" % (mount, prefix, i)
        data = random.Random(prefix + str(i)).randbytes(size)
        try:
            f = os.open(path, os.O_CREAT | os.O_WRONLY)
        except OSError as e:
            if e.errno != errno.ENOSPC:
                sys.exit("create: %s" % e)
            break
        try:
            n = os.write(f, data)
            assert n == size
            done += 1
        except OSError as e:
            if e.errno != errno.ENOSPC:
                sys.exit("write: %s" % e)
            os.close(f)
            os.unlink(path)
            break
        os.close(f)
        log.write("%s%d\n" % (prefix, i))
        log.flush()
print(done)
P
cat >"$WORK/verify.py" <<'P'
"""verify.py MOUNT JOURNAL SIZE: exactly what the journal names is there, and right."""
import os, random, sys
mount, size = sys.argv[1], int(sys.argv[3])
names = set(open(sys.argv[2]).read().split())
have = set(os.listdir(mount))
if names != have:
    sys.exit("%d missing, %d too many: %s" % (len(names - have), len(have - names), sorted(names ^ have)[:3]))
for n in names:
    f = os.open("%s/%s" % (mount, n), os.O_RDONLY)
    os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
    data = os.read(f, size + 1)
    os.close(f)
    if data != random.Random(n).randbytes(size):
        sys.exit("%s: %d bytes, wrong" % (n, len(data)))
P
verify() { python3 "$WORK/verify.py" "$MNT" "$WORK/journal" 20000; }
fill() { python3 "$WORK/fill.py" "$MNT" "$WORK/journal" 20000 "$1"; }

# bytes that statfs says a user can have
available() { stat -f -c '%a %S' "$MNT" | awk '{print $1 * $2}'; }
# what was written is what statfs had promised, but for the parts of a log that are no content; and then it promises nothing
agrees() { # BEFORE WRITTEN
    local after
    after=$(available)
    echo "# statfs: $1 bytes before, $after after; $2 written"
    [ "$2" -ge $(($1 * 85 / 100)) ] && [ "$2" -le "$1" ] && [ "$after" -le $(($1 * 10 / 100)) ]
}

before=$(available)
check "fill until ENOSPC" fill a
n=$(wc -l <"$WORK/journal")
echo "# $n memories of 20000 bytes on a disk of 96 MiB"
if [ "$n" -ge 3000 ]; then ok "most of the disk was usable"; else not_ok "most of the disk was usable" "$n memories only"; fi
if agrees "$before" $((n * 20000)); then ok "statfs agrees with what could be written"; else not_ok "statfs agrees with what could be written" "see above"; fi
check "all acknowledged are there" verify
check_fails "the next write says so" "No space left" bash -c 'head -c 3000000 /dev/urandom >"$1"' _ "$MNT/too-much"
check "and can be removed" rm -f "$MNT/too-much"
check "reading works" verify
check "chmod, rename, fsync work or say ENOSPC" bash -c 'for f in a1 a2 a3; do
    out=$( { chmod 600 "$1/$f" && mv "$1/$f" "$1/t" && mv "$1/t" "$1/$f"; } 2>&1) || grep -q "No space" <<<"$out" || exit 1
done; [ ! -e "$1/t" ] || mv "$1/t" "$1/a1"' _ "$MNT"
check "still all there" verify

# over and over on a full disk: remove some, fill again; the room must come back each time
for round in 1 2 3; do
    python3 - "$MNT" "$WORK/journal" $round <<'P' || not_ok "round $round: removing" "failed"
import os, sys
names = open(sys.argv[2]).read().split()
keep = []
for i, n in enumerate(names):
    if i % 3 == int(sys.argv[3]) % 3:
        os.unlink("%s/%s" % (sys.argv[1], n))
    else:
        keep.append(n + "\n")
open(sys.argv[2], "w").writelines(keep)
P
    check "round $round: removing works, the rest is there" verify
    if [ $round -eq 1 ]; then check "round 1: echo run > compact" bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"; fi
    # in the later rounds nobody asks for a compaction: a write that would fail compacts first
    out=$(fill "r$round-" 2>&1)
    now=$(wc -l <"$WORK/journal")
    if [ "$now" -ge $((n * 9 / 10)) ]; then
        ok "round $round: the room came back ($now memories)"
    else
        not_ok "round $round: the room came back" "$now memories, $n before; $out"
    fi
    check "round $round: all acknowledged are there" verify
done

check "kill -9 on the full disk" kill_daemon "$MNT"
must_mount "$STORE" "$MNT" -o segment_size=2M
check "all there after kill -9" verify
check "unmount on the full disk" unmount_store "$MNT"
must_mount "$STORE" "$MNT"
check "all there after unmount" verify
check "rm of everything" bash -c 'cd "$1" && find . -mindepth 1 -delete' _ "$MNT"
check "compact the empty store" bash -c 'echo run >"$1"' _ "$MNT/.engram/compact"
used=$(du_bytes "$STORE")
if [ "$used" -le $((16 << 20)) ]; then ok "an empty store is small"; else not_ok "an empty store is small" "$used bytes"; fi
check "unmount at the end" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
umount "$WORK/disk"
t_end
