#!/bin/sh
# Formats every C file as .clang-format says; with --check only tells.
set -eu
cd "$(dirname "$0")/../.."
tools/dev/deps.sh lint
case ${1-} in
"") set -- -i ;;
--check) set -- --dry-run -Werror ;;
*)
    echo "usage: tools/dev/format.sh [--check]" >&2
    exit 2
    ;;
esac
find engine fs tools tests \( -name '*.c' -o -name '*.h' \) -print0 | xargs -0 -r clang-format "$@"
