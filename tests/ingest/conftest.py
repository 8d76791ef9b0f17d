from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from millpond.engines import DuckDBEngine, EngineLimits, Session
from millpond.kernel import MiB

sys.path.insert(0, str(Path(__file__).parent))

from dock import Dock


@pytest.fixture(scope="session")
def session() -> Iterator[Session]:
    """Open one session for all tests: each binds its own names anew."""
    with DuckDBEngine().session(EngineLimits(memory_bytes_max=512 * MiB, threads=2)) as opened:
        yield opened


@pytest.fixture
def dock(tmp_path: Path, session: Session) -> Dock:
    """Give a place to land files."""
    return Dock(root=tmp_path, session=session)
