"""What is remembered of files makes commands faster and changes nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from millpond.flow import Definitions, check_definitions
from millpond.flow.project import load_project
from millpond.flow.remembered import Remembered
from millpond.kernel import Json, ProblemsFound

CONTRACT = "products/sales/contract.odcs.yaml"
MODEL = "products/sales/daily_revenue.sql"


def file_of(project) -> Path:
    """Where a project's entries are."""
    return project.root / ".millpond" / "cache" / "definitions.db"


def defined(project) -> Definitions:
    """Open the project anew, bind it and check it."""
    with project.open() as workspace:
        definitions = workspace.definitions(workspace.environment(None))
        check_definitions(workspace, definitions)
        return definitions


def afresh(project) -> Definitions:
    """Work everything out anew, and leave what is remembered as it was."""
    kept = file_of(project).read_bytes()
    file_of(project).unlink()
    found = defined(project)
    file_of(project).write_bytes(kept)
    return found


def same(one: Definitions, other: Definitions) -> bool:
    """Compare all that was defined."""
    return (one.entries, one.sources, one.models, one.levels) == (
        other.entries,
        other.sources,
        other.models,
        other.levels,
    )


@pytest.mark.parametrize("example", ["shop", "flights"])
def test_a_remembered_project_equals_the_one_that_is_read(example: str, tmp_path) -> None:
    """Contracts, sources, models and policies come out of memory as they come out of the files."""
    root = Path(__file__).parents[2] / "examples" / example
    remembered = Remembered(tmp_path / "definitions.db")
    read = load_project(root)
    assert load_project(root, remembered) == read
    again = load_project(root, remembered)
    assert (again.contracts, again.datasets, again.models) == (read.contracts, read.datasets, read.models)


def test_the_second_reading_parses_no_contract(project, monkeypatch) -> None:
    """What was read once is not parsed again, and comes out equal."""
    first = defined(project)
    monkeypatch.setattr("millpond.flow.project.load_contract", None)
    monkeypatch.setattr("millpond.flow.definitions.bind", None)
    monkeypatch.setattr("millpond.flow.checking.check_types", None)
    assert same(defined(project), first)


def test_a_changed_type_upstream_is_seen(project) -> None:
    """A model whose file did not change is bound and judged again when the contract changes what it reads."""
    defined(project)
    project.edit(CONTRACT, {"physicalType: DECIMAL(18,2)": "physicalType: DOUBLE"})
    with pytest.raises(ProblemsFound) as remembering:
        defined(project)
    with pytest.raises(ProblemsFound) as reading:
        afresh_problems(project)
    assert [str(problem) for problem in remembering.value.problems] == [
        str(problem) for problem in reading.value.problems
    ]


def afresh_problems(project) -> None:
    """Define with nothing remembered."""
    file_of(project).unlink()
    defined(project)


def test_a_renamed_column_upstream_is_seen(project) -> None:
    """A column that a model reads and that is gone is a problem, whatever was remembered of the model."""
    defined(project)
    project.edit(CONTRACT, {"name: amount": "name: total"})
    with pytest.raises(ProblemsFound, match="amount"):
        defined(project)


def test_a_problem_is_told_each_time(project) -> None:
    """What is wrong is never remembered as good."""
    project.edit(MODEL, {"FROM": "FRM"})
    for _ in range(2):
        with pytest.raises(ProblemsFound):
            defined(project)


def test_a_file_changed_and_changed_back_means_what_it_meant(project) -> None:
    """An entry belongs to a file's content, not to its name or time."""
    first = defined(project)
    text = (project.root / MODEL).read_text(encoding="utf-8")
    project.write(MODEL, text.replace("sum(", "max("))
    changed = defined(project)
    assert not same(changed, first)
    assert same(changed, afresh(project))
    project.write(MODEL, text)
    assert same(defined(project), first)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM kept WHERE rowid % 2 = 0",
        "UPDATE kept SET body = '{}'",
        "UPDATE kept SET body = substr(body, 1, 20)",
        "UPDATE kept SET body = x'ff00fe'",
        "UPDATE kept SET body = 7, digest = NULL",
        "UPDATE kept SET body = replace(body, 'BIGINT', 'DOUBLE')",
        "UPDATE kept SET (body, digest) = (SELECT body, digest FROM kept ORDER BY key LIMIT 1)",
        "DROP TABLE kept",
    ],
)
def test_damaged_entries_count_as_absent(project, damage: str) -> None:
    """Whatever stands in the file, what is defined is what the files say; the entries are written anew."""
    first = defined(project)
    with sqlite3.connect(file_of(project)) as base:
        base.execute(damage)
    base.close()
    assert same(defined(project), first)
    assert same(defined(project), first)


@pytest.mark.parametrize("content", [b"", b"no database at all" * 100, None])
def test_a_broken_file_is_replaced(project, content: bytes | None) -> None:
    """A file that is no database, or cut short, is made anew."""
    first = defined(project)
    path = file_of(project)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert same(defined(project), first)
    assert same(defined(project), first)
    remembered = Remembered(path)
    remembered.remember({"a": {"b": 1}})
    assert remembered.recall(["a"], lambda _, body: body) == {"a": {"b": 1}}


def test_a_place_that_cannot_be_written_is_no_error(project) -> None:
    """Where nothing can be remembered everything works as before."""
    first = defined(project)
    file_of(project).unlink()
    file_of(project).mkdir()
    assert same(defined(project), first)


def test_what_cannot_be_decoded_is_unknown(tmp_path) -> None:
    """An entry of another shape than its reader expects is left out, the others are given."""
    remembered = Remembered(tmp_path / "definitions.db")
    remembered.remember({"good": {"size": 1}, "bad": {"other": 2}})

    def size(_: str, body: Mapping[str, Json]) -> Json:
        return body["size"]

    assert remembered.recall(["good", "bad", "absent"], size) == {"good": 1}


def test_many_writers_at_once_lose_nothing_that_matters(tmp_path) -> None:
    """Threads and processes that write and read together see whole entries only, each under its own key."""
    path = tmp_path / "definitions.db"
    code = (
        "import sys; from pathlib import Path; from millpond.flow.remembered import Remembered\n"
        "r = Remembered(Path(sys.argv[1])); n = sys.argv[2]\n"
        "for i in range(20): r.remember({f'{n}-{i}': {'is': f'{n}-{i}', 'pad': 'x' * 5000}})\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(path), f"process{n}"]) for n in range(2)]

    def check(key: str, body: Mapping[str, Json]) -> None:
        assert body["is"] == key

    def write(number: int) -> None:
        mine = Remembered(path)
        for turn in range(20):
            name = f"thread{number}-{turn}"
            mine.remember({name: {"is": name, "pad": "y" * 5000}})
            mine.recall([name], check)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert [process.wait(60) for process in others] == [0, 0]
    names = [f"thread{n}-{i}" for n in range(4) for i in range(20)]
    names += [f"process{n}-{i}" for n in range(2) for i in range(20)]
    found = Remembered(path).recall(names, lambda _, body: body["is"])
    assert all(key == name for key, name in found.items())
    assert len(found) > len(names) // 2


def test_old_entries_make_room(tmp_path, monkeypatch) -> None:
    """The file does not grow without end: the oldest entries go."""
    monkeypatch.setattr("millpond.flow.remembered.ENTRIES_MAX", 10)
    remembered = Remembered(tmp_path / "definitions.db")
    for number in range(30):
        remembered.remember({f"k{number}": {"n": number}})
    found = remembered.recall([f"k{number}" for number in range(30)], lambda _, body: body["n"])
    assert 5 <= len(found) <= 10
    assert "k29" in found
