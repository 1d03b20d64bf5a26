#!/usr/bin/env bash
# listers.sh - Linux has a folder's lock while it copies a listing to its caller, whose memory may be of a file that never comes.
# So nobody but trusted callers can list .engram, whatever the mount's options; and where one of those does that, SIGTERM ends the
# daemon all the same, the store can be mounted elsewhere, and whoever has files open is told.
#
#   tests/mount/listers.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setpriv
if [ "$(id -u)" -ne 0 ]; then
    skip "listers" "not root: there is nobody to be"
    exit 0
fi
umask 022
chmod 755 "$WORK"
STORE=$WORK/store MNT=$WORK/mnt
STRANGER=51001 OPERATOR=51002 OPERATORS=51003
as() { # ID COMMAND...
    local id=$1
    shift
    setpriv --reuid="$id" --regid="$id" --clear-groups "$@"
}
operator() { setpriv --reuid=$OPERATOR --regid=$OPERATOR --groups=$OPERATORS "$@"; }
cat >"$WORK/lister.py" <<'P'
"""lister.py ID FOLDER FILE: as user ID opens FOLDER and says so; told to, lists it into a private mapping of FILE."""
import ctypes, mmap, os, platform, sys
user = int(sys.argv[1])
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
try:
    folder = os.open(sys.argv[2], os.O_RDONLY | os.O_DIRECTORY)
except OSError as e:
    print(e.strerror, flush=True)
    sys.exit(1)
