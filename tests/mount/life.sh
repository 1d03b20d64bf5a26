#!/usr/bin/env bash
# life.sh - the life and death of a mount where others have it too: bind mounts, namespaces of containers, inherited
# descriptors, limits of the process, swapped arguments, forged file handles. Each ends, or says what to do.
#
#   tests/mount/life.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 unshare prlimit flock
MNT=$WORK/mnt
mkdir "$MNT" "$WORK/bind"
is_root() { [ "$(id -u)" -eq 0 ]; }
begin() { # STORE [OPTIONS...]: a daemon in the foreground with its log in $WORK/log
    "$ENGRAMFS" -f "${@:2}" "$1" "$MNT" 2>"$WORK/log" &
    DAEMON=$!
    wait_until 20 mountpoint -q "$MNT" || not_ok "mount $1" "$(tail -n 1 "$WORK/log")"
}
has_ended() { ! kill -0 "$DAEMON" 2>/dev/null; }
ended() { # NAME: the daemon ends with status 0
    if ! wait_until 20 has_ended; then
        not_ok "$1" "it runs still"
        kill -9 "$DAEMON"
        wait "$DAEMON" 2>/dev/null
        return 1
    fi
    wait "$DAEMON"
    check_equal "$1" 0 $?
}

# ---- SIGTERM and SIGINT while the daemon starts, and waits for the store, whose lock another has: they end it
# Its shell blocks signals, too, before it becomes the daemon.
blocks_term() {
    [ "$(readlink "/proc/$DAEMON/exe")" -ef "$ENGRAMFS" ] &&
        [ $((0x$(sed -n "s,^SigBlk:\t,,p" "/proc/$DAEMON/status") >> 14 & 1)) -eq 1 ]
}
"$CTL" import - "$WORK/early" </dev/null >"$WORK/made"
for signal in TERM INT TERM; do
    exec 7<"$WORK/early"
    flock 7
    env --default-signal "$ENGRAMFS" -f "$WORK/early" "$MNT" 2>"$WORK/log" &
    DAEMON=$!
    wait_until 20 blocks_term || not_ok "it waits for the lock" "$(tail -n 1 "$WORK/log")"
    kill "-$signal" $DAEMON
    check "SIG$signal ends one that waits for the store" wait_until 5 has_ended
    exec 7<&-
    wait $DAEMON
    STATUS=$?
    check_equal "SIG$signal: by that signal" $((128 + $(kill -l $signal))) $STATUS
    check_fails "SIG$signal: and nothing was mounted" "" grep -q " mounted on " "$WORK/log"
done

# ---- whoever starts it in the background is ended while it waits for the store
for signal in TERM INT HUP KILL; do
    exec 7<"$WORK/early"
    flock 7
    env --default-signal "$ENGRAMFS" "$WORK/early" "$MNT" 2>"$WORK/log" &
    STARTER=$!
    opens() { # the child has taken its signals, and waits
        DAEMON=$(daemons_under "$WORK/early" | grep -vx $STARTER) && blocks_term
    }
    wait_until 20 opens || not_ok "it waits for the lock, SIG$signal" "$(tail -n 1 "$WORK/log")"
    kill "-$signal" $STARTER
    wait $STARTER 2>/dev/null
    STATUS=$?
    check_equal "SIG$signal ends the starting command" $((128 + $(kill -l $signal))) $STATUS
    check "SIG$signal: and with it all it has started" wait_until 5 no_daemon "$WORK/early"
    exec 7<&-
    done_or_mounted() { no_daemon "$WORK/early" || mountpoint -q "$MNT"; }
    wait_until 20 done_or_mounted
    check_fails "SIG$signal: nothing is mounted later" "" mountpoint -q "$MNT"
    mounts_under "$MNT" | xargs -r -n 1 umount
    wait_until 20 no_daemon "$WORK/early"
done

# ---- what is stored through a mapping of a file that stays open comes back before the mount goes, also where the
# thread that has read it is slow
store_and_end() { # WHAT [VARIABLE=VALUE...]
    rm -rf "$WORK/mapped" "$WORK/stored" "$WORK/stay"
    : >"$WORK/log"
    env "${@:2}" "$ENGRAMFS" -f "$WORK/mapped" "$MNT" 2>"$WORK/log" &
    DAEMON=$!
    wait_until 20 mountpoint -q "$MNT" || not_ok "mount $WORK/mapped" "$(tail -n 1 "$WORK/log")"
    python3 - "$MNT/file" "$WORK/stored" "$WORK/stay" 2>/dev/null <<'P' &
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
m[:] = b"A" * (1 << 20)
os.mkfifo(sys.argv[3])
open(sys.argv[2], "w").close()
open(sys.argv[3]).read()
os._exit(0)
P
    HOLDER=$!
    wait_until 20 test -e "$WORK/stored" || not_ok "a mapping is stored through"
    kill -TERM $DAEMON
    ended "SIGTERM ends a daemon one of whose files is mapped, $1"
    : >"$WORK/stay"
    wait $HOLDER
    begin "$WORK/mapped"
    check_equal "what was stored is there, $1" 1048576 "$(tr -cd A <"$MNT/file" | wc -c)"
}
store_and_end "as it comes"
kill -TERM $DAEMON
ended "it ends"
if cc -shared -fPIC -Wall -Werror -o "$WORK/late.so" "$(dirname "$0")/late_shim.c"; then
    store_and_end "read slowly" LD_PRELOAD="$WORK/late.so" LATE_SHIM="$WORK/log"
