"""Time, in one unit: microseconds since 1970 in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1_000


def to_iso(time_us: int) -> str:
    """Write *time_us* as ISO 8601 with microseconds, in UTC."""
    return (_EPOCH + timedelta(microseconds=time_us)).isoformat(timespec="microseconds").replace("+00:00", "Z")
