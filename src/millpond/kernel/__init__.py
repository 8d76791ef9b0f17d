"""What every part needs and nothing that knows a part: errors, time, ids, units, secrets, storage.

Never imports another package of Millpond.
"""

from millpond.kernel.clock import now_us, to_iso
from millpond.kernel.digest import Json, canonical_json, digest
from millpond.kernel.document import Document, parse_document, read_document, suggest, unknown_keys
from millpond.kernel.errors import Location, MillpondError, Problem, ProblemsFound
from millpond.kernel.ids import new_id
from millpond.kernel.secret import Secret
from millpond.kernel.storage import StorageDenied, StorageUnreachable, Store, StoredFile
from millpond.kernel.units import GiB, KiB, MiB, format_bytes, format_count, format_seconds, parse_bytes

__all__ = [
    "Document",
    "GiB",
    "Json",
    "KiB",
    "Location",
    "MiB",
    "MillpondError",
    "Problem",
    "ProblemsFound",
    "Secret",
    "StorageDenied",
    "StorageUnreachable",
    "Store",
    "StoredFile",
    "canonical_json",
    "digest",
    "format_bytes",
    "format_count",
    "format_seconds",
    "new_id",
    "now_us",
    "parse_bytes",
    "parse_document",
    "read_document",
    "suggest",
    "to_iso",
    "unknown_keys",
]
