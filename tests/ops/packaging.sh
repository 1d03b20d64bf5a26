#!/usr/bin/env bash
# packaging.sh - what is installed is whole and works: programs, library, manual, completions, dist, Debian package.
#
#   tests/ops/packaging.sh [BUILD]
#
# The package is built, and its content run from where it is unpacked. With ENGRAM_TEST_MODE=full it is also
# installed by apt in a clean Debian 12 that debootstrap makes, and run there.
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
cd "$ROOT" || exit 1

# The tree as it would be published: what git knows, with what is changed in it.
mkdir "$WORK/src"
if ! git ls-files -z --cached --others --exclude-standard 2>/dev/null | xargs -0 tar c --ignore-failed-read 2>/dev/null | tar x -C "$WORK/src"; then
    skip packaging "not a git tree"
    exit 0
fi

check "meson configures with a prefix" meson setup "$WORK/b" "$WORK/src" --prefix=/usr -Dwerror=true || t_end
check "it builds" ninja -C "$WORK/b" || t_end
check "it installs" env DESTDIR="$WORK/inst" meson install -C "$WORK/b" --no-rebuild || t_end
INST=$WORK/inst/usr

check "the daemon runs from where it is installed" "$INST/bin/engramfs" -V
check "engramctl runs from where it is installed" "$INST/bin/engramctl" version

# ---- the library, as an embedder takes it
cat >"$WORK/embed.c" <<'C'
#include <engine.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    struct eng *eng;
    struct eng_options opt = {.no_background = true};
    struct eng_caller who = {0};
    struct eng_attr attr;
    char why[256], buf[8];
    if (argc < 2 || eng_open(argv[1], &opt, &eng, why) != 0)
        return 1;
    int err = eng_create(eng, &who, ENG_ROOT_INO, "a", 0100644, 0, NULL, &attr);
    err |= eng_write(eng, attr.ino, "hello", 5, 0) != 5;
    err |= eng_read(eng, attr.ino, buf, sizeof(buf), 0) != 5;
    err |= eng_close(eng);
    return err != 0;
}
C
pc() { PKG_CONFIG_SYSROOT_DIR=$WORK/inst PKG_CONFIG_PATH=$(dirname "$(find "$INST" -name engramfs.pc)") pkg-config "$@" engramfs; }
embed() {
    # shellcheck disable=SC2046
    cc -Wall -Wextra -Werror -o "$WORK/embed" "$WORK/embed.c" $(pc --cflags --libs --static) && "$WORK/embed" "$WORK/embedded"
}
check "a program that embeds the engine builds by pkg-config and runs" embed
check "what it wrote is a store" "$INST/bin/engramctl" check "$WORK/embedded"
# the public symbols begin with eng_, so that an embedder's own names are free
check_equal "the library's public header needs nothing of ours" "$(grep -c '#include "' "$INST/include/engramfs/engine.h")" 0

