from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from lab import MARKERS, Lab, make_lab, outcome

_ATTACKS = sorted((Path(__file__).parent / "attacks").glob("*.yaml"))


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, Lab]:
    """Give the laboratory of each world."""
    root = tmp_path_factory.mktemp("labs")
    return make_lab(root / "one", "first"), make_lab(root / "two", "second")


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
