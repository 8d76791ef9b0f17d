"""Judged rows on local disk: where a file with bad rows waits until all files are judged and the load may happen.

Owns the temporary Parquet files and their columns; what leaves goes to the table's store or the quarantine's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa

from millpond.engines import Session, Written, judged_select, name_sql, text_sql
from millpond.ingest.judge import Judgement
from millpond.ingest.quarantine import quarantine_select
from millpond.kernel import Store, now_us, to_iso
from millpond.lake import DataFile, Snapshot, TableSchema

JUDGED: Final = "landing_judged"
_RECORDS: Final = "landing_records"
_HELD: Final = "landing_held"
_EXTRA: Final = (
    ("__row", "BIGINT"),
    ("__raw", "VARCHAR"),
    ("__rules", "VARCHAR[]"),
    ("__columns", "VARCHAR[]"),
    ("__reasons", "VARCHAR[]"),
    ("__warned", "VARCHAR[]"),
    ("__source", "VARCHAR"),
    ("__file", "VARCHAR"),
    ("__header", "VARCHAR"),
)


@dataclass(slots=True)
class Staging:
    """Judged records of any number of parts."""

    session: Session
    judgement: Judgement
    folder: Path
    files: list[DataFile] = field(default_factory=list)

    @property
    def store(self) -> Store:
        """The temporary folder."""
        return Store(str(self.folder))

    def judge(
        self,
        records: pa.RecordBatchReader,
        *,
        stored: Sequence[tuple[str, str]],
        marks: Mapping[str, str | None],
    ) -> int:
        """Judge a stream of records and keep them; gives the number of rows written.

        *stored* are the file's columns; for Parquet their types are asked of the engine. *marks* are ``__source``,
        ``__file`` and ``__header`` of all of them.
        """
        name = f"{_RECORDS}_{len(self.files)}"
        self.session.attach(name, records)
        if self.judgement.source.format == "parquet":
            types = dict(self.session.describe(f"SELECT * FROM {name}"))
            stored = [(column, types[f"f{i}"]) for i, (column, _) in enumerate(stored)]
        judged = judged_select(name, self.judgement.scan(()), stored, self.judgement.tests, self.judgement.required)
        marked = ", ".join(
            f"CAST({text_sql(text) if text is not None else 'NULL'} AS VARCHAR) AS {mark}"
            for mark, text in marks.items()
        )
        prefix = f"judged-{len(self.files)}"
        written = self.session.write(f"SELECT *, {marked} FROM ({judged})", self.store, prefix=prefix)
        self.files += written.files
        return written.rows

    def bind(self) -> str:
        """Give the name under which all judged rows can be asked for."""
        schema = TableSchema(columns=(*self.judgement.schema, *_EXTRA))
        snapshot = Snapshot(table=JUDGED, version=0, store=self.store, schema=schema, files=tuple(self.files))
        self.session.attach(JUDGED, snapshot)
        return JUDGED

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """Count accepted and quarantined rows by ``__source``."""
        sql = (
            f"SELECT __source, count(*) FILTER (WHERE __rules IS NULL), count(__rules) FROM {JUDGED} GROUP BY __source"
        )
        rows = self.session.stream(sql).read_all().to_pydict().values()
        return {source: (good, bad) for source, good, bad in zip(*rows, strict=True)}

    def broken(self, column: str) -> Mapping[str, int]:
        """Count rows by rule, most broken first; *column* is ``__rules`` or ``__warned``."""
        sql = f"SELECT rule, count(*) FROM (SELECT unnest({column}) AS rule FROM {JUDGED}) GROUP BY rule"
        rules, counts = self.session.stream(sql).read_all().to_pydict().values()
        return dict(Counter(dict(zip(rules, counts, strict=True))).most_common())

    def example(self, rule: str | None = None) -> str | None:
        """Give the first reason found, of *rule* where given, with its place."""
        where = f"list_contains(__rules, {text_sql(rule)})" if rule else "__rules IS NOT NULL"
        told = "concat(__source, ' row ', __row, ': ', array_to_string(__reasons, '; '))"
        text = self.session.row(f"SELECT min_by({told}, __row) FROM {JUDGED} WHERE {where}")[0]
        return str(text) if text is not None else None

    def accept(self, into: Store, prefix: str) -> Written:
        """Write the good rows as the table wants them."""
        names = ", ".join(name_sql(name) for name, _ in self.judgement.schema)
        sql = f"SELECT {names} FROM {JUDGED} WHERE __rules IS NULL"
        return self.session.write(sql, into, prefix=prefix, partition_by=self.judgement.dataset.partition_by)

    def quarantine(self, into: Store, run_id: str, held: Snapshot | None) -> tuple[Written, int]:
        """Write the bad rows as the quarantine wants them, but for those in *held*; gives how many those were."""
        name, now = self.judgement.dataset.name, to_iso(now_us())
        if held is None or not held.files:
            sql = quarantine_select(JUDGED, dataset=name, run_id=run_id, landed_at=now)
            return self.session.write(sql, into, prefix=run_id), 0
        self.session.attach(_HELD, held)
        every = quarantine_select(JUDGED, dataset=name, run_id=run_id, landed_at=now)
        known = self.session.row(f"SELECT count(*) FROM ({every}) WHERE id IN (SELECT id FROM {_HELD})")[0]
        sql = quarantine_select(JUDGED, dataset=name, run_id=run_id, landed_at=now, held=_HELD)
        return self.session.write(sql, into, prefix=run_id), int(str(known))
