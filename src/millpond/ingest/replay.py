"""Judging quarantined rows again, after the contract, the rules or the rows themselves were mended; or giving them up.

A row keeps its id, source and row number through any number of replays. Only open rows are touched, so doing it twice
changes nothing. What was cut because it was too long can only be replayed with an edit.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pacompute
import pyarrow.parquet as papq

from millpond.contracts import Dataset
from millpond.engines import Session, Written, name_sql, text_sql
from millpond.ingest.errors import LoadMiscounted
from millpond.ingest.judge import Judgement, judgement
from millpond.ingest.quarantine import ESCAPED_RULES, QUARANTINE_COLUMNS
from millpond.ingest.records import FRAME, csv_batches, csv_schema, ndjson_batches
from millpond.ingest.spec import FileSource
from millpond.ingest.split import Block, Dialect, Lines
from millpond.ingest.staging import JUDGED, Staging
from millpond.kernel import Store, now_us, to_iso
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.quality import RowRule

_HELD: Final = "replay_held"
_CHOSEN: Final = "replay_chosen"
_EDITS: Final = "replay_edits"
_BATCH_ROWS: Final = 8_192
_ESCAPE: Final = re.compile(rb"\\\\|\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What a review made: files that no log knows yet."""

    selected: int
    """Open rows that were judged again, or discarded."""
    accepted: Written
    """New rows of the table."""
    still_bad: int
    reasons: Mapping[str, int] = field(hash=False)
    """Rule → rows that break it still."""
    quarantine: Written
    """The quarantine's rows, all of them, with what has changed; empty where nothing was selected."""
    removes: tuple[DataFile, ...]
    """The quarantine's files that this replaces."""


def replay(
    rows: Snapshot,
    where: str,
    source: FileSource,
    dataset: Dataset,
    rules: Sequence[RowRule],
    *,
    session: Session,
    table: Store,
    quarantine: Store,
    run_id: str,
    edits: Mapping[str, str] | None = None,
    reviewer: str = "",
) -> Replayed:
    """Judge the open rows of the quarantine *rows* for which *where* (SQL over its columns) holds, by today's rules.

    *edits* gives rows, by id, another raw text. Accepted rows are new files below *table*; the quarantine is rewritten
    whole, with their status ``replayed`` and the others' new reasons. Nothing stays on an error.

    Raises:
        LoadMiscounted: a row was lost or doubled; a defect.
    """
    kind = "ndjson" if source.format == "parquet" else source.format
    judge = judgement(replace(source, format=kind), dataset, rules)
    with tempfile.TemporaryDirectory(prefix="millpond-replay-") as scratch:
        chosen = _choose(rows, where, session, Path(scratch), edits or {})
        if not chosen.rows:
            return _nothing()
        folder = Path(scratch) / "judged"
        folder.mkdir()
        staging = Staging(session, judge, folder)
        judged = sum(_judge(staging, Path(scratch), chosen.files, judge, header) for header in _headers(session))
        staging.bind()
        still_bad = sum(bad for _, bad in staging.counts().values())
        reasons = staging.broken("__rules")
        accepted = staging.accept(table, run_id)
        written = Written(files=(), rows=0, bytes=0)
        try:
            written = session.write(_reviewed(reviewer), quarantine, prefix=run_id)
            _account(dataset, (chosen.rows, judged), accepted.rows, still_bad, held=(rows.rows, written.rows))
        except BaseException:
            table.delete([file.path for file in accepted.files])
            quarantine.delete([file.path for file in written.files])
            raise
    return Replayed(
        selected=chosen.rows,
        accepted=accepted,
        still_bad=still_bad,
        reasons=reasons,
        quarantine=written,
        removes=rows.files,
    )


