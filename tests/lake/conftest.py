"""A lake on disk and the same one in a bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from millpond.kernel import Store
from millpond.lake import Lake, Table

KEY = "delays/flights/t-1a2b3c4d"


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.s3)])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """Give an empty lake."""
    if request.param == "disk":
        return Lake(Store(str(tmp_path / "lake")))
    return Lake(request.getfixturevalue("s3_store"))


@pytest.fixture
def table(lake: Lake) -> Table:
    """Name a table that does not exist yet."""
    return lake.table(KEY)


@pytest.fixture
def local(tmp_path: Path) -> Table:
    """Name a table on disk that does not exist yet."""
    return Lake(Store(str(tmp_path / "lake"))).table(KEY)
