"""How a table is derived: what a model's header may say, and what is known of it after parsing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millpond.catalog import Lineage, TimeSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One ``.sql`` file: a YAML header in its first ``/* */`` comment, then one SELECT."""

    dataset: str
    """``product.dataset``; the file is called ``<dataset>.sql``."""
    path: str
    sql: str
    """The SELECT as written, without the header."""
    sql_line: int
    """The line of the file where the SELECT begins, for errors."""
    materialize: Literal["full", "by time", "by key", "scd2"] = "full"
    time_column: str | None = None
    """by time: the output column (DATE or TIMESTAMP) whose range a run replaces."""
    grain: Literal["hour", "day", "month", "year"] = "day"
    """by time: ranges begin and end on these."""
    lookback: int = 0
    """by time: so many grains before the newest are computed again, for late rows."""
    key: tuple[str, ...] = ()
    """by key, scd2: default is the contract's primary key."""
    order_by: str | None = None
    """by key, scd2: of several rows with one key the greatest value wins (scd2: each is a version from then on)."""
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that was parsed and bound to what it reads."""

    spec: ModelSpec
    upstream: tuple[str, ...]
    """Datasets it reads, sorted."""
    sql: str
    """The SELECT with every table written ``"product"."dataset"``."""
    lineage: Lineage
    time_sources: tuple[TimeSource, ...] = ()
    """by time: for each dataset that has one, the column that alone decides which times its rows bear on."""
    normal: str = ""
    """*sql* without comments, white space and the case of names, for the fingerprint; empty: not worked out yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A range of the time column, aligned to the grain."""

    low: str | None
    """ISO text, included; None: from the beginning."""
    high: str | None
    """ISO text, excluded; None: to the end."""

    def __str__(self) -> str:
        """``2013-01-01 to 2013-02-01``."""
        return f"{self.low or 'the beginning'} to {self.high or 'the end'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """The whole table has to be made."""

    reason: str
    """For people: why no smaller part is enough."""
