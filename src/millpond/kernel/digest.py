"""One way to turn a value into bytes and a fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]


def canonical_json(value: object) -> str:
    """Write *value* as JSON with sorted keys and no spaces, so that equal values give equal text.

    Raises:
        TypeError: *value* holds something that JSON cannot say.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(*parts: object) -> str:
    """Fingerprint *parts* (JSON values): 32 hexadecimal digits of SHA-256."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:32]
