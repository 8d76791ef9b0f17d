"""The ledger: what happened, in order, and what follows from it.

Owns the chain, its projections, the environments' pointers and the leases. Never touches data. Keeps true: a record
once appended is never changed, projections equal a replay of the chain, a pointer moves only from where its mover saw
it, and a fencing token never goes down.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import sqlalchemy as sa

from millpond.kernel import Json, Secret
from millpond.ledger import leases, projections, reading
from millpond.ledger.chain import (
    EXPORT_FIRST_LINE,
    ChainCheck,
    export_last_line,
    export_line,
    payload_text,
    pointer_json,
    record_hash,
    record_text,
)
from millpond.ledger.database import Database, Head, open_database
from millpond.ledger.errors import ChainBroken, EventInvalid, PublicationConflict
from millpond.ledger.kinds import PUBLICATION, require_valid
from millpond.ledger.spec import (
    ChainReport,
    Definition,
    Event,
    Lease,
    Pointer,
    Publication,
    Recorded,
    RunState,
    SourceFile,
    StepState,
)
from millpond.ledger.tables import EVENT, HEAD, PROJECTIONS

PAGE_ROWS: Final = 1_000
"""Records in memory at once while the chain is read."""


class Ledger:
    """An open ledger; safe to share between threads, not across a fork."""

    def __init__(self, database: Database) -> None:
        """Use :meth:`open` instead."""
        self._database = database

    @classmethod
    def open(cls, url: str | Secret) -> Self:
        """Open the ledger at *url*; make it, or bring its schema up to date, where needed.

        ``sqlite:///abs/path`` (always an absolute path) or ``postgresql://user@host/name``. A few milliseconds where
        nothing is to be done. Two processes that make the same ledger at once both succeed.

        Raises:
            LedgerUnreachable: no such database, or a URL of another kind. Transient.
            LedgerTooNew: a newer Millpond made it.
        """
        return cls(open_database(url))

    @property
    def place(self) -> str:
        """Where it is: its URL without a password."""
        return self._database.place

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the chain

    def append(self, events: Sequence[Event], *, lease: Lease | None = None) -> tuple[Recorded, ...]:
        """Record *events*, all or none, next to each other in the chain, and what follows from them.

        One transaction and one fsync, however many there are: append in groups. With *lease*, only while it is held.

        Raises:
            LeaseLost: somebody took the lease over.
            EventUnknown: a kind that does not exist.
            EventInvalid: an event lacks what its kind needs; publications go through :meth:`publish`.
        """
        if not events:
            return ()
        for event in events:
            if event.kind == PUBLICATION:
                raise EventInvalid(event.kind, "pointers are moved by publish() only")
            require_valid(event)
        with self._database.write() as (connection, head):
            if lease is not None:
                leases.require_held(connection, lease)
            return self._append(connection, head, events)

    def _append(self, connection: sa.Connection, head: Head, events: Sequence[Event]) -> tuple[Recorded, ...]:
        """Chain *events* to *head*, write them and their projections, move the head."""
        at_us = max(head.now_us, head.at_us)  # time never goes back along the chain
        previous = head.hash
        rows: list[dict[str, object]] = []
        records: list[Recorded] = []
        for seq, event in enumerate(events, head.seq + 1):
            fields: dict[str, Any] = {"seq": seq, "at_us": at_us, "kind": event.kind, "actor": event.actor}
            fields |= {"env": event.env, "subject": event.subject, "run_id": event.run_id}
            fields["payload"] = payload_text(event.payload)
            try:
                previous = record_hash(previous, record_text(**fields))
            except UnicodeEncodeError as error:
                raise EventInvalid(event.kind, "a name in it is no text that UTF-8 can carry") from error
            rows.append(fields | {"hash": previous})
            records.append(Recorded(seq=seq, at_us=at_us, event=event, hash=previous))
        connection.execute(sa.insert(EVENT), rows)
        projections.apply(self._database, connection, records)
        connection.execute(sa.update(HEAD).values(seq=records[-1].seq, hash=previous, at_us=at_us))
        return tuple(records)

    def events(
        self,
        *,
        kinds: Collection[str] = (),
        subject: str | None = None,
        run_id: str | None = None,
        env: str | None = None,
        after_seq: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> Iterator[Recorded]:
        """Read the chain, page by page, up to where it ended when reading began.

        *kinds*, *subject*, *run_id* and *env* narrow it where given. Holds no transaction between pages.
        """
        chosen: list[sa.ColumnElement[bool]] = []
        if kinds:
            chosen.append(EVENT.c.kind.in_(sorted(kinds)))
        chosen += [
            column == value
            for column, value in ((EVENT.c.subject, subject), (EVENT.c.run_id, run_id), (EVENT.c.env, env))
            if value is not None
        ]
        with self._database.read() as connection:
            last = connection.execute(sa.select(HEAD.c.seq)).scalar_one()
        low, high, left = after_seq, last, limit
        while left is None or left > 0:
            asked = PAGE_ROWS if left is None else min(PAGE_ROWS, left)
            bounds = [EVENT.c.seq > low, EVENT.c.seq <= high]
            with self._database.read() as connection:
                page = list(reading.events_page(connection, [*bounds, *chosen], limit=asked, newest_first=newest_first))
            yield from page
            if len(page) < asked:
                return
            left = None if left is None else left - len(page)
            low, high = (low, page[-1].seq - 1) if newest_first else (page[-1].seq, high)

    def verify(self) -> ChainReport:
        """Recompute every hash from the first record on; memory is constant, time grows with the chain."""
        check = ChainCheck()
        with self._database.read(snapshot=True, lenient=True) as connection:
            for row in _rows(connection):
                _see(check, row)
                if check.broken:
                    break
            _see_end(check, connection)
        return check.report()

    def rebuild(self, *, actor: str = "millpond") -> int:
        """Drop every projection and replay the chain; say how many events were replayed.

        One transaction: readers see the old projections until the new ones stand. Leases and tokens stay as they
        are. Ends with a ``ledger.rebuilt`` event.

        Raises:
            ChainBroken: a record was tampered with; nothing is changed.
        """
        check = ChainCheck()
        with self._database.write() as (connection, head):
            for table in PROJECTIONS:
                connection.execute(sa.delete(table))
            page: list[Recorded] = []
            for row in _rows(connection):
                _see(check, row)
                self._require_whole(check)
                page.append(reading.recorded(row))
                if len(page) == PAGE_ROWS:
                    projections.apply(self._database, connection, page)
                    page.clear()
            projections.apply(self._database, connection, page)
            _see_end(check, connection)
            self._require_whole(check)
            rebuilt = Event(kind="ledger.rebuilt", actor=actor, payload={"events": head.seq})
            self._append(connection, head, [rebuilt])
        return head.seq

    def _require_whole(self, check: ChainCheck) -> None:
        report = check.report()
        if report.broken_at is not None:
            raise ChainBroken(self.place, broken_at=report.broken_at, reason=report.reason or "")

    def export(self, path: Path) -> ChainReport:
        """Write the chain to *path* as JSON lines that :func:`verify_export` can judge without a database.

        The file appears whole or not at all. A broken chain is written as it stands, and so reported.

        Raises:
            OSError: *path* cannot be written.
        """
        check = ChainCheck()
        part = path.with_name(f"{path.name}.part")
        try:
            with (
                self._database.read(snapshot=True, lenient=True) as connection,
                part.open("w", encoding="utf-8", errors="surrogateescape", newline="\n") as lines,
            ):
                lines.write(f"{EXPORT_FIRST_LINE}\n")
                for row in _rows(connection):
                    lines.write(f"{export_line(_see(check, row), row.hash)}\n")
                seq, last = _see_end(check, connection)
                lines.write(f"{export_last_line(seq, last)}\n")
                lines.flush()
                os.fsync(lines.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return check.report()

    # --- publication

    def publish(
        self,
        *,
        env: str,
        changes: Mapping[str, tuple[Pointer | None, Pointer | None]],
        lease: Lease | None,
        events: Sequence[Event],
        actor: str,
        run_id: str | None,
        reason: str,
    ) -> Recorded:
        """Move the environment's pointers, all or none, and give back the lease.

        *changes*: dataset → the pointer that must be there now, and the one to be there then (None: not shown). One
        that stays as it is is checked and not recorded as a change. *events* are recorded before the publication.

        Raises:
            LeaseLost: somebody took the lease over.
            PublicationConflict: a pointer is not where it should be. Transient.
            EventUnknown, EventInvalid: as :meth:`append`.
        """
        moved: dict[str, Json] = {
            dataset: [pointer_json(before), pointer_json(after)]
            for dataset, (before, after) in changes.items()
            if before != after
        }
        publication = Event(
            kind=PUBLICATION, actor=actor, env=env, run_id=run_id, payload={"changes": moved, "reason": reason}
        )
        for event in events:
            if event.kind == PUBLICATION:
                raise EventInvalid(event.kind, "a publication is recorded by publish() itself")
        for event in (*events, publication):
            require_valid(event)
        with self._database.write() as (connection, head):
            if lease is not None:
                leases.require_held(connection, lease)
            now = reading.pointers(connection, env)
            for dataset, (before, _) in changes.items():
                if now.get(dataset) != before:
                    raise PublicationConflict(env, dataset, expected=before, found=now.get(dataset))
            records = self._append(connection, head, [*events, publication])
            if lease is not None:
                leases.release(connection, lease)
            return records[-1]

    # --- leases

    def acquire(self, names: Sequence[str], holder: str, *, ttl_s: float = 60.0) -> Lease:
        """Take the right to publish all of *names* for *ttl_s* seconds, or none of them.

        An expired lease is taken over, and so is one of the same *holder*; the older token is worth nothing then.

        Raises:
            LeaseHeld: another holder has one of them. Transient.
        """
        assert names, "a lease is over something"
        with self._database.write() as (connection, head):
            return leases.grant(connection, head, names, holder, ttl_s)

    def renew(self, lease: Lease, *, ttl_s: float = 60.0) -> Lease:
        """Hold *lease* for *ttl_s* seconds from now.

        Raises:
            LeaseLost: somebody took it over, or it was released.
        """
        with self._database.write() as (connection, head):
            return leases.prolong(connection, head, lease, ttl_s)

    def release(self, lease: Lease) -> None:
        """Give *lease* back; nothing happens where it was lost."""
        with self._database.write() as (connection, _):
            leases.release(connection, lease)

    def leases(self) -> tuple[Lease, ...]:
        """List what is held, expired leases that nobody has taken over included; the oldest first."""
        with self._database.read() as connection:
            return leases.standing(connection)

    # --- projections

    def pointers(self, env: str) -> Mapping[str, Pointer]:
        """Dataset → the table and version that *env* shows, by name."""
        with self._database.read() as connection:
            return reading.pointers(connection, env)

    def all_pointers(self) -> Mapping[tuple[str, str], Pointer]:
        """(environment, dataset) → pointer."""
        with self._database.read() as connection:
            return reading.all_pointers(connection)

    def envs(self) -> tuple[str, ...]:
        """Environments that define or show something, by name."""
        with self._database.read() as connection:
            return reading.envs(connection)

    def definitions(self, env: str) -> Mapping[str, Definition]:
        """Dataset → what *env* has applied, by name; bodies are decoded when looked into."""
        with self._database.read() as connection:
            return reading.definitions(connection, env)

    def policies(self, env: str) -> Mapping[str, Json] | None:
        """Give the payload of the last ``policies.applied`` in *env*; None before the first."""
        with self._database.read() as connection:
            return reading.policies(connection, env)

    def steps(self, tables: Collection[str] | None = None) -> Mapping[str, StepState]:
        """Table key → how its content came to be; of all tables, or of *tables*."""
        with self._database.read() as connection:
            return reading.steps(connection, tables)

    def latest_checks(self, tables: Collection[str] | None = None) -> Mapping[str, Mapping[str, Json]]:
        """Table key → the payload of its last ``checks.judged``, with *at_us*, *seq* and *run_id* of the event."""
        with self._database.read() as connection:
            return reading.latest_checks(connection, tables)

    def source_files(self, table: str) -> tuple[SourceFile, ...]:
        """Files that *table* has taken in, by URI; a changed file stands as it was loaded last."""
        with self._database.read() as connection:
            return reading.source_files(connection, table)

    def runs(self, env: str | None = None, *, states: Collection[str] = (), limit: int = 50) -> tuple[RunState, ...]:
        """Runs, the newest first."""
        with self._database.read() as connection:
            return reading.runs(connection, env, states, limit)

    def publications(self, env: str, limit: int = 50) -> tuple[Publication, ...]:
        """Publications of *env*, the newest first."""
        with self._database.read() as connection:
            return reading.publications(connection, env, limit)

    def pinned(self, since_us: int | None = None) -> Mapping[str, frozenset[int]]:
        """Table key → versions that must stay: those any pointer shows, and those it left after *since_us*.

        Without *since_us*: every version that any environment ever showed.
        """
        with self._database.read() as connection:
            return reading.pinned(connection, since_us)


def _rows(connection: sa.Connection) -> Iterator[sa.Row[Any]]:
    """Read the chain as it is stored, page by page, in one transaction."""
    after: int | None = None
    while True:
        asked = sa.select(EVENT).order_by(EVENT.c.seq).limit(PAGE_ROWS)
        rows = connection.execute(asked if after is None else asked.where(EVENT.c.seq > after)).all()
        yield from rows
        if len(rows) < PAGE_ROWS:
            return
        after = rows[-1].seq


def _see(check: ChainCheck, row: sa.Row[Any]) -> str:
    text = record_text(
        seq=row.seq,
        at_us=row.at_us,
        kind=row.kind,
        actor=row.actor,
        env=row.env,
        subject=row.subject,
        run_id=row.run_id,
        payload=row.payload,
    )
    check.see(row.seq, text, row.hash)
    return text


def _see_end(check: ChainCheck, connection: sa.Connection) -> tuple[int, str]:
    head = connection.execute(sa.select(HEAD.c.seq, HEAD.c.hash)).one_or_none()
    seq, last = (0, "") if head is None else (head.seq, head.hash)
    check.end(seq, last)
    return seq, last
