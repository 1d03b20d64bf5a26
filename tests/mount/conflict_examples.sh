#!/usr/bin/env bash
# conflict_examples.sh - the programs of docs/CONFLICTS.md are what they are said to be: taken out of that page, they append to one
# memory at the same time, those of all languages beside each other, and each line is there, once. (Its shell commands: tests/ops/docs.sh.)
#
#   tests/mount/conflict_examples.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 setfattr getfattr gcc
STORE=$WORK/store MNT=$WORK/mnt DOC=$ROOT/docs/CONFLICTS.md
LINES=${LINES_EACH:-15}

# ---- the page: <!-- example: NAME --> and the block behind it

mkdir "$WORK/examples"
awk -v to="$WORK/examples" '
    /^<!-- example: / {name = $3; next}
    /^```/ {on = name != "" && !on; if (!on) name = ""; next}
    on {print > (to "/" name)}' "$DOC"
check_equal "each block of a program is an example" "$(grep -cE '^```(bash|python|js|c)$' "$DOC")" "$(find "$WORK/examples" -type f | wc -l)"
cd "$WORK/examples" || exit 1

LANGUAGES=(append.sh append.py)
chmod +x append.sh
if command -v node >/dev/null; then LANGUAGES+=(append.mjs); else skip "the example in Node" "no node"; fi
check "the example in C builds without a warning" gcc -Wall -Wextra -Werror -O2 -D_GNU_SOURCE -o append append.c && LANGUAGES+=(append)
append() { # LANGUAGE MEMORY LINE
    case $1 in
    append.sh | append) timeout 60 "./$1" "$2" "$3" ;;
    append.py) timeout 60 python3 append.py "$2" "$3" ;;
    append.mjs) timeout 60 node append.mjs "$2" "$3" ;;
    esac
}

# ---- each alone

umask 022
must_mount "$STORE" "$MNT"
for language in "${LANGUAGES[@]}"; do
    printf 'first\n' >"$MNT/alone"
    chmod 640 "$MNT/alone"
    setfattr -n user.topic -v travel "$MNT/alone"
    check "$language alone" append "$language" "$MNT/alone" second
    check_equal "  appends a line" "first second" "$(xargs <"$MNT/alone")"
    check_equal "  and the mode stays" 640 "$(stat -c %a "$MNT/alone")"
    case $language in append.py) check_equal "  and fields" travel "$(getfattr --absolute-names --only-values -n user.topic "$MNT/alone")" ;; esac
done
check_equal "no other file is left" alone "$(ls -A "$MNT")"

# ---- all at once

: >"$MNT/shared"
JOBS=()
for language in "${LANGUAGES[@]}"; do
    for process in 1 2; do
        (for ((i = 0; i < LINES; i++)); do
            append "$language" "$MNT/shared" "$language.$process.$i" >>"$WORK/said" 2>&1 || echo "$language: status $?" >>"$WORK/failed"
        done) &
        JOBS+=($!)
    done
done
wait "${JOBS[@]}"
check_equal "beside each other none gives up" "" "$(cat "$WORK/failed" "$WORK/said" 2>/dev/null | head -n 3)"
check_equal "each line is there, and once" "$((${#LANGUAGES[@]} * 2 * LINES))" "$(sort -u "$MNT/shared" | wc -l)"
check_equal "and no other" "$((${#LANGUAGES[@]} * 2 * LINES))" "$(wc -l <"$MNT/shared")"
rm "$MNT/alone"
check_equal "no other file is left then" shared "$(ls -A "$MNT")"
check "unmount" unmount_store "$MNT"

# ---- without a mount

LIBS=()
mapfile -t LIBS < <(find "$BUILD/engine" -maxdepth 1 -name 'lib*.a')
check "the example with the engine builds without a warning" \
    gcc -Wall -Wextra -Werror -O2 -I "$ROOT/engine" -o embedded embedded.c "${LIBS[@]}" -lxxhash -lnettle -lpthread &&
    check_equal "  and counts to" 1000 "$(timeout 100 ./embedded "$WORK/embedded.store")"
check "its store is whole" "$CTL" check "$WORK/embedded.store"
t_end
