"""A plan on the screen, and back from its file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape

from millpond.cli.output import console
from millpond.flow import DatasetChange, Plan, WorldMoved
from millpond.kernel import Location, MillpondError, format_bytes, format_count, format_seconds

_COLOURS = {"compatible": "green", "needs rebuild": "yellow", "breaking": "bold red"}
_SHOWN_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFile:
    """What a plan's file fixes: the files and the environment it was made from."""

    env: str
    definitions_digest: str
    base_digest: str

    def require_same(self, plan: Plan) -> None:
        """Refuse where files or environment are not what they were.

        Raises:
            WorldMoved: something changed since the plan was written.
        """
        for what, then, now in (
            ("The files", self.definitions_digest, plan.definitions_digest),
            (f"Environment {self.env}", self.base_digest, plan.base_digest),
        ):
            if then != now:
                raise WorldMoved(
                    f"{what} changed since the plan was written.", hint="Make a new one: millpond plan --out"
                )


def read_plan(path: Path) -> PlanFile:
    """Read a file of ``plan --out``.

    Raises:
        MillpondError: it is not one.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        return PlanFile(env=body["env"], definitions_digest=body["definitions_digest"], base_digest=body["base_digest"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MillpondError(
            f"{path} is not a plan: {error}.", hint="Write one: millpond plan --out plan.json", at=Location(str(path))
        ) from error


def print_plan(plan: Plan) -> None:
    """Print what a plan does."""
    if plan.empty:
        console.print(f"Nothing to change in {escape(plan.env)}: {plan.unchanged} datasets are as the files say.")
        return
    colour = _COLOURS[plan.verdict]
    console.print(f"Plan for [bold]{escape(plan.env)}[/bold]: [{colour}]{plan.verdict}[/{colour}]")
    for change in plan.changes[:_SHOWN_MAX]:
        _print_change(change)
    if len(plan.changes) > _SHOWN_MAX:
        console.print(
            f"  ... and {len(plan.changes) - _SHOWN_MAX} more; all of them: millpond plan --json", style="dim"
        )
    if plan.policies_changed:
        console.print(f"  [yellow]~[/yellow] policies: {len(plan.policies.principals)} principals are known then")


def _print_change(change: DatasetChange) -> None:
    mark, colour = {"new": ("+", "green"), "removed": ("-", "red")}.get(change.change, ("~", "yellow"))
    what: list[str] = [change.change]
    if change.code_changed:
        what.append("code")
    if change.rules_changed:
        what.append("rules")
    console.print(
        f"  [{colour}]{mark}[/{colour}] [bold]{escape(change.dataset)}[/bold]  [dim]{', '.join(what)}[/dim]"
        f"  [{_COLOURS[change.verdict]}]{change.verdict}[/{_COLOURS[change.verdict]}]"
    )
    for part in change.contract if change.change == "changed" else ():
        console.print(f"      {escape(part.what)}  [dim]{part.verdict}[/dim]")
    if change.rebuild and change.change != "new":
        cost = [
            f"{format_count(change.rows_now)} rows now" if change.rows_now is not None else "",
            f"{format_bytes(change.bytes_read)} to read" if change.bytes_read else "",
            f"took {format_seconds(change.seconds_last)}" if change.seconds_last is not None else "",
        ]
        console.print(f"      rebuilt into a new table: {', '.join(part for part in cost if part) or 'no history yet'}")
    if change.downstream and change.change != "new":
        shown = ", ".join(change.downstream[:6]) + (" ..." if len(change.downstream) > 6 else "")
        console.print(f"      read by {len(change.downstream)}: {escape(shown)}", style="dim")
