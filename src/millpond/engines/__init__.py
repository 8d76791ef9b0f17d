"""SQL over snapshots, to Arrow batches or to new Parquet files. The only part that knows DuckDB.

Never touches the Delta log, a contract or the ledger.
"""

from millpond.engines.duckdb_engine import DuckDBEngine, DuckDBSession
from millpond.engines.duckdb_parse import parse
from millpond.engines.errors import (
    DiskFull,
    EngineFault,
    EngineOutOfMemory,
    QueryCancelled,
    QueryFailed,
    QueryInvalid,
)
from millpond.engines.exact import name_sql, text_sql
from millpond.engines.files import RowTest, header_of, judged_select, kept_select, warned_select
from millpond.engines.rewrite import (
    INCOMING,
    TARGET,
    Rewrite,
    append,
    merge_by_key,
    replace_all,
    replace_partitions,
    replace_range,
    scd2,
)
from millpond.engines.spec import (
    Engine,
    EngineLimits,
    FileScan,
    ParsedQuery,
    Progress,
    Session,
    Usage,
    Written,
)

__all__ = [
    "INCOMING",
    "TARGET",
    "DiskFull",
    "DuckDBEngine",
    "DuckDBSession",
    "Engine",
    "EngineFault",
    "EngineLimits",
    "EngineOutOfMemory",
    "FileScan",
    "ParsedQuery",
    "Progress",
    "QueryCancelled",
    "QueryFailed",
    "QueryInvalid",
    "Rewrite",
    "RowTest",
    "Session",
    "Usage",
    "Written",
    "append",
    "header_of",
    "judged_select",
    "kept_select",
    "merge_by_key",
    "name_sql",
    "parse",
    "replace_all",
    "replace_partitions",
    "replace_range",
    "scd2",
    "text_sql",
    "warned_select",
]
