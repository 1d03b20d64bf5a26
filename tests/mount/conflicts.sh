#!/usr/bin/env bash
# conflicts.sh - with -o conflicts=refuse nobody replaces a state that he has not seen, if he has seen an older one; whoever
# has seen what is there, or has never seen it, is never refused. conflicts.py has the steps of processes and threads; here
# are the programs of others, process numbers, rights, and that each protection is noticed when it is missing.
#
#   tests/mount/conflicts.sh BUILD
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3
STORE=$WORK/store MNT=$WORK/mnt
STEPS=$ROOT/tests/mount/conflicts.py

refuse() { # OPTIONS...
    must_mount "$STORE" "$MNT" -o conflicts=refuse "$@"
}
end() {
    unmount_store "$MNT"
    rm -rf "$STORE"
}
refusals() { cat "$MNT/.engram/conflicts"; }
count() { refusals | grep -c .; }
fails() { ! "$@" >/dev/null 2>&1; }
# What a program has said, and how many were refused meanwhile: none.
quiet() { # NAME COMMAND...
    local before name=$1
    before=$(count)
    shift
    check "$name" "$@"
    check_equal "$name: nothing was refused" "$before" "$(count)"
}

# ---- options

check_fails "not together with writeback" "cannot be had together" "$ENGRAMFS" -o conflicts=refuse,writeback "$STORE" "$MNT"
check_fails "nor in the other order" "cannot be had together" "$ENGRAMFS" -o writeback -o conflicts=refuse "$STORE" "$MNT"
check_fails "another value" "must be allow or refuse" "$ENGRAMFS" -o conflicts=no "$STORE" "$MNT"
mkdir -p "$MNT"
must_mount "$STORE" "$MNT" -o conflicts=allow
check_equal "without it .engram/conflicts is empty" "" "$(refusals)"
echo one >"$MNT/f"
python3 - "$MNT/f" <<'PY' && ok "without it nobody is refused" || not_ok "without it nobody is refused"
import subprocess, sys
open(sys.argv[1]).read()
subprocess.run(["sh", "-c", f"echo two >>{sys.argv[1]}"], check=True)
open(sys.argv[1], "w").write("three")
PY
end

# ---- processes and threads

refuse
timeout 300 python3 "$STEPS" "$MNT" >"$WORK/out" 2>&1 || echo "not ok - conflicts.py: it failed: $(tail -n 1 "$WORK/out")" >>"$WORK/out"
grep -v '^ok' "$WORK/out"
T_FAILED=$((T_FAILED + $(grep -c '^not ok' "$WORK/out")))
ok "conflicts.py: $(grep -c '^ok' "$WORK/out") checks"

# ---- what is told

told() {
    python3 - "$MNT" "$(count)" <<'PY'
import json, re, sys
lines = [json.loads(line) for line in open(sys.argv[1] + "/.engram/conflicts")]
assert len(lines) == 256 == int(sys.argv[2]), len(lines)
for one in lines:
    assert set(one) == {"time", "path", "operation", "process", "seen", "found", "by"}, one
    assert one["operation"] in ("open", "truncate", "rename", "create", "link"), one
    assert one["process"]["name"].startswith("python3") and one["process"]["pid"] > 1 and one["process"]["uid"] == 0, one
    assert one["by"] is None or one["by"]["pid"] != one["process"]["pid"], one
    assert one["seen"]["version"] is None or one["seen"]["version"] < one["found"]["version"], one
assert [one["time"] for one in lines] == sorted(one["time"] for one in lines)
total = int(re.search(r"^engram_conflicts_refused_total (\d+)", open(sys.argv[1] + "/.engram/metrics").read(), re.M)[1])
assert total > 256, total
PY
}
check "the last 256 refusals stand in .engram/conflicts, and all are counted" told
check_fails "it takes no verbs" "I/O error|Invalid argument" sh -c "echo x >$MNT/.engram/conflicts"
end

