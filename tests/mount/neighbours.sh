#!/usr/bin/env bash
# neighbours.sh - `-o conflicts=refuse` refuses nobody who means no harm: programs work in a folder in which another session, a container
# and the threads of a process change other files all the time, and the same ones between two steps of a program that reads them again.
# At the end one is refused, so that it is known to be counted.
#
#   tests/mount/neighbours.sh [BUILD]
# shellcheck source=tests/lib.sh disable=SC2317,SC2016
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs python3 sed
HERE=$(cd "$(dirname "$0")" && pwd)
STORE=$WORK/store MNT=$WORK/mnt
must_mount "$STORE" "$MNT" -o conflicts=refuse
D=$MNT/work
mkdir "$D" "$WORK/outside"
refused() { awk '/^engram_conflicts_refused_total/ {print $2}' "$MNT/.engram/metrics"; }
last() { tail -n 1 "$MNT/.engram/conflicts" | cut -c 1-300; }
SO_FAR=0
harmless() { # NAME COMMAND...: it works, and nothing is refused while it does
    local now
    (cd "$D" && timeout 100 "${@:2}") >"$WORK/out" 2>&1 </dev/null
    local status=$?
    now=$(refused)
    if [ "$status" -eq 0 ] && [ "$now" = "$SO_FAR" ]; then
        ok "$1"
    else
        not_ok "$1" "status $status, refused: $((now - SO_FAR)), $(last); $(tail -n 2 "$WORK/out" | tr '\n' ';')"
        SO_FAR=$now
    fi
}

# ---- the neighbours

LOOP='i=0
while [ -e "$0/work" ]; do
    i=$((i + 1)) f=$0/work/neighbour.$1
    echo "$i" >"$f"; echo more >>"$f"; cat "$f" >/dev/null
    echo "$i" >"$f.t" && mv "$f.t" "$f"; sed -i s/1/2/ "$f"; rm "$f"
done'
setsid bash -c "$LOOP" "$MNT" session >/dev/null 2>&1 &
if [ "$(id -u)" -eq 0 ] && unshare --pid --fork true 2>/dev/null; then
    unshare --pid --fork --kill-child bash -c "$LOOP" "$MNT" container >/dev/null 2>&1 &
else
    skip "a container as a neighbour" "unshare --pid does not work here"
fi
mkfifo "$WORK/end"
python3 "$HERE/neighbours.py" threads "$D/neighbour.threads" <"$WORK/end" >"$WORK/threads" 2>&1 &
THREADS=$!
exec 8>"$WORK/end"
check "a session works beside" wait_until 10 test -e "$D/neighbour.session"

# ---- programs

harmless "each way to replace, after a fresh read" python3 "$HERE/neighbours.py" fresh "$D"
harmless "what one has exchanged or moved, removed and made anew" python3 "$HERE/neighbours.py" exchange "$D"
seq 200 | sed 's/^/memory /' >"$D/text"
harmless "sed -i" sed -i s/memory/MEMORY/ text
harmless "cp -f" sh -c 'cp text other && echo more >>text && cp -f text other && cat other && cp -f text other'
if command -v vim >/dev/null; then
    for how in "backup backupcopy=no" backupcopy=yes writebackup "swapfile directory=. undofile undodir=."; do
        harmless "vim: $how" vim -u NONE -N -es -c "set $how" -c '%s/MEMORY/Memory/e' -c w -c '%s/Memory/MEMORY/e' -c wq text
    done
    harmless "vim writes, another one changes, vim reads again and writes" \
        vim -u NONE -N -es -c '%s/1$/one/' -c w -c '!echo theirs >>text' -c 'e!' -c '%s/theirs/ours/' -c wq text
fi
if command -v emacs >/dev/null; then
    harmless "emacs" emacs -Q --batch --eval '(setq make-backup-files t)' text \
        --eval '(progn (goto-char (point-max)) (insert "one") (save-buffer) (insert "two") (save-buffer))'
fi
if command -v git >/dev/null; then
    export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@t GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@t HOME=$WORK
    harmless "git: commits, rebase, gc" bash -ec 'git init -q -b main . && git add text other && git commit -qm 1
        git checkout -qb side && echo side >>text && git commit -qam side && git checkout -q main && echo main >other && git commit -qam main
        git checkout -q side && git rebase -q main && git gc -q && echo more >>text && git stash -q && git stash pop -q && git fsck --no-dangling'
    rm -rf "$D/.git"
