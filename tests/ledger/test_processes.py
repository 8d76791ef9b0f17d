from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from ledger.histories import inside
from millpond.ledger import Event, Ledger, Pointer

WORKERS = Path(__file__).with_name("workers.py")


@contextmanager
def started(*commands: tuple[str, ...]) -> Iterator[list[subprocess.Popen[str]]]:
    """Start one worker for each command and let them begin together; none is left behind."""
    running = [
        subprocess.Popen(
            [sys.executable, WORKERS, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for command in commands
    ]  # fmt: skip
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def finished(running: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for every worker to end well; give what each printed."""
    outputs = [process.communicate(timeout=100)[0] for process in running]
    assert [process.returncode for process in running] == [0] * len(running)
    return outputs


def test_no_increment_is_lost_between_processes(ledger_url: str) -> None:
    """Four processes that move one pointer at once by compare-and-swap lose no move."""
    Ledger.open(ledger_url).close()
    with started(*[("increments", ledger_url, "15")] * 4) as running:
        finished(running)
    with Ledger.open(ledger_url) as ledger:
        assert ledger.pointers("prod") == {"counter": Pointer(table="counter-1", version=60)}
        moves = [publication.changes["counter"] for publication in ledger.publications("prod", limit=100)]
        assert [after.version for _, after in moves if after is not None] == list(range(60, 0, -1))
        assert len(list(ledger.events(kinds=["query.answered"]))) == 60  # a refused publication leaves no event
        assert ledger.verify().broken_at is None


def test_processes_that_make_the_same_ledger_at_once_all_succeed(ledger_url: str) -> None:
    """Four processes that open a ledger that does not exist yet each find a whole one."""
    with started(*[("opens", ledger_url)] * 4) as running:
        finished(running)
    with Ledger.open(ledger_url) as ledger:
        assert ledger.verify().records == 4
        assert ledger.verify().broken_at is None


def test_a_killed_writer_leaves_whole_groups(ledger_url: str) -> None:
    """After SIGKILL at any moment the chain verifies, whatever was answered is there, and groups are whole."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    chance = random.Random(seed)
    for _ in range(3):
        with started(("appends", ledger_url)) as [process]:
            time.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            answered = [int(line) for line in (process.communicate()[0]).splitlines()]
        with Ledger.open(ledger_url) as ledger:
            report = ledger.verify()
            assert report.broken_at is None
            assert report.records >= max(answered, default=0)
            assert len(list(ledger.events(kinds=["definition.set"]))) % 20 == 0
            before = inside(ledger)
            ledger.rebuild()
            assert inside(ledger) == before


def test_a_lease_is_held_by_one_at_a_time(ledger_url: str) -> None:
    """Three processes that take one lease in turn never hold it together, and its tokens grow with time."""
    Ledger.open(ledger_url).close()
    with started(*[("takes", ledger_url, f"holder-{number}", "8") for number in range(3)]) as running:
        lines = [line.split() for output in finished(running) for line in output.splitlines()]
    held = sorted((int(start), int(end), int(token)) for token, start, end in lines)
    assert len(held) == 24
    for (_, end, token), (start, _, later_token) in pairwise(held):
        assert end <= start
        assert token < later_token


def test_threads_share_a_ledger(ledger: Ledger) -> None:
    """Threads that append to one open ledger at once make one whole chain."""
    writers = [
        threading.Thread(
            target=lambda: [ledger.append([Event(kind="query.answered", actor="t")] * 3) for _ in range(20)]
        )
        for _ in range(6)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (ledger.verify().records, ledger.verify().broken_at) == (360, None)
