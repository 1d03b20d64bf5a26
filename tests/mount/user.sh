#!/usr/bin/env bash
# An ordinary user mounts through fusermount3 and through fstab, works, and is the only one who sees it, unless the administrator
# allows more. As root this runs in a mount namespace of its own, where /dev/fuse is as udev makes it, and where fuse.conf and fstab
# may say what they like; nothing of it is seen outside.
if [ "$(id -u)" -eq 0 ] && [ -z "${T_NAMESPACE-}" ] && unshare -m true 2>/dev/null; then
    T_NAMESPACE=own exec unshare -m "$0" "$@"
fi
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs fusermount3 setpriv getfattr python3
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
over() { # FILE PLACE: shows it there, in this namespace only
    [ "${T_NAMESPACE-}" ] && [ -e "$2" ] && mount --bind "$1" "$2" 2>/dev/null
}
# nobody has a name, as fusermount3 wants, and owns nothing; a build folder need not be open to others
chmod 755 "$WORK"
mkdir "$WORK/bin" "$WORK/home"
cp "$ENGRAMFS" "$CTL" "$WORK/bin/"
chown nobody:nogroup "$WORK/home"
as() { setpriv --reuid=nobody --regid=nogroup --clear-groups env HOME="$WORK/home" TMPDIR="$WORK/home" "$@"; }
if ! as test -w /dev/fuse; then
    mknod "$WORK/fuse" c 10 229 && chmod 666 "$WORK/fuse" && over "$WORK/fuse" /dev/fuse
    if ! as dd if=/dev/null of=/dev/fuse count=0 2>"$WORK/err"; then
        skip "user" "users may not open /dev/fuse here, nor a device of this test's own: $(tail -n 1 "$WORK/err")"
        exit 0
    fi
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
check_fails "another user may not unmount it" "Permission denied|not permitted|not found|must be superuser" \
    setpriv --reuid=54321 --regid=54321 --clear-groups umount "$M"
check "it is still there" as test -e "$M/people/ada"
check "fusermount3 -u" as fusermount3 -u "$M"
check "the daemon ends" wait_until 60 no_daemon "$WORK/home"
check "mount again" as timeout 60 "$WORK/bin/engramfs" "$S" "$M"
check_equal "all is there" hello "$(as cat "$M/people/ada")"
for pid in $(daemons_under "$WORK/home"); do kill -9 "$pid"; done
check "kill -9" wait_until 30 no_daemon "$WORK/home"
check "mount over the dead mount point, SIGCHLD being ignored" as python3 -c '
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])' "$WORK/bin/engramfs" "$S" "$M"
check_equal "all is there again" "met in May" "$(as cat "$M/people/bo")"
check "unmount at the end" as fusermount3 -u "$M"
check "the daemon has gone" wait_until 60 no_daemon "$WORK/home"
check_fails "another user's store" "Permission denied|denied" bash -c '
    mkdir "$1/bin/root-store" && chmod 700 "$1/bin/root-store"
    setpriv --reuid=nobody --regid=nogroup --clear-groups timeout 60 "$1/bin/engramfs" "$1/bin/root-store" "$1/home/mnt"' _ "$WORK"

