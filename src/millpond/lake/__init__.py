"""The tables: snapshots, commits and upkeep of Delta tables. Sole owner of the Delta log.

Never runs SQL and never reads rows: engines do, over the files that a snapshot names.
"""

from millpond.lake.errors import (
    CommitConflict,
    LogDamaged,
    PartitionNotStorable,
    SchemaNotEvolvable,
    TypeNotStorable,
    VersionGone,
)
from millpond.lake.footers import inspect
from millpond.lake.lake import Lake
from millpond.lake.log import VersionInfo
from millpond.lake.schema import stored_type
from millpond.lake.spec import ColumnStats, Commit, DataFile, Snapshot, TableSchema
from millpond.lake.table import Table
from millpond.lake.vacuum import Vacuumed

__all__ = [
    "ColumnStats",
    "Commit",
    "CommitConflict",
    "DataFile",
    "Lake",
    "LogDamaged",
    "PartitionNotStorable",
    "SchemaNotEvolvable",
    "Snapshot",
    "Table",
    "TableSchema",
    "TypeNotStorable",
    "Vacuumed",
    "VersionGone",
    "VersionInfo",
    "inspect",
    "stored_type",
]