def discard(
    rows: Snapshot, where: str, *, session: Session, quarantine: Store, run_id: str, note: str, reviewer: str
) -> Replayed:
    """Give up the open rows for which *where* holds: they stay, with status ``discarded``, *note* and who did it."""
    session.attach(_HELD, rows)
    meant = f"coalesce(status = 'open' AND ({where}), FALSE)"
    selected = int(str(session.row(f"SELECT count(*) FROM {_HELD} WHERE {meant}")[0]))
    if not selected:
        return _nothing()
    changed = {
        "status": "'discarded'",
        "note": text_sql(note),
        "reviewed_at": text_sql(to_iso(now_us())),
        "reviewed_by": text_sql(reviewer),
    }
    columns = ", ".join(
        f"CASE WHEN {meant} THEN CAST({changed[name]} AS {kind}) ELSE {name} END AS {name_sql(name)}"
        if name in changed
        else name_sql(name)
        for name, kind in QUARANTINE_COLUMNS
    )
    written = session.write(f"SELECT {columns} FROM {_HELD}", quarantine, prefix=run_id)
    return replace(_nothing(), selected=selected, quarantine=written, removes=rows.files)


def _account(dataset: Dataset, read: tuple[int, int], accepted: int, still_bad: int, *, held: tuple[int, int]) -> None:
    if len({*read, accepted + still_bad}) != 1 or len(set(held)) != 1:
        raise LoadMiscounted(dataset.name, read=read[0], accepted=accepted, quarantined=still_bad)


def _nothing() -> Replayed:
    none = Written(files=(), rows=0, bytes=0)
    return Replayed(selected=0, accepted=none, still_bad=0, reasons={}, quarantine=none, removes=())


def _choose(rows: Snapshot, where: str, session: Session, scratch: Path, edits: Mapping[str, str]) -> Written:
    """Write the rows that are meant to local disk, numbered; rows of one header stand together."""
    session.attach(_HELD, rows)
    session.attach(_EDITS, pa.table({"id": pa.array(edits, pa.string()), "raw": pa.array(edits.values(), pa.string())}))
    sql = (
        "SELECT row_number() OVER (ORDER BY header, source, row_number) AS ordinal, id, header, edited, raw, escaped "
        "FROM (SELECT q.id, any_value(q.header) AS header, any_value(q.source) AS source, "
        "any_value(q.row_number) AS row_number, any_value(e.id) IS NOT NULL AS edited, "
        "any_value(coalesce(e.raw, q.raw)) AS raw, "
        f"any_value(e.id IS NULL AND list_has_any(q.rules, [{', '.join(map(text_sql, ESCAPED_RULES))}])) AS escaped "
        f"FROM (SELECT * FROM {_HELD} WHERE status = 'open' AND ({where})) AS q LEFT JOIN {_EDITS} AS e ON e.id = q.id "
        "WHERE e.id IS NOT NULL OR NOT list_contains(q.rules, 'row too long') GROUP BY q.id) ORDER BY ordinal"
    )
    chosen = session.write(sql, Store(str(scratch)), prefix="chosen")
    schema = (
        ("ordinal", "BIGINT"),
        ("id", "VARCHAR"),
        ("header", "VARCHAR"),
        ("edited", "BOOLEAN"),
        ("raw", "VARCHAR"),
        ("escaped", "BOOLEAN"),
    )
    session.attach(
        _CHOSEN,
        Snapshot(
            table=_CHOSEN,
            version=0,
            store=Store(str(scratch)),
            schema=TableSchema(columns=schema),
            files=chosen.files,
        ),
    )
    return chosen


def _headers(session: Session) -> list[str | None]:
    headers = session.stream(f"SELECT DISTINCT header FROM {_CHOSEN} ORDER BY 1").read_all().column(0).to_pylist()
    return list(headers)


