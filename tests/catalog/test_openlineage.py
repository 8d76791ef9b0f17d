"""What other systems are told of a run.

Events are checked against OpenLineage's published schemas in two ways: every event goes through openlineage-python's
generated classes, which are made from those schemas, and comes out the same; and required fields, facet names and
schema addresses are compared with what the published documents say (``published.py``). The documents themselves are not
part of this repository, so that no JSON Schema validator runs here.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listener import Listener, listening
from openlineage.client.serde import Serde
from published import rebuilt
from shelf import chain

from millpond.catalog import CheckTold, DataPlace, RunTold, StepTold, TableTold
from millpond.catalog.openlineage import run_events, run_uuid
from millpond.cli.scaffold import write_project
from millpond.flow import RunFailed, RunResult
from projects import Project

LINES = "lineage/events.ndjson"


def asked(project: Project, **where: str) -> None:
    """Ask for lineage in ``millpond.yaml``."""
    project.edit("millpond.yaml", {"identity:": f"openlineage: {json.dumps(where)}\nidentity:"})


def written(project: Project) -> list[dict[str, Any]]:
    """Read the file of events."""
    return [json.loads(line) for line in (project.root / LINES).read_text(encoding="utf-8").splitlines()]


def ends(events: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Job → its last event."""
    return {event["job"]["name"]: event for event in events if event["eventType"] != "START"}


def emitted(project: Project) -> list[dict[str, Any]]:
    """What the ledger says of lineage."""
    with project.open() as workspace:
        return [dict(one.event.payload) for one in workspace.ledger.events(kinds=["lineage.emitted"])]


@dataclass(frozen=True)
class Told:
    """One run that was told to a file and to a server."""

    project: Project
    result: RunResult
    events: list[dict[str, Any]]
    heard: Listener


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    """The project of ``millpond init`` with an e-mail count added, applied and run once."""
    root = tmp_path_factory.mktemp("told") / "shop"
    write_project(root)
    project = Project(root)
    with listening() as heard, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENLINEAGE_API_KEY", "key-1")
        asked(project, file=LINES, url=heard.url, namespace="acme")
        project.apply()
        result = project.run()
        yield Told(project, result, written(project), heard)


def test_every_event_is_valid(told: Told) -> None:
    """Each event passes the classes made from the published schemas, and comes out of them unchanged."""
    for event in told.events:
        assert Serde.to_dict(rebuilt(event)) == event


@pytest.mark.parametrize(
    "broken",
    [
        lambda event: event.pop("schemaURL"),
        lambda event: event["run"].update(runId="no-uuid"),
        lambda event: event.update(eventType="DONE"),
        lambda event: event.update(eventTime="yesterday"),
        lambda event: event["job"]["facets"]["sql"].pop("query"),
        lambda event: event["job"]["facets"]["sql"].update(_schemaURL="https://example.com"),
        lambda event: event["outputs"][0].pop("namespace"),
        lambda event: event["outputs"][0]["facets"].update(outputStatistics={}),
        lambda event: event["outputs"][0]["facets"]["schema"]["fields"][0].pop("name"),
        lambda event: event["outputs"][0]["facets"]["columnLineage"]["dataset"][0].update(column="x"),
        lambda event: event["outputs"][0]["outputFacets"]["outputStatistics"].update(rowCount="two"),
    ],
)
def test_an_invalid_event_would_be_noticed(told: Told, broken: Callable[[dict[str, Any]], object]) -> None:
    """What these tests call valid is not just anything: each of these breaks one event, and is found."""
    event = copy.deepcopy(ends(told.events)["sales.daily_revenue"])
    broken(event)
    with pytest.raises((AssertionError, TypeError, ValueError, KeyError)):
        rebuilt(event)


def test_the_server_hears_what_the_file_says(told: Told) -> None:
    """Both have the same events in the same order; they come to the API's path, with the key of the environment."""
    assert told.heard.events == told.events
    assert (told.heard.paths, told.heard.keys) == ({"/api/v1/lineage"}, {"Bearer key-1"})
    assert told.result.warnings == ()
    count = len(told.events)
    assert emitted(told.project) == [{"events": count, "failed": 0, "written": count, "sent": count, "problem": None}]


