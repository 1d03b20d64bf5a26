# shellcheck shell=bash
# lib.sh - what million.sh, scale.sh, large.sh, summaries.sh and compaction.sh share: a store and a mount point of their own, time, memory. Sourced
# with the script's arguments, from the root of the project's tests.
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
t_begin "$@"
t_needs python3 ninja
# shellcheck disable=SC2034  # the script's
STORE=$WORK/store MNT=$WORK/mnt
ninja -C "$BUILD" fs/engramfs tools/engramctl bench-tests >"$WORK/build.log" 2>&1 || {
    tail "$WORK/build.log"
    exit 1
}
mkdir "$MNT"

now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN {printf "%.3f", b - a}'; }
# As root the page cache is dropped.
cold() {
    sync
    [ ! -w /proc/sys/vm/drop_caches ] || echo 3 >/proc/sys/vm/drop_caches
}
# memory KEY: of the daemon's status, bytes
memory() { awk -v key="$1:" '$1 == key {printf "%.0f", $2 * 1024}' "/proc/$(daemons_under "$MNT" | head -n 1)/status"; }
# lines_of_200 N: so many memories of 200 bytes, which do not compress well, in folders of 1000, as lines of JSON
lines_of_200() {
    python3 - "$1" <<'P'
import random, sys
rng = random.Random(1)
letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
table = [a + b for a in letters for b in letters]
pool = "".join(table[rng.getrandbits(12)] for _ in range(1 << 20))
for i in range(int(sys.argv[1])):
    at = rng.randrange(len(pool) - 200)
    print('{"id":"m/%05d/%08d","content":"%s"}' % (i // 1000, i, pool[at:at + 200]))
P
}
