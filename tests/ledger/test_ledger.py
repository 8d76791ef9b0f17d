from __future__ import annotations

import pickle
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.ledger import (
    Event,
    EventInvalid,
    EventUnknown,
    Ledger,
    Pointer,
    PublicationConflict,
    RunState,
    SourceFile,
    StepState,
    database,
)
from millpond.ledger import ledger as module


def answered(number: int, **fields: Any) -> Event:
    """Make an event that changes no projection."""
    return Event(kind="query.answered", actor="ann", payload={"n": number}, **fields)


def move(ledger: Ledger, dataset: str, version: int | None, *, env: str = "prod") -> None:
    """Publish *dataset* at *version* from wherever it is."""
    after = None if version is None else Pointer(table=f"{dataset}-1", version=version)
    changes = {dataset: (ledger.pointers(env).get(dataset), after)}
    ledger.publish(env=env, changes=changes, lease=None, events=[], actor="ann", run_id="run-1", reason="test")


def test_events_are_numbered_without_gaps_and_read_back(ledger: Ledger) -> None:
    """Appended events stand one after another, never earlier than the one before, and are read as written."""
    first = ledger.append([answered(1), answered(2, env="prod", subject="flights", run_id="run-1")])
    second = ledger.append([answered(3)])
    assert [recorded.seq for recorded in first + second] == [1, 2, 3]
    assert first[1].at_us <= second[0].at_us
    assert tuple(ledger.events()) == first + second
    assert ledger.append([]) == ()
    report = ledger.verify()
    assert (report.records, report.head, report.broken_at) == (3, second[0].hash, None)


def test_time_never_goes_back_along_the_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is set back does not make an event older than the one before it."""
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        [before] = ledger.append([answered(1)])
        monkeypatch.setattr(database, "now_us", lambda: before.at_us - 3_600_000_000)
        [after] = ledger.append([answered(2)])
    assert after.at_us == before.at_us


def test_an_empty_ledger_verifies(ledger: Ledger) -> None:
    """A chain without records is whole."""
    report = ledger.verify()
    assert (report.records, report.head, report.broken_at) == (0, "", None)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Event(kind="query.guessed", actor="ann"), EventUnknown),
        (Event(kind="publication", actor="ann", env="prod", payload={"changes": {}, "reason": ""}), EventInvalid),
        (Event(kind="definition.removed", actor="ann", env="prod"), EventInvalid),
        (Event(kind="run.finished", actor="ann", env="prod", run_id="r"), EventInvalid),
        (Event(kind="query.answered", actor="a\x00b"), EventInvalid),
        (Event(kind="query.answered", actor="a\udc80b"), EventInvalid),
    ],
)
def test_an_event_that_cannot_be_is_refused_with_its_group(
    ledger: Ledger, event: Event, error: type[Exception]
) -> None:  # fmt: skip
    """One event that its kind does not allow, and nothing of the group is recorded."""
    with pytest.raises(error) as caught:
        ledger.append([answered(1), event])
    assert repr(pickle.loads(pickle.dumps(caught.value))) == repr(caught.value)
    assert ledger.verify().records == 0


def test_events_are_found_by_what_they_are_about(ledger: Ledger) -> None:
    """Kind, subject, run and environment narrow the chain, alone and together."""
    ledger.append([
        answered(1, env="prod", subject="flights"),
        answered(2, env="dev", subject="flights", run_id="run-1"),
        Event(kind="query.refused", actor="bob", env="prod", subject="weather", payload={"n": 3}),
    ])  # fmt: skip

    def found(**chosen: Any) -> list[object]:
        return [recorded.event.payload["n"] for recorded in ledger.events(**chosen)]

    assert found(kinds=["query.answered"]) == [1, 2]
    assert found(kinds=["query.answered", "query.refused"], env="prod") == [1, 3]
    assert found(subject="flights", newest_first=True) == [2, 1]
    assert found(run_id="run-1") == [2]
    assert found(after_seq=1, limit=1) == [2]
    assert found(limit=0) == []


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(page=st.integers(1, 6), after=st.integers(0, 12), limit=st.none() | st.integers(0, 12), newest=st.booleans())
def test_pages_do_not_show(
    ledger: Ledger, page: int, after: int, limit: int | None, *, newest: bool
) -> None:  # fmt: skip
    """Whatever the size of a page, events come whole, in order, once."""
    if ledger.verify().records == 0:
        ledger.append([answered(number) for number in range(1, 11)])
    wanted = [number for number in range(1, 11) if number > after]
    wanted = (wanted[::-1] if newest else wanted)[:limit]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PAGE_ROWS", page)
        assert [recorded.seq for recorded in ledger.events(after_seq=after, limit=limit, newest_first=newest)] == wanted
        assert ledger.verify().broken_at is None


def test_reading_ends_where_the_chain_ended(ledger: Ledger) -> None:
    """A reader that appends an event for each that it reads comes to an end."""
    ledger.append([answered(1), answered(2)])
    for recorded in ledger.events():
        ledger.append([answered(recorded.seq + 10)])
    assert ledger.verify().records == 4


def test_a_publication_moves_all_pointers_or_none(ledger: Ledger) -> None:
    """Where one pointer is not as expected, none moves, no event stays, and the error says which and where."""
    move(ledger, "flights", 1)
    move(ledger, "weather", 1)
    stale = Pointer(table="weather-1", version=0)
    with pytest.raises(PublicationConflict) as caught:
        ledger.publish(
            env="prod",
            changes={
                "flights": (Pointer(table="flights-1", version=1), Pointer(table="flights-1", version=2)),
                "weather": (stale, Pointer(table="weather-1", version=2)),
            },
            lease=None,
            events=[answered(1)],
            actor="ann",
            run_id=None,
            reason="test",
        )
    error = caught.value
    found = Pointer(table="weather-1", version=1)
    assert (error.dataset, error.expected, error.found, error.transient) == ("weather", stale, found, True)
    assert ledger.pointers("prod") == {"flights": Pointer(table="flights-1", version=1), "weather": found}
    assert ledger.verify().records == 2


def test_publications_tell_what_moved(ledger: Ledger) -> None:
    """An environment's publications are listed newest first, with what was there before and after."""
    move(ledger, "flights", 1)
    move(ledger, "flights", 1)
    move(ledger, "flights", None)
    move(ledger, "flights", 7, env="dev")
    shown = Pointer(table="flights-1", version=1)
    changes = [publication.changes for publication in ledger.publications("prod")]
    assert changes == [{"flights": (shown, None)}, {}, {"flights": (None, shown)}]
    [newest] = ledger.publications("prod", limit=1)
    assert (newest.actor, newest.run_id, newest.reason, newest.env) == ("ann", "run-1", "test", "prod")
    assert ledger.pointers("prod") == {}
    assert ledger.all_pointers() == {("dev", "flights"): Pointer(table="flights-1", version=7)}


