"""A real engine's session, shared by the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from millpond.engines import DuckDBEngine, EngineLimits, Session
from millpond.kernel import MiB


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    """Open a session with nothing bound."""
    with DuckDBEngine().session(EngineLimits(memory_bytes_max=256 * MiB, threads=2)) as opened:
        yield opened
