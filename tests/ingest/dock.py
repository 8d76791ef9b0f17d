"""A place where files are landed and what came of it is looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millpond.contracts import Column, Dataset, Severity
from millpond.engines import Session
from millpond.ingest import QUARANTINE_COLUMNS, FileSource, FoundFile, Landed, discover, land
from millpond.kernel import Store
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.quality import RowRule

ORDERS = Dataset(
    name="shop.orders",
    columns=(
        Column(name="id", type="BIGINT", primary_key=1),
        Column(name="amount", type="DECIMAL(9,2)"),
        Column(name="day", type="DATE"),
        Column(name="name", type="VARCHAR", required=True),
        Column(name="ok", type="BOOLEAN"),
    ),
)


def rule(id_: str, predicate: str, *columns: str, severity: Severity = Severity.ERROR) -> RowRule:
    """Make a rule over rows."""
    return RowRule(
        id=id_,
        column=columns[0] if columns else None,
        predicate=predicate,
        severity=severity,
        description=f"{id_}: {predicate}",
        columns=columns,
    )


@dataclass
class Dock:
    root: Path
    session: Session
    dataset: Dataset = ORDERS
    rules: Sequence[RowRule] = ()

    @property
    def table(self) -> Store:
        """The table's folder."""
        return Store(str(self.root / "table"))

    @property
    def quarantine(self) -> Store:
        """The quarantine's folder."""
        return Store(str(self.root / "quarantine"))

    def put(self, name: str, content: bytes | str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def source(self, location: str, **settings: Any) -> FileSource:
        """Make a source that tolerates any share of bad rows."""
        given = {"format": "csv", "bad_share_max": 1.0, **settings}
        return FileSource(dataset=self.dataset.name, location=location, **given)

    def land(self, location: str, *, held: Snapshot | None = None, run_id: str = "run-1", **settings: Any) -> Landed:
        """Land what is at a location."""
        source = self.source(location, **settings)
        return self.take(discover(source, root=self.root), source, held=held, run_id=run_id)

    def take(
        self, files: Sequence[FoundFile], source: FileSource, *, held: Snapshot | None = None, run_id: str = "run-1"
    ) -> Landed:
        """Land files."""
        return land(
            files,
            source,
            self.dataset,
            self.rules,
            session=self.session,
            table=self.table,
            quarantine=self.quarantine,
            run_id=run_id,
            held=held,
        )

    def land_text(self, text: bytes | str, name: str = "orders.csv", **settings: Any) -> Landed:
        """Write a file and land it."""
        self.put(name, text)
        return self.land(name, **settings)

    def accepted(self, landed: Landed) -> list[dict[str, Any]]:
        """Give the rows that were accepted, sorted by their text."""
        columns = tuple((column.name, column.type) for column in self.dataset.columns)
        rows = self.rows(self.table, columns, landed.accepted.files, self.dataset.partition_by)
        return sorted(rows, key=lambda row: [str(value) for value in row.values()])

    def held(self, files: Sequence[DataFile]) -> Snapshot:
        """Give a snapshot of quarantine files."""
        schema = TableSchema(columns=QUARANTINE_COLUMNS)
        return Snapshot(table="q", version=0, store=self.quarantine, schema=schema, files=tuple(files))

    def quarantined(self, landed: Landed) -> list[dict[str, Any]]:
        """Give the rows that were held, in order of source and number."""
        rows = self.rows(self.quarantine, QUARANTINE_COLUMNS, landed.quarantined.files)
        return sorted(rows, key=lambda row: (row["source"], row["row_number"]))

    def reasons(self, landed: Landed) -> Mapping[int, list[str]]:
        """Give the broken rules by row number."""
        return {row["row_number"]: sorted(row["rules"]) for row in self.quarantined(landed)}

    def rows(
        self,
        store: Store,
        columns: tuple[tuple[str, str], ...],
        files: Sequence[DataFile],
        partition_by: tuple[str, ...] = (),
    ) -> list[dict[str, Any]]:
        """Read files back."""
        schema = TableSchema(columns=columns, partition_by=partition_by)
        snapshot = Snapshot(table="t", version=0, store=store, schema=schema, files=tuple(files))
        self.session.attach("looked_at", snapshot)
        return self.session.stream("SELECT * FROM looked_at").read_all().to_pylist()

    @property
    def left(self) -> list[str]:
        """Files below the table's and the quarantine's folder."""
        return [file.path for store in (self.table, self.quarantine) for file in store.list()]