log_says() {
    local lines
    lines=$(grep -c 'conflict: ' "$WORK/log")
    [ "$lines" -ge 1 ] && [ "$lines" -le 10 ] && grep -q 'conflict: open by python3.* (process [0-9]*, uid 0) was refused: it saw version 1, and there is version 2, by sh (process [0-9]*, uid 0): f$' "$WORK/log"
}
lose() { # TIMES
    python3 - "$MNT/f" "$1" <<'PY'
import subprocess, sys
open(sys.argv[1]).read()
subprocess.run(["sh", "-c", f"echo two >>{sys.argv[1]}"], check=True)
for i in range(int(sys.argv[2])):
    try:
        open(sys.argv[1], "w")
        sys.exit("was not refused")
    except OSError:
        pass
PY
}
"$ENGRAMFS" -f -o conflicts=refuse "$STORE" "$MNT" 2>"$WORK/log" &
wait_until 20 test -e "$MNT/.engram/help"
echo one >"$MNT/f"
check "a crowd of refusals" lose 100
check "the log says who lost against whom, ten times at most" log_says
unmount_store "$MNT"
rm -rf "$STORE"

# ---- no false alarm: programs of others, alone and two at a time

refuse
cd "$MNT" || exit 1
seq 100 >f
cp f g
quiet "cp -f" cp -f f g
quiet "cp -f again" cp -f f g
quiet "sed -i" sed -i 's/1/one/' f
quiet "sed -i.bak" sed -i.bak 's/2/two/' f
quiet "sed -i.bak again" sed -i.bak 's/3/three/' f
quiet "mv" mv g f
quiet "tee" sh -c 'cat f | tee f >/dev/null; seq 9 >f; seq 99 >>f'
quiet "sort -o" sort -o f f
quiet "dd" dd if=/dev/zero of=f bs=1 count=1 status=none
quiet "python: r+, w+, os.replace, shutil" python3 -c '
import os, shutil
for i in range(20):
    with open("f", "r+") as f:
        f.read(); f.seek(0); f.truncate(); f.write("x" * i)
    with open("f", "w+") as f:
        f.write("y"); f.seek(0); assert f.read() == "y"
    shutil.copy("f", "g"); os.replace("g", "f"); shutil.move("f", "h"); shutil.copy2("h", "f")'
quiet "an old shell that writes again and again" sh -c 'for i in 1 2 3 4; do echo $i >f; read x <f; echo $x >>f; done'
if command -v vim >/dev/null; then
    seq 10 >v
    for backup in nobackup 'backup backupcopy=no' 'backup backupcopy=yes'; do
        quiet "vim: $backup" vim -es -u NONE -c "set nocompatible noswapfile $backup" -c 'normal ox' -c w -c 'normal oy' -c w -c wq v
    done
else
    skip vim "no vim"
fi
if command -v emacs >/dev/null; then
    quiet "emacs" emacs --batch --eval '(progn (find-file "f") (insert "a") (save-buffer) (insert "b") (save-buffer))'
else
    skip emacs "no emacs"
fi
if command -v git >/dev/null; then
    in_git() {
        git init -q r && cd r && git config user.email a@b && git config user.name n &&
            for i in 1 2 3 4; do echo "$i" >"f$i" && git add . && git commit -qm "$i" || return 1; done &&
            git checkout -qb other HEAD~2 && echo x >x && git add . && git commit -qm x && git rebase -q master && git gc -q &&
            git stash list && git reset -q --hard HEAD~1 && git fsck --strict
    }
    quiet "git, with rebase and gc" sh -c "$(declare -f in_git); git config --global init.defaultBranch >/dev/null; export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=init.defaultBranch GIT_CONFIG_VALUE_0=master; in_git"
else
    skip git "no git"
