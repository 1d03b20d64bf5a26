#!/usr/bin/env bash
# posix.sh - the same checks on a mount and on ext4. What differs must be in
# the table of docs/COMPATIBILITY.md, and what stands there must differ.
# Then what is not a check of one directory: overlayfs above, below, file handles over a
# remount, mounts with other options.
#
#   tests/mount/posix/posix.sh BUILD
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
t_needs python3
if [ "$(id -u)" -ne 0 ]; then
    skip posix "needs root: it acts for several users"
    exit 0
fi
POSIX=$BUILD/tests/mount/posix/posix
DOC=$ROOT/docs/COMPATIBILITY.md
STORE=$WORK/store MNT=$WORK/mnt
LIMIT=300
chmod 755 "$WORK"

# ---- the control: an ext4 of its own, so that the machine's mount options do not matter

t_more_cleanup() { umount "$WORK/ext4" 2>/dev/null; }

make_control() {
    mkdir -p "$WORK/ext4" && truncate -s 2G "$WORK/ext4.img" &&
        mkfs.ext4 -q -F -b 4096 -I 256 "$WORK/ext4.img" &&
        mount -o loop "$WORK/ext4.img" "$WORK/ext4"
}

# Ids that the table names: the words in backquotes of each row's last column.
# With -o conflicts=refuse (T_REFUSE) reads of small files reach the daemon, so that times move; a RELEASE that is under way keeps a
# file for a moment; and of two processes that rename files over one name all the time many are refused.
MORE='' LESS=''
[ "${T_REFUSE:-0}" = 0 ] || MORE='system.handle.closed races.replaced' LESS='times.read-at-end times.read-cached'
known_differences() {
    {
        differences_of_page
        xargs -n 1 <<<"$MORE"
    } | grep -vxF "$(xargs -n 1 <<<"${LESS:-none}")" | grep . | sort -u
}
differences_of_page() {
    awk -F '|' '/^\| / && NF >= 6 {print $(NF - 1)}' "$DOC" | grep -o '`[^`]*`' | tr -d '`' | sort -u
}

skipped_ids() { sed -n 's/^skip - \([^ :]*\).*/\1/p' "$1"; }
failed_ids() { sed -n 's/^not ok - \([^ ]*\):.*/\1/p' "$1" | sort -u; }
ids() { sed -n 's/^\(ok\|not ok\|skip\) - \([^ :]*\).*/\2/p' "$1" | sort; }

on_ext4() { timeout $LIMIT "$POSIX" "$WORK/ext4/t" >"$WORK/ext4.out" 2>&1 || not_ok "the program runs on ext4" "status $?"; }

compare() {
    local id
    mkdir -p "$WORK/ext4/t" "$MNT/t"
    on_ext4
    # a second time where it differs: the clock of a virtual machine that is set meanwhile is no answer of ext4
    if grep -q '^not ok' "$WORK/ext4.out"; then
        grep '^not ok' "$WORK/ext4.out" | sed 's/^/# ext4, once: /'
        rm -rf "$WORK/ext4/t"
        mkdir "$WORK/ext4/t"
        on_ext4
    fi
    timeout $LIMIT "$POSIX" "$MNT/t" >"$WORK/engramfs.out" 2>&1 || not_ok "the program runs on engramfs" "status $?"
    [ -z "${KEEP_LOGS-}" ] || cp "$WORK"/{ext4,engramfs}.out "$KEEP_LOGS/"
    grep -v '^ok\|^not ok\|^skip' "$WORK/ext4.out" "$WORK/engramfs.out"
    # the control: what is expected is what ext4 does
    check_equal "ext4 answers as expected" "" "$(grep '^not ok' "$WORK/ext4.out" | head -n 3)"
    if [ "$(grep -c '^ok' "$WORK/ext4.out")" -lt 2850 ]; then
        not_ok "all checks ran" "only $(grep -c '^ok' "$WORK/ext4.out") on ext4"
    fi
    check_equal "the same checks ran on both" "" "$(diff <(ids "$WORK/ext4.out") <(ids "$WORK/engramfs.out") | grep '^[<>]' | head -n 3)"
    grep '^ok\|^skip' "$WORK/engramfs.out"
    while IFS= read -r id; do
        if known_differences | grep -qxF -- "$id"; then
            ok "$id: differs, as docs/COMPATIBILITY.md says"
        else
            grep -F -- "not ok - $id:" "$WORK/engramfs.out"
            T_FAILED=$((T_FAILED + 1))
        fi
    done < <(failed_ids "$WORK/engramfs.out")
    check_equal "nothing is called different that is not" "" \
        "$(comm -13 <({ failed_ids "$WORK/engramfs.out" && skipped_ids "$WORK/engramfs.out"; } | sort -u) <(known_differences) | head -n 3)"
}

