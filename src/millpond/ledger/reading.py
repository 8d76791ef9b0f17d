"""Questions to the projections and to the chain, each answered from one transaction that only reads."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import sqlalchemy as sa

from millpond.kernel import Json
from millpond.ledger.chain import JsonText, pointer_from_json
from millpond.ledger.kinds import PUBLICATION
from millpond.ledger.spec import (
    Definition,
    Event,
    Pointer,
    Publication,
    Recorded,
    RunState,
    SourceFile,
    StepState,
)
from millpond.ledger.tables import CHECKS, DEFINITION, EVENT, POINTER, POLICY, RUN, SHOWN, SOURCE_FILE, STEP

KEYS_MAX: Final = 500
"""Keys asked for in one statement; more than that are filtered out of the whole table here."""


def recorded(row: sa.Row[Any]) -> Recorded:
    """Read one row of the chain."""
    event = Event(
        kind=row.kind,
        actor=row.actor,
        env=row.env,
        subject=row.subject,
        run_id=row.run_id,
        payload=json.loads(row.payload),
    )
    return Recorded(seq=row.seq, at_us=row.at_us, event=event, hash=row.hash)


def pointers(connection: sa.Connection, env: str) -> dict[str, Pointer]:
    """Dataset → pointer."""
    rows = connection.execute(sa.select(POINTER).where(POINTER.c.env == env).order_by(POINTER.c.dataset))
    return {row.dataset: Pointer(table=row.table_key, version=row.version) for row in rows}


def all_pointers(connection: sa.Connection) -> dict[tuple[str, str], Pointer]:
    """(environment, dataset) → pointer."""
    rows = connection.execute(sa.select(POINTER).order_by(POINTER.c.env, POINTER.c.dataset))
    return {(row.env, row.dataset): Pointer(table=row.table_key, version=row.version) for row in rows}


def envs(connection: sa.Connection) -> tuple[str, ...]:
    """Environments that define or show something."""
    both = sa.union(sa.select(POINTER.c.env), sa.select(DEFINITION.c.env)).order_by(sa.text("1"))
    return tuple(connection.execute(both).scalars())


def definitions(connection: sa.Connection, env: str) -> dict[str, Definition]:
    """Dataset → definition; bodies are decoded when looked into."""
    columns = (DEFINITION.c.dataset, DEFINITION.c.digest, DEFINITION.c.deployment, EVENT.c.payload)
    asked = sa.select(*columns).join(EVENT, EVENT.c.seq == DEFINITION.c.seq)
    asked = asked.where(DEFINITION.c.env == env).order_by(DEFINITION.c.dataset)
    return {
        dataset: Definition(dataset=dataset, digest=digest, body=JsonText(payload, "body"), deployment=deployment)
        for dataset, digest, deployment, payload in connection.execute(asked)
    }


def policies(connection: sa.Connection, env: str) -> dict[str, Json] | None:
    """Give the payload of the environment's last ``policies.applied``."""
    asked = sa.select(EVENT.c.payload).join(POLICY, POLICY.c.seq == EVENT.c.seq).where(POLICY.c.env == env)
    text = connection.execute(asked).scalar_one_or_none()
    return None if text is None else cast("dict[str, Json]", json.loads(text))


def steps(connection: sa.Connection, tables: Collection[str] | None) -> dict[str, StepState]:
    """Table → how its content came to be."""
    columns = (STEP.c.version, STEP.c.fingerprint, STEP.c.inputs, STEP.c.run_id, STEP.c.finished_us)
    asked, wanted = _of_keys(sa.select(STEP.c.table_key, *columns), STEP.c.table_key, tables)
    return {
        table: StepState(
            table=table,
            version=version,
            fingerprint=fingerprint,
            inputs={name: Pointer(table=read, version=at) for name, (read, at) in json.loads(inputs).items()},
            run_id=run_id,
            finished_us=finished_us,
        )
        for table, version, fingerprint, inputs, run_id, finished_us in connection.execute(asked)
        if wanted is None or table in wanted
    }


