import ast
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

import generate  # noqa: E402 - a script beside the pages

TEXT = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if re.match(r"\| [A-Z]\d", line)
]
FIRST = {"C1", "C4", "C8", "I1", "I7", "I8", "L1", "L3", "L4", "T1", "T2", "Q1", "M1", "M3", "A2", "A3", "A6"}


def test_each_capability_is_there_once() -> None:
    """Ids are those of the plan, none is told twice, and those of the first version are all there."""
    ids = [row[0] for row in ROWS]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[CILTQMAVFOKXG]\d{1,2}", name) for name in ids)
    assert set(ids) >= FIRST
    assert all(len(row) == 5 and all(row) for row in ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_test_exists(row: list[str]) -> None:
    """The file is there and holds a test of that name."""
    path, _, name = row[3].strip("`").partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_its_command_exists(row: list[str]) -> None:
    """The command line has the command and its options."""
    program, *words = shlex.split(row[2].strip("`"))
    assert program == "millpond"
    known = generate.commands()
    typed = next((" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in known), None)
    assert typed is not None, row[2]
    options = {opt for param in known[typed].params for opt in param.opts}
    assert [word for word in words if word.startswith("--") and word not in options] == []
