#!/usr/bin/env bash
# past_kinds.sh - each kind of change has the past that docs/HISTORY.md tells, seen through .engram/at; past_kinds.py has them.
#
#   tests/mount/past_kinds.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
if [ "$(id -u)" -ne 0 ]; then
    skip "past_kinds" "not root: devices, owners and whiteouts are root's to make"
    exit 0
fi
STORE=$WORK/store MNT=$WORK/mnt
KINDS=$ROOT/tests/mount/past_kinds.py
configure() { for line in "$@"; do echo "$line" >"$MNT/.engram/config" || return 1; done; }

must_mount "$STORE" "$MNT" -o dev
check "a history that keeps each state" configure history_settle=0 history=1d
told=$(python3 "$KINDS" list)
for kind in $told; do
    case $kind in short_*) continue ;; esac
    check "${kind//_/ }" python3 "$KINDS" "$MNT" "$kind"
done
check "a settle of two seconds" configure history_settle=2s
for kind in short_states short_names; do
    check "${kind//_/ }" python3 "$KINDS" "$MNT" "$kind"
done
# Each kind has its row in the document, and each row its kind.
rows=$(sed -n 's/^| .* | `\([a-z_]*\)` |$/\1/p' "$ROOT/docs/HISTORY.md" | sort)
check_equal "docs/HISTORY.md has these kinds" "$(sort <<<"$told")" "$rows"
unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
