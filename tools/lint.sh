#!/bin/sh
# clang-tidy over the C files (or those named), shellcheck over the scripts.
set -eu
cd "$(dirname "$0")/.."
tools/deps.sh build test lint
build='build-lint'
if [ -f $build/build.ninja ]; then
    CC=clang meson setup --reconfigure $build >/dev/null
else
    CC=clang meson setup $build >/dev/null
fi
status=0
if [ $# -gt 0 ]; then
    printf '%s\n' "$@"
else
    find engine fs tools tests -name '*.c'
fi | grep '\.c$' | xargs -r -P "$(nproc)" -n 1 clang-tidy --quiet -p $build || status=1
if [ $# -eq 0 ]; then
    # --external-sources: the mount tests share tests/lib.sh
    find tools tests .ci/run \( -name '*.sh' -o -path .ci/run \) -exec \
        shellcheck --external-sources --severity=warning {} + || status=1
    tools/format.sh --check || status=1
fi
exit $status
