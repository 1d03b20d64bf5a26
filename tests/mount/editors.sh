#!/usr/bin/env bash
# editors.sh - memories edited by vim, emacs, sed -i, rsync, git and >>: each state that stood for a second is read back from
# .engram/at, byte for byte, compacted meanwhile; 20 saves by each of three editors are 20 versions. With ENGRAM_TEST_MODE=full
# four minutes of the conversations of ../shared, if they are there, and saves a second apart.
#
#   tests/mount/editors.sh [BUILD]
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 vim emacs sed rsync git
STORE=$WORK/store MNT=$WORK/mnt TURNS=$ROOT/../shared/data/locomo-turns.jsonl
SPAN=12 SETTLE=0
[ "${ENGRAM_TEST_MODE:-}" != full ] || SPAN=240 SETTLE=1
[ -r "$TURNS" ] || TURNS=
export HOME=$WORK

must_mount "$STORE" "$MNT"
echo history=1d >"$MNT/.engram/config"
check "what stood a second is in at/, for $SPAN s of edits" timeout $((SPAN * 2 + 300)) \
    python3 "$ROOT/tests/mount/editors.py" "$MNT" $SPAN $SETTLE ${TURNS:+"$TURNS"}
unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
