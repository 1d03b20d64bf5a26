#!/usr/bin/env bash
# packaging.sh - what is installed is whole and works: programs, library, manual, completions, service, dist, Debian package.
#
#   tests/ops/packaging.sh [BUILD]
#
# The package is built, and its content run from where it is unpacked. tests/ops/debian.sh installs it in a clean Debian.
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
pc() { PKG_CONFIG_SYSROOT_DIR=$WORK/inst PKG_CONFIG_PATH=$(dirname "$(find "$INST" -name engramfs.pc)") pkg-config "$@" engramfs; }
embed() {
    # shellcheck disable=SC2046
    cc -Wall -Wextra -Werror -o "$WORK/embed" tests/ops/embed.c $(pc --cflags --libs --static) && "$WORK/embed" "$WORK/embedded"
}
check "a program that embeds the engine builds by pkg-config and runs" embed
check "what it wrote is a store" "$INST/bin/engramctl" check "$WORK/embedded"
# the public symbols begin with eng_, so that an embedder's own names are free
check_equal "the library's public header needs nothing of ours" "$(grep -c '#include "' "$INST/include/engramfs/engine.h")" 0

# ---- the service
if command -v systemd-analyze >/dev/null; then
    mkdir "$WORK/units"
    for unit in engramfs engram-gateway; do
        # the programs are not where they will be
        sed "s|=/usr/bin/|=$INST/bin/|" "$INST/lib/systemd/system/$unit@.service" >"$WORK/units/$unit@test.service"
        check_equal "$unit@.service: systemd-analyze verify" "" "$(systemd-analyze verify --man=no "$WORK/units/$unit@test.service" 2>&1)"
    done
    check_equal "the gateway has the group of ctl_group as its primary one, which counts wherever it runs" "Group=engramfs" \
        "$(grep -E '^(Supplementary)?Groups?=' "$WORK/units/engram-gateway@test.service")"
else
    skip "units" "no systemd-analyze"
fi

