from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from lab import Lab, make_lab, open_door, outcome, visible

from millpond.access import (
    AccessRefused,
    AnswerFailed,
    AnswerStopped,
    Door,
    PolicySet,
    Principal,
    Visible,
    load_policies,
)
from millpond.engines import DuckDBEngine, DuckDBSession, EngineLimits
from millpond.ledger import EVENT_KINDS, Event


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Give one laboratory for all tests that change nothing."""
    return make_lab(tmp_path_factory.mktemp("lab"))


def rows(door: Door, who: Principal | str, sql: str, purpose: str | None = "care") -> list[dict[str, object]]:
    """Ask and give all rows."""
    with door.read(who, purpose, sql) as answer:
        listed: list[dict[str, object]] = answer.table().to_pylist()
        return listed


def policies_of(root: Path, text: str) -> PolicySet:
    """Load policies from text."""
    path = root / "p.yaml"
    path.write_text(text)
    return load_policies([path], root=root)


# What two principals see


def test_two_principals_get_different_answers_to_one_question(lab: Lab) -> None:
    """The analyst sees masked values and fewer rows, the steward all of it."""
    sql = "select count(*) as n, min(patient) as p, max(score) as s from lab.visits"
    assert rows(lab.door, "ana", sql) == [{"n": 60, "p": "***00", "s": 9}]
    assert rows(lab.door, "sam", sql) == [{"n": 78, "p": "PATIENT0-00", "s": 987654}]


def test_an_answer_says_what_was_done_to_it(lab: Lab) -> None:
    """Versions, masked columns, filtered datasets and the policies that decided come with the rows."""
    with lab.door.read("ana", "care", "select v.patient from lab.visits v, lab.codes c where v.id = c.code") as answer:
        assert answer.tables == {"lab.codes": 1, "lab.visits": 1}
        assert answer.masked == ("lab.visits.patient",)
        assert answer.filtered == ("lab.visits",)
        assert set(answer.policies) == {
            "lab-read", "no-notes", "own-site", "plain-only", "no-secret-docs", "hide-restricted", "hide-amounts",
        }  # fmt: skip


def test_a_filter_sees_true_values_and_a_query_masked_ones(tmp_path: Path) -> None:
    """Rows are chosen by the raw value, then masked; what the asker compares with is the mask."""
    text = """
principals: [{id: p, attributes: {name: secret-b}}]
grants: [{id: g, to: everyone, datasets: ["a.*"]}]
masks: [{id: m, on: {columns: [name]}, mask: {kind: partial, keep_last: 1}}]
filters: [{id: f, on: {columns: [name]}, rows: value = principal.name}]
"""
    shown = visible(tmp_path, "a.b", [pa.table({"name": ["secret-a", "secret-b"]})], [("name", "VARCHAR")])
    door = open_door({"a.b": shown}, policies_of(tmp_path, text), lambda _: None)
    assert rows(door, "p", "select name from a.b") == [{"name": "***b"}]
    assert rows(door, "p", "select name from a.b where name = 'secret-b'") == []


def test_tags_that_lineage_brings_mask_a_derived_column(tmp_path: Path) -> None:
    """A column of a derived table is masked by the classification of what it comes from."""
    text = """
principals: [{id: p}]
grants: [{id: g, to: everyone, datasets: ["a.*"]}]
masks: [{id: m, on: {classification: [Restricted]}, mask: "null"}]
"""
    table = pa.table({"x": ["secret"], "y": [1]})
    types = [("x", "VARCHAR"), ("y", "BIGINT")]
    shown = visible(tmp_path, "a.b", [table], types, tags={"X": ("restricted",)})
    door = open_door({"a.b": shown}, policies_of(tmp_path, text), lambda _: None)
    assert rows(door, "p", "from a.b") == [{"x": None, "y": 1}]


# Who may ask


def test_nobody_may_read_by_default(lab: Lab) -> None:
    """Without a grant nothing is read, whatever else stands in the policies."""
    door = open_door(lab.visibles, PolicySet.empty(), lambda _: None)
    with pytest.raises(AccessRefused, match=r"There is no dataset lab\.codes that you may read"):
        door.read(Principal(id="root", groups=frozenset({"stewards"})), None, "select * from lab.codes")


def test_deny_wins_over_every_grant(lab: Lab, tmp_path: Path) -> None:
    """A dataset that one policy denies stays shut however many grants there are, and the reason is told."""
    text = """
