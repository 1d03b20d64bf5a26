#!/usr/bin/env bash
# How a store comes and goes: mount(8), fstab, media that cannot be written, signals, crashes, odd mount points.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
PATH=$PATH:/usr/sbin:/sbin
STORE=$WORK/store MNT=$WORK/mnt
is_root() { [ "$(id -u)" -eq 0 ]; }

# A refusal is one line that names what is wrong, and leaves nothing behind.
refused() { # NAME TEXT COMMAND...
    local name=$1 text=$2 out status
    shift 2
    out=$(timeout 60 "$@" 2>&1 </dev/null)
    status=$?
    if [ $status -eq 0 ] || [ $status -ge 124 ]; then
        not_ok "$name" "status $status: $out"
    elif [ "$(wc -l <<<"$out")" -ne 1 ] || ! grep -qE -- "$text" <<<"$out"; then
        not_ok "$name" "expected one line with '$text', got: ${out:0:300}"
    else
        ok "$name"
    fi
}
gone() { ! mountpoint -q "$1" && no_daemon "$1"; }

# ---- mount(8) and fstab, by the helper of libfuse
if ! is_root; then
    skip "mount -t fuse.engramfs, fstab" "not root"
elif ! command -v mount.fuse3 >/dev/null; then
    skip "mount -t fuse.engramfs, fstab" "no mount.fuse3"
else
    mkdir -p "$MNT" "$WORK/with space/mnt" "$WORK/with space/store"
    # mount(8) gives its helpers no PATH: where engramfs is not installed its place is part of the type
    TYPE=fuse.$ENGRAMFS
    check "mount -t" timeout 60 mount -t "$TYPE" "$STORE" "$MNT" -o noatime,nodev,commit=1
    check "it is what was asked for" grep -qE "^$STORE $MNT fuse.engramfs rw,nodev,noatime" /proc/mounts
    echo one >"$MNT/one"
    check "umount" unmount_store "$MNT"
    check "mount -t, -o ro" timeout 60 mount -t "$TYPE" -o ro "$STORE" "$MNT"
    check_fails "it is read-only" "Read-only" touch "$MNT/two"
    refused "mount -o remount" "remount cannot be done: unmount" mount -t "$TYPE" -o remount,rw "$STORE" "$MNT"
    check "umount of the read-only one" unmount_store "$MNT"
    for o in strictatime lazytime nodiratime; do refused "-o $o" "$o cannot be done" mount -t "$TYPE" -o "$o" "$STORE" "$MNT"; done
    cat >"$WORK/changes" <<'F'
mkdir d
ln -s x s
mknod p p
: >f
ln f g
mv g h
rm h
rmdir d
truncate -s 9 f
chmod 600 f
touch f
setfattr -n user.a -v 1 f
setfattr -x user.a f
echo some >>f
python3 -c 'import ctypes, os; ctypes.CDLL(None).fallocate(os.open("f", os.O_RDWR), 3, ctypes.c_long(0), ctypes.c_long(4))'
cp --reflink=never f copy
rm copy
F
    marks() { sed -nE 's/^ *batch +([0-9]+), durable to ([0-9]+),.*/\1 \2/p' "$MNT/.engram/status"; }
    durable_at_once() { # OPTION: how many of the changes are; what the last user of a file leaves goes later
        local line batch durable now n=0
        timeout 60 mount -t "$TYPE" -o "commit=1000${1:+,$1}" "$STORE" "$MNT" || return
        read -r batch durable < <(marks)
        while read -r line; do
            (cd "$MNT" && eval "$line") || echo "'$line' failed"
            read -r now durable < <(marks)
            [ "$durable" -le "$batch" ] || n=$((n + 1))
            batch=$now
        done <"$WORK/changes"
        rm -f "$MNT"/{f,s,p}
        unmount_store "$MNT"
        echo $n
    }
    check_equal "without an option none of the changes is durable at once" 0 "$(durable_at_once "")"
    check_equal "with -o sync each is" "$(wc -l <"$WORK/changes")" "$(durable_at_once sync)"
    check_equal "with -o dirsync those of names are: the first eight, cp and rm" 10 "$(durable_at_once dirsync)"
    check_equal "the last one counts" 0 "$(durable_at_once sync,dirsync,nodirsync,async)"
    refused "an option that does not exist" "nonsense" mount -t "$TYPE" -o nonsense "$STORE" "$MNT"
    cat >"$WORK/fstab" <<F
