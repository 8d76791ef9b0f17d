"""Looking at what is not right: the quarantine and the checks, always through the reading door."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyarrow as pa
from sqlglot import exp, parse_one
from sqlglot.errors import ParseError

from millpond.access import Answer
from millpond.catalog import QUARANTINE_SUFFIX, Catalog, Entry
from millpond.flow.workspace import Workspace
from millpond.kernel import Json, MillpondError
from millpond.lake import Snapshot
from millpond.ledger import RunState
from millpond.quality import row_rules

_DIALECT = "duckdb"


class ConditionInvalid(MillpondError):
    """What stands after --where is not a condition."""

    code = "condition-invalid"
    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantineCount:
    """Rows of one dataset's quarantine that broke one rule."""

    dataset: str
    rule: str
    status: str
    rows: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRows:
    """Some rows that break one rule."""

    rule: str
    rows: tuple[Mapping[str, object], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityView:
    """What is known of a dataset's quality."""

    dataset: str
    version: int | None
    published: tuple[Mapping[str, Json], ...]
    """Check results of the version that readers see."""
    failed_run: str | None = None
    """The newest run, where it failed on this dataset."""
    failed: tuple[Mapping[str, Json], ...] = ()
    """Its checks that stopped publication."""
    rows: tuple[FailedRows, ...] = ()


def open_quarantine(
    workspace: Workspace,
    env: str,
    dataset: str,
    *,
    rule: str | None,
    where: str | None,
    principal: str,
    purpose: str | None,
) -> Answer:
    """Answer the open rows of a dataset's quarantine, oldest first.

    Raises:
        ConditionInvalid: *where* is not a condition. AccessRefused: *principal* may not read the quarantine.
    """
    name = Catalog.load(workspace.ledger, env).entry(dataset).dataset.name.removesuffix(QUARANTINE_SUFFIX)
    wanted: list[exp.Expr] = [exp.column("status").eq(exp.Literal.string("open"))]
    if rule is not None:
        wanted.append(exp.func("list_contains", exp.column("rules"), exp.Literal.string(rule)))
    if where is not None:
        wanted.append(_condition(where))
    columns = ("id", "source", "row_number", "rules", "reason", "raw")
    query = (
        exp.select(*columns)
        .from_(_table(name + QUARANTINE_SUFFIX))
        .where(*wanted)
        .order_by("landed_at", "source", "row_number")
    )
    return workspace.door(env).read(principal, purpose, query.sql(_DIALECT))


def quarantine_counts(
    workspace: Workspace, env: str, *, principal: str, purpose: str | None
) -> tuple[QuarantineCount, ...]:
    """Count quarantined rows by dataset, rule and status; the datasets that *principal* may not look into are left out.

    Cost: one small scan per ingested dataset that has ever rejected a row.
    """
    catalog = Catalog.load(workspace.ledger, env)
    pointers = workspace.ledger.pointers(env)
    door = workspace.door(env)
    counts: list[QuarantineCount] = []
    for name, entry in catalog.entries.items():
        if entry.kind != "quarantine" or name not in pointers or not workspace.snapshot(pointers[name]).rows:
            continue
        query = (
            exp.select("rule", "status", "count(*) AS n", "min(landed_at) AS oldest")
            .from_(exp.select("unnest(rules) AS rule", "status", "landed_at").from_(_table(name)).subquery("each_rule"))
            .group_by("rule", "status")
            .order_by("n DESC", "rule")
        )
        with door.read(principal, purpose, query.sql(_DIALECT)) as answer:
            counts.extend(
                QuarantineCount(
                    dataset=name.removesuffix(QUARANTINE_SUFFIX),
                    rule=str(row["rule"]),
                    status=str(row["status"]),
                    rows=cast("int", row["n"]),
                    oldest=cast("datetime | None", row["oldest"]),
                )
                for row in _rows(answer.batches, 10_000)
            )
    return tuple(counts)


def quality_of(
    workspace: Workspace, env: str, dataset: str, *, principal: str, purpose: str | None, rows_max: int
) -> QualityView:
    """Show the checks of the published version, and of the newest run where it failed on this dataset.

    The rows that failed are read from the files which that run left, until they are vacuumed.

    Raises:
        AccessRefused: *principal* may not read the dataset, and rows were asked for.
    """
    entry = Catalog.load(workspace.ledger, env).entry(dataset)
    name = entry.dataset.name
    pointer = workspace.ledger.pointers(env).get(name)
    found = workspace.ledger.latest_checks([entry.table]).get(entry.table)
    published = tuple(cast("Sequence[Mapping[str, Json]]", found["results"])) if found is not None else ()
    view = QualityView(dataset=name, version=pointer.version if pointer else None, published=published)
    newest = workspace.ledger.runs(env, limit=1)
    failed = _failed_checks(newest[0], name) if newest and newest[0].state == "failed" else ()
    if not failed:
        return view
    staged = _staged(workspace, newest[0], entry)
    rows: tuple[FailedRows, ...] = ()
    if staged is not None and rows_max > 0:
        rows = _failing_rows(workspace, env, entry, staged, failed, principal, purpose, rows_max)
    return QualityView(
        dataset=name,
        version=view.version,
        published=published,
        failed_run=newest[0].run_id,
        failed=failed,
        rows=rows,
    )


def _failed_checks(run: RunState, dataset: str) -> tuple[Mapping[str, Json], ...]:
    checks = run.summary.get("failed_checks")
    found = checks.get(dataset) if isinstance(checks, Mapping) else None
    return tuple(cast("Sequence[Mapping[str, Json]]", found)) if found else ()


def _staged(workspace: Workspace, run: RunState, entry: Entry) -> Snapshot | None:
    """The table as the failed run would have published it; None where its files are gone."""
    manifests = run.summary.get("manifest")
    if not isinstance(manifests, str):
        return None
    try:
        commits, _ = workspace.lake.read_manifest(manifests)
    except (MillpondError, FileNotFoundError):
        return None
    for commit in commits:
        if commit.table == entry.table:
            base = workspace.lake.table(commit.table).snapshot(
                commit.base_version if commit.base_version >= 0 else None
            )
            after = base.changed(adds=commit.adds, removes=commit.removes)
            if any(base.store.stat(file.path) is None for file in commit.adds):
                return None
            return Snapshot(
                table=base.table, version=base.version, store=base.store, schema=commit.schema, files=after.files
            )
    return None


def _failing_rows(
    workspace: Workspace,
    env: str,
    entry: Entry,
    staged: Snapshot,
    failed: Sequence[Mapping[str, Json]],
    principal: str,
    purpose: str | None,
    rows_max: int,
) -> tuple[FailedRows, ...]:
    predicates = {rule.id: rule.predicate for rule in row_rules(entry.dataset)}
    door = workspace.door(env, staged={entry.dataset.name: staged})
    shown = []
    for check in failed:
        predicate = predicates.get(str(check["rule"]))
        if predicate is None:
            continue
        broken = exp.Is(this=exp.paren(_condition(predicate)), expression=exp.true()).not_()
        query = exp.select("*").from_(_table(entry.dataset.name)).where(broken).limit(rows_max)
        with door.read(principal, purpose, query.sql(_DIALECT)) as answer:
            shown.append(FailedRows(rule=str(check["rule"]), rows=tuple(_rows(answer.batches, rows_max))))
    return tuple(shown)


def _rows(batches: Any, rows_max: int) -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for batch in batches:
        assert isinstance(batch, pa.RecordBatch)
        rows.extend(batch.slice(0, rows_max - len(rows)).to_pylist())
        if len(rows) >= rows_max:
            break
    return rows


def _table(name: str) -> exp.Table:
    product, _, dataset = name.partition(".")
    return exp.table_(dataset, db=product, quoted=True)


def _condition(text: str) -> exp.Expr:
    try:
        return exp.paren(parse_one(text, dialect=_DIALECT))
    except ParseError as error:
        raise ConditionInvalid(f"{text!r} is not a condition.", hint="For example: source LIKE '%january%'") from error