principals: [{id: sam, groups: [owners]}]
grants:
  - {id: one, to: everyone, datasets: ["*"]}
  - {id: two, to: {principals: [sam]}, datasets: [lab.codes]}
denies: [{id: shut, on: {datasets: [lab.codes]}, reason: under review}]
"""
    door = open_door(lab.visibles, policies_of(tmp_path, text), lambda _: None)
    with pytest.raises(AccessRefused) as refused:
        door.read("sam", None, "select * from lab.codes")
    assert refused.value.reason == "denied"
    assert refused.value.policy == "shut"
    assert refused.value.ask == "lab-team"
    assert "under review" in str(refused.value)
    assert "Ask lab-team, who owns lab.codes." in str(refused.value)


def test_a_denied_column_is_not_there(lab: Lab) -> None:
    """A withheld column is missing from a star, and naming it reads like naming one that does not exist."""
    assert "note" not in rows(lab.door, "ana", "select * from lab.visits limit 1")[0]
    assert "note" in rows(lab.door, "sam", "select * from lab.visits limit 1")[0]
    with pytest.raises(AnswerFailed) as hidden:
        lab.door.read("ana", "care", "select note from lab.visits")
    with pytest.raises(AnswerFailed) as absent:
        lab.door.read("ana", "care", "select nope from lab.visits")
    assert str(hidden.value).replace("note", "nope") == str(absent.value)


def test_a_hidden_dataset_reads_like_one_that_is_not_there(lab: Lab) -> None:
    """Nobody can find out by refusals which datasets exist."""
    hidden = outcome(lab, "select * from vault.secrets")
    assert hidden.replace("vault.secrets", "vault.sicrets") == outcome(lab, "select * from vault.sicrets")


def test_a_purpose_that_a_grant_asks_for_must_be_stated(lab: Lab, tmp_path: Path) -> None:
    """A grant for one purpose opens for that purpose only, and the refusal says which to state."""
    text = "principals: [{id: p}]\ngrants: [{id: g, to: everyone, datasets: [lab.codes], purposes: [billing]}]\n"
    door = open_door(lab.visibles, policies_of(tmp_path, text), lambda _: None)
    assert len(rows(door, "p", "from lab.codes", "billing")) == 5
    for purpose in (None, "", "  ", "marketing"):
        with pytest.raises(AccessRefused, match="for billing") as refused:
            door.read("p", purpose, "from lab.codes")
        assert refused.value.reason == "purpose"


def test_a_denied_purpose_cannot_be_left_unsaid(lab: Lab, tmp_path: Path) -> None:
    """Who states no purpose is treated as having the denied one."""
    text = """