file = os.open(sys.argv[3], os.O_RDONLY)
os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED) # an earlier lister has had it read
memory = mmap.mmap(file, 65536, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
print("ready", flush=True)
sys.stdin.readline()
libc = ctypes.CDLL(None, use_errno=True)
getdents64 = 217 if platform.machine() == "x86_64" else 61
n = libc.syscall(getdents64, folder, ctypes.byref(ctypes.c_char.from_buffer(memory)), 65536)
print(n if n >= 0 else os.strerror(ctypes.get_errno()), flush=True)
sys.stdin.readline()
P
# the file system that does not answer: one more of ours, stopped. Files are opened without its help
SILENT=
silence() {
    T_REFUSE=0 must_mount "$WORK/silent.store" "$WORK/silent" -o allow_other
    head -c 65536 /dev/zero >"$WORK/silent/f"
    unmount_store "$WORK/silent"
    T_REFUSE=0 must_mount "$WORK/silent.store" "$WORK/silent" -o allow_other # nothing of f is in memory
    SILENT=$(daemons_under "$WORK/silent")
}
t_more_cleanup() {
    [ -z "$SILENT" ] || kill -KILL "$SILENT" 2>/dev/null
    umount -l "$WORK/silent" 2>/dev/null
}
all_stopped() { ! grep -L '^State:.T' /proc/"$SILENT"/task/*/status | grep -q .; }
lister() { # ID [FOLDER]: begins to list .engram, or that; $SAID is why it cannot
    rm -f "$WORK/tell" "$WORK/said"
    mkfifo "$WORK/tell" "$WORK/said"
    exec 7<>"$WORK/tell" 8<>"$WORK/said"
    python3 "$WORK/lister.py" "$1" "${2-$MNT/.engram}" "$WORK/silent/f" <&7 >&8 7<&- 8<&- &
    LISTER=$!
    read -t 20 -r SAID <&8
    [ "$SAID" = ready ] || return 0
    kill -STOP "$SILENT"
    wait_until 20 all_stopped
    echo >&7
    SAID=
    wait_until 20 grep -q '^State:.D' /proc/$LISTER/status || read -t 20 -r SAID <&8
}
lister_ends() {
    kill -KILL $LISTER 2>/dev/null
    wait $LISTER 2>/dev/null
    kill -CONT "$SILENT"
    exec 7>&- 8>&-
}
# As timeout(1), also where no signal ends the command: the kernel waits for that lock uninterruptibly.
within() { # SECONDS COMMAND...
    local seconds=$1
    shift
    rm -f "$WORK/ended"
    { "$@" >"$WORK/out" 2>&1; echo $? >"$WORK/ended"; } >/dev/null 2>&1 & # a check waits for whoever has its output
    wait_until "$seconds" test -s "$WORK/ended" || return 124
    cat "$WORK/out"
    return "$(cat "$WORK/ended")"
}
is_answered() { # NAME
    check "$1: a backup ends" within 60 "$CTL" backup "$MNT" "$WORK/backup.$1"
    check "$1: status can be read" within 10 cat "$MNT/.engram/status"
    within 10 as $STRANGER rm -f "$MNT/.engram/none" >/dev/null
    check "$1: status can be read when a stranger has asked for the folder's lock" within 10 cat "$MNT/.engram/status"
}
kernel_keeps_a_thread() { grep -q '^State:.D' /proc/"$1"/task/*/status; }

silence
for options in allow_other allow_other,noperm allow_other,ctl=visible allow_other,ctl_group=$OPERATORS; do
    must_mount "$STORE" "$MNT" -o "$options"
    echo one >"$MNT/a"
    if [ "$options" != allow_other,noperm ]; then
        check "$options: root lists the folder" grep -qx help <(ls "$MNT/.engram")
        check_fails "$options: a stranger does not" "Permission denied" as $STRANGER ls "$MNT/.engram"
        mode=511
        [ "$options" != allow_other,ctl_group=$OPERATORS ] || mode=551
        check_equal "$options: its mode" $mode "$(stat -c %a "$MNT/.engram")"
    else # the kernel would show what it keeps of a listing to all
        check_fails "$options: nobody lists it" "Permission denied" ls "$MNT/.engram"
        check_fails "$options: nor the folder in it" "Permission denied" ls "$MNT/.engram/changes-since"
    fi
    [ "$options" != allow_other,ctl_group=$OPERATORS ] ||
        check "$options: an operator lists it" grep -qx help <(operator ls "$MNT/.engram")
    check "$options: a stranger reads what is for all" as $STRANGER cat "$MNT/.engram/"{help,status,position,metrics,stats.json}
    position=$(cat "$MNT/.engram/position")
    for f in changes "changes-since/$position" segments config compact wait-for; do
        check "$options: root reads $f" cat "$MNT/.engram/$f"
        check_fails "$options: a stranger does not read $f" "Permission denied" as $STRANGER cat "$MNT/.engram/$f"
    done
    lister $STRANGER
    check_equal "$options: nor does he make the kernel wait" "Permission denied" "$SAID"
    is_answered "$options"
    exec 6<"$MNT/a"
    kill -TERM "$(daemons_under "$STORE")"
    check "$options: SIGTERM ends the daemon" wait_until 20 no_daemon "$STORE"
    exec 6<&-
    lister_ends
    umount -l "$MNT" 2>/dev/null
done

# a stranger has something come back out of deleted into a folder of his that is being listed, before and behind it
is_waiting() { grep -q '^State:.D' "/proc/$1/status"; }
must_mount "$STORE" "$MNT" -o allow_other
echo history=1d >"$MNT/.engram/config"
mkdir "$MNT/his" && chown $STRANGER "$MNT/his"
as $STRANGER sh -c "echo back >'$MNT/his/back' && rm '$MNT/his/back'"
lister $STRANGER "$MNT/his"
check_equal "a stranger lists his own folder, and makes the kernel wait" "" "$SAID"
as $STRANGER mv -T "$MNT/.engram/deleted/his/back" "$MNT/his/back" &
MOVER=$!
wait_until 20 is_waiting $MOVER
echo | python3 "$WORK/lister.py" $STRANGER "$MNT/his" "$WORK/silent/f" >/dev/null &
SECOND=$!
wait_until 20 is_waiting $SECOND
kill -KILL $LISTER
wait $MOVER
check_equal "what he moves into it is moved" 0 $?
check "the second listing makes the kernel wait" wait_until 20 is_waiting $SECOND
no_thread_is_kept() { ! kernel_keeps_a_thread "$(daemons_under "$STORE")"; }
check "no thread of the daemon waits for that" wait_until 3 no_thread_is_kept
is_answered "a folder that is listed"
kill -KILL $SECOND
wait $SECOND 2>/dev/null
lister_ends
check_equal "what came back is there" back "$(cat "$MNT/his/back")"
check "by a number of the present" test "$(stat -c %i "$MNT/his/back")" -lt $((1 << 61))
unmount_store "$MNT"

# root does it
must_mount "$STORE" "$MNT" -o allow_other
exec 6<"$MNT/a"
exec 9>"$MNT/.engram/hold"
lister 0
check_equal "root makes the kernel wait" "" "$SAID"
echo hold-while-open >&9
exec 9>&-
DAEMON=$(daemons_under "$STORE")
check "a thread of the daemon waits for that" wait_until 20 kernel_keeps_a_thread "$DAEMON"
kill -TERM "$DAEMON"
check "SIGTERM ends the daemon" wait_until 20 no_daemon "$STORE"
check_fails "it is mounted no more" "" mountpoint -q "$MNT"
check_fails "who has a file open is told" "not connected|abort" timeout -k 1 10 python3 -c 'import os; os.fsync(6)'
check "the store can be mounted elsewhere" mount_store "$STORE" "$WORK/else"
check "status can be read there" within 10 cat "$WORK/else/.engram/status"
check "unmount" unmount_store "$WORK/else"
exec 6<&-
lister_ends
check "and with the listing ends what was left of the process" wait_until 20 no_process "$DAEMON"
check "engramctl check" "$CTL" check "$STORE"
t_end
