from __future__ import annotations

from pathlib import Path

import pytest

from millpond.kernel import ProblemsFound
from millpond.models import ModelSpec, load_model


def write(root: Path, text: str) -> Path:
    """A model's file in a project."""
    path = root / "products" / "delays" / "daily.sql"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def load(root: Path, text: str) -> ModelSpec:
    """Read a model of this text."""
    return load_model(write(root, text), root=root, product="delays")


def test_a_header_says_how_a_model_is_made(tmp_path: Path) -> None:
    """Every key of the header arrives, and the query begins on its own line."""
    text = (
        "-- Delays per day.\n/*\nmaterialize: by time\ntime_column: day\ngrain: month\nlookback: 2\n"
        "description: Delays\n*/\n\nSELECT 1 AS day\n"
    )
    spec = load(tmp_path, text)
    assert spec.dataset == "delays.daily"
    assert spec.path == "products/delays/daily.sql"
    assert (spec.materialize, spec.time_column, spec.grain, spec.lookback) == ("by time", "day", "month", 2)
    assert spec.description == "Delays"
    assert (spec.sql, spec.sql_line) == ("SELECT 1 AS day", 10)


def test_without_a_header_a_model_is_made_in_full(tmp_path: Path) -> None:
    """A file with a query only is a full model, and a later comment is no header."""
    spec = load(tmp_path, "SELECT 1 AS a /* materialize: by time */\n")
    assert (spec.materialize, spec.sql_line) == ("full", 1)
    assert "by time" in spec.sql


def test_keys_may_be_one_name_or_several(tmp_path: Path) -> None:
    """`key` takes one column or a list."""
    assert load(tmp_path, "/*\nmaterialize: by key\nkey: id\n*/ SELECT 1 AS id").key == ("id",)
    assert load(tmp_path, "/*\nmaterialize: by key\nkey: [a, b]\n*/ SELECT 1").key == ("a", "b")


def test_all_problems_of_a_header_come_at_once_with_their_places(tmp_path: Path) -> None:
    """An unknown key, a wrong word and a wrong number are three problems with line, column and a suggestion."""
    text = "/*\nmaterialise: full\nmaterialize: by tme\ngrain: dya\nlookback: -1\n*/\nSELECT 1"
    with pytest.raises(ProblemsFound) as caught:
        load(tmp_path, text)
    shown = [str(problem) for problem in caught.value.problems]
    assert shown == [
        "products/delays/daily.sql:2:1: unknown key materialise\n    Did you mean 'materialize'?",
        "products/delays/daily.sql:3:1: materialize is 'by tme'\n    Did you mean 'by time'?",
        "products/delays/daily.sql:4:1: grain is 'dya'\n    Did you mean 'day'?",
        "products/delays/daily.sql:5:1: lookback is -1\n    A number of grains, 0 or more.",
    ]


@pytest.mark.parametrize(
    ("header", "what", "line"),
    [
        ("materialize: by time", "materialize: by time needs time_column", 2),
        ("materialize: scd2\nkey: id", "materialize: scd2 needs order_by", 2),
        ("materialize: full\nkey: id", "key means nothing with materialize: full", 3),
        ("lookback: 1", "lookback means nothing with materialize: full", 2),
        ("just some words", "the header (the first /* */ comment) is not YAML keys", 2),
        ("materialize: [", "not YAML", 3),
        ("materialize: full\nmaterialize: full", "the key 'materialize' is written twice", 3),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(tmp_path: Path, header: str, what: str, line: int) -> None:
    """What a materialization needs must be there, what it cannot use must not, and the line is named."""
    with pytest.raises(ProblemsFound) as caught:
        load(tmp_path, f"/*\n{header}\n*/\nSELECT 1")
    (problem,) = caught.value.problems
    assert what in problem.what
    assert problem.at.line == line


def test_a_file_that_is_not_text_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are reported with the file's name."""
    path = write(tmp_path, "")
    path.write_bytes(b"SELECT '\xff'")
    with pytest.raises(ProblemsFound, match=r"daily\.sql.*not UTF-8"):
        load_model(path, root=tmp_path, product="delays")
