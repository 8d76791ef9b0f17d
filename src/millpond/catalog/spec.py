"""What there is: one entry per dataset, as the ledger keeps it and every reader sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from millpond.contracts import Dataset

QUARANTINE_SUFFIX = "__quarantine"
"""Added to a dataset's name, it names the rows that the dataset did not accept."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ColumnRef:
    """One column of one dataset."""

    dataset: str
    column: str

    def __str__(self) -> str:
        """``product.dataset.column``."""
        return f"{self.dataset}.{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLineage:
    """Where one column of a model comes from."""

    column: str
    direct: tuple[ColumnRef, ...] = ()
    """Columns whose values flow into it."""
    masked: bool = False
    """True where every direct flow is through an aggregate or hash that hides single values (count, sha256, ...)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a model's columns and rows come from."""

    columns: tuple[ColumnLineage, ...] = ()
    indirect: tuple[tuple[Literal["filter", "join", "group", "sort", "window"], ColumnRef], ...] = ()
    """Columns that decide which rows there are, and how they are grouped; they bear on every output column."""
    datasets: tuple[str, ...] = ()
    """Every dataset read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One dataset in the catalog: what was promised, how it is made, where it comes from."""

    dataset: Dataset
    kind: Literal["source", "model", "quarantine"]
    product: str
    owner: str | None
    domain: str | None
    contract_id: str
    contract_version: str
    status: str
    path: str
    """The file that makes it, relative to the project."""
    code: str
    """The model's SQL, or the source's settings as JSON without secrets."""
    materialization: str
    """full, by time, by key, scd2, files."""
    lineage: Lineage
    fingerprint: str
    """Digest of all that decides the data: code, types, keys, settings, and the fingerprints of what it reads."""
    checks_digest: str
    """Digest of the rules: when only this changed, data is checked again and not rebuilt."""
    table: str
    """The table's key in the lake."""
    column_tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    """Column → classification and tags, its own and those that lineage brings."""
