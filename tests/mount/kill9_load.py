#!/usr/bin/env python3
"""A writer that journals, outside the mount, what its system calls have returned for, and the comparison.

    kill9_load.py write FOLDER JOURNAL SEED   random operations until one fails because the daemon is gone
    kill9_load.py verify FOLDER JOURNAL       compares FOLDER with the journal; what was found becomes its new start

An operation is announced in the journal before its call, and confirmed after
the call returned. All that was confirmed must be there; the one under way when
the daemon died may be there or not. Each is one request to the daemon and so
atomic, but for a write that crosses pages: the kernel may send it in pieces
that end at page boundaries, so a prefix of that kind may be there, and
write(2) may have returned its length, or that of a shorter one: the daemon may
have died between the next piece and its answer.
"""
import errno
import json
import os
import random
import sys

# ENOENT: it was unmounted in an orderly way, and the folder below is empty
GONE = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENOENT)


def fill(seed, size):
    return random.Random(seed).randbytes(size)


class Model:
    """name -> [content, confidence]; folders are fixed."""

    def __init__(self):
        self.files = {}

    def apply(self, op):
        kind, name, rest = op[0], op[1], op[2:]
        f = self.files
        if kind == "create":
            f[name] = [b"", None]
        elif kind == "write":
            offset, seed, size = rest[:3]
            data = fill(seed, size)[: rest[3] if len(rest) > 3 else size]
            old = f[name][0].ljust(offset, b"\0")
            f[name][0] = old[:offset] + data + old[offset + len(data):]
        elif kind == "truncate":
            f[name][0] = f[name][0][: rest[0]].ljust(rest[0], b"\0")
        elif kind == "rename":
            f[rest[0]] = f.pop(name)
        elif kind == "unlink":
            del f[name]
        elif kind == "confidence":
            f[name][1] = rest[0]


def do(folder, op):
    """Returns what write(2) returned, for a write."""
    kind, rest = op[0], op[2:]
    path = os.path.join(folder, op[1])
    if kind == "create":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    elif kind == "write":
        f = os.open(path, os.O_WRONLY)
        try:
            data = fill(rest[1], rest[2])
            return os.pwrite(f, data, rest[0])
        finally:
            os.close(f)
    elif kind == "truncate":
        os.truncate(path, rest[0])
    elif kind == "rename":
        os.rename(path, os.path.join(folder, rest[0]))
    elif kind == "unlink":
        os.unlink(path)
    elif kind == "confidence":
        os.setxattr(path, "user.engram.confidence", rest[0].encode())
    elif kind == "fsync":
        f = os.open(path, os.O_RDONLY)
        try:
            os.fsync(f)
        finally:
            os.close(f)


def choose(rng, model, serial):
    names = list(model.files)
    if len(names) < 20 or (len(names) < 150 and rng.random() < 0.2):
        return ["create", f"f{serial}"]
    name = rng.choice(names)
    size = len(model.files[name][0])
    dice = rng.random()
    if dice < 0.35:
        return ["write", name, rng.randrange(size + 1), rng.getrandbits(60), rng.choice([1, 100, 1000, 5000, 20000])]
    if dice < 0.55:  # append
        return ["write", name, size, rng.getrandbits(60), rng.randrange(1, 2000)]
    if dice < 0.65:
        return ["truncate", name, rng.choice([0, size // 2, size + 100])]
    if dice < 0.78:
        return ["rename", name, rng.choice(names) if rng.random() < 0.5 else f"r{serial}"]
    if dice < 0.88:
        return ["unlink", name]
    if dice < 0.97:
        return ["confidence", name, "0.%d" % rng.randrange(1, 1000)]
    return ["fsync", name]


def replay(journal):
    """The state after all that returned, and the operation that was under way (or None), also a write of which a part returned."""
    model, pending = Model(), None
    with open(journal, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("{"):
                model.files = {k: [bytes.fromhex(v[0]), v[1]] for k, v in json.loads(line).items()}
            elif line.startswith("done"):
                part = [int(n) for n in line.split()[1:]]
                model.apply(pending + part)
                pending = pending if part else None
            else:
                pending = json.loads(line)
    return model, pending


def write(folder, journal, seed):
    rng = random.Random(seed)
    model, pending = replay(journal) if os.path.exists(journal) else (Model(), None)
    assert pending is None
    os.makedirs(folder, exist_ok=True)
    serial = random.Random().getrandbits(40) << 20
    log = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        serial += 1
        op = choose(rng, model, serial)
        if op[0] == "rename" and op[1] == op[2]:
            continue
        os.write(log, (json.dumps(op) + "\n").encode())
        try:
            n = do(folder, op)
        except OSError as e:
            if e.errno in GONE and is_gone(folder):
                return
            sys.exit(f"{op[:3]}: {e}")
        if op[0] == "write" and n != op[4]:
            os.write(log, b"done %d\n" % n)
            if is_gone(folder):
                return
            sys.exit(f"{op[:3]}: short write, {n} of {op[4]}")
        os.write(log, b"done\n")
        model.apply(op)


def is_gone(folder):
    """Any wrong answer of a daemon that still lives is a defect."""
    try:
        os.statvfs(folder)
        return False
    except OSError:
        return True


def look(folder):
    found = {}
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        with open(path, "rb") as f:
            content = f.read()
        try:
            confidence = os.getxattr(path, "user.engram.confidence").decode()
        except OSError as e:
            if e.errno != errno.ENODATA:
                raise
            confidence = None
        found[name] = [content, confidence]
    return found


def difference(want, have):
    if want.keys() != have.keys():
        return f"missing {sorted(want.keys() - have.keys())[:3]}, unexpected {sorted(have.keys() - want.keys())[:3]}"
    for name in want:
        if want[name] != have[name]:
            return (f"{name}: {len(have[name][0])} bytes instead of {len(want[name][0])}, "
                    f"confidence {have[name][1]} instead of {want[name][1]}")
    return None


def verify(folder, journal):
    model, pending = replay(journal)
    have = look(folder)
    wrong = difference(model.files, have)
    if wrong and pending:
        before = {k: list(v) for k, v in model.files.items()}
        ends = [[]]
        if pending[0] == "write":
            offset, size = pending[2], pending[4]
            ends += [[end - offset] for end in range((offset // 4096 + 1) * 4096, offset + size, 4096)]
        for end in ends:
            model.files = {k: list(v) for k, v in before.items()}
            model.apply(pending + end)
            if not difference(model.files, have):
                wrong = None
                break
    if wrong:
        sys.exit(f"{wrong} (under way: {pending[:4] if pending else None})")
    with open(journal + ".new", "w", encoding="utf-8") as f:
        f.write(json.dumps({k: [v[0].hex(), v[1]] for k, v in model.files.items()}) + "\n")
    os.rename(journal + ".new", journal)
    print(len(have))


if __name__ == "__main__":
    {"write": write, "verify": verify}[sys.argv[1]](*sys.argv[2:])
