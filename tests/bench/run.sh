#!/usr/bin/env bash
# run.sh - the benchmark: engramfs beside ext4 on the same disk, passthrough_ll and a FUSE filesystem that does nothing,
# interleaved, medians of several rounds, ratios with their spread. Needs root (mounts, drop_caches).
#
#   tests/bench/run.sh [BUILD] [--quick] [--only WORKLOAD,...] [--rounds N] [--files N] [--halt-poll NS] [--out FOLDER]
#
# Writes bench.json and bench.svg to FOLDER (default: bench-out), and the table to stdout. bench.py has the workloads.
set -eu
cd "$(dirname "$0")/../.."
BUILD=build
case ${1-} in '' | -*) ;; *)
    BUILD=$1
    shift
    ;;
esac
tools/dev/deps.sh build bench
[ -f "$BUILD/build.ninja" ] || meson setup "$BUILD" >/dev/null
meson setup --reconfigure "$BUILD" >/dev/null
ninja -C "$BUILD" all bench-tests >/dev/null
# passthrough_ll comes with libfuse's documentation, as source
source=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c
if [ -f "$source.gz" ] && [ ! -f "$source" ]; then
    gzip -dc "$source.gz" >"$BUILD/passthrough_ll.c"
    source=$BUILD/passthrough_ll.c
fi
if [ -f "$source" ]; then
    # shellcheck disable=SC2046  # a list of options
    cc -O2 -I/usr/share/doc/libfuse3-dev/examples "$source" -o "$BUILD/passthrough_ll" $(pkg-config --cflags --libs fuse3) -pthread
else
    echo "passthrough_ll is left out: libfuse3-dev has no examples here" >&2
fi
exec python3 tests/bench/bench.py "$BUILD" "$@"
