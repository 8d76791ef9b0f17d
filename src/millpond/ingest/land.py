"""Taking files in: every row read is in the table or in the quarantine, once, or the load did not happen.

Two paths, one definition of a good row. *Fast*: plain files, counted by our own survey, go through one strict read into
the table's files; it raises at the first bad row, and its row count must be the survey's. *Full*: a file with anything
odd is split into numbered records, each judged by the same expressions, kept on local disk until all files are judged;
then accepted and quarantined rows are written. Only new Parquet files come of it; whoever called commits them.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as papq

from millpond.contracts import Dataset
from millpond.engines import DiskFull, FileScan, QueryCancelled, Session, Written, header_of, kept_select, warned_select
from millpond.ingest.errors import LoadMiscounted, LoadStopped, SourceUnreadable, TooManyBadRows
from millpond.ingest.found import FoundFile
from millpond.ingest.judge import Judgement, judgement
from millpond.ingest.quarantine import file_key
from millpond.ingest.records import Counted, csv_records, ndjson_records, parquet_records
from millpond.ingest.spec import FileSource
from millpond.ingest.split import survey
from millpond.ingest.staging import Staging
from millpond.ingest.unpack import Part, parts_of
from millpond.kernel import GiB, MiB, MillpondError, Store
from millpond.lake import DataFile, Snapshot, TableSchema
from millpond.quality import RowRule

_INCOMING: Final = "landing_incoming"
_GROUP_FILES_MAX: Final = 256
_GROUP_BYTES_MAX: Final = 4 * GiB
"""Of temporary copies that wait for their group to be read."""
_LARGE_BYTES: Final = 64 * MiB
"""A larger text file is surveyed while it is read, not before: worth it where the read takes longer than a moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LandProgress:
    """How far a load is."""

    rows_read: int
    fraction: float | None
    """Of the bytes to read; None where nothing is known."""
    note: str
    """For people: what is being done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcome:
    """What came of one file."""

    uri: str
    size: int
    modified_us: int
    etag: str | None
    rows_read: int
    rows_accepted: int
    rows_quarantined: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What a load made: files that no log knows yet, and the account of every row."""

    accepted: Written
    quarantined: Written
    files: tuple[FileOutcome, ...]
    warnings: Mapping[str, int] = field(hash=False)
    """Rule → rows that break it and were kept."""
    reasons: Mapping[str, int] = field(hash=False)
    """Rule → quarantined rows that break it, most broken first."""
    drift: tuple[str, ...] = ()
    """How the files' columns differ from the contract's, harmlessly."""
    seconds: float = 0.0


