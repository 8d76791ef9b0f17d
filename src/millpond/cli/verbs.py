"""The first verbs: init, check, plan, apply, run, query, test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from millpond.cli.options import (
    AsOption,
    DryRunOption,
    EnvOption,
    JsonOption,
    ProjectOption,
    PurposeOption,
    open_workspace,
)
from millpond.cli.output import console, print_json, print_table, reported, say


def init(
    folder: Annotated[Path, typer.Argument(help="Where the project begins; created.")],
    *,
    json_: JsonOption = False,
) -> None:
    """Begin a project: one small product that works, to change into yours."""
    from millpond.cli.scaffold import write_project

    with reported(as_json=json_):
        files = write_project(folder)
        if json_:
            print_json({"project": str(folder), "files": files})
            return
        for file in files:
            console.print(f"  {file}", style="dim", markup=False)
        console.print(f"Began {folder}. Next: cd {folder} && millpond apply && millpond run", markup=False)


def check(*, project: ProjectOption = None, env: EnvOption = None, json_: JsonOption = False) -> None:
    """Validate every definition, and the types of every model, without touching data."""
    from millpond.flow import check_definitions

    with reported(as_json=json_), open_workspace(project) as workspace:
        definitions = workspace.definitions(workspace.environment(env))
        check_definitions(workspace, definitions)
        sources, models = len(definitions.sources), len(definitions.models)
        rules = sum(
            len(entry.dataset.rules) + sum(len(column.rules) for column in entry.dataset.columns)
            for entry in definitions.entries.values()
        )
        if json_:
            print_json({"ok": True, "sources": sources, "models": models, "rules": rules})
        else:
            console.print(f"[green]Good:[/green] {sources} sources, {models} models, {rules} rules.")


def plan(
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the plan to a file, for apply.")] = None,
    fail_on: Annotated[str | None, typer.Option("--fail-on", help="Exit with 3 on: breaking, or any change.")] = None,
    json_: JsonOption = False,
) -> None:
    """Show what the files would change, and what that touches."""
    import json

    from millpond.cli.plans import print_plan
    from millpond.flow import make_plan

    with reported(as_json=json_), open_workspace(project) as workspace:
        made = make_plan(workspace, workspace.environment(env))
        if out is not None:
            out.write_text(json.dumps(made.to_json(), indent=2), encoding="utf-8")
        if json_:
            print_json(made.to_json())
        else:
            print_plan(made)
        if (fail_on == "breaking" and made.verdict == "breaking") or (fail_on == "any" and not made.empty):
            raise SystemExit(3)


def apply(
    plan_file: Annotated[
        Path | None, typer.Argument(help="A file of plan --out; the files as they are now without.")
    ] = None,
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    allow_breaking: Annotated[bool, typer.Option("--allow-breaking", help="Breaking readers is meant.")] = False,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Make an environment run what the files say. Touches no data."""
    from millpond.cli.plans import print_plan, read_plan
    from millpond.flow import apply_plan, make_plan

    with reported(as_json=json_), open_workspace(project) as workspace:
        asked = read_plan(plan_file) if plan_file is not None else None
        made = make_plan(workspace, workspace.environment(env or (asked.env if asked else None)))
        if asked is not None:
            asked.require_same(made)
        if not json_:
            print_plan(made)
        if dry_run:
            if json_:
                print_json(made.to_json())
            return
        actor = as_ or workspace.settings.identity
        applied = apply_plan(workspace, made, actor=actor, allow_breaking=allow_breaking)
        if json_:
            print_json(applied)
        elif applied.deployment is not None:
            taken = f", {len(applied.adopted)} tables taken over as they are" if applied.adopted else ""
            console.print(
                f"[green]Applied to {made.env}:[/green] {applied.changed} datasets{taken}. Next: millpond run"
            )


def run(
    datasets: Annotated[list[str] | None, typer.Argument(help="Only these, with what they read.")] = None,
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each step would run or not; do nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Build again though nothing changed.")] = False,
    backfill: Annotated[str | None, typer.Option("--backfill", help="Compute LOW..HIGH again, HIGH excluded.")] = None,
    wait: Annotated[float, typer.Option("--wait", help="Seconds to wait for another run.")] = 0.0,
    list_: Annotated[bool, typer.Option("--list", help="List past runs.")] = False,
    as_: AsOption = None,
    dry_run: DryRunOption = False,
    json_: JsonOption = False,
) -> None:
    """Bring an environment up to date: land, build, check, publish all at once."""
    from millpond.cli.progress import RunScreen, print_run
    from millpond.cli.runs import parse_backfill, print_runs, result_json
    from millpond.flow import RunOptions, decisions
    from millpond.flow import run as run_flow

    with reported(as_json=json_), open_workspace(project) as workspace:
        environment = workspace.environment(env)
        if list_:
            print_runs(workspace, environment.name, as_json=json_)
            return
        options = RunOptions(select=tuple(datasets or ()), force=force, backfill=parse_backfill(backfill), wait_s=wait)
        if explain or dry_run:
            decided = decisions(workspace, environment, options)
            if json_:
                print_json({name: {"action": d.action, "reason": d.reason} for name, d in decided.items()})
            else:
                print_table(("dataset", "step", "why"), [(d.dataset, d.action, d.reason) for d in decided.values()])
            return
        screen = RunScreen()
        actor = as_ or workspace.settings.identity
        if json_:
            print_json(result_json(run_flow(workspace, environment, options, actor=actor, report=lambda _: None)))
            return
        with screen.live():
            result = run_flow(workspace, environment, options, actor=actor, report=screen.report)
        print_run(result)


def query(
    sql: Annotated[str, typer.Argument(help="One SELECT over product.dataset names; - reads standard input.")],
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    as_: AsOption = None,
    purpose: PurposeOption = None,
    limit: Annotated[int, typer.Option("--limit", help="Rows shown on the screen.")] = 50,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write all rows to a .parquet, .csv, .arrow or .ndjson file.")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Ask for data, as somebody, for a purpose: through the one door, with masks, filters and a record."""
    import sys

    from millpond.cli.answers import print_answer, print_answer_json, write_answer

    with reported(as_json=json_), open_workspace(project) as workspace:
        text = sys.stdin.read() if sql == "-" else sql
        principal = as_ or workspace.settings.identity
        door = workspace.door(workspace.environment(env).name)
        with door.read(principal, purpose, text) as answer:
            if out is not None:
                rows = write_answer(answer, out)
                say(f"Wrote {rows:,} rows to {out}.")
            elif json_:
                print_answer_json(answer)
            else:
                print_answer(answer, limit)


def test_models(
    names: Annotated[list[str] | None, typer.Argument(help="Only the tests of these models.")] = None,
    *,
    project: ProjectOption = None,
    env: EnvOption = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Also write a JUnit file.")] = None,
    json_: JsonOption = False,
) -> None:
    """Run the models' unit tests: given rows in, expected rows out; no data is touched."""
    from millpond.cli.cases import print_cases, write_junit
    from millpond.flow import run_cases

    with reported(as_json=json_), open_workspace(project) as workspace:
        results = run_cases(workspace, workspace.environment(env), only=names or ())
        if junit is not None:
            write_junit(results, junit)
        if json_:
            print_json(results)
        else:
            print_cases(results)
        if any(not result.passed for result in results):
            raise SystemExit(4)
