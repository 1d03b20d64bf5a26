#!/usr/bin/env bash
# Programs that people work with: editors, sed, find, du, grep, a compiler, git with thousands of files.
# git.sh has the everyday commands, sqlite.sh the databases, coreutils.sh the small tools.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../../lib.sh"
t_begin "$@"
t_needs python3 find grep sed
STORE=$WORK/store MNT=$WORK/mnt REF=$WORK/ref
FULL=
[ "${ENGRAM_TEST_MODE-}" != full ] || FULL=yes
must_mount "$STORE" "$MNT" -o segment_size=4M
mkdir "$REF"

# ---- editors: each saves in its own way; content, mode, and for hard links the inode must be as on the host's file system
prepare() { # FOLDER
    mkdir -p "$1"
    (cd "$1" && rm -rf ./* && seq 500 | sed 's/^/memory /' >text && chmod 640 text && ln text second && ln -s text soft)
}
what_is_there() { # names, modes, links, which names share a file, content; without times
    (cd "$1" && find . -mindepth 1 -name '.*.sw?' -prune -o -mindepth 1 -printf '%P %y %m %n %l\n' | sort
        [ text -ef second ] && echo "text is second"
        find . -type f ! -name '.*' -exec sha256sum {} + | sort) 2>&1
}
same_edit() { # NAME COMMAND...: the same in both folders
    local name=$1 dir
    shift
    for dir in "$REF/edit" "$MNT/edit"; do
        prepare "$dir"
        (cd "$dir" && timeout 60 "$@") >"$WORK/edit.out" 2>&1 </dev/null || {
            not_ok "$name" "in $dir: status $?: $(tail -n 1 "$WORK/edit.out")"
            return
        }
    done
    if diff <(what_is_there "$REF/edit") <(what_is_there "$MNT/edit") >"$WORK/edit.diff"; then
        ok "$name"
    else
        not_ok "$name" "$(head -n 3 "$WORK/edit.diff" | tr '\n' ';')"
    fi
    grep -q "MEMORY 7$" "$MNT/edit/text" || not_ok "$name" "the change is not in the file"
}
CHANGE='%s/^memory/MEMORY/'
if command -v vim >/dev/null; then
    VIM=(vim -u NONE -N -es -c "set fsync")
    same_edit "vim: rename the old one, write a new one" "${VIM[@]}" -c "set backup backupcopy=no" -c "$CHANGE" -c wq text
    same_edit "vim: copy the old one, write over it" "${VIM[@]}" -c "set backup backupcopy=yes" -c "$CHANGE" -c wq text
    same_edit "vim: decide by itself" "${VIM[@]}" -c "set backupcopy=auto" -c "$CHANGE" -c wq text
    same_edit "vim: through a symlink" "${VIM[@]}" -c "$CHANGE" -c wq soft
    same_edit "vim: with a swap file and an undo file" "${VIM[@]}" -c "set swapfile directory=. undofile undodir=." -c "$CHANGE" -c wq text
else
    skip "vim" "no vim"
fi
if command -v emacs >/dev/null; then
    EMACS=(emacs -Q --batch --eval '(setq create-lockfiles t make-backup-files t)')
    # shellcheck disable=SC2016
    DO='(progn (goto-char (point-min)) (while (re-search-forward "^memory" nil t) (replace-match "MEMORY" t)) (set-buffer-modified-p t) (save-buffer))'
    same_edit "emacs: backup by rename" "${EMACS[@]}" --eval '(setq backup-by-copying nil)' text --eval "$DO"
    same_edit "emacs: backup by copying" "${EMACS[@]}" --eval '(setq backup-by-copying t)' text --eval "$DO"
    same_edit "emacs: numbered backups" "${EMACS[@]}" --eval '(setq version-control t)' text --eval "$DO"
else
    # what emacs does when it saves: a lock that is a dangling symlink, a backup by rename, the new one written and synced
    same_edit "as emacs saves" python3 -c '
import os
os.symlink("user@host.123:456", ".#text")
assert os.readlink(".#text") == "user@host.123:456"
old = open("text").read()
os.rename("text", "text~")
with open("text", "w") as f:
    f.write(old.replace("memory", "MEMORY")); f.flush(); os.fsync(f.fileno())
os.chmod("text", 0o640)
os.unlink(".#text")'
fi
same_edit "sed -i" sed -i 's/^memory/MEMORY/' text
same_edit "sed -i with a backup" sed -i.bak 's/^memory/MEMORY/' text
same_edit "sed --follow-symlinks -i" sed --follow-symlinks -i 's/^memory/MEMORY/' soft
if command -v perl >/dev/null; then same_edit "perl -i" perl -pi -e 's/^memory/MEMORY/' text; fi
same_edit "ed-like: a new file linked over the old name" python3 -c '
import os
new = open("text").read().replace("memory", "MEMORY")
open("new", "w").write(new); os.chmod("new", 0o640)
os.unlink("text"); os.link("new", "text"); os.unlink("new")'
rm -rf "$MNT/edit"

# ---- many files: find, du, grep, ripgrep, against the same on the host's file system
COUNT=3000
[ ! "$FULL" ] || COUNT=50000
python3 - "$REF/many" $COUNT <<'P'
import os, random, sys
root, count = sys.argv[1], int(sys.argv[2])
r = random.Random(9)
for i in range(count):
    d = f"{root}/{i % 40}/{i % 7}"
    os.makedirs(d, exist_ok=True)
    with open(f"{d}/note{i}.txt", "w") as f:
        f.write(f"note {i}\n" + "".join(r.choice(["apple", "pear", "quince"]) + "\n" for _ in range(r.randrange(60))))
P
check "cp -a of $COUNT files" cp -a "$REF/many" "$MNT/many"
here() { (cd "$REF" && "$@" 2>&1); }
there() { (cd "$MNT" && "$@" 2>&1); }
same_out() { check_equal "$1" "$(here "${@:2}" | sort | sha256sum)" "$(there "${@:2}" | sort | sha256sum)"; }
same_out "find" find many
same_out "find -size -newermt -perm" find many -type f -size -1k -newermt '2000-01-01' -perm -u+r -printf '%p %s %m %n\n'
same_out "find -empty -links" find many -empty -o -links +4
same_out "grep -r" grep -r quince many
same_out "grep -rlZ, xargs" bash -c 'grep -rlZ pear many | xargs -0 wc -c | grep -v total'
if command -v rg >/dev/null; then
    same_out "ripgrep" rg --no-heading -n 'app(le)?$' many
    same_out "ripgrep by mmap" rg --mmap --no-heading -c quince many
else
    skip "ripgrep" "no rg"
fi
same_out "du --apparent-size of files" bash -c 'find many -type f -print0 | du -b --files0-from=-'
check_equal "du -s counts hard links once" "$(there du -s many | cut -f 1)" "$(ln "$MNT/many/0/0/note0.txt" "$MNT/many/0/linked" && there du -s many | cut -f 1)"
check "du tells the truth: each file its content, and less than a block more" python3 - "$MNT/many" <<'P'
import os, sys
for folder, dirs, files in os.walk(sys.argv[1]):
    for f in files:
        st = os.lstat(os.path.join(folder, f))
        assert st.st_size <= st.st_blocks * 512 <= st.st_size + 4096, (f, st.st_size, st.st_blocks)
P
same_out "find -delete of some" bash -c 'find many -name "*7.txt" -print -delete'
same_out "what is left" find many -name '*.txt'
check "find -delete of all" bash -c 'cd "$1" && find many -delete && [ ! -e many ]' _ "$MNT"

# ---- a compiler, make, and what it built
if command -v gcc >/dev/null && command -v make >/dev/null; then
    mkdir -p "$MNT/project"
    cd "$MNT/project" || exit 1
    for i in $(seq 24); do
        printf '#include "all.h"\nint part%d(int x) { return x + %d + SHIFT; }\n' "$i" "$i" >"part$i.c"
    done
    {
        echo '#define SHIFT 0'
        for i in $(seq 24); do echo "int part$i(int);"; done
    } >all.h
    {
        printf '#include <stdio.h>\n#include "all.h"\nint main(void) {\n    int x = 0;\n'
        for i in $(seq 24); do echo "    x = part$i(x);"; done
        printf '    printf("%%d\\n", x);\n    return 0;\n}\n'
    } >main.c
    cat >Makefile <<'M'
PARTS := $(patsubst %.c,%.o,$(wildcard part*.c))
program: main.o libparts.a libshared.so
	$(CC) -o $@ main.o libparts.a
libparts.a: $(PARTS)
	rm -f $@ && $(AR) rcs $@ $(PARTS)
libshared.so: $(PARTS)
	$(CC) -shared -o $@ $(PARTS)
%.o: %.c all.h
	$(CC) -g -O1 -fPIC -c -o $@ $<
clean:
	rm -f *.o *.a *.so program
M
    check "make -j4" make -j4
    check_equal "the program runs" 300 "$(./program)"
    check_equal "make again has nothing to do" "make: 'program' is up to date." "$(make -j4 2>&1)"
    check "one source is touched: only it is compiled" bash -c 'touch part3.c && [ "$(make -n | grep -c -- "-c -o")" = 1 ] && make -s'
    sed -i 's/SHIFT 0/SHIFT 1/' all.h
    check "a header is edited: all are compiled" bash -c '[ "$(make -n | grep -c -- "-c -o")" = 25 ] && make -s -j4'
    check_equal "the new program runs" 324 "$(./program)"
    check_fails "a running program cannot be written" "Text file busy" bash -c '
        cp "$(command -v sleep)" ./runs && { ./runs 30 & } && pid=$! && trap "kill $pid" EXIT
        for i in $(seq 200); do [ "$(readlink /proc/$pid/exe)" = "$PWD/runs" ] && break; sleep 0.01; done
        echo x >>./runs'
    check "but it can be replaced" bash -c 'cp ./program ./new && mv ./new ./program && [ "$(./program)" = 324 ]'
    check "a shared library is loaded from the mount" python3 -c 'import ctypes; assert ctypes.CDLL("./libshared.so").part3(1) == 5'
    check "a script with #!" bash -c 'printf "#!/bin/sh\necho \$1\n" >script && chmod +x script && [ "$(./script hi)" = hi ]'
    check "make clean" bash -c 'make -s clean && [ ! -e program ]'
    cd /
    rm -rf "$MNT/project"
else
    skip "a compiler" "no gcc or no make"
fi

# ---- git with thousands of files
if command -v git >/dev/null; then
    export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0
    git config --global user.name Tester
    git config --global user.email tester@example.invalid
    git config --global init.defaultBranch main
    git config --global gc.auto 0
    FILES=3000
    [ ! "$FULL" ] || FILES=30000
    python3 - $FILES <<'P' >"$WORK/fast-import"
import sys
n = int(sys.argv[1])
def commit(message, changes, start=False):
    text = ["commit refs/heads/main", "committer T <t@example.invalid> 1600000000 +0000", f"data {len(message)}", message]
    out = "\n".join(text) + "\n"
    for path, data in changes:
        out += f"M 100644 inline {path}\ndata {len(data)}\n{data}\n"
    sys.stdout.write(out)
commit("first", [(f"d{i % 50}/s{i % 7}/file{i}", f"content {i}\n" * (i % 30)) for i in range(n)])
commit("second", [(f"d{i % 50}/s{i % 7}/file{i}", f"changed {i}\n") for i in range(0, n, 3)])
commit("third", [(f"more/file{i}", f"more {i}\n") for i in range(n // 10)])
P
    git init -q --bare "$WORK/origin.git" && git -C "$WORK/origin.git" fast-import --quiet <"$WORK/fast-import"
    cd "$MNT" || exit 1
    check "git clone of $FILES files" git clone -q --no-local "$WORK/origin.git" repo
    check_equal "git status: clean" "" "$(git -C repo status --porcelain)"
    check_equal "git status again, from its index only" "" "$(git -C repo status --porcelain)"
    check "git status needs to read no file again" bash -c 'cd repo && git update-index -q --refresh && git diff-files --quiet'
    check "git checkout of the first commit and back" bash -c 'cd repo && git checkout -q HEAD~2 && git checkout -q main && [ -z "$(git status --porcelain)" ]'
    check "git grep" bash -c 'cd repo && [ "$(git grep -l changed | wc -l)" = "$(find . -path ./.git -prune -o -type f -print0 | xargs -0 grep -l changed | wc -l)" ]'
    check "edit, add, commit, gc" bash -c 'cd repo && for i in 1 2 3; do find d$i -type f -exec sed -i "s/content/CONTENT/" {} + && git add -A &&
        git commit -q -m "round $i" || exit 1; done && git gc -q --aggressive --prune=now'
    check "git fsck" git -C repo fsck --strict --no-progress
    check "git repack -ad, prune, pack-refs" bash -c 'cd repo && git repack -q -ad && git prune && git pack-refs --all && git fsck --no-progress'
    check "git clone --shared and by hard links" bash -c 'git clone -q --shared repo shared && git clone -q -l repo linked && [ -z "$(git -C linked status --porcelain)" ]'
    check "git archive is the same as the files" bash -c 'mkdir ar && git -C repo archive HEAD | tar -x -C ar && diff -r --exclude=.git repo ar'
    check "git clean, git reset --hard" bash -c 'cd linked && touch junk && rm -r d1 && git clean -qfd && git reset -q --hard && [ -z "$(git status --porcelain)" ]'
    check "git bisect finds it" bash -c 'cd repo && git bisect start HEAD HEAD~5 >/dev/null && git bisect run sh -c "! grep -q CONTENT d2/s2/file2" 2>&1 | grep -q "first bad commit" && git bisect reset'
    cd /
    check "rm -r of the clones" rm -rf "$MNT/shared" "$MNT/linked" "$MNT/ar"
    check "unmount" unmount_store "$MNT"
    must_mount "$STORE" "$MNT"
    # other numbers of device and inode may make git read all files once; they must be the same
    check_equal "git status after a restart" "" "$(git -C "$MNT/repo" status --porcelain)"
    check "git fsck after a restart" git -C "$MNT/repo" fsck --no-progress
else
    skip "git" "no git"
fi
check "unmount at the end" unmount_store "$MNT"
check "engramctl check" "$CTL" check "$STORE"
t_end
