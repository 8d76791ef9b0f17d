"""What a contract says, as frozen values: the shape every other part works on.

Built by ``load_contract`` from an ODCS document; never by hand in product code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from millpond.kernel import Location


class Severity(StrEnum):
    """What a broken rule does."""

    INFO = "info"
    """Recorded."""
    WARNING = "warning"
    """Recorded, shown, and the run goes on."""
    ERROR = "error"
    """The rows that break it are quarantined (a rule over rows, on an ingested dataset); else publication stops."""
    CRITICAL = "critical"
    """The load or the run stops; readers keep the last good version."""


Operator = Literal["=", "!=", ">", ">=", "<", "<=", "between", "not between"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One quality rule of a column or a dataset, from ODCS ``quality``."""

    id: str
    """Unique in its dataset: given in the contract, or derived from column, metric and place."""
    kind: Literal["library", "sql", "custom"]
    metric: str | None = None
    """library: nullValues, missingValues, invalidValues, duplicateValues, rowCount."""
    column: str | None = None
    """The column it stands under; None for a rule of the dataset."""
    columns: tuple[str, ...] = ()
    """duplicateValues over several columns."""
    valid_values: tuple[str, ...] | None = None
    """invalidValues: the values allowed, as text."""
    missing_values: tuple[str | None, ...] | None = None
    """missingValues: what counts as missing."""
    pattern: str | None = None
    """invalidValues: a regular expression that values match whole."""
    query: str | None = None
    """sql: a query with one number as its answer; ``${object}`` is the dataset, ``${property}`` the column."""
    expression: str | None = None
    """custom with engine millpond: a DuckDB expression that is true for every good row."""
    operator: Operator | None = None
    thresholds: tuple[float, ...] = ()
    """What *operator* compares with: one number, or two for between."""
    unit: Literal["rows", "percent"] = "rows"
    severity: Severity = Severity.ERROR
    dimension: str | None = None
    """accuracy, completeness, conformity, consistency, coverage, timeliness, uniqueness."""
    description: str | None = None
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a dataset."""

    name: str
    type: str
    """A DuckDB type in canonical spelling: BIGINT, DECIMAL(18,2), TIMESTAMP WITH TIME ZONE, STRUCT(a INTEGER)[]."""
    physical_name: str | None = None
    """The column's name in the source, where it differs."""
    description: str | None = None
    business_name: str | None = None
    required: bool = False
    unique: bool = False
    primary_key: int | None = None
    """Place in the primary key, from 1."""
    partition: int | None = None
    """Place in the partitioning, from 1."""
    classification: str | None = None
    """public, internal, confidential, restricted, or the company's own word."""
    critical: bool = False
    """ODCS criticalDataElement."""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    """From the column's quality, and those that logicalTypeOptions imply (minimum, maxLength, pattern, ...)."""
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A foreign key, from ODCS ``relationships``."""

    columns: tuple[str, ...]
    to_dataset: str
    """``product.dataset``."""
    to_columns: tuple[str, ...]
    severity: Severity = Severity.WARNING
    at: Location | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sla:
    """One line of ODCS ``slaProperties``."""

    property: str
    value: str
    unit: str | None = None
    element: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """One table of a contract."""

    name: str
    """``product.dataset``, as SQL names it."""
    columns: tuple[Column, ...]
    description: str | None = None
    business_name: str | None = None
    tags: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Rules of the dataset itself; a column's are with the column."""
    references: tuple[Reference, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict, hash=False)
    """ODCS customProperties, as text."""
    at: Location | None = None

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Columns of the primary key, in order; empty without one."""
        keyed = [(column.primary_key, column.name) for column in self.columns if column.primary_key is not None]
        return tuple(name for _, name in sorted(keyed))

    @property
    def partition_by(self) -> tuple[str, ...]:
        """Columns that partition the table, in order."""
        placed = [(column.partition, column.name) for column in self.columns if column.partition is not None]
        return tuple(name for _, name in sorted(placed))

    def column(self, name: str) -> Column | None:
        """Give the column called *name*, or None."""
        return next((column for column in self.columns if column.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """One ODCS document."""

    id: str
    product: str
    """The data product's name: ODCS dataProduct, else the folder; a SQL schema's name."""
    version: str
    status: str
    api_version: str
    name: str | None = None
    domain: str | None = None
    tenant: str | None = None
    owner: str | None = None
    """The accountable team or person."""
    team: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    description: str | None = None
    price: str | None = None
    sla: tuple[Sla, ...] = ()
    datasets: tuple[Dataset, ...] = ()
    path: str = ""
    """The file, relative to the project."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between two definitions of a dataset."""

    kind: Literal[
        "add column",
        "drop column",
        "widen",
        "narrow",
        "retype",
        "make required",
        "make optional",
        "key",
        "partition",
        "order",
        "rules",
        "metadata",
        "add dataset",
        "drop dataset",
    ]
    what: str
    """For people: ``amount: INTEGER → BIGINT``."""
    column: str | None = None
    verdict: Literal["compatible", "needs rebuild", "breaking"] = "compatible"
    """breaking: a reader's query can fail or change meaning; needs rebuild: stored data must be rewritten."""
