"""A shop with deliveries, driven by real processes that can be killed, paused and raced."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from crash import driver
from crash.driver import Point

TESTS = Path(__file__).parents[1]
EXAMPLE = TESTS.parent / "examples" / "shop"
WAIT_S_MAX = 120
LEFT_OUT = ("customer_value", "category_sales")
"""The last models of the example: they add time and no other kind of step."""
_numbers = itertools.count(1)


def processes() -> Any:
    """Give the context that forks children from a process with everything imported."""
    context = multiprocessing.get_context("forkserver")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(TESTS), os.environ.get("PYTHONPATH")]))
    context.set_forkserver_preload(["crash.driver"])
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended."""

    code: int
    text: str
    seconds: float

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.text)


@dataclass(slots=True)
class Started:
    """A command in progress."""

    process: BaseProcess
    log: Path
    began: float

    def done(self) -> Done:
        """Wait for its end; one that does not end is a deadlock."""
        self.process.join(WAIT_S_MAX)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"no end after {WAIT_S_MAX} s: {self.log.read_text()[-2000:]}")
        seconds = time.monotonic() - self.began
        return Done(code=self.process.exitcode, text=self.log.read_text(encoding="utf-8"), seconds=seconds)


@dataclass
class Shop:
    """A copy of the example project, small, and what was kept of its states."""

    root: Path
    scratch: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of every command."""

    @classmethod
    def make(cls, folder: Path, **changed: Any) -> Shop:
        """Copy the example's definitions below *folder*."""
        root = folder / "shop"
        shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("data", ".millpond"))
        scratch = folder / "scratch"
        scratch.mkdir()
        shop = cls(root, scratch, **changed)
        for name in LEFT_OUT:
            for file in root.glob(f"products/sales/**/{name}.*"):
                file.unlink()
        contract = root / "products" / "sales" / "contract.odcs.yaml"
        text = contract.read_text(encoding="utf-8")
        contract.write_text(text.partition("  - name: customer_value\n")[0], encoding="utf-8")
        for source in root.glob("products/sales/*.source.yaml"):  # in a few rows one broken is a large share
            source.write_text(source.read_text(encoding="utf-8") + "bad_share_max: 1.0\n", encoding="utf-8")
        shop.settings("time_travel: 0 days")
        return shop

    def settings(self, *lines: str, without: Sequence[str] = ()) -> None:
        """Add *lines* to millpond.yaml, after taking out those that begin with one of *without*."""
        file = self.root / "millpond.yaml"
        kept = [line for line in file.read_text().splitlines() if not line.startswith(tuple(without) or ("\0",))]
        file.write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")

    def deliver(self, number: int, orders: int = 120) -> None:
        """Put one day's four files into the project."""
        spec = spec_from_file_location("shop_make_data", EXAMPLE / "make_data.py")
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        with contextlib.redirect_stdout(None):
            module.write_delivery(number, out=self.root / "data", order_count=orders, seed=7)

    def start(self, *args: str, point: Point | None = None, lease_s: float | None = None) -> Started:
        """Begin a command in a process of its own."""
        log = self.scratch / f"log-{next(_numbers)}"
        log.touch()
        values = (str(self.root), args, str(log), point, lease_s, dict(self.environ))
        process = processes().Process(target=driver.command, args=values, daemon=True)
        process.start()
        return Started(process, log, time.monotonic())

    def do(self, *args: str, point: Point | None = None) -> Done:
        """Run a command to its end."""
        return self.start(*args, point=point).done()

    def must(self, *args: str) -> Done:
        """Run a command that has to succeed."""
        done = self.do(*args)
        assert done.code == 0, done.text
        return done

    def look(self, env: str = "prod") -> Any:
        """See all rows of all tables, and the facts."""
        return self._answer(driver.look, env, dict(self.environ))

    def finish(self) -> Any:
        """Run to the end, vacuum, and see everything."""
        return self._answer(driver.finish)

    def _answer(self, target: Any, *more: object) -> Any:
        out = self.scratch / f"out-{next(_numbers)}"
        process = processes().Process(target=target, args=(str(self.root), str(out), *more), daemon=True)
        process.start()
        process.join(WAIT_S_MAX)
        assert process.exitcode == 0, f"{target.__name__} ended with {process.exitcode}"
        return json.loads(out.read_text(encoding="utf-8"))

    @contextlib.contextmanager
    def asked(self) -> Iterator[list[list[str]]]:
        """Have a reader ask for the facts during the block; the list is filled when it ends."""
        answers, stop = self.scratch / f"answers-{next(_numbers)}", self.scratch / f"stop-{next(_numbers)}"
        process = processes().Process(target=driver.ask_on, args=(str(self.root), str(answers), str(stop)), daemon=True)
        process.start()
        found: list[list[str]] = []
        try:
            while not (answers.exists() and answers.stat().st_size):
                assert process.is_alive(), "the reader ended before its first answer"
                time.sleep(0.005)
            yield found
        finally:
            stop.touch()
            process.join(WAIT_S_MAX)
        assert process.exitcode == 0, "the reader failed"
        found.extend(json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines())

    def keep(self, name: str) -> None:
        """Remember everything that was stored, under *name*."""
        shutil.copytree(self.root / ".millpond", self.scratch / f"kept-{name}")

    def put_back(self, name: str) -> None:
        """Have everything stored as it was when it was kept."""
        shutil.rmtree(self.root / ".millpond", ignore_errors=True)
        shutil.copytree(self.scratch / f"kept-{name}", self.root / ".millpond")


def seed() -> int:
    """Give the seed of this session: MILLPOND_SEED, or one drawn and printed."""
    chosen = int(os.environ.get("MILLPOND_SEED") or time.time_ns() % 1_000_000)
    print(f"MILLPOND_SEED={chosen}", file=sys.stderr)  # noqa: T201 - to repeat it
    return chosen