else
    skip "what was stored is there, read slowly" "no compiler"
fi
unmount_store "$MNT"
ended "and it is unmounted"

# ---- SIGTERM while another FUSE lies over the folder above the mount point, and does not answer
if ! is_root; then
    skip "a mount above that does not answer" "not root"
else
    mkdir "$WORK/home"
    mkdir "$WORK/home/mem"
    "$ENGRAMFS" -f "$WORK/below" "$WORK/home/mem" 2>"$WORK/log" &
    DAEMON=$!
    wait_until 20 mountpoint -q "$WORK/home/mem" || not_ok "mount" "$(tail -n 1 "$WORK/log")"
    echo one >"$WORK/home/mem/one"
    "$ENGRAMFS" -f "$WORK/over" "$WORK/home" 2>/dev/null &
    OVER=$!
    wait_until 20 mountpoint -q "$WORK/home" || not_ok "mount above it"
    kill -STOP $OVER
    kill -TERM $DAEMON
    ended "SIGTERM ends a daemon under a mount that does not answer"
    kill -CONT $OVER
    check "the one above it" unmount_store "$WORK/home"
    wait $OVER
    check_fails "both are gone" "" mountpoint -q "$WORK/home/mem"
fi

# ---- who owns a folder above the mount point moves it away, and puts a link to something else in its place
place() { # a folder of a stranger's, with the mount point, and a mount of others beside it
    mounts_under "$WORK/bob" | xargs -r -n 1 umount -l # after a failure
    rm -rf "$WORK/bob"
    mountpoint -q "$WORK/others/mem" || mount -t tmpfs none "$WORK/others/mem"
    echo kept >"$WORK/others/mem/kept"
    install -d -m 755 -o 65534 -g 65534 "$WORK/bob" "$WORK/bob/x" "$WORK/bob/x/mem"
}
begin_below() { # [VARIABLE=VALUE...]: a daemon in that folder
    : >"$WORK/log"
    env "$@" "$ENGRAMFS" -f -o allow_other "$WORK/placed" "$WORK/bob/x/mem" 2>"$WORK/log" &
    DAEMON=$!
    wait_until 20 grep -q " mounted on " "$WORK/log" || not_ok "mount below a stranger's folder" "$(tail -n 1 "$WORK/log")"
}
bob() { setpriv --reuid=65534 --regid=65534 --clear-groups sh -e -c "cd '$WORK/bob'; $1"; }
nothing_else_is_lost() { # NAME: only the daemon's own mount goes, wherever it is by now
    check_equal "$1: what the link leads to stays" "1 kept" \
        "$(grep -c " $WORK/others/mem tmpfs " /proc/self/mounts) $(cat "$WORK/others/mem/kept" 2>&1)"
    check_equal "$1: the mount is gone" "" "$(mounts_under "$WORK/bob")"
}
if ! is_root || ! cc -shared -fPIC -Wall -Werror -o "$WORK/place.so" "$(dirname "$0")/place_shim.c" -ldl; then
    skip "links in place of folders above the mount point" "not root, or no compiler"
else
    chmod 755 "$WORK"
    mkdir -p "$WORK/others/mem"
    for link in "ln -s ../others x" "mkdir x; ln -s ../../others/mem x/mem"; do
        for state in busy idle; do
            place
            begin_below
            [ $state = idle ] || exec 7<"$WORK/bob/x/mem"
            check "$link: the stranger may do so" bob "mv x y; $link"
            kill -TERM $DAEMON
            ended "SIGTERM of a mount that is $state, $link"
            exec 7<&-
            nothing_else_is_lost "$state, $link"
        done
    done
    PLACE=("LD_PRELOAD=$WORK/place.so" "PLACE_FOLDER=$WORK/bob/x" "PLACE_LINK=../others")
    place
    begin_below
    kill -KILL $DAEMON
    wait $DAEMON 2>/dev/null
    begin_below PLACE_AT=dead "${PLACE[@]}"
    check "a dead mount is looked for, and somebody is quick" test -L "$WORK/bob/x"
    check_equal "it is replaced where it is" "$WORK/bob/x.moved/mem" "$(mounts_under "$WORK/bob")"
    kill -TERM $DAEMON
    ended "SIGTERM after that"
    nothing_else_is_lost "after a dead one"
    place
    begin_below PLACE_AT=mount "${PLACE[@]}"
    check "somebody is quick before mount(2)" test -L "$WORK/bob/x"
    check_equal "mounted where it was looked for" "$WORK/bob/x.moved/mem" "$(mounts_under "$WORK/bob")"
    kill -TERM $DAEMON
    ended "SIGTERM after this"
    nothing_else_is_lost "before mount(2)"
    # and whoever starts a daemon is killed while it mounts
    place
    env PLACE_ALONE=yes "${PLACE[0]}" "$ENGRAMFS" -o allow_other "$WORK/placed" "$WORK/bob/x/mem" 2>"$WORK/log"
    check_equal "the starting command is killed before mount(2)" 137 $?
    check "the daemon ends after it" wait_until 20 no_daemon "$WORK/placed"
    nothing_else_is_lost "nobody waits for it"
    umount "$WORK/others/mem"