fi
two_databases() { # MODE
    python3 - "$1" <<'PY'
import sqlite3, subprocess, sys
mode = sys.argv[1]
work = '''
import sqlite3, sys
db = sqlite3.connect("db-" + sys.argv[1], timeout=60, isolation_level=None)
db.execute("pragma journal_mode=" + sys.argv[1])
db.execute("pragma synchronous=off")
for i in range(40):
    db.execute("begin immediate")
    n = db.execute("select n from t").fetchone()[0]
    db.execute("update t set n = ?", (n + 1,))
    db.execute("insert into u values (?)", (sys.argv[2] + str(i),))
    db.execute("commit")
'''
db = sqlite3.connect("db-" + mode)
db.execute("pragma journal_mode=" + mode)
db.execute("create table t (n)")
db.execute("create table u (s)")
db.execute("insert into t values (0)")
db.commit()
both = [subprocess.Popen([sys.executable, "-c", work, mode, who]) for who in "ab"]
assert [p.wait() for p in both] == [0, 0]
assert db.execute("select n from t").fetchone()[0] == 80 == db.execute("select count(*) from u").fetchone()[0]
assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
PY
}
for mode in delete truncate persist wal memory; do
    quiet "two processes with sqlite, journal_mode=$mode" two_databases $mode
done
if command -v rsync >/dev/null; then
    quiet "rsync into it" sh -c 'mkdir in && rsync -a --exclude in ./ in/ && seq 5 >>f && rsync -a --exclude in ./ in/ && rsync -a --inplace --exclude in ./ in/ && rsync -a in/ out/'
else
    skip rsync "no rsync"
fi
quiet "tar" sh -c 'tar cf t.tar f && tar xf t.tar && tar xf t.tar && tar rf t.tar f'
cd / || exit 1

# A session that reads and replaces, while others change what is beside it, and, between its steps, the same file.
beside() {
    python3 - "$MNT" <<'PY'
import os, subprocess, sys, threading, time
mnt = sys.argv[1]
stop = threading.Event()
def neighbours():
    i = 0
    while not stop.is_set():
        with open(f"{mnt}/near{i % 3}", "w") as f:
            f.write(str(i))
        os.rename(f"{mnt}/near{i % 3}", f"{mnt}/near")
        i += 1
threads = [threading.Thread(target=neighbours)]
other = subprocess.Popen(["sh", "-c", "while :; do echo x >$0/beside; mv $0/beside $0/close; done", mnt])
threads[0].start()
try:
    for i in range(60):
        subprocess.run(["sh", "-c", f"echo {i} >>$0/shared", mnt], check=True)
        with open(f"{mnt}/shared") as f:
            text = f.read()
        with open(f"{mnt}/shared", "w") as f:
            f.write(text)
        subprocess.run(["sh", "-c", f"echo {i} >$0/new && mv $0/new $0/shared", mnt], check=True)
        with open(f"{mnt}/shared") as f:
            text = f.read()
        with open(f"{mnt}/own", "w") as f:
            f.write(text)
        os.replace(f"{mnt}/own", f"{mnt}/shared")
finally:
    stop.set()
    other.kill()
    other.wait()
    threads[0].join()
PY
}
quiet "beside others, with a fresh read after each of their changes" beside

# ---- others' namespaces

inside() { # COMMAND of python: in a pid namespace below the daemon's
    unshare -p -f --mount-proc python3 -c "$@"
}
if [ "$(id -u)" -eq 0 ] && unshare -p -f --mount-proc true 2>/dev/null; then
    check "a container below the daemon's: refused as others are" inside '
import errno, os, sys
f = sys.argv[1] + "/shared"
open(f).read()
if not os.fork():
    open(f, "a").write("child")
    os._exit(0)
os.wait()
try:
    open(f, "w")
    sys.exit("was not refused")
except OSError as e:
    assert e.errno == errno.ECANCELED
open(f).read()
open(f, "w").write("again")' "$MNT"
else
    skip "a container" "no pid namespaces"
fi
end

