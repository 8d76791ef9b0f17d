"""The quarantine: one row for each row that a table did not accept, with all that is needed to judge it again.

Owns the columns, the identity of a row, and the SELECT that turns judged records into quarantine rows.
"""

from __future__ import annotations

from typing import Final

from millpond.engines import name_sql, text_sql
from millpond.ingest.found import FoundFile
from millpond.kernel import digest

QUARANTINE_COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("id", "VARCHAR"),  # digest of dataset, file and row number: the same row of the same file has the same id
    ("dataset", "VARCHAR"),
    ("run_id", "VARCHAR"),
    ("source", "VARCHAR"),  # the file's address; `!member` of an archive with several
    ("row_number", "BIGINT"),  # the record's place in the file, from 1, header and empty lines not counted
    ("raw", "VARCHAR"),  # CSV and NDJSON: the record as it stands; Parquet: the row as JSON. See `escaped`
    ("header", "VARCHAR"),  # CSV: the file's column names as a JSON list, so that raw can be read without the file
    ("rules", "VARCHAR[]"),  # every rule it breaks: type:x, required:x, columns, quotes, encoding, nul, json, ...
    ("columns", "VARCHAR[]"),  # the columns at fault; none where the whole row is
    ("reason", "VARCHAR"),
    ("severity", "VARCHAR"),
    ("status", "VARCHAR"),  # open, replayed, discarded
    ("note", "VARCHAR"),
    ("landed_at", "TIMESTAMP WITH TIME ZONE"),
    ("reviewed_at", "TIMESTAMP WITH TIME ZONE"),
    ("reviewed_by", "VARCHAR"),
)

ESCAPED_RULES: Final = ("encoding", "nul")
"""Where one of these is broken, raw is escaped: bytes that are no text as ``\\xff``, backslashes doubled."""


def file_key(dataset: str, file: FoundFile, uri: str) -> str:
    """Digest what makes a row's id differ from that of another file or of the file's other content."""
    version = file.etag if file.etag is not None else file.modified_us
    return digest(dataset, uri, file.size, version)


def quarantine_select(judged: str, *, dataset: str, run_id: str, landed_at: str, held: str | None = None) -> str:
    """Give the SELECT of quarantine rows from *judged*, which holds ``__source``, ``__file`` and ``__header`` too.

    *held* is a relation of the rows that the quarantine has already: they are left as they are, and not added again.
    """
    values = {
        "id": "substr(sha256(concat(__file, ':', CAST(__row AS VARCHAR))), 1, 32)",
        "dataset": text_sql(dataset),
        "run_id": text_sql(run_id),
        "source": "__source",
        "row_number": "__row",
        "raw": "regexp_replace(__raw, '(\\r\\n|\\n|\\r)\\z', '')",
        "header": "__header",
        "rules": "__rules",
        "columns": "__columns",
        "reason": "array_to_string(__reasons, '; ')",
        "severity": "'error'",
        "status": "'open'",
        "note": "NULL",
        "landed_at": text_sql(landed_at),
        "reviewed_at": "NULL",
        "reviewed_by": "NULL",
    }
    columns = ", ".join(f"CAST({values[name]} AS {kind}) AS {name_sql(name)}" for name, kind in QUARANTINE_COLUMNS)
    known = f" AND {values['id']} NOT IN (SELECT id FROM {held})" if held is not None else ""
    return f"SELECT {columns} FROM {judged} WHERE __rules IS NOT NULL{known} ORDER BY __source, __row"
