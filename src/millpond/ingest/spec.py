"""How a table comes in: what ``*.source.yaml`` may say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millpond.kernel import Location, MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSource:
    """Files that match a pattern, on local disk or in an object store."""

    dataset: str
    """``product.dataset``; the file is called ``<dataset>.source.yaml``."""
    format: Literal["csv", "ndjson", "parquet"]
    location: str
    """A glob: a path relative to the project or absolute, ``s3://bucket/prefix/*.csv`` or ``package:name/path``."""
    mode: Literal["append", "replace", "merge"] = "append"
    """append: new files add rows. replace: the present files are the table. merge: rows replace those of their key."""
    delimiter: str = ","
    quote: str = '"'
    escape: str = '"'
    header: bool = True
    encoding: str = "utf-8"
    null_values: tuple[str, ...] = ("",)
    timestamp_format: str | None = None
    date_format: str | None = None
    decimal_separator: str = "."
    row_bytes_max: int = 16 * MiB
    bad_share_max: float = 0.05
    """Load stops, with nothing stored, when more than this share of the rows is bad."""
    at: Location | None = None