# All of it in one namespace, in which numbers can be chosen.
numbers() {
    "$ENGRAMFS" -o conflicts=refuse "$STORE" "$MNT" || exit 1
    python3 - "$MNT" <<'PY'
import os, subprocess, sys
f = sys.argv[1] + "/f"
open(f, "w").write("one")
last = "/proc/sys/kernel/ns_last_pid"
def run(number, do):
    with open(last, "w") as n:
        n.write(str(number - 1))
    pid = os.fork()
    if not pid:
        try:
            do()
            os._exit(0)
        except OSError as e:
            os._exit(e.errno)
    assert pid == number, pid
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
import time
assert run(5000, lambda: open(f).read()) == 0
open(f, "a").write("two")
time.sleep(0.05)  # a number is not used again within 10 ms
assert run(5000, lambda: open(f, "w").write("three")) == 0, "another process of the same number"
PY
    local status=$?
    umount "$MNT"
    return $status
}
if [ "$(id -u)" -eq 0 ] && unshare -p -f -m --mount-proc true 2>/dev/null; then
    export ENGRAMFS STORE MNT
    export -f numbers
    check "a number that is used again is another process" unshare -p -f -m --mount-proc bash -c numbers
    rm -rf "$STORE"
    # The daemon in a namespace of its own sees nobody of ours.
    unshare -p -f "$ENGRAMFS" -f -o conflicts=refuse "$STORE" "$MNT" 2>/dev/null &
    if wait_until 20 test -e "$MNT/.engram/help"; then
        echo one >"$MNT/f"
        check_equal "processes that the daemon does not see are never refused" "" "$(lose 1 2>&1 | grep -v 'was not refused')"
        check_equal "and none is told" 0 "$(count)"
        unmount_store "$MNT"
    else
        not_ok "a daemon in a namespace of its own" "does not answer"
    fi
    rm -rf "$STORE"
else
    skip "process numbers" "no pid namespaces"
fi

# ---- rights

if [ "$(id -u)" -eq 0 ]; then
    chmod 711 "$WORK"
    refuse -o allow_other
    chmod 1777 "$MNT"
    check_fails "others than the owner do not read it" "Permission denied" setpriv --reuid 4711 --regid 4711 --clear-groups cat "$MNT/.engram/conflicts"
    echo one >"$MNT/suid"
    chown 4711:4711 "$MNT/suid"
    chmod 6755 "$MNT/suid"
    check "another user opens with O_TRUNC" setpriv --reuid 4711 --regid 4711 --clear-groups sh -c "echo two >$MNT/suid"
    check_equal "which takes set-user-ID and set-group-ID away" 755 "$(stat -c %a "$MNT/suid")"
    check_equal "and is what stat(2) shows of it" "4" "$(stat -c %s "$MNT/suid")"
    end
    refuse -o allow_other,noperm
    echo one >"$MNT/f"
    lose 1
    check_fails "nor with noperm" "Permission denied" setpriv --reuid 4711 --regid 4711 --clear-groups cat "$MNT/.engram/conflicts"
    end
fi

# ---- that it notices

notices() { # WHAT MUTANT GROUP
    local before=$ENGRAMFS
    ENGRAMFS=$BUILD/tests/mount/fsfuzz/engramfs
    if [ ! -x "$ENGRAMFS" ]; then
        skip "$1 is noticed" "tests/mount/fsfuzz/engramfs is not built"
    else
        export "FS_MUTANT_$2=1"
        refuse
        check "$1 is noticed" fails timeout 100 python3 "$STEPS" "$MNT" "$3"
        end
        unset "FS_MUTANT_$2"
    fi
    ENGRAMFS=$before
}
notices "what a process writes is not seen by it" OWN_WRITES_UNSEEN own
notices "a thread is taken for a process" THREADS threads
notices "O_TRUNC counts as reading" TRUNCATION_READS truncations
notices "vim's way of saving is no replacement" MAKING_ANEW anew
t_end
