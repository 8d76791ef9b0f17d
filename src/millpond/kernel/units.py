"""Sizes, counts and times as people write them."""

from __future__ import annotations

import re

KiB = 1024
MiB = 1024 * KiB
GiB = 1024 * MiB

_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
_UNITS |= {"kib": KiB, "mib": MiB, "gib": GiB, "tib": 1024 * GiB, "k": KiB, "m": MiB, "g": GiB}


def parse_bytes(text: str | int) -> int:
    """Read ``512 MiB``, ``1GB`` or a plain number as bytes.

    Raises:
        ValueError: *text* is not a size.
    """
    if isinstance(text, int):
        return text
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].lower() not in _UNITS:
        msg = f"{text!r} is not a size such as 512 MiB or 2 GB"
        raise ValueError(msg)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(count: int) -> str:
    """Write a size with three significant digits and a binary unit."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KiB:
            return (
                f"{value:.0f} {unit}"
                if unit == "B"
                else f"{value:.3g} {unit}"
                if value < 1000
                else f"{value:.0f} {unit}"
            )
        value /= KiB
    return f"{value:.3g} TiB"


def format_count(count: int) -> str:
    """Write a count with thousands separated by commas."""
    return f"{count:,}"


def format_seconds(seconds: float) -> str:
    """Write a duration in the unit that suits it: ``12 ms``, ``3.4 s``, ``5 min 2 s``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"
