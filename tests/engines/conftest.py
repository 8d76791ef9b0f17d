"""Every engine that must behave the same, and sessions on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from millpond.engines import DuckDBEngine, Engine, Session
from millpond.kernel import Store

ENGINES: Final[Mapping[str, type[DuckDBEngine]]] = {"duckdb": DuckDBEngine}


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn."""
    return ENGINES[request.param]()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    """Open a session with nothing bound."""
    with engine.session() as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an empty folder for a table, at a path that quotes and escapes must not break."""
    folder = tmp_path / "it's a=1 lake%20"
    folder.mkdir()
    return Store(str(folder))
