from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lake.committer import ROUNDS
from lake.ponds import commit, delta, ids, read, write_file
from millpond.kernel import new_id
from millpond.lake import CommitConflict, Table

COMMITTER = Path(__file__).with_name("committer.py")


def start(mode: str, table: Table, argument: str) -> subprocess.Popen[str]:
    """Start a process that commits; it says when it is about to."""
    root = table.store.uri.removesuffix(f"/{table.key}")
    options = json.dumps(table.store.storage_options())
    command = [sys.executable, COMMITTER, mode, root, options, table.key, argument]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    """Wait for the next line of a process."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_of_four_processes_that_started_from_one_version_exactly_one_wins(table: Table, tmp_path: Path) -> None:
    """The others are told which version they lost to; the table holds the winner's rows alone."""
    shots = tmp_path / "shot"
    processes = [start("race", table, str(shots)) for _ in range(4)]
    for number, base in enumerate(range(-1, ROUNDS - 1)):
        assert [said(process) for process in processes] == ["ready"] * 4
        Path(f"{shots}-{number}").touch()
        answers = [json.loads(said(process)) for process in processes]
        assert [answer["won"] for answer in answers if "won" in answer] == [base + 1]
        assert [answer["lost"] for answer in answers if "lost" in answer] == [[base, base + 1]] * 3
        winner = next(answer["run"] for answer in answers if "won" in answer)
        assert table.committed(winner) == base + 1
        assert [table.committed(answer["run"]) for answer in answers if "lost" in answer] == [None] * 3
        wanted = sorted([1, 2] * (number + 1))
        assert read(table.snapshot()) == wanted == sorted(delta(table)["id"].to_pylist())
        Path(f"{shots}-{number}-over").touch()
    for process in processes:
        process.communicate(timeout=30)


def test_of_eight_threads_exactly_one_wins_every_round(table: Table) -> None:
    """However close the race, no commit is lost and none is put upon another's."""

    def attempt(base: int) -> int | None:
        run_id = new_id("run")
        file = write_file(table.store, run_id, ids([base + 1]))
        try:
            return commit(table, None, base=base, run_id=run_id, adds=(file,)).version
        except CommitConflict:
            return None

    with ThreadPoolExecutor(8) as pool:
        for base in range(-1, 5):
            assert Counter(pool.map(attempt, [base] * 8)) == {base + 1: 1, None: 7}
    assert read(table.snapshot()) == [*range(6)]


def test_of_one_run_tried_by_eight_threads_all_find_the_one_commit(table: Table) -> None:
    """Two processes that finish the same dead run do not disturb each other: both are told the one version."""
    commit(table, [1])
    run_id = new_id("run")
    adds = (write_file(table.store, run_id, ids([2])),)
    with ThreadPoolExecutor(8) as pool:
        made = [*pool.map(lambda _: commit(table, None, base=0, run_id=run_id, adds=adds).version, range(8))]
    assert made == [1] * 8
    assert read(table.snapshot()) == [1, 2]


def test_a_killed_committer_leaves_each_run_whole_or_absent(local: Table) -> None:
    """Killed at any moment and started again: the table is always readable, and no run is half there or twice."""
    chance = random.Random(20_200_310)
    for _ in range(4):
        process = start("crash", local, str(local.snapshot().version + 1))
        assert said(process) == "running"
        time.sleep(chance.uniform(0, 0.25))
        process.kill()
        process.communicate()
        snapshot = local.snapshot()
        counts = Counter(read(snapshot))
        assert counts == dict.fromkeys(range(snapshot.version + 1), 2)
        assert sorted(delta(local)["id"].to_pylist()) == sorted(counts.elements())
    assert snapshot.version > 4
    runs = [local.committed(f"run-{number:020d}") for number in range(snapshot.version + 1)]
    assert runs == [*range(snapshot.version + 1)]
    dead = local.vacuum(keep=range(999), live_runs=(), newer_than_us=0, dry_run=False)
    assert all("run-" in path for path in dead.paths)
    kept = {file.path for file in local.store.list() if not file.path.startswith("_delta_log/")}
    assert kept == {file.path for file in local.snapshot().files}
