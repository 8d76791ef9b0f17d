"""Runs as text and JSON, and what may be written after --backfill."""

from __future__ import annotations

from millpond.cli.output import print_json, print_table
from millpond.flow import RunResult, Workspace
from millpond.kernel import MillpondError, format_seconds, to_iso
from millpond.models import Range


def parse_backfill(text: str | None) -> Range | None:
    """Read ``2013-01-01..2013-02-01``; either side may be empty.

    Raises:
        MillpondError: not of that form.
    """
    if text is None:
        return None
    low, separator, high = text.partition("..")
    if not separator or not (low or high):
        raise MillpondError(
            f"--backfill takes LOW..HIGH, not {text!r}.", hint="For example: --backfill 2013-01-01..2013-02-01"
        )
    return Range(low=low or None, high=high or None)


def result_json(result: RunResult) -> dict[str, object]:
    """Write a run's result as JSON."""
    return {
        "run_id": result.run_id,
        "env": result.env,
        "seconds": round(result.seconds, 3),
        "recovered": list(result.recovered),
        "warnings": list(result.warnings),
        "published": {name: [pointer.table, pointer.version] for name, pointer in result.published.items()},
        "steps": [
            {
                "dataset": step.dataset,
                "state": step.state,
                "action": step.decision.action if step.decision else None,
                "reason": step.decision.reason if step.decision else None,
                "rows_read": step.rows_read,
                "rows_accepted": step.rows_accepted,
                "rows_quarantined": step.rows_quarantined,
                "rows_written": step.rows_written,
                "bytes_written": step.bytes_written,
                "version": step.version,
                "seconds": round(step.seconds, 3),
                "checks": len(step.checks),
                "checks_failed": sum(check.outcome != "passed" for check in step.checks),
                "note": step.note,
            }
            for step in result.steps
        ],
    }


def print_runs(workspace: Workspace, env: str, *, as_json: bool) -> None:
    """Print the newest runs of an environment."""
    runs = workspace.ledger.runs(env, limit=20)
    if as_json:
        print_json(runs)
        return
    rows = [
        (
            run.run_id,
            run.state,
            to_iso(run.started_us)[:19],
            format_seconds((run.finished_us - run.started_us) / 1e6) if run.finished_us else None,
            run.actor,
            run.summary.get("rows_read") or None,
            run.summary.get("rows_quarantined") or None,
            run.summary.get("reason"),
        )
        for run in runs
    ]
    print_table(("run", "state", "started (UTC)", "time", "by", "read", "quarantined", "reason"), rows)
