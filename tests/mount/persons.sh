#!/usr/bin/env bash
# persons.sh - a user with subordinate ids is one user to what strangers share: he does not get the places of all others at
# control files. As root, in a mount namespace of its own, where /etc/subuid says what this test likes.
#
#   tests/mount/persons.sh [BUILD]
if [ "$(id -u)" -eq 0 ] && [ -z "${T_NAMESPACE-}" ] && unshare -m true 2>/dev/null; then
    T_NAMESPACE=own exec unshare -m "$0" "$@"
fi
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
echo eve:700000:65536 >"$WORK/subuid"
if [ "$(id -u)" -ne 0 ] || [ -z "${T_NAMESPACE-}" ] || ! mount --bind "$WORK/subuid" /etc/subuid 2>/dev/null; then
    skip "persons" "not root, or no /etc/subuid to be seen otherwise"
    exit 0
fi
chmod 755 "$WORK"
cat >"$WORK/ids.py" <<'P'
"""ids.py MOUNT IDS: so many of one user's ids open control files, as many as they get; then another user opens one, and root.
Says how many the first got, and what the others."""
import os, resource, signal, sys
mount, ids = sys.argv[1], int(sys.argv[2])
def become(uid):
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
def child(uid, do):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
        become(uid)
        os.write(writer, do().encode())
        signal.pause() # with what it has open
    os.close(writer)
    children.append(pid)
    return os.read(reader, 99).decode()
def take():
    n = 0
    try:
        while True:
            os.open(mount + "/.engram/help", os.O_RDONLY)
            n += 1
    except OSError as e:
        return "%d" % n
def look():
    try:
        return "read" if open(mount + "/.engram/metrics").read() else "empty"
    except OSError as e:
        return e.strerror
children = []
taken = sum(int(child(700000 + i, take)) for i in range(ids))
print(taken, child(1003, look), child(0, look))
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
P
must_mount "$WORK/store" "$WORK/mnt" -o allow_other
check_equal "one user has 256 places with 29 ids, and others are answered" "256 read read" \
    "$(timeout 60 python3 "$WORK/ids.py" "$WORK/mnt" 29 2>&1)"
echo >"$WORK/subuid" # they are users of their own
three_users() { [ "$(timeout 60 python3 "$WORK/ids.py" "$WORK/mnt" 3 2>&1)" = "768 read read" ]; }
check "what the file says by now counts" wait_until 20 three_users
check "unmount" unmount_store "$WORK/mnt"
t_end