fi

# ---- SIGTERM while the mount is somewhere else, too
if ! is_root; then
    skip "bind mounts and namespaces" "not root"
else
    begin "$WORK/store"
    echo one >"$MNT/one"
    mount --bind "$MNT" "$WORK/bind"
    kill -TERM $DAEMON
    ended "SIGTERM ends a daemon whose mount is bound elsewhere"
    check "the log says so" grep -q "mounted elsewhere" "$WORK/log"
    check_fails "who had it there is told" "not connected" stat "$WORK/bind/one"
    umount "$WORK/bind"
    begin "$WORK/store"
    check_equal "the store is free again, and whole" one "$(cat "$MNT/one")"

    # a container: a namespace of its own, which umount here does not reach
    mkfifo "$WORK/in" "$WORK/out"
    exec 5<>"$WORK/out" 6<>"$WORK/in" # so that opening them waits for nobody
    unshare -m --propagation private bash -c 'echo ready >&5; read -t 60 -r _ <&6' &
    CONTAINER=$!
    read -t 20 -r _ <&5
    kill -TERM $DAEMON
    ended "SIGTERM ends a daemon whose mount a container has"
    echo end >&6
    wait $CONTAINER

    # unmounted by hand while a container has it: the daemon goes on, and the next mount says who has the store
    begin "$WORK/store"
    unshare -m --propagation private bash -c 'echo ready >&5; read -t 60 -r _ <&6; cat "$1/one" >&5; read -t 60 -r _ <&6' _ "$MNT" &
    CONTAINER=$!
    read -t 20 -r _ <&5
    umount "$MNT"
    check_fails "the line of the next mount has the pid of the daemon, and what ends it" "kill $DAEMON " \
        "$CTL" check "$WORK/store"
    echo go >&6
    read -t 20 -r GOT <&5
    check_equal "the container goes on meanwhile" one "$GOT"
    mount -t tmpfs none "$MNT" # what lies there now is not the daemon's to take away
    kill -TERM $DAEMON
    ended "what the line says ends it"
    check_equal "nothing else is unmounted" tmpfs "$(findmnt -n -o FSTYPE --mountpoint "$MNT")"
    umount "$MNT"
    echo end >&6
    wait $CONTAINER
    exec 5>&- 6>&-

    # over another mount: unmounting takes one away, not both
    mount -t tmpfs none "$MNT"
    begin "$WORK/store"
    wait_until 20 test -e "$MNT/one"
    mount --bind "$MNT" "$WORK/bind"
    kill -TERM $DAEMON
    kill -TERM $DAEMON
    ended "SIGTERM twice, over a mount point in use"
    check_equal "what lay below stays" tmpfs "$(findmnt -n -o FSTYPE --mountpoint "$MNT")"
    umount "$WORK/bind" "$MNT"
fi

# ---- the connection is ended by others: by fusectl, or a limit of the kernel on requests
abort_it() { # by its number in fusectl
    local number
    number=$(python3 -c 'import os, sys; print(os.minor(os.stat(sys.argv[1]).st_dev))' "$MNT")
    mkdir -p "$WORK/fusectl"
    mount -t fusectl none "$WORK/fusectl" && echo 1 >"$WORK/fusectl/$number/abort" && umount "$WORK/fusectl"
}
begin "$WORK/store"
if ! is_root || ! abort_it 2>/dev/null; then
    skip "a connection that is aborted" "not root, or no fusectl"
    kill -TERM $DAEMON
    wait $DAEMON