# ---- a root folder that nobody may read keeps its store from nothing
K=$WORK/home/kept
check "a store is mounted" as timeout 60 "$WORK/bin/engramfs" "$K" "$M"
as sh -c 'echo secret >"$1/a" && chmod 0300 "$1"' _ "$M"
check_fails "its root folder cannot be listed" "Permission denied" as ls "$M"
check "unmount" as fusermount3 -u "$M"
check "the daemon ends" wait_until 60 no_daemon "$K"
check "it is mounted again" as timeout 60 "$WORK/bin/engramfs" "$K" "$M"
check_equal "what was in it is there" secret "$(as cat "$M/a")"
# what is stored through a mapping of a file that stays open is written back then, too
coproc HOLDER { as python3 -c '
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 1 << 20)
m = mmap.mmap(fd, 1 << 20)
m[:] = b"A" * (1 << 20)
print(flush=True)
sys.stdin.readline()
os._exit(0)' "$M/stored"; }
HOLDER_JOB=$HOLDER_PID
read -t 20 -r _ <&"${HOLDER[0]}"
daemons_under "$K" | xargs -r kill -TERM
check "SIGTERM ends its daemon while a file is mapped" wait_until 60 no_daemon "$K"
echo >&"${HOLDER[1]}"
wait "$HOLDER_JOB"
check "it is mounted once more" as timeout 60 "$WORK/bin/engramfs" "$K" "$M"
check_equal "what was stored is there" 1048576 "$(as cat "$M/stored" | tr -cd A | wc -c)"
# sync(1) may wait for a filesystem that never answers: nobody else does
mkdir "$WORK/bin/stuck"
printf '#!/bin/sh\necho $$ >"%s"\nexec sleep 300\n' "$WORK/home/stuck" >"$WORK/bin/stuck/sync"
chmod 755 "$WORK/bin/stuck/sync"
check "unmount before that" as fusermount3 -u "$M"
check "the daemon ends before that" wait_until 60 no_daemon "$K"
check "a mount whose sync(1) never ends" as env "PATH=$WORK/bin/stuck:$PATH" timeout 60 "$WORK/bin/engramfs" "$K" "$M"
daemons_under "$K" | xargs -r kill -TERM
check "SIGTERM ends its daemon all the same" wait_until 30 no_daemon "$K"
check "it has begun" kill "$(cat "$WORK/home/stuck")"
check "and can be killed" wait_until 20 bash -c '! kill -0 "$1" 2>/dev/null' _ "$(cat "$WORK/home/stuck")"
check "its store is free" as timeout 60 "$WORK/bin/engramfs" "$K" "$M"
check "its mode may be changed" as chmod 0 "$M"
check "unmount, mode 0" as fusermount3 -u "$M"
check "the daemon ends, mode 0" wait_until 60 no_daemon "$K"
check "it is mounted, mode 0" as timeout 60 "$WORK/bin/engramfs" "$K" "$M"
check "its mode may be changed back" as chmod 0700 "$M"
check_equal "all is there, mode 0" secret "$(as cat "$M/a")"
check "unmount, mode 0700" as fusermount3 -u "$M"
check "the daemon ends, mode 0700" wait_until 60 no_daemon "$K"
# what a user restores of an archive of root's, whose ./ is closed to him
mkdir -m 700 "$WORK/closed" && echo hi >"$WORK/closed/x" && tar -cf "$WORK/home/closed.tar" -C "$WORK/closed" . && chmod 644 "$WORK/home/closed.tar"
as timeout 60 "$WORK/bin/engramctl" import "$WORK/home/closed.tar" "$WORK/home/restored" >/dev/null 2>&1
check "what was restored with a root folder of root's is mounted" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/restored" "$M"
check_equal "and its folder is so" "root 700" "$(as stat -c '%U %a' "$M")"
check "unmount, another's" as fusermount3 -u "$M"
check "the daemon ends, another's" wait_until 60 no_daemon "$WORK/home/restored"
check "mount with -o noperm" as timeout 60 "$WORK/bin/engramfs" -o noperm "$WORK/home/restored" "$M"
check "then the user makes the folder his own" as chown nobody: "$M"
check "unmount, noperm" as fusermount3 -u "$M"
check "the daemon ends, noperm" wait_until 60 no_daemon "$WORK/home/restored"
check "without it" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/restored" "$M"
check_equal "he has what he restored" "x" "$(as ls "$M")"
check "unmount, his own" as fusermount3 -u "$M"
check "the daemon ends, his own" wait_until 60 no_daemon "$WORK/home/restored"
# and root, who may not pass modes over everywhere
plain_root() { setpriv --bounding-set=-dac_override,-dac_read_search "$@"; }
mkdir "$WORK/plain"
check "a store of root's is mounted" timeout 60 "$ENGRAMFS" "$WORK/plain.store" "$WORK/plain"
check "its root folder becomes another's" chown 1000 "$WORK/plain"
chmod 700 "$WORK/plain"
check "unmount, root's" unmount_store "$WORK/plain"
check "it is mounted by a root without CAP_DAC_OVERRIDE" plain_root timeout 60 "$ENGRAMFS" "$WORK/plain.store" "$WORK/plain"
check_fails "who may not list it" "Permission denied" plain_root ls "$WORK/plain"
check "unmount, root's again" unmount_store "$WORK/plain"

