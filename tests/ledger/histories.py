"""Random histories of a ledger, and what it looks like inside."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from hypothesis import strategies as st

from millpond.kernel import Json
from millpond.ledger import Event, Ledger, Pointer
from millpond.ledger.tables import HEAD, METADATA, PROJECTIONS

ENVS = st.sampled_from(["prod", "dev", "o'brien"])
DATASETS = st.sampled_from(["flights", "weather", "delays_é", 'a "quoted" one'])
TABLES = st.sampled_from(["flights-1a", "flights-2b", "weather-1c"])
RUNS = st.sampled_from(["run-1", "run-2", "run-3"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
BODIES = st.dictionaries(TEXTS, JSON, max_size=3)
POINTERS = st.builds(Pointer, table=TABLES, version=st.integers(0, 5))
COUNTS = st.integers(0, 10**12)
FILES = st.fixed_dictionaries(
    {"uri": st.sampled_from(["s3://b/1.csv", "s3://b/2.csv", "/d/ü.csv"]), "size": COUNTS, "modified_us": COUNTS},
    optional={"etag": st.none() | TEXTS, "rows_read": COUNTS, "rows_accepted": COUNTS, "rows_quarantined": COUNTS},
)


def _event(kind: str, payload: st.SearchStrategy[Mapping[str, Json]], **fields: object) -> st.SearchStrategy[Event]:
    given = {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fields.items()}
    return st.builds(Event, kind=st.just(kind), actor=TEXTS, payload=payload, **given)


def _inputs() -> st.SearchStrategy[Mapping[str, Json]]:
    return st.dictionaries(DATASETS, st.tuples(TABLES, st.integers(0, 5)).map(list), max_size=3)


EVENTS = st.one_of(
    _event(
        "definition.set",
        st.fixed_dictionaries({"digest": TEXTS, "body": BODIES, "deployment": TEXTS}),
        env=ENVS,
        subject=DATASETS,
    ),
    _event("definition.removed", BODIES, env=ENVS, subject=DATASETS),
    _event("policies.applied", BODIES, env=ENVS),
    _event("run.started", BODIES, env=ENVS, run_id=RUNS),
    _event("run.prepared", st.fixed_dictionaries({"manifest": TEXTS}), env=ENVS, run_id=RUNS),
    _event(
        "run.finished",
        st.fixed_dictionaries({"state": st.sampled_from(["succeeded", "failed"]), "summary": BODIES}),
        env=ENVS,
        run_id=RUNS,
    ),
    _event(
        "step.built",
        st.fixed_dictionaries({
            "table": TABLES, "version": st.integers(0, 9), "fingerprint": TEXTS, "inputs": _inputs()
        }),
        run_id=RUNS,
    ),
    _event(
        "files.loaded",
        st.fixed_dictionaries({"table": TABLES, "files": st.lists(FILES, max_size=4)}),
        run_id=RUNS,
    ),
    _event(
        "checks.judged",
        st.fixed_dictionaries({"table": TABLES, "version": st.integers(0, 9), "results": st.lists(BODIES, max_size=2)}),
        subject=st.none() | DATASETS,
    ),
    _event("query.answered", BODIES, env=st.none() | ENVS, run_id=st.none() | RUNS),
)  # fmt: skip
MOVES = st.tuples(ENVS, st.dictionaries(DATASETS, st.none() | POINTERS, max_size=4))
"""A publication: the environment, and where each pointer goes."""
HISTORIES = st.lists(st.lists(EVENTS, min_size=1, max_size=8) | MOVES, max_size=10)


def live(ledger: Ledger, step: list[Event] | tuple[str, dict[str, Pointer | None]]) -> None:
    """Let one step of a history happen."""
    if isinstance(step, list):
        ledger.append(step)
        return
    env, moves = step
    now = ledger.pointers(env)
    changes = {dataset: (now.get(dataset), after) for dataset, after in moves.items()}
    ledger.publish(env=env, changes=changes, lease=None, events=[], actor="ann", run_id=None, reason="because")


def wipe(ledger: Ledger) -> None:
    """Make the ledger as new."""
    with ledger._database._engine.connect() as connection:
        for table in METADATA.tables.values():
            connection.execute(sa.delete(table))
        connection.execute(sa.insert(HEAD).values(id=1, seq=0, hash="", at_us=0, token=0))
        connection.commit()


def inside(ledger: Ledger) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every projection."""
    with ledger._database.read() as connection:
        return {
            table.name: sorted((tuple(row) for row in connection.execute(sa.select(table))), key=repr)
            for table in PROJECTIONS
        }
