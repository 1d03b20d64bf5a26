#!/usr/bin/env python3
"""Prints those of the refused replacements on standard input, lines of `.engram/conflicts`, that are not expected. For lib.sh.

    refusals.py SCRIPT EXPECTED
"""
import fnmatch
import json
import sys


def expected(script, file):
    with open(file, encoding='utf-8') as f:
        rows = [line.split('|') for line in f if line.strip() and not line.startswith('#')]
    return [(path.strip(), process.strip()) for name, path, process, _ in rows if name.strip() == script]


def main():
    rows = expected(*sys.argv[1:])
    for line in sys.stdin:
        one = json.loads(line)
        if not any(fnmatch.fnmatchcase(one['path'], path) and fnmatch.fnmatchcase(one['process']['name'], process)
                   for path, process in rows):
            print(line.strip())


if __name__ == '__main__':
    main()
