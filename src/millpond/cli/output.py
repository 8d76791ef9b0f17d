"""How the command line speaks: tables for people, JSON for programs, errors with an exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millpond.kernel import MillpondError, ProblemsFound

_WIDTH_UNKNOWN = 160
"""Columns where output goes to a file or a pipe."""


def _console(*, stderr: bool) -> Console:
    known = (sys.stderr if stderr else sys.stdout).isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, emoji=False, width=None if known else _WIDTH_UNKNOWN)


console = _console(stderr=False)
errors = _console(stderr=True)


def print_json(value: object) -> None:
    """Print one JSON document on standard output."""
    sys.stdout.write(json.dumps(value, default=_plain, ensure_ascii=False, indent=2) + "\n")


def json_line(value: object) -> str:
    """Write one value as a line of JSON."""
    return json.dumps(value, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under headings; numbers to the right."""
    table = Table(
        title=title, title_justify="left", header_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[place], int | float | Decimal | type(None)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=place == 0 or numeric)
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console.print(table)


def _cell(value: object) -> str:
    if value is None:
        return "[dim]–[/dim]"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return escape(str(value))


def say(text: str, style: str | None = None) -> None:
    """Print one line for people, on standard error, so that standard output stays for data."""
    errors.print(escape(text), style=style)


@contextmanager
def reported(*, as_json: bool) -> Iterator[None]:
    """Turn an error of ours into a message and its exit code; anything else is a bug, and shows as one."""
    try:
        yield
    except MillpondError as error:
        if as_json:
            print_json({"error": error_json(error)})
        else:
            _print_error(error)
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        say("Stopped. Nothing was published.", "yellow")
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None


def error_json(error: MillpondError) -> dict[str, object]:
    """Write an error as JSON."""
    body: dict[str, object] = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "at": str(error.at) if error.at else None,
        "transient": error.transient,
    }
    if isinstance(error, ProblemsFound):
        body["problems"] = [
            {"at": str(problem.at), "what": problem.what, "fix": problem.fix} for problem in error.problems
        ]
    return body


def _print_error(error: MillpondError) -> None:
    where = f" ({error.at})" if error.at else ""
    errors.print(f"[bold red]Error:[/bold red] {escape(error.message)}{escape(where)}", soft_wrap=True)
    if error.hint:
        errors.print(f"[cyan]{escape(error.hint)}[/cyan]", soft_wrap=True)


def pairs(values: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        console.print(f"[dim]{escape(name.ljust(width))}[/dim]  {_cell(value)}")
