#!/bin/sh
# Installs what building and testing need, or says what is missing.
#
#   tools/dev/deps.sh build | demo | test | full | lint | coverage | bench ...
#
# Each word is a group of Debian packages; without a word: build. As root, or
# where sudo asks for no password, the missing ones are installed by apt. On
# another distribution the commands and libraries that are missing are named.
set -eu

group() {
    case $1 in
    build) echo gcc libc6-dev meson ninja-build pkg-config libfuse3-dev libxxhash-dev nettle-dev libjansson-dev libarchive-dev zlib1g-dev ;;
    demo) echo fuse3 attr rsync ;;
    test) echo libcriterion-dev fuse3 attr rsync git sqlite3 python3 tar coreutils findutils grep sed \
        util-linux e2fsprogs btrfs-progs procps passwd clang libclang-rt-14-dev curl prometheus scdoc man-db \
        libmicrohttpd-dev libarchive-dev zlib1g-dev debhelper dpkg-dev fakeroot cpio vim bsdutils \
        zsh lintian zstd lz4 xz-utils make emacs-nox fio stress-ng dbench bonnie++ borgbackup restic ripgrep ;;
    full) echo debootstrap systemd-container ;;
    lint) echo clang clang-format clang-tidy cppcheck shellcheck ;;
    coverage) echo gcovr ;;
    bench) echo fuse3 rsync python3 e2fsprogs util-linux ;;
    *)
        echo "deps.sh: unknown group '$1' (build, demo, test, full, lint, coverage, bench)" >&2
        exit 2
        ;;
    esac
}

# What a package is there for, on systems where dpkg cannot say: a command, or a pkg-config module.
stands_for() {
    case $1 in
    libc6-dev | coreutils | findutils | procps) echo cmd:ls ;;
    ninja-build) echo cmd:ninja ;;
    libfuse3-dev) echo lib:fuse3 ;;
    libxxhash-dev) echo lib:libxxhash ;;
    nettle-dev) echo lib:nettle ;;
    libjansson-dev) echo lib:jansson ;;
    libcriterion-dev) echo lib:criterion ;;
    fuse3) echo cmd:fusermount3 ;;
    attr) echo cmd:setfattr ;;
    util-linux) echo cmd:setpriv ;;
    e2fsprogs) echo cmd:mkfs.ext4 ;;
    btrfs-progs) echo cmd:mkfs.btrfs ;;
    passwd) echo cmd:useradd ;;
    bsdutils) echo cmd:script ;;
    systemd-container) echo cmd:systemd-nspawn ;;
    man-db) echo cmd:man ;;
    debhelper) echo cmd:dh ;;
    dpkg-dev) echo cmd:dpkg-buildpackage ;;
    libclang-rt-14-dev) echo cmd:clang ;;
    libmicrohttpd-dev) echo lib:libmicrohttpd ;;
    libarchive-dev) echo lib:libarchive ;;
    zlib1g-dev) echo lib:zlib ;;
    xz-utils) echo cmd:xz ;;
    emacs-nox) echo cmd:emacs ;;
    borgbackup) echo cmd:borg ;;
    ripgrep) echo cmd:rg ;;
    *) echo "cmd:$1" ;;
    esac
}

have_command() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1
}

is_present() {
    if have_command dpkg-query; then
        case $(dpkg-query -W -f='${Status}' "$1" 2>/dev/null || true) in
        *" installed") return 0 ;;
        esac
    fi
    # Also on Debian: a tool installed by hand serves as well as the package.
    what=$(stands_for "$1")
    case $what in
    cmd:*) [ "$1" != libc6-dev ] && have_command "${what#cmd:}" ;;
    lib:*) have_command pkg-config && pkg-config --exists "${what#lib:}" ;;
    esac
}

missing=
for g in "${@:-build}"; do
    packages=$(group "$g")
    for p in $packages; do
        case " $missing " in *" $p "*) continue ;; esac
        is_present "$p" || missing="$missing $p"
    done
done
missing=${missing# }
[ -n "$missing" ] || exit 0

if ! have_command apt-get; then
    echo "These are missing (named as Debian names them); install what your system calls them:" >&2
    for p in $missing; do
        what=$(stands_for "$p")
        [ "$what" = cmd:ls ] && echo "  $p" >&2 || echo "  $p  (${what%%:*}: ${what#*:})" >&2
    done
    exit 1
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
    if have_command sudo && sudo -n true 2>/dev/null; then
        as_root="sudo -n"
    else
        echo "Missing packages; please run:  sudo apt-get install -y $missing" >&2
        exit 1
    fi
fi

echo "installing: $missing" >&2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists of a fresh image are empty, so an update comes first.
# shellcheck disable=SC2086  # lists of words
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1; then
    { grep '^E: ' "$log" || cat "$log"; } | tail -n 5 >&2
    echo "apt could not install (is there a network?): $missing" >&2
    exit 1
fi
