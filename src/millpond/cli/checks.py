"""Quality and access on the screen."""

from __future__ import annotations

from rich.markup import escape

from millpond.access import Explanation
from millpond.cli.output import console, print_json, print_table
from millpond.flow import QualityView


def print_quality(view: QualityView, *, as_json: bool) -> None:
    """Print the checks of a dataset."""
    if as_json:
        print_json(view)
        return
    version = f"version {view.version}" if view.version is not None else "never published"
    console.print(f"[bold]{escape(view.dataset)}[/bold]  {version}")
    rows = [
        (check["rule"], check["severity"], check["outcome"], check["measured"], check["wanted"], check["failing_rows"])
        for check in view.published
    ]
    print_table(("rule", "severity", "outcome", "measured", "wanted", "failing rows"), rows)
    if view.failed_run is None:
        return
    console.print(f"\n[bold red]Run {view.failed_run} failed on it[/bold red]; readers stay on {version}.")
    for check in view.failed:
        console.print(f"  {check['rule']}: {check['message'] or check['measured']}", markup=False)
    for failed in view.rows:
        if failed.rows:
            columns = list(failed.rows[0])
            print_table(columns, [tuple(row.values()) for row in failed.rows], title=f"rows that break {failed.rule}")


def print_explanation(explanation: Explanation, *, as_json: bool) -> None:
    """Print who sees what, and why."""
    if as_json:
        print_json(explanation)
        return
    purpose = f" for {explanation.purpose}" if explanation.purpose else ""
    console.print(f"{escape(explanation.principal)} asks for {escape(explanation.dataset)}{escape(purpose)}:")
    console.print(explanation.reason, style="green" if explanation.readable else "red", markup=False)
    if not explanation.readable:
        console.print(f"Ask {explanation.ask}.", markup=False)
        return
    if explanation.filters:
        console.print(f"Rows are filtered by {', '.join(explanation.filters)}.", markup=False)
    rows = [
        (column.column, column.outcome, column.mask, ", ".join(column.policies))
        for column in explanation.columns
        if column.outcome != "shown"
    ]
    shown = len(explanation.columns) - len(rows)
    if rows:
        print_table(("column", "", "mask", "by"), rows)
    console.print(f"{shown} columns are shown as they are.")
