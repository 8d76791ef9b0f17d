"""The lease of a run: taken whole, renewed while the run lives, taken over at once from a process that is dead."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from millpond.kernel import Json, MillpondError, canonical_json
from millpond.ledger import Lease, LeaseHeld, LeaseLost, Ledger

LEASE_S = 30.0
"""After this long without a sign of life a lease may be taken over, also from another machine."""


class AnotherRun(MillpondError):
    """What this run would publish is being published by another one."""

    code = "another-run"
    exit_code = 5
    transient = True

    def __init__(self, what: str, holder: str) -> None:
        """Keep *what* is held, and by which run."""
        self.what = what
        self.run_id = run_of(holder)
        process = process_of(holder)
        super().__init__(
            f"Run {self.run_id} (process {process['pid']} on {process['host']}) "
            f"is working on {what.partition(':')[2]}.",
            hint="Nothing was done here. Wait for it: millpond run --wait 600; or look: millpond run --list",
        )


class HeldLease:
    """A lease that a thread keeps alive."""

    def __init__(self, ledger: Ledger, lease: Lease) -> None:
        """Begin to renew *lease*."""
        self._ledger = ledger
        self.current = lease
        self._lost: MillpondError | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def token(self) -> int:
        """The fencing token."""
        return self.current.token

    def check(self) -> None:
        """Raise LeaseLost where another run took over."""
        if self._lost is not None:
            raise self._lost

    def stop(self) -> None:
        """Renew no more."""
        self._stop.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._stop.wait(LEASE_S / 3):
            try:
                self.current = self._ledger.renew(self.current, ttl_s=LEASE_S)
            except LeaseLost as error:
                self._lost = error
                return
            except MillpondError as error:
                if not error.transient:
                    self._lost = error
                    return


@contextmanager
def take_lease(
    ledger: Ledger, names: Sequence[str], run_id: str, *, wait_s: float, mend: Callable[[], object]
) -> Iterator[HeldLease]:
    """Hold *names* for the block; *mend* is called to finish what the dead left, before the block begins.

    Raises:
        AnotherRun: somebody alive holds one of them, and *wait_s* is over. Transient.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            lease = ledger.acquire(names, holder_of(run_id), ttl_s=LEASE_S)
            break
        except LeaseHeld as held:
            if not is_alive(process_of(held.holder)):
                mend()
                continue
            if time.monotonic() >= deadline:
                raise AnotherRun(held.name, held.holder) from held
            time.sleep(0.2)
    holding = HeldLease(ledger, lease)
    try:
        mend()  # a lease that ended while we waited was taken over as it stood
        yield holding
    finally:
        holding.stop()
        with suppress(LeaseLost):  # published, or taken over: in both cases it is no longer ours to give back
            ledger.release(holding.current)


def holder_of(run_id: str) -> str:
    """Name a lease's holder: the run's id, and the process, so that others can tell whether it still lives."""
    return canonical_json({"run": run_id, **this_process()})


def run_of(holder: str) -> str:
    """Give the run's id that a holder names."""
    return str(json.loads(holder)["run"])


def process_of(holder: str) -> Mapping[str, Json]:
    """Give the process that a holder names."""
    process: Mapping[str, Json] = json.loads(holder)
    return process


def this_process() -> dict[str, Json]:
    """Name this process."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": _born(os.getpid())}


def is_alive(process: Mapping[str, Json]) -> bool:
    """Tell whether a process lives; one on another machine counts as alive until its lease ends."""
    if process.get("host") != socket.gethostname():
        return True
    pid = process.get("pid")
    return isinstance(pid, int) and _born(pid) == process.get("born") and _exists(pid)


def _born(pid: int) -> str:
    """When a process began, in clock ticks since boot, with the boot's id: tells a reused pid from the first one."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return f"{boot}/{fields[19]}" if fields[0] != "Z" else ""


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
