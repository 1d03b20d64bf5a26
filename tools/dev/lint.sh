#!/usr/bin/env bash
# lint.sh - what can be said about the sources without running them: clang builds them without a warning, clang-tidy,
# cppcheck and shellcheck are silent, no arrow between rooms goes upwards, and the dialect and the format hold.
#
#   tools/dev/lint.sh [FILES]     with FILES: clang-tidy and shellcheck of these only
#
# One line for each, 'ok - ' or 'not ok - ', and what was found before it.
set -u
cd "$(dirname "$0")/../.." || exit 1
tools/dev/deps.sh build test lint || exit 1
build='build-lint'
status=0
say() { # NAME STATUS
    if [ "$2" -eq 0 ]; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        status=1
    fi
}

again=()
[ ! -f $build/build.ninja ] || again=(--reconfigure)
# Without optimisation: clang's warnings do not depend on it.
CC=clang meson setup "${again[@]}" -Dwerror=true -Doptimization=0 $build >/dev/null
say "meson configures with clang" $?
# Of each source the first command, that of the product: clang-tidy follows all that it finds, and the engine and what
# unit tests are linked with are compiled for tests once more.
mkdir -p $build/once && python3 - $build <<'P'
import json, sys
commands = json.load(open(sys.argv[1] + "/compile_commands.json"))
first = {c["file"]: c for c in reversed(commands)}
json.dump(list(first.values()), open(sys.argv[1] + "/once/compile_commands.json", "w"))
P
say "each source has a command" $?
# The analyzer follows a ninth of the paths of a function that it would by default, in some tenth of the time. NODES=225000
# is all.
tidy() {
    printf '%s\n' "$@" | grep '\.c$' | xargs -r -P "$(nproc)" -n 4 clang-tidy --quiet -p $build/once \
        --extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes="${NODES:-25000}" 2>/dev/null
}
if [ $# -gt 0 ]; then
    tidy "$@"
    say "clang-tidy" $?
    printf '%s\n' "$@" | grep '\.sh$' | xargs -r shellcheck --external-sources --severity=warning
    say "shellcheck" $?
    exit $status
fi
ninja -C $build all unit-tests crash-tests race-tests mutants-tests damage-tests review-tests mount-tests >$build/log 2>&1
built=$?
[ $built -eq 0 ] || tail -n 30 $build/log
say "clang builds everything without a warning" $built
mapfile -t sources < <(find engine fs tools -name '*.c')
tidy "${sources[@]}"
say "clang-tidy of engine, fs and tools" $?
# Suppressed: what cppcheck cannot know (callbacks whose type says non-const, cleanup attributes), and its own limits.
cppcheck --quiet --error-exitcode=1 -j "$(nproc)" --std=c11 --inline-suppr --enable=warning,portability,performance \
    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=uninitvar:engine/base/util.h --suppress=nullPointer:fs/rules/figures.c \
    -D_GNU_SOURCE -D__linux__ -I engine -I fs -I tools engine fs tools
say "cppcheck of engine, fs and tools" $?
find . -path './build*' -prune -o \( -name '*.sh' -o -path ./.ci/run \) -type f -print0 |
    xargs -0 shellcheck --external-sources --severity=warning
say "shellcheck of all scripts" $?
tools/dev/rooms
say "no include and no call goes upwards between rooms" $?
tools/dev/dialect
say "the one dialect" $?
tools/dev/format.sh --check
say "clang-format" $?
exit $status
