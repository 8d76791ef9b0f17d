from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.histories import EVENTS, HISTORIES, inside, live, wipe
from millpond.ledger import Event, Ledger, Pointer

often = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(history=HISTORIES)
def test_a_rebuild_gives_what_was_there(ledger: Ledger, history: list[Any]) -> None:
    """After any history, dropping every projection and replaying the chain gives the same rows."""
    wipe(ledger)
    for step in history:
        live(ledger, step)
    before, records = inside(ledger), ledger.verify().records
    assert ledger.rebuild() == records
    assert inside(ledger) == before
    assert ledger.verify().broken_at is None
    assert [recorded.event.kind for recorded in ledger.events(after_seq=records)] == ["ledger.rebuilt"]


@often
@given(history=HISTORIES)
def test_projections_say_what_happened_last(ledger: Ledger, history: list[Any]) -> None:
    """After any history, pointers and definitions are what a plain reading of its steps gives."""
    wipe(ledger)
    shown: dict[tuple[str, str], Pointer] = {}
    defined: dict[tuple[str | None, str | None], object] = {}
    for step in history:
        live(ledger, step)
        if isinstance(step, tuple):
            env, moves = step
            shown |= {(env, dataset): after for dataset, after in moves.items() if after is not None}
            for dataset in (dataset for dataset, after in moves.items() if after is None):
                shown.pop((env, dataset), None)
            continue
        for event in step:
            if event.kind == "definition.set":
                defined[event.env, event.subject] = event.payload["body"]
            elif event.kind == "definition.removed":
                defined.pop((event.env, event.subject), None)
    assert ledger.all_pointers() == shown
    found = {
        (env, name): dict(definition.body)
        for env in ledger.envs()
        for name, definition in ledger.definitions(env).items()
    }
    assert found == defined


@often
@given(events=st.lists(EVENTS, max_size=30))
def test_one_group_or_many_make_the_same(ledger: Ledger, events: list[Event]) -> None:
    """Events appended in one group leave the same state as the same events one by one, but for times."""
    wipe(ledger)
    ledger.append(events)
    together = ledger.definitions("prod"), ledger.latest_checks(), _timeless(ledger)
    read = [recorded.event for recorded in ledger.events()]
    wipe(ledger)
    for event in events:
        ledger.append([event])
    assert [recorded.event for recorded in ledger.events()] == read == events
    checks = {table: found | {"at_us": 0} for table, found in ledger.latest_checks().items()}  # type: ignore[operator]
    assert checks == {table: found | {"at_us": 0} for table, found in together[1].items()}  # type: ignore[operator]
    assert ledger.definitions("prod") == together[0]
    assert _timeless(ledger) == together[2]


def _timeless(ledger: Ledger) -> list[object]:
    steps = [(step.table, step.version, step.inputs, step.run_id) for step in ledger.steps().values()]
    runs = sorted((run.run_id, run.env, run.state, run.manifest or "") for run in ledger.runs(limit=100))
    return [steps, runs, [ledger.source_files(table) for table in ("flights-1a", "flights-2b", "weather-1c")]]
