#!/usr/bin/env bash
# kill -9 in the midst of what people do: git commits and gc, rsync, tar, sqlite. Of the daemon, and then nothing that was acknowledged
# may be missing and the store is clean, before recovery and after it; of the program, and then what it left behind is what a
# local file system would have.
# SEED=number repeats a run as far as timing allows.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
t_needs git rsync python3 sqlite3 tar
STORE=$WORK/store MNT=$WORK/mnt DONE=$WORK/done
ROUNDS=3
[ "${ENGRAM_TEST_MODE-}" != full ] || ROUNDS=40
SEED=${SEED:-$RANDOM}
echo "# SEED=$SEED"
RANDOM=$SEED
must_mount "$STORE" "$MNT" -o segment_size=1M

progress() { [ "$(wc -l <"$DONE")" -ge "$1" ]; }
# Has COMMAND... run in a session of its own until it has written LINES to $DONE, and kills the daemon or all of the command.
interrupt() { # daemon | program LINES COMMAND...
    local who=$1 lines=$2 pid
    shift 2
    : >"$DONE"
    setsid "$@" >"$WORK/out" 2>&1 </dev/null &
    pid=$!
    disown $pid
    wait_until 120 progress "$lines" || not_ok "$1" "fewer than $lines steps in 120 s: $(tail -n 1 "$WORK/out")"
    if [ "$who" = daemon ]; then kill_daemon "$MNT" || not_ok "kill -9 of the daemon" "it did not go"; fi
    # also those that the daemon's death did not end: git pack-objects tries a folder that cannot be read for ever
    kill -9 -- -$pid 2>/dev/null
    wait_until 20 no_process -- -$pid || not_ok "$1" "it cannot be killed"
    if [ "$who" = daemon ]; then
        check "engramctl check of what the daemon left" "$CTL" check "$STORE"
        must_mount "$STORE" "$MNT" -o segment_size=1M
    fi
}

# ---- git: what was committed is there, and every object is whole
export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0
git config --global user.name Tester
git config --global user.email tester@example.invalid
git config --global gc.auto 0
git init -q "$MNT/repo"
cat >"$WORK/commits" <<'S'
cd "$1" || exit 1
n=$3
while n=$((n + 1)); do
    echo "change $n" >>"file$((n % 7))" && echo "$n" >last && git add -A && git commit -qm "$n" || exit 1
    echo "$n" >>"$2"
    [ $((n % 6)) -ne 0 ] || git gc -q --prune=now || exit 1
done
S
n=0
after_git() { # NAME
    # which git asks the user to remove, or says of that it exists and stops
    find "$MNT/repo/.git" \( -name '*.lock' -o -name gc.pid -o -name packed-refs.new \) -delete
    check "$1: git gc" git -C "$MNT/repo" gc -q --prune=now
    check "$1: git fsck" git -C "$MNT/repo" fsck --strict --no-progress
    local acked
    acked=$(tail -n 1 "$DONE")
    n=$(git -C "$MNT/repo" log -1 --format=%s)
    # one more may have been committed that was not noted
    check "$1: all $acked commits are there" test "$n" -ge "$acked" -a "$n" -le $((acked + 1))
    # a file that was made and not yet added stays, untracked
    check "$1: git reset --hard, status" bash -c 'cd "$1" && git reset -q --hard && [ -z "$(git status --porcelain --untracked-files=no)" ] && [ "$(cat last)" = "$2" ]' \
        _ "$MNT/repo" "$n"
}
for round in $(seq $ROUNDS); do
    interrupt daemon $((2 + RANDOM % 14)) bash "$WORK/commits" "$MNT/repo" "$DONE" "$n"
    after_git "git, daemon killed, round $round"
    interrupt program $((2 + RANDOM % 14)) bash "$WORK/commits" "$MNT/repo" "$DONE" "$n"
    after_git "git itself killed, round $round"
done

# ---- rsync and tar: begun again, they end well
python3 - "$WORK/src" "$SEED" <<'P'
import os, random, sys
r = random.Random(int(sys.argv[2]))
for i in range(1500):
    d = f"{sys.argv[1]}/{i % 23}"
    os.makedirs(d, exist_ok=True)
    with open(f"{d}/{i}", "wb") as f:
        f.write(r.randbytes(r.choice([10, 3000, 9000, 70000])))
