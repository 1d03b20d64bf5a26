#!/usr/bin/env bash
# totals.sh - what `tests/run.sh full` says at its end: a part that was killed, that stopped early or that ended badly without
# a failure counts as failed. Needs no build and no mount.
#
#   tests/ops/totals.sh [BUILD]      BUILD is not looked at
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/full.sh
. "$ROOT/tests/full.sh"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/engramfs-test.XXXXXX") || exit 1
trap t_cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "$WORK/tree/tests"
cat >"$WORK/tree/tests/run.sh" <<'S'
#!/bin/bash
figures() { printf 'ok     unit/a\npart %s: %s in 5 s, load 1.00 2.00 3.00\n%s\n' "$1" "$2" "$2"; }
case $2 in
good) figures good "3 passed, 0 failed, 2 skipped" ;;
stopped) figures stopped "0 passed, 0 failed"; exit 1 ;;
bad) figures bad "4 passed, 2 failed"; exit 1 ;;
killed) echo "ok     unit/a"; kill -9 $$ ;;
mute) echo "0 passed, 0 failed" ;;
esac
S
chmod 755 "$WORK/tree/tests/run.sh"
total() { # PARTS...: the last line, and the exit status
    local status
    (cd "$WORK/tree" && parts "$@" >"$WORK/out" 2>&1)
    status=$?
    echo "$(tail -n 1 "$WORK/out"): $status"
}
check_equal "parts that pass" "6 passed, 0 failed, 4 skipped: 0" "$(total good good)"
check_equal "failures are added" "7 passed, 2 failed, 2 skipped: 1" "$(total good bad)"
check_equal "a part that was killed" "3 passed, 1 failed, 2 skipped: 1" "$(total killed good)"
check "is named" grep -q '^killed: .*exit status 137' "$WORK/out"
check_equal "a part that stopped before its tests" "3 passed, 1 failed, 2 skipped: 1" "$(total good stopped)"
check_equal "a part that says nothing and ends well" "0 passed, 1 failed: 1" "$(total mute)"
t_end
