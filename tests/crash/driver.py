"""What child processes do in tests that kill, pause and race: real commands, a reader, a look at all rows.

They are forked from a process that has everything imported, so that a run begins at once and a random moment falls
into its work, not into its imports.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal

import deltalake
import duckdb  # noqa: F401 - imported before the fork
import pyarrow as pa

import millpond.cli.progress
import millpond.flow.leases
import millpond.flow.recover
from millpond.cli import main
from millpond.flow import RunOptions, Workspace, run, vacuum
from millpond.kernel import MillpondError
from millpond.lake import Lake, Table
from millpond.ledger import Ledger

OWNERS = {"Lake": Lake, "Table": Table, "Ledger": Ledger}

FACTS = """
SELECT
    (SELECT count(*) FROM sales.orders) AS orders,
    (SELECT count(*) FROM sales.order_payments) AS orders_with_payments,
    (SELECT sum(orders + cancelled) FROM sales.daily_revenue) AS orders_of_days,
    (SELECT sum(payments) FROM sales.order_payments) AS payments,
    (SELECT count(*) FROM sales.customers) AS customers,
    (SELECT count(DISTINCT customer_id) FROM sales.customer_history) AS customers_in_history,
    (SELECT sum(price) FROM sales.products) AS prices
"""
"""Asked in one query. All of these move in every delivery, so each publication has its own answer."""

OF_A_RUN = frozenset({"run_id", "landed_at", "reviewed_at"})
"""Columns that say when and by which run, and so differ between two runs that do the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A named place in the program at which something happens to the process."""

    method: str
    """``Class.method`` of one of OWNERS."""
    when: Literal["before", "after"]
    call: int = 1
    """Counted from 1."""
    signal: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.when} {self.method} {self.call}"


def command(
    root: str,
    args: Sequence[str],
    log: str,
    point: Point | None = None,
    lease_s: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Be ``millpond ARGS``; what it prints goes to the file *log*."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    os.environ.update(environ or {})
    os.chdir(root)
    if lease_s is not None:
        millpond.flow.leases.LEASE_S = lease_s
        millpond.flow.recover.LEASE_S = lease_s
    if point is not None:
        _strike_at(point)
    sys.argv = ["millpond", *args]
    try:
        main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _strike_at(point: Point) -> None:
    owner, name = point.method.split(".")
    inner: Callable[..., Any] = getattr(OWNERS[owner], name)
    calls = 0

    @wraps(inner)
    def outer(*args: object, **kwargs: object) -> object:
        nonlocal calls
        calls += 1
        struck = calls == point.call
        if struck and point.when == "before":
            os.kill(os.getpid(), point.signal)
        result = inner(*args, **kwargs)
        if struck and point.when == "after":
            os.kill(os.getpid(), point.signal)
        return result

    setattr(OWNERS[owner], name, outer)


def ask_on(root: str, answers: str, stop: str) -> None:
    """Ask for FACTS through the door again and again, a line of *answers* each, until the file *stop* appears."""
    with Path(answers).open("w", encoding="utf-8") as lines:
        while not Path(stop).exists():
            lines.write(json.dumps(facts(root)) + "\n")
            lines.flush()
            time.sleep(0.01)


def facts(root: str, env: str = "prod") -> list[str]:
    """Give the answer to FACTS; the error's code where there is none."""
    try:
        with Workspace.open(Path(root)) as workspace, workspace.door(env).read("owner", None, FACTS) as answer:
            return [str(value) for batch in answer.batches for row in batch.to_pylist() for value in row.values()]
    except MillpondError as error:
        return [error.code, str(error)]


def look(root: str, out: str, env: str = "prod", environ: Mapping[str, str] | None = None) -> None:
    """Write to *out* what is published: all rows of all tables as any reader of Delta sees them, and the facts."""
    os.environ.update(environ or {})
    with Workspace.open(Path(root)) as workspace:
        found = _published(workspace, env)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def finish(root: str, out: str) -> None:
    """Run to the end, look, ask for another run, vacuum, and look for what is left over."""
    with Workspace.open(Path(root)) as workspace:
        _run(workspace)
        found = _published(workspace, "prod")
    with Workspace.open(Path(root)) as workspace:
        found["second_run"] = _run(workspace)
        vacuum(workspace, actor="owner", dry_run=False, report=lambda _: None)
        found["leftovers"] = _leftovers(workspace)
    Path(out).write_text(json.dumps(found), encoding="utf-8")


def _run(workspace: Workspace) -> str | None:
    prod = workspace.environment("prod")
    return run(workspace, prod, RunOptions(), actor="owner", report=lambda _: None).run_id


def _published(workspace: Workspace, env: str) -> dict[str, Any]:
    tables: dict[str, list[str]] = {}
    for name, pointer in workspace.ledger.pointers(env).items():
        table = deltalake.DeltaTable(workspace.lake.table(pointer.table).store.uri, version=pointer.version)
        rows = pa.table(table.to_pyarrow_dataset().to_table()).to_pylist()
        tables[name] = sorted(repr([v for k, v in row.items() if k not in OF_A_RUN]) for row in rows)
    return {
        "tables": tables,
        "facts": facts(str(workspace.root), env),
        "runs": [[run.run_id, run.state] for run in workspace.ledger.runs(env, limit=1_000)],
        "chain_broken_at": workspace.ledger.verify().broken_at,
        "leases": [list(lease.names) for lease in workspace.ledger.leases()],
    }


def _leftovers(workspace: Workspace) -> dict[str, list[str]]:
    """Give the lake's files that nothing names, and those that are named and missing."""
    lake = workspace.lake
    shown: dict[str, set[int | None]] = {key: {None} for key in lake.tables()}
    for pointer in workspace.ledger.all_pointers().values():
        shown[pointer.table].add(pointer.version)
    named = {
        f"{key}/{file.path}"
        for key, versions in shown.items()
        for version in versions
        for file in lake.table(key).snapshot(version).files
    }
    files = [file.path for file in lake.store.list()]
    of_log = {path for path in files if "/_delta_log/" in path and not Path(path).name.startswith(".")}
    return {"unknown": sorted(set(files) - named - of_log), "missing": sorted(named - set(files))}