# ---- who may rename a folder above the mount point puts a link to another mount of the same user in its place
as mkdir -p "$WORK/home/x/mem" "$WORK/home/other/mem"
check "one mount" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/second" "$WORK/home/x/mem"
check "and another" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/third" "$WORK/home/other/mem"
for state in idle busy; do
    if [ $state = idle ]; then
        as sh -c 'cd "$1" && mv x y && ln -s other x' _ "$WORK/home"
    else
        check "the one again" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/second" "$WORK/home/y/mem"
        coproc HOLDER { as sh -c 'exec 8<"$1"; echo; read -r _' _ "$WORK/home/y/mem"; }
        HOLDER_JOB=$HOLDER_PID
        read -t 20 -r _ <&"${HOLDER[0]}"
    fi
    daemons_under "$WORK/home/second" | xargs -r kill -TERM
    check "SIGTERM ends the one, $state" wait_until 30 no_daemon "$WORK/home/second"
    check_equal "the other one stays mounted, and alone, $state" "$WORK/home/other/mem" "$(mounts_under "$WORK/home")"
done
echo >&"${HOLDER[1]}"
wait "$HOLDER_JOB"
check "unmount the other" as fusermount3 -u "$WORK/home/other/mem"
check "its daemon ends" wait_until 60 no_daemon "$WORK/home"

# ---- who may rename that folder is quick, just before fusermount3 looks at the mount point
if ! cc -shared -fPIC -Wall -Werror -o "$WORK/place.so" "$(dirname "$0")/place_shim.c" -ldl; then
    skip "a link just before fusermount3" "no compiler"
else
    as mkdir -p "$WORK/home/z/mem" "$WORK/home/beside/mem"
    # -f: the first fork is libfuse's
    as env "LD_PRELOAD=$WORK/place.so" PLACE_LINK=beside PLACE_AT=fork "PLACE_FOLDER=$WORK/home/z" \
        "$WORK/bin/engramfs" -f "$WORK/home/second" "$WORK/home/z/mem" 2>"$WORK/said" &
    QUICK=$!
    wait_until 20 grep -q " mounted on " "$WORK/said" || not_ok "the one is mounted" "$(tail -n 1 "$WORK/said")"
    check "somebody was quick" test -L "$WORK/home/z"
    check_equal "mounted where it was looked for" "$WORK/home/z.moved/mem" "$(mounts_under "$WORK/home")"
    daemons_under "$WORK/home/second" | xargs -r kill -TERM
    wait $QUICK
    check_equal "SIGTERM ends it" 0 $?
    check_equal "and nothing is mounted" "" "$(mounts_under "$WORK/home")"
fi

# ---- what the administrator allows in fuse.conf
other() { setpriv --reuid=54321 --regid=54321 --clear-groups "$@"; }
member() { setpriv --reuid=54321 --regid=54321 --groups=54322,"$(id -g nobody)" "$@"; }
denied() { check_fails "$1" "Permission denied" "${@:2}"; }
echo "# nothing is allowed" >"$WORK/fuse.conf"
if ! over "$WORK/fuse.conf" /etc/fuse.conf; then
    skip "allow_other of an ordinary user" "no mount namespace of its own, or no /etc/fuse.conf to show another in place of"
else
    check_fails "allow_other needs fuse.conf" "allow_other" as timeout 60 "$WORK/bin/engramfs" -o allow_other "$S" "$M"
    check "nothing is mounted then" bash -c '! mountpoint -q "$1"' _ "$M"
    echo user_allow_other >>"$WORK/fuse.conf"
    chmod 755 "$WORK/home"
    check "allow_other, with user_allow_other" as timeout 60 "$WORK/bin/engramfs" -o allow_other "$S" "$M"
    as bash -c 'cd "$1" && mkdir -m 755 open && mkdir -m 711 pass && mkdir -m 700 shut && mkdir -m 1777 sticky &&
        for d in open pass shut; do for m in 600 640 644; do echo $d$m >$d/$m && chmod $m $d/$m; done; done && echo mine >sticky/mine &&
        printf "#!/bin/sh\nid -u\n" >open/program && chmod 755 open/program && cp "$(command -v id)" open/id && chmod 4755 open/id' _ "$M"
    check_equal "others read what is for all" open644 "$(other cat "$M/open/644")"
    denied "but not what is for the group" other cat "$M/open/640"
    check_equal "a member of the group does, by a supplementary group" open640 "$(member cat "$M/open/640")"
    denied "nor what is for the owner" member cat "$M/open/600"
    denied "others do not write" other bash -c 'echo x >>"$1"' _ "$M/open/644"
    denied "they do not list where only x is given" other ls "$M/pass"
    check_equal "they open there by name" pass644 "$(other cat "$M/pass/644")"
    denied "they enter nothing that is shut" other cat "$M/shut/644"
    denied "they create nothing in another's folder" other touch "$M/open/new"
    check "they create where all may" other touch "$M/sticky/theirs"
    check_equal "and own what they made" 54321 "$(stat -c %u "$M/sticky/theirs")"
    check_fails "the sticky bit keeps another's file" "not permitted" other rm -f "$M/sticky/mine"
    check_fails "another's mode cannot be changed" "not permitted" other chmod 666 "$M/open/644"
    denied "control files are the owner's" other bash -c 'echo run >"$1/.engram/compact"' _ "$M"
    check_equal "a program runs as who runs it" 54321 "$(other "$M/open/program")"
    check_equal "set-user-ID means nothing on a user's mount" 54321 "$(other "$M/open/id" -u)"
    check_equal "root is an other here, and may all" open600 "$(cat "$M/open/600")"
    check "unmount" as fusermount3 -u "$M"
    check "the daemon ends" wait_until 60 no_daemon "$WORK/home"
    chmod 700 "$WORK/home"
