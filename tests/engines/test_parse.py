"""The parser in front of the reading door."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from millpond.engines import QueryInvalid, parse


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT a FROM b.c WHERE d", "SELECT"),
        ("-- first\nFROM b.c;", "SELECT"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "SELECT"),
        ("INSERT INTO a SELECT 1", "INSERT"),
        ("COPY a TO 'b'", "COPY"),
        ("ATTACH 'x'", "ATTACH"),
        ("SET threads = 1", "SET"),
        ("EXPLAIN SELECT 1", "EXPLAIN"),
        ("PIVOT a ON b", "MULTI"),
    ],
)
def test_a_statement_has_its_kind_and_a_select_its_tree(sql: str, kind: str) -> None:
    """The parser's own word for a statement; a tree for a SELECT and for nothing else."""
    parsed = parse(sql)
    assert parsed.kind == kind
    assert bool(parsed.tree) == (kind == "SELECT")


def test_the_tree_names_what_is_read() -> None:
    """Tables and functions stand in the tree wherever they hide."""
    tree = json.dumps(parse("SELECT upper(x) FROM p.t WHERE EXISTS (SELECT * FROM read_csv('/etc/passwd'))").tree)
    assert all(f'"{name}"' in tree for name in ("upper", "p", "t", "read_csv"))


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("", "no statement"),
        ("-- nothing", "no statement"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("SELECT 1; DROP TABLE x", "2 statements"),
        ("SELEC 1", "syntax error"),
        ("SELECT '\ud800'", "Unicode"),
        ("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, "not valid"),
    ],
)
def test_anything_but_one_statement_is_refused(sql: str, reason: str) -> None:
    """Text that is not exactly one statement, however strange, is an error of the query."""
    with pytest.raises(QueryInvalid, match=reason):
        parse(sql)


def test_a_syntax_error_says_where() -> None:
    """The line and the column are those of the user's text."""
    with pytest.raises(QueryInvalid) as caught:
        parse("SELECT a,\n  FRM b c d")
    assert (caught.value.line, caught.value.column) == (2, 9)


def test_many_threads_parse_at_once() -> None:
    """Threads share no state: each gets its own statement's tree, in about a millisecond."""

    def names(number: int) -> bool:
        return f'"t{number}"' in json.dumps(parse(f"SELECT a FROM p.t{number}").tree)

    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(names, range(400)))
    assert time.monotonic() - started < 4