def latest_checks(connection: sa.Connection, tables: Collection[str] | None) -> dict[str, dict[str, Json]]:
    """Table → payload of its last ``checks.judged``, with the event's *at_us*, *seq* and *run_id*."""
    columns = (CHECKS.c.table_key, EVENT.c.seq, EVENT.c.at_us, EVENT.c.run_id, EVENT.c.payload)
    judged = sa.select(*columns).join(EVENT, EVENT.c.seq == CHECKS.c.seq)
    asked, wanted = _of_keys(judged, CHECKS.c.table_key, tables)
    return {
        table: {**json.loads(payload), "seq": seq, "at_us": at_us, "run_id": run_id}
        for table, seq, at_us, run_id, payload in connection.execute(asked)
        if wanted is None or table in wanted
    }


def source_files(connection: sa.Connection, table: str) -> tuple[SourceFile, ...]:
    """Files that *table* has taken in, by URI."""
    asked = sa.select(SOURCE_FILE).where(SOURCE_FILE.c.table_key == table).order_by(SOURCE_FILE.c.uri)
    return tuple(
        SourceFile(
            table=row.table_key,
            uri=row.uri,
            size=row.size,
            modified_us=row.modified_us,
            etag=row.etag,
            run_id=row.run_id,
            rows_read=row.rows_read,
            rows_accepted=row.rows_accepted,
            rows_quarantined=row.rows_quarantined,
        )
        for row in connection.execute(asked)
    )


def runs(connection: sa.Connection, env: str | None, states: Collection[str], limit: int) -> tuple[RunState, ...]:
    """Runs, the newest first."""
    asked = sa.select(RUN).order_by(RUN.c.started_us.desc(), RUN.c.run_id.desc()).limit(limit)
    if env is not None:
        asked = asked.where(RUN.c.env == env)
    if states:
        asked = asked.where(RUN.c.state.in_(sorted(states)))
    return tuple(
        RunState(
            run_id=row.run_id,
            env=row.env,
            state=row.state,
            started_us=row.started_us,
            finished_us=row.finished_us,
            actor=row.actor,
            manifest=row.manifest,
            summary={} if row.summary is None else json.loads(row.summary),
        )
        for row in connection.execute(asked)
    )


def publications(connection: sa.Connection, env: str, limit: int) -> tuple[Publication, ...]:
    """Read the environment's publications from the chain, the newest first."""
    asked = sa.select(EVENT).where(EVENT.c.env == env, EVENT.c.kind == PUBLICATION)
    rows = connection.execute(asked.order_by(EVENT.c.seq.desc()).limit(limit))
    return tuple(_publication(recorded(row)) for row in rows)


def _publication(record: Recorded) -> Publication:
    payload = record.event.payload
    changes = cast("Mapping[str, Sequence[Json]]", payload["changes"])
    return Publication(
        seq=record.seq,
        at_us=record.at_us,
        env=record.event.env or "",
        run_id=record.event.run_id,
        actor=record.event.actor,
        changes={
            dataset: (pointer_from_json(before), pointer_from_json(after))
            for dataset, (before, after) in changes.items()
        },
        reason=cast("str", payload["reason"]),
    )


def pinned(connection: sa.Connection, since_us: int | None) -> dict[str, frozenset[int]]:
    """Table → versions shown now, or replaced after *since_us* (None: ever)."""
    current = sa.select(POINTER.c.table_key, POINTER.c.version)
    past = sa.select(SHOWN.c.table_key, SHOWN.c.version)
    if since_us is not None:
        past = past.where(SHOWN.c.replaced_us > since_us)
    found: dict[str, set[int]] = {}
    for table, version in connection.execute(sa.union_all(current, past)):
        found.setdefault(table, set()).add(version)
    return {table: frozenset(versions) for table, versions in found.items()}


def events_page(
    connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]], *, limit: int, newest_first: bool
) -> Iterator[Recorded]:
    """Read the chain's first records that meet all *conditions*."""
    order = EVENT.c.seq.desc() if newest_first else EVENT.c.seq
    rows = connection.execute(sa.select(EVENT).where(*conditions).order_by(order).limit(limit))
    return (recorded(row) for row in rows)


def _of_keys(asked: Any, column: sa.Column[Any], keys: Collection[str] | None) -> tuple[Any, frozenset[str] | None]:
    if keys is None:
        return asked.order_by(column), None
    wanted = frozenset(keys)
    if len(wanted) <= KEYS_MAX:
        return asked.where(column.in_(sorted(wanted))).order_by(column), None
    return asked.order_by(column), wanted