def test_what_any_pointer_showed_lately_is_pinned(ledger: Ledger) -> None:
    """Versions shown now are always pinned; those replaced are as long as asked for."""
    move(ledger, "flights", 1)
    move(ledger, "flights", 2)
    move(ledger, "flights", 1, env="dev")
    time.sleep(0.01)
    [newest] = ledger.publications("dev", limit=1)
    move(ledger, "flights", 3)
    assert ledger.pinned() == {"flights-1": {1, 2, 3}}
    assert ledger.pinned(newest.at_us) == {"flights-1": {1, 2, 3}}  # 2 was replaced after that, 1 is still shown
    last = max(publication.at_us for publication in ledger.publications("prod"))
    assert ledger.pinned(last) == {"flights-1": {1, 3}}


def test_definitions_are_what_was_applied_last(ledger: Ledger) -> None:
    """The last definition of each dataset stands in its environment until it is removed."""

    def defined(body: dict[str, Any], env: str = "prod") -> Event:
        payload = {"digest": "d", "body": body, "deployment": "dep-1"}
        return Event(kind="definition.set", actor="ann", env=env, subject="flights", payload=payload)

    ledger.append([defined({"v": 1}), defined({"v": 2}), defined({"v": 3}, "dev")])
    assert ledger.definitions("prod")["flights"].body == {"v": 2}
    assert ledger.definitions("prod")["flights"].deployment == "dep-1"
    ledger.append([Event(kind="definition.removed", actor="ann", env="prod", subject="flights")])
    assert ledger.definitions("prod") == {}
    assert ledger.envs() == ("dev",)


def test_policies_are_what_was_applied_last(ledger: Ledger) -> None:
    """Each environment has the policies that were applied to it last."""
    assert ledger.policies("prod") is None
    events = [Event(kind="policies.applied", actor="ann", env="prod", payload={"rows": n}) for n in (1, 2)]
    ledger.append(events)
    assert (ledger.policies("prod"), ledger.policies("dev")) == ({"rows": 2}, None)


