"""Which small files should become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from millpond.lake.spec import DataFile

_SMALL: Final = 0.75
"""A file of at least this share of the target is left alone."""


def groups_worth_rewriting(files: Iterable[DataFile], file_bytes_target: int) -> tuple[tuple[DataFile, ...], ...]:
    """Group neighbours (by path, so by partition and age) up to the target size; a group has at least two files."""
    partitions: dict[tuple[tuple[str, str | None], ...], list[DataFile]] = {}
    for file in sorted(files, key=lambda each: each.path):
        if file.size < file_bytes_target * _SMALL:
            partitions.setdefault(tuple(sorted(file.partition.items())), []).append(file)
    groups: list[tuple[DataFile, ...]] = []
    for small in partitions.values():
        group: list[DataFile] = []
        size = 0
        for file in small:
            if group and size + file.size > file_bytes_target:
                groups.append(tuple(group))
                group, size = [], 0
            group.append(file)
            size += file.size
        groups.append(tuple(group))
    return tuple(group for group in groups if len(group) > 1)
