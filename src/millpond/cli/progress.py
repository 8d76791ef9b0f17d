"""A run on the screen: live lines while it goes on, a summary when it is done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from millpond.cli.output import console, errors, print_table
from millpond.flow import RunResult, StepReport
from millpond.kernel import format_bytes, format_count, format_seconds

_MARKS = {
    "done": ("✓", "green"),
    "unchanged": ("·", "dim"),
    "failed": ("✗", "bold red"),
    "not run": ("–", "dim"),
    "running": ("", "cyan"),
    "waiting": (" ", "dim"),
}


class RunScreen:
    """Collects reports from any thread; drawn live on a terminal, as plain lines elsewhere."""

    def __init__(self) -> None:
        """Begin with nothing reported."""
        self._steps: dict[str, StepReport] = {}
        self._lock = threading.Lock()
        self._spinner = Spinner("dots", style="cyan")
        self._live: Live | None = None

    def report(self, step: StepReport) -> None:
        """Take one report."""
        with self._lock:
            before = self._steps.get(step.dataset)
            self._steps[step.dataset] = step
        if self._live is None and (before is None or before.state != step.state) and step.state != "running":
            errors.print(_line(step), soft_wrap=True)

    @contextmanager
    def live(self) -> Iterator[RunScreen]:
        """Draw while the block runs."""
        if not errors.is_terminal:
            yield self
            return
        with Live(get_renderable=self._draw, console=errors, refresh_per_second=8, transient=False) as live:
            self._live = live
            yield self
        self._live = None

    def _draw(self) -> RenderableType:
        with self._lock:
            steps = list(self._steps.values())
        lines: list[RenderableType] = []
        for step in steps:
            if step.state == "running":
                row = Table.grid(padding=(0, 1))
                row.add_row(self._spinner, _line(step))
                lines.append(row)
            else:
                lines.append(_line(step))
        return Group(*lines)


def _line(step: StepReport) -> Text:
    mark, style = _MARKS[step.state]
    text = Text(f"{mark} " if mark else "", style=style)
    text.append(step.dataset, style="bold" if step.state != "unchanged" else "dim")
    action = f"  {step.decision.action}" if step.decision else ""
    text.append(action, style="dim")
    if step.state == "running" and step.fraction is not None:
        text.append(f"  {step.fraction:.0%}")
    if step.rows_read:
        text.append(f"  {format_count(step.rows_read)} rows read")
    if step.rows_quarantined:
        text.append(f"  {format_count(step.rows_quarantined)} quarantined", style="yellow")
    if step.rows_written and not step.rows_read:
        text.append(f"  {format_count(step.rows_written)} rows")
    if step.state == "done":
        text.append(f"  {format_seconds(step.seconds)}", style="dim")
    reason = step.note or (step.decision.reason if step.decision else "")
    if reason:
        text.append(f"  {reason}", style="dim" if step.state != "failed" else "red")
    return text


def print_run(result: RunResult) -> None:
    """Print what a run did."""
    for run_id in result.recovered:
        console.print(f"Finished run {run_id}, which had been stopped before it published.", style="yellow")
    if result.run_id is None:
        text = f"Nothing to do: {len(result.steps)} datasets of {result.env} are up to date "
        console.print(f"{text}({format_seconds(result.seconds)}).")
        held = [step for step in result.steps if step.decision and step.decision.reason.startswith("held")]
        for step in held:
            console.print(f"  {step.dataset}: {step.decision.reason if step.decision else ''}", style="yellow")
        return
    rows = [
        (
            step.dataset,
            step.decision.action if step.decision else "",
            step.rows_read or None,
            step.rows_quarantined or None,
            step.rows_written or None,
            _checks(step),
            step.version,
            format_bytes(step.bytes_written) if step.bytes_written else None,
            format_seconds(step.seconds),
        )
        for step in result.steps
        if step.state == "done"
    ]
    headings = ("dataset", "step", "read", "quarantined", "written", "checks", "version", "size", "time")
    print_table(headings, rows)
    done = [step for step in result.steps if step.state == "done"]
    checks = [check for step in done for check in step.checks]
    warned = sum(check.outcome != "passed" for check in checks)
    summary = (
        f"[bold green]Published {len(result.published)} tables to {escape(result.env)} at once[/bold green] "
        f"in {format_seconds(result.seconds)}: "
        f"{format_count(sum(step.rows_read for step in done))} rows read, "
        f"{format_count(sum(step.rows_accepted for step in done))} accepted, "
        f"{format_count(sum(step.rows_quarantined for step in done))} quarantined; "
        f"{len(checks)} checks, {warned} warnings; "
        f"{format_bytes(sum(step.bytes_written for step in done))} written. [dim]{result.run_id}[/dim]"
    )
    console.print(summary, soft_wrap=True)
    for warning in result.warnings:
        console.print(escape(warning), style="yellow", soft_wrap=True)


def _checks(step: StepReport) -> str | None:
    if not step.checks:
        return None
    bad = sum(check.outcome != "passed" for check in step.checks)
    return f"{len(step.checks)}" + (f" ({bad} warn)" if bad else "")