def test_a_run_goes_from_started_to_its_end(ledger: Ledger) -> None:
    """A run's state, manifest and summary follow its events; one that begins again keeps its first start."""

    def happened(kind: str, run_id: str = "run-1", **payload: Any) -> int:
        event = Event(kind=kind, actor="ann", env="prod", run_id=run_id, payload=payload)
        return ledger.append([event])[0].at_us

    start = happened("run.started")
    happened("run.prepared", manifest="runs/1.json")
    [prepared] = ledger.runs("prod", states=["prepared"])
    assert (prepared.manifest, prepared.finished_us) == ("runs/1.json", None)
    happened("run.started")
    end = happened("run.finished", state="succeeded", summary={"rows": 3})
    happened("run.started", run_id="run-2")
    [second, first] = ledger.runs()
    assert second.run_id == "run-2"
    assert first == RunState(
        run_id="run-1",
        env="prod",
        state="succeeded",
        started_us=start,
        finished_us=end,
        actor="ann",
        manifest="runs/1.json",
        summary={"rows": 3},
    )
    assert [run.run_id for run in ledger.runs(limit=1)] == ["run-2"]
    assert ledger.runs("dev") == ()


def test_a_table_knows_how_it_came_to_be(ledger: Ledger) -> None:
    """The last step that built a table says from what; the last judgement says how good it is."""
    inputs = {"flights": ["flights-1", 4]}
    built = {"table": "delays-1", "version": 2, "fingerprint": "f", "inputs": inputs}
    judged = {"table": "delays-1", "version": 2, "results": [{"rule": "r", "passed": True}]}
    step, check = ledger.append([
        Event(kind="step.built", actor="ann", env="prod", run_id="run-1", payload=built),
        Event(kind="checks.judged", actor="ann", env="prod", run_id="run-1", payload=judged),
    ])  # fmt: skip
    state = StepState(
        table="delays-1",
        version=2,
        fingerprint="f",
        inputs={"flights": Pointer(table="flights-1", version=4)},
        run_id="run-1",
        finished_us=step.at_us,
    )
    assert ledger.steps() == ledger.steps(["delays-1", "other"]) == {"delays-1": state}
    assert ledger.steps(["other"]) == ledger.steps([]) == {}
    about = {"seq": check.seq, "at_us": check.at_us, "run_id": "run-1"}
    assert ledger.latest_checks(["delays-1"]) == {"delays-1": judged | about}
    assert ledger.steps([f"table-{number}" for number in range(2_000)] + ["delays-1"]) == {"delays-1": state}


def test_a_changed_file_stands_as_loaded_last(ledger: Ledger) -> None:
    """A file that was loaded again after a change is listed once, with the facts of the last load."""

    def loaded(run_id: str, *files: dict[str, Any]) -> Event:
        payload = {"table": "flights-1", "files": files}
        return Event(kind="files.loaded", actor="ann", run_id=run_id, payload=payload)

    facts = {"modified_us": 5, "etag": "x", "rows_read": 10, "rows_accepted": 8, "rows_quarantined": 2}
    ledger.append([
        loaded("run-1", {"uri": "a.csv", "size": 1, **facts}, {"uri": "b.csv", "size": 1, **facts}),
        loaded("run-2", {"uri": "a.csv", "size": 9, **facts}),
    ])  # fmt: skip
    first, second = ledger.source_files("flights-1")
    assert first == SourceFile(
        table="flights-1",
        uri="a.csv",
        size=9,
        modified_us=5,
        etag="x",
        run_id="run-2",
        rows_read=10,
        rows_accepted=8,
        rows_quarantined=2,
    )
    assert (second.uri, second.run_id) == ("b.csv", "run-1")
    assert ledger.source_files("other") == ()


def test_a_large_project_is_applied_and_read_quickly(ledger: Ledger) -> None:
    """Five thousand definitions of 4 KB are one append of a few seconds at most, and listed in under a second."""
    body = {"sql": "SELECT a FROM b\n" * 200, "columns": {f"c{n}": "BIGINT" for n in range(50)}}
    payload = {"digest": "d", "body": body, "deployment": "dep-1"}
    events = [
        Event(kind="definition.set", actor="ann", env="prod", subject=f"dataset-{number:05}", payload=payload)
        for number in range(5_000)
    ]
    start = time.perf_counter()
    ledger.append(events)
    appended_s = time.perf_counter() - start
    start = time.perf_counter()
    definitions = ledger.definitions("prod")
    listed_s = time.perf_counter() - start
    assert list(definitions) == [event.subject for event in events]
    assert definitions["dataset-04999"].body == body
    assert (appended_s < 5, listed_s < 1) == (True, True), f"appended in {appended_s:.2f} s, listed in {listed_s:.2f} s"