def land(
    files: Sequence[FoundFile],
    source: FileSource,
    dataset: Dataset,
    rules: Sequence[RowRule],
    *,
    session: Session,
    table: Store,
    quarantine: Store,
    run_id: str,
    report: Callable[[LandProgress], None] = lambda _: None,
    held: Snapshot | None = None,
) -> Landed:
    """Read *files*, judge every row, and write the good ones below *table* and the others below *quarantine*.

    Clean files cost little more than a bare read and write; a file with bad rows is read twice or
    thrice. The order of rows is not kept. Memory is the
    session's limit and a few blocks of 4 MiB, whatever the files' size. On any error nothing that was written stays.
    *held* is the quarantine as it is: a row of the same content at the same place that it has already, reviewed or not,
    is counted and not added again (files that are read anew by the modes replace and merge).

    Raises:
        TooManyBadRows: the share of bad rows is above the source's *bad_share_max*.
        LoadStopped: a rule of severity critical is broken.
        ColumnMissing: a file lacks a required column.
        SourceUnreadable: a file is damaged.
        LoadMiscounted: rows were lost or doubled; a defect.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="millpond-land-") as scratch:
        load = _Load(
            judgement=judgement(source, dataset, rules),
            session=session,
            table=table,
            run_id=run_id,
            scratch=Path(scratch),
            report=report,
            bytes_all=sum(file.size for file in files),
        )
        try:
            for file in files:
                load.take(file)
            load.flush()
            accepted, quarantined, reasons, warnings = load.settle(quarantine, held)
        except BaseException:
            table.delete([file.path for file in load.written])
            raise
    return Landed(
        accepted=accepted,
        quarantined=quarantined,
        files=tuple(load.outcome(file) for file in files),
        warnings=warnings,
        reasons=reasons,
        drift=tuple(load.drift),
        seconds=time.monotonic() - began,
    )


def _is_final(error: MillpondError) -> bool:
    """Tell whether the full way would fail as well, and for the same reason."""
    return error.transient or isinstance(error, QueryCancelled | DiskFull)


@dataclass(slots=True)
class _Plain:
    """A part that may go the fast way."""

    part: Part
    names: tuple[str, ...] | None
    """A CSV's or Parquet's columns."""
    shape: object
    """Parts of one group have the same: a CSV's header, Parquet's schema."""
    records: int | None
    """By the survey; None for a large file, which is surveyed while it is read."""


@dataclass(slots=True, kw_only=True)
class _Load:
    """One load in progress."""

    judgement: Judgement
    session: Session
    table: Store
    run_id: str
    scratch: Path
    report: Callable[[LandProgress], None]
    bytes_all: int
    bytes_done: int = 0
    group: list[_Plain] = field(default_factory=list)
    staged: Staging | None = None
    written: list[DataFile] = field(default_factory=list)
    counts: dict[str, list[int]] = field(default_factory=dict)
    """By file: read, accepted, quarantined."""
    warnings: Counter[str] = field(default_factory=Counter)
    drift: dict[str, None] = field(default_factory=dict)
    uri_of: dict[str, str] = field(default_factory=dict)
    """Part → file."""

    def take(self, file: FoundFile) -> None:
        """Read one file: now, or with its group."""
        self.counts.setdefault(file.uri, [0, 0, 0])
        for part in parts_of(file, self.judgement.source, self.scratch):
            self.uri_of[part.uri] = file.uri
            names, shape = self._columns(part)
            for note in self.judgement.check_columns(part.uri, names) if names is not None else ():
                self.drift.setdefault(f"{file.uri}: {note}")
            is_large = self.judgement.source.format != "parquet" and part.path.stat().st_size > _LARGE_BYTES
            records = None if is_large else self._survey(part, names)
            if records is None and not is_large:
                self._full(part)
                continue
            waiting = sum(plain.part.path.stat().st_size for plain in self.group if plain.part.is_temporary)
            full = is_large or len(self.group) >= _GROUP_FILES_MAX or waiting > _GROUP_BYTES_MAX
            if self.group and (full or self.group[0].shape != shape):
                self.flush()
            self.group.append(_Plain(part, names, shape, records))
            if is_large:
                self.flush()

    def _columns(self, part: Part) -> tuple[tuple[str, ...] | None, object]:
        source = self.judgement.source
        if source.format == "csv":
            names = header_of(part.path, self.judgement.scan((str(part.path),)))
            return names, names
        if source.format == "ndjson":
            return None, None
        try:
            schema = papq.read_schema(part.path)
        except (pa.ArrowException, OSError) as error:
            raise SourceUnreadable(part.uri, str(error)) from error
        return tuple(schema.names), schema.remove_metadata()

    def _survey(self, part: Part, names: tuple[str, ...] | None, stop: threading.Event | None = None) -> int | None:
        """Count the records of a part that may go the fast way; None for one that may not."""
        source = self.judgement.source
        if source.format == "parquet":
            return int(papq.read_metadata(part.path).num_rows)
        if source.format == "csv" and not names:
            return None
        fields = len(names) if names is not None else None
        found = survey(part.path, self.judgement.dialect, fields=fields, stop=stop)
        if not found.is_plain:
            return None
        return max(found.records - (1 if source.format == "csv" and source.header else 0), 0)

    def flush(self) -> None:
        """Read the waiting group the fast way; what turns out to be odd, by halves, the full way."""
        group, self.group = self.group, []
        self._read(group)
        for plain in group:
            plain.part.discard()

    def _read(self, group: Sequence[_Plain]) -> None:
        if not group:
            return
        if self._fast(group):
            for plain in group:
                self._count(plain.part, plain.records or 0)
        elif len(group) == 1:
            self._full(group[0].part)
        else:
            middle = len(group) // 2
            self._read(group[:middle])
            self._read(group[middle:])

    def _fast(self, group: Sequence[_Plain]) -> bool:
        scan = self.judgement.scan([str(plain.part.path) for plain in group])
        over, odd = threading.Event(), threading.Event()
        self._tell("reading")
        with ThreadPoolExecutor(1, thread_name_prefix="land-survey") as pool:
            surveying = pool.submit(self._survey_large, group, over, odd)
            try:
                self.session.attach_files(_INCOMING, scan)
                written = self._write_strict(scan, group)
            except BaseException as error:
                over.set()
                is_ours = isinstance(error, QueryCancelled) and odd.is_set()
                if is_ours or (isinstance(error, MillpondError) and not _is_final(error)):
                    return False
                raise
            expected = surveying.result()
        if written.rows != expected:
            self.table.delete([file.path for file in written.files])
            return False
        self.written += written.files
        self._warn(written.files)
        return True

    def _survey_large(self, group: Sequence[_Plain], over: threading.Event, odd: threading.Event) -> int | None:
        """Count what was not counted yet, beside the read; stops that read where a file is not plain."""
        for plain in group:
            if plain.records is None:
                plain.records = self._survey(plain.part, plain.names, over)
            if plain.records is None:
                if not over.is_set():
                    odd.set()
                    self.session.cancel()
                return None
        return sum(plain.records or 0 for plain in group)

    def _write_strict(self, scan: FileScan, group: Sequence[_Plain]) -> Written:
        judge, rows = self.judgement, sum(plain.records or 0 for plain in group)
        with self._watched(rows, sum(plain.part.file.size for plain in group)):
            return self.session.write(
                kept_select(_INCOMING, scan, judge.tests, judge.required),
                self.table,
                prefix=self.run_id,
                partition_by=judge.dataset.partition_by,
            )

    def _warn(self, files: Sequence[DataFile]) -> None:
        """Count the broken rules of what is written already: a scan of the few columns they read."""
        tests = self.judgement.warnings
        if not tests or not files:
            return
        schema = TableSchema(columns=self.judgement.schema, partition_by=self.judgement.dataset.partition_by)
        snapshot = Snapshot(table=_INCOMING, version=0, store=self.table, schema=schema, files=tuple(files))
        self.session.attach(f"{_INCOMING}_kept", snapshot)
        counts = self.session.row(warned_select(f"{_INCOMING}_kept", tests))
        self.warnings.update({test.id: int(str(count)) for test, count in zip(tests, counts, strict=True) if count})

    def _full(self, part: Part) -> None:
        """Judge a part record by record."""
        judge, counted = self.judgement, Counted()
        staging = self._staging()
        header: tuple[str, ...] | None = None
        stored: list[tuple[str, str]] = []
        if judge.source.format == "csv":
            header = header_of(part.path, judge.scan((str(part.path),)))
            stored = [(name, "VARCHAR") for name in header]
            reader = csv_records(
                part.path, judge.dialect, header, counted, header=judge.source.header, surrogates=part.surrogates
            )
        elif judge.source.format == "ndjson":
            reader = ndjson_records(part.path, judge.dialect, counted, surrogates=part.surrogates)
        else:
            reader = parquet_records(part.path, counted)
            stored = [(name, "") for name in papq.read_schema(part.path).names]
        marks = {
            "__source": part.uri,
            "__file": file_key(judge.dataset.name, part.file, part.uri),
            "__header": json.dumps(header, ensure_ascii=False) if header is not None else None,
        }
        with self._watched(None, part.file.size, counted):
            rows = staging.judge(reader, stored=stored, marks=marks)
        if rows != counted.records:
            raise LoadMiscounted(judge.dataset.name, read=counted.records, accepted=rows, quarantined=0)
        self.counts[part.file.uri][0] += rows
        part.discard()

    def _staging(self) -> Staging:
        if self.staged is None:
            folder = self.scratch / "judged"
            folder.mkdir()
            self.staged = Staging(self.session, self.judgement, folder)
        return self.staged

    def _count(self, part: Part, rows: int) -> None:
        for i in (0, 1):
            self.counts[part.file.uri][i] += rows

    def settle(
        self, quarantine: Store, held: Snapshot | None
    ) -> tuple[Written, Written, Mapping[str, int], Mapping[str, int]]:
        """Decide whether the load may happen, then write what was judged; the account must come out."""
        quarantined = Written(files=(), rows=0, bytes=0)
        reasons: dict[str, int] = {}
        if self.staged is not None and self.staged.files:
            self.staged.bind()
            for part, (good, bad) in self.staged.counts().items():
                count = self.counts[self.uri_of[part]]
                count[1] += good
                count[2] += bad
            reasons = dict(self.staged.broken("__rules"))
            self._permit(reasons, self.staged)
            self.warnings.update(self.staged.broken("__warned"))
            self._tell("writing")
            try:
                quarantined, known = self.staged.quarantine(quarantine, self.run_id, held)
                self.written += self.staged.accept(self.table, self.run_id).files
                self._account(quarantined.rows + known)
            except BaseException:
                quarantine.delete([file.path for file in quarantined.files])
                raise
        self._tell("read")
        files = tuple(self.written)
        rows, size = sum(file.rows for file in files), sum(file.size for file in files)
        return Written(files=files, rows=rows, bytes=size), quarantined, reasons, dict(self.warnings)

    def _permit(self, reasons: Mapping[str, int], staged: Staging) -> None:
        name, source = self.judgement.dataset.name, self.judgement.source
        critical = {rule: count for rule, count in reasons.items() if rule in self.judgement.critical}
        if critical:
            raise LoadStopped(name, critical, staged.example(next(iter(critical))))
        read, bad = (sum(count[i] for count in self.counts.values()) for i in (0, 2))
        if bad > read * source.bad_share_max:
            raise TooManyBadRows(
                name, read=read, bad=bad, share_max=source.bad_share_max, reasons=reasons, example=staged.example()
            )

    def _account(self, quarantined: int) -> None:
        read, good, bad = (sum(count[i] for count in self.counts.values()) for i in range(3))
        written = sum(file.rows for file in self.written)
        if read != written + quarantined or good != written or bad != quarantined:
            raise LoadMiscounted(self.judgement.dataset.name, read=read, accepted=written, quarantined=quarantined)

    def outcome(self, file: FoundFile) -> FileOutcome:
        """Say what came of *file*."""
        read, accepted, quarantined = self.counts[file.uri]
        return FileOutcome(
            uri=file.uri,
            size=file.size,
            modified_us=file.modified_us,
            etag=file.etag,
            rows_read=read,
            rows_accepted=accepted,
            rows_quarantined=quarantined,
        )

    def _tell(self, note: str, *, rows: int = 0, fraction: float = 0.0, size: int = 0) -> None:
        done = (self.bytes_done + fraction * size) / self.bytes_all if self.bytes_all else None
        read = sum(count[0] for count in self.counts.values())
        self.report(LandProgress(rows_read=read + rows, fraction=None if done is None else min(done, 1.0), note=note))

    @contextmanager
    def _watched(self, rows: int | None, size: int, counted: Counted | None = None) -> Iterator[None]:
        """Report twice a second how far the statement in the block is."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.5):
                if counted is not None:
                    share = min(counted.bytes / size, 1.0) if size else 0.0
                    self._tell("judging row by row", rows=counted.records, fraction=share, size=size)
                    continue
                share = self.session.progress().fraction or 0.0
                self._tell("reading", rows=int(share * (rows or 0)), fraction=share, size=size)

        watcher = threading.Thread(target=watch, name="land-progress", daemon=True)
        watcher.start()
        try:
            yield
            self.bytes_done += size
        finally:
            over.set()
            watcher.join()
