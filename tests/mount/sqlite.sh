#!/usr/bin/env bash
# SQLite databases on the mount, in rollback and WAL mode, over a kill -9 of the daemon.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs sqlite3 python3

STORE=$WORK/store MNT=$WORK/mnt
must_mount "$STORE" "$MNT"

for mode in delete truncate persist wal; do
    db=$MNT/$mode.db
    out=$(sqlite3 "$db" "PRAGMA journal_mode=$mode; CREATE TABLE m(id TEXT PRIMARY KEY, body TEXT);" 2>&1)
    if [ "$mode" = wal ] && [ "$out" != wal ]; then
        # WAL needs a shared writable mmap, which some FUSE setups refuse; SQLite then stays in rollback mode
        not_ok "journal_mode=wal" "$out"
        continue
    fi
    check_equal "journal_mode=$mode" "$mode" "$out"
    check "$mode: 3000 inserts in 30 transactions" bash -c '
        for t in $(seq 0 29); do
            echo "BEGIN;"
            for i in $(seq $((t * 100)) $((t * 100 + 99))); do
                printf "INSERT INTO m VALUES(\x27k%d\x27, hex(randomblob(200)));\n" "$i"
            done
            echo "COMMIT;"
        done | sqlite3 -bail "$1"' _ "$db"
    check "$mode: update and delete" sqlite3 -bail "$db" "UPDATE m SET body=upper(body) WHERE id LIKE 'k1%'; DELETE FROM m WHERE id LIKE 'k2%';"
    check_equal "$mode: count" 1889 "$(sqlite3 "$db" 'SELECT count(*) FROM m')"
    check_equal "$mode: integrity" ok "$(sqlite3 "$db" 'PRAGMA integrity_check')"
done
check "VACUUM" sqlite3 "$MNT/delete.db" VACUUM

# A second process must be kept out while one holds the write lock.
check_fails "locks between processes" "locked" python3 - "$MNT/delete.db" <<'P'
import sqlite3, subprocess, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("BEGIN IMMEDIATE")
r = subprocess.run(["sqlite3", sys.argv[1], "INSERT INTO m VALUES('x','y')"], capture_output=True, text=True)
print(r.stderr)
sys.exit(r.returncode)
P

# kill -9 while a writer commits; what its COMMIT returned for must be there afterwards.
cat >"$WORK/writer.py" <<'P'
import sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
log = open(sys.argv[2], "w")
c.execute("PRAGMA synchronous=FULL")
i = 0
while True:
    try:
        c.execute("BEGIN")
        for j in range(5):
            c.execute("INSERT INTO m VALUES(?, ?)", ("new%d-%d" % (i, j), "x" * 100))
        c.execute("COMMIT")
    except sqlite3.Error:
        break
    log.write("%d\n" % i)
    log.flush()
    i += 1
P
for mode in delete wal; do
    python3 "$WORK/writer.py" "$MNT/$mode.db" "$WORK/$mode.acked" 2>/dev/null &
    writer=$!
    enough() { [ "$(wc -l <"$WORK/$mode.acked")" -ge 40 ]; }
    wait_until 60 enough || not_ok "$mode: the writer makes progress" "fewer than 40 commits in 60 s"
    kill_daemon "$MNT" || not_ok "$mode: kill" "the daemon did not go"
    wait_until 20 bash -c "! kill -0 $writer" || kill -9 "$writer"
    wait "$writer" 2>/dev/null
    must_mount "$STORE" "$MNT"
    check_equal "$mode: integrity after kill -9" ok "$(sqlite3 "$MNT/$mode.db" 'PRAGMA integrity_check')"
    acked=$(wc -l <"$WORK/$mode.acked")
    # one more may have been committed whose answer did not come through
    have=$(sqlite3 "$MNT/$mode.db" "SELECT count(*) FROM m WHERE id LIKE 'new%-4'")
    if [ "$have" -ge "$acked" ] && [ "$have" -le $((acked + 1)) ]; then
        ok "$mode: all $acked acknowledged transactions are there"
    else
        not_ok "$mode: acknowledged transactions" "$acked were, $have are there"
    fi
    whole=$(sqlite3 "$MNT/$mode.db" "SELECT count(*) FROM m WHERE id LIKE 'new%'")
    check_equal "$mode: only whole transactions" "$((have * 5))" "$whole"
done
check "unmount at the end" unmount_store "$MNT"
t_end