# ---- overlayfs: the store as the lower layer, as the upper one, as both

overlay_use() { # name, mount point: what containers do
    local name=$1 o=$2
    check "overlay $name: what lies below is seen" grep -qx below "$o/file"
    check "overlay $name: is changed" sh -c "echo above >>$o/file && grep -qx above $o/file"
    check "overlay $name: is removed" rm "$o/gone"
    check_fails "overlay $name: stays removed" "No such file" stat "$o/gone"
    check "overlay $name: a directory is removed and made anew" sh -c "rm -r $o/dir && mkdir $o/dir && touch $o/dir/new"
    check_equal "overlay $name: without what it held" new "$(ls "$o/dir")"
    check "overlay $name: is renamed" mv "$o/file" "$o/renamed"
    check "overlay $name: is owned and linked" sh -c "chown 5:6 $o/renamed && ln $o/renamed $o/hard"
    check_equal "overlay $name: the link is one" 2 "$(stat -c %h "$o/hard")"
}

overlay() { # name, lower, upper's parent, more options
    local name=$1 lower=$2 upper=$3 more=${4-} o=$WORK/overlay
    mkdir -p "$lower/dir" "$upper/up" "$upper/work" "$o"
    echo below >"$lower/file"
    echo x >"$lower/gone"
    echo x >"$lower/dir/old"
    if ! timeout 30 mount -t overlay overlay -o "lowerdir=$lower,upperdir=$upper/up,workdir=$upper/work$more" "$o" 2>"$WORK/why"; then
        not_ok "overlay $name" "$(head -c 200 "$WORK/why")"
        return
    fi
    overlay_use "$name" "$o"
    timeout 30 umount "$o"
    check_equal "overlay $name: what lies below is as it was" "below" "$(cat "$lower/file")"
    if [ "$upper" != "$WORK/ext4/upper" ]; then
        check_equal "overlay $name: a whiteout is a device" "character special file 0,0" "$(stat -c '%F %t,%T' "$upper/up/gone")"
    fi
}

overlays() {
    if ! grep -qw overlay /proc/filesystems && ! modprobe -q overlay 2>/dev/null; then
        skip "overlay" "the kernel has no overlayfs"
        return
    fi
    overlay "below" "$MNT/o1/lower" "$WORK/ext4/upper"
    overlay "above" "$WORK/ext4/lower" "$MNT/o2"
    overlay "both" "$MNT/o3/lower" "$MNT/o3"
    overlay "both, with all features" "$MNT/o4/lower" "$MNT/o4" ,index=on,nfs_export=on
    overlay "both, with redirects" "$MNT/o5/lower" "$MNT/o5" ,redirect_dir=on,metacopy=on
}

# ---- what an NFS server relies on: a handle means the same file after a restart, or none

handle() { # make|read FILE OF-HANDLE [PATH]
    python3 - "$@" <<'PY'
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]
verb, saved, path = sys.argv[1:4]
h = Handle(128)
mount_id = ctypes.c_int()
if verb == "make":
    if libc.name_to_handle_at(-100, path.encode(), ctypes.byref(h), ctypes.byref(mount_id), 0):
        sys.exit(os.strerror(ctypes.get_errno()))
    open(saved, "wb").write(bytes(h))
else:
    h = Handle.from_buffer_copy(open(saved, "rb").read())
    root = os.open(path, os.O_RDONLY)
    fd = libc.open_by_handle_at(root, ctypes.byref(h), os.O_RDONLY)
    if fd < 0:
        sys.exit(os.strerror(ctypes.get_errno()))
    sys.stdout.write(os.read(fd, 100).decode())
