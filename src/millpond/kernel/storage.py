"""A folder of files on local disk or in an object store, behind one small interface.

Owns how bytes are listed, read, written and deleted. Never knows what they mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from millpond.kernel.secret import Secret


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as a listing shows it."""

    path: str
    """Relative to the store's root, with forward slashes."""
    size: int
    """Bytes."""
    modified_us: int
    etag: str | None = None
    """Given by object stores; changes with the content."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder on local disk or in an object store (``s3://bucket/prefix``)."""

    uri: str
    """An absolute local path, or ``s3://bucket/prefix``; no slash at the end."""
    options: Mapping[str, str | Secret] = field(default_factory=dict, hash=False)
    """Credentials and endpoint of an object store, by deltalake/obstore's names (``aws_endpoint``, ...)."""
