from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from lab import MARKERS, Lab, make_lab, outcome

from millpond.engines import DuckDBEngine, DuckDBSession, EngineLimits

_ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.yaml"))
_ORACLES = [path for path in _ATTACKS if path.stem.startswith("oracle")]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """Give the laboratory of each world."""
    root = tmp_path_factory.mktemp("labs")
    return make_lab(root / "one", "first"), make_lab(root / "two", "second")


class _NoSecureViews(DuckDBEngine):
    """An engine that offers plain views only."""

    def session(self, limits: EngineLimits | None = None) -> DuckDBSession:
        """Open a session that forgets what only some engines can."""
        return _PlainSession(limits or EngineLimits())


class _PlainSession(DuckDBSession):
    def __getattribute__(self, name: str) -> object:
        if name == "secure_view":
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.fixture(scope="module")
def plain_labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """Give the laboratory of each world on an engine without secure views."""
    root, engine = tmp_path_factory.mktemp("labs"), _NoSecureViews()
    return make_lab(root / "one", "first", engine=engine), make_lab(root / "two", "second", engine=engine)


@pytest.mark.parametrize(
    "path", [path for path in _ATTACKS if path.stem.startswith("oracle")], ids=lambda path: path.stem
)
def test_no_engine_tells_by_failing(path: Path, plain_labs: tuple[Lab, Lab]) -> None:
    """Where the engine has no secure views, a barrier keeps queries from failing on hidden rows."""
    sql = yaml.safe_load(path.read_text(encoding="utf-8"))["sql"]
    first, second = (outcome(lab, sql) for lab in plain_labs)
    assert first == second


def test_the_corpus_is_large() -> None:
    """At least 300 attempts to get round the door are kept."""
    assert len(_ATTACKS) >= 300


@pytest.mark.parametrize("path", _ATTACKS, ids=lambda path: path.stem)
def test_nothing_hidden_comes_out(path: Path, labs: tuple[Lab, Lab]) -> None:
    """An attack is refused, or its answer holds nothing hidden, and is the same whatever the hidden data is."""
    attack = yaml.safe_load(path.read_text(encoding="utf-8"))
    asked = (attack["sql"], attack.get("principal", "ana"), attack.get("purpose", "care"))
    first, second = (outcome(lab, *asked) for lab in labs)
    leaked = [marker for marker in (*MARKERS, "labs", "part-0") if marker in first and marker not in attack["sql"]]
    assert not leaked, first
    assert first == second
    for lab in labs:
        assert lab.events
        assert lab.events[-1].kind in {"query.answered", "query.refused"}
        assert lab.events[-1].payload["query"] != json.dumps(None)