# ---- the manual
if command -v scdoc >/dev/null; then
    for page in man1/engramfs.1 man1/engramctl.1 man1/engram-backup.1 man1/engram-gateway.1 man5/engramfs-store.5 man7/engramfs-control.7; do
        check_equal "$page renders without a warning" "$(man --warnings=all -l "$INST/share/man/$page" 2>&1 >/dev/null)" ""
    done
    missing=
    for option in $("$INST/bin/engramfs" -h | grep -oE -- '-o [a-z_]+' | cut -d ' ' -f 2 | sort -u); do
        grep -q -- "\*-o $option" packaging/man/engramfs.1.scd || missing="$missing $option"
    done
    check_equal "engramfs(1) has every option" "$missing" ""
    missing=
    for option in $(sed -n '/^static int set_flag/,/^}/p' fs/options.c | grep -oE '"[A-Za-z_]+[-=]?"' | tr -d '"'); do
        grep -qE "(^|[_* (\\])$option([_*,; .:)]|$)" packaging/man/engramfs.1.scd || missing="$missing $option"
    done
    check_equal "and every word that is taken from mount(8)" "$missing" ""
    missing=
    for sub in $("$INST/bin/engramctl" --help | sed -n 's/^  \([a-z]\{1,\}\)  .*/\1/p'); do
        grep -q "^## $sub" packaging/man/engramctl.1.scd || missing="$missing $sub"
        for option in $("$INST/bin/engramctl" "$sub" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
            grep -q -- "$option" packaging/man/engramctl.1.scd || missing="$missing $sub$option"
        done
    done
    check_equal "engramctl(1) has every subcommand and option" "$missing" ""
    missing=
    for option in $("$INST/bin/engram-gateway" --help | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
        grep -q -- "\*$option" packaging/man/engram-gateway.1.scd || missing="$missing $option"
    done
    check_equal "engram-gateway(1) has every option" "$missing" ""
    for program in "$INST"/bin/*; do
        check "$(basename "$program") has a page" test -e "$INST/share/man/man1/$(basename "$program").1"
    done
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
        PATH=$1:$PATH; . "$2/$3" || exit 1
        shift 2
        compopt() { :; }
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
        "_${1//-/_}"
        echo "${COMPREPLY[*]}"' _ "$INST/bin" "$INST/share/bash-completion/completions" "$@"
}
check_equal "bash completes a subcommand" "$(complete_with engramctl expo)" "export"
check_equal "bash completes an option of a subcommand" "$(complete_with engramctl compact --est)" "--estimate"
check_equal "bash completes a mount option after a comma" "$(complete_with engramfs -o ro,allow)" "ro,allow_other"
check_equal "bash completes an option of the gateway" "$(complete_with engram-gateway --tok)" "--token-file"
check_equal "bash completes a folder to back up" "$(complete_with engram-backup "$WORK/src/pack")" "$WORK/src/packaging"

# zsh itself in a terminal: what the line is after a tab. The folders that it completes from are as installed.
cat >"$WORK/complete.zsh" <<'Z'
zmodload zsh/zpty
read_until() { # PATTERN: into $seen
    local chunk
    seen=
    while [[ $seen != *${~1}* ]]; do
        zpty -r z chunk || { print -r -- "zsh ended: $seen"; exit 1; }
        seen+=$chunk
    done
}
zpty z zsh -f -i
zpty -w z "PS1= PATH=$1:\$PATH fpath=($2 \$fpath); autoload -Uz compinit && compinit -D -u; show() { print -r -- \"<\$BUFFER>\"; }; zle -N show; bindkey '^Xs' show; echo rea''dy"
read_until ready
zpty -w -n z "$3"$'\t\030s'
read_until '<*>'
print -r -- "${${seen##*<}%%>*}"
Z
zsh_completes() { TERM=dumb timeout 30 zsh -f "$WORK/complete.zsh" "$INST/bin" "$INST/share/zsh/site-functions" "$1"; }
if command -v zsh >/dev/null; then
    check_equal "zsh completes a subcommand" "engramctl export " "$(zsh_completes "engramctl expo")"
    check_equal "zsh completes an option of a subcommand" "engramctl compact --estimate " "$(zsh_completes "engramctl compact --est")"
    check_equal "zsh completes a mount option" "engramfs -o allow_other," "$(zsh_completes "engramfs -o allow")"
    check_equal "zsh completes an option of the gateway" "engram-gateway --token-file " "$(zsh_completes "engram-gateway --tok")"
    check_equal "zsh completes a folder to back up" "engram-backup $WORK/src/packaging/" "$(zsh_completes "engram-backup $WORK/src/pack")"
else
    skip "completion in zsh" "no zsh"
fi

# ---- the tree that is published
if git clone -q . "$WORK/clone" 2>/dev/null; then
    # without its own test run, which is the one that this is part of
    check "meson dist makes an archive" sh -c "meson setup '$WORK/bd' '$WORK/clone' && meson dist -C '$WORK/bd' --no-tests"
    mkdir "$WORK/dist"
    check "the archive unpacks" sh -c "tar xf '$WORK'/bd/meson-dist/*.tar.xz -C '$WORK/dist'"
    check "and builds" sh -c "cd '$WORK'/dist/*/ && meson setup b && ninja -C b fs/engramfs tools/engramctl packaging/engramfs.1"
    check "it holds no history and no build" sh -c "! ls -d '$WORK'/dist/*/.git '$WORK'/dist/*/build"
else
    skip "meson dist" "not a git clone"
fi

# ---- the Debian package
if command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then
    check "dpkg-buildpackage" sh -c "cd '$WORK/src' && dpkg-buildpackage -us -uc -b" || t_end
    DEB=$(echo "$WORK"/engramfs_*.deb)
    if command -v lintian >/dev/null; then
        check_equal "lintian has nothing to say" "" "$(lintian --allow-root --pedantic "$WORK"/engramfs_*.changes 2>&1)"
    else
        skip "lintian" "not installed"
    fi
    dpkg-deb -x "$DEB" "$WORK/deb"
    check "the packaged daemon runs" "$WORK/deb/usr/bin/engramfs" -V
    for file in usr/bin/engramctl usr/share/man/man1/engramfs.1.gz usr/lib/systemd/system/engramfs@.service \
        usr/lib/systemd/system/engram-gateway@.service usr/lib/sysusers.d/engramfs.conf usr/share/zsh/vendor-completions/_engramctl; do
        check "the package has $file" test -e "$WORK/deb/$file"
    done
else
    skip "Debian package" "no dpkg-buildpackage and debhelper"
fi
t_end
