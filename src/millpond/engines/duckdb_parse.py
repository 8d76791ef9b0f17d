"""A user's SQL by DuckDB's own parser, for the gate of the reading door. Nothing is bound or run."""

from __future__ import annotations

import json
import threading
from typing import Final

import duckdb

from millpond.engines.duckdb_errors import translate
from millpond.engines.errors import QueryInvalid
from millpond.engines.spec import ParsedQuery

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": False,
    "autoload_known_extensions": False,
    "autoinstall_known_extensions": False,
    "python_enable_replacements": False,
    "memory_limit": "256MiB",
    "threads": 1,
}
_OPENING: Final = threading.Lock()
_PER_THREAD: Final = threading.local()
_opened: list[duckdb.DuckDBPyConnection] = []


def parse(sql: str) -> ParsedQuery:
    """Parse exactly one statement. Takes under 1 ms, for any number of threads at once.

    Raises:
        QueryInvalid: the SQL does not parse, or is no statement, or several, or nested too deeply.
    """
    connection = _connection()
    try:
        statements = connection.extract_statements(sql)
    except duckdb.Error as error:
        raise translate(error) from None
    except UnicodeError:
        raise QueryInvalid("the text is not valid Unicode") from None
    if len(statements) != 1:
        count = "no statement" if not statements else f"{len(statements)} statements"
        raise QueryInvalid(
            f"there is {count} where one is wanted" if not statements else f"there are {count}, one is wanted"
        )
    kind = statements[0].type.name
    if kind != "SELECT":
        return ParsedQuery(kind=kind, tree={})
    return ParsedQuery(kind=kind, tree=_tree(connection, sql))


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, object]:
    try:
        answer = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
        tree = json.loads(answer[0]) if answer else None
    except duckdb.Error as error:
        raise translate(error) from None
    except RecursionError:
        raise QueryInvalid("the query is nested too deeply") from None
    if not isinstance(tree, dict) or tree.get("error") or len(tree.get("statements", ())) != 1:
        told = tree.get("error_message") if isinstance(tree, dict) else None
        raise QueryInvalid(str(told or "the query cannot be serialised"))
    return tree


def _connection() -> duckdb.DuckDBPyConnection:
    """Give this thread's connection to the one empty database that parses."""
    connection: duckdb.DuckDBPyConnection | None = getattr(_PER_THREAD, "connection", None)
    if connection is None:
        with _OPENING:
            if not _opened:
                _opened.append(duckdb.connect(config=_CONFIG))
            connection = _opened[0].cursor()
        _PER_THREAD.connection = connection
    return connection