else
    check "the daemon ends" wait_until 20 has_ended
    wait $DAEMON
    check_equal "which is a failure, so that systemd starts it again" 1 $?
    check "it says why" grep -q "its connection was aborted" "$WORK/log"
    check_fails "and no dead mount stays" "" mountpoint -q "$MNT"
    begin "$WORK/store"
    # who looks at it in passing keeps it busy for that moment: its connection is gone then, and it is no try
    for _ in 1 2 3; do
        umount -f "$MNT" 2>/dev/null && break
        wait $DAEMON
        begin "$WORK/store"
    done
    ended "umount -f is no failure"
    check_fails "nor stays a mount after it" "" mountpoint -q "$MNT"
fi

# ---- a mount point that is a store: swapped arguments
mkdir "$WORK/empty"
must_mount "$WORK/store" "$MNT"
check "unmount" unmount_store "$MNT"
check_fails "swapped arguments are refused" "order is: engramfs STORE MOUNTPOINT" "$ENGRAMFS" "$WORK/empty" "$WORK/store"
check_equal "and nothing is made" "" "$(ls -A "$WORK/empty")"

# ---- descriptors of who starts it
exec 9>"$WORK/lock"
flock 9
must_mount "$WORK/store" "$MNT"
exec 9>&-
check "a lock of who mounts is not kept" flock -n "$WORK/lock" true
check "unmount" unmount_store "$MNT"

# ---- a limit of the process on the size of files (RLIMIT_FSIZE), whose signal kills
fill() { # COUNT
    python3 - "$MNT" "$1" <<'P'
import sys
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/f{i}", "wb") as f:
        f.write(bytes([i]) * 500000)
P
}
right() { # COUNT
    python3 - "$MNT" "$1" <<'P'
import sys
for i in range(int(sys.argv[2])):
    assert open(f"{sys.argv[1]}/f{i}", "rb").read() == bytes([i]) * 500000, i
P
}
check_equal "the limit is told where it is mounted" 1 \
    "$(prlimit --fsize=4000000:4000000 "$ENGRAMFS" "$WORK/limited" "$MNT" 2>&1 | grep -c "files may not grow over 4000000")"
check "writers go on, in smaller segments" fill 30
check "all is there" right 30
check "unmount" unmount_store "$MNT"
check_equal "no file is larger than the limit" "" "$(find "$WORK/limited" -size +4000000c)"
check "the store is whole" "$CTL" check "$WORK/limited"
must_mount "$WORK/unlimited" "$MNT"
fill 2
prlimit --pid "$(daemons_under "$MNT")" --fsize=3000000: # while it runs: the segment was to become larger
check_fails "a limit that is met is a full disk, and no death" "No space left" fill 30
check "what was acknowledged is there" right 2
check "removing is possible" rm "$MNT/f0"
prlimit --pid "$(daemons_under "$MNT")" --fsize=unlimited:
check "without it all goes on" fill 12
check "unmount" unmount_store "$MNT"
python3 -c '
import json
for i in range(800): print(json.dumps({"id": f"m{i}", "content": "x" * 30000}))' >"$WORK/in.jsonl"
check "engramctl import goes on, too" bash -c 'ulimit -f 10000; exec "$@"' _ "$CTL" import "$WORK/in.jsonl" "$WORK/limited2"
check "and what it made is whole" "$CTL" check "$WORK/limited2"

# ---- -o ctl=off, and a file handle that names the control directory
if ! is_root; then
    skip "forged file handles" "not root"
else
    begin "$WORK/store" -o ctl=off
    check "a forged handle gets ESTALE" timeout 20 python3 - "$MNT" <<'P'
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
mount = os.open(sys.argv[1], os.O_RDONLY)
for nodeid in (1 << 62, (1 << 62) | 256, (1 << 62) | 512):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_PATH, os.O_RDONLY | os.O_DIRECTORY):
        handle = ctypes.create_string_buffer(struct.pack("IiIII", 12, 0x81, nodeid >> 32, nodeid & 0xffffffff, 0))
        fd = libc.open_by_handle_at(mount, handle, flags)
        assert fd < 0 and ctypes.get_errno() == errno.ESTALE, (hex(nodeid), flags, fd, os.strerror(ctypes.get_errno()))
P
    check_equal "and the daemon lives" one "$(timeout 20 cat "$MNT/one")"
    kill -TERM $DAEMON
    ended "it ends"
    # a node that another mount knew, with the text open there
    begin "$WORK/store"
    check "a handle of a control file that is gone gets ESTALE" timeout 20 python3 - "$MNT" <<'P'
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
mount = os.open(sys.argv[1], os.O_RDONLY)
handle = ctypes.create_string_buffer(struct.pack("IiIII", 12, 0x81, 1 << 30, 0x7ffff00, 0))
fd = libc.open_by_handle_at(mount, handle, os.O_RDONLY)
assert fd < 0 and ctypes.get_errno() in (errno.ESTALE, errno.ENOENT), (fd, os.strerror(ctypes.get_errno()))
P
    kill -TERM $DAEMON
    ended "it ends as well"
fi
t_end
