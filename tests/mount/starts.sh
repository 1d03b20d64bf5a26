#!/usr/bin/env bash
# starts.sh - what happens to the mount point while a daemon starts: somebody moves it away, or puts something else in
# its place, or another daemon starts on it. A mount lies where it was looked for, alone, or nowhere.
#
#   tests/mount/starts.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs flock setpriv unshare python3
if ! cc -shared -fPIC -Wall -Werror -o "$WORK/place.so" "$(dirname "$0")/place_shim.c" -ldl; then
    skip starts "no compiler"
    exit 0
fi
chmod 755 "$WORK"
is_root() { [ "$(id -u)" -eq 0 ]; }
mkdir "$WORK/shared" "$WORK/meet"
for name in a b placed; do "$CTL" import - "$WORK/$name" </dev/null >/dev/null; done
sources() { awk -v m="$1" '$5 == m {print $(NF - 1)}' /proc/self/mountinfo; } # bottom first

# ---- two daemons start on one mount point at once: one of them mounts, the other one says why not
both() { # [VARIABLE=VALUE...]: both wait for their stores, and go on at the same time
    rm -f "$WORK/meet"/* "$WORK"/status.*
    exec 7<"$WORK/a" 8<"$WORK/b"
    flock 7
    flock 8
    for name in a b; do
        (
            exec 7<&- 8<&-
            env "$@" timeout 60 "$ENGRAMFS" -o fsname="$name" "$WORK/$name" "$WORK/shared" 2>"$WORK/error.$name"
            echo $? >"$WORK/status.$name"
        ) &
    done
    waiting() { [ "$(daemons_under "$WORK/$1" | wc -l)" -ge 2 ]; } # the one who starts it, and the daemon
    wait_until 20 waiting a && wait_until 20 waiting b || not_ok "both wait for their stores"
    exec 7<&- 8<&-
    wait
    cat "$WORK/status.a" "$WORK/status.b" | sort | xargs
}
round() { # NAME [VARIABLE=VALUE...]
    check_equal "$1: one has begun, one has not" "0 1" "$(both "${@:2}")"
    check_equal "$1: one mount" 1 "$(sources "$WORK/shared" | wc -l)"
    local loser=a
    [ "$(sources "$WORK/shared")" = b ] || loser=b
    check "$1: the other one has said why" grep -q "busy, .* mounted there" "$WORK/error.$loser"
    check "$1: unmount" unmount_store "$WORK/shared"
}
for i in 1 2 3; do round "two at once, $i"; done
if is_root; then
    round "both just before mount(2)" "LD_PRELOAD=$WORK/place.so" "PLACE_MEET=$WORK/meet"
fi
# a stranger who has the lock by which they wait for each other only makes them wait
exec 7<"$WORK/shared"
flock 7
check "the folder is locked by somebody" must_mount "$WORK/a" "$WORK/shared"
exec 7<&-
check "unmount" unmount_store "$WORK/shared"

# ---- somebody owns the folders above the mount point, and is quick
place() { # bob/x/mem, with a folder of others beside it
    mounts_under "$WORK/bob" | xargs -r -n 1 umount -l 2>/dev/null
    rm -rf "$WORK/bob" "$WORK/others"
    mkdir -p "$WORK/bob/x/mem" "$WORK/others/mem"
    chmod 755 "$WORK/bob" "$WORK/bob/x" "$WORK/bob/x/mem"
    if is_root; then chown -R 65534:65534 "$WORK/bob"; fi
    echo kept >"$WORK/others/mem/kept"
}
nowhere() { # NAME
    check_equal "$1: nothing is mounted" "" "$(mounts_under "$WORK/bob")$(mounts_under "$WORK/others")"
    check_equal "$1: what is others' stays in sight" kept "$(cat "$WORK/others/mem/kept")"
    check "$1: the store is free" timeout 20 "$CTL" check "$WORK/placed"
}
start() { # [VARIABLE=VALUE...]: its status; what it says is in `said`
    env "$@" timeout 60 "$ENGRAMFS" -o fsname=S "$WORK/placed" "$WORK/bob/x/mem" 2>"$WORK/said"
    echo $?
}
# while the store is being opened
for by in 'mv mem away; ln -s ../../others/mem mem' 'mv mem away; mkdir mem' 'mv mem away'; do
    place
    exec 7<"$WORK/placed"
    flock 7
    start 7<&- >"$WORK/status" &
    STARTER=$!
    waiting_for_store() { [ "$(daemons_under "$WORK/placed" | wc -l)" -ge 2 ]; }
    wait_until 20 waiting_for_store || not_ok "it waits for its store"
    check "$by: while it waits" sh -e -c "cd '$WORK/bob/x'; $by"
    exec 7<&-
    wait $STARTER
    check_equal "$by: refused" 1 "$(cat "$WORK/status")"
    check "$by: with the reason" grep -q "mount point .*: something else\|mount point .*: No such" "$WORK/said"
    nowhere "$by"
done
if ! is_root; then
    skip "just before mount(2), and without /proc" "not root"
else
    # at the last moment: it is mounted, not found under its name, and taken away again
    SHIM=("LD_PRELOAD=$WORK/place.so" "PLACE_LINK=../../others/mem")
    place
    check_equal "just before mount(2): refused" 1 "$(start "${SHIM[@]}" PLACE_AT=mount "PLACE_FOLDER=$WORK/bob/x/mem")"
    check "just before mount(2): somebody was quick" test -L "$WORK/bob/x/mem"
    check "just before mount(2): the reason" grep -q "moved away while" "$WORK/said"
    nowhere "just before mount(2)"

    # without /proc
    place
    check "without /proc" unshare -m --propagation private bash -c '
        mount -t tmpfs none /proc
        env LD_PRELOAD="$1/place.so" PLACE_LINK=../others PLACE_AT=mount PLACE_FOLDER="$1/bob/x" \
            timeout 60 "$2" -o fsname=S "$1/placed" "$1/bob/x/mem" || exit 1
        umount -n /proc
        awk "{print \$5, \$(NF - 1)}" /proc/self/mountinfo >"$1/there"
        umount "$1/bob/x.moved/mem"' _ "$WORK" "$ENGRAMFS"
    check_equal "without /proc: mounted where it was looked for" "$WORK/bob/x.moved/mem S" "$(grep " S$" "$WORK/there")"
    check "its daemon ends" wait_until 30 no_daemon "$WORK/placed"
    nowhere "without /proc"
fi
t_end
