"""SQL text by DuckDB's own parser: what a user's statement is, for the reading door's gate. Nothing is bound or run."""

from __future__ import annotations

import atexit
import json
import os
import threading
from typing import Any, Final

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
_opened: dict[int, duckdb.DuckDBPyConnection] = {}
"""By process: a fork must not use its parent's."""


def parse(sql: str) -> ParsedQuery:
    """Parse exactly one statement. Takes under 1 ms, for any number of threads at once.

    Raises:
        QueryInvalid: the SQL does not parse, or is no statement, or several, or nested too deeply.
    """
    connection = _connection()
    statements = _statements(connection, sql)
    if len(statements) != 1:
        found = f"there are {len(statements)} statements" if statements else "there is no statement"
        raise QueryInvalid(f"{found} where one is wanted")
    kind = statements[0].type.name
    return ParsedQuery(kind=kind, tree=_tree(connection, sql) if kind == "SELECT" else {})


def one_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """Give *sql* without semicolon and comments after it, if it is one SELECT: then it may stand inside another.

    Raises:
        QueryInvalid: it does not parse, or is anything else.
    """
    kinds = [statement.type.name for statement in _statements(connection, sql)]
    if kinds != ["SELECT"]:
        hint = "A PIVOT needs its values listed: PIVOT … ON column IN (…)." if kinds == ["MULTI"] else None
        raise QueryInvalid(f"one SELECT is wanted, found {', '.join(kinds) or 'nothing'}", hint=hint)
    raw = sql.encode()
    tokens = [at for at, kind in duckdb.tokenize(sql) if kind != duckdb.token_type.comment]  # places in bytes
    while tokens and raw[tokens[-1] : tokens[-1] + 1] == b";":
        raw = raw[: tokens.pop()]
    return raw.decode()


def is_ordered(connection: duckdb.DuckDBPyConnection, select: str) -> bool:
    """Tell whether a SELECT, as ``one_select`` gave it, ends with ORDER BY."""
    statements = _tree(connection, select)["statements"]
    modifiers = statements[0]["node"].get("modifiers", ())
    return any(modifier.get("type") == "ORDER_MODIFIER" for modifier in modifiers)


def _statements(connection: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    try:
        sql.encode()
        return connection.extract_statements(sql)
    except UnicodeError:
        raise QueryInvalid("the text is not valid Unicode") from None
    except duckdb.Error as error:
        raise translate(error) from None


def _tree(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
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
    process = os.getpid()
    owner, connection = getattr(_PER_THREAD, "held", (0, None))
    if owner == process and connection is not None:
        held: duckdb.DuckDBPyConnection = connection
        return held
    with _OPENING:
        if process not in _opened:
            _opened[process] = duckdb.connect(config=_CONFIG)
        held = _opened[process].cursor()
    _PER_THREAD.held = (process, held)
    return held


@atexit.register
def _let_go() -> None:
    """Drop the connections while the interpreter is whole: later the driver would report them as leaked."""
    vars(_PER_THREAD).clear()
    _opened.clear()