fi

# ---- what the engine says while fusermount3 mounts comes out once, as it was said
REAL=$(command -v fusermount3)
if ! { [ "${T_NAMESPACE-}" ] && cp -p "$REAL" "$WORK/bin/real" && chown root "$WORK/bin/real" && chmod 4755 "$WORK/bin/real"; }; then
    skip "lines while it mounts" "no mount namespace of its own"
else
    check "a store that will be compacted" as timeout 60 "$WORK/bin/engramfs" "$WORK/home/lines" "$M"
    as bash -c 'cd "$1" && echo auto_compact=0 >.engram/config && for i in $(seq 40); do head -c 50000 /dev/urandom >m$i; done &&
        rm m[1-3]*' _ "$M"
    as fusermount3 -u "$M"
    check "unmounted" wait_until 60 no_daemon "$WORK/home"
    printf 'auto_compact=1\ncompact_min_bytes=1\ncompact_min_fragmentation=0.1\nunderstood=never\n' >"$WORK/home/lines/config"
    # until the engine has compacted, at most 20 s
    cat >"$WORK/bin/slow" <<S
#!/bin/sh
case "\$*" in *-u*) exec "$WORK/bin/real" "\$@" ;; esac
for i in \$(seq 200); do
    [ -e "$WORK/home/lines/s00000001.seg" ] || break
    sleep 0.1
done
exec "$WORK/bin/real" "\$@"
S
    chmod 755 "$WORK/bin/slow"
    mount --bind "$WORK/bin/slow" "$REAL"
    as "$WORK/bin/engramfs" -f "$WORK/home/lines" "$M" 2>"$WORK/lines.log" &
    SLOW=$!
    check "mounted by a slow fusermount3" wait_until 60 as mountpoint -q "$M"
    check "the log says so" wait_until 20 grep -q " mounted on " "$WORK/lines.log"
    umount "$REAL"
    check_equal "the line of the engine comes once, as it is" 1 "$(grep -c '^engramfs: compacting: ' "$WORK/lines.log")"
    check_equal "and in no other form" 1 "$(grep -c 'compacting: ' "$WORK/lines.log")"
    as fusermount3 -u "$M"
    wait $SLOW
    check_equal "it ends well" 0 $?
fi

# ---- a line of fstab with the word `user`, as where engramfs is installed
echo "$S $M fuse.engramfs noauto,user 0 0" >"$WORK/fstab"
installed() { [ "${T_NAMESPACE-}" ] && mount -t overlay overlay -o "lowerdir=$WORK/bin:/usr/local/bin" /usr/local/bin 2>/dev/null; }
if ! over "$WORK/fstab" /etc/fstab || ! installed; then
    skip "fstab's user" "no mount namespace of its own, no overlay in it, or no /etc/fstab to show another in place of"
else
    check "mount, as fstab lets a user" as timeout 60 mount "$M"
    check_equal "it is the user's own daemon" nobody "$(ps -o user= -p "$(daemons_under "$WORK/home")")"
    check "nosuid, nodev and noexec come with it" grep -qE "^$S $M fuse.engramfs rw,nosuid,nodev,noexec," /proc/mounts
    check_equal "all is there" "met in May" "$(as cat "$M/people/bo")"
    check_fails "root is kept out of it, too" "Permission denied" ls "$M"
    check "umount, by the user" as umount "$M"
    check "the daemon ends" wait_until 60 no_daemon "$WORK/home"
fi
check "engramctl check" as "$WORK/bin/engramctl" check "$S"
t_end
