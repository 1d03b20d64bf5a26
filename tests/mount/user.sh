#!/usr/bin/env bash
# An ordinary user mounts through fusermount3, works, and is the only one who sees it.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs fusermount3 setpriv getfattr
if [ "$(id -u)" -ne 0 ]; then
    skip "user" "not root: run as an ordinary user the other tests are this one"
    exit 0
fi
if [ ! -u "$(command -v fusermount3)" ]; then
    skip "user" "fusermount3 is not set-user-ID root"
    exit 0
fi
if [ ! -e /etc/mtab ]; then
    skip "user" "no /etc/mtab, which fusermount3 needs (a system has it; a bare chroot may not)"
    exit 0
fi
# nobody has a name, as fusermount3 wants, and owns nothing; a build folder need not be open to others
chmod 755 "$WORK"
mkdir "$WORK/bin" "$WORK/home"
cp "$ENGRAMFS" "$CTL" "$WORK/bin/"
chown nobody:nogroup "$WORK/home"
as() { setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$WORK/home" TMPDIR="$WORK/home" "$@"; }
if ! as test -w /dev/fuse; then
    skip "user" "users may not open /dev/fuse here (udev would make it 0666)"
    exit 0
fi
S=$WORK/home/store M=$WORK/home/mnt
as mkdir "$M"

check "mount" as timeout 60 "$WORK/bin/engramfs" "$S" "$M"
check "it is mounted" as mountpoint -q "$M"
check "write and read" as bash -c 'mkdir "$1/people" && echo hello >"$1/people/ada" && [ "$(cat "$1/people/ada")" = hello ]' _ "$M"
check_equal "owner" nobody "$(as stat -c %U "$M/people/ada")"
check "xattrs" as bash -c 'setfattr -n user.engram.confidence -v 0.5 "$1/people/ada" && getfattr -n user.engram.confidence "$1/people/ada"' _ "$M"
check_fails "chown is not for users" "not permitted" as chown root "$M/people/ada"
check "control files" as bash -c 'echo run >"$1/.engram/compact" && cat "$1/.engram/status"' _ "$M"
check "import through the mount" as "$WORK/bin/engramctl" import - "$M" <<<'{"id":"people/bo","content":"met in May"}'
check_equal "imported" "met in May" "$(as cat "$M/people/bo")"
check_fails "root is kept out" "Permission denied" ls "$M"
check_fails "allow_other needs fuse.conf" "allow_other" bash -c '
    grep -q "^user_allow_other" /etc/fuse.conf 2>/dev/null && { echo "allow_other is allowed here"; exit 1; }
    mkdir "$1/m2"; chown nobody "$1/m2"
    setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 60 "$2" -o allow_other "$1/s2" "$1/m2"' \
    _ "$WORK/home" "$WORK/bin/engramfs"
check "fusermount3 -u" as fusermount3 -u "$M"
check "the daemon ends" wait_until 60 no_daemon "$WORK/home"
check "mount again" as timeout 60 "$WORK/bin/engramfs" "$S" "$M"
check_equal "all is there" hello "$(as cat "$M/people/ada")"
for pid in $(daemons_under "$WORK/home"); do kill -9 "$pid"; done
check "kill -9" wait_until 30 no_daemon "$WORK/home"
check "mount over the dead mount point" as timeout 60 "$WORK/bin/engramfs" "$S" "$M"
check_equal "all is there again" "met in May" "$(as cat "$M/people/bo")"
check "unmount at the end" as fusermount3 -u "$M"
check "the daemon has gone" wait_until 60 no_daemon "$WORK/home"
check_fails "another user's store" "Permission denied|denied" bash -c '
    mkdir "$1/bin/root-store" && chmod 700 "$1/bin/root-store"
    setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 60 "$1/bin/engramfs" "$1/bin/root-store" "$1/home/mnt"' _ "$WORK"
t_end
