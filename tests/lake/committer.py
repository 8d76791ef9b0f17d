"""A process that commits to a table until it is done or killed; run by test_races.py.

Usage: committer.py race|crash uri options-as-json key argument
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from lake.ponds import commit, ids, write_file
from millpond.kernel import Store, new_id
from millpond.lake import CommitConflict, Lake, Table

ROUNDS = 5


def say(what: str) -> None:
    """Tell the test."""
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


def race(table: Table, shots: str) -> None:
    """In each round: see the newest version, wait for the starting shot, commit on it, and say how it went."""
    for number in range(ROUNDS):
        run_id = new_id("run")
        base = table.snapshot().version
        say("ready")
        while not Path(f"{shots}-{number}").exists():
            time.sleep(0.0005)
        try:
            made = commit(table, [1, 2], base=base, run_id=run_id)
        except CommitConflict as lost:
            say(json.dumps({"run": run_id, "lost": [lost.expected, lost.found]}))
        else:
            say(json.dumps({"run": run_id, "won": made.version}))
        while not Path(f"{shots}-{number}-over").exists():
            time.sleep(0.0005)


def crash(table: Table, first: str) -> None:
    """Commit two files at a time, run by run, for ever; the run before each is repeated as after a crash."""
    for number in range(int(first), 1_000_000):
        run_id = f"run-{number:020d}"
        if table.committed(run_id) is None:
            second = write_file(table.store, run_id, ids([number]))
            files = (write_file(table.store, run_id, ids([number])), second)
            commit(table, None, run_id=run_id, adds=files)
        if number == int(first):
            say("running")


if __name__ == "__main__":
    _, mode, uri, options, key, argument = sys.argv
    {"race": race, "crash": crash}[mode](Lake(Store(uri, json.loads(options))).table(key), argument)