P
find "$WORK/src" -depth -exec touch -h -d '2021-03-04 05:06:07.123456789 UTC' {} +
tar -C "$WORK/src" --format=posix -cf "$WORK/src.tar" .
WANT=$(tree_digest "$WORK/src")
for round in $(seq $ROUNDS); do
    for who in daemon program; do
        rm -rf "$MNT/copy"
        interrupt $who $((20 + RANDOM % 1200)) rsync -a --delete --out-format=%n --log-file="$DONE" "$WORK/src/" "$MNT/copy/"
        check "rsync, $who killed, round $round: once more" rsync -a --delete "$WORK/src/" "$MNT/copy/"
        check_equal "rsync, $who killed, round $round: equal" "$WANT" "$(tree_digest "$MNT/copy")"
        check_equal "rsync, $who killed, round $round: then nothing is transferred" "" "$(rsync -aic --delete "$WORK/src/" "$MNT/copy/")"
    done
done
rm -rf "$MNT/copy"
mkdir "$MNT/tar"
# shellcheck disable=SC2016
interrupt daemon $((20 + RANDOM % 1200)) sh -c 'exec tar -C "$1/tar" -xvf "$2" >"$3"' _ "$MNT" "$WORK/src.tar" "$DONE"
check "tar, daemon killed: files up to one are whole, those after it are not there" python3 - "$WORK/src.tar" "$MNT/tar" <<'P'
import os, sys, tarfile
states = ""
with tarfile.open(sys.argv[1]) as tar:
    for member in filter(tarfile.TarInfo.isreg, tar):
        path = os.path.join(sys.argv[2], member.name)
        if not os.path.exists(path):
            states += "-"
        else:
            states += "w" if open(path, "rb").read() == tar.extractfile(member).read() else "p"
print(len(states), states.count("w"), states.strip("w")[:20])
assert states.rstrip("-").rstrip("p").strip("w") == "" and states.count("p") <= 1 and "w" in states
P
check "tar once more" tar -C "$MNT/tar" -xf "$WORK/src.tar"
check_equal "equal" "$WANT" "$(tree_digest "$MNT/tar")"

# ---- sqlite: the daemon's death is sqlite.sh's; here the writer dies, in each of its journal modes
cat >"$WORK/writer.py" <<'P'
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
done = open(sys.argv[2], "a")
i = c.execute("SELECT coalesce(max(t), -1) FROM m").fetchone()[0]
while True:
    i += 1
    c.execute("BEGIN")
    c.executemany("INSERT INTO m VALUES (?, ?, ?)", [(i, j, "x" * 500) for j in range(20)])
    c.execute("UPDATE m SET body = 'y' || body WHERE t = ?", (i // 2,))
    c.execute("COMMIT")
    done.write("%d\n" % i)
    done.flush()
P
for mode in delete truncate persist wal; do
    sqlite3 "$MNT/$mode.db" "PRAGMA journal_mode=$mode; CREATE TABLE m(t INT, j INT, body TEXT); CREATE INDEX ti ON m(t);" >"$WORK/out"
    for round in $(seq $ROUNDS); do
        interrupt program $((5 + RANDOM % 60)) python3 "$WORK/writer.py" "$MNT/$mode.db" "$DONE"
        check_equal "sqlite, $mode, writer killed, round $round: integrity" ok "$(sqlite3 "$MNT/$mode.db" 'PRAGMA integrity_check')"
        acked=$(tail -n 1 "$DONE")
        have=$(sqlite3 "$MNT/$mode.db" 'SELECT max(t) FROM m')
        check "sqlite, $mode: all $acked transactions are there" test "$have" -ge "$acked" -a "$have" -le $((acked + 1))
        check_equal "sqlite, $mode: only whole ones" "$(((have + 1) * 20))" "$(sqlite3 "$MNT/$mode.db" 'SELECT count(*) FROM m')"
    done
done
check "unmount" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
