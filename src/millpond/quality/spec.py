"""What the quality stage says: checks to run, and what came of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millpond.contracts import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """A rule that every row keeps or breaks by itself: decides the quarantine at the door."""

    id: str
    column: str | None
    predicate: str
    """A DuckDB expression over the dataset's columns; a row breaks the rule where it ``IS NOT TRUE``."""
    severity: Severity
    description: str
    columns: tuple[str, ...] = ()
    """Every column the predicate names, in the dataset's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one rule said of one version of one dataset."""

    dataset: str
    rule: str
    column: str | None
    severity: Severity
    outcome: Literal["passed", "failed", "error"]
    """error: the rule could not run; counts as failed."""
    measured: float | None
    """What was counted or computed."""
    wanted: str
    """``= 0 rows``, ``between 1 and 24``: for people."""
    failing_rows: int | None
    total_rows: int | None
    message: str = ""

    @property
    def stops(self) -> bool:
        """True where publication must not happen."""
        return self.outcome != "passed" and self.severity in {Severity.ERROR, Severity.CRITICAL}