def _judge(staging: Staging, scratch: Path, files: Sequence[DataFile], judge: Judgement, header: str | None) -> int:
    names = json.loads(header) if header is not None else []
    is_csv = judge.source.format == "csv"
    schema = csv_schema(len(names)) if is_csv else FRAME

    def batches() -> Iterator[pa.RecordBatch]:
        for chosen in _batches(scratch, files, header):
            block, first = _block(chosen, judge.dialect)
            places = np.arange(chosen.num_rows)
            if is_csv:
                yield from csv_batches(block, places, first, judge.dialect, len(names), surrogates=False)
            else:
                yield from ndjson_batches(block, places, first, judge.dialect, surrogates=False)

    stream = pa.RecordBatchReader.from_batches(schema, batches())
    marks = {"__source": None, "__file": None, "__header": header}
    return staging.judge(stream, stored=[(name, "VARCHAR") for name in names], marks=marks)


def _batches(scratch: Path, files: Sequence[DataFile], header: str | None) -> Iterator[pa.RecordBatch]:
    for file in files:
        for batch in papq.ParquetFile(scratch / file.path).iter_batches(batch_size=_BATCH_ROWS):
            column = batch.column("header")
            same = pacompute.is_null(column) if header is None else pacompute.equal(column, header)
            chosen = batch.filter(pacompute.fill_null(same, fill_value=False))
            if chosen.num_rows:
                yield chosen


def _block(chosen: pa.RecordBatch, dialect: Dialect) -> tuple[Block, int]:
    """Put raw texts back as lines of a file: each is one record, whatever its quotes say."""
    raws = [
        _bytes(raw or "", escaped=escaped)
        for raw, escaped in zip(chosen.column("raw").to_pylist(), chosen.column("escaped").to_pylist(), strict=True)
    ]
    data = b"".join(raw + b"\n" for raw in raws)
    cuts = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(raw) + 1 for raw in raws], dtype=np.int64)])
    lines = Lines(dialect)
    malformed: tuple[int, ...] = ()
    found, bad = lines.split(data, final=True)
    if bad or not np.array_equal(found, cuts):  # a stray quote in one of them reaches into the next: one by one
        malformed = tuple(i for i, raw in enumerate(raws) if not _is_one_record(lines, raw))
    return Block(data=data, cuts=cuts, malformed=malformed), int(chosen.column("ordinal")[0].as_py())


def _is_one_record(lines: Lines, raw: bytes) -> bool:
    cuts, bad = lines.split(raw + b"\n", final=True)
    return len(cuts) == 2 and not bad


def _bytes(raw: str, *, escaped: bool) -> bytes:
    data = raw.encode()
    if not escaped:
        return data
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()) if match[1] else b"\\", data)


def _reviewed(reviewer: str) -> str:
    """Give the SELECT of the whole quarantine after the replay."""
    changed = {
        "raw": "CASE WHEN u.edited THEN u.raw ELSE q.raw END",
        "rules": "coalesce(u.rules, q.rules)",
        "columns": "coalesce(u.columns, q.columns)",
        "reason": "coalesce(u.reason, q.reason)",
        "status": "CASE WHEN u.id IS NOT NULL AND u.rules IS NULL THEN 'replayed' ELSE q.status END",
        "note": "CASE WHEN u.edited THEN 'edited' ELSE q.note END",
        "reviewed_at": f"CASE WHEN u.id IS NOT NULL THEN {text_sql(to_iso(now_us()))} ELSE q.reviewed_at END",
        "reviewed_by": f"CASE WHEN u.id IS NOT NULL THEN {text_sql(reviewer)} ELSE q.reviewed_by END",
    }
    columns = ", ".join(
        f"CAST({changed.get(name, f'q.{name_sql(name)}')} AS {kind}) AS {name_sql(name)}"
        for name, kind in QUARANTINE_COLUMNS
    )
    judged = (
        "SELECT c.id, c.edited, c.raw, j.__rules AS rules, j.__columns AS columns, "
        f"array_to_string(j.__reasons, '; ') AS reason FROM {_CHOSEN} AS c JOIN {JUDGED} AS j ON j.__row = c.ordinal"
    )
    return f"SELECT {columns} FROM {_HELD} AS q LEFT JOIN ({judged}) AS u ON u.id = q.id"
