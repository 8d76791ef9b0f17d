"""What lineage has to know of a run that is over, whatever it is told in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import quote

from millpond.catalog.spec import Entry

StepEnd = Literal["complete", "fail", "abort"]
"""abort: it was done, but the run it belongs to published nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlace:
    """Where data lies, by OpenLineage's naming."""

    namespace: str
    """``file``, ``s3://bucket`` or ``package``."""
    name: str
    uri: str

    @classmethod
    def of(cls, location: str) -> Self:
        """Name an absolute local path, an address of an object store, or ``package:name/path``."""
        scheme, separator, rest = location.partition("://")
        if separator:
            bucket, _, path = rest.partition("/")
            return cls(namespace=f"{scheme}://{bucket}", name=path or "/", uri=f"{scheme}://{bucket}/{quote(path)}")
        if location.startswith("package:"):
            name = location.removeprefix("package:")
            return cls(namespace="package", name=name, uri=f"package:{quote(name)}")
        return cls(namespace="file", name=location, uri=f"file://{quote(location)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesTold:
    """The source files of one load."""

    at: DataPlace
    """The pattern that names them: one dataset, whatever files come and go."""
    files: tuple[str, ...] = ()
    """Those taken in now."""
    rows: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TableTold:
    """A dataset that a step read or wrote."""

    entry: Entry
    at: DataPlace
    version: int | None = None
    """Delta version; None where there is none that anybody can read."""
    rows: int | None = None
    """Written by the step, as are *bytes* and *files*."""
    bytes: int | None = None
    files: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTold:
    """What one rule said."""

    rule: str
    column: str | None
    passed: bool
    stops: bool
    """True where breaking it stops publication."""
    wanted: str
    measured: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTold:
    """One step of a run."""

    entry: Entry
    state: StepEnd
    started_us: int
    finished_us: int
    files: FilesTold | None = None
    reads: tuple[TableTold, ...] = ()
    writes: tuple[TableTold, ...] = ()
    """The dataset itself first, then its quarantine."""
    checks: tuple[CheckTold, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTold:
    """What all steps of a run share."""

    run_id: str
    project: str
    """The job that the steps' jobs belong to."""
    namespace: str
    env: str
    actor: str
    state: StepEnd
    started_us: int
    finished_us: int
    error: str | None = None