$STORE $MNT $TYPE defaults,allow_other,noatime,nofail,_netdev,x-systemd.requires-mounts-for=/ 0 0
${WORK// /\\040}/with\\040space/store $WORK/with\\040space/mnt $TYPE noauto,user,exec,ctl=visible 0 0
F
    check "a line of fstab" timeout 60 mount --fstab "$WORK/fstab" "$MNT"
    check_equal "all is there" one "$(cat "$MNT/one")"
    check "mount -a: what is mounted stays" timeout 60 mount -a --fstab "$WORK/fstab"
    check_equal "once" 1 "$(grep -c " $MNT " /proc/mounts)"
    check "a line of fstab with blanks" timeout 60 mount --fstab "$WORK/fstab" "$WORK/with space/mnt"
    check "its options" test -d "$WORK/with space/mnt/.engram" -a -n "$(find "$WORK/with space/mnt" -name .engram)"
    check "umount both" unmount_store "$WORK/with space/mnt"
    check "and the other" unmount_store "$MNT"
    if unshare -m mount -t overlay overlay -o "lowerdir=$BUILD/fs:/usr/local/bin" /usr/local/bin 2>/dev/null; then
        # as if it were installed: for this command only
        check_equal "mount -t fuse.engramfs" "fuse.engramfs one" "$(timeout 60 unshare -m sh -c '
            mount -t overlay overlay -o "lowerdir=$1/fs:/usr/local/bin" /usr/local/bin &&
            mount -t fuse.engramfs -o noatime "$2" "$3" && echo $(stat -f -c %T "$3" >/dev/null &&
            awk -v m="$3" "\$2 == m {print \$3}" /proc/mounts) $(cat "$3/one") && umount "$3"' _ "$BUILD" "$STORE" "$MNT")"
        check "it ends" wait_until 60 no_daemon "$MNT"
    else
        skip "mount -t fuse.engramfs" "neither installed nor can an overlay make it look so"
    fi
    must_mount "$STORE" "$MNT" -o fsname=another-name
    check_equal "-o fsname=" another-name "$(findmnt -n -o SOURCE --mountpoint "$MNT")"
    check "unmount" unmount_store "$MNT"
    # the line that the documents tell, with places of ours
    for text in docs/OPERATIONS.md packaging/man/engramfs.1.scd; do
        grep '^/[a-z/]* */mnt/memories *fuse.engramfs ' "$ROOT/$text" | sed "s|^[^ ]*|$STORE|; s|/mnt/memories|$MNT|; s|fuse.engramfs|$TYPE|" >"$WORK/fstab"
        check_equal "$text: has a line of fstab" 1 "$(wc -l <"$WORK/fstab")"
        check "$text: it mounts" timeout 60 mount --fstab "$WORK/fstab" "$MNT"
        check_equal "$text: without set-user-ID programs and devices" "nodev nosuid" \
            "$(findmnt -n -o OPTIONS --mountpoint "$MNT" | tr , '\n' | grep -xE 'nosuid|nodev|suid|dev' | sort | xargs)"
        check "unmount" unmount_store "$MNT"
    done
    printf '#!/bin/sh\necho ran\n' >"$WORK/script"
    must_mount "$STORE" "$MNT" -o noexec
    cp "$WORK/script" "$MNT/script" && chmod 755 "$MNT/script"
    check_fails "-o noexec" "Permission denied" bash -c '"$1" || exit 1' _ "$MNT/script"
    check "unmount" unmount_store "$MNT"
    must_mount "$STORE" "$MNT"
    check_equal "without it programs run" ran "$("$MNT/script")"
    check "unmount" unmount_store "$MNT"
fi

# ---- what cannot be mounted, and where
mkdir -p "$WORK/full" "$WORK/many" && echo below >"$WORK/full/file"
: >"$WORK/plain"
refused "no such mount point" "$WORK/none.*No such file" "$ENGRAMFS" "$STORE" "$WORK/none"
refused "a file as mount point" "plain.*(N|n)ot a directory" "$ENGRAMFS" "$STORE" "$WORK/plain"
refused "a store in a folder that is not there" "No such file" "$ENGRAMFS" "$WORK/none/store" "$WORK/full"
refused "a file as store" "(N|n)ot a (directory|store)" "$ENGRAMFS" "$WORK/plain" "$WORK/full"
refused "a folder that is no store" "not a store" "$ENGRAMFS" "$WORK/full" "$WORK/many"
refused "the mount point in the store" "in one another" bash -c 'mkdir -p "$2/s/m"; exec "$1" "$2/s" "$2/s/m"' _ "$ENGRAMFS" "$WORK"
refused "the store under the mount point" "in one another" bash -c 'mkdir -p "$2/t/s"; exec "$1" "$2/t/s" "$2/t"' _ "$ENGRAMFS" "$WORK"
must_mount "$STORE" "$WORK/full"
check_fails "over a filled folder: what is below is hidden" "No such file" cat "$WORK/full/file"
echo above >"$WORK/full/file"
mkdir -p "$WORK/other"
refused "the same store once more" "in use" "$ENGRAMFS" "$STORE" "$WORK/other"
refused "another store on the same place" "busy|already" "$ENGRAMFS" "$WORK/store2" "$WORK/full"
check_equal "the first is not disturbed" above "$(cat "$WORK/full/file")"
check "unmount" unmount_store "$WORK/full"
check_equal "what was below is there again" below "$(cat "$WORK/full/file")"

# Relative paths; and the daemon keeps no folder busy but its own.
mkdir -p "$WORK/here/deep" && cd "$WORK/here/deep" || exit 1
mkdir mnt
check "relative paths, with .. and a slash at the end" timeout 60 "$ENGRAMFS" ../../store ./mnt/
check_equal "the right store" above "$(cat mnt/file)"
ln -s mnt link
check_equal "by a symlink, too" above "$(cat link/file)"
cd /
check "unmount" unmount_store "$WORK/here/deep/mnt"
check "by a symlink" timeout 60 "$ENGRAMFS" "$STORE" "$WORK/here/deep/link"
check "unmount by the real name" unmount_store "$WORK/here/deep/mnt"
check "its folder can go" rm -r "$WORK/here"

# ---- ten stores at once
mounted=0
for i in 0 1 2 3 4 5 6 7 8 9; do
    mkdir -p "$WORK/many/$i"
    timeout 120 "$ENGRAMFS" "$WORK/many-store$i" "$WORK/many/$i" &
done
wait
for i in 0 1 2 3 4 5 6 7 8 9; do ! mountpoint -q "$WORK/many/$i" || mounted=$((mounted + 1)); done
check_equal "ten stores mounted at once" 10 $mounted
for i in 0 1 2 3 4 5 6 7 8 9; do
    (for k in $(seq 50); do echo "$i $k" >"$WORK/many/$i/$k" || exit 1; done) &
done
wait
wrong=0
for i in 0 1 2 3 4 5 6 7 8 9; do [ "$(sort -n "$WORK"/many/$i/* | md5sum)" = "$(seq -f "$i %g" 50 | sort -n | md5sum)" ] || wrong=$((wrong + 1)); done
check_equal "each has its own" 0 $wrong
for i in 0 1 2 3 4 5 6 7 8 9; do unmount_store "$WORK/many/$i" & done
wait
check "all ten end" no_daemon "$WORK/many"

# ---- orderly ends
again() { # NAME: all that was written is there after whatever happened
    must_mount "$STORE" "$MNT"
    check_equal "$1: all is there" "${2-above}" "$(cat "$MNT/file")"
}
again "begin"
exec 7>>"$MNT/file"
check_fails "umount while a file is open" "busy" umount "$MNT"
check "it goes on" touch "$MNT/alive"
if is_root; then
    check "umount -l" umount -l "$MNT"
    check_fails "the place is empty" "No such file" cat "$MNT/file"
    check "the open file can be written" bash -c 'echo lazy >&7'
    check "there is a daemon as long as it is open" bash -c '. "$1/lib.sh"; ! no_daemon "$2"' _ "$T_LIB" "$MNT"
    exec 7>&-
    check "then it ends" wait_until 60 no_daemon "$MNT"
    again "umount -l" "above
lazy"
    echo above >"$MNT/file"
else
    exec 7>&-
fi
check "unmount" unmount_store "$MNT"

foreground() { # SIGNAL
    "$ENGRAMFS" -f "$STORE" "$MNT" 2>"$WORK/log" &
    local pid=$!
    wait_until 60 mountpoint -q "$MNT" || not_ok "-f: mount" "$(tail -n 1 "$WORK/log")"
    echo "$1" >"$MNT/signal"
    kill "-$1" $pid
    wait $pid
    check_equal "SIG$1 ends it with status" 0 $?
    check "SIG$1: nothing is left" gone "$MNT"
    check "SIG$1: the log says so" grep -q "unmounted from" "$WORK/log"
    must_mount "$STORE" "$MNT"
    check_equal "SIG$1: what was written last is there" "$1" "$(cat "$MNT/signal")"
    check "unmount" unmount_store "$MNT"
}
foreground TERM
foreground INT
again "SIGTERM with an open file"
exec 7>>"$MNT/file"
for pid in $(daemons_under "$MNT"); do kill -TERM "$pid"; done
check "SIGTERM with an open file: it ends" wait_until 60 gone "$MNT"
check_fails "the open file says that it is cut off" "not connected|Software caused|Input/output" bash -c 'echo x >&7'
exec 7>&-

# ---- crashes
again "SIGTERM"
echo killed >"$MNT/file"
for pid in $(daemons_under "$MNT"); do kill -9 "$pid"; done
check "kill -9" wait_until 30 no_daemon "$MNT"
check_fails "what the users see" "not connected|Software caused" ls "$MNT"
again "mount over the dead one" killed
check_equal "one mount, not two" 1 "$(grep -c " $MNT " /proc/mounts)"
check "unmount" unmount_store "$MNT"
for i in 1 2 3 4 5; do # unmount, mount, at once: the second waits for the first to let the store go
    mount_store "$STORE" "$MNT" && echo "$i" >"$MNT/file" && compact_loop_stop "$MNT" &&
        { umount "$MNT" 2>/dev/null || fusermount3 -u "$MNT"; } || not_ok "round $i of mounting in a row" "failed"
done
again "mounting in a row" 5
check "unmount" unmount_store "$MNT"

# ---- what a daemon is started with
closed_check() { # NAME: the store must not have got what was meant for a descriptor
    wait_until 60 mountpoint -q "$MNT" || not_ok "$1: mount" "nothing is mounted"
    echo above >"$MNT/file"
    check "$1: it works" cmp "$MNT/file" <(echo above)
    check "$1: unmount" unmount_store "$MNT"
    check "$1: the store is whole" "$CTL" check "$STORE"
}
"$ENGRAMFS" "$STORE" "$MNT" <&- >&- 2>&-
closed_check "stdin, stdout and stderr closed"
"$ENGRAMFS" "$STORE" "$MNT" </dev/null >/dev/null 2>&1
closed_check "all of them /dev/null"
"$ENGRAMFS" -f "$STORE" "$MNT" <&- >&- 2>&- &
closed_check "in the foreground, all closed"
if [ -c /dev/full ]; then
    "$ENGRAMFS" -f "$STORE" "$MNT" >/dev/full 2>&1 &
    closed_check "the log is full"
fi
mkfifo "$WORK/pipe"
true <"$WORK/pipe" & # a reader of the log that leaves at once
"$ENGRAMFS" -d -f "$STORE" "$MNT" >"$WORK/pipe" 2>&1 &
closed_check "nobody reads the log any more"
(ulimit -f 0 && exec "$ENGRAMFS" -f -o ro "$STORE" "$MNT") 2>/dev/null &
if wait_until 20 mountpoint -q "$MNT"; then
    check_equal "read-only where no file may be written" above "$(cat "$MNT/file")"
    check "unmount" unmount_store "$MNT"
else
    not_ok "read-only where no file may be written" "it does not start"
fi

# ---- a medium that cannot be written
loop_disk() {
    truncate -s 64M "$WORK/disk.img" && mkfs.ext4 -q -m 0 "$WORK/disk.img" && mkdir -p "$WORK/disk" &&
        mount -o loop "$WORK/disk.img" "$WORK/disk"
}
if ! is_root || ! command -v mkfs.ext4 >/dev/null || ! loop_disk 2>"$WORK/err"; then
    skip "a read-only medium" "no loop device: $(tail -n 1 "$WORK/err" 2>/dev/null)"
    t_end
fi
medium() { # NAME: the disk's store, read-only
    umount "$WORK/disk" && mount -o ro,loop "$WORK/disk.img" "$WORK/disk" || not_ok "$1" "cannot mount the disk read-only"
    local sum
    sum=$(md5sum <"$WORK/disk.img")
    refused "$1: not for writing" "Read-only file system|read-only" "$ENGRAMFS" "$WORK/disk/store" "$MNT"
    must_mount "$WORK/disk/store" "$MNT" -o ro
    check "$1: all is there" bash -c 'for i in $(seq 200); do [ "$(cat "$1/$i")" = "memory $i" ] || exit 1; done' _ "$MNT"
    check_fails "$1: nothing can be written" "Read-only" touch "$MNT/new"
    check_fails "$1: nothing can be compacted" "Read-only" bash -c 'echo run >"$1/.engram/compact"' _ "$MNT"
    check "$1: unmount" unmount_store "$MNT"
    check "$1: engramctl check" "$CTL" check "$WORK/disk/store"
    umount "$WORK/disk"
    check_equal "$1: not a byte of the disk was changed" "$sum" "$(md5sum <"$WORK/disk.img")"
    mount -o loop "$WORK/disk.img" "$WORK/disk"
}
must_mount "$WORK/disk/store" "$MNT"
for i in $(seq 200); do echo "memory $i" >"$MNT/$i"; done
check "unmount" unmount_store "$MNT"
medium "a read-only medium"
must_mount "$WORK/disk/store" "$MNT"
echo "memory 7" >"$MNT/new" && mv "$MNT/new" "$MNT/7"
check "kill -9" kill_daemon "$MNT"
medium "a read-only medium, after a crash"
umount "$WORK/disk"
t_end