principals: [{id: p}]
grants: [{id: g, to: everyone, datasets: ["*"]}]
denies: [{id: d, on: {datasets: [lab.codes]}, purposes: [marketing]}]
"""
    door = open_door(lab.visibles, policies_of(tmp_path, text), lambda _: None)
    assert rows(door, "p", "select 1 from lab.codes limit 1", "care")
    for purpose in (None, "marketing"):
        with pytest.raises(AccessRefused, match="The policy d denies"):
            door.read("p", purpose, "from lab.codes")


def test_policies_hold_in_their_environment_only(lab: Lab, tmp_path: Path) -> None:
    """A grant for another environment opens nothing here."""
    text = "principals: [{id: p}]\ngrants: [{id: g, to: everyone, datasets: ['*'], envs: [dev]}]\n"
    door = open_door(lab.visibles, policies_of(tmp_path, text), lambda _: None)
    with pytest.raises(AccessRefused, match="no dataset"):
        door.read("p", None, "from lab.codes")


def test_a_missing_attribute_shuts_the_dataset(lab: Lab) -> None:
    """A filter that cannot be bound to the asker refuses; it never shows all rows, or none without a word."""
    with pytest.raises(AccessRefused, match="needs your attribute 'site'") as refused:
        lab.door.read("eve", "care", "select count(*) from lab.visits")
    assert (refused.value.reason, refused.value.policy) == ("attribute", "own-site")


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("filters: [{id: f, on: {datasets: ['lab.*']}, rows: nosuch = 1}]", "a column that the dataset does not have"),
        ("masks: [{id: f, on: {columns: [code]}, mask: partial}]", "the mask 'partial' cannot hide a BIGINT"),
        ("masks: [{id: f, on: {columns: [code]}, mask: {kind: constant, value: abc}}]", "does not fit"),
        ("filters: [{id: f, on: {datasets: ['lab.*']}, rows: code = principal.id}]", ""),
        (
            "denies: [{id: f, on: {datasets: ['lab.*'], columns: [code, label]}}]",
            "Every column of lab.codes is withheld",
        ),
    ],
)
def test_a_policy_that_cannot_be_applied_is_a_refusal(lab: Lab, tmp_path: Path, policy: str, reason: str) -> None:
    """When a mask or filter does not fit the data, nothing is shown, and no value or expression is told."""
    text = f"principals: [{{id: p}}]\ngrants: [{{id: g, to: everyone, datasets: ['*']}}]\n{policy}\n"
    events: list[Event] = []
    door = open_door(lab.visibles, policies_of(tmp_path, text), events.extend)
    with pytest.raises(AccessRefused) as refused:
        rows(door, "p", "select * from lab.codes")
    assert refused.value.reason in {"policy", "denied"}
    assert reason in str(refused.value)
    assert "_mp" not in str(refused.value)


def test_owning_exempts_nobody(lab: Lab, tmp_path: Path) -> None:
    """The owner of a dataset sees it as the policies say, like everybody else."""
    text = "principals: [{id: lab-team}]\ngrants: [{id: g, to: everyone, datasets: ['*']}]\n"
    text += "masks: [{id: m, on: {columns: [label]}, mask: 'null'}]\n"
    door = open_door(lab.visibles, policies_of(tmp_path, text), lambda _: None)
    assert {row["label"] for row in rows(door, "lab-team", "from lab.codes")} == {None}


def test_a_quarantine_is_shut_to_whoever_may_not_see_all_of_its_source(lab: Lab, tmp_path: Path) -> None:
    """Raw rejected rows show nobody what the filters, denies and masks of their dataset hide."""
    held = visible(tmp_path, "lab.visits__quarantine", [pa.table({"raw": ["HIDDEN"]})], [("raw", "VARCHAR")])
    for visibles in ({**lab.visibles, "lab.visits__quarantine": held}, {"lab.visits__quarantine": held}):
        door = open_door(visibles, lab.policies, lambda _: None)
        assert rows(door, "sam", "from lab.visits__quarantine") == [{"raw": "HIDDEN"}]
        with pytest.raises(AccessRefused, match="not all of which ana may see"):
            door.read("ana", "care", "from lab.visits__quarantine")
        assert not door.explain("ana", "lab.visits__quarantine", "care").readable


def test_a_quarantine_masked_like_its_source_is_open(lab: Lab, tmp_path: Path) -> None:
    """Who sees its dataset masked sees the raw text of rejected rows only if that is masked as well."""
    text = """