PY
}

handles() {
    mkdir -p "$MNT/h/deep"
    echo content >"$MNT/h/deep/file"
    echo other >"$MNT/h/gone"
    check "a handle is given" handle make "$WORK/handle1" "$MNT/h/deep/file"
    check "another" handle make "$WORK/handle2" "$MNT/h/gone"
    rm "$MNT/h/gone"
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o allow_other,suid,dev
    check_equal "a handle outlives a remount" content "$(handle read "$WORK/handle1" "$MNT" 2>&1)"
    touch "$MNT/h/"{1..50} # numbers are not used again
    check_equal "that of a file that is gone is stale" "Stale file handle" "$(handle read "$WORK/handle2" "$MNT" 2>&1)"
}

# ---- times of access: not lost by an unmount, not kept with noatime

read_past_cache() { dd if="$1" of=/dev/null bs=4096 iflag=direct status=none; }

access_times() {
    local before
    head -c 8192 /dev/zero >"$MNT/read"
    touch -d @1000000000 "$MNT/read"
    read_past_cache "$MNT/read"
    before=$(stat -c %X "$MNT/read")
    check "reading moves the atime" [ "$before" -gt 1000000000 ]
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o allow_other,noatime
    check_equal "the atime is kept over a remount" "$before" "$(stat -c %X "$MNT/read")"
    touch -d @1000000000 "$MNT/read"
    read_past_cache "$MNT/read"
    check_equal "with noatime reading does not move it" 1000000000 "$(stat -c %X "$MNT/read")"
    unmount_store "$MNT"
}

# ---- who is let in, and what modes mean, by mount option

as_user() { setpriv --reuid=5001 --regid=5001 --clear-groups "$@"; }

options() {
    must_mount "$STORE" "$MNT" # not allow_other
    check_fails "without allow_other nobody else is let in" "Permission denied" as_user ls "$MNT"
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o allow_other
    mkdir -p "$MNT/p"
    chmod 777 "$MNT/p"
    install -m 600 /dev/null "$MNT/p/secret"
    check_fails "modes decide" "Permission denied" as_user cat "$MNT/p/secret"
    check_fails "suid, unless asked for, is not honoured" "nothing" sh -c "grep ' $MNT ' /proc/mounts | grep -vq nosuid || { echo nothing; false; }"
    install -m 755 /bin/true "$MNT/p/program"
    mknod "$MNT/p/null" c 1 3 && chmod 666 "$MNT/p/null"
    check "programs run" as_user "$MNT/p/program"
    check_fails "devices, unless asked for, are not honoured" "Permission denied" cat "$MNT/p/null"
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o allow_other,noexec,dev
    check_fails "with noexec programs do not run" "Permission denied" python3 -c "import os; os.execv('$MNT/p/program', ['program'])"
    check "with dev devices are honoured" cat "$MNT/p/null"
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o allow_other,noperm
    check "with noperm they do not" as_user cat "$MNT/p/secret"
    unmount_store "$MNT"
    must_mount "$STORE" "$MNT" -o ro,allow_other
    check_fails "read-only: no write" "Read-only" touch "$MNT/p/new"
    check_fails "read-only: no unlink" "Read-only" rm -f "$MNT/p/secret"
    check_fails "read-only: no chmod" "Read-only" chmod 777 "$MNT/p/secret"
    check_fails "read-only: no file without a name" "Read-only" python3 -c "import os; os.open('$MNT', os.O_TMPFILE | os.O_RDWR)"
    check_fails "read-only: what is there is there" "File exists" mkdir "$MNT/p"
    check_fails "read-only: no xattr" "Read-only" setfattr -n user.x -v 1 "$MNT/p/secret"
    check "read-only: reading" cat "$MNT/p/secret"
    unmount_store "$MNT"
}

if ! make_control 2>"$WORK/why"; then
    skip posix "no ext4 to compare with: $(head -c 200 "$WORK/why")"
    exit 0
fi
must_mount "$STORE" "$MNT" -o allow_other,suid,dev
compare
overlays
handles
access_times
options
t_end
