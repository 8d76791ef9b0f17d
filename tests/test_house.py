"""House rules that a script can keep."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT / "src/millpond").as_posix())
def test_files_and_functions_can_be_read_at_once(path: Path) -> None:
    """No file is longer than 600 lines, no function than 70, and no name says nothing."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= 600
    assert not re.search(r"(^|_)(utils?|helpers?|common|misc|manager)(_|\.py$)", path.name)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 70, f"{path}:{node.lineno}: {node.name}"


def test_importing_millpond_loads_no_driver() -> None:
    """The package, and its command's help, load no engine, no driver and no lake library."""
    code = (
        "import sys, millpond, millpond.cli.main; "
        "heavy = 'duckdb deltalake pyspark psycopg alembic openlineage obstore'.split(); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_place_of_development_is_named() -> None:
    """No absolute path of a machine and no registry's address stands in what is delivered."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    forbidden = re.compile(r"/(work|opt|root)/[a-z]|pypi\.org|index-url|artifactory", re.IGNORECASE)
    found = []
    for name in listed:
        path = ROOT / name
        if name and path.is_file() and path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".txt", ".sql", ""}:
            for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                if forbidden.search(line) and name != "tests/test_house.py":
                    found.append(f"{name}:{number}: {line.strip()[:100]}")
    assert found == []
