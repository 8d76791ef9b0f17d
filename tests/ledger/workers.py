"""Processes that race for one ledger: ``python workers.py <what> <url> [arguments]``.

Each says ``ready``, waits for a line on its standard input, and begins.
"""

# ruff: noqa: T201 - these processes answer on their standard output

from __future__ import annotations

import sys
import time

from millpond.ledger import Event, LeaseHeld, Ledger, Pointer, PublicationConflict


def increments(url: str, count: str) -> None:
    """Move one pointer on by one version, *count* times, each from where it is now."""
    with Ledger.open(url) as ledger:
        begin()
        for _ in range(int(count)):
            while True:
                before = ledger.pointers("prod").get("counter")
                after = Pointer(table="counter-1", version=1 if before is None else before.version + 1)
                try:
                    ledger.publish(
                        env="prod",
                        changes={"counter": (before, after)},
                        lease=None,
                        events=[Event(kind="query.answered", actor="racer")],
                        actor="racer",
                        run_id=None,
                        reason="one more",
                    )
                except PublicationConflict:
                    continue
                break


def appends(url: str) -> None:
    """Append groups of events until killed; print the last sequence number of each group that stands."""
    with Ledger.open(url) as ledger:
        begin()
        number = 0
        while True:
            number += 1
            group = [
                Event(
                    kind="definition.set",
                    actor="writer",
                    env="prod",
                    subject=f"dataset-{(number * 20 + offset) % 300}",
                    payload={"digest": str(number), "body": {"text": "x" * 500}, "deployment": "d"},
                )
                for offset in range(20)
            ]
            print(ledger.append(group)[-1].seq, flush=True)


def opens(url: str) -> None:
    """Open the ledger, which may not exist yet, and append one event."""
    import alembic.command  # noqa: F401 - loaded before the start, so that all migrate in the same moment

    begin()
    with Ledger.open(url) as ledger:
        ledger.append([Event(kind="query.answered", actor="opener")])


def takes(url: str, holder: str, count: str) -> None:
    """Take one lease *count* times; print its token, and the times between which it was held."""
    with Ledger.open(url) as ledger:
        begin()
        taken = 0
        while taken < int(count):
            try:
                lease = ledger.acquire(["prod"], holder)
            except LeaseHeld:
                time.sleep(0.002)
                continue
            start = time.monotonic_ns()
            time.sleep(0.005)
            end = time.monotonic_ns()
            ledger.release(lease)
            taken += 1
            print(lease.token, start, end, flush=True)


def begin() -> None:
    """Wait for the word to begin."""
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    {"increments": increments, "appends": appends, "opens": opens, "takes": takes}[sys.argv[1]](*sys.argv[2:])
