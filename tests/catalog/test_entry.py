"""Entries as JSON, and tags along lineage."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from millpond.catalog import (
    ColumnLineage,
    ColumnRef,
    Entry,
    Lineage,
    carried_tags,
    entry_from_json,
    entry_to_json,
    lineage_from_json,
    lineage_to_json,
)
from millpond.contracts import Column, Dataset, Reference, Rule, Severity

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
TEXTS = st.none() | NAMES
SENSITIVITY = ("public", "internal", "confidential", "restricted")
REFS = st.builds(ColumnRef, dataset=NAMES, column=NAMES)
LINEAGES = st.builds(
    Lineage,
    columns=st.lists(
        st.builds(
            ColumnLineage, column=NAMES, direct=st.lists(REFS, max_size=3).map(tuple), masked=st.booleans()
        ),
        max_size=3,
    ).map(tuple),
    indirect=st.lists(
        st.tuples(st.sampled_from(["filter", "join", "group", "sort", "window"]), REFS), max_size=3
    ).map(tuple),
    datasets=st.lists(NAMES, max_size=3).map(tuple),
)  # fmt: skip
RULES = st.builds(
    Rule,
    id=NAMES,
    kind=st.sampled_from(["library", "sql", "custom"]),
    column=TEXTS,
    thresholds=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2).map(tuple),
    valid_values=st.none() | st.lists(NAMES, max_size=2).map(tuple),
    severity=st.sampled_from(Severity),
)
COLUMNS = st.builds(
    Column,
    name=NAMES,
    type=NAMES,
    description=TEXTS,
    required=st.booleans(),
    primary_key=st.none() | st.integers(1, 9),
    classification=TEXTS,
    tags=st.lists(NAMES, max_size=2).map(tuple),
    rules=st.lists(RULES, max_size=2).map(tuple),
)
DATASETS = st.builds(
    Dataset,
    name=NAMES,
    columns=st.lists(COLUMNS, max_size=3).map(tuple),
    description=TEXTS,
    rules=st.lists(RULES, max_size=2).map(tuple),
    references=st.lists(
        st.builds(Reference, columns=st.tuples(NAMES), to_dataset=NAMES, to_columns=st.tuples(NAMES)), max_size=1
    ).map(tuple),
    properties=st.dictionaries(NAMES, NAMES, max_size=2),
)
ENTRIES = st.builds(
    Entry,
    dataset=DATASETS,
    kind=st.sampled_from(["source", "model", "quarantine"]),
    **dict.fromkeys(("product", "contract_id", "contract_version", "status", "path", "code", "materialization"), NAMES),
    **dict.fromkeys(("fingerprint", "checks_digest", "table"), NAMES),
    owner=TEXTS,
    domain=TEXTS,
    lineage=LINEAGES,
    column_tags=st.dictionaries(NAMES, st.lists(NAMES, max_size=2).map(tuple), max_size=2),
)


@given(ENTRIES)
def test_an_entry_comes_back_from_json_as_it_went(entry: Entry) -> None:
    """What the ledger keeps of a dataset is all of it, through real JSON text."""
    assert entry_from_json(json.loads(json.dumps(entry_to_json(entry)))) == entry


@given(LINEAGES)
def test_lineage_comes_back_from_json_as_it_went(lineage: Lineage) -> None:
    """Every flow, hidden or not, and every deciding column survives."""
    assert lineage_from_json(json.loads(json.dumps(lineage_to_json(lineage)))) == lineage


def flow(column: str, *direct: str, masked: bool = False) -> ColumnLineage:
    """Say where one column comes from."""
    refs = tuple(ColumnRef(dataset=one.rpartition(".")[0], column=one.rpartition(".")[2]) for one in direct)
    return ColumnLineage(column=column, direct=refs, masked=masked)


def test_the_most_sensitive_classification_wins() -> None:
    """A column made of several is as sensitive as the worst of them, and no less than it says itself."""
    upstream = {"a.t": {"x": ("internal",), "y": ("restricted",), "z": ("public",)}}
    lineage = Lineage(columns=(flow("mix", "a.t.x", "a.t.y"), flow("own", "a.t.z")))
    assert carried_tags({"own": ("confidential",)}, lineage, upstream) == {
        "mix": ("restricted",),
        "own": ("confidential",),
    }


def test_tags_that_are_no_classification_add_up() -> None:
    """A company's own words are all kept, in order, each once."""
    upstream = {"a.t": {"x": ("pii", "gdpr"), "y": ("pii", "finance")}}
    lineage = Lineage(columns=(flow("mix", "a.t.x", "a.t.y"),))
    assert carried_tags({"mix": ("own",)}, lineage, upstream) == {"mix": ("finance", "gdpr", "own", "pii")}


def test_a_hidden_column_carries_nothing() -> None:
    """A count or a hash of restricted values has only the tags it was given itself."""
    upstream = {"a.t": {"email": ("pii", "restricted")}}
    hidden = Lineage(columns=(flow("n", "a.t.email", masked=True),))
    assert carried_tags({}, hidden, upstream) == {}
    assert carried_tags({"n": ("internal",)}, hidden, upstream) == {"n": ("internal",)}


def test_what_only_decides_rows_carries_nothing() -> None:
    """Filtering by a restricted column makes no column restricted."""
    lineage = Lineage(
        columns=(flow("n", "a.t.amount"),), indirect=(("filter", ColumnRef(dataset="a.t", column="email")),)
    )
    assert carried_tags({}, lineage, {"a.t": {"email": ("restricted",)}})["n"] == ()


def test_tags_travel_through_a_chain_of_models() -> None:
    """Three models on, under two other names, an address is still restricted; its hash was freed on the way."""
    source = {"email": ("pii", "restricted")}
    first = carried_tags(
        {}, Lineage(columns=(flow("mail", "a.s.email"), flow("h", "a.s.email", masked=True))), {"a.s": source}
    )
    second = carried_tags({}, Lineage(columns=(flow("contact", "a.m1.mail"), flow("who", "a.m1.h"))), {"a.m1": first})
    third = carried_tags(
        {"contact": ("internal",)},
        Lineage(columns=(flow("contact", "a.m2.contact"), flow("who", "a.m2.who"))),
        {"a.m2": second},
    )
    assert third == {"contact": ("pii", "restricted"), "who": ()}


@given(
    own=st.lists(st.sampled_from([*SENSITIVITY, "pii", "x"]), max_size=3),
    sources=st.lists(st.lists(st.sampled_from([*SENSITIVITY, "pii", "y"]), max_size=3), max_size=4),
)
def test_one_classification_remains_and_it_is_the_highest(own: list[str], sources: list[list[str]]) -> None:
    """Whatever flows together: at most one classification, never a lower one than any source had, no other tag lost."""
    upstream = {"a.t": {f"c{at}": tuple(tags) for at, tags in enumerate(sources)}}
    lineage = Lineage(columns=(flow("out", *(f"a.t.c{at}" for at in range(len(sources)))),))
    carried = carried_tags({"out": tuple(own)}, lineage, upstream)["out"]
    everything = {*own, *(tag for tags in sources for tag in tags)}
    ranks = [SENSITIVITY.index(tag) for tag in everything if tag in SENSITIVITY]
    assert [SENSITIVITY.index(tag) for tag in carried if tag in SENSITIVITY] == ([max(ranks)] if ranks else [])
    assert everything - set(SENSITIVITY) == set(carried) - set(SENSITIVITY)