# ---- the manual
if command -v scdoc >/dev/null; then
    for page in man1/engramfs.1 man1/engramctl.1 man5/engramfs-store.5 man7/engramfs-control.7; do
        check_equal "$page renders without a warning" "$(man --warnings=all -l "$INST/share/man/$page" 2>&1 >/dev/null)" ""
    done
    missing=
    for option in $("$INST/bin/engramfs" -h | grep -oE -- '-o [a-z_]+' | cut -d ' ' -f 2 | sort -u); do
        grep -q -- "\*-o $option" packaging/man/engramfs.1.scd || missing="$missing $option"
    done
    check_equal "engramfs(1) has every option" "$missing" ""
    missing=
    for sub in $("$INST/bin/engramctl" --help | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p'); do
        grep -q "^## $sub" packaging/man/engramctl.1.scd || missing="$missing $sub"
        for option in $("$INST/bin/engramctl" "$sub" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
            grep -q -- "$option" packaging/man/engramctl.1.scd || missing="$missing $sub$option"
        done
    done
    check_equal "engramctl(1) has every subcommand and option" "$missing" ""
    mkdir "$WORK/store" "$WORK/mnt"
    must_mount "$WORK/store" "$WORK/mnt"
    missing=
    for verb in $(sed -n 's/^.*write: \([a-z]\{1,\}\).*/\1/p' "$WORK/mnt/.engram/help" | sort -u); do
        grep -q "\*$verb" packaging/man/engramfs-control.7.scd || missing="$missing $verb"
    done
    for key in $(cut -d = -f 1 "$WORK/mnt/.engram/config"); do
        grep -q "\*$key\*" packaging/man/engramfs-control.7.scd || missing="$missing $key"
    done
    for file in "$WORK"/mnt/.engram/*; do
        grep -q "^## .*$(basename "$file")" packaging/man/engramfs-control.7.scd || missing="$missing $(basename "$file")"
    done
    check_equal "engramfs-control(7) has every file, verb and key" "$missing" ""
    check "unmount" unmount_store "$WORK/mnt"
else
    skip "manual pages" "no scdoc"
fi

# ---- completions, asked as bash would ask
complete_with() { # COMMAND WORDS...: what is offered for the last word
    bash -c '
        PATH=$1:$PATH; . "$2/$3" 2>/dev/null
        shift 2
        compopt() { :; }
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "_$1"
        echo "${COMPREPLY[*]}"' _ "$INST/bin" "$INST/share/bash-completion/completions" "$@"
}
check_equal "bash completes a subcommand" "$(complete_with engramctl expo)" "export"
check_equal "bash completes an option of a subcommand" "$(complete_with engramctl compact --est)" "--estimate"
check_equal "bash completes a mount option after a comma" "$(complete_with engramfs -o ro,allow)" "ro,allow_other"

# ---- the tree that is published
if [ -d .git ] && git clone -q . "$WORK/clone" 2>/dev/null; then
    # without its own test run, which is the one that this is part of
    check "meson dist makes an archive" sh -c "meson setup '$WORK/bd' '$WORK/clone' && meson dist -C '$WORK/bd' --no-tests"
    mkdir "$WORK/dist"
    check "the archive unpacks" sh -c "tar xf '$WORK'/bd/meson-dist/*.tar.xz -C '$WORK/dist'"
    check "and builds" sh -c "cd '$WORK'/dist/*/ && meson setup b && ninja -C b fs/engramfs tools/engramctl"
else
    skip "meson dist" "not a git clone"
fi

# ---- the Debian package
if command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then
    check "dpkg-buildpackage" sh -c "cd '$WORK/src' && dpkg-buildpackage -us -uc -b" || t_end
    DEB=$(echo "$WORK"/engramfs_*.deb)
    dpkg-deb -x "$DEB" "$WORK/deb"
    check "the packaged daemon runs" "$WORK/deb/usr/bin/engramfs" -V
    for file in usr/bin/engramctl usr/share/man/man1/engramfs.1.gz usr/lib/systemd/system/engramfs@.service; do
        check "the package has $file" test -e "$WORK/deb/$file"
    done
else
    skip "Debian package" "no dpkg-buildpackage and debhelper"
    t_end
fi
if [ "${ENGRAM_TEST_MODE-}" != full ]; then
    skip "the package in a clean Debian" "only with ENGRAM_TEST_MODE=full"
elif [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null; then
    skip "the package in a clean Debian" "not root, or no debootstrap"
else
    C=$WORK/chroot
    t_more_cleanup() { for m in store-mnt dev proc; do umount -l "$C/$m" 2>/dev/null; done; }
    if check "debootstrap" timeout 900 debootstrap --variant=minbase bookworm "$C"; then
        mount -t proc proc "$C/proc" && mount --bind /dev "$C/dev" && ln -sf /proc/self/mounts "$C/etc/mtab"
        cp "$DEB" "$C/engramfs.deb"
        check "apt installs it in a clean Debian" timeout 300 chroot "$C" sh -c "apt-get update && apt-get install -y /engramfs.deb"
        mkdir "$C/store-mnt"
        check "it mounts there" timeout 60 chroot "$C" engramfs /store /store-mnt
        check "and keeps a memory" chroot "$C" sh -c "echo hello > /store-mnt/a && umount /store-mnt"
        wait_until 30 no_daemon "$C"
        check "which engramctl finds whole" timeout 60 chroot "$C" engramctl check /store
        t_more_cleanup
    fi
fi
t_end