principals: [{id: p}]
grants: [{id: g, to: everyone, datasets: ["*"]}]
masks: [{id: m, on: {classification: [restricted]}, mask: "null"}]
"""
    table, types = pa.table({"raw": ["PATIENT"]}), [("raw", "VARCHAR")]
    for classification, readable in (({"raw": "restricted"}, True), ({}, False)):
        held = visible(tmp_path, "lab.visits__quarantine", [table], types, classification=classification)
        door = open_door({**lab.visibles, held.dataset.name: held}, policies_of(tmp_path, text), lambda _: None)
        assert door.explain("p", held.dataset.name).readable is readable
        if readable:
            assert rows(door, "p", "from lab.visits__quarantine") == [{"raw": None}]


# Events


def test_no_row_leaves_when_the_decision_cannot_be_recorded(lab: Lab) -> None:
    """If the ledger does not take the event, the asker gets an error and not a single batch."""

    def broken(_: Sequence[Event]) -> None:
        raise OSError("the disk is full")

    door = open_door(lab.visibles, lab.policies, broken)
    for sql in ("select * from lab.codes", "select * from vault.secrets", "drop table x", "select nope from lab.codes"):
        with pytest.raises(OSError, match="disk is full"):
            door.read("sam", None, sql)


def test_the_decision_is_on_record_before_the_first_batch(lab: Lab) -> None:
    """When read returns, the event is there; when the answer ends, its counts are."""
    lab.events.clear()
    answer = lab.door.read("ana", "care", "select id, patient from lab.visits order by id", batch_rows=7)
    (decision,) = lab.events
    assert decision.kind == "query.answered"
    assert (decision.actor, decision.env, decision.subject) == ("ana", "prod", "lab.visits")
    assert decision.payload["sql"] == "select id, patient from lab.visits order by id"
    assert decision.payload["purpose"] == "care"
    assert decision.payload["tables"] == {"lab.visits": 1}
    assert decision.payload["columns"] == {"lab.visits": ["id", "patient"]}
    assert decision.payload["masked"] == ["lab.visits.patient"]
    table = answer.table()
    delivery = lab.events[-1]
    assert len(lab.events) == 2
    assert delivery.payload["query"] == decision.payload["query"] == answer.query_id
    assert delivery.payload["rows"] == table.num_rows == 60
    assert delivery.payload["bytes"] == table.nbytes
    assert delivery.payload["outcome"] == "complete"


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("select * from vault.secrets", "dataset"),
        ("drop table lab.codes", "statement"),
        ("select getenv('HOME')", "function"),
        ("select nope from lab.codes", "engine"),
        ("select \ud800", "statement"),
        ("select 1 \0", "statement"),
        ("select", "statement"),
    ],
)
def test_each_refusal_is_one_event(lab: Lab, sql: str, reason: str) -> None:
    """Whatever is refused leaves exactly one event that the ledger can hold, with the reason."""
    lab.events.clear()
    with pytest.raises((AccessRefused, AnswerFailed)):
        lab.door.read("ana", "care", sql)
    (event,) = lab.events
    assert (event.kind, event.actor, event.payload["reason"]) == ("query.refused", "ana", reason)
    assert event.kind in EVENT_KINDS
    assert "\0" not in str(event.payload["sql"])
    str(event.payload["sql"]).encode()


def test_an_answer_left_half_read_says_so(lab: Lab) -> None:
    """Closing, or dropping, an answer records what had left by then and frees the engine."""
    for leave in (lambda answer: answer.close(), lambda _: None):
        lab.events.clear()
        answer = lab.door.read("sam", None, "select * from lab.trips", batch_rows=2048)
        first = next(answer.batches)
        leave(answer)
        del answer
        assert lab.events[-1].payload["outcome"] == "closed early"
        assert lab.events[-1].payload["rows"] == first.num_rows
    assert rows(lab.door, "sam", "select count(*) as n from lab.trips") == [{"n": 20_001}]


def test_a_row_limit_cuts_the_answer_and_counts_what_left(lab: Lab) -> None:
    """No more rows than the limit leave, across batches, and the event counts them."""
    for limit in (0, 1, 2048, 3000, 20_001, 50_000):
        lab.events.clear()
        with lab.door.read("sam", None, "select id from lab.trips", batch_rows=2048, row_limit=limit) as answer:
            assert answer.table().num_rows == min(limit, 20_001)
        assert lab.events[-1].payload["rows"] == min(limit, 20_001)


# Errors


def test_an_error_names_no_value_that_the_asker_may_not_see(lab: Lab) -> None:
    """A failed conversion tells what kind of failure it was, not the value on which it failed."""
    said = outcome(lab, "select cast(patient as integer) from lab.visits")
    assert "could not be converted" in said
    assert "***" not in said


def test_an_error_over_open_data_helps(lab: Lab) -> None:
    """Where nothing is hidden from the asker, the engine's own words come through."""
    said = outcome(lab, "select cast(label as integer) from lab.codes", "sam")
    assert "'a'" in said


def test_an_error_after_the_first_batch_is_recorded_and_clean(lab: Lab) -> None:
    """A query that fails half way ends in an error without values, and its event says that it failed."""
    lab.events.clear()
    sql = "select cast(case when id = 57 then patient else '1' end as integer) as x from lab.visits order by id"
    with pytest.raises(AnswerFailed) as failed:
        rows(lab.door, "ana", sql)
    assert "***" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None
    assert {lab.events[-1].kind, str(lab.events[-1].payload.get("outcome", "failed"))} <= {
        "query.answered", "query.refused", "failed",
    }  # fmt: skip


def test_errors_cross_processes(lab: Lab) -> None:
    """A refusal pickles with its facts."""
    with pytest.raises(AccessRefused) as refused:
        lab.door.read("eve", "care", "from lab.visits")
    copy = pickle.loads(pickle.dumps(refused.value))
    assert vars(copy) == vars(refused.value)


