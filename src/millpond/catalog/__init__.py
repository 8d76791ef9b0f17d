"""What there is: names, owners, lineage, classification, search.

A projection of what was applied; never the place where anything is defined.
"""

from millpond.catalog.catalog import POLICIES, Catalog, DatasetUnknown, Edge, Hit
from millpond.catalog.entry import (
    Direction,
    carried_tags,
    entry_from_json,
    entry_to_json,
    lineage_from_json,
    lineage_to_json,
)
from millpond.catalog.lineage import Traced, parse_select, references, trace, trace_all
from millpond.catalog.scope import TimeSource
from millpond.catalog.spec import QUARANTINE_SUFFIX, ColumnLineage, ColumnRef, Entry, Lineage
from millpond.catalog.told import CheckTold, DataPlace, FilesTold, RunTold, StepEnd, StepTold, TableTold

__all__ = [
    "POLICIES",
    "QUARANTINE_SUFFIX",
    "Catalog",
    "CheckTold",
    "ColumnLineage",
    "ColumnRef",
    "DataPlace",
    "DatasetUnknown",
    "Direction",
    "Edge",
    "Entry",
    "FilesTold",
    "Hit",
    "Lineage",
    "RunTold",
    "StepEnd",
    "StepTold",
    "TableTold",
    "TimeSource",
    "Traced",
    "carried_tags",
    "entry_from_json",
    "entry_to_json",
    "lineage_from_json",
    "lineage_to_json",
    "parse_select",
    "references",
    "trace",
    "trace_all",
]