def test_every_job_starts_and_ends_once(told: Told) -> None:
    """The run, its two steps and their audits: one START and one COMPLETE each, by time, inside the run."""
    jobs = ["shop", "sales.orders", "sales.orders.checks", "sales.daily_revenue", "sales.daily_revenue.checks"]
    states = {job: [event["eventType"] for event in told.events if event["job"]["name"] == job] for job in jobs}
    assert states == {job: ["START", "COMPLETE"] for job in jobs}
    assert len(told.events) == 10
    assert all(one["eventTime"] <= other["eventTime"] for one, other in pairwise(told.events))
    assert (told.events[0]["job"]["name"], told.events[-1]["job"]["name"]) == ("shop", "shop")


def test_steps_belong_to_their_run(told: Told) -> None:
    """Each step names the whole run as its parent; START and end have the same id, made from the run's."""
    assert told.result.run_id is not None
    whole = str(run_uuid(told.result.run_id, "shop"))
    for event in told.events:
        job = event["job"]["name"]
        assert event["job"]["namespace"] == "acme"
        assert event["run"]["runId"] == str(run_uuid(told.result.run_id, job))
        if job != "shop":
            parent = event["run"]["facets"]["parent"]
            assert (parent["run"]["runId"], parent["job"]) == (whole, {"namespace": "acme", "name": "shop"})
        tags = {tag["key"]: tag["value"] for tag in event["run"]["facets"]["tags"]["tags"]}
        assert tags == {"environment": "prod", "actor": "owner", "run": told.result.run_id}


def test_a_load_reads_files_and_writes_table_and_quarantine(told: Told) -> None:
    """The pattern is the input, with the file that was taken in; what was written is counted for each table."""
    event = ends(told.events)["sales.orders"]
    (files,) = event["inputs"]
    folder = (told.project.root / "products/sales/data").as_posix()
    assert (files["namespace"], files["name"]) == ("file", f"{folder}/orders-*.csv")
    assert files["inputFacets"]["subset"]["inputCondition"]["locations"] == [f"{folder}/orders-2026-01.csv"]
    statistics = files["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"]) == (4, 1)
    rows = {one["name"]: one["outputFacets"]["outputStatistics"]["rowCount"] for one in event["outputs"]}
    assert rows == {"sales.orders": 3, "sales.orders__quarantine": 1}
    assert all(one["outputFacets"]["outputStatistics"]["size"] > 0 for one in event["outputs"])
    amount = event["outputs"][0]["facets"]["columnLineage"]["fields"]["amount"]["inputFields"]
    assert [(one["namespace"], one["name"], one["field"]) for one in amount] == [("file", files["name"], "amount")]


def test_a_model_tells_its_sql_its_columns_and_its_version(told: Told) -> None:
    """The model's job has the SELECT; its output has schema, owner, description, place and the published version."""
    event = ends(told.events)["sales.daily_revenue"]
    assert event["job"]["facets"]["sql"]["query"].startswith("SELECT")
    (output,) = event["outputs"]
    facets = output["facets"]
    fields = [(one["name"], one["type"]) for one in facets["schema"]["fields"]]
    assert fields == [("day", "DATE"), ("orders", "BIGINT"), ("revenue", "DECIMAL(38,2)")]
    assert facets["ownership"]["owners"] == [{"name": "sales-data@example.com", "type": "OWNER"}]
    assert facets["documentation"]["description"] == "Orders and revenue of each day."
    pointer = told.result.published["sales.daily_revenue"]
    assert facets["version"]["datasetVersion"] == str(pointer.version)
    assert facets["symlinks"]["identifiers"][0]["name"].endswith(pointer.table)
    assert Path(facets["dataSource"]["uri"].removeprefix("file://")).is_dir()
    lineage = facets["columnLineage"]
    assert set(lineage["fields"]) == {"day", "revenue"}
    assert [(one["name"], one["field"], one["transformations"][0]["subtype"]) for one in lineage["dataset"]] == [
        ("sales.orders", "ordered_at", "GROUP_BY")
    ]
    (read,) = event["inputs"]
    assert read["facets"]["version"]["datasetVersion"] == str(told.result.published["sales.orders"].version)