def test_a_query_that_takes_too_long_is_stopped(lab: Lab) -> None:
    """A statement that outlives its time is cancelled, recorded, and the next one is served."""
    events: list[Event] = []
    door = open_door(lab.visibles, lab.policies, events.extend, timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(AnswerStopped):
        rows(door, "sam", "select sum(a.id * b.id + c.code) from lab.trips a, lab.trips b, lab.codes c")
    assert time.monotonic() - began < 10
    assert "stopped" in str(events[-1].payload.get("message", events[-1].payload.get("outcome"))) or (
        events[-1].payload["outcome"] == "failed"
    )
    assert rows(door, "sam", "select count(*) as n from lab.codes") == [{"n": 5}]


# Sessions


def test_a_warm_session_never_shows_one_principal_the_view_of_another(lab: Lab) -> None:
    """Askers who take turns on one session each see their own rows."""
    door = open_door(lab.visibles, lab.policies, lambda _: None)
    sql = "select count(*) as n, max(patient) as p from lab.visits"
    sam, ana, bot, *again = [rows(door, who, sql)[0]["n"] for who in ("sam", "ana", "bot", "sam", "bot", "ana")]
    assert (sam, ana) == (78, 60)
    assert bot == 39
    assert again == [sam, bot, ana]


def test_a_new_version_is_read_at_once(tmp_path: Path, lab: Lab) -> None:
    """When the environment's pointer moves, the next query reads the new version and says so."""
    visibles: dict[str, Visible] = dict(lab.visibles)
    door = open_door(visibles, lab.policies, lambda _: None)
    assert rows(door, "sam", "select count(*) as n from lab.codes") == [{"n": 5}]
    table = pa.table({"code": pa.array([1, 2], pa.int64()), "label": ["x", "y"]})
    visibles["lab.codes"] = visible(
        tmp_path, "lab.codes", [table], [("code", "BIGINT"), ("label", "VARCHAR")], version=2
    )  # fmt: skip
    with door.read("sam", None, "select * from lab.codes") as answer:
        assert answer.tables == {"lab.codes": 2}
        assert answer.table().num_rows == 2


def test_a_column_that_the_contract_does_not_promise_is_not_shown(lab: Lab) -> None:
    """What is stored beside the contract carries no classification, so nobody sees it."""
    shown = lab.visibles["lab.codes"]
    fewer = replace(shown, dataset=replace(shown.dataset, columns=shown.dataset.columns[:1]))
    door = open_door({"lab.codes": fewer}, lab.policies, lambda _: None)
    assert rows(door, "sam", "select * from lab.codes limit 1") == [{"code": 0}]


def test_many_askers_at_once_each_get_their_own(lab: Lab) -> None:
    """Threads that ask at the same time share sessions but never answers."""
    door = open_door(lab.visibles, lab.policies, lambda _: None)
    wrong: list[object] = []

    def ask(who: str, expected: int) -> None:
        for _ in range(8):
            got = rows(door, who, "select count(*) as n from lab.visits")[0]["n"]
            if got != expected:
                wrong.append((who, got))

    threads = [threading.Thread(target=ask, args=pair) for pair in (("ana", 60), ("sam", 78)) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    door.close()


# Explanations


def test_an_explanation_names_what_decided(lab: Lab) -> None:
    """For each column it is said whether it is shown, masked or withheld, and by which policy."""
    told = lab.door.explain("ana", "LAB.visits", "care")
    columns = {column.column: column for column in told.columns}
    assert told.readable
    assert told.grants == ("lab-read",)
    assert told.filters == ("own-site", "plain-only", "no-secret-docs")
    assert (columns["note"].outcome, columns["note"].policies) == ("withheld", ("no-notes",))
    assert (columns["patient"].outcome, columns["patient"].mask) == ("masked", "partial")
    assert columns["id"].outcome == "shown"


def test_an_explanation_of_a_refusal_says_why(lab: Lab) -> None:
    """Without a grant, for a wrong purpose, or without an attribute: the reason is one sentence, with whom to ask."""
    assert "No grant lets ana read vault.secrets" in lab.door.explain("ana", "vault.secrets").reason
    assert "for care" in lab.door.explain("eve", "lab.sites").reason
    assert "attribute" in lab.door.explain("eve", "lab.sites", "care").reason
    assert lab.door.explain("ana", "vault.secrets").ask == "lab-team"
    assert not lab.door.explain("ana", "no.such").readable


def test_a_session_that_fails_to_open_is_no_refusal(lab: Lab) -> None:
    """An engine that does not start is told as such, not as a matter of rights."""

    class Broken(DuckDBEngine):
        def session(self, limits: EngineLimits | None = None) -> DuckDBSession:
            raise RuntimeError(f"no memory for {limits}")

    door = open_door(lab.visibles, lab.policies, lambda _: None, engine=Broken())
    with pytest.raises(RuntimeError, match="no memory"):
        door.read("sam", None, "select 1")
