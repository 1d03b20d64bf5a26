#!/usr/bin/env python3
"""What compact.sh expects of its memories, and the readers that hold it to that.

    memories.py load JSONL EXPECT MOUNT     read back what was imported; EXPECT (JSON: id -> content) is written
    memories.py change EXPECT MOUNT         overwrite every second memory, then remove every third
    memories.py verify EXPECT MOUNT         all of EXPECT and nothing else
    memories.py readers EXPECT MOUNT STOP ROUNDS   read and compare until the file STOP exists
    memories.py churn FOLDER                make garbage: write files and remove them
"""
import json
import os
import random
import sys


def path_of(mount, ident):
    return os.path.join(mount, ident)


def names(mount):
    found = []
    for folder, _, files in os.walk(mount):
        found += [os.path.relpath(os.path.join(folder, f), mount) for f in files]
    return found


def read_cold(path):
    """Reads from the daemon, not from the kernel's cache of an earlier read."""
    f = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
        data = b""
        while True:
            piece = os.read(f, 1 << 20)
            if not piece:
                return data
            data += piece
    finally:
        os.close(f)


def verify(expect, mount):
    # an id that cannot be a path carries its true id in an attribute
    have = {}
    for name in names(mount):
        try:
            ident = os.getxattr(path_of(mount, name), "user.engram.id").decode()
        except OSError:
            ident = name
        have[ident] = name
    missing, extra = expect.keys() - have.keys(), have.keys() - expect.keys()
    if missing or extra:
        sys.exit(f"{len(missing)} missing, {len(extra)} too many: {sorted(missing | extra)[:3]}")
    for ident, content in expect.items():
        data = read_cold(path_of(mount, have[ident]))
        if data != (content or "").encode():
            sys.exit(f"{ident}: {len(data)} bytes, {data[:60]!r}")
    return have


def load(jsonl, expect_file, mount):
    expect = {}
    with open(jsonl, encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                record = json.loads(line)
                expect[record["id"]] = record["content"]
    have = verify(expect, mount)
    # from here on by the names in the mount
    save(expect_file, {have[i]: c or "" for i, c in expect.items()})


def save(expect_file, expect):
    with open(expect_file, "w", encoding="utf-8") as f:
        json.dump(expect, f)


def change(expect_file, mount):
    expect = json.load(open(expect_file, encoding="utf-8"))
    order = sorted(expect)
    for i, name in enumerate(order):
        if i % 2 == 0:
            expect[name] = "rewritten: " + expect[name] * (1 + i % 3)
            with open(path_of(mount, name), "wb") as f:
                f.write(expect[name].encode())
    for i, name in enumerate(order):
        if i % 3 == 0:
            os.unlink(path_of(mount, name))
            del expect[name]
    save(expect_file, expect)


def verify_names(expect_file, mount):
    expect = json.load(open(expect_file, encoding="utf-8"))
    have = set(n for n in names(mount) if not n.startswith("churn/"))
    if have != expect.keys():
        sys.exit(f"{len(expect.keys() - have)} missing, {len(have - expect.keys())} too many")
    for name, content in expect.items():
        data = read_cold(path_of(mount, name))
        if data != content.encode():
            sys.exit(f"{name}: {len(data)} bytes, {data[:60]!r}")


def readers(expect_file, mount, stop, rounds_file):
    expect = json.load(open(expect_file, encoding="utf-8"))
    order = list(expect)
    rounds = 0
    while not os.path.exists(stop):
        random.shuffle(order)
        for name in order:
            data = read_cold(path_of(mount, name))
            if data != expect[name].encode():
                print(f"round {rounds}: {name}: {len(data)} bytes, {data[:60]!r}")
        rounds += 1
        with open(rounds_file + ".new", "w") as f:
            f.write(f"{rounds}\n")
        os.rename(rounds_file + ".new", rounds_file)


def churn(folder):
    """4 MiB written and removed again, in a folder that the readers skip."""
    for i in range(64):
        path = os.path.join(folder, f"{i}")
        with open(path, "wb") as f:
            f.write(os.urandom(1 << 16))
        os.unlink(path)


def main():
    what, args = sys.argv[1], sys.argv[2:]
    {"load": load, "change": change, "verify": verify_names, "readers": readers, "churn": churn}[what](*args)


if __name__ == "__main__":
    main()
