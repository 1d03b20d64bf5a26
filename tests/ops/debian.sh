#!/usr/bin/env bash
# debian.sh - the Debian package in a clean Debian 12, as an operator gets it: built, installed by apt in what
# debootstrap makes, run there by hand, and then as a service after that system has booted with systemd in a container.
#
#   tests/ops/debian.sh [BUILD]
#
# Only with ENGRAM_TEST_MODE=full: it loads a hundred megabytes from Debian's archive.
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
PATH=$PATH:/usr/sbin:/sbin
if [ "${ENGRAM_TEST_MODE-}" != full ]; then
    skip "the package in a clean Debian" "only with ENGRAM_TEST_MODE=full"
    exit 0
elif [ "$(id -u)" -ne 0 ]; then
    skip "the package in a clean Debian" "not root"
    exit 0
fi
t_needs debootstrap dpkg-buildpackage dh lintian systemd-nspawn
cd "$ROOT" || exit 1
C=$WORK/chroot
t_more_cleanup() {
    local m
    for m in store-mnt dev proc; do umount -l "$C/$m" 2>/dev/null; done
}

# ---- built from what git knows
mkdir "$WORK/src"
git ls-files -z --cached --others --exclude-standard | xargs -0 tar c --ignore-failed-read 2>/dev/null | tar x -C "$WORK/src"
check "dpkg-buildpackage" sh -c "cd '$WORK/src' && dpkg-buildpackage -us -uc -b" || t_end
check_equal "lintian has nothing to say" "" "$(lintian --allow-root --pedantic --display-experimental "$WORK"/engramfs_*.changes 2>&1)"

# ---- installed where nothing else is
# the same archive, and apt's settings, as this machine has
MIRROR=$(sed -n 's/^URIs: //p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm main.*/\2/p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -m1 'debian$')
check "debootstrap" timeout 900 debootstrap --variant=minbase bookworm "$C" "${MIRROR:-http://deb.debian.org/debian}" || t_end
cp /etc/resolv.conf "$C/etc/"
mount -t proc proc "$C/proc" && mount --bind /dev "$C/dev"
cp "$WORK"/engramfs_*.deb "$WORK"/libengramfs-dev_*.deb "$C/root/"
apt() { timeout 600 chroot "$C" env DEBIAN_FRONTEND=noninteractive apt-get "$@"; }
check "apt-get update" apt update
check "apt installs it in a clean Debian" apt install -y --no-install-recommends "/root/$(basename "$WORK"/engramfs_*.deb)"
check_equal "nothing of ours is missing a library" "" "$(chroot "$C" sh -c 'ldd /usr/bin/engram*' 2>/dev/null | grep 'not found')"
mkdir "$C/store-mnt"
check "it mounts there" timeout 60 chroot "$C" engramfs /store /store-mnt
check "and keeps a memory" chroot "$C" sh -c "echo hello > /store-mnt/a && umount /store-mnt"
wait_until 30 no_daemon /store
check "which engramctl finds whole" timeout 60 chroot "$C" engramctl check /store
echo "/store /store-mnt fuse.engramfs noatime,allow_other,nofail 0 0" >"$C/etc/fstab"
check "a line of fstab" timeout 60 chroot "$C" mount /store-mnt
check_equal "shows it" hello "$(cat "$C/store-mnt/a")"
check "umount" chroot "$C" umount /store-mnt
wait_until 30 no_daemon /store
: >"$C/etc/fstab"

# ---- the library, for a program from elsewhere
check "apt installs what an embedder needs" apt install -y --no-install-recommends gcc libc6-dev pkg-config "/root/$(basename "$WORK"/libengramfs-dev_*.deb)"
cp tests/ops/embed.c "$C/root/"
check "it builds there" chroot "$C" sh -c "cd /root && cc -Wall -Wextra -Werror -o embed embed.c \$(pkg-config --cflags --libs --static engramfs)"
check "and runs" chroot "$C" /root/embed /embedded

# ---- as a service
check "apt installs systemd and tools" apt install -y --no-install-recommends systemd systemd-sysv dbus curl rsync attr
umount "$C/dev" "$C/proc"
cp tests/ops/debian_inside.sh "$C/root/"
cat >"$C/etc/systemd/system/inside.service" <<'U'
[Unit]
Description=the tests inside
SuccessAction=poweroff
FailureAction=poweroff
[Service]
Type=oneshot
ExecStart=/bin/bash /root/debian_inside.sh
StandardOutput=file:/root/result
StandardError=inherit
TimeoutStartSec=300
[Install]
WantedBy=multi-user.target
U
chroot "$C" systemctl enable inside.service >/dev/null 2>&1
timeout -k 10 360 systemd-nspawn --register=no --keep-unit -q -D "$C" --bind=/dev/fuse --boot >"$WORK/boot.log" 2>&1 </dev/null
if grep -q "^end of the tests inside" "$C/root/result" 2>/dev/null; then
    grep -E '^(ok|not ok|#)' "$C/root/result"
    T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$C/root/result")))
elif [ ! -s "$C/root/result" ]; then
    skip "the service" "systemd does not boot in a container here: $(tail -n 1 "$WORK/boot.log" | tr -cd '[:print:]' | cut -c 1-150)"
else
    cat "$C/root/result"
    not_ok "the service" "the tests inside did not come to their end"
fi
[ -z "${T_KEEP-}" ] || cp "$WORK/boot.log" /var/tmp/
t_end
