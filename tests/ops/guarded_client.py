#!/usr/bin/env python3
"""Several processes replace words of their own in one memory of a mount, each with a guard (docs/CONFLICTS.md). For sdk_memory.sh.

    guarded_client.py MEMORY PROCESSES ROUNDS [retry]

In each round each process replaces its word of that round, once, or with `retry` until that is acknowledged; then the next
round begins. Prints a line of JSON:
    acknowledged, refused    edits: success, ECANCELED; anything else ends the run
    lost, unasked            words that were acknowledged and are not there; that were refused, and are
    fewest, attempts         acknowledged edits, in the round with the fewest; of the edit that needed most attempts
    forks                    acknowledged edits that replaced a state which another one has replaced, or which none has made
"""
import errno
import json
import multiprocessing
import os
import sys

STATE, GUARD = 'user.engram.state', 'user.engram.if_match'


def word(process, rnd):
    return b'<%d.%d>' % (process, rnd)


def edit(path, old, new, mine):
    """Returns the state that was replaced, and that which was made; None: refused."""
    with open(path, 'rb') as f:
        seen = os.getxattr(f.fileno(), STATE)
        content = f.read()
    assert content.count(old) == 1, (old, content)
    try:
        with open(mine, 'xb') as f:
            f.write(content.replace(old, new))
            f.flush()
            made = os.getxattr(f.fileno(), STATE)
            os.setxattr(f.fileno(), GUARD, b'state:' + seen)
        os.rename(mine, path)
    except OSError as e:
        os.unlink(mine)
        if e.errno != errno.ECANCELED:
            raise
        return None
    return seen, made


def work(path, process, rounds, retry, barrier, results):
    out = []
    for rnd in range(rounds):
        barrier.wait(60)
        done, attempts = None, 0
        while not done and (retry or not attempts):
            done = edit(path, word(process, rnd) + b' todo', word(process, rnd) + b' done', f'{path}.{process}')
            attempts += 1
        out.append((done, attempts))
    results.put((process, out))


def main(path, processes, rounds, retry):
    with open(path, 'xb') as f:
        f.write(b''.join(word(p, r) + b' todo\n' for p in range(processes) for r in range(rounds)))
    first = os.getxattr(path, STATE)
    barrier, results = multiprocessing.Barrier(processes), multiprocessing.SimpleQueue()
    workers = [multiprocessing.Process(target=work, args=(path, p, rounds, retry, barrier, results))
               for p in range(processes)]
    for w in workers:
        w.start()
    all_of = {}
    for _ in workers:
        process, out = results.get()
        all_of[process] = out
    for w in workers:
        w.join()
    with open(path, 'rb') as f:
        content = f.read()
    done = [(p, r, e[0]) for p, out in all_of.items() for r, e in enumerate(out) if e[0]]
    lost = sum(word(p, r) + b' done' not in content for p, r, _ in done)
    seen, made = [e[0] for _, _, e in done], {e[1] for _, _, e in done} | {first}
    forks = len(seen) - len(set(seen)) + len(set(seen) - made) + (len(made) != len(done) + 1)
    print(json.dumps({
        'acknowledged': len(done), 'refused': processes * rounds - len(done), 'lost': lost,
        'unasked': content.count(b' done') - (len(done) - lost),
        'fewest': min(sum(1 for out in all_of.values() if out[r][0]) for r in range(rounds)),
        'attempts': max(a for out in all_of.values() for _, a in out), 'forks': forks}))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:] == ['retry'])
