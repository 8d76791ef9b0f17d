"""Outside files in: found, unpacked, judged row by row, and split into what a table accepts and what it does not.

Never commits, and never drops a row. Keeps true: every row read is in the table's files or the quarantine's, once, or
the load did not happen. Read ``land.py`` first, then ``split.py`` for what a record is.
"""

from millpond.ingest.errors import (
    ColumnMissing,
    LoadMiscounted,
    LoadStopped,
    SourceFileChanged,
    SourceMissing,
    SourceUnreadable,
    TooManyBadRows,
)
from millpond.ingest.found import FoundFile, discover, unseen
from millpond.ingest.land import FileOutcome, Landed, LandProgress, land
from millpond.ingest.quarantine import QUARANTINE_COLUMNS
from millpond.ingest.replay import Replayed, discard, replay
from millpond.ingest.source import load_source
from millpond.ingest.spec import FileSource

__all__ = [
    "QUARANTINE_COLUMNS",
    "ColumnMissing",
    "FileOutcome",
    "FileSource",
    "FoundFile",
    "LandProgress",
    "Landed",
    "LoadMiscounted",
    "LoadStopped",
    "Replayed",
    "SourceFileChanged",
    "SourceMissing",
    "SourceUnreadable",
    "TooManyBadRows",
    "discard",
    "discover",
    "land",
    "load_source",
    "replay",
    "unseen",
]