def test_classification_goes_with_the_columns(told: Told) -> None:
    """A restricted column is told as such wherever its dataset is."""
    output = ends(told.events)["sales.orders"]["outputs"][0]
    assert [(tag["key"], tag["field"]) for tag in output["facets"]["tags"]["tags"]] == [
        ("restricted", "customer_email")
    ]


def test_checks_are_told_rule_by_rule(told: Told) -> None:
    """Each rule of the contract is an assertion with its column, what was wanted and what was measured."""
    (judged,) = ends(told.events)["sales.orders.checks"]["inputs"]
    assertions = {one["assertion"]: one for one in judged["inputFacets"]["dataQualityAssertions"]["assertions"]}
    assert assertions["amount.minimum"] == {
        "assertion": "amount.minimum",
        "success": True,
        "column": "amount",
        "severity": "error",
        "expected": "= 0 rows",
        "actual": "0",
    }


def test_no_value_of_the_data_is_told(told: Told) -> None:
    """Nothing of what customers ordered is in the events."""
    assert not any(word in json.dumps(told.events) for word in ("ada@example.com", "99.90", "-7.00"))


def test_what_failed_is_told_with_its_reason(project: Project) -> None:
    """A rule that stops the run: its step FAILs with the reason; what was done before is ABORTed, without a version."""
    project.edit(
        "products/sales/contract.odcs.yaml",
        {"description: How many orders.": "description: How many orders.\n        logicalTypeOptions: {maximum: 1}"},
    )
    asked(project, file=LINES)
    project.apply()
    with pytest.raises(RunFailed):
        project.run()
    events = written(project)
    for event in events:
        assert Serde.to_dict(rebuilt(event)) == event
    last = ends(events)
    assert {job: event["eventType"] for job, event in last.items()} == {
        "shop": "FAIL",
        "sales.orders": "ABORT",
        "sales.orders.checks": "COMPLETE",
        "sales.daily_revenue": "FAIL",
        "sales.daily_revenue.checks": "COMPLETE",
    }
    reason = last["sales.daily_revenue"]["run"]["facets"]["errorMessage"]["message"]
    assert reason == "sales.daily_revenue breaks 1 of its rules:"
    assert reason in last["shop"]["run"]["facets"]["errorMessage"]["message"]
    (broken,) = last["sales.daily_revenue.checks"]["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (broken["assertion"], broken["success"], broken["actual"]) == ("orders.maximum", False, "1")
    for event in last.values():
        assert not any("version" in one["facets"] for one in event["outputs"])


def test_a_server_that_does_not_answer_changes_nothing(project: Project) -> None:
    """The run is published, and warns once that its lineage was not heard; the ledger counts what is missing."""
    with listening() as gone:
        pass
    asked(project, file=LINES, url=f"{gone.url}/?token=hidden")
    project.apply()
    result = project.run()
    assert set(result.published) == {"sales.orders", "sales.orders__quarantine", "sales.daily_revenue"}
    (warning,) = result.warnings
    assert "does not answer" in warning
    assert "hidden" not in warning
    (payload,) = emitted(project)
    assert (payload["written"], payload["sent"], payload["failed"]) == (10, 0, 10)
    assert payload["problem"] in warning


def test_an_event_that_is_refused_does_not_keep_back_the_others(project: Project) -> None:
    """A server that refuses one job's events gets all the others, and the warning says how many were refused."""
    with listening() as heard:
        heard.refuse = "sales.orders"
        asked(project, url=f"{heard.url}/api/v1/lineage")
        project.apply()
        (warning,) = project.run().warnings
    assert len(heard.events) == 8
    assert "refused 2 of 10 events (422" in warning
    assert emitted(project)[0]["failed"] == 2


def test_nothing_is_told_where_nobody_asked(ran: Project) -> None:
    """Without the setting there is no file, and no event of it in the ledger."""
    assert emitted(ran) == []


def test_a_missing_extra_is_a_warning_that_names_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without openlineage-python the run goes on, and says what to install."""
    monkeypatch.delitem(sys.modules, "millpond.catalog.openlineage")
    monkeypatch.setitem(sys.modules, "openlineage.client.event_v2", None)
    asked(project, file=LINES)
    project.apply()
    result = project.run()
    assert 'pip install "millpond[openlineage]"' in result.warnings[0]
    assert result.published
    assert not (project.root / LINES).exists()


def test_another_environment_is_another_namespace(told: Told) -> None:
    """What runs in dev is not taken for what runs in production; a run that does nothing tells nothing."""
    before = len(written(told.project))
    assert told.project.run().run_id is None
    assert len(written(told.project)) == before
    told.project.apply("dev")
    told.project.orders("2026-02", (5, "2026-02-01 10:00:00", "ada@example.com", "5.00"))
    told.project.run("dev")
    later = written(told.project)[before:]
    assert {event["job"]["namespace"] for event in later} == {"acme.dev"}


@pytest.mark.parametrize(
    ("location", "namespace", "name", "uri"),
    [
        ("s3://lake/a b/*.csv", "s3://lake", "a b/*.csv", "s3://lake/a%20b/%2A.csv"),
        ("/srv/in/*.csv", "file", "/srv/in/*.csv", "file:///srv/in/%2A.csv"),
        ("package:demo/data/a.csv", "package", "demo/data/a.csv", "package:demo/data/a.csv"),
    ],
)  # fmt: skip
def test_places_are_named_as_openlineage_names_them(location: str, namespace: str, name: str, uri: str) -> None:
    """Buckets are namespaces, local files are in ``file``, and every address is a valid URI."""
    assert DataPlace.of(location) == DataPlace(namespace=namespace, name=name, uri=uri)


def test_hidden_values_and_deciding_columns_are_marked() -> None:
    """A hash masks; a filter, a join, a group are indirect, each by its own name, all of them for the whole dataset."""
    entries = chain().entries
    run = RunTold(
        run_id="run-1", project="p", namespace="n", env="prod", actor="a", state="complete", started_us=0, finished_us=9
    )
    place = DataPlace.of("/lake/t")
    steps = [
        StepTold(
            entry=entries[name],
            state="complete",
            started_us=1,
            finished_us=2,
            reads=tuple(TableTold(entry=entries[one], at=place) for one in entries[name].lineage.datasets),
            writes=(TableTold(entry=entries[name], at=place, version=3, rows=1, bytes=2, files=1),),
            checks=(CheckTold(rule="r", column=None, passed=False, stops=False, wanted="= 0 rows", measured=1.5),),
        )
        for name in ("shop.sales", "shop.by_country")
    ]
    events = run_events(run, steps)
    for event in events:
        assert Serde.to_dict(rebuilt(event)) == event
    last = ends(events)
    lineage = last["shop.sales"]["outputs"][0]["facets"]["columnLineage"]
    masking = {
        column: {(one["field"], one["transformations"][0]["masking"]) for one in said["inputFields"]}
        for column, said in lineage["fields"].items()
    }
    assert masking == {
        "amount": {("amount", False)}, "country": {("country", False)}, "who": {("email", True)},
    }  # fmt: skip
    deciding = {
        (one["name"], one["field"], how["type"], how["subtype"])
        for one in lineage["dataset"]
        for how in one["transformations"]
    }
    assert deciding == {
        ("shop.orders", "state", "INDIRECT", "FILTER"),
        ("shop.orders", "customer_id", "INDIRECT", "JOIN"),
        ("shop.customers", "id", "INDIRECT", "JOIN"),
    }
    grouped = last["shop.by_country"]["outputs"][0]["facets"]["columnLineage"]["dataset"]
    assert [(one["field"], one["transformations"][0]["subtype"]) for one in grouped] == [("country", "GROUP_BY")]


@given(st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), min_size=2, max_size=2, unique=True))
def test_the_same_run_and_job_have_the_same_id_and_others_another(pairs: list[tuple[str, str]]) -> None:
    """An event sent twice is the same run; two jobs, or two runs, never share an id."""
    (run, job), (other_run, other_job) = pairs
    assert run_uuid(run, job) == run_uuid(run, job)
    if "/" not in run + other_run:
        assert run_uuid(run, job) != run_uuid(other_run, other_job)
