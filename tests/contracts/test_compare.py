from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.contracts import Column, Dataset, Reference, Rule, Severity, dataset_from_json, dataset_to_json, diff
from millpond.kernel import Location, canonical_json

TEXT = st.text(max_size=6)
MAYBE = st.none() | TEXT
PLACE = st.none() | st.builds(Location, TEXT, st.none() | st.integers(1, 99), st.none() | st.integers(1, 99))
WORDS = st.lists(TEXT, max_size=2).map(tuple)
RULES = st.builds(
    Rule, id=TEXT, kind=st.sampled_from(["library", "sql", "custom"]), metric=MAYBE, column=MAYBE, columns=WORDS,
    valid_values=st.none() | WORDS, missing_values=st.none() | st.lists(MAYBE, max_size=2).map(tuple), pattern=MAYBE,
    query=MAYBE, expression=MAYBE, operator=st.none() | st.sampled_from(["=", "between"]),
    thresholds=st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=2).map(tuple),
    unit=st.sampled_from(["rows", "percent"]), severity=st.sampled_from(Severity), dimension=MAYBE, description=MAYBE,
    at=PLACE,
)  # fmt: skip
COLUMNS = st.builds(
    Column, name=TEXT, type=st.sampled_from(["INTEGER", "BIGINT", "VARCHAR", "DATE"]), physical_name=MAYBE,
    description=MAYBE, business_name=MAYBE, required=st.booleans(), unique=st.booleans(),
    primary_key=st.none() | st.integers(1, 3), partition=st.none() | st.integers(1, 3), classification=MAYBE,
    critical=st.booleans(), tags=WORDS, examples=WORDS, rules=st.lists(RULES, max_size=2).map(tuple), at=PLACE,
)  # fmt: skip
REFERENCES = st.builds(
    Reference, columns=WORDS, to_dataset=TEXT, to_columns=WORDS, severity=st.sampled_from(Severity), at=PLACE
)
DATASETS = st.builds(
    Dataset, name=TEXT, columns=st.lists(COLUMNS, max_size=4, unique_by=lambda column: column.name).map(tuple),
    description=MAYBE, business_name=MAYBE, tags=WORDS, rules=st.lists(RULES, max_size=2).map(tuple),
    references=st.lists(REFERENCES, max_size=2).map(tuple), properties=st.dictionaries(TEXT, TEXT, max_size=2),
    at=PLACE,
)  # fmt: skip


@given(DATASETS)
@settings(max_examples=100, deadline=None)
def test_a_definition_comes_back_from_json_unchanged(dataset: Dataset) -> None:
    """What the ledger keeps of a definition is all of it."""
    text = canonical_json(dataset_to_json(dataset))
    again = dataset_from_json(dataset_to_json(dataset))
    assert again == dataset
    assert type(again.rules[0].severity) is Severity if again.rules else True
    assert canonical_json(dataset_to_json(again)) == text


@given(DATASETS)
@settings(max_examples=100, deadline=None)
def test_a_definition_does_not_differ_from_itself(dataset: Dataset) -> None:
    """Nothing changed is no change, wherever in its file the definition stands."""
    assert diff(dataset, dataset) == ()
    moved = dataset_from_json(dataset_to_json(dataset, places=False))
    assert moved.at is None
    assert diff(dataset, moved) == ()


@given(DATASETS, DATASETS)
@settings(max_examples=100, deadline=None)
def test_no_change_of_columns_goes_unseen(old: Dataset, new: Dataset) -> None:
    """Two definitions without a difference have the same columns, keys and rules."""
    if diff(old, new) == ():
        assert dataset_to_json(old, places=False) == dataset_to_json(new, places=False)


BASE = Dataset(
    name="shop.orders",
    columns=(
        Column(name="id", type="INTEGER", required=True, primary_key=1),
        Column(name="amount", type="DECIMAL(10,2)"),
        Column(name="day", type="DATE", required=True, partition=1),
    ),
)


def with_column(name: str, **facts: object) -> Dataset:
    """Give the base with one column changed."""
    columns = tuple(replace(c, **facts) if c.name == name else c for c in BASE.columns)  # type: ignore[arg-type]
    return replace(BASE, columns=columns)


CASES = [
    (replace(BASE, columns=(*BASE.columns, Column(name="note", type="VARCHAR"))), "add column", "compatible"),
    (
        replace(BASE, columns=(*BASE.columns, Column(name="note", type="VARCHAR", required=True))),
        "add column",
        "needs rebuild",
    ),
    (replace(BASE, columns=(BASE.columns[0], BASE.columns[2])), "drop column", "breaking"),
    (with_column("id", type="BIGINT"), "widen", "compatible"),
    (with_column("amount", type="DECIMAL(12,3)"), "widen", "compatible"),
    (with_column("id", type="SMALLINT"), "narrow", "breaking"),
    (with_column("day", type="TIMESTAMP"), "retype", "breaking"),
    (with_column("amount", type="VARCHAR"), "retype", "breaking"),
    (with_column("amount", required=True), "make required", "needs rebuild"),
    (with_column("day", required=False), "make optional", "breaking"),
    (with_column("amount", primary_key=2), "key", "breaking"),
    (with_column("day", partition=None), "partition", "needs rebuild"),
    (replace(BASE, columns=BASE.columns[::-1]), "order", "compatible"),
    (with_column("amount", rules=(Rule(id="amount.minimum", kind="custom"),)), "rules", "compatible"),
    (with_column("amount", unique=True), "rules", "compatible"),
    (with_column("amount", classification="restricted"), "metadata", "compatible"),
    (replace(BASE, description="All orders"), "metadata", "compatible"),
    (
        replace(BASE, references=(Reference(columns=("id",), to_dataset="a.b", to_columns=("c",)),)),
        "rules",
        "compatible",
    ),
]


@pytest.mark.parametrize(("new", "kind", "verdict"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_change_has_a_verdict(new: Dataset, kind: str, verdict: str) -> None:
    """Each kind of change says whether readers break and whether stored data must be rewritten."""
    assert [(change.kind, change.verdict) for change in diff(BASE, new)] == [(kind, verdict)]


def test_coming_and_going() -> None:
    """A new dataset breaks nobody; one that goes breaks its readers; nothing to nothing is nothing."""
    (added,) = diff(None, BASE)
    (dropped,) = diff(BASE, None)
    assert (added.kind, added.verdict) == ("add dataset", "compatible")
    assert (dropped.kind, dropped.verdict) == ("drop dataset", "breaking")
    assert diff(None, None) == ()


def test_changes_read_well() -> None:
    """A change says in one line what people need to know."""
    new = with_column("id", type="BIGINT", rules=(Rule(id="id.minimum", kind="custom"),), classification="internal")
    assert [change.what for change in diff(BASE, new)] == [
        "id: INTEGER → BIGINT",
        "id: new id.minimum",
        "id: classification",
    ]