fi
if command -v rsync >/dev/null; then
    harmless "rsync both ways, twice" bash -ec '
        copy() { rsync -a --exclude "neighbour*" --exclude "sed*" "$@"; }
        for i in 1 2; do copy ./ "$0/"; echo more >>"$0/text"; copy "$0/" ./; echo more >>text; done
        copy --inplace "$0/" ./' "$WORK/outside"
fi
harmless "tar out and in" bash -ec 'tar -cf "$0/t.tar" text other fresh* && tar xf "$0/t.tar" && tar xf "$0/t.tar" --overwrite' "$WORK/outside"
if command -v sqlite3 >/dev/null; then
    for mode in delete truncate persist wal memory off; do
        # without a journal a database is for one process
        case $mode in memory | off) n=1 ;; *) n=2 ;; esac
        harmless "sqlite3, journal_mode=$mode, $n at once" bash -ec 'rm -f db*; sqlite3 db "pragma journal_mode=$0; create table t(x)" >/dev/null
            one() {
                for i in $(seq 15); do
                    echo "pragma busy_timeout=20000; pragma journal_mode=$0; insert into t values($i); select count(*) from t;"
                done | sqlite3 db >/dev/null
            }
            for i in $(seq "$1"); do one "$0" & jobs="$jobs $!"; done
            for j in $jobs; do wait $j; done
            test "$(sqlite3 db "select count(*) from t")" -eq $(($1 * 15))' $mode $n
    done
fi
if command -v gcc >/dev/null && command -v make >/dev/null; then
    printf 'p: a.o b.o\n\tgcc -o p a.o b.o\n%%.o: %%.c c.h\n\tgcc -c $<\nlib.a: a.o b.o\n\tar rcs lib.a a.o b.o\n' >"$D/Makefile"
    harmless "gcc, ar and make, again and again" bash -ec 'for i in 1 2 3; do echo "#define C $i" >c.h; echo "#include \"c.h\"
int main(void) { return C - C; }" >a.c; echo "#include \"c.h\"
int b = C;" >b.c; make -s -j3 p lib.a; ./p; done'
fi
harmless "python: pip-like, shelve and json" python3 -c '
import json, shelve, tempfile, os
for i in range(20):
    with shelve.open("shelf") as s: s[str(i)] = i
    old = json.load(open("state.json")) if os.path.exists("state.json") else []
    with open("state.json", "w") as f: json.dump(old + [i], f)
    with tempfile.NamedTemporaryFile("w", dir=".", delete=False) as f: json.dump(old + [i, i], f)
    os.replace(f.name, "state.json")'
if command -v node >/dev/null; then
    harmless "node: r+, w+, writeFile, rename" node -e '
const fs = require("fs");
(async () => { for (let i = 0; i < 20; i++) {
    for (const flag of ["w", "w+", "a"]) {
        const old = fs.existsSync("node.txt") ? await fs.promises.readFile("node.txt", "utf8") : "";
        await fs.promises.writeFile("node.txt", old.slice(-500) + i, { flag });
    }
    const h = await fs.promises.open("node.txt", "r+"), t = await h.readFile("utf8");
    await h.truncate(0);
    await h.write(t + i, 0);
    await h.close();
    await fs.promises.writeFile("node.new", (await fs.promises.readFile("node.txt", "utf8")) + "x"); await fs.promises.rename("node.new", "node.txt");
} })().catch((e) => { console.error(e); process.exit(1); })'
    NPM=(--ignore-scripts --no-audit --no-fund --fetch-retries=1)
    cp -r "$HERE/../ops/clients" "$WORK/cached"
    if command -v npm >/dev/null && (cd "$WORK/cached" && timeout 100 npm ci "${NPM[@]}") >"$WORK/npm" 2>&1; then
        mkdir "$D/npm" && cp "$WORK/cached"/*.json "$D/npm/"
        harmless "npm ci and npm install" sh -c 'cd npm && npm ci --prefer-offline "$@" && npm install --prefer-offline "$@"' _ "${NPM[@]}"
    else
        skip "npm install" "npm loads nothing: $(grep -m1 -i error "$WORK/npm" | cut -c 1-200)"
    fi
fi

# ---- the end

check_equal "the neighbours were not refused, either" 0 "$(refused)"
(cd "$D" && timeout 60 python3 "$HERE/neighbours.py" stale "$D/stale")
check_equal "one who replaces what another one has changed since he read it is" 3 $?
check_equal "  and that is counted" 1 "$(refused)"
exec 8>&-
wait $THREADS
check_equal "the threads of a process did not refuse each other" 0 $?
mv "$D" "$MNT/done"
wait
check "unmount" unmount_store "$MNT"
check "the store is whole" "$CTL" check "$STORE"
t_end
