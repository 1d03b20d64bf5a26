#!/usr/bin/env bash
# A git repository that lives on the mount.
# shellcheck source=tests/lib.sh
. "$(dirname "$0")/../lib.sh"
t_begin "$@"
t_needs git

must_mount "$WORK/store" "$WORK/mnt"
export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_SYSTEM=/dev/null GIT_TERMINAL_PROMPT=0
git config --global user.name Tester
git config --global user.email tester@example.invalid
git config --global init.defaultBranch main
git config --global safe.directory '*'
git config --global gc.auto 0
cd "$WORK/mnt" || exit 1

check "git init" git init -q repo
cd repo || exit 1
commits() {
    local i j
    for i in $(seq 20); do
        for j in $(seq 10); do
            mkdir -p "d$j"
            echo "change $i of $j" >>"d$j/file$((i % 5))"
        done
        git add -A && git commit -q -m "change $i" || return 1
    done
}
check "20 commits" commits
check_equal "git log" 20 "$(git log --oneline | wc -l)"
check_equal "clean" "" "$(git status --porcelain)"
check "a branch, a merge" bash -c 'git checkout -q -b side HEAD~3 && echo side >side && git add side &&
    git commit -q -m side && git checkout -q main && git merge -q -m merged side'
check "git mv, git rm" bash -c 'git mv side aside && git rm -q d1/file1 && git commit -q -m moved'
check "git stash" bash -c 'echo dirty >>aside && git stash -q && [ -z "$(git status --porcelain)" ] && git stash pop -q && git checkout -q aside'
check "git gc" git gc -q --prune=now
check "git fsck" git fsck --strict --no-progress
check "clone within the mount" git clone -q --no-local . ../clone
check "clone by hard links" git clone -q . ../linked
check "clone out of the mount" git clone -q --no-local . "$WORK/outside"
check_equal "the clone has the same tree" "$(git rev-parse 'HEAD^{tree}')" "$(git -C "$WORK/outside" rev-parse 'HEAD^{tree}')"
check "a push into the mount" bash -c 'git -C ../clone checkout -q -b pushed && echo p >../clone/p && git -C ../clone add p &&
    git -C ../clone commit -q -m p && git -C ../clone push -q origin pushed'
check "git worktree" git worktree add -q ../tree side
head=$(git rev-parse pushed)
cd /
check "unmount" unmount_store "$WORK/mnt"
must_mount "$WORK/store" "$WORK/mnt"
cd "$WORK/mnt/repo" || exit 1
check "git fsck after a restart" git fsck --strict --no-progress
check_equal "the pushed commit is there" "$head" "$(git rev-parse pushed)"
check_equal "still clean" "" "$(git status --porcelain)"
cd /
check "unmount at the end" unmount_store "$WORK/mnt"
t_end
