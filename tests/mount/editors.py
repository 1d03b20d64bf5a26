#!/usr/bin/env python3
"""editors.py MNT SECONDS SETTLE [TURNS.jsonl] - memories are edited by vim, emacs, sed -i, rsync, git and >> for so long; then each
state that stood is read back from .engram/at, byte for byte, and the whole tree of some moments is compared. Then 20 saves
each by vim, emacs and sed -i, SETTLE seconds apart (that of the mount from then on): .engram/history lists them all.

What stood is known from copies in memory, never from the mount: each editor's result is read once, right behind it, and
compared with what the same edit makes of the content in memory."""
import json
import os
import random
import subprocess
import sys
import time

MNT, SECONDS = sys.argv[1], float(sys.argv[2])
SETTLE = 1.0  # history_settle of the mount, by default
SAVES = 20
TREE = os.path.join(MNT, "turns")
AT = os.path.join(MNT, ".engram/at")
RANDOM = random.Random(14)


def made_up():
    """As many turns as a test needs, where the real ones are not there."""
    words = "ada sails on sunday and writes letters to the harbour about rain".split()
    for n in range(600):
        yield "talk-%02d/session-%02d/turn-%d" % (n % 3, n % 20, n), " ".join(RANDOM.choices(words, k=5 + n % 40))


def turns():
    if len(sys.argv) > 4:
        with open(sys.argv[4], encoding="utf-8") as lines:
            for line in lines:
                turn = json.loads(line)
                yield turn["id"], turn["content"]
    else:
        yield from made_up()


def run(*command, **options):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60, check=False, **options)
    if done.returncode:
        raise SystemExit("%r: status %d: %.300r" % (command, done.returncode, done.stdout))


# Each takes the path and what it has, edits it, and returns what it has to have then.

def by_vim(path, was, n):
    run("vim", "-N", "-u", "NONE", "-i", "NONE", "-es", "-c", "set nobackup writebackup backupcopy=no noswapfile",
        "-c", "normal Govim %d" % n, "-c", "wq", path)
    return was + b"vim %d\n" % n


def by_emacs(path, was, n):
    run("emacs", "--batch", "-Q", "--eval",
        '(progn (setq make-backup-files nil) (find-file "%s") (goto-char (point-max)) (insert "emacs %d\\n")'
        " (save-buffer))" % (path, n))
    return was + b"emacs %d\n" % n


def by_sed(path, was, n):
    run("sed", "-i", "1s/^/sed %d /" % n, path)
    return b"sed %d " % n + was


def by_append(path, was, n):
    run("sh", "-c", 'echo "line %d" >>"$0"' % n, path)
    return was + b"line %d\n" % n


def by_rsync(path, was, n):
    source = os.path.join(os.path.dirname(MNT), "source")
    new = was[: len(was) // 2] + b" rsync %d\n" % n
    with open(source, "wb") as file:
        file.write(new)
    run("rsync", "--ignore-times", source, path)
    return new


def by_git(path, was, n):
    """The memory as a commit has it that is checked out."""
    new = was + b"git %d\n" % n
    git = ("git", "-C", os.path.join(MNT, "repo"), "-c", "user.name=t", "-c", "user.email=t@example.org")
    name = os.path.join(MNT, "repo", "memory")
    for content in new, was:
        if os.path.exists(name):
            read(name)  # git has changed it: with -o conflicts=refuse who has not seen that may not replace it
        with open(name, "wb") as file:
            file.write(content)
        run(*git, "add", "memory")
        run(*git, "commit", "-q", "--allow-empty", "-m", "n")
    run(*git, "checkout", "-q", "HEAD~1", "--", "memory")
    run("mv", name, path)
    run(*git, "checkout", "-q", "HEAD", "--", "memory")
    return new


EDITORS = [by_vim, by_emacs, by_sed, by_append, by_rsync, by_git]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def moment():
    now = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 10**9)) + ".%09dZ" % (now % 10**9)


def compare(what, is_, has_to_be):
    if is_ != has_to_be:
        raise SystemExit("%s: %.200r, not %.200r" % (what, is_, has_to_be))


def edit(model):
    """Until the time is over, and at least twice by each: what stood then, [(WHEN, path, content)], and whole trees."""
    stood, trees = [], []
    favourites = RANDOM.sample(sorted(model), 5)
    end = time.monotonic() + SECONDS
    n = 0
    while time.monotonic() < end or n < 2 * len(EDITORS):
        editor = EDITORS[n % len(EDITORS)]
        path = RANDOM.choice(favourites)
        for quick in RANDOM.choices((by_sed, by_append), k=RANDOM.randrange(4)):  # states too short to be kept
            model[path] = quick(os.path.join(TREE, path), model[path], n)
        model[path] = editor(os.path.join(TREE, path), model[path], n)
        compare("%s: what is there" % editor.__name__, read(os.path.join(TREE, path)), model[path])
        time.sleep(SETTLE + 0.1)  # it has to stand so long to be kept: that is what is promised
        stood.append((moment(), path, model[path]))
        if n % 25 == 3:
            trees.append((stood[-1][0], dict(model)))
        n += 1
    return stood, trees


def saves(settle):
    """Each state that was saved is a version of the path, in this order, and has the bytes that were saved."""
    with open(os.path.join(MNT, ".engram/config"), "w", encoding="ascii") as file:
        file.write("history_settle=%ds" % settle)
    for editor in by_vim, by_emacs, by_sed:
        name = "saved-" + editor.__name__
        path = os.path.join(MNT, name)
        saved = [b"first\n"]
        with open(path, "wb") as file:
            file.write(saved[0])
        for n in range(SAVES):
            time.sleep(settle and settle + 0.1)
            saved.append(editor(path, saved[-1], n))
        time.sleep(settle and settle + 0.1)
        folder = os.path.join(MNT, ".engram/history", name, "@")
        listed = [read(os.path.join(folder, version)) for version in sorted(os.listdir(folder))]
        if settle:
            compare("versions of %s" % name, listed, saved)
        left = iter(listed)  # without a settle there are those of half a save, too
        compare("saves of %s that are versions" % name, [s for s in saved if s in left], saved)


def main():
    model = {}
    for name, content in turns():
        model[name] = (content + "\n").encode()
        path = os.path.join(TREE, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(model[name])
    run("git", "init", "-q", os.path.join(MNT, "repo"))
    stood, trees = edit(model)
    with open(os.path.join(MNT, ".engram/compact"), "w", encoding="ascii") as file:
        file.write("run")
    for when, path, content in stood:
        compare("%s at %s" % (path, when), read(os.path.join(AT, when, "turns", path)), content)
    for when, tree in trees:
        root = os.path.join(AT, when, "turns")
        found = {}
        for folder, _, files in os.walk(root):
            for name in files:
                full = os.path.join(folder, name)
                found[os.path.relpath(full, root)] = read(full)
        compare("names at %s" % when, sorted(found), sorted(tree))
        compare("content at %s" % when, [n for n in tree if tree[n] != found[n]], [])
    saves(float(sys.argv[3]))
    print("%d states, %d trees of %d memories" % (len(stood), len(trees), len(model)))


main()
